"""Tables of average-K and top-K on trained networks."""

import json

import numpy as np
import pytest
from scipy.special import softmax
from tailbound.nn_validation import network_sets
from tailbound.nn_validation.core.evidence import DIGITS, EVEN_DIGITS, table_files
from tailbound.nn_validation.core.tables import network_tables, read_table
from tailbound.nn_validation.network_sets import SIZES, set_rows
from tailbound.paper_figs.core import figures
from tailbound.theory.core.errors import InputError


def test_rows_count_what_a_plain_loop_counts():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 4, 900)
    logits = rng.normal(size=(900, 4)) * rng.uniform(0.1, 3, (900, 1)) + 2 * np.eye(4)[labels]
    held, scores, tested = logits[:400], softmax(logits[400:], axis=1), labels[400:]
    frame = set_rows(held, logits[400:], tested, (1, 2))
    for row in frame.itertuples():
        limit = np.sort(softmax(held, axis=1).ravel())[-row.size * 400]
        sets = scores >= limit
        assert row.average_error == pytest.approx(
            np.mean([label not in np.flatnonzero(s) for s, label in zip(sets, tested, strict=True)])
        )
        assert row.set_sizes == [int((sets.sum(1) == k).sum()) for k in range(5)]
        ranked = np.argsort(-scores, axis=1)[:, : row.size]
        covered = (ranked == tested[:, None]).any(1)
        assert row.top_error == pytest.approx(1 - covered.mean())
        assert row.top_coverage == pytest.approx([covered[tested == k].mean() for k in range(4)])
        assert row.average_coverage == pytest.approx([sets[tested == k, k].mean() for k in range(4)])
        assert row.gain == pytest.approx(row.top_error - row.average_error)


def test_committed_tables_hold_every_size_of_five_networks():
    for folder in (DIGITS, EVEN_DIGITS):
        assert len(table_files("sets")[folder]) == 5
        table = network_tables("sets")[folder]
        assert sorted(zip(table.seed, table["size"], strict=True)) == [(s, k) for s in range(5) for k in SIZES]
        assert all(sum(sizes) == 600 for sizes in table.set_sizes)
        assert table.gain.to_numpy() == pytest.approx((table.top_error - table.average_error).to_numpy(), abs=2e-5)


def test_a_table_of_clipped_logits_compares_the_clipped_ones():
    torch = pytest.importorskip("torch")
    from tailbound.nn_validation.core.loop import Outputs
    from tailbound.nn_validation.logit_clip import clip_norm

    rng = np.random.default_rng(3)
    logits, labels = 20 * rng.normal(size=(50, 3)), rng.integers(0, 3, 50)
    found = {name: Outputs(features=np.zeros((50, 1)), logits=logits, labels=labels) for name in ("validation", "test")}
    table = network_sets._rows(found, {"run": {"method": "clip:max_norm=1"}, "counts": [5, 3, 2]})
    clipped = clip_norm(torch.from_numpy(logits), 1.0).numpy()
    assert table.predicted_gain.tolist() == set_rows(clipped, clipped, labels, (1, 2, 3)).predicted_gain.tolist()
    assert table.predicted_gain[0] != set_rows(logits, logits, labels, (1,)).predicted_gain[0]


def test_a_table_of_a_trained_network(tmp_path, capsys):
    runs = pytest.importorskip("tailbound.nn_validation.core.runs")
    changes = {"epochs": 2, "drops": (), "batch_size": 128}
    options = {"profile": "balanced", "largest": 20, "out": str(tmp_path), "keep_weights": True}
    path, record, _ = runs.run_job(runs.Job("digits", "ce", "digits", changes, **options))
    assert network_sets.main([str(path), "--out", str(tmp_path / "sets")]) == 0
    name = str(path.relative_to(tmp_path))
    assert capsys.readouterr().out.strip().endswith(name)
    table = read_table(name, "sets", tmp_path / "sets")
    accuracy = np.mean(record["last"]["test"]["class_accuracy"])
    assert table.top_error[0] == pytest.approx(1 - accuracy, abs=0.01)
    path.write_text(json.dumps(record | {"data": record["data"] | {"noise_rate": 0.1}}))
    assert network_sets.main([str(path), "--out", str(tmp_path / "sets")]) == 1
    assert "trained without label noise" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"run: python -m tailbound\.nn_validation\.network_sets RECORD"):
        read_table("no/such/record.json", "sets", tmp_path / "sets")


def test_the_figure_draws_the_tables():
    data = figures()["average_k.networks"].make()[1]
    for folder, table in network_tables("sets").items():
        for rule in ("top", "average"):
            rows = data["errors"].set_index(["records", "rule", "size"]).sort_index().error_percent.loc[folder, rule]
            means = 100 * table.groupby("size")[f"{rule}_error"].mean()
            assert rows.to_numpy() == pytest.approx(means.to_numpy())
        assert data["sizes"].groupby("records").percent.sum()[folder] == pytest.approx(100)
