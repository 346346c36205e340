"""α-loss of probabilities, of K-class logits and of a signed score, stable at α -> 1, α = ∞ and p -> 0."""

from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np
from scipy.special import expit, log_softmax, logsumexp

from ..core.errors import InputError, require_classes
from ..core.losses import check_batch
from ..vs_loss.scalar_losses import solve_prox

__all__ = [
    "MarginLoss",
    "alpha_gradient",
    "alpha_loss",
    "alpha_of_log",
    "alpha_softmax_loss",
    "exponent",
    "gradient_weight",
    "initial_weight",
    "require_alpha",
]

_LEAST = 1e-300
_SCORES = np.sinh(np.linspace(-16, 8, 961))  # where bends are looked for: -4e6 … 1.5e3, finest at 0


def require_alpha(alpha: float) -> float:
    """Return `alpha` in double precision; raise `InputError` unless it is in (0, ∞] and has an inverse."""
    if isinstance(alpha, bool) or not (isinstance(alpha, Real) and alpha >= _LEAST):
        raise InputError(f"alpha must be a number > 0 or inf, {_LEAST:g} at least, got {alpha!r}; 1 is the log-loss")
    return float(alpha)


def exponent(alpha: float) -> float:
    """The exponent u = 1 - 1/α of the loss (1 - p^u) / u.

    Example:
        >>> exponent(0.5), exponent(float("inf"))
        (-1.0, 1.0)
    """
    alpha = require_alpha(alpha)
    return (alpha - 1) / alpha if alpha < np.inf else 1.0  # the difference first: α near 1 loses no digit


def alpha_of_log(log_probability: Any, alpha: float, *, max_weight: float = np.inf) -> np.ndarray:
    """The loss (1 - p^u) / u of log p, as accurately as log p allows, for every α and p.

    Args:
        log_probability: log p <= 0, any shape; -inf is allowed.
        alpha: α in (0, ∞].
        max_weight: W > 1. For α < 1 the loss continues linearly in log p where its weight p^u exceeds W.

    Returns:
        The loss, of the same shape: 0 at p = 1, at p = 0 infinite for α <= 1 and 1/u above.

    Source:
        Sypherd et al. (2022), arXiv:1906.02314, the definition; the stable form is derived here.

    Example:
        >>> alpha_of_log(np.log([0.9, 0.5]), 1.0).round(4), alpha_of_log(np.log([0.9, 0.5]), 2.0).round(4)
        (array([0.1054, 0.6931]), array([0.1026, 0.5858]))
    """
    u = exponent(alpha)
    log_p = np.asarray(log_probability, dtype=float)
    if np.isnan(log_p).any() or (log_p > 0).any():
        raise InputError(f"log p must be <= 0, got {log_p[~(log_p <= 0)].ravel()[:3].tolist()}; use log_softmax")
    if not (isinstance(max_weight, Real) and max_weight > 1):
        raise InputError(f"max_weight must be > 1, got {max_weight!r}; inf leaves the loss as it is")
    if u == 0:
        return -log_p + 0.0
    power, largest = u * log_p, np.log(max_weight)
    with np.errstate(over="ignore"):  # an infinite loss is the right answer
        beyond = max_weight * np.maximum(power - largest, 0.0) if u < 0 and largest < np.inf else 0.0
        return -(np.expm1(np.minimum(power, largest)) + beyond) / u + 0.0


def alpha_loss(probability: Any, alpha: float) -> np.ndarray:
    """The loss (α / (α - 1)) (1 - p^(1 - 1/α)) of the probability given to the true label; -log p at α = 1.

    Args:
        probability: p in [0, 1], any shape.
        alpha: α in (0, ∞]; 1/2 is the exponential loss of the score, ∞ the soft 0-1 loss 1 - p.

    Raises:
        InputError: for a probability outside [0, 1] or α outside (0, ∞].

    Source:
        Sypherd et al. (2022), arXiv:1906.02314, the definition. Generalised cross entropy of q = 1 - 1/α.

    Example:
        >>> alpha_loss([1.0, 0.5, 0.1], float("inf"))
        array([0. , 0.5, 0.9])
    """
    with np.errstate(divide="ignore"):
        return alpha_of_log(np.log(_probabilities(probability)), alpha)


def gradient_weight(probability: Any, alpha: float) -> np.ndarray:
    """The weight p^(1 - 1/α) that α-loss puts on the cross-entropy gradient of an example.

    Args:
        probability: p in [0, 1] of the true label, any shape.
        alpha: α in (0, ∞].

    Raises:
        InputError: for a probability outside [0, 1] or α outside (0, ∞].

    Source:
        Derived here; claim ``alpha_loss.softmax_gradient``.

    Example:
        >>> gradient_weight([0.5, 0.1], 8.0).round(2)
        array([0.55, 0.13])
    """
    u = exponent(alpha)
    with np.errstate(divide="ignore", over="ignore"):  # an infinite weight is the right answer
        return _probabilities(probability) ** u


def initial_weight(num_classes: int, alpha: float) -> float:
    """Size of the first gradient beside that of cross-entropy, K^-(1 - 1/α): at the start every p is about 1/K.

    Args:
        num_classes: K >= 2.
        alpha: α in (0, ∞].

    Example:
        >>> round(initial_weight(10, 10 / 3), 3)
        0.2
    """
    require_classes(num_classes)
    return float(gradient_weight(1 / num_classes, alpha))


def alpha_softmax_loss(logits: Any, labels: Any, alpha: float, *, max_weight: float = np.inf) -> np.ndarray:
    """α-loss of the softmax probabilities, shape (N,).

    Args:
        logits: shape (N, K).
        labels: integers in 0..K-1, shape (N,).
        alpha: α in (0, ∞].
        max_weight: see `alpha_of_log`.

    Raises:
        InputError: for shapes that do not match, labels outside 0..K-1, logits that are NaN or +∞, or α outside (0, ∞].

    Example:
        >>> alpha_softmax_loss([[0.0, 0.0], [1000.0, 0.0]], [0, 1], 2.0).round(4)
        array([0.5858, 2.    ])
    """
    logits, labels = _batch(logits, labels)
    log_p = np.minimum(_of_label(log_softmax(logits, axis=1), labels), 0.0)
    return alpha_of_log(log_p, alpha, max_weight=max_weight)


def alpha_gradient(logits: Any, labels: Any, alpha: float) -> np.ndarray:
    """Gradient of `alpha_softmax_loss` in the logits, p_y^(1 - 1/α) (p - e_y), shape (N, K), from logarithms.

    Raises:
        InputError: as `alpha_softmax_loss`.

    Source:
        Derived here; claim ``alpha_loss.softmax_gradient``.

    Example:
        >>> alpha_gradient([[0.0, 0.0]], [0], 2.0).round(4)
        array([[-0.3536,  0.3536]])
    """
    u = exponent(alpha)
    logits, labels = _batch(logits, labels)
    log_p = log_softmax(logits, axis=1)
    own = np.arange(logits.shape[1]) == labels[:, None]
    weight = np.multiply(u, _of_label(log_p, labels)) if u else np.zeros(len(labels))
    log_size = np.where(own, logsumexp(np.where(own, -np.inf, log_p), axis=1, keepdims=True), log_p)
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.exp(np.where(np.isneginf(log_size), -np.inf, weight[:, None] + log_size))
    return np.where(own, -size, size)


@dataclass(frozen=True)
class MarginLoss:
    """α-loss of a signed score, (1 - σ(z)^u) / u: a `ScalarLoss` of the state evolution where it is convex, α <= 1.

    Args:
        alpha: α in (0, ∞]; value, slope and curvature exist for all, the proximal map for α <= 1.

    Source:
        Sypherd et al. (2022), arXiv:1906.02314, the margin form; derivatives derived here (claim
        ``alpha_loss.margin_derivatives``).

    Example:
        >>> MarginLoss(0.5).value(np.array([0.0, 1.0])).round(4)
        array([1.    , 0.3679])
    """

    alpha: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "alpha", require_alpha(self.alpha))

    def value(self, u: np.ndarray) -> np.ndarray:
        """l(z), shape of z."""
        return alpha_of_log(-np.logaddexp(0, -np.asarray(u, dtype=float)), self.alpha)

    def slope(self, u: np.ndarray) -> np.ndarray:
        """l'(z) = -σ(z)^u σ(-z)."""
        return -self._weight(u)

    def curvature(self, u: np.ndarray) -> np.ndarray:
        """l''(z) = σ(z)^u σ(-z) (σ(z) - u σ(-z))."""
        z = np.asarray(u, dtype=float)
        return self._weight(z) * (expit(z) - exponent(self.alpha) * expit(-z))

    def prox(self, h: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The proximal point, the slope there and its derivative in h; α <= 1.

        Raises:
            InputError: for α > 1, where the loss is not convex.
        """
        if self.alpha > 1:
            raise InputError(f"the proximal map needs a convex loss, alpha <= 1, got alpha {self.alpha}")
        return solve_prox(self, h, step)

    def layers(self, step: float) -> list[tuple[float, float]]:
        """The bends of the proximal map: the loss's own, at z = 0, those of the log-loss, where step · l'' passes 1."""
        return list(_bends(self, step))

    def _weight(self, z: Any) -> np.ndarray:
        """σ(z)^u σ(-z), from logarithms."""
        z = np.asarray(z, dtype=float)
        u = exponent(self.alpha)
        with np.errstate(over="ignore"):
            return np.exp((-u * np.logaddexp(0, -z) if u else 0.0) - np.logaddexp(0, z))


@lru_cache(maxsize=16)  # the components of a mixture share them
def _bends(loss: MarginLoss, step: float) -> tuple[tuple[float, float], ...]:
    """`MarginLoss.layers`."""
    with np.errstate(divide="ignore", over="ignore"):

        def excess(z):
            return np.log(step * loss.curvature(z))

        above = excess(_SCORES) > 0
        changes = np.flatnonzero(above[1:] != above[:-1])
        low, high = _SCORES[changes], _SCORES[changes + 1]
        for _ in range(25):  # near enough to place panels
            middle = (low + high) / 2
            left = (excess(middle) > 0) == above[changes]
            low, high = np.where(left, middle, low), np.where(left, high, middle)
        bends = np.array([0.0, np.log1p(step), -np.log1p(step), *low])
        s, u = expit(bends), exponent(loss.alpha)
        rate = u * (1 - s) - s + (1 + u) * s * (1 - s) / (s - u * (1 - s))  # of log l''
        placed = bends + step * loss.slope(bends)
        widths = 1 / np.maximum(np.abs(rate), 1.0)
        widths[0] = 1 + step * loss.curvature(bends[0])  # z = ±iπ, a pole of σ, lies as far from the axis
    return tuple((h, width) for h, width in zip(placed.tolist(), widths.tolist(), strict=True) if np.isfinite(h))


def _batch(logits: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    logits, labels = check_batch(logits, labels)
    bad = np.isnan(logits) | (logits == np.inf)
    if bad.any() or np.isneginf(logits).all(axis=1).any():
        shown = logits[bad][:3].tolist() if bad.any() else "a row of -inf"
        raise InputError(f"logits must be finite, or -inf for some classes of an example, got {shown}")
    return logits, labels


def _probabilities(probability: Any) -> np.ndarray:
    p = np.asarray(probability, dtype=float)
    if not ((p >= 0) & (p <= 1)).all():
        raise InputError(f"probability must lie in [0, 1], got {p[~((p >= 0) & (p <= 1))].ravel()[:3].tolist()}")
    return p


def _of_label(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return values[np.arange(len(labels)), labels]
