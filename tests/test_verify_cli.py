"""``tailbound verify`` and ``tailbound explain``: what they print, which claims they take, and their exit codes."""

import json
from dataclasses import replace

import pytest
from helpers.command_line import QUICK, assert_rejected, run
from tailbound.theory.claims import load
from tailbound.theory.core.claims import REGISTRY

# verify


def test_verify_prints_claim_kind_verdict_and_figure():
    done = run("verify", "vs_loss.initial_*")
    assert (done.code, done.err) == (0, "")
    claims = [each for key, each in load().items() if key.startswith("vs_loss.initial_")]
    assert len(claims) > 1
    assert all(claim.id.split(".")[1] in done.out for claim in claims)
    assert f"{len(claims)} claims: " in done.out
    assert "none unexpected" in done.out


def test_verify_json_is_an_array_of_objects():
    done = run("verify", QUICK, "ldam.bias_shift*", "--json")
    assert (done.code, done.err) == (0, "")
    decisions = json.loads(done.out)
    assert [each["id"] for each in decisions] == [QUICK, "ldam.bias_shift", "ldam.bias_shift_as_printed"]
    for each in decisions:
        assert each["system"] == each["id"].split(".")[0]
        assert each["kind"]
        assert each["verdict"] == ("refuted" if each["expected"] == "fails" else "proved")
        assert each["as_expected"] is True
        assert each["evidence"]
        assert all({"case", "verdict", "figure"} <= set(case) for case in each["evidence"])
        assert 0 <= each["seconds"] < 60
        assert "variants" not in each


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["vs_loss.initial_weigh*"], {key for key in load() if key.startswith(QUICK)}),
        (["*.initial_weight"], {QUICK}),
        (["vs_loss.initial_weigh?", QUICK], {QUICK}),
    ],
)
def test_verify_takes_ids_and_globs(patterns, expected):
    ids = [each["id"] for each in json.loads(run("verify", *patterns, "--json").out)]
    assert len(ids) == len(set(ids))
    assert set(ids) == expected


@pytest.mark.parametrize(
    ("pattern", "near"),
    [
        ("ldm", "did you mean ldam"),
        ("ldam.binary_splt", "ldam.binary_split"),
        ("vs_los.initial_weight", QUICK),
        ("ldam.nothing_*", "ldam."),
        ("", "known: "),
        ("a\nb", "known: "),
    ],
)
def test_verify_of_an_unknown_claim_suggests_the_nearest(pattern, near):
    assert_rejected(run("verify", pattern), "no claim matches", near)
    assert_rejected(run("verify", QUICK, pattern), "no claim matches", near)


def test_verify_falsify_prints_every_variant():
    done = run("verify", QUICK, "--falsify")
    assert (done.code, done.err) == (0, "")
    wrong = load()[QUICK].wrong
    assert all(name in done.text for name in wrong)
    assert done.out.count("refuted") == len(wrong)
    assert f"{len(wrong)} variants, none survived" in done.out
    (decision,) = json.loads(run("verify", QUICK, "--falsify", "--json").out)
    assert [each["variant"] for each in decision["variants"]] == list(wrong)
    assert all(each["verdict"] == "refuted" and each["as_it_must"] and each["figure"] for each in decision["variants"])


def sides_that_differ(**_):
    """A check whose sides differ."""
    return 1, 2


@pytest.fixture
def false_claim(monkeypatch):
    monkeypatch.setitem(REGISTRY, QUICK, replace(load()[QUICK], check=sides_that_differ, cases=({},), wrong={"w": {}}))


@pytest.fixture
def surviving_variant(monkeypatch):
    monkeypatch.setitem(REGISTRY, QUICK, replace(load()[QUICK], wrong={"no change at all": {}}))


@pytest.mark.usefixtures("false_claim")
def test_verify_exits_1_when_a_claim_that_should_hold_is_refuted():
    done = run("verify", QUICK)
    assert done.code == 1
    assert done.err == f"not as expected: {QUICK}\n"
    assert "unexpected" in done.out
    done = run("verify", QUICK, "--json")
    assert done.code == 1
    (decision,) = json.loads(done.out)
    assert (decision["verdict"], decision["expected"], decision["as_expected"]) == ("refuted", "holds", False)


def test_verify_exits_1_when_a_claim_that_should_fail_holds(monkeypatch):
    claim = replace(load()[QUICK], expected="fails", right={}, corrected_by="vs_loss.la_consistency")
    monkeypatch.setitem(REGISTRY, QUICK, claim)
    done = run("verify", QUICK)
    assert done.code == 1
    assert done.err == f"not as expected: {QUICK}\n"


def test_verify_exits_1_when_a_claim_is_unsettled(monkeypatch):
    def undecided():
        """A check that cannot decide."""
        raise ArithmeticError("the enclosure is too wide")

    monkeypatch.setitem(REGISTRY, QUICK, replace(load()[QUICK], check=undecided, cases=({},), wrong={"w": {}}))
    done = run("verify", QUICK)
    assert done.code == 1
    assert "1 unsettled" in done.out
    assert "the enclosure is too wide" in done.text


@pytest.mark.usefixtures("surviving_variant")
def test_verify_falsify_exits_1_when_a_wrong_variant_survives():
    assert run("verify", QUICK).code == 0
    done = run("verify", QUICK, "--falsify")
    assert done.code == 1
    assert done.err == f"wrong variant survived: {QUICK} [no change at all] proved\n"
    assert "1 variants, 1 survived" in done.out
    done = run("verify", QUICK, "--falsify", "--json")
    assert done.code == 1
    assert json.loads(done.out)[0]["variants"][0]["as_it_must"] is False


# explain


def test_explain_shows_the_derivation():
    done = run("explain", "ldam.binary_split")
    assert (done.code, done.err) == (0, "")
    claim = load()["ldam.binary_split"]
    for part in (claim.id, claim.statement, claim.formula, claim.source, *claim.assumptions, *claim.wrong):
        assert " ".join(part.split()) in done.text
    assert "proved" in done.text
    assert " 1. " in done.out
    assert " 2. " in done.out
    assert done.out.count("wrong variant") == len(claim.wrong)
    assert "must not be" not in done.out


def test_explain_shows_both_sides_of_every_case():
    claim = load()["ldam.margin_values"]
    done = run("explain", claim.id)
    assert (done.code, done.err) == (0, "")
    assert done.out.count("  computed  ") == done.out.count("  stated    ") == len(claim.cases)
    assert all(name in done.text for name in claim.wrong)


def test_explain_shows_the_correction_of_a_claim_that_fails():
    claim = load()["ldam.bias_shift_as_printed"]
    done = run("explain", claim.id)
    assert (done.code, done.err) == (0, "")
    assert "refuted (expected: fails)" in done.text
    assert f"Corrected by: {claim.corrected_by}" in done.text
    assert "correction 'right': confirmed" in done.text or "correction 'right': proved" in done.text


@pytest.mark.usefixtures("surviving_variant")
def test_explain_marks_a_variant_that_must_not_hold():
    assert "(must not be)" in run("explain", QUICK).text


@pytest.mark.parametrize(
    ("several", "named"),
    [("ldam", "ldam.bias_shift"), ("ldam.bias_*", "ldam.bias_shift"), ("*", "alpha_loss.limits")],
)
def test_explain_takes_one_claim(several, named):
    assert_rejected(run("explain", several), f"one claim id, got '{several}'", named)


@pytest.mark.parametrize(
    ("unknown", "near"),
    [("ldam.binary_splt", "did you mean ldam.binary_split"), ("ldm", "did you mean ldam"), ("", "")],
)
def test_explain_of_an_unknown_claim_suggests_the_nearest(unknown, near):
    assert_rejected(run("explain", unknown), f"'{unknown}'", near)
