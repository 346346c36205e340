"""The CIFAR form of ResNet, with a linear or a cosine head."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...theory.core.errors import InputError
from .heads import NormedLinear

__all__ = ["CifarResNet", "seeded"]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's generator, from which layers draw their start, and put it back; leave those of other devices."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


class CifarResNet(nn.Module):
    """ResNet of three stages of (depth - 2) / 6 blocks, shortcuts without parameters (option A).

    Args:
        depth: 6 n + 2: 20, 32, 44, 56; 8 for the smallest.
        num_classes: K.
        head: ``linear`` (with bias) or ``cosine`` (`NormedLinear`).
        channels: of the images.
        width: channels of the first stage; the later ones have twice and four times as many.

    Raises:
        InputError: for a depth that is not 6 n + 2, or an unknown head.

    Source:
        He, Zhang, Ren, Sun (2016), arXiv:1512.03385, Sec. 4.2; weights drawn as in He et al. (2015), arXiv:1502.01852.

    Example:
        >>> model = CifarResNet(32, 10)
        >>> sum(p.numel() for p in model.parameters())
        464154
    """

    def __init__(
        self,
        depth: int,
        num_classes: int,
        *,
        head: Literal["linear", "cosine"] = "linear",
        channels: int = 3,
        width: int = 16,
    ):
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise InputError(f"depth must be 6 n + 2 with n >= 1 (8, 14, 20, 32, ...), got {depth}")
        if head not in ("linear", "cosine"):
            raise InputError(f"head must be 'linear' or 'cosine', got {head!r}")
        blocks = (depth - 2) // 6
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1, bias=False), _Norm(width))
        stages, inside = [], width
        for stage in range(3):
            outside = width * 2**stage
            for block in range(blocks):
                stages.append(_Block(inside, outside, stride=2 if stage and not block else 1))
                inside = outside
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(inside, num_classes) if head == "linear" else NormedLinear(inside, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def features(self, images: Tensor) -> Tensor:
        """Return the penultimate features, (N, C, H, W) → (N, 4 width)."""
        maps = self.blocks(functional.relu(self.stem(images)))
        return functional.avg_pool2d(maps, maps.shape[-2:]).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, (N, C, H, W) → (N, K)."""
        return self.head(self.features(images))


class _Norm(nn.BatchNorm2d):
    """Batch norm whose training step, in a compiled graph, is sums and a multiplication.

    They fuse with the layers around them and pass over the images once; torch's own operator becomes Welford's
    recurrence there, which takes half as long again. Deviations from the first pixel keep the digits of the variance.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and torch.compiler.is_compiling()):
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        axes, N = (0, 2, 3), x.numel() // x.shape[1]
        pixel = x[0, :, 0, 0].detach().float()
        deviations = x.float() - pixel[:, None, None]
        mean = deviations.sum(axes) / N
        variance = (deviations.square().sum(axes) / N - mean.square()).clamp_min(0)
        with torch.no_grad():
            self.running_mean.lerp_(pixel + mean, self.momentum)
            self.running_var.lerp_(variance * (N / (N - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        factor = self.weight * torch.rsqrt(variance + self.eps)
        return (deviations * factor[:, None, None] + (self.bias - mean * factor)[:, None, None]).to(x.dtype)


class _Block(nn.Module):
    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.first_norm = _Norm(outside)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.second_norm = _Norm(outside)
        self.stride, self.added = stride, outside - inside

    def forward(self, x: Tensor) -> Tensor:
        y = self.second_norm(self.second(functional.relu(self.first_norm(self.first(x)))))
        # as x[:, :, ::stride, ::stride], but its gradient stays in channels-last order, which all layers before it need
        shortcut = functional.avg_pool2d(x, 1, self.stride) if self.stride > 1 else x
        if self.added:
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        return functional.relu(y + shortcut)
