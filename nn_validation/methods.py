"""Methods by name: a loss, the head it needs and when it re-weights. ``ldam-drw:exponent=0.5`` sets an option."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor

from ..theory.core.class_counts import ClassCounts
from ..theory.core.errors import InputError, nearest
from .alpha_loss import AlphaLoss
from .baselines import ClassBalancedCrossEntropy, CrossEntropy, FocalLoss
from .core.objective import Objective
from .core.schedules import Schedule, schedule
from .ldam import LDAMLoss
from .logit_clip import LogitClip
from .vs_loss.losses import CDTLoss, LALoss, VSLoss

__all__ = ["METHODS", "Method", "method"]


@dataclass(frozen=True)
class Method:
    """How to train: what `train` needs to know of a method.

    Args:
        name: as given, options included.
        title: for tables.
        loss: makes the objective from class counts.
        head: ``linear`` or ``cosine``.
        schedule: of re-weighting or re-sampling.
        options: passed to `loss`.
    """

    name: str
    title: str
    loss: Callable[..., Objective | LogitClip]
    head: str
    schedule: Schedule
    options: dict[str, Any]

    def objective(self, class_counts: ClassCounts) -> Objective | LogitClip:
        """Return the loss for these counts."""
        return self.loss(class_counts, **self.options)

    def start_epoch(
        self, objective: Any, class_counts: ClassCounts, labels: Tensor, epoch: int, epochs: int, chance: Generator
    ) -> Tensor:
        """Tell the loss that an epoch (from 0) begins, with the schedule's weights; return the order of the examples.

        Args:
            objective: from `objective`.
            class_counts: n_k of the labels.
            labels: of the training examples, shape (N,), on the CPU.
            epoch: from 0.
            epochs: of the whole training.
            chance: generator of the order.

        Returns:
            Indices, shape (N,): a permutation, or draws with replacement where the schedule re-samples.
        """
        objective.start_epoch(epoch, epochs)
        if self.schedule.what == "weights":
            objective.set_weight(self.schedule.class_weights(class_counts, epoch, epochs=epochs))
        shares = torch.from_numpy(self.schedule.sampling_weights(class_counts, epoch, epochs=epochs))
        if (shares == shares[0]).all():
            return torch.randperm(len(labels), generator=chance)
        return torch.multinomial(shares[labels], len(labels), replacement=True, generator=chance)


def _clipped(class_counts: ClassCounts, *, max_norm: float = 1.0, norm: float = 2.0) -> LogitClip:
    return LogitClip(CrossEntropy(class_counts), max_norm, norm=norm)


def _methods() -> dict[str, Method]:
    table: list[tuple[str, str, Callable[..., Objective | LogitClip], str, str, dict[str, Any]]] = [
        ("ce", "CE", CrossEntropy, "linear", "none", {}),
        ("ce-rs", "CE, re-sampling", CrossEntropy, "linear", "rs", {}),
        ("ce-drw", "CE-DRW", CrossEntropy, "linear", "drw", {}),
        ("ce-drs", "CE-DRS", CrossEntropy, "linear", "drs", {}),
        ("cb", "class-balanced CE", ClassBalancedCrossEntropy, "linear", "none", {}),
        ("focal", "focal", FocalLoss, "linear", "none", {}),
        ("m-drw", "M-DRW", LDAMLoss, "cosine", "drw", {"exponent": 0.0}),
        ("ldam", "LDAM", LDAMLoss, "cosine", "none", {}),
        ("ldam-drw", "LDAM-DRW", LDAMLoss, "cosine", "drw", {}),
        ("ldam-drs", "LDAM-DRS", LDAMLoss, "cosine", "drs", {}),
        ("la", "LA", LALoss, "linear", "none", {}),
        ("cdt", "CDT", CDTLoss, "linear", "none", {}),
        ("vs", "VS", VSLoss, "linear", "none", {}),
        ("vs-mixed", "VS, mixed start", VSLoss, "linear", "none", {"plain_epochs": 5}),
        ("alpha", "α-loss", AlphaLoss, "linear", "none", {}),
        ("clip", "LogitClip of CE", _clipped, "linear", "none", {}),
    ]
    return {
        name: Method(name, title, loss, head, schedule(when), options)
        for name, title, loss, head, when, options in table
    }


METHODS = _methods()


def method(spec: str) -> Method:
    """Return a method from ``name`` or ``name:option=number,...``; options are the loss's own arguments.

    Raises:
        InputError: for an unknown method or option, or a value that is no number.

    Example:
        >>> method("ldam-drw:exponent=0.5,scale=10").options
        {'exponent': 0.5, 'scale': 10}
    """
    name, _, settings = spec.partition(":")
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}; {nearest(name, METHODS)}")
    base, options = METHODS[name], {}
    shared = {*inspect.signature(Objective).parameters, "others"}
    known = [option for option in inspect.signature(base.loss).parameters if option not in shared]
    for setting in filter(None, settings.split(",")):
        option, _, value = setting.partition("=")
        if option not in known:
            raise InputError(f"method {name!r} has no option {option!r}; known: {', '.join(known) or 'none'}")
        try:
            options[option] = int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError:
            raise InputError(f"option {option!r} of method {name!r} must be a number, got {value!r}") from None
    return Method(spec, base.title, base.loss, base.head, base.schedule, base.options | options)
