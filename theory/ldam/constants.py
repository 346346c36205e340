"""What a practitioner gets from LDAM: margins, the logit scale, the weights and the epoch of deferred re-weighting."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..core.class_counts import ClassCounts
from ..core.constants import Constant, Origin, by, constant
from .bounds import inverse_margin_sum
from .cosine import smallest_scale, smallest_scale_possible
from .margins import bound_costs, class_margins, optimal_margins
from .weights import class_weights, switch_epoch

__all__ = ["ldam_entries"]

# The released code's logit scale, the largest scale in common use, and C of CIFAR-10-LT at ratio 100 (0.5 · 50^(1/4)).
SCALE, LARGEST_SCALE, REFERENCE_COUNT = 30.0, 64.0, 50
BETA = 0.9999


def ldam_entries(
    counts: ClassCounts, *, max_margin: float, gap: float, epochs: int, probability: float, test_priors: Any = None
) -> Iterator[Constant]:
    """The constants of LDAM-DRW.

    Args:
        counts: n_k.
        max_margin: the rarest class's margin, in cosine units, in (0, `gap`).
        gap: `largest_cosine_gap` of this number of classes.
        epochs: length of the training.
        probability: margin-adjusted probability the head must be able to reach, in (1/K, 1).
        test_priors: p_k, or None for balanced test classes.

    Example:
        >>> found = ldam_entries(ClassCounts((5000, 50)), max_margin=0.5, gap=2.0, epochs=200, probability=0.99)
        >>> next(found).value.round(3)
        array([0.158, 0.5  ])
    """
    yield from _margins(counts, max_margin, gap, test_priors)
    yield from _scale(counts, max_margin, probability)
    yield from _deferred(counts, epochs)


def _margins(counts: ClassCounts, max_margin: float, gap: float, test_priors) -> Iterator[Constant]:
    fits = {
        "low": 0.0,
        "high": gap,
        "range_reason": f"K/(K-1): the largest margin a cosine head can give all classes {by('ldam.cosine_gap')}",
    }
    binary = len(counts) == 2
    yield constant(
        "ldam.margins",
        class_margins(counts, max_margin=max_margin),
        "γ_k = max_margin (n_min/n_k)^(1/4)",
        "minimises the sum of per-class margin bounds on the balanced error"
        + ("; the ratio is the theorem, max_margin a convention" if binary else "; a theorem for 2 classes only"),
        Origin.THEOREM if binary else Origin.CONVENTION,
        "ldam.binary_split" if binary else "ldam.free_sum_optimum",
        **fits,
    )
    yield constant(
        "ldam.margins_joint",
        class_margins(counts, exponent=-1 / 3, max_margin=max_margin),
        "γ_k = max_margin (n_min/n_k)^(1/3)",
        "minimises the joint bound on the balanced error, tighter than LDAM's; favours rare classes more",
        Origin.THEOREM if binary else Origin.CONVENTION,
        "ldam.joint_balanced_exponent",
        **fits,
    )
    yield constant(
        "ldam.margins_standard",
        class_margins(counts, exponent=1 / 3, max_margin=max_margin),
        "γ_k = max_margin (n_k/n_max)^(1/3)",
        "minimises the joint bound on the ordinary error (test as imbalanced as training); favours frequent classes",
        Origin.THEOREM if binary else Origin.CONVENTION,
        "ldam.joint_standard_exponent",
        **fits,
    )
    yield constant(
        "ldam.margins_angle",
        class_margins(counts, exponent=-1 / 2, max_margin=max_margin),
        "γ_k = max_margin (n_min/n_k)^(1/2)",
        "MLA's angular rule with τ = 1/2, read as margins; the strongest of the four",
        Origin.CONVENTION,
        "ldam.angle_rule",
        **fits,
    )
    if test_priors is not None:
        margins = optimal_margins(counts, test_priors=test_priors)
        yield constant(
            "ldam.margins_test_priors",
            max_margin * margins / margins.max(),
            "γ_k ∝ p_k^(1/2) n_k^(-1/4), largest max_margin",
            "minimises the bound for the given test priors (the paper's (p_k/n_k)^(1/4) does not)",
            Origin.THEOREM if binary else Origin.CONVENTION,
            "ldam.test_prior_optimum",
            **fits,
        )
    fixed = 0.5 * REFERENCE_COUNT**0.25
    yield constant(
        "ldam.margins_fixed_constant",
        np.minimum(class_margins(counts, constant=fixed), max_margin),
        f"γ_k = min(C n_k^(-1/4), max_margin), C = 0.5 · {REFERENCE_COUNT}^(1/4) = {fixed:.4g}",
        "robust: no class sets another's margin; C is that of CIFAR-10-LT at ratio 100",
        Origin.CONVENTION,
        "ldam.margin_values",
        **fits,
    )
    median = float(np.median(counts.array))
    yield constant(
        "ldam.margins_median",
        np.minimum(class_margins(counts, constant=max_margin / 2 * median**0.25), max_margin),
        f"γ_k = min(max_margin/2 · (n_med/n_k)^(1/4), max_margin), n_med = {median:g}",
        "robust: the median class gets half of max_margin, whatever the rarest class is",
        Origin.CONVENTION,
        "",
        **fits,
    )
    yield constant(
        "ldam.max_margin",
        float(max_margin),
        "largest margin, cosine units",
        "0.5 in the paper for small sets, 0.3 for iNaturalist; as large as training still fits",
        Origin.CONVENTION,
        "",
        0.0,
        gap,
        f"K/(K-1): the simplex gives every class this gap and no head gives more {by('ldam.cosine_gap')}",
    )
    costs, power = bound_costs(counts.array, 1 / len(counts))
    equal = np.full(len(counts), 1 / len(counts))
    best = optimal_margins(counts)
    yield constant(
        "ldam.bound_gain",
        float(inverse_margin_sum(best, costs, power) / inverse_margin_sum(equal, costs, power)),
        "(Σ n_k^(-1/4))² / (K Σ n_k^(-1/2))",
        "what n^(-1/4) margins do to the bound compared with equal margins of the same sum",
        Origin.THEOREM,
        "ldam.gain_binary" if binary else "ldam.gain_k_classes",
        1 / len(counts),
        1.0,
        "never below 1/K, and 1 for balanced classes",
    )


def _scale(counts: ClassCounts, max_margin: float, probability: float) -> Iterator[Constant]:
    margins = class_margins(counts, max_margin=max_margin)
    enough = smallest_scale(margins, probability=probability)
    yield constant(
        "ldam.scale",
        max(SCALE, float(np.ceil(enough))),
        f"s = max(30, log((K-1)p/(1-p)) / (K/(K-1) - max γ)), p = {probability:g}",
        "30 is the released code's value; raised when a cosine head could not reach p with it",
        Origin.CONVENTION,
        "ldam.cosine_scale_values",
        enough,
        max(LARGEST_SCALE, 2 * enough),
        f"below {smallest_scale_possible(margins, probability=probability):.4g} no head reaches p "
        f"{by('ldam.cosine_scale')}; 64 is the largest in common use, where the loss is nearly a hinge",
    )


def _deferred(counts: ClassCounts, epochs: int) -> Iterator[Constant]:
    span = {"low": 0.0, "high": float(len(counts)), "range_reason": "positive weights that sum to K"}
    yield constant(
        "drw.weights",
        class_weights(counts, rule="inverse"),
        "w_k = K (1/n_k) / Σ 1/n_l",
        "makes the second stage minimise the balanced training risk (Algorithm 1)",
        Origin.THEOREM,
        "ldam.reweighted_risk",
        **span,
    )
    yield constant(
        "drw.weights_effective",
        class_weights(counts, rule="effective", beta=BETA),
        f"w_k = K (1/E_k) / Σ 1/E_l, E_k = (1 - β^n_k)/(1 - β), β = {BETA}",
        "the released code's rule: between no weighting (β = 0) and inverse frequency (β → 1)",
        Origin.CONVENTION,
        "ldam.effective_number_limits",
        **span,
    )
    yield constant(
        "drw.switch_epoch",
        switch_epoch(epochs),
        f"0.8 · epochs ({epochs})",
        "with the first annealing of the rate, 160 of 200 in the paper; before it train unweighted",
        Origin.CONVENTION,
        "",
        1,
        int(epochs) - 1,
        "no theory: the paper reports that weighting from the start under-fits frequent classes",
    )
