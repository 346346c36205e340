"""Figures of networks trained with the VS family, from committed records, and of the theory on their features.

Source:
    Kini et al. (2021), arXiv:2103.01550, the paper's figure of training curves; margins in the terminal phase against
    the geometry of Behnia et al. (2023), arXiv:2303.07608, and the rest derived here.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...nn_validation.core.evidence import fitted_line, interval, run_set, sets_with, terminal_sets
from ...nn_validation.core.realised import collapsed_margins, log_margin_slope, option
from ...nn_validation.core.tables import network_tables
from ..core import LINES, PAGE, dashes, figure, plain_ticks
from ..runs import LOOKS, bars, key, panels, present, set_title, spread

__all__ = ["minority_training", "network_features", "terminal_margins"]

_FAMILY = ("ce", "la", "cdt", "vs")
_TERMINAL = ("ce", "la", "cdt:gamma=0.1", "cdt:gamma=0.2", "cdt:gamma=0.4")


@figure("vs_loss.minority_training")
def minority_training() -> tuple[Figure, pd.DataFrame]:
    """Accuracy on the rarer half of the classes while a network trains with CE, LA, CDT and VS: start and end.

    Kini et al. (2021). Above: on the training images, augmented, while the weights move; below: balanced test error.
    Means over seeds, bands from the least to the greatest; the epoch on a logarithmic axis, to show the start.
    """
    fig, axes, sets = panels(sets_with(*_FAMILY), 2, 3.9, sharex="col")
    rows = []
    for (upper, lower), runs in zip(axes.T, sets, strict=True):
        for method in present(runs, _FAMILY):
            epochs, accuracy = runs.curve(method, "train_accuracy")
            minority = 100 * np.nanmean(accuracy[:, :, runs.rare_half], axis=2)
            looked, test = runs.curve(method, "test_accuracy")
            test = 100 * (1 - test.mean(axis=2))
            spread(upper, epochs, minority, LOOKS[method])
            spread(lower, looked, test, LOOKS[method])
            for name, at, values in (("minority accuracy", epochs, minority), ("balanced error", looked, test)):
                rows += [(runs.folder, method, name, e, v) for e, v in zip(at, values.mean(axis=0), strict=True)]
        upper.set(xscale="log", ylim=(0, 100))
        lower.set(xlabel="epoch", ylim=(0, None))
        plain_ticks(lower.xaxis, [e for e in (1, 2, 5, 10, 20, 50, 100, 200) if e <= epochs[-1]])
    axes[0, 0].set_ylabel("rarer half: training\naccuracy, %")
    axes[1, 0].set_ylabel("balanced test error, %")
    key(fig, _FAMILY, ncols=4)
    return fig, pd.DataFrame(rows, columns=["records", "method", "quantity", "epoch", "percent"])


@figure("vs_loss.terminal_margins")
def terminal_margins() -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Margins far beyond zero training error: the exponent that scales impose stays, that of offsets fades.

    Left: median margin of each class over that under CE at the same seeds, geometric mean 1; lines: the same ratio at
    the optimum over free features. Right: its fitted exponent against the length of the training, with the 95 %
    interval over classes; lines: the imposed one, -γ, and 0 for the offset.
    """
    places = terminal_sets(*_TERMINAL)
    fig = Figure(figsize=(PAGE, 0.35 + 2.5 * len(places)), layout="constrained")
    grid = fig.subplots(len(places), 2, squeeze=False)
    points, slopes = [], []
    for (left, right), sets in zip(grid, places.values(), strict=True):
        last = run_set(list(sets.values())[-1])
        counts = last.counts.array
        for k, method in enumerate(_TERMINAL[1:]):
            line = LOOKS[method]
            free = collapsed_margins(last.counts, option(method, "gamma", 0.0))
            seeds = last.common_seeds(method, "ce")
            mine, plain = (last.margins(m, seeds=seeds).mean(axis=0) for m in (method, "ce"))
            ratio = np.log(mine / plain)
            ratio, stated = np.exp(ratio - ratio.mean()), free / np.exp(np.log(free).mean())
            left.plot(counts, ratio, **{**line, "linestyle": "none"})
            left.plot(counts, stated, **dashes(line))
            points += [(last.folder, method, *row) for row in zip(counts, ratio, stated, strict=True)]
            predicted, gamma = fitted_line(np.log(counts), np.log(free)).slope, option(method, "gamma", 0.0)
            right.axhline(-gamma, **{**dashes(line), "linewidth": 0.9})
            for epochs, folder in sets.items():
                fit = log_margin_slope(run_set(folder), method, over="ce")
                right.errorbar(
                    epochs * 1.06 ** (k - 1.5),
                    fit.slope,
                    fit.half_width,
                    **{**line, "linestyle": "none"},
                    elinewidth=0.8,
                )
                slopes.append((folder, method, epochs, fit.slope, fit.half_width, -gamma, predicted))
        left.set(xscale="log", yscale="log", title=set_title(last.folder), ylabel="margin over that under CE")
        plain_ticks(left.yaxis, (0.5, 0.7, 1, 1.4, 2))
        right.set(xscale="log", xlim=(min(sets) / 1.4, 1.4 * max(sets)), ylabel="fitted exponent")
        plain_ticks(right.xaxis, list(sets))
    grid[-1, 0].set_xlabel("training images of the class")
    grid[-1, 1].set_xlabel("epochs of training")
    key(fig, _TERMINAL[1:], marks=True, ncols=4)
    return fig, {
        "margins": pd.DataFrame(points, columns=["records", "method", "count", "margin_over_ce", "free_features"]),
        "slopes": pd.DataFrame(
            slopes, columns=["records", "method", "epochs", "exponent", "half_width", "imposed", "free_features"]
        ),
    }


_SHOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "error": ("counted on test images", {"color": "#000000", "marker": "P"}),
    "left_out": ("margins left out", LINES[0]),
    "law": ("training law", LINES[1]),
    "mixture": ("isotropic mixture", LINES[2]),
    "fresh": ("scores of fresh images", LINES[3]),
}
_RULES = {"svm": "1", "ldam": r"$\rho^{1/4}$", "n^-1/3": r"$\rho^{1/3}$", "n^-1/2": r"$\rho^{1/2}$", "1/n": r"$\rho$"}


@figure("vs_loss.network_features")
def network_features() -> tuple[Figure, pd.DataFrame]:
    """Error on the rare class of an SVM on a network's features, two classes at a time: predicted and counted.

    Against the margin ratio, a power of the pair's imbalance ρ; means over all pairs of a rare and a frequent class,
    with the 95 % interval over networks for the counted error. Left: fitted on features of the network's training
    images; right: of images it has never seen.
    """
    tables = network_tables("features")
    fig = Figure(figsize=(PAGE, 0.4 + 2.4 * len(tables)), layout="constrained")
    grid = fig.subplots(len(tables), 2, squeeze=False, sharey="row")
    rows = []
    for axes, (folder, frame) in zip(grid, tables.items(), strict=True):
        for ax, source in zip(axes, ("training", "held-out"), strict=True):
            part = frame[(frame.fitted_on == source) & frame.rule.isin(list(_RULES))]
            for k, name in enumerate(_SHOWN):
                means = part.pivot_table(index="rule", columns="seed", values=f"{name}_plus").reindex(list(_RULES))
                if means.empty or means.isna().to_numpy().any():
                    continue
                found = [interval(100 * row) for row in means.to_numpy()]
                mean, half = np.array([each.mean for each in found]), np.array([each.half_width for each in found])
                bars(ax, np.arange(5) + 0.12 * (k - 2), mean, half if name == "error" else 0 * half, _SHOWN[name][1])
                rows += [(folder, source, name, *row) for row in zip(_RULES, mean, half, strict=True)]
            ax.set_xticks(range(5), list(_RULES.values()))
            ax.grid(axis="x", visible=False)
            ax.set_title(f"{set_title(folder)}: {source} images")
        axes[0].set_ylabel("error on the rare class, %")
    for ax in grid[-1]:
        ax.set_xlabel("margin ratio")
    handles = [Line2D([], [], **{**look, "linestyle": "none"}, label=text) for text, look in _SHOWN.values()]
    fig.legend(handles=handles, loc="outside upper center", ncols=5, handlelength=1, columnspacing=1.2)
    return fig, pd.DataFrame(rows, columns=["records", "fitted_on", "quantity", "rule", "percent", "half_width"])
