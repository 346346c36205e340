"""The equations of `asymptotics`, solved over leading axes: one for two classes, convex ones for any components.

Arrays: priors π (..., J), signs y (J,), signals σ (..., J, r), required δ (..., J), aspect ratio γ (...), margin u
(...), direction ρ (..., r), intercept b' (...). A margin that is not positive means that there is none.
"""

import numpy as np

from ..core.gaussian import inverse_partial_expectation, partial_moments

__all__ = ["mean_margins", "residual", "smallest_aspect_ratio", "solve_components", "solve_two_classes"]

_MAX_STEPS = 200
_HALVINGS = 40
_SETTLED = 1e-9  # a relative step below this is the last one of a quadratically convergent iteration


def solve_two_classes(priors, signs, signals, required, gamma):
    """u, ρ, b' with a free intercept, from one root.

    With a = π_+ g1(t_+) = π_- g1(t_-) and 4 m² = |σ_+ + σ_-|², all conditions but Σ π_j g2(t_j) + 4 m² a² / γ = γ are
    explicit. Its left side is convex and increasing in a, and E X² >= (E X)² bounds the root from above, so Newton's
    iterates would fall to it with exact t = g1⁻¹(a / π); here t follows a by one Newton step each time.
    """
    total = signals.sum(-2)
    square = (total * total).sum(-1)  # 4 m² = |σ_+ + σ_-|²
    a = gamma / np.sqrt(gamma / priors.prod(-1) + square)
    t = inverse_partial_expectation(a[..., None] / priors)
    for _ in range(_MAX_STEPS):
        mass, first, second = partial_moments(t)
        values = a[..., None] / priors
        lag = np.log(values / first) * first / mass
        excess = (priors * (second + (2 * first + mass * lag) * lag)).sum(-1) + square * a * a / gamma - gamma
        slope = 2 * (values / mass).sum(-1) + 2 * square * a / gamma
        shrink = np.maximum(1 - excess / slope / a, 0.1)
        a, t = a * shrink, t + lag + np.log(shrink)[..., None] * first / mass
        if np.all(abs(shrink - 1) <= _SETTLED) and np.all(abs(lag) <= _SETTLED):  # quadratic: both are at rounding
            break
    direction = a[..., None] * total / gamma[..., None]
    margin = (t.sum(-1) + square * a / gamma) / required.sum(-1)
    test_margins = required * margin[..., None] - t
    offsets = signs * (test_margins - (signals @ direction[..., None])[..., 0])  # both are b', one may round more
    return margin, direction, offsets.mean(-1)


def solve_components(priors, signs, signals, required, gamma, intercept: bool):
    """u, ρ, b' from Newton's method on u -> min F, which is convex and increasing, started to the right of its root."""
    design = _design(signs, signals, intercept)
    shape = np.broadcast_shapes(gamma.shape, priors.shape[:-1], required.shape[:-1], signals.shape[:-2])
    point = np.zeros((*shape, design.shape[-1]))
    # E X_+² >= (E X)_+² for a mixture of the t_j with weights that cancel b' (or with the priors) bounds u
    if intercept:
        side = np.where(signs > 0, (priors * (signs > 0)).sum(-1)[..., None], (priors * (signs < 0)).sum(-1)[..., None])
        weights = priors / (2 * side)
    else:
        weights = priors
    spread = np.sqrt(gamma * (weights * weights / priors).sum(-1))
    pull = np.linalg.norm((weights[..., None] * signals).sum(-2), axis=-1)
    margin = np.broadcast_to((spread + pull) / (weights * required).sum(-1), shape)
    for _ in range(_MAX_STEPS):
        offsets = required * margin[..., None]
        point = _minimiser(priors, design, offsets, gamma, point, intercept)
        value, _, curvature, pulls, masses = _model(priors, design, offsets, gamma, point, intercept)
        step = value / (2 * (pulls * required).sum(-1))
        new = np.maximum(margin - step, 0.0)  # the iterates stay above the root: at 0 there is no margin
        step = margin - new
        cross = -2 * (design * (masses * required)[..., None]).sum(-2)
        point = point + step[..., None] * np.linalg.solve(curvature, cross[..., None])[..., 0]
        margin = new
        if np.all(abs(step) <= _SETTLED * margin):
            break
    direction = point[..., : signals.shape[-1]]
    return margin, direction, point[..., -1] if intercept else np.zeros(shape)


def smallest_aspect_ratio(priors, signs, signals, intercept: bool) -> float:
    """γ*, the minimum over (ρ, b'), |ρ| < 1, of Σ π_j g2(-σ_j·ρ - y_j b') / (1 - |ρ|²), by Dinkelbach's iteration.

    The minimum of numerator - γ denominator is concave and falls with γ: Newton's iterates fall to its root. They start
    from 1/2, the value at 0.
    """
    design, zero = _design(signs, signals, intercept), np.zeros(signs.size)
    point, gamma = np.zeros(design.shape[-1]), 0.5
    for _ in range(_MAX_STEPS):
        point = _minimiser(priors, design, zero, np.asarray(gamma), point, intercept)
        direction = point[: signals.shape[-1]]
        better = float(priors @ partial_moments(-design @ point)[2] / (1 - direction @ direction))
        if better >= gamma * (1 - 4e-16):
            break
        gamma = better
    return gamma


def residual(priors, signs, signals, required, gamma, margin, direction, intercept, free_intercept: bool) -> np.ndarray:
    """Largest violation of the equations, each relative to the size of its terms, shape (...)."""
    lifts = required * margin[..., None] - mean_margins(signs, signals, direction, intercept)
    _, first, second = partial_moments(lifts)
    pulls = priors * first
    energy = (priors * second).sum(-1) / gamma - (1 - (direction * direction).sum(-1))
    stationary = direction - (pulls[..., None] * signals).sum(-2) / gamma[..., None]
    worst = np.maximum(abs(energy), abs(stationary).max(-1))
    if free_intercept:
        worst = np.maximum(worst, abs((signs * pulls).sum(-1)) / pulls.sum(-1))
    return worst


def mean_margins(signs, signals, direction, intercept) -> np.ndarray:
    """l_j = σ_j·ρ + y_j b', shape (..., J)."""
    return (signals @ direction[..., None])[..., 0] + signs * intercept[..., None]


def _design(signs: np.ndarray, signals: np.ndarray, intercept: bool) -> np.ndarray:
    """Rows (σ_j, y_j), shape (..., J, r + 1), or (σ_j) without an intercept: t = δ u - design @ (ρ, b')."""
    if not intercept:
        return signals
    column = np.broadcast_to(signs[:, None], (*signals.shape[:-1], 1))
    return np.concatenate([signals, column], axis=-1)


def _model(priors, design, offsets, gamma, point, intercept: bool):
    """F at fixed u with gradient and Hessian in (ρ, b'), and π_j g1(t_j), π_j Φ(t_j)."""
    mass, first, second = partial_moments(offsets - (design @ point[..., None])[..., 0])
    ridge = np.ones(point.shape[-1])
    if intercept:
        ridge[-1] = 0.0
    pulls, masses = priors * first, priors * mass
    value = (priors * second).sum(-1) + gamma * ((ridge * point * point).sum(-1) - 1)
    gradient = 2 * (gamma[..., None] * ridge * point - (design * pulls[..., None]).sum(-2))
    curvature = 2 * np.swapaxes(design, -1, -2) @ (masses[..., None] * design)
    return value, gradient, curvature + 2 * gamma[..., None, None] * np.diag(ridge), pulls, masses


def _minimiser(priors, design, offsets, gamma, point, intercept: bool) -> np.ndarray:
    """(ρ, b') with the least F at fixed u, by Newton's method with step halving."""
    value, gradient, curvature, _, _ = _model(priors, design, offsets, gamma, point, intercept)
    for _ in range(_MAX_STEPS):
        move = -np.linalg.solve(curvature, gradient[..., None])[..., 0]
        slope, length = (gradient * move).sum(-1), np.ones(value.shape)
        near = -slope <= 1e-13 * gamma  # a full step ends at rounding
        for _ in range(_HALVINGS):
            trial = point + length[..., None] * move
            new = _model(priors, design, offsets, gamma, trial, intercept)
            short = ~near & (new[0] > value + 1e-4 * length * slope)
            if not short.any():
                break
            length = np.where(short, length / 2, length)
        point, (value, gradient, curvature, _, _) = trial, new
        if near.all():
            break
    return point
