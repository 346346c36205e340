"""`decide` on made-up claims of every kind of side and relation; malformed claims; registration."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from helpers.claims import error_text, synthetic
from tailbound.theory import claims
from tailbound.theory.core import claims as vocabulary
from tailbound.theory.core.certified import CertificationError, Enclosure
from tailbound.theory.core.claims import ClaimError, Kind, Relation, Sides, Verdict, cases, decide
from tailbound.theory.core.derivation import Derivation
from tailbound.theory.core.errors import InputError


def verdict_of(computed, stated, *, uncertainty=0.0, **attributes) -> Verdict:
    return decide(synthetic(lambda: Sides(computed, stated, uncertainty), **attributes)).verdict


PROVED, CONFIRMED, REFUTED, UNSETTLED = Verdict.PROVED, Verdict.CONFIRMED, Verdict.REFUTED, Verdict.UNSETTLED
EQUAL, AT_MOST, AT_LEAST, IDENTITY = Relation.EQUAL, Relation.AT_MOST, Relation.AT_LEAST, Relation.IDENTITY
LESS, GREATER = Relation.LESS, Relation.GREATER
THIRD = Fraction(1, 3)


@pytest.mark.parametrize(
    ("computed", "relation", "stated", "tolerance", "verdict"),
    [
        (1.0, EQUAL, 1.0, {}, CONFIRMED),
        (1.0, IDENTITY, 1.0, {}, CONFIRMED),  # two floats that agree prove nothing
        (0.1 + 0.2, EQUAL, 0.3, {}, REFUTED),
        (1.0 + 9e-4, EQUAL, 1.0, {"atol": 1e-3}, CONFIRMED),
        (1.0 + 2e-3, EQUAL, 1.0, {"atol": 1e-3}, REFUTED),
        (1.0 - 2e-3, EQUAL, 1.0, {"atol": 1e-3}, REFUTED),
        (1009.0, EQUAL, 1000.0, {"rtol": 1e-2}, CONFIRMED),
        (1011.0, EQUAL, 1000.0, {"rtol": 1e-2}, REFUTED),
        (-1009.0, EQUAL, -1000.0, {"rtol": 1e-2}, CONFIRMED),
        (1011.0, EQUAL, 1000.0, {"rtol": 1e-2, "atol": 2.0}, CONFIRMED),
        ([1.0, 2.0], EQUAL, [1.0, 2.5], {"atol": 0.1}, REFUTED),
        (np.array([[1.0], [2.0]]), EQUAL, [[1.0], [2.0]], {}, CONFIRMED),
        (1.0, AT_MOST, 1.0, {}, CONFIRMED),
        (1.1, AT_MOST, 1.0, {}, REFUTED),
        (1.1, AT_MOST, 1.0, {"atol": 0.2}, CONFIRMED),
        (0.9, AT_LEAST, 1.0, {}, REFUTED),
        (0.9, AT_LEAST, 1.0, {"rtol": 0.2}, CONFIRMED),
        (-5.0, AT_MOST, 1.0, {}, CONFIRMED),
        (5.0, AT_LEAST, 1.0, {}, CONFIRMED),
        (1.0, LESS, 1.0, {}, REFUTED),
        (0.9, LESS, 1.0, {}, CONFIRMED),
        (1.0, GREATER, 1.0, {}, REFUTED),
        (1.1, GREATER, 1.0, {}, CONFIRMED),
        ([2.0, 1.0], GREATER, [1.0, 1.0], {}, REFUTED),
        (THIRD, LESS, THIRD, {}, REFUTED),
        (THIRD, LESS, THIRD + Fraction(1, 10**40), {}, PROVED),
        (THIRD, GREATER, THIRD - Fraction(1, 10**40), {}, PROVED),
        (THIRD, EQUAL, Fraction(2, 6), {}, PROVED),
        (THIRD, IDENTITY, Fraction(2, 6), {}, PROVED),
        (THIRD, IDENTITY, THIRD + Fraction(1, 10**40), {}, REFUTED),
        (THIRD, AT_MOST, THIRD, {}, PROVED),
        (THIRD, AT_MOST, THIRD - Fraction(1, 10**40), {}, REFUTED),
        (THIRD, AT_LEAST, THIRD, {}, PROVED),
        (THIRD, AT_LEAST, THIRD + Fraction(1, 10**40), {}, REFUTED),
        ([1, THIRD], EQUAL, [1, THIRD], {}, PROVED),
        ([1, THIRD], EQUAL, [1, 1 / 3], {}, CONFIRMED),  # against a float nothing is proved
        ([1, THIRD], EQUAL, [1, 1 / 3], {"atol": 1e-15}, CONFIRMED),
        (THIRD, EQUAL, THIRD, {"rtol": 1e-9}, CONFIRMED),  # within a tolerance is not proved
    ],
)
def test_numbers_and_rationals(computed, relation, stated, tolerance, verdict):
    assert verdict_of(computed, stated, relation=relation, exhaustive=True, **tolerance) is verdict
    partial = verdict_of(computed, stated, relation=relation, **tolerance)
    assert partial is (CONFIRMED if verdict is PROVED else verdict)  # cases that do not cover everything prove nothing


def enclosure(low, high) -> Enclosure:
    """An enclosure that reaches from `low` to `high`."""
    middle, radius = sp.Rational(low + high) / 2, sp.Rational(high - low) / 2
    ball = Enclosure.of(Fraction(int(middle.p), int(middle.q))).ball
    return Enclosure(type(ball)(ball.mid(), float(radius)))


@pytest.mark.parametrize(
    ("low", "high", "relation", "verdict"),
    [
        (1, 2, AT_MOST, REFUTED),
        (-1, 1, AT_MOST, UNSETTLED),
        (-2, -1, AT_MOST, PROVED),
        (1, 2, AT_LEAST, PROVED),
        (-1, 1, AT_LEAST, UNSETTLED),
        (-2, -1, AT_LEAST, REFUTED),
        (-1, 1, EQUAL, UNSETTLED),
        (1, 2, EQUAL, REFUTED),
        (-2, -1, EQUAL, REFUTED),
        (0, 0, EQUAL, PROVED),
        (0, 1, GREATER, UNSETTLED),
        (-2, -1, GREATER, REFUTED),
        (1, 2, GREATER, PROVED),
        (-1, 0, LESS, UNSETTLED),
        (1, 2, LESS, REFUTED),
        (-2, -1, LESS, PROVED),
    ],
)
@pytest.mark.parametrize("other", [0, Enclosure.of(0)])
def test_enclosures_against_zero(low, high, relation, verdict, other):
    sides = enclosure(low, high), other
    assert verdict_of(*sides, relation=relation, exhaustive=True) is verdict
    assert verdict_of(*sides, relation=relation) is (CONFIRMED if verdict is PROVED else verdict)


def test_two_enclosures_and_tolerance():
    assert verdict_of(enclosure(0, 2), enclosure(1, 3)) is UNSETTLED
    assert verdict_of(enclosure(0, 2), enclosure(1, 3), relation=AT_MOST) is UNSETTLED
    assert verdict_of(enclosure(0, 1), enclosure(2, 3)) is REFUTED
    assert verdict_of(enclosure(0, 1), enclosure(2, 3), relation=AT_MOST, exhaustive=True) is PROVED
    assert verdict_of(enclosure(1, 1.25), 1.125, atol=0.2, exhaustive=True) is CONFIRMED
    assert verdict_of(enclosure(1, 1.25), 1.125, atol=0.01) is UNSETTLED
    assert verdict_of([enclosure(0, 0), enclosure(1, 2)], [0, 0]) is REFUTED


@pytest.mark.parametrize(
    ("computed", "relation", "uncertainty", "verdict"),
    [
        (1.0, EQUAL, 0.05, CONFIRMED),
        (1.0, EQUAL, 0.2, UNSETTLED),  # wider than the tolerance: even a perfect match says nothing
        (1.15, EQUAL, 0.1, UNSETTLED),  # straddles its edge
        (1.3, EQUAL, 0.1, REFUTED),
        (1.3, EQUAL, [0.1], REFUTED),
        (1.15, AT_MOST, 0.1, UNSETTLED),
        (1.3, AT_MOST, 0.1, REFUTED),
        (0.8, AT_MOST, 0.2, CONFIRMED),
        (0.9, AT_LEAST, 0.2, UNSETTLED),
        (0.7, AT_LEAST, 0.1, REFUTED),
        (1.2, AT_LEAST, 0.1, CONFIRMED),
    ],
)
def test_uncertainty_counts_against_the_claim(computed, relation, uncertainty, verdict):
    found = verdict_of(computed, 1.0, relation=relation, uncertainty=uncertainty, atol=0.1, exhaustive=True)
    assert found is verdict


def test_uncertainty_per_entry_and_exact_sides():
    assert verdict_of([1, 1], [1, 1], uncertainty=[0.0, 1e-9]) is UNSETTLED
    assert verdict_of([1, 1], [1, 1], uncertainty=[0.0, 1e-9], atol=1e-8, exhaustive=True) is CONFIRMED
    assert verdict_of([2, 1], [1, 1], uncertainty=[0.0, 1e-9]) is REFUTED


@pytest.mark.parametrize(
    ("sides", "match"),
    [
        (Sides(float("nan"), 1.0), "computed side has a value that is not finite"),
        (Sides(1.0, np.nan), "stated side has a value that is not finite"),
        (Sides([1.0, np.inf], [1.0, 1.0]), "not finite: inf"),
        (Sides(1.0, -np.inf), "not finite: -inf"),
        (Sides([], []), "computed side is empty"),
        (Sides([1.0], np.array([])), "stated side is empty"),
        (Sides([1.0, 2.0], [1.0]), r"computed has shape \(2,\), stated \(1,\)"),
        (Sides(1.0, [1.0, 1.0]), r"computed has shape \(\), stated \(2,\)"),
        (Sides(np.ones((1, 2)), np.ones((2, 1))), r"computed has shape \(1, 2\), stated \(2, 1\)"),
        (Sides(True, True), "computed side is a truth value"),
        (Sides([1.0], [np.True_]), "stated side is a truth value"),
        (Sides(1.0, 1.0, uncertainty=-1.0), "uncertainty must be finite and >= 0"),
        (Sides(1.0, 1.0, uncertainty=np.nan), "uncertainty must be finite and >= 0"),
        (Sides(1.0, 1.0, uncertainty=np.inf), "uncertainty must be finite and >= 0"),
    ],
)
@pytest.mark.parametrize("relation", Relation)
def test_unusable_sides_are_errors(sides, match, relation):
    with pytest.raises(ClaimError, match=match) as excinfo:
        decide(synthetic(lambda: sides, relation=relation))
    assert "test.synthetic" in error_text(excinfo)


def test_empty_or_undefined_derivations_are_errors():
    with pytest.raises(InputError, match="at least one step"):
        decide(synthetic(Derivation))
    with pytest.raises(InputError, match="undefined side: nan"):
        decide(synthetic(lambda: Derivation().equal("nothing", sp.nan, sp.nan)))


def raising(error):
    def check():
        raise error

    return synthetic(check, expected="holds")


@pytest.mark.parametrize("error", [ArithmeticError("no idea"), ZeroDivisionError("by 0"), CertificationError("wide")])
def test_a_check_that_cannot_decide_is_unsettled(error):
    decision = decide(raising(error))
    assert decision.verdict is UNSETTLED
    assert not decision.as_expected
    assert decision.figure == f"{type(error).__name__}: {error}"


def test_bad_input_inside_a_check_names_claim_and_case():
    claim = raising(InputError("n must be > 0, got 0"))
    with pytest.raises(InputError, match=rf"claim {claim.id} in case \{{.*\}}: n must be > 0, got 0"):
        decide(claim)


@pytest.mark.parametrize("error", [ValueError("bug"), InputError("bug"), KeyError("bug"), AssertionError("bug")])
def test_other_errors_of_a_check_propagate(error):
    with pytest.raises(type(error), match="bug"):
        decide(raising(error))


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("expected", ["holds", "fails"])
def test_unsettled_never_counts(verdict, expected):
    correction = {"right": {}, "corrected_by": "test.other"} if expected == "fails" else {}
    decision = vocabulary.Decision(synthetic(lambda: (1, 1), expected=expected, **correction), verdict, (), 0.0)
    assert verdict.holds is (verdict in (PROVED, CONFIRMED))
    assert decision.as_expected is (verdict.holds if expected == "holds" else verdict is REFUTED)
    assert UNSETTLED.holds is False


x = sp.Symbol("x", positive=True)
TRUE_STEP = ("identity", (x + 1) ** 2, x**2 + 2 * x + 1)


@pytest.mark.parametrize(
    ("derivation", "verdict"),
    [
        (Derivation().equal(*TRUE_STEP), PROVED),
        (Derivation().equal(*TRUE_STEP).positive("too hard", sp.exp(x) - 1 - x), UNSETTLED),
        (Derivation().positive("too hard", sp.exp(x) - 1 - x).equal("wrong", x, 1), REFUTED),
    ],
)
def test_derivations(derivation, verdict):
    decision = decide(synthetic(lambda: derivation, relation=IDENTITY, exhaustive=True))
    assert decision.verdict is verdict
    assert len(decision.deciding.steps) == len(derivation.steps)
    json.dumps(decision.to_json(), allow_nan=False)
    assert decide(synthetic(lambda: derivation, relation=IDENTITY)).verdict is (
        CONFIRMED if verdict is PROVED else verdict
    )


def test_one_case_decides_for_all():
    table = {0: 1, 1: Fraction(1), 2: 1.0, 3: enclosure(0, 2), 4: 2}
    several = synthetic(lambda k: (table[k], 1), cases=cases(k=[0, 1]), wrong={"some": {"k": 4}}, exhaustive=True)
    assert decide(several).verdict is PROVED
    assert decide(replace(several, cases=cases(k=[0, 2]))).verdict is CONFIRMED
    assert decide(replace(several, cases=cases(k=[0, 3, 2]))).verdict is UNSETTLED
    assert decide(replace(several, full_cases=cases(k=[4]))).verdict is PROVED
    assert decide(replace(several, full_cases=cases(k=[4])), full=True).verdict is REFUTED
    refuted = decide(replace(several, cases=cases(k=[0, 3, 4, 2])))
    assert refuted.verdict is REFUTED
    assert [e.case["k"] for e in refuted.evidence] == [0, 3, 4]
    assert refuted.deciding.case == {"k": 4}
    assert refuted.figure == "2 = 1, |difference| 1 is false"
    assert decide(several, variant="some").verdict is REFUTED


def test_unknown_variant():
    with pytest.raises(InputError, match="no variant 'right'; it has some"):
        decide(synthetic(lambda: (1, 1)), variant="right")


# malformed claims


@pytest.mark.parametrize(
    ("attributes", "match"),
    [
        ({"wrong": {}}, "no wrong variant"),
        ({"wrong": {"typo": {"expnent": 1}}}, "no argument.*expnent"),
        ({"cases": ({"expnent": 1},)}, "no argument.*expnent"),
        ({"full_cases": ({"expnent": 1},)}, "no argument.*expnent"),
        ({"expected": "fails", "corrected_by": "test.other", "right": {"expnent": 1}}, "no argument.*expnent"),
        ({"cases": ()}, "no argument|no case"),
        ({"expected": "fails"}, "corrected_by"),
        ({"expected": "fails", "right": {}}, "corrected_by"),
        ({"expected": "fails", "corrected_by": "test.other"}, "right"),
        ({"right": {}}, "right"),
        ({"corrected_by": "test.other"}, "corrected_by"),
        ({"expected": "perhaps"}, "'holds' or 'fails'"),
        ({"relation": IDENTITY, "rtol": 1e-9}, "≡ has no tolerance"),
        ({"relation": IDENTITY, "atol": 1e-9}, "≡ has no tolerance"),
        ({"relation": LESS, "atol": 1e-9}, "< has no tolerance"),
        ({"relation": GREATER, "rtol": 1e-9}, "> has no tolerance"),
        ({"id": "nodot"}, "'slug.name'"),
        ({"id": "two.dots.here"}, "'slug.name'"),
        ({"statement": ""}, "docstring"),
        ({"source": ""}, "source"),
        ({"formula": ""}, "formula"),
    ],
)
def test_malformed_claim(attributes, match):
    with pytest.raises(ClaimError, match=match) as excinfo:
        synthetic(lambda exponent=1: (1, 1), **attributes)
    assert error_text(excinfo)


def test_registration(monkeypatch):
    monkeypatch.setattr(vocabulary, "REGISTRY", {})
    attributes = {"source": "s", "kind": Kind.EXACT, "formula": "f", "wrong": {"two": {"value": 2}}}

    @vocabulary.claim("test.registered", **attributes)
    def check(value=1):
        """One is
        one.
        """
        return value, 1

    assert vocabulary.REGISTRY["test.registered"].statement == "One is one."
    assert vocabulary.REGISTRY["test.registered"].relation is IDENTITY
    assert check() == (1, 1)
    with pytest.raises(ClaimError, match="registered twice"):
        vocabulary.claim("test.registered", **attributes)(check)
    check.__module__ = "tailbound.theory.claims.ldam.losses"
    with pytest.raises(ClaimError, match="stands among the claims of ldam"):
        vocabulary.claim("test.other", **attributes)(check)
    assert list(vocabulary.REGISTRY) == ["test.registered"]


def test_registry_is_not_polluted():
    assert all(claim.system in claims.systems() for claim in vocabulary.REGISTRY.values())
