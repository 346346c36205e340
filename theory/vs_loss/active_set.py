"""The dual quadratic program of a support vector machine, by active sets.

Over rows z_i of any geometry, known through their Gram matrix G alone:

    minimise ½ β'Gβ − t'β   subject to   0 <= σ_i β_i <= u_i,   E'β = 0.

σ_i = ±1 orients row i (the label, in a binary problem), t_i is its target, E holds the coefficients of free intercepts
ν, the multipliers of E'β = 0. With the surplus s = σ(Gβ + Eν − t), a point is optimal when s >= 0 where β = 0, s = 0
where σβ lies strictly between its bounds, and s <= 0 at the upper bound.

Three roads, fast to safe. `_pivot` exchanges all violating rows at once (block principal pivoting) and ends after a
few Cholesky factorisations when most rows support the margin. Where G is singular, the same on G + εI guesses the
set. `_walk` adds and drops single rows and strictly lowers the objective, so it is finite; intercepts enter it by the
method of multipliers. An unbounded descent is met as a ray: the proof that no point satisfies all rows.

Source:
    Júdice and Pires (1994), block principal pivoting; Lawson and Hanson (1974), chapter 23, for `_walk`.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from ..core.fixed_point import NotConverged

__all__ = ["Program", "Ray", "minimise"]

_EPS = float(np.finfo(float).eps)
_SINGULAR = 64 * _EPS  # a squared Cholesky pivot below this share of the diagonal, times the size, is rounding
_RIDGE = 1e-7  # ε of the guess on G + εI, in units of the largest diagonal entry
_PIVOTS, _STALLS = 60, 6  # exchanges in all, and without fewer violations, before `_pivot` gives up
_ROUNDS = 60  # of the method of multipliers


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

    @property
    def size(self) -> float:
        """The largest diagonal entry of G."""
        return float(self.gram.diagonal().max(initial=0.0))


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
    n, k = program.border.shape
    start = _State(np.ones(n, dtype=bool), np.zeros(n, dtype=bool), np.zeros(n), np.zeros(k))
    state, solved = _pivot(program, start)
    if not solved:
        guess, _ = _pivot(program, start, ridge=_RIDGE * (program.size or 1.0))
        state, solved = _pivot(program, guess)
        if not solved:
            state = _multipliers(program, guess)
    return _within(program, state), state.multipliers


def _pivot(program: Program, state: _State, *, ridge: float = 0.0) -> tuple[_State, bool]:
    """Exchange every violating row until none is left; False when a block is singular or the exchange stalls."""
    G, t, signs, upper = program.gram, program.target, program.signs, program.upper
    bounded = np.isfinite(upper).any()
    free, capped = state.free.copy(), state.capped.copy()
    fewest, stalls = len(t) + 1, 0
    last = state
    for _ in range(_PIVOTS):
        dual = np.where(capped, signs * upper, 0.0) if bounded else np.zeros(len(t))
        rows = np.flatnonzero(free)
        factor = _cholesky(G, rows, ridge)
        if factor is None:
            return last, False
        fixed = G @ dual if capped.any() else None
        dual[rows], multipliers = _bordered(
            program, factor, rows, t[rows] - (0 if fixed is None else fixed[rows]), dual
        )
        if not rows.size and multipliers.size == 1:
            multipliers = _between(program, dual, capped)
        surplus = signs * (G @ dual + program.border @ multipliers - t + ridge * dual)
        tolerance = 1e-12 * np.abs(t).max() + 4 * _EPS * program.size * np.abs(dual).sum()
        height = signs * dual
        low, high = free & (height < 0), free & (height > upper)
        enter = ~free & np.where(capped, surplus > tolerance, surplus < -tolerance)
        violations = int(low.sum() + high.sum() + enter.sum())
        last = _State(free, capped, np.clip(height, 0.0, upper) * signs, multipliers)
        if violations == 0:
            if not ridge:
                last = _refined(program, factor, rows, _State(free, capped, dual, multipliers), surplus)
            return last, True
        stalls = 0 if violations < fewest else stalls + 1
        fewest = min(fewest, violations)
        if stalls > _STALLS:
            return last, False
        free, capped = (free & ~low & ~high) | enter, (capped & ~enter) | high
    return last, False


def _cholesky(G: np.ndarray, rows: np.ndarray, ridge: float = 0.0) -> np.ndarray | None:
    """The factor of G on `rows` (upper triangle, in the layout of LAPACK), or None where it is singular."""
    block = G.copy() if rows.size == len(G) else G[np.ix_(rows, rows)]
    if not rows.size:
        return block
    if ridge:
        block[np.diag_indices(rows.size)] += ridge
    largest = block.diagonal().max()
    factor, failed = lapack.dpotrf(block.T, lower=0, clean=0, overwrite_a=1)
    if failed or factor.diagonal().min() ** 2 <= _SINGULAR * rows.size * largest:
        return None
    return factor


def _bordered(program: Program, factor, rows, right, dual, below=None) -> tuple[np.ndarray, np.ndarray]:
    """Solve G_FF β + E_F ν = right, E_F'β = below (what the rows at their bounds leave over, when omitted)."""
    E = program.border[rows]
    if not rows.size:
        return np.empty(0), np.zeros(E.shape[1])
    both, _ = lapack.dpotrs(factor, np.asfortranarray(np.column_stack([right, E])), lower=0, overwrite_b=1)
    if not E.shape[1]:
        return both[:, 0], np.empty(0)
    if below is None:
        below = -program.border.T @ dual
    schur, short = E.T @ both[:, 1:], E.T @ both[:, 0] - below
    multipliers = np.linalg.lstsq(schur, short, rcond=1e-13)[0] if len(short) > 1 else short / schur[0]
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
    below = -program.border.T @ state.dual
    change, shift = _bordered(program, factor, rows, residual, state.dual, below)
    dual = state.dual.copy()
    dual[rows] += change
    height = program.signs * dual
    if (height[rows] >= 0).all() and (height <= program.upper).all():
        return _State(state.free, state.capped, dual, state.multipliers + shift)
    return state


def _multipliers(program: Program, guess: _State) -> _State:
    """The method of multipliers: `_walk` on G + ρEE' with target t − Eν, then ν += ρE'β, until `_pivot` agrees."""
    E, multipliers = program.border, np.zeros(program.border.shape[1])
    weight = 10 * (program.size or 1.0) / max(float((E * E).sum(axis=1).max(initial=0.0)), 1e-300)
    gram = program.gram + weight * (E @ E.T) if E.shape[1] else program.gram
    dual = guess.dual
    for _ in range(_ROUNDS):
        target = program.target - E @ multipliers
        state = _walk(Program(gram, target, program.signs, E[:, :0], program.upper), dual)
        dual = state.dual
        imbalance = E.T @ dual
        state.multipliers = multipliers = multipliers + weight * imbalance
        if not E.shape[1]:
            return state
        polished, solved = _pivot(program, state)
        if solved:
            return polished
        if (np.abs(imbalance) <= 1e-13 * (np.abs(E).T @ np.abs(dual))).all():
            return state
    raise NotConverged(
        f"the intercepts did not settle in {_ROUNDS} rounds; rescale the data, or solve with intercept='penalised'"
    )


def _walk(program: Program, start: np.ndarray) -> _State:
    """Minimise without a border, from a point within the bounds: each step lowers the objective, so none recurs."""
    G, t, signs, upper = program.gram, program.target, program.signs, program.upper
    n = len(t)
    dual = start.copy()
    capped = (signs * dual >= upper) & np.isfinite(upper)
    basis = _Basis(G)
    waiting = [int(i) for i in np.argsort(-np.abs(dual), kind="stable") if dual[i] != 0 and not capped[i]]
    curvature = np.maximum(G.diagonal(), _EPS * (program.size or 1.0))
    for _ in range(20 * n + 200):
        if waiting:
            entering = waiting.pop(0)
            if dual[entering] == 0 or capped[entering]:
                continue
        else:
            _settle(program, basis, dual, capped)
            surplus = signs * (G @ dual - t)
            tolerance = 1e-12 * np.abs(t).max() + 4 * _EPS * program.size * np.abs(dual).sum()
            violation = np.where(capped, surplus, -surplus)
            violation[basis.rows] = 0.0
            violation[violation <= tolerance] = 0.0
            entering = int(np.argmax(violation * np.abs(violation) / curvature))
            if violation[entering] <= 0:
                free = np.zeros(n, dtype=bool)
                free[basis.rows] = True
                return _State(free, capped, dual, np.empty(0))
            capped[entering] = False
        while not basis.append(entering):
            if not _slide(program, basis, entering, dual, capped):
                break
    raise NotConverged(f"the active set of {n} rows did not settle in {20 * n + 200} steps; rescale the data")


def _settle(program: Program, basis: "_Basis", dual: np.ndarray, capped: np.ndarray) -> None:
    """Move to the minimiser of the face of the free rows, dropping each row that meets a bound on the way."""
    while basis.rows:
        rows = np.array(basis.rows)
        outside = dual.copy()
        outside[rows] = 0.0
        fixed = program.gram[rows] @ outside if outside.any() else 0.0
        change = basis.solve(program.target[rows] - fixed) - dual[rows]
        if not _step(program, basis, rows, change, 1.0, dual, capped):
            return


def _slide(program: Program, basis: "_Basis", entering: int, dual: np.ndarray, capped: np.ndarray) -> bool:
    """Move along the flat direction through a dependent row until a row meets its bound; False when it is that row.

    Raises:
        Ray: if the objective falls along it and no bound is met.
    """
    rows = np.array([*basis.rows, entering])
    direction = np.append(-basis.solve(program.gram[basis.rows, entering]), 1.0)
    slope = float(direction @ (program.gram[rows] @ dual - program.target[rows]))
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
    """Free rows with an independent Gram block and its Cholesky factor, grown by a row, rebuilt when rows leave."""

    def __init__(self, gram: np.ndarray):
        self.gram = gram
        self.rows: list[int] = []
        self.factor = np.zeros((0, 0), order="F")  # lower triangle

    def append(self, row: int) -> bool:
        """Add a row unless it depends on those present."""
        m = len(self.rows)
        corner = float(self.gram[row, row])
        across = np.empty(0)
        if m:
            across, _ = lapack.dtrtrs(self.factor[:m, :m], self.gram[self.rows, row], lower=1)
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
        kept = [row for row in self.rows if row not in set(rows)]
        if len(kept) == len(self.rows):
            return
        self.rows = []
        factor = _cholesky(self.gram, np.array(kept, dtype=int))
        if factor is None:
            for row in kept:
                self.append(row)
            return
        self.rows = kept
        self.factor[: len(kept), : len(kept)] = np.triu(factor).T

    def solve(self, right: np.ndarray) -> np.ndarray:
        """Solve G_FF x = right."""
        m = len(self.rows)
        if not m:
            return np.empty(0)
        return lapack.dpotrs(self.factor[:m, :m], right, lower=1)[0]


def _within(program: Program, state: _State) -> np.ndarray:
    """β with E'β = 0 restored on its inner rows and every entry within its bounds exactly."""
    height = np.clip(program.signs * state.dual, 0.0, program.upper)
    dual = program.signs * height
    inner = (height > 0) & (height < program.upper)
    E = program.border[inner]
    if E.shape[1] and inner.any():
        dual[inner] -= E @ np.linalg.lstsq(E.T @ E, program.border.T @ dual, rcond=1e-13)[0]
        dual = program.signs * np.clip(program.signs * dual, 0.0, program.upper)
    return dual
