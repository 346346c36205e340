"""What a cosine head can realise: the largest margin, the margins that fit, and the scale they need.

Class weights w_k and features h_k are unit vectors; the cosine gap of class k is w_k·h_k - max_{l≠k} w_l·h_k.
"""

import math

import numpy as np

from ..core.errors import InputError, require_in, require_positive

__all__ = ["largest_cosine_gap", "smallest_loss", "smallest_scale", "smallest_scale_possible"]


def largest_cosine_gap(num_classes):
    """Largest gap all K classes can have together: K / (K - 1), reached by the simplex.

    Needs feature dimension at least K - 1. Derived (claim ``ldam.cosine_gap``): the gaps of all ordered pairs add up to
    at most K². Hence margins with every Δ_k <= K / (K - 1) are realisable, and none with a larger mean.

    Example:
        >>> largest_cosine_gap(2)
        2.0
    """
    return num_classes / (num_classes - 1)


def smallest_scale(margins: np.ndarray, *, probability: float = 0.99) -> float:
    """Scale s at which a simplex head gives every training example margin-adjusted probability >= `probability`.

    s = log((K - 1) p / (1 - p)) / (K / (K - 1) - max Δ): sufficient, by putting the classes on the simplex.

    Args:
        margins: Δ_k >= 0, shape (K,), with max Δ < K / (K - 1).
        probability: p in (1/K, 1).

    Raises:
        InputError: if the largest margin leaves the simplex no gap.

    Example:
        >>> round(float(smallest_scale(np.full(10, 0.5))), 2)
        11.11
    """
    margins, gap = _checked(margins)
    return _log_odds(len(margins), probability) / _room(gap - margins.max(), margins.max(), gap)


def smallest_scale_possible(margins: np.ndarray, *, probability: float = 0.99) -> float:
    """Scale below which no head has class-balanced mean loss <= -log p: as `smallest_scale`, with the mean margin.

    Necessary, by Jensen's inequality (claim ``ldam.cosine_scale``).
    """
    margins, gap = _checked(margins)
    return _log_odds(len(margins), probability) / _room(gap - margins.mean(), margins.mean(), gap)


def smallest_loss(num_classes, margin, scale):
    """Smallest class-mean LDAM loss at scale s: log(1 + (K - 1) exp(-s (K / (K - 1) - mean Δ)))."""
    return np.log1p((num_classes - 1) * np.exp(-scale * (largest_cosine_gap(num_classes) - margin)))


def _checked(margins) -> tuple[np.ndarray, float]:
    margins = np.asarray(margins, dtype=float)
    if margins.ndim != 1 or len(margins) < 2 or not (np.isfinite(margins) & (margins >= 0)).all():
        raise InputError(f"margins must be K >= 2 finite numbers >= 0, got {margins.tolist()}")
    return margins, largest_cosine_gap(len(margins))


def _log_odds(num_classes: int, probability: float) -> float:
    require_in(probability, "probability", 1 / num_classes, 1 - 1e-12)
    return math.log((num_classes - 1) * probability / (1 - probability))


def _room(room: float, margin: float, gap: float) -> float:
    if room <= 0:
        raise InputError(
            f"margin {margin:.4g} must be below K / (K - 1) = {gap:.4g} on a cosine head; lower max_margin"
        )
    require_positive(room, "room")
    return room
