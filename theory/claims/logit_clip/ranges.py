"""Ranges of the clipped loss: the stated one, the exact one for every norm; of other losses; of the sum over labels."""

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from scipy.special import log_softmax, logsumexp, softmax

from ...core.certified import Enclosure, as_ball, minimum
from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from ...logit_clip.ranges import contrast, label_sum_range, loss_range, probability_range, two_level_logits

INF = float("inf")
NORMS = (1.0, 1.5, 2.0, 4.0, INF)
tau, r, s = sp.symbols("tau r s", positive=True)  # r = K - 1 rivals; 1 + s for a number above 1


@claim(
    "logit_clip.stated_range",
    source=cite("wei2023", "bounds of the clipped cross-entropy, p-independent form"),
    kind=Kind.SYMBOLIC,
    formula="log(1 + (K-1) e^(-2τ)) <= L <= log(1 + (K-1) e^(2τ)) for every p >= 1",
    wrong={"log(1 + (K-1) e^τ)": {"factor": 1}},
    exhaustive=True,
    assumptions=("|z_i| <= ||z||_p <= τ",),
)
def stated_range(factor=2):
    """Clipped cross-entropy is bounded above and below, whatever the norm."""
    below, above = sp.symbols("d_y d_j", nonnegative=True)  # z_y = -τ + d_y, z_j = τ - d_j; for the lower end negated
    gap = (tau - above) - (-tau + below)
    return (
        Derivation()
        .equal("log of a rival's term of e^L - 1, upper end", sp.log(sp.exp(gap)), 2 * tau - above - below)
        .nonnegative("it is at most the stated one", factor * tau - gap)
        .nonnegative("lower end, the same with both signs turned", -gap + factor * tau)
    )


@claim(
    "logit_clip.least_loss",
    source=cite("tailbound", "sharp form of the lower bound of Wei et al. (2023)"),
    kind=Kind.SYMBOLIC,
    formula="min L = log(1 + (K-1) e^(-τ c_p)), c_p = (1 + (K-1)^(1-q))^(1/q), 1/p + 1/q = 1",
    wrong={"c_p with (K-1)^(-q)": {"power": 0}, "c = 2 for every p": {"stated": 2}},
    exhaustive=True,
    assumptions=("1 < p < ∞; p = 1 and ∞ are the limits q → ∞ and q → 1",),
)
def least_loss(power=1, stated=None):
    """The exact least clipped loss: L is convex, its gradient at z* is a multiple of a vector that z* supports.

    L(z) >= L(z*) + <∇L(z*), z - z*> with ∇L(z*) = -(1 - p*) w and w = (1, -1/(K-1), ...); over the ball <w, z> is at
    most τ times the dual norm of w, which is c_p, and z* reaches it.
    """
    q, p = 1 + s, (1 + s) / s
    D = sp.Symbol("D", positive=True)  # D^q = 1 + x, x = (K-1)^(1-q)
    x = D**q - 1
    top, rival = sp.symbols("e_y e_j", positive=True)  # e^z* of the label and of each rival
    up, down = tau * D ** (1 - q), tau * x * D ** (1 - q)  # z* = (up, -down, ..., -down)
    power_of_c = stated**q if stated is not None else 1 + r ** (power - q)
    total = top + r * rival
    return (
        Derivation()
        .equal("softmax(z*) at a rival, 1/(K-1) of what the label lacks", rival / total, (1 - top / total) / r)
        .equal("the rivals' share of ||z*||_p^p over the label's", r * (r ** (1 - q)) ** p, r ** (1 - q))
        .equal("so ||z*||_p^p = τ^p (1 + x) / D^q", sp.powsimp((1 + x) * D ** ((1 - q) * p)), 1)
        .equal("<w, z*> = τ D", sp.powsimp(sp.expand(up + down)), tau * D)
        .equal("c_p^q is that of the dual norm of w", power_of_c, 1 + r * (1 / r) ** q)
    )


@claim(
    "logit_clip.least_loss_convex",
    source=cite("tailbound", "sharp form of the lower bound of Wei et al. (2023)"),
    kind=Kind.CONVEX,
    formula="min over ||z||_p <= τ of logsumexp(z) - z_y = log(1 + (K-1) e^(-τ c_p))",
    relation=Relation.EQUAL,
    atol=1e-7,
    cases=cases(num_classes=[2, 10], max_norm=[0.1, 3.0], norm=NORMS),
    full_cases=cases(num_classes=[3, 100], max_norm=[0.01, 1.0, 5.0], norm=NORMS),
    wrong={"the stated range (p = ∞)": {"stated_norm": INF}, "K for K - 1": {"more": 1}},
)
def least_loss_convex(num_classes, max_norm, norm, stated_norm=None, more=0):
    """A convex program finds the stated least loss, two classes included."""
    from ...logit_clip.programs import clipped_program

    _, proof = clipped_program(np.eye(num_classes)[0], max_norm, norm=norm)
    stated = loss_range(max_norm, num_classes + more, norm=norm if stated_norm is None else stated_norm).low
    return Sides(proof.value, stated, uncertainty=proof.gap)


@claim(
    "logit_clip.largest_loss_ends",
    source=cite("tailbound", "sharp form of the upper bound of Wei et al. (2023)"),
    kind=Kind.SYMBOLIC,
    formula="max L = log(1 + (K-1) e^τ) for p = 1 and log(1 + (K-1) e^(2τ)) for p = ∞",
    wrong={"the wrong class alone, p = 1": {"label": False}},
    exhaustive=True,
    assumptions=("L is convex: its largest value lies at a vertex of the ball",),
)
def largest_loss_ends(label=True):
    """Over the vertices of the two polytopes the loss is largest where the label's logit is as low as it can be."""
    E, more = 1 + s, sp.Symbol("k", nonnegative=True)  # e^τ; r = 1 + k rivals
    vertices = {"+τ e_y": (1 + more) / E, "+τ e_j": more + E, "-τ e_j": more + 1 / E, "-τ e_y": (1 + more) * E}
    largest = vertices["-τ e_y" if label else "+τ e_j"]
    steps = Derivation()
    for name, value in vertices.items():
        steps.nonnegative(f"p = 1: e^L - 1 at {name} is no larger", sp.expand((largest - value) * E))
    up = sp.Symbol("m", nonnegative=True)  # p = ∞: rivals at +τ, the others at -τ, the label at -τ or at +τ
    steps.nonnegative("p = ∞: every rival up beats m of them", (up + more) * E**2 - (up * E**2 + more))
    return steps.nonnegative("and the label down beats the label up", sp.expand(E**2 * (up + more) - (up + more)))


@claim(
    "logit_clip.largest_loss_shape",
    source=cite("tailbound", "sharp form of the upper bound of Wei et al. (2023)"),
    kind=Kind.SYMBOLIC,
    formula="1 < p < ∞: at most one wrong logit of the largest loss exceeds p - 1, the others are equal",
    wrong={"at most one is below": {"sign": -1}},
    exhaustive=True,
    assumptions=("the loss is convex, so its largest value has ||z||_p = τ and ∇L = λ ∇||z||_p with λ > 0",),
)
def largest_loss_shape(sign=1):
    """The best wrong logits take two values: e^b / b^(p-1) is the same for all of them, and falls, then rises.

    Two wrong logits with the same value b > p - 1 could be moved apart on the sphere with a gain of second order, so
    there is at most one above p - 1.
    """
    b, p = sp.Symbol("b", positive=True), 1 + r
    above = p - 1 + s
    slope: Any = sp.diff(sp.log(sp.exp(b) / b ** (p - 1)), b)
    level = sp.exp(b) / b ** (p - 1)  # λ
    second = sp.exp(b) - level * (p - 1) * b ** (p - 2)
    return (
        Derivation()
        .equal("slope of log(e^b / b^(p-1))", slope, 1 - (p - 1) / b)
        .positive("it rises above b = p - 1", sp.simplify(sign * slope.subs(b, above)))
        .positive("it falls below", sp.simplify(-sign * (1 - (p - 1) / b).subs(b, (p - 1) / (1 + s))))
        .equal("curvature of moving two equal ones apart", second, sp.exp(b) * (1 - (p - 1) / b))
        .positive("a gain above b = p - 1", sp.simplify(sign * (1 - (p - 1) / b).subs(b, above)))
    )


@claim(
    "logit_clip.largest_loss",
    source=cite("tailbound", "sharp form of the upper bound of Wei et al. (2023)"),
    kind=Kind.NUMERIC,
    formula="max L over ||z||_p <= τ is that of two-level wrong logits, for every p",
    relation=Relation.EQUAL,
    rtol=1e-9,
    cases=(
        *cases(num_classes=[2, 3, 10], max_norm=[0.01, 1.0, 6.0], norm=NORMS),
        {"num_classes": 3, "max_norm": 8.0, "norm": 1.15},  # the others are e^-46 of the largest
        {"num_classes": 4, "max_norm": 9.0, "norm": 1.2},
    ),
    full_cases=cases(num_classes=[100], max_norm=[0.3, 3.0, 12.0], norm=NORMS),
    wrong={"the stated range (p = ∞)": {"stated_norm": INF}, "the range of p = 1": {"stated_norm": 1.0}},
)
def largest_loss(num_classes, max_norm, norm, stated_norm=None):
    """Ascent from every vertex pattern, z <- the point of the ball that the gradient supports, finds no larger loss."""
    label = np.eye(num_classes)[0]
    found = _ascend(lambda z: softmax(z, axis=1) - label, num_classes, max_norm, norm)
    largest = (logsumexp(found, axis=1) - found[:, 0]).max()
    return largest, loss_range(max_norm, num_classes, norm=norm if stated_norm is None else stated_norm).high


@claim(
    "logit_clip.largest_loss_certified",
    source=cite("tailbound", "sharp form of the upper bound of Wei et al. (2023)"),
    kind=Kind.CERTIFIED,
    formula="p = 2: max over u/v in [0, 1] of the loss of two-level logits, enclosed, is the library's number",
    relation=Relation.EQUAL,
    atol=3e-8,
    cases=(*cases(num_classes=[3, 10], max_norm=[1, 3, 8]), {"num_classes": 1000, "max_norm": 17}),
    wrong={"equal wrong logits only": {"equal": True, "max_norm": 8}, "τ a thousandth larger": {"stretch": 1.001}},
)
def largest_loss_certified(num_classes, max_norm, equal=False, stretch=1.0):
    """The one-dimensional search of the library misses no larger loss: branch and bound in interval arithmetic."""
    found = minimum(
        lambda x: -_two_level_loss(x[0], num_classes, max_norm),
        [(0, 1)],
        gradient=lambda x: [-_two_level_loss(x[0], num_classes, max_norm, slope=True)],
        width=1e-8,
    )
    stated = _equal_loss(max_norm, num_classes) if equal else loss_range(stretch * max_norm, num_classes).high
    return Sides(-float(found.value.ball.mid()), stated, uncertainty=found.value.width)


@claim(
    "logit_clip.largest_loss_equal",
    source=cite("tailbound", "a common form of the bound for p = 2"),
    kind=Kind.CERTIFIED,
    formula="p = 2: max L = log(1 + (K-1) e^(τ √(K/(K-1)))): other two-level logits minus equal ones",
    relation=Relation.AT_MOST,
    cases=({"num_classes": 3, "max_norm": 3}, {"num_classes": 10, "max_norm": 8}),
    expected="fails",
    corrected_by="logit_clip.largest_loss",
    right={"max_norm": 2},
    wrong={"τ = 6": {"max_norm": 6}},
)
def largest_loss_equal(num_classes, max_norm):
    """The largest loss has equal wrong logits. True for small τ only: up to √6 for K = 3, to about 5.6 for K = 10."""
    equal = _two_level_loss(as_ball(1), num_classes, max_norm)
    unequal = [_two_level_loss(as_ball(Fraction(k, 50)), num_classes, max_norm) - equal for k in range(50)]
    return Enclosure(max(unequal, key=float)), 0


@claim(
    "logit_clip.pair_bound",
    source=cite("tailbound", "from Wei et al. (2023)"),
    kind=Kind.NUMERIC,
    formula="L <= log(1 + (K-1) e^(τ 2^(1-1/p))), with equality for p = 1, p = ∞ and for K = 2",
    relation=Relation.AT_MOST,
    rtol=1e-12,
    cases=cases(num_classes=[2, 3, 10, 100], max_norm=[0.1, 3.0, 30.0], norm=NORMS),
    wrong={"c_p for 2^(1-1/p)": {"pair": False}, "2^(1/2) for every p": {"stated_norm": 2.0}},
)
def pair_bound(num_classes, max_norm, norm, pair=True, stated_norm=None):
    """A bound for every norm in closed form: no two logits in the ball differ by more than τ 2^(1-1/p)."""
    factor = contrast(2 if pair else num_classes, norm if stated_norm is None else stated_norm)
    largest = loss_range(max_norm, num_classes, norm=norm).high
    bound = np.logaddexp(0, np.log(num_classes - 1) + max_norm * factor)
    sharp = num_classes == 2 or norm in (1.0, INF)
    return ([largest, bound], [bound, largest]) if sharp else (largest, bound)


@claim(
    "logit_clip.range_values",
    source=cite("tailbound", "ten classes, τ = 1"),
    kind=Kind.NUMERIC,
    formula="K = 10, τ = 1: [1.461, 3.237] for p = 1, [1.420, 3.289] for p = 2, [0.797, 4.212] for p = ∞; "
    "p_max at τ = 2, 1, 2/3, 1/2, 1/5: 0.478, 0.242, 0.183, 0.158, 0.121, and 0.027 for K = 100, τ = 1",
    relation=Relation.EQUAL,
    atol=6e-4,
    wrong={"K = 9": {"num_classes": 9}, "τ = 1.01": {"scale": 1.01}},
)
def range_values(num_classes=10, scale=1.0):
    """Numbers of the exact range and of the largest probability that clipping leaves in reach."""
    ranges = [loss_range(scale, num_classes, norm=p) for p in (1.0, 2.0, INF)]
    reach = [probability_range(scale * t, num_classes).high for t in (2, 1, 2 / 3, 1 / 2, 1 / 5)]
    reach.append(probability_range(scale, 10 * num_classes).high)
    stated = [1.461, 3.237, 1.420, 3.289, 0.797, 4.212, 0.478, 0.242, 0.183, 0.158, 0.121, 0.027]
    return [end for each in ranges for end in each] + reach, stated


@claim(
    "logit_clip.other_losses",
    source=cite("wei2023", "LogitClip on other losses"),
    kind=Kind.SYMBOLIC,
    formula="absolute, GCE, focal, symmetric CE, alpha-loss and Taylor-CE fall in p_y: range [φ(p_max), φ(p_min)]",
    wrong={"focal with log p": {"sign": -1}},
    exhaustive=True,
    assumptions=("the loss is a function of p_y alone, p_y in [p_min, p_max] after clipping",),
)
def other_losses(sign=1):
    """Each loss falls in the label's probability, so clipping bounds it by its values at p_max and p_min."""
    p, m, ell, q, g, a, b = sp.symbols("p m l q gamma a b", positive=True)  # m = 1 - p, l = -log p
    losses = {
        "absolute 2 (1 - p)": 2 * m,
        "generalised, alpha-loss with α > 1: (1 - p^q)/q": (1 - p**q) / q,
        "alpha-loss with α < 1: (p^(-q) - 1)/q": (p ** (-q) - 1) / q,
        "focal (1 - p)^γ (-log p)": sign * m**g * ell,
        "symmetric a CE + 4 b (1 - p)": a * ell + 4 * b * m,
        "Taylor, term k of any number": m**g / g,
    }
    steps = Derivation()
    for name, loss in losses.items():
        steps.positive(f"minus the slope of {name}", sp.diff(loss, m) + sp.diff(loss, ell) / p - sp.diff(loss, p))
    return steps


@claim(
    "logit_clip.label_sum",
    source=cite("tailbound", "sum over labels behind the noise bounds of Wei et al. (2023)"),
    kind=Kind.NUMERIC,
    formula="K log K <= Σ_k L(z, k) <= S_max: p = 1, 2 one class up; p = ∞ the best number of classes up",
    relation=Relation.EQUAL,
    rtol=1e-9,
    cases=cases(num_classes=[2, 3, 7], max_norm=[0.1, 1.0, 5.0], norm=[1.0, 2.0, INF]),
    full_cases=cases(num_classes=[10], max_norm=[0.5, 1.0, 3.0], norm=[1.0, 2.0, INF]),
    wrong={
        "one class up for p = ∞ too": {"up": 1, "norm": INF},
        "four of seven up": {"up": 4, "norm": INF, "num_classes": 7, "max_norm": 1.0},
    },
)
def label_sum(num_classes, max_norm, norm, up=None):
    """The sum over labels is convex in z: ascent from all vertices of the cube finds the stated extremes."""
    found = _ascend(lambda z: num_classes * softmax(z, axis=1) - 1, num_classes, max_norm, norm)
    sums = -log_softmax(found, axis=1).sum(axis=1)
    low, high = label_sum_range(max_norm, num_classes, norm=norm)
    if up is not None:
        z = np.where(np.arange(num_classes) < up, max_norm, -max_norm)
        high = -log_softmax(z).sum()
    return [-log_softmax(np.zeros(num_classes)).sum(), sums.max()], [low, high]


@claim(
    "logit_clip.label_sum_shape",
    source=cite("tailbound", "sum over labels behind the noise bounds of Wei et al. (2023)"),
    kind=Kind.SYMBOLIC,
    formula="S_max = K log(e^(τ √((K-1)/K)) + (K-1) e^(-τ/√(K(K-1)))) for p = 2, K log(e^τ + K-1) - τ for p = 1",
    wrong={"-τ e_i for p = 1": {"sign": -1}},
    exhaustive=True,
    assumptions=("S is convex, so its largest value lies on the sphere (p = 2) or at a vertex (p = 1)",),
)
def label_sum_shape(sign=1):
    """For p = 2 the extreme has one class up, whatever τ; for p = 1 the vertex +τ e_i beats -τ e_i.

    p = 2: K softmax(z)_i - 1 = 2 μ z_i makes e^z affine in z, so z takes two values, and at the upper one
    K softmax(z)_i > 2 μ: two equal ones there could be moved apart with a gain. So one class is up.
    """
    t, h = sp.symbols("t h", positive=True)
    K = 2 + sp.Symbol("k", nonnegative=True)
    up, down = tau * sp.sqrt((K - 1) / K), -tau / sp.sqrt(K * (K - 1))
    excess = (
        h - 1 + sp.exp(-h)
    )  # h = distance of the two values; slope of e^z at the upper minus the chord's, h e^(-up)
    E = 1 + t  # e^τ; P(τ) = E/(E + K - 1) is the probability of the class that is up by τ
    rise: Any = sp.factor(K * (E / (E + K - 1) + 1 / (1 + E * (K - 1))) - 2)
    return (
        Derivation()
        .equal("p = 2: the two values sum to zero over the classes", up + (K - 1) * down, 0)
        .equal("and have norm τ", sp.expand(up**2 + (K - 1) * down**2), tau**2)
        .equal("at distance 0 the slope of e^z is the chord's", excess.subs(h, 0), 0)
        .positive("farther apart it is the steeper, at h = log(1 + s)", sp.diff(excess, h).subs(h, sp.log(1 + s)))
        .nonnegative("p = 1: K (P(τ) + P(-τ)) - 2, the rise of S(+τ e_i) - S(-τ e_i) in τ", sign * rise)
    )


@claim(
    "logit_clip.label_sum_values",
    source=cite("tailbound", "ten classes"),
    kind=Kind.NUMERIC,
    formula="K = 10, τ = 0.5, 1, 3: ΔS 1.23, 4.70, 32.0 (p = ∞) and 0.144, 0.660, 8.66 (p = 2); K A 17.8, 34.2, 81.8",
    relation=Relation.EQUAL,
    rtol=3e-3,
    wrong={"K = 9": {"num_classes": 9}},
)
def label_sum_values(num_classes=10):
    """The spread of the sum over labels is 2.5 to 14 times smaller than K times the width of the loss."""
    thresholds = (0.5, 1.0, 3.0)
    computed = [label_sum_range(t, num_classes, norm=p).width for p in (INF, 2.0) for t in thresholds]
    computed += [num_classes * loss_range(t, num_classes, norm=INF).width for t in thresholds]
    return computed, [1.23, 4.70, 32.0, 0.144, 0.660, 8.66, 17.8, 34.2, 81.8]


def _ascend(gradient, num_classes: int, max_norm: float, norm: float) -> np.ndarray:
    """Maximise a convex function over the ball from vertices and sign patterns by z <- argmax of <gradient, .>."""
    size = num_classes if num_classes <= (10 if norm == INF else 7) else 1
    patterns = np.repeat(np.array(list(product([-1.0, 1.0], repeat=size))), -(-num_classes // size), axis=1)
    vertices, tilt = np.eye(num_classes), np.linspace(1, 1.3, num_classes)
    one_up = np.full((1, num_classes), 0.05) + 0.95 * vertices[1] - 1.05 * vertices[0]
    z = np.concatenate([vertices, -vertices, patterns, patterns * tilt, 0.3 - vertices, one_up])
    z *= max_norm / np.linalg.norm(z, norm, axis=1, keepdims=True)
    for _ in range(150 if 1 < norm < INF else 10):
        g = gradient(z)
        size = np.abs(g).max(axis=1, keepdims=True)
        g = np.where(size > 0, g / np.where(size > 0, size, 1.0), z)
        if norm == 1:
            z = max_norm * np.sign(g) * (np.arange(num_classes) == np.abs(g).argmax(axis=1)[:, None])
        elif norm == INF:
            z = max_norm * np.where(g < 0, -1.0, 1.0)
        else:
            z = np.sign(g) * np.abs(g) ** (1 / (norm - 1))
            z *= max_norm / np.linalg.norm(z, norm, axis=1, keepdims=True)
    return z


def _two_level_loss(ratio, num_classes: int, max_norm, slope: bool = False):
    """log(1 + e^a (e^v + (K-2) e^u)) in balls, p = 2: a = v + (K-2) u, u = ratio · v, norm τ; or its slope in ratio."""
    k, t = num_classes - 2, as_ball(max_norm)
    v = t / (2 + 2 * k * ratio + k * (k + 1) * ratio**2).sqrt()
    u = ratio * v
    first, others = (2 * v + k * u).exp(), k * (v + (k + 1) * u).exp()
    if not slope:
        return (1 + first + others).log()
    dv = -(v**3) / t**2 * (k + k * (k + 1) * ratio)
    du = v + ratio * dv
    return (first * (2 * dv + k * du) + others * (dv + (k + 1) * du)) / (1 + first + others)


def _equal_loss(max_norm: float, num_classes: int) -> float:
    z = two_level_logits(1.0, max_norm, num_classes)
    return float(logsumexp(z) - z[0])
