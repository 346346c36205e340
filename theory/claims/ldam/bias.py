"""What a bias can do to the margins: everything for two classes, not everything for three."""

from fractions import Fraction

import numpy as np
import sympy as sp

from ...core.claims import ClaimError, Kind, Relation, Sides, claim
from ...core.derivation import Derivation
from ...core.points import separable_points
from ...core.sources import cite
from ...ldam.bounds import inverse_margin_sum
from ...ldam.margins import LDAM_EXPONENT, bound_costs, minimising_shares, power_shares

F, HALF = Fraction, Fraction(1, 2)
# pairwise margins m_jl; classes 0 and 1 are close to each other, class 2 is far from both
CLOSE_PAIR = ((0, 1, 3), (1, 0, 3), (3, 3, 0))
CLOSER_PAIR = ((0, 1, 9), (1, 0, 9), (9, 9, 0))
CYCLE = ((0, 1, 5), (5, 0, 1), (1, 5, 0))
FOUR = ((0, 2, 1, 4), (1, 0, 3, 2), (5, 1, 0, 2), (2, 4, 1, 0))
FIVE = ((0, 3, 1, 4, 1), (5, 0, 9, 2, 6), (5, 3, 0, 5, 8), (9, 7, 9, 0, 3), (2, 3, 8, 4, 0))


@claim(
    "ldam.bias_shift",
    source=cite("cao2019", "Theorem 3"),
    kind=Kind.SYMBOLIC,
    formula="b1 = (γ1* - γ1')/2, b2 = -b1 moves the margins (γ1', γ2') to (γ1*, γ2*), both > 0",
    wrong={"without the half": {"half": 1}, "opposite sign": {"half": F(-1, 2)}},
    exhaustive=True,
    assumptions=("two classes", "γ1', γ2' > 0: data separated without the bias"),
)
def bias_shift(half=HALF, printed=False):
    """The stated bias turns any positive margins of two classes into the optimal split of their sum."""
    g1, g2, n1, n2 = sp.symbols("gamma1' gamma2' n1 n2", positive=True)
    target = (g1 + g2) * power_shares(np.array([n1, n2], dtype=object), LDAM_EXPONENT)
    b1 = half * (target[0] - g1)
    b2 = -b1
    return (
        Derivation()
        .positive("γ1* is positive", target[0])
        .positive("γ2* is positive", target[1])
        .equal("class 2 gets γ2*", g2 + b2 - b1, target[1])
        .equal("class 1 gets", g1 + b1 - b2, target[1] if printed else target[0])
    )


@claim(
    "ldam.bias_shift_as_printed",
    source=cite("cao2019", "proof of Theorem 3, App. A"),
    kind=Kind.SYMBOLIC,
    formula="after the shift class 1 has margin γ2*",
    expected="fails",
    corrected_by="ldam.bias_shift",
    right={"printed": False},
    wrong={"and without the half": {"half": 1}},
)
def bias_shift_as_printed(printed=True, half=HALF):
    """A sentence of the proof gives class 1 the margin γ2* (a slip: it is γ1*)."""
    return bias_shift(half, printed)


@claim(
    "ldam.bias_realises_every_split",
    source=cite("cao2019", "Sec. 3.1, two classes; read for K >= 3"),
    kind=Kind.EXACT,
    relation=Relation.AT_LEAST,
    formula="for every split of Σ γ_j there is a bias with class margins γ (largest reachable multiple t >= 1)",
    cases=(
        {"pairwise": ((0, 1), (1, 0)), "target": (F(1, 2), F(3, 2))},
        {"pairwise": CLOSE_PAIR, "target": (F(5, 3),) * 3},
    ),
    expected="fails",
    corrected_by="ldam.bias_cycle_condition",
    right={"pairwise": ((0, 1), (1, 0)), "target": (F(1, 2), F(3, 2))},
    wrong={"a closer pair": {"pairwise": CLOSER_PAIR, "target": (F(11, 3),) * 3}},
)
def bias_realises_every_split(pairwise, target):
    """A bias can split the sum of the class margins at will; true for two classes, false for three.

    The counterexample: margins (1, 1, 3), target (5/3, 5/3, 5/3). Classes 0 and 1 have pairwise margins adding up to 2,
    whatever the bias, so they cannot both have 5/3: at most 3/5 of the target is reachable.
    """
    from ...ldam.programs import largest_reachable_multiple, tightest_cycle

    current = sum(min(m for k, m in enumerate(row) if k != j) for j, row in enumerate(pairwise))
    if sum(target) != current:
        raise ClaimError(f"the target {target} is no split of the margins' sum {current}")
    searched, _ = largest_reachable_multiple(np.array(pairwise, dtype=float), np.array(target, dtype=float))
    ratio, cycle = tightest_cycle(pairwise, target)
    return Sides(ratio, 1, note=f"linear program over biases: {searched:.9g}; proof: the cycle of classes {cycle}")


@claim(
    "ldam.bias_cycle_condition",
    source=cite("tailbound", "linear-programming duality"),
    kind=Kind.CONVEX,
    formula="max t with t γ_j <= m_jl + b_j - b_l for some b = min over directed cycles of Σ m_jl / Σ γ_j",
    relation=Relation.EQUAL,
    rtol=1e-7,
    cases=(
        {"pairwise": ((0, 1), (2, 0)), "target": (1, 2)},
        {"pairwise": CLOSE_PAIR, "target": (1, 1, 1)},
        {"pairwise": CYCLE, "target": (1, 1, 1)},
        {"pairwise": FOUR, "target": (1, 1, 2, 3)},
        {"pairwise": FIVE, "target": (2, 1, 1, 3, 1)},
    ),
    wrong={"pairs only": {"longest": 2}},
)
def bias_cycle_condition(pairwise, target, longest=None):
    """A bias realises class margins γ exactly when no directed cycle asks more than its pairwise margins add up to.

    The linear program over biases and the enumeration of cycles agree. For two classes the condition is γ1 + γ2 <= β.
    """
    from ...ldam.programs import largest_reachable_multiple, tightest_cycle

    computed, certificate = largest_reachable_multiple(np.array(pairwise, dtype=float), np.array(target, dtype=float))
    stated, cycle = tightest_cycle(pairwise, [F(t) for t in target], longest=longest)
    return Sides(
        computed, float(stated), uncertainty=certificate.gap, note=f"cycle {cycle}, duality gap {certificate.gap:.1e}"
    )


@claim(
    "ldam.bias_keeps_sum",
    source=cite("cao2019", "Sec. 3.1, two classes; read for K >= 3"),
    kind=Kind.CONVEX,
    relation=Relation.EQUAL,
    rtol=1e-5,
    formula="Σ γ_j after the bias that minimises Σ 1/(γ_j √n_j) = Σ γ_j before",
    cases=(
        {"pairwise": ((0, 2), (1, 0)), "counts": (500, 50)},
        {"pairwise": CLOSE_PAIR, "counts": (5000, 500, 50)},
    ),
    expected="fails",
    corrected_by="ldam.bias_cycle_condition",
    right={"pairwise": ((0, 2), (1, 0)), "counts": (500, 50)},
    wrong={"a closer pair": {"pairwise": CLOSER_PAIR, "counts": (5000, 500, 50)}},
)
def bias_keeps_sum(pairwise, counts):
    """Moving the bias redistributes a fixed sum of class margins, as it does for two classes.

    For three classes a bias can also raise the sum, from 5 to 6.8 here, so that the optimum over biases (bound 0.084)
    lies below the minimum over free splits of the old sum (0.100): that minimum is no limit to what a bias can do.
    """
    from ...ldam.programs import bias_optimal_margins

    pairwise = np.array(pairwise, dtype=float)
    before = np.where(np.eye(len(counts), dtype=bool), np.inf, pairwise).min(axis=1)
    costs, power = bound_costs(np.array(counts, dtype=float), 1.0)
    margins, _, certificate = bias_optimal_margins(pairwise, costs)
    free = inverse_margin_sum(before.sum() * minimising_shares(costs, power), costs, power)
    best = inverse_margin_sum(margins, costs, power)
    note = f"bound {best:.5g} at margins {margins.round(4).tolist()}; free splits of the old sum {free:.5g}"
    return Sides(margins.sum(), before.sum(), note=f"{note}; duality gap {certificate.gap:.1e}")


@claim(
    "ldam.svm_bias_path",
    source=cite("tailbound", "Cao et al., Sec. 3.1, and Kini et al. (2021), CS-SVM"),
    kind=Kind.CONVEX,
    formula="margins of the CS-SVM at δ = (n_-/n_+)^(1/4) = margins of the SVM after the bias shift of Theorem 3",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=(
        {"minority": 3, "majority": 12, "dimension": 2},
        {"minority": 4, "majority": 64, "dimension": 4},
        {"minority": 2, "majority": 32, "dimension": 6},
    ),
    wrong={
        "without an intercept": {"intercept": "none"},
        "penalised intercept": {"intercept": "penalised"},
        "ratio to the power 1/2": {"power": 0.5},
        "majority favoured": {"power": -0.25},
    },
)
def svm_bias_path(minority, majority, dimension, intercept="free", power=0.25):
    """On separable data the n^(-1/4) split is the cost-sensitive SVM with margin ratio (n_-/n_+)^(1/4).

    With a free, unpenalised intercept it keeps the direction of the plain SVM and the sum of the two margins.
    """
    from ...vs_loss.programs import cost_sensitive_svm

    features, labels = separable_points(minority, majority, dimension)

    def margins(ratio):
        w, b, certificate = cost_sensitive_svm(features, labels, ratio, intercept=intercept)
        scores = labels * (features @ w + b) / np.linalg.norm(w)
        return np.array([scores[labels > 0].min(), scores[labels < 0].min()]), w / np.linalg.norm(w), certificate

    plain, direction, _ = margins(1.0)
    shifted, same_direction, certificate = margins((majority / minority) ** power)
    target = plain.sum() * power_shares(np.array([minority, majority], dtype=float), LDAM_EXPONENT)
    note = f"duality gap {certificate.gap:.1e}"
    return Sides([*shifted, direction @ same_direction], [*target, 1.0], note=note)
