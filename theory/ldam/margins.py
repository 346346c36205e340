"""Class margins: a power of the counts, scaled; and the margins that minimise each bound in closed form.

Notation: n_k class counts, γ_k class margins in logit units, p_k test priors, β the total Σ γ_k.
All bounds here are sums Σ_k a_k / γ_k^p, so one formula (`minimising_shares`) gives every closed-form optimum.
"""

from fractions import Fraction

import numpy as np

from ..core.class_counts import ClassCounts
from ..core.errors import InputError, nearest, require_positive

__all__ = [
    "BOUNDS",
    "LDAM_EXPONENT",
    "bound_costs",
    "class_margins",
    "minimising_shares",
    "optimal_exponent",
    "optimal_margins",
    "power_shares",
    "target_priors",
]

LDAM_EXPONENT = Fraction(-1, 4)
"""Exponent of the margin in the class count, Cao et al. (2019), Sec. 3.1."""

BOUNDS = {
    "per_class": "sum of per-class bounds, Σ p_k / (γ_k √n_k) (Cao et al. 2019, Theorem 2)",
    "joint": "one Rademacher average of all classes, √(Σ p_k² / (n_k γ_k²))",
}


def power_shares(counts: np.ndarray, exponent) -> np.ndarray:
    """Return ``counts**exponent`` divided by its sum, shape (K,).

    Object arrays of symbols or rationals are welcome: the symbolic claims evaluate this very formula.
    """
    powers = counts ** (exponent if counts.dtype == object else float(exponent))
    return powers / powers.sum()


def class_margins(
    class_counts: ClassCounts,
    *,
    exponent: float | Fraction = LDAM_EXPONENT,
    max_margin: float | None = None,
    constant: float | None = None,
    total: float | None = None,
) -> np.ndarray:
    """Margins proportional to ``n_k ** exponent``, in one of three scalings.

    Args:
        class_counts: training counts n_k of K classes.
        exponent: power of the count; -1/4 is LDAM's.
        max_margin: the largest margin, > 0, in logit units (0.5 when no scaling is given).
        constant: C in γ_k = C n_k ** exponent, > 0; does not depend on the other classes.
        total: Σ γ_k, > 0.

    Returns:
        γ_k in logit units, shape (K,).

    Raises:
        InputError: if a scaling is not positive, or more than one is given.

    Source:
        Cao et al. (2019), arXiv:1906.07413, Sec. 3.1 and 3.2 (Δ_j = C n_j^(-1/4), C set by the largest margin).

    Example:
        >>> class_margins(ClassCounts((10000, 625, 16))).round(3)
        array([0.1, 0.2, 0.5])
    """
    given = {"max_margin": max_margin, "constant": constant, "total": total}
    given = {name: value for name, value in given.items() if value is not None} or {"max_margin": 0.5}
    if len(given) > 1:
        raise InputError(f"margins take one scaling, got {given}; keep one of max_margin, constant, total")
    ((name, value),) = given.items()
    require_positive(value, name)
    if not np.isfinite(float(exponent)):
        raise InputError(f"exponent must be finite, got {exponent}")
    shares = power_shares(class_counts.array, exponent)
    if name == "total":
        return value * shares
    if name == "max_margin":
        return value * (shares / shares.max())
    return value * class_counts.array ** float(exponent)


def optimal_exponent(power, rate):
    """Exponent -rate / (power + 1) that minimises Σ 1 / (γ_k^power n_k^rate) at a fixed Σ γ_k.

    Source:
        Generalises Cao et al. (2019), Sec. 3.1: (1, 1/2) gives -1/4, the fast rate (2, 1) gives -1/3.

    Example:
        >>> optimal_exponent(2, Fraction(1))
        Fraction(-1, 3)
    """
    return -rate / (power + 1)


def minimising_shares(costs: np.ndarray, power) -> np.ndarray:
    """Shares of the total margin that minimise Σ a_k / γ_k^power, proportional to ``a_k ** (1 / (power + 1))``.

    Args:
        costs: a_k > 0, shape (K,); numbers or symbols.
        power: p > 0.

    Returns:
        γ_k / Σ γ_l, shape (K,), summing to 1.
    """
    return power_shares(costs, 1 / (power + 1) if costs.dtype != object else Fraction(1) / (Fraction(power) + 1))


def bound_costs(counts: np.ndarray, priors, bound: str = "per_class") -> tuple[np.ndarray, int]:
    """Costs a_k and power p of a bound Σ a_k / γ_k^p (the joint bound is its square root).

    Args:
        counts: n_k, shape (K,); numbers or symbols.
        priors: p_k, the class priors of the target error; 1/K for the balanced error.
        bound: one of `BOUNDS`.
    """
    if bound not in BOUNDS:
        raise InputError(f"unknown bound {bound!r}; {nearest(bound, BOUNDS)}")
    half = Fraction(1, 2) if counts.dtype == object else 0.5
    return (priors / counts**half, 1) if bound == "per_class" else (priors**2 / counts, 2)


def optimal_margins(
    class_counts: ClassCounts,
    *,
    total: float = 1.0,
    bound: str = "per_class",
    test_priors: np.ndarray | None = None,
) -> np.ndarray:
    """Margins with a given total that minimise a bound on the error under known test priors.

    Args:
        class_counts: training counts n_k of K classes.
        total: β = Σ γ_k, > 0, in logit units.
        bound: one of `BOUNDS`.
        test_priors: p_k > 0, shape (K,), normalised here; uniform (the balanced error) when omitted.

    Returns:
        γ_k, shape (K,): proportional to p_k^(1/2) n_k^(-1/4) for ``per_class``, p_k^(2/3) n_k^(-1/3) for ``joint``.

    Raises:
        InputError: for an unknown bound, or priors that are not positive or not of length K.

    Source:
        Cao et al. (2019), Sec. 3.1 for uniform priors; their Eq. 15 for other priors is not the optimum (claim
        ``ldam.test_prior_rule``), this is (claim ``ldam.test_prior_optimum``).

    Example:
        >>> optimal_margins(ClassCounts((5000, 100)), test_priors=np.array([0.1, 0.9])).round(3)
        array([0.111, 0.889])
    """
    require_positive(total, "total")
    return total * minimising_shares(*bound_costs(class_counts.array, target_priors(test_priors, class_counts), bound))


def target_priors(test_priors: np.ndarray | None, class_counts: ClassCounts) -> np.ndarray:
    """Class priors of the target error, shape (K,), summing to 1: uniform (the balanced error) when None."""
    if test_priors is None:
        return np.full(len(class_counts), 1 / len(class_counts))
    require_positive(test_priors, "test_priors")
    priors = np.asarray(test_priors, dtype=float)
    if priors.shape != (len(class_counts),):
        raise InputError(f"test_priors must have one entry for each of {len(class_counts)} classes, got {priors.shape}")
    return priors / priors.sum()
