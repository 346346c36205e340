"""What clipped logits do to networks: flipped labels, memorisation, the threshold that theory says costs nothing.

Cross-entropy of logits clipped to a 2-norm of τ. The threshold is the one with the least mean validation error, where
validation labels are as noisy as those of training. Every figure is a mean over seeds with a 95 % interval.
"""

from ...theory.core.claims import Relation, Sides
from ...theory.core.sources import cite
from ...theory.logit_clip.noise import zero_gap_threshold
from ..core.checks import gap, on_sets
from ..core.evidence import (
    EVEN_DIGITS,
    NOISY_DIGITS,
    at_noise,
    interval,
    measured,
    noise_rate,
    noise_sets,
    noisy_sets,
    run_set,
    sets_with,
)
from ..core.realised import CLIP

_TIGHT, _LOOSE = "clip:max_norm=1", "clip:max_norm=2.5"
_TRIED = ("ce", _TIGHT, _LOOSE)
_AT_40 = [
    NOISY_DIGITS[0],
    *(each for each in noisy_sets(*_TRIED) if noise_rate(each) == 0.4 and each not in NOISY_DIGITS),
]


@on_sets(
    "logit_clip.network_flips",
    folders=[*NOISY_DIGITS, *noisy_sets(*_TRIED)],
    source=cite("wei2023", "tables of test accuracy under label noise"),
    formula="clean balanced test error, epoch and τ chosen on validation images: LogitClip - CE < 0",
    relation=Relation.LESS,
    undecided=("digits_noise_0_2", "cifar_10_noise_0_2", "cifar_10_noise_0_4"),
    wrong={"CE is better": {"pair": ("ce", "chosen")}},
)
def network_flips(folder, pair=("chosen", "ce")):
    """Under flipped labels clipping lowers the error on clean images, if training stops where noisy labels say."""
    value, method = CLIP.chosen(run_set(folder), "selected")
    first, second = (method if name == "chosen" else name for name in pair)
    return gap(folder, (first, second), "selected", text=f"τ = {value:g} of {sorted(CLIP.methods(run_set(folder)))}")


@on_sets(
    "logit_clip.network_memorised",
    folders=[NOISY_DIGITS[1]],
    source=cite("wei2023", "abstract: the clipped loss is bounded, so that noise is not over-fitted"),
    formula="share of the wrong training labels that are predicted: τ = 1 - half of CE's < 0",
    relation=Relation.LESS,
    fails={
        "digits_noise_0_4_padding_0": {
            "right": {"method": "alpha:alpha=3"},
            "corrected_by": "alpha_loss.network_memorised_digits_noise_0_4_padding_0",
        }
    },
    wrong={"CE itself": {"method": "ce"}},
)
def network_memorised(folder, method=_TIGHT, share=0.5):
    """Clipping at τ = 1 keeps a network without augmentation from learning half of the wrong labels that CE learns.

    It does not: a bounded loss is still least where every label is fitted, and clipping leaves the arg max alone.
    """
    runs = run_set(folder)
    seeds = runs.common_seeds(*dict.fromkeys((method, "ce")))
    clipped, plain = (measured(runs, name, "memorised", seeds) for name in (method, "ce"))
    found = interval(clipped - share * plain)
    note = f"{method} {100 * clipped.mean():.1f} %, ce {100 * plain.mean():.1f} %; {runs.evidence(method, 'ce')}"
    return Sides(found.mean, 0.0, found.half_width, note=note)


@on_sets(
    "logit_clip.network_zero_gap",
    folders=_AT_40,
    source=cite(
        "tailbound", "below τ* = log((K-1)(1-η)/η) / c_p noise costs nothing, read as: τ* is the best threshold"
    ),
    formula="clean balanced test error, last epoch: τ = 2.5, where τ* = 2.47 - τ = 1 <= 0",
    relation=Relation.AT_MOST,
    fails={
        "digits_noise_0_4": {
            "right": {"pair": (_TIGHT, _LOOSE)},
            "corrected_by": "logit_clip.network_tight_digits_noise_0_4",
        }
    },
    undecided=("cifar_10_noise_0_4",),
    wrong={"no threshold": {"pair": ("ce", _TIGHT)}},
)
def network_zero_gap(folder, pair=(_LOOSE, _TIGHT)):
    """The largest threshold at which noise costs nothing in the population is as good as a smaller one.

    It is not as good as τ = 1: a network fits a sample, and the tighter bound limits what a wrong label weighs.
    """
    return gap(folder, pair, text=f"τ* = {zero_gap_threshold(0.4, 10):.2f}")


@on_sets(
    "logit_clip.network_tight",
    folders=_AT_40,
    source=cite("wei2023", "tables of test accuracy under label noise; thresholds tuned there are 0.2 to 2"),
    formula="clean balanced test error, last epoch: τ = 1 - τ = 2.5 < 0, τ = 1 - CE < 0",
    relation=Relation.LESS,
    cases=[{"pair": (_TIGHT, "ce")}, {"pair": (_TIGHT, _LOOSE)}],
    undecided=("cifar_10_noise_0_4",),
    wrong={"the looser one is better": {"pair": (_LOOSE, _TIGHT)}},
)
def network_tight(folder, pair):
    """With 40 % of the labels flipped, τ = 1 has a lower error than a threshold near the zero-gap one, or none."""
    return gap(folder, pair)


@on_sets(
    "logit_clip.network_clean",
    folders=[EVEN_DIGITS, *(clean for clean, sets in noise_sets("ce", _TIGHT).items() if {0.0, 0.4} <= set(sets))],
    source=cite("wei2023", "sensitivity on clean data"),
    formula="balanced test error at τ = 1 - that of CE <= 1 point without noise",
    relation=Relation.AT_MOST,
    undecided=("cifar_10_balanced",),
    wrong={"it gains two points": {"cost": -0.02}},
)
def network_clean(folder, cost=0.01):
    """Without flips clipping at τ = 1 costs a point of error at most."""
    return gap(at_noise(folder, 0.0, "ce", _TIGHT), (_TIGHT, "ce"), beside=cost)


@on_sets(
    "logit_clip.network_rare",
    folders=sets_with("ce", "clip"),
    source=cite("tailbound", "a bounded loss gives up the examples that cost most, after a long tail the rare classes"),
    formula="test error of the rarer half of the classes: τ = 1 - CE > 0",
    relation=Relation.GREATER,
    undecided=("digits",),
    wrong={"clipping is better": {"pair": ("ce", "clip")}},
)
def network_rare(folder, pair=("clip", "ce")):
    """After training on a long tail clipping at τ = 1 costs the rare classes."""
    return gap(folder, pair, "rare")
