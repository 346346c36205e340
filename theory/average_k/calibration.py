"""Average-K's threshold from the scores of held-out inputs, and how far it can be trusted."""

from collections.abc import Iterator
from math import inf, log, sqrt
from typing import NamedTuple

import numpy as np

from ..core.constants import Constant, constant
from ..core.errors import require_in, require_positive
from .rules import (
    AmbiguityProfile,
    Threshold,
    average_k_inclusion,
    average_k_threshold,
    crowding,
    gain,
    gain_limit,
    score_matrix,
)

__all__ = ["CalibratedThreshold", "calibrated_threshold", "size_deviation", "threshold_entries"]


def size_deviation(num_classes: int, num_inputs: int, failure_probability: float = 0.05) -> float:
    """ε = C sqrt(log(2/δ) / (2N)): the mean size at a threshold from N inputs is K ± ε, save with probability δ.

    For scores without ties, and an estimate independent of the scorer; no labels are needed. One application of
    Hoeffding's inequality on either side suffices, as the mean size is monotone in the threshold.

    Source:
        Derived here.

    Example:
        >>> round(size_deviation(10, 5000), 4)
        0.1921
    """
    require_positive([num_classes, num_inputs], "num_classes and num_inputs")
    require_in(failure_probability, "failure_probability", 1e-300, 1)
    return num_classes * sqrt(log(2 / failure_probability) / (2 * num_inputs))


class CalibratedThreshold(NamedTuple):
    """A threshold estimated from scores, and how far it can be trusted.

    Args:
        threshold: its value and which part of the ties at it is let in.
        low: with `high`, holds λ_K with probability 1 - δ; -inf or inf where the scores cannot bound it.
        high: see `low`.
        size_error: standard error of the mean size on fresh inputs, sd(size) / sqrt(N).
        gain: what average-K saves over top-K if the scores are the probabilities; None when K is no integer, or rows
            are no probabilities.
        gain_limit: b(1 - b), b the part of the inputs with sets larger than K; None with `gain`.
    """

    threshold: Threshold
    low: float
    high: float
    size_error: float
    gain: float | None
    gain_limit: float | None


def calibrated_threshold(scores, mean_size: float, *, failure_probability: float = 0.05) -> CalibratedThreshold:
    """Estimate average-K's threshold from the scores of held-out inputs; their labels are not needed.

    Args:
        scores: of N inputs the scorer was not trained on, shape (N, C), comparable across inputs.
        mean_size: K in (0, C].
        failure_probability: δ of the interval for λ_K.

    Raises:
        InputError: for scores that are not a finite matrix, or a budget outside (0, C].

    Source:
        Derived here; the interval by Hoeffding's inequality on the number of labels above λ_K.

    Example:
        >>> scores = np.arange(1, 401).reshape(100, 4) / 400
        >>> found = calibrated_threshold(scores, 2.0)
        >>> found.threshold.value, round(found.low, 4), round(found.high, 4), found.size_error.round(4)
        (np.float64(0.5025), 0.365, 0.6375, np.float64(0.2))
    """
    scores = score_matrix(scores).astype(float)
    num_inputs, num_classes = scores.shape
    threshold = average_k_threshold(scores, mean_size)
    deviation = size_deviation(num_classes, num_inputs, failure_probability)
    low, high = mean_size + deviation, mean_size - deviation
    sizes = average_k_inclusion(scores, threshold).sum(axis=1)
    saved = limit = None
    if mean_size == round(mean_size) and _are_probabilities(scores):
        profile = AmbiguityProfile(scores / scores.sum(axis=1, keepdims=True))
        level = average_k_threshold(profile.probabilities, mean_size).value
        saved = float(gain(profile, round(mean_size), level))
        limit = float(gain_limit(crowding(profile, round(mean_size))))
    return CalibratedThreshold(
        threshold,
        float(average_k_threshold(scores, low).value) if low <= num_classes else -inf,
        float(average_k_threshold(scores, high).value) if high > 0 else inf,
        sizes.std() / sqrt(num_inputs),
        saved,
        limit,
    )


def _are_probabilities(scores: np.ndarray) -> bool:
    return bool(scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1, atol=1e-4))


def threshold_entries(scores, mean_size: float, *, failure_probability: float = 0.05) -> Iterator[Constant]:
    """The constants of average-K from validation scores, each with formula, reason, claim and range.

    Args:
        scores: of held-out inputs, shape (N, C); see `calibrated_threshold`.
        mean_size: K in (0, C].
        failure_probability: δ of the range.

    Example:
        >>> entries = threshold_entries([[0.5, 0.5, 0.0], [0.8, 0.1, 0.1]], 1)
        >>> [(entry.name, float(entry.value)) for entry in entries]
        [('average_k.threshold', 0.5), ('average_k.tie_fraction', 0.5), ('average_k.size_error', 0.0), \
('average_k.gain', 0.0)]
    """
    found = calibrated_threshold(scores, mean_size, failure_probability=failure_probability)
    shape = np.shape(scores)
    told = "" if _are_probabilities(score_matrix(scores).astype(float)) else "; these rows are none, so no gain is told"
    deviation = size_deviation(shape[1], shape[0], failure_probability)
    yield constant(
        name="average_k.threshold",
        value=float(found.threshold.value),
        formula=f"λ = sup {{t : (1/N) #{{scores >= t}} >= K}}, N = {shape[0]}, K = {mean_size:g}",
        reason=f"the price of a label: sets of the labels above it are optimal when the scores are probabilities{told}",
        origin="theorem",
        claim="average_k.optimal_rule",
        low=found.low if np.isfinite(found.low) else None,
        high=found.high if np.isfinite(found.high) else None,
        range_reason=f"holds the threshold of all inputs with probability {1 - failure_probability:g}: the mean "
        f"size is known up to {deviation:.3g} (claim average_k.size_deviation)",
    )
    yield constant(
        name="average_k.tie_fraction",
        value=float(found.threshold.tie_fraction),
        formula="(K - G(λ+)) / (G(λ) - G(λ+))",
        reason="labels exactly at the threshold enter with this probability; otherwise ties break the budget",
        origin="theorem",
        claim="average_k.tie_rule",
        low=0.0,
        high=1.0,
        range_reason="a probability; 1 without ties",
    )
    yield constant(
        name="average_k.size_error",
        value=float(found.size_error),
        formula="sd(size of a set) / √N",
        reason="standard error of the mean size on fresh inputs; each label too many saves λ of the error",
        origin="theorem",
        claim="average_k.simulated_size_error",
        low=0.0,
        high=deviation,
        range_reason="never beyond the distribution-free bound (claim average_k.size_deviation)",
    )
    if found.gain is not None:
        yield constant(
            name="average_k.gain",
            value=found.gain,
            formula="mean of Σ_{j<=K} (λ - p_(j))_+ + Σ_{j>K} (p_(j) - λ)_+",
            reason="what average-K saves over top-K if the scores are the probabilities; near 0 keep top-K",
            origin="theorem",
            claim="average_k.exact_gain",
            low=0.0,
            high=found.gain_limit,
            range_reason="b(1 - b) with b the part of sets larger than K (claim average_k.gain_bound)",
        )
