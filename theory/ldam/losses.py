"""LDAM and its hinge limit in numpy, with gradients; the forms of LDAM met in public code.

Logits z are cosines in [-1, 1] (normalised features times normalised class weights), margins Δ_k are in the same units,
and `scale` s multiplies both: the loss is -log softmax(s (z - Δ_y e_y))_y.
"""

import numpy as np
from scipy.special import softmax

from ..core.errors import InputError, require_positive
from ..core.losses import check_batch, cross_entropy

__all__ = ["hinge_gradient", "hinge_loss", "ldam_gradient", "ldam_logits", "ldam_loss"]


def ldam_logits(logits: np.ndarray, labels: np.ndarray, margins: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
    """Scaled logits with the margin taken from the true class only: s (z - Δ_y e_y).

    Args:
        logits: z, shape (N, K).
        labels: y, integers in 0..K-1, shape (N,).
        margins: Δ_k >= 0, shape (K,), in the units of z.
        scale: s > 0.

    Raises:
        InputError: for shapes that do not match or labels outside 0..K-1.

    Source:
        Cao et al. (2019), arXiv:1906.07413, Eq. 13; s = 30 appears in the released code only.
    """
    logits, labels, margins = _checked(logits, labels, margins)
    require_positive(scale, "scale")
    adjusted = logits.copy()
    rows = np.arange(len(labels))
    adjusted[rows, labels] -= margins[labels]
    return scale * adjusted


def ldam_loss(logits: np.ndarray, labels: np.ndarray, margins: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
    """LDAM loss of each example, shape (N,). Arguments as for `ldam_logits`.

    Example:
        >>> z = np.array([[1.0, 0.2, -0.3]])
        >>> ldam_loss(z, np.array([0]), np.array([0.1, 0.2, 0.5])).round(3)
        array([0.587])
    """
    return cross_entropy(ldam_logits(logits, labels, margins, scale=scale), labels)


def ldam_gradient(logits: np.ndarray, labels: np.ndarray, margins: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
    """Gradient of `ldam_loss` in the logits z, s (softmax - e_y), shape (N, K)."""
    gradient = softmax(ldam_logits(logits, labels, margins, scale=scale), axis=1)
    gradient[np.arange(len(gradient)), labels] -= 1
    return scale * gradient


def hinge_loss(logits: np.ndarray, labels: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """Hinge with class margins, max(max_{j≠y} z_j - z_y + Δ_y, 0), shape (N,).

    Source:
        Cao et al. (2019), Eq. 10; the limit of ``ldam_loss(scale=s) / s`` (claim ``ldam.scale_limit``).

    Example:
        >>> hinge_loss(np.array([[1.0, 0.8]]), np.array([0]), np.array([0.5, 0.5])).round(3)
        array([0.3])
    """
    logits, labels, margins = _checked(logits, labels, margins)
    return np.maximum(_rival(logits, labels)[0] - logits[np.arange(len(labels)), labels] + margins[labels], 0.0)


def hinge_gradient(logits: np.ndarray, labels: np.ndarray, margins: np.ndarray) -> np.ndarray:
    """A subgradient of `hinge_loss` in z, shape (N, K): e_j - e_y for the strongest rival j where the loss is > 0."""
    logits, labels, margins = _checked(logits, labels, margins)
    active = hinge_loss(logits, labels, margins) > 0
    gradient, rows = np.zeros_like(logits), np.arange(len(labels))
    gradient[rows, _rival(logits, labels)[1]] = active
    gradient[rows, labels] = -1.0 * active
    return gradient


def _rival(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest logit among the other classes, and its class."""
    others = logits.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return others.max(axis=1), others.argmax(axis=1)


def _checked(logits, labels, margins) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    logits, labels, margins = check_batch(logits, labels, margins=margins)
    bad = ~(np.isfinite(margins) & (margins >= 0))
    if bad.any():
        raise InputError(f"margins must be finite and >= 0, got {margins[bad][:5].tolist()}")
    return logits, labels, margins
