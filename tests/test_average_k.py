"""Average-K: its rule against brute force, its exact gain, ties, the calibrated threshold, and the predictors."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from tailbound.nn_validation.average_k import AverageK, TopK, compare_rules, error_difference, set_metrics
from tailbound.sims.average_k import PROFILES, draw_profile
from tailbound.theory.average_k.calibration import calibrated_threshold, size_deviation, threshold_entries
from tailbound.theory.average_k.profiles import (
    geometric_profile,
    two_level_errors,
    two_level_profile,
    uniform_errors,
    uniform_size_variance,
)
from tailbound.theory.average_k.regret import regret, regret_factor, surrogate_regret
from tailbound.theory.average_k.rules import (
    AmbiguityProfile,
    Threshold,
    average_k_inclusion,
    average_k_threshold,
    crowding,
    dual_value,
    expected_size,
    gain,
    gain_limit,
    macro_scores,
    optimal_errors,
    score_matrix,
    top_k_inclusion,
)
from tailbound.theory.claims import load
from tailbound.theory.core.errors import InputError

COUNTS = st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3).filter(any), min_size=2, max_size=3)


def profile_of(rows) -> AmbiguityProfile:
    return AmbiguityProfile([[Fraction(value, sum(row)) for value in row] for row in rows])


def brute_force(profile: AmbiguityProfile, mean_size) -> Fraction:
    """Least error over all sets of mean size <= K and over mixtures of two of them, which reach every vertex."""
    inputs, classes = profile.probabilities.shape
    points = []
    for sets in product(product((0, 1), repeat=classes), repeat=inputs):
        inclusion = np.array(sets, dtype=object)
        points.append((profile.mean(inclusion), profile.error(inclusion)))
    best = min(error for size, error in points if size <= mean_size)
    small = {s: min(e for size, e in points if size == s) for s in {size for size, _ in points}}
    for (s1, e1), (s2, e2) in product(small.items(), repeat=2):
        if s1 < mean_size < s2:
            best = min(best, e1 + (e2 - e1) * (mean_size - s1) / (s2 - s1))
    return best


@settings(max_examples=12, deadline=None)
@given(rows=COUNTS.filter(lambda rows: len(rows) == 2), budget=st.fractions(Fraction(1, 4), 3, max_denominator=4))
def test_the_rule_is_the_best_of_all_rules(rows, budget):
    profile = profile_of(rows)
    inclusion = average_k_inclusion(profile.probabilities, average_k_threshold(profile.probabilities, budget))
    assert profile.mean(inclusion) == budget
    assert profile.error(inclusion) == brute_force(profile, budget)


@settings(max_examples=60, deadline=None)
@given(rows=COUNTS, size=st.integers(1, 3))
def test_gain_is_exact_bounded_and_strict_where_it_should_be(rows, size):
    profile = profile_of(rows)
    errors = optimal_errors(profile, size)
    assert errors.gain == gain(profile, size, errors.threshold) >= 0
    assert errors.gain <= gain_limit(crowding(profile, size)) <= Fraction(1, 4)
    assert 1 - errors.average == dual_value(profile, size, errors.threshold)
    if size < 3:
        ranked = profile.ranked
        assert (errors.gain > 0) == (ranked[:, size].max() > ranked[:, size - 1].min())
    else:
        assert errors.gain == 0


@settings(max_examples=60, deadline=None)
@given(scores=arrays(float, (5, 4), elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])), share=st.floats(0.05, 1))
def test_mean_size_is_exact_with_ties(scores, share):
    budget = 4 * share
    inclusion = average_k_inclusion(scores, average_k_threshold(scores, budget))
    assert inclusion.sum(axis=1).mean() == pytest.approx(budget, rel=1e-12)
    assert inclusion.min() >= 0
    assert inclusion.max() <= 1
    weights = np.array([0.1, 0.2, 0.3, 0.15, 0.25])
    weighted = average_k_inclusion(scores, average_k_threshold(scores, budget, weights))
    assert weights @ weighted.sum(axis=1) == pytest.approx(budget, rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(scores=arrays(float, (5, 4), elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])), share=st.floats(0, 1))
def test_non_empty_sets_have_the_size_too(scores, share):
    budget = 1 + 3 * share
    found = average_k_threshold(scores, budget, nonempty=True)
    inclusion = average_k_inclusion(scores, found, nonempty=True)
    sizes = inclusion.sum(axis=1)
    assert sizes.mean() == pytest.approx(budget, rel=1e-12)
    assert sizes.min() >= 1 - 1e-12
    drawn = AverageK(budget, nonempty=True).fit(scores).predict_set(scores)
    assert drawn.any(axis=1).all()
    assert abs(drawn.sum() - 5 * budget) < 1 + 1e-9


def test_whole_budgets_are_not_split_by_rounding():
    scores = np.linspace(0, 1, 30).reshape(10, 3)
    assert average_k_threshold(scores, 0.1 * 3).value == scores.ravel()[-3]  # 0.1 * 3 > 0.3 in floats
    assert average_k_threshold(scores, 3).value == 0
    assert average_k_inclusion(scores, average_k_threshold(scores, 3)).all()


def test_gain_off_the_threshold_is_an_upper_bound():
    profile = geometric_profile(np.linspace(0.1, 0.9, 40), 8)
    errors = optimal_errors(profile, 2)
    assert min(gain(profile, 2, level) for level in np.linspace(0, 1, 101)) >= errors.gain - 1e-12


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_no_ambiguity_or_the_same_everywhere_gains_nothing(size):
    certain = AmbiguityProfile(np.eye(6))
    same = AmbiguityProfile(
        np.random.default_rng(1).permuted(np.tile([0.4, 0.3, 0.15, 0.1, 0.05, 0.0], (5, 1)), axis=1)
    )
    for profile in (certain, same):
        assert optimal_errors(profile, size).gain == pytest.approx(0, abs=1e-12)


def test_two_levels_in_both_branches_and_at_the_boundary():
    for share in (Fraction(1, 9), Fraction(1, 3), Fraction(1, 2)):  # K - 1 + ρ = ρ m at ρ = 1/9, K = 2, m = 10
        assert two_level_errors(share, 10, 2) == tuple(optimal_errors(two_level_profile(share, 10, 12), 2))
    below, above = (two_level_errors(1 / 9 + step, 10, 2).gain for step in (-1e-9, 1e-9))
    assert below == pytest.approx(above, abs=1e-8)


def test_uniform_law_against_a_large_sample():
    profile = draw_profile(np.random.default_rng(0), "uniform", 40_000, 8)
    found, stated = optimal_errors(profile, 3), uniform_errors(8, 3)
    assert found.top == pytest.approx(stated.top, abs=3e-3)
    assert found.gain == pytest.approx(stated.gain, abs=1e-3)
    assert found.threshold == pytest.approx(stated.threshold, abs=2e-3)
    sizes = (profile.probabilities >= stated.threshold).sum(axis=1)
    assert sizes.var() == pytest.approx(uniform_size_variance(8, 3), rel=0.04)


@pytest.mark.parametrize("profile", PROFILES)
def test_drawn_profiles_are_distributions(profile):
    drawn = draw_profile(np.random.default_rng(3), profile, 50, 10)
    assert drawn.probabilities.shape == (50, 10)
    assert (optimal_errors(drawn, 2).gain > 1e-6) == (profile != "homogeneous")


@settings(max_examples=40, deadline=None)
@given(truth=COUNTS, seed=st.integers(0, 1000), size=st.integers(1, 2), rule=st.sampled_from(["top", "average"]))
def test_regret_is_bounded_by_every_loss(truth, seed, size, rule):
    profile = AmbiguityProfile([[value / sum(row) for value in row] for row in truth])
    h = np.random.default_rng(seed).dirichlet(np.ones(3), len(truth))
    found = regret(profile, h, size, rule)
    assert -1e-12 <= found <= profile.mean(np.abs(profile.probabilities - h)) + 1e-12
    for loss in ("log", "brier", "ova"):
        assert found**2 <= regret_factor(loss, size) * surrogate_regret(profile, h, loss) + 1e-12
    assert regret(profile, profile.probabilities, size, rule) == 0


def test_macro_scores_balance_the_classes():
    rng = np.random.default_rng(5)
    profile = AmbiguityProfile(rng.dirichlet([4.0, 1.0, 0.3], 60))
    priors = profile.probabilities.mean(axis=0)
    errors = []
    for scores in (profile.probabilities, macro_scores(profile)):
        inclusion = average_k_inclusion(scores, average_k_threshold(scores, 1))
        errors.append(1 - ((profile.probabilities * inclusion).mean(axis=0) / priors).mean())
    assert errors[1] < errors[0] - 0.01
    assert errors[1] == pytest.approx(1 - profile.mean(macro_scores(profile) * inclusion), abs=1e-12)


# the calibrated threshold


def test_interval_holds_the_threshold_and_shrinks():
    rng = np.random.default_rng(7)
    stated = uniform_errors(10, 3)
    widths = []
    for number in (200, 20_000):
        found = calibrated_threshold(rng.dirichlet(np.ones(10), number), 3, failure_probability=0.05)
        assert found.low < found.threshold.value < found.high
        assert found.low < stated.threshold < found.high
        assert found.size_error == pytest.approx(np.sqrt(uniform_size_variance(10, 3) / number), rel=0.2)
        assert found.size_error < size_deviation(10, number)
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 5
    assert found.gain == pytest.approx(stated.gain, abs=2e-3)
    assert found.gain <= found.gain_limit <= 0.25


def test_few_inputs_bound_nothing():
    found = calibrated_threshold([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]], 1)
    assert (found.low, found.high) == (-np.inf, np.inf)
    entries = {entry.name: entry for entry in threshold_entries([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]], 1)}
    assert entries["average_k.threshold"].low is entries["average_k.threshold"].high is None


def test_gain_needs_probabilities_and_a_whole_size():
    scores = np.random.default_rng(2).dirichlet(np.ones(4), 50)
    assert calibrated_threshold(scores, 1.5).gain is None
    assert calibrated_threshold(np.log(scores), 2).gain is None
    assert [entry.name for entry in threshold_entries(scores, 1.5)] == [
        "average_k.threshold",
        "average_k.tie_fraction",
        "average_k.size_error",
    ]


def test_every_constant_rests_on_a_claim_that_holds_and_lies_in_its_range():
    ledger = load("average_k")
    for entry in threshold_entries(np.random.default_rng(4).dirichlet(np.ones(6), 4000), 2):
        assert ledger[entry.claim].expected == "holds"
        assert entry.low <= entry.value <= entry.high
        for text in ("formula", "reason", "range_reason"):
            assert getattr(entry, text)
            assert "\n" not in getattr(entry, text)


# the predictors


def scored(number=400, classes=6, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, 0.4), number)
    labels = (rng.random(number)[:, None] > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1)
    return p, labels


def test_sizes_are_the_budget_on_the_calibration_inputs():
    p, _ = scored()
    for size in (0.4, 1, 2.3, 6):
        assert AverageK(size).fit(p).predict_set(p).sum() == pytest.approx(size * 400, abs=1)
    for size in (1, 3, 6):
        assert (TopK(size).fit().predict_set(p).sum(axis=1) == size).all()


def test_average_k_beats_top_k_on_calibrated_scores():
    (p, _), (test, labels) = scored(20_000), scored(20_000, seed=1)
    average, top = AverageK(1).fit(p).predict_set(test), TopK(1).predict_set(test)
    difference, error = error_difference(top, average, labels)
    assert difference > 4 * error
    found = set_metrics(average, labels)
    assert found.mean_size == pytest.approx(1, abs=0.05)
    assert found.error == pytest.approx(set_metrics(top, labels).error - difference, abs=1e-12)
    assert found.sizes.sum() == 20_000
    assert found.sizes[0] > 0  # empty sets happen at K = 1
    assert found.sizes[2] > 0
    expected = optimal_errors(AmbiguityProfile(test), 1).gain
    assert difference == pytest.approx(expected, abs=4 * error + 0.01)


def test_rules_are_compared_at_equal_size_too():
    (p, _), (test, labels) = scored(5000), scored(5000, seed=1)
    rows = compare_rules(p, test, labels, [1, 2, 3])
    assert [row["size"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert row["gain"] == pytest.approx(row["top_error"] - row["average_error"], abs=1e-12)
        assert row["average_size"] == pytest.approx(row["size"], abs=0.06)
        assert row["matched_gain"] == pytest.approx(row["predicted_gain"], abs=4 * row["matched_error"])
        assert row["predicted_gain"] == pytest.approx(
            optimal_errors(AmbiguityProfile(test), row["size"]).gain, abs=1e-12
        )
    assert np.isnan(compare_rules(p, test * 2, labels, [1])[0]["predicted_gain"])


def test_ties_of_saturated_scores_keep_the_budget():
    p = np.zeros((200, 10), dtype=np.float32)
    p[np.arange(200), np.arange(200) % 10] = 1  # softmax of logits ±200 in single precision
    model = AverageK(3).fit(p)
    assert model.threshold_ == Threshold(0.0, pytest.approx(2 / 9))
    sets = model.predict_set(p)
    assert sets.sum() == 600
    assert sets[p == 1].all()
    assert (p >= model.threshold_.value).all()  # the released rule would return every label
    assert model.predict_inclusion(p).sum() == pytest.approx(600)


def test_draws_among_ties_are_fair_and_reproducible():
    p = np.full((6000, 4), 0.25)
    for model in (AverageK(1.5), AverageK(1.5, nonempty=True), TopK(1)):
        sets, wanted = model.fit(p).predict_set(p), model.predict_inclusion(p)
        assert np.array_equal(sets, model.predict_set(p))
        assert sets.mean(axis=0) == pytest.approx(wanted.mean(axis=0), abs=0.03)
    other = AverageK(1.5, random_state=1).fit(p).predict_set(p)
    assert not np.array_equal(other, AverageK(1.5).fit(p).predict_set(p))


def test_metrics_of_inclusions_average_the_draws():
    p = np.round(scored(300)[0], 1)
    labels = scored(300)[1]
    model = AverageK(2).fit(p)
    draws = [AverageK(2, random_state=seed).fit(p).predict_set(p) for seed in range(300)]
    exact = set_metrics(model.predict_inclusion(p), labels)
    assert np.mean([set_metrics(sets, labels).error for sets in draws]) == pytest.approx(exact.error, abs=2e-3)
    assert exact.mean_size == pytest.approx(2, abs=1e-12)


def test_a_classifier_in_place_of_scores():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((300, 3))
    classes = (features @ rng.standard_normal((3, 4))).argmax(axis=1)
    machine = LogisticRegression().fit(features, classes)
    by_model = AverageK(1.5, estimator=machine).fit(features).predict_set(features)
    p = machine.predict_proba(features)
    assert np.array_equal(by_model, AverageK(1.5).fit(p).predict_set(p))
    assert np.array_equal(TopK(2, estimator=machine).predict_set(features), TopK(2).predict_set(p))


def test_common_transforms_keep_the_sets_and_the_temperature_does_not():
    logits = np.random.default_rng(0).standard_normal((500, 5)) * np.linspace(0.2, 6, 500)[:, None]

    def softmax(z):
        odds = np.exp(z - z.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    p = softmax(logits)
    sets = AverageK(1.5).fit(p).predict_set(p)
    log_p = np.log(p)
    assert np.array_equal(sets, AverageK(1.5).fit(log_p).predict_set(log_p))
    warmer = softmax(logits / 4)
    assert not np.array_equal(sets, AverageK(1.5).fit(warmer).predict_set(warmer))
    assert np.array_equal(TopK(2).predict_set(p), TopK(2).predict_set(warmer))


def test_torch_tensors_of_every_precision():
    torch = pytest.importorskip("torch")
    p, labels = scored(50)
    for kind in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        tensor = torch.tensor(p, dtype=kind, requires_grad=True)
        values = tensor.detach().double().numpy()
        sets = AverageK(2).fit(tensor).predict_set(tensor)
        assert np.array_equal(sets, AverageK(2).fit(values).predict_set(values))
        assert set_metrics(torch.tensor(sets), torch.tensor(labels)).error == set_metrics(sets, labels).error
    assert np.array_equal(TopK(2).predict_set(torch.tensor(p)), TopK(2).predict_set(p))


def test_coverage_per_class():
    sets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 1, 0]], dtype=bool)
    found = set_metrics(sets, [0, 1, 1, 0])
    assert found.class_coverage[:2].tolist() == [0.5, 0.5]
    assert np.isnan(found.class_coverage[2])
    assert (found.mean_size, found.error, found.macro_error) == (1.25, 0.5, 0.5)
    assert found.sizes.tolist() == [0, 3, 1, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: AverageK(2).predict_set([[0.5, 0.5]]), "AverageK has no threshold yet; call fit"),
        (lambda: AverageK(3).fit([[0.5, 0.5]]), r"mean_size must lie in \(0, 2\]"),
        (lambda: AverageK(0.5, nonempty=True).fit([[0.5, 0.5]]), r"mean_size must lie in \[1, 2\]"),
        (lambda: AverageK(float("nan")).fit([[0.5, 0.5]]), "mean_size must lie in"),
        (lambda: TopK(1.5).predict_set([[0.5, 0.5]]), "size must be an integer in 1 … 2"),
        (lambda: TopK(3).predict_set([[0.5, 0.5]]), "size must be an integer in 1 … 2"),
        (lambda: score_matrix([[0.5, float("nan")]]), "scores must be finite"),
        (lambda: score_matrix([0.5, 0.5]), "scores must have shape"),
        (lambda: score_matrix([["a", "b"]]), "scores must be a matrix of numbers"),
        (lambda: set_metrics([[1, 0]], [2]), "labels must lie in 0 … 1"),
        (lambda: set_metrics([[1, 0]], [0.0]), "labels must be 1 integers"),
        (lambda: set_metrics([[1.5, 0]], [0]), "sets must be bool or probabilities"),
        (lambda: error_difference([[1, 0]], [[1, 0]], [0]), "both sets must have one shape"),
        (lambda: AmbiguityProfile([[0.5, 0.4]]), "probabilities must be >= 0 and sum to 1"),
        (lambda: AmbiguityProfile([[0.5, 0.5]], [1.0, 0.0]), "weights must have one entry"),
        (lambda: regret(AmbiguityProfile([[0.5, 0.5]]), [[0.5, 0.3, 0.2]], 1, "top"), "scores must have the shape"),
        (lambda: macro_scores(AmbiguityProfile([[1.0, 0.0]])), "every class must occur"),
        (lambda: two_level_errors(0.5, 3, 3), "size must lie in 1 … num_labels - 1"),
        (lambda: two_level_profile(0.5, 4, 3), "num_labels must lie in 1 … num_classes"),
        (lambda: uniform_errors(4, 5), "size must be an integer in 1 … num_classes"),
        (lambda: uniform_errors(4, 1.5), "size must be an integer in 1 … num_classes"),
        (lambda: two_level_errors(1.5, 10, 2), "hard_fraction must lie in"),
        (lambda: geometric_profile([2.0], 3), r"ratios must lie in \(0, 1\]"),
        (lambda: regret(AmbiguityProfile([[0.5, 0.5]]), [[0.5, 0.5]], 1, "avg"), "rule must be one of top, average"),
        (lambda: surrogate_regret(AmbiguityProfile([[0.5, 0.5]]), [[0.5, 0.5]], "mse"), "loss must be one of log"),
        (lambda: surrogate_regret(AmbiguityProfile([[0.5, 0.5]]), [[1.0, 1.0]], "log"), "scores must sum to 1"),
        (lambda: regret_factor("mse", 1), "loss must be one of log, brier, ova, got 'mse'"),
        (lambda: average_k_threshold([[0.5, 0.5], [0.8, 0.2]], 1, [1, 1]), "weights must be >= 0 and sum to 1"),
        (lambda: average_k_threshold([[0.5, 0.5], [0.8, 0.2]], 1, [2, -1]), "weights must be >= 0 and sum to 1"),
        (lambda: average_k_threshold([[0.5, 0.5], [0.8, 0.2]], 1, [1.0]), "weights must have one entry"),
        (lambda: average_k_threshold([[0.5, 0.5]], 1, ["a"]), "weights must be numbers"),
        (lambda: AverageK("2").fit([[0.5, 0.5]]), r"mean_size must lie in \(0, 2\], .* got '2'"),
        (lambda: AverageK(1).fit([[0.5, 0.3, 0.2]]).predict_set([[0.5, 0.5]]), "must have the 3 classes of fit, got 2"),
        (lambda: score_matrix(np.array([[0.5, np.nan]], dtype=object)), "scores must be finite"),
        (lambda: score_matrix(np.array([[0.5, "a"]], dtype=object)), "scores must be a matrix of numbers"),
        (lambda: score_matrix([[1j, 0.5]]), "scores must be a matrix of numbers"),
        (lambda: size_deviation(10, 0), "must be finite and > 0"),
        (lambda: size_deviation(10, 5, 2.0), "failure_probability must lie in"),
    ],
)
def test_bad_input_is_named_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_predictors_are_cloned_and_a_generator_goes_on():
    assert clone(AverageK(1.5, nonempty=True)).get_params()["mean_size"] == 1.5
    assert repr(TopK(2)) == "TopK(size=2)"
    rule = AverageK(1.5, random_state=np.random.default_rng(0)).fit(np.ones((40, 3)))
    drawn = np.vstack([rule.predict_set(np.ones((1, 3))) for _ in range(400)])
    assert drawn.sum(axis=1).mean() == pytest.approx(1.5, abs=0.15)
    assert drawn.mean(axis=0) == pytest.approx(0.5, abs=0.1)


def test_crowding_is_the_part_of_inputs_with_sets_larger_than_k():
    quarter = [[0.5, 0.5, 0.0, 0.0], *[[0.4, 0.2, 0.2, 0.2]] * 3]
    assert crowding(AmbiguityProfile(quarter), 1) == 0.25
    assert crowding(AmbiguityProfile([[1.0, 0.0], [1.0, 0.0]]), 1) == 0


def test_expected_size_counts_every_label_at_level_0():
    profile = two_level_profile(0.5, 3, 4)
    assert expected_size(profile, 0) == 4
    assert expected_size(profile, 1 / 3) == pytest.approx(2)
    assert expected_size(profile, 1) == pytest.approx(0.5)
    assert top_k_inclusion(profile.probabilities, 4).all()
