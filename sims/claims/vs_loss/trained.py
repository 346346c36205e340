"""Trained losses on finite samples against their limits: the ridge family, K classes, mismatched features, descent.

The allowances are over n, as measured at n = 60, 120 and 240 on these settings, where n times the deviation is flat.
"""

import numpy as np

from ....theory.core.claims import Kind, Relation, claim
from ....theory.core.sources import cite
from ....theory.vs_loss.mixture import GaussianMixture
from ....theory.vs_loss.multiclass import ridge_erm_multiclass
from ....theory.vs_loss.state_evolution import ridge_erm
from ...core.checks import agreements, drawn, matching, surely, within
from ...vs_loss.multiclass import MULTICLASS_ERRORS, loss_parameters
from ...vs_loss.ridge import GRADIENT_DESCENT, MISMATCHED_FEATURES, RIDGE_ERRORS, loss_pair, seen_mixture

TILTED = {"norms": (2.0, 1.5), "inner": 0.5}
FAMILY = ("ce", "wce", "ldam", "la", "cdt", "vs", "hinge")
RIDGES = (
    {"aspect_ratio": 0.5, "ridge": 0.01, "mix": "weighted"},
    {"aspect_ratio": 1.0, "ridge": 0.01, "mix": "shifted"},
    {"aspect_ratio": 1.0, "ridge": 1e-4, "mix": "mixed"},
)


@claim(
    "vs_loss.simulated_ridge",
    source=cite("tailbound", "extends Mignacco et al. (2020) to class-dependent losses and general means"),
    kind=Kind.SIMULATION,
    formula="R_± of the ridge-regularised VS family and hinge -> Q(±(m_± + b)/√q) of the state evolution",
    relation=Relation.AT_MOST,
    cases=tuple({**setting, "num_examples": 120, "draws": 16} for setting in RIDGES),
    full_cases=tuple({**setting, "num_examples": 360, "draws": 60} for setting in RIDGES),
    wrong={
        "n / d in place of d / n": {"flipped": True},
        "cross-entropy for all": {"as_loss": "ce"},
        "thirty times the ridge": {"ridge_factor": 30.0},
        "classes swapped": {"order": -1},
    },
)
def simulated_ridge(
    aspect_ratio, ridge, mix, num_examples, draws, flipped=False, as_loss=None, ridge_factor=1.0, order=1
):
    """Exact errors of every trained loss agree with the state evolution, on separable and on other data."""
    losses = (*FAMILY, mix)
    rows = drawn(
        RIDGE_ERRORS, draws, **TILTED, prior=0.2, aspect_ratio=aspect_ratio, ridge=ridge, num_examples=num_examples,
        losses=losses,
    )  # fmt: skip
    mixture = GaussianMixture.binary(0.2, **TILTED)
    found = []
    for loss in losses:
        pair = loss_pair(as_loss or loss, 0.2)
        limit = ridge_erm(mixture, aspect_ratio ** (-1 if flipped else 1), ridge * ridge_factor, pair)
        plus, minus = limit.class_errors[::order]
        group = matching(rows, loss=loss)
        found += agreements(group, num_examples, error_plus=(plus, 2.5), error_minus=(minus, 0.5))
    return within(*found)


THREE = {"priors": (0.6, 0.3, 0.1), "norms": (2.0, 2.0, 2.5)}


@claim(
    "vs_loss.simulated_multiclass",
    source=cite("tailbound", "Loureiro et al. (2021), isotropic case, for VS-loss"),
    kind=Kind.SIMULATION,
    formula="K = 3: P(argmax(W x + b) ≠ c) of CE, LA, CDT and VS with ridge -> the state evolution's class errors",
    relation=Relation.AT_MOST,
    cases=(
        {"aspect_ratio": 0.5, "ridge": 0.02, "num_examples": 80, "draws": 30},
        {"aspect_ratio": 1.5, "ridge": 1e-3, "num_examples": 60, "draws": 20},
    ),
    full_cases=(
        {"aspect_ratio": 0.5, "ridge": 0.02, "num_examples": 400, "draws": 60},
        {"aspect_ratio": 1.5, "ridge": 1e-3, "num_examples": 200, "draws": 40},
    ),
    wrong={
        "cross-entropy for all": {"as_loss": "ce"},
        "n / d in place of d / n": {"flipped": True},
        "equal priors": {"equal": True},
    },
)
def simulated_multiclass(aspect_ratio, ridge, num_examples, draws, as_loss=None, flipped=False, equal=False):
    """Exact class errors of three trained classes agree with the state evolution."""
    losses = ("ce", "la", "cdt", "vs")
    rows = drawn(
        MULTICLASS_ERRORS, draws, **THREE, aspect_ratio=aspect_ratio, ridge=ridge, num_examples=num_examples,
        losses=losses,
    )  # fmt: skip
    priors = (1 / 3, 1 / 3, 1 / 3) if equal else THREE["priors"]
    mixture = GaussianMixture(priors, tuple(map(tuple, np.diag(np.square(THREE["norms"])))))
    found = []
    for loss in losses:
        parameters = loss_parameters(as_loss or loss, THREE["priors"])
        limit = ridge_erm_multiclass(mixture, aspect_ratio ** (-1 if flipped else 1), ridge, parameters)
        columns = {f"error_{c}": (error, (1.0, 1.5, 4.0)[c]) for c, error in enumerate(limit.class_errors)}
        found += agreements(matching(rows, loss=loss), num_examples, **columns)
    return within(*found)


def _advantages(aspect_ratio, dimension, draws, pairs, ridge=1e-6, full_norm=3.0) -> list[np.ndarray]:
    """What the first of each pair gains on the second in balanced error, on the same data, in every draw."""
    rows = drawn(
        MISMATCHED_FEATURES, draws, prior=0.1, full_norm=full_norm, full_aspect_ratio=3.0, aspect_ratio=aspect_ratio,
        dimension=dimension, ridge=ridge,
    )  # fmt: skip
    table = rows.pivot(index="repetition", columns="loss", values="balanced_error")
    return [(table[second] - table[first]).to_numpy() for first, second in pairs]


@claim(
    "vs_loss.simulated_mismatch",
    source=cite("kini2021", "Figure 1"),
    kind=Kind.SIMULATION,
    formula="R_bal at d/n = 0.1, not separable: LA < CE < CDT; at d/n = 3, separable: CS-SVM < SVM",
    relation=Relation.GREATER,
    cases=({"dimension": 60, "draws": 6},),
    full_cases=({"dimension": 150, "draws": 12},),
    wrong={"separable everywhere": {"low": 0.5}, "CDT helps everywhere": {"second": ("cdt", "ce")}},
)
def simulated_mismatch(dimension, draws, low=0.1, second=("ce", "cdt")):
    """With few features an offset helps and a scale harms the balanced error; where separable a scale helps.

    Each side is a mean gain in balanced error on the same data less 4 standard errors, beside 0.
    """
    few = _advantages(low, dimension, draws, [("la", "ce"), second])
    many = _advantages(3.0, 3 * dimension, 2 * draws, [("cs_svm", "svm")])
    return surely(*few, *many)


@claim(
    "vs_loss.simulated_mismatch_limits",
    source=cite("kini2021", "Figure 1, with a signal profile chosen here"),
    kind=Kind.SIMULATION,
    formula="R_± of CE, LA and CDT at ridge 1e-6 -> state evolution with ||μ||² = 9 min(1, (d/n)/3)",
    relation=Relation.AT_MOST,
    cases=({"aspect_ratio": 0.1, "dimension": 40, "draws": 8}, {"aspect_ratio": 1.0, "dimension": 120, "draws": 40}),
    full_cases=tuple({"aspect_ratio": g, "dimension": 150, "draws": 20} for g in (0.1, 0.2, 1.0)),
    wrong={"all signal at every d / n": {"full": 1e-9}, "LA is CE": {"la": "ce"}, "CDT is CE": {"cdt": "ce"}},
)
def simulated_mismatch_limits(aspect_ratio, dimension, draws, full=3.0, la="la", cdt="cdt"):
    """The errors drawn with mismatched features lie on the state evolution's lines."""
    rows = drawn(
        MISMATCHED_FEATURES, draws, prior=0.1, full_norm=3.0, full_aspect_ratio=3.0, aspect_ratio=aspect_ratio,
        dimension=dimension, ridge=1e-6,
    )  # fmt: skip
    mixture = seen_mixture(0.1, 3.0, full, aspect_ratio)
    found = []
    for loss, read_as in (("ce", "ce"), ("la", la), ("cdt", cdt)):
        plus, minus = ridge_erm(mixture, aspect_ratio, 1e-6, loss_pair(read_as, 0.1)).class_errors
        group = matching(rows, loss=loss)
        found += agreements(group, dimension / aspect_ratio, error_plus=(plus, 4.0), error_minus=(minus, 1.0))
    return within(*found)


@claim(
    "vs_loss.simulated_offset",
    source=cite("kini2021", "weights and offsets do nothing in the terminal phase"),
    kind=Kind.SIMULATION,
    formula="separable data: R_bal(CE) - R_bal(LA) at ridge 1e-12 is less than half of that at 0.01",
    relation=Relation.GREATER,
    cases=({"dimension": 60, "draws": 12},),
    full_cases=({"dimension": 300, "draws": 20},),
    wrong={"scales fade as well": {"member": "cdt"}},
)
def simulated_offset(dimension, draws, member="la"):
    """Where the data are separable the gain of an offset vanishes as the ridge does; that of a scale stays.

    The norm of the weights grows like the logarithm of 1 / ridge, and the offset's share of the score falls with it.
    Half the early gain minus the late one: its mean less 4 standard errors, beside 0.
    """
    (early,) = _advantages(1.0, dimension, draws, [(member, "ce")], ridge=1e-2)
    (late,) = _advantages(1.0, dimension, draws, [(member, "ce")], ridge=1e-12)
    return surely(early / 2 - late)


@claim(
    "vs_loss.simulated_descent",
    source=cite("soudry2018", "rates; normalised steps derived here"),
    kind=Kind.SIMULATION,
    formula="angle to the margin direction: 1/log t for a constant step, 1/t for normalised steps",
    relation=Relation.AT_MOST,
    cases=({"num_examples": 20, "draws": 1},),
    full_cases=({"num_examples": 60, "draws": 5},),
    wrong={"constant step ~ 1/t": {"constant": "1/t"}, "normalised ~ 1/log t": {"normalised": "1/log t"}},
)
def simulated_descent(num_examples, draws, constant="1/log t", normalised="1/t"):
    """Descent on Gaussian data tends to the direction of the CS-SVM at the two rates, for CE, LA and CDT.

    With a_k the angle at 10^k steps: |(1/a_4 - 1/a_3) / (1/a_3 - 1/a_2) - 1| and |10 a_4 / a_3 - 1|, both at most 0.25.
    """
    rows = drawn(
        GRADIENT_DESCENT, draws, prior=0.3, signal_strength=2.0, aspect_ratio=1.5, num_examples=num_examples,
        times=(100, 1000, 10000),
    )  # fmt: skip
    rates = {"constant": constant, "normalised": normalised}
    found = []
    table = rows.pivot(index=["rule", "loss", "repetition"], columns="time", values="angle")
    for (rule, *_), (a, b, c) in zip(table.index, table.to_numpy(), strict=True):
        rate = (1 / c - 1 / b) / (1 / b - 1 / a) if rates[str(rule)] == "1/log t" else 10 * c / b
        found.append(abs(rate - 1))
    return found, [0.25] * len(found)
