"""Figures of α-loss: the family, what it estimates, its landscape, and its errors under flips, imbalance and outliers.

Source:
    Sypherd et al. (2022), arXiv:1906.02314; limits and calibration curves derived here.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binom

from ..nn_validation.core.realised import ALPHA
from ..sims.core.study import matching
from ..theory.alpha_loss.calibration import calibration_function, minimal_risk, optimal_logit, tilted
from ..theory.alpha_loss.landscape import inflection, saturation_constants
from ..theory.alpha_loss.losses import MarginLoss, alpha_loss
from ..theory.alpha_loss.mixtures import population_risk
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
from .runs import sweep_panels

__all__ = ["calibration", "family", "flips", "gradient", "imbalance", "landscape", "networks", "outliers", "saturation"]

INFINITY = float("inf")


def _name(alpha: float) -> str:
    return r"$\alpha=\infty$" if alpha == INFINITY else rf"$\alpha={alpha:g}$"


def _curves(alphas, grid: np.ndarray, function, x: str, y: str) -> pd.DataFrame:
    """Long table of function(grid, α), by 1/α, which is 0 at α = ∞."""
    return pd.concat([pd.DataFrame({"inverse_alpha": 1 / a, x: grid, y: function(grid, a)}) for a in alphas])


def _draw_curves(ax: Axes, table: pd.DataFrame, x: str, y: str, alphas) -> None:
    for line, alpha in zip(LINES, alphas, strict=False):
        rows = table.loc[table.inverse_alpha == 1 / alpha]
        ax.plot(rows[x], rows[y], **line, markevery=(len(rows) // 12, len(rows) // 6), label=_name(alpha))


@figure("alpha_loss.family")
def family() -> tuple[Figure, dict[str, pd.DataFrame]]:
    """The α-loss of a probability and of a signed score; circles: the inflection log(1 - 1/α), convex to its right.

    Sypherd et al. (2022), the definition. α = 1/2 is the exponential loss of the score, α = 1 the log-loss, α = ∞ the
    soft 0-1 loss.
    """
    of_p, of_z = (0.25, 0.5, 0.75, 1.0, 2.0, INFINITY), (0.5, 0.77, 1.0, 1.44, 3.0, INFINITY)
    grids = np.linspace(1e-3, 1, 400), np.linspace(-5, 5, 201)
    tables = {
        "probability": _curves(of_p, grids[0], alpha_loss, "probability", "loss"),
        "score": _curves(of_z, grids[1], lambda z, a: MarginLoss(a).value(z), "score", "loss"),
    }
    fig = Figure(figsize=(PAGE, 2.6), layout="constrained")
    axes = fig.subplots(1, 2)
    _draw_curves(axes[0], tables["probability"], "probability", "loss", of_p)
    _draw_curves(axes[1], tables["score"], "score", "loss", of_z)
    bends = [(inflection(a), a) for a in of_z if a > 1]
    for z, a in bends:
        height = float(MarginLoss(a).value(np.array(z)))
        axes[1].plot(z, height, "o", markersize=7, markerfacecolor="none", markeredgecolor=INK, zorder=4)
    axes[0].set(xlabel="probability $p$ of the true label", ylabel="loss", ylim=(0, 5))
    axes[1].set(xlabel="signed score $z$", ylim=(0, 5))
    for ax in axes:
        ax.legend(loc="upper right")
    return fig, tables


@figure("alpha_loss.calibration")
def calibration() -> tuple[Figure, dict[str, pd.DataFrame]]:
    """What α-loss estimates: tilted distributions, the optimal score, and the calibration function.

    Top: α-tilted binomial distribution, which α < 1 flattens and α > 1 sharpens; the optimal score α log(η/(1-η)).
    Bottom: the least α-risk; the excess α-risk that an excess error costs at least, over its largest value.
    """
    pmf = binom.pmf(np.arange(21), 20, 0.5)
    tilts, scores, curves = (0.65, 1.0, 1.5), (0.5, 1.0, 2.0), (0.5, 1.0, 2.0, 8.0, INFINITY)
    posterior, excess = np.linspace(0.02, 0.98, 97), np.linspace(0, 1, 101)
    tables = {
        "tilted": _curves(tilts, np.arange(21), lambda _, a: tilted(pmf, a), "outcome", "probability"),
        "score": _curves(scores, posterior, optimal_logit, "posterior", "score"),
        "excess": _curves(
            curves,
            excess,
            lambda t, a: calibration_function(t, a) / calibration_function(1.0, a),
            "excess_error",
            "share_of_excess_risk",
        ),
        "minimal_risk": _curves(
            curves, posterior, lambda p, a: minimal_risk(np.stack([p, 1 - p], axis=-1), a), "posterior", "minimal_risk"
        ),
    }
    fig = Figure(figsize=(PAGE, 4.6), layout="constrained")
    axes = fig.subplots(2, 2).ravel()
    for line, alpha in zip(LINES, tilts, strict=False):
        rows = tables["tilted"].loc[tables["tilted"].inverse_alpha == 1 / alpha]
        axes[0].plot(rows.outcome, rows.probability, **line, label=_name(alpha))
    _draw_curves(axes[1], tables["score"], "posterior", "score", scores)
    _draw_curves(axes[2], tables["minimal_risk"], "posterior", "minimal_risk", curves)
    _draw_curves(axes[3], tables["excess"], "excess_error", "share_of_excess_risk", curves)
    axes[0].set(xlabel="outcome", ylabel=r"tilted probability $P^{(\alpha)}$", xticks=range(0, 21, 5))
    axes[1].set(xlabel=r"posterior $\eta$", ylabel="optimal score $f^*$")
    axes[2].set(xlabel=r"posterior $\eta$", ylabel=r"least risk $C^*_\alpha$")
    axes[3].set(xlabel="excess error $t$", ylabel=r"$\psi_\alpha(t)\,/\,\psi_\alpha(1)$")
    for ax in axes[[0, 1, 3]]:
        ax.legend(loc="upper left")
    return fig, tables


@figure("alpha_loss.gradient")
def gradient() -> tuple[Figure, pd.DataFrame]:
    """Weight of an example in the gradient, p^(1-1/α) (1-p), against its signed score.

    For α > 1 it peaks at p = (α-1)/(2α-1) and vanishes for hopeless examples; for α < 1 it grows without bound.
    """
    alphas = (0.5, 0.77, 1.0, 2.0, 4.0, INFINITY)
    table = _curves(alphas, np.linspace(-6, 6, 241), lambda z, a: -MarginLoss(a).slope(z), "score", "weight")
    fig = Figure(figsize=(COLUMN, 2.6), layout="constrained")
    ax = fig.subplots()
    _draw_curves(ax, table, "score", "weight", alphas)
    ax.set(xlabel="signed score $z$", ylabel="weight in the gradient", ylim=(0, 1.5))
    ax.legend(loc="upper right")
    return fig, table


_LANDSCAPE = (  # prior, y μ, Σ of the two classes: arbitrary values with unequal priors and covariances
    (0.12, (0.18, -1.49), ((3.20, -2.02), (-2.02, 2.71))),
    (0.88, (-0.01, 0.16), ((4.19, 1.27), (1.27, 0.90))),
)


@figure("alpha_loss.landscape")
def landscape() -> tuple[Figure, pd.DataFrame]:
    """The risk of a linear score in the plane for α = 0.95, 1, 2 and 10: convex for α <= 1, flat along rays above.

    Two Gaussian classes with priors 0.12 and 0.88 and unequal covariances; cross: the least value on the grid. The
    contours are at equal steps of the risk above its least value.
    """
    alphas, axis = (0.95, 1.0, 2.0, 10.0), np.linspace(-6, 6, 19)
    rows = [
        (alpha, a, b, sum(pi * population_risk([a, b], mean, spread, alpha) for pi, mean, spread in _LANDSCAPE))
        for alpha in alphas
        for a in axis
        for b in axis
    ]
    table = pd.DataFrame(rows, columns=["alpha", "theta_1", "theta_2", "risk"])
    fig = Figure(figsize=(PAGE, 2.1), layout="constrained")
    axes = fig.subplots(1, 4, sharey=True)
    for ax, alpha in zip(axes, alphas, strict=True):
        part = table.loc[table.alpha == alpha]
        grid = part.pivot(index="theta_2", columns="theta_1", values="risk")
        least = part.loc[part.risk.idxmin()]
        levels = least.risk + (grid.to_numpy().max() - least.risk) * np.linspace(0.001, 1, 14)
        ax.contourf(grid.columns, grid.index, grid, levels, cmap="YlGnBu_r", extend="min")
        ax.plot(least.theta_1, least.theta_2, "x", color="black", clip_on=False)
        ax.set(title=_name(alpha), xlabel=r"$\theta_1$", xticks=(-5, 0, 5), aspect="equal")
        ax.grid(False)
        note(ax, f"{least.risk:.2f} to {part.risk.max():.2f}", (-5.6, 5.2), va="top", color="black")
    axes[0].set_ylabel(r"$\theta_2$")
    return fig, table


@figure("alpha_loss.saturation", needs=["alpha_loss.slqc_radii"])
def saturation(radii: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """How little the loss changes beyond moderate α, and how early the guarantee of quasi-convexity is lost.

    Left: the largest distance to the α = ∞ loss over |z| <= r times α, with its bound L²/2 as dashes. Right: the radius
    ε/κ of strict local quasi-convexity over that at α = 1: guaranteed (lines) and true (marks), median over points.
    """
    alphas, rows = np.geomspace(1, 100, 41), []
    for radius in (0.5, 1.0, 3.0):
        z = np.linspace(-radius, radius, 201)
        far = MarginLoss(INFINITY).value(z)
        for alpha in alphas:
            distance = float(np.abs(MarginLoss(alpha).value(z) - far).max())
            rows.append((radius, alpha, alpha * distance, saturation_constants(radius)[0]))
    left = pd.DataFrame(rows, columns=["radius", "alpha", "scaled_distance", "bound"])
    guaranteed, true = (summary(radii, ["dimension", "alpha"], name) for name in ("predicted_share", "true_share"))
    fig = Figure(figsize=(PAGE, 2.6), layout="constrained")
    axes = fig.subplots(1, 2)
    for line, (radius, part) in zip(LINES, left.groupby("radius"), strict=False):
        axes[0].plot(part.alpha, part.scaled_distance, **line, markevery=8, label=f"$r={radius:g}$")
        axes[0].plot(part.alpha, part.bound, color=line["color"], linewidth=0.8, linestyle=(0, (2, 2)))
    axes[0].set(xscale="log", yscale="log", xlabel=r"$\alpha$", ylabel=r"$\alpha\,\max|l^\alpha-l^\infty|$")
    plain_ticks(axes[0].xaxis, (1, 3, 10, 30, 100))
    plain_ticks(axes[0].yaxis, (0.2, 0.5, 1, 2, 5))
    axes[0].legend(loc="center right", bbox_to_anchor=(1, 0.7))
    for line, (dimension, part) in zip(LINES, guaranteed.groupby("dimension"), strict=False):
        axes[1].plot(part.alpha - 1, part["mean"], **dashes(line), label=f"$d={dimension}$")
        error_bars(axes[1], "excess", true.loc[true.dimension == dimension].assign(excess=part.alpha - 1), line)
    axes[1].set(xscale="log", xlabel=r"$\alpha-1$", ylabel=r"radius over that at $\alpha=1$", xlim=(0.008, 1.2))
    plain_ticks(axes[1].xaxis, (0.01, 0.1, 1))
    count = radii.num_examples.iloc[0]
    axes[1].legend(
        handles=[*axes[1].get_legend_handles_labels()[0][:3], simulation_key(true, f"true, $n={count}$", gap="\n")],
        loc="center right",
    )
    return fig, {"saturation": left, "guaranteed": guaranteed, "true": true}


_SETTING = ["prior", "aspect_ratio", "ridge", "flip_rate", "outlier_rate"]


def _errors(ax: Axes, rows: pd.DataFrame, limits: pd.DataFrame, by: str, column: str) -> tuple[list, list]:
    """Errors against α: limits for α <= 1 as lines, simulations as marks; one line for each value of `by`."""
    lines, points = [], []
    for line, (value, part) in zip(LINES, rows.groupby(by), strict=False):
        limit = matching(limits, **part.iloc[0][_SETTING].to_dict()).sort_values("alpha")
        shown = summary(part, ["alpha"], column).assign(**{by: value})
        ax.plot(limit.alpha, limit[column], **dashes(line))
        error_bars(ax, "alpha", shown, line)
        ax.plot([], [], **line, label=f"{value:g}")
        lines.append(limit[[*_SETTING, "alpha", column]])
        points.append(shown)
    ax.axvline(1, color=INK, linewidth=0.6)
    ax.set(xscale="log", xlabel=r"$\alpha$")
    plain_ticks(ax.xaxis, (0.5, 1, 2, 4, 8))
    return lines, points


def _panels(panels, limits: pd.DataFrame, by: str, column: str, title: str, ylabel: str):
    """One panel for each part of a study; returns the drawing and its tables."""
    fig = Figure(figsize=(PAGE if len(panels) > 1 else COLUMN, 2.9), layout="constrained")
    axes = np.atleast_1d(fig.subplots(1, len(panels), sharey=True))
    tables: dict[str, list] = {"limit": [], "simulation": []}
    for ax, (label, rows) in zip(axes, panels.items(), strict=True):
        for name, found in zip(tables, _errors(ax, rows, limits, by, column), strict=True):
            tables[name] += [each.assign(panel=label) if label else each for each in found]
        ax.set_title(label)
    axes[0].set_ylabel(ylabel)
    points = pd.concat(tables["simulation"])
    first = next(iter(panels.values())).iloc[0]
    lines = axes[0].get_legend_handles_labels()[0]
    key = simulation_key(points, f"$n={first.num_examples}$")
    fig.legend(handles=lines, title=title, loc="outside right upper")
    fig.legend(handles=[key], loc="outside lower center")
    return fig, {name: pd.concat(each) for name, each in tables.items()}


@figure("alpha_loss.flips", needs=["alpha_loss.flip_errors", "alpha_loss.limits"])
def flips(rows: pd.DataFrame, limits: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Balanced error of ridge-regularised α-loss against α, for label flips up to 40 %: lines are limits for α <= 1.

    Antipodal Gaussian classes, d/n = 0.2, ridge 0.01; for α > 1 local minimisers continued from the log-loss.
    """
    panels = {rf"$\pi={prior:g}$": part for prior, part in rows.groupby("prior")}
    return _panels(panels, limits, "flip_rate", "balanced_error", "flip rate", "balanced error")


@figure("alpha_loss.imbalance", needs=["alpha_loss.imbalance_errors", "alpha_loss.limits"])
def imbalance(rows: pd.DataFrame, limits: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Minority error of ridge-regularised α-loss against α, for minority priors down to 0.05, at one ridge.

    Antipodal Gaussian classes, ridge 0.1, clean labels: lines are limits for α <= 1, marks trained classifiers. For
    α > 1 a rare class is given up, as its loss is bounded.
    """
    panels = {rf"$d/n={ratio:g}$": part for ratio, part in rows.groupby("aspect_ratio")}
    return _panels(panels, limits, "prior", "error_plus", r"minority prior $\pi$", "minority error")


@figure("alpha_loss.outliers", needs=["alpha_loss.contaminated_errors", "alpha_loss.limits"])
def outliers(rows: pd.DataFrame, limits: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Balanced error against α with a share of far outliers under the wrong label: α > 1 drops them.

    Balanced antipodal Gaussian classes, d/n = 0.1, ridge 0.01, outliers at five times the class mean.
    """
    return _panels({"": rows}, limits, "outlier_rate", "balanced_error", "outliers", "balanced error")


@figure("alpha_loss.networks")
def networks() -> tuple[Figure, pd.DataFrame]:
    """Networks under label flips: test accuracy against α for each noise rate, and the wrong labels they memorise.

    Means over seeds at the last epoch with 95 % intervals; α = 1 is cross-entropy. Rings: the α with the least error on
    validation images, whose labels are as noisy.
    """
    fig, _, table = sweep_panels(ALPHA, r"$\alpha$")
    return fig, table
