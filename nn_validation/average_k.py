"""Average-K and top-K as predictors of label sets, on any score matrix or classifier, and the metrics of such sets.

Average-K takes scores that are comparable across inputs: probabilities, log-probabilities, one-versus-all scores as
they are. Logits of a softmax are not, and a temperature changes its sets (claim ``average_k.temperature_invariance``).

Source:
    Lorieul, Joly, Shasha (2021), arXiv:2112.08851; ties and non-empty sets as in `tailbound.theory.average_k`.

Example:
    >>> scores = np.array([[0.5, 0.4, 0.1], [0.9, 0.08, 0.02], [0.4, 0.35, 0.25], [0.98, 0.01, 0.01]])
    >>> average, top = AverageK(1.5).fit(scores), TopK(1)
    >>> average.predict_set(scores).sum(axis=1), top.predict_set(scores).sum(axis=1)
    (array([2, 1, 2, 1]), array([1, 1, 1, 1]))
    >>> labels = np.array([1, 0, 1, 0])
    >>> set_metrics(average.predict_set(scores), labels).error, set_metrics(top.predict_set(scores), labels).error
    (0.0, 0.5)
"""

from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from ..theory.average_k.calibration import calibrated_threshold
from ..theory.average_k.rules import (
    Threshold,
    average_k_inclusion,
    average_k_threshold,
    score_matrix,
    top_k_inclusion,
)
from ..theory.core.errors import InputError

__all__ = ["AverageK", "SetMetrics", "TopK", "compare_rules", "error_difference", "set_metrics"]


class AverageK(BaseEstimator):
    """Sets of the labels whose score exceeds one threshold, of mean size K over the inputs.

    Ties are exact: all labels above the threshold are in, and of those that equal it as many as fill the budget, drawn
    at random. On the inputs of `fit` the sets of `predict_set` hold K N labels, rounded up or down at random.

    Args:
        mean_size: K in (0, C], not necessarily an integer; in [1, C] with `nonempty`.
        estimator: fitted, with ``predict_proba``; then `fit` and the others take features. Without it they take scores.
        nonempty: every set holds the first label at least.
        random_state: seed of the draws among ties; each call of `predict_set` starts from it, so that one call for each
            input draws the same way every time. A ``numpy.random.Generator`` goes on from call to call.

    Sets are columns of the scores, with an `estimator` those of its ``classes_``.
    """

    def __init__(
        self,
        mean_size: float,
        *,
        estimator: Any = None,
        nonempty: bool = False,
        random_state: int | np.random.Generator = 0,
    ):
        self.mean_size, self.estimator, self.nonempty = mean_size, estimator, nonempty
        self.random_state = random_state

    def fit(self, X, y=None) -> "AverageK":
        """Set the threshold on inputs that the scorer was not trained on. Labels are not needed.

        Args:
            X: scores, shape (N, C): numpy array, torch tensor or nested sequence; or features for the `estimator`.
            y: ignored.

        Raises:
            InputError: for scores that are not a finite matrix, or a mean size that does not fit.
        """
        scores = _scores(X, self.estimator)
        self.threshold_ = average_k_threshold(scores, self.mean_size, nonempty=self.nonempty)
        self.num_classes_ = scores.shape[1]
        return self

    def predict_inclusion(self, X) -> np.ndarray:
        """P(label in the set) over the draws among ties, shape (N, C); its metrics have no noise of those draws."""
        scores, threshold = self._fitted(X)
        return np.asarray(average_k_inclusion(scores, threshold, nonempty=self.nonempty), dtype=float)

    def predict_set(self, X) -> np.ndarray:
        """Draw the sets, bool, shape (N, C).

        Raises:
            InputError: before `fit`, or for scores that are not a finite matrix with as many classes as there.
        """
        scores, (value, fraction) = self._fitted(X)
        rng = np.random.default_rng(self.random_state)
        sets = scores > value
        if self.nonempty:
            sets |= ~sets.any(axis=1, keepdims=True) & _first(scores, 1, rng)
        rows, labels = np.nonzero((scores == value) & ~sets)
        wanted = int(fraction * len(rows) + rng.random()) if fraction < 1 else len(rows)
        chosen = rng.permutation(len(rows))[:wanted]
        sets[rows[chosen], labels[chosen]] = True
        return sets

    def _fitted(self, X) -> tuple[np.ndarray, Threshold]:
        """The scores, once they fit, and the threshold."""
        if not hasattr(self, "threshold_"):
            raise InputError("AverageK has no threshold yet; call fit with the scores of held-out inputs")
        scores = _scores(X, self.estimator)
        if scores.shape[1] != self.num_classes_:
            raise InputError(f"scores must have the {self.num_classes_} classes of fit, got {scores.shape[1]}")
        return scores, self.threshold_


class TopK(BaseEstimator):
    """Sets of the K labels with the largest scores of each input, exactly K; among ties at the K-th they are drawn.

    Args:
        size: K, an integer in 1 … C.
        estimator: as for `AverageK`.
        random_state: as for `AverageK`.
    """

    def __init__(self, size: int, *, estimator: Any = None, random_state: int | np.random.Generator = 0):
        self.size, self.estimator, self.random_state = size, estimator, random_state

    def fit(self, X=None, y=None) -> "TopK":
        """Do nothing: there is nothing to set."""
        return self

    def predict_inclusion(self, X) -> np.ndarray:
        """P(label in the set) over the draws among ties, shape (N, C)."""
        return top_k_inclusion(_scores(X, self.estimator), self.size)

    def predict_set(self, X) -> np.ndarray:
        """Draw the sets, bool, shape (N, C), K labels in each row.

        Raises:
            InputError: for scores that are not a finite matrix, or a size that does not fit.
        """
        scores = _scores(X, self.estimator)
        top_k_inclusion(scores[:1], self.size)
        return _first(scores, int(self.size), np.random.default_rng(self.random_state))


class SetMetrics(NamedTuple):
    """How good label sets are.

    Args:
        mean_size: average number of labels in a set.
        error: part of the inputs whose label is not in the set.
        macro_error: mean over the classes that occur of the error on each.
        class_coverage: part of each class's inputs with the label in the set, shape (C,); NaN without any.
        sizes: number of sets of size 0, 1, …, C, shape (C + 1,); of inclusion probabilities, by the nearest integer.
    """

    mean_size: float
    error: float
    macro_error: float
    class_coverage: np.ndarray
    sizes: np.ndarray


def set_metrics(sets, labels) -> SetMetrics:
    """Compare label sets with the labels.

    Args:
        sets: bool or inclusion probabilities, shape (N, C), from `predict_set` or `predict_inclusion`.
        labels: shape (N,), integers 0 … C - 1: columns of the sets. For an estimator's own labels,
            ``np.searchsorted(estimator.classes_, labels)``.

    Raises:
        InputError: for sets that are no probabilities, or labels that do not fit.

    Example:
        >>> found = set_metrics([[True, True, False], [False, False, True], [False, True, False]], [0, 2, 0])
        >>> found.mean_size, found.class_coverage, found.macro_error
        (1.3333333333333333, array([0.5, nan, 1. ]), 0.25)
    """
    sets, labels = _pair(sets, labels)
    num_classes = sets.shape[1]
    covered = sets[np.arange(len(sets)), labels]
    counts = np.bincount(labels, minlength=num_classes)
    coverage = np.full(num_classes, np.nan)
    present = counts > 0
    coverage[present] = np.bincount(labels, covered, num_classes)[present] / counts[present]
    sizes = np.bincount(np.rint(sets.sum(axis=1)).astype(int), minlength=num_classes + 1)
    return SetMetrics(
        float(sets.sum(axis=1).mean()), float(1 - covered.mean()), float(1 - coverage[present].mean()), coverage, sizes
    )


def error_difference(first, second, labels) -> tuple[float, float]:
    """Error of the first sets minus that of the second on the same inputs, and its standard error from the pairs.

    Example:
        >>> top, average = np.eye(2, dtype=bool)[[0, 0, 1]], np.array([[1, 1], [1, 0], [0, 1]], dtype=bool)
        >>> [round(value, 3) for value in error_difference(top, average, [1, 0, 1])]
        [0.333, 0.333]
    """
    (first, labels), (second, _) = _pair(first, labels), _pair(second, labels)
    if first.shape != second.shape or len(labels) < 2:
        raise InputError(f"both sets must have one shape and 2 inputs at least, got {first.shape} and {second.shape}")
    rows = np.arange(len(labels))
    gained = second[rows, labels] - first[rows, labels]
    return float(gained.mean()), float(gained.std(ddof=1) / np.sqrt(len(gained)))


def compare_rules(held_out, scores, labels, sizes) -> list[dict[str, float]]:
    """Compare average-K with top-K on test inputs, one row for each K; ties are averaged over, not drawn.

    Args:
        held_out: scores of inputs that set the threshold, shape (N, C), neither trained nor tested on.
        scores: of the test inputs, shape (M, C).
        labels: of the test inputs, shape (M,).
        sizes: integers K.

    Returns:
        Rows with ``size``, ``top_error``, ``average_error`` and ``average_size``; ``gain``, the error of top-K minus
        that of average-K, and ``gain_error``, its standard error over pairs; ``matched_gain`` and ``matched_error``,
        the same with the threshold set on the test inputs, where mean sizes are equal; ``predicted_gain``, what the
        exact gain would be were the scores the probabilities, NaN where rows do not sum to 1.

    Raises:
        InputError: for scores, labels or sizes that do not fit.

    Example:
        >>> scores = np.array([[0.5, 0.4, 0.1], [0.9, 0.08, 0.02], [0.4, 0.35, 0.25], [0.98, 0.01, 0.01]])
        >>> (row,) = compare_rules(scores, scores, [1, 0, 1, 0], [1])
        >>> row["top_error"], row["average_error"], row["average_size"]
        (0.5, 0.375, 1.0)
    """
    rows = []
    for size in sizes:
        top = TopK(size).predict_inclusion(scores)
        average, matched = (AverageK(size).fit(each).predict_inclusion(scores) for each in (held_out, scores))
        (gained, spread), (level, error) = (error_difference(top, sets, labels) for sets in (average, matched))
        predicted = calibrated_threshold(_scores(scores, None), size).gain
        found = set_metrics(average, labels)
        rows.append(
            {
                "size": size,
                "top_error": set_metrics(top, labels).error,
                "average_error": found.error,
                "average_size": found.mean_size,
                "gain": gained,
                "gain_error": spread,
                "matched_gain": level,
                "matched_error": error,
                "predicted_gain": np.nan if predicted is None else predicted,
            }
        )
    return rows


def _scores(X, estimator) -> np.ndarray:
    """Scores as float64, which keeps the ties of every narrower precision."""
    return score_matrix(_array(X if estimator is None else estimator.predict_proba(X))).astype(float)


def _array(values):
    if hasattr(values, "detach"):  # a torch tensor, on any device and of any precision
        values = values.detach().cpu()
        return (values.double() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def _first(scores: np.ndarray, size: int, rng) -> np.ndarray:
    """The `size` largest of each row; where more tie for the last places than there are, some of them at random."""
    last = np.partition(scores, -size, axis=1)[:, [-size]]
    sets, ties = scores > last, scores == last
    spare = size - sets.sum(axis=1)
    crowded = np.flatnonzero(ties.sum(axis=1) > spare)
    chosen = ties.copy()
    order = np.where(ties[crowded], rng.random((len(crowded), scores.shape[1])), 2.0).argsort(axis=1)
    chosen[crowded] = ties[crowded] & (order.argsort(axis=1) < spare[crowded, None])
    return sets | chosen


def _pair(sets, labels) -> tuple[np.ndarray, np.ndarray]:
    sets, labels = score_matrix(_array(sets), "sets").astype(float), _array(labels)
    if sets.min() < 0 or sets.max() > 1:
        raise InputError(f"sets must be bool or probabilities, got entries from {sets.min()} to {sets.max()}")
    if labels.shape != (len(sets),) or labels.dtype.kind not in "iu":
        raise InputError(f"labels must be {len(sets)} integers, got shape {labels.shape} of {labels.dtype}")
    if labels.min() < 0 or labels.max() >= sets.shape[1]:
        raise InputError(f"labels must lie in 0 … {sets.shape[1] - 1}, got {labels.min()} … {labels.max()}")
    return sets, labels.astype(np.int64)
