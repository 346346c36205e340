"""The study of real pairs: its draws, and what its committed results say."""

import numpy as np
import pandas as pd
import pytest
from tailbound.nn_validation.vs_loss import real_pairs
from tailbound.nn_validation.vs_loss.real_pairs import DATA, FASHION_PAIRS, POWERS, REAL_PAIRS, RULES, draw_pair
from tailbound.sims.core.results import load_results
from tailbound.theory.core.errors import InputError
from tailbound.theory.vs_loss.ratio_estimate import METHODS

PAIR = {"data": "digits", "minority": "8", "majority": "1", "num_minority": 8, "num_majority": 80}


@pytest.fixture(scope="module")
def results():
    return load_results(REAL_PAIRS)


@pytest.mark.parametrize("seed", [0, 1])
def test_rules_meet_the_same_machine(seed):
    rows = pd.DataFrame(draw_pair(np.random.default_rng(seed), **PAIR)).set_index("rule")
    assert tuple(rows.index) == RULES
    assert rows.separable.all()
    fixed = rows.loc[list(POWERS)]
    np.testing.assert_allclose(fixed.margin_ratio, 10 ** np.array(list(POWERS.values())))
    assert (np.diff(fixed.error_plus) <= 0).all()  # a larger ratio favours the minority
    assert (np.diff(fixed.error_minus) >= 0).all()
    assert rows.balanced_error["class_weight"] == rows.balanced_error["svm"]  # weights do nothing on separable data
    assert rows.balanced_error["oracle"] <= rows.balanced_error.drop("crossed oracle").min()
    estimates = rows.loc[list(METHODS)]
    assert (estimates.low <= estimates.margin_ratio).all()
    assert (estimates.margin_ratio <= estimates.high).all()
    assert rows.drop(list(METHODS))[["low", "high", "predicted"]].isna().all(axis=None)
    np.testing.assert_allclose(rows.balanced_error, (rows.error_plus + rows.error_minus) / 2)


def test_sets_that_are_not_separable_say_so(monkeypatch):
    def overlapping(rng, minority, majority, num_minority, num_majority):
        features = rng.standard_normal((num_minority + num_majority, 2))
        return features, [features, features]

    monkeypatch.setitem(DATA, "overlapping", overlapping)
    rows = pd.DataFrame(draw_pair(np.random.default_rng(0), **PAIR | {"data": "overlapping"}))
    assert tuple(rows.rule) == RULES
    assert not rows.separable.any()
    assert rows.balanced_error.isna().all()
    assert set(rows) == set(draw_pair(np.random.default_rng(0), **PAIR)[0])


@pytest.mark.parametrize(
    ("data", "names", "numbers", "dimension", "tested"),
    [
        ("digits", ("8", "1"), (6, 100), 64, (168, 82)),
        ("breast_cancer", ("malignant", "benign"), (10, 200), 30, (202, 157)),
    ],
)
def test_training_and_test_examples(data, names, numbers, dimension, tested):
    train, test = DATA[data](np.random.default_rng(0), *names, *numbers)
    assert train.shape == (sum(numbers), dimension)
    assert tuple(len(each) for each in test) == tested
    everything = np.round(np.vstack([train, *test]), 9)
    assert len(np.unique(everything, axis=0)) >= len(everything) - 2  # no example is on both sides
    if data == "breast_cancer":  # the test examples had no part in the scaling
        np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-9)
        np.testing.assert_allclose(train.std(axis=0), 1)


def test_fashion_pairs_come_from_a_folder(tmp_path, monkeypatch):
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, each in (("train", 12), ("t10k", 5)):
        labels = np.repeat(np.arange(10, dtype=np.uint8), each)
        images = rng.integers(0, 256, (labels.size, 28, 28), dtype=np.uint8)
        images[:, 0, 0] = 10 * labels
        header = b"\x00\x00\x08"
        shape = b"".join(n.to_bytes(4, "big") for n in images.shape)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(header + b"\x03" + shape + images.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(header + b"\x01" + shape[:4] + labels.tobytes())
    monkeypatch.setenv("TAILBOUND_FASHION_MNIST", str(folder))
    real_pairs._fashion.cache_clear()
    try:
        train, test = DATA["fashion"](rng, "Shirt", "T-shirt/top", 3, 12)
        np.testing.assert_allclose(train[:, 0] * 255, [60] * 3 + [0] * 12)
        assert [len(each) for each in test] == [5, 5]
        np.testing.assert_allclose(test[0][:, 0] * 255, 60)
        assert len(np.unique(train, axis=0)) == 15
        monkeypatch.setenv("TAILBOUND_FASHION_MNIST", str(tmp_path / "nowhere"))
        real_pairs._fashion.cache_clear()
        with pytest.raises(InputError, match="nowhere"):
            DATA["fashion"](rng, "Shirt", "T-shirt/top", 3, 12)
    finally:
        real_pairs._fashion.cache_clear()


def test_protocol():
    fashion = [case for case in REAL_PAIRS.cases if case["data"] == "fashion"]
    assert len(FASHION_PAIRS) == len(set(map(frozenset, FASHION_PAIRS))) == 10
    assert {(case["num_minority"], case["num_majority"]) for case in fashion} == {(20, 400), (40, 400)}
    assert (len(fashion), REAL_PAIRS.repetitions) == (20, 5)


def test_committed_results_are_what_the_readme_says(results):
    error = 100 * results[results.data == "fashion"].groupby("rule").balanced_error.mean()
    assert results.separable.all()
    for rule in (*POWERS, "class_weight", "training-law", "training-means", "cross-validation"):
        assert error["leave-one-out"] < error[rule], rule
    assert error["leave-one-out"] - error["oracle"] == pytest.approx(0.34, abs=0.02)
    assert error["leave-one-out"] - error["crossed oracle"] == pytest.approx(-0.02, abs=0.02)
    digits = 100 * results[results.data == "digits"].groupby("rule").balanced_error.mean()
    assert digits["n^-1/2"] < digits["leave-one-out"] < digits["n^-1/3"]  # a loss, kept in sight


def test_committed_intervals_cover_what_the_readme_says(results):
    draws = ["data", "minority", "majority", "num_minority", "repetition"]
    estimates = results[results.rule == "leave-one-out"].set_index(draws)
    hindsight = results[results.rule == "oracle"].set_index(draws).margin_ratio
    inside = (estimates.low <= hindsight) & (hindsight <= estimates.high)
    shares = inside.groupby("data").mean().to_dict()  # at confidence 0.9: real laws are not normal
    assert shares == pytest.approx({"breast_cancer": 0.7, "digits": 0.63, "fashion": 0.71}, abs=0.005)


def test_committed_results_are_reproduced(results):
    case = next(case for case in REAL_PAIRS.cases if case["data"] == "breast_cancer")
    again = pd.DataFrame(REAL_PAIRS.draw_rows(case, 3)).set_index("rule")
    stored = results[(results[list(case)] == pd.Series(case)).all(axis=1) & (results.repetition == 3)].set_index("rule")
    np.testing.assert_allclose(again.balanced_error, stored.balanced_error, atol=1e-12)
    np.testing.assert_allclose(again.margin_ratio, stored.margin_ratio, rtol=1e-5)
