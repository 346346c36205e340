"""Runs with label noise: what is memorised, how an option is chosen, how their claims and titles are named."""

from dataclasses import replace

import numpy as np
import pytest
from tailbound.nn_validation.core import checks, evidence
from tailbound.nn_validation.core.checks import gap, slug
from tailbound.nn_validation.core.evidence import (
    DIGITS,
    EVEN_DIGITS,
    NOISY_DIGITS,
    MissingRecords,
    RunSet,
    measured,
    noise_rate,
    noise_sets,
    noisy_sets,
    run_set,
    set_names,
)
from tailbound.nn_validation.core.measures import memorisation
from tailbound.nn_validation.core.realised import ALPHA, CLIP
from tailbound.nn_validation.results_table import render
from tailbound.paper_figs.core import figures
from tailbound.paper_figs.runs import set_title


def made(validation, test=None) -> RunSet:
    """Records in memory: method → errors of each seed."""
    by_method = {
        method: [
            {
                "counts": [10, 10],
                "last": {
                    "validation": {"balanced_error": value},
                    "test": {"balanced_error": (test or validation)[method][k], "class_accuracy": [1.0, 0.5]},
                    "train": {"memorised": value / 2},
                },
                "selected": {"validation_error": 1 - value, "balanced_error": 0.5},
            }
            for k, value in enumerate(values)
        ]
        for method, values in validation.items()
    }
    return RunSet(
        "made/balanced-noise-0.4/up", {name: list(range(len(v))) for name, v in validation.items()}, by_method
    )


# what is measured


def test_memorisation_counts_wrong_labels_only():
    rng = np.random.default_rng(0)
    true, given, predicted = rng.integers(0, 4, (3, 500))
    found = memorisation(predicted, given, true)
    wrong = [k for k in range(500) if given[k] != true[k]]
    assert found["memorised"] == pytest.approx(sum(predicted[k] == given[k] for k in wrong) / len(wrong), abs=1e-5)
    assert found["restored"] == pytest.approx(sum(predicted[k] == true[k] for k in wrong) / len(wrong), abs=1e-5)
    assert memorisation(predicted, true, true) == {"memorised": None, "restored": None}


def test_true_labels_are_kept_where_noise_was_asked():
    images = pytest.importorskip("tailbound.nn_validation.core.images")
    clean, noisy = (images.load_images("digits", profile="balanced", noise_rate=rate) for rate in (0.0, 0.3))
    assert clean.train.true_labels is None
    np.testing.assert_array_equal(noisy.train.true_labels, clean.train.labels)
    assert (noisy.train.labels != noisy.train.true_labels).any()


def test_a_run_records_memorisation_only_with_noise():
    loop = pytest.importorskip("tailbound.nn_validation.core.loop")
    from tailbound.nn_validation.core.images import load_images

    run = loop.Run("ce", loop.protocol("digits", epochs=2, warmup=0, drops=(), batch_size=64))
    noisy = load_images("digits", profile="balanced", largest=30, noise_rate=0.4)
    known, model = loop.train(run, noisy, device="cpu")
    out = loop.outputs(model, loop.Batches(noisy.train, noisy, loop.pick_device("cpu")))
    wrong = noisy.train.labels != noisy.train.true_labels
    last = known["last"]["train"]
    assert last["memorised"] == pytest.approx((out.logits.argmax(1) == noisy.train.labels)[wrong].mean(), abs=0.02)
    assert all(0 <= row[name] <= 1 for row in known["curves"] for name in ("memorised", "restored"))
    forgotten = replace(noisy, train=replace(noisy.train, true_labels=None))
    unknown, _ = loop.train(run, forgotten, device="cpu")
    assert "memorised" not in unknown["last"]["train"]
    for row in (*known["curves"], *unknown["curves"], last):
        for name in ("memorised", "restored", "seconds", "preparing"):
            row.pop(name, None)
    assert known == unknown, "the rest of the record does not depend on it"


# which option is chosen


def test_the_option_is_chosen_on_validation_images_not_on_test_images():
    validation = {"ce": [0.5, 0.5], "alpha:alpha=3": [0.3, 0.4], "alpha": [0.45, 0.2], "clip:max_norm=5": [0.0, 0.0]}
    runs = made(validation, {name: [1 - v for v in values] for name, values in validation.items()})
    assert ALPHA.methods(runs) == {1.0: "ce", 2.0: "alpha", 3.0: "alpha:alpha=3"}
    assert ALPHA.chosen(runs) == (2.0, "alpha")
    assert ALPHA.chosen(runs, "selected") == (1.0, "ce")
    assert ALPHA.chosen(runs, "selected", plain=False) == (3.0, "alpha:alpha=3")
    assert CLIP.methods(runs) == {5.0: "clip:max_norm=5", float("inf"): "ce"}


def test_runs_with_a_second_option_or_one_seed_do_not_belong_to_the_sweep():
    runs = made({"ce": [0.5, 0.5], "alpha:alpha=0.7,max_weight=10": [0.1, 0.1], "alpha:alpha=8": [0.1]})
    assert ALPHA.methods(runs) == {1.0: "ce"}
    with pytest.raises(MissingRecords, match="no two seeds of 'clip'"):
        CLIP.chosen(runs, plain=False)


def test_gaps_are_paired_differences(monkeypatch):
    runs = made({"ce": [0.5, 0.6, 0.9], "clip": [0.4, 0.3, 0.8]})
    monkeypatch.setattr(checks, "run_set", lambda folder: runs)
    found = gap("", ("clip", "ce"), beside=0.1)
    assert (found.computed, found.stated) == (pytest.approx(-0.5 / 3), 0.1)
    assert found.uncertainty == pytest.approx(evidence.interval(np.array([-0.1, -0.3, -0.1])).half_width)
    assert gap("", ("clip", "ce"), "memorised").computed == pytest.approx(-0.25 / 3)
    assert measured(runs, "ce", "rare", [0]) == pytest.approx([0.5])


# names


def test_sets_with_noise_stand_beside_the_one_without():
    found = noise_sets("ce")[EVEN_DIGITS]
    assert found[0.0] == EVEN_DIGITS
    assert found[0.4] == NOISY_DIGITS[0]
    assert all(noise_rate(folder) == rate for rate, folder in found.items())
    assert set(NOISY_DIGITS) <= set(noisy_sets("ce", "alpha:alpha=3", "clip:max_norm=1"))
    assert DIGITS not in noise_sets("ce")


def test_every_set_has_a_slug_of_its_own_apart_from_those_of_the_terminal_phase():
    names = [name for name in set_names() if "evaluate_every" not in name]
    assert len({slug(name) for name in names}) == len(names)
    assert slug("cifar-10/balanced-largest-1200-noise-0.2/fast") == "cifar_10_noise_0_2"


def test_the_table_tells_noise_and_what_was_memorised():
    section = render().split(f"## {NOISY_DIGITS[1].rpartition('/')[0]}, 40 % of the labels wrong, ")[2]
    head = section.split("\n\n")[2].splitlines()[0]
    assert [cell.strip() for cell in head.split("|")[1:-1]][-3:] == ["memorised", "restored", "ECE"]
    shown = 100 * run_set(NOISY_DIGITS[1]).values("ce", "last", "train", "memorised").mean()
    (row,) = [line for line in section.split("## ")[0].splitlines() if line.startswith("| `ce` |")]
    assert f"| {shown:.1f} % |" in row


def test_figures_draw_the_records_and_ring_the_choice():
    for name, sweep in (("alpha_loss.networks", ALPHA), ("logit_clip.networks", CLIP)):
        _, table = figures()[name].make()
        for folder, rows in table.groupby("records"):
            runs = run_set(str(folder))
            for _, part in rows.groupby("quantity"):
                assert part[part.chosen].method.tolist() == [sweep.chosen(runs)[1]]
            accuracy = rows[rows.quantity == "accuracy"].set_index("method").percent
            for method, value in accuracy.items():
                assert value == pytest.approx(100 * (1 - runs.error(str(method)).mean()))
    _, curves = figures()["logit_clip.network_epochs"].make()
    at_end = curves.query("records == @NOISY_DIGITS[1] and method == 'ce' and quantity == 'test error'").percent
    assert at_end.iloc[-1] == pytest.approx(100 * run_set(NOISY_DIGITS[1]).error("ce").mean(), abs=0.01)


def test_titles_tell_noise_and_augmentation():
    assert set_title(NOISY_DIGITS[1]) == "digits, noise 0.4, not augmented"
    assert set_title(EVEN_DIGITS) == "digits, balanced"
