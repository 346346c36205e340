"""Cost-sensitive support vector machines from one Gram matrix, each answer certified.

The inner loop behind everything here that needs many of them; the readable programs are in `programs`. A row is a
vector z_i with a required margin r_i > 0, and all programs are one:

    minimise ½‖w‖² subject to <w, z_i> + e_i'b >= r_i    (hard margin; with `upper` = C:  + Σ C_i max(0, r_i − …)).

Its dual is minimise ½ a'Ga − r'a over 0 <= a <= C with E'a = 0, G = Z Z', which `active_set` solves. Binary problems
have z_i = y_i x_i, e_i = y_i; groups and cost-sensitive classes are other required margins; K classes have the rows
Δ_y w_y − Δ_c w_c of every rival c. Nothing but inner products of examples is needed, so a kernel serves as well.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.errors import InputError, nearest, require_positive
from ..core.fixed_point import NotConverged
from .active_set import Program, Ray, minimise

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
_GAP = 1e-9  # largest relative duality gap that is returned
_RESOLUTION = 1e-7  # a margin below this share of the largest ‖z‖ is beyond what a Gram matrix in float64 resolves
_EPS = float(np.finfo(float).eps)


class NotSeparable(ArithmeticError):  # noqa: N818 - reads as what was proved
    """No classifier meets the required margins, with the convex combination of the rows that proves it.

    With a >= 0, Σ a = 1 and E'a = 0, any w has r'a <= <w, Σ a_i z_i> <= ‖w‖ `residual`. A residual is called zero below
    1e-7 of the rows' length, which is what a Gram matrix in float64 resolves; `separability` decides on the features.

    Args:
        weights: a, shape (n,).
        residual: ‖Σ a_i z_i‖, from the Gram matrix, rounding included.
        reach: r'a / `residual`: no separating w has a norm below it (inf when the residual is 0).
        imbalance: largest ``|E'a|``.
    """

    def __init__(self, weights: np.ndarray, residual: float, reach: float, imbalance: float):
        super().__init__(weights, residual, reach, imbalance)
        self.weights = weights
        self.residual = residual
        self.reach = reach
        self.imbalance = imbalance

    def __str__(self) -> str:
        rows = int((self.weights > 0).sum())
        return (
            f"the data are not separable within float64: a convex combination of {rows} rows has norm "
            f"{self.residual:.1e}, which excludes every w with norm below {self.reach:.1e}; take a soft margin or "
            "richer features"
        )


@dataclass(frozen=True)
class SVMCertificate:
    """What was proved about one solution, from its numbers and the Gram matrix alone.

    Args:
        primal: ½‖w‖² (plus the hinge terms of a soft margin) at a feasible point: (w, b), or its least multiple that
            meets the required margins.
        dual: the dual objective at `dual`, the price of its imbalance paid: a proved lower bound.
        gap: ``(primal − dual) / primal``, at most 1e-9.
        violation: largest ``1 − margin / required`` over the examples whose margin is not given up, at least 0.
        stationarity: largest ``|E'a|`` relative to ``|E|'a``.
        complementarity: largest a_i times surplus margin over inner examples, relative to Σ a_i r_i.
    """

    primal: float
    dual: float
    gap: float
    violation: float
    stationarity: float
    complementarity: float


@dataclass(frozen=True)
class RowSolution:
    """A solution over rows, with its proof.

    Args:
        dual: a_i >= 0, shape (n,).
        multipliers: b, shape (k,).
        margins: <w, z_i> + e_i'b, shape (n,).
        certificate: the proof.
    """

    dual: np.ndarray
    multipliers: np.ndarray
    margins: np.ndarray
    certificate: SVMCertificate


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


def solve_svm(gram, labels, required=1.0, *, intercept: str = "free", upper=None) -> SVMSolution:
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
        >>> (machine.coefficients @ features).round(9), round(machine.intercept, 9)
        (array([2., 0.]), -1.0)
    """
    if intercept not in INTERCEPTS:
        raise InputError(f"unknown intercept {intercept!r}; {nearest(intercept, INTERCEPTS)}")
    gram = _gram(gram)
    labels = np.asarray(labels)
    if labels.shape != (len(gram),) or not ((labels == 1) | (labels == -1)).all() or abs(labels.sum()) == len(labels):
        raise InputError(
            f"labels must be {len(gram)} of +1 and -1, both present, got {np.unique(labels)[:5].tolist()} "
            f"in shape {labels.shape}"
        )
    labels = labels.astype(float)
    border = np.ones((len(gram), int(intercept == "free")))
    scale = float(gram.diagonal().max())
    gram, lift = _centred(gram) if intercept == "free" else (gram, None)
    required = _each(required, "required", len(labels))
    capacity = None if upper is None else _each(upper, "upper", len(labels))
    found = _solve(gram + 1.0 if intercept == "penalised" else gram, required, labels, border, capacity, scale)
    coefficients = labels * found.dual
    bias = float(found.multipliers[0]) if intercept == "free" else 0.0
    if intercept == "penalised":
        bias = float(coefficients.sum())
    scores = labels * found.margins
    if lift is not None:
        bias -= float(lift @ coefficients)
    norm = float(np.sqrt(max(0.0, coefficients @ (gram @ coefficients))))
    return SVMSolution(
        dual=found.dual,
        coefficients=coefficients,
        intercept=bias,
        norm=norm,
        scores=scores,
        support=np.flatnonzero(found.dual),
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
    gram, labels, required=1.0, *, delta=None, intercept: str = "free", upper=None
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
        The solution, its relative duality gap at most 1e-9. Free intercepts are fixed up to what the constraints leave
        open (a common shift when all Δ are equal).

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
    gram, labels = _gram(gram), np.asarray(labels)
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
    margins = _each(np.asarray(required)[labels] if by_class else required, "required", n)

    example, rival = np.nonzero(labels[:, None] != np.arange(K))
    pattern = np.zeros((example.size, K))
    row = np.arange(example.size)
    pattern[row, labels[example]], pattern[row, rival] = factors[labels[example]], -factors[rival]
    inner = gram + 1.0 if intercept == "penalised" else gram
    found = _solve(
        inner[np.ix_(example, example)] * (pattern @ pattern.T),
        margins[example],
        np.ones(example.size),
        pattern[:, : K if intercept == "free" else 0],
        None if upper is None else _each(upper, "upper", n)[example],
    )
    dual = np.zeros((n, K))
    dual[example, rival] = found.dual
    coefficients = (found.dual[:, None] * pattern).reshape(n, K - 1, K).sum(axis=1)
    bias = found.multipliers if intercept == "free" else np.zeros(K)
    if intercept == "penalised":
        bias = coefficients.sum(axis=0)
    scores = gram @ coefficients
    norm = float(np.sqrt(max(0.0, np.sum(coefficients * scores))))
    return MulticlassSolution(dual, coefficients, bias, norm, scores + bias, found.certificate)


def solve_rows(gram, required, *, signs=None, border=None, upper=None) -> RowSolution:
    """Minimise ½‖w‖² subject to σ_i (<w, x_i> + e_i'b) >= r_i: any rows z_i = σ_i x_i with any free intercepts.

    Args:
        gram: inner products of the x_i, shape (n, n).
        required: r_i > 0, a number or shape (n,).
        signs: σ_i = ±1, shape (n,); +1 when omitted.
        border: coefficients of k free intercepts, shape (n, k); none when omitted.
        upper: C_i of a soft margin, a number or shape (n,); None for a hard margin.

    Returns:
        The solution, certified: its relative duality gap is at most 1e-9.

    Raises:
        NotSeparable: if hard margins contradict each other.
        NotConverged: if nothing could be proved.
    """
    gram = _gram(gram)
    n = len(gram)
    required = _each(required, "required", n)
    signs = np.ones(n) if signs is None else np.asarray(signs, dtype=float)
    border = np.empty((n, 0)) if border is None else np.asarray(border, dtype=float)
    return _solve(gram, required, signs, border, None if upper is None else _each(upper, "upper", n))


def _solve(gram, required, signs, border, upper: np.ndarray | None, scale: float = 0.0) -> RowSolution:
    """The common road; `scale` is the size of the numbers whose rounding the Gram matrix carries, its own if 0."""
    capacity = np.full(len(gram), np.inf) if upper is None else upper
    unit, length = float(required.max()), float(gram.diagonal().max())
    shrink = 1.0 if 1e-60 < length < 1e60 or length <= 0 else length
    program = Program(
        gram if shrink == 1.0 else gram / shrink, signs * (required / unit), signs, border, capacity * (shrink / unit)
    )
    try:
        dual, multipliers = minimise(program)
    except Ray as ray:
        raise _not_separable(program, signs * ray.direction) from None
    certificate, margins = _certify(program, dual, multipliers, scale / shrink or program.size)
    if upper is None and 2 * certificate.primal * program.size > _RESOLUTION**-2:
        raise _not_separable(program, signs * dual)
    if not certificate.gap <= _GAP:
        raise NotConverged(
            f"the relative duality gap {certificate.gap:.1e} exceeds {_GAP:g}: ‖w‖ times the data's scale is "
            f"{np.sqrt(2 * certificate.primal * program.size):.1e}, beyond what this Gram matrix resolves; "
            "centre the features or pass a soft margin"
        )
    grow = unit / shrink
    primal, bound = certificate.primal * unit * grow, certificate.dual * unit * grow
    certificate = replace(certificate, primal=primal, dual=bound)
    return RowSolution(signs * dual * grow, multipliers * unit, margins * unit, certificate)


def _certify(program: Program, dual, multipliers, scale: float) -> tuple[SVMCertificate, np.ndarray]:
    """Primal and dual objectives at a point within its bounds, and the margins <w, z_i> + e_i'b."""
    height, required = program.signs * dual, program.signs * program.target
    image = program.gram @ dual
    margins = program.signs * (image + program.border @ multipliers)
    squared = float(dual @ image)
    if squared < -_EPS * len(dual) * scale * float(height.sum()) * float(height.sum()):
        raise InputError("gram must be positive semidefinite, but w has a negative squared norm; check the kernel")
    squared = max(squared, 0.0)
    imbalance = program.border.T @ dual
    bound = float(height @ required) - squared / 2 - float(np.abs(imbalance) @ np.abs(multipliers))
    kept = height < program.upper
    least = float((margins[kept] / required[kept]).min(initial=np.inf))
    caps = np.where(np.isfinite(program.upper), program.upper, 0.0)  # a hard row is met exactly after scaling
    hard = not np.isfinite(program.upper).all()
    scales = [1.0] if not hard else []
    scales += [1 / least] if 1e-6 < least < 1e6 else []
    values = [
        scale * scale * squared / 2 + float(caps @ np.maximum(0.0, required - scale * margins)) for scale in scales
    ]
    primal = min(values, default=np.inf)
    inner = kept & (height > 0)
    certificate = SVMCertificate(
        primal=primal,
        dual=bound,
        gap=max(0.0, (primal - bound) / primal) if 0 < primal < np.inf else float(primal != bound),
        violation=max(0.0, 1 - least),
        stationarity=float(
            (np.abs(imbalance) / np.maximum(np.abs(program.border).T @ height, 1e-300)).max(initial=0.0)
        ),
        complementarity=float((height * np.abs(margins - required))[inner].max(initial=0.0))
        / max(float(height @ required), 1e-300),
    )
    return certificate, margins


def _not_separable(program: Program, height: np.ndarray) -> ArithmeticError:
    """`NotSeparable` when the weights prove it within what the Gram matrix resolves, else `NotConverged`."""
    weights = np.clip(height, 0.0, None)
    weights[weights < 16 * _EPS * weights.max()] = 0.0
    used = weights > 0
    E = (program.signs[:, None] * program.border)[used]
    if E.shape[1]:
        weights[used] -= E @ np.linalg.lstsq(E.T @ E, E.T @ weights[used], rcond=1e-13)[0]
    weights = np.clip(weights, 0.0, None)
    weights /= weights.sum()
    signed = program.signs * weights
    squared = max(float(signed @ (program.gram @ signed)), 0.0)
    squared += 4 * _EPS * float(weights @ (np.abs(program.gram) @ weights))
    residual, spread = np.sqrt(squared), float(weights @ np.sqrt(np.maximum(program.gram.diagonal(), 0.0)))
    imbalance = float(np.abs(program.border.T @ signed).max(initial=0.0))
    reach = float(program.signs * program.target @ weights) / residual if residual else np.inf
    if imbalance <= 1e-12 and residual <= _RESOLUTION * spread:
        return NotSeparable(weights, float(residual), float(reach), imbalance)
    return NotConverged(
        f"neither a separator nor a proof that none exists: ‖w‖ would exceed {reach:.1e}, with data of scale "
        f"{spread:.1e}; centre or rescale the features, or take a soft margin"
    )


def _centred(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The Gram matrix of centred features and <x_i, mean>, where a common offset would cost digits."""
    lift = gram.mean(axis=0)
    level = float(lift.mean())
    if level <= 0.5 * float(gram.diagonal().mean()):
        return gram, None
    return gram - lift - lift[:, None] + level, lift


def _gram(gram: Any) -> np.ndarray:
    array = np.asarray(gram, dtype=float)
    if array.ndim != 2 or array.shape[0] != array.shape[1] or not array.size:
        raise InputError(f"gram must be a square matrix, got shape {array.shape}; pass features @ features.T")
    probe = np.cos(np.arange(len(array)))
    forward, backward = array @ probe, probe @ array
    if not np.isfinite(forward).all():
        raise InputError("gram must be finite, got inf or nan; drop or impute those examples")
    if np.abs(forward - backward).max() > 1e-9 * len(array) * float(np.abs(array.diagonal()).max()):
        raise InputError("gram must be symmetric; pass the kernel matrix of the training examples with themselves")
    return array


def _each(value: Any, name: str, n: int) -> np.ndarray:
    require_positive(value, name)
    array = np.asarray(value, dtype=float)
    if array.shape not in ((), (n,)):
        raise InputError(f"{name} must be a number or have shape ({n},), got {array.shape}")
    return np.broadcast_to(array, (n,)).copy()
