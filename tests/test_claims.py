"""The whole ledger, claim by claim and wrong variant by wrong variant; then `decide` on made-up claims."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from tailbound.theory import claim_index, claims
from tailbound.theory.core import claims as vocabulary
from tailbound.theory.core.certified import CertificationError, Enclosure
from tailbound.theory.core.claims import REGISTRY, Claim, ClaimError, Kind, Relation, Sides, Verdict, cases, decide
from tailbound.theory.core.derivation import Derivation
from tailbound.theory.core.errors import InputError

LEDGER = claims.load()
RECORDED = json.loads(Path(claim_index.__file__).with_name("claims").joinpath("verdicts.json").read_text("utf-8"))
WRONG = [(claim_id, name) for claim_id, claim in LEDGER.items() for name in claim.wrong]
FAILING = [claim_id for claim_id, claim in LEDGER.items() if claim.expected == "fails"]
TOLERANT = [
    claim_id
    for claim_id, claim in LEDGER.items()
    if claim.relation is Relation.EQUAL and claim.tolerance and claim.expected == "holds"
]


@cache
def decided(claim_id, variant=""):
    return decide(LEDGER[claim_id], variant=variant)


def error_text(excinfo) -> str:
    text = str(excinfo.value)
    assert "\n" not in text
    return text


# the ledger


@pytest.mark.parametrize("claim_id", LEDGER)
def test_claim_is_decided_as_expected_and_as_recorded(claim_id):
    decision = decided(claim_id)
    assert decision.as_expected, decision.figure
    assert str(decision.verdict) == RECORDED.get(claim_id), "run: python -m tailbound.theory.claim_index"
    assert decision.evidence
    assert decision.deciding.verdict is decision.verdict or decision.verdict.holds
    assert decision.figure
    assert "\n" not in decision.figure
    restored = json.loads(json.dumps(decision.to_json(), allow_nan=False))
    assert (restored["id"], restored["verdict"], restored["as_expected"]) == (claim_id, str(decision.verdict), True)
    assert len(restored["evidence"]) == len(decision.evidence)
    assert all(evidence["figure"] for evidence in restored["evidence"])


@pytest.mark.parametrize(("claim_id", "variant"), WRONG)
def test_wrong_variant_is_refuted_with_a_counterexample(claim_id, variant):
    decision = decided(claim_id, variant)
    assert decision.verdict is Verdict.REFUTED, decision.figure
    assert decision.deciding.figure.endswith("is false")
    assert decision.variant == variant


@pytest.mark.parametrize("claim_id", FAILING)
def test_failing_claim_shows_its_counterexample_and_its_correction(claim_id):
    claim, decision = LEDGER[claim_id], decided(claim_id)
    assert decision.verdict is Verdict.REFUTED
    assert decision.evidence[-1] is decision.deciding  # the first case that fails ends the search
    assert decision.deciding.figure.endswith("is false")
    assert decided(claim_id, "right").verdict.holds
    assert LEDGER[claim.corrected_by].expected == "holds"  # and holds, by the test above


@pytest.mark.parametrize(
    "claim_id", [i for i, claim in LEDGER.items() if claim.full_cases and claim.kind is not Kind.SIMULATION]
)  # the larger simulations take minutes: `tailbound verify --full`
def test_slow_cases_come_out_as_expected_too(claim_id):
    claim = LEDGER[claim_id]
    decision = decide(replace(claim, cases=claim.full_cases[:1], full_cases=claim.full_cases[1:]), full=True)
    assert decision.as_expected, decision.figure
    assert len(decision.evidence) == len(claim.full_cases)


def test_ledger_has_enough_claims_and_a_third_of_those_without_drawn_numbers_are_proved():
    deterministic = [name for name, each in LEDGER.items() if each.kind not in {Kind.SIMULATION, Kind.NETWORK}]
    assert len(deterministic) >= 20
    assert sum(RECORDED[name] == "proved" for name in deterministic) * 3 >= len(deterministic)
    assert FAILING
    assert len(WRONG) >= len(LEDGER)


@pytest.mark.parametrize("claim_id", LEDGER)
def test_claim_is_catalogued(claim_id):
    claim = LEDGER[claim_id]
    assert claim.id == claim_id
    assert claim.system in claims.systems()
    layer = {Kind.SIMULATION: "sims", Kind.NETWORK: "nn_validation"}.get(claim.kind, "theory")
    assert claim.check.__module__.startswith(f"tailbound.{layer}.claims.{claim.system}")
    assert claim.kind in {Kind.SYMBOLIC, Kind.CERTIFIED, Kind.EXACT} or not claim.exhaustive


@pytest.mark.parametrize("claim_id", TOLERANT)
def test_claim_is_falsifiable(claim_id):
    """The stated side moved by 50 tolerances, up or down, all entries or one, is never counted as holding."""
    claim = LEDGER[claim_id]
    checked = 0
    for case in claim.cases:
        result = claim.check(**case)
        sides = result if isinstance(result, Sides) else Sides(*result)
        stated = np.asarray(sides.stated, dtype=float)
        nudge = 50 * (claim.atol + claim.rtol * np.abs(stated))
        for which in [np.ones(stated.size), *np.eye(stated.size)[:12]]:
            for direction in (-1, 1):
                moved = replace(sides, stated=stated + direction * nudge * which.reshape(stated.shape))
                mutant = replace(claim, check=lambda moved=moved: moved, cases=({},), full_cases=(), wrong={"none": {}})
                decision = decide(mutant)
                assert not decision.verdict.holds, (case, which, direction, decision.figure)
                checked += 1
    assert checked >= 2 * len(claim.cases)


# what is generated from it


@pytest.fixture
def recorded_decisions(monkeypatch):
    """`claim_index` finds the recorded verdicts; that they are right is tested claim by claim above."""

    def found(ledger):
        for claim in ledger:
            yield vocabulary.Decision(claim, Verdict(RECORDED.get(claim.id, "unsettled")), (), 0.0)

    monkeypatch.setattr(claim_index, "iter_decisions", found)


def test_index_and_verdicts_are_up_to_date(recorded_decisions, capsys):
    assert RECORDED.keys() == LEDGER.keys()
    assert claim_index.main(check=True) == 0, capsys.readouterr().err


@pytest.mark.parametrize("file", ["docs/claims.md", "theory/claims/verdicts.json"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_stale_index_is_reported_and_rewritten(recorded_decisions, monkeypatch, tmp_path, capsys, file, damage):
    root = Path(claim_index.__file__).parents[1]
    for name in ("docs/claims.md", "theory/claims/verdicts.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(root / name, tmp_path / name)
    monkeypatch.setattr(claim_index, "__file__", str(tmp_path / "theory" / "claim_index.py"))
    assert claim_index.main(check=True) == 0
    path = tmp_path / file
    fresh = path.read_text("utf-8")
    path.unlink()
    if damage == "changed":
        path.write_text(fresh.replace("proved", "confirmed", 1), encoding="utf-8")
    assert claim_index.main(check=True) == 1
    message = capsys.readouterr().err
    assert f"out of date: {file}" in message
    assert "run: python -m tailbound.theory.claim_index" in message
    assert claim_index.main() == 0
    assert f"wrote: {file}" in capsys.readouterr().err
    assert path.read_text("utf-8") == fresh


def test_verdicts_are_decided_not_read(monkeypatch):
    monkeypatch.setattr(claim_index, "select", lambda: [LEDGER["ldam.low_order_one_root"], synthetic(lambda: (1, 1))])
    assert claim_index.verdicts() == {"ldam.low_order_one_root": "refuted", "test.synthetic": "confirmed"}


def test_index_lists_every_claim_and_its_correction():
    found = {claim_id: RECORDED.get(claim_id, "unsettled") for claim_id in LEDGER}
    text = claim_index.render(found)
    for claim in LEDGER.values():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{claim.id}` |")]
        assert found[claim.id] in row
        assert f"→ `{claim.corrected_by}`" in row if claim.corrected_by else "→ `" not in row


# choosing claims


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), set(LEDGER)),
        (("vs_loss",), {i for i in LEDGER if i.startswith("vs_loss.")}),
        (("ldam.joint_*",), {i for i in LEDGER if i.startswith("ldam.joint_")}),
        (("*_values",), {i for i in LEDGER if i.endswith("_values")}),
        (("ldam.binary_split", "vs_loss.initial_weight"), {"ldam.binary_split", "vs_loss.initial_weight"}),
        (("ldam.bias_shift", "ldam.bias_shift*"), {"ldam.bias_shift", "ldam.bias_shift_as_printed"}),
    ],
)
def test_select(patterns, expected):
    chosen = [claim.id for claim in claims.select(*patterns)]
    assert set(chosen) == expected
    assert len(chosen) == len(expected)


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("ldam.binary_spilt", "did you mean ldam.binary_split"),
        ("ldma", "did you mean ldam"),
        ("ldam.joint_balanced", "ldam.joint_balanced_exponent"),
        ("zzz", "known: alpha_loss, average_k, ldam"),
        ("zzz.yyy", "known: alpha_loss."),
    ],
)
def test_unknown_pattern_suggests_the_nearest(pattern, hint):
    with pytest.raises(InputError) as excinfo:
        claims.select("ldam.bias_shift", pattern)
    assert repr(pattern) in error_text(excinfo)
    assert hint in error_text(excinfo)


def test_verify_and_falsify():
    (decision,) = claims.verify("ldam.low_order_one_root")
    assert (decision.verdict, decision.as_expected) == (Verdict.REFUTED, True)
    results = claims.falsify(decision.claim)
    assert [result.variant for result, _ in results] == [*decision.claim.wrong, "right"]
    assert all(as_it_must for _, as_it_must in results)
    loose = synthetic(lambda a=1: (a, 1), wrong={"not wrong": {"a": Fraction(1)}, "wrong": {"a": 2}})
    assert [as_it_must for _, as_it_must in claims.falsify(loose)] == [False, True]


# deciding made-up claims


def synthetic(check, **attributes) -> Claim:
    """A claim that never enters the registry."""
    given = {"relation": Relation.EQUAL, "wrong": {"some": {}}, "kind": Kind.EXACT, **attributes}
    return Claim(**{"id": "test.synthetic", "source": "s", "formula": "f", "statement": "t", "check": check, **given})


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
    assert all(claim.system in claims.systems() for claim in REGISTRY.values())
