"""The store keeps what was committed, each draw once, exactly; a file that is not whole is reported and left alone."""

import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
import pytest
from helpers.studies import UNIFORM, draw_uniform, filled_store
from hypothesis import given, settings
from hypothesis import strategies as st
from tailbound.sims.core import results
from tailbound.sims.core.results import export
from tailbound.sims.core.run import run
from tailbound.sims.core.store import Store
from tailbound.sims.core.study import Study, cases
from tailbound.theory.core.errors import InputError


def echo(record):
    """A study that draws one given row."""
    return Study("toy.echo", lambda rng, a: record, cases=({"a": 1},))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.sqlite"


@pytest.fixture
def filled(path):
    return filled_store(path)


# What comes out is what went in


def test_rows_are_tidy_and_in_the_order_of_the_study(filled):
    with Store(filled) as store:
        rows = store.rows(UNIFORM)
    assert list(rows) == ["width", "means", "repetition", "value", "count", "label", "separable", "sums"]
    assert rows["repetition"].tolist() == [0, 1, 2] * 4
    assert rows["width"].tolist() == [1.0] * 6 + [2.0] * 6
    assert rows["means"].tolist() == ([(1.0,)] * 3 + [(1.0, 2.0)] * 3) * 2
    for row in rows.itertuples():
        (drawn,) = UNIFORM.draw_rows({"width": row.width, "means": row.means}, row.repetition)
        assert row.value == drawn["value"]
        assert row.sums.tolist() == drawn["sums"]
    assert [rows[name].dtype.kind for name in ("width", "repetition", "value", "count", "separable")] == [*"fifib"]


def test_several_rows_of_a_draw_share_its_repetition(path):
    def draw(rng, *, a):
        for method in ("svm", "ldam"):
            yield {"method": method, "error": rng.random()}

    study = Study("toy.methods", draw, cases(a=[1, 2]), repetitions=2)
    with Store(path) as store:
        run(study, store)
        rows = store.rows(study)
    assert rows[["a", "repetition", "method"]].to_numpy().tolist() == [
        [a, repetition, method] for a in (1, 2) for repetition in (0, 1) for method in ("svm", "ldam")
    ]


def test_rows_of_another_version_or_case_are_left_out(filled):
    with Store(filled) as store:
        other = Study("toy.uniform", draw_uniform, UNIFORM.cases, repetitions=3, version=2)
        assert store.rows(other).empty
        assert list(store.rows(other)) == ["width", "means", "repetition"]
        fewer = Study("toy.uniform", draw_uniform, UNIFORM.cases[:1], repetitions=3)
        assert len(store.rows(fewer)) == 3


numbers = st.one_of(st.floats(), st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324]))
cells = st.one_of(
    numbers,
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=4),
    st.lists(numbers, min_size=1, max_size=3).map(np.array),
    st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=1, max_size=3).map(np.array),
    st.lists(st.integers(-9, 9), min_size=1, max_size=3),
)


def same(left, right) -> bool:
    """Whether two cells are equal bit for bit (any NaN equals any other)."""
    if isinstance(left, list | np.ndarray):
        return np.shape(left) == np.shape(right) and all(map(same, np.ravel(left).tolist(), np.ravel(right).tolist()))
    if isinstance(left, float):
        return isinstance(right, float) and (left.hex() == right.hex() or (math.isnan(left) and math.isnan(right)))
    return left == right and isinstance(right, type(left) | np.bool_ | np.integer)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from(["x", "ä y", "'", '"', "select", "%s"]), cells, min_size=1))
def test_any_row_survives_store_and_export(tmp_path_factory, record):
    folder = tmp_path_factory.mktemp("any")
    study = echo(record)
    with Store(folder / "results.sqlite") as store:
        run(study, store)
        stored = store.rows(study)
        export(study, store, folder)
    exported = results._read(folder / study.name, study)
    assert list(stored) == list(exported) == ["a", "repetition", *record]
    for rows in (stored, exported):
        for name, value in record.items():
            assert same(value, rows[name][0]), (name, value, rows[name][0])
    pd.testing.assert_frame_equal(stored, exported)
    shutil.rmtree(folder)


# One draw, once


def test_a_draw_is_stored_once(path):
    case = UNIFORM.case_texts[0]
    with Store(path) as store, Store(path) as other:
        assert store.add(UNIFORM, [(case, 0, "[1]"), (case, 1, "[1]")]) == 2
        assert other.add(UNIFORM, [(case, 1, "[2]"), (case, 2, "[2]"), (case, 2, "[3]")]) == 1
        assert store.draws(UNIFORM)[case] == {0: [1], 1: [1], 2: [2]}
        assert store.lacking(UNIFORM, [(case, k) for k in range(5)]) == [(case, 3), (case, 4)]


def test_a_transaction_that_fails_leaves_nothing(path):
    case = UNIFORM.case_texts[0]

    def draws():
        yield case, 0, "[1]"
        raise KeyboardInterrupt

    with Store(path) as store:
        with pytest.raises(KeyboardInterrupt):
            store.add(UNIFORM, draws())
        with pytest.raises(InputError, match="NOT NULL"):
            store.add(UNIFORM, [(case, 0, "[1]"), (case, None, "[1]")])
        assert store.repetitions(UNIFORM)[case] == set()
        assert store.add(UNIFORM, [(case, 0, "[1]")]) == 1


def test_a_store_that_another_process_writes_is_waited_for_and_then_named(path, monkeypatch):
    monkeypatch.setattr("tailbound.sims.core.store._PATIENCE", 0.05)
    with Store(path) as store:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InputError, match=r"results\.sqlite' is held by another process .*locked.*; wait for it"):
            store.add(UNIFORM, [(UNIFORM.case_texts[0], 0, "[1]")])
        with pytest.raises(InputError, match="is held by another process"):
            Store(path)
        holder.close()
        assert store.add(UNIFORM, [(UNIFORM.case_texts[0], 0, "[1]")]) == 1


# Files that are no whole store


def cut(content: bytes) -> dict[str, bytes]:
    page = 4096
    assert len(content) > 3 * page
    return {
        "empty": b"",
        "first bytes": content[:50],
        "half a page": content[: page // 2],
        "without its end": content[:-page],
        "first page": content[:page],
        "garbage": bytes(np.random.default_rng(0).integers(0, 256, 5 * page, dtype=np.uint8)),
        "text": b"study,case\n" * 1000,
        "garbage in the middle": content[:page] + b"\xa5" * (2 * page) + content[3 * page :],
        "zeros in the middle": content[:page] + bytes(2 * page) + content[3 * page :],
    }


@pytest.mark.parametrize("kind", list(cut(bytes(5 * 4096))))
def test_damaged_file_is_reported_and_left_as_it_is(kind, filled):
    broken = cut(filled.read_bytes())[kind]
    filled.write_bytes(broken)
    with pytest.raises(
        InputError, match=r"results store '.*results\.sqlite' is (damaged|no results store) \("
    ) as caught:
        Store(filled)
    assert "\n" not in str(caught.value)
    assert filled.read_bytes() == broken
    assert [each.name for each in filled.parent.iterdir()] == [filled.name]


def test_changed_digit_is_noticed(filled):
    with Store(filled) as store:
        value = repr(float(store.rows(UNIFORM)["value"][7])).encode()
    content = filled.read_bytes()
    assert content.count(value) == 1
    filled.write_bytes(content.replace(value, value[:-1] + bytes([value[-1] ^ 1])))
    with Store(filled) as store, pytest.raises(InputError, match=r"is damaged \(draw 1 of toy\.uniform \{.*; restore"):
        store.rows(UNIFORM)


def test_foreign_database_is_left_alone(path):
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE draws (mine TEXT)")
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"is no results store .*another program's"):
        Store(path)
    assert path.read_bytes() == before


def test_store_of_a_newer_format_is_left_alone(filled):
    with sqlite3.connect(filled) as newer:
        newer.execute("PRAGMA user_version = 2")
    newer.close()
    before = filled.read_bytes()
    with pytest.raises(InputError, match="has format 2, but this version reads 1; upgrade tailbound"):
        Store(filled)
    assert filled.read_bytes() == before


@pytest.mark.parametrize("name", ["", "missing/results.sqlite", "file/results.sqlite", "\0", "x" * 300])
def test_path_that_cannot_be_a_store_is_one_line(name, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"results store .* cannot be (made|opened)|no results store") as caught:
        Store(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_missing_store_is_not_made_when_only_read(path):
    with pytest.raises(InputError, match="cannot be opened"):
        Store(path, create=False)
    assert not path.exists()


def test_odd_characters_in_the_path(tmp_path):
    path = tmp_path / "a?b#c%20 d&mode=ro.sqlite"
    with Store(path) as store:
        store.add(UNIFORM, [(UNIFORM.case_texts[0], 0, "[1]")])
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


READ_ONLY = """
import os
from tailbound.sims.core.store import Store
from tailbound.sims.core.study import Study
study = Study("toy.uniform", None, cases={cases!r}, repetitions=3)
Store({spare!r}).rows(study)  # loads what is loaded late
if os.geteuid() == 0:  # who may write everywhere
    os.seteuid(65534)
with Store({file!r}) as store:
    print(len(store.rows(study)))
    try:
        store.add(study, [(study.case_texts[0], 9, "[1]")])
    except ValueError as error:
        print(error)
try:
    Store({other!r})
except ValueError as error:
    print(error)
"""


def test_read_only_folder_can_be_read_and_says_that_it_cannot_be_written(path):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own may be read by this user alone
        file, other = f"{folder}/results.sqlite", f"{folder}/other.sqlite"
        with Store(file) as store:
            run(UNIFORM, store)
        os.chmod(file, 0o444)
        os.chmod(folder, 0o555)
        code = READ_ONLY.format(cases=UNIFORM.cases, spare=str(path), file=file, other=other)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr == ""
        count, readonly, unmade = done.stdout.splitlines()
        assert count == "12"
        assert "cannot be written (attempt to write a readonly database); check the permissions" in readonly
        assert "other.sqlite' cannot be" in unmade
        assert "name a file in a folder that can be written" in unmade
        assert os.listdir(folder) == ["results.sqlite"]
        os.chmod(folder, 0o755)


def test_full_disk_is_one_line_and_keeps_what_is_stored(path):
    case = UNIFORM.case_texts[0]
    with Store(path) as store:
        store.add(UNIFORM, [(case, 0, "[1]")])
        (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
        store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(InputError, match=r"cannot grow \(database or disk is full\); make room and go on"):
            store.add(UNIFORM, [(case, 1, json.dumps(["x" * 100_000]))])
        assert store.draws(UNIFORM)[case] == {0: [1]}
        assert store.add(UNIFORM, [(case, 1, "[2]")]) == 1
    with Store(path) as store:
        assert store.draws(UNIFORM)[case] == {0: [1], 1: [2]}


LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from tailbound.sims.core.store import Store
from tailbound.sims.core.study import Study
study = Study("toy.uniform", None, cases=({{"a": 1}},))
with Store({file!r}) as store:
    store.add(study, [(study.case_texts[0], 0, "[1]")])
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
    try:
        store.add(study, [(study.case_texts[0], 1, "x" * 1000000)])
    except ValueError as error:
        print(error)
"""


def test_file_that_may_not_grow_is_one_line_and_keeps_what_is_stored(path):
    code = LIMITED.format(file=str(path), limit=100_000)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert "results.sqlite' cannot" in line
    assert "go on with the same command" in line
    study = Study("toy.uniform", draw_uniform, cases=({"a": 1},))
    with Store(path) as store:
        assert store.draws(study)[study.case_texts[0]] == {0: [1]}
