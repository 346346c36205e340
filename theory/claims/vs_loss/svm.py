"""The cost-sensitive SVM itself: its path in the margin ratio, where that fails, weights, groups, the inner loop."""

from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np
import sympy as sp

from ...core.claims import ClaimError, Kind, Relation, Sides, cases, claim
from ...core.derivation import Derivation
from ...core.points import separable_points
from ...core.sources import cite
from ...vs_loss.svm import margin_ratio_path, solve_multiclass_svm, solve_svm

F = Fraction
RATIOS = (0.05, 0.3, 1.0, 4.0, 50.0)
SIZES = ({"minority": 3, "dimension": 2}, {"minority": 4, "dimension": 4}, {"minority": 2, "dimension": 6})
TWO_POINTS: tuple = ((1, 0), (-1, -1)), (1, -1)
TWO_PAIRS: tuple = ((1, 2), (3, 0), (-1, 0), (-2, 1)), (1, 1, -1, -1)


def _required(labels, ratio):
    return np.where(labels > 0, ratio, 1.0)


def _overlapping(minority, majority, dimension):
    """Points of two classes that no hyperplane separates."""
    features, labels = separable_points(minority, majority, dimension)
    features[:, 0] -= 0.45 * labels
    return features, labels


def _exact_machine(points, labels, required, intercept):
    """(w, b) of the hard-margin SVM in rationals: the one active set whose equations meet all conditions."""
    X, y, r = sp.Matrix(points), sp.Matrix(labels), sp.Matrix([sp.Rational(str(each)) for each in required])
    if intercept == "penalised":
        X = X.row_join(sp.ones(X.rows, 1))
    rows = sp.diag(*labels) * X
    for size in range(1, X.rows + 1):
        for active in map(list, combinations(range(X.rows), size)):
            block = rows.extract(active, list(range(X.cols)))
            system, right = block * block.T, r.extract(active, [0])
            if intercept == "free":
                border = y.extract(active, [0])
                system = sp.Matrix([[system, border], [border.T, sp.zeros(1)]])
                right = right.col_join(sp.zeros(1))
            if system.det() == 0:
                continue
            solution = system.LUsolve(right)
            dual, b = solution[:size], solution[size] if intercept == "free" else 0
            w = block.T * sp.Matrix(dual)
            if min(dual) >= 0 and min(rows * w + b * y - r) >= 0:
                found = [F(int(each.p), int(each.q)) for each in [*w, sp.sympify(b)]]
                return found[:-1] if intercept == "penalised" else found
    raise ClaimError(f"no active set solves the machine of {points}: the classes are not separable")


@claim(
    "vs_loss.svm_path",
    source=cite("lyu2026", "Proposition C.1"),
    kind=Kind.CONVEX,
    formula="δ from 0.05 to 50: w_δ = ((δ+1)/2) w_1, b_δ = ((δ+1)/2) b_1 + (δ-1)/2, each w_δ by a solve of its own",
    relation=Relation.EQUAL,
    atol=1e-6,
    rtol=1e-6,
    cases=SIZES,
    wrong={
        "without an intercept": {"intercept": "none"},
        "penalised intercept": {"intercept": "penalised"},
        "ratio squared": {"power": 2},
        "majority favoured": {"power": -1},
    },
    assumptions=("separable data", "a free, unpenalised intercept"),
)
def svm_path(minority, dimension, intercept="free", power=1):
    """One solve gives the machines of all margin ratios; cvxpy, and the inner loop, solve each of them anew."""
    from ...vs_loss.programs import cost_sensitive_svm

    features, labels = separable_points(minority, 6 * minority, dimension)
    gram = features @ features.T
    plain = replace(solve_svm(gram, labels, intercept=intercept), intercept_kind="free")
    path = margin_ratio_path(plain, np.power(RATIOS, power))
    anew, gaps = [], []
    for ratio in RATIOS:
        w, b, certificate = cost_sensitive_svm(features, labels, ratio, intercept=intercept)
        machine = solve_svm(gram, labels, _required(labels, ratio), intercept=intercept)
        anew.append([*w, b, *(machine.coefficients @ features), machine.intercept])
        gaps.append(certificate.gap)
    stated = np.column_stack([path.coefficients @ features, path.intercepts])
    return Sides(anew, np.column_stack([stated, stated]), note=f"duality gaps of the oracle {max(gaps):.1e}")


def _exact_path(data, ratio, intercept, by_group=None):
    points, labels = data
    toward = by_group or labels
    plain = _exact_machine(points, labels, [1] * len(labels), intercept)
    computed = _exact_machine(points, labels, [ratio if each == 1 else 1 for each in toward], intercept)
    growth = (ratio + 1) / F(2)
    *w, b = [growth * each for each in plain]
    return computed, [*w, b + (0 if intercept == "none" else (ratio - 1) / F(2))]


@claim(
    "vs_loss.svm_path_without_intercept",
    source=cite("tailbound", "the path of Lyu et al. (2026), Proposition C.1, read for machines without an intercept"),
    kind=Kind.EXACT,
    formula="without an intercept w_δ = ((δ+1)/2) w_1",
    cases=({"ratio": F(1, 2)},),
    expected="fails",
    corrected_by="vs_loss.svm_path",
    right={"intercept": "free"},
    wrong={"another ratio": {"ratio": F(3)}, "other points": {"data": TWO_PAIRS}},
)
def svm_path_without_intercept(ratio, intercept="none", data=TWO_POINTS):
    """Without an intercept too, the machine of every ratio points in the direction of the plain one.

    Two points in the plane refute it, in rational arithmetic.
    """
    return _exact_path(data, ratio, intercept)


@claim(
    "vs_loss.svm_path_penalised",
    source=cite("tailbound", "the path of Lyu et al. (2026), Proposition C.1, read for machines on (x, 1)"),
    kind=Kind.EXACT,
    formula="with b² in the objective w_δ = ((δ+1)/2) w_1, b_δ = ((δ+1)/2) b_1 + (δ-1)/2",
    cases=({"ratio": F(1, 2)},),
    expected="fails",
    corrected_by="vs_loss.svm_path",
    right={"intercept": "free"},
    wrong={"another ratio": {"ratio": F(3)}, "other points": {"data": TWO_PAIRS}},
)
def svm_path_penalised(ratio, intercept="penalised", data=TWO_POINTS):
    """The path holds for an intercept penalised like a weight, as descent on (w, b) and the SVM on (x, 1) have it.

    The shift of b costs there, so the machine turns instead; two points in the plane show it exactly.
    """
    return _exact_path(data, ratio, intercept)


@claim(
    "vs_loss.svm_path_by_group",
    source=cite("tailbound", "the path of Lyu et al. (2026), Proposition C.1, read for groups"),
    kind=Kind.EXACT,
    formula="margin δ for one group, 1 for the other: w_δ = ((δ+1)/2) w_1",
    cases=({"ratio": F(2)},),
    expected="fails",
    corrected_by="vs_loss.svm_path",
    right={"groups": None},
    wrong={"another ratio": {"ratio": F(1, 2)}, "other groups": {"groups": (-1, 1, 1, -1)}},
)
def svm_path_by_group(ratio, groups=(1, -1, -1, 1)):
    """A ratio between groups, which cut across the classes, moves the threshold alone, as one between classes does.

    It turns the machine: no intercept serves both classes of a group.
    """
    return _exact_path(TWO_PAIRS, ratio, "free", groups)


@claim(
    "vs_loss.svm_soft_path",
    source=cite("tailbound", "the path of Lyu et al. (2026), Proposition C.1, with hinge terms"),
    kind=Kind.CONVEX,
    formula="soft margin: w_δ(C) = ((δ+1)/2) w_1(2C/(δ+1)), b alike with the shift (δ-1)/2",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=cases(ratio=[0.2, 3.0], cost=[1.0, 20.0]),
    wrong={"the same C": {"power": 0}, "C(δ+1)/2": {"power": 1}, "penalised intercept": {"intercept": "penalised"}},
    assumptions=("a free, unpenalised intercept; the data need not be separable",),
)
def svm_soft_path(ratio, cost, power=-1, intercept="free"):
    """With a soft margin a ratio is the plain machine at another C: it moves the threshold and softens the margin."""
    from ...vs_loss.programs import margin_svm

    features, labels = _overlapping(8, 16, 3)
    w, b, certificate = margin_svm(features, labels, _required(labels, ratio), intercept=intercept, upper=cost)
    growth = (ratio + 1) / 2
    plain = solve_svm(features @ features.T, labels, intercept=intercept, upper=cost * growth**power)
    stated = growth * np.append(plain.coefficients @ features, plain.intercept)
    stated[-1] += (ratio - 1) / 2
    return Sides([*w, b], stated, note=f"duality gap {certificate.gap:.1e}")


@claim(
    "vs_loss.svm_class_weights",
    source=cite("tailbound", "weighted hinge losses; cf. Kini et al. (2021), Theorem 1"),
    kind=Kind.CONVEX,
    formula="C min(ω_+, ω_-) >= max a_i of the plain hard-margin SVM: weights C ω_y leave (w, b) as they are",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=cases(weights=[(1.0, 1.0), (9.0, 1.0), (1.0, 9.0)], intercept=["free", "none"]),
    wrong={
        "half of it": {"least": 0.5},
        "margins move too": {"ratio": 3.0},
        "margins by the other class": {"ratio": 1 / 3},
    },
    assumptions=("separable data",),
)
def svm_class_weights(weights, intercept, least=1.0, ratio=1.0):
    """On separable data class weights do nothing; required margins do.

    A weight only bounds the dual variables. Once they have room the machine is the hard-margin one: `class_weight` of
    a support vector machine says nothing about the boundary of separable classes.
    """
    from ...vs_loss.programs import cost_sensitive_svm

    features, labels = separable_points(4, 20, 3)
    gram = features @ features.T
    bounds = least * np.where(labels > 0, *weights) / min(weights)
    bounds *= solve_svm(gram, labels, intercept=intercept).dual.max()
    weighted = solve_svm(gram, labels, _required(labels, ratio), intercept=intercept, upper=bounds)
    w, b, certificate = cost_sensitive_svm(features, labels, intercept=intercept)
    found = np.append(weighted.coefficients @ features, weighted.intercept)
    return Sides(found, [*w, b], note=f"duality gap {certificate.gap:.1e}")


@claim(
    "vs_loss.svm_penalised_intercept",
    source=cite("tailbound", "the SVM on features (x, B), in the limit of Kini et al. (2021) for descent on (w, b)"),
    kind=Kind.CONVEX,
    formula="b_B = b / (1 + ρ²/B²), b of the free intercept, ρ the distance of 0 from the hull of its support vectors",
    relation=Relation.EQUAL,
    rtol=1e-6,
    cases=cases(scale=[10.0, 30.0, 100.0], ratio=[1.0, 4.0]),
    wrong={
        "1/B": {"power": 1},
        "1/B⁴": {"power": 4},
        "distance of their mean": {"of_mean": True},
        "no difference": {"power": np.inf},
    },
    assumptions=("affine hull; B so large that the support vectors are those of the free intercept",),
)
def svm_penalised_intercept(scale, ratio, power=2, of_mean=False):
    """A bias learnt as the weight of a constant feature B is not the free intercept: it falls short by ρ²/B² of itself.

    The machine on (x, 1), which descent on weights and bias finds, is the case B = 1.
    """
    from ...vs_loss.programs import cost_sensitive_svm

    features, labels = separable_points(4, 12, 6)
    features += 0.5
    free = solve_svm(features @ features.T, labels, _required(labels, ratio))
    with_constant = np.column_stack([features, np.full(len(labels), scale)])
    w, _, certificate = cost_sensitive_svm(with_constant, labels, ratio, intercept="none")
    hull = features[free.support]
    least = np.linalg.lstsq((hull[1:] - hull[0]).T, -hull[0], rcond=None)[0]
    nearest = hull.mean(axis=0) if of_mean else hull[0] + (hull[1:] - hull[0]).T @ least
    share = nearest @ nearest / scale**power if np.isfinite(power) else 0.0
    return Sides(scale * w[-1], free.intercept / (1 + share), note=f"duality gap {certificate.gap:.1e}")


@claim(
    "vs_loss.svm_penalised_intercept_steps",
    source=cite("tailbound", "the conditions of optimality, at a fixed set of support vectors"),
    kind=Kind.SYMBOLIC,
    formula="G a + b 1 = t, 1'a = b/B²: b_B = b / (1 + ρ²/B²) with 1/ρ² = 1'G⁻¹1",
    wrong={"1'a = b/B": {"power": 1}, "ρ² = 1'G⁻¹1": {"inverse": 1}},
    exhaustive=True,
    assumptions=("G: Gram matrix of the support vectors, regular; t: their signed required margins",),
)
def svm_penalised_intercept_steps(power=2, inverse=-1):
    """Eliminating the dual variables from the two conditions leaves one equation for the bias."""
    S, T, B = sp.symbols("S T B", positive=True)  # 1'G⁻¹1 and 1'G⁻¹t
    b, free = sp.symbols("b b_free", real=True)
    bias = sp.solve(sp.Eq(T - b * S, b / B**power), b)[0]  # a = G⁻¹(t - b 1) summed
    unpenalised = sp.solve(sp.Eq(T - free * S, 0), free)[0]
    return (
        Derivation()
        .equal("the bias with feature B", bias, unpenalised / (1 + S**inverse / B**2))
        .equal("tends to the free one", sp.limit(bias, B, sp.oo), unpenalised)
        .equal("and their difference falls like", sp.limit(B**2 * (unpenalised - bias), B, sp.oo), unpenalised / S)
    )


@claim(
    "vs_loss.svm_inner_loop",
    source=cite("tailbound", "weak duality; programs of Kini et al. (2021)"),
    kind=Kind.CONVEX,
    formula="(w, b) from the dual by active sets = (w, b) from the primal by an interior-point method",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=cases(intercept=["free", "none", "penalised"], margins=["class", "group"], cost=[None, 3.0]),
    wrong={
        "margins forgotten": {"forget": True},
        "C doubled": {"factor": 2.0, "cost": 3.0},
        "hard for soft": {"harden": True, "cost": 3.0},
    },
)
def svm_inner_loop(intercept, margins, cost, forget=False, factor=1.0, harden=False):
    """The fast solver and the readable program give the same machine: by class, by group, hard, soft, any intercept."""
    from ...vs_loss.programs import margin_svm

    features, labels = separable_points(4, 16, 3)
    members = labels if margins == "class" else np.where(np.arange(len(labels)) % 3 == 0, 1.0, -1.0)
    required = _required(members, 3.0)
    w, b, certificate = margin_svm(features, labels, required, intercept=intercept, upper=cost)
    ours = solve_svm(
        features @ features.T,
        labels,
        1.0 if forget else required,
        intercept=intercept,
        upper=None if cost is None or harden else factor * cost,
    )
    note = f"gaps {certificate.gap:.1e} and {ours.certificate.gap:.1e}, relative"
    return Sides([*w, b], [*(ours.coefficients @ features), ours.intercept], note=note)


@claim(
    "vs_loss.svm_certificate",
    source=cite("tailbound", "weak duality"),
    kind=Kind.CONVEX,
    formula="dual bound of the one solver <= primal value of the other, both ways",
    relation=Relation.AT_MOST,
    rtol=1e-9,
    cases=cases(dimension=[2, 4, 6], cost=[None, 3.0]),
    wrong={"bounds raised by 1e-6": {"raised": 1e-6}},
)
def svm_certificate(dimension, cost, raised=0.0):
    """Each solver's proved lower bound lies below the value that the other reaches."""
    from ...vs_loss.programs import margin_svm

    features, labels = separable_points(4, 20, dimension)
    required = _required(labels, 3.0)
    _, _, oracle = margin_svm(features, labels, required, upper=cost)
    ours = solve_svm(features @ features.T, labels, required, upper=cost).certificate
    grow = 1 + raised
    return [grow * ours.dual, grow * oracle.bound], [oracle.value, ours.primal]


@claim(
    "vs_loss.svm_multiclass",
    source=cite("kini2021", "multi-class CS-SVM"),
    kind=Kind.CONVEX,
    formula="K classes, Δ_y f_y - Δ_c f_c >= r_y for every rival c: dual by active sets = primal by cvxpy",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=(
        {"factors": (0.4, 1.0, 1.0), "required": (1.0, 1.0, 1.0)},
        {"factors": (1.0, 1.0, 1.0), "required": (3.0, 1.0, 0.5)},
        {"factors": (0.4, 1.0, 2.0), "required": (1.0, 2.0, 1.0), "intercept": "penalised"},
        {"factors": (0.4, 1.0, 2.0), "required": (1.0, 2.0, 1.0), "intercept": "none", "cost": 0.5},
    ),
    wrong={
        "factors inverted": {"inverted": True, "factors": (0.4, 1.0, 2.0)},
        "margins as factors": {"exchanged": True, "required": (3.0, 1.0, 0.5)},
    },
)
def svm_multiclass(factors, required, intercept="free", cost=None, inverted=False, exchanged=False):
    """The multi-class cost-sensitive machine, by factors of the scores or by required margins, from one Gram matrix."""
    from ...vs_loss.programs import multiclass_svm

    features, _ = separable_points(6, 12, 6)
    labels = np.arange(len(features)) % 3
    features[np.arange(len(features)), labels] += 1.0
    margins = np.array(required)[labels]
    W, b, certificate = multiclass_svm(features, labels, margins, delta=factors, intercept=intercept, upper=cost)
    if exchanged:
        factors, margins = 1 / np.array(required), 1.0
    ours = solve_multiclass_svm(
        features @ features.T,
        labels,
        margins,
        delta=1 / np.array(factors) if inverted else factors,
        intercept=intercept,
        upper=cost,
    )
    found = np.column_stack([ours.coefficients.T @ features, ours.intercept])
    return Sides(np.column_stack([W, b]), found, note=f"gaps {certificate.gap:.1e} and {ours.certificate.gap:.1e}")
