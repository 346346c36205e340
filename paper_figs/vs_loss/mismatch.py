"""The figure of mismatched features: losses against overparameterisation, across the separability threshold.

Source:
    Kini et al. (2021), arXiv:2103.01550, Fig. 1; the profile of the signal is chosen here, theirs is not printed.
"""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import brentq

from ...sims.vs_loss.ridge import SCALE_EXPONENT, loss_pair, seen_mixture
from ...theory.vs_loss.asymptotics import hard_margin, separability_threshold
from ...theory.vs_loss.state_evolution import ridge_erm
from ..core import LINES, PAGE, dashes, error_bars, figure, note, plain_ticks, simulation_key, summary

__all__ = ["mismatched_features"]

_NORM = 3.0
_LOSSES = {"ce": "CE", "la": "LA", "cdt": "CDT", "svm": "SVM, limit of CE and LA", "cs_svm": "CS-SVM, limit of CDT"}
_LIMITS = ("svm", "cs_svm")
_HOLLOW: dict[str, Any] = {"markerfacecolor": "white"}
_ERRORS = {
    "balanced_error": r"balanced error $R_\mathrm{bal}$",
    "error": "misclassification error $R$",
    "error_plus": "minority error $R_+$",
    "error_minus": "majority error $R_-$",
}


@figure("vs_loss.mismatched_features", needs=["vs_loss.mismatched_features"])
def mismatched_features(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Errors against overparameterisation when a classifier sees a part of the features only: CE, LA, CDT.

    Orthogonal means of which the first d features are seen: ||μ||² grows with d / n up to its full value. Lines: ridge
    losses by state evolution, and where the data are separable the SVM and the CS-SVM that they tend to as the ridge
    falls to 0. CDT's scales ask for the margin ratio of the CS-SVM.
    """
    rows = rows.loc[rows.full_norm == _NORM]
    points = pd.concat(
        summary(rows, ["loss", "aspect_ratio"], error).assign(error=error) for error in _ERRORS
    ).sort_values(["error", "loss", "aspect_ratio"])
    setting = rows.iloc[0]
    model = (float(setting.prior), float(setting.full_aspect_ratio))
    threshold = _threshold(*model)
    points = points.loc[~points.loss.isin(_LIMITS) | (points.aspect_ratio > threshold)]  # below, few draws have an SVM
    lines = _theory(*model, float(setting.ridge), rows.aspect_ratio.min(), rows.aspect_ratio.max())

    fig = Figure(figsize=(PAGE, 4.7), layout="constrained")
    axes = fig.subplots(2, 2, sharex=True)
    for ax, (error, title) in zip(axes.flat, _ERRORS.items(), strict=True):
        ax.axvspan(0.5 * rows.aspect_ratio.min(), threshold, color="#ededed", linewidth=0)
        for line, loss in zip(LINES, _LOSSES, strict=False):
            shown = lines.loc[lines.loss == loss]
            ax.plot(shown.aspect_ratio, shown[error], **dashes(line))
            shown = points.loc[(points.loss == loss) & (points.error == error)]
            error_bars(ax, "aspect_ratio", shown, line, **(_HOLLOW if loss in _LIMITS else {}))
        ax.set(xscale="log", title=title, xlim=(0.9 * rows.aspect_ratio.min(), 1.1 * rows.aspect_ratio.max()))
        ax.set_ylim(bottom=0)
        plain_ticks(ax.xaxis, (0.1, 0.2, 0.5, 1, 2, 3))
    for ax in axes[1]:
        ax.set_xlabel(r"overparameterisation $d/n$")
    for text, side in (("not\nseparable", "right"), ("separable", "left")):
        note(axes[0, 0], text, (threshold, 0), (-4 if side == "right" else 4, 4), ha=side)
    handles = [
        Line2D([], [], **line, **(_HOLLOW if loss in _LIMITS else {}), label=label)
        for line, (loss, label) in zip(LINES, _LOSSES.items(), strict=False)
    ]
    handles.append(
        simulation_key(points, f"$d={setting.dimension}$, ridge $10^{{{np.log10(setting.ridge):g}}}$", marker="none")
    )
    fig.legend(handles=handles, loc="outside upper center", ncols=3)
    return fig, {"theory": lines, "simulation": points}


@cache
def _threshold(prior: float, full_aspect_ratio: float) -> float:
    def excess(aspect_ratio: float) -> float:
        return aspect_ratio - separability_threshold(seen_mixture(prior, _NORM, full_aspect_ratio, aspect_ratio))

    root: Any = brentq(excess, 0.01, 0.5)
    return root


@cache
def _theory(prior: float, full_aspect_ratio: float, ridge: float, low: float, high: float) -> pd.DataFrame:
    threshold, found = _threshold(prior, full_aspect_ratio), []
    grid = np.unique(np.append(np.geomspace(low, high, 25), threshold * np.array([0.9, 0.97, 0.99, 1.003, 1.03])))
    ratio = ((1 - prior) / prior) ** SCALE_EXPONENT
    for aspect_ratio in grid:
        mixture = seen_mixture(prior, _NORM, full_aspect_ratio, aspect_ratio)
        limits: dict[str, Any] = {
            loss: ridge_erm(mixture, aspect_ratio, ridge, loss_pair(loss, prior)) for loss in ("ce", "la", "cdt")
        }
        if aspect_ratio > threshold:
            limits["svm"] = hard_margin(mixture, aspect_ratio)
            limits["cs_svm"] = limits["svm"].at_ratio(ratio)
        for loss, limit in limits.items():
            plus, minus = limit.class_errors
            found.append((loss, aspect_ratio, float(limit.balanced_error), float(limit.error), plus, minus))
    return pd.DataFrame(found, columns=["loss", "aspect_ratio", *_ERRORS]).sort_values(["loss", "aspect_ratio"])
