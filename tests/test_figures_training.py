"""The figures of training draw the records' numbers, and a set that arrives gets its panels."""

import shutil
from functools import cache

import numpy as np
import pytest
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from tailbound.nn_validation.core import evidence
from tailbound.nn_validation.core.evidence import CIFAR, DIGITS, fitted_line, interval, run_set
from tailbound.nn_validation.core.realised import best_exponent
from tailbound.nn_validation.core.tables import network_tables
from tailbound.paper_figs import core
from tailbound.paper_figs.core import figures
from tailbound.paper_figs.runs import LABELS, LOOKS, set_title

TRAINING = ["ldam.training_error", "ldam.class_errors", "ldam.realised_margins", "ldam.exponent_error"]
TRAINING += ["vs_loss.minority_training", "vs_loss.terminal_margins", "vs_loss.network_features"]


@cache
def tables(name):
    return figures()[name].make()[1]


def test_every_method_has_a_look_of_its_own():
    assert set(LABELS) == set(LOOKS)
    assert set_title(DIGITS) == "digits, long-tailed, ratio 20"


def test_curves_end_where_the_last_epoch_was_measured():
    table, runs = tables("ldam.training_error"), run_set()
    for method in ("ce", "ce-drw", "ldam-drw"):
        rows = table[(table.records == DIGITS) & (table.method == method) & (table.split == "test")]
        assert rows.epoch.max() == 40
        assert rows.error_percent.iloc[-1] == pytest.approx(100 * runs.error(method).mean(), abs=1e-2)


def test_class_errors_average_to_the_balanced_error():
    table, runs = tables("ldam.class_errors"), run_set()
    for method, rows in table[table.records == DIGITS].groupby("method"):
        assert rows["count"].tolist() == list(runs.counts.counts)
        assert rows.test_error_percent.mean() == pytest.approx(100 * runs.error(method).mean(), abs=1e-2)


def test_the_fitted_exponents_are_those_of_the_drawn_margins():
    data = tables("vs_loss.terminal_margins")
    slopes = data["slopes"].set_index(["records", "method"]).exponent
    for key, rows in data["margins"].groupby(["records", "method"]):
        drawn = fitted_line(np.log(rows["count"].to_numpy()), np.log(rows.margin_over_ce.to_numpy())).slope
        assert drawn == pytest.approx(slopes[key])
        assert np.log(rows.margin_over_ce).mean() == pytest.approx(0, abs=1e-9)


def test_exponents_and_shifts():
    table = tables("ldam.exponent_error")
    best = best_exponent(run_set())
    rows = table[table.records == DIGITS]
    assert rows.exponent.tolist() == list(best.exponents)
    assert rows.error_percent.to_numpy() == pytest.approx(100 * best.errors.mean(axis=0))
    shifts = tables("ldam.realised_margins")["shifts"]
    assert (shifts.imposed_change <= 1e-12).all()
    for _, part in shifts.groupby(["records", "exponent"]):
        assert np.corrcoef(part.imposed_change, part.realised_change)[0, 1] > 0.5


def test_counted_errors_are_means_over_networks():
    table, frame = tables("vs_loss.network_features"), network_tables("features")[DIGITS]
    for source in ("training", "held-out"):
        part = frame[(frame.fitted_on == source) & (frame.rule == "svm")].groupby("seed").error_plus.mean()
        row = table.query("records == @DIGITS and fitted_on == @source and quantity == 'error' and rule == 'svm'")
        assert row.percent.item() == pytest.approx(100 * part.mean())
        assert row.half_width.item() == pytest.approx(100 * interval(part.to_numpy()).half_width)


def test_a_set_that_arrives_gets_its_panels(tmp_path, monkeypatch):
    folder = tmp_path / "trained"
    for place in (DIGITS, CIFAR):
        shutil.copytree(evidence.COMMITTED / DIGITS, folder / place, ignore=shutil.ignore_patterns("*.pt"))
    monkeypatch.setattr(evidence, "COMMITTED", folder)
    monkeypatch.setattr(evidence, "INDEX", tmp_path / "trained.index.json")
    evidence.INDEX.write_text(evidence.index_text(folder))
    for name in ("ldam.training_error", "ldam.class_errors", "ldam.exponent_error", "vs_loss.minority_training"):
        with style.context(["default", core._STYLE]):
            drawing, table = figures()[name].make()
            canvas = FigureCanvasAgg(drawing)
            canvas.draw()
            for text in drawing.legends[0].get_texts():
                box = text.get_window_extent(canvas.get_renderer())
                assert box.x0 >= 0
                assert box.x1 <= drawing.bbox.width
        assert set(table.records) == {DIGITS, CIFAR}
        assert drawing.get_figwidth() == core.PAGE
    evidence._index.cache_clear()
