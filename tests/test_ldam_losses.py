"""LDAM's losses, deferred weights, and what a cosine head can realise."""

import numpy as np
import pytest
from helpers import CIFAR10_LT, TWO, profiles, rejects, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from tailbound.theory.core.errors import InputError
from tailbound.theory.ldam import cosine, losses, weights

steady = settings(deadline=None)  # a busy machine is no failure


# losses


def batch(seed, num_classes=4, examples=6, size=1.0):
    rng = np.random.default_rng(seed)
    logits = size * rng.uniform(-1, 1, (examples, num_classes))
    return logits, rng.integers(num_classes, size=examples), rng.uniform(0, 0.6, num_classes)


def test_values_worked_out_by_hand():
    logits, gamma = np.array([[1.0, 0.2, -0.3]] * 3), np.array([0.1, 0.2, 0.5])
    np.testing.assert_allclose(losses.ldam_loss(logits, np.arange(3), gamma), [0.587, 1.495, 2.279], atol=5e-4)
    np.testing.assert_allclose(losses.hinge_loss(logits, np.arange(3), gamma), [0, 1.0, 1.8], atol=1e-12)


@given(seeds, st.sampled_from([1.0, 5.0, 30.0]))
@settings(max_examples=30, deadline=None)
def test_ldam_gradient_is_the_derivative(seed, scale):
    logits, labels, gamma = batch(seed)
    step = 1e-6
    differences = np.empty_like(logits)
    for k in range(logits.shape[1]):
        move = step * np.eye(logits.shape[1])[k]
        up, down = (losses.ldam_loss(logits + s * move, labels, gamma, scale=scale) for s in (1, -1))
        differences[:, k] = (up - down) / (2 * step)
    gradient = losses.ldam_gradient(logits, labels, gamma, scale=scale)
    np.testing.assert_allclose(gradient, differences, atol=1e-6 * scale**2)
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-12 * scale)


@steady
@given(seeds, st.sampled_from([1.0, 30.0]))
def test_without_margins_it_is_cross_entropy(seed, scale):
    logits, labels, gamma = batch(seed)
    stated = logsumexp(scale * logits, axis=1) - scale * logits[np.arange(len(labels)), labels]
    np.testing.assert_allclose(losses.ldam_loss(logits, labels, 0 * gamma, scale=scale), stated, rtol=1e-12, atol=1e-12)


@steady
@given(seeds, st.floats(-50, 50), st.randoms())
def test_losses_ignore_a_shift_and_follow_a_permutation(seed, shift, random):
    logits, labels, gamma = batch(seed)
    order = list(range(len(gamma)))
    random.shuffle(order)
    renamed = np.argsort(order)[labels]
    functions = [
        losses.ldam_loss,
        losses.hinge_loss,
        lambda *batch: losses.ldam_gradient(*batch, scale=3.0),
        losses.hinge_gradient,
    ]
    for function in functions:
        found = function(logits, labels, gamma)
        np.testing.assert_allclose(function(logits + shift, labels, gamma), found, atol=1e-11)
        shuffled = function(logits[:, order], renamed, gamma[order])
        np.testing.assert_allclose(shuffled, found[:, order] if found.ndim == 2 else found, atol=1e-12)


@steady
@given(seeds, st.sampled_from([1.0, 10.0, 30.0, 1000.0]))
def test_ldam_over_its_scale_is_nearly_the_hinge(seed, scale):
    logits, labels, gamma = batch(seed)
    gap = losses.ldam_loss(logits, labels, gamma, scale=scale) / scale - losses.hinge_loss(logits, labels, gamma)
    assert gap.min() >= -1e-12
    assert gap.max() <= np.log(logits.shape[1]) / scale + 1e-12


@steady
@given(seeds, seeds)
def test_hinge_gradient_is_a_subgradient(seed, other_seed):
    logits, labels, gamma = batch(seed)
    others = batch(other_seed, size=2.0)[0]
    rise = (losses.hinge_gradient(logits, labels, gamma) * (others - logits)).sum(axis=1)
    lower = losses.hinge_loss(logits, labels, gamma) + rise
    assert (losses.hinge_loss(others, labels, gamma) >= lower - 1e-12).all()


@steady
@given(seeds, st.integers(0, 3), st.floats(0, 1))
def test_larger_margin_never_lowers_the_loss(seed, k, more):
    logits, labels, gamma = batch(seed)
    raised = gamma + more * np.eye(4)[k]
    for function in (losses.ldam_loss, losses.hinge_loss):
        change = function(logits, labels, raised) - function(logits, labels, gamma)
        assert (change >= -1e-12).all()
        assert (change[labels != k] == 0).all()


def test_extreme_logits_stay_finite():
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]])
    labels, gamma = np.array([1, 0]), np.array([0.1, 0.2, 0.5])
    found = losses.ldam_loss(logits, labels, gamma, scale=30.0)
    np.testing.assert_allclose(found, [30 * (2e4 + 0.2), 30 * (2e4 + 0.1) + np.log(2)], rtol=1e-12)
    assert np.isfinite(losses.ldam_gradient(logits, labels, gamma, scale=30.0)).all()
    np.testing.assert_allclose(losses.ldam_loss(logits, np.array([0, 1]), 0 * gamma, scale=30.0), [0, np.log(2)])
    assert np.isfinite(losses.hinge_gradient(logits, labels, gamma)).all()


LOGITS, LABELS, GAMMA = np.zeros((2, 3)), np.array([0, 2]), np.full(3, 0.1)


@pytest.mark.parametrize(
    "function", [losses.ldam_loss, losses.ldam_gradient, losses.ldam_logits, losses.hinge_loss, losses.hinge_gradient]
)
@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ((LOGITS[0], LABELS, GAMMA), ("(3,)", "(2,)")),
        ((LOGITS, LABELS[:1], GAMMA), ("(2, 3)", "(1,)")),
        ((LOGITS, LABELS, GAMMA[:2]), ("margins (K,)", "(2,)")),
        ((LOGITS, np.array([0, 3]), GAMMA), ("0..2", "3")),
        ((LOGITS, np.array([0, -1]), GAMMA), ("0..2", "-1")),
        ((LOGITS, np.array([0.0, 1.5]), GAMMA), ("integers", "1.5")),
        ((LOGITS, LABELS, np.array([0.1, -0.2, 0.1])), ("margins", "[-0.2]")),
        ((LOGITS, LABELS, np.array([0.1, 0.2, np.nan])), ("margins", "[nan]")),
    ],
)
def test_losses_reject(function, arguments, shown):
    with pytest.raises(InputError) as excinfo:
        function(*arguments)
    rejects(excinfo, *shown)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("function", [losses.ldam_loss, losses.ldam_gradient, losses.ldam_logits])
def test_losses_reject_a_bad_scale(function, scale):
    with pytest.raises(InputError, match=f"scale must be finite and > 0, got {scale}"):
        function(LOGITS, LABELS, GAMMA, scale=scale)


def test_no_examples_no_losses():
    empty = np.zeros((0, 3)), np.zeros(0, dtype=int), GAMMA
    assert losses.ldam_loss(*empty).shape == losses.hinge_loss(*empty).shape == (0,)
    assert losses.ldam_gradient(*empty).shape == losses.hinge_gradient(*empty).shape == (0, 3)


# deferred re-weighting


@steady
@given(profiles, st.sampled_from(list(weights.RULES)), st.sampled_from([0.0, 0.9, 0.9999, 0.9999999]))
def test_class_weights(class_counts, rule, beta):
    found = weights.class_weights(class_counts, rule=rule, beta=beta)
    np.testing.assert_allclose(found.sum(), len(class_counts), rtol=1e-12)
    order = np.argsort(class_counts.array)
    assert (np.diff(found[order]) <= 1e-12 * found.max()).all()
    if rule == "inverse":
        products = found * class_counts.array
        np.testing.assert_allclose(products, products[0], rtol=1e-12)
    elif beta == 0:
        np.testing.assert_allclose(found, 1, rtol=1e-12)


@steady
@given(st.integers(1, 3000), st.floats(0, 1 - 1e-7))
def test_effective_number_is_the_geometric_sum(count, beta):
    found = weights.effective_number(np.array([count]), beta)[0]
    np.testing.assert_allclose(found, (beta ** np.arange(count)).sum(), rtol=1e-9)
    assert 1 - 1e-12 <= found <= min(count, 1 / (1 - beta)) * (1 + 1e-9)


def test_effective_number_limits():
    counts = np.array([1.0, 10.0, 5000.0])
    np.testing.assert_array_equal(weights.effective_number(counts, 0), 1)
    np.testing.assert_allclose(weights.effective_number(counts, 1 - 1e-12), counts, rtol=1e-6)
    np.testing.assert_allclose(weights.effective_number(np.array([1e9]), 0.9), 10, rtol=1e-12)
    inverse = weights.class_weights(CIFAR10_LT)
    np.testing.assert_allclose(weights.class_weights(CIFAR10_LT, rule="effective", beta=1 - 1e-12), inverse, rtol=1e-6)


@pytest.mark.parametrize(
    ("rule", "ends"), [("inverse", (0.0402, 4.0236)), ("effective", (0.0506, 3.9927))]
)  # Cao et al. (2019), released code, CIFAR-10-LT at ratio 100
def test_published_weights(rule, ends):
    np.testing.assert_allclose(weights.class_weights(CIFAR10_LT, rule=rule)[[0, -1]], ends, atol=5e-5)


@pytest.mark.parametrize(("epochs", "switch"), [(200, 160), (100, 80), (90, 72), (3, 2), (2, 1), (400, 320)])
@pytest.mark.parametrize("rule", weights.RULES)
def test_deferred_weights_switch_once(epochs, switch, rule):
    assert weights.switch_epoch(epochs) == switch
    on = weights.class_weights(TWO, rule=rule)
    for epoch in (0, switch - 1):
        np.testing.assert_array_equal(weights.deferred_weights(TWO, epoch, epochs=epochs, rule=rule), 1)
    for epoch in (switch, epochs - 1):
        np.testing.assert_array_equal(weights.deferred_weights(TWO, epoch, epochs=epochs, rule=rule), on)


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (lambda: weights.effective_number([1.0], 1.0), ("beta must be below 1, got 1", "inverse")),
        (lambda: weights.effective_number([1.0], -0.1), ("beta", "-0.1")),
        (lambda: weights.effective_number([1.0], 1.1), ("beta", "1.1")),
        (lambda: weights.effective_number([1.0], float("nan")), ("beta", "nan")),
        (lambda: weights.class_weights(TWO, rule="effective", beta=1), ("beta must be below 1",)),
        (lambda: weights.class_weights(TWO, rule="invers"), ("'invers'", "did you mean inverse?")),
        (lambda: weights.switch_epoch(1), ("epochs", "got 1")),
        (lambda: weights.switch_epoch(100.5), ("epochs", "whole", "100.5")),
        (lambda: weights.deferred_weights(TWO, 200, epochs=200), ("epoch", "0..199", "200")),
        (lambda: weights.deferred_weights(TWO, -1, epochs=200), ("epoch", "0..199", "-1")),
    ],
)
def test_weights_reject(call, shown):
    with pytest.raises(InputError) as excinfo:
        call()
    rejects(excinfo, *shown)


# cosine heads


@steady
@given(st.lists(st.floats(0, 0.99), min_size=2, max_size=12), st.floats(0.51, 0.999999))
def test_smallest_scale_suffices_on_the_simplex(fractions, probability):
    K = len(fractions)
    gamma = np.array(fractions) * cosine.largest_cosine_gap(K)
    scale = cosine.smallest_scale(gamma, probability=probability)
    simplex = np.where(np.eye(K, dtype=bool), 1.0, -1 / (K - 1))
    worst = losses.ldam_loss(simplex, np.arange(K), gamma, scale=scale).max()
    np.testing.assert_allclose(worst, -np.log(probability), rtol=1e-6)
    assert losses.ldam_loss(simplex, np.arange(K), gamma, scale=0.99 * scale).max() > worst
    possible = cosine.smallest_scale_possible(gamma, probability=probability)
    assert possible <= scale * (1 + 1e-12)
    np.testing.assert_allclose(cosine.smallest_loss(K, gamma.mean(), possible), -np.log(probability), rtol=1e-6)


@steady
@given(seeds, st.floats(0.1, 40))
def test_no_head_has_a_smaller_loss(seed, scale):
    rng = np.random.default_rng(seed)
    heads, features = rng.standard_normal((2, 4, 3))
    logits = (features / np.linalg.norm(features, axis=1)[:, None]) @ (heads / np.linalg.norm(heads, axis=1)[:, None]).T
    gamma = rng.uniform(0, 1, 4)
    mean = losses.ldam_loss(logits, np.arange(4), gamma, scale=scale).mean()
    assert mean >= cosine.smallest_loss(4, gamma.mean(), scale) - 1e-12


@pytest.mark.parametrize("function", [cosine.smallest_scale, cosine.smallest_scale_possible])
@pytest.mark.parametrize(
    ("gamma", "probability", "shown"),
    [
        ([2.0, 2.0], 0.99, ("margin 2", "K / (K - 1) = 2")),
        ([0.5], 0.99, ("margins", "[0.5]")),
        ([0.5, float("nan")], 0.99, ("margins", "nan")),
        ([0.5, -0.1], 0.99, ("margins", "-0.1")),
        ([0.5, 0.5], 1.0, ("probability", "0.999999999999", "1.0")),
        ([0.5, 0.5], 0.4, ("probability", "0.5", "0.4")),
    ],
)
def test_scales_reject(function, gamma, probability, shown):
    with pytest.raises(InputError) as excinfo:
        function(np.array(gamma), probability=probability)
    rejects(excinfo, *shown)
