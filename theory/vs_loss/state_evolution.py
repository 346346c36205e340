"""Ridge-regularised linear classifiers on a Gaussian mixture in the proportional limit, separable or not.

Minimise Σ_i l_{j(i)}( y_i (⟨w, x_i⟩ + b) ) + (n λ / 2) ||w||² with d / n -> `aspect_ratio`, b free and unpenalised.

Source:
    Mignacco et al. (2020), arXiv:2002.11544, for equal losses and antipodal means; general means, priors, groups and
    per-class losses derived here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from .mixture import GaussianMixture
from .scalar_losses import ScalarLoss

__all__ = ["RidgeERM", "ridge_erm"]


@dataclass(frozen=True)
class RidgeERM:
    """The limit of a ridge-regularised classifier.

    Args:
        mixture: the model, J components.
        aspect_ratio: d / n.
        ridge: λ of Σ_i l + (n λ / 2) ||w||².
        losses: loss of each component, J of them.
        means: m_j = ⟨w, μ_j⟩, shape (J,).
        norm: ||w||.
        intercept: b.
        step: V; the score of a training point is the proximal point, with this step, of the score of a test point.
        residual: largest relative violation of the fixed-point equations under a finer quadrature.
        iterations: evaluations of the equations.
    """

    mixture: GaussianMixture
    aspect_ratio: float
    ridge: float
    losses: tuple[ScalarLoss, ...]
    means: np.ndarray
    norm: float
    intercept: float
    step: float
    residual: float
    iterations: int

    @property
    def errors(self) -> np.ndarray:
        """Test error of each component, shape (J,)."""
        signs = np.asarray(self.mixture.signs)
        return ndtr(-signs * (self.means + self.intercept) / self.norm)

    @property
    def class_errors(self) -> np.ndarray:
        """Test errors of the classes +1 and -1, shape (2,)."""
        signs, priors = np.asarray(self.mixture.signs), np.asarray(self.mixture.priors)
        return np.array([np.average(self.errors[signs == y], weights=priors[signs == y]) for y in (1, -1)])

    @property
    def balanced_error(self) -> float:
        """Mean of the two class errors."""
        return float(self.class_errors.mean())

    @property
    def error(self) -> float:
        """Plain test error, the components weighted by their priors."""
        return float(np.dot(self.mixture.priors, self.errors))


def ridge_erm(
    mixture: GaussianMixture,
    aspect_ratio: float,
    ridge: float,
    losses: Sequence[ScalarLoss],
    *,
    intercept: bool = True,
) -> RidgeERM:
    """Solve the state evolution of ridge-regularised empirical risk minimisation.

    Args:
        mixture: binary, with signs.
        aspect_ratio: d / n > 0.
        ridge: λ > 0 of Σ_i l + (n λ / 2) ||w||².
        losses: two, for the classes +1 and -1, or one for each component.
        intercept: whether b is free; else it is 0.
    """
    signs, priors, gram = np.array(mixture.signs), np.array(mixture.priors), np.array(mixture.gram)
    each = tuple(losses) if len(losses) == len(signs) else tuple(losses[0 if y > 0 else 1] for y in signs)
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    weights = weights / weights.sum()
    means, norm, step, b = 0.1 * signs, 1.0, 1.0, 0.0
    residual, k = np.inf, 0
    for k in range(2000):
        moments = []
        for y, m, loss in zip(signs, means, each, strict=True):
            _, slope, bend = loss.prox(y * (m + b) + norm * nodes, step)
            moments.append([weights @ slope, weights @ slope**2, weights @ bend])
        first, second, bend = np.array(moments).T
        pull, vh, qh = -priors * signs * first, priors @ bend, priors @ second
        new = gram @ pull / (ridge + vh), np.sqrt(pull @ gram @ pull + qh * aspect_ratio) / (ridge + vh)
        shift = pull.sum() / vh if intercept else 0.0
        residual = max(np.abs(new[0] - means).max(), abs(new[1] - norm), abs(shift))
        means, norm = means + 0.7 * (new[0] - means), norm + 0.7 * (new[1] - norm)
        step, b = step + 0.7 * (aspect_ratio / (ridge + vh) - step), b + 0.7 * shift
        if residual < 1e-10:
            break
    return RidgeERM(mixture, aspect_ratio, ridge, each, means, float(norm), float(b), float(step), float(residual), k)
