"""Deterministic rules for Gaussian expectations: graded panels, product grids, lattices, and orthant probabilities."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

__all__ = ["gaussian_rule", "layered_nodes", "orthant_probability", "rule_levels"]

_REACH = 8.5  # P(|G| > 8.5) = 2e-17
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_LONGEST, _GRADING = 4.3, 3.0  # a panel's length, and its length over its distance from a bend plus the bend's width
_MAX_HALVINGS = 60
_LARGEST_GRID = 3  # dimensions
_GRID_POINTS = {1: (81, 161, 321, 641, 1281), 2: (25, 49, 97, 161), 3: (13, 21, 31, 41)}
_LATTICE_POINTS = (127, 509, 2039, 4093, 8191, 16381)  # primes
_ERROR_POINTS = 4093
_CANDIDATES, _GOLDEN = 100, 0.6180339887498949  # generators tried, spread over half of their range
_GAIN = 4.0  # a lattice of four times the points has about a fourth of the error
_IRRATIONALS = np.sqrt([2.0, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37])


def layered_nodes(centres, widths, *, refine: int = 1) -> tuple[NDArray, NDArray]:
    """Gauss-Legendre panels for E f(G), split at the centres of f's layers and geometrically finer towards them.

    A function that is analytic up to a distance `widths` from the real axis near each centre, and up to about 1 + its
    distance from the centre elsewhere, is integrated to about 1e-14 of E |f(G)|; a width of 0 is a kink.

    Args:
        centres: where f bends, shape (L,); far outside [-8.5, 8.5] they cost nothing.
        widths: the width of each bend, >= 0, shape (L,).
        refine: divides the length of every panel; 2 gives the check of 1.

    Returns:
        Nodes and weights, the density included, shapes (N,).

    Example:
        >>> g, weight = layered_nodes([1.0], [0.0])
        >>> round(float(weight @ np.maximum(1 - g, 0)), 12)
        1.083315470588
    """
    centres, widths = np.asarray(centres, dtype=float), np.asarray(widths, dtype=float)
    inside = np.abs(centres) < _REACH
    edges = np.unique([-_REACH, _REACH, *centres[inside]])
    graded = widths > 0
    centres, widths = centres[graded, None], widths[graded, None]
    for _ in range(_MAX_HALVINGS):
        left, right = edges[:-1], edges[1:]
        distance = np.maximum(np.maximum(left - centres, centres - right), 0)
        allowed = np.minimum(_GRADING * (widths + distance).min(axis=0, initial=np.inf), _LONGEST) / refine
        long = right - left > allowed
        if not long.any():
            break
        edges = np.sort(np.concatenate([edges, (left[long] + right[long]) / 2]))
    half = np.diff(edges)[:, None] / 2
    nodes = (edges[:-1, None] + half * (1 + _NODES)).ravel()
    return nodes, (half * _WEIGHTS).ravel() * np.exp(-nodes * nodes / 2) / np.sqrt(2 * np.pi)


def rule_levels(dimension: int) -> tuple[int, float]:
    """Number of levels of `gaussian_rule` in a dimension, and by which factor a level can reduce the error."""
    return (len(_GRID_POINTS[dimension]), np.inf) if dimension <= _LARGEST_GRID else (len(_LATTICE_POINTS), _GAIN)


@lru_cache(maxsize=16)
def gaussian_rule(dimension: int, level: int, *, shifted: bool = False) -> tuple[NDArray, NDArray]:
    """Nodes and weights for E f(G) with G standard normal in `dimension` variables.

    Up to three variables a product of trapezoid rules, which converges exponentially for analytic f; beyond, a Korobov
    lattice mapped through the normal quantile, with the mirrored points, and standardised to the exact mean and
    covariance.

    Args:
        dimension: 1 to 12.
        level: 0, 1, …; each has several times the points of the one before.
        shifted: the rule of the same size that shares no node with the first: the difference of the two is at least
            about the error of either.

    Returns:
        Nodes, shape (dimension, N), and weights, shape (N,).

    Source:
        Lattice: Korobov's generator with the least P2 criterion among some; tent map of Hickernell (2002).

    Example:
        >>> nodes, weights = gaussian_rule(5, 1)
        >>> bool(np.allclose((nodes * weights) @ nodes.T, np.eye(5)))
        True
    """
    if dimension <= _LARGEST_GRID:
        points = _GRID_POINTS[dimension][level]
        spacing = 2 * _REACH / (points - 1)
        axis = np.linspace(-_REACH, _REACH, points) + (spacing / 2 if shifted else 0.0)
        nodes = np.stack(np.meshgrid(*[axis] * dimension, indexing="ij")).reshape(dimension, -1)
        square = (nodes * nodes).sum(axis=0)
        kept = square < _REACH**2
        nodes, weights = nodes[:, kept], np.exp(-square[kept] / 2)
        return nodes, weights / weights.sum()
    uniform = _lattice(dimension, _LATTICE_POINTS[level], shifted)
    half = ndtri(uniform)
    nodes = np.concatenate([half, -half], axis=1)
    factor = np.linalg.cholesky(nodes @ nodes.T / nodes.shape[1])
    return np.linalg.solve(factor, nodes), np.full(nodes.shape[1], 1 / nodes.shape[1])


def orthant_probability(mean: NDArray, covariance: NDArray) -> tuple[float, float]:
    """P(all entries of N(mean, covariance) are > 0), and an estimate of its error.

    One and two variables in closed form and by panels; more by the separation of variables on a lattice.

    Args:
        mean: shape (k,).
        covariance: positive definite, shape (k, k).

    Source:
        Separation of variables: Genz (1992), "Numerical computation of multivariate normal probabilities".

    Example:
        >>> probability, error = orthant_probability(np.zeros(2), np.array([[1.0, 0.5], [0.5, 1.0]]))
        >>> round(probability, 12), error < 1e-12
        (0.333333333333, True)
    """
    scale = np.sqrt(np.diag(covariance))
    order = np.argsort(mean / scale)  # the least likely first: the integrand varies least
    mean, factor = (
        (mean / scale)[order],
        np.linalg.cholesky((covariance / np.outer(scale, scale))[np.ix_(order, order)]),
    )
    if mean.size == 1:
        return float(ndtr(mean[0])), 0.0
    if mean.size == 2:
        slope = factor[1, 0] / factor[1, 1]
        found = []
        for refine in (1, 2):
            bends = [-mean[0], -mean[1] / factor[1, 0] if factor[1, 0] else -mean[0]]
            g, weights = layered_nodes(bends, [0.0, 1 / max(abs(slope), 1e-300)], refine=refine)
            found.append(float(weights @ np.where(g > bends[0], ndtr(mean[1] / factor[1, 1] + slope * g), 0.0)))
        return found[1], abs(found[1] - found[0])
    estimates = [_separated(mean, factor, _lattice(mean.size - 1, _ERROR_POINTS, shifted)) for shifted in (0, 1)]
    return float(np.mean(estimates)), float(abs(estimates[0] - estimates[1]))


def _separated(mean: NDArray, factor: NDArray, uniform: NDArray) -> float:
    """Average of the separated integrand over points of the unit cube; each point drives one variable into its tail."""
    points = np.concatenate([uniform, 1 - uniform], axis=1)
    drawn = np.zeros((mean.size, points.shape[1]))
    value = np.ones(points.shape[1])
    for i in range(mean.size):
        upper = ndtr((mean[i] + factor[i, :i] @ drawn[:i]) / factor[i, i])
        value = value * upper
        if i < mean.size - 1:
            drawn[i] = -ndtri(np.maximum(upper * points[i], 1e-300))
    return float(value.mean())


@lru_cache(maxsize=32)
def _lattice(dimension: int, points: int, shifted: bool) -> NDArray:
    """A shifted Korobov lattice in the open unit cube, folded (the tent map), shape (dimension, points)."""
    index = np.arange(points)
    best, generator = np.inf, 1
    for i in range(1, _CANDIDATES + 1):
        candidate = 2 + int(i * _GOLDEN % 1 * (points / 2 - 2))
        power, product = 1, np.ones(points)
        for _ in range(dimension):
            x = index * power % points / points
            product *= 1 + 2 * np.pi**2 * (x * x - x + 1 / 6)
            power = power * candidate % points
        if product.mean() < best:
            best, generator = product.mean(), candidate
    powers = np.array([pow(generator, j, points) for j in range(dimension)])
    start = (2 if shifted else 1) * _IRRATIONALS[:dimension]
    cube = (index * powers[:, None] / points + start[:, None]) % 1
    return np.clip(1 - np.abs(2 * cube - 1), 1e-12, 1 - 1e-12)
