"""The proximal map of a softmax loss at many points at once, by Newton's method with a guaranteed step.

The loss of class c is l(v) = ω (log Σ_a e^(v_a + ι_a) - v_c - ι_c) with v = C s linear in the point s of dimension k,
and the map takes η to argmin |s - η|² / 2 + l(C s). Points run along the last axis of every array, so that the small
linear systems are solved for all points together.

Source:
    Derived here; the step log(1 + β) / β is that of Sun and Tran-Dinh (2019), arXiv:1703.04599, for generalised
    self-concordant functions: the third derivative of log-sum-exp along dv is at most the range of dv times the second.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["softmax_prox"]

_MAX_NEWTON = 500
_MAX_HALVINGS = 60
_QUADRATIC = 1e-6  # a Newton step that moves the scores this little leaves an error of its square
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

    Example:
        >>> C, eta = np.eye(2), np.array([[0.3], [-0.4]])
        >>> gradient, _ = softmax_prox(C, np.zeros(2), 1.0, 0, eta, np.zeros((2, 1)))
        >>> odds = np.exp(eta - gradient)
        >>> bool(np.allclose(gradient, odds / odds.sum() - np.array([[1.0], [0.0]])))
        True
    """
    k = eta.shape[0]
    products = np.einsum("ai,aj->ija", directions, directions).reshape(k * k, -1)
    target, identity = directions[label][:, None], np.eye(k)[:, :, None]
    todo = np.arange(eta.shape[1])
    s = eta - start
    chosen = np.empty((directions.shape[0], todo.size))
    share, loss = _softmax(directions, offsets, label, s)

    def hessian(share: NDArray, pulled: NDArray) -> NDArray:
        return identity + weight * ((products @ share).reshape(k, k, -1) - pulled[:, None] * pulled[None])

    for _ in range(_MAX_NEWTON):
        pulled = directions.T @ share
        gradient = s - eta[:, todo] + weight * (pulled - target)
        step = -_solve(_cholesky(hessian(share, pulled)), gradient)
        along = directions @ step
        reach = along.max(axis=0) - along.min(axis=0)
        safe = np.where(reach > 1e-3, np.log1p(reach) / np.maximum(reach, 1e-3), 1.0)
        value, descent = ((s - eta[:, todo]) ** 2).sum(axis=0) / 2 + weight * loss, (gradient * step).sum(axis=0)
        length = np.ones(todo.size)
        for _ in range(_MAX_HALVINGS):
            trial = s + length * step
            share, loss = _softmax(directions, offsets, label, trial)
            reached = ((trial - eta[:, todo]) ** 2).sum(axis=0) / 2 + weight * loss
            enough = (reached <= value + 1e-4 * length * descent) | (length <= safe)
            if enough.all():
                break
            length = np.where(enough, length, np.maximum(length / 2, safe))
        s = trial
        chosen[:, todo] = share
        unfinished = reach > _QUADRATIC
        if not unfinished.any():
            break
        if unfinished.mean() < _CROWDED:
            todo, s, share, loss = todo[unfinished], s[:, unfinished], share[:, unfinished], loss[unfinished]
    pulled = directions.T @ chosen
    return weight * (pulled - target), identity - _inverse(_cholesky(hessian(chosen, pulled)))


def _softmax(directions: NDArray, offsets: NDArray, label: int, s: NDArray) -> tuple[NDArray, NDArray]:
    """Shares of the classes, and the loss at weight 1."""
    scores = directions @ s + offsets[:, None]
    top = scores.max(axis=0)
    odds = np.exp(scores - top)
    total = odds.sum(axis=0)
    return odds / total, np.log(total) + top - scores[label]


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
