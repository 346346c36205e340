"""``tailbound train``, killed and interrupted: nothing is lost, and the record is the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import pytest
from helpers.command_line import Outcome, assert_rejected
from helpers.training import LONG, records, the_record

pytest.importorskip("torch")

SERVER = """
import json, os, signal, sys
from pathlib import Path
import sklearn.datasets, torch, tailbound.nn_validation.core.runs
from tailbound.cli import main

def arm(moment, number):
    '''Die like a power cut at a moment of the number-th write of a checkpoint.'''
    calls = []
    def now(path):
        calls.append(path)
        return len(calls) == number
    if moment == "half":
        whole = Path.write_bytes
        def write_bytes(path, content):
            if ".pt." in path.name and now(path):
                whole(path, content[: len(content) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return whole(path, content)
        Path.write_bytes = write_bytes
    else:
        replace = os.replace
        def replacing(source, target):
            if str(target).endswith(".pt") and now(target):
                os.kill(os.getpid(), signal.SIGKILL)
            return replace(source, target)
        os.replace = replacing

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        for number, name in ((1, order["out"]), (2, order["err"])):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        if order["arm"]:
            arm(*order["arm"])
        sys.argv = ["tailbound", "train", *order["words"]]
        main()
        sys.exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Server:
    """A process that has imported all and forks one ``tailbound train`` after the other."""

    def __init__(self, folder: Path):
        self.folder = folder
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", SERVER]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def start(self, *words: object, arm=None) -> int:
        order = {"words": [*map(str, words)], "arm": arm}
        order |= {name: str(self.folder / f"std{name}") for name in ("out", "err")}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def finish(self) -> Outcome:
        code = int(self.process.stdout.readline())
        return Outcome(code, *((self.folder / f"std{name}").read_text() for name in ("out", "err")))

    def run(self, *words: object, arm=None) -> Outcome:
        self.start(*words, arm=arm)
        return self.finish()

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    opened = Server(tmp_path_factory.mktemp("server"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def uninterrupted(server, tmp_path_factory):
    """The records of runs that nothing disturbed."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert server.run("ldam-drw", "ce-drs", *LONG, "--out", folder) == (0, mock.ANY, "")
    return folder


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def stamps(folder: Path) -> set[tuple[Path, int]]:
    found = set()
    for path in folder.rglob("*.pt"):
        with_time = path.stat() if path.exists() else None
        found |= {(path, with_time.st_mtime_ns)} if with_time else set()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ldam-drw", "ce-drs"])
def test_killed_again_and_again_it_gives_the_same_record(server, uninterrupted, tmp_path, method):
    words, moments, kills = (method, *LONG, "--out", tmp_path), random.Random(method), 0
    for _ in range(4):
        pid, before = server.start(*words), stamps(tmp_path)
        wait_until(lambda before=before, pid=pid: stamps(tmp_path) - before or not lives(pid))
        time.sleep(moments.uniform(0, 0.1))
        os.kill(pid, signal.SIGKILL)
        kills += server.finish().code == -signal.SIGKILL
    assert kills == 4, "the run must be longer than four epochs"
    assert not list(tmp_path.rglob("*.json"))
    assert server.run(*words) == (0, mock.ANY, "")
    name = str(the_record(tmp_path).relative_to(tmp_path))
    assert records(tmp_path)[name] == records(uninterrupted)[name]
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["half", "before it is put in place"])
def test_killed_while_the_checkpoint_is_written_it_gives_the_same_record(server, uninterrupted, tmp_path, moment):
    words = ("ldam-drw", *LONG, "--out", tmp_path)
    for number in (1, 3, 21):  # the last beyond the deferred switch
        assert server.run(*words, arm=[moment, number]).code == -signal.SIGKILL
        assert list(tmp_path.rglob("*.part"))
    assert server.run(*words) == (0, mock.ANY, "")
    name = str(the_record(tmp_path).relative_to(tmp_path))
    assert records(tmp_path)[name] == records(uninterrupted)[name]
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"], "partial files are cleared"


@pytest.mark.slow
def test_killed_with_two_jobs_the_workers_end_and_the_records_are_the_same(server, uninterrupted, tmp_path):
    words = ("ldam-drw", "ce-drs", *LONG, "--jobs", 2, "--out", tmp_path)
    pid = server.start(*words)
    wait_until(lambda: len(stamps(tmp_path)) == 2)
    workers = children(pid)
    os.kill(pid, signal.SIGKILL)
    assert server.finish().code == -signal.SIGKILL
    wait_until(lambda: not any(map(lives, workers)), 20)
    assert len(list(tmp_path.rglob("*.json"))) < 2, "the run must be longer than its start"
    assert server.run(*words) == (0, mock.ANY, "")
    assert records(tmp_path) == records(uninterrupted)  # which were made one at a time, with as many threads each


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_interrupted_it_says_so_in_one_line_and_goes_on(server, uninterrupted, tmp_path, jobs):
    words = ("ldam-drw", "ce-drs", *LONG, "--jobs", jobs, "--out", tmp_path)
    pid = server.start(*words)
    wait_until(lambda: stamps(tmp_path))
    workers = children(pid)
    os.killpg(pid, signal.SIGINT)  # as a terminal does: to the workers as well
    done = server.finish()
    assert (done.code, done.out) == (130, "")
    assert done.err.count("\n") == 1, done.err
    assert f"interrupted; checkpoints are in {str(tmp_path)!r}, the same command goes on from there" in done.err
    wait_until(lambda: not any(map(lives, workers)), 20)
    assert stamps(tmp_path)
    assert server.run(*words) == (0, mock.ANY, "")
    assert records(tmp_path) == records(uninterrupted)


@pytest.mark.slow
def test_interrupted_while_its_workers_start_it_says_so_in_one_line(server, tmp_path):
    pid = server.start("ldam-drw", "ce-drs", *LONG, "--jobs", 2, "--out", tmp_path)
    wait_until(lambda: len(children(pid)) >= 2)
    workers = children(pid)
    time.sleep(0.5)  # in the middle of their imports
    os.killpg(pid, signal.SIGINT)
    done = server.finish()
    assert done.code == 130
    assert done.err.count("\n") == 1, done.err
    wait_until(lambda: not any(map(lives, workers)), 20)


@pytest.mark.slow
def test_a_worker_that_dies_is_told_in_one_line(server, tmp_path):
    pid = server.start("ldam-drw", "ce-drs", *LONG, "--jobs", 2, "--out", tmp_path)
    wait_until(lambda: stamps(tmp_path))
    os.kill(children(pid)[-1], signal.SIGKILL)
    done = server.finish()
    assert_rejected(done._replace(out=""), "a training process was killed", "--jobs")  # a finished one was told
