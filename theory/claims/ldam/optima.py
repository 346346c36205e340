"""Which margins minimise which bound: exponents, closed forms, gains, other test priors, the joint complexity."""

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import sympy as sp
from scipy.optimize import minimize_scalar

from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.class_counts import ClassCounts
from ...core.derivation import Derivation
from ...core.sources import cite
from ...ldam.bounds import gain_over_equal_split, inverse_margin_sum
from ...ldam.margins import (
    LDAM_EXPONENT,
    bound_costs,
    class_margins,
    minimising_shares,
    optimal_exponent,
    optimal_margins,
    power_shares,
)

CIFAR10_LT = ClassCounts.long_tailed(100, num_classes=10, largest=5000).counts
EXPONENTS = {
    "exponent -1/3": {"exponent": Fraction(-1, 3)},
    "exponent -1/2": {"exponent": Fraction(-1, 2)},
    "equal margins": {"exponent": Fraction(0)},
    "swapped classes (+1/4)": {"exponent": Fraction(1, 4)},
}
x1, x2, p1, p2, total, first, second, c, n = sp.symbols("x1 x2 p1 p2 beta gamma1 gamma2 c n", positive=True)
n1, n2 = x1**4, x2**4  # every count is a fourth power of a positive number; so the algebra is rational
COUNTS = np.array([n1, n2], dtype=object)
ONES = np.array([sp.Integer(1)] * 2, dtype=object)


def _binary_bound(margin, costs, power=1):
    """Bound of two classes with margins (margin, β - margin)."""
    return inverse_margin_sum(np.array([margin, total - margin], dtype=object), costs, power)


def _minimiser(derivation: Derivation, stated, costs, power=1) -> Derivation:
    """Add the steps that make `stated` the unique minimiser of a binary bound on 0 < γ1 < β."""
    bound = _binary_bound(first, costs, power)
    curvature = sp.diff(bound, first, 2).subs(total, first + second)
    return (
        derivation.positive(
            "the bound, with n_k = x_k⁴, is strictly convex on 0 < γ1 < β = γ1 + γ2: one stationary point", curvature
        )
        .positive("the stated γ1 is positive", stated)
        .positive("and below β", total - stated)
        .equal("the derivative is 0 there", sp.diff(bound, first).subs(first, stated), 0)
    )


@claim(
    "ldam.binary_split",
    source=cite("cao2019", "Sec. 3.1 and Theorem 3"),
    kind=Kind.SYMBOLIC,
    formula="argmin over γ1 + γ2 = β of 1/(γ1 √n1) + 1/(γ2 √n2) is γ1 = β n2^(1/4) / (n1^(1/4) + n2^(1/4))",
    wrong=EXPONENTS,
    exhaustive=True,
    assumptions=("two classes", "low-order terms dropped", "the same complexity C(F) for both classes"),
)
def binary_split(exponent=LDAM_EXPONENT):
    """Under a fixed sum, margins proportional to n^(-1/4) are the only minimiser of the binary margin bound."""
    stated = (total * power_shares(COUNTS, exponent))[0]
    return _minimiser(Derivation(), stated, *bound_costs(COUNTS, ONES))


@claim(
    "ldam.binary_minimum",
    source=cite("cao2019", "Theorem 3"),
    kind=Kind.SYMBOLIC,
    formula="min over γ1 + γ2 = β of 1/(γ1 √n1) + 1/(γ2 √n2) = (n1^(-1/4) + n2^(-1/4))² / β",
    wrong={"without the square": {"power": 1}, "cubed": {"power": 3}},
    exhaustive=True,
)
def binary_minimum(power=2):
    """The value of the binary bound at its minimum is the squared sum of n^(-1/4) over the total margin."""
    costs, _ = bound_costs(COUNTS, ONES)
    split = (total * minimising_shares(costs, 1))[0]
    stated = (n1 ** sp.Rational(-1, 4) + n2 ** sp.Rational(-1, 4)) ** power / total
    return _minimiser(Derivation(), split, costs).equal("the value there", _binary_bound(split, costs), stated)


@claim(
    "ldam.exponent_general",
    source=cite("cao2019", "remark in Sec. 3.1, generalised"),
    kind=Kind.SYMBOLIC,
    formula="argmin of Σ 1/(γ_k^p n_k^q) at fixed Σ γ_k has γ_k ∝ n_k^(-q/(p+1))",
    wrong={"exponent -q/p": {"offset": -1}, "exponent -q/(p+2)": {"offset": 1}},
    exhaustive=True,
    assumptions=("any number of classes: the Lagrangian is separable", "p, q > 0"),
)
def exponent_general(offset=0):
    """For a bound with margin power p and rate q the optimal exponent is -q / (p + 1), for any number of classes."""
    p, q = sp.symbols("p q", positive=True)
    term = n**-q * first**-p
    marginal = -sp.diff(term, first)
    at = marginal.subs(first, c * n ** optimal_exponent(p + offset, q))
    return (
        Derivation()
        .positive("each class's term is strictly convex in its margin", sp.diff(term, first, 2))
        .equal("at γ = c n^(-q/(p+1)) the marginal gain is the same for every n", at, at.subs(n, 1))
    )


@claim(
    "ldam.fast_rate_exponent",
    source=cite("cao2019", "remark in Sec. 3.1"),
    kind=Kind.EXACT,
    formula="(p, q) = (1, 1/2), (2, 1), (1, 1) give exponents -1/4, -1/3, -1/2",
    cases=(
        {"power": Fraction(1), "rate": Fraction(1, 2), "stated": Fraction(-1, 4)},
        {"power": Fraction(2), "rate": Fraction(1), "stated": Fraction(-1, 3)},
        {"power": Fraction(1), "rate": Fraction(1), "stated": Fraction(-1, 2)},
    ),
    wrong={
        "the fast rate keeps -1/4": {"power": Fraction(2), "rate": Fraction(1), "stated": Fraction(-1, 4)},
        "1/(γ n) gives -1/3": {"power": Fraction(1), "rate": Fraction(1), "stated": Fraction(-1, 3)},
    },
    exhaustive=True,
)
def fast_rate_exponent(power, rate, stated):
    """The fast rate 1/(γ² n) moves the optimal exponent to -1/3; the rate 1/(γ n) would move it to -1/2."""
    exponent = sp.Symbol("e")
    # equal marginal gains n^(-q) γ^(-p-1) with γ = n^e: the power of n must vanish
    (solution,) = sp.solve(-sp.Rational(rate) - (sp.Rational(power) + 1) * exponent, exponent)
    return [Fraction(int(solution.p), int(solution.q)), optimal_exponent(power, rate)], [stated, stated]


@claim(
    "ldam.free_sum_optimum",
    source=cite("tailbound", "Cauchy-Schwarz; K-class form of Cao et al., Sec. 3.1"),
    kind=Kind.SYMBOLIC,
    formula="min over Σ γ_k = β of Σ 1/(γ_k √n_k) = (Σ n_k^(-1/4))² / β, at γ_k = β n_k^(-1/4) / Σ n_l^(-1/4)",
    wrong=EXPONENTS,
    exhaustive=True,
    assumptions=("the sum of the K margins may be redistributed freely (for K >= 3 a bias alone cannot)",),
)
def free_sum_optimum(exponent=LDAM_EXPONENT):
    """For any number of classes, n^(-1/4) margins minimise the bound if their sum could be redistributed freely."""
    a, t, S = sp.symbols("a t S", positive=True)
    cost = bound_costs(np.array([n], dtype=object), 1)[0][0]
    tangent = 2 * sp.sqrt(a) * t - t**2 * first
    return (
        Derivation()
        .equal(
            "one class: a/γ lies above a line in γ, by a square",
            a / first - tangent,
            (sp.sqrt(a) - t * first) ** 2 / first,
        )
        .equal(
            "summed over classes with S = Σ √a, at t = S/β, the lines give S²/β",
            (2 * S * t - t**2 * total).subs(t, S / total),
            S**2 / total,
        )
        .equal("the stated margins γ = n^e / t touch every line (√a = t γ)", sp.sqrt(cost), t * (n**exponent / t))
    )


@claim(
    "ldam.optima_convex",
    source=cite("cao2019", "Sec. 3.1"),
    kind=Kind.CONVEX,
    formula="the convex program min Σ a_k/γ_k^p, Σ γ_k = β returns the closed-form margins",
    relation=Relation.EQUAL,
    rtol=1e-4,  # a duality gap of 1e-7 leaves its square root in the arguments of a flat minimum
    cases=cases(counts=[(5000, 50), (900, 90, 9), CIFAR10_LT], bound=["per_class", "joint"], priors=[None, "train"]),
    full_cases=cases(
        counts=[ClassCounts.long_tailed(100, num_classes=100, largest=500).counts],
        bound=["per_class", "joint"],
        priors=[None],
    ),
    wrong={**EXPONENTS, "uniform priors for the standard error": {"uniform": True, "priors": "train"}},
)
def optima_convex(counts, bound, priors, exponent=None, uniform=False):
    """A convex solver, given only the bound, finds the margins that the closed forms state."""
    from ...ldam.programs import minimise_bound

    class_counts = ClassCounts(counts)
    train = class_counts.priors
    target = train if priors == "train" else np.full(len(train), 1 / len(train))
    computed, certificate = minimise_bound(*bound_costs(class_counts.array, target, bound), total=1.0)
    stated = optimal_margins(class_counts, bound=bound, test_priors=None if uniform else target)
    if exponent is not None:
        stated = class_margins(class_counts, exponent=exponent, total=1.0)
    return Sides(
        computed, stated, note=f"duality gap {certificate.gap:.1e}, stationarity {certificate.stationarity:.1e}"
    )


@claim(
    "ldam.gain_binary",
    source=cite("tailbound", "from Cao et al., Eq. 8"),
    kind=Kind.SYMBOLIC,
    formula="1/2 < bound(optimal split) / bound(equal split) = (1 + x)² / (2 (1 + x²)) <= 1, x = ratio^(1/4)",
    wrong={"gain at most a factor 3/2": {"floor": Fraction(2, 3)}, "without the square": {"square": 1}},
    exhaustive=True,
)
def gain_binary(floor=Fraction(1, 2), square=2):
    """However imbalanced the two classes, the optimal split improves the bound by less than a factor 2."""
    x = sp.Symbol("x", positive=True)
    costs, _ = bound_costs(COUNTS, ONES)
    ratio = _binary_bound((total * minimising_shares(costs, 1))[0], costs) / _binary_bound(total / 2, costs)
    gain = gain_over_equal_split(x**4)
    return (
        Derivation()
        .equal(
            "the ratio of the two bounds, with n1 = x⁴ n2",
            ratio.subs(x1, x * x2),
            (1 + x) ** square / (2 * (1 + x**2)),
        )
        .equal("it is the library's formula", gain, (1 + x) ** 2 / (2 * (1 + x**2)))
        .equal("it tends to 1/2 as the ratio grows", sp.limit(gain, x, sp.oo), sp.Rational(1, 2))
        .nonnegative("it never exceeds 1", 1 - gain)
        .positive("it stays above the stated floor", gain - sp.Rational(floor))
    )


@claim(
    "ldam.gain_k_classes",
    source=cite("tailbound", "from Cao et al., Sec. 3.1"),
    kind=Kind.SYMBOLIC,
    formula="1/K < (Σ x_k)² / (K Σ x_k²) <= 1 with x_k = n_k^(-1/4): bound(n^(-1/4) margins) / bound(equal margins)",
    wrong={"at least 1/(K-1)": {"offset": 1}},
    exhaustive=True,
)
def gain_k_classes(offset=0):
    """With K classes the gain of the bound over equal margins is below a factor K, its limit when one class is rare."""
    K = sp.Symbol("k", integer=True, positive=True) + 1
    squares, products, M, x1, x2, x3 = sp.symbols("Q E M x1 x2 x3", positive=True)
    slack = sp.Symbol("t", nonnegative=True)
    gain = (squares + 2 * products) / (K * squares)  # (Σx)² = Q + 2E with Q = Σ x², E = Σ_{i<j} x_i x_j > 0
    rare = (M + K - 1) ** 2 / (K * (M**2 + K - 1))  # one class with x = M, the others with x = 1
    counts = np.array([x1**-4, x2**-4, x3**-4], dtype=object)
    costs, power = bound_costs(counts, sp.Integer(1))
    equal = np.array([total / 3] * 3, dtype=object)
    ratio = inverse_margin_sum(total * minimising_shares(costs, power), costs, power)
    ratio /= inverse_margin_sum(equal, costs, power)
    return (
        Derivation()
        .equal("the library's ratio, three classes", ratio, (x1 + x2 + x3) ** 2 / (3 * (x1**2 + x2**2 + x3**2)))
        .nonnegative("x_i x_j is at most half of x_i² + x_j², so E <= (K - 1) Q / 2", (x1**2 + x2**2) / 2 - x1 * x2)
        .nonnegative("so the gain is at most 1", 1 - gain.subs(products, (K - 1) * squares / 2 - slack))
        .equal("one rare class: the gain tends to 1/K", sp.limit(rare, M, sp.oo), 1 / K)
        .positive("cross products are positive, so the gain stays above", gain - 1 / (K - offset))
    )


@claim(
    "ldam.gain_values",
    source=cite("tailbound", "from Cao et al., Eq. 8"),
    kind=Kind.NUMERIC,
    formula="gain at ratios 1, 10, 100, 10 000: 1, 0.927, 0.787, 0.599",
    relation=Relation.EQUAL,
    atol=5e-4,
    cases=tuple({"ratio": r, "stated": g} for r, g in ((1.0, 1.0), (10.0, 0.927), (100.0, 0.787), (1e4, 0.599))),
    wrong={"ratio squared": {"power": 2}, "a factor 2 at ratio 100": {"ratio": 100.0, "stated": 0.5}},
)
def gain_values(ratio, stated, power=1):
    """Minimising the binary bound numerically, and the closed form, give the stated gains."""

    def bound(share):
        return inverse_margin_sum(np.array([share, 1 - share]), np.array([ratio ** (-power / 2), 1.0]), 1)

    best: Any = minimize_scalar(bound, bounds=(1e-6, 1 - 1e-6), method="bounded", options={"xatol": 1e-12})
    return [best.fun / bound(0.5), gain_over_equal_split(ratio)], [stated, stated]


@claim(
    "ldam.test_prior_optimum",
    source=cite("tailbound", "corrects Cao et al., Eq. 15"),
    kind=Kind.SYMBOLIC,
    formula="argmin of p1/(γ1 √n1) + p2/(γ2 √n2) at γ1 + γ2 = β has γ_k ∝ p_k^(1/2) n_k^(-1/4)",
    wrong={
        "Eq. 15": {"prior_exponent": Fraction(1, 4)},
        "priors ignored": {"prior_exponent": Fraction(0)},
        "linear in the prior": {"prior_exponent": Fraction(1)},
    },
    exhaustive=True,
)
def prior_optimum(prior_exponent=None):
    """For known test priors p the optimal margins are proportional to p^(1/2) n^(-1/4)."""
    square = prior_exponent in (None, Fraction(1, 2))  # then priors that are squares keep the algebra rational
    priors = np.array([p1**2, p2**2] if square else [p1, p2], dtype=object)
    costs, power = bound_costs(COUNTS, priors)
    shares = minimising_shares(costs, power)
    if prior_exponent is not None:
        weights = priors ** sp.Rational(prior_exponent) * COUNTS ** sp.Rational(-1, 4)
        shares = weights / weights.sum()
    return _minimiser(Derivation(), total * shares[0], costs, power)


@claim(
    "ldam.test_prior_rule",
    source=cite("cao2019", "App. C.5, Eq. 15"),
    kind=Kind.SYMBOLIC,
    formula="argmin of p1/(γ1 √n1) + p2/(γ2 √n2) at γ1 + γ2 = β has γ_k ∝ (p_k / n_k)^(1/4)",
    expected="fails",
    corrected_by="ldam.test_prior_optimum",
    right={"prior_exponent": Fraction(1, 2)},
    wrong={"priors ignored": {"prior_exponent": Fraction(0)}, "linear in the prior": {"prior_exponent": Fraction(1)}},
)
def eq15_rule(prior_exponent=Fraction(1, 4)):
    """For known test class sizes n' the margins (n'/n)^(1/4), a rule given without proof, minimise the bound."""
    return prior_optimum(prior_exponent)


@claim(
    "ldam.test_prior_balanced",
    source=cite("cao2019", "App. C.5, Eq. 15"),
    kind=Kind.SYMBOLIC,
    formula="ratio of the optimal margins / ratio by Eq. 15 = (p1/p2)^(1/4), which is 1 iff p1 = p2",
    wrong={"always equal": {"power": 0}, "(p1/p2)^(1/2)": {"power": sp.Rational(1, 2)}},
    exhaustive=True,
)
def balanced_priors(power=sp.S.One / 4):
    """Eq. 15 and the optimum agree exactly when the test classes are balanced, and then both are LDAM's n^(-1/4)."""
    shares = minimising_shares(*bound_costs(COUNTS, np.array([p1, p2], dtype=object)))
    eq15 = ((p1 / n1) / (p2 / n2)) ** sp.Rational(1, 4)
    balanced = (shares[0] / shares[1]).subs(p1, p2)
    return (
        Derivation()
        .equal("balanced: the optimum is n^(-1/4)", balanced, (n2 / n1) ** sp.Rational(1, 4))
        .equal("balanced: so is Eq. 15", eq15.subs(p1, p2), (n2 / n1) ** sp.Rational(1, 4))
        .equal("in general they differ by", shares[0] / shares[1] / eq15, (p1 / p2) ** power)
    )


@claim(
    "ldam.test_prior_values",
    source=cite("tailbound", "Cao et al., Eq. 15 evaluated"),
    kind=Kind.NUMERIC,
    formula="p = (0.9, 0.1), n = (100, 5000), β = 1: 0.11398 optimum, 0.11747 Eq. 15 (slope -0.0889), 0.12902 n^(-1/4)",
    relation=Relation.EQUAL,
    rtol=5e-5,
    wrong={"Eq. 15 with exponent 1/2": {"power": 0.5}, "Eq. 15 attains the optimum": {"eq15": 0.11398}},
)
def prior_values(power=0.25, eq15=0.11747):
    """The published rule costs 3 % of the bound at this point, ignoring the priors 13 %."""
    priors, counts = np.array([0.9, 0.1]), np.array([100.0, 5000.0])
    costs, exponent = bound_costs(counts, priors)

    def bound(share):
        return inverse_margin_sum(np.array([share, 1 - share]), costs, exponent)

    best: Any = minimize_scalar(bound, bounds=(1e-3, 1 - 1e-3), method="bounded", options={"xatol": 1e-12})
    rule = (priors / counts) ** power
    at_rule, at_ldam = rule[0] / rule.sum(), power_shares(counts, LDAM_EXPONENT)[0]
    slope = (bound(at_rule + 1e-6) - bound(at_rule - 1e-6)) / 2e-6
    computed = [best.fun, bound(at_rule), bound(at_ldam), round(slope, 4)]
    return computed, [0.11398, eq15, 0.12902, -0.0889]


def _joint_marginal(exponent, target):
    costs, power = bound_costs(np.array([n], dtype=object), n if target == "standard" else sp.Integer(1), "joint")
    term = inverse_margin_sum(np.array([first], dtype=object), costs, power)
    at = sp.diff(term, first).subs(first, c * n ** sp.Rational(exponent))
    return (
        Derivation()
        .positive("each class's term is strictly convex in its margin", sp.diff(term, first, 2))
        .equal("at γ = c n^e the marginal gain is the same for every n", at, at.subs(n, 1))
    )


@claim(
    "ldam.joint_balanced_exponent",
    source=cite("tailbound", "joint symmetrisation of the balanced loss; compare Cortes et al. (2025)"),
    kind=Kind.SYMBOLIC,
    formula="argmin of √(Σ 1/(n_k γ_k²)) at fixed Σ γ_k has γ_k ∝ n_k^(-1/3)",
    wrong={"LDAM's -1/4": {"exponent": Fraction(-1, 4)}, "+1/3": {"exponent": Fraction(1, 3)}},
    exhaustive=True,
)
def joint_balanced_exponent(exponent=Fraction(-1, 3)):
    """The joint complexity of the balanced error, tighter than the sum of per-class bounds, is minimal at n^(-1/3)."""
    return _joint_marginal(exponent, "balanced")


@claim(
    "ldam.joint_standard_exponent",
    source=cite("tailbound", "form of the complexity: Cortes et al. (2025), arXiv:2502.10381"),
    kind=Kind.SYMBOLIC,
    formula="argmin of √(Σ n_k/γ_k²) at fixed Σ γ_k has γ_k ∝ n_k^(+1/3)",
    wrong={"-1/3": {"exponent": Fraction(-1, 3)}, "+1/4": {"exponent": Fraction(1, 4)}},
    exhaustive=True,
)
def joint_standard_exponent(exponent=Fraction(1, 3)):
    """For the ordinary, imbalanced error the joint bound wants the larger margin for the more frequent class."""
    return _joint_marginal(exponent, "standard")


@claim(
    "ldam.joint_tighter",
    source=cite("tailbound", "norm inequality"),
    kind=Kind.SYMBOLIC,
    formula="√(Σ u_k²) <= Σ u_k with u_k = p_k / (γ_k √n_k), for any K",
    wrong={"smaller by √2 always": {"factor": 2}},
    exhaustive=True,
)
def joint_tighter(factor=1):
    """The joint complexity never exceeds the sum of the per-class complexities (induction over the classes)."""
    S, u = sp.symbols("S u", positive=True)
    slack = sp.Symbol("r", nonnegative=True)
    squares = S**2 - slack  # induction hypothesis: Σ u² = S² - r with r >= 0
    return (
        Derivation()
        .equal("one class: both are u", sp.sqrt(u**2), u)
        .equal(
            "adding a class adds 2 S u to the difference of squares", (S + u) ** 2 - (squares + u**2), slack + 2 * S * u
        )
        .positive("so Σ u² stays below (Σ u)²", (S + u) ** 2 - factor * (squares + u**2))
    )


@claim(
    "ldam.joint_complexity",
    source=cite("tailbound", "joint symmetrisation"),
    kind=Kind.NUMERIC,
    formula="E_σ sup_{|w|<=Λ} Σ_i σ_i <w, x_i> / (K n_y γ_y) <= (Λ r / K) √(Σ_k 1/(n_k γ_k²)) for |x_i| <= r",
    relation=Relation.AT_MOST,
    cases=cases(counts=[(2, 1), (6, 2), (8, 3)], margins=[(1.0, 1.0), (0.5, 1.5)]),
    wrong={"half of it": {"factor": 0.5}},
)
def joint_complexity(counts, margins, factor=1.0):
    """The weighted Rademacher complexity of a linear class, all signs enumerated, obeys the stated bound."""
    labels = np.repeat(np.arange(len(counts)), counts)
    angles = np.arange(len(labels)) * np.pi * (np.sqrt(5) - 1)  # well-spread unit vectors, r = Λ = 1
    weights = 1 / (len(counts) * np.array(counts)[labels] * np.array(margins)[labels])
    points = weights[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
    signs = np.array(list(product([-1, 1], repeat=len(labels))))
    computed = np.linalg.norm(signs @ points, axis=1).mean()  # sup over |w| <= 1 of <w, v> is |v|
    costs, power = bound_costs(np.array(counts, dtype=float), np.full(len(counts), 1 / len(counts)), "joint")
    return computed, factor * inverse_margin_sum(np.array(margins), costs, power) ** 0.5


@claim(
    "ldam.angle_rule",
    source=cite("hasegawa2025", "1-vs-1 rule; compared with LDAM's exponent"),
    kind=Kind.SYMBOLIC,
    formula="θ_ab = ρ n_b^τ / (n_a^τ + n_b^τ), τ = 1/2: θ_ab / θ_ba = (n_a/n_b)^(-1/2), θ_ab + θ_ba = ρ",
    wrong={"LDAM's exponent": {"exponent": LDAM_EXPONENT}},
    exhaustive=True,
)
def angle_rule(exponent=Fraction(-1, 2)):
    """MLA's angular margins are proportional to n^(-1/2): the square of LDAM's ratio."""
    rho, tau = sp.Symbol("rho", positive=True), sp.Rational(1, 2)
    angle = [rho * n2**tau / (n1**tau + n2**tau), rho * n1**tau / (n1**tau + n2**tau)]
    shares = power_shares(COUNTS, exponent)
    return (
        Derivation()
        .equal("the two angles share ρ", angle[0] + angle[1], rho)
        .equal("their ratio is a power of the counts", angle[0] / angle[1], shares[0] / shares[1])
    )


@claim(
    "ldam.margin_values",
    source=cite("cao2019", "Sec. 4, largest margin 0.5"),
    kind=Kind.NUMERIC,
    formula="CIFAR-10-LT: margins 0.1581 … 0.5 at ratio 100, 0.2812 … 0.5 at ratio 10; C = 0.5 n_min^(1/4)",
    relation=Relation.EQUAL,
    atol=5e-5,
    cases=({"ratio": 10, "smallest": 0.2812}, {"ratio": 100, "smallest": 0.1581}),
    wrong={"exponent -1/3": {"exponent": Fraction(-1, 3)}},
)
def margin_values(ratio, smallest, exponent=LDAM_EXPONENT):
    """On CIFAR-10-LT the most frequent class gets 0.1581 of the rarest class's 0.5 at ratio 100, 0.2812 at ratio 10.

    The three scalings, by largest margin, constant and total, agree.
    """
    counts = ClassCounts.long_tailed(ratio, num_classes=10, largest=5000)
    margins = class_margins(counts, exponent=exponent)
    same = class_margins(counts, exponent=exponent, constant=0.5 * min(counts.counts) ** -float(exponent))
    again = class_margins(counts, exponent=exponent, total=margins.sum())
    return [[m.min(), m.max()] for m in (margins, same, again)], [[smallest, 0.5]] * 3
