"""What published code computes where it differs from the formula it stands for, written as formulas."""

import numpy as np
import sympy as sp

from ...core.claims import Kind, Relation, cases, claim
from ...core.class_counts import ClassCounts
from ...core.derivation import Derivation
from ...core.sources import cite
from ...vs_loss.losses import initial_weight, initial_weights, vs_parameters
from ...vs_loss.scalar_losses import LogisticLoss

scale, factor = sp.symbols("Delta s", positive=True)
iota, true, other = sp.symbols("iota f_y f_-y", real=True)
SCORE = true - other


def _group_code(on_both=True):
    """e^L - 1 of softmax cross-entropy on the two logits Δ f - ι, with Δ and ι of the example's cell."""
    return sp.exp(scale * other - (iota if on_both else 0)) / sp.exp(scale * true - iota)


@claim(
    "vs_loss.released_group_loss",
    source=cite("kini2021", "released group loss, modes additive, combined, la_tau and vs_tau"),
    kind=Kind.SYMBOLIC,
    formula="-log softmax(Δ_g f - ι_g)_y = log(1 + e^(ι_g) e^(-Δ_g (f_y - f_-y))), the group VS-loss",
    expected="fails",
    corrected_by="vs_loss.released_group_loss_is_cdt",
    right={"on_both": False},
    wrong={"and with the opposite sign": {"sign": -1}},
)
def released_group_loss(on_both=True, sign=1):
    """The released group loss is the group VS-loss with its additive term.

    The offset is subtracted from both logits of an example, and softmax ignores a common shift. From the true logit
    alone it would be right.
    """
    return Derivation().equal("e^L - 1", _group_code(on_both), sp.exp(sign * iota) * sp.exp(-scale * SCORE))


@claim(
    "vs_loss.released_group_loss_is_cdt",
    source=cite("tailbound", "released group loss of Kini et al. (2021)"),
    kind=Kind.SYMBOLIC,
    formula="-log softmax(Δ_g f - ι_g)_y = log(1 + e^(-Δ_g (f_y - f_-y))) for every ι_g: CE at Δ = 1, else CDT",
    wrong={"offset on the true logit": {"on_both": False}, "Δ ignored": {"stated_scale": 1}},
    exhaustive=True,
)
def released_group_loss_is_cdt(on_both=True, stated_scale=scale):
    """In the released group loss every additive mode is void: la_tau trains plain CE, vs_tau plain CDT."""
    return Derivation().equal("e^L - 1", _group_code(on_both), sp.exp(-stated_scale * SCORE))


def _binary_code(label, sign_by_label):
    """e^L - 1 of the sigmoid loss on s (Δ f - ι), f the score of label +1; optionally y ι in the place of ι."""
    f = sp.Symbol("f", real=True)
    argument = factor * (scale * f - (label * iota if sign_by_label else iota))
    return sp.exp(-label * argument), sp.exp(-scale * label * f)


@claim(
    "vs_loss.released_binary_sign",
    source=cite("kini2021", "released binary loss: sigmoid cross-entropy on 30 (Δ_y f - ι_y)"),
    kind=Kind.SYMBOLIC,
    formula="e^L - 1 = (e^(ι_y) e^(-Δ_y y f))^30 for both labels",
    expected="fails",
    corrected_by="vs_loss.released_binary_form",
    right={"sign_by_label": True},
    wrong={"the negative label alone": {"labels": (-1,)}},
)
def released_binary_sign(sign_by_label=False, labels=(1, -1)):
    """Up to the factor 30, the released binary loss is the binary VS-loss.

    It is for y = +1; for y = -1 the offset enters with the opposite sign, so it would have to be y ι_y in the code.
    """
    steps = Derivation()
    for label in labels:
        code, factors = _binary_code(label, sign_by_label)
        steps.equal(f"y = {label:+d}: e^L - 1", code, (sp.exp(iota) * factors) ** factor)
    return steps


@claim(
    "vs_loss.released_binary_form",
    source=cite("tailbound", "released binary loss of Kini et al. (2021)"),
    kind=Kind.SYMBOLIC,
    formula="the released loss is the binary VS-loss with Δ'_y = 30 Δ_y and ι'_y = 30 y ι_y",
    wrong={"ι'_y = 30 ι_y": {"sign": 1}, "ι' = y ι": {"scaled": 1}},
    exhaustive=True,
)
def released_binary_form(sign=-1, scaled=factor):
    """What the released binary loss computes: both parameters 30 times larger, the majority's offset turned round."""
    steps = Derivation()
    for label, turn in ((1, 1), (-1, sign)):
        code, factors = _binary_code(label, False)
        steps.equal(f"y = {label:+d}: e^L - 1", code, sp.exp(scaled * turn * iota) * factors**factor)
    return steps


@claim(
    "vs_loss.released_binary_values",
    source=cite("tailbound", "released binary loss of Kini et al. (2021), one example"),
    kind=Kind.NUMERIC,
    formula="f = 0.3, Δ = 0.7, ι = 0.4, factor 30, y = -1: released 0.00334, as stated in the paper 18.3",
    relation=Relation.EQUAL,
    rtol=2e-3,
    wrong={"the sign as in the paper": {"turn": 1}, "without the factor": {"factor": 1.0}},
)
def released_binary_values(turn=-1, factor=30.0):
    """On one negative example the turned sign changes the released loss by a factor of 5000."""
    score, delta, offset = 0.3, 0.7, 0.4
    released = np.logaddexp(0, factor * (delta * score + turn * offset))  # sigmoid loss of target 0
    library = LogisticLoss(delta=factor * delta, iota=factor * turn * offset).value(np.array(-score))
    paper = LogisticLoss(delta=factor * delta, iota=factor * offset).value(np.array(-score))
    return [released, library, paper], [0.00334, 0.00334, 18.3]


@claim(
    "vs_loss.released_binary_start",
    source=cite("tailbound", "released binary loss of Kini et al. (2021) at f = 0"),
    kind=Kind.NUMERIC,
    formula="ι_± = ±ι: first weights, minority over majority, are e^(s ι) in the paper's form and 1 as released",
    relation=Relation.EQUAL,
    rtol=1e-6,
    cases=cases(factor=[30.0], offset=[0.5, float(np.log(9))]),
    wrong={"as in the paper": {"turned": False}, "9, LA's ratio at π = 0.1": {"stated": 9.0}},
)
def released_binary_start(factor, offset, turned=True, stated=1.0):
    """With the sign turned round LA's offsets raise both classes alike: the start of training is not balanced.

    As released both weights are s σ(s ι), near their limit s for every offset above 0.2.
    """
    signs = (1, 1) if turned else (1, -1)  # ι_- = -ι_+, times y in the code
    weights = [initial_weight(1.0, factor, factor * sign * offset) for sign in signs]
    return weights[0] / weights[1], stated


@claim(
    "vs_loss.swapped_hyperparameters",
    source=cite("tailbound", "γ and τ exchanged in a re-implementation; Kini et al. (2021): γ 0.15, τ 1.25"),
    kind=Kind.NUMERIC,
    formula="CIFAR-10-LT, γ = 0.15, τ = 1.25: first weight of the rarest class >= 0.9 of the most frequent one's",
    relation=Relation.AT_LEAST,
    cases=({"gamma": 0.15, "tau": 1.25},),
    wrong={"exchanged: γ = 1.25, τ = 0.15": {"gamma": 1.25, "tau": 0.15}, "no offsets": {"gamma": 0.15, "tau": 0.0}},
)
def swapped_hyperparameters(gamma, tau):
    """With the tuned pair the rarest class starts level with the most frequent one; exchanged, at 1/300 of it."""
    class_counts = ClassCounts.long_tailed(100, num_classes=10, largest=5000)
    weights = initial_weights(vs_parameters(class_counts, gamma=gamma, tau=tau))
    return weights[-1] / weights[0], 0.9


# post-hoc multiplicative adjustment on a simplex of class directions


def _boundary(rho, ratio, sign=-1):
    """Angle from class c of the boundary against c' at angle ρ: tan θ = ((n_c'/n_c)^τ ∓ cos ρ) / sin ρ."""
    return (ratio + sign * sp.cos(rho)) / sp.sin(rho)


@claim(
    "vs_loss.mla_boundary",
    source=cite("hasegawa2025", "post-hoc factors π_c^(-τ) on cosines; derived here"),
    kind=Kind.SYMBOLIC,
    formula="n_c^(-τ) cos θ = n_c'^(-τ) cos(ρ - θ) iff tan θ = ((n_c'/n_c)^τ - cos ρ) / sin ρ",
    wrong={"+ cos ρ": {"sign": 1}, "counts inverted": {"power": -1}},
    exhaustive=True,
    assumptions=("features on the arc between two class directions at angle ρ",),
)
def mla_boundary(sign=-1, power=1):
    """Where the scores of two classes agree after multiplicative adjustment; the rival's count pushes it away."""
    rho, theta = sp.symbols("rho theta", positive=True)
    ratio = sp.Symbol("r", positive=True)  # (n_c'/n_c)^τ
    tangent = _boundary(rho, ratio**power, sign)
    other_score = sp.cos(rho) + sp.sin(rho) * tangent  # cos(ρ - θ) / cos θ
    return (
        Derivation()
        .equal(
            "cos(ρ - θ)", sp.expand_trig(sp.cos(rho - theta)), sp.cos(rho) * sp.cos(theta) + sp.sin(rho) * sp.sin(theta)
        )
        .equal("scores over cos θ: n_c'^(-τ) cos(ρ - θ) / cos θ = n_c^(-τ)", sp.simplify(other_score), ratio)
    )


@claim(
    "vs_loss.mla_boundary_as_released",
    source=cite("hasegawa2025", "released helper of the boundary"),
    kind=Kind.NUMERIC,
    formula="equal sizes: arctan((1 + cos ρ) / sin ρ) = ρ/2, the bisector, cos ρ = -1/(K - 1)",
    relation=Relation.EQUAL,
    atol=1e-9,
    cases=cases(num_classes=[10, 3, 100]),
    expected="fails",
    corrected_by="vs_loss.mla_boundary",
    right={"sign": -1},
    wrong={"two classes more": {"num_classes": 12}},
)
def mla_boundary_as_released(num_classes, sign=1):
    """The released helper places the boundary of two equal classes half way between them.

    For ten classes it says 0.730 where half way is 0.841; beyond a hundred classes cos ρ hardly matters.
    """
    cosine = -1 / (num_classes - 1)
    return np.arctan2(1 + sign * cosine, np.sqrt(1 - cosine**2)), np.arccos(cosine) / 2


@claim(
    "vs_loss.mla_boundary_values",
    source=cite("tailbound", "bisection on adjusted cosines"),
    kind=Kind.NUMERIC,
    formula="root of n_c^(-τ) cos θ = n_c'^(-τ) cos(ρ - θ) on the arc = arctan(((n_c'/n_c)^τ - cos ρ) / sin ρ)",
    relation=Relation.EQUAL,
    rtol=1e-9,
    cases=cases(num_classes=[3, 10, 100], ratio=[1.0, 0.1, 10.0], tau=[0.5, 1.6]),
    wrong={"+ cos ρ": {"sign": 1}},
)
def mla_boundary_values(num_classes, ratio, tau, sign=-1):
    """Walking along the arc between two classes, the adjusted decision flips at the stated angle."""
    from scipy.optimize import brentq

    rho = np.arccos(-1 / (num_classes - 1))
    flip = brentq(lambda theta: ratio**tau * np.cos(theta) - np.cos(rho - theta), 0.0, rho, xtol=1e-14)
    return flip, float(sp.atan2(ratio**tau + sign * np.cos(rho), np.sin(rho)))
