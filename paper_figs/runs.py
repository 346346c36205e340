"""What the figures of training share: names and looks of the methods, one column of panels for each set of records."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..nn_validation.core.evidence import RunSet, run_set
from .core import COLUMN, LINES, PAGE, dashes

__all__ = ["LABELS", "LOOKS", "bars", "key", "panels", "present", "set_title", "spread"]

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
    """Data and imbalance ratio of a set.

    Example:
        >>> set_title("cifar-10/long-tailed-100/fast")
        'CIFAR-10, long-tailed, ratio 100'
    """
    data, profile, _ = folder.split("/")
    shape, _, ratio = profile.rpartition("-")
    return f"{_DATA.get(data, data)}, {shape}, ratio {ratio}"


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
