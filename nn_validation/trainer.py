"""The losses in Hugging Face's `Trainer`. Needs no transformers itself.

```python
from tailbound.nn_validation.ldam import LDAMLoss
from tailbound.nn_validation.trainer import compute_loss_func

Trainer(model, args, train_dataset=..., compute_loss_func=compute_loss_func(LDAMLoss(class_counts)))
```
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ..theory.core.errors import InputError
from .core.objective import Objective

__all__ = ["compute_loss_func"]


def compute_loss_func(objective: Objective) -> Callable[..., Tensor]:
    """Return the function that a `Trainer` takes as its ``compute_loss_func``.

    The objective follows the logits to their device. Logits are (N, K), or (N, T, K) for tokens, with labels (N,) or
    (N, T). When the trainer says how many labels all micro-batches of a step hold together, the sum is divided by that
    number, so that micro-batches add up; otherwise it is the objective's own mean.

    Args:
        objective: a loss with reduction ``mean``.

    Raises:
        InputError: for another reduction; when called, for outputs without logits.

    Example:
        >>> import torch
        >>> function = compute_loss_func(Objective([90, 10]))
        >>> logits, labels = torch.zeros(4, 2), torch.tensor([0, 0, 1, 0])
        >>> function({"logits": logits}, labels, num_items_in_batch=8)
        tensor(0.3466)
    """
    if objective.reduction != "mean":
        raise InputError(f"a Trainer needs reduction 'mean', got {objective.reduction!r}; leave reduction out")

    def compute_loss(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        logits = outputs.get("logits") if isinstance(outputs, Mapping) else getattr(outputs, "logits", None)
        if logits is None and isinstance(outputs, tuple | list) and len(outputs):
            logits = outputs[0]
        if logits is None:
            raise InputError(f"the model's outputs must have logits, got {type(outputs).__name__} without them")
        if objective.weight.device != logits.device:
            objective.to(logits.device)
        labels = labels.to(logits.device)
        return objective(logits.flatten(0, -2), labels.flatten(0, logits.dim() - 2), normaliser=num_items_in_batch)

    return compute_loss
