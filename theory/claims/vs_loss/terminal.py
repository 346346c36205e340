"""Training past zero error: only the multiplicative factors choose the direction, and at which rate.

Where a check needs a bias it is penalised like any weight, as descent and a ball do: a column of ones. The minimiser
in a ball is w_R = R u* + v + o(1), so the direction of w_2R - w_R is the limit up to the same o(1).
"""

import numpy as np
import sympy as sp
from scipy.special import lambertw

from ...core.claims import Kind, Relation, cases, claim
from ...core.derivation import Derivation
from ...core.points import separable_points
from ...core.sources import cite
from ...vs_loss.implicit_bias import (
    PairwiseLoss,
    angle,
    ball_minimiser,
    direction_bound,
    first_order_term,
    terminal,
)
from ...vs_loss.losses import VSParameters
from ...vs_loss.svm import solve_multiclass_svm, solve_svm

FAR = 1e5  # a radius at which the first-order term is all that is left of the way to the limit
NEUTRAL = (1.0, 1.0)
MIXES = (  # (minority, majority) of delta, iota, omega
    {"delta": (0.5, 1.0), "iota": (0.0, 0.0), "omega": NEUTRAL},
    {"delta": (1.0, 0.4), "iota": (3.0, -1.0), "omega": NEUTRAL},
    {"delta": (0.3, 1.0), "iota": (2.0, 0.0), "omega": (5.0, 0.5)},
)
ADDITIVE = (
    {"iota": (0.0, 0.0), "omega": (9.0, 1.0)},
    {"iota": (3.0, -3.0), "omega": NEUTRAL},
    {"iota": (0.5, 0.2), "omega": (1.0, 4.0)},
)


def binary_loss(features, labels, delta, iota, omega) -> PairwiseLoss:
    """The binary VS-loss with a penalised bias; pairs are (minority, majority)."""
    each = {name: np.where(labels > 0, *pair) for name, pair in (("delta", delta), ("iota", iota), ("omega", omega))}
    return PairwiseLoss.signed(_with_ones(features), labels, **each)


def _with_ones(features):
    return np.column_stack([features, np.ones(len(features))])


def cost_sensitive(features, labels, required, intercept="penalised"):
    """(w, b) of the certified SVM with these required margins."""
    found = solve_svm(features @ features.T, labels, required, intercept=intercept)
    return np.append(found.coefficients @ features, found.intercept)


def unit(vector):
    """The vector divided by its norm."""
    return vector / np.linalg.norm(vector)


def _limit(loss: PairwiseLoss, radius: float = FAR):
    """Direction of w_2R - w_R."""
    return unit(ball_minimiser(loss, 2 * radius) - ball_minimiser(loss, radius))


@claim(
    "vs_loss.terminal_direction",
    source=cite("kini2021", "Theorem 1"),
    kind=Kind.CONVEX,
    formula="w_R / R -> direction of the CS-SVM with δ = Δ_-/Δ_+, w_R = argmin of the loss over ||w|| <= R",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=tuple({"dimension": d, **mix} for d, mix in zip((2, 4, 6), MIXES, strict=True)),
    wrong={
        "δ inverted": {"power": -1},
        "δ ignored": {"power": 0},
        "weights enter": {"by_weight": 1},
        "offsets enter": {"by_offset": 1, "iota": (2.0, 0.0)},
    },
    assumptions=("linear scores, separable data", "the bias, if any, is penalised like the weights"),
)
def terminal_direction(dimension, delta, iota, omega, power=1, by_weight=0, by_offset=0):
    """Trained past zero error, the binary VS-loss tends to the cost-sensitive SVM, whatever its weights and offsets."""
    features, labels = separable_points(4, 20, dimension)
    ratio = (
        (delta[1] / delta[0]) ** power * (omega[0] / omega[1]) ** by_weight * np.exp(by_offset * (iota[0] - iota[1]))
    )
    stated = cost_sensitive(features, labels, np.where(labels > 0, ratio, 1.0))
    return _limit(binary_loss(features, labels, delta, iota, omega)), unit(stated)


@claim(
    "vs_loss.additive_terms_do_nothing",
    source=cite("kini2021", "Theorem 1, at Δ = 1: weighted CE, LA, binary LDAM"),
    kind=Kind.CONVEX,
    formula="Δ_+ = Δ_-: w_R / R -> direction of the plain SVM for every ω, ι",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=ADDITIVE,
    wrong={"a factor does nothing either": {"delta": (0.5, 1.0)}, "equal factors above 1 too": {"delta": (2.0, 3.0)}},
    assumptions=("linear scores, separable data, training past zero error",),
)
def additive_terms_do_nothing(iota, omega, delta=NEUTRAL):
    """Weights and offsets leave no trace in the terminal phase; multiplicative factors do."""
    features, labels = separable_points(4, 20, 3)
    return _limit(binary_loss(features, labels, delta, iota, omega)), unit(cost_sensitive(features, labels, 1.0))


@claim(
    "vs_loss.reweighting_moves_margins",
    source=cite("tailbound", "a common reading of class weights"),
    kind=Kind.CONVEX,
    formula="with weights ω_y = 1/π_y the limit is the CS-SVM with δ = π_-/π_+",
    relation=Relation.EQUAL,
    atol=1e-6,
    expected="fails",
    corrected_by="vs_loss.additive_terms_do_nothing",
    right={"ratio": 1.0},
    wrong={"δ = √(π_-/π_+)": {"ratio": np.sqrt(5.0)}},
)
def reweighting_moves_margins(ratio=5.0):
    """On separable data class weights buy the minority a margin in proportion, as factors would."""
    features, labels = separable_points(4, 20, 3)
    loss = binary_loss(features, labels, NEUTRAL, (0.0, 0.0), (6.0, 1.2))
    return _limit(loss), unit(cost_sensitive(features, labels, np.where(labels > 0, ratio, 1.0)))


@claim(
    "vs_loss.terminal_rate",
    source=cite("tailbound", "first order of Kini et al. (2021), Theorem 1"),
    kind=Kind.CONVEX,
    formula="R · angle(w_R, CS-SVM) -> ||v||, ⟨v, z_i⟩ = log ω_i + ι_i - log p_i - c on the margin, p the dual shares",
    relation=Relation.EQUAL,
    rtol=1e-3,
    cases=tuple({"dimension": d, **mix} for d, mix in zip((2, 3, 4), MIXES, strict=True)),
    wrong={
        "1 / R²": {"power": 2},
        "1 / √R": {"power": 0.5},
        "weights and offsets forgotten": {"forget": True, "iota": (3.0, 0.0)},
    },
    assumptions=("every point on the margin carries a dual share, as almost all data do",),
)
def terminal_rate(dimension, delta, iota, omega, power=1, forget=False):
    """Weights and offsets fade from the direction like 1/R, with a constant that the dual solution gives."""
    features, labels = separable_points(4, 20, dimension)
    loss = binary_loss(features, labels, delta, iota, omega)
    limit = cost_sensitive(features, labels, np.where(labels > 0, delta[1] / delta[0], 1.0))
    plain = binary_loss(features, labels, delta, (0.0, 0.0), NEUTRAL)
    v = first_order_term(plain if forget else loss, terminal(loss))
    return FAR**power * angle(ball_minimiser(loss, FAR), limit), np.linalg.norm(v)


@claim(
    "vs_loss.terminal_bound",
    source=cite("tailbound", "log-sum-exp and a projection"),
    kind=Kind.CONVEX,
    formula="γ* - margin(w_R/R) <= B/R, cos angle >= 1 - B/(γ* R), B = log Σ e^s - min s + rest, s = log ω + ι",
    relation=Relation.AT_MOST,
    cases=tuple({"radius": radius, **mix} for radius in (10.0, 100.0, 1e4) for mix in MIXES),
    wrong={
        "B / R²": {"power": 2},
        "B without the offsets": {"forget": True, "iota": (60.0, 0.0)},
        "a hundredth": {"factor": 0.01},
    },
    assumptions=("separable data; nothing else",),
)
def terminal_bound(radius, delta, iota, omega, power=1, factor=1.0, forget=False):
    """At every radius, and for every separable data set, an explicit bound holds on margin and angle."""
    features, labels = separable_points(4, 20, 3)
    loss = binary_loss(features, labels, delta, iota, omega)
    limit = terminal(loss)
    w = ball_minimiser(loss, radius)
    stated = direction_bound(
        binary_loss(features, labels, delta, (0.0, 0.0), NEUTRAL) if forget else loss, limit, radius
    )
    shrink = factor / radius ** (power - 1)
    shortfall = limit.margin - (loss.rows @ w).min() / radius
    return [shortfall, angle(w, limit.direction)], [shrink * stated[0], shrink * stated[1]]


@claim(
    "vs_loss.terminal_bound_steps",
    source=cite("tailbound", "log-sum-exp and a projection"),
    kind=Kind.SYMBOLIC,
    formula="ω log(1 + e^t) <= A e^(-Rγ*) gives t <= log A - log ω - Rγ* + x, x = A e^(-Rγ*)/ω; cos >= γ/γ*",
    wrong={"without the rest x": {"rest": 0}, "cos >= √(γ/γ*)": {"root": 2}},
    exhaustive=True,
)
def terminal_bound_steps(rest=1, root=1):
    """The bound's proof: the loss at R u* is at most A e^(-Rγ*), no row may exceed it alone, and u* is a projection."""
    x, y, A, omega, m = sp.symbols("x y A omega m", positive=True)
    star, gamma = sp.symbols("gamma* gamma", positive=True)
    above = rest * x * sp.exp(x) + (1 - rest) * x - (sp.exp(x) - 1)  # x e^(rest x) - (e^x - 1)
    t = sp.log(A) - m - sp.log(omega)  # the bound, less its rest x
    inner, own = sp.symbols("w·ŵ ŵ·ŵ", real=True)
    slack = sp.Symbol("s", nonnegative=True)  # w·ŵ - ŵ·ŵ
    return (
        Derivation()
        .equal("y - log(1 + y) is 0 at y = 0", (y - sp.log(1 + y)).subs(y, 0), 0)
        .positive("and rises, so log(1 + e^t) <= e^t and L(R u*) <= A e^(-Rγ*)", sp.diff(y - sp.log(1 + y), y))
        .equal("x e^x - (e^x - 1) is 0 at x = 0", above.subs(x, 0), 0)
        .positive("and rises, so e^x - 1 <= x e^x", sp.diff(above, x))
        .equal("x e^x at x = A e^(-m)/ω is e^t", A * sp.exp(-m) / omega * sp.exp(x), sp.exp(t + x))
        .equal(
            "ŵ is nearest to 0: d/ds ||ŵ + s(w - ŵ)||² / 2 at s = 0 is w·ŵ - ŵ·ŵ >= 0 for feasible w",
            sp.diff((own + 2 * x * (inner - own)) / 2, x),
            inner - own,
        )
        .nonnegative(
            "so w = u/γ gives u·u* = γ γ* w·ŵ >= γ γ* ||ŵ||², ||ŵ|| = 1/γ*",
            gamma * star * (1 / star**2 + slack) - (gamma / star) ** sp.Rational(1, root),
        )
    )


@claim(
    "vs_loss.rate_degenerate",
    source=cite("tailbound", "two points, one on the margin without a dual share"),
    kind=Kind.NUMERIC,
    formula="z = (1, 0), (1, 1): R · angle(w_R) -> W(R e^(s_2 - s_1)) (Lambert), so it grows like log R",
    relation=Relation.EQUAL,
    rtol=1e-3,
    cases=cases(radius=[1e4, 1e5, 1e6], offset=[0.0, 2.0]),
    wrong={"bounded": {"stated_radius": 1e2}, "offset forgotten": {"stated_offset": 0.0, "offset": 2.0}},
)
def rate_degenerate(radius, offset, stated_radius=None, stated_offset=None):
    """The rate 1/R needs general position: a point that touches the margin without a share slows it to log(R)/R."""
    loss = PairwiseLoss(np.array([[[1.0, 0.0]], [[1.0, 1.0]]]), np.array([[0.0], [offset]]), np.ones(2))
    computed = radius * angle(ball_minimiser(loss, radius), np.array([1.0, 0.0]))
    odds = np.exp(offset if stated_offset is None else stated_offset)
    return computed, lambertw((stated_radius or radius) * odds).real


# K classes


def _classes(num_classes, examples=24):
    """Well-spread points of K separable classes in K + 1 dimensions; nothing random."""
    labels = np.arange(examples) % num_classes
    steps = np.sqrt(np.array([2, 3, 5, 7, 11, 13, 17])[: num_classes + 1])
    features = np.outer(np.arange(1, examples + 1), steps) % 1 - 0.5
    features[np.arange(examples), labels] += 1.5
    return features, labels


@claim(
    "vs_loss.terminal_multiclass",
    source=cite("kini2021", "Theorem 1, multi-class form; reconstructed"),
    kind=Kind.CONVEX,
    formula="W_R / R -> direction of min Σ||w_c||² with Δ_y ⟨w_y, x⟩ - Δ_c ⟨w_c, x⟩ >= 1",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=(
        {"delta": (1.0, 0.6, 0.3), "iota": (0.0, 0.0, 0.0), "omega": (1.0, 1.0, 1.0)},
        {"delta": (0.5, 1.0, 0.8), "iota": (-0.1, -2.0, -3.0), "omega": (1.0, 2.0, 6.0)},
        {"delta": (1.0, 0.8, 0.5, 0.3), "iota": (0.0, 1.0, -1.0, 2.0), "omega": (1.0, 1.0, 3.0, 9.0)},
    ),
    wrong={
        "factors ignored": {"stated": "plain"},
        "factors inverted": {"stated": "inverted"},
        "required margins 1/Δ_y": {"stated": "margins"},
    },
    assumptions=("linear logits without a bias, separable data",),
)
def terminal_multiclass(delta, iota, omega, stated="factors"):
    """With K logits the factors scale each class's score inside the constraints; weights and offsets drop out."""
    features, labels = _classes(len(delta))
    parameters = VSParameters(*(np.array(values) for values in (delta, iota, omega)))
    choices = {
        "factors": {"delta": parameters.delta},
        "plain": {},
        "inverted": {"delta": 1 / parameters.delta},
        "margins": {"required": 1 / parameters.delta},
    }
    found = solve_multiclass_svm(features @ features.T, labels, intercept="none", **choices[stated])
    return _limit(PairwiseLoss.multiclass(features, labels, parameters)), unit(
        (found.coefficients.T @ features).ravel()
    )


@claim(
    "vs_loss.additive_terms_do_nothing_multiclass",
    source=cite("kini2021", "Theorem 1, multi-class form; Cao et al. (2019), Eq. 13, for LDAM"),
    kind=Kind.CONVEX,
    formula="K = 3, Δ = 1: weighted CE, LA and LDAM on unnormalised linear logits tend to the plain multi-class SVM",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=cases(loss=["weights", "offsets", "ldam"]),
    wrong={"CDT too": {"loss": "factors"}},
    assumptions=("linear logits without a bias, separable data, training past zero error",),
)
def additive_terms_do_nothing_multiclass(loss):
    """LDAM's margins, LA's offsets and class weights leave no trace in the terminal phase of a linear model."""
    features, labels = _classes(3)
    one, zero, rare = np.ones(3), np.zeros(3), np.array([1.0, 0.3, 0.1])
    chosen = {
        "weights": VSParameters(one, zero, 1 / rare),
        "offsets": VSParameters(one, np.log(rare), one),
        "ldam": VSParameters(one, zero, one),
        "factors": VSParameters(rare**0.3, zero, one),
    }[loss]
    pairwise = PairwiseLoss.multiclass(features, labels, chosen)
    if loss == "ldam":
        margins = rare[labels] ** -0.25
        pairwise = PairwiseLoss(pairwise.rows, np.repeat(margins[:, None], 2, axis=1), pairwise.weights)
    found = solve_multiclass_svm(features @ features.T, labels, intercept="none")
    return _limit(pairwise), unit((found.coefficients.T @ features).ravel())


@claim(
    "vs_loss.two_logits_are_cost_sensitive",
    source=cite("kini2021", "multi-class VS-loss, read for K = 2"),
    kind=Kind.CONVEX,
    formula="K = 2: the direction of w_1 - w_2 tends to the CS-SVM with δ = Δ_2/Δ_1, as in the binary form",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=cases(delta=[(0.5, 1.0), (0.2, 1.0)]),
    expected="fails",
    corrected_by="vs_loss.two_logits_ignore_factors",
    right={"ratio": 1.0},
    wrong={"δ inverted": {"ratio": 0.5}},
)
def two_logits_arecost_sensitive(delta, ratio=None):
    """With two logits the softmax form and its factors select the cost-sensitive SVM, as the binary form does.

    It selects the plain SVM: both labels see one score Δ_1 f_1 - Δ_2 f_2, whose sign is all that is fitted.
    """
    features, labels = separable_points(4, 20, 3)
    features = _with_ones(features)
    parameters = VSParameters(np.array(delta), np.zeros(2), np.ones(2))
    limit = _limit(PairwiseLoss.multiclass(features, np.where(labels > 0, 0, 1), parameters)).reshape(2, -1)
    required = np.where(labels > 0, delta[1] / delta[0] if ratio is None else ratio, 1.0)
    return unit(limit[0] - limit[1]), unit(cost_sensitive(features[:, :-1], labels, required))


@claim(
    "vs_loss.two_logits_ignore_factors",
    source=cite("tailbound", "Kini et al. (2021), multi-class VS-loss at K = 2"),
    kind=Kind.SYMBOLIC,
    formula="min |w_1|² + |w_2|² at Δ_1 w_1 - Δ_2 w_2 = v is |v|²/(Δ_1²+Δ_2²), with w_1 - w_2 a positive multiple of v",
    wrong={"factors exchanged": {"exchange": True}},
    exhaustive=True,
    assumptions=("linear logits; a bias, if any, penalised; training past zero error",),
)
def two_logits_ignore_factors(exchange=False):
    """With two logits, CDT and VS decide like the plain SVM: their factors cancel from w_1 - w_2.

    The constraints see w only through v, which must separate with margin 1 on both sides, and the least norm for a
    given v grows with |v| alone: v is the plain SVM.
    """
    first, second = sp.symbols("Delta_1 Delta_2", positive=True)
    v, t = sp.symbols("v t", real=True)
    a, b = (second, first) if exchange else (first, second)
    total = first**2 + second**2
    w = a * v / total, -b * v / total
    other = w[0] + second * t, w[1] + first * t
    return (
        Derivation()
        .equal("it meets the constraint", first * w[0] - second * w[1], v)
        .equal("so do the others", first * other[0] - second * other[1], v)
        .equal("at a larger norm", other[0] ** 2 + other[1] ** 2 - w[0] ** 2 - w[1] ** 2, t**2 * total)
        .equal("the norm is a multiple of |v|", w[0] ** 2 + w[1] ** 2, v**2 / total)
        .equal("the decision's weights are a multiple of v", w[0] - w[1], (first + second) / total * v)
        .positive("and a positive one", (first + second) / total)
    )


# groups


@claim(
    "vs_loss.terminal_groups",
    source=cite("kini2021", "GS-SVM, group form of Theorem 1; reconstructed"),
    kind=Kind.CONVEX,
    formula="w_R / R -> direction of the GS-SVM; Δ_{y,g} = Δ_g: required margin of group 1 over group 2 = Δ_2/Δ_1",
    relation=Relation.EQUAL,
    atol=1e-6,
    cases=(
        {"delta": ((0.4, 1.0), (0.4, 1.0)), "iota": ((0.0, 0.0), (0.0, 0.0))},
        {"delta": ((0.4, 1.0), (0.4, 1.0)), "iota": ((2.0, -1.0), (0.5, 1.0))},
        {"delta": ((0.3, 0.8), (0.6, 1.2)), "iota": ((1.0, 0.0), (0.0, 3.0))},
    ),
    wrong={"δ inverted": {"power": -1}, "groups ignored": {"power": 0}, "offsets enter": {"by_offset": 1}},
    assumptions=("linear scores, separable data", "the bias is penalised like the weights"),
)
def terminal_groups(delta, iota, power=1, by_offset=0):
    """The group VS-loss tends to the group-sensitive SVM: each cell (y, g) requires a margin in proportion to 1/Δ."""
    features, labels = separable_points(6, 18, 4)
    groups = (np.arange(len(labels)) % 3 > 0).astype(int)  # a third of each class is in the first group
    cell = np.where(labels > 0, 0, 1), groups
    factors, offsets = np.array(delta)[cell], np.array(iota)[cell]
    loss = PairwiseLoss.signed(_with_ones(features), labels, delta=factors, iota=offsets)
    required = factors**-power * np.exp(by_offset * offsets)
    return _limit(loss), unit(cost_sensitive(features, labels, required))
