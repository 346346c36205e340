"""Figures of the margin ratio estimated from the training data, on mixtures and on real pairs of classes.

Source:
    Derived here; see `tailbound.theory.vs_loss.ratio_estimate`.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..core import INK, LINES, PAGE, figure, plain_ticks, simulation_key, span, summary

__all__ = ["auto_ratio", "real_pairs"]

_CROSS: dict[str, Any] = {"color": "#7f7f7f", "marker": "x"}
_STYLES = {  # rule on mixtures, rule on real pairs, what it is, look
    "auto": ("leave-one-out", "leave-one-out", "estimated (auto)", LINES[0]),
    "inverse": ("inverse", "1/n", "$1/n$", LINES[4]),
    "square_root": ("square_root", "n^-1/2", "$n^{-1/2}$", LINES[3]),
    "ldam": ("ldam", "n^-1/4", "$n^{-1/4}$ (LDAM)", LINES[1]),
    "naive": ("training-means", "training-means", "naive: training means", LINES[2]),
    "svm": ("svm", "svm", "SVM", _CROSS),
}
_PREFIX = {"digits": "digits ", "breast_cancer": "cancer "}
_DATA = {"fashion": "Fashion-MNIST", "digits": "digits", "breast_cancer": "breast cancer"}
_SETTING = ["num_examples", "condition", "minority_spread"]
_MODEL = ["prior", "norms", "inner", "aspect_ratio"]


@figure("vs_loss.auto_ratio", needs=["vs_loss.auto_ratio"])
def auto_ratio(rows: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """What the margin ratio estimated from the training data loses to the best one, beside fixed and naive rules.

    Balanced error minus that of the oracle, which knows the mixture and takes the best threshold for the direction of
    the draw; on a logarithmic axis. Rows: growing n at identity covariance, then covariances that the equal-variance
    theory does not cover.
    """
    rows = _beyond(rows, "oracle", [*_MODEL, *_SETTING, "repetition"])
    points = summary(rows.loc[rows.rule != "oracle"], [*_MODEL, *_SETTING, "rule"], "regret")

    models = [part for _, part in points.groupby(_MODEL, sort=False)]
    settings = points.loc[:, _SETTING].drop_duplicates().sort_values(["condition", "minority_spread", "num_examples"])
    plain = (settings.condition == 1) & (settings.minority_spread == 1)
    settings = pd.concat([settings.loc[plain], settings.loc[~plain]]).reset_index(drop=True)
    fig = Figure(figsize=(PAGE, 3.3), layout="constrained")
    axes = fig.subplots(1, len(models), sharey=True, sharex=True)
    for ax, part in zip(axes, models, strict=True):
        part = part.merge(settings.reset_index(names="row"), on=_SETTING)
        for k, (rule, _, _, line) in enumerate(_STYLES.values()):
            _dots(ax, part.loc[part.rule == rule], part.loc[part.rule == rule].row + 0.1 * (k - 2.5), line)
        ax.set(
            xscale="log",
            xlim=(0.02, 30),
            xlabel="regret, points of balanced error",
            title=_model_name(*part.iloc[0][_MODEL]),
        )
        plain_ticks(ax.xaxis, (0.1, 1, 10))
    axes[0].set_yticks(range(len(settings)), [_setting_name(row) for row in settings.itertuples()])
    axes[0].invert_yaxis()
    _key(fig, simulation_key(points, "means", marker="none"))
    return fig, points.assign(norms=[str(norms) for norms in points.norms])


@figure("vs_loss.real_pairs", needs=["vs_loss.real_pairs"])
def real_pairs(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Margin ratios on real pairs of classes made imbalanced: balanced test error beyond that of the best ratio.

    Linear hard-margin SVMs; the best ratio is chosen on one half of the test examples and tested on the other, so that
    a rule may beat it. Rows: means over draws and both minority sizes; below, means over the pairs of a data set, with
    2 standard errors over pairs.
    """
    keys = ["data", "minority", "majority", "num_minority", "num_majority", "repetition"]
    rows = _beyond(rows, "crossed oracle", keys)
    rows = rows.loc[rows.rule.isin([style[1] for style in _STYLES.values()])]
    pairs = rows.groupby(["data", "minority", "majority", "rule"], as_index=False).regret.mean()
    means = summary(pairs, ["data", "rule"], "regret")
    means = means.loc[means.draws > 1]

    order = pairs.loc[pairs.rule == "svm"].sort_values(["data", "regret"], ascending=[False, False])
    names = [(row.data, row.minority, row.majority) for row in order.itertuples()]
    groups = [data for data in dict.fromkeys(order.data) if data in set(means.data)]
    fig = Figure(figsize=(PAGE, 4.6), layout="constrained")
    ax = fig.subplots()
    places = np.append(np.arange(len(names)), len(names) + 0.5 + np.arange(len(groups)))
    for k, (_, rule, _, line) in enumerate(_STYLES.values()):
        shown, heights = (
            pairs.loc[pairs.rule == rule].set_index(["data", "minority", "majority"]),
            places + 0.1 * (k - 2.5),
        )
        ax.plot(
            shown.regret.reindex(names),
            heights[: len(names)],
            color=line["color"],
            marker=line["marker"],
            linestyle="none",
        )
        _dots(ax, means.loc[means.rule == rule].set_index("data").reindex(groups), heights[len(names) :], line)
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.axhline(len(names) - 0.25, color=INK, linewidth=0.6)
    labels = [f"{_PREFIX.get(data, '')}{minority} / {majority}" for data, minority, majority in names]
    ax.set_yticks(places, [*labels, *(f"mean, {_DATA[data]}" for data in groups)])
    ax.set_ylim(len(names) + len(groups), -0.75)
    ax.grid(axis="y", visible=False)
    ax.set_xlabel("balanced test error beyond the best ratio's, points")
    sizes = span(rows.groupby(["data", "minority", "majority"]).num_minority.nunique())
    text = f"{span(rows.groupby(keys[:-1]).repetition.nunique())} draws at each of {sizes} minority sizes"
    _key(fig, Line2D([], [], linestyle="none", label=text))
    return fig, {"pairs": pairs, "means": means}


def _beyond(rows: pd.DataFrame, rule: str, keys: list[str]) -> pd.DataFrame:
    """Add ``regret``: balanced error beyond that of a rule for the same draw, in points."""
    reference = rows.loc[rows.rule == rule, [*keys, "balanced_error"]]
    joined = rows.merge(reference, on=keys, suffixes=("", "_reference"))
    return joined.assign(regret=100 * (joined.balanced_error - joined.balanced_error_reference))


def _dots(ax: Axes, points: pd.DataFrame, height, line: dict) -> None:
    look = {"color": line["color"], "marker": line["marker"], "linestyle": "none", "elinewidth": 0.8}
    ax.errorbar(points["mean"], height, xerr=2 * points.standard_error, **look)


def _key(fig: Figure, last: Line2D | None) -> None:
    handles = [
        Line2D([], [], color=line["color"], marker=line["marker"], linestyle="none", label=label)
        for _, _, label, line in _STYLES.values()
    ]
    fig.legend(handles=[*handles, *([last] if last else [])], loc="outside upper center", ncols=4, handlelength=1.2)


def _model_name(prior: float, norms: tuple[float, float], inner: float, aspect_ratio: float) -> str:
    antipodal = inner == -norms[0] * norms[1]
    means = rf"$\pm\mu$, norm {norms[0]:g}" if antipodal else f"orthogonal, norms {norms[0]:g}, {norms[1]:g}"
    return rf"{means}, $\pi={prior:g}$, $d/n={aspect_ratio:g}$"


def _setting_name(setting) -> str:
    size = f"$n={setting.num_examples}$"
    if setting.condition != 1:
        return f"condition number {setting.condition:g}, {size}"
    if setting.minority_spread != 1:
        return rf"minority spread $\times{setting.minority_spread:g}$, {size}"
    return f"identity covariance, {size}"
