"""Do the asymptotics hold on features that a network has learned? Two classes at a time, from training features alone.

A rare and a frequent class give a hard-margin SVM on the penultimate features of their images. Its errors at several
margin ratios are predicted from the features it was fitted on, and counted on test images. Three predictions:

- left out: the margins left out one by one, any covariance (`estimate_margin_ratio`);
- law: the rectified Gaussian law of training margins, identity covariance up to a common scale;
- mixture: the sharp asymptotics of the isotropic mixture with the same distance of means, total variance, and effective
  dimension (tr Σ)² / tr Σ² in place of d.

All of them take the fitted examples for independent of the features. Features of training images are not: the network
has pulled them together. So the same is done with images that the network has never seen, the validation images, in the
same numbers where there are enough of them; and the machine fitted on training features is also predicted from the mean
and spread of its scores on the validation images.

``python -m tailbound.nn_validation.vs_loss.network_features RECORD`` writes the table of a run that kept its weights.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...theory.core.errors import InputError
from ...theory.core.gaussian import tail
from ...theory.features import Problem, derive_features
from ...theory.vs_loss.asymptotics import hard_margin_map
from ...theory.vs_loss.ratio_estimate import ratio_of, shift_of
from ..core.tables import write_table

__all__ = ["PREDICTIONS", "feature_rows", "main", "network_rows"]

PREDICTIONS = ("left_out", "law", "mixture", "fresh")
"""Columns ``<name>_plus`` and ``<name>_minus``; None where the prediction does not exist."""

_SHIFTS = np.linspace(-1, 1, 401)[1:-1]


def feature_rows(features, labels, test_features, test_labels, fresh: tuple | None = None) -> list[dict[str, Any]]:
    """Fit an SVM on two classes, predict its errors, count them; one row for each rule of the margin ratio.

    Args:
        features: fitted examples, shape (n, d).
        labels: two values, the less frequent one being the class +1, shape (n,).
        test_features: shape (N, d).
        test_labels: the same two values, shape (N,).
        fresh: features and labels of further examples, from which the scores' mean and spread are taken; or None.

    Returns:
        Rows with ``rule`` (``auto`` is the estimated ratio, ``best`` the best one on the test examples),
        ``margin_ratio``, ``num_plus``, ``num_minus``, the predictions (see `PREDICTIONS`), and the counted
        ``error_plus`` and ``error_minus``. No row where no hyperplane separates the fitted examples.

    Source:
        derived here; see the module.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> y = np.repeat([1, 0], [20, 80])
        >>> means = np.array([[-2.0], [2.0]]) * np.eye(1, 150)
        >>> fitted, tested = (rng.standard_normal((100, 150)) + means[y] for _ in range(2))
        >>> [row["rule"] for row in feature_rows(fitted, y, tested, y)]
        ['auto', 'svm', 'ldam', 'n^-1/3', 'n^-1/2', '1/n', 'best']
    """
    labels, test_labels = np.asarray(labels), np.asarray(test_labels)
    try:
        (problem,) = derive_features(np.asarray(features, dtype=float), labels).problems
    except InputError as error:
        if "no hyperplane separates" in str(error):
            return []
        raise
    assert problem.estimate is not None  # separable
    names = np.array([str(each) for each in test_labels.tolist()])
    scores = _split_scores(problem, test_features, names)
    ratios = {each.rule: each.margin_ratio for each in problem.predictions}
    errors = np.array([_errors(scores, shift) for shift in _SHIFTS])
    ratios["best"] = float(ratio_of(_SHIFTS[errors.mean(axis=1).argmin()]))
    values: Any = np.array(list(ratios.values()))
    unknown = (np.nan, np.nan)
    law = np.array([*(each.training_law or unknown for each in problem.predictions), unknown])
    predicted = {"left_out": problem.estimate.errors(values), "law": law, "mixture": _mixture(problem, values)}
    predicted["fresh"] = np.full((len(values), 2), np.nan)
    if fresh is not None:
        seen = _split_scores(problem, fresh[0], np.array([str(each) for each in np.asarray(fresh[1]).tolist()]))
        predicted["fresh"] = _gaussian(seen, shift_of(values))
    rows = []
    for k, (rule, ratio) in enumerate(ratios.items()):
        row: dict[str, Any] = {"rule": rule, "margin_ratio": ratio, "num_plus": problem.counts[0]}
        row["num_minus"] = problem.counts[1]
        for name in PREDICTIONS:
            pair = predicted[name][k]
            row |= {f"{name}_{sign}": float(value) for sign, value in zip(("plus", "minus"), pair, strict=True)}
        plus, minus = _errors(scores, float(shift_of(ratio)))
        rows.append(row | {"error_plus": plus, "error_minus": minus})
    return rows


def network_rows(splits: dict[str, tuple[np.ndarray, np.ndarray]], counts: Sequence[int]) -> pd.DataFrame:
    """Rows of all pairs of a class of the rarer half and one of the more frequent half.

    Args:
        splits: features and labels of ``train``, ``validation`` and ``test``.
        counts: n_k of the training set.

    Returns:
        Rows of `feature_rows` with ``rare``, ``frequent`` and ``fitted_on``: ``training`` or ``held-out`` images.
    """
    order = np.argsort(-np.asarray(counts), kind="stable")
    half = len(order) // 2
    rows = []
    for rare in sorted(order[half:].tolist()):
        for frequent in sorted(order[:half].tolist()):
            pairs = {name: _pair(*split, rare, frequent) for name, split in splits.items()}
            test = pairs["test"]
            for fitted_on, fitted, fresh in (
                ("training", pairs["train"], pairs["validation"]),
                ("held-out", _first(pairs["validation"], {k: counts[k] for k in (rare, frequent)}), None),
            ):
                if fitted is None or min(np.unique(fitted[1], return_counts=True)[1], default=0) < 2:
                    continue
                found = feature_rows(*fitted, *test, fresh=fresh)
                head = {"rare": rare, "frequent": frequent, "fitted_on": fitted_on}
                rows += [head | row for row in found]
    return pd.DataFrame(rows)


def main(arguments: Sequence[str]) -> int:
    """Write the table of a record whose weights were kept; returns the exit code."""
    return write_table(
        arguments,
        kind="features",
        description=str(__doc__).partition("\n")[0],
        rows=lambda found, record: network_rows(
            {name: (out.features.astype(float), out.labels) for name, out in found.items()}, record["counts"]
        ),
    )


def _pair(features: np.ndarray, labels: np.ndarray, rare: int, frequent: int) -> tuple[np.ndarray, np.ndarray]:
    chosen = (labels == rare) | (labels == frequent)
    return features[chosen], labels[chosen]


def _first(pair: tuple[np.ndarray, np.ndarray], numbers: dict[int, int]) -> tuple[np.ndarray, np.ndarray] | None:
    """The first so many examples of each class; None unless both classes keep their order of frequency."""
    features, labels = pair
    chosen = np.concatenate([np.flatnonzero(labels == k)[:number] for k, number in numbers.items()])
    rare, frequent = ((labels[chosen] == k).sum() for k in numbers)
    return (features[chosen], labels[chosen]) if 0 < rare < frequent else None


def _split_scores(problem: Problem, features, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed margins y f of the class +1 and of the class -1, at required margin 1 and ratio 1."""
    assert problem.estimate is not None
    ratio = problem.estimate.ratio
    scores = np.asarray(features, dtype=float) @ problem.coefficients + problem.intercept
    scores = (scores - (ratio - 1) / 2) * 2 / (ratio + 1)
    return scores[names == problem.name], -scores[names == problem.rest]


def _errors(scores: tuple[np.ndarray, np.ndarray], shift: float) -> list[float]:
    return [float((scores[0] <= -shift).mean()), float((scores[1] <= shift).mean())]


def _gaussian(scores: tuple[np.ndarray, np.ndarray], shifts: np.ndarray) -> np.ndarray:
    """Errors of normal scores with the mean and spread of these."""
    if min(map(len, scores)) < 2:
        return np.full((len(shifts), 2), np.nan)
    return np.stack([tail((s.mean() + y * shifts) / s.std(ddof=1)) for s, y in zip(scores, (1, -1), strict=True)], 1)


def _mixture(problem: Problem, ratios: Any) -> np.ndarray:
    prior, dimension = problem["data.prior"].value, problem["data.effective_dimension"].value
    features = problem["data.aspect_ratio"].value * sum(problem.counts)  # d
    signal = problem["data.signal_strength"].value * np.sqrt(dimension / features)
    if not (np.isfinite(signal) and signal > 0):
        return np.full((len(ratios), 2), np.nan)
    return hard_margin_map(prior, signal, dimension / sum(problem.counts), ratios).class_errors


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
