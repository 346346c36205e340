"""Studies of hard-margin machines: errors of the CS-SVM and the GS-SVM, training margins, separability, high imbalance.

All that a case names is in the words of the theory: `norms` and `inner` are ||μ_+||, ||μ_-|| and ⟨μ_+, μ_-⟩ (of the
groups 1 and 2 in `GROUP_ERRORS`), `aspect_ratio` is d / n. Errors, margins and intercepts are those of the classifier
with ||w|| = 1, ``norm`` is ||w|| at required margin 1 of the majority. What is not separable has NaN.
"""

from functools import cache
from typing import Any

import numpy as np
from scipy.special import ndtri

from ...theory.core.fixed_point import NotConverged
from ...theory.core.gaussian import density, tail
from ...theory.vs_loss.asymptotics import HardMargin, hard_margin
from ...theory.vs_loss.mixture import GaussianMixture
from ...theory.vs_loss.separability import separability
from ...theory.vs_loss.svm import NotSeparable, margin_ratio_path, solve_svm
from ..core.study import Study, cases
from .gaussian import Sample, draw_sample, stored

__all__ = [
    "CS_SVM_ERRORS",
    "GROUP_ERRORS",
    "HIGH_IMBALANCE",
    "HISTOGRAM_EDGES",
    "SEPARABILITY",
    "TRAINING_MARGINS",
    "draw_critical_dimension",
    "draw_cs_svm_errors",
    "draw_group_errors",
    "draw_high_imbalance",
    "draw_training_margins",
    "ks_distance",
    "sample_training_margins",
    "wasserstein_distance",
]

HISTOGRAM_EDGES = np.linspace(0.0, 6.0, 61)
"""Edges of the histograms of normalised training margins in `TRAINING_MARGINS`."""


def draw_cs_svm_errors(
    rng, *, prior, norms, inner, aspect_ratio, num_examples, margin_ratios, directly: bool = False
) -> list[dict]:
    """Draw the cost-sensitive SVM at several margin ratios, one row each; one fit serves all.

    A ratio None stands for the one that is optimal in the limit; its row is left out where that is 0 or infinite.
    """
    mixture = GaussianMixture.binary(prior, norms, inner)
    sample = draw_sample(rng, mixture, num_examples, round(aspect_ratio * num_examples), directly=directly)
    best = _optimal_ratio(prior, tuple(norms), inner, aspect_ratio) if None in margin_ratios else np.nan
    wanted = [(best if ratio is None else ratio, ratio is None) for ratio in margin_ratios]
    wanted = [(ratio, optimal) for ratio, optimal in wanted if 0 < ratio < np.inf]
    ratios = np.array([ratio for ratio, _ in wanted])
    try:
        machine = solve_svm(sample.gram, sample.labels)
    except NotSeparable:
        empty = np.full(len(ratios), np.nan)
        columns = {name: empty for name in ("error_plus", "error_minus", "balanced_error", "error")}
        columns |= {name: empty for name in ("norm", "intercept", "support_plus", "support_minus")}
    else:
        path = margin_ratio_path(machine, ratios)
        errors = sample.test_errors(path.coefficients @ sample.features, path.intercepts)
        support = _support_shares(sample, machine.support)
        columns = {
            "error_plus": errors[:, 0],
            "error_minus": errors[:, 1],
            "balanced_error": errors.mean(axis=1),
            "error": errors @ mixture.priors,
            "norm": path.norms,
            "intercept": path.intercepts / path.norms,
            "support_plus": np.full(len(ratios), support[0]),
            "support_minus": np.full(len(ratios), support[1]),
        }
    return [
        {"margin_ratio": ratio, "optimal": optimal} | stored({name: values[k] for name, values in columns.items()})
        for k, (ratio, optimal) in enumerate(wanted)
    ]


def draw_group_errors(rng, *, group_prior, norms, inner, aspect_ratio, num_examples, margin_ratios) -> list[dict]:
    """Draw the group-sensitive SVM (balanced classes) at several required margins of the smaller group, one row each.

    ``deo`` is the difference of equal opportunity R_{+,1} − R_{+,2}; ``group_gap`` averages it over both classes.
    """
    mixture = GaussianMixture.groups(group_prior, norms, inner)
    sample = draw_sample(rng, mixture, num_examples, round(aspect_ratio * num_examples))
    small = np.array([True, True, False, False])
    rows = []
    for ratio in margin_ratios:
        required: Any = np.where(small, ratio, 1.0)[sample.components]
        try:
            machine = solve_svm(sample.gram, sample.labels, required)
            errors = sample.test_errors(machine.coefficients @ sample.features, machine.intercept)
            norm, intercept = machine.norm, machine.intercept / machine.norm
        except NotSeparable:
            errors, norm, intercept = np.full(4, np.nan), np.nan, np.nan
        rows.append(
            {"margin_ratio": ratio}
            | stored(
                {
                    "error_plus_1": errors[0],
                    "error_minus_1": errors[1],
                    "error_plus_2": errors[2],
                    "error_minus_2": errors[3],
                    "deo": errors[0] - errors[2],
                    "group_gap": errors[:2].mean() - errors[2:].mean(),
                    "error": errors @ mixture.priors,
                    "norm": norm,
                    "intercept": intercept,
                }
            )
        )
    return rows


def draw_training_margins(rng, *, prior, norms, inner, aspect_ratio, num_examples, margin_ratio) -> list[dict]:
    """Draw the training margins of both classes, one row each, beside their limit law max(δ_c u, l_c + G).

    The law has an atom on the margin. ``ks`` is the Kolmogorov distance of the excess over the required margin, so that
    both atoms lie at 0; ``ks_unaligned`` leaves them where they are, which no sample size brings together; ``w2`` is
    the Wasserstein distance of the margins as they are.
    """
    limit = hard_margin(GaussianMixture.binary(prior, norms, inner), aspect_ratio, margin_ratio)
    found = sample_training_margins(rng, limit, norms, inner, num_examples)
    rows = []
    for component, (name, margins) in enumerate(zip(("plus", "minus"), found, strict=True)):
        edge, limit_edge = margins[0], float(limit.required[component] * limit.margin)
        rows.append(
            {
                "label": name,
                "count": len(margins),
                "boundary": edge,
                "mean": margins.mean(),
                "support": (margins == edge).mean(),
                "ks": ks_distance(margins - edge + limit_edge, limit, component),
                "ks_unaligned": ks_distance(margins, limit, component),
                "w2": wasserstein_distance(margins, limit_edge, float(limit.test_margins[component])),
                "histogram": np.histogram(margins, HISTOGRAM_EDGES)[0],
            }
        )
    return rows


def sample_training_margins(rng, limit: HardMargin, norms, inner, num_examples) -> list[np.ndarray]:
    """Draw a training set of the setting of `limit`: the normalised training margins of each class, in order.

    Support vectors have exactly the required margin, which comes first.
    """
    mixture = GaussianMixture.binary(float(limit.priors[0]), norms, inner)
    sample = draw_sample(rng, mixture, num_examples, round(float(limit.aspect_ratio) * num_examples))
    machine = solve_svm(sample.gram, sample.labels)
    path = margin_ratio_path(machine, [float(limit.margin_ratio)])
    scores = sample.gram @ path.coefficients[0] + path.intercepts[0]
    margins = sample.labels * scores / path.norms[0]
    edges = limit.required[sample.components] / path.norms[0]
    margins = np.maximum(margins, edges)
    margins[machine.support] = edges[machine.support]
    return [np.sort(margins[sample.components == component]) for component in (0, 1)]


def draw_critical_dimension(rng, *, prior, norms, inner, num_examples) -> dict:
    """Draw the smallest dimension in which a training set is separable by a hyperplane.

    The noise directions are added one after the other, so one draw answers for every aspect ratio: a share of draws
    with ``critical_aspect_ratio`` <= γ is the share that is separable at d = γ n. At d = n every set is.
    """
    mixture = GaussianMixture.binary(prior, norms, inner)
    sample = draw_sample(rng, mixture, num_examples, num_examples, directly=True)
    low, high = mixture.coordinates.shape[1] - 1, num_examples
    while high - low > 1:
        middle = (low + high) // 2
        if _separable(sample, middle):
            high = middle
        else:
            low = middle
    return {"critical_dimension": high, "critical_aspect_ratio": high / num_examples}


def draw_high_imbalance(
    rng, *, dimension, rarity, signal_exponent, size_exponent, signal_scale, ratio_exponents
) -> list[dict]:
    """Draw the SVM of n = d^(1 + c) examples of which n_+ = d^(1 - (a - c)) are positive, ||μ||² = scale · d^b.

    One row for each margin ratio d^r. Counts are fixed, at least 1.

    Args:
        rng: the generator.
        dimension: d.
        rarity: a − c: the prior is d^(-a).
        signal_exponent: b.
        size_exponent: c.
        signal_scale: the factor of ||μ||².
        ratio_exponents: each r.
    """
    n = round(dimension ** (1 + size_exponent))
    positive = max(1, round(dimension ** (1 - rarity)))
    mixture = GaussianMixture.antipodal(positive / n, np.sqrt(signal_scale * dimension**signal_exponent))
    components = (np.arange(n) >= positive).astype(int)
    sample = draw_sample(rng, mixture, n, dimension, components=components)
    ratios = dimension ** np.asarray(ratio_exponents, dtype=float)
    try:
        path = margin_ratio_path(solve_svm(sample.gram, sample.labels), ratios)
        errors = sample.test_errors(path.coefficients @ sample.features, path.intercepts)
    except NotSeparable:
        errors = np.full((len(ratios), 2), np.nan)
    return [
        {"ratio_exponent": exponent, "positives": positive}
        | stored({"error_plus": plus, "error_minus": minus, "balanced_error": (plus + minus) / 2})
        for exponent, (plus, minus) in zip(ratio_exponents, errors, strict=True)
    ]


def ks_distance(values: np.ndarray, limit: HardMargin, component: int) -> float:
    """Kolmogorov distance of an empirical law from the law of the training margins of a component.

    Args:
        values: the sample.
        limit: of one setting.
        component: which of its laws.
    """
    points, counts = np.unique(values, return_counts=True)
    upto = np.cumsum(counts) / len(values)
    edge = limit.required[component] * limit.margin
    at = limit.training_margin_cdf(points)[component]
    before = np.where(points > edge, at, 0.0)
    return float(max(np.abs(upto - at).max(), np.abs(upto - counts / len(values) - before).max()))


def wasserstein_distance(values: np.ndarray, edge: float, mean: float) -> float:
    """Wasserstein-2 distance of an empirical law from the law of max(edge, mean + G), exact.

    The square is Σ_i ∫ (x_(i) − q(p))² dp over p in ((i-1)/n, i/n), q the quantile function of the law.
    """
    ordered, n = np.sort(values), len(values)
    cuts = ndtri(np.arange(n + 1) / n)
    low, high = np.maximum(cuts[:-1], edge - mean), np.maximum(cuts[1:], edge - mean)
    mass, first = tail(low) - tail(high), density(low) - density(high)
    with np.errstate(invalid="ignore"):  # inf times a density of 0
        ends = [np.where(np.isfinite(cut), cut * density(cut), 0.0) for cut in (low, high)]
    second = mass + ends[0] - ends[1]
    shifted = mean - ordered  # above the edge the integrand is (shifted + g)²
    above = shifted**2 * mass + 2 * shifted * first + second
    return float(np.sqrt(max(0.0, (above + (edge - ordered) ** 2 * (1 / n - mass)).sum())))


@cache
def _optimal_ratio(prior, norms, inner, aspect_ratio) -> float:
    return float(hard_margin(GaussianMixture.binary(prior, norms, inner), aspect_ratio).optimal_margin_ratio)


def _support_shares(sample: Sample, support: np.ndarray) -> np.ndarray:
    """Share of each component's examples that support the margin, shape (J,)."""
    size = len(sample.mixture.priors)
    return np.bincount(sample.components[support], minlength=size) / np.bincount(sample.components, minlength=size)


def _separable(sample: Sample, dimension: int) -> bool:
    """Whether a hyperplane separates the labels in the first coordinates.

    Near the critical dimension the margin may be beyond what a Gram matrix resolves; the linear program decides then.
    """
    features = sample.features[:, :dimension]
    try:
        solve_svm(features @ features.T, sample.labels)
    except NotSeparable:
        return False
    except NotConverged:
        return separability(features, sample.labels).separable
    return True


_TABLE = (  # the settings whose limits are tabulated and whose finite-size deviation is measured
    {"prior": 0.2, "norms": (2.0, 2.0), "inner": -4.0, "aspect_ratio": 1.5},
    {"prior": 0.1, "norms": (3.0, 1.5), "inner": 0.0, "aspect_ratio": 1.0},
    {"prior": 0.1, "norms": (3.0, 2.0), "inner": 0.0, "aspect_ratio": 0.4},
    {"prior": 0.1, "norms": (3.0, 2.0), "inner": 0.0, "aspect_ratio": 0.8},
)
_CURVE = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 14.0, None)


def _antipodal(signal_strength: float) -> dict:
    return {"norms": (signal_strength, signal_strength), "inner": -(signal_strength**2)}


CS_SVM_ERRORS = Study(
    "vs_loss.cs_svm_errors",
    draw_cs_svm_errors,
    cases=(
        # finite sizes: the deviation from the limit shrinks
        *(
            setting | {"num_examples": n, "margin_ratios": (1.0, 3.0)}
            for setting in _TABLE
            for n in (100, 200, 400, 800)
        ),
        # errors against the margin ratio, and against the aspect ratio at ratio 1 and at the optimum
        *(
            {"prior": 0.1, "norms": (3.0, 2.0), "inner": 0.0, "aspect_ratio": g, "num_examples": 400}
            | {"margin_ratios": _CURVE}
            for g in (0.25, 0.3, 0.4, 0.6, 0.8, 1.2, 2.0, 3.0, 5.0)
        ),
        # errors against the prior, three signals
        *(
            {"prior": p, **_antipodal(m), "aspect_ratio": 0.5, "num_examples": 400, "margin_ratios": (1.0, None)}
            for m in (1.25, 1.5, 1.75)
            for p in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
        ),
        # errors against the margin ratio, three priors
        *(
            {"prior": p, **_antipodal(2.5), "aspect_ratio": 0.5, "num_examples": 400}
            | {"margin_ratios": (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)}
            for p in (0.1, 0.15, 0.2)
        ),
    ),
    repetitions=40,
    until={"error_plus": 0.012},
    max_repetitions=320,
    quick={"num_examples": 40},
)

GROUP_ERRORS = Study(
    "vs_loss.group_errors",
    draw_group_errors,
    cases=(
        *(
            {"group_prior": 0.1, "norms": (3.0, 2.0), "inner": 0.0, "aspect_ratio": 1.0, "num_examples": n}
            | {"margin_ratios": (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)}
            for n in (100, 200, 400, 800)
        ),
        *(
            {"group_prior": 0.1, "norms": norms, "inner": 0.0, "aspect_ratio": g, "num_examples": 400}
            | {"margin_ratios": (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)}
            for norms, aspect_ratios in (((3.0, 3.0), (0.4, 0.6, 1.0, 1.5, 2.0, 3.0)), ((3.0, 2.0), (0.5, 2.0)))
            for g in aspect_ratios
        ),
    ),
    repetitions=40,
    until={"deo": 0.01},
    max_repetitions=160,
    quick={"num_examples": 60},
)

TRAINING_MARGINS = Study(
    "vs_loss.training_margins",
    draw_training_margins,
    cases=tuple(
        setting | {"num_examples": n, "margin_ratio": ratio}
        for setting in (
            {"prior": 0.15, **_antipodal(1.75), "aspect_ratio": 0.4},
            {"prior": 0.1, "norms": (3.0, 2.0), "inner": 0.0, "aspect_ratio": 0.8},
        )
        for ratio in (1.0, 3.0)
        for n in (125, 250, 500, 1000, 2000)
    ),
    repetitions=20,
    quick={"num_examples": 60},
)

SEPARABILITY = Study(
    "vs_loss.separability",
    draw_critical_dimension,
    cases=tuple(
        setting | {"num_examples": n}
        for setting in (
            {"prior": 0.5, "norms": (0.0, 0.0), "inner": 0.0},
            {"prior": 0.5, **_antipodal(1.0)},
            {"prior": 0.1, "norms": (3.0, 2.0), "inner": 0.0},
        )
        for n in (50, 100, 200, 400)
    ),
    repetitions=100,
    quick={"num_examples": 20},
)

_STEPS = [round(0.05 * k, 2) for k in range(1, 20)]
_PHASES = {
    "size_exponent": [0.1],
    "signal_scale": [0.75],
    "ratio_exponents": [tuple(round(0.1 * k, 1) for k in range(11))],
}

HIGH_IMBALANCE = Study(
    "vs_loss.high_imbalance",
    draw_high_imbalance,
    cases=(
        *cases(dimension=[250, 1000], rarity=_STEPS, signal_exponent=_STEPS, **_PHASES),
        *cases(dimension=[2000], rarity=_STEPS[1::2], signal_exponent=[0.3], **_PHASES),
    ),
    repetitions=2,
    quick={"dimension": 60},
)
