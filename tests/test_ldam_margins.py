"""LDAM's margins and the generalisation bounds that they minimise."""

from fractions import Fraction

import numpy as np
import pytest
from helpers import CIFAR10_LT, TWO, profiles, rejects, seeds
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.errors import InputError
from tailbound.theory.ldam import bounds, margins

BOUNDS = list(margins.BOUNDS)

exponents = st.fractions(-1, 1, max_denominator=12)
positive = st.floats(0.01, 100)
steady = settings(deadline=None)  # a busy machine is no failure


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
