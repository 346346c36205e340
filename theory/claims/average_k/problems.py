"""Exact profiles for the checks: spread over ties, zeros and unequal inputs by residues; nothing random."""

from fractions import Fraction
from itertools import combinations_with_replacement

import numpy as np

from ...average_k.rules import AmbiguityProfile

__all__ = ["exact_profile", "numbered_profile", "partitions", "scores_near"]


def exact_profile(rows, weights=None) -> AmbiguityProfile:
    """A profile from rows of counts, each divided by its sum; weights likewise."""
    probabilities = [[Fraction(int(count), int(sum(row))) for count in row] for row in rows]
    if weights is not None:
        weights = [Fraction(int(weight), int(sum(weights))) for weight in weights]
    return AmbiguityProfile(probabilities, weights)


def numbered_profile(number: int, inputs: int = 4, classes: int = 4) -> AmbiguityProfile:
    """The profile of this number; small counts, so that ties and zeros are common."""
    rows = [[(number * 31 + i * 17 + k * k * 7 + i * k * 5 + number * k * 3) % 7 for k in range(classes)]
            for i in range(inputs)]  # fmt: skip
    rows = [row if sum(row) else [1] * classes for row in rows]
    return exact_profile(rows, [1 + (number * 5 + 3 * i) % 4 for i in range(inputs)])


def scores_near(profile: AmbiguityProfile, number: int) -> np.ndarray:
    """Estimates h of the probabilities, off by up to a factor 2 either way, rows summing to 1 again."""
    eta = profile.probabilities
    inputs, classes = eta.shape
    factors = [[Fraction(2 + (number * 7 + 5 * i + 3 * k + i * k) % 7, 4) for k in range(classes)]
               for i in range(inputs)]  # fmt: skip
    h = (eta + Fraction(1, 20)) * np.array(factors, dtype=object)
    return h / h.sum(axis=1, keepdims=True)


def partitions(total: int, classes: int) -> list[tuple[int, ...]]:
    """Every way to write `total` as `classes` counts in decreasing order."""
    return [c[::-1] for c in combinations_with_replacement(range(total + 1), classes) if sum(c) == total]
