"""Records as evidence: which sets of runs there are, their numbers by method, and intervals. Needs no torch.

A set is a folder of records that differ in method and seed alone. The index lists them with a digest of their content,
so that a claim or a figure whose records were lost or changed is told apart from one that never had any: the former
cannot be decided. After adding records run ``python -m tailbound.nn_validation.core.evidence``; ``--check`` compares.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from ...sims.core.files import replace_files
from ...theory.core.class_counts import ClassCounts
from ...theory.core.errors import InputError, nearest
from .records import COMMITTED, read_record

__all__ = [
    "CIFAR",
    "DIGITS",
    "EVEN_DIGITS",
    "INDEX",
    "LONG_TAILED",
    "NOISY_DIGITS",
    "STEP_DIGITS",
    "TABLES",
    "UNCROPPED",
    "Fit",
    "Interval",
    "MissingRecords",
    "RunSet",
    "at_noise",
    "fitted_line",
    "index_text",
    "interval",
    "main",
    "measured",
    "noise_rate",
    "noise_sets",
    "noisy_sets",
    "paired",
    "run_set",
    "set_names",
    "sets_with",
    "table_files",
    "terminal_sets",
]

INDEX = COMMITTED.with_name("trained.index.json")
"""The sets of committed records: folder → seeds of each method, and a digest."""

DIGITS, CIFAR = "digits/long-tailed-20/digits", "cifar-10/long-tailed-100/fast"
"""The two sets that hold every method; the second one takes hours, and may not be there yet."""

UNCROPPED = "cifar-10/long-tailed-100/fast_padding=0"
"""CIFAR without crops, where every method nears zero training error in the same forty epochs."""

LONG_TAILED = (DIGITS, CIFAR, UNCROPPED)
"""Where the order of the methods is looked at."""

STEP_DIGITS = "digits/step-20/digits"
"""Digits, half of the classes with 100 images each, the others with 5."""

EVEN_DIGITS = "digits/balanced-largest-100/digits"
"""Digits with as many images of each class; sets with label noise are named after it."""

NOISY_DIGITS = (
    "digits/balanced-largest-100-noise-0.4/digits",
    "digits/balanced-largest-100-noise-0.4/digits_padding=0",
)
"""Digits with 40 % of the labels flipped: augmented, where little is memorised, and not, where nearly everything is."""

TABLES = {
    "features": "tailbound.nn_validation.vs_loss.network_features",
    "sets": "tailbound.nn_validation.network_sets",
}
"""Tables made from networks whose weights were kept, under the record's name: folder beside the records → module."""

_LEVEL, _NOISE = 0.95, "-noise-"


class MissingRecords(ArithmeticError):  # noqa: N818 - reads as what happened
    """Records that the index lists are gone or changed, or were never made: nothing is decided."""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, or over differences between methods at the same seeds.

    Args:
        mean: of them.
        half_width: of the 95 % interval, Student's t.
        number: how many.
    """

    mean: float
    half_width: float
    number: int


@dataclass(frozen=True)
class Fit:
    """A straight line through one point for each class.

    Args:
        slope: of it.
        half_width: of the 95 % interval of the slope, Student's t with K - 2 degrees of freedom.
        intercept: at 0.
        share: R², share of the variance between the classes that the line explains.
    """

    slope: float
    half_width: float
    intercept: float
    share: float


@dataclass(frozen=True, eq=False)
class RunSet:
    """The records of a set.

    Args:
        folder: ``<data>/<profile>-<ratio>/<protocol>``.
        seeds: of each method.
        by_method: records of each method, in the order of the seeds.
    """

    folder: str
    seeds: dict[str, list[int]]
    by_method: dict[str, list[dict[str, Any]]]

    def records(self, method: str) -> list[dict[str, Any]]:
        """Records of a method, one for each seed.

        Raises:
            MissingRecords: if there are none.
        """
        if method not in self.by_method:
            raise MissingRecords(f"no record of {method!r} in {self.folder!r}; run: tailbound train {method}")
        return self.by_method[method]

    @property
    def counts(self) -> ClassCounts:
        """n_k of the training set."""
        return ClassCounts(tuple(next(iter(self.by_method.values()))[0]["counts"]))

    def common_seeds(self, *methods: str) -> list[int]:
        """Seeds that all of these methods have.

        Raises:
            MissingRecords: if there are fewer than two.
        """
        seeds = sorted(set.intersection(*(set(self.seeds.get(method, ())) for method in methods)))
        if len(seeds) < 2:
            raise MissingRecords(f"{', '.join(methods)} share {len(seeds)} seeds in {self.folder!r}, 2 are needed")
        return seeds

    def values(self, method: str, *path: Any, seeds: Iterable[int] | None = None) -> np.ndarray:
        """A number or an array of each record, found by keys; first axis: seeds. None becomes NaN.

        Raises:
            MissingRecords: if a seed has no record.
        """
        found = dict(zip(self.seeds.get(method, ()), self.records(method), strict=True))
        wanted = found if seeds is None else list(seeds)
        if absent := [seed for seed in wanted if seed not in found]:
            raise MissingRecords(f"{method!r} in {self.folder!r} has no record of seeds {absent}; train them")
        return np.array([_follow(found[seed], path) for seed in wanted], dtype=float)

    def error(self, method: str, which: str = "last", seeds: Iterable[int] | None = None) -> np.ndarray:
        """Balanced test error of each seed, at the last epoch or at the one ``selected`` on validation images."""
        path = ("last", "test", "balanced_error") if which == "last" else ("selected", "balanced_error")
        return self.values(method, *path, seeds=seeds)

    def validation_error(self, method: str, which: str = "last", seeds: Iterable[int] | None = None) -> np.ndarray:
        """Balanced error of each seed on the validation images, whose labels are as noisy as those of training."""
        path = ("last", "validation", "balanced_error") if which == "last" else ("selected", "validation_error")
        return self.values(method, *path, seeds=seeds)

    def margins(self, method: str, quantile: float = 0.5, seeds: Iterable[int] | None = None) -> np.ndarray:
        """A quantile of the normalised margins of the training images of each class, shape (seeds, K).

        0 is the minimum, 0.5 the median; other quantiles as far as the records have them.
        """
        column = self.records(method)[0]["last"]["train"]["margins"]["quantiles"].index(quantile)
        return self.values(method, "last", "train", "margins", "values", seeds=seeds)[:, :, column]

    def curve(self, method: str, name: str, seeds: Iterable[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Epochs, shape (E,), and what the curves hold there, shape (seeds, E, ...): a column that every seed has."""
        wanted = self.seeds.get(method, []) if seeds is None else list(seeds)
        records = dict(zip(self.seeds.get(method, ()), self.records(method), strict=True))
        rows = [[row for row in records[seed]["curves"] if name in row] for seed in wanted]
        epochs = np.array([row["epoch"] for row in rows[0]])
        return epochs, np.array([[row[name] for row in each] for each in rows], dtype=float)

    @property
    def rare_half(self) -> np.ndarray:
        """Indices of the rarer half of the classes, with the middle one where K is odd."""
        return np.argsort(-self.counts.array, kind="stable")[len(self.counts) // 2 :]

    @property
    def frequent_half(self) -> np.ndarray:
        """Indices of the other classes."""
        return np.argsort(-self.counts.array, kind="stable")[: len(self.counts) // 2]

    def evidence(self, *methods: str) -> str:
        """The files of some methods, at the seeds that all of them have, for a claim's note."""
        seeds = ",".join(map(str, self.common_seeds(*methods)))
        return f"records {self.folder}: {'; '.join(_file(method, 0).replace('0.json', seeds) for method in methods)}"


def run_set(folder: str = DIGITS) -> RunSet:
    """Return the committed records of a set.

    Raises:
        MissingRecords: if the index does not list it, or records are not those of the index.
    """
    index = _index(INDEX)
    if folder not in index:
        raise MissingRecords(f"no records of {folder!r}; {nearest(folder, index)}")
    return _load(COMMITTED, folder, json.dumps(index[folder]))


def set_names() -> list[str]:
    """All sets of the index: digits first."""
    return sorted(_index(INDEX), key=lambda name: (not name.startswith(DIGITS.partition("/")[0]), name))


def sets_with(*methods: str, among: Sequence[str] = (DIGITS, CIFAR), seeds: int = 2) -> list[str]:
    """The sets of the index that hold so many seeds of every one of these methods, in the order of `among`."""
    index = _index(INDEX)
    listed = {folder: index[folder]["seeds"] for folder in among if folder in index}
    return [folder for folder, each in listed.items() if all(len(each.get(method, ())) >= seeds for method in methods)]


def terminal_sets(*methods: str, seeds: int = 2) -> dict[str, dict[int, str]]:
    """The sets of runs far into the terminal phase, without augmentation: ``<data>/<profile>`` → epochs → folder.

    Only sets with so many seeds of each of the methods; digits first.
    """
    found: dict[str, dict[int, str]] = {}
    index = _index(INDEX)
    for folder in set_names():
        entry = index[folder]
        if not entry["augmented"] and all(len(entry["seeds"].get(method, ())) >= seeds for method in methods):
            found.setdefault(folder.rpartition("/")[0], {})[entry["epochs"]] = folder
    return {place: dict(sorted(sets.items())) for place, sets in found.items()}


def noise_rate(folder: str) -> float:
    """Rate of label noise of a set, from its name.

    Example:
        >>> noise_rate("digits/balanced-largest-100-noise-0.4/digits"), noise_rate(DIGITS)
        (0.4, 0.0)
    """
    return float(folder.split("/")[1].partition(_NOISE)[2] or 0)


def noise_sets(*methods: str, seeds: int = 2) -> dict[str, dict[float, str]]:
    """Sets that differ in label noise alone: the folder without noise → rate → folder; noisy sets are there.

    Only sets with so many seeds of each of the methods; digits first.
    """
    found: dict[str, dict[float, str]] = {}
    for folder in sets_with(*methods, among=set_names(), seeds=seeds):
        data, profile, protocol = folder.split("/")
        found.setdefault(f"{data}/{profile.partition(_NOISE)[0]}/{protocol}", {})[noise_rate(folder)] = folder
    return {clean: dict(sorted(sets.items())) for clean, sets in found.items() if any(sets)}


def at_noise(folder: str, rate: float, *methods: str) -> str:
    """The set that differs from the one without noise, `folder`, in the rate alone; two seeds of each method.

    Raises:
        MissingRecords: if there is none.
    """
    found = noise_sets(*methods).get(folder, {})
    if rate not in found:
        raise MissingRecords(f"no records of {', '.join(methods)} at noise {rate:g} beside {folder!r}; train them")
    return found[rate]


def noisy_sets(*methods: str, seeds: int = 2) -> list[str]:
    """The sets with label noise that hold so many seeds of every one of these methods, digits first."""
    return [folder for folder in sets_with(*methods, among=set_names(), seeds=seeds) if noise_rate(folder)]


def table_files(kind: str, seeds: int = 2) -> dict[str, dict[str, str]]:
    """The tables of a kind (`TABLES`) of each set that has so many: folder → file → digest, digits first."""
    index = _index(INDEX)
    return {name: found for name in set_names() if len(found := index[name].get(kind, {})) >= seeds}


def interval(values: np.ndarray) -> Interval:
    """Mean and 95 % interval of some seeds' numbers.

    Example:
        >>> interval(np.array([1.0, 2.0, 3.0])).half_width.round(3)
        np.float64(2.484)
    """
    values = np.asarray(values, dtype=float)
    n = len(values)
    if n < 2:
        raise MissingRecords(f"an interval needs at least two seeds, got {n}")
    half = student.ppf((1 + _LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return Interval(float(values.mean()), half, n)


def measured(runs: RunSet, method: str, what: str, seeds: Sequence[int]) -> np.ndarray:
    """A share in each seed's record, shape (seeds,).

    Args:
        runs: the records.
        method: whose.
        what: balanced test error at the ``last`` epoch or the ``selected`` one, test error of the ``rare`` half of the
            classes, or the share of the wrong training labels that was ``memorised``.
        seeds: of the records.
    """
    if what == "rare":
        return 1 - runs.values(method, "last", "test", "class_accuracy", seeds=seeds)[:, runs.rare_half].mean(axis=1)
    if what == "memorised":
        return runs.values(method, "last", "train", "memorised", seeds=seeds)
    return runs.error(method, what, seeds)


def paired(runs: RunSet, first: str, second: str, which: str = "last") -> Interval:
    """Balanced test error of one method minus that of another, at their common seeds."""
    seeds = runs.common_seeds(first, second)
    return interval(runs.error(first, which, seeds) - runs.error(second, which, seeds))


def fitted_line(x: np.ndarray, y: np.ndarray) -> Fit:
    """Least squares through one point for each class.

    The classes are the draws of the interval: their own difficulty is what scatters around a law of the counts.

    Raises:
        ArithmeticError: if y is not finite, as the logarithm of a margin that is not positive.

    Example:
        >>> fitted_line(np.arange(4.0), np.array([0.0, 1.1, 1.9, 3.0])).slope.round(3)
        np.float64(0.98)
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if not np.isfinite(y).all():
        raise ArithmeticError(f"no line through {y.round(4).tolist()}: not all of them are finite")
    centred = x - x.mean()
    slope = centred @ y / (centred @ centred)
    intercept = y.mean() - slope * x.mean()
    rest = y - intercept - slope * x
    freedom = len(x) - 2
    half = student.ppf((1 + _LEVEL) / 2, freedom) * np.sqrt(rest @ rest / freedom / (centred @ centred))
    total = (y - y.mean()) @ (y - y.mean())
    return Fit(slope, half, intercept, 1 - rest @ rest / total if total else 1.0)


def index_text(folder: Path = COMMITTED) -> str:
    """Return the index of the records below a folder."""
    sets: dict[str, dict[str, list[int]]] = {}
    known: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("*/*/*/*.json")):
        run, name = read_record(path)["run"], str(path.parent.relative_to(folder))
        sets.setdefault(name, {}).setdefault(run["method"], []).append(run["seed"])
        protocol = run["protocol"]
        known[name] = {"epochs": protocol["epochs"], "augmented": bool(protocol["padding"] or protocol["flip"])}
    sorted_sets = {name: {key: sorted(sets[name][key]) for key in sorted(sets[name])} for name in sorted(sets)}
    index = {
        name: {
            "digest": _digest(folder / name, each),
            **known[name],
            **{kind: _tables(folder.with_name(kind) / name) for kind in TABLES},
            "seeds": each,
        }
        for name, each in sorted_sets.items()
    }
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in index.items()) + "\n}\n"


def main(arguments: Sequence[str] = ()) -> int:
    """Write the index, or compare it with ``--check``; returns the exit code."""
    text = index_text()
    current = INDEX.read_text(encoding="utf-8") if INDEX.exists() else ""
    if "--check" in arguments:
        if current != text:
            print(f"{INDEX.name} is out of date; run: python -m {__spec__.name}", file=sys.stderr)
        return int(current != text)
    replace_files({INDEX: text.encode()})
    return 0


def _tables(folder: Path) -> dict[str, str]:
    """Tables that belong to records of a set: file → digest."""
    return {path.name: sha256(path.read_bytes()).hexdigest()[:16] for path in sorted(folder.glob("*.json"))}


def _file(method: str, seed: int) -> str:
    return f"{method.replace(':', '_')}-seed{seed}.json"


def _digest(folder: Path, seeds: dict[str, list[int]]) -> str:
    """Of the listed records; what is there besides does not matter."""
    digest = sha256()
    for path in (folder / _file(method, seed) for method in sorted(seeds) for seed in seeds[method]):
        digest.update(path.name.encode() + b"\0" + (path.read_bytes() if path.exists() else b""))
    return digest.hexdigest()[:16]


@cache
def _index(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingRecords(f"{path} is missing; run: python -m {__spec__.name}") from None
    except ValueError as error:
        raise InputError(f"{path}: is no index ({error}); run: python -m {__spec__.name}") from None


@cache
def _load(folder: Path, name: str, entry: str) -> RunSet:
    listed = json.loads(entry)
    if _digest(folder / name, listed["seeds"]) != listed["digest"]:
        raise MissingRecords(f"records of {name!r} are not those of the index; run: python -m {__spec__.name}")
    by_method = {
        method: [read_record(folder / name / _file(method, seed)) for seed in seeds]
        for method, seeds in listed["seeds"].items()
    }
    return RunSet(name, listed["seeds"], by_method)


def _follow(record: Any, path: Sequence[Any]) -> Any:
    for key in path:
        record = record[key]
    return record


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
