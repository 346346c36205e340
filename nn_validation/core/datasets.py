"""Labels and images of a dataset folder, read with numpy alone.

Three layouts are recognised, in the folder itself or where a download usually puts them below it:

- CIFAR-10 and CIFAR-100 "python version" (``cifar-10-batches-py``, ``cifar-100-python``);
- MNIST and Fashion-MNIST idx files (``train-labels-idx1-ubyte``, plain or ``.gz``);
- images by class (``class/*.png`` or ``train/class/*.png``), counted by file name and never decoded.

CIFAR's files are pickles, and a pickle from a stranger can run any code. The unpickler here looks no name up: the few
that those files need stand for the harmless classes of this module, any other is refused.
"""

import gzip
import math
import os
import pickle
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ...theory.core.class_counts import ClassCounts
from ...theory.core.errors import InputError

__all__ = ["Labels", "class_counts", "dataset_name", "read_images", "read_labels"]

Split = Literal["train", "test"]

_BELOW = ("cifar-10-batches-py", "cifar-100-python", "FashionMNIST/raw", "MNIST/raw", "raw")
_IDX = {"train": "train", "test": "t10k"}
_IDX_FILES = [f"{part}-{kind}-ubyte" for part in _IDX.values() for kind in ("images-idx3", "labels-idx1")]
_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_LAYOUTS = (
    "recognised are CIFAR's python version (data_batch_1, ... or train, test, meta), MNIST's idx files "
    "(train-labels-idx1-ubyte[.gz]), and a folder of images for each class (class/*.png or train/class/*.png)"
)


class _Cifar(NamedTuple):
    """Files of one CIFAR dataset, and the keys of its pickles."""

    train: list[str]
    test: list[str]
    meta: str
    labels: str
    names: str
    num_classes: int


_CIFAR = {
    "cifar-10": _Cifar(
        [f"data_batch_{k}" for k in range(1, 6)], ["test_batch"], "batches.meta", "labels", "label_names", 10
    ),
    "cifar-100": _Cifar(["train"], ["test"], "meta", "fine_labels", "fine_label_names", 100),
}


class Labels(NamedTuple):
    """Class indices 0..K-1 of the examples, shape (N,), and the K class names."""

    labels: np.ndarray
    names: tuple[str, ...]


def class_counts(folder: str | os.PathLike, *, drop_empty: bool = False) -> ClassCounts:
    """Count the training examples of each class of a dataset folder.

    Args:
        folder: the dataset's folder, or the one it was unpacked into.
        drop_empty: leave out classes without examples, instead of an error that names them.

    Returns:
        Counts with the dataset's class names, in the order of its class indices.

    Raises:
        InputError: for a folder that is no dataset, or a missing, damaged or unsafe file, which is named.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for image in ("cat/1.png", "cat/2.png", "owl/1.png"):
        ...         (Path(folder) / image).parent.mkdir(exist_ok=True)
        ...         (Path(folder) / image).touch()
        ...     class_counts(folder)
        ClassCounts(counts=(2, 1), names=('cat', 'owl'))
    """
    labels, names = read_labels(folder)
    counts = np.bincount(labels, minlength=len(names)).tolist()
    kept = [(n, name) for n, name in zip(counts, names, strict=True) if n or not drop_empty]
    with _naming(Path(folder)):
        return ClassCounts(tuple(n for n, _ in kept), tuple(name for _, name in kept))


def read_labels(folder: str | os.PathLike, split: Split = "train") -> Labels:
    """Read the labels and class names of one split of a dataset folder.

    Args:
        folder: the dataset's folder, or the one it was unpacked into.
        split: "train" or "test". Images by class have "train" alone: their whole tree, or what is below ``train``.

    Returns:
        Labels in the order of the files, of images by class in the order of the class names.

    Raises:
        InputError: as `class_counts`.
    """
    layout, root = _recognise(Path(folder), split)
    if layout == "images":
        counts = _count_images(root)
        return Labels(np.repeat(np.arange(len(counts)), list(counts.values())), tuple(counts))
    if layout == "idx":
        fashion = any("fashion" in part.lower() for part in root.resolve().parts[-2:])
        return Labels(_read_idx_labels(root, split), _FASHION if fashion else tuple("0123456789"))
    return Labels(_read_cifar(root, layout, split)[1], _read_cifar_names(root, layout))


def dataset_name(folder: str | os.PathLike) -> str:
    """Return ``cifar-10``, ``cifar-100``, ``fashion-mnist``, ``mnist`` or ``images`` (images by class).

    Raises:
        InputError: as `class_counts`.
    """
    layout, _ = _recognise(Path(folder), "train")
    if layout != "idx":
        return layout
    return "fashion-mnist" if read_labels(folder).names == _FASHION else "mnist"


def read_images(folder: str | os.PathLike, split: Split = "train") -> tuple[np.ndarray, np.ndarray]:
    """Read the images and labels of one split of CIFAR, MNIST or Fashion-MNIST.

    Args:
        folder: the dataset's folder, or the one it was unpacked into.
        split: "train" or "test".

    Returns:
        Images as uint8, shape (N, 3, 32, 32) for CIFAR and (N, 1, 28, 28) for MNIST, and labels, shape (N,).

    Raises:
        InputError: as `class_counts`, and for images by class, which are not decoded.
    """
    layout, root = _recognise(Path(folder), split)
    if layout == "images":
        raise InputError(f"{folder}: images by class are counted, not decoded; pass CIFAR or MNIST files")
    if layout != "idx":
        return _read_cifar(root, layout, split)
    labels = _read_idx_labels(root, split)
    images = _read_idx(root, f"{_IDX[split]}-images-idx3-ubyte", axes=3)[:, None]
    if len(images) != len(labels):
        raise InputError(f"{root}: holds {len(images)} {split} images but {len(labels)} labels; unpack it again")
    return images, labels


def _recognise(folder: Path, split: str) -> tuple[str, Path]:
    """Return the layout ("cifar-10", "cifar-100", "idx" or "images") and the folder that has it."""
    if split not in ("train", "test"):
        raise InputError(f"split must be 'train' or 'test', got {split!r}")
    with _naming(folder):
        if not folder.is_dir():
            raise InputError(
                f"is {'not a' if folder.exists() else 'no such'} folder; pass a dataset's folder, unpacked"
            )
        if layout := _layout(folder):
            return layout, folder
        found = [(layout, folder / below) for below in _BELOW if (layout := _layout(folder / below))]
        if len(found) > 1:
            several = ", ".join(str(root.relative_to(folder)) for _, root in found)
            raise InputError(f"holds several datasets ({several}); pass one of them")
        if found:
            return found[0]
        if split == "test":
            raise InputError("has no test split that is recognised; pass the folder of the test images as the dataset")
        train = folder / "train"  # a split when it holds folders, a class of that name when it holds images
        is_split = train.is_dir() and any(entry.is_dir() for entry in _visible(train))
        return "images", train if is_split else folder


def _layout(folder: Path) -> str | None:
    if not folder.is_dir():
        return None
    files = {entry.name for entry in _visible(folder) if entry.is_file()}
    if folder.name == "cifar-10-batches-py" or files & {*_CIFAR["cifar-10"].train, "test_batch", "batches.meta"}:
        return "cifar-10"
    if folder.name == "cifar-100-python" or len(files & {"train", "test", "meta"}) > 1:
        return "cifar-100"
    return "idx" if files & {name + end for name in _IDX_FILES for end in ("", ".gz")} else None


def _visible(folder: str | os.PathLike) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let every error name the path."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; download and unpack the dataset again") from None
    except (OSError, EOFError, OverflowError, MemoryError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        where = getattr(error, "filename", None) or path
        raise InputError(f"{where}: cannot be read ({reason}); check its permissions, or unpack it again") from None


# Images by class


def _count_images(root: Path) -> dict[str, int]:
    with _naming(root):
        links: list[str] = []
        counts = {entry.name: _images_below(entry, links) for entry in _visible(root) if entry.is_dir()}
        if not any(counts.values()):
            raise InputError(f"is no dataset; {_LAYOUTS}")
        if links:
            raise InputError(f"links to a folder inside a class ({links[0]}); replace the link by its images")
        return counts


def _images_below(folder: os.DirEntry, links: list[str]) -> int:
    total, folders = 0, [folder.path]
    while folders:
        for entry in _visible(folders.pop()):
            if entry.name.lower().endswith(_IMAGES) and entry.is_file():
                total += 1
            elif entry.is_dir():
                (links if entry.is_symlink() else folders).append(entry.path)
    return total


# MNIST's idx files


def _read_idx(root: Path, name: str, axes: int) -> np.ndarray:
    path = root / name if (root / name).exists() else root / f"{name}.gz"
    with _naming(path), open(path, "rb") as plain:
        file = gzip.GzipFile(fileobj=plain) if plain.peek(2)[:2] == b"\x1f\x8b" else plain
        head = file.read(4 + 4 * axes)
        magic, *shape = np.frombuffer(head[: len(head) // 4 * 4].ljust(4 + 4 * axes, b"\0"), ">u4").tolist()
        if magic != 0x800 + axes:
            raise InputError(
                f"begins with {magic}, not {0x800 + axes}, so is no idx file of {axes} axes; unpack it again"
            )
        size = math.prod(shape)
        content = file.read(size + 1)
        if len(head) < 4 + 4 * axes or len(content) != size:
            what = "more than" if len(content) > size else f"{len(content)} of"
            raise InputError(f"holds {what} the {size} bytes that its header announces; unpack it again")
        return np.frombuffer(content, np.uint8).reshape(shape)


def _read_idx_labels(root: Path, split: str) -> np.ndarray:
    labels = _read_idx(root, f"{_IDX[split]}-labels-idx1-ubyte", axes=1)
    with _naming(root):
        return _check_labels(labels, 10)


def _check_labels(labels: Any, num_classes: int) -> np.ndarray:
    try:
        array = np.asarray(labels)
    except ValueError:
        array = np.empty(0)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise InputError("holds no list of whole labels; download and unpack the dataset again")
    outside = (array < 0) | (array >= num_classes)
    if outside.any():
        shown = np.unique(array[outside])[:5].tolist()
        raise InputError(f"holds labels {shown}, outside 0..{num_classes - 1}; it is damaged or another dataset")
    return array.astype(np.int64)


# CIFAR's pickles


def _read_cifar(root: Path, layout: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    cifar, images, labels = _CIFAR[layout], [], []
    for name in cifar.train if split == "train" else cifar.test:
        with _naming(root / name):
            content = _unpickle(root / name)
            labels.append(_check_labels(content.get(cifar.labels), cifar.num_classes))
            data = content.get("data")
            if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != (len(labels[-1]), 3072):
                raise InputError(f"must hold {len(labels[-1])} images of 3072 bytes for its labels; unpack it again")
            images.append(data)
    return np.concatenate(images).reshape(-1, 3, 32, 32), np.concatenate(labels)


def _read_cifar_names(root: Path, layout: str) -> tuple[str, ...]:
    cifar = _CIFAR[layout]
    with _naming(root / cifar.meta):
        names = _unpickle(root / cifar.meta).get(cifar.names)
        if not isinstance(names, list) or len(names) != cifar.num_classes:
            raise InputError(f"must list {cifar.num_classes} names as {cifar.names!r}; unpack the dataset again")
        return tuple(str(_text(name)) for name in names)


def _unpickle(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        try:
            content = _Unpickler(file, encoding="bytes").load()
            return {_text(key): value.values if isinstance(value, _Array) else value for key, value in content.items()}
        except (InputError, OSError):
            raise
        except Exception as error:  # a damaged pickle can raise anything
            raise InputError(f"is damaged or cut short ({type(error).__name__}); unpack the dataset again") from None


class _Unpickler(pickle.Unpickler):
    """Builds lists, dicts, numbers, text and the stand-ins below; imports and calls nothing else."""

    def find_class(self, module: str, name: str) -> type:
        if (module, name) in _STAND_INS:
            return _STAND_INS[module, name]
        raise InputError(
            f"would run {module}.{name}, which no CIFAR file needs; delete it and download the dataset again"
        )


class _Dtype:
    """Stands for numpy.dtype: whole numbers alone."""

    def __init__(self, code: str | bytes, *_):
        if _text(code) not in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"):
            raise InputError(f"holds an array of {code!r:.40}, not of whole numbers; download the dataset again")
        self.plain = np.dtype(_text(code))

    def __setstate__(self, state: tuple):
        self.plain = self.plain.newbyteorder(_text(state[1]))


class _Array:
    """Stands for numpy.ndarray and the functions that rebuild one: filled from bytes, which numpy never unpickles."""

    def __init__(self, *args):
        if len(args) == 4:  # numpy's _frombuffer; its _reconstruct has 3 arguments and is filled by __setstate__
            self._fill(*args)

    def __setstate__(self, state: tuple):
        _, shape, dtype, by_column, content = state
        self._fill(content, dtype, shape, "F" if by_column else "C")

    def _fill(self, content: bytes, dtype: _Dtype, shape: tuple, order: str):
        self.values = np.frombuffer(content, dtype.plain).reshape(shape, order=_text(order))


class _Bytes:
    """Stands for _codecs.encode, by which Python 3 writes bytes for Python 2."""

    def __new__(cls, text: str, encoding: str):
        if _text(encoding) != "latin1":
            raise InputError(f"encodes bytes as {encoding!r:.40}, which no CIFAR file does; download the dataset again")
        return text.encode("latin1")

    def __setstate__(self, state: Any):
        raise pickle.UnpicklingError("bytes have no state")


_STAND_INS: dict[tuple[str, str], type] = {("numpy", "ndarray"): _Array, ("numpy", "dtype"): _Dtype}
_STAND_INS |= {(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")}
_STAND_INS |= {(f"numpy.{core}.numeric", "_frombuffer"): _Array for core in ("core", "_core")}
_STAND_INS["_codecs", "encode"] = _Bytes


def _text(value: Any) -> Any:
    """Return Python 2's text, which is unpickled as bytes, as text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
