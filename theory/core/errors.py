"""Errors that name the value and the remedy, and the few checks every formula shares."""

import math
from difflib import get_close_matches
from numbers import Real

import numpy as np

__all__ = ["InputError", "nearest", "require_classes", "require_in", "require_positive", "require_signs"]


class InputError(ValueError):
    """The caller's input is at fault; the message is one line: what, the value, the remedy."""


def require_classes(num_classes: int) -> None:
    """Raise `InputError` unless `num_classes` is a whole number >= 2."""
    if isinstance(num_classes, bool) or not (isinstance(num_classes, int | np.integer) and num_classes >= 2):
        raise InputError(f"num_classes must be a whole number >= 2, got {num_classes!r}")


def require_positive(value, name: str) -> None:
    """Raise `InputError` unless every entry of `value` is a finite number > 0."""
    try:
        if np.asarray(value).dtype.kind in "US":
            raise TypeError(value)  # a number in quotes would pass here and fail later
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a number > 0, got {value!r}") from None
    bad = ~(np.isfinite(array) & (array > 0))
    if array.size == 0 or bad.any():
        shown = value if isinstance(value, Real) or array.size == 0 else array[bad][:5].tolist()
        raise InputError(f"{name} must be finite and > 0, got {shown}")


def require_in(value: float, name: str, low: float, high: float) -> None:
    """Raise `InputError` unless ``low <= value <= high`` (NaN never is)."""
    if not (isinstance(value, Real) and not math.isnan(value) and low <= value <= high):
        raise InputError(f"{name} must lie in [{low:.12g}, {high:.12g}], got {value!r}")


def require_signs(labels) -> None:
    """Raise `InputError` unless every label is +1 or -1."""
    if not np.isin(labels, (-1, 1)).all():
        raise InputError(f"labels must be +1 or -1, got {np.unique(labels)[:5].tolist()}")


def nearest(name: str, known) -> str:
    """Return the tail of an error message: the nearest known names, or all of them when none is near."""
    known = sorted(known)
    close = get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known[:12])}"
