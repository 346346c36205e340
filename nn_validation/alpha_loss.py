"""α-loss in torch: exponential loss, log-loss and soft 0-1 loss as one family.

Source:
    Sypherd et al. (2022), arXiv:1906.02314. The numpy formula is `theory.alpha_loss.losses.alpha_softmax_loss`.
"""

import math
from typing import Any

import torch
from torch import Tensor

from ..theory.alpha_loss.losses import exponent
from ..theory.core.errors import require_in
from .core.objective import Objective

__all__ = ["AlphaLoss"]


class AlphaLoss(Objective):
    """(1 - p_c^u) / u with u = 1 - 1/α: α = 1 is cross-entropy, α > 1 tolerates flipped labels, α < 1 is steeper.

    Computed from log p, so that α near 1, α = ∞ and p = 0 cost no accuracy. For α < 1, where the loss grows like a
    power of 1/p, it continues linearly in log p from the weight `max_weight` on, so that no gradient overflows, in half
    precision either. The minimiser is the α-tilted posterior: probabilities are the softmax of the logits times `scale`
    = 1/α (1 at α = ∞, where tilting cannot be undone). For α < 1 that holds as long as every tilted probability is
    above max_weight^(1/u), 1e-4 for α = 1/2 and 0.1 for α = 0.2; below it the outputs are less flat than `scale` undoes
    and the largest probabilities come out too large. Raise `max_weight` there.

    Args:
        class_counts: training counts n_k, or None: the formula needs none.
        alpha: α in (0, ∞].
        max_weight: the largest weight p^u of an example, > 1; 1e4 is reached at p = 1e-4 for α = 1/2 and never above 1.
        others: arguments of `Objective`.

    Raises:
        InputError: for α outside (0, ∞] or a `max_weight` of no use.

    Source:
        Sypherd et al. (2022), the definition; generalised cross entropy of q = 1 - 1/α.

    Example:
        >>> AlphaLoss(alpha=float("inf"))(torch.tensor([[0.0, 0.0]]), torch.tensor([0]))
        tensor(0.5000)
    """

    def __init__(self, class_counts: Any = None, *, alpha: float = 2.0, max_weight: float = 1e4, **others: Any):
        u = exponent(alpha)
        require_in(max_weight, "max_weight", 1 + 1e-9, 1e30)
        super().__init__(class_counts, **others)
        self._exponent, self._largest = u, math.log(max_weight)
        self.alpha = float(alpha)
        self.scale = 1 / self.alpha if math.isfinite(self.alpha) else 1.0

    def losses(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """See `Objective.losses`."""
        cross_entropy, u = super().losses(logits, labels), self._exponent
        if u == 0:
            return cross_entropy
        power = -u * cross_entropy
        found = -torch.expm1(power.clamp(max=self._largest)) / u
        return found if u > 0 else found - math.exp(self._largest) / u * torch.relu(power - self._largest)
