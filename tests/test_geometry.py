"""The geometry of free features under CDT and LDT: margins, symmetry, optimality by certificate, edge cases, errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.errors import InputError
from tailbound.theory.vs_loss.geometry import KINDS, collapsed_geometry, cosines

steady = settings(deadline=None, max_examples=40)
counts = st.lists(st.integers(1, 10**4), min_size=2, max_size=9).map(lambda found: ClassCounts(tuple(found)))
kinds = st.sampled_from(sorted(KINDS))
seeds = st.integers(0, 2**32 - 1)


def factors(class_counts, seed):
    return np.random.default_rng(seed).uniform(0.2, 1, len(class_counts))


@steady
@given(counts, kinds, seeds)
def test_every_margin_is_one_and_the_grams_belong_together(class_counts, kind, seed):
    delta, K = factors(class_counts, seed), len(class_counts)
    logits, classifiers, features = collapsed_geometry(class_counts, delta, kind=kind)
    own = delta * np.diag(logits)
    rivals = (delta[:, None] if kind == "cdt" else delta[None, :]) * logits
    np.testing.assert_allclose((own - rivals)[~np.eye(K, dtype=bool)], 1, rtol=1e-9)
    weighted = features * class_counts.array  # H'H N has the eigenvalues of W'W
    scale = np.abs(classifiers).max()
    np.testing.assert_allclose(np.trace(weighted), np.trace(classifiers), rtol=1e-9)
    np.testing.assert_allclose(
        logits @ np.diag(class_counts.array) @ logits.T, classifiers @ classifiers, atol=1e-9 * scale**2
    )
    np.testing.assert_allclose(logits.T @ np.linalg.pinv(classifiers, rcond=1e-10) @ logits, features, atol=1e-7)


@steady
@given(counts, kinds, seeds)
def test_multipliers_prove_optimality(class_counts, kind, seed):
    """Any feasible Z has ||Z N^(1/2)||_* >= <Z N^(1/2), UV'> >= the sum of the multipliers, which is attained."""
    delta, K = factors(class_counts, seed), len(class_counts)
    logits = collapsed_geometry(class_counts, delta, kind=kind).logits
    roots = np.sqrt(class_counts.array)
    left, sizes, right = np.linalg.svd(logits * roots)
    gradient = left[:, : K - 1] @ right[: K - 1] * roots
    multipliers = -gradient / (delta[:, None] if kind == "cdt" else delta[None, :])
    multipliers[np.eye(K, dtype=bool)] = 0
    assert multipliers.min() >= -1e-9 * multipliers.max()
    diagonal = (delta[None, :] * multipliers).sum(axis=0)
    np.testing.assert_allclose(np.diag(gradient), diagonal, rtol=1e-7)
    np.testing.assert_allclose(multipliers.sum(), sizes.sum(), rtol=1e-8)


@steady
@given(counts, kinds, seeds, st.randoms())
def test_geometry_follows_a_permutation(class_counts, kind, seed, random):
    delta, order = factors(class_counts, seed), list(range(len(class_counts)))
    random.shuffle(order)
    shuffled = ClassCounts(tuple(class_counts.counts[k] for k in order))
    found = collapsed_geometry(shuffled, delta[order], kind=kind)
    for now, before in zip(found, collapsed_geometry(class_counts, delta, kind=kind), strict=True):
        np.testing.assert_allclose(now, before[np.ix_(order, order)], rtol=1e-7, atol=1e-9 * np.abs(before).max())


@pytest.mark.parametrize("kind", KINDS)
def test_balanced_classes_are_a_simplex(kind):
    _, classifiers, features = collapsed_geometry(ClassCounts((7,) * 5), kind=kind)
    simplex = np.where(np.eye(5, dtype=bool), 1, -0.25)
    for gram in (classifiers, features):
        np.testing.assert_allclose(cosines(gram), simplex, atol=1e-12)
    np.testing.assert_allclose(np.diag(classifiers), np.diag(features) * 7)


def test_minority_classifiers_close_up_as_the_imbalance_grows():
    angles = [cosines(collapsed_geometry(ClassCounts((R, R, 1, 1))).classifiers)[2, 3] for R in (1, 10, 1000, 10**6)]
    assert (np.diff(angles) > 0).all()
    assert angles[-1] > 0.9


def test_two_classes_are_opposite():
    """The classifiers' norms are as Δ_1 : Δ_2 under CDT, whatever the counts: the decision is that of the plain SVM."""
    delta = np.array([1.0, 0.25])
    classifiers = collapsed_geometry(ClassCounts((500, 3)), delta).classifiers
    np.testing.assert_allclose(cosines(classifiers)[0, 1], -1)
    np.testing.assert_allclose(np.sqrt(classifiers[1, 1] / classifiers[0, 0]), 0.25)


@pytest.mark.parametrize(
    ("keywords", "shown"),
    [
        ({"kind": "cdd"}, "did you mean cdt"),
        ({"delta": np.ones(3)}, "(3,)"),
        ({"delta": np.array([1.0, 0.0])}, "[0.0]"),
    ],
)
def test_geometry_rejects(keywords, shown):
    with pytest.raises(InputError) as excinfo:
        collapsed_geometry(ClassCounts((9, 1)), **keywords)
    assert shown in str(excinfo.value)
    assert "\n" not in str(excinfo.value)
