"""What records say of margins: those a loss imposes, those a network realised, which exponent or option was best.

Needs no torch. Margins are quantiles over the training images of a class, see `RunSet.margins`.
"""

from dataclasses import dataclass

import numpy as np

from ...theory.core.class_counts import ClassCounts
from ...theory.ldam.margins import class_margins
from ...theory.vs_loss.geometry import collapsed_geometry
from ...theory.vs_loss.losses import vs_parameters
from .evidence import Fit, MissingRecords, RunSet, fitted_line

__all__ = [
    "ALPHA",
    "CLIP",
    "EXPONENTS",
    "BestExponent",
    "MarginShift",
    "Sweep",
    "best_exponent",
    "collapsed_margins",
    "exponent_method",
    "imposed_margins",
    "log_margin_slope",
    "margin_shift",
    "option",
]

EXPONENTS = (0.0, 0.125, 0.25, 0.333, 0.5, 1.0)
"""Exponents of LDAM's margins that are tried; 1/4 is the paper's."""

_EQUAL = "ldam:exponent=0"
_RESAMPLES, _GRID = 2000, 401


@dataclass(frozen=True, eq=False)
class MarginShift:
    """What margins at an exponent change, against equal margins at the same seeds; each of shape (K,).

    Args:
        imposed: γ_k minus the common margin.
        realised: the same difference of the realised margins, mean over seeds.
        fit: of `realised` on `imposed`; slope 1: the network follows the loss.
    """

    imposed: np.ndarray
    realised: np.ndarray
    fit: Fit


@dataclass(frozen=True, eq=False)
class BestExponent:
    """Balanced test error against the exponent.

    Args:
        exponents: tried, shape (E,).
        errors: of each seed, shape (S, E).
        parabola: coefficients of the least-squares parabola through all runs, highest power first.
        least: exponent of its least value in the range tried.
        low: lower end of the 95 % interval of `least`: residuals of the parabola drawn anew. Errors that are no
            parabola can be least outside of it.
        high: upper end.
    """

    exponents: tuple[float, ...]
    errors: np.ndarray
    parabola: np.ndarray
    least: float
    low: float
    high: float


@dataclass(frozen=True)
class Sweep:
    """A loss with one option, and the value of it that gives cross-entropy.

    Args:
        method: name of the loss.
        option: name of the option.
        default: its value where the method's name does not say one.
        plain: the value at which the loss is cross-entropy, ``ce``.
    """

    method: str
    option: str
    default: float
    plain: float

    def methods(self, runs: RunSet) -> dict[float, str]:
        """The methods of a set that belong to the sweep, ``ce`` among them: value → name, ascending; two seeds."""
        found = {self.plain: "ce", self.default: self.method}
        found |= {option(name, self.option, 0): name for name in runs.seeds if self._differs_in_it_alone(name)}
        return {value: found[value] for value in sorted(found) if len(runs.seeds.get(found[value], ())) >= 2}

    def chosen(self, runs: RunSet, which: str = "last", *, plain: bool = True) -> tuple[float, str]:
        """The value with the least mean validation error over the common seeds, and its method; not by test images.

        Args:
            runs: the records.
            which: error at the ``last`` epoch, or at the one ``selected`` on the same images.
            plain: whether cross-entropy is one of the candidates.

        Raises:
            MissingRecords: if the set has no such method.
        """
        methods = {value: name for value, name in self.methods(runs).items() if plain or value != self.plain}
        if not methods:
            raise MissingRecords(f"{runs.folder!r} has no two seeds of {self.method!r}; train them")
        seeds = runs.common_seeds(*methods.values())
        errors = {value: runs.validation_error(name, which, seeds).mean() for value, name in methods.items()}
        best = min(errors, key=lambda value: errors[value])
        return best, methods[best]

    def _differs_in_it_alone(self, name: str) -> bool:
        return name.startswith(f"{self.method}:{self.option}=") and "," not in name


ALPHA = Sweep("alpha", "alpha", default=2.0, plain=1.0)
CLIP = Sweep("clip", "max_norm", default=1.0, plain=float("inf"))
"""The losses of which one option is swept."""


def exponent_method(exponent: float) -> str:
    """Name of the method that imposes margins at an exponent.

    Example:
        >>> exponent_method(0.25), exponent_method(1.0)
        ('ldam', 'ldam:exponent=1')
    """
    return "ldam" if exponent == 0.25 else f"ldam:exponent={exponent:g}"


def option(method: str, name: str, default: float) -> float:
    """An option in the name of a method.

    Example:
        >>> option("cdt:gamma=0.4", "gamma", 0.3), option("cdt", "gamma", 0.3)
        (0.4, 0.3)
    """
    found = dict(part.split("=") for part in method.partition(":")[2].split(",") if part)
    return float(found.get(name, default))


def imposed_margins(runs: RunSet, method: str) -> np.ndarray:
    """γ_k = C n_k^(-exponent) with largest margin 1/2, cosine units, shape (K,)."""
    return class_margins(runs.counts, exponent=-option(method, "exponent", 0.25), max_margin=0.5)


def margin_shift(runs: RunSet, method: str, quantile: float = 0.5) -> MarginShift:
    """Compare a method's realised margins with those under equal margins, class by class.

    The difficulty of a class is in both and cancels.

    Raises:
        MissingRecords: if the two share fewer than two seeds.
    """
    both = [runs.margins(name, quantile, runs.common_seeds(method, _EQUAL)) for name in (method, _EQUAL)]
    realised = (both[0] - both[1]).mean(axis=0)
    imposed = imposed_margins(runs, method) - imposed_margins(runs, _EQUAL)
    return MarginShift(imposed, realised, fitted_line(imposed, realised))


def log_margin_slope(runs: RunSet, method: str, over: str | None = None, quantile: float = 0.5) -> Fit:
    """Fitted exponent: log margin against log count over the classes, each the mean over seeds.

    Args:
        runs: the records.
        method: whose margins.
        over: divide them by this method's at the same seeds, so that the difficulty of a class cancels.
        quantile: 0.5 is the median, 0 the smallest margin.

    Raises:
        ArithmeticError: if a margin is not positive.
    """
    seeds = runs.common_seeds(method, over or method)
    margins = [runs.margins(name, quantile, seeds).mean(axis=0) for name in ([method, over] if over else [method])]
    if min(each.min() for each in margins) <= 0:
        raise ArithmeticError(f"{method}: a margin is not positive, so it has no logarithm")
    logs = [np.log(each) for each in margins]
    return fitted_line(np.log(runs.counts.array), logs[0] - (logs[1] if over else 0.0))


def collapsed_margins(class_counts: ClassCounts, gamma: float) -> np.ndarray:
    """Logit margin of each class at the optimum over free features under CDT, Δ_k = (n_k / n_max)^γ, shape (K,).

    The constraint Δ_y z_y - Δ_c z_c >= 1 alone fixes no margin: z_y - z_c is 1/Δ_y where the rivals' logits are 0, and
    n_y^(-γ) in general only up to a factor. At the optimum it is a_y (1 - a_y (a_y - a_c) / |a|²), a = 1/Δ, c the rival
    with the smallest a, so the exponent is a little below γ.

    Source:
        derived here, from `collapsed_geometry`.

    Example:
        >>> collapsed_margins(ClassCounts((100, 10, 1)), 0.5).round(2)
        array([1.02, 2.97, 1.89])
    """
    logits = collapsed_geometry(class_counts, vs_parameters(class_counts, gamma=gamma).delta).logits
    rivals = np.where(np.eye(len(logits), dtype=bool), -np.inf, logits)
    return np.diag(logits) - rivals.max(axis=0)


def best_exponent(runs: RunSet, which: str = "last") -> BestExponent:
    """Where the balanced test error is least among LDAM's exponents.

    Args:
        runs: the records.
        which: ``last`` epoch or the ``selected`` one.

    Raises:
        MissingRecords: if fewer than four exponents share two seeds.
    """
    tried = [e for e in EXPONENTS if len(runs.seeds.get(exponent_method(e), ())) >= 2]
    if len(tried) < 4:
        raise MissingRecords(f"{runs.folder!r} has {len(tried)} exponents with two seeds, a parabola needs 4")
    seeds = runs.common_seeds(*map(exponent_method, tried))
    errors = np.array([runs.error(exponent_method(e), which, seeds) for e in tried]).T
    x = np.tile(tried, len(seeds))
    powers = np.vander(x, 3)
    solve = np.linalg.pinv(powers)
    parabola = solve @ errors.ravel()
    fitted = powers @ parabola
    rest = (errors.ravel() - fitted) * np.sqrt(x.size / (x.size - 3))
    drawn = fitted + np.random.default_rng(0).choice(rest, (_RESAMPLES, x.size))
    fine = np.linspace(min(tried), max(tried), _GRID)
    least = fine[(np.vander(fine, 3) @ solve @ drawn.T).argmin(axis=0)]
    low, high = np.quantile(least, [0.025, 0.975])
    at = float(fine[np.polyval(parabola, fine).argmin()])
    return BestExponent(tuple(tried), errors, parabola, at, float(low), float(high))
