"""Whether a hyperplane separates two classes: a separator, or a proof that none exists, checked by arithmetic.

Exactly one of two things exists (Farkas, Gordan): a hyperplane with y_i (<w, x_i> + b) > 0 for all i, or convex weights
a >= 0, Σ a = 1, with Σ a_i y_i x_i = 0 and Σ a_i y_i = 0 (a point common to both hulls). A linear program proposes one
of them; its status is not trusted. A separator is proved by its margins, rounding errors paid; a combination by its
residual in floating point, or by a residual of exactly 0 in rational arithmetic.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from ..core.errors import InputError
from ..core.fixed_point import NotConverged

__all__ = ["Separability", "separability"]

_EPS = float(np.finfo(float).eps)
_RESIDUAL = 1e-12  # of a combination, relative to the length of what it combines
_EXACT_SIZE = 40  # largest dimension at which integers are combined exactly without being asked
_OPTIONS = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}


@dataclass(frozen=True, eq=False)
class Separability:
    """A verdict with its proof.

    Args:
        separable: whether a hyperplane separates the classes.
        weights: its normal w, ‖w‖ = 1, shape (d,); empty when there is none.
        intercept: b.
        margin: a proved lower bound of min y_i (<w, x_i> + b), > 0; not the largest one. 0 when not separable.
        combination: the weights a, shape (n,), when not separable; empty otherwise.
        residual: ‖Σ a_i (y_i x_i, y_i)‖, relative to Σ a_i ‖(x_i, 1)‖; every separator has a margin below it, in units
            of the largest ‖(x_i, 1)‖.
        exact: whether the residual is exactly 0, in rational arithmetic.
    """

    separable: bool
    weights: np.ndarray
    intercept: float
    margin: float
    combination: np.ndarray
    residual: float
    exact: bool


def separability(features, labels, *, intercept: bool = True, exact: bool | None = None) -> Separability:
    """Decide whether the classes are linearly separable.

    Args:
        features: finite numbers, shape (n, d).
        labels: +1 or -1, shape (n,).
        intercept: whether the hyperplane may miss the origin.
        exact: whether a combination is sought in exact rationals; when omitted, for integers of dimension up to 40.

    Returns:
        The verdict with its proof.

    Raises:
        InputError: for features or labels that are none.
        NotConverged: if neither could be proved: the classes touch within rounding.

    Source:
        Farkas' lemma in Gordan's form; the checks derived here.

    Example:
        >>> crossed = np.array([[0, 0], [2, 2], [0, 2], [2, 0]])
        >>> proof = separability(crossed, [1, 1, -1, -1])
        >>> proof.separable, proof.combination, proof.exact
        (False, array([0.25, 0.25, 0.25, 0.25]), True)
        >>> separability(crossed, [1, -1, -1, -1]).separable
        True
    """
    features, labels = np.asarray(features, dtype=float), np.asarray(labels, dtype=float)
    if features.ndim != 2 or not features.size or not np.isfinite(features).all():
        raise InputError(f"features must be finite and have shape (n, d), got shape {features.shape}")
    if labels.shape != features.shape[:1] or set(np.unique(labels)) != {-1.0, 1.0}:
        raise InputError(
            f"labels must be {len(features)} of +1 and -1, both present, got {np.unique(labels)[:5].tolist()}"
        )
    scale = np.abs(features).max(axis=0)
    scale[scale == 0] = 1.0
    rows = labels[:, None] * np.column_stack([features / scale, np.ones((len(labels), int(intercept)))])
    separator, combination = _largest_least(rows)
    if exact is None:
        exact = features.shape[1] <= _EXACT_SIZE and bool((features == np.rint(features)).all())
    plain = rows * np.append(scale, np.ones(int(intercept)))
    found = _proved_separator(features, labels, separator, scale, intercept) or _proved_combination(
        plain, combination, bool(exact)
    )
    found = found or _proved_separator(features, labels, _least_norm(rows), scale, intercept)
    if found is None:
        raise NotConverged(
            "neither a separating hyperplane nor a vanishing combination was proved: the classes touch within "
            "rounding; pass exact=True, or rescale the features"
        )
    return found


def _largest_least(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The vector v in the unit box whose least <row, v> is largest, and the dual weights of the rows."""
    n, d = rows.shape
    found = linprog(
        np.append(np.zeros(d), -1.0),
        A_ub=np.column_stack([-rows, np.ones(n)]),
        b_ub=np.zeros(n),
        bounds=[(-1, 1)] * d + [(None, None)],
        method="highs",
        options=_OPTIONS,
    )
    if found.x is None:
        raise NotConverged(f"the linear program of separability ended with: {found.message}")
    return found.x[:d], np.maximum(-np.asarray(found.ineqlin.marginals), 0.0)


def _least_norm(rows: np.ndarray) -> np.ndarray | None:
    """The vector of least Σ|v_j| with <row, v> >= 1, in the unit box; it finds margins too small for the other."""
    n, d = rows.shape
    positive = sparse.csr_array(rows)
    found = linprog(
        np.ones(2 * d), A_ub=sparse.hstack([-positive, positive]), b_ub=-np.ones(n), method="highs", options=_OPTIONS
    )
    if found.x is None:
        return None
    vector = found.x[:d] - found.x[d:]
    return vector / (np.abs(vector).max() or 1.0)


def _proved_separator(features, labels, vector, scale, intercept: bool) -> Separability | None:
    """The hyperplane of `vector` in the scaled features, if its least margin is positive beyond rounding."""
    if vector is None:
        return None
    d = features.shape[1]
    w, b = vector[:d] / scale, float(vector[d]) if intercept else 0.0
    length = float(np.linalg.norm(w))
    if not length > 0:
        return None
    w, b = w / length, b / length
    if intercept:  # the middle of the gap
        scores = features @ w
        b = -(scores[labels > 0].min() + scores[labels < 0].max()) / 2
    rounding = 2 * (d + 2) * _EPS * (np.abs(features) @ np.abs(w) + abs(b))
    margin = float((labels * (features @ w + b) - rounding).min())
    return Separability(True, w, b, margin, np.empty(0), 0.0, False) if margin > 0 else None


def _proved_combination(rows: np.ndarray, weights: np.ndarray, exact: bool) -> Separability | None:
    """The combination of rows near `weights` that vanishes; None when its residual does not."""
    used = np.flatnonzero(weights > 1e-9 * weights.max(initial=0.0))
    if exact and used.size:
        rational = _vanishing(rows[used], weights[used])
        if rational is not None:
            combination = np.zeros(len(rows))
            combination[used] = [float(share) for share in rational]
            return Separability(False, np.empty(0), 0.0, 0.0, combination, 0.0, True)
    combination = np.zeros(len(rows))
    combination[used] = weights[used] - np.linalg.lstsq(rows[used].T, rows[used].T @ weights[used], rcond=None)[0]
    combination = np.maximum(combination, 0.0)
    combination /= combination.sum() or 1.0
    length = np.linalg.norm(rows, axis=1)
    residual = np.linalg.norm(combination @ rows) + len(rows) * _EPS * float(combination @ length)
    relative = float(residual / max(combination @ length, 1e-300))
    if not relative <= max(_RESIDUAL, 4 * len(rows) * _EPS):
        return None
    return Separability(False, np.empty(0), 0.0, 0.0, combination, relative, False)


def _vanishing(rows: np.ndarray, weights: np.ndarray) -> list[Fraction] | None:
    """Rationals a >= 0 near `weights` with Σ a = 1 and Σ a_i row_i = 0 exactly, or None.

    Floats are rationals. Elimination leaves some weights free; they keep their values and fix the others.
    """
    from flint import fmpq, fmpq_mat

    def exact(value: float) -> fmpq:
        top, bottom = float(value).as_integer_ratio()
        return fmpq(top, bottom)

    m = len(rows)
    matrix = fmpq_mat(rows.shape[1], m, [exact(value) for value in rows.T.ravel()])
    reduced, rank = matrix.rref()
    order = [next(j for j in range(m) if reduced[i, j] != 0) for i in range(rank)]
    given = [j for j in range(m) if j not in set(order)]
    if not given:
        return None
    shares = {j: exact(weights[j]) for j in given}
    for i, j in enumerate(order):
        shares[j] = -sum((reduced[i, k] * shares[k] for k in given), fmpq(0))
    if min(shares.values()) < 0:
        return None
    total = sum(shares.values(), fmpq(0))
    parts = [shares[j] / total for j in range(m)]
    return [Fraction(int(part.p), int(part.q)) for part in parts]
