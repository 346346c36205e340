"""Clean risk lost to uniform label flips, for α > 1."""

import numpy as np
import sympy as sp

from ...alpha_loss.calibration import tilted
from ...alpha_loss.landscape import noise_gap_bound, smallest_alpha_for_gap
from ...alpha_loss.losses import alpha_loss, exponent
from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from .shape import t


@claim(
    "alpha_loss.label_sum",
    source=cite("zhang2018", "Lemma 1, in α"),
    kind=Kind.CONVEX,
    relation=Relation.EQUAL,
    rtol=1e-6,
    formula="over distributions Q, α > 1: least Σ_k l^α(Q_k) = (α/(α-1)) (K - K^(1/α)), largest (α/(α-1)) (K - 1)",
    cases=(*cases(num_classes=[2, 3, 10], alpha=[1.5, 3.0, float("inf")]), {"num_classes": 100, "alpha": 3.0}),
    full_cases=cases(num_classes=[100], alpha=[1.5, 10.0]),
    wrong={"K^(1-1/α)": {"power": "u"}},
)
def label_sum(num_classes, alpha, power="v"):
    """The sum of the losses over all labels is bounded for α > 1: a power-cone program and a corner give the range."""
    from ...alpha_loss.programs import least_label_sum

    proof = least_label_sum(num_classes, alpha)
    u = exponent(alpha)
    corner = alpha_loss(np.eye(num_classes)[0], alpha).sum()
    least = (num_classes - num_classes ** (1 - u if power == "v" else u)) / u
    return Sides([proof.value, corner], [least, (num_classes - 1) / u], [proof.gap, 0.0])


@claim(
    "alpha_loss.noise_gap_identity",
    source=cite("zhang2018", "Theorem 1, in α; f* need not attain zero risk"),
    kind=Kind.SYMBOLIC,
    formula="R_η = (1 - η K/(K-1)) R + η/(K-1) E Σ_k l; for η < 1 - 1/K so R(f_η) - R(f*) <= "
    "η (Σmax - Σmin) / (K - 1 - η K)",
    wrong={"flips over K labels": {"others": 0}, "every η": {"rate": t}},
    exhaustive=True,
)
def noise_gap_identity(others=1, rate=None):
    """Uniform flips add a multiple of the summed loss; its range bounds what the noisy minimiser can lose."""
    K = sp.Symbol("k", integer=True, positive=True) + 1
    eta, own, rest = sp.symbols("eta l_y l_rest", positive=True)  # loss of the true label, of the others summed
    spread, v = sp.symbols("s v", positive=True)
    noisy = (1 - eta) * own + eta * rest / (K - others)
    weight = 1 - eta * K / (K - 1)
    u = 1 - v
    return (
        Derivation()
        .equal("noisy risk", noisy, weight * own + eta / (K - 1) * (own + rest))
        .positive(
            "the weight of the clean risk is > 0 for η < 1 - 1/K", weight.subs(eta, rate or (1 - 1 / K) / (1 + t))
        )
        .equal("gap from the range s of the sum", eta / (K - 1) * spread / weight, eta * spread / (K - 1 - eta * K))
        .equal("the range", (K - 1) / u - (K - K**v) / u, (K**v - 1) / u)
    )


@claim(
    "alpha_loss.noise_gap_bound",
    source=cite("zhang2018", "Theorem 1, in α"),
    kind=Kind.NUMERIC,
    relation=Relation.AT_MOST,
    atol=1e-12,
    formula="R(f_η) - R(f*) <= η (α/(α-1)) (K^(1/α) - 1)/(K - 1 - η K), η < 1 - 1/K; -> 0 as α -> ∞",
    cases=cases(num_classes=[2, 3, 10, 100], alpha=[1.5, 2.0, 10 / 3, 10.0, float("inf")]),
    wrong={"a thirtieth": {"factor": 1 / 30}, "K^(1/α²)": {"squared": True}},
)
def noise_gap(num_classes, alpha, factor=1.0, squared=False):
    """The exact loss of the noisy minimiser on a deterministic label stays below the library's bound."""
    gaps, bounds = [], []
    for share in (0.1, 0.5, 0.9):
        eta = share * (1 - 1 / num_classes)
        noisy = np.full(num_classes, eta / (num_classes - 1))
        noisy[0] = 1 - eta
        gaps.append(float(alpha_loss(tilted(noisy, alpha)[0], alpha)))
        bounds.append(factor * noise_gap_bound(alpha**2 if squared else alpha, num_classes, eta))
    return gaps, bounds


@claim(
    "alpha_loss.noise_gap_sharp",
    source=cite("tailbound", "sharp case of Zhang and Sabuncu (2018), Theorem 1, in α"),
    kind=Kind.NUMERIC,
    relation=Relation.EQUAL,
    rtol=1e-9,
    formula="functions {corner at the label, uniform}, η = L (K-1)/(K^(1/α) - 1 + L K), L = 1 - K^(1/α-1): the noisy "
    "risks tie, and the clean ones differ by the bound",
    cases=cases(num_classes=[2, 3, 10, 100], alpha=[1.2, 2.0, 10 / 3, 10.0]),
    wrong={"nine tenths of the bound": {"factor": 0.9}, "a smaller η": {"share": 0.99}},
)
def noise_gap_sharp(num_classes, alpha, factor=1.0, share=1.0):
    """The bound is attained: the minimiser under flips may be the uniform prediction where a perfect one exists."""
    missed = 1 - num_classes ** -exponent(alpha)
    eta = share * missed * (num_classes - 1) / (num_classes ** (1 / alpha) - 1 + missed * num_classes)
    weights = np.full(num_classes, eta / (num_classes - 1))
    weights[0] = 1 - eta
    corner, uniform = (alpha_loss(q, alpha) for q in (np.eye(num_classes)[0], np.full(num_classes, 1 / num_classes)))
    bound = factor * noise_gap_bound(alpha, num_classes, eta)
    return [uniform[0] - corner[0], weights @ uniform], [bound, weights @ corner]


@claim(
    "alpha_loss.alpha_for_gap",
    source=cite("tailbound", "the bound of Zhang and Sabuncu (2018), Theorem 1"),
    kind=Kind.NUMERIC,
    relation=Relation.EQUAL,
    rtol=1e-9,
    formula="noise_gap_bound(α) = gap at the smallest α whose bound is at most the gap",
    cases=cases(num_classes=[2, 10, 100], flip_rate=[0.1, 0.4], gap=[0.05, 0.5]),
    wrong={"0.7 of that α": {"factor": 0.7}},
)
def alpha_for_gap(num_classes, flip_rate, gap, factor=1.0):
    """The library's choice of α for a wanted gap under label noise inverts the bound."""
    alpha = smallest_alpha_for_gap(num_classes, flip_rate, gap)
    return noise_gap_bound(max(alpha * factor, 1.0001), num_classes, flip_rate), gap
