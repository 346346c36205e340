"""Grids of keyword arguments, for claims and studies alike."""

from collections.abc import Sequence
from itertools import product
from typing import Any

__all__ = ["cases"]


def cases(**axes: Sequence) -> tuple[dict[str, Any], ...]:
    """Return the grid of keyword arguments, the last axis running fastest.

    Example:
        >>> cases(a=[1, 2], b=["x"])
        ({'a': 1, 'b': 'x'}, {'a': 2, 'b': 'x'})
    """
    return tuple(dict(zip(axes, values, strict=True)) for values in product(*axes.values()))
