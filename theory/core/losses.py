"""Cross-entropy and focal loss of single examples in numpy, and what the other losses of logits share.

Notation: z logits, shape (N, K); y labels, integers in 0..K-1, shape (N,); p = softmax(z)_y; the log-odds of the label,
m = log p / (1 - p) = z_y - log Σ_{j≠y} e^(z_j), is the margin that a softmax sees.
"""

from typing import Any

import numpy as np
from scipy.special import expit, logsumexp

from .errors import InputError, require_in

__all__ = ["check_batch", "cross_entropy", "focal_loss", "label_log_odds"]


def check_batch(logits: Any, labels: Any, **vectors: Any) -> tuple[np.ndarray, ...]:
    """Return logits, labels and further vectors of one number for each class as arrays.

    Args:
        logits: z, shape (N, K).
        labels: y, shape (N,).
        vectors: by name, each of shape (K,).

    Raises:
        InputError: for shapes that do not match or labels outside 0..K-1.

    Example:
        >>> check_batch([[0.5, 2.0]], [2])
        Traceback (most recent call last):
        ...
        tailbound.theory.core.errors.InputError: labels must be integers in 0..1, got [2]
    """
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    arrays = {name: np.asarray(values, dtype=float) for name, values in vectors.items()}
    shapes = [array.shape for array in arrays.values()]
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or any(shape != logits.shape[1:] for shape in shapes):
        expected = ["logits (N, K)", "labels (N,)", *(f"{name} (K,)" for name in arrays)]
        got = ", ".join(map(str, [logits.shape, labels.shape, *shapes]))
        raise InputError(f"{', '.join(expected[:-1])} and {expected[-1]} must agree, got {got}")
    if labels.dtype.kind not in "iu" or (len(labels) and not (0 <= labels.min() and labels.max() < logits.shape[1])):
        raise InputError(f"labels must be integers in 0..{logits.shape[1] - 1}, got {np.unique(labels)[:5].tolist()}")
    return logits, labels, *arrays.values()


def cross_entropy(logits: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """Cross-entropy of each example, -w_y log softmax(z)_y, shape (N,).

    Args:
        logits: z, shape (N, K).
        labels: y, integers in 0..K-1, shape (N,).
        weight: w_k, shape (K,); ones when omitted.

    Example:
        >>> cross_entropy(np.zeros((1, 4)), np.array([2]), np.array([1, 1, 3, 1])).round(3)
        array([4.159])
    """
    logits, labels, *rest = check_batch(logits, labels, **({} if weight is None else {"weight": weight}))
    losses = logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]
    return losses * rest[0][labels] if rest else losses


def label_log_odds(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Log-odds of the label, m = z_y - log Σ_{j≠y} e^(z_j), shape (N,); cross-entropy is log(1 + e^(-m)).

    Example:
        >>> label_log_odds(np.array([[2.0, 0.0, 0.0]]), np.array([0])).round(3)
        array([1.307])
    """
    logits, labels = check_batch(logits, labels)
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return logits[rows, labels] - logsumexp(others, axis=1)


def focal_loss(logits: np.ndarray, labels: np.ndarray, *, focusing: float) -> np.ndarray:
    """Focal loss of each example, -(1 - p)^γ log p, shape (N,).

    Args:
        logits: z, shape (N, K).
        labels: y, integers in 0..K-1, shape (N,).
        focusing: γ >= 0; 0 is cross-entropy.

    Source:
        Lin et al. (2017), arXiv:1708.02002, Eq. 4, with the softmax in place of the sigmoid.

    Example:
        >>> focal_loss(np.zeros((1, 2)), np.array([0]), focusing=2.0).round(3)
        array([0.173])
    """
    require_in(focusing, "focusing", 0, 100)
    odds = label_log_odds(logits, labels)
    return expit(-odds) ** focusing * np.logaddexp(0, -odds)
