"""α-loss's statements, by subject."""

from . import calibration, descent, landscape, mixtures, noise, released, remarks, shape

__all__ = ["calibration", "descent", "landscape", "mixtures", "noise", "released", "remarks", "shape"]
