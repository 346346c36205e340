"""Deferred re-weighting: class weights, their limits, and the schedule that switches them on."""

import reprlib
from numbers import Integral

import numpy as np

from ..core.class_counts import ClassCounts
from ..core.errors import InputError, nearest, require_in

__all__ = ["RULES", "class_weights", "deferred_weights", "effective_number", "switch_epoch"]

RULES = {
    "inverse": "1 / n_k, the rule of the paper's Algorithm 1",
    "effective": "1 / E_n with E_n = (1 - β^n) / (1 - β), the rule of the released code (β = 0.9999)",
}
SWITCH_FRACTION = 0.8
"""The paper switches at epoch 160 of 200, with the first annealing of the rate."""


def effective_number(counts: np.ndarray, beta: float) -> np.ndarray:
    """Effective number of examples E_n = (1 - β^n) / (1 - β), between 1 and min(n, 1 / (1 - β)).

    Args:
        counts: n_k >= 1, any shape.
        beta: β in [0, 1); 0 gives 1, β → 1 gives n.

    Source:
        Cui, Jia, Lin, Song, Belongie (2019), "Class-Balanced Loss", CVPR 2019, Sec. 3.2.

    Example:
        >>> effective_number(np.array([50.0, 5000.0]), 0.9999).round(1)
        array([  49.9, 3934.8])
    """
    require_in(beta, "beta", 0, 1)
    if beta == 1:
        raise InputError("beta must be below 1, got 1; the limit is the inverse frequency: use rule='inverse'")
    counts = np.asarray(counts, dtype=float)
    return np.ones_like(counts) if beta == 0 else np.expm1(counts * np.log(beta)) / (beta - 1)


def class_weights(class_counts: ClassCounts, *, rule: str = "inverse", beta: float = 0.9999) -> np.ndarray:
    """Class weights of a rule, normalised to sum K, shape (K,).

    Args:
        class_counts: training counts n_k.
        rule: one of `RULES`.
        beta: β of the effective number.

    Source:
        Cao et al. (2019), Algorithm 1 (inverse) and released code (effective); Cui et al. (2019).

    Example:
        >>> class_weights(ClassCounts((900, 100))).round(2)
        array([0.2, 1.8])
    """
    if rule not in RULES:
        raise InputError(f"unknown rule {rule!r}; {nearest(rule, RULES)}")
    sizes = class_counts.array if rule == "inverse" else effective_number(class_counts.array, beta)
    return len(class_counts) * (1 / sizes) / (1 / sizes).sum()


def switch_epoch(epochs: int) -> int:
    """Epoch from which the weights are on: 160 of 200, the same fraction of other lengths.

    Source:
        Cao et al. (2019), Sec. 4 (convention; the paper gives no theory of the schedule).
    """
    if not isinstance(epochs, Integral) or epochs < 2:
        raise InputError(f"epochs must be a whole number >= 2 for a deferred schedule, got {epochs!r}")
    if epochs > 10**9:
        raise InputError(f"epochs must be at most 10**9, got {reprlib.repr(epochs)}; pass epochs, not steps")
    return min(max(round(SWITCH_FRACTION * epochs), 1), int(epochs) - 1)


def deferred_weights(
    class_counts: ClassCounts, epoch: int, *, epochs: int, rule: str = "inverse", beta: float = 0.9999
) -> np.ndarray:
    """Weights of epoch `epoch` (from 0): all ones before `switch_epoch`, `class_weights` from then on, shape (K,).

    Example:
        >>> deferred_weights(ClassCounts((900, 100)), 159, epochs=200)
        array([1., 1.])
    """
    if not 0 <= epoch < epochs:
        raise InputError(f"epoch must lie in 0..{epochs - 1}, got {epoch}")
    if epoch < switch_epoch(epochs):
        return np.ones(len(class_counts))
    return class_weights(class_counts, rule=rule, beta=beta)
