"""The geometry that free features reach under CDT and LDT, for any class counts, and what was published on it."""

import numpy as np
import sympy as sp

from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.class_counts import ClassCounts
from ...core.derivation import Derivation
from ...core.sources import cite
from ...vs_loss.geometry import collapsed_geometry, cosines

STEP = tuple(
    {"classes": k, "ratio": ratio, "gamma": gamma} for k, ratio in ((4, 10), (6, 100)) for gamma in (-0.5, 0.3, 1)
)


def _step(classes, ratio, gamma):
    """Half the classes `ratio` times as frequent as the others, and Δ = (n / n_max)^γ."""
    class_counts = ClassCounts((ratio,) * (classes // 2) + (1,) * (classes // 2))
    return class_counts, (class_counts.array / class_counts.array.max()) ** gamma


def _summary(gram):
    """Squared norms of a frequent and a rare class, cosines frequent-frequent, frequent-rare, rare-rare."""
    angles = cosines(gram)
    return [gram[0, 0], gram[-1, -1], angles[0, 1], angles[0, -1], angles[-2, -1]]


@claim(
    "vs_loss.geometry_convex",
    source=cite("behnia2023", "support vector problem over free features; general counts derived here"),
    kind=Kind.CONVEX,
    formula="argmin of || Z N^(1/2) ||_* under the margins of CDT, LDT = (I - a a'/a'a) diag(1/Δ), a = 1/Δ, a = 1",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=(
        {"counts": (10, 10, 1, 1), "gamma": 0.0, "kind": "cdt"},
        {"counts": (10, 10, 1, 1), "gamma": 0.5, "kind": "cdt"},
        {"counts": (10, 10, 1, 1), "gamma": 0.5, "kind": "ldt"},
        {"counts": (50, 20, 5, 1), "gamma": 1.0, "kind": "cdt"},
        {"counts": (50, 20, 1), "gamma": -0.5, "kind": "ldt"},
    ),
    full_cases=cases(counts=[(100, 50, 10, 5, 2, 1)], gamma=[0.3], kind=["cdt", "ldt"]),
    wrong={"the other kind": {"swap": True}, "a of another exponent": {"stated_gamma": 0.25}},
)
def geometry_convex(counts, gamma, kind, swap=False, stated_gamma=None):
    """A nuclear-norm program finds the closed-form logits, for step and for long-tailed counts."""
    import cvxpy as cp

    from ...core.convex import solve

    class_counts = ClassCounts(counts)
    shares = class_counts.array / class_counts.array.max()
    delta, K = shares**gamma, len(counts)
    Z = cp.Variable((K, K))
    constraints: list[cp.Constraint] = [
        (delta[y] * Z[y, y] - (delta[c] if kind == "cdt" else delta[y]) * Z[c, y]) >= 1
        for y in range(K) for c in range(K) if c != y
    ]  # fmt: skip
    certificate = solve(cp.Problem(cp.Minimize(cp.normNuc(Z @ np.diag(np.sqrt(class_counts.array)))), constraints))
    assert Z.value is not None
    stated_kind = {"cdt": "ldt", "ldt": "cdt"}[kind] if swap else kind
    stated = collapsed_geometry(
        class_counts, shares ** (gamma if stated_gamma is None else stated_gamma), kind=stated_kind
    )
    return Sides(Z.value, stated.logits, note=f"duality gap {certificate.gap:.1e}")


@claim(
    "vs_loss.geometry_optimal",
    source=cite("tailbound", "a certificate for every class counts and factors"),
    kind=Kind.SYMBOLIC,
    formula="off-diagonal entries of (P M + t)^(-1), M = N/Δ², are > 0 for t > 0, so those of the polar factor are < 0",
    wrong={"added in place of projected": {"sign": -1}},
    exhaustive=True,
)
def geometry_optimal(sign=1):
    """The closed form is optimal for every class counts and factors: its multipliers are positive.

    Z N^(1/2) = P M^(1/2) has polar factor U V' = (1/π) ∫ t^(-1/2) (I - t (P M + t)^(-1)) M^(-1/2) dt. Column y of
    U V' N^(1/2) must be Σ_c λ_yc (Δ_y e_y - Δ_c e_c), CDT: off the diagonal that gives λ_yc = -(U V' N^(1/2))_cy / Δ_c
    >= 0, and the diagonal agrees because both sides are orthogonal to a. LDT likewise with Δ_y (e_y - e_c).
    """
    a_i, a_j, m_i, m_j, t = sp.symbols("a_i a_j m_i m_j t", positive=True)
    taken, room = sp.symbols("T r", positive=True)  # T = Σ a² m/(m + t), r = a'a - T, sums over all K classes
    total = taken + room
    # (P M + t)_il = (m_i + t) [i=l] - a_i a_l m_l / a'a, times [l=j]/(m_j + t) + a_l a_j m_j / ((m_l + t) (m_j + t) r)
    inverse = a_i * a_j * m_j / ((m_i + t) * (m_j + t) * room)
    product = (m_i + t) * inverse - sign * a_i / total * (
        a_j * m_j / (m_j + t) + taken * a_j * m_j / ((m_j + t) * room)
    )
    return (
        Derivation()
        .positive("a class's part of r = a'a - T", a_i**2 - a_i**2 * m_i / (m_i + t))
        .equal("Sherman-Morrison: off the diagonal (P M + t) times the inverse vanishes", product, 0)
        .equal("on it 1 is left", (m_i + t) / (m_i + t) + product, 1)
        .positive("off-diagonal entries of the inverse", inverse)
    )


@claim(
    "vs_loss.seli_step",
    source=cite("thrampoulidis2022", "SELI geometry, step imbalance"),
    kind=Kind.NUMERIC,
    formula="|w|² ~ √R (1-2/k) + s/k, (1-2/k) + s/k; |h|² ~ (1-2/k)/√R + 1/(s k), (1-2/k) + 1/(s k); s² = (R+1)/2",
    relation=Relation.EQUAL,
    rtol=1e-10,
    cases=cases(classes=[4, 6, 10], ratio=[1, 10, 100]),
    wrong={"norms exchanged": {"swap": True, "ratio": 10}, "R in place of √R": {"root": 1.0, "ratio": 10}},
)
def seli_step(classes, ratio, swap=False, root=0.5):
    """Without factors the classifiers of frequent classes are longer and their features shorter, as published."""
    class_counts, _ = _step(classes, ratio, 0.0)
    found = collapsed_geometry(class_counts)
    outer, size = 1 - 2 / classes, np.sqrt((ratio + 1) / 2)
    stated = [ratio**root * outer + size / classes, outer + size / classes]
    stated += [outer / ratio**root + 1 / (size * classes), outer + 1 / (size * classes)]
    computed = [*np.diag(found.classifiers)[[0, -1]], *np.diag(found.features)[[0, -1]]]
    return computed, stated[1::-1] + stated[2:] if swap else stated


@claim(
    "vs_loss.cdt_step",
    source=cite("behnia2023", "CDT geometry, step imbalance; released routine"),
    kind=Kind.NUMERIC,
    formula="closed forms of norms and cosines of w and h in R, k, a = Δ_maj, e = Δ_min, D = a^-2 + e^-2",
    relation=Relation.EQUAL,
    rtol=1e-9,
    cases=STEP,
    wrong={"factors exchanged": {"swap": True}, "factors ignored": {"stated_gamma": 0.0}},
)
def cdt_step(classes, ratio, gamma, swap=False, stated_gamma=None):
    """The published geometry of CDT for step imbalance is the general form at those counts."""
    class_counts, delta = _step(classes, ratio, gamma)
    found = collapsed_geometry(class_counts, delta)
    k, R = classes, ratio
    a, e = (1.0, 1.0) if stated_gamma == 0.0 else (delta[-1], delta[0]) if swap else (delta[0], delta[-1])
    D = a**-2 + e**-2
    tails = [2 * np.sqrt(R + 1) / (factor * np.sqrt(D)) ** 3 for factor in (e, a)]
    sizes = [
        ((k - 2) * root + tail) / (k * own) for root, tail, own in zip((np.sqrt(R), 1), tails, (a, e), strict=True)
    ]
    pairs = [(-2 * root + tail) / (k * own) for root, tail, own in zip((np.sqrt(R), 1), tails, (a, e), strict=True)]
    cross = -2 * np.sqrt(R + 1) * (a * e) ** -2 / (k * D**1.5)
    w = [*sizes, pairs[0] / sizes[0], cross / np.sqrt(sizes[0] * sizes[1]), pairs[1] / sizes[1]]
    tails = [2 / (factor * np.sqrt(D * (R + 1))) for factor in (e, a)]
    sizes = [
        ((k - 2) / root + tail) / (k * own) for root, tail, own in zip((np.sqrt(R), 1), tails, (a, e), strict=True)
    ]
    pairs = [(-2 / root + tail) / (k * own) for root, tail, own in zip((np.sqrt(R), 1), tails, (a, e), strict=True)]
    cross = -2 / (a * e * np.sqrt(D * (R + 1)) * k)
    h = [*sizes, pairs[0] / sizes[0], cross / np.sqrt(sizes[0] * sizes[1]), pairs[1] / sizes[1]]
    return [_summary(found.classifiers), _summary(found.features)], [w, h]


@claim(
    "vs_loss.ldt_symmetric",
    source=cite("behnia2023", "abstract: LDT can reach symmetric geometry; here for any counts"),
    kind=Kind.NUMERIC,
    formula="LDT with Δ_k = √n_k: classifiers of equal norm at cosines -1/(K-1), for every class counts",
    relation=Relation.EQUAL,
    atol=1e-9,
    cases=cases(counts=[(10, 10, 1, 1), (500, 80, 9), (5000, 2997, 1077, 232, 50)]),
    wrong={"Δ = n^(1/4)": {"gamma": 0.25}, "CDT": {"kind": "cdt"}, "the features too": {"of": "features"}},
)
def ldt_symmetric(counts, gamma=0.5, kind="ldt", of="classifiers"):
    """Label-dependent factors √n make the classifiers a simplex whatever the imbalance; the features are not."""
    class_counts = ClassCounts(counts)
    gram = getattr(collapsed_geometry(class_counts, class_counts.array**gamma, kind=kind), of)
    K = len(counts)
    norms = np.sqrt(np.diag(gram))
    stated = np.where(np.eye(K, dtype=bool), 1.0, -1 / (K - 1))
    return [cosines(gram), np.tile(norms / norms[0], (K, 1))], [stated, np.ones((K, K))]


@claim(
    "vs_loss.ldt_released_routine",
    source=cite("behnia2023", "released geometry routine for LDT"),
    kind=Kind.NUMERIC,
    formula="the classifiers under LDT are those without factors (SELI)",
    relation=Relation.EQUAL,
    rtol=1e-9,
    cases=STEP,
    expected="fails",
    corrected_by="vs_loss.geometry_convex",
    right={"gamma": 0.0},
    wrong={"γ = 1/2": {"gamma": 0.5}},
)
def ldt_released_routine(classes, ratio, gamma):
    """The classifiers' geometry under LDT does not depend on the factors.

    It is that of SELI at the ratio R (Δ_min/Δ_maj)²: the program sees counts and factors only through n_k / Δ_k².
    """
    class_counts, delta = _step(classes, ratio, gamma)
    grams = [collapsed_geometry(class_counts, d, kind="ldt").classifiers for d in (delta, None)]
    return [[*_summary(gram)[2:], gram[0, 0] / gram[-1, -1]] for gram in grams]


@claim(
    "vs_loss.ldt_effective_counts",
    source=cite("tailbound", "from the nuclear-norm program of Behnia et al. (2023)"),
    kind=Kind.NUMERIC,
    formula="classifiers under LDT = classifiers without factors at the counts n_k / Δ_k²",
    relation=Relation.EQUAL,
    atol=1e-9,
    cases=cases(exponents=[(4, 2, 0), (6, 4, 2, 0)]),
    wrong={"n_k / Δ_k": {"power": 1}, "n_k Δ_k²": {"power": -2}},
)
def ldt_effective_counts(exponents, power=2):
    """Label-dependent factors act on the classifiers exactly as a change of the class counts."""
    counts = 4.0 ** np.array(exponents)  # Δ = n^(1/4) keeps n / Δ² whole
    delta = counts**0.25
    effective = ClassCounts(tuple(round(n) for n in counts / delta**power))
    found = collapsed_geometry(ClassCounts(tuple(int(n) for n in counts)), delta, kind="ldt")
    return found.classifiers, collapsed_geometry(effective).classifiers
