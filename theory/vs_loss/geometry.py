"""Where a network with free features ends: the geometry of classifiers and class means under CDT and LDT.

Free features h_i and class weights w_c minimise (||W||² + ||H||²) / 2 under margins 1: Δ_y w_y·h - Δ_c w_c·h >= 1 for
CDT, Δ_y (w_y - w_c)·h >= 1 for LDT. Over the K x K logits Z (column y for class y) that is min || Z N^(1/2) ||_* under
the same margins, N the diagonal of class counts. With a = (1/Δ_c) for CDT and a = (1, …, 1) for LDT, and P the
projection off a, the optimum is Z = P diag(1/Δ), whatever the counts and factors (claim ``vs_loss.geometry_optimal``).

Source:
    Thrampoulidis et al. (2022), arXiv:2208.05512 (Δ = 1, SELI); Behnia et al. (2023), arXiv:2303.07608, for half the
    classes frequent and half rare (STEP). The form for any counts and factors, and its proof, are derived here.
"""

from typing import NamedTuple

import numpy as np

from ..core.class_counts import ClassCounts
from ..core.errors import InputError, nearest, require_positive

__all__ = ["KINDS", "Geometry", "collapsed_geometry", "cosines"]

KINDS = {
    "cdt": "each logit carries the factor of its class",
    "ldt": "all logits of an example carry the factor of its label",
}


class Geometry(NamedTuple):
    """Logits and inner products of the optimum, K x K each.

    `logits` has column y for examples of class y; `classifiers` is ⟨w_c, w_c'⟩; `features` is ⟨h_c, h_c'⟩ of the class
    means, all examples of a class being equal.
    """

    logits: np.ndarray
    classifiers: np.ndarray
    features: np.ndarray


def collapsed_geometry(class_counts: ClassCounts, delta: np.ndarray | None = None, *, kind: str = "cdt") -> Geometry:
    """The optimum over free features, for any class counts and factors.

    Args:
        class_counts: training counts n_k of K classes.
        delta: Δ_k > 0, shape (K,); 1 when omitted.
        kind: one of `KINDS`.

    Raises:
        InputError: for an unknown kind, factors that are not positive or not of shape (K,).

    Source:
        Derived here; contains Thrampoulidis et al. (2022) and Behnia et al. (2023).

    Example:
        >>> balanced = collapsed_geometry(ClassCounts((5, 5, 5)))
        >>> cosines(balanced.classifiers)[0].round(3)
        array([ 1. , -0.5, -0.5])
    """
    if kind not in KINDS:
        raise InputError(f"unknown kind {kind!r}; {nearest(str(kind), KINDS)}")
    K = len(class_counts)
    factors = np.ones(K) if delta is None else np.asarray(delta, dtype=float)
    require_positive(factors, "delta")
    if factors.shape != (K,):
        raise InputError(f"delta must have one factor for each of {K} classes, got shape {factors.shape}")
    across = 1 / factors if kind == "cdt" else np.ones(K)
    logits = (np.eye(K) - np.outer(across, across) / (across @ across)) / factors
    roots = np.sqrt(class_counts.array)
    left, sizes, right = np.linalg.svd(logits * roots)
    left, sizes, right = left[:, : K - 1], sizes[: K - 1], right[: K - 1]  # a is in the kernel
    return Geometry(logits, (left * sizes) @ left.T, (right.T * sizes) @ right / np.outer(roots, roots))


def cosines(gram: np.ndarray) -> np.ndarray:
    """Cosines of the vectors with these inner products, K x K."""
    norms = np.sqrt(np.diag(gram))
    return gram / np.outer(norms, norms)
