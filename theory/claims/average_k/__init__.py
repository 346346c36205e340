"""Average-K's statements, by subject: the optimal rule, its gain over top-K, plug-in regret, its scores, public code."""

from . import gains, regrets, released, rules, scores

__all__ = ["gains", "regrets", "released", "rules", "scores"]
