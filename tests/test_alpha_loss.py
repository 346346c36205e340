"""Properties of the α-loss formulas, its proximal map, limits and fits; the claims are tested elsewhere."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
from tailbound.theory.alpha_loss.calibration import (
    arimoto_entropy,
    calibration_curvature,
    calibration_function,
    minimal_risk,
    optimal_logit,
    tilted,
)
from tailbound.theory.alpha_loss.constants import alpha_entries, largest_alpha
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
from tailbound.theory.alpha_loss.losses import (
    MarginLoss,
    alpha_gradient,
    alpha_loss,
    alpha_of_log,
    alpha_softmax_loss,
    exponent,
    gradient_weight,
    initial_weight,
)
from tailbound.theory.alpha_loss.mixtures import (
    flipped,
    gaussian_minimiser,
    normalised_descent,
    population_gradient,
    population_risk,
)
from tailbound.theory.claims import load
from tailbound.theory.constants import derive
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.fixed_point import NotConverged
from tailbound.theory.vs_loss.mixture import GaussianMixture
from tailbound.theory.vs_loss.quadrature import layered_nodes
from tailbound.theory.vs_loss.scalar_losses import LogisticLoss
from tailbound.theory.vs_loss.state_evolution import ridge_erm

INF = float("inf")
alphas = st.floats(0.05, 50) | st.sampled_from([1.0, 1 - 1e-12, 1 + 1e-12, INF])
probabilities = st.floats(1e-12, 1.0)
steady = settings(deadline=None, max_examples=60)


def masses(numbers):
    return np.array(numbers) / sum(numbers)


distributions = st.lists(st.floats(0.01, 1), min_size=2, max_size=6).map(masses)

# The loss


@steady
@given(alphas, probabilities)
def test_loss_falls_in_alpha_and_in_the_probability(alpha, p):
    assert alpha_loss(p, alpha) >= alpha_loss(p, alpha * 1.5) >= 0
    assert alpha_loss(p, alpha) >= alpha_loss(min(1.0, p * 1.5), alpha)


@steady
@given(probabilities, st.sampled_from([1e-3, 1e-7, 1e-12]))
def test_loss_is_continuous_at_one(p, gap):
    around = [alpha_loss(p, 1 + s * gap) for s in (-1, 0, 1)]
    assert around == pytest.approx([-np.log(p)] * 3, rel=40 * gap + 1e-14)


def test_values_at_the_ends():
    assert alpha_loss([0.0, 0.5, 1.0], INF).tolist() == [1.0, 0.5, 0.0]
    assert alpha_loss(0.0, 4.0) == pytest.approx(4 / 3)
    assert alpha_loss(0.0, 1.0) == alpha_loss(0.0, 0.5) == INF
    assert alpha_loss(1.0, 0.3) == 0


def test_largest_weight_continues_the_loss_linearly():
    log_p = np.array([-1.0, -5.0, -10.0, -20.0, -30.0])
    exact, capped = (alpha_of_log(log_p, 0.5, max_weight=w) for w in (INF, np.exp(10.0)))
    assert capped[:3] == pytest.approx(exact[:3], rel=1e-14)
    assert np.diff(capped[2:]) == pytest.approx([10 * np.exp(10.0)] * 2)
    assert alpha_of_log(log_p, 3.0, max_weight=2.0) == pytest.approx(alpha_of_log(log_p, 3.0))


def test_largest_weight_of_logits():
    logits, labels = [[0.0, 30.0], [0.0, 1.0]], [0, 0]
    log_p = -np.logaddexp(0, [30.0, 1.0])
    assert alpha_softmax_loss(logits, labels, 0.5, max_weight=1e3) == pytest.approx(
        alpha_of_log(log_p, 0.5, max_weight=1e3)
    )
    assert alpha_softmax_loss(logits, labels, 0.5, max_weight=1e3)[0] < 1e5 < alpha_softmax_loss(logits, labels, 0.5)[0]


@steady
@given(st.integers(0, 10_000), alphas)
def test_gradient_by_differences(seed, alpha):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(3, 4)), rng.integers(4, size=3)
    step, found = 1e-6, alpha_gradient(logits, labels, alpha)
    for k in range(4):
        moved = [alpha_softmax_loss(logits + s * step * np.eye(4)[k], labels, alpha) for s in (1, -1)]
        assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(found[:, k], rel=2e-5, abs=1e-6)
    assert found.sum(axis=1) == pytest.approx(np.zeros(3), abs=1e-12 * np.abs(found).max())


def test_gradient_of_confident_examples_keeps_its_digits():
    assert alpha_gradient([[60.0, 0.0]], [0], 2.0) == pytest.approx(np.array([[-1, 1]]) * np.exp(-60), rel=1e-12)


def test_gradient_where_a_probability_underflows():
    assert alpha_gradient([[800.0, 0, 0]], [1], 0.5) == pytest.approx(np.array([[INF, -INF, 1.0]]))
    assert alpha_gradient([[800.0, 0, 0]], [1], 2.0) == pytest.approx(np.zeros((1, 3)))
    masked = alpha_gradient([[1.0, -INF, 0.0], [-INF, 0.0, -INF]], [0, 1], 0.5)
    assert masked[0] == pytest.approx(np.insert(alpha_gradient([[1.0, 0.0]], [0], 0.5)[0], 1, 0.0))
    assert masked[1] == pytest.approx(np.zeros(3))
    assert alpha_gradient([[-INF, 0.0, -INF]], [0], 0.5).tolist() == [[-INF, INF, 0.0]]


@pytest.mark.parametrize("kind", [np.float16, np.float32, Fraction, int])
def test_type_of_alpha_does_not_matter(kind):
    known = {"gradient_norm": 0.3, "start_radius": 0.5, "radius": 1.0, "feature_norm": 1.0, "parameter_radius": 1.0}
    for value in (
        exponent,
        MarginLoss,
        lambda a: noise_gap_bound(a, 10, 0.2),
        lambda a: slqc_radius(a, kind(3) - kind(1), **known),
        lambda a: calibration_function(0.5, a),
        lambda a: calibration_curvature(a),
        lambda a: optimal_logit(0.3, a),
        lambda a: minimal_risk([0.2, 0.3, 0.5], a),
        lambda a: arimoto_entropy([[0.2, 0.3], [0.1, 0.4]], a),
        lambda a: tilted([0.2, 0.8], a).tolist(),
        lambda a: gaussian_minimiser([1.0], [[0.3]], a).tolist(),
    ):
        assert value(kind(3)) == value(3.0)


def test_slopes_at_the_ends_of_the_line():
    for alpha, slope, curvature in ((0.5, -INF, INF), (1.0, -1, 0), (3.0, 0, 0), (INF, 0, 0)):
        assert MarginLoss(alpha).slope(np.array([-INF, INF])).tolist() == [slope, 0]
        assert MarginLoss(alpha).curvature(np.array([-INF, INF])).tolist() == [curvature, 0]


def test_weights_of_examples():
    assert gradient_weight([0.5, 0.1], 8.0) == pytest.approx([0.5453, 0.1334], abs=1e-4)
    assert gradient_weight([0.5, 0.1], 0.5) == pytest.approx([2, 10])
    assert initial_weight(10, 0.5) == pytest.approx(10)
    assert initial_weight(10, 1.0) == 1
    assert initial_weight(10, INF) == pytest.approx(0.1)


@pytest.mark.parametrize("alpha", [0, -1.0, float("nan"), "2", True, None])
def test_alpha_out_of_range(alpha):
    with pytest.raises(InputError, match=r"alpha must be a number > 0 or inf"):
        exponent(alpha)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: alpha_loss(1.5, 2.0), r"probability must lie in \[0, 1\], got \[1.5\]"),
        (lambda: alpha_of_log(0.1, 2.0), r"log p must be <= 0"),
        (lambda: alpha_of_log(-0.1, 2.0, max_weight=0.5), "max_weight must be > 1"),
        (lambda: alpha_softmax_loss([1.0], [0], 2.0), "must agree"),
        (lambda: alpha_softmax_loss([[1.0, 2.0]], [2], 2.0), r"labels must be integers in 0..1, got \[2\]"),
        (lambda: initial_weight(1, 2.0), "num_classes must be a whole number >= 2, got 1"),
        (lambda: gradient_weight([0.5, 1.5], 2.0), r"probability must lie in \[0, 1\], got \[1.5\]"),
        (lambda: alpha_softmax_loss([[1.0, np.nan]], [0], 2.0), r"logits must be finite, .* got \[nan\]"),
        (lambda: alpha_gradient([[1.0, INF]], [0], 2.0), r"logits must be finite, .* got \[inf\]"),
        (lambda: alpha_gradient([[-INF, -INF]], [0], 2.0), r"logits must be finite, .* got a row of -inf"),
        (lambda: optimal_logit(1.2, 2.0), r"posterior must lie in \[0, 1\], got \[1.2\]"),
        (lambda: exponent(1e-310), "1e-300 at least, got 1e-310"),
        (lambda: descent_steps(1e-200, 1.0, 1.0), "beyond any budget; raise excess above 1e-200"),
        (lambda: descent_steps(1e-9, 1.0, 1.0), "the bound is 1e.18 steps"),
        (lambda: largest_alpha(2.5, 0.5), "num_classes must be a whole number >= 2, got 2.5"),
        (lambda: noise_gap_bound(2.0, float("nan"), 0.2), "num_classes must be a whole number >= 2, got nan"),
        (lambda: noise_gap_bound(2.0, "3", 0.2), "num_classes must be a whole number >= 2, got '3'"),
        (lambda: derive([500, 100], noise_rate="0.1"), "noise_rate must be > 0 and < 1 - 1/K = 0.5, got '0.1'"),
        (
            lambda: population_risk([1.0], [1.0], [[1.0]], 2.0, flip_rate=1.5),
            r"flip_rate must lie in \[0, 1\], got 1.5",
        ),
        (
            lambda: gaussian_minimiser([1.0, 0.0], [[1.0, 2.0], [2.0, 1.0]], 2.0),
            "positive definite, got a least eigenvalue -1",
        ),
        (
            lambda: gaussian_minimiser([1.0, 0.0], [[1.0, 0.5], [0.0, 1.0]], 2.0),
            "symmetric and positive definite, got one that differs",
        ),
        (lambda: gaussian_minimiser([1.0], [[1.0, 0.0], [0.0, 1.0]], 2.0), r"must agree, got \(1,\) and \(2, 2\)"),
        (lambda: gaussian_minimiser([np.nan], [[1.0]], 2.0), "must be finite, got NaN"),
        (lambda: population_gradient([1.0, 0.0], [1.0], [[1.0]], 2.0), "theta and mean must have one shape"),
        (lambda: normalised_descent([0.0], [1.0], [[1.0]], 2.0, step=0.0, within=0.1), "step must be finite and > 0"),
        (
            lambda: normalised_descent([0.0], [1.0], [[1.0]], 2.0, step=1.0, within=np.nan),
            "within must be finite and > 0",
        ),
        (lambda: fit_path(np.eye(2), np.array([1, 0]), [2.0], ridge=0.1), r"both present, got \[0, 1\]"),
        (lambda: fit_path(np.eye(2), np.array([1, 1]), [2.0], ridge=0.1), r"both present, got \[1\]"),
        (
            lambda: population_risk([np.nan, 0.0], [0.5, 0.25], np.eye(2), 2.0),
            r"finite .* got \[nan, 0.0\]",
        ),
        (lambda: population_gradient([INF], [0.5], [[1.0]], 0.5), "theta must be finite"),
        (lambda: population_risk([1e160], [0.5], [[1.0]], 2.0), "theta must be finite and below 1e.100"),
        (lambda: normalised_descent([np.nan], [0.5], [[1.0]], 2.0, step=0.1, within=0.1), "theta must be finite"),
        (lambda: flipped(GaussianMixture.antipodal(0.5, 1.0), (0.1, 0.2, 0.3)), "one for each of 2 components"),
        (lambda: lipschitz_constant(2.0, "3"), "radius must be > 0, in logit units, got '3'"),
        (lambda: largest_loss(2.0, None), "radius must be > 0, in logit units, got None"),
        (lambda: descent_steps("0.1", 1.0, 1.0), "excess must be a number > 0, got '0.1'"),
        (lambda: generalisation_bound(2.0, radius=1.0, num_examples="100"), "num_examples must lie in"),
        (lambda: generalisation_bound(2.0, radius=1.0, num_examples=0.5), "num_examples must lie in"),
        (lambda: alpha_of_log(-0.1, 0.5, max_weight="a"), "max_weight must be > 1, got 'a'"),
        (lambda: fit_path(np.eye(2), np.array([1, -1]), [INF], ridge=0.1), "alphas must be finite and > 0"),
        (lambda: fit_path(np.eye(2), np.array([1, -1]), [2.0], ridge=-0.1), "ridge must be finite and > 0"),
        (lambda: MarginLoss(2.0).prox(np.zeros(1), 1.0), "needs a convex loss"),
        (lambda: tilted([0.5, 0.6], 2.0), "sum to 1"),
        (lambda: arimoto_entropy([[0.5, 0.6]], 2.0), "table of probabilities"),
        (lambda: optimal_logit(0.5, INF), "alpha must be finite"),
        (lambda: calibration_curvature(INF), "alpha must be finite"),
        (lambda: calibration_function(1.5, 2.0), "excess_error must lie in"),
        (lambda: convexity_modulus(1.5, 1.0), "alpha must be <= 1"),
        (lambda: lipschitz_constant(1.0, 0.0), "radius must be > 0"),
        (lambda: noise_gap_bound(1.0, 10, 0.2), "alpha must be > 1"),
        (lambda: noise_gap_bound(2.0, 10, 0.9), "flip_rate must be < 1 - 1/K"),
        (lambda: noise_gap_bound(2.0, 1, 0.2), "num_classes must be a whole number >= 2"),
        (lambda: flipped(GaussianMixture((0.5, 0.5), ((1.0, 0.0), (0.0, 1.0))), 0.1), "must have signs"),
        (lambda: flipped(GaussianMixture.antipodal(0.5, 1.0), 1.0), "rates must lie in"),
        (lambda: gaussian_minimiser([1.0], [[1.0]], INF), "alpha must be finite"),
        (lambda: largest_alpha(1, 0.5), "num_classes must be a whole number >= 2"),
        (lambda: largest_alpha(3, 0.0), "first_gradient must lie in"),
    ],
)
def test_input_errors_name_the_value(call, words):
    with pytest.raises(InputError, match=words):
        call()


# The loss of a score and its proximal map


@pytest.mark.parametrize("alpha", [0.3, 0.5, 0.9, 1.0, 1.5, 8.0, INF])
def test_slope_and_curvature_by_differences(alpha):
    z, step, loss = np.linspace(-6, 8, 29), 1e-5, MarginLoss(alpha)
    for function, derivative in ((loss.value, loss.slope), (loss.slope, loss.curvature)):
        measured = (function(z + step) - function(z - step)) / (2 * step)
        assert measured == pytest.approx(derivative(z), rel=1e-6, abs=1e-8)


@steady
@given(st.floats(0.2, 1.0), st.floats(-4, 6), st.floats(-300, 300))
def test_proximal_map_solves_its_equation(alpha, log_step, h):
    loss, step = MarginLoss(alpha), float(np.exp(log_step))
    u, slope, stiffness = (each.item() for each in loss.prox(np.array([h]), step))
    assert u + step * slope == pytest.approx(h, abs=1e-9 * (1 + abs(h) + abs(step * slope)))
    assert slope == pytest.approx(loss.slope(np.array(u)).item(), rel=1e-12)
    curvature = loss.curvature(np.array(u)).item()
    assert stiffness == pytest.approx(curvature / (1 + step * curvature), rel=1e-12)


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5])
def test_proximal_map_where_the_slope_nearly_overflows(alpha):
    """Slope finite and curvature infinite on the way: h = -28750.58 at α = 1/2 was such a point."""
    h = np.append(-np.geomspace(1e5, 1e-3, 400), -28750.580409448772)
    for step in (0.1, 3.0):
        u, slope, stiffness = MarginLoss(alpha).prox(h, step)
        assert np.abs(u + step * slope - h) == pytest.approx(0, abs=1e-8 * np.abs(h).max())
        assert ((stiffness > 0) & (stiffness <= 1 / step)).all()


@pytest.mark.parametrize(("alpha", "step"), [(0.1, 0.1), (0.1, 3.0), (0.5, 3.0)])
@pytest.mark.parametrize(("centre", "norm"), [(0.0, 0.5), (2.0, 5.0)])
def test_layers_are_where_the_proximal_map_bends(alpha, step, centre, norm):
    loss = MarginLoss(alpha)

    def moments(refine):
        bends = [((h - centre) / norm, width / norm) for h, width in loss.layers(step)]
        g, weights = layered_nodes(*np.transpose(bends), refine=refine)
        _, slope, stiffness = loss.prox(centre + norm * g, step)
        return [weights @ slope, weights @ slope**2, weights @ stiffness]

    assert moments(1) == pytest.approx(moments(4), rel=1e-12)


def test_proximal_map_of_the_log_loss():
    h = np.linspace(-40, 40, 81)
    for step in (0.01, 1.0, 300.0):
        for found, stated in zip(MarginLoss(1.0).prox(h, step), LogisticLoss().prox(h, step), strict=True):
            assert found == pytest.approx(stated, rel=1e-9, abs=1e-12)


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


# Constants


@pytest.mark.parametrize("num_classes", [2, 10, 1000])
def test_constants_rest_on_claims(num_classes):
    known = load("alpha_loss")
    entries = list(alpha_entries(num_classes, flip_rate=0.2))
    assert [entry.name.split(".")[1] for entry in entries] == [
        "alpha", "noise_gap", "temperature", "learning_rate_factor",
    ]  # fmt: skip
    for entry in entries:
        assert entry.claim in known
        assert entry.low <= entry.value <= entry.high
    assert len(list(alpha_entries(num_classes))) == 3
    found = {entry.name.split(".")[1]: entry.value for entry in entries}
    assert found["noise_gap"] == min(noise_gap_bound(found["alpha"], num_classes, 0.2), 1 / exponent(found["alpha"]))
    assert found["learning_rate_factor"] == pytest.approx(num_classes ** exponent(found["alpha"]))
    assert found["temperature"] == found["alpha"]


def test_suggested_alpha_is_eight_at_most():
    assert [next(alpha_entries(num_classes)).value for num_classes in (2, 10)] == [8.0, largest_alpha(10, 0.5)]


def test_largest_alpha_keeps_the_first_gradient():
    assert initial_weight(10, largest_alpha(10, 0.3)) == pytest.approx(0.3)
    assert largest_alpha(10, 0.05) == INF
    assert largest_alpha(10, 1.0) == 1


@pytest.mark.parametrize("num_classes", [2, 3, 10])
def test_noise_gap_is_within_its_range_at_every_rate(num_classes):
    for share in (0.01, 0.5, 0.9, 0.999, 1 - 1e-9):
        entries = {entry.name: entry for entry in alpha_entries(num_classes, flip_rate=share * (1 - 1 / num_classes))}
        gap = entries["alpha_loss.noise_gap"]
        assert gap.low <= gap.value <= gap.high
    assert gap.value == gap.high  # the bound alone tends to infinity there


# In torch: what the battery of `test_losses` does not ask


@pytest.mark.parametrize("alpha", [0.7, 1 - 1e-6, 1 + 1e-7, 1.3, INF])
def test_single_precision_has_the_digits_of_the_formula(alpha):
    torch = pytest.importorskip("torch")
    from tailbound.nn_validation.alpha_loss import AlphaLoss

    logits, labels = np.random.default_rng(0).normal(size=(50, 6)) * 3, np.arange(50) % 6
    variable = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    losses = AlphaLoss(alpha=alpha, reduction="none")(variable, torch.tensor(labels))
    losses.sum().backward()
    stated = alpha_softmax_loss(variable.detach().double().numpy(), labels, alpha)
    assert losses.detach().numpy() == pytest.approx(stated, rel=2e-5, abs=1e-6)
    gradient = alpha_gradient(variable.detach().double().numpy(), labels, alpha)
    assert variable.grad.numpy() == pytest.approx(gradient, rel=1e-4, abs=1e-6)


def test_vanishing_probability_has_a_gradient_where_the_textbook_form_has_none():
    torch = pytest.importorskip("torch")
    from tailbound.nn_validation.alpha_loss import AlphaLoss

    variable = torch.tensor([[-200.0, 0.0]], requires_grad=True)
    textbook = 2 * (1 - torch.softmax(variable, -1)[0, 0] ** 0.5)
    textbook.backward()
    assert variable.grad.isnan().any()
    variable.grad = None
    AlphaLoss(alpha=2.0)(variable, torch.tensor([0])).backward()
    assert variable.grad.isfinite().all()
    assert variable.grad.abs().max() < 1e-30


def test_scale_undoes_the_tilt_only_above_the_largest_weight():
    torch = pytest.importorskip("torch")
    from tailbound.nn_validation.alpha_loss import AlphaLoss

    p = torch.tensor([[0.55, *[0.05] * 9]], dtype=torch.float64)

    def restored(**options):
        loss, z = AlphaLoss(**options).double(), torch.zeros(1, 10, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([z], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

        def closure():
            optimiser.zero_grad()
            value = loss(z, p)
            value.backward()
            return value

        optimiser.step(closure)
        return torch.softmax(loss.probability_logits(z.detach()), -1)[0, 0].item()

    assert restored(alpha=0.5) == pytest.approx(0.55, abs=1e-4)
    assert restored(alpha=0.2) == pytest.approx(0.616, abs=2e-3)  # 1e4^(1/u) = 0.1: no class is above
    assert restored(alpha=0.2, max_weight=1e8) == pytest.approx(0.55, abs=1e-3)


def test_torch_options():
    pytest.importorskip("torch")
    from tailbound.nn_validation.alpha_loss import AlphaLoss

    assert AlphaLoss(alpha=4.0).scale == 0.25
    assert AlphaLoss(alpha=INF).scale == 1
    with pytest.raises(InputError, match="alpha must be a number > 0"):
        AlphaLoss(alpha=0.0)
    with pytest.raises(InputError, match="max_weight must lie in"):
        AlphaLoss(alpha=0.5, max_weight=0.5)
