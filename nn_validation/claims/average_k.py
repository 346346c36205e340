"""Average-K against top-K on trained networks, the threshold from images that the network has not seen.

The gain is the error of top-K minus that of average-K on test images; it is ``matched`` where the threshold is set on
the test images' probabilities, so that mean sizes are equal. Means over networks with a 95 % interval, on the same test
images. For K = 1 and K > 2, and for the gain that the probabilities predict, the networks on digits decide nothing.
"""

import numpy as np
import pandas as pd

from ...theory.core.claims import Relation, Sides
from ...theory.core.sources import cite
from ..core.checks import on_sets
from ..core.evidence import DIGITS, EVEN_DIGITS, MissingRecords, interval, run_set, table_files
from ..core.tables import network_tables

_SETS = [DIGITS, EVEN_DIGITS, *table_files("sets")]


def _table(folder: str, size: int) -> tuple[pd.DataFrame, str]:
    """A row for each network."""
    tables = network_tables("sets")
    if folder not in tables:
        raise MissingRecords(f"no tables of label sets for two networks of {folder!r}; see network_sets")
    rows = pd.DataFrame(tables[folder][tables[folder]["size"] == size])
    return rows, f"{len(rows)} networks of {folder}"


def _text(name: str, values: np.ndarray) -> str:
    found = interval(values)
    return f"{name} {100 * found.mean:.2f} ± {100 * found.half_width:.2f} points"


@on_sets(
    "average_k.network_gain",
    folders=_SETS,
    source=cite("lorieul2021", "abstract: with estimated probabilities average-K is not worse either"),
    formula="error of top-2 - error of average-2 > 0 on test images; threshold from validation images, and matched",
    relation=Relation.GREATER,
    cases=[{"column": "gain"}, {"column": "matched_gain"}],
    wrong={"top-K is better": {"sign": -1}},
)
def network_gain(folder, column="matched_gain", sign=1, size=2):
    """On the probabilities of a trained network average-2 errs less than top-2."""
    rows, text = _table(folder, size)
    found = interval(sign * rows[column].to_numpy())
    parts = [_text(name, rows[name].to_numpy()) for name in (column, "predicted_gain")]
    sizes = f"mean size {rows.average_size.mean():.3f} with the validation images' threshold"
    return Sides(found.mean, 0.0, found.half_width, note=", ".join([*parts, f"{sizes}; {text}"]))


@on_sets(
    "average_k.network_rare_coverage",
    folders=[folder for folder in _SETS if "/balanced" not in folder],
    source=cite("tailbound", "where the network is unsure, mostly of rare classes, average-K returns more labels"),
    undecided=("cifar_10",),
    formula="share of the rarer half of the classes whose label is in its set: average-2 - top-2 > 0",
    relation=Relation.GREATER,
    wrong={"top-K covers them better": {"sign": -1}},
)
def network_rare_coverage(folder, sign=1, size=2):
    """After training on a long tail, what average-2 gains over top-2 goes to the rare classes."""
    rows, text = _table(folder, size)
    rare = run_set(folder).rare_half
    covered = {name: np.array(rows[f"{name}_coverage"].tolist())[:, rare].mean(axis=1) for name in ("average", "top")}
    found = interval(sign * (covered["average"] - covered["top"]))
    means = ", ".join(f"{name}-2 {100 * each.mean():.2f} %" for name, each in covered.items())
    return Sides(found.mean, 0.0, found.half_width, note=f"covered: {means}; {text}")
