"""Figures of LogitClip: ranges of the clipped loss, what noise costs, the operator of the released code, memorisation.

Source:
    Wei et al. (2023), arXiv:2212.04055. The formulas are those of `tailbound.theory.logit_clip`.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..nn_validation.core.evidence import noise_rate, noisy_sets
from ..nn_validation.core.realised import CLIP
from ..sims.core.study import matching
from ..sims.logit_clip import CERTAIN
from ..theory.logit_clip.clip import clip_logits, clipped_gradient, released_clip
from ..theory.logit_clip.minimiser import risk_gap
from ..theory.logit_clip.noise import class_dependent_threshold, symmetric_bounds, symmetric_gap, zero_gap_threshold
from ..theory.logit_clip.ranges import loss_range, probability_range
from .core import (
    COLUMN,
    INK,
    LINES,
    PAGE,
    dashes,
    dot,
    error_bars,
    figure,
    note,
    plain_ticks,
    simulation_key,
    span,
    summary,
)
from .runs import LOOKS, key, panels, spread, sweep_panels

__all__ = [
    "gradient_size",
    "loss_ranges",
    "memorisation",
    "network_epochs",
    "networks",
    "noise_gap",
    "operators",
    "reach",
    "uneven_noise",
]

INF = float("inf")
NORMS = {1.0: "$p=1$", 2.0: "$p=2$", INF: r"$p=\infty$"}
RATES = (0.2, 0.4, 0.5)


@figure("logit_clip.loss_ranges")
def loss_ranges() -> tuple[Figure, pd.DataFrame]:
    """The exact range of the clipped cross-entropy against the threshold, for three norms.

    The range at p = ∞ is the one stated for every norm, log(1 + (K-1) e^(±2τ)); for other norms it is loose.
    """
    thresholds = np.geomspace(0.01, 5, 120)
    rows = [
        {"num_classes": K, "norm": p, "max_norm": t, **loss_range(t, K, norm=p)._asdict()}
        for K in (10, 100)
        for p in NORMS
        for t in thresholds
    ]
    table = pd.DataFrame(rows)
    fig = Figure(figsize=(PAGE, 2.6), layout="constrained")
    axes = fig.subplots(1, 2)
    for ax, K in zip(axes, (10, 100), strict=True):
        for line, (p, label) in zip(LINES, NORMS.items(), strict=False):
            shown = matching(table, num_classes=K, norm=p)
            ax.plot(shown.max_norm, shown.low, **dashes(line))
            ax.plot(shown.max_norm, shown.high, **dashes(line), label=label)
        ax.axhline(np.log(K), color=INK, linewidth=0.6)
        note(ax, r"$\log K$", (5, np.log(K)), (-2, 3), ha="right")
        ax.set(xlim=(0, 5), ylim=(0, None), xlabel=r"threshold $\tau$", title=f"$K={K}$")
    axes[0].set_ylabel("least and largest loss")
    axes[0].legend(loc="upper left")
    return fig, table.assign(norm=table.norm.map(_name))


@figure("logit_clip.reach")
def reach() -> tuple[Figure, dict[str, pd.DataFrame]]:
    """The largest probability that clipped logits reach against the threshold, and the zero-gap thresholds.

    K = 10. Under symmetric noise η the best clipped fit is that of clean labels as long as it cannot reach 1 - η.
    """
    thresholds = np.linspace(0.02, 5, 200)
    curves = pd.DataFrame(
        [
            {"norm": _name(p), "max_norm": t, "probability": probability_range(t, 10, norm=p).high}
            for p in NORMS
            for t in thresholds
        ]
    )
    marks = pd.DataFrame(
        [
            {
                "norm": _name(p),
                "noise_rate": eta,
                "max_norm": zero_gap_threshold(eta, 10, norm=p),
                "probability": 1 - eta,
            }
            for p in NORMS
            for eta in RATES
        ]
    )
    fig = Figure(figsize=(COLUMN, 2.6), layout="constrained")
    ax = fig.subplots()
    for line, (p, label) in zip(LINES, NORMS.items(), strict=False):
        shown, points = matching(curves, norm=_name(p)), matching(marks, norm=_name(p))
        ax.plot(shown.max_norm, shown.probability, **dashes(line))
        ax.plot(points.max_norm, points.probability, **dot(line))
        ax.plot([], [], **line, label=label)
    for eta in RATES:
        ax.axhline(1 - eta, color=INK, linewidth=0.6, zorder=1)
        note(ax, rf"$\eta={eta:g}$", (0, 1 - eta), (3, 2))
    ax.set(xlim=(0, 5), ylim=(0, 1), xlabel=r"threshold $\tau$", ylabel=r"largest probability; $1-\eta$")
    fig.legend(
        *ax.get_legend_handles_labels(), title=r"norm; marks: $\tau^*(\eta)$", loc="outside upper center", ncols=3
    )
    return fig, {"curves": curves, "thresholds": marks}


@figure("logit_clip.noise_gap", needs=["logit_clip.noise_gap"])
def noise_gap(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """What symmetric noise costs on the clean risk: the exact gap, the bounds, and ambiguous labels by simulation.

    K = 10, p = 2. Lines: certain labels. The gap is 0 up to the zero-gap threshold. Marks: Gaussian classes with means
    s e_k, whose labels are ambiguous.
    """
    bounds = []
    for eta in RATES:
        corner = zero_gap_threshold(eta, 10)
        for t in np.unique([*np.geomspace(0.15, 5, 160), *corner * (1 + np.geomspace(1e-5, 0.02, 12))]):
            found = symmetric_bounds(eta, t, 10)._asdict()
            bounds.append({"noise_rate": eta, "max_norm": t, "gap": symmetric_gap(eta, t, 10)} | found)
    lines = pd.DataFrame(bounds)
    chosen = matching(rows, noise="symmetric", norm=2.0)
    points = summary(chosen, ["noise_rate", "signal_strength", "max_norm"], "clean")
    points = points.loc[points.signal_strength < CERTAIN]

    fig = Figure(figsize=(PAGE, 2.9), layout="constrained")
    axes = fig.subplots(1, 3, sharey=True)
    names = {"gap": "exact gap", "sharp": "sharp bound", "crude": "crude bound", "trivial": "width of the loss"}
    styles = dict(zip(names, LINES, strict=False))
    signals = dict(zip(sorted(points.signal_strength.unique()), LINES[4:], strict=False))
    for ax, eta in zip(axes, RATES, strict=True):
        shown = matching(lines, noise_rate=eta)
        for name, line in styles.items():
            positive = shown.loc[shown[name] > 1e-12]
            ax.plot(positive.max_norm, positive[name], **dashes(line))
        for signal, line in signals.items():
            error_bars(ax, "max_norm", matching(points, noise_rate=eta, signal_strength=signal), line)
        ax.axvline(zero_gap_threshold(eta, 10), color=INK, linewidth=0.8, linestyle=":")
        ax.set(xscale="log", yscale="log", ylim=(1e-6, 60), xlabel=r"threshold $\tau$", title=rf"$\eta={eta:g}$")
        plain_ticks(ax.xaxis, (0.2, 0.5, 1, 2, 5))
    note(axes[2], r"$\tau^*$", (zero_gap_threshold(0.5, 10), 3e-6), (3, 0))
    axes[0].set_ylabel("excess clean risk, bound")
    handles = [Line2D([], [], **dashes(styles[name]), label=label) for name, label in names.items()]
    handles += [
        Line2D([], [], color=line["color"], marker=line["marker"], linestyle="none", label=f"ambiguous, $s={signal:g}$")
        for signal, line in signals.items()
    ]
    handles.append(simulation_key(points, "12 points", marker="none"))
    fig.legend(handles=handles, loc="outside upper center", ncols=4)
    return fig, {"theory": lines, "simulation": points}


@figure("logit_clip.uneven_noise", needs=["logit_clip.noise_gap"])
def uneven_noise(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """What uneven noise costs on the clean risk under three norms; only p = 1 has a zero-gap threshold.

    K = 10, certain labels, each class taken for the next with probability 0.4. Marks: transitions drawn at random.
    """
    pairs = 0.6 * np.eye(10) + 0.4 * np.roll(np.eye(10), 1, axis=1)
    threshold = class_dependent_threshold(pairs, norm=1.0)
    thresholds = np.unique([*np.linspace(0.1, 4, 60), threshold])
    curves = pd.DataFrame(
        [
            {"norm": _name(p), "max_norm": t, "gap": risk_gap(np.eye(10)[:1], pairs, t, norm=p).clean}
            for p in NORMS
            for t in thresholds
        ]
    )
    chosen = matching(rows, noise="drawn").assign(norm=lambda each: each.norm.map(_name))
    points = summary(chosen, ["norm", "max_norm"], "clean")
    fig = Figure(figsize=(COLUMN, 2.8), layout="constrained")
    ax = fig.subplots()
    for line, (p, label) in zip(LINES, NORMS.items(), strict=False):
        shown = matching(curves, norm=_name(p))
        ax.plot(shown.max_norm, shown.gap, **dashes(line))
        error_bars(ax, "max_norm", matching(points, norm=_name(p)), line)
        ax.plot([], [], **line, label=label)
    ax.axvline(threshold, color=INK, linewidth=0.8, linestyle=":")
    note(ax, rf"$\tau^*={threshold:.2f}$", (threshold, 0.62), (3, 0))
    ax.set(xlim=(0, 4.1), ylim=(-0.02, 0.7), xlabel=r"threshold $\tau$", ylabel="excess clean risk")
    title = f"lines: pairs of classes; marks: drawn noise, {span(points.draws)} draws, ±2 s.e."
    fig.legend(*ax.get_legend_handles_labels(), title=title, loc="outside upper center", ncols=3)
    return fig, {"pairs": curves, "simulation": points}


@figure("logit_clip.operators")
def operators() -> tuple[Figure, pd.DataFrame]:
    """Length of the logits before and after clipping: the paper's operator and the released code's at equal 1/τ.

    The code compares the norm with temp = 1/τ and rescales to 1/temp: a dead zone, a jump, and lengthening below 1.
    """
    lengths = np.geomspace(0.03, 30, 601)
    logits = lengths[:, None] * np.array([0.6, 0.8])
    maps = []
    for temperature in (0.1, 0.5, 1.0, 1.5, 5.0):
        for name, clipped in (
            ("paper", clip_logits(logits, 1 / temperature)),
            ("code", released_clip(logits, temperature)),
        ):
            out = np.linalg.norm(clipped, axis=1)
            maps.append(pd.DataFrame({"operator": name, "temperature": temperature, "before": lengths, "after": out}))
    table = pd.concat(maps, ignore_index=True)
    fig = Figure(figsize=(PAGE, 2.7), layout="constrained")
    axes = fig.subplots(1, 2, sharey=True)
    for ax, name in zip(axes, ("paper", "code"), strict=True):
        for line, (temperature, part) in zip(
            LINES, matching(table, operator=name).groupby("temperature"), strict=False
        ):
            after = part.after.where(np.abs(np.diff(part.after, prepend=part.after.iloc[0])) < 0.1 * part.after)
            ax.plot(part.before, after, **dashes(line), label=f"{temperature:g}")
        ax.plot(lengths, lengths, color=INK, linewidth=0.6, zorder=1)
        ax.set(xscale="log", yscale="log", xlabel="norm of the logits")
        plain_ticks(ax.xaxis, (0.1, 1, 10))
        plain_ticks(ax.yaxis, (0.1, 1, 10))
    axes[0].set(title="paper", ylabel="norm after clipping")
    axes[1].set(title="released code")
    fig.legend(*axes[0].get_legend_handles_labels(), title=r"$1/\tau$", loc="outside right center")
    return fig, table


@figure("logit_clip.gradient_size")
def gradient_size() -> tuple[Figure, pd.DataFrame]:
    """Length of the loss's gradient in the logits against their norm, for an example with a wrong label.

    K = 10, p = 2, logits along the best direction for another class. Beyond τ the gradient falls as 1 / ||z||.
    """
    lengths = np.geomspace(0.05, 100, 300)
    direction = np.where(np.arange(10) == 1, 1.0, -1 / 9)
    logits = lengths[:, None] * direction / np.linalg.norm(direction)
    labels = np.zeros(len(lengths), dtype=int)
    curves = [
        pd.DataFrame(
            {
                "max_norm": t,
                "norm": lengths,
                "gradient": np.linalg.norm(clipped_gradient(logits, labels, t), axis=1),
            }
        )
        for t in (0.5, 1.0, 2.0, 5.0, 1000.0)
    ]
    table = pd.concat(curves, ignore_index=True)
    fig = Figure(figsize=(COLUMN, 2.6), layout="constrained")
    ax = fig.subplots()
    for line, (threshold, part) in zip(LINES, table.groupby("max_norm"), strict=False):
        ax.plot(part.norm, part.gradient, **dashes(line), label=f"{threshold:g}".replace("1000", "none"))
    ax.set(xscale="log", yscale="log", xlabel="norm of the logits", ylabel="norm of the gradient")
    plain_ticks(ax.xaxis, (0.1, 1, 10, 100))
    plain_ticks(ax.yaxis, (0.001, 0.01, 0.1, 1))
    fig.legend(
        *ax.get_legend_handles_labels(),
        title=r"$\tau$",
        loc="outside upper center",
        ncols=5,
        handlelength=2,
        columnspacing=1,
    )
    return fig, table


@figure("logit_clip.memorisation", needs=["logit_clip.memorisation"])
def memorisation(rows: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Wrong labels learnt by heart and accuracy on new points against the threshold: a linear model, two step lengths.

    Four Gaussian classes, 40 % of the labels wrong, 200 steps of gradient descent from 0; the step is that many times
    the inverse of the largest eigenvalue of X'X. The right end is not clipped.
    """
    by = ["dimension", "rate", "max_norm"]
    columns = {"memorised": "wrong labels learnt", "accuracy": "accuracy on new points"}
    table = pd.concat([summary(rows, by, column).assign(quantity=column) for column in columns])
    fig = Figure(figsize=(PAGE, 3.0), layout="constrained")
    axes = fig.subplots(1, 2, sharey=True)
    examples = rows.num_examples.iloc[0]
    for ax, (dimension, part) in zip(axes, table.groupby("dimension"), strict=True):
        looks = iter(LINES)
        for column, label in columns.items():
            for rate, shown in matching(part, quantity=column).groupby("rate"):
                line: dict[str, Any] = next(looks)
                error_bars(ax, "max_norm", shown, line, linestyle=line["linestyle"], linewidth=1.0)
                ax.plot([], [], **line, label=f"{label}, step {rate:g}")
        ax.set(xscale="log", ylim=(0, 1.02), xlabel=r"threshold $\tau$", title=f"$d/n={dimension / examples:g}$")
        plain_ticks(ax.xaxis, (0.1, 1, 10, 100, 1000))
    axes[0].set_ylabel("share")
    handles, _ = axes[0].get_legend_handles_labels()
    handles.append(simulation_key(table, f"$n$ = {examples}", marker="none"))
    fig.legend(handles=handles, loc="outside upper center", ncols=2)
    return fig, table


@figure("logit_clip.networks")
def networks() -> tuple[Figure, pd.DataFrame]:
    """Networks with clipped logits under label flips: test accuracy against the threshold, and what they memorise.

    Means over seeds at the last epoch with 95 % intervals; 2-norm, ``none`` is cross-entropy. Rings: the threshold with
    the least error on validation images, whose labels are as noisy.
    """
    fig, _, table = sweep_panels(CLIP, r"threshold $\tau$")
    return fig, table


@figure("logit_clip.network_epochs")
def network_epochs() -> tuple[Figure, pd.DataFrame]:
    """Test error and memorised wrong labels against the epoch, 40 % of the labels flipped: CE, LogitClip, α-loss.

    Means over seeds, bands from the least to the greatest; memorised of augmented images while the weights move.
    """
    methods = ("ce", "clip:max_norm=1", "alpha:alpha=3")
    fig, axes, sets = panels([each for each in noisy_sets(*methods) if noise_rate(each) == 0.4], 2, 3.9, sharex="col")
    rows = []
    for (upper, lower), runs in zip(axes.T, sets, strict=True):
        for method in methods:
            looked, test = runs.curve(method, "test_accuracy")
            epochs, memorised = runs.curve(method, "memorised")
            drawn = {"test error": (upper, looked, 100 * (1 - test.mean(axis=2)))}
            drawn["memorised"] = (lower, epochs, 100 * memorised)
            for name, (ax, at, values) in drawn.items():
                spread(ax, at, values, LOOKS[method])
                rows += [(runs.folder, method, name, e, v) for e, v in zip(at, values.mean(axis=0), strict=True)]
        upper.set(ylim=(0, None))
        lower.set(xlabel="epoch", ylim=(0, None))
    axes[0, 0].set_ylabel("balanced test error, %")
    axes[1, 0].set_ylabel("wrong labels memorised, %")
    key(fig, methods)
    return fig, pd.DataFrame(rows, columns=["records", "method", "quantity", "epoch", "percent"])


def _name(norm: float) -> str:
    return f"p = {norm:g}"
