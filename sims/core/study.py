"""Studies: what is drawn, in which cases, how often; and how a simulation agrees with the theory.

A study is data plus one function. Its generator is seeded by the name of the study, the case and the repetition, never
by the method: methods meet the same data, and a result does not depend on the machine or on the order of the work.

Example:
    >>> import numpy as np
    >>> def draw_mean(rng, *, num_examples, noise_std):
    ...     return {"mean": noise_std * rng.standard_normal(num_examples).mean()}
    >>> MEAN = Study("example.mean", draw_mean, cases(num_examples=[10, 40], noise_std=[1.0]), repetitions=3)
    >>> MEAN.draw_rows(MEAN.cases[0], repetition=0) == MEAN.draw_rows(MEAN.cases[0], repetition=0)
    True
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from numbers import Real
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pandas as pd

from ...theory.core.errors import InputError, nearest, require_positive
from ...theory.core.grid import cases

__all__ = [
    "SEED_SCHEME",
    "Agreement",
    "Study",
    "agreement",
    "as_tuple",
    "canonical",
    "cases",
    "generator",
    "matching",
    "select",
]

SEED_SCHEME = "PCG64(SeedSequence(first 16 bytes, big-endian, of sha256(JSON of [study, case, repetition])))"
"""How the generator of a draw is seeded, in words, for the header of exported results."""

Row = Mapping[str, Any]
"""One tidy row: column → number, text, bool, or an array of those."""

_ROOT = __name__.split(".")[0]
_LAYERS = ("sims", "nn_validation")
_EXPORTED = "nn_validation"  # its modules import torch: only packages are looked at, and only what they export
_NO_STUDIES = ("core", "claims", "results")
STANDARD_ERRORS = 4.0


@dataclass(frozen=True, eq=False)
class Study:
    """A Monte-Carlo study. Found by name: attributes of the modules ``sims/<slug>`` (also inside a package), and of the
    packages ``nn_validation/<slug>`` themselves, which import their studies from a module that needs no torch.

    Args:
        name: ``slug.name``.
        draw: ``draw(rng, **case)``; returns one row (column → number, text, bool or array of those), or several rows
            of one draw, for example one for each method.
        cases: keyword arguments of `draw`, all different (see `cases`): numbers, text, bools, None, or tuples of those.
        repetitions: draws of each case. With `until` start from ten or so: the deviation of fewer is a poor guess.
        version: of the formula; raise it whenever `draw` changes, so that stored results of the old one do not count.
        until: wanted standard error of a column. The repetitions of a case double until every row of the draw reaches
            it (NaN left out), or `max_repetitions` are drawn.
        max_repetitions: bound of the doubling, at least `repetitions`.
        quick: overrides of the first case that make the tiny version for tests quick.

    Raises:
        InputError: for a name, case or number that does not fit.
    """

    name: str
    draw: Callable[..., Row | Iterable[Row]]
    cases: tuple[Mapping[str, Any], ...]
    repetitions: int = 1
    version: int = 1
    until: Mapping[str, float] = field(default_factory=dict)
    max_repetitions: int = 0
    quick: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.name.count(".") != 1 or not all(self.name.split(".")) or not self.name.replace(".", "").isidentifier():
            raise InputError(f"a study is named 'slug.name', got {self.name!r}")
        if self.repetitions < 1:
            raise InputError(f"repetitions must be >= 1, got {self.repetitions}; each case needs a draw")
        require_positive(list(self.until.values()) or 1, f"standard errors `until` of study {self.name}")
        if self.until and not self.max_repetitions >= self.repetitions:
            raise InputError(
                f"study {self.name}: max_repetitions must be >= repetitions = {self.repetitions} with `until`, "
                f"got {self.max_repetitions}"
            )
        texts = [canonical(case) for case in self.cases]
        twice = [text for text in texts if texts.count(text) > 1] if len(set(texts)) < len(texts) else []
        if twice or not texts:
            raise InputError(f"study {self.name}: cases must be given and differ, got {twice[:1] or 'none'}; drop one")
        restored = [
            {name: each[name] for name in case} for case, each in zip(self.cases, map(_restored, texts), strict=True)
        ]
        object.__setattr__(self, "cases", tuple(restored))
        object.__setattr__(self, "_case_texts", tuple(texts))

    @property
    def system(self) -> str:
        """Slug of the system the study belongs to."""
        return self.name.split(".")[0]

    @property
    def case_texts(self) -> tuple[str, ...]:
        """Each case as canonical JSON; what seeds, keys and the store know it by."""
        return self._case_texts  # type: ignore[attr-defined]

    def with_repetitions(self, repetitions: int) -> "Study":
        """Return the study with so many draws of each case, without doubling."""
        return replace(self, repetitions=repetitions, until={}, max_repetitions=0)

    def tiny(self) -> "Study":
        """Return the version for tests: the first case with the overrides of `quick`, two repetitions."""
        return replace(self.with_repetitions(2), cases=({**self.cases[0], **self.quick},))

    def draw_rows(self, case: Mapping[str, Any], repetition: int) -> list[dict[str, Any]]:
        """Draw one repetition of a case; return its rows as plain numbers, text, bools and lists.

        Raises:
            InputError: if a row is empty or holds something else, or a column bears the name of a case's.
        """
        return draw_rows(self.name, self.draw, canonical(case), repetition)


def draw_rows(study: str, draw: Callable, case_text: str, repetition: int) -> list[dict[str, Any]]:
    """Do what `Study.draw_rows` does, from the parts that a worker needs."""
    case = _restored(case_text)
    drawn = draw(generator(study, case_text, repetition), **case)
    rows = [drawn] if isinstance(drawn, Mapping) else list(drawn)
    if not rows or not all(isinstance(row, Mapping) and row for row in rows):
        raise InputError(f"study {study} must return a row, column → value, or several of them, got {drawn!r:.80}")
    misnamed = [name for row in rows for name in row if not isinstance(name, str) or name in (*case, "repetition")]
    if misnamed:
        raise InputError(f"columns of study {study} must not be named as 'repetition' or the case are: {misnamed[:3]}")
    return [{name: _plain_result(value, name) for name, value in row.items()} for row in rows]


def canonical(case: Mapping[str, Any]) -> str:
    """Return a case as canonical JSON: sorted names, floats by repr, numpy scalars as Python's, tuples as lists.

    Raises:
        InputError: for a value that is no number, text, bool, None or sequence of those.

    Example:
        >>> canonical({"b": np.float64(0.1), "a": (1, np.int64(2))})
        '{"a":[1,2],"b":0.1}'
    """
    plain = {name: _plain(value, name) for name, value in case.items()}
    return json.dumps(plain, sort_keys=True, separators=(",", ":"))


def as_tuple(value):
    """Return lists in lists as tuples in tuples."""
    return tuple(map(as_tuple, value)) if isinstance(value, list) else value


def generator(study: str, case_text: str, repetition: int) -> np.random.Generator:
    """Return the generator of one draw. See `SEED_SCHEME`."""
    digest = sha256(f"[{json.dumps(study)},{case_text},{repetition}]".encode()).digest()
    return np.random.default_rng(np.random.SeedSequence(int.from_bytes(digest[:16])))


def select(*patterns: str) -> list[Study]:
    """Studies that match any pattern: a system, a name, or a glob such as ``vs_loss.cs_*``; all when none is given.

    Raises:
        InputError: for a pattern that matches nothing, with the nearest names.
    """
    modules = _modules()
    named = {pattern.split(".")[0] for pattern in patterns}
    wanted = named if patterns and named <= set(modules) else set(modules)
    known = {study.name: study for system in sorted(wanted) for study in _load(system, modules[system])}
    chosen: dict[str, Study] = {}
    for pattern in patterns or ("*",):
        found = {name: each for name, each in known.items() if pattern == each.system or fnmatchcase(name, pattern)}
        if patterns and not found:
            names = {*known, *(each.system for each in known.values())}
            raise InputError(f"no study matches {pattern!r}; {nearest(pattern, names)}")
        chosen |= found
    return list(chosen.values())


@dataclass(frozen=True)
class Agreement:
    """A simulated mean beside its theory.

    Args:
        mean: of the draws.
        standard_error: of that mean.
        theory: what it should be, up to `allowance`.
        allowance: finite-size deviation that the theory admits.
    """

    mean: float
    standard_error: float
    theory: float
    allowance: float

    @property
    def deviation(self) -> float:
        """Mean minus theory in standard errors."""
        difference = self.mean - self.theory
        return difference / self.standard_error if self.standard_error else math.copysign(math.inf, difference)

    @property
    def tolerance(self) -> float:
        """4 standard errors plus the allowance."""
        return STANDARD_ERRORS * self.standard_error + self.allowance

    @property
    def holds(self) -> bool:
        """Whether mean and theory differ by at most `tolerance`."""
        return abs(self.mean - self.theory) <= self.tolerance


def matching(rows: pd.DataFrame, **case) -> pd.DataFrame:
    """Return the rows of a case: those whose columns have these values, tuples among them.

    Example:
        >>> matching(pd.DataFrame({"norms": [(3, 2), (3, 1)], "error": [0.1, 0.2]}), norms=(3, 2)).error.tolist()
        [0.1]
    """
    kept = np.ones(len(rows), dtype=bool)
    for name, wanted in case.items():
        kept &= np.array([value == wanted for value in rows[name]], dtype=bool)
    return rows.loc[kept]


def agreement(rows: pd.DataFrame, theory: float, column: str, allowance: float = 0.0) -> Agreement:
    """Compare the mean of a column with the theory; the rule is ``|mean - theory| <= 4 standard errors + allowance``.

    Args:
        rows: independent draws of one case (and one method), at least 2.
        theory: the stated value.
        column: the column to average.
        allowance: finite-size deviation that the theory admits, >= 0, in units of the column.

    Raises:
        InputError: for fewer than 2 rows, or values that are not finite.

    Example:
        >>> found = agreement(pd.DataFrame({"error": [0.19, 0.21, 0.20, 0.22]}), theory=0.2, column="error")
        >>> round(found.mean, 3), round(found.standard_error, 4), found.holds
        (0.205, 0.0065, True)
    """
    values = rows[column].to_numpy(dtype=float)
    if len(values) < 2 or not np.isfinite([*values, theory]).all() or not allowance >= 0:
        raise InputError(
            f"agreement needs at least 2 finite values, a finite theory and an allowance >= 0, got {len(values)} "
            f"of {column!r} ({(~np.isfinite(values)).sum()} not finite), theory {theory}, allowance {allowance}"
        )
    return Agreement(
        float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))), float(theory), float(allowance)
    )


def _modules() -> dict[str, list[str]]:
    """Full names of the modules of each system that may hold studies, over the layers that are installed."""
    found: dict[str, list[str]] = {}
    for layer in _LAYERS:
        spec = find_spec(f"{_ROOT}.{layer}")
        for module in iter_modules((spec and spec.submodule_search_locations) or []):
            if module.name not in _NO_STUDIES and (module.ispkg or layer != _EXPORTED):
                found.setdefault(module.name, []).append(f"{_ROOT}.{layer}.{module.name}")
    return found


def _load(system: str, modules: list[str]) -> list[Study]:
    """Import the modules of a system; return their studies (see `Study`)."""
    found: dict[str, Study] = {}
    for name in modules:
        try:
            module = import_module(name)
            inside = [] if name.startswith(f"{_ROOT}.{_EXPORTED}.") else getattr(module, "__path__", [])
            parts = [import_module(f"{name}.{part.name}") for part in iter_modules(inside)]
        except ModuleNotFoundError as error:
            if error.name != "torch":  # an extra; what is trained needs it
                raise
            continue
        for part in (module, *parts):
            for study in vars(part).values():
                if isinstance(study, Study) and study.system == system and found.setdefault(study.name, study) != study:
                    raise ValueError(f"two studies are named {study.name!r}")
    return list(found.values())


def _restored(case_text: str) -> dict[str, Any]:
    return {name: as_tuple(value) for name, value in json.loads(case_text).items()}


def _plain(value, name: str):
    """Return a value as JSON holds it."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(each, name) for each in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    raise InputError(f"{name} must be a number, text, a bool or an array of those, got {type(value).__name__}")


def _plain_result(value, name: str):
    plain = _plain(value, name)
    try:
        if np.asarray(plain).dtype.kind in "biufU":
            return plain
    except ValueError:  # rows of different lengths
        pass
    raise InputError(
        f"{name} must be a number, text, a bool or an array of those, got {value!r:.80}; NaN is 'no number'"
    )
