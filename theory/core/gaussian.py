"""Standard normal functions and expectations in float64, vectorised.

G is standard normal, φ its density, Φ its distribution function. `certified` has the same functions as enclosures.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import erfcx, ndtr

from .errors import InputError, require_positive

__all__ = [
    "density",
    "expectation",
    "inverse_partial_expectation",
    "partial_expectation",
    "partial_moments",
    "partial_second_moment",
    "tail",
]

_FAR = -2.5  # below, cancellation costs more digits than the continued fraction
_TERMS = 50
_NEWTON_STEPS = 20
_TINY = 1e-300
_REACH = 38.0  # the density underflows beyond
_PANELS, _NODES = 76, 24
_RESOLVED = 1e-12


def density(t) -> np.ndarray:
    """Standard normal density φ(t), elementwise.

    Example:
        >>> density(0.0).round(4)
        np.float64(0.3989)
    """
    t = np.asarray(t, dtype=float)
    return np.exp(-0.5 * t * t) / np.sqrt(2 * np.pi)


def tail(t) -> np.ndarray:
    """Standard normal tail Q(t) = P(G > t), elementwise, without loss of relative accuracy for large t.

    Example:
        >>> tail([0.0, 10.0])
        array([5.00000000e-01, 7.61985302e-24])
    """
    return ndtr(-np.asarray(t, dtype=float))


def partial_expectation(t) -> np.ndarray:
    """E (G + t)_+ = t Φ(t) + φ(t), elementwise, relatively accurate also far below 0.

    Example:
        >>> partial_expectation([0.0, -20.0])
        array([3.98942280e-01, 1.37001249e-90])
    """
    return partial_moments(t)[1]


def partial_second_moment(t) -> np.ndarray:
    """E (G + t)_+² = (1 + t²) Φ(t) + t φ(t), elementwise, relatively accurate also far below 0.

    Example:
        >>> partial_second_moment([0.0, -20.0])
        array([5.00000000e-01, 1.35991291e-91])
    """
    return partial_moments(t)[2]


def partial_moments(t) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Φ(t) = P(G + t > 0), E (G + t)_+ and E (G + t)_+², elementwise, relatively accurate also far below 0.

    The second has the derivative Φ, the third twice the second.

    Example:
        >>> [float(value) for value in partial_moments(0.0)]
        [0.5, 0.3989422804014327, 0.5]
    """
    t = np.asarray(t, dtype=float)
    mass = ndtr(t)
    near = np.maximum(t, _FAR)
    first = near * mass + density(near)
    second = near * first + mass
    far = t < _FAR
    if far.any():
        first, second = np.array(first), np.array(second)
        first[far], second[far] = _far_moments(-t[far])
    return mass, first[()], second[()]


def inverse_partial_expectation(value) -> np.ndarray:
    """The t with E (G + t)_+ = value, elementwise.

    Args:
        value: >= 1e-300 (t = -37), any shape.

    Raises:
        InputError: for a smaller value, of which float64 keeps too few digits.

    Example:
        >>> inverse_partial_expectation(partial_expectation([-20.0, 0.5, 3.0])).round(12)
        array([-20. ,   0.5,   3. ])
    """
    value = np.asarray(value, dtype=float)
    require_positive(value, "value")
    if value.min() < _TINY:
        raise InputError(f"value must be >= {_TINY:g}, got {value.min():g}")
    small = np.minimum(value, 0.35)
    size = -2 * np.log(small * np.sqrt(2 * np.pi))
    t = np.where(value > 0.35, value - 0.6 * np.exp(-1.3 * value), -np.sqrt(np.maximum(size - 2 * np.log1p(size), 0.0)))
    target = np.log(value)
    for _ in range(_NEWTON_STEPS):  # the logarithm of E (G + t)_+ is concave and increasing: Newton converges
        mass, first, _ = partial_moments(t)
        step = (target - np.log(first)) * first / mass
        t = t + step
        if np.all(np.abs(step) <= 1e-9 * (1 + np.abs(t))):  # quadratic: the step after would be rounding
            break
    return t


def expectation(function: Callable[[np.ndarray], np.ndarray], *, kinks: Sequence[float] = ()) -> float:
    """E f(G) by Gauss-Legendre panels split at the kinks, checked against panels of half the length.

    Args:
        function: f, vectorised, shape (N,) to (N,); smooth between the kinks, evaluated on [-38, 38].
        kinks: where f or a derivative jumps.

    Returns:
        E f(G), accurate to about 1e-15 of E |f(G)|.

    Raises:
        InputError: if f returns another shape or non-finite values, or varies too fast for the panels: an unnamed
            kink, or a layer much thinner than 1.

    Example:
        >>> round(expectation(lambda g: np.maximum(1 - g, 0), kinks=[1]), 12)
        1.083315470588
    """
    cuts = np.asarray(kinks, dtype=float)
    if cuts.ndim != 1 or np.isnan(cuts).any():
        raise InputError(f"kinks must be a list of numbers, got {kinks!r}")
    edges = np.unique(np.concatenate([np.linspace(-_REACH, _REACH, _PANELS + 1), cuts[abs(cuts) < _REACH]]))
    value, _ = _panels(function, edges)
    finer, scale = _panels(function, np.unique(np.concatenate([edges, (edges[1:] + edges[:-1]) / 2])))
    if abs(value - finer) > _RESOLVED * scale:
        raise InputError(
            f"function is not resolved: two quadratures give {value:.15g} and {finer:.15g}; name the points where it "
            "has kinks or changes fast (kinks)"
        )
    return finer


def _panels(function, edges: np.ndarray) -> tuple[float, float]:
    """∫ f φ over the panels, and ∫ |f| φ."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = np.diff(edges)[:, None] / 2
    points = (edges[:-1, None] + half * (1 + nodes)).ravel()
    values = np.asarray(function(points), dtype=float)
    if values.shape != points.shape:
        raise InputError(f"function must map shape {points.shape} to itself, got {values.shape}; vectorise it")
    if not np.isfinite(values).all():
        raise InputError(
            f"function must be finite on [-38, 38], got {values[~np.isfinite(values)][0]} at "
            f"{points[~np.isfinite(values)][0]:.6g}"
        )
    terms = (half * weights).ravel() * density(points) * values
    return float(terms.sum()), float(np.abs(terms).sum())


def _far_moments(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Partial expectation and second moment at t = -s, from the continued fraction of the Mills ratio.

    M(s) = Q(s) / φ(s) = 1 / (s + c_1) with c_k = k / (s + c_{k+1}), so that 1 - s M = c_1 M and
    (1 + s²) M - s = c_1 c_2 M: nothing cancels.
    """
    c1 = c2 = 2 * _TERMS / (s + np.sqrt(s * s + 4 * _TERMS))  # the tail, as if its k were constant
    for k in range(_TERMS, 0, -1):
        c1, c2 = k / (s + c1), c1
    first = density(s) * np.sqrt(np.pi / 2) * erfcx(s / np.sqrt(2)) * c1
    return first, first * c2
