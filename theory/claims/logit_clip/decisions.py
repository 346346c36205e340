"""Decisions and gradients: when the arg max survives, in the logits and in the fit; what gradient descent sees."""

from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from ...core.certified import Enclosure, as_ball
from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.derivation import Derivation
from ...core.sources import cite
from ...logit_clip.clip import clip_logits, clipped_cross_entropy, clipped_gradient
from ...logit_clip.minimiser import clipped_minimiser

INF = float("inf")
EXAMPLE = (0.5, 0.4, 0.1)


@claim(
    "logit_clip.clip_keeps_margins",
    source=cite("wei2023", "LogitClip keeps the direction; against clipping by value"),
    kind=Kind.EXACT,
    formula="clipped z_i - z_j = (τ/||z||_∞) (z_i - z_j), so the arg max stays",
    cases=({"logits": (3, 2, 1)}, {"logits": (-4, 5, 2)}),
    expected="fails",
    corrected_by="logit_clip.clip_is_scaling",
    right={"by_value": False},
    wrong={"by value, at 2": {"bound": 2}},
)
def clip_keeps_margins(logits, by_value=True, bound=1):
    """Clipping each logit by value to [-τ, τ] keeps all margins up to a factor.

    It makes ties: (3, 2, 1) becomes (1, 1, 1) at τ = 1. Clipping the norm does keep them.
    """
    largest = max(map(abs, logits))
    scaled = [Fraction(z) * bound / largest for z in logits]
    clipped = [Fraction(max(-bound, min(bound, z))) for z in logits] if by_value else scaled
    return [clipped[0] - z for z in clipped], [scaled[0] - z for z in scaled]


@claim(
    "logit_clip.clip_is_scaling",
    source=cite("wei2023", "definition of LogitClip"),
    kind=Kind.NUMERIC,
    formula="clip(z) = z min(1, τ/||z||_p): order kept, norm min(||z||_p, τ), z where ||z||_p <= τ; LogitNorm beyond",
    relation=Relation.EQUAL,
    rtol=1e-13,
    cases=cases(norm=[1.0, 1.5, 2.0, INF], max_norm=[0.1, 1.0, 10.0]),
    wrong={"LogitNorm, τ for every length": {"always": True}, "the square of the norm": {"power": 2}},
)
def clip_is_scaling(norm, max_norm, always=False, power=1):
    """The operator only shortens: all ratios stay, short logits are untouched, zero logits too."""
    logits = np.vstack([_logits() * size for size in (0.01, 1.0, 1e6)] + [np.zeros((1, 5))])
    norms = np.linalg.norm(logits, norm, axis=1, keepdims=True) ** power
    factor = max_norm / np.where(norms > 0, norms, 1.0)
    return clip_logits(logits, max_norm, norm=norm), logits * (factor if always else np.minimum(1, factor))


@claim(
    "logit_clip.order",
    source=cite("tailbound", "consistency of the decision"),
    kind=Kind.SYMBOLIC,
    formula="z* = argmin logsumexp(z) - q z over ||z||_p <= τ: q_i > q_j implies z*_i >= z*_j, every p",
    wrong={"opposite order": {"sign": -1}},
    exhaustive=True,
    assumptions=("the norm is that of any permutation of z",),
)
def order(sign=1):
    """The best clipped logits are ordered as the label probabilities: two in the wrong order gain by an exchange."""
    q_j, z_i, other = sp.symbols("q_j z_i c", real=True)
    lead, wrong_way = sp.symbols("d e", positive=True)  # q_i = q_j + d, z_j = z_i + e
    before = other - (q_j + lead) * z_i - q_j * (z_i + wrong_way)
    after = other - (q_j + lead) * (z_i + wrong_way) - q_j * z_i
    return (
        Derivation()
        .equal("gain of the exchange", sp.expand(before - after), lead * wrong_way)
        .positive("it is positive", sign * lead * wrong_way)
    )


@claim(
    "logit_clip.strict_order",
    source=cite("tailbound", "consistency of the decision"),
    kind=Kind.SYMBOLIC,
    formula="1 < p < ∞: q_i rises strictly with z*_i, so arg max z* = arg max q at every τ",
    wrong={"a norm that pulls outwards": {"sign": -1}},
    exhaustive=True,
    assumptions=("z* is the minimiser: q - softmax(z*) = λ ∇||z*||_p, λ >= 0, unless it is 0",),
)
def strict_order(sign=1):
    """With a smooth norm two classes tie only if they are equally likely: top-1 calibrated whatever the threshold.

    q_i = e^(z_i - c) + λ sign(z_i) |z_i|^(p-1), a strictly rising function of z_i.
    """
    z, c, rate, power = sp.symbols("z c lambda m", positive=True)  # m = p - 1

    def slope(side):
        return sp.diff(sp.exp(side * z - c) + sign * rate * side * z**power, z) * side  # at the logit side · z

    return Derivation().positive("slope at z_i > 0", slope(1)).positive("slope at z_i < 0", slope(-1))


@claim(
    "logit_clip.top_one",
    source=cite("tailbound", "consistency of the decision"),
    kind=Kind.NUMERIC,
    formula="z*_1 - z*_2 > 0 for q = (0.5, 0.4, 0.1), τ = 0.1, every norm",
    relation=Relation.GREATER,
    cases=cases(posterior=[EXAMPLE], max_norm=[0.1], norm=[INF, 1.0]),
    expected="fails",
    corrected_by="logit_clip.strict_order",
    right={"norm": 2.0},
    wrong={"a hundredth of it": {"max_norm": 0.001}},
)
def top_one(posterior, max_norm, norm):
    """The best clipped logits single out the most likely class under every norm. For p = 1 and p = ∞ they may tie."""
    z = clipped_minimiser(np.array(posterior), max_norm, norm=norm)
    return z[0] - z[1], 1e-3


@claim(
    "logit_clip.ties",
    source=cite("tailbound", "consistency of the decision"),
    kind=Kind.CERTIFIED,
    formula="q = (0.5, 0.4, 0.1), τ = 0.1: z* = (τ, τ, -τ) for p = ∞ and (0, 0, -τ) for p = 1",
    relation=Relation.AT_LEAST,
    cases=cases(max_norm=["0.1"], norm=[INF, 1.0]),
    exhaustive=True,
    wrong={"τ = 1": {"max_norm": "1"}, "τ = 1/2, p = ∞": {"max_norm": "0.5", "norm": INF}},
    assumptions=("z is the minimiser iff q - softmax(z) lies in the normal cone of the ball at z",),
)
def ties(max_norm, norm):
    """Both ties are minimisers: q - softmax(z) points out of the face of the cube, out of the corner for p = 1."""
    t, q = as_ball(max_norm), [as_ball(x) for x in ("0.5", "0.4", "0.1")]
    z = [t, t, -t] if norm == INF else [as_ball(0), as_ball(0), -t]
    total = sum((x.exp() for x in z), as_ball(0))
    residual = [a - x.exp() / total for a, x in zip(q, z, strict=True)]
    if norm == INF:
        slack = [residual[0], residual[1], -residual[2]]
    else:
        slack = [-residual[2] - abs(residual[0]), -residual[2] - abs(residual[1]), -residual[2]]
    return [Enclosure(each) for each in slack], [0, 0, 0]


@claim(
    "logit_clip.small_threshold",
    source=cite("tailbound", "consistency of the decision"),
    kind=Kind.NUMERIC,
    formula="z*/τ -> the point of the unit ball that q - 1/K supports: its sign for p = ∞, the class where |q - 1/K| is"
    " largest for p = 1, its direction for p = 2",
    relation=Relation.EQUAL,
    atol=2e-3,
    cases=cases(
        posterior=[EXAMPLE, (0.6, 0.25, 0.15), (0.42, 0.3, 0.18, 0.1), (0.55, 0.2, 0.2, 0.05)], norm=[1.0, 2.0, INF]
    ),
    wrong={"sign for every p": {"stated_norm": INF, "norm": 2.0}, "q for q - 1/K": {"centre": 0.0}},
    assumptions=("no q_i is 1/K for p = ∞; |q - 1/K| is largest at one class for p = 1",),
)
def small_threshold(posterior, norm, stated_norm=None, centre=1.0):
    """Small thresholds keep the top class for p = ∞ only if no other beats 1/K, for p = 1 only if it deviates most."""
    q = np.array(posterior)
    pull = q - centre / len(q)
    power = norm if stated_norm is None else stated_norm
    if power == 1:
        limit = np.where(np.arange(len(q)) == np.abs(pull).argmax(), np.sign(pull), 0.0)
    else:
        limit = np.sign(pull) if power == INF else pull / np.linalg.norm(pull)
    return clipped_minimiser(q, 1e-4, norm=norm) / 1e-4, limit


@claim(
    "logit_clip.minimiser",
    source=cite("tailbound", "best clipped logits"),
    kind=Kind.CONVEX,
    formula="the closed form of z* attains min logsumexp(z) - q z over ||z||_p <= τ",
    relation=Relation.EQUAL,
    atol=2e-7,
    cases=cases(
        posterior=[EXAMPLE, (0.7, 0.1, 0.1, 0.05, 0.05), (0.6, 0.4, 0.0)], max_norm=[0.1, 2.0], norm=[1.0, 2.0, INF]
    ),
    full_cases=cases(
        posterior=[(0.9, 0.1), tuple(k / 55 for k in range(10, 0, -1))], max_norm=[0.01, 1.0, 5.0], norm=[1.0, 2.0, INF]
    ),
    wrong={"clipped logarithms of q": {"clipped": True}, "a tenth too short": {"stretch": 0.9}},
)
def minimiser(posterior, max_norm, norm, clipped=False, stretch=1.0):
    """A convex program and the library's minimiser reach the same value; clipping the free optimum log q does not."""
    from ...logit_clip.programs import clipped_program

    q = np.array(posterior)
    _, proof = clipped_program(q, max_norm, norm=norm)
    z = (
        clip_logits(np.log(q + 1e-9), max_norm, norm=norm)
        if clipped
        else clipped_minimiser(q, stretch * max_norm, norm=norm)
    )
    return Sides(proof.value, np.logaddexp.reduce(z) - q @ z, uncertainty=proof.gap)


@claim(
    "logit_clip.gradient_orthogonal",
    source=cite("wei2023", "gradient of the clipped loss; reconstructed"),
    kind=Kind.SYMBOLIC,
    formula="||z||_p > τ: <z, ∇L> = 0 for every p; p = 2: ||z - h ∇L||² = ||z||² + h² ||∇L||²",
    wrong={"without the projection": {"projected": 0}},
    exhaustive=True,
    assumptions=("<z, ∇||z||_p> = ||z||_p (Euler)",),
)
def gradient_orthogonal(projected=1):
    """The gradient in the raw logits is orthogonal to them: a step never shortens a clipped example for p = 2."""
    N, tau, h = sp.symbols("N tau h", positive=True)
    along, square = sp.symbols("zg gg", real=True)  # <z, g> and ||g||², g = softmax - e_y
    inner = tau / N * (along - projected * N * along / N)
    size = (tau / N) ** 2 * (square - projected * along**2 / N**2)  # p = 2: n = z / N
    return (
        Derivation()
        .equal("<z, (τ/N)(g - n <z, g>/N)> with <z, n> = N", inner, 0)
        .equal("p = 2: squared norm after a step of h", N**2 - 2 * h * inner + h**2 * size, N**2 + h**2 * size)
    )


@claim(
    "logit_clip.value_clip_gradient",
    source=cite("tailbound", "clipping by value, which Wei et al. (2023) compare with"),
    kind=Kind.NUMERIC,
    formula="each logit clipped to [-τ, τ]: the loss has slope 0 in every logit beyond τ",
    relation=Relation.EQUAL,
    atol=1e-9,
    cases=cases(max_norm=[0.5, 2.0]),
    wrong={"clipping the norm": {"by_value": False}},
)
def value_clip_gradient(max_norm, by_value=True):
    """Clipping by value stops the learning of every saturated logit, of the label's too; clipping the norm does not."""
    z, labels, h = _logits(), np.arange(len(_logits())) % 5, 1e-6

    def loss(logits):
        clipped = np.clip(logits, -max_norm, max_norm) if by_value else clip_logits(logits, max_norm)
        return np.logaddexp.reduce(clipped, axis=1) - clipped[np.arange(len(labels)), labels]

    slopes = np.column_stack([(loss(z + h * e) - loss(z - h * e)) / (2 * h) for e in np.eye(5)])
    beyond = slopes[np.abs(z) > max_norm + h]
    return beyond, np.zeros(beyond.size)


@claim(
    "logit_clip.norm_never_shrinks",
    source=cite("tailbound", "gradient of the clipped loss of Wei et al. (2023)"),
    kind=Kind.NUMERIC,
    formula="||z - h ∇L||_p >= ||z||_p where ||z||_p > τ",
    relation=Relation.AT_LEAST,
    rtol=1e-14,
    cases=cases(logits=[(1.0, 0.0, 2.0), (-1.0, 0.0, 1.0)], norm=[1.0, INF]),
    expected="fails",
    corrected_by="logit_clip.gradient_orthogonal",
    right={"norm": 2.0},
    wrong={"p = 3": {"norm": 3.0}},
)
def norm_never_shrinks(logits, norm):
    """No gradient step shortens the logits of a clipped example. For p = 2 it cannot; for other norms it can."""
    z = np.array([logits])
    step = z - 0.1 * clipped_gradient(z, np.array([0]), 0.5, norm=norm)
    return np.linalg.norm(step, norm, axis=1), np.linalg.norm(z, norm, axis=1)


@claim(
    "logit_clip.gradient_code",
    source=cite("tailbound", "library formula"),
    kind=Kind.NUMERIC,
    formula="clipped_gradient = central differences of clipped_cross_entropy; at s z, s > 1, it is 1/s of that at z",
    relation=Relation.EQUAL,
    atol=2e-8,
    cases=cases(norm=[1.0, 1.5, 2.0, 3.0, INF], max_norm=[0.5, 50.0]),
    wrong={"of another threshold": {"stretch": 1.01, "max_norm": 0.5}, "1/s²": {"power": 2, "max_norm": 0.5}},
)
def gradient_code(norm, max_norm, stretch=1.0, power=1):
    """The library's gradient is the derivative of its loss, inside and outside the ball, and decays as 1/||z||."""
    logits, labels = _logits(), np.arange(len(_logits())) % 5
    moves = 1e-5 * np.eye(5)

    def loss(z):
        return clipped_cross_entropy(z, labels, max_norm, norm=norm)

    differences = np.column_stack([(loss(logits + m) - loss(logits - m)) / 2e-5 for m in moves])
    gradient = clipped_gradient(logits, labels, stretch * max_norm, norm=norm)
    scale = 7.0 if max_norm < 1 else 1.0
    far = clipped_gradient(scale * logits, labels, max_norm, norm=norm)
    return [differences, far], [gradient, clipped_gradient(logits, labels, max_norm, norm=norm) / scale**power]


@claim(
    "logit_clip.lipschitz",
    source=cite("tailbound", "LogitClip as a projection"),
    kind=Kind.NUMERIC,
    formula="||clip(x) - clip(y)||_p <= ||x - y||_p",
    relation=Relation.AT_MOST,
    rtol=1e-12,
    cases=cases(norm=[INF, 1.0], constant=[1.0]),
    expected="fails",
    corrected_by="logit_clip.lipschitz_two",
    right={"norm": 2.0},
    wrong={"1.5 for every p": {"constant": 1.5}},
)
def lipschitz(norm, constant):
    """Clipping is 1-Lipschitz in its own norm. For p = 2 it is the projection on the ball, and so; else up to 2."""
    return _expansion(norm), constant


@claim(
    "logit_clip.lipschitz_two",
    source=cite("tailbound", "after Dunkl and Williams (1964), radial retraction of a normed space"),
    kind=Kind.NUMERIC,
    formula="||clip(x) - clip(y)||_p <= 2 ||x - y||_p for every p >= 1",
    relation=Relation.AT_MOST,
    cases=cases(norm=[1.0, 1.2, 2.0, 5.0, INF]),
    wrong={"1.95, p = 1": {"constant": 1.95, "norm": 1.0}, "1.95, p = ∞": {"constant": 1.95, "norm": INF}},
)
def lipschitz_two(norm, constant=2.0):
    """Clipping is 2-Lipschitz in its own norm, and no better for p = 1 and p = ∞."""
    return _expansion(norm), constant


@claim(
    "logit_clip.shift_invariance",
    source=cite("tailbound", "softmax against the norm of its logits"),
    kind=Kind.NUMERIC,
    formula="L(clip(z + c 1), y) = L(clip(z), y)",
    relation=Relation.EQUAL,
    atol=1e-12,
    cases=cases(shift=[1.0, -5.0], norm=[2.0, 1.0, INF]),
    expected="fails",
    corrected_by="logit_clip.shift_costs_norm",
    right={"centred": True},
    wrong={"a tiny shift": {"shift": 0.01}},
)
def shift_invariance(shift, norm, centred=False):
    """Adding a constant to all logits changes nothing, as for softmax. It does: the norm is not invariant.

    With logits whose mean is taken off first it is.
    """
    z, labels = _logits(), np.arange(len(_logits())) % 5
    pair = [z, z + shift]
    if centred:
        pair = [each - each.mean(axis=1, keepdims=True) for each in pair]
    return tuple(clipped_cross_entropy(each, labels, 1.0, norm=norm) for each in pair)


@claim(
    "logit_clip.shift_costs_norm",
    source=cite("tailbound", "softmax against the norm of its logits"),
    kind=Kind.NUMERIC,
    formula="min over c of ||z - c 1||_p: the median for p = 1, the mean for p = 2, the middle of the range for p = ∞",
    relation=Relation.EQUAL,
    rtol=1e-7,
    cases=cases(norm=[1.0, 2.0, INF]),
    wrong={"no shift": {"centre": 0.0}, "the mean for every p": {"stated_norm": 2.0}},
)
def shift_costs_norm(norm, centre=None, stated_norm=None):
    """The shift that leaves the shortest logits, and with them the most room in the ball."""
    from scipy.optimize import minimize_scalar

    z = _logits()

    def shortest(row):
        found: Any = minimize_scalar(
            lambda c: np.linalg.norm(row - c, norm), bounds=(-9, 9), method="bounded", options={"xatol": 1e-12}
        )
        return found.fun

    power = norm if stated_norm is None else stated_norm
    middle = {1.0: np.median(z, axis=1), 2.0: z.mean(axis=1), INF: (z.max(axis=1) + z.min(axis=1)) / 2}[power]
    middle = middle if centre is None else np.full(len(z), centre)
    return [shortest(row) for row in z], np.linalg.norm(z - middle[:, None], norm, axis=1)


def _logits() -> np.ndarray:
    """Logits of 12 examples over 5 classes, well spread and without ties; nothing random."""
    rows, columns = np.arange(12)[:, None], np.arange(5)[None, :]
    return 3 * np.sin(1 + 1.7 * rows + 2.3 * columns * (1 + rows % 3)) + 0.5


def _expansion(norm: float) -> float:
    """The largest factor by which clipping to norm 1 moves two points apart, over a grid of pairs in the plane."""
    angles = np.linspace(0, 2 * np.pi, 160, endpoint=False) + np.pi / 4
    directions = np.column_stack([np.cos(angles), np.sin(angles)])
    points = directions / np.linalg.norm(directions, norm, axis=1, keepdims=True)
    steps = 0.02 * directions
    apart = clip_logits(points[:, None] + steps[None], 1.0, norm=norm) - clip_logits(points, 1.0, norm=norm)[:, None]
    return float((np.linalg.norm(apart, norm, axis=2) / np.linalg.norm(steps, norm, axis=1)).max())
