"""LDAM's formulas: properties of margins, bounds, losses, weights and cosine heads; the convex programs as oracles."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.convex import ConvexError
from tailbound.theory.core.errors import InputError
from tailbound.theory.ldam import bounds, cosine, losses, margins, programs, weights

CIFAR10_LT = ClassCounts.long_tailed(100, num_classes=10, largest=5000)
TWO = ClassCounts((5000, 50))
BOUNDS = list(margins.BOUNDS)

profiles = st.lists(st.integers(1, 10**6), min_size=2, max_size=12).map(lambda counts: ClassCounts(tuple(counts)))
exponents = st.fractions(-1, 1, max_denominator=12)
positive = st.floats(0.01, 100)
seeds = st.integers(0, 2**32 - 1)
steady = settings(deadline=None)  # a busy machine is no failure


def rejects(excinfo, *shown) -> None:
    text = str(excinfo.value)
    assert "\n" not in text
    assert len(text) < 300
    for piece in shown:
        assert piece in text


# margins


@steady
@given(profiles, exponents, st.sampled_from(["max_margin", "constant", "total"]), positive, st.randoms())
def test_margins_follow_a_permutation_of_the_classes(class_counts, exponent, scaling, value, random):
    order = list(range(len(class_counts)))
    random.shuffle(order)
    shuffled = ClassCounts(tuple(class_counts.counts[k] for k in order))
    found = margins.class_margins(class_counts, exponent=exponent, **{scaling: value})
    np.testing.assert_allclose(
        margins.class_margins(shuffled, exponent=exponent, **{scaling: value}), found[order], rtol=1e-12
    )


@steady
@given(profiles, exponents, positive, positive)
def test_margins_scale_as_asked(class_counts, exponent, value, factor):
    def of(**scaling):
        return margins.class_margins(class_counts, exponent=exponent, **scaling)

    np.testing.assert_allclose(of(max_margin=value).max(), value, rtol=1e-12)
    np.testing.assert_allclose(of(total=value).sum(), value, rtol=1e-12)
    np.testing.assert_allclose(of(constant=value), value * class_counts.array ** float(exponent), rtol=1e-12)
    for scaling in ("max_margin", "constant", "total"):
        once = of(**{scaling: value})
        np.testing.assert_allclose(of(**{scaling: factor * value}), factor * once, rtol=1e-12)
        np.testing.assert_allclose(once / once.sum(), of(total=1.0), rtol=1e-12)
    np.testing.assert_array_equal(of(), of(max_margin=0.5))


@steady
@given(profiles, exponents)
def test_rarer_class_never_has_the_smaller_margin(class_counts, exponent):
    """For exponents below 0; above 0 the frequent class has the larger margin; equal counts have equal margins."""
    found = margins.class_margins(class_counts, exponent=exponent)
    change = np.sign(found[:, None] - found[None, :])
    rarity = np.sign(class_counts.array[None, :] - class_counts.array[:, None])
    sign = -np.sign(float(exponent))
    assert (change * rarity * sign >= 0).all()
    assert (change[rarity == 0] == 0).all()
    if sign == 0:
        assert (found == 0.5).all()


@steady
@given(profiles, st.data())
def test_more_examples_never_raise_a_class_margin(class_counts, data):
    k = data.draw(st.integers(0, len(class_counts) - 1))
    more = list(class_counts.counts)
    more[k] += data.draw(st.integers(1, 10**6))
    before, after = (margins.class_margins(c, total=1.0) for c in (class_counts, ClassCounts(tuple(more))))
    assert after[k] < before[k]
    assert (np.delete(after, k) > np.delete(before, k)).all()


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"max_margin": 0.0}, ("max_margin", "0.0")),
        ({"max_margin": -1.0}, ("max_margin", "-1.0")),
        ({"constant": float("nan")}, ("constant", "nan")),
        ({"total": float("inf")}, ("total", "inf")),
        ({"total": "much"}, ("total", "'much'")),
        ({"exponent": float("nan")}, ("exponent", "nan")),
        ({"max_margin": 1.0, "total": 2.0}, ("one scaling", "'max_margin': 1.0", "'total': 2.0")),
    ],
)
def test_class_margins_rejects(settings, shown):
    with pytest.raises(InputError) as excinfo:
        margins.class_margins(TWO, **settings)
    rejects(excinfo, *shown)


@pytest.mark.parametrize(
    ("power", "rate", "exponent"),
    [(1, Fraction(1, 2), Fraction(-1, 4)), (2, Fraction(1), Fraction(-1, 3)), (1, Fraction(1), Fraction(-1, 2))],
)
def test_optimal_exponent(power, rate, exponent):
    assert margins.optimal_exponent(power, rate) == exponent


def bound_value(split, class_counts, priors, bound):
    """The bound that `optimal_margins` minimises, written out."""
    counts = class_counts.array
    return (priors / (split * counts**0.5)).sum() if bound == "per_class" else (priors**2 / (counts * split**2)).sum()


@pytest.mark.parametrize("bound", BOUNDS)
@given(profiles, seeds, positive)
@settings(max_examples=60, deadline=None)
def test_optimal_margins_are_never_beaten(bound, class_counts, seed, total):
    rng = np.random.default_rng(seed)
    priors = rng.dirichlet(np.ones(len(class_counts))) + 1e-6
    priors /= priors.sum()
    best = margins.optimal_margins(class_counts, total=total, bound=bound, test_priors=priors)
    np.testing.assert_allclose(best.sum(), total, rtol=1e-12)
    value = bound_value(best, class_counts, priors, bound)
    for concentration in (0.3, 1.0, 10.0, 1e3):
        shares = rng.dirichlet(concentration * np.ones(len(class_counts))) + 1e-9
        other = total * shares / shares.sum()
        assert bound_value(other, class_counts, priors, bound) >= value * (1 - 1e-12)
        near = best * np.exp(0.01 * rng.standard_normal(len(best)))
        assert bound_value(total * near / near.sum(), class_counts, priors, bound) >= value * (1 - 1e-12)


@pytest.mark.parametrize("bound", BOUNDS)
@steady
@given(profiles, seeds)
def test_optimal_margins_meet_lagranges_condition(bound, class_counts, seed):
    """All classes gain the same from a little more margin."""
    priors = np.random.default_rng(seed).uniform(0.1, 1, len(class_counts))
    best = margins.optimal_margins(class_counts, bound=bound, test_priors=7 * priors)  # priors are normalised
    costs, power = margins.bound_costs(class_counts.array, priors / priors.sum(), bound)
    gains = costs * power / best ** (power + 1)
    np.testing.assert_allclose(gains, gains.mean(), rtol=1e-10)


@pytest.mark.parametrize(("bound", "exponent"), [("per_class", Fraction(-1, 4)), ("joint", Fraction(-1, 3))])
@steady
@given(class_counts=profiles)
def test_balanced_optimum_is_a_power_of_the_counts(bound, exponent, class_counts):
    stated = margins.class_margins(class_counts, exponent=exponent, total=2.0)
    np.testing.assert_allclose(margins.optimal_margins(class_counts, total=2.0, bound=bound), stated, rtol=1e-12)


def test_optimum_for_the_training_priors():
    priors = CIFAR10_LT.priors
    stated = margins.class_margins(CIFAR10_LT, exponent=Fraction(1, 3), total=1.0)
    np.testing.assert_allclose(margins.optimal_margins(CIFAR10_LT, bound="joint", test_priors=priors), stated)


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"bound": "jiont"}, ("'jiont'", "did you mean joint?")),
        ({"total": 0}, ("total", "0")),
        ({"test_priors": [0.5, 0.0]}, ("test_priors", "[0.0]")),
        ({"test_priors": [0.5, float("nan")]}, ("test_priors", "[nan]")),
        ({"test_priors": [0.2, 0.3, 0.5]}, ("test_priors", "2 classes", "(3,)")),
        ({"test_priors": ["a", "b"]}, ("test_priors", "'a'")),
    ],
)
def test_optimal_margins_rejects(settings, shown):
    with pytest.raises(InputError) as excinfo:
        margins.optimal_margins(TWO, **settings)
    rejects(excinfo, *shown)


# bounds


@steady
@given(profiles, seeds, positive)
def test_joint_bound_is_never_larger(class_counts, seed, complexity):
    rng = np.random.default_rng(seed)
    split, priors = rng.uniform(0.01, 2, (2, len(class_counts)))
    per_class, joint = (
        bounds.complexity_term(split, class_counts, complexity=complexity, bound=bound, test_priors=priors)
        for bound in BOUNDS
    )
    assert 0 < joint <= per_class * (1 + 1e-12)
    priors /= priors.sum()
    root = np.sqrt(complexity)
    np.testing.assert_allclose(per_class, 4 * root * bound_value(split, class_counts, priors, "per_class"))
    np.testing.assert_allclose(joint, 4 * root * np.sqrt(bound_value(split, class_counts, priors, "joint")))


@pytest.mark.parametrize("bound", BOUNDS)
@steady
@given(profiles, seeds, st.data())
def test_bound_falls_with_examples_and_rises_with_complexity(bound, class_counts, seed, data):
    rng = np.random.default_rng(seed)
    split = rng.uniform(0.05, 1.5, len(class_counts))

    def value(counts, complexity=0.3, loss=0.1, failure=0.05, scale=1.0):
        return bounds.balanced_error_bound(
            scale * split, counts, complexity=complexity, max_score=1.0, bound=bound,
            failure_probability=failure, margin_losses=loss,
        )  # fmt: skip

    more = list(class_counts.counts)
    k = data.draw(st.integers(0, len(more) - 1))
    more[k] = 2 * more[k] + data.draw(st.integers(0, 10**6))
    base = value(class_counts)
    assert value(ClassCounts(tuple(more))) < base
    assert value(class_counts, complexity=0.31) > base
    assert value(class_counts, failure=0.04) > base
    assert value(class_counts, scale=1.01) < base
    np.testing.assert_allclose(value(class_counts, loss=0.35) - base, 0.25)
    shares = np.linspace(0, 0.2, len(split))
    np.testing.assert_allclose(value(class_counts, loss=shares), base)


def test_bound_written_out():
    split, counts = np.array([0.5, 1.5]), TWO.array
    shared = {"complexity": 0.01, "max_score": 2.0, "failure_probability": 0.1}
    term = 4 * 0.1 * (0.5 / (split * counts**0.5)).sum()
    low_order = np.sqrt((np.log(np.log2(4 / split)) + np.log(4 / 0.1)) / counts).mean()
    np.testing.assert_allclose(bounds.balanced_error_bound(split, TWO, **shared), term + low_order, rtol=1e-12)
    joint = 0.4 * np.sqrt((0.25 / (split**2 * counts)).sum()) + np.sqrt(np.log(10) / 2 * (1 / counts).sum() / 4)
    np.testing.assert_allclose(bounds.balanced_error_bound(split, TWO, bound="joint", **shared), joint, rtol=1e-12)


@steady
@given(st.integers(2, 1000), positive, st.floats(1e-6, 0.99))
def test_low_order_term_ends_at_the_largest_margin(num_classes, max_score, failure_probability):
    shared = {"max_score": max_score, "failure_probability": failure_probability}
    class_counts = ClassCounts((4,) * num_classes)
    top = bounds.largest_margin(num_classes, **shared)
    assert max_score < top < 2 * max_score
    at_edge = bounds.low_order_term(np.full(num_classes, top), class_counts, **shared)
    np.testing.assert_allclose(at_edge, 0, atol=1e-7 * np.sqrt(num_classes / failure_probability))  # root of rounding
    assert (bounds.low_order_term(np.full(num_classes, 0.99 * top), class_counts, **shared) > at_edge).all()
    split = np.full(num_classes, 0.1 * top)
    split[-1] = top * (1 + 1e-9)
    with pytest.raises(InputError) as excinfo:
        bounds.low_order_term(split, class_counts, **shared)
    rejects(excinfo, f"at most {top:.6g}", "lower the margins or raise max_score")


@pytest.mark.parametrize(
    ("class_counts", "total"),
    [
        (TWO, 1.0),
        (CIFAR10_LT, 2.0),
        (ClassCounts.long_tailed(100, num_classes=10_000, largest=500), 1000.0),
        (ClassCounts((70, 70, 70)), 1.0),
    ],
    ids=["two", "cifar10", "10000", "balanced"],
)
@pytest.mark.parametrize("complexity", [1e-3, 1.0, 1e3])
def test_optimum_with_low_order_term(class_counts, total, complexity):
    K, max_score, failure = len(class_counts), 1.0, 0.05
    found = bounds.optimal_margins_with_low_order(
        class_counts, total=total, complexity=complexity, max_score=max_score, failure_probability=failure
    )
    np.testing.assert_allclose(found.sum(), total, rtol=1e-12)
    radicand = np.log(np.log(2 * max_score / found) / np.log(2)) + np.log(2 * K / failure)
    gains = 4 * np.sqrt(complexity) / found**2 + 1 / (2 * found * np.log(2 * max_score / found) * np.sqrt(radicand))
    gains /= np.sqrt(class_counts.array)
    np.testing.assert_allclose(gains, gains.mean(), rtol=1e-8)
    share = margins.class_margins(class_counts, total=total)
    rarest, commonest = class_counts.array.argmin(), class_counts.array.argmax()
    if class_counts.imbalance_ratio > 1:
        assert found[rarest] > share[rarest]
        assert found[commonest] < share[commonest]
    else:
        np.testing.assert_allclose(found, share, rtol=1e-12)
    if complexity == 1e3:
        np.testing.assert_allclose(found, share, rtol=1e-2)  # the n^(-1/4) margins return


def test_optimum_with_low_order_term_beats_other_splits():
    shared = {"complexity": 0.01, "max_score": 1.0}
    best = bounds.optimal_margins_with_low_order(TWO, total=1.0, **shared)
    value = bounds.balanced_error_bound(best, TWO, **shared)
    for first in np.linspace(0.02, 0.98, 97):
        assert bounds.balanced_error_bound(np.array([first, 1 - first]), TWO, **shared) >= value
    shares = margins.class_margins(TWO, total=1.0)
    assert bounds.balanced_error_bound(shares, TWO, **shared) > value


def test_optimum_outside_the_domain_is_an_error():
    with pytest.raises(InputError, match=r"total 3 needs a margin above 1\.98275; lower the total or raise max_score"):
        bounds.optimal_margins_with_low_order(TWO, total=3.0, complexity=1.0, max_score=1.0)


@steady
@given(st.floats(1, 1e12))
@example(1.0000001)
def test_gain_lies_above_a_half(ratio):
    gain = bounds.gain_over_equal_split(ratio)
    assert 0.5 < gain <= 1
    assert bounds.gain_over_equal_split(2 * ratio) < gain
    costs, power = margins.bound_costs(np.array([ratio, 1.0]), 0.5)
    best = bounds.inverse_margin_sum(margins.minimising_shares(costs, power), costs, power)
    np.testing.assert_allclose(best / bounds.inverse_margin_sum(np.full(2, 0.5), costs, power), gain, rtol=1e-12)


def test_gain_of_balanced_classes_is_one():
    assert bounds.gain_over_equal_split(1.0) == 1


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (lambda: bounds.complexity_term([1.0], TWO, complexity=1.0), ("margins", "2 classes", "(1,)")),
        (lambda: bounds.complexity_term([1.0, 0.0], TWO, complexity=1.0), ("margins", "[0.0]")),
        (lambda: bounds.complexity_term([1.0, 1.0], TWO, complexity=0.0), ("complexity", "0.0")),
        (lambda: bounds.complexity_term([1.0, 1.0], TWO, complexity=1.0, bound="x"), ("'x'", "joint, per_class")),
        (lambda: bounds.low_order_term([0.1, 0.1], TWO, max_score=0, failure_probability=0.1), ("max_score", "0")),
        (lambda: bounds.low_order_term([0.1, 0.1], TWO, max_score=1, failure_probability=0), ("failure_probab", "0")),
        (lambda: bounds.low_order_term([0.1, 0.1], TWO, max_score=1, failure_probability=2), ("failure_probab", "2")),
        (
            lambda: bounds.balanced_error_bound([0.1, 0.1], TWO, complexity=1.0, max_score=1.0, margin_losses=1.5),
            ("margin_losses", "[0, 1]", "1.5"),
        ),
        (
            lambda: bounds.balanced_error_bound([0.1, 0.1], TWO, complexity=1.0, max_score=1.0, margin_losses=[0] * 3),
            ("margin_losses", "2 classes", "(3,)"),
        ),
        (lambda: bounds.optimal_margins_with_low_order(TWO, total=0, complexity=1.0, max_score=1.0), ("total", "0")),
        (lambda: bounds.optimal_margins_with_low_order(TWO, total=1, complexity=0, max_score=1.0), ("complexity", "0")),
    ],
)
def test_bounds_reject(call, shown):
    with pytest.raises(InputError) as excinfo:
        call()
    rejects(excinfo, *shown)


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


# convex programs


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
