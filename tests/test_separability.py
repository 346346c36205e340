"""Separability: a direction or a contradiction, proved in rationals, and in agreement with the SVM."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import rejects, seeds
from helpers.svm import SIGNS, mixture
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.fixed_point import NotConverged
from tailbound.theory.vs_loss.separability import separability
from tailbound.theory.vs_loss.svm import NotSeparable, solve_svm

steady = settings(deadline=None, max_examples=150)


def exact_combination(features, labels, weights, *, intercept):
    """Σ a_i y_i (x_i, 1) in rationals, with the float weights as they are."""
    signed = [Fraction(float(a)) * int(y) for a, y in zip(weights, labels, strict=True)]
    columns = [*np.asarray(features).T, *([np.ones(len(labels))] if intercept else [])]
    return [sum(s * Fraction(float(x)) for s, x in zip(signed, column, strict=True)) for column in columns]


@steady
@given(seeds, st.integers(2, 30), st.integers(1, 6), st.booleans(), st.sampled_from([0, 1, 2]), st.booleans())
def test_separability_is_proved_either_way(seed, n, d, integers, signal, intercept):
    features, labels = mixture(seed, n, d, signal=signal, prior=0.5)
    if integers:
        features = np.rint(2 * features)
    proof = separability(features, labels, intercept=intercept)
    if proof.separable:
        np.testing.assert_allclose(np.linalg.norm(proof.weights), 1)
        assert intercept or proof.intercept == 0
        w, b = [Fraction(float(each)) for each in proof.weights], Fraction(proof.intercept)
        least = min(
            int(y) * (sum(Fraction(float(c)) * v for c, v in zip(x, w, strict=True)) + b)
            for x, y in zip(features, labels, strict=True)
        )  # without rounding
        assert least >= Fraction(proof.margin) > 0
    else:
        assert (proof.combination >= 0).all()
        np.testing.assert_allclose(proof.combination.sum(), 1)
        assert proof.exact == integers
        worst = max(
            abs(float(each)) for each in exact_combination(features, labels, proof.combination, intercept=intercept)
        )
        assert worst <= 1e-11 * (1 + np.abs(features).max())


@steady
@given(seeds, st.integers(4, 40), st.booleans())
def test_separability_agrees_with_the_machine(seed, n, intercept):
    features, labels = mixture(seed, n, max(1, n // 2), signal=0.5, prior=0.5)
    try:
        machine = solve_svm(features @ features.T, labels, intercept="free" if intercept else "none")
    except NotSeparable:
        machine = None
    except NotConverged:
        assume(False)
    proof = separability(features, labels, intercept=intercept)
    assert proof.separable == (machine is not None)
    if machine is not None:
        assert proof.margin <= 1 / machine.norm * (1 + 1e-9)  # the machine's is the largest


def test_exact_weights_are_exact():
    points = np.array([[0, 0], [3, 0], [0, 3], [1, 1]])
    proof = separability(points, [-1, -1, -1, 1])
    assert not proof.separable
    assert proof.exact
    assert proof.residual == 0
    np.testing.assert_allclose(proof.combination, [1 / 6, 1 / 6, 1 / 6, 1 / 2], rtol=1e-15)
    moved = separability(points + 0.1, [-1, -1, -1, 1], exact=True)  # floats are rationals too
    assert moved.exact
    np.testing.assert_allclose(moved.combination, proof.combination, rtol=1e-12)


@pytest.mark.parametrize("margin", [1e-3, 1e-6, 1e-9, 1e-12])
def test_tiny_margins_are_still_found(margin):
    points = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0 + margin], [2.0, 2.0 + margin]])
    proof = separability(points, SIGNS)
    assert proof.separable
    assert 0 < proof.margin <= margin


@pytest.mark.parametrize(
    ("features", "labels", "shown"),
    [
        (np.ones(3), [1, -1, 1], ("(n, d)", "(3,)")),
        (np.full((2, 2), np.inf), [1, -1], ("finite",)),
        (np.ones((2, 2)), [1, 1], ("both present",)),
        (np.ones((2, 2)), [1, -1, 1], ("2 of +1 and -1",)),
    ],
)
def test_separability_input(features, labels, shown):
    with pytest.raises(InputError) as excinfo:
        separability(features, labels)
    rejects(excinfo, *shown)
