"""What is the same as what: offsets and biases, the binary and the multi-class form, class weights and thresholds."""

from fractions import Fraction

import numpy as np
import sympy as sp

from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.class_counts import ClassCounts
from ...core.derivation import Derivation
from ...core.sources import cite
from ...ldam.losses import ldam_loss
from ...ldam.margins import class_margins
from ...vs_loss.losses import vs_loss, vs_parameters
from ...vs_loss.scalar_losses import vs_family

f = sp.Symbol("f", real=True)


@claim(
    "vs_loss.bias_absorbs_offsets",
    source=cite("tailbound", "linear scores with a free bias"),
    kind=Kind.SYMBOLIC,
    formula="b = b_0 + (ι_+ - ι_-)/2 turns offsets (ι_+, ι_-) into (m, m), m = (ι_+ + ι_-)/2; for K logits b = b_0 - ι",
    wrong={"the sum too": {"common": 0}, "opposite bias": {"sign": -1}},
    exhaustive=True,
)
def bias_absorbs_offsets(common=1, sign=1):
    """A free bias absorbs LA's offsets exactly; of binary offsets it absorbs the difference and leaves the mean.

    LA has ι_- = -ι_+, so nothing is left. LDAM's are both positive: what is left is a common margin m.
    """
    plus, minus, b0 = sp.symbols("iota_+ iota_- b_0", real=True)
    f_y, f_j, iota_y, iota_j, b_y, b_j = sp.symbols("f_y f_j iota_y iota_j b_y b_j", real=True)
    b = b0 + sign * (plus - minus) / 2
    left = common * (plus + minus) / 2
    return (
        Derivation()
        .equal(
            "K logits: every difference of adjusted scores is that of CE",
            (f_y + (b_y - iota_y) + iota_y) - (f_j + (b_j - iota_j) + iota_j),
            (f_y + b_y) - (f_j + b_j),
        )
        .equal("y = +1: the exponent ι_+ - (f + b)", plus - (f + b), left - (f + b0))
        .equal("y = -1: the exponent ι_- + (f + b)", minus + (f + b), left + (f + b0))
        .equal("LA: nothing is left", left.subs(minus, -plus) if common else 0, 0)
    )


@claim(
    "vs_loss.la_is_post_hoc_adjustment",
    source=cite("menon2021", "the two forms of logit adjustment, for linear scores with a free bias"),
    kind=Kind.CONVEX,
    formula="argmin of LA + (λ/2)||W||² over (W, b) = (W_CE, b_CE - τ log π + const)",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=cases(num_classes=[2, 3], tau=[1.0, 2.25]),
    wrong={
        "without a bias": {"bias": "none"},
        "ridge on the bias too": {"bias": "penalised"},
        "LDAM in the place of LA": {"margin": 0.5},
        "bias added": {"sign": 1},
    },
    assumptions=("a linear model whose bias is free and not penalised, trained to its optimum",),
)
def la_is_post_hoc_adjustment(num_classes, tau, bias="free", margin=0.0, sign=-1):
    """Training with LA's offsets is plain training followed by post-hoc logit adjustment: same weights, moved bias.

    Two convex solves agree. The data are not separable, so that both have an optimum without a ridge as well.
    """
    import cvxpy as cp

    from ...core.convex import solve

    features, labels = _overlapping(num_classes)
    class_counts = ClassCounts(tuple(np.bincount(labels).tolist()))
    target = np.eye(num_classes)[labels]
    ones = np.ones((len(labels), 1))

    def fit(offsets, margins):
        W, b = cp.Variable((features.shape[1], num_classes)), cp.Variable((1, num_classes))
        logits = features @ W + ones @ (b + offsets[None, :]) - target * margins
        loss = cp.sum(cp.log_sum_exp(logits, axis=1)) - cp.sum(cp.multiply(target, logits))
        ridge = cp.sum_squares(W) + (cp.sum_squares(b) if bias == "penalised" else 0)
        pinned: cp.Constraint = b == 0 if bias == "none" else cp.sum(b) == 0  # pyright: ignore[reportAssignmentType]
        certificate = solve(cp.Problem(cp.Minimize(loss / len(labels) + 0.05 * ridge), [pinned]), tolerance=1e-7)
        assert W.value is not None
        assert b.value is not None
        return np.vstack([W.value, b.value]), certificate

    offsets = vs_parameters(class_counts, tau=tau).iota
    plain, _ = fit(np.zeros(num_classes), np.zeros(num_classes))
    if margin:
        trained, certificate = fit(np.zeros(num_classes), class_margins(class_counts, max_margin=margin))
    else:
        trained, certificate = fit(offsets, np.zeros(num_classes))
    plain[-1] += sign * (offsets - offsets.mean()) * (bias != "none")
    return Sides(trained, plain, note=f"class counts {class_counts.counts}, duality gap {certificate.gap:.1e}")


def _overlapping(num_classes):
    """Well-spread points of classes with 8, 4, 2 … examples that no linear score separates; nothing random."""
    labels = np.repeat(np.arange(num_classes), [8 // 2**k for k in range(num_classes)])
    steps = np.sqrt(np.array([2, 3, 5])[:num_classes])
    features = np.outer(np.arange(1, len(labels) + 1), steps) % 1 - 0.5
    features[np.arange(len(labels)), labels] += 0.25
    return features, labels


# the binary and the multi-class form


@claim(
    "vs_loss.binary_offset_of_la",
    source=cite("tailbound", "Kini et al. (2021), binary and multi-class VS-loss"),
    kind=Kind.SYMBOLIC,
    formula="K = 2, Δ = 1: multi-class ι_c = τ log π_c is binary ι_y = τ log(π_-y / π_y)",
    wrong={"the same sign in both": {"sign": -1}, "ι_y = τ log π_y in both": {"own": True}},
    exhaustive=True,
    assumptions=("scalar score f = f_+ - f_-",),
)
def binary_offset_of_la(sign=1, own=False):
    """The rare class has the smaller offset among K logits and the larger one in the binary form."""
    first, second = sp.symbols("f_+ f_-", real=True)
    tau = sp.Symbol("tau", positive=True)
    more = sp.Symbol("m", positive=True)
    rare = 1 / (2 + more)  # every prior below 1/2
    rest = 1 - rare
    odds = {y: sp.exp(score) * prior**tau for y, score, prior in ((1, first, rare), (-1, second, rest))}
    ratio = {1: rest / rare, -1: rare / rest}
    steps = Derivation()
    for y, name in ((1, "rare"), (-1, "frequent")):
        stated = {1: rare, -1: rest}[y] ** tau if own else ratio[y] ** (sign * tau)
        steps.equal(f"the {name} class: e^L - 1", odds[-y] / odds[y], stated * sp.exp(-y * (first - second)))
    return (
        steps.positive("multi-class: log π of the frequent class is larger", sp.log(rest / rare).expand())
        .positive("binary: τ log(π_-y/π_y) is positive for the rare class", tau * sp.log(1 + more))
        .equal("the two offsets are opposite", ratio[1] * ratio[-1], 1)
    )


@claim(
    "vs_loss.binary_members_code",
    source=cite("tailbound", "library formulas: vs_family against vs_loss and ldam_loss at K = 2"),
    kind=Kind.NUMERIC,
    formula="binary CE, weighted CE, LA and LDAM of f_1 - f_2 = their multi-class forms on (f_1, f_2)",
    relation=Relation.EQUAL,
    rtol=1e-12,
    cases=cases(name=["ce", "wce", "la", "ldam"]),
    wrong={
        "LA's offset turned round": {"name": "la", "turned": -1},
        "LDAM's margin halved": {"name": "ldam", "half": 0.5},
    },
)
def binary_members_code(name, turned=1, half=1.0):
    """The library's binary members and its multi-class losses of two classes are the same functions."""
    class_counts = ClassCounts((50, 450))  # the minority first
    logits = np.column_stack([np.linspace(-3, 3, 13), np.sin(np.arange(13.0))])
    scores = logits[:, 0] - logits[:, 1]
    pair = vs_family(name, 0.1, tau=1.25, max_margin=0.5)
    computed = [loss.value(y * scores) for loss, y in zip(pair, (1, -1), strict=True)]
    parameters = vs_parameters(class_counts, tau=1.25 if name == "la" else 0.0)
    parameters = parameters._replace(iota=turned * parameters.iota)
    if name == "wce":
        parameters = parameters._replace(omega=1 / (2 * class_counts.priors))
    margins = half * class_margins(class_counts, max_margin=0.5)
    labels = [np.full(len(logits), c) for c in (0, 1)]
    if name == "ldam":
        return computed, [ldam_loss(logits, label, margins) for label in labels]
    return computed, [vs_loss(logits, label, parameters) for label in labels]


@claim(
    "vs_loss.factors_agree_in_both_forms",
    source=cite("kini2021", "multi-class VS-loss, read for K = 2"),
    kind=Kind.NUMERIC,
    formula="binary CDT of f_1 - f_2 = multi-class CDT of (f_1, f_2), Δ_c = (n_c/n_max)^γ",
    relation=Relation.EQUAL,
    rtol=1e-12,
    cases=cases(gamma=[0.3, 1.0]),
    expected="fails",
    corrected_by="vs_loss.two_logits_ignore_factors",
    right={"gamma": 0.0},
    wrong={"γ = 0.15": {"gamma": 0.15}},
)
def factors_agree_in_both_forms(gamma):
    """For two classes the multiplicative factors mean the same in the binary and in the multi-class form.

    In the binary form the label chooses the factor of one score; among logits each factor stays with its logit.
    """
    logits = np.column_stack([np.linspace(-3, 3, 13), np.sin(np.arange(13.0))])
    parameters = vs_parameters(ClassCounts((50, 450)), gamma=gamma)
    pair = vs_family("cdt", 0.1, gamma=gamma)
    computed = [loss.value(y * (logits[:, 0] - logits[:, 1])) for loss, y in zip(pair, (1, -1), strict=True)]
    return computed, [vs_loss(logits, np.full(len(logits), c), parameters) for c in (0, 1)]


# thresholds


@claim(
    "vs_loss.threshold_band",
    source=cite("tailbound", "Lyu et al. (2026), Proposition C.1; Kini et al. (2021), CS-SVM"),
    kind=Kind.SYMBOLIC,
    formula="b_δ/||w_δ|| = (b_1 + (δ-1)/(δ+1)) / ||w_1||: δ in (0, ∞) covers the open band of half-width 1/||w_1||",
    wrong={"shift (δ-1)/2": {"whole": 2}, "half the band": {"reach": sp.Rational(1, 2)}},
    exhaustive=True,
    assumptions=("a free, unpenalised intercept (claim vs_loss.margin_ratio_path)",),
)
def threshold_band(whole=None, reach=1):
    """With an intercept the cost-sensitive SVM is the SVM with a threshold between its two margin hyperplanes.

    Every such threshold belongs to one margin ratio and none outside to any: training buys nothing a shift does not.
    """
    delta, norm, share = sp.symbols("delta n s", positive=True)
    b = sp.Symbol("b", real=True)
    grow = (delta + 1) / 2
    moved = (grow * b + (delta - 1) / 2) / (grow * norm) - b / norm
    stated = (delta - 1) / (delta + 1 if whole is None else whole) / norm
    inside = 1 / (1 + share)  # every t in (0, 1)
    ratio = (1 + inside) / (1 - inside)
    return (
        Derivation()
        .equal("the shift of the normalised intercept", moved, stated)
        .positive("grows with δ", sp.diff(moved, delta))
        .equal("a shift of t margins belongs to δ = (1 + t)/(1 - t)", moved.subs(delta, ratio) * norm, inside)
        .equal("and -t to 1/δ", moved.subs(delta, 1 / ratio) * norm, -inside)
        .positive("it stays below one margin", reach / norm - moved)
        .positive("on both sides", reach / norm + moved)
    )


@claim(
    "vs_loss.weighted_threshold",
    source=cite("cortes2025", "class-weighted losses; threshold derived here"),
    kind=Kind.SYMBOLIC,
    formula="argmin_f of η c_+ l(f) + (1-η) c_- l(-f): f = log(c_+ η / (c_- (1-η))), 0 at η = c_-/(c_+ + c_-)",
    wrong={"1/2": {"threshold": sp.Rational(1, 2)}, "weights exchanged": {"exchanged": True}},
    exhaustive=True,
    assumptions=("l(f) = log(1 + e^-f); all measurable scores",),
)
def weighted_threshold(threshold=None, exchanged=False):
    """Weighted CE decides at P(y=1|x) = c_-/(c_+ + c_-), like the weighted 0-1 loss; c = 1/π: balanced error."""
    plus, minus, odds = sp.symbols("c_+ c_- o", positive=True)
    eta = odds / (1 + odds)  # every η in (0, 1)
    more = sp.Symbol("r", positive=True)
    prior = 1 / (1 + more)
    risk = eta * plus * sp.log(1 + sp.exp(-f)) + (1 - eta) * minus * sp.log(1 + sp.exp(f))
    best = sp.log(plus * odds / minus)
    at = (plus if exchanged else minus) / (plus + minus) if threshold is None else threshold
    odds_at = at / (1 - at)
    return (
        Derivation()
        .positive("the weighted risk is strictly convex", sp.simplify(sp.diff(risk, f, 2)))
        .equal("stationary at the stated score", sp.simplify(sp.diff(risk, f).subs(f, best)), 0)
        .equal("weighted 0-1: +1 costs (1-η) c_-, -1 costs η c_+: equal there", (plus * eta).subs(odds, odds_at),
               (minus * (1 - eta)).subs(odds, odds_at))
        .equal("the score vanishes there", sp.exp(best).subs(odds, odds_at), 1)
        .equal("c = 1/π: the threshold is the prior, Bayes for the balanced error",
               at.subs({plus: 1 / prior, minus: 1 / (1 - prior)}) if threshold is None else at, prior)
    )  # fmt: skip


@claim(
    "vs_loss.weighted_loss_consistent",
    source=cite("tailbound", "a common reading; Cortes et al. (2025), abstract, deny it"),
    kind=Kind.EXACT,
    formula="the minimiser of weighted CE, c_+ ≠ c_-, decides at P(y=1|x) = 1/2, as the plain 0-1 loss asks",
    relation=Relation.EQUAL,
    cases=cases(weights=[(3, 1), (9, 1), (1, 4)]),
    expected="fails",
    corrected_by="vs_loss.weighted_threshold",
    right={"weights": (2, 2)},
    wrong={"weights 1 : 2": {"weights": (1, 2)}},
)
def weighted_loss_consistent(weights):
    """Class weights leave the consistency for the ordinary error alone (they move the threshold to c_-/(c_+ + c_-))."""
    eta = sp.Symbol("eta", positive=True)
    plus, minus = (sp.Integer(weight) for weight in weights)
    (threshold,) = sp.solve(plus * eta - minus * (1 - eta), eta)
    return Fraction(int(threshold.p), int(threshold.q)), Fraction(1, 2)
