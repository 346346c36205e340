"""What the figures of training share: names and looks of the methods, one column of panels for each set of records."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..nn_validation.core.evidence import RunSet, interval, measured, noise_rate, run_set, set_names, sets_with
from ..nn_validation.core.realised import Sweep
from .core import COLUMN, INK, LINES, PAGE, dashes

__all__ = ["LABELS", "LOOKS", "bars", "key", "panels", "present", "set_title", "spread", "sweep_panels"]

LABELS = {
    "ce": "CE",
    "cb": "class-balanced CE",
    "ce-rs": "CE, re-sampled",
    "ce-drw": "CE-DRW",
    "ldam": "LDAM",
    "ldam-drw": "LDAM-DRW",
    "la": "LA",
    "cdt": "CDT",
    "vs": "VS",
    "cdt:gamma=0.1": r"CDT, $\gamma=0.1$",
    "cdt:gamma=0.2": r"CDT, $\gamma=0.2$",
    "cdt:gamma=0.4": r"CDT, $\gamma=0.4$",
    "clip:max_norm=1": r"LogitClip, $\tau=1$",
    "alpha:alpha=3": r"$\alpha$-loss, $\alpha=3$",
}
"""Names of the methods in keys."""

_ORDER = ("ce", "ldam-drw", "ce-drw", "cb", "ce-rs", "ldam")
LOOKS: dict[str, dict[str, Any]] = {name: line for name, line in zip(_ORDER, LINES, strict=True)} | {
    "la": LINES[1],
    "cdt": LINES[2],
    "vs": LINES[3],
    "cdt:gamma=0.1": LINES[4],
    "cdt:gamma=0.2": LINES[2],
    "cdt:gamma=0.4": LINES[5],
    "clip:max_norm=1": LINES[1],
    "alpha:alpha=3": LINES[2],
}
"""Their looks."""

_DATA = {"digits": "digits", "cifar-10": "CIFAR-10", "cifar-100": "CIFAR-100", "fashion-mnist": "Fashion-MNIST"}


def panels(sets: Sequence[str], rows: int, height: float, **options: Any) -> tuple[Figure, np.ndarray, list[RunSet]]:
    """A figure with `rows` panels for each set, one below the other; axes of shape (rows, sets), and the records."""
    fig = Figure(figsize=(COLUMN if len(sets) == 1 else PAGE, height), layout="constrained")
    axes = fig.subplots(rows, len(sets), squeeze=False, **options)
    for ax, folder in zip(axes[0], sets, strict=True):
        ax.set_title(set_title(folder))
    return fig, axes, [run_set(folder) for folder in sets]


def set_title(folder: str) -> str:
    """Data and imbalance ratio of a set; rate of label noise, no augmentation.

    Example:
        >>> set_title("cifar-10/long-tailed-100/fast")
        'CIFAR-10, long-tailed, ratio 100'
        >>> set_title("digits/balanced-largest-100-noise-0.4/digits_padding=0")
        'digits, noise 0.4, not augmented'
    """
    data, profile, protocol = folder.split("/")
    parts = [_DATA.get(data, data)]
    if profile.startswith("balanced"):
        parts += [f"noise {noise_rate(folder):g}" if noise_rate(folder) else "balanced"]
    else:
        shape, _, ratio = profile.rpartition("-")
        parts += [shape, f"ratio {ratio}"]
    return ", ".join(parts + ["not augmented"] * protocol.endswith("_padding=0"))


def present(runs: RunSet, methods: Sequence[str]) -> list[str]:
    """Those of the methods that the set has with at least two seeds."""
    return [method for method in methods if len(runs.seeds.get(method, ())) >= 2]


def spread(ax: Axes, x: np.ndarray, values: np.ndarray, line: dict[str, Any]) -> None:
    """A line for the mean over seeds (first axis), a band from the least to the greatest."""
    ax.fill_between(x, values.min(axis=0), values.max(axis=0), color=line["color"], alpha=0.18, linewidth=0)
    ax.plot(x, values.mean(axis=0), **dashes(line))


def bars(ax: Axes, x: Any, means: np.ndarray, halves: np.ndarray, line: dict[str, Any]) -> None:
    """Marks with intervals of shares in percent, cut off at 0."""
    look = {**line, "linestyle": "none", "elinewidth": 0.8}
    ax.errorbar(x, means, [np.minimum(halves, means), halves], **look)


def key(fig: Figure, methods: Sequence[str], *, marks: bool = False, ncols: int = 3, more: Sequence[Any] = ()) -> None:
    """The methods' names above the panels, as lines or as marks."""
    handles: list[Any] = []
    for method in methods:
        look = LOOKS[method] if not marks else {**LOOKS[method], "linestyle": "none"}
        handles.append(Line2D([], [], **(look if marks else dashes(look)), label=LABELS[method]))
    fig.legend(handles=[*handles, *more], loc="outside upper center", ncols=ncols, handlelength=2.4, columnspacing=1.2)


def sweep_panels(sweep: Sweep, name: str) -> tuple[Figure, np.ndarray, pd.DataFrame]:
    """Test accuracy, and wrong labels memorised, against the option of a loss: a column for each data set and protocol.

    Bars are 95 % intervals over seeds; a ring marks the value that noisy validation images choose. Values are drawn at
    equal distances, cross-entropy among them.

    Args:
        sweep: the loss and its option.
        name: of the option, for the axis.
    """
    columns: dict[str, list[str]] = {}
    for folder in sets_with("ce", among=set_names()):
        data, profile, protocol = folder.split("/")
        if profile.startswith("balanced") and len(sweep.methods(run_set(folder))) >= 2:
            columns.setdefault(
                f"{_DATA.get(data, data)}{', not augmented' * protocol.endswith('_padding=0')}", []
            ).append(folder)
    fig = Figure(figsize=(COLUMN if len(columns) == 1 else PAGE, 4.0), layout="constrained")
    axes = fig.subplots(2, len(columns), squeeze=False, sharex="col")
    rates = sorted({noise_rate(folder) for each in columns.values() for folder in each})
    rows = []
    for (upper, lower), (title, folders) in zip(axes.T, columns.items(), strict=True):
        values = sorted({value for folder in folders for value in sweep.methods(run_set(folder))})
        for folder in folders:
            runs, rate = run_set(folder), noise_rate(folder)
            line, methods = LINES[rates.index(rate)], sweep.methods(runs)
            chosen, _ = sweep.chosen(runs)
            shown = {"accuracy": (upper, "last")} | ({"memorised": (lower, "memorised")} if rate else {})
            for quantity, (ax, what) in shown.items():
                found = [interval(100 * measured(runs, each, what, runs.seeds[each])) for each in methods.values()]
                mean = np.array([each.mean if quantity == "memorised" else 100 - each.mean for each in found])
                half = np.array([each.half_width for each in found])
                at = np.array([values.index(value) for value in methods])
                bar = [np.minimum(half, mean), np.minimum(half, 100 - mean)]
                ax.errorbar(at, mean, bar, **line, elinewidth=0.8, linewidth=0.9)
                ring = list(methods).index(chosen)
                ax.plot(at[ring], mean[ring], "o", markersize=8, markerfacecolor="none", markeredgecolor=INK, zorder=4)
                rows += [
                    (folder, rate, quantity, method, value == chosen, m, h)
                    for (value, method), m, h in zip(methods.items(), mean, half, strict=True)
                ]
        upper.set_title(title)
        lower.set(xlabel=name, xticks=range(len(values)))
        lower.set_ylim(0, 1.04 * lower.get_ylim()[1])
        lower.set_xticklabels(["none" if np.isinf(value) else f"{value:g}" for value in values])
    axes[0, 0].set_ylabel("test accuracy, %")
    axes[1, 0].set_ylabel("wrong labels memorised, %")
    handles = [Line2D([], [], **line, label=f"noise {rate:g}") for rate, line in zip(rates, LINES, strict=False)]
    ring = Line2D([], [], color=INK, marker="o", markersize=8, markerfacecolor="none", linestyle="none", label="chosen")
    fig.legend(handles=[*handles, ring], loc="outside upper center", ncols=4, handlelength=2.4, columnspacing=1.2)
    names = ["records", "noise_rate", "quantity", "method", "chosen", "percent", "half_width"]
    return fig, axes, pd.DataFrame(rows, columns=names)
