"""Figures of networks trained with LDAM and the schedules it is compared with, from committed records.

Each figure has a column of panels for every set of records that is there: digits always, CIFAR once it is trained.

Source:
    Cao et al. (2019), arXiv:1906.07413, Figures 2, 3 and 4; margins and exponents derived here.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...nn_validation.core.evidence import CIFAR, DIGITS, STEP_DIGITS, interval, sets_with
from ...nn_validation.core.realised import EXPONENTS, best_exponent, exponent_method, imposed_margins, margin_shift
from ..core import INK, LINES, PAGE, dashes, figure
from ..runs import LOOKS, bars, key, panels, present, set_title, spread

__all__ = ["class_errors", "exponent_error", "realised_margins", "training_error"]

_SCHEDULES = ("ce", "cb", "ce-rs", "ce-drw", "ldam-drw")


@figure("ldam.training_error")
def training_error() -> tuple[Figure, pd.DataFrame]:
    """Training and balanced test error against the epoch: re-weighting and re-sampling from the start, or deferred.

    Cao et al. (2019), Figure 3. Mean over seeds, bands from the least to the greatest; training error on augmented
    images while the weights move, under the training frequencies.
    """
    fig, axes, sets = panels(sets_with("ce", "ce-drw", "ldam-drw"), 2, 3.9, sharex="col")
    rows = []
    for (upper, lower), runs in zip(axes.T, sets, strict=True):
        priors = runs.counts.priors
        for method in present(runs, _SCHEDULES):
            epochs, accuracy = runs.curve(method, "train_accuracy")
            train = 100 * (1 - np.where(np.isnan(accuracy), 1.0, accuracy) @ priors)
            looked, test = runs.curve(method, "test_accuracy")
            test = 100 * (1 - test.mean(axis=2))
            spread(upper, epochs, train, LOOKS[method])
            spread(lower, looked, test, LOOKS[method])
            for name, at, values in (("train", epochs, train), ("test", looked, test)):
                rows += [(runs.folder, method, name, e, v) for e, v in zip(at, values.mean(axis=0), strict=True)]
        upper.set(ylim=(0, None))
        lower.set(xlabel="epoch", ylim=(0, None))
    axes[0, 0].set_ylabel("training error, %")
    axes[1, 0].set_ylabel("balanced test error, %")
    key(fig, [m for m in _SCHEDULES if any(present(runs, [m]) for runs in sets)], ncols=2 if len(sets) == 1 else 5)
    return fig, pd.DataFrame(rows, columns=["records", "method", "split", "epoch", "error_percent"])


@figure("ldam.class_errors")
def class_errors() -> tuple[Figure, pd.DataFrame]:
    """Class counts, and test error of each class: plain, re-weighted, re-sampled, and LDAM-DRW.

    Cao et al. (2019), Figures 2 (its step profile: half of the classes rare) and 4. Classes from the most frequent to
    the rarest; means over seeds with 95 % intervals.
    """
    methods = ("ce", "cb", "ce-rs", "ldam-drw")
    names = sets_with("ce", "ldam-drw", among=(STEP_DIGITS, DIGITS, CIFAR))
    fig, axes, sets = panels(names, 2, 3.9, sharex="col", height_ratios=(1, 2.2))
    rows = []
    for (upper, lower), runs in zip(axes.T, sets, strict=True):
        counts = runs.counts.array
        classes = np.arange(len(counts))
        upper.bar(classes, counts, color="#9aa7b0")
        upper.set(yscale="log", xticks=classes)
        shown = present(runs, methods)
        for k, method in enumerate(shown):
            found = [interval(each) for each in 100 * (1 - runs.values(method, "last", "test", "class_accuracy")).T]
            mean, half = np.array([each.mean for each in found]), np.array([each.half_width for each in found])
            train = 100 * (1 - runs.values(method, "last", "train", "class_accuracy").mean(axis=0))
            place = classes + 0.17 * (k - (len(shown) - 1) / 2)
            bars(lower, place, mean, half, LOOKS[method])
            rows += [(runs.folder, method, *row) for row in zip(classes, counts, train, mean, half, strict=True)]
        lower.set(xlabel="class, from frequent to rare", ylim=(0, None))
        lower.grid(axis="x", visible=False)
    axes[0, 0].set_ylabel("training images")
    axes[1, 0].set_ylabel("test error, %")
    shown = [m for m in methods if any(present(runs, [m]) for runs in sets)]
    key(fig, shown, marks=True, ncols=2 if len(sets) == 1 else 4)
    names = ["records", "method", "class", "count", "train_error_percent", "test_error_percent", "half_width"]
    return fig, pd.DataFrame(rows, columns=names)


@figure("ldam.realised_margins")
def realised_margins() -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Realised margins of cosine heads against the class count, and what the imposed margins change in them.

    Left: median over the training images of a class, means over seeds; lines: the imposed margins γ_k. Right: median at
    an exponent minus that with equal margins, against the same difference of the imposed ones; dashed line: slope 1.
    """
    shown = {"ldam:exponent=0": LINES[0], "ldam": LINES[1], "ldam:exponent=1": LINES[2]}
    sets = sets_with(*shown)
    fig = Figure(figsize=(PAGE, 0.35 + 2.5 * len(sets)), layout="constrained")
    grid = fig.subplots(len(sets), 2, squeeze=False)
    points, shifts = [], []
    for (left, right), runs in zip(grid, [panels([name], 1, 1)[2][0] for name in sets], strict=True):
        counts = runs.counts.array
        for method, line in shown.items():
            median = runs.margins(method).mean(axis=0)
            imposed = imposed_margins(runs, method)
            left.plot(counts, median, **{**line, "linestyle": "none"})
            left.plot(counts, imposed, **dashes(line))
            points += [(runs.folder, method, *row) for row in zip(counts, imposed, median, strict=True)]
        for exponent, line in zip([e for e in EXPONENTS if e], LINES, strict=False):
            name = exponent_method(exponent)
            if name not in present(runs, [name]):
                continue
            found = margin_shift(runs, name)
            right.plot(found.imposed, found.realised, **{**line, "linestyle": "none"}, label=f"${exponent:g}$")
            shifts += [(runs.folder, exponent, *row) for row in zip(found.imposed, found.realised, strict=True)]
        low = min(row[2] for row in shifts if row[0] == runs.folder)
        right.plot([low, 0], [low, 0], color=INK, linestyle=(0, (4, 2)), linewidth=0.9, zorder=1)
        left.set(xscale="log", title=set_title(runs.folder), ylabel="margin, cosine")
        right.set(ylabel="change of the realised margin")
    grid[-1, 0].set_xlabel("training images of the class")
    grid[-1, 1].set_xlabel("change of the imposed margin")
    grid[0, 1].legend(title="exponent", ncols=2, loc="best", handlelength=1)
    texts = ("equal", "$n^{-1/4}$", "$n^{-1}$")
    handles = [Line2D([], [], **line, label=text) for line, text in zip(shown.values(), texts, strict=True)]
    fig.legend(
        handles=[*handles, Line2D([], [], linestyle="none", label="left: marks realised, lines imposed")],
        loc="outside upper center", ncols=4, columnspacing=1.2,
    )  # fmt: skip
    columns = ["records", "method", "count", "imposed", "median"]
    return fig, {
        "margins": pd.DataFrame(points, columns=columns),
        "shifts": pd.DataFrame(shifts, columns=["records", "exponent", "imposed_change", "realised_change"]),
    }


@figure("ldam.exponent_error")
def exponent_error() -> tuple[Figure, pd.DataFrame]:
    """Balanced test error against the exponent of LDAM's margins: where the least is, and whether 1/4 is near it.

    Means over seeds with 95 % intervals; the parabola is fitted to all runs; the bar below is the 95 % interval of its
    least point (bootstrap over seeds), confined to the exponents tried.
    """
    sets = sets_with("ldam", "ldam:exponent=0", "ldam:exponent=0.5", "ldam:exponent=1")
    fig, axes, found = panels(sets, 1, 2.5)
    rows = []
    for ax, runs in zip(axes[0], found, strict=True):
        best = best_exponent(runs)
        means = [interval(100 * each) for each in best.errors.T]
        x, mean = np.array(best.exponents), np.array([each.mean for each in means])
        half = np.array([each.half_width for each in means])
        bars(ax, x, mean, half, LINES[0])
        fine = np.linspace(x.min(), x.max(), 100)
        ax.plot(fine, 100 * np.polyval(best.parabola, fine), **dashes(LINES[1]))
        floor = ax.get_ylim()[0]
        ax.plot([best.low, best.high], [floor, floor], color=LINES[1]["color"], linewidth=4, solid_capstyle="butt")
        ax.axvline(0.25, color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
        ax.set(xlabel="exponent of the margins")
        rows += [(runs.folder, *row) for row in zip(x, mean, half, strict=True)]
    axes[0, 0].set_ylabel("balanced test error, %")
    handles = [
        Line2D([], [], **{**LINES[0], "linestyle": "none"}, label="mean"),
        Line2D([], [], **dashes(LINES[1]), label="parabola"),
        Line2D([], [], color=LINES[1]["color"], linewidth=4, label="its least point"),
        Line2D([], [], color=INK, linewidth=0.8, linestyle=(0, (4, 2)), label="1/4, LDAM's"),
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=2 if len(sets) == 1 else 4)
    return fig, pd.DataFrame(rows, columns=["records", "exponent", "error_percent", "half_width"])
