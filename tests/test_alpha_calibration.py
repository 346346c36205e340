"""Properties of what α-loss estimates and of the constants of its landscape; the claims are tested elsewhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tailbound.theory.alpha_loss.calibration import (
    arimoto_entropy,
    calibration_curvature,
    calibration_function,
    minimal_risk,
    tilted,
)
from tailbound.theory.alpha_loss.landscape import (
    convexity_modulus,
    descent_steps,
    generalisation_bound,
    inflection,
    largest_loss,
    lipschitz_constant,
    noise_gap_bound,
    saturation_constants,
    slqc_radius,
    smallest_alpha_for_gap,
    steepest_probability,
)
from tailbound.theory.alpha_loss.losses import MarginLoss, alpha_loss
from tailbound.theory.core.errors import InputError

INF = float("inf")
alphas = st.floats(0.05, 50) | st.sampled_from([1.0, 1 - 1e-12, 1 + 1e-12, INF])
steady = settings(deadline=None, max_examples=60)


def masses(numbers):
    return np.array(numbers) / sum(numbers)


distributions = st.lists(st.floats(0.01, 1), min_size=2, max_size=6).map(masses)

# Calibration


@steady
@given(distributions, st.floats(0.1, 10))
def test_tilting_is_undone_by_its_inverse(p, alpha):
    assert tilted(tilted(p, alpha), 1 / alpha) == pytest.approx(p, rel=1e-9)
    assert (np.diff(tilted(p, alpha)[np.argsort(p)]) >= 0).all()  # rounding may make a tie


@steady
@given(distributions, alphas)
def test_tilted_distribution_has_the_least_risk(p, alpha):
    least = minimal_risk(p, alpha)
    for q in (p, np.full(p.size, 1 / p.size), np.roll(p, 1)):
        assert p @ alpha_loss(q, alpha) >= least - 1e-12 * (1 + abs(least))


def test_tilting_of_many_distributions_at_once():
    rows = np.array([[1.0, 0.0], [0.5, 0.5], [0.3, 0.7]])
    for alpha in (0.5, 3.0, 2000.0):  # 2^-2000 underflows beside 1
        assert tilted(rows, alpha) == pytest.approx(np.array([tilted(row, alpha) for row in rows]))
    assert tilted(rows, 2000.0)[1].tolist() == [0.5, 0.5]


def test_zeros_and_ties():
    assert tilted([0.5, 0.5, 0.0], INF).tolist() == [0.5, 0.5, 0.0]
    assert tilted([0.6, 0.4, 0.0], 0.5)[2] == 0
    assert np.isfinite(minimal_risk([0.6, 0.4, 0.0], 0.5))
    assert minimal_risk([1.0, 0.0], 0.3) == 0


def test_entropy_is_continuous_in_alpha():
    joint = [[0.2, 0.1, 0.0], [0.1, 0.3, 0.3]]
    slope = (arimoto_entropy(joint, 1.001) - arimoto_entropy(joint, 0.999)) / 0.002
    for near in (1e-4, 1e-8, 1e-12):  # the textbook form is off by 1e-16 / near
        expected = arimoto_entropy(joint, 1.0) + slope * near
        assert arimoto_entropy(joint, 1 + near) == pytest.approx(expected, abs=1e-15 + near**2)
    assert arimoto_entropy(joint, 1.1 - 1e-9) == pytest.approx(arimoto_entropy(joint, 1.1 + 1e-9), abs=1e-8)
    assert arimoto_entropy(joint, 0.9 - 1e-9) == pytest.approx(arimoto_entropy(joint, 0.9 + 1e-9), abs=1e-8)
    assert arimoto_entropy(joint, 1e6) == pytest.approx(arimoto_entropy(joint, INF), abs=1e-5)
    assert arimoto_entropy([[0.25, 0.25], [0.25, 0.25]], 0.3) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("alpha", "stated"),
    [(0.5, lambda t: 1 - np.sqrt(1 - t * t)), (INF, lambda t: t / 2), (2.0, lambda t: np.sqrt(2 + 2 * t * t) - 2**0.5)],
)
def test_calibration_function_in_closed_form(alpha, stated):
    t = np.linspace(0, 1, 21)
    assert calibration_function(t, alpha) == pytest.approx(stated(t), abs=1e-12)


def test_calibration_function_of_the_log_loss():
    t = np.array([1e-9, 0.3, 0.8, 1.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -sum(np.where(p > 0, p * np.log(p), 0.0) for p in ((1 + t) / 2, (1 - t) / 2))
    assert calibration_function(t, 1.0)[1:] == pytest.approx((np.log(2) - entropy)[1:], rel=1e-14)
    assert calibration_function(t, 1.0)[0] == pytest.approx(t[0] ** 2 / 2, rel=1e-12)


@pytest.mark.parametrize("alpha", [0.01, 0.5, 0.989, 0.99, 0.9999, 1 + 1e-12, 1.009, 1.02, 3.0, 1e6])
def test_calibration_function_keeps_its_digits(alpha):
    """Against the textbook form in 50 digits; at 1e-9 that form has none left in double precision."""
    mp = pytest.importorskip("mpmath")
    with mp.workdps(50):
        a = mp.mpf(alpha)
        for t in (1e-9, 1e-3, 0.3, 0.9, 1 - 1e-9, 1.0):
            norm = (((1 + mp.mpf(t)) / 2) ** a + ((1 - mp.mpf(t)) / 2) ** a) ** (1 / a)
            stated = float(a / (a - 1) * (norm - 2 ** (1 / a - 1)))
            assert calibration_function(t, alpha) == pytest.approx(stated, rel=1e-12)


def test_calibration_beyond_the_largest_number():
    assert calibration_function([0.0, 0.5], 1e-4).tolist() == [0.0, INF]
    assert calibration_curvature(1e-4) == calibration_curvature(1e-300) == INF
    assert calibration_curvature(1 / 1030) == pytest.approx(2.0**1000 * (2.0**28 / 1030), rel=1e-9)  # 2^1030 overflows


def test_minimal_risk_of_a_peaked_distribution():
    mp = pytest.importorskip("mpmath")
    peaked = [1 - 2**-40, 2**-40]
    with mp.workdps(50):
        a = mp.mpf(1.0999)
        stated = float(a / (a - 1) * (1 - sum(mp.mpf(p) ** a for p in peaked) ** (1 / a)))
    assert minimal_risk(peaked, 1.0999) == pytest.approx(stated, rel=1e-12)
    assert minimal_risk([peaked, peaked[::-1]], 1.0999) == pytest.approx([stated] * 2, rel=1e-12)
    with mp.workdps(50):
        a = mp.mpf(1e-3)
        stated = float(a / (1 - a) * ((1 + mp.mpf(1e-200) ** a) ** (1 / a) - 1))
    assert minimal_risk([1.0, 1e-200], 1e-3) == pytest.approx(stated, rel=1e-9)  # single losses overflow


# Landscape


@steady
@given(st.floats(0.2, 20), st.floats(0.1, 8))
def test_constants_bound_the_loss(alpha, radius):
    z, loss = np.linspace(-radius, radius, 401), MarginLoss(alpha)
    steepest = np.abs(loss.slope(z)).max()
    assert steepest <= lipschitz_constant(alpha, radius) * (1 + 1e-12)
    assert steepest >= lipschitz_constant(alpha, radius) * 0.999
    assert loss.value(z).max() == pytest.approx(largest_loss(alpha, radius))
    if alpha <= 1:
        assert loss.curvature(z).min() == pytest.approx(convexity_modulus(alpha, radius))
    else:
        s = steepest_probability(alpha)
        assert np.log(s / (1 - s)) == pytest.approx(inflection(alpha))


def test_constants_on_the_line():
    assert lipschitz_constant(1.0) == 1
    assert lipschitz_constant(0.9) == INF
    assert lipschitz_constant(INF) == 0.25
    assert inflection(1.0) == -INF
    assert steepest_probability(0.5) == 0


def test_bounds():
    assert generalisation_bound(2.0, radius=1.0, num_examples=400) == pytest.approx(
        generalisation_bound(2.0, radius=1.0, num_examples=100) / 2
    )
    assert descent_steps(0.1, 1.0, 1.0) == 100
    assert descent_steps(0.1, 2.0, 1.0) == descent_steps(0.1, 1.0, 2.0) == descent_steps(0.05, 1.0, 1.0) == 400
    assert descent_steps(0.3, 1.0, 1.0) == 12
    assert noise_gap_bound(INF, 10, 0.4) == 0
    for gap in (1e-300, 1e-20, 0.1, 1e10):
        assert noise_gap_bound(smallest_alpha_for_gap(10, 0.3, gap), 10, 0.3) == pytest.approx(gap, rel=1e-5)
    assert 1 < smallest_alpha_for_gap(10, 0.3, 1e300) < 1 + 1e-15
    known = {"gradient_norm": 0.3, "start_radius": 0.5, "radius": 1.0, "feature_norm": 1.0, "parameter_radius": 1.0}
    assert slqc_radius(1.0, 1.0, **known) == pytest.approx(0.5)
    assert slqc_radius(4.0, 1.0, **known) == 0
    at_zero = 0.3 * 0.5 - 2 * np.log(2) / 2 * (1 - 1 / 1.05)  # θ = 0: L σ(0) = log(2) / 2
    moved = np.log(2) / 2 * (1 - 1 / 1.05)
    assert slqc_radius(1.05, 1.0, **known | {"radius": 0.0}) == pytest.approx(at_zero / (0.3 + moved))
    for pair in ((1.0, 2.0), (2.0, 0.5)):
        with pytest.raises(InputError, match="start_alpha"):
            slqc_radius(*pair, **known)
    with pytest.raises(InputError, match="radius must lie in"):
        slqc_radius(1.0, 1.0, **known | {"radius": INF})
    value, slope = saturation_constants(2.0)
    z = np.array([-2.0])
    assert abs(MarginLoss(3.0).value(z) - MarginLoss(1.0).value(z))[0] <= value * 2 / 3
    assert abs(MarginLoss(3.0).slope(z) - MarginLoss(1.0).slope(z))[0] <= slope * 2 / 3
