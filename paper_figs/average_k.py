"""Figures of average-K against top-K: the size-error curve, where the gain comes from, and estimated probabilities.

Source:
    Lorieul, Joly, Shasha (2021), arXiv:2112.08851, for the two rules. The formulas are those of
    `tailbound.theory.average_k`, the simulations those of `tailbound.sims.average_k`.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..nn_validation.core.evidence import interval
from ..nn_validation.core.tables import network_tables
from ..sims.core.study import matching
from ..theory.average_k.calibration import size_deviation
from ..theory.average_k.profiles import (
    geometric_profile,
    two_level_errors,
    two_level_profile,
    uniform_size_variance,
)
from ..theory.average_k.rules import (
    AmbiguityProfile,
    average_k_inclusion,
    average_k_threshold,
    crowding,
    expected_size,
    gain_limit,
    optimal_errors,
    top_k_inclusion,
)
from .core import (
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
    summary,
)
from .runs import bars, set_title

__all__ = [
    "estimated_profiles",
    "feature_models",
    "networks",
    "size_error",
    "size_function",
    "sorted_profile",
    "threshold",
    "two_level_gain",
]

_CLASSES = 20
_INPUTS = 400
_TOP, _AVERAGE = LINES[1], LINES[0]
_MODEL_NAMES = {
    "logistic": "cross-entropy",
    "ova": "one-versus-all",
    "squared": "squared loss",
    "neighbours": "nearest neighbours",
}
_PROFILE_NAMES = {"two_level": "two levels", "mixed": "mixed", "uniform": "uniform", "homogeneous": "homogeneous"}


def _spread() -> AmbiguityProfile:
    """Geometric inputs from clear (r = 0.1) to ambiguous (r = 0.95)."""
    return geometric_profile(np.linspace(0.1, 0.95, _INPUTS), _CLASSES)


@figure("average_k.size_error")
def size_error() -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Least error against mean set size: average-K for every budget, top-K for whole ones, and what lies between.

    Left: half of the inputs certain, half uniform over 10 of 20 labels. Right: geometric probabilities r^j with r from
    0.1 to 0.95.
    """
    profiles = {"two levels": two_level_profile(0.5, 10, _CLASSES), "geometric": _spread()}
    budgets, whole = np.linspace(0.1, 12, 239), range(1, 13)
    fig = Figure(figsize=(PAGE, 2.7), layout="constrained")
    curves, points = [], []
    for ax, (name, profile) in zip(fig.subplots(1, 2, sharey=True), profiles.items(), strict=True):
        average = np.array([_average_error(profile, size) for size in budgets])
        top = np.array([profile.error(top_k_inclusion(profile.probabilities, size)) for size in whole])
        at_whole = np.array([_average_error(profile, size) for size in whole])
        between = budgets[budgets >= 1]
        between_top = np.interp(between, whole, top)
        ax.fill_between(between, average[budgets >= 1], between_top, color=_AVERAGE["color"], alpha=0.15, linewidth=0)
        ax.plot(budgets, average, **dashes(_AVERAGE), label="average-K")
        ax.plot(whole, top, color=_TOP["color"], marker=_TOP["marker"], linestyle=":", linewidth=0.8, label="top-K")
        ax.set(xlabel="mean set size $K$", title=f"{name}", xlim=(0, 12.3), ylim=(0, 1))
        curves.append(pd.DataFrame({"profile": name, "mean_size": budgets, "average_error": average}))
        points.append(pd.DataFrame({"profile": name, "size": whole, "top_error": top, "average_error": at_whole}))
        best = int(np.argmax(top - at_whole))
        text = f"largest gain {top[best] - at_whole[best]:.3f}\nat $K={whole[best]}$"
        note(ax, text, (whole[best], (top[best] + at_whole[best]) / 2), (10, 45), arrowprops=_ARROW)
    fig.axes[0].set_ylabel("error")
    fig.axes[1].legend(loc="upper right")
    return fig, {"curves": pd.concat(curves), "points": pd.concat(points)}


@figure("average_k.sorted_profile")
def sorted_profile() -> tuple[Figure, pd.DataFrame]:
    """Where the gain comes from: the last label of top-2 and the next one over the inputs, and the threshold between.

    Geometric probabilities r^j, 20 labels. Left: r from 0.1 to 0.95; the next labels of ambiguous inputs are likelier
    than the last ones of clear inputs, and the shaded parts are what these two labels add to the gain. Right: r from
    0.45 to 0.55, where one threshold separates them.
    """
    parts = {"heterogeneous": (0.1, 0.95), "nearly homogeneous": (0.45, 0.55)}
    share = (np.arange(_INPUTS) + 0.5) / _INPUTS
    fig = Figure(figsize=(PAGE, 2.7), layout="constrained")
    tables = []
    for ax, (name, span_of_ratios) in zip(fig.subplots(1, 2, sharey=True), parts.items(), strict=True):
        profile = geometric_profile(np.linspace(*span_of_ratios, _INPUTS), _CLASSES)
        errors, ranked = optimal_errors(profile, 2), profile.ranked
        last, following = ranked[:, 1], ranked[:, 2]
        level = float(errors.threshold)
        ax.plot(share, last, **dashes(_TOP), label=r"$\eta_{(2)}$: last label of top-2")
        ax.plot(share, following, **dashes(_AVERAGE), label=r"$\eta_{(3)}$: the next one")
        ax.axhline(level, color=INK, linewidth=0.8)
        ax.fill_between(share, last, level, where=last < level, color=_TOP["color"], alpha=0.25, linewidth=0)
        ax.fill_between(
            share, level, following, where=following > level, color=_AVERAGE["color"], alpha=0.25, linewidth=0
        )
        ax.set(xlabel="share of the inputs, clear to ambiguous", title=f"{name}: gain {errors.gain:.3f}")
        ax.set(xlim=(0, 1), ylim=(0, 0.37))
        note(ax, rf"$\lambda_2={level:.3f}$", (0.22, level), (0, 3))
        columns = {"ratios": name, "share": share, "last": last, "following": following, "threshold": level}
        tables.append(pd.DataFrame(columns))
    fig.axes[0].set_ylabel("probability")
    fig.axes[0].legend(loc="upper left")
    return fig, pd.concat(tables)


@figure("average_k.two_level_gain")
def two_level_gain() -> tuple[Figure, pd.DataFrame]:
    """The gain of average-K on two levels of ambiguity, against how many inputs are ambiguous, with its bounds.

    A part of the inputs is uniform over m labels, the others are certain. Lines: the closed form; dotted: its bound
    b(1 - b), b the part of the inputs with sets larger than K; 1/4 is never exceeded.
    """
    shares = np.linspace(0.004, 0.996, 249)
    fig = Figure(figsize=(PAGE, 2.7), layout="constrained")
    rows = []
    for ax, size in zip(fig.subplots(1, 2, sharey=True), (2, 3), strict=True):
        for line, labels in zip(LINES, (3, 5, 10), strict=False):
            if labels <= size:
                continue
            gains = np.array([two_level_errors(share, labels, size).gain for share in shares])
            crowded = [crowding(two_level_profile(share, labels, labels + 1), size) for share in shares]
            limits = np.array([gain_limit(b) for b in crowded])
            ax.plot(shares, gains, **dashes(line), label=f"$m={labels}$")
            ax.plot(shares, limits, color=line["color"], linestyle=":", linewidth=0.9)
            columns = {"size": size, "labels": labels, "hard_fraction": shares, "gain": gains, "limit": limits}
            rows.append(pd.DataFrame(columns))
        ax.axhline(0.25, color=INK, linewidth=0.8)
        ax.set(xlabel=r"ambiguous part $\rho$ of the inputs", title=f"$K={size}$", xlim=(0, 1), ylim=(0, 0.28))
    note(fig.axes[0], "1/4", (0.02, 0.25), (0, 3))
    fig.axes[0].set_ylabel("gain over top-K")
    handles, _ = fig.axes[0].get_legend_handles_labels()
    dotted = Line2D([], [], color=INK, linestyle=":", linewidth=0.9, label="$b(1-b)$")
    fig.legend(handles=[*handles, dotted], loc="outside lower center", ncols=4)
    return fig, pd.concat(rows)


@figure("average_k.size_function")
def size_function() -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Mean set size against the threshold, and the threshold of average-3; atoms make it jump past the budget.

    Profiles as in ``average_k.size_error``. At an atom a part of the tied labels fills the budget exactly.
    """
    profiles = {"two levels": two_level_profile(0.5, 10, _CLASSES), "geometric": _spread()}
    levels = np.unique(np.concatenate([np.geomspace(1e-3, 1, 300), [0.1, 0.1 + 1e-9]]))
    fig = Figure(figsize=(COLUMN, 2.8), layout="constrained")
    ax = fig.subplots()
    curves, points = [], []
    for line, (name, profile) in zip(LINES, profiles.items(), strict=False):
        sizes = [expected_size(profile, level) for level in levels]
        found = average_k_threshold(profile.probabilities, 3, profile.weights)
        ax.plot(levels, sizes, **dashes(line), label=name)
        ax.plot([found.value], [3], color=line["color"], marker=line["marker"], markersize=5.5)
        curves.append(pd.DataFrame({"profile": name, "level": levels, "expected_size": sizes}))
        points.append({"profile": name, "threshold": found.value, "tie_fraction": found.tie_fraction})
    ax.axhline(3, color=INK, linewidth=0.8)
    ax.set(xscale="log", xlim=(1e-3, 1), ylim=(0, 12), xlabel="threshold $t$", ylabel="mean set size $G(t)$")
    plain_ticks(ax.xaxis, (0.001, 0.01, 0.1, 1))
    note(ax, f"atom: {points[0]['tie_fraction']:.0%} of\nthe ties are in", (0.1, 3), (8, 10))
    note(ax, "$K=3$", (0.001, 3), (3, 3))
    ax.legend(loc="upper right")
    return fig, {"curves": pd.concat(curves), "thresholds": pd.DataFrame(points)}


@figure("average_k.estimated_profiles", needs=["average_k.estimated_profiles"])
def estimated_profiles(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """What average-2 gains over top-2 when the probabilities come from a few labels of each input.

    Left: error of top-2 minus that of average-2 with the same estimates, and with the true probabilities (lines).
    Right: the regrets of both rules on two of the profiles. 400 inputs, 10 labels;
    the estimate adds 1/10 to each count.
    """
    rows = matching(rows, size=2)
    keys = ["profile", "labels_per_input"]
    gains, optimal = summary(rows, keys, "gain"), summary(rows, keys, "optimal_gain")
    regrets = {rule: summary(rows, keys, f"regret_{rule}") for rule in ("top", "average")}
    fig = Figure(figsize=(PAGE, 2.9), layout="constrained")
    left, right = fig.subplots(1, 2)
    for line, (name, label) in zip(LINES, _PROFILE_NAMES.items(), strict=False):
        part = matching(optimal, profile=name)
        left.plot(part.labels_per_input, part["mean"], **dashes(line))
        error_bars(left, "labels_per_input", matching(gains, profile=name), line, label=label)
    for rule, filled in (("average", None), ("top", "white")):
        for name in ("uniform", "mixed"):
            shown = LINES[list(_PROFILE_NAMES).index(name)]
            part = matching(regrets[rule], profile=name)
            look = {"markerfacecolor": filled} if filled else {}
            right.plot(part.labels_per_input, part["mean"], color=shown["color"], linewidth=0.6)
            error_bars(right, "labels_per_input", part, shown, **look)
    left.set(xscale="log", xlabel="labels an input", ylabel="gain over top-2", ylim=(-0.01, 0.11))
    right.set(xscale="log", yscale="log", xlabel="labels an input", ylabel="regret", ylim=(5e-4, 0.3))
    for ax in (left, right):
        plain_ticks(ax.xaxis, (3, 10, 30, 100, 300, 1000))
    plain_ticks(right.yaxis, (0.001, 0.01, 0.1))
    handles, _ = left.get_legend_handles_labels()
    key = simulation_key(gains, "filled average-2, open top-2")
    fig.legend(handles=[*handles, key], loc="outside lower center", ncols=3)
    tables = {"gain": gains, "optimal": optimal}
    return fig, tables | {f"regret_{rule}": table for rule, table in regrets.items()}


@figure("average_k.feature_models", needs=["average_k.feature_models"])
def feature_models(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Regret of both rules against the training size, by training loss, in a well-specified model and in a wrong one.

    K = 1, 6 classes, 4 features. Left: η = softmax(2 W x), well specified for cross-entropy alone; the grey line is its
    bound. Right: η = softmax(8 W x / ||x||²), for which every linear model is wrong. Filled: average-1; open: top-1.
    """
    rows = matching(rows, size=1)
    keys = ["sharpness", "model", "num_examples"]
    regrets = {rule: summary(rows, keys, f"regret_{rule}") for rule in ("top", "average")}
    entropy = rows.loc[rows.model == "logistic"].assign(bound=lambda part: np.sqrt(2 * part.log_regret))
    bound = summary(entropy, keys, "bound")
    fig = Figure(figsize=(PAGE, 3.1), layout="constrained")
    titles = {"constant": "cross-entropy well specified", "fading": "misspecified"}
    for ax, (sharpness, title) in zip(fig.subplots(1, 2, sharey=True), titles.items(), strict=True):
        for line, (model, label) in zip(LINES, _MODEL_NAMES.items(), strict=False):
            for rule, style in (("average", "-"), ("top", ":")):
                part = matching(regrets[rule], sharpness=sharpness, model=model)
                ax.plot(part.num_examples, part["mean"], color=line["color"], linestyle=style, linewidth=0.9)
                look = {} if rule == "average" else {"markerfacecolor": "white"}
                error_bars(ax, "num_examples", part, line, label=label if rule == "average" else None, **look)
        part = matching(bound, sharpness=sharpness)
        ax.plot(part.num_examples, part["mean"], color=INK, linewidth=1.0)
        note(ax, "bound for cross-entropy", (part.num_examples.iloc[0], part["mean"].iloc[0]), (16, 4))
        ax.set(xscale="log", yscale="log", xlabel="training examples", title=title, ylim=(1e-4, 2))
        plain_ticks(ax.xaxis, (100, 1000, 10_000))
    plain_ticks(fig.axes[0].yaxis, (0.0001, 0.001, 0.01, 0.1, 1))
    fig.axes[0].set_ylabel("regret, $K=1$")
    handles, _ = fig.axes[0].get_legend_handles_labels()
    key = simulation_key(regrets["average"], "filled average-1, open top-1")
    fig.legend(handles=[*handles, key], loc="outside lower center", ncols=3)
    return fig, {"bound": bound, "regret_top": regrets["top"], "regret_average": regrets["average"]}


@figure("average_k.threshold", needs=["average_k.threshold_size", "average_k.overfit_threshold"])
def threshold(sizes: pd.DataFrame, overfit: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """How far the mean set size is off: by the number of unlabelled inputs, and by a threshold set on training inputs.

    Left: root mean square of the mean size minus K, inputs uniform on the simplex; lines: sd(size)/√N; grey: the
    distribution-free bound at 1/2 for 10 labels. Right: a nearly unpenalised logistic regression in 40 dimensions.
    """
    rms = sizes.assign(square=sizes.size_error**2)
    rms = summary(rms, ["num_classes", "size", "num_inputs"], "square")
    rms = rms.assign(rms=np.sqrt(rms["mean"]), rms_error=rms.standard_error / (2 * np.sqrt(rms["mean"])))
    fig = Figure(figsize=(PAGE, 2.9), layout="constrained")
    left, right = fig.subplots(1, 2)
    inputs = np.geomspace(rms.num_inputs.min(), rms.num_inputs.max(), 60)
    for line, (classes, size) in zip(LINES, ((10, 1), (10, 3), (50, 1), (50, 3)), strict=False):
        part = matching(rms, num_classes=classes, size=size)
        left.plot(inputs, np.sqrt(uniform_size_variance(classes, size) / inputs), **dashes(line))
        shown = part.assign(mean=part.rms, standard_error=part.rms_error)
        error_bars(left, "num_inputs", shown, line, label=f"$C={classes}$, $K={size}$")
    free = [size_deviation(10, n, 0.5) for n in inputs]
    left.plot(inputs, free, color=INK, linewidth=1.0)
    note(left, "distribution-free", (inputs[30], free[30]), (4, 2))
    left.set(xscale="log", yscale="log", xlabel="unlabelled inputs $N$", ylabel="error of the mean size, rms")
    left.set(ylim=(3e-3, 6))
    plain_ticks(left.xaxis, (30, 100, 300, 1000, 3000, 10_000))
    plain_ticks(left.yaxis, (0.01, 0.1, 1))
    left.legend(loc="lower left")
    means = summary(overfit, ["calibration", "num_examples"], "mean_size")
    for line, (name, text) in zip(LINES, (("train", "training inputs"), ("fresh", "fresh inputs")), strict=False):
        part = matching(means, calibration=name)
        right.plot(part.num_examples, part["mean"], color=line["color"], linewidth=0.9)
        error_bars(right, "num_examples", part, line, label=f"threshold from {text}")
    right.axhline(2, color=INK, linewidth=0.8)
    right.set(xscale="log", xlabel="training examples", ylabel="mean size on further inputs", ylim=(1.5, 2.5))
    plain_ticks(right.xaxis, (100, 400, 1000, 4000, 16_000))
    handles, _ = right.get_legend_handles_labels()
    right.legend(handles=[*handles, simulation_key(means, "$K=2$")], loc="upper right")
    return fig, {"rms": rms, "mean_size": means}


@figure("average_k.networks")
def networks() -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Errors of top-K and average-K on trained networks, and the sizes of the sets.

    Top: means over networks (CE) with 95 % intervals, the threshold from validation images. Bottom: sizes of the sets
    of average-2 over test images.
    """
    tables = network_tables("sets")
    fig = Figure(figsize=(COLUMN if len(tables) == 1 else PAGE, 4.2), layout="constrained")
    axes = fig.subplots(2, len(tables), squeeze=False)
    errors, counts = [], []
    for (upper, lower), (folder, table) in zip(axes.T, tables.items(), strict=True):
        sizes = np.unique(table["size"].to_numpy())
        for k, (rule, line) in enumerate({"top": _TOP, "average": _AVERAGE}.items()):
            found = [interval(100 * each[f"{rule}_error"].to_numpy()) for _, each in table.groupby("size")]
            mean, half = np.array([each.mean for each in found]), np.array([each.half_width for each in found])
            bars(upper, sizes + 0.12 * (k - 0.5), mean, half, line)
            errors += [(folder, rule, *row) for row in zip(sizes, mean, half, strict=True)]
        shares = np.array(table[table["size"] == 2].set_sizes.tolist(), dtype=float)
        shares *= 100 / shares.sum(axis=1, keepdims=True)
        lower.bar(np.arange(shares.shape[1]), shares.mean(axis=0), color=_AVERAGE["color"], alpha=0.75)
        counts += [(folder, size, share) for size, share in enumerate(shares.mean(axis=0))]
        upper.set(xlabel="$K$", xticks=sizes, title=set_title(folder).replace(", ", "\n", 1), ylim=(0, None))
        lower.set(xlabel="labels in a set", xticks=range(0, shares.shape[1], 2))
    axes[0, 0].set_ylabel("test error, %")
    axes[1, 0].set_ylabel("test images under average-2, %")
    handles = [
        Line2D([], [], **{**line, "linestyle": "none"}, label=label)
        for line, label in ((_TOP, "top-$K$"), (_AVERAGE, "average-$K$"))
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=2)
    return fig, {
        "errors": pd.DataFrame(errors, columns=["records", "rule", "size", "error_percent", "half_width"]),
        "sizes": pd.DataFrame(counts, columns=["records", "set_size", "percent"]),
    }


_ARROW = {"arrowstyle": "-", "color": INK, "linewidth": 0.6}


def _average_error(profile: AmbiguityProfile, size: float) -> float:
    found = average_k_threshold(profile.probabilities, size, profile.weights)
    return float(profile.error(average_k_inclusion(profile.probabilities, found)))
