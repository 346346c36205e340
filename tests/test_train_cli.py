"""``tailbound train``: what it prints and writes, bad input, damaged files."""

import io
import json
import os
import pickle
import random
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import assert_rejected
from helpers.training import TINY, records, run, the_record

torch = pytest.importorskip("torch")

from tailbound.nn_validation.core.runs import run_job  # noqa: E402
from tailbound.nn_validation.methods import METHODS  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# What it prints and writes


def test_list_shows_every_method():
    done = run("--list")
    assert (done.code, done.err) == (0, "")
    assert all(any(line.split()[:1] == [name] for line in done.out.splitlines()) for name in METHODS)
    assert [each["method"] for each in json.loads(run("--list", "--json").out)] == list(METHODS)


def test_trains_once_and_finds_the_record_again(tmp_path):
    first = run("ce", "ldam-drw", "ce", "--seed", 0, "--seed", 3, *TINY, "--out", tmp_path)
    assert (first.code, first.err) == (0, "")
    lines = first.out.splitlines()
    assert [line.split(":")[0] for line in lines[::2]] == [
        "ce, seed 0",
        "ldam-drw, seed 0",
        "ce, seed 3",
        "ldam-drw, seed 3",
    ]
    for line in lines[1::2]:
        record = json.loads(Path(line).read_text())
        assert line.endswith(f"{record['run']['method']}-seed{record['run']['seed']}.json")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(before) == 4, "nothing but the records is left"
    again = run("ldam-drw", *TINY, "--out", tmp_path, "--json")
    (row,) = json.loads(again.out)
    record = json.loads(Path(row["record"]).read_text())
    assert row["new"] is False
    assert row["balanced_error"] == record["last"]["test"]["balanced_error"]
    assert row["selected_error"] == record["selected"]["balanced_error"]
    assert "was there" in run("ldam-drw", *TINY, "--out", tmp_path).out
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_command_in_a_record_makes_it_again(tmp_path):
    options = ("--profile", "step", "--ratio", 3.25, "--largest", 26, "--subset", 7, "--no-mixed-precision")
    changes = ("--set", "epochs=3", "--set", "flip=true", "--set", "drops=1,2", "--set", "learning-rate=0.05")
    done = run("vs:gamma=0.2,tau=1.5", *options, *changes, "--seed", 5, "--out", tmp_path / "a")
    assert done.code == 0, done.err
    record = json.loads(the_record(tmp_path / "a").read_text())
    assert record["run"]["protocol"]["drops"] == [1, 2]
    assert record["run"]["protocol"]["flip"] is True
    assert record["run"]["mixed_precision"] is False
    command = shlex.split(record["command"])
    assert command[:2] == ["tailbound", "train"]
    assert command[-2:] == ["--out", str(tmp_path / "a")]
    done = run(*command[2:-1], tmp_path / "b")
    assert done.code == 0, done.err
    assert records(tmp_path / "a") == records(tmp_path / "b")


def test_keep_weights_leaves_the_checkpoint_beside_the_record(tmp_path):
    assert run("ce", *TINY, "--keep-weights", "--out", tmp_path).code == 0
    assert sorted(path.suffix for path in tmp_path.rglob("*") if path.is_file()) == [".json", ".pt"]


# Bad input


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ((), ("names of methods", "--list")),
        (("lda",), ("unknown method 'lda'", "did you mean ldam")),
        (("ldam:expo=1",), ("no option 'expo'", "max_margin, exponent, constant, scale")),
        (("ldam:exponent=much",), ("'exponent' of method 'ldam' must be a number, got 'much'",)),
        (("ldam:exponent=nan",), ("exponent must be finite, got nan",)),
        (("vs:gamma=-1",), ("gamma", "-1")),
        (("ce-drw", "--set", "epochs=1"), ("epochs must be a whole number >= 2 for a deferred schedule, got 1",)),
        (("ce", "--data", "nowhere"), ("nowhere: is no such folder",)),
        (("ce", "--protocol", "fats"), ("unknown protocol 'fats'", "did you mean fast?")),
        (("ce", "--set", "epoch=3"), ("no setting 'epoch'", "did you mean epochs")),
        (("ce", "--set", "epochs"), ("--set takes NAME=VALUE, got 'epochs'",)),
        (("ce", "--set", "epochs=0"), ("epochs must be a whole number in 1..1000000, got 0",)),
        (("ce", "--set", "epochs=1.5"), ("got 1.5",)),
        (("ce", "--set", "epochs=true"), ("got True",)),
        (("ce", "--set", "warmup=-1"), ("warmup must be a whole number", "got -1")),
        (("ce", "--set", "warmup=slow"), ("warmup must be a whole number", "got 'slow'")),
        (("ce", "--set", "drops=a,b"), ("drops must be epochs", "('a', 'b')")),
        (("ce", "--set", "drops=1.5"), ("drops must be epochs", "(1.5,)")),
        (("ce", "--set", "padding=-1"), ("padding must be a whole number", "got -1")),
        (("ce", "--set", "padding=9"), ("padding must be at most the images' side, 8, got 9",)),
        (("ce", "--set", "flip=3"), ("flip must be true or false, got 3",)),
        (("ce", "--set", "nesterov=true", "--set", "momentum=0"), ("nesterov needs momentum > 0",)),
        (("ce", "--set", "depth=9"), ("depth must be 6 n + 2", "got 9")),
        (("ce", "--set", "depth=20.0"), ("depth must be a whole number", "got 20.0")),
        (("ce", "--set", "width=0"), ("width must be a whole number", "got 0")),
        (("ce", "--set", "learning-rate=-1"), ("learning_rate must be finite and > 0, got -1",)),
        (("ce", "--set", "learning_rate=inf"), ("got inf",)),
        (("ce", "--set", "learning_rate=fast"), ("got 'fast'",)),
        (("ce", "--set", "momentum=1.5"), ("momentum must lie in [0, 1], got 1.5",)),
        (("ce", "--set", "weight_decay=nan"), ("weight_decay must lie in [0, 1], got nan",)),
        (("ce", "--set", "decay=exp"), ("decay must be 'step', 'cosine' or 'linear', got 'exp'",)),
        (("ce", "--profile", "long"), ("unknown profile 'long'", "long-tailed, step, balanced")),
        (("ce", "--ratio", 0), ("imbalance_ratio", "got 0")),
        (("ce", "--ratio", "nan"), ("imbalance_ratio", "got nan")),
        (("ce", "--ratio", 200), ("imbalance_ratio must be at most the largest count 100", "got 200")),
        (("ce", "--largest", 0), ("largest must lie in", "got 0")),
        (("ce", "--largest", 1000), ("class 0 has 118 images, 1000 are wanted; lower the largest count",)),
        (("ce", "--subset", -1), ("seed must be a whole number >= 0, got -1",)),
        (("ce", "--noise", 1.5), ("1.5",)),
        (("ce", "--noise", "nan"), ("nan",)),
        (("ce", "--noise", -0.1), ("-0.1",)),
        (("ce", "--seed", -1), ("seed must be a whole number in 0..2**31 - 1, got -1",)),
        (("ce", "--device", "gpu"), ("unknown device 'gpu'", "cuda")),
        (("ce", "--device", "cuda:99"), ("device 'cuda:99' cannot be used", "pass cpu")),
        (("ce", "--device", "meta"), ("device 'meta' cannot be used",)),
        (("ce", "--jobs", 0), ("--jobs",)),
    ],
)
def test_bad_input_is_one_line_before_anything_is_trained(tmp_path, words, parts):
    out = tmp_path / "out"
    assert_rejected(run("ce-rs", *words, "--out", out) if words else run("--out", out), *parts)
    assert not out.exists(), "ce-rs, a method without fault, must not have been trained first"


def test_a_half_written_data_folder(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    pixels = np.zeros((20, 3072), np.uint8)
    whole = pickle.dumps({b"data": pixels, b"labels": [k % 10 for k in range(20)]}, protocol=2)
    for k in range(1, 6):
        (folder / f"data_batch_{k}").write_bytes(whole if k < 3 else whole[: len(whole) // 3])
    assert_rejected(run("ce", "--data", folder, "--out", tmp_path / "out"), "data_batch_3")
    (folder / "data_batch_3").unlink()
    assert_rejected(run("ce", "--data", folder, "--out", tmp_path / "out"), "data_batch_3", "is missing")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    done = run("ce", *TINY, "--out", tmp_path / "file")
    assert_rejected(done, "cannot be written", "--out")
    assert (tmp_path / "file").read_text() == "mine"


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert_rejected(run("ce"), "training needs torch; install 'tailbound[nn]'")


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_loss_that_is_not_finite_stops_and_keeps_the_epochs_before(tmp_path, monkeypatch, jobs):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    steep = ("--set", "epochs=4", "--set", "warmup=0", "--set", "drops=", "--set", "learning_rate=1e30")
    done = run("ce", "la", *steep, "--ratio", 5, "--largest", 20, "--jobs", jobs, "--out", tmp_path)
    assert_rejected(done, "is not finite in epoch", "batch", "learning rate 1e+30", "lower the learning rate")
    assert not list(tmp_path.rglob("*.json"))
    assert not list(tmp_path.rglob("*.part"))


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def _damages(path: Path, folder: Path):
    whole = path.read_bytes()
    yield "truncated", whole[: len(whole) // 2]
    yield "cut by one byte", whole[:-1]
    yield "empty", b""
    yield "garbage", random.Random(0).randbytes(5000)
    yield "code", pickle.dumps({"identity": _Evil(folder / "ran"), "model": {}, "optimiser": {}, "curves": "[]"})
    buffer = io.BytesIO()
    torch.save({"identity": _Evil(folder / "ran"), "model": {}, "optimiser": {}, "curves": "[]"}, buffer)
    yield "code in torch's form", buffer.getvalue()
    for parts in ({}, {"identity": "{}", "model": {}}, {"identity": 3, "model": 3, "optimiser": 3, "curves": 3}, [1]):
        buffer = io.BytesIO()
        torch.save(parts, buffer)
        yield f"parts {parts}", buffer.getvalue()


def test_a_damaged_checkpoint_is_refused_and_runs_no_code(tmp_path):
    assert run("ce", *TINY, "--keep-weights", "--out", tmp_path).code == 0
    the_record(tmp_path).unlink()
    (checkpoint,) = tmp_path.rglob("*.pt")
    for kind, content in _damages(checkpoint, tmp_path):
        checkpoint.write_bytes(content)
        done = run("ce", *TINY, "--out", tmp_path)
        assert_rejected(done, checkpoint.name, "delete it to train from the start"), kind
        assert checkpoint.read_bytes() == content
        assert not (tmp_path / "ran").exists()
    checkpoint.unlink()
    assert run("ce", *TINY, "--out", tmp_path).code == 0


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    assert run("ce", "la", *TINY, "--keep-weights", "--out", tmp_path).code == 0
    for path in tmp_path.rglob("*.json"):
        path.unlink()
    other, mine = sorted(tmp_path.rglob("*.pt"))
    shutil.copy(other, mine)
    assert_rejected(run("la", *TINY, "--out", tmp_path), mine.name, "another run (differs in run.method)")
    assert mine.read_bytes() == other.read_bytes()


def test_a_damaged_record_is_refused_and_stays(tmp_path):
    assert run("ce", *TINY, "--out", tmp_path).code == 0
    path = the_record(tmp_path)
    whole = path.read_text()
    record = json.loads(whole)
    without_curves = {key: value for key, value in record.items() if key != "curves"}
    for content, part in [
        (whole[: len(whole) // 2], "no whole record"),
        ("", "no whole record"),
        ("[]", "no whole record"),
        ("null", "no whole record"),
        (json.dumps(without_curves), "another format"),
        (json.dumps(record | {"format": 99}), "another format"),
        (json.dumps(record | {"run": record["run"] | {"seed": 1}}), "other settings"),
        (json.dumps(record | {"data": record["data"] | {"indices": "0"}}), "other settings"),
    ]:
        path.write_text(content)
        assert_rejected(run("ce", *TINY, "--out", tmp_path), path.name, part)
        assert path.read_text() == content
    path.write_bytes(b"\xff\xfe\x00")
    assert_rejected(run("ce", *TINY, "--out", tmp_path), path.name, "no whole record")


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a compiler")
def test_compiled_training_measures_the_same_within_rounding(tmp_path):
    words = ("ldam-drw", *TINY, "--no-mixed-precision")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for folder, more in (("plain", ()), ("compiled", ("--compile",))):
        command = [sys.executable, "-m", "tailbound", "train", *words, *more, "--out", tmp_path / folder]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
    (plain,), (compiled,) = (records(tmp_path / name).values() for name in ("plain", "compiled"))
    assert compiled["run"]["compiled"] is True
    losses = [[row["loss"] for row in record["curves"]] for record in (plain, compiled)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-2)


def test_records_are_made_by_the_same_function_that_others_call(tmp_path):
    from tailbound.nn_validation.core.runs import Job

    changes = {"epochs": 3, "warmup": 1, "drops": (2,)}
    job = Job("digits", "ce", "digits", changes, imbalance_ratio=5.0, largest=20, out=str(tmp_path / "a"))
    seen = []
    path, record, new = run_job(job, progress=lambda done, total: seen.append((done, total)))
    assert new
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert json.loads(path.read_text()) == record
    assert run("ce", *TINY, "--out", tmp_path / "b").code == 0
    assert records(tmp_path / "a") == records(tmp_path / "b")
