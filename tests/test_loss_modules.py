"""The losses as modules: state, copies, weights, compiled graphs, hooks, and the ways others call them."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from helpers.losses import (  # noqa: E402
    COUNTS,
    HALF,
    K,
    batch,
    call,
    cross_entropy_torch,
    every_device,
    every_loss,
    without_groups,
)
from tailbound.nn_validation.baselines import CrossEntropy, FocalLoss, WeightedCrossEntropy  # noqa: E402
from tailbound.nn_validation.core.heads import NormedLinear  # noqa: E402
from tailbound.nn_validation.ldam import LDAMLoss  # noqa: E402
from tailbound.nn_validation.trainer import compute_loss_func  # noqa: E402
from tailbound.nn_validation.vs_loss.losses import CDTLoss, LALoss, VSLoss  # noqa: E402
from tailbound.theory.core.class_counts import ClassCounts  # noqa: E402
from tailbound.theory.core.errors import InputError  # noqa: E402
from tailbound.theory.ldam.weights import class_weights  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:LDAM expects cosines")


# Modules


@every_loss
def test_constants_are_outside_the_state_and_follow_the_module(case):
    loss = case.build()
    logits, labels, _ = batch(9)
    exact = call(case.build().double(), logits, labels)
    assert not loss.state_dict()
    assert not list(loss.parameters())
    assert {buffer.dtype for buffer in loss.buffers()} == {torch.float32}
    for cast in (lambda m: m.half().double(), lambda m: m.bfloat16().float().double(), lambda m: m.to(torch.float64)):
        assert call(cast(copy.deepcopy(loss)), logits, labels) == exact  # not the rounding of a shorter type
    for half in HALF:
        kept = copy.deepcopy(loss).to(half)
        assert {buffer.dtype for buffer in kept.buffers()} == {torch.float32}
        assert torch.equal(call(kept, logits.float(), labels), call(loss, logits.float(), labels))
    away = copy.deepcopy(loss).to("meta").to_empty(device="cpu")
    assert torch.equal(call(away, logits.float(), labels), call(loss, logits.float(), labels))


@every_loss
def test_copies_are_equal_and_apart(case):
    loss = case.build(label_smoothing=0.1)
    logits, labels, _ = batch(10, dtype=torch.float32)
    before = call(loss, logits, labels)
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(call(twin, logits, labels), before)
        twin.set_weight(torch.linspace(1, 9, K))
        assert not torch.equal(call(twin, logits, labels), before)
        assert torch.equal(call(loss, logits, labels), before)


@every_loss
def test_weight_is_set_in_place(case):
    loss = case.build(reduction="none")
    logits, labels, _ = batch(11, dtype=torch.float32)
    buffer, weight = loss.weight, torch.tensor([0.5, 1, 2, 4, 0])
    loss.set_weight(None)
    bare = call(loss, logits, labels)
    loss.set_weight(weight)
    torch.testing.assert_close(call(loss, logits, labels), bare * weight[labels])
    assert loss.weight is buffer
    assert loss.double().weight.dtype == torch.float64
    assert torch.equal(loss.weight, weight.double())
    loss.set_weight(None)
    assert torch.equal(loss.weight, torch.ones(K, dtype=torch.float64))


def test_weight_without_known_classes():
    loss = CrossEntropy()
    assert loss.num_classes is None
    loss.set_weight([1.0, 2.0, 3.0])
    assert loss.num_classes == 3
    buffer = loss.weight
    loss.set_weight(None)
    assert loss.weight is buffer
    with pytest.raises(InputError, match=r"weight must have shape \(3,\), got \(2,\)"):
        loss.set_weight([1.0, 2.0])


@pytest.mark.parametrize("reduction", ["mean", "none"])
@every_loss
def test_compiled_graph_survives_the_deferred_switch(case, reduction):
    from torch._dynamo.testing import CompileCounterWithBackend

    torch.compiler.reset()
    loss = case.build(reduction=reduction, label_smoothing=0.1)
    counter = CompileCounterWithBackend("aot_eager")  # needs no C compiler
    compiled = torch.compile(lambda z, t, **more: call(loss, z, t, **more), backend=counter, fullgraph=True)
    logits, labels, _ = batch(12, (8, K), dtype=torch.float32)
    for epoch in range(4):
        loss.start_epoch(epoch, 4)
        loss.set_weight(torch.linspace(1, 1 + epoch, K) if epoch > 1 else None)
        more = {"normaliser": loss.normaliser(labels)} if reduction == "mean" else {}
        variable = logits.clone().requires_grad_()
        value = compiled(variable, labels, **more)
        value.sum().backward()
        torch.testing.assert_close(value, call(loss, logits, labels, **more))
    assert counter.frame_count == 1


def test_compiled_graph_survives_the_mixed_start():
    from torch._dynamo.testing import CompileCounterWithBackend

    torch.compiler.reset()
    loss, counter = VSLoss(COUNTS, plain_epochs=2), CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, backend=counter, fullgraph=True)
    logits, labels, _ = batch(13, dtype=torch.float32)
    values = []
    for epoch in range(4):
        loss.start_epoch(epoch, 4)
        values.append(compiled(logits, labels))
    assert counter.frame_count == 1
    torch.testing.assert_close(values[0], cross_entropy_torch(logits, labels))
    torch.testing.assert_close(values[3], VSLoss(COUNTS)(logits, labels))
    assert values[1] == values[0] != values[2] == values[3]


@every_device
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_compiled_code_gives_the_same_values(device):
    loss, head = LDAMLoss(COUNTS).to(device), NormedLinear(16, K).to(device)
    features, labels = torch.randn(8, 16, device=device), torch.arange(8, device=device) % K
    try:
        found = torch.compile(lambda x, y: loss(head(x), y), fullgraph=True)(features, labels)
    except torch._inductor.exc.InductorError as error:
        pytest.skip(f"no compiler: {error}"[:120])
    torch.testing.assert_close(found, loss(head(features), labels))


@without_groups
def test_gradients_of_single_examples(case):
    from torch.func import grad, vmap

    logits, labels, _ = batch(14)
    loss = case.build().double()
    found = vmap(grad(loss))(logits, labels)
    stated = [grad(loss)(z, y) for z, y in zip(logits, labels, strict=True)]
    torch.testing.assert_close(found, torch.stack(stated))


# Hooks


@every_loss
def test_hooks_are_neutral(case):
    loss = case.build()
    logits, labels, _ = batch(15, dtype=torch.float32)
    before = call(loss, logits, labels)
    images = torch.rand(4, 3, 2, 2)
    assert loss.mix(images, labels, torch.Generator())[0] is images
    assert loss.mix(images, labels, None)[1] is labels
    loss.start_epoch(3, 10)
    loss.end_epoch({"accuracy": 0.5})
    assert torch.equal(call(loss, logits, labels), before)


def test_mixed_start_depends_on_the_epoch_alone():
    loss, delta = VSLoss(COUNTS, plain_epochs=3), VSLoss(COUNTS).delta
    assert torch.equal(loss.delta, torch.ones(K))
    for epoch in (5, 0, 3, 2):
        loss.start_epoch(epoch, 10)
        assert torch.equal(loss.delta, torch.ones(K) if epoch < 3 else delta)
        assert torch.equal(loss.double().float().delta, loss.delta)


@pytest.mark.parametrize(
    "source",
    [[500, 120, 40, 9, 3], dict(zip("abcde", COUNTS.counts, strict=True)), pd.Series(COUNTS.counts), COUNTS],
    ids=["list", "dict", "series", "counts"],
)
def test_class_counts_of_any_kind(source):
    for build in (CrossEntropy, WeightedCrossEntropy, LDAMLoss, LALoss, CDTLoss, VSLoss, FocalLoss):
        loss = build(source)
        assert loss.class_counts.counts == COUNTS.counts
        assert loss.num_classes == K


# For others


def train(build, head, weight=None, epochs=60):
    """Fit two overlapping classes, 300 against 15, and return the error of each class on new points."""
    chance = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.ReLU(), head(16, 2))
    labels = torch.repeat_interleave(torch.arange(2), torch.tensor([300, 15]))
    inputs = torch.randn(315, 2, generator=chance) + 1.5 * labels.unsqueeze(1)
    loss, optimiser = build([300, 15]), torch.optim.Adam(model.parameters(), 0.02)
    for epoch in range(epochs):
        loss.start_epoch(epoch, epochs)
        if weight is not None and epoch >= 0.8 * epochs:
            loss.set_weight(weight)
        optimiser.zero_grad()
        value = loss(model(inputs), labels)
        value.backward()
        optimiser.step()
    tests = torch.randn(2, 4000, 2, generator=chance) + 1.5 * torch.tensor([0.0, 1.0]).view(2, 1, 1)
    return [float((model(points).argmax(1) != label).float().mean()) for label, points in enumerate(tests)]


def test_losses_help_the_rare_class_in_a_plain_loop():
    common, rare = train(CrossEntropy, torch.nn.Linear)
    assert rare > 0.4 > 0.05 > common
    weight = class_weights(ClassCounts((300, 15)))
    for build, head in ((LALoss, torch.nn.Linear), (WeightedCrossEntropy, torch.nn.Linear), (LDAMLoss, NormedLinear)):
        errors = train(build, head, weight if build is LDAMLoss else None)
        assert sum(errors) / 2 < 0.75 * (common + rare) / 2
        assert errors[1] < rare


class Outputs(dict):
    """What a model of transformers returns: a mapping with attributes."""

    __getattr__ = dict.__getitem__


@pytest.mark.parametrize("kind", [Outputs, lambda logits: (logits,), lambda logits: SimpleNamespace(logits=logits)])
@pytest.mark.parametrize("shape", [(4, K), (2, 3, K)], ids=["sequences", "tokens"])
@without_groups
def test_trainer_calls_the_loss(case, shape, kind):
    logits = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(int(np.prod(shape[:-1]))).reshape(shape[:-1]) % K
    labels.view(-1)[1] = -100
    outputs = kind(logits=logits) if kind is not Outputs else Outputs(logits=logits)
    loss = case.build()
    function = compute_loss_func(loss)
    torch.testing.assert_close(function(outputs, labels), loss(logits.view(-1, K), labels.view(-1)))
    # as Trainer.compute_loss does in a step of two micro-batches
    items = (labels != -100).sum()
    halves = [
        function(Outputs(logits=z), y, num_items_in_batch=items)
        for z, y in zip(logits.chunk(2), labels.chunk(2), strict=True)
    ]
    total = case.build(reduction="sum")(logits.view(-1, K), labels.view(-1))
    torch.testing.assert_close(sum(halves), total / items)


def test_trainer_needs_logits_and_a_mean():
    with pytest.raises(InputError, match="reduction 'mean', got 'sum'"):
        compute_loss_func(CrossEntropy(reduction="sum"))
    for outputs in ({"loss": 3}, (), SimpleNamespace(loss=3)):
        with pytest.raises(InputError, match="outputs must have logits"):
            compute_loss_func(CrossEntropy())(outputs, torch.tensor([0]))
