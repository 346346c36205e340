"""VS-loss in torch, and its members: logit adjustment (LA), class-dependent temperatures (CDT), the form for groups.

Source:
    Kini, Paraskevas, Oymak, Thrampoulidis (2021), arXiv:2103.01550; LA: Menon et al. (2021), arXiv:2007.07314; CDT: Ye
    et al. (2020), arXiv:2001.01385. The numpy formulas are in `theory.vs_loss.losses`.
"""

from typing import Any

import numpy as np
from torch import Tensor

from ...theory.core.class_counts import ClassCounts
from ...theory.core.errors import InputError
from ...theory.vs_loss.losses import group_parameters, vs_parameters
from ..core.objective import Objective, check_labels, label_log_odds, pick, softplus

__all__ = ["CDTLoss", "GroupVSLoss", "LALoss", "VSLoss"]


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

    Example:
        >>> VSLoss([900, 100], gamma=0.5, tau=1.0).delta
        tensor([1.0000, 0.3333])
    """

    delta: Tensor
    iota: Tensor

    def __init__(
        self, class_counts: Any, *, gamma: float = 0.3, tau: float = 1.0, plain_epochs: int = 0, **others: Any
    ):
        counts = ClassCounts.from_any(class_counts)
        adjustment = vs_parameters(counts, gamma=gamma, tau=tau)
        if not (isinstance(plain_epochs, int) and plain_epochs >= 0):
            raise InputError(f"plain_epochs must be a whole number >= 0, got {plain_epochs!r}")
        super().__init__(counts, **others)
        self.gamma, self.tau, self.plain_epochs = float(gamma), float(tau), plain_epochs
        self._adjustment = adjustment
        self.start_epoch(0, 1)

    def losses(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """See `Objective.losses`."""
        return super().losses(self.delta * logits + self.iota, labels)

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Plain cross-entropy for the first `plain_epochs` epochs, VS-loss after them."""
        delta, iota = self._adjustment.delta, self._adjustment.iota
        if epoch < self.plain_epochs:
            delta, iota = np.ones_like(delta), np.zeros_like(iota)
        self.set_constant("delta", delta)
        self.set_constant("iota", iota)


class LALoss(VSLoss):
    """Logit-adjusted cross-entropy, -log softmax(z + τ log π)_y; τ = 1 is consistent for the balanced error.

    Args:
        class_counts: training counts n_k.
        tau: τ >= 0; 0 is cross-entropy.
        others: ``plain_epochs`` of `VSLoss` and the arguments of `Objective`.

    Source:
        Menon et al. (2021), arXiv:2007.07314, Eq. 10.

    Example:
        >>> LALoss([900, 100]).iota.exp()
        tensor([0.9000, 0.1000])
    """

    def __init__(self, class_counts: Any, *, tau: float = 1.0, **others: Any):
        super().__init__(class_counts, gamma=0.0, tau=tau, **others)


class CDTLoss(VSLoss):
    """Class-dependent temperatures, -log softmax(Δ z)_y with Δ_k = (n_k / n_max)^γ.

    Args:
        class_counts: training counts n_k.
        gamma: γ >= 0; 0 is cross-entropy.
        others: ``plain_epochs`` of `VSLoss` and the arguments of `Objective`.

    Source:
        Ye et al. (2020), arXiv:2001.01385.

    Example:
        >>> CDTLoss([900, 100], gamma=0.5).delta
        tensor([1.0000, 0.3333])
    """

    def __init__(self, class_counts: Any, *, gamma: float = 0.3, **others: Any):
        super().__init__(class_counts, gamma=gamma, tau=0.0, **others)


class GroupVSLoss(Objective):
    """VS-loss with a scale and a shift for each class in each group, log(1 + e^(ι_yg - Δ_yg m)).

    m is the log-odds of the label under the logits: for two classes z_y - z_other, the paper's signed score. The group
    is known in training only; test with the plain logits.

    Args:
        cell_counts: n_kg >= 1, training examples of class k in group g, shape (K, G).
        gamma: γ >= 0 of Δ_kg = (n_kg / n_max)^γ.
        tau: τ >= 0 of ι_kg = -τ log(n_kg / n).
        others: arguments of `Objective`.

    Source:
        Kini et al. (2021), group form (binary; more classes: derived here). The numpy formula is
        `theory.vs_loss.losses.group_vs_loss`.

    Example:
        >>> import torch
        >>> loss = GroupVSLoss([[3498, 184], [56, 1057]])
        >>> logits, labels, groups = torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor([1, 0])
        >>> round(loss(logits, labels, groups).item(), 3)
        3.88
    """

    delta: Tensor
    iota: Tensor

    def __init__(self, cell_counts: Any, *, gamma: float = 0.3, tau: float = 1.0, **others: Any):
        cells = np.asarray(cell_counts)
        parameters = group_parameters(cells, gamma=gamma, tau=tau)
        super().__init__(cells.sum(axis=1), **others)
        self.gamma, self.tau = float(gamma), float(tau)
        self.set_constant("delta", parameters.delta)
        self.set_constant("iota", parameters.iota)

    def forward(self, logits: Tensor, targets: Tensor, groups: Tensor, *, normaliser: Any = None) -> Tensor:
        """As `Objective.forward`, with the group of each example: integers in 0..G-1, the logits' shape without K."""
        logits, targets = self.prepare(logits, targets)
        if groups.is_floating_point() or groups.shape != logits.shape[:-1]:
            raise InputError(
                f"groups must be integers of shape {tuple(logits.shape[:-1])}, one for each example, "
                f"got {groups.dtype} of shape {tuple(groups.shape)}"
            )
        groups = check_labels(groups.long(), self.delta.shape[1], "groups")
        delta, iota = self.delta.T[groups], self.iota.T[groups]  # (..., K)

        def losses(labels: Tensor | None = None) -> Tensor:
            return softplus(pick(iota, labels) - pick(delta, labels) * label_log_odds(logits, labels))

        return self.reduce(losses, targets, logits.shape[-1], normaliser=normaliser)
