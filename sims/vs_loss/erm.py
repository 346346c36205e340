"""Ridge-regularised linear classifiers on a finite sample, by Newton's method, to a stated accuracy.

Minimise Σ_i l_{c(i)}( y_i (⟨w, x_i⟩ + b) ) / n + (λ / 2) ||w||², b unpenalised; or the same for K classes with VS-loss.
The objective is λ-strongly convex in w, so a gradient g bounds the distance to the minimiser by ||g|| / λ: the
iteration ends when that is 1e-8 of ||w||.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import softmax

from ...theory.core.fixed_point import NotConverged
from ...theory.vs_loss.losses import VSParameters, vs_loss
from ...theory.vs_loss.scalar_losses import HingeLoss, ScalarLoss
from ...theory.vs_loss.svm import solve_svm

__all__ = ["fit_multiclass", "fit_ridge"]

_ACCURACY = 1e-8
_STEPS, _HALVINGS = 200, 60
_SUFFICIENT = 1e-4  # share of the predicted decrease that a step must reach
_NOISE = 1e-12  # relative rounding of an objective


def fit_ridge(
    features: np.ndarray, labels: np.ndarray, losses: Sequence[ScalarLoss], ridge: float
) -> tuple[np.ndarray, float]:
    """Minimise the ridge-regularised loss of a signed score.

    Args:
        features: shape (n, D).
        labels: +1 or -1, both present, shape (n,).
        losses: for the classes +1 and -1; smooth ones, or two hinges.
        ridge: λ > 0.

    Returns:
        w, shape (D,), and b.

    Raises:
        NotConverged: if 200 Newton steps do not reach the accuracy.

    Example:
        >>> from tailbound.theory.vs_loss.scalar_losses import LogisticLoss
        >>> w, b = fit_ridge(np.array([[1.0], [-1.0]]), np.array([1, -1]), [LogisticLoss()] * 2, ridge=0.1)
        >>> bool(abs(0.1 * w[0] + LogisticLoss().slope(w[0])) < 1e-8), round(b, 9) + 0.0
        (True, 0.0)
    """
    plus = labels > 0
    hinges = [loss for loss in losses if isinstance(loss, HingeLoss)]
    if len(hinges) == 2:
        return _fit_hinges(features, labels, hinges, ridge)
    n = len(labels)
    design = np.column_stack([features, np.ones(n)]) * labels[:, None]
    penalty = np.append(np.full(features.shape[1], ridge), 0.0)

    def each(method: str, margins: np.ndarray) -> np.ndarray:
        values = np.empty(n)
        for members, loss in zip((plus, ~plus), losses, strict=True):
            values[members] = getattr(loss, method)(margins[members])
        return values

    def objective(point: np.ndarray) -> float:
        return float(each("value", design @ point).mean() + 0.5 * penalty @ point**2)

    def derivatives(point: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        margins = design @ point
        slopes = each("slope", margins) / n
        gradient = design.T @ slopes + penalty * point
        hessian = design.T @ (design * (each("curvature", margins) / n)[:, None]) + np.diag(penalty)
        return gradient, hessian, _residual(gradient[:-1], gradient[-1:], point[:-1], slopes, ridge)

    found = _newton(np.zeros(design.shape[1]), objective, derivatives)
    return found[:-1], float(found[-1])


def fit_multiclass(
    features: np.ndarray, labels: np.ndarray, parameters: VSParameters, ridge: float
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the mean VS-loss plus (λ / 2) ||W||_F² over W and b.

    Adding a multiple of 1/Δ to the scores changes no loss: W is orthogonal to it, and b is made so.

    Args:
        features: shape (n, D).
        labels: 0..K-1, shape (n,).
        parameters: Δ, ι, ω, shapes (K,).
        ridge: λ > 0.

    Returns:
        W, shape (K, D), and b, shape (K,).

    Raises:
        NotConverged: if 200 Newton steps do not reach the accuracy.

    Example:
        >>> parameters = VSParameters(np.ones(3), np.zeros(3), np.ones(3))
        >>> weights, intercepts = fit_multiclass(np.eye(3), np.arange(3), parameters, ridge=0.1)
        >>> bool(np.allclose(np.diag(weights), -2 * weights[0, 1])), bool((abs(intercepts) < 1e-9).all())
        (True, True)
    """
    (n, dimension), K = features.shape, len(parameters.delta)
    basis = np.linalg.qr(np.column_stack([1 / parameters.delta, np.eye(K)]))[0][:, 1:K]
    pull = parameters.delta[:, None] * basis  # of the coordinates of the scores on the adjusted scores
    design = np.column_stack([features, np.ones(n)])
    penalty = np.append(np.full(dimension, ridge), 0.0)
    weights, truth = parameters.omega[labels] / n, np.eye(K)[labels]

    def objective(point: np.ndarray) -> float:
        theta = point.reshape(K - 1, -1)
        losses = vs_loss(design @ theta.T @ basis.T, labels, parameters)
        return float(losses.mean() + 0.5 * (penalty * theta**2).sum())

    def derivatives(point: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        theta = point.reshape(K - 1, -1)
        shares = softmax(design @ theta.T @ pull.T + parameters.iota, axis=1)
        slopes = weights[:, None] * ((shares - truth) @ pull)
        gradient = slopes.T @ design + penalty * theta
        mean = shares @ pull
        hessian = np.empty((K - 1, dimension + 1, K - 1, dimension + 1))
        for a in range(K - 1):
            for b in range(a + 1):
                bend = weights * (shares @ (pull[:, a] * pull[:, b]) - mean[:, a] * mean[:, b])
                hessian[a, :, b] = design.T @ (design * bend[:, None])
                hessian[b, :, a] = hessian[a, :, b]
            hessian[a, :, a] += np.diag(penalty)
        residual = _residual(gradient[:, :-1], gradient[:, -1], theta[:, :-1], slopes, ridge)
        return gradient.ravel(), hessian.reshape(point.size, point.size), residual

    theta = _newton(np.zeros((K - 1) * (dimension + 1)), objective, derivatives).reshape(K - 1, -1)
    return basis @ theta[:, :-1], basis @ theta[:, -1]


def _fit_hinges(features, labels, losses: list[HingeLoss], ridge: float) -> tuple[np.ndarray, float]:
    """The soft margin: C_i = ω / (λ n)."""
    pairs = zip(*((loss.margin, loss.omega) for loss in losses), strict=True)
    required, weights = (np.where(labels > 0, *pair) for pair in pairs)
    machine = solve_svm(features @ features.T, labels, required, upper=weights / (ridge * len(labels)))
    return machine.coefficients @ features, machine.intercept


def _residual(of_weights, of_intercept, weights, slopes, ridge: float) -> float:
    """Bound of the relative error of the weights, or the rest of the intercept's equation relative to its terms."""
    size = ridge * float(np.linalg.norm(weights))
    error = float(np.linalg.norm(of_weights)) / size if size else np.inf
    return max(error, float(np.abs(of_intercept).max() / np.abs(slopes).sum()))


def _newton(
    point: np.ndarray,
    objective: Callable[[np.ndarray], float],
    derivatives: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, float]],
) -> np.ndarray:
    """Newton's method with halved steps; `derivatives` returns gradient, Hessian and the residual to be met."""
    residual = np.inf
    for _ in range(_STEPS):
        gradient, hessian, residual = derivatives(point)
        if residual <= _ACCURACY:
            return point
        step = -np.linalg.solve(hessian, gradient)
        before, slope, length = objective(point), float(gradient @ step), 1.0
        for _ in range(_HALVINGS):
            if objective(point + length * step) <= before + _SUFFICIENT * length * slope + _NOISE * abs(before):
                break
            length /= 2
        point = point + length * step
    raise NotConverged(f"Newton's method left a relative error {residual:.1e} after {_STEPS} steps; raise ridge")
