"""α-loss by simulation: limits of training for α <= 1, flips, imbalance, contamination, quasi-convexity, the bound.

The allowances are over n, as measured at n = 100, 200 and 400.
"""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr

from ...theory.alpha_loss.losses import MarginLoss
from ...theory.core.claims import Kind, Relation, Sides, cases, claim
from ...theory.core.sources import cite
from ...theory.vs_loss.state_evolution import ridge_erm
from ..alpha_loss import (
    CONTAMINATED_ERRORS,
    FLIP_ERRORS,
    GENERALISATION,
    IMBALANCE_ERRORS,
    SLQC_RADII,
    noisy_mixture,
)
from ..core.checks import agreements, drawn, matching, surely, within

_PLAIN = {"signal_strength": 2.0, "flip_rate": 0.0, "outlier_rate": 0.0, "outlier_strength": 1.0}
SETTINGS = {
    "flips": {**_PLAIN, "prior": 0.2, "flip_rate": 0.2, "aspect_ratio": 0.5, "ridge": 0.01},
    "imbalance": {**_PLAIN, "prior": 0.1, "aspect_ratio": 0.5, "ridge": 0.1},
    "outliers": {**_PLAIN, "prior": 0.5, "outlier_rate": 0.05, "outlier_strength": 3.0}
    | {"aspect_ratio": 0.2, "ridge": 0.01},
}


@claim(
    "alpha_loss.simulated_limits",
    source=cite("mignacco2020", "extended to the α-loss, α <= 1, with flipped labels and outliers"),
    kind=Kind.SIMULATION,
    formula="R_± of ridge-regularised α-loss, α = 1/2, 3/4, 1, -> the state evolution's errors of the clean classes",
    relation=Relation.AT_MOST,
    cases=cases(setting=["flips", "outliers"], num_examples=[120], draws=[16]),
    full_cases=cases(setting=list(SETTINGS), num_examples=[400], draws=[60]),
    wrong={
        "log-loss for all": {"as_alpha": 1.0},
        "n / d in place of d / n": {"flipped_ratio": True},
        "labels that are not flipped": {"as_rate": 0.0},
    },
)
def simulated_limits(setting, num_examples, draws, as_alpha=None, flipped_ratio=False, as_rate=None):
    """Exact errors of trained α-loss agree with the limit under label flips, imbalance and outliers."""
    alphas, model = (0.5, 1.0) if draws < 20 else (0.5, 0.75, 1.0), SETTINGS[setting]
    rows = drawn(FLIP_ERRORS, draws, **model, num_examples=num_examples, alphas=alphas)
    mixture = noisy_mixture(
        model["prior"], model["signal_strength"], model["flip_rate"] if as_rate is None else as_rate,
        model["outlier_rate"], model["outlier_strength"],
    )  # fmt: skip
    found = []
    for alpha in alphas:
        ratio = model["aspect_ratio"] ** (-1 if flipped_ratio else 1)
        limit = ridge_erm(mixture, ratio, model["ridge"], (MarginLoss(as_alpha or alpha),) * 2)
        columns = {"error_plus": (limit.errors[0], 2.0), "error_minus": (limit.errors[1], 1.0)}
        found += agreements(matching(rows, alpha=alpha), num_examples, **columns)
    return within(*found)


def _table(rows: pd.DataFrame, column: str = "balanced_error") -> pd.DataFrame:
    """One row for each draw, one column for each α."""
    return rows.pivot(index="repetition", columns="alpha", values=column)


@claim(
    "alpha_loss.simulated_flips",
    source=cite("sypherd2022", "α > 1 is robust to flipped labels"),
    kind=Kind.SIMULATION,
    formula="error at α = 4 < at 2 < at 1 < at 1/2, balanced classes, 10 % and 30 % flips, d/n = 0.2, λ = 0.01",
    relation=Relation.GREATER,
    cases=({"flip_rate": 0.1, "num_examples": 200, "draws": 6}, {"flip_rate": 0.3, "num_examples": 200, "draws": 16}),
    full_cases=cases(flip_rate=[0.1, 0.2, 0.3, 0.4], num_examples=[400], draws=[40]),
    wrong={"α = 4 last": {"order": (1.0, 2.0, 4.0)}},
    assumptions=("finite samples: the population's rule does not move",),
)
def simulated_flips(flip_rate, num_examples, draws, order=(4.0, 2.0, 1.0)):
    """Where noise can be fitted, a larger α has the smaller error under symmetric flips, on the same data."""
    table = _table(
        drawn(
            FLIP_ERRORS, draws, **(_PLAIN | {"flip_rate": flip_rate}), prior=0.5, aspect_ratio=0.2, ridge=0.01,
            num_examples=num_examples, alphas=(0.5, 1.0, 2.0, 4.0),
        )
    )  # fmt: skip
    a, b, c = order
    return surely(table[b] - table[a], table[c] - table[b], table[0.5] - table[1.0])


@cache
def _flip_gain(rate: float, num_examples: int, draws: int) -> Any:
    """What α = 4 gains on α = 1 in every draw; balanced classes."""
    table = _table(
        drawn(
            FLIP_ERRORS, draws, **(_PLAIN | {"flip_rate": rate}), prior=0.5, aspect_ratio=0.2, ridge=0.01,
            num_examples=num_examples, alphas=(1.0, 4.0),
        )
    )  # fmt: skip
    return table[1.0] - table[4.0]


@claim(
    "alpha_loss.simulated_flip_gain_grows",
    source=cite("sypherd2022", "more robust the more labels are flipped, read as a gain that grows with the rate"),
    kind=Kind.SIMULATION,
    formula="error at α = 1 minus error at α = 4 is larger with 40 % flips than with 10 %, d/n = 0.2, λ = 0.01",
    relation=Relation.GREATER,
    cases=({"rates": (0.1, 0.4), "num_examples": 100, "draws": 60},),
    expected="fails",
    corrected_by="alpha_loss.simulated_flip_gain",
    right={"rates": (0.0, 0.1)},
    wrong={"with 30 %": {"rates": (0.1, 0.3)}},
)
def simulated_flip_gain_grows(rates, num_examples, draws):
    """The gain of α > 1 grows with the flip rate. Only at first: where little can be learnt, little can be gained."""
    few, many = (_flip_gain(rate, num_examples, draws) for rate in rates)
    return surely(many - few)


@claim(
    "alpha_loss.simulated_flip_gain",
    source=cite("tailbound", "robustness to flips of Sypherd et al. (2022)"),
    kind=Kind.SIMULATION,
    formula="error at α = 1 minus error at α = 4: > 0.03 at 10 %, above that without flips and above that with 40 %",
    relation=Relation.GREATER,
    cases=({"num_examples": 100, "draws": 60},),
    full_cases=({"num_examples": 400, "draws": 60},),
    wrong={"largest at 40 %": {"rates": (0.0, 0.4, 0.1)}},
)
def simulated_flip_gain(num_examples, draws, rates=(0.0, 0.1, 0.4)):
    """The gain of α > 1 rises with the first flips and falls again."""
    none, some, many = (_flip_gain(rate, num_examples, draws) for rate in rates)
    return surely(some - none, some - many, some - 0.03)


@claim(
    "alpha_loss.simulated_imbalance",
    source=cite("sypherd2022", "α < 1 is more sensitive to the rare class"),
    kind=Kind.SIMULATION,
    formula="minority error at α = 1/2 < at 1 < at 2 at one ridge, π = 0.1; majority errors in the opposite order",
    relation=Relation.GREATER,
    cases=({"num_examples": 200, "draws": 10},),
    full_cases=({"num_examples": 400, "draws": 40},),
    wrong={"α = 2 best": {"order": (2.0, 1.0, 0.5)}},
)
def simulated_imbalance(num_examples, draws, order=(0.5, 1.0, 2.0)):
    """At one ridge a smaller α has the smaller minority error and the larger majority error."""
    rows = drawn(
        IMBALANCE_ERRORS, draws, **_PLAIN, prior=0.1, aspect_ratio=0.1, ridge=0.1, num_examples=num_examples,
        alphas=(0.5, 1.0, 2.0),
    )  # fmt: skip
    plus, minus = _table(rows, "error_plus"), _table(rows, "error_minus")
    a, b, c = order
    return surely(plus[b] - plus[a], plus[c] - plus[b], minus[a] - minus[b], minus[b] - minus[c])


@claim(
    "alpha_loss.simulated_outliers",
    source=cite("tailbound", "asymmetric label noise, after the robustness claim of Sypherd et al. (2022)"),
    kind=Kind.SIMULATION,
    formula="10 % outliers at 5 μ under the wrong label: median balanced error > 0.2 at α = 1, < 0.05 at α = 2",
    relation=Relation.LESS,
    cases=({"num_examples": 200, "draws": 8},),
    full_cases=({"num_examples": 400, "draws": 40},),
    wrong={"without outliers": {"outlier_rate": 0.0}, "α = 3/4 instead": {"alpha": 0.75}},
)
def simulated_outliers(num_examples, draws, outlier_rate=0.1, alpha=2.0):
    """Far outliers of one class ruin the log-loss and not α = 2, whose loss of a hopeless point is bounded.

    The medians: in a few draws the continuation from the log-loss's minimiser stays in its basin.
    """
    table = _table(
        drawn(
            CONTAMINATED_ERRORS, draws, **(_PLAIN | {"outlier_rate": outlier_rate, "outlier_strength": 5.0}),
            prior=0.5, aspect_ratio=0.1, ridge=0.01, num_examples=num_examples, alphas=(alpha, 1.0),
        )
    )  # fmt: skip
    medians, stuck = table.median(), (table[alpha] > 0.2).mean()
    return Sides([medians[alpha], -medians[1.0]], [0.05, -0.2], note=f"above 0.2 at alpha {alpha:g}: {stuck:.0%}")


@claim(
    "alpha_loss.slqc_shrinks",
    source=cite("sypherd2022", "SLQC degrades as α grows; the form derived here"),
    kind=Kind.SIMULATION,
    formula="predicted ε/κ <= true ε/κ at every point of every draw, α from 1 to 2, d = 1, 3, 10",
    relation=Relation.AT_MOST,
    cases=tuple({"dimension": d, "draws": 1} for d in (1, 3, 10)),
    full_cases=tuple({"dimension": d, "draws": 40} for d in (1, 3, 10)),
    wrong={"no degradation": {"degrade": False}},
)
def slqc_shrinks(dimension, draws, degrade=True):
    """On random data the guaranteed radius never exceeds the true one."""
    rows = drawn(
        SLQC_RADII, draws, dimension=dimension, num_examples=100, start_alpha=1.0,
        alphas=(1.001, 1.005, 1.01, 1.02, 1.05, 2.0), num_points=30, degrade=degrade,
    )  # fmt: skip
    return rows["violations"].to_numpy(), np.zeros(len(rows))


@claim(
    "alpha_loss.slqc_is_pessimistic",
    source=cite("tailbound", "SLQC radius of Sypherd et al. (2022)"),
    kind=Kind.SIMULATION,
    formula="d = 3: at α = 1.05 the median guaranteed radius is < 5 % of that at α = 1, the true one > 80 % of it",
    relation=Relation.AT_MOST,
    cases=({"draws": 5},),
    full_cases=({"draws": 40},),
    wrong={"at α = 1.001": {"alpha": 1.001}},
)
def slqc_is_pessimistic(draws, alpha=1.05):
    """The guarantee is gone long before the landscape changes: the true radius barely moves."""
    rows = drawn(SLQC_RADII, draws, dimension=3, num_examples=200, start_alpha=1.0, alphas=(alpha,), num_points=60)
    return [rows["predicted_share"].median(), -rows["true_share"].median()], [0.05, -0.8]


@claim(
    "alpha_loss.simulated_generalisation",
    source=cite("shalev2014", "Theorem 26.5, for the α-loss of Sypherd et al. (2022)"),
    kind=Kind.SIMULATION,
    formula="largest risk - empirical risk found over ||θ|| = 2 <= a tenth of the bound at confidence 0.95",
    relation=Relation.AT_MOST,
    cases=({"num_examples": 200, "draws": 2},),
    full_cases=tuple({"num_examples": n, "draws": 20} for n in (50, 200, 800)),
    wrong={"a thousandth of the bound": {"times": 1000.0}},
)
def simulated_generalisation(num_examples, draws, times=10.0):
    """The generalisation bound holds, and is loose by more than ten times."""
    rows = drawn(
        GENERALISATION, draws, dimension=3, num_examples=num_examples, parameter_radius=2.0,
        alphas=(0.5, 1.0, 2.0, 8.0), num_points=20,
    )  # fmt: skip
    return times * rows["gap"].to_numpy(), rows["bound"].to_numpy()


@claim(
    "alpha_loss.simulated_distance_to_infinity",
    source=cite("sypherd2022", "the generalisation bound and saturation combined; constants derived here"),
    kind=Kind.SIMULATION,
    formula="|empirical α-risk - risk at α = ∞|, ||θ|| = 2, <= a quarter of: two-sided bound at 0.95 + L²/(2α), α >= 1",
    relation=Relation.AT_MOST,
    cases=({"num_examples": 200, "draws": 2},),
    full_cases=tuple({"num_examples": n, "draws": 20} for n in (50, 200, 800)),
    wrong={"a hundredth of it": {"times": 100.0}},
)
def simulated_distance(num_examples, draws, times=4.0):
    """The empirical α-risk is near the population's soft 0-1 risk for all θ of a sphere, to a bound in 1/α and n."""
    rows = drawn(
        GENERALISATION, draws, dimension=3, num_examples=num_examples, parameter_radius=2.0, alphas=(1.0, 2.0, 8.0),
        num_points=20,
    )  # fmt: skip
    return times * rows["distance"].to_numpy(), rows["distance_bound"].to_numpy()


@claim(
    "alpha_loss.simulated_consistency",
    source=cite("sypherd2022", "asymptotic optimality of empirical α-risk minimisers"),
    kind=Kind.SIMULATION,
    formula="balanced error less Φ(-||μ||), d = 10, λ = 1/n, even classes: at n = 1600 below half of that at 100",
    relation=Relation.GREATER,
    cases=({"alphas": (0.5, 1.0, 2.0), "draws": 30},),
    full_cases=({"alphas": (0.5, 0.75, 1.0, 1.5, 2.0, 4.0), "draws": 100},),
    wrong={"the same n": {"examples": (100, 100)}, "excess over half of Φ(-||μ||)": {"share": 0.5}},
    assumptions=("well specified: the Bayes rule is linear; λ -> 0 lets the norm grow",),
)
def simulated_consistency(alphas, draws, examples=(100, 1600), share=1.0):
    """For fixed α the error of the minimiser tends to the Bayes error as examples grow."""
    bayes = share * float(ndtr(-_PLAIN["signal_strength"]))
    few, many = (
        _table(
            drawn(
                FLIP_ERRORS, draws, **_PLAIN, prior=0.5, aspect_ratio=10 / n, ridge=1 / n, num_examples=n, alphas=alphas
            )
        )
        - bayes
        for n in examples
    )
    return surely(*(few[alpha].to_numpy() / 2 - many[alpha].to_numpy() for alpha in alphas))
