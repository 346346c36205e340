"""K-class asymptotics: the softmax proximal map, rules for expectations, orthant probabilities, solutions."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import ndtr, softmax
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.fixed_point import NotConverged
from tailbound.theory.vs_loss.losses import VSParameters, vs_loss, vs_parameters
from tailbound.theory.vs_loss.mixture import GaussianMixture
from tailbound.theory.vs_loss.multiclass import ridge_erm_multiclass
from tailbound.theory.vs_loss.quadrature import gaussian_rule, orthant_probability
from tailbound.theory.vs_loss.scalar_losses import LogisticLoss
from tailbound.theory.vs_loss.softmax_prox import softmax_prox
from tailbound.theory.vs_loss.state_evolution import ridge_erm

COUNTS = ClassCounts((6, 3, 1))
THREE = GaussianMixture(tuple(COUNTS.priors), ((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 6.25)))
seeds = st.integers(0, 2**32 - 1)


def log_floats(low, high):
    return st.floats(np.log(low), np.log(high)).map(lambda x: float(np.exp(x)))


def random_problem(seed, num_classes, largest=3.0):
    """A mixture with random means and priors between 0.001 and 1, and random parameters of VS-loss."""
    rng = np.random.default_rng(seed)
    priors = np.maximum(rng.dirichlet(np.ones(num_classes)), 0.001)
    means = rng.standard_normal((num_classes, rng.integers(1, num_classes + 1))) * rng.uniform(0.1, largest)
    mixture = GaussianMixture(tuple(priors / priors.sum()), tuple(map(tuple, means @ means.T)))
    delta, iota, omega = rng.uniform([[0.2], [-2], [0.3]], [[1], [1], [3]], (3, num_classes))
    return mixture, VSParameters(delta, iota, omega)


# the proximal map


@settings(deadline=None)
@given(seeds, st.integers(2, 8), log_floats(1e-4, 1e6), log_floats(0.1, 1e3), st.booleans())
@example(119, 4, 442413.3920089205, 1.0, False)  # the gradient at the point found is 1e-3 off
def test_the_softmax_proximal_point_is_stationary(seed, num_classes, scale, reach, warm):
    """`scale`² is the size of V Δ²; `reach` that of the scores of test points."""
    rng = np.random.default_rng(seed)
    directions = scale * rng.standard_normal((num_classes, num_classes - 1))
    offsets, label = rng.uniform(-5, 5, num_classes), int(rng.integers(num_classes))
    scores = reach * rng.standard_normal((num_classes, 20))
    eta = np.linalg.lstsq(directions - directions.mean(axis=0), scores - scores.mean(axis=0), rcond=None)[0]
    start = warm * scale * rng.standard_normal(eta.shape)
    gradient, bend = softmax_prox(directions, offsets, 1.5, label, eta, start)
    share = softmax(directions @ (eta - gradient) + offsets[:, None], axis=0)
    stated = 1.5 * directions.T @ (share - np.eye(num_classes)[label][:, None])
    step = np.einsum("ijn,jn->in", np.eye(num_classes - 1)[:, :, None] - bend, gradient - stated)  # of Newton's method
    rounding = 1e-13 * (1 + np.abs(directions @ eta).max(axis=0))
    assert (np.abs(step).max(axis=0) <= scale * (1e-10 + rounding)).all()
    eigenvalues = np.linalg.eigvalsh(np.moveaxis(bend, 2, 0))
    assert (eigenvalues > -1e-9 - 1e-14 * scale**2).all()
    assert (eigenvalues < 1 + 1e-9).all()


def test_the_softmax_proximal_point_minimises():
    directions = np.array([[1.0, 0.5], [-2.0, 1.0], [0.3, -1.0]])
    offsets, eta = np.array([0.2, -1.0, 0.5]), np.array([[0.4], [-3.0]])

    def objective(s):
        scores = (directions @ s + offsets)[None]
        return (
            0.5 * np.sum((s - eta[:, 0]) ** 2)
            + 2.0 * vs_loss(scores, np.array([1]), VSParameters(np.ones(3), np.zeros(3), np.ones(3)))[0]
        )

    found = minimize(objective, np.zeros(2), method="BFGS", options={"gtol": 1e-9})
    gradient, bend = softmax_prox(directions, offsets, 2.0, 1, eta, np.zeros((2, 1)))
    np.testing.assert_allclose(eta[:, 0] - gradient[:, 0], found.x, atol=1e-6)
    for j in range(2):
        moved = [
            softmax_prox(directions, offsets, 2.0, 1, eta + h * np.eye(2)[:, [j]], gradient)[0] for h in (-1e-5, 1e-5)
        ]
        np.testing.assert_allclose((moved[1] - moved[0])[:, 0] / 2e-5, bend[:, j, 0], atol=1e-8)


# rules


@pytest.mark.parametrize("dimension", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("shifted", [False, True])
def test_rules_have_the_moments_of_a_gaussian(dimension, shifted):
    nodes, weights = gaussian_rule(dimension, 1, shifted=shifted)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-13)
    np.testing.assert_allclose(nodes @ weights, 0, atol=1e-10)
    np.testing.assert_allclose((nodes * weights) @ nodes.T, np.eye(dimension), atol=2e-7 if dimension < 4 else 1e-12)
    np.testing.assert_allclose(nodes**4 @ weights, 3, atol=1e-5 if dimension < 4 else 0.15)


@pytest.mark.parametrize(("dimension", "level", "accuracy"), [(1, 0, 1e-11), (2, 1, 1e-9), (3, 2, 1e-7), (4, 4, 1e-4)])
def test_rules_integrate_a_logistic(dimension, level, accuracy):
    direction = np.ones(dimension) / np.sqrt(dimension)
    line, line_weights = gaussian_rule(1, 4)
    exact = line_weights @ np.logaddexp(0, 0.3 - line[0])
    for shifted in (False, True):
        nodes, weights = gaussian_rule(dimension, level, shifted=shifted)
        np.testing.assert_allclose(weights @ np.logaddexp(0, 0.3 - direction @ nodes), exact, atol=accuracy)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_orthants_in_closed_form(size):
    equal = 0.5 * (np.eye(size) + 1)  # correlations 1/2: the first of size + 1 exchangeable variables is the largest
    probability, error = orthant_probability(np.zeros(size), equal)
    np.testing.assert_allclose(probability, 1 / (size + 1), atol=max(3 * error, 1e-12))
    means = np.linspace(-1, 2, size)
    scales = np.linspace(0.5, 3, size)
    probability, error = orthant_probability(means * scales, np.diag(scales**2))
    np.testing.assert_allclose(probability, np.prod(ndtr(means)), atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(2, 6))
def test_orthants_of_a_partition_sum_to_one(seed, size):
    """One of size + 1 scores is the largest."""
    rng = np.random.default_rng(seed)
    root, means = rng.standard_normal((size + 1, size + 3)), rng.standard_normal(size + 1) * 2
    covariance, total, slack = root @ root.T, 0.0, 1e-10
    for c in range(size + 1):
        lead = np.delete(np.eye(size + 1)[c] - np.eye(size + 1), c, axis=0)
        probability, error = orthant_probability(lead @ means, lead @ covariance @ lead.T)
        total, slack = total + probability, slack + 5 * error
    assert abs(total - 1) < slack + 2e-4 * (size > 2)


# solutions


@settings(max_examples=30, deadline=None)
@given(seeds, log_floats(0.05, 50), log_floats(1e-8, 1e2))
def test_two_classes_are_binary(seed, aspect_ratio, ridge):
    mixture, (delta, iota, omega) = random_problem(seed, 2)
    binary = GaussianMixture(mixture.priors, mixture.gram, (1, -1))
    pair = [LogisticLoss(omega[c], iota[1 - c] - iota[c]) for c in range(2)]
    stated = ridge_erm(binary, aspect_ratio, ridge / (delta @ delta), pair)
    fit = ridge_erm_multiclass(mixture, aspect_ratio, ridge, VSParameters(delta, iota, omega), accuracy=1e-6)
    np.testing.assert_allclose(fit.class_errors, stated.class_errors, atol=5e-6)
    length = delta @ np.sqrt(np.diag(fit.covariance))  # rows of W are opposite
    np.testing.assert_allclose(length, stated.norm, rtol=1e-3)


@settings(max_examples=25, deadline=None)
@given(seeds, log_floats(0.05, 50), log_floats(1e-8, 1e2), st.booleans())
def test_three_classes_are_solved_over_the_range(seed, aspect_ratio, ridge, true_logit_only):
    mixture, parameters = random_problem(seed, 3)
    if true_logit_only:
        parameters = parameters._replace(iota=-np.diag(np.abs(parameters.iota)))
    fit = ridge_erm_multiclass(mixture, aspect_ratio, ridge, parameters)
    assert fit.quadrature_error <= 1e-3
    assert ((fit.class_errors >= -1e-12) & (fit.class_errors <= 1 + 1e-12)).all()
    free = 1 / parameters.delta
    size = np.sqrt(np.trace(fit.covariance)) * np.linalg.norm(free)
    np.testing.assert_allclose(free @ fit.covariance, 0, atol=1e-9 * size**2)
    assert abs(free @ fit.intercepts) <= 1e-9 * (1 + np.abs(fit.intercepts).max()) * np.linalg.norm(free)


@pytest.mark.parametrize("num_classes", [4, 6, 10])
def test_many_classes(num_classes):
    mixture, parameters = random_problem(num_classes, num_classes)
    fit = ridge_erm_multiclass(mixture, 0.7, 0.05, parameters, accuracy=3e-3)
    assert fit.quadrature_error <= 3e-3
    order = np.random.default_rng(0).permutation(num_classes)
    shuffled = GaussianMixture(
        tuple(np.array(mixture.priors)[order]), tuple(map(tuple, np.array(mixture.gram)[np.ix_(order, order)]))
    )
    other = ridge_erm_multiclass(shuffled, 0.7, 0.05, VSParameters(*(x[order] for x in parameters)), accuracy=3e-3)
    np.testing.assert_allclose(other.class_errors, fit.class_errors[order], atol=6e-3)


def test_reference_values():
    """Means 2 e_1, 2 e_2, 2.5 e_3: mean and standard error of 20 draws at d = 200, n = 400."""
    for tau, stated, measured in (
        (0.0, (0.0912, 0.2369, 0.5400), (0.0936, 0.2284, 0.5205)),
        (1.0, (0.1677, 0.2154, 0.2855), (0.1719, 0.2094, 0.2728)),
    ):
        fit = ridge_erm_multiclass(THREE, 0.5, 0.02, vs_parameters(COUNTS, tau=tau), accuracy=1e-6)
        np.testing.assert_allclose(fit.class_errors, stated, atol=6e-5)
        assert (np.abs(fit.class_errors - measured) < 0.03).all()


@pytest.mark.parametrize("iota", [np.array([0.5, 0.0, -1.0]), -np.diag([0.2, 0.3, 0.6])])
def test_the_equations_hold_by_another_road(iota):
    """The fixed point in K = 3 scores, with Gauss-Hermite nodes and the loss of the library differentiated."""
    delta, omega = np.array([1.0, 0.7, 0.4]), np.array([1.0, 1.5, 2.0])
    aspect_ratio, ridge = 0.8, 0.3
    fit = ridge_erm_multiclass(THREE, aspect_ratio, ridge, VSParameters(delta, iota, omega), accuracy=1e-8)
    line, line_weights = np.polynomial.hermite_e.hermegauss(30)
    nodes = np.stack(np.meshgrid(line, line, indexing="ij")).reshape(2, -1)
    weights = np.outer(line_weights, line_weights).ravel() / line_weights.sum() ** 2
    basis = np.linalg.svd((1 / delta)[None])[2][1:].T  # W lies in its span
    noise, step = np.linalg.cholesky(basis.T @ fit.covariance @ basis), basis.T @ fit.step @ basis
    gram, priors = np.array(THREE.gram), np.array(THREE.priors)
    pulls, square, bend = [], np.zeros((3, 3)), np.zeros((2, 2))
    for c in range(3):
        h = fit.overlaps[:, [c]] + fit.intercepts[:, None] + basis @ noise @ nodes
        slope = np.zeros_like(h)
        offsets = np.broadcast_to(iota, (3, 3))[c][:, None]
        for _ in range(400):  # the proximal point solves u = h - V ∇l(u); averaged steps contract
            u = h - fit.step @ slope
            share = softmax(delta[:, None] * u + offsets, axis=0)
            slope = slope + 0.25 * (omega[c] * delta[:, None] * (share - np.eye(3)[:, [c]]) - slope)
        pulls.append(priors[c] * slope @ weights)
        square += priors[c] * (slope * weights) @ slope.T
        bend += priors[c] * (basis.T @ slope * weights) @ nodes.T @ np.linalg.inv(noise)
    pulls = np.array(pulls).T
    loose = np.linalg.inv(ridge * np.eye(2) + bend)
    np.testing.assert_allclose(pulls.sum(axis=1), 0, atol=1e-7)
    np.testing.assert_allclose(step, aspect_ratio * loose, atol=1e-6)
    np.testing.assert_allclose(fit.overlaps, -basis @ loose @ basis.T @ pulls @ gram, atol=1e-6)
    stated = loose @ basis.T @ (pulls @ gram @ pulls.T + aspect_ratio * square) @ basis @ loose
    np.testing.assert_allclose(basis.T @ fit.covariance @ basis, stated, atol=1e-6)


def test_without_an_intercept():
    fit = ridge_erm_multiclass(THREE, 0.5, 0.02, vs_parameters(COUNTS, tau=1.0), intercept=False)
    np.testing.assert_allclose(fit.intercepts, 0, atol=1e-12)
    plain = ridge_erm_multiclass(THREE, 0.5, 0.02, vs_parameters(COUNTS), intercept=False)
    assert fit.balanced_error < plain.balanced_error
    assert np.isclose(fit.error, np.dot(COUNTS.priors, fit.class_errors))


def test_refusals_name_the_reason():
    mixture, parameters = random_problem(1, 5)
    with pytest.raises(NotConverged, match="accuracy of 1e-12"):
        ridge_erm_multiclass(mixture, 1.0, 0.1, parameters, accuracy=1e-12)


NEUTRAL = vs_parameters(COUNTS)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ((GaussianMixture.antipodal(0.2, 1.0), 1.0, 1.0, NEUTRAL), "signs"),
        ((THREE, 0.0, 1.0, NEUTRAL), "aspect_ratio"),
        ((THREE, 1.0, float("nan"), NEUTRAL), "ridge"),
        ((THREE, 1.0, 1.0, NEUTRAL._replace(delta=np.ones(2))), "shapes"),
        ((THREE, 1.0, 1.0, NEUTRAL._replace(iota=np.zeros((3, 2)))), "shapes"),
        ((THREE, 1.0, 1.0, NEUTRAL._replace(omega=np.array([1.0, 0.0, 1.0]))), "omega"),
        ((THREE, 1.0, 1.0, NEUTRAL._replace(delta=-np.ones(3))), "delta"),
        ((THREE, 1.0, 1.0, NEUTRAL._replace(iota=np.array([0.0, np.inf, 0.0]))), "iota"),
    ],
)
def test_rejects(arguments, shown):
    with pytest.raises(InputError, match=shown) as excinfo:
        ridge_erm_multiclass(*arguments)
    assert "\n" not in str(excinfo.value)


def test_rejects_accuracy():
    with pytest.raises(InputError, match="accuracy"):
        ridge_erm_multiclass(THREE, 1.0, 1.0, NEUTRAL, accuracy=0.0)
