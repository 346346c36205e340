"""The convex programs behind α-loss: readable oracles in cvxpy, each answer certified.

In the probability the loss is convex for every α (a power cone). In the score it is convex for α <= 1, as
(α / (1 - α)) (exp((1/α - 1) log(1 + e^(-z))) - 1), an exponential cone.
"""

from typing import Any

import cvxpy as cp
import numpy as np

from ..core.convex import Certificate, solve
from ..core.errors import InputError, require_classes, require_positive, require_signs
from .calibration import require_distributions
from .losses import exponent

__all__ = ["least_label_sum", "minimise_conditional_risk", "minimise_ridge_risk"]

_TOLERANCE = 1e-7  # Clarabel stalls near 1e-8 on power and exponential cones


def minimise_conditional_risk(probabilities: Any, alpha: float) -> tuple[np.ndarray, Certificate]:
    """Minimise Σ_y P(y) l^α(Q(y)) over distributions Q: the oracle of `calibration.tilted` and `minimal_risk`.

    Args:
        probabilities: P, shape (K,).
        alpha: α in (0, ∞].

    Returns:
        Q, shape (K,), and the certificate of the risk.

    Raises:
        InputError: for what is not one distribution, or α outside (0, ∞].
    """
    P, u = require_distributions(probabilities), exponent(alpha)
    if P.ndim != 1:
        raise InputError(f"probabilities must be one distribution, shape (K,), got {P.shape}")
    Q = cp.Variable(P.size)
    occurring = np.flatnonzero(P > 0)  # the loss of a label that never occurs weighs nothing, even where it is infinite
    if u == 0:
        loss: Any = -P[occurring] @ cp.log(Q[occurring])
    elif u == 1:
        loss = 1 - P @ Q
    else:
        loss = (1 - P[occurring] @ cp.power(Q[occurring], u, approx=False)) / u
    proof = solve(cp.Problem(cp.Minimize(loss), _simplex(Q)), tolerance=_TOLERANCE)
    return np.asarray(Q.value, dtype=float), proof


def minimise_ridge_risk(
    features: np.ndarray, labels: np.ndarray, alpha: float, ridge: float
) -> tuple[np.ndarray, float, Certificate]:
    """Minimise the mean α-loss of y (⟨w, x⟩ + b) plus (λ / 2) ||w||², for α <= 1.

    Args:
        features: shape (n, d).
        labels: +1 or -1, shape (n,).
        alpha: α in (0, 1].
        ridge: λ > 0.

    Returns:
        w, shape (d,), b, and the certificate.

    Raises:
        InputError: for α > 1, other labels, or a ridge that is not > 0.
    """
    u = exponent(alpha)
    if u > 0:
        raise InputError(f"alpha must be <= 1, where the loss is convex, got {alpha}")
    require_positive(ridge, "ridge")
    require_signs(labels)
    w, b = cp.Variable(features.shape[1]), cp.Variable()
    log_loss = cp.logistic(-cp.multiply(labels, features @ w + b))
    mean: Any = cp.sum(log_loss if u == 0 else (cp.exp(-u * log_loss) - 1) / -u) / len(labels)
    proof = solve(cp.Problem(cp.Minimize(mean + ridge / 2 * cp.sum_squares(w)), []), tolerance=_TOLERANCE)
    return np.asarray(w.value, dtype=float), float(np.asarray(b.value)), proof


def least_label_sum(num_classes: int, alpha: float) -> Certificate:
    """Certificate of the least Σ_k l^α(Q(k)) over distributions Q, for 1 < α; the largest is at a corner."""
    u = exponent(alpha)
    require_classes(num_classes)
    if not 0 < u:
        raise InputError(f"alpha must be > 1, got {alpha}: up to 1 the largest sum is infinite")
    Q = cp.Variable(num_classes)
    total: Any = (num_classes - cp.sum(cp.power(Q, u, approx=False) if u < 1 else Q)) / u
    return solve(cp.Problem(cp.Minimize(total), _simplex(Q)), tolerance=_TOLERANCE)


def _simplex(Q: cp.Variable) -> list[cp.Constraint]:
    return [Q >= 0, cp.Zero(cp.sum(Q) - 1)]
