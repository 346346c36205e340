"""Figures of overfitting: the law of the training margins, and where a training set can be separated.

Source:
    Lyu, Zhou, Zhong (2026), arXiv:2502.11323, Theorem 2.1; Kini et al. (2021), arXiv:2103.01550.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ...sims.core.study import matching
from ...sims.vs_loss.svm import HISTOGRAM_EDGES
from ...theory.core.gaussian import density
from ...theory.vs_loss.asymptotics import HardMargin, hard_margin, separability_threshold
from ...theory.vs_loss.mixture import GaussianMixture
from ..core import INK, LINES, PAGE, dashes, figure, span, summary

__all__ = ["separability", "training_margins"]

_WIDTH = float(HISTOGRAM_EDGES[1] - HISTOGRAM_EDGES[0])
_ERROR_AREA: dict[str, Any] = {"facecolor": "none", "hatch": "/////", "edgecolor": INK, "linewidth": 0}
_LABELS = {"plus": "minority", "minus": "majority"}


@figure("vs_loss.training_margins", needs=["vs_loss.training_margins"])
def training_margins(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Training margins against test margins: training lifts every point below the boundary onto it, the minority most.

    Hard-margin SVM at margin ratio 1, ||w|| = 1, antipodal means. Bars: training margins of the draws, those on the
    boundary apart. Solid: their limit law, a point mass and the normal density beyond it. Dashed: density of the test
    margins, whose mass below 0 is the error.
    """
    rows = matching(rows, norms=(1.75, 1.75), margin_ratio=1.0)
    rows = rows.loc[rows.num_examples == rows.num_examples.max()]
    setting = rows.iloc[0]
    mixture = GaussianMixture.binary(setting.prior, setting.norms, setting.inner)
    limit = hard_margin(mixture, setting.aspect_ratio, setting.margin_ratio)
    law = pd.concat([_law(limit, component, name) for component, name in enumerate(_LABELS)])
    atoms = limit.support_fractions
    bars = pd.concat([_bars(rows.loc[rows.label == name]).assign(label=name) for name in _LABELS])
    shares = summary(rows, ["label"], "support").set_index("label")

    fig = Figure(figsize=(PAGE, 3.2), layout="constrained")
    axes = fig.subplots(1, 2, sharex=True, sharey=True)
    for component, (name, title) in enumerate(_LABELS.items()):
        ax, mass = axes[component], axes[component].twinx()
        shown, drawn, color = law.loc[law.label == name], bars.loc[bars.label == name], LINES[1 - component]["color"]
        ax.bar(drawn.left, drawn.density, drawn.width, align="edge", color=color, alpha=0.35, linewidth=0)
        ax.plot(shown.margin, shown.test_density, color="black", linestyle=(0, (4, 2)))
        ax.fill_between(shown.margin, shown.test_density, where=shown.margin <= 0, **_ERROR_AREA)
        beyond = shown.loc[shown.margin >= shown.boundary]
        ax.plot(beyond.margin, beyond.training_density, color=color)
        edge = shown.boundary.iloc[0]
        mass.vlines(edge, 0, atoms[component], color=color, linewidth=2.2)
        mass.errorbar(
            rows.loc[rows.label == name].boundary.mean(),
            shares["mean"][name],
            2 * shares.standard_error[name],
            color="black",
            marker="o",
            elinewidth=0.8,
        )
        mass.set_ylim(0, 1)
        mass.grid(False)
        mass.spines["right"].set_visible(True)
        ax.set(xlabel="margin $y f(x)$ at $\\|w\\|=1$", xlim=(-2.2, 5), ylim=(0, 0.45))
        ax.set_title(f"{title}, error {limit.errors[component]:.3f}, {atoms[component]:.0%} on the boundary")
    grey: dict[str, Any] = {"color": INK, "linestyle": "-"}
    handles = [
        Patch(
            facecolor=INK, alpha=0.35, label=f"training, $n={setting.num_examples}$, {rows.repetition.nunique()} draws"
        ),
        Line2D([], [], **grey, label="training, limit law"),
        Line2D([], [], **grey, linewidth=2.2, label="point mass, limit law (right axis)"),
        Line2D([], [], color="black", marker="o", linestyle="none", label="point mass, simulation, ±2 s.e."),
        Line2D([], [], color="black", linestyle=(0, (4, 2)), label="test, limit law"),
        Patch(**_ERROR_AREA, label="test error"),
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=3)
    axes[0].set_ylabel("density")
    mass.set_ylabel("mass on the boundary")
    return fig, {"law": law, "simulation": bars, "boundary": shares.reset_index()}


def _law(limit: HardMargin, component: int, name: str) -> pd.DataFrame:
    margins = np.linspace(-2.2, 5, 721)
    values = density(margins - limit.test_margins[component])
    edge = float(limit.required[component] * limit.margin)
    return pd.DataFrame(
        {
            "label": name,
            "margin": margins,
            "test_density": values,
            "training_density": np.where(margins >= edge, values, 0.0),
            "boundary": edge,
        }
    )


def _bars(rows: pd.DataFrame) -> pd.DataFrame:
    """Density of the training margins of all draws beyond the boundary, which cuts the first bin."""
    counts = np.sum(rows.histogram.to_list(), axis=0, dtype=float)
    cut = np.searchsorted(HISTOGRAM_EDGES, rows.boundary, side="right") - 1
    np.subtract.at(counts, cut, np.round(rows.support * rows["count"]))
    beyond = np.clip(HISTOGRAM_EDGES[1:] - rows.boundary.to_numpy()[:, None], 0, _WIDTH)
    width = np.average(beyond, axis=0, weights=rows["count"])
    table = pd.DataFrame({"left": HISTOGRAM_EDGES[1:] - width, "width": width, "count": counts})
    table = table[width > _WIDTH / 10]
    return table.assign(density=table["count"] / (rows["count"].sum() * table.width))


@figure("vs_loss.separability", needs=["vs_loss.separability"])
def separability(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Share of training sets that a hyperplane separates, against the aspect ratio: a threshold that sharpens with n.

    Line: the threshold of the proportional limit. Steps: the share of draws, a draw giving the answer at every
    dimension.
    """
    models = list(dict.fromkeys(zip(rows.prior, rows.norms, rows.inner, strict=True)))
    sizes = sorted(rows.num_examples.unique())
    fig = Figure(figsize=(PAGE, 2.5), layout="constrained")
    axes = fig.subplots(1, len(models), sharey=True)
    curves, thresholds = [], []
    for ax, (prior, norms, inner) in zip(axes, models, strict=True):
        threshold = separability_threshold(GaussianMixture.binary(prior, norms, inner))
        ax.axvline(threshold, color=INK, linewidth=1.0)
        case = matching(rows, prior=prior, norms=norms, inner=inner)
        for line, n in zip(LINES, sizes, strict=False):
            found = np.sort(case.loc[case.num_examples == n].critical_aspect_ratio)
            share = np.append(np.arange(len(found) + 1) / len(found), 1.0)
            steps = np.concatenate([[0.0], found, [n]])
            curve = pd.DataFrame({"num_examples": n, "aspect_ratio": steps, "share_separable": share})
            curves.append(curve.assign(prior=prior, norm_plus=norms[0]))
            ax.step(curve.aspect_ratio, curve.share_separable, where="post", **dashes(line), label=f"$n={n}$")
        thresholds.append((prior, norms[0], threshold))
        shown = case.critical_aspect_ratio.quantile([0.01, 0.99])
        ax.set(
            xlabel="aspect ratio $d/n$",
            xlim=np.maximum(shown + 0.15 * np.array([-1, 1]) * np.ptp(shown), 0),
            title=_model(prior, norms, inner),
        )
    axes[0].set_ylabel(f"share separable of {span(rows.groupby(['prior', 'norms', 'num_examples']).size())} draws")
    handles, labels = axes[0].get_legend_handles_labels()
    handles.append(Line2D([], [], color=INK))
    fig.legend(handles, [*labels, "threshold of the limit"], loc="outside upper center", ncols=5, columnspacing=1.2)
    names = ["prior", "norm_plus", "threshold"]
    return fig, {"simulation": pd.concat(curves), "threshold": pd.DataFrame(thresholds, columns=names)}


def _model(prior: float, norms: tuple[float, float], inner: float) -> str:
    plus, minus = norms
    if plus == 0:
        return rf"no signal, $\pi={prior:g}$"
    means = rf"$\pm\mu$, norm {plus:g}" if inner == -plus * minus else f"orthogonal, norms {plus:g} and {minus:g}"
    return rf"{means}, $\pi={prior:g}$"
