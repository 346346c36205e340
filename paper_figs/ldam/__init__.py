"""Figures of LDAM: its bounds, and its margin ratio against the optimum of the asymptotic theory.

Source:
    Cao et al. (2019), arXiv:1906.07413.
"""

from . import against as against
from . import bounds as bounds
from . import optimum as optimum
from . import training as training
