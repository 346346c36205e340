"""The training loop: hooks, chance, stopping, going on."""

import json
import math
import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.errors import InputError
from tailbound.theory.ldam.weights import deferred_weights
from tailbound.theory.logit_clip.clip import clip_logits

torch = pytest.importorskip("torch")

from helpers.losses import Following  # noqa: E402
from tailbound.nn_validation.core import loop  # noqa: E402
from tailbound.nn_validation.core.images import Batches, Split, load_images  # noqa: E402
from tailbound.nn_validation.core.loop import build_model, check, outputs, pick_device, train  # noqa: E402
from tailbound.nn_validation.core.measures import (  # noqa: E402
    balanced_error,
    calibration_error,
    label_margins,
    margin_profile,
)
from tailbound.nn_validation.core.model import CifarResNet  # noqa: E402
from tailbound.nn_validation.core.objective import Objective  # noqa: E402
from tailbound.nn_validation.core.protocols import Protocol, Run, protocol  # noqa: E402
from tailbound.nn_validation.core.schedules import schedule  # noqa: E402
from tailbound.nn_validation.methods import METHODS, Method  # noqa: E402

COUNTS = ClassCounts.long_tailed(20, num_classes=10, largest=100)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def digits():
    return load_images("digits", imbalance_ratio=10, largest=40)


def tiny(**changes) -> Protocol:
    return protocol("digits", **{"epochs": 5, "warmup": 1, "drops": (4,), "evaluate_every": 2} | changes)


def without_times(measured: dict) -> dict:
    unequal = ("seconds", "preparing")
    curves = [{key: value for key, value in row.items() if key not in unequal} for row in measured["curves"]]
    return measured | {"curves": curves}


# Whole runs


@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns_digits(digits, name):
    measured, model = train(Run(name, tiny(epochs=10, drops=(8, 9))), digits)
    curves = measured["curves"]
    assert [row["epoch"] for row in curves] == list(range(1, 11))
    assert [row["epoch"] for row in curves if "test_accuracy" in row] == [2, 4, 6, 8, 10]
    assert curves[7]["loss"] < curves[0]["loss"], "up to the deferred switch the loss is one function"
    assert balanced_error(np.array(curves[-1]["train_accuracy"], dtype=float)) < 0.8  # chance is 0.9
    assert measured["margin_unit"].startswith("cosine" if METHODS[name].head == "cosine" else "logit / ")
    for part in ("train", "validation", "test"):
        assert measured["last"][part]["balanced_error"] == pytest.approx(
            balanced_error(np.array(measured["last"][part]["class_accuracy"], dtype=float)), abs=1e-5
        )
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured
    assert model.training


def test_the_record_is_measured_on_the_model_that_is_returned(digits):
    measured, model = train(Run("ldam", tiny()), digits)
    found = outputs(model, Batches(digits.train, digits, CPU), half=loop._has_bfloat16(CPU))
    np.testing.assert_array_equal(found.labels, digits.train.labels)
    assert np.abs(found.logits).max() <= 1 + 1e-5
    profile = margin_profile(label_margins(found.logits, found.labels), found.labels, 10)
    assert measured["last"]["train"]["margins"] == profile
    rows = model.head.weight.detach().numpy()
    np.testing.assert_allclose(measured["class_directions"]["norms"], np.linalg.norm(rows, axis=1), atol=1e-5)


def test_margins_of_a_linear_head_do_not_change_with_its_scale(digits):
    measured, model = train(Run("ce", tiny(), mixed_precision=False), digits)
    seen = {name: Batches(getattr(digits, name), digits, CPU) for name in ("train", "test")}
    with torch.no_grad():
        model.head.weight *= 7
        model.head.bias *= 7
    again = loop._measure(model, Objective(), seen, measured["curves"], half=False)
    for part in ("train", "test"):
        np.testing.assert_allclose(
            again["last"][part]["margins"]["values"], measured["last"][part]["margins"]["values"], rtol=1e-4, atol=1e-6
        )


def test_the_selected_epoch_is_the_best_on_validation_images(digits):
    measured, _ = train(Run("ce", tiny(epochs=6, evaluate_every=1)), digits)
    errors = [balanced_error(np.array(row["validation_accuracy"], dtype=float)) for row in measured["curves"]]
    assert measured["selected"]["epoch"] == 1 + int(np.argmin(errors))
    chosen = measured["curves"][measured["selected"]["epoch"] - 1]
    assert measured["selected"]["class_accuracy"] == chosen["test_accuracy"]


def test_without_validation_images_the_last_epoch_is_selected(digits):
    empty = Split(digits.validation.images[:0], digits.validation.labels[:0])
    measured, _ = train(Run("ce", tiny()), replace(digits, validation=empty))
    assert measured["selected"]["epoch"] == 5
    assert measured["selected"]["validation_error"] is None
    assert set(measured["last"]) == {"train", "test"}
    json.dumps(measured, allow_nan=False)


def test_a_class_without_validation_images_is_left_out_of_the_choice(digits):
    kept = digits.validation.labels != 0
    part = Split(digits.validation.images[kept], digits.validation.labels[kept])
    measured, _ = train(Run("ce", tiny()), replace(digits, validation=part))
    assert all(row["validation_accuracy"][0] is None for row in measured["curves"] if "validation_accuracy" in row)
    assert 0 <= measured["selected"]["validation_error"] <= 1


def test_a_run_depends_on_its_settings_alone(digits):
    torch.manual_seed(1)
    first, _ = train(Run("ce-rs", tiny(flip=True), seed=3), digits)
    torch.manual_seed(2)
    torch.rand(100)
    same, _ = train(Run("ce-rs", tiny(flip=True), seed=3), digits)
    other, _ = train(Run("ce-rs", tiny(flip=True), seed=4), digits)
    assert without_times(first) == without_times(same)
    assert without_times(first) != without_times(other)


@pytest.mark.parametrize("name", ["ldam-drw", "ce-drs", "vs-mixed:plain_epochs=2", "following"])
def test_stopped_after_any_epoch_it_goes_on_to_the_same_result(digits, tmp_path, monkeypatch, name):
    monkeypatch.setitem(METHODS, "following", Method("following", "", Following, "linear", schedule("none"), {}))
    run = Run(name, tiny(flip=True))
    expected, model = train(run, digits)
    for stop in range(5):
        path = tmp_path / f"{stop}.pt"

        def interrupt(done, total, stop=stop):
            if done == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(run, digits, checkpoint=path, progress=interrupt)
        assert path.exists() == (stop > 0)
        told = []
        measured, again = train(run, digits, checkpoint=path, progress=lambda done, _, told=told: told.append(done))
        assert told == list(range(stop, 6))
        assert without_times(measured) == without_times(expected)
        for name_, value in model.state_dict().items():
            assert torch.equal(again.state_dict()[name_], value), name_


# Hooks


class Spy(Objective):
    """Writes down what the loop hands to each hook; mixes each image with another one of its batch."""

    log: list = []  # noqa: RUF012 - of the class: the loop makes the object

    def __init__(self, class_counts, *, mixing: float = 0.0, broken_epoch: int = -1, broken_batch: int = -1, **others):
        super().__init__(class_counts, **others)
        self.mixing, self.broken, self.at = mixing, (broken_epoch, broken_batch), [0, 0]
        self.log.clear()

    def start_epoch(self, epoch, epochs):
        self.at = [epoch, -1]
        self.log.append(("start", epoch, epochs))

    def mix(self, images, targets, generator=None):
        self.at[1] += 1
        self.log.append(("mix", images.shape, targets, self.weight.clone(), generator.get_state()))
        if not self.mixing:
            return images, targets
        order = torch.randperm(len(images), generator=generator)
        labels = torch.nn.functional.one_hot(targets, 10).float()
        share = 1 - self.mixing
        return share * images + self.mixing * images[order], share * labels + self.mixing * labels[order]

    def losses(self, logits, labels=None):
        self.log.append(("losses", logits.dtype))
        return super().losses(logits, labels) + (float("nan") if tuple(self.at) == self.broken else 0.0)

    def end_epoch(self, statistics):
        self.log.append(("end", dict(statistics)))


@pytest.fixture
def spy(monkeypatch):
    def use(when="none", **options):
        monkeypatch.setitem(METHODS, "spy", Method("spy", "spy", Spy, "linear", schedule(when), options))
        return Spy.log

    return use


def test_hooks_are_called_in_order_with_what_is_documented(digits, spy):
    log = spy("drw", mixing=0.25)
    measured, _ = train(Run("spy", tiny()), digits)
    batches = math.ceil(len(digits.train) / 32)
    kinds = [each[0] for each in log]
    assert kinds == (["start"] + ["mix", "losses"] * batches + ["end"]) * 5
    assert [each[1:] for each in log if each[0] == "start"] == [(epoch, 5) for epoch in range(5)]
    mixed = [each for each in log if each[0] == "mix"]
    assert [len(each[2]) for each in mixed[:batches]] == [32] * (batches - 1) + [len(digits.train) % 32]
    assert mixed[0][1] == (32, 1, 8, 8)
    for number, each in enumerate(mixed):
        epoch = number // batches
        expected = deferred_weights(digits.class_counts, epoch, epochs=5, rule="effective")
        np.testing.assert_allclose(each[3].numpy(), expected, rtol=1e-6)
    rows = [each[1] for each in log if each[0] == "end"]
    for row, kept in zip(rows, measured["curves"], strict=True):
        assert row == kept
        assert {"epoch", "rate", "loss", "train_accuracy"} <= set(row)
    assert ["test_accuracy" in row for row in rows] == [False, True, False, True, True]
    assert all(each[1] == torch.float32 for each in log if each[0] == "losses")  # under autocast too


def test_the_last_smaller_batch_does_not_make_a_second_graph(digits, monkeypatch):
    sizes = []

    def pretend(model, **options):
        assert options["dynamic"] is False
        return lambda images: sizes.append(len(images)) or model(images)

    monkeypatch.setattr(torch, "compile", pretend)
    compiled, _ = train(Run("ce", tiny(), compiled=True), digits)
    plain, _ = train(Run("ce", tiny()), digits)
    assert len(digits.train) % 32
    assert sizes == [32] * (5 * (len(digits.train) // 32))
    assert without_times(compiled) == without_times(plain)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_memory_is_kept_for_the_next_step():
    code = """
import resource, torch
from tailbound.nn_validation.core.images import load_images
from tailbound.nn_validation.core.loop import train
from tailbound.nn_validation.core.protocols import Run, protocol
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
given_back = faults()
data = load_images("digits", imbalance_ratio=2, largest=40)
train(Run("ce", protocol("digits", epochs=1, warmup=0)), data, device="cpu")
faults()
print(given_back, faults())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    given_back, kept = map(int, done.stdout.split())
    assert kept < given_back / 10


def test_each_image_is_seen_once_an_epoch_unless_resampled(digits, spy):
    log = spy()
    train(Run("spy", tiny(epochs=2)), digits)
    labels = torch.cat([each[2] for each in log if each[0] == "mix"]).numpy().reshape(2, -1)
    for seen in labels:
        np.testing.assert_array_equal(np.bincount(seen), digits.class_counts.counts)
    assert not np.array_equal(labels[0], labels[1])


@pytest.mark.parametrize("when", ["rs", "drs"])
def test_resampling_balances_the_classes(digits, spy, when):
    log = spy(when)
    train(Run("spy", tiny(epochs=15, warmup=1, drops=(14,), evaluate_every=15)), digits)
    N, start = len(digits.train), {"rs": 0, "drs": 12}[when]
    labels = torch.cat([each[2] for each in log if each[0] == "mix"]).numpy().reshape(15, N)
    for seen in labels[:start]:
        np.testing.assert_array_equal(np.bincount(seen), digits.class_counts.counts)
    share = np.bincount(labels[start:].ravel(), minlength=10) / labels[start:].size
    assert np.abs(share - 0.1).max() < 5 * math.sqrt(0.09 / labels[start:].size)
    assert all((each[3] == 1).all() for each in log if each[0] == "mix")


def test_chance_of_an_epoch_does_not_depend_on_what_came_before(digits, spy, tmp_path):
    log = spy(mixing=0.5)
    train(Run("spy", tiny()), digits)
    states = [each[4] for each in log if each[0] == "mix"]
    short = Run("spy", tiny(epochs=5))

    def interrupt(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(short, digits, checkpoint=tmp_path / "c.pt", progress=interrupt)
    train(short, digits, checkpoint=tmp_path / "c.pt")
    again = [each[4] for each in log if each[0] == "mix"]
    batches = len(states) // 5
    assert all(torch.equal(a, b) for a, b in zip(states[3 * batches :], again, strict=True))


# Stopping


def test_a_loss_that_is_not_finite_names_epoch_and_batch_and_keeps_the_checkpoint(digits, spy, tmp_path):
    spy(broken_epoch=2, broken_batch=3)
    path = tmp_path / "c.pt"
    batches = math.ceil(len(digits.train) / 32)
    with pytest.raises(
        ArithmeticError, match=rf"the loss of 'spy' is not finite in epoch 3, batch 4 of {batches} \(le"
    ):
        train(Run("spy", tiny()), digits, checkpoint=path)
    assert len(json.loads(torch.load(path, weights_only=True)["curves"])) == 2


def test_logits_that_are_not_finite_are_no_result(digits):
    model = build_model(Run("ce", tiny()), digits)
    with torch.no_grad():
        model.head.bias[3] = torch.nan
    with pytest.raises(ArithmeticError, match="logits are not finite"):
        outputs(model, Batches(digits.test, digits, CPU))


def test_a_dead_network_is_no_result(digits, monkeypatch):
    def dead(run, data):
        model = build_model(run, data)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.zeros_(module.weight).requires_grad_(False)
        return model

    monkeypatch.setattr(loop, "build_model", dead)
    with pytest.raises(ArithmeticError, match=r"all features are zero.*lower the learning rate"):
        train(Run("ce", tiny(epochs=1, learning_rate=1e-9)), digits)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError("Unable to allocate 12 TiB"),
    ],
)
def test_out_of_memory_is_told_and_the_checkpoint_stays(digits, tmp_path, monkeypatch, error):
    path, calls = tmp_path / "c.pt", []
    step = torch.optim.SGD.step

    def failing(self, *args, **kwargs):
        calls.append(0)
        if len(calls) > 2 * math.ceil(len(digits.train) / 32):
            raise error
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", failing)
    with pytest.raises(InputError, match=r"^out of memory on cpu with batches of 32; pass a smaller batch_size"):
        train(Run("ce", tiny()), digits, checkpoint=path)
    assert path.exists()
    monkeypatch.setattr(torch.optim.SGD, "step", step)
    measured, _ = train(Run("ce", tiny()), digits, checkpoint=path)
    expected, _ = train(Run("ce", tiny()), digits)
    assert without_times(measured) == without_times(expected)


def test_other_errors_are_not_called_out_of_memory(digits, monkeypatch):
    def failing(self, *args, **kwargs):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(torch.optim.SGD, "step", failing)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(Run("ce", tiny()), digits)


@pytest.mark.parametrize(
    ("run", "part"),
    [
        (Run("ce", tiny(depth=9)), r"depth must be 6 n \+ 2"),
        (Run("ce-drw", tiny(epochs=1)), "deferred schedule"),
        (Run("ce-drs", tiny(epochs=1)), "deferred schedule"),
        (Run("ldam:max_margin=-1", tiny()), "max_margin"),
        (Run("ce", tiny(padding=9)), "padding must be at most the images' side"),
    ],
)
def test_check_finds_before_training_what_training_would_find(digits, run, part):
    for each in (check, train):
        with pytest.raises(InputError, match=part):
            each(run, digits)


def test_devices():
    assert pick_device("auto").type in ("cpu", "cuda")
    assert pick_device("cpu") == CPU
    for name, part in {"gpu": "unknown device 'gpu'", "meta": "cannot be used", "": "unknown device ''"}.items():
        with pytest.raises(InputError, match=part):
            pick_device(name)


def test_weights_are_kept_whole_and_of_the_right_network(digits, tmp_path):
    from tailbound.nn_validation.core.checkpoints import load_model

    run, path = Run("ce", tiny(epochs=2, drops=())), tmp_path / "c.pt"
    _, model = train(run, digits, checkpoint=path)
    identity = {"run": run.plain(), "digests": digits.digests}
    again = load_model(path, identity, 2, CifarResNet(8, 10, channels=1))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))
    with pytest.raises(InputError, match="weights of another network"):
        load_model(path, identity, 2, CifarResNet(14, 10, channels=1))
    with pytest.raises(InputError, match=r"nothing\.pt: cannot be read"):
        load_model(tmp_path / "nothing.pt", identity, 2, model)
    with pytest.raises(InputError, match=r"checkpoint of another run \(differs in run\.seed\)"):
        load_model(path, {"run": replace(run, seed=1).plain()}, 2, model)
    with pytest.raises(InputError, match="after 2 of 3 epochs; finish the training"):
        load_model(path, identity, 3, model)


def test_one_changed_bit_of_a_weight_is_refused(digits, tmp_path):
    run, path = Run("ce", tiny(epochs=2, drops=())), tmp_path / "c.pt"
    _, model = train(run, digits, checkpoint=path)
    weight = model.head.weight.detach().numpy().tobytes()[:64]
    content = bytearray(path.read_bytes())
    at = content.find(weight)
    assert at > 0
    content[at + 3] ^= 64
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is no whole checkpoint .* is damaged"):
        train(run, digits, checkpoint=path)


@pytest.mark.parametrize(
    ("name", "confident"),
    [
        ("ce", lambda logits: logits),
        ("ldam", lambda logits: 30.0 * logits),
        ("alpha:alpha=4", lambda logits: logits / 4),
        ("clip:max_norm=0.5", lambda logits: clip_logits(logits, 0.5)),
    ],
)
def test_calibration_is_that_of_the_own_probabilities(digits, name, confident):
    measured, model = train(Run(name, tiny(epochs=4, drops=()), mixed_precision=False), digits)
    out = outputs(model, Batches(digits.test, digits, CPU))
    expected = calibration_error(confident(out.logits.astype(float)), out.labels)
    assert measured["last"]["test"]["ece"] == pytest.approx(expected, abs=1e-5)
    if name != "ce":
        assert abs(calibration_error(out.logits, out.labels) - expected) > 0.01
