"""Rigorous enclosures: Gaussian integrals, roots, minima, signs and integrals in ball arithmetic.

Every number here is a ball ``midpoint ± radius`` (python-flint's ``arb``) that provably contains the real number it
stands for: rounding errors are part of the radius. Functions passed in map balls to balls (or to `Enclosure`) and must
enclose the range of the mathematical function over the ball; ordinary arithmetic on ``arb`` does that by itself.
Results are computed with at least 128 bits, and with more inside ``with precision(bits)``.
"""

from .balls import (
    CertificationError,
    Enclosure,
    as_ball,
    gaussian_cdf,
    gaussian_density,
    gaussian_tail,
    partial_expectation,
    partial_second_moment,
    precision,
)
from .search import Minimum, Positivity, integral, minimum, positive_on, root

__all__ = [
    "CertificationError",
    "Enclosure",
    "Minimum",
    "Positivity",
    "as_ball",
    "gaussian_cdf",
    "gaussian_density",
    "gaussian_tail",
    "integral",
    "minimum",
    "partial_expectation",
    "partial_second_moment",
    "positive_on",
    "precision",
    "root",
]
