"""``tailbound derive``, misused: impossible profiles, bad counts, files, folders and settings, any words at all."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import assert_answers, assert_rejected, run
from hypothesis import example, given, settings
from hypothesis import strategies as st


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


# Counts, files, folders and settings


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


def test_scores_that_do_not_fit_are_refused(tmp_path):
    text, scores = tmp_path / "text.npy", tmp_path / "scores.npy"
    text.write_text("0.5,0.5\n")
    np.save(scores, np.full((4, 3), 1 / 3))
    assert_rejected(run("derive", "--scores", scores), "--scores and --set-size go together")
    assert_rejected(run("derive", 5, 5, "--scores", scores, "--set-size", 1), "take the place of class counts")
    for option in (("--snippet",), ("--noise-rate", 0.2), ("--long-tailed", 10)):
        assert_rejected(run("derive", "--scores", scores, "--set-size", 1, *option), "take the place of class counts")
    assert_rejected(run("derive", "--scores", text, "--set-size", 1), str(text), "numpy.save")
    assert_rejected(run("derive", "--scores", tmp_path / "no.npy", "--set-size", 1), "No such file")
    assert_rejected(run("derive", "--scores", scores, "--set-size", 4), "mean_size must lie in (0, 3]", "4")
    assert_rejected(run("derive", 5, 5, "--noise-rate", 0.5), "noise_rate", "0.5")


# Any words

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


@pytest.fixture(scope="module")
def empty_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("empty") / "folder"


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
