"""Convex programs solved by Clarabel and judged here: a solver's "optimal" is a proposal, the check is the answer.

cvxpy reduces a problem to the conic form of Goulart and Chen (2024, arXiv:2405.12762), with K a product of zero,
nonnegative, second-order, positive semidefinite, exponential and power cones and K* its dual cone:

    minimise ½x'Px + c'x  subject to  s = b − Ax ∈ K;    r = Px + A'z + c  for a dual point z ∈ K*.

Every feasible y then has ½y'Py + c'y ≥ −½x'Px − b'z + r'y, whatever x is (P is convex, z's ≥ 0), so a residual
r ≠ 0 has a price: a reach for y must be named. Here it is |y_i| ≤ 10 max(1, |x_i|), y being cvxpy's variables and
the ones it introduces. By convexity a better point beyond it would also show inside it, part of the way from x.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import cvxpy as cp
import numpy as np
from cvxpy.error import SolverError
from cvxpy.settings import OFFSET
from scipy import sparse

from .errors import InputError, require_positive

__all__ = ["Certificate", "ConvexError", "Infeasible", "certify", "certify_infeasible", "solve"]

_SOLVER_TOLERANCES = (1e-12, 1e-11, 1e-10, 1e-9, 1e-8)  # the first one at which Clarabel reports a plain verdict
_REACH = 10.0
_EPS = float(np.finfo(float).eps)


class ConvexError(ArithmeticError):
    """No answer was proved; the message names the failed check or the solver's status, and the remedy."""


class Infeasible(ConvexError):  # noqa: N818 - reads as what was proved
    """The constraints contradict each other, with a checked Farkas certificate.

    Args:
        farkas: z ∈ K*, scaled to b'z = −1, with A'z ≈ 0, in the rows of the conic form, shape (m,).
        reach: 1 / ‖A'z‖₁: no feasible point has all its variables below `reach` in size (inf: none exists).
    """

    def __init__(self, farkas: np.ndarray, reach: float):
        super().__init__(farkas, reach)
        self.farkas = farkas
        self.reach = reach

    def __str__(self) -> str:
        return (
            "the constraints contradict each other: a Farkas certificate excludes every point of size below "
            f"{self.reach:.1e}; relax a constraint"
        )


@dataclass(frozen=True)
class Certificate:
    """What was proved about one solve.

    Args:
        value: the objective at the returned point.
        bound: the proved side: at most every feasible objective for Minimize, at least for Maximize, within the
            reach named in the module's docstring. The residual and rounding are already paid for.
        gap: ``|value - bound|``.
        feasibility: the largest cone violation of b − Ax, relative to ``max(1, |b|, |A||x|)`` of its cone.
        stationarity: the largest ``|r_i|``, relative to ``max(1, |c|, |P||x|, |A|'|z|)`` of its row.
    """

    value: float
    bound: float
    gap: float
    feasibility: float
    stationarity: float


def solve(problem: cp.Problem, *, tolerance: float = 1e-8) -> Certificate:
    """Solve a cvxpy problem, and return only what an independent check of the answer proves.

    Clarabel runs at tolerance 1e-12, or at the tightest power of ten up to 1e-8 where it stalls before a plain
    verdict; its numbers are then checked against `tolerance` by `certify`. Afterwards variables and duals hold their
    values, as after ``problem.solve()``; after an error they hold none.

    Args:
        problem: continuous, convex under cvxpy's rules (DCP).
        tolerance: largest relative violation, residual and gap to accept, > 0. Reciprocals of small variables and
            n-dimensional power cones stall Clarabel early: ask for 1e-6 there.

    Returns:
        Value and proved bound in the problem's own sense, including its sign and constants.

    Raises:
        InputError: if the problem is not convex by cvxpy's rules, has no variable, integers or infinite numbers.
        Infeasible: if a Farkas certificate proves the constraints contradictory.
        ConvexError: if the solver has no plain verdict, the problem is unbounded, or a check fails.

    Example:
        >>> x = cp.Variable()
        >>> proof = solve(cp.Problem(cp.Maximize(1 - cp.square(x - 2)), [x <= 1]))
        >>> abs(proof.value) < 1e-9, proof.value <= proof.bound, proof.gap < 1e-8
        (True, True, True)
    """
    require_positive(tolerance, "tolerance")
    problem._clear_solution()
    _require_convex(problem)
    chain: Any
    try:
        data, chain, inverse_data = problem.get_problem_data(cp.CLARABEL, solver_opts={})
    except SolverError as error:
        raise InputError(f"problem must suit Clarabel (continuous variables), but {error}") from error
    if not all(np.isfinite(getattr(part, "data", part)).all() for part in _arrays(data)):
        raise InputError("problem must have finite numbers, got inf or nan; leave out constraints that bound nothing")
    status, solution = "", cast(Any, None)
    for accuracy in _SOLVER_TOLERANCES:
        options = ("tol_gap_abs", "tol_gap_rel", "tol_feas", "tol_infeas_abs", "tol_infeas_rel")
        solution = chain.solve_via_data(problem, data, solver_opts=dict.fromkeys(options, accuracy))
        status = chain.solver.STATUS_MAP.get(str(solution.status), cp.SOLVER_ERROR)
        if status in (cp.OPTIMAL, cp.INFEASIBLE, cp.UNBOUNDED):
            break
    if status == cp.INFEASIBLE:
        raise Infeasible(*certify_infeasible(data, solution.z, tolerance=tolerance))
    if status == cp.UNBOUNDED:
        raise ConvexError("Clarabel reports status unbounded; bound the variables or the objective")
    if status != cp.OPTIMAL:
        raise ConvexError(
            f"Clarabel stopped with status {status} ({solution.status}), not optimal, even at tolerance "
            f"{_SOLVER_TOLERANCES[-1]:g}; rescale the problem so that its numbers are near 1"
        )
    conic = certify(data, solution.x, solution.z, tolerance=tolerance)
    sign = -1.0 if isinstance(problem.objective, cp.Maximize) else 1.0
    offset = float(inverse_data[-1][OFFSET])
    value = sign * (conic.value + offset)
    bound = conic.bound + offset - 4 * _EPS * (abs(conic.bound) + abs(offset))
    problem.unpack_results(solution, chain, inverse_data)
    reached = float(problem.value)  # pyright: ignore[reportArgumentType]
    if not abs(reached - value) <= tolerance * max(1.0, abs(value)):
        problem._clear_solution()
        raise ConvexError(
            f"objective check failed: the problem's objective is {reached:.12g} where its conic form has {value:.12g}; "
            "rescale the problem, or keep its variables inside the objective's domain"
        )
    bound = sign * min(bound, sign * reached)
    return Certificate(reached, bound, abs(reached - bound), conic.feasibility, conic.stationarity)


def certify(data: Mapping[str, Any], primal: Any, dual: Any, *, tolerance: float = 1e-8) -> Certificate:
    """Check a proposed solution of a conic problem, from its numbers alone.

    The dual point is first moved into K* (by no more than `tolerance`, else it is refused), so the bound rests on a
    true dual point.

    Args:
        data: ``A``, ``b``, ``c``, ``dims`` and perhaps ``P`` as ``problem.get_problem_data(cp.CLARABEL)`` gives them.
        primal: x, shape (n,).
        dual: z, shape (m,).
        tolerance: largest relative violation, residual and gap to accept.

    Returns:
        The certificate of the conic minimisation, before cvxpy's sign and constant.

    Raises:
        ConvexError: naming each failed check, its number and the tolerance.
    """
    P, A, b, c = _arrays(data)
    x, z = _finite(primal, "primal", c.size), _finite(dual, "dual", b.size)
    starts = np.cumsum([0, *_sizes(data["dims"])])[:-1]

    slack_scale = _largest(np.maximum(np.abs(b), abs(A) @ np.abs(x)), starts)
    slack_shift, _ = _shift(b - A @ x, data["dims"], dual=False)
    feasibility = _top(slack_shift / slack_scale)
    dual_shift, _ = _shift(z, data["dims"], dual=True)
    dual_violation = _top(dual_shift / _largest(np.abs(z), starts))

    z = _into_dual_cone(z, data["dims"])
    curvature = P @ x
    residual = curvature + A.T @ z + c
    size = abs(P) @ np.abs(x) + abs(A).T @ np.abs(z) + np.abs(c)
    stationarity = _top(np.abs(residual) / np.maximum(1.0, size))

    terms = 4 + _top(np.diff(P.indptr)) + _top(np.diff(A.indptr))
    reach = _REACH * np.maximum(1.0, np.abs(x))
    concavity, largest = _concavity(P)
    price = (np.abs(residual) + terms * _EPS * size) @ reach + concavity * np.sum((reach + np.abs(x)) ** 2) / 2
    rounding = (b.size + c.size) * _EPS * (np.abs(b) @ np.abs(z) + np.abs(x) @ (abs(P) @ np.abs(x)))
    value = float(x @ curvature / 2 + c @ x)
    bound = float(-x @ curvature / 2 - b @ z - price - rounding)
    checks = {
        "primal feasibility": feasibility,
        "dual feasibility": dual_violation,
        "stationarity": stationarity,
        "duality gap": abs(value - bound) / max(1.0, abs(value)),
        "convexity": concavity / largest,
    }
    failed = [f"{name} {number:.1e}" for name, number in checks.items() if not number <= tolerance]
    if failed:
        raise ConvexError(
            f"the solver's optimal point failed the check of {', '.join(failed)} (tolerance {tolerance:g}); "
            "rescale the problem so that its numbers are near 1, or ask for a looser tolerance"
        )
    bound = min(bound, value)
    return Certificate(value, bound, value - bound, feasibility, stationarity)


def certify_infeasible(data: Mapping[str, Any], dual: Any, *, tolerance: float = 1e-8) -> tuple[np.ndarray, float]:
    """Check that z ∈ K* with A'z ≈ 0 and b'z < 0 proves that no x has b − Ax ∈ K (Farkas).

    Such an x would give 0 ≤ z'(b − Ax) = −1 − (A'z)'x once z is scaled to b'z = −1, so ‖x‖_∞ ≥ 1 / ‖A'z‖₁.

    Args:
        data: as for `certify`.
        dual: z, shape (m,), at any positive scale.
        tolerance: largest ‖A'z‖₁ to accept: no feasible point is smaller than ``1 / tolerance``.

    Returns:
        z moved into K* and scaled to b'z = −1, and the reach ``1 / ‖A'z‖₁``.

    Raises:
        ConvexError: if z does not prove it.
    """
    _, A, b, _ = _arrays(data)
    z = _into_dual_cone(_finite(dual, "dual", b.size), data["dims"])
    depth = float(-(b @ z) - b.size * _EPS * (np.abs(b) @ np.abs(z)))
    terms = 4 + _top(np.diff(A.indptr))
    residual = float(np.sum(np.abs(A.T @ z)))
    residual += terms * _EPS * float(np.sum(abs(A).T @ np.abs(z)))
    if not (depth > 0 and residual <= tolerance * depth):
        raise ConvexError(
            f"the solver's claim of infeasibility failed the check of its Farkas certificate: −b'z = {depth:.1e}, "
            f"‖A'z‖₁ = {residual:.1e} (tolerance {tolerance:g}); rescale the problem so that its numbers are near 1"
        )
    return z / depth, depth / residual if residual > 0 else float("inf")


def _require_convex(problem: cp.Problem) -> None:
    if not problem.variables():
        raise InputError("problem must have a variable, got none; read problem.objective.value instead")
    unset = [parameter.name() for parameter in problem.parameters() if parameter.value is None]
    if unset:
        raise InputError(f"problem must have every parameter set, but {', '.join(unset)} has no value; assign one")
    parts = {"objective": problem.objective, **{f"constraint {i}": c for i, c in enumerate(problem.constraints)}}
    bad = [name for name, part in parts.items() if not part.is_dcp()]
    if bad:
        raise InputError(
            f"problem must be convex under cvxpy's rules (DCP), but {', '.join(bad)} is not; "
            "rewrite with cvxpy's convex and concave atoms"
        )


def _arrays(data: Mapping[str, Any]) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """P (zero when absent), A, b and c: sparse columns, then float vectors."""
    b, c = np.asarray(data["b"], dtype=float), np.asarray(data["c"], dtype=float)
    return sparse.csc_array(data.get("P", (c.size, c.size))), sparse.csc_array(data["A"]), b, c


def _finite(point: Any, name: str, size: int) -> np.ndarray:
    array = np.asarray(point, dtype=float)
    if array.shape != (size,) or not np.isfinite(array).all():
        raise ConvexError(f"the {name} point must be {size} finite numbers; the solver's answer is not usable")
    return array


def _top(numbers: np.ndarray) -> float:
    """The largest of non-negative numbers, 0 when there are none."""
    return float(numbers.max(initial=0.0)) + 0.0


def _largest(v: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """``max(1, ‖v‖_∞)`` of each cone."""
    return np.maximum(1.0, np.maximum.reduceat(v, starts) if starts.size else v)


def _concavity(P: sparse.csc_array) -> tuple[float, float]:
    """How far the least eigenvalue of P lies below 0 (0 when rounding explains it), and the largest in size."""
    used = np.flatnonzero(np.diff(P.indptr))
    if not used.size:
        return 0.0, 1.0
    eigenvalues = np.linalg.eigvalsh(P[used][:, used].toarray())
    largest = float(np.abs(eigenvalues).max())
    below = float(max(0.0, -eigenvalues[0]))
    return (below if below > 4 * used.size * _EPS * largest else 0.0), largest or 1.0


def _sizes(dims: Any) -> list[int]:
    """Rows of each cone, in cvxpy's order; equations and inequalities are cones of one row."""
    return [
        *[1] * (dims.zero + dims.nonneg),
        *dims.soc,
        *(k * (k + 1) // 2 for k in dims.psd),
        *[3] * (dims.exp + len(dims.p3d)),
        *(len(weights) + 1 for weights in dims.pnd),
    ]


def _into_dual_cone(z: np.ndarray, dims: Any) -> np.ndarray:
    """`z` shifted into K*, far enough for the rounding of a curved cone's membership test to be covered."""
    sizes = np.array(_sizes(dims), dtype=int)
    shift, direction = _shift(z, dims, dual=True)
    if sizes.size:
        norms = np.maximum.reduceat(np.abs(z), np.cumsum(sizes) - sizes)
        shift = shift + np.where(sizes > 1, 8 * sizes * _EPS * norms, 0.0)
    return z + np.repeat(shift, sizes) * direction


def _shift(v: np.ndarray, dims: Any, *, dual: bool) -> tuple[np.ndarray, np.ndarray]:
    """The least t >= 0 of each cone, and a direction e inside it, such that v + t e lies in K (K* if `dual`)."""
    linear = dims.zero + dims.nonneg
    equations, inequalities = v[: dims.zero], v[dims.zero : linear]
    shifts = [0 * equations if dual else np.abs(equations), np.maximum(0.0, -inequalities)]
    directions = [0 * equations if dual else -np.sign(equations), np.ones(dims.nonneg)]
    row = linear

    def take(rows: int) -> np.ndarray:
        nonlocal row
        row += rows
        return v[row - rows : row]

    def add(shift: Any, direction: Any) -> None:
        shifts.append(np.atleast_1d(shift))
        directions.append(np.ravel(direction))

    for size in dims.soc:
        block = take(size)
        add(max(0.0, np.linalg.norm(block[1:]) - block[0]), np.eye(1, size))
    for order in dims.psd:
        block = take(order * (order + 1) // 2)
        columns, rows = np.tril_indices(order)  # the upper triangle, column by column
        matrix = np.zeros((order, order))
        matrix[rows, columns] = matrix[columns, rows] = block / np.where(rows == columns, 1.0, np.sqrt(2.0))
        add(max(0.0, -np.linalg.eigvalsh(matrix)[0]), rows == columns)
    blocks = take(3 * dims.exp).reshape(-1, 3).T
    direction = np.array([-1.0, 1.0, 1.0])

    def in_exponential(t: np.ndarray) -> np.ndarray:
        x, y, z = blocks + np.outer(direction, t)
        if dual:  # (u, v, w) is in K* when (u − v, −u, w) is in K
            x, y, z = x - y, -x, z
        inside = (y > 0) & (z > 0)
        y, z = np.where(inside, y, 1.0), np.where(inside, z, 1.0)
        with np.errstate(over="ignore", divide="ignore"):  # the limits ±inf compare as they should
            return inside & (x <= y * np.log(z / y))

    add(_least(in_exponential, np.abs(blocks).max(axis=0, initial=0.0)), np.tile(direction, dims.exp))
    for weights in [*((a, 1 - a) for a in dims.p3d), *dims.pnd]:
        block, powers = take(len(weights) + 1), np.array(weights)
        base = powers if dual else np.ones(powers.size)

        def in_power(t: np.ndarray, block=block, powers=powers, base=base) -> np.ndarray:
            means = np.prod(np.maximum(0.0, (block[:-1, None] + t) / base[:, None]) ** powers[:, None], axis=0)
            return (block[:-1].min() + t >= 0) & (means >= abs(block[-1]))

        add(_least(in_power, np.abs(block).max(keepdims=True)), np.append(np.ones(powers.size), 0.0))
    return np.concatenate(shifts), np.concatenate(directions)


def _least(inside: Callable[[np.ndarray], np.ndarray], size: np.ndarray) -> np.ndarray:
    """The least t >= 0 that is `inside`, by bisection below 4 `size`, which always is."""
    low, high = np.zeros_like(size), 4 * size
    for _ in range(80):
        middle = (low + high) / 2
        found = inside(middle)
        low, high = np.where(found, low, middle), np.where(found, middle, high)
    return np.where(inside(np.zeros_like(size)), 0.0, high)
