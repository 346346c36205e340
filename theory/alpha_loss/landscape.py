"""Lipschitz constants, curvature, saturation in α, and the bounds that follow: generalisation, descent, label noise.

The score is z = y ⟨θ, x⟩ with |z| <= r, the `radius`: r = ||θ|| ||x|| at most; for x in [0, 1]^d and ||θ|| <= R, R √d.
"""

import math
from numbers import Real

import numpy as np
from scipy.special import expit

from ..core.errors import InputError, require_classes, require_in, require_positive
from .losses import MarginLoss, alpha_of_log, exponent, require_alpha

__all__ = [
    "convexity_modulus",
    "descent_steps",
    "generalisation_bound",
    "inflection",
    "largest_loss",
    "lipschitz_constant",
    "noise_gap_bound",
    "saturation_constants",
    "slqc_radius",
    "smallest_alpha_for_gap",
    "steepest_probability",
]

_MOST_STEPS = 10**15


def inflection(alpha: float) -> float:
    """The score log(1 - 1/α) above which the loss of a score is convex, for α > 1; -∞ for α <= 1, convex everywhere.

    Example:
        >>> round(inflection(2.0), 4), inflection(0.5), inflection(float("inf"))
        (-0.6931, -inf, 0.0)
    """
    u = exponent(alpha)
    return math.log(u) if u > 0 else -math.inf


def steepest_probability(alpha: float) -> float:
    """The p at which the loss of a score is steepest, (α - 1) / (2α - 1) for α > 1; 0 for α <= 1.

    Example:
        >>> steepest_probability(2.0), steepest_probability(float("inf"))
        (0.3333333333333333, 0.5)
    """
    u = exponent(alpha)
    return u / (1 + u) if u > 0 else 0.0


def lipschitz_constant(alpha: float, radius: float = math.inf) -> float:
    """The largest |l'(z)| over |z| <= `radius`, exactly; over the line it is infinite for α < 1, 1 at α = 1.

    For α <= 1 it is attained at z = -radius; for α > 1 at the inflection log(1 - 1/α) once the radius reaches it.

    Args:
        alpha: α in (0, ∞].
        radius: r > 0, in logit units; infinite for the whole line.

    Source:
        Derived here; claim ``alpha_loss.lipschitz_constant``.

    Example:
        >>> round(lipschitz_constant(1.2, 0.5), 4), round(lipschitz_constant(1.2), 4), lipschitz_constant(float("inf"))
        (0.5292, 0.6197, 0.25)
    """
    u = exponent(alpha)
    _require_radius(radius)
    if u > 0 and radius >= -math.log(u):
        p = u / (1 + u)
        return p**u * (1 - p)
    if radius == math.inf:
        return 1.0 if u == 0 else math.inf
    return float(-MarginLoss(alpha).slope(np.array(-radius)))


def largest_loss(alpha: float, radius: float) -> float:
    """The largest loss over |z| <= `radius`, (α / (α - 1)) (1 - σ(-r)^(1 - 1/α)); decreasing in α.

    Example:
        >>> round(largest_loss(1.0, 3.0), 4), round(largest_loss(2.0, 3.0), 4)
        (3.0486, 1.5645)
    """
    _require_radius(radius)
    return float(alpha_of_log(-np.logaddexp(0, radius), alpha))


def convexity_modulus(alpha: float, radius: float) -> float:
    """The least l''(z) over |z| <= `radius`, attained at z = +radius, for α <= 1.

    The risk of a linear score is strongly convex with this times the least eigenvalue of E x x'.

    Args:
        alpha: α in (0, 1].
        radius: r > 0, in logit units.

    Raises:
        InputError: for α > 1, where the loss is not convex.

    Source:
        Derived here; claim ``alpha_loss.convexity_modulus``.

    Example:
        >>> round(convexity_modulus(1.0, 2.0), 4), round(convexity_modulus(0.5, 2.0), 4)
        (0.105, 0.1353)
    """
    alpha = require_alpha(alpha)
    _require_radius(radius)
    if alpha > 1:
        raise InputError(f"alpha must be <= 1, where the loss is convex, got {alpha}")
    return float(MarginLoss(alpha).curvature(np.array(radius)))


def saturation_constants(radius: float) -> tuple[float, float]:
    """How far the loss and its slope move with 1/α: at most L²/2 and L σ(r) times |1/α - 1/α'|, for α, α' >= 1.

    L = log(1 + e^r). Both are sharp at z = -r as α and α' tend to 1.

    Args:
        radius: r > 0, in logit units.

    Source:
        The Lipschitz property in 1/α is of Sypherd et al. (2022); the constants are derived here.

    Example:
        >>> [round(constant, 4) for constant in saturation_constants(1.0)]
        [0.8623, 0.9601]
    """
    _require_radius(radius)
    size = float(np.logaddexp(0, radius))
    return size * size / 2, size * float(expit(radius))


def slqc_radius(
    alpha: float,
    start_alpha: float,
    *,
    gradient_norm: float,
    start_radius: float,
    radius: float,
    feature_norm: float,
    parameter_radius: float,
) -> float:
    """What is left of a strict-local-quasi-convexity radius ρ = ε/κ when α grows: a lower bound, 0 when nothing is.

    Args:
        alpha: α, at least `start_alpha`.
        start_alpha: α_0 >= 1, at which the radius is `start_radius`.
        gradient_norm: ||∇R|| at θ for α_0, > 0.
        start_radius: ρ_0 > 0 with ⟨-∇R, θ_0 - θ⟩ >= ρ_0 ||∇R|| at α_0.
        radius: largest score |⟨θ, x⟩| at θ, >= 0.
        feature_norm: largest ||x||.
        parameter_radius: R, the ball that holds θ and θ_0.

    Returns:
        ρ_0 (1 - (1 + 2R/ρ_0) δ / (G + δ)) with δ the change of the gradient, or 0 when that is not positive.

    Source:
        Sypherd et al. (2022) bound this degradation; this form is derived here (claim ``alpha_loss.slqc_shrinks``).

    Example:
        >>> known = dict(gradient_norm=0.3, start_radius=0.5, radius=1.0, feature_norm=1.0, parameter_radius=1.0)
        >>> round(slqc_radius(1.0, 1.0, **known), 3), round(slqc_radius(1.05, 1.0, **known), 3)
        (0.5, 0.169)
    """
    alpha, start_alpha = require_alpha(alpha), require_alpha(start_alpha)
    if not 1 <= start_alpha <= alpha:
        raise InputError(f"alpha must be >= start_alpha >= 1, got {alpha} and {start_alpha}")
    for value, name in (
        (gradient_norm, "gradient_norm"), (start_radius, "start_radius"), (feature_norm, "feature_norm"),
        (parameter_radius, "parameter_radius"),
    ):  # fmt: skip
        require_positive(value, name)
    require_in(radius, "radius", 0, 1e300)
    moved = feature_norm * saturation_constants(radius or 1e-300)[1] * (1 / start_alpha - 1 / alpha)
    left = (start_radius * gradient_norm - 2 * parameter_radius * moved) / (gradient_norm + moved)
    return max(left, 0.0)


def descent_steps(excess: float, slope: float, distance: float) -> int:
    """Steps of length excess / slope within which normalised gradient descent has come within `excess` of the optimum.

    Args:
        excess: ε > 0.
        slope: κ > 0: the function is (ε, κ, θ*)-strictly-locally-quasi-convex; κ is the Lipschitz constant of a
            convex function.
        distance: from the start to θ*, > 0.

    Raises:
        InputError: for a number that is not > 0, or a bound above 10^15 steps.

    Source:
        Hazan, Levy and Shalev-Shwartz (2015), arXiv:1507.02030, Theorem 4.1.

    Example:
        >>> descent_steps(0.1, 1.0, 2.0)
        400
    """
    for value, name in ((excess, "excess"), (slope, "slope"), (distance, "distance")):
        require_positive(value, name)
    steps = (slope / excess * distance) ** 2 if slope / excess * distance < 1e150 else math.inf
    if steps > _MOST_STEPS:
        raise InputError(f"the bound is {steps:.3g} steps, beyond any budget; raise excess above {excess!r}")
    return math.ceil(round(steps, 9))


def generalisation_bound(alpha: float, *, radius: float, num_examples: int, failure_probability: float = 0.05) -> float:
    """A bound of risk minus empirical risk, for all linear scores of size at most `radius` at once.

    2 C r / √n + 4 D √(2 log(4/δ) / n) with the Lipschitz constant C and the largest loss D; decreasing in α.

    Args:
        alpha: α in (0, ∞].
        radius: r = largest ||θ|| times largest ||x||, in logit units.
        num_examples: n >= 1.
        failure_probability: δ in (0, 1].

    Source:
        Shalev-Shwartz and Ben-David (2014), Theorem 26.5 and Lemmas 26.9 and 26.10, for the α-loss.

    Example:
        >>> round(generalisation_bound(1.0, radius=3.0, num_examples=10_000), 3)
        0.418
    """
    require_in(num_examples, "num_examples", 1, 1e300)
    require_in(failure_probability, "failure_probability", 1e-300, 1)
    complexity = lipschitz_constant(alpha, radius) * radius
    deviation = largest_loss(alpha, radius) * math.sqrt(2 * math.log(4 / failure_probability))
    return (2 * complexity + 4 * deviation) / math.sqrt(num_examples)


def noise_gap_bound(alpha: float, num_classes: int, flip_rate: float) -> float:
    """How much clean risk the minimiser under uniform label flips may lose, at most, for α > 1.

    η (α / (α - 1)) (K^(1/α) - 1) / (K - 1 - η K), for any class of functions; 0 at α = ∞.

    Args:
        alpha: α in (1, ∞].
        num_classes: K >= 2.
        flip_rate: η in [0, 1 - 1/K): a label moves to each other class with probability η / (K - 1).

    Raises:
        InputError: for α <= 1, where the sum of the losses over the labels is unbounded.

    Source:
        Zhang and Sabuncu (2018), arXiv:1805.07836, Theorem 1, for generalised cross entropy; in α derived here.

    Example:
        >>> round(noise_gap_bound(10 / 3, 10, 0.4), 4), noise_gap_bound(float("inf"), 10, 0.4)
        (0.1137, 0.0)
    """
    alpha, u = require_alpha(alpha), exponent(alpha)
    if u <= 0:
        raise InputError(f"alpha must be > 1, got {alpha}: up to 1 the loss of a flipped label has no bound")
    require_classes(num_classes)
    require_in(flip_rate, "flip_rate", 0, 1)
    if flip_rate * num_classes >= num_classes - 1:
        raise InputError(f"flip_rate must be < 1 - 1/K = {1 - 1 / num_classes:.4g}, got {flip_rate}")
    spread = math.expm1(math.log(num_classes) / alpha) / u
    return flip_rate * spread / (num_classes - 1 - flip_rate * num_classes)


def smallest_alpha_for_gap(num_classes: int, flip_rate: float, gap: float) -> float:
    """The smallest α whose `noise_gap_bound` is at most `gap`.

    Args:
        num_classes: K >= 2.
        flip_rate: η in (0, 1 - 1/K).
        gap: > 0, in units of the loss, which is at most α / (α - 1).

    Returns:
        α > 1; the bound falls in α, and tends to infinity as α -> 1.

    Example:
        >>> round(smallest_alpha_for_gap(10, 0.4, 0.1137), 2)
        3.33
    """
    require_positive(gap, "gap")
    require_in(flip_rate, "flip_rate", 1e-12, 1)
    low, high = 0.0, 1.0  # of 1/α: the bound rises from 0 to infinity
    while low < (middle := (low + high) / 2) < high:
        larger = noise_gap_bound(1 / middle, num_classes, flip_rate) > gap
        low, high = (low, middle) if larger else (middle, high)
    return 1 / low if low > 0 else math.inf


def _require_radius(radius: float) -> None:
    if not (isinstance(radius, Real) and radius > 0):
        raise InputError(f"radius must be > 0, in logit units, got {radius!r}")
