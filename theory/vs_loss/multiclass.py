"""VS-loss with a ridge on a mixture of K Gaussian classes in the proportional limit.

Minimise Σ_i l_c(i)( W x_i + b ) + (n λ / 2) ||W||_F², d / n -> γ, where x given class c is from N(μ_c, I_d) and
l_c(f) = ω_c (log Σ_a e^(Δ_a f_a + ι_a) - Δ_c f_c - ι_c). Adding a multiple of (1/Δ_a) to f changes no loss, so
W is orthogonal to 1/Δ, and so is b once its free component is put to 0: all happens in K - 1 dimensions, in which

    h_c = M_c + b + Q^(1/2) G,   u = argmin (u - h)' V^(-1) (u - h) / 2 + l_c(u),   P = ∇l_c(u),
    v = Σ π_c E dP/dh,           (λ + v) V = γ,            Σ π_c E P = 0,
    (λ + v) R = -Σ π_c E P x_c', γ (Q - R R') = V (Σ π_c E P P') V,     M_c = R x_c,

x_c being the means in an orthonormal basis of their span. Newton's method with exact derivatives solves them on a
coarse rule for the expectations, then on finer ones until two rules of one size agree.

Source:
    Loureiro et al. (2021), arXiv:2106.03791, isotropic case; the reduction to K - 1 dimensions, the VS-loss and the
    derivatives are derived here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.errors import InputError, require_in, require_positive
from ..core.fixed_point import NotConverged
from .continuation import newton, solve_at
from .losses import VSParameters
from .mixture import GaussianMixture
from .quadrature import gaussian_rule, orthant_probability, rule_levels
from .softmax_prox import softmax_prox

__all__ = ["MulticlassERM", "ridge_erm_multiclass"]

_TOLERANCE = 1e-9
_MAX_LOG_STEP = 2.5
_ROUNDS, _BALANCING, _ROUGH = 3, 6, 0.1  # steps of the fixed point, Newton steps in b, and when b is balanced
_MAX_CLASSES = 12
_RIDGES, _ASPECTS = (1e-12, 1e12), (1e-6, 1e6)


@dataclass(frozen=True, eq=False)
class MulticlassERM:
    """The limit of a K-class classifier f(x) = W x + b, predicting the largest score.

    Args:
        mixture: the model, K components.
        aspect_ratio: d / n.
        ridge: λ of Σ_i l + (n λ / 2) ||W||_F².
        parameters: Δ, ι, ω of the loss.
        overlaps: M, column c being W μ_c, shape (K, K).
        covariance: Q = W W', shape (K, K).
        intercepts: b, orthogonal to 1/Δ, shape (K,).
        step: V, shape (K, K): training scores are the proximal points, with this step, of test scores.
        class_errors: test error of each class, shape (K,).
        residual: largest relative violation of the fixed-point equations under the other rule of the same size.
        quadrature_error: by how much that rule would move a class error, and the error of the class errors' own
            integrals; about the error of `class_errors`.
        nodes: nodes of the rule, for each class.
        evaluations: how often the equations were evaluated, over all rules.
    """

    mixture: GaussianMixture
    aspect_ratio: float
    ridge: float
    parameters: VSParameters
    overlaps: NDArray
    covariance: NDArray
    intercepts: NDArray
    step: NDArray
    class_errors: NDArray
    residual: float
    quadrature_error: float
    nodes: int
    evaluations: int

    @property
    def balanced_error(self) -> float:
        """Mean of the class errors."""
        return float(self.class_errors.mean())

    @property
    def error(self) -> float:
        """Test error, classes weighted by their priors."""
        return float(np.dot(self.mixture.priors, self.class_errors))


def ridge_erm_multiclass(
    mixture: GaussianMixture,
    aspect_ratio: float,
    ridge: float,
    parameters: VSParameters,
    *,
    intercept: bool = True,
    accuracy: float = 1e-3,
) -> MulticlassERM:
    """Limit of ridge-regularised empirical risk minimisation with VS-loss on K Gaussian classes.

    Args:
        mixture: K components, one a class, without signs, K <= 12.
        aspect_ratio: d / n > 0.
        ridge: λ > 0 of Σ_i l + (n λ / 2) ||W||_F².
        parameters: Δ and ω of shape (K,); ι of shape (K,), or (K, K) with a row for each true class (LDAM shifts the
            true logit alone: -γ_c on the diagonal).
        intercept: whether b is free; else it is 0.
        accuracy: largest `quadrature_error` to accept; finer rules are tried until it is met.

    Raises:
        InputError: for a mixture with signs, shapes that do not match, numbers out of range.
        NotConverged: if no solution is found, or the finest rule misses `accuracy`.

    Source:
        Loureiro et al. (2021), isotropic case, for VS-loss.

    Example:
        >>> from tailbound.theory.core.class_counts import ClassCounts
        >>> from tailbound.theory.vs_loss.losses import vs_parameters
        >>> means = ((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 6.25))
        >>> mixture = GaussianMixture((0.6, 0.3, 0.1), means)
        >>> la = vs_parameters(ClassCounts((6, 3, 1)), tau=1.0)
        >>> ridge_erm_multiclass(mixture, 0.5, 0.02, la).class_errors.round(1)
        array([0.2, 0.2, 0.3])
    """
    classes = len(mixture.priors)
    if mixture.signs or classes > _MAX_CLASSES:
        raise InputError(
            f"mixture must be at most {_MAX_CLASSES} classes without signs, got {classes} components, signs "
            f"{mixture.signs}; ridge_erm takes mixtures with signs"
        )
    require_in(aspect_ratio, "aspect_ratio", *_ASPECTS)
    require_in(ridge, "ridge", *_RIDGES)
    require_positive(accuracy, "accuracy")
    delta, iota, omega = (np.asarray(values, dtype=float) for values in parameters)
    if delta.shape != (classes,) or omega.shape != (classes,) or iota.shape not in ((classes,), (classes, classes)):
        raise InputError(
            f"parameters must have shapes ({classes},), iota perhaps ({classes}, {classes}), "
            f"got {delta.shape}, {iota.shape}, {omega.shape}"
        )
    require_positive(delta, "delta")
    require_positive(omega, "omega")
    if not np.isfinite(iota).all():
        raise InputError(f"iota must be finite, got {iota.tolist()}")
    system = _System(mixture, float(aspect_ratio), VSParameters(delta, iota, omega), intercept)
    return system.solve(float(ridge), accuracy)


class _Point(NamedTuple):
    """R, b, the symmetric roots of Q - R R' and of V, and a factor S of Q = S S', in K - 1 dimensions.

    S is carried along, so that a finite rule for S G moves smoothly: Q + dQ has S (I + S^(-1) dQ S^(-T))^(1/2).
    """

    signal: NDArray
    b: NDArray
    tail: NDArray
    step: NDArray
    noise: NDArray

    def with_noise(self) -> "_Point":
        """The point with S moved to its R and its root of Q - R R'."""
        inverse = np.linalg.inv(self.noise)
        return self._replace(noise=self.noise @ _root(inverse @ self.covariance @ inverse.T))

    @property
    def covariance(self) -> NDArray:
        """Q."""
        return self.signal @ self.signal.T + self.tail @ self.tail


class _Moments(NamedTuple):
    """Expectations of P, A = dP/dη and G, whitened; letters are the factors, averaged over nodes."""

    p: NDArray
    pp: NDArray
    pg: NDArray
    a: NDArray
    ag: NDArray
    ap: NDArray
    agg: NDArray
    apg: NDArray
    app: NDArray


class _System:
    """The equations, whitened by V^(1/2) = L: η = L^(-1) h and P stands for L P.

    Coordinates of a step: dR; db; Z and Y, symmetric, that move Q - R R' = T² to T e^Z T and V = L² to L e^Y L.
    """

    def __init__(self, mixture: GaussianMixture, aspect_ratio: float, parameters: VSParameters, intercept: bool):
        self.mixture, self.aspect_ratio, self.parameters, self.intercept = mixture, aspect_ratio, parameters, intercept
        self.pi, self.x = np.array(mixture.priors), mixture.coordinates
        classes, rank = self.x.shape
        self.offsets = np.broadcast_to(parameters.iota, (classes, classes))
        k = classes - 1
        free = 1 / parameters.delta
        self.basis = np.linalg.qr(np.column_stack([free, np.eye(classes)]))[0][:, 1:classes]
        self.upper = np.triu_indices(k)
        pairs = len(self.upper[0])
        self.cuts = np.cumsum([k * rank, k, pairs])
        size = k * rank + k + 2 * pairs
        parts = np.split(np.eye(size), self.cuts, axis=1)
        self.d_signal, self.d_b = parts[0].reshape(size, k, rank), parts[1]
        self.d_tail, self.d_step = self.symmetric(parts[2]), self.symmetric(parts[3])
        self.evaluations = 0
        self.use(0)

    def use(self, level: int, shifted: bool = False) -> None:
        """Change the rule for the expectations."""
        self.g, self.weights = gaussian_rule(len(self.pi) - 1, level, shifted=shifted)
        self.slopes: list[NDArray | None] = [None] * len(self.pi)

    def symmetric(self, entries: NDArray) -> NDArray:
        """Symmetric matrices from their upper triangles."""
        k = len(self.pi) - 1
        matrices = np.zeros((*entries.shape[:-1], k, k))
        matrices[..., self.upper[0], self.upper[1]] = entries
        matrices[..., self.upper[1], self.upper[0]] = entries
        return matrices

    def slopes_and_bends(self, point: _Point) -> Iterator[tuple[NDArray, NDArray]]:
        """P and A at the nodes, class by class; starts from the last slopes, which are bounded whatever V is."""
        self.evaluations += 1
        inverse = np.linalg.inv(point.step)
        directions = self.parameters.delta[:, None] * (self.basis @ point.step)
        for c, x in enumerate(self.x):
            eta = inverse @ (point.noise @ self.g + (point.signal @ x + point.b)[:, None])
            last = self.slopes[c]
            start = np.zeros_like(eta) if last is None else point.step @ last
            p, a = softmax_prox(directions, self.offsets[c], self.parameters.omega[c], c, eta, start)
            self.slopes[c] = inverse @ p
            yield p, a

    def moments(self, p: NDArray, a: NDArray) -> _Moments:
        k, (g, weights) = len(p), (self.g, self.weights)
        factors = np.concatenate(
            [
                np.ones((1, g.shape[1])),
                g,
                p,
                *((b[:, None] * c).reshape(k * k, -1) for b, c in ((g, g), (p, g), (p, p))),
            ]
        )
        table = (a.reshape(k * k, -1) * weights) @ factors.T
        parts = np.split(table, np.cumsum([1, k, k, k * k, k * k]), axis=1)
        shapes = ((k, k), (k, k, k), (k, k, k), *[(k, k, k, k)] * 3)
        averaged = (part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
        return _Moments(p @ weights, (p * weights) @ p.T, (p * weights) @ g.T, *averaged)

    def equations(self, point: _Point, ridge: float) -> tuple[NDArray, NDArray]:
        """Their values, all 0 at the solution, and the Jacobian at fixed scales."""
        size, k, rank = self.d_signal.shape
        signal, _, tail, step, noise = point
        inverse_step, inverse_noise, inverse_tail = (np.linalg.inv(m) for m in (step, noise, tail))
        scale = inverse_noise @ step
        # a step moves η by inverse_step (dR x + db) + across G - Y P
        d_covariance = 2 * _sym(self.d_signal @ signal.T) + tail @ self.d_tail @ tail
        across = inverse_step @ d_covariance @ inverse_noise.T / 2
        pull, balance, second, first, length = np.zeros((k, rank)), np.zeros(k), np.zeros((k, k)), np.zeros((k, k)), 0.0
        d_pull, d_balance = np.zeros((size, k, rank)), np.zeros((size, k))
        d_second, d_first = np.zeros((size, k, k)), np.zeros((size, k, k))
        for prior, x, (p, a) in zip(self.pi, self.x, self.slopes_and_bends(point), strict=True):
            m = self.moments(p, a)
            along = (self.d_signal @ x + self.d_b) @ inverse_step
            d_p = along @ m.a.T + _pair(m.ag, across) - _pair(m.ap, self.d_step)
            d_pp = _one(m.ap, along) + _two(m.apg, across) - _two(m.app, self.d_step)
            d_pg = _one(m.ag, along) + _two(m.agg, across) - _two(m.apg.swapaxes(2, 3), self.d_step)
            pull, balance, second, first = (
                pull + prior * np.outer(m.p, x), balance + prior * m.p, second + prior * m.pp, first + prior * m.pg
            )  # fmt: skip
            d_pull, d_balance = d_pull + prior * d_p[:, :, None] * x, d_balance + prior * d_p
            d_second, d_first = d_second + 2 * prior * _sym(d_pp), d_first + prior * d_pg
            length += prior * float(np.linalg.norm(m.p))
        bend = first @ scale  # E A by Gaussian integration by parts
        d_bend = _sym((d_first - bend @ across) @ scale) / self.aspect_ratio
        stiffness = (ridge * step @ step + _sym(bend)) / self.aspect_ratio
        loose = np.linalg.inv(stiffness)
        pull, d_pull = pull / self.aspect_ratio, d_pull / self.aspect_ratio
        carry = inverse_tail @ step / np.sqrt(self.aspect_ratio)
        spread = _sym(carry @ second @ carry.T)
        d_spread = 2 * _sym(carry @ (d_second / 2 + self.d_step @ second) @ carry.T) - _sym(self.d_tail @ spread)
        d_stiffness = _sym(self.d_step @ stiffness) + d_bend
        values = [scale @ (inverse_step @ signal + loose @ pull), balance / length]
        jacobian = [
            scale @ (inverse_step @ self.d_signal + loose @ (d_pull - d_bend @ loose @ pull)),
            d_balance / length,
        ]
        if not self.intercept:
            values[1], jacobian[1] = point.b, self.d_b
        for matrix, derivative in ((spread, d_spread), (stiffness, d_stiffness)):
            value, d_value = _log(matrix, derivative)
            values.append(value[self.upper])
            jacobian.append(d_value[:, self.upper[0], self.upper[1]])
        return np.concatenate([v.ravel() for v in values]), np.concatenate([j.reshape(size, -1) for j in jacobian], 1).T

    def move(self, point: _Point, step: NDArray) -> _Point:
        """The point moved by a step whose relative change of Q - R R' and V is bounded."""
        d_signal, d_b, d_tail, d_step = np.split(step, self.cuts)
        exponents = self.symmetric(d_tail), self.symmetric(d_step)
        largest = max(float(np.abs(np.linalg.eigvalsh(m)).max()) for m in exponents)
        share = min(1.0, _MAX_LOG_STEP / max(largest, 1e-300))
        tail, root = (_root(m @ _exp(share * e) @ m) for m, e in zip((point.tail, point.step), exponents, strict=True))
        signal = point.signal + share * d_signal.reshape(point.signal.shape)
        return _Point(signal, point.b + share * d_b, tail, root, point.noise).with_noise()

    def ridge_slope(self, point: _Point, ridge: float) -> NDArray:
        """Derivative of the values in log ridge at a solution."""
        step = point.step @ point.step * ridge / self.aspect_ratio
        k, pairs = len(point.b), len(self.upper[0])
        return np.concatenate(
            [np.linalg.solve(point.noise, step @ point.signal).ravel(), np.zeros(k + pairs), step[self.upper]]
        )

    def starts(self, ridge: float) -> Iterator[_Point]:
        """Points to start from: a few steps of the fixed point, from a large V and from a moderate one."""
        k, rank = len(self.pi) - 1, self.x.shape[1]
        pull = float(self.pi @ self.parameters.omega) * self.parameters.delta.max()
        for largest in (self.aspect_ratio / ridge, min(self.aspect_ratio / ridge, 10 / pull)):
            self.slopes = [None] * len(self.pi)
            point = _Point(np.zeros((k, rank)), np.zeros(k), np.eye(k), np.sqrt(largest) * np.eye(k), np.eye(k))
            for _ in range(_ROUNDS):
                point = self.iterate(point, ridge, largest)
            yield point

    def iterate(self, point: _Point, ridge: float, largest: float) -> _Point:
        """Balance the intercept by a few Newton steps, then evaluate the right-hand sides once."""
        spare = _BALANCING if self.intercept else 0
        while True:
            found = list(self.slopes_and_bends(point))
            means = np.array([p @ self.weights for p, _ in found])
            bend = sum(prior * (a @ self.weights) for prior, (_, a) in zip(self.pi, found, strict=True))
            shift = -point.step @ np.linalg.lstsq(bend, self.pi @ means, rcond=1e-12)[0]
            length = float(np.linalg.norm(shift) / np.linalg.norm(point.noise))
            if spare == 0 or length < _ROUGH:
                break
            point = point._replace(b=point.b + shift * min(1.0, 2 / length))
            spare -= 1
        second = sum(prior * (p * self.weights) @ p.T for prior, (p, _) in zip(self.pi, found, strict=True))
        inverse = np.linalg.inv(point.step)
        loose = np.linalg.inv(ridge * np.eye(len(point.b)) + inverse @ bend @ inverse)
        signal = -loose @ inverse @ (self.pi[:, None] * means).T @ self.x
        values, vectors = np.linalg.eigh(self.aspect_ratio * _sym(loose))
        step = (vectors * np.sqrt(np.minimum(values, largest))) @ vectors.T
        tail = _root(self.aspect_ratio * loose @ inverse @ second @ inverse @ loose)
        return _Point(signal, point.b, tail, step, point.noise).with_noise()

    def solve(self, ridge: float, accuracy: float) -> MulticlassERM:
        """Solve on one rule after the other until the other rule of the same size agrees."""
        point, reason = None, ""
        count, gain = rule_levels(len(self.pi) - 1)
        for level in range(count):
            self.use(level)
            refined = newton(self, point, ridge, _TOLERANCE) if point is not None else None
            try:
                point = solve_at(self, ridge, tolerance=_TOLERANCE) if refined is None else refined
            except NotConverged as error:  # a coarse rule may have no solution
                reason = str(error)
                continue
            found = self.certified(point, ridge, level)
            reason = f"two rules of {found.nodes} nodes differ by {found.quadrature_error:.1e} in a class error"
            if found.quadrature_error <= accuracy:
                return found
            if found.quadrature_error > accuracy * gain ** (count - 1 - level):
                break  # the finest rule would miss it
        raise NotConverged(f"{reason}; ask for less than an accuracy of {accuracy:g}, or raise the ridge ({ridge:g})")

    def certified(self, point: _Point, ridge: float, level: int) -> MulticlassERM:
        """The solution, judged by the other rule of the same size."""
        self.use(level, shifted=True)
        values, jacobian = self.equations(point, ridge)
        other = self.move(point, -np.linalg.solve(jacobian, values))
        (errors, own), (moved, _) = self.class_errors(point), self.class_errors(other)
        lift = self.basis
        return MulticlassERM(
            self.mixture, self.aspect_ratio, ridge, self.parameters,
            overlaps=lift @ point.signal @ self.x.T,
            covariance=lift @ point.covariance @ lift.T,
            intercepts=lift @ point.b,
            step=lift @ point.step @ point.step @ lift.T,
            class_errors=errors,
            residual=float(np.abs(values).max()),
            quadrature_error=float(np.abs(errors - moved).max()) + own,
            nodes=self.weights.size,
            evaluations=self.evaluations,
        )  # fmt: skip

    def class_errors(self, point: _Point) -> tuple[NDArray, float]:
        """P(another score is larger) for each class, and the largest error of these integrals."""
        covariance = self.basis @ point.covariance @ self.basis.T
        means = self.basis @ (point.signal @ self.x.T + point.b[:, None])
        found = []
        for c in range(len(self.pi)):
            lead = np.delete(np.eye(len(self.pi))[c] - np.eye(len(self.pi)), c, axis=0)  # f_c minus each other score
            found.append(orthant_probability(lead @ means[:, c], lead @ covariance @ lead.T))
        right, errors = np.array(found).T
        return 1 - right, float(errors.max())


def _pair(moments: NDArray, matrices: NDArray) -> NDArray:
    return np.einsum("ijl,njl->ni", moments, matrices)


def _one(moments: NDArray, vectors: NDArray) -> NDArray:
    return np.einsum("ijm,nj->nim", moments, vectors)


def _two(moments: NDArray, matrices: NDArray) -> NDArray:
    return np.einsum("ijml,njl->nim", moments, matrices, optimize=True)


def _sym(matrices: NDArray) -> NDArray:
    return (matrices + np.swapaxes(matrices, -1, -2)) / 2


def _root(matrix: NDArray) -> NDArray:
    """Symmetric square root."""
    values, vectors = np.linalg.eigh(_sym(matrix))
    return (vectors * np.sqrt(np.maximum(values, 1e-300))) @ vectors.T


def _exp(matrix: NDArray) -> NDArray:
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.exp(values)) @ vectors.T


def _log(matrix: NDArray, derivative: NDArray) -> tuple[NDArray, NDArray]:
    """Logarithm of a positive definite matrix and its derivatives along others (Daleckii and Krein)."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.maximum(values, 1e-300)
    ratio = np.log(values[:, None] / values)
    mean = np.sqrt(values[:, None] * values)
    small = np.abs(ratio) < 1e-4
    divided = np.where(small, 1 - ratio**2 / 24, ratio / np.where(small, 1.0, 2 * np.sinh(ratio / 2))) / mean
    return (vectors * np.log(values)) @ vectors.T, vectors @ ((vectors.T @ derivative @ vectors) * divided) @ vectors.T
