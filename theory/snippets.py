"""Torch code, as text, that builds a loss from derived constants. Needs only torch where it is run."""

import numpy as np

from .core.errors import InputError, nearest

__all__ = ["SNIPPETS", "snippet"]

_LDAM = '''\
"""LDAM with deferred re-weighting for {classes} classes, derived by tailbound.

Logits are cosines: normalise the features and the rows of the last layer, no bias.
Call `loss.start_epoch(epoch)` at the start of every epoch (from 0).
"""
import torch
import torch.nn.functional as F

MARGINS = {margins}
WEIGHTS = {weights}
SCALE, SWITCH_EPOCH = {scale}, {switch}


class LDAMLoss(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("margins", torch.tensor(MARGINS), persistent=False)
        self.register_buffer("weights", torch.ones(len(MARGINS)), persistent=False)

    def start_epoch(self, epoch):
        weights = torch.tensor(WEIGHTS) if epoch >= SWITCH_EPOCH else torch.ones(len(WEIGHTS))
        self.weights.copy_(weights)

    def forward(self, cosines, labels):
        margins = F.one_hot(labels, cosines.shape[1]) * self.margins
        return F.cross_entropy(SCALE * (cosines.float() - margins), labels, weight=self.weights)


loss = LDAMLoss()
'''

_VS = '''\
"""{title} for {classes} classes, derived by tailbound. Test with the plain logits."""
import torch
import torch.nn.functional as F

DELTA = {delta}
IOTA = {iota}


class {name}(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("delta", torch.tensor(DELTA), persistent=False)
        self.register_buffer("iota", torch.tensor(IOTA), persistent=False)

    def forward(self, logits, labels):
        return F.cross_entropy(self.delta * logits.float() + self.iota, labels)


loss = {name}()
'''

SNIPPETS = {
    "ldam": "LDAM with deferred re-weighting",
    "la": "Logit adjustment",
    "cdt": "Class-dependent temperatures",
    "vs": "VS-loss",
}


def snippet(constants, loss: str = "ldam") -> str:
    """Return the code of one loss; see `SNIPPETS`."""
    if loss not in SNIPPETS:
        raise InputError(f"unknown loss {loss!r}; {nearest(loss, SNIPPETS)}")
    K = len(constants.class_counts)
    if loss == "ldam":
        return _LDAM.format(
            classes=K,
            margins=_literal(constants["ldam.margins"].value),
            weights=_literal(constants["drw.weights"].value),
            scale=constants["ldam.scale"].value,
            switch=constants["drw.switch_epoch"].value,
        )
    delta = np.ones(K) if loss == "la" else constants[f"{loss}.delta"].value
    iota = np.zeros(K) if loss == "cdt" else constants[f"{loss}.iota"].value
    title, name = SNIPPETS[loss], f"{loss.upper()}Loss"
    return _VS.format(title=title, classes=K, name=name, delta=_literal(delta), iota=_literal(iota))


def _literal(values: np.ndarray) -> str:
    return "[" + ", ".join(f"{float(v)!r}" for v in values) + "]"
