"""The dual quadratic program of a support vector machine, by active sets.

Over rows z_i of any geometry, known through their Gram matrix G alone:

    minimise ½ β'Gβ − t'β   subject to   0 <= σ_i β_i <= u_i,   E'β = 0.

σ_i = ±1 orients row i (the label, in a binary problem), t_i is its target, E holds the coefficients of free intercepts
ν, the multipliers of E'β = 0. With the surplus s = σ(Gβ + Eν − t), a point is optimal when s >= 0 where β = 0, s = 0
where σβ lies strictly between its bounds, and s <= 0 at the upper bound.

Three roads, one after the other. `_descend` takes a few dozen accelerated projected-gradient steps, which nearly find
the active set. `_pivot` exchanges all violating rows at once (block principal pivoting); from there it ends after two
or three Cholesky factorisations. Where that fails (singular blocks, a stall), `_walk` adds and drops single rows. Each
of its steps minimises over the free rows and lowers the objective, so no set of rows recurs; a step may have length 0
only while fewer rows than intercepts are free. An unbounded descent is met as a ray: the proof that no point satisfies
all rows.

Source:
    Beck and Teboulle (2009), accelerated projected gradients; Júdice and Pires (1994), block principal pivoting; Lawson
    and Hanson (1974), chapter 23, for `_walk`.
"""

import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from scipy.linalg import get_lapack_funcs

from ..core.fixed_point import NotConverged

__all__ = ["Program", "Ray", "minimise"]

_EPS = float(np.finfo(float).eps)
_potrf, _potrs, _trtrs = get_lapack_funcs(("potrf", "potrs", "trtrs"), dtype=float)
_SINGULAR = 64 * _EPS  # a squared Cholesky pivot below this share of the diagonal, times the size, is rounding
_DESCENTS = (
    (60, 0.01),
    (150, 0.0),
)  # before each attempt of `_pivot`: steps, and the share of rows changing at the end
_AT_LEAST = 8  # steps of a descent
_SMALL = 500  # up to this size a whole product costs less than choosing its rows
_BALANCED, _TINY = 1e-12, 1e-300
_PIVOTS, _STALLS = 60, 6  # exchanges in all, and without fewer violations, before `_pivot` gives up


class Ray(ArithmeticError):  # noqa: N818 - reads as what was found
    """The objective falls without end along `direction` (n,): σ · direction >= 0, G direction = 0, E'direction = 0."""

    def __init__(self, direction: np.ndarray):
        super().__init__(direction)
        self.direction = direction


@dataclass(frozen=True)
class Program:
    """The data of the quadratic program above.

    Args:
        gram: G, shape (n, n), symmetric positive semidefinite.
        target: t, shape (n,).
        signs: σ in {+1, -1}, shape (n,).
        border: E, shape (n, k), k >= 0.
        upper: u, shape (n,), inf where there is none.
    """

    gram: np.ndarray
    target: np.ndarray
    signs: np.ndarray
    border: np.ndarray
    upper: np.ndarray

    @cached_property
    def size(self) -> float:
        """The largest diagonal entry of G."""
        return float(self.gram.diagonal().max(initial=0.0))

    @cached_property
    def bounded(self) -> bool:
        """Whether any row has an upper bound."""
        return bool(np.isfinite(self.upper).any())


@dataclass
class _State:
    """Which rows are free (between their bounds), which are at their upper bound, and the point that belongs to it."""

    free: np.ndarray
    capped: np.ndarray
    dual: np.ndarray
    multipliers: np.ndarray


def minimise(program: Program) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the quadratic program.

    Returns:
        β, shape (n,), and ν, shape (k,); β is within its bounds exactly and E'β = 0 up to rounding.

    Raises:
        Ray: if the objective has no lower bound.
        NotConverged: if no active set was found within the budget.
    """
    state = None
    for steps, settled in _DESCENTS:
        state = _descend(program, steps, settled, state)
        pivoted = _pivot(program, state)
        if pivoted is not None:
            return pivoted.dual, pivoted.multipliers
    assert state is not None
    state = _walk(program, _State(state.free, state.capped, _within(program, state), state.multipliers))
    return _within(program, state), state.multipliers


def _descend(program: Program, steps: int, settled: float, state: _State | None) -> _State:
    """Accelerated projected gradients, until the active set hardly changes or the steps are spent."""
    G, t, signs, upper = program.gram, program.target, program.signs, program.upper
    if state is None:
        above = signs > 0
        positive = int(np.count_nonzero(above))
        point = t / np.where(above, positive, len(t) - positive)  # the difference of the means, in a binary problem
    else:
        point = state.dual
    image = G @ point
    largest = _norm(G @ image) / (_norm(image) or 1.0) or 1.0  # of the eigenvalues, a little below
    if state is None:
        bend = float(point @ image)
        if bend > 0:
            point *= float(t @ point) / bend
        point = signs * _inside(signs * point, upper)
    with np.errstate(over="ignore", invalid="ignore"):  # a runaway ends in inf or nan, which is not <= 0 either
        moved, multipliers = _accelerate(program, point, 1 / largest, steps, settled)
        gained = _objective(program, moved) <= 0
    if not gained:  # worse than nothing: too long a step for a direction that was missed
        moved, multipliers = _accelerate(program, point, 1 / (float(np.linalg.norm(G)) or 1.0), steps, settled)
    capped = signs * moved >= upper
    return _State((moved != 0) & ~capped, capped, moved, multipliers)


def _accelerate(program: Program, point: np.ndarray, rate: float, steps: int, settled: float):
    """The steps of `_descend`, of length `rate`; the point and its multipliers."""
    G, t, E, upper, bounded = program.gram, program.target, program.border, program.upper, program.bounded
    above = program.signs > 0
    low, high = np.where(above, 0.0, -upper), np.where(above, upper, 0.0)
    pull, few = rate * t, settled * len(t)
    edge, several = E[:, 0] if E.shape[1] == 1 else np.empty(0), E.shape[1] > 1
    squares = edge * edge
    equal = bool((squares == 1.0).all())
    multipliers: Any = np.zeros(E.shape[1]) if several else 0.0
    times = G.dot if len(t) <= _SMALL else partial(_times, G)
    ahead, momentum, active = point, 1.0, point != 0
    for step in range(steps):
        free = times(ahead)
        free *= -rate
        free += ahead
        free += pull
        new = np.maximum(low, free)
        np.minimum(high, new, out=new)
        if E.shape[1]:  # a Newton step of the projection onto E'β = 0 within the bounds
            inner = new != 0
            if bounded:
                inner &= np.abs(new) != upper
            if several:
                change = _least_squares((E.T * inner) @ E, new @ E)
                push = E @ change
            else:
                change = float(edge @ new) / (float(np.count_nonzero(inner) if equal else squares @ inner) or 1.0)
                push = edge * change
            multipliers += change
            pull -= push
            free -= push
            np.maximum(low, free, out=new)
            np.minimum(high, new, out=new)
        following = (1 + math.sqrt(1 + 4 * momentum * momentum)) / 2
        ahead = new - point
        ahead *= (momentum - 1) / following
        ahead += new
        point, momentum = new, following
        if step >= _AT_LEAST - 1:
            was, active = active, new != 0
            if np.count_nonzero(was != active) <= few:
                break
    return point, np.full(E.shape[1], multipliers) / rate


def _pivot(program: Program, state: _State) -> _State | None:
    """Exchange every violating row until none is left; None when a block is singular or the exchange stalls."""
    G, t, signs, upper, E = program.gram, program.target, program.signs, program.upper, program.border
    bounded = program.bounded
    free, capped = state.free, state.capped
    unit, noise = 1e-12 * float(np.abs(t).max()), 4 * _EPS * program.size
    empty = np.zeros(E.shape[1])
    fewest, stalls = len(t) + 1, 0
    for _ in range(_PIVOTS):
        rows = free.nonzero()[0]
        factor = _cholesky(G, rows)
        if factor is None:
            return None
        dual, right, below = np.zeros(len(t)), t[rows], empty
        if bounded:
            dual = np.where(capped, signs * upper, 0.0)
            right, below = right - _times(G, dual)[rows], -(dual @ E)
        dual[rows], multipliers = _bordered(E[rows], factor, right, below)
        if not rows.size and multipliers.size == 1:
            multipliers = _between(program, dual, capped)
        surplus = _times(G, dual)
        surplus -= t
        surplus += E @ multipliers
        surplus *= signs
        height = signs * dual
        tolerance = unit + noise * float(np.abs(height).sum())
        wrong = np.where(free, height < 0, (np.where(capped, -surplus, surplus) if bounded else surplus) < -tolerance)
        high = free & (height > upper) if bounded else None
        if high is not None:
            wrong |= high
        violations = int(np.count_nonzero(wrong))
        if violations == 0:
            tilt = _imbalance(program, dual)
            if not tilt <= _BALANCED:
                return None
            found = _State(free, capped, dual, multipliers)
            rough = float(np.abs(surplus[rows]).max(initial=0.0)) > 0.1 * unit
            if rough:
                found = _refined(program, factor, rows, found, surplus)
            if rough or tilt > 8 * _EPS:
                found.dual = _within(program, found)
            return found
        stalls = 0 if violations < fewest else stalls + 1
        fewest = min(fewest, violations)
        if stalls > _STALLS:
            return None
        free = free ^ wrong
        if high is not None:
            capped = (capped & ~wrong) | high
    return None


def _cholesky(G: np.ndarray, rows: np.ndarray) -> np.ndarray | None:
    """The factor of G on `rows` (lower triangle, in the layout of LAPACK), or None where it is singular."""
    block = G.copy() if rows.size == len(G) else G.take(rows, axis=0).take(rows, axis=1)
    if not rows.size:
        return block
    largest = block.diagonal().max()
    factor, failed = _potrf(block.T, lower=1, clean=0, overwrite_a=1)
    if failed or factor.diagonal().min() ** 2 <= _SINGULAR * rows.size * largest:
        return None
    return factor


def _bordered(E, factor, right, below) -> tuple[np.ndarray, np.ndarray]:
    """Solve G β + E ν = right, E'β = below, on the rows of the factor."""
    if not right.size:
        return right, np.zeros(E.shape[1])
    both = np.empty((right.size, 1 + E.shape[1]), order="F")
    both[:, 0], both[:, 1:] = right, E
    both, _ = _potrs(factor, both, lower=1, overwrite_b=1)
    if not E.shape[1]:
        return both[:, 0], below
    across = E.T @ both
    multipliers = _least_squares(across[:, 1:], across[:, 0] - below)
    return both[:, 0] - both[:, 1:] @ multipliers, multipliers


def _between(program: Program, dual: np.ndarray, capped: np.ndarray) -> np.ndarray:
    """The middle of the interval of a single intercept when no row is free; its finite end when it has one."""
    wanted = (program.target - program.gram @ dual) / program.border[:, 0]
    rising = (program.signs * program.border[:, 0] > 0) != capped
    low, high = wanted[rising].max(initial=-np.inf), wanted[~rising].min(initial=np.inf)
    ends = [end for end in (low, high) if np.isfinite(end)]
    return np.array([sum(ends) / len(ends) if ends else 0.0])


def _refined(program: Program, factor, rows, state: _State, surplus) -> _State:
    """One step of iterative refinement on the free rows; kept when it leaves them inside their bounds."""
    residual = -(program.signs * surplus)[rows]
    change, shift = _bordered(program.border[rows], factor, residual, -(state.dual @ program.border))
    dual = state.dual.copy()
    dual[rows] += change
    height = program.signs * dual
    if (height[rows] >= 0).all() and (height <= program.upper).all():
        return _State(state.free, state.capped, dual, state.multipliers + shift)
    return state


def _walk(program: Program, start: _State) -> _State:
    """Add the worst row, move to the minimiser of the free rows, drop each row that meets a bound on the way."""
    t, signs, upper, E = program.target, program.signs, program.upper, program.border
    n = len(t)
    dual, multipliers = start.dual.copy(), start.multipliers
    if not (_imbalance(program, dual) <= _BALANCED and _objective(program, dual) <= 0):
        dual = np.zeros(n)
    capped = (signs * dual >= upper) & np.isfinite(upper)
    basis = _Basis(program)
    waiting = [int(i) for i in np.argsort(-np.abs(dual), kind="stable") if dual[i] != 0 and not capped[i]]
    curvature = np.maximum(program.gram.diagonal(), _EPS * (program.size or 1.0))
    lowest, entering, idle = np.inf, -1, set()
    for step in range(20 * n + 200):
        if waiting:
            entering = waiting.pop(0)
            if dual[entering] == 0 or capped[entering]:
                continue
        else:
            multipliers = _settle(program, basis, dual, capped, multipliers)
            image = _times(program.gram, dual)
            surplus = signs * (image + E @ multipliers - t)
            tolerance = 1e-12 * np.abs(t).max() + 4 * _EPS * program.size * np.abs(dual).sum()
            violation = np.where(capped, surplus, -surplus)
            violation[basis.rows] = 0.0
            violation[violation <= tolerance] = 0.0
            value, noise = float(dual @ image) / 2 - float(t @ dual), 4 * _EPS * float(np.abs(t) @ np.abs(dual))
            idle = set() if value < lowest - noise else idle | ({entering} - {*basis.rows})
            lowest = min(lowest, value)
            violation[list(idle)] = 0.0  # entered and left without lowering the objective: rounding
            worst = violation * np.abs(violation) / curvature if step < 10 * n + 100 else violation > 0  # then by index
            entering = int(np.argmax(worst))
            if violation[entering] <= 0:
                multipliers = _settle(program, basis, dual, capped, multipliers)  # refines
                free = np.zeros(n, dtype=bool)
                free[basis.rows] = True
                return _State(free, capped, dual, multipliers)
            capped[entering] = False
        while not basis.append(entering):
            if not _slide(program, basis, entering, dual, capped):
                break
    raise NotConverged(f"the active set of {n} rows did not settle in {20 * n + 200} steps; rescale the data")


def _settle(program: Program, basis: "_Basis", dual, capped, multipliers: np.ndarray) -> np.ndarray:
    """Move to the minimiser of the face of the free rows; return its multipliers, as near the old as it leaves open."""
    E = program.border
    while basis.rows:
        rows = np.array(basis.rows)
        over = E.T @ dual
        over[np.abs(over) <= 64 * _EPS * (np.abs(E).T @ np.abs(dual))] = 0.0
        residual = (program.target - _times(program.gram, dual) - E @ multipliers)[rows]
        change, shift = basis.solve(residual - basis.weight * (E[rows] @ over)), np.zeros(E.shape[1])
        if E.shape[1]:
            across = basis.solve(E[rows])
            shift = _least_squares(E[rows].T @ across, E[rows].T @ change + over)
            size = np.abs(change) + np.abs(across) @ np.abs(shift)
            change = change - across @ shift
            change[np.abs(change) <= 64 * _EPS * size] = 0.0  # what the border forbids must not look like a move
        if not _step(program, basis, rows, change, 1.0, dual, capped):
            return multipliers + shift
    return multipliers


def _slide(program: Program, basis: "_Basis", entering: int, dual: np.ndarray, capped: np.ndarray) -> bool:
    """Move along the flat direction through a dependent row until a row meets its bound; False when it is that row.

    Raises:
        Ray: if no bound is met, so that the objective falls for ever.
    """
    rows = np.array([*basis.rows, entering])
    direction = np.append(-basis.solve(basis.block(basis.rows, [entering])[:, 0]), 1.0)
    slope = float(direction @ (_times(program.gram, dual)[rows] - program.target[rows]))
    direction *= -1.0 if slope > 0 else 1.0
    met = _step(program, basis, rows, direction, np.inf, dual, capped)
    if not met:
        ray = np.zeros(len(dual))
        ray[rows] = direction
        raise Ray(ray)
    return entering not in met


def _step(program: Program, basis: "_Basis", rows, direction, longest: float, dual, capped) -> list[int]:
    """Move `dual` by at most `longest` along `direction` on `rows`; return the rows that meet a bound, now dropped."""
    height, speed = program.signs[rows] * dual[rows], program.signs[rows] * direction
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(speed < 0, -height / speed, np.where(speed > 0, (program.upper[rows] - height) / speed, np.inf))
    length = min(longest, float(room.min(initial=np.inf)))
    if not np.isfinite(length):
        return []
    dual[rows] += length * direction
    met = np.flatnonzero(room <= length) if length < longest else np.empty(0, dtype=int)
    for position in met:
        row = rows[position]
        capped[row] = speed[position] > 0
        dual[row] = program.signs[row] * program.upper[row] if capped[row] else 0.0
    basis.drop([int(rows[position]) for position in met])
    return [int(rows[position]) for position in met]


class _Basis:
    """Free rows whose block of H = G + ρEE' is regular, with its Cholesky factor, grown by a row, rebuilt on a drop.

    H takes the place of G because it is regular exactly when G is on the directions that keep E'β fixed.
    """

    def __init__(self, program: Program):
        self.program = program
        largest = float((program.border**2).sum(axis=1).max(initial=0.0)) or 1.0
        self.weight = (program.size or 1.0) / largest
        self.rows: list[int] = []
        self.factor = np.zeros((0, 0), order="F")  # lower triangle

    def block(self, rows: list[int], columns: list[int]) -> np.ndarray:
        """Entries of H."""
        E = self.program.border
        return self.program.gram[np.ix_(rows, columns)] + self.weight * (E[rows] @ E[columns].T)

    def append(self, row: int) -> bool:
        """Add a row unless it depends on those present."""
        m = len(self.rows)
        column = self.block([*self.rows, row], [row])[:, 0]
        across, corner = column[:m], column[m]
        if m:
            across, _ = _trtrs(self.factor[:m, :m], across, lower=1)
        pivot = corner - float(across @ across)
        if pivot <= _SINGULAR * (m + 1) * max(corner, 0.0) or corner <= 0:
            return False
        if m == len(self.factor):
            grown = np.zeros((2 * m + 16, 2 * m + 16), order="F")
            grown[:m, :m] = self.factor[:m, :m]
            self.factor = grown
        self.factor[m, :m], self.factor[m, m] = across, np.sqrt(pivot)
        self.rows.append(row)
        return True

    def drop(self, rows: list[int]) -> None:
        """Remove rows."""
        gone = set(rows)
        kept = [row for row in self.rows if row not in gone]
        if len(kept) == len(self.rows):
            return
        factor, failed = _potrf(self.block(kept, kept), lower=1) if kept else (np.empty((0, 0)), 0)
        if not failed and factor.size and factor.diagonal().min() ** 2 > _SINGULAR * len(kept) * self.program.size:
            self.rows = kept
            self.factor[: len(kept), : len(kept)] = factor
            return
        self.rows = []
        for row in kept:
            self.append(row)

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Solve H_FF x = right."""
        m = len(self.rows)
        return _potrs(self.factor[:m, :m], right, lower=1)[0] if m else np.empty(np.shape(right))


def _norm(vector: np.ndarray) -> float:
    return math.sqrt(vector @ vector)


def _objective(program: Program, dual: np.ndarray) -> float:
    return float(dual @ _times(program.gram, dual)) / 2 - float(program.target @ dual)


def _times(G: np.ndarray, dual: np.ndarray) -> np.ndarray:
    """G β, reading only the rows that count when they are few."""
    if dual.size <= _SMALL:
        return G @ dual
    used = np.flatnonzero(dual)
    return dual[used] @ G[used] if 4 * used.size < dual.size else G @ dual


def _inside(height: np.ndarray, upper: np.ndarray) -> np.ndarray:
    above = np.maximum(height, 0.0)
    return np.minimum(above, upper, out=above)


def _least_squares(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A solution of a small symmetric system that may be singular."""
    if len(right) == 1:
        return right / matrix[0] if matrix[0, 0] else 0.0 * right
    return np.linalg.lstsq(matrix, right, rcond=1e-13)[0]


def _imbalance(program: Program, dual: np.ndarray) -> float:
    """The largest entry of E'β relative to |E|'|β|."""
    E = program.border
    return float((np.abs(dual @ E) / np.maximum(np.abs(dual) @ np.abs(E), _TINY)).max(initial=0.0))


def _within(program: Program, state: _State) -> np.ndarray:
    """β with E'β = 0 restored on its inner rows and every entry within its bounds exactly."""
    height = _inside(program.signs * state.dual, program.upper)
    dual = program.signs * height
    inner = (height > 0) & (height < program.upper)
    E = program.border[inner]
    if E.size:
        dual[inner] -= E @ _least_squares(E.T @ E, dual @ program.border)
        dual = program.signs * _inside(program.signs * dual, program.upper)
    return dual
