"""α-loss of a linear score on Gaussian mixtures: label flips, the population risk, and where its minimiser lies.

`flipped` writes label noise as a mixture, so that the state evolution of `vs_loss` covers it. In the model without an
intercept, labels ±1 alike and x | y from N(y μ, Σ), the risk at θ is E l(Z) with Z from N(⟨θ, μ⟩, θ'Σθ).
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.errors import InputError, require_in, require_positive
from ..core.fixed_point import NotConverged
from ..vs_loss.mixture import GaussianMixture
from ..vs_loss.quadrature import layered_nodes
from .losses import MarginLoss, exponent, require_alpha

__all__ = ["flipped", "gaussian_minimiser", "normalised_descent", "population_gradient", "population_risk"]

_LONGEST_THETA = 1e100
_LONGEST_TAIL = 25.0  # standard deviations; beyond, the factors of the integrand leave the range of numbers


def flipped(mixture: GaussianMixture, rates: float | Sequence[float]) -> GaussianMixture:
    """The mixture that a learner sees when labels are flipped: 2J components, the first J with their true labels.

    Args:
        mixture: binary, with signs, J components.
        rates: probability of a flip, one for all or one for each component, in [0, 1).

    Returns:
        Components 1..J with the true sign and J+1..2J, at the same means, with the wrong one; components that never
        occur are left out.

    Example:
        >>> noisy = flipped(GaussianMixture.antipodal(0.5, 2.0), 0.2)
        >>> noisy.priors, noisy.signs
        ((0.4, 0.4, 0.1, 0.1), (1, -1, -1, 1))
    """
    if not mixture.signs:
        raise InputError("mixture must have signs, got none; flips are between the labels +1 and -1")
    share = np.asarray(rates, dtype=float)
    if share.shape not in ((), (1,), (len(mixture.signs),)):
        raise InputError(f"rates must be one or one for each of {len(mixture.signs)} components, got {share.tolist()}")
    share = np.broadcast_to(share, (len(mixture.signs),))
    for rate in share:
        require_in(float(rate), "rates", 0, 1 - 1e-12)
    member = np.concatenate([np.arange(share.size), np.flatnonzero(share > 0)])
    kept = np.arange(member.size) < share.size
    priors = np.asarray(mixture.priors)[member] * np.where(kept, 1 - share[member], share[member])
    signs = np.asarray(mixture.signs)[member] * np.where(kept, 1, -1)
    gram = np.asarray(mixture.gram)[np.ix_(member, member)]
    return GaussianMixture(tuple(priors), tuple(map(tuple, gram)), tuple(signs))


def gaussian_minimiser(mean: Any, covariance: Any, alpha: float) -> np.ndarray:
    """The minimiser of the population risk, 2 α Σ^(-1) μ: the Bayes direction, with a norm that grows with α.

    Args:
        mean: μ, shape (d,).
        covariance: Σ, positive definite, shape (d, d).
        alpha: α in (0, ∞).

    Raises:
        InputError: for α = ∞, shapes that do not match, or a covariance that is not symmetric and positive definite.

    Source:
        Derived here; claim ``alpha_loss.gaussian_minimiser``.

    Example:
        >>> gaussian_minimiser([1.0, 0.5], np.eye(2), 2.0)
        array([4., 2.])
    """
    alpha = require_alpha(alpha)
    if alpha == np.inf:
        raise InputError("alpha must be finite, got inf: the risk keeps falling along the Bayes direction")
    mean, covariance = _moments(mean, covariance)
    return 2 * alpha * np.linalg.solve(covariance, mean)


def population_risk(theta: Any, mean: Any, covariance: Any, alpha: float, *, flip_rate: float = 0.0) -> float:
    """E l(y' ⟨θ, x⟩) of balanced classes N(±μ, Σ), the label y' flipped with probability `flip_rate`.

    Args:
        theta: θ, shape (d,).
        mean: μ, shape (d,).
        covariance: Σ, positive definite, shape (d, d).
        alpha: α in (0, ∞].
        flip_rate: in [0, 1].

    Raises:
        InputError: as `gaussian_minimiser`, for a rate outside [0, 1], or a θ that is not finite or, for α < 1, so long
            that losses of single points overflow.

    Source:
        Derived here; the expectation by panels that are fine where the loss bends.

    Example:
        >>> round(population_risk([0.0, 0.0], [1.0, 0.0], np.eye(2), 1.0), 6)
        0.693147
    """
    z, weights = _scores(theta, mean, covariance, alpha, flip_rate)
    loss = MarginLoss(alpha)
    with np.errstate(over="ignore"):
        values = (1 - flip_rate) * loss.value(z) + (flip_rate * loss.value(-z) if flip_rate else 0.0)
        risk = float(weights @ values)
    _require_short(math.isfinite(risk), theta, alpha)
    return risk


def population_gradient(theta: Any, mean: Any, covariance: Any, alpha: float, *, flip_rate: float = 0.0) -> np.ndarray:
    """Gradient of `population_risk` in θ: E l'(Z) μ + E l''(Z) Σ θ, by Stein's identity; shape (d,).

    A multiple of μ plus one of Σθ, the first not 0 for θ ≠ 0: where μ ≠ 0, stationary points lie on the line through
    Σ^(-1) μ.

    Source:
        Derived here; claim ``alpha_loss.gaussian_stationary_line``.

    Example:
        >>> population_gradient([2.0, 0.0], [1.0, 0.0], np.eye(2), 1.0).round(9) + 0.0
        array([0., 0.])
    """
    z, weights = _scores(theta, mean, covariance, alpha, flip_rate)
    loss = MarginLoss(alpha)
    with np.errstate(over="ignore", invalid="ignore"):
        slope = (1 - flip_rate) * loss.slope(z) - (flip_rate * loss.slope(-z) if flip_rate else 0.0)
        curvature = (1 - flip_rate) * loss.curvature(z) + (flip_rate * loss.curvature(-z) if flip_rate else 0.0)
        factors = weights @ slope, weights @ curvature
    _require_short(bool(np.isfinite(factors).all()), theta, alpha)
    return factors[0] * np.asarray(mean, dtype=float) + factors[1] * (np.asarray(covariance) @ np.asarray(theta))


def normalised_descent(
    start: Any, mean: Any, covariance: Any, alpha: float, *, step: float, within: float, max_steps: int = 10_000
) -> np.ndarray:
    """The path of normalised gradient descent on the population risk, until it is near the minimiser.

    Args:
        start: first θ, shape (d,).
        mean: μ, shape (d,).
        covariance: Σ, positive definite, shape (d, d).
        alpha: α in (0, ∞).
        step: length of every step, > 0.
        within: distance to the minimiser at which it ends, > 0.
        max_steps: budget.

    Returns:
        Every θ visited, shape (steps + 1, d).

    Raises:
        NotConverged: if the budget is spent, or the gradient vanishes on the way, as it does far out for large α.

    Example:
        >>> path = normalised_descent([-1.0, 1.0], [0.5, 0.25], np.eye(2), 1.0, step=0.1, within=0.1)
        >>> len(path) - 1
        20
    """
    require_positive(step, "step")
    require_positive(within, "within")
    goal = gaussian_minimiser(mean, covariance, alpha)
    theta = np.asarray(start, dtype=float)
    path = [theta]
    while not np.linalg.norm(theta - goal) <= within:
        if len(path) > max_steps:
            raise NotConverged(
                f"{max_steps} steps of {step:g} end {np.linalg.norm(theta - goal):.3g} from the minimiser; raise "
                "max_steps, or within above the step"
            )
        gradient = population_gradient(theta, mean, covariance, alpha)
        size = float(np.linalg.norm(gradient))
        if not 0 < size < np.inf:
            raise NotConverged(f"after {len(path) - 1} steps, at {theta}, the gradient is {size:g}; start nearer")
        theta = theta - step * gradient / size
        path.append(theta)
    return np.array(path)


def _moments(mean: Any, covariance: Any) -> tuple[np.ndarray, np.ndarray]:
    mean, covariance = np.asarray(mean, dtype=float), np.asarray(covariance, dtype=float)
    if mean.ndim != 1 or covariance.shape != 2 * mean.shape:
        raise InputError(f"mean (d,) and covariance (d, d) must agree, got {mean.shape} and {covariance.shape}")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise InputError("mean and covariance must be finite, got NaN or infinity")
    even = np.allclose(covariance, covariance.T, rtol=1e-9, atol=0)
    least = float(np.linalg.eigvalsh(covariance)[0])
    if not (even and least > 0):
        found = f"a least eigenvalue {least:g}" if even else "one that differs from its transpose"
        raise InputError(f"covariance must be symmetric and positive definite, got {found}")
    return mean, covariance


def _require_short(short: bool, theta: Any, alpha: float) -> None:
    if not short:
        raise InputError(
            f"theta of length {np.linalg.norm(theta):.3g} makes single losses overflow at alpha {alpha:g}; shorten it"
        )


def _scores(theta: Any, mean: Any, covariance: Any, alpha: float, flip_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of Z = ⟨θ, x⟩ given y = 1, and their weights.

    For α < 1 the loss grows like e^(-κz), κ = 1/α - 1, and moves the bulk of the integral by κ standard deviations of
    Z. Beyond half of that the nodes are those of the moved normal law; with flips on both sides.
    """
    require_in(flip_rate, "flip_rate", 0, 1)
    theta, (mean, covariance) = np.asarray(theta, dtype=float), _moments(mean, covariance)
    if theta.shape != mean.shape:
        raise InputError(f"theta and mean must have one shape, got {theta.shape} and {mean.shape}")
    if not (np.abs(theta) < _LONGEST_THETA).all():
        raise InputError(f"theta must be finite and below {_LONGEST_THETA:g}, got {theta[:5].tolist()}")
    centre, spread = float(theta @ mean), float(np.sqrt(theta @ covariance @ theta))
    scale = max(spread, 1e-300)
    bend, moved = -centre / scale, max(-exponent(alpha), 0.0) * spread
    tails = [-moved] * (flip_rate < 1) + [moved] * (flip_rate > 0) if moved else []
    g, weights = layered_nodes([bend, *(tail / 2 for tail in tails)], [1 / scale, *[0.0] * len(tails)])
    nodes, parts = [g], [weights]
    _require_short(moved <= _LONGEST_TAIL, theta, alpha)
    for tail in tails:
        inside = (nodes[0] - tail / 2) * tail < 0
        nodes[0], parts[0] = nodes[0][inside], parts[0][inside]
        h, weight = layered_nodes([bend - tail, -tail / 2], [1 / scale, 0.0])
        outside = (h + tail / 2) * tail > 0
        nodes.append(h[outside] + tail)
        parts.append(weight[outside] * np.exp(-tail * h[outside] - tail**2 / 2))
    return centre + spread * np.concatenate(nodes), np.concatenate(parts)
