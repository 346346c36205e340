"""Beyond one binary SVM: the path of margin ratios, rows with any border, groups, many classes."""

import numpy as np
import pytest
from helpers import rejects, seeds
from helpers.svm import SIGNS, SQUARE, check_optimal, mixture
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tailbound.theory.core.errors import InputError
from tailbound.theory.vs_loss import programs, rows
from tailbound.theory.vs_loss.svm import (
    INTERCEPTS,
    NotSeparable,
    margin_ratio_path,
    solve_multiclass_svm,
    solve_rows,
    solve_svm,
)

steady = settings(deadline=None, max_examples=150)
few = settings(deadline=None, max_examples=25)


# the path


@steady
@given(seeds, st.lists(st.floats(0.05, 50), min_size=1, max_size=4))
def test_path_is_what_separate_solves_find(seed, ratios):
    features, labels = mixture(seed, 20, 30)
    gram = features @ features.T
    path = margin_ratio_path(solve_svm(gram, labels), ratios)
    for r, ratio in enumerate(ratios):
        machine = solve_svm(gram, labels, np.where(labels > 0, ratio, 1.0))
        np.testing.assert_allclose(path.coefficients[r], machine.coefficients, atol=1e-8 * machine.dual.max())
        np.testing.assert_allclose(path.intercepts[r], machine.intercept, atol=1e-8 * (1 + ratio))
        np.testing.assert_allclose(path.norms[r], machine.norm, rtol=1e-9)


def test_path_takes_one_number_and_costs_no_solve(monkeypatch):
    machine = solve_svm(SQUARE @ SQUARE.T, SIGNS)
    monkeypatch.setattr(rows, "minimise", None)
    path = margin_ratio_path(machine, 3.0)
    assert path.coefficients.shape == (1, 4)
    np.testing.assert_allclose(path.coefficients @ SQUARE, [[2.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose([*path.intercepts, *path.norms], [1.0, 2.0])


@pytest.mark.parametrize(
    "settings", [{"intercept": "none"}, {"intercept": "penalised"}, {"upper": 9.0}, {"required": 2.0}]
)
def test_path_refuses_other_machines(settings):
    machine = solve_svm(SQUARE @ SQUARE.T, SIGNS, **settings)
    with pytest.raises(InputError) as excinfo:
        margin_ratio_path(machine, [1.0])
    rejects(excinfo, "free intercept", "solve each ratio by itself")


# rows, groups, many classes


def test_two_classes_are_a_special_case_of_many():
    features, labels = mixture(6, 30, 40)
    gram = features @ features.T
    binary = solve_svm(gram, labels, 2.0)
    several = solve_multiclass_svm(gram, (labels > 0).astype(int), 2.0)
    np.testing.assert_allclose(several.coefficients[:, 1] * 2, binary.coefficients, atol=1e-9)
    np.testing.assert_allclose(several.scores[:, 1] - several.scores[:, 0], binary.scores, atol=1e-9)
    np.testing.assert_allclose(several.norm * np.sqrt(2), binary.norm, rtol=1e-9)


@pytest.mark.parametrize("upper", [None, 0.5])
@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("delta", [None, (0.3, 1.0, 2.0)])
def test_many_classes_are_those_of_cvxpy(delta, intercept, upper):
    rng = np.random.default_rng(1)
    labels = np.arange(24) % 3
    features = rng.standard_normal((24, 30))
    required = 1 + 2.0 * (labels == 0)
    found = solve_multiclass_svm(features @ features.T, labels, required, delta=delta, intercept=intercept, upper=upper)
    W, b, certificate = programs.multiclass_svm(
        features, labels, required, delta=delta, intercept=intercept, upper=upper
    )
    np.testing.assert_allclose(found.coefficients.T @ features, W, atol=1e-6)
    np.testing.assert_allclose(found.intercept, b, atol=1e-6)
    np.testing.assert_allclose(found.scores, features @ W.T + b, atol=1e-6)
    np.testing.assert_allclose(found.norm, np.linalg.norm(W), rtol=1e-7)
    np.testing.assert_allclose(found.certificate.primal, certificate.value, rtol=1e-8)
    assert (found.dual[np.arange(24), labels] == 0).all()


def test_required_margins_of_classes_and_of_their_examples():
    rng = np.random.default_rng(2)
    labels, features = np.arange(12) % 3, rng.standard_normal((12, 20))
    gram = features @ features.T
    by_class = solve_multiclass_svm(gram, labels, [3.0, 1.0, 0.5])
    by_example = solve_multiclass_svm(gram, labels, np.array([3.0, 1.0, 0.5])[labels])
    np.testing.assert_array_equal(by_class.dual, by_example.dual)
    others = by_class.scores - np.where(np.arange(3) == labels[:, None], np.inf, 0)
    own = by_class.scores[np.arange(12), labels]
    least = [(own - others.max(axis=1))[labels == k].min() for k in range(3)]
    np.testing.assert_allclose(least, [3.0, 1.0, 0.5], atol=1e-9)


def test_classes_that_cannot_be_told_apart():
    features = np.array([[1.0], [1.0], [2.0]])
    with pytest.raises(NotSeparable):
        solve_multiclass_svm(features @ features.T, np.array([0, 1, 2]))


@few
@given(seeds)
@example(62610)  # the first steps run away
def test_rows_with_several_intercepts(seed):
    """Any border: the conditions of optimality, written out."""
    rng = np.random.default_rng(seed)
    features, border = rng.standard_normal((15, 20)), rng.standard_normal((15, 3))
    found = solve_rows(features @ features.T, 1.0, border=border)
    w = found.dual @ features
    margins = features @ w + border @ found.multipliers
    np.testing.assert_allclose(found.margins, margins, atol=1e-9)
    assert (margins >= 1 - 1e-9).all()
    assert (found.dual >= 0).all()
    np.testing.assert_allclose(border.T @ found.dual, 0, atol=1e-11)
    np.testing.assert_allclose(found.dual @ (margins - 1), 0, atol=1e-9)


def test_group_margins_turn_the_machine():
    features, labels = mixture(9, 30, 40)
    members = np.arange(30) % 4 == 0
    machine = solve_svm(features @ features.T, labels, np.where(members, 3.0, 1.0))
    check_optimal(features, labels, np.where(members, 3.0, 1.0), "free", None, machine)
    plain = solve_svm(features @ features.T, labels)
    w, v = machine.coefficients @ features, plain.coefficients @ features
    assert w @ v / np.linalg.norm(w) / np.linalg.norm(v) < 0.99


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"labels": [0, 2, 2]}, ("missing [1]", "K = 3")),
        ({"labels": [0, 0, 0]}, ("K = 1",)),
        ({"labels": [0.5, 1.0, 2.0]}, ("integers",)),
        ({"delta": (1.0, 2.0)}, ("3 classes", "(2,)")),
        ({"delta": (1.0, 0.0, 2.0)}, ("delta", "0.0")),
        ({"intercept": "no"}, ("'no'",)),
    ],
)
def test_multiclass_input(settings, shown):
    with pytest.raises(InputError) as excinfo:
        solve_multiclass_svm(np.eye(3), **({"labels": [0, 1, 2]} | settings))
    rejects(excinfo, *shown)
