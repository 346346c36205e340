"""VS-loss in torch, and its members: logit adjustment (LA), class-dependent temperatures (CDT), the form for groups.

Source:
    Kini, Paraskevas, Oymak, Thrampoulidis (2021), arXiv:2103.01550; LA: Menon et al. (2021), arXiv:2007.07314; CDT: Ye
    et al. (2020), arXiv:2001.01385. The numpy formulas are in `theory.vs_loss.losses`.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...theory.core.class_counts import ClassCounts
from ...theory.core.errors import InputError
from ...theory.vs_loss.losses import vs_parameters
from ..core.objective import Objective

__all__ = ["CDTLoss", "LALoss", "VSLoss"]


class VSLoss(Objective):
    """-log softmax(Δ z + ι)_y with Δ_k = (n_k / n_max)^γ and ι_k = τ log π_k; test with the plain logits.

    The weight ω of the paper is `weight`.

    Args:
        class_counts: training counts n_k.
        gamma: γ >= 0; 0 leaves LA.
        tau: τ >= 0; 0 leaves CDT.
        plain_epochs: epochs of plain cross-entropy at the start (the mixed start); `start_epoch` then switches Δ and ι
            on in place.
        others: arguments of `Objective`.

    Source:
        Kini et al. (2021), multi-class form; defaults and mixed start of the released code.
    """

    delta: Tensor
    iota: Tensor

    def __init__(
        self, class_counts: Any, *, gamma: float = 0.3, tau: float = 1.0, plain_epochs: int = 0, **others: Any
    ):
        counts = ClassCounts.from_any(class_counts)
        self_parameters = vs_parameters(counts, gamma=gamma, tau=tau)
        if not (isinstance(plain_epochs, int) and plain_epochs >= 0):
            raise InputError(f"plain_epochs must be a whole number >= 0, got {plain_epochs!r}")
        super().__init__(counts, **others)
        self.gamma, self.tau, self.plain_epochs = float(gamma), float(tau), plain_epochs
        self._parameters_on = self_parameters
        self.start_epoch(0, 1)

    def losses(self, logits: Tensor) -> Tensor:
        """See `Objective.losses`."""
        return -torch.log_softmax(self.delta.to(logits.dtype) * logits + self.iota.to(logits.dtype), -1)

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Plain cross-entropy for the first `plain_epochs` epochs, VS-loss after them."""
        plain = epoch < self.plain_epochs
        delta, iota, _ = self._parameters_on
        self.set_constant("delta", np.ones_like(delta) if plain else delta)
        self.set_constant("iota", np.zeros_like(iota) if plain else iota)


class LALoss(VSLoss):
    """Logit-adjusted cross-entropy, -log softmax(z + τ log π)_y; τ = 1 is consistent for the balanced error."""

    def __init__(self, class_counts: Any, *, tau: float = 1.0, **others: Any):
        super().__init__(class_counts, gamma=0.0, tau=tau, **others)


class CDTLoss(VSLoss):
    """Class-dependent temperatures, -log softmax(Δ z)_y with Δ_k = (n_k / n_max)^γ."""

    def __init__(self, class_counts: Any, *, gamma: float = 0.3, **others: Any):
        super().__init__(class_counts, gamma=gamma, tau=0.0, **others)
