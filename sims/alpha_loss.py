"""Studies of α-loss: label flips, imbalance and contamination of Gaussian mixtures, its landscape, its generalisation.

Linear scores with a free intercept and a ridge, trained on mixtures up to a rotation; test errors are exact. For α <= 1
the loss is convex and the state evolution gives the limit. For α > 1 the minimiser is a local one: the point reached by
continuation in α from the log-loss's.
"""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize

from ..theory.alpha_loss.landscape import generalisation_bound, saturation_constants, slqc_radius
from ..theory.alpha_loss.losses import MarginLoss
from ..theory.alpha_loss.mixtures import flipped
from ..theory.core.errors import InputError, require_positive
from ..theory.core.fixed_point import NotConverged
from ..theory.vs_loss.mixture import GaussianMixture
from ..theory.vs_loss.state_evolution import ridge_erm
from .core.study import Study, cases
from .vs_loss.erm import fit_ridge
from .vs_loss.gaussian import draw_sample, stored

__all__ = [
    "CONTAMINATED_ERRORS",
    "FLIP_ERRORS",
    "GENERALISATION",
    "IMBALANCE_ERRORS",
    "LIMITS",
    "SLQC_RADII",
    "contaminated",
    "draw_errors",
    "draw_generalisation",
    "draw_limits",
    "draw_slqc_radii",
    "fit_path",
    "noisy_mixture",
]

ALPHAS = (0.5, 0.75, 1.0, 1.5, 2.0, 4.0, 8.0)
_STEPS = 0.4  # largest step of log α in the continuation
_RELATIVE, _FLAT = 1e-4, 1e-7  # gradient left at a minimiser beside its terms; or alone, where a class is given up


def noisy_mixture(
    prior: float, signal_strength: float, flip_rate: float, outlier_rate: float, outlier_strength: float
) -> GaussianMixture:
    """The mixture that a learner sees; components 1 and 2 are the clean classes.

    Args:
        prior: P(y = +1).
        signal_strength: ||μ||.
        flip_rate: probability that a label of either class is flipped.
        outlier_rate: share of outliers of the label -1 that lie `outlier_strength` times μ_+ away, with clean classes.
        outlier_strength: how far they lie.

    Example:
        >>> noisy_mixture(0.5, 2.0, 0.0, 0.1, 5.0).priors
        (0.45, 0.45, 0.1)
    """
    mixture = flipped(GaussianMixture.antipodal(prior, signal_strength), flip_rate)
    return contaminated(mixture, outlier_rate, outlier_strength) if outlier_rate else mixture


def contaminated(mixture: GaussianMixture, rate: float, strength: float) -> GaussianMixture:
    """The mixture with a share of outliers around `strength` times the first mean, under the opposite label."""
    means = np.vstack([mixture.coordinates, strength * mixture.coordinates[0]])
    priors = np.append((1 - rate) * np.asarray(mixture.priors), rate)
    return GaussianMixture(tuple(priors), tuple(map(tuple, means @ means.T)), (*mixture.signs, -mixture.signs[0]))


def fit_path(
    features: np.ndarray, labels: np.ndarray, alphas: Sequence[float], ridge: float
) -> dict[float, tuple[np.ndarray, float]]:
    """Ridge-regularised α-loss for several α: global minimisers for α <= 1, continued ones above.

    Args:
        features: shape (n, D).
        labels: +1 or -1, both present, shape (n,).
        alphas: α in (0, ∞), any order.
        ridge: λ > 0 of the mean loss plus (λ / 2) ||w||².

    Returns:
        α → w, shape (D,), and b.

    Raises:
        InputError: for other labels, α = ∞ or a ridge that is not > 0.
        NotConverged: if a minimisation leaves a gradient.

    Example:
        >>> fitted = fit_path(np.array([[1.0], [-1.0], [2.0]]), np.array([1, -1, -1]), [1.0, 4.0], ridge=0.1)
        >>> sorted(fitted)
        [1.0, 4.0]
    """
    require_positive(alphas, "alphas")  # finite, too
    require_positive(ridge, "ridge")
    if set(np.unique(labels)) != {-1, 1}:
        raise InputError(f"labels must be +1 and -1, both present, got {np.unique(labels)[:5].tolist()}")
    found = {a: fit_ridge(features, labels, (MarginLoss(a),) * 2, ridge) for a in sorted(alphas) if a <= 1}
    above = [a for a in sorted(alphas) if a > 1]
    if above:
        w, b = found.get(1.0) or fit_ridge(features, labels, (MarginLoss(1.0),) * 2, ridge)
        point, before = np.append(w, b), 1.0
        design = np.column_stack([features, np.ones(len(labels))]) * labels[:, None]
        for alpha in above:
            steps = max(1, int(np.ceil(np.log(alpha / before) / _STEPS)))
            for middle in np.geomspace(before, alpha, steps + 1)[1:]:
                point = _continue(design, point, float(middle), ridge)
            found[alpha], before = (point[:-1], float(point[-1])), alpha
    return found


def _continue(design: np.ndarray, point: np.ndarray, alpha: float, ridge: float) -> np.ndarray:
    """The local minimiser that a quasi-Newton descent reaches from `point`."""
    loss, penalty = MarginLoss(alpha), np.append(np.full(design.shape[1] - 1, ridge), 0.0)

    def objective(theta):
        margins = design @ theta
        value = loss.value(margins).mean() + 0.5 * penalty @ theta**2
        return value, design.T @ loss.slope(margins) / len(design) + penalty * theta

    found = minimize(
        objective, point, jac=True, method="L-BFGS-B",
        options={"maxiter": 5000, "maxfun": 20_000, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 30},
    )  # fmt: skip
    size = float(np.abs(design.T @ np.abs(loss.slope(design @ found.x))).max()) / len(design)
    left = float(np.abs(objective(found.x)[1]).max())
    if left > max(_RELATIVE * size, _FLAT):
        raise NotConverged(f"the descent at alpha {alpha:g} left a gradient {left:.1e} beside {size:.1e}; raise ridge")
    return found.x


def draw_errors(
    rng, *, prior, signal_strength, aspect_ratio, ridge, flip_rate, outlier_rate, outlier_strength, num_examples, alphas
) -> list[dict]:
    """Draw a training set and fit every α; one row each with the exact errors of the clean classes.

    Columns: ``alpha``, ``error_plus``, ``error_minus``, ``balanced_error``, ``norm`` of the weights.
    """
    mixture = noisy_mixture(prior, signal_strength, flip_rate, outlier_rate, outlier_strength)
    sample = draw_sample(rng, mixture, num_examples, round(aspect_ratio * num_examples))
    fitted = fit_path(sample.features, sample.labels, alphas, ridge)
    rows = []
    for alpha in alphas:
        w, b = fitted[alpha]
        plus, minus = sample.test_errors(w, b)[:2].tolist()
        numbers = {"error_plus": plus, "error_minus": minus, "balanced_error": (plus + minus) / 2}
        rows.append({"alpha": alpha} | stored(numbers | {"norm": float(np.linalg.norm(w))}))
    return rows


def draw_limits(
    rng, *, prior, signal_strength, aspect_ratio, ridge, flip_rate, outlier_rate, outlier_strength, alphas
) -> list[dict]:
    """The limits of `draw_errors` for α <= 1, one row each; nothing is drawn."""
    mixture = noisy_mixture(prior, signal_strength, flip_rate, outlier_rate, outlier_strength)
    rows = []
    for alpha in alphas:
        plus, minus = ridge_erm(mixture, aspect_ratio, ridge, (MarginLoss(alpha),) * 2).errors[:2].tolist()
        numbers = {"error_plus": plus, "error_minus": minus, "balanced_error": (plus + minus) / 2}
        rows.append({"alpha": alpha} | stored(numbers))
    return rows


def draw_slqc_radii(rng, *, dimension, num_examples, start_alpha, alphas, num_points, degrade=True) -> list[dict]:
    """Draw data in [0, 1]^d and points in a ball; the predicted and the true radius ε/κ at each α, one row each.

    Without `degrade` the prediction is that the radius at `start_alpha` remains.

    Columns: ``alpha``; ``violations``, the number of points where the prediction exceeds the true radius; ``points``;
    ``predicted_share`` and ``true_share``, the median over the points of the radius over that at `start_alpha`.
    """
    labels = np.ones(num_examples)
    while abs(labels.sum()) == num_examples:  # both classes, so that the log-loss has a minimiser
        features = rng.random((num_examples, dimension))
        truth = 2 * rng.standard_normal(dimension)
        labels = np.where(rng.random(num_examples) < 1 / (1 + np.exp(-features @ truth)), 1, -1)
    signed = features * labels[:, None]
    radius = 2.0
    target = fit_ridge(features, labels, (MarginLoss(1.0),) * 2, 0.05)[0]
    target *= min(1.0, radius / np.linalg.norm(target))
    points = rng.standard_normal((num_points, dimension))
    points *= (radius * rng.random(num_points) ** (1 / dimension) / np.linalg.norm(points, axis=1))[:, None]
    rows = []
    for alpha in alphas:
        shares, violations = [], 0
        for theta in points:
            start, true = (_slqc_radius(signed, theta, target, a) for a in (start_alpha, alpha))
            if start[0] <= 0:
                continue
            predicted = slqc_radius(
                alpha if degrade else start_alpha, start_alpha, gradient_norm=start[1], start_radius=start[0],
                radius=float(np.linalg.norm(theta) * np.sqrt(dimension)), feature_norm=float(np.sqrt(dimension)),
                parameter_radius=radius,
            )  # fmt: skip
            violations += bool(predicted > max(true[0], 0.0) + 1e-12)
            shares.append((predicted / start[0], true[0] / start[0]))
        predicted, true = np.median(shares, axis=0).tolist()
        numbers = {"predicted_share": predicted, "true_share": true}
        rows.append({"alpha": alpha, "violations": violations, "points": len(shares)} | stored(numbers))
    return rows


def _slqc_radius(signed: np.ndarray, theta: np.ndarray, target: np.ndarray, alpha: float) -> tuple[float, float]:
    """⟨-∇R, θ_0 - θ⟩ / ||∇R|| of the empirical risk, and ||∇R||."""
    gradient = signed.T @ MarginLoss(alpha).slope(signed @ theta) / len(signed)
    size = float(np.linalg.norm(gradient))
    return float(-gradient @ (target - theta)) / size, size


def draw_generalisation(rng, *, dimension, num_examples, parameter_radius, alphas, num_points) -> list[dict]:
    """Draw data in [0, 1]^d; the largest risk minus empirical risk over points of a ball, beside its bound.

    The risk is that of 10 000 fresh examples. Columns: ``alpha``; ``gap``, ``bound``; ``distance``, the largest
    difference of the empirical risk from the risk at α = ∞, and its bound for α >= 1, ``distance_bound`` (NaN below).
    """
    truth = 2 * rng.standard_normal(dimension)

    def signed(count: int) -> np.ndarray:
        features = rng.random((count, dimension))
        labels = np.where(rng.random(count) < 1 / (1 + np.exp(-features @ truth)), 1, -1)
        return features * labels[:, None]

    seen, fresh = signed(num_examples), signed(_FRESH)
    points = rng.standard_normal((num_points, dimension))
    points *= parameter_radius / np.linalg.norm(points, axis=1, keepdims=True)
    shift = fresh.mean(axis=0) - seen.mean(axis=0)
    points = np.vstack([points, parameter_radius * np.outer([1.0, -1.0], shift / np.linalg.norm(shift))])
    margins = seen @ points.T, fresh @ points.T
    soft_error = MarginLoss(np.inf).value(margins[1]).mean(axis=0)
    radius, rows = parameter_radius * np.sqrt(dimension), []
    known = {"radius": radius, "num_examples": num_examples}
    for alpha in alphas:
        empirical, risk = (MarginLoss(alpha).value(each).mean(axis=0) for each in margins)
        gaps = {
            "gap": float((risk - empirical).max()),
            "bound": generalisation_bound(alpha, **known, failure_probability=0.05),
            "distance": float(np.abs(empirical - soft_error).max()),
            "distance_bound": saturation_constants(radius)[0] / alpha  # two sides, each with half the probability
            + generalisation_bound(alpha, **known, failure_probability=0.025) if alpha >= 1 else np.nan,
        }  # fmt: skip
        rows.append({"alpha": alpha} | stored(gaps))
    return rows


_FRESH = 10_000
_CLEAN = {"flip_rate": 0.0, "outlier_rate": 0.0, "outlier_strength": 1.0}

FLIP_ERRORS = Study(
    "alpha_loss.flip_errors",
    draw_errors,
    cases=tuple(
        {"prior": pi, "signal_strength": 2.0, "aspect_ratio": 0.2, "ridge": 0.01, **_CLEAN, "flip_rate": rate}
        | {"num_examples": 400, "alphas": ALPHAS}
        for pi in (0.5, 0.2)
        for rate in (0.0, 0.1, 0.2, 0.3, 0.4)
    ),
    repetitions=20,
    quick={"num_examples": 60},
)

IMBALANCE_ERRORS = Study(
    "alpha_loss.imbalance_errors",
    draw_errors,
    cases=tuple(
        {"prior": pi, "signal_strength": 2.0, "aspect_ratio": gamma, "ridge": 0.1, **_CLEAN}
        | {"num_examples": 400, "alphas": ALPHAS}
        for gamma in (0.1, 0.5)
        for pi in (0.3, 0.2, 0.1, 0.05)
    ),
    repetitions=20,
    quick={"num_examples": 60},
)

CONTAMINATED_ERRORS = Study(
    "alpha_loss.contaminated_errors",
    draw_errors,
    cases=tuple(
        {"prior": 0.5, "signal_strength": 2.0, "aspect_ratio": 0.1, "ridge": 0.01, **_CLEAN}
        | {"outlier_rate": rate, "outlier_strength": 5.0, "num_examples": 400, "alphas": ALPHAS}
        for rate in (0.0, 0.02, 0.05, 0.1)
    ),
    repetitions=20,
    quick={"num_examples": 60},
)

LIMITS = Study(
    "alpha_loss.limits",
    draw_limits,
    cases=tuple(
        {name: value for name, value in case.items() if name != "num_examples"} | {"alphas": (0.5, 0.65, 0.8, 1.0)}
        for study in (FLIP_ERRORS, IMBALANCE_ERRORS, CONTAMINATED_ERRORS)
        for case in study.cases
    ),
)

SLQC_RADII = Study(
    "alpha_loss.slqc_radii",
    draw_slqc_radii,
    cases=cases(
        dimension=[1, 3, 10],
        num_examples=[200],
        start_alpha=[1.0],
        alphas=[(1.0, 1.01, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0)],
        num_points=[100],
    ),
    repetitions=10,
)

GENERALISATION = Study(
    "alpha_loss.generalisation",
    draw_generalisation,
    cases=cases(
        dimension=[3],
        num_examples=[50, 200, 800],
        parameter_radius=[2.0],
        alphas=[(0.5, 1.0, 2.0, 8.0)],
        num_points=[30],
    ),
    repetitions=20,
    version=2,
    quick={"num_examples": 50},
)
