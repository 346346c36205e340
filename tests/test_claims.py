"""The whole ledger, claim by claim and wrong variant by wrong variant; what is made of it."""

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from helpers.claims import error_text, synthetic
from tailbound.theory import claim_index, claims
from tailbound.theory.core import claims as vocabulary
from tailbound.theory.core.claims import Kind, Relation, Sides, Verdict, decide
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
