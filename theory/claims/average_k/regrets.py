"""What estimated probabilities cost: plug-in regret, strongly proper losses, the threshold from a finite sample."""

from fractions import Fraction

import numpy as np
import sympy as sp
from scipy.stats import beta

from ...average_k.calibration import size_deviation
from ...average_k.regret import regret, regret_factor, surrogate_regret
from ...core.claims import Kind, Relation, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from .problems import exact_profile, numbered_profile, scores_near

RULES = ("top", "average")
NUMBERS = (0, 1, 3, 5, 8)
CLOSE = 100  # parts of the sharp pair: probabilities off by 1/100 of a label's share, estimates by as little as matters


@claim(
    "average_k.plug_in_regret",
    source=cite("lorieul2021", "consistency of the plug-in rules; this bound derived here"),
    kind=Kind.SYMBOLIC,
    formula="regret of either rule with h in place of η <= E ||η - h||_1, and <= sqrt(2K E ||η - h||_2²)",
    wrong={"half of the L1 distance": {"factor": sp.Rational(1, 2)}, "K in place of 2K": {"labels": 1}},
    exhaustive=True,
    assumptions=("average-K thresholds h where its own mean size is K; any distribution, any h",),
)
def plug_in_regret(factor=1, labels=2):
    """The regret is at most the mean L1 distance of the estimated probabilities.

    For one label: s its place in the optimal set, z in the estimated set, μ the threshold on h (for top-K the K-th
    largest h of the input); both sets have the same size, which removes μ.
    """
    eta, h, mu, s, z = sp.symbols("eta h mu s z", real=True)
    t, u, v, x, K, A = sp.symbols("t u v x K A", positive=True)
    c = sp.Symbol("c", positive=True)
    return (
        Derivation()
        .equal("what the label costs", eta * (s - z), (eta - h) * (s - z) + (h - mu) * (s - z) + mu * (s - z))
        .nonnegative("h = μ + t: z = 1, s = 1 - v, the middle term is no gain", -t * ((1 - v) - 1))
        .nonnegative("h = μ - t: z = 0, s = u: nor here", t * (u - 0))
        .nonnegative("η = h + x, s - z = 1 - v: at most the distance", factor * x - x * (1 - v) + 0 * u)
        .nonnegative("η = h - x, s - z = v - 1: the same", factor * x - (-x) * (v - 1))
        .nonnegative("Cauchy-Schwarz in each label: e d <= e²/(2c) + c d²/2", eta**2 / (2 * c) + c * h**2 / 2 - eta * h)
        .equal(
            "Σ (s - z)² <= Σ |s - z| <= 2K: with A = E ||η - h||² and c = sqrt(A / (2K)) the sum is sqrt(2K A)",
            (A / (2 * c) + c * labels * K / 2).subs(c, sp.sqrt(A / (2 * K))),
            sp.sqrt(2 * K * A),
        )
    )


@claim(
    "average_k.plug_in_problems",
    source=cite("lorieul2021", "consistency of the plug-in rules; this bound derived here"),
    kind=Kind.EXACT,
    formula="regret <= E ||η - h||_1 and regret² <= 2K E ||η - h||_2²",
    relation=Relation.AT_MOST,
    cases=(*cases(number=NUMBERS, size=[1, 2], rule=RULES), *cases(number=[None], size=[1, 2], rule=RULES)),
    wrong={
        "half of the L1 distance": {"distance": Fraction(1, 2), "number": None},
        "K in place of 2K": {"labels": 1, "number": None},
    },
)
def plug_in_problems(number, size, rule, distance=1, labels=2):
    """Exact regrets stay below both bounds; a pair of nearly exchanged labels comes within 2 % of them."""
    profile, scores = _sharp(size) if number is None else _perturbed(number)
    found = regret(profile, scores, size, rule)
    off = np.abs(profile.probabilities - scores)
    squared = Fraction(labels, 2) * regret_factor("brier", size) * surrogate_regret(profile, scores, "brier")
    return [found, found**2], [distance * profile.mean(off), squared]


@claim(
    "average_k.plug_in_sharp",
    source=cite("tailbound", "extremal estimates of the plug-in rules"),
    kind=Kind.SYMBOLIC,
    formula="K labels (1 + e)/(2K), K labels (1 - e)/(2K), in h (1 ∓ d)/(2K): regret e; L1 and sqrt(2K) L2 both e + d",
    wrong={"without the estimate's share": {"share": 0}},
    exhaustive=True,
    assumptions=("0 < e, d < 1",),
)
def plug_in_sharp(share=1):
    """Neither constant can be smaller, for any K: as d → 0 both bounds tend to the regret."""
    K, e, d = sp.symbols("K e d", positive=True)
    likely, unlikely = (1 + e) / (2 * K), (1 - e) / (2 * K)
    off = likely - (1 - d) / (2 * K)
    return (
        Derivation()
        .equal("regret: K labels exchanged", K * (likely - unlikely), e)
        .equal("L1 distance", 2 * K * off, e + share * d)
        .equal("sqrt(2K) times the L2 distance", sp.sqrt(2 * K * (2 * K * off**2)), e + share * d)
        .equal("in the limit", sp.limit(2 * K * off, d, 0), e)
    )


@claim(
    "average_k.strongly_proper",
    source=cite("tailbound", "Pinsker's inequality, for the losses of Lorieul et al. (2021)"),
    kind=Kind.SYMBOLIC,
    formula="kl(η, h) >= ||η - h||_1² / 2; Σ_k kl(η_k, h_k) >= 2 ||η - h||_2²; E|η - h|² is the Brier regret",
    wrong={"constant 3": {"constant": 3}},
    exhaustive=True,
    assumptions=("0 < η, h < 1",),
)
def strongly_proper(constant=2):
    """Cross-entropy, one-versus-all logistic and squared loss are strongly proper with these constants.

    Two labels suffice: those with η >= h taken together, and the others; the log-sum step says that nothing is gained.
    """
    p, q, y, x, a, r = sp.symbols("p q y x a r", positive=True)
    eta, h = sp.symbols("eta h", real=True)
    gap = p * sp.log(p / q) + (1 - p) * sp.log((1 - p) / (1 - q)) - constant * (p - q) ** 2
    slope = 1 / (q * (1 - q)) - 2 * constant
    return (
        Derivation()
        .equal("two labels: kl(p, q) - 2 (p - q)² is 0 at q = p", gap.subs(q, p), 0)
        .equal("its derivative in q is (q - p) times a factor", sp.diff(gap, q), (q - p) * slope)
        .equal(
            "the factor, at q = 1 / (1 + y), is a square over q (1 - q)", slope.subs(q, 1 / (1 + y)), (1 - y) ** 2 / y
        )
        .nonnegative("so the divergence falls before p and rises after", slope.subs(q, 1 / (1 + y)))
        .equal("x - 1 - log x is 0 at 1", (x - 1 - sp.log(x)).subs(x, 1), 0)
        .equal("and its derivative too", sp.diff(x - 1 - sp.log(x), x).subs(x, 1), 0)
        .positive("and it is convex: log x <= x - 1", sp.diff(x - 1 - sp.log(x), x, 2))
        .equal(
            "hence label by label a log(a/b) >= a log(A/B) + a - b A/B, r = A/B, b = x a / r; summed, kl does not grow",
            a * sp.log(r / x) - a * sp.log(r) - (a - x * a),
            a * (x - 1 - sp.log(x)),
        )
        .equal(
            "TV: ||η - h||_1 = 2 (p - q), so 2 (p - q)² is half its square", 2 * (p - q) ** 2, (2 * (p - q)) ** 2 / 2
        )
        .equal(
            "squared loss, Y = k with probability η: its regret is (η - h)² a label",
            eta * (1 - h) ** 2 + (1 - eta) * h**2 - eta * (1 - eta) ** 2 - (1 - eta) * eta**2,
            (eta - h) ** 2,
        )
    )


@claim(
    "average_k.surrogate_bounds",
    source=cite("lorieul2021", "consistency by strongly proper losses; these constants derived here"),
    kind=Kind.NUMERIC,
    formula="regret² <= 2 Reg_CE, <= 2K Reg_Brier, <= K Reg_OVA, for both rules",
    relation=Relation.AT_MOST,
    atol=1e-12,
    cases=(
        *cases(number=NUMBERS, size=[1, 2], rule=RULES, loss=["log", "brier", "ova"]),
        *cases(number=[None], size=[1], rule=RULES, loss=["log", "brier", "ova"]),
    ),
    wrong={
        f"four fifths of it, {loss}": {"factor": 0.8, "number": None, "loss": loss, "size": 1}
        for loss in ("log", "brier", "ova")
    },
)
def surrogate_bounds(number, size, rule, loss, factor=1.0):
    """A small regret of the loss forces one of both rules; nearly exchanged labels come within 2 % of it at K = 1."""
    profile, scores = _sharp(size) if number is None else _perturbed(number)
    found = float(regret(profile, scores, size, rule))
    return found**2, factor * regret_factor(loss, size) * float(surrogate_regret(profile, scores, loss))


@claim(
    "average_k.size_deviation",
    source=cite("tailbound", "Hoeffding's inequality at one threshold a side"),
    kind=Kind.NUMERIC,
    formula="P(|G(λ̂) - K| > C sqrt(log(2/δ) / (2N))) <= δ, λ̂ from N unlabelled inputs, scores without ties",
    relation=Relation.AT_MOST,
    cases=cases(num_classes=[2, 10, 100], num_inputs=[20, 200, 2000], share=[0.1, 0.5], probability=[0.5, 0.05]),
    wrong={
        "half of it": {"factor": 0.5, "probability": 0.05, "share": 0.5},
        "without C": {"classes_factor": False, "num_classes": 10},
    },
)
def deviation_probability(num_classes, num_inputs, share, probability, factor=1.0, classes_factor=True):
    """The mean size at an estimated threshold is that near to K, by the exact law where all labels move together.

    If the labels of an input share one uniform score, sizes are 0 or C, the widest spread there is; then G(λ̂) / C is
    the K N / C-th order statistic of N uniform numbers.
    """
    width = factor * size_deviation(num_classes if classes_factor else 1, num_inputs, probability)
    rank = round(share * num_inputs)
    law = beta(rank, num_inputs - rank + 1)
    mean, width = rank / num_inputs, width / num_classes
    return float(law.cdf(mean - width) + law.sf(mean + width)), probability


@claim(
    "average_k.uniform_deviation",
    source=cite(
        "tailbound", "against the uniform bound by the inequality of Dvoretzky, Kiefer and Wolfowitz in each class"
    ),
    kind=Kind.SYMBOLIC,
    formula="C sqrt(log(2/δ)/(2N)) < C sqrt(log(2C/δ)/(2N)) for C >= 2",
    wrong={"the other way round": {"order": -1}},
    exhaustive=True,
)
def uniform_deviation(order=1):
    """Only one threshold is used, so no union over classes is paid for."""
    x, y = sp.symbols("x y", positive=True)
    C, risk = 1 + y, 2 / (1 + x)  # log(2/δ) = log(1 + x)
    more = sp.log(2 * C / risk) - sp.log(2 / risk)
    return (
        Derivation()
        .equal("the logarithms differ by log C", sp.expand_log(more, force=True), sp.log(C))
        .positive("which is positive", order * sp.log(1 + y))
    )


def _perturbed(number):
    profile = numbered_profile(number)
    return profile, scores_near(profile, number)


def _sharp(size):
    """K labels slightly likelier than K others, exchanged by the estimate by as little as matters."""
    few, more = CLOSE - 1, CLOSE + 1
    profile = exact_profile([[more] * size + [few] * size])
    tiny = 100 * CLOSE
    estimate = exact_profile([[tiny - 1] * size + [tiny + 1] * size])
    return profile, estimate.probabilities
