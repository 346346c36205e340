"""The family: limits, relatives, monotonicity in α; the loss of a score: slope, curvature, inflection; gradients."""

from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from ...alpha_loss.landscape import inflection, steepest_probability
from ...alpha_loss.losses import MarginLoss, alpha_gradient, alpha_loss, gradient_weight, initial_weight
from ...core.certified import Enclosure, as_ball, precision
from ...core.claims import Kind, Relation, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite

v, p, E, t, more = sp.symbols("v p E t Δ", positive=True)  # v = 1/α; E = e^(-z)
x = sp.Symbol("x", real=True)
order = 1 - v  # u, for every α in (0, ∞)
flat = more / (1 + more)  # u of every α > 1
steep = -sp.Symbol("w", nonnegative=True)  # u of every α <= 1


def loss_at(u, q=p):
    """The loss (1 - q^u) / u in symbols."""
    return (1 - q**u) / u


def slope(expression):
    """d/dz where E = e^(-z)."""
    return -E * sp.diff(expression, E)


@claim(
    "alpha_loss.limits",
    source=cite("sypherd2022", "definition"),
    kind=Kind.SYMBOLIC,
    formula="l^α(p) -> -log p (α -> 1), 1 - p (α -> ∞), ∞ (α -> 0); l^(1/2)(σ(z)) = e^(-z)",
    wrong={"exponent 1/α - 1": {"sign": -1}, "exponent (1 - 1/α)/2": {"sign": sp.Rational(1, 2)}},
    exhaustive=True,
)
def limits(sign=1):
    """The family runs from the exponential loss of the score over the log-loss to the soft 0-1 loss."""
    u = sp.Symbol("u", real=True)
    small = 1 / (1 + E)  # p < 1
    general = (1 - p ** (sign * u)) / u
    return (
        Derivation()
        .equal("α = 1", sp.limit(general, u, 0), -sp.log(p))
        .equal("α = ∞", general.subs(u, 1), 1 - p)
        .equal("α = 1/2 of the score", general.subs({u: -1}).subs(p, small), E)
        .equal("α -> 0, u -> -∞: the inverse vanishes", sp.limit(1 / general.subs(p, small), u, -sp.oo), 0)
    )


@claim(
    "alpha_loss.relatives",
    source=cite("tailbound", "generalised cross entropy of Zhang and Sabuncu (2018)"),
    kind=Kind.SYMBOLIC,
    formula="l^α(p) = (1 - p^q)/q at q = 1 - 1/α, = -ln_(1/α)(p) with Tsallis' ln_r(p) = (p^(1-r) - 1)/(1 - r)",
    wrong={"q = 1/α": {"q": v}, "Tsallis order α": {"r": 1 / v}},
    exhaustive=True,
)
def relatives(q=order, r=v):
    """The α-loss is generalised cross entropy with q = 1 - 1/α and minus Tsallis' logarithm of order 1/α."""
    stated = (1 / v) / (1 / v - 1) * (1 - p ** (1 - v))  # as the paper writes it, α = 1/v
    return (
        Derivation()
        .equal("generalised cross entropy", stated, (1 - p**q) / q)
        .equal("minus Tsallis' logarithm", stated, -(p ** (1 - r) - 1) / (1 - r))
        .equal("its usual q = 0.7 is α = 10/3", 1 / (1 - sp.Rational(7, 10)), sp.Rational(10, 3))
    )


@claim(
    "alpha_loss.decreasing_in_alpha",
    source=cite("sypherd2022", "the family; proof derived here"),
    kind=Kind.SYMBOLIC,
    formula="l^α(p) = L k(u L), L = -log p, k(y) = ∫_0^1 e^(-y t) dt, k' = -∫_0^1 t e^(-y t) dt < 0",
    wrong={"increasing": {"sign": -1}, "k(y) = ∫_0^2": {"end": 2}},
    exhaustive=True,
)
def decreasing_in_alpha(sign=1, end=1):
    """For fixed p in (0, 1) the loss strictly decreases as α grows over (0, ∞]."""
    L = sp.Symbol("L", positive=True)
    y = sp.Symbol("y", real=True, nonzero=True)
    k = (1 - sp.exp(-y)) / y
    moment = sp.integrate(t * sp.exp(-y * t), (t, 0, end))
    return (
        Derivation()
        .equal("the loss is L k(u L)", loss_at(y / L, sp.exp(-L)), L * k)
        .equal("k is the mean of e^(-y t) over t", sp.integrate(sp.exp(-y * t), (t, 0, end)), k)
        .equal("its derivative is minus that of t e^(-y t)", sp.diff(k, y), -moment)
        .positive("whose integrand is > 0, and u grows with α", sign * t * sp.exp(-x * t))
    )


@claim(
    "alpha_loss.margin_derivatives",
    source=cite("tailbound", "margin form of Sypherd et al. (2022)"),
    kind=Kind.SYMBOLIC,
    formula="l'(z) = -s^u (1 - s), l''(z) = s^u (1 - s) (s - u (1 - s)), s = σ(z)",
    wrong={"exponent u + 1": {"shift": 1}, "s + u (1 - s)": {"sign": -1}},
    exhaustive=True,
)
def margin_derivatives(shift=0, sign=1):
    """Slope and curvature of the α-loss of a score."""
    s = 1 / (1 + E)
    first, log_first = slope(loss_at(order, s)), slope(-sp.log(s))
    return (
        Derivation()
        .equal("slope", first, -(s ** (order + shift)) * (1 - s))
        .equal("curvature", slope(first), s**order * (1 - s) * (s - sign * order * (1 - s)))
        .equal("slope at α = 1", log_first, -(s**shift) * (1 - s))
        .equal("slope at α = ∞", slope(1 - s), -(s ** (1 + shift)) * (1 - s))
    )


@claim(
    "alpha_loss.convexity",
    source=cite("sypherd2022", "convex for α <= 1, quasi-convex for α > 1; the inflection derived here"),
    kind=Kind.SYMBOLIC,
    formula="l'' > 0 on R for α <= 1; for α > 1 l'' > 0 iff z > log(1 - 1/α), and l' < 0 everywhere",
    wrong={
        "inflection at log(1 - 1/(2α))": {"edge": 1 / (1 - (1 - flat) / 2)},
        "inflection at 0": {"edge": sp.Integer(1)},
        "convex up to α = 2": {"low": sp.Rational(1, 2) / (1 + t)},
    },
    exhaustive=True,
)
def convexity(edge=1 / flat, low=steep):
    """The loss of a score is convex exactly for α <= 1; above it decreases, with one inflection at log(1 - 1/α)."""
    s = 1 / (1 + E)

    def bend(u) -> Any:  # the factor of l'' that can change sign
        return sp.factor(s - u * (1 - s))

    return (
        Derivation()
        .positive("α <= 1: the factor s - u (1 - s) is > 0 at every score", bend(low))
        .positive("α > 1: it is > 0 above the inflection", bend(flat).subs(E, edge / (1 + t)))
        .equal("0 at it", bend(flat).subs(E, edge), 0)
        .positive("and < 0 below", -bend(flat).subs(E, edge * (1 + t)))
        .positive("α = ∞: it is > 0 for z > 0", bend(sp.Integer(1)).subs(E, 1 / (1 + t)))
        .positive("and < 0 for z < 0", -bend(sp.Integer(1)).subs(E, 1 + t))
        .positive("the slope is < 0 throughout", s**flat * (1 - s))
        .positive("at α = ∞ too", s * (1 - s))
    )


@claim(
    "alpha_loss.inflection_values",
    source=cite("tailbound", "of Sypherd et al. (2022)"),
    kind=Kind.CERTIFIED,
    relation=Relation.EQUAL,
    atol=1e-12,
    formula="l''(log(1 - 1/α)) = 0 and |l'| is largest at p = (α - 1)/(2α - 1), by the library's functions",
    cases=cases(alpha=[Fraction(11, 10), Fraction(2), Fraction(8)]),
    wrong={"inflection of α + 1": {"shift": 1}},
)
def inflection_values(alpha, shift=0):
    """The library's inflection and steepest probability are the roots of the certified curvature."""
    u = 1 - 1 / as_ball(alpha)
    z = as_ball(float(inflection(float(alpha + shift))))
    s = 1 / (1 + (-z).exp())
    computed = [Enclosure.of(s**u * (1 - s) * (s - u * (1 - s))), Enclosure.of(s)]
    return computed, [0, steepest_probability(float(alpha + shift))]


ALPHAS = (0.25, 0.5, 1 - 1e-9, 1.0, 1 + 1e-9, 1.01, 3.0, 1e6, float("inf"))


@claim(
    "alpha_loss.stable_values",
    source=cite("tailbound", "stable form of the loss of Sypherd et al. (2022)"),
    kind=Kind.CERTIFIED,
    relation=Relation.EQUAL,
    rtol=2e-13,
    formula="-expm1(u log p)/u = (α/(α-1)) (1 - p^(1-1/α)), and the slope of the score, to 2e-13 for |u log p| < 420",
    cases=cases(alpha=ALPHAS),
    wrong={"α one per cent off": {"factor": 1.01}, "textbook form": {"textbook": True}},
)
def stable_values(alpha, factor=1.0, textbook=False):
    """The library's loss and its slope keep the accuracy of log p for every α and p."""
    tiny = 1e-200 if alpha >= 0.5 else 1e-60
    points, scores = np.array([tiny, 1e-8, 0.3, 0.9, 1 - 1e-9]), np.array([-40.0, -1.0, 0.0, 3.0, 50.0])
    computed, slopes = [], []
    with precision(256):
        for point, z in zip(points, scores, strict=True):
            u = arb_order(alpha * factor)
            log_p = as_ball(float(point)).log()
            log_s = -(1 + (-as_ball(float(z))).exp()).log()
            computed.append(Enclosure.of(-log_p if u.is_zero() else (1 - (u * log_p).exp()) / u))
            slopes.append(Enclosure.of(-(u * log_s).exp() / (1 + as_ball(float(z)).exp())))
    if textbook and alpha not in (1.0, float("inf")):
        stated = alpha / (alpha - 1) * (1 - points ** (1 - 1 / alpha))
    else:
        stated = alpha_loss(points, alpha)
    return computed + slopes, [*stated, *MarginLoss(alpha).slope(scores)]


def arb_order(alpha: float):
    """1 - 1/α as a ball."""
    return as_ball(1) if alpha == float("inf") else (as_ball(float(alpha)) - 1) / as_ball(float(alpha))


def ball_loss(z, u):
    """The loss of a score, on balls."""
    log_s = -(1 + (-z).exp()).log()
    return -log_s if u.is_zero() else (1 - (u * log_s).exp()) / u


def ball_slope(z, u):
    """-l' of a score, on balls."""
    return (-u * (1 + (-z).exp()).log()).exp() / (1 + z.exp())


@claim(
    "alpha_loss.softmax_gradient",
    source=cite("tailbound", "gradient of the loss of Sypherd et al. (2022)"),
    kind=Kind.SYMBOLIC,
    formula="∂l^α/∂z_k = p_y^(1-1/α) (p_k - 1[k = y]): the cross-entropy gradient times p_y^(1-1/α)",
    wrong={"weight p_y^(1/α)": {"power": v}, "weight p_y^-(1-1/α)": {"power": v - 1}},
    exhaustive=True,
    assumptions=("the other classes enter through their sum and one of them",),
)
def softmax_gradient(power=order):
    """α-loss multiplies the cross-entropy gradient of an example by p_y^(1 - 1/α)."""
    true, other, rest = sp.symbols("E_y E_k E_rest", positive=True)  # e^(z), the rest of the classes summed
    total = true + other + rest
    q = true / total
    derivation = Derivation()
    for name, exponential, indicator in (("true", true, 1), ("another", other, 0)):
        gradient = exponential * sp.diff(loss_at(order, q), exponential)
        derivation.equal(f"logit of the {name} class", gradient, q**power * (exponential / total - indicator))
    return derivation


@claim(
    "alpha_loss.gradient_weights",
    source=cite("tailbound", "of Sypherd et al. (2022)"),
    kind=Kind.NUMERIC,
    relation=Relation.EQUAL,
    atol=5e-3,
    formula="at α = 8 the gradient is 0.55 of cross-entropy's at p = 1/2, the start for K = 2, and 0.13 for K = 10",
    cases=({"classes": 2, "stated": 0.55}, {"classes": 10, "stated": 0.13}),
    wrong={"α = 4": {"alpha": 4.0}},
)
def gradient_weights(classes, stated, alpha=8.0):
    """A learning rate tuned for the log-loss is too small at large α: finite differences and the library's weights."""
    p = 1 / classes
    logits, h = np.array([np.log(p / (1 - p)), 0.0]), 1e-6
    losses = [alpha_loss(1 / (1 + np.exp(-(logits[0] + d))), alpha) for d in (h, -h)]
    measured = -(losses[0] - losses[1]) / (2 * h) / (1 - p)
    by_library = [-alpha_gradient([logits], [0], alpha)[0, 0] / (1 - p), gradient_weight(p, alpha)]
    return [measured, *by_library, initial_weight(classes, alpha)], [stated] * 4


@claim(
    "alpha_loss.steepest_probability",
    source=cite("tailbound", "gradient of the loss of Sypherd et al. (2022)"),
    kind=Kind.SYMBOLIC,
    formula="p^u (1 - p) falls in p for α <= 1; for α > 1 it peaks at p = (α - 1)/(2α - 1)",
    wrong={"peak at (α - 1)/α": {"peak": flat}, "peak at 1/2": {"peak": sp.Rational(1, 2)}},
    exhaustive=True,
)
def steepest(peak=flat / (1 + flat)):
    """Badly fitted points weigh most for α <= 1; for α > 1 the weight peaks and then vanishes as p -> 0."""
    q = 1 / (1 + t)  # every p in (0, 1)

    def rate(u, at):  # the sign of the derivative: that of p^u (1 - p) over p^(u - 1)
        return u * (1 - at) - at

    return (
        Derivation()
        .equal("derivative", sp.diff(p**order * (1 - p), p), p ** (order - 1) * rate(order, p))
        .positive("α <= 1: it falls", -rate(steep, q))
        .equal("α > 1: stationary at the peak", rate(flat, peak), 0)
        .positive("rises before", rate(flat, peak / (1 + t)))
        .positive("falls after, for p between the peak and 1", -rate(flat, (peak + t) / (1 + t)))
        .equal("the peak, in α = 1 + Δ", peak, more / (2 * (1 + more) - 1))
        .equal("α = ∞: the limit of the peak", sp.limit(peak, more, sp.oo), sp.Rational(1, 2))
        .positive("rises before", rate(1, 1 / (2 + t)))
        .positive("falls after", -rate(1, (1 + t) / (2 + t)))
    )
