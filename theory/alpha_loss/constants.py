"""What a practitioner gets: α with the trade-off it buys, the temperature that undoes its tilt, the step it needs."""

import math
from collections.abc import Iterator

from ..core.constants import Constant, constant
from ..core.errors import require_classes, require_in
from .landscape import noise_gap_bound
from .losses import exponent, initial_weight

__all__ = ["alpha_entries", "largest_alpha"]

_SHARE = 0.5  # of cross-entropy's first gradient


def largest_alpha(num_classes: int, first_gradient: float) -> float:
    """The largest α whose first gradient is at least a share of cross-entropy's: K^-(1 - 1/α) = share.

    Args:
        num_classes: K >= 2.
        first_gradient: the share, in (0, 1].

    Returns:
        α in [1, ∞]; ∞ where even the soft 0-1 loss keeps the share, 1/K.

    Source:
        Derived here; claim ``alpha_loss.softmax_gradient``.

    Example:
        >>> round(largest_alpha(10, 0.5), 3), largest_alpha(2, 0.5)
        (1.431, inf)
    """
    require_classes(num_classes)
    require_in(first_gradient, "first_gradient", 1e-12, 1)
    u = math.log(1 / first_gradient) / math.log(num_classes)
    return 1 / (1 - u) if u < 1 else math.inf


def alpha_entries(num_classes: int, *, flip_rate: float | None = None) -> Iterator[Constant]:
    """The constants of α-loss.

    Args:
        num_classes: K >= 2.
        flip_rate: known rate of uniform label flips, in (0, 1 - 1/K), or None.

    Raises:
        InputError: for fewer than two classes, or a rate out of range.

    Example:
        >>> {entry.name: round(entry.value, 3) for entry in alpha_entries(10, flip_rate=0.2)}
        {'alpha_loss.alpha': 1.431, 'alpha_loss.noise_gap': 0.38, 'alpha_loss.temperature': 1.431, \
'alpha_loss.learning_rate_factor': 2.0}
    """
    alpha = min(largest_alpha(num_classes, _SHARE), 8.0)
    yield constant(
        name="alpha_loss.alpha",
        value=alpha,
        formula="1 / (1 - log 2 / log K): the first gradient is half of cross-entropy's; 8 at most",
        reason="larger α ignores hopeless examples (flipped labels, outliers), learns more slowly and gives up rare "
        "classes; α < 1 weighs them more and breaks under flips",
        origin="convention",
        claim="alpha_loss.softmax_gradient",
        low=0.8,
        high=8.0,
        range_reason="the released grids; up to 1 the loss of a flipped label has no bound",
    )
    if flip_rate is not None:
        yield constant(
            name="alpha_loss.noise_gap",
            value=min(noise_gap_bound(alpha, num_classes, flip_rate), 1 / exponent(alpha)),
            formula="η (α/(α-1)) (K^(1/α) - 1) / (K - 1 - η K), or the largest loss, α/(α - 1), where that is less",
            reason="clean risk lost to uniform flips at rate η is at most this; smallest_alpha_for_gap inverts it",
            origin="theorem",
            claim="alpha_loss.noise_gap_bound",
            low=0.0,
            high=1 / exponent(alpha),
            range_reason="from α = ∞ to the largest loss, α/(α - 1)",
        )
    yield constant(
        name="alpha_loss.temperature",
        value=alpha,
        formula="divide the logits by α at test time",
        reason="the outputs estimate the α-tilted posterior: over-confident for α > 1, under-confident below",
        origin="theorem",
        claim="alpha_loss.untilting",
        low=0.8,
        high=8.0,
        range_reason="α itself",
    )
    yield constant(
        name="alpha_loss.learning_rate_factor",
        value=1 / initial_weight(num_classes, alpha),
        formula="K^(1 - 1/α)",
        reason="a rate tuned for cross-entropy makes the same first step after this factor; without it α is "
        "confounded with the step size",
        origin="theorem",
        claim="alpha_loss.softmax_gradient",
        low=1 / initial_weight(num_classes, 0.8),
        high=1 / initial_weight(num_classes, 8.0),
        range_reason="of α",
    )
