"""Average-K's statements, by subject: the optimal rule, its gain, plug-in regret, the scores it needs, public code."""

from . import gains, regrets, released, rules, scores

__all__ = ["gains", "regrets", "released", "rules", "scores"]
