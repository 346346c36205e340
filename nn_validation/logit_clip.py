"""LogitClip in torch: a wrapper that clips the norm of the logits before any loss sees them.

Source:
    Wei et al. (2023), arXiv:2212.04055. The numpy formula is `theory.logit_clip.clip.clip_logits`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..theory.core.errors import InputError
from ..theory.logit_clip.clip import require_clip

__all__ = ["LogitClip", "clip_norm"]


class LogitClip(nn.Module):
    """A loss of logits scaled down to norm `max_norm` where they are longer; everything else is the wrapped loss's.

    In training the loss of each example, a mislabelled one too, stays within `theory.logit_clip.ranges.loss_range`. At
    test time the raw logits give the same classes; probabilities are those of `clip`. Attributes and hooks it does not
    have itself (``set_weight``, ``normaliser``, ``start_epoch``, …) are those of the wrapped loss.

    Args:
        loss: called as ``loss(logits, targets, ...)`` with classes on axis 1 (0 for a single example): an `Objective`,
            a ``torch.nn`` loss, or a function.
        max_norm: τ > 0, in logit units; `theory.logit_clip.noise.zero_gap_threshold` gives one for a noise rate.
        norm: p in [1, ∞].

    Raises:
        InputError: for a loss that cannot be called, or settings that do not fit.

    Source:
        Wei et al. (2023), definition; not the released code, which compares the norm with 1/τ (claim
        ``logit_clip.released_clip``).

    Example:
        >>> LogitClip(nn.CrossEntropyLoss(), 2.0)(torch.tensor([[100.0, 0.0]]), torch.tensor([1]))
        tensor(2.1269)
    """

    def __init__(self, loss: Callable[..., Tensor], max_norm: float = 1.0, *, norm: float = 2.0):
        super().__init__()
        require_clip(max_norm, norm)
        if not callable(loss):
            raise InputError(f"loss must be callable as loss(logits, targets), got {loss!r:.60}")
        self.loss, self.max_norm, self.norm = loss, float(max_norm), float(norm)

    def forward(self, logits: Tensor, targets: Tensor, *others: Any, **more: Any) -> Tensor:
        """Return the wrapped loss of the clipped logits; further arguments are passed on."""
        return self.loss(self.clip(logits), targets, *others, **more)

    def clip(self, logits: Tensor) -> Tensor:
        """Return the clipped logits, of the same shape, in float32 or 64; their softmax is the model's probability."""
        if logits.dim() == 0 or not logits.is_floating_point():
            raise InputError(f"logits must be floating, (K,) or (N, K, ...), got {logits.dtype}, {tuple(logits.shape)}")
        return clip_norm(logits, self.max_norm, norm=self.norm, axis=min(1, logits.dim() - 1))

    def probability_logits(self, logits: Tensor) -> Tensor:
        """See `Objective.probability_logits`: the clipped logits."""
        return self.clip(logits)

    def losses(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """See `Objective.losses`: logits (..., K), clipped here."""
        return self.loss.losses(clip_norm(logits, self.max_norm, norm=self.norm), labels)  # type: ignore[attr-defined]

    def extra_repr(self) -> str:
        """Settings, for the module's printed form."""
        return f"max_norm={self.max_norm:g}, norm={self.norm:g}"

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            loss = self.__dict__.get("_modules", {}).get("loss") or self.__dict__.get("loss")
            if loss is None or name.startswith("__"):
                raise
            return getattr(loss, name)


def clip_norm(logits: Tensor, max_norm: float, *, norm: float = 2.0, axis: int = -1) -> Tensor:
    """Scale vectors along an axis down to p-norm `max_norm`; exact where they are shorter, smooth at zero.

    A class ruled out by -∞ stays ruled out and does not count in the norm.
    Half precision is computed, and returned, in float32. The longest entry is divided out first, so that no power
    overflows.

    Args:
        logits: floating, any shape.
        max_norm: τ > 0.
        norm: p in [1, ∞].
        axis: of the classes.

    Example:
        >>> clip_norm(torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]), 1.0)
        tensor([[0.6000, 0.8000],
                [0.3000, 0.4000],
                [0.0000, 0.0000]])
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    ruled_out = logits == -torch.inf
    logits = logits.masked_fill(ruled_out, 0.0)
    size = logits.abs()
    if norm == float("inf"):
        excess = size.amax(axis, keepdim=True) / max_norm
    elif norm == 1:
        excess = size.sum(axis, keepdim=True) / max_norm
    else:
        unit = size.detach().amax(axis, keepdim=True).clamp(min=max_norm)
        total = (size / unit).pow(norm).sum(axis, keepdim=True)
        # total > 1 where clipped; zero is taken out before the root, whose derivative there is infinite
        excess = total.where(total > 0.5, 1.0).pow(1 / norm) * (unit / max_norm)
    return (logits / excess.where(excess > 1, 1.0)).masked_fill(ruled_out, -torch.inf)
