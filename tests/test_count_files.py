import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.count_files import read_counts
from tailbound.theory.core.errors import InputError

ANIMALS = ClassCounts((30, 3), ("cat", "owl"))
LABELS = ClassCounts((2, 1), ("cat", "owl"))
NUMBERED = ClassCounts((2, 1))


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def message(excinfo, path) -> str:
    text = str(excinfo.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        # counts
        ("a.json", '{"cat": 30, "owl": 3}', ANIMALS),
        ("a.json", '\ufeff{"cat": 30, "owl": 3.0}', ANIMALS),
        ("a.json", "[30, 3]", ClassCounts((30, 3))),
        ("a.csv", "class,count\ncat,30\nowl,3\n", ANIMALS),
        ("a.csv", "\ufeffclass;count\r\ncat;30\r\nowl;3\r\n", ANIMALS),
        ("a.csv", "n,name,class\n30, cat ,0\n3,owl,1\n", ANIMALS),
        ("a.csv", ",Num_Examples\ncat,30\nowl,3.0\n\n\n", ANIMALS),
        ("a.csv", "species,COUNT\ncat,30\nowl,3\n", ANIMALS),
        ("a.csv", 'name,count\n"cat",30\n"a, b",3\n', ClassCounts((30, 3), ("cat", "a, b"))),
        ("a.csv", "name,count\nNA,30\nnull,3\n", ClassCounts((30, 3), ("NA", "null"))),
        ("a.csv", "cat,30\nowl,3\n", ANIMALS),
        ("a.tsv", "class\tcount\ncat\t30\nowl\t3\n", ANIMALS),
        ("a.txt", "cat\t30\nowl\t3", ANIMALS),
        ("a.txt", "30\n3\n", ClassCounts((30, 3))),
        ("a.TXT", "3e1\n3\n", ClassCounts((30, 3))),
        # labels
        ("a.json", '["owl", "cat", "cat"]', LABELS),
        ("a.json", "[0, 1, 0]", NUMBERED),
        ("a.csv", "label\nowl\ncat\ncat\n", LABELS),
        ("a.csv", "id,label\n1,owl\n2,cat\n3,cat\n", LABELS),
        ("a.csv", "file,target\na.png,1\nb.png,0\nc.png,0\n", NUMBERED),
        ("a.csv", "y\n1.0\n0.0\n0.0\n", NUMBERED),
        ("a.txt", "species\n1\n0\n0\n", NUMBERED),
        ("a.txt", "cat\nowl\ncat\n", LABELS),
        ("a.txt", "y\nn\ny\n", ClassCounts((1, 2), ("n", "y"))),
        ("a.txt", "0\n1\n0\n\n", NUMBERED),
        ("a.csv", "a.png,0\nb.png,1\nc.png,0\n", NUMBERED),
        ("a.csv", "label\n10\n9\n10\nx\n", ClassCounts((2, 1, 1), ("10", "9", "x"))),
    ],
)
def test_meaning_is_recognised(tmp_path, name, content, expected):
    assert read_counts(write(tmp_path, name, content)) == expected


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([0, 1, 0]), NUMBERED),
        (np.array([0.0, 1.0, 0.0]), NUMBERED),
        (np.array([1, 0, 0], dtype=np.uint8), NUMBERED),
        (np.array([True, False, False]), NUMBERED),
        (np.array(["owl", "cat", "cat"]), LABELS),
    ],
)
def test_npy_holds_labels(tmp_path, array, expected):
    np.save(tmp_path / "a.npy", array)
    assert read_counts(tmp_path / "a.npy") == expected


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (pd.DataFrame({"class": ["cat", "owl"], "count": [30, 3]}), ANIMALS),
        (pd.DataFrame({"count": [Decimal(30), Decimal(3)]}, index=["cat", "owl"]), ANIMALS),
        (pd.Series(["cat"] * 30 + ["owl"] * 3, name="label").value_counts().to_frame(), ANIMALS),
        (pd.DataFrame({"x": [0.5, 0.1, 0.2], "y": [1, 0, 0]}), NUMBERED),
        (pd.DataFrame({"label": pd.Categorical(["owl", "cat", "cat"])}), LABELS),
        (pd.DataFrame({"pixels": [[1, 2], [3, 4], [5, 6]], "label": ["owl", "cat", "cat"]}), LABELS),
    ],
)
def test_parquet(tmp_path, frame, expected):
    frame.to_parquet(tmp_path / "a.parquet")
    assert read_counts(tmp_path / "a.parquet") == expected


def test_column_and_meaning_choose(tmp_path):
    table = write(tmp_path, "a.csv", "species,seen,kept\ncat,40,2\nowl,4,1\n")
    assert read_counts(table, column="seen") == ClassCounts((40, 4))
    assert read_counts(table, column="kept", meaning="counts").counts == (2, 1)
    assert read_counts(table, column="species", meaning="labels") == ClassCounts((1, 1), ("cat", "owl"))
    numbers = write(tmp_path, "b.json", "[1, 2, 1, 2]")
    assert read_counts(numbers, meaning="counts").counts == (1, 2, 1, 2)
    with pytest.raises(InputError, match="could be counts or labels; pass --counts or --labels"):
        read_counts(numbers)
    np.save(tmp_path / "c.npy", [30, 3])
    assert read_counts(tmp_path / "c.npy", meaning="counts").counts == (30, 3)
    with pytest.raises(InputError, match=r"never occur.*if they are counts, pass --counts"):
        read_counts(tmp_path / "c.npy")


def test_empty_classes_are_dropped_on_request(tmp_path):
    counts = write(tmp_path, "a.csv", "class,count\ncat,30\nyak,0\nowl,3\n")
    with pytest.raises(InputError, match=r"classes \[yak\] have counts \[0\]"):
        read_counts(counts)
    assert read_counts(counts, drop_empty=True) == ANIMALS
    labels = write(tmp_path, "b.csv", "label\n0\n2\n0\n")
    with pytest.raises(InputError, match=r"classes \[1\] never occur"):
        read_counts(labels)
    assert read_counts(labels, drop_empty=True) == ClassCounts((2, 1), ("0", "2"))


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=12), st.sampled_from(["csv", "tsv", "json", "parquet"]))
@settings(max_examples=40, deadline=None)
def test_written_counts_are_read_back(tmp_path_factory, counts, suffix):
    path = tmp_path_factory.mktemp("counts") / f"a.{suffix}"
    frame = pd.DataFrame({"class": [f"class {k}" for k in range(len(counts))], "count": counts})
    if suffix == "json":
        path.write_text(json.dumps(dict(zip(frame["class"], counts, strict=True))))
    elif suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    assert read_counts(path) == ClassCounts(tuple(counts), tuple(frame["class"]))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.xlsx", "x", "unknown suffix '.xlsx'; known: .csv"),
        ("a", "x", "unknown suffix ''"),
        ("a.csv", "", "is empty"),
        ("a.csv", "\n\n", "holds no values"),
        ("a.csv", "class,count\n", "holds no values"),
        ("a.csv", "class,count\ncat,30\nowl,3,4\n", "is not a table"),
        ("a.csv", 'class,count\n"cat,30\n', "is not a table"),
        ("a.csv", "class,count\ncat,30\nowl\n", r"classes \[owl\] have counts \[''\]"),
        ("a.csv", "class,count\ncat,30\nowl,NaN\n", r"classes \[owl\] have counts \['NaN'\]"),
        ("a.csv", "class,count\ncat,30\nowl,-3\n", r"classes \[owl\] have counts \[-3\]"),
        ("a.csv", "class,count\ncat,30\nowl,2.5\n", r"classes \[owl\] have counts \[2.5\]"),
        ("a.csv", 'class,count\ncat,30\nowl,"2,500"\n', r"classes \[owl\] have counts \['2,500'\]"),
        ("a.csv", "class,count\ncat,30\ncat,3\n", r"\['cat'\] occur more than once"),
        ("a.csv", "class,count\ncat,30\n,3\n", "no name for the class with count 3"),
        ("a.csv", "class,freq\ncat,30\nowl,3\n", "each of 2 labels once.*--counts or --labels"),
        ("a.csv", "class,label\ncat,30\nowl,3\n", r"which of its columns \['class', 'label'\].*--column"),
        ("a.csv", "1,2,3\n4,5,6\n", "3 columns without names"),
        ("a.csv", "label\n0\n\n1\n", r"examples \[2\] \(from 1\) have none"),
        ("a.csv", "label\n0\nNA\n1\n", r"examples \[2\] \(from 1\) have none"),
        ("a.csv", "label\ncat\nnan\ncat\n", r"examples \[2\] \(from 1\) have none"),
        ("a.csv", "label\n0\n1.5\n0\n", r"got \[1.5\]"),
        ("a.csv", "label\n0\n-1\n0\n", r"got \[-1\]"),
        ("a.csv", "label\n0\n3\n0\n", r"classes \[1, 2\] never occur"),
        ("a.txt", "species\ncat\nowl\ncat\nowl\n", "begins with 'species'.*put a first line 'label'"),
        ("a.txt", "1\n2\n2\n", "3 numbers that could be counts or labels"),
        ("a.csv", "label\nmäuse\n".encode("latin-1"), "not UTF-8"),
        ("a.csv", "label\nmäuse\n".encode("utf-16"), "not UTF-8"),
        ("a.json", b'["m\xe4use"]', "not UTF-8"),
        ("a.json", '{"cat": 30, "ow', "is not JSON .*line 1"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.json", '{"cat": 30, "cat": 3}', r"\['cat'\] more than once"),
        ("a.json", '{"cat": 30, "owl": NaN}', r"classes \[owl\] have counts \[nan\]"),
        ("a.json", '{"cat": 30, "owl": true}', r"classes \[owl\] have counts \[True\]"),
        ("a.json", '{"cat": 30, "owl": null}', r"classes \[owl\] have counts \[None\]"),
        ("a.json", '{"a.png": "cat"}', r"classes \[a.png\] have counts \['cat'\]"),
        ("a.json", '{"cat": [30]}', "must be an object"),
        ("a.json", "30", "must be an object"),
        ("a.json", "[]", "holds no values"),
        ("a.json", '["cat", null, "cat"]', r"examples \[2\]"),
        ("a.json", '["cat", "owl"]', "each of 2 labels once"),
        ("a.parquet", b"PAR1....PAR1", "not a readable parquet"),
        ("a.npy", b"not numpy", "not a complete .npy"),
        ("a.npy", b"\x93NUMPY\x01\x00", "not a complete .npy"),
    ],
)
def test_errors_name_path_value_and_remedy(tmp_path, name, content, expected):
    path = write(tmp_path, name, content)
    with pytest.raises(InputError, match=expected) as excinfo:
        read_counts(path)
    message(excinfo, path)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.zeros((3, 1), int), r"shape \(3, 1\); save a 1-d array"),
        (np.array(5), r"shape \(\)"),
        (np.zeros(0, int), "holds no values"),
        (np.array([0, 1, 1j]), "dtype complex128"),
        (np.array([0.0, np.nan]), r"got \[nan\]"),
        (np.array([0, 5, 0]), r"classes \[1, 2, 3, 4\] never occur"),
        (np.array([0, 1, -1]), r"got \[-1\]"),
    ],
)
def test_wrong_npy(tmp_path, array, expected):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=expected) as excinfo:
        read_counts(tmp_path / "a.npy")
    message(excinfo, tmp_path / "a.npy")


class Hostile:
    def __init__(self, sentinel):
        self.sentinel = sentinel

    def __reduce__(self):
        return open, (str(self.sentinel), "w")


def test_npy_never_unpickles(tmp_path):
    np.save(tmp_path / "a.npy", np.array([Hostile(tmp_path / "ran")], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="could run code"):
        read_counts(tmp_path / "a.npy")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("suffix", ["npy", "parquet", "json"])
def test_truncated_files(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    labels = np.tile([0, 1], 1000)
    if suffix == "npy":
        np.save(path, labels)
    elif suffix == "parquet":
        pd.DataFrame({"label": labels}).to_parquet(path)
    else:
        path.write_text(json.dumps(labels.tolist()))
    whole = path.read_bytes()
    assert read_counts(path).counts == (1000, 1000)
    for size in (1, 5, 9, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"write it again|numpy.save|is not JSON") as excinfo:
            read_counts(path)
        message(excinfo, path)


def test_missing_file_folder_column_and_meaning(tmp_path):
    with pytest.raises(InputError, match="no such file; check the path"):
        read_counts(tmp_path / "a.csv")
    with pytest.raises(InputError, match="is a folder, not a file"):
        read_counts(tmp_path)
    path = write(tmp_path, "a.csv", "class,count\ncat,30\nowl,3\n")
    with pytest.raises(InputError, match="has no column 'coutn'; did you mean count"):
        read_counts(path, column="coutn")
    with pytest.raises(InputError, match="has no columns to choose 'x' from"):
        read_counts(write(tmp_path, "a.json", "{}"), column="x")
    with pytest.raises(InputError, match="meaning must be 'counts', 'labels' or None, got 'count'"):
        read_counts(path, meaning="count")  # pyright: ignore
    with pytest.raises(InputError, match="must be an object"):
        read_counts(write(tmp_path, "b.json", '{"cat": 30}'), meaning="labels")
    pd.DataFrame({"pixels": [[1], [2]]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="several values in each cell of 'pixels'"):
        read_counts(tmp_path / "a.parquet")


def test_two_million_labels_are_counted(tmp_path):
    labels = np.arange(2_000_000) % 1000
    np.save(tmp_path / "a.npy", labels)
    assert read_counts(tmp_path / "a.npy").counts == (2000,) * 1000
