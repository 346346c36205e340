"""The losses in torch, one battery over all: values, the meaning of cross-entropy, derivatives, sizes, bad input."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from helpers.losses import (  # noqa: E402
    CELLS,
    COUNTS,
    HALF,
    K,
    batch,
    call,
    cross_entropy_torch,
    every_device,
    every_loss,
    every_neutral,
    groups_of,
)
from tailbound.nn_validation.baselines import ClassBalancedCrossEntropy, CrossEntropy, FocalLoss  # noqa: E402
from tailbound.nn_validation.core.objective import label_log_odds  # noqa: E402
from tailbound.nn_validation.ldam import LDAMLoss  # noqa: E402
from tailbound.nn_validation.vs_loss.losses import GroupVSLoss, LALoss, VSLoss  # noqa: E402
from tailbound.theory.core.errors import InputError  # noqa: E402
from tailbound.theory.vs_loss.losses import group_parameters, group_vs_loss  # noqa: E402
from tailbound.theory.vs_loss.scalar_losses import LogisticLoss  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:LDAM expects cosines")

steady = settings(deadline=None, max_examples=25)  # a busy machine is no failure


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
