"""The margin ratio with the least balanced error: where it is finite, bounds, growth, and when imbalance is fatal."""

from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp
from scipy.optimize import minimize_scalar

from ...core.certified import Enclosure, as_ball, gaussian_density
from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from ...vs_loss.asymptotics import (
    hard_margin,
    hard_margin_map,
    margin_ratio_floor,
    squared_score_ceiling,
)
from ...vs_loss.certified_margin import certified_margin
from ...vs_loss.mixture import GaussianMixture
from .moments import DENSITY, g1, t

pi, m, gamma = sp.symbols("pi m gamma", positive=True)
rare = sp.Symbol("r", positive=True)  # π = 1 / (2 + r): every prior in (0, 1/2)


@claim(
    "vs_loss.optimal_ratio",
    source=cite("kini2021", "δ* of the balanced error; Lyu et al. (2026), Proposition 3.1"),
    kind=Kind.NUMERIC,
    formula="δ* = (l_- - l_+ + 2u)/(l_+ - l_- + 2u)_+ minimises R_bal over required margins (δ, 1), 0 <= δ <= ∞",
    relation=Relation.EQUAL,
    atol=2e-7,
    cases=(
        {"prior": 0.1, "norms": (3.0, 2.0), "inner": 0.0, "aspect_ratio": 0.4},
        {"prior": 0.2, "norms": (2.0, 2.0), "inner": -4.0, "aspect_ratio": 1.5},
        {"prior": 0.02, "norms": (1.5, 1.5), "inner": -2.25, "aspect_ratio": 2.0},  # no finite ratio is best
        {"prior": 0.98, "norms": (1.5, 1.5), "inner": -2.25, "aspect_ratio": 2.0},  # 0 is
        {"prior": 0.4, "norms": (1.0, 2.0), "inner": 0.5, "aspect_ratio": 5.0},
    ),
    wrong={
        "antipodal formula for general means": {"formula": "antipodal", "prior": 0.1},
        "the SVM's own ratio": {"formula": "svm"},
        "inverted": {"formula": "inverted"},
    },
    assumptions=("the share δ / (1 + δ) is compared", "a free intercept"),
)
def optimal_ratio(prior, norms, inner, aspect_ratio, formula="library"):
    """The closed form of the optimal ratio, 0 and ∞ included, is where solving at every ratio finds the least."""
    mixture = GaussianMixture.binary(prior, norms, inner)

    def balanced(share):
        return float(hard_margin(mixture, aspect_ratio, required=(share, 1 - share)).balanced_error)

    found: Any = minimize_scalar(balanced, bounds=(0, 1), method="bounded", options={"xatol": 1e-12})
    svm = hard_margin(mixture, aspect_ratio)
    u, b = svm.margin, svm.intercept
    ratio = {
        "library": lambda: svm.optimal_margin_ratio,
        "antipodal": lambda: (u - b) / (u + b),
        "svm": lambda: 1.0,
        "inverted": lambda: 1 / svm.optimal_margin_ratio,
    }[formula]()
    return found.x, 1.0 if ratio == np.inf else ratio / (1 + ratio)


@claim(
    "vs_loss.equal_errors_are_optimal",
    source=cite("tailbound", "Kini et al. (2021), δ*; Lyu et al. (2026), Proposition 3.1"),
    kind=Kind.SYMBOLIC,
    formula="R_bal falls with the intercept's shift s iff s < (l_- - l_+)/2, if l_+ + l_- > 0; there R_+ = R_- = "
    "Q((l_+ + l_-)/2), and s = u (δ - 1)/(δ + 1) gives δ*",
    wrong={"shift l_- - l_+": {"half": 1}, "δ* with u for 2u": {"width": 1}},
    exhaustive=True,
    assumptions=("a free intercept", "l_+ + l_- = |μ_+ - μ_-|² a / γ > 0"),
)
def equal_errors_are_optimal(half=Fraction(1, 2), width=2):
    """The balanced error is least where both classes err equally: the threshold midway, whatever the direction."""
    plus, minus, shift = sp.symbols("l_plus l_minus s", real=True)
    total, u = sp.symbols("L u", positive=True)
    slopes: list[Any] = [DENSITY.subs(t, plus + shift), DENSITY.subs(t, minus - shift)]  # 2 dR_bal/ds = second - first
    odds = sp.simplify(slopes[0] / slopes[1])
    best = (minus - plus) * half
    ratio = (minus - plus + width * u) / (plus - minus + width * u)
    return (
        Derivation()
        .equal(
            "log of φ(l_+ + s)/φ(l_- - s)",
            sp.expand_log(sp.log(odds), force=True),
            (plus + minus) * (minus - plus - 2 * shift) / 2,
        )
        .equal("it changes sign at the stated shift", (minus - plus - 2 * shift).subs(shift, best), 0)
        .positive("falling before", (total * (minus - plus - 2 * shift) / 2).subs(shift, best - u / 2))
        .equal("both margins there", (plus + shift).subs(shift, best), (minus - shift).subs(shift, best))
        .equal("the ratio δ* shifts by just that", u * (ratio - 1) / (ratio + 1), best)
    )


@claim(
    "vs_loss.optimal_ratio_forms",
    source=cite("lyu2026", "Proposition 3.1, Eq. 38"),
    kind=Kind.SYMBOLIC,
    formula="means ±μ: δ* = (u - b')/(u + b') = (t_+ + ρ m)/(t_- + ρ m) at δ = 1",
    wrong={"sign of b' swapped": {"sign": -1}},
    exhaustive=True,
)
def optimal_ratio_forms(sign=1):
    """Three forms of the optimal ratio for antipodal means are the same number."""
    u, b, score = sp.symbols("u b s", real=True)
    plus, minus = score + b, score - b
    general = (minus - plus + 2 * u) / (plus - minus + 2 * u)
    lifts = u - plus, u - minus
    return (
        Derivation()
        .equal("from the mean margins", general, (u - sign * b) / (u + sign * b))
        .equal("from the lifts", (lifts[0] + score) / (lifts[1] + score), (u - b) / (u + b))
    )


@claim(
    "vs_loss.optimal_ratio_positive",
    source=cite("lyu2026", "Proposition 3.1"),
    kind=Kind.CERTIFIED,
    formula="(κ - β_0)/(κ + β_0) is a margin ratio, hence positive, ||μ|| = 1.5, n/d = 1/2",
    relation=Relation.AT_LEAST,
    cases=cases(prior=["0.05", "0.02"]),
    expected="fails",
    corrected_by="vs_loss.optimal_ratio",
    right={"prior": "0.1"},
    wrong={"π = 0.01": {"prior": "0.01"}},
    assumptions=("certified enclosure of the limit",),
)
def optimal_ratio_positive(prior):
    """The closed form of the optimal ratio gives a margin ratio at every prior."""
    return Enclosure(certified_margin(Fraction(prior), Fraction(3, 2), 2).optimal_ratio), 0


@claim(
    "vs_loss.optimal_ratio_floor",
    source=cite("tailbound", "from Lyu et al. (2026), Lemma E.9"),
    kind=Kind.SYMBOLIC,
    formula="δ* >= (1 + γ/(2 π m²)) / (1 + γ/(2 (1 - π) m²)) for π < 1/2, m = ||μ_+ - μ_-|| / 2",
    wrong={"(1 - π)/π": {"stated": (1 - pi) / pi}, "m for m²": {"power": 1}},
    exhaustive=True,
    assumptions=(
        "two classes, a free intercept, separable",
        "t = g1(t) - g1(-t) (vs_loss.partial_moments), so t_± = a/π_± - e_± with e_- > e_+ > 0 as a/π_- < a/π_+",
        "t_- + ρ m > 0: otherwise δ* = ∞",
    ),
)
def optimal_ratio_floor(stated=None, power=2):
    """The optimal ratio is at least the one that would hold if every training point were a support vector."""
    a, minus, plus_rest, more, gap = sp.symbols("a D e d h", positive=True)
    score = 2 * m**2 * a / gamma
    minus_top = minus + plus_rest + more  # a/π_- + ρ m, with t_- + ρ m = D and e_- = e + d
    plus_top = minus_top + gap  # a/π_+ + ρ m
    prior = 1 / (2 + rare)
    floor = (margin_ratio_floor(pi, m if power == 2 else sp.sqrt(m), gamma) if stated is None else stated).subs(
        pi, prior
    )
    return (
        Derivation()
        .positive("the minority's a/π is the larger", a / prior - a / (1 - prior))
        .positive("δ* - (a/π_+ + ρ m)/(a/π_- + ρ m)", (plus_top - plus_rest) / minus - plus_top / minus_top)
        .equal("with ρ m = 2 m² a / γ the bound is", (a / prior + score) / (a / (1 - prior) + score), floor)
    )


@claim(
    "vs_loss.optimal_ratio_floor_values",
    source=cite("tailbound", "from Lyu et al. (2026), Lemma E.9"),
    kind=Kind.CERTIFIED,
    formula="certified δ* >= the library's floor",
    relation=Relation.AT_LEAST,
    cases=cases(prior=["0.05", "0.3"], strength=[1.5, 3.0], aspect_ratio=[1, 20]),
    wrong={"half the signal": {"scale": 0.5}},
    assumptions=("at these settings δ* is finite",),
)
def optimal_ratio_floor_values(prior, strength, aspect_ratio, scale=1.0):
    """The library's floor lies below the certified optimal ratio."""
    ratio = certified_margin(Fraction(prior), strength, aspect_ratio).optimal_ratio
    return Enclosure(ratio), margin_ratio_floor(float(prior), scale * strength, aspect_ratio)


@claim(
    "vs_loss.optimal_ratio_large_dimension",
    source=cite("tailbound", "from Kini et al. (2021), Theorem 2"),
    kind=Kind.NUMERIC,
    formula="δ* -> (1 - π)/π = n_-/n_+ as d/n -> ∞ at fixed means",
    relation=Relation.EQUAL,
    rtol=1e-4,
    cases=cases(prior=[0.3, 0.1, 0.01], strength=[1.0, 3.0], aspect_ratio=[1e8]),
    wrong={"LDAM's fourth root": {"exponent": 0.25}, "square root": {"exponent": 0.5}},
)
def optimal_ratio_large_dimension(prior, strength, aspect_ratio, exponent=1.0):
    """With many more dimensions than examples the optimal ratio is the ratio of the class sizes itself."""
    return hard_margin_map(prior, strength, aspect_ratio).optimal_margin_ratio, ((1 - prior) / prior) ** exponent


@claim(
    "vs_loss.optimal_ratio_inverse_prior",
    source=cite("lyu2026", "Remark D.3: τ_opt ~ 1/π as π -> 0"),
    kind=Kind.NUMERIC,
    formula="log(δ*(π/2)/δ*(π)) / log 2 = 1 for small π, fixed ||μ|| = 1.5, n/d = 1/2",
    relation=Relation.EQUAL,
    atol=0.1,
    cases=cases(prior=[0.1]),
    expected="fails",
    corrected_by="vs_loss.optimal_ratio_growth",
    right={"growing": True, "prior": 1e-6},
    wrong={"π = 0.06": {"prior": 0.06}},
)
def optimal_ratio_inverse_prior(prior, growing=False):
    """At a fixed signal the optimal ratio grows like 1/π on its way to π = 0."""
    ratios = []
    for p in (prior, prior / 2):
        aspect_ratio = 100 / p if growing else 2.0
        ratios.append(hard_margin_map(p, np.sqrt(aspect_ratio) if growing else 1.5, aspect_ratio).optimal_margin_ratio)
    return np.log2(ratios[1] / ratios[0]), 1.0


@claim(
    "vs_loss.optimal_ratio_diverges",
    source=cite("tailbound", "from Lyu et al. (2026), Lemma E.9"),
    kind=Kind.SYMBOLIC,
    formula="at fixed ||μ|| and d/n, δ* = ∞ for every π small enough: as soon as "
    "g1(-2 m² √(π (1 - π)/γ)) > √(γ π/(1 - π))",
    wrong={"bound a <= γ √π": {"bound": gamma * sp.sqrt(pi)}, "from π near 1/2 on": {"limit": sp.Rational(1, 2)}},
    exhaustive=True,
    assumptions=("δ* = ∞ iff t_- <= -ρ m; g1 increases", "E X² >= (E X)²: π_± g2(t_±) >= a²/π_±"),
)
def optimal_ratio_diverges(bound=None, limit=0):
    """However strong a fixed signal, below some prior no finite margin ratio minimises the balanced error."""
    pull = sp.sqrt(gamma * pi * (1 - pi)) if bound is None else bound
    lift_mean, score = pull / (1 - pi), 2 * m**2 * pull / gamma
    small = sp.Symbol("x", positive=True)  # π = x² / (1 + x²)
    prior = small**2 / (1 + small**2)
    return (
        Derivation()
        .equal("a <= √(γ π (1 - π)), the root of a²/π + a²/(1 - π) = γ", pull**2 / pi + pull**2 / (1 - pi), gamma)
        .equal("so g1(t_-) = a/(1 - π) is at most", lift_mean.subs(pi, prior).simplify(), sp.sqrt(gamma) * small)
        .equal("which tends to 0", sp.limit(sp.sqrt(gamma) * small, small, limit), 0)
        .equal("ρ m is at most", score.subs(pi, prior).simplify(), 2 * m**2 * small / (sp.sqrt(gamma) * (1 + small**2)))
        .equal("which tends to 0", sp.limit(2 * m**2 * small / (sp.sqrt(gamma) * (1 + small**2)), small, limit), 0)
        .positive("but g1(0), to which g1(-ρ m) tends, does not: g1(t_-) < g1(-ρ m) in the end", g1(sp.Integer(0)))
    )


@claim(
    "vs_loss.optimal_ratio_growth",
    source=cite("tailbound", "the right form of Lyu et al. (2026), Remark D.3"),
    kind=Kind.NUMERIC,
    formula="δ* / floor -> 1 as π -> 0 with m⁴ π/γ -> ∞ fast enough; floor = (1 + γ/(2 π m²))/(1 + γ/(2 (1 - π) m²))",
    relation=Relation.EQUAL,
    rtol=0.02,
    cases=(
        {"prior": 1e-4, "square": 1e6, "aspect_ratio": 1e6},  # grows like 1/π when ||μ||² and d/n grow alike
        {"prior": 1e-8, "square": 1e10, "aspect_ratio": 1e10},
        {"prior": 1e-12, "square": 1e9, "aspect_ratio": 1.0},  # slower than π^(-1/2) at fixed d/n
        {"prior": 1e-5, "square": 1e6, "aspect_ratio": 0.1},  # the signal wins: 1
    ),
    wrong={"fourth root of the class ratio": {"formula": "ldam"}, "half the signal": {"formula": "half"}},
)
def optimal_ratio_growth(prior, square, aspect_ratio, formula="growth"):
    """Before it diverges the optimal ratio is about 1 + d/(2 n_+ ||μ||²): like 1/π where ||μ||² grows as d/n does."""
    ratio = hard_margin_map(prior, np.sqrt(square), aspect_ratio).optimal_margin_ratio
    stated = {
        "growth": margin_ratio_floor(prior, np.sqrt(square), aspect_ratio),
        "half": margin_ratio_floor(prior, np.sqrt(square) / 2, aspect_ratio),
        "ldam": ((1 - prior) / prior) ** 0.25,
    }
    return ratio, stated[formula]


@claim(
    "vs_loss.balanced_error_floor",
    source=cite("tailbound", "from Lyu et al. (2026), Lemma E.9"),
    kind=Kind.SYMBOLIC,
    formula="R_bal(δ) >= Q(ρ m) and (ρ m)² <= m² / (1 + γ/(4 π (1 - π) m²)), for every δ",
    wrong={"2 for 4": {"factor": 2}, "without the prior": {"factor": 1 / (pi * (1 - pi))}},
    exhaustive=True,
    assumptions=("two classes, a free intercept", "E X² >= (E X)²", "equal errors are optimal"),
)
def balanced_error_floor(factor=4):
    """No margin ratio beats a floor that depends on d/n, the signal and the priors alone."""
    prior = 1 / (1 + rare)
    weight = 1 / prior + 1 / (1 - prior)
    top = gamma / sp.sqrt(gamma * weight + 4 * m**2)  # a² (1/π + 1/(1 - π)) + 4 m² a² / γ <= γ
    square = (2 * m**2 * top / gamma) ** 2
    stated = m**2 / (1 + gamma / (factor * pi * (1 - pi) * m**2))
    return (
        Derivation()
        .equal("the largest a", top**2 * weight + 4 * m**2 * top**2 / gamma, gamma)
        .equal("the largest (ρ m)²", square, stated.subs(pi, prior))
        .equal("it is the library's", stated, squared_score_ceiling(pi, m, gamma))
        .positive("below that of a known direction", m**2 - square)
        .positive("and below 4 π (1 - π) m⁴/γ", (4 * prior * (1 - prior) * m**4 / gamma - square).simplify())
    )


PHASES = {  # π = d^-a, ||μ||² = d^b, n = d^(c+1): a - c < b, b < a - c < 2b, 2b < a - c
    "high": (Fraction(1, 2), Fraction(4, 5), Fraction(1, 10)),
    "moderate": (Fraction(3, 5), Fraction(7, 20), Fraction(1, 10)),
    "low": (Fraction(1), Fraction(3, 10), Fraction(1, 10)),
}


@claim(
    "vs_loss.imbalance_phases",
    source=cite("lyu2026", "Theorem 3.2"),
    kind=Kind.NUMERIC,
    formula="π = d^-a, ||μ||² = d^b, n = d^(c+1), τ = d^r. a - c < b: errors -> 0 for 1 <= τ << d^(b/2); "
    "b < a - c < 2b: minority error -> 1 at τ = 1, errors -> 0 for d^(a-b-c) << τ << d^((a-c)/2)",
    relation=Relation.EQUAL,
    atol=1e-3,
    cases=(
        {"phase": "high", "exponent": 0.0, "digits": 12, "stated": (0.0, 0.0)},
        {"phase": "high", "exponent": 0.2, "digits": 12, "stated": (0.0, 0.0)},
        {"phase": "moderate", "exponent": 0.0, "digits": 24, "stated": (1.0, 0.0)},
        {"phase": "moderate", "exponent": 0.2, "digits": 24, "stated": (0.0, 0.0)},
    ),
    wrong={
        "the SVM is enough in the moderate phase": {"exponent": 0.0, "stated": (0.0, 0.0)},
        "n / d for d / n and low signal": {"phase": "low"},
    },
    assumptions=("the proportional limit evaluated at d = 10^digits",),
)
def imbalance_phases(phase, exponent, digits, stated):
    """At high signal the SVM needs no ratio; at moderate signal it fails on the minority, and a ratio repairs it."""
    return _at_scale(phase, digits).at_ratio(10.0 ** (digits * exponent)).errors, stated


def _at_scale(phase: str, digits: int):
    a, b, c = map(float, PHASES[phase])
    d = 10.0**digits
    return hard_margin_map(d**-a, d ** (b / 2), d**-c)


@claim(
    "vs_loss.imbalance_fatal",
    source=cite("lyu2026", "Theorem 3.2, low signal"),
    kind=Kind.SYMBOLIC,
    formula="a - c > 2b: (ρ m)² <= 4 π m⁴/γ = 4 d^(2b + c - a) -> 0, so R_bal >= 1/2 - o(1) at every ratio",
    wrong={"a - c > b": {"excess": 0}},
    exhaustive=True,
    assumptions=("vs_loss.balanced_error_floor",),
)
def imbalance_fatal(excess=1):
    """At low signal every margin ratio is as bad as guessing."""
    d, b, c, more = sp.symbols("d b c e", positive=True)
    a = c + (1 + excess) * b + more
    bound = 4 * d**-a * d ** (2 * b) / d**-c
    exponent = sp.expand(sp.expand_log(sp.log(bound / 4), force=True) / sp.log(d))
    return (
        Derivation()
        .equal("the bound of (ρ m)² is a power of d", bound, 4 * d ** (2 * b + c - a))
        .positive("whose exponent is negative", -exponent)
    )


@claim(
    "vs_loss.ratio_ceiling_needed",
    source=cite("tailbound", "converse of the upper limit τ << d^((a-c)/2) in Lyu et al. (2026), Theorem 3.2"),
    kind=Kind.NUMERIC,
    formula="moderate phase, c > 0, τ = d^r with r = 0.4 > (a - c)/2 = 0.25: R_- does not tend to 0: R_- >= 1/2",
    relation=Relation.AT_LEAST,
    cases=cases(digits=[12, 18]),
    expected="fails",
    corrected_by="vs_loss.support_bound",
    right={"exponent": -0.4, "class_index": 0},
    wrong={"r = 0.8": {"exponent": 0.8}},
)
def ratio_ceiling_needed(digits, exponent=0.4, class_index=1):
    """The upper limit on the ratio is needed: beyond it the majority is misclassified.

    It is sufficient only. At every ratio the majority's error stays below its support fraction, which tends to 0 when
    n grows faster than d.
    """
    svm = _at_scale("moderate", digits)
    found = svm.at_ratio(10.0 ** (digits * exponent))
    return Sides(found.errors[class_index], 0.5, note=f"support fraction {svm.support_fractions[1]:.3g}")


@claim(
    "vs_loss.ratio_lowers_standard_error",
    source=cite("kini2021", "a suitable δ also lowers the standard error"),
    kind=Kind.CERTIFIED,
    formula="-dR/ds at δ = 1 is π φ(l_+) - (1 - π) φ(l_-) > 0: at π = 0.1, ||μ|| = 2.5, d/n = 1",
    relation=Relation.GREATER,
    wrong={"||μ|| = 1.5": {"strength": Fraction(3, 2)}, "δ < 1": {"sign": -1}},
    exhaustive=True,
    assumptions=("existence: one setting suffices",),
)
def ratio_lowers_standard_error(strength=Fraction(5, 2), sign=1):
    """There are settings where a ratio above 1 lowers the error under the imbalanced priors, too."""
    prior = Fraction(1, 10)
    plus, minus = certified_margin(prior, strength, 1).means
    gain = as_ball(prior) * gaussian_density(plus).ball - as_ball(1 - prior) * gaussian_density(minus).ball
    return Enclosure(sign * gain), 0


@claim(
    "vs_loss.ratio_always_lowers_standard_error",
    source=cite("tailbound", "the general form of what Kini et al. (2021) observe"),
    kind=Kind.CERTIFIED,
    formula="-dR/ds > 0 at δ = 1 for all settings",
    relation=Relation.GREATER,
    cases=({"strength": Fraction(3, 2)},),
    expected="fails",
    corrected_by="vs_loss.ratio_lowers_standard_error",
    right={"strength": Fraction(5, 2)},
    wrong={"||μ|| = 1": {"strength": Fraction(1)}},
)
def ratio_always_lowers_standard_error(strength):
    """A ratio a little above 1 lowers the standard error whenever the minority is rarer."""
    return ratio_lowers_standard_error(strength)


@claim(
    "vs_loss.standard_error_gain",
    source=cite("tailbound", "from Lyu et al. (2026), calibration"),
    kind=Kind.SYMBOLIC,
    formula="a ratio above 1 lowers R at δ = 1 iff -2 ρ m b' > log((1 - π)/π)",
    wrong={"without the 2": {"factor": 1}, "prior inverted": {"power": -1}},
    exhaustive=True,
    assumptions=("means ±μ; for others b' is counted from the middle of the means",),
)
def standard_error_gain(factor=2, power=1):
    """Moving the SVM's threshold towards the majority lowers the standard error iff its shift exceeds Bayes' rule's."""
    score, odds = sp.symbols("s r", positive=True)  # π = 1 / (1 + r)
    b = sp.Symbol("b", real=True)
    plus, minus = DENSITY.subs(t, score + b) / (1 + odds), odds * DENSITY.subs(t, score - b) / (1 + odds)
    return Derivation().equal(
        "log of π φ(l_+) / ((1 - π) φ(l_-))",
        sp.expand_log(sp.log(sp.simplify(plus / minus)), force=True),
        -factor * score * b - power * sp.log(odds),
    )
