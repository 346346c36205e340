"""Ranges of the clipped loss, of its probabilities and of its sum over the labels; both ends are attained."""

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar

from ..core.errors import InputError
from .clip import require_clip

__all__ = ["Range", "contrast", "label_sum_range", "loss_range", "probability_range", "two_level_logits"]


class Range(NamedTuple):
    """Least and largest value that is attained."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """Largest minus least value."""
        return self.high - self.low


def contrast(num_classes: int, norm: float = 2.0) -> float:
    """c_p = (1 + (K-1)^(1-q))^(1/q), 1/p + 1/q = 1: the largest z_y minus the mean of the others over ||z||_p <= 1.

    It is the dual norm of (1, -1/(K-1), ...): 1 for p = 1, √(K/(K-1)) for p = 2, 2 for p = ∞.

    Example:
        >>> contrast(10, 1), round(contrast(10, 2), 4), contrast(10, np.inf)
        (1.0, 1.0541, 2.0)
    """
    require_clip(1.0, norm, num_classes)
    if norm == 1:
        return 1.0
    dual = 1.0 if norm == np.inf else norm / (norm - 1)
    return float((1 + (num_classes - 1) ** (1 - dual)) ** (1 / dual))


def loss_range(max_norm: float, num_classes: int, *, norm: float = 2.0) -> Range:
    """Least and largest clipped cross-entropy over all logits, both attained.

    The least is log(1 + (K-1) e^(-τ c_p)). The largest is log(1 + (K-1) e^(τ)) for p = 1 and log(1 + (K-1) e^(2τ)) for
    p = ∞; for 1 < p < ∞ the best wrong logits have one value but for one larger one, and their ratio is searched. The
    paper's range log(1 + (K-1) e^(±2τ)) is that of p = ∞ and loose for every other p.

    Args:
        max_norm: τ > 0.
        num_classes: K >= 2.
        norm: p in [1, ∞].

    Source:
        The p-independent form: Wei et al. (2023). The exact ends: derived here (claims ``logit_clip.least_loss`` and
        ``logit_clip.largest_loss``).

    Example:
        >>> [tuple(round(end, 3) for end in loss_range(1.0, 10, norm=p)) for p in (1, 2, np.inf)]
        [(1.461, 3.237), (1.42, 3.289), (0.797, 4.212)]
    """
    require_clip(max_norm, norm, num_classes)
    rivals = num_classes - 1
    low = np.log1p(rivals * np.exp(-max_norm * contrast(num_classes, norm)))
    if num_classes == 2 or norm in (1, np.inf):
        return Range(float(low), float(np.log(rivals) + np.logaddexp(-np.log(rivals), max_norm * contrast(2, norm))))

    def negative(step):
        label, first, others = _levels(step, max_norm, num_classes, norm)
        return -np.logaddexp(0, np.logaddexp(first - label, np.log(num_classes - 2) + others - label))

    furthest = 1.01 * max_norm / (norm - 1) + 1  # a stationary ratio is e^(-v (1 - ratio) / (p - 1)), v <= τ
    grid = np.union1d(np.linspace(0, min(8, furthest), 161), np.linspace(0, furthest, 401))
    k = int(np.argmin(negative(grid)))
    near: Any = (grid[max(k - 1, 0)], grid[min(k + 1, len(grid) - 1)])
    found: Any = minimize_scalar(negative, bounds=near, method="bounded", options={"xatol": 1e-10})
    return Range(float(low), -float(min(found.fun, negative(grid[k]), negative(np.inf))))


def two_level_logits(ratio, max_norm: float, num_classes: int, *, norm: float = 2.0) -> np.ndarray:
    """Candidates for the largest loss: logits (-a, v, u, …, u), u = ratio · v, ||z||_p = τ, a^(p-1) = Σ others^(p-1).

    The last condition is stationarity: the gradient of the loss sums to zero over the classes, so must the norm's.

    Args:
        ratio: u / v in [0, 1], any shape; 1 for equal wrong logits.
        max_norm: τ > 0.
        num_classes: K >= 2; the label is class 0.
        norm: p, 1 < p < ∞.

    Returns:
        Logits, shape (..., K).

    Example:
        >>> two_level_logits(1.0, 1.0, 5).round(3)
        array([-0.894,  0.224,  0.224,  0.224,  0.224])
    """
    require_clip(max_norm, norm, num_classes)
    if not 1 < norm < np.inf:
        raise InputError(f"norm must lie between 1 and inf here, got {norm!r}; loss_range has the ends in closed form")
    with np.errstate(divide="ignore"):
        label, first, others = _levels(-np.log(np.asarray(ratio, dtype=float)), max_norm, num_classes, norm)
    return np.stack([label, first, *[others] * (num_classes - 2)], axis=-1)


def _levels(step: Any, max_norm: float, num_classes: int, norm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The label's logit, the larger wrong one and the others, whose ratio is e^(-step): it may be that small."""
    step = np.asarray(step, dtype=float)
    rest = np.log(num_classes - 2) if num_classes > 2 else -np.inf
    log_label = np.logaddexp(0, rest - (norm - 1) * step) / (norm - 1)  # of a, v = 1
    log_size = np.logaddexp(norm * log_label, np.logaddexp(0, rest - norm * step)) / norm
    first = max_norm * np.exp(-log_size)
    return -max_norm * np.exp(log_label - log_size), first, first * np.exp(-step)


def probability_range(max_norm: float, num_classes: int, *, norm: float = 2.0) -> Range:
    """Least and largest softmax probability of any class after clipping; a loss φ(p_y) has its range there.

    Example:
        >>> [round(probability_range(tau, 10).high, 3) for tau in (2, 1, 2 / 3, 0.5, 0.2)]
        [0.478, 0.242, 0.183, 0.158, 0.121]
        >>> low, high = probability_range(1.0, 10)
        >>> round(2 * (1 - high), 3), round(2 * (1 - low), 3)  # the range of the absolute loss
        (1.517, 1.925)
    """
    low, high = loss_range(max_norm, num_classes, norm=norm)
    return Range(float(np.exp(-high)), float(np.exp(-low)))


def label_sum_range(max_norm: float, num_classes: int, *, norm: float = 2.0) -> Range:
    """Least and largest Σ_k L(z, k) = K logsumexp(z) - Σ z of the clipped cross-entropy, for p = 1, 2, ∞.

    The least is K log K, at z = 0. The largest has one class up and the others down for p = 1 and p = 2 (claim
    ``logit_clip.label_sum``); for p = ∞ a number of classes up that falls with τ, from K/2 to 1.

    Raises:
        InputError: for another norm.

    Example:
        >>> [round(label_sum_range(1.0, 10, norm=p).width, 3) for p in (1, 2, np.inf)]
        [0.586, 0.66, 4.705]
    """
    require_clip(max_norm, norm, num_classes)
    up = np.arange(1.0, num_classes)
    if norm == np.inf:
        high, low = np.full(len(up), max_norm), np.full(len(up), -max_norm)
    elif norm == 2:
        odds = np.sqrt((num_classes - up) / up)
        high, low = max_norm * odds / np.sqrt(num_classes), -max_norm / odds / np.sqrt(num_classes)
    elif norm == 1:
        up, high, low = np.ones(1), np.array([max_norm]), np.zeros(1)
    else:
        raise InputError(f"norm must be 1, 2 or inf for the sum over labels, got {norm!r}")
    down = num_classes - up
    sums = num_classes * np.logaddexp(np.log(up) + high, np.log(down) + low) - up * high - down * low
    return Range(float(num_classes * np.log(num_classes)), float(sums.max()))
