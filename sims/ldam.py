"""Studies of LDAM's margins: what n^(-1/4) and other powers lose against the best margin ratio; what its bound says.

A class of n_k examples gets the margin n_k^(-p), and the minority the margin ratio (n_- / n_+)^p: p = 1/4 is LDAM's,
p = 0 the plain SVM. All ratios share the direction of one SVM fit.
"""

import numpy as np

from ..theory.core.class_counts import ClassCounts
from ..theory.ldam.bounds import balanced_error_bound
from ..theory.ldam.margins import class_margins
from ..theory.vs_loss.asymptotics import hard_margin_map, optimal_margin_ratio, separability_threshold
from ..theory.vs_loss.mixture import GaussianMixture
from ..theory.vs_loss.svm import SVMSolution, margin_ratio_path, solve_svm
from .core.study import Study, cases
from .vs_loss.gaussian import Sample, draw_sample, stored

__all__ = [
    "BOUND_VALUES",
    "EXPONENT_REGRET",
    "RATIO_ERRORS",
    "draw_bound_values",
    "draw_exponent_regret",
    "draw_ratio_errors",
]

EXPONENTS = (0.0, 0.25, 1 / 3, 0.5, 1.0)
_EXTREME = 1e12  # stands for an infinite margin ratio: the threshold lies on the majority's margin
_FAILURE_PROBABILITY = 0.05


def draw_exponent_regret(rng, *, signal_strength, prior, exponents, flattest, num_aspect_ratios) -> dict:
    """The regret of each exponent along a line of aspect ratios in the limit; nothing is drawn.

    The line runs from the separability threshold, at least `flattest`, to 50, even in the logarithm. ``regret``, shape
    (exponents, aspect ratios), is the balanced error minus ``best_error``, that of the best ratio; ``best_exponent`` is
    the exponent that makes it best. ``wanted_shift`` of the threshold is in margins: at 1 and above the best ratio is
    infinite, and 1e12 stands for it.
    """
    threshold = separability_threshold(GaussianMixture.antipodal(prior, signal_strength))
    aspect_ratio = np.geomspace(max(1.001 * threshold, flattest), 50, num_aspect_ratios)
    svm, imbalance = hard_margin_map(prior, signal_strength, aspect_ratio), (1 - prior) / prior
    best = svm.at_best_ratio()
    errors = svm.at_ratio(imbalance ** np.asarray(exponents)[:, None]).balanced_error
    line = {
        "aspect_ratio": aspect_ratio,
        "regret": errors - best.balanced_error,
        "best_error": best.balanced_error,
        "best_exponent": np.log(best.margin_ratio) / np.log(imbalance),
        "wanted_shift": -svm.intercept / svm.margin,
    }
    return {name: np.round(values, 6) for name, values in line.items()}


def draw_ratio_errors(rng, *, signal_strength, prior, aspect_ratio, num_examples, exponents) -> list[dict]:
    """Draw an SVM and move its threshold by each exponent, and to the best ratio for these data; one row each.

    The exponents act on the counts that were drawn. The last row, rule ``best``, knows the class means.
    """
    mixture = GaussianMixture.antipodal(prior, signal_strength)
    sample = draw_sample(rng, mixture, num_examples, round(aspect_ratio * num_examples))
    machine = solve_svm(sample.gram, sample.labels)
    weights = machine.coefficients @ sample.features
    plus, minus = sample.test_margins(weights, machine.intercept)
    best = np.clip(optimal_margin_ratio(plus, minus, 1 / machine.norm), 1 / _EXTREME, _EXTREME)
    positives = int((sample.labels > 0).sum())
    counts = ClassCounts((positives, num_examples - positives))
    ratios = [margins[0] / margins[1] for margins in (class_margins(counts, exponent=-p) for p in exponents)]
    path = margin_ratio_path(machine, [*ratios, best])
    errors = sample.test_errors(path.coefficients @ sample.features, path.intercepts)
    return [
        {"rule": rule, "exponent": exponent}
        | stored({"margin_ratio": ratio, "error_plus": plus, "error_minus": minus})
        | stored({"balanced_error": (plus + minus) / 2})
        for rule, exponent, ratio, (plus, minus) in zip(
            ["power"] * len(exponents) + ["best"], [*exponents, np.nan], path.ratios, errors, strict=True
        )
    ]


def draw_bound_values(rng, *, positives, negatives, signal_strength, dimension, margin_ratios) -> list[dict]:
    """Draw the margin bound on the balanced error beside the error itself at each margin ratio; counts are fixed.

    The class is that of scores ⟨w, x⟩ + b with ||w||² + b² <= 1 as two logits ±½ of it, so that its logit margin is the
    signed score, its complexity at most the mean of ||x||² + 1 in either class, and its largest logit at most half the
    radius of a ball that holds all but 1e-14 of the mixture.
    """
    mixture = GaussianMixture.antipodal(positives / (positives + negatives), signal_strength)
    components = np.repeat([0, 1], [positives, negatives])
    sample = draw_sample(rng, mixture, positives + negatives, dimension, components=components, directly=True)
    machine, rows = _solve_by_rows(sample)
    path = margin_ratio_path(machine, margin_ratios)
    weights = path.coefficients @ sample.features[rows]
    sizes = np.sqrt(path.norms**2 + path.intercepts**2)
    squares = (sample.features**2).sum(axis=1) + 1
    complexity = max(squares[components == 0].mean(), squares[components == 1].mean())
    radius = np.sqrt((signal_strength + np.sqrt(dimension) + 8) ** 2 + 1)
    counts = ClassCounts((positives, negatives))
    rows = []
    for ratio, size, errors in zip(path.ratios, sizes, sample.test_errors(weights, path.intercepts), strict=True):
        bounds = {
            name: balanced_error_bound(
                np.array([ratio, 1.0]) / size,
                counts,
                complexity=complexity,
                max_score=radius / 2,
                failure_probability=_FAILURE_PROBABILITY,
                bound=name,
            )
            for name in ("per_class", "joint")
        }
        rows.append(
            {
                "margin_ratio": ratio,
                "balanced_error": errors.mean(),
                "error_plus": errors[0],
                "error_minus": errors[1],
                "bound": bounds["per_class"],
                "joint_bound": bounds["joint"],
                "margin_plus": ratio / size,
                "margin_minus": 1 / size,
            }
        )
    return rows


def _solve_by_rows(sample: Sample, start: int = 200) -> tuple[SVMSolution, np.ndarray]:
    """The SVM of many examples in few dimensions: solved on some rows, those that fall short added until none does."""
    n = len(sample.components)
    chosen = np.zeros(n, dtype=bool)
    for component in (0, 1):
        members = np.flatnonzero(sample.components == component)
        chosen[members[:start]] = True
    while True:
        rows = np.flatnonzero(chosen)
        features = sample.features[rows]
        machine = solve_svm(features @ features.T, sample.labels[rows])
        scores = sample.features @ (machine.coefficients @ features) + machine.intercept
        short = ~chosen & (sample.labels * scores < 1 - 1e-9)
        if not short.any():
            return machine, rows
        chosen |= short


EXPONENT_REGRET = Study(
    "ldam.exponent_regret",
    draw_exponent_regret,
    cases=cases(
        signal_strength=[1.0, 2.0, 4.0],
        prior=[float(prior) for prior in np.round(np.geomspace(0.001, 0.45, 60), 6)],
        exponents=[EXPONENTS],
        flattest=[0.05],
        num_aspect_ratios=[60],
    ),
    version=2,
)

RATIO_ERRORS = Study(
    "ldam.ratio_errors",
    draw_ratio_errors,
    cases=tuple(
        {"signal_strength": m, "prior": p, "aspect_ratio": g, "num_examples": n, "exponents": EXPONENTS}
        for m, p, g, sizes in (
            (1.5, 0.3, 1.0, (400,)),
            (1.5, 0.1, 1.0, (200, 400, 800, 1600)),
            (1.5, 0.05, 1.0, (400, 800)),
            (2.5, 0.3, 1.0, (400,)),
            (2.5, 0.1, 1.0, (200, 400, 800, 1600)),
            (2.5, 0.02, 1.0, (800, 1600)),
            # beside the maps of the regret: a line of priors and one of aspect ratios at the middle signal
            *((2.0, p, 1.0, (800,)) for p in (0.02, 0.05, 0.1, 0.2, 0.3)),
            *((2.0, 0.1, g, (800,)) for g in (0.3, 0.5, 2.0, 5.0)),
        )
        for n in sizes
    ),
    repetitions=40,
    until={"balanced_error": 0.005},
    max_repetitions=160,
    quick={"num_examples": 60},
)

BOUND_VALUES = Study(
    "ldam.bound_values",
    draw_bound_values,
    cases=tuple(
        {"positives": few, "negatives": many, "signal_strength": m, "dimension": d}
        | {"margin_ratios": (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 16.0)}
        for m, d in ((3.0, 100), (4.0, 50))
        for few, many in ((20, 20), (20, 200), (20, 1000), (20, 5000), (100, 5000), (1000, 5000), (5000, 5000))
    ),
    repetitions=20,
    quick={"negatives": 20},
)
