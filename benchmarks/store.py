"""Times the results store against plain sqlite3 in the same run: python benchmarks/store.py. One line a measurement.

The peer writes the same records with ``executemany`` into a table without keys, in transactions of as many rows, and
reads them with ``json.loads``. Each figure is the best of several runs.
"""

import json
import sqlite3
import tempfile
import time
from pathlib import Path

import pandas as pd
from tailbound.sims.core.run import run
from tailbound.sims.core.store import Store
from tailbound.sims.core.study import Study, cases

RUNS = 3
DRAWS, BATCH = 20_000, 500


def draw_errors(rng, *, margin_ratio, aspect_ratio):
    """A draw that costs next to nothing: what remains is the price of the machinery."""
    return {"minority_error": rng.random(), "majority_error": rng.random(), "separable": True}


STUDY = Study(
    "benchmark.errors",
    draw_errors,
    cases(margin_ratio=[1.0, 2.0, 4.0, 8.0], aspect_ratio=[0.5, 1.0]),
    repetitions=DRAWS // 8,
)


def best(action) -> float:
    """Least wall time of several runs, each in a fresh folder."""
    times = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            times.append(action(Path(folder) / "results.sqlite"))
    return min(times)


def timed(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def plain_connection(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = EXTRA")
    connection.execute("CREATE TABLE draws (arguments TEXT, repetition INTEGER, record TEXT)")
    return connection


def plain_write(connection: sqlite3.Connection, draws: list) -> None:
    for first in range(0, len(draws), BATCH):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO draws VALUES (?, ?, ?)", draws[first : first + BATCH])
        connection.execute("COMMIT")


def store_write(store: Store, draws: list) -> None:
    for first in range(0, len(draws), BATCH):
        store.add(STUDY, draws[first : first + BATCH])


def main() -> None:
    """Measure and print."""
    tasks = [
        (text, case, r) for text, case in zip(STUDY.case_texts, STUDY.cases, strict=True) for r in range(DRAWS // 8)
    ]
    drawing = timed(lambda: [STUDY.draw_rows(case, r) for _, case, r in tasks])
    draws = [(text, r, json.dumps(STUDY.draw_rows(case, r))) for text, case, r in tasks]

    def write_plain(path):
        connection = plain_connection(path)
        return timed(lambda: plain_write(connection, draws))

    def write_store(path):
        with Store(path) as store:
            return timed(lambda: store_write(store, draws))

    def read_plain(path):
        connection = plain_connection(path)
        plain_write(connection, draws)
        query = "SELECT record FROM draws"
        return timed(lambda: pd.DataFrame([json.loads(text)[0] for (text,) in connection.execute(query)]))

    def read_store(path):
        with Store(path) as store:
            store_write(store, draws)
            return timed(lambda: store.rows(STUDY))

    def run_all(path):
        with Store(path) as store:
            return timed(lambda: run(STUDY, store))

    for name, ours, peer in (
        ("write", best(write_store), best(write_plain)),
        ("read as a table", best(read_store), best(read_plain)),
    ):
        rates = f"{DRAWS / ours:9.0f} rows/s  plain sqlite3 {DRAWS / peer:9.0f} rows/s"
        print(f"{name:20s} {rates}  {ours / peer:5.2f} x the time")
    whole = best(run_all)
    parts = f"{1e6 * whole / DRAWS:.0f} µs a row, {1e6 * drawing / DRAWS:.0f} of them for the draw and its seed"
    print(f"{'run, 1 process':20s} {DRAWS / whole:9.0f} rows/s  {parts}")


if __name__ == "__main__":
    main()
