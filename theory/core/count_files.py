"""Class counts from a file that holds one count for each class, or one label for each example.

Which of the two a file holds is taken from the caller (`meaning`), else from the file by these rules:

- JSON object ``{"cat": 30}``, or a column named ``count``, ``counts``, ``n`` or ``num_examples``: counts. Their names
  come from a column ``name``, ``class_name``, ``class``, ``label``, ..., or from the only other column.
- A column named ``label``, ``labels``, ``class``, ``target`` or ``y``, values that are not all numbers, or ``.npy``:
  labels.
- Numbers without such a name: counts when one exceeds how many values there are (so many labels would leave classes
  empty); labels when one is 0 (no class has 0 examples); otherwise either could be meant, and that is an error.
- Labels of which each occurs once are an error too: they are more likely a list of the classes.

A first line is a header when it has one of these names, or a word above numbers, or when `column` is given. Without a
header a table has one column of values, before it perhaps one of names.
"""

import json
import os
import re
from collections import Counter
from numbers import Number
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .class_counts import ClassCounts
from .errors import InputError, nearest

__all__ = ["SUFFIXES", "read_counts"]

SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".parquet", ".npy")
_COUNTS = ("count", "counts", "n", "num_examples")
_LABELS = ("label", "labels", "class", "target", "y")
_NAMES = ("name", "class_name", "class", "label", "labels", "target", "y")
_SAY = "pass --counts or --labels (Python: meaning='counts' or 'labels')"

_NUMBER = re.compile(r"[+-]?(\d{1,18}|\d*\.\d+|\d+\.)([eE][+-]?\d{1,3})?", re.ASCII)
_BLANK = {"", "nan", "NaN"}
_BLANK_AMONG_NUMBERS = {"NA", "N/A", "<NA>", "NULL", "null", "None"}

Meaning = Literal["counts", "labels"]


def read_counts(
    path: str | os.PathLike,
    *,
    meaning: Meaning | None = None,
    column: str | None = None,
    drop_empty: bool = False,
) -> ClassCounts:
    """Read the training counts of K classes from a file of counts or of labels.

    Args:
        path: a ``.csv``, ``.tsv``, ``.txt``, ``.json``, ``.parquet`` or ``.npy`` file.
        meaning: what the values are; by the rules of this module when omitted.
        column: the column that holds them, in a table whose first line names its columns.
        drop_empty: leave out classes without examples, instead of an error that names them.

    Returns:
        Counts in the file's order, or of labels in the order of `ClassCounts.from_labels`.

    Raises:
        InputError: one line with the path, the value at fault and the remedy.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "animals.csv"
        ...     _ = file.write_text("class,count\\ncat,30\\nowl,3\\n")
        ...     read_counts(file)
        ClassCounts(counts=(30, 3), names=('cat', 'owl'))
    """
    path = Path(path)
    if meaning not in (None, "counts", "labels"):
        raise InputError(f"meaning must be 'counts', 'labels' or None, got {meaning!r}")
    try:
        size, suffix = path.stat().st_size, path.suffix.lower()
        if path.is_dir():
            raise InputError("is a folder, not a file; pass a file of counts or labels")
        if suffix not in SUFFIXES:
            raise InputError(f"has the unknown suffix {path.suffix!r}; known: {', '.join(SUFFIXES)}")
        if size == 0:
            raise InputError("is empty; write one count for each class, or one label for each example")
        if suffix in (".json", ".npy") and column is not None:
            raise InputError(f"has no columns to choose {column!r} from; leave the column out for {suffix} files")
        read = {".json": _read_json, ".npy": _read_npy, ".parquet": _read_parquet}.get(suffix, _read_text)
        values, names, meant = read(path, meaning, column)
        if len(values) == 0:
            raise InputError("holds no values; write one count for each class, or one label for each example")
        if (meaning or meant or _decide(values, drop_empty)) == "counts":
            return _from_counts(list(values), names, drop_empty)
        counts = _from_labels(values, drop_empty, meaning)
        if meaning is None and max(counts.counts) == 1:
            raise InputError(f"has each of {len(counts)} labels once, as a list of the classes would; {_SAY}")
        return counts
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check the path (now in {Path.cwd()})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or _line(error)})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except ValueError as error:  # a path that no file can have, a number of more digits than Python reads
        raise InputError(f"{path}: cannot be read ({_line(error)}); check the path and the values") from None


def _read_text(path: Path, meaning: Meaning | None, column: str | None):
    import pandas as pd

    with open(path, encoding="utf-8-sig") as file:
        first = file.readline()
    guesses = [mark for mark in "\t,;" if mark in first] or [","]
    mark = "\t" if path.suffix.lower() == ".tsv" else guesses[0]
    try:
        frame = pd.read_csv(
            path, sep=mark, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False,
            skipinitialspace=True, encoding="utf-8-sig",
        ).fillna("")  # fmt: skip
    except pd.errors.EmptyDataError:
        return [], None, meaning
    except pd.errors.ParserError as error:
        raise InputError(f"is not a table ({_line(error)}); give every line as many cells as the first") from None
    while len(frame) and (frame.iloc[-1] == "").all():
        frame = frame.iloc[:-1]
    columns = [frame[k].str.strip() for k in frame]
    if frame.empty:
        return [], None, meaning
    header = [str(cells.iloc[0]) for cells in columns]
    if column is None and not _is_header(header, columns, meaning):
        if len(columns) > 2:
            raise InputError(
                f"has {len(columns)} columns without names; name them in a first line, such as class,count"
            )
        return columns[-1], columns[0].tolist() if len(columns) == 2 else None, None
    chosen, names, meant = _choose(header, meaning, column)
    return columns[chosen].iloc[1:], None if names is None else columns[names].iloc[1:].tolist(), meant


def _is_header(first: list[str], columns: list, meaning: Meaning | None) -> bool:
    known = {*_COUNTS, *_LABELS, *_NAMES}
    if any(cell.lower() in known and (cells == cell).sum() == 1 for cell, cells in zip(first, columns, strict=True)):
        return True
    if any(_is_number(cell) for cell in first):
        return False
    if any(len(cells) > 1 and all(map(_is_number, cells.iloc[1:].unique())) for cells in columns):
        return True  # a word above numbers
    if len(columns) == 1 and meaning != "counts" and (columns[0] == first[0]).sum() == 1:
        raise InputError(f"begins with {first[0]!r}, a class or a column's name; put a first line 'label' above it")
    return len(columns) > 2


def _read_parquet(path: Path, meaning: Meaning | None, column: str | None):
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            chosen, names, meant = _choose(columns, meaning, column)
            table = file.read([columns[k] for k in (chosen, names) if k is not None])
            if pa.types.is_nested(table[columns[chosen]].type):
                raise InputError(f"has several values in each cell of {columns[chosen]!r}; choose with --column NAME")
            listed = None if names is None else table[columns[names]].to_pylist()
            return table[columns[chosen]].to_pandas(), listed, meant
    except (pa.ArrowException, OSError, KeyError) as error:
        raise InputError(f"is not a readable parquet file ({_line(error)}); write it again") from None


def _choose(columns: list[str], meaning: Meaning | None, column: str | None):
    """Return the index of the column of values, of the column of names (or None), and what the values are."""
    lower = [name.lower() for name in columns]
    counts = [k for k, name in enumerate(lower) if name in _COUNTS]
    labels = [k for k, name in enumerate(lower) if name in _LABELS]
    if column is not None:
        if column not in columns:
            raise InputError(f"has no column {column!r}; {nearest(column, columns)}")
        found = [columns.index(column)]
    else:
        found = labels if meaning == "labels" else counts
        found = found or (labels if meaning is None else [])
        found = found or [k for k, name in enumerate(lower) if name not in _NAMES or len(columns) == 1]
        if len(found) != 1:
            raise InputError(f"does not say which of its columns {columns[:12]} to read; choose with --column NAME")
    chosen = found[0]
    meant = "counts" if chosen in counts else "labels" if chosen in labels else None
    others = [k for k in range(len(columns)) if k != chosen]
    named = sorted((_NAMES.index(lower[k]), k) for k in others if lower[k] in _NAMES)
    return chosen, named[0][1] if named else others[0] if len(others) == 1 else None, meant


def _read_json(path: Path, meaning: Meaning | None, _):
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise InputError(f"is not JSON ({error}); complete or correct the file") from None
    except RecursionError:
        raise InputError("is nested too deeply; write one object or one array") from None
    values = list(content.values()) if isinstance(content, dict) else content
    if isinstance(values, list) and not any(isinstance(value, list | dict) for value in values):
        if values is content:
            return values, None, None
        if meaning != "labels":
            return values, list(content), "counts"
    raise InputError('must be an object {"class": count, ...}, or an array of counts or of labels')


def _unique(pairs: list) -> dict:
    twice = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
    if twice:
        raise InputError(f"names the classes {twice[:5]} more than once; merge their counts")
    return dict(pairs)


def _read_npy(path: Path, *_):
    try:
        with open(path, "rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, MemoryError, OverflowError) as error:
        if "Object arrays" in str(error):
            raise InputError("holds Python objects, a pickle that could run code; save integers or strings") from None
        raise InputError(f"is not a complete .npy file ({_line(error)}); save it again with numpy.save") from None
    if array.ndim != 1:
        raise InputError(f"holds an array of shape {array.shape}; save a 1-d array, one value for each example")
    return array, None, "labels"


def _decide(values: Any, drop_empty: bool) -> Meaning:
    """Tell counts from labels by the values alone, or say that both are possible."""
    import pandas as pd

    distinct = pd.unique(pd.Series(values)).tolist()
    if not all(map(_is_number, distinct)):
        return "labels"
    numbers = [_number(value) for value in distinct]
    if max(numbers) > len(values):
        return "counts"
    if 0 in numbers and not drop_empty:
        return "labels"
    raise InputError(f"holds {len(values)} numbers that could be counts or labels; {_SAY}")


def _from_counts(values: list, names: list | None, drop_empty: bool) -> ClassCounts:
    counts = [_number(n) for n in values]
    named = [str(k) for k in range(len(counts))] if names is None else ["" if n is None else str(n) for n in names]
    if "" in named:
        raise InputError(f"has no name for the class with count {counts[named.index('')]!r}; name it")
    kept = [(name, n) for name, n in zip(named, counts, strict=True) if not (drop_empty and n == 0)]
    return ClassCounts(tuple(n for _, n in kept), tuple(name for name, _ in kept))


def _from_labels(values: Any, drop_empty: bool, meaning: Meaning | None) -> ClassCounts:
    import pandas as pd

    numbers = values
    if not isinstance(values, np.ndarray):
        codes, distinct = pd.factorize(pd.Series(values))  # a code for each example, -1 where missing
        words = [label for label in distinct if not _is_number(label)]
        blank = _BLANK if len(words) == len(distinct) else _BLANK | _BLANK_AMONG_NUMBERS
        missing = np.append([isinstance(label, str) and label in blank for label in distinct], True)[codes]
        if missing.any():
            rows = (np.flatnonzero(missing)[:5] + 1).tolist()
            raise InputError(f"labels must not be missing, but examples {rows} (from 1) have none; drop or label them")
        times = np.bincount(codes)
        if words:
            pairs = sorted(zip(map(str, distinct), times.tolist(), strict=True))
            return ClassCounts(tuple(n for _, n in pairs), tuple(name for name, _ in pairs))
        numbers = np.repeat(np.array([_number(label) for label in distinct]), times)
    try:
        return ClassCounts.from_labels(numbers, drop_empty=drop_empty)
    except InputError as error:
        raise InputError(f"{error}{'' if meaning else '; if they are counts, pass --counts'}") from None


def _number(cell: Any) -> Any:
    """Return the number a cell spells, or the cell itself."""
    if isinstance(cell, str) and _NUMBER.fullmatch(cell):
        return float(cell) if re.search("[.eE]", cell) else int(cell)
    return float(cell) if type(cell).__name__ == "Decimal" else cell


def _is_number(cell: Any) -> bool:
    return isinstance(_number(cell), Number)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
