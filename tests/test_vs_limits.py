"""Hard-margin asymptotics: symmetries, limits, and the optimal ratio."""

import numpy as np
import pytest
from helpers.mixtures import points, solved
from hypothesis import given, settings
from tailbound.theory.core import gaussian
from tailbound.theory.vs_loss.asymptotics import (
    BelowThreshold,
    equal_opportunity_ratio,
    hard_margin,
    hard_margin_map,
    optimal_margin_ratio,
    separability_threshold,
)
from tailbound.theory.vs_loss.mixture import GaussianMixture

steady = settings(deadline=None, max_examples=60)


# symmetries and limits


@steady
@given(points())
def test_swapping_the_classes_inverts_the_ratio(point):
    mixture, aspect_ratio, ratio = point
    swapped = GaussianMixture(mixture.priors[::-1], tuple(row[::-1] for row in mixture.gram[::-1]), (1, -1))
    first, second = solved(mixture, aspect_ratio, ratio), solved(swapped, aspect_ratio, 1 / ratio)
    assert (first is None) == (second is None)
    if first is not None:
        np.testing.assert_allclose(second.errors[::-1], first.errors, rtol=1e-7, atol=1e-290)
        assert second.intercept == pytest.approx(-first.intercept, rel=1e-8, abs=1e-9)
        best, other = first.optimal_margin_ratio, second.optimal_margin_ratio
        assert (best == np.inf) == (other == 0)
        if 0 < best < np.inf:
            assert best * other == pytest.approx(1, rel=1e-7)


@steady
@given(points())
def test_only_the_difference_of_the_means_counts(point):
    mixture, aspect_ratio, ratio = point
    gram = np.asarray(mixture.gram)
    half = np.sqrt(max(gram[0, 0] + gram[1, 1] - 2 * gram[0, 1], 0)) / 2
    general = solved(mixture, aspect_ratio, ratio)
    centred = hard_margin_map(mixture.priors[0], half, aspect_ratio, ratio)
    assert (general is not None) == bool(centred.separable)
    if general is not None:
        np.testing.assert_allclose(general.errors, centred.errors, rtol=1e-6, atol=1e-290)
        assert general.margin == pytest.approx(float(centred.margin), rel=1e-9)


def test_balanced_classes_need_no_ratio():
    svm = hard_margin_map(0.5, [1.0, 2.0], [[0.6], [6.0]])
    np.testing.assert_allclose(svm.intercept, 0, atol=1e-13)
    np.testing.assert_allclose(svm.optimal_margin_ratio, 1, rtol=1e-12)
    np.testing.assert_allclose(svm.errors[..., 0], svm.errors[..., 1], rtol=1e-12)


def test_minority_errs_more():
    svm = hard_margin_map(np.geomspace(1e-3, 0.49, 20), 2.0, np.geomspace(0.1, 50, 20)[:, None])
    inside = svm.separable
    assert (svm.errors[inside, 0] > svm.errors[inside, 1]).all()
    assert (svm.optimal_margin_ratio[inside] > 1).all()
    push = gaussian.partial_expectation(svm.lifts)
    odds = (svm.priors[..., 1] / svm.priors[..., 0])[inside]
    np.testing.assert_allclose(push[inside, 0] / push[inside, 1], odds, rtol=1e-9)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    "mixture",
    [
        GaussianMixture.binary(0.1, (3, 2)),
        GaussianMixture.antipodal(0.01, 0.0),
        GaussianMixture.groups(0.1, (3, 2), class_prior=0.2),
    ],
)
def test_margin_vanishes_at_the_threshold(mixture, intercept):
    threshold = separability_threshold(mixture, intercept=intercept)
    margins = [hard_margin(mixture, threshold * (1 + e), intercept=intercept).margin for e in (1e-2, 1e-5, 1e-8)]
    assert margins[0] > margins[1] > margins[2] > 0
    assert margins[2] < 1e-6
    with pytest.raises(BelowThreshold, match=f"above {threshold:.6g} only"):
        hard_margin(mixture, threshold * (1 - 1e-8), intercept=intercept)


def test_no_intercept_threshold_does_not_see_the_prior_without_signal():
    for prior in (0.5, 0.1, 0.001):
        mixture = GaussianMixture.antipodal(prior, 0.0)
        assert separability_threshold(mixture, intercept=False) == pytest.approx(0.5, rel=1e-12)
        assert separability_threshold(mixture) <= 0.5


def test_large_ratios_reach_the_support_fractions():
    svm = hard_margin(GaussianMixture.antipodal(0.1, 1.5), 1.0)
    for required, k in (((1.0, 0.0), 1), ((0.0, 1.0), 0)):
        extreme = hard_margin(GaussianMixture.antipodal(0.1, 1.5), 1.0, required=required)
        assert extreme.errors[k] == pytest.approx(svm.support_fractions[k], rel=1e-9)
    np.testing.assert_allclose(svm.at_ratio([1e9, 1e-9]).errors[[0, 1], [1, 0]], svm.support_fractions[::-1], rtol=1e-6)


def test_training_margin_law():
    svm = hard_margin(GaussianMixture.binary(0.1, (3, 2)), 0.4, 4.0)
    edges = svm.required * svm.margin
    grid = np.linspace(-1, 8, 4001)
    cdf = svm.training_margin_cdf(grid)
    assert cdf.shape == (2, 4001)
    assert (np.diff(cdf) >= 0).all()
    for k in range(2):
        assert (cdf[k, grid < edges[k]] == 0).all()
        assert svm.training_margin_cdf(edges[k])[k] == pytest.approx(svm.support_fractions[k], rel=1e-12)
        mean = np.trapezoid(1 - cdf[k], grid) + grid[0]
        assert svm.training_margins[k] == pytest.approx(mean, abs=2e-3)
    inverse = edges + gaussian.inverse_partial_expectation(svm.training_margins - edges)
    np.testing.assert_allclose(inverse, svm.test_margins, rtol=1e-12)


# the optimal ratio


@steady
@given(points())
def test_errors_are_equal_and_least_at_the_optimum(point):
    mixture, aspect_ratio, _ = point
    svm = solved(mixture, aspect_ratio)
    if svm is None:
        return
    best = float(svm.optimal_margin_ratio)
    ratios = np.geomspace(1e-3, 1e3, 61)
    errors = svm.at_ratio(ratios).balanced_error
    if 0 < best < np.inf:
        at = svm.at_ratio(best)
        np.testing.assert_allclose(*at.errors, rtol=1e-6, atol=1e-290)
        assert at.balanced_error <= errors.min() * (1 + 1e-9)
    else:
        fall = errors if best == np.inf else errors[::-1]
        assert (np.diff(fall) <= 1e-15).all()


def test_optimal_ratio_edges():
    np.testing.assert_array_equal(
        optimal_margin_ratio([0.0, 0.0, 2.0, 3.0], [2.0, 3.0, 0.0, 0.0], 1.0), [np.inf, np.inf, 0.0, 0.0]
    )
    assert optimal_margin_ratio(1.0, 1.0, 0.3) == 1
    assert hard_margin(GaussianMixture.antipodal(0.98, 1.5), 2.0).optimal_margin_ratio == 0


def test_optimal_ratio_tends_to_the_class_ratio():
    svm = hard_margin_map([0.3, 0.1, 0.01], 2.0, np.array([[1e2], [1e4], [1e6]]))
    distance = abs(svm.optimal_margin_ratio / ((1 - svm.priors[..., 0]) / svm.priors[..., 0]) - 1)
    assert (np.diff(distance, axis=0) < 0).all()
    assert (distance[-1] < 1e-2).all()


def test_equal_opportunity_has_its_limits():
    assert equal_opportunity_ratio(GaussianMixture.groups(0.1, (1.5, 2.5)), 0.8) == np.inf
    assert equal_opportunity_ratio(GaussianMixture.groups(0.9, (2.5, 1.5)), 0.8) == 0
    ratio = equal_opportunity_ratio(GaussianMixture.groups(0.3, (3, 3)), 1.0)
    inverse = equal_opportunity_ratio(GaussianMixture.groups(0.7, (3, 3)), 1.0)
    assert ratio * inverse == pytest.approx(1, rel=1e-9)
    assert equal_opportunity_ratio(GaussianMixture.groups(0.5, (2, 2)), 1.0) == pytest.approx(1, rel=1e-9)
