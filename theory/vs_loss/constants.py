"""What a practitioner gets from LA, CDT, VS-loss and the cost-sensitive SVM: shifts, scales, a margin ratio."""

from collections.abc import Iterator

import numpy as np

from ..core.class_counts import ClassCounts
from ..core.constants import Constant, Origin, constant
from .losses import vs_parameters

__all__ = ["vs_entries"]


def vs_entries(counts: ClassCounts) -> Iterator[Constant]:
    """The constants of LA, CDT, VS-loss and, for two classes, the cost-sensitive SVM.

    Args:
        counts: n_k.

    Example:
        >>> {each.name: each.value for each in vs_entries(ClassCounts((5000, 50)))}["svm.margin_ratio"]
        3.1622776601683795
    """
    # tuned values of Kini et al. on CIFAR-10/100 at ratio 100; grids of the re-implementations by number of classes
    few = len(counts) <= 20
    cdt_gamma, cdt_high = (0.2, 0.4) if few else (0.1, 0.2) if len(counts) <= 500 else (0.05, 0.1)
    gamma, tau = (0.15, 1.25) if few else (0.05, 0.75)
    grid = "grids in use: [0, 0.4] for CIFAR-10, [0, 0.2] for CIFAR-100, [0, 0.1] for iNaturalist"
    yield constant(
        "la.tau",
        1.0,
        "τ = 1",
        "the one value for which the minimiser is the balanced Bayes rule",
        Origin.THEOREM,
        "vs_loss.la_consistency",
        0.5,
        2.5,
        "tuned networks: 2.25 (CIFAR-10-LT), 1.375 (CIFAR-100-LT), 0.875 (CIFAR-100-STEP)",
    )
    yield constant(
        "la.iota",
        vs_parameters(counts, tau=1.0).iota,
        "ι_k = τ log π_k, added to the logits in training only",
        "consistent for the balanced error; smaller for rare classes",
        Origin.THEOREM,
        "vs_loss.la_consistency",
        2.5 * float(np.log(counts.priors.min())),
        0.0,
        "τ log π_k for τ from 0 to 2.5, the largest tuned value",
    )
    yield constant(
        "cdt.gamma",
        cdt_gamma,
        "middle of the grid for this number of classes",
        "asks rare classes for larger margins; the larger, the more they are weighed down at the start",
        Origin.SWEEP,
        "vs_loss.scale_starts_backwards",
        0.0,
        cdt_high,
        grid,
    )
    yield constant(
        "cdt.delta",
        vs_parameters(counts, gamma=cdt_gamma).delta,
        "Δ_k = (n_k/n_max)^γ, multiplied into the logits in training only",
        "asks rare classes for larger margins; weighs them down at the start, by Δ_k itself",
        Origin.SWEEP,
        "vs_loss.scale_starts_backwards",
        0.0,
        1.0,
        "relative to the largest class",
    )
    vs = vs_parameters(counts, gamma=gamma, tau=tau)
    yield constant(
        "vs.gamma",
        gamma,
        "tuned: 0.15 on CIFAR-10-LT, 0.05 on CIFAR-100-LT",
        "small, as the shift does part of the work; smaller for more classes",
        Origin.SWEEP,
        "",
        0.0,
        cdt_high,
        grid,
    )
    yield constant(
        "vs.tau",
        tau,
        "tuned: 1.25 on CIFAR-10-LT, 0.75 on CIFAR-100-LT",
        "tuned with gamma; 1 alone would be consistent for the balanced error",
        Origin.SWEEP,
        "vs_loss.la_consistency",
        0.5,
        1.5,
        "tuned values in the literature; some re-implementations exchange them with gamma",
    )
    yield constant(
        "vs.delta",
        vs.delta,
        "Δ_k = (n_k/n_max)^γ",
        "as for cdt.delta; with the shift the weight at the start is Δ_k (1 - softmax(ι)_k)",
        Origin.SWEEP,
        "vs_loss.initial_weight_multiclass",
        0.0,
        1.0,
        "relative to the largest class",
    )
    yield constant(
        "vs.iota",
        vs.iota,
        "ι_k = τ log π_k",
        "offsets the backward start of Δ; tuned, not consistent for the balanced error (that needs τ = 1, Δ = 1)",
        Origin.SWEEP,
        "vs_loss.initial_weight_multiclass",
        1.5 * float(np.log(counts.priors.min())),
        0.0,
        "τ log π_k for τ from 0 to 1.5, the largest tuned value",
    )
    if len(counts) == 2:
        yield constant(
            "svm.margin_ratio",
            float(counts.imbalance_ratio**0.25),
            "δ = (n_max/n_min)^(1/4), rare over frequent",
            "the cost-sensitive SVM that realises LDAM's split on separable data; moves only the threshold",
            Origin.THEOREM,
            "vs_loss.margin_ratio_path",
            1.0,
            float(counts.imbalance_ratio),
            "from equal margins to the inverse of the counts",
        )
