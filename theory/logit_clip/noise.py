"""What label noise costs: bounds, the exact gap, and the clip threshold up to which it costs nothing."""

from typing import NamedTuple

import numpy as np

from ..core.errors import InputError, require_in
from .clip import require_clip
from .ranges import contrast, label_sum_range, loss_range

__all__ = [
    "GapBounds",
    "class_dependent_bounds",
    "class_dependent_threshold",
    "require_transition",
    "symmetric_bounds",
    "symmetric_gap",
    "symmetric_transition",
    "zero_gap_threshold",
]

_EPS = float(np.finfo(float).eps)


class GapBounds(NamedTuple):
    """Bounds on what label noise costs: a sharp one, a crude one, and the width of the loss, which needs no proof."""

    sharp: float
    crude: float
    trivial: float


def symmetric_transition(noise_rate: float, num_classes: int) -> np.ndarray:
    """Transition matrix of symmetric noise: the label stays with 1 - η, else it is any other one, shape (K, K).

    Example:
        >>> symmetric_transition(0.2, 3)
        array([[0.8, 0.1, 0.1],
               [0.1, 0.8, 0.1],
               [0.1, 0.1, 0.8]])
    """
    require_clip(1.0, 2.0, num_classes)
    require_in(noise_rate, "noise_rate", 0, 1)
    matrix = np.full((num_classes, num_classes), noise_rate / (num_classes - 1))
    np.fill_diagonal(matrix, 1 - noise_rate)
    return matrix


def symmetric_bounds(noise_rate: float, max_norm: float, num_classes: int, *, norm: float = 2.0) -> GapBounds:
    """Bounds on R(f*_η) - R(f*) under symmetric noise, for any class of functions and any clean labels.

    Sharp: η ΔS / ((1-η)K - 1), ΔS the width of `label_sum_range`; crude: K A for ΔS; trivial: A, the width of the
    loss. The crude one says less than the trivial one for η >= 1/2 - 1/(2K).

    Args:
        noise_rate: η in [0, 1 - 1/K).
        max_norm: τ > 0.
        num_classes: K >= 2.
        norm: 1, 2 or ∞.

    Source:
        Wei et al. (2023), risk difference under symmetric noise; constants derived here.

    Example:
        >>> [round(bound, 2) for bound in symmetric_bounds(0.5, 1.0, 10, norm=np.inf)]
        [0.59, 4.27, 3.42]
    """
    _require_rate(noise_rate, num_classes)
    spread, width = (f(max_norm, num_classes, norm=norm).width for f in (label_sum_range, loss_range))
    factor = noise_rate / ((1 - noise_rate) * num_classes - 1)
    return GapBounds(factor * spread, factor * num_classes * width, width)


def symmetric_gap(noise_rate: float, max_norm: float, num_classes: int, *, norm: float = 2.0) -> float:
    """Exact R(f*_η) - R(f*) under symmetric noise when the clean label is a function of x: max(0, log(p_max/(1-η))).

    Source:
        Derived here (claim ``logit_clip.symmetric_gap``).

    Example:
        >>> [round(symmetric_gap(0.5, 3.0, 10, norm=p), 2) for p in (2, np.inf)]
        [0.37, 0.67]
    """
    _require_rate(noise_rate, num_classes)
    return max(0.0, -loss_range(max_norm, num_classes, norm=norm).low - float(np.log1p(-noise_rate)))


def zero_gap_threshold(noise_rate: float, num_classes: int, *, norm: float = 2.0) -> float:
    """Largest τ at which symmetric noise costs nothing: log((K-1)(1-η)/η) / c_p, where p_max = 1 - η.

    Up to it the best fit to the noisy labels sits on the ball's boundary and is that of the clean ones; beyond it the
    model fits the noise. It presumes that the clean label is a function of x and a model that is free to fit.

    Args:
        noise_rate: η in [0, 1 - 1/K).
        num_classes: K >= 2.
        norm: p in [1, ∞].

    Returns:
        τ* in logit units; infinite without noise.

    Source:
        Derived here (claim ``logit_clip.zero_gap``).

    Example:
        >>> [round(zero_gap_threshold(eta, 10), 2) for eta in (0.2, 0.4, 0.5)]
        [3.4, 2.47, 2.08]
    """
    _require_rate(noise_rate, num_classes)
    if noise_rate == 0:
        return np.inf
    odds = np.log1p(-noise_rate) - np.log(noise_rate) + np.log(num_classes - 1)
    return float(odds) / contrast(num_classes, norm)


def class_dependent_threshold(transition: np.ndarray, *, norm: float = 2.0) -> float:
    """Largest τ at which class-dependent noise costs nothing on the clean risk; 0 when there is none.

    For 1 < p < ∞ there is one only if each row spreads its noise evenly; for p = ∞ if every η_ij < 1/K; for p = 1
    already if every label stays the most likely one and, for K > 2, by enough: η_ii - η_ij > 0, η_ii + η_ij > 2/K.

    Args:
        transition: η_ij = P(noisy = j | true = i), shape (K, K), rows summing to 1.
        norm: p in [1, ∞].

    Source:
        Derived here, from q - softmax(z) lying in the normal cone of the ball at the clean minimiser (claim
        ``logit_clip.class_dependent_threshold``).

    Example:
        >>> pairs = 0.6 * np.eye(10) + 0.4 * np.roll(np.eye(10), 1, axis=1)
        >>> [round(class_dependent_threshold(pairs, norm=p), 3) for p in (1, 2, np.inf)]
        [1.253, 0.0, 0.0]
    """
    transition = require_transition(transition)
    num_classes = len(transition)
    require_clip(1.0, norm, num_classes)
    return max(0.0, min(_row_threshold(row, k, norm) for k, row in enumerate(transition)))


def class_dependent_bounds(
    transition: np.ndarray, max_norm: float, *, norm: float = 2.0, class_priors: np.ndarray | None = None
) -> GapBounds:
    """Bounds on R^η(f*) - R^η(f*_η), the noisy excess of f*, under class-dependent noise.

    Sharp: E (1-η_Y) (m + (K-1) l - K log K) + (M - l) E Σ_{j≠Y} (1 - η_Y - η_Yj), with [m, M] the `loss_range` and
    l = log(e^(τ c_p) + K - 1) the loss of f* on every wrong label; crude: K A (1 - E η_Y); trivial: A = M - m. It
    presumes that f* attains m everywhere. The crude one says less than the trivial one whenever E η_Y <= 1 - 1/K.

    Args:
        transition: η_ij, shape (K, K), with η_ii > η_ij.
        max_norm: τ > 0.
        norm: p in [1, ∞].
        class_priors: P(Y = i), shape (K,); uniform when omitted.

    Source:
        The form of Zhang and Sabuncu (2018), Theorem 2, as Wei et al. (2023) have it; constants derived here.

    Example:
        >>> pairs = 0.6 * np.eye(10) + 0.4 * np.roll(np.eye(10), 1, axis=1)
        >>> [round(bound, 2) for bound in class_dependent_bounds(pairs, 1.0, norm=np.inf)]
        [8.84, 20.49, 3.42]
    """
    transition = require_transition(transition)
    K, kept = len(transition), np.diag(transition)
    priors = np.full(K, 1 / K) if class_priors is None else np.asarray(class_priors, dtype=float)
    if priors.shape != (K,) or not (priors >= 0).all() or abs(priors.sum() - 1) > 1e-9:
        raise InputError(f"class_priors must be {K} numbers >= 0 that sum to 1, got {priors.tolist()}")
    lead = kept[:, None] - transition
    if not (lead[~np.eye(K, dtype=bool)] > 0).all():
        raise InputError("transition must leave each label the most likely one (η_ii > η_ij); reduce the noise")
    low, high = loss_range(max_norm, K, norm=norm)
    wrong = float(np.logaddexp(max_norm * contrast(K, norm), np.log(K - 1)))
    sharp = priors @ kept * (low + (K - 1) * wrong - K * np.log(K)) + (high - wrong) * (priors @ lead.sum(axis=1))
    return GapBounds(float(sharp), float(K * (high - low) * (priors @ kept)), high - low)


def _row_threshold(row: np.ndarray, label: int, norm: float) -> float:
    num_classes, kept, others = len(row), row[label], np.delete(row, label)
    with np.errstate(divide="ignore", invalid="ignore"):
        if norm == 1:
            lead, both = kept - others, kept + others
            first = np.where(lead < 1, (1 + lead * (num_classes - 1)) / (1 - lead), np.inf)
            second = np.where(both < 1 - 4 * _EPS, (both * (num_classes - 1) - 1) / (1 - both), np.inf)
            return float(np.log(np.maximum(np.minimum(first, second), _EPS)).min())
        if norm == np.inf:
            return float(np.log(max(1 / others.max() - (num_classes - 1), _EPS)) / 2)
        even = np.ptp(others) <= 1e-12
        return float(np.log(kept) - np.log(others.mean())) / contrast(num_classes, norm) if even else 0.0


def _require_rate(noise_rate: float, num_classes: int) -> None:
    require_clip(1.0, 2.0, num_classes)
    require_in(noise_rate, "noise_rate", 0, 1)
    if not noise_rate < 1 - 1 / num_classes:
        raise InputError(f"noise_rate must be < 1 - 1/K = {1 - 1 / num_classes:.6g}, got {noise_rate!r}")


def require_transition(transition: np.ndarray) -> np.ndarray:
    """Return a transition matrix as floats; raise `InputError` unless it is square with rows that sum to 1."""
    matrix = np.asarray(transition, dtype=float)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise InputError(f"transition must have shape (K, K), K >= 2, got {matrix.shape}")
    if not ((matrix >= 0).all() and np.allclose(matrix.sum(axis=1), 1, rtol=0, atol=1e-9)):
        raise InputError(f"transition must have rows of numbers >= 0 that sum to 1, got sums {matrix.sum(axis=1)[:5]}")
    return matrix
