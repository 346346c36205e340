"""The two rules, their least errors on a profile of ambiguities, and the exact gain of average-K.

Notation: η_(1) >= η_(2) >= … are the label probabilities of an input in order; s_k in [0, 1] is the probability that
label k is in its set; G(t) = E #{k : η_k(X) >= t}; λ_K = sup {t : G(t) >= K}. `Fraction` entries give exact results.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from numbers import Rational, Real
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import InputError

__all__ = [
    "AmbiguityProfile",
    "Errors",
    "Threshold",
    "average_k_inclusion",
    "average_k_threshold",
    "crowding",
    "dual_value",
    "expected_size",
    "gain",
    "gain_limit",
    "macro_scores",
    "optimal_errors",
    "score_matrix",
    "top_k_inclusion",
]

_SNAP = 1e-12  # a float budget K N this near to an attained total is that total


@dataclass(frozen=True, eq=False)
class AmbiguityProfile:
    """The label probabilities of finitely many inputs, and how often each input occurs.

    Args:
        probabilities: η, shape (M, C), rows >= 0 that sum to 1; floats, or `Fraction` for exact results.
        weights: P(X = x), shape (M,), > 0, summing to 1; equal when None.

    Raises:
        InputError: for a wrong shape, or numbers that are no probabilities.

    Example:
        >>> profile = AmbiguityProfile([[0.5, 0.5, 0.0], [0.8, 0.1, 0.1]])
        >>> profile.error([[1, 0, 0], [1, 0, 0]])
        np.float64(0.35)
    """

    probabilities: Any
    weights: Any = None

    def __post_init__(self):
        eta = score_matrix(self.probabilities, "probabilities")
        weights = self.weights
        if weights is None:
            weights = [Fraction(1, len(eta)) if eta.dtype == object else 1 / len(eta)] * len(eta)
        _require_distributions(eta, "probabilities")
        object.__setattr__(self, "probabilities", eta)
        object.__setattr__(self, "weights", _input_weights(weights, len(eta)))

    @property
    def ranked(self) -> np.ndarray:
        """η_(1) >= … >= η_(C) of each input, shape (M, C)."""
        return np.sort(self.probabilities, axis=1)[:, ::-1]

    def mean(self, values) -> Any:
        """E of the sum over labels of `values`, shape (M, labels)."""
        return (self.weights[:, None] * np.asarray(values)).sum()

    def error(self, inclusion) -> Any:
        """P(Y not in the set) of a rule s, shape (M, C)."""
        return 1 - self.mean(self.probabilities * np.asarray(inclusion))


class Threshold(NamedTuple):
    """Labels above `value` are in the set, those at it with probability `tie_fraction`."""

    value: Any
    tie_fraction: Any


class Errors(NamedTuple):
    """Least errors of both rules with the budget K, and the threshold λ_K of average-K."""

    top: Any
    average: Any
    threshold: Any

    @property
    def gain(self) -> Any:
        """What average-K saves over top-K."""
        return self.top - self.average


def average_k_threshold(scores, mean_size, weights=None, *, nonempty: bool = False) -> Threshold:
    """The threshold whose sets have mean size K exactly: G^{-1}(K), and which part of the ties at it is let in.

    Args:
        scores: h, shape (N, C), comparable across inputs; finite floats or `Fraction`.
        mean_size: K in (0, C]; not necessarily an integer.
        weights: of the inputs, shape (N,), summing to 1; equal when None.
        nonempty: every set holds the input's first label; then K >= 1 and the others share what is left.

    Raises:
        InputError: for scores that are not a finite matrix, weights that are no distribution over the inputs, or a
            budget outside (0, C], or below 1 with `nonempty`.

    Source:
        Lorieul et al. (2021), the average-K rule; ties and `nonempty` derived here.

    Example:
        >>> average_k_threshold([[0.5, 0.5, 0.0], [0.8, 0.1, 0.1]], 1)
        Threshold(value=np.float64(0.5), tie_fraction=0.5)
    """
    scores = score_matrix(scores)
    least, largest = int(nonempty), scores.shape[1]
    if not (_is_number(mean_size) and 0 < mean_size <= largest and mean_size >= least):
        allowed = f"[1, {largest}]" if nonempty else f"(0, {largest}]"
        raise InputError(f"mean_size must lie in {allowed}, the number of classes, got {mean_size!r}")
    if nonempty:
        scores, mean_size = np.sort(scores, axis=1)[:, :-1], mean_size - 1
    flat, exact = scores.ravel(), scores.dtype == object
    if weights is None:  # counted in whole labels, so that no rounding of 1 / N decides a tie
        masses, budget = None, mean_size * len(scores)
        reached = min(max(1, ceil(budget if exact else budget * (1 - _SNAP))), flat.size)
        value = (np.sort(flat) if exact else np.partition(flat, -reached))[-reached]
    else:
        masses, budget = np.repeat(_input_weights(weights, len(scores)), scores.shape[1]), mean_size
        order = np.argsort(-flat, kind="stable")
        enough = np.cumsum(masses[order]) >= (budget if exact else budget * (1 - _SNAP))
        value = flat[order[int(np.argmax(enough)) if enough.any() else -1]]
    one = Fraction(1) if exact else 1.0
    above, equal = (
        one * (int(np.count_nonzero(part)) if masses is None else masses[part].sum())
        for part in (flat > value, flat == value)
    )
    return Threshold(value, min(max((budget - above) / equal, 0 * one), one))


def average_k_inclusion(scores, threshold: Threshold, *, nonempty: bool = False) -> np.ndarray:
    """P(label in the set), shape (N, C): 1 above the threshold, the tie fraction at it, 0 below.

    Args:
        scores: h, shape (N, C).
        threshold: from `average_k_threshold`, with the same `nonempty`.
        nonempty: where no label is above the threshold, the first label is in.

    Example:
        >>> average_k_inclusion([[0.5, 0.5, 0.0], [0.8, 0.1, 0.1]], Threshold(0.5, 0.5))
        array([[0.5, 0.5, 0. ],
               [1. , 0. , 0. ]])
    """
    scores = score_matrix(scores)
    without, within = (scores > threshold.value) * 1, (scores >= threshold.value) * 1
    if nonempty:
        first = top_k_inclusion(scores, 1)
        without, within = (np.where(sets.any(axis=1)[:, None], sets, first) for sets in (without, within))
    return without + (within - without) * threshold.tie_fraction


def top_k_inclusion(scores, size: int) -> np.ndarray:
    """P(label in the set) of top-K, shape (N, C): K labels of each input, ties at the K-th shared equally.

    Example:
        >>> top_k_inclusion([[0.5, 0.5, 0.0], [0.8, 0.1, 0.1]], 1)
        array([[0.5, 0.5, 0. ],
               [1. , 0. , 0. ]])
    """
    scores = score_matrix(scores)
    last = np.sort(scores, axis=1)[:, scores.shape[1] - _require_size(size, scores.shape[1])][:, None]
    above, equal = scores > last, scores == last
    one = Fraction(1) if scores.dtype == object else 1.0
    spare = (size - above.sum(axis=1, keepdims=True)).astype(scores.dtype) * one
    return above * 1 + equal * (spare / equal.sum(axis=1, keepdims=True).astype(scores.dtype))


def expected_size(profile: AmbiguityProfile, level) -> Any:
    """G(level): the mean number of labels with probability >= `level`.

    Example:
        >>> expected_size(AmbiguityProfile([[0.5, 0.5, 0.0], [0.8, 0.1, 0.1]]), 0.5)
        np.float64(1.5)
    """
    return profile.mean((profile.probabilities >= level) * 1)


def dual_value(profile: AmbiguityProfile, mean_size, level) -> Any:
    """λ K + E Σ (η_k - λ)_+: for every λ >= 0 at least the accuracy of any rule of mean size K; equal at λ_K.

    Example:
        >>> dual_value(AmbiguityProfile([[0.5, 0.5, 0.0], [0.8, 0.1, 0.1]]), 1, 0.5)
        np.float64(0.65)
    """
    return level * mean_size + profile.mean(np.maximum(profile.probabilities - level, 0))


def optimal_errors(profile: AmbiguityProfile, size: int) -> Errors:
    """The least errors of top-K and of average-K on a profile, from their rules.

    Args:
        profile: the distribution of η.
        size: K, an integer in 1 … C.

    Example:
        >>> optimal_errors(AmbiguityProfile([[0.5, 0.5], [0.99, 0.01]]), 1).gain
        np.float64(0.0)
    """
    eta = profile.probabilities
    threshold = average_k_threshold(eta, size, profile.weights)
    top, average = top_k_inclusion(eta, size), average_k_inclusion(eta, threshold)
    return Errors(profile.error(top), profile.error(average), threshold.value)


def gain(profile: AmbiguityProfile, size: int, level) -> Any:
    """What average-K saves over top-K, as the cost of the labels on the wrong side of λ; an upper bound off λ_K.

    E [Σ_{j<=K} (λ - η_(j))_+ + Σ_{j>K} (η_(j) - λ)_+].

    Args:
        profile: the distribution of η.
        size: K, an integer in 1 … C.
        level: λ; the gain is the minimum over λ >= 0, attained at λ_K (`average_k_threshold`).

    Source:
        Derived here; Lorieul et al. (2021) state the sign.

    Example:
        >>> profile = AmbiguityProfile([[0.5, 0.5, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]])
        >>> gain(profile, 1, 0.25), gain(profile, 1, 0.5)
        (np.float64(0.125), np.float64(0.125))
    """
    size = _require_size(size, profile.probabilities.shape[1])
    ranked = profile.ranked
    short, beyond = level - ranked[:, :size], ranked[:, size:] - level
    return profile.mean(np.maximum(short, 0)) + profile.mean(np.maximum(beyond, 0))


def crowding(profile: AmbiguityProfile, size: int) -> Any:
    """b = P(the average-K set is larger than K), where the ties of an input enter all at once or not at all.

    At the threshold 0 they stay out: a label of probability 0 gains nothing.

    Example:
        >>> crowding(AmbiguityProfile([[0.5, 0.5, 0.0, 0.0], *[[0.4, 0.2, 0.2, 0.2]] * 3]), 1)
        np.float64(0.25)
    """
    eta = profile.probabilities
    threshold = average_k_threshold(eta, size, profile.weights)
    entering = threshold.tie_fraction if threshold.value > 0 else 0
    above, within = ((eta > threshold.value).sum(axis=1) > size), ((eta >= threshold.value).sum(axis=1) > size)
    return (profile.weights * (above + (within & ~above) * entering)).sum()


def gain_limit(crowded) -> Any:
    """b (1 - b), at most 1/4: no profile with P(set larger than K) = b gains more, whatever K and C.

    Example:
        >>> gain_limit(0.5)
        0.25
    """
    return crowded * (1 - crowded)


def macro_scores(profile: AmbiguityProfile) -> np.ndarray:
    """η_k(x) / (C π_k), shape (M, C): what to threshold for the error averaged over classes.

    The mean over classes of P(k not in the set | Y = k) is 1 - E Σ_k η_k s_k / (C π_k).

    Example:
        >>> macro_scores(AmbiguityProfile([[0.8, 0.2], [1.0, 0.0]])).round(3)
        array([[0.444, 1.   ],
               [0.556, 0.   ]])
    """
    priors = (profile.weights[:, None] * profile.probabilities).sum(axis=0)
    if min(priors) <= 0:
        raise InputError(f"every class must occur, got priors {priors.tolist()}; drop empty classes")
    return profile.probabilities / (priors * len(priors))


def score_matrix(values, name: str = "scores") -> np.ndarray:
    """Return a finite matrix, inputs x classes, as float64, or unchanged when its entries are exact.

    Raises:
        InputError: for another shape, fewer than two classes, or entries that are not finite.

    Example:
        >>> score_matrix([[1, 0], [0, 1]]).dtype
        dtype('float64')
    """
    try:
        array = _numbers(values)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a matrix of numbers, inputs x classes, got {values!r:.60}") from None
    if array.ndim != 2 or array.size == 0 or array.shape[1] < 2:
        raise InputError(f"{name} must have shape (inputs, classes >= 2), got {array.shape}")
    if array.dtype != object and not np.isfinite(array).all():
        raise InputError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}; mask or clip them")
    return array


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)


def _numbers(values) -> np.ndarray:
    array = np.asarray(values)
    if np.iscomplexobj(array):
        raise TypeError("complex")
    exact = array.dtype == object and all(isinstance(each, Rational) for each in array.flat)
    return array if exact else array.astype(float)


def _input_weights(weights, num_inputs: int) -> np.ndarray:
    try:
        weights = _numbers(weights)
    except (TypeError, ValueError):
        raise InputError(f"weights must be numbers, one for each input, got {weights!r:.60}") from None
    if weights.shape != (num_inputs,):
        raise InputError(f"weights must have one entry for each of {num_inputs} inputs, got shape {weights.shape}")
    _require_distributions(weights, "weights")
    return weights


def _require_distributions(array: np.ndarray, name: str) -> None:
    least, off = array.min(), np.max(np.abs(array.sum(axis=-1) - 1))
    if not (least >= 0 and off <= (0 if array.dtype == object else 1e-9)):
        raise InputError(f"{name} must be >= 0 and sum to 1, got {least} and a sum off by {off}; normalise them")


def _require_size(size, num_classes: int) -> int:
    if not (1 <= size <= num_classes and size == int(size)):
        raise InputError(f"size must be an integer in 1 … {num_classes}, the number of classes, got {size}")
    return int(size)
