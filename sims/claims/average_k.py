"""Average-K with estimated probabilities, by simulation: when it pays, when it loses, where its threshold is set."""

import numpy as np

from ...theory.average_k.calibration import size_deviation
from ...theory.average_k.profiles import uniform_errors, uniform_size_variance
from ...theory.core.claims import Kind, Relation, Sides, claim
from ...theory.core.sources import cite
from ..average_k import ESTIMATED_PROFILES, FEATURE_MODELS, OVERFIT_THRESHOLD, THRESHOLD_SIZE
from ..core.checks import agreement, drawn, matching, surely, within

_FEATURES = {"num_classes": 6, "sizes": (1, 2), "num_test": 2000}


@claim(
    "average_k.simulated_size_error",
    source=cite("tailbound", "delta method for a threshold estimated from N inputs"),
    kind=Kind.SIMULATION,
    formula="N E (G(λ̂) - K)² -> Var(size of the average-K set), and rms <= C sqrt(log(2/δ)/(2N)) at δ = 1/2",
    relation=Relation.AT_MOST,
    cases=tuple({"num_inputs": 300, "num_classes": C, "size": K, "draws": 400} for C, K in ((10, 1), (10, 3), (50, 3))),
    full_cases=tuple(
        {"num_inputs": 10_000, "num_classes": C, "size": K, "draws": 1000} for C, K in ((10, 1), (10, 3), (50, 3))
    ),
    wrong={"variance K, as if labels were independent": {"independent": True}, "rate 1/N": {"rate": 2}},
)
def simulated_size_error(num_inputs, num_classes, size, draws, independent=False, rate=1):
    """The mean size at an estimated threshold is off by sd(size) / √N, far less than the distribution-free bound."""
    rows = drawn(THRESHOLD_SIZE, draws, num_inputs=num_inputs, num_classes=num_classes, size=size)
    rows["scaled"] = num_inputs**rate * rows["size_error"] ** 2
    stated = float(size) if independent else uniform_size_variance(num_classes, size)
    rule = within(agreement(rows, stated, "scaled", allowance=20 * stated / num_inputs))
    rms = float(np.sqrt((rows["size_error"] ** 2).mean()))
    return Sides([*rule.computed, rms], [*rule.stated, size_deviation(num_classes, num_inputs, 0.5)], note=rule.note)


@claim(
    "average_k.simulated_optimum",
    source=cite("tailbound", "uniform law on the simplex for the rules of Lorieul et al. (2021)"),
    kind=Kind.SIMULATION,
    formula="E_top and E_top - E_avg of drawn inputs -> the closed forms of the uniform law",
    relation=Relation.AT_MOST,
    cases=tuple({"num_classes": C, "size": K, "draws": 60} for C, K in ((10, 1), (10, 3), (4, 2))),
    wrong={"one label more": {"more": 1}},
)
def simulated_optimum(num_classes, size, draws, more=0):
    """With the true probabilities both errors of 400 drawn inputs agree with their closed form."""
    rows = drawn(
        ESTIMATED_PROFILES, draws, profile="uniform", num_inputs=400, num_classes=num_classes, labels_per_input=1,
        size=size,
    )  # fmt: skip
    stated = uniform_errors(num_classes, size + more)
    return within(
        agreement(rows, stated.top, "optimal_top"),
        agreement(rows, stated.gain, "optimal_gain", allowance=1 / 400),
    )


@claim(
    "average_k.simulated_estimated_gain",
    source=cite(
        "lorieul2021", "abstract: what holds for the true ambiguity holds for estimates; on synthetic profiles"
    ),
    kind=Kind.SIMULATION,
    formula="E_top - E_avg > 0 with estimated probabilities, and at least a third of the gain with the true ones",
    relation=Relation.GREATER,
    cases=tuple(
        {"profile": p, "labels_per_input": m, "draws": 12} for p in ("two_level", "mixed") for m in (3, 30, 300)
    ),
    wrong={"more than the true gain": {"share": 1.2}},
)
def simulated_estimated_gain(profile, labels_per_input, draws, share=1 / 3):
    """Where ambiguity differs between inputs, average-K keeps a good part of its gain with three labels an input.

    Each side is a mean less 4 standard errors, beside 0.
    """
    rows = drawn(
        ESTIMATED_PROFILES, draws, profile=profile, num_inputs=400, num_classes=10, labels_per_input=labels_per_input,
        size=2,
    )  # fmt: skip
    return surely(rows["gain"], rows["gain"] - share * rows["optimal_gain"])


@claim(
    "average_k.simulated_homogeneous_loss",
    source=cite("tailbound", "against the abstract of Lorieul et al. (2021), read for estimated probabilities"),
    kind=Kind.SIMULATION,
    formula="E_avg - E_top > 0 with estimates from 300 labels an input, where η has the same sorted values everywhere",
    relation=Relation.GREATER,
    cases=({"profile": "homogeneous", "labels_per_input": 300, "draws": 12},),
    wrong={"two levels of ambiguity": {"profile": "two_level"}, "three labels an input": {"labels_per_input": 3}},
)
def simulated_homogeneous_loss(profile, labels_per_input, draws):
    """Where ambiguity is the same everywhere there is nothing to gain, and estimates make average-K lose a little.

    With very few labels it gains even here: the estimates are unequally sure, and that is real information.
    """
    rows = drawn(
        ESTIMATED_PROFILES, draws, profile=profile, num_inputs=400, num_classes=10, labels_per_input=labels_per_input,
        size=2,
    )  # fmt: skip
    return surely(-rows["gain"])


@claim(
    "average_k.simulated_consistency",
    source=cite("lorieul2021", "consistency of the plug-in rules with a strongly proper loss"),
    kind=Kind.SIMULATION,
    formula="regrets of both rules at 4000 examples <= 1/4 of those at 400, logistic regression well specified",
    relation=Relation.AT_LEAST,
    cases=({"model": "logistic", "sharpness": "constant", "draws": 10},),
    wrong={"one-versus-all": {"model": "ova"}, "misspecified": {"sharpness": "fading"}},
)
def simulated_consistency(model, sharpness, draws):
    """Cross-entropy in a well-specified model makes both regrets fall, here nearly as 1/n; the guarantee is n^(-1/2).

    Linear one-versus-all logistic regression, misspecified here, keeps an average-K regret while its top-K is all but
    optimal.
    """
    few, many = (
        matching(
            drawn(FEATURE_MODELS, draws, sharpness=sharpness, num_examples=n, models=(model,), **_FEATURES), size=1
        ).reset_index()
        for n in (400, 4000)
    )
    return surely(*(few[name] / 4 - many[name] for name in ("regret_top", "regret_average")))


@claim(
    "average_k.simulated_regret_bound",
    source=cite("lorieul2021", "consistency of the plug-in rules with a strongly proper loss; constant derived here"),
    kind=Kind.SIMULATION,
    formula="regret <= sqrt(2 Reg_CE) for both rules in every draw",
    relation=Relation.AT_MOST,
    cases=tuple({"sharpness": s, "num_examples": n, "draws": 4} for s in ("constant", "fading") for n in (100, 2000)),
    wrong={"Reg_CE / 8": {"power": 1.0, "factor": 0.125}},
)
def simulated_regret_bound(sharpness, num_examples, draws, power=0.5, factor=2.0):
    """Fitted models stay below the bound by an order of magnitude."""
    rows = drawn(
        FEATURE_MODELS, draws, sharpness=sharpness, num_examples=num_examples, models=("logistic",), **_FEATURES
    )
    stated = (factor * rows["log_regret"].to_numpy()) ** power
    return [*rows["regret_top"], *rows["regret_average"]], [*stated, *stated]


@claim(
    "average_k.simulated_misspecified_loss",
    source=cite("tailbound", "against the abstract of Lorieul et al. (2021), read for estimated probabilities"),
    kind=Kind.SIMULATION,
    formula="E_avg - E_top > 0.01 with cross-entropy in a misspecified model, K = 1; the optimum has E_avg < E_top",
    relation=Relation.GREATER,
    cases=({"model": "logistic", "sharpness": "fading", "num_examples": 4000, "draws": 8},),
    wrong={"well specified": {"sharpness": "constant"}, "nearest neighbours": {"model": "neighbours"}},
)
def simulated_misspecified_loss(model, sharpness, num_examples, draws):
    """A linear model that is surest where it should not be ranks the labels well and loses by average-K.

    Each side is a mean less 4 standard errors, beside 0.
    """
    rows = matching(
        drawn(FEATURE_MODELS, draws, sharpness=sharpness, num_examples=num_examples, models=(model,), **_FEATURES),
        size=1,
    )
    return surely(-rows["gain"] - 0.01, rows["optimal_gain"])


@claim(
    "average_k.simulated_fresh_threshold",
    source=cite("lorieul2021", "the threshold needs inputs, not labels"),
    kind=Kind.SIMULATION,
    formula="mean size on further inputs -> K, threshold from fresh unlabelled inputs",
    relation=Relation.AT_MOST,
    cases=tuple({"num_examples": n, "calibration": "fresh", "draws": 16} for n in (100, 400)),
    wrong={"on the training inputs": {"calibration": "train"}},
)
def simulated_fresh_threshold(num_examples, calibration, draws):
    """However over-fitted the scorer, a threshold from fresh inputs keeps the mean size."""
    return within(agreement(_overfit(num_examples, calibration, draws), 2.0, "mean_size", allowance=4 / num_examples))


@claim(
    "average_k.simulated_train_threshold",
    source=cite("tailbound", "a common warning about over-confident networks"),
    kind=Kind.SIMULATION,
    formula="mean size on further inputs < K, threshold from the training inputs of an over-fitted scorer",
    relation=Relation.GREATER,
    cases=({"num_examples": 400, "draws": 12}, {"num_examples": 100, "draws": 12}),
    expected="fails",
    corrected_by="average_k.simulated_fresh_threshold",
    right={"num_examples": 400},
    wrong={"hardly over-fitted": {"num_examples": 8000}},
)
def simulated_train_threshold(num_examples, draws):
    """A threshold set on training inputs is too large. At 400 examples in 40 dimensions it is, by a tenth of a label.

    At 100, where the classes are separated, the second scores are tiny, and for K = 2 it is too small.
    """
    return surely(2.0 - _overfit(num_examples, "train", draws)["mean_size"])


def _overfit(num_examples, calibration, draws):
    rows = drawn(
        OVERFIT_THRESHOLD, draws, dimension=40, num_examples=num_examples, num_classes=6, size=2, num_test=2000
    )
    return matching(rows, calibration=calibration)
