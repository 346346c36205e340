"""The implicit bias of the VS family: its losses as rows, minimisers in a ball, the limit, descent; errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.fixed_point import NotConverged
from tailbound.theory.ldam.losses import ldam_loss
from tailbound.theory.vs_loss.implicit_bias import (
    PairwiseLoss,
    angle,
    ball_minimiser,
    direction_bound,
    first_order_term,
    gradient_descent,
    terminal,
)
from tailbound.theory.vs_loss.losses import (
    VSParameters,
    initial_shares,
    initial_weight,
    initial_weights,
    vs_loss,
    vs_parameters,
)
from tailbound.theory.vs_loss.scalar_losses import LogisticLoss
from tailbound.theory.vs_loss.svm import NotSeparable

seeds = st.integers(0, 2**32 - 1)
steady = settings(deadline=None, max_examples=20)
POINTS, SIGNS = np.array([[1.0, 0.5], [-0.5, 1.0], [-0.5, -1.0]]), np.array([1, -1, -1])


def separable(seed, examples=14, dimension=5):
    """Random points pushed off a random plane, random ω, ι, Δ for each example."""
    rng = np.random.default_rng(seed)
    features, normal = rng.standard_normal((examples, dimension)), rng.standard_normal(dimension)
    labels = np.where(np.arange(examples) < 4, 1, -1)
    features += np.outer(labels * (0.3 + rng.exponential(1, examples)) - features @ normal / (normal @ normal), normal)
    delta, omega = rng.uniform(0.4, 1.6, (2, examples))
    return PairwiseLoss.signed(features, labels, delta=delta, iota=rng.uniform(-2, 2, examples), omega=omega)


def multiclass(seed, num_classes=3, examples=12, dimension=4):
    rng = np.random.default_rng(seed)
    labels = np.arange(examples) % num_classes
    features = rng.uniform(-0.4, 0.4, (examples, dimension)) + np.eye(num_classes, dimension)[labels]  # separable
    parameters = VSParameters(*rng.uniform([[0.4], [-2], [0.5]], [[1], [0], [2]], (3, num_classes)))
    return features, labels, parameters


def value(loss, w):
    """The loss written out."""
    odds = loss.offsets - np.einsum("ijd,d->ij", loss.rows, w)
    return (loss.weights * np.log1p(np.exp(odds).sum(axis=1))).sum()


# the loss as rows


@steady
@given(seeds, st.floats(0.1, 5))
def test_signed_form_is_the_binary_loss(seed, size):
    rng = np.random.default_rng(seed)
    features, w = rng.standard_normal((9, 3)), size * rng.standard_normal(3)
    labels = np.where(np.arange(9) < 3, 1, -1)
    pair = {1: LogisticLoss(2.0, 0.7, 0.3), -1: LogisticLoss(0.5, -1.0, 1.2)}
    each = {name: np.array([getattr(pair[y], name) for y in labels]) for name in ("omega", "iota", "delta")}
    loss = PairwiseLoss.signed(features, labels, **each)
    stated = sum(float(pair[y].value(y * (x @ w))) for x, y in zip(features, labels, strict=True))
    np.testing.assert_allclose(np.exp(loss.log_value(w)), stated, rtol=1e-10)
    np.testing.assert_allclose(value(loss, w), stated, rtol=1e-10)


@steady
@given(seeds, st.integers(2, 5))
def test_multiclass_form_is_the_library_loss(seed, num_classes):
    features, labels, parameters = multiclass(seed, num_classes, dimension=5)
    W = np.random.default_rng(seed).standard_normal((num_classes, 5))
    loss = PairwiseLoss.multiclass(features, labels, parameters)
    stated = vs_loss(features @ W.T, labels, parameters).sum()
    np.testing.assert_allclose(np.exp(loss.log_value(W.ravel())), stated, rtol=1e-10)


def test_rows_of_ldam_have_the_offset_of_the_true_class():
    features, labels, _ = multiclass(3)
    margins, W = np.array([0.1, 0.2, 0.5]), np.random.default_rng(3).standard_normal((3, 4))
    plain = PairwiseLoss.multiclass(features, labels, VSParameters(np.ones(3), np.zeros(3), np.ones(3)))
    loss = PairwiseLoss(plain.rows, np.repeat(margins[labels][:, None], 2, axis=1), plain.weights)
    np.testing.assert_allclose(np.exp(loss.log_value(W.ravel())), ldam_loss(features @ W.T, labels, margins).sum())


@steady
@given(seeds, st.booleans())
def test_pulls_are_the_gradient(seed, many):
    loss = PairwiseLoss.multiclass(*multiclass(seed)) if many else separable(seed)
    w = np.random.default_rng(seed).standard_normal(loss.rows.shape[2])
    log_size, shares = loss.pulls(w)
    assert abs(shares.sum() - 1) < 1e-12
    gradient = -np.exp(log_size) * np.einsum("ij,ijd->d", shares, loss.rows)
    moves = 1e-6 * np.eye(len(w))
    differences = [(value(loss, w + move) - value(loss, w - move)) / 2e-6 for move in moves]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-7 * np.abs(gradient).max())


def test_loss_far_below_the_smallest_float():
    loss = PairwiseLoss.signed(POINTS, SIGNS, iota=2.0)
    w = 1e6 * terminal(loss).direction
    assert loss.log_value(w) < -1e5
    odds = loss.offsets[:, 0] - loss.rows[:, 0] @ w
    np.testing.assert_allclose(loss.log_value(w), odds.max() + np.log(np.exp(odds - odds.max()).sum()), rtol=1e-14)
    np.testing.assert_allclose(np.exp(loss.log_value(-w)), (loss.offsets[:, 0] + loss.rows[:, 0] @ w).sum(), rtol=1e-12)


# the limit


@steady
@given(seeds)
def test_limit_is_optimal(seed):
    """No unit vector has a larger margin, which the dual shares prove; perturbations agree."""
    loss = separable(seed)
    limit = terminal(loss)
    rows = loss.rows[:, 0]
    np.testing.assert_allclose((rows @ limit.direction).min(), limit.margin, rtol=1e-7)
    assert (limit.shares >= 0).all()
    combined = limit.shares[:, 0] @ rows
    np.testing.assert_allclose(np.linalg.norm(combined), limit.margin, rtol=1e-7)  # margin of any u <= |Σ p z|
    others = limit.direction + 0.1 * np.random.default_rng(seed).standard_normal((50, rows.shape[1]))
    assert ((others / np.linalg.norm(others, axis=1, keepdims=True)) @ rows.T).min(axis=1).max() <= limit.margin + 1e-9


@steady
@given(seeds, st.floats(-3, 3), st.floats(0.1, 10))
def test_limit_ignores_strengths_and_scales_like_the_rows(seed, shift, factor):
    loss = separable(seed)
    limit = terminal(loss)
    moved = PairwiseLoss(loss.rows, loss.offsets[::-1] + shift, factor * loss.weights)
    np.testing.assert_array_equal(terminal(moved).direction, limit.direction)
    scaled = terminal(PairwiseLoss(factor * loss.rows, loss.offsets, loss.weights))
    np.testing.assert_allclose(scaled.direction, limit.direction, atol=1e-9)
    np.testing.assert_allclose(scaled.margin, factor * limit.margin, rtol=1e-9)


def test_no_limit_without_separation():
    loss = PairwiseLoss.signed(np.array([[1.0], [2.0]]), np.array([1, -1]))
    with pytest.raises(NotSeparable, match="not separable"):
        terminal(loss)
    with pytest.raises(InputError, match="inside the ball") as excinfo:
        ball_minimiser(loss, 1e3)
    assert "\n" not in str(excinfo.value)


# minimisers in a ball


@pytest.mark.parametrize("radius", [0.05, 1.0, 7.0])
@pytest.mark.parametrize("many", [False, True])
def test_ball_minimiser_against_a_general_solver(radius, many):
    loss = PairwiseLoss.multiclass(*multiclass(1)) if many else separable(1)
    w = ball_minimiser(loss, radius)
    np.testing.assert_allclose(np.linalg.norm(w), radius, rtol=1e-12)
    found = minimize(
        lambda v: value(loss, radius * v / np.linalg.norm(v)), w + 0.3 * np.roll(w, 1), options={"gtol": 1e-9}
    )
    assert value(loss, w) <= found.fun * (1 + 1e-12)
    assert angle(found.x, w) < 1e-4


@steady
@given(seeds, st.floats(0, 4), st.booleans())
def test_ball_minimiser_is_stationary(seed, log_radius, many):
    """Gradient and w are opposite: the condition that is necessary and, L being convex, sufficient."""
    loss = PairwiseLoss.multiclass(*multiclass(seed)) if many else separable(seed)
    w = ball_minimiser(loss, 10**log_radius)
    pull = np.einsum("ij,ijd->d", loss.pulls(w)[1], loss.rows)
    assert angle(w, pull) < 1e-9
    assert w @ pull > 0


@steady
@given(seeds, st.floats(0.5, 5))
def test_bound_holds_at_every_radius(seed, log_radius):
    loss, radius = separable(seed), 10**log_radius
    limit = terminal(loss)
    w = ball_minimiser(loss, radius)
    shortfall, far = direction_bound(loss, limit, radius)
    assert limit.margin - (loss.rows @ w).min() / radius <= shortfall
    assert angle(w, limit.direction) <= far <= np.pi


def test_bound_with_huge_strengths_and_tiny_radii_is_finite():
    loss = PairwiseLoss.signed(POINTS, SIGNS, iota=np.array([500.0, -500.0, 0.0]))
    shortfall, far = direction_bound(loss, terminal(loss), 1e-3)
    assert np.isfinite(shortfall)
    assert far == np.pi


@pytest.mark.parametrize("seed", range(6))
def test_first_order_term_is_the_way_to_the_limit(seed):
    """w_R - R u* tends to v, whatever the strengths; half of R away the remainder is twice as large."""
    loss = PairwiseLoss.multiclass(*multiclass(seed)) if seed % 2 else separable(seed)
    limit = terminal(loss)
    v = first_order_term(loss, limit)
    assert abs(v @ limit.direction) < 1e-7 * max(1.0, np.linalg.norm(v))
    left = [np.linalg.norm(ball_minimiser(loss, R) - R * limit.direction - v) for R in (2e4, 4e4, 8e4)]
    assert left[2] < 1e-2 * max(1.0, np.linalg.norm(v))
    np.testing.assert_allclose(left[1] / left[0], 0.5, rtol=0.1)


def test_first_order_term_needs_shares_on_the_margin():
    loss = PairwiseLoss(np.array([[[1.0, 0.0]], [[1.0, 1.0]]]), np.zeros((2, 1)), np.ones(2))
    with pytest.raises(InputError, match="1 rows touch it") as excinfo:
        first_order_term(loss, terminal(loss))
    assert "\n" not in str(excinfo.value)


# descent


@steady
@given(seeds, st.booleans(), st.booleans())
def test_descent_follows_the_gradient(seed, normalised, many):
    loss = PairwiseLoss.multiclass(*multiclass(seed)) if many else separable(seed)
    w = 0.1 * np.ones(loss.rows.shape[2])
    path = gradient_descent(loss, [0, 1, 2, 5], step=0.05, normalised=normalised, start=w)
    for _ in range(5):
        log_size, shares = loss.pulls(w)
        pull = np.einsum("ij,ijd->d", shares, loss.rows)
        w = w + 0.05 * (pull / np.linalg.norm(pull) if normalised else np.exp(log_size) * pull)
    np.testing.assert_array_equal(path[0], 0.1)
    np.testing.assert_allclose(path[-1], w, rtol=1e-9)
    np.testing.assert_allclose(path[1], gradient_descent(loss, [1], step=0.05, normalised=normalised, start=path[0])[0])


def test_constant_steps_lower_the_loss_and_separate():
    loss = separable(5)
    smoothness = 0.25 * (loss.weights @ (loss.rows[:, 0] ** 2).sum(axis=1))
    path = gradient_descent(loss, [1, 10, 100, 1000, 5000], step=1 / smoothness)
    values = [loss.log_value(w) for w in path]
    assert (np.diff(values) < 0).all()
    assert (loss.rows[:, 0] @ path[-1] > 0).all()


def test_descent_at_two_rates():
    """Unit steps bring the angle down like 1/t, a constant step only like 1/log t, to the same limit."""
    loss = PairwiseLoss.signed(np.column_stack([POINTS, np.ones(3)]), SIGNS, iota=np.array([3.0, 0, 0]))
    limit = terminal(loss).direction
    fast = angle(gradient_descent(loss, [200, 2000], step=0.25, normalised=True), limit)
    slow = angle(gradient_descent(loss, [200, 2000], step=0.2), limit)
    np.testing.assert_allclose(fast[0] / fast[1], 10, rtol=0.1)
    assert 1.2 < slow[0] / slow[1] < 2
    assert fast[1] < slow[1] / 20


@pytest.mark.parametrize(
    ("times", "keywords", "shown"),
    [
        ([], {}, "[]"),
        ([3, 3], {}, "[3, 3]"),
        ([-1], {}, "[-1]"),
        ([1.5], {}, "[1.5]"),
        ([1], {"step": 0.0}, "0.0"),
        ([1], {"start": np.zeros(3)}, "(3,)"),
    ],
)
def test_descent_rejects(times, keywords, shown):
    with pytest.raises(InputError) as excinfo:
        gradient_descent(PairwiseLoss.signed(POINTS, SIGNS), times, **keywords)
    assert shown in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


def test_descent_that_blows_up_says_so():
    loss = PairwiseLoss.signed(1e200 * POINTS, SIGNS)
    with np.errstate(all="ignore"), pytest.raises(NotConverged, match="smaller step"):
        gradient_descent(loss, [3], step=1e200)


# angles, input, and the start of training


def test_angles_small_and_large():
    direction = np.array([2.0, 0.0])
    found = angle(np.array([[1.0, 1e-12], [1.0, 1.0], [-1.0, 0.0]]), direction)
    np.testing.assert_allclose(found, [1e-12, np.pi / 4, np.pi], rtol=1e-12)


ONE, CLASSES = np.ones((2, 1)), VSParameters(np.ones(2), np.zeros(2), np.ones(2))


@pytest.mark.parametrize(
    ("build", "shown"),
    [
        (lambda: PairwiseLoss(np.ones((2, 1)), ONE, np.ones(2)), "(2, 1)"),
        (lambda: PairwiseLoss(np.ones((2, 1, 3)), np.ones((2, 2)), np.ones(2)), "(2, 2)"),
        (lambda: PairwiseLoss(np.ones((2, 1, 3)), ONE, np.array([1.0, 0.0])), "[0.0]"),
        (lambda: PairwiseLoss(np.full((2, 1, 3), np.nan), ONE, np.ones(2)), "nan"),
        (lambda: PairwiseLoss.signed(np.ones((2, 3)), np.array([0, 1])), "[0, 1]"),
        (lambda: PairwiseLoss.signed(np.ones((2, 3)), np.array([1, -1, 1])), "(3,)"),
        (lambda: PairwiseLoss.signed(np.ones((2, 3)), np.array([1, -1]), delta=-1.0), "-1.0"),
        (lambda: PairwiseLoss.multiclass(np.ones((2, 3)), np.array([0, 2]), CLASSES), "[0, 2]"),
        (lambda: PairwiseLoss.multiclass(np.ones((2, 3)), np.array([0.0, 1.0]), CLASSES), "[0.0, 1.0]"),
    ],
)
def test_losses_reject(build, shown):
    with pytest.raises(InputError) as excinfo:
        build()
    assert shown in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan"), float("inf")])
def test_radius_is_checked(radius):
    loss = PairwiseLoss.signed(POINTS, SIGNS)
    with pytest.raises(InputError, match="radius"):
        ball_minimiser(loss, radius)
    with pytest.raises(InputError, match="radius"):
        direction_bound(loss, terminal(loss), radius)


@given(st.lists(st.integers(1, 10**5), min_size=2, max_size=8), st.floats(0, 1), st.floats(0, 2))
@settings(deadline=None)
def test_initial_weights_and_shares(counts, gamma, tau):
    """Two classes: both forms agree. Any number: shares sum to 1, and no weight exceeds Δ."""
    class_counts = ClassCounts(tuple(counts))
    parameters = vs_parameters(class_counts, gamma=gamma, tau=tau)
    weights = initial_weights(parameters)
    assert (weights <= parameters.delta).all()
    shares = initial_shares(class_counts.priors, weights)
    np.testing.assert_allclose(shares.sum(), 1)
    np.testing.assert_allclose(shares * (class_counts.priors @ weights), class_counts.priors * weights)
    if len(counts) == 2:
        binary = initial_weight(1.0, parameters.delta, parameters.iota[::-1] - parameters.iota)
        np.testing.assert_allclose(weights, binary, rtol=1e-9, atol=1e-12)


def test_initial_shares_over_a_grid():
    """A figure's use: many (γ, τ) at once along the last axis."""
    gamma, tau = np.meshgrid(np.linspace(0, 1, 3), np.linspace(0, 2, 5), indexing="ij")
    priors = np.array([0.1, 0.9])
    delta = (priors / 0.9) ** gamma[..., None]
    iota = tau[..., None] * np.log(priors[::-1] / priors)
    shares = initial_shares(priors, initial_weight(1.0, delta, iota))
    assert shares.shape == (3, 5, 2)
    np.testing.assert_allclose(shares[..., 0], 1 / (1 + 9.0 ** (1 + gamma - tau)), rtol=1e-12)
