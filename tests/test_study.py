"""A draw depends on study, case and repetition alone; it is the same here, in processes and on a Dask cluster."""

import json
import math
import sys
import threading
import time
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
import tailbound.sims
from hypothesis import given
from hypothesis import strategies as st
from tailbound.sims.core.run import Counts, DrawError, _executor, dask_cluster, run
from tailbound.sims.core.store import Store
from tailbound.sims.core.study import Study, agreement, canonical, cases, select
from tailbound.theory.core.errors import InputError


def make_draw(breaks_at=None):
    """A draw that is sent to workers by value, since they cannot import this file."""

    def draw(rng, *, size, scale):
        import numpy as np

        if size == breaks_at:
            raise ZeroDivisionError("no inverse\nof zero")
        X = scale * rng.standard_normal((size, size))
        values = np.linalg.svd(X @ X.T, compute_uv=False)  # in the last digits, BLAS depends on its number of threads
        return [
            {"method": name, "value": values[k], "sums": X.sum(axis=0)} for k, name in enumerate(("first", "second"))
        ]

    return draw


def matrices(breaks_at=None, **changes):
    grid = cases(size=[5, 60], scale=[1.0, 0.1])
    return Study("toy.matrices", make_draw(breaks_at), **{"cases": grid, "repetitions": 3, **changes})


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "results.sqlite") as opened:
        yield opened


def stored_rows(study, path, **options):
    with Store(path) as opened:
        assert run(study, opened, **options) == Counts(len(study.cases) * study.repetitions, 12)
        return opened.draws(study)


# The seed


def test_generator_is_that_of_the_stated_scheme():
    def draw(rng, **case):
        return {"value": rng.random(), "kind": type(rng.bit_generator).__name__}

    study = Study("toy.seed", draw, cases=({"scale": 0.1, "means": (1, 2)},), repetitions=3)
    for repetition in range(3):
        text = f'["toy.seed",{{"means":[1,2],"scale":0.1}},{repetition}]'
        entropy = int.from_bytes(sha256(text.encode()).digest()[:16], "big")
        expected = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy))).random()
        assert study.draw_rows(study.cases[0], repetition) == [{"value": expected, "kind": "PCG64"}]


def test_draws_differ_by_study_case_and_repetition_and_not_by_version():
    def draw(rng, *, a):
        return {"value": rng.random()}

    def value(name="toy.one", a=1, repetition=0, version=1):
        study = Study(name, draw, cases=({"a": a},), version=version)
        return study.draw_rows({"a": a}, repetition)[0]["value"]

    assert value() == value(version=2)
    assert len({value(), value("toy.two"), value(a=2), value(repetition=1), value(a=(1,)), value(a="1")}) == 6


def test_case_reaches_the_draw_in_one_form():
    seen = []

    def draw(rng, **case):
        seen.append(case)
        return {"value": 1}

    study = Study(
        "toy.forms", draw, cases=({"n": np.int64(3), "x": np.float64(0.1), "v": np.array([1.0, 2.0]), "o": None},)
    )
    study.draw_rows(study.cases[0], 0)
    study.draw_rows({"n": 3, "x": 0.1, "v": [1.0, 2.0], "o": None}, 0)
    assert seen[0] == seen[1] == {"n": 3, "x": 0.1, "v": (1.0, 2.0), "o": None}
    assert [type(value) for value in seen[0].values()] == [int, type(None), tuple, float]  # in the order of the names


@given(
    st.dictionaries(st.text(max_size=5), st.one_of(st.floats(allow_nan=False), st.integers(), st.text(), st.booleans()))
)
def test_canonical_case_restores_every_value(case):
    text = canonical(case)
    restored = json.loads(text)
    assert restored == case
    assert canonical(dict(reversed(case.items()))) == canonical(restored) == text


# What a study must be


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"name": "matrices"}, ["'slug.name'", "'matrices'"]),
        ({"name": "toy.a b"}, ["'slug.name'", "'toy.a b'"]),
        ({"name": "toy.*"}, ["'slug.name'", "'toy.*'"]),
        ({"cases": ()}, ["toy.matrices", "cases", "none"]),
        ({"cases": cases(size=[5, 5], scale=[1.0])}, ["cases", "differ", '"size":5']),
        ({"cases": ({"size": object()},)}, ["size", "object"]),
        ({"repetitions": 0}, ["repetitions must be >= 1, got 0"]),
        ({"until": {"value": 0.0}, "max_repetitions": 9}, ["until", "> 0", "0.0"]),
        ({"until": {"value": 0.1}}, ["max_repetitions must be >= repetitions = 3", "got 0"]),
    ],
)
def test_malformed_study_is_refused(changes, parts):
    given_values = {
        "name": "toy.matrices",
        "draw": make_draw(),
        "cases": cases(size=[5], scale=[1.0]),
        "repetitions": 3,
    }
    with pytest.raises(InputError) as caught:
        Study(**(given_values | changes))
    assert all(part in str(caught.value) for part in parts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("drawn", "part"),
    [
        ([], "must return a row"),
        ({}, "must return a row"),
        (3.0, "not iterable"),
        ([3.0], "must return a row"),
        ({"value": None}, "value must be a number"),
        ({"value": 1j}, "value must be a number"),
        ({"value": [[1], [1, 2]]}, "value must be a number"),
        ({"value": [None]}, "value must be a number"),
        ({"a": 1}, "must not be named"),
        ({"repetition": 1}, "must not be named"),
        ({3: 1}, "must not be named"),
    ],
)
def test_malformed_draw_is_refused(drawn, part):
    study = Study("toy.malformed", lambda rng, a: drawn, cases=({"a": 1},))
    with pytest.raises((InputError, TypeError), match=part):
        study.draw_rows({"a": 1}, 0)


def test_tiny_version_draws_rows_of_the_full_one():
    study = matrices(repetitions=7, until={"value": 0.1}, max_repetitions=100, quick={"size": 2})
    tiny = study.tiny()
    assert (tiny.cases, tiny.repetitions, dict(tiny.until)) == (({"size": 2, "scale": 1.0},), 2, {})
    plain = matrices().tiny()
    assert plain.draw_rows(plain.cases[0], 1) == matrices().draw_rows(matrices().cases[0], 1)


# Running


def test_processes_and_dask_cluster_draw_the_same_bits(tmp_path):
    from distributed import LocalCluster

    study = matrices()
    here = stored_rows(study, tmp_path / "here.sqlite")
    assert here[study.case_texts[0]][2] == study.draw_rows(study.cases[0], 2)
    assert stored_rows(study, tmp_path / "processes.sqlite", jobs=2) == here
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, protocol="tcp", host="127.0.0.1", dashboard_address=None
        ) as cluster,
        dask_cluster(cluster.scheduler_address) as (executor, threads),
    ):
        assert cluster.scheduler_address.startswith("tcp://")
        assert threads == 2
        assert stored_rows(study, tmp_path / "dask.sqlite", jobs=threads, backend=executor) == here


def test_results_do_not_depend_on_the_order_or_the_other_cases(store, tmp_path):
    study = matrices()
    run(study, store)
    (alone,) = [case for case in study.cases if case == {"size": 5, "scale": 0.1}]
    with Store(tmp_path / "other.sqlite") as other:
        run(matrices(cases=({"scale": 0.1, "size": 5},)), other)
        rows = other.rows(matrices(cases=(alone,)))
    full = store.rows(study)
    pd.testing.assert_frame_equal(rows, full[(full["size"] == 5) & (full["scale"] == 0.1)].reset_index(drop=True))


def test_run_draws_only_what_is_missing(store):
    study = matrices()
    assert run(study.with_repetitions(1), store) == Counts(4, 4)
    assert run(study, store) == Counts(12, 8)
    assert run(study, store) == Counts(12, 0)
    assert run(matrices(version=2), store) == Counts(12, 12)


def test_progress_counts_up_to_the_whole(store):
    seen = []
    run(matrices().with_repetitions(1), store)
    run(matrices(), store, progress=lambda done, total: seen.append((done, total)))
    assert seen[0] == (4, 12)
    assert seen[-1] == (12, 12)
    assert seen == sorted(seen)


@pytest.mark.parametrize("jobs", [1, 2])
def test_failing_draw_is_named_and_the_finished_ones_stay(store, jobs):
    study = matrices(breaks_at=60)
    with pytest.raises(DrawError) as caught:
        run(study, store, jobs=jobs)
    message = str(caught.value)
    assert "study 'toy.matrices' failed in case {\"scale\":" in message
    assert '"size":60}, repetition ' in message
    assert "ZeroDivisionError: no inverse of zero" in message
    assert "test_study.py:" in message
    assert "\n" not in message
    finished = store.draws(study)
    assert not any(drawn for case, drawn in finished.items() if '"size":60' in case)
    assert run(matrices(), store).new == 12 - sum(map(len, finished.values()))
    assert store.draws(matrices()) == {
        case: {r: matrices().draw_rows(values, r) for r in range(3)}
        for case, values in zip(matrices().case_texts, matrices().cases, strict=True)
    }


def test_lost_worker_is_one_line_and_the_store_goes_on(store):
    def draw(rng, *, a):
        import os

        os._exit(1)

    with pytest.raises(
        DrawError, match=r"^study 'toy\.lost' cannot go on: TerminatedWorkerError: .* goes on from there$"
    ):
        run(Study("toy.lost", draw, cases=({"a": 1},)), store, jobs=2)
    assert run(matrices(), store, jobs=2) == Counts(12, 12)


def test_interrupt_after_a_submission_leaves_no_failing_thread():
    """To pytest an exception in a thread is an error. The switch interval keeps loky's manager idle until the kill."""

    def interrupt():
        with _executor(2) as executor:
            assert executor.submit(int).result() == 0
            sys.setswitchinterval(0.5)
            executor.submit(time.sleep, 60)
            raise KeyboardInterrupt

    interval = sys.getswitchinterval()
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense://x", "", "tcp://host:port"])
def test_absent_dask_scheduler_is_one_line(address, monkeypatch):
    monkeypatch.setattr("tailbound.sims.core.run._PATIENCE", 1)
    before = set(threading.enumerate())
    with pytest.raises(InputError, match="no Dask scheduler answers at") as caught, dask_cluster(address):
        pass
    assert "\n" not in str(caught.value)
    assert set(threading.enumerate()) <= before


def test_missing_dask_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"install 'tailbound\[dask\]'"), dask_cluster("tcp://127.0.0.1:1"):
        pass


# Repetitions that grow until the standard error is reached


def growing(draw, **changes):
    grid = cases(scale=[0.01, 1.0])
    settings = {"repetitions": 6, "until": {"value": 0.2}, "max_repetitions": 1000}
    return Study("toy.growing", draw, grid, **(settings | changes))


def draw_normal(rng, *, scale):
    return {"value": scale * rng.standard_normal(), "other": 100 * rng.random()}


def test_repetitions_double_until_the_standard_error_is_reached(store):
    study = growing(draw_normal)
    counts = run(study, store)
    assert run(study, store) == Counts(counts.done, 0)
    rows = store.rows(study)
    small, large = (rows.value[rows["scale"] == scale].to_numpy() for scale in (0.01, 1.0))
    assert len(small) == 6
    assert len(large) in (12, 24, 48, 96)  # 0.2 needs about 25
    assert large.std(ddof=1) / math.sqrt(len(large)) <= 0.2
    half = large[: len(large) // 2]
    assert half.std(ddof=1) / math.sqrt(len(half)) > 0.2


def test_growth_that_is_interrupted_arrives_at_the_same(store, tmp_path):
    study = growing(draw_normal, until={"value": 0.1})
    run(study, store)
    with Store(tmp_path / "other.sqlite") as other:
        run(study.with_repetitions(5), other)
        run(study, other)
        assert {text: list(drawn) for text, drawn in other.draws(study).items()} == {
            text: list(range(max(len(drawn), 5))) for text, drawn in store.draws(study).items()
        }
        assert other.outstanding(study)[1] == []


def test_growth_ends_at_its_bound(store):
    assert run(growing(draw_normal, until={"value": 1e-9}, max_repetitions=20), store) == Counts(40, 40)


def test_every_row_of_the_draw_must_reach_the_standard_error(store):
    def draw(rng, *, scale):
        yield {"value": scale * rng.standard_normal()}
        yield {"value": 0.2 * rng.standard_normal()}

    study = growing(draw, until={"value": 0.05})
    run(study, store)
    first, second = (
        np.array([rows[number]["value"] for rows in store.draws(study)[study.case_texts[0]].values()])
        for number in (0, 1)
    )
    assert len(second) in (12, 24, 48)  # the second row needs about 16, the first less than 6
    assert first[:6].std(ddof=1) / math.sqrt(6) < 0.05
    assert second.std(ddof=1) / math.sqrt(len(second)) <= 0.05


def test_nan_does_not_keep_the_repetitions_growing(store):
    def draw(rng, *, scale):
        return {"value": rng.random() if rng.random() < 0.5 else math.nan}

    done = run(growing(draw, until={"value": 0.1}, repetitions=16), store).done
    assert done in (32, 48, 64)  # the deviation is 0.29, so that 8 numbers of 16 suffice


@pytest.mark.parametrize("column", ["vlaue", "label"])
def test_growth_by_a_column_without_numbers_is_one_line(store, column):
    def draw(rng, *, scale):
        return {"value": 1.0, "label": "x"}

    with pytest.raises(InputError, match=f"must name a column of numbers, got '{column}' .*; known: value, label$"):
        run(growing(draw, until={column: 0.1}), store)


# Finding studies

TOY = """
from tailbound.sims.core.study import Study
def draw(rng, *, a):
    return {"value": rng.random() + a}
FIRST = Study("toy.first", draw, cases=({"a": 1},))
SECOND = Study("toy.second", draw, cases=({"a": 1},))
FOREIGN = Study("other.third", draw, cases=({"a": 1},))
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.setattr(tailbound.sims, "__path__", [*tailbound.sims.__path__, str(tmp_path)])
    monkeypatch.setattr(tailbound.sims.__spec__, "submodule_search_locations", tailbound.sims.__path__)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("tailbound.sims.toy")]:
        del sys.modules[name]


def test_studies_are_found_by_name(toy):
    (toy / "toy.py").write_text(TOY, encoding="utf-8")
    assert [study.name for study in select("toy")] == ["toy.first", "toy.second"]
    assert [study.name for study in select("toy.second", "toy.*")] == ["toy.second", "toy.first"]
    assert {"toy.first", "toy.second"} <= {study.name for study in select()}
    assert "other.third" not in {study.name for study in select()}
    for pattern, near in (("toy.fist", "toy.first"), ("tyo", "toy"), ("toy.x*", "toy.")):
        with pytest.raises(InputError, match=f"no study matches .*{near}"):
            select(pattern)


def test_studies_of_a_package_are_found_in_its_modules(toy):
    (toy / "toy").mkdir()
    (toy / "toy" / "__init__.py").write_text("from .part import FIRST", encoding="utf-8")
    (toy / "toy" / "part.py").write_text(TOY, encoding="utf-8")
    assert [study.name for study in select("toy")] == ["toy.first", "toy.second"]


def test_two_studies_of_one_name_are_an_error(toy):
    (toy / "toy.py").write_text(TOY.replace("toy.second", "toy.first"), encoding="utf-8")
    with pytest.raises(ValueError, match=r"two studies are named 'toy\.first'"):
        select("toy")


def test_module_that_needs_torch_is_left_out_where_torch_is_missing(toy):
    (toy / "toy.py").write_text("raise ModuleNotFoundError(name='torch')", encoding="utf-8")
    with pytest.raises(InputError, match="no study matches 'toy'"):
        select("toy")
    (toy / "toy.py").write_text("raise ModuleNotFoundError(name='nmpy')", encoding="utf-8")
    with pytest.raises(ModuleNotFoundError):
        select("toy")


@pytest.mark.parametrize("study", select(), ids=lambda study: study.name)
def test_every_study_of_the_package_draws_its_tiny_version(study, store):
    tiny = study.tiny()
    assert run(tiny, store) == Counts(2, 2)
    rows = store.rows(tiny)
    assert len(rows) >= 2
    assert not rows.drop(columns=list(tiny.cases[0])).empty


# Agreement with the theory


@pytest.mark.parametrize("theory", [-1.0, 0.0, 0.3])
def test_agreement_is_four_standard_errors_and_the_allowance(theory):
    values = np.array([0.1, 0.2, 0.4, 0.5])
    mean, error = 0.3, np.sqrt(((values - 0.3) ** 2).sum() / 3 / 4)
    found = agreement(pd.DataFrame({"x": values}), theory, "x", allowance=0.05)
    assert (found.mean, found.standard_error) == pytest.approx((mean, error))
    assert found.deviation == pytest.approx((mean - theory) / error)
    assert found.holds == (abs(mean - theory) <= 4 * error + 0.05)
    edge = mean + 4 * error + 0.05
    assert agreement(pd.DataFrame({"x": values}), edge - 1e-9, "x", 0.05).holds
    assert not agreement(pd.DataFrame({"x": values}), edge + 1e-9, "x", 0.05).holds


def test_agreement_refutes_a_constant_that_is_off():
    found = agreement(pd.DataFrame({"x": [1.0, 1.0]}), 1.1, "x")
    assert (found.holds, found.deviation) == (False, -math.inf)
    assert agreement(pd.DataFrame({"x": [1.0, 1.0]}), 1.0, "x").holds


@pytest.mark.parametrize(
    ("values", "theory", "allowance"),
    [
        ([1.0], 1.0, 0.0),
        ([1.0, math.nan], 1.0, 0.0),
        ([1.0, 2.0], math.nan, 0.0),
        ([1.0, 2.0], 1.0, -1.0),
        ([], 1.0, 0.0),
    ],
)
def test_agreement_of_nothing_is_an_error(values, theory, allowance):
    with pytest.raises(InputError, match="agreement needs"):
        agreement(pd.DataFrame({"x": values}), theory, "x", allowance)
