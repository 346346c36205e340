"""Figures of the cost-sensitive SVM: errors against the margin ratio, overparameterisation and the prior.

Source:
    Kini et al. (2021), arXiv:2103.01550, Theorem 2; Lyu, Zhou, Zhong (2026), arXiv:2502.11323, Prop. 3.1.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...sims.core.study import matching
from ...theory.vs_loss.asymptotics import HardMargin, hard_margin, hard_margin_map, separability_threshold
from ...theory.vs_loss.mixture import GaussianMixture
from ..core import (
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
    summary,
)

__all__ = ["margin_ratio", "prior_and_ratio"]

_ERRORS = {
    "balanced_error": r"balanced error $R_\mathrm{bal}$",
    "error": "misclassification error $R$",
    "error_plus": "minority error $R_+$",
    "error_minus": "majority error $R_-$",
}
_CLASS_ERRORS = {name: _ERRORS[name] for name in ("error_plus", "error_minus", "balanced_error")}
_SHOWN = (0.3, 0.8, 2.0, 5.0)  # aspect ratios with a curve of their own


@figure("vs_loss.margin_ratio", needs=["vs_loss.cs_svm_errors"])
def margin_ratio(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Errors of the cost-sensitive SVM against the margin ratio, and the balanced error against overparameterisation.

    Lines: the proportional limit. Rings: the ratio at which both class errors are equal and the balanced error is
    least. Last panel: the balanced error at ratio 1 and at that ratio, from the separability threshold on.
    """
    rows = matching(rows, prior=0.1, norms=(3.0, 2.0), num_examples=400)
    rows = rows.loc[[len(ratios) > 4 for ratios in rows.margin_ratios]]
    setting = rows.iloc[0]
    mixture = GaussianMixture.binary(setting.prior, setting.norms, setting.inner)
    ratios = np.geomspace(0.9, 16, 120)
    curves = pd.concat([_limit_rows(hard_margin(mixture, g).at_ratio(ratios)) for g in _SHOWN])
    optima = pd.concat([_limit_rows(hard_margin(mixture, g).at_best_ratio()) for g in _SHOWN])
    threshold = separability_threshold(mixture)
    grid = threshold + np.geomspace(1e-3, rows.aspect_ratio.max() * 1.05 - threshold, 80)
    limits = [hard_margin(mixture, g) for g in grid]
    path = pd.concat(
        [_limit_rows(limit).assign(ratio="one") for limit in limits]
        + [
            _limit_rows(limit.at_best_ratio()).assign(
                ratio="optimal" if limit.optimal_margin_ratio < np.inf else "infinite"
            )
            for limit in limits
        ]
    )
    points = pd.concat(
        summary(rows, ["aspect_ratio", "margin_ratio", "optimal"], error).assign(error=error) for error in _ERRORS
    )

    fig = Figure(figsize=(PAGE, 4.4), layout="constrained")
    axes = fig.subplots(2, 3)
    for ax, (error, title) in zip((*axes[0, :2], *axes[1, :2]), _ERRORS.items(), strict=True):
        for line, aspect_ratio in zip(LINES, _SHOWN, strict=False):
            curve, best = (table.loc[table.aspect_ratio == aspect_ratio] for table in (curves, optima))
            ax.plot(curve.margin_ratio, curve[error], **dashes(line))
            ax.plot(best.margin_ratio, best[error], **_ring(line))
            shown = (points.aspect_ratio == aspect_ratio) & (points.error == error) & ~points.optimal
            error_bars(ax, "margin_ratio", points.loc[shown], line)
        ax.set(xscale="log", title=title, xlabel=r"margin ratio $\delta$")
        ax.set_ylim(bottom=0)
        plain_ticks(ax.xaxis, (1, 2, 4, 8, 16))
    _aspect_panel(axes[0, 2], path, points.loc[points.error == "balanced_error"], threshold)
    axes[1, 2].axis("off")
    handles = [Line2D([], [], **line, label=f"$d/n={g:g}$") for line, g in zip(LINES, _SHOWN, strict=False)]
    handles += [Line2D([], [], **_ring(LINES[5]), label=r"optimal ratio $\delta_*$")]
    handles += [
        Line2D([], [], **dict(LINES[5], linestyle="-"), label=r"$\delta=1$"),
        Line2D([], [], **dict(LINES[4], linestyle="-"), label=r"$\delta=\delta_*$"),
        Line2D([], [], color=LINES[4]["color"], linestyle=":", label=r"$\delta\to\infty$: no finite optimum"),
        simulation_key(points, f"$n={setting.num_examples}$", gap="\n"),
    ]
    title = rf"$\pi={setting.prior:g}$, orthogonal means, norms {setting.norms[0]:g} and {setting.norms[1]:g}"
    axes[1, 2].legend(handles=handles, title=title, loc="upper left", bbox_to_anchor=(-0.25, 1.1), borderpad=0)
    return fig, {"ratio": curves, "optima": optima, "aspect": path, "simulation": points}


@figure("vs_loss.prior_and_ratio", needs=["vs_loss.cs_svm_errors"])
def prior_and_ratio(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Errors of the cost-sensitive SVM against the minority's prior, three signals, and the margin ratio, three priors.

    Antipodal means. Lines: the proportional limit. Top: plain SVM, and in the last panel the optimal ratio too, where
    all three errors are one; dotted where no finite ratio is optimal and the balanced error is that of an infinite one.
    Bottom: rings mark the optimal ratio.
    """
    rows = rows.loc[[inner == -norms[0] * norms[1] for norms, inner in zip(rows.norms, rows.inner, strict=True)]]
    rows = rows.loc[rows.aspect_ratio == 0.5].assign(signal_strength=lambda frame: [norms[0] for norms in frame.norms])
    by_prior = rows.loc[[None in ratios for ratios in rows.margin_ratios]]
    by_ratio = rows.loc[[None not in ratios for ratios in rows.margin_ratios]]
    top, bottom = (
        pd.concat(summary(part, by, error).assign(error=error) for error in _CLASS_ERRORS)
        for part, by in (
            (by_prior, ["signal_strength", "prior", "optimal"]),
            (by_ratio, ["prior", "margin_ratio"]),
        )
    )
    strengths, priors = sorted(by_prior.signal_strength.unique()), sorted(by_ratio.prior.unique())
    strength = by_ratio.signal_strength.iloc[0]
    curves = pd.concat([_prior_curves(m, by_prior.prior.min(), by_prior.prior.max()) for m in strengths])
    ratios = np.geomspace(0.9, 1.05 * by_ratio.margin_ratio.max(), 100)
    limits = {prior: hard_margin(GaussianMixture.antipodal(prior, strength), 0.5) for prior in priors}
    paths = pd.concat([_limit_rows(limit.at_ratio(ratios)).assign(prior=prior) for prior, limit in limits.items()])
    optima = pd.concat([_limit_rows(limit.at_best_ratio()).assign(prior=prior) for prior, limit in limits.items()])

    fig = Figure(figsize=(PAGE, 4.6), layout="constrained")
    axes = fig.subplots(2, 3)
    for column, (error, title) in enumerate(_CLASS_ERRORS.items()):
        for line, m in zip(LINES, strengths, strict=False):
            shown = curves.loc[curves.signal_strength == m]
            points = top.loc[(top.signal_strength == m) & (top.error == error)]
            for kind, style in (("one", "-"), ("optimal", (0, (5, 1.5))), ("infinite", ":")):
                if kind == "one" or error == "balanced_error":
                    part = shown.loc[shown.ratio == kind]
                    axes[0, column].plot(part.prior, part[error], color=line["color"], linestyle=style)
            error_bars(axes[0, column], "prior", points.loc[~points.optimal], line)
            if error == "balanced_error":
                error_bars(axes[0, column], "prior", points.loc[points.optimal], line, markerfacecolor="white")
        for line, prior in zip(LINES[3:], priors, strict=False):
            shown, best = (table.loc[table.prior == prior] for table in (paths, optima))
            axes[1, column].plot(shown.margin_ratio, shown[error], **dashes(line))
            axes[1, column].plot(best.margin_ratio, best[error], **_ring(line))
            error_bars(
                axes[1, column], "margin_ratio", bottom.loc[(bottom.prior == prior) & (bottom.error == error)], line
            )
        axes[0, column].set(title=title, xlabel=r"prior $\pi$ of the minority", ylim=(0, None))
        axes[1, column].set(xscale="log", xlabel=r"margin ratio $\delta$", ylim=(0, None))
        plain_ticks(axes[1, column].xaxis, (1, 2, 3, 4, 6))
    handles = [
        *(
            Line2D([], [], **dict(line, linestyle="-"), label=rf"$\|\mu\|={m:g}$")
            for line, m in zip(LINES, strengths, strict=False)
        ),
        *(
            Line2D([], [], **line, label=rf"$\pi={prior:g}$, $\|\mu\|={strength:g}$")
            for line, prior in zip(LINES[3:], priors, strict=False)
        ),
        Line2D(
            [],
            [],
            color=INK,
            marker="o",
            markerfacecolor="white",
            linestyle=(0, (5, 1.5)),
            label=r"error at $\delta_*$",
        ),
        Line2D([], [], color=INK, linestyle=":", label=r"$\delta\to\infty$: no finite optimum"),
        Line2D([], [], **_ring(LINES[5]), label=r"optimal ratio $\delta_*$"),
        simulation_key(pd.concat([top, bottom]), f"$n={rows.num_examples.iloc[0]}$", gap="\n"),
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=4, columnspacing=1.2)
    return fig, {"prior": curves, "ratio": paths, "optima": optima, "simulation_prior": top, "simulation_ratio": bottom}


def _prior_curves(signal: float, low: float, high: float) -> pd.DataFrame:
    priors = np.geomspace(low, high, 80)
    limit = hard_margin_map(priors, signal, 0.5)
    kinds = np.where(np.isinf(limit.optimal_margin_ratio), "infinite", "optimal")
    one, best = (_limit_rows(each).assign(prior=priors) for each in (limit, limit.at_best_ratio()))
    return pd.concat([one.assign(ratio="one"), best.assign(ratio=kinds)]).assign(signal_strength=signal)


def _aspect_panel(ax: Axes, path: pd.DataFrame, points: pd.DataFrame, threshold: float) -> None:
    ax.axvspan(0.01, threshold, color="#ededed", linewidth=0)
    note(ax, "not separable", (threshold, 0.25), (-3, 0), ha="right", va="center", rotation=90)
    for line, kind in ((LINES[5], "one"), (LINES[4], "optimal"), (LINES[4], "infinite")):
        curve, style = path.loc[path.ratio == kind], ":" if kind == "infinite" else "-"
        ax.plot(curve.aspect_ratio, curve.balanced_error, color=line["color"], linestyle=style)
    error_bars(ax, "aspect_ratio", points.loc[points.margin_ratio == 1], LINES[5])
    error_bars(ax, "aspect_ratio", points.loc[points.optimal], LINES[4])
    ax.set(xscale="log", title=_ERRORS["balanced_error"], xlabel="aspect ratio $d/n$", xlim=(0.02, 5.5))
    ax.set_ylim(bottom=0)
    plain_ticks(ax.xaxis, (0.05, 0.2, 1, 5))


def _limit_rows(limit: HardMargin) -> pd.DataFrame:
    plus, minus = np.moveaxis(limit.class_errors, -1, 0)
    columns = (limit.aspect_ratio, limit.margin_ratio, limit.balanced_error, limit.error, plus, minus)
    return pd.DataFrame(
        dict(zip(("aspect_ratio", "margin_ratio", *_ERRORS), map(np.ravel, columns), strict=True)),
    )


def _ring(line: dict) -> dict[str, Any]:
    return dot(line) | {"marker": "o", "markersize": 8, "fillstyle": "none", "zorder": 4}
