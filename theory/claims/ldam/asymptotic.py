"""LDAM's margin ratio against the optimal one of the proportional limit: Gaussian classes, hard margin, free bias."""

from fractions import Fraction

import numpy as np
import sympy as sp

from ...core.certified import Enclosure, as_ball
from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from ...ldam.margins import LDAM_EXPONENT, power_shares
from ...vs_loss.asymptotics import margin_ratio_floor
from ...vs_loss.certified_margin import certified_margin

SETTINGS = tuple(
    {"strength": Fraction(strength), "aspect_ratio": Fraction(1), "prior": Fraction(prior)}
    for strength, prior in (
        ("1.5", "0.3"),
        ("1.5", "0.1"),
        ("1.5", "0.05"),
        ("2.5", "0.3"),
        ("2.5", "0.1"),
        ("2.5", "0.02"),
    )
)
STRONG = {"strength": Fraction(5), "aspect_ratio": Fraction(1), "prior": Fraction(1, 10)}
OVERSHOT = {"strength": Fraction(6), "aspect_ratio": Fraction(1, 50), "prior": Fraction(1, 200)}
ANTIPODAL = "means ±μ, identity covariance, d/n fixed, hard margin, free intercept"


def _ratio(prior: Fraction, exponent):
    """((1 - π)/π)^-e, the margin ratio of margins ∝ n^e."""
    return as_ball((1 - prior) / prior) ** as_ball(-Fraction(exponent))


@claim(
    "ldam.asymptotic_gain",
    source=cite("tailbound", "Cao et al. (2019), Sec. 3.1, in the limit of Kini et al. (2021), Theorem 2"),
    kind=Kind.CERTIFIED,
    formula="R_bal(1) > R_bal(δ_LDAM) > R_bal(δ*), and δ_LDAM = ((1 - π)/π)^(1/4) < δ*",
    relation=Relation.GREATER,
    cases=SETTINGS,
    wrong={"margins ∝ 1/n": {"exponent": -1}, "margins ∝ n^(+1/4)": {"exponent": Fraction(1, 4)}},
    exhaustive=True,
    assumptions=(ANTIPODAL, "the six settings listed"),
)
def asymptotic_gain(strength, aspect_ratio, prior, exponent=LDAM_EXPONENT):
    """LDAM's ratio improves on the plain SVM and stays short of the optimum at six settings, certified."""
    found = certified_margin(prior, strength, aspect_ratio)
    ratio, best = _ratio(prior, exponent), found.optimal_ratio
    errors = [found.balanced(found.shift(r)) for r in (1, ratio, best)]
    differences = errors[0] - errors[1], errors[1] - errors[2], best - ratio
    values = [round(float(ball.mid()), 4) for ball in (best, ratio, *errors)]
    note = "δ* {}, δ_LDAM {}, R_bal of the SVM {}, at LDAM's ratio {}, least {}".format(*values)
    return Sides([Enclosure(difference) for difference in differences], [0, 0, 0], note=note)


@claim(
    "ldam.never_worse_than_svm",
    source=cite("tailbound", "Cao et al. (2019), Sec. 3.1, in the limit of Kini et al. (2021), Theorem 2"),
    kind=Kind.CERTIFIED,
    formula="R_bal(δ_LDAM) <= R_bal(1) at every setting",
    relation=Relation.AT_MOST,
    cases=(OVERSHOT,),
    expected="fails",
    corrected_by="ldam.asymptotic_gain",
    right={"strength": Fraction(5, 2), "aspect_ratio": Fraction(1)},
    wrong={"stronger signal": {"strength": Fraction(8)}},
    assumptions=(ANTIPODAL,),
)
def never_worse_than_svm(strength, aspect_ratio, prior):
    """LDAM's ratio never has a larger balanced error than the plain SVM."""
    found = certified_margin(prior, strength, aspect_ratio)
    return Enclosure(found.balanced(found.shift(_ratio(prior, LDAM_EXPONENT)))), Enclosure(found.balanced())


@claim(
    "ldam.always_undercorrects",
    source=cite("tailbound", "Cao et al. (2019), Sec. 3.1, in the limit of Kini et al. (2021), Theorem 2"),
    kind=Kind.CERTIFIED,
    formula="δ_LDAM <= δ* at every setting",
    relation=Relation.AT_MOST,
    cases=(STRONG,),
    expected="fails",
    corrected_by="ldam.undercorrects",
    right={"strength": Fraction(3, 2)},
    wrong={"stronger signal": {"strength": Fraction(8)}},
    assumptions=(ANTIPODAL,),
)
def always_undercorrects(strength, aspect_ratio, prior):
    """LDAM's ratio is never larger than the optimal one."""
    best = certified_margin(prior, strength, aspect_ratio).optimal_ratio
    return Enclosure(_ratio(prior, LDAM_EXPONENT)), Enclosure(best)


@claim(
    "ldam.undercorrects",
    source=cite("tailbound", "Cao et al. (2019), Sec. 3.1, in the limit of Kini et al. (2021), Theorem 2"),
    kind=Kind.SYMBOLIC,
    formula="margins ∝ n^(-1/k): ratio < δ* for all π < 1/2 if γ >= m²/(k - 1), m = ||μ_+ - μ_-||/2; LDAM's k = 4",
    cases=cases(root=[4, 3, 2]),
    wrong={"m²/(k - 1) / 2": {"factor": Fraction(1, 2)}},
    exhaustive=True,
    assumptions=(ANTIPODAL.replace("means ±μ", "any two means"), "δ* >= its floor (vs_loss.optimal_ratio_floor)"),
)
def undercorrects(root, factor=1):
    """If m² <= 3 d/n, LDAM's ratio is too small at every imbalance; n^(-1/3)'s if m² <= 2 d/n, n^(-1/2)'s if <= d/n."""
    h, m = sp.symbols("h m", positive=True)
    more = sp.Symbol("y", nonnegative=True)
    ratio = 1 + h  # ((1 - π)/π)^(1/k): every value above 1
    prior = 1 / (1 + ratio**root)
    aspect_ratio = m**2 * (sp.Rational(factor) / (root - 1) + more)
    excess = margin_ratio_floor(prior, m, aspect_ratio) - ratio
    numerator, denominator = sp.fraction(sp.factor(sp.cancel(excess)))
    return (
        Derivation()
        .equal("floor of δ* minus the rule's ratio", excess, numerator / denominator)
        .positive("is positive: numerator", sp.expand(numerator))
        .positive("and denominator", sp.expand(denominator))
    )


@claim(
    "ldam.quarter_power",
    source=cite("cao2019", "Sec. 3.1"),
    kind=Kind.SYMBOLIC,
    formula="δ_LDAM π^(1/4) -> 1 as π -> 0, while the floor of δ* times π tends to γ/(2 m² + γ)",
    wrong={"cube root": {"power": Fraction(1, 3)}, "the floor grows like π^(-2)": {"floor_power": 2}},
    exhaustive=True,
    assumptions=("d/n and the means fixed",),
)
def quarter_power(power=-LDAM_EXPONENT, floor_power=1):
    """LDAM's ratio grows like the fourth root of 1/π, the optimal one at least like 1/π itself."""
    x, m, gamma = sp.symbols("x m gamma", positive=True)
    prior = x**4 / (1 + x**4)
    shares = power_shares(np.array([x**4, sp.Integer(1)], dtype=object), LDAM_EXPONENT)
    ldam = sp.limit(sp.powdenest(shares[0] / shares[1]) * prior ** sp.Rational(power), x, 0)
    floor = sp.cancel(margin_ratio_floor(prior, m, gamma))
    return (
        Derivation()
        .equal("LDAM's ratio", ldam, 1)
        .equal("the floor", sp.limit(floor * prior ** sp.Rational(floor_power), x, 0), gamma / (2 * m**2 + gamma))
    )


@claim(
    "ldam.optimal_exponents",
    source=cite("tailbound", "in the limit of Kini et al. (2021), Theorem 2"),
    kind=Kind.CERTIFIED,
    formula="log δ* / log((1 - π)/π) >= 0.41 at the six settings: above LDAM's 1/4 and the joint bound's 1/3",
    relation=Relation.AT_LEAST,
    cases=SETTINGS,
    wrong={"1/2": {"floor": Fraction(1, 2)}, "at a strong signal": STRONG},
    exhaustive=True,
    assumptions=(ANTIPODAL, "the six settings listed"),
)
def optimal_exponents(strength, aspect_ratio, prior, floor=Fraction(41, 100)):
    """No bound's exponent is right: at six settings the optimal one lies above 0.41, at strong signals below 1/4."""
    best = certified_margin(prior, strength, aspect_ratio).optimal_ratio
    return Enclosure(best.log() / as_ball((1 - prior) / prior).log()), floor
