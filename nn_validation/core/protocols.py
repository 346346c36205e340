"""How long and how fast a network is trained: protocols by name, and a run, everything a record depends on."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ...theory.core.errors import InputError, nearest, require_in, require_positive
from ..methods import method

__all__ = ["PROTOCOLS", "Protocol", "Run", "protocol"]

_WHOLE = {"depth": (8, 1202), "width": (1, 10**4), "epochs": (1, 10**6), "batch_size": (1, 10**9)}
_WHOLE |= {"warmup": (0, 10**6), "padding": (0, 10**4), "evaluate_every": (1, 10**6)}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Protocol:
    """How long and how fast to train.

    Args:
        depth: of `CifarResNet`.
        width: of its first stage.
        epochs: passes over the training set.
        batch_size: examples a step.
        learning_rate: the largest rate.
        warmup: epochs of linear warm-up; epoch e (from 0) has the rate times (e + 1) / warmup.
        decay: ``step`` multiplies by 0.01 at `drops`, ``cosine`` and ``linear`` fall to 0 after the warm-up.
        drops: epochs of the steps.
        momentum: of SGD.
        nesterov: Nesterov's form of it.
        weight_decay: of all parameters.
        padding: of the random crops, pixels.
        flip: mirror every second image.
        evaluate_every: epochs between evaluations on validation and test images; the last epoch is always evaluated.

    Raises:
        InputError: for a value out of its range.
    """

    depth: int = 32
    width: int = 16
    epochs: int = 200
    batch_size: int = 128
    learning_rate: float = 0.1
    warmup: int = 5
    decay: Literal["step", "cosine", "linear"] = "step"
    drops: tuple[int, ...] = (160, 180)
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 2e-4
    padding: int = 4
    flip: bool = True
    evaluate_every: int = 5

    def __post_init__(self):
        for name, (low, high) in _WHOLE.items():
            if not (_is_whole(getattr(self, name)) and low <= getattr(self, name) <= high):
                raise InputError(f"{name} must be a whole number in {low}..{high}, got {getattr(self, name)!r}")
        for name in ("nesterov", "flip"):
            if not isinstance(getattr(self, name), bool):
                raise InputError(f"{name} must be true or false, got {getattr(self, name)!r}")
        if not (isinstance(self.drops, tuple) and all(_is_whole(drop) and drop >= 0 for drop in self.drops)):
            raise InputError(f"drops must be epochs, whole numbers >= 0, got {self.drops!r}")
        require_positive(self.learning_rate, "learning_rate")
        require_in(self.momentum, "momentum", 0, 1)
        require_in(self.weight_decay, "weight_decay", 0, 1)
        if self.decay not in ("step", "cosine", "linear"):
            raise InputError(f"decay must be 'step', 'cosine' or 'linear', got {self.decay!r}")
        if self.nesterov and not self.momentum:
            raise InputError("nesterov needs momentum > 0, got 0; set nesterov to false")

    def rate(self, epoch: int) -> float:
        """Learning rate of an epoch (from 0).

        Example:
            >>> [round(Protocol().rate(epoch), 6) for epoch in (0, 4, 159, 160, 180)]
            [0.02, 0.1, 0.1, 0.001, 1e-05]
        """
        if epoch < self.warmup:
            return self.learning_rate * (epoch + 1) / self.warmup
        if self.decay == "step":
            return self.learning_rate * 0.01 ** sum(epoch >= drop for drop in self.drops)
        left = 1 - (epoch - self.warmup) / max(self.epochs - self.warmup, 1)
        return self.learning_rate * (left if self.decay == "linear" else (1 - math.cos(math.pi * left)) / 2)

    def evaluated(self, epoch: int) -> bool:
        """Whether validation and test images are looked at after this epoch."""
        return (epoch + 1) % self.evaluate_every == 0 or epoch + 1 == self.epochs


PROTOCOLS = {
    "paper": Protocol(),
    "fast": Protocol(depth=14, epochs=40, warmup=2, decay="cosine", drops=(), evaluate_every=4),
    "terminal": Protocol(
        depth=14, epochs=40, warmup=2, decay="linear", drops=(), nesterov=True, weight_decay=0.0, padding=0, flip=False
    ),
    "digits": Protocol(depth=8, epochs=40, batch_size=32, warmup=2, drops=(32, 36), padding=1, flip=False),
}
"""``paper``: Cao et al. (2019), Sec. 4 and released code, for CIFAR. ``fast``: chosen on validation images.

With ``fast``, LDAM-DRW errs on 25.8 % of CIFAR-10-LT's validation images (of nine classes; those of the most frequent
one are all trained on), CE-DRW on 26.1 %, and LDAM alone still under-fits (41.6 %). In 20 epochs of a ResNet-20, at the
same cost, LDAM-DRW errs on 29.7 %, with a linear decay on 39.9 %. To compare methods, ``epochs=70``: training error
falls to 1 to 9 %, and validation images put plain losses, LDAM, deferred weights and the group of LDAM-DRW, LA, CDT and
VS-loss in the order of 200 epochs (focal 36.3, CE 34.2, LDAM 33.8, CE-DRW 27.4, M-DRW 26.9, LA 26.7, LDAM-DRW and CDT
25.6, VS-loss 24.1 %, one seed; class-balanced weights, 40.2 %, are out of theirs). Without crops (``padding=0``) forty
epochs do, at larger errors (CE 48.8, LDAM 42.2, LDAM-DRW 36.1, VS-loss 35.5 %, three seeds; with crops 38.6, 42.6,
26.0, 33.0 %). Four times the steps (batches of 32) do not: CE gains as much as LDAM.
``terminal`` goes past zero training error, without augmentation or weight decay.
"""


@dataclass(frozen=True)
class Run:
    """Everything a record depends on.

    Args:
        method: as `methods.method` reads it.
        protocol: how to train.
        seed: of weights, order and augmentation, >= 0.
        mixed_precision: bfloat16 where the hardware computes in it.
        compiled: use `torch.compile`.
    """

    method: str
    protocol: Protocol = field(default_factory=Protocol)
    seed: int = 0
    mixed_precision: bool = True
    compiled: bool = False

    def __post_init__(self):
        method(self.method)
        if not (_is_whole(self.seed) and 0 <= self.seed < 2**31):
            raise InputError(f"seed must be a whole number in 0..2**31 - 1, got {self.seed!r}")

    def plain(self) -> dict[str, Any]:
        """Return plain data."""
        plain = asdict(self)
        plain["protocol"]["drops"] = list(self.protocol.drops)
        return plain


def protocol(name: str, **changes: Any) -> Protocol:
    """Return a protocol of `PROTOCOLS` by name, with some settings changed."""
    if name not in PROTOCOLS:
        raise InputError(f"unknown protocol {name!r}; {nearest(name, PROTOCOLS)}")
    known = asdict(PROTOCOLS[name])
    for key in changes:
        if key not in known:
            raise InputError(f"protocol {name!r} has no setting {key!r}; {nearest(key, known)}")
    return Protocol(**known | changes)
