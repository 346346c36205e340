"""A ridge that vanishes: the SVM behind a loss on separable data, what losses do around the threshold, free biases.

The binary mixture and the settings of losses are those of `ridge`.
"""

import numpy as np

from ...core.claims import Kind, Relation, cases, claim
from ...core.sources import cite
from ...vs_loss.asymptotics import hard_margin, separability_threshold
from ...vs_loss.mixture import GaussianMixture
from ...vs_loss.scalar_losses import HingeLoss, LogisticLoss, vs_family
from ...vs_loss.state_evolution import ridge_erm
from .ridge import NEUTRAL, OFFSET, SCALED, UNEVEN, WEIGHTED, losses_of

SMALL_RIDGES = (1e-8, 1e-10, 1e-12)
CDT_EXPONENT = 0.5  # at π = 0.1 the margin ratio is 3


def _seen(aspect_ratio: float) -> GaussianMixture:
    """Orthogonal means of which a share of the features is seen: ||μ||² = 3 d/n."""
    norm = float(np.sqrt(3 * aspect_ratio))
    return GaussianMixture.binary(0.1, (norm, norm))


def _at_infinite_norm(fits, quantity):
    """The limit of a quantity that is a smooth function of 1/||w||, from the parabola through three fits."""
    small = np.array([1 / fit.norm for fit in fits])
    weights = [np.prod([other / (other - x) for other in small if other != x]) for x in small]
    return sum(weight * quantity(fit) for weight, fit in zip(weights, fits, strict=True))


@claim(
    "vs_loss.ridge_to_svm",
    source=cite("kini2021", "Theorems 1 and 2 joined; Mignacco et al. (2020), small regularisation"),
    kind=Kind.NUMERIC,
    formula="separable, λ -> 0: R_+, R_- -> those of the CS-SVM with δ = Δ_-/Δ_+, whatever ω and ι",
    relation=Relation.EQUAL,
    atol=1e-3,
    cases=(
        {"setting": NEUTRAL},
        {"setting": SCALED},
        {"setting": ((9, 1), (1, 0), (1, 0.5))},
        {"setting": OFFSET},
    ),
    wrong={
        "weights enter δ": {"setting": SCALED, "by_weight": 1},
        "offsets enter δ": {"setting": SCALED, "by_offset": 1},
        "δ inverted": {"setting": SCALED, "power": -1},
        "δ = 1": {"setting": SCALED, "power": 0},
    },
    assumptions=("extrapolated in 1/||w|| from λ = 1e-8, 1e-10, 1e-12",),
)
def ridge_to_svm(setting, by_weight=0, by_offset=0, power=1):
    """As the ridge vanishes, errors of any binary VS-loss tend to those of the cost-sensitive SVM of its factors."""
    omega, iota, delta = setting
    ratio = (
        (delta[1] / delta[0]) ** power * (omega[0] / omega[1]) ** by_weight * np.exp(by_offset * (iota[0] - iota[1]))
    )
    fits = [ridge_erm(UNEVEN, 1.0, ridge, losses_of(setting)) for ridge in SMALL_RIDGES]
    limit = hard_margin(UNEVEN, 1.0, ratio)
    return _at_infinite_norm(fits, lambda fit: fit.class_errors), limit.class_errors


@claim(
    "vs_loss.ridge_to_svm_rate",
    source=cite("tailbound", "rate of Kini et al. (2021), Theorem 1, in the limit of large dimension"),
    kind=Kind.NUMERIC,
    formula="separable, λ -> 0: (R_±(λ) - limit) ||w|| tends to a constant; ||w|| u Δ_- + log||w|| grows like log(1/λ)",
    relation=Relation.EQUAL,
    rtol=0.1,
    cases=cases(setting=[NEUTRAL, SCALED]),
    wrong={"rate 1/||w||²": {"power": 2}, "rate 1/√||w||": {"power": 0.5}, "||w|| like log(1/λ)/(2u)": {"growth": 0.5}},
    assumptions=("λ = 1e-8 against 1e-12",),
)
def ridge_to_svm_rate(setting, power=1, growth=1.0):
    """The limit is approached like 1/||w||, and ||w|| grows like the logarithm of 1/λ over the margin: very slowly."""
    delta = setting[2]
    limit = hard_margin(UNEVEN, 1.0, delta[1] / delta[0])
    far, near = (ridge_erm(UNEVEN, 1.0, ridge, losses_of(setting)) for ridge in (1e-8, 1e-12))
    scaled = [(fit.class_errors - limit.class_errors) * fit.norm**power for fit in (far, near)]
    reach = float(limit.margin) * delta[1]
    risen = (near.norm - far.norm) * reach + np.log(near.norm / far.norm)
    return [*scaled[1], risen], [*scaled[0], growth * np.log(1e4)]


@claim(
    "vs_loss.ridge_to_hinge_svm",
    source=cite("kini2021", "CS-SVM as the limit of its soft margin"),
    kind=Kind.NUMERIC,
    formula="separable, hinge ω_c max(0, δ_c - u), λ small: R_+, R_-, ||w|| are exactly the hard margin's, whatever ω",
    relation=Relation.EQUAL,
    atol=1e-10,
    cases=cases(ratio=[0.5, 1.0, 3.0], weights=[(1.0, 1.0), (5.0, 0.5)]),
    wrong={
        "weights enter δ": {"by_weight": 1, "weights": (5.0, 0.5)},
        "at any ridge": {"ridge": 1.0},
        "below the threshold too": {"aspect_ratio": 0.05},
    },
)
def ridge_to_hinge_svm(ratio, weights, by_weight=0, ridge=1e-4, aspect_ratio=1.0):
    """On separable data a hinge reaches the hard-margin machine at a positive ridge; class weights do nothing there."""
    losses = [HingeLoss(weight, margin) for weight, margin in zip(weights, (ratio, 1.0), strict=True)]
    fit = ridge_erm(UNEVEN, aspect_ratio, ridge, losses)
    limit = hard_margin(UNEVEN, 1.0, ratio * (weights[0] / weights[1]) ** by_weight)
    return [*fit.class_errors, fit.norm], [*limit.class_errors, float(limit.norm)]


@claim(
    "vs_loss.ridge_to_unregularised",
    source=cite("tailbound", "Mignacco et al. (2020), non-separable regime"),
    kind=Kind.NUMERIC,
    formula="not separable: ||w||, b, R_+, R_- at λ and 2λ differ by O(λ): (x(4λ) - x(2λ)) / (x(2λ) - x(λ)) = 2",
    relation=Relation.EQUAL,
    rtol=0.02,
    cases=cases(setting=[NEUTRAL, WEIGHTED, SCALED]),
    wrong={"on separable data too": {"aspect_ratio": 1.0}, "O(√λ)": {"power": 0.5}},
)
def ridge_to_unregularised(setting, aspect_ratio=0.08, power=1):
    """On data that are not separable a vanishing ridge leaves the unregularised classifier, smoothly."""
    fits = [ridge_erm(UNEVEN, aspect_ratio, ridge, losses_of(setting)) for ridge in (1e-5, 2e-5, 4e-5)]
    first, second, third = (np.array([fit.norm, fit.intercept, *fit.class_errors]) for fit in fits)
    return (third - second) / (second - first), np.full(4, 2.0**power)


# mismatched features


@claim(
    "vs_loss.mismatched_values",
    source=cite("kini2021", "Fig. 1 with ||μ_±||² = 3 d/n, orthogonal means, π = 0.1; numbers derived here"),
    kind=Kind.NUMERIC,
    formula="(R_+, R_-) of CE, LA, CDT at d/n = 0.1, 0.2 (λ = 1e-6), of the SVM and the CS-SVM δ = 3 at 0.5, 1, 3",
    relation=Relation.EQUAL,
    atol=6e-5,
    cases=(
        {"aspect_ratio": 0.1, "stated": ((0.9201, 0.0336), (0.5559, 0.2862), (0.9790, 0.0070))},
        {"aspect_ratio": 0.2, "stated": ((0.7529, 0.1199), (0.6535, 0.1877), (0.7524, 0.1208))},
        {"aspect_ratio": 0.5, "stated": ((0.7199, 0.0837), (0.7199, 0.0837), (0.5917, 0.1514))},
        {"aspect_ratio": 1.0, "stated": ((0.7292, 0.0324), (0.7292, 0.0324), (0.4562, 0.1302))},
        {"aspect_ratio": 3.0, "stated": ((0.7716, 0.0011), (0.7716, 0.0011), (0.2056, 0.0663))},
    ),
    wrong={"scales exchanged": {"exchange": True}, "LA's offset halved": {"tau": 0.5}},
)
def mismatched_values(aspect_ratio, stated, exchange=False, tau=1.0):
    """Three losses across the threshold d/n = 0.2127, below which the data are not separable."""
    mixture = _seen(aspect_ratio)
    ce, la, cdt = (vs_family(name, 0.1, gamma=CDT_EXPONENT, tau=tau) for name in ("ce", "la", "cdt"))
    pairs = (ce, la, cdt[::-1] if exchange else cdt)
    if aspect_ratio < separability_threshold(mixture):
        fits = [ridge_erm(mixture, aspect_ratio, 1e-6, pair) for pair in pairs]
    else:
        fits = [hard_margin(mixture, aspect_ratio, minus.delta / plus.delta) for plus, minus in pairs]
    return [fit.class_errors for fit in fits], stated


@claim(
    "vs_loss.mismatched_order",
    source=cite("kini2021", "Fig. 1: additive adjustment helps before the threshold, multiplicative after it"),
    kind=Kind.NUMERIC,
    formula="not separable: R_bal(LA) < R_bal(CE) < R_bal(CDT); separable, λ -> 0: R_bal(CDT) < R_bal(LA) = R_bal(CE)",
    relation=Relation.LESS,
    cases=(
        {"aspect_ratio": 0.1, "order": ("la", "ce", "cdt"), "gap": 0.01},
        {"aspect_ratio": 0.2, "order": ("la", "ce", "cdt"), "gap": 1e-4},
        {"aspect_ratio": 0.5, "order": ("cdt", "ce"), "gap": 0.01},
        {"aspect_ratio": 3.0, "order": ("cdt", "la"), "gap": 0.1},
    ),
    wrong={
        "LA helps separable data": {"aspect_ratio": 1.0, "order": ("la", "ce"), "gap": 1e-3},
        "CDT helps overlapping data": {"aspect_ratio": 0.1, "order": ("cdt", "ce"), "gap": 1e-3},
    },
)
def mismatched_order(aspect_ratio, order, gap):
    """Additive and multiplicative adjustment exchange their parts at the separability threshold."""
    mixture = _seen(aspect_ratio)
    separable = aspect_ratio > separability_threshold(mixture)

    def error(name):
        losses = vs_family(name, 0.1, gamma=CDT_EXPONENT)
        if not separable:
            return ridge_erm(mixture, aspect_ratio, 1e-6, losses).balanced_error
        fits = [ridge_erm(mixture, aspect_ratio, ridge, losses) for ridge in SMALL_RIDGES]
        return float(_at_infinite_norm(fits, lambda fit: fit.balanced_error))

    errors = [error(name) for name in order]
    return [first + gap for first in errors[:-1]], errors[1:]


@claim(
    "vs_loss.mismatched_threshold",
    source=cite("tailbound", "Kini et al. (2021), Fig. 1: where its mixtures become separable"),
    kind=Kind.NUMERIC,
    formula="||μ_±||² = 3 d/n, orthogonal means, π = 0.1: separable from d/n = 0.21272 on",
    relation=Relation.EQUAL,
    atol=1e-5,
    wrong={"Cover's 1/2": {"stated": 0.5}, "fixed means": {"grow": 0.0}},
)
def mismatched_threshold(stated=0.21272, grow=1.0):
    """The threshold of the mixture that is seen at an aspect ratio is that aspect ratio itself."""
    return separability_threshold(_seen(stated if grow else 1.0)), stated


# offsets and a free bias


@claim(
    "vs_loss.free_bias_absorbs_offset",
    source=cite("tailbound", "claim vs_loss.bias_absorbs_offsets, in the state evolution"),
    kind=Kind.NUMERIC,
    formula="offsets (c, -c): m, ||w||, V as for CE, b = b_CE + c, separable or not",
    relation=Relation.EQUAL,
    atol=1e-8,
    rtol=1e-8,
    cases=cases(aspect_ratio=[0.2, 2.0], offset=[-1.0, 2.5]),
    wrong={
        "without a bias": {"intercept": False},
        "LDAM's offsets (c, c/2)": {"other": 0.5},
        "bias moved the other way": {"sign": -1},
    },
)
def free_bias_absorbs_offset(aspect_ratio, offset, intercept=True, other=-1.0, sign=1):
    """With a free bias, LA's offsets change nothing but the bias: the state evolution keeps the exact identity."""
    pair = (LogisticLoss(iota=offset), LogisticLoss(iota=other * offset))
    shifted = ridge_erm(UNEVEN, aspect_ratio, 0.01, pair, intercept=intercept)
    plain = ridge_erm(UNEVEN, aspect_ratio, 0.01, (LogisticLoss(), LogisticLoss()), intercept=intercept)
    computed, stated = ([*fit.means, fit.norm, fit.step, fit.intercept] for fit in (shifted, plain))
    stated[-1] += sign * offset * intercept
    return computed, stated
