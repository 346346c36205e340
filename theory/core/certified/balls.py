"""Balls, enclosures and Gaussian functions."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from numbers import Rational, Real

from flint import arb, ctx, fmpq

from ..errors import InputError

__all__ = [
    "CertificationError",
    "Enclosure",
    "as_ball",
    "gaussian_cdf",
    "gaussian_density",
    "gaussian_tail",
    "partial_expectation",
    "partial_second_moment",
    "precision",
]

_BITS = 128


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
