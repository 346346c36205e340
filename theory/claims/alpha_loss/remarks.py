"""Remarks on what α-loss estimates, the wrong ones with what holds in their place."""

from typing import Any

import numpy as np
import sympy as sp

from ...alpha_loss.calibration import optimal_logit, tilted
from ...alpha_loss.losses import MarginLoss
from ...core.claims import Kind, Relation, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from .calibration import S, a, first, second, t


@claim(
    "alpha_loss.calibrated_outputs",
    source=cite("tailbound", "remark in a public re-implementation, on the loss of Sypherd et al. (2022)"),
    kind=Kind.NUMERIC,
    relation=Relation.EQUAL,
    atol=1e-9,
    formula="the minimiser Q of the α-risk is P itself: its outputs are calibrated probabilities",
    cases=cases(alpha=[0.5, 2.0, 10.0]),
    expected="fails",
    corrected_by="alpha_loss.untilting",
    right={"untilt": True},
    wrong={"untilted twice": {"twice": True}},
)
def calibrated_outputs(alpha, untilt=False, twice=False):
    """Training with α-loss yields calibrated probabilities. Only after Q^(1/α), normalised, does it."""
    P = np.array([0.8, 0.2])
    Q = tilted(P, alpha)
    power = 1 / alpha**2 if twice else 1 / alpha if untilt else 1.0
    return tilted(Q, power), P


@claim(
    "alpha_loss.untilting",
    source=cite("tailbound", "tilting of Sypherd et al. (2022)"),
    kind=Kind.SYMBOLIC,
    formula="(P^(α))^(1/α) = P: dividing the logits by α recovers the posterior; |log odds| of Q = α |log odds| of P",
    wrong={"power α": {"power": a}, "power 1/(2α)": {"power": 1 / (2 * a)}},
    exhaustive=True,
)
def untilting(power=1 / a):
    """The outputs are over-confident for α > 1 and under-confident for α < 1; dividing the logits by α undoes it."""
    odds = (first**a / S) / (second**a / S)
    return (
        Derivation()
        .equal("log odds of the outputs", sp.expand_log(sp.log(odds)), a * (sp.log(first) - sp.log(second)))
        .equal("untilted", sp.expand_log(power * sp.log(odds)), sp.log(first) - sp.log(second))
    )


@claim(
    "alpha_loss.small_alpha_peaks",
    source=cite("tailbound", "public summary of Sypherd et al. (2022)"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_LEAST,
    formula="a small α makes the tilted distribution more peaked: max P^(1/2) >= max P",
    cases=cases(masses=[(0.6, 0.4), (0.7, 0.2, 0.1)]),
    expected="fails",
    corrected_by="alpha_loss.tilting_sharpens",
    right={"alpha": 2.0},
    wrong={"α = 1/4": {"alpha": 0.25}},
)
def small_alpha_peaks(masses, alpha=0.5):
    """Small α sharpens, large α flattens. It is the other way round."""
    return float(tilted(masses, alpha).max()), float(max(masses))


@claim(
    "alpha_loss.tilting_sharpens",
    source=cite("tailbound", "tilting of Sypherd et al. (2022)"),
    kind=Kind.SYMBOLIC,
    formula="d/dα of the log of the largest share of P^(α) is the mean of log(max P / P) under it, > 0 unless all tie",
    wrong={"falls": {"sign": -1}},
    exhaustive=True,
    assumptions=("three classes, the largest P = 1 before normalising",),
)
def tilting_sharpens(sign=1):
    """The larger α, the more peaked the tilted distribution: α < 1 flattens, α > 1 sharpens."""
    falls = sp.symbols("r_1 r_2", positive=True)  # log(max P / P) of the others
    shares = [sp.Integer(1), *(sp.exp(-a * r) for r in falls)]
    mean: Any = sum(share * r for share, r in zip(shares[1:], falls, strict=True)) / sum(shares)
    at_one = {a: 1}  # every other α by tilting in two steps, (P^(α))^(β) = P^(αβ)
    return (
        Derivation()
        .equal(
            "derivative of the log of the largest share",
            sp.diff(-sp.log(sum(shares)), a).subs(at_one),
            mean.subs(at_one),
        )
        .positive("is > 0", sign * mean.subs(at_one))
    )


@claim(
    "alpha_loss.zero_one_at_infinity",
    source=cite("sypherd2022", "α = ∞ named the 0-1 loss, read as the indicator"),
    kind=Kind.NUMERIC,
    relation=Relation.EQUAL,
    atol=1e-12,
    formula="l^∞(z) = 1[z < 0]",
    cases=cases(score=[1.0, -2.0]),
    expected="fails",
    corrected_by="alpha_loss.soft_zero_one",
    right={"scale": 1e6},
    wrong={"log-loss": {"alpha": 1.0}},
)
def zero_one_at_infinity(score, alpha=float("inf"), scale=1.0):
    """At α = ∞ the loss is the error indicator. It is 1 - p; the indicator only for scores of unbounded size."""
    return float(MarginLoss(alpha).value(np.array(scale * score))), float(score < 0)


@claim(
    "alpha_loss.soft_zero_one",
    source=cite("sypherd2022", "α = ∞, the soft 0-1 loss"),
    kind=Kind.SYMBOLIC,
    formula="l^∞ = 1 - p: the error of the rule that draws the label from the prediction; 1[wrong] <= 2 l^∞",
    wrong={"the error of a rule that draws twice": {"draws": 2}, "1[wrong] <= l^∞": {"factor": 1}},
    exhaustive=True,
)
def soft_zero_one(draws=1, factor=2):
    """At α = ∞ the loss is how often a label drawn from the prediction is wrong; the error is at most twice it.

    The most probable label is wrong only where p <= 1/2. The converse fails: at p = 0.6 no error is made.
    """
    p, u = 1 / (1 + t), 1  # every p in (0, 1); u at α = ∞
    return (
        Derivation()
        .equal("loss", (1 - p**u) / u, 1 - p**draws)
        .nonnegative("an error, p = 1/(2 + t), costs at least 1/factor", factor * (1 - 1 / (2 + t)) - 1)
        .nonnegative("down to a tie, p = 1/2", sp.Rational(factor, 2) - 1)
        .positive("any other example costs more than 0", 1 - p)
    )


@claim(
    "alpha_loss.moves_the_prior",
    source=cite("tailbound", "α < 1 read as a correction of the priors"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    atol=1e-12,
    formula="at α < 1 the minimiser predicts the minority at posteriors below 1/2: f*(0.45) >= 0",
    cases=cases(alpha=[0.5, 0.8]),
    expected="fails",
    corrected_by="alpha_loss.optimal_logit",
    right={"posterior": 0.55},
    wrong={"a smaller posterior": {"posterior": 0.2}},
)
def moves_the_prior(alpha, posterior=0.45):
    """α < 1 favours the rare class as logit adjustment does. The decision is at η = 1/2 for every α."""
    return 0.0, float(optimal_logit(posterior, alpha))
