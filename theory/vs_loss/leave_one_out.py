"""Leave-one-out margins of a hard-margin support vector machine, all from the one fit.

Leaving out an example that is no support vector changes nothing. Leaving out support vector i moves the machine along
a piecewise linear path as its dual a_i falls to 0. While the active set S stays as it is, the path ends at

    y_i f_{-i}(x_i) = r_i - a_i / [B^(-1)]_ii,   B = [[Q_SS, y_S], [y_S', 0]],  Q_jk = y_j y_k k(x_j, x_k),

B without its border where the intercept is not free. Where an example enters or leaves S on the way, the path is
followed: each exchange is one sweep of the symmetric tableau of (Q, y) on S, whose columns are kept as products. So
each margin is that of the machine refitted without its example, up to rounding.

A support vector falls below its required margin when left out (otherwise the refitted machine would serve for all, at
a smaller norm). Hence for every example of every data set: training margin = max(r_i, leave-one-out margin).

Source:
    Vapnik and Chapelle (2000), Opper and Winther (2000) for the closed form without the exchange of the active set;
    Cauwenberghs and Poggio (2001) for decrements of a soft-margin machine; the tableau is derived here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import InputError
from .svm import SVMSolution, solve_svm

__all__ = ["LeaveOneOut", "leave_one_out"]

_STILL = 1e-10  # a rate below this share of the largest is rounding
_FAITHFUL = 1e-6  # relative deviation of the active set's own solution from the machine, above which it is refitted
_REFIT = -1


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """Margins of a machine on the examples it was not fitted to.

    Args:
        margins: y_i f_{-i}(x_i), f_{-i} being fitted to all other examples at their required margins, shape (n,).
        exchanges: examples that entered or left the active set when i was left out, shape (n,); 0 where the closed
            form is exact, -1 where the machine was refitted since its active set is degenerate.
    """

    margins: np.ndarray
    exchanges: np.ndarray


def leave_one_out(gram, solution: SVMSolution, *, follow: bool = True) -> LeaveOneOut:
    """Compute the margin of each example under the machine fitted to all the others.

    Args:
        gram: k(x_i, x_j), that of `solution`, shape (n, n).
        solution: a hard-margin machine, any required margins and intercept.
        follow: follow the exchanges of the active set; otherwise the closed form alone, a first-order answer.

    Returns:
        The margins, in the units of the required ones.

    Raises:
        InputError: for a soft margin, or a class with one example.

    Example:
        >>> features = np.array([[3.0], [2.0], [0.0], [-1.0]])
        >>> gram = features @ features.T
        >>> leave_one_out(gram, solve_svm(gram, [1, 1, -1, -1])).margins.round(9)
        array([2.        , 0.33333333, 0.33333333, 2.        ])
    """
    if solution.upper is not None:
        raise InputError("leave_one_out needs a hard margin, got a soft one (upper); solve without upper")
    labels, n = solution.labels, len(solution.labels)
    smallest = min(int((labels > 0).sum()), int((labels < 0).sum()))
    if smallest < 2:
        raise InputError(f"leave_one_out needs at least 2 examples of each class, got {smallest}; add examples")
    gram = np.asarray(gram, dtype=float)
    if gram.shape != (n, n):
        raise InputError(f"gram must be that of the solution, {n} x {n}, got shape {gram.shape}")
    margins, exchanges = labels * solution.scores, np.zeros(n, dtype=int)
    tableau = _Tableau(gram, solution)
    for i in solution.support:
        left = tableau.leave(int(i), follow) if tableau.faithful else None
        if left is None:
            margins[i], exchanges[i] = _refit(gram, solution, int(i)), _REFIT
        else:
            margins[i], exchanges[i] = left
    return LeaveOneOut(margins, exchanges)


class _Tableau:
    """The symmetric tableau of (Q, y), swept on the active set and the intercept, and the machine's state in it.

    State of index j: its dual where it is basic, its surplus margin where not; the intercept is the last index.
    """

    def __init__(self, gram: np.ndarray, solution: SVMSolution):
        n, self.free = len(gram), solution.intercept_kind == "free"
        y = solution.labels
        if self.free:  # centring moves the intercept only, and keeps the sweeps well-conditioned
            rows = gram.mean(axis=0)
            gram = gram - rows - rows[:, None] + rows.mean()
        elif solution.intercept_kind == "penalised":
            gram = gram + 1.0
        self.required = solution.required
        size = n + self.free
        full = np.zeros((size, size))
        full[:n, :n] = gram * np.outer(y, y) / gram.diagonal().max()
        if self.free:
            full[:n, n] = full[n, :n] = y
        target = np.append(self.required, np.zeros(int(self.free)))
        self.basic = np.zeros(size, dtype=bool)
        self.basic[solution.support] = True
        self.basic[n:] = True
        inside, outside = np.flatnonzero(self.basic), np.flatnonzero(~self.basic)
        self.faithful = False
        try:
            inverse = np.linalg.inv(full[np.ix_(inside, inside)])
        except np.linalg.LinAlgError:  # a singular active set: the examples on the margin are dependent
            return
        cross = full[np.ix_(inside, outside)]
        forward = inverse @ cross
        self.swept = np.empty((size, size))
        self.swept[np.ix_(inside, inside)] = -inverse
        self.swept[np.ix_(inside, outside)] = forward
        self.swept[np.ix_(outside, inside)] = forward.T
        self.swept[np.ix_(outside, outside)] = full[np.ix_(outside, outside)] - cross.T @ forward
        self.state = np.empty(size)
        self.state[inside] = inverse @ target[inside]
        self.state[outside] = cross.T @ self.state[inside] - target[outside]
        surplus = y * solution.scores - self.required
        away = np.abs(self.state[outside] - surplus[outside]).max(initial=0.0) / self.required.max()
        residual = np.abs(full[np.ix_(inside, inside)] @ self.state[inside] - target[inside]).max()
        positive = bool((self.state[solution.support] > 0).all())
        self.faithful = positive and away <= _FAITHFUL and residual / self.required.max() <= _FAITHFUL

    def leave(self, i: int, follow: bool) -> tuple[float, int] | None:
        """Return the margin of i once its dual has fallen to 0, and the exchanges; None when it cannot be followed."""
        n = len(self.required)
        basic, state, left = self.basic.copy(), self.state.copy(), float(self.state[i])
        sweeps: list[tuple[int, np.ndarray, float]] = []
        column = _swept(i, self.swept[:, i], i, self.swept[:, i], -1.0)
        basic[i], state[i] = False, 0.0
        sweeps.append((i, self.swept[:, i], -1.0))
        inner = np.arange(len(state)) < n
        inner[i] = False
        for exchanges in range(2 * n if follow else 1):
            rate = np.where(basic, column, -column)
            blocking = inner & (rate < -_STILL * np.abs(rate).max())
            if not follow or not blocking.any():
                return float(self.required[i] + state[i] + left * rate[i]), exchanges
            reach = np.where(blocking, np.maximum(state, 0.0) / np.where(blocking, -rate, 1.0), np.inf)
            k = int(reach.argmin())
            if reach[k] >= left:
                return float(self.required[i] + state[i] + left * rate[i]), exchanges
            state += reach[k] * rate
            left -= float(reach[k])
            state[k] = 0.0
            pivot = self.swept[:, k]
            for past, values, sign in sweeps:
                pivot = _swept(k, pivot, past, values, sign)
            if abs(pivot[k]) <= _STILL * abs(self.swept[k, k]):
                return None
            sign = -1.0 if basic[k] else 1.0
            column = _swept(i, column, k, pivot, sign)
            basic[k] = not basic[k]
            sweeps.append((k, pivot, sign))
        return None


def _swept(index: int, column: np.ndarray, k: int, pivot: np.ndarray, sign: float) -> np.ndarray:
    """Return the column of `index` after the sweep on k, whose own column before it is `pivot`.

    Args:
        sign: +1 when k becomes basic, -1 when it leaves.
    """
    if index == k:
        new = sign * pivot / pivot[k]
        new[k] = -1 / pivot[k]
        return new
    share = column[k] / pivot[k]
    new = column - share * pivot
    new[k] = sign * share
    return new


def _refit(gram: np.ndarray, solution: SVMSolution, i: int) -> float:
    kept = np.arange(len(gram)) != i
    required: Any = solution.required[kept]
    rest = solve_svm(gram[np.ix_(kept, kept)], solution.labels[kept], required, intercept=solution.intercept_kind)
    return float(solution.labels[i] * (gram[i, kept] @ rest.coefficients + rest.intercept))
