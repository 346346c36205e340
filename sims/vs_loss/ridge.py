"""Studies of trained losses: the ridge family on separable and other data, mismatched features, gradient descent.

A loss is named as in `theory.vs_loss.scalar_losses.vs_family`, or ``hinge``, or one of `MIXES`. All losses of a case
meet the same data, one row each.
"""

import numpy as np

from ...theory.core.fixed_point import NotConverged
from ...theory.vs_loss.implicit_bias import PairwiseLoss, angle, gradient_descent, terminal
from ...theory.vs_loss.mixture import GaussianMixture
from ...theory.vs_loss.scalar_losses import HingeLoss, LogisticLoss, ScalarLoss, vs_family
from ...theory.vs_loss.svm import NotSeparable, margin_ratio_path, solve_svm
from ..core.study import Study, cases
from .erm import fit_ridge
from .gaussian import Sample, draw_sample, stored

__all__ = [
    "GRADIENT_DESCENT",
    "MISMATCHED_FEATURES",
    "MIXES",
    "RIDGE_ERRORS",
    "draw_gradient_descent",
    "draw_mismatched_features",
    "draw_ridge_errors",
    "loss_pair",
    "seen_mixture",
]

SCALE_EXPONENT = 0.5
"""γ of CDT and VS in every study here: at a prior of 0.1 the margin ratio (0.9 / 0.1)^γ is 3."""


MIXES = {
    "weighted": ((3.0, 0.6), (0.0, 0.0), (1.0, 1.0)),
    "shifted": ((1.0, 1.0), (1.5, -0.5), (1.0, 1.0)),
    "mixed": ((2.0, 1.0), (0.5, -0.3), (0.4, 1.0)),
}
"""Losses by their parameters (ω_+, ω_-), (ι_+, ι_-), (Δ_+, Δ_-), whatever the prior."""


def loss_pair(loss: str, prior: float) -> tuple[ScalarLoss, ScalarLoss]:
    """The losses of the classes +1 and -1 that a name stands for. See the module.

    Example:
        >>> loss_pair("cdt", 0.1)[0].delta.round(4), loss_pair("mixed", 0.1)[0].delta
        (np.float64(0.3333), 0.4)
    """
    if loss == "hinge":
        return HingeLoss(), HingeLoss()
    if loss in MIXES:
        plus, minus = (LogisticLoss(*parameters) for parameters in zip(*MIXES[loss], strict=True))
        return plus, minus
    return vs_family(loss, prior, gamma=SCALE_EXPONENT)


def seen_mixture(prior: float, full_norm: float, full_aspect_ratio: float, aspect_ratio: float) -> GaussianMixture:
    """Orthogonal means of which a classifier sees the first features only: ||μ||² grows with d / n up to a maximum.

    Args:
        prior: π.
        full_norm: ||μ_+|| = ||μ_-|| with all features.
        full_aspect_ratio: d / n from which on all signal is seen.
        aspect_ratio: d / n.

    Source:
        The setting of Kini et al. (2021), Fig. 1; the profile is chosen here, theirs is not printed.
    """
    norm = full_norm * min(1.0, aspect_ratio / full_aspect_ratio) ** 0.5
    return GaussianMixture.binary(prior, (norm, norm))


def draw_ridge_errors(rng, *, prior, norms, inner, aspect_ratio, ridge, num_examples, losses) -> list[dict]:
    """Draw a training set and fit every loss with the ridge; one row each."""
    mixture = GaussianMixture.binary(prior, norms, inner)
    sample = draw_sample(rng, mixture, num_examples, round(aspect_ratio * num_examples))
    return [
        {"loss": loss} | _columns(sample, *fit_ridge(sample.features, sample.labels, loss_pair(loss, prior), ridge))
        for loss in losses
    ]


def draw_mismatched_features(rng, *, prior, full_norm, full_aspect_ratio, aspect_ratio, dimension, ridge) -> list[dict]:
    """Draw CE, LA and CDT with a tiny ridge, and where the data are separable the SVM and the CS-SVM of CDT's ratio."""
    mixture = seen_mixture(prior, full_norm, full_aspect_ratio, aspect_ratio)
    sample = draw_sample(rng, mixture, round(dimension / aspect_ratio), dimension)
    rows = [
        {"loss": loss} | _columns(sample, *fit_ridge(sample.features, sample.labels, loss_pair(loss, prior), ridge))
        for loss in ("ce", "la", "cdt")
    ]
    try:
        machine = solve_svm(sample.gram, sample.labels)
    except (NotSeparable, NotConverged):  # the latter within rounding of the threshold
        return rows
    path = margin_ratio_path(machine, [1.0, ((1 - prior) / prior) ** SCALE_EXPONENT])
    fits = zip(("svm", "cs_svm"), path.coefficients, path.intercepts, strict=True)
    return rows + [
        {"loss": name} | _columns(sample, coefficients @ sample.features, intercept)
        for name, coefficients, intercept in fits
    ]


def draw_gradient_descent(rng, *, prior, signal_strength, aspect_ratio, num_examples, times) -> list[dict]:
    """Draw how far gradient descent is from the machine it tends to; one row for each rule, loss and number of steps.

    The score has no intercept. ``angle`` is in radians; ``margin_gap`` is 1 − margin / largest margin of the direction.
    The constant step is the inverse of the largest curvature; the normalised one makes steps of length 1 / 10.
    """
    mixture = GaussianMixture.antipodal(prior, signal_strength)
    sample = draw_sample(rng, mixture, num_examples, round(aspect_ratio * num_examples))
    plus = sample.labels > 0
    rows = []
    for name in ("ce", "la", "cdt"):
        pair = loss_pair(name, prior)
        omega, iota, delta = (
            np.where(plus, *(getattr(loss, field) for loss in pair)) for field in ("omega", "iota", "delta")
        )
        loss = PairwiseLoss.signed(sample.features, sample.labels, omega=omega, iota=iota, delta=delta)
        limit = terminal(loss)
        scaled = loss.rows[:, 0]
        curvature = float(np.linalg.norm(np.sqrt(omega / 4)[:, None] * scaled, 2)) ** 2
        for rule, step in (("constant", 1 / curvature), ("normalised", 0.1)):
            path = gradient_descent(loss, times, step=step, normalised=rule == "normalised")
            margins = (path @ scaled.T).min(axis=1) / np.linalg.norm(path, axis=1)
            for time, away, margin in zip(times, angle(path, limit.direction), margins, strict=True):
                rows.append(
                    {"rule": rule, "loss": name, "time": time, "angle": away, "margin_gap": 1 - margin / limit.margin}
                )
    return rows


def _columns(sample: Sample, weights: np.ndarray, intercept: float) -> dict:
    errors, norm = sample.test_errors(weights, intercept), float(np.linalg.norm(weights))
    return stored(
        {
            "error_plus": errors[0],
            "error_minus": errors[1],
            "balanced_error": errors.mean(),
            "error": errors @ sample.mixture.priors,
            "norm": norm,
            "intercept": intercept / norm,
        }
    )


_FAMILY = ("ce", "wce", "ldam", "la", "cdt", "vs", "hinge")
_TILTED = {"prior": 0.2, "norms": (2.0, 1.5), "inner": 0.5}

RIDGE_ERRORS = Study(
    "vs_loss.ridge_errors",
    draw_ridge_errors,
    cases=tuple(
        _TILTED | setting | {"num_examples": n}
        for setting, sizes in (
            (
                {"aspect_ratio": 0.5, "ridge": 0.01, "losses": (*_FAMILY, "weighted")},
                (126, 250, 500, 1000),
            ),
            (
                {"aspect_ratio": 1.0, "ridge": 0.01, "losses": (*_FAMILY, "shifted")},
                (125, 250, 500),
            ),
            (
                {"aspect_ratio": 1.0, "ridge": 1e-4, "losses": (*_FAMILY, "mixed")},
                (125, 250, 500),
            ),
        )
        for n in sizes
    ),
    repetitions=40,
    until={"error_plus": 0.01},
    max_repetitions=160,
    quick={"num_examples": 40},
)

MISMATCHED_FEATURES = Study(
    "vs_loss.mismatched_features",
    draw_mismatched_features,
    cases=cases(
        prior=[0.1],
        full_norm=[3.0],
        full_aspect_ratio=[3.0],
        aspect_ratio=[0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0],
        dimension=[300],
        ridge=[1e-6],
    ),
    repetitions=20,
    until={"error_plus": 0.008},
    max_repetitions=320,
    quick={"aspect_ratio": 1.0, "dimension": 60},
)

GRADIENT_DESCENT = Study(
    "vs_loss.gradient_descent",
    draw_gradient_descent,
    cases=cases(
        prior=[0.1, 0.3],
        signal_strength=[2.0],
        aspect_ratio=[1.5],
        num_examples=[60],
        times=[(10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000)],
    ),
    repetitions=5,
    quick={"num_examples": 20, "times": (10, 100)},
)
