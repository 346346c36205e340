"""Profiles of ambiguity: two levels and the uniform law on the simplex, both in closed form, and geometric ones."""

from fractions import Fraction

import numpy as np

from ..core.errors import InputError, require_in, require_positive
from .rules import AmbiguityProfile, Errors

__all__ = ["geometric_profile", "two_level_errors", "two_level_profile", "uniform_errors", "uniform_size_variance"]


def geometric_profile(ratios, num_classes: int) -> AmbiguityProfile:
    """Equally likely inputs with η_(j) ∝ r^j, one for each ratio r in (0, 1].

    Example:
        >>> geometric_profile([1.0, 0.5], 2).probabilities.round(3)
        array([[0.5  , 0.5  ],
               [0.667, 0.333]])
    """
    require_positive(ratios, "ratios")
    if np.max(ratios) > 1:
        raise InputError(f"ratios must lie in (0, 1], got {np.max(ratios)}; the first label is the likeliest")
    eta = np.asarray(ratios, dtype=float)[:, None] ** np.arange(num_classes)
    return AmbiguityProfile(eta / eta.sum(axis=1, keepdims=True))


def two_level_profile(hard_fraction, num_labels: int, num_classes: int) -> AmbiguityProfile:
    """Inputs with one certain label, and a fraction ρ of inputs uniform over m labels.

    Example:
        >>> two_level_profile(0.25, 2, 3).probabilities
        array([[1. , 0. , 0. ],
               [0.5, 0.5, 0. ]])
    """
    require_in(float(hard_fraction), "hard_fraction", 1e-300, 1 - 1e-16)
    if not 1 <= num_labels <= num_classes:
        raise InputError(f"num_labels must lie in 1 … num_classes = {num_classes}, got {num_labels}")
    exact = isinstance(hard_fraction, Fraction)
    one, part = (Fraction(1), Fraction(1, num_labels)) if exact else (1.0, 1 / num_labels)
    rows = [[count * value for value in [one] * num + [0 * one] * (num_classes - num)]
            for num, count in ((1, one), (num_labels, part))]  # fmt: skip
    return AmbiguityProfile(rows, [1 - hard_fraction, hard_fraction])


def two_level_errors(hard_fraction, num_labels: int, size: int) -> Errors:
    """Closed form of `optimal_errors` of the two-level profile, 1 <= K < m.

    Source:
        Derived here.

    Example:
        >>> two_level_errors(0.5, 10, 2)
        Errors(top=0.4, average=0.35, threshold=0.1)
    """
    require_in(float(hard_fraction), "hard_fraction", 0, 1)
    if not 1 <= size < num_labels:
        raise InputError(f"size must lie in 1 … num_labels - 1 = {num_labels - 1}, got {size}")
    left = hard_fraction - (size - 1 + hard_fraction) / num_labels
    part = Fraction(1, num_labels) if isinstance(hard_fraction, Fraction) else 1 / num_labels
    return Errors(hard_fraction * (1 - size * part), max(left, 0 * left), part if left >= 0 else 0 * part)


def uniform_errors(num_classes: int, size: int) -> Errors:
    """Least errors of both rules when η(X) is uniform on the simplex of C classes.

    λ = 1 - (K/C)^(1/(C-1)), E_avg = 1 - K λ - (1 - λ) K/C, E_top = 1 - Σ_{j<=K} Σ_{i>=j} 1/(i C).

    Source:
        Derived here.

    Example:
        >>> tuple(round(value, 4) for value in uniform_errors(10, 3))
        (0.3713, 0.3619, 0.1252)
    """
    if not (1 <= size <= num_classes and size == int(size)):
        raise InputError(f"size must be an integer in 1 … num_classes = {num_classes}, got {size}")
    level = 1 - (size / num_classes) ** (1 / (num_classes - 1))
    means = np.cumsum(1 / np.arange(num_classes, 0, -1))[::-1] / num_classes
    return Errors(float(1 - means[:size].sum()), 1 - size * level - (1 - level) * size / num_classes, level)


def uniform_size_variance(num_classes: int, size) -> float:
    """Variance of the size of the average-K set when η(X) is uniform on the simplex.

    G + C (C - 1) (1 - 2λ)_+^(C-1) - G², with G = K.

    Example:
        >>> round(uniform_size_variance(10, 3), 4)
        0.7232
    """
    level = 1 - (size / num_classes) ** (1 / (num_classes - 1))
    pairs = num_classes * (num_classes - 1) * max(0.0, 1 - 2 * level) ** (num_classes - 1)
    return size + pairs - size**2
