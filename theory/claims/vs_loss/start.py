"""The start of training, consistency of LA, and what else the constants for practitioners rest on."""

from fractions import Fraction

import numpy as np
import sympy as sp

from ...core.claims import Kind, Relation, cases, claim
from ...core.class_counts import ClassCounts
from ...core.derivation import Derivation
from ...core.sources import cite
from ...vs_loss.losses import initial_shares, initial_weight, initial_weights, vs_loss, vs_parameters

omega, scale = sp.symbols("omega Delta", positive=True)
iota = sp.Symbol("iota", real=True)


def _sigmoid(x):
    return 1 / (1 + sp.exp(-x))


@claim(
    "vs_loss.initial_weight",
    source=cite("kini2021", "observation on the start of training"),
    kind=Kind.SYMBOLIC,
    formula="-∂l/∂(y f) at f = 0 of ω log(1 + e^ι e^(-Δ y f)) is ω Δ σ(ι)",
    wrong={"without Δ": {"power": 0}, "σ(-ι)": {"sign": -1}},
    exhaustive=True,
    assumptions=("binary form: a rare class has the larger ι",),
)
def initial_gradient(power=1, sign=1):
    """At the start of training Δ and ω weight an example alike, and an offset weights it by σ(ι)."""
    f = sp.Symbol("f", real=True)
    loss = omega * sp.log(1 + sp.exp(iota) * sp.exp(-scale * f))
    return Derivation().equal(
        "slope at f = 0", -sp.diff(loss, f).subs(f, 0), omega * scale**power * _sigmoid(sign * iota)
    )


@claim(
    "vs_loss.initial_weight_code",
    source=cite("tailbound", "library formula"),
    kind=Kind.NUMERIC,
    formula="initial_weight(ω, Δ, ι) = slope of the binary loss at f = 0, by differences",
    relation=Relation.EQUAL,
    rtol=1e-8,
    cases=cases(weight=[1.0, 3.0], delta=[0.4, 1.0], offset=[-2.0, 0.0, 1.5]),
    wrong={"offset ignored": {"stated_offset": 0.0}},
)
def initial_weight_code(weight, delta, offset, stated_offset=None):
    """The library's initial weight is the derivative of the loss."""
    up, down = (weight * np.logaddexp(0, offset - delta * f) for f in (1e-5, -1e-5))
    return (down - up) / 2e-5, initial_weight(weight, delta, offset if stated_offset is None else stated_offset)


@claim(
    "vs_loss.offset_at_most_doubles",
    source=cite("kini2021", "observation on the start of training"),
    kind=Kind.SYMBOLIC,
    formula="σ(ι) / σ(0) < 2 for every ι",
    wrong={"at most 3/2": {"bound": sp.Rational(3, 2)}},
    exhaustive=True,
    assumptions=("binary form",),
)
def offset_at_most_doubles(bound=2):
    """An additive offset can at most double a class's weight at the start of training."""
    x = sp.Symbol("x", positive=True)  # e^(-ι)
    return Derivation().positive("bound minus σ(ι)/σ(0)", bound - 2 / (1 + x))


@claim(
    "vs_loss.offset_multiclass_limit",
    source=cite("tailbound", "multi-class form of the observation of Kini et al. (2021)"),
    kind=Kind.SYMBOLIC,
    formula="(1 - softmax(ι)_y) / (1 - 1/K) < K / (K - 1) for every ι, and no smaller bound does",
    wrong={"2, as for two classes": {"bound": sp.Integer(2)}, "1": {"bound": sp.Integer(1)}},
    exhaustive=True,
)
def offset_multiclass_limit(bound=None):
    """With K logits an offset raises a class's first weight by at most K / (K - 1): 11 % for ten classes."""
    K = sp.Symbol("k", integer=True, positive=True) + 1
    odds = sp.Symbol("o", positive=True)  # e^ι_y over the sum of the others': every value is reached
    growth = (1 - odds / (1 + odds)) / (1 - 1 / K)
    return (
        Derivation()
        .equal("without offsets the odds are 1 to K - 1", growth.subs(odds, 1 / (K - 1)), 1)
        .positive("the growth stays below K / (K - 1)", K / (K - 1) - growth)
        .equal("and tends to it as ι_y falls", sp.limit(growth, odds, 0), K / (K - 1) if bound is None else bound)
    )


@claim(
    "vs_loss.offset_doubles_any_class",
    source=cite("kini2021", "observation on the start of training; read for K logits"),
    kind=Kind.EXACT,
    formula="some ι gives (1 - softmax(ι)_y) >= (2 - 1/100) (1 - 1/K)",
    relation=Relation.AT_LEAST,
    cases=cases(num_classes=[2, 3, 10]),
    expected="fails",
    corrected_by="vs_loss.offset_multiclass_limit",
    right={"num_classes": 2},
    wrong={"ten classes": {"num_classes": 10}},
)
def offset_doubles_any_class(num_classes):
    """An offset can double a class's first weight whatever the number of classes; true for two only.

    The weight of a class is at most its 1 at ι = -∞, and 1 - 1/K already without offsets.
    """
    odds = Fraction(1, 10**4)  # e^ι_y over the sum of the others'
    return 1 - odds / (1 + odds), (2 - Fraction(1, 100)) * (1 - Fraction(1, num_classes))


@claim(
    "vs_loss.majority_offset_unbounded",
    source=cite("kini2021", "observation on the start of training"),
    kind=Kind.SYMBOLIC,
    formula="σ(ι) / σ(-ι) = e^ι, of which the minority's own growth gives a factor below 2",
    wrong={"the minority alone": {"with_majority": False}, "e^(2ι)": {"power": 2}},
    exhaustive=True,
    assumptions=("binary form, ι_- = -ι_+",),
)
def majority_offset_unbounded(with_majority=True, power=1):
    """What an offset does beyond a factor 2 it does by shrinking the majority, without limit."""
    x = sp.Symbol("iota", positive=True)
    ratio = _sigmoid(x) / (_sigmoid(-x) if with_majority else _sigmoid(0))
    return (
        Derivation()
        .positive("the minority's growth is below 2", 2 - _sigmoid(x) / _sigmoid(0))
        .equal("ratio of the first weights", ratio, sp.exp(power * x))
    )


@claim(
    "vs_loss.initial_share",
    source=cite("tailbound", "from the observation of Kini et al. (2021)"),
    kind=Kind.SYMBOLIC,
    formula="Δ_y = (π_y/π_max)^γ, ι_y = τ log(π_-y/π_y): minority's share / majority's share = (π_-/π_+)^(τ-γ-1)",
    wrong={"γ helps too": {"sign": -1}, "priors uncounted": {"rarity": 0}},
    exhaustive=True,
    assumptions=("two classes; the multi-class form with ι_y = τ log π_y has the same weights",),
)
def initial_share(sign=1, rarity=1):
    """The minority's share of the first gradient depends on τ - γ alone: one half at τ = 1 + γ, so in LA at τ = 1."""
    g, t = sp.symbols("gamma tau", nonnegative=True)
    r = sp.Symbol("r", positive=True)  # π_-/π_+
    prior = 1 / (1 + r)
    pulls = [prior * r**-g / (1 + r**-t), (1 - prior) / (1 + r**t)]
    odds = pulls[0] / pulls[1]
    multiclass = [1 - 1 / (1 + r**t), 1 - r**t / (1 + r**t)]
    return (
        Derivation()
        .equal("σ(τ log r) is 1 - softmax(τ log π) of the minority", 1 / (1 + r**-t), multiclass[0])
        .equal("and likewise for the majority", 1 / (1 + r**t), multiclass[1])
        .equal("odds of the minority's share", odds, r ** (t - sign * g - rarity))
        .equal("LA at τ = 1 starts balanced", odds.subs({g: 0, t: 1}), 1)
        .equal("and CE gives each class its prior", odds.subs({g: 0, t: 0}), prior / (1 - prior))
    )


@claim(
    "vs_loss.initial_share_code",
    source=cite("tailbound", "library formula"),
    kind=Kind.NUMERIC,
    formula="initial_shares(π, weights) of both forms = 1 / (1 + (π_-/π_+)^(1+γ-τ))",
    relation=Relation.EQUAL,
    rtol=1e-12,
    cases=cases(counts=[(900, 100), (5000, 50)], gamma=[0.0, 0.3], tau=[0.0, 1.0, 1.25]),
    wrong={"τ + γ": {"sign": -1, "gamma": 0.3}, "multi-class offset in the binary form": {"turned": -1, "tau": 1.0}},
)
def initial_share_code(counts, gamma, tau, sign=1, turned=1):
    """The library's shares, through the binary and the multi-class weights, follow the closed form."""
    class_counts = ClassCounts(counts)
    parameters = vs_parameters(class_counts, gamma=gamma, tau=tau)
    priors = class_counts.priors
    binary = initial_weight(parameters.omega, parameters.delta, turned * (parameters.iota[::-1] - parameters.iota))
    computed = [initial_shares(priors, weights)[1] for weights in (binary, initial_weights(parameters))]
    return computed, [1 / (1 + (priors[0] / priors[1]) ** (1 + sign * gamma - tau))] * 2


@claim(
    "vs_loss.compensating_offset",
    source=cite("tailbound", "from the observation of Kini et al. (2021)"),
    kind=Kind.SYMBOLIC,
    formula="Δ_-/Δ_+ = δ: equal first weights at ι_± = ±log δ; at ι_- = 0 only if δ < 2, ι_+ = log(δ/(2-δ))",
    wrong={"log δ without the majority": {"majority": 0}, "log(δ)/2 on both sides": {"half": sp.Rational(1, 2)}},
    exhaustive=True,
    assumptions=("binary form, ω = 1",),
)
def compensating_offset(majority=-1, half=1):
    """Offsets of both signs undo CDT's down-weighting exactly (τ = γ); the minority's alone only below a ratio of 2."""
    delta, x = sp.symbols("delta x", positive=True)
    shift = half * sp.log(delta)
    below = 2 / (1 + x)  # every δ in (0, 2)
    alone = sp.log(below / (2 - below))
    return (
        Derivation()
        .equal("ι_- = 0, δ < 2: equal weights", _sigmoid(alone) / below, _sigmoid(0))
        .positive("ι_- = 0, δ >= 2: the minority's weight stays smaller", _sigmoid(0) - _sigmoid(x) / 2)
        .equal("both offsets: equal weights", _sigmoid(shift) / delta, _sigmoid(majority * shift))
    )


@claim(
    "vs_loss.compensating_offsets_multiclass",
    source=cite("tailbound", "from the multi-class first weights"),
    kind=Kind.SYMBOLIC,
    formula="equal Δ_y (1 - softmax(ι)_y) iff softmax(ι)_y = 1 - (K-1) a_y / Σ a, a = 1/Δ: needs max a < Σ a / (K-1)",
    wrong={"K in place of K - 1": {"taken": "K"}},
    exhaustive=True,
)
def compensating_offsets_multiclass(taken=None):
    """With K logits offsets undo CDT's down-weighting only while no factor exceeds K/(K-1) times the mean factor."""
    K = sp.Symbol("k", integer=True, positive=True) + 1
    total, own, rival = sp.symbols("S a_y a_c", positive=True)  # S = Σ a over all classes
    taken = K - 1 if taken is None else K
    shares = [1 - taken * a / total for a in (own, rival)]
    weights = [(1 - share) / a for share, a in zip(shares, (own, rival), strict=True)]
    slack = sp.Symbol("d", positive=True)
    return (
        Derivation()
        .equal("the first weights of any two classes agree", weights[0], weights[1])
        .positive(
            "a share is positive below K/(K-1) times the mean", shares[0].subs(own, total / (K - 1) / (1 + slack))
        )
        .equal("it is 0 there, and no softmax reaches 0", shares[0].subs(own, total / (K - 1)), 0)
        .equal("the shares add up to 1", K - taken * total / total, 1)
    )


@claim(
    "vs_loss.published_gamma_compensated",
    source=cite("kini2021", "offsets counter the initial effect of the factors; tuned γ of CIFAR-LT, ratio 100"),
    kind=Kind.NUMERIC,
    formula="(K-1) max a / Σ a <= 1 with a_k = (n_max/n_k)^γ: some offsets equalise the first weights",
    relation=Relation.AT_MOST,
    cases=(
        {"num_classes": 10, "largest": 5000, "gamma": 0.15},
        {"num_classes": 100, "largest": 500, "gamma": 0.05},
    ),
    expected="fails",
    corrected_by="vs_loss.compensating_offsets_multiclass",
    right={"gamma": 0.004},
    wrong={"γ = 0.3, the code's default": {"gamma": 0.3}, "ten classes, γ = 0.05": {"num_classes": 10, "gamma": 0.05}},
)
def published_gamma_compensated(num_classes, largest, gamma):
    """At the published factors of ten and a hundred classes, offsets can restore the rare classes' first weight.

    They cannot: that ends at γ = 0.0468 for ten classes, 0.0044 for a hundred. Offsets still help, up to K / (K - 1).
    """
    factors = (
        1 / vs_parameters(ClassCounts.long_tailed(100, num_classes=num_classes, largest=largest), gamma=gamma).delta
    )
    return (num_classes - 1) * factors.max() / factors.sum(), 1.0


@claim(
    "vs_loss.scale_starts_backwards",
    source=cite("kini2021", "observation on the start of training"),
    kind=Kind.SYMBOLIC,
    formula="with ι = 0, ω = 1: initial weight of the rare class over the frequent one = Δ_+/Δ_- = (n_+/n_-)^γ < 1",
    wrong={"favours the rare class": {"sign": -1}},
    exhaustive=True,
)
def scale_starts_backwards(sign=1):
    """CDT's factors, which favour the rare class in the end, weigh it down at the start."""
    g, rare, more = sp.symbols("gamma n m", positive=True)
    ratio = (rare / (rare + more)) ** g  # Δ = (n / n_max)^γ
    weights = [factor * _sigmoid(0) for factor in (ratio, sp.Integer(1))]
    return (
        Derivation()
        .equal("ratio of the initial weights", weights[0] / weights[1], (1 + more / rare) ** -g)
        .positive("its logarithm is negative", sign * g * sp.log(1 + more / rare))
    )


@claim(
    "vs_loss.la_consistency",
    source=cite("menon2021", "logit-adjusted loss"),
    kind=Kind.SYMBOLIC,
    formula="argmin of E[-log softmax(f + τ log π)_y | x] at τ = 1: f_y = log(η_y/π_y) + const, balanced Bayes rule",
    wrong={"τ = 1/2": {"tau": sp.Rational(1, 2)}, "τ = -1": {"tau": -1}, "τ = 2": {"tau": 2}},
    exhaustive=True,
    assumptions=("all measurable scores; bounded classes need more",),
)
def la_consistency(tau=1):
    """Trained with τ = 1, the plain logits rank classes by P(y|x)/π_y, which is optimal for the balanced error."""
    shift = sp.Symbol("c", real=True)
    a, b, u, rest = sp.symbols("a b u R", positive=True)  # u = e^f π^τ, R the adjusted odds of the other classes
    eta, prior = 1 / (1 + a), 1 / (1 + b)  # every η = P(y|x) and π in (0, 1)
    p = u / (u + rest)
    risk = -eta * sp.log(p) - (1 - eta) * sp.log(rest / (u + rest))  # class y against the rest, for any rest
    at = u * sp.diff(risk, u)  # d/df = u d/du
    logit = sp.log(eta / prior) + shift
    other = sp.Symbol("eta_k", positive=True) / sp.Symbol("pi_k", positive=True)
    rival, cost = sp.log(other) + shift, sp.Symbol("S", positive=True)  # S = Σ η_k/π_k
    return (
        Derivation()
        .equal("the risk is stationary where the adjusted softmax equals η", at, p - eta)
        .positive("and strictly convex in f_y, so that is its minimum", sp.factor(u * sp.diff(at, u)))
        .equal("there f is log(η/π) and a constant", sp.log(eta) - tau * sp.log(prior) + shift, logit)
        .equal(
            "deciding y costs S - η_y/π_y: least where η/π is largest",
            (cost - other) - (cost - eta / prior),
            eta / prior - other,
        )
        .equal("and f ranks the classes by η/π", sp.exp(logit - rival), eta / prior / other)
    )


@claim(
    "vs_loss.initial_weight_multiclass",
    source=cite("tailbound", "multi-class form of the observation of Kini et al. (2021)"),
    kind=Kind.NUMERIC,
    formula="-∂l/∂f_y at f = 0 is ω_y Δ_y (1 - softmax(ι)_y)",
    relation=Relation.EQUAL,
    rtol=1e-8,
    cases=cases(counts=[(900, 100), (500, 40, 9)], gamma=[0.0, 0.3], tau=[0.0, 1.25]),
    wrong={"opposite offsets": {"sign": -1, "tau": 1.25}, "binary σ(ι)": {"binary": True, "tau": 1.25}},
)
def initial_weight_multiclass(counts, gamma, tau, sign=1, binary=False):
    """At the start of training the library's VS-loss weights a class by Δ_y (1 - softmax(ι)_y)."""
    parameters = vs_parameters(ClassCounts(counts), gamma=gamma, tau=tau)
    labels, step = np.arange(len(counts)), 1e-5
    up, down = (vs_loss(move * np.eye(len(counts)), labels, parameters) for move in (step, -step))
    stated = initial_weights(parameters._replace(iota=sign * parameters.iota))
    if binary:
        stated = initial_weight(parameters.omega, parameters.delta, -parameters.iota)
    return (down - up) / (2 * step), stated


@claim(
    "vs_loss.parameter_values",
    source=cite("kini2021", "released code: Δ = (N_y/N_max)^γ, ι = τ log(N_y/N)"),
    kind=Kind.NUMERIC,
    formula="n = (900, 100), γ = 1/2, τ = 1: Δ = (1, 1/3), ι = (-0.105361, -2.302585)",
    relation=Relation.EQUAL,
    atol=1e-6,
    wrong={"dividing by the ratio": {"gamma": -0.5}, "τ = 2": {"tau": 2.0}},
)
def parameter_values(gamma=0.5, tau=1.0):
    """The library's scales and shifts are the released code's: both smaller for the rare class."""
    counts = ClassCounts((900, 100) if gamma > 0 else (100, 900))
    parameters = vs_parameters(counts, gamma=abs(gamma), tau=tau)
    return [parameters.delta, parameters.iota], [[1.0, 1 / 3], [-0.105361, -2.302585]]


@claim(
    "vs_loss.margin_ratio_path",
    source=cite("tailbound", "CS-SVM of Kini et al. (2021); Lyu et al. (2026), Prop. C.1"),
    kind=Kind.SYMBOLIC,
    formula="w_δ = ((δ+1)/2) w_1, b_δ = ((δ+1)/2) b_1 + (δ-1)/2 maps the SVM's feasible set onto the CS-SVM's",
    wrong={"shift (δ+1)/2": {"shift": 1}, "factor δ": {"factor": "delta"}},
    exhaustive=True,
    assumptions=("a free, unpenalised intercept",),
)
def margin_ratio_path(shift=-1, factor="mean"):
    """With a free intercept the cost-sensitive SVM is the plain SVM with its threshold moved: one solve serves all.

    The map is affine, scales every norm by the same number, and sends constraints to constraints, so it sends the
    minimiser to the minimiser.
    """
    delta = sp.Symbol("delta", positive=True)
    slack = sp.Symbol("m", nonnegative=True)
    grow = (delta + 1) / 2 if factor == "mean" else delta
    move = (delta + shift) / 2
    return (
        Derivation()
        .equal(
            "y = +1, y f = 1 + m: the new score is δ plus a multiple of m",
            grow * (1 + slack) + move,
            delta + grow * slack,
        )
        .equal(
            "y = -1, y f = 1 + m: the new margin is 1 plus a multiple of m", grow * (1 + slack) - move, 1 + grow * slack
        )
    )
