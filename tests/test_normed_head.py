"""LDAM in torch: its margins, the normalised head it needs, and the notice when that is missing."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from helpers.losses import HALF, every_device  # noqa: E402
from tailbound.nn_validation.core.heads import NormedLinear  # noqa: E402
from tailbound.nn_validation.ldam import LDAMLoss  # noqa: E402

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
