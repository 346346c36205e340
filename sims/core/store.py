"""The results store: one SQLite file that holds each draw once, written in transactions.

A draw is known by a digest of study, case, repetition and formula version. A killed process leaves what it has
committed and nothing else: SQLite rolls the rest back when the file is next opened. Several processes may share it.
There is a rollback journal rather than a write-ahead log, so that at rest the store is one file, which can be copied,
and read from a folder that cannot be written.

Example:
    >>> import tempfile
    >>> from .run import run
    >>> from .study import Study
    >>> def draw_uniform(rng, *, width):
    ...     return {"value": width * rng.random()}
    >>> study = Study("example.uniform", draw_uniform, cases=({"width": 2.0},), repetitions=3)
    >>> with tempfile.TemporaryDirectory() as folder, Store(f"{folder}/results.sqlite") as store:
    ...     first, second = run(study, store), run(study, store)
    ...     rows = store.rows(study)
    >>> first, second
    (Counts(done=3, new=3), Counts(done=3, new=0))
    >>> list(rows), len(rows)
    (['width', 'repetition', 'value'], 3)
"""

import json
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd

from ...theory.core.errors import InputError
from .study import Study

__all__ = ["Draw", "Store", "Task"]

Task = tuple[str, int]
"""Case as canonical JSON, and repetition."""

Draw = tuple[str, int, str]
"""A task, and the rows it drew as JSON: floats by repr, NaN and infinities by name."""

_APPLICATION, _FORMAT = 0x7461696C, 1  # "tail"; the format is raised when the tables change
_TABLES = f"""
    CREATE TABLE draws (
        key TEXT PRIMARY KEY, study TEXT NOT NULL, version INTEGER NOT NULL, arguments TEXT NOT NULL,
        repetition INTEGER NOT NULL, record TEXT NOT NULL, checksum INTEGER NOT NULL
    );
    CREATE INDEX draws_of_study ON draws (study, version);
    PRAGMA application_id = {_APPLICATION};
    PRAGMA user_version = {_FORMAT};
"""
_PATIENCE = 60.0  # seconds to wait for another process's transaction
_REMEDIES = {
    sqlite3.SQLITE_CORRUPT: "is damaged ({}); restore a copy, or name another file",
    sqlite3.SQLITE_NOTADB: "is no results store ({}); name another file",
    sqlite3.SQLITE_FULL: "cannot grow ({}); make room and go on with the same command",
    sqlite3.SQLITE_IOERR: "cannot be read or written ({}); check the disk, and go on with the same command",
    sqlite3.SQLITE_READONLY: "cannot be written ({}); check the permissions",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened ({}); name a file in a folder that can be written",
    sqlite3.SQLITE_BUSY: "is held by another process ({}); wait for it",
}


class Store:
    """An open results store.

    Args:
        path: the file; made when missing, if `create`.
        create: whether to make it.

    Raises:
        InputError: for a file that is damaged, foreign, of a newer format, or cannot be opened. It is left as it is.
    """

    def __init__(self, path: str | Path, *, create: bool = True):
        self.path = Path(path)
        with self._explaining():
            if create and not self.path.exists():
                _create(self.path)
            uri = f"{self.path.absolute().as_uri()}?mode=rw"
            self._connection = sqlite3.connect(uri, uri=True, timeout=_PATIENCE, isolation_level=None)
            try:
                self._check()
                self._connection.execute("PRAGMA synchronous = EXTRA")  # a commit outlives a power cut
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def add(self, study: Study, draws: Iterable[Draw]) -> int:
        """Store draws in one transaction, leaving out those that are there already; return how many were new."""
        rows = [
            (_key(study, case, repetition), study.name, study.version, case, repetition, record, _sum(record))
            for case, repetition, record in draws
        ]
        with self._explaining(), self._transaction():
            before = self._connection.total_changes
            self._connection.executemany(
                "INSERT INTO draws VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING", rows
            )
            return self._connection.total_changes - before

    def lacking(self, study: Study, tasks: list[Task]) -> list[Task]:
        """Return those of some tasks that are not stored."""
        keys = [_key(study, *task) for task in tasks]
        marks = ", ".join("?" * len(keys))
        with self._explaining():
            stored = set(self._connection.execute(f"SELECT key FROM draws WHERE key IN ({marks})", keys))
        return [task for task, key in zip(tasks, keys, strict=True) if (key,) not in stored]

    def outstanding(self, study: Study) -> tuple[int, list[Task]]:
        """Return how many draws of a study are stored of those wanted so far, and the tasks of the others.

        With ``study.until`` the number wanted of a case doubles once the draws so far are stored and miss the standard
        error. That depends on them alone, so every run arrives at the same.
        """
        stored, drawn = self.repetitions(study), self.draws(study) if study.until else {}
        done, missing = 0, []
        for case, here in stored.items():
            wanted = study.repetitions
            while here.issuperset(range(wanted)) and wanted < study.max_repetitions:
                if _reached(study, [drawn[case][repetition] for repetition in range(wanted)]):
                    break
                wanted = min(2 * wanted, study.max_repetitions)
            lacking = [(case, repetition) for repetition in range(wanted) if repetition not in here]
            missing += lacking
            done += wanted - len(lacking)
        return done, missing

    def repetitions(self, study: Study) -> dict[str, set[int]]:
        """Return the stored repetitions of each of the study's cases, these as canonical JSON."""
        found: dict[str, set[int]] = {case: set() for case in study.case_texts}
        with self._explaining():
            for case, repetition in self._select("arguments, repetition", study):
                if case in found:
                    found[case].add(repetition)
        return found

    def draws(self, study: Study) -> dict[str, dict[int, list[dict]]]:
        """Return what is stored of each of the study's cases (as canonical JSON): repetition → rows, in order.

        Raises:
            InputError: if a stored draw is damaged.
        """
        found: dict[str, dict[int, list[dict]]] = {case: {} for case in study.case_texts}
        with self._explaining():
            for case, repetition, record, checksum in self._select("arguments, repetition, record, checksum", study):
                if _sum(record) != checksum:
                    raise InputError(
                        f"{self._name} is damaged (draw {repetition} of {study.name} {case}); restore a copy"
                    )
                if case in found:
                    found[case][repetition] = json.loads(record)
        return {case: dict(sorted(drawn.items())) for case, drawn in found.items()}

    def rows(self, study: Study) -> pd.DataFrame:
        """Return all stored rows of a study, tidy: the columns of the case, ``repetition``, the columns of the draw.

        The order is that of the cases, then of the repetitions. Sequences are tuples in cases and arrays in draws.
        """
        drawn = self.draws(study)
        records = [
            {**case, "repetition": repetition, **row}
            for text, case in zip(study.case_texts, study.cases, strict=True)
            for repetition, rows in drawn[text].items()
            for row in rows
        ]
        first = dict.fromkeys([*(name for case in study.cases for name in case), "repetition"])
        columns = [*first, *dict.fromkeys(name for record in records for name in record if name not in first)]
        frame = pd.DataFrame(records, columns=columns)
        for name in [name for name in frame if frame[name].dtype == "object"]:
            frame[name] = [np.array(cell) if isinstance(cell, list) else cell for cell in frame[name]]
        return frame

    def _check(self) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (written,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION:
            raise InputError(f"{self._name} is no results store (it is empty, or another program's); name another file")
        if written != _FORMAT:
            raise InputError(
                f"{self._name} has format {written}, but this version reads {_FORMAT}; upgrade tailbound, "
                "or name another file"
            )
        (found,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise InputError(
                f"{self._name} is damaged ({' '.join(found.split())}); restore a copy, or name another file"
            )

    def _select(self, columns: str, study: Study) -> Iterator[tuple]:
        return self._connection.execute(
            f"SELECT {columns} FROM draws WHERE study = ? AND version = ?", (study.name, study.version)
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @property
    def _name(self) -> str:
        return f"results store {str(self.path)!r}"

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            remedy = _REMEDIES.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "cannot be used ({})")
            raise InputError(f"{self._name} {remedy.format(error)}") from None
        except InputError:
            raise
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"{self._name} cannot be made: {reason}; name a file in a folder that can be written"
            ) from None


def _create(path: Path) -> None:
    """Make an empty store elsewhere and link it in place, so that no process ever sees half of one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.unlink(missing_ok=True)
    try:
        connection = sqlite3.connect(partial)
        try:
            connection.executescript(_TABLES)
        finally:
            connection.close()
        with suppress(FileExistsError):  # another process was quicker
            os.link(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _key(study: Study, case: str, repetition: int) -> str:
    return sha256(f"{json.dumps(study.name)},{study.version},{case},{repetition}".encode()).hexdigest()[:32]


def _sum(record: str) -> int:
    return crc32(record.encode())


def _reached(study: Study, draws: list[list[dict]]) -> bool:
    """Whether every row of the draws has the wanted standard errors, NaN left out."""
    for column, wanted in study.until.items():
        for number in range(max(map(len, draws))):
            rows = [drawn[number] for drawn in draws if number < len(drawn)]
            drawn = [row.get(column) for row in rows]
            if not all(isinstance(value, int | float) for value in drawn):
                raise InputError(
                    f"`until` of study {study.name!r} must name a column of numbers, got {column!r} with {drawn[0]!r}; "
                    f"known: {', '.join(rows[0])}"
                )
            values = np.array(drawn, dtype=float)
            values = values[~np.isnan(values)]
            if len(values) < 2 or not values.std(ddof=1) <= wanted * math.sqrt(len(values)):
                return False
    return True
