"""Does the estimated margin ratio win on real data? Pairs of classes made imbalanced, hard margins, balanced tests.

Fashion-MNIST images as raw pixels (Debian's package dataset-fashion-mnist, or the folder in
``TAILBOUND_FASHION_MNIST``), scikit-learn's digits, and breast-cancer with features standardised by its training
examples. Every rule moves the threshold of the same hard-margin SVM, so the rules meet the same direction and differ in
one number. The form of the leave-one-out estimate was fixed before, on synthetic mixtures, on digits, and on the other
pairs of Fashion-MNIST's classes, drawn from its training images alone; breast-cancer was never looked at.
"""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.svm import SVC

from ...sims.core.study import Study
from ...theory.vs_loss.ratio_estimate import METHODS, estimate_margin_ratio, ratio_of, shift_of
from ...theory.vs_loss.svm import NotSeparable, SVMSolution, solve_svm
from ..core.datasets import read_images, read_labels

__all__ = ["DATA", "FASHION_PAIRS", "POWERS", "REAL_PAIRS", "RULES", "draw_pair"]

POWERS = {"svm": 0.0, "n^-1/4": 0.25, "n^-1/3": 1 / 3, "n^-1/2": 0.5, "1/n": 1.0}
"""Fixed rules: the margin ratio is (n_- / n_+) to the power; n^-1/4 is LDAM's."""

RULES = (*POWERS, "class_weight", *METHODS, "cross-validation", "oracle", "crossed oracle")
"""``class_weight``: scikit-learn's balanced weights. ``cross-validation``: best of 5 folds of the training data.

``oracle``: best on the very test examples; ``crossed oracle``: chosen on one half of them and tested on the other, both
ways.
"""

FASHION_PAIRS = (
    ("Shirt", "T-shirt/top"),
    ("Pullover", "Coat"),
    ("Sneaker", "Ankle boot"),
    ("Pullover", "Shirt"),
    ("Coat", "Shirt"),
    ("Sandal", "Sneaker"),
    ("Sandal", "Ankle boot"),
    ("T-shirt/top", "Dress"),
    ("Trouser", "Dress"),
    ("Bag", "Shirt"),
)
"""Minority and majority class: seven pairs that are easily confused, three that are not."""

_RATIOS = np.geomspace(1e-4, 1e4, 2001)
_FOLDS = 5


def draw_pair(rng, *, data, minority, majority, num_minority, num_majority) -> list[dict]:
    """Draw an imbalanced training set of two classes and test every rule on it; one row for each rule.

    Columns: ``rule``; ``margin_ratio``, its choice; ``error_plus``, ``error_minus`` and ``balanced_error`` on the test
    examples; ``low`` and ``high``, the interval of an estimate; ``predicted``, the balanced error that the estimate
    predicts; ``separable``. Where the training set is not separable, the numbers are NaN.

    Args:
        rng: the generator.
        data: a key of `DATA`.
        minority: name of the minority class.
        majority: name of the majority class.
        num_minority: training examples of the minority.
        num_majority: training examples of the majority.
    """
    train, test = DATA[data](rng, minority, majority, num_minority, num_majority)
    labels = np.repeat([1, -1], [num_minority, num_majority])
    centre = train.mean(axis=0)  # moves the intercept only
    train, test = train - centre, [each - centre for each in test]
    gram = train @ train.T
    try:
        machine = solve_svm(gram, labels)
    except NotSeparable:
        names = ("margin_ratio", "error_plus", "error_minus", "balanced_error", "low", "high", "predicted")
        return [{"rule": rule} | dict.fromkeys(names, np.nan) | {"separable": False} for rule in RULES]
    scores = [each @ (machine.coefficients @ train) + machine.intercept for each in test]
    rows = []
    for rule in RULES:
        details = dict.fromkeys(("low", "high", "predicted"), np.nan)
        if rule in POWERS:
            ratio = float((num_majority / num_minority) ** POWERS[rule])
        elif rule in METHODS:
            estimate = estimate_margin_ratio(gram, labels, machine, method=rule)
            (low, high), ratio = estimate.interval, estimate.ratio
            details = {"low": low, "high": high, "predicted": float(estimate.errors().mean())}
        elif rule == "cross-validation":
            ratio = _cross_validated(rng, gram, machine)
        else:
            ratio = 1.0 if rule == "class_weight" else _best(scores, [row["margin_ratio"] for row in rows])
        found = _errors(scores, ratio)
        if rule == "class_weight":
            coefficients, intercept = _balanced_weights(gram, labels)
            found = _errors([each @ (coefficients @ train) + intercept for each in test], 1.0)
        elif rule == "crossed oracle":
            halves = [[each[k::2] for each in scores] for k in (0, 1)]
            found = (_errors(halves[1], _best(halves[0])) + _errors(halves[0], _best(halves[1]))) / 2
        plus, minus = found.tolist()
        row = {"rule": rule, "margin_ratio": ratio, "error_plus": plus, "error_minus": minus}
        rows.append(row | {"balanced_error": (plus + minus) / 2} | details | {"separable": True})
    return rows


def _errors(scores: list[np.ndarray], ratio) -> np.ndarray:
    """Test errors of both classes at margin ratios, shape (2,) + that of `ratio`, from scores at ratio 1."""
    shift = shift_of(ratio)
    return np.stack([_share_below(scores[0], -shift), _share_below(-scores[1], shift)])


def _best(scores: list[np.ndarray], others=()) -> float:
    """The ratio with the smallest balanced error on some scores."""
    ratios = np.append(_RATIOS, others)
    return float(ratios[_errors(scores, ratios).mean(axis=0).argmin()])


def _share_below(scores: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    return np.searchsorted(np.sort(scores), bounds, side="right") / scores.size


def _balanced_weights(gram: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """Coefficients and intercept of scikit-learn's hard-margin SVM with balanced class weights."""
    scale = float(gram.diagonal().mean())
    fitted = SVC(C=1e9, kernel="precomputed", class_weight="balanced", tol=1e-6).fit(gram / scale, labels)
    coefficients = np.zeros(labels.size)
    coefficients[fitted.support_] = fitted.dual_coef_[0] / scale
    return coefficients, float(fitted.intercept_[0])


def _cross_validated(rng, gram: np.ndarray, machine: SVMSolution) -> float:
    """The middle of the shifts with the smallest balanced error over stratified folds, as a ratio."""
    labels = machine.labels
    folds = np.empty(labels.size, dtype=int)
    for sign in (1, -1):
        members = np.flatnonzero(labels == sign)
        folds[members] = rng.permutation(members.size) % _FOLDS
    scores = np.empty(labels.size)
    for fold in range(_FOLDS):
        inside = folds != fold
        rest = solve_svm(gram[np.ix_(inside, inside)], labels[inside])
        scores[~inside] = gram[np.ix_(~inside, inside)] @ rest.coefficients + rest.intercept
    shifts = shift_of(_RATIOS)
    error = _share_below(scores[labels > 0], -shifts) + _share_below(-scores[labels < 0], shifts)
    return float(ratio_of(shifts[error == error.min()].mean()))


Split = tuple[np.ndarray, list[np.ndarray]]
"""Training features, minority first, and the test features of the minority and of the majority."""


@cache
def _fashion() -> tuple:
    folder = Path(os.environ.get("TAILBOUND_FASHION_MNIST") or "/usr/share/datasets/fashion-mnist")
    names = read_labels(folder).names
    return names, *(read_images(folder, split) for split in ("train", "test"))


def _draw_fashion(rng, minority: str, majority: str, num_minority: int, num_majority: int) -> Split:
    names, (train, train_labels), (test, test_labels) = _fashion()
    drawn, rest = [], []
    for name, number in ((minority, num_minority), (majority, num_majority)):
        members = np.flatnonzero(train_labels == names.index(name))
        drawn.append(rng.choice(members, size=number, replace=False))
        rest.append(test[test_labels == names.index(name)].reshape(-1, 784) / 255)
    return train[np.concatenate(drawn)].reshape(-1, 784) / 255, rest


def _halved(rng, features: np.ndarray, members: list[np.ndarray], numbers: list[int]) -> Split:
    """Draw the training examples of each class; all others are test examples."""
    orders = [rng.permutation(each) for each in members]
    train = np.concatenate([order[:number] for order, number in zip(orders, numbers, strict=True)])
    return features[train], [features[order[number:]] for order, number in zip(orders, numbers, strict=True)]


def _draw_digits(rng, minority: str, majority: str, num_minority: int, num_majority: int) -> Split:
    from sklearn.datasets import load_digits

    bunch: Any = load_digits()
    members = [np.flatnonzero(bunch.target == int(name)) for name in (minority, majority)]
    return _halved(rng, bunch.data / 16, members, [num_minority, num_majority])


def _draw_breast_cancer(rng, minority: str, majority: str, num_minority: int, num_majority: int) -> Split:
    from sklearn.datasets import load_breast_cancer

    bunch: Any = load_breast_cancer()
    names = bunch.target_names.tolist()
    members = [np.flatnonzero(bunch.target == names.index(name)) for name in (minority, majority)]
    train, test = _halved(rng, bunch.data, members, [num_minority, num_majority])
    mean, spread = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / spread, [(each - mean) / spread for each in test]


DATA: dict[str, Callable[..., Split]] = {
    "fashion": _draw_fashion,
    "digits": _draw_digits,
    "breast_cancer": _draw_breast_cancer,
}

_PAIRS = [("fashion", *pair, number, 400) for pair in FASHION_PAIRS for number in (20, 40)]
_PAIRS += [
    ("digits", *pair, number, 100)
    for pair in (("8", "1"), ("9", "3"), ("3", "8"), ("5", "9"), ("1", "2"), ("4", "7"))
    for number in (6, 12)
]
_PAIRS += [("breast_cancer", "malignant", "benign", number, 200) for number in (10, 20)]
_NAMES = ("data", "minority", "majority", "num_minority", "num_majority")

REAL_PAIRS = Study(
    "vs_loss.real_pairs",
    draw_pair,
    cases=tuple(dict(zip(_NAMES, pair, strict=True)) for pair in _PAIRS),
    repetitions=5,
    version=3,  # leave-one-out: the interval draws means and spreads of their sampling laws
    quick={"data": "digits", "minority": "8", "majority": "1", "num_minority": 6, "num_majority": 60},
)
