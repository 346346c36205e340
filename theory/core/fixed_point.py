"""Fixed points by damped iteration: the value with its residual, or an error that says why there is none."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .errors import InputError, require_positive

__all__ = ["FixedPoint", "NotConverged", "iterate"]

_RECURRENCE = 1e-9  # an iterate this much nearer to an earlier one than to the next has closed a cycle


class NotConverged(ArithmeticError):  # noqa: N818 - reads as what happened
    """The iteration did not reach a fixed point; the message names residual, iterations and remedy."""


@dataclass(frozen=True)
class FixedPoint:
    """An approximate fixed point x of a map.

    Args:
        value: x, with the shape of the start.
        residual: largest ``|step(x) - x|``, relative to max(1, largest ``|x|``).
        iterations: number of evaluations of the map.
    """

    value: np.ndarray
    residual: float
    iterations: int


def iterate(
    step: Callable[[np.ndarray], np.ndarray],
    start,
    *,
    tolerance: float = 1e-12,
    damping: float = 0.0,
    max_iterations: int = 1000,
) -> FixedPoint:
    """Iterate ``x <- (1 - damping) * step(x) + damping * x`` until ``step(x) = x`` within `tolerance`.

    Args:
        step: the map, from an array to an array of the same shape.
        start: first iterate, array or number.
        tolerance: largest accepted residual, as `FixedPoint` defines it.
        damping: share of the old iterate kept, 0 <= damping < 1.
        max_iterations: budget of evaluations of `step`.

    Returns:
        The iterate whose residual was measured; a small residual is close to a fixed point only as far as the map
        contracts.

    Raises:
        NotConverged: if the budget is spent, the iteration cycles, or an iterate is not finite.

    Example:
        >>> iterate(np.cos, 1.0).value.round(6)
        np.float64(0.739085)
    """
    require_positive(tolerance, "tolerance")
    if not 0 <= damping < 1:
        raise InputError(f"damping must satisfy 0 <= damping < 1, got {damping!r}; 0.5 halves each step")
    if max_iterations < 1:
        raise InputError(f"max_iterations must be >= 1, got {max_iterations!r}")
    value = np.asarray(start, dtype=float)
    if value.size == 0 or not np.isfinite(value).all():
        raise InputError(f"start must be non-empty and finite, got {start!r}")
    remedy = f"pass a damping above {damping:g}, e.g. {(1 + damping) / 2:g}"
    earlier, age = value, 0
    residual = np.inf
    for k in range(1, max_iterations + 1):
        image = np.asarray(step(value), dtype=float)
        if image.shape != value.shape:
            raise InputError(f"step must keep the shape {value.shape}, got {image.shape}")
        if not np.isfinite(image).all():
            raise NotConverged(
                f"iterate {k} is not finite ({image[~np.isfinite(image)][0]}), residual before it {residual:.3g}; "
                f"{remedy}, or start closer"
            )
        residual = _distance(image, value)
        if residual <= tolerance:
            return FixedPoint(value, residual, k)
        value = (1 - damping) * image + damping * value
        age += 1
        if age > 1 and _distance(value, earlier) < _RECURRENCE * residual:
            raise NotConverged(
                f"the iteration cycles with period {age}: residual {residual:.3g} after {k} iterations; {remedy}"
            )
        if k & (k - 1) == 0:  # compare with iterate 1, 2, 4, …: every cycle is met (Brent)
            earlier, age = value, 0
    raise NotConverged(
        f"residual {residual:.3g} > {tolerance:g} after {max_iterations} iterations; {remedy}, or raise max_iterations"
    )


def _distance(new: np.ndarray, old: np.ndarray) -> float:
    return float(np.abs(new - old).max() / max(1.0, np.abs(old).max()))
