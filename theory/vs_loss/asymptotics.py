"""Hard-margin cost- and group-sensitive SVMs on Gaussian mixtures in the proportional limit: d / n -> aspect ratio.

The classifier minimises ||w|| subject to y_i (⟨w, x_i⟩ + b) >= δ_j, j the component of x_i. Per unit norm of w let
u be the margin of a point with δ_j = 1, ρ the coordinates of w on the means, b' the intercept. Then

- a test point of component j has the margin y (⟨w, x⟩ + b) / ||w|| = l_j + G, l_j = σ_j·ρ + y_j b', σ_j = y_j μ_j;
- a training point has the margin max(δ_j u, l_j + G): those that would fall short are lifted onto the boundary;
- u is the largest number for which some (ρ, b') has F = Σ_j π_j E (G + t_j)_+² - γ (1 - |ρ|²) <= 0, where
  t_j = δ_j u - l_j and γ = d / n.

F is convex in (u, ρ, b'), so the solution is unique: F = 0, γ ρ = Σ_j π_j g1(t_j) σ_j, Σ_j y_j π_j g1(t_j) = 0 with
g1(t) = E (G + t)_+. A free intercept absorbs a shift of all means, so two classes are as antipodal ones at
m = ||μ_+ - μ_-|| / 2, and everything follows from one increasing function of a = π_+ g1(t_+) = π_- g1(t_-).

Source:
    Kini et al. (2021), arXiv:2103.01550, Theorem 2 and its analogue for groups; Lyu, Zhou, Zhong (2026),
    arXiv:2502.11323, Theorem 2.1 and Lemma E.9 for antipodal means. Several components of a class and the reduction of
    general means to one equation are derived here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import root_scalar

from ..core.errors import InputError, require_positive
from ..core.fixed_point import NotConverged
from ..core.gaussian import partial_expectation, tail
from .margin_equations import mean_margins, residual, smallest_aspect_ratio, solve_components, solve_two_classes
from .mixture import GaussianMixture

__all__ = [
    "BelowThreshold",
    "HardMargin",
    "equal_opportunity_ratio",
    "hard_margin",
    "hard_margin_map",
    "margin_ratio_floor",
    "optimal_margin_ratio",
    "separability_threshold",
    "squared_score_ceiling",
]

_NEARLY_INFINITE = 1e12
_LARGEST_RESIDUAL = 1e-8


class BelowThreshold(ArithmeticError):  # noqa: N818 - reads as what happened
    """The training set is not separable in the limit; the message gives the smallest separable aspect ratio."""


@dataclass(frozen=True, eq=False)
class HardMargin:
    """The limit of a hard-margin classifier, or of a whole map of them: every field may carry leading axes.

    NaN where the training set is not separable.

    Args:
        priors: π_j, shape (..., J).
        signs: y_j, shape (J,).
        signals: σ_j = y_j μ_j in coordinates, shape (..., J, r).
        required: required margin δ_j of each component, shape (..., J).
        aspect_ratio: d / n, shape (...).
        margin: u, the margin of a required margin 1 for a unit norm; 1 / ||w||, shape (...).
        direction: ρ, inner products of w / ||w|| with the coordinate axes, shape (..., r).
        intercept: b' = b / ||w||, shape (...).
        free_intercept: whether b was free; otherwise it is 0.
        residual: largest relative violation of the equations, shape (...).
    """

    priors: np.ndarray
    signs: np.ndarray
    signals: np.ndarray
    required: np.ndarray
    aspect_ratio: np.ndarray
    margin: np.ndarray
    direction: np.ndarray
    intercept: np.ndarray
    free_intercept: bool
    residual: np.ndarray

    @property
    def separable(self) -> np.ndarray:
        """Whether the training set is separable, shape (...)."""
        return np.isfinite(self.margin)

    @property
    def norm(self) -> np.ndarray:
        """||w|| of the classifier with the required margins, shape (...)."""
        return 1 / self.margin

    @property
    def test_margins(self) -> np.ndarray:
        """Mean l_j of the normalised margin of a test point, shape (..., J)."""
        return mean_margins(self.signs, self.signals, self.direction, self.intercept)

    @property
    def lifts(self) -> np.ndarray:
        """t_j = δ_j u - l_j, by which the boundary lies above the mean test margin, shape (..., J)."""
        return self.required * self.margin[..., None] - self.test_margins

    @property
    def training_margins(self) -> np.ndarray:
        """Mean normalised margin l_j + g1(t_j) of a training point, shape (..., J)."""
        return self.test_margins + partial_expectation(self.lifts)

    @property
    def support_fractions(self) -> np.ndarray:
        """Share Φ(t_j) of the training points that lie on the margin, shape (..., J)."""
        return tail(-self.lifts)

    def training_margin_cdf(self, margins) -> np.ndarray:
        """P(normalised training margin <= x) of each component, shape (..., J) + the shape of `margins`."""
        x = np.asarray(margins, dtype=float)
        edge, mean = (
            values.reshape(values.shape + (1,) * x.ndim)
            for values in (self.required * self.margin[..., None], self.test_margins)
        )
        return np.where(x < edge, 0.0, tail(mean - x))

    @property
    def errors(self) -> np.ndarray:
        """Test error Q(l_j) of each component, shape (..., J)."""
        return tail(self.test_margins)

    @property
    def class_errors(self) -> np.ndarray:
        """Test errors of the classes +1 and -1, shape (..., 2)."""
        shares = self.priors[..., None, :] * (self.signs == np.array([[1], [-1]]))
        return (shares * self.errors[..., None, :]).sum(-1) / shares.sum(-1)

    @property
    def balanced_error(self) -> np.ndarray:
        """Mean of the two class errors, shape (...)."""
        return self.class_errors.mean(-1)

    @property
    def error(self) -> np.ndarray:
        """Test error under the training priors, shape (...)."""
        return (self.priors * self.errors).sum(-1)

    @property
    def margin_ratio(self) -> np.ndarray:
        """δ: required margin of +1 over that of -1, shape (...).

        Raises:
            InputError: if the required margins differ within a class.
        """
        plus, minus = self.required[..., self.signs > 0], self.required[..., self.signs < 0]
        if np.ptp(plus, axis=-1).any() or np.ptp(minus, axis=-1).any():
            raise InputError("margin_ratio needs one required margin for each class, got different ones for its groups")
        return plus[..., 0] / minus[..., 0]

    def at_ratio(self, margin_ratio) -> "HardMargin":
        """The classifier at another margin ratio, without solving again: only the threshold moves.

        Args:
            margin_ratio: δ > 0, broadcast against the leading axes.

        Raises:
            InputError: without a free intercept, or for required margins that differ within a class.

        Source:
            Lyu et al. (2026), Prop. C.1, in the limit; for finite samples claim ``vs_loss.margin_ratio_path``.

        Example:
            >>> svm = hard_margin(GaussianMixture.antipodal(0.15, 1.75), 0.4)
            >>> svm.errors.round(4), svm.at_ratio(2.0).errors.round(4)
            (array([0.2514, 0.0313]), array([0.1623, 0.0609]))
        """
        require_positive(margin_ratio, "margin_ratio")
        middle, margin = self._at_one()
        new, margin, middle, gamma = np.broadcast_arrays(margin_ratio, margin, middle, self.aspect_ratio)
        spread = [
            np.broadcast_to(field, new.shape + field.shape[field.ndim - own :])
            for field, own in ((self.priors, 1), (self.signals, 2), (self.direction, 1))
        ]
        priors, signals, direction = spread
        required = np.where(self.signs > 0, new[..., None], 1.0)
        margin, middle = 2 * margin / (new + 1), middle + (new - 1) / (new + 1) * margin
        return _result(priors, self.signs, signals, required, gamma, margin, direction, middle, True)

    @property
    def optimal_margin_ratio(self) -> np.ndarray:
        """Ratio with the smallest balanced error, in [0, inf], shape (...); see `optimal_margin_ratio`."""
        middle, margin = self._at_one()
        if self.signs.size != 2:
            raise InputError(f"optimal_margin_ratio needs one component for each class, got {self.signs.size}")
        plus, minus = np.moveaxis(mean_margins(self.signs, self.signals, self.direction, middle), -1, 0)
        return optimal_margin_ratio(plus, minus, margin)

    def at_best_ratio(self) -> "HardMargin":
        """The classifier at its `optimal_margin_ratio`; where that is 0 or inf, at 1e-12 or 1e12, near enough.

        Example:
            >>> svm = hard_margin(GaussianMixture.antipodal(0.01, 1.0), 0.5)
            >>> svm.optimal_margin_ratio, round(float(svm.at_best_ratio().balanced_error), 4)
            (np.float64(inf), 0.4314)
        """
        best = np.clip(self.optimal_margin_ratio, 1 / _NEARLY_INFINITE, _NEARLY_INFINITE)
        return self.at_ratio(np.where(self.separable, best, 1.0))

    def _at_one(self) -> tuple[np.ndarray, np.ndarray]:
        """Intercept and margin at δ = 1."""
        if not self.free_intercept:
            raise InputError("without a free intercept the margin ratio changes the direction; solve at each ratio")
        ratio = self.margin_ratio
        required = self.required[..., np.flatnonzero(self.signs < 0)[0]]
        margin = self.margin * required * (ratio + 1) / 2
        return self.intercept - (ratio - 1) / (ratio + 1) * margin, margin


def optimal_margin_ratio(plus_margin, minus_margin, margin) -> np.ndarray:
    """The ratio with the smallest balanced error, from the SVM with ratio 1 and a free intercept.

    Args:
        plus_margin: l_+, mean normalised margin of fresh points of class +1, with normal noise of variance 1.
        minus_margin: l_-, the same of class -1; the three are broadcast.
        margin: u = 1 / ||w|| > 0 of the SVM.

    Returns:
        (l_- - l_+ + 2u) / (l_+ - l_- + 2u), where both class errors are Q((l_+ + l_-) / 2); inf where no finite ratio
        reaches that (l_- - l_+ >= 2u: the larger the better), 0 where l_+ - l_- >= 2u.

    Source:
        Kini et al. (2021) for δ*; Lyu et al. (2026), Prop. 3.1 for antipodal means, where a negative ratio means inf.

    Example:
        >>> float(optimal_margin_ratio(0.5, 1.5, 1.0)), float(optimal_margin_ratio(0.5, 2.5, 1.0))
        (3.0, inf)
    """
    gap, width = np.asarray(minus_margin, dtype=float) - plus_margin, 2 * np.asarray(margin, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gap >= width, np.inf, np.where(gap <= -width, 0.0, (width + gap) / (width - gap)))[()]


def margin_ratio_floor(prior, signal_strength, aspect_ratio):
    """A lower bound of the optimal margin ratio, (1 + γ / (2 π m²)) / (1 + γ / (2 (1 - π) m²)) for π <= 1/2.

    It is the ratio at which every training point would lie on the margin, so it is exact as γ grows: (1 - π) / π there.

    Args:
        prior: π, in (0, 1/2].
        signal_strength: m > 0, half the distance of the two means.
        aspect_ratio: γ = d / n > 0. All three numbers, arrays or symbols.

    Source:
        Derived here (claim ``vs_loss.optimal_ratio_floor``).

    Example:
        >>> round(margin_ratio_floor(0.1, 1.5, 1.0), 3)
        2.584
    """
    minority, majority = (1 + aspect_ratio / (2 * p * signal_strength**2) for p in (prior, 1 - prior))
    return minority / majority


def squared_score_ceiling(prior, signal_strength, aspect_ratio):
    """An upper bound of (ρ m)², m² / (1 + γ / (4 π (1 - π) m²)): no ratio has a balanced error below Q of its root.

    Args:
        prior: π, in (0, 1).
        signal_strength: m > 0, half the distance of the two means.
        aspect_ratio: γ = d / n > 0. All three numbers, arrays or symbols.

    Source:
        Derived here (claim ``vs_loss.balanced_error_floor``).

    Example:
        >>> round(squared_score_ceiling(0.1, 1.5, 1.0), 3)
        1.007
    """
    square = signal_strength**2
    return square / (1 + aspect_ratio / (4 * prior * (1 - prior) * square))


def hard_margin(
    mixture: GaussianMixture,
    aspect_ratio: float,
    margin_ratio: float = 1.0,
    *,
    required: Sequence[float] | None = None,
    intercept: bool = True,
) -> HardMargin:
    """The limit of the hard-margin cost- or group-sensitive SVM on a binary mixture.

    Args:
        mixture: J components with signs.
        aspect_ratio: d / n > 0.
        margin_ratio: δ > 0, required margin of the components of class +1; 1 for class -1.
        required: instead, the required margin δ_j >= 0 of each component, J numbers, not all 0.
        intercept: whether b is free and unpenalised; otherwise 0.

    Raises:
        InputError: for a mixture without signs or numbers out of range.
        BelowThreshold: if the training set is not separable at this aspect ratio.
        NotConverged: if the residual stays above 1e-8; met only at extremes such as means 1e10 apart.

    Source:
        Kini et al. (2021), Theorem 2; see the module.

    Example:
        >>> svm = hard_margin(GaussianMixture.binary(0.1, (3, 2)), 0.4)
        >>> svm.errors.round(4), round(float(svm.optimal_margin_ratio), 4)
        (array([0.3136, 0.0184]), 6.0662)
        >>> groups = GaussianMixture.groups(0.1, (3, 2))
        >>> hard_margin(groups, 1.0, required=(3, 3, 1, 1)).errors.round(4)
        array([0.1169, 0.1169, 0.1457, 0.1457])
    """
    signs = _signs(mixture)
    if np.ndim(aspect_ratio) or np.ndim(margin_ratio):
        raise InputError("hard_margin solves one problem; for arrays use hard_margin_map, for many ratios at_ratio")
    require_positive(aspect_ratio, "aspect_ratio")
    if required is None:
        require_positive(margin_ratio, "margin_ratio")
        margins = np.where(signs > 0, float(margin_ratio), 1.0)
    else:
        margins = np.asarray(required, dtype=float)
        if margins.shape != signs.shape or not np.isfinite(margins).all() or margins.min() < 0 or margins.max() == 0:
            raise InputError(f"required must be {signs.size} margins >= 0, not all 0, got {required!r}")
    priors, gamma = np.asarray(mixture.priors), np.asarray(aspect_ratio, dtype=float)
    signals = signs[:, None] * mixture.coordinates
    found = _solve(priors, signs, signals, margins, gamma, intercept)
    if not found.separable:
        threshold = separability_threshold(mixture, intercept=intercept)
        if gamma > threshold:  # a required margin of 0 leaves a component outside the threshold
            raise BelowThreshold(f"no classifier has the required margins {margins.tolist()} at aspect ratio {gamma:g}")
        raise BelowThreshold(
            f"not separable at aspect ratio {gamma:g}: a margin exists above {threshold:.6g} only; "
            "use more dimensions or fewer examples, or ridge_erm"
        )
    return found


def hard_margin_map(prior, signal_strength, aspect_ratio, margin_ratio=1.0) -> HardMargin:
    """The cost-sensitive SVM over arrays of settings, with antipodal means and a free intercept.

    General means are covered too: with `signal_strength` half the distance of the two means, all but the intercept is
    the same.

    Args:
        prior: π = P(y = +1), in (0, 1).
        signal_strength: ||μ|| >= 0.
        aspect_ratio: d / n > 0.
        margin_ratio: δ > 0; the four are broadcast.

    Returns:
        Fields with the broadcast shape in front; NaN where `separable` is False.

    Raises:
        InputError: for numbers out of range.
        NotConverged: as `hard_margin`.

    Example:
        >>> priors, aspect_ratios = [0.5, 0.1], [[0.1], [1.0]]
        >>> hard_margin_map(priors, 1.5, aspect_ratios).balanced_error.round(3)
        array([[  nan, 0.175],
               [0.161, 0.322]])
    """
    for value, name in ((prior, "prior"), (aspect_ratio, "aspect_ratio"), (margin_ratio, "margin_ratio")):
        require_positive(value, name)
    arrays = np.broadcast_arrays(
        *(np.asarray(value, dtype=float) for value in (prior, signal_strength, aspect_ratio, margin_ratio))
    )
    prior, strength, gamma, ratio = arrays
    if not (prior < 1).all():
        raise InputError(f"prior must lie below 1, got {prior.max()}")
    if not (np.isfinite(strength) & (strength >= 0)).all():
        raise InputError(f"signal_strength must be finite and >= 0, got {np.asarray(strength).min()}")
    priors = np.stack([prior, 1 - prior], axis=-1)
    signals = np.repeat(strength[..., None, None], 2, axis=-2)
    required = np.stack([ratio, np.ones_like(ratio)], axis=-1)
    return _solve(priors, np.array([1, -1]), signals, required, gamma, True)


def separability_threshold(mixture: GaussianMixture, *, intercept: bool = True) -> float:
    """The aspect ratio γ* above which the training set is linearly separable with probability tending to 1.

    γ* = min over (ρ, b'), |ρ| < 1, of Σ_j π_j E (G - σ_j·ρ - y_j b')_+² / (1 - |ρ|²).

    Args:
        mixture: J components with signs.
        intercept: whether the hyperplane may miss the origin.

    Source:
        Kini et al. (2021); Lyu et al. (2026), Theorem 2.1 (there n / d). Without signal, π = 1/2: Cover's 1/2.

    Example:
        >>> round(1 / separability_threshold(GaussianMixture.antipodal(0.5, 1.0)), 4)
        3.7
    """
    signs = _signs(mixture)
    signals = signs[:, None] * mixture.coordinates
    return smallest_aspect_ratio(np.asarray(mixture.priors), signs, signals, intercept)


def equal_opportunity_ratio(mixture: GaussianMixture, aspect_ratio: float) -> float:
    """δ_0: the required margin of group 1 over that of group 2 at which class +1 has the same error in both.

    Args:
        mixture: four components (+,1), (-,1), (+,2), (-,2), as `GaussianMixture.groups` makes them.
        aspect_ratio: d / n > 0, above the threshold.

    Returns:
        δ_0; 0 or inf where the error of group 1 is the smaller, or the larger, at every ratio.

    Raises:
        InputError: for other components.
        BelowThreshold: if the training set is not separable.

    Source:
        Kini et al. (2021), group-sensitive SVM and equal opportunity (DEO = 0).

    Example:
        >>> round(equal_opportunity_ratio(GaussianMixture.groups(0.1, (3, 3)), 1.0), 4)
        3.3849
    """
    if mixture.signs != (1, -1, 1, -1):
        raise InputError(f"mixture must have the components of GaussianMixture.groups, got signs {mixture.signs}")

    def gap(share: float) -> float:
        errors = hard_margin(mixture, aspect_ratio, required=(share, share, 1 - share, 1 - share)).errors
        return float(errors[0] - errors[2])

    hard_margin(mixture, aspect_ratio)
    if gap(1.0) >= 0:
        return float("inf")
    if gap(0.0) <= 0:
        return 0.0
    share = root_scalar(gap, bracket=(0.0, 1.0), xtol=1e-15).root
    return share / (1 - share)


def _signs(mixture: GaussianMixture) -> np.ndarray:
    if not mixture.signs:
        raise InputError("mixture must have signs: the label +1 or -1 of each component")
    return np.asarray(mixture.signs)


def _solve(priors, signs, signals, required, gamma, intercept: bool) -> HardMargin:
    """Solve over leading axes; NaN where not separable."""
    if signs.size == 2 and intercept:
        margin, direction, middle = solve_two_classes(priors, signs, signals, required, gamma)
    else:
        margin, direction, middle = solve_components(priors, signs, signals, required, gamma, intercept)
    outside = ~(margin > 0)
    margin, middle = np.where(outside, np.nan, margin), np.where(outside, np.nan, middle)
    direction = np.where(outside[..., None], np.nan, direction)
    found = _result(priors, signs, signals, required, gamma, margin, direction, middle, intercept)
    worst = np.max(np.where(outside, 0.0, found.residual))
    if not worst <= _LARGEST_RESIDUAL:
        raise NotConverged(
            f"equations violated by {worst:.3g} relative to their terms; float64 has too few digits here"
        )
    return found


def _result(priors, signs, signals, required, gamma, margin, direction, middle, intercept: bool) -> HardMargin:
    fields = priors, signs, signals, required, gamma[()], margin[()], direction, middle[()], intercept
    return HardMargin(*fields, residual=residual(*fields))
