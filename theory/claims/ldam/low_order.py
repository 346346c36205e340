"""The low-order term of Theorem 2: its domain, its constant, and what it does to the optimum."""

from fractions import Fraction

import numpy as np
import sympy as sp
from flint import arb

from ...core.certified import Enclosure, as_ball, minimum, root
from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.class_counts import ClassCounts
from ...core.derivation import Derivation
from ...core.sources import cite
from ...ldam.bounds import balanced_error_bound, largest_margin, optimal_margins_with_low_order
from ...ldam.margins import LDAM_EXPONENT, power_shares

B, y, d = sp.symbols("B y d", positive=True)
K = sp.Symbol("k", integer=True, positive=True) + 1  # every K >= 2
delta = 1 / (1 + d)  # every δ in (0, 1)


def _radicand(v):
    """log log2(2B/γ) + log(2K/δ) at γ = 2B 2^(-v), v > 0."""
    return sp.log(v) + sp.log(2 * K / delta)


@claim(
    "ldam.low_order_domain",
    source=cite("cao2019", "Theorem 2"),
    kind=Kind.SYMBOLIC,
    formula="log log2(2B/γ) + log(2K/δ) >= 0 for every 0 < γ < 2B",
    expected="fails",
    corrected_by="ldam.low_order_domain_corrected",
    right={"v": delta / (2 * K) * (1 + y)},
    wrong={"up to 2B 2^(-δ/4K)": {"v": delta / (4 * K) * (1 + y)}},
)
def low_order_domain(v=y):
    """The low-order term exists for every margin up to 2B, as the theorem's statement "for all γ > 0" presumes."""
    return Derivation().nonnegative(
        "the number under the root, at γ = 2B 2^(-v)", sp.logcombine(_radicand(v), force=True)
    )


@claim(
    "ldam.low_order_domain_corrected",
    source=cite("tailbound", "Cao et al., Theorem 2"),
    kind=Kind.SYMBOLIC,
    formula="the root exists iff γ <= 2B 2^(-δ/2K); log log2(2B/γ) < 0 iff γ > B",
    wrong={"without the 2": {"factor": 2}, "any γ below 2B": {"factor": sp.Rational(1, 100)}},
    exhaustive=True,
)
def low_order_domain_corrected(factor=1):
    """The low-order term exists exactly for margins up to 2B 2^(-δ/2K), a little below the largest possible 2B."""
    edge = factor * delta / (2 * K)
    top = largest_margin(K, max_score=B, failure_probability=delta)
    below = sp.Symbol("t", nonnegative=True)
    return (
        Derivation()
        .nonnegative("below the edge it is >= 0", sp.logcombine(_radicand(edge * (1 + below)), force=True))
        .positive("above the edge it is negative", -sp.logcombine(_radicand(edge / (1 + y)), force=True))
        .equal("the library's largest margin is 2B 2^(-edge)", sp.log(2 * B / top) / sp.log(2), edge)
        .positive("the log log alone is negative above B, where log2(2B/γ) < 1", -sp.log(1 / (1 + y)))
        .nonnegative("and not below B", sp.log(1 + below))
    )


@claim(
    "ldam.low_order_one_root",
    source=cite("cao2019", "Theorem 2 against Eq. 14 of its proof"),
    kind=Kind.SYMBOLIC,
    formula="√a + √b <= √(a + b) for a = log log2(2B/γ) > 0, b = log(2K/δ) > log 4",
    expected="fails",
    corrected_by="ldam.low_order_two_roots",
    right={"factor": 2},
    wrong={"factor 11/10": {"factor": sp.Rational(11, 10)}},
)
def low_order_one_root(factor=1):
    """The two separate roots of the proof's Eq. 14 are at most the single root that the theorem states."""
    u, w = sp.symbols("u w", positive=True)
    v = sp.sqrt(sp.log(4) + w)  # a = u², b = v²
    r = sp.Symbol("r", positive=True)
    squared = (factor * (u**2 + r**2) - (u + r) ** 2).factor()  # at r = √b
    return Derivation().nonnegative("squared: factor (a + b) - (√a + √b)²", squared.subs(r, v))


@claim(
    "ldam.low_order_two_roots",
    source=cite("tailbound", "Cao et al., Theorem 2"),
    kind=Kind.SYMBOLIC,
    formula="√a + √b <= √2 √(a + b), with equality at a = b",
    wrong={"constant 1": {"factor": 1}, "constant √(3/2)": {"factor": sp.Rational(3, 2)}},
    exhaustive=True,
)
def low_order_two_roots(factor=2):
    """What the proof gives is at most √2 times the stated low-order term, and √2 is sharp."""
    u, v = sp.symbols("u v", positive=True)
    return (
        Derivation()
        .equal("the difference of squares is a square", factor * (u**2 + v**2) - (u + v) ** 2, (u - v) ** 2)
        .nonnegative("hence the inequality", factor * (u**2 + v**2) - (u + v) ** 2)
        .equal("equality at a = b", factor * (2 * u**2), (2 * u) ** 2)
    )


@claim(
    "ldam.low_order_skews_optimum",
    source=cite("tailbound", "Cao et al., Theorem 2"),
    kind=Kind.SYMBOLIC,
    formula="at γ_k ∝ n_k^(-1/4), moving margin from the frequent to the rare class lowers the full bound of Theorem 2",
    wrong={"towards the frequent class": {"sign": -1}},
    exhaustive=True,
    assumptions=("two classes", "margins inside the term's domain"),
)
def low_order_skews_optimum(sign=1):
    """With the low-order term included, a step from the n^(-1/4) split towards the rare class lowers the bound."""
    x, s, a, n, r, more, c = sp.symbols("x s a n r Δr c", positive=True)
    S = sp.Function("S")(x)  # s² = log(x / ln 2) + log(2K/δ), so ds/dx = 1/(2 x s)
    relative = 2 * B * sp.exp(-x) / (8 * a * x * S)  # r(γ) = γ / (8 √C x s) at γ = 2B e^(-x), a = √C
    slope = sp.diff(relative, x).subs(sp.Derivative(S, x), 1 / (2 * x * S)).subs(S, s)
    at = relative.subs(S, s)
    g = sp.Symbol("gamma", positive=True)
    confidence = sp.Symbol("L", positive=True)  # log(2K/δ)
    inside = sp.log(sp.log(2 * B / g) / sp.log(2)) + confidence
    low_exact = sp.diff(sp.sqrt(inside), g)
    main, low = sp.diff(4 * a / g, g), -1 / (2 * g * x * s)  # both times n^(-1/2)
    share = n ** sp.Rational(-1, 2) * 4 * a / (c * n ** sp.Rational(-1, 4)) ** 2
    return (
        Derivation()
        .equal("derivative of √(log log2(2B/γ) + L)", low_exact, low.subs({x: sp.log(2 * B / g), s: sp.sqrt(inside)}))
        .equal("the full derivative is the main one times 1 + r", main + low, main * (1 + g / (8 * a * x * s)))
        .equal("r falls with x = ln(2B/γ)", slope, -at * (1 + 1 / x + 1 / (2 * x * s**2)))
        .positive("so r rises with the margin", at * (1 + 1 / x + 1 / (2 * x * s**2)))
        .equal("at γ = c n^(-1/4) the main derivatives of all classes are equal", share, 4 * a / c**2)
        .positive("gain of the rare class minus loss of the frequent", sign * 4 * a / c**2 * ((1 + r + more) - (1 + r)))
    )  # fmt: skip


def _marginal(margin, count, root_complexity):
    """-d/dγ of 4 √C / (γ √n) + ε(γ), as a ball, for two classes, B = 1 and δ = 1/20."""
    x = (2 / margin).log()
    s = ((x / arb(2).log()).log() + arb(80).log()).sqrt()
    return (4 * root_complexity / margin**2 + 1 / (2 * margin * x * s)) / arb(count).sqrt()


@claim(
    "ldam.low_order_optimum",
    source=cite("tailbound", "Cao et al., Theorem 2"),
    kind=Kind.CERTIFIED,
    formula="the split at which the full bound of Theorem 2 is stationary: equal derivatives of both classes",
    relation=Relation.EQUAL,
    rtol=1e-10,
    cases=cases(counts=[(500, 50), (5000, 50)], root_complexity=[0.02, 0.5, 2.0]),
    wrong={"without the low-order term": {"low_order": False}},
    assumptions=("two classes, Σ γ = 1, B = 1, δ = 1/20",),
)
def low_order_optimum(counts, root_complexity, low_order=True):
    """The library's fixed point for the split with the low-order term is a certified stationary point."""
    frequent, rare = counts
    C = as_ball(root_complexity)
    computed = root(lambda g: _marginal(g, frequent, C) - _marginal(1 - g, rare, C), 0.05, 0.5)
    class_counts = ClassCounts(counts)
    if low_order:
        margins = optimal_margins_with_low_order(
            class_counts, total=1.0, complexity=root_complexity**2, max_score=1.0, failure_probability=0.05
        )
    else:
        margins = power_shares(class_counts.array, LDAM_EXPONENT)
    return computed, margins[0]


@claim(
    "ldam.low_order_effect",
    source=cite("tailbound", "Cao et al., Theorem 2"),
    kind=Kind.CERTIFIED,
    relation=Relation.AT_LEAST,
    formula="n = (5000, 50), √C = 2B, every 0.01 B <= β <= B: γ_rare / γ_frequent <= 1.02 · 100^(1/4) at the optimum",
    wrong={"below 0.1 %": {"percent": Fraction(1, 10)}},
    exhaustive=True,
    assumptions=(
        "a linear class of norm Λ on inputs of norm r: B = Λ r, C(F) = (2 Λ r)²",
        "B = 1, δ = 1/20, γ_frequent >= β / 10⁶",
    ),
)
def low_order_effect(percent=Fraction(2)):
    """On CIFAR-10-LT's extreme classes the low-order term raises the optimal margin ratio by less than 2 %.

    At every ratio above 1.02 · 100^(1/4) the frequent class gains more from a little margin than the rare one loses,
    for every total in the box, so no minimiser lies there.
    """
    ratio = arb(100).root(4) * (1 + as_ball(percent) / 100)
    largest_share = Enclosure.of((1 / (1 + ratio)).log()).upper

    def excess(box):  # log β and the log of the frequent class's share: exponentials keep balls positive
        frequent, rare = (box[0] + box[1]).exp(), box[0].exp() * (1 - box[1].exp())
        return 1 - _marginal(rare, 50, arb(2)) / _marginal(frequent, 5000, arb(2))

    box = [(Enclosure.of(as_ball("0.01").log()).lower, 0), (Enclosure.of(as_ball("1e-6").log()).lower, largest_share)]
    smallest = minimum(excess, box, width=1e-3)
    return Sides(smallest.value, 0, note="smallest part of the frequent class's marginal gain that the rare one leaves")


@claim(
    "ldam.split_near_optimal",
    source=cite("tailbound", "Cao et al., Theorem 2"),
    kind=Kind.CERTIFIED,
    relation=Relation.AT_MOST,
    formula="full bound at the n^(-1/4) split <= 1.0001 · min over splits, n = (5000, 50), √C = 2B, Σ γ = B",
    wrong={"equal split": {"exponent": 0}, "n^(-1/2)": {"exponent": Fraction(-1, 2)}},
    exhaustive=True,
    assumptions=("two classes, B = 1, δ = 1/20, each with at least a thousandth of the margin",),
)
def split_near_optimal(exponent=LDAM_EXPONENT):
    """Ignoring the low-order term, as LDAM does, costs less than 0.01 % of the full bound on CIFAR-10-LT's extremes."""

    def bound(box):
        (share,) = box
        terms = []
        for margin, count in ((share, 5000), (1 - share, 50)):
            low_order = (((2 / margin).log() / arb(2).log()).log() + arb(80).log()).sqrt()
            terms.append((8 / margin + low_order) / arb(count).sqrt())
        return (terms[0] + terms[1]) / 2

    def slope(box):
        (share,) = box
        return [(_marginal(1 - share, 50, arb(2)) - _marginal(share, 5000, arb(2))) / 2]

    ratio = arb(100) ** as_ball(Fraction(exponent))
    best = minimum(bound, [(Fraction(1, 1000), Fraction(999, 1000))], gradient=slope, width=1e-6)
    stated = Enclosure.of(as_ball(best.value) * as_ball(Fraction(10001, 10000)))
    return Enclosure.of(bound([ratio / (1 + ratio)])), stated


@claim(
    "ldam.bound_value",
    source=cite("cao2019", "Theorem 2"),
    kind=Kind.CERTIFIED,
    relation=Relation.EQUAL,
    rtol=1e-12,
    formula="(1/K) Σ_k [ L_k + 4 √(C/n_k) / γ_k + √((log log2(2B/γ_k) + log(2K/δ)) / n_k) ], and its joint form",
    cases=cases(counts=[(5000, 50), (900, 90, 9)], losses=[0.0, 0.25]),
    wrong={"constant 2": {"constant": 2}, "one root over K": {"classes": 1}},
)
def bound_value(counts, losses, constant=4, classes=None):
    """The library's bounds, per class and joint, have the value of the printed formula, in ball arithmetic."""
    K, delta, B, C = len(counts), Fraction(1, 20), Fraction(2), Fraction(1, 10)
    margins = [Fraction(1, 2) + Fraction(k, 3) for k in range(K)]
    main, low, squares, spread = arb(0), arb(0), arb(0), arb(0)
    for n, margin in zip(counts, margins, strict=True):
        main += constant * as_ball(C / n).sqrt() / as_ball(margin)
        loglog = (as_ball(2 * B / margin).log() / arb(2).log()).log()
        low += ((loglog + as_ball(2 * (classes or K) / delta).log()) / n).sqrt()
        squares += 1 / (n * as_ball(margin) ** 2)
        spread += 1 / arb(n)
    joint = constant * (as_ball(C) * squares).sqrt() + (arb(20).log() / 2 * spread).sqrt()
    computed = [Enclosure.of((main + low) / K + as_ball(losses)), Enclosure.of(joint / K + as_ball(losses))]
    stated = [
        balanced_error_bound(
            np.array([float(m) for m in margins]),
            ClassCounts(counts),
            complexity=float(C),
            max_score=float(B),
            failure_probability=float(delta),
            margin_losses=losses,
            bound=bound,
        )
        for bound in ("per_class", "joint")
    ]
    return computed, stated
