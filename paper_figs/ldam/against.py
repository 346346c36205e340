"""Figures of LDAM's rule and its bound beside what a Gaussian mixture does.

Source:
    Cao et al. (2019), arXiv:1906.07413. The rules are those of `bounds.RULES`; the optimum and the errors are those of
    `tailbound.theory.vs_loss.asymptotics`, antipodal means ±μ, identity covariance.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...sims.core.study import matching
from ...theory.core.class_counts import ClassCounts
from ...theory.vs_loss.asymptotics import hard_margin_map
from ..core import (
    COLUMN,
    INK,
    LINES,
    PAGE,
    dashes,
    error_bars,
    figure,
    note,
    plain_ticks,
    simulation_key,
    span,
    summary,
)
from .bounds import RULES

__all__ = ["bound_and_error", "optimal_ratio", "rule_errors"]

_MIDDLE = 0.1  # prior of the panel against the aspect ratio
_EXPONENTS = {0.0: "SVM", 0.25: "$n^{-1/4}$ (LDAM)", 1 / 3: "$n^{-1/3}$", 0.5: "$n^{-1/2}$", 1.0: "$1/n$"}

_COUNTS = ((20, 1000), (100, 5000), (1000, 5000))
_BOUNDS = {"bound": "bound, per class", "joint_bound": "bound, joint", "balanced_error": "balanced error"}
_MARKS = {
    "quarter": (":", "$n^{-1/4}$"),
    "third": ((0, (4, 2)), "$n^{-1/3}$"),
    "optimum": ("-", "optimum, limit"),
}
_SHORT = {"per_class": "$n^{-1/4}$", "joint": "$n^{-1/3}$", "joint_standard": "$n^{+1/3}$", "angle": "$n^{-1/2}$"}


@figure("ldam.optimal_ratio", needs=["ldam.ratio_errors"])
def optimal_ratio(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """The margin ratio that each bound asks for against imbalance, and the one that is optimal on a Gaussian mixture.

    Grey: margin ratios of the rules, as in ``ldam.optimal_exponents``. Colours: the ratio with the least balanced error
    of a hard-margin SVM at d / n = 1, for three signals, up to the imbalance at which it becomes infinite. Marks: the
    median over the draws of the ratio that is best for the draw, with its quartiles.
    """
    rows = matching(rows, aspect_ratio=1.0, rule="best")
    signals = sorted(rows.signal_strength.unique())
    imbalance = np.geomspace(1, 1000, 200)
    limits = {m: hard_margin_map(1 / (1 + imbalance), m, 1.0).optimal_margin_ratio for m in signals}
    curves = pd.concat(
        pd.DataFrame({"signal_strength": m, "imbalance_ratio": imbalance, "optimal_ratio": best})
        for m, best in limits.items()
    )
    curves = curves.loc[np.isfinite(curves.optimal_ratio)]
    rules = pd.concat(
        pd.DataFrame({"rule": rule.name, "imbalance_ratio": imbalance, "margin_ratio": _rule_ratios(rule, imbalance)})
        for rule in RULES
    )
    points = _quartiles(rows)

    fig = Figure(figsize=(COLUMN, 3.3), layout="constrained")
    ax = fig.subplots()
    for rule in RULES:
        shown = rules.loc[rules.rule == rule.name]
        ax.plot(shown.imbalance_ratio, shown.margin_ratio, color=INK, linewidth=0.8)
        note(ax, _SHORT[rule.name], (1000, shown.margin_ratio.iloc[-1]), (3, 0), va="center", annotation_clip=False)
    for line, m in zip(LINES, signals, strict=False):
        shown, marks = (table.loc[table.signal_strength == m] for table in (curves, points))
        ax.plot(shown.imbalance_ratio, shown.optimal_ratio, **dashes(line))
        spread = (marks["median"] - marks["lower"], marks["upper"] - marks["median"])
        ax.errorbar(marks.imbalance_ratio, marks["median"], spread, **_mark(line))
        ax.plot([], [], **line, label=rf"$\|\mu\|={m:g}$")
    ax.set(xscale="log", yscale="log", xlim=(1, 1000), ylim=(0.08, 200))
    ax.set(xlabel="imbalance ratio $n_-/n_+$", ylabel="margin ratio, rare / frequent")
    plain_ticks(ax.xaxis, (1, 10, 100, 1000))
    plain_ticks(ax.yaxis, (0.1, 1, 10, 100))
    ax.legend(title="optimal, $d/n=1$", loc="upper left", handlelength=2.2)
    sizes = f"{span(points.draws)} draws, $n$ = {span(points.num_examples)}"
    note(ax, f"marks: median and quartiles,\n{sizes}", (1, 0.08), (4, 4))
    return fig, {"optimum": curves, "rules": rules, "simulation": points}


def _rule_ratios(rule, imbalance: np.ndarray) -> list[float]:
    pairs = [rule.margins(ClassCounts((round(1e6 * ratio), 10**6))) for ratio in imbalance]
    return [pair[1] / pair[0] for pair in pairs]


def _quartiles(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows.loc[rows.num_examples == rows.groupby(["signal_strength", "prior"]).num_examples.transform("max")]
    found = rows.groupby(["signal_strength", "prior", "num_examples"]).margin_ratio
    table = found.quantile([0.25, 0.5, 0.75]).unstack().set_axis(["lower", "median", "upper"], axis=1)
    table = table.assign(draws=found.size()).reset_index()
    return table.assign(imbalance_ratio=(1 - table.prior) / table.prior)


def _mark(line: dict) -> dict[str, Any]:
    return {"color": line["color"], "marker": line["marker"], "linestyle": "none", "elinewidth": 0.8, "zorder": 3}


@figure("ldam.rule_errors", needs=["ldam.ratio_errors"])
def rule_errors(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Balanced error of a hard-margin SVM under each rule for the margin ratio, against imbalance and aspect ratio.

    Signal 2. Lines: the proportional limit; the best ratio is the infinite one where no finite ratio is optimal.
    """
    rows = rows.loc[rows.signal_strength == 2.0].fillna({"exponent": -1.0})
    priors, aspect_ratios = np.geomspace(0.01, 0.45, 120), np.geomspace(0.1, 10, 120)
    prior = _MIDDLE
    panels = {
        "prior": (matching(rows, aspect_ratio=1.0), hard_margin_map(priors, 2.0, 1.0), (1 - priors) / priors),
        "aspect": (matching(rows, prior=prior), hard_margin_map(prior, 2.0, aspect_ratios), (1 - prior) / prior),
    }
    fig = Figure(figsize=(PAGE, 2.9), layout="constrained")
    axes, tables = fig.subplots(1, 2, sharey=True), {}
    for ax, (name, (part, limit, imbalance)) in zip(axes, panels.items(), strict=True):
        x = {"prior": "imbalance_ratio", "aspect": "aspect_ratio"}[name]
        grid = imbalance if name == "prior" else limit.aspect_ratio
        points = summary(part.assign(imbalance_ratio=(1 - part.prior) / part.prior), [x, "exponent"], "balanced_error")
        curves = []
        for line, exponent in zip(LINES, (*_EXPONENTS, -1.0), strict=True):
            values = (limit.at_best_ratio() if exponent < 0 else limit.at_ratio(imbalance**exponent)).balanced_error
            curves.append(pd.DataFrame({"exponent": exponent, x: grid, "balanced_error": values}))
            ax.plot(grid, values, **dashes(line))
            error_bars(ax, x, points.loc[points.exponent == exponent], line)
        tables |= {name: pd.concat(curves), f"simulation_{name}": points}
        ax.set(xscale="log")
    axes[0].set(xlabel="imbalance ratio $n_-/n_+$", ylabel="balanced error", title="$d/n=1$", ylim=(0, 0.5))
    axes[1].set(xlabel="aspect ratio $d/n$", title=rf"$\pi={prior:g}$")
    plain_ticks(axes[0].xaxis, (1, 3, 10, 30, 100))
    plain_ticks(axes[1].xaxis, (0.1, 0.3, 1, 3, 10))
    labels = (*_EXPONENTS.values(), "best ratio")
    handles = [Line2D([], [], **line, label=label) for line, label in zip(LINES, labels, strict=True)]
    marks = pd.concat([tables["simulation_prior"], tables["simulation_aspect"]])
    sizes = pd.concat([part for part, _, _ in panels.values()]).num_examples
    handles.append(simulation_key(marks, f"$n$ = {span(sizes)}", marker="none"))
    fig.legend(handles=handles, loc="outside upper center", ncols=4)
    return fig, tables


@figure("ldam.bound_and_error", needs=["ldam.bound_values"])
def bound_and_error(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """The margin bound on the balanced error beside the error itself, against the margin ratio.

    Linear classifiers through the CS-SVM path on antipodal means; bounds at failure probability 0.05 with their
    low-order terms, from the margins and the norms of each draw. Line of the error: the proportional limit. Below: the
    ratios n^(-1/4) and n^(-1/3) ask for, and the optimum of the limit.
    """
    rows = matching(rows, signal_strength=rows.signal_strength.min())
    ratios = np.geomspace(rows.margin_ratio.min(), rows.margin_ratio.max(), 120)
    points, curves, marks = [], [], []
    for positives, negatives in _COUNTS:
        part, n = matching(rows, positives=positives, negatives=negatives), positives + negatives
        limit = hard_margin_map(positives / n, part.signal_strength.iloc[0], part.dimension.iloc[0] / n)
        counts = {"positives": positives, "negatives": negatives}
        for column in _BOUNDS:
            points.append(summary(part, ["margin_ratio"], column).assign(**counts, quantity=column))
        values = limit.at_ratio(ratios).balanced_error
        curves.append(pd.DataFrame({**counts, "margin_ratio": ratios, "balanced_error": values}))
        named = {power: (negatives / positives) ** power for power in (1 / 4, 1 / 3)}
        best = float(limit.optimal_margin_ratio)
        for name, ratio in {"quarter": named[1 / 4], "third": named[1 / 3], "optimum": best}.items():
            marks.append({**counts, "mark": name, "margin_ratio": ratio})
    tables = {"simulation": pd.concat(points), "limit": pd.concat(curves), "marks": pd.DataFrame(marks)}

    fig = Figure(figsize=(PAGE, 3.0), layout="constrained")
    axes = fig.subplots(1, len(_COUNTS), sharey=True)
    for ax, (positives, negatives) in zip(axes, _COUNTS, strict=True):
        shown, curve, named = (matching(table, positives=positives, negatives=negatives) for table in tables.values())
        for line, column in zip(LINES, _BOUNDS, strict=False):
            marks = shown.loc[shown.quantity == column]
            if column == "balanced_error":
                ax.plot(curve.margin_ratio, curve.balanced_error, **dashes(line))
                error_bars(ax, "margin_ratio", marks, line)
            else:
                error_bars(ax, "margin_ratio", marks, line, linestyle=line["linestyle"], linewidth=1.0)
        for ratio, name in zip(named.margin_ratio, named.mark, strict=True):
            ax.axvline(ratio, color=INK, linewidth=0.9, linestyle=_MARKS[name][0], zorder=1)
        ax.axhline(1, color=INK, linewidth=0.6)
        ax.set(xscale="log", yscale="log", xlabel=r"margin ratio $\delta$")
        ax.set_title(f"$n_+={positives}$, $n_-={negatives}$")
        plain_ticks(ax.xaxis, (0.5, 1, 2, 4, 8, 16))
        plain_ticks(ax.yaxis, (0.01, 0.1, 1, 10))
    note(axes[2], "vacuous above 1", (16, 1), (0, -2), ha="right", va="top")
    axes[0].set_ylabel("balanced error, bound")
    handles = [Line2D([], [], **line, label=label) for line, label in zip(LINES, _BOUNDS.values(), strict=False)]
    handles += [
        Line2D([], [], color=INK, linewidth=0.9, linestyle=style, label=label) for style, label in _MARKS.values()
    ]
    setting = rows.iloc[0]
    model = rf"$d={setting.dimension}$, $\|\mu\|={setting.signal_strength:g}$"
    handles.append(simulation_key(tables["simulation"], model, marker="none"))
    fig.legend(handles=handles, loc="outside upper center", ncols=3)
    return fig, tables
