"""α-loss's statements, by subject."""

from . import calibration, landscape, shape

__all__ = ["calibration", "landscape", "shape"]
