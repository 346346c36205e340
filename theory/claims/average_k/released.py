"""What public code of average-K does with ties, budgets and epoch losses."""

from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np

from ...core.claims import Kind, cases, claim
from ...core.sources import cite


@claim(
    "average_k.released_threshold",
    source=cite("garcin2021", "released code: midpoint of the sorted probabilities, membership p >= λ"),
    kind=Kind.EXACT,
    formula="labels with p >= (p_(NK) + p_(NK+1)) / 2 number K an input on the data that set the threshold",
    cases=({"scores": ((1, 0), (1, 0)), "size": 1}, {"scores": ((1, 1), (1, 1)), "size": 1}),
    expected="fails",
    corrected_by="average_k.tie_rule",
    right={"scores": ((5, 3), (4, 2))},
    wrong={"a constant scorer of 9 classes": {"scores": ((1,) * 9,) * 3, "size": 4}},
)
def released_threshold(scores, size):
    """The released rule has mean size K. With ties at the threshold all of them are in.

    A constant scorer returns every label and is credited with accuracy 1 at every K; saturated softmax scores (exactly
    0 or 1 in single precision) tie in the same way.
    """
    flat = sorted((Fraction(score) for row in scores for score in row), reverse=True)
    taken = len(scores) * size
    level = (flat[taken - 1] + flat[taken]) / 2
    return Fraction(sum(score >= level for score in flat), len(scores)), Fraction(size)


@claim(
    "average_k.rounded_budget",
    source=cite("lorieul2021", "as adapted in public code: ties drawn until ⌈K N⌉ labels are in"),
    kind=Kind.EXACT,
    formula="⌈K N⌉ / N = K",
    cases=({"mean_size": Fraction(3, 2), "inputs": 2}, {"mean_size": Fraction(3, 2), "inputs": 3}),
    expected="fails",
    corrected_by="average_k.tie_rule",
    right={"inputs": 4},
    wrong={"a budget below 1": {"mean_size": Fraction(1, 10), "inputs": 3}},
)
def rounded_budget(mean_size, inputs):
    """Filling up to the next whole number of labels keeps the mean size at K. It does only where K N is whole."""
    return Fraction(ceil(mean_size * inputs), inputs), mean_size


@claim(
    "average_k.quantile_rule",
    source=cite("lorieul2021", "as adapted in public code: quantile of level 1 - K/C, the lower number, membership >"),
    kind=Kind.EXACT,
    formula="of N C scores without ties, N K exceed the lower quantile of level 1 - K/C",
    cases=cases(num_inputs=[1, 7, 10], num_classes=[3, 10], size=[1, 2]),
    wrong={"the higher number": {"method": "higher"}, "membership >=": {"strict": False}},
)
def quantile_rule(num_inputs, num_classes, size, method: Any = "lower", strict=True):
    """That threshold spends the budget exactly. With ties fewer labels exceed it, and some that equal it are drawn."""
    scores = np.arange(num_inputs * num_classes)
    level = np.quantile(scores, 1 - size / num_classes, method=method)
    return int((scores > level if strict else scores >= level).sum()), num_inputs * size


@claim(
    "average_k.epoch_loss",
    source=cite("tailbound", "definition of the mean"),
    kind=Kind.EXACT,
    formula="Σ batches (size / n) · (mean of the batch) = mean over the n examples",
    cases=cases(losses=[(3, 1, 2), (5, 1, 4, 2, 7, 6, 1)], batch=[2, 3]),
    wrong={"divided by the batches": {"rule": "batches"}, "by one batch less": {"rule": "released"}},
)
def epoch_loss(losses, batch, rule="weighted"):
    """The loss of an epoch is the mean of its batch means weighted by their sizes."""
    parts = [losses[start : start + batch] for start in range(0, len(losses), batch)]
    means = [Fraction(sum(part), len(part)) for part in parts]
    weighted = sum((mean * len(part) for mean, part in zip(means, parts, strict=True)), Fraction(0)) / len(losses)
    computed = {
        "weighted": weighted,
        "batches": sum(means) / Fraction(len(parts)),
        "released": sum(means) / Fraction(max(1, len(parts) - 1)),
    }[rule]
    return computed, Fraction(sum(losses), len(losses))


@claim(
    "average_k.released_epoch_loss",
    source=cite("garcin2021", "released code: the sum of batch means over the last batch index"),
    kind=Kind.EXACT,
    formula="Σ (mean of a batch) / (batches - 1) = mean over the examples",
    cases=({"losses": (1, 1, 1, 1), "batch": 2},),
    expected="fails",
    corrected_by="average_k.epoch_loss",
    right={"rule": "weighted"},
    wrong={"a hundred batches": {"losses": (1,) * 200}},
)
def released_epoch_loss(losses, batch, rule="released"):
    """The reported epoch loss is the mean loss. It is larger by B / (B - 1), twice it for two batches."""
    return epoch_loss(losses, batch, rule)
