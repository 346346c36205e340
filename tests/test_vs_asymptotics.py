"""Hard-margin asymptotics: reference values, the whole box of settings, slow and precise solves, errors."""

import mpmath
import numpy as np
import pytest
from helpers.mixtures import between, logs, points, solved
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize
from tailbound.theory.core import gaussian
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.fixed_point import NotConverged
from tailbound.theory.vs_loss.asymptotics import (
    BelowThreshold,
    equal_opportunity_ratio,
    hard_margin,
    hard_margin_map,
    margin_ratio_floor,
    separability_threshold,
    squared_score_ceiling,
)
from tailbound.theory.vs_loss.certified_margin import certified_margin
from tailbound.theory.vs_loss.margin_equations import solve_components
from tailbound.theory.vs_loss.mixture import GaussianMixture

steady = settings(deadline=None, max_examples=60)


# reference values: solved here at 12 digits and confirmed by simulation; those of antipodal means also published


@pytest.mark.parametrize(
    ("mixture", "aspect_ratio", "ratio", "norm", "intercept", "errors"),
    [
        ((0.2, (2, 2), -4), 1.5, 1, 0.5263, -0.368, (0.2515, 0.0193)),
        ((0.2, (2, 2), -4), 1.5, 3, 1.0527, 0.264, (0.0527, 0.1319)),
        ((0.1, (3, 1.5), 0), 1.0, 1, 0.5898, -1.042, (0.5478, 0.0147)),
        ((0.1, (3, 1.5), 0), 1.0, 4, 1.4746, -1.105, (0.1848, 0.1229)),
        ((0.1, (3, 2), 0), 0.4, 1, 0.8944, -1.160, (0.3136, 0.0184)),
        ((0.1, (3, 2), 0), 0.8, 1, 0.6270, -0.931, (0.4348, 0.0133)),
        ((0.15, (1.75, 1.75), -(1.75**2)), 0.4, 2, None, None, (0.1623, 0.0609)),
    ],
)
def test_errors_against_reference(mixture, aspect_ratio, ratio, norm, intercept, errors):
    svm = hard_margin(GaussianMixture.binary(*mixture), aspect_ratio, ratio)
    np.testing.assert_allclose(svm.errors, errors, atol=6e-5)
    if norm:
        np.testing.assert_allclose([svm.norm, svm.intercept * svm.norm], [norm, intercept], atol=6e-4)


def test_published_alignment_intercept_and_margin():
    svm = hard_margin(GaussianMixture.antipodal(0.15, 1.75), 0.4)
    np.testing.assert_allclose([svm.direction[0], svm.intercept, svm.margin], [0.7235, -0.5960, 0.9447], atol=6e-5)
    best = svm.at_ratio(svm.optimal_margin_ratio)
    assert svm.optimal_margin_ratio == pytest.approx(4.42, abs=0.005)
    np.testing.assert_allclose(best.errors, 0.1027, atol=6e-5)


@pytest.mark.parametrize(
    ("prior", "alignment", "ratio"),
    [(0.5, 0.605, 1), (0.2, 0.560, 2.78), (0.1, 0.484, 6.16), (0.05, 0.390, 19.1), (0.02, 0.272, np.inf)],
)
def test_published_optimal_ratios(prior, alignment, ratio):
    svm = hard_margin(GaussianMixture.antipodal(prior, 1.5), 2.0)
    assert svm.direction[0] == pytest.approx(alignment, abs=6e-4)
    assert svm.optimal_margin_ratio == pytest.approx(ratio, rel=3e-3)


@pytest.mark.parametrize(
    ("strength", "prior", "best", "ldam", "errors"),
    [
        (1.5, 0.3, 1.94, 1.24, (0.181, 0.172, 0.165)),
        (1.5, 0.1, 6.74, 1.73, (0.322, 0.255, 0.194)),
        (1.5, 0.05, 26.3, 2.09, (0.444, 0.352, 0.230)),
        (2.5, 0.3, 1.42, 1.24, (0.031, 0.026, 0.025)),
        (2.5, 0.1, 2.68, 1.73, (0.105, 0.045, 0.033)),
        (2.5, 0.02, 13.4, 2.65, (0.481, 0.278, 0.088)),
    ],
)
def test_ldam_against_the_optimum(strength, prior, best, ldam, errors):
    svm = hard_margin_map(prior, strength, 1.0)
    ratio = ((1 - prior) / prior) ** 0.25
    assert svm.optimal_margin_ratio == pytest.approx(best, rel=3e-3)
    assert ratio == pytest.approx(ldam, abs=6e-3)
    at = svm.at_ratio([1.0, ratio, float(svm.optimal_margin_ratio)])
    np.testing.assert_allclose(at.balanced_error, errors, atol=6e-4)


def test_optimal_ratio_and_thresholds_against_reference():
    mixture = GaussianMixture.binary(0.1, (3, 2))
    for aspect_ratio, ratio, error in ((0.4, 6.066204, 0.0989775), (0.8, 4.610141, 0.1169597)):
        svm = hard_margin(mixture, aspect_ratio)
        assert svm.optimal_margin_ratio == pytest.approx(ratio, abs=6e-7)
        np.testing.assert_allclose(svm.at_ratio(ratio).class_errors, error, atol=6e-7)
    for prior, strength, inverse in ((0.5, 0.0, 2.0), (0.5, 1.0, 3.7000), (0.15, 1.75, 18.0083)):
        threshold = separability_threshold(GaussianMixture.antipodal(prior, strength))
        assert 1 / threshold == pytest.approx(inverse, abs=6e-5)


@pytest.mark.parametrize(
    ("aspect_ratio", "ratio", "errors", "best"),
    [
        (0.5, 3, (0.5917, 0.1514), np.inf),
        (1.0, 3, (0.4562, 0.1302), 12.54),
        (3.0, 3, (0.2056, 0.0663), 4.114),
        (3.0, 1, (0.7716, 0.0011), 4.114),
    ],
)
def test_mismatched_features_against_reference(aspect_ratio, ratio, errors, best):
    norm = np.sqrt(3 * aspect_ratio)
    svm = hard_margin(GaussianMixture.binary(0.1, (norm, norm)), aspect_ratio, ratio)
    np.testing.assert_allclose(svm.errors, errors, atol=6e-5)
    assert svm.optimal_margin_ratio == pytest.approx(best, rel=1e-3)


def test_groups_against_reference():
    mixture = GaussianMixture.groups(0.1, (3, 2))
    for ratio, first, second in ((1, 0.2502, 0.0942), (3, 0.1169, 0.1457)):
        svm = hard_margin(mixture, 1.0, required=(ratio, ratio, 1, 1))
        np.testing.assert_allclose(svm.errors, [first, first, second, second], atol=6e-5)
    equal = GaussianMixture.groups(0.1, (3, 3))
    for aspect_ratio, ratio in ((0.6, 3.4314), (1.0, 3.3849), (2.0, 3.7196)):
        assert equal_opportunity_ratio(equal, aspect_ratio) == pytest.approx(ratio, abs=6e-5)


# the whole box


def test_map_over_the_box():
    """Priors .001 to .5, aspect ratios .05 to 50, signals 0 to 8, ratios .01 to 100: 38 400 settings."""
    prior = np.geomspace(1e-3, 0.5, 20)[:, None, None, None]
    aspect_ratio = np.geomspace(0.05, 50, 24)[:, None, None]
    strength, ratio = np.array([0, 0.5, 1, 1.5, 2.5, 4, 6, 8])[:, None], np.geomspace(0.01, 100, 10)
    svm = hard_margin_map(prior, strength, aspect_ratio, ratio)
    assert svm.margin.shape == (20, 24, 8, 10)
    assert svm.errors.shape == (20, 24, 8, 10, 2)
    inside = svm.separable
    assert 0.8 < inside.mean() < 1
    assert svm.residual[inside].max() <= 1e-10
    assert (svm.margin[inside] > 0).all()
    score = svm.direction[..., 0] * strength
    alignment = svm.direction[..., 0][inside]
    assert (alignment >= 0).all()
    assert (alignment < 1).all()
    np.testing.assert_array_equal(inside, np.broadcast_to(inside[..., :1], inside.shape))  # whatever the ratio
    moved = hard_margin_map(prior, strength, aspect_ratio).at_ratio(ratio)
    np.testing.assert_allclose(moved.errors, svm.errors, rtol=1e-9, atol=1e-300)
    # aspect ratio: separable beyond a threshold, wider margins, worse alignment
    np.testing.assert_array_equal(np.sort(inside, axis=1), inside)
    with np.errstate(invalid="ignore"):
        assert not (np.diff(svm.margin, axis=1) <= 0).any()
        assert not (np.diff(svm.direction[..., 0], axis=1) > 1e-15).any()
        assert not (np.diff(score, axis=2) < -1e-13).any()  # more signal, larger scores
        assert not (
            score > np.sqrt(squared_score_ceiling(prior, np.maximum(strength, 1e-9), aspect_ratio)) + 1e-9
        ).any()
        signal = strength[1:]
        best = svm.optimal_margin_ratio[:, :, 1:]
        assert not (best < margin_ratio_floor(prior, signal, aspect_ratio) * (1 - 1e-9)).any()
        shares = svm.support_fractions
        assert not (svm.errors > shares * (1 + 1e-9)).any()


@steady
@given(points())
def test_two_classes_against_the_convex_solver(point):
    """One root against Newton's method on the convex program of any number of components."""
    mixture, aspect_ratio, ratio = point
    svm = solved(mixture, aspect_ratio, ratio)
    signs = np.array(mixture.signs)
    signals = signs[:, None] * mixture.coordinates
    required = np.where(signs > 0, ratio, 1.0)
    margin, direction, middle = solve_components(
        np.array(mixture.priors), signs, signals, required, np.asarray(aspect_ratio), True
    )
    assert (margin > 0) == (svm is not None)
    if svm is not None:
        assert svm.residual <= 1e-10
        np.testing.assert_allclose(margin, svm.margin, rtol=1e-10)
        np.testing.assert_allclose(direction, svm.direction, atol=1e-10)
        np.testing.assert_allclose(middle, svm.intercept, rtol=1e-9, atol=1e-10)
        assert aspect_ratio > separability_threshold(mixture) * (1 - 1e-12)
    else:
        assert aspect_ratio < separability_threshold(mixture) * (1 + 1e-12)


@steady
@given(points(), st.floats(0.05, 0.95), st.booleans())
def test_components_over_the_box(point, share, intercept):
    """Groups, and problems without an intercept: the equations hold, and splitting a component changes nothing."""
    mixture, aspect_ratio, ratio = point
    plus, minus = mixture.priors
    gram = np.asarray(mixture.gram)[np.ix_([0, 0, 1], [0, 0, 1])]
    split = GaussianMixture((share * plus, (1 - share) * plus, minus), tuple(map(tuple, gram)), (1, 1, -1))
    whole, parts = (solved(each, aspect_ratio, ratio, intercept=intercept) for each in (mixture, split))
    assert (whole is None) == (parts is None)
    if whole is not None:
        assert parts.residual <= 1e-10
        np.testing.assert_allclose(parts.margin, whole.margin, rtol=1e-9)
        np.testing.assert_allclose(parts.errors[[0, 2]], whole.errors, rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(parts.class_errors, whole.class_errors, rtol=1e-7, atol=1e-12)
        assert parts.balanced_error == pytest.approx(whole.balanced_error, rel=1e-7)
        assert parts.error == pytest.approx(whole.error, rel=1e-7)


@steady
@given(logs, logs, logs, st.floats(0, 5), st.floats(0, 5), st.floats(-1, 1), st.floats(0.05, 0.95))
def test_group_equations_over_the_box(group_prior, aspect_ratio, ratio, first, second, cosine, class_prior):
    mixture = GaussianMixture.groups(
        between(1e-3, 0.5, group_prior), (first, second), cosine * first * second, class_prior=class_prior
    )
    gamma, ratio = between(0.05, 50, aspect_ratio), between(0.01, 100, ratio)
    svm = solved(mixture, gamma, required=(ratio, ratio, 1, 1))
    assert (svm is None) == (solved(mixture, gamma) is None)
    if svm is not None:
        assert svm.residual <= 1e-10


def slow(mixture, aspect_ratio, required, intercept=True):
    """u by bisection on the minimum of F over (ρ, b'), found by BFGS: no code in common with the library."""
    signs, priors = np.array(mixture.signs), np.array(mixture.priors)
    signals = signs[:, None] * mixture.coordinates

    def energy(t):
        mass, density = gaussian.tail(-t), gaussian.density(t)
        return (1 + t * t) * mass + t * density, 2 * (t * mass + density)

    def inner(u):
        def objective(x):
            rho, b = (x[:-1], x[-1]) if intercept else (x, 0.0)
            value, slope = energy(required * u - signals @ rho - signs * b)
            gradient = 2 * aspect_ratio * rho - signals.T @ (priors * slope)
            tail = [-signs @ (priors * slope)] if intercept else []
            return priors @ value - aspect_ratio * (1 - rho @ rho), np.append(gradient, tail)

        start = np.zeros(signals.shape[1] + intercept)
        return minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-9})

    u = brentq(lambda u: inner(u).fun, 1e-6, 100, xtol=1e-11)
    return u, inner(u).x


SLOW = [
    (GaussianMixture.binary(0.2, (2, 2), -4), 1.5, (3, 1)),
    (GaussianMixture.binary(0.05, (3, 2), 1.0), 0.3, (1, 1)),
    (GaussianMixture.antipodal(0.3, 1.0), 8.0, (0.1, 1)),
    (GaussianMixture.groups(0.1, (3, 2)), 1.0, (3, 3, 1, 1)),
    (GaussianMixture.groups(0.2, (2, 3), 1.0, class_prior=0.3), 2.0, (2, 1, 1, 3)),
]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(("mixture", "aspect_ratio", "required"), SLOW)
def test_against_a_slow_bracketed_solve(mixture, aspect_ratio, required, intercept):
    u, x = slow(mixture, aspect_ratio, np.array(required, dtype=float), intercept)
    svm = hard_margin(mixture, aspect_ratio, required=required, intercept=intercept)
    stated = np.append(svm.direction, [svm.intercept] if intercept else [])
    assert svm.margin == pytest.approx(u, rel=1e-7)
    np.testing.assert_allclose(stated, x, atol=1e-6)


@pytest.mark.parametrize(("mixture", "aspect_ratio", "required"), SLOW)
def test_against_high_precision_roots(mixture, aspect_ratio, required):
    """The equations solved by mpmath at 40 digits in the library's unknowns."""
    mp = mpmath.mp.clone()
    mp.dps = 40
    svm = hard_margin(mixture, aspect_ratio, required=required)
    rank, signs = svm.direction.size, mixture.signs

    def equations(*unknown):
        u, b, rho = unknown[0], unknown[1], unknown[2:]
        residuals = [mp.mpf(0), -aspect_ratio * (1 - sum(r * r for r in rho)), *(aspect_ratio * r for r in rho)]
        for prior, y, sigma, delta in zip(mixture.priors, signs, svm.signals.tolist(), required, strict=True):
            t = delta * u - sum(s * r for s, r in zip(sigma, rho, strict=True)) - y * b
            first = t * mp.ncdf(t) + mp.npdf(t)
            residuals[0] += prior * y * first
            residuals[1] += prior * ((1 + t * t) * mp.ncdf(t) + t * mp.npdf(t))
            for k in range(rank):
                residuals[2 + k] -= prior * first * sigma[k]
        return residuals

    found = np.array([svm.margin, svm.intercept, *svm.direction])
    root = np.array(mp.findroot(equations, (found * 1.001).tolist(), tol=1e-60).tolist(), dtype=float).ravel()
    np.testing.assert_allclose(found, root, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("prior", ["0.001", "0.03", "0.5"])
@pytest.mark.parametrize(("strength", "aspect_ratio"), [(0, 3), ("2.5", "0.07"), (6, "0.05"), (1, 50)])
def test_against_certified_roots(prior, strength, aspect_ratio):
    found = certified_margin(prior, strength, aspect_ratio)
    svm = hard_margin_map(float(prior), float(strength), float(aspect_ratio))
    if not svm.separable:
        assert found.margin < 0
        return
    certified = [float(ball.mid()) for ball in (found.margin, found.score, found.intercept)]
    np.testing.assert_allclose([svm.margin, svm.test_margins.mean(), svm.intercept], certified, rtol=1e-12, atol=1e-13)
    ratio = float(found.optimal_ratio.mid())
    assert svm.optimal_margin_ratio == pytest.approx(ratio if ratio > 0 else np.inf, rel=1e-9)


# use


def test_at_ratio_broadcasts():
    svm = hard_margin(GaussianMixture.binary(0.1, (3, 2)), 0.4)
    path = svm.at_ratio(np.array([[0.5, 1.0], [2.0, 4.0]]))
    assert path.errors.shape == (2, 2, 2)
    assert path.residual.max() < 1e-12
    np.testing.assert_allclose(path.margin_ratio, [[0.5, 1.0], [2.0, 4.0]], rtol=1e-14)
    np.testing.assert_allclose(path.errors[0, 1], svm.errors, rtol=1e-12)
    np.testing.assert_allclose(path.at_ratio(1.0).margin, svm.margin, rtol=1e-12)
    np.testing.assert_allclose(path.optimal_margin_ratio, svm.optimal_margin_ratio, rtol=1e-9)
    groups = hard_margin(GaussianMixture.groups(0.2, (3, 2), class_prior=0.3), 1.0)
    direct = hard_margin(GaussianMixture.groups(0.2, (3, 2), class_prior=0.3), 1.0, 5.0)
    np.testing.assert_allclose(groups.at_ratio(5.0).errors, direct.errors, rtol=1e-8)


def test_map_of_ten_thousand_points():
    svm = hard_margin_map(np.geomspace(1e-3, 0.5, 100), 1.5, np.geomspace(0.05, 50, 100)[:, None])
    assert svm.balanced_error.shape == (100, 100)
    assert np.isnan(svm.optimal_margin_ratio[~svm.separable]).all()


def test_one_point_is_unpacked():
    svm = hard_margin(GaussianMixture.antipodal(0.2, 2.0), 1.5)
    assert svm.separable
    for value in (svm.margin, svm.intercept, svm.norm, svm.residual, svm.error, svm.balanced_error):
        assert np.ndim(value) == 0
    assert svm.errors.shape == svm.class_errors.shape == (2,)
    assert svm.balanced_error == pytest.approx(svm.class_errors.mean())
    assert svm.error == pytest.approx(0.2 * svm.errors[0] + 0.8 * svm.errors[1])


BINARY, GROUPS = GaussianMixture.binary(0.1, (3, 2)), GaussianMixture.groups(0.1, (3, 2))


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (lambda: hard_margin(BINARY, 0.0), "aspect_ratio"),
        (lambda: hard_margin(BINARY, [0.4, 0.8]), "hard_margin_map"),
        (lambda: hard_margin(BINARY, 0.4, -1.0), "margin_ratio"),
        (lambda: hard_margin(BINARY, 0.4, required=(1,)), "2 margins >= 0"),
        (lambda: hard_margin(BINARY, 0.4, required=(0, 0)), "not all 0"),
        (lambda: hard_margin(BINARY, 0.4, required=(1, np.nan)), "2 margins >= 0"),
        (lambda: hard_margin(GaussianMixture((0.5, 0.5), ((1, 0), (0, 1))), 0.4), "must have signs"),
        (lambda: hard_margin_map(1.0, 1.0, 1.0), "prior must lie below 1"),
        (lambda: hard_margin_map(0.1, -1.0, 1.0), "signal_strength"),
        (lambda: hard_margin_map(0.1, 1.0, [1.0, 0.0]), "aspect_ratio"),
        (lambda: equal_opportunity_ratio(BINARY, 1.0), "GaussianMixture.groups"),
        (lambda: hard_margin(BINARY, 0.8, intercept=False).at_ratio(2.0), "free intercept"),
        (lambda: hard_margin(BINARY, 0.4).at_ratio([1.0, 0.0]), "margin_ratio"),
        (lambda: hard_margin(GROUPS, 1.0, required=(2, 2, 1, 1)).at_ratio(2.0), "its groups"),
        (lambda: hard_margin(GROUPS, 1.0).optimal_margin_ratio, "one component for each class"),
    ],
)
def test_bad_input_is_refused(call, shown):
    with pytest.raises(InputError) as excinfo:
        call()
    assert shown in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


def test_what_cannot_be_decided_is_said():
    with pytest.raises(BelowThreshold, match=r"not separable at aspect ratio 0.02: a margin exists above 0\.0\d+ only"):
        hard_margin(BINARY, 0.02)
    with pytest.raises(BelowThreshold):
        equal_opportunity_ratio(GROUPS, 0.05)
    with pytest.raises(NotConverged, match="float64"):
        hard_margin_map(0.01, 1e12, 1e-4)
    assert issubclass(BelowThreshold, ArithmeticError)
