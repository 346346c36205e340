"""LDAM in torch: cross-entropy of scaled cosines, the true class's lowered by its margin.

Source:
    Cao, Wei, Gaidon, Arechiga, Ma (2019), arXiv:1906.07413. The numpy formula is `theory.ldam.losses.ldam_loss`.
"""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..theory.core.class_counts import ClassCounts
from ..theory.core.errors import InputError, require_in, require_positive
from ..theory.ldam.margins import class_margins
from .core.heads import NormedLinear
from .core.objective import Objective, extremes, label_log_odds, pick, softplus

__all__ = ["LDAMLoss", "NormedLinear"]

_LARGEST_COSINE = 1.05  # what half precision makes of 1, with room


class LDAMLoss(Objective):
    """-log softmax(s (z - γ_y e_y))_y with margins γ_k = C n_k^(-exponent), for logits z that are cosines.

    With probability targets or label smoothing, each class counts with the loss it has as the label, its own margin in
    place. Logits outside [-1, 1] are computed, with one warning.

    Args:
        class_counts: training counts n_k.
        max_margin: the largest margin, in cosine units, >= 0; 0 is cross-entropy of scaled cosines.
        exponent: 1/4 is LDAM's; 0 gives every class `max_margin` (the M loss).
        constant: C; then γ_k = min(C n_k^(-exponent), max_margin). None: C such that the largest is `max_margin`.
        scale: s > 0.
        others: arguments of `Objective`.

    Source:
        Cao et al. (2019), Eq. 13; s = 30 appears in the released code only.

    Example:
        >>> loss = LDAMLoss([5000, 50])
        >>> cosines, labels = torch.tensor([[0.9, -0.2], [0.1, 0.3]]), torch.tensor([0, 1])
        >>> round(loss(cosines, labels).item(), 4), loss.margins
        (4.5001, tensor([0.1581, 0.5000]))
    """

    margins: Tensor

    def __init__(
        self,
        class_counts: Any,
        *,
        max_margin: float = 0.5,
        exponent: float = 0.25,
        constant: float | None = None,
        scale: float = 30.0,
        **others: Any,
    ):
        counts = ClassCounts.from_any(class_counts)
        require_positive(scale, "scale")
        require_in(max_margin, "max_margin", 0, np.inf)
        if constant is not None:
            margins = np.minimum(class_margins(counts, exponent=-exponent, constant=constant), max_margin)
        elif np.isinf(max_margin):
            raise InputError("max_margin must be finite without a constant, got inf; pass constant=C")
        elif max_margin:
            margins = class_margins(counts, exponent=-exponent, max_margin=max_margin)
        else:
            margins = np.zeros(len(counts))
        super().__init__(counts, **others)
        self.scale = float(scale)
        self.set_constant("margins", margins)
        self._calls, self._noticed = 0, False

    def losses(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """See `Objective.losses`."""
        self._notice(logits)
        margins = pick(self.scale * self.margins, labels)
        return softplus(margins - label_log_odds(self.scale * logits, labels))

    def _notice(self, logits: Tensor) -> None:
        """Look at the 1st, 2nd, 4th, 8th, ... batch: logits of a linear head grow; every look waits for the device."""
        if torch.compiler.is_compiling() or self._noticed:
            return
        self._calls += 1
        found = extremes(logits) if self._calls & (self._calls - 1) == 0 else None
        if found and (largest := max(-found[0], found[1])) > _LARGEST_COSINE:
            self._noticed = True
            warnings.warn(
                f"LDAM expects cosines in [-1, 1], got a logit of size {largest:.3g}: the margins mean nothing at that "
                f"scale. Make the last layer NormedLinear(in_features, {logits.shape[-1]}) "
                "(tailbound.nn_validation.ldam), without a scale: the loss scales by itself",
                stacklevel=7,  # the line that calls the loss
            )
