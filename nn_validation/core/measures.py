"""What is measured on a trained network: accuracy by class, balanced error, calibration, realised margins."""

from typing import Any

import numpy as np

__all__ = ["balanced_error", "calibration_error", "class_accuracy", "label_margins", "margin_profile", "memorisation"]

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def class_accuracy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Share of each class that is classified correctly, shape (K,); NaN for a class without examples.

    Args:
        logits: (N, K).
        labels: (N,).

    Example:
        >>> class_accuracy(np.array([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]]), np.array([0, 1, 1]))
        array([1. , 0.5])
    """
    K = logits.shape[1]
    totals = np.bincount(labels, minlength=K)
    hits = np.bincount(labels[logits.argmax(1) == labels], minlength=K)
    return np.where(totals > 0, hits / np.maximum(totals, 1), np.nan)


def balanced_error(accuracy: np.ndarray) -> float:
    """Mean error over the classes that have examples."""
    return float(1 - np.nanmean(accuracy))


def calibration_error(logits: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Expected calibration error: mean over equal bins of confidence, by share, of |accuracy - confidence|.

    Source:
        Guo, Pleiss, Sun, Weinberger (2017), arXiv:1706.04599, Eq. 3; a confidence of 1 belongs to the last bin.

    Example:
        >>> calibration_error(np.array([[50.0, 0.0], [50.0, 0.0]]), np.array([0, 1]))
        0.5
    """
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    confidence = shifted.max(1) / shifted.sum(1)
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, (logits.argmax(1) == labels) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(labels))


def label_margins(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The label's logit minus the largest other, shape (N,)."""
    rows, others = np.arange(len(labels)), logits.copy()
    others[rows, labels] = -np.inf
    return logits[rows, labels] - others.max(1)


def margin_profile(margins: np.ndarray, labels: np.ndarray, num_classes: int) -> dict[str, Any]:
    """Quantiles of the margins of each class: ``quantiles``, and ``values`` of shape (K, number of quantiles)."""
    values = [np.quantile(margins[labels == k], _QUANTILES).tolist() for k in range(num_classes)]
    return {"quantiles": list(_QUANTILES), "values": values}


def memorisation(predicted: np.ndarray, labels: np.ndarray, true_labels: np.ndarray) -> dict[str, float | None]:
    """What became of the examples with a wrong label: shares that are given it (``memorised``) or their true one.

    Args:
        predicted: classes, (N,).
        labels: that the network was trained on, (N,).
        true_labels: (N,).

    Returns:
        ``memorised`` and ``restored``; None where every label is true.

    Example:
        >>> memorisation(np.array([1, 0, 2, 0]), np.array([1, 1, 1, 0]), np.array([0, 0, 0, 0]))
        {'memorised': 0.33333, 'restored': 0.33333}
    """
    wrong = labels != true_labels
    hits = {"memorised": predicted == labels, "restored": predicted == true_labels}
    return {name: round(float(hit[wrong].mean()), 5) if wrong.any() else None for name, hit in hits.items()}
