"""How far normalised gradient descent gets: strict local quasi-convexity, and what a larger α leaves of it."""

import numpy as np
import sympy as sp

from ...alpha_loss.landscape import descent_steps, saturation_constants, slqc_radius
from ...alpha_loss.losses import MarginLoss
from ...alpha_loss.mixtures import gaussian_minimiser, population_gradient, population_risk
from ...core.claims import Kind, Relation, cases, claim
from ...core.derivation import Derivation
from ...core.points import separable_points
from ...core.sources import cite


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
    a, b, c, e = sp.symbols("a b c d", real=True)
    rho, G, R, J, a0, gone = sp.symbols("rho G R J alpha_0 w", positive=True)
    d = sp.Symbol("delta", positive=True)
    left = (rho * G - 2 * R * d) / (G + d)
    step = spare * a0**2 * G / (2 * J * (1 + R / rho)) / (1 + gone)  # every α - α_0 below the condition's
    change = J * step / (a0 * (a0 + step))
    return (
        Derivation()
        .nonnegative("⟨a, b⟩ <= |a| |b| in the plane of both", (a**2 + b**2) * (c**2 + e**2) - (a * c + b * e) ** 2)
        .equal("as a square", (a**2 + b**2) * (c**2 + e**2) - (a * c + b * e) ** 2, (a * e - b * c) ** 2)
        .equal("the radius", left, rho * (1 - (1 + factor * R / rho) * d / (G + d)))
        .positive("is > 0 under the condition", rho * G - 2 * R * change)
        .positive("and the change of the gradient is below G", G - change)
    )


@claim(
    "alpha_loss.slqc_radius",
    source=cite("tailbound", "SLQC degrades as α grows, Sypherd et al. (2022)"),
    kind=Kind.NUMERIC,
    relation=Relation.EQUAL,
    rtol=1e-12,
    formula="slqc_radius = ρ [1 - (1 + 2R/ρ) δ/(G + δ)], δ = X log(1 + e^r) σ(r) (1/α_0 - 1/α), or 0 if that is < 0",
    cases=cases(start_alpha=[1.0, 2.0], alpha=[2.0, 2.1, 50.0], parameter_radius=[0.5, 2.0], feature_norm=[0.1, 2.0]),
    wrong={"R in place of 2R": {"factor": 1}, "without σ(r)": {"power": 0}, "1/α_0 alone": {"gone": 0}},
)
def slqc_formula(start_alpha, alpha, parameter_radius, feature_norm, factor=2, power=1, gone=1):
    """The library's radius is the derived one, the change of the gradient bounded by the saturation constant."""
    rho, r, X = 3.0, 1.5, feature_norm
    G = 4 * X
    sigmoid = 1 / (1 + np.exp(-r))
    delta = X * np.log(1 + np.exp(r)) * sigmoid**power * (1 / start_alpha - gone / alpha)
    stated = slqc_radius(
        alpha, start_alpha, gradient_norm=G, start_radius=rho, radius=r, feature_norm=X,
        parameter_radius=parameter_radius,
    )  # fmt: skip
    return max(rho * (1 - (1 + factor * parameter_radius / rho) * delta / (G + delta)), 0.0), stated


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
    """The predicted radius never exceeds the true one, at points of the unit circle and at points near θ_0."""
    points, labels = separable_points(12, 12, 2)
    signed = np.clip(points * labels[:, None], -1, 1)
    target = np.array([0.9, 0.3])
    predicted, true = [], []
    circle = np.array([[np.cos(angle), np.sin(angle)] for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False)])
    for theta in (*circle, *(target + 0.05 * circle)):
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
    "alpha_loss.convex_slqc",
    source=cite("hazan2015", "Definition 3.1 for convex functions, proof of Theorem 4.1"),
    kind=Kind.SYMBOLIC,
    formula="f convex, κ-Lipschitz on ||y - x*|| <= ε/κ: f(x) - f* > ε gives ⟨∇f(x), y - x⟩ < 0 for those y; then a "
    "step of ε/κ along -∇f/||∇f|| takes (ε/κ)² at least off ||x - x*||²",
    wrong={"a ball of 2ε/κ": {"radius": 2}, "steps of 2ε/κ": {"step": 2}},
    exhaustive=True,
)
def convex_slqc(radius=1, step=1):
    """A convex function that is κ-Lipschitz near x* is (ε, κ, x*)-SLQC everywhere, and (κ d/ε)² steps suffice.

    For α <= 1 the α-risk of a linear score: κ = C(α, r) max ||x||, r the largest score over that ball.
    """
    eps, kappa, over = sp.symbols("epsilon kappa Δ", positive=True)
    w = sp.Symbol("w", nonnegative=True)
    ball = radius * eps / kappa / (1 + w)  # every distance ||y - x*|| in the ball
    length = step * eps / kappa
    away = eps / kappa  # ⟨∇f/||∇f||, x - x*⟩ is this at least: y = x* + (ε/κ) ∇f/||∇f|| is in the ball
    return (
        Derivation()
        .positive("⟨∇f(x), x - y⟩ >= f(x) - f(y) > 0, as f(y) <= f* + κ ||y - x*||", (eps + over) - kappa * ball)
        .nonnegative("what a step takes off is (ε/κ)² at least", 2 * length * away - length**2 - (eps / kappa) ** 2)
    )


@claim(
    "alpha_loss.descent_steps_attained",
    source=cite("tailbound", "sharp case of Hazan, Levy and Shalev-Shwartz (2015), Theorem 4.1"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    formula="f = max(x_1, …, x_T, -c), x* = -c (1, …, 1), ε = 0.99 c: T steps of ε from 0 are needed, "
    "(c √T / ε)² = 1.0203 T allowed",
    cases=cases(dimension=[50, 400]),
    wrong={"nine tenths of the bound": {"share": 0.9}, "twice the bound": {"share": 2.0}},
)
def descent_steps_attained(dimension, share=1.0):
    """At least 95 % of the library's steps are needed: a maximum of coordinates needs one step for each."""
    goal, excess = 0.3, 0.99 * 0.3
    x, steps = np.zeros(dimension), 0
    while max(x.max(), -goal) + goal > excess:
        x[x.argmax()] -= excess  # a subgradient of length 1
        steps += 1
    bound = share * descent_steps(excess, 1.0, goal * np.sqrt(dimension))
    return [steps, 0.95 * bound], [bound, steps]


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
def normaliseesteps(excess, share=1.0):
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
