"""When classes are re-weighted or re-sampled: never, always, or deferred to the last fifth of the training."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...theory.core.class_counts import ClassCounts
from ...theory.core.errors import InputError, nearest
from ...theory.ldam.weights import class_weights, switch_epoch

__all__ = ["SCHEDULES", "Schedule", "schedule"]


@dataclass(frozen=True)
class Schedule:
    """Class weights in the loss, or in the sampling, from some epoch on.

    Args:
        what: the loss's weights, the sampling's, or neither.
        deferred: from `switch_epoch` on; otherwise from the first epoch.
        rule: of `class_weights`: ``effective`` is the released code's (β = 0.9999), ``inverse`` the paper's.

    Source:
        Cao et al. (2019), arXiv:1906.07413, Algorithm 1 and Sec. 4 (DRW, DRS, RW, RS).

    Example:
        >>> counts = ClassCounts((900, 100))
        >>> [schedule("drw").class_weights(counts, epoch, epochs=200).round(2).tolist() for epoch in (159, 160)]
        [[1.0, 1.0], [0.21, 1.79]]
    """

    what: Literal["nothing", "weights", "sampling"] = "nothing"
    deferred: bool = False
    rule: str = "effective"

    def class_weights(self, counts: ClassCounts, epoch: int, *, epochs: int) -> np.ndarray:
        """Weights of the loss in this epoch, shape (K,), summing to K."""
        return self._weights(counts, epoch, epochs, "weights", self.rule)

    def sampling_weights(self, counts: ClassCounts, epoch: int, *, epochs: int) -> np.ndarray:
        """Weights by which an example of each class is drawn in this epoch, shape (K,); equal ones mean no re-sampling.

        Re-sampling draws every class equally often, so its weights are 1 / n_k whatever the rule.
        """
        return self._weights(counts, epoch, epochs, "sampling", "inverse")

    def _weights(self, counts: ClassCounts, epoch: int, epochs: int, what: str, rule: str) -> np.ndarray:
        if self.what != what or (self.deferred and epoch < switch_epoch(epochs)):
            return np.ones(len(counts))
        return class_weights(counts, rule=rule)


SCHEDULES = {
    "none": Schedule(),
    "rw": Schedule("weights"),
    "rs": Schedule("sampling"),
    "drw": Schedule("weights", deferred=True),
    "drs": Schedule("sampling", deferred=True),
}


def schedule(name: str) -> Schedule:
    """Return a schedule of `SCHEDULES` by name.

    Raises:
        InputError: for an unknown name.
    """
    if name not in SCHEDULES:
        raise InputError(f"unknown schedule {name!r}; {nearest(name, SCHEDULES)}")
    return SCHEDULES[name]
