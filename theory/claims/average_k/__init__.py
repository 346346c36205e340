"""Average-K's statements, by subject: the optimal rule, its gain over top-K, plug-in regret, which scores it needs."""

from . import gains, regrets, rules, scores

__all__ = ["gains", "regrets", "rules", "scores"]
