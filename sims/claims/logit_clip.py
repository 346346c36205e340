"""LogitClip by simulation: uneven noise that is drawn, ambiguous labels, and what a linear model learns by heart."""

import numpy as np

from ...theory.core.claims import Kind, Relation, claim
from ...theory.core.sources import cite
from ..core.checks import drawn, matching, surely
from ..logit_clip import CERTAIN, MEMORISATION, NOISE_GAP

UNCLIPPED = 1e3


@claim(
    "logit_clip.simulated_noise_excess",
    source=cite("zhang2018", "Theorem 2, for LogitClip as in Wei et al. (2023); constants derived here"),
    kind=Kind.SIMULATION,
    formula="0 <= R^η(f*) - R^η(f*_η) <= the sharp class-dependent bound, for transitions drawn at random",
    relation=Relation.AT_MOST,
    atol=1e-12,
    cases=tuple({"norm": p, "noise_rate": 0.4, "draws": 3} for p in (2.0, float("inf"))),
    full_cases=tuple({"norm": p, "noise_rate": 0.2, "draws": 40} for p in (1.0, 2.0, float("inf"))),
    wrong={"a twentieth of it": {"factor": 0.05}},
    assumptions=("the clean label is a function of x",),
)
def simulated_noise_excess(norm, noise_rate, draws, factor=1.0):
    """The bound holds in every draw, far from attained."""
    rows = drawn(
        NOISE_GAP, draws, noise="drawn", noise_rate=noise_rate, signal_strength=CERTAIN, norm=norm, num_classes=5,
        num_points=3, max_norms=(0.5, 3.0),
    )  # fmt: skip
    return [*-rows["noisy"], *rows["noisy"]], [*0 * rows["bound"], *factor * rows["bound"]]


@claim(
    "logit_clip.simulated_ambiguous_gap",
    source=cite("tailbound", "logit_clip.zero_gap without its assumption"),
    kind=Kind.SIMULATION,
    formula="E R(f*_η) - R(f*) - 4 standard errors > 0 at τ = 1, symmetric noise 0.4, K = 10, p = 2, where τ* = 2.47",
    relation=Relation.GREATER,
    cases=({"signal_strength": 2.0, "max_norm": 1.0, "draws": 10},),
    full_cases=({"signal_strength": 3.0, "max_norm": 2.0, "draws": 60},),
    wrong={"certain labels": {"signal_strength": CERTAIN}},
)
def simulated_ambiguous_gap(signal_strength, max_norm, draws):
    """On Gaussian classes that overlap, noise costs something below the zero-gap threshold of certain labels, too."""
    rows = drawn(
        NOISE_GAP, draws, noise="symmetric", noise_rate=0.4, signal_strength=signal_strength, norm=2.0, num_classes=10,
        num_points=6, max_norms=(max_norm,),
    )  # fmt: skip
    gap = rows["clean"].to_numpy()
    return gap.mean() - 4 * gap.std(ddof=1) / np.sqrt(draws), 1e-9


@claim(
    "logit_clip.simulated_memorisation",
    source=cite("wei2023", "memorisation of noisy labels"),
    kind=Kind.SIMULATION,
    formula="large steps: share of wrong labels learnt at τ = 1 < unclipped, accuracy on new points >, by 4 s.e.",
    relation=Relation.GREATER,
    cases=({"rate": 2000.0, "draws": 8},),
    full_cases=({"rate": 2000.0, "draws": 40},),
    wrong={"opposite order": {"order": -1}},
)
def simulated_memorisation(rate, draws, order=1):
    """A linear model of more features than examples learns fewer wrong labels with clipping, if its steps are large.

    Each side: the mean difference of both on the same data, less 4 standard errors, beside 0.
    """
    rows = drawn(
        MEMORISATION, draws, noise_rate=0.4, signal_strength=4.0, num_classes=4, num_examples=100, dimension=150,
        steps=100, rate=rate, max_norms=(1.0, UNCLIPPED),
    )  # fmt: skip
    clipped, free = (matching(rows, max_norm=max_norm) for max_norm in (1.0, UNCLIPPED))
    differences = [free["memorised"].to_numpy() - clipped["memorised"].to_numpy()]
    differences.append(clipped["accuracy"].to_numpy() - free["accuracy"].to_numpy())
    return surely(*(order * difference for difference in differences))


@claim(
    "logit_clip.simulated_memorisation_any_step",
    source=cite("wei2023", "memorisation of noisy labels, read as a property of the clipped loss"),
    kind=Kind.SIMULATION,
    formula="share of wrong labels learnt at τ = 1 < unclipped, by 4 standard errors",
    relation=Relation.GREATER,
    cases=({"rate": 2.0, "draws": 8},),
    expected="fails",
    corrected_by="logit_clip.simulated_memorisation",
    right={"rate": 2000.0},
    wrong={"half the step": {"rate": 1.0}},
)
def simulated_memorisation_any_step(rate, draws):
    """Clipping prevents memorisation whatever the steps.

    With small ones the model fits every wrong label at every τ: each example's best clipped logits still name its own.
    Large steps carry the logits far beyond τ, where gradients fall as 1 / ||z||: clipping acts as an early stop.
    """
    return simulated_memorisation(rate, draws)


@claim(
    "logit_clip.simulated_underfit",
    source=cite("wei2023", "tuned thresholds, read as an optimum between under-fitting and memorisation"),
    kind=Kind.SIMULATION,
    formula="accuracy on new points at τ = 0.01 < that at τ = 1, by 4 standard errors",
    relation=Relation.GREATER,
    cases=({"rate": 2.0, "draws": 8}, {"rate": 2000.0, "draws": 8}),
    expected="fails",
    corrected_by="logit_clip.simulated_small_threshold",
    right={"pair": (1.0, UNCLIPPED), "rate": 2.0},
    wrong={"τ = 0.1": {"pair": (0.1, 1.0)}},
)
def simulated_underfit(rate, draws, pair=(0.01, 1.0)):
    """A linear model with too small a threshold under-fits: accuracy against τ has its best in between.

    It has its worst there: the first step from zero is the rule of the class means, and a tiny τ leaves it nearly that.
    What under-fits in networks is not the loss of given features.
    """
    small, large = _accuracies(rate, draws, pair)
    return surely(large - small)


@claim(
    "logit_clip.simulated_small_threshold",
    source=cite("tailbound", "thresholds of Wei et al. (2023) in a linear model"),
    kind=Kind.SIMULATION,
    formula="accuracy on new points at τ = 0.01 > that at τ = 1 < that without clipping, small steps, by 4 s.e.",
    relation=Relation.GREATER,
    cases=({"rate": 2.0, "draws": 8},),
    full_cases=({"rate": 2.0, "draws": 40},),
    wrong={"opposite order": {"order": -1}},
)
def simulated_small_threshold(rate, draws, order=1):
    """With small steps a linear model is worst at a threshold in between, better without, and best at a tiny one."""
    tiny, middle, none = _accuracies(rate, draws, (0.01, 1.0, UNCLIPPED))
    return surely(order * (tiny - middle), order * (none - middle))


def _accuracies(rate: float, draws: int, max_norms: tuple[float, ...]) -> list[np.ndarray]:
    rows = drawn(
        MEMORISATION, draws, noise_rate=0.4, signal_strength=4.0, num_classes=4, num_examples=100, dimension=150,
        steps=100, rate=rate, max_norms=max_norms,
    )  # fmt: skip
    return [matching(rows, max_norm=max_norm)["accuracy"].to_numpy() for max_norm in max_norms]
