"""What a cosine head can realise: the largest common gap, unequal margins, the scale."""

import numpy as np
import sympy as sp

from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from ...ldam.cosine import largest_cosine_gap, smallest_loss, smallest_scale, smallest_scale_possible
from ...ldam.losses import ldam_loss

K = sp.Symbol("k", integer=True, positive=True) + 1


@claim(
    "ldam.cosine_gap",
    source=cite("tailbound", "limit of Cao et al.'s cosine head"),
    kind=Kind.SYMBOLIC,
    formula="max over unit w_k, h_k of min_{k≠l} (w_k - w_l)·h_k = K / (K - 1)",
    wrong={"2, as for two classes": {"stated": sp.Integer(2)}, "1": {"stated": sp.Integer(1)}},
    exhaustive=True,
    assumptions=("feature dimension at least K - 1, for the simplex to exist",),
)
def cosine_gap(stated=None):
    """No cosine head gives all K classes a gap above K / (K - 1); the simplex gives exactly that."""
    A, C, P, Q = sp.symbols("A C P Q", real=True)
    # A = Σ w_k·h_k, C = w̄·h̄ (means), P = |w̄|², Q = |h̄|²; Σ|w_k - w̄|² = K(1 - P) and likewise for h
    pairs = (K - 1) * A - (K**2 * C - A)
    centred = A - K * C  # Σ (w_k - w̄)·(h_k - h̄)
    bound = K * (K * (1 - P) + K * (1 - Q)) / 2  # K times Cauchy-Schwarz with 2ab <= a² + b²
    p, q, a, b = sp.symbols("p q a b", real=True)
    gap = largest_cosine_gap(K) if stated is None else stated
    return (
        Derivation()
        .equal("gaps of all ordered pairs add up to K Σ (w_k - w̄)·(h_k - h̄)", pairs, K * centred)
        .nonnegative("a·b is at most half of |a|² + |b|²", (a**2 + b**2) / 2 - a * b)
        .nonnegative("so the sum is at most K²", K**2 - bound.subs({P: p**2, Q: q**2}))
        .equal("the average over K (K - 1) pairs bounds the smallest gap", K**2 / (K * (K - 1)), gap)
        .equal("the simplex, w_l·h_k = -1/(K - 1), attains it", 1 + 1 / (K - 1), gap)
    )


@claim(
    "ldam.cosine_gap_convex",
    source=cite("tailbound", "semidefinite program over Gram matrices"),
    kind=Kind.CONVEX,
    formula="SDP optimum of the common cosine gap = K / (K - 1)",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=cases(num_classes=[2, 3, 4, 5]),
    full_cases=cases(num_classes=[8, 10]),
    wrong={"2, as for two classes": {"stated": 2.0}},
)
def cosine_gap_convex(num_classes, stated=None):
    """A semidefinite program over all heads and features finds the same largest gap."""
    from ...ldam.programs import largest_cosine_margin

    value, certificate = largest_cosine_margin(np.ones(num_classes))
    return Sides(value, largest_cosine_gap(num_classes) if stated is None else stated, uncertainty=certificate.gap)


@claim(
    "ldam.cosine_unequal",
    source=cite("tailbound", "semidefinite program over Gram matrices"),
    kind=Kind.CONVEX,
    formula="margins Δ fit a cosine head if max Δ <= K/(K-1), and only if mean Δ <= K/(K-1)",
    relation=Relation.AT_MOST,
    atol=1e-6,
    cases=cases(profile=[(1.0, 3.0), (1.0, 1.0, 2.0), (1.0, 2.0, 3.16), (1.0, 1.5, 2.0, 3.0)]),
    wrong={"only if max Δ fits": {"by_mean": False}},
)
def cosine_unequal(profile, by_mean=True):
    """The largest realisable multiple of a margin profile lies between what its maximum and its mean allow."""
    from ...ldam.programs import largest_cosine_margin

    profile = np.array(profile)
    gap = largest_cosine_gap(len(profile))
    value, certificate = largest_cosine_margin(profile)
    size = profile.mean() if by_mean else profile.max()
    return Sides([gap / profile.max(), value * size], [value, gap], uncertainty=certificate.gap)


@claim(
    "ldam.cosine_scale",
    source=cite("tailbound", "Jensen's inequality"),
    kind=Kind.SYMBOLIC,
    formula="class mean of LDAM >= log(1 + (K-1) e^(-s r)), r = K/(K-1) - mean Δ: -log p at s = log((K-1)p/(1-p)) / r",
    wrong={"without K - 1": {"odds": 1}, "inverted odds": {"sign": -1}},
    exhaustive=True,
)
def cosine_scale(odds=None, sign=1):
    """A cosine head needs a scale of at least the stated size before it can fit its training set to probability p."""
    s, t = sp.symbols("s t", positive=True)
    u, v, w = sp.symbols("u v w", real=True)
    p = t / (1 + t)  # every p in (0, 1)
    loss = sp.log(1 + (K - 1) * sp.exp(-s * u))
    room = sp.Symbol("r", positive=True)  # K/(K-1) - mean Δ
    needed = sign * sp.log((K - 1 if odds is None else odds) * p / (1 - p)) / room
    at = sp.simplify(sp.exp(loss.subs({u: room, s: needed})))
    return (
        Derivation()
        .equal(
            "rivals of one example: e^(-x) at unequal gaps exceeds that at their mean by a square",
            (sp.exp(-v) + sp.exp(-w)) / 2 - sp.exp(-(v + w) / 2),
            (sp.exp(-v / 2) - sp.exp(-w / 2)) ** 2 / 2,
        )
        .positive("the loss falls with the gap, on average at most K/(K-1) (claim ldam.cosine_gap)", -sp.diff(loss, u))
        .positive("and is convex in it, so the class mean is smallest at equal gaps", sp.diff(loss, u, 2))
        .equal("at the stated scale the loss is -log p", at, 1 / p)
    )


@claim(
    "ldam.cosine_scale_values",
    source=cite("tailbound", "library formulas on the simplex"),
    kind=Kind.NUMERIC,
    formula="on the simplex at s = log((K-1)p/(1-p)) / (K/(K-1) - max Δ) the worst class has loss -log p",
    relation=Relation.EQUAL,
    rtol=1e-9,
    cases=cases(num_classes=[2, 10, 100], largest=[0.1, 0.5], probability=[0.9, 0.999]),
    wrong={"half the scale": {"factor": 0.5}},
)
def cosine_scale_values(num_classes, largest, probability, factor=1.0):
    """The library's smallest scale is exactly what the class with the largest margin needs on the simplex."""
    margins = np.linspace(largest / 3, largest, num_classes)
    cosines = np.where(np.eye(num_classes, dtype=bool), 1.0, -1 / (num_classes - 1))
    labels = np.arange(num_classes)
    worst = ldam_loss(cosines, labels, margins, scale=factor * smallest_scale(margins, probability=probability)).max()
    equal = np.full(num_classes, margins.mean())
    scale = factor * smallest_scale_possible(margins, probability=probability)
    mean = ldam_loss(cosines, labels, equal, scale=scale).mean()
    smallest = smallest_loss(num_classes, margins.mean(), scale)
    return [worst, mean, smallest], [-np.log(probability)] * 3
