"""The proximal map of a softmax loss at many points at once, by Newton's method with a guaranteed step.

The loss of class c is l(v) = ω (log Σ_a e^(v_a + ι_a) - v_c - ι_c) with v = C s linear in the point s of dimension k,
and the map takes η to argmin |s - η|² / 2 + l(C s). Points run along the last axis of every array, so that the small
linear systems are solved for all points together.

With C large the loss is nearly piecewise linear, and Newton's method creeps along its edges. Points at which it has not
finished in a few steps are therefore solved for τ log Σ e^((v + ι) / τ) with τ from the range of the scores down to 1,
each from the tangent at the one before.

Source:
    Derived here; the step log(1 + β) / β is that of Sun and Tran-Dinh (2019), arXiv:1703.04599, for generalised
    self-concordant functions: the third derivative of log-sum-exp along dv is at most the range of dv times the second.
"""

import numpy as np
from numpy.typing import NDArray

from ..core.fixed_point import NotConverged

__all__ = ["softmax_prox"]

_MAX_NEWTON = 40
_MAX_HALVINGS = 60
_QUADRATIC = 1e-6  # a Newton step that moves the scores this little leaves an error of its square
_ROUGH = 0.1  # the same on the way down from large temperatures
_COOLING = 0.3  # ratio of a temperature to the one before
_CROWDED = 0.7  # below this share of unfinished points, the finished ones are put aside


def softmax_prox(
    directions: NDArray, offsets: NDArray, weight: float, label: int, eta: NDArray, start: NDArray
) -> tuple[NDArray, NDArray]:
    """Gradient of the loss at the proximal point, and its derivative in η.

    Args:
        directions: C, shape (K, k).
        offsets: ι, shape (K,).
        weight: ω > 0.
        label: c.
        eta: η, shape (k, N).
        start: a guess of the gradient, shape (k, N); the better, the fewer steps.

    Returns:
        P = η - s, the gradient in s, shape (k, N), and dP/dη, shape (k, k, N).

    Raises:
        NotConverged: if Newton's method has not finished at some point.

    Example:
        >>> C, eta = np.eye(2), np.array([[0.3], [-0.4]])
        >>> gradient, _ = softmax_prox(C, np.zeros(2), 1.0, 0, eta, np.zeros((2, 1)))
        >>> odds = np.exp(eta - gradient)
        >>> bool(np.allclose(gradient, odds / odds.sum() - np.array([[1.0], [0.0]])))
        True
    """
    problem = _Problem(directions, offsets, weight, label, eta)
    s, unfinished = problem.newton(eta - start, 1.0, problem.accuracy)
    if unfinished.any():
        hard = _Problem(directions, offsets, weight, label, eta[:, unfinished])
        s[:, unfinished] = hard.cooled()
    share, _ = problem.softmax(s, 1.0)
    factors = _cholesky(problem.hessian(share, 1.0))
    # after one more step; the gradient at s would carry the error of s times the Hessian, which is huge for a large C
    gradient = eta - s + _solve(factors, s - eta + problem.pull(share))
    return gradient, np.eye(len(eta))[:, :, None] - _inverse(factors)


class _Problem:
    """|s - η|² / 2 + ω τ log Σ_a e^((C s + ι)_a / τ) - ω (C s + ι)_c at N points η; τ is the temperature."""

    def __init__(self, directions: NDArray, offsets: NDArray, weight: float, label: int, eta: NDArray):
        self.directions, self.offsets, self.weight, self.label, self.eta = directions, offsets, weight, label, eta
        self.products = np.einsum("ai,aj->ija", directions, directions).reshape(len(eta) ** 2, -1)
        # scores carry the rounding of the gradient, times C
        self.accuracy = max(_QUADRATIC, 8 * weight * float(np.abs(self.products).max()) * np.finfo(float).eps)

    def softmax(self, s: NDArray, temperature: NDArray | float) -> tuple[NDArray, NDArray]:
        """Shares of the classes, and the loss at weight 1."""
        scores = self.directions @ s + self.offsets[:, None]
        top = scores.max(axis=0)
        odds = np.exp((scores - top) / temperature)
        total = odds.sum(axis=0)
        return odds / total, temperature * np.log(total) + top - scores[self.label]

    def pull(self, share: NDArray) -> NDArray:
        """Gradient of the loss."""
        return self.weight * (self.directions.T @ share - self.directions[self.label][:, None])

    def hessian(self, share: NDArray, temperature: NDArray | float) -> NDArray:
        k, pulled = len(self.eta), self.directions.T @ share
        spread = (self.products @ share).reshape(k, k, -1) - pulled[:, None] * pulled[None]
        return np.eye(k)[:, :, None] + self.weight / temperature * spread

    def newton(self, s: NDArray, temperature: NDArray | float, accuracy: float) -> tuple[NDArray, NDArray]:
        """Newton's method from s; the points reached, and which of them are not finished."""
        todo, reached = np.arange(s.shape[1]), s.copy()
        eta, heat = self.eta, np.broadcast_to(np.asarray(temperature, dtype=float), s.shape[1:])
        share, loss = self.softmax(s, heat)
        for _ in range(_MAX_NEWTON):
            gradient = s - eta + self.pull(share)
            step = -_solve(_cholesky(self.hessian(share, heat)), gradient)
            along = self.directions @ step
            reach = (along.max(axis=0) - along.min(axis=0)) / heat
            safe = np.where(reach > 1e-3, np.log1p(reach) / np.maximum(reach, 1e-3), 1.0)
            value, descent = ((s - eta) ** 2).sum(axis=0) / 2 + self.weight * loss, (gradient * step).sum(axis=0)
            length = np.ones(todo.size)
            for _ in range(_MAX_HALVINGS):
                trial = s + length * step
                share, loss = self.softmax(trial, heat)
                now = ((trial - eta) ** 2).sum(axis=0) / 2 + self.weight * loss
                enough = (now <= value + 1e-4 * length * descent) | (length <= safe)
                if enough.all():
                    break
                length = np.where(enough, length, np.maximum(length / 2, safe))
            s = trial
            reached[:, todo] = s
            unfinished = reach > accuracy
            if not unfinished.any():
                return reached, np.zeros(reached.shape[1], dtype=bool)
            if unfinished.mean() < _CROWDED:
                todo, s, eta, heat = todo[unfinished], s[:, unfinished], eta[:, unfinished], heat[unfinished]
                share, loss, unfinished = share[:, unfinished], loss[unfinished], np.ones(todo.size, dtype=bool)
        return reached, np.isin(np.arange(reached.shape[1]), todo[unfinished])

    def cooled(self) -> NDArray:
        """The proximal points, from high temperatures down."""
        s = self.eta - self.pull(np.full((len(self.directions), self.eta.shape[1]), 1 / len(self.directions)))
        scores = self.directions @ np.concatenate([s, self.eta], axis=1)
        heat = np.maximum(1.0, np.ptp(scores, axis=0).reshape(2, -1).max(axis=0))
        unfinished = np.ones(heat.size, dtype=bool)
        while True:
            s, unfinished = self.newton(s, heat, self.accuracy if heat.max() == 1 else _ROUGH)
            if heat.max() == 1:
                break
            share, _ = self.softmax(s, heat)
            scores = share * (self.directions @ s + self.offsets[:, None])
            spread = self.directions.T @ (scores - share * scores.sum(axis=0)) * self.weight / heat
            cooler = np.maximum(1.0, _COOLING * heat)
            s = s + (cooler / heat - 1) * _solve(_cholesky(self.hessian(share, heat)), spread)
            heat = cooler
        if unfinished.any():
            raise NotConverged(
                f"the proximal map is not resolved at {int(unfinished.sum())} of {heat.size} points, scores up to "
                f"{float(np.abs(scores).max()):.1e}; raise the ridge"
            )
        return s


def _cholesky(matrices: NDArray) -> NDArray:
    """Lower factors of positive definite matrices, shape (k, k, N)."""
    factors = np.zeros_like(matrices)
    for j in range(matrices.shape[0]):
        factors[j, j] = np.sqrt(matrices[j, j] - (factors[j, :j] ** 2).sum(axis=0))
        rest = matrices[j + 1 :, j] - np.einsum("ipn,pn->in", factors[j + 1 :, :j], factors[j, :j])
        factors[j + 1 :, j] = rest / factors[j, j]
    return factors


def _solve(factors: NDArray, right: NDArray) -> NDArray:
    x = np.empty_like(right)
    for i in range(len(right)):
        x[i] = (right[i] - (factors[i, :i] * x[:i]).sum(axis=0)) / factors[i, i]
    for i in reversed(range(len(right))):
        x[i] = (x[i] - (factors[i + 1 :, i] * x[i + 1 :]).sum(axis=0)) / factors[i, i]
    return x


def _inverse(factors: NDArray) -> NDArray:
    lower = np.zeros_like(factors)
    for i in range(factors.shape[0]):
        lower[i, i] = 1 / factors[i, i]
        lower[i, :i] = -np.einsum("pn,pjn->jn", factors[i, :i], lower[:i, :i]) * lower[i, i]
    return np.einsum("pin,pjn->ijn", lower, lower)
