"""Constants for practitioners: margins, scales, shifts, weights from class counts, each with its reason and its claim.

Every number says where it comes from: ``theorem`` (a claim of the ledger says that it is right for a named criterion),
``convention`` (a choice of the literature without a theorem) or ``sweep`` (tuned on the literature's data sets).
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from .alpha_loss.constants import alpha_entries
from .average_k.calibration import threshold_constants
from .core.class_counts import ClassCounts
from .core.errors import InputError, nearest, require_in, require_positive
from .ldam.bounds import inverse_margin_sum
from .ldam.cosine import largest_cosine_gap, smallest_scale, smallest_scale_possible
from .ldam.margins import bound_costs, class_margins, optimal_margins
from .ldam.weights import class_weights, switch_epoch
from .logit_clip.constants import clip_entries
from .vs_loss.losses import vs_parameters

__all__ = ["Constant", "Constants", "Origin", "derive", "derive_sets", "ledger"]

# The released code's logit scale, the largest scale in common use, and C of CIFAR-10-LT at ratio 100 (0.5 · 50^(1/4)).
SCALE, LARGEST_SCALE, REFERENCE_COUNT = 30.0, 64.0, 50
BETA = 0.9999


class Origin(StrEnum):
    """What a number rests on."""

    THEOREM = "theorem"
    CONVENTION = "convention"
    SWEEP = "sweep"


@dataclass(frozen=True)
class Constant:
    """One number or one vector for a practitioner.

    Args:
        name: ``method.parameter``.
        value: a number, or one for each class, shape (K,).
        formula: how it is computed.
        reason: why this value.
        origin: theorem, convention or sweep.
        claim: id of the claim it rests on; empty when nothing supports the number itself.
        verdict: the ledger's verdict on that claim, ``none`` without one.
        low: smallest sensible value (of each entry).
        high: largest sensible value (of each entry).
        range_reason: where the range comes from.
    """

    name: str
    value: Any
    formula: str
    reason: str
    origin: Origin
    claim: str
    verdict: str
    low: float | None = None
    high: float | None = None
    range_reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        plain = dict(self.__dict__, origin=str(self.origin))
        plain["value"] = self.value.tolist() if isinstance(self.value, np.ndarray) else self.value
        return plain


@dataclass(frozen=True)
class Constants:
    """What `derive` returns: constants by name, in order, and notes on this profile."""

    class_counts: ClassCounts
    entries: tuple[Constant, ...]
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> Constant:
        for constant in self.entries:
            if constant.name == name:
                return constant
        raise KeyError(f"no constant {name!r}; {nearest(name, [c.name for c in self.entries])}")

    def __iter__(self) -> Iterator[Constant]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {
            "classes": list(self.class_counts.names),
            "counts": list(self.class_counts.counts),
            "imbalance_ratio": self.class_counts.imbalance_ratio,
            "constants": {c.name: {k: v for k, v in c.to_dict().items() if k != "name"} for c in self.entries},
            "notes": list(self.notes),
        }

    def snippet(self, loss: str = "ldam") -> str:
        """Return torch code that builds a loss from these constants: ``ldam``, ``la``, ``cdt`` or ``vs``."""
        from .snippets import snippet

        return snippet(self, loss)


@cache
def ledger() -> dict[str, str]:
    """Verdict of every claim, as recorded by ``python -m tailbound.theory.claim_index`` and checked by the tests."""
    return json.loads(files(str(__package__)).joinpath("claims/verdicts.json").read_text(encoding="utf-8"))


def derive(
    source: Any,
    *,
    max_margin: float = 0.5,
    epochs: int = 200,
    probability: float = 0.99,
    test_priors: Any = None,
    noise_rate: float | None = None,
    drop_empty: bool = False,
) -> Constants:
    """Derive the constants of LDAM-DRW, LA, CDT and VS from class counts; for noisy labels also those of noise.

    Args:
        source: counts n_k: a `ClassCounts`, sequence, mapping name → count, or pandas Series.
        max_margin: the rarest class's margin, in cosine units, in (0, K / (K - 1)).
        epochs: length of the training, for the deferred schedule.
        probability: margin-adjusted probability the head must be able to reach, in (1/K, 1).
        test_priors: p_k, when the test classes are known not to be balanced.
        noise_rate: rate η of symmetric label noise, in (0, 1 - 1/K), when labels are known to be noisy.
        drop_empty: leave out classes with 0 examples instead of an error.

    Returns:
        The constants, in the order of the methods.

    Raises:
        InputError: for bad counts or settings, naming value and remedy.

    Example:
        >>> constants = derive([5000, 50])
        >>> constants["ldam.margins"].value.round(3), constants["ldam.margins"].verdict
        (array([0.158, 0.5  ]), 'proved')
    """
    counts = ClassCounts.from_any(source, drop_empty=drop_empty)
    require_positive(max_margin, "max_margin")
    gap = largest_cosine_gap(len(counts))
    if max_margin >= gap:
        raise InputError(f"max_margin must be below K / (K - 1) = {gap:.6g}, the largest cosine gap, got {max_margin}")
    require_in(probability, "probability", 1 / len(counts), 1 - 1e-12)
    entries = [
        *_margins(counts, max_margin, gap, test_priors),
        *_scale(counts, max_margin, probability),
        *_deferred(counts, epochs),
        *_adjustments(counts),
        *_noisy(len(counts), noise_rate),
    ]
    return Constants(counts, tuple(entries), tuple(_notes(counts)))


def derive_sets(scores: Any, mean_size: float, *, failure_probability: float = 0.05) -> tuple[Constant, ...]:
    """Derive the constants of average-K, sets of K labels in the mean, from scores of held-out inputs.

    Args:
        scores: class probabilities, shape (N, C); no labels are needed.
        mean_size: K in (0, C].
        failure_probability: δ of the threshold's range.

    Raises:
        InputError: for scores or sizes that do not fit.

    Example:
        >>> [constant.name for constant in derive_sets([[0.5, 0.3, 0.2], [0.8, 0.1, 0.1]], 1)]
        ['average_k.threshold', 'average_k.tie_fraction', 'average_k.size_error', 'average_k.gain']
    """
    entries = threshold_constants(scores, mean_size, failure_probability=failure_probability)
    return tuple(_constant(**entry) for entry in entries)


def _noisy(num_classes: int, noise_rate: float | None) -> Iterator[Constant]:
    if noise_rate is None:
        return
    if not 0 < noise_rate < 1 - 1 / num_classes:
        limit = f"1 - 1/K = {1 - 1 / num_classes:.4g}"
        raise InputError(f"noise_rate must be > 0 and < {limit}, got {noise_rate}; leave it out when labels are clean")
    for entry in (*alpha_entries(num_classes, flip_rate=noise_rate), *clip_entries(num_classes, noise_rate)):
        yield _constant(**entry)


def _constant(name, value, formula, reason, origin, claim, low=None, high=None, range_reason="") -> Constant:
    """Look up the verdict; an empty claim says that no theorem supports the number."""
    verdict = "none" if not claim else ledger()[claim]
    return Constant(name, value, formula, reason, Origin(origin), claim, verdict, low, high, range_reason)


def _by(claim: str) -> str:
    return f"(claim {claim}: {ledger()[claim]})"


def _margins(counts: ClassCounts, max_margin: float, gap: float, test_priors) -> Iterator[Constant]:
    fits = {
        "low": 0.0,
        "high": gap,
        "range_reason": f"K/(K-1): the largest margin a cosine head can give all classes {_by('ldam.cosine_gap')}",
    }
    binary = len(counts) == 2
    yield _constant(
        "ldam.margins",
        class_margins(counts, max_margin=max_margin),
        "γ_k = max_margin (n_min/n_k)^(1/4)",
        "minimises the sum of per-class margin bounds on the balanced error"
        + ("; the ratio is the theorem, max_margin a convention" if binary else "; a theorem for 2 classes only"),
        Origin.THEOREM if binary else Origin.CONVENTION,
        "ldam.binary_split" if binary else "ldam.free_sum_optimum",
        **fits,
    )
    yield _constant(
        "ldam.margins_joint",
        class_margins(counts, exponent=-1 / 3, max_margin=max_margin),
        "γ_k = max_margin (n_min/n_k)^(1/3)",
        "minimises the joint bound on the balanced error, tighter than LDAM's; favours rare classes more",
        Origin.THEOREM if binary else Origin.CONVENTION,
        "ldam.joint_balanced_exponent",
        **fits,
    )
    yield _constant(
        "ldam.margins_standard",
        class_margins(counts, exponent=1 / 3, max_margin=max_margin),
        "γ_k = max_margin (n_k/n_max)^(1/3)",
        "minimises the joint bound on the ordinary error (test as imbalanced as training); favours frequent classes",
        Origin.THEOREM if binary else Origin.CONVENTION,
        "ldam.joint_standard_exponent",
        **fits,
    )
    yield _constant(
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
        yield _constant(
            "ldam.margins_test_priors",
            max_margin * margins / margins.max(),
            "γ_k ∝ p_k^(1/2) n_k^(-1/4), largest max_margin",
            "minimises the bound for the given test priors (the paper's (p_k/n_k)^(1/4) does not)",
            Origin.THEOREM if binary else Origin.CONVENTION,
            "ldam.test_prior_optimum",
            **fits,
        )
    fixed = 0.5 * REFERENCE_COUNT**0.25
    yield _constant(
        "ldam.margins_fixed_constant",
        np.minimum(class_margins(counts, constant=fixed), max_margin),
        f"γ_k = min(C n_k^(-1/4), max_margin), C = 0.5 · {REFERENCE_COUNT}^(1/4) = {fixed:.4g}",
        "robust: no class sets another's margin; C is that of CIFAR-10-LT at ratio 100",
        Origin.CONVENTION,
        "ldam.margin_values",
        **fits,
    )
    median = float(np.median(counts.array))
    yield _constant(
        "ldam.margins_median",
        np.minimum(class_margins(counts, constant=max_margin / 2 * median**0.25), max_margin),
        f"γ_k = min(max_margin/2 · (n_med/n_k)^(1/4), max_margin), n_med = {median:g}",
        "robust: the median class gets half of max_margin, whatever the rarest class is",
        Origin.CONVENTION,
        "",
        **fits,
    )
    yield _constant(
        "ldam.max_margin",
        float(max_margin),
        "largest margin, cosine units",
        "0.5 in the paper for small sets, 0.3 for iNaturalist; as large as training still fits",
        Origin.CONVENTION,
        "",
        0.0,
        gap,
        f"K/(K-1): the simplex gives every class this gap and no head gives more {_by('ldam.cosine_gap')}",
    )
    costs, power = bound_costs(counts.array, 1 / len(counts))
    equal = np.full(len(counts), 1 / len(counts))
    best = optimal_margins(counts)
    yield _constant(
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
    yield _constant(
        "ldam.scale",
        max(SCALE, float(np.ceil(enough))),
        f"s = max(30, log((K-1)p/(1-p)) / (K/(K-1) - max γ)), p = {probability:g}",
        "30 is the released code's value; raised when a cosine head could not reach p with it",
        Origin.CONVENTION,
        "ldam.cosine_scale_values",
        enough,
        max(LARGEST_SCALE, 2 * enough),
        f"below {smallest_scale_possible(margins, probability=probability):.4g} no head reaches p "
        f"{_by('ldam.cosine_scale')}; 64 is the largest in common use, where the loss is nearly a hinge",
    )


def _deferred(counts: ClassCounts, epochs: int) -> Iterator[Constant]:
    span = {"low": 0.0, "high": float(len(counts)), "range_reason": "positive weights that sum to K"}
    yield _constant(
        "drw.weights",
        class_weights(counts, rule="inverse"),
        "w_k = K (1/n_k) / Σ 1/n_l",
        "makes the second stage minimise the balanced training risk (Algorithm 1)",
        Origin.THEOREM,
        "ldam.reweighted_risk",
        **span,
    )
    yield _constant(
        "drw.weights_effective",
        class_weights(counts, rule="effective", beta=BETA),
        f"w_k = K (1/E_k) / Σ 1/E_l, E_k = (1 - β^n_k)/(1 - β), β = {BETA}",
        "the released code's rule: between no weighting (β = 0) and inverse frequency (β → 1)",
        Origin.CONVENTION,
        "ldam.effective_number_limits",
        **span,
    )
    yield _constant(
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


def _adjustments(counts: ClassCounts) -> Iterator[Constant]:
    # tuned values of Kini et al. on CIFAR-10/100 at ratio 100; grids of the re-implementations by number of classes
    few = len(counts) <= 20
    cdt_gamma, cdt_high = (0.2, 0.4) if few else (0.1, 0.2) if len(counts) <= 500 else (0.05, 0.1)
    gamma, tau = (0.15, 1.25) if few else (0.05, 0.75)
    grid = "grids in use: [0, 0.4] for CIFAR-10, [0, 0.2] for CIFAR-100, [0, 0.1] for iNaturalist"
    yield _constant(
        "la.tau",
        1.0,
        "τ = 1",
        "the one value for which the minimiser is the balanced Bayes rule",
        Origin.THEOREM,
        "vs_loss.la_consistency",
        0.5,
        2.5,
        "tuned networks: 2.25 (CIFAR-10-LT), 1.375 (CIFAR-100-LT), 0.875 (CIFAR-100-STEP)",
    )
    yield _constant(
        "la.iota",
        vs_parameters(counts, tau=1.0).iota,
        "ι_k = τ log π_k, added to the logits in training only",
        "consistent for the balanced error; smaller for rare classes",
        Origin.THEOREM,
        "vs_loss.la_consistency",
        2.5 * float(np.log(counts.priors.min())),
        0.0,
        "τ log π_k for τ from 0 to 2.5, the largest tuned value",
    )
    yield _constant(
        "cdt.gamma",
        cdt_gamma,
        "middle of the grid for this number of classes",
        "asks rare classes for larger margins; the larger, the more they are weighed down at the start",
        Origin.SWEEP,
        "vs_loss.scale_starts_backwards",
        0.0,
        cdt_high,
        grid,
    )
    yield _constant(
        "cdt.delta",
        vs_parameters(counts, gamma=cdt_gamma).delta,
        "Δ_k = (n_k/n_max)^γ, multiplied into the logits in training only",
        "asks rare classes for larger margins; weighs them down at the start, by Δ_k itself",
        Origin.SWEEP,
        "vs_loss.scale_starts_backwards",
        0.0,
        1.0,
        "relative to the largest class",
    )
    vs = vs_parameters(counts, gamma=gamma, tau=tau)
    yield _constant(
        "vs.gamma",
        gamma,
        "tuned: 0.15 on CIFAR-10-LT, 0.05 on CIFAR-100-LT",
        "small, as the shift does part of the work; smaller for more classes",
        Origin.SWEEP,
        "",
        0.0,
        cdt_high,
        grid,
    )
    yield _constant(
        "vs.tau",
        tau,
        "tuned: 1.25 on CIFAR-10-LT, 0.75 on CIFAR-100-LT",
        "tuned with gamma; 1 alone would be consistent for the balanced error",
        Origin.SWEEP,
        "vs_loss.la_consistency",
        0.5,
        1.5,
        "tuned values in the literature; some re-implementations exchange them with gamma",
    )
    yield _constant(
        "vs.delta",
        vs.delta,
        "Δ_k = (n_k/n_max)^γ",
        "as for cdt.delta; with the shift the weight at the start is Δ_k (1 - softmax(ι)_k)",
        Origin.SWEEP,
        "vs_loss.initial_weight_multiclass",
        0.0,
        1.0,
        "relative to the largest class",
    )
    yield _constant(
        "vs.iota",
        vs.iota,
        "ι_k = τ log π_k",
        "offsets the backward start of Δ; tuned, not consistent for the balanced error (that needs τ = 1, Δ = 1)",
        Origin.SWEEP,
        "vs_loss.initial_weight_multiclass",
        1.5 * float(np.log(counts.priors.min())),
        0.0,
        "τ log π_k for τ from 0 to 1.5, the largest tuned value",
    )
    if len(counts) == 2:
        yield _constant(
            "svm.margin_ratio",
            float(counts.imbalance_ratio**0.25),
            "δ = (n_max/n_min)^(1/4), rare over frequent",
            "the cost-sensitive SVM that realises LDAM's split on separable data; moves only the threshold",
            Origin.THEOREM,
            "vs_loss.margin_ratio_path",
            1.0,
            float(counts.imbalance_ratio),
            "from equal margins to the inverse of the counts",
        )


def _notes(counts: ClassCounts) -> Iterator[str]:
    smallest = min(counts.counts)
    rarest = [name for name, n in zip(counts.names, counts.counts, strict=True) if n == smallest]
    if smallest == 1:
        second = min((n for n in counts.counts if n > 1), default=1)
        shown = ", ".join(rarest[:3]) + (f" and {len(rarest) - 3} more" if len(rarest) > 3 else "")
        yield (
            f"Class {shown} has one example and alone sets the scale of ldam.margins: without it every other margin "
            f"would be {second**0.25:.3g} times as large. Use ldam.margins_fixed_constant or ldam.margins_median."
        )
    if len(counts) > 2:
        yield (
            "For more than two classes the n^(-1/4) margins minimise the bound only if margins could be redistributed "
            f"freely; a bias cannot do that {_by('ldam.bias_realises_every_split')}, and may raise their sum."
        )
    if counts.imbalance_ratio == 1:
        yield "The classes are balanced: all margins, weights and factors are equal, and LDAM is a uniform margin."
    yield f"Margins are in cosine units: use a normalised head, logits in [-1, 1], and multiply by ldam.scale. {_HEAD}"


_HEAD = "With an ordinary linear head the margins mean nothing."
