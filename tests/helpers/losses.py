"""The battery of losses in torch: every loss beside its numpy formula, those that are cross-entropy, and batches."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from tailbound.nn_validation.alpha_loss import AlphaLoss
from tailbound.nn_validation.baselines import (
    ClassBalancedCrossEntropy,
    CrossEntropy,
    FocalLoss,
    WeightedCrossEntropy,
)
from tailbound.nn_validation.core.objective import Objective
from tailbound.nn_validation.ldam import LDAMLoss
from tailbound.nn_validation.logit_clip import LogitClip
from tailbound.nn_validation.vs_loss.losses import CDTLoss, GroupVSLoss, LALoss, VSLoss
from tailbound.theory.alpha_loss.losses import alpha_softmax_loss
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.losses import cross_entropy, focal_loss
from tailbound.theory.ldam.losses import ldam_loss
from tailbound.theory.ldam.margins import class_margins
from tailbound.theory.ldam.weights import class_weights
from tailbound.theory.logit_clip.clip import clip_logits
from tailbound.theory.vs_loss.losses import group_parameters, group_vs_loss, vs_loss, vs_parameters

COUNTS = ClassCounts((500, 120, 40, 9, 3))
CELLS = np.array([[400, 100], [20, 100], [30, 10], [8, 1], [1, 2]])
K = len(COUNTS)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
HALF = (torch.float16, torch.bfloat16)
cross_entropy_torch = torch.nn.functional.cross_entropy


class Following(CrossEntropy):
    """Weighs the classes by how badly the last epoch went for them: a loss with a memory."""

    def end_epoch(self, statistics):
        """See `Objective.end_epoch`."""
        share = np.array([1.05 - (accuracy or 0.0) for accuracy in statistics["train_accuracy"]])
        self.set_weight(share / share.mean())


@dataclass(frozen=True)
class Case:
    """A loss, its numpy formula of (logits, labels, groups), and the weights it starts with."""

    build: Callable
    formula: Callable
    weight: np.ndarray | None = None
    scale: float = 1.0


def of_margins(margins, scale=30.0):
    return lambda z, y, g: ldam_loss(z, y, margins, scale=scale)


def of_vs(**settings):
    return lambda z, y, g: vs_loss(z, y, vs_parameters(COUNTS, **settings))


def of_alpha(alpha):
    return Case(
        partial(AlphaLoss, COUNTS, alpha=alpha), lambda z, y, g: alpha_softmax_loss(z, y, alpha, max_weight=1e4)
    )


def of_clip(inner, formula, norm):
    return Case(
        lambda **options: LogitClip(inner(COUNTS, **options), 1.5, norm=norm),
        lambda z, y, g: formula(clip_logits(z, 1.5, norm=norm), y),
    )


def plain(z, y, g):
    return cross_entropy(z, y)


LOSSES = {
    "ce": Case(partial(CrossEntropy, COUNTS), plain),
    "weighted": Case(partial(WeightedCrossEntropy, COUNTS), plain, class_weights(COUNTS)),
    "class-balanced": Case(
        partial(ClassBalancedCrossEntropy, COUNTS, beta=0.99), plain, class_weights(COUNTS, rule="effective", beta=0.99)
    ),
    "focal": Case(partial(FocalLoss, COUNTS, focusing=2.0), lambda z, y, g: focal_loss(z, y, focusing=2.0)),
    "focal 1/2": Case(partial(FocalLoss, COUNTS, focusing=0.5), lambda z, y, g: focal_loss(z, y, focusing=0.5)),
    "ldam": Case(partial(LDAMLoss, COUNTS), of_margins(class_margins(COUNTS, max_margin=0.5)), scale=30),
    "ldam, 1/3": Case(
        partial(LDAMLoss, COUNTS, exponent=1 / 3, max_margin=0.3, scale=10.0),
        of_margins(class_margins(COUNTS, exponent=-1 / 3, max_margin=0.3), 10.0),
        scale=10,
    ),
    "ldam, fixed C": Case(
        partial(LDAMLoss, COUNTS, constant=0.9), of_margins(np.minimum(0.9 * COUNTS.array**-0.25, 0.5)), scale=30
    ),
    "m": Case(partial(LDAMLoss, COUNTS, exponent=0.0), of_margins(np.full(K, 0.5)), scale=30),
    "la": Case(partial(LALoss, COUNTS, tau=1.5), of_vs(tau=1.5)),
    "cdt": Case(partial(CDTLoss, COUNTS, gamma=0.2), of_vs(gamma=0.2)),
    "vs": Case(partial(VSLoss, COUNTS, gamma=0.15, tau=1.25), of_vs(gamma=0.15, tau=1.25)),
    "group vs": Case(
        partial(GroupVSLoss, CELLS, gamma=0.3, tau=0.7),
        lambda z, y, g: group_vs_loss(z, y, g, group_parameters(CELLS, gamma=0.3, tau=0.7)),
    ),
}
LOSSES |= {f"alpha {alpha:g}": of_alpha(alpha) for alpha in (0.7, 1 + 1e-7, 2.0, np.inf)}
LOSSES |= {f"clip {norm:g}": of_clip(CrossEntropy, cross_entropy, norm) for norm in (1.0, 1.5, 2.0, np.inf)}
LOSSES["clip of focal"] = of_clip(partial(FocalLoss, focusing=2.0), partial(focal_loss, focusing=2.0), 2.0)
NEUTRAL = {
    "ce": CrossEntropy,
    "ce with counts": partial(CrossEntropy, COUNTS),
    "objective": Objective,
    "focal": partial(FocalLoss, focusing=0.0),
    "alpha 1": partial(AlphaLoss, alpha=1.0),
    "clip, far": lambda **options: LogitClip(CrossEntropy(COUNTS, **options), 1e6),
    "ldam": partial(LDAMLoss, COUNTS, max_margin=0.0, scale=1.0),
    "la": partial(LALoss, COUNTS, tau=0.0),
    "cdt": partial(CDTLoss, COUNTS, gamma=0.0),
    "vs": partial(VSLoss, COUNTS, gamma=0.0, tau=0.0),
    "vs, plain epochs": partial(VSLoss, COUNTS, plain_epochs=2),
    "group vs": partial(GroupVSLoss, CELLS, gamma=0.0, tau=0.0),
}
every_loss = pytest.mark.parametrize("case", LOSSES.values(), ids=LOSSES)
without_groups = pytest.mark.parametrize(
    "case",
    [case for name, case in LOSSES.items() if name != "group vs"],
    ids=[name for name in LOSSES if name != "group vs"],
)
every_neutral = pytest.mark.parametrize("build", NEUTRAL.values(), ids=NEUTRAL)
every_device = pytest.mark.parametrize("device", DEVICES)


def groups_of(logits):
    """A group for each example, whatever the loss makes of it."""
    shape = logits.shape[:1] + logits.shape[2:] if logits.dim() > 1 else ()
    return torch.arange(math.prod(shape), device=logits.device).reshape(shape) % 2


def call(loss, logits, targets, **more):
    """Call a loss as the battery does: with groups where it takes them."""
    also = (groups_of(logits),) if isinstance(loss, GroupVSLoss) else ()
    return loss(logits, targets, *also, **more)


def batch(seed, shape=(6, K), size=1.0, dtype=torch.float64):
    """Logits in [-size, size], labels and probabilities."""
    chance = torch.Generator().manual_seed(seed)
    logits = size * (2 * torch.rand(shape, generator=chance, dtype=torch.float64) - 1)
    axis = min(1, len(shape) - 1)
    labels = torch.randint(shape[axis], shape[:axis] + shape[axis + 1 :], generator=chance)
    mixed = torch.softmax(3 * torch.randn(shape, generator=chance, dtype=torch.float64), axis)
    return logits.to(dtype), labels, mixed.to(dtype)
