"""What uneven label noise costs a clipped loss: bounds that say little, exact thresholds for p = 1 and p = ∞."""

import numpy as np
import sympy as sp

from ...core.claims import Kind, Relation, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from ...logit_clip.minimiser import risk_gap
from ...logit_clip.noise import (
    class_dependent_bounds,
    class_dependent_threshold,
    symmetric_transition,
    zero_gap_threshold,
)

INF, HALF = float("inf"), sp.Rational(1, 2)
s, t = sp.symbols("s t", positive=True)


@claim(
    "logit_clip.class_dependent_identity",
    source=cite("zhang2018", "Theorem 2, first step"),
    kind=Kind.SYMBOLIC,
    formula="R^η(f) = E[(1-η_Y) Σ_k L(f, k)] - E Σ_{j≠Y} (1 - η_Y - η_Yj) L(f, j)",
    wrong={"plus η_Yj": {"sign": -1}},
    exhaustive=True,
)
def class_dependent_identity(sign=1):
    """The noisy risk under class-dependent noise, term by term: each wrong label's, and the true label's."""
    rate, off = sp.symbols("eta_y eta_yj", positive=True)
    return (
        Derivation()
        .equal("coefficient of L(f, j), j ≠ y", off, (1 - rate) - (1 - rate - sign * off))
        .equal("coefficient of L(f, y)", 1 - rate, 1 - rate)
    )


@claim(
    "logit_clip.class_dependent_bound",
    source=cite("zhang2018", "Theorem 2, for LogitClip as in Wei et al. (2023); constants derived here"),
    kind=Kind.NUMERIC,
    formula="0 <= R^η(f*) - R^η(f*_η) <= E(1-η_Y)(m + (K-1) l - K log K) + (M-l) E Σ(1-η_Y-η_Yj) <= K A (1 - E η_Y)",
    relation=Relation.AT_MOST,
    atol=1e-12,
    cases=cases(
        kind=["pairs", "uneven"], num_classes=[3, 10], noise_rate=[0.1, 0.4], max_norm=[0.3, 3.0], norm=[2.0, INF]
    ),
    wrong={"a twentieth of it": {"factor": 0.05}},
    assumptions=("the clean label is a function of x, f* attains m",),
)
def class_dependent_bound(kind, num_classes, noise_rate, max_norm, norm, factor=1.0):
    """The noisy excess of the clean minimiser obeys the refined bound, and that is below the crude one."""
    transition = _transition(kind, num_classes, noise_rate)
    excess = risk_gap(np.eye(num_classes), transition, max_norm, norm=norm).noisy
    bounds = class_dependent_bounds(transition, max_norm, norm=norm)
    return [-excess, excess, bounds.sharp], [0.0, factor * min(bounds), bounds.crude]


@claim(
    "logit_clip.class_dependent_crude_vacuous",
    source=cite("tailbound", "on the class-dependent bound of Wei et al. (2023)"),
    kind=Kind.SYMBOLIC,
    formula="A < K A (1 - E η_Y) iff E η_Y < 1 - 1/K",
    wrong={"iff E η_Y < 1/2": {"edge": HALF}},
    exhaustive=True,
)
def class_dependent_crude_vacuous(edge=None):
    """In every regime of interest the crude class-dependent bound says less than that the loss is bounded."""
    r = sp.Symbol("r", positive=True)
    edge = 1 - 1 / (1 + r) if edge is None else edge  # K = 1 + r
    return (
        Derivation()
        .equal("K (1 - E η) at the edge", sp.cancel((1 + r) * (1 - edge)), 1)
        .positive("below it the crude bound exceeds A", sp.factor((1 + r) * (1 - edge / (1 + s)) - 1))
        .positive("above it, up to 1, it is below A", sp.factor(1 - (1 + r) * (1 - (edge + s) / (1 + s))))
    )


@claim(
    "logit_clip.class_dependent_informative",
    source=cite("tailbound", "on the class-dependent bound of Wei et al. (2023)"),
    kind=Kind.NUMERIC,
    formula="the refined class-dependent bound is below A",
    relation=Relation.AT_MOST,
    cases=cases(num_classes=[10], noise_rate=[0.4, 0.2, 0.01], max_norm=[1.0], norm=[INF, 2.0]),
    expected="fails",
    corrected_by="logit_clip.class_dependent_bound",
    right={"num_classes": 3},
    wrong={"K = 5": {"num_classes": 5, "noise_rate": 0.1}},
)
def class_dependent_informative(num_classes, noise_rate, max_norm, norm):
    """The class-dependent bound says more than boundedness. For ten classes it does not, for three it may.

    8.84 against 3.42 at K = 10, τ = 1, p = ∞, pairs exchanged with probability 0.4.
    """
    bounds = class_dependent_bounds(_transition("pairs", num_classes, noise_rate), max_norm, norm=norm)
    return bounds.sharp, bounds.trivial


@claim(
    "logit_clip.class_dependent_threshold",
    source=cite("tailbound", "exact noise tolerance of clipped cross-entropy"),
    kind=Kind.NUMERIC,
    formula="R(f*_η) - R(f*) = 0 at 0.99 τ*, > 1e-5 at 1.03 τ*; τ* > 0 for p = 1 if every η_ii > η_ij and, K > 2, "
    "η_ii + η_ij > 2/K, for p = ∞ if every η_ij < 1/K",
    relation=Relation.AT_MOST,
    atol=1e-12,
    cases=tuple(
        {"kind": kind, "num_classes": classes, "noise_rate": rate, "norm": norm}
        for kind, classes, rate, norm in (
            ("pairs", 10, 0.4, 1.0),
            ("pairs", 10, 0.05, INF),
            ("pairs", 3, 0.2, 1.0),
            ("uneven", 10, 0.4, 1.0),
            ("uneven", 10, 0.2, INF),
            ("symmetric", 4, 0.3, 1.0),
            ("symmetric", 4, 0.3, 2.0),
            ("symmetric", 4, 0.3, INF),
            ("pairs", 2, 0.3, 2.0),
        )
    ),
    wrong={"the symmetric threshold": {"symmetric": True}, "a tenth further": {"stretch": 1.1}},
    assumptions=("the clean label is a function of x", "a model that is free to fit"),
)
def class_dependent_threshold_exact(kind, num_classes, noise_rate, norm, symmetric=False, stretch=1.0):
    """Class-dependent noise costs nothing up to an exact threshold for p = 1 and p = ∞, and something beyond it."""
    transition = _transition(kind, num_classes, noise_rate)
    found = (
        zero_gap_threshold(noise_rate, num_classes, norm=norm)
        if symmetric
        else class_dependent_threshold(transition, norm=norm)
    )
    below, above = (
        risk_gap(np.eye(num_classes), transition, ratio * stretch * found, norm=norm).clean for ratio in (0.99, 1.03)
    )
    return [below, 1e-5], [0.0, above]


@claim(
    "logit_clip.one_norm_threshold",
    source=cite("tailbound", "exact noise tolerance of clipped cross-entropy, p = 1"),
    kind=Kind.NUMERIC,
    formula="p = 1: R(f*_η) = R(f*) for some τ > 0 wherever every label stays the most likely, η_ii > η_ij",
    relation=Relation.AT_MOST,
    atol=1e-9,
    cases=cases(kind=["pairs"], num_classes=[3], noise_rate=[0.4], max_norm=[0.3, 0.03]),
    expected="fails",
    corrected_by="logit_clip.class_dependent_threshold",
    right={"num_classes": 10},
    wrong={"uneven noise of 0.7, K = 4": {"kind": "uneven", "num_classes": 4, "noise_rate": 0.7}},
)
def one_norm_threshold(kind, num_classes, noise_rate, max_norm):
    """Clipping by the 1-norm has a zero-gap threshold under any noise that leaves the labels most likely.

    It needs η_ii + η_ij > 2/K as well: a class that takes no noise is less likely than 1/K, and for few classes the
    label is not likely enough to outweigh that.
    """
    transition = _transition(kind, num_classes, noise_rate)
    return risk_gap(np.eye(num_classes), transition, max_norm, norm=1).clean, 0.0


@claim(
    "logit_clip.pair_noise_threshold",
    source=cite("tailbound", "exact noise tolerance of clipped cross-entropy"),
    kind=Kind.SYMBOLIC,
    formula="p = 1, pairs exchanged with η < 1/2, K >= 4: τ* = log((1 + (1-2η)(K-1))/(2η))",
    wrong={"1 - η for 1 - 2η": {"lead": lambda rate: 1 - rate}, "K >= 3": {"fewest": 3}},
    exhaustive=True,
    assumptions=(
        "z* = τ e_y minimises iff |q_j - p_j| <= q_y - p_y for every j: the normal cone of the cross-polytope",
    ),
)
def pair_noise_threshold(lead=lambda rate: 1 - 2 * rate, fewest=4):
    """The ball of p = 1 has a corner at the clean minimiser, wide enough for uneven noise: how wide, solved for τ.

    Three classes are too few: there a class that takes no noise gives way first, at τ = log((1 - 2η)/η).
    """
    E = sp.Symbol("E", positive=True)  # e^τ
    r = fewest - 1 + sp.Symbol("k", nonnegative=True)  # K = 1 + r
    rate, total = 1 / (2 + t), E + r  # every η < 1/2
    threshold = (1 + lead(rate) * r) / (2 * rate)
    slack = (1 - rate - E / total) - (rate - 1 / total)  # of the class that takes the noise
    untouched = (1 - rate - E / total) - 1 / total
    return (
        Derivation()
        .equal("slack q_y - p_y - (q_j - p_j)", slack, (1 + (1 - 2 * rate) * r - 2 * rate * E) / total)
        .equal("it vanishes at the threshold", sp.factor(slack.subs(E, threshold)), 0)
        .positive("and is positive below", sp.factor(sp.cancel(slack * total).subs(E, threshold - s)))
        .nonnegative("its other side, q_j - p_j >= -(q_y - p_y)", sp.factor(total - E - 1))
        .nonnegative(
            "a class that takes no noise has slack left at the threshold, and more below",
            sp.factor(sp.cancel(untouched * total).subs(E, threshold)),
        )
    )


@claim(
    "logit_clip.pair_noise_two_norm",
    source=cite("tailbound", "exact noise tolerance of clipped cross-entropy"),
    kind=Kind.NUMERIC,
    formula="p = 2: R(f*_η) = R(f*) for some τ > 0 when pairs of classes are exchanged with η = 0.4, K = 10",
    relation=Relation.AT_MOST,
    atol=1e-9,
    cases=cases(max_norm=[1.0, 0.1, 0.01, 0.001], norm=[2.0]),
    expected="fails",
    corrected_by="logit_clip.class_dependent_threshold",
    right={"norm": 1.0},
    wrong={"p = ∞": {"norm": INF}},
)
def pair_noise_two_norm(max_norm, norm):
    """Clipping by the Euclidean norm has a zero-gap threshold under uneven noise too.

    It has none: the ball is smooth, so its normal cone at z* is a ray, and any uneven row leaves it. For p = 1 the
    threshold is 1.253.
    """
    return risk_gap(np.eye(10), _transition("pairs", 10, 0.4), max_norm, norm=norm).clean, 0.0


def _transition(kind: str, num_classes: int, noise_rate: float) -> np.ndarray:
    """Symmetric noise; class k taken for k + 1; or noise spread unevenly, more on nearer classes."""
    if kind == "symmetric":
        return symmetric_transition(noise_rate, num_classes)
    away = (np.arange(num_classes)[None, :] - np.arange(num_classes)[:, None]) % num_classes
    spread = (away == 1) if kind == "pairs" else np.where(away > 0, 1.0 / (2 + away), 0.0)
    noise = noise_rate * spread / spread.sum(axis=1, keepdims=True)
    return noise + (1 - noise_rate) * np.eye(num_classes)
