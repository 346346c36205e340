"""The optimal rules: the threshold as a price, the linear program, value function, ties, coverage, class averages."""

from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from ...average_k.rules import (
    AmbiguityProfile,
    Threshold,
    average_k_inclusion,
    average_k_threshold,
    dual_value,
    expected_size,
    macro_scores,
    top_k_inclusion,
)
from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from .problems import exact_profile, numbered_profile

HALF = Fraction(1, 2)
BUDGETS = (Fraction(3, 10), Fraction(1), Fraction(3, 2), Fraction(2), Fraction(4))


def _rule(profile, mean_size):
    return average_k_inclusion(
        profile.probabilities, average_k_threshold(profile.probabilities, mean_size, profile.weights)
    )


@claim(
    "average_k.optimal_rule",
    source=cite("lorieul2021", "the average-K rule"),
    kind=Kind.SYMBOLIC,
    formula="E Σ η_k s_k <= λ K + E Σ (η_k - λ)_+ for s in [0, 1] with E Σ s_k <= K, with equality for thresholding",
    wrong={"labels below the threshold": {"above": 0}, "a budget of K / 2": {"budget": sp.Rational(1, 2)}},
    exhaustive=True,
    assumptions=("λ >= 0; any distribution of η(X)",),
)
def optimal_rule(above=1, budget=1):
    """Thresholding η at λ, with ties filling the budget, has the least error of all rules of mean size K.

    The steps are for one label of one input; the expectation adds them up.
    """
    t, u, size, slack, price = sp.symbols("t u size slack lambda", nonnegative=True)
    return (
        Derivation()
        .nonnegative("η = λ + t, s = 1 - u: the label is worth no more than its excess", sp.Max(t, 0) - t * (1 - u))
        .nonnegative("η = λ - t, s = u: nor is one below", sp.Max(-t, 0) + t * u)
        .nonnegative(
            "and labels within the budget K = size + slack cost no more", price * (budget * (size + slack) - size)
        )
        .equal("a label above λ is in the set: nothing is lost", sp.Max(t, 0) - t * above, 0)
        .equal("a label below λ is not: nothing is lost", sp.Max(-t, 0) + t * (1 - above), 0)
        .equal("at λ any fraction s loses nothing", sp.Max(0 * t, 0) - 0 * t * u, 0)
        .equal("and ties fill the budget: no slack", price * (budget * size - size), 0)
    )


@claim(
    "average_k.optimal_rule_lp",
    source=cite("lorieul2021", "the average-K rule"),
    kind=Kind.CONVEX,
    formula="max E Σ η_k s_k over 0 <= s <= 1, E Σ s_k <= K: the accuracy of the threshold rule; its multiplier is a λ",
    relation=Relation.EQUAL,
    atol=1e-7,
    cases=tuple({"number": n, "mean_size": float(K)} for n, K in zip((0, 3, 5, 8, 12), BUDGETS, strict=True)),
    wrong={
        "top-K": {"rule": "top", "number": 3, "mean_size": 1},
        "all ties in": {"ties": 1, "number": 3, "mean_size": 1.0},
        "no ties in": {"ties": 0, "number": 3, "mean_size": 1.0},
    },
)
def optimal_rule_lp(number, mean_size, rule="average", ties=None):
    """A linear program that knows only the definitions finds the accuracy of the rule, and its multiplier proves it."""
    profile = numbered_profile(number)
    value, multiplier, gap = _solve_rule(profile, mean_size)
    if rule == "top":
        inclusion = top_k_inclusion(profile.probabilities, mean_size)
    else:
        threshold = average_k_threshold(
            profile.probabilities, Fraction(mean_size).limit_denominator(100), profile.weights
        )
        inclusion = average_k_inclusion(
            profile.probabilities, threshold if ties is None else Threshold(threshold.value, ties)
        )
    accuracy = float(1 - profile.error(inclusion))
    computed = [value, float(dual_value(profile, mean_size, multiplier))]
    return Sides(computed, [accuracy] * 2, [gap, 0.0], note=f"multiplier {multiplier:.6g}, duality gap {gap:.1e}")


@claim(
    "average_k.value_function",
    source=cite("tailbound", "from the rule of Lorieul et al. (2021)"),
    kind=Kind.EXACT,
    formula="1 - E_avg(K) = ∫_0^K G^{-1}(s) ds = min over λ >= 0 of λ K + E Σ (η_k - λ)_+",
    cases=cases(number=[0, 3, 5, 8], mean_size=list(BUDGETS)),
    wrong={"K G^{-1}(K)": {"rectangle": True}, "without the price of the budget": {"budget": 0}},
)
def value_function(number, mean_size, rectangle=False, budget=1):
    """The accuracy is the integral of the inverse size function and the least dual value, on exact problems."""
    profile = numbered_profile(number)
    levels = sorted({*profile.probabilities.ravel(), Fraction(0)}, reverse=True)
    reached = [min(expected_size(profile, level), mean_size) for level in levels]
    steps = np.diff(np.array([0, *reached], dtype=object))
    integral = sum(level * step for level, step in zip(levels, steps, strict=True))
    if rectangle:
        integral = mean_size * average_k_threshold(profile.probabilities, mean_size, profile.weights).value
    least = min(dual_value(profile, budget * mean_size, level) for level in levels)
    return [integral, least], [1 - profile.error(_rule(profile, mean_size))] * 2


@claim(
    "average_k.label_price",
    source=cite("tailbound", "from the value function of average-K"),
    kind=Kind.EXACT,
    formula="d λ_{K+d} <= E_avg(K) - E_avg(K + d) <= d λ_K",
    relation=Relation.AT_MOST,
    cases=cases(number=[0, 3, 5, 8, 12], mean_size=list(BUDGETS[:-1]), more=[Fraction(1, 20), HALF]),
    wrong={"λ_K from below": {"order": -1, "more": HALF}},
)
def label_price(number, mean_size, more, order=1):
    """The error is convex in the mean size with slope -λ_K: a size error of d changes the error by about λ d."""
    profile = numbered_profile(number)
    sizes = (mean_size, mean_size + more)
    before, after = (average_k_threshold(profile.probabilities, size, profile.weights).value for size in sizes)
    saved = profile.error(_rule(profile, sizes[0])) - profile.error(_rule(profile, sizes[1]))
    low, high = (after, before)[::order]
    return [more * low, saved], [saved, more * high]


@claim(
    "average_k.tie_rule",
    source=cite("tailbound", "ties at the threshold of Lorieul et al. (2021)"),
    kind=Kind.EXACT,
    formula="E Σ s_k = K with s = (K - G(λ+)) / (G(λ) - G(λ+)) at the threshold",
    cases=cases(number=[0, 3, 5, 8, 12], mean_size=list(BUDGETS)),
    wrong={"every tie in (>=)": {"ties": 1, "number": 3}, "every tie out (>)": {"ties": 0, "number": 3}},
)
def tie_rule(number, mean_size, ties=None):
    """With that part of the ties the mean size is exactly K, whatever the atoms."""
    profile = numbered_profile(number)
    threshold = average_k_threshold(profile.probabilities, mean_size, profile.weights)
    if ties is not None:
        threshold = Threshold(threshold.value, ties)
    return profile.mean(average_k_inclusion(profile.probabilities, threshold)), mean_size


@claim(
    "average_k.coverage_duality",
    source=cite("sadinle2019", "least ambiguous sets with bounded error"),
    kind=Kind.CONVEX,
    formula="min E|Γ| subject to error <= E_avg(K) is K, where λ_K > 0",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=tuple({"number": n, "mean_size": float(K)} for n, K in zip((0, 3, 5, 8), BUDGETS[:-1], strict=True)),
    wrong={"at the error of top-K": {"rule": "top", "number": 3, "mean_size": 1}},
)
def coverage_duality(number, mean_size, rule="average"):
    """Least error at a mean size and least mean size at an error are the same curve."""
    profile = numbered_profile(number)
    if rule == "top":
        error = profile.error(top_k_inclusion(profile.probabilities, mean_size))
    else:
        error = profile.error(_rule(profile, Fraction(mean_size).limit_denominator(100)))
    value, gap = _solve_size(profile, float(error))
    return Sides(value, mean_size, gap, note=f"duality gap {gap:.1e}")


@claim(
    "average_k.conditional_coverage",
    source=cite("tailbound", "against the least ambiguous sets of Sadinle et al. (2019)"),
    kind=Kind.EXACT,
    formula="the smallest sets with coverage 1 - a at every input have the least mean size for their coverage",
    cases=({"rows": ((15, 3, 2, 0), (6, 6, 4, 4)), "level": Fraction(4, 5)},),
    expected="fails",
    corrected_by="average_k.coverage_duality",
    right={"rows": ((15, 3, 2, 0), (3, 15, 0, 2))},
    wrong={"another level": {"level": Fraction(9, 10), "rows": ((89, 6, 5, 0), (40, 30, 22, 8))}},
)
def conditional_coverage(rows, level):
    """Coverage at each input costs nothing. It does: a likelier label of another input is left out for a rarer one."""
    profile = exact_profile(rows)
    ranked = profile.ranked
    needed = (np.cumsum(ranked, axis=1) < level).sum(axis=1) + 1
    inside = (np.arange(ranked.shape[1]) < needed[:, None]) * Fraction(1)
    size, coverage = profile.mean(inside), profile.mean(inside * ranked)
    least, covered = Fraction(0), Fraction(0)
    masses = (profile.weights[:, None] * np.ones(ranked.shape, dtype=object)).ravel()
    for k in np.argsort(-ranked.ravel(), kind="stable"):
        part = min(Fraction(1), (coverage - covered) / (masses[k] * ranked.ravel()[k])) if covered < coverage else 0
        least, covered = least + part * masses[k], covered + part * masses[k] * ranked.ravel()[k]
    return size, least


@claim(
    "average_k.nonempty_rule",
    source=cite("tailbound", "average-K whose sets hold a label at least"),
    kind=Kind.CONVEX,
    formula="max E Σ η_k s_k at mean size K with Σ_k s_k >= 1 everywhere: first labels, η over a λ for K - 1 others",
    relation=Relation.EQUAL,
    atol=1e-7,
    cases=tuple({"number": n, "mean_size": float(K)} for n, K in zip((0, 3, 5, 8), BUDGETS[1:], strict=True)),
    wrong={"sets may be empty": {"nonempty": False, "number": 21, "mean_size": 1.0}},
)
def nonempty_rule(number, mean_size, nonempty=True):
    """Where empty sets are ruled out, the first label is free and a threshold of its own governs the others."""
    profile = numbered_profile(number)
    eta, size = profile.probabilities, Fraction(mean_size).limit_denominator(100)
    threshold = average_k_threshold(eta, size, profile.weights, nonempty=nonempty)
    inclusion = average_k_inclusion(eta, threshold, nonempty=nonempty)
    value, _, gap = _solve_rule(profile, mean_size, smallest=1)
    computed, stated = [value, mean_size], [1 - profile.error(inclusion), profile.mean(inclusion)]
    return Sides(computed, [float(side) for side in stated], [gap, 0.0], note=f"duality gap {gap:.1e}")


@claim(
    "average_k.forced_label",
    source=cite("tailbound", "average-K with a label added to empty sets"),
    kind=Kind.EXACT,
    formula="average-K with the first label put into every empty set has mean size K",
    cases=({"rows": ((5, 5, 0), (4, 3, 3)), "size": 1},),
    expected="fails",
    corrected_by="average_k.nonempty_rule",
    right={"rows": ((5, 5, 0), (6, 3, 1))},
    wrong={"three inputs": {"rows": ((4, 4, 0), (3, 3, 2), (4, 4, 0))}},
)
def forced_label(rows, size):
    """A label may be added to empty sets for nothing. The mean size then exceeds K, unless no set was empty."""
    profile = exact_profile(rows)
    inclusion = _rule(profile, size)
    forced = np.where((inclusion.sum(axis=1) == 0)[:, None], top_k_inclusion(profile.probabilities, 1), inclusion)
    return profile.mean(forced), Fraction(size)


@claim(
    "average_k.macro_rule",
    source=cite("tailbound", "average-K for the error averaged over classes"),
    kind=Kind.CONVEX,
    formula="max Σ_k P(k in Γ | Y = k) / C at mean size K is reached by thresholding η_k / (C π_k)",
    relation=Relation.EQUAL,
    atol=1e-7,
    cases=tuple({"number": n, "mean_size": float(K)} for n, K in zip((0, 3, 5, 8), BUDGETS[:-1], strict=True)),
    wrong={"thresholding η": {"corrected": False}},
)
def macro_rule(number, mean_size, corrected=True):
    """For the class-averaged error the scores are divided by the class priors before the threshold."""
    profile = numbered_profile(number)
    value, gap = _solve_macro(profile, mean_size)
    return Sides(value, float(_macro_accuracy(profile, Fraction(mean_size).limit_denominator(100), corrected)), gap)


@claim(
    "average_k.macro_by_eta",
    source=cite("garcin2021", "class-averaged average-K accuracy with one threshold on the softmax"),
    kind=Kind.EXACT,
    formula="thresholding η_k maximises Σ_k P(k in Γ | Y = k) / C at mean size K",
    cases=({"minority": Fraction(1, 10)},),
    expected="fails",
    corrected_by="average_k.macro_rule",
    right={"minority": HALF},
    wrong={"another imbalance": {"minority": Fraction(1, 20)}},
)
def macro_by_eta(minority):
    """One threshold on the probabilities is best for the class average too. With equal priors it is; else it is not."""
    likelihood = np.array([[7, 1], [2, 2], [1, 7]]) * Fraction(1, 10)
    joint = likelihood * np.array([minority, 1 - minority])
    weights = joint.sum(axis=1)
    profile = AmbiguityProfile(joint / weights[:, None], weights)
    return _macro_accuracy(profile, Fraction(1), False), _macro_accuracy(profile, Fraction(1), True)


def _macro_accuracy(profile, mean_size, corrected):
    scores = macro_scores(profile) if corrected else profile.probabilities
    inclusion = average_k_inclusion(scores, average_k_threshold(scores, mean_size, profile.weights))
    joint = profile.weights[:, None] * profile.probabilities
    return sum((joint * inclusion).sum(axis=0) / joint.sum(axis=0)) / joint.shape[1]


def _solve_rule(profile, mean_size, smallest=0):
    """The linear program of average-K with sets of a smallest size: accuracy, multiplier of the budget, duality gap."""
    import cvxpy as cp

    from ...core.convex import solve

    s, joint, weights = _program(profile)
    budget = weights @ cp.sum(s, axis=1) <= mean_size
    constraints = [s >= 0, s <= 1, budget, *([cp.sum(s, axis=1) >= smallest] if smallest else [])]
    certificate = solve(cp.Problem(cp.Maximize(cp.sum(cp.multiply(joint, s))), constraints))
    return certificate.value, float(budget.dual_value), certificate.gap  # pyright: ignore[reportArgumentType]


def _solve_size(profile, error):
    import cvxpy as cp

    from ...core.convex import solve

    s, joint, weights = _program(profile)
    covered = cp.sum(cp.multiply(joint, s)) >= 1 - error
    certificate = solve(cp.Problem(cp.Minimize(weights @ cp.sum(s, axis=1)), [s >= 0, s <= 1, covered]))
    return certificate.value, certificate.gap


def _solve_macro(profile, mean_size):
    import cvxpy as cp

    from ...core.convex import solve

    s, joint, weights = _program(profile)
    recalls = cp.multiply(1 / joint.sum(axis=0), cp.sum(cp.multiply(joint, s), axis=0))
    budget = weights @ cp.sum(s, axis=1) <= mean_size
    certificate = solve(cp.Problem(cp.Maximize(cp.sum(recalls) / joint.shape[1]), [s >= 0, s <= 1, budget]))
    return certificate.value, certificate.gap


def _program(profile) -> tuple[Any, np.ndarray, np.ndarray]:
    import cvxpy as cp

    weights = profile.weights.astype(float)
    return cp.Variable(profile.probabilities.shape), weights[:, None] * profile.probabilities.astype(float), weights
