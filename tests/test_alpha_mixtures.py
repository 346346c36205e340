"""Properties of α-loss on Gaussian mixtures: risks, descent, limits, fits and the studies that draw them."""

import numpy as np
import pytest
from tailbound.sims.alpha_loss import (
    CONTAMINATED_ERRORS,
    FLIP_ERRORS,
    LIMITS,
    draw_errors,
    draw_generalisation,
    draw_limits,
    draw_slqc_radii,
    fit_path,
    noisy_mixture,
)
from tailbound.sims.vs_loss.erm import fit_ridge
from tailbound.sims.vs_loss.gaussian import draw_sample
from tailbound.theory.alpha_loss.landscape import generalisation_bound
from tailbound.theory.alpha_loss.losses import MarginLoss
from tailbound.theory.alpha_loss.mixtures import (
    flipped,
    normalised_descent,
    population_gradient,
    population_risk,
)
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.fixed_point import NotConverged
from tailbound.theory.vs_loss.mixture import GaussianMixture
from tailbound.theory.vs_loss.state_evolution import ridge_erm

INF = float("inf")


# Mixtures


def test_flipped_mixture():
    mixture = GaussianMixture.binary(0.3, (2.0, 1.0), 0.5)
    noisy = flipped(mixture, (0.1, 0.0))
    assert noisy.priors == pytest.approx((0.27, 0.7, 0.03))
    assert noisy.signs == (1, -1, -1)
    assert noisy.gram[2] == pytest.approx((4.0, 0.5, 4.0))
    assert flipped(mixture, 0.0) == mixture


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("flip_rate", [0.0, 0.2])
def test_population_gradient_by_differences(alpha, flip_rate):
    known = {"mean": [0.5, 0.2], "covariance": [[1.0, 0.3], [0.3, 0.5]], "alpha": alpha, "flip_rate": flip_rate}
    theta, step = np.array([0.7, -1.2]), 1e-5
    measured = [
        (population_risk(theta + step * e, **known) - population_risk(theta - step * e, **known)) / (2 * step)
        for e in np.eye(2)
    ]
    assert population_gradient(theta, **known) == pytest.approx(measured, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0, 3.0, INF])
@pytest.mark.parametrize("length", [0.01, 1.0, 8.0])
def test_population_risk_by_adaptive_integration(alpha, length):
    """For α < 1 most of the integral is far out: at α = 0.3 and length 8 the bulk is 14 deviations away."""
    mp = pytest.importorskip("mpmath")
    mean, covariance, theta = [0.5, 0.25], [[1.0, 0.3], [0.3, 0.5]], length * np.array([0.8, -0.6])
    m, s = float(theta @ mean), float(np.sqrt(theta @ covariance @ theta))
    with mp.workdps(25):
        u = mp.mpf(1) if alpha == INF else 1 - 1 / mp.mpf(alpha)

        def loss(z):
            cost = mp.log1p(mp.exp(-z))
            return cost if u == 0 else -mp.expm1(-u * cost) / u

        k = float(max(-u, 0)) * s
        marks = {-20.0 - k, *(side * k + d for side in (-1, -0.5, 0.5, 1) for d in (-4, 0, 4)), 20.0 + k}
        marks |= {float(-m / s + d / s) for d in (-20, -4, 0, 4, 20)}
        places = sorted(mark for mark in marks if abs(mark) <= 20 + k)
        sides = [float(mp.quad(lambda g, way=way: loss(way * (m + s * g)) * mp.npdf(g), places)) for way in (1, -1)]
    for rate in (0.0, 0.3, 1.0):
        expected = (1 - rate) * sides[0] + rate * sides[1]
        assert population_risk(theta, mean, covariance, alpha, flip_rate=rate) == pytest.approx(expected, rel=1e-10)


def test_flips_mix_the_risks_of_a_score_and_of_its_opposite():
    known, theta = {"mean": [0.5, 0.2], "covariance": [[1.0, 0.3], [0.3, 0.5]]}, np.array([0.7, -1.2])
    for alpha in (0.4, 2.0):
        for function, sign in ((population_risk, 1), (population_gradient, -1)):
            there, back = (function(way * theta, **known, alpha=alpha) for way in (1, -1))
            mixed = function(theta, **known, alpha=alpha, flip_rate=0.2)
            assert mixed == pytest.approx(0.8 * there + sign * 0.2 * back, rel=1e-12)


def test_risk_beyond_the_largest_number():
    with pytest.raises(InputError, match=r"theta of length 1e\+03 makes single losses overflow at alpha 0.5"):
        population_risk([1e3], [1.0], [[1.0]], 0.5)


def test_descent_that_cannot_arrive():
    with pytest.raises(NotConverged, match="10 steps"):
        normalised_descent([5.0, 5.0], [0.5, 0.2], np.eye(2), 1.0, step=0.1, within=0.1, max_steps=10)


def test_descent_where_the_gradient_vanishes():
    with pytest.raises(NotConverged, match="gradient is 0; start nearer"):
        normalised_descent([-3000.0, -1000.0], [0.5, 0.25], np.eye(2) * 1e-4, 2.0, step=0.05, within=0.2)


def test_stationary_points_of_another_loss_leave_the_line():
    """Where neither of the two means is of one sign the argument fails: l = z³/3 - z, l' = z² - 1, l'' = 2 z."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    z = nodes  # of N(⟨θ, μ⟩, θ'θ) at θ = (0, 1), μ = (1, 0)
    assert weights @ (z**2 - 1) == pytest.approx(0, abs=1e-12)
    assert weights @ (2 * z) == pytest.approx(0, abs=1e-12)
    for alpha, rate in ((0.5, 0.0), (1.0, 0.3), (3.0, 0.3), (3.0, 0.7), (INF, 0.4)):
        gradient = population_gradient([0.0, 1.0], [1.0, 0.0], np.eye(2), alpha, flip_rate=rate)
        assert np.abs(gradient).max() > 1e-3


def test_limit_does_not_see_which_class_is_called_first():
    plus = ridge_erm(flipped(GaussianMixture.antipodal(0.3, 2.0), 0.1), 0.5, 0.05, (MarginLoss(0.6),) * 2)
    minus = ridge_erm(flipped(GaussianMixture.antipodal(0.7, 2.0), 0.1), 0.5, 0.05, (MarginLoss(0.6),) * 2)
    assert plus.errors[:2] == pytest.approx(minus.errors[:2][::-1], abs=1e-8)
    assert max(plus.residual, plus.correction) < 1e-9


# Fits


def points(seed=0, n=60, d=4):
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(n) < 0.4, 1, -1)
    return labels[:, None] * 0.7 + rng.standard_normal((n, d)), labels


def test_fits_are_stationary_and_continue_from_the_log_loss():
    features, labels = points()
    fitted = fit_path(features, labels, [4.0, 0.5, 1.0, 2.0], ridge=0.05)
    assert set(fitted) == {0.5, 1.0, 2.0, 4.0}
    for alpha, (w, b) in fitted.items():
        slopes = MarginLoss(alpha).slope(labels * (features @ w + b)) * labels / len(labels)
        assert features.T @ slopes + 0.05 * w == pytest.approx(np.zeros(4), abs=1e-5)
        assert slopes.sum() == pytest.approx(0, abs=1e-5)


def test_conic_program_agrees_with_newton():
    from tailbound.theory.alpha_loss.programs import minimise_ridge_risk

    features, labels = points(n=30, d=3)
    w, b = fit_ridge(features, labels, (MarginLoss(0.6),) * 2, 0.1)
    by_cone, intercept, proof = minimise_ridge_risk(features, labels, 0.6, 0.1)
    assert by_cone == pytest.approx(w, abs=1e-5)
    assert intercept == pytest.approx(b, abs=1e-5)
    value = MarginLoss(0.6).value(labels * (features @ w + b)).mean() + 0.05 * w @ w
    assert proof.bound - 1e-9 <= value <= proof.value + 1e-7


def test_programs_refuse_what_is_not_convex():
    from tailbound.theory.alpha_loss.programs import least_label_sum, minimise_conditional_risk, minimise_ridge_risk

    with pytest.raises(InputError, match="alpha must be <= 1"):
        minimise_ridge_risk(*points(), 2.0, 0.1)
    with pytest.raises(InputError, match="alpha must be > 1"):
        least_label_sum(3, 1.0)
    with pytest.raises(InputError, match=r"labels must be \+1 or -1, got \[0, 1, 2\]"):
        minimise_ridge_risk(np.eye(3), np.array([1, 0, 2]), 0.5, 0.1)
    for num_classes in (1, 2.5):
        with pytest.raises(InputError, match="num_classes must be a whole number >= 2"):
            least_label_sum(num_classes, 2.0)
    for wrong in ([np.nan, 0.7], [0.7, 0.6], [1.7, -0.7]):
        with pytest.raises(InputError, match="sum to 1"):
            minimise_conditional_risk(wrong, 2.0)
    with pytest.raises(InputError, match=r"one distribution, shape \(K,\), got \(2, 2\)"):
        minimise_conditional_risk([[0.5, 0.5], [0.2, 0.8]], 2.0)


def test_methods_meet_the_same_data():
    case = dict(FLIP_ERRORS.cases[0], num_examples=40)
    both, one = (
        draw_errors(np.random.default_rng(3), **(case | {"alphas": chosen})) for chosen in ((1.0, 2.0), (1.0,))
    )
    assert both[0] == one[0]


def test_errors_are_those_of_the_fitted_weights():
    case = dict(FLIP_ERRORS.cases[0], num_examples=40, prior=0.3, alphas=(1.0, 2.0))
    rows = draw_errors(np.random.default_rng(3), **case)
    mixture = noisy_mixture(0.3, 2.0, 0.0, 0.0, 1.0)
    sample = draw_sample(np.random.default_rng(3), mixture, 40, 8)
    fitted = fit_path(sample.features, sample.labels, (1.0, 2.0), case["ridge"])
    for row in rows:
        w, b = fitted[row["alpha"]]
        plus, minus = sample.test_errors(w, b)[:2]
        assert row["error_plus"] == pytest.approx(plus, abs=1e-5)
        assert row["error_minus"] == pytest.approx(minus, abs=1e-5)
        assert row["balanced_error"] == pytest.approx((plus + minus) / 2, abs=1e-5)
        assert row["norm"] == pytest.approx(np.linalg.norm(w), rel=1e-4)


def test_limits_are_those_of_the_clean_classes():
    case = dict(LIMITS.cases[0], prior=0.2, alphas=(0.6,))
    (row,) = draw_limits(np.random.default_rng(0), **case)
    mixture = noisy_mixture(0.2, 2.0, 0.0, 0.0, 1.0)
    limit = ridge_erm(mixture, case["aspect_ratio"], case["ridge"], (MarginLoss(0.6),) * 2)
    assert [row["error_plus"], row["error_minus"]] == pytest.approx(limit.errors.tolist(), abs=1e-5)
    assert row["error_plus"] > 2 * row["error_minus"]
    assert row["balanced_error"] == pytest.approx(limit.errors.mean(), abs=1e-5)


def test_gaps_and_their_bounds_of_a_draw():
    known = {"dimension": 3, "num_examples": 50, "parameter_radius": 2.0, "num_points": 7}
    rows = draw_generalisation(np.random.default_rng(5), **known, alphas=(0.5, 1.0, 8.0))
    rng = np.random.default_rng(5)
    truth = 2 * rng.standard_normal(3)
    sets = []
    for count in (50, 10_000):
        x = rng.random((count, 3))
        sets.append(x * np.where(rng.random(count) < 1 / (1 + np.exp(-x @ truth)), 1, -1)[:, None])
    points = rng.standard_normal((7, 3))
    shift = sets[1].mean(axis=0) - sets[0].mean(axis=0)
    points = np.vstack([points, shift, -shift])
    points *= 2 / np.linalg.norm(points, axis=1, keepdims=True)
    soft_errors = (1 / (1 + np.exp(sets[1] @ points.T))).mean(axis=0)
    for row in rows:
        seen, fresh = (MarginLoss(row["alpha"]).value(x @ points.T).mean(axis=0) for x in sets)
        assert row["gap"] == pytest.approx((fresh - seen).max(), abs=1e-5)
        assert row["distance"] == pytest.approx(np.abs(seen - soft_errors).max(), abs=1e-5)
        bounds = [
            generalisation_bound(row["alpha"], radius=2 * 3**0.5, num_examples=50, failure_probability=p)
            for p in (0.05, 0.025)
        ]
        assert row["bound"] == pytest.approx(bounds[0], abs=1e-5)
        if row["alpha"] >= 1:
            tail = np.log1p(np.exp(2 * 3**0.5)) ** 2 / (2 * row["alpha"])
            assert row["distance_bound"] == pytest.approx(bounds[1] + tail, abs=1e-5)
        else:
            assert np.isnan(row["distance_bound"])


def test_radii_are_predicted_from_bounds_of_the_data(monkeypatch):
    seen = []
    monkeypatch.setattr("tailbound.sims.alpha_loss.slqc_radius", lambda *given, **known: seen.append(known) or 0.1)
    known = {"dimension": 4, "num_examples": 60, "start_alpha": 1.0, "alphas": (1.1,), "num_points": 5}
    draw_slqc_radii(np.random.default_rng(1), **known)
    assert len(seen) >= 1
    for each in seen:
        assert each["feature_norm"] == 2.0  # of the cube's corner in four dimensions
        assert each["parameter_radius"] == 2.0
        assert 0 < each["radius"] <= 2.0 * 2.0


def test_continuation_takes_small_steps_of_its_own():
    """A far cluster under the wrong label: from the log-loss straight to α = 8 the descent ends in another minimum."""
    case = dict(CONTAMINATED_ERRORS.cases[-1], num_examples=200)
    straight, stepwise = (
        {row["alpha"]: row for row in draw_errors(np.random.default_rng(0), **(case | {"alphas": chosen}))}[8.0]
        for chosen in ((8.0,), (1.4, 2.0, 2.8, 4.0, 5.6, 8.0))
    )
    assert straight["balanced_error"] == pytest.approx(stepwise["balanced_error"], abs=1e-3)


def test_outliers_join_the_mixture():
    mixture = noisy_mixture(0.5, 2.0, 0.1, 0.2, 3.0)
    assert sum(mixture.priors) == pytest.approx(1)
    assert mixture.priors[-1] == pytest.approx(0.2)
    assert mixture.gram[-1][-1] == pytest.approx(36.0)
    assert mixture.signs[-1] == -1
