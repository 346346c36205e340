"""``tailbound simulate``: killed, interrupted, two at a time, on a cluster; nothing is lost and nothing there twice."""

import json
import os
import pty
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
import tailbound.sims
from helpers import command_line
from helpers.command_line import Outcome, assert_rejected
from tailbound.sims.core.run import run as run_study
from tailbound.sims.core.store import Store
from tailbound.sims.core.study import select

STUDIES = '''
"""Studies of the tests; the draws are closures, which go to workers by value."""
import os
import time
from tailbound.sims.core.study import Study, cases

def make(seconds, log=os.environ.get("TOY_LOG")):
    def draw(rng, *, scale):
        time.sleep(seconds)
        if log:
            with open(log, "a") as file:
                file.write(f"{scale}\\n")
        return [{"method": name, "value": scale * rng.standard_normal(), "more": rng.random(20)} for name in "ab"]
    return draw

def break_at(scale_of_fault):
    def draw(rng, *, scale):
        return {"value": 1 / (scale - scale_of_fault)}
    return draw

QUICK = Study("toy.quick", make(0), cases(scale=[0.5, 1.0, 2.0]), repetitions=2)
MANY = Study("toy.many", make(0), cases(scale=[0.5, 1.0, 2.0, 4.0]), repetitions=400)
SLOW = Study("toy.slow", make(0.01), cases(scale=[0.5, 1.0]), repetitions=60)
GROWING = Study("toy.growing", make(0), cases(scale=[0.5]), 8, until={"value": 0.1}, max_repetitions=512)
BROKEN = Study("toy.broken", break_at(3.0), cases(scale=[1.0, 2.0, 3.0]), repetitions=2)
'''
PROGRAM = """
import sys
import tailbound.sims
tailbound.sims.__path__.append(sys.argv[1])
sys.argv[:2] = ["tailbound"]
"""
COMMAND = PROGRAM + "from tailbound.cli import main\nmain()"
ONE_COMMIT_A_DRAW = """
from tailbound.sims.core import run, store, study
run._SECONDS_A_TASK = 0
with store.Store(sys.argv[1]) as opened:
    run.run(*study.select("toy.many"), opened, progress=lambda done, total: print(done, flush=True))
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The folder of the module with the tests' studies, which are found here as those of the package are."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "toy.py").write_text(STUDIES, encoding="utf-8")
    tailbound.sims.__path__.append(str(folder))
    yield folder
    tailbound.sims.__path__.remove(str(folder))
    del sys.modules["tailbound.sims.toy"]


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("TAILBOUND_STORE", str(tmp_path / "results.sqlite"))
    return tmp_path / "results.sqlite"


def run(*args: object) -> Outcome:
    """Run ``tailbound simulate`` in this process."""
    return command_line.run("simulate", *args)


def start(toy, *args: object, program=COMMAND, **options) -> subprocess.Popen:
    command = [sys.executable, "-W", "error", "-c", program, str(toy), *map(str, args)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command, **options)


def finish(process: subprocess.Popen) -> Outcome:
    out, err = process.communicate(timeout=60)
    return Outcome(process.returncode, out, err)


def study(name: str):
    return next(each for each in select(name) if each.name == name)


def stored(path) -> list[tuple]:
    """Everything in the store, in one order; it is whole, and each draw is there once."""
    with Store(path), closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = connection.execute("SELECT * FROM draws ORDER BY study, arguments, repetition").fetchall()
    assert len({row[1:5] for row in rows}) == len(rows)
    return rows


def uninterrupted(name: str, folder: Path) -> list[tuple]:
    with Store(folder / "uninterrupted.sqlite") as store:
        run_study(study(name), store)
    return stored(folder / "uninterrupted.sqlite")


def wait_until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# Killed


@pytest.mark.slow
def test_killed_twenty_times_nothing_is_lost_and_nothing_is_there_twice(toy, path, tmp_path):
    before, kills, in_mid_write, moments = [], 0, 0, random.Random(20)
    while kills < 20 or (in_mid_write < 3 and kills < 80):
        kills += 1
        process = start(toy, path, program=PROGRAM + ONE_COMMIT_A_DRAW)
        told = [process.stdout.readline()]
        while int(told[-1]) <= len(before):  # until it writes
            told.append(process.stdout.readline())
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        told += process.communicate(timeout=60)[0].splitlines()
        assert process.returncode == -signal.SIGKILL, "the study must be longer than all runs together"
        in_mid_write += path.with_name(f"{path.name}-journal").exists()
        after = stored(path)
        assert set(before) <= set(after)
        assert len(after) >= int(told[-1])  # what was said to be stored is stored
        before = after
    assert in_mid_write >= 3
    assert 20 <= len(before) < 1600
    done = finish(start(toy, "simulate", "toy.many", "--store", path))
    assert (done.code, done.err) == (0, "")
    assert done.out == f"toy.many: 1600 draws in {path}, {1600 - len(before)} new\n"
    assert stored(path) == uninterrupted("toy.many", tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {path.name, "uninterrupted.sqlite"}


@pytest.mark.slow
def test_killed_while_processes_draw_it_goes_on(toy, path, tmp_path):
    quiet = subprocess.DEVNULL  # the orphaned workers, which leave after some idle seconds, would keep a pipe open
    process = start(toy, "simulate", "toy.slow", "--jobs", 2, "--store", path, stdout=quiet, stderr=quiet)
    wait_until(lambda: path.exists() and stored(path))
    process.kill()
    process.wait(timeout=60)
    before = stored(path)
    assert 0 < len(before) < 120
    done = finish(start(toy, "simulate", "toy.slow", "--jobs", 2, "--store", path))
    assert (done.code, done.err) == (0, "")
    assert f"{120 - len(before)} new" in done.out
    assert stored(path) == uninterrupted("toy.slow", tmp_path)


# Interrupted


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupt_leaves_a_store_that_goes_on(toy, path, tmp_path, jobs):
    process = start(toy, "simulate", "toy.slow", "--jobs", jobs, start_new_session=True)
    wait_until(lambda: path.exists() and stored(path))
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does, to every process of the terminal
    done = finish(process)
    assert (done.code, done.out) == (130, "")
    assert done.err == f"tailbound: interrupted; finished draws are in {path}, the same command goes on from there\n"
    before = stored(path)
    assert 0 < len(before) < 120
    assert run("toy.slow") == Outcome(0, f"toy.slow: 120 draws in {path}, {120 - len(before)} new\n", "")
    assert stored(path) == uninterrupted("toy.slow", tmp_path)


# Two at a time


@pytest.mark.slow
def test_two_processes_share_the_work_of_one_study(toy, path, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    processes = [start(toy, "simulate", "toy.slow", "--json") for _ in range(2)]
    outcomes = [finish(process) for process in processes]
    assert [(each.code, each.err) for each in outcomes] == [(0, "")] * 2
    new = [json.loads(each.out)[0]["new"] for each in outcomes]
    assert sum(new) == 120
    assert len((tmp_path / "log").read_text().splitlines()) < 1.7 * 120  # not everything is drawn by both
    monkeypatch.delenv("TOY_LOG")
    assert stored(path) == uninterrupted("toy.slow", tmp_path)


@pytest.mark.slow
def test_two_processes_write_two_studies_into_one_store(toy, path, tmp_path):
    names = ["toy.many", "toy.slow"]
    outcomes = [finish(process) for process in [start(toy, "simulate", name) for name in names]]
    assert [(each.code, each.err) for each in outcomes] == [(0, "")] * 2
    uninterrupted("toy.many", tmp_path)
    assert stored(path) == uninterrupted("toy.slow", tmp_path)


# On a cluster


@pytest.mark.slow
def test_cluster_draws_the_same(toy, path, tmp_path):
    from distributed import LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with LocalCluster(protocol="tcp", host="127.0.0.1", **options) as cluster:
        done = run("toy.quick", "--dask", cluster.scheduler_address)
    assert done == (0, f"toy.quick: 6 draws in {path}, 6 new\n", "")
    assert stored(path) == uninterrupted("toy.quick", tmp_path)


# What is said


@pytest.mark.usefixtures("toy")
def test_runs_one_line_a_study_and_then_nothing_new(path):
    assert run("toy.quick", "toy.growing").out.splitlines()[0] == f"toy.quick: 6 draws in {path}, 6 new"
    done = run("toy.quick", "toy.growing", "--json")
    assert (done.code, done.err) == (0, "")
    quick, growing = json.loads(done.out)
    assert quick == {"study": "toy.quick", "draws": 6, "new": 0, "files": []}
    assert (growing["draws"], growing["new"]) in [(16, 0), (32, 0), (64, 0)]  # 0.1 needs about 25
    assert run("toy.quick", "--repetitions", 5).out == f"toy.quick: 15 draws in {path}, 9 new\n"


@pytest.mark.usefixtures("toy")
def test_store_is_that_of_the_option_the_environment_or_this_folder(path, tmp_path, monkeypatch):
    assert f"in {tmp_path / 'other.sqlite'}, 6 new" in run("toy.quick", "--store", tmp_path / "other.sqlite").out
    assert not path.exists()
    assert run("toy.quick").code == 0
    assert path.exists()
    monkeypatch.delenv("TAILBOUND_STORE")
    monkeypatch.chdir(tmp_path)
    assert run("toy.quick").out == "toy.quick: 6 draws in tailbound-results.sqlite, 6 new\n"


@pytest.mark.usefixtures("toy", "path")
def test_export_prints_its_files_and_records_the_command(tmp_path):
    done = run("toy.quick", "--export", tmp_path / "out", "--repetitions", 3)
    files = [Path(line) for line in done.out.splitlines()[1:]]
    assert [file.name for file in files] == ["toy.quick.parquet", "toy.quick.json"]
    assert len(pd.read_parquet(files[0])) == 18
    command = f"tailbound simulate toy.quick --export {tmp_path / 'out'} --repetitions 3"
    assert json.loads(files[1].read_text(encoding="utf-8"))["command"] == command


@pytest.mark.usefixtures("toy")
def test_list_shows_what_is_stored_and_makes_nothing(path):
    done = run("--list")
    assert (done.code, done.err) == (0, "")
    assert all(name in done.out for name in ("toy.quick", "toy.many", "toy.broken", "8 … 512", "0 of 1600"))
    assert f"the store {path} does not exist yet" in done.out
    assert not path.exists()
    run("toy.quick", "--repetitions", 1)
    assert "3 of 6" in run("toy", "--list").out
    (listed,) = json.loads(run("toy.quick", "--list", "--json").out)
    expected = {"study": "toy.quick", "version": 1, "cases": 3, "repetitions": 2, "max_repetitions": 2}
    assert listed == expected | {"draws": 3, "wanted": 6}


@pytest.mark.slow
def test_terminal_gets_a_bar_with_the_time_left(toy, path):
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    process = start(toy, "simulate", "toy.slow", stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    with open(ours, "rb", buffering=0) as terminal:
        try:
            while part := terminal.read(4096):
                shown += part
        except OSError:  # the other end is closed
            pass
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, f"toy.slow: 120 draws in {path}, 120 new\n")
    assert b"toy.slow" in shown
    assert re.search(rb"\d+/120", shown)
    assert re.search(rb"0:00:0\d", shown)


# What is refused


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ([], ["names of studies", "--list"]),
        (["toy.quik"], ["no study matches 'toy.quik'; did you mean toy.quick"]),
        (["toy.quick", "tyo"], ["no study matches 'tyo'", "toy"]),
        (["toy.quick", "--jobs", "0"], ["--jobs"]),
        (["toy.quick", "--repetitions", "0"], ["--repetitions"]),
        (["toy.quick", "--repetitions", "2.5"], ["--repetitions"]),
        (["toy.quick", "--jbs", "2"], ["--jbs", "--jobs"]),
        (["toy.quick", "--jobs", "2", "--dask", "tcp://127.0.0.1:1"], ["--jobs", "--dask", "keep one"]),
        (["toy.quick", "--dask", "nonsense"], ["no Dask scheduler answers at 'nonsense'"]),
        (["toy.quick", "--store", "missing/results.sqlite"], ["missing/results.sqlite", "can be written"]),
    ],
)
def test_bad_input_is_one_line_and_makes_nothing(args, parts, path, monkeypatch):
    monkeypatch.chdir(path.parent)
    monkeypatch.setattr("tailbound.sims.core.run._PATIENCE", 1)
    assert_rejected(run(*args), *parts)
    assert not list(path.parent.iterdir())


@pytest.mark.usefixtures("toy")
def test_failing_draw_is_one_line_and_the_rest_is_stored(path):
    done = run("toy.broken")
    assert_rejected(done, "'toy.broken' failed in case {\"scale\":3.0}, repetition ", "ZeroDivisionError", "goes on")
    assert all('"scale":3.0' not in row[3] for row in stored(path))


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize("args", [["toy.quick"], ["--list"]])
def test_damaged_store_is_one_line_and_left_alone(path, args):
    path.write_bytes(b"garbage" * 1000)
    assert_rejected(run(*args), "results.sqlite' is no results store")
    assert path.read_bytes() == b"garbage" * 1000


@pytest.mark.usefixtures("toy", "path")
def test_export_into_a_file_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("mine", encoding="utf-8")
    done = run("toy.quick", "--export", tmp_path / "taken")
    assert done.code == 2
    assert "results cannot be exported into" in done.err
    assert (tmp_path / "taken").read_text(encoding="utf-8") == "mine"


# Help


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_has_examples(option):
    done = run(option)
    assert (done.code, done.err) == (0, "")
    assert "Usage: tailbound simulate" in done.out
    assert "tailbound simulate --list" in done.out


@pytest.mark.parametrize("args", ["simulate --help", "--help"])
def test_help_is_quick_and_imports_no_library(args):
    code = f"import sys; sys.argv = ['tailbound', *{args.split()}]; from tailbound.cli import main\ntry: main()\n"
    code += "finally: print(sorted({'pandas', 'sqlite3', 'joblib', 'scipy', 'distributed'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
