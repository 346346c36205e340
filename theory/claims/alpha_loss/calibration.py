"""What α-loss estimates: tilting, Arimoto's entropy, calibration of the error; remarks about them that are wrong."""

from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from ...alpha_loss.calibration import (
    arimoto_entropy,
    calibration_curvature,
    calibration_function,
    minimal_risk,
    optimal_logit,
    tilted,
)
from ...alpha_loss.losses import MarginLoss, alpha_loss
from ...core.certified import Enclosure, as_ball, minimum, precision
from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from .shape import arb_order, ball_loss, ball_slope

a, q, S, P, o, t, more = sp.symbols("alpha q S P o t Δ", positive=True)  # o = η/(1 - η)
z = sp.Symbol("z", real=True)
first, second = sp.symbols("P_1 P_2", positive=True)
LN2 = sp.log(2)
MASSES = ((0.7, 0.2, 0.1), (0.5, 0.5), (0.05, 0.15, 0.3, 0.5), (0.6, 0.4, 0.0))
ORDERS = (0.3, 0.5, 0.8, 1.5, 3.0, 10.0)


@claim(
    "alpha_loss.tilting",
    source=cite("sypherd2022", "minimiser of the mean loss; constants derived here"),
    kind=Kind.SYMBOLIC,
    formula="argmin_Q Σ P l^α(Q) = P^α / S, S = Σ P^α, unique for α < ∞; its value is (1 - S^(1/α)) α/(α - 1), α ≠ 1",
    wrong={"Q ∝ P": {"power": sp.Integer(1)}, "Q ∝ P^(1/α)": {"power": 1 / a}},
    exhaustive=True,
)
def tilting(power=a):
    """The least mean α-loss is attained by the α-tilted distribution alone, for every α in (0, ∞) and any classes."""
    u = 1 - 1 / a
    Q = P**power / S  # one class; S is the sum over the classes of the same power
    return (
        Derivation()
        .positive("each term is strictly convex in q: a stationary point is the only minimiser", q ** (u - 2) / a)
        .equal("that is its second derivative", sp.diff((1 - q**u) / u, q, 2), q ** (u - 2) / a)
        .equal("the derivative of Σ P l is the same for every class", sp.log(P * Q ** (u - 1)), sp.log(S ** (1 / a)))
        .equal("P Q^u is P^α / S^u, which sums to S^(1/α)", sp.log(P * Q**u), sp.log(P**a / S * S ** (1 / a)))
        .positive("α = 1: strictly convex, too", sp.diff(-sp.log(q), q, 2))
        .equal("and P l'(P) is the same for every class", P * sp.diff(-sp.log(q), q).subs(q, P), -1)
    )


@claim(
    "alpha_loss.tilting_program",
    source=cite("sypherd2022", "minimiser of the mean loss"),
    kind=Kind.CONVEX,
    relation=Relation.EQUAL,
    atol=2e-5,
    formula="the solver's argmin over the simplex = P^(α), its value = minimal_risk(P, α)",
    cases=(
        *cases(masses=MASSES[:1], alpha=(*ORDERS, 1.0, float("inf"))),
        *cases(masses=MASSES[1:], alpha=(0.5, 3.0)),
    ),
    full_cases=cases(masses=MASSES[1:], alpha=ORDERS),
    wrong={"Q = P": {"order": 1.0}, "Q ∝ P^(1/α)": {"inverse": True}},
)
def tilting_program(masses, alpha, order=None, inverse=False):
    """A power-cone program finds the tilted distribution, also where P has zeros; its value to the duality gap."""
    from ...alpha_loss.programs import minimise_conditional_risk

    Q, proof = minimise_conditional_risk(masses, alpha)
    if len(set(masses)) == 1:  # every tilt of the uniform distribution is uniform
        order, inverse = None, False
    power = 1 / alpha if inverse else order or alpha
    stated = tilted(masses, power)
    risk = np.asarray(masses) @ np.where(np.asarray(masses) > 0, alpha_loss(np.maximum(stated, 1e-300), alpha), 0.0)
    return Sides([*Q, proof.value], [*stated, risk], [*np.zeros(len(Q)), proof.gap])


@claim(
    "alpha_loss.minimal_risk_values",
    source=cite("sypherd2022", "minimal conditional risk"),
    kind=Kind.CERTIFIED,
    relation=Relation.EQUAL,
    rtol=1e-13,
    formula="minimal_risk(P, α) = (α/(α-1)) (1 - ||P||_α); Shannon's entropy at 1; 1 - max P at ∞",
    cases=cases(alpha=[0.3, 1 - 1e-9, 1.0, 1 + 1e-9, 3.0, float("inf")], masses=MASSES[:3]),
    wrong={"α + 1/10": {"shift": 0.1}, "mean loss of P itself": {"own": True}},
)
def minimal_risk_values(alpha, masses, shift=0.0, own=False):
    """The library's least risk, computed from the tilted distribution, is Arimoto's form in ball arithmetic."""
    order = alpha + shift
    if own and len(set(masses)) > 1 and alpha not in (1 - 1e-9, 1.0, 1 + 1e-9):
        stated = float(np.dot(masses, alpha_loss(masses, alpha)))
    else:
        stated = float(minimal_risk(masses, alpha))
    with precision(256):
        balls = [as_ball(mass) / sum(as_ball(mass) for mass in masses) for mass in masses]
        if order == float("inf"):
            least = 1 - as_ball(max(masses))
        elif order == 1.0:
            least = -sum((ball * ball.log() for ball in balls), as_ball(0))
        else:
            A = as_ball(order)
            least = A / (A - 1) * (1 - sum((ball**A for ball in balls), as_ball(0)) ** (1 / A))
        return [Enclosure.of(least)], [stated]


@claim(
    "alpha_loss.arimoto",
    source=cite("sypherd2022", "link to Arimoto (1977)"),
    kind=Kind.SYMBOLIC,
    formula="min E l^α(Y, Q_{Y|X}) = (α/(α-1)) [1 - exp(((1-α)/α) H_α(Y|X))], H_α Arimoto's conditional entropy",
    wrong={"without the root": {"root": sp.Integer(1)}, "root α": {"root": a}},
    exhaustive=True,
    assumptions=("two labels; the sum over x is term by term",),
)
def arimoto(root=1 / a):
    """The least α-risk of a predictor that sees X is a function of Arimoto's conditional entropy."""
    marginal = first + second
    norm = (first**a + second**a) ** root  # one term of the sum over x in Arimoto's entropy
    conditional = ((first / marginal) ** a + (second / marginal) ** a) ** (1 / a)
    total = sp.Symbol("T", positive=True)  # the sum over x
    entropy = a / (1 - a) * sp.log(total)
    return (
        Derivation()
        .equal(
            "P(x) ||P(·|x)||_α is a term of Arimoto's sum",
            sp.log(marginal) + sp.log(sp.factor(conditional**a)) / a,
            sp.log(norm),
        )
        .equal("hence E (1 - ||P(·|X)||_α) = 1 - T and T = e^((1-α) H/α)", (1 - a) / a * entropy, sp.log(total))
    )


@claim(
    "alpha_loss.arimoto_values",
    source=cite("sypherd2022", "link to Arimoto (1977)"),
    kind=Kind.NUMERIC,
    relation=Relation.EQUAL,
    rtol=1e-12,
    formula="Σ_x P(x) min_Q Σ_y P(y|x) l^α = (α/(α-1)) [1 - exp(((1-α)/α) H_α(Y|X))]; H(Y|X) at 1, 1 - e^-H at ∞",
    cases=cases(alpha=[0.4, 0.95, 1.0, 1.05, 2.5, float("inf")]),
    wrong={"entropy of order α + 1": {"shift": 1.0}, "entropy of Y alone": {"conditional": False}},
)
def arimoto_values(alpha, shift=0.0, conditional=True):
    """The library's entropy and least risk agree on a table with three values of x and three labels."""
    joint = np.array([[0.2, 0.05, 0.05], [0.1, 0.3, 0.0], [0.02, 0.08, 0.2]])
    rows = joint.sum(axis=1)
    computed = float(rows @ minimal_risk(joint / rows[:, None], alpha))
    table = joint if conditional else joint.sum(axis=0, keepdims=True)
    order = alpha + shift if alpha < np.inf else (3.0 if shift else alpha)
    H = arimoto_entropy(table, order)
    if alpha == 1.0:
        stated = H
    else:
        factor, power = (1.0, -1.0) if alpha == np.inf else (alpha / (alpha - 1), (1 - alpha) / alpha)
        stated = factor * (1 - np.exp(power * H))
    return computed, stated


@claim(
    "alpha_loss.unique_at_infinity",
    source=cite("sypherd2022", "minimiser at α = ∞, read as unique"),
    kind=Kind.EXACT,
    relation=Relation.AT_LEAST,
    formula="at α = ∞ every Q other than the most probable class's has a larger mean loss, by 1/100 of its distance",
    cases=({"masses": (Fraction(2, 5), Fraction(2, 5), Fraction(1, 5))},),
    expected="fails",
    corrected_by="alpha_loss.tilting",
    right={"masses": (Fraction(2, 5), Fraction(3, 10), Fraction(3, 10))},
    wrong={"a tie of all": {"masses": (Fraction(1, 3), Fraction(1, 3), Fraction(1, 3))}},
)
def unique_at_infinity(masses):
    """The minimiser is unique at α = ∞ too; it is not when classes tie (uniqueness is for α < ∞)."""
    grid = [(Fraction(i, 4), Fraction(j, 4), Fraction(4 - i - j, 4)) for i in range(5) for j in range(5 - i)]
    best = 1 - max(masses)
    gaps = [1 - sum(p * q for p, q in zip(masses, Q, strict=True)) - best for Q in grid if Q[0] < 1]
    return gaps, [(1 - Q[0]) / 100 for Q in grid if Q[0] < 1]


@claim(
    "alpha_loss.optimal_logit",
    source=cite("sypherd2022", "classification calibration for every α; f* derived here"),
    kind=Kind.SYMBOLIC,
    formula="d/dz [η l(z) + (1-η) l(-z)] at z = α (log odds + t) has the sign of t: one minimiser, unimodal",
    wrong={"log odds / α": {"stretch": 1 / a}, "log odds": {"stretch": sp.Integer(1)}},
    exhaustive=True,
)
def optimal_score(stretch=a):
    """The conditional risk has one minimiser f* = α log(η/(1-η)), falls before and rises after it.

    So f* has the sign of η - 1/2 for every α, and the least risk at the wrong sign is reached at 0.
    """
    u, E = 1 - 1 / a, sp.Symbol("E", positive=True)  # E = e^(-z)
    eta, s = o / (1 + o), 1 / (1 + E)
    terms = s**u * (1 - s), (1 - s) ** u * s  # the derivative is -η first + (1 - η) second
    sign = (1 - eta) * E ** (-1 / a) - eta  # what is left after division by the first, which is > 0
    w = sp.Symbol("w", positive=True)  # e^t
    at = sp.powdenest(sign.subs(E, (o * w) ** (-stretch)), force=True)
    ratio = sp.expand_log(sp.log(terms[1]) - sp.log(terms[0]), force=True)
    return (
        Derivation()
        .equal("the second term is the first times e^(z/α)", ratio, -sp.log(E) / a)
        .equal("at z = α (log odds + log w) it is η (w - 1)", at, eta * (w - 1))
        .positive("for w > 1 it is > 0", (eta * (w - 1)).subs(w, 1 + t))
        .positive("for w < 1 it is < 0", -(eta * (w - 1)).subs(w, 1 / (1 + t)))
    )


@claim(
    "alpha_loss.optimal_logit_certified",
    source=cite("sypherd2022", "classification calibration for every α"),
    kind=Kind.CERTIFIED,
    relation=Relation.EQUAL,
    rtol=1e-6,
    formula="certified min over |z| <= 30 of η l(z) + (1-η) l(-z) = C*_α(η), at f* = α log(η/(1-η)); over z <= 0 at 0",
    cases=cases(alpha=[0.5, 1.0, 3.0], posterior=[0.501, 0.55, 0.9, 0.999]),
    wrong={"minimal risk of another order": {"shift": 0.5}},
)
def optimal_logit_certified(alpha, posterior, shift=0.0):
    """Certified minima over all scores, and over those of the wrong sign, are the library's values."""
    eta, u = as_ball(posterior), arb_order(alpha)

    def risk(box):
        return eta * ball_loss(box[0], u) + (1 - eta) * ball_loss(-box[0], u)

    def gradient(box):
        return [(1 - eta) * ball_slope(-box[0], u) - eta * ball_slope(box[0], u)]

    best = minimum(risk, [(-30, 30)], gradient=gradient, width=1e-10)
    wrong = minimum(risk, [(-30, 0)], gradient=gradient, width=1e-10)
    masses = [posterior, 1 - posterior]
    at_zero, at_best = MarginLoss(alpha).value(np.zeros(())), optimal_logit(posterior, alpha)
    mixed = posterior * MarginLoss(alpha).value(at_best) + (1 - posterior) * MarginLoss(alpha).value(-at_best)
    computed = [best.value, best.value, wrong.value]
    return Sides(computed, [float(minimal_risk(masses, alpha + shift)), float(mixed), float(at_zero)], 2e-10)


@claim(
    "alpha_loss.infimum_at_infinity",
    source=cite("tailbound", "α = ∞ of Sypherd et al. (2022)"),
    kind=Kind.SYMBOLIC,
    formula="η (1 - σ(z)) + (1-η) σ(z) > min(η, 1-η) for every finite z, and tends to it as z -> ∞, η > 1/2",
    wrong={"attained": {"slack": sp.Rational(1, 10)}},
    exhaustive=True,
)
def infimum_at_infinity(slack=0):
    """At α = ∞ the infimum of the conditional risk is min(η, 1 - η) and no finite score attains it."""
    E = sp.Symbol("E", positive=True)
    s, eta = 1 / (1 + E), (1 + t) / (2 + t)  # η in (1/2, 1)
    risk = eta * (1 - s) + (1 - eta) * s
    return (
        Derivation()
        .equal("z -> ∞", sp.limit(risk, E, 0), 1 - eta)
        .positive("above it at every score", sp.factor(risk - (1 - eta) - slack * E))
    )


@claim(
    "alpha_loss.calibration_function",
    source=cite("bartlett2006", "Theorem 3; the transform for α-loss derived here"),
    kind=Kind.SYMBOLIC,
    formula="ψ_α(t) = C_0 - C*_α((1+t)/2), ψ'' = (α/4) S^(1/α-2) (η(1-η))^(α-2) > 0; ψ_(1/2) = 1 - √(1-t²), "
    "ψ_1 = log 2 - h((1+t)/2), ψ_∞ = t/2",
    wrong={"norm of order 1/α": {"order": 1 / a}, "half of it": {"scale": sp.Rational(1, 2)}},
    exhaustive=True,
)
def transform(order=a, scale=1):
    """The calibration function is convex with ψ(0) = 0; its closed forms at α = 1/2 and ∞."""
    first_, second_ = sp.symbols("eta zeta", positive=True)  # η and 1 - η
    norm = (first_**order + second_**order) ** (1 / order)
    along = sp.diff(norm, first_, 2) - 2 * sp.diff(norm, first_, second_) + sp.diff(norm, second_, 2)
    total = first_**a + second_**a
    curvature = a / (a - 1) * along / 4  # η = (1 + t)/2 moves by 1/2
    stated = a / 4 * total ** (1 / a - 2) * (first_ * second_) ** (a - 2) * (first_ + second_) ** 2
    T = 1 / (1 + t)  # every t in (0, 1)
    half, T_ = sp.Rational(1, 2), sp.Symbol("T", positive=True)
    entropy: Any = LN2 + sum(m * sp.log(m) for m in ((1 + T_) / 2, (1 - T_) / 2))
    curve: Any = sp.diff(entropy, T_, 2)

    def psi(alpha):
        mass = [(1 + T) / 2, (1 - T) / 2]
        power = sum(m**alpha for m in mass) ** (1 / alpha)
        return scale * alpha / (alpha - 1) * (power - 2 ** (1 / alpha - 1))

    return (
        Derivation()
        .equal("curvature, with η + ζ = 1", sp.simplify(curvature / stated), scale)
        .positive("is > 0", stated)
        .equal("α = 1/2", sp.expand(psi(half)), 1 - sp.sqrt(1 - T**2))
        .equal("α = ∞: the larger mass minus a half", scale * ((1 + T) / 2 - half), T / 2)
        .equal(
            "α = 1: the curvature of log 2 - h is the stated one",
            scale * curve.subs(T_, T),
            stated.subs(a, 1).subs({first_: (1 + T) / 2, second_: (1 - T) / 2}),
        )
        .equal("as is its value at 0", entropy.subs(T_, 0), 0)
        .equal("and its slope there", sp.diff(entropy, T_).subs(T_, 0), 0)
    )


@claim(
    "alpha_loss.calibration_bound",
    source=cite("bartlett2006", "Theorem 1, for the α-loss of Sypherd et al. (2022)"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    atol=1e-12,
    formula="ψ_α(R01(f) - R01*) <= R_α(f) - R_α* for every f, with equality at f = 0 on one atom",
    cases=cases(alpha=[0.5, 1.0, 2.0, 8.0, float("inf")]),
    wrong={"a tenth more": {"factor": 1.1}, "without the convex root: t": {"linear": True}},
)
def calibration_bound(alpha, factor=1.0, linear=False):
    """On many discrete laws and score functions the excess error is bounded by the excess α-risk through ψ."""
    spread = np.sqrt([2.0, 3.0, 5.0, 7.0, 11.0])
    seeds = (np.arange(1, 201)[:, None] * spread) % 1  # well-spread posteriors and scores
    posterior = np.vstack([0.02 + 0.96 * seeds[:, :3], [[0.9, 0.5, 0.5]]])
    scores = np.vstack([6 * (seeds[:, 2:] - 0.5), [[-1e-12, 1.0, 1.0]]])
    weights = np.vstack([np.full((200, 3), 1 / 3), [[1.0, 0.0, 0.0]]])
    loss = MarginLoss(alpha)
    risk = posterior * loss.value(scores) + (1 - posterior) * loss.value(-scores)
    least = minimal_risk(np.stack([posterior, 1 - posterior], axis=-1), alpha)
    wrong = np.where((scores > 0) == (posterior > 0.5), 0.0, np.abs(2 * posterior - 1))
    excess, excess_risk = (weights * wrong).sum(axis=1), (weights * (risk - least)).sum(axis=1)
    bound = factor * (excess if linear else calibration_function(excess, alpha))
    return bound, excess_risk


@claim(
    "alpha_loss.calibration_curvature",
    source=cite("tailbound", "of the transform of Bartlett, Jordan and McAuliffe (2006)"),
    kind=Kind.SYMBOLIC,
    formula="ψ_α(t) = α 2^(1/α-2) t² + O(t⁴), least e ln 2 / 4 at α = ln 2; 1/2 at α = 1/2 and at 1",
    wrong={"α 2^(1/α-1)": {"power": 1}, "least at α = 1": {"best": sp.Integer(1)}},
    exhaustive=True,
)
def curvature_of_transform(power=2, best=LN2):
    """A small excess error costs its square in excess risk, times a constant that is least at α = ln 2."""
    half = sp.Rational(1, 2)
    stated = a * 2 ** (1 / a - power)
    at_even = a / 4 * (2 * half**a) ** (1 / a - 2) * (half * half) ** (a - 2)  # ψ''(0)
    log_slope = sp.diff(sp.log(stated), a)
    return (
        Derivation()
        .equal("half the curvature at 0", sp.expand_log(sp.log(at_even / 2), force=True), sp.log(stated))
        .equal("its logarithm has the derivative (α - ln 2)/α²", log_slope, (a - best) / a**2)
        .equal("value at ln 2", stated.subs(a, best), sp.E * sp.log(2) / 4)
        .equal("equal at 1/2 and 1", stated.subs(a, half), stated.subs(a, 1))
    )


@claim(
    "alpha_loss.calibration_curvature_values",
    source=cite("tailbound", "of the transform of Bartlett, Jordan and McAuliffe (2006)"),
    kind=Kind.NUMERIC,
    relation=Relation.EQUAL,
    rtol=1e-9,
    formula="ψ_α(t)/t² -> α 2^(1/α-2) as t -> 0, at t = 1e-9",
    cases=cases(alpha=[0.001, 0.1, 0.5, 0.6931471805599453, 1 - 1e-9, 1.0, 1.005, 4.0, 1e4]),
    wrong={"α/4 already": {"asymptotic": True}, "α 2^(1/α-1)": {"factor": 2.0}},
)
def curvature_values(alpha, asymptotic=False, factor=1.0):
    """The library's transform near 0 has the library's curvature."""
    t = 1e-9
    stated = alpha / 4 if asymptotic else factor * calibration_curvature(alpha)
    return float(calibration_function(t, alpha)) / t**2, stated
