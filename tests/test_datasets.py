import gzip
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from tailbound.nn_validation.core.datasets import class_counts, read_images, read_labels
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.errors import InputError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
RNG = np.random.default_rng(0)


def python2(content: dict, core: str = "numpy.core") -> bytes:
    """Pickle as Python 2 does, by hand: text as short byte strings, arrays through numpy's functions."""

    def short(value: bytes) -> bytes:
        return (
            b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + len(value).to_bytes(4, "little") + value
        )

    def number(value: int) -> bytes:
        return b"J" + value.to_bytes(4, "little", signed=True)

    def write(value) -> bytes:
        if isinstance(value, bytes | str):
            return short(value if isinstance(value, bytes) else value.encode())
        if isinstance(value, int):
            return number(value)
        if isinstance(value, list):
            return b"](" + b"".join(map(write, value)) + b"e"
        dtype = b"cnumpy\ndtype\n" + b"(" + short(b"u1") + number(0) + number(1) + b"tR"
        dtype += b"(" + number(3) + short(b"|") + b"NNN" + number(-1) + number(-1) + number(0) + b"tb"
        array = b"c" + core.encode() + b".multiarray\n_reconstruct\n" + b"(cnumpy\nndarray\n"
        array += b"(" + number(0) + b"t" + short(b"b") + b"tR"
        shape = b"(" + b"".join(map(number, value.shape)) + b"t"
        return array + b"(" + number(1) + shape + dtype + b"I00\n" + short(value.tobytes()) + b"tb"

    items = b"".join(write(key) + write(value) for key, value in content.items())
    return b"\x80\x02}(" + items + b"u."


def python3(content: dict, core: str = "numpy._core", protocol: int = 2, text: bool = False) -> bytes:
    keys = {key.decode() if text else key: value for key, value in content.items()}
    raw = pickle.dumps(keys, protocol=protocol)
    return raw.replace(b"numpy._core.", core.encode() + b".") if protocol < 4 else raw


WRITERS = {
    "Python 2": python2,
    "Python 2, numpy 2": lambda content: python2(content, "numpy._core"),
    "Python 3, numpy 1": lambda content: python3(content, "numpy.core"),
    "Python 3, numpy 2": python3,
    "text keys": lambda content: python3(content, text=True),
    "protocol 4": lambda content: python3(content, protocol=4),
    "protocol 5": lambda content: python3(content, protocol=5),
}


def write_cifar10(parent, writer=python3, per_batch=20):
    root = parent / "cifar-10-batches-py"
    root.mkdir(parents=True, exist_ok=True)
    images, labels = {}, {}
    for k, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        split = "test" if name == "test_batch" else "train"
        data = RNG.integers(0, 256, (per_batch, 3072), dtype=np.uint8)
        batch = [(k + j * j) % 10 if j > 9 else j for j in range(per_batch)]
        (root / name).write_bytes(writer({b"data": data, b"labels": batch, b"batch_label": b"a batch"}))
        images.setdefault(split, []).append(data)
        labels.setdefault(split, []).extend(batch)
    (root / "batches.meta").write_bytes(writer({b"label_names": [n.encode() for n in NAMES], b"num_vis": 3072}))
    return root, {split: np.concatenate(images[split]).reshape(-1, 3, 32, 32) for split in images}, labels


def write_idx(root, labels, images=None, part="train", end=""):
    root.mkdir(parents=True, exist_ok=True)
    pack = gzip.compress if end else bytes
    content = np.array([0x801, len(labels)], ">u4").tobytes() + bytes(labels)
    (root / f"{part}-labels-idx1-ubyte{end}").write_bytes(pack(content))
    if images is not None:
        content = np.array([0x803, *images.shape], ">u4").tobytes() + images.tobytes()
        (root / f"{part}-images-idx3-ubyte{end}").write_bytes(pack(content))


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def refused(folder, expected, read=class_counts):
    with pytest.raises(InputError, match=expected) as excinfo:
        read(folder)
    assert "\n" not in str(excinfo.value)
    assert str(folder) in str(excinfo.value)


# CIFAR


@pytest.mark.parametrize("writer", WRITERS.values(), ids=WRITERS.keys())
def test_cifar10(tmp_path, writer):
    root, images, labels = write_cifar10(tmp_path, writer)
    for folder in (root, tmp_path, str(tmp_path)):
        counts = class_counts(folder)
        assert counts.names == tuple(NAMES)
        assert counts.counts == tuple(np.bincount(labels["train"], minlength=10).tolist())
        for split in ("train", "test"):
            read, numbers = read_images(folder, split)
            np.testing.assert_array_equal(read, images[split])
            np.testing.assert_array_equal(numbers, labels[split])
            np.testing.assert_array_equal(read_labels(folder, split).labels, labels[split])


@pytest.mark.parametrize("writer", [python2, python3])
def test_cifar100(tmp_path, writer):
    root = tmp_path / "cifar-100-python"
    root.mkdir()
    labels = list(range(100)) + [7] * 5
    data = np.zeros((len(labels), 3072), np.uint8)
    content = {b"data": data, b"fine_labels": labels, b"coarse_labels": [0] * len(labels)}
    (root / "train").write_bytes(writer(content))
    (root / "meta").write_bytes(writer({b"fine_label_names": [b"class%d" % k for k in range(100)]}))
    assert class_counts(tmp_path) == ClassCounts.from_any({f"class{k}": 6 if k == 7 else 1 for k in range(100)})
    refused(root, "test: is missing", read=lambda folder: read_images(folder, "test"))
    root.rename(tmp_path / "renamed")
    assert class_counts(tmp_path / "renamed").total == 105


@pytest.mark.parametrize("dtype", [">i8", "<i4", "u1"])
def test_labels_may_be_an_array(tmp_path, dtype):
    root, _, labels = write_cifar10(tmp_path)
    batch = {b"data": np.zeros((20, 3072), np.uint8, order="F"), b"labels": np.array(labels["test"], dtype)}
    (root / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    np.testing.assert_array_equal(read_labels(root, "test").labels, labels["test"])


@pytest.mark.parametrize("name", ["data_batch_1", "data_batch_5", "batches.meta"])
def test_a_missing_file_is_named(tmp_path, name):
    root, *_ = write_cifar10(tmp_path)
    (root / name).unlink()
    refused(root, f"{name}: is missing; download and unpack")


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated_pickles(tmp_path, share):
    root, *_ = write_cifar10(tmp_path)
    whole = (root / "data_batch_3").read_bytes()
    (root / "data_batch_3").write_bytes(whole[: int(share * len(whole))])
    refused(root, "data_batch_3: is damaged or cut short")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({b"data": np.zeros((2, 3072), np.uint8)}, "no list of whole labels"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 0.5]}, "no list of whole labels"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [[0], [1, 2]]}, "no list of whole labels"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 10]}, r"labels \[10\], outside 0..9"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, -1]}, r"labels \[-1\], outside 0..9"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1, 2]}, "must hold 3 images of 3072 bytes"),
        ({b"data": np.zeros((2, 3071), np.uint8), b"labels": [0, 1]}, "must hold 2 images of 3072 bytes"),
        ({b"data": [1, 2], b"labels": [0, 1]}, "must hold 2 images"),
        ({b"labels": [0, 1]}, "must hold 2 images"),
        ({b"data": np.zeros(2), b"labels": [0, 1]}, "array of 'f8', not of whole numbers"),
        ({b"data": np.array([{}]), b"labels": [0, 1]}, "array of 'O8', not of whole numbers"),
        ([0, 1], "is damaged or cut short"),
    ],
)
def test_wrong_batches(tmp_path, content, expected):
    root, *_ = write_cifar10(tmp_path)
    (root / "data_batch_2").write_bytes(pickle.dumps(content, protocol=2))
    refused(root, f"data_batch_2: .*{expected}")


@pytest.mark.parametrize("names", [None, [b"cat"], [b"cat"] * 9, "cat"])
def test_wrong_names(tmp_path, names):
    root, *_ = write_cifar10(tmp_path)
    (root / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    refused(root, "batches.meta: must list 10 names as 'label_names'")


def test_equal_names_and_empty_classes(tmp_path):
    root, *_ = write_cifar10(tmp_path)
    (root / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat"] * 10}, protocol=2))
    refused(root, r"\['cat'\] occur more than once")
    write_cifar10(tmp_path, per_batch=4)
    refused(tmp_path, r"classes \[deer, dog, frog, horse, ship\] have counts \[0, 0, 0, 0, 0\] \(and 1 more\)")
    assert class_counts(tmp_path, drop_empty=True) == ClassCounts((5,) * 4, tuple(NAMES[:4]))


# A pickle from a stranger


class Hostile:
    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


@pytest.mark.parametrize("name", ["data_batch_1", "batches.meta"])
@pytest.mark.parametrize("protocol", range(6))
def test_hostile_pickles_do_not_run(tmp_path, name, protocol):
    root, *_ = write_cifar10(tmp_path)
    sentinel = tmp_path / "ran"
    for call, args, module in [
        (os.system, (f"touch {sentinel}",), f"{os.name}.system"),
        (eval, (f"open({str(sentinel)!r}, 'w')",), "eval"),
        (exec, (f"open({str(sentinel)!r}, 'w')",), "exec"),
        (open, (str(sentinel), "w"), "(io|builtin).*open"),
        (getattr, ("", "join"), "getattr"),
        (subprocess.run, (["touch", str(sentinel)],), "run"),  # `commands.run` in the older protocols
        (np.load, (str(sentinel),), "numpy.load"),
    ]:
        (root / name).write_bytes(pickle.dumps({b"labels": Hostile(call, *args)}, protocol=protocol))
        refused(root, rf"{name}: would run \S*{module}, which no CIFAR file needs")
        assert not sentinel.exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"cnumpy.core.multiarray\nscalar\n.", r"would run numpy.core.multiarray.scalar"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.", r"would run numpy.dtype.__init__"),
        (b"Pname\n.", "is damaged"),
        (b"\x80\x02]Q.", "is damaged"),
        (b"\x82\x01.", "is damaged"),
        (b"c_codecs\nencode\n(Va\nVrot13\ntR.", "encodes bytes as 'rot13'"),
        (b"cnumpy\nndarray\n}Va\nK\x01sb.", "is damaged"),
        (b"c_codecs\nencode\n(N}Va\nK\x01stb.", "is damaged"),
        (b"cnumpy\nndarray\n)R(K\x01(Jd\x00\x00\x00tcnumpy\ndtype\n(Vu1\ntRI00\nVab\ntb.", "is damaged"),
        (b"cnumpy\ndtype\n(VV8\ntR.", "array of 'V8'"),
        (b"]" + b"0]" * 10 + b"(" * 3, "is damaged"),
    ],
)
def test_odd_pickles_are_refused(tmp_path, content, expected):
    root, *_ = write_cifar10(tmp_path)
    (root / "data_batch_1").write_bytes(content)
    refused(root, f"data_batch_1: .*{expected}")
    write_cifar10(tmp_path)
    assert class_counts(root).total == 100  # and nothing stays changed


# idx files


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("below", ["fashion-mnist", "FashionMNIST/raw", "mnist"])
def test_idx(tmp_path, end, below):
    labels = [k % 10 for k in range(23)]
    images = RNG.integers(0, 256, (23, 28, 28), dtype=np.uint8)
    write_idx(tmp_path / below, labels, images, end=end)
    write_idx(tmp_path / below, labels[:5], images[:5], part="t10k", end=end)
    counts = class_counts(tmp_path / below)
    assert counts.counts == (3, 3, 3, 2, 2, 2, 2, 2, 2, 2)
    assert counts.names[9] == ("9" if below == "mnist" else "Ankle boot")
    read, numbers = read_images(tmp_path / below, "test")
    np.testing.assert_array_equal(read, images[:5, None])
    np.testing.assert_array_equal(numbers, labels[:5])
    if below == "FashionMNIST/raw":
        assert class_counts(tmp_path) == class_counts(tmp_path / "FashionMNIST") == counts


@pytest.mark.parametrize("end", ["", ".gz"])
def test_wrong_idx(tmp_path, end):
    pack = gzip.compress if end else bytes
    write_idx(tmp_path, list(range(10)), np.zeros((9, 28, 28), np.uint8), end=end)
    refused(tmp_path, "9 train images but 10 labels", read=read_images)
    file = tmp_path / f"train-labels-idx1-ubyte{end}"
    head = np.array([0x801, 10], ">u4").tobytes()
    for content, expected in [
        (b"", "begins with 0, not 2049"),
        (b"<html>", "begins with"),
        (head[:6], "holds 0 of the 0 bytes"),
        (head + bytes(9), "holds 9 of the 10 bytes"),
        (head + bytes(11), "more than the 10 bytes"),
        (np.array([0x803, 10], ">u4").tobytes() + bytes(10), "begins with 2051, not 2049"),
        (head + bytes([0] * 9 + [200]), r"labels \[200\], outside 0..9"),
        (np.array([0x801, 0], ">u4").tobytes(), "no list of whole labels"),
        (head + bytes(10), r"classes \[1, 2, 3, 4, 5\] have counts"),
    ]:
        file.write_bytes(pack(content))
        refused(tmp_path, expected)
    file.unlink()
    refused(tmp_path, "train-labels-idx1-ubyte.gz: is missing")


def test_damaged_gzip(tmp_path):
    write_idx(tmp_path, list(range(10)) * 20, end=".gz")
    file = tmp_path / "train-labels-idx1-ubyte.gz"
    whole = file.read_bytes()
    for content in (whole[:12], whole[:-9], whole[:20] + b"\xff" * 9 + whole[29:]):
        file.write_bytes(content)
        refused(tmp_path, "cannot be read|holds|begins")


# Images by class


def test_images_by_class(tmp_path):
    touch(
        tmp_path, "cat/1.png", "cat/2.JPEG", "cat/.3.png", "cat/notes.txt", "owl/images/1.webp", ".git/x.png", "a.png"
    )
    assert class_counts(tmp_path) == ClassCounts((2, 1), ("cat", "owl"))
    np.testing.assert_array_equal(read_labels(tmp_path).labels, [0, 0, 1])
    refused(tmp_path, "counted, not decoded", read=read_images)
    refused(tmp_path, "no test split", read=lambda folder: read_labels(folder, "test"))
    (tmp_path / "yak").mkdir()
    refused(tmp_path, r"classes \[yak\] have counts \[0\]; drop")
    assert class_counts(tmp_path, drop_empty=True) == ClassCounts((2, 1), ("cat", "owl"))


def test_train_may_be_a_split_or_a_class(tmp_path):
    touch(tmp_path, "a/train/cat/1.png", "a/train/owl/1.png", "a/val/cat/1.png")
    assert class_counts(tmp_path / "a").names == ("cat", "owl")
    touch(tmp_path, "b/train/1.png", "b/tram/1.png")
    assert class_counts(tmp_path / "b").names == ("train", "tram")


def test_links(tmp_path):
    touch(tmp_path, "store/cat/1.png", "data/owl/1.png")
    (tmp_path / "data/cat").symlink_to(tmp_path / "store/cat")
    (tmp_path / "data/owl/2.png").symlink_to(tmp_path / "store/cat/1.png")
    (tmp_path / "data/owl/3.png").symlink_to(tmp_path / "gone.png")
    assert class_counts(tmp_path / "data") == ClassCounts((1, 2), ("cat", "owl"))
    (tmp_path / "data/owl/loop").symlink_to(tmp_path / "data")
    refused(tmp_path / "data", "links to a folder inside a class .*loop")


# Folders that are none of these


def test_not_a_dataset(tmp_path):
    refused(tmp_path / "gone", "no such folder")
    touch(tmp_path, "notes.txt")
    refused(tmp_path / "notes.txt", "is not a folder")
    refused(tmp_path, r"is no dataset; recognised are CIFAR.*idx files.*class/\*.png")
    touch(tmp_path, "src/code.py", "doc/index.html")
    refused(tmp_path, "is no dataset")
    with pytest.raises(InputError, match="split must be 'train' or 'test', got 'val'"):
        read_labels(tmp_path, "val")  # pyright: ignore


def test_several_datasets(tmp_path):
    write_cifar10(tmp_path)
    write_idx(tmp_path / "MNIST/raw", [0, 1])
    refused(tmp_path, r"several datasets \(cifar-10-batches-py, MNIST/raw\); pass one")


def test_unreadable_folder(tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", denied)
    refused(tmp_path, r"cannot be read \(Permission denied\); check its permissions")


def test_only_numpy_is_needed():
    code = "import sys, tailbound.nn_validation.core.datasets; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "numpy" in loaded
    assert not {"torch", "pandas", "torchvision", "cvxpy", "sympy", "scipy"} & set(loaded)
