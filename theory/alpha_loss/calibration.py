"""What α-loss estimates: the α-tilted distribution, its minimal risk, and what the risk says about the error.

η = P(Y = +1 | x); the excess error is at most ψ^(-1) of the excess α-risk, with ψ the calibration function.
"""

from typing import Any

import numpy as np
from scipy.special import logit, logsumexp

from ..core.errors import InputError
from .losses import alpha_of_log, exponent, require_alpha

__all__ = [
    "arimoto_entropy",
    "calibration_curvature",
    "calibration_function",
    "minimal_risk",
    "optimal_logit",
    "require_distributions",
    "tilted",
]

_NEAR_ONE = 0.1
_NEAR_LOG_LOSS = 0.01


def tilted(probabilities: Any, alpha: float) -> np.ndarray:
    """The α-tilted distribution P^α / Σ P^α: what a minimiser of α-loss predicts. Undo it by ``tilted(q, 1 / alpha)``.

    Args:
        probabilities: distributions along the last axis, shape (..., K).
        alpha: α in (0, ∞]; at ∞ the uniform distribution on the most probable classes.

    Returns:
        Shape (..., K).

    Raises:
        InputError: for negative probabilities, or sums other than 1.

    Source:
        Sypherd et al. (2022), arXiv:1906.02314; claim ``alpha_loss.tilting``.

    Example:
        >>> tilted([0.8, 0.2], 0.5).round(4), tilted([0.8, 0.2], 2.0).round(4)
        (array([0.6667, 0.3333]), array([0.9412, 0.0588]))
    """
    alpha = require_alpha(alpha)
    p = require_distributions(probabilities)
    largest = p.max(axis=-1, keepdims=True)
    weights = (p == largest).astype(float) if alpha == np.inf else (p / largest) ** alpha
    return weights / weights.sum(axis=-1, keepdims=True)


def minimal_risk(probabilities: Any, alpha: float) -> np.ndarray:
    """The least mean α-loss, (α / (α - 1)) (1 - ||P||_α): Shannon's entropy at α = 1, 1 - max P at α = ∞.

    Args:
        probabilities: distributions along the last axis, shape (..., K).
        alpha: α in (0, ∞].

    Returns:
        Shape (...).

    Source:
        Sypherd et al. (2022), arXiv:1906.02314; claim ``alpha_loss.tilting``. The binary case is C*_α(η).

    Example:
        >>> minimal_risk([0.5, 0.5], 1.0).round(4), minimal_risk([0.8, 0.2], float("inf")).round(4)
        (np.float64(0.6931), np.float64(0.2))
    """
    alpha, p = require_alpha(alpha), require_distributions(probabilities)
    if alpha == np.inf:
        return 1 - p.max(axis=-1)
    q = tilted(p, alpha)
    first = np.arange(p.shape[-1]) == q.argmax(axis=-1)[..., None]
    others = np.where(first, 0.0, q).sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_q = np.where(
            first & (others < 0.5), np.log1p(-np.minimum(others, 0.5)), np.log(q)
        )  # near 1 from what is left
        terms = np.where(p > 0, p * alpha_of_log(np.minimum(log_q, 0.0), alpha), 0.0)
        if (u := exponent(alpha)) < 0:  # a tiny p times a loss beyond any number
            terms = np.where((p > 0) & np.isinf(terms), np.exp(np.log(p) + u * log_q) / -u, terms)
    return terms.sum(axis=-1)


def arimoto_entropy(joint: Any, alpha: float) -> float:
    """Arimoto's conditional entropy H_α(Y | X) in nats; Shannon's at α = 1, -log E max P(y | X) at ∞.

    Args:
        joint: probabilities P(x, y), shape (number of x, K), sum 1.
        alpha: α in (0, ∞].

    Source:
        Arimoto (1977); Sypherd et al. (2022) name the link to the least α-risk.

    Example:
        >>> round(arimoto_entropy([[0.25, 0.25], [0.25, 0.25]], 3.0), 6)
        0.693147
    """
    alpha = require_alpha(alpha)
    table = np.asarray(joint, dtype=float)
    if table.ndim != 2 or not np.isfinite(table).all() or (table < 0).any() or abs(table.sum() - 1) > 1e-9:
        raise InputError("joint must be a table of probabilities that sum to 1, with one row for each x")
    table = table[table.sum(axis=1) > 0]
    if alpha == np.inf:
        return float(-np.log(table.max(axis=1).sum()))
    if abs(alpha - 1) < _NEAR_ONE:  # the norms from what they are above 1, which is small
        rows = table.sum(axis=1)
        p = table / rows[:, None]
        log_p = np.log(np.where(p > 0, p, 1.0))
        if alpha == 1:
            return float(-(rows @ (p * log_p).sum(axis=1)))
        log_norms = np.log1p((p * np.expm1((alpha - 1) * log_p)).sum(axis=1)) / alpha
        return float(np.log1p(rows @ np.expm1(log_norms)) * (alpha / (1 - alpha)))
    with np.errstate(divide="ignore"):
        norms = np.asarray(logsumexp(alpha * np.log(table), axis=1)) / alpha
    return float(np.asarray(logsumexp(norms)) * (alpha / (1 - alpha)))


def optimal_logit(posterior: Any, alpha: float) -> np.ndarray:
    """The score that minimises the conditional risk, f*(η) = α log(η / (1 - η)), α < ∞.

    Args:
        posterior: η in [0, 1], any shape; -∞ at 0 and ∞ at 1.
        alpha: α in (0, ∞); at ∞ no finite score attains the infimum.

    Raises:
        InputError: for α = ∞, or a posterior outside [0, 1].

    Source:
        Derived here; claim ``alpha_loss.optimal_logit``.

    Example:
        >>> optimal_logit(0.8, 2.0).round(4)
        np.float64(2.7726)
    """
    alpha = require_alpha(alpha)
    if alpha == np.inf:
        raise InputError("alpha must be finite, got inf: its infimum is attained by no finite score")
    return alpha * logit(_unit(posterior, "posterior"))


def calibration_function(excess_error: Any, alpha: float) -> np.ndarray:
    """ψ_α(t), convex on [0, 1], with ψ_α(excess error) <= excess α-risk for every score function.

    Args:
        excess_error: t in [0, 1], any shape.
        alpha: α in (0, ∞].

    Source:
        Bartlett, Jordan and McAuliffe (2006), the transform; its form for α-loss is derived here.

    Example:
        >>> calibration_function([0.0, 0.6, 1.0], 0.5).round(6)
        array([0. , 0.2, 1. ])
    """
    alpha = require_alpha(alpha)
    t = _unit(excess_error, "excess_error")
    if alpha == np.inf:
        return t / 2
    beyond, score = alpha - 1, np.arctanh(np.minimum(t, np.nextafter(1, 0)))
    if abs(beyond) < _NEAR_LOG_LOSS:
        nodes, weights = (each / 2 for each in np.polynomial.legendre.leggauss(5))
        mean = sum(w * _log_norm_slope(score, 1 + beyond * (x + 0.5)) for x, w in zip(nodes, weights, strict=True))
        change = alpha * (np.expm1(beyond * mean) / beyond if beyond else mean)
    else:
        small = (score * alpha < 1) & (t < 1)
        start, inside = np.where(small, t, 0.0), np.where(small, score * alpha, 0.0)
        near = np.log1p(2 * np.sinh(inside / 2) ** 2) / alpha + np.log1p(-(start**2)) / 2
        far = np.log1p(t) + (np.log1p(((1 - t) / (1 + t)) ** alpha) - np.log(2)) / alpha
        change = alpha / beyond * np.expm1(np.where(small, near, far))
    return _times_power_of_two(change, 1 / alpha - 1) + 0.0


def calibration_curvature(alpha: float) -> float:
    """The coefficient of t² in ψ_α(t), α 2^(1/α - 2): smallest, e ln 2 / 4 = 0.471, at α = ln 2.

    Args:
        alpha: α in (0, ∞).

    Source:
        Derived here; claim ``alpha_loss.calibration_curvature``.

    Example:
        >>> calibration_curvature(0.5), calibration_curvature(1.0)
        (0.5, 0.5)
    """
    alpha = require_alpha(alpha)
    if alpha == np.inf:
        raise InputError("alpha must be finite, got inf: ψ(t) = t / 2 has no quadratic start")
    return float(_times_power_of_two(np.array(alpha, dtype=float), 1 / alpha - 2))


def _log_norm_slope(score: np.ndarray, order: float) -> np.ndarray:
    """d/dβ of log cosh(β s) / β, which is the log of the norm of order β up to what does not depend on β; s >= 0."""
    small = order * score < 1
    x = np.where(small, order * score, 0.0)
    near = score * np.tanh(x) - np.log1p(2 * np.sinh(x / 2) ** 2) / order
    decay = np.exp(-2 * order * score)
    far = (np.log(2) - np.log1p(decay)) / order - 2 * score * decay / (1 + decay)
    return np.where(small, near, far) / order


def _times_power_of_two(values: Any, power: float) -> np.ndarray:
    """values · 2^power, infinite only where the product is."""
    whole = int(min(np.floor(power), 5000))
    with np.errstate(over="ignore"):
        return np.ldexp(values * 2.0 ** min(power - whole, 1.0), whole)


def _unit(values: Any, name: str) -> np.ndarray:
    t = np.asarray(values, dtype=float)
    if not ((t >= 0) & (t <= 1)).all():
        raise InputError(f"{name} must lie in [0, 1], got {t[~((t >= 0) & (t <= 1))].ravel()[:3].tolist()}")
    return t


def require_distributions(probabilities: Any) -> np.ndarray:
    """Return `probabilities` as an array; raise `InputError` unless the last axis sums to 1."""
    p = np.asarray(probabilities, dtype=float)
    if p.ndim < 1 or not np.isfinite(p).all() or (p < 0).any() or np.abs(p.sum(axis=-1) - 1).max(initial=0) > 1e-9:
        raise InputError("probabilities must be >= 0 and sum to 1 along the last axis; divide them by their sum")
    return p
