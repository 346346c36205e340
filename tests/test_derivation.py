"""Symbolic steps: proved when true, refuted at a point that violates them, unsettled when neither is shown."""

from fractions import Fraction

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from tailbound.theory.core.derivation import Derivation
from tailbound.theory.core.errors import InputError

x, y = sp.symbols("x y", positive=True)
r = sp.Symbol("r", real=True)
nonnegative = sp.Symbol("u", nonnegative=True)
negative = sp.Symbol("v", negative=True)
nonzero = sp.Symbol("w", real=True, nonzero=True)
n = sp.Symbol("n", integer=True, positive=True)
odd = sp.Symbol("m", odd=True, positive=True)
SAMPLES = [sp.Rational(v) for v in ("1", "2", "3", "1/2", "5", "7/3", "1/100", "100")]
VANISHES_AT_SAMPLES = sp.prod([x - v for v in SAMPLES])


def outcome(relation, left, right=0):
    (found,) = getattr(Derivation(), relation)("step", left, right).decide()
    return found


def point_of(found) -> dict[str, sp.Rational]:
    """The counterexample that a refutation names."""
    at, _, _ = found.reason.removeprefix("at ").partition(": ")
    return {name: sp.Rational(value) for name, _, value in (part.partition(" = ") for part in at.split(", "))}


@pytest.mark.parametrize(
    ("relation", "left", "right"),
    [
        ("equal", (x + 1) ** 2, x**2 + 2 * x + 1),
        ("equal", sp.sqrt(x**2), x),
        ("equal", sp.log(x * y), sp.log(x) + sp.log(y)),
        ("equal", sp.exp(x + r), sp.exp(x) * sp.exp(r)),
        ("equal", 1 / (x - 1) - 1 / (x + 1), 2 / (x**2 - 1)),
        ("equal", sp.sin(r) ** 2 + sp.cos(r) ** 2, 1),
        ("equal", (-1) ** odd, -1),
        ("equal", sp.Rational(1, 3) + sp.Rational(1, 6), sp.Rational(1, 2)),
        ("positive", x + 1, x),
        ("positive", x / (x + y), 0),
        ("positive", r**2 + 1, 0),
        ("positive", nonzero**2, 0),
        ("positive", -negative, 0),
        ("nonnegative", r**2, 0),
        ("nonnegative", nonnegative, 0),
        ("nonnegative", (x - y) ** 2, 0),
        ("nonnegative", n, 1),
        ("nonnegative", x, x),
    ],
)
def test_true_step_is_proved(relation, left, right):
    assert outcome(relation, left, right).holds is True


@pytest.mark.parametrize(
    ("relation", "left", "right"),
    [
        ("equal", (x + y) ** 2, x**2 + y**2),
        ("equal", sp.sqrt(r**2), r),
        ("equal", x**y, y**x),
        ("equal", sp.sin(sp.pi * x), 0),  # right at the first three points
        ("equal", (x - 1) * (x - 2) * (x - 3) * (x - 5), 0),
        ("equal", x, x + sp.Rational(1, 10**20) * y),
        ("positive", x - y, 0),
        ("positive", 100 - x, 0),
        ("positive", sp.log(x), 0),
        ("nonnegative", 3 - x, 0),
        ("nonnegative", x, sp.sqrt(x)),
        ("nonnegative", 2 * n, 3),
        ("nonnegative", sp.log(r), 0),  # not even real everywhere
    ],
)
def test_false_step_is_refuted_at_a_point_that_violates_it(relation, left, right):
    found = outcome(relation, left, right)
    assert found.holds is False
    assert found.reason.endswith("is false")
    point = point_of(found)
    symbols = {s.name: s for s in sp.sympify(left - right).free_symbols}
    assert point.keys() == symbols.keys()
    for name, value in point.items():
        assert not (symbols[name].is_positive and value <= 0)
        assert not (symbols[name].is_integer and not value.is_integer)
    gap = sp.sympify(left - right).subs({symbols[name]: value for name, value in point.items()})
    held = {"equal": sp.Eq(gap, 0), "positive": gap.is_real and gap > 0, "nonnegative": gap.is_real and gap >= 0}
    assert not held[relation]


@pytest.mark.parametrize(
    ("relation", "left"),
    [
        ("positive", sp.exp(x) - 1 - x),  # true, and beyond sympy
        ("nonnegative", x - sp.log(1 + x)),
        ("equal", VANISHES_AT_SAMPLES),  # false, and right at every point tried
        ("nonnegative", -(VANISHES_AT_SAMPLES**2)),
        ("equal", VANISHES_AT_SAMPLES * sp.sin(y)),
        ("equal", sp.Function("f")(x)),
        ("positive", sp.Symbol("a") ** 2 + 1),  # a complex symbol
    ],
)
def test_undecided_step_is_unsettled(relation, left):
    found = outcome(relation, left)
    assert found.holds is None
    assert found.reason.startswith("could neither simplify nor refute; substitute")


@pytest.mark.parametrize(
    ("expression", "strict"),
    [
        (x, True),
        (x - x, False),
        ((x - 1) ** 2, False),
        (r**2, False),
        ((x - y) ** 2, False),
        (nonnegative, False),
        (sp.Integer(0), False),
        (sp.log(x) ** 2, False),
    ],
)
def test_strict_needs_more_than_nonstrict(expression, strict):
    assert outcome("nonnegative", expression).holds is True
    found = outcome("positive", expression)
    assert found.holds is strict
    if not strict and expression.free_symbols:
        zero = expression.subs({s: point_of(found)[s.name] for s in expression.free_symbols})
        assert sp.simplify(zero) == 0


@pytest.mark.parametrize(
    ("symbol", "relation"),
    [(nonnegative, "nonnegative"), (nonzero**2, "positive"), (-negative, "positive"), (n - 1, "nonnegative")],
)
def test_no_counterexample_from_outside_the_domain(symbol, relation):
    assert outcome(relation, symbol).holds is True


def test_false_everywhere_needs_no_point():
    found = outcome("equal", x, x + sp.Rational(1, 10**20))
    assert found.holds is False
    assert found.reason.endswith("is false")


def test_smallest_point_comes_first():
    assert point_of(outcome("positive", 3 - x)) == {"x": 3}
    assert point_of(outcome("nonnegative", 3 - x)) == {"x": 5}
    assert point_of(outcome("equal", x * y, x + y)) == {"x": 1, "y": 1}


coefficients = st.lists(st.fractions(-3, 3, max_denominator=5), min_size=1, max_size=5)


@given(coefficients, coefficients)
@settings(max_examples=25, deadline=None)
def test_polynomial_identities_are_decided_right(first, second):
    def polynomial(values):
        return sum((sp.Rational(v.numerator, v.denominator) * x**k for k, v in enumerate(values)), sp.Integer(0))

    def padded(values):
        return values + [Fraction(0)] * (5 - len(values))

    product = polynomial(first) * polynomial(second)
    assert outcome("equal", product, sp.expand(product)).holds is True
    same = padded(first) == padded(second)
    assert outcome("equal", polynomial(first), polynomial(second)).holds is same


def test_chain_decides_every_step_and_prints_it():
    chain = Derivation().equal("first", x, x).positive("second", -x).nonnegative("third", sp.exp(x), 1 + x)
    assert isinstance(chain, Derivation)
    assert [found.holds for found in chain.decide()] == [True, False, None]
    assert [str(step) for step in chain.steps] == ["x = x", "-x > 0", "exp(x) ≥ x + 1"]
    assert [found.step for found in chain.decide()] == chain.steps


def test_empty_derivation_is_an_error():
    with pytest.raises(InputError, match="at least one step, got none"):
        Derivation().decide()


@pytest.mark.parametrize("relation", ["equal", "positive", "nonnegative"])
@pytest.mark.parametrize("bad", [sp.nan, sp.zoo, float("nan"), x * sp.nan])
@pytest.mark.parametrize("swap", [False, True])
def test_undefined_side_is_an_error(relation, bad, swap):
    with pytest.raises(InputError, match="step 'bad' has an undefined side") as excinfo:
        getattr(Derivation(), relation)("bad", *((1, bad) if swap else (bad, 1)))
    assert "\n" not in str(excinfo.value)


@pytest.mark.parametrize("relation", ["positive", "nonnegative"])
def test_infinite_side_of_an_inequality_is_an_error(relation):
    with pytest.raises(InputError, match="undefined side: oo"):
        getattr(Derivation(), relation)("bad", sp.oo, 1)


@pytest.mark.parametrize("relation", ["equal", "positive", "nonnegative"])
@pytest.mark.parametrize("sides", [(0.5, x), (x, 0.5), (sp.Float("0.1") * x, x)])
def test_float_is_an_error(relation, sides):
    with pytest.raises(InputError, match=r"step 'bad' has a float: .*use Fraction"):
        getattr(Derivation(), relation)("bad", *sides)


def test_a_step_speaks_of_the_points_where_its_sides_are_defined():
    assert outcome("equal", (x**2 - 1) / (x - 1), x + 1).holds is True
    assert outcome("equal", (x**2 - 1) / (x - 1), x + 2).holds is False
