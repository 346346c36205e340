"""Gaussian mixtures with identity covariance, as far as a linear classifier sees them: priors and inner products.

Component j has prior π_j, mean μ_j, and, in a binary problem, the sign y_j of its label. Only the Gram matrix
⟨μ_j, μ_k⟩ of the means matters for every quantity of this package, so that is what a mixture stores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import InputError, require_in

__all__ = ["GaussianMixture"]

_SMALL = 1e-12  # an eigenvalue below this share of the largest is rounding


@dataclass(frozen=True)
class GaussianMixture:
    """x given component j is N(μ_j, I_d), P(j) = π_j.

    Args:
        priors: π_j > 0, sum 1, J numbers.
        gram: inner products of the means, J x J, positive semidefinite.
        signs: y_j in {+1, -1} of a binary problem; empty when the J components are J classes.

    Raises:
        InputError: for priors that are no distribution, a Gram matrix that is none, signs other than ±1.

    Example:
        >>> GaussianMixture.antipodal(0.1, signal_strength=2.0).coordinates
        array([[ 2.],
               [-2.]])
    """

    priors: tuple[float, ...]
    gram: tuple[tuple[float, ...], ...]
    signs: tuple[int, ...] = ()

    def __post_init__(self):
        priors = np.asarray(self.priors, dtype=float)
        if priors.ndim != 1 or priors.size < 2 or not (np.isfinite(priors).all() and (priors > 0).all()):
            raise InputError(f"priors must be at least two finite numbers > 0, got {self.priors!r}")
        if abs(priors.sum() - 1) > 1e-9:
            raise InputError(f"priors must sum to 1, got {priors.sum():.12g}; divide them by their sum")
        gram = np.asarray(self.gram, dtype=float)
        if gram.shape != (priors.size, priors.size) or not np.isfinite(gram).all():
            raise InputError(f"gram must be {priors.size} x {priors.size} finite numbers, got shape {gram.shape}")
        size = max(float(np.abs(gram).max()), 1e-300)
        if np.abs(gram - gram.T).max() > 1e-9 * size or np.linalg.eigvalsh(gram)[0] < -1e-9 * size:
            raise InputError(
                f"gram must be symmetric and positive semidefinite, got {gram.tolist()}; "
                "inner products of real vectors always are"
            )
        if self.signs and (len(self.signs) != priors.size or set(self.signs) != {1, -1}):
            raise InputError(f"signs must be {priors.size} of +1 and -1, both present, got {self.signs!r}")
        object.__setattr__(self, "priors", tuple(priors.tolist()))
        object.__setattr__(self, "gram", tuple(map(tuple, gram.tolist())))
        object.__setattr__(self, "signs", tuple(int(sign) for sign in self.signs))

    @classmethod
    def binary(cls, prior: float, norms: Sequence[float], inner: float = 0.0) -> "GaussianMixture":
        """Two classes, the minority first.

        Args:
            prior: π = P(y = +1), in (0, 1).
            norms: ||μ_+|| and ||μ_-||, >= 0.
            inner: ⟨μ_+, μ_-⟩.
        """
        require_in(prior, "prior", 0, 1)
        plus, minus = map(float, norms)
        return cls((prior, 1 - prior), ((plus * plus, inner), (inner, minus * minus)), (1, -1))

    @classmethod
    def antipodal(cls, prior: float, signal_strength: float) -> "GaussianMixture":
        """Two classes with means ±μ, ||μ|| = `signal_strength`: the model of Lyu et al. (2026)."""
        return cls.binary(prior, (signal_strength, signal_strength), -(float(signal_strength) ** 2))

    @classmethod
    def groups(cls, group_prior: float, norms: Sequence[float], inner: float = 0.0, *, class_prior: float = 0.5):
        """Two classes in two groups, x given (y, g) from N(y μ_g, I); components (+,1), (-,1), (+,2), (-,2).

        Args:
            group_prior: p = P(g = 1), group 1 being the smaller, in (0, 1).
            norms: ||μ_1|| and ||μ_2||.
            inner: ⟨μ_1, μ_2⟩.
            class_prior: P(y = +1), independent of the group.
        """
        require_in(group_prior, "group_prior", 0, 1)
        require_in(class_prior, "class_prior", 0, 1)
        first, second = map(float, norms)
        signs = np.array([1, -1, 1, -1])
        member = np.array([0, 0, 1, 1])
        means = np.array([[first * first, inner], [inner, second * second]])
        shares = np.array([group_prior, 1 - group_prior])[member] * np.where(signs > 0, class_prior, 1 - class_prior)
        gram = means[np.ix_(member, member)] * np.outer(signs, signs)
        return cls(tuple(shares), tuple(map(tuple, gram)), tuple(signs))

    @property
    def coordinates(self) -> np.ndarray:
        """Means in an orthonormal basis of their span, shape (J, r), r the rank; r = 1 with a zero when all vanish."""
        values, vectors = np.linalg.eigh(np.asarray(self.gram))
        kept = values > _SMALL * max(values[-1], 1e-300)
        if not kept.any():
            return np.zeros((len(self.priors), 1))
        means = vectors[:, kept] * np.sqrt(values[kept])
        return means * np.where(means[0] < 0, -1.0, 1.0) + 0.0  # a fixed sign, so that equal mixtures look equal
