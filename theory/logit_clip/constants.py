"""What a practitioner gets from LogitClip: the threshold at which symmetric noise of a known rate costs nothing."""

from collections.abc import Iterator

import numpy as np

from ..core.constants import Constant, constant
from .noise import symmetric_gap, zero_gap_threshold
from .ranges import loss_range

__all__ = ["clip_entries"]

_LEAST_ODDS = 2.0  # of the label against one other class: below, a clipped fit says next to nothing


def clip_entries(num_classes: int, noise_rate: float, *, norm: float = 2.0) -> Iterator[Constant]:
    """The constants of LogitClip.

    Args:
        num_classes: K >= 2.
        noise_rate: η of symmetric label noise, in (0, 1 - 1/K).
        norm: p of the clipped norm.

    Raises:
        InputError: for a rate or norm out of range.

    Example:
        >>> {entry.name: round(entry.value, 3) for entry in clip_entries(10, 0.4)}
        {'logit_clip.max_norm': 2.469, 'logit_clip.gap_at_twice': 0.463, 'logit_clip.largest_loss': 4.808}
    """
    threshold = zero_gap_threshold(noise_rate, num_classes, norm=norm)
    floor = float(np.log(_LEAST_ODDS)) * threshold / float(np.log((num_classes - 1) * (1 - noise_rate) / noise_rate))
    yield constant(
        name="logit_clip.max_norm",
        value=threshold,
        formula=f"τ = log((K-1)(1-η)/η) / c_p, η = {noise_rate:g}, p = {norm:g}; clip z to z min(1, τ/|z|_p)",
        reason="the largest threshold at which the best fit to the noisy labels is that of the clean ones, if each "
        "input has one clean label and the model is free to fit; networks on noisy digits did better below it",
        origin="theorem",
        claim="logit_clip.zero_gap",
        low=min(floor, threshold),
        high=threshold,
        range_reason="below, still no gap but a flatter fit (odds of 2 at the lower end); above, noise is fitted; "
        "where clean labels are ambiguous, noise costs something at every threshold",
    )
    yield constant(
        name="logit_clip.gap_at_twice",
        value=symmetric_gap(noise_rate, 2 * threshold, num_classes, norm=norm),
        formula="log(p_max(2τ) / (1 - η)), p_max the largest clipped probability",
        reason="what a threshold twice as large costs in clean risk, in nats",
        origin="theorem",
        claim="logit_clip.symmetric_gap",
        low=0.0,
        high=-float(np.log1p(-noise_rate)),
        range_reason="from no clipping needed to no clipping at all, -log(1 - η)",
    )
    yield constant(
        name="logit_clip.largest_loss",
        value=loss_range(threshold, num_classes, norm=norm).high,
        formula="largest clipped cross-entropy at τ",
        reason="no example, flipped or not, can cost more",
        origin="theorem",
        claim="logit_clip.largest_loss",
        low=float(np.log(num_classes)),
        high=float(np.logaddexp(0, np.log(num_classes - 1) + 2 * threshold)),
        range_reason="from the loss at z = 0 to the stated log(1 + (K-1) e^(2τ)), exact for p = ∞ only",
    )
