"""When training sets are separable in the limit, and what more dimensions do beyond that."""

from fractions import Fraction

import numpy as np
import sympy as sp

from ...core import gaussian
from ...core.certified import Enclosure, as_ball, partial_expectation, partial_second_moment, precision, root
from ...core.claims import Kind, Relation, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from ...vs_loss.asymptotics import hard_margin_map, separability_threshold
from ...vs_loss.certified_margin import inverse_partial_expectation
from ...vs_loss.mixture import GaussianMixture
from .moments import SECOND, cdf, g1, g2, t

b = sp.Symbol("b", real=True)
pi1, pi2, gamma, m = sp.symbols("pi1 pi2 gamma m", positive=True)


@claim(
    "vs_loss.threshold_half_any_prior",
    source=cite("tailbound", "Cover's 1/2 with a free intercept"),
    kind=Kind.SYMBOLIC,
    formula="without signal γ* = 1/2 whatever the prior: π g2(-b) + (1 - π) g2(b) is least at b = 0",
    expected="fails",
    corrected_by="vs_loss.threshold_half_balanced",
    right={"odds": 1},
    wrong={"π = 1/3": {"odds": 2}},
)
def threshold_half_any_prior(odds=None):
    """Without signal, two classes of any sizes separate exactly above d/n = 1/2."""
    r = sp.Symbol("r", positive=True) if odds is None else sp.Integer(odds)  # π = 1 / (1 + r)
    energy = (SECOND.subs(t, -b) + r * SECOND.subs(t, b)) / (1 + r)
    return (
        Derivation()
        .equal("the value at b = 0", energy.subs(b, 0), sp.Rational(1, 2))
        .equal("the derivative there", sp.diff(energy, b).subs(b, 0), 0)
    )


@claim(
    "vs_loss.threshold_half_balanced",
    source=cite("tailbound", "Cover's 1/2"),
    kind=Kind.SYMBOLIC,
    formula="γ* without signal: 1/2 at π = 1/2 or without an intercept; below 1/2 for other priors with one",
    wrong={"1/3 at π = 1/2": {"value": Fraction(1, 3)}, "also for other priors": {"slope": 0}},
    exhaustive=True,
    assumptions=("without signal ρ = 0 is best: g2 does not depend on it and 1 / (1 - |ρ|²) is least there",),
)
def threshold_half_balanced(value=Fraction(1, 2), slope=1):
    """Without signal the threshold is Cover's 1/2 for equal classes, lower for unequal ones with a free intercept."""
    r, gap = sp.symbols("r h", positive=True)  # π = 1 / (1 + r)
    energy = (g2(-b) + r * g2(b)) / (1 + r)
    tilt = 2 * (r - 1) / (1 + r) * g1(0)
    curvature = 2 * (cdf(-b) + r * cdf(b)) / (1 + r)
    return (
        Derivation()
        .equal("at b = 0 (the only choice without an intercept) the energy is g2(0)", energy.subs(b, 0), g2(0))
        .equal("which is 1/2", SECOND.subs(t, 0), value)
        .equal("its slope in b there", sp.diff(energy, b).subs(b, 0), slope * tilt)
        .equal("0 at equal classes", tilt.subs(r, 1), 0)
        .equal("its curvature", sp.diff(energy, b, 2), curvature)
        .positive("is positive, so b = 0 is the minimum at equal classes", curvature)
        .positive("for r = 1 + h some b does better", tilt.subs(r, 1 + gap))
        .positive("and for r = 1/(1 + h)", -tilt.subs(r, 1 / (1 + gap)))
    )


@claim(
    "vs_loss.threshold_values",
    source=cite("kini2021", "phase transition; Lyu et al. (2026), Theorem 2.1"),
    kind=Kind.CERTIFIED,
    formula="γ* at the stationary point where u = 0: t_+ + t_- + 2 m ρ = 0",
    relation=Relation.EQUAL,
    rtol=1e-12,
    cases=(
        {"prior": 0.5, "strength": 1.0},
        {"prior": 0.15, "strength": 1.75},
        {"prior": 0.1, "strength": 0.0},
        {"prior": 0.01, "strength": 3.0},
    ),
    wrong={"no intercept": {"intercept": False}, "full distance of the means": {"scale": 2.0, "strength": 1.0}},
)
@precision(128)
def threshold_values(prior, strength, scale=1.0, intercept=True):
    """The library's separability threshold is the certified stationary point with margin 0."""
    plus, square = as_ball(prior), 4 * as_ball(strength * scale) ** 2
    minus = 1 - plus

    def parts(minus_lift):
        pull = minus * partial_expectation(minus_lift).ball
        plus_lift = inverse_partial_expectation(pull / plus)
        energy = plus * partial_second_moment(plus_lift).ball + minus * partial_second_moment(minus_lift).ball
        return pull, -(plus_lift + minus_lift), energy

    def excess(minus_lift):  # energy = γ (1 - ρ²) with 2 m ρ = w and γ = 4 m² a / w, times w; at m = 0 it is w = 0
        pull, width, energy = parts(minus_lift)
        return width * energy - square * pull + pull * width**2 if strength else width

    pull, width, energy = parts(root(excess, -2 * strength - 6, 0.125, width=1e-20).ball)
    computed = Enclosure(square * pull / width if strength else energy)
    stated = separability_threshold(GaussianMixture.antipodal(prior, strength), intercept=intercept)
    return computed, stated


@claim(
    "vs_loss.fixed_means_no_second_descent",
    source=cite("tailbound", "from Kini et al. (2021), Theorem 2"),
    kind=Kind.SYMBOLIC,
    formula="at fixed means ρ falls, and the balanced error at the optimal ratio Q(ρ m) rises, with every d / n",
    wrong={"ρ rises": {"sign": -1}},
    exhaustive=True,
    assumptions=("separable, so d / n above the threshold", "h = g2 ∘ g1⁻¹ is convex with h(0) = 0, so v h'(v) > h(v)"),
)
def fixed_means_no_second_descent(sign=1):
    """With fixed means more features only hurt an interpolating classifier; a second descent needs growing signal."""
    rho, slope1, slope2, gap1, gap2 = sp.symbols("rho h1 h2 e1 e2", positive=True)
    v1, v2 = (gamma * rho / (2 * m * p) for p in (pi1, pi2))
    # H = π_1 h(v_1) + π_2 h(v_2) - γ (1 - ρ²), with h(v) = v h' - e, e > 0
    by_rho = pi1 * slope1 * v1 / rho + pi2 * slope2 * v2 / rho + 2 * gamma * rho
    by_gamma = pi1 * slope1 * v1 / gamma + pi2 * slope2 * v2 / gamma  # minus (1 - ρ²), which H = 0 replaces
    energy = pi1 * (slope1 * v1 - gap1) + pi2 * (slope2 * v2 - gap2)
    return (
        Derivation()
        .positive("∂H/∂ρ", by_rho)
        .equal("∂H/∂γ where H = 0", by_gamma - energy / gamma, (pi1 * gap1 + pi2 * gap2) / gamma)
        .positive("so dρ/dγ = -(∂H/∂γ)/(∂H/∂ρ) is negative", sign * (by_gamma - energy / gamma).simplify() / by_rho)
    )


@claim(
    "vs_loss.second_descent_optimal",
    source=cite("tailbound", "mismatched features of Kini et al. (2021), Figure 1"),
    kind=Kind.SYMBOLIC,
    formula="if ||μ||² = κ d/n, the balanced error at the optimal ratio, Q(2 κ a), falls with d/n when separable",
    wrong={"it rises": {"sign": -1}},
    exhaustive=True,
    assumptions=("features that each add the same signal, of which the classifier sees d",),
)
def second_descent_optimal(sign=1):
    """Where every feature carries signal, more of them lower the error of the optimal ratio past the threshold."""
    kappa, a, slope1, slope2 = sp.symbols("kappa a h1 h2", positive=True)
    square = kappa * gamma
    left = 4 * square * a**2 / gamma  # + π_1 h(a/π_1) + π_2 h(a/π_2) = γ
    rise = slope1 + slope2 + sp.diff(left, a)
    score = 2 * square * a / gamma
    return (
        Derivation()
        .equal("the equation's left side depends on a alone", sp.diff(left, gamma), 0)
        .positive("and increases", rise)
        .equal("the score ρ m", score, 2 * kappa * a)
        .positive("so d(ρ m)/dγ is positive", sign * sp.diff(2 * kappa * a, a) / rise)
    )


@claim(
    "vs_loss.second_descent_svm",
    source=cite("kini2021", "second descent with mismatched features, Figure 1; the signal profile is chosen here"),
    kind=Kind.NUMERIC,
    formula="||μ_±||² = 3 d/n, orthogonal, π = 0.1: R_bal of the SVM falls with d/n past the threshold 0.213",
    relation=Relation.AT_MOST,
    expected="fails",
    corrected_by="vs_loss.second_descent_optimal",
    right={"optimal": True},
    wrong={"far beyond only": {"aspect_ratios": (1.0, 3.0)}},
)
def second_descent_svm(aspect_ratios=(0.3, 0.5, 1.0, 3.0), optimal=False):
    """The balanced error of the plain SVM falls with the number of features once the data are separable."""
    gammas = np.array(aspect_ratios)
    svm = hard_margin_map(0.1, np.sqrt(1.5 * gammas), gammas)
    errors = gaussian.tail(svm.test_margins.mean(-1)) if optimal else svm.balanced_error
    return errors[1:], errors[:-1]
