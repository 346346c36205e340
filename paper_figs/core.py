"""The figures' vocabulary: a registry by system, one style, and files that are whole or absent.

A figure is a function of the stored results of the studies it needs. It returns a `matplotlib.figure.Figure` and the
numbers drawn in it, as one table or several named ones. `draw` writes each as vector PDF, as PNG, and the numbers as
CSV; the same inputs give the same bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from inspect import cleandoc
from io import BytesIO
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from ..sims.core.files import replace_files
from ..sims.core.results import load_results
from ..theory.core.errors import InputError, nearest

__all__ = [
    "COLUMN",
    "INK",
    "LINES",
    "PAGE",
    "PaperFigure",
    "Tables",
    "dashes",
    "dot",
    "draw",
    "error_bars",
    "figure",
    "figures",
    "nearest_points",
    "note",
    "plain_ticks",
    "select",
    "simulation_key",
    "span",
    "summary",
]

Tables = pd.DataFrame | Mapping[str, pd.DataFrame]
"""The numbers behind a figure, tidy: one row for each drawn point."""

COLUMN, PAGE = 3.3, 6.9
"""Widths in inches of one column and of both columns of a paper; figures are drawn at their final size."""

INK = "#4d4d4d"
"""Grey of reference lines and notes."""

LINES: tuple[dict[str, Any], ...] = tuple(
    {"color": color, "linestyle": style, "marker": marker}
    for color, style, marker in (
        ("#0072B2", "-", "o"),
        ("#D55E00", (0, (5, 1.5)), "s"),
        ("#009E73", (0, (5, 1.2, 1, 1.2)), "^"),
        ("#CC79A7", (0, (3, 1, 1, 1, 1, 1)), "D"),
        ("#E69F00", (0, (1.2, 1.2)), "v"),
        ("#000000", (0, (8, 2)), "P"),
    )
)
"""Colours of Okabe and Ito (2008), told apart by every common colour vision, each with its own dash and marker."""

_STYLE = {
    "figure.dpi": 300,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,  # TrueType, which stays text: searchable, and accepted by the conferences' checks
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7.5,
    "legend.title_fontsize": 7.5,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.8,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "hatch.linewidth": 0.5,
    "hatch.color": INK,
}
_FIGURES: dict[str, "PaperFigure"] = {}


@dataclass(frozen=True)
class PaperFigure:
    """A registered figure. Made by the decorator `figure`.

    Args:
        id: ``slug.name``.
        caption: what it shows, one line (the first line of the function's docstring).
        make: returns the drawing and the numbers in it, given the rows of each needed study.
        needs: names of the studies whose results it draws.
    """

    id: str
    caption: str
    make: Callable[..., tuple[Figure, Tables]]
    needs: tuple[str, ...] = ()

    @property
    def system(self) -> str:
        """Slug of the system the figure belongs to."""
        return self.id.split(".")[0]

    def render(self) -> dict[str, bytes]:
        """Draw in the common style; return file name → content: PDF, PNG, and a CSV for each table.

        Raises:
            InputError: if a needed result is not stored; names the command that makes it.
        """
        results = [load_results(name) for name in self.needs]
        with matplotlib.style.context(["default", _STYLE]):
            drawing, data = self.make(*results)
            stem = self.id.replace(".", "-")
            files = {
                f"{stem}.pdf": _saved(drawing, format="pdf", metadata={"Title": self.caption, "CreationDate": None}),
                f"{stem}.png": _saved(drawing, format="png", metadata={"Title": self.caption}),
            }
        tables = {"": data} if isinstance(data, pd.DataFrame) else {f"-{name}": table for name, table in data.items()}
        return files | {f"{stem}{name}.csv": _csv(self.id, table) for name, table in tables.items()}


def figure(figure_id: str, *, needs: Iterable[str] = ()) -> Callable[[Callable], Callable]:
    """Register the decorated function as the figure `figure_id`, ``slug.name``. See `PaperFigure`.

    Args:
        figure_id: ``slug.name``.
        needs: names of studies; the function is called with the rows of each, in this order.
    """

    def register(make: Callable[..., tuple[Figure, Tables]]) -> Callable:
        caption = cleandoc(make.__doc__ or "").partition("\n")[0]
        if figure_id.count(".") != 1 or not caption or figure_id in _FIGURES:
            raise ValueError(f"figure {figure_id!r} needs an id 'slug.name' of its own and a docstring")
        _FIGURES[figure_id] = PaperFigure(figure_id, caption, make, tuple(needs))
        return make

    return register


def figures() -> dict[str, PaperFigure]:
    """Return every figure by id, in the order of definition; imports each system's module on the first call."""
    package = __name__.rpartition(".")[0]
    for module in iter_modules(import_module(package).__path__):
        import_module(f"{package}.{module.name}")
    return dict(_FIGURES)


def select(names: Iterable[str] = ()) -> list[PaperFigure]:
    """Return the figures of some systems (``ldam``) or ids (``ldam.binary_bound``); all of them for no name.

    Raises:
        InputError: for an unknown name, with the nearest known ones.
    """
    known = figures()
    chosen: dict[str, PaperFigure] = {}
    for name in list(names) or list(known):
        found = {key: each for key, each in known.items() if name in (key, each.system)}
        if not found:
            raise InputError(f"unknown figure {name!r}; {nearest(name, {*known, *(f.system for f in known.values())})}")
        chosen |= found
    return list(chosen.values())


def draw(names: Iterable[str], out_dir: str | Path) -> list[Path]:
    """Draw figures and write their files into a folder, which is made when missing.

    Everything is drawn before anything is written, and a file is replaced only by its complete successor, so a failure
    leaves the folder as it was.

    Args:
        names: systems or figure ids; empty for all figures.
        out_dir: folder of the files ``slug-name.pdf``, ``.png`` and ``.csv`` (``slug-name-table.csv`` for several).

    Returns:
        The written paths, figure by figure.

    Raises:
        InputError: for an unknown name, a result that is not stored, or a folder that cannot be written.
    """
    chosen, folder = select(names), Path(out_dir)
    with _explaining(folder):
        folder.mkdir(parents=True, exist_ok=True)
    contents = {folder / name: content for each in chosen for name, content in each.render().items()}
    with _explaining(folder):
        replace_files(contents)
    return list(contents)


def summary(rows: pd.DataFrame, by: list[str], column: str) -> pd.DataFrame:
    """Mean over the draws of a column, its standard error and the number of draws, one row for each group.

    Args:
        rows: results of a study.
        by: columns that name a point of the figure.
        column: what to average.

    Returns:
        Columns `by`, ``mean``, ``standard_error``, ``draws``.

    Example:
        >>> summary(pd.DataFrame({"x": [1, 1, 2, 2], "error": [0.1, 0.3, 0.2, 0.2]}), ["x"], "error").round(3)
           x  mean  standard_error  draws
        0  1   0.2             0.1      2
        1  2   0.2             0.0      2
    """
    found = rows.groupby(by, sort=True)[column].agg(["mean", "sem", "count"]).reset_index()
    return found.rename(columns={"sem": "standard_error", "count": "draws"})


def error_bars(ax: Axes, x: str, points: pd.DataFrame, line: dict, **style) -> None:
    """Draw the means of a `summary` against its column `x`, with 2 standard errors to either side."""
    look = {"color": line["color"], "marker": line["marker"], "linestyle": "none", "elinewidth": 0.8, "zorder": 3}
    ax.errorbar(points[x], points["mean"], 2 * points["standard_error"], **(look | style))


def simulation_key(points: pd.DataFrame, text: str, *, marker: str = "o", gap: str = " ") -> Line2D:
    """Return a grey mark for the legend: ``simulation, text, 40-160 draws, ±2 s.e.``, the draws from a `summary`."""
    label = f"simulation, {text},{gap}{span(points.draws)} draws, ±2 s.e."
    return Line2D([], [], color=INK, marker=marker, linestyle="none", label=label)


def span(values) -> str:
    """Return the range of some numbers as text.

    Example:
        >>> span([400, 400]), span([40, 160, 80])
        ('400', '40-160')
    """
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def dashes(line: dict) -> dict[str, Any]:
    """Return one of `LINES` without its marker: a theory line."""
    return {key: value for key, value in line.items() if key != "marker"}


def dot(line: dict) -> dict[str, Any]:
    """Return one of `LINES` as a single larger mark."""
    return {"color": line["color"], "marker": line["marker"], "linestyle": "none", "markersize": 5.5}


def note(ax: Axes, text: str, at: tuple[float, float], offset: tuple[float, float] = (0, 0), **style) -> None:
    """Write `text` near a data point, moved by some points."""
    ax.annotate(text, at, offset, textcoords="offset points", **{"color": INK, "fontsize": 7.5} | style)


def nearest_points(grid, values) -> list[int]:
    """Indices of the grid points nearest to some values on a log scale, for `markevery`."""
    return [int(np.abs(np.log(np.asarray(grid) / value)).argmin()) for value in values]


def plain_ticks(axis: Axis, values) -> None:
    """Label these values only, as plain numbers, thousands as k."""
    axis.set_major_locator(FixedLocator(values))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / 1000:g}k" if v >= 10_000 else f"{v:g}"))


@contextmanager
def _explaining(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"figures cannot be written into {str(folder)!r}: {reason}; name a folder that can be written"
        ) from None


def _saved(drawing: Figure, **options) -> bytes:
    buffer = BytesIO()
    drawing.savefig(buffer, **options)
    return buffer.getvalue()


def _csv(figure_id: str, table: pd.DataFrame) -> bytes:
    numbers = table.select_dtypes("number").to_numpy(dtype=float)
    if table.empty or not np.isfinite(numbers).all():
        raise ArithmeticError(f"figure {figure_id}: its data are empty or not finite")
    return table.to_csv(index=False, float_format="%.10g", lineterminator="\n").encode()
