"""LogitClip's statements, by subject: ranges of the loss, the cost of noise, decisions and gradients, released code."""

from . import decisions, noise, ranges, released_code, uneven_noise

__all__ = ["decisions", "noise", "ranges", "released_code", "uneven_noise"]
