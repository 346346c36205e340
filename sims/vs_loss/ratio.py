"""Study of margin ratios: estimates from the training data, fixed rules of the counts, and the best in hindsight.

Features are Gaussian with means in random directions. The covariance is the identity, or has a geometric spectrum with
mean 1, or differs between the classes by a factor.
"""

import numpy as np

from ...theory.core.gaussian import tail
from ...theory.vs_loss.mixture import GaussianMixture
from ...theory.vs_loss.ratio_estimate import METHODS, best_shift, estimate_margin_ratio, ratio_of, shift_of
from ...theory.vs_loss.svm import solve_svm
from ..core.study import Study
from .gaussian import draw_components, stored

__all__ = ["AUTO_RATIO", "POWERS", "draw_auto_ratio"]

POWERS = {"svm": 0.0, "ldam": 0.25, "square_root": 0.5, "inverse": 1.0}
"""Fixed rules: the margin ratio is (n_- / n_+) to the power."""


def draw_auto_ratio(
    rng, *, prior, norms, inner, aspect_ratio, num_examples, condition, minority_spread, methods
) -> list[dict]:
    """Draw an SVM and move its threshold by each rule, one row each, with exact errors.

    ``low`` and ``high`` are the estimates' intervals at confidence 0.9, NaN for other rules. The rule ``oracle`` knows
    means and covariances and takes the best threshold for the direction at hand.

    Args:
        rng: the generator.
        prior: π.
        norms: of the class means.
        inner: of the class means.
        aspect_ratio: d / n.
        num_examples: n.
        condition: largest over smallest eigenvalue of the covariance.
        minority_spread: standard deviation of the minority over that of the majority, in every direction.
        methods: of `estimate_margin_ratio`.
    """
    mixture = GaussianMixture.binary(prior, norms, inner)
    dimension = round(aspect_ratio * num_examples)
    components = draw_components(rng, mixture, num_examples)
    labels = np.array([1, -1])[components]
    frame, _ = np.linalg.qr(rng.standard_normal((dimension, mixture.coordinates.shape[1])))
    means = mixture.coordinates @ frame.T
    variances = np.geomspace(1.0, condition, dimension)
    deviations = np.sqrt(variances / variances.mean())
    scales = np.array([minority_spread, 1.0])
    noise = rng.standard_normal((num_examples, dimension))
    features = means[components] + scales[components][:, None] * deviations * noise

    gram = features @ features.T
    machine = solve_svm(gram, labels)
    weights = machine.coefficients @ features
    scores = np.array([1, -1]) * (means @ weights + machine.intercept)  # the majority needs the required margin 1
    spreads = scales * np.linalg.norm(deviations * weights)
    positives = int((components == 0).sum())
    chosen = {rule: ((num_examples - positives) / positives) ** power for rule, power in POWERS.items()}
    chosen["oracle"] = float(ratio_of(best_shift(scores, spreads)))
    intervals = {}
    for method in methods:
        estimate = estimate_margin_ratio(gram, labels, machine, method=method, confidence=0.9)
        chosen[method], intervals[method] = estimate.ratio, estimate.interval
    rows = []
    for rule, ratio in chosen.items():
        errors = tail((scores + shift_of(ratio) * np.array([1.0, -1.0])) / spreads)
        low, high = intervals.get(rule, (np.nan, np.nan))
        rows.append(
            {"rule": rule, "margin_ratio": ratio}
            | stored({"error_plus": errors[0], "error_minus": errors[1], "balanced_error": errors.mean()})
            | stored({"low": low, "high": high})
        )
    return rows


_IDENTITY = {"condition": 1.0, "minority_spread": 1.0, "methods": METHODS}
_ANTIPODAL = {"prior": 0.2, "norms": (2.0, 2.0), "inner": -4.0, "aspect_ratio": 1.0}
_ORTHOGONAL = {"prior": 0.1, "norms": (3.0, 2.0), "inner": 0.0, "aspect_ratio": 0.8}

AUTO_RATIO = Study(
    "vs_loss.auto_ratio",
    draw_auto_ratio,
    cases=(
        *(
            model | _IDENTITY | {"num_examples": n}
            for model in (_ANTIPODAL, _ORTHOGONAL)
            for n in (100, 200, 400, 1000)
        ),
        *(
            model | _IDENTITY | {"condition": condition, "minority_spread": spread, "num_examples": 400}
            for model in (_ANTIPODAL, _ORTHOGONAL)
            for condition, spread in ((10.0, 1.0), (100.0, 1.0), (1.0, 0.7), (1.0, 1.4))
        ),
    ),
    repetitions=40,
    version=2,
    quick={"num_examples": 60},
)
