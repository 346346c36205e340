"""VS-loss and its members: neutral settings, offsets, limits, the start of training, consistency of LA."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.errors import InputError
from tailbound.theory.ldam.losses import ldam_loss
from tailbound.theory.vs_loss.losses import VSParameters, initial_weight, vs_loss, vs_parameters

profiles = st.lists(st.integers(1, 10**6), min_size=2, max_size=12).map(lambda counts: ClassCounts(tuple(counts)))
seeds = st.integers(0, 2**32 - 1)
steady = settings(deadline=None)  # a busy machine is no failure


def batch(seed, num_classes=4, examples=6, size=3.0):
    rng = np.random.default_rng(seed)
    return size * rng.standard_normal((examples, num_classes)), rng.integers(num_classes, size=examples)


def parameters(seed, num_classes=4):
    rng = np.random.default_rng(seed)
    return VSParameters(*rng.uniform([[0.2], [-4], [0.5]], [[1], [0], [2]], (3, num_classes)))


def cross_entropy(logits, labels):
    return logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]


@steady
@given(seeds)
def test_neutral_settings_give_cross_entropy(seed):
    logits, labels = batch(seed)
    neutral = vs_parameters(ClassCounts((1000, 100, 10, 1)))
    np.testing.assert_allclose(vs_loss(logits, labels, neutral), cross_entropy(logits, labels), rtol=1e-12, atol=1e-12)


@steady
@given(seeds, seeds)
def test_loss_written_out(seed, other_seed):
    logits, labels = batch(seed)
    chosen = parameters(other_seed)
    adjusted = chosen.delta * logits + chosen.iota
    odds = np.exp(adjusted)
    stated = -chosen.omega[labels] * np.log(odds[np.arange(len(labels)), labels] / odds.sum(axis=1))
    np.testing.assert_allclose(vs_loss(logits, labels, chosen), stated, rtol=1e-9, atol=1e-12)


@steady
@given(seeds, seeds, st.floats(-100, 100))
def test_common_offset_changes_nothing(seed, other_seed, offset):
    logits, labels = batch(seed)
    chosen = parameters(other_seed)
    moved = chosen._replace(iota=chosen.iota + offset)
    np.testing.assert_allclose(vs_loss(logits, labels, moved), vs_loss(logits, labels, chosen), atol=1e-11)


@steady
@given(seeds, seeds, st.randoms())
def test_loss_follows_a_permutation_and_is_linear_in_the_weight(seed, other_seed, random):
    logits, labels = batch(seed)
    chosen = parameters(other_seed)
    found = vs_loss(logits, labels, chosen)
    order = list(range(4))
    random.shuffle(order)
    shuffled = VSParameters(*(values[order] for values in chosen))
    np.testing.assert_allclose(vs_loss(logits[:, order], np.argsort(order)[labels], shuffled), found, rtol=1e-12)
    np.testing.assert_allclose(vs_loss(logits, labels, chosen._replace(omega=3 * chosen.omega)), 3 * found, rtol=1e-12)


def test_extreme_logits_stay_finite():
    logits = np.array([[1e4, -1e4], [-1e4, 1e4]])
    chosen = vs_parameters(ClassCounts((900, 100)), gamma=0.5, tau=1.0)
    found = vs_loss(logits, np.array([0, 0]), chosen)
    np.testing.assert_allclose(found, [0, 1e4 / 3 + np.log(0.1) + 1e4 - np.log(0.9)], rtol=1e-12)


@steady
@given(profiles, st.floats(0, 2), st.floats(0, 3))
def test_parameters(class_counts, gamma, tau):
    delta, iota, omega = vs_parameters(class_counts, gamma=gamma, tau=tau)
    counts = class_counts.array
    np.testing.assert_allclose(delta, (counts / counts.max()) ** gamma, rtol=1e-12)
    np.testing.assert_allclose(iota, tau * np.log(counts / counts.sum()), rtol=1e-12)
    np.testing.assert_array_equal(omega, 1)
    assert delta.max() == 1
    assert delta.min() > 0
    order = np.argsort(counts)
    assert (np.diff(delta[order]) >= 0).all()  # rarer classes have the smaller scale and the smaller shift
    assert (np.diff(iota[order]) >= 0).all()


@steady
@given(profiles)
def test_parameter_limits(class_counts):
    la, cdt = vs_parameters(class_counts, tau=1.0), vs_parameters(class_counts, gamma=1.0)
    np.testing.assert_array_equal(la.delta, 1)
    np.testing.assert_allclose(np.exp(la.iota), class_counts.priors, rtol=1e-12)
    np.testing.assert_array_equal(cdt.iota, 0)
    np.testing.assert_allclose(cdt.delta, class_counts.array / max(class_counts.counts), rtol=1e-12)


@steady
@given(st.floats(0.5, 3), st.floats(0.1, 2), st.floats(-5, 5))
def test_initial_weight_is_the_slope_of_the_loss(omega, delta, iota):
    """In the two-class form with the true class's score f against 0, the offset is that of the other class."""
    chosen = VSParameters(np.full(2, delta), np.array([0.0, iota]), np.full(2, omega))
    step, label = 1e-5, np.array([0])
    up, down = (vs_loss(np.array([[f, 0.0]]), label, chosen)[0] for f in (step, -step))
    np.testing.assert_allclose((down - up) / (2 * step), initial_weight(omega, delta, iota), rtol=1e-7, atol=1e-9)


def test_offset_at_most_doubles_the_first_weight():
    np.testing.assert_allclose(initial_weight(1.0, 1.0, np.array([0.0, 700.0, -700.0])), [0.5, 1, 0], atol=1e-12)


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_la_at_tau_one_is_the_balanced_bayes_rule(seed):
    """The minimiser of the expected loss is log(P(y|x) / π_y) plus a constant; at other τ it is not."""
    rng = np.random.default_rng(seed)
    posterior = rng.dirichlet(np.ones(3)) * 0.94 + 0.02
    class_counts = ClassCounts((900, 90, 10))
    labels = np.arange(3)

    def minimiser(tau):
        chosen = vs_parameters(class_counts, tau=tau)

        def risk(scores):
            return posterior @ vs_loss(np.tile(scores, (3, 1)), labels, chosen)

        found = minimize(risk, np.zeros(3), method="BFGS", options={"gtol": 1e-7}).x
        return found - found.mean()

    balanced = np.log(posterior / class_counts.priors)
    balanced -= balanced.mean()
    np.testing.assert_allclose(minimiser(1.0), balanced, atol=1e-4)
    for tau in (0.0, 0.5, 2.0):
        centred = np.log(posterior) - tau * np.log(class_counts.priors)
        np.testing.assert_allclose(minimiser(tau), centred - centred.mean(), atol=1e-4)
        assert np.abs(minimiser(tau) - balanced).max() > 0.5


def test_offsetting_all_logits_is_not_ldam():
    """Cao et al. (2019): only the true logit moves; offsets of all logits give other values on the same example."""
    logits, labels = np.array([[1.0, 0.2, -0.3]] * 3), np.arange(3)
    margins = np.array([0.1, 0.2, 0.5])
    offsets = VSParameters(np.ones(3), -margins, np.ones(3))
    found = vs_loss(logits, labels, offsets)
    np.testing.assert_allclose(found, [0.463, 1.363, 2.163], atol=5e-4)
    assert (ldam_loss(logits, labels, margins) > found + 0.1).all()


LOGITS, LABELS, THREE = np.zeros((2, 3)), np.array([0, 2]), vs_parameters(ClassCounts((9, 5, 1)), gamma=0.5, tau=1.0)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ((LOGITS[0], LABELS, THREE), "(3,)"),
        ((LOGITS, LABELS[:1], THREE), "(1,)"),
        ((LOGITS[:, :2], LABELS, THREE), "(2, 2)"),
        ((LOGITS, LABELS, THREE._replace(iota=np.zeros(1))), "(1,)"),
        ((LOGITS, LABELS, THREE._replace(omega=np.ones(2))), "(2,)"),
        ((LOGITS, np.array([0, 3]), THREE), "3"),
        ((LOGITS, np.array([0, -1]), THREE), "-1"),
        ((LOGITS, np.array([0.0, 1.0]), THREE), "1.0"),
    ],
)
def test_loss_rejects(arguments, shown):
    with pytest.raises(InputError) as excinfo:
        vs_loss(*arguments)
    assert "\n" not in str(excinfo.value)
    assert shown in str(excinfo.value)


@pytest.mark.parametrize("name", ["gamma", "tau"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "much"])
def test_parameters_reject(name, value):
    with pytest.raises(InputError, match=f"{name} must lie in .*, got {value!r}") as excinfo:
        vs_parameters(ClassCounts((9, 1)), **{name: value})
    assert "\n" not in str(excinfo.value)
