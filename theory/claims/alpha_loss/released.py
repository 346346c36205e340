"""What the released code and its protocol compute, where that differs from what they stand for."""

import numpy as np
import sympy as sp
from scipy.integrate import quad
from scipy.special import ndtr

from ...alpha_loss.losses import alpha_of_log, exponent
from ...core.claims import Kind, Relation, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite

FLOOR = sp.Rational(1, 10**8)
p = sp.Symbol("p", positive=True)
VARIANTS = (0.8, 0.85, 0.9, 0.95, 0.99, 1.0, 1.1, 1.2, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)  # the grid of the imbalance runs


@claim(
    "alpha_loss.released_log_loss",
    source=cite("sypherd2022", "released code at alpha = 1: -log(p + 1e-8)"),
    kind=Kind.SYMBOLIC,
    formula="-log(p + 1e-8) = -log p, the limit α -> 1 of the other branch",
    expected="fails",
    corrected_by="alpha_loss.released_log_loss_gap",
    right={"floor": 0},
    wrong={"a larger floor": {"floor": 10 * FLOOR}},
)
def released_log_loss(floor=FLOOR):
    """The released code's log-loss is the α-loss at α = 1. Its floor, which no other α has, makes it a bounded loss."""
    return Derivation().equal("the loss", sp.exp(-sp.log(p + floor)), sp.exp(-sp.log(p)))


@claim(
    "alpha_loss.released_log_loss_gap",
    source=cite("tailbound", "released code of Sypherd et al. (2022)"),
    kind=Kind.SYMBOLIC,
    formula="-log p - (-log(p + ε)) = log(1 + ε/p) > 0; the loss is capped at -log ε = 18.42, its weight is p/(p + ε)",
    wrong={"cap at -log(ε)/2": {"share": sp.Rational(1, 2)}, "weight 1": {"weight": sp.Integer(1)}},
    exhaustive=True,
)
def released_log_loss_gap(share=1, weight=None):
    """At α = 1 the released code trains a loss that is bounded by 18.42 and forgets examples with p below 1e-8."""
    loss, weight = -sp.log(p + FLOOR), weight or p / (p + FLOOR)
    return (
        Derivation()
        .equal("gap", sp.expand_log(-sp.log(p) - loss, force=True), sp.expand_log(sp.log((p + FLOOR) / p), force=True))
        .positive("is > 0", FLOOR / p)
        .equal("weight beside the log-loss", sp.diff(loss, p) / sp.diff(-sp.log(p), p), weight)
        .equal("cap", sp.limit(loss, p, 0), -share * sp.log(FLOOR))
        .positive("which is below 18.43", sp.Rational(1843, 100), -sp.log(FLOOR))
        .positive("and above 18.42", -sp.log(FLOOR), sp.Rational(1842, 100))
    )


def _textbook(alpha: float, probability: float = 0.9) -> np.float32:
    """The released code's form in float32."""
    one, order = np.float32(1), np.float32(alpha)
    return order / (order - one) * (one - np.float32(probability) ** (one - one / order))


def _stable(alpha: float, probability: float = 0.9) -> np.float32:
    """The same with expm1 of the log in float32."""
    u = np.float32(exponent(float(np.float32(alpha))))
    log_p = np.log(np.float32(probability))
    return -log_p if u == 0 else -np.expm1(u * log_p) / u


@claim(
    "alpha_loss.textbook_in_float32",
    source=cite("sypherd2022", "released code: α/(α-1) (1 - p^(1-1/α)) in float32"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    formula="relative error at p = 0.9 below 1e-5 for α = 1.01, 1 + 1e-4, 1 + 1e-5, 1 + 1e-6, 1 + 1e-7",
    cases=cases(alpha=[1.01, 1.0001, 1.00001, 1.000001, 1.0000001]),
    expected="fails",
    corrected_by="alpha_loss.stable_in_float32",
    right={"stable": True},
    wrong={"at α = 1 + 1e-6 alone": {"alpha": 1.000001}},
)
def textbook_in_float32(alpha, stable=False):
    """The formula as written can be computed near α = 1. It cancels: 2e-5, 1e-3, 2e-2, 0.2 and then 0."""
    computed = _stable(alpha) if stable else _textbook(alpha)
    exact = alpha_of_log(np.log(float(np.float32(0.9))), float(np.float32(alpha)))
    return float(abs(computed - exact) / exact), 1e-5


@claim(
    "alpha_loss.stable_in_float32",
    source=cite("tailbound", "released code of Sypherd et al. (2022)"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    formula="-expm1(u log p)/u, or -log p at u = 0, errs by 1.5e-7 (1 + |u log p|) of its value at most in float32, "
    "p = 0.9, 0.01, 1e-8, 1e-20",
    cases=cases(alpha=[0.5, 0.99, 1.000001, 1.0000001, 1.0, 2.0, 10.0], probability=[0.9, 0.01, 1e-8, 1e-20]),
    wrong={"textbook form": {"textbook": True}, "-log p for |u| < 1e-6 already": {"switch": 1e-6}},
)
def stable_in_float32(alpha, probability, textbook=False, switch=0.0):
    """With expm1 of the log-probability float32 is accurate at every α; only α = 1 needs a form of its own."""
    u = exponent(float(np.float32(alpha)))
    log_p = np.log(float(np.float32(probability)))
    if textbook and alpha != 1:
        computed = _textbook(alpha, probability)
    else:
        computed = np.float32(-log_p) if abs(u) < switch else _stable(alpha, probability)
    exact = alpha_of_log(log_p, float(np.float32(alpha)))
    return float(abs(computed - exact) / exact), 1.5e-7 * (1 + abs(u * log_p))


@claim(
    "alpha_loss.selection_on_test",
    source=cite("sypherd2022", "released scripts: best α by mean test accuracy over the grid, read as unbiased"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    formula="14 equally good α: the best mean test accuracy exceeds the true one by at most 0.1 standard errors",
    cases=({"variants": len(VARIANTS)},),
    expected="fails",
    corrected_by="alpha_loss.selection_optimism",
    right={"variants": 1},
    wrong={"two α": {"variants": 2}},
)
def selection_on_test(variants):
    """Reporting the α with the best test accuracy is fair to α = 1. It favours the grid, by 1.7 standard errors."""
    return _expected_maximum(variants), 0.1


@claim(
    "alpha_loss.selection_optimism",
    source=cite("tailbound", "released scripts of Sypherd et al. (2022)"),
    kind=Kind.NUMERIC,
    relation=Relation.EQUAL,
    atol=5e-4,
    formula="E max of m independent N(0, 1): 0, 1/√π, 1.7034 at m = 1, 2, 14, in standard errors of a mean accuracy",
    cases=({"variants": 1, "stated": 0.0}, {"variants": 2, "stated": np.pi**-0.5}, {"variants": 14, "stated": 1.7034}),
    wrong={"of one more": {"more": 1}},
    assumptions=("independent runs; with common data it is less",),
)
def selection_optimism(variants, stated, more=0):
    """The optimism of choosing among m equally good α on the test set."""
    return _expected_maximum(variants + more), stated


def _expected_maximum(variants: int) -> float:
    """∫_0^∞ P(max > t) - P(max < -t) dt."""
    return quad(lambda t: (1 - ndtr(t) ** variants) - ndtr(-t) ** variants, 0, 10)[0]
