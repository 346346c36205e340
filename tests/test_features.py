"""derive --features: the reader's errors, the report's numbers, the command."""

import json
import sys
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from tailbound.cli import main
from tailbound.theory.claims import load
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.feature_files import check_features, read_features
from tailbound.theory.features import derive_features, save_machine
from tailbound.theory.vs_loss.svm import solve_svm


def mixture(seed=0, rare=30, frequent=170, dimension=200, signal=2.0, scale=1.0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(["rare", "frequent"], [rare, frequent])
    features = scale * rng.standard_normal((labels.size, dimension))
    features[:, 0] += scale * signal * np.where(labels == "rare", 1, -1)
    order = rng.permutation(labels.size)
    return features[order], labels[order]


@pytest.fixture(scope="module")
def report():
    return derive_features(*mixture())


# the reader


def test_reads_what_was_written(tmp_path):
    features, labels = mixture(rare=5, frequent=9, dimension=3)
    np.savez(tmp_path / "a.npz", X=features, y=labels)
    np.savez_compressed(tmp_path / "b.npz", features=features, labels=labels)
    np.savez(tmp_path / "c.npz", X=features, kind=labels)
    frame = pd.DataFrame(features, columns=["u", "v", "w"]).assign(kind=labels)
    frame.to_parquet(tmp_path / "d.parquet")
    frame.rename(columns={"kind": "Target"}).to_parquet(tmp_path / "e.parquet")
    for name, label in (
        ("a.npz", None),
        ("b.npz", None),
        ("c.npz", "kind"),
        ("d.parquet", "kind"),
        ("e.parquet", None),
    ):
        found = read_features(tmp_path / name, label=label)
        np.testing.assert_array_equal(found.features, features)
        np.testing.assert_array_equal(found.labels, labels)
    assert read_features(tmp_path / "d.parquet", label="kind").names == ("u", "v", "w")


def test_files_that_cannot_be_read(tmp_path):
    def says(name, *shown, label=None):
        with pytest.raises(InputError) as excinfo:
            read_features(tmp_path / name, label=label)
        text = str(excinfo.value)
        assert text.startswith(str(tmp_path / name))
        assert "\n" not in text
        for piece in shown:
            assert piece in text

    says("missing.npz", "no such file")
    says("", "is a folder")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    says("table.csv", "unknown suffix '.csv'")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 not a zip file")
    says("broken.npz", "not a complete .npz file")
    np.savez(tmp_path / "whole.npz", X=np.eye(9), y=np.arange(9))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-200])
    says("cut.npz", "not a complete .npz file")
    np.save(tmp_path / "array.npy", np.eye(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    says("array.npz", "holds one array, not an .npz archive")
    (tmp_path / "text.npz").write_text("no archive")
    says("text.npz", "is not an .npz archive")
    np.savez(tmp_path / "other.npz", data=np.eye(3), y=[1, 2, 3])
    says("other.npz", "must hold X and y, or features and labels, but holds data, y")
    np.savez(tmp_path / "objects.npz", X=np.eye(2), y=np.array([{"a": 1}, None], dtype=object))
    says("objects.npz", "a pickle that could run code")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    says("broken.parquet", "not a readable parquet file")
    frame = pd.DataFrame({"u": [1.0, 2.0, 3.0], "kind": ["a", "b", None]})
    frame.to_parquet(tmp_path / "f.parquet")
    says("f.parquet", "choose with --label NAME")
    says("f.parquet", "did you mean kind?", label="kinds")
    says("f.parquet", "examples [2] (from 0) have none", label="kind")
    frame.assign(word=["x", "y", "z"]).to_parquet(tmp_path / "g.parquet")
    says("g.parquet", "'word' has none", label="kind")
    frame.assign(kind=["a", "b", "a"], u=[1.0, np.nan, np.inf]).to_parquet(tmp_path / "h.parquet")
    says("h.parquet", "2 are not (row 1, column 'u', from 0); drop or impute them", label="kind")


@pytest.mark.parametrize(
    ("features", "labels", "shown"),
    [
        ([["a"]], ["x"], "must be numbers"),
        (np.zeros(3), [1, 2, 3], "n examples by d features, got shape (3,)"),
        (np.zeros((3, 0)), [1, 2, 3], "got shape (3, 0)"),
        (np.zeros((3, 2)), [1, 2], "one for each of 3 examples"),
        (np.zeros((3, 2)), [1.0, np.nan, 2.0], "examples [1] (from 0) have none"),
        (np.zeros((2, 2)), [1j, 2j], "must be numbers or words"),
    ],
)
def test_bad_features(features, labels, shown):
    with pytest.raises(InputError) as excinfo:
        check_features(features, labels)
    assert shown in str(excinfo.value)


@pytest.mark.parametrize(
    ("features", "labels", "shown"),
    [
        (np.eye(4), [1, 1, 1, 1], "at least 2 classes"),
        (np.eye(4), [1, 1, 1, 2], "['2'] have one"),
        (np.eye(6), [1, 1, 2, 2, 3, 3], None),
        (np.eye(4), [1.5, 1.5, 2.5, 2.5], None),
        (np.repeat(np.eye(4), 2, axis=0), np.arange(8) // 2 * 0.1, None),
        (np.ones((4, 2)), [1, 1, 2, 2], "all equal"),
        (np.array([[0.0], [2.0], [1.0], [3.0]]), [1, 1, 2, 2], "no hyperplane separates 1 from 2"),
        (np.zeros((12_001, 1)), np.arange(12_001) % 2, "more than 12000"),
        (np.eye(10), np.repeat([0.1, 0.2, 0.3, 0.4, 0.5], 2), None),
    ],
)
def test_what_a_report_refuses(features, labels, shown):
    if shown is None:
        assert derive_features(features, labels).problems
        return
    with pytest.raises(InputError) as excinfo:
        derive_features(features, labels)
    assert shown in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


# the report


def test_report_of_two_classes(report):
    (problem,) = report.problems
    assert (report.classes, report.num_examples, report.dimension) == (("frequent", "rare"), 200, 200)
    assert (problem.name, problem.rest, problem.counts) == ("rare", "frequent", (30, 170))
    assert problem["data.prior"].value == 0.15
    assert problem["data.aspect_ratio"].value == 1.0
    assert problem["data.signal_strength"].value == pytest.approx(2.0, abs=0.2)
    assert problem["data.effective_dimension"].value == pytest.approx(200, rel=0.1)
    ratio = problem["svm.margin_ratio_auto"]
    assert ratio.low < ratio.value < ratio.high
    assert ratio.value == problem.estimate.ratio == problem.predictions[0].margin_ratio
    assert problem["svm.margin_ratio"].value == pytest.approx((170 / 30) ** 0.25)
    assert {each.rule for each in problem.predictions} == {"auto", "svm", "ldam", "n^-1/3", "n^-1/2", "1/n"}
    balanced = {each.rule: each.balanced_error for each in problem.predictions}
    assert min(balanced, key=balanced.get) == "auto"
    assert problem["svm.ldam_loss"].value == pytest.approx(balanced["ldam"] - balanced["auto"])
    assert balanced["auto"] < balanced["ldam"] < balanced["svm"]
    assert report.notes == ()


def test_predictions_come_true(report):
    (problem,) = report.problems
    fresh, labels = mixture(seed=1, rare=4000, frequent=4000)
    (again,) = derive_features(*mixture()).problems
    scores = fresh @ again.coefficients + again.intercept
    found = np.array([(scores[labels == "rare"] <= 0).mean(), (scores[labels == "frequent"] >= 0).mean()])
    np.testing.assert_allclose(problem.predictions[0].errors, found, atol=0.06)
    for each in problem.predictions:  # isotropic noise: the theory's column describes the data
        np.testing.assert_allclose(each.isotropic, each.errors, atol=0.12)


def test_machine_has_the_ratio(report):
    (problem,) = report.problems
    features, labels = mixture()
    signs = np.where(labels == "rare", 1, -1)
    margins = signs * (features @ problem.coefficients + problem.intercept)
    assert margins[signs > 0].min() == pytest.approx(problem.estimate.ratio, rel=1e-6)
    assert margins[signs < 0].min() == pytest.approx(1.0, rel=1e-6)
    required = np.where(signs > 0, problem.estimate.ratio, 1.0)
    direct = solve_svm(features @ features.T, signs, required)
    np.testing.assert_allclose(direct.coefficients @ features, problem.coefficients, atol=1e-6)
    np.testing.assert_array_equal(problem.machine.predict(features), signs)


def test_signal_is_unbiased():
    found = [
        derive_features(*mixture(seed, rare=10, frequent=40, dimension=100, signal=1.5, scale=7.0)).problems[0]
        for seed in range(8)
    ]
    strengths = np.array([problem["data.signal_strength"].value for problem in found])
    assert (strengths**2).mean() == pytest.approx(1.5**2, abs=0.6)


def test_covariance_far_from_isotropic_hides_the_mixture():
    features, labels = mixture(dimension=300)
    features *= np.geomspace(1, 0.01, 300)
    (problem,) = derive_features(features, labels).problems
    assert problem["data.effective_dimension"].value < 100
    assert all(each.isotropic is None for each in problem.predictions)
    assert all(each.training_law is not None for each in problem.predictions)


def test_one_class_against_the_rest():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [60, 30, 15])
    features = rng.standard_normal((105, 120))
    features[np.arange(105), labels] += 5
    seen = []
    report = derive_features(features, labels, track=lambda tasks: (seen.append(k) or k for k in tasks))
    assert seen == [0, 1, 2]
    assert [each.name for each in report.problems] == ["0", "1", "2"]
    assert [each.counts for each in report.problems] == [(60, 45), (30, 75), (15, 90)]
    ratios = [each.estimate.ratio for each in report.problems]
    assert ratios[0] < ratios[1] < ratios[2]


def test_a_class_that_cannot_be_separated_is_reported_beside_the_others():
    features = np.array([[-2.0], [-1.9], [-0.1], [0.1], [2.0], [2.1]])
    report = derive_features(features, [0, 0, 1, 1, 2, 2])
    assert [each.separable for each in report.problems] == [True, False, True]
    assert "no hyperplane separates 1 from rest" in report.problems[1].reason
    assert report.to_dict()["problems"][1]["separable"] is False


def test_claims_exist(report):
    known = load("vs_loss")
    claims = {constant.claim for problem in report.problems for constant in problem.constants if constant.claim}
    assert claims
    assert claims <= set(known)


def test_uneven_features_are_noted():
    features, labels = mixture(dimension=220)
    features[:, 5] *= 1.5e3
    assert "standardise them" in derive_features(features, labels).notes[0]
    features[:, 5] *= 2e3
    with pytest.raises(InputError, match=r"^rare against frequent: .* standardise them$"):
        derive_features(features, labels)


def test_report_is_json(report):
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    (problem,) = plain["problems"]
    assert problem["constants"]["svm.margin_ratio_auto"]["claim"] == "vs_loss.best_shift"
    assert len(problem["machine"]["coefficients"]) == 200
    assert problem["predictions"][0]["rule"] == "auto"


def test_saved_machine_loads_without_code(tmp_path, report):
    save_machine(report, tmp_path / "machine.npz")
    with np.load(tmp_path / "machine.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["coefficients"][0], report.problems[0].coefficients)
        assert saved["classes"].tolist() == ["rare"]
        assert saved["rests"].tolist() == ["frequent"]
        assert saved["margin_ratios"].tolist() == [report.problems[0].estimate.ratio]
    with pytest.raises(InputError, match=r"saved as \.npz"):
        save_machine(report, tmp_path / "machine.joblib")
    with pytest.raises(InputError, match="cannot be written"):
        save_machine(report, tmp_path / "nowhere" / "machine.npz")


# the command


def run(capsys, *args):
    code = 0
    with mock.patch.object(sys, "argv", ["tailbound", "derive", *map(str, args)]):
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code or 0
    out, err = capsys.readouterr()
    return code, out, err


def test_command(tmp_path, capsys):
    features, labels = mixture(rare=12, frequent=60, dimension=80)
    np.savez(tmp_path / "f.npz", X=features, y=labels)
    code, out, err = run(capsys, "--features", tmp_path / "f.npz", "--save", tmp_path / "m.npz")
    assert (code, err) == (0, "")
    for piece in ("rare (12) against frequent (60)", "svm.margin_ratio_auto", "by isotropic mixture", "svm.ldam_loss"):
        assert piece in out
    assert (tmp_path / "m.npz").exists()
    code, out, err = run(capsys, "--features", tmp_path / "f.npz", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["problems"][0]["counts"] == [12, 60]


def test_command_for_many_classes(tmp_path, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((90, 100)), columns=[f"x{k}" for k in range(100)])
    frame["kind"] = np.repeat(["[a]", "b", "c"], [60, 20, 10])
    frame.to_parquet(tmp_path / "f.parquet")
    code, out, err = run(capsys, "--features", tmp_path / "f.parquet", "--label", "kind")
    assert (code, err) == (0, "")
    assert "One class against the rest" in out
    assert "[a]" in out


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (["--features", "none.npz"], "none.npz: no such file"),
        (["5", "3", "--features", "f.npz"], "takes the place of class counts"),
        (["--features", "f.npz", "--snippet"], "leave those out"),
        (["5", "3", "--label", "kind"], "belong to --features"),
        (["5", "3", "--save", "m.npz"], "belong to --features"),
    ],
)
def test_command_says_what_is_wrong(capsys, args, shown):
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert shown in err
