"""Problems for the SVMs, and the conditions that their answers are held to."""

import numpy as np
import pytest
from hypothesis import strategies as st
from tailbound.theory.vs_loss.svm import INTERCEPTS

from . import seeds

SQUARE = np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0], [-1.0, 1.0]])
SIGNS = np.array([1, 1, -1, -1])
CROSS = np.array([1, -1, -1, 1])


def mixture(seed, num_examples, dimension, *, prior=0.25, signal=2.0):
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(num_examples) < prior, 1.0, -1.0)
    labels[:2] = 1, -1
    features = rng.standard_normal((num_examples, dimension))
    features[:, 0] += signal * labels
    return features, labels


@st.composite
def problems(draw, *, soft=True):
    """Small problems of every kind: generic, integers, duplicates, low rank, an offset."""
    seed, n, d = draw(seeds), draw(st.integers(2, 24)), draw(st.integers(1, 12))
    features, labels = mixture(seed, n, d, signal=draw(st.sampled_from([0.0, 1.0, 4.0])))
    kind = draw(st.sampled_from(["generic", "integers", "duplicates", "low rank", "offset"]))
    if kind == "integers":
        features = np.rint(features)
    elif kind == "duplicates":
        twice = np.random.default_rng(seed).integers(n, size=n)
        twice[:2] = 0, 1
        features, labels = features[twice], labels[twice]
    elif kind == "low rank":
        features = features[:, :1] * np.arange(1, d + 1)
    elif kind == "offset":
        features = features + 100.0
    required = np.where(labels > 0, draw(st.sampled_from([1.0, 0.05, 20.0])), 1.0)
    upper = draw(st.sampled_from([None, 0.01, 1.0, 100.0] if soft else [None]))
    return features, labels, required, draw(st.sampled_from(INTERCEPTS)), upper


def check_optimal(features, labels, required, intercept, upper, machine):
    """The conditions of optimality, from the features, with none of the solver's own numbers but (dual, b)."""
    w, b, dual = (machine.dual * labels) @ features, machine.intercept, machine.dual
    size = 1 + np.abs(features).max() ** 2 * dual.sum() * features.shape[1]
    tolerance = 1e-9 * required.max() + 1e-13 * size
    surplus = labels * (features @ w + b) - required
    assert (dual >= 0).all()
    capped = np.zeros(len(dual), dtype=bool)
    if upper is not None:
        assert (dual <= upper).all()
        capped = dual == upper
    assert (surplus[~capped] >= -tolerance).all()
    assert (surplus[capped] <= tolerance).all()
    inner = (dual > 0) & ~capped
    assert (np.abs(surplus[inner]) <= tolerance).all()
    balance = dual @ labels
    if intercept == "free":
        assert abs(balance) <= 1e-12 * dual.sum()
    else:
        assert b == pytest.approx(balance if intercept == "penalised" else 0.0, abs=1e-9 * (1 + dual.sum()))
    rounding = 1e-14 * features.shape[1] * (np.abs(features).max() * dual.sum()) ** 2  # of the Gram matrix
    np.testing.assert_allclose(machine.norm**2, w @ w, rtol=1e-9, atol=rounding)
    np.testing.assert_allclose(machine.scores, features @ w + b, atol=tolerance)


def check_contradiction(features, labels, required, intercept, error):
    """The weights of `NotSeparable`, from the features."""
    weights = error.weights
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(), 1)
    combined = (weights * labels) @ features
    length = weights @ np.linalg.norm(features, axis=1)
    squared = combined @ combined
    if intercept == "penalised":
        squared += (weights @ labels) ** 2
        length += 1
    assert np.sqrt(squared) <= 2e-7 * length
    assert error.residual >= 0.99 * np.sqrt(squared) - 1e-8 * length
    if intercept == "free":
        assert abs(weights @ labels) <= 1e-12
    if error.residual > 0:
        np.testing.assert_allclose(error.reach, required @ weights / error.residual)
