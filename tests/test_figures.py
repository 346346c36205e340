"""The figures are drawn whole or not at all, and what they mark is what the theory says."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from tailbound.paper_figs import core
from tailbound.paper_figs.core import draw, figures, select
from tailbound.sims.core.results import load_results
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.errors import InputError
from tailbound.theory.ldam.bounds import balanced_error_bound, largest_margin
from tailbound.theory.ldam.weights import class_weights

LDAM = ["ldam.binary_bound", "ldam.optimal_exponents", "ldam.low_order", "ldam.deferred_weights"]
LDAM += ["ldam.optimal_ratio", "ldam.rule_errors", "ldam.bound_and_error", "ldam.regret", "ldam.power_regret"]
LDAM += ["ldam.training_error", "ldam.class_errors", "ldam.realised_margins", "ldam.exponent_error"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("figures") / "new" / "folder"
    draw([], out)
    return out


@pytest.fixture(scope="module")
def table(folder):
    return lambda name: pd.read_csv(folder / f"ldam-{name}.csv")


def test_a_system_names_its_figures():
    assert [each.id for each in select(["ldam"])] == LDAM
    assert [each.id for each in select(["ldam.low_order", "ldam.low_order"])] == ["ldam.low_order"]


@pytest.mark.parametrize("name", figures())
def test_every_figure_is_written_as_pdf_png_and_finite_data(name, folder):
    stem = name.replace(".", "-")
    pdf, png = (folder / f"{stem}.pdf").read_bytes(), (folder / f"{stem}.png").read_bytes()
    tables = list(folder.glob(f"{stem}*.csv"))
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf  # TrueType, embedded
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20], "big") >= 200 * core.COLUMN
    assert tables
    for path in tables:
        data = pd.read_csv(path)
        assert len(data) > 1
        assert np.isfinite(data.select_dtypes("number").to_numpy()).all()


def test_only_whole_files_are_left(folder):
    assert {path.suffix for path in folder.iterdir()} == {".pdf", ".png", ".csv"}


def test_drawing_twice_gives_the_same_bytes(folder, tmp_path):
    for path in draw(["ldam.binary_bound", "ldam.deferred_weights"], tmp_path):
        assert path.read_bytes() == (folder / path.name).read_bytes()


@pytest.mark.parametrize("name", figures())
def test_no_label_overlaps_another_or_is_cut(name):
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with matplotlib.style.context(["default", core._STYLE]):
        wanted = figures()[name]
        drawing, _ = wanted.make(*map(load_results, wanted.needs))
        canvas = FigureCanvasAgg(drawing)
        canvas.draw()
        boxes = [(text, text.get_window_extent(canvas.get_renderer())) for text in _texts(drawing)]
        assert len(boxes) > 10
        for i, (text, box) in enumerate(boxes):
            assert text.get_fontsize() >= 7
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= drawing.bbox.width
            assert box.y1 <= drawing.bbox.height
            for other, other_box in boxes[:i]:
                assert not box.overlaps(other_box), (text.get_text(), other.get_text())


def _texts(drawing):
    legends = list(drawing.legends)
    texts = []
    for ax in drawing.axes:
        legends += [ax.get_legend()] if ax.get_legend() else []
        texts += [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    texts += [text for legend in legends for text in (legend.get_title(), *legend.get_texts())]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def test_binary_optimum_is_the_minimum_of_the_drawn_curve(table):
    curves, optima = table("binary_bound-curves"), table("binary_bound-optimum").set_index("imbalance_ratio")
    for ratio, curve in curves.groupby("imbalance_ratio"):
        optimum, lowest = optima.loc[ratio], curve.loc[curve.bound_over_equal.idxmin()]
        spacing = np.diff(curve.rare_share).max()
        assert abs(lowest.rare_share - optimum.rare_share) <= spacing
        assert optimum.bound_over_equal <= lowest.bound_over_equal + 1e-12
        assert lowest.bound_over_equal == pytest.approx(optimum.bound_over_equal, abs=1e-3)
        if ratio > 1:  # the joint bound's exponent would be seen to miss
            wrong = ratio ** (1 / 3) / (1 + ratio ** (1 / 3))
            assert abs(lowest.rare_share - wrong) > 5 * spacing
    assert curves[curves.rare_share == 0.5].bound_over_equal.to_numpy() == pytest.approx(1)
    assert optima.loc[100].bound_over_equal == pytest.approx(0.787, abs=5e-4)


@pytest.mark.parametrize(
    ("rule", "exponent"), [("per_class", -1 / 4), ("joint", -1 / 3), ("joint_standard", 1 / 3), ("angle", -1 / 2)]
)
def test_each_rule_has_its_exponent(table, rule, exponent):
    ratios = table("optimal_exponents-ratio").query("rule == @rule")
    slope = np.polyfit(np.log(ratios.imbalance_ratio), np.log(ratios.margin_ratio), 1)[0]
    assert -slope == pytest.approx(exponent, abs=1e-9)
    profiles = table("optimal_exponents-profiles").query("rule == @rule")
    assert profiles.groupby("dataset").size().to_dict() == {"CIFAR-10-LT": 10, "CIFAR-100-LT": 100}
    for _, rows in profiles.groupby("dataset"):
        assert rows.margin_mean_1.mean() == pytest.approx(1)
        shape = rows.margin_mean_1.to_numpy() * rows["count"].to_numpy() ** -exponent
        assert shape == pytest.approx(shape[0])


def test_cifar_profile_is_the_published_one(table):
    rows = table("optimal_exponents-profiles").query("rule == 'per_class' and dataset == 'CIFAR-10-LT'")
    assert rows["count"].tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert rows.margin_max_half.iloc[[0, -1]].round(4).tolist() == [0.1581, 0.5]
    assert rows.margin_max_half.max() / rows.margin_max_half.min() == pytest.approx(3.162, abs=5e-4)


@pytest.mark.parametrize("part", ["complexity", "total"])
def test_low_order_optimum_is_the_minimum_of_the_bound(table, part):
    rows = table(f"low_order-{part}").iloc[::12]
    edge = largest_margin(2, max_score=1, failure_probability=0.05)
    assert len(rows) > 15
    for row in rows.itertuples():
        counts = ClassCounts((100 * round(row.imbalance_ratio), 100))

        def bound(rare, counts=counts, row=row):
            margins = np.array([row.total - rare, rare])
            return balanced_error_bound(margins, counts, complexity=row.root_complexity**2, max_score=1.0)

        grid = row.total * np.linspace(0.003, 0.997, 300)  # over all splits: the stationary point is the minimum
        assert row.rare < edge
        assert bound(row.rare) <= min(bound(rare) for rare in grid if rare < edge)
        moved = row.rare * (row.imbalance_ratio ** (1 / 3 - 1 / 4))  # n^(-1/3) in place of -1/4 would not be
        assert row.total <= moved or bound(row.rare) < bound(moved)


def test_low_order_term_favours_the_rare_class_and_fades(table):
    rows = table("low_order-complexity")
    for _, curve in rows.groupby("imbalance_ratio"):
        excess = curve.over_quarter_rule.to_numpy() - 1
        assert (np.diff(excess) < 0).all()
        assert (excess > 0).all()
        assert excess[-1] < 3e-3
    linear = rows[np.isclose(rows.root_complexity, 2)].set_index("imbalance_ratio").over_quarter_rule
    assert linear.loc[100] == pytest.approx(1.00978, abs=1e-5)


def test_deferred_weights_from_10_to_500_000(table):
    data = table("deferred_weights")
    assert (data["count"].min(), data["count"].max()) == (10, 500_000)
    inverse = data[data.rule == "inverse"]
    assert inverse.weight_over_largest.to_numpy() == pytest.approx(500_000 / inverse["count"].to_numpy())
    for beta, rows in data[data.rule == "effective"].groupby("beta"):
        pair = class_weights(ClassCounts((500_000, 10)), rule="effective", beta=beta)
        assert rows.weight_over_largest.iloc[0] == pytest.approx(pair[1] / pair[0])
        assert rows.weight_times_count.iloc[-1] == pytest.approx(500_000 * (1 - beta) / (1 - beta**500_000))
        assert (np.diff(rows.weight_over_largest) <= 0).all()


@pytest.mark.parametrize(
    ("name", "near"),
    [("ldma", "ldam"), ("binary_bound", "ldam.binary_bound"), ("ldam.low-order", "ldam.low_order")],
)
def test_an_unknown_name_suggests_the_nearest(name, near, tmp_path):
    with pytest.raises(InputError, match=f"unknown figure '{name}'; did you mean .*{near}"):
        draw([name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_file_in_place_of_the_folder(inside, tmp_path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(InputError, match=r"^figures cannot be written into '.*taken.*': .*; name a folder") as caught:
        draw(["ldam.deferred_weights"], tmp_path / "taken" / inside)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "taken").read_text() == "mine"


def test_a_read_only_folder_is_left_as_it_was(tmp_path, monkeypatch):
    def refuse(path, content):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(core.Path, "write_bytes", refuse)
    with pytest.raises(InputError, match=r"Permission denied; name a folder"):
        draw(["ldam.deferred_weights"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_files(tmp_path, monkeypatch):
    before = {path: path.read_bytes() for path in draw(["ldam.deferred_weights"], tmp_path)}
    write, calls = core.Path.write_bytes, []

    def fill(path, content):
        calls.append(path)
        if len(calls) == 3:
            write(path, content[:10])
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    monkeypatch.setattr(core.Path, "write_bytes", fill)
    with pytest.raises(InputError, match="No space left on device"):
        draw(["ldam.deferred_weights"], tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_data_that_are_not_finite_are_refused(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def empty():
        """A broken figure."""
        return Figure(), pd.DataFrame({"x": [1.0, np.nan]})

    monkeypatch.setitem(core._FIGURES, "ldam.broken", core.PaperFigure("ldam.broken", "A broken figure.", empty))
    with pytest.raises(ArithmeticError, match=r"ldam\.broken"):
        draw(["ldam.broken"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_drawing_needs_no_solver_and_keeps_no_global_state():
    code = (
        "import sys, matplotlib; before = matplotlib.rcParams.copy()\n"
        "from tailbound.paper_figs import core\n"
        "core.figures()['ldam.deferred_weights'].render()\n"
        "assert matplotlib.rcParams.copy() == before\n"
        "print([m for m in ('sympy', 'cvxpy', 'torch', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
