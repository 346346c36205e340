"""Support vector machines over rows: the program that all of `svm` is, its certificate, and the proof of its absence.

A row is a vector z_i, known by its inner products alone, with a required margin r_i > 0 and coefficients e_i of free
intercepts:

    minimise ½‖w‖² subject to <w, z_i> + e_i'b >= r_i    (hard margin; with `upper` = C:  + Σ C_i max(0, r_i − …)).

Its dual is minimise ½ a'Ga − r'a over 0 <= a <= C with E'a = 0, G = Z Z', which `active_set` solves.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import InputError, require_positive
from ..core.fixed_point import NotConverged
from .active_set import Program, Ray, minimise

__all__ = ["NotSeparable", "RowSolution", "SVMCertificate", "gram_matrix", "one_each", "solve_oriented", "solve_rows"]

_GAP = 1e-9  # largest relative duality gap that is returned
_RESOLUTION = 1e-7  # a margin below this share of the rows' length is beyond what a Gram matrix in float64 resolves
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
        norm: ‖w‖.
        certificate: the proof.
    """

    dual: np.ndarray
    multipliers: np.ndarray
    margins: np.ndarray
    norm: float
    certificate: SVMCertificate


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
    gram = gram_matrix(gram)
    n = len(gram)
    required = one_each(required, "required", n)
    signs = np.ones(n) if signs is None else np.asarray(signs, dtype=float)
    border = np.empty((n, 0)) if border is None else np.asarray(border, dtype=float)
    return solve_oriented(gram, required, signs, border, None if upper is None else one_each(upper, "upper", n))


def solve_oriented(gram, required, signs, border, upper: np.ndarray | None, scale: float = 0.0) -> RowSolution:
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
        raise _not_separable(program, signs * ray.direction, unit, np.sqrt(shrink)) from None
    proof = _certify(program, dual, multipliers, scale / shrink or program.size)
    extent = 2 * proof.primal * program.size  # squared: ‖w‖ times the data's scale
    if upper is None and extent > _RESOLUTION**-2:
        raise _not_separable(program, signs * dual, unit, np.sqrt(shrink))
    if not proof.gap <= _GAP:
        raise NotConverged(
            f"the relative duality gap {proof.gap:.1e} exceeds {_GAP:g}: ‖w‖ times the data's scale is "
            f"{np.sqrt(extent):.1e}, beyond what this Gram matrix resolves; centre or rescale the features, or lower "
            "the bounds of a soft margin"
        )
    grow = unit / shrink
    return RowSolution(
        dual=proof.height * grow,
        multipliers=multipliers * unit,
        margins=proof.margins * unit,
        norm=math.sqrt(proof.squared / shrink) * unit,
        certificate=SVMCertificate(
            primal=proof.primal * unit * grow,
            dual=proof.dual * unit * grow,
            gap=proof.gap,
            violation=proof.violation,
            stationarity=proof.stationarity,
            complementarity=proof.complementarity,
        ),
    )


class _Proof(NamedTuple):
    """The numbers of a `RowSolution`, in the units of the program; `squared` is ‖w‖²."""

    height: np.ndarray
    margins: np.ndarray
    squared: float
    primal: float
    dual: float
    gap: float
    violation: float
    stationarity: float
    complementarity: float


def _certify(program: Program, dual, multipliers, scale: float) -> _Proof:
    """Primal and dual objectives at a point within its bounds, and how far it is from the conditions of optimality."""
    height, required = program.signs * dual, program.signs * program.target
    image = program.gram @ dual
    margins = image + program.border @ multipliers
    margins *= program.signs
    squared, reward = float(dual @ image), float(height @ required)
    if squared < 0:
        if squared < -_EPS * len(dual) * scale * float(height.sum()) ** 2:
            raise InputError("gram must be positive semidefinite, but w has a negative squared norm; check the kernel")
        squared = 0.0
    imbalance = np.abs(dual @ program.border)
    bound = reward - squared / 2 - float(imbalance @ np.abs(multipliers))
    kept = height < program.upper
    least = float((margins / required).min(initial=np.inf, where=kept))
    capped = np.isfinite(program.upper) if program.bounded else np.zeros(1, dtype=bool)
    scales = [1.0] if capped.all() else []  # a hard row is met exactly after scaling
    scales += [1 / least] if 1e-6 < least < 1e6 else []
    values = [each * each * squared / 2 for each in scales]
    if program.bounded:
        caps = np.where(capped, program.upper, 0.0)
        lost = [float(caps @ np.maximum(0.0, required - each * margins)) for each in scales]
        values = [value + loss for value, loss in zip(values, lost, strict=True)]
    primal = min(values, default=np.inf)
    slack = height * np.abs(margins - required)
    return _Proof(
        height,
        margins,
        squared,
        primal,
        dual=bound,
        gap=max(0.0, (primal - bound) / primal) if 0 < primal < np.inf else float(primal != bound),
        violation=max(0.0, 1 - least),
        stationarity=float((imbalance / np.maximum(height @ np.abs(program.border), 1e-300)).max(initial=0.0)),
        complementarity=float(slack.max(initial=0.0, where=kept)) / max(reward, 1e-300),
    )


def _not_separable(program: Program, height: np.ndarray, unit: float, length: float) -> ArithmeticError:
    """`NotSeparable` when the weights prove it within what the Gram matrix resolves, else `NotConverged`.

    `unit` and `length` are the units of required margins and rows in `program`.
    """
    weights = np.clip(height, 0.0, None)
    weights[weights < 16 * _EPS * weights.max()] = 0.0
    used = weights > 0
    E = (program.signs[:, None] * program.border)[used]
    if E.shape[1]:
        weights[used] -= E @ np.linalg.lstsq(E.T @ E, E.T @ weights[used], rcond=1e-13)[0]
    weights = np.clip(weights, 0.0, None)
    weights /= weights.sum() or 1.0
    signed = program.signs * weights
    squared = max(float(signed @ (program.gram @ signed)), 0.0)
    squared += 4 * _EPS * float(weights @ (np.abs(program.gram) @ weights))
    residual, spread = np.sqrt(squared), float(weights @ np.sqrt(np.maximum(program.gram.diagonal(), 0.0)))
    imbalance = float(np.abs(program.border.T @ signed).max(initial=0.0))
    reach = float(program.signs * program.target @ weights) / residual if residual else np.inf
    if weights.any() and imbalance <= 1e-12 and residual <= _RESOLUTION * spread:
        return NotSeparable(weights, float(residual * length), float(reach * unit / length), imbalance)
    return NotConverged(
        f"neither a separator nor a proof that none exists: ‖w‖ would exceed {reach * unit / length:.1e}, with data of "
        f"scale {spread * length:.1e}; centre or rescale the features, or take a soft margin"
    )


def gram_matrix(gram: Any) -> np.ndarray:
    """`gram` as an array, or an `InputError` unless it is square, finite and symmetric."""
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


def one_each(value: Any, name: str, n: int) -> np.ndarray:
    """A number > 0 for each of `n` examples, from one number or as many."""
    require_positive(value, name)
    array = np.asarray(value, dtype=float)
    if array.shape not in ((), (n,)):
        raise InputError(f"{name} must be a number or have shape ({n},), got {array.shape}")
    return np.full(n, array)
