"""Roots, minima, signs and integrals, enclosed."""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import TypeAlias

from flint import acb, arb, ctx

from ..errors import InputError, require_positive
from .balls import CertificationError, Enclosure, _float_below, _hull, _working, as_ball, precision

__all__ = ["Minimum", "Positivity", "integral", "minimum", "positive_on", "root"]

_CORNERS = 64  # at most so many corners of a box are sampled

Cell: TypeAlias = tuple[tuple[arb, arb], ...]


@_working()
def root(function: Callable[[arb], arb | Enclosure], low, high, *, width: float = 1e-15) -> Enclosure:
    """Enclose a root of a continuous function by bisection with certified signs.

    Args:
        function: continuous on [low, high]; maps a ball to a ball enclosing its values there.
        low, high: ends of the interval, where the function must have certainly opposite signs.
        width: largest width of the result, absolute.

    Returns:
        An interval that contains a root. It is the only root in [low, high] if `function` is monotone.

    Raises:
        CertificationError: if a sign cannot be certified, naming the interval reached.

    Example:
        >>> print(root(lambda x: x * x - 2, 1, 2, width=1e-9))
        [1.4142135614, 1.4142135624]
    """
    require_positive(width, "width")
    ends = as_ball(low), as_ball(high)
    if not ends[0] < ends[1]:
        raise InputError(f"low must be < high, got low {low} and high {high}")
    signs = _sign(function, ends[0]), _sign(function, ends[1])
    a, b = ends[0].lower(), ends[1].upper()
    if signs[0] * signs[1] != -1:
        shown = ["-" if s < 0 else "+" if s else "not certain" for s in signs]
        raise CertificationError(
            f"no certified change of sign on {Enclosure(_hull(a, b))}: the signs at the ends are {shown[0]} and "
            f"{shown[1]}; move the ends until they are opposite"
        )
    while (bracket := Enclosure(_hull(a, b))).width > width:
        for share in (0.5, 0.4375, 0.59375):  # the midpoint can be the root itself, where no sign is certain
            point = (a + (b - a) * share).mid()
            sign = _sign(function, point) if a < point < b else 0
            if sign:
                break
        else:
            raise CertificationError(
                f"the root lies in {bracket}, but that is wider than {width:g} and no sign inside can be certified; "
                "tighten the function's enclosure, raise the working precision (precision) or allow a larger width"
            )
        a, b = (point, b) if sign == signs[0] else (a, point)
    return bracket


@dataclass(frozen=True)
class Minimum:
    """Certified global minimum over a box.

    Args:
        value: encloses the minimal value.
        minimiser: smallest box found to contain every point where the minimum is attained, one enclosure for each
            coordinate; wide when there are several minimisers far apart.
    """

    value: Enclosure
    minimiser: tuple[Enclosure, ...]


@_working()
def minimum(
    function: Callable[[list[arb]], arb | Enclosure],
    box: Sequence[tuple],
    *,
    gradient: Callable[[list[arb]], Sequence[arb]] | None = None,
    width: float = 1e-9,
    max_boxes: int = 200_000,
) -> Minimum:
    """Enclose the minimum of a continuous function over a box by best-first branch and bound.

    Without `gradient` the work grows as width^(-d/2) around an interior minimum (1e-9 is reachable for d = 1 only);
    with it, mean-value forms and monotonicity make 1e-9 cheap for a few coordinates. Evaluations may reach beyond
    the box by about 1e-9 of a side. Where the function is not finite nothing is known, so a pole or the boundary of
    its domain (``log`` at 0) inside or at the edge of the box must be cut off by the caller.

    Args:
        function: maps one ball for each coordinate to a ball enclosing the values; non-finite means unknown.
        box: (low, high) for each of the d coordinates, low < high.
        gradient: encloses the partial derivatives over the balls, length d.
        width: largest width of the enclosed minimal value, absolute.
        max_boxes: budget of boxes to bound.

    Raises:
        CertificationError: if the budget is spent, stating the enclosure reached.

    Example:
        >>> found = minimum(lambda x: x[0] ** 2 - x[0], [(0, 1)], gradient=lambda x: [2 * x[0] - 1])
        >>> found.value.contains(-0.25), found.minimiser[0].contains(0.5)
        (True, True)
    """
    require_positive(width, "width")
    sides = _sides(box)
    best = arb.pos_inf()
    for corner in islice(product(*sides), _CORNERS):
        best = _smaller(best, _value(function, list(corner)))
    unexplored: list[tuple[arb, int, Cell]] = []
    boxes, pending = 0, [(arb.neg_inf(), _cell(sides))]
    while True:
        for floor, whole in pending:
            boxes += 1
            bound, cell = _bound(function, gradient, whole, sides)
            best = _smaller(best, _value(function, _inside(sides, cell)))
            if bound <= best:
                heapq.heappush(unexplored, (bound if bound > floor else floor, boxes, cell))
        if not unexplored:
            raise CertificationError("every box was excluded; function or gradient does not enclose its values")
        low = unexplored[0][0]
        if best - low <= width * (1 - 1e-6):  # room for the rounded radius of the result
            break
        if boxes >= max_boxes:
            raise CertificationError(
                f"after {boxes} boxes the minimum is only known to lie in [{_float_below(low)}, "
                f"{-_float_below(-best)}]; pass gradient, a larger width or more max_boxes"
            )
        low, _, cell = heapq.heappop(unexplored)
        pending = [(low, half) for half in _halves(cell, sides)]
    near = [cell for bound, _, cell in unexplored if bound <= best]
    hull = (_hull(min(low for low, _ in side), max(high for _, high in side)) for side in zip(*near, strict=True))
    return Minimum(Enclosure(_hull(low, best)), tuple(Enclosure(ball) for ball in hull))


@dataclass(frozen=True)
class Positivity:
    """Whether a function is > 0 on a whole box.

    Args:
        boxes: number of boxes that were bounded.
        counterexample: exact coordinates of a point where the function is certainly <= 0; None if it is > 0
            everywhere.
    """

    boxes: int
    counterexample: tuple[float, ...] | None

    @property
    def holds(self) -> bool:
        """Whether positivity on the whole box is proved (otherwise it is refuted by the counterexample)."""
        return self.counterexample is None


@_working()
def positive_on(
    function: Callable[[list[arb]], arb | Enclosure], box: Sequence[tuple], *, max_boxes: int = 100_000
) -> Positivity:
    """Prove ``function > 0`` on a whole box by subdivision, or find a point where it is certainly <= 0.

    Args:
        function: maps one ball for each coordinate to a ball enclosing the values; non-finite means unknown.
        box: (low, high) for each coordinate, low < high.
        max_boxes: budget of boxes to bound.

    Raises:
        CertificationError: if the budget is spent, naming the box that resisted; a function that touches 0 away
            from the corners and box midpoints ends so.

    Example:
        >>> positive_on(lambda x: x[0] ** 2 - x[0] + 1, [(0, 1)]).holds
        True
        >>> positive_on(lambda x: x[0] - 0.25, [(0, 1)]).counterexample
        (0.0,)
    """
    sides = _sides(box)
    points = list(islice(product(*sides), _CORNERS))
    cells = [_cell(sides)]
    for boxes, cell in enumerate(cells, start=1):  # breadth-first: the list grows until every cell is settled
        if _value(function, [_hull(*side) for side in cell]) > 0:
            continue
        for point in (*points, _inside(sides, cell)):
            x = [arb(float(ball)) for ball in point]
            inside = all(low <= ball <= high for (low, high), ball in zip(sides, x, strict=True))
            if inside and _value(function, x) <= 0:
                return Positivity(boxes, tuple(float(ball) for ball in x))
        if boxes >= max_boxes:
            raise CertificationError(
                f"after {boxes} boxes the sign is still open on {_show(cell)}; the function may touch 0 there, or its "
                "enclosure is too wide: tighten it, or raise max_boxes"
            )
        points = []
        cells.extend(_halves(cell, sides))
    return Positivity(len(cells), None)


@_working()
def integral(function: Callable[[acb, bool], acb], low, high) -> Enclosure:
    """Enclose the integral of a function that is real on [low, high] (``acb.integral``).

    Args:
        function: maps a complex ball and a flag to a complex ball enclosing the values. If the function is
            meromorphic (built from + - * / exp sin erf …) the flag is ignored. Otherwise (sqrt, log, powers,
            absolute values) it must return a non-finite ball whenever the flag is set and the function is not
            analytic on the ball, e.g. ``z.sqrt(analytic=flag)``; without that the result is wrong.
        low, high: finite ends; bound what lies beyond them separately.

    Raises:
        CertificationError: if no finite enclosure was found, e.g. for a pole on the path.

    Example:
        >>> integral(lambda z, _: (-z * z).exp(), -1, 1).overlaps(arb.pi().sqrt() * arb(1).erf())
        True
    """
    ends = as_ball(low), as_ball(high)
    try:
        value = acb.integral(function, *ends)
    except SystemError as error:  # python-flint hides the integrand's own exception behind this one
        raise error.__cause__ or error from None
    if not (value.real.is_finite() and value.imag.contains(0)):
        why = "is not real" if value.real.is_finite() else "has no finite enclosure"
        raise CertificationError(f"the integral from {low} to {high} {why} ({value}); split the path, avoid poles")
    return Enclosure(value.real)


def _value(function, argument) -> arb:
    """Evaluate, accepting balls only: a float would hide its rounding error."""
    value = function(argument)
    if isinstance(value, Enclosure):
        return value.ball
    if not isinstance(value, arb):
        raise InputError(f"function must return an arb or Enclosure, got {value!r}; compute with the balls it is given")
    return value


def _sign(function, point: arb) -> int:
    """-1 or 1 where certified, otherwise 0."""
    for factor in (1, 2, 4):
        with precision(factor * ctx.prec):
            value = _value(function, point)
        if value > 0 or value < 0:
            return 1 if value > 0 else -1
    return 0


def _sides(box) -> list[tuple[arb, arb]]:
    sides = [(as_ball(low), as_ball(high)) for low, high in box]
    if not sides or not all(low < high for low, high in sides):
        raise InputError(
            f"box must be pairs (low, high) with low < high, got {box!r}; fix a coordinate in the function"
        )
    return sides


def _cell(sides) -> Cell:
    return tuple((low.lower(), high.upper()) for low, high in sides)


def _inside(sides, cell: Cell) -> list[arb]:
    """Middle of the cell, moved to the end of the box where inexact ends leave it in doubt whether it is inside."""
    middle = [((low + high) / 2).mid() for low, high in cell]
    return [x if low <= x <= high else low if x < high else high for (low, high), x in zip(sides, middle, strict=True)]


def _halves(cell: Cell, sides) -> list[Cell]:
    """Both halves across the coordinate that is longest relative to the box."""
    lengths = [(high - low) / (b - a) for (low, high), (a, b) in zip(cell, sides, strict=True)]
    k = max(range(len(cell)), key=lambda i: float(lengths[i]))
    low, high = cell[k]
    middle = ((low + high) / 2).mid()
    if not low < middle < high:
        raise CertificationError(f"the working precision is used up at {_show(cell)}; raise it (precision)")
    return [(*cell[:k], side, *cell[k + 1 :]) for side in ((low, middle), (middle, high))]


def _bound(function, gradient, cell: Cell, sides) -> tuple[arb, Cell]:
    """Lower bound over the cell, and the part of the cell that can hold its minimisers."""
    if gradient is None:
        return _lower_end(_value(function, [_hull(*side) for side in cell])), cell
    slopes = gradient([_hull(*side) for side in cell])
    cell = tuple(  # one end where monotone: that of the cell, or of the box where the cell reaches beyond it
        (low, max(low, a.upper())) if slope > 0 else (min(high, b.lower()), high) if slope < 0 else (low, high)
        for (low, high), slope, (a, b) in zip(cell, slopes, sides, strict=True)
    )
    balls = [_hull(*side) for side in cell]
    middle = [ball.mid() for ball in balls]
    rise = sum((slope * (x - m) for slope, x, m in zip(slopes, balls, middle, strict=True)), arb(0))
    natural, mean_value = _lower_end(_value(function, balls)), _lower_end(_value(function, middle) + rise)
    return natural if natural > mean_value else mean_value, cell


def _show(cell: Cell) -> str:
    return " x ".join(str(Enclosure(_hull(*side))) for side in cell)


def _lower_end(value: arb) -> arb:
    return value.lower() if value.is_finite() else arb.neg_inf()


def _smaller(best: arb, value: arb) -> arb:
    return value.upper() if value.is_finite() and value.upper() < best else best
