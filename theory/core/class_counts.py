"""Training counts n_k of K classes, where they come from, and the literature's imbalanced profiles."""

import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import InputError, require_in

__all__ = ["MAX_COUNT", "ClassCounts"]

MAX_COUNT = 10**12 - 1
_MAX_CLASSES = 10**6
_SHOWN = 5


@dataclass(frozen=True)
class ClassCounts:
    """Number of training examples of each class, n_k >= 1, K >= 2.

    Args:
        counts: n_k, whole numbers from 1 to `MAX_COUNT`, length K >= 2. Whole floats are accepted.
        names: class names, length K; the class indices when omitted.

    Raises:
        InputError: naming the offending classes and their counts.

    Example:
        >>> ClassCounts((5000, 50)).imbalance_ratio
        100.0
    """

    counts: tuple[int, ...]
    names: tuple[str, ...] = field(default=())

    def __post_init__(self):
        counts = _as_list(self.counts)
        names = tuple(str(name) for name in self.names) or tuple(str(k) for k in range(len(counts)))
        if len(names) != len(counts):
            raise InputError(f"class names must match the counts, got {len(names)} names for {len(counts)} counts")
        if len(set(names)) != len(names):
            twice = sorted(name for name, times in Counter(names).items() if times > 1)[:_SHOWN]
            raise InputError(f"class names must differ, but {twice} occur more than once; merge their counts")
        _reject(
            counts,
            names,
            lambda n: not _is_whole(n),
            "whole numbers",
            "pass the number of examples of each class",
        )
        whole = tuple(int(n) for n in counts)
        if len(whole) == 1 and whole[0] >= 1:
            raise InputError(
                f"class_counts must have at least 2 classes, got 1 (counts {list(whole)}); margins compare classes"
            )
        _reject(
            whole,
            names,
            lambda n: n < 1,
            ">= 1",
            "drop empty classes explicitly (drop_empty) before building priors",
        )
        _reject(
            whole,
            names,
            lambda n: n > MAX_COUNT,
            "below 10**12",
            "pass numbers of examples, not identifiers or bytes",
        )
        if not whole:
            raise InputError("class_counts must have at least 2 classes, got none; pass one count for each class")
        object.__setattr__(self, "counts", whole)
        object.__setattr__(self, "names", names)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def array(self) -> np.ndarray:
        """n_k as float64, shape (K,)."""
        return np.array(self.counts, dtype=float)

    @property
    def total(self) -> int:
        """Number of examples n."""
        return sum(self.counts)

    @property
    def priors(self) -> np.ndarray:
        """Class priors π_k = n_k / n, shape (K,), summing to 1."""
        return self.array / self.total

    @property
    def imbalance_ratio(self) -> float:
        """n_max / n_min >= 1."""
        return max(self.counts) / min(self.counts)

    @classmethod
    def from_any(cls, source: Any, *, drop_empty: bool = False) -> "ClassCounts":
        """Build from a ClassCounts, a mapping, a pandas Series of counts, or a sequence of counts.

        Example:
            >>> ClassCounts.from_any({"cat": 30, "dog": 3}).names
            ('cat', 'dog')
        """
        if isinstance(source, cls):
            return source
        if isinstance(source, Mapping) or (hasattr(source, "items") and hasattr(source, "index")):
            pairs = list(source.items())
            names, counts = tuple(str(name) for name, _ in pairs), _as_list(count for _, count in pairs)
        elif isinstance(source, str | bytes) or not isinstance(source, Iterable):
            raise InputError(f"class_counts must be a sequence, mapping or Series of counts, got {source!r}")
        else:
            counts = _as_list(source)
            names = tuple(str(k) for k in range(len(counts)))
        if drop_empty:
            kept = [(name, n) for name, n in zip(names, counts, strict=True) if not (_is_whole(n) and int(n) == 0)]
            names, counts = tuple(name for name, _ in kept), [n for _, n in kept]
        return cls(tuple(counts), names)

    @classmethod
    def from_labels(cls, labels: Any, *, num_classes: int | None = None, drop_empty: bool = False) -> "ClassCounts":
        """Count labels: integers 0..K-1, or strings (classes in sorted order).

        Args:
            labels: one label for each example, shape (n,).
            num_classes: K, when classes above the largest label seen must be reported as empty.
            drop_empty: leave out integer classes that never occur, instead of an error that names them.

        Raises:
            InputError: for empty, negative, fractional, NaN or gapped labels.

        Example:
            >>> ClassCounts.from_labels([0, 0, 1, 0]).counts
            (3, 1)
        """
        array = np.asarray(labels)
        if array.ndim != 1 or array.size == 0:
            raise InputError(
                f"labels must be one value for each example, got shape {array.shape}; pass a non-empty 1-d array"
            )
        if array.dtype.kind in "OUS":
            missing = [i for i, label in enumerate(array.tolist()) if label is None or label != label]
            if missing:
                raise InputError(
                    f"labels must not be missing, but examples {missing[:_SHOWN]} have none; drop or label them"
                )
            array = array.astype(str)
        if array.dtype.kind == "U":
            names, counts = np.unique(array, return_counts=True)
            return cls(tuple(counts.tolist()), tuple(names.tolist()))
        if array.dtype.kind not in "iufb":
            raise InputError(f"labels must be integers or strings, got dtype {array.dtype}")
        whole = (array == np.floor(array)) & (abs(array) < 2**53) if array.dtype.kind == "f" else np.True_
        if not whole.all():
            raise InputError(
                f"labels must be whole class indices, got {array[~whole][:_SHOWN].tolist()}; "
                "pass class indices 0..K-1 or names"
            )
        distinct, counts = np.unique(array, return_counts=True)
        values = [int(v) for v in distinct]
        if values[0] < 0:
            raise InputError(
                f"labels must be >= 0, got {[v for v in values if v < 0][:_SHOWN]}; relabel the classes 0..K-1"
            )
        if drop_empty:
            return cls(tuple(counts.tolist()), tuple(map(str, values)))
        top = max(values[-1] + 1, num_classes or 0)
        if top > len(values):
            present, gap = set(values), []
            for k in range(top):
                if k not in present:
                    gap.append(k)
                    if len(gap) == _SHOWN:
                        break
            more = f" and {top - len(values) - len(gap)} more" if top - len(values) > len(gap) else ""
            raise InputError(
                f"labels must cover every class 0..{top - 1}, but classes {gap}{more} never occur; "
                "relabel without the gap, or drop them explicitly (drop_empty)"
            )
        return cls(tuple(counts.tolist()))

    @classmethod
    def long_tailed(cls, imbalance_ratio: float, *, num_classes: int, largest: int) -> "ClassCounts":
        """Exponential profile ``int(largest * imbalance_ratio ** (-k / (K - 1)))``, as in the literature's subsets.

        Source:
            Cao et al. (2019), arXiv:1906.07413, Sec. 4 and released code (the truncation is theirs).

        Example:
            >>> ClassCounts.long_tailed(100, num_classes=10, largest=5000).counts
            (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
        """
        _check_profile(imbalance_ratio, num_classes, largest)
        smallest_share = 1.0 / imbalance_ratio
        return cls(tuple(int(largest * smallest_share ** (k / (num_classes - 1.0))) for k in range(num_classes)))

    @classmethod
    def step(cls, imbalance_ratio: float, *, num_classes: int, largest: int) -> "ClassCounts":
        """Step profile: the first half of the classes have `largest`, the others ``int(largest / ratio)`` examples.

        Source:
            Cao et al. (2019), arXiv:1906.07413, Sec. 4 (fraction of minority classes 1/2).

        Example:
            >>> ClassCounts.step(10, num_classes=4, largest=50).counts
            (50, 50, 5, 5)
        """
        _check_profile(imbalance_ratio, num_classes, largest)
        majority = num_classes - num_classes // 2
        return cls((largest,) * majority + (int(largest * (1.0 / imbalance_ratio)),) * (num_classes // 2))


def _check_profile(imbalance_ratio: float, num_classes: int, largest: int) -> None:
    require_in(imbalance_ratio, "imbalance_ratio (n_max / n_min)", 1, MAX_COUNT)
    for name, value, low, high in (("num_classes", num_classes, 2, _MAX_CLASSES), ("largest", largest, 1, MAX_COUNT)):
        if not low <= value <= high:
            raise InputError(f"{name} must lie in {low}..{high}, got {reprlib.repr(value)}")


def _as_list(counts: Any) -> list:
    if isinstance(counts, str | bytes) or not isinstance(counts, Iterable):
        raise InputError(f"class_counts must be a sequence of whole numbers, got {counts!r}")
    return [n.item() if isinstance(n, np.generic) else n for n in counts]


def _is_whole(n: Any) -> bool:
    return not isinstance(n, bool) and isinstance(n, int | float) and n == n and abs(n) != float("inf") and int(n) == n


def _reject(counts, names, is_bad, rule: str, remedy: str) -> None:
    bad = [(name, n) for name, n in zip(names, counts, strict=True) if is_bad(n)]
    if bad:
        shown, more = bad[:_SHOWN], f" (and {len(bad) - _SHOWN} more)" if len(bad) > _SHOWN else ""
        raise InputError(
            f"class_counts must be {rule}, but classes [{', '.join(_printable(name) for name, _ in shown)}] "
            f"have counts [{', '.join(' '.join(reprlib.repr(n).split()) for _, n in shown)}]{more}; {remedy}"
        )


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)
