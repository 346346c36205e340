"""The LDAM loss: gradient, hinge limit, place among logit adjustments, and the forms found in public code."""

import numpy as np
import sympy as sp

from ...core.claims import Kind, Relation, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from ...ldam.losses import hinge_gradient, hinge_loss, ldam_gradient, ldam_loss
from ...vs_loss.losses import VSParameters, vs_loss

s = sp.Symbol("s", positive=True)
R, m, T = sp.symbols("R m T", nonnegative=True)  # R: the other classes, none for K = 2
z, D, other = sp.symbols("z Delta z_j", real=True)


def _true_class_probability(logit, rest):
    return sp.exp(logit) / (sp.exp(logit) + rest)


@claim(
    "ldam.loss_gradient",
    source=cite("cao2019", "Eq. 13 with a scale s"),
    kind=Kind.SYMBOLIC,
    formula="∂L/∂z_y = s (p_y - 1), ∂L/∂z_j = s p_j with p = softmax(s (z - Δ_y e_y))",
    wrong={"without the scale": {"factor": 1}, "unadjusted softmax": {"margin": 0}},
    exhaustive=True,
)
def loss_gradient(factor=s, margin=D):
    """The gradient of the LDAM loss is the scaled softmax residual of the margin-adjusted logits, for any K."""
    adjusted = s * (z - D)
    rival = sp.exp(s * other)
    loss = -sp.log(_true_class_probability(adjusted, rival + R))  # R: the classes other than y and j
    normaliser = sp.exp(s * (z - margin)) + rival + R
    return (
        Derivation()
        .equal("true class", sp.diff(loss, z), factor * (sp.exp(s * (z - margin)) / normaliser - 1))
        .equal("any other class", sp.diff(loss, other), factor * rival / normaliser)
    )


@claim(
    "ldam.gradient_code",
    source=cite("tailbound", "library formula"),
    kind=Kind.NUMERIC,
    formula="ldam_gradient, hinge_gradient = central differences of ldam_loss, hinge_loss",
    relation=Relation.EQUAL,
    rtol=1e-7,
    atol=1e-7,
    cases=cases(scale=[1.0, 30.0]),
    wrong={"gradient of another scale": {"factor": 0.5}, "opposite sign": {"factor": -1.0}},
)
def gradient_code(scale, factor=1.0):
    """The library's gradients are the derivatives of the library's losses (the hinge away from its kinks)."""
    logits, labels, margins = _examples(5)
    losses = (lambda z: ldam_loss(z, labels, margins, scale=scale), lambda z: hinge_loss(z, labels, margins))
    moves = 1e-5 * np.eye(5)
    computed = [np.column_stack([(loss(logits + m) - loss(logits - m)) / 2e-5 for m in moves]) for loss in losses]
    gradients = (ldam_gradient(logits, labels, margins, scale=scale), hinge_gradient(logits, labels, margins))
    return computed, [factor * gradient for gradient in gradients]


@claim(
    "ldam.loss_values",
    source=cite("tailbound", "LDAM against a class offset, one example"),
    kind=Kind.NUMERIC,
    formula="z = (1, 0.2, -0.3), Δ = (0.1, 0.2, 0.5): LDAM 0.587, 1.495, 2.279; class offset 0.463, 1.363, 2.163",
    relation=Relation.EQUAL,
    atol=5e-4,
    wrong={"offsets exchanged": {"sign": 1}, "margin twice": {"scale": 2}},
)
def loss_values(sign=-1, scale=1):
    """For three classes LDAM and a class offset by the margins are different losses."""
    logits, margins, labels = np.array([[1.0, 0.2, -0.3]] * 3), np.array([0.1, 0.2, 0.5]), np.arange(3)
    offset = VSParameters(np.ones(3), sign * margins, np.ones(3))
    computed = [ldam_loss(logits, labels, scale * margins), vs_loss(logits, labels, offset)]
    return computed, [[0.587, 1.495, 2.279], [0.463, 1.363, 2.163]]


@claim(
    "ldam.scale_limit",
    source=cite("cao2019", "Eq. 10 and 13"),
    kind=Kind.SYMBOLIC,
    formula="0 <= L_LDAM(s) / s - L_hinge <= log(K) / s",
    wrong={"log(K-1) / s": {"offset": 1}},
    exhaustive=True,
)
def scale_limit(offset=0):
    """As the scale grows LDAM over s becomes the hinge loss with the same margins; the gap is at most log(K) / s."""
    K = sp.Symbol("k", integer=True, positive=True) + 1
    below, slack = sp.symbols("d t", nonnegative=True)
    # L = log Σ e^(s a_j) over a_y = 0 and a_j = z_j - z_y + Δ_y; the hinge is m = max a_j >= 0; Σ = e^(sm) (1 + T),
    # T the sum of K - 1 terms e^(-s d_j) with d_j = m - a_j >= 0
    return (
        Derivation()
        .equal("L is s times the hinge plus log(1 + T)", sp.exp(s * m) * (1 + T), sp.exp(s * m + sp.log(1 + T)))
        .nonnegative("T >= 0, so L / s is at least the hinge", sp.log(1 + T))
        .nonnegative("each term e^(-s d) of T is at most 1: -log of it is", s * below)
        .nonnegative("so 1 + T = K - t, t >= 0, is at most the stated number", K - offset - (K - slack))
    )


@claim(
    "ldam.scale_limit_values",
    source=cite("cao2019", "Eq. 10 and 13"),
    kind=Kind.NUMERIC,
    formula="max over examples of L_LDAM(s)/s - L_hinge <= log(K)/s, and its minimum >= 0",
    relation=Relation.AT_MOST,
    atol=1e-12,
    cases=cases(num_classes=[2, 3, 10], scale=[1.0, 10.0, 30.0, 1000.0]),
    wrong={"log(K-1)/s": {"rivals": 1}},
)
def scale_limit_values(num_classes, scale, rivals=0):
    """The library's loss over s stays within log(K)/s of the library's hinge, ties included."""
    logits, labels, margins = _examples(num_classes)
    logits, labels = np.vstack([logits, np.zeros((1, num_classes))]), np.append(labels, 0)
    margins = np.concatenate([[0.0], margins[1:]])  # a tie without a margin is the worst case
    gap = ldam_loss(logits, labels, margins, scale=scale) / scale - hinge_loss(logits, labels, margins)
    return [gap.max(), -gap.min()], [np.log(num_classes - rivals) / scale, 0.0]


@claim(
    "ldam.binary_is_additive_vs",
    source=cite("kini2021", "VS-loss, binary form; Cao et al., Eq. 13"),
    kind=Kind.SYMBOLIC,
    formula="K = 2, f = z_1 - z_2: L = log(1 + e^(Δ_y) e^(-y f)), the VS-loss with ι_y = Δ_y and Δ = 1",
    wrong={"multiplicative": {"multiplicative": True}, "opposite sign": {"sign": -1}},
    exhaustive=True,
)
def binary_is_additive_vs(multiplicative=False, sign=1):
    """For two classes LDAM is a purely additive adjustment of the scalar score, for each label."""
    f = z - other
    ldam = sp.exp(other) / sp.exp(z - D)  # e^L - 1
    stated = sp.exp(-f * (1 + D)) if multiplicative else sp.exp(sign * D) * sp.exp(-f)
    return Derivation().equal("e^L - 1", ldam, stated)


def _pairwise_shifts(form):
    """D_12 and D_21 with L_y = log(1 + e^(D_yy') e^(f_y' - f_y)), for margins or offsets a1, a2 > 0."""
    a1, a2 = sp.symbols("Delta1 Delta2", positive=True)
    shifted = {"ldam": [(-a1, 0), (0, -a2)], "offset": [(-a1, -a2), (-a1, -a2)]}[form]
    return shifted[0][1] - shifted[0][0], shifted[1][0] - shifted[1][1]


@claim(
    "ldam.not_a_logit_offset",
    source=cite("tailbound", "a common reading of LDAM as an adjustment of logits"),
    kind=Kind.SYMBOLIC,
    formula="LDAM is the softmax loss with fixed class offsets: D_12 + D_21 = 0",
    expected="fails",
    corrected_by="ldam.pairwise_form",
    right={"form": "offset"},
    wrong={"offsets of one class add up to 1": {"form": "offset", "total": 1}},
)
def not_a_logit_offset(form="ldam", total=0):
    """Multi-class LDAM equals cross-entropy on logits with a fixed offset for each class.

    Offsets give pairwise shifts that cancel, D_12 = -D_21. LDAM's are both positive: no offset reproduces it, already
    for two classes; it is not among the losses of the pairwise family that are consistent for the balanced error.
    """
    forward, backward = _pairwise_shifts(form)
    return Derivation().equal("the two pairwise shifts cancel", forward + backward, total)


@claim(
    "ldam.pairwise_form",
    source=cite("cao2019", "Eq. 13; family of Menon et al. (2021)"),
    kind=Kind.SYMBOLIC,
    formula="L = log(1 + Σ_{y'≠y} e^(D_yy') e^(z_y' - z_y)) with D_yy' = Δ_y for every y'",
    wrong={"difference of margins": {"difference": True}},
    exhaustive=True,
)
def pairwise_form(difference=False):
    """In pairwise form LDAM shifts every rival by the true class's margin; an offset would shift by differences."""
    D_j = sp.Symbol("Delta_j", real=True)
    shift = D - D_j if difference else D
    exact = (sp.exp(z - D) + sp.exp(other) + R) / sp.exp(z - D)
    return Derivation().equal("e^L", exact, 1 + sp.exp(shift) * sp.exp(other - z) + sp.exp(D) * R * sp.exp(-z))


@claim(
    "ldam.form_all_logits",
    source=cite("tailbound", "variant met in public code"),
    kind=Kind.SYMBOLIC,
    formula="softmax(z - Δ_y 1)_y = softmax(z)_y",
    wrong={"margin on the true logit only (LDAM)": {"everywhere": False}},
    exhaustive=True,
)
def form_all_logits(everywhere=True):
    """Subtracting the label's margin from all logits is plain cross-entropy: softmax ignores it."""
    rest = R * sp.exp(-D) if everywhere else R
    return Derivation().equal(
        "true-class probability", _true_class_probability(z - D, rest), _true_class_probability(z, R)
    )


@claim(
    "ldam.form_margin_scaled_only",
    source=cite("tailbound", "variant met in public code"),
    kind=Kind.SYMBOLIC,
    formula="z_y - s Δ_y against the rivals' z_j equals s (z_y - Δ_y) against s z_j",
    expected="fails",
    corrected_by="ldam.form_scaled_after",
    right={"logit_scale": s},
    wrong={"margin unscaled too": {"margin_scale": 1}},
)
def form_margin_scaled_only(logit_scale=1, margin_scale=s):
    """Scaling only the margin and not the cosines gives LDAM (it gives LDAM of scale 1 with margins s Δ)."""
    margin_on_score = logit_scale * z - margin_scale * D
    computed = margin_on_score - logit_scale * other
    return Derivation().equal("log-odds of the true class against a rival", computed, s * (z - D) - s * other)


@claim(
    "ldam.form_scaled_after",
    source=cite("tailbound", "variants met in public code"),
    kind=Kind.SYMBOLIC,
    formula="s z_y - s Δ_y against s z_j is LDAM: the margin is scaled with the logits",
    wrong={"margin not scaled": {"margin_scale": 1}, "logits not scaled": {"logit_scale": 1}},
    exhaustive=True,
)
def form_scaled_after(logit_scale=s, margin_scale=s):
    """Subtracting s Δ_y from logits that are already scaled by s is the loss itself."""
    return form_margin_scaled_only(logit_scale, margin_scale)


def _examples(num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cosine-like logits of 40 examples, well spread, every class as label; nothing random."""
    rows, columns = np.arange(40)[:, None], np.arange(num_classes)[None, :]
    logits = np.sin(1 + 1.7 * rows + 2.3 * columns * (1 + rows % 3))
    return logits, np.arange(40) % num_classes, np.linspace(0.1, 0.5, num_classes)
