"""Training past zero error: the margin program each member of the VS family tends to, and how fast.

On a linear score every loss of the family is one and the same function of the weights w,

    L(w) = Σ_i ω_i log(1 + Σ_j exp(ι_ij - ⟨w, z_ij⟩)),

with a single row z_i = Δ y x for a signed score (classes or groups, each with its own ω, ι, Δ), and K - 1 rows
z_ij = (Δ_y e_y - Δ_j e_j) ⊗ x with ι_ij = ι_j - ι_y for K logits. Where all rows can be made positive, the minimiser
w_R over ||w|| <= R and gradient descent tend in direction to u*, the unit vector whose least row ⟨u*, z_ij⟩ is largest,
γ*. The scales Δ enter through the rows. The strengths s_ij = log ω_i + ι_ij enter only the first-order term v of
w_R = R u* + v + o(1), which fades from the direction like 1 / R.

Source:
    Kini et al. (2021), arXiv:2103.01550, Theorem 1 and its multi-class and group forms; Soudry et al. (2018),
    arXiv:1710.10345, gradient descent. The bound at finite R and the first-order term are derived here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, softmax

from ..core.errors import InputError, require_positive, require_signs
from ..core.fixed_point import NotConverged
from .losses import VSParameters
from .rows import solve_rows

__all__ = [
    "PairwiseLoss",
    "Terminal",
    "angle",
    "ball_minimiser",
    "direction_bound",
    "first_order_term",
    "gradient_descent",
    "terminal",
]

_STATIONARY = 1e-12  # largest tangential share of a gradient
_NEWTON_STEPS = 60
_GROWTH = 2.0  # of the radius from one solve to the next
_ACTIVE = 1e-9  # a row within this share of the margin supports it
_STEEP = -36.0  # log(1 + e^a) = e^a in float64 below
_ROUNDING = 1e-15  # of log L, relative to 1 + |log L|


@dataclass(frozen=True)
class PairwiseLoss:
    """L(w) = Σ_i ω_i log(1 + Σ_j exp(ι_ij - ⟨w, z_ij⟩)) over n examples with r rivals each.

    Args:
        rows: z_ij, shape (n, r, D).
        offsets: ι_ij, shape (n, r).
        weights: ω_i > 0, shape (n,).

    Raises:
        InputError: for shapes that do not match, numbers that are not finite, weights that are not positive.

    Example:
        >>> loss = PairwiseLoss.signed(np.array([[2.0], [-1.0]]), np.array([1, -1]), delta=np.array([0.5, 1.0]))
        >>> loss.rows.ravel(), round(loss.log_value(np.zeros(1)), 4)
        (array([1., 1.]), 0.3266)
    """

    rows: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray

    def __post_init__(self):
        rows, offsets, weights = (np.asarray(a, dtype=float) for a in (self.rows, self.offsets, self.weights))
        if rows.ndim != 3 or not rows.size or offsets.shape != rows.shape[:2] or weights.shape != rows.shape[:1]:
            raise InputError(
                "rows (n, r, D), offsets (n, r) and weights (n,) must agree and not be empty, "
                f"got {rows.shape}, {offsets.shape}, {weights.shape}"
            )
        require_positive(weights, "weights")
        if not (np.isfinite(rows).all() and np.isfinite(offsets).all()):
            raise InputError("rows and offsets must be finite, got inf or nan; drop those examples")
        for name, array in (("rows", rows), ("offsets", offsets), ("weights", weights)):
            object.__setattr__(self, name, array)

    @classmethod
    def signed(
        cls,
        features: np.ndarray,
        labels: np.ndarray,
        *,
        delta: float | np.ndarray = 1.0,
        iota: float | np.ndarray = 0.0,
        omega: float | np.ndarray = 1.0,
    ) -> "PairwiseLoss":
        """ω log(1 + e^ι e^(-Δ y ⟨w, x⟩)) with ω, ι, Δ for all examples or one for each: the binary and group forms.

        Args:
            features: x, shape (n, d); for a bias append a column of ones, which descent then penalises like any weight.
            labels: y in {+1, -1}, shape (n,).
            delta: Δ > 0, a number or shape (n,), e.g. ``table[labels, groups]``.
            iota: ι, likewise.
            omega: ω > 0, likewise.
        """
        features, labels = _labelled(features, labels)
        require_signs(labels)
        require_positive(delta, "delta")
        per_example = np.ones(len(labels))
        scaled = (delta * labels * per_example)[:, None] * features
        return cls(scaled[:, None, :], (iota * per_example)[:, None], omega * per_example)

    @classmethod
    def multiclass(cls, features: np.ndarray, labels: np.ndarray, parameters: VSParameters) -> "PairwiseLoss":
        """The multi-class form; w holds the K x d weights row by row.

        Args:
            features: x, shape (n, d).
            labels: y in 0..K-1, shape (n,).
            parameters: Δ, ι, ω, shapes (K,).
        """
        features, labels = _labelled(features, labels)
        delta, iota, omega = (np.asarray(p, dtype=float) for p in parameters)
        K = len(delta)
        if labels.dtype.kind not in "iu" or not (0 <= labels.min() and labels.max() < K):
            raise InputError(f"labels must be integers in 0..{K - 1}, got {np.unique(labels)[:5].tolist()}")
        require_positive(delta, "delta")
        rivals = np.array([[k for k in range(K) if k != y] for y in range(K)])[labels]
        own, other = (np.eye(K) * delta)[labels][:, None, :], (np.eye(K) * delta)[rivals]
        rows = (own - other)[:, :, :, None] * features[:, None, None, :]
        return cls(rows.reshape(len(labels), K - 1, -1), iota[rivals] - iota[labels][:, None], omega[labels])

    @property
    def strengths(self) -> np.ndarray:
        """s_ij = log ω_i + ι_ij, shape (n, r): all that weights and offsets are in the terminal phase."""
        return np.log(self.weights)[:, None] + self.offsets

    def log_value(self, w: np.ndarray) -> float:
        """log L(w), finite where L itself underflows."""
        return self._evaluate(w)[0]

    def pulls(self, w: np.ndarray) -> tuple[float, np.ndarray]:
        """The gradient as -e^c Σ p_ij z_ij with Σ p_ij = 1: c and p, shape (n, r)."""
        log_pulls = self._evaluate(w)[1]
        return _log_sum(log_pulls), softmax(log_pulls)

    def _evaluate(self, w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """log L, the logarithms of the pulls, and log odds t_ij = ι_ij - ⟨w, z_ij⟩."""
        odds = self.offsets - self.rows @ w
        total = np.logaddexp.reduce(odds, axis=1)
        loss = np.logaddexp(0, total)
        log_weights = np.log(self.weights)
        log_loss = np.where(total < _STEEP, total, np.log(np.maximum(loss, np.finfo(float).tiny)))
        return _log_sum(log_weights + log_loss), (log_weights - loss)[:, None] + odds, odds


@dataclass(frozen=True)
class Terminal:
    """The margin program behind a loss: max over ||u|| <= 1 of min_ij ⟨u, z_ij⟩.

    Args:
        direction: u*, unit, shape (D,).
        margin: γ* > 0, the value; 1 / γ* is the norm of the hard-margin solution.
        shares: optimal duals p_ij >= 0 with sum 1 and Σ p_ij z_ij = γ* u*, shape (n, r).
    """

    direction: np.ndarray
    margin: float
    shares: np.ndarray


def terminal(loss: PairwiseLoss) -> Terminal:
    """The direction the family tends to, through min ||w||² / 2 with ⟨w, z_ij⟩ >= 1.

    Raises:
        NotSeparable: if no w makes every row positive; it carries the proof.

    Example:
        >>> points = np.array([[1.0, 0.0], [0.0, -2.0]])
        >>> terminal(PairwiseLoss.signed(points, np.array([1, -1]))).direction.round(4)
        array([0.8944, 0.4472])
    """
    rows = loss.rows.reshape(-1, loss.rows.shape[2])
    dual = solve_rows(rows @ rows.T, 1.0).dual
    w = dual @ rows
    norm = float(np.linalg.norm(w))
    return Terminal(w / norm, 1 / norm, (dual / dual.sum()).reshape(loss.offsets.shape))


def first_order_term(loss: PairwiseLoss, limit: Terminal) -> np.ndarray:
    """The v ⊥ u* of w_R = R u* + v + o(1), shape (D,): the angle to the limit is ||v|| / R to first order.

    On the rows that support the margin p_ij ∝ exp(s_ij - ⟨w_R, z_ij⟩) must tend to the dual shares p*_ij, so
    ⟨v, z_ij⟩ = s_ij - log p*_ij - c there, with c = Σ p* (s - log p*), and v lies in their span. Gradient descent
    has the same v where the supporting rows span the space, with ||w|| in the place of R.

    Args:
        loss: the loss.
        limit: its `terminal`.

    Raises:
        InputError: if a row touches the margin without a share in it; then v grows like log R (claim
            ``vs_loss.rate_degenerate``).

    Source:
        Derived here; for gradient descent it is the residual of Soudry et al. (2018).
    """
    rows = loss.rows.reshape(-1, loss.rows.shape[2])
    shares, strengths = limit.shares.ravel(), loss.strengths.ravel()
    held = shares > _ACTIVE * shares.max()
    slack = rows @ limit.direction - limit.margin
    touching = ~held & (slack <= _ACTIVE * limit.margin)
    if touching.any():
        raise InputError(
            f"the first-order term needs a share for every row on the margin, but {int(touching.sum())} rows touch it "
            "without one; move those examples"
        )
    wanted = strengths[held] - np.log(shares[held])
    return np.linalg.lstsq(rows[held], wanted - shares[held] @ wanted / shares[held].sum(), rcond=None)[0]


def direction_bound(loss: PairwiseLoss, limit: Terminal, radius: float) -> tuple[float, float]:
    """How far w_R / R can be from the limit, at any R > 0 and for every data set.

    With A = Σ e^(s_ij): L(w_R) <= L(R u*) <= A e^(-R γ*), and each single row gives L(w_R) >= ω_i log(1 + e^t_ij), so
    the margin of w_R / R is at least γ* - (log A - s_ij + A e^(-R γ*) / ω_i) / R for the worst row. The margin program
    is the projection of 0 on a polyhedron, so a unit vector with margin γ has cosine at least γ / γ* to u*.

    Args:
        loss: the loss.
        limit: its `terminal`.
        radius: R > 0.

    Returns:
        Bounds on γ* - min ⟨w_R / R, z_ij⟩ and on the angle between w_R and u* in radians (π where the first says
        nothing).

    Source:
        Derived here.
    """
    require_positive(radius, "radius")
    strengths = loss.strengths
    total = _log_sum(strengths)
    rest = np.exp(np.minimum(total - radius * limit.margin - np.log(loss.weights), 700.0))
    shortfall = float((total - strengths + rest[:, None]).max() / radius)
    return shortfall, float(np.arccos(1 - shortfall / limit.margin)) if shortfall < limit.margin else float(np.pi)


def ball_minimiser(loss: PairwiseLoss, radius: float) -> np.ndarray:
    """w_R = argmin of L over ||w|| <= R, shape (D,), by Newton's method on the sphere along a growing radius.

    log L is minimised, which neither under- nor overflows; the minimiser of separable data lies on the sphere.

    Args:
        loss: the loss, of separable rows.
        radius: R > 0.

    Raises:
        InputError: if a minimiser lies inside the ball: the rows are not separable.
        NotConverged: if the gradient has a tangential part above 1e-12 of its size in the end.

    Example:
        >>> points, labels = np.array([[1.0, 0.0], [0.0, -2.0]]), np.array([1, -1])
        >>> w = ball_minimiser(PairwiseLoss.signed(points, labels, iota=3.0), 1e4)
        >>> (w / np.linalg.norm(w)).round(3)
        array([0.894, 0.447])
    """
    require_positive(radius, "radius")
    dimension = loss.rows.shape[2]
    now = min(radius, 1 / float(np.abs(loss.rows).max(initial=1e-300)))
    w = -_newton_data(loss, np.zeros(dimension))[1]
    w *= now / (float(np.linalg.norm(w)) or 1.0)
    while True:
        w, ahead = _on_sphere(loss, w, now)
        if now >= radius:
            return w
        grown = min(_GROWTH * now, radius)
        w = w + ahead * (grown - now)  # the path's tangent
        w, now = w * (grown / np.linalg.norm(w)), grown


def gradient_descent(
    loss: PairwiseLoss,
    times: Sequence[int],
    *,
    step: float = 1.0,
    normalised: bool = False,
    start: np.ndarray | None = None,
) -> np.ndarray:
    """Weights of full-batch gradient descent on L after the given numbers of steps, shape (len(times), D).

    Args:
        loss: the loss.
        times: numbers of steps >= 0, increasing.
        step: step size > 0; a constant step must stay below 2 over the largest curvature of L.
        normalised: divide each gradient by its norm, so that ||w|| grows like ``step`` t.
        start: first weights, shape (D,); 0 when omitted.

    Source:
        Constant step: Soudry et al. (2018), angle ~ 1 / log t. Normalised: ||w|| grows like ``step`` t, so the angle
        falls like 1 / t, the rate of the steps of Ji and Telgarsky (2021), arXiv:1906.04540.

    Example:
        >>> points, labels = np.array([[1.0, 0.0], [0.0, -2.0]]), np.array([1, -1])
        >>> path = gradient_descent(PairwiseLoss.signed(points, labels), [10, 1000], step=0.1, normalised=True)
        >>> np.linalg.norm(path, axis=1).round()
        array([  1., 100.])
    """
    require_positive(step, "step")
    whole = [int(t) for t in times]
    if not whole or any(a >= b for a, b in zip([-1, *whole[:-1]], whole, strict=True)) or whole != list(times):
        raise InputError(f"times must be increasing whole numbers >= 0, got {list(times)[:5]}")
    n, r, dimension = loss.rows.shape
    flat, offsets, log_weights = loss.rows.reshape(-1, dimension), loss.offsets, np.log(loss.weights)[:, None]
    w = np.zeros(dimension) if start is None else np.array(start, dtype=float)
    if w.shape != (dimension,):
        raise InputError(f"start must have shape ({dimension},), got {w.shape}")
    kept = np.empty((len(whole), dimension))
    done = 0
    for k, time in enumerate(whole):
        for _ in range(time - done):
            odds = offsets - (flat @ w).reshape(n, r)
            total = odds if r == 1 else np.logaddexp.reduce(odds, axis=1, keepdims=True)
            log_pulls = (log_weights - np.logaddexp(0, total) + odds).ravel()
            if normalised:
                descent = np.exp(log_pulls - log_pulls.max()) @ flat
                w = w + (step / np.sqrt(descent @ descent)) * descent
            else:
                w = w + step * (np.exp(log_pulls) @ flat)
        kept[k], done = w, time
    if not np.isfinite(kept).all():
        raise NotConverged(f"gradient descent left the finite numbers at step {step:g}; take a smaller step")
    return kept


def angle(vectors: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Angle between vectors (…, D) and a direction (D,), in radians, accurate also where it is tiny.

    Example:
        >>> angle(np.array([[1.0, 1e-9], [0.0, 2.0]]), np.array([3.0, 0.0]))
        array([1.00000000e-09, 1.57079633e+00])
    """
    vectors, unit = np.asarray(vectors, dtype=float), np.asarray(direction, dtype=float)
    unit = unit / np.linalg.norm(unit)
    along = vectors @ unit
    return np.arctan2(np.linalg.norm(vectors - along[..., None] * unit, axis=-1), along)


def _newton_data(loss: PairwiseLoss, w: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """log L, its gradient, and the Hessian of L over L (positive semidefinite)."""
    log_loss, log_pulls, odds = loss._evaluate(w)
    flat = loss.rows.reshape(-1, len(w))
    pulls = np.exp(log_pulls - log_loss)
    means = np.einsum("ij,ijd->id", softmax(odds, axis=1), loss.rows)
    held = pulls.sum(axis=1) * expit(np.logaddexp.reduce(odds, axis=1))
    curvature = (flat.T * pulls.ravel()) @ flat - (means.T * held) @ means
    return log_loss, -pulls.ravel() @ flat, curvature


def _on_sphere(loss: PairwiseLoss, w: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """The minimiser on ||w|| = radius from a start on it, and dw / d radius there."""
    dimension = len(w)
    size, best = 1.0, np.inf
    for _ in range(_NEWTON_STEPS):
        value, slope, curvature = _newton_data(loss, w)
        multiplier = -float(slope @ w) / radius**2
        tangential = slope + multiplier * w
        size = float(np.linalg.norm(tangential) / np.linalg.norm(slope))
        system = np.zeros((dimension + 1, dimension + 1))
        system[:-1, :-1] = curvature + max(multiplier, 0.0) * np.eye(dimension)
        system[:-1, -1] = system[-1, :-1] = w / radius
        stalled = size <= 1e3 * _STATIONARY and size >= best / 2
        if size <= _STATIONARY or stalled:
            if multiplier <= 0:
                raise InputError("the minimiser lies inside the ball: no direction makes every row positive")
            return w, np.linalg.solve(system, np.append(np.zeros(dimension), 1.0))[:-1]
        best = min(best, size)
        move = np.linalg.solve(system, np.append(-tangential, 0.0))[:-1]
        share = 1.0
        while share > 1e-10:
            moved = w + share * move
            moved *= radius / np.linalg.norm(moved)
            if loss.log_value(moved) <= value + 1e-4 * share * float(slope @ move) + _ROUNDING * (1 + abs(value)):
                break
            share /= 2
        w = moved
    raise NotConverged(
        f"Newton on the sphere of radius {radius:g} kept a tangential gradient of {size:.1e} after {_NEWTON_STEPS} "
        "steps; scale the features to size 1, or ask for a smaller radius"
    )


def _log_sum(exponents: np.ndarray) -> float:
    return float(np.logaddexp.reduce(exponents, axis=None))


def _labelled(features, labels) -> tuple[np.ndarray, np.ndarray]:
    features, labels = np.asarray(features, dtype=float), np.asarray(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise InputError(f"features (n, d) and labels (n,) must agree, got {features.shape} and {labels.shape}")
    return features, labels
