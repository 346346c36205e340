"""Rigorous enclosures: Gaussian integrals, roots, minima, signs and integrals in ball arithmetic.

Every number here is a ball ``midpoint ± radius`` (python-flint's ``arb``) that provably contains the real number it
stands for: rounding errors are part of the radius. Functions passed in map balls to balls (or to `Enclosure`) and must
enclose the range of the mathematical function over the ball; ordinary arithmetic on ``arb`` does that by itself.
Results are computed with at least 128 bits, and with more inside ``with precision(bits)``.
"""

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from itertools import islice, product
from numbers import Rational, Real
from typing import TypeAlias

from flint import acb, arb, ctx, fmpq

from .errors import InputError, require_positive

__all__ = [
    "CertificationError",
    "Enclosure",
    "Minimum",
    "Positivity",
    "as_ball",
    "gaussian_cdf",
    "gaussian_density",
    "gaussian_tail",
    "integral",
    "minimum",
    "partial_expectation",
    "partial_second_moment",
    "positive_on",
    "precision",
    "root",
]

_BITS = 128
_CORNERS = 64  # at most so many corners of a box are sampled

Cell: TypeAlias = tuple[tuple[arb, arb], ...]


class CertificationError(ArithmeticError):
    """The statement could be neither certified nor refuted; the message names the interval and why."""


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Work with `bits` bits (at least 128 are used in this module); the setting is global to all threads.

    Raises:
        InputError: unless `bits` is a whole number >= 2.

    Example:
        >>> with precision(1000):
        ...     gaussian_tail(3).width < 1e-290
        True
    """
    if not isinstance(bits, int) or bits < 2:
        raise InputError(f"bits must be a whole number >= 2, got {bits!r}")
    before = ctx.prec
    ctx.prec = bits
    try:
        yield
    finally:
        ctx.prec = before


@contextmanager
def _working() -> Iterator[None]:
    with precision(max(ctx.prec, _BITS)):
        yield


@dataclass(frozen=True, eq=False)
class Enclosure:
    """An interval that provably contains a real number; compare with the named methods, never with ``==``.

    Args:
        ball: finite ``arb``.

    Raises:
        InputError: if `ball` is NaN or unbounded.

    Example:
        >>> print(Enclosure.of("0.25"), gaussian_tail(arb(0, 0.1)))
        [0.25, 0.25] [0.4601, 0.5399]
    """

    ball: arb

    def __post_init__(self):
        if not (isinstance(self.ball, arb) and self.ball.is_finite()):
            raise InputError(f"an enclosure must be a finite ball, got {self.ball!r}; its value could not be bounded")

    @classmethod
    def of(cls, x) -> "Enclosure":
        """The tightest enclosure of an int, float (taken exactly), Fraction, decimal string or ball."""
        return cls(as_ball(x))

    @property
    def lower(self) -> float:
        """Largest float known to be <= every point."""
        return _float_below(self.ball)

    @property
    def upper(self) -> float:
        """Smallest float known to be >= every point."""
        return -_float_below(self.ball.neg(exact=True))

    @property
    def width(self) -> float:
        """Upper bound of the distance between two points."""
        return -_float_below(-2 * self.ball.rad())

    def contains(self, x) -> bool:
        """Whether every point of `x` certainly lies inside."""
        with precision(max(ctx.prec, _BITS) + 2 * self.ball.bits()):  # a fraction or decimal needs a far thinner ball
            return self.ball.contains(as_ball(x))

    def certainly_below(self, other) -> bool:
        """Whether every point is smaller than every point of `other`."""
        return bool(self.ball < as_ball(other))

    def certainly_above(self, other) -> bool:
        """Whether every point is larger than every point of `other`."""
        return bool(self.ball > as_ball(other))

    def overlaps(self, other) -> bool:
        """Whether the two have a point in common, so that neither is certainly below the other."""
        return self.ball.overlaps(as_ball(other))

    def __str__(self) -> str:
        digits = min(max(int(self.ball.rel_accuracy_bits() * math.log10(2)) + 2, 4), 17)
        low, high = _ends(self.ball)
        return f"[{_decimal(low, digits, ROUND_FLOOR)}, {_decimal(high, digits, ROUND_CEILING)}]"


@_working()
def as_ball(x) -> arb:
    """The ball of a number: exact for int, float and ball, an enclosure for Fraction and decimal string.

    Raises:
        InputError: for anything else, and for NaN and infinities.

    Example:
        >>> from fractions import Fraction
        >>> (3 * as_ball(Fraction(1, 3))).contains(1)
        True
    """
    ball = None
    if isinstance(x, Enclosure):
        return x.ball
    if isinstance(x, arb):
        ball = x
    elif isinstance(x, Rational):
        numerator, denominator = int(x.numerator), int(x.denominator)
        ball = arb(numerator) if denominator == 1 else arb(fmpq(numerator, denominator))
    elif isinstance(x, Real) and float(x) == x:  # a longer float is refused, not rounded
        ball = arb(float(x))
    elif isinstance(x, str):
        with suppress(ValueError, ZeroDivisionError):
            ball = arb(x)
    if ball is None or not ball.is_finite():
        raise InputError(f"expected a finite int, float, Fraction, decimal string or ball, got {x!r}")
    return ball


@_working()
def gaussian_density(t) -> Enclosure:
    """Standard normal density φ(t).

    Args:
        t: number or ball; over a ball, the result encloses every value.

    Example:
        >>> print(gaussian_density(0))
        [0.39894228040143267, 0.39894228040143268]
    """
    t = as_ball(t)
    return Enclosure(_hull(_accurate(_density, t.abs_upper()), _accurate(_density, t.abs_lower())))


@_working()
def gaussian_tail(t) -> Enclosure:
    """Standard normal tail Q(t) = P(G > t), for a number or over a ball `t`.

    Example:
        >>> print(gaussian_tail(20))
        [2.7536241186062336e-89, 2.7536241186062337e-89]
    """
    return _increasing(_cdf, as_ball(t).neg(exact=True))


@_working()
def gaussian_cdf(t) -> Enclosure:
    """Standard normal distribution function Φ(t) = P(G <= t), for a number or over a ball `t`.

    Example:
        >>> gaussian_cdf(0).contains("0.5")
        True
    """
    return _increasing(_cdf, as_ball(t))


@_working()
def partial_expectation(t) -> Enclosure:
    """E (G + t)_+ = t Φ(t) + φ(t) for standard normal G, at a number or over a ball `t`.

    Full relative accuracy also where the two terms cancel (t far below 0).

    Example:
        >>> print(partial_expectation(-20))
        [1.3700124947295799e-90, 1.37001249472958e-90]
    """
    return _increasing(_g1, as_ball(t))  # the derivative is Φ


@_working()
def partial_second_moment(t) -> Enclosure:
    """E (G + t)_+² = (1 + t²) Φ(t) + t φ(t) for standard normal G, at a number or over a ball `t`.

    Example:
        >>> partial_second_moment(0).contains("0.5")
        True
    """
    return _increasing(_g2, as_ball(t))  # the derivative is 2 E (G + t)_+


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


def _density(t: arb) -> arb:
    return (-t * t / 2).exp() / (2 * arb.pi()).sqrt()


def _cdf(t: arb) -> arb:
    return (-t / arb(2).sqrt()).erfc() / 2


def _g1(t: arb) -> arb:
    return t * _cdf(t) + _density(t)


def _g2(t: arb) -> arb:
    return (1 + t * t) * _cdf(t) + t * _density(t)


def _accurate(formula: Callable[[arb], arb], t: arb) -> arb:
    """The formula at an exact point, with precision raised until cancellation costs no accuracy."""
    bits, ball = ctx.prec, arb.nan()
    for extra in (32, 128, 512, 2048):
        with precision(bits + extra):
            ball = formula(t)
        if ball.rel_accuracy_bits() >= bits:
            break
    return ball


def _increasing(formula: Callable[[arb], arb], t: arb) -> Enclosure:
    """The range over a ball, from its ends."""
    low, high = _ends(t)
    return Enclosure(_hull(_accurate(formula, low), _accurate(formula, high)))


def _ends(ball: arb) -> tuple[arb, arb]:
    with _working():
        return ball.lower(), ball.upper()


def _hull(low: arb, high: arb) -> arb:
    """Smallest ball around both; ``arb.union`` and a float radius would each be wider at dyadic ends."""
    low, high = low.lower(), high.upper()
    middle = ((low + high) / 2).mid()  # exact, because a radius given as a pair replaces that of an inexact midpoint
    return arb(middle, max((high - middle).upper(), (middle - low).upper()).man_exp())


@_working()
def _float_below(x: arb) -> float:
    low = x.lower()
    nearest = float(low)
    while not arb(nearest) <= low:
        nearest = math.nextafter(nearest, -math.inf)
    return nearest


def _decimal(x: arb, digits: int, rounding: str) -> str:
    middle, radius, exponent = (int(part) for part in x.mid_rad_10exp(digits + 3))
    edge = middle - radius if rounding == ROUND_FLOOR else middle + radius
    context = Context(prec=digits, rounding=rounding, Emin=MIN_EMIN, Emax=MAX_EMAX)
    number = context.normalize(Decimal(f"{edge}E{exponent}"))
    return f"{number:f}" if -6 <= number.adjusted() < 17 else f"{number:e}"


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
