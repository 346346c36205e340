"""The margin bounds on the balanced error, their low-order term, and the optimum with that term included.

Notation: C(F) `complexity` (class-j Rademacher complexity at most sqrt(C(F) / n_j)), B `max_score` (largest |f(x)|),
δ `failure_probability`.
"""

from fractions import Fraction

import numpy as np

from ..core.class_counts import ClassCounts
from ..core.errors import InputError, require_in, require_positive
from ..core.fixed_point import iterate
from .margins import LDAM_EXPONENT, bound_costs, power_shares, target_priors

__all__ = [
    "balanced_error_bound",
    "complexity_term",
    "gain_over_equal_split",
    "inverse_margin_sum",
    "largest_margin",
    "low_order_term",
    "optimal_margins_with_low_order",
]


def inverse_margin_sum(margins: np.ndarray, costs: np.ndarray, power):
    """Σ a_k / γ_k^power, the shape every bound has; numbers or symbols, shapes (K,)."""
    return (costs / margins**power).sum()


def gain_over_equal_split(imbalance_ratio):
    """Optimal split over equal split of the binary bound, (1 + x)² / (2 (1 + x²)) with x = ratio^(1/4).

    Source:
        Derived from Cao et al. (2019), Eq. 8; lies in (1/2, 1] (claim ``ldam.gain_binary``).

    Example:
        >>> round(gain_over_equal_split(100), 3)
        0.787
    """
    x = imbalance_ratio ** (0.25 if isinstance(imbalance_ratio, int | float) else Fraction(1, 4))
    return 1 - (1 - x) ** 2 / (2 * (1 + x**2))  # the same, but never above 1 by rounding


def complexity_term(
    margins: np.ndarray,
    class_counts: ClassCounts,
    *,
    complexity: float,
    bound: str = "per_class",
    test_priors: np.ndarray | None = None,
) -> float:
    """The margin term of a bound: 4 √C(F) Σ p_k / (γ_k √n_k), or its joint form 4 √C(F) √(Σ p_k² / (n_k γ_k²)).

    Args:
        margins: γ_k > 0, shape (K,), in logit units.
        class_counts: training counts n_k.
        complexity: C(F) > 0, in squared logit units.
        bound: ``per_class`` (Theorem 2) or ``joint`` (one symmetrisation of the weighted sample; never larger, claim
            ``ldam.joint_tighter``; for margins fixed in advance 2 would do in place of 4, which is kept to compare).
        test_priors: p_k; uniform when omitted.

    Source:
        Cao et al. (2019), arXiv:1906.07413, Theorem 2 with R_j(F) <= sqrt(C(F) / n_j).
    """
    margins = _checked_margins(margins, class_counts)
    require_positive(complexity, "complexity")
    costs, power = bound_costs(class_counts.array, target_priors(test_priors, class_counts), bound)
    return float(4 * np.sqrt(complexity) * inverse_margin_sum(margins, costs, power) ** (1 / power))


def largest_margin(num_classes, *, max_score, failure_probability):
    """Largest margin at which the low-order term exists: 2 B · 2^(-δ / 2K).

    Beyond it the number under the root of `low_order_term` is negative (claim ``ldam.low_order_domain``).
    """
    return 2 * max_score * 2 ** (-failure_probability / (2 * num_classes))


def low_order_term(
    margins: np.ndarray, class_counts: ClassCounts, *, max_score: float, failure_probability: float
) -> np.ndarray:
    """ε_k(γ_k) = sqrt((log log2(2B / γ_k) + log(2K / δ)) / n_k), shape (K,).

    Args:
        margins: γ_k, shape (K,), > 0 and at most `largest_margin`.
        class_counts: training counts n_k.
        max_score: B, the largest score max |f(x)|, > 0, in logit units.
        failure_probability: δ in (0, 1).

    Raises:
        InputError: if a margin lies outside the term's domain.

    Source:
        Cao et al. (2019), Theorem 2. Their proof (Eq. 14) yields two separate roots, up to √2 larger (claim
        ``ldam.low_order_two_roots``).
    """
    margins = _checked_margins(margins, class_counts)
    return np.sqrt(_radicand(margins, len(class_counts), max_score, failure_probability) / class_counts.array)


def balanced_error_bound(
    margins: np.ndarray,
    class_counts: ClassCounts,
    *,
    complexity: float,
    max_score: float,
    failure_probability: float = 0.05,
    margin_losses: np.ndarray | float = 0.0,
    bound: str = "per_class",
) -> float:
    """Upper bound on the balanced error that holds with probability at least 1 - δ.

    Args:
        margins: γ_k, shape (K,), in logit units.
        class_counts: training counts n_k.
        complexity: C(F), in squared logit units.
        max_score: B, in logit units.
        failure_probability: δ in (0, 1).
        margin_losses: training fraction of class k with margin below γ_k, shape (K,) or a number; 0 if separable.
        bound: ``per_class`` holds for all margins at once with `low_order_term`; ``joint`` holds for margins fixed in
            advance, with McDiarmid's term sqrt(log(1/δ) / 2 · Σ 1 / (K² n_k)).

    Returns:
        The bound; above 1 it says nothing.

    Source:
        Cao et al. (2019), Theorem 2; the joint form is derived here.

    Example:
        >>> counts = ClassCounts((5000, 50))
        >>> round(balanced_error_bound(np.array([0.5, 1.5]), counts, complexity=1e-3, max_score=2.0), 3)
        0.178
    """
    losses = np.asarray(margin_losses, dtype=float)
    if losses.shape not in ((), (len(class_counts),)):
        raise InputError(
            f"margin_losses must be a number or one for each of {len(class_counts)} classes, got shape {losses.shape}"
        )
    if not ((losses >= 0) & (losses <= 1)).all():
        raise InputError(f"margin_losses must lie in [0, 1], got {np.ravel(losses)[:5].tolist()}")
    term = complexity_term(margins, class_counts, complexity=complexity, bound=bound)
    if bound == "per_class":
        low_order = low_order_term(
            margins, class_counts, max_score=max_score, failure_probability=failure_probability
        ).mean()
    else:
        require_in(failure_probability, "failure_probability", 1e-300, 1)
        low_order = np.sqrt(np.log(1 / failure_probability) / 2 * (1 / class_counts.array).sum()) / len(class_counts)
    return float(losses.mean() + term + low_order)


def optimal_margins_with_low_order(
    class_counts: ClassCounts,
    *,
    total: float,
    complexity: float,
    max_score: float,
    failure_probability: float = 0.05,
) -> np.ndarray:
    """Margins with a given total at which the bound of Theorem 2, low-order term included, is stationary.

    With x = ln(2B/γ) and s² = log(x / ln 2) + log(2K/δ), stationarity reads γ_k² ∝ n_k^(-1/2) (1 + r(γ_k)),
    r(γ) = γ / (8 √C(F) x s): a fixed point. r increases, so the rare classes get more than n_k^(-1/4) gives them
    (claim ``ldam.low_order_skews_optimum``); as C(F) grows the n_k^(-1/4) margins return.

    Args:
        class_counts: training counts n_k.
        total: β = Σ γ_k, > 0; every margin must stay inside the term's domain. Among margins with
            (x - 1) s² >= 1/2 the bound is convex, so a result in that range is its minimum there; for a complexity far
            below B² a lower value may lie near the edge of the domain.
        complexity: C(F).
        max_score: B.
        failure_probability: δ.

    Returns:
        γ_k, shape (K,).

    Raises:
        InputError: if the total needs a margin outside the domain.
        NotConverged: if the fixed point is not reached.
    """
    require_positive(total, "total")
    require_positive(complexity, "complexity")
    K = len(class_counts)

    top = largest_margin(K, max_score=max_score, failure_probability=failure_probability)

    def step(margins: np.ndarray) -> np.ndarray:
        if margins.max() > top:
            raise InputError(f"total {total:g} needs a margin above {top:.6g}; lower the total or raise max_score")
        x = np.log(2 * max_score / margins)
        s = np.sqrt(_radicand(margins, K, max_score, failure_probability))
        ratio = margins / (8 * np.sqrt(complexity) * x * s)
        shares = np.sqrt((1 + ratio) / np.sqrt(class_counts.array))
        return total * shares / shares.sum()

    start = total * power_shares(class_counts.array, LDAM_EXPONENT)
    return iterate(step, start, tolerance=1e-13 * total, damping=0.3, max_iterations=2000).value


def _radicand(margins: np.ndarray, num_classes: int, max_score: float, failure_probability: float) -> np.ndarray:
    require_positive(max_score, "max_score")
    require_in(failure_probability, "failure_probability", 1e-300, 1)
    top = largest_margin(num_classes, max_score=max_score, failure_probability=failure_probability)
    if (margins > top).any():
        raise InputError(
            f"margins must be at most {top:.6g} (2 max_score 2^(-δ/2K)) for the low-order term to exist, "
            f"got {float(margins.max()):.6g}; lower the margins or raise max_score"
        )
    return np.maximum(np.log(np.log2(2 * max_score / margins)) + np.log(2 * num_classes / failure_probability), 0.0)


def _checked_margins(margins: np.ndarray, class_counts: ClassCounts) -> np.ndarray:
    require_positive(margins, "margins")
    margins = np.asarray(margins, dtype=float)
    if margins.shape != (len(class_counts),):
        raise InputError(f"margins must have one entry for each of {len(class_counts)} classes, got {margins.shape}")
    return margins
