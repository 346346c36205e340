"""Deferred re-weighting: what the weights are, their limits, and the literature's class counts."""

import numpy as np
import sympy as sp

from ...core.claims import Kind, Relation, cases, claim
from ...core.class_counts import ClassCounts
from ...core.derivation import Derivation
from ...core.sources import cite
from ...ldam.weights import class_weights, deferred_weights, effective_number

CIFAR10_LT100 = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
CIFAR10_LT10 = (5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500)


@claim(
    "ldam.profile_counts",
    source=cite("cao2019", "released subsets"),
    kind=Kind.EXACT,
    formula="n_k = int(n_max ratio^(-k/(K-1))): CIFAR-10-LT has 12 406 images at ratio 100 and 20 431 at ratio 10",
    cases=({"ratio": 10, "stated": (*CIFAR10_LT10, 20431)}, {"ratio": 100, "stated": (*CIFAR10_LT100, 12406)}),
    wrong={"rounded to nearest": {"rounding": True}},
    exhaustive=True,
)
def profile_counts(ratio, stated, rounding=False):
    """The long-tailed profile with integer truncation has the literature's counts."""
    counts = ClassCounts.long_tailed(ratio, num_classes=10, largest=5000).counts
    if rounding:
        counts = tuple(round(5000 * ratio ** (-k / 9)) for k in range(10))
    return [*counts, sum(counts)], list(stated)


@claim(
    "ldam.effective_number_limits",
    source=cite("cui2019", "Sec. 3.2"),
    kind=Kind.SYMBOLIC,
    formula="E_n = (1 - β^n)/(1 - β): E_n → n as β → 1, E_n → 1 as β → 0, E_n → 1/(1 - β) as n → ∞",
    wrong={"limit n - 1": {"offset": -1}},
    exhaustive=True,
)
def effective_number_limits(offset=0):
    """Class-balanced weights run from no weighting (β = 0) to inverse frequency (β → 1)."""
    n, beta, x = sp.Symbol("n", positive=True), sp.Symbol("beta", positive=True), sp.Symbol("x", positive=True)
    number = (1 - beta**n) / (1 - beta)
    saturated = (1 - sp.exp(-n * x)) / (1 - beta)  # β = e^(-x)
    return (
        Derivation()
        .equal("β → 0: every class counts once", sp.limit(number, beta, 0, "+"), 1)
        .equal("n → ∞: the number saturates", sp.limit(saturated, n, sp.oo), 1 / (1 - beta))
        .equal("β → 1: the number of examples", sp.limit(number, beta, 1, "-"), n + offset)
    )


@claim(
    "ldam.effective_number_range",
    source=cite("cui2019", "Sec. 3.2"),
    kind=Kind.SYMBOLIC,
    formula="1 <= E_n <= min(n, 1/(1 - β)) for n >= 1, 0 < β < 1",
    wrong={"at most n - 1": {"offset": 1}},
    exhaustive=True,
)
def effective_number_range(offset=0):
    """The effective number lies between 1 and both the number of examples and 1/(1 - β) (induction over n)."""
    t, n = sp.symbols("t n", positive=True)
    slack = sp.Symbol("r", nonnegative=True)
    beta = t / (1 + t)  # every β in (0, 1)
    E = sp.Symbol("E", positive=True)
    limit = 1 / (1 - beta)
    number = (1 - beta**n) / (1 - beta)
    return (
        Derivation()
        .equal(
            "one example more: E_{n+1} = 1 + β E_n",
            sp.powsimp(sp.expand((1 - beta * beta**n) / (1 - beta))),
            1 + beta * number,
        )
        .equal("E_1 = 1, so the base case holds", number.subs(n, 1), 1)
        .equal("distance to 1/(1 - β) shrinks by β, so it keeps its sign", limit - (1 + beta * E), beta * (limit - E))
        .nonnegative("E_{n+1} >= 1", 1 + beta * E - 1)
        .nonnegative("E_n <= n (E = n - r, r >= 0) gives E_{n+1} <= n + 1", n + 1 - offset - (1 + beta * (n - slack)))
    )


@claim(
    "ldam.effective_number_sum",
    source=cite("cui2019", "Sec. 3.2"),
    kind=Kind.NUMERIC,
    formula="E_n = Σ_{i<n} β^i",
    relation=Relation.EQUAL,
    rtol=1e-11,
    cases=cases(beta=[0.0, 0.9, 0.9999, 0.999999], count=[1, 10, 5000, 500_000]),
    wrong={"one term too many": {"extra": 1}},
)
def effective_number_sum(beta, count, extra=0):
    """The library's formula, stable near β = 1, is the geometric sum."""
    return np.sum(float(beta) ** np.arange(count + extra)), effective_number(np.array([float(count)]), beta)[0]


@claim(
    "ldam.deferred_weight_values",
    source=cite("cao2019", "Algorithm 1 and released code"),
    kind=Kind.NUMERIC,
    formula="CIFAR-10-LT, first and last class: 1, 1 before epoch 160; then 0.0506, 3.9927 or inverse 0.0402, 4.0236",
    relation=Relation.EQUAL,
    atol=5e-5,
    cases=({"rule": "effective", "stated": (0.0506, 3.9927)}, {"rule": "inverse", "stated": (0.0402, 4.0236)}),
    wrong={
        "β = 0.999": {"beta": 0.999, "rule": "effective", "stated": (0.0506, 3.9927)},
        "rules exchanged": {"rule": "effective", "stated": (0.0402, 4.0236)},
    },
)
def deferred_weight_values(rule, stated, beta=0.9999):
    """The paper's 1/n and the code's effective numbers with β = 0.9999 differ by 25 % for the most frequent class."""
    counts = ClassCounts(CIFAR10_LT100)
    first = deferred_weights(counts, 159, epochs=200, rule=rule, beta=beta)
    second = deferred_weights(counts, 160, epochs=200, rule=rule, beta=beta)
    weights = class_weights(counts, rule=rule, beta=beta)
    return [w[[0, -1]] for w in (first, second, weights)], [[1.0, 1.0], list(stated), list(stated)]


@claim(
    "ldam.reweighted_risk",
    source=cite("cao2019", "Algorithm 1, stage 2"),
    kind=Kind.SYMBOLIC,
    formula="Σ_i l_i / n_{y_i} / Σ_i 1/n_{y_i} = (1/K) Σ_k (mean loss of class k)",
    wrong={"weights 1/√n": {"power": sp.Rational(1, 2)}, "unweighted": {"power": sp.Integer(0)}},
    exhaustive=True,
)
def reweighted_risk(power=1):
    """The second stage minimises the balanced training risk: each class enters by its mean (one class at a time)."""
    n, class_sum, N, W = sp.symbols("n L N W", positive=True)
    weight = n**-power
    return (
        Derivation()
        .equal("a class adds its mean loss to the numerator", N + weight * class_sum, N + class_sum / n)
        .equal("and 1 to the sum of weights", W + n * weight, W + 1)
    )
