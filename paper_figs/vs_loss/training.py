"""Figures of training with the VS family: where the first gradient points, and where descent ends.

Source:
    Kini et al. (2021), arXiv:2103.01550, the observation on the start of training and the implicit-bias theorem;
    Soudry et al. (2018), arXiv:1710.10345, for the rate of the constant step.
"""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...theory.vs_loss.losses import initial_shares, initial_weight
from ...theory.vs_loss.scalar_losses import vs_family
from ..core import COLUMN, INK, LINES, PAGE, error_bars, figure, note, span, summary

__all__ = ["gradient_descent", "initial_share"]

_PRIOR = 0.1
_LOSSES = {"ce": "CE", "la": "LA", "cdt": "CDT"}
_RULES = {"constant": "constant step", "normalised": "normalised steps"}


@figure("vs_loss.initial_share")
def initial_share() -> tuple[Figure, pd.DataFrame]:
    """Share of the minority in the first gradient of the VS-loss, against its scale and its shift.

    Binary form, minority prior 0.1, scales (n_y / n_max)^gamma, shifts tau log(π_-y / π_y), weights 1. Weighing both
    classes alike is the share 1/2; without shift the scales take from the minority what they give it in the end.
    """
    scales, shifts = np.linspace(0, 1, 61), np.linspace(0, 3, 91)
    priors = np.array([_PRIOR, 1 - _PRIOR])
    rows = []
    for gamma in scales:
        for tau in shifts:
            pair = vs_family("vs", _PRIOR, gamma=gamma, tau=tau)
            share, _ = initial_shares(priors, [initial_weight(loss.omega, loss.delta, loss.iota) for loss in pair])
            rows.append((gamma, tau, 100 * share))
    table = pd.DataFrame(rows, columns=["gamma", "tau", "minority_share_percent"])
    grid = table.pivot(index="tau", columns="gamma", values="minority_share_percent")

    fig = Figure(figsize=(COLUMN, 3.0), layout="constrained")
    ax = fig.subplots()
    levels = (0, 2, 5, 10, 20, 30, 50, 70, 90, 100)
    palette = matplotlib.colormaps["YlGnBu"](np.linspace(0.02, 0.75, len(levels) - 1))
    filled = ax.contourf(grid.columns, grid.index, grid, levels, colors=palette)
    for level, dash in ((100 * _PRIOR, (0, (4, 2))), (50, "-")):
        ax.contour(grid.columns, grid.index, grid, [level], colors="black", linewidths=0.9, linestyles=[dash])
    for name, at, offset in (
        ("CE", (0, 0), (3, 8)),
        ("LA", (0, 1), (5, -7)),
        ("CDT", (0.5, 0), (5, 3)),
        ("VS", (0.5, 1), (5, 3)),
    ):
        ax.plot(*at, "o", color="black", clip_on=False, zorder=4)
        note(ax, name, at, offset, color="black")
    for text, at in (("both classes alike", (0.5, 1.5)), ("as the prior", (0.62, 0.62))):
        note(ax, text, at, (0, 4), color="black", rotation=20, rotation_mode="anchor", ha="center")
    fig.colorbar(filled, ax=ax, ticks=levels, label="minority's share of the first gradient, %")
    above = ax.secondary_xaxis("top", functions=(lambda gamma: gamma, lambda gamma: gamma))
    odds = (1 - _PRIOR) / _PRIOR
    above.set_xticks(np.log([1, 2, 3, 5, 9]) / np.log(odds), ["1", "2", "3", "5", "9"])
    above.set_xlabel(r"margin ratio $\delta$ in the end")
    ax.grid(False)
    ax.set(xlabel=r"scale exponent $\gamma$", ylabel=r"shift strength $\tau$")
    return fig, table


@figure("vs_loss.gradient_descent", needs=["vs_loss.gradient_descent"])
def gradient_descent(rows: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Gradient descent turns towards the margin machine of its loss: slowly by constant steps, fast by normalised ones.

    Angle to the machine that the loss tends to (the SVM for CE and LA, the CS-SVM for CDT), linear score without
    intercept, antipodal means. Left: step 1 / largest curvature. Right: steps of one length along the gradient.
    """
    prior = rows.prior.min()
    rows = rows.loc[rows.prior == prior]
    points = summary(rows.assign(angle=np.degrees(rows.angle)), ["rule", "loss", "time"], "angle")

    fig = Figure(figsize=(PAGE, 2.6), layout="constrained")
    axes = fig.subplots(1, 2, sharey=True)
    times = np.geomspace(points.time.min(), points.time.max(), 50)
    for ax, (rule, title) in zip(axes, _RULES.items(), strict=True):
        for line, (loss, label) in zip(LINES, _LOSSES.items(), strict=False):
            shown = points.loc[(points.rule == rule) & (points.loss == loss)]
            error_bars(ax, "time", shown, line, linestyle=line["linestyle"], linewidth=1.0, label=label)
        rate, name = (np.log(times), r"$\propto 1/\log t$") if rule == "constant" else (times, "$\\propto 1/t$")
        lowest = points.loc[points.rule == rule]["mean"].min()
        ax.plot(times, 0.5 * lowest * rate[-1] / rate, color=INK, linewidth=0.8)
        note(ax, name, (times[20], 0.5 * lowest * rate[-1] / rate[20]), (-3, -3), ha="right", va="top")
        ax.set(xscale="log", yscale="log", xlabel="step $t$", title=title)
        ax.minorticks_off()
    axes[0].set_ylabel("angle to the limit, degrees")
    setting = rows.iloc[0]
    size = f"$n={setting.num_examples}$, $d={round(setting.aspect_ratio * setting.num_examples)}$"
    axes[0].legend(title=rf"{size}, $\pi={prior:g}$," f"\n{span(points.draws)} draws, mean ±2 s.e.", loc="lower left")
    return fig, points
