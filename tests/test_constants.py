"""What `derive` hands to a practitioner: values, ranges, the claims they rest on, notes, and torch code that runs."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tailbound.theory import claims
from tailbound.theory.constants import Origin, derive, derive_sets, ledger
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.errors import InputError
from tailbound.theory.ldam.losses import ldam_loss
from tailbound.theory.ldam.margins import optimal_margins
from tailbound.theory.snippets import SNIPPETS
from tailbound.theory.vs_loss.losses import VSParameters, vs_loss

CIFAR10_LT = ClassCounts.long_tailed(100, num_classes=10, largest=5000)
CIFAR100_LT = ClassCounts.long_tailed(100, num_classes=100, largest=500)
LEDGER = claims.load()
CITATION = re.compile(r"\(claim ([\w.]+): (\w+)\)")
PROFILES = {
    "two": [5000, 50],
    "cifar10": CIFAR10_LT,
    "cifar100": CIFAR100_LT,
    "balanced": [70, 70, 70],
    "singletons": [500, 20, 1, 1],
    "many": ClassCounts.long_tailed(100, num_classes=600, largest=500),
}


def restored(constants) -> dict:
    return json.loads(json.dumps(constants.to_dict(), allow_nan=False))


# sources


@pytest.mark.parametrize(
    "source",
    [
        [900, 90, 9],
        (900.0, 90.0, 9.0),
        np.array([900, 90, 9]),
        {"cat": 900, "dog": 90, "emu": 9},
        pd.Series([900, 90, 9], index=["cat", "dog", "emu"]),
        pd.Series(["cat"] * 900 + ["dog"] * 90 + ["emu"] * 9).value_counts(),
        ClassCounts((900, 90, 9), ("cat", "dog", "emu")),
    ],
    ids=["list", "floats", "array", "dict", "series", "value_counts", "counts"],
)
def test_sources_agree(source):
    constants = derive(source)
    stated = restored(derive([900, 90, 9]))
    found = restored(constants)
    named = isinstance(source, dict | pd.Series | ClassCounts)
    assert found.pop("classes") == (["cat", "dog", "emu"] if named else ["0", "1", "2"])
    assert found["counts"] == [900, 90, 9]
    stated.pop("classes")
    assert found == stated


def test_empty_class_is_dropped_only_when_asked():
    with pytest.raises(InputError, match=r"classes \[b\] have counts \[0\].*drop_empty"):
        derive({"a": 9, "b": 0, "c": 3})
    constants = derive({"a": 9, "b": 0, "c": 3}, drop_empty=True)
    assert constants.class_counts.names == ("a", "c")


# every constant


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("options", [{}, {"max_margin": 0.3, "epochs": 90, "probability": 0.9, "test_priors": "train"}])
def test_every_constant_rests_on_a_claim_that_holds(profile, options):
    counts = ClassCounts.from_any(PROFILES[profile])
    options = {k: counts.priors if k == "test_priors" else v for k, v in options.items()}
    constants = derive(counts, **options)
    for constant in constants:
        if constant.claim:
            assert LEDGER[constant.claim].expected == "holds", constant.name
            assert constant.verdict == ledger()[constant.claim]
            assert constant.verdict in ("proved", "confirmed")
        else:  # nothing supports the number itself, and it says so
            assert (constant.verdict, constant.origin is Origin.THEOREM) == ("none", False)
        for cited, verdict in CITATION.findall(f"{constant.reason} {constant.range_reason}"):
            assert ledger()[cited] == verdict
        assert constant.formula
        assert constant.reason
        assert constant.origin in Origin
        assert (constant.low is None) == (constant.high is None) == (not constant.range_reason)
    assert {constant.origin for constant in constants} == set(Origin)
    assert len({constant.name for constant in constants}) == len(constants)
    supported = [constant for constant in constants if constant.claim]
    assert len(supported) > len(constants) / 2
    assert CITATION.search(constants["ldam.max_margin"].range_reason)


def test_recorded_verdict_is_the_one_a_check_finds():
    (decision,) = claims.verify("ldam.margin_values")
    assert ledger()[decision.claim.id] == str(decision.verdict)
    assert ledger().keys() == LEDGER.keys()


counts_lists = st.lists(st.integers(1, 10**6), min_size=2, max_size=12)


@given(counts_lists, st.floats(0.01, 1), st.integers(2, 1000), st.floats(0.51, 0.9999))
@example([1, 1], 1.0, 2, 0.9)
@example([7] * 7, 0.5, 200, 0.99)
@example([10**12 - 1, 1], 0.5, 200, 0.99)
@settings(max_examples=60, deadline=None)
def test_values_are_finite_and_inside_their_ranges(counts, max_margin, epochs, probability):
    constants = derive(counts, max_margin=max_margin, epochs=epochs, probability=probability)
    for constant in constants:
        value = np.asarray(constant.value, dtype=float)
        assert value.shape in ((), (len(counts),)), constant.name
        assert np.isfinite(value).all(), constant.name
        assert constant.low is None or (value >= constant.low).all(), (constant.name, value, constant.low)
        assert constant.high is None or (value <= constant.high).all(), (constant.name, value, constant.high)
    assert constants["ldam.max_margin"].value == max_margin
    for name in ("margins", "margins_joint", "margins_standard", "margins_angle"):
        np.testing.assert_allclose(constants[f"ldam.{name}"].value.max(), max_margin, rtol=1e-12)
    assert max(constants["ldam.margins_fixed_constant"].value) <= max_margin
    for name in ("drw.weights", "drw.weights_effective"):
        np.testing.assert_allclose(constants[name].value.sum(), len(counts), rtol=1e-12)


@given(counts_lists)
@settings(max_examples=25, deadline=None)
def test_json_round_trip(counts):
    constants = derive(counts)
    found = restored(constants)
    assert found["counts"] == counts
    assert found["imbalance_ratio"] == max(counts) / min(counts)
    assert found["notes"] == list(constants.notes)
    assert list(found["constants"]) == [constant.name for constant in constants]
    for constant in constants:
        entry = found["constants"][constant.name]
        np.testing.assert_array_equal(entry.pop("value"), constant.value)
        assert all(entry[key] == getattr(constant, key) for key in entry)


def test_json_takes_numpy_numbers():
    found = restored(derive([5000, 50], epochs=np.int64(2), max_margin=np.float32(0.5), probability=np.float64(0.9)))
    assert found["constants"]["drw.switch_epoch"]["value"] == 1


# published numbers


def test_cifar10_lt():
    """Cao et al. (2019) and their released code: CIFAR-10-LT at ratio 100, 200 epochs."""
    constants = derive(CIFAR10_LT)
    assert sum(CIFAR10_LT.counts) == 12406
    ends = {
        "ldam.margins": (0.1581, 0.5),
        "ldam.margins_fixed_constant": (0.1581, 0.5),
        "drw.weights": (0.0402, 4.0236),
        "drw.weights_effective": (0.0506, 3.9927),
    }
    for name, stated in ends.items():
        np.testing.assert_allclose(constants[name].value[[0, -1]], stated, atol=5e-5)
    assert constants["drw.switch_epoch"].value == 160
    assert constants["ldam.scale"].value == 30
    assert (constants["vs.gamma"].value, constants["vs.tau"].value, constants["la.tau"].value) == (0.15, 1.25, 1.0)
    np.testing.assert_allclose(constants["la.iota"].value, np.log(CIFAR10_LT.priors), rtol=1e-12)
    np.testing.assert_allclose(constants["vs.iota"].value, 1.25 * np.log(CIFAR10_LT.priors), rtol=1e-12)
    np.testing.assert_allclose(constants["cdt.delta"].value[[0, -1]], [1, 100**-0.2], rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "exponent"),
    [("margins", -1 / 4), ("margins_joint", -1 / 3), ("margins_standard", 1 / 3), ("margins_angle", -1 / 2)],
)
def test_margin_profiles(name, exponent):
    found = derive(CIFAR10_LT, max_margin=0.3)[f"ldam.{name}"].value
    powers = CIFAR10_LT.array**exponent
    np.testing.assert_allclose(found, 0.3 * powers / powers.max(), rtol=1e-12)


def test_median_class_gets_half_the_largest_margin():
    found = derive([1000, 100, 10], max_margin=0.4)["ldam.margins_median"].value
    np.testing.assert_allclose(found, [0.2 * 10**-0.25, 0.2, 0.2 * 10**0.25], rtol=1e-12)
    assert derive([1000, 100, 1], max_margin=0.4)["ldam.margins_median"].value[-1] == 0.4


def test_cifar100_lt():
    constants = derive(CIFAR100_LT)
    assert sum(CIFAR100_LT.counts) == 10847
    assert (constants["vs.gamma"].value, constants["vs.tau"].value) == (0.05, 0.75)
    assert constants["drw.switch_epoch"].value == 160
    assert derive(CIFAR100_LT, epochs=90)["drw.switch_epoch"].value == 72


def test_two_classes():
    constants = derive([5000, 50])
    np.testing.assert_allclose(constants["svm.margin_ratio"].value, 100**0.25, rtol=1e-12)
    np.testing.assert_allclose(constants["ldam.bound_gain"].value, 0.787, atol=5e-4)
    assert constants["ldam.margins"].claim == "ldam.binary_split"
    assert constants["ldam.margins"].origin is Origin.THEOREM
    assert constants["ldam.max_margin"].high == 2
    assert not any("more than two classes" in note for note in constants.notes)


def test_more_classes():
    constants = derive(CIFAR10_LT)
    assert constants["ldam.margins"].origin is Origin.CONVENTION  # a bias cannot move the margins freely
    assert constants["ldam.margins"].claim == "ldam.free_sum_optimum"
    assert any("ldam.bias_realises_every_split: refuted" in note for note in constants.notes)
    assert ledger()["ldam.bias_realises_every_split"] == "refuted"
    with pytest.raises(KeyError, match=r"no constant 'svm\.margin_ratio'"):
        constants["svm.margin_ratio"]


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("ldam.margins", Origin.THEOREM),
        ("ldam.bound_gain", Origin.THEOREM),
        ("drw.weights", Origin.THEOREM),
        ("la.tau", Origin.THEOREM),
        ("la.iota", Origin.THEOREM),
        ("svm.margin_ratio", Origin.THEOREM),
        ("ldam.margins_angle", Origin.CONVENTION),
        ("ldam.margins_fixed_constant", Origin.CONVENTION),
        ("ldam.max_margin", Origin.CONVENTION),
        ("ldam.scale", Origin.CONVENTION),
        ("drw.weights_effective", Origin.CONVENTION),
        ("drw.switch_epoch", Origin.CONVENTION),
        ("cdt.gamma", Origin.SWEEP),
        ("cdt.delta", Origin.SWEEP),
        ("vs.gamma", Origin.SWEEP),
        ("vs.tau", Origin.SWEEP),
    ],
)
def test_origin_of_each_constant(name, origin):
    assert derive([5000, 50])[name].origin is origin


# options


@pytest.mark.parametrize("source", [[5000, 50], [900, 90, 9]])
def test_test_priors(source):
    counts = ClassCounts.from_any(source)
    priors = np.arange(1, len(counts) + 1)
    found = derive(source, test_priors=priors.tolist(), max_margin=0.4)["ldam.margins_test_priors"]
    stated = np.sqrt(priors) * counts.array**-0.25
    np.testing.assert_allclose(found.value, 0.4 * stated / stated.max(), rtol=1e-12)
    shares = optimal_margins(counts, test_priors=priors / priors.sum())
    np.testing.assert_allclose(found.value / found.value.sum(), shares, rtol=1e-12)
    assert found.claim == "ldam.test_prior_optimum"
    balanced = derive(source, test_priors=np.ones(len(counts)))
    np.testing.assert_allclose(balanced["ldam.margins_test_priors"].value, balanced["ldam.margins"].value, rtol=1e-12)
    with pytest.raises(KeyError, match=r"no constant 'ldam\.margins_test_priors'"):
        derive(source)["ldam.margins_test_priors"]


def test_scale_is_raised_when_the_head_could_not_fit():
    constants = derive([5000, 50], max_margin=1.9)
    needed = np.log(99) / 0.1
    assert constants["ldam.scale"].value == np.ceil(needed) > 30
    np.testing.assert_allclose(constants["ldam.scale"].low, needed, rtol=1e-9)


@pytest.mark.parametrize(
    ("source", "options", "shown"),
    [
        ([5, 3], {"max_margin": 2.0}, ("max_margin", "K / (K - 1) = 2", "got 2.0")),
        ([5, 3, 2], {"max_margin": 1.5}, ("max_margin", "K / (K - 1) = 1.5", "got 1.5")),
        ([5, 3], {"max_margin": 0}, ("max_margin", "got 0")),
        ([5, 3], {"max_margin": float("nan")}, ("max_margin", "nan")),
        ([5, 3], {"max_margin": "big"}, ("max_margin", "'big'")),
        ([5, 3], {"epochs": 1}, ("epochs", "got 1")),
        ([5, 3], {"epochs": 2.5}, ("epochs", "2.5")),
        ([5, 3], {"probability": 1.0}, ("probability", "0.999999999999", "got 1.0")),
        ([5, 3], {"probability": 0.4}, ("probability", "0.5", "got 0.4")),
        ([5, 3], {"test_priors": [1, 2, 3]}, ("test_priors", "2 classes", "(3,)")),
        ([5, 3], {"test_priors": [1, -1]}, ("test_priors", "-1")),
        ([5, 3], {"test_priors": ["a", "b"]}, ("test_priors", "'a'")),
        ([5], {}, ("at least 2 classes", "[5]")),
        ([5, 0], {}, ("classes [1]", "[0]", "drop_empty")),
        ("5,3", {}, ("class_counts", "'5,3'")),
    ],
)
def test_derive_rejects(source, options, shown):
    with pytest.raises(InputError) as excinfo:
        derive(source, **options)
    text = str(excinfo.value)
    assert "\n" not in text
    assert all(piece in text for piece in shown), text


def test_unknown_constant_suggests_the_nearest():
    constants = derive([5, 3])
    with pytest.raises(KeyError, match=r"did you mean .*ldam\.margins"):
        constants["ldam.margin"]


# notes and the rarest class


def test_singleton_is_named_and_robust_alternatives_stand():
    counts = {"cat": 5000, "dog": 500, "emu": 50, "fox": 50, "gnu": 500}
    rare = {**counts, "yak": 1}
    without, with_yak = derive(counts), derive(rare)
    assert not any("one example" in note for note in without.notes)
    (note,) = (note for note in with_yak.notes if "one example" in note)
    assert note.startswith("Class yak has one example")
    assert f"{50**0.25:.3g} times" in note
    assert "ldam.margins_fixed_constant or ldam.margins_median" in note

    def ratio(name):
        return with_yak[name].value[:-1] / without[name].value

    np.testing.assert_allclose(ratio("ldam.margins"), 50**-0.25, rtol=1e-12)
    np.testing.assert_allclose(ratio("ldam.margins_fixed_constant"), 1, rtol=1e-12)
    assert with_yak["ldam.margins_fixed_constant"].value[-1] == 0.5  # capped
    # the median, too, is that of the other classes as long as a class loses examples and stays below it
    lost = derive({**counts, "emu": 1})
    others = [0, 1, 3, 4]
    for name in ("ldam.margins_median", "ldam.margins_fixed_constant"):
        np.testing.assert_allclose(lost[name].value[others], without[name].value[others], rtol=1e-12)
    assert (lost["ldam.margins"].value[others] < 0.4 * without["ldam.margins"].value[others]).all()
    assert derive(rare)["ldam.margins_median"].value.max() <= 0.5


def test_many_singletons_are_counted():
    (note,) = (n for n in derive([9, 1, 1, 1, 1, 1]).notes if "one example" in n)
    assert "Class 1, 2, 3 and 2 more" in note


def test_balanced_classes_are_told():
    constants = derive([70, 70, 70])
    assert any("balanced" in note for note in constants.notes)
    np.testing.assert_allclose(constants["ldam.margins"].value, 0.5, rtol=1e-12)
    np.testing.assert_allclose(constants["drw.weights"].value, 1, rtol=1e-12)
    np.testing.assert_allclose(constants["cdt.delta"].value, 1, rtol=1e-12)
    np.testing.assert_allclose(constants["ldam.bound_gain"].value, 1, rtol=1e-12)


def test_ten_thousand_classes():
    constants = derive(ClassCounts.long_tailed(1000, num_classes=10_000, largest=1000))
    assert constants["ldam.margins"].value.shape == (10_000,)
    assert 1e-4 <= constants["ldam.bound_gain"].value < 1
    assert len(restored(constants)["constants"]["drw.weights"]["value"]) == 10_000
    compile(constants.snippet(), "snippet", "exec")


# torch code


def executed(source) -> dict:
    names: dict = {}
    exec(compile(source, "snippet", "exec"), names)
    return names


@pytest.mark.parametrize("loss", SNIPPETS)
@pytest.mark.parametrize("profile", PROFILES)
def test_snippet_compiles(loss, profile):
    source = derive(PROFILES[profile]).snippet(loss)
    compile(source, "snippet", "exec")
    assert source.endswith("()\n")
    assert "nan" not in source
    assert "np." not in source


def test_unknown_snippet():
    with pytest.raises(InputError, match="unknown loss 'ldma'; did you mean ldam"):
        derive([5, 3]).snippet("ldma")


@pytest.mark.parametrize("profile", ["two", "cifar10"])
@pytest.mark.parametrize("epoch", [0, 159, 160, 199])
def test_ldam_snippet_agrees_with_theory(profile, epoch):
    torch = pytest.importorskip("torch")
    constants = derive(PROFILES[profile])
    K = len(constants.class_counts)
    rng = np.random.default_rng(0)
    cosines, labels = rng.uniform(-1, 1, (64, K)).astype(np.float32), np.arange(64) % K
    loss = executed(constants.snippet())["loss"]
    loss.start_epoch(199)  # the schedule sets the weights, it does not multiply them
    loss.start_epoch(epoch)
    found = loss(torch.tensor(cosines), torch.tensor(labels)).item()
    each = ldam_loss(cosines, labels, constants["ldam.margins"].value, scale=constants["ldam.scale"].value)
    weights = (np.ones(K) if epoch < 160 else constants["drw.weights"].value)[labels]
    np.testing.assert_allclose(found, (weights * each).sum() / weights.sum(), rtol=1e-6)
    plain = each.mean()
    assert (abs(found - plain) < 1e-4 * plain) == (epoch < 160)


@pytest.mark.parametrize("loss", [name for name in SNIPPETS if name != "ldam"])
@pytest.mark.parametrize("profile", ["two", "cifar10"])
def test_vs_snippets_agree_with_theory(loss, profile):
    torch = pytest.importorskip("torch")
    constants = derive(PROFILES[profile])
    K = len(constants.class_counts)
    rng = np.random.default_rng(1)
    logits, labels = rng.uniform(-5, 5, (64, K)).astype(np.float32), np.arange(64) % K
    module = executed(constants.snippet(loss))["loss"]
    found = module(torch.tensor(logits), torch.tensor(labels)).item()
    delta = np.ones(K) if loss == "la" else constants[f"{loss}.delta"].value
    iota = np.zeros(K) if loss == "cdt" else constants[f"{loss}.iota"].value
    stated = vs_loss(logits, labels, VSParameters(delta, iota, np.ones(K))).mean()
    np.testing.assert_allclose(found, stated, rtol=1e-6)
    assert not module.state_dict()


def test_noisy_labels_bring_alpha_and_the_exact_clip_threshold():
    plain, noisy = derive([500, 100, 20]), derive([500, 100, 20], noise_rate=0.2)
    added = [constant.name for constant in noisy if constant.name not in {each.name for each in plain}]
    assert {name.split(".")[0] for name in added} == {"alpha_loss", "logit_clip"}
    threshold = noisy["logit_clip.max_norm"]
    odds = np.exp(threshold.value * np.sqrt(3 / 2))  # K = 3, p = 2: the largest contrast of a unit vector is √(3/2)
    assert odds / (odds + 2) == pytest.approx(0.8)
    assert (threshold.verdict, threshold.high) == ("proved", threshold.value)
    assert 3 ** -(1 - 1 / noisy["alpha_loss.alpha"].value) == pytest.approx(0.5)


@pytest.mark.parametrize("rate", [0.0, 0.7, -0.1, np.nan])
def test_noise_rates_out_of_range_are_refused(rate):
    with pytest.raises(InputError, match=r"noise_rate must be > 0 and < 1 - 1/K = 0\.6667, got"):
        derive([500, 100, 20], noise_rate=rate)


def test_scores_bring_the_threshold_of_average_k():
    scores = np.random.default_rng(0).dirichlet(np.full(6, 0.3), 400)
    constants = {constant.name: constant for constant in derive_sets(scores, 2)}
    threshold = constants["average_k.threshold"]
    assert (scores >= threshold.value).sum() == 800
    assert threshold.low < threshold.value < threshold.high
    assert 0 < constants["average_k.gain"].value <= constants["average_k.gain"].high <= 0.25
