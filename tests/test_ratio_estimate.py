"""Leave-one-out margins against refits; the estimated margin ratio: invariances, limits, and errors it saves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import stdtr
from scipy.stats import norm
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.gaussian import partial_expectation
from tailbound.theory.vs_loss.leave_one_out import leave_one_out
from tailbound.theory.vs_loss.ratio_estimate import (
    LARGEST_RATIO,
    METHODS,
    best_shift,
    common_spread,
    estimate_margin_ratio,
    fresh_margins,
    ratio_of,
    shift_of,
)
from tailbound.theory.vs_loss.svm import NotSeparable, solve_svm

steady = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)
SIGNS = np.array([1.0, -1.0])


def draw(seed, minority=8, majority=30, dimension=25, signal=1.0, spread=1.0):
    """Features and labels, two normal classes, the minority `spread` times as wide."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, -1], [minority, majority])
    features = rng.standard_normal((labels.size, dimension)) * np.where(labels > 0, spread, 1.0)[:, None]
    features[:, 0] += signal * labels
    return features, labels


def refitted(gram, labels, required, intercept):
    margins = []
    for i in range(len(gram)):
        rest = np.arange(len(gram)) != i
        machine = solve_svm(gram[np.ix_(rest, rest)], labels[rest], required[rest], intercept=intercept)
        margins.append(labels[i] * (gram[i, rest] @ machine.coefficients + machine.intercept))
    return np.array(margins)


# margins left out one by one


@steady
@given(seeds, st.sampled_from(["free", "none", "penalised"]), st.sampled_from([0.3, 1.0, 4.0]))
def test_left_out_margins_are_those_of_refits(seed, intercept, ratio):
    features, labels = draw(seed)
    gram, required = features @ features.T, np.where(labels > 0, ratio, 1.0)
    machine = solve_svm(gram, labels, required, intercept=intercept)
    found = leave_one_out(gram, machine)
    expected = refitted(gram, labels, required, intercept)
    np.testing.assert_allclose(found.margins, expected, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(labels * machine.scores, np.maximum(required, expected), rtol=1e-8)
    closed = leave_one_out(gram, machine, follow=False).margins
    staying = found.exchanges == 0
    np.testing.assert_allclose(closed[staying], expected[staying], rtol=1e-8, atol=1e-8)
    assert not np.allclose(closed, expected, atol=1e-4) or staying.all()


@pytest.mark.parametrize(
    "features",
    [
        np.vstack([np.eye(6), np.eye(6)]),
        np.repeat(np.arange(12.0)[:, None], 3, axis=1),
        np.array([[k % 3, k // 3, (k * k) % 5] for k in range(12)], dtype=float) + 4 * (np.arange(12) < 5)[:, None],
        np.outer(np.arange(12.0) >= 6, [1.0, 2.0]),
    ],
    ids=["each twice", "on a line", "a lattice", "two points"],
)
def test_degenerate_active_sets(features):
    labels = np.where(np.arange(12) < 6, 1, -1)
    if np.array_equal(features[:6], features[6:]):
        labels = np.where(np.arange(12) % 6 < 3, 1, -1)  # copies have equal labels
    elif features[:5].sum() > features[5:].sum():
        labels = np.where(np.arange(12) < 5, 1, -1)
    gram = features @ features.T
    found = leave_one_out(gram, solve_svm(gram, labels)).margins
    np.testing.assert_allclose(found, refitted(gram, labels, np.ones(12), "free"), atol=1e-7)


def test_left_out_margins_of_a_kernel():
    features, labels = draw(5, dimension=3)
    squared = (features**2).sum(axis=1)
    gram = np.exp(-(squared[:, None] + squared - 2 * features @ features.T) / 4)
    found = leave_one_out(gram, solve_svm(gram, labels)).margins
    np.testing.assert_allclose(found, refitted(gram, labels, np.ones(labels.size), "free"), atol=1e-8)


def test_leave_one_out_refuses():
    features, labels = draw(0)
    gram = features @ features.T
    with pytest.raises(InputError, match="needs a hard margin"):
        leave_one_out(gram, solve_svm(gram, labels, upper=1.0))
    with pytest.raises(InputError, match="at least 2 examples of each class, got 1"):
        leave_one_out(gram[7:, 7:], solve_svm(gram[7:, 7:], labels[7:]))
    with pytest.raises(InputError, match="38 x 38, got shape"):
        leave_one_out(gram[1:, 1:], solve_svm(gram, labels))


# the parts of the estimate


@given(st.floats(1e-3, 1e3))
def test_shifts_and_ratios_are_inverse(ratio):
    assert float(ratio_of(shift_of(ratio))) == pytest.approx(ratio, rel=1e-9)
    assert float(shift_of(1 / ratio)) == pytest.approx(-float(shift_of(ratio)), abs=1e-12)


def test_shifts_stay_in_the_band():
    np.testing.assert_allclose(ratio_of([-np.inf, -1.0, 1.0, 50.0]), [1e-4, 1e-4, 1e4, 1e4], rtol=1e-9)
    with pytest.raises(InputError, match="ratio must be > 0"):
        shift_of([1.0, 0.0])


@steady
@given(st.floats(-1, 3), st.floats(0.5, 4), st.floats(0.3, 3), st.floats(0.3, 3), st.sampled_from([3.0, 20.0, np.inf]))
def test_best_shift_is_the_minimum(plus, gap, wide, narrow, degrees):
    means, spreads = np.array([plus, gap - plus]), np.array([wide, narrow])

    def error(shift):
        return float(stdtr(degrees, -(means + shift * SIGNS) / spreads).sum())

    grid = np.linspace(-12, 12, 2401)
    start = grid[np.argmin([error(shift) for shift in grid])]
    brute = minimize_scalar(error, bounds=(start - 0.02, start + 0.02), method="bounded", options={"xatol": 1e-9})
    found = float(best_shift(means, spreads, degrees))
    assert error(found) <= brute.fun + 1e-9


def test_best_shift_of_laws_on_the_wrong_sides():
    assert best_shift([-1.0, 0.5], [1.0, 3.0]) == 0.75


def test_best_shift_of_many_pairs_at_once():
    means, spreads = np.array([[1.0, 2.0], [0.0, 3.0]]), np.ones((2, 2))
    np.testing.assert_allclose(best_shift(means, spreads), [0.5, 1.5], atol=1e-6)


@given(st.floats(-3, 6), st.floats(0.05, 3), st.floats(0.2, 5))
def test_training_law_is_inverted(fresh, margin, spread):
    mean = fresh + spread * partial_expectation((margin - fresh) / spread)
    surplus = (mean - margin) / spread
    if surplus > 1e-9:
        assert float(fresh_margins(mean, margin, spread)) == pytest.approx(fresh, abs=1e-5 * (1 + abs(fresh)))


def test_training_law_at_its_ends():
    assert fresh_margins(1.0, 1.0) == -np.inf
    with pytest.raises(InputError, match="no training margin lies below the margin"):
        fresh_margins(0.5, 1.0)
    means = np.array([1.0, 2.0])  # all of the minority on the margin
    spread = common_spread(means, 1.0, 0.3, [0.1, 0.9])
    assert norm.cdf((1 - fresh_margins(2.0, 1.0, spread)) / spread) == pytest.approx(0.2 / 0.9, abs=1e-6)


# the estimate


@pytest.mark.parametrize("method", METHODS)
def test_units_origin_and_names_of_the_classes_do_not_matter(method):
    features, labels = draw(3, minority=12, majority=60, dimension=60, signal=1.5)
    base = estimate_margin_ratio(features @ features.T, labels, method=method)
    for moved in (1000 * features, 1e-3 * features, features + 2.0):
        again = estimate_margin_ratio(moved @ moved.T, labels, method=method)
        scale = 1 / again.margin * base.margin
        assert again.ratio == pytest.approx(base.ratio, rel=1e-4)
        assert again.interval == pytest.approx(base.interval, rel=1e-3)
        if method != "training-means":
            np.testing.assert_allclose(again.spreads, np.divide(base.spreads, scale), rtol=1e-4)
    swapped = estimate_margin_ratio(features @ features.T, -labels, method=method)
    assert swapped.ratio == pytest.approx(1 / base.ratio, rel=1e-4)
    np.testing.assert_allclose(swapped.errors(2.0), base.errors(0.5)[::-1], rtol=1e-4)


def test_what_an_estimate_holds():
    features, labels = draw(1, minority=15, majority=60, dimension=60, signal=1.5)
    gram = features @ features.T
    machine = solve_svm(gram, labels)
    found = estimate_margin_ratio(gram, labels, machine)
    assert found.interval[0] <= found.ratio <= found.interval[1]
    assert float(ratio_of(found.shift)) == pytest.approx(found.ratio)
    assert found.margin == pytest.approx(1 / machine.norm)
    np.testing.assert_array_equal(found.margins, leave_one_out(gram, machine).margins)
    assert found.mean_margins[0] == pytest.approx(found.margins[labels > 0].mean() * found.margin)
    errors = found.errors([0.1, 1.0, found.ratio, 100.0])
    assert errors.shape == (4, 2)
    assert (np.diff(errors[:, 0]) < 0).all()
    assert (np.diff(errors[:, 1]) > 0).all()
    assert errors.mean(axis=1).argmin() == 2
    again = estimate_margin_ratio(gram, labels, machine)
    assert again.interval == found.interval
    assert estimate_margin_ratio(gram, labels, machine, random_state=1).interval != found.interval
    wider = estimate_margin_ratio(gram, labels, machine, confidence=0.99).interval
    assert wider[0] <= found.interval[0]
    assert found.interval[1] <= wider[1]


def exact_errors(features, labels, machine, ratio, signal, spread=1.0):
    """Balanced test error of the machine at a ratio on the mixture of `draw`."""
    weights = machine.coefficients @ features
    margins = np.array([signal * weights[0] + machine.intercept, signal * weights[0] - machine.intercept])
    reach = (margins + float(shift_of(ratio)) * SIGNS) / (np.array([spread, 1.0]) * np.linalg.norm(weights))
    return float(norm.sf(reach).mean())


@pytest.mark.parametrize(("spread", "gap"), [(1.0, 0.01), (1.6, 0.015)], ids=["equal spreads", "wide minority"])
def test_estimate_saves_errors_on_mixtures(spread, gap):
    rows = []
    for seed in range(10):
        features, labels = draw(seed, minority=25, majority=175, dimension=200, signal=2.0, spread=spread)
        gram = features @ features.T
        machine = solve_svm(gram, labels)
        ratios = [estimate_margin_ratio(gram, labels, machine, method=method).ratio for method in METHODS]
        errors = [exact_errors(features, labels, machine, ratio, 2.0, spread) for ratio in (*ratios, 1.0, 7**0.25)]
        grid = [exact_errors(features, labels, machine, ratio, 2.0, spread) for ratio in np.geomspace(0.1, 1e3, 200)]
        rows.append([*errors, min(grid)])
    left_out, _, naive, plain, ldam, oracle = np.mean(rows, axis=0)
    assert oracle <= left_out <= oracle + gap
    assert left_out < min(naive, plain, ldam)


@pytest.mark.parametrize("spread", [1.0, 1.6], ids=["equal spreads", "wide minority"])
def test_intervals_contain_the_best_ratio(spread):
    """Nominally 0.9 of them; by chance up to 0.1 (two standard errors of 40 draws) away."""
    found = []
    for seed in range(40):
        features, labels = draw(seed, minority=12, majority=84, dimension=100, signal=2.0, spread=spread)
        gram = features @ features.T
        machine = solve_svm(gram, labels)
        weights = machine.coefficients @ features
        means = 2.0 * weights[0] + SIGNS * machine.intercept
        best = float(ratio_of(best_shift(means, np.linalg.norm(weights) * np.array([spread, 1.0]))))
        low, high = estimate_margin_ratio(gram, labels, machine, confidence=0.9).interval
        found.append(low <= best <= high)
    assert np.mean(found) == pytest.approx(0.9, abs=0.1)


def test_estimates_agree_on_isotropic_mixtures():
    ratios = []
    for seed in range(6):
        features, labels = draw(seed, minority=80, majority=320, dimension=400, signal=2.0)
        gram = features @ features.T
        machine = solve_svm(gram, labels)
        ratios.append([np.log(estimate_margin_ratio(gram, labels, machine, method=method).ratio) for method in METHODS])
    left_out, law, naive = np.exp(np.median(ratios, axis=0))
    assert law == pytest.approx(left_out, rel=0.15)
    assert 1 < naive < 0.8 * left_out  # overfitting of the minority


def test_notes_say_where_the_estimate_ends():
    def notes(features, labels, **options):
        return " | ".join(estimate_margin_ratio(features @ features.T, labels, **options).notes)

    features, labels = draw(1, minority=15, majority=60, dimension=60, signal=2.5)
    assert notes(features, labels) == ""
    few, few_labels = features[9:], labels[9:]
    assert "6 examples of a class fix its mean margin to 0.41 spreads only" in notes(few, few_labels)
    copied = np.vstack([features, features[-3:]])
    assert "6 examples occur more than once" in notes(copied, np.append(labels, [-1, -1, -1]))
    noise, noise_labels = draw(2, minority=15, majority=60, dimension=100, signal=0.0)
    assert "no better than guessed" in notes(noise, noise_labels) or "no ratio moves" in notes(noise, noise_labels)
    heavy = features * np.random.default_rng(0).standard_t(2.1, size=len(labels))[:, None] ** 2 + 20 * labels[:, None]
    assert "heavy tails" in notes(heavy, labels)
    wide, wide_labels = draw(3, minority=60, majority=300, dimension=300, signal=6.0, spread=3.0)
    assert "the classes differ in spread" in notes(wide, wide_labels, method="training-law")


def test_a_best_shift_beyond_the_band():
    features, labels = draw(4, minority=12, majority=300, dimension=320, signal=1.2)
    found = estimate_margin_ratio(features @ features.T, labels)
    assert found.shift > 1
    assert found.ratio == pytest.approx(LARGEST_RATIO)
    assert "beyond its end" in found.notes[0]
    assert np.isfinite(found.errors()).all()


def test_estimate_refuses():
    features, labels = draw(0)
    gram = features @ features.T
    with pytest.raises(InputError, match="did you mean training-law"):
        estimate_margin_ratio(gram, labels, method="training-laws")
    for options in ({"intercept": "none"}, {"upper": 1.0}, {"required": 2.0}):
        with pytest.raises(InputError, match="pass a number as margin_ratio"):
            estimate_margin_ratio(gram, labels, solve_svm(gram, labels, **options))
    with pytest.raises(InputError, match="labels differ"):
        estimate_margin_ratio(gram, -labels, solve_svm(gram, labels))
    with pytest.raises(InputError, match="confidence must lie in"):
        estimate_margin_ratio(gram, labels, confidence=1.0)
    with pytest.raises(NotSeparable):
        estimate_margin_ratio(np.ones((4, 4)), [1, 1, -1, -1])
    apart = np.eye(8)  # every example on the margin
    with pytest.raises(InputError, match="training margins tell nothing"):
        estimate_margin_ratio(apart, np.repeat([1, -1], 4), method="training-law")
