"""The limit of a hard-margin SVM: equations, their reduction to one root, the path in the ratio, the training law."""

from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from ...core import gaussian
from ...core.certified import Enclosure, partial_expectation, partial_second_moment
from ...core.claims import Kind, Relation, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from ...vs_loss.asymptotics import hard_margin, hard_margin_map
from ...vs_loss.certified_margin import certified_margin
from ...vs_loss.margin_equations import mean_margins, solve_components
from ...vs_loss.mixture import GaussianMixture
from .moments import CDF, DENSITY, FIRST, SECOND, cdf, g1, g2, t

s, b, u = sp.symbols("s b u", real=True)
pi1, pi2, gamma, delta, m = sp.symbols("pi1 pi2 gamma delta m", positive=True)


@claim(
    "vs_loss.partial_moments",
    source=cite("tailbound", "functions of Kini et al. (2021), Theorem 2"),
    kind=Kind.SYMBOLIC,
    formula="g1' = Φ, g2' = 2 g1, g1(t) - t = g1(-t) for g1(t) = E (G + t)_+, g2(t) = E (G + t)_+²",
    wrong={"g2' = g1": {"factor": 1}, "g1' = φ": {"slope": DENSITY}, "g1 even": {"odd": 0}},
    exhaustive=True,
)
def partial_moments(factor=2, slope=CDF, odd=1):
    """The partial moments of a normal variable differentiate into one another, and g1 has a mirror image."""
    density = DENSITY.subs(t, s)
    return (
        Derivation()
        .equal("E (G + t)_+", sp.integrate((s + t) * density, (s, -t, sp.oo)).rewrite(sp.erf), FIRST)
        .equal("E (G + t)_+²", sp.integrate((s + t) ** 2 * density, (s, -t, sp.oo)).rewrite(sp.erf), SECOND)
        .equal("derivative of g1", sp.diff(FIRST, t), slope)
        .equal("derivative of g2", sp.diff(SECOND, t), factor * FIRST)
        .equal("mirror image", FIRST - odd * t, FIRST.subs(t, -t))
    )


@claim(
    "vs_loss.margin_equations",
    source=cite("kini2021", "Theorem 2; several components derived here"),
    kind=Kind.SYMBOLIC,
    formula="F = Σ π_j g2(t_j) - γ (1 - |ρ|²), t_j = δ_j u - σ_j·ρ - y_j b, is convex, and stationary where "
    "γ ρ = Σ π_j g1(t_j) σ_j, Σ y_j π_j g1(t_j) = 0",
    wrong={"without γ": {"weight": 0}, "mean of g2": {"moment": g2}},
    exhaustive=True,
    assumptions=("each component adds a term of the same form; ρ along one axis at a time",),
)
def margin_equations(weight=gamma, moment=g1):
    """The margin of a Gaussian mixture is a convex program whose stationarity gives the limit's equations."""
    rho, sigma, turn, change, sign = sp.symbols("rho sigma v w y", real=True)
    lift = delta * u - sigma * rho - sign * b
    term = g2(lift) - gamma * (1 - rho**2)  # Σ π_j = 1 spreads γ (1 - |ρ|²) over the components
    energy = g2(t + s * change) - gamma * (1 - (rho + s * turn) ** 2)
    along = sp.diff(energy, s, 2).subs(s, 0) * sp.Rational(1, 2)
    return (
        Derivation()
        .equal("derivative in ρ", sp.diff(term, rho) / 2, weight * rho - sigma * moment(lift))
        .equal("derivative in b", sp.diff(term, b) / 2, -sign * moment(lift))
        .equal("derivative in u", sp.diff(term, u) / 2, delta * moment(lift))
        .equal(
            "second derivative along a line on which t moves by w and ρ by v",
            along,
            cdf(t) * change**2 + gamma * turn**2,
        )
        .nonnegative("so F is convex", cdf(t) * change**2 + gamma * turn**2)
    )


@claim(
    "vs_loss.push_identity",
    source=cite("lyu2026", "Lemma E.9"),
    kind=Kind.SYMBOLIC,
    formula="∂F/∂b = 0 => g1(t_+) / g1(t_-) = (1 - π) / π",
    wrong={"π / (1 - π)": {"power": -1}, "equal lifts": {"power": 0}},
    exhaustive=True,
    assumptions=("a free intercept",),
)
def push_identity(power=1):
    """Training lifts the margins of the minority (1 - π)/π times as much in the mean as those of the majority."""
    plus_edge, minus_edge = sp.symbols("c_plus c_minus", real=True)  # δ_j u - σ_j·ρ
    pull, odds = sp.symbols("L r", positive=True)  # π = 1 / (1 + r)
    plus, minus = plus_edge - b, minus_edge + b
    slope = sp.diff(g2(plus) / (1 + odds) + g2(minus) * odds / (1 + odds), b)
    return (
        Derivation()
        .equal("the derivative in b", slope * (1 + odds) / 2, odds * g1(minus) - g1(plus))
        .equal(
            "it vanishes when the lifts are L of the majority and r L of the minority", odds * pull, odds**power * pull
        )
    )


@claim(
    "vs_loss.means_difference",
    source=cite("tailbound", "general means of Kini et al. (2021), Theorem 2, against Lyu et al. (2026)"),
    kind=Kind.SYMBOLIC,
    formula="with a free intercept t_± depends on the means through μ_+ - μ_- only: the model is antipodal with "
    "||μ|| = ||μ_+ - μ_-|| / 2",
    wrong={"shift by the whole sum": {"half": 1}, "no shift": {"half": 0}},
    exhaustive=True,
    assumptions=("two classes", "a free intercept"),
)
def means_difference(half=Fraction(1, 2)):
    """A free intercept absorbs a shift of both means, so theory for antipodal means covers general ones."""
    p1, p2, q1, q2, r1, r2 = sp.symbols("p1 p2 q1 q2 rho1 rho2", real=True)
    middle = ((p1 + q1) * r1 + (p2 + q2) * r2) * half  # ⟨ρ, (μ_+ + μ_-)/2⟩
    apart = ((p1 - q1) * r1 + (p2 - q2) * r2) / 2
    plus = delta * u - (p1 * r1 + p2 * r2) - b
    minus = u + (q1 * r1 + q2 * r2) + b
    centred = b + middle
    pull = sp.Symbol("a", positive=True)
    return (
        Derivation()
        .equal("t_+ with the intercept counted from the middle", plus, delta * u - apart - centred)
        .equal("t_- the same", minus, u - apart + centred)
        .equal("γ ρ = a σ_+ + a σ_- points along μ_+ - μ_-", pull * p1 + pull * (-q1), pull * (p1 - q1))
    )


@claim(
    "vs_loss.energy_convex",
    source=cite("tailbound", "the one equation of two classes"),
    kind=Kind.SYMBOLIC,
    formula="g2 ∘ g1⁻¹ is convex: its slope 2 g1/Φ rises, since Φ² - g1 φ is 0 at -∞ and has the derivative φ g2 > 0",
    wrong={"derivative φ g1": {"moment": FIRST}},
    exhaustive=True,
    assumptions=("g1, g2, Φ, φ > 0, being expectations and a density",),
)
def energy_convex(moment=SECOND):
    """The equation of the two-class limit is increasing and convex in its unknown: one root, and Newton finds it."""
    change = CDF**2 - FIRST * DENSITY
    return (
        Derivation()
        .equal("slope of g2 along g1", sp.diff(SECOND, t) / sp.diff(FIRST, t), 2 * FIRST / CDF)
        .equal("how it changes", sp.diff(FIRST / CDF, t) * CDF**2, change)
        .equal("that is 0 far to the left", sp.limit(change, t, -sp.oo), 0)
        .equal("and rises from there", sp.diff(change, t), DENSITY * moment)
    )


SETTINGS = (  # prior, half the distance of the means, d / n
    {"prior": 0.15, "strength": 1.75, "aspect_ratio": 0.4},
    {"prior": 0.5, "strength": 4.0, "aspect_ratio": 0.05},
    {"prior": 0.1, "strength": 1.5, "aspect_ratio": 2.0},
    {"prior": 0.001, "strength": 3.0, "aspect_ratio": 50.0},
    {"prior": 0.02, "strength": 0.0, "aspect_ratio": 0.7},
)


@claim(
    "vs_loss.hard_margin_root",
    source=cite("lyu2026", "Lemma E.9; Kini et al. (2021), Theorem 2"),
    kind=Kind.CERTIFIED,
    formula="π_+ g2(t_+) + π_- g2(t_-) + 4 m² a² / γ = γ, a = π_+ g1(t_+) = π_- g1(t_-); u, ρ, b' follow",
    relation=Relation.EQUAL,
    rtol=1e-11,
    atol=1e-12,
    cases=SETTINGS,
    wrong={
        "n / d for d / n": {"inverted": True},
        "classes swapped": {"swapped": True},
        "g1 for g2": {"moment": partial_expectation},
    },
)
def hard_margin_root(prior, strength, aspect_ratio, inverted=False, swapped=False, moment=partial_second_moment):
    """The library's margin, alignment, intercept and errors lie on the certified root of one equation."""
    exact = Fraction(prior), Fraction(strength), Fraction(aspect_ratio)
    if swapped:
        exact = 1 - exact[0], *exact[1:]
    if inverted:
        exact = *exact[:2], 1 / exact[2]
    found = certified_margin(*exact, moment)
    computed = [Enclosure(ball) for ball in (found.margin, found.score, found.intercept)] + list(found.errors())
    svm = hard_margin_map(prior, strength, aspect_ratio)
    return computed, [svm.margin, svm.test_margins.mean(), svm.intercept, *svm.errors]


MIXTURES = (
    {"prior": 0.2, "norms": (2.0, 2.0), "inner": -4.0, "aspect_ratio": 1.5, "ratio": 3.0},
    {"prior": 0.1, "norms": (3.0, 1.5), "inner": 0.0, "aspect_ratio": 1.0, "ratio": 4.0},
    {"prior": 0.01, "norms": (3.0, 2.0), "inner": 2.0, "aspect_ratio": 5.0, "ratio": 0.02},
)


@claim(
    "vs_loss.limit_path",
    source=cite("lyu2026", "Proposition C.1"),
    kind=Kind.NUMERIC,
    formula="u_δ = 2 u_1 / (δ + 1), b'_δ = b'_1 + ((δ - 1)/(δ + 1)) u_1, ρ_δ = ρ_1 in the limit",
    relation=Relation.EQUAL,
    rtol=1e-9,
    cases=MIXTURES,
    wrong={"without an intercept": {"intercept": False}, "δ for (δ + 1)/2": {"half": False}},
    assumptions=("a free intercept",),
)
def limit_path(prior, norms, inner, aspect_ratio, ratio, intercept=True, half=True):
    """One solution gives the limit at every margin ratio; the convex program solved at that ratio agrees."""
    mixture = GaussianMixture.binary(prior, norms, inner)
    signs = np.array(mixture.signs)
    signals = signs[:, None] * mixture.coordinates

    def solve(required):
        return solve_components(np.array(mixture.priors), signs, signals, required, np.asarray(aspect_ratio), intercept)

    margin, direction, middle = solve(np.array([ratio, 1.0]))
    computed = [margin, *mean_margins(signs, signals, direction, middle)]
    if intercept:
        moved = hard_margin(mixture, aspect_ratio).at_ratio(ratio)
        return computed, [moved.margin * (1 if half else (ratio + 1) / 2 / ratio), *moved.test_margins]
    margin, direction, _ = solve(np.ones(2))
    middle = (ratio - 1) / (ratio + 1) * margin
    return computed, [2 * margin / (ratio + 1), *mean_margins(signs, signals, direction, middle)]


@claim(
    "vs_loss.limit_path_equations",
    source=cite("lyu2026", "Proposition C.1"),
    kind=Kind.SYMBOLIC,
    formula="t_±(u_δ, b'_δ, δ) = t_±(u_1, b'_1, 1) with the same ρ, so every equation of the limit stays satisfied",
    wrong={"shift (δ - 1)/δ": {"bottom": delta}, "u_δ = u_1 / δ": {"factor": 1 / delta}},
    exhaustive=True,
    assumptions=("a free intercept", "any number of components in a class"),
)
def limit_path_equations(bottom=delta + 1, factor=2 / (delta + 1)):
    """With a free intercept the margin ratio moves neither the lifts nor the direction of the limit."""
    score = sp.Symbol("s", real=True)
    margin, middle = factor * u, b + (delta - 1) / bottom * u
    return (
        Derivation()
        .equal("class +1", delta * margin - score - middle, u - score - b)
        .equal("class -1", margin - score + middle, u - score + b)
    )


@claim(
    "vs_loss.training_margin_law",
    source=cite("lyu2026", "Theorem 2.1"),
    kind=Kind.SYMBOLIC,
    formula="training margin max(u, l + G): a share Φ(u - l) on the margin, mean l + g1(u - l) = u + g1(l - u)",
    wrong={"mean u + g1(u - l)": {"mirror": 1}, "share Φ(l - u)": {"side": -1}},
    exhaustive=True,
)
def training_margin_law(mirror=-1, side=1):
    """The training margin is a normal variable lifted to the margin, and its mean gives l in closed form."""
    density = DENSITY.subs(t, s)
    share = sp.integrate(density, (s, -sp.oo, t)).rewrite(sp.erf)  # l + G <= u at t = u - l
    mean = (u - t) + t * share + sp.integrate(s * density, (s, t, sp.oo)).rewrite(sp.erf)
    return (
        Derivation()
        .equal("share on the margin, t = u - l", share, CDF.subs(t, side * t))
        .equal("mean, with l = u - t", mean, (u - t) + FIRST)
        .equal("the same from above the margin", mean, u + FIRST.subs(t, mirror * t))
    )


@claim(
    "vs_loss.training_margin_values",
    source=cite("lyu2026", "Theorem 2.1"),
    kind=Kind.NUMERIC,
    formula="E max(δ_c u, l_c + G) and P(max(δ_c u, l_c + G) <= x), by quadrature",
    relation=Relation.EQUAL,
    rtol=1e-11,
    cases=MIXTURES,
    wrong={"required margins ignored": {"required": 1.0, "ratio": 3.0}},
)
def training_margin_values(prior, norms, inner, aspect_ratio, ratio, required=None):
    """The library's mean training margins, support fractions and distribution are those of the lifted normal law."""
    svm = hard_margin(GaussianMixture.binary(prior, norms, inner), aspect_ratio, ratio)
    computed, stated = [], []
    for j, mean in enumerate(svm.test_margins):
        edge = (svm.required[j] if required is None else required) * svm.margin
        above = edge + 0.3
        for f, kink in (
            (lambda g, mean=mean, edge=edge: np.maximum(edge, mean + g), edge),
            (lambda g, mean=mean, edge=edge: 1.0 * (mean + g <= edge), edge),
            (lambda g, mean=mean, above=above: 1.0 * (mean + g <= above), above),
        ):
            computed.append(gaussian.expectation(f, kinks=[kink - mean]))
        stated += [svm.training_margins[j], svm.support_fractions[j], svm.training_margin_cdf(above)[j]]
    return computed, stated


@claim(
    "vs_loss.support_bound",
    source=cite("tailbound", "from Lyu et al. (2026), Theorem 2.1"),
    kind=Kind.SYMBOLIC,
    formula="R_c(δ) = Q(l_c) < Φ(t_c), the support fraction of class c, for every δ; R_- -> Φ(t_-) as δ -> ∞",
    wrong={"half of it": {"factor": Fraction(1, 2)}},
    exhaustive=True,
    assumptions=("a free intercept",),
)
def support_bound(factor=1):
    """At no margin ratio does a class err more than the share of its training points that are support vectors."""
    margin = sp.Symbol("u", positive=True)
    lift = sp.Symbol("t", real=True)
    minus, plus = 2 * margin / (delta + 1) - lift, 2 * margin * delta / (delta + 1) - lift  # l_c at the ratio δ
    return (
        Derivation()
        .equal("at δ = 1, l_- = u - t_-", minus.subs(delta, 1), margin - lift)
        .equal(
            "raising the intercept by ((δ - 1)/(δ + 1)) u", margin - lift - (delta - 1) / (delta + 1) * margin, minus
        )
        .equal("the same for class +1", margin - lift + (delta - 1) / (delta + 1) * margin, plus)
        .positive("l_- stays above -t_-", minus + factor * lift + (1 - factor) * lift * sp.Rational(2))
        .positive("and l_+ above -t_+", plus + lift)
        .equal("l_- tends to -t_-", sp.limit(minus, delta, sp.oo), -lift)
    )


@claim(
    "vs_loss.calibration",
    source=cite("lyu2026", "calibration of the score"),
    kind=Kind.SYMBOLIC,
    formula="P(y = 1 | f) = σ( 2 ρ m (f - b') + log(π/(1 - π)) ) for the normalised score f = y ρ m + b' + G",
    wrong={"without the prior": {"prior_term": 0}, "half the slope": {"factor": 1}},
    exhaustive=True,
    assumptions=("means ±μ",),
)
def calibration(factor=2, prior_term=1):
    """The score of a fresh point is a normal mixture, so its log odds are linear, with the prior as an offset."""
    f = sp.Symbol("f", real=True)
    score, odds = sp.symbols("a r", positive=True)  # ρ m, and π / (1 - π)
    densities: list[Any] = [DENSITY.subs(t, f - b - sign * score) for sign in (1, -1)]
    posterior_odds = odds * sp.simplify(densities[0] / densities[1])
    stated = odds**prior_term * sp.exp(factor * score * (f - b))
    return Derivation().equal("P(y = 1 | f) / P(y = -1 | f), by Bayes' rule", posterior_odds, stated)
