"""Symbolic derivations: steps that ``explain`` prints and ``verify`` checks, one object for two uses.

A step relates two sympy expressions. Its symbols carry their domain as assumptions (``positive=True`` and the like),
so a step that holds, holds for every value in the domain at which both sides are defined. A step is refuted by exact
rational values of the symbols at which it fails, found in order of size; it is unsettled when neither succeeds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Any

import sympy as sp

from .errors import InputError

__all__ = ["Derivation", "Step", "StepOutcome"]

_DIGITS = 40
_ZERO = sp.Float("1e-30", _DIGITS)
_POSITIVE_VALUES = [Fraction(v) for v in ("1", "2", "3", "1/2", "5", "7/3", "1/100", "100")]
_REAL_VALUES = [Fraction(v) for v in ("1", "-1", "0", "2", "1/2", "-2", "3")]
_MAX_POINTS = 300


_REMEDY = "substitute positive symbols until the sign can be seen, or split the step"


@dataclass(frozen=True)
class Step:
    """One line of a derivation: ``left relation right``, with the reason in words."""

    text: str
    left: sp.Expr
    relation: str
    right: sp.Expr

    def __str__(self) -> str:
        return f"{sp.sstr(self.left)} {self.relation} {sp.sstr(self.right)}"

    def decide(self) -> "StepOutcome":
        """Prove the step, refute it at a point, or give up."""
        difference = self.left - self.right
        point = _counterexample(self, difference)
        if point is not None:
            at = ", ".join(f"{symbol} = {value}" for symbol, value in sorted(point.items(), key=str))
            left, right = (sp.N(sp.sympify(side).subs(point), 8) for side in (self.left, self.right))
            where = f"at {at}: " if at else ""
            return StepOutcome(self, False, f"{where}{left} {self.relation} {right} is false")
        if _prove(difference, self.relation):
            return StepOutcome(self, True, "difference simplifies to 0" if self.relation == "=" else "sign follows")
        return StepOutcome(self, None, f"could neither simplify nor refute; {_REMEDY}")


@dataclass(frozen=True)
class StepOutcome:
    """What became of a step: `holds` is True, False, or None when undecided."""

    step: Step
    holds: bool | None
    reason: str


class Derivation:
    """A chain of steps; it holds when every step does.

    The last step is the statement itself, the earlier ones say why. Methods return the derivation, so that steps chain.

    Example:
        >>> x = sp.Symbol("x", positive=True)
        >>> steps = Derivation().equal("expand", (x + 1) ** 2, x**2 + 2 * x + 1).positive("hence", (x + 1) ** 2 - x**2)
        >>> [outcome.holds for outcome in steps.decide()]
        [True, True]
    """

    def __init__(self):
        self.steps: list[Step] = []

    def equal(self, text: str, left: Any, right: Any) -> "Derivation":
        """Add ``left = right`` for all values of the symbols."""
        return self._add(text, left, "=", right)

    def positive(self, text: str, left: Any, right: Any = 0) -> "Derivation":
        """Add ``left > right`` for all values of the symbols."""
        return self._add(text, left, ">", right)

    def nonnegative(self, text: str, left: Any, right: Any = 0) -> "Derivation":
        """Add ``left ≥ right`` for all values of the symbols."""
        return self._add(text, left, "≥", right)

    def decide(self) -> list[StepOutcome]:
        """Decide each step in turn."""
        if not self.steps:
            raise InputError("a derivation needs at least one step, got none; add equal(), positive() or nonnegative()")
        return [step.decide() for step in self.steps]

    def _add(self, text, left, relation, right) -> "Derivation":
        left, right = sp.sympify(left), sp.sympify(right)
        if left.has(sp.Float) or right.has(sp.Float):
            raise InputError(f"step {text!r} has a float: {left} {relation} {right}; use Fraction or sympy's Rational")
        for side in (left, right):
            if side.has(sp.nan, sp.zoo) or (side.has(sp.oo, -sp.oo) and left != right and relation != "="):
                raise InputError(f"step {text!r} has an undefined side: {side}")
        self.steps.append(Step(text, left, relation, right))
        return self


def _false(left: Any, right: Any, relation: str) -> bool:
    """Whether ``left relation right`` is certainly false, given 40 digits of two constants."""
    sizes = [abs(sp.N(side, _DIGITS)) for side in (left, right)]
    number = sp.N(left - right, _DIGITS)
    if any(not value.is_number or value.has(sp.nan, sp.zoo, sp.oo) for value in (number, *sizes)):
        return False  # a side is not defined here: a step speaks of the points where both are
    zero = _ZERO * max(1, *sizes)
    if not number.is_real:
        return number.is_complex is True and bool(abs(sp.im(number)) > zero)
    if relation == "=":
        return bool(abs(number) > zero)
    if relation == ">" and abs(number) <= zero:
        return sp.simplify(left - right) == 0
    return bool(number < -zero)


def _counterexample(step: Step, difference: sp.Expr) -> dict | None:
    for point in _points(difference):
        left, right = step.left.subs(point), step.right.subs(point)
        if not (left.free_symbols or right.free_symbols):
            if _false(left, right, step.relation):
                return point
        elif _false(difference.subs(point), sp.Integer(0), step.relation):
            return point  # symbols that cancel in the difference
    if step.relation == ">" and sp.simplify(difference) == 0:
        return next(_points(difference))
    return None


def _points(expression: sp.Expr) -> Iterator[dict]:
    """Yield exact values of the free symbols, the small and plain ones first."""
    symbols: list[Any] = sorted(expression.free_symbols, key=str)
    values = [_candidates(symbol) for symbol in symbols]
    for ranks in islice(_by_sum([len(v) for v in values]), _MAX_POINTS):
        yield {s: sp.Rational(v[r].numerator, v[r].denominator) for s, v, r in zip(symbols, values, ranks, strict=True)}


def _by_sum(sizes: list[int]) -> Iterator[tuple[int, ...]]:
    """Yield all tuples with 0 <= entry < size, smallest sum first."""

    def of_sum(total: int, sizes: list[int]) -> Iterator[tuple[int, ...]]:
        if not sizes:
            if total == 0:
                yield ()
            return
        for first in range(min(total + 1, sizes[0])):
            for rest in of_sum(total - first, sizes[1:]):
                yield (first, *rest)

    for total in range(sum(size - 1 for size in sizes) + 1):
        yield from of_sum(total, sizes)


def _candidates(symbol: sp.Symbol) -> list[Fraction]:
    """Plain values that meet every assumption of the symbol."""
    values = _POSITIVE_VALUES if symbol.is_positive else _REAL_VALUES
    return [v for v in values if _in_domain(sp.Rational(v.numerator, v.denominator), symbol)]


def _in_domain(value: Any, symbol: sp.Symbol) -> bool:
    return all(getattr(value, f"is_{name}") is truth for name, truth in symbol.assumptions0.items())


def _prove(difference: sp.Expr, relation: str) -> bool:
    if relation == "=":
        return any(sp.sympify(reduce(difference)) == 0 for reduce in (_rational, sp.simplify, _expanded))
    for reduce in (lambda e: e, _rational, sp.factor, sp.simplify):
        reduced = reduce(difference)
        if (reduced.is_positive if relation == ">" else reduced.is_nonnegative) is True:
            return True
    return False


def _rational(expression: sp.Expr) -> Any:
    return sp.factor(sp.cancel(sp.together(sp.powsimp(sp.powdenest(expression)))))


def _expanded(expression: sp.Expr) -> Any:
    return sp.simplify(sp.expand_log(sp.expand(expression, power_exp=True), force=False))
