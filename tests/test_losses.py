"""The losses in torch: one battery over all of them, the head, and the ways others call them."""

import copy
import math
import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402
from tailbound.nn_validation.alpha_loss import AlphaLoss  # noqa: E402
from tailbound.nn_validation.baselines import (  # noqa: E402
    ClassBalancedCrossEntropy,
    CrossEntropy,
    FocalLoss,
    WeightedCrossEntropy,
)
from tailbound.nn_validation.core.heads import NormedLinear  # noqa: E402
from tailbound.nn_validation.core.objective import Objective, label_log_odds  # noqa: E402
from tailbound.nn_validation.estimator import NetworkClassifier  # noqa: E402
from tailbound.nn_validation.ldam import LDAMLoss  # noqa: E402
from tailbound.nn_validation.logit_clip import LogitClip  # noqa: E402
from tailbound.nn_validation.trainer import compute_loss_func  # noqa: E402
from tailbound.nn_validation.vs_loss.losses import CDTLoss, GroupVSLoss, LALoss, VSLoss  # noqa: E402
from tailbound.theory.alpha_loss.losses import alpha_softmax_loss  # noqa: E402
from tailbound.theory.core.class_counts import ClassCounts  # noqa: E402
from tailbound.theory.core.errors import InputError  # noqa: E402
from tailbound.theory.core.losses import cross_entropy, focal_loss  # noqa: E402
from tailbound.theory.ldam.losses import ldam_loss  # noqa: E402
from tailbound.theory.ldam.margins import class_margins  # noqa: E402
from tailbound.theory.ldam.weights import class_weights  # noqa: E402
from tailbound.theory.logit_clip.clip import clip_logits  # noqa: E402
from tailbound.theory.vs_loss.losses import (  # noqa: E402
    group_parameters,
    group_vs_loss,
    vs_loss,
    vs_parameters,
)
from tailbound.theory.vs_loss.scalar_losses import LogisticLoss  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:LDAM expects cosines")

COUNTS = ClassCounts((500, 120, 40, 9, 3))
CELLS = np.array([[400, 100], [20, 100], [30, 10], [8, 1], [1, 2]])
K = len(COUNTS)
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
HALF = (torch.float16, torch.bfloat16)
cross_entropy_torch = torch.nn.functional.cross_entropy
steady = settings(deadline=None, max_examples=25)  # a busy machine is no failure


@dataclass(frozen=True)
class Case:
    """A loss, its numpy formula of (logits, labels, groups), and the weights it starts with."""

    build: Callable
    formula: Callable
    weight: np.ndarray | None = None
    scale: float = 1.0


def of_margins(margins, scale=30.0):
    return lambda z, y, g: ldam_loss(z, y, margins, scale=scale)


def of_vs(**settings):
    return lambda z, y, g: vs_loss(z, y, vs_parameters(COUNTS, **settings))


def of_alpha(alpha):
    return Case(
        partial(AlphaLoss, COUNTS, alpha=alpha), lambda z, y, g: alpha_softmax_loss(z, y, alpha, max_weight=1e4)
    )


def of_clip(inner, formula, norm):
    return Case(
        lambda **options: LogitClip(inner(COUNTS, **options), 1.5, norm=norm),
        lambda z, y, g: formula(clip_logits(z, 1.5, norm=norm), y),
    )


def plain(z, y, g):
    return cross_entropy(z, y)


LOSSES = {
    "ce": Case(partial(CrossEntropy, COUNTS), plain),
    "weighted": Case(partial(WeightedCrossEntropy, COUNTS), plain, class_weights(COUNTS)),
    "class-balanced": Case(
        partial(ClassBalancedCrossEntropy, COUNTS, beta=0.99), plain, class_weights(COUNTS, rule="effective", beta=0.99)
    ),
    "focal": Case(partial(FocalLoss, COUNTS, focusing=2.0), lambda z, y, g: focal_loss(z, y, focusing=2.0)),
    "focal 1/2": Case(partial(FocalLoss, COUNTS, focusing=0.5), lambda z, y, g: focal_loss(z, y, focusing=0.5)),
    "ldam": Case(partial(LDAMLoss, COUNTS), of_margins(class_margins(COUNTS, max_margin=0.5)), scale=30),
    "ldam, 1/3": Case(
        partial(LDAMLoss, COUNTS, exponent=1 / 3, max_margin=0.3, scale=10.0),
        of_margins(class_margins(COUNTS, exponent=-1 / 3, max_margin=0.3), 10.0),
        scale=10,
    ),
    "ldam, fixed C": Case(
        partial(LDAMLoss, COUNTS, constant=0.9), of_margins(np.minimum(0.9 * COUNTS.array**-0.25, 0.5)), scale=30
    ),
    "m": Case(partial(LDAMLoss, COUNTS, exponent=0.0), of_margins(np.full(K, 0.5)), scale=30),
    "la": Case(partial(LALoss, COUNTS, tau=1.5), of_vs(tau=1.5)),
    "cdt": Case(partial(CDTLoss, COUNTS, gamma=0.2), of_vs(gamma=0.2)),
    "vs": Case(partial(VSLoss, COUNTS, gamma=0.15, tau=1.25), of_vs(gamma=0.15, tau=1.25)),
    "group vs": Case(
        partial(GroupVSLoss, CELLS, gamma=0.3, tau=0.7),
        lambda z, y, g: group_vs_loss(z, y, g, group_parameters(CELLS, gamma=0.3, tau=0.7)),
    ),
}
LOSSES |= {f"alpha {alpha:g}": of_alpha(alpha) for alpha in (0.7, 1 + 1e-7, 2.0, np.inf)}
LOSSES |= {f"clip {norm:g}": of_clip(CrossEntropy, cross_entropy, norm) for norm in (1.0, 1.5, 2.0, np.inf)}
LOSSES["clip of focal"] = of_clip(partial(FocalLoss, focusing=2.0), partial(focal_loss, focusing=2.0), 2.0)
NEUTRAL = {
    "ce": CrossEntropy,
    "ce with counts": partial(CrossEntropy, COUNTS),
    "objective": Objective,
    "focal": partial(FocalLoss, focusing=0.0),
    "alpha 1": partial(AlphaLoss, alpha=1.0),
    "clip, far": lambda **options: LogitClip(CrossEntropy(COUNTS, **options), 1e6),
    "ldam": partial(LDAMLoss, COUNTS, max_margin=0.0, scale=1.0),
    "la": partial(LALoss, COUNTS, tau=0.0),
    "cdt": partial(CDTLoss, COUNTS, gamma=0.0),
    "vs": partial(VSLoss, COUNTS, gamma=0.0, tau=0.0),
    "vs, plain epochs": partial(VSLoss, COUNTS, plain_epochs=2),
    "group vs": partial(GroupVSLoss, CELLS, gamma=0.0, tau=0.0),
}
every_loss = pytest.mark.parametrize("case", LOSSES.values(), ids=LOSSES)
without_groups = pytest.mark.parametrize(
    "case",
    [case for name, case in LOSSES.items() if name != "group vs"],
    ids=[name for name in LOSSES if name != "group vs"],
)
every_neutral = pytest.mark.parametrize("build", NEUTRAL.values(), ids=NEUTRAL)
every_device = pytest.mark.parametrize("device", DEVICES)


def groups_of(logits):
    """A group for each example, whatever the loss makes of it."""
    shape = logits.shape[:1] + logits.shape[2:] if logits.dim() > 1 else ()
    return torch.arange(math.prod(shape), device=logits.device).reshape(shape) % 2


def call(loss, logits, targets, **more):
    """Call a loss as the battery does: with groups where it takes them."""
    also = (groups_of(logits),) if isinstance(loss, GroupVSLoss) else ()
    return loss(logits, targets, *also, **more)


def batch(seed, shape=(6, K), size=1.0, dtype=torch.float64):
    """Logits in [-size, size], labels and probabilities."""
    chance = torch.Generator().manual_seed(seed)
    logits = size * (2 * torch.rand(shape, generator=chance, dtype=torch.float64) - 1)
    axis = min(1, len(shape) - 1)
    labels = torch.randint(shape[axis], shape[:axis] + shape[axis + 1 :], generator=chance)
    mixed = torch.softmax(3 * torch.randn(shape, generator=chance, dtype=torch.float64), axis)
    return logits.to(dtype), labels, mixed.to(dtype)


def table(case, logits):
    """ℓ(z, c) in numpy for every example and class, weights left out, shape (N, K)."""
    groups = groups_of(logits).numpy()
    labels = [np.full(len(logits), c) for c in range(K)]
    return np.stack([case.formula(logits.numpy(), each, groups) for each in labels], axis=1)


# The formulas


@every_loss
@steady
@given(seed=st.integers(0, 2**31), size=st.sampled_from([0.01, 1.0, 20.0, 1e4]))
def test_torch_agrees_with_numpy(case, seed, size):
    logits, labels, _ = batch(seed, size=size)
    loss = case.build(reduction="none").double()
    weights = np.ones(K) if case.weight is None else case.weight
    stated = case.formula(logits.numpy(), labels.numpy(), groups_of(logits).numpy()) * weights[labels]
    rounding = 1e-12 * max(1.0, size * case.scale)  # logits of that size are known no better
    np.testing.assert_allclose(call(loss, logits, labels).numpy(), stated, rtol=1e-12, atol=rounding)


@every_loss
@steady
@given(seed=st.integers(0, 2**31), smoothing=st.sampled_from([0.0, 0.1, 1.0]), weighted=st.booleans())
def test_mixed_targets_mix_the_losses_of_their_labels(case, seed, smoothing, weighted):
    logits, labels, mixed = batch(seed)
    loss = case.build(reduction="none", label_smoothing=smoothing).double()
    weights = np.ones(K) if case.weight is None else case.weight
    if weighted:
        weights = np.random.default_rng(seed).uniform(0, 3, K)
        loss.set_weight(weights)
    for targets, shares in ((mixed, mixed.numpy()), (labels, np.eye(K)[labels.numpy()])):
        smoothed = (1 - smoothing) * shares + smoothing / K
        stated = (smoothed * weights * table(case, logits)).sum(axis=1)
        np.testing.assert_allclose(call(loss, logits, targets).numpy(), stated, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("seed", range(5))
def test_group_formula_is_the_binary_loss_of_each_cell(seed):
    rng = np.random.default_rng(seed)
    logits, labels, groups = rng.standard_normal((8, 2)), rng.integers(2, size=8), rng.integers(3, size=8)
    parameters = group_parameters(rng.integers(1, 500, size=(2, 3)), gamma=0.4, tau=0.8)
    score = (logits[:, 1] - logits[:, 0]) * np.where(labels == 1, 1, -1)
    stated = [
        LogisticLoss(*(float(each[y, g]) for each in (parameters.omega, parameters.iota, parameters.delta))).value(u)
        for u, y, g in zip(score, labels, groups, strict=True)
    ]
    np.testing.assert_allclose(group_vs_loss(logits, labels, groups, parameters), stated, rtol=1e-12)


def test_group_parameters_are_those_of_the_cells_with_the_binary_sign():
    found = group_parameters(CELLS, gamma=0.5, tau=2.0)
    np.testing.assert_allclose(found.delta, np.sqrt(CELLS / CELLS.max()))
    np.testing.assert_allclose(np.exp(-found.iota / 2), CELLS / CELLS.sum())
    assert (found.omega == 1).all()


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([5, 3], "shape \\(K, G\\), K >= 2, got \\(2,\\)"),
        ([[5, 3]], "got \\(1, 2\\)"),
        ([["a"], ["b"]], "must be numbers"),
        ([[5, 0], [3, 1]], "class 0 in group 1"),
    ],
)
def test_cell_counts_that_are_none(cells, message):
    with pytest.raises(InputError, match=message):
        group_parameters(cells)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": np.array([0, 2])}, r"labels must be integers in 0\.\.1, got \[0, 2\]"),
        ({"groups": np.array([0])}, "must agree"),
        ({"parameters": group_parameters(CELLS[:3])}, "parameters must have shape"),
    ],
)
def test_group_formula_rejects_what_does_not_fit(change, message):
    fits = {"logits": np.zeros((2, K)), "labels": np.array([0, 4]), "groups": np.array([0, 1])}
    with pytest.raises(InputError, match=message):
        group_vs_loss(**({**fits, "parameters": group_parameters(CELLS)} | change))


def test_log_odds_of_a_leading_class_are_exact():
    logits = torch.tensor([[60.0, 1.0, 0.5], [0.0, 0.0, 0.0], [1e4, -1e4, 0.0]], dtype=torch.float64)
    others = [[1, 2], [0, 2], [0, 1]]
    stated = torch.stack([logits[:, c] - torch.logsumexp(logits[:, others[c]], 1) for c in range(3)], 1)
    torch.testing.assert_close(label_log_odds(logits), stated, rtol=1e-15, atol=0)
    labels = torch.tensor([0, 1, 2])
    torch.testing.assert_close(label_log_odds(logits, labels), stated.diagonal(), rtol=1e-15, atol=0)


# The meaning of torch's cross-entropy


@every_device
@every_neutral
def test_neutral_settings_are_cross_entropy(build, device):
    weight = torch.tensor([0.5, 2.0, 0.0, 1.0, 3.0], dtype=torch.float64, device=device)
    shapes = [(K,), (7, K), (4, K, 3), (2, K, 2, 3)]
    grid = product(shapes, (None, weight), (-100, 1), ("mean", "sum", "none"), (0.0, 0.3), ("index", "mixed"))
    for shape, weights, ignored, reduction, smoothing, kind in grid:
        if kind == "mixed" and ignored >= 0:
            continue
        logits, labels, mixed = (each.to(device) for each in batch(3, shape, size=3.0))
        targets = mixed if kind == "mixed" else labels
        if kind == "index" and ignored < 0 and labels.dim():
            targets = targets.masked_fill(targets == 4, ignored)
        options = {"reduction": reduction, "ignore_index": ignored, "label_smoothing": smoothing}
        loss = build(weight=weights, **options).double().to(device)
        ours, theirs = logits.requires_grad_(), logits.detach().clone().requires_grad_()
        found, stated = call(loss, ours, targets), cross_entropy_torch(theirs, targets, weights, **options)
        torch.testing.assert_close(found, stated, rtol=1e-12, atol=1e-13, equal_nan=True)
        if stated.isfinite().all():
            gradients = [torch.autograd.grad(value.sum(), by)[0] for value, by in ((found, ours), (stated, theirs))]
            torch.testing.assert_close(*gradients, rtol=1e-11, atol=1e-13)


@every_loss
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_labels_of_any_integer_type(case, dtype):
    logits, labels, _ = batch(1)
    loss = case.build().double()
    assert torch.equal(call(loss, logits, labels.to(dtype)), call(loss, logits, labels))


@every_loss
def test_reductions_and_shapes(case):
    logits, labels, mixed = batch(2, (4, K, 3))
    for targets in (labels, mixed):
        each = call(case.build(reduction="none").double(), logits, targets)
        assert each.shape == (4, 3)
        torch.testing.assert_close(call(case.build(reduction="sum").double(), logits, targets), each.sum())
        mean = case.build().double()
        torch.testing.assert_close(call(mean, logits, targets), each.sum() / mean.normaliser(targets))


def test_nothing_to_average_is_nan_as_in_torch():
    for loss, logits, labels in (
        (CrossEntropy(), torch.zeros(2, 3), torch.full((2,), -100)),
        (LDAMLoss([3, 2, 1]), torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)),
    ):
        assert loss(logits, labels).isnan()
        assert cross_entropy_torch(logits, labels).isnan()
        loss.reduction = "sum"
        assert loss(logits, labels) == 0


def test_minus_infinity_rules_a_class_out():
    logits = torch.tensor([[0.3, -torch.inf, 0.1]], requires_grad=True)
    loss = CrossEntropy([5, 3, 1])(logits, torch.tensor([0]))
    loss.backward()
    assert loss == cross_entropy_torch(logits, torch.tensor([0]))
    assert logits.grad.isfinite().all()


@every_loss
@pytest.mark.parametrize("parts", [2, 3, 6])
@pytest.mark.parametrize("kind", ["index", "mixed"])
def test_micro_batches_add_up(case, parts, kind):
    logits, labels, mixed = batch(5, (6, K, 2))
    targets = mixed if kind == "mixed" else labels.masked_fill(labels == 2, -100)
    loss = case.build(label_smoothing=0.1).double()
    if case.weight is None:
        loss.set_weight(torch.linspace(0.5, 2, K))
    whole, normaliser = call(loss, logits, targets), loss.normaliser(targets)
    assert normaliser.shape == ()
    shares = [
        call(loss, z, t, normaliser=normaliser) for z, t in zip(logits.chunk(parts), targets.chunk(parts), strict=True)
    ]
    torch.testing.assert_close(sum(shares), whole, rtol=1e-12, atol=0)
    torch.testing.assert_close(call(loss, logits, targets, normaliser=float(normaliser)), whole)


def test_normaliser_without_known_classes_counts_the_labels():
    assert CrossEntropy().normaliser(torch.tensor([[0, -100], [7, 2]])) == 3
    assert CrossEntropy(weight=[1.0, 3.0]).normaliser(torch.tensor([0, 1, -100, 1])) == 7
    assert CrossEntropy().normaliser(torch.rand(4, 3, 2)) == 8
    assert CrossEntropy().normaliser(torch.rand(3)) == 1


# Derivatives and size


@every_loss
@pytest.mark.parametrize("kind", ["index", "mixed"])
def test_gradients(case, kind):
    logits, labels, mixed = batch(7, (4, K, 2))
    loss = case.build(label_smoothing=0.2, reduction="none").double()
    targets = mixed if kind == "mixed" else labels.masked_fill(labels == 1, -100)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: call(loss, z, targets), logits)
    assert torch.autograd.gradgradcheck(lambda z: call(loss, z, targets), logits)
    mixed.requires_grad_()
    assert torch.autograd.gradcheck(lambda t: call(loss, logits.detach(), t), mixed)


@every_loss
def test_gradient_where_logits_tie(case):
    logits = torch.zeros(3, K, dtype=torch.float64, requires_grad=True)
    loss = case.build(reduction="none").double()
    assert torch.autograd.gradcheck(lambda z: call(loss, z, torch.tensor([0, 2, 4])), logits)


@every_device
@every_loss
@pytest.mark.parametrize("dtype", [*HALF, torch.float32, torch.float64], ids=str)
def test_finite_at_any_logit(case, dtype, device):
    extremes = torch.tensor([[1e4, -1e4, 0, 0, 0], [-1e4, 1e4, -1e4, -1e4, 1e4], [1e4] * K, [0.0] * K])
    logits = torch.cat([extremes, -extremes, 3e4 * extremes.sign()]).to(device, dtype)
    labels = (torch.arange(len(logits)) % K).to(device)
    for targets in (labels, torch.nn.functional.one_hot(labels, K).to(dtype)):
        loss = case.build(label_smoothing=0.1).to(device)
        variable = logits.clone().requires_grad_()
        value = call(loss, variable, targets)
        value.backward()
        assert value.dtype == torch.promote_types(dtype, torch.float32)
        assert variable.grad.dtype == dtype
        assert value.isfinite()
        assert variable.grad.isfinite().all()
        assert (call(loss, variable, targets) >= 0).all()


@every_device
@every_loss
@pytest.mark.parametrize("dtype", HALF, ids=str)
def test_half_precision_is_computed_in_single(case, dtype, device):
    logits, labels, mixed = (each.to(device) for each in batch(8, (32, K), dtype=torch.float32))
    loss = case.build(label_smoothing=0.1).to(device)
    for targets in (labels, mixed):
        stated = call(loss, logits.to(dtype).float(), targets.to(dtype).float() if targets is mixed else targets)
        with torch.autocast(device, dtype):
            found = call(loss, logits.to(dtype), targets.to(dtype) if targets is mixed else targets)
            assert torch.equal(call(loss, logits, targets), call(loss, logits, targets.clone()))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, stated, rtol=1e-6, atol=0)


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


# LDAM's margins and its notice


def test_margins_of_ldam():
    assert torch.equal(LDAMLoss([10000, 625, 16]).margins, torch.tensor([0.1, 0.2, 0.5]))
    assert torch.equal(LDAMLoss([9, 4], exponent=0.0, max_margin=0.3).margins, torch.tensor([0.3, 0.3]))
    assert torch.equal(LDAMLoss([16, 1], constant=0.8).margins, torch.tensor([0.4, 0.5]))
    assert torch.equal(LDAMLoss([16, 1], constant=0.8, max_margin=np.inf).margins, torch.tensor([0.4, 0.8]))
    assert torch.equal(LDAMLoss([9, 4], max_margin=0.0).margins, torch.zeros(2))


class TestNotice:
    """Logits outside [-1, 1] mean that the normalised head is missing."""

    COSINES, LABELS = torch.tensor([[1.0, -1.0], [0.2, 0.3]]), torch.tensor([0, 1])

    @pytest.fixture(autouse=True)
    def warnings_are_errors(self):  # a mark here would not outdo the module's
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield

    def test_would_be_seen(self):
        with pytest.raises(UserWarning, match="LDAM expects cosines"):
            LDAMLoss([9, 1])(2 * self.COSINES, self.LABELS)

    def test_comes_once_and_points_to_the_call(self):
        loss = LDAMLoss([9, 1])
        with pytest.warns(UserWarning, match=r"got a logit of size 3: .*NormedLinear\(in_features, 2\)") as caught:
            loss(3 * self.COSINES, self.LABELS)
        assert [each.filename for each in caught] == [__file__]
        loss(3 * self.COSINES, self.LABELS)
        with pytest.warns(UserWarning, match="LDAM expects cosines"):
            LDAMLoss([9, 1])(-3 * self.COSINES, self.LABELS)

    def test_does_not_come_for_cosines(self):
        loss, head = LDAMLoss([9, 1]), NormedLinear(64, 2)
        for dtype in (torch.float32, *HALF):
            with torch.autocast("cpu", torch.bfloat16):
                loss(head(torch.randn(50, 64).to(dtype)).to(dtype), torch.randint(2, (50,)))
        loss(torch.full((1, 2), torch.nan), torch.tensor([0]))

    @pytest.mark.parametrize("dtype", HALF, ids=str)
    def test_does_not_come_for_cosines_rounded_to_half_precision(self, dtype):
        rows = torch.nn.functional.normalize(torch.randn(500, 64, generator=torch.Generator().manual_seed(0)).to(dtype))
        cosines = (rows * rows).sum(dim=1, keepdim=True)
        assert cosines.max() > 1
        LDAMLoss([9, 1])(torch.cat([cosines, -cosines], dim=1), torch.zeros(500, dtype=torch.long))

    def test_comes_when_logits_grow_later(self):
        loss = LDAMLoss([9, 1])
        for _ in range(20):
            loss(self.COSINES, self.LABELS)
        with pytest.warns(UserWarning, match="LDAM expects cosines"):
            _ = [loss(2 * self.COSINES, self.LABELS) for _ in range(20)]

    def test_looks_at_few_batches(self, monkeypatch):
        seen = []
        monkeypatch.setattr("tailbound.nn_validation.ldam.extremes", lambda values: seen.append(1))
        loss = LDAMLoss([9, 1])
        for _ in range(1000):
            loss._notice(self.COSINES)
        assert len(seen) == 10  # 1, 2, 4, ..., 512

    def test_is_not_part_of_a_compiled_graph(self):
        torch.compiler.reset()
        loss = LDAMLoss([9, 1])
        compiled = torch.compile(loss, backend="eager", fullgraph=True)
        compiled(3 * self.COSINES, self.LABELS)
        with pytest.warns(UserWarning, match="LDAM expects cosines"):
            loss(3 * self.COSINES, self.LABELS)


# Bad input


@every_loss
@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (torch.zeros(2, K), torch.tensor([0, K]), r"labels must lie in 0\.\.4, got 0\.\.5; only ignore_index"),
        (torch.zeros(2, K), torch.tensor([0, -1]), r"labels must lie in 0\.\.4, got -1\.\.0"),
        (torch.zeros(2, K + 1), torch.tensor([0, 1]), r"have 6 classes, but the loss was built for 5"),
        (torch.zeros(2, K), torch.tensor([0, 1, 2]), r"targets must be .*\(2,\), .*got torch.int64 of shape \(3,\)"),
        (torch.zeros(2, K), torch.tensor([0.0, 1.0]), r"targets must be .*got torch.float32 of shape \(2,\)"),
        (torch.zeros(2, K), torch.zeros(2, K).long(), r"targets must be .*got torch.int64 of shape \(2, 5\)"),
        (torch.zeros(2, K), torch.zeros(2, K + 1), r"targets must be .*got torch.float32 of shape \(2, 6\)"),
        (torch.zeros(2, K).long(), torch.tensor([0, 1]), "logits must be floating"),
        (torch.zeros(()), torch.tensor(0), "logits must be floating"),
    ],
)
def test_batches_that_do_not_fit(case, logits, targets, message):
    with pytest.raises(InputError, match=message):
        call(case.build(), logits, targets)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CrossEntropy(reduction="avg"), "unknown reduction 'avg'"),
        (lambda: CrossEntropy(label_smoothing=1.5), r"label_smoothing must lie in \[0, 1\], got 1.5"),
        (lambda: CrossEntropy(weight=[[1.0, 2.0]]), r"weight must have shape \(K,\), got \(1, 2\)"),
        (lambda: LALoss(COUNTS, weight=[1.0, 2.0]), r"weight must have shape \(5,\), got \(2,\)"),
        (lambda: LALoss(COUNTS, weight=[1, 2, 3, -1, 5]), r"weights must be finite and >= 0, got \[-1.0\]"),
        (lambda: LALoss(COUNTS, weight=[1, 2, 3, torch.nan, 5]), r"weights must be finite and >= 0, got \[nan\]"),
        (lambda: LDAMLoss([5, 0]), r"class_counts must be >= 1, but classes \[1\]"),
        (lambda: LDAMLoss("many"), "class_counts must be a sequence"),
        (lambda: LDAMLoss(COUNTS, scale=0), "scale must be finite and > 0"),
        (lambda: LDAMLoss(COUNTS, max_margin=-0.5), "max_margin must lie in"),
        (lambda: LDAMLoss(COUNTS, max_margin=np.inf), "max_margin must be finite without a constant"),
        (lambda: LDAMLoss(COUNTS, constant=-1), "constant must be finite and > 0"),
        (lambda: LDAMLoss(COUNTS, exponent=np.nan), "exponent must be finite"),
        (lambda: VSLoss(COUNTS, gamma=-1), "gamma must lie in"),
        (lambda: VSLoss(COUNTS, tau=np.nan), "tau must lie in"),
        (lambda: VSLoss(COUNTS, plain_epochs=1.5), "plain_epochs must be a whole number >= 0, got 1.5"),
        (lambda: FocalLoss(focusing=-1), "focusing must lie in"),
        (lambda: ClassBalancedCrossEntropy(COUNTS, beta=1), "beta must be below 1"),
        (lambda: GroupVSLoss([[5, 3], [1, 0]]), "class 1 in group 1"),
        (lambda: CrossEntropy(reduction="sum")(torch.zeros(1, 2), torch.tensor([0]), normaliser=3), "goes with"),
        (lambda: CrossEntropy(ignore_index=1)(torch.zeros(1, 2), torch.ones(1, 2)), "ignore_index 1 has no meaning"),
        (lambda: CrossEntropy(COUNTS).normaliser(torch.tensor([7])), "labels must lie in"),
        (
            lambda: GroupVSLoss(CELLS)(torch.zeros(1, K), torch.tensor([0]), torch.tensor([2])),
            "groups must lie in 0..1",
        ),
        (lambda: GroupVSLoss(CELLS)(torch.zeros(1, K), torch.tensor([0]), torch.tensor([0, 1])), "groups must be int"),
    ],
)
def test_settings_that_do_not_fit(build, message):
    with pytest.raises(InputError, match=message):
        build()


# The normalised head


@every_device
def test_head_gives_cosines(device):
    head = NormedLinear(7, 3).to(device)
    features = torch.randn(5, 7, device=device)
    stated = torch.nn.functional.cosine_similarity(features.unsqueeze(1), head.weight.unsqueeze(0), dim=2)
    torch.testing.assert_close(head(features), stated)
    torch.testing.assert_close(head(1e-3 * features), head(1e3 * features))
    assert [name for name, _ in head.named_parameters()] == ["weight"]
    with torch.no_grad():
        head.weight.mul_(torch.tensor([[0.01], [1.0], [100.0]], device=device))
    torch.testing.assert_close(head(features), stated)


@every_device
@pytest.mark.parametrize("dtype", [*HALF, torch.float32], ids=str)
def test_head_is_computed_in_single_precision(dtype, device):
    head = NormedLinear(64, 3).to(device)
    features = (100 * torch.randn(5, 64, device=device)).to(dtype)
    with torch.autocast(device, torch.bfloat16):
        found = head(features)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), head.double()(features.double()), rtol=0, atol=1e-6)
    assert head.to(dtype)(features).abs().max() <= 1 + 1e-6  # a head of half precision, too


@pytest.mark.parametrize("dtype", [*HALF, torch.float32], ids=str)
def test_head_is_safe_at_zero_and_at_huge_features(dtype):
    head = NormedLinear(4, 3)
    for size in (0.0, 1e-3, 6e4):
        features = torch.full((2, 4), size, dtype=dtype, requires_grad=True)
        found = head(features)
        found.sum().backward()
        assert found.abs().max() <= 1 + 1e-6
        assert features.grad.isfinite().all()
        assert features.grad.abs().max() <= 3 / (size or 1)  # the derivative of a direction is 1 / length; not so at 0
        assert head.weight.grad.isfinite().all()
    assert not head(torch.zeros(1, 4)).any()


def test_head_starts_uniform_on_the_sphere():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rows = NormedLinear(3, 20000).weight.detach()
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(20000))
    deviation = 1 / np.sqrt(
        3 * 20000
    )  # of the mean of one coordinate; a coordinate is uniform on [-1, 1] in 3 dimensions
    assert (rows.mean(dim=0).abs() < 5 * deviation).all()
    levels = torch.linspace(-0.9, 0.9, 19)
    shares = (rows.unsqueeze(2) < levels).float().mean(dim=0)
    assert (shares - (levels + 1) / 2).abs().max() < 5 * 0.5 / np.sqrt(20000)


def test_head_gradient_and_graph():
    head = NormedLinear(5, 3).double()
    assert torch.autograd.gradcheck(head, torch.randn(2, 5, dtype=torch.float64, requires_grad=True))
    torch.compiler.reset()
    compiled = torch.compile(head, backend="aot_eager", fullgraph=True)
    features = torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(compiled(features), head(features))


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


@parametrize_with_checks([NetworkClassifier("ldam-drw", epochs=20, random_state=0)])
def test_estimator_meets_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def imbalanced():
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], [300, 60, 12])
    means = {"a": (0, 0), "b": (2, 0), "c": (0, 2)}
    return np.array([means[label] for label in labels]) + rng.standard_normal((372, 2)), labels, means


@pytest.mark.parametrize("method", ["ce", "ce-drs", "cb", "focal", "m-drw", "ldam:exponent=0.5", "vs-mixed"])
def test_estimator_trains_every_kind_of_method(imbalanced, method):
    features, labels, means = imbalanced
    found = NetworkClassifier(method, epochs=30, random_state=0).fit(features, labels)
    again = NetworkClassifier(method, epochs=30, random_state=0).fit(features, labels)
    probabilities = found.predict_proba(features)
    np.testing.assert_array_equal(probabilities, again.predict_proba(features))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert found.class_counts_ == ClassCounts((300, 60, 12), ("a", "b", "c"))
    assert found.loss_curve_[20] < found.loss_curve_[0]  # the last fifth is re-weighted or re-sampled
    assert found.predict(np.array(list(means.values()))).tolist()[:2] == ["a", "b"]
    assert (np.abs(found.decision_function(features)) <= found.objective_.scale + 1e-9).all() == (
        method.startswith(("ldam", "m-"))
    )


def test_estimator_with_a_deferred_method_finds_the_rare_class(imbalanced):
    features, labels, _ = imbalanced
    rare = features[labels == "c"]
    found = {
        method: (NetworkClassifier(method, random_state=0).fit(features, labels).predict(rare) == "c").mean()
        for method in ("ce", "ldam-drw", "la")
    }
    assert found["ldam-drw"] > found["ce"] < found["la"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "ldamm"}, "unknown method 'ldamm'"),
        ({"epochs": 1}, "epochs must be whole and >= 2, got 1"),
        ({"hidden_sizes": (0,)}, r"hidden_sizes must be whole and >= 1, got \(0,\)"),
        ({"batch_size": 2.5}, "batch_size must be whole"),
        ({"learning_rate": -1}, "learning_rate must be finite and > 0"),
        ({"weight_decay": -1}, "weight_decay must lie in"),
    ],
)
def test_estimator_rejects_bad_settings(imbalanced, settings, message):
    with pytest.raises(InputError, match=message):
        NetworkClassifier(**settings).fit(*imbalanced[:2])


def test_estimator_leaves_torch_s_own_generator_alone(imbalanced):
    before = torch.random.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NetworkClassifier(epochs=2).fit(*imbalanced[:2])
    assert torch.equal(torch.random.get_rng_state(), before)


# Studies are listed without torch


def test_listing_the_studies_imports_no_torch():
    import subprocess
    import sys

    code = (
        "import sys; from tailbound.sims.core.study import select; "
        "print('vs_loss.real_pairs' in {study.name for study in select()}, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
