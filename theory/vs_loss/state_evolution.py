"""Ridge-regularised linear classifiers on a Gaussian mixture in the proportional limit, separable or not.

Minimise Σ_i l_j(i)( y_i (⟨w, x_i⟩ + b) ) + (n λ / 2) ||w||², d / n -> γ, the aspect ratio, b free and unpenalised. With
the score of a fresh point of component j, h = y_j (m_j + b) + ||w|| G, the score of a training point is its proximal
point u = argmin (u - h)² / (2 V) + l_j(u), and p = l_j'(u). Means are written in an orthonormal basis of their span as
x_j; w has the part ρ in it (m_j = x_j·ρ) and a part of length t orthogonal to it. The limit is the only solution of

    (λ + v) ρ = -Σ π_j y_j x_j E p_j,        Σ π_j y_j E p_j = 0,
    (λ + v) V = γ,                           V² Σ π_j E p_j² = γ t²,        v = Σ π_j E p_j G / ||w|| = Σ π_j E dp_j/dh,

which are the stationarity conditions of a convex problem in (ρ, b, t): the training scores minimise the mean loss among
all that lie within γ t² of the test scores in mean square. They are solved by Newton's method with exact derivatives.

Source:
    Mignacco et al. (2020), arXiv:2002.11544, for equal losses and antipodal means; general means, priors, groups and
    per-class losses derived here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr

from ..core.errors import InputError, require_in
from ..core.fixed_point import NotConverged
from .continuation import solve_at
from .mixture import GaussianMixture
from .quadrature import layered_nodes
from .scalar_losses import ScalarLoss

__all__ = ["RidgeERM", "ridge_erm"]

_CERTIFIED = 1e-7  # largest residual, and largest correction by the finer quadrature, that is returned
_MAX_LOG_STEP = 2.5
_FAR, _ROUGH = 1e12, 0.01  # where the intercept is sought, and how well, in units of ||w||
_RIDGES, _ASPECTS = (1e-12, 1e12), (1e-6, 1e6)


@dataclass(frozen=True, eq=False)
class RidgeERM:
    """The limit of a ridge-regularised classifier on a binary mixture.

    Args:
        mixture: the model, J components.
        aspect_ratio: d / n.
        ridge: λ of Σ_i l + (n λ / 2) ||w||².
        losses: loss of each component, J of them.
        means: m_j = ⟨w, μ_j⟩, shape (J,).
        norm: ||w||.
        intercept: b.
        step: V; the score of a training point is the proximal point, with this step, of the score of a test point.
        residual: largest relative violation of the fixed-point equations, under a finer quadrature and with the other
            form of v.
        correction: the Newton step that the finer quadrature still asks for, in units of ||w|| for the means and of
            ||w|| + |b| for the intercept, relative for norm and step: an estimate of the error of the solution.
        evaluations: how often the equations were evaluated.
    """

    mixture: GaussianMixture
    aspect_ratio: float
    ridge: float
    losses: tuple[ScalarLoss, ...]
    means: NDArray
    norm: float
    intercept: float
    step: float
    residual: float
    correction: float
    evaluations: int

    @property
    def scores(self) -> NDArray:
        """Mean signed score y_j (m_j + b) / ||w|| of each component, shape (J,)."""
        return np.array(self.mixture.signs) * (self.means + self.intercept) / self.norm

    @property
    def errors(self) -> NDArray:
        """Test error of each component, shape (J,)."""
        return ndtr(-self.scores)

    @property
    def class_errors(self) -> NDArray:
        """Test errors of the classes +1 and -1, shape (2,)."""
        return self._by_class(self.errors)

    @property
    def balanced_error(self) -> float:
        """Mean of the two class errors."""
        return float(self.class_errors.mean())

    @property
    def error(self) -> float:
        """Test error, components weighted by their priors."""
        return float(np.dot(self.mixture.priors, self.errors))

    @property
    def training_errors(self) -> NDArray:
        """Share of training points of the classes +1 and -1 on the wrong side, shape (2,)."""
        return self._by_class(np.array([self.training_score_cdf(j, 0.0) for j in range(len(self.losses))]))

    def training_score_cdf(self, component: int, score) -> NDArray:
        """Limit of the share of training points of a component with y f(x) <= `score`.

        The proximal map increases, and takes h to `score` where h = score + V l'(score).

        Args:
            component: index j.
            score: y f(x), not divided by ||w||, any shape.
        """
        score = np.asarray(score, dtype=float)
        reached = score + self.step * self.losses[component].slope(score)
        return ndtr(reached / self.norm - self.scores[component])

    def _by_class(self, values: NDArray) -> NDArray:
        signs, priors = np.array(self.mixture.signs), np.array(self.mixture.priors)
        return np.array([np.average(values[signs == y], weights=priors[signs == y]) for y in (1, -1)])


def ridge_erm(
    mixture: GaussianMixture,
    aspect_ratio: float,
    ridge: float,
    losses: Sequence[ScalarLoss],
    *,
    intercept: bool = True,
) -> RidgeERM:
    """Limit of ridge-regularised empirical risk minimisation on a binary mixture, separable or not.

    Args:
        mixture: binary, with signs; 2 components are the classes, more are groups.
        aspect_ratio: d / n > 0.
        ridge: λ > 0 of Σ_i l + (n λ / 2) ||w||²; λ -> 0 joins the SVM on separable data.
        losses: two, for the classes +1 and -1, or one for each component.
        intercept: whether b is free; else it is 0.

    Raises:
        InputError: for a mixture without signs, numbers out of range, or a wrong number of losses.
        NotConverged: if no solution passes the residual check; the message says what was reached.

    Source:
        Mignacco et al. (2020); general means and per-class losses derived here.

    Example:
        >>> from tailbound.theory.vs_loss.scalar_losses import vs_family
        >>> mixture = GaussianMixture.binary(0.2, norms=(2.0, 1.5), inner=0.5)
        >>> ridge_erm(mixture, 0.5, 0.01, vs_family("ce", 0.2)).class_errors.round(4)
        array([0.4668, 0.0707])
    """
    if not mixture.signs:
        raise InputError("mixture must have signs, got none; use ridge_erm_multiclass for K classes")
    require_in(aspect_ratio, "aspect_ratio", *_ASPECTS)
    require_in(ridge, "ridge", *_RIDGES)
    if len(losses) not in (2, len(mixture.signs)):
        raise InputError(f"losses must be 2 (one a class) or {len(mixture.signs)} (one a component), got {len(losses)}")
    each = losses if len(losses) == len(mixture.signs) else [losses[0 if y > 0 else 1] for y in mixture.signs]
    system = _System(mixture, float(aspect_ratio), tuple(each), intercept)
    point = solve_at(system, float(ridge))
    residual, correction = system.certify(point, float(ridge))
    rho, b, tail, step = system.unpack(point)
    if not max(residual, correction) <= _CERTIFIED:
        raise NotConverged(
            f"the solution at ridge {ridge:g}, aspect ratio {aspect_ratio:g} fails its check: residual {residual:.1e}, "
            f"correction {correction:.1e} (limit {_CERTIFIED:g}); a hinge under a large ridge leaves the intercept open"
        )
    norm = float(np.hypot(tail, np.linalg.norm(rho)))
    return RidgeERM(
        mixture, float(aspect_ratio), float(ridge), tuple(each), system.x @ rho, norm, float(b), float(step),
        residual, correction, system.evaluations,
    )  # fmt: skip


class _System:
    """The equations in z = (ρ, b, log t, log V), each divided by its natural size."""

    def __init__(self, mixture: GaussianMixture, aspect_ratio: float, losses: tuple[ScalarLoss, ...], intercept: bool):
        self.y, self.pi, self.x = np.array(mixture.signs), np.array(mixture.priors), mixture.coordinates
        self.aspect_ratio, self.losses, self.intercept = aspect_ratio, losses, intercept
        self.evaluations = 0

    def unpack(self, z: NDArray) -> tuple[NDArray, float, float, float]:
        return z[:-3], z[-3], np.exp(z[-2]), np.exp(z[-1])

    def moments(self, z: NDArray, refine: int = 1) -> NDArray:
        """E of p, p G, p², a, a G, a G², p a, p a G, p² a for each component, a = dp/dh; shape (9, J)."""
        self.evaluations += 1
        rho, b, tail, step = self.unpack(z)
        norm = np.hypot(tail, np.linalg.norm(rho))
        found = np.full((9, len(self.y)), np.nan)
        if not (np.isfinite(z).all() and 0 < step < np.inf and norm > 0):
            return found
        for j, loss in enumerate(self.losses):
            centre = self.y[j] * (self.x[j] @ rho + b)
            layers = np.array(loss.layers(step), dtype=float).reshape(-1, 2)
            g, weights = layered_nodes((layers[:, 0] - centre) / norm, layers[:, 1] / norm, refine=refine)
            _, p, a = loss.prox(centre + norm * g, step)
            powers = np.stack([np.ones_like(g), g, g * g])
            found[:2, j] = powers[:2] @ (weights * p)
            found[2, j] = weights @ (p * p)
            found[3:6, j] = powers @ (weights * a)
            found[6:8, j] = powers[:2] @ (weights * p * a)
            found[8, j] = weights @ (p * p * a)
        return found

    def equations(self, z: NDArray, ridge: float) -> tuple[NDArray, NDArray]:
        """Their values, all 0 at the solution, and the Jacobian at fixed scales."""
        return self.from_moments(z, ridge, self.moments(z))

    def from_moments(self, z: NDArray, ridge: float, moments: NDArray) -> tuple[NDArray, NDArray]:
        p0, p1, p2, a0, a1, a2, pa0, pa1, pa2 = moments
        rho, _, tail, step = self.unpack(z)
        rank, norm = rho.size, np.hypot(tail, np.linalg.norm(rho))
        # h moves by along_j + across G when z moves; what that, and log V, does to the moments
        along, across = np.zeros((len(self.y), z.size)), np.zeros(z.size)
        along[:, :rank], along[:, rank] = self.y[:, None] * self.x, self.y
        across[:rank], across[rank + 1] = rho / norm, tail * tail / norm
        dp0, dp1 = (along * m[:, None] + across * n[:, None] for m, n in ((a0, a1), (a1, a2)))
        dp2 = 2 * (along * pa0[:, None] + across * pa1[:, None])
        dp0[:, -1], dp1[:, -1], dp2[:, -1] = -step * pa0, -step * pa1, -2 * step * pa2
        v, second, signed = self.pi @ p1 / norm, self.pi @ p2, self.pi * self.y
        dv = (self.pi @ dp1 - v * across) / norm
        stiffness, size = ridge + v, self.pi @ np.abs(p0)
        values, jacobian = np.empty(z.size), np.zeros((z.size, z.size))
        values[:rank] = (rho + (signed * p0) @ self.x / stiffness) / norm
        jacobian[:rank] = (np.outer(rho, dv) + (signed[:, None] * self.x).T @ dp0) / (stiffness * norm)
        jacobian[:rank, :rank] += np.eye(rank) / norm
        values[rank], jacobian[rank] = signed @ p0 / size, signed @ dp0 / size
        values[rank + 1] = np.log(stiffness * step / self.aspect_ratio)
        values[rank + 2] = np.log(step * step * second / (self.aspect_ratio * tail * tail))
        jacobian[rank + 1], jacobian[rank + 2] = dv / stiffness, self.pi @ dp2 / second
        jacobian[rank + 1, -1] += 1
        jacobian[rank + 2, -2:] += [-2, 2]
        if not self.intercept:
            values[rank], jacobian[rank], jacobian[:, rank] = 0, 0, 0
            jacobian[rank, rank] = 1
        return values, jacobian

    def move(self, z: NDArray, step: NDArray) -> NDArray:
        """z moved by a step whose change of log t and log V is bounded."""
        return z + step * min(1.0, _MAX_LOG_STEP / max(np.abs(step[-2:]).max(), 1e-300))

    def ridge_slope(self, z: NDArray, ridge: float) -> NDArray:
        """Derivative of the values in log ridge at a solution."""
        rho, _, tail, step = self.unpack(z)
        slope = np.zeros(z.size)
        slope[: rho.size], slope[-2] = rho / np.hypot(tail, np.linalg.norm(rho)), 1.0
        return slope * ridge * step / self.aspect_ratio

    def starts(self, ridge: float) -> Iterator[NDArray]:
        """Points to start from: a few steps of the fixed point, from a large step V and from a moderate one."""
        pull = self.pi @ np.abs([loss.slope(np.zeros(1))[0] for loss in self.losses])
        for step in (self.aspect_ratio / ridge, min(self.aspect_ratio / ridge, 10 / float(pull))):
            z = np.concatenate([np.zeros(self.x.shape[1]), [0.0, 0.0, np.log(step)]])
            for rounds in (3, 3):
                for _ in range(rounds):
                    z = self.iterate(z, ridge, step)
                yield z

    def iterate(self, z: NDArray, ridge: float, largest_step: float) -> NDArray:
        """Balance the intercept, then evaluate the right-hand sides once."""
        if self.intercept:
            z = self.balance(z)
        p0, p1, p2, *_ = self.moments(z)
        rho, b, tail, _ = self.unpack(z)
        stiffness = ridge + self.pi @ p1 / np.hypot(tail, np.linalg.norm(rho))
        step = min(self.aspect_ratio / stiffness, largest_step)
        tail = np.sqrt(self.aspect_ratio * (self.pi @ p2)) / stiffness
        return np.concatenate([-(self.pi * self.y * p0) @ self.x / stiffness, [b, np.log(tail), np.log(step)]])

    def balance(self, z: NDArray) -> NDArray:
        """`z` with the intercept at which the slopes of the two classes cancel, roughly."""
        rho, b, tail, _ = self.unpack(z)
        norm = np.hypot(tail, np.linalg.norm(rho))

        def moved(b: float) -> NDArray:
            return np.concatenate([rho, [b], z[-2:]])

        def imbalance(b: float) -> float:
            return float((self.pi * self.y) @ self.moments(moved(b))[0])  # increases with b

        here, reach = imbalance(b), norm
        other = b
        while reach < _FAR * norm:
            other = b - np.sign(here) * reach
            if imbalance(other) * here <= 0:
                break
            reach *= 4
        else:
            return z
        ends = min(b, other), max(b, other)
        root: Any = brentq(imbalance, *ends, xtol=_ROUGH * norm, maxiter=60, disp=False)
        return moved(root)

    def certify(self, z: NDArray, ridge: float) -> tuple[float, float]:
        """Residual and Newton correction under panels of half the length."""
        moments = self.moments(z, refine=2)
        values, jacobian = self.from_moments(z, ridge, moments)
        rho, b, tail, step = self.unpack(z)
        norm = np.hypot(tail, np.linalg.norm(rho))
        forms = (
            self.pi @ (moments[3] - moments[1] / norm) * step / self.aspect_ratio
        )  # v as E dp/dh and as E p G / ||w||
        units = np.ones(z.size)
        units[:-2] = norm
        units[-3] += abs(b)
        try:
            correction = np.linalg.solve(jacobian, values) / units
        except np.linalg.LinAlgError:
            return np.inf, np.inf
        return float(max(np.abs(values).max(), abs(forms))), float(np.abs(correction).max())
