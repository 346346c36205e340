"""The command line: data on stdout, one line on stderr and exit code 2 for bad input, never a traceback."""

import gzip
import io
import json
import os
import pickle
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import tailbound
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tailbound.cli import main
from tailbound.theory.claims import load
from tailbound.theory.core.claims import REGISTRY

CIFAR_10_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
QUICK = "vs_loss.initial_weight"  # a claim that is decided in milliseconds


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """The output without the line breaks of the layout."""
        return " ".join(self.out.split())


def run(*args: object) -> Outcome:
    """Run the command line in this process."""
    code, out, err = 0, io.StringIO(), io.StringIO()
    with mock.patch.object(sys, "argv", ["tailbound", *map(str, args)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code or 0
    return Outcome(code, out.getvalue(), err.getvalue())


def run_process(*args: object, cwd: Path, **environment: str) -> Outcome:
    """Run the command line as a shell does."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tailbound", *map(str, args)],
        cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def derived(*args: object) -> dict:
    done = run("derive", *args, "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def assert_rejected(done: Outcome, *parts: str) -> None:
    """One line on stderr with all `parts`, nothing on stdout, exit code 2."""
    assert done.code == 2, done
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    assert done.err.startswith("tailbound: ")
    for part in parts:
        assert part in done.err


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
    [("ldam", "ldam.bias_shift"), ("ldam.bias_*", "ldam.bias_shift"), ("*", "alpha_loss.tilting")],
)
def test_explain_takes_one_claim(several, named):
    assert_rejected(run("explain", several), f"one claim id, got '{several}'", named)


@pytest.mark.parametrize(
    ("unknown", "near"),
    [("ldam.binary_splt", "did you mean ldam.binary_split"), ("ldm", "did you mean ldam"), ("", "")],
)
def test_explain_of_an_unknown_claim_suggests_the_nearest(unknown, near):
    assert_rejected(run("explain", unknown), f"'{unknown}'", near)


# derive: where the counts come from


@pytest.mark.parametrize(
    ("args", "counts", "names"),
    [
        (["5000", "500", "50"], [5000, 500, 50], ["0", "1", "2"]),
        (["5000,500,50"], [5000, 500, 50], ["0", "1", "2"]),
        (["5000,", "500,", "50"], [5000, 500, 50], ["0", "1", "2"]),
        (["5000, 500, 50"], [5000, 500, 50], ["0", "1", "2"]),
        (["5e3", "+500", "50.0"], [5000, 500, 50], ["0", "1", "2"]),
        (["cat=900", "dog=90"], [900, 90], ["cat", "dog"]),
        (["cat=900,dog=90"], [900, 90], ["cat", "dog"]),
        (["cat=900, dog = 90"], [900, 90], ["cat", "dog"]),
        (["a=b=900", "big dog=90"], [900, 90], ["a=b", "big dog"]),
        (["[red]=9", "b=3"], [9, 3], ["[red]", "b"]),
        (["5000", "0", "50", "--drop-empty"], [5000, 50], ["0", "2"]),
        (["a=5000", "b=0", "c=50", "--drop-empty"], [5000, 50], ["a", "c"]),
    ],
)
def test_derive_from_counts(args, counts, names):
    assert (plain := derived(*args))["counts"] == counts
    assert plain["classes"] == names
    table = run("derive", *args)
    assert (table.code, table.err) == (0, "")
    assert all(name in table.out for name in names)


def write_csv(folder: Path) -> Path:
    (folder / "a.csv").write_text("class,count\ncat,900\ndog,90\n", encoding="utf-8")
    return folder / "a.csv"


def write_json(folder: Path) -> Path:
    (folder / "a.json").write_text('{"cat": 900, "dog": 90}', encoding="utf-8")
    return folder / "a.json"


def write_parquet(folder: Path) -> Path:
    pd.DataFrame({"label": ["cat"] * 900 + ["dog"] * 90}).to_parquet(folder / "a.parquet")
    return folder / "a.parquet"


def write_npy(folder: Path) -> Path:
    np.save(folder / "a.npy", np.repeat(["cat", "dog"], [900, 90]))
    return folder / "a.npy"


def write_images(folder: Path) -> Path:
    for name, count in (("cat", 900), ("dog", 90)):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(count):
            (folder / "train" / name / f"{number}.png").touch()
    return folder


@pytest.mark.parametrize("write", [write_csv, write_json, write_parquet, write_npy, write_images])
def test_derive_from_a_file_or_a_folder_of_images(write, tmp_path, monkeypatch):
    path = write(tmp_path)
    assert (plain := derived(path))["counts"] == [900, 90]
    assert plain["classes"] == ["cat", "dog"]
    monkeypatch.chdir(path.parent if path.is_file() else path)
    assert derived(path.name if path.is_file() else ".") == plain


def test_derive_tells_counts_from_labels_when_asked(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("2\n2\n1\n1\n0\n" * 3, encoding="utf-8")
    assert derived(path)["counts"] == [3, 6, 6]
    assert derived(path, "--labels")["counts"] == [3, 6, 6]
    path.write_text("2\n2\n1\n1\n1\n", encoding="utf-8")
    assert_rejected(run("derive", path), str(path), "--counts or --labels")
    assert derived(path, "--counts")["counts"] == [2, 2, 1, 1, 1]
    assert_rejected(run("derive", path, "--counts", "--labels"), "both --counts and --labels")


def test_derive_takes_the_named_column(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("train,test,species\n900,9,cat\n90,8,dog\n", encoding="utf-8")
    assert_rejected(run("derive", path), "['train', 'test', 'species']", "--column")
    assert_rejected(run("derive", path, "--column", "trian"), "'trian'", "did you mean train")
    assert derived(path, "--column", "train", "--counts")["counts"] == [900, 90]


def write_cifar(folder: Path, counts: list[int]) -> Path:
    root = folder / "cifar-10-batches-py"
    root.mkdir()
    labels = np.repeat(np.arange(10), counts)
    for name, part in zip(
        [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"],
        [*np.array_split(labels, 5), np.arange(10)],
        strict=True,
    ):
        data = np.zeros((len(part), 3072), dtype=np.uint8)
        (root / name).write_bytes(pickle.dumps({b"labels": part.tolist(), b"data": data}, protocol=2))
    (root / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"c%d" % k for k in range(10)]}, protocol=2))
    return folder


def write_idx(folder: Path, counts: list[int]) -> Path:
    labels = np.repeat(np.arange(10, dtype=np.uint8), counts)
    content = np.array([0x801, len(labels)], dtype=">u4").tobytes() + labels.tobytes()
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    return folder


@pytest.mark.parametrize(("write", "names"), [(write_cifar, "c{}"), (write_idx, "{}")])
def test_derive_from_a_dataset_folder(write, names, tmp_path):
    counts = [60, 50, 40, 30, 20, 10, 5, 4, 3, 2]
    plain = derived(write(tmp_path, counts))
    assert plain["counts"] == counts
    assert plain["classes"] == [names.format(k) for k in range(10)]


def test_derive_from_a_gapped_dataset_names_the_class(tmp_path):
    folder = write_cifar(tmp_path, [60, 50, 0, 30, 20, 10, 5, 4, 3, 2])
    assert_rejected(run("derive", folder), "classes [c2] have counts [0]", "drop")
    assert len(derived(folder, "--drop-empty")["counts"]) == 9


def test_derive_refuses_a_pickle_that_runs_code(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    folder = write_cifar(tmp_path, [6] * 10)
    (folder / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps(Attack()))
    assert_rejected(run("derive", folder), "data_batch_3", "mkdir")
    assert not (tmp_path / "attacked").exists()


def test_derive_of_ten_thousand_classes(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("name,count\n" + "".join(f"c{k},{k % 977 + 1}\n" for k in range(10_000)), encoding="utf-8")
    plain = derived(path)
    assert len(plain["counts"]) == len(plain["constants"]["ldam.margins"]["value"]) == 10_000
    table = run("derive", path)
    assert (table.code, table.err) == (0, "")
    assert "classes between left out" in table.out
    assert "c0" in table.out
    assert "c9999" in table.out


# derive: profiles


def test_profile_without_a_source():
    assert derived("--long-tailed", 100, "--classes", 10, "--largest", 5000)["counts"] == CIFAR_10_LT
    assert derived("--step", 100, "--classes", 10, "--largest", 5000)["counts"] == [5000] * 5 + [50] * 5
    assert derived("--long-tailed", 1, "--classes", 2, "--largest", 7)["counts"] == [7, 7]


def test_profile_of_a_balanced_source(tmp_path):
    names = [f"class {k}" for k in range(10)]
    path = tmp_path / "balanced.json"
    path.write_text(json.dumps(dict.fromkeys(names, 5000)), encoding="utf-8")
    assert (plain := derived(path, "--long-tailed", 100))["counts"] == CIFAR_10_LT
    assert plain["classes"] == names
    assert derived(path, "--step", 100)["counts"] == [5000] * 5 + [50] * 5
    assert derived(*[5000] * 10, "--long-tailed", 100)["counts"] == CIFAR_10_LT
    folder = tmp_path / "cifar"
    folder.mkdir()
    assert derived(write_cifar(folder, [100] * 10), "--step", 10)["counts"] == [100] * 5 + [10] * 5


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ("", ["numbers, a file or a folder", "--long-tailed RATIO"]),
        ("--long-tailed 100", ["--classes K and --largest N"]),
        ("--long-tailed 100 --classes 10", ["--largest N"]),
        ("--classes 10 --largest 5000", ["--long-tailed RATIO"]),
        ("--long-tailed 9 --step 9 --classes 10 --largest 5000", ["both --long-tailed and --step", "keep one"]),
        ("500 500 --long-tailed 9 --step 9", ["both --long-tailed and --step", "keep one"]),
        ("500 500 --long-tailed 9 --classes 2", ["--classes and --largest"]),
        ("5000 50 --long-tailed 2", ["1262 examples of class 1", "has 50", "balance it first"]),
        ("cat=5000 dog=50 --step 2", ["1262 examples of class dog", "has 50"]),
        ("500 500 --long-tailed 1000", ["classes [1] have counts [0]"]),
        ("--long-tailed 0.5 --classes 10 --largest 5000", ["imbalance_ratio", "got 0.5"]),
        ("--long-tailed nan --classes 10 --largest 5000", ["imbalance_ratio", "got nan"]),
        ("--step inf --classes 10 --largest 5000", ["imbalance_ratio", "got inf"]),
        ("--step -9 --classes 10 --largest 5000", ["imbalance_ratio", "got -9"]),
        ("--long-tailed 100 --classes 1 --largest 5000", ["num_classes", "got 1"]),
        ("--long-tailed 100 --classes -3 --largest 5000", ["num_classes", "got -3"]),
        ("--long-tailed 100 --classes 1000000000000 --largest 5000", ["num_classes", "got 1000000000000"]),
        ("--long-tailed 100 --classes 10 --largest -5000", ["largest", "got -5000"]),
        ("--long-tailed 100 --classes 10 --largest 1000000000000", ["largest", "got 1000000000000"]),
        ("--long-tailed 100 --classes 10 --largest 1" + "0" * 400, ["largest", "got 1000"]),
        ("--long-tailed 100 --classes 10 --largest 5", ["classes [4, 5, 6, 7, 8] have counts", "(and 1 more)"]),
    ],
)
def test_impossible_profile_is_one_line(args, parts):
    assert_rejected(run("derive", *args.split()), *parts)


# derive: bad counts, files, folders and settings


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        (["0", "5"], ["classes [0] have counts [0]", "drop"]),
        (["5", "-5"], ["classes [1] have counts [-5]"]),
        (["-5", "3"], ["classes [0] have counts [-5]"]),
        (["-5"], ["-5"]),
        (["cat=-5", "dog=3"], ["classes [cat] have counts [-5]"]),
        (["2.5", "3"], ["whole numbers", "[2.5]"]),
        (["nan", "3"], ["whole numbers", "[nan]"]),
        (["5", "inf"], ["classes [1] have counts [inf]"]),
        (["-inf", "5"], ["classes [0] have counts [-inf]"]),
        (["5"], ["at least 2 classes, got 1", "[5]"]),
        (["cat=5"], ["at least 2 classes, got 1"]),
        (["1e12", "3"], ["below 10**12", "[1000000000000]"]),
        (["1000000000000", "3"], ["below 10**12", "[1000000000000]"]),
        (["9" * 5000, "3"], ["classes [0] have counts"]),
        (["5", "three"], ["'three'"]),
        (["5", "cat=3"], ["'cat=3'"]),
        (["cat=", "dog=3"], ["'cat'", "''"]),
        (["=5", "dog=3"], ["'=5'", "name=count"]),
        (["cat=5", "cat=3"], ["'cat'", "merge"]),
        (["5", "-x"], ["'-x'"]),
        ([""], ["''"]),
        ([" ", "5"], ["''"]),
        ([","], ["got none"]),
        (["no-such-file.csv"], ["no-such-file.csv: no such file"]),
        (["no such folder"], ["no such folder: no such file"]),
        (["a\nb"], ["a\\nb: no such file"]),
        (["\x1b[31m"], ["\\x1b[31m: no such file"]),
        (["\0"], ["\\x00: cannot be read"]),
        (["\udcff"], ["\\udcff"]),
        (["x" * 5000], ["File name too long"]),
    ],
)
def test_bad_counts_are_one_line(args, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert_rejected(run("derive", *args), *parts)


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("empty.csv", b"", ["is empty"]),
        ("empty.json", b"", ["is empty"]),
        ("blank.csv", b"\n\n", ["no values"]),
        ("header.csv", b"class,count\n", ["no values"]),
        ("truncated.csv", b"class,count\ncat,5\nowl", ["classes [owl]", "['']"]),
        ("truncated.json", b'{"cat": 3, "ow', ["is not JSON"]),
        ("truncated.npy", b"\x93NUMPY\x01\x00v", ["is not a complete .npy file"]),
        ("truncated.parquet", b"PAR1xxxx", ["is not a readable parquet file"]),
        ("gap.csv", b"label\n0\n0\n2\n", ["classes [1] never occur", "drop"]),
        ("zero.csv", b"class,count\ncat,5\nowl,0\n", ["classes [owl] have counts [0]"]),
        ("negative.csv", b"class,count\ncat,5\nowl,-3\n", ["classes [owl] have counts [-3]"]),
        ("fraction.csv", b"class,count\ncat,5\nowl,2.5\n", ["classes [owl] have counts [2.5]"]),
        ("missing.csv", b"class,count\ncat,5\nowl,nan\n", ["classes [owl]", "nan"]),
        ("infinite.csv", b"class,count\ncat,5\nowl,inf\n", ["classes [owl]", "inf"]),
        ("huge.csv", b"class,count\ncat,5\nowl,1e12\n", ["classes [owl] have counts [1000000000000]"]),
        ("huge.json", b'{"cat": 1' + b"0" * 5000 + b', "owl": 3}', ["huge.json", "4300 digits"]),
        ("one.csv", b"class,count\ncat,5\n", ["at least 2 classes, got 1"]),
        ("counts.xlsx", b"PK", ["'.xlsx'", ".csv"]),
        ("latin.csv", b"class,count\ncaf\xe9,5\nowl,3\n", ["is not UTF-8"]),
    ],
)
def test_bad_file_is_one_line(name, content, parts, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert_rejected(run("derive", tmp_path / name), f"{name}: ", *parts)


@pytest.mark.parametrize("inside", [[], ["notes.txt"], ["cat/notes.txt"], ["cifar-10-batches-py/readme.html"]])
def test_folder_that_is_no_dataset_is_one_line(inside, tmp_path):
    for name in inside:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert_rejected(run("derive", tmp_path), str(tmp_path))


def test_dataset_cut_short_is_one_line(tmp_path):
    folder = write_cifar(tmp_path, [6] * 10)
    batch = folder / "cifar-10-batches-py" / "data_batch_2"
    batch.write_bytes(batch.read_bytes()[:-100])
    assert_rejected(run("derive", folder), "data_batch_2", "unpack")


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ("--max-margin nan", ["max_margin", "got nan"]),
        ("--max-margin -1", ["max_margin", "got -1"]),
        ("--max-margin 2", ["max_margin", "K / (K - 1)", "got 2"]),
        ("--probability 0.3", ["probability", "got 0.3"]),
        ("--probability nan", ["probability", "got nan"]),
        ("--probability 1", ["probability"]),
        ("--epochs 1", ["epochs", "got 1"]),
        ("--epochs -1", ["epochs", "got -1"]),
        ("--epochs 1" + "0" * 400, ["epochs", "got 1000"]),
        ("--test-priors 0.5", ["test_priors", "2 classes"]),
        ("--test-priors 0.5,half", ["test_priors", "'half'"]),
        ("--test-priors 0.5,nan", ["test_priors", "nan"]),
        ("--test-priors 1,0", ["test_priors", "0"]),
        ("--test-priors=", ["test_priors"]),
        ("--snippet --loss ldma", ["'ldma'", "did you mean ldam"]),
        ("--snippet --loss focal", ["'focal'", "ldam", "vs"]),
        ("--snippet --json", ["both --json and --snippet"]),
    ],
)
def test_bad_setting_is_one_line(args, parts):
    assert_rejected(run("derive", 5000, 50, *args.split()), *parts)


# derive: what comes out


def test_json_holds_every_constant_with_its_reason():
    plain = derived(5000, 50)
    assert {"classes", "counts", "imbalance_ratio", "constants", "notes"} <= set(plain)
    np.testing.assert_allclose(plain["constants"]["ldam.margins"]["value"], [0.5 * 100**-0.25, 0.5], rtol=1e-12)
    for constant in plain["constants"].values():
        assert constant["formula"]
        assert constant["reason"]
        assert constant["origin"] in ("theorem", "convention", "sweep")
        if constant["claim"]:
            assert constant["claim"] in load()
            assert constant["verdict"] in ("proved", "confirmed")
        else:  # no theorem supports the number
            assert constant["verdict"] == "none"
            assert constant["origin"] != "theorem"


def test_table_shows_every_constant_with_its_claim():
    done = run("derive", 5000, 500, 50)
    assert "3 classes, 5550 examples, imbalance ratio 100" in done.out
    for name, constant in derived(5000, 500, 50)["constants"].items():
        assert name in done.out
        assert constant["claim"] in done.out


def test_settings_reach_the_constants():
    plain = derived(5000, 50, "--max-margin", 0.3, "--epochs", 100, "--test-priors", "0.8,0.2")["constants"]
    assert max(plain["ldam.margins"]["value"]) == 0.3
    assert plain["drw.switch_epoch"]["value"] == 80
    ratio = np.divide(*plain["ldam.margins_test_priors"]["value"])
    np.testing.assert_allclose(ratio, (0.8 / 0.2) ** 0.5 * (5000 / 50) ** -0.25, rtol=1e-12)
    assert "ldam.margins_test_priors" not in derived(5000, 50)["constants"]


def test_class_with_one_example_is_noted():
    assert any("Class owl has one example" in note for note in derived("cat=500", "owl=1")["notes"])
    assert "Note: Class owl has one example" in run("derive", "cat=500", "owl=1").out
    assert "one example" not in run("derive", "cat=500", "owl=2").out


def test_largest_admitted_counts_give_finite_constants():
    plain = derived(10**12 - 1, 1)
    for constant in plain["constants"].values():
        assert np.isfinite(constant["value"]).all()


@pytest.mark.parametrize("loss", ["ldam", "la", "cdt", "vs"])
def test_snippet_builds_the_loss(loss):
    torch = pytest.importorskip("torch")
    done = run("derive", 5000, 500, 50, "--snippet", "--loss", loss)
    assert (done.code, done.err) == (0, "")
    names: dict = {}
    exec(compile(done.out, "<snippet>", "exec"), names)
    logits = torch.tensor([[0.5, -0.5, 0.1], [0.2, 0.9, -0.3]], requires_grad=True)
    value = names["loss"](logits, torch.tensor([0, 2]))
    value.backward()
    assert value.ndim == 0
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


def test_snippet_of_ldam_is_the_default():
    assert run("derive", 5, 3, "--snippet").out == run("derive", 5, 3, "--snippet", "--loss", "ldam").out


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


# Properties of the parsers

counts_lists = st.lists(st.integers(1, 10**11), min_size=2, max_size=8)
OPTIONS = ["--json", "--jsn", "--snippet", "--counts", "--labels", "--drop-empty", "--long-tailed", "--step", "-h"]
OPTIONS += [
    "--classes",
    "--largest",
    "--column",
    "--max-margin",
    "--epochs",
    "--probability",
    "--test-priors",
    "--loss",
]
VALUES = ["0", "1", "2", "50", "-5", "2.5", "1e9", "1e12", "nan", "inf", "5,3", "a=5", "a=5,b=3", "vs", "=", "--", "."]

no_slash = st.characters(exclude_categories=(), exclude_characters="/\\")  # no path outside the working folder
words = st.one_of(
    st.text(no_slash, max_size=8),
    st.sampled_from(OPTIONS + VALUES),
    st.integers(-(10**13), 10**13).map(str),
    st.floats().map(str),
)


@settings(deadline=None, max_examples=40)
@given(counts_lists, st.sampled_from(["spaces", "commas", "names", "names and commas"]))
def test_counts_come_back_whichever_way_they_are_written(counts, spelling):
    words = [f"c{k}={n}" for k, n in enumerate(counts)] if spelling.startswith("names") else [str(n) for n in counts]
    plain = derived(*([",".join(words)] if spelling.endswith("commas") else words))
    assert plain["counts"] == counts
    assert plain["classes"] == [f"c{k}" if spelling.startswith("names") else str(k) for k in range(len(counts))]


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("empty") / "folder"


def assert_answers(done: Outcome) -> None:
    assert done.code in (0, 2), done
    if done.code:
        assert_rejected(done)
    else:
        assert done.out
        assert done.err == ""


@settings(deadline=None, max_examples=150)
@given(st.lists(words, max_size=6))
@example(["9" * 4500, "3"])
@example(["x" * 300, "3"])
@example(["\ud800"])
@example(["\ud800=5", "b=3"])
@example(["\x1b[2J=5", "b=3"])
@example(["--epochs", "9" * 4500, "5", "3"])
@example(["--max-margin", "1e-320", "5", "3"])
@example(["--test-priors", "1e300,1e-300", "5", "3"])
def test_any_words_after_derive_are_answered(empty_folder, tokens):
    empty_folder.mkdir(exist_ok=True)
    here = Path.cwd()
    os.chdir(empty_folder)
    try:
        assert_answers(run("derive", *tokens))
    finally:
        os.chdir(here)


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


def test_derive_sets_from_scores(tmp_path):
    scores = tmp_path / "scores.npy"
    np.save(scores, np.random.default_rng(1).dirichlet(np.full(5, 0.4), 200))
    constants = derived("--scores", scores, "--set-size", 2)
    assert constants["average_k.threshold"]["claim"] == "average_k.optimal_rule"
    assert "average_k.gain" in run("derive", "--scores", scores, "--set-size", 2).text


def test_scores_that_do_not_fit_are_refused(tmp_path):
    text, scores = tmp_path / "text.npy", tmp_path / "scores.npy"
    text.write_text("0.5,0.5\n")
    np.save(scores, np.full((4, 3), 1 / 3))
    assert_rejected(run("derive", "--scores", scores), "--scores and --set-size go together")
    assert_rejected(run("derive", 5, 5, "--scores", scores, "--set-size", 1), "take the place of class counts")
    assert_rejected(run("derive", "--scores", text, "--set-size", 1), str(text), "numpy.save")
    assert_rejected(run("derive", "--scores", tmp_path / "no.npy", "--set-size", 1), "No such file")
    assert_rejected(run("derive", "--scores", scores, "--set-size", 4), "mean_size must lie in (0, 3]", "4")
    assert_rejected(run("derive", 5, 5, "--noise-rate", 0.5), "noise_rate", "0.5")
