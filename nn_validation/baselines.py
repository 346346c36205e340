"""Losses to compare with: cross-entropy plain, weighted and class-balanced, and focal loss.

Source:
    Focal: Lin, Goyal, Girshick, He, Dollár (2017), arXiv:1708.02002. Class-balanced: Cui et al. (2019), CVPR.
"""

from typing import Any

import torch
from torch import Tensor

from ..theory.core.class_counts import ClassCounts
from ..theory.core.errors import require_in
from ..theory.ldam.weights import class_weights
from .core.objective import Objective, label_log_odds, softplus

__all__ = ["ClassBalancedCrossEntropy", "CrossEntropy", "FocalLoss", "WeightedCrossEntropy"]


class CrossEntropy(Objective):
    """Plain cross-entropy; all arguments are those of `Objective`."""


class WeightedCrossEntropy(Objective):
    """Cross-entropy with weights 1 / n_k, normalised to sum K.

    Args:
        class_counts: training counts n_k.
        others: ``reduction``, ``ignore_index``, ``label_smoothing`` of `Objective`.

    Example:
        >>> WeightedCrossEntropy([900, 100]).weight
        tensor([0.2000, 1.8000])
    """

    def __init__(self, class_counts: Any, **others: Any):
        counts = ClassCounts.from_any(class_counts)
        super().__init__(counts, weight=class_weights(counts), **others)


class ClassBalancedCrossEntropy(Objective):
    """Cross-entropy with weights 1 / E_n, E_n = (1 - β^n) / (1 - β), normalised to sum K.

    Args:
        class_counts: training counts n_k.
        beta: β in [0, 1); 0 gives no weighting, β → 1 weights 1 / n_k.
        others: ``reduction``, ``ignore_index``, ``label_smoothing`` of `Objective`.

    Source:
        Cui et al. (2019), CVPR.

    Example:
        >>> ClassBalancedCrossEntropy([900, 100], beta=0.999).weight
        tensor([0.2764, 1.7236])
    """

    def __init__(self, class_counts: Any, *, beta: float = 0.9999, **others: Any):
        counts = ClassCounts.from_any(class_counts)
        super().__init__(counts, weight=class_weights(counts, rule="effective", beta=beta), **others)


class FocalLoss(Objective):
    """Focal loss, -(1 - p_c)^γ log p_c; γ = 0 is cross-entropy.

    Args:
        class_counts: training counts n_k, or None: the formula needs none.
        focusing: γ >= 0.
        others: arguments of `Objective`.

    Source:
        Lin et al. (2017), arXiv:1708.02002, Eq. 4 (softmax form, each example modulated by itself).

    Example:
        >>> FocalLoss(focusing=2.0)(torch.zeros(1, 2), torch.tensor([0]))
        tensor(0.1733)
    """

    def __init__(self, class_counts: Any = None, *, focusing: float = 1.0, **others: Any):
        require_in(focusing, "focusing", 0, 100)
        super().__init__(class_counts, **others)
        self.focusing = float(focusing)

    def losses(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """See `Objective.losses`."""
        odds = label_log_odds(logits, labels)  # -log p = softplus(-odds), -log(1 - p) = softplus(odds)
        return torch.exp(-self.focusing * softplus(odds)) * softplus(-odds)
