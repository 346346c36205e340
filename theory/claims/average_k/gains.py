"""What average-K saves over top-K: the exact gain, when it is strict, how large it can be, profiles in closed form."""

from fractions import Fraction
from math import comb

import sympy as sp
from scipy.integrate import quad

from ...average_k.profiles import two_level_errors, two_level_profile, uniform_errors
from ...average_k.rules import (
    average_k_inclusion,
    average_k_threshold,
    crowding,
    gain,
    gain_limit,
    optimal_errors,
    top_k_inclusion,
)
from ...core.claims import Kind, Relation, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from .problems import exact_profile, numbered_profile, partitions, scores_near

HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)
NUMBERS = (0, 1, 3, 5, 8, 12, 14, 17)


@claim(
    "average_k.exact_gain",
    source=cite("tailbound", "for the rules of Lorieul et al. (2021)"),
    kind=Kind.SYMBOLIC,
    formula="E_top(K) - E_avg(K) = E [Σ_{j<=K} (λ - η_(j))_+ + Σ_{j>K} (η_(j) - λ)_+] at λ_K; at most that at any λ",
    wrong={"labels let in alone": {"dropped": 0}, "labels dropped alone": {"added": 0}},
    exhaustive=True,
    assumptions=("K an integer; any distribution of η(X); both rules have mean size K",),
)
def exact_gain(dropped=1, added=1):
    """The gain is what the labels of top-K on the wrong side of λ cost; so average-K is never worse.

    The steps are for one label of one input, s its place in the average-K set, and add up over labels and inputs.
    """
    t, v, s, eta, level, top = sp.symbols("t v s eta lambda r", nonnegative=True)

    def cost(excess, among_top):
        return dropped * sp.Max(-excess, 0) if among_top else added * sp.Max(excess, 0)

    return (
        Derivation()
        .equal(
            "sizes are equal in the mean, so λ may be taken off",
            eta * (s - top) - level * (s - top),
            (eta - level) * (s - top),
        )
        .equal("top label above λ: both rules have it", t * (1 - 1), cost(t, True))
        .equal("top label at λ: any fraction s", 0 * (s - 1), cost(sp.S.Zero, True))
        .equal("top label below λ: dropped", -t * (0 - 1), cost(-t, True))
        .equal("other label above λ: let in", t * (1 - 0), cost(t, False))
        .equal("other label at λ: any fraction s", 0 * (s - 0), cost(sp.S.Zero, False))
        .equal("other label below λ: neither rule has it", -t * (0 - 0), cost(-t, False))
        .nonnegative(
            "at any λ, s = 1 - v: a top label above costs 0 and saves no more", cost(t, True) - t * ((1 - v) - 1)
        )
        .nonnegative("a top label below", cost(-t, True) + t * (s - 1))
        .nonnegative("another label below", cost(-t, False) + t * s)
        .nonnegative("another label above", cost(t, False) - t * (1 - v))
        .nonnegative("no term is negative: average-K is never worse", cost(t, True) + cost(-t, True) + cost(t, False))
    )


@claim(
    "average_k.exact_gain_problems",
    source=cite("tailbound", "for the rules of Lorieul et al. (2021)"),
    kind=Kind.EXACT,
    formula="E_top - E_avg = gain at λ_K = least gain over all λ",
    cases=cases(number=NUMBERS, size=[1, 2, 3]),
    wrong={"at λ / 2": {"factor": HALF}, "at 2 λ": {"factor": 2}},
)
def exact_gain_problems(number, size, factor=1):
    """The errors of the two rules, computed from their sets, differ by the formula, which is least at λ_K."""
    profile = numbered_profile(number)
    errors = optimal_errors(profile, size)
    levels = {*profile.probabilities.ravel(), Fraction(0)}
    stated = gain(profile, size, factor * errors.threshold)
    return [errors.gain, min(gain(profile, size, level) for level in levels)], [stated, stated]


@claim(
    "average_k.never_worse",
    source=cite("lorieul2021", "abstract"),
    kind=Kind.EXACT,
    formula="E_avg(K) <= E_top(K)",
    relation=Relation.AT_MOST,
    cases=cases(number=NUMBERS, size=[1, 2, 3]),
    wrong={"half a label less": {"less": HALF}},
)
def never_worse(number, size, less=Fraction(0), estimated=False):
    """With the true probabilities average-K never has the larger error (proved by ``average_k.exact_gain``)."""
    profile = numbered_profile(number)
    scores = scores_near(profile, number) if estimated else profile.probabilities
    inclusion = average_k_inclusion(scores, average_k_threshold(scores, size - less, profile.weights))
    top = profile.error(top_k_inclusion(scores, size))
    return profile.error(inclusion), top


@claim(
    "average_k.never_worse_estimated",
    source=cite("lorieul2021", "abstract, read for estimated probabilities"),
    kind=Kind.EXACT,
    formula="P(Y not in average-K of h) <= P(Y not in top-K of h), h the estimate",
    relation=Relation.AT_MOST,
    cases=(
        {"truth": ((9, 1), (5, 5)), "estimate": ((6, 4), (7, 3))},
        {"truth": ((9, 1, 0), (5, 3, 2)), "estimate": ((3, 2, 0), (4, 3, 3))},
    ),
    expected="fails",
    corrected_by="average_k.never_worse",
    right={"estimate": None},
    wrong={"K = 2": {"truth": ((6, 3, 1), (4, 4, 2)), "estimate": ((4, 3, 3), (6, 3, 1)), "size": 2}},
)
def never_worse_estimated(truth, estimate, size=1):
    """Average-K with estimated probabilities is never worse either.

    Here the estimate ranks the labels of every input right, so top-K is optimal; but it is unsure of the clear input
    and sure of the ambiguous one, and average-K spends the budget on the wrong one.
    """
    profile = exact_profile(truth)
    scores = profile.probabilities if estimate is None else exact_profile(estimate).probabilities
    average = average_k_inclusion(scores, average_k_threshold(scores, size))
    return profile.error(average), profile.error(top_k_inclusion(scores, size))


@claim(
    "average_k.strictness",
    source=cite("lorieul2021", "abstract: strict if the ambiguity is heterogeneous enough; this form derived here"),
    kind=Kind.SYMBOLIC,
    formula="E_top - E_avg > 0 iff ess sup η_(K+1) > ess inf η_(K); >= (a - b) min(P(η_(K+1) >= a), P(η_(K) <= b))",
    wrong={"twice as much": {"factor": 2}},
    exhaustive=True,
    assumptions=("K an integer below C; a > b with both probabilities positive, or no such pair",),
)
def strictness(factor=1):
    """The gain is strict exactly when some inputs' next label is likelier than other inputs' last label of top-K.

    From ``average_k.exact_gain``: at the true λ each input with η_(K+1) >= a costs (a - λ)_+ at least, and each with
    η_(K) <= b costs (λ - b)_+; paired off, a - b or more. Without such inputs some t separates, and the gain at t is 0.
    """
    below, inner, rest, above, mass, t = sp.symbols("u v w x m t", positive=True)
    b = sp.Symbol("b", nonnegative=True)

    def pair(level, gap):
        return sp.Max(level - b, 0) + sp.Max(b + gap - level, 0) - factor * gap

    return (
        Derivation()
        .nonnegative("λ below b: (a - λ)_+ alone is more than a - b", pair(b - below, rest))
        .nonnegative("λ between: the two add up to a - b", pair(b + inner, inner + rest))
        .nonnegative("λ above a: (λ - b)_+ alone is more", pair(b + rest + above, rest))
        .positive("a mass m > 0 of such pairs gains m (a - b) > 0", mass * rest)
        .equal("t separates, η_(j) = t + u for j <= K: no cost at t", sp.Max(t - (t + b), 0), 0)
        .equal("η_(j) = t - u for j > K: no cost at t; the gain, at most that, is 0", sp.Max((t - b) - t, 0), 0)
    )


@claim(
    "average_k.strict_gain",
    source=cite("lorieul2021", "abstract; this form derived here"),
    kind=Kind.EXACT,
    formula="sign(E_top - E_avg) = [max over inputs of η_(K+1) > min over inputs of η_(K)]",
    cases=cases(total=[4, 6], size=[1, 2]),
    full_cases=cases(total=[8], size=[1, 2]),
    wrong={"ties count": {"strict": False}, "η_(K) against η_(K)": {"next_label": 0}},
)
def strict_gain(total, size, strict=True, next_label=1):
    """Every pair of profiles in equal parts of three classes, ties included, gains exactly when it crosses at K."""
    profiles = partitions(total, 3)
    computed, stated = [], []
    for i, first in enumerate(profiles):
        for second in profiles[i:]:
            profile = exact_profile((first, second), (1, 3))
            crossing = max(first[size - 1 + next_label], second[size - 1 + next_label])
            last = min(first[size - 1], second[size - 1])
            computed.append(int(optimal_errors(profile, size).gain > 0))
            stated.append(int(crossing > last if strict else crossing >= last))
    return computed, stated


@claim(
    "average_k.gain_bound",
    source=cite("tailbound", "for the rules of Lorieul et al. (2021)"),
    kind=Kind.SYMBOLIC,
    formula="E_top - E_avg <= b (1 - b) <= 1/4, b = P(average-K set larger than K), for every K, C and distribution",
    wrong={"at most 1/5": {"limit": Fraction(1, 5)}, "b (1 - b) / 2": {"factor": HALF}},
    exhaustive=True,
    assumptions=("K an integer; b under any way to let ties in; inputs with smaller sets lose or gain nothing",),
)
def gain_bound(limit=QUARTER, factor=1):
    """Average-K saves at most a quarter. J is the size of a set larger than K, R the mean of J on those inputs."""
    K, n, b, J = sp.symbols("K n b J", positive=True)
    a, u, v, w, slack = sp.symbols("a u v w slack", nonnegative=True)
    rest, top = n * a - u, K * a + v  # the n = J - K further labels are at most a, the top K at least a
    tangent = 1 - 2 * b + b**2 * J / K
    share = sp.symbols("rho", positive=True)
    return (
        Derivation()
        .nonnegative(
            "the J - K further labels carry at most 1 - K/J of the mass", n / (K + n) * (rest + top + w) - rest
        )
        .equal(
            "1 - K/J lies below its tangent in J at K/b, by a square",
            tangent - (1 - K / J),
            K / J * (1 - b * J / K) ** 2,
        )
        .nonnegative(
            "the mean of J over all inputs is at most K, so b R = K - slack; the tangents add up to at most b (1 - b)",
            sp.Rational(factor) * b * (1 - b) - b * tangent.subs(J, (K - slack) / b),
        )
        .nonnegative(
            "b (1 - b) is at most the limit, b = 1 / (1 + ρ)", sp.Rational(limit) - gain_limit(1 / (1 + share))
        )
    )


@claim(
    "average_k.gain_bound_problems",
    source=cite("tailbound", "for the rules of Lorieul et al. (2021)"),
    kind=Kind.EXACT,
    formula="E_top - E_avg <= b (1 - b) <= 1/4",
    relation=Relation.AT_MOST,
    cases=(*cases(number=NUMBERS, size=[1, 2, 3]), *cases(number=[None], size=[1, 2, 3])),
    wrong={"at most 1/5": {"limit": Fraction(1, 5)}, "half of b (1 - b)": {"factor": HALF, "number": None}},
)
def gain_bound_problems(number, size, limit=QUARTER, factor=1):
    """The bound holds on exact problems; the extremal profile of 60 classes comes within K / 120 of it.

    b itself is 1/4 where a quarter of the inputs takes the whole budget.
    """
    profile = _extremal(size, 2, 60) if number is None else numbered_profile(number)
    bound = factor * gain_limit(crowding(profile, size))
    quarter = crowding(_extremal(size, 4, 60), size)
    return [optimal_errors(profile, size).gain, bound, quarter, -quarter], [bound, limit, QUARTER, -QUARTER]


@claim(
    "average_k.gain_bound_sharp",
    source=cite("tailbound", "extremal profiles of average-K"),
    kind=Kind.SYMBOLIC,
    formula="a part b = 1/r of inputs uniform over r K labels, the others over all C: gain b (1 - b) - (1 - b) K/C",
    wrong={"without the remainder": {"remainder": 0}, "b²": {"square": True}},
    exhaustive=True,
    assumptions=("r > 1, C > r K",),
)
def gain_bound_sharp(remainder=1, square=False):
    """For every K and every b = 1/r the bound b (1 - b) is approached as C grows; 1/4 at b = 1/2."""
    K, x, y = sp.symbols("K x y", positive=True)
    r = 1 + x
    C, b = r * K + y, 1 / r
    top = 1 - b * K / (r * K) - (1 - b) * K / C
    average = 1 - b  # the whole budget K = b · r K goes to the first kind of inputs
    limit = sp.Symbol("C", positive=True)
    stated = (b**2 if square else gain_limit(b)) - remainder * (1 - b) * K / C
    return (
        Derivation()
        .equal("the sets of the first kind use the budget", b * r * K, K)
        .positive("their labels are likelier than the others'", 1 / (r * K) - 1 / C)
        .equal("the gain", top - average, stated)
        .equal("its limit", sp.limit(gain_limit(b) - (1 - b) * K / limit, limit, sp.oo), gain_limit(b))
        .equal("at b = 1/2", gain_limit(b).subs(x, 1), sp.Rational(1, 4))
    )


@claim(
    "average_k.two_level",
    source=cite("tailbound", "two-level profile for the rules of Lorieul et al. (2021)"),
    kind=Kind.SYMBOLIC,
    formula="gain = (K - 1)(1 - ρ)/m if K - 1 + ρ <= ρ m, else ρ (1 - K/m); the smaller of the two",
    wrong={"K (1 - ρ)/m": {"offset": 0}},
    exhaustive=True,
    assumptions=("a part ρ of the inputs uniform over m labels, the others certain; 1 <= K < m",),
)
def two_level(offset=1):
    """With two levels of ambiguity the gain grows with K - 1 until every label of the ambiguous inputs fits in."""
    j, n, q = sp.symbols("j n q", nonnegative=True)
    K, m = 1 + j, 2 + j + n  # 1 <= K < m, with m - K = 1 + n
    rho = 1 / (1 + q)
    fraction = (K - (1 - rho)) / (rho * m)  # of the uniform labels: the budget left by the certain ones
    top, average = rho * (1 - K / m), rho * (1 - fraction)
    enough, stated = rho * (1 - K / m), (K - offset) * (1 - rho) / m
    by_identity = (1 - rho) * (K - 1) / m  # the K - 1 labels of probability 0 below λ = 1/m
    return (
        Derivation()
        .equal("budget: certain labels, and the fraction of the uniform ones", (1 - rho) + rho * m * fraction, K)
        .equal("crowded: the gain from the two errors", top - average, stated)
        .equal("and by the exact gain at λ = 1/m", by_identity, stated)
        .equal(
            "roomy: all uniform labels fit, the error of average-K is 0, and the exact gain at λ = 0 is",
            rho * (m - K) / m,
            enough,
        )
        .equal("the two differ by what decides the branch", enough - stated, (rho * m - (K - 1 + rho)) / m)
    )


@claim(
    "average_k.two_level_problems",
    source=cite("tailbound", "two-level profile for the rules of Lorieul et al. (2021)"),
    kind=Kind.EXACT,
    formula="E_top = ρ (1 - K/m), E_avg = (ρ - (K - 1 + ρ)/m)_+, λ = 1/m or 0",
    cases=cases(
        hard_fraction=[Fraction(1, 10), Fraction(1, 5), HALF, Fraction(9, 10)], num_labels=[3, 4, 6], size=[1, 2]
    ),
    wrong={"half as many labels": {"labels_factor": 2}},
)
def two_level_problems(hard_fraction, num_labels, size, labels_factor=1):
    """The closed form is what the rules give, in both branches and at their boundary."""
    found = optimal_errors(two_level_profile(hard_fraction, labels_factor * num_labels, 2 * num_labels), size)
    return list(found), list(two_level_errors(hard_fraction, num_labels, size))


@claim(
    "average_k.uniform_simplex",
    source=cite("tailbound", "uniform law on the simplex for the rules of Lorieul et al. (2021)"),
    kind=Kind.NUMERIC,
    formula="E_top = 1 - Σ_{j<=K} Σ_{i>=j} 1/(i C), E_avg = 1 - K λ - (1 - λ) K/C, λ = 1 - (K/C)^(1/(C-1))",
    relation=Relation.EQUAL,
    rtol=1e-9,
    atol=1e-12,
    cases=cases(num_classes=[2, 5, 10, 30], size=[1, 2]),
    wrong={"the exponent 1/C": {"exponent": 1}, "one label more": {"more": 1, "num_classes": 5}},
)
def uniform_simplex(num_classes, size, exponent=0, more=0):
    """Inclusion-exclusion for the ordered probabilities, and the integral of G^{-1}, give these errors."""
    top = 1 - sum(_ordered_mean(j, num_classes) for j in range(1, size + 1))
    accuracy, _ = quad(
        lambda s: 1 - (s / num_classes) ** (1 / (num_classes - 1 + exponent)), 0, size, epsabs=1e-13, epsrel=1e-12
    )
    stated = uniform_errors(num_classes, size + more)
    return [float(top), 1 - accuracy], [stated.top, stated.average]


def _extremal(size, ratio, classes):
    """A part 1/ratio of the inputs uniform over ratio · K labels, the others over all classes."""
    few = [1] * (ratio * size) + [0] * (classes - ratio * size)
    return exact_profile((few, [1] * classes), (1, ratio - 1))


def _ordered_mean(rank, classes):
    """E of the rank-th largest of uniform probabilities, by inclusion-exclusion over P(i of them exceed t)."""
    return sum(
        Fraction((-1) ** (i - rank) * comb(i - 1, rank - 1) * comb(classes, i), i * classes)
        for i in range(rank, classes + 1)
    )
