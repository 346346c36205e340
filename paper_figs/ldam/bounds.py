"""Figures of the bounds: the margin bound, the exponent each bound asks for, the low-order term, the deferred weights.

Source:
    Cao et al. (2019), arXiv:1906.07413. The formulas are those of `tailbound.theory.ldam`.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ...theory.core.class_counts import ClassCounts
from ...theory.ldam.bounds import (
    complexity_term,
    gain_over_equal_split,
    largest_margin,
    optimal_margins_with_low_order,
)
from ...theory.ldam.margins import class_margins, optimal_margins
from ...theory.ldam.weights import class_weights, effective_number
from ..core import COLUMN, INK, LINES, PAGE, dashes, dot, figure, nearest_points, note, plain_ticks

__all__ = ["RULES", "MarginRule", "binary_bound", "deferred_weights", "low_order", "optimal_exponents"]

LINEAR_CLASS = 2.0
"""√C(F) / B of a linear class ``|w| <= Λ``, ``|x| <= r`` scored by f and -f: √C(F) = 2 Λ r, B = Λ r."""


class MarginRule(NamedTuple):
    """A rule for the class margins: its name, what it optimises, and the margins up to scale."""

    name: str
    label: str
    margins: Callable[[ClassCounts], np.ndarray]


RULES = (
    MarginRule("per_class", "sum of per-class bounds, balanced error: $n^{-1/4}$ (LDAM)", optimal_margins),
    MarginRule("joint", "joint bound, balanced error: $n^{-1/3}$", lambda n: optimal_margins(n, bound="joint")),
    MarginRule(
        "joint_standard",
        "joint bound, standard error: $n^{+1/3}$",
        lambda n: optimal_margins(n, bound="joint", test_priors=n.priors),
    ),
    MarginRule("angle", "angle rule: $n^{-1/2}$ (MLA)", lambda n: class_margins(n, exponent=-1 / 2)),
)
"""Margin rules by what they minimise; the angle rule is Hasegawa and Sato's (2025), arXiv:2409.17582, tau = 1/2."""


@figure("ldam.binary_bound")
def binary_bound() -> tuple[Figure, dict[str, pd.DataFrame]]:
    """The binary margin bound against the split of the margin, relative to the equal split.

    Cao et al. (2019), Eq. 6-8. The bound is per class and without low-order term; its optimum is marked.
    """
    shares = np.unique(np.append(np.linspace(0.2, 0.95, 301), 0.5))
    curves, optima = [], []
    for ratio in (1, 10, 100, 1000):
        counts = _binary(ratio)
        equal = _bound_at(0.5, counts)
        values = [_bound_at(share, counts) / equal for share in shares]
        curves.append(pd.DataFrame({"imbalance_ratio": ratio, "rare_share": shares, "bound_over_equal": values}))
        optima.append((ratio, optimal_margins(counts)[1], gain_over_equal_split(ratio)))
    optimum = pd.DataFrame(optima, columns=["imbalance_ratio", "rare_share", "bound_over_equal"])
    ratios = np.unique(np.round(np.geomspace(1, 10**5, 81)).astype(int))
    path = pd.DataFrame(
        {
            "imbalance_ratio": ratios,
            "rare_share": [optimal_margins(_binary(ratio))[1] for ratio in ratios],
            "bound_over_equal": [gain_over_equal_split(int(ratio)) for ratio in ratios],
        }
    )

    fig = Figure(figsize=(COLUMN, 2.8), layout="constrained")
    ax = fig.subplots()
    ax.axhline(1, color=INK, linewidth=0.6)
    ax.axvline(0.5, color=INK, linewidth=0.6)
    ax.plot(path.rare_share, path.bound_over_equal, color=INK, linestyle=":", linewidth=1.0)
    for line, curve, (ratio, share, gain) in zip(LINES, curves, optima, strict=False):
        ax.plot(curve.rare_share, curve.bound_over_equal, **dashes(line))
        ax.plot(share, gain, **dot(line), zorder=3, clip_on=False)
        ax.plot([], [], **line, label=str(ratio))
    note(ax, "equal split", (0.5, 1.48), (3, 0), va="top")
    note(ax, "optima", (0.89, 0.59), (-1, -3), ha="right", va="top")
    ax.set(xlim=(0.2, 0.95), ylim=(0.5, 1.5))
    ax.set(xlabel="share of the margin given to the rare class", ylabel="bound / bound at equal split")
    fig.legend(
        *ax.get_legend_handles_labels(), title="imbalance ratio", loc="outside upper center", ncols=4, columnspacing=1.2
    )
    return fig, {"curves": pd.concat(curves), "optimum": optimum, "path": path}


@figure("ldam.optimal_exponents")
def optimal_exponents() -> tuple[Figure, dict[str, pd.DataFrame]]:
    """The margin exponent each bound asks for, and the margins it gives CIFAR-10-LT and CIFAR-100-LT.

    Per-class bound: Cao et al. (2019), Sec. 3.1. Joint bounds: derived (one Rademacher average for all classes); for
    the standard error the target priors are the training priors. Profiles at imbalance ratio 100, with mean 1.
    """
    ratios = np.unique(np.round(np.geomspace(1, 1000, 61)).astype(int))
    sets = {
        "CIFAR-10-LT": ClassCounts.long_tailed(100, num_classes=10, largest=5000),
        "CIFAR-100-LT": ClassCounts.long_tailed(100, num_classes=100, largest=500),
    }
    ratio_rows, profile_rows = [], []
    for rule in RULES:
        pairs = [rule.margins(_binary(ratio)) for ratio in ratios]
        values = [pair[1] / pair[0] for pair in pairs]
        ratio_rows.append(pd.DataFrame({"rule": rule.name, "imbalance_ratio": ratios, "margin_ratio": values}))
        for name, counts in sets.items():
            margins = rule.margins(counts)
            profile_rows.append(
                pd.DataFrame(
                    {
                        "dataset": name,
                        "rule": rule.name,
                        "class": np.arange(1, len(counts) + 1),
                        "count": counts.counts,
                        "margin_mean_1": margins / margins.mean(),
                        "margin_max_half": 0.5 * margins / margins.max(),
                    }
                )
            )
    ratio_table, profiles = pd.concat(ratio_rows), pd.concat(profile_rows)

    fig = Figure(figsize=(PAGE, 2.7), layout="constrained")
    axes = fig.subplots(1, 3)
    for ax in axes:
        ax.axhline(1, color=INK, linewidth=0.6)
        ax.set_yscale("log")
    for line, rule in zip(LINES, RULES, strict=False):
        rows = ratio_table.loc[ratio_table.rule == rule.name]
        axes[0].plot(
            rows.imbalance_ratio, rows.margin_ratio, **line, markevery=nearest_points(rows.imbalance_ratio, _DECADES)
        )
        for ax, name in zip(axes[1:], sets, strict=True):
            rows = profiles.loc[(profiles["rule"] == rule.name) & (profiles["dataset"] == name)]
            ax.plot(rows["class"], rows.margin_mean_1, **line, markevery=max(1, len(rows) // 10), label=rule.label)
    axes[0].set(xscale="log", xlabel="imbalance ratio", ylabel="optimal margin, rare / frequent")
    axes[0].set_title("two classes")
    plain_ticks(axes[0].xaxis, (1, 10, 100, 1000))
    plain_ticks(axes[0].yaxis, (0.1, 0.3, 1, 3, 10, 30))
    for ax, (name, counts) in zip(axes[1:], sets.items(), strict=True):
        ax.set(xlabel="class, from frequent to rare", ylim=(0.2, 3))
        ax.set_title(f"{name}, $n_k$ from {counts.counts[0]} to {counts.counts[-1]}")
        ax.set_xticks((1, 4, 7, 10) if len(counts) == 10 else (1, 25, 50, 75, 100))
        plain_ticks(ax.yaxis, (0.25, 0.5, 1, 2))
    axes[1].set_ylabel("margin / mean margin")
    fig.legend(*axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig, {"ratio": ratio_table, "profiles": profiles}


@figure("ldam.low_order")
def low_order() -> tuple[Figure, dict[str, pd.DataFrame]]:
    """How far the low-order term of Theorem 2 moves the optimal margins away from the -1/4 rule.

    Cao et al. (2019), Theorem 2, at failure probability 0.05. Left: against the complexity, with all the margins
    together equal to B. Right: against that total, up to the margin beyond which the term does not exist.
    """
    complexities, totals = np.geomspace(0.01, 10, 61), np.linspace(0.05, 1.9, 75)
    roots = (0.03, 0.1, 0.5, LINEAR_CLASS)
    edge = largest_margin(2, max_score=1.0, failure_probability=_FAILURE)
    left = pd.concat(
        [
            _low_order_rows(ratio, root_complexity=value, total=1.0)
            for ratio in (10, 100, 1000)
            for value in np.append(complexities, LINEAR_CLASS)
        ]
    ).sort_values(["imbalance_ratio", "root_complexity"])
    right = pd.concat([_low_order_rows(100, root_complexity=value, total=total) for value in roots for total in totals])

    fig = Figure(figsize=(PAGE, 2.5), layout="constrained")
    axes = fig.subplots(1, 2, sharey=True)
    for line, (ratio, rows) in zip(LINES, left.groupby("imbalance_ratio"), strict=False):
        marks = nearest_points(rows.root_complexity, (0.01, 0.03, 0.1, 0.3, 1, 3, 10))
        axes[0].plot(rows.root_complexity, rows.over_quarter_rule, **line, markevery=marks, label=f"{ratio:g}")
    for line, root in zip(LINES, roots, strict=False):
        rows = right.loc[right.root_complexity == root]
        axes[1].plot(rows.total, rows.over_quarter_rule, **line, markevery=(4, 10), label=_complexity_label(root))
    axes[0].axvline(LINEAR_CLASS, color=INK, linewidth=0.8, linestyle=(0, (4, 2)))
    note(axes[0], "linear class", (LINEAR_CLASS, 7), (-3, 0), ha="right")
    axes[1].axvspan(edge, 2.2, color="#e6e6e6", linewidth=0)
    note(axes[1], "a margin may leave the domain", ((edge + 2.2) / 2, 2.7), ha="center", va="center", rotation=90)
    axes[0].set(xscale="log", xlabel=r"complexity $\sqrt{C(F)}\,/\,B$", ylabel="margin ratio / $n^{-1/4}$ ratio")
    axes[1].set(xlabel=r"total margin $(\gamma_1+\gamma_2)\,/\,B$", xlim=(0, 2.2))
    axes[0].set(yscale="log", ylim=(0.93, 8), title="total margin $B$")
    axes[1].set_title("imbalance ratio 100")
    axes[0].legend(title="imbalance ratio", loc="upper left", bbox_to_anchor=(0.15, 1))
    axes[1].legend(title=r"complexity $\sqrt{C(F)}\,/\,B$", loc="upper left")
    for ax in axes:
        ax.axhline(1, color=INK, linewidth=0.6)
    plain_ticks(axes[0].xaxis, (0.01, 0.1, 1, 10))
    plain_ticks(axes[0].yaxis, (1, 1.5, 2, 3, 5))
    axes[1].set_xticks((0, 0.5, 1, 1.5, 2))
    return fig, {"complexity": left, "total": right}


@figure("ldam.deferred_weights")
def deferred_weights() -> tuple[Figure, pd.DataFrame]:
    """The weights of the deferred stage, inverse against effective number, from 10 to 500 000 examples.

    Cao et al. (2019), Algorithm 1 (inverse); Cui et al. (2019), Sec. 3.2 (effective number). Left: the weight of a
    class over that of one with 500 000 examples. Right: the weight over 1 / n, i.e. n / E_n.
    """
    counts = ClassCounts(tuple(np.unique(np.round(np.geomspace(10, 500_000, 141)).astype(int)).tolist()))
    tables = []
    for beta in (1, *_BETAS):  # the effective number at beta → 1 is the count: the inverse rule
        rule = "inverse" if beta == 1 else "effective"
        weights = class_weights(counts, rule=rule, beta=beta)
        sizes = counts.array if beta == 1 else effective_number(counts.array, beta)
        tables.append(
            pd.DataFrame(
                {
                    "rule": rule,
                    "beta": float(beta),
                    "count": counts.counts,
                    "weight_over_largest": weights / weights[-1],
                    "weight_times_count": counts.array / sizes,
                }
            )
        )

    fig = Figure(figsize=(PAGE, 2.8), layout="constrained")
    axes = fig.subplots(1, 2)
    styles = (LINES[-1], *LINES[:-1])
    for line, table, beta in zip(styles, tables, (1, *_BETAS), strict=True):
        label = r"inverse $1/n$" if beta == 1 else rf"effective, $\beta={beta:g}$"
        marks = nearest_points(table["count"], (10, 100, 1000, 10_000, 100_000))
        axes[0].plot(table["count"], table.weight_over_largest, **line, markevery=marks, label=label)
        axes[1].plot(table["count"], table.weight_times_count, **line, markevery=marks)
    axes[1].axvspan(50, 5000, color="#eeeeee", linewidth=0, zorder=0)
    note(axes[1], "class sizes of\nCIFAR-10-LT", (500, 5e4), ha="center", va="top")
    for ax in axes:
        ax.set(xscale="log", yscale="log", xlabel="examples $n$ of the class")
        plain_ticks(ax.xaxis, (10, 100, 1000, 10_000, 100_000))
        plain_ticks(ax.yaxis, (1, 10, 100, 1000, 10_000, 100_000))
    axes[0].set_ylabel("weight / weight at 500k examples")
    axes[1].set_ylabel("weight / inverse weight")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return fig, pd.concat(tables)


_DECADES = (1, 10, 100, 1000)
_BETAS = (0.999999, 0.9999, 0.999, 0.99, 0.9)
_FAILURE = 0.05


def _binary(ratio: int) -> ClassCounts:
    return ClassCounts((100 * int(ratio), 100))


def _bound_at(rare_share: float, counts: ClassCounts) -> float:
    return complexity_term(np.array([1 - rare_share, rare_share]), counts, complexity=1.0)


def _low_order_rows(ratio: int, *, root_complexity: float, total: float) -> pd.DataFrame:
    counts = _binary(ratio)
    common, rare = optimal_margins_with_low_order(
        counts, total=total, complexity=root_complexity**2, max_score=1.0, failure_probability=_FAILURE
    )
    without = optimal_margins(counts, total=total)
    row = {"imbalance_ratio": ratio, "root_complexity": root_complexity, "total": total, "frequent": common}
    return pd.DataFrame([row | {"rare": rare, "over_quarter_rule": (rare / common) / (without[1] / without[0])}])


def _complexity_label(root_complexity: float) -> str:
    return f"{root_complexity:g}" + " (linear class)" * (root_complexity == LINEAR_CLASS)
