"""Lipschitz constants and where they are attained, the generalisation bound, strong convexity, saturation in α."""

import numpy as np
import sympy as sp

from ...alpha_loss.landscape import (
    convexity_modulus,
    generalisation_bound,
    largest_loss,
    lipschitz_constant,
    saturation_constants,
)
from ...alpha_loss.losses import MarginLoss, exponent
from ...core.certified import minimum
from ...core.claims import Kind, Relation, cases, claim
from ...core.derivation import Derivation
from ...core.points import separable_points
from ...core.sources import cite
from .shape import E, arb_order, ball_loss, ball_slope, loss_at, more, slope, t, x

QUARTER = sp.Rational(1, 4)


def _ball_curvature(z, u):
    s = 1 / (1 + (-z).exp())
    return ball_slope(z, u) * (s - u * (1 - s))


def _largest(function, falls, alpha, radius):
    """Certified largest value over |z| <= radius of a function whose derivative is -`falls`."""
    u = arb_order(alpha)
    found = minimum(
        lambda box: -function(box[0], u), [(-radius, radius)], gradient=lambda box: [falls(box[0], u)], width=1e-10
    )
    return float((-found.value.ball).mid())


def _steepest_slope(alpha, radius):
    return _largest(ball_slope, _ball_curvature, alpha, radius)


def _largest_value(alpha, radius):
    return _largest(ball_loss, ball_slope, alpha, radius)


@claim(
    "alpha_loss.lipschitz_constant",
    source=cite("tailbound", "the loss of Sypherd et al. (2022)"),
    kind=Kind.CERTIFIED,
    relation=Relation.EQUAL,
    atol=1e-9,
    formula="max |l'| on |z| <= r: σ(r) σ(-r)^u, u = 1 - 1/α, or u^u (1+u)^(-1-u) for α > 1 and r >= -log u",
    cases=cases(alpha=[0.5, 1.0, 1.2, 3.0, float("inf")], radius=[0.5, 3.0]),
    wrong={"slope at +r": {"flipped": True}, "the global value for α > 1": {"everywhere": True}},
)
def lipschitz(alpha, radius, flipped=False, everywhere=False):
    """The certified largest slope is the library's: at -r for α <= 1, above at the inflection when it is in reach."""
    stated = lipschitz_constant(alpha, radius)
    if flipped:
        stated = -MarginLoss(alpha).slope(np.array(radius))
    if everywhere and alpha > 1:
        stated = lipschitz_constant(alpha)
    return [_steepest_slope(alpha, radius)], [float(stated)]


@claim(
    "alpha_loss.largest_loss",
    source=cite("tailbound", "range of the loss of Sypherd et al. (2022)"),
    kind=Kind.CERTIFIED,
    relation=Relation.EQUAL,
    rtol=1e-9,
    formula="max l on |z| <= r: D = (α/(α-1)) (1 - σ(-r)^(1-1/α)), log(1 + e^r) at α = 1; attained at z = -r",
    cases=cases(alpha=[0.5, 1.0, 3.0, float("inf")], radius=[0.5, 3.0]),
    wrong={"at z = +r": {"sign": -1}, "the bound of every score, α/(α-1)": {"everywhere": True}},
)
def range_of_loss(alpha, radius, sign=1, everywhere=False):
    """The certified largest loss is the library's."""
    stated = largest_loss(alpha, radius) if sign == 1 else MarginLoss(alpha).value(np.array(radius))
    if everywhere and alpha > 1:
        stated = 1 / exponent(alpha)
    return [_largest_value(alpha, radius)], [float(stated)]


@claim(
    "alpha_loss.generalisation_values",
    source=cite("shalev2014", "Theorem 26.5 with Lemmas 26.9 and 26.10, for the α-loss of Sypherd et al. (2022)"),
    kind=Kind.CERTIFIED,
    relation=Relation.EQUAL,
    rtol=1e-8,
    formula="generalisation_bound = 2 C r/√n + 4 D √(2 log(4/δ)/n), with C and D the certified maxima of |l'| and l",
    cases=cases(alpha=[0.5, 1.0, 3.0], radius=[0.5, 3.0], failure_probability=[0.05, 0.001]),
    wrong={"2 D": {"deviation": 2}, "C r/√n": {"complexity": 1}, "log(2/δ)": {"events": 2}},
)
def generalisation_values(alpha, radius, failure_probability, deviation=4, complexity=2, events=4):
    """The library's bound is the theorem's: twice the Rademacher complexity, and four times the range."""
    n = 300
    steepest, largest = _steepest_slope(alpha, radius), _largest_value(alpha, radius)
    spread = np.sqrt(2 * np.log(events / failure_probability) / n)
    computed = complexity * steepest * radius / np.sqrt(n) + deviation * largest * spread
    return [computed], [
        generalisation_bound(alpha, radius=radius, num_examples=n, failure_probability=failure_probability)
    ]


@claim(
    "alpha_loss.lipschitz_global_attained",
    source=cite("tailbound", "one closed form for α > 1 read as attained on every interval"),
    kind=Kind.CERTIFIED,
    relation=Relation.EQUAL,
    atol=1e-9,
    formula="max |l'| over |z| <= r = ((α-1)/(2α-1))^(1-1/α) α/(2α-1) for every α > 1 and r",
    cases=({"alpha": 1.2, "radius": 0.5},),
    expected="fails",
    corrected_by="alpha_loss.lipschitz_constant",
    right={"radius": 2.0},
    wrong={"a smaller interval": {"radius": 0.1}},
)
def lipschitz_global_attained(alpha, radius):
    """The global Lipschitz constant is attained on every interval; below r = log(α/(α-1)) it is only an upper bound."""
    return _steepest_slope(alpha, radius), lipschitz_constant(alpha)


@claim(
    "alpha_loss.bounds_decrease",
    source=cite("sypherd2022", "the generalisation bound decreases in α; proof derived here"),
    kind=Kind.SYMBOLIC,
    formula="∂/∂u of |l'| = s^u (1-s) is < 0 at every score: C, and with it the bound, decreases in α; C -> 1/4 at ∞",
    wrong={"increases": {"sign": -1}, "limit 1/2": {"limit": sp.Rational(1, 2)}},
    exhaustive=True,
)
def bounds_decrease(sign=1, limit=QUARTER):
    """The slope at every score falls as α grows, and so does its largest value; on R it is 1 at α = 1 and 1/4 at ∞."""
    s = 1 / (1 + E)
    u = sp.Symbol("u", positive=True)
    steepest = (u / (1 + u)) ** u / (1 + u)
    return (
        Derivation()
        .equal("derivative in u", sp.diff(s**x * (1 - s), x), -sp.log(1 + E) * s**x * (1 - s))
        .positive("is < 0", sign * sp.log(1 + E) * s**x * (1 - s))
        .equal("largest slope on R, α -> 1+", sp.limit(steepest, u, 0), 1)
        .equal("α -> ∞", steepest.subs(u, 1), limit)
    )


@claim(
    "alpha_loss.constants_ordered",
    source=cite("sypherd2022", "the generalisation bound decreases in α"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    formula="C, D and the generalisation bound at α_(k+1) <= those at α_k; C is continuous at α = 1 from both sides",
    cases=cases(radius=[0.5, 2.0, 6.0]),
    wrong={"the other way": {"sign": -1}, "the global C for α > 1": {"everywhere": True}},
)
def constants_ordered(radius, sign=1, everywhere=False):
    """The library's constants decrease along α = 0.3 … ∞ and do not jump at 1, as the global constant does."""
    alphas = [0.3, 0.5, 0.9, 1.0, 1.1, 2.0, 8.0, float("inf")]
    known = {"radius": radius, "num_examples": 100}
    rows = np.array(
        [[lipschitz_constant(a, radius), largest_loss(a, radius), generalisation_bound(a, **known)] for a in alphas]
    )
    above = lipschitz_constant(1 + 1e-9, np.inf if everywhere else radius)
    jumps = np.abs(np.array([lipschitz_constant(1 - 1e-9, radius), above]) - lipschitz_constant(1.0, radius))
    return [*(sign * rows[1:]).ravel(), *jumps], [*(sign * rows[:-1]).ravel(), 1e-6, 1e-6]


@claim(
    "alpha_loss.convexity_modulus",
    source=cite("tailbound", "strong convexity for α <= 1, Sypherd et al. (2022)"),
    kind=Kind.CERTIFIED,
    relation=Relation.EQUAL,
    atol=1e-6,
    formula="min l'' over |z| <= r = σ(r)^(1-1/α) (σ'(r) - (1-1/α) σ(-r)²), at z = +r, for α <= 1",
    cases=cases(alpha=[0.3, 0.5, 0.8, 1.0], radius=[0.5, 3.0]),
    wrong={"at z = -r": {"sign": -1}, "without the second term": {"second": 0.0}},
)
def modulus(alpha, radius, sign=1, second=1.0):
    """The certified least curvature is the library's modulus."""
    u = arb_order(alpha)
    found = minimum(lambda box: _ball_curvature(box[0], u), [(-radius, radius)], width=1e-7, max_boxes=20_000)
    s = 1 / (1 + np.exp(-sign * radius))
    printed = s ** exponent(alpha) * (s * (1 - s) - second * exponent(alpha) * (1 - s) ** 2)
    stated = convexity_modulus(alpha, radius) if sign == 1 and second == 1.0 else printed
    return [found.value, float(printed)], [stated, stated]


@claim(
    "alpha_loss.strong_convexity",
    source=cite("sypherd2022", "strong convexity for α <= 1; the modulus derived here"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_LEAST,
    atol=1e-12,
    formula="λ_min of the Hessian of the empirical risk, ||θ|| = R/4, …, R, >= Λ(α, R max ||x||) λ_min(mean of x x')",
    cases=cases(alpha=[0.5, 0.8, 1.0], parameter_radius=[0.5, 2.0]),
    wrong={"twice the modulus": {"factor": 2.0}, "modulus of half the radius": {"shrink": 0.5}},
)
def strong_convexity(alpha, parameter_radius, factor=1.0, shrink=1.0):
    """On circles of θ the Hessian of the mean loss never falls below the modulus, and on the largest it comes near."""
    points, labels = separable_points(6, 6, 2)
    signed = points * labels[:, None]
    signed /= np.linalg.norm(signed, axis=1, keepdims=True) * np.arange(1, 13)[:, None] ** 0.1  # 1 down to 0.78
    signed = np.vstack([np.tile(signed[:1], (400, 1)), signed])  # nearly one direction: the modulus is nearly attained
    least = np.inf
    for angle in np.linspace(0, 2 * np.pi, 721):
        for share in (0.25, 0.5, 0.75, 1.0):
            theta = share * parameter_radius * np.array([np.cos(angle), np.sin(angle)])
            weights = MarginLoss(alpha).curvature(signed @ theta)
            least = min(least, np.linalg.eigvalsh(signed.T @ (signed * weights[:, None]) / len(signed))[0])
    moment = np.linalg.eigvalsh(signed.T @ signed / len(signed))[0]
    return float(least), float(factor * convexity_modulus(alpha, parameter_radius * shrink) * moment)


@claim(
    "alpha_loss.saturation",
    source=cite("sypherd2022", "Lipschitz in 1/α for α >= 1; constants derived here"),
    kind=Kind.SYMBOLIC,
    formula="|l^α - l^α'| <= (L²/2) |1/α - 1/α'|, |l'^α - l'^α'| <= L σ(r) |1/α - 1/α'|, L = log(1+e^r), α, α' >= 1",
    wrong={"L²/4": {"value": sp.Rational(1, 4)}, "slope decreasing in |z|": {"sign": -1}},
    exhaustive=True,
)
def saturation(value=2 * QUARTER, sign=1):
    """Beyond moderate α little changes: the distance to the α = ∞ landscape is at most a constant over α.

    With L_z = -log σ(z) <= L the derivative of the loss in u is L_z² k'(u L_z), |k'(y)| = ∫_0^1 t e^(-yt) dt.
    """
    L, y = sp.symbols("L y", positive=True)
    decay = 1 / (1 + more)  # e^(-y t) at y t >= 0, and s^u at u >= 0
    k = (1 - sp.exp(-y)) / y
    s = 1 / (1 + E)
    largest = sp.log(1 + E) * (1 - s)
    return (
        Derivation()
        .equal("derivative of the loss in u", sp.diff(loss_at(y, sp.exp(-L)), y), L**2 * sp.diff(k, y).subs(y, y * L))
        .equal("|k'| is the mean of t e^(-y t)", -sp.diff(k, y), sp.integrate(t * sp.exp(-y * t), (t, 0, 1)))
        .nonnegative("its integrand is at most t", t - t * decay)
        .equal("so that |k'| <= 1/2", sp.integrate(t, (t, 0, 1)), value)
        .equal("derivative of the slope in u", sp.diff(s**x * (1 - s), x), -(s**x) * largest)
        .positive("s^u <= 1 for u >= 0", 1 - decay)
        .positive("the rest falls as z grows: largest at z = -r", -sign * slope(largest))
        .equal("where it is L σ(r)", largest.subs(E, sp.exp(y)), sp.log(1 + sp.exp(y)) / (1 + sp.exp(-y)))
    )


@claim(
    "alpha_loss.saturation_sharp",
    source=cite("tailbound", "constants of the Lipschitz property in 1/α of Sypherd et al. (2022)"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    atol=1e-12,
    formula="ratio of |l^α - l^α'| and |l'^α - l'^α'| to the bounds <= 1 everywhere, >= 0.999 at z = -r near α = 1",
    cases=cases(radius=[0.5, 1.0, 3.0]),
    wrong={"half the constants": {"factor": 0.5}, "twice the constants are sharp": {"factor": 2.0}},
)
def saturation_sharp(radius, factor=1.0):
    """The library's constants hold over a grid of α, α' >= 1 and scores, and are attained as α, α' -> 1 at z = -r."""
    alphas, scores = np.array([1.0, 1.0001, 1.5, 3.0, 10.0, 1e9]), np.linspace(-radius, radius, 201)
    values = np.array([MarginLoss(a).value(scores) for a in alphas])
    slopes = np.array([MarginLoss(a).slope(scores) for a in alphas])
    apart = np.abs(1 / alphas[:, None] - 1 / alphas)[..., None]
    ratios = []
    for numbers, constant in zip((values, slopes), saturation_constants(radius), strict=True):
        moved = np.abs(numbers[:, None] - numbers)
        ratio = np.where(apart > 0, moved / (factor * constant * np.maximum(apart, 1e-300)), 0.0)
        ratios += [ratio.max(), -ratio[0, 1, 0]]
    return ratios, [1.0, -0.999, 1.0, -0.999]
