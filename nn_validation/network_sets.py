"""Average-K against top-K on the probabilities of a trained network: the threshold from images that it has not seen.

``python -m tailbound.nn_validation.network_sets RECORD`` writes the table of a run that kept its weights, a row for
each K with both errors, the gain and what the exact identity predicts from the probabilities (`compare_rules`), the
sizes of the sets and the coverage of each class.

Source:
    Lorieul, Joly, Shasha (2021), arXiv:2112.08851.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import softmax

from ..theory.core.class_counts import ClassCounts
from .average_k import AverageK, TopK, compare_rules, set_metrics
from .core.tables import write_table

__all__ = ["SIZES", "main", "set_rows"]

SIZES = (1, 2, 3, 4, 5)
"""Mean sizes K that are compared, as far as there are so many classes."""


def set_rows(held_out, logits, labels, sizes: Sequence[int] = SIZES) -> pd.DataFrame:
    """Compare the two rules on a network's test images, one row for each K.

    Args:
        held_out: logits of images that set the threshold, shape (N, C).
        logits: of the test images, shape (M, C).
        labels: of the test images, shape (M,).
        sizes: integers K.

    Returns:
        Rows of `compare_rules`, with ``set_sizes``, the numbers of test images with a set of 0, 1, … C labels under
        average-K, and ``average_coverage`` and ``top_coverage``, the share of each class whose label is in its set.

    Example:
        >>> logits, labels = np.array([[4.0, 0, -1], [1, 0.9, 0], [3, 1, 0], [0, 0.2, 0.1]]), np.array([0, 1, 0, 2])
        >>> set_rows(logits, logits, labels, [2]).set_sizes.tolist()
        [[0, 2, 0, 2]]
    """
    held_out, scores = (softmax(np.asarray(each, dtype=float), axis=1) for each in (held_out, logits))
    rows = []
    for row in compare_rules(held_out, scores, labels, sizes):
        size = int(row["size"])
        average, top = (
            set_metrics(rule.predict_inclusion(scores), labels) for rule in (AverageK(size).fit(held_out), TopK(size))
        )
        coverage = {"average_coverage": average.class_coverage.tolist(), "top_coverage": top.class_coverage.tolist()}
        rows.append({**row, "set_sizes": average.sizes.tolist(), **coverage})
    return pd.DataFrame(rows)


def main(arguments: Sequence[str]) -> int:
    """Write the table of a record whose weights were kept; returns the exit code."""
    return write_table(
        arguments,
        kind="sets",
        description=str(__doc__).partition("\n")[0],
        rows=_rows,
    )


def _rows(found: dict[str, Any], record: dict[str, Any]) -> pd.DataFrame:
    """`set_rows` of the logits whose softmax is the probability: clipped, or times the scale, as the loss has them."""
    import torch

    from .methods import method

    objective = method(record["run"]["method"]).objective(ClassCounts(tuple(record["counts"])))
    held_out, scores = (
        objective.probability_logits(torch.from_numpy(found[name].logits)).numpy() for name in ("validation", "test")
    )
    sizes = [size for size in SIZES if size <= scores.shape[1]]
    return set_rows(held_out, scores, found["test"].labels, sizes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
