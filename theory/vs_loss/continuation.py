"""Newton's method on a system that depends on a ridge, followed from large ridges to small ones when no start is near.

Large ridges are easy: the classifier is small and its losses nearly linear. The solution moves smoothly with the log of
the ridge, so each step starts from the tangent and its length adapts.
"""

from collections.abc import Iterator
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.fixed_point import NotConverged

__all__ = ["RidgeSystem", "newton", "solve_at"]

Point = TypeVar("Point")

_STALLED = 1e-9  # rounding may keep the residual above the tolerance
_MAX_NEWTON = 25
_MAX_HALVINGS = 5
_SLOW = 0.8  # least decrease of the residual over 4 Newton steps
_MAX_LIFTS, _LIFT = 6, 1e4
_LEAST_FALL = 0.01  # in log ridge


class RidgeSystem(Protocol[Point]):
    """Equations in a point whose solution is wanted at a ridge."""

    def equations(self, point: Point, ridge: float, /) -> tuple[NDArray, NDArray]:
        """Scaled values, 0 at the solution, shape (n,), and their Jacobian, (n, n)."""
        ...

    def move(self, point: Point, step: NDArray, /) -> Point:
        """The point moved by a step in the coordinates of the Jacobian, shortened where it would go too far."""
        ...

    def starts(self, ridge: float, /) -> Iterator[Point]:
        """Points to try first."""
        ...

    def ridge_slope(self, point: Point, ridge: float, /) -> NDArray:
        """Derivative of the values in log ridge at a solution."""
        ...


@np.errstate(all="ignore")
def solve_at(system: RidgeSystem[Point], ridge: float, *, tolerance: float = 1e-11) -> Point:
    """Solve a system at a ridge.

    Args:
        system: the equations.
        ridge: λ > 0.
        tolerance: largest norm of the scaled values.

    Raises:
        NotConverged: if no start at this or a larger ridge converges, or the path downwards breaks off.
    """
    reached = ridge
    for _ in range(_MAX_LIFTS):
        tried = (newton(system, start, reached, tolerance) for start in system.starts(reached))
        point = next((found for found in tried if found is not None), None)
        if point is not None:
            return _descend(system, point, reached, ridge, tolerance)
        reached *= _LIFT
    raise NotConverged(
        f"no start led to a solution for any ridge from {ridge:g} to {reached / _LIFT:g}; w may be 0 there, as a hinge "
        "leaves it when one class outweighs the other"
    )


@np.errstate(all="ignore")  # a trial step that overflows is rejected, not reported
def newton(system: RidgeSystem[Point], point: Point, ridge: float, tolerance: float) -> Point | None:
    """Newton's method with halved steps; None when it fails.

    Args:
        system: the equations.
        point: where to start.
        ridge: λ.
        tolerance: largest norm of the scaled values.
    """
    sizes: list[float] = []
    try:
        values, jacobian = system.equations(point, ridge)
        for k in range(_MAX_NEWTON):
            sizes.append(float(np.linalg.norm(values)))
            if sizes[-1] < tolerance:
                return point
            if not np.isfinite(sizes[-1]) or (k >= 4 and sizes[-1] > _SLOW * sizes[k - 4]):
                return None
            step = -np.linalg.solve(jacobian, values)
            for _ in range(_MAX_HALVINGS):
                trial = system.move(point, step)
                values, jacobian = system.equations(trial, ridge)
                if np.linalg.norm(values) < 0.999 * sizes[-1]:
                    break
                step = step / 2
            else:
                return point if sizes[-1] < _STALLED else None
            point = trial
    except (np.linalg.LinAlgError, NotConverged):  # a trial point out of reach
        return None
    return None


def _descend(system: RidgeSystem[Point], point: Point, reached: float, ridge: float, tolerance: float) -> Point:
    fall = 2 * np.log(10)
    while reached > ridge:
        lower = max(ridge, reached * float(np.exp(-fall)))
        tangent = -np.linalg.solve(system.equations(point, reached)[1], system.ridge_slope(point, reached))
        found = newton(system, system.move(point, tangent * np.log(lower / reached)), lower, tolerance)
        if found is not None:
            point, reached, fall = found, lower, 2 * fall
        elif fall < _LEAST_FALL:
            raise NotConverged(f"the solution could not be followed below ridge {reached:g} towards {ridge:g}")
        else:
            fall /= 3
    return point
