"""Figures of LDAM's margin ratio against the optimal one on Gaussian mixtures.

Source:
    Cao et al. (2019), arXiv:1906.07413, for the ratio (n_- / n_+)^(1/4); the optimum is that of
    `tailbound.theory.vs_loss.asymptotics`, antipodal means ±μ, identity covariance, d / n fixed.
"""

from fractions import Fraction

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...theory.ldam.margins import LDAM_EXPONENT
from ..core import INK, PAGE, figure, plain_ticks

__all__ = ["power_regret", "regret"]

LDAM_POWER = -float(LDAM_EXPONENT)
_POWERS = {LDAM_POWER: "$n^{-1/4}$ (LDAM)", 1 / 3: "$n^{-1/3}$", 1 / 2: "$n^{-1/2}$", 1.0: "$1/n$"}
_REGRET_LEVELS = (0, 0.5, 1, 2, 5, 10, 20, 40)
_EXPONENT_LEVELS = (0, 1 / 4, 1 / 3, 1 / 2, 1, 1000)
_HATCH = "////"
_NOT_SEPARABLE = "#c8c8c8"


@figure("ldam.regret", needs=["ldam.exponent_regret"])
def regret(study: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Where the fourth root is good enough: what LDAM's margin ratio loses to the best one, and the best exponent.

    Hard-margin SVM with a free intercept on a mixture with means ±μ and identity covariance, in the limit d / n fixed.
    Top: balanced error at the ratio (n_- / n_+)^(1/4) minus the least over all ratios. Bottom: the exponent e for which
    (n_- / n_+)^e is optimal. Hatched: no finite ratio is optimal, the larger the better; regret against the infinite.
    """
    table = _grid(study)

    fig = Figure(figsize=(PAGE, 4.6), layout="constrained")
    axes = fig.subplots(2, 3, sharex=True, sharey=True)
    maps = (
        (axes[0], _regret(LDAM_POWER), _REGRET_LEVELS, "YlGnBu", "regret of LDAM's ratio\n(balanced error, points)"),
        (axes[1], "optimal_exponent", _EXPONENT_LEVELS, "YlOrBr", "exponent of $n_-/n_+$\nthat is optimal"),
    )
    for row, column, levels, colors, title in maps:
        for ax, (_, rows) in zip(row, table.groupby("signal_strength"), strict=True):
            filled = _map(ax, rows, column, levels, colors)
        _level_bar(fig, filled, row, levels, title)
        row[0].set_ylabel(r"prior $\pi$ of the minority")
    for top, bottom, signal in zip(*axes, table["signal_strength"].unique(), strict=True):
        top.set_title(rf"signal $\|\mu\| = {signal:g}$")
        bottom.set_xlabel("aspect ratio $d/n$")
    _region_key(fig)
    return fig, table


@figure("ldam.power_regret", needs=["ldam.exponent_regret"])
def power_regret(study: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """What the margin ratios of four powers of the class size lose to the best ratio; no power is safe everywhere.

    Rows: the ratio (n_- / n_+)^p for p = 1/4, 1/3, 1/2, 1; otherwise as the figure ``ldam.regret``.
    """
    table = _grid(study)
    signals = table["signal_strength"].unique()
    fig = Figure(figsize=(PAGE, 7.4), layout="constrained")
    axes = fig.subplots(len(_POWERS), len(signals), sharex=True, sharey=True)
    for row, (power, name) in zip(axes, _POWERS.items(), strict=True):
        for ax, (_, rows) in zip(row, table.groupby("signal_strength"), strict=True):
            filled = _map(ax, rows, _regret(power), _REGRET_LEVELS, "YlGnBu")
        row[0].set_ylabel(f"margins {name}\nprior $\\pi$")
    for ax, signal in zip(axes[0], signals, strict=True):
        ax.set_title(rf"signal $\|\mu\| = {signal:g}$")
    for ax in axes[-1]:
        ax.set_xlabel("aspect ratio $d/n$")
    _level_bar(fig, filled, axes, _REGRET_LEVELS, "regret (balanced error, points)")
    _region_key(fig)
    return fig, table


def _grid(study: pd.DataFrame) -> pd.DataFrame:
    """The study's lines of aspect ratios as a table with one row for each point, regrets in points."""
    lines = []
    for row in study.sort_values(["signal_strength", "prior"]).to_dict("records"):
        regrets = zip(row["exponents"], row["regret"], strict=True)
        line = {name: row[name] for name in ("signal_strength", "prior", "aspect_ratio", "wanted_shift")}
        line |= {_regret(power): 100 * np.asarray(values) for power, values in regrets if power}
        lines.append(pd.DataFrame(line | {"optimal_exponent": row["best_exponent"]}))
    return pd.concat(lines, ignore_index=True)


def _map(ax: Axes, rows: pd.DataFrame, column: str, levels, colors: str) -> QuadContourSet:
    x, y, values, shift = (
        rows[name].to_numpy().reshape(len(np.unique(rows["prior"])), -1)
        for name in ("aspect_ratio", "prior", column, "wanted_shift")
    )
    palette = matplotlib.colormaps[colors](np.linspace(0.02, 0.75, len(levels) - 1))
    filled = ax.contourf(x, y, np.clip(values, levels[0], levels[-1]), levels, colors=palette)
    ax.contourf(x, y, shift, [1, np.inf], colors="none", hatches=[_HATCH])
    ax.contour(x, y, shift, [1], colors=INK, linewidths=0.8)
    ax.set(xscale="log", yscale="log", facecolor=_NOT_SEPARABLE, xlim=(x.min(), x.max()))
    ax.grid(False)
    plain_ticks(ax.xaxis, (0.1, 1, 10))
    plain_ticks(ax.yaxis, (0.001, 0.01, 0.1))
    return filled


def _regret(power: float) -> str:
    return f"regret_points_{Fraction(power).limit_denominator(9)}".replace("/", "_")


def _level_bar(fig: Figure, filled: QuadContourSet, axes, levels, title: str) -> None:
    bar = fig.colorbar(filled, ax=axes, ticks=levels[:-1], aspect=14 * max(1, axes.ndim * axes.size // 6), pad=0.01)
    bar.ax.set_yticklabels([_level_name(level) for level in levels[:-1]])
    bar.set_label(title)


def _region_key(fig: Figure) -> None:
    hatched = Patch(facecolor="white", edgecolor=INK, hatch=_HATCH, linewidth=0.4, label="no finite ratio is optimal")
    separable = Patch(facecolor=_NOT_SEPARABLE, label="not separable")
    fig.legend(handles=[hatched, separable], loc="outside upper center", ncols=2)


def _level_name(level: float) -> str:
    fraction = Fraction(level).limit_denominator(8)
    return str(fraction) if level < 1 else f"{level:g}"
