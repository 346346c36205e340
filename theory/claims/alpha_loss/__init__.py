"""α-loss's statements, by subject."""

from . import calibration, shape

__all__ = ["calibration", "shape"]
