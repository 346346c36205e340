"""The best clipped logits for a label distribution, and what noise costs a model that is free to fit."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax, wrightomega

from ..core.errors import InputError
from ..core.fixed_point import NotConverged
from .clip import require_clip
from .noise import require_transition

__all__ = ["RiskGap", "clipped_minimiser", "risk_gap"]

_LONGEST = 500.0  # e^-500 is a probability, e^-800 is not


class RiskGap(NamedTuple):
    """What noise costs on the clean risk, R(f*_η) - R(f*), and on the noisy one, R^η(f*) - R^η(f*_η)."""

    clean: float
    noisy: float


def clipped_minimiser(posterior: np.ndarray, max_norm: float, *, norm: float = 2.0) -> np.ndarray:
    """Logits in the ball ||z||_p <= τ with the least expected cross-entropy logsumexp(z) - q·z, for p = 1, 2, ∞.

    Inside the ball softmax(z) = q. Else q - softmax(z) is a multiple λ of a (sub)gradient of the norm, which leaves
    one equation for λ and one for logsumexp(z). Of all z with the same softmax the one of least norm is returned.

    Args:
        posterior: q >= 0, summing to 1, shape (K,).
        max_norm: τ > 0.
        norm: 1, 2 or ∞.

    Returns:
        z, shape (K,).

    Raises:
        InputError: for another norm, if `posterior` is no distribution, or for τ > 500 that still clips, p = 1 or 2.
        NotConverged: if no λ brackets the norm.

    Source:
        Derived here; its order is that of q (claim ``logit_clip.order``).

    Example:
        >>> q = np.array([0.5, 0.4, 0.1])
        >>> [clipped_minimiser(q, 0.1, norm=p).round(3).tolist() for p in (1, 2, np.inf)]
        [[0.0, 0.0, -0.1], [0.057, 0.023, -0.079], [0.1, 0.1, -0.1]]
    """
    require_clip(max_norm, norm)
    q = np.asarray(posterior, dtype=float)
    if q.ndim != 1 or len(q) < 2 or not (q >= 0).all() or abs(q.sum() - 1) > 1e-9:
        raise InputError(f"posterior must be numbers >= 0 that sum to 1, shape (K,), got {posterior!r}")
    if norm not in (1, 2, np.inf):
        raise InputError(f"norm must be 1, 2 or inf for the minimiser, got {norm!r}")
    with np.errstate(divide="ignore"):
        log_q = np.log(q)
    if (q > 0).all():
        middle = {1: np.median, 2: np.mean, np.inf: lambda v: (v.max() + v.min()) / 2}[norm]
        free = log_q - middle(log_q)
        if _size(free, norm) <= max_norm:
            return free
    if norm == np.inf:
        box = partial(_clipped_to_box, log_q, max_norm)
        ends = np.log(len(q)) - max_norm, np.log(len(q)) + max_norm
        return box(_root(lambda c: float(np.logaddexp.reduce(box(c))) - c, *ends))
    if max_norm > _LONGEST:
        raise InputError(f"max_norm must be <= {_LONGEST:g} where a probability is 0 or as small, got {max_norm:g}")
    at = _soft_thresholded if norm == 1 else _shrunk
    largest = float(np.abs(q - 1 / len(q)).max()) if norm == 1 else 2 / max_norm
    log_rate = _root(lambda t: _size(at(q, np.exp(t)), norm) - max_norm, -600.0, np.log(largest))
    return at(q, np.exp(log_rate))


def risk_gap(posteriors: np.ndarray, transition: np.ndarray, max_norm: float, *, norm: float = 2.0) -> RiskGap:
    """What noise costs a model that is free to fit, exactly: the mean over some x of both excess risks.

    Args:
        posteriors: clean P(y | x) of each x, shape (N, K).
        transition: η_ij, shape (K, K).
        max_norm: τ > 0.
        norm: 1, 2 or ∞.

    Example:
        >>> from tailbound.theory.logit_clip.noise import symmetric_gap, symmetric_transition
        >>> gap = risk_gap(np.eye(10), symmetric_transition(0.5, 10), 3.0)
        >>> round(gap.clean, 6) == round(symmetric_gap(0.5, 3.0, 10), 6), round(gap.noisy, 3)
        (True, 0.112)
    """
    transition = require_transition(transition)
    posteriors = np.atleast_2d(np.asarray(posteriors, dtype=float))
    if posteriors.shape[1] != len(transition):
        raise InputError(f"posteriors must have {len(transition)} classes as the transition, got {posteriors.shape}")
    gaps = []
    for clean in posteriors:
        noisy = clean @ transition
        losses = [-log_softmax(clipped_minimiser(q, max_norm, norm=norm)) for q in (clean, noisy)]
        difference = losses[1] - losses[0]
        gaps.append((clean @ difference, -noisy @ difference))
    return RiskGap(*(float(gap) for gap in np.mean(gaps, axis=0)))


def _size(logits: np.ndarray, norm: float) -> float:
    length: Any = np.linalg.norm(logits, norm)
    return float(length)


def _clipped_to_box(log_q: np.ndarray, max_norm: float, normaliser: float) -> np.ndarray:
    return np.clip(log_q + normaliser, -max_norm, max_norm)


def _soft_thresholded(q: np.ndarray, rate: float) -> np.ndarray:
    """p = 1: softmax(z) is q moved towards a common value by at most `rate`."""
    bends = np.unique([q - rate, q + rate]).clip(min=0.0)
    moved = np.clip((bends[:, None] - q) / rate, -1, 1).sum(axis=1)  # 0 where the sum of q stays
    common = np.interp(0.0, moved, bends)
    return np.log(np.clip(common, q - rate, q + rate) / common)


def _shrunk(q: np.ndarray, rate: float) -> np.ndarray:
    """p = 2: q - softmax(z) = rate · z; each z_i by Wright's ω given logsumexp(z), which makes them sum to zero."""

    def logits(normaliser):
        x = q / rate - normaliser - np.log(rate)  # softmax(z) = rate · ω(x)
        omega = wrightomega(x).real
        return np.where(x < 0, x - omega, np.log(np.maximum(omega, 0.1))) + np.log(rate) + normaliser

    low, high = np.log(len(q)) - 1e-9, np.log(len(q)) + 1
    while logits(high).sum() < 0:
        low, high = high, 2 * high
    return logits(_root(lambda c: float(logits(c).sum()), low, high))


def _root(function: Callable[[float], Any], low: float, high: float) -> float:
    """The root of a monotone function between two ends; an end that rounding leaves on the wrong side is the root."""
    ends = float(function(low)), float(function(high))
    for value, end in zip(ends, (low, high), strict=True):
        if abs(value) <= 1e-13:
            return end
    if not ends[0] * ends[1] < 0:
        raise NotConverged(f"no root between {low:.6g} and {high:.6g}: the ends give {ends[0]:.3g} and {ends[1]:.3g}")
    found: Any = brentq(function, low, high, xtol=1e-300, rtol=np.float64(4 * np.finfo(float).eps), maxiter=500)
    return float(found)
