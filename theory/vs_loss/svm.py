"""Cost-sensitive support vector machines from one Gram matrix, each answer certified.

The inner loop behind everything here that needs many of them; the readable programs are in `programs`. All are one
program over rows (`rows`): binary problems have the rows y_i x_i; groups and cost-sensitive classes are other required
margins; K classes have the rows Δ_y w_y − Δ_c w_c of every rival c. Nothing but inner products of examples is needed,
so a kernel serves as well.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import InputError, nearest, require_positive
from .rows import NotSeparable, RowSolution, SVMCertificate, gram_matrix, one_each, solve_oriented, solve_rows

__all__ = [
    "INTERCEPTS",
    "MarginRatioPath",
    "MulticlassSolution",
    "NotSeparable",
    "RowSolution",
    "SVMCertificate",
    "SVMSolution",
    "margin_ratio_path",
    "solve_multiclass_svm",
    "solve_rows",
    "solve_svm",
]

INTERCEPTS = ("free", "none", "penalised")


@dataclass(frozen=True)
class SVMSolution:
    """A binary support vector machine f(x) = Σ coefficients_i k(x_i, x) + intercept.

    Args:
        dual: a_i >= 0, shape (n,).
        coefficients: a_i y_i, shape (n,): w = X'coefficients.
        intercept: b, 0 without an intercept.
        norm: ‖w‖, without the intercept.
        scores: f(x_i), shape (n,).
        support: indices with a_i > 0.
        required: required margins r_i, shape (n,).
        certificate: the proof.
        labels: y_i, shape (n,).
        intercept_kind: ``free``, ``none`` or ``penalised``.
        upper: bounds of a soft margin, shape (n,); None for a hard one.
    """

    dual: np.ndarray
    coefficients: np.ndarray
    intercept: float
    norm: float
    scores: np.ndarray
    support: np.ndarray
    required: np.ndarray
    certificate: SVMCertificate
    labels: np.ndarray
    intercept_kind: str
    upper: np.ndarray | None


@dataclass(frozen=True)
class MulticlassSolution:
    """A K-class machine f_c(x) = Σ coefficients_ic k(x_i, x) + intercept_c.

    Args:
        dual: a_ic >= 0 of example i against rival c, shape (n, K); 0 for its own class.
        coefficients: shape (n, K): w_c = X'coefficients[:, c].
        intercept: b_c, shape (K,).
        norm: sqrt(Σ ‖w_c‖²).
        scores: f_c(x_i), shape (n, K).
        certificate: the proof.
    """

    dual: np.ndarray
    coefficients: np.ndarray
    intercept: np.ndarray
    norm: float
    scores: np.ndarray
    certificate: SVMCertificate


@dataclass(frozen=True)
class MarginRatioPath:
    """The machines of many margin ratios.

    Args:
        ratios: δ, shape (R,).
        coefficients: shape (R, n): w_δ = X'coefficients[r].
        intercepts: b_δ, shape (R,).
        norms: ‖w_δ‖, shape (R,).
    """

    ratios: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray
    norms: np.ndarray


def solve_svm(gram, labels, required: Any = 1.0, *, intercept: str = "free", upper: Any = None) -> SVMSolution:
    """Minimise ½‖w‖² subject to y_i f(x_i) >= r_i, or with hinge terms C_i max(0, r_i − y_i f(x_i)).

    Args:
        gram: k(x_i, x_j), shape (n, n), symmetric positive semidefinite.
        labels: +1 or -1, both present, shape (n,).
        required: r_i > 0, a number or shape (n,); the cost-sensitive machine has δ on the minority and 1 elsewhere,
            the group-sensitive one δ on the minority group.
        intercept: ``free``, ``none``, or ``penalised`` (b² joins ‖w‖²).
        upper: C_i > 0 of a soft margin, a number or shape (n,); None for a hard margin.

    Returns:
        The solution, its relative duality gap at most 1e-9.

    Raises:
        InputError: for malformed input.
        NotSeparable: if no classifier meets hard margins.
        NotConverged: if nothing could be proved in float64: margins below about 1e-4 of the data's scale.

    Source:
        Kini et al. (2021), arXiv:2103.01550 (CS-SVM and GS-SVM).

    Example:
        >>> features = np.array([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
        >>> machine = solve_svm(features @ features.T, [1, -1, -1], required=[3.0, 1.0, 1.0])
        >>> round(machine.norm, 9), round(machine.intercept, 9), machine.scores.round(9).tolist()
        (2.0, -1.0, [3.0, -1.0, -1.0])
    """
    if intercept not in INTERCEPTS:
        raise InputError(f"unknown intercept {intercept!r}; {nearest(intercept, INTERCEPTS)}")
    gram = gram_matrix(gram)
    labels = np.asarray(labels)
    positive, negative = np.count_nonzero(labels == 1), np.count_nonzero(labels == -1)
    if labels.shape != (len(gram),) or positive + negative < len(gram) or not positive or not negative:
        raise InputError(
            f"labels must be {len(gram)} of +1 and -1, both present, got {np.unique(labels)[:5].tolist()} "
            f"in shape {labels.shape}"
        )
    labels = labels.astype(float)
    border = np.ones((len(gram), int(intercept == "free")))
    scale = float(gram.diagonal().max())
    gram, lift = _centred(gram) if intercept == "free" else (gram, None)
    required = one_each(required, "required", len(labels))
    capacity = None if upper is None else one_each(upper, "upper", len(labels))
    found = solve_oriented(gram + 1.0 if intercept == "penalised" else gram, required, labels, border, capacity, scale)
    coefficients = labels * found.dual
    bias = float(found.multipliers[0]) if intercept == "free" else 0.0
    scores = labels * found.margins
    if lift is not None:
        bias -= float(lift @ coefficients)
    norm = found.norm
    if intercept == "penalised":
        bias = float(coefficients.sum())
        norm = math.sqrt(max(0.0, coefficients @ (gram @ coefficients)))  # without the intercept
    return SVMSolution(
        dual=found.dual,
        coefficients=coefficients,
        intercept=bias,
        norm=norm,
        scores=scores,
        support=found.dual.nonzero()[0],
        required=required,
        certificate=found.certificate,
        labels=labels,
        intercept_kind=intercept,
        upper=capacity,
    )


def margin_ratio_path(solution: SVMSolution, ratios) -> MarginRatioPath:
    """The cost-sensitive machines of all margin ratios, from the plain one: no further solve.

    w_δ = ((δ+1)/2) w_1 and b_δ = ((δ+1)/2) b_1 + (δ−1)/2, for hard margins and a free, unpenalised intercept only. The
    map carries the dual solution along, so every point inherits the relative duality gap of the one solve.

    Args:
        solution: of `solve_svm` at required margin 1 for all, hard margin, free intercept.
        ratios: δ > 0, required margin of +1 over that of -1, shape (R,).

    Raises:
        InputError: for any other solution.

    Source:
        Lyu et al. (2026), arXiv:2502.11323, Proposition C.1.

    Example:
        >>> gram = np.array([[4.0, 0.0], [0.0, 0.0]])
        >>> path = margin_ratio_path(solve_svm(gram, [1, -1]), [1.0, 3.0])
        >>> path.norms.round(9), path.intercepts.round(9)
        (array([1., 2.]), array([-1., -1.]))
    """
    require_positive(ratios, "ratios")
    ratios = np.atleast_1d(np.asarray(ratios, dtype=float))
    if solution.intercept_kind != "free" or solution.upper is not None or not (solution.required == 1.0).all():
        raise InputError(
            "the path starts from a hard margin with a free intercept and required margin 1 for all, got intercept "
            f"{solution.intercept_kind!r}, {'hard' if solution.upper is None else 'soft'} margin, required "
            f"{np.unique(solution.required)[:3].tolist()}; solve each ratio by itself"
        )
    growth = (ratios + 1) / 2
    return MarginRatioPath(
        ratios,
        growth[:, None] * solution.coefficients,
        growth * solution.intercept + (ratios - 1) / 2,
        growth * solution.norm,
    )


def solve_multiclass_svm(
    gram, labels, required: Any = 1.0, *, delta: Any = None, intercept: str = "free", upper: Any = None
) -> MulticlassSolution:
    """Minimise ½ Σ_c ‖w_c‖² subject to Δ_y f_y(x_i) − Δ_c f_c(x_i) >= r_i for every rival c of y = y_i.

    Args:
        gram: k(x_i, x_j), shape (n, n).
        labels: 0..K-1, every class present, shape (n,).
        required: r_i > 0, a number, one for each class of shape (K,), or of shape (n,). With `delta` omitted these
            are the required margins f_y − f_c of the class y.
        delta: Δ_c > 0, shape (K,): the multiplicative factors of the VS-loss; 1 when omitted.
        intercept: ``free``, ``none``, or ``penalised`` (Σ b_c² joins).
        upper: C of a soft margin with one hinge term for every example and rival, a number or shape (n,).

    Returns:
        The solution, its relative duality gap at most 1e-9. A shift of free intercepts along 1/Δ changes no constraint:
        they are returned with Σ b_c / Δ_c = 0.

    Raises:
        InputError, NotSeparable, NotConverged: as `solve_svm`.

    Source:
        Kini et al. (2021), arXiv:2103.01550 (multi-class CS-SVM); the general required margins derived here.

    Example:
        >>> machine = solve_multiclass_svm(np.eye(3), [0, 1, 2], intercept="none")
        >>> machine.scores.round(6)
        array([[ 0.666667, -0.333333, -0.333333],
               [-0.333333,  0.666667, -0.333333],
               [-0.333333, -0.333333,  0.666667]])
    """
    if intercept not in INTERCEPTS:
        raise InputError(f"unknown intercept {intercept!r}; {nearest(intercept, INTERCEPTS)}")
    gram, labels = gram_matrix(gram), np.asarray(labels)
    if labels.shape != (len(gram),) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise InputError(f"labels must be {len(gram)} integers in 0..K-1, got {np.unique(labels)[:5].tolist()}")
    n, K = len(gram), int(labels.max()) + 1
    missing = np.setdiff1d(np.arange(K), labels)
    if K < 2 or missing.size:
        raise InputError(f"every class of 0..K-1, K >= 2, needs an example, missing {missing[:5].tolist()}, K = {K}")
    factors = np.ones(K) if delta is None else np.asarray(delta, dtype=float)
    require_positive(factors, "delta")
    if factors.shape != (K,):
        raise InputError(f"delta must have one factor for each of {K} classes, got shape {factors.shape}")
    by_class = np.shape(required) == (K,)
    margins = one_each(np.asarray(required)[labels] if by_class else required, "required", n)

    example, rival = np.nonzero(labels[:, None] != np.arange(K))
    pattern = np.zeros((example.size, K))
    row = np.arange(example.size)
    pattern[row, labels[example]], pattern[row, rival] = factors[labels[example]], -factors[rival]
    inner = gram + 1.0 if intercept == "penalised" else gram
    found = solve_oriented(
        inner[np.ix_(example, example)] * (pattern @ pattern.T),
        margins[example],
        np.ones(example.size),
        pattern[:, : K if intercept == "free" else 0],
        None if upper is None else one_each(upper, "upper", n)[example],
    )
    dual = np.zeros((n, K))
    dual[example, rival] = found.dual
    coefficients = (found.dual[:, None] * pattern).reshape(n, K - 1, K).sum(axis=1)
    bias = np.zeros(K)
    if intercept == "free":
        bias = found.multipliers - (found.multipliers @ (1 / factors)) / ((1 / factors) @ (1 / factors)) / factors
    if intercept == "penalised":
        bias = coefficients.sum(axis=0)
    scores = gram @ coefficients
    norm = float(np.sqrt(max(0.0, np.sum(coefficients * scores))))
    return MulticlassSolution(dual, coefficients, bias, norm, scores + bias, found.certificate)


def _centred(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The Gram matrix of centred features and <x_i, mean>, where a common offset would cost digits."""
    lift = np.full(len(gram), 1 / len(gram)) @ gram  # faster than a mean
    level = float(lift.mean())
    if level <= 0.5 * float(gram.trace()) / len(gram):
        return gram, None
    return gram - lift - lift[:, None] + level, lift
