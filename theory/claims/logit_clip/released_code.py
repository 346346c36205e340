"""What the released code of LogitClip computes where it differs from the paper, written as formulas."""

from fractions import Fraction
from itertools import combinations

import numpy as np

from ...core.claims import Kind, Relation, cases, claim
from ...core.sources import cite
from ...logit_clip.clip import clip_logits, clipped_cross_entropy, released_clip
from ...logit_clip.ranges import loss_range

LENGTHS = (0.05, 0.3, 0.6, 0.9, 1.2, 1.7, 3.0, 7.0, 50.0)
CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
EXCHANGES = {"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat"}


@claim(
    "logit_clip.released_clip",
    source=cite("wei2023", "released code, `temp` = 1/τ"),
    kind=Kind.NUMERIC,
    formula="the released operator is clip(z) with τ = 1/temp",
    relation=Relation.EQUAL,
    rtol=1e-13,
    cases=cases(temperature=[1.5, 0.5, 0.1, 5.0]),
    expected="fails",
    corrected_by="logit_clip.released_lengths",
    right={"temperature": 1.0},
    wrong={"temp = 1.01": {"temperature": 1.01}},
)
def released_clip_is_clip(temperature):
    """The released code clips at τ = 1/temp. It compares the norm with temp and rescales to 1/temp: equal at 1 only."""
    logits = _lengths((*LENGTHS, 1.005))
    return released_clip(logits, temperature), clip_logits(logits, 1 / temperature)


@claim(
    "logit_clip.released_lengths",
    source=cite("tailbound", "released code of Wei et al. (2023)"),
    kind=Kind.NUMERIC,
    formula="released: ||z|| -> ||z|| if ||z|| <= t, else 1/t; it jumps at t by 1/t - t, and reaches up to max(t, 1/t)",
    relation=Relation.EQUAL,
    atol=3e-12,
    cases=cases(temperature=[1.0, 1.5, 0.5, 0.1, 5.0]),
    wrong={"threshold 1/t": {"inverted": True, "temperature": 1.5}, "no jump": {"jump": 0.0, "temperature": 0.5}},
)
def released_lengths(temperature, inverted=False, jump=1.0):
    """The map of lengths: a dead zone up to t, one length beyond it, a jump between."""
    t = temperature
    lengths = np.array([*LENGTHS, t * (1 - 1e-13), t * (1 + 1e-13)])
    found = np.linalg.norm(released_clip(_lengths(lengths), t), axis=1)
    stated = np.where(lengths <= (1 / t if inverted else t), lengths, 1 / t)
    return [*found, found[-1] - found[-2], found.max()], [*stated, jump * (1 / t - t), max(t, 1 / t)]


@claim(
    "logit_clip.released_shortens",
    source=cite("wei2023", "released code: a clipping operator"),
    kind=Kind.NUMERIC,
    formula="released ||z|| <= ||z||",
    relation=Relation.AT_MOST,
    rtol=1e-13,
    cases=cases(temperature=[0.5, 0.1]),
    expected="fails",
    corrected_by="logit_clip.released_lengths",
    right={"temperature": 1.5},
    wrong={"temp = 0.9": {"temperature": 0.9}},
)
def released_shortens(temperature):
    """The released operator never lengthens logits. For temp < 1 it blows those from temp to 1/temp up to 1/temp."""
    logits = _lengths((*LENGTHS, 0.95))
    return np.linalg.norm(released_clip(logits, temperature), axis=1), np.linalg.norm(logits, axis=1)


@claim(
    "logit_clip.released_range",
    source=cite("wei2023", "bounds of the clipped loss, with the released code's operator"),
    kind=Kind.NUMERIC,
    formula="released loss >= log(1 + (K-1) e^(-c/temp)), the least loss at τ = 1/temp; K = 10, temp = 1.5: 1.70",
    relation=Relation.AT_LEAST,
    rtol=1e-12,
    cases=cases(temperature=[1.5, 5.0], threshold=["inverse"]),
    expected="fails",
    corrected_by="logit_clip.released_range_largest",
    right={"temperature": 0.5},
    wrong={"temp = 1.1": {"temperature": 1.1}},
)
def released_range(temperature, threshold):
    """The paper's bounds hold for the released code at τ = 1/temp. For temp = 1.5 the loss reaches 1.05, not 1.70."""
    return _least_released(temperature), loss_range(_threshold(temperature, threshold), 10).low


@claim(
    "logit_clip.released_range_largest",
    source=cite("tailbound", "released code of Wei et al. (2023)"),
    kind=Kind.NUMERIC,
    formula="min of the released loss = log(1 + (K-1) e^(-c max(t, 1/t)))",
    relation=Relation.EQUAL,
    atol=1e-13,
    cases=cases(temperature=[1.0, 1.5, 5.0, 0.5, 0.1], threshold=["largest"]),
    wrong={
        "at τ = 1/t": {"threshold": "inverse", "temperature": 1.5},
        "at τ = t": {"threshold": "direct", "temperature": 0.5},
    },
)
def released_range_largest(temperature, threshold):
    """The bounds hold for the released operator with the larger of temp and 1/temp in the place of τ."""
    return released_range(temperature, threshold)


@claim(
    "logit_clip.asymmetric_rate",
    source=cite("wei2023", "released code, asymmetric noise on CIFAR-10 at 40 %"),
    kind=Kind.EXACT,
    formula="share of all labels that change = nominal rate",
    cases=({"rate": Fraction(2, 5)}, {"rate": Fraction(1, 5)}),
    expected="fails",
    corrected_by="logit_clip.asymmetric_rate_affected",
    right={"affected_only": True},
    wrong={"half of it": {"factor": Fraction(1, 4)}},
)
def asymmetric_rate(rate, affected_only=False, factor=1):
    """Asymmetric noise of 40 % changes 40 % of the labels. Five of ten classes map to themselves: it changes 20 %."""
    classes = [name for name in CIFAR10 if name in EXCHANGES or not affected_only]
    changed = sum(rate for name in classes if EXCHANGES.get(name, name) != name)
    return changed / len(classes), factor * rate


@claim(
    "logit_clip.asymmetric_rate_affected",
    source=cite("tailbound", "released code of Wei et al. (2023)"),
    kind=Kind.EXACT,
    formula="of each affected class a share of the nominal rate changes, of all labels half of it",
    cases=({"rate": Fraction(2, 5)}, {"rate": Fraction(1, 5)}),
    wrong={"all classes are affected": {"share": Fraction(1)}},
)
def asymmetric_rate_affected(rate, share=Fraction(1, 2)):
    """Nominal 40 % is 40 % within truck, bird, deer, cat and dog, and 20 % of the set."""
    return [asymmetric_rate(rate, affected_only=True)[0], asymmetric_rate(rate)[0]], [rate, share * rate]


@claim(
    "logit_clip.dependent_noise",
    source=cite("wei2023", "released code, instance-dependent noise"),
    kind=Kind.EXACT,
    formula="P(label of image i changes) grows with how much image i looks like another class",
    relation=Relation.AT_LEAST,
    cases=({"chosen_by": "subset"},),
    expected="fails",
    corrected_by="logit_clip.dependent_noise_uniform",
    right={"chosen_by": "image"},
    wrong={"by subset, of three": {"num_images": 3}},
)
def dependent_noise(chosen_by, num_images=5):
    """Instance-dependent noise changes the labels of ambiguous images more often.

    The released code draws which images to change uniformly; only the new label depends on the image. Both sides: the
    most and the least ambiguous image's probability, the second raised by a tenth.
    """
    chances = _change_chances(chosen_by, num_images)
    return chances[-1], chances[0] + Fraction(1, 10)


@claim(
    "logit_clip.dependent_noise_uniform",
    source=cite("tailbound", "released code of Wei et al. (2023)"),
    kind=Kind.EXACT,
    formula="P(label of image i changes) = rate for every image: subsets of rate · n images are equally likely",
    cases=({"chosen_by": "subset"},),
    wrong={"chosen by the image": {"chosen_by": "image"}},
)
def dependent_noise_uniform(chosen_by):
    """Enumerating every subset the code may draw, each image is changed with the same probability, the nominal rate."""
    return _change_chances(chosen_by, 5), [Fraction(2, 5)] * 5


@claim(
    "logit_clip.noise_mask",
    source=cite("wei2023", "released code, noisy labels that start as a view of the clean ones"),
    kind=Kind.EXACT,
    formula="number of labels marked as noisy = number changed",
    cases=({"num_changed": 3}, {"num_changed": 1}),
    expected="fails",
    corrected_by="logit_clip.noise_mask_copied",
    right={"copied": True},
    wrong={"five changed": {"num_changed": 5}},
)
def noise_mask(num_changed, copied=False):
    """The mask of noisy labels marks those that were changed.

    Without a copy the clean labels are overwritten with the noisy ones: the mask compares an array with itself.
    """
    clean = np.arange(10) % 5
    noisy = clean.copy() if copied else clean[:]
    noisy[:num_changed] = (noisy[:num_changed] + 1) % 5
    return int((clean != noisy).sum()), num_changed


@claim(
    "logit_clip.noise_mask_copied",
    source=cite("tailbound", "released code of Wei et al. (2023)"),
    kind=Kind.EXACT,
    formula="with a copy of the clean labels the mask counts those changed",
    cases=({"num_changed": 3}, {"num_changed": 1}),
    wrong={"a view": {"copied": False}},
)
def noise_mask_copied(num_changed, copied=True):
    """A copy of the clean labels makes the mask right."""
    return noise_mask(num_changed, copied)


def _lengths(lengths) -> np.ndarray:
    direction = np.array([3.0, -1.0, 0.5, 2.0])
    return np.asarray(lengths)[:, None] * direction / np.linalg.norm(direction)


def _threshold(temperature: float, which: str) -> float:
    return {"inverse": 1 / temperature, "direct": temperature, "largest": max(temperature, 1 / temperature)}[which]


def _least_released(temperature: float) -> float:
    """The least cross-entropy of the released logits, ten classes, over lengths along the best direction."""
    direction = np.where(np.arange(10) == 0, 1.0, -1 / 9)
    lengths = np.concatenate([np.geomspace(1e-3, 1e3, 200), [temperature, 1 / temperature]])
    logits = lengths[:, None] * direction / np.linalg.norm(direction)
    released = released_clip(logits, temperature)
    return float(clipped_cross_entropy(released, np.zeros(len(lengths), dtype=int), 1e6).min())


def _change_chances(chosen_by: str, num_images: int) -> list[Fraction]:
    """Probability that each image's label changes, two of five drawn: uniformly, or in proportion to its ambiguity."""
    chosen = 2 if num_images > 3 else 1
    if chosen_by == "image":
        return [Fraction(chosen * (k + 1), sum(range(1, num_images + 1))) for k in range(num_images)]
    subsets = list(combinations(range(num_images), chosen))
    return [Fraction(sum(k in subset for subset in subsets), len(subsets)) for k in range(num_images)]
