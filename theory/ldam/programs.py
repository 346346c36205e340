"""The convex programs behind LDAM's statements: readable oracles in cvxpy, each answer certified.

Notation: m_jl the pairwise margin of class j against l, the minimum over class j's examples of f(x)_j - f(x)_l;
a bias b moves it to m_jl + b_j - b_l.
"""

from itertools import combinations, permutations
from typing import Any

import cvxpy as cp
import numpy as np

from ..core.convex import Certificate, solve
from ..core.errors import InputError

__all__ = [
    "bias_optimal_margins",
    "largest_cosine_margin",
    "largest_reachable_multiple",
    "minimise_bound",
    "tightest_cycle",
]

_TOLERANCE = 1e-7  # of violations and gaps, relative; Clarabel stalls near 1e-8 on powers and semidefinite cones


def minimise_bound(costs: np.ndarray, power: int, total: float) -> tuple[np.ndarray, Certificate]:
    """Minimise Σ a_k / γ_k^power over margins with Σ γ_k = total; the oracle of `margins.minimising_shares`.

    Returns:
        γ_k, shape (K,), and the certificate, in units of max a_k / (total / K)^power.
    """
    scale = total / len(costs)  # solved for γ_k / scale, so that the numbers are near 1 whatever the units
    weights = costs / costs.max()
    margins = cp.Variable(len(costs))
    objective = cp.Minimize(weights @ cp.power(margins, -power))
    certificate = solve(cp.Problem(objective, [_zero(cp.sum(margins) - len(costs))]), tolerance=_TOLERANCE)
    return scale * _value(margins), certificate


def bias_optimal_margins(pairwise: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray, Certificate]:
    """Minimise Σ a_k / γ_k over all class margins that a bias can realise: γ_j <= m_jl + b_j - b_l for l ≠ j.

    Args:
        pairwise: m_jl, shape (K, K); the diagonal is ignored.
        costs: a_k > 0, shape (K,).

    Returns:
        γ (K,), the bias b (K,) with mean 0, and the certificate, in units of max a_k.
    """
    K = len(costs)
    margins, bias = cp.Variable(K), cp.Variable(K)
    weights = costs / costs.max()
    constraints = [margins[j] <= pairwise[j, k] + bias[j] - bias[k] for j, k in permutations(range(K), 2)]
    certificate = solve(
        cp.Problem(cp.Minimize(weights @ cp.inv_pos(margins)), [*constraints, _zero(cp.sum(bias))]),
        tolerance=_TOLERANCE,
    )
    return _value(margins), _value(bias), certificate


def largest_reachable_multiple(pairwise: np.ndarray, target: np.ndarray) -> tuple[float, Certificate]:
    """Largest t for which some bias gives every class j the margin t · target_j; below 1 the target is out of reach.

    By linear-programming duality it is the minimum over directed cycles of Σ m_jl / Σ target_j (`tightest_cycle`).
    """
    K = len(target)
    t, bias = cp.Variable(), cp.Variable(K)
    constraints = [t * target[j] <= pairwise[j, k] + bias[j] - bias[k] for j, k in permutations(range(K), 2)]
    certificate = solve(cp.Problem(cp.Maximize(t), [*constraints, _zero(cp.sum(bias))]))
    return float(_value(t)), certificate


def tightest_cycle(pairwise, target, *, longest: int | None = None) -> tuple[Any, tuple[int, ...]]:
    """Minimum over directed cycles of Σ m_jl / Σ target_j and the cycle, by enumeration; exact for exact rationals.

    Every bias cancels along a cycle, so Σ γ_j <= Σ m_jl there: the cycle is a proof that no bias does better.

    Args:
        pairwise: K x K nested sequence of numbers.
        target: K numbers > 0; K <= 7.
        longest: largest cycle length considered; K when omitted.
    """
    K = len(target)
    if K > 7:
        raise InputError(f"cycles are enumerated for K <= 7 classes, got {K}; use largest_reachable_multiple")
    cycles = [
        (first, *rest)
        for size in range(2, (longest or K) + 1)
        for first, *others in combinations(range(K), size)
        for rest in permutations(others)
    ]

    def ratio(cycle):
        steps = list(zip(cycle, (*cycle[1:], cycle[0]), strict=True))
        return sum(pairwise[j][k] for j, k in steps) / sum(target[j] for j in cycle)

    best = min(cycles, key=ratio)
    return ratio(best), best


def largest_cosine_margin(profile: np.ndarray) -> tuple[float, Certificate]:
    """Largest t for which a cosine head realises the margins t · profile_k together, over all dimensions.

    A semidefinite program over the Gram matrix of the K class weights and K class features (unit diagonal). The
    dimension it needs is at most 2K.

    Args:
        profile: margin profile >= 0, not all zero, shape (K,); K <= 20 is a matter of seconds.
    """
    K = len(profile)
    gram, t = cp.Variable((2 * K, 2 * K), PSD=True), cp.Variable()
    constraints: list[cp.Constraint] = [_zero(cp.diag(gram) - 1)]
    constraints += [
        gram[j, K + j] - gram[k, K + j] >= t * profile[j] for j, k in permutations(range(K), 2)
    ]  # rows 0..K-1 are the weights, K..2K-1 the features
    certificate = solve(cp.Problem(cp.Maximize(t), constraints), tolerance=_TOLERANCE)
    return float(_value(t)), certificate


def _zero(expression: Any) -> cp.Constraint:
    return cp.Zero(expression)


def _value(variable: cp.Variable) -> np.ndarray:
    assert variable.value is not None  # solve() raises unless the problem was solved
    return np.asarray(variable.value, dtype=float)
