"""``tailbound derive``: counts from the command line, files and folders; profiles; constants, table and snippets."""

import gzip
import json
import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import assert_rejected, derived, run
from hypothesis import given, settings
from hypothesis import strategies as st
from tailbound.theory.claims import load

CIFAR_10_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
counts_lists = st.lists(st.integers(1, 10**11), min_size=2, max_size=8)


# Where the counts come from


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


@settings(deadline=None, max_examples=40)
@given(counts_lists, st.sampled_from(["spaces", "commas", "names", "names and commas"]))
def test_counts_come_back_whichever_way_they_are_written(counts, spelling):
    words = [f"c{k}={n}" for k, n in enumerate(counts)] if spelling.startswith("names") else [str(n) for n in counts]
    plain = derived(*([",".join(words)] if spelling.endswith("commas") else words))
    assert plain["counts"] == counts
    assert plain["classes"] == [f"c{k}" if spelling.startswith("names") else str(k) for k in range(len(counts))]


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


def test_dataset_cut_short_is_one_line(tmp_path):
    folder = write_cifar(tmp_path, [6] * 10)
    batch = folder / "cifar-10-batches-py" / "data_batch_2"
    batch.write_bytes(batch.read_bytes()[:-100])
    assert_rejected(run("derive", folder), "data_batch_2", "unpack")


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


# Profiles


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


# What comes out


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


def test_derive_sets_from_scores(tmp_path):
    scores = tmp_path / "scores.npy"
    np.save(scores, np.random.default_rng(1).dirichlet(np.full(5, 0.4), 200))
    constants = derived("--scores", scores, "--set-size", 2)
    assert constants["average_k.threshold"]["claim"] == "average_k.optimal_rule"
    assert "average_k.gain" in run("derive", "--scores", scores, "--set-size", 2).text
