"""The cosine head that LDAM's margins need."""

import torch
from torch import Tensor, nn

__all__ = ["NormedLinear"]

_TINY = 1e-12


class NormedLinear(nn.Module):
    """Cosines of the features with one direction for each class: logits in [-1, 1], no bias.

    Computed in float32 at least, under autocast and for half-precision features too. A feature vector of zeros gives
    zeros, and a gradient as if its length were 1 (not 1 / ε of it). The directions start uniform on the sphere; the
    length of a row has no effect on the output, and rows start with length 1.

    Args:
        in_features: d, length of a feature vector.
        out_features: K, number of classes.

    Source:
        Cao et al. (2019), arXiv:1906.07413, Sec. 3.2 (features and weights normalised); the start is chosen here.

    Example:
        >>> head = NormedLinear(3, 2)
        >>> head(torch.zeros(1, 3))
        tensor([[0., 0.]], grad_fn=<MmBackward0>)
    """

    def __init__(self, in_features: int, out_features: int, device=None, dtype=None):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = nn.Parameter(torch.empty(out_features, in_features, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the directions anew, uniform on the sphere."""
        with torch.no_grad():
            self.weight.normal_()
            self.weight.copy_(_directions(self.weight))

    def forward(self, features: Tensor) -> Tensor:
        """Return cosines, features (..., d) → (..., K)."""
        with torch.autocast(features.device.type, enabled=False):
            dtype = torch.promote_types(torch.promote_types(features.dtype, self.weight.dtype), torch.float32)
            return _directions(features.to(dtype)) @ _directions(self.weight.to(dtype)).T

    def extra_repr(self) -> str:
        """Return the sizes, for printing."""
        return f"in_features={self.in_features}, out_features={self.out_features}"


def _directions(rows: Tensor) -> Tensor:
    lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / lengths.where(lengths > _TINY, 1.0)
