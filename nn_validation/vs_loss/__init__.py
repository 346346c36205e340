"""VS-loss and its members in torch (`losses`), and what is tried on real data without torch (`real_pairs`).

The studies are attributes of this package; importing it does not import torch.
"""

from .real_pairs import REAL_PAIRS

__all__ = ["REAL_PAIRS"]
