"""What every loss here shares: the meaning of `torch.nn.CrossEntropyLoss`, and the hooks of the training loop.

A loss writes one formula, `Objective.losses`: ℓ(z, c), the loss of an example as if c were its label. Everything else
follows from it. With q the target (one-hot, or probabilities; smoothed as torch does) and w the class weights, the loss
of an example is Σ_c q_c w_c ℓ(z, c): for cross-entropy, torch's definition. So a margin on the true class under mixed
labels is the mixture of the losses with each label's own margin.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...theory.core.class_counts import ClassCounts
from ...theory.core.errors import InputError, nearest

__all__ = ["REDUCTIONS", "Objective", "check_labels", "extremes", "label_log_odds", "pick", "softplus"]

REDUCTIONS = ("mean", "sum", "none")


class Objective(nn.Module):
    """Cross-entropy with the meaning of `torch.nn.CrossEntropyLoss`; other losses override `losses`.

    Logits of half precision are computed in float32 and the result is float32, under autocast too. Constants are
    buffers outside the state dict, float32 whatever the model is cast to, and exact again after ``.double()``.

    Args:
        class_counts: training counts n_k: a `ClassCounts`, sequence, mapping name → count, or Series; None where the
            loss needs none (K is then the logits').
        weight: w_k >= 0, shape (K,), or None for ones.
        reduction: ``mean`` (divided by `normaliser`), ``sum`` or ``none``.
        ignore_index: a label whose examples count nothing. As in torch, it has no meaning for probability targets.
        label_smoothing: ε in [0, 1]; targets become (1 - ε) q + ε / K.

    Raises:
        InputError: for settings that do not fit.

    Example:
        >>> logits, labels = torch.tensor([[2.0, 0.5], [0.1, 0.3]]), torch.tensor([0, 1])
        >>> Objective()(logits, labels) == nn.functional.cross_entropy(logits, labels)
        tensor(True)
    """

    weight: Tensor
    scale: float = 1.0
    """Factor of the logits at test time, see `probability_logits`."""

    def __init__(
        self,
        class_counts: Any = None,
        *,
        weight: Any = None,
        reduction: str = "mean",
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        if reduction not in REDUCTIONS:
            raise InputError(f"unknown reduction {reduction!r}; {nearest(str(reduction), REDUCTIONS)}")
        if not 0.0 <= label_smoothing <= 1.0:
            raise InputError(f"label_smoothing must lie in [0, 1], got {label_smoothing!r}")
        self.class_counts = None if class_counts is None else ClassCounts.from_any(class_counts)
        self.reduction, self.ignore_index, self.label_smoothing = reduction, int(ignore_index), float(label_smoothing)
        self._exact: dict[str, np.ndarray] = {}
        self.set_constant("weight", np.ones(1 if self.class_counts is None else len(self.class_counts)))
        if weight is not None:
            self.set_weight(weight)

    def losses(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        """ℓ(z, c) of logits (..., K) for every class c as the label, shape (..., K); a loss overrides this.

        With `labels`, those of the labels alone, of the labels' shape (...,); `label_log_odds` and `pick` do both.
        """
        return pick(-torch.log_softmax(logits, -1), labels)

    def probability_logits(self, logits: Tensor) -> Tensor:
        """What softmax turns into the model's probabilities at test time: the logits times `scale`."""
        return self.scale * logits

    def forward(self, logits: Tensor, targets: Tensor, *, normaliser: Any = None) -> Tensor:
        """Return the loss; shapes as in `torch.nn.CrossEntropyLoss`.

        Args:
            logits: (K,), (N, K) or (N, K, d1, ...).
            targets: labels, integers of the logits' shape without K; or probabilities, floating, of the logits' shape.
            normaliser: with ``mean``, a number or tensor that divides the sum in place of the batch's own `normaliser`.
                Losses of micro-batches divided by that of the whole batch add up to the loss of the whole batch. Pass a
                tensor to a compiled loss: a number becomes part of the graph.

        Raises:
            InputError: for shapes, labels or arguments that do not fit.
        """
        logits, targets = self.prepare(logits, targets)
        return self.reduce(partial(self.losses, logits), targets, logits.shape[-1], normaliser=normaliser)

    def normaliser(self, targets: Tensor) -> Tensor:
        """What ``mean`` divides by: the labels' sum of weights (ignored ones left out), or the number of examples."""
        if targets.is_floating_point():
            return self.weight.new_tensor(targets.numel() // targets.shape[min(1, targets.dim() - 1)])
        kept, labels = self._kept(targets, self.num_classes)
        weights = pick(self.weight, labels) if self.num_classes else self.weight.expand(kept.numel())
        return weights.reshape(kept.shape).where(kept, 0.0).sum()

    @property
    def num_classes(self) -> int | None:
        """K, or None as long as neither counts nor weights say it."""
        return None if self.weight.shape[0] == 1 else self.weight.shape[0]

    def set_weight(self, weight: Any) -> None:
        """Set the class weights in place, so that a compiled graph stays as it is; None means ones.

        Only a loss that does not know K yet (no counts, no weight) takes a new buffer, once.
        """
        if weight is None:
            self.set_constant("weight", np.ones(self.weight.shape[0]))
            return
        values = torch.as_tensor(weight).detach().to("cpu", torch.float64).numpy()
        if values.ndim != 1 or len(values) < 2 or self.num_classes not in (None, len(values)):
            raise InputError(f"weight must have shape ({self.num_classes or 'K'},), got {values.shape}")
        if not (np.isfinite(values) & (values >= 0)).all():
            bad = values[~(np.isfinite(values) & (values >= 0))]
            raise InputError(f"weights must be finite and >= 0, got {bad[:5].tolist()}")
        self.set_constant("weight", values)

    def set_constant(self, name: str, values: np.ndarray) -> None:
        """Set or update in place a buffer that is kept out of the state dict, exact in whatever precision it has."""
        self._exact[name] = np.array(values, dtype=np.float64)
        buffer = getattr(self, name, None)
        if buffer is not None and buffer.shape == self._exact[name].shape:
            buffer.copy_(_tensor(self._exact[name], buffer.dtype))
            return
        dtype, device = (torch.get_default_dtype(), None) if buffer is None else (buffer.dtype, buffer.device)
        self.register_buffer(name, _tensor(self._exact[name], dtype, device), persistent=False)

    def mix(self, images: Tensor, targets: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Hook: replace a batch before the model sees it."""
        return images, targets

    def start_epoch(self, epoch: int, epochs: int) -> None:
        """Hook: epoch `epoch` (from 0) of `epochs` begins. What it sets depends on these two alone."""

    def end_epoch(self, statistics: Any) -> None:
        """Hook: an epoch has ended. What it sets depends on the statistics of all epochs so far, and on nothing else.

        A run that goes on from a checkpoint is told those of its earlier epochs again.

        Args:
            statistics: a row of the curves, with ``epoch`` (from 1), ``loss`` and ``train_accuracy`` of each class;
                with ``validation_accuracy`` after evaluated epochs, if there are validation images. An accuracy is None
                for a class without examples.
        """

    def prepare(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Check shapes; return logits, and targets if they are probabilities, in float32 or 64, K as the last axis."""
        if logits.dim() == 0 or not logits.is_floating_point():
            raise InputError(f"logits must be floating, (K,) or (N, K, ...), got {logits.dtype}, {tuple(logits.shape)}")
        axis = min(1, logits.dim() - 1)
        if self.num_classes not in (None, logits.shape[axis]):
            raise InputError(
                f"logits of shape {tuple(logits.shape)} have {logits.shape[axis]} classes, "
                f"but the loss was built for {self.num_classes}"
            )
        dtype = torch.promote_types(logits.dtype, torch.float32)
        logits = logits.movedim(axis, -1)
        if targets.is_floating_point():
            if self.ignore_index >= 0:
                raise InputError(
                    f"ignore_index {self.ignore_index} has no meaning for probability targets; leave it out"
                )
            targets = targets.movedim(axis, -1) if targets.dim() > axis else targets
            expected, targets = logits.shape, targets.to(dtype)
        else:
            expected = logits.shape[:-1]
        if targets.shape != expected:
            raise InputError(
                f"targets must be integer labels of the logits' shape without K, {tuple(logits.shape[:-1])}, or "
                f"probabilities of the logits' shape, got {targets.dtype} of shape {tuple(targets.shape)}"
            )
        return logits.to(dtype), targets

    def reduce(
        self, losses: Callable[[Tensor | None], Tensor], targets: Tensor, num_classes: int, *, normaliser: Any = None
    ) -> Tensor:
        """Combine ℓ(z, c) over classes by targets and weights, then over examples by `reduction`.

        Args:
            losses: `losses` of these logits, a function of the labels or None.
            targets: as `prepare` returns them.
            num_classes: K.
            normaliser: see `forward`.
        """
        if normaliser is not None and self.reduction != "mean":
            raise InputError(f"normaliser goes with reduction 'mean', got {self.reduction!r}; leave it out")
        smoothing, weights = self.label_smoothing, self.weight.expand(num_classes)
        if targets.is_floating_point():
            found = (losses(None) * weights * (targets * (1 - smoothing) + smoothing / num_classes)).sum(-1)
            own = found.numel()
        else:
            kept, labels = self._kept(targets, num_classes)
            of_labels = pick(weights, labels)
            if smoothing:
                each = losses(None)
                found = (1 - smoothing) * pick(each, labels) * of_labels
                found = found + smoothing / num_classes * (each * weights).sum(-1)
            else:
                found = losses(labels) * of_labels
            found, own = found.where(kept, 0.0), of_labels.where(kept, 0.0).sum()
        if self.reduction == "none":
            return found
        if self.reduction == "sum":
            return found.sum()
        return found.sum() / (own if normaliser is None else normaliser)

    def _kept(self, labels: Tensor, K: int | None) -> tuple[Tensor, Tensor]:
        """Which labels count, and labels that can index: ignored ones are 0."""
        labels = labels.long()  # first: a byte cannot be compared with -100
        kept = labels != self.ignore_index
        return kept, check_labels(labels.where(kept, 0), K)

    def _apply(self, fn, recurse=True):
        super()._apply(fn, recurse)
        for name, values in self._exact.items():
            buffer = getattr(self, name)
            if buffer.dtype.itemsize < torch.float32.itemsize:
                setattr(self, name, _tensor(values, buffer.dtype, buffer.device))
            else:
                buffer.copy_(_tensor(values, buffer.dtype))
        return self


def label_log_odds(logits: Tensor, labels: Tensor | None = None) -> Tensor:
    """Log-odds of the label, z_y - log Σ_{j≠y} e^(z_j): of logits (..., K) and labels (...,), or for every class as y.

    Exact and smooth also where one class leads by far. The numpy formula is `theory.core.losses.label_log_odds`.

    Example:
        >>> label_log_odds(torch.tensor([2.0, 0.0, 0.0]))
        tensor([ 1.3069, -2.1269, -2.1269])
    """
    if labels is not None:
        others = logits.scatter(-1, labels.unsqueeze(-1), -torch.inf)
        return pick(logits, labels) - torch.logsumexp(others, -1)
    lead = logits.argmax(-1, keepdim=True)
    others = torch.softmax(logits, -1).scatter(-1, lead, 0.0)  # at most 1/2, so that log(1 - p) is exact
    rivals = torch.logsumexp(logits, -1, keepdim=True) + torch.log1p(-others)
    rivals = rivals.scatter(-1, lead, torch.logsumexp(logits.scatter(-1, lead, -torch.inf), -1, keepdim=True))
    return logits - rivals


def pick(values: Tensor, labels: Tensor | None) -> Tensor:
    """The label's entry along the last axis: of values (..., K) or constants (K,), labels (...,); all when None."""
    if labels is None:
        return values
    if values.dim() == 1:  # constants; plain indexing fails for the single label of an example under vmap
        return values.gather(0, labels.reshape(-1)).reshape(labels.shape)
    return values.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def softplus(values: Tensor) -> Tensor:
    """log(1 + e^x), exact in double precision too (torch's own threshold of 20 errs by 2e-9)."""
    return torch.nn.functional.softplus(values, threshold=50.0)


def check_labels(labels: Tensor, K: int | None, name: str = "labels") -> Tensor:
    """Return the labels; where Python can look without waiting, they must lie in 0..K-1 (None: no bound).

    Raises:
        InputError: for labels out of range on the CPU; an accelerator raises its own error, later.
    """
    found = extremes(labels) if labels.device.type == "cpu" else None
    if found and not (0 <= found[0] and found[1] < (K or torch.inf)):
        raise InputError(
            f"{name} must lie in 0..{K - 1 if K else 'K-1'}, got {found[0]:.0f}..{found[1]:.0f}; "
            "only ignore_index may lie outside"
        )
    return labels


def extremes(values: Tensor) -> tuple[float, float] | None:
    """Smallest and largest value; None where Python cannot look: no values, a compiled graph, a capture, vmap, meta."""
    capturing = not torch.compiler.is_compiling() and values.is_cuda and torch.cuda.is_current_stream_capturing()
    if torch.compiler.is_compiling() or capturing or not values.numel():
        return None
    try:
        low, high = values.detach().aminmax()
        return float(low), float(high)
    except RuntimeError:  # vmap and the meta device have no numbers to give
        return None


def _tensor(values: np.ndarray, dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
    return torch.from_numpy(values).to(torch.promote_types(dtype, torch.float32), copy=True).to(device)
