"""What training data tell about the best margin ratio: leave-one-out margins, the training law and its limits."""

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from scipy.special import ndtri

from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.gaussian import expectation, tail
from ...core.sources import cite
from ...vs_loss.asymptotics import hard_margin
from ...vs_loss.leave_one_out import leave_one_out
from ...vs_loss.mixture import GaussianMixture
from ...vs_loss.ratio_estimate import best_shift, common_spread, fresh_margins, ratio_of, spread_degrees
from ...vs_loss.svm import SVMSolution, solve_svm

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101)


def _gram(minority: int, majority: int, dimension: int, spread=1.0, kernel="linear", copies=0):
    """Gram matrix and labels of normal quantiles along a low-discrepancy sequence; nothing random."""
    labels = np.repeat([1.0, -1.0], [minority, majority])
    steps = np.sqrt(_PRIMES[:dimension])
    features = ndtri(np.outer(np.arange(1, labels.size + 1), steps) % 1) * np.where(labels > 0, spread, 1.0)[:, None]
    features[:, 0] += labels
    features, labels = np.vstack([features, features[:copies]]), np.append(labels, labels[:copies])
    gram = features @ features.T
    if kernel == "rbf":
        squared = gram.diagonal()
        gram = np.exp(-(squared[:, None] + squared - 2 * gram) / (2 * dimension))
    return gram, labels


def _machine(gram: np.ndarray, labels: np.ndarray, ratio: float, intercept: str) -> SVMSolution:
    required: Any = np.where(labels > 0, ratio, 1.0)
    return solve_svm(gram, labels, required, intercept=intercept)


def _refitted(gram: np.ndarray, solution: SVMSolution, examples) -> np.ndarray:
    """Margin of each example under the machine solved without it."""
    margins = []
    for i in examples:
        kept = np.arange(len(gram)) != i
        required: Any = solution.required[kept]
        rest = solve_svm(gram[np.ix_(kept, kept)], solution.labels[kept], required, intercept=solution.intercept_kind)
        margins.append(solution.labels[i] * (gram[i, kept] @ rest.coefficients + rest.intercept))
    return np.array(margins)


_SETS = (
    {"data": {"minority": 4, "majority": 12, "dimension": 8}},
    {"data": {"minority": 6, "majority": 30, "dimension": 20}, "ratio": 3.0},
    {"data": {"minority": 6, "majority": 30, "dimension": 26, "spread": 2.0}, "intercept": "none"},
    {"data": {"minority": 5, "majority": 25, "dimension": 6, "kernel": "rbf"}, "ratio": 0.5},
)


@claim(
    "vs_loss.leave_one_out_formula",
    source=cite("vapnik2000", "span of support vectors; the border and required margins derived here"),
    kind=Kind.NUMERIC,
    formula="y_i f_{-i}(x_i) = r_i - a_i / [B^(-1)]_ii, B the Gram matrix of the support vectors bordered by y",
    relation=Relation.EQUAL,
    atol=1e-8,
    cases=_SETS,
    wrong={
        "without the border": {"inverse": "plain"},
        "a_i Q_ii, the diagonal of the Gram matrix": {"inverse": "none"},
    },
    assumptions=("the other support vectors are those of the machine without i",),
)
def leave_one_out_formula(data, ratio=1.0, intercept="free", inverse="bordered"):
    """While the active set stays, leaving out a support vector is one division, not one more solve."""
    gram, labels = _gram(**data)
    machine = _machine(gram, labels, ratio, intercept)
    exchanges = leave_one_out(gram, machine).exchanges[machine.support]
    staying = machine.support[exchanges == 0]
    stated = leave_one_out(gram, machine, follow=False).margins[staying]
    if inverse != "bordered":
        active = (gram * np.outer(labels, labels))[np.ix_(machine.support, machine.support)]
        divisor = np.linalg.inv(active).diagonal() if inverse == "plain" else 1 / active.diagonal()
        stated = (machine.required[machine.support] - machine.dual[machine.support] / divisor)[exchanges == 0]
    note = f"{staying.size} of {machine.support.size} support vectors leave the rest of the active set as it is"
    return Sides(_refitted(gram, machine, staying), stated, note=note)


@claim(
    "vs_loss.leave_one_out_path",
    source=cite("tailbound", "sweeps of the symmetric tableau along the falling dual"),
    kind=Kind.NUMERIC,
    formula="leave_one_out(gram, machine)_i = y_i f(x_i) of the machine solved without i, for every i",
    relation=Relation.EQUAL,
    atol=1e-8,
    cases=(*_SETS, {"data": {"minority": 6, "majority": 30, "dimension": 20, "copies": 3}}),
    wrong={"the closed form for all": {"follow": False}},
)
def leave_one_out_path(data, ratio=1.0, intercept="free", follow=True):
    """Following the exchanges of the active set gives every leave-one-out margin of one fit exactly."""
    gram, labels = _gram(**data)
    machine = _machine(gram, labels, ratio, intercept)
    found = leave_one_out(gram, machine, follow=follow)
    note = f"{found.exchanges[machine.support].mean():.2g} exchanges for each of {machine.support.size} support vectors"
    return Sides(_refitted(gram, machine, range(labels.size)), found.margins, note=note)


@claim(
    "vs_loss.rectified_margins",
    source=cite("tailbound", "finite-sample form of Lyu et al. (2026), Theorem 2.1"),
    kind=Kind.NUMERIC,
    formula="y_i f(x_i) = max(r_i, y_i f_{-i}(x_i)) for every example of every separable data set",
    relation=Relation.EQUAL,
    atol=1e-8,
    cases=(*_SETS, {"data": {"minority": 6, "majority": 30, "dimension": 20, "copies": 3}}),
    wrong={"left out as trained": {"rectified": False}, "required margin 1 for all": {"required": 1.0, "ratio": 3.0}},
)
def rectified_margins(data, ratio=1.0, intercept="free", rectified=True, required=None):
    """A training margin is the margin of the machine without the example, lifted to the required one.

    If the machine without i met i's constraint, it would be the machine with i; so a support vector falls short of its
    required margin once left out, and all others keep theirs. No law of the data enters.
    """
    gram, labels = _gram(**data)
    machine = _machine(gram, labels, ratio, intercept)
    margins = _refitted(gram, machine, range(labels.size))
    floor = machine.required if required is None else required
    return labels * machine.scores, np.maximum(floor, margins) if rectified else margins


def _lifted_mean(fresh: float, margin: float, spread: float) -> float:
    """E max(u, l + s G) by quadrature."""
    return expectation(lambda g: np.maximum(margin, fresh + spread * g), kinks=[(margin - fresh) / spread])


@claim(
    "vs_loss.training_law_inversion",
    source=cite("tailbound", "from the training law of Lyu et al. (2026), Theorem 2.1"),
    kind=Kind.NUMERIC,
    formula="m = E max(u, l + s G) ⟹ l = u + s g1^(-1)((m - u)/s)",
    relation=Relation.EQUAL,
    atol=1e-9,
    cases=cases(fresh=[-1.0, 0.2, 1.5, 3.0], margin=[0.3, 1.0], spread=[1.0, 2.0]),
    wrong={"the training mean itself": {"plug_in": True}, "the spread ignored": {"assumed": 1.0, "spread": 2.0}},
)
def training_law_inversion(fresh, margin, spread, plug_in=False, assumed=None):
    """From the mean training margin of a class its mean test margin follows, under the limit law of known spread."""
    mean = _lifted_mean(fresh, margin, spread)
    return fresh, mean if plug_in else float(fresh_margins(mean, margin, assumed or spread))


@claim(
    "vs_loss.training_law_any_spread",
    source=cite("tailbound", "the inversion for identity covariance, read for any"),
    kind=Kind.NUMERIC,
    formula="m = E max(u, l + s G) ⟹ l = u + g1^(-1)(m - u), whatever the spread s along w",
    relation=Relation.EQUAL,
    atol=1e-9,
    cases=({"fresh": 0.2, "margin": 1.0, "spread": 1.5},),
    expected="fails",
    corrected_by="vs_loss.training_law_spread",
    right={"spread": 1.0},
    wrong={"a smaller spread": {"spread": 0.5}},
)
def training_law_any_spread(fresh, margin, spread):
    """The mean training margin gives the mean test margin even if the spread along w is not 1.

    It does not: a wider class has more of its points lifted, and the inversion takes them for better ones. Margins left
    out one by one need no law (vs_loss.rectified_margins).
    """
    return fresh, float(fresh_margins(_lifted_mean(fresh, margin, spread), margin))


@claim(
    "vs_loss.training_law_spread",
    source=cite("tailbound", "from the training law of Lyu et al. (2026), Theorem 2.1"),
    kind=Kind.NUMERIC,
    formula="E max(u, l_c + s G) for both classes and Σ π_c Φ((u - l_c)/s) determine l_+, l_- and s",
    relation=Relation.EQUAL,
    atol=1e-8,
    cases=cases(fresh=[(0.2, 1.5), (-0.5, 2.5)], spread=[0.5, 1.0, 2.0], spreads_ratio=[1.0]),
    wrong={"minority twice as wide": {"spreads_ratio": 2.0}, "priors swapped": {"shares": (0.9, 0.1)}},
    assumptions=("the same spread in both classes",),
)
def training_law_spread(fresh, spread, spreads_ratio, shares=(0.1, 0.9)):
    """The means of the training margins and the share of support vectors give the law of fresh margins in any units."""
    spreads = spread * np.array([spreads_ratio, 1.0])
    means = np.array([_lifted_mean(mean, 1.0, width) for mean, width in zip(fresh, spreads, strict=True)])
    support = float(tail((np.asarray(fresh) - 1.0) / spreads) @ [0.1, 0.9])
    found = common_spread(means, 1.0, support, shares)
    return [*fresh, spread], [*fresh_margins(means, 1.0, found), float(found)]


@claim(
    "vs_loss.training_law_ratio",
    source=cite("tailbound", "from Kini et al. (2021) and Lyu et al. (2026)"),
    kind=Kind.NUMERIC,
    formula="(1 + τ)/(1 - τ), τ = (l_- - l_+)/(2u), l_c = u + g1^(-1)(m_c - u), is the optimal ratio of the limit",
    relation=Relation.EQUAL,
    rtol=1e-7,
    cases=(
        {"prior": 0.2, "norms": (2.0, 2.0), "inner": -4.0, "aspect_ratio": 1.0},
        {"prior": 0.1, "norms": (3.0, 2.0), "inner": 0.0, "aspect_ratio": 0.8},
        {"prior": 0.3, "norms": (1.5, 1.5), "inner": -2.25, "aspect_ratio": 5.0},
    ),
    wrong={"training means": {"plug_in": True}},
    assumptions=("isotropic covariance", "n and d large"),
)
def training_law_ratio(prior, norms, inner, aspect_ratio, plug_in=False):
    """In the proportional limit the training margins of one fit determine the optimal margin ratio.

    The training means themselves are lifted by g1(t_c), (1 - π)/π times as much for the minority, and give too small a
    ratio. The spread is not assumed: the share of support vectors gives it.
    """
    machine = hard_margin(GaussianMixture.binary(prior, norms, inner), aspect_ratio)
    means = machine.training_margins
    priors = np.array([prior, 1 - prior])
    spread = common_spread(means, float(machine.margin), machine.support_fractions @ priors, priors)
    fresh = means if plug_in else fresh_margins(means, machine.margin, spread)
    lifts = means - machine.test_margins
    stated = float(ratio_of((fresh[1] - fresh[0]) / (2 * machine.margin)))
    note = f"lifts {lifts.round(4).tolist()}, their ratio {lifts[0] / lifts[1]:.6g}, (1 - π)/π = {1 / prior - 1:.6g}"
    return Sides(float(machine.optimal_margin_ratio), stated, note=note)


def _moments(law: dict) -> tuple[Fraction, Fraction]:
    """Variance and excess kurtosis of a law {value: probability}."""
    mean = sum((share * value for value, share in law.items()), Fraction(0))
    second, fourth = (sum((share * (value - mean) ** k for value, share in law.items()), Fraction(0)) for k in (2, 4))
    return second, fourth / second**2 - 3


_COIN = {0: Fraction(1, 2), 1: Fraction(1, 2)}
_RARE = {0: Fraction(9, 10), 1: Fraction(1, 10)}
_THREE = {0: Fraction(1, 5), 1: Fraction(3, 5), 4: Fraction(1, 5)}


@claim(
    "vs_loss.spread_degrees",
    source=cite("tailbound"),
    kind=Kind.NUMERIC,
    formula="2 (E V)² / var V = 2 / (2/(n - 1) + κ/n), V the variance of n draws, κ the excess kurtosis of their law",
    relation=Relation.EQUAL,
    rtol=1e-12,
    cases=cases(law=[_COIN, _RARE, _THREE], n=[2, 3, 5]),
    wrong={"n - 1, as for normal draws": {"kurtosis": "none"}, "κ/(n + 1)": {"kurtosis": "over n + 1"}},
)
def degrees_of_a_spread(law, n, kurtosis="law"):
    """How well n draws fix their spread, by enumeration of all samples of small laws in rational arithmetic.

    The interval of an estimated ratio rests on it: heavy tails make the spread of a class less certain.
    """
    variances, shares = [], []
    for sample in product(law.items(), repeat=n):
        values = [Fraction(value) for value, _ in sample]
        mean = sum(values) / n
        variances.append(sum((value - mean) ** 2 for value in values) / (n - 1))
        shares.append(np.prod([share for _, share in sample]))
    mean = sum(share * value for share, value in zip(shares, variances, strict=True))
    square = sum(share * (value - mean) ** 2 for share, value in zip(shares, variances, strict=True))
    excess = float(_moments(law)[1])
    stated = {"law": excess, "none": 0.0, "over n + 1": excess * n / (n + 1)}[kurtosis]
    return float(2 * mean**2 / square), float(spread_degrees(n, stated))


def _equal_error_shift(means, spreads):
    (plus, minus), (wide, narrow) = means, spreads
    return (minus * wide - plus * narrow) / (wide + narrow)


_LAWS = cases(means=[(1.0, 2.0), (0.3, 1.5)], spreads=[(1.0, 1.0), (1.5, 1.0), (0.8, 1.2)])


@claim(
    "vs_loss.best_shift",
    source=cite("tailbound"),
    kind=Kind.NUMERIC,
    formula="argmin_t Q((m_+ + t)/s_+) + Q((m_- - t)/s_-): the root of φ((m_+ + t)/s_+)/s_+ = φ((m_- - t)/s_-)/s_- "
    "where the left side falls",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=_LAWS,
    wrong={"equal errors": {"rule": "equal errors"}, "the middle of the means": {"rule": "middle"}},
    assumptions=("normal scores of each class, any spreads",),
)
def best_shift_of_two_laws(means, spreads, rule="best"):
    """The best threshold between two normal laws of unequal spreads is where their densities meet."""
    (plus, minus), (a, b) = means, spreads
    # (plus + t)²/a² - (minus - t)²/b² + 2 log(a/b) = 0 as q2 t² + q1 t + q0
    q2, q1 = 1 / a**2 - 1 / b**2, 2 * plus / a**2 + 2 * minus / b**2
    q0 = plus**2 / a**2 - minus**2 / b**2 + 2 * np.log(a / b)
    root = -2 * q0 / (q1 + np.sqrt(q1**2 - 4 * q2 * q0))  # where the left side grows with t: the minimum
    stated = {"best": best_shift(means, spreads), "equal errors": _equal_error_shift(means, spreads)}
    return root, float(stated.get(rule, (minus - plus) / 2))


@claim(
    "vs_loss.equal_errors_any_spread",
    source=cite("kini2021", "optimal margin ratio, read for any covariance"),
    kind=Kind.NUMERIC,
    formula="the ratio that equalises the class errors has the smallest balanced error",
    relation=Relation.EQUAL,
    atol=1e-9,
    cases=({"means": (1.0, 2.0), "spreads": (1.5, 1.0)},),
    expected="fails",
    corrected_by="vs_loss.best_shift",
    right={"spreads": (1.0, 1.0)},
    wrong={"more unequal": {"spreads": (3.0, 1.0)}},
)
def equal_errors_any_spread(means, spreads):
    """Equal class errors are optimal; true for equal spreads along w, as under the identity covariance, false else."""

    def balanced(shift):
        return float(tail((np.asarray(means) + shift * np.array([1, -1])) / np.asarray(spreads)).mean())

    shift, best = _equal_error_shift(means, spreads), float(best_shift(means, spreads))
    note = f"equal errors at shift {shift:.4g}, best at {best:.4g}"
    return Sides(balanced(shift), balanced(best), note=note)
