"""Claims about networks rest on records: on all that the index lists, and on nothing when one is lost or changed."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from tailbound.nn_validation import results_table
from tailbound.nn_validation.core import checks, evidence
from tailbound.nn_validation.core.evidence import (
    DIGITS,
    MissingRecords,
    RunSet,
    fitted_line,
    interval,
    paired,
    run_set,
    set_names,
    sets_with,
    table_files,
    terminal_sets,
)
from tailbound.nn_validation.core.realised import (
    EXPONENTS,
    best_exponent,
    collapsed_margins,
    exponent_method,
    imposed_margins,
    log_margin_slope,
    margin_shift,
)
from tailbound.nn_validation.core.tables import read_table
from tailbound.nn_validation.vs_loss import network_features
from tailbound.nn_validation.vs_loss.network_features import feature_rows, network_rows
from tailbound.theory import claims
from tailbound.theory.core import claims as vocabulary
from tailbound.theory.core.claims import Kind, Relation, Verdict, decide
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.errors import InputError

NETWORK = [claim for claim in claims.load().values() if claim.kind is Kind.NETWORK]


def forget():
    """What another process would not know."""
    evidence._index.cache_clear()
    evidence._load.cache_clear()


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the committed records, which may be damaged."""
    folder = tmp_path / "trained"
    shutil.copytree(evidence.COMMITTED / DIGITS, folder / DIGITS, ignore=shutil.ignore_patterns("*.pt"))
    monkeypatch.setattr(evidence, "COMMITTED", folder)
    monkeypatch.setattr(evidence, "INDEX", tmp_path / "trained.index.json")
    evidence.INDEX.write_text(evidence.index_text(folder))
    yield folder
    forget()


def made(margins, errors=None, counts=(100, 30, 10)) -> RunSet:
    """Records in memory: method → margins of each seed, shape (S, K)."""
    by_method = {
        method: [
            {
                "counts": list(counts),
                "last": {
                    "train": {"margins": {"quantiles": [0.0, 0.5], "values": [[m - 0.1, m] for m in row]}},
                    "test": {"balanced_error": errors[method][k] if errors else 0.5},
                },
            }
            for k, row in enumerate(rows)
        ]
        for method, rows in margins.items()
    }
    return RunSet("made/up/set", {method: list(range(len(rows))) for method, rows in margins.items()}, by_method)


# the evidence


def test_every_claim_names_its_records_and_has_a_set_of_its_own():
    assert len(NETWORK) >= 10
    for claim in NETWORK:
        decision = decide(claim)
        assert decision.as_expected, decision.figure
        assert claim.id.endswith(tuple(f"_{checks.slug(folder)}" for folder in set_names()))
        assert "seed" in decision.deciding.note or "networks" in decision.deciding.note, claim.id


def test_what_records_leave_open_is_open_and_no_claim():
    assert checks.UNDECIDED
    for name, claim in checks.UNDECIDED.items():
        assert name not in vocabulary.REGISTRY
        decision = decide(claim)
        assert decision.verdict is Verdict.UNSETTLED, f"{name} is decided now: take it out of `undecided`"
        assert f"`{name}`" in results_table.render()


def test_the_index_lists_whole_records_and_all_digits():
    from tailbound.nn_validation.methods import METHODS

    assert all(run_set(name).by_method for name in set_names())
    seeds = run_set(DIGITS).seeds
    missing = {*METHODS, *map(exponent_method, EXPONENTS)} - set(seeds)
    assert not missing, (
        f"{missing}: tailbound train them with seeds 0 to 4, keep the records, renew the table of results"
    )
    assert min(map(len, seeds.values())) >= 5
    terminal = terminal_sets("ce", "la", "cdt:gamma=0.1", "cdt:gamma=0.2", "cdt:gamma=0.4", seeds=3)
    assert list(terminal["digits/long-tailed-20"]) == [25, 50, 100, 200]
    assert len(table_files("features")[DIGITS]) == 5
    sizes = [path.stat().st_size for path in evidence.COMMITTED.rglob("*.json")]
    assert max(sizes) < 60_000
    assert sum(sizes) < 8_000_000  # all of them are in the wheel


def test_a_lost_or_changed_record_leaves_the_claim_unsettled(copy):
    claim = next(each for each in NETWORK if each.id == "vs_loss.network_start_digits")
    assert decide(claim).verdict.holds
    path = copy / DIGITS / "la-seed0.json"
    whole = path.read_text()
    path.write_text(whole.replace('"seed":0', '"seed":0 ', 1))
    forget()
    assert decide(claim).verdict is Verdict.UNSETTLED
    path.write_text(whole)
    assert decide(claim).verdict.holds
    path.unlink()
    forget()
    decision = decide(claim)
    assert decision.verdict is Verdict.UNSETTLED
    assert not decision.as_expected
    assert "not those of the index" in decision.figure


def test_a_smaller_index_leaves_the_claim_unsettled(copy):
    claim = next(each for each in NETWORK if each.id == "vs_loss.network_start_digits")
    for path in (copy / DIGITS).glob("la-seed*.json"):
        path.unlink()
    evidence.INDEX.write_text(evidence.index_text(copy))
    forget()
    assert decide(claim).verdict is Verdict.UNSETTLED
    assert DIGITS not in sets_with("ce", "la")
    assert DIGITS in sets_with("ce", "cdt")


def test_a_record_beside_the_index_does_not_count(copy):
    before = run_set(DIGITS).seeds
    shutil.copy(copy / DIGITS / "ce-seed0.json", copy / DIGITS / "ce-seed77.json")
    assert run_set(DIGITS).seeds == before


def test_what_is_missing_is_told(copy):
    with pytest.raises(MissingRecords, match="no records of 'nowhere/at/all'"):
        run_set("nowhere/at/all")
    with pytest.raises(MissingRecords, match="no record of 'ldma'"):
        run_set(DIGITS).records("ldma")
    with pytest.raises(MissingRecords, match="share 0 seeds"):
        run_set(DIGITS).common_seeds("ce", "ldma")
    with pytest.raises(MissingRecords, match=r"no record of seeds \[99\]"):
        run_set(DIGITS).error("ce", seeds=[0, 99])
    evidence.INDEX.unlink()
    evidence._index.cache_clear()
    with pytest.raises(MissingRecords, match="is missing; run: python -m"):
        run_set(DIGITS)
    evidence.INDEX.write_text("{")
    with pytest.raises(InputError, match="is no index"):
        run_set(DIGITS)


def test_a_claim_for_each_set_with_its_own_verdict(monkeypatch):
    monkeypatch.setattr(vocabulary, "REGISTRY", {})

    @checks.on_sets(
        "test.sets",
        [DIGITS, evidence.CIFAR, DIGITS],
        cases=[{"shift": 0.0}, {"shift": 1.0}],
        fails={"cifar_10": {"right": {"shift": -2.0}, "corrected_by": "test.other"}},
        source="s",
        formula="f",
        relation=Relation.AT_MOST,
        wrong={"more": {"shift": 9.0}},
    )
    def check(folder, shift):
        """Statement."""
        return shift + (1.0 if folder.startswith("cifar") else -1.0), 0.0

    found = vocabulary.REGISTRY
    assert list(found) == ["test.sets_digits", "test.sets_cifar_10"]
    assert [decide(each).verdict for each in found.values()] == [Verdict.CONFIRMED, Verdict.REFUTED]
    assert all(decide(each).as_expected for each in found.values())
    assert decide(found["test.sets_cifar_10"], variant="right").verdict.holds


def test_claims_need_no_torch():
    code = (
        "import sys; from tailbound.theory import claims\n"
        "found = claims.verify('vs_loss.network_start_digits', 'vs_loss.network_auto_ratio_digits')\n"
        "print(*(each.verdict for each in found), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("confirmed confirmed False", "")


# the statistics


def test_intervals_and_lines_are_those_of_scipy():
    rng = np.random.default_rng(1)
    values = rng.normal(1, 2, 6)
    low, high = stats.t.interval(0.95, 5, values.mean(), stats.sem(values))
    found = interval(values)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))
    with pytest.raises(MissingRecords, match="at least two seeds"):
        interval(np.array([1.0]))
    x, y = rng.normal(size=8), rng.normal(size=8)
    line, fit = stats.linregress(x, y), fitted_line(x, y)
    assert (fit.slope, fit.intercept) == pytest.approx((line.slope, line.intercept))
    assert fit.half_width == pytest.approx(stats.t.ppf(0.975, 6) * line.stderr)
    assert fit.share == pytest.approx(line.rvalue**2)
    with pytest.raises(ArithmeticError, match="not all of them are finite"):
        fitted_line(x, np.where(y > 0, y, np.nan))


def test_paired_differences_use_common_seeds():
    runs = made({"ce": np.ones((3, 3)), "la": np.ones((2, 3))}, {"ce": [0.5, 0.7, 9.0], "la": [0.4, 0.5]})
    found = paired(runs, "la", "ce")
    assert (found.mean, found.number) == (pytest.approx(-0.15), 2)
    assert found.half_width == pytest.approx(stats.t.ppf(0.975, 1) * 0.05)
    assert runs.evidence("ce", "la") == "records made/up/set: ce-seed0,1; la-seed0,1"
    assert runs.evidence("ce") == "records made/up/set: ce-seed0,1,2"


def test_fitted_exponents_are_the_ones_put_in():
    counts = np.array([100.0, 30.0, 10.0])
    hard = np.array([1.0, 0.7, 1.2])  # difficulty of a class
    runs = made({"ce": np.outer([1.0, 1.1], hard), "cdt": np.outer([2.0, 2.2], hard * counts**-0.4)})
    assert log_margin_slope(runs, "cdt", over="ce").slope == pytest.approx(-0.4)
    assert log_margin_slope(runs, "cdt", over="ce").half_width == pytest.approx(0, abs=1e-9)
    assert log_margin_slope(runs, "cdt").half_width > 0.1
    with pytest.raises(ArithmeticError, match="not positive"):
        log_margin_slope(made({"ce": np.array([[1.0, -0.1, 1.0]] * 2)}), "ce")


@pytest.mark.parametrize("slope", [1.0, 0.3])
def test_margin_shift_is_the_one_put_in(slope):
    equal = made({"ldam:exponent=0": np.ones((2, 3))})
    wanted = slope * imposed_margins(equal, "ldam") + [[0.2], [0.3]]
    found = margin_shift(made({"ldam:exponent=0": np.ones((2, 3)), "ldam": wanted}), "ldam")
    assert found.fit.slope == pytest.approx(slope)
    assert found.imposed[-1] == 0  # the rarest class has the largest margin at any exponent


def test_best_exponent_finds_the_least_of_a_parabola():
    rng = np.random.default_rng(0)
    methods = {e: exponent_method(e) for e in EXPONENTS}
    for noise, widest in ((1e-6, 1e-3), (0.05, 2.0)):
        errors = {m: (0.2 + 0.3 * (e - 0.4) ** 2 + noise * rng.normal(size=3)).tolist() for e, m in methods.items()}
        found = best_exponent(made({m: np.ones((3, 3)) for m in methods.values()}, errors))
        assert found.low <= found.least <= found.high
        assert found.low - 5e-3 <= 0.4 <= found.high + 5e-3
        assert found.high - found.low <= widest + 5e-3
    with pytest.raises(MissingRecords, match="a parabola needs 4"):
        best_exponent(made({"ldam": np.ones((2, 3))}))


@pytest.mark.parametrize("gamma", [0.0, 0.2, 1.0])
def test_collapsed_margins_closed_form(gamma):
    counts = ClassCounts((100, 40, 12, 5))
    a = (counts.array / counts.array.max()) ** -gamma
    rival = np.array([np.delete(a, k).min() for k in range(4)])
    assert collapsed_margins(counts, gamma) == pytest.approx(a * (1 - a * (a - rival) / (a @ a)))


# features


def mixture(rng, counts, dimension=60, signal=1.7):
    labels = np.repeat(np.arange(len(counts)), counts)
    return rng.standard_normal((len(labels), dimension)) + signal * np.sqrt(2) * np.eye(len(counts), dimension)[
        labels
    ], labels


def test_predictions_hold_on_a_mixture_and_errors_are_counted():
    rng = np.random.default_rng(3)
    (x, y), (tx, ty), fresh = (mixture(rng, counts) for counts in ((80, 25), (4000, 4000), (500, 500)))
    rows = {row["rule"]: row for row in feature_rows(x, y, tx, ty, fresh)}
    balanced = {rule: (row["error_plus"] + row["error_minus"]) / 2 for rule, row in rows.items()}
    assert balanced["best"] == min(balanced.values())
    assert (rows["svm"]["num_plus"], rows["svm"]["num_minus"]) == (25, 80)
    assert rows["svm"]["error_plus"] > rows["ldam"]["error_plus"] > rows["1/n"]["error_plus"]
    for rule in ("svm", "ldam"):
        for sign in ("plus", "minus"):
            assert rows[rule][f"fresh_{sign}"] == pytest.approx(rows[rule][f"error_{sign}"], abs=0.03)
            assert rows[rule][f"mixture_{sign}"] == pytest.approx(rows[rule][f"error_{sign}"], abs=0.12)
            assert rows[rule][f"left_out_{sign}"] == pytest.approx(rows[rule][f"error_{sign}"], abs=0.12)
    assert feature_rows(np.vstack([x, x[:1]]), np.append(y, 1 - y[0]), tx, ty) == []  # not separable


def test_pairs_and_splits():
    rng = np.random.default_rng(4)
    counts = (40, 30, 12, 8)
    splits = {name: mixture(rng, n) for name, n in (("train", counts), ("validation", (20,) * 4), ("test", (50,) * 4))}
    frame = network_rows(splits, counts)
    assert set(zip(frame.rare, frame.frequent, strict=True)) == {(2, 0), (2, 1), (3, 0), (3, 1)}
    held = frame[frame.fitted_on == "held-out"]
    assert set(held.num_minus) == {20}
    assert set(held.num_plus) == {12, 8}
    assert held.fresh_plus.isna().all()


def test_features_of_a_trained_network(tmp_path, capsys):
    from tailbound.nn_validation.core.runs import Job, run_job

    changes = {"epochs": 4, "drops": (3,), "batch_size": 64}
    path, record, _ = run_job(
        Job("digits", "ce", "digits", changes, imbalance_ratio=10, out=str(tmp_path), keep_weights=True)
    )
    assert network_features.main([str(path), "--out", str(tmp_path / "features")]) == 0
    name = str(path.relative_to(tmp_path))
    assert capsys.readouterr().out.strip().endswith(name)
    frame = read_table(name, "features", tmp_path / "features")
    assert set(frame.fitted_on) == {"training", "held-out"}
    assert frame.error_plus.between(0, 1).all()
    path.write_text(json.dumps(record | {"data": record["data"] | {"indices": "0"}}))
    assert network_features.main([str(path), "--out", str(tmp_path / "features")]) == 1
    assert "other images than those of the record" in capsys.readouterr().err
    for content, message in (("{", "no whole table"), (None, "is missing; run")):
        stored = tmp_path / "features" / name
        stored.write_text(content) if content else stored.unlink()
        with pytest.raises(InputError, match=message):
            read_table(name, "features", tmp_path / "features")


# the table


def test_results_are_up_to_date():
    path = results_table.Path(results_table.__file__).parents[1] / "docs" / "results.md"
    assert path.read_text(encoding="utf-8") == results_table.render(), (
        "run: python -m tailbound.nn_validation.results_table"
    )


def test_the_table_holds_the_records_numbers_and_what_is_published():
    text, runs = results_table.render(), run_set(DIGITS)
    found = interval(100 * runs.error("ldam-drw"))
    (row,) = [
        line
        for line in text.split("## digits/long-tailed-20, protocol digits\n")[1].split("## ")[0].splitlines()
        if line.startswith("| `ldam-drw` |")
    ]
    assert f"| {len(runs.seeds['ldam-drw'])} | {found.mean:.2f} ± {found.half_width:.2f} |" in row
    published = results_table.PUBLISHED["cifar-10/long-tailed-100"]
    assert published["kini2021"]["ldam-drw"] == published["cao2019"]["ldam-drw"] == 22.97


def test_the_table_says_which_published_order_is_kept(monkeypatch):
    runs = run_set(DIGITS)
    low, middle, high = sorted(("ce", "la", "ldam-drw"), key=lambda name: runs.error(name).mean())
    published = {low: 20.0, high: 25.0, middle: 28.0, "never-trained": 1.0}
    monkeypatch.setattr(results_table, "PUBLISHED", {"digits/long-tailed-20": {"cao2019": published}})
    told = "Pairs of methods more than a point apart in Cao et al.: 3; in the same order here (last epoch, means): 2"
    assert f"{told}; turned round: `{high}` and `{middle}`.\n" in results_table.render()
    published[middle] = 25.9  # as good as equal to the highest
    told = "Pairs of methods more than a point apart in Cao et al.: 2; in the same order here (last epoch, means): 2.\n"
    assert told in results_table.render()


def test_published_numbers_stand_beside_ours(copy, monkeypatch):
    cifar = evidence.CIFAR
    shutil.copytree(copy / DIGITS, copy / cifar)
    for path in (copy / cifar).glob("*.json"):
        path.name.startswith(("ce-seed", "vs-seed")) or path.unlink()
    evidence.INDEX.write_text(evidence.index_text(copy))
    text = results_table.render()
    (row,) = [
        line for line in text.split(f"## {cifar.rpartition('/')[0]}")[1].splitlines() if line.startswith("| `ce` |")
    ]
    assert row.endswith("| 29.64 | 28.06 |")
    assert "Not trained yet on cifar-10/long-tailed-100" in text
    assert "vs," not in text.split("Not trained yet")[1]
