"""Figure of extreme imbalance: where the minority is learned, and by which margin ratios.

Source:
    Lyu, Zhou, Zhong (2026), arXiv:2502.11323, Theorem 3.2, for the boundaries as d grows without bound.
"""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...sims.core.study import matching
from ...theory.vs_loss.asymptotics import hard_margin_map
from ..core import PAGE, figure

__all__ = ["high_imbalance"]

_LEVELS = (0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 1)
_BOUNDARY: dict[str, Any] = {"color": "#D55E00", "linestyle": (0, (4, 2)), "linewidth": 1.2}
_DIMENSION = 1000
_SIGNAL = 0.3  # exponent b of the map over margin ratios
_HALF = 0.25  # the error at which the theory's line is drawn: halfway to chance


@figure("vs_loss.high_imbalance", needs=["vs_loss.high_imbalance"])
def high_imbalance(rows: pd.DataFrame) -> tuple[Figure, dict[str, pd.DataFrame]]:
    """Phases of extreme imbalance: prior d^(-a), n = d^(1+c), ||μ||² ∝ d^b, margin ratio d^r.

    Cells: means of simulated errors. Solid lines: where the proportional limit at the same d, n, prior and signal gives
    the error 1/4. Dashed: the boundaries as d grows without bound, between high and moderate signal (a - c = b),
    moderate and low (a - c = 2b), and the range of ratios at which both classes are learned.
    """
    rows = matching(rows, dimension=_DIMENSION)
    setting = rows.iloc[0]
    keys, errors = ["rarity", "signal_exponent", "ratio_exponent"], ["error_plus", "error_minus", "balanced_error"]
    means = pd.DataFrame(rows.groupby(keys)[errors].mean()).reset_index()
    plain = matching(means, ratio_exponent=0.0)
    best = means.loc[means.groupby(["rarity", "signal_exponent"]).balanced_error.idxmin()]
    ratios = means.loc[np.isclose(means.signal_exponent, _SIGNAL)]
    x, b, r = np.linspace(0.05, 0.95, 46)[:, None], np.linspace(0.05, 0.95, 46), np.linspace(-0.05, 0.85, 46)

    limits = (_limit(setting, x, b, 0.0)[0], _least(setting, x, b), _limit(setting, x, _SIGNAL, r)[1])
    theory = pd.concat(
        pd.DataFrame({"map": name, "rarity": np.repeat(x, 46), "height": np.tile(height, 46), "error": values.ravel()})
        for name, height, values in zip(("plain", "best", "ratio"), (b, b, r), limits, strict=True)
    )

    fig = Figure(figsize=(PAGE, 3.0), layout="constrained")
    axes = fig.subplots(1, 3)
    _cells(axes[0], plain, "signal_exponent", "error_plus")
    _cells(axes[1], best, "signal_exponent", "balanced_error")
    mesh = _cells(axes[2], ratios, "ratio_exponent", "balanced_error")
    for ax, height, values in zip(axes, (b, b, r), limits, strict=True):
        ax.contour(x[:, 0], height, values.T, [_HALF], colors="black", linewidths=1.2)
        ax.set(xlabel="rarity $a-c$", xlim=(0.05, 0.95))
        ax.grid(False)
    for ax in axes[:2]:
        for slope in (1, 2):
            ax.plot(x[:, 0], x[:, 0] / slope, **_BOUNDARY)
        ax.set(ylabel="signal exponent $b$", ylim=(0.05, 0.95))
    inside = x[:, 0][x[:, 0] < 2 * _SIGNAL]
    axes[2].plot(inside, np.maximum(inside - _SIGNAL, 0), **_BOUNDARY)
    axes[2].plot(inside, np.maximum(_SIGNAL, inside) / 2, **_BOUNDARY)
    axes[2].set(ylabel="ratio exponent $r$", ylim=(-0.05, 0.85))
    axes[0].set_title(r"minority error, $\delta=1$")
    axes[1].set_title(r"balanced error, best $\delta$")
    axes[2].set_title(rf"balanced error, $b={_SIGNAL:g}$")
    bar = fig.colorbar(mesh, ax=axes, ticks=_LEVELS[:-1], pad=0.01, aspect=14)
    bar.set_label("error")
    handles = [
        Line2D([], [], color="black", linewidth=1.2, label=f"limit at this $d$: error {_HALF:g}"),
        Line2D([], [], **_BOUNDARY, label=r"boundaries as $d\to\infty$"),
        Line2D(
            [], [], linestyle="none", label=f"cells: $d={setting.dimension}$, {rows.repetition.nunique()} draws each"
        ),
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=3)
    return fig, {"simulation": means, "limit": theory}


def _limit(setting: pd.Series, rarity, signal_exponent, ratio_exponent) -> tuple[np.ndarray, np.ndarray]:
    """Minority error and balanced error of the proportional limit at the study's d."""
    d = float(setting.dimension)
    n = d ** (1 + setting.size_exponent)
    signal = np.sqrt(setting.signal_scale * d ** np.asarray(signal_exponent))
    found = hard_margin_map(d ** (1 - rarity) / n, signal, d / n).at_ratio(d ** np.asarray(ratio_exponent))
    return found.class_errors[..., 0], found.balanced_error


def _least(setting: pd.Series, rarity, signal_exponent) -> np.ndarray:
    """The least balanced error over the study's ratios."""
    return np.min([_limit(setting, rarity, signal_exponent, r)[1] for r in setting.ratio_exponents], axis=0)


def _cells(ax: Axes, rows: pd.DataFrame, height: str, value: str) -> QuadMesh:
    grid = rows.pivot(index=height, columns="rarity", values=value)
    colors = ListedColormap(matplotlib.colormaps["YlGnBu_r"](np.linspace(0.2, 1, len(_LEVELS) - 1)))
    norm = BoundaryNorm(_LEVELS, colors.N)
    return ax.pcolormesh(grid.columns, grid.index, grid, cmap=colors, norm=norm, shading="nearest", rasterized=True)
