"""Measures of trained networks, each against a plain loop or a case by hand."""

import numpy as np
import pytest
from tailbound.nn_validation.core.measures import (
    balanced_error,
    calibration_error,
    class_accuracy,
    label_margins,
    margin_profile,
)


def test_calibration_error_against_a_plain_loop():
    rng = np.random.default_rng(0)
    logits = 3 * rng.standard_normal((400, 4))
    logits[:50] *= 40  # confidence 1 up to rounding
    labels = np.where(rng.random(400) < 0.7, logits.argmax(1), rng.integers(0, 4, 400))  # bins on both sides
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    error = 0.0
    for low in range(15):
        inside = [n for n in range(400) if low / 15 < shares[n].max() <= (low + 1) / 15]
        if inside:
            accuracy = np.mean([shares[n].argmax() == labels[n] for n in inside])
            error += len(inside) / 400 * abs(accuracy - np.mean([shares[n].max() for n in inside]))
    assert calibration_error(logits, labels) == pytest.approx(error, abs=1e-12)


@pytest.mark.parametrize("right", [0, 3, 10])
def test_calibration_error_at_confidence_one(right):
    logits = np.tile([900.0, 0.0], (10, 1))
    labels = np.where(np.arange(10) < right, 0, 1)
    assert calibration_error(logits, labels) == pytest.approx(1 - right / 10, abs=1e-12)


def test_a_class_without_examples_has_no_accuracy_and_no_say():
    logits = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, 0.0]])
    accuracy = class_accuracy(logits, np.array([0, 1, 1]))
    np.testing.assert_array_equal(accuracy, [1.0, 0.5, np.nan])
    assert balanced_error(accuracy) == 0.25


def test_margins_against_a_plain_loop():
    rng = np.random.default_rng(3)
    logits, labels = rng.standard_normal((50, 4)), rng.integers(0, 4, 50)
    before = logits.copy()
    expected = [logits[n, y] - max(np.delete(logits[n], y)) for n, y in enumerate(labels)]
    margins = label_margins(logits, labels)
    np.testing.assert_array_equal(margins, expected)
    np.testing.assert_array_equal(logits, before)
    profile = margin_profile(margins, labels, 4)
    for k in range(4):
        own = sorted(margins[labels == k])
        assert profile["values"][k][0] == own[0]
        assert profile["values"][k][-1] == own[-1]
        assert profile["values"][k][profile["quantiles"].index(0.5)] == np.median(own)
