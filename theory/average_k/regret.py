"""What estimated probabilities cost: the regret of both plug-in rules, and what a surrogate loss guarantees."""

from typing import Any, Literal, get_args

from scipy.special import rel_entr

from ..core.errors import InputError
from .rules import AmbiguityProfile, average_k_inclusion, average_k_threshold, score_matrix, top_k_inclusion

__all__ = ["Loss", "Rule", "regret", "regret_factor", "surrogate_regret"]

Rule = Literal["top", "average"]
Loss = Literal["log", "brier", "ova"]


def regret(profile: AmbiguityProfile, scores, size, rule: Rule) -> Any:
    """Error of a rule that uses `scores` in place of η, minus the least error with the same budget.

    Args:
        profile: the truth.
        scores: h, shape (M, C); average-K thresholds them where its own mean size is K.
        size: K; an integer for ``top``.
        rule: ``top`` or ``average``.

    Example:
        >>> profile = AmbiguityProfile([[0.6, 0.4], [0.9, 0.1]])
        >>> regret(profile, [[0.4, 0.6], [0.9, 0.1]], 1, "top").round(3)
        np.float64(0.1)
    """
    _require_name(rule, "rule", get_args(Rule))
    scores = _scores(profile, scores)

    def error(values):
        if rule == "top":
            return profile.error(top_k_inclusion(values, size))
        return profile.error(average_k_inclusion(values, average_k_threshold(values, size, profile.weights)))

    return error(scores) - error(profile.probabilities)


def surrogate_regret(profile: AmbiguityProfile, scores, loss: Loss) -> Any:
    """Expected loss at the scores h minus its least value, at η: E kl(η, h), E |η - h|², or E Σ_k kl(η_k, h_k).

    Args:
        profile: the truth.
        scores: h, shape (M, C); ``ova`` scores need not sum to 1.
        loss: ``log`` (cross-entropy, nats), ``brier`` (squared), ``ova`` (a logistic loss for each class).

    Example:
        >>> surrogate_regret(AmbiguityProfile([[0.5, 0.5]]), [[0.6, 0.4]], "brier").round(3)
        np.float64(0.02)
    """
    _require_name(loss, "loss", get_args(Loss))
    eta, h = profile.probabilities, _scores(profile, scores)
    if loss == "log" and abs(h.sum(axis=1) - 1).max() > 1e-9:
        raise InputError("scores must sum to 1 in each row for the loss 'log'; normalise them, or use 'ova'")
    if loss == "brier":
        return profile.mean((eta - h) ** 2)
    eta, h = eta.astype(float), h.astype(float)
    other = rel_entr(1 - eta, 1 - h) if loss == "ova" else 0.0
    return profile.mean(rel_entr(eta, h) + other)


def regret_factor(loss: Loss, size) -> Any:
    """The c in regret² <= c · surrogate regret, for both rules with the budget K: 2, 2K and K.

    Source:
        Derived here, from Pinsker's inequality for ``log`` and ``ova``.

    Example:
        >>> [regret_factor(loss, 3) for loss in ("log", "brier", "ova")]
        [2, 6, 3]
    """
    _require_name(loss, "loss", get_args(Loss))
    return {"log": 2, "brier": 2 * size, "ova": size}[loss]


def _require_name(value: str, what: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{what} must be one of {', '.join(known)}, got {value!r}")


def _scores(profile: AmbiguityProfile, scores: Any) -> Any:
    scores = score_matrix(scores)
    if scores.shape != profile.probabilities.shape:
        raise InputError(
            f"scores must have the shape of the probabilities {profile.probabilities.shape}, got {scores.shape}"
        )
    return scores
