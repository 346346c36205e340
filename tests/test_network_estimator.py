"""The scikit-learn estimator of networks: its contract, every kind of method, chance, bad settings."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers.losses import Following  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402
from tailbound.nn_validation.core.schedules import schedule  # noqa: E402
from tailbound.nn_validation.estimator import NetworkClassifier  # noqa: E402
from tailbound.nn_validation.methods import METHODS, Method  # noqa: E402
from tailbound.theory.core.class_counts import ClassCounts  # noqa: E402
from tailbound.theory.core.errors import InputError  # noqa: E402


@parametrize_with_checks([NetworkClassifier("ldam-drw", epochs=20, random_state=0)])
def test_estimator_meets_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def imbalanced():
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], [300, 60, 12])
    means = {"a": (0, 0), "b": (2, 0), "c": (0, 2)}
    return np.array([means[label] for label in labels]) + rng.standard_normal((372, 2)), labels, means


@pytest.mark.parametrize("method", ["ce", "ce-drs", "cb", "focal", "m-drw", "ldam:exponent=0.5", "vs-mixed"])
def test_estimator_trains_every_kind_of_method(imbalanced, method):
    features, labels, means = imbalanced
    found = NetworkClassifier(method, epochs=30, random_state=0).fit(features, labels)
    again = NetworkClassifier(method, epochs=30, random_state=0).fit(features, labels)
    probabilities = found.predict_proba(features)
    np.testing.assert_array_equal(probabilities, again.predict_proba(features))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert found.class_counts_ == ClassCounts((300, 60, 12), ("a", "b", "c"))
    assert found.loss_curve_[20] < found.loss_curve_[0]  # the last fifth is re-weighted or re-sampled
    assert found.predict(np.array(list(means.values()))).tolist()[:2] == ["a", "b"]
    assert (np.abs(found.decision_function(features)) <= found.objective_.scale + 1e-9).all() == (
        method.startswith(("ldam", "m-"))
    )


def test_estimator_tells_the_loss_how_each_epoch_went(imbalanced, monkeypatch):
    monkeypatch.setitem(METHODS, "following", Method("following", "", Following, "linear", schedule("none"), {}))
    features, labels, _ = imbalanced
    plain, following = (
        NetworkClassifier(method, epochs=10, random_state=0).fit(features, labels) for method in ("ce", "following")
    )
    assert following.loss_curve_[0] == plain.loss_curve_[0]  # nothing was told before the first epoch
    assert following.loss_curve_[1] != plain.loss_curve_[1]
    weight = following.objective_.weight.numpy()
    np.testing.assert_allclose(weight.mean(), 1)
    assert np.ptp(weight) > 0.01


def test_estimator_with_a_deferred_method_finds_the_rare_class(imbalanced):
    features, labels, _ = imbalanced
    rare = features[labels == "c"]
    found = {
        method: (NetworkClassifier(method, random_state=0).fit(features, labels).predict(rare) == "c").mean()
        for method in ("ce", "ldam-drw", "la")
    }
    assert found["ldam-drw"] > found["ce"] < found["la"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "ldamm"}, "unknown method 'ldamm'"),
        ({"epochs": 1}, "epochs must be whole and >= 2, got 1"),
        ({"hidden_sizes": (0,)}, r"hidden_sizes must be whole and >= 1, got \(0,\)"),
        ({"batch_size": 2.5}, "batch_size must be whole"),
        ({"learning_rate": -1}, "learning_rate must be finite and > 0"),
        ({"weight_decay": -1}, "weight_decay must lie in"),
    ],
)
def test_estimator_rejects_bad_settings(imbalanced, settings, message):
    with pytest.raises(InputError, match=message):
        NetworkClassifier(**settings).fit(*imbalanced[:2])


def test_estimator_leaves_torch_s_own_generator_alone(imbalanced):
    before = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NetworkClassifier(epochs=2).fit(*imbalanced[:2])
    assert torch.equal(torch.random.get_rng_state(), before)


def test_estimator_leaves_the_generators_of_other_devices_alone(imbalanced, monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    NetworkClassifier(epochs=2, random_state=0).fit(*imbalanced[:2])
    torch.manual_seed(7)  # the function that would have seeded them
    assert seeds == [7]


def test_probabilities_of_a_clipped_network_are_those_it_was_trained_with(imbalanced):
    features, labels = imbalanced[:2]
    model = NetworkClassifier("clip:max_norm=1", epochs=5, random_state=0).fit(features, labels)
    bound = 1 / (1 + 2 * np.exp(-3 / np.sqrt(6)))  # logits (2, -1, -1) / sqrt 6
    assert model.predict_proba(features).max() <= bound + 1e-12
    logits = model.objective_.clip(model.network_(torch.tensor(features, dtype=torch.float64)))
    np.testing.assert_allclose(model.predict_proba(features), torch.softmax(logits, 1).detach(), rtol=1e-12)
