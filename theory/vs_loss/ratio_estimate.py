"""The optimal margin ratio of a cost-sensitive SVM, estimated from its training data alone.

With a free intercept the ratio δ leaves the direction of the SVM and adds the shift τ = (δ - 1)/(δ + 1), in (-1, 1),
to its scores f: the threshold moves within the band between the two margin hyperplanes. So the question is where on
the scores of *fresh* examples the threshold belongs. A training margin is max(1, leave-one-out margin), exactly
(`leave_one_out`): it says about a support vector only that a fresh score would lie below. Three answers:

leave-one-out
    The margins of each class, left out one by one, are a sample of fresh ones, for any covariance. Their mean and
    spread give each class a Student predictive law; τ minimises the mean of the two predicted errors. The spread of a
    class borrows from the other class, as if 5 of its examples had shown that spread: with 20 examples of the minority
    its own spread is known to 16 % only.
training-law
    On a Gaussian mixture with one isotropic covariance, n and d large, a fresh normalised margin is l_c + s G, so a
    training one is max(u, l_c + s G), u = 1/‖w‖, with mean m_c = l_c + s g1((u - l_c)/s), g1(t) = E (G + t)_+. This
    increases in l_c, and since g1(t) - t = g1(-t) its inverse is l_c = u + s g1^(-1)((m_c - u)/s). The share of
    examples on the margin, a mean of Φ((u - l_c)/s), increases in s and fixes it. Then τ = (l_- - l_+)/(2u). Wrong
    where the classes differ in spread along w; noisy where nearly all of a class lies on the margin.
training-means
    l_c = m_c. Biased: it ignores the lifts g1(u - l_c), which are (1 - π)/π times as large for the minority.

Where all of them end: a ratio exists on separable data only; at an end of the band the best shift is out of reach;
duplicated examples are not left out by leaving one of them out; a few examples of a class fix its mean to a spread/√n;
the interval knows the sampling of means and spreads, not that a law may have another shape than the assumed one.

Source:
    Kini et al. (2021), arXiv:2103.01550, and Lyu et al. (2026), arXiv:2502.11323, for the training law and the optimal
    ratio; the estimates are derived here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtr

from ..core.errors import InputError, nearest, require_in
from ..core.gaussian import inverse_partial_expectation, tail
from .leave_one_out import leave_one_out
from .svm import SVMSolution, solve_svm

__all__ = [
    "LARGEST_RATIO",
    "METHODS",
    "RatioEstimate",
    "best_shift",
    "common_spread",
    "estimate_margin_ratio",
    "fresh_margins",
    "ratio_of",
    "shift_of",
    "spread_degrees",
]

METHODS = ("leave-one-out", "training-law", "training-means")
LARGEST_RATIO = 1e4
"""The ratio returned at an end of the band, or its inverse: within 2e-4 half-widths of the margin hyperplane."""

_BORROWED = 5.0  # examples' worth of the other class's spread; chosen on data that no reported table uses
_RESAMPLES = 400
_GRID, _ZOOMS = 41, 6
_FEW, _HEAVY, _DEVIANT, _SMALLEST = 10, 4.0, 4.0, 1e-24
_ON_MARGIN = 1e-9
_DECADES, _HALVINGS = 6.0, 45


@dataclass(frozen=True, eq=False)
class RatioEstimate:
    """An estimated margin ratio, with what it rests on. Pairs are of the classes +1 and -1.

    Args:
        ratio: δ, in [1e-4, 1e4].
        interval: of δ, at `confidence`: what the sampling of the margins leaves open (`estimate_margin_ratio`).
        confidence: its nominal level.
        shift: the best τ in units of the half band, not confined to (-1, 1).
        margin: u = 1 / ‖w‖, half the width of the band.
        mean_margins: l_c, mean normalised margin of a fresh example.
        spreads: its standard deviation, the predictive one for leave-one-out.
        degrees: degrees of freedom of the predictive Student laws, inf for normal ones.
        margins: y_i f_{-i}(x_i) (leave-one-out) or y_i f(x_i), at required margin 1, shape (n,).
        method: one of `METHODS`.
        notes: where the estimate is at its limits, one line each.
    """

    ratio: float
    interval: tuple[float, float]
    confidence: float
    shift: float
    margin: float
    mean_margins: tuple[float, float]
    spreads: tuple[float, float]
    degrees: tuple[float, float]
    margins: np.ndarray
    method: str
    notes: tuple[str, ...]

    def errors(self, ratio=None) -> np.ndarray:
        """Predicted test errors of the classes +1 and -1.

        Args:
            ratio: δ > 0, any shape; the estimate when omitted.

        Returns:
            Shape of `ratio` + (2,).
        """
        shift = shift_of(self.ratio if ratio is None else ratio) * self.margin
        reach = np.asarray(self.mean_margins) + np.asarray(shift)[..., None] * np.array([1.0, -1.0])
        return stdtr(np.asarray(self.degrees), -reach / np.asarray(self.spreads))


def shift_of(ratio) -> np.ndarray:
    """τ = (δ - 1)/(δ + 1): what a margin ratio adds to the scores of the SVM, in units of the half band.

    Example:
        >>> shift_of([1.0, 3.0]), float(ratio_of(0.5))
        (array([0. , 0.5]), 3.0)
    """
    ratio = np.asarray(ratio, dtype=float)
    if not (ratio > 0).all():
        raise InputError(f"ratio must be > 0, got {ratio[~(ratio > 0)].ravel()[:3].tolist()}")
    with np.errstate(over="ignore"):
        return 1 - 2 / (ratio + 1)


def ratio_of(shift) -> np.ndarray:
    """δ = (1 + τ)/(1 - τ), confined to [1e-4, 1e4]: the margin ratio that a shift of the scores belongs to."""
    limit = float(shift_of(LARGEST_RATIO))
    shift = np.clip(np.asarray(shift, dtype=float), -limit, limit)
    return (1 + shift) / (1 - shift)


def fresh_margins(training_margins, margin, spread: Any = 1.0) -> np.ndarray:
    """Mean normalised margin l of fresh examples from that of training examples, m = l + s g1((u - l)/s).

    Args:
        training_margins: m, mean normalised margin of the training examples of a class, any shape.
        margin: u > 0, the smallest of them; m >= u.
        spread: s > 0, standard deviation of a fresh margin; broadcast.

    Returns:
        l = u + s g1^(-1)((m - u)/s); -inf where all examples lie on the margin, m = u.

    Source:
        Lyu et al. (2026), Theorem 2.1 (training law); the inversion derived here.

    Example:
        >>> from tailbound.theory.core.gaussian import partial_expectation
        >>> round(float(fresh_margins(-0.3 + partial_expectation(0.8 + 0.3), 0.8)), 12)
        -0.3
    """
    surplus = np.asarray(training_margins, dtype=float) - margin
    if not (surplus >= -1e-9 * np.abs(margin)).all():
        raise InputError(f"no training margin lies below the margin {margin}, got a mean {np.min(training_margins)}")
    raised = inverse_partial_expectation(np.maximum(surplus / spread, 1e-300))
    return margin + spread * np.where(surplus > 0, raised, -np.inf)


def common_spread(training_margins, margin, support_share, class_shares) -> np.ndarray:
    """The spread s at which the share of examples on the margin is the one found, Σ_c π_c Φ((u - l_c(s))/s).

    Args:
        training_margins: m_c of the classes, shape (..., 2), at least one above u.
        margin: u > 0.
        support_share: share of all examples that lie on the margin, in (0, 1), shape (...).
        class_shares: π_c, shape (2,).

    Returns:
        s in the units of the margins, shape (...).

    Source:
        derived here.

    Example:
        >>> fresh = np.array([0.2, 1.5])
        >>> from tailbound.theory.core.gaussian import partial_expectation
        >>> means = fresh + 2 * partial_expectation((1.0 - fresh) / 2)
        >>> float(common_spread(means, 1.0, tail((fresh - 1.0) / 2) @ [0.1, 0.9], [0.1, 0.9]).round(9))
        2.0
    """
    means, wanted = np.asarray(training_margins, dtype=float), np.asarray(support_share, dtype=float)
    scale = np.maximum(means.max(axis=-1) - margin, _SMALLEST)
    low, high = np.full(wanted.shape, -_DECADES), np.full(wanted.shape, _DECADES)
    for _ in range(_HALVINGS):  # the share increases with s
        middle = (low + high) / 2
        spread = (scale * 10.0**middle)[..., None]
        share = tail((fresh_margins(means, margin, spread) - margin) / spread) @ np.asarray(class_shares)
        low, high = np.where(share < wanted, middle, low), np.where(share < wanted, high, middle)
    return scale * 10.0 ** ((low + high) / 2)


def spread_degrees(num_examples, excess_kurtosis) -> np.ndarray:
    """The degrees of freedom of a scaled χ² law with mean and variance of a sample variance V: 2 (E V)² / var V.

    Args:
        num_examples: n >= 2 of the sample.
        excess_kurtosis: κ of the law it comes from, 0 for a normal one; broadcast.

    Returns:
        2 / (2/(n - 1) + κ/n); n - 1 for a normal law.

    Source:
        derived here, from var V = σ⁴ (2/(n - 1) + κ/n).

    Example:
        >>> spread_degrees(20, [0.0, 3.0]).round(3)
        array([19.   ,  7.835])
    """
    num_examples = np.asarray(num_examples, dtype=float)
    return 2 / (2 / (num_examples - 1) + np.asarray(excess_kurtosis) / num_examples)


def best_shift(means, spreads, degrees: Any = np.inf) -> np.ndarray:
    """The shift t that minimises P(m_+ + s_+ T < -t) + P(m_- + s_- T' < t) over all t, T and T' Student.

    For normal laws with equal spreads it is (m_- - m_+)/2, and the two errors are equal; with unequal spreads they are
    not. Where m_+ + m_- <= 0 the laws lie on the wrong sides and nothing beats infinity: (m_- - m_+)/2 is returned.

    Args:
        means: mean margins of the classes +1 and -1, shape (..., 2).
        spreads: scales > 0, shape (..., 2).
        degrees: degrees of freedom, broadcast; inf is normal.

    Returns:
        Shape (...), accurate to about 1e-7 of the spreads.

    Source:
        derived here.

    Example:
        >>> best_shift([1.0, 2.0], [1.0, 1.0]).round(6), best_shift([1.0, 2.0], [1.0, 0.5]).round(3)
        (np.float64(0.5), np.float64(0.888))
    """
    means, spreads, degrees = np.broadcast_arrays(
        np.asarray(means, dtype=float), np.asarray(spreads, dtype=float), np.asarray(degrees, dtype=float)
    )
    plus, minus = np.moveaxis(means, -1, 0)
    widest = spreads.max(axis=-1)
    low, high = np.minimum(-plus, minus) - 4 * widest, np.maximum(-plus, minus) + 4 * widest
    steps = np.linspace(0.0, 1.0, _GRID)
    for _ in range(_ZOOMS):
        shifts = low[..., None] + (high - low)[..., None] * steps
        reach = means[..., None, :] + shifts[..., None] * np.array([1.0, -1.0])
        error = stdtr(degrees[..., None, :], -reach / spreads[..., None, :]).sum(axis=-1)
        best = np.take_along_axis(shifts, error.argmin(axis=-1)[..., None], axis=-1)[..., 0]
        width = (high - low) / (_GRID - 1)
        low, high = best - width, best + width
    return np.where(plus + minus > 0, best, (minus - plus) / 2)[()]


def estimate_margin_ratio(
    gram,
    labels,
    solution: SVMSolution | None = None,
    *,
    method: str = "leave-one-out",
    confidence: float = 0.9,
    random_state: int = 0,
) -> RatioEstimate:
    """Estimate the margin ratio with the smallest balanced test error, from the training data alone.

    Args:
        gram: k(x_i, x_j), shape (n, n).
        labels: +1 or -1, at least 2 of each, shape (n,).
        solution: the SVM on them, hard margin, free intercept, required margin 1; solved when omitted.
        method: leave-one-out, training-law or training-means.
        confidence: level of the interval, in (0, 1). For leave-one-out it draws normal laws of each class, the squared
            spread s² from k V/χ²_k and the mean from N(m, s²/n): m and V are the class's own mean and variance, k its
            `spread_degrees` at the kurtosis of the larger class. For the other methods it resamples the margins.
        random_state: seed of these draws.

    Raises:
        InputError: for another kind of solution, or too few examples.
        NotSeparable, NotConverged: as `solve_svm`, when it is called.

    Source:
        derived here; see the module.

    Example:
        >>> features = np.random.default_rng(0).standard_normal((200, 200))
        >>> labels = np.where(np.arange(200) < 20, 1, -1)
        >>> features[:, 0] += 2 * labels
        >>> found = estimate_margin_ratio(features @ features.T, labels)
        >>> bool(1 < found.interval[0] <= found.ratio <= found.interval[1])
        True
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; {nearest(method, METHODS)}")
    require_in(confidence, "confidence", 0.01, 0.9999)
    solution = solve_svm(gram, labels) if solution is None else solution
    if solution.intercept_kind != "free" or solution.upper is not None or not (solution.required == 1.0).all():
        raise InputError(
            "a margin ratio is estimated from a hard margin with a free intercept and required margin 1 for all, got "
            f"intercept {solution.intercept_kind!r}, {'hard' if solution.upper is None else 'soft'} margin, required "
            f"{np.unique(solution.required)[:3].tolist()}; pass a number as margin_ratio instead"
        )
    if not np.array_equal(solution.labels, np.asarray(labels)):
        raise InputError("labels differ from those of the solution; pass the labels it was solved with")
    margins = solution.labels * solution.scores
    if method == "leave-one-out":
        margins = leave_one_out(gram, solution).margins
    samples = [margins[solution.labels > 0], margins[solution.labels < 0]]
    if method == "training-law" and (margins <= 1 + _ON_MARGIN).all():
        raise InputError(
            "every example of both classes lies on the margin: training margins tell nothing; use leave-one-out"
        )
    laws = _laws(samples, method, solution.norm)
    shift = float(_shift(laws))
    rng = np.random.default_rng(random_state)
    if method == "leave-one-out":
        shifts = best_shift(*_plausible(samples, rng))
    else:
        resampled = [each[rng.integers(each.size, size=(_RESAMPLES, each.size))] for each in samples]
        shifts = np.nan_to_num(_shift(_laws(resampled, method, solution.norm)), posinf=np.inf, neginf=-np.inf)
    ends = np.quantile(shifts, [(1 - confidence) / 2, (1 + confidence) / 2], method="closest_observation")
    ratio, (low, high) = float(ratio_of(shift)), ratio_of(ends).tolist()
    means, spreads, degrees = laws[0] / solution.norm, laws[1] / solution.norm, laws[2]
    estimate = RatioEstimate(
        ratio=ratio,
        interval=(min(low, ratio), max(high, ratio)),
        confidence=float(confidence),
        shift=shift,
        margin=1 / solution.norm,
        mean_margins=(float(means[0]), float(means[1])),
        spreads=(float(spreads[0]), float(spreads[1])),
        degrees=(float(degrees[0]), float(degrees[1])),
        margins=margins,
        method=method,
        notes=(),
    )
    return replace(estimate, notes=tuple(_notes(estimate, np.asarray(gram, dtype=float), solution)))


class _Laws(NamedTuple):
    """Predictive laws of a fresh margin at required margin 1, of the classes +1 and -1, shapes (..., 2)."""

    means: np.ndarray
    spreads: np.ndarray
    degrees: np.ndarray


def _laws(samples: list[np.ndarray], method: str, norm: float) -> _Laws:
    """Laws from the margins of each class, shapes (..., n_+) and (..., n_-)."""
    means = np.stack([each.mean(axis=-1) for each in samples], axis=-1)
    counts = np.array([each.shape[-1] for each in samples], dtype=float)
    if method != "leave-one-out":
        spreads = np.full_like(means, norm)
        if method == "training-law":
            shares = np.stack([(each <= 1 + _ON_MARGIN).mean(axis=-1) for each in samples], axis=-1)
            known = common_spread(means, 1.0, shares @ counts / counts.sum(), counts / counts.sum())
            spreads = np.repeat(known[..., None], 2, axis=-1)
            means = fresh_margins(means, 1.0, spreads)
        return _Laws(means, spreads, np.full(2, np.inf))
    squares = np.stack([each.var(axis=-1, ddof=1) for each in samples], axis=-1)
    degrees = counts - 1 + _BORROWED
    squares = ((counts - 1) * squares + _BORROWED * squares[..., ::-1]) / degrees
    return _Laws(means, np.sqrt(np.maximum(squares, _SMALLEST) * (1 + 1 / counts)), degrees)


def _plausible(samples: list[np.ndarray], rng: np.random.Generator) -> _Laws:
    """Draw normal laws of a fresh margin that the left-out ones do not exclude, shapes (_RESAMPLES, 2)."""
    counts = np.array([each.size for each in samples], dtype=float)
    kurtosis = max(0.0, _excess_kurtosis(max(samples, key=len)))
    degrees = np.maximum(spread_degrees(counts, kurtosis), 1.0)
    found = np.array([each.var(ddof=1) for each in samples])
    squares = np.maximum(found, _SMALLEST) * degrees / rng.chisquare(degrees, size=(_RESAMPLES, 2))
    means = np.array([each.mean() for each in samples]) + np.sqrt(squares / counts) * rng.standard_normal(squares.shape)
    return _Laws(means, np.sqrt(squares), np.full(2, np.inf))


def _excess_kurtosis(sample: np.ndarray) -> float:
    return float(((sample - sample.mean()) ** 4).mean() / max(sample.var() ** 2, _SMALLEST)) - 3


def _shift(laws: _Laws) -> np.ndarray:
    if np.isinf(laws.degrees).all():  # equal spreads: the middle, which may be infinite
        with np.errstate(invalid="ignore"):
            return (laws.means[..., 1] - laws.means[..., 0]) / 2
    return best_shift(*laws)


def _notes(estimate: RatioEstimate, gram: np.ndarray, solution: SVMSolution) -> Iterator[str]:
    if abs(estimate.shift) >= float(shift_of(LARGEST_RATIO)):
        side = "beyond" if estimate.shift > 0 else "below"
        yield (
            f"no ratio moves the threshold far enough: the best shift, {estimate.shift:.3g} half-widths of the band, "
            f"is {side} its end; move the threshold after training, or collect examples of the failing class"
        )
    if sum(estimate.mean_margins) <= 0:
        yield "fresh examples are predicted to be no better than guessed: no ratio helps; the features lack signal"
    counts = [int((solution.labels == sign).sum()) for sign in (1, -1)]
    if min(counts) < _FEW:
        error = 1 / np.sqrt(min(counts))
        yield f"{min(counts)} examples of a class fix its mean margin to {error:.2g} spreads only; read the interval"
    squared = gram.diagonal()
    apart = squared[:, None] + squared - 2 * gram + np.diag(np.full(len(gram), np.inf))
    twice = int((apart <= 1e-12 * squared.max()).any(axis=1).sum())
    if twice:
        yield f"{twice} examples occur more than once: leaving one out leaves its copy in; drop copies"
    if estimate.method == "training-law":
        expected = tail((np.asarray(estimate.mean_margins) - estimate.margin) / np.asarray(estimate.spreads))
        found = np.array([(estimate.margins[solution.labels == sign] <= 1 + _ON_MARGIN).mean() for sign in (1, -1)])
        error = np.sqrt(np.maximum(expected * (1 - expected), 1e-4) / np.asarray(counts))
        if (np.abs(found - expected) > _DEVIANT * error).any():
            yield (
                f"shares {found.round(2).tolist()} of the classes lie on the margin, not {expected.round(2).tolist()}: "
                "the classes differ in spread; use leave-one-out"
            )
    elif estimate.method == "leave-one-out":
        largest = estimate.margins[solution.labels == (1 if counts[0] >= counts[1] else -1)]
        kurtosis = _excess_kurtosis(largest)
        if kurtosis > _HEAVY:
            yield f"margins of the larger class have heavy tails (excess kurtosis {kurtosis:.1f}): errors are guesses"
