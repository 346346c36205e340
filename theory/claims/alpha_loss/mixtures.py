"""α-loss on Gaussian mixtures: where the population risk is stationary; the limits of ridge-regularised training."""

from functools import cache

import numpy as np
import sympy as sp
from scipy.optimize import minimize

from ...alpha_loss.losses import MarginLoss
from ...alpha_loss.mixtures import (
    flipped,
    gaussian_minimiser,
    normalised_descent,
    population_gradient,
    population_risk,
)
from ...core.claims import Kind, Relation, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from ...vs_loss.mixture import GaussianMixture
from ...vs_loss.scalar_losses import LogisticLoss
from ...vs_loss.state_evolution import RidgeERM, ridge_erm

z = sp.Symbol("z", real=True)
MEAN, COVARIANCE = (0.5, 0.25), ((1.0, 0.3), (0.3, 0.5))
RIDGES = tuple(10.0 ** (k / 2) for k in range(-8, 1))


@claim(
    "alpha_loss.gaussian_stationary_line",
    source=cite("tailbound", "landscape of Sypherd et al. (2022) on a Gaussian mixture"),
    kind=Kind.SYMBOLIC,
    formula="E l'(Z) W = A μ + B Σθ, A = E l'(Z), B = E l''(Z), Z = ⟨θ, W⟩, W ~ N(μ, Σ); where θ ≠ 0, A = 0 leaves "
    "B > 0: stationary θ ∝ Σ^(-1) μ",
    wrong={
        "without the covariance": {"factor": 0},
        "half of it": {"factor": sp.Rational(1, 2)},
        "any loss: z³/3 - z has l' of both signs": {"fall": 1 - z**2},
        "flips that change the sign at 0": {"turn": sp.Integer(1)},
    },
    exhaustive=True,
    assumptions=(
        "two dimensions for the regression on Z; losses as mixtures of exponentials for Stein's identity",
        "μ ≠ 0; not both α = ∞ and flips of 1/2, where the risk is constant",
    ),
)
def stationary_line(factor=1, fall=None, turn=None):
    """Every stationary point, for every α and with any symmetric label flips, lies on the line of the Bayes rule.

    The part of W that is uncorrelated with Z is independent of it; what is left is Stein's identity for Z. Without
    flips l' < 0, so A < 0. With them l' changes its sign once, from - to +, at z_0 = α log((1-f)/f): if A = 0 then
    B = E (Z - z_0) l'(Z) / v > 0, and B Σθ = 0 only for θ = 0. So A ≠ 0 and Σθ is a multiple of μ.
    """
    E, u, f_odds, w = sp.symbols("E u o w", positive=True)  # E = e^(-z), o = (1-f)/f, 1 + w = e^(|z - z_0|/α)
    s, flip = 1 / (1 + E), 1 / (1 + f_odds)
    own, other = s**u * (1 - s), (1 - s) ** u * s  # -l'(z), and -l'(-z)
    second, A, z0 = sp.symbols("EZl A z_0", real=True)  # E Z l'(Z) and E l'(Z)

    def flipped_slope(score_power):  # l_f'(z) over -l'(z), by e^(z/α)
        return flip * score_power - (1 - flip)

    at_turn = f_odds if turn is None else turn  # e^(z_0/α)
    m, t, s11, s12, s22, a, b = sp.symbols("m t s11 s12 s22 theta1 theta2", real=True)
    v = sp.Symbol("v", positive=True)
    generating = sp.exp(t * m + t**2 * v / 2)  # E e^(tZ)
    theta, Sigma = sp.Matrix([a, b]), sp.Matrix([[s11, s12], [s12, s22]])
    variance = (theta.T * Sigma * theta)[0]
    rest = Sigma * theta - factor * Sigma * theta / variance * variance  # covariance of W - Σθ (Z - m)/v with Z
    return (
        Derivation()
        .equal("E e^(tZ) (Z - m) = v t E e^(tZ): Stein's identity", sp.diff(generating, t) - m * generating,
               factor * v * t * generating)
        .equal("W - Σθ (Z - m)/v is uncorrelated with Z", rest[0], 0)
        .equal("in both coordinates", rest[1], 0)
        .positive("A < 0 without flips", own if fall is None else fall)
        .equal("-l'(-z) is -l'(z) e^(z/α), 1/α = 1 - u", sp.expand_log(sp.log(other / own), force=True),
               sp.expand_log(sp.log(E ** (u - 1)), force=True))
        .positive("with flips l' > 0 beyond z_0", flipped_slope(at_turn * (1 + w)))
        .equal("at α = ∞ l' is 2f - 1 times itself: of one sign, unless f = 1/2 leaves a constant risk",
               flipped_slope(1), 2 * flip - 1)
        .positive("and < 0 before it", -flipped_slope(at_turn / (1 + w)))
        .equal("where A = 0, B = E (Z - m) l'(Z) / v is E (Z - z_0) l'(Z) / v", ((second - m * A) / v).subs(A, 0),
               ((second - z0 * A) / v).subs(A, 0))
    )  # fmt: skip


@claim(
    "alpha_loss.gaussian_minimiser",
    source=cite("tailbound", "landscape of Sypherd et al. (2022) on a Gaussian mixture"),
    kind=Kind.SYMBOLIC,
    formula="argmin R_α = 2 α Σ^(-1) μ, the α-tilted Bayes logit; |l'(z)| e^(z/(2α)) is even, so the gradient is 0; it "
    "is in a ball of radius r while α <= r / (2 ||Σ^(-1) μ||)",
    wrong={"α Σ^(-1) μ": {"factor": 1}, "2 Σ^(-1) μ": {"power": 0}},
    exhaustive=True,
)
def gaussian_point(factor=2, power=1):
    """The minimiser over all scores is linear, α times the Bayes log odds; its norm grows in proportion to α."""
    alpha, q, E = sp.symbols("alpha q E", positive=True)  # q = μ'Σ^(-1)μ, E = e^(-z)
    s = 1 / (1 + E)
    weight = s ** (1 - 1 / alpha) * (1 - s)
    c = factor * alpha**power  # θ = c Σ^(-1) μ
    r, size = sp.symbols("r p", positive=True)  # the ball, ||Σ^(-1) μ||
    past = sp.Symbol("t", nonnegative=True)
    mean, variance = c * q, c**2 * q
    X, M = sp.symbols("x_Σμ q_0", real=True)  # ⟨Σ^(-1)μ, x⟩
    odds = sp.expand(-((M - 2 * X) - (M + 2 * X)) / 2)  # log density of N(μ, Σ) over N(-μ, Σ), x'Σ^(-1)x cancelled
    return (
        Derivation()
        .equal("Bayes log odds", odds, 2 * X)
        .equal("α times it is the score at c = 2α", alpha * 2 * X, c * X)
        .equal("the density of Z is e^(z m/v) times an even function", mean / variance, 1 / (2 * alpha))
        .nonnegative(
            "α = r / (2 ||Σ^(-1)μ||) / (1 + t), t >= 0: its norm is at most r",
            r - (c * size).subs(alpha, r / (2 * size) / (1 + past)),
        )
        .equal(
            "|l'(z)| e^(z/(2α)) is even",
            sp.expand_log(sp.log(weight) - sp.log(weight.subs(E, 1 / E)), force=True),
            sp.expand_log(sp.log(E) / alpha, force=True),
        )
    )


@claim(
    "alpha_loss.gaussian_minimiser_values",
    source=cite("tailbound", "landscape of Sypherd et al. (2022) on a Gaussian mixture"),
    kind=Kind.NUMERIC,
    relation=Relation.EQUAL,
    atol=1e-6,
    formula="minimising the population risk numerically ends at 2 α Σ^(-1) μ, where the library's gradient is 0",
    cases=cases(alpha=[0.5, 1.0, 2.0, 4.0]),
    wrong={"a norm that does not grow": {"stated_alpha": 1.3}, "direction μ": {"direct": True}},
)
def gaussian_values(alpha, stated_alpha=None, direct=False):
    """Quasi-Newton steps from afar, on the risk by quadrature, find the stated minimiser."""
    arguments = (MEAN, COVARIANCE, alpha)
    found = minimize(
        population_risk, [-1.0, 1.5], args=arguments, jac=population_gradient, method="BFGS", options={"gtol": 1e-10}
    )
    goal = gaussian_minimiser(MEAN, np.diag(np.diag(COVARIANCE)) if direct else COVARIANCE, stated_alpha or alpha)
    return [*(found.x / np.linalg.norm(goal)), *population_gradient(goal, *arguments)], [
        *(goal / np.linalg.norm(goal)), 0.0, 0.0,
    ]  # fmt: skip


@claim(
    "alpha_loss.flips_keep_direction",
    source=cite("tailbound", "robustness to flips of Sypherd et al. (2022), balanced Gaussian classes"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    formula="with labels flipped at rate 0.1 or 0.3 the minimiser is still on the ray of Σ^(-1) μ, and shorter",
    cases=cases(alpha=[0.5, 1.0, 3.0], flip_rate=[0.1, 0.3]),
    wrong={"the ray of μ": {"direct": True}, "longer": {"sign": -1}},
)
def flips_keep_direction(alpha, flip_rate, direct=False, sign=1):
    """Symmetric flips of balanced Gaussian classes do not move the population's decision rule: a negative control."""
    clean = gaussian_minimiser(MEAN, COVARIANCE, alpha)

    def risk(theta):
        return population_risk(theta, MEAN, COVARIANCE, alpha, flip_rate=flip_rate)

    def gradient(theta):
        return population_gradient(theta, MEAN, COVARIANCE, alpha, flip_rate=flip_rate)

    found = minimize(risk, [0.1, 0.1], jac=gradient, method="BFGS", options={"gtol": 1e-9}).x
    ray = np.array(MEAN) if direct else clean
    cosine = float(found @ ray / np.linalg.norm(found) / np.linalg.norm(ray))
    lengths = [float(np.linalg.norm(each)) for each in (found, clean)]
    return [1 - cosine, sign * lengths[0]], [1e-6, sign * lengths[1]]


@claim(
    "alpha_loss.descent_takes_longer",
    source=cite("sypherd2022", "larger α, more steps of normalised descent; a Gaussian mixture"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_LEAST,
    formula="steps of 0.05 from (-2, 2) to within 0.2 of the minimiser: 61, 66, 70, 79, 86, 110, 183, increasing in α",
    cases=({"alphas": (0.5, 0.8, 1.0, 1.5, 2.0, 4.0, 8.0), "stated": (61, 66, 70, 79, 86, 110, 183)},),
    wrong={"decreasing": {"sign": -1}, "a step fewer at α = 8": {"stated": (61, 66, 70, 79, 86, 110, 182)}},
)
def descent_takes_longer(alphas, stated, sign=1):
    """Normalised gradient descent needs more steps the larger α is; the counts are those stated."""
    counts, stated = np.array([len(path) - 1 for path in _paths(alphas)]), np.array(stated)
    return [*(sign * np.diff(counts)), *counts, *-counts], [*np.ones(len(counts) - 1), *stated, *-stated]


@claim(
    "alpha_loss.descent_detour_grows",
    source=cite("sypherd2022", "larger α, more steps of normalised descent, read as a harder landscape"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_LEAST,
    formula="length of the path over the distance to the minimiser increases in α",
    cases=({"alphas": (0.5, 0.8, 1.0, 1.5, 2.0, 4.0, 8.0)},),
    expected="fails",
    corrected_by="alpha_loss.descent_detour",
    right={"alphas": (0.5, 0.8, 1.0, 1.5)},
    wrong={"from α = 2 on": {"alphas": (2.0, 4.0, 8.0)}},
)
def descent_detour_grows(alphas):
    """The detour of the descent grows with α. It does not: the minimiser moves away, in proportion to α."""
    detours = _detours(alphas)
    return np.diff(detours), np.zeros(len(detours) - 1)


@claim(
    "alpha_loss.descent_detour",
    source=cite("tailbound", "steps of normalised descent, Sypherd et al. (2022)"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    formula="the path is at most 1.2 times the straight line for α = 0.5 … 8; the distance explains the step counts",
    cases=({"alphas": (0.5, 1.0, 2.0, 8.0)},),
    wrong={"1.1 times": {"most": 1.1}},
)
def descent_detour(alphas, most=1.2):
    """On this mixture more steps at large α come from the distance to the minimiser, not from its landscape."""
    return _detours(alphas), [most] * len(alphas)


@cache
def _paths(alphas) -> tuple:
    return tuple(normalised_descent([-2.0, 2.0], MEAN, COVARIANCE, a, step=0.05, within=0.2) for a in alphas)


def _detours(alphas) -> np.ndarray:
    distances = [np.linalg.norm(gaussian_minimiser(MEAN, COVARIANCE, a) - [-2.0, 2.0]) - 0.2 for a in alphas]
    return np.array([0.05 * (len(path) - 1) for path in _paths(alphas)]) / distances


@cache
def limit(
    alpha: float, *, prior: float, aspect_ratio: float, ridge: float, flip_rate: float = 0.0, signal: float = 2.0
) -> RidgeERM:
    """The limit of ridge-regularised α-loss on an antipodal mixture with flipped labels; components 1, 2 are clean."""
    mixture = flipped(GaussianMixture.antipodal(prior, signal), flip_rate)
    return ridge_erm(mixture, aspect_ratio, ridge, (MarginLoss(alpha),) * 2)


@claim(
    "alpha_loss.state_evolution",
    source=cite("mignacco2020", "extended to the α-loss, α <= 1"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    formula="residual of the fixed point <= 1e-10 with a finer quadrature, α = 0.3 … 1; at α = 1 the log-loss's limit",
    cases=cases(alpha=[0.5, 0.8], flip_rate=[0.0, 0.2]),
    full_cases=cases(alpha=[0.3, 0.6, 0.99], flip_rate=[0.0, 0.2]),
    wrong={"log-loss of half the scale": {"delta": 0.5}, "another ridge": {"factor": 1.1}},
)
def state_evolution(alpha, flip_rate, delta=1.0, factor=1.0):
    """The α-loss joins the state evolution, and agrees at α = 1 with the closed-form proximal map of the log-loss.

    What the limits at α < 1 say of training is decided by simulation, claim ``alpha_loss.simulated_limits``.
    """
    known = {"prior": 0.2, "aspect_ratio": 0.5, "ridge": 0.01, "flip_rate": flip_rate}
    found = limit(alpha, **known)
    mixture = flipped(GaussianMixture.antipodal(0.2, 2.0), flip_rate)
    reference = ridge_erm(mixture, 0.5, 0.01 * factor, (LogisticLoss(delta=delta),) * 2)
    at_one = limit(1.0, **known)
    gaps = [found.residual, found.correction, float(np.abs(at_one.errors - reference.errors).max())]
    return gaps, [1e-10] * 3


@claim(
    "alpha_loss.minority_at_fixed_ridge",
    source=cite("sypherd2022", "α < 1 is more sensitive to the rare class"),
    kind=Kind.NUMERIC,
    relation=Relation.LESS,
    formula="π = 0.1, ||μ|| = 2, ridge fixed: R_+ at α = 1/2 < R_+ at 0.8 < R_+ at 1, by 0.02 at d/n = 1/2, λ = 0.1",
    cases=({"aspect_ratio": 0.5, "ridge": 0.1}, {"aspect_ratio": 2.0, "ridge": 0.01}),
    full_cases=cases(aspect_ratio=[0.05, 0.5, 2.0], ridge=[0.1, 0.01]),
    wrong={"α = 1/2 last": {"alphas": (1.0, 0.8, 0.5)}},
)
def minority_at_fixed_ridge(aspect_ratio, ridge, alphas=(0.5, 0.8, 1.0)):
    """At the same ridge a smaller α has the smaller minority error, in the limit."""
    errors = [limit(a, prior=0.1, aspect_ratio=aspect_ratio, ridge=ridge).class_errors[0] for a in alphas]
    margin = 0.02 if (aspect_ratio, ridge) == (0.5, 0.1) else 0.0
    return np.array(errors[:-1]) + margin, errors[1:]


@claim(
    "alpha_loss.imbalance_gain_at_best_ridge",
    source=cite("sypherd2022", "α < 1 is more sensitive to the rare class, at the best ridge of each α"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_LEAST,
    formula="min over λ of R_bal at α = 1/2 is smaller than at α = 1 by 1e-3, π = 0.1, ||μ|| = 2",
    cases=cases(aspect_ratio=[0.1]),
    expected="fails",
    corrected_by="alpha_loss.imbalance_is_regularisation",
    right={"ridges": (0.1,)},
    wrong={"α = 2/3": {"alpha": 2 / 3}},
)
def imbalance_gain_at_best_ridge(aspect_ratio, alpha=0.5, ridges=RIDGES):
    """α < 1 improves the balanced error. Only at a given ridge: the best ridges of all α give the same error."""
    best = [_best_balanced(a, aspect_ratio, ridges) for a in (1.0, alpha)]
    return best[0] - best[1], 1e-3


@claim(
    "alpha_loss.imbalance_is_regularisation",
    source=cite("tailbound", "limit of α-loss under imbalance, Sypherd et al. (2022)"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    formula="|min over λ of R_bal(α) - min over λ of R_bal(1)| <= 1e-3 for α = 1/2, 0.8; π = 0.1, ||μ|| = 2",
    cases=({"aspect_ratio": 0.1, "alphas": (0.5,)},),
    full_cases=cases(aspect_ratio=[0.05, 0.1, 0.2, 0.5, 1.0], alphas=[(0.5, 0.8)]),
    wrong={"at one ridge": {"ridges": (0.1,)}},
)
def imbalance_is_regularisation(aspect_ratio, alphas, ridges=RIDGES):
    """What α < 1 does for the rare class is what a smaller ridge does; with both tuned nothing is gained."""
    best = [_best_balanced(a, aspect_ratio, ridges) for a in (1.0, *alphas)]
    return np.abs(np.array(best[1:]) - best[0]), [1e-3] * len(alphas)


def _best_balanced(alpha: float, aspect_ratio: float, ridges) -> float:
    return min(limit(alpha, prior=0.1, aspect_ratio=aspect_ratio, ridge=ridge).balanced_error for ridge in ridges)


@claim(
    "alpha_loss.imbalance_vanishes_with_examples",
    source=cite("sypherd2022", "classification calibration: the population rule does not depend on α"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    formula="|R_+(α) - R_+(1)| at ridge 1e-7 is below d/n at d/n = 0.01, 0.001, 0.0001",
    cases=cases(alpha=[0.5]),
    full_cases=cases(alpha=[0.65, 0.8]),
    wrong={"ridge 0.01": {"ridge": 0.01}},
)
def imbalance_vanishes(alpha, ridge=1e-7):
    """Without regularisation the effect of α on the minority vanishes as examples grow: the model is well specified."""
    errors = [
        [limit(a, prior=0.1, aspect_ratio=g, ridge=ridge).class_errors[0] for a in (alpha, 1.0)]
        for g in (1e-2, 1e-3, 1e-4)
    ]
    return np.abs(np.diff(errors, axis=1)).ravel(), [1e-2, 1e-3, 1e-4]


@claim(
    "alpha_loss.flips_hurt_small_alpha",
    source=cite("sypherd2022", "α < 1 is less robust to flips"),
    kind=Kind.NUMERIC,
    relation=Relation.GREATER,
    formula="balanced classes, flips 0.2, λ = 0.01, d/n = 0.1 … 0.5: error at α = 1/2 > error at 0.8 > error at 1",
    cases=({"aspect_ratio": 0.5, "flip_rate": 0.2},),
    full_cases=cases(aspect_ratio=[0.1, 0.2, 0.5], flip_rate=[0.1, 0.2, 0.3]),
    wrong={"α = 1/2 best": {"alphas": (1.0, 0.8, 0.5)}},
)
def flips_hurt_small_alpha(aspect_ratio, flip_rate, alphas=(0.5, 0.8, 1.0)):
    """With flipped labels and balanced classes a smaller α has the larger error, in the limit."""
    errors = [limit(a, prior=0.5, aspect_ratio=aspect_ratio, ridge=0.01, flip_rate=flip_rate).errors[0] for a in alphas]
    return errors[:-1], errors[1:]


@claim(
    "alpha_loss.erm_certificate",
    source=cite("tailbound", "exponential-cone form of the α-loss of a score, α <= 1"),
    kind=Kind.CONVEX,
    relation=Relation.EQUAL,
    atol=1e-5,
    formula="the certified minimiser of mean α-loss + (λ/2) ||w||² has zero gradient by the library's slope",
    cases=cases(alpha=[0.5, 0.8, 1.0]),
    wrong={"gradient of another α": {"shift": 0.1}, "gradient without the ridge": {"factor": 0.0}},
)
def erm_certificate(alpha, shift=0.0, factor=1.0):
    """A conic solver's minimiser of the regularised risk is stationary for the library's slope."""
    from ...alpha_loss.programs import minimise_ridge_risk
    from ...core.points import separable_points

    points, labels = separable_points(5, 12, 3)
    points[:3] *= -1  # not separable
    ridge = 0.1
    w, b, _ = minimise_ridge_risk(points, labels, alpha, ridge)
    slopes = MarginLoss(alpha + shift).slope(labels * (points @ w + b)) * labels / len(labels)
    return [*(points.T @ slopes + factor * ridge * w), slopes.sum()], [0.0] * 4
