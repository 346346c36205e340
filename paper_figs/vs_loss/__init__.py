"""Figures of VS-loss, its cost- and group-sensitive SVMs, and the asymptotics of imbalanced Gaussian mixtures.

Source:
    Kini et al. (2021), arXiv:2103.01550; Lyu, Zhou, Zhong (2026), arXiv:2502.11323.
"""

from . import estimate as estimate
from . import groups as groups
from . import imbalance as imbalance
from . import margins as margins
from . import mismatch as mismatch
from . import networks as networks
from . import ratio as ratio
from . import training as training
