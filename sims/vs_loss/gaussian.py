"""Training sets from a Gaussian mixture, up to a rotation that no linear classifier notices, and exact test errors.

Coordinates are chosen so that the means lie in the span of the first r. Of the noise in the other d − r directions only
its Gram matrix matters, a Wishart matrix W = L L' with d − r degrees of freedom: L is lower triangular with independent
entries, χ on the diagonal and N(0, 1) below. A row of features is therefore (r coordinates, row of L): at most r + n
numbers in place of d, with the same Gram matrix and the same inner products with the means in law.

Source:
    Bartlett (1933), the decomposition; for fewer than n degrees of freedom L is a trapezium, by the same argument.

Example:
    >>> sample = draw_sample(np.random.default_rng(0), GaussianMixture.antipodal(0.3, 2.0), 20, dimension=500)
    >>> sample.features.shape, sample.gram.shape
    ((20, 21), (20, 20))
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...theory.core.errors import InputError
from ...theory.core.gaussian import tail
from ...theory.vs_loss.mixture import GaussianMixture

__all__ = ["Sample", "bartlett_factor", "draw_components", "draw_sample", "stored"]

_REDRAWS = 1000
_DECIMALS = 5


@dataclass(frozen=True, eq=False)
class Sample:
    """A training set of a Gaussian mixture.

    Args:
        mixture: J components, the means in the span of the first r coordinates.
        components: component of each example, shape (n,).
        features: shape (n, D), r <= D <= d: isometric to the examples and the means together.
    """

    mixture: GaussianMixture
    components: np.ndarray
    features: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """The sign of each example, shape (n,); only of a binary mixture."""
        return np.asarray(self.mixture.signs)[self.components]

    @cached_property
    def gram(self) -> np.ndarray:
        """Inner products of the examples, shape (n, n)."""
        return self.features @ self.features.T

    def mean_scores(self, weights: np.ndarray) -> np.ndarray:
        """⟨w, μ_j⟩ of weights of shape (..., D): shape (..., J)."""
        means = self.mixture.coordinates
        return weights[..., : means.shape[1]] @ means.T

    def test_margins(self, weights: np.ndarray, intercept) -> np.ndarray:
        """Mean y_j (⟨w, μ_j⟩ + b) / ||w|| of the normalised margin of a fresh point of component j, shape (..., J).

        Args:
            weights: w, shape (..., D).
            intercept: b, shape (...).
        """
        scores = self.mean_scores(weights) + np.asarray(intercept)[..., None]
        return np.asarray(self.mixture.signs) * scores / np.linalg.norm(weights, axis=-1)[..., None]

    def test_errors(self, weights: np.ndarray, intercept) -> np.ndarray:
        """Exact probability that a fresh point of component j is misclassified, shape (..., J). See `test_margins`."""
        return tail(self.test_margins(weights, intercept))


def draw_components(rng: np.random.Generator, mixture: GaussianMixture, num_examples: int) -> np.ndarray:
    """Draw independent components, given that every label occurs: J classes, or both signs of a binary mixture.

    Raises:
        InputError: if a label is so rare that 1000 draws miss it.
    """
    groups = np.asarray(mixture.signs) if mixture.signs else np.arange(len(mixture.priors))
    for _ in range(_REDRAWS):
        drawn = rng.choice(len(groups), size=num_examples, p=mixture.priors)
        if np.unique(groups[drawn]).size == np.unique(groups).size:
            return drawn
    raise InputError(
        f"num_examples = {num_examples} never holds every label at priors {mixture.priors}; draw more examples"
    )


def bartlett_factor(rng: np.random.Generator, num_examples: int, degrees: int) -> np.ndarray:
    """The lower triangular L with L L' distributed as Z Z', Z of shape (num_examples, degrees) with N(0, 1) entries.

    Returns:
        L, shape (num_examples, min(num_examples, degrees)), with a positive diagonal.

    Example:
        >>> bartlett_factor(np.random.default_rng(0), 3, 2).shape
        (3, 2)
    """
    width = min(num_examples, degrees)
    factor = np.tril(rng.standard_normal((num_examples, width)), -1)
    factor[np.arange(width), np.arange(width)] = np.sqrt(rng.chisquare(degrees - np.arange(width)))
    return factor


def draw_sample(
    rng: np.random.Generator,
    mixture: GaussianMixture,
    num_examples: int,
    dimension: int,
    *,
    components: np.ndarray | None = None,
    directly: bool = False,
) -> Sample:
    """Draw a training set.

    Args:
        rng: the generator.
        mixture: the model, with r-dimensional span of the means.
        num_examples: n.
        dimension: d >= r.
        components: given components, shape (n,); drawn independently from the priors when omitted.
        directly: draw all n x d numbers instead of the triangular factor; the law of everything linear is the same.

    Raises:
        InputError: if the means do not fit into `dimension`.
    """
    means = mixture.coordinates
    rest = dimension - means.shape[1]
    if rest < 0:
        raise InputError(f"dimension must be >= {means.shape[1]}, the rank of the means, got {dimension}")
    if components is None:
        components = draw_components(rng, mixture, num_examples)
    signal = means[components] + rng.standard_normal((num_examples, means.shape[1]))
    noise = rng.standard_normal((num_examples, rest)) if directly else bartlett_factor(rng, num_examples, rest)
    return Sample(mixture, components, np.hstack([signal, noise]))


def stored(row: dict) -> dict:
    """Round the numbers of a row to 5 decimals, far below every standard error: exports shrink by half."""
    return {name: round(float(value), _DECIMALS) if isinstance(value, float) else value for name, value in row.items()}
