"""`CostSensitiveSVC` against scikit-learn's checks, its SVC, and the properties of margin ratios."""

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.metrics import balanced_accuracy_score, make_scorer
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks
from tailbound.theory.core.errors import InputError
from tailbound.theory.vs_loss.estimator import CostSensitiveSVC
from tailbound.theory.vs_loss.ratio_estimate import estimate_margin_ratio
from tailbound.theory.vs_loss.svm import NotSeparable

OVERLAPPING = (
    "check_class_weight_classifiers",
    "check_classifier_data_not_an_array",
    "check_classifiers_train",
    "check_dtype_object",
    "check_estimators_dtypes",
    "check_estimators_nan_inf",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_positive_only_tag_during_fit",
    "check_sample_weights_list",
    "check_sample_weights_not_an_array",
    "check_sample_weights_pandas_series",
    "check_supervised_y_2d",
)


def expected_failures(estimator):
    """Only a hard margin fails any check: those that fit labels no linear classifier separates."""
    if estimator.C is not None or estimator.kernel != "linear":
        return {}
    return dict.fromkeys(OVERLAPPING, "labels that no linear classifier separates: NotSeparable is the right answer")


@parametrize_with_checks(
    [CostSensitiveSVC(), CostSensitiveSVC(C=1.0), CostSensitiveSVC(C=1.0, kernel="rbf", gamma=0.1)],
    expected_failed_checks=expected_failures,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def draw(seed=0, minority=12, majority=60, dimension=80, signal=1.5, names=("common", "rare")):
    """Two normal classes, separable in so many dimensions."""
    rng = np.random.default_rng(seed)
    rare = np.arange(minority + majority) < minority
    features = rng.standard_normal((rare.size, dimension))
    features[:, 0] += np.where(rare, signal, -signal)
    return features, np.array(names)[rare.astype(int)]


def overlapping(seed=0, num_examples=80):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((num_examples, 3))
    return features, (features[:, 0] + rng.standard_normal(num_examples) > 0.8).astype(int)


def three_classes(seed=0, dimension=40):
    rng = np.random.default_rng(seed)
    labels = np.repeat([3, 5, 9], [20, 10, 5])
    features = rng.standard_normal((labels.size, dimension))
    features[np.arange(labels.size), labels % 4] += 4
    return features, labels


# against SVC


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly"])
def test_ratio_one_with_a_hard_margin_is_svc_with_a_large_c(kernel):
    features, labels = draw()
    mine = CostSensitiveSVC(kernel=kernel, coef0=1.0).fit(features, labels)
    theirs = SVC(C=1e9, kernel=kernel, coef0=1.0, tol=1e-8).fit(features, labels)
    fresh = draw(seed=1)[0]
    assert_allclose(mine.decision_function(fresh), theirs.decision_function(fresh), atol=1e-5)
    assert_array_equal(mine.predict(fresh), theirs.predict(fresh))
    assert mine.certificate_.gap <= 1e-9


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 0.5, 1: 3.0}])
@pytest.mark.parametrize("C", [0.1, 1.0, 10.0])
def test_soft_margin_is_that_of_svc(C, class_weight, kernel):
    features, labels = overlapping()
    weights = np.random.default_rng(1).uniform(0.2, 2.0, labels.size)
    settings = {"C": C, "kernel": kernel, "class_weight": class_weight}
    mine = CostSensitiveSVC(**settings).fit(features, labels, weights)
    theirs = SVC(**settings, tol=1e-8).fit(features, labels, weights)
    fresh = overlapping(seed=1)[0]
    assert_allclose(mine.decision_function(fresh), theirs.decision_function(fresh), atol=1e-3)


# margin ratios


@pytest.mark.parametrize("names", [("common", "rare"), ("most", "few")])
@pytest.mark.parametrize("ratio", [0.5, 4.0])
def test_a_ratio_moves_the_threshold_only(ratio, names):
    features, labels = draw(names=names)
    plain = CostSensitiveSVC().fit(features, labels)
    moved = CostSensitiveSVC(margin_ratio=ratio).fit(features, labels)
    sign = 1.0 if moved.classes_[1] == names[1] else -1.0
    assert_allclose(moved.coef_, (ratio + 1) / 2 * plain.coef_, rtol=1e-12)
    assert_allclose(moved.intercept_, (ratio + 1) / 2 * plain.intercept_ + sign * (ratio - 1) / 2, rtol=1e-9)
    assert_array_equal(moved.support_, plain.support_)
    rare = labels == names[1]
    margins = np.where(rare, sign, -sign) * moved.decision_function(features)
    assert_allclose([margins[rare].min(), margins[~rare].min()], [ratio, 1.0], rtol=1e-7)
    assert moved.margin_ratio_ == ratio
    assert dict(zip(moved.classes_, moved.required_margins_, strict=True)) == {names[0]: 1.0, names[1]: ratio}


@pytest.mark.parametrize("settings", [{}, {"fit_intercept": False}, {"C": 0.3}, {"kernel": "rbf"}])
def test_a_mapping_is_the_number(settings):
    features, labels = draw()
    number = CostSensitiveSVC(margin_ratio=3.0, **settings).fit(features, labels)
    mapping = CostSensitiveSVC(margin_ratio={"rare": 3.0, "common": 1.0}, **settings).fit(features, labels)
    assert_allclose(mapping.decision_function(features), number.decision_function(features), rtol=1e-9)
    assert mapping.margin_ratio_ == number.margin_ratio_ == 3.0


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_margins_twice_as_wide_are_scores_twice_as_large(fit_intercept):
    features, labels = draw()
    one, two = (
        CostSensitiveSVC(fit_intercept=fit_intercept, margin_ratio={"rare": 3 * s, "common": s}).fit(features, labels)
        for s in (1.0, 2.0)
    )
    assert_allclose(two.decision_function(features), 2 * one.decision_function(features), rtol=1e-7)


def test_a_ratio_without_intercept_or_with_c_is_met():
    features, labels = draw()
    rare = labels == "rare"
    for settings in ({"fit_intercept": False}, {"C": 1e4}):
        machine = CostSensitiveSVC(margin_ratio=3.0, **settings).fit(features, labels)
        margins = np.where(rare, 1.0, -1.0) * machine.decision_function(features)
        assert_allclose([margins[rare].min(), margins[~rare].min()], [3.0, 1.0], rtol=1e-6)


def test_the_minority_is_the_smaller_class_and_the_second_on_a_tie():
    features, labels = draw(minority=20, majority=20)
    tied = CostSensitiveSVC(margin_ratio=2.0).fit(features, labels)
    assert_array_equal(tied.required_margins_, [1.0, 2.0])
    first_is_rare = CostSensitiveSVC(margin_ratio=2.0).fit(features[5:], np.where(labels == "rare", 0, 1)[5:])
    assert_array_equal(first_is_rare.required_margins_, [2.0, 1.0])


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_auto_is_the_estimate_and_helps_the_minority(kernel):
    features, labels = draw(minority=15, majority=120, dimension=150, signal=2.0)
    machine = CostSensitiveSVC(kernel=kernel, margin_ratio="auto").fit(features, labels)
    gram = features @ features.T if kernel == "linear" else rbf_kernel(features, gamma=1 / (150 * features.var()))
    expected = estimate_margin_ratio(gram, np.where(labels == "rare", 1, -1))
    assert machine.margin_ratio_ == machine.ratio_estimate_.ratio > 1
    assert_allclose(machine.margin_ratio_, expected.ratio, rtol=1e-6)
    fresh, truth = draw(seed=9, minority=400, majority=400, dimension=150, signal=2.0)
    plain = CostSensitiveSVC(kernel=kernel).fit(features, labels)
    assert plain.ratio_estimate_ is None
    assert machine.score(fresh, truth) > plain.score(fresh, truth) + 0.05  # classes of the same size: balanced


def test_the_interval_alone_is_random():
    features, labels = draw()
    found = [
        CostSensitiveSVC(margin_ratio="auto", random_state=seed).fit(features, labels).ratio_estimate_
        for seed in (0, 0, 1)
    ]
    assert found[0].interval == found[1].interval != found[2].interval
    assert found[0].ratio == found[2].ratio


# weights


def test_class_weight_warns_on_a_hard_margin_and_changes_nothing():
    features, labels = draw()
    machine = CostSensitiveSVC(class_weight="balanced")
    with pytest.warns(UserWarning, match="class_weight does nothing to a hard margin"):
        machine.fit(features, labels)
    plain = CostSensitiveSVC().fit(features, labels)
    assert_array_equal(machine.decision_function(features), plain.decision_function(features))
    weighted = CostSensitiveSVC().fit(features, labels, np.linspace(0.1, 9.0, labels.size))
    assert_array_equal(weighted.decision_function(features), plain.decision_function(features))


@pytest.mark.parametrize("settings", [{}, {"C": 0.5}, {"kernel": "precomputed"}])
def test_an_example_of_weight_zero_is_dropped(settings):
    features, labels = draw()
    kept = np.arange(labels.size) % 3 > 0
    train, test = features, features
    short, short_test = features[kept], features
    if settings.get("kernel") == "precomputed":
        train = test = features @ features.T
        short, short_test = train[np.ix_(kept, kept)], train[:, kept]
    zero = CostSensitiveSVC(**settings).fit(train, labels, kept.astype(float))
    dropped = CostSensitiveSVC(**settings).fit(short, labels[kept])
    assert_allclose(zero.decision_function(test), dropped.decision_function(short_test), rtol=1e-9, atol=1e-12)
    assert_array_equal(zero.support_, np.flatnonzero(kept)[dropped.support_])


# kernels and attributes


def linear(left, right):
    return left @ right.T


@pytest.mark.parametrize("settings", [{"margin_ratio": 2.0}, {"C": 0.1}, {"margin_ratio": "auto"}])
def test_precomputed_and_callable_kernels_are_the_linear_one(settings):
    features, labels = draw()
    fresh = draw(seed=1)[0]
    machine = CostSensitiveSVC(**settings).fit(features, labels)
    given = CostSensitiveSVC(kernel="precomputed", **settings).fit(features @ features.T, labels)
    called = CostSensitiveSVC(kernel=linear, **settings).fit(features, labels)
    expected = machine.decision_function(fresh)
    assert_allclose(given.decision_function(fresh @ features.T), expected, rtol=1e-8, atol=1e-10)
    assert_allclose(called.decision_function(fresh), expected, rtol=1e-8, atol=1e-10)
    assert given.__sklearn_tags__().input_tags.pairwise
    assert not hasattr(called, "coef_")


@pytest.mark.parametrize("data", [draw, three_classes])
@pytest.mark.parametrize("settings", [{}, {"C": 0.05}, {"kernel": "rbf", "gamma": 0.01}])
def test_a_common_offset_of_the_features_changes_nothing(settings, data):
    features, labels = data()
    machine = CostSensitiveSVC(**settings).fit(features, labels)
    moved = CostSensitiveSVC(**settings).fit(features + 1e6, labels)
    found, expected = moved.decision_function(features + 1e6), machine.decision_function(features)
    assert_allclose(found, expected, atol=1e-6)  # float64 keeps 1e-10 of features near 1e6


@pytest.mark.parametrize("data", [draw, three_classes])
def test_attributes_belong_together(data):
    features, labels = data()
    machine = CostSensitiveSVC(C=1.0).fit(features, labels)
    rows = 1 if len(machine.classes_) == 2 else len(machine.classes_)
    assert machine.dual_coef_.shape == (rows, machine.support_.size)
    assert machine.coef_.shape == (rows, features.shape[1])
    assert machine.intercept_.shape == (rows,)
    assert_array_equal(machine.support_vectors_, features[machine.support_])
    scores = features @ machine.support_vectors_.T @ machine.dual_coef_.T + machine.intercept_
    assert_allclose(np.atleast_2d(machine.decision_function(features).T).T, scores, rtol=1e-9, atol=1e-12)


def test_a_second_fit_leaves_nothing_of_the_first():
    machine = CostSensitiveSVC().fit(*draw())
    assert hasattr(machine, "coef_")
    assert hasattr(machine, "margin_ratio_")
    machine.set_params(kernel="rbf").fit(*three_classes())
    assert not hasattr(machine, "coef_")
    assert not hasattr(machine, "margin_ratio_")


# three classes


def test_three_classes_meet_their_required_margins():
    features, labels = three_classes()
    required = {3: 1.0, 5: 2.0, 9: 4.0}
    machine = CostSensitiveSVC(margin_ratio=required).fit(features, labels)
    scores = machine.decision_function(features)
    own = np.searchsorted(machine.classes_, labels)
    rivals = scores.copy()
    rivals[np.arange(labels.size), own] = -np.inf
    margins = scores[np.arange(labels.size), own] - rivals.max(axis=1)
    assert_allclose([margins[labels == label].min() for label in required], list(required.values()), rtol=1e-7)
    assert_array_equal(machine.predict(features), labels)
    plain = CostSensitiveSVC().fit(features, labels)
    assert_array_equal(plain.required_margins_, np.ones(3))
    assert np.linalg.norm(plain.coef_) < np.linalg.norm(machine.coef_)


# scikit-learn's tools


def test_grid_search_in_a_pipeline_over_ratios():
    features, labels = draw(signal=2.0)
    pipeline = make_pipeline(StandardScaler(), CostSensitiveSVC())
    grid = {"costsensitivesvc__margin_ratio": [0.1, 1.0, 3.0, "auto"]}
    scorer = make_scorer(balanced_accuracy_score)
    search = GridSearchCV(pipeline, grid, scoring=scorer, cv=3, error_score="raise").fit(features, labels)
    scores = search.cv_results_["mean_test_score"]
    assert search.best_score_ == scores.max() > scores[0]


def test_grid_search_slices_a_precomputed_kernel():
    features, labels = draw()
    grid = {"margin_ratio": [1.0, 3.0]}
    scores = [
        GridSearchCV(CostSensitiveSVC(kernel=kernel), grid, cv=3).fit(data, labels).cv_results_["mean_test_score"]
        for kernel, data in (("linear", features), ("precomputed", features @ features.T))
    ]
    assert_array_equal(*scores)


def test_clone_and_pickle():
    features, labels = draw()
    machine = CostSensitiveSVC(margin_ratio={"rare": 2.0, "common": 1.0}, kernel="rbf").fit(features, labels)
    assert clone(machine).get_params() == machine.get_params()
    again = pickle.loads(pickle.dumps(machine))
    assert_array_equal(again.decision_function(features), machine.decision_function(features))


def test_names_of_features_are_kept():
    features, labels = overlapping()
    frame = pd.DataFrame(features, columns=["a", "b", "c"])
    machine = CostSensitiveSVC(C=1.0).fit(frame, labels)
    assert list(machine.feature_names_in_) == ["a", "b", "c"]
    assert machine.n_features_in_ == 3
    with pytest.raises(ValueError, match="feature names"):
        machine.predict(frame[["b", "a", "c"]])


# errors


def test_data_that_are_not_separable_ask_for_c():
    features, labels = overlapping()
    with pytest.raises(NotSeparable, match="not separable") as caught:
        CostSensitiveSVC().fit(features, labels)
    assert any("pass C" in note for note in caught.value.__notes__)
    assert CostSensitiveSVC(C=1.0).fit(features, labels).score(features, labels) > 0.6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"C": 0.0}, "C must be finite and > 0"),
        ({"C": "1"}, "C must be a number > 0, or None"),
        ({"kernel": "rbff"}, "did you mean rbf"),
        ({"gamma": "large"}, "gamma must be a number > 0, 'scale' or 'auto'"),
        ({"margin_ratio": -1.0}, "margin_ratio must be finite and > 0"),
        ({"margin_ratio": "best"}, "margin_ratio must be a number > 0, a mapping or 'auto'"),
        ({"margin_ratio": {"rare": 2.0}}, "must map each of the classes"),
        ({"margin_ratio": {"rare": 2.0, "common": 0.0}}, "margin_ratio must be finite and > 0"),
        ({"margin_ratio": "auto", "C": 1.0}, "pass C=None"),
        ({"margin_ratio": "auto", "fit_intercept": False}, "fit_intercept=False"),
        ({"C": 1.0, "class_weight": {"rare": -1.0, "common": 1.0}}, "class_weight must be finite and > 0"),
        ({"kernel": "precomputed"}, "square matrix"),
        ({"kernel": lambda left, right: left}, "kernel must return shape"),
    ],
)
def test_bad_parameters(settings, message):
    features, labels = draw()
    with pytest.raises(InputError, match=message):
        CostSensitiveSVC(**settings).fit(features, labels)


@pytest.mark.parametrize("ratio", [2.0, "auto"])
def test_one_ratio_is_not_enough_for_three_classes(ratio):
    with pytest.raises(InputError, match="is for 2 classes, got 3 classes"):
        CostSensitiveSVC(margin_ratio=ratio).fit(*three_classes())


@pytest.mark.parametrize(
    ("weights", "message"),
    [(lambda rare: np.where(rare, -1.0, 1.0), "must be >= 0"), (lambda rare: rare * 1.0, "at least 2 classes, got 1")],
)
def test_bad_weights(weights, message):
    features, labels = draw()
    with pytest.raises(InputError, match=message):
        CostSensitiveSVC().fit(features, labels, weights(labels == "rare"))


def test_infinite_c_is_a_hard_margin():
    features = np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    hard, infinite = (CostSensitiveSVC(C, margin_ratio=3.0).fit(features, [1, 0, 0]) for C in (None, np.inf))
    np.testing.assert_array_equal(infinite.coef_, hard.coef_)
    np.testing.assert_allclose(hard.decision_function(features), [3.0, -1.0, -1.0], atol=1e-9)
