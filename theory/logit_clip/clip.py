"""The clipped logits, the cross-entropy behind them and its gradient; what the released code computes."""

from numbers import Real

import numpy as np
from scipy.special import softmax

from ..core.errors import InputError, require_classes, require_positive
from ..core.losses import check_batch, cross_entropy

__all__ = ["clip_logits", "clipped_cross_entropy", "clipped_gradient", "released_clip", "require_clip"]


def clip_logits(logits: np.ndarray, max_norm: float, *, norm: float = 2.0) -> np.ndarray:
    """Scale each logit vector down to norm `max_norm` where it is longer; the direction stays.

    A class ruled out by -∞ stays ruled out and does not count in the norm.

    Args:
        logits: z, shape (..., K).
        max_norm: τ > 0, in logit units.
        norm: p in [1, ∞].

    Raises:
        InputError: for a `max_norm` that is not positive or a `norm` below 1.

    Source:
        Wei et al. (2023), definition of LogitClip.

    Example:
        >>> clip_logits(np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]), 1.0)
        array([[0.6, 0.8],
               [0.3, 0.4],
               [0. , 0. ]])
    """
    require_clip(max_norm, norm)
    logits = np.asarray(logits, dtype=float)
    ruled_out = np.isneginf(logits)
    kept = np.where(ruled_out, 0.0, logits)
    return np.where(ruled_out, -np.inf, kept * _shrinkage(kept, max_norm, norm))


def clipped_cross_entropy(logits: np.ndarray, labels: np.ndarray, max_norm: float, *, norm: float = 2.0) -> np.ndarray:
    """Cross-entropy of the clipped logits, shape (N,). Arguments as for `clip_logits`; labels (N,) in 0..K-1.

    Example:
        >>> clipped_cross_entropy(np.array([[100.0, 0.0]]), np.array([1]), 2.0).round(3)
        array([2.127])
    """
    return cross_entropy(clip_logits(logits, max_norm, norm=norm), labels)


def clipped_gradient(logits: np.ndarray, labels: np.ndarray, max_norm: float, *, norm: float = 2.0) -> np.ndarray:
    """Gradient of `clipped_cross_entropy` in the raw logits, shape (N, K).

    Outside the ball it is (τ/||z||_p) (I - n ẑ') (softmax - e_y), n the gradient of the norm and ẑ = z / ||z||_p:
    orthogonal to z, and shorter in proportion as z is longer. At a kink of the norm (p = 1, ∞) n is a subgradient.

    Example:
        >>> z = np.array([[3.0, 4.0, 0.0]])
        >>> gradient = clipped_gradient(z, np.array([0]), 1.0)
        >>> gradient.round(4), abs(gradient @ z.T).max() < 1e-15
        (array([[-0.1241,  0.0931,  0.0396]]), np.True_)
    """
    logits, labels = check_batch(logits, labels)
    residual = softmax(clip_logits(logits, max_norm, norm=norm), axis=1)
    residual[np.arange(len(labels)), labels] -= 1
    logits = np.where(np.isneginf(logits), 0.0, logits)  # no part of the norm, and no residual
    shrinkage = _shrinkage(logits, max_norm, norm)
    unit = logits / np.maximum(_norms(logits, norm), np.finfo(float).tiny)
    turned = residual - _norm_gradient(unit, norm) * (unit * residual).sum(axis=1, keepdims=True)
    return np.where(shrinkage < 1, shrinkage * turned, residual)


def released_clip(logits: np.ndarray, temperature: float, *, norm: float = 2.0) -> np.ndarray:
    """What the released code computes from its ``temp`` t: z if ||z|| <= t, else z scaled, up or down, to norm 1/t.

    It is `clip_logits` for t = 1 only: with τ = 1/t the threshold should be 1/t as well (claim
    ``logit_clip.released_clip``).

    Source:
        Wei et al. (2023), released code, without its 1e-7 added to the norm.

    Example:
        >>> [float(np.linalg.norm(released_clip(np.array([[r, 0.0]]), 0.5))) for r in (0.4, 1.0, 5.0)]
        [0.4, 2.0, 2.0]
    """
    require_clip(temperature, norm)
    logits = np.asarray(logits, dtype=float)
    norms = _norms(logits, norm)
    return np.where(norms <= temperature, logits, logits / (np.maximum(norms, temperature) * temperature))


def require_clip(max_norm: float, norm: float, num_classes: int = 2) -> None:
    """Raise `InputError` unless max_norm > 0, norm in [1, ∞] and num_classes >= 2."""
    require_positive(max_norm, "max_norm")
    if isinstance(norm, bool) or not (isinstance(norm, Real) and norm >= 1):
        raise InputError(f"norm must lie in [1, inf], got {norm!r}")
    require_classes(num_classes)


def _norms(logits: np.ndarray, norm: float) -> np.ndarray:
    largest = np.abs(logits).max(axis=-1, keepdims=True)  # divided out, so that no power overflows
    unit = logits / np.where(largest > 0, largest, 1.0)
    return largest * np.linalg.norm(unit, norm, axis=-1, keepdims=True)


def _shrinkage(logits: np.ndarray, max_norm: float, norm: float) -> np.ndarray:
    return max_norm / np.maximum(_norms(logits, norm), max_norm)


def _norm_gradient(unit: np.ndarray, norm: float) -> np.ndarray:
    """The gradient of the norm at vectors of norm 1; a subgradient at the kinks."""
    if norm == np.inf:
        peaks = np.abs(unit) == np.abs(unit).max(axis=-1, keepdims=True)
        return np.sign(unit) * peaks / peaks.sum(axis=-1, keepdims=True)
    return np.sign(unit) * np.abs(unit) ** (norm - 1)
