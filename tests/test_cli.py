"""The command line: data on stdout, one line on stderr and exit code 2 for bad input, never a traceback."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import tailbound
from helpers.command_line import QUICK, Outcome, assert_answers, assert_rejected, run, run_process
from hypothesis import given, settings
from hypothesis import strategies as st

# A shell's view: exit codes, stdout apart from stderr, no traceback


def test_process_prints_data_on_stdout_alone(tmp_path):
    done = run_process("derive", 5000, 50, "--json", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["counts"] == [5000, 50]


def test_process_rejects_bad_input_with_one_line(tmp_path):
    assert_rejected(run_process("derive", 5000, 0, cwd=tmp_path), "classes [1] have counts [0]", "drop empty classes")
    assert_rejected(run_process("derive", 5000, -5, cwd=tmp_path), "classes [1] have counts [-5]")
    assert_rejected(run_process("derive", 5000, 50, "--epochs", "many", cwd=tmp_path), "--epochs many")
    assert not list(tmp_path.iterdir())


def test_process_decides_a_claim(tmp_path):
    done = run_process("verify", QUICK, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "initial_weight" in done.out
    assert "none unexpected" in done.out


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("args", ["derive 5000 500 50", "derive --long-tailed 1 --classes 9999 --largest 9 --json"])
def test_reader_that_leaves_early_is_no_error(args, tmp_path):
    command = f"{shlex.quote(sys.executable)} -W error -m tailbound {args}"
    with subprocess.Popen(
        command, shell=True, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()  # before the command has written anything
        err = process.stderr.read()
    assert (process.returncode, err) == (0, "")
    shell = f"{command} | head -n 1"
    done = subprocess.run(shell, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_one_line(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tailbound", "derive", "5", "3", "--json"],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert_rejected(Outcome(done.returncode, "", done.stderr), "No space left on device")


def test_terminal_that_cannot_show_a_character_is_no_error(tmp_path):
    done = run_process("derive", "µ=5", "b=3", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert (done.code, done.err) == (0, "")
    assert "2 classes, 8 examples" in done.out


# Help and version


def test_version():
    assert run("--version") == (0, f"{tailbound.__version__}\n", "")


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("command", ["verify", "explain", "derive", "simulate", "figures"])
def test_help_of_every_command(command, option):
    done = run(command, option)
    assert (done.code, done.err) == (0, "")
    assert f"Usage: tailbound {command}" in done.out
    examples = (f"tailbound {command} {argument}" for argument in ("ldam", "vs_loss", "5000"))
    assert any(example in done.text for example in examples)


@pytest.mark.parametrize("args", [(), ("--help",), ("-h",)])
def test_help_names_the_commands(args):
    done = run(*args)
    assert (done.code, done.err) == (0, "")
    assert all(command in done.out for command in ("verify", "explain", "derive", "simulate", "figures"))


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["verfy"], ["'verfy'", "'verify'"]),
        (["--versoin"], ["--versoin", "--version"]),
        (["verify", "--jsn"], ["--jsn", "--json"]),
        (["verify", "--flsify"], ["--flsify", "--falsify"]),
        (["explain"], ["CLAIM", "tailbound explain --help"]),
        (["explain", QUICK, QUICK], [QUICK]),
        (["figures", "--ot", "x"], ["--ot", "--out"]),
        (["derive", "5", "3", "--jsn"], ["--jsn", "--json"]),
        (["derive", "5", "3", "--jsn=1"], ["--jsn", "--json"]),
        (["derive", "--long-tail", "100"], ["--long-tail", "--long-tailed"]),
        (["derive", "5", "3", "--json=yes"], ["--json=yes"]),
        (["derive", "5", "3", "--epochs"], ["--epochs"]),
        (["derive", "5", "3", "--epochs", "2.5"], ["--epochs 2.5"]),
        (["derive", "5", "3", "--max-margin", "wide"], ["--max-margin wide"]),
    ],
)
def test_misspelt_option_or_command_names_it_and_the_nearest(args, parts):
    assert_rejected(run(*args), *parts)


def test_long_command_is_shortened_in_its_error():
    done = run("derive", *["5000"] * 1000, "--epochs", "x")
    assert_rejected(done, "--epochs")
    assert len(done.err) < 400


# figures


def test_figures_prints_the_files_it_writes(tmp_path):
    done = run("figures", "ldam.deferred_weights", "--out", tmp_path / "new" / "folder")
    assert (done.code, done.err) == (0, "")
    written = [Path(line) for line in done.out.splitlines()]
    assert sorted(written) == sorted((tmp_path / "new" / "folder").iterdir())
    assert {path.suffix for path in written} == {".pdf", ".png", ".csv"}


@pytest.mark.parametrize(
    ("name", "near"), [("ldmm", "did you mean ldam"), ("ldam.low_ordr", "ldam.low_order"), ("", "known: ")]
)
def test_unknown_figure_suggests_the_nearest_and_writes_nothing(name, near, tmp_path):
    assert_rejected(run("figures", "ldam.low_order", name, "--out", tmp_path / "out"), f"'{name}'", near)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_output_folder_that_is_a_file_is_one_line(out, tmp_path):
    (tmp_path / "file").write_text("kept", encoding="utf-8")
    done = run("figures", "ldam.low_order", "--out", tmp_path / out)
    assert_rejected(done, out, "name a folder that can be written")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text(encoding="utf-8") == "kept"


def test_read_only_output_folder_is_one_line(tmp_path):
    (tmp_path / "out").mkdir(mode=0o555)
    if os.access(tmp_path / "out", os.W_OK):
        pytest.skip("this user may write everywhere")
    for out in ("out", "out/below"):
        assert_rejected(run("figures", "ldam.low_order", "--out", tmp_path / out), out, "can be written")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("written", [0, 1])
def test_disk_that_fills_up_leaves_the_folder_as_it_was(written, tmp_path, monkeypatch):
    (tmp_path / "ldam-low_order.png").write_bytes(b"an older figure")
    write, calls = Path.write_bytes, []

    def write_until_full(path, content):
        calls.append(path)
        write(path, content[: len(content) // 2] if len(calls) > written else content)
        if len(calls) > written:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_until_full)
    done = run("figures", "ldam.low_order", "--out", tmp_path)
    monkeypatch.undo()
    assert_rejected(done, str(tmp_path), "No space left on device", "name a folder")
    assert [path.name for path in tmp_path.iterdir()] == ["ldam-low_order.png"]
    assert (tmp_path / "ldam-low_order.png").read_bytes() == b"an older figure"


# Any words

# neither globs nor options: ``verify --`` decides every claim, and an option of figures may name a folder
no_patterns = st.text(st.characters(exclude_categories=(), exclude_characters="*?[-"), max_size=12)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(["verify", "explain", "figures"]), no_patterns)
def test_any_word_after_the_other_commands_is_answered(command, word):
    assert_answers(run(command, word))


@settings(deadline=None, max_examples=40)
@given(st.text(st.characters(exclude_categories=()), max_size=12))
def test_any_word_in_place_of_a_command_is_answered(word):
    assert_answers(run(word))
