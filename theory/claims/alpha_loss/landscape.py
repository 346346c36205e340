"""Lipschitz constants and where they are attained, strong convexity, saturation in α, descent, label noise."""

import numpy as np
import sympy as sp

from ...alpha_loss.calibration import tilted
from ...alpha_loss.landscape import (
    convexity_modulus,
    descent_steps,
    generalisation_bound,
    largest_loss,
    lipschitz_constant,
    noise_gap_bound,
    saturation_constants,
    slqc_radius,
    smallest_alpha_for_gap,
)
from ...alpha_loss.losses import MarginLoss, alpha_loss, exponent
from ...alpha_loss.mixtures import gaussian_minimiser, population_gradient, population_risk
from ...core.certified import minimum
from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.derivation import Derivation
from ...core.points import separable_points
from ...core.sources import cite
from .shape import E, arb_order, loss_at, more, slope, t, x

QUARTER = sp.Rational(1, 4)


def _ball_slope(z, u):
    return (-u * (1 + (-z).exp()).log()).exp() / (1 + z.exp())


def _ball_curvature(z, u):
    s = 1 / (1 + (-z).exp())
    return _ball_slope(z, u) * (s - u * (1 - s))


def _steepest_slope(alpha, radius):
    """Certified largest |l'| over |z| <= radius."""
    u = arb_order(alpha)
    found = minimum(
        lambda box: -_ball_slope(box[0], u),
        [(-radius, radius)],
        gradient=lambda box: [_ball_curvature(box[0], u)],
        width=1e-10,
    )
    return -found.value.ball


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
    steepest = _steepest_slope(alpha, radius)
    return [float(steepest.mid())], [float(stated)]


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
    return float(_steepest_slope(alpha, radius).mid()), lipschitz_constant(alpha)


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
    formula="C, D and the generalisation bound at α_(k+1) <= those at α_k, and C is continuous at α = 1",
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
    beside = lipschitz_constant(1 + 1e-9, np.inf if everywhere else radius)
    jump = abs(beside - lipschitz_constant(1.0, radius))
    return [*(sign * rows[1:]).ravel(), jump], [*(sign * rows[:-1]).ravel(), 1e-6]


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
    formula="λ_min of the Hessian of the empirical risk over ||θ|| <= R >= Λ(α, R max ||x||) λ_min(mean of x x')",
    cases=cases(alpha=[0.5, 0.8, 1.0], parameter_radius=[0.5, 2.0]),
    wrong={"twice the modulus": {"factor": 2.0}, "modulus of half the radius": {"shrink": 0.5}},
)
def strong_convexity(alpha, parameter_radius, factor=1.0, shrink=1.0):
    """On the circle of largest θ the Hessian of the mean loss never falls below the modulus."""
    points, labels = separable_points(6, 6, 2)
    signed = points * labels[:, None]
    signed /= np.linalg.norm(signed, axis=1, keepdims=True)
    signed = np.vstack([np.tile(signed[:1], (400, 1)), signed])  # nearly one direction: the modulus is nearly attained
    least = np.inf
    for angle in np.linspace(0, 2 * np.pi, 721):
        theta = parameter_radius * np.array([np.cos(angle), np.sin(angle)])
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


@claim(
    "alpha_loss.slqc_algebra",
    source=cite("sypherd2022", "SLQC degrades as α grows; the form derived here"),
    kind=Kind.SYMBOLIC,
    formula="(ρ G - 2 R δ)/(G + δ) = ρ [1 - (1 + 2R/ρ) δ/(G + δ)], > 0 if α - α_0 < α_0² G / (2 J (1 + R/ρ))",
    wrong={"R in place of 2R": {"factor": 1}, "twenty times the condition": {"spare": 20}},
    exhaustive=True,
)
def slqc_algebra(factor=2, spare=1):
    """What a gradient of norm G, known up to δ, leaves of the radius ρ; how far α may grow from α_0."""
    rho, G, R, J, a0, gone = sp.symbols("rho G R J alpha_0 w", positive=True)
    d = sp.Symbol("delta", positive=True)
    left = (rho * G - 2 * R * d) / (G + d)
    step = spare * a0**2 * G / (2 * J * (1 + R / rho)) / (1 + gone)  # every α - α_0 below the condition's
    change = J * step / (a0 * (a0 + step))
    return (
        Derivation()
        .equal("the radius", left, rho * (1 - (1 + factor * R / rho) * d / (G + d)))
        .positive("is > 0 under the condition", rho * G - 2 * R * change)
        .positive("and the change of the gradient is below G", G - change)
    )


@claim(
    "alpha_loss.slqc_values",
    source=cite("sypherd2022", "SLQC degrades as α grows"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    atol=1e-9,
    formula="library radius <= ⟨-∇R_α, θ_0 - θ⟩/||∇R_α|| on an empirical risk in two dimensions",
    cases=cases(alpha=[1.0, 1.05, 1.2]),
    wrong={"no degradation": {"kept": True}},
)
def slqc_values(alpha, kept=False):
    """The predicted radius never exceeds the true one, at points around the minimiser of the log-loss."""
    points, labels = separable_points(12, 12, 2)
    signed = np.clip(points * labels[:, None], -1, 1)
    target = np.array([0.9, 0.3])
    predicted, true = [], []
    for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False):
        theta = np.array([np.cos(angle), np.sin(angle)])
        before, after = (signed.T @ MarginLoss(a).slope(signed @ theta) / len(signed) for a in (1.0, alpha))
        radius = float(-before @ (target - theta) / np.linalg.norm(before))
        if radius > 0:
            left = slqc_radius(
                1.0 if kept else alpha, 1.0, gradient_norm=float(np.linalg.norm(before)), start_radius=radius,
                radius=float(np.abs(signed @ theta).max()), feature_norm=float(np.linalg.norm(signed, axis=1).max()),
                parameter_radius=1.0,
            )  # fmt: skip
            predicted.append(left)
            true.append(max(float(-after @ (target - theta) / np.linalg.norm(after)), 0.0))
    return predicted, true


@claim(
    "alpha_loss.slqc_value_branch",
    source=cite("tailbound", "SLQC degrades as α grows, Sypherd et al. (2022): the other branch"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    atol=1e-12,
    formula="R_α(θ) - R_α(θ_0) <= R_β(θ) - R_β(θ_0) + (L²/2)(1/β - 1/α), 1 <= β <= α, L = log(1 + e^r); 0.98 attained",
    cases=cases(radius=[0.5, 3.0], start_alpha=[1.0, 2.0]),
    wrong={"half of it": {"factor": 0.5}, "twice it is attained": {"factor": 2.0}},
)
def slqc_value_branch(radius, start_alpha, factor=1.0):
    """Where θ is within ε of θ_0 at β it is within ε plus the saturation constant at α: once, not for each point.

    The loss falls in α at every score, so that of the two changes one is at most 0.
    """
    scores = np.linspace(-radius, radius, 61)
    ratios = []
    for alpha in start_alpha * np.array([1.0001, 1.5, 4.0, 1e6]):
        falls = MarginLoss(start_alpha).value(scores) - MarginLoss(alpha).value(scores)
        moved = falls - falls[:, None]  # rows: the score of θ, columns: that of θ_0
        spare = factor * saturation_constants(radius)[0] * (1 / start_alpha - 1 / alpha)
        ratios.append(float(moved.max() / spare))
    attained = [-max(ratios)] if start_alpha == 1.0 and radius == 3.0 else []
    return [*ratios, *attained], [*np.ones(len(ratios)), *([-0.98] * len(attained))]


@claim(
    "alpha_loss.descent_steps",
    source=cite("hazan2015", "Theorem 4.1"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    formula="log-loss on N(±μ, Σ): the best of (κ ||θ_1 - θ*|| / ε)² steps of length ε/κ is within ε of the optimum",
    cases=cases(excess=[0.1, 0.05]),
    wrong={"1/200 of the steps": {"share": 0.005}},
    assumptions=("κ = E ||x|| at most √(||μ||² + tr Σ)",),
)
def normalised_steps(excess, share=1.0):
    """Normalised gradient descent on the convex risk needs no more steps than its bound."""
    mean, covariance = np.array([0.5, 0.25]), np.array([[1.0, 0.3], [0.3, 0.5]])
    goal = gaussian_minimiser(mean, covariance, 1.0)
    theta = np.array([-2.0, 2.0])
    slope_bound = float(np.sqrt(mean @ mean + np.trace(covariance)))
    steps = int(share * descent_steps(excess, slope_bound, float(np.linalg.norm(theta - goal))))
    best = np.inf
    for _ in range(min(steps, 600)):
        best = min(best, population_risk(theta, mean, covariance, 1.0))
        if best - population_risk(goal, mean, covariance, 1.0) <= excess:
            break
        gradient = population_gradient(theta, mean, covariance, 1.0)
        theta = theta - excess / slope_bound * gradient / np.linalg.norm(gradient)
    return best, population_risk(goal, mean, covariance, 1.0) + excess


@claim(
    "alpha_loss.label_sum",
    source=cite("zhang2018", "Lemma 1, in α"),
    kind=Kind.CONVEX,
    relation=Relation.EQUAL,
    rtol=1e-6,
    formula="over distributions Q, α > 1: least Σ_k l^α(Q_k) = (α/(α-1)) (K - K^(1/α)), largest (α/(α-1)) (K - 1)",
    cases=(*cases(num_classes=[2, 3, 10], alpha=[1.5, 3.0]), {"num_classes": 100, "alpha": 3.0}),
    full_cases=cases(num_classes=[100], alpha=[1.5, 10.0]),
    wrong={"K^(1-1/α)": {"power": "u"}},
)
def label_sum(num_classes, alpha, power="v"):
    """The sum of the losses over all labels is bounded for α > 1: a power-cone program and a corner give the range."""
    from ...alpha_loss.programs import least_label_sum

    proof = least_label_sum(num_classes, alpha)
    u = exponent(alpha)
    corner = alpha_loss(np.eye(num_classes)[0], alpha).sum()
    least = (num_classes - num_classes ** (1 - u if power == "v" else u)) / u
    return Sides([proof.value, corner], [least, (num_classes - 1) / u], [proof.gap, 0.0])


@claim(
    "alpha_loss.noise_gap_identity",
    source=cite("zhang2018", "Theorem 1, in α; f* need not attain zero risk"),
    kind=Kind.SYMBOLIC,
    formula="R_η = (1 - η K/(K-1)) R + η/(K-1) E Σ_k l; so R(f_η) - R(f*) <= η (Σmax - Σmin) / (K - 1 - η K)",
    wrong={"flips over K labels": {"others": 0}},
    exhaustive=True,
)
def noise_gap_identity(others=1):
    """Uniform flips add a multiple of the summed loss; its range bounds what the noisy minimiser can lose."""
    K = sp.Symbol("k", integer=True, positive=True) + 1
    eta, own, rest = sp.symbols("eta l_y l_rest", positive=True)  # loss of the true label, of the others summed
    spread, v = sp.symbols("s v", positive=True)
    noisy = (1 - eta) * own + eta * rest / (K - others)
    weight = 1 - eta * K / (K - 1)
    u = 1 - v
    return (
        Derivation()
        .equal("noisy risk", noisy, weight * own + eta / (K - 1) * (own + rest))
        .equal("gap from the range s of the sum", eta / (K - 1) * spread / weight, eta * spread / (K - 1 - eta * K))
        .equal("the range", (K - 1) / u - (K - K**v) / u, (K**v - 1) / u)
    )


@claim(
    "alpha_loss.noise_gap_bound",
    source=cite("zhang2018", "Theorem 1, in α"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    atol=1e-12,
    formula="R(f_η) - R(f*) <= η (α/(α-1)) (K^(1/α) - 1)/(K - 1 - η K); -> 0 as α -> ∞",
    cases=cases(num_classes=[2, 3, 10, 100], alpha=[1.5, 2.0, 10 / 3, 10.0, float("inf")]),
    wrong={"a thirtieth": {"factor": 1 / 30}, "K^(1/α²)": {"squared": True}},
)
def noise_gap(num_classes, alpha, factor=1.0, squared=False):
    """The exact loss of the noisy minimiser on a deterministic label stays below the library's bound."""
    gaps, bounds = [], []
    for share in (0.1, 0.5, 0.9):
        eta = share * (1 - 1 / num_classes)
        noisy = np.full(num_classes, eta / (num_classes - 1))
        noisy[0] = 1 - eta
        gaps.append(float(alpha_loss(tilted(noisy, alpha)[0], alpha)))
        bounds.append(factor * noise_gap_bound(alpha**2 if squared else alpha, num_classes, eta))
    return gaps, bounds


@claim(
    "alpha_loss.alpha_for_gap",
    source=cite("tailbound", "the bound of Zhang and Sabuncu (2018), Theorem 1"),
    kind=Kind.NUMERIC,
    relation=Relation.EQUAL,
    rtol=1e-9,
    formula="noise_gap_bound(α) = gap at the smallest α whose bound is at most the gap",
    cases=cases(num_classes=[2, 10, 100], flip_rate=[0.1, 0.4], gap=[0.05, 0.5]),
    wrong={"0.7 of that α": {"factor": 0.7}},
)
def alpha_for_gap(num_classes, flip_rate, gap, factor=1.0):
    """The library's choice of α for a wanted gap under label noise inverts the bound."""
    alpha = smallest_alpha_for_gap(num_classes, flip_rate, gap)
    return noise_gap_bound(max(alpha * factor, 1.0001), num_classes, flip_rate), gap
