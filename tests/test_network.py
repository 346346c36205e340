"""The network: its parts, its start, its form in a compiled graph."""

import copy
import math

import pytest
from tailbound.theory.core.errors import InputError

torch = pytest.importorskip("torch")

from tailbound.nn_validation.core.images import load_images  # noqa: E402
from tailbound.nn_validation.core.loop import build_model  # noqa: E402
from tailbound.nn_validation.core.model import CifarResNet  # noqa: E402
from tailbound.nn_validation.core.protocols import Run, protocol  # noqa: E402


@pytest.mark.parametrize(
    ("depth", "head", "parameters"), [(32, "linear", 464154), (32, "cosine", 464144), (20, "linear", 269722)]
)
def test_parameter_counts(depth, head, parameters):
    counts = [each.numel() for each in CifarResNet(depth, 10, head=head).parameters()]
    assert sum(counts) == parameters
    n = (depth - 2) // 6  # blocks a stage, by hand: convolutions, norms, head
    convolutions = 9 * (3 * 16 + 2 * n * 16**2 + (2 * n - 1) * (32**2 + 64**2) + 16 * 32 + 32 * 64)
    norms = 2 * (16 + 2 * n * (16 + 32 + 64))
    assert sum(counts) == convolutions + norms + 640 + (10 if head == "linear" else 0)


def test_shortcuts_take_every_second_pixel_and_pad_channels_with_zeros():
    model = CifarResNet(8, 10, width=4).eval()
    images = torch.randn(3, 4, 9, 9, generator=torch.Generator().manual_seed(0))
    first, second, third = model.blocks
    for block in model.blocks:
        torch.nn.init.zeros_(block.second_norm.weight)  # leaves the shortcut alone
    torch.testing.assert_close(first(images), images.relu())
    halved = second(images)
    assert halved.shape == (3, 8, 5, 5)
    torch.testing.assert_close(halved[:, 2:6], images[:, :, ::2, ::2].relu())
    assert not halved[:, :2].any()
    assert not halved[:, 6:].any()
    assert third(halved).shape == (3, 16, 3, 3)


def test_cosine_head_gives_cosines_of_the_features():
    model = CifarResNet(8, 5, head="cosine", channels=1, width=4).eval()
    images = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    features, weight = model.features(images), model.head.weight
    expected = torch.nn.functional.cosine_similarity(features[:, None], weight[None], dim=-1)
    torch.testing.assert_close(model(images), expected)


def test_weights_come_from_the_seed_and_disturb_no_other_chance():
    digits = load_images("digits", imbalance_ratio=10, largest=40)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, same, other = (build_model(Run("ce", protocol("digits"), seed), digits) for seed in (1, 1, 2))
    torch.testing.assert_close(torch.rand(3), expected)
    weights = [torch.cat([each.flatten() for each in model.parameters()]) for model in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    stem = CifarResNet(8, 10, width=64).stem[0].weight
    assert stem.std().item() == pytest.approx(math.sqrt(2 / 27), rel=0.1)  # He et al. (2015): fan-in 27


@pytest.mark.parametrize("depth", [7, 9, 21, 2])
def test_depths_that_cannot_be(depth):
    with pytest.raises(InputError, match=r"depth must be 6 n \+ 2"):
        CifarResNet(depth, 10)


@pytest.mark.parametrize(
    ("dtype", "close"), [(torch.float32, {"rtol": 1e-5, "atol": 5e-5}), (torch.bfloat16, {"rtol": 2e-2, "atol": 2e-2})]
)
def test_norms_are_the_same_in_a_compiled_graph(dtype, close):
    chance = torch.Generator().manual_seed(0)
    plain = CifarResNet(8, 10, width=4).stem[1]
    with torch.no_grad():
        plain.weight.copy_(torch.rand(4, generator=chance) + 0.5)
        plain.bias.copy_(torch.randn(4, generator=chance))
    graphed = copy.deepcopy(plain)
    compiled = torch.compile(graphed, backend="aot_eager", fullgraph=True)
    for _ in range(3):  # the running moments start far from those of the images
        images = (5 + 0.5 * torch.randn(6, 4, 8, 8, generator=chance)).to(dtype)
        pull = torch.randn(6, 4, 8, 8, generator=chance).to(dtype)
        found = []
        for norm in (plain, compiled):
            given = images.clone().requires_grad_()
            out = norm(given)
            grads = torch.autograd.grad(out, (given, norm.weight, norm.bias), pull)
            found.append([out, *grads])
        for one, other in zip(*found, strict=True):
            assert other.dtype == one.dtype
            torch.testing.assert_close(other, one, **close)
    for (name, one), (_, other) in zip(plain.named_buffers(), graphed.named_buffers(), strict=True):
        torch.testing.assert_close(other, one, msg=name)
    assert graphed.num_batches_tracked == 3
    torch.testing.assert_close(compiled.eval()(images), plain.eval()(images))
