"""Properties of the α-loss, its gradient and its proximal map, in numpy and torch; bad input of the whole system."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tailbound.sims.alpha_loss import (
    fit_path,
)
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
    largest_loss,
    lipschitz_constant,
    noise_gap_bound,
    slqc_radius,
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
from tailbound.theory.vs_loss.mixture import GaussianMixture
from tailbound.theory.vs_loss.quadrature import layered_nodes
from tailbound.theory.vs_loss.scalar_losses import LogisticLoss

INF = float("inf")
alphas = st.floats(0.05, 50) | st.sampled_from([1.0, 1 - 1e-12, 1 + 1e-12, INF])
probabilities = st.floats(1e-12, 1.0)
steady = settings(deadline=None, max_examples=60)

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
