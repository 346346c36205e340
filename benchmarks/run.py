"""Times the library against a peer in the same run: python benchmarks/run.py. Prints one line a measurement.

Import time is compared with ``import numpy``; `derive` with a call of the command on two classes, the price of starting
it; `verify` is given in seconds for each claim. Each figure is the median of several runs in fresh processes.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 5
CLASSES = (2, 10, 100, 1000, 10_000)


def seconds(*command: str, runs: int = RUNS) -> float:
    """Median wall time of a command in a fresh process."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Measure and print."""
    numpy = seconds("-c", "import numpy")
    for name, command in {
        "import tailbound": ("-c", "import tailbound"),
        "tailbound --help": ("-m", "tailbound", "--help"),
    }.items():
        taken = seconds(*command)
        print(f"{name:32s} {taken:7.3f} s  {taken / numpy:6.2f} x python importing numpy")
    with tempfile.TemporaryDirectory() as folder:
        first = None
        for classes in CLASSES:
            path = Path(folder) / f"{classes}.csv"
            path.write_text("count\n" + "\n".join(str(1 + 10**6 // (k + 1)) for k in range(classes)), encoding="utf-8")
            taken = seconds("-m", "tailbound", "derive", str(path), "--json")
            first = first or taken
            print(f"{f'derive, {classes} classes':32s} {taken:7.3f} s  {taken / first:6.2f} x two classes")
    taken = seconds("-m", "tailbound", "verify", runs=1)
    claims = len(__import__("tailbound.theory.claims", fromlist=["select"]).select())
    print(f"{f'verify, {claims} claims':32s} {taken:7.3f} s  {1000 * taken / claims:6.0f} ms a claim")


if __name__ == "__main__":
    main()
