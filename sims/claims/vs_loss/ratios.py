"""Margin ratios chosen from training data, by simulation: which estimate is right where, and what it gains."""

import numpy as np

from ....theory.core.claims import Kind, Relation, Sides, claim
from ....theory.core.sources import cite
from ...core.checks import agreement, drawn, matching, within
from ...vs_loss.ratio import AUTO_RATIO, POWERS

ANTIPODAL = {"prior": 0.2, "norms": (2.0, 2.0), "inner": -4.0, "aspect_ratio": 1.0}
ORTHOGONAL = {"prior": 0.1, "norms": (3.0, 2.0), "inner": 0.0, "aspect_ratio": 0.8}
IDENTITY = {"condition": 1.0, "minority_spread": 1.0}
MIXED = (  # identity covariance; a tighter minority; a wider one; a spectrum over two decades
    {**ORTHOGONAL, **IDENTITY},
    {**ANTIPODAL, **IDENTITY, "minority_spread": 0.7},
    {**ORTHOGONAL, **IDENTITY, "minority_spread": 1.4},
    {**ORTHOGONAL, **IDENTITY, "condition": 100.0},
)


@claim(
    "vs_loss.simulated_auto_ratio",
    source=cite("tailbound", "leave-one-out estimate of the optimal ratio of Kini et al. (2021)"),
    kind=Kind.SIMULATION,
    formula="mean R_bal at the leave-one-out ratio < that at (n_-/n_+)^p, p = 0, 1/4, 1/2, 1, over four mixtures",
    relation=Relation.LESS,
    cases=({"num_examples": 100, "draws": 10},),
    full_cases=({"num_examples": 400, "draws": 40},),
    wrong={
        "training means as they are": {"estimate": "training-means"},
        "training law for any covariance": {"estimate": "training-law"},
        "better than the oracle": {"rivals": ("oracle",)},
    },
)
def simulated_auto_ratio(num_examples, draws, estimate="leave-one-out", rivals=tuple(POWERS)):
    """The ratio from leave-one-out margins beats every fixed power of the counts in the mean over unlike mixtures.

    Each side is a mean difference of balanced errors on the same data plus 4 standard errors, beside 0.
    """
    gaps = []
    for setting in MIXED:
        rows = drawn(AUTO_RATIO, draws, **setting, num_examples=num_examples, methods=(estimate,))
        table = rows.pivot(index="repetition", columns="rule", values="balanced_error")
        gaps.append(np.array([table[estimate] - table[rival] for rival in rivals]))
    means = np.mean([gap.mean(axis=1) for gap in gaps], axis=0)
    errors = np.sqrt(sum(gap.var(axis=1, ddof=1) / draws for gap in gaps)) / len(gaps)
    note = ", ".join(f"{m:.4f} ± {e:.4f} ({rival})" for m, e, rival in zip(means, errors, rivals, strict=True))
    return Sides(means + 4 * errors, np.zeros(len(rivals)), note=f"difference of mean balanced errors: {note}")


@claim(
    "vs_loss.simulated_training_law",
    source=cite("tailbound", "inversion of the training law of Lyu et al. (2026), Theorem 2.1"),
    kind=Kind.SIMULATION,
    formula="identity covariance: mean of log(estimated ratio / oracle ratio) -> 0 within 30 / n",
    relation=Relation.AT_MOST,
    cases=({**ANTIPODAL, **IDENTITY, "num_examples": 300, "draws": 10},),
    full_cases=({**ANTIPODAL, **IDENTITY, "num_examples": 1000, "draws": 40},),
    wrong={"training means as they are": {"estimate": "training-means"}, "(n_-/n_+)^(1/4)": {"estimate": "ldam"}},
    assumptions=("a spread of 1 along w in both classes",),
)
def simulated_training_law(
    prior, norms, inner, aspect_ratio, num_examples, draws, condition, minority_spread, estimate="training-law"
):
    """The training margins' means give the best ratio once the lift of the support vectors is taken back."""
    rows = drawn(
        AUTO_RATIO, draws, prior=prior, norms=norms, inner=inner, aspect_ratio=aspect_ratio, num_examples=num_examples,
        condition=condition, minority_spread=minority_spread, methods=("training-law", "training-means"),
    )  # fmt: skip
    oracle = matching(rows, rule="oracle")["margin_ratio"].to_numpy()
    found = matching(rows, rule=estimate).assign(
        log_ratio=lambda kept: np.log(kept["margin_ratio"].to_numpy() / oracle)
    )
    return within(agreement(found, 0.0, "log_ratio", 30.0 / num_examples))


@claim(
    "vs_loss.simulated_training_law_any_spread",
    source=cite("tailbound", "the training law read for any covariance"),
    kind=Kind.SIMULATION,
    formula="mean of log(estimated ratio / oracle ratio) -> 0 whatever the spread of the classes",
    relation=Relation.AT_MOST,
    cases=({**ANTIPODAL, **IDENTITY, "minority_spread": 0.7, "num_examples": 300, "draws": 10},),
    expected="fails",
    corrected_by="vs_loss.simulated_training_law",
    right={"minority_spread": 1.0},
    wrong={"a wider minority": {"minority_spread": 1.6}},
)
def simulated_training_law_any_spread(
    prior, norms, inner, aspect_ratio, num_examples, draws, condition, minority_spread
):
    """The training law gives the best ratio for classes of unequal spread too.

    It equalises the two errors; with unequal spreads the best threshold does not.
    """
    return simulated_training_law(prior, norms, inner, aspect_ratio, num_examples, draws, condition, minority_spread)
