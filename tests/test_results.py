"""Results are exported whole or not at all; figures read the user's when complete, and else the committed ones."""

import json
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from helpers.studies import UNIFORM, draw_uniform, filled_store
from matplotlib.figure import Figure
from tailbound.paper_figs import core as figures_core
from tailbound.sims.core import results
from tailbound.sims.core.results import export, load_results
from tailbound.sims.core.run import run
from tailbound.sims.core.store import Store
from tailbound.sims.core.study import Study, cases
from tailbound.theory.core.errors import InputError


@pytest.fixture
def filled(tmp_path):
    return filled_store(tmp_path / "results.sqlite")


def test_export_is_parquet_with_a_header(filled, tmp_path):
    with Store(filled) as store:
        paths = export(UNIFORM, store, tmp_path / "new" / "folder", command="tailbound simulate toy")
        rows = store.rows(UNIFORM)
    assert [each.name for each in paths] == ["toy.uniform.parquet", "toy.uniform.json"]
    assert sorted(paths) == sorted((tmp_path / "new" / "folder").iterdir())
    header = json.loads(paths[1].read_text(encoding="utf-8"))
    assert header["study"] == "toy.uniform"
    assert header["version"] == 1
    assert header["cases"] == [{"means": list(case["means"]), "width": case["width"]} for case in UNIFORM.cases]
    assert (header["rows"], header["repetitions"]) == (12, 3)
    assert header["command"] == "tailbound simulate toy"
    assert header["digest"] == "sha256:" + sha256(paths[0].read_bytes()).hexdigest()
    assert header["packages"]["numpy"] == np.__version__
    assert {"seed", "machine", "date"} <= set(header)
    read = pd.read_parquet(paths[0])
    assert read["value"].tolist() == rows["value"].tolist()


def test_same_rows_export_to_the_same_bytes(filled, tmp_path):
    with Store(filled) as store, Store(tmp_path / "other.sqlite") as other:
        run(UNIFORM, other, jobs=2)
        first, _ = export(UNIFORM, store, tmp_path / "first")
        second, _ = export(UNIFORM, other, tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()


def test_incomplete_study_is_not_exported(filled, tmp_path):
    with (
        Store(filled) as store,
        pytest.raises(InputError, match=r"4 draws .* are missing; run: tailbound simulate toy\."),
    ):
        export(UNIFORM.with_repetitions(4), store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_column_of_mixed_kinds_is_named(tmp_path):
    study = Study("toy.mixed", lambda rng, a: {"value": a[0]}, cases(a=[(1,), ("x",)]))
    with Store(tmp_path / "mixed.sqlite") as store:
        run(study, store)
        with pytest.raises(
            InputError, match=r"column '(a|value)' of study 'toy\.mixed' cannot be exported: .*one kind"
        ):
            export(study, store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("written", [0, 1])
def test_full_disk_leaves_the_older_export(filled, tmp_path, monkeypatch, written):
    from pathlib import Path

    with Store(filled) as store:
        before = {each: each.read_bytes() for each in export(UNIFORM, store, tmp_path / "out")}
        write, calls = Path.write_bytes, []

        def fill(file, content):
            calls.append(file)
            if len(calls) > written:
                write(file, content[:10])
                raise OSError(28, "No space left on device", str(file))
            return write(file, content)

        monkeypatch.setattr(Path, "write_bytes", fill)
        with pytest.raises(
            InputError, match=r"results cannot be exported into .*: No space left on device; name a folder"
        ):
            export(UNIFORM, store, tmp_path / "out")
        monkeypatch.undo()
    assert {each: each.read_bytes() for each in (tmp_path / "out").iterdir()} == before


# What figures read


@pytest.fixture
def committed(filled, tmp_path, monkeypatch):
    """The folder of the committed results, with those of the study; no store of the user's."""
    with Store(filled) as store:
        export(UNIFORM, store, tmp_path / "committed")
    monkeypatch.setattr(results, "_COMMITTED", (tmp_path / "absent", tmp_path / "committed"))
    monkeypatch.setattr(results, "select", lambda name: [each for each in (UNIFORM, UNKNOWN) if each.name == name])
    monkeypatch.setenv("TAILBOUND_STORE", str(tmp_path / "mine.sqlite"))
    return tmp_path / "committed"


UNKNOWN = Study("toy.unknown", draw_uniform, cases=({"width": 1.0},))


def test_results_are_the_users_when_complete_and_else_the_committed_ones(committed, filled, tmp_path):
    with Store(filled) as store:
        expected = store.rows(UNIFORM)
    pd.testing.assert_frame_equal(load_results("toy.uniform"), expected)
    pd.testing.assert_frame_equal(load_results(UNIFORM), expected)
    with Store(tmp_path / "mine.sqlite") as mine:
        run(UNIFORM.with_repetitions(2), mine)
        assert len(load_results(UNIFORM)) == 12  # two repetitions are not the study
        run(UNIFORM.with_repetitions(5), mine)
        pd.testing.assert_frame_equal(load_results(UNIFORM), mine.rows(UNIFORM))
        assert len(load_results(UNIFORM)) == 20


@pytest.mark.usefixtures("committed")
def test_missing_result_names_the_command():
    message = r"^no stored result for study 'toy\.unknown'; run: tailbound simulate toy\.unknown$"
    for study in (UNKNOWN, "toy.unknown"):
        with pytest.raises(InputError, match=message):
            load_results(study)


@pytest.mark.parametrize("changes", [{"version": 2}, {"cases": UNIFORM.cases[:3]}])
def test_committed_result_of_another_version_or_cases_is_refused(committed, changes):
    arguments = {"name": "toy.uniform", "draw": draw_uniform, "cases": UNIFORM.cases, "repetitions": 3} | changes
    with pytest.raises(InputError, match=r"another version or other cases .*; run: tailbound simulate toy\.uniform"):
        load_results(Study(**arguments))


def test_committed_result_that_was_changed_is_refused(committed):
    file = committed / "toy.uniform.parquet"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"toy\.uniform\.parquet is not that of its header"):
        load_results(UNIFORM)


def test_damaged_store_of_the_user_is_reported(committed, tmp_path):
    (tmp_path / "mine.sqlite").write_bytes(b"garbage" * 1000)
    with pytest.raises(InputError, match=r"mine\.sqlite' is no results store"):
        load_results(UNIFORM)


def test_results_of_a_study_that_cannot_be_imported_are_the_committed_ones(committed, monkeypatch):
    def refuse(name):
        raise InputError(f"no study matches {name!r}")

    expected = load_results(UNIFORM)
    monkeypatch.setattr(results, "select", refuse)
    pd.testing.assert_frame_equal(load_results("toy.uniform"), expected)
    with pytest.raises(InputError, match=r"no study matches 'toy\.unknwon'"):
        load_results("toy.unknwon")


@pytest.fixture
def needing(monkeypatch):
    """A figure that needs a study."""
    monkeypatch.setattr(figures_core, "_FIGURES", {})
    monkeypatch.setattr(figures_core, "figures", lambda: figures_core._FIGURES)

    def register(*needs):
        @figures_core.figure("toy.values", needs=needs)
        def values(*frames):
            """Values."""
            return Figure(), pd.concat([frame[["width", "value"]] for frame in frames])

    return register


@pytest.mark.usefixtures("committed")
def test_figure_is_drawn_from_the_results_that_it_needs(needing, tmp_path):
    needing("toy.uniform", "toy.uniform")
    figures_core.draw(["toy"], tmp_path / "figures")
    table = pd.read_csv(tmp_path / "figures" / "toy-values.csv")
    assert table["value"].to_numpy() == pytest.approx(np.tile(load_results(UNIFORM)["value"], 2))


@pytest.mark.usefixtures("committed")
def test_figure_without_its_results_names_the_command(needing, tmp_path):
    needing("toy.uniform", "toy.unknown")
    with pytest.raises(InputError, match=r"run: tailbound simulate toy\.unknown$"):
        figures_core.draw([], tmp_path / "figures")
    assert list((tmp_path / "figures").iterdir()) == []


@pytest.mark.parametrize("each", figures_core.figures().values(), ids=lambda each: each.id)
def test_every_figure_needs_results_that_are_committed(each, tmp_path, monkeypatch):
    monkeypatch.setenv("TAILBOUND_STORE", str(tmp_path / "none.sqlite"))
    assert all(not load_results(name).empty for name in each.needs)
