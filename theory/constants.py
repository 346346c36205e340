"""Constants for practitioners: margins, scales, shifts, weights from class counts, each with reason and claim."""

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

from .alpha_loss.constants import alpha_entries
from .average_k.calibration import threshold_entries
from .core.class_counts import ClassCounts
from .core.constants import Constant, Origin, by, ledger
from .core.errors import InputError, nearest, require_in, require_positive
from .ldam.constants import ldam_entries
from .ldam.cosine import largest_cosine_gap
from .logit_clip.constants import clip_entries
from .vs_loss.constants import vs_entries

__all__ = ["Constant", "Constants", "Origin", "derive", "derive_sets", "ledger"]


@dataclass(frozen=True)
class Constants:
    """What `derive` returns: constants by name, in order, and notes on this profile."""

    class_counts: ClassCounts
    entries: tuple[Constant, ...]
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> Constant:
        for constant in self.entries:
            if constant.name == name:
                return constant
        raise KeyError(f"no constant {name!r}; {nearest(name, [c.name for c in self.entries])}")

    def __iter__(self) -> Iterator[Constant]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {
            "classes": list(self.class_counts.names),
            "counts": list(self.class_counts.counts),
            "imbalance_ratio": self.class_counts.imbalance_ratio,
            "constants": {c.name: {k: v for k, v in c.to_dict().items() if k != "name"} for c in self.entries},
            "notes": list(self.notes),
        }

    def snippet(self, loss: str = "ldam") -> str:
        """Return torch code that builds a loss from these constants: ``ldam``, ``la``, ``cdt`` or ``vs``."""
        from .snippets import snippet

        return snippet(self, loss)


def derive(
    source: Any,
    *,
    max_margin: float = 0.5,
    epochs: int = 200,
    probability: float = 0.99,
    test_priors: Any = None,
    noise_rate: float | None = None,
    drop_empty: bool = False,
) -> Constants:
    """Derive constants from class counts: LDAM-DRW, LA, CDT, VS; for noisy labels also α-loss and LogitClip.

    Args:
        source: counts n_k: a `ClassCounts`, sequence, mapping name → count, or pandas Series.
        max_margin: the rarest class's margin, in cosine units, in (0, K / (K - 1)).
        epochs: length of the training, for the deferred schedule.
        probability: margin-adjusted probability the head must be able to reach, in (1/K, 1).
        test_priors: p_k, when the test classes are known not to be balanced.
        noise_rate: rate η of symmetric label noise, in (0, 1 - 1/K), when labels are known to be noisy.
        drop_empty: leave out classes with 0 examples instead of an error.

    Returns:
        The constants, in the order of the methods.

    Raises:
        InputError: for bad counts or settings, naming value and remedy.

    Example:
        >>> constants = derive([5000, 50])
        >>> constants["ldam.margins"].value.round(3), constants["ldam.margins"].verdict
        (array([0.158, 0.5  ]), 'proved')
    """
    counts = ClassCounts.from_any(source, drop_empty=drop_empty)
    require_positive(max_margin, "max_margin")
    gap = largest_cosine_gap(len(counts))
    if max_margin >= gap:
        raise InputError(f"max_margin must be below K / (K - 1) = {gap:.6g}, the largest cosine gap, got {max_margin}")
    require_in(probability, "probability", 1 / len(counts), 1 - 1e-12)
    entries = [
        *ldam_entries(
            counts, max_margin=max_margin, gap=gap, epochs=epochs, probability=probability, test_priors=test_priors
        ),
        *vs_entries(counts),
        *_noisy(len(counts), noise_rate),
    ]
    return Constants(counts, tuple(entries), tuple(_notes(counts)))


def derive_sets(scores: Any, mean_size: float, *, failure_probability: float = 0.05) -> tuple[Constant, ...]:
    """Derive the constants of average-K, sets of K labels in the mean, from scores of held-out inputs.

    Args:
        scores: class probabilities, shape (N, C); no labels are needed.
        mean_size: K in (0, C].
        failure_probability: δ of the threshold's range.

    Raises:
        InputError: for scores or sizes that do not fit.

    Example:
        >>> [constant.name for constant in derive_sets([[0.5, 0.3, 0.2], [0.8, 0.1, 0.1]], 1)]
        ['average_k.threshold', 'average_k.tie_fraction', 'average_k.size_error', 'average_k.gain']
    """
    return tuple(threshold_entries(scores, mean_size, failure_probability=failure_probability))


def _noisy(num_classes: int, noise_rate: float | None) -> Iterator[Constant]:
    if noise_rate is None:
        return
    if not (isinstance(noise_rate, Real) and 0 < noise_rate < 1 - 1 / num_classes):
        limit = f"1 - 1/K = {1 - 1 / num_classes:.4g}"
        raise InputError(
            f"noise_rate must be > 0 and < {limit}, got {noise_rate!r}; leave it out when labels are clean"
        )
    yield from alpha_entries(num_classes, flip_rate=noise_rate)
    yield from clip_entries(num_classes, noise_rate)


def _notes(counts: ClassCounts) -> Iterator[str]:
    smallest = min(counts.counts)
    rarest = [name for name, n in zip(counts.names, counts.counts, strict=True) if n == smallest]
    if smallest == 1:
        second = min((n for n in counts.counts if n > 1), default=1)
        shown = ", ".join(rarest[:3]) + (f" and {len(rarest) - 3} more" if len(rarest) > 3 else "")
        yield (
            f"Class {shown} has one example and alone sets the scale of ldam.margins: without it every other margin "
            f"would be {second**0.25:.3g} times as large. Use ldam.margins_fixed_constant or ldam.margins_median."
        )
    if len(counts) > 2:
        yield (
            "For more than two classes the n^(-1/4) margins minimise the bound only if margins could be redistributed "
            f"freely; a bias cannot do that {by('ldam.bias_realises_every_split')}, and may raise their sum."
        )
    if counts.imbalance_ratio == 1:
        yield "The classes are balanced: all margins, weights and factors are equal, and LDAM is a uniform margin."
    yield f"Margins are in cosine units: use a normalised head, logits in [-1, 1], and multiply by ldam.scale. {_HEAD}"


_HEAD = "With an ordinary linear head the margins mean nothing."
