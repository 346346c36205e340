"""The statements on LA, CDT and VS that the constants for practitioners rest on."""

import numpy as np
import sympy as sp

from ...core.claims import Kind, Relation, cases, claim
from ...core.class_counts import ClassCounts
from ...core.derivation import Derivation
from ...core.sources import cite
from ...vs_loss.losses import initial_weight, vs_loss, vs_parameters

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
    f, rest, shift = sp.symbols("f R c", real=True)
    a, b = sp.symbols("a b", positive=True)
    eta, prior = 1 / (1 + a), 1 / (1 + b)  # every η = P(y|x) and π in (0, 1)
    odds = sp.exp(f) * prior**tau
    p = odds / (odds + sp.exp(rest))
    risk = -eta * sp.log(p) - (1 - eta) * sp.log(1 - p)  # class y against the rest, for any rest
    at = sp.diff(risk, f)
    logit = sp.log(eta / prior) + shift
    other = sp.Symbol("eta_k", positive=True) / sp.Symbol("pi_k", positive=True)
    rival, cost = sp.log(other) + shift, sp.Symbol("S", positive=True)  # S = Σ η_k/π_k
    return (
        Derivation()
        .equal("the risk is stationary where the adjusted softmax equals η", sp.simplify(at), p - eta)
        .positive("and strictly convex in f_y, so that is its minimum", sp.simplify(sp.diff(risk, f, 2)))
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
    odds = np.exp(sign * parameters.iota)
    share = 1 / (1 + odds) if binary else odds / odds.sum()
    return (down - up) / (2 * step), parameters.omega * parameters.delta * (1 - share)


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
