"""α-loss's statements, by subject."""

from . import calibration, landscape, mixtures, released, shape

__all__ = ["calibration", "landscape", "mixtures", "released", "shape"]
