"""Gradient descent past zero error: its limit, and how the rate depends on the size of the steps."""

import numpy as np

from ...core.claims import Kind, Relation, Sides, claim
from ...core.points import separable_points
from ...core.sources import cite
from ...vs_loss.implicit_bias import angle, first_order_term, gradient_descent, terminal
from .terminal import MIXES, NEUTRAL, binary_loss, cost_sensitive, unit

THREE_POINTS = np.array([[1.0, 0.5], [-0.5, 1.0], [-0.5, -1.0]]), np.array([1.0, -1.0, -1.0])  # all on the margin


def _descent(features, labels, mix, times, normalised, step):
    loss = binary_loss(features, labels, **mix)
    return loss, gradient_descent(loss, times, step=step, normalised=normalised)


@claim(
    "vs_loss.descent_normalised",
    source=cite("kini2021", "descent on the VS-loss; rate of Ji and Telgarsky (2021)"),
    kind=Kind.NUMERIC,
    formula="steps of fixed length: log10 angle falls by 1 a decade of steps, and angle · ||w|| -> ||v||",
    relation=Relation.EQUAL,
    rtol=1e-2,
    cases=MIXES,
    wrong={
        "constant step": {"normalised": False},
        "1 / √t": {"exponent": -0.5},
        "weights and offsets forgotten": {"forget": True, "iota": (3.0, 0.0)},
        "limit of the inverted ratio": {"power": -1},
    },
    assumptions=("supporting points span the space", "the bias is penalised: descent treats it as a weight"),
)
def descent_normalised(delta, iota, omega, normalised=True, exponent=-1.0, forget=False, power=1):
    """Normalised gradient steps reach the cost-sensitive SVM on (x, 1) at rate 1/t, along the path of the balls."""
    features, labels = THREE_POINTS
    mix = {"delta": delta, "iota": iota, "omega": omega}
    loss, path = _descent(features, labels, mix, [1000, 10000], normalised, 0.25)
    limit = cost_sensitive(features, labels, np.where(labels > 0, (delta[1] / delta[0]) ** power, 1.0))
    angles = angle(path, limit)
    plain = binary_loss(features, labels, delta, (0.0, 0.0), NEUTRAL)
    v = first_order_term(plain if forget else loss, terminal(loss))
    computed = [np.log10(angles[1] / angles[0]), angles[1] * np.linalg.norm(path[1])]
    return Sides(computed, [exponent, np.linalg.norm(v)], note=f"angles {np.degrees(angles).round(4).tolist()} degrees")


@claim(
    "vs_loss.descent_constant_step",
    source=cite("soudry2018", "main theorem, on the rows of the VS-loss"),
    kind=Kind.NUMERIC,
    formula="constant step: γ* ||w|| grows by ln 10 a decade, and angle · ||w|| -> ||v||; so angle ~ γ* ||v|| / ln t",
    relation=Relation.EQUAL,
    rtol=2e-2,
    cases=MIXES,
    wrong={
        "unit steps": {"normalised": True},
        "factors forgotten in γ*": {"margin_of": NEUTRAL},
        "weights and offsets forgotten": {"forget": True, "iota": (3.0, 0.0)},
    },
    assumptions=("supporting points span the space", "the bias is penalised: descent treats it as a weight"),
)
def descent_constant_step(delta, iota, omega, normalised=False, margin_of=None, forget=False):
    """With a constant step the norm grows like log t, so weights and offsets fade only like 1 / log t."""
    features, labels = THREE_POINTS
    mix = {"delta": delta, "iota": iota, "omega": omega}
    loss, path = _descent(features, labels, mix, [3000, 30000], normalised, 0.2)
    limit = cost_sensitive(features, labels, np.where(labels > 0, delta[1] / delta[0], 1.0))
    plain = binary_loss(features, labels, delta, (0.0, 0.0), NEUTRAL)
    norms, angles = np.linalg.norm(path, axis=1), angle(path, limit)
    margin = terminal(loss if margin_of is None else binary_loss(features, labels, margin_of, iota, omega)).margin
    v = first_order_term(plain if forget else loss, terminal(loss))
    computed = [margin * (norms[1] - norms[0]) / np.log(10), angles[1] * norms[1]]
    return Sides(computed, [1.0, np.linalg.norm(v)], note=f"angles {np.degrees(angles).round(3).tolist()} degrees")


@claim(
    "vs_loss.descent_finds_free_intercept",
    source=cite("tailbound", "gradient descent on (w, b) and the CS-SVM with an intercept"),
    kind=Kind.NUMERIC,
    formula="direction of (w, b) after many normalised steps = CS-SVM with a free, unpenalised intercept",
    relation=Relation.EQUAL,
    atol=1e-4,
    cases=MIXES,
    expected="fails",
    corrected_by="vs_loss.terminal_direction",
    right={"intercept": "penalised"},
    wrong={"no intercept at all": {"intercept": "none"}},
)
def descent_finds_free_intercept(delta, iota, omega, intercept="free"):
    """Descent on weights and bias tends to the SVM whose intercept is free, the one behind the margin-ratio path.

    It tends to the SVM on (x, 1), which penalises the intercept; only there is the rate 1/t a rate to the limit.
    """
    features, labels = separable_points(
        4, 20, 4
    )  # fewer points on the margin than dimensions: they leave (w, b) a choice
    mix = {"delta": delta, "iota": iota, "omega": omega}
    _, path = _descent(features, labels, mix, [8000, 12000], normalised=True, step=0.25)
    required = np.where(labels > 0, delta[1] / delta[0], 1.0)
    return unit(path[1] - path[0]), unit(cost_sensitive(features, labels, required, intercept))
