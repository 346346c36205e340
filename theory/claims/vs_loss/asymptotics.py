"""The hard-margin limit: its equations, the reduction to one root, the training law, separability, groups."""

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from flint import arb

from ...core import gaussian
from ...core.certified import (
    CertificationError,
    Enclosure,
    as_ball,
    gaussian_cdf,
    gaussian_tail,
    partial_expectation,
    partial_second_moment,
    precision,
    root,
)
from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from ...vs_loss.asymptotics import equal_opportunity_ratio, hard_margin, hard_margin_map, separability_threshold
from ...vs_loss.margin_equations import mean_margins, solve_components
from ...vs_loss.mixture import GaussianMixture

t, s, b, u = sp.symbols("t s b u", real=True)
pi1, pi2, gamma, delta, m = sp.symbols("pi1 pi2 gamma delta m", positive=True)
DENSITY = sp.exp(-(t**2) / 2) / sp.sqrt(2 * sp.pi)
CDF = (1 + sp.erf(t / sp.sqrt(2))) / 2
FIRST = t * CDF + DENSITY
SECOND = (1 + t**2) * CDF + t * DENSITY


_BITS = 128


def _function(name: str, formula, derivative) -> Any:
    """A positive function whose derivative is known and whose formula serves for numbers only."""
    rules = {
        "fdiff": lambda self, argindex=1: derivative(self.args[0]),
        "_eval_evalf": lambda self, prec: formula.subs(t, self.args[0])._eval_evalf(prec),
        "_eval_is_positive": lambda self: True,
    }
    return type(name, (sp.Function,), rules)


phi = _function("phi", DENSITY, lambda x: -x * phi(x))
cdf = _function("Phi", CDF, lambda x: phi(x))
g1 = _function("g1", FIRST, lambda x: cdf(x))
g2 = _function("g2", SECOND, lambda x: 2 * g1(x))


class CertifiedMargin(NamedTuple):
    """Enclosures of the two-class limit with means ±μ and margin ratio 1; `score` is ρ ||μ||."""

    pull: arb
    plus_lift: arb
    minus_lift: arb
    score: arb
    margin: arb
    intercept: arb

    @property
    def means(self) -> tuple[arb, arb]:
        """l_+ and l_-."""
        return self.score + self.intercept, self.score - self.intercept

    def errors(self, shift=0) -> tuple[Enclosure, Enclosure]:
        """Test errors of both classes when the intercept moves by `shift`."""
        plus, minus = self.means
        return gaussian_tail(plus + shift), gaussian_tail(minus - shift)

    def balanced(self, shift=0) -> arb:
        """Balanced error when the intercept moves by `shift`."""
        plus, minus = self.errors(shift)
        return (plus.ball + minus.ball) / 2


@precision(_BITS)
def certified_margin(prior, signal_strength, aspect_ratio, moment=partial_second_moment) -> CertifiedMargin:
    """The limit from one certified root, in t_-: π_+ g2(t_+) + π_- g2(t_-) + 4 m² a² / γ = γ with a = π_- g1(t_-)."""
    plus, strength, ratio = as_ball(prior), as_ball(signal_strength), as_ball(aspect_ratio)
    minus = 1 - plus
    top = (ratio * minus / plus).sqrt() / minus  # g1(t) >= t, and E X² >= (E X)²

    def lifts(minus_lift):
        pull = minus * partial_expectation(minus_lift).ball
        return pull, _inverse(pull / plus)

    def excess(minus_lift):
        pull, plus_lift = lifts(minus_lift)
        energy = plus * moment(plus_lift).ball + minus * moment(minus_lift).ball
        return energy + 4 * (strength * pull) ** 2 / ratio - ratio

    minus_lift = root(excess, -30, (top + 1).upper(), width=1e-18).ball
    pull, plus_lift = lifts(minus_lift)
    score = 2 * strength**2 * pull / ratio
    return CertifiedMargin(
        pull, plus_lift, minus_lift, score, (plus_lift + minus_lift) / 2 + score, (minus_lift - plus_lift) / 2
    )


def _inverse(value: arb) -> arb:
    """The t with E (G + t)_+ in a ball, by interval Newton steps from the float."""
    start = float(gaussian.inverse_partial_expectation(float(value.mid())))
    ball = arb(start, 1e-8 * (1 + abs(start)))
    for k in range(3):
        middle = ball.mid()
        step = middle - (partial_expectation(middle).ball - value) / gaussian_cdf(ball).ball
        if k == 0 and not ball.contains(step):  # the root lies in the first ball, and so in every later one
            raise CertificationError(f"the inverse of E (G + t)_+ at {Enclosure(value)} is not certified near {start}")
        ball = step
    return ball


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
    along = sp.diff(g2(t + s * change) - gamma * (1 - (rho + s * turn) ** 2), s, 2).subs(s, 0) / 2
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
    plus, minus = (DENSITY.subs(t, f - b - sign * score) for sign in (1, -1))
    stated = odds**prior_term * sp.exp(factor * score * (f - b))
    return Derivation().equal("P(y = 1 | f) / P(y = -1 | f), by Bayes' rule", odds * sp.simplify(plus / minus), stated)


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
@precision(_BITS)
def threshold_values(prior, strength, scale=1.0, intercept=True):
    """The library's separability threshold is the certified stationary point with margin 0."""
    plus, square = as_ball(prior), 4 * as_ball(strength * scale) ** 2
    minus = 1 - plus

    def parts(minus_lift):
        pull = minus * partial_expectation(minus_lift).ball
        plus_lift = _inverse(pull / plus)
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


GROUPS = cases(norms=[(3.0, 2.0), (3.0, 3.0), (1.5, 2.5)], aspect_ratio=[0.8, 2.0])


@claim(
    "vs_loss.group_ratio_turns",
    source=cite("kini2021", "group-sensitive SVM"),
    kind=Kind.NUMERIC,
    formula="cos(ρ at δ = 1, ρ at δ = 3) <= 0.999 for groups",
    relation=Relation.AT_MOST,
    cases=GROUPS,
    wrong={"margins by class": {"by_class": True}},
    assumptions=("orthogonal group means, p = 0.1",),
)
def group_ratio_turns(norms, aspect_ratio, by_class=False):
    """A margin ratio between groups turns the classifier, while one between classes only moves its threshold."""
    mixture = GaussianMixture.groups(0.1, norms)
    required = (3, 1, 3, 1) if by_class else (3, 3, 1, 1)
    directions = [hard_margin(mixture, aspect_ratio, required=r).direction for r in ((1, 1, 1, 1), required)]
    first, second = (direction / np.linalg.norm(direction) for direction in directions)
    return first @ second, 0.999


@claim(
    "vs_loss.balanced_groups",
    source=cite("kini2021", "group-sensitive SVM"),
    kind=Kind.NUMERIC,
    formula="P(y = 1) = 1/2 and means y μ_g: b' = 0 and R_(+,g) = R_(-,g) = Q(ρ·μ_g)",
    relation=Relation.EQUAL,
    atol=1e-12,
    cases=GROUPS,
    wrong={"unequal classes": {"class_prior": 0.3}},
)
def balanced_groups(norms, aspect_ratio, class_prior=0.5):
    """With equal classes the two classes of a group have the same error and the intercept vanishes."""
    svm = hard_margin(GaussianMixture.groups(0.1, norms, class_prior=class_prior), aspect_ratio, required=(3, 3, 1, 1))
    return [svm.intercept, *svm.errors[[0, 2]]], [0.0, *svm.errors[[1, 3]]]


@claim(
    "vs_loss.equal_opportunity",
    source=cite("kini2021", "group-sensitive SVM"),
    kind=Kind.NUMERIC,
    formula="R_(+,1) = R_(+,2) at δ_0",
    relation=Relation.EQUAL,
    atol=1e-10,
    cases=cases(norms=[(3.0, 2.0), (3.0, 3.0)], aspect_ratio=[0.8, 2.0]),
    wrong={"1/δ_0": {"power": -1}, "equal margins": {"power": 0}},
)
def equal_opportunity(norms, aspect_ratio, power=1):
    """The library's ratio between groups gives class +1 the same error in both groups."""
    mixture = GaussianMixture.groups(0.1, norms)
    ratio = equal_opportunity_ratio(mixture, aspect_ratio) ** power
    errors = hard_margin(mixture, aspect_ratio, required=(ratio, ratio, 1, 1)).errors
    return errors[0], errors[2]


@claim(
    "vs_loss.equal_opportunity_grows",
    source=cite("kini2021", "group-sensitive SVM: δ_0 grows with d / n"),
    kind=Kind.NUMERIC,
    formula="δ_0(γ) increases in γ, p = 0.1, orthogonal means of norm 3",
    relation=Relation.AT_LEAST,
    expected="fails",
    corrected_by="vs_loss.equal_opportunity_grows_far",
    right={"aspect_ratios": (1.0, 2.0, 4.0)},
    wrong={"from 0.4 to 1": {"aspect_ratios": (0.4, 1.0)}},
)
def equal_opportunity_grows(aspect_ratios=(0.6, 1.0, 2.0)):
    """The ratio that equalises the groups' errors grows with the aspect ratio wherever the data are separable."""
    ratios = [equal_opportunity_ratio(GaussianMixture.groups(0.1, (3, 3)), a) for a in aspect_ratios]
    return ratios[1:], ratios[:-1]


@claim(
    "vs_loss.equal_opportunity_grows_far",
    source=cite("tailbound", "from Kini et al. (2021), group-sensitive SVM"),
    kind=Kind.NUMERIC,
    formula="δ_0(γ) increases for γ >= 1 and stays below (1 - p)/p, orthogonal means of the same norm >= 3",
    relation=Relation.AT_LEAST,
    cases=cases(norm=[3.0, 5.0], group_prior=[0.1, 0.2]),
    wrong={"from 0.4 on": {"aspect_ratios": (0.4, 0.6, 1.0), "norm": 3.0}, "norm 2": {"norm": 2.0}},
)
def equal_opportunity_grows_far(norm, group_prior, aspect_ratios=(1.0, 3.0, 10.0, 30.0)):
    """Far from the threshold, where it is infinite, the equalising ratio of groups grows up to (1 - p)/p."""
    mixture = GaussianMixture.groups(group_prior, (norm, norm))
    ratios = [equal_opportunity_ratio(mixture, a) for a in aspect_ratios]
    top = (1 - group_prior) / group_prior
    return Sides([*ratios[1:], top], ratios, note=f"δ_0 {np.round(ratios, 3).tolist()}")
