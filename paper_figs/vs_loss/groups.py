"""Figure of the group-sensitive SVM: equal opportunity bought by the margin of the smaller group.

Source:
    Kini et al. (2021), arXiv:2103.01550, group-sensitive SVM and equal opportunity.
"""

from functools import cache

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...sims.core.study import matching
from ...theory.vs_loss.asymptotics import equal_opportunity_ratio, hard_margin, separability_threshold
from ...theory.vs_loss.mixture import GaussianMixture
from ..core import (
    INK,
    LINES,
    PAGE,
    dashes,
    error_bars,
    figure,
    plain_ticks,
    simulation_key,
    summary,
)

__all__ = ["equal_opportunity"]

_COLUMNS = {
    "error_plus_1": "small group $R_{+,1}$",
    "error_plus_2": "large group $R_{+,2}$",
    "deo": r"$\mathrm{DEO}=R_{+,1}-R_{+,2}$",
    "error": "misclassification error $R$",
}
_PRIORS = (0.05, 0.1, 0.2)
_SHOWN = (0.6, 1.0, 2.0)  # aspect ratios of the trade-off


@figure("vs_loss.equal_opportunity", needs=["vs_loss.group_errors"])
def equal_opportunity(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Group errors of the group-sensitive SVM against its margin ratio, the ratio of equal opportunity, the trade-off.

    Balanced classes, two groups with orthogonal means of norm 3. Left: at d / n = 1. Middle: the ratio at which the
    difference of equal opportunity (DEO) is 0; its simulation interpolates the mean DEO. Right: error against DEO as
    the ratio grows from 1 along each line, from right to left.
    """
    rows = matching(rows, norms=(3.0, 3.0), inner=0.0, num_examples=400)
    prior, norms = rows.group_prior.iloc[0], rows.norms.iloc[0]
    mixture = GaussianMixture.groups(prior, norms)
    curves = pd.concat([_curve(mixture, aspect_ratio, 1.05 * rows.margin_ratio.max()) for aspect_ratio in _SHOWN])
    fair = pd.concat([_fair_rows(p, norms, rows.aspect_ratio.max()) for p in _PRIORS])
    points = pd.concat(
        summary(rows, ["aspect_ratio", "margin_ratio"], column).assign(column=column) for column in _COLUMNS
    )
    crossings = _crossings(rows)

    fig = Figure(figsize=(PAGE, 2.9), layout="constrained")
    axes = fig.subplots(1, 3)
    for line, (column, label) in zip(LINES, list(_COLUMNS.items())[:3], strict=False):
        shown = curves.loc[curves.aspect_ratio == 1.0]
        axes[0].plot(shown.margin_ratio, shown[column], **dashes(line))
        error_bars(axes[0], "margin_ratio", points.loc[(points.column == column) & (points.aspect_ratio == 1.0)], line)
        axes[0].plot([], [], **line, label=label)
    axes[0].axhline(0, color=INK, linewidth=0.6)
    axes[0].set(xscale="log", xlabel=r"margin ratio $\delta$ of the small group", title="errors at $d/n=1$")
    plain_ticks(axes[0].xaxis, (1, 2, 3, 4, 6))
    for line, p in zip(LINES, _PRIORS, strict=False):
        shown = fair.loc[fair.group_prior == p]
        axes[1].plot(shown.aspect_ratio, shown.equal_opportunity_ratio, **dashes(line), label=f"$p={p:g}$")
        if p == prior:
            error_bars(axes[1], "aspect_ratio", crossings, line)
    axes[1].set(
        xscale="log", yscale="log", xlabel="aspect ratio $d/n$", title=r"ratio $\delta_0$ with $\mathrm{DEO}=0$"
    )
    axes[1].set_ylim(1.5, 60)
    plain_ticks(axes[1].xaxis, (0.1, 0.3, 1, 3))
    plain_ticks(axes[1].yaxis, (2, 3, 5, 10, 20, 50))
    for line, aspect_ratio in zip(LINES[3:], _SHOWN, strict=False):
        shown = curves.loc[curves.aspect_ratio == aspect_ratio]
        axes[2].plot(shown.deo, shown.error, **dashes(line))
        deo, error = (
            points.loc[(points.column == column) & (points.aspect_ratio == aspect_ratio)] for column in ("deo", "error")
        )
        axes[2].errorbar(
            deo["mean"],
            error["mean"],
            2 * error.standard_error,
            2 * deo.standard_error,
            color=line["color"],
            marker=line["marker"],
            linestyle="none",
            elinewidth=0.8,
        )
        axes[2].plot([], [], **line, label=f"$d/n={aspect_ratio:g}$")
    axes[2].axvline(0, color=INK, linewidth=0.6)
    axes[2].set(xlabel="DEO", title=_COLUMNS["error"])
    axes[0].legend(loc="upper right")
    axes[1].legend(loc="upper right", title="share of the small group")
    axes[2].legend(loc="upper center")
    key = simulation_key(points, f"$n={rows.num_examples.iloc[0]}$, $p={prior:g}$", marker="none")
    fig.legend(handles=[key], loc="outside upper center", handlelength=0)
    return fig, {"curves": curves, "equal_opportunity": fair, "simulation": points, "simulated_ratio": crossings}


@cache
def _curve(mixture: GaussianMixture, aspect_ratio: float, largest: float) -> pd.DataFrame:
    ratios = np.geomspace(1, largest, 25)
    limits = [hard_margin(mixture, aspect_ratio, required=(ratio, ratio, 1.0, 1.0)) for ratio in ratios]
    plus = np.array([limit.errors[[0, 2]] for limit in limits])
    return pd.DataFrame(
        {
            "aspect_ratio": aspect_ratio,
            "margin_ratio": ratios,
            "error_plus_1": plus[:, 0],
            "error_plus_2": plus[:, 1],
            "deo": plus[:, 0] - plus[:, 1],
            "error": [float(limit.error) for limit in limits],
        }
    )


@cache
def _fair_rows(group_prior: float, norms: tuple[float, float], largest: float) -> pd.DataFrame:
    mixture = GaussianMixture.groups(group_prior, norms)
    threshold = separability_threshold(mixture)
    grid = threshold + np.geomspace(0.02, 1.05 * largest - threshold, 40)
    ratios = [equal_opportunity_ratio(mixture, aspect_ratio) for aspect_ratio in grid]
    table = pd.DataFrame({"group_prior": group_prior, "aspect_ratio": grid, "equal_opportunity_ratio": ratios})
    return table.loc[np.isfinite(table.equal_opportunity_ratio)]  # near the threshold no finite ratio gives DEO = 0


def _crossings(rows: pd.DataFrame) -> pd.DataFrame:
    """The ratio at which the mean DEO of the draws crosses 0, linear in log δ; its standard error by the jackknife."""
    found = []
    for aspect_ratio, part in rows.groupby("aspect_ratio"):
        table = part.pivot(index="repetition", columns="margin_ratio", values="deo")
        logs, total, n = np.log(table.columns.to_numpy()), table.sum(), len(table)
        whole = np.interp(0, -(total / n).to_numpy(), logs)
        left_out = np.array([np.interp(0, -((total - row) / (n - 1)).to_numpy(), logs) for _, row in table.iterrows()])
        error = np.sqrt((n - 1) * np.var(left_out)) * np.exp(whole)
        found.append((aspect_ratio, np.exp(whole), error, n))
    return pd.DataFrame(found, columns=["aspect_ratio", "mean", "standard_error", "draws"])
