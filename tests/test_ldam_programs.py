"""LDAM's convex programs, and the closed forms they find."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import CIFAR10_LT, TWO, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from tailbound.theory.core.convex import ConvexError
from tailbound.theory.core.errors import InputError
from tailbound.theory.ldam import cosine, margins, programs


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("class_counts", [TWO, CIFAR10_LT], ids=["two", "cifar10"])
@pytest.mark.parametrize("total", [1e-3, 1.0, 50.0])
def test_solver_finds_the_closed_form(power, class_counts, total):
    costs = class_counts.array**-0.5
    found, certificate = programs.minimise_bound(costs, power, total)
    np.testing.assert_allclose(found, total * margins.minimising_shares(costs, power), rtol=1e-4)
    assert certificate.bound <= certificate.value
    value = (costs / found**power).sum() / costs.max() * (total / len(costs)) ** power
    np.testing.assert_allclose(certificate.value, value, rtol=1e-6)


@given(st.integers(2, 4), seeds)
@settings(max_examples=8, deadline=None)
def test_bias_optimum_is_feasible_and_never_beaten(K, seed):
    rng = np.random.default_rng(seed)
    pairwise, costs = rng.uniform(0.5, 3, (K, K)), rng.uniform(0.2, 1, K)
    np.fill_diagonal(pairwise, np.inf)
    found, bias, certificate = programs.bias_optimal_margins(np.where(np.isinf(pairwise), 0, pairwise), costs)
    np.testing.assert_allclose(bias.sum(), 0, atol=1e-6)

    def reached(b):
        return (pairwise + b[:, None] - b[None, :]).min(axis=1)

    assert (found > 0).all()
    assert (found <= reached(bias) + 1e-6).all()
    value = (costs / found).sum()
    np.testing.assert_allclose(certificate.value, value / costs.max(), rtol=1e-6)
    for size in (0.01, 0.1, 0.5) * 20:
        other = reached(bias + size * rng.standard_normal(K))
        if (other > 0).all():
            assert (costs / other).sum() >= value * (1 - 1e-5)


@given(st.integers(2, 4), seeds)
@settings(max_examples=10, deadline=None)
def test_reachable_multiple_is_the_tightest_cycle(K, seed):
    rng = np.random.default_rng(seed)
    pairwise, target = rng.integers(1, 10, (K, K)), rng.integers(1, 5, K)
    multiple, certificate = programs.largest_reachable_multiple(pairwise.astype(float), target.astype(float))
    ratio, cycle = programs.tightest_cycle(pairwise.tolist(), [Fraction(int(t)) for t in target])
    assert isinstance(ratio, Fraction)
    np.testing.assert_allclose(multiple, float(ratio), rtol=1e-7)
    assert certificate.gap < 1e-7
    assert len(set(cycle)) == len(cycle) >= 2
    around = zip(cycle, (*cycle[1:], cycle[0]), strict=True)
    assert ratio == Fraction(int(sum(pairwise[j, k] for j, k in around)), int(target[list(cycle)].sum()))
    pairs, _ = programs.tightest_cycle(pairwise.tolist(), [Fraction(int(t)) for t in target], longest=2)
    assert pairs >= ratio


def test_too_many_classes_for_cycles():
    with pytest.raises(InputError, match="K <= 7 classes, got 8; use largest_reachable_multiple"):
        programs.tightest_cycle(np.ones((8, 8)), np.ones(8))


@pytest.mark.parametrize("num_classes", [2, 3, 4, 6])
def test_largest_cosine_margin(num_classes):
    value, certificate = programs.largest_cosine_margin(np.ones(num_classes))
    np.testing.assert_allclose(value, cosine.largest_cosine_gap(num_classes), atol=1e-6)
    assert certificate.bound >= certificate.value
    half, _ = programs.largest_cosine_margin(np.full(num_classes, 2.0))
    np.testing.assert_allclose(half, value / 2, atol=1e-6)


def test_program_without_a_solution():
    with pytest.raises(ConvexError, match="unbounded"):
        programs.largest_cosine_margin(np.zeros(3))
