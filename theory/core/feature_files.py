"""Features with labels from a file: ``.npz`` with X and y (or features and labels), or a parquet table.

In a table the label column is named by the caller or is called ``label``, ``labels``, ``class``, ``target`` or ``y``;
all other columns must be numbers.
"""

import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import InputError, nearest

__all__ = ["LabelledFeatures", "check_features", "read_features"]

_KEYS = (("X", "y"), ("features", "labels"))
_LABELS = ("label", "labels", "class", "target", "y")


class LabelledFeatures(NamedTuple):
    """Features, shape (n, d), finite; labels, shape (n,); names of the d features, or empty."""

    features: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...] = ()


def read_features(path: str | os.PathLike, *, label: str | None = None) -> LabelledFeatures:
    """Read features and labels.

    Args:
        path: an ``.npz`` or ``.parquet`` file.
        label: the label column of a table, or the key of the labels in an ``.npz`` file.

    Raises:
        InputError: one line with the path, what is wrong, and the remedy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/data.npz", X=np.eye(3), y=["a", "a", "b"])
        ...     read_features(f"{folder}/data.npz").labels
        array(['a', 'a', 'b'], dtype='<U1')
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError("is a folder, not a file; pass an .npz or .parquet file")
        if not path.exists():
            raise InputError(f"no such file; check the path (now in {Path.cwd()})")
        if path.suffix.lower() not in (".npz", ".parquet"):
            raise InputError(f"has the unknown suffix {path.suffix!r}; features are read from .npz and .parquet files")
        return check_features(*(_read_npz if path.suffix.lower() == ".npz" else _read_table)(path, label))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def check_features(features, labels, names=()) -> LabelledFeatures:
    """Return features and labels as arrays, if they are finite, complete and of the same length.

    Raises:
        InputError: naming the first value at fault.

    Example:
        >>> check_features([[1, 2], [3, float("nan")]], ["a", "b"])
        Traceback (most recent call last):
        tailbound.theory.core.errors.InputError: features must be finite, but 1 is not (row 1, column 1, from 0); drop \
or impute it
    """
    try:
        features = np.asarray(features, dtype=float)
    except (TypeError, ValueError):
        raise InputError("features must be numbers, got something else; encode words and dates as numbers") from None
    labels = np.asarray(labels)
    if features.ndim != 2 or 0 in features.shape:
        raise InputError(
            f"features must be a table of n examples by d features, got shape {features.shape}; reshape it"
        )
    if labels.shape != features.shape[:1]:
        raise InputError(f"labels must be one for each of {len(features)} examples, got shape {labels.shape}")
    bad = np.argwhere(~np.isfinite(features))
    if len(bad):
        row, column = bad[0].tolist()
        named = repr(names[column]) if names else column
        what = "1 is not" if len(bad) == 1 else f"{len(bad)} are not"
        remedy = "it" if len(bad) == 1 else "them"
        raise InputError(
            f"features must be finite, but {what} (row {row}, column {named}, from 0); drop or impute {remedy}"
        )
    if labels.dtype == object:
        missing = [k for k, value in enumerate(labels.tolist()) if value is None or value != value]
        if not missing:
            labels = np.asarray(labels.tolist())
    else:
        missing = np.flatnonzero(labels != labels).tolist()
    if missing:
        raise InputError(
            f"labels must not be missing, but examples {missing[:5]} (from 0) have none; drop or label them"
        )
    if labels.dtype.kind not in "biufUS":
        raise InputError(f"labels must be numbers or words, got {labels.dtype}; encode them")
    return LabelledFeatures(features, labels, tuple(names))


def _read_npz(path: Path, label: str | None):
    try:
        with open(path, "rb") as stream:  # numpy leaves a file that it cannot read open
            loaded = np.load(stream, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise InputError("holds one array, not an .npz archive; save X and y with numpy.savez")
            held = loaded.files
            pairs = [(first, label or second) for first, second in _KEYS]
            found = next(((f, y) for f, y in pairs if f in held and y in held), None)
            if found is None:
                names = ", ".join(held[:8]) or "nothing"
                raise InputError(f"must hold X and y, or features and labels, but holds {names}")
            return loaded[found[0]], loaded[found[1]]
    except InputError:
        raise
    except ValueError as error:
        if not zipfile.is_zipfile(path):
            raise InputError("is not an .npz archive; save X and y with numpy.savez") from None
        if "pickle" in str(error).lower():
            raise InputError("holds Python objects, a pickle that could run code; save numbers and words") from None
        raise InputError(f"is not a complete .npz file ({error}); save it again with numpy.savez") from None
    except (zipfile.BadZipFile, EOFError, KeyError) as error:
        raise InputError(f"is not a complete .npz file ({error}); save it again with numpy.savez") from None


def _read_table(path: Path, label: str | None):
    import pandas as pd
    import pyarrow as pa

    try:
        frame = pd.read_parquet(path)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise InputError(f"is not a readable parquet file ({str(error).splitlines()[0]}); write it again") from None
    columns = [str(name) for name in frame.columns]
    frame.columns = columns
    if label is None:
        named = [name for name in columns if name.lower() in _LABELS]
        if len(named) != 1:
            what = f"several ({', '.join(named)})" if named else f"none of {', '.join(_LABELS)}"
            raise InputError(f"must say which column holds the labels, but has {what}; choose with --label NAME")
        label = named[0]
    elif label not in columns:
        raise InputError(f"has no column {label!r}; {nearest(label, columns)}")
    inputs = [name for name in columns if name != label]
    words = [name for name in inputs if frame[name].dtype.kind not in "biuf"]
    if words:
        raise InputError(f"must have numbers in every other column, but {words[0]!r} has none; drop or encode it")
    return frame[inputs].to_numpy(dtype=float), frame[label].to_numpy(dtype=object), inputs
