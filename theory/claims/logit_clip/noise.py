"""What label noise costs a clipped loss: identities, bounds, where they are vacuous, the exact zero-gap threshold."""

import numpy as np
import sympy as sp

from ...core.claims import Kind, Relation, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from ...logit_clip.minimiser import risk_gap
from ...logit_clip.noise import (
    symmetric_bounds,
    symmetric_gap,
    symmetric_transition,
    zero_gap_threshold,
)
from ...logit_clip.ranges import contrast

INF, HALF = float("inf"), sp.Rational(1, 2)
eta, K = sp.symbols("eta K", positive=True)
s, t = sp.symbols("s t", positive=True)


@claim(
    "logit_clip.symmetric_identity",
    source=cite("wei2023", "risk under symmetric noise"),
    kind=Kind.SYMBOLIC,
    formula="R^η(f) = (1 - ηK/(K-1)) R(f) + η/(K-1) E Σ_k L(f, k)",
    wrong={"1 - η before R": {"weight": 1 - eta}},
    exhaustive=True,
)
def symmetric_identity(weight=None):
    """Under symmetric noise the noisy risk is the clean one, shrunk, plus a multiple of the sum over all labels."""
    own, others = sp.symbols("L_y L_rest", real=True)  # of the label, and summed over the other K - 1
    weight = 1 - eta * K / (K - 1) if weight is None else weight
    noisy = (1 - eta) * own + eta / (K - 1) * others
    return Derivation().equal("E L(f, noisy) given y", noisy, weight * own + eta / (K - 1) * (own + others))


@claim(
    "logit_clip.symmetric_bound",
    source=cite("wei2023", "risk difference under symmetric noise; constants derived here"),
    kind=Kind.SYMBOLIC,
    formula="R(f*_η) - R(f*) <= η ΔS/((1-η)K - 1) <= η K A/((1-η)K - 1); R^η(f*) - R^η(f*_η) <= η ΔS/(K-1)",
    wrong={"without the K": {"numerator": eta / K}},
    exhaustive=True,
    assumptions=("η < 1 - 1/K", "f*_η minimises the noisy risk, f* the clean one, over the same functions"),
)
def symmetric_bound(numerator=eta):
    """Both risk differences under symmetric noise are at most a multiple of the spread of the sum over labels."""
    # R^η(f*_η) <= R^η(f*) reads (1 - ηK/(K-1)) D + η/(K-1) (S_η - S_0) = -slack, S in [S_min, S_min + ΔS]
    # S_η = S_min + u, S_0 = S_min + ΔS - w, η = (K-1)/(K+s); the mean of K losses in [m, m + A] is m + A - d at most
    slack, low, high, short, least = sp.symbols("q u w d m", nonnegative=True)
    spread, classes, width = sp.symbols("DS r A", positive=True)  # K = 1 + r classes
    rate = classes / (1 + classes + s)  # every η in (0, 1 - 1/K)
    at = {eta: rate, K: 1 + classes}
    factor, share = (1 - eta * K / (K - 1)).subs(at), (eta / (K - 1)).subs(at)
    gap = (share * (spread - low - high) - slack) / factor
    stated = (numerator / ((1 - eta) * K - 1)).subs(at) * spread
    return (
        Derivation()
        .equal("R = R* + gap solves the comparison", sp.cancel(factor * gap + share * (low + high - spread)), -slack)
        .positive("the factor of R is positive", sp.factor(factor))
        .nonnegative("the clean gap is no larger than stated", sp.factor(stated - gap))
        .nonnegative("nor the noisy one: R* <= R", sp.factor(share * spread - share * (spread - low - high)))
        .nonnegative(
            "ΔS <= K A, as each of the K losses lies in [m, m + A]",
            sp.expand(K * width - (K * (least + width - short) - K * (least + low))),
        )
    )


@claim(
    "logit_clip.symmetric_crude_vacuous",
    source=cite("tailbound", "on the risk difference of Wei et al. (2023)"),
    kind=Kind.SYMBOLIC,
    formula="η K A/((1-η)K - 1) < A iff η < 1/2 - 1/(2K)",
    wrong={"iff η < 1/2": {"shift": 0}},
    exhaustive=True,
)
def symmetric_crude_vacuous(shift=HALF):
    """With K times the width of the loss the bound says less than that width from 45 % noise on, for ten classes."""
    r = sp.Symbol("r", positive=True)
    classes, edge = 1 + r, HALF - shift / (1 + r)

    def factor(rate):
        return rate * classes / ((1 - rate) * classes - 1)

    below = edge / (1 + s)
    above = (edge + s * r / classes) / (1 + s)  # between the edge and 1 - 1/K
    return (
        Derivation()
        .equal("at the edge", sp.cancel(factor(edge)), 1)
        .positive("below it the bound is smaller", sp.factor(1 - factor(below)))
        .positive("above it larger", sp.factor(factor(above) - 1))
    )


@claim(
    "logit_clip.sharp_beats_trivial",
    source=cite("tailbound", "on the risk difference of Wei et al. (2023)"),
    kind=Kind.NUMERIC,
    formula="η ΔS/((1-η)K - 1) <= A",
    relation=Relation.AT_MOST,
    cases=cases(num_classes=[3], noise_rate=[0.5], max_norm=[2.0, 5.0], norm=[INF]),
    expected="fails",
    corrected_by="logit_clip.symmetric_gap_bounds",
    right={"num_classes": 10},
    wrong={"K = 4, η = 0.7": {"num_classes": 4, "noise_rate": 0.7}},
)
def sharp_beats_trivial(num_classes, noise_rate, max_norm, norm):
    """The sharp bound is below the width of the loss. So for ten classes at 50 %, not for three: 4.81 against 4.67."""
    bounds = symmetric_bounds(noise_rate, max_norm, num_classes, norm=norm)
    return bounds.sharp, bounds.trivial


@claim(
    "logit_clip.symmetric_gap_bounds",
    source=cite("tailbound", "on the risk difference of Wei et al. (2023)"),
    kind=Kind.NUMERIC,
    formula="0 <= R(f*_η) - R(f*) <= min(sharp, crude, A), any clean labels",
    relation=Relation.AT_MOST,
    atol=1e-12,
    cases=cases(num_classes=[3, 10], noise_rate=[0.2, 0.5], max_norm=[0.3, 3.0], norm=[1.0, 2.0, INF]),
    full_cases=cases(num_classes=[3, 10], noise_rate=[0.4, 0.6], max_norm=[1.0, 6.0], norm=[1.0, 2.0, INF]),
    wrong={"a fiftieth of it": {"factor": 0.02}, "the gap at no noise": {"bound_rate": 1e-3}},
)
def symmetric_gap_bounds(num_classes, noise_rate, max_norm, norm, factor=1.0, bound_rate=None):
    """The exact gap of a model that is free to fit, with certain and ambiguous clean labels, obeys every bound."""
    gap = risk_gap(_posteriors(num_classes), symmetric_transition(noise_rate, num_classes), max_norm, norm=norm).clean
    bounds = symmetric_bounds(noise_rate if bound_rate is None else bound_rate, max_norm, num_classes, norm=norm)
    return [-gap, gap], [0.0, factor * min(bounds)]


@claim(
    "logit_clip.zero_gap",
    source=cite("tailbound", "exact noise tolerance of clipped cross-entropy"),
    kind=Kind.SYMBOLIC,
    formula="f*_η = f* iff τ c_p <= log((K-1)(1-η)/η), that is p_max <= 1 - η; beyond it softmax(z) = q",
    wrong={"log((1-η)/η)": {"odds": (1 - eta) / eta}, "η for 1 - η": {"odds": (K - 1) * eta / (1 - eta)}},
    exhaustive=True,
    assumptions=("symmetric noise, the clean label a function of x", "a model that is free to fit", "1 <= p <= ∞"),
)
def zero_gap(odds=None):
    """Up to a threshold, symmetric noise changes nothing: the clean minimiser z* still minimises the noisy risk.

    z* minimises logsumexp(z) - q z over the ball iff q - softmax(z*) lies in the normal cone there. The cone contains
    the non-negative multiples of w = (1, -1/(K-1), ...), which z* supports (logit_clip.least_loss); q - softmax(z*) is
    (1 - η - p_max) w. Beyond the threshold softmax(z) = q is in reach.
    """
    odds = (K - 1) * (1 - eta) / eta if odds is None else odds
    top = sp.Symbol("p", positive=True)  # p_max, the others share the rest
    r = sp.Symbol("r", positive=True)
    at = {K: 1 + r, eta: r / (1 + r + t)}

    def reach(power):  # p_max where τ c_p = log(odds · power)
        return (1 / (1 + (K - 1) / (odds * power))).subs(at)

    return (
        Derivation()
        .equal("q - softmax(z*) on a wrong class", eta / (K - 1) - (1 - top) / (K - 1), -(1 - eta - top) / (K - 1))
        .equal("p_max at the threshold", sp.cancel(reach(1)), (1 - eta).subs(at))
        .positive("below it the multiple 1 - η - p_max is positive", sp.factor((1 - eta).subs(at) - reach(1 / (1 + s))))
        .positive("beyond it 1 - η is in reach", sp.factor(reach(1 + s) - (1 - eta).subs(at)))
    )


@claim(
    "logit_clip.symmetric_gap",
    source=cite("tailbound", "exact noise tolerance of clipped cross-entropy"),
    kind=Kind.CONVEX,
    formula="R(f*_η) - R(f*) = max(0, log(p_max/(1-η))): 0 up to τ*, positive beyond",
    relation=Relation.EQUAL,
    atol=2e-5,
    cases=cases(num_classes=[3, 10], noise_rate=[0.2, 0.5], ratio=[0.9, 1.1], norm=[1.0, 2.0, INF]),
    full_cases=cases(num_classes=[2, 10], noise_rate=[0.1, 0.4], ratio=[0.5, 0.99, 1.01, 2.0], norm=[1.0, 2.0, INF]),
    wrong={"no saturation": {"saturated": False}, "threshold over 1, not c_p": {"per_contrast": False}},
)
def symmetric_gap_convex(num_classes, noise_rate, ratio, norm, saturated=True, per_contrast=True):
    """A convex program on the noisy labels gives the stated clean loss, just below and just above the threshold."""
    from ...logit_clip.programs import clipped_program

    max_norm = ratio * zero_gap_threshold(noise_rate, num_classes, norm=norm)
    rows = np.eye(num_classes)[0], symmetric_transition(noise_rate, num_classes)[0]
    clean, noisy = (clipped_program(q, max_norm, norm=norm)[0] for q in rows)
    losses = [np.logaddexp.reduce(z) - z[0] for z in (clean, noisy)]
    stated = symmetric_gap(
        noise_rate, max_norm / (1 if per_contrast else contrast(num_classes, norm)), num_classes, norm=norm
    )
    return losses[1] - losses[0], stated if saturated else stated + 0.1 * noise_rate


@claim(
    "logit_clip.threshold_values",
    source=cite("tailbound", "exact noise tolerance of clipped cross-entropy"),
    kind=Kind.NUMERIC,
    formula="τ* at η = 0.2, 0.4, 0.5, K = 10: 3.40, 2.47, 2.08 for p = 2 and 1.79, 1.30, 1.10 for p = ∞;"
    " 4.57, 2.30 at 0.5, K = 100",
    relation=Relation.EQUAL,
    atol=6e-3,
    wrong={"K = 9": {"num_classes": 9}},
)
def threshold_values(num_classes=10):
    """Numbers of the zero-gap threshold; most of the tuned τ, 0.2 to 2, lie below it."""
    settings = [(rate, num_classes, p) for p in (2.0, INF) for rate in (0.2, 0.4, 0.5)]
    settings += [(0.5, num_classes**2, 2.0), (0.5, num_classes**2, INF)]
    computed = [zero_gap_threshold(rate, classes, norm=p) for rate, classes, p in settings]
    return computed, [3.40, 2.47, 2.08, 1.79, 1.30, 1.10, 4.57, 2.30]


@claim(
    "logit_clip.zero_gap_ambiguous",
    source=cite("tailbound", "logit_clip.zero_gap without its assumption"),
    kind=Kind.NUMERIC,
    formula="R(f*_η) = R(f*) for τ c_p <= log((K-1)(1-η)/η), whatever P(y | x)",
    relation=Relation.AT_MOST,
    atol=1e-12,
    cases=cases(posterior=[(0.7, 0.2, 0.1)], ratio=[0.9, 0.5], norm=[2.0, INF]),
    expected="fails",
    corrected_by="logit_clip.zero_gap",
    right={"posterior": (1.0, 0.0, 0.0)},
    wrong={"P(y | x) = (0.5, 0.3, 0.2)": {"posterior": (0.5, 0.3, 0.2)}},
)
def zero_gap_ambiguous(posterior, ratio, norm):
    """Below the threshold noise costs nothing. Where the clean labels are ambiguous it costs at every τ, if little."""
    max_norm = ratio * zero_gap_threshold(0.4, 3, norm=norm)
    return risk_gap(np.array([posterior]), symmetric_transition(0.4, 3), max_norm, norm=norm).clean, 0.0


def _posteriors(num_classes: int) -> np.ndarray:
    """Certain and ambiguous clean label distributions; nothing random."""
    k = np.arange(num_classes)
    certain, ambiguous = np.eye(num_classes)[:2], np.exp([-0.7 * k, -3.0 * (k > 1), np.sin(3.0 * k)])
    return np.concatenate([certain, ambiguous / ambiguous.sum(axis=1, keepdims=True)])
