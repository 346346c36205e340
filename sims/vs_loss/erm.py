"""Ridge-regularised linear classifiers on a finite sample, by Newton's method, to a stated accuracy.

Minimise Σ_i l_{c(i)}( y_i (⟨w, x_i⟩ + b) ) / n + (λ / 2) ||w||², b unpenalised. The objective is λ-strongly convex in
w, so a gradient g bounds the distance to the minimiser by ||g|| / λ: the iteration ends when that is 1e-8 of ||w||.
"""

from collections.abc import Sequence

import numpy as np

from ...theory.core.fixed_point import NotConverged
from ...theory.vs_loss.scalar_losses import HingeLoss, ScalarLoss
from ...theory.vs_loss.svm import solve_svm

__all__ = ["fit_ridge"]

_ACCURACY = 1e-8  # relative, of w
_STEPS, _HALVINGS = 200, 60
_SUFFICIENT = 1e-4  # share of the predicted decrease that a step must reach


def fit_ridge(
    features: np.ndarray, labels: np.ndarray, losses: Sequence[ScalarLoss], ridge: float
) -> tuple[np.ndarray, float]:
    """Minimise the ridge-regularised loss.

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
        >>> from ...theory.vs_loss.scalar_losses import LogisticLoss
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

    def evaluate(method: str, margins: np.ndarray) -> np.ndarray:
        values = np.empty(n)
        for members, loss in zip((plus, ~plus), losses, strict=True):
            values[members] = getattr(loss, method)(margins[members])
        return values

    def objective(point: np.ndarray) -> float:
        return evaluate("value", design @ point).mean() + 0.5 * penalty @ point**2

    point = np.zeros(design.shape[1])
    residual = np.inf
    for _ in range(_STEPS):
        margins = design @ point
        slopes = evaluate("slope", margins)
        gradient = design.T @ slopes / n + penalty * point
        residual = float(np.linalg.norm(gradient[:-1]) / (ridge * max(np.linalg.norm(point[:-1]), 1e-300)))
        if residual <= _ACCURACY and abs(gradient[-1]) <= _ACCURACY * np.abs(slopes).mean():
            return point[:-1], float(point[-1])
        weighted = design * (evaluate("curvature", margins) / n)[:, None]
        step = -np.linalg.solve(design.T @ weighted + np.diag(penalty), gradient)
        before, slope, length = objective(point), float(gradient @ step), 1.0
        for _ in range(_HALVINGS):
            if objective(point + length * step) <= before + _SUFFICIENT * length * slope + 1e-15 * abs(before):
                break
            length /= 2
        point = point + length * step
    raise NotConverged(f"Newton's method left a relative error {residual:.1e} of w after {_STEPS} steps; raise ridge")


def _fit_hinges(features, labels, losses: list[HingeLoss], ridge: float) -> tuple[np.ndarray, float]:
    """The soft margin: C_i = ω / (λ n)."""
    required, weights = (
        np.where(labels > 0, *pair) for pair in zip(*((loss.margin, loss.omega) for loss in losses), strict=True)
    )
    machine = solve_svm(features @ features.T, labels, required, upper=weights / (ridge * len(labels)))
    return machine.coefficients @ features, machine.intercept
