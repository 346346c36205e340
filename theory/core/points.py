"""Point sets for deterministic checks."""

import numpy as np

__all__ = ["separable_points"]


def separable_points(minority: int, majority: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Well-spread points of two separable classes; a low-discrepancy sequence, nothing random.

    Args:
        minority: points with the label +1, which come first.
        majority: points with the label -1.
        dimension: 1 to 6.

    Returns:
        Points, shape (n, dimension), and labels, shape (n,).

    Example:
        >>> points, labels = separable_points(2, 3, 2)
        >>> points[labels > 0, 0].min() > points[labels < 0, 0].max()
        np.True_
    """
    labels = np.repeat([1.0, -1.0], [minority, majority])
    steps = np.sqrt(np.array([2, 3, 5, 7, 11, 13][:dimension]))
    spread = np.outer(np.arange(1, minority + majority + 1), steps) % 1 - 0.5
    spread[:, 0] += labels * 0.75
    return spread, labels
