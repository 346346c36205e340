"""When a training set is separable: the critical dimension of random sets against the limit and Cover's count."""

from math import comb

from ....theory.core.claims import Kind, Relation, claim
from ....theory.core.sources import cite
from ....theory.vs_loss.asymptotics import separability_threshold
from ....theory.vs_loss.mixture import GaussianMixture
from ...core.checks import agreement, drawn, within
from ...vs_loss.svm import SEPARABILITY

SETTINGS = (
    {"prior": 0.5, "norms": (0.0, 0.0), "inner": 0.0},
    {"prior": 0.5, "norms": (1.0, 1.0), "inner": -1.0},
    {"prior": 0.2, "norms": (2.0, 1.0), "inner": 0.0},
)


@claim(
    "vs_loss.simulated_threshold",
    source=cite("kini2021", "separability threshold"),
    kind=Kind.SIMULATION,
    formula="smallest separable d / n -> γ* in the mean, within 4 standard errors and 1 / n",
    relation=Relation.AT_MOST,
    cases=tuple({**setting, "num_examples": 50, "draws": 40} for setting in SETTINGS),
    full_cases=tuple({**setting, "num_examples": 200, "draws": 100} for setting in SETTINGS),
    wrong={
        "no signal": {"strength": 0.0},
        "half the prior": {"prior_factor": 0.5},
        "twice the means": {"strength": 2.0},
    },
)
def simulated_threshold(prior, norms, inner, num_examples, draws, strength=1.0, prior_factor=1.0):
    """Random sets become separable at the threshold of the limit, one noise direction added at a time."""
    rows = drawn(SEPARABILITY, draws, prior=prior, norms=norms, inner=inner, num_examples=num_examples)
    plus, minus = norms
    mixture = GaussianMixture.binary(prior * prior_factor, (strength * plus, strength * minus), strength**2 * inner)
    return within(agreement(rows, separability_threshold(mixture), "critical_aspect_ratio", 1.0 / num_examples))


@claim(
    "vs_loss.simulated_cover",
    source=cite("tailbound", "Cover (1965), the number of linear dichotomies"),
    kind=Kind.SIMULATION,
    formula="no signal, π = 1/2, both labels: P(separable in R^d) = (Σ_{k<=d} C(n-1, k) - 1) / (2^(n-1) - 1)",
    relation=Relation.AT_MOST,
    cases=({"num_examples": 12, "draws": 120}, {"num_examples": 30, "draws": 40}),
    full_cases=({"num_examples": 60, "draws": 2000},),
    wrong={"no intercept": {"free": 0}, "two points fewer": {"points": -2}},
)
def simulated_cover(num_examples, draws, free=1, points=0):
    """Without signal the mean critical dimension is exactly that of Cover's count, at every n."""
    rows = drawn(SEPARABILITY, draws, prior=0.5, norms=(0.0, 0.0), inner=0.0, num_examples=num_examples)
    n = num_examples + points
    shares = [(sum(comb(n - 1, k) for k in range(d + free)) - 1) / (2 ** (n - 1) - 1) for d in range(n + 1)]
    stated = sum(1 - max(share, 0.0) for share in shares)
    return within(agreement(rows, stated, "critical_dimension"))
