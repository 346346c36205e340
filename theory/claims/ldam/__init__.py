"""LDAM's statements, by subject: optimal margins, the low-order term, the bias, the loss, the cosine head, weights."""

from . import asymptotic, bias, cosine, losses, low_order, optima, weights

__all__ = ["asymptotic", "bias", "cosine", "losses", "low_order", "optima", "weights"]
