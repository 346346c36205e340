"""The best clipped logits as a convex program in cvxpy: the readable oracle of `minimiser`, its answer certified."""

from typing import Any, cast

import cvxpy as cp
import numpy as np

from ..core.convex import Certificate, solve
from .clip import require_clip

__all__ = ["clipped_program"]

_TOLERANCE = 1e-7  # of violations and gaps, relative; Clarabel stalls near 1e-8 on exponential and power cones


def clipped_program(posterior: np.ndarray, max_norm: float, *, norm: float = 2.0) -> tuple[np.ndarray, Certificate]:
    """Minimise logsumexp(z) - q·z, the expected cross-entropy, over ||z||_p <= τ.

    Args:
        posterior: q, shape (K,); a unit vector gives the least loss of one label.
        max_norm: τ > 0.
        norm: p in [1, ∞].

    Returns:
        z, shape (K,), and the certificate.

    Example:
        >>> z, proof = clipped_program(np.array([0.5, 0.4, 0.1]), 0.1)
        >>> z.round(3), proof.gap < 1e-7
        (array([ 0.057,  0.023, -0.079]), True)
    """
    require_clip(max_norm, norm)
    z, p = cp.Variable(len(posterior)), cast(Any, norm)
    size: Any = cp.norm_inf(z) if norm == np.inf else cp.norm1(z) if norm == 1 else cp.pnorm(z, p)
    objective = cp.Minimize(cp.log_sum_exp(z) - np.asarray(posterior, dtype=float) @ z)
    certificate = solve(cp.Problem(objective, [size <= max_norm]), tolerance=_TOLERANCE)
    assert z.value is not None  # solve() raises unless the problem was solved
    return np.asarray(z.value, dtype=float), certificate
