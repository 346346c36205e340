"""The support vector machines as convex programs in cvxpy: readable oracles, each answer certified.

`svm` solves the same machines from a Gram matrix, much faster. These say in one line each what is solved.
"""

from typing import Any

import cvxpy as cp
import numpy as np

from ..core.convex import Certificate, solve
from ..core.errors import InputError, nearest, require_positive
from .svm import INTERCEPTS

__all__ = ["cost_sensitive_svm", "margin_svm", "multiclass_svm"]


def cost_sensitive_svm(
    features: np.ndarray, labels: np.ndarray, margin_ratio: float = 1.0, *, intercept: str = "free"
) -> tuple[np.ndarray, float, Certificate]:
    """Hard-margin cost-sensitive SVM: min ||w||² / 2 with y f(x) >= margin_ratio for y = +1 and >= 1 for y = -1.

    Args:
        features: shape (n, d), linearly separable.
        labels: +1 or -1, shape (n,); +1 is the class whose margin `margin_ratio` scales.
        margin_ratio: δ > 0.
        intercept: ``free``, ``none``, or ``penalised`` (b² joins the objective).

    Returns:
        w (d,), b, and the certificate.

    Source:
        Kini et al. (2021), arXiv:2103.01550 (CS-SVM).
    """
    require_positive(margin_ratio, "margin_ratio")
    return margin_svm(features, labels, np.where(labels > 0, margin_ratio, 1.0), intercept=intercept)


def margin_svm(
    features: np.ndarray, labels: np.ndarray, required: Any = 1.0, *, intercept: str = "free", upper: Any = None
) -> tuple[np.ndarray, float, Certificate]:
    """min ||w||² / 2 with y_i f(x_i) >= r_i, or with Σ C_i max(0, r_i - y_i f(x_i)) in the objective.

    Args:
        features: shape (n, d).
        labels: +1 or -1, shape (n,).
        required: r_i, a number or shape (n,); by class it is the CS-SVM, by group the GS-SVM.
        intercept: ``free``, ``none``, or ``penalised``.
        upper: C_i of a soft margin, a number or shape (n,); None for a hard one.

    Returns:
        w (d,), b, and the certificate.
    """
    _require_known(intercept)
    w, b = cp.Variable(features.shape[1]), cp.Variable()
    margins = cp.multiply(labels, features @ w + b)
    constraints: list[Any] = [cp.Zero(b)] if intercept == "none" else []
    objective = cp.sum_squares(w) / 2 + (cp.square(b) / 2 if intercept == "penalised" else 0)
    if upper is None:
        constraints.append(margins >= required)
    else:
        objective += cp.sum(cp.multiply(np.broadcast_to(upper, len(labels)), cp.pos(required - margins)))
    certificate = solve(cp.Problem(cp.Minimize(objective), constraints))
    return _value(w), float(_value(b)), certificate


def multiclass_svm(
    features: np.ndarray,
    labels: np.ndarray,
    required: Any = 1.0,
    *,
    delta: Any = None,
    intercept: str = "free",
    upper: Any = None,
) -> tuple[np.ndarray, np.ndarray, Certificate]:
    """min Σ ||w_c||² / 2 with Δ_y f_y(x_i) - Δ_c f_c(x_i) >= r_i for every rival c of y = y_i.

    Args:
        features: shape (n, d).
        labels: 0..K-1, every class present, shape (n,).
        required: r_i, a number or shape (n,).
        delta: Δ_c, shape (K,); 1 when omitted.
        intercept: ``free`` (with Σ b_c / Δ_c = 0, because a shift of b along 1/Δ changes no constraint), ``none``, or
            ``penalised``.
        upper: C_i of a soft margin with one hinge term for every example and rival; None for a hard one.

    Returns:
        W (K, d), b (K,), and the certificate.

    Source:
        Kini et al. (2021), arXiv:2103.01550 (multi-class CS-SVM).
    """
    _require_known(intercept)
    K, n = int(labels.max()) + 1, len(labels)
    factors = np.ones(K) if delta is None else np.asarray(delta, dtype=float)
    W, b = cp.Variable((K, features.shape[1])), cp.Variable(K)

    scores = cp.multiply(np.tile(factors, (n, 1)), features @ W.T + np.ones((n, 1)) @ cp.reshape(b, (1, K), order="C"))
    own: Any = cp.sum(cp.multiply(np.eye(K)[labels], scores), axis=1)
    wanted = np.broadcast_to(required, n)
    constraints: list[Any] = [cp.Zero(b)] if intercept == "none" else []
    if intercept == "free":
        constraints.append(cp.Zero((1 / factors) @ b))
    objective = cp.sum_squares(W) / 2 + (cp.sum_squares(b) / 2 if intercept == "penalised" else 0)
    for rival in range(K):
        others = np.flatnonzero(labels != rival)
        margins = own[others] - scores[others, rival]
        if upper is None:
            constraints.append(margins >= wanted[others])
        else:
            objective += cp.sum(cp.multiply(np.broadcast_to(upper, n)[others], cp.pos(wanted[others] - margins)))
    certificate = solve(cp.Problem(cp.Minimize(objective), constraints))
    return _value(W), _value(b), certificate


def _require_known(intercept: str) -> None:
    if intercept not in INTERCEPTS:
        raise InputError(f"unknown intercept {intercept!r}; {nearest(intercept, INTERCEPTS)}")


def _value(variable: cp.Variable) -> np.ndarray:
    assert variable.value is not None  # solve() raises unless the problem was solved
    return np.asarray(variable.value, dtype=float)
