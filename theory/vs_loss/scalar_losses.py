"""Losses of one signed score u = y f(x): value, slope, curvature and proximal map, for the binary asymptotics.

`LogisticLoss` is the binary VS-loss of one class, ω log(1 + e^(ι - Δ u)); `HingeLoss` is the soft margin and
`SquareLoss` least squares. A further loss joins by following `ScalarLoss`; one whose proximal map has no closed form
takes `solve_prox` for it.

Source:
    Kini et al. (2021), arXiv:2103.01550 (the family); the proximal map by the Wright omega function is derived here.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import expit, wrightomega

from ..core.errors import InputError, nearest, require_in, require_positive

__all__ = ["HingeLoss", "LogisticLoss", "ScalarLoss", "SquareLoss", "solve_prox", "vs_family"]

_MAX_STEPS = 100
_EPS = float(np.finfo(float).eps)
_LARGEST_LOG, _WIDEST, _NEAR = 700.0, 750.0, 0.1  # of the bracket in `solve_prox`, and a step that needs no doubt
_FAMILY = ("ce", "wce", "ldam", "la", "cdt", "vs")


class ScalarLoss(Protocol):
    """A convex loss of a signed score, decreasing at 0. Its methods work elementwise on arrays."""

    def value(self, u: np.ndarray) -> np.ndarray:
        """l(u)."""
        ...

    def slope(self, u: np.ndarray) -> np.ndarray:
        """l'(u)."""
        ...

    def curvature(self, u: np.ndarray) -> np.ndarray:
        """l''(u) >= 0 away from kinks."""
        ...

    def prox(self, h: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The u that minimises (u - h)² / (2 step) + l(u), the slope (h - u) / step, and its derivative in h."""
        ...

    def layers(self, step: float) -> list[tuple[float, float]]:
        """Each h at which the proximal map bends, with the width of the bend, 0 for a kink."""
        ...


@dataclass(frozen=True)
class LogisticLoss:
    """ω log(1 + e^(ι - Δ u)), the binary VS-loss of one class.

    Args:
        omega: weight ω > 0.
        iota: shift ι; a rare class has the larger one in this binary form.
        delta: scale Δ > 0.

    Example:
        >>> u, slope, _ = LogisticLoss().prox(np.array([0.0]), 2.0)
        >>> bool(np.isclose(u + 2.0 * LogisticLoss().slope(u), 0.0)[0])
        True
    """

    omega: float = 1.0
    iota: float = 0.0
    delta: float = 1.0

    def __post_init__(self):
        require_positive(self.omega, "omega")
        require_positive(self.delta, "delta")
        require_in(self.iota, "iota", -1e6, 1e6)

    def value(self, u: np.ndarray) -> np.ndarray:
        """l(u), shape of u."""
        return self.omega * np.logaddexp(0, self.iota - self.delta * np.asarray(u, dtype=float))

    def slope(self, u: np.ndarray) -> np.ndarray:
        """l'(u) = -ω Δ σ(ι - Δ u)."""
        return -self.omega * self.delta * expit(self.iota - self.delta * np.asarray(u, dtype=float))

    def curvature(self, u: np.ndarray) -> np.ndarray:
        """l''(u) = ω Δ² σ(z) σ(-z), z = Δ u - ι."""
        z = self.delta * np.asarray(u, dtype=float) - self.iota
        return self.omega * self.delta**2 * expit(z) * expit(-z)

    def prox(self, h: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The proximal point, the slope there and its derivative in h; exact to rounding for every step > 0.

        With z = Δ u - ι, y = Δ h - ι and a = step ω Δ² the point solves z - a σ(-z) = y. The reflection
        (z, y) -> (-z, -y - a) maps the equation onto itself, so z >= 0 may be assumed; there the left side is concave
        and increasing, and Newton started below the root climbs to it without a safeguard. Replacing σ(-z) by its lower
        bound e^(-z) / 2 gives such a start in closed form, within log 2 of the root.
        """
        a = step * self.omega * self.delta**2
        y = self.delta * np.asarray(h, dtype=float) - self.iota
        mirrored = y < -a / 2
        y = np.where(mirrored, -y - a, y)
        z = np.maximum(y + wrightomega(np.log(a / 2) - y), 0.0)
        for _ in range(_MAX_STEPS):
            s = expit(-z)
            move = (y + a * s - z) / (1 + a * s * (1 - s))
            z = z + np.maximum(move, 0.0)
            if (move <= 4 * _EPS * (1 + z)).all():
                break
        s = expit(-z)
        u = (np.where(mirrored, -z, z) + self.iota) / self.delta
        slope = -self.omega * self.delta * np.where(mirrored, 1 - s, s)
        curvature = self.omega * self.delta**2 * s * (1 - s)
        return u, slope, curvature / (1 + step * curvature)

    def layers(self, step: float) -> list[tuple[float, float]]:
        """Two bends of width 1 / Δ, where the map leaves its flat stretch; one and the same for a small step."""
        a = step * self.omega * self.delta**2
        top = np.log1p(a)
        bend = top - a * expit(-top)
        return [((y + self.iota) / self.delta, 1 / self.delta) for y in (bend, -a - bend)]


@dataclass(frozen=True)
class HingeLoss:
    """ω max(0, m - u): the soft margin of one class.

    Args:
        omega: weight ω > 0.
        margin: required margin m > 0.

    Example:
        >>> HingeLoss(margin=2.0).prox(np.array([-3.0, 1.5, 4.0]), 1.0)[0]
        array([-2.,  2.,  4.])
    """

    omega: float = 1.0
    margin: float = 1.0

    def __post_init__(self):
        require_positive(self.omega, "omega")
        require_positive(self.margin, "margin")

    def value(self, u: np.ndarray) -> np.ndarray:
        """l(u), shape of u."""
        return self.omega * np.maximum(self.margin - np.asarray(u, dtype=float), 0.0)

    def slope(self, u: np.ndarray) -> np.ndarray:
        """l'(u): -ω below the margin, 0 above."""
        return np.where(np.asarray(u, dtype=float) < self.margin, -self.omega, 0.0)

    def curvature(self, u: np.ndarray) -> np.ndarray:
        """l''(u) = 0 away from the kink."""
        return np.zeros_like(np.asarray(u, dtype=float))

    def prox(self, h: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The proximal point clip(m, h, h + step ω), the slope -clip((m - h) / step, 0, ω), its derivative in h."""
        h = np.asarray(h, dtype=float)
        short = (self.margin - h) / step
        caught = (short > 0) & (short < self.omega)
        return np.clip(self.margin, h, h + step * self.omega), -np.clip(short, 0.0, self.omega), caught / step

    def layers(self, step: float) -> list[tuple[float, float]]:
        """The two kinks: where points reach the margin, and where they fall short of it."""
        return [(self.margin, 0.0), (self.margin - step * self.omega, 0.0)]


@dataclass(frozen=True)
class SquareLoss:
    """ω (1 - u)² / 2: least squares on the labels, hence Fisher's linear discriminant.

    Args:
        omega: weight ω > 0.

    Example:
        >>> SquareLoss().prox(np.array([0.0]), 1.0)[0]
        array([0.5])
    """

    omega: float = 1.0

    def __post_init__(self):
        require_positive(self.omega, "omega")

    def value(self, u: np.ndarray) -> np.ndarray:
        """l(u), shape of u."""
        return self.omega * (1 - np.asarray(u, dtype=float)) ** 2 / 2

    def slope(self, u: np.ndarray) -> np.ndarray:
        """l'(u) = ω (u - 1)."""
        return self.omega * (np.asarray(u, dtype=float) - 1)

    def curvature(self, u: np.ndarray) -> np.ndarray:
        """l''(u) = ω."""
        return np.full_like(np.asarray(u, dtype=float), self.omega)

    def prox(self, h: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The proximal point (h + step ω) / (1 + step ω), the slope there and its derivative in h."""
        h = np.asarray(h, dtype=float)
        pull = step * self.omega
        stiffness = self.omega / (1 + pull)
        return (h + pull) / (1 + pull), stiffness * (h - 1), np.full_like(h, stiffness)

    def layers(self, step: float) -> list[tuple[float, float]]:
        """None: the proximal map is linear."""
        return []


def solve_prox(loss: ScalarLoss, h: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`ScalarLoss.prox` of a smooth loss, from its slope and curvature alone.

    The distance r = |u - h| solves r = step |l'(h ± r)|, whose right side falls as r grows: r lies between the right
    side at 0 and the right side there. In log r, Newton steps that leave the bracket, or that are long after one that
    did not halve it, are replaced by bisection.

    Args:
        loss: convex, differentiable.
        h: where to evaluate, any shape.
        step: > 0.

    Raises:
        InputError: if `step` is not a positive number.

    Example:
        >>> loss = LogisticLoss(omega=2.0, iota=1.0)
        >>> bool(np.allclose(solve_prox(loss, np.array([-4.0, 3.0]), 5.0), loss.prox(np.array([-4.0, 3.0]), 5.0)))
        True
    """
    require_positive(step, "step")
    h = np.asarray(h, dtype=float)
    side = -np.sign(loss.slope(h))

    def pull(u):
        return np.maximum(-side * loss.slope(u), 0.0)  # 0 beyond a minimum of the loss

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        high = np.minimum(np.log(step * pull(h)), _LARGEST_LOG)
        low = np.maximum(np.log(step * pull(h + side * np.exp(high))), high - _WIDEST)
        log_r, width = low + 0.0, high - low
        for _ in range(_MAX_STEPS):
            u = h + side * np.exp(log_r)
            slope = pull(u)
            gap = log_r - np.log(step * slope)
            low, high = np.where(gap <= 0, log_r, low), np.where(gap >= 0, log_r, high)
            rate = 1 + np.exp(log_r) * loss.curvature(u) / slope
            newton = log_r - gap / rate
            halved = high - low <= width / 2
            trusted = (
                np.isfinite(rate) & (newton >= low) & (newton <= high) & (halved | (np.abs(newton - log_r) < _NEAR))
            )
            width = np.where(halved, high - low, width)
            moved = np.where(trusted, newton, (low + high) / 2)
            change = np.abs(moved - log_r)
            log_r = moved
            if not (change > 4 * _EPS * np.maximum(1.0, np.abs(log_r))).any():
                break
    u = np.where(np.isfinite(log_r), h + side * np.exp(log_r), h)  # log 0 where the slope vanishes
    curvature = loss.curvature(u)
    return u, loss.slope(u), curvature / (1 + step * curvature)


def vs_family(
    name: str, prior: float, *, tau: float = 1.0, gamma: float = 0.3, max_margin: float = 0.5
) -> tuple[LogisticLoss, LogisticLoss]:
    """Losses of the classes +1 and -1 for a named member of the binary VS family.

    Args:
        name: ``ce``; ``wce``, ω_y = 1 / (2 π_y), mean weight 1; ``ldam``, ι_y ∝ π_y^(-1/4) with the larger equal to
            `max_margin`; ``la``, ι_y = τ log(π_{-y} / π_y); ``cdt``, Δ_y = (π_y / max π)^γ; ``vs``, the last two.
        prior: π = P(y = +1), in (0, 1).
        tau: τ of ``la`` and ``vs``.
        gamma: γ of ``cdt`` and ``vs``.
        max_margin: LDAM's largest margin.

    Raises:
        InputError: for an unknown name, or numbers out of range.

    Source:
        Kini et al. (2021); Menon et al. (2021) with the binary offset derived here; Cao et al. (2019).

    Example:
        >>> vs_family("la", 0.1)[0].iota.round(4)
        np.float64(2.1972)
    """
    if name not in _FAMILY:
        raise InputError(f"unknown loss {name!r}; {nearest(str(name), _FAMILY)}")
    require_in(prior, "prior", 1e-12, 1 - 1e-12)
    require_in(tau, "tau", 0, 100)
    require_in(gamma, "gamma", 0, 100)
    require_positive(max_margin, "max_margin")
    priors = np.array([prior, 1 - prior])
    omega, iota, delta = np.ones(2), np.zeros(2), np.ones(2)
    if name == "wce":
        omega = 1 / (2 * priors)
    if name == "ldam":
        iota = max_margin * (priors / priors.min()) ** -0.25
    if name in ("la", "vs"):
        iota = tau * np.log(priors[::-1] / priors)
    if name in ("cdt", "vs"):
        delta = (priors / priors.max()) ** gamma
    plus, minus = (LogisticLoss(omega[c], iota[c], delta[c]) for c in range(2))
    return plus, minus
