"""Average-K against top-K with estimated probabilities: on synthetic profiles, from features, and its threshold.

Errors and regrets are exact given what was drawn: the label of a test input is integrated out with its probabilities.
"""

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier

from ..theory.average_k.regret import regret, surrogate_regret
from ..theory.average_k.rules import AmbiguityProfile, average_k_inclusion, average_k_threshold, optimal_errors
from .core.study import Study, cases

__all__ = [
    "ESTIMATED_PROFILES",
    "FEATURE_MODELS",
    "MODELS",
    "OVERFIT_THRESHOLD",
    "PROFILES",
    "THRESHOLD_SIZE",
    "draw_estimated_profile",
    "draw_feature_models",
    "draw_overfit_threshold",
    "draw_profile",
    "draw_threshold_size",
]

PROFILES = ("homogeneous", "two_level", "uniform", "mixed")
"""Ambiguity: the same sorted probabilities everywhere; half certain, half uniform over half of the labels; uniform on
the simplex; Dirichlet with a concentration from 0.05 to 5 that differs between inputs."""

MODELS = ("logistic", "ova", "squared", "neighbours")
"""Multinomial and one-versus-all logistic regression, least squares on indicators, nearest neighbours."""

_DIMENSION = 4


def draw_profile(rng, profile: str, num_inputs: int, num_classes: int) -> AmbiguityProfile:
    """Draw inputs of one of the `PROFILES`, equally likely, labels in random order."""
    if profile == "homogeneous":
        eta = np.tile(0.6 ** np.arange(num_classes), (num_inputs, 1))
    elif profile == "two_level":
        few = 1 + (np.arange(num_inputs) % 2) * (num_classes // 2 - 1)
        eta = (np.arange(num_classes) < few[:, None]).astype(float)
    elif profile == "uniform":
        eta = rng.standard_exponential((num_inputs, num_classes))
    else:
        concentration = np.exp(rng.uniform(np.log(0.05), np.log(5), num_inputs))
        eta = rng.gamma(concentration[:, None], size=(num_inputs, num_classes)) + 1e-12
    eta = rng.permuted(eta, axis=1)
    return AmbiguityProfile(eta / eta.sum(axis=1, keepdims=True))


def draw_estimated_profile(rng, *, profile, num_inputs, num_classes, labels_per_input, size) -> dict:
    """Draw a profile and labels of each input; estimate the probabilities and apply both rules.

    The estimate adds 1/C to the count of each label. ``gain`` is the error of top-K minus that of average-K, both with
    the estimate; ``optimal_gain`` the same with the truth.
    """
    truth = draw_profile(rng, profile, num_inputs, num_classes)
    counts = rng.multinomial(labels_per_input, truth.probabilities)
    estimate = (counts + 1 / num_classes) / (labels_per_input + 1)
    errors = optimal_errors(truth, size)
    top, average = (regret(truth, estimate, size, rule) for rule in ("top", "average"))
    return {
        "optimal_top": errors.top,
        "optimal_gain": errors.gain,
        "gain": errors.gain + top - average,
        "regret_top": top,
        "regret_average": average,
    }


def draw_feature_models(rng, *, sharpness, num_examples, models, num_classes, sizes, num_test) -> list[dict]:
    """Fit some of the `MODELS` to features and apply both rules to fresh inputs; one row for each model and K.

    η(x) = softmax(a(x) W x) with x standard normal in 4 dimensions. ``constant``: a = 2, and multinomial logistic
    regression is well specified. ``fading``: a = 8 / ||x||², inputs far out are the ambiguous ones, and a model linear
    in x ranks every input's labels right while it is surest where it should not be.
    """
    weights = _directions(num_classes)
    features, probabilities = _feature_sample(rng, sharpness, weights, num_examples)
    labels = (rng.random(num_examples)[:, None] > np.cumsum(probabilities, axis=1)[:, :-1]).sum(axis=1)
    test, truth = _feature_sample(rng, sharpness, weights, num_test)
    profile = AmbiguityProfile(truth)
    optimal = {size: optimal_errors(profile, size) for size in sizes}
    rows = []
    for model in models:
        scores = _fitted(model, features, labels, num_classes, test)
        divergence = surrogate_regret(profile, scores, "log") if model == "logistic" else np.nan
        for size in sizes:
            top, average = (regret(profile, scores, size, rule) for rule in ("top", "average"))
            rows.append(
                {
                    "model": model,
                    "size": size,
                    "regret_top": top,
                    "regret_average": average,
                    "gain": optimal[size].gain + top - average,
                    "optimal_gain": optimal[size].gain,
                    "log_regret": divergence,
                }
            )
    return rows


def draw_threshold_size(rng, *, num_inputs, num_classes, size) -> dict:
    """Draw inputs uniform on the simplex; return the exact mean size at the threshold that they give, minus K."""
    scores = draw_profile(rng, "uniform", num_inputs, num_classes).probabilities
    value = average_k_threshold(scores, size).value
    return {"size_error": num_classes * (1 - value) ** (num_classes - 1) - size, "threshold": value}


def draw_overfit_threshold(rng, *, dimension, num_examples, num_classes, size, num_test) -> list[dict]:
    """Fit a nearly unpenalised logistic regression to few examples; set the threshold on them, or on fresh inputs.

    One row for each ``calibration``; mean sizes and errors are those of further inputs.
    """
    weights = 2 * rng.standard_normal((dimension, num_classes)) / np.sqrt(dimension)

    def sample(number):
        x = rng.standard_normal((number, dimension))
        return x, _softmax(x @ weights)

    features, probabilities = sample(num_examples)
    labels = (rng.random(num_examples)[:, None] > np.cumsum(probabilities, axis=1)[:, :-1]).sum(axis=1)
    labels[:num_classes] = np.arange(num_classes)
    model = LogisticRegression(C=10.0, max_iter=5000).fit(features, labels)
    fresh, (test, truth) = sample(num_examples)[0], sample(num_test)
    scores, profile = model.predict_proba(test), AmbiguityProfile(truth)
    rows = []
    for calibration, inputs in (("train", features), ("fresh", fresh)):
        threshold = average_k_threshold(model.predict_proba(inputs), size)
        inclusion = average_k_inclusion(scores, threshold)
        rows.append(
            {
                "calibration": calibration,
                "threshold": threshold.value,
                "mean_size": profile.mean(inclusion),
                "error": profile.error(inclusion),
            }
        )
    return rows


def _fitted(model: str, features, labels, num_classes: int, test) -> np.ndarray:
    """Scores of the test inputs; a class that was not drawn has the score 0."""
    if model == "squared":
        return LinearRegression().fit(features, np.eye(num_classes)[labels]).predict(test)
    machine = {
        "logistic": LogisticRegression(max_iter=2000),
        "ova": OneVsRestClassifier(LogisticRegression(max_iter=2000)),
        "neighbours": KNeighborsClassifier(max(5, round(len(labels) ** (4 / (4 + _DIMENSION))))),
    }[model].fit(features, labels)
    if model == "ova":  # as they are: OneVsRestClassifier.predict_proba would renormalise them
        found = np.stack([each.predict_proba(test)[:, 1] for each in machine.estimators_], axis=1)
    else:
        found = machine.predict_proba(test)
    scores = np.zeros((len(test), num_classes))
    scores[:, machine.classes_] = found
    return scores


def _feature_sample(rng, sharpness: str, weights, number: int) -> tuple[np.ndarray, np.ndarray]:
    x = rng.standard_normal((number, _DIMENSION))
    scale = 2.0 if sharpness == "constant" else 8 / (x**2).sum(axis=1, keepdims=True)
    return x, _softmax(scale * (x @ weights))


def _directions(num_classes: int) -> np.ndarray:
    """Fixed directions of the classes, of length 1, spread by irrational steps; shape (4, C)."""
    steps = np.outer(np.sqrt([2.0, 3.0, 5.0, 7.0]), np.arange(1, num_classes + 1)) % 1 - 0.5
    return steps / np.linalg.norm(steps, axis=0)


def _softmax(logits) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


ESTIMATED_PROFILES = Study(
    "average_k.estimated_profiles",
    draw_estimated_profile,
    cases=cases(
        profile=PROFILES,
        num_inputs=[400],
        num_classes=[10],
        labels_per_input=[3, 10, 30, 100, 300, 1000],
        size=[1, 2, 3],
    ),
    repetitions=20,
    quick={"num_inputs": 30},
)

FEATURE_MODELS = Study(
    "average_k.feature_models",
    draw_feature_models,
    cases=cases(
        sharpness=["constant", "fading"],
        num_examples=[100, 316, 1000, 3162, 10_000, 31_623],
        models=[MODELS],
        num_classes=[6],
        sizes=[(1, 2)],
        num_test=[4000],
    ),
    repetitions=20,
    quick={"num_test": 200},
)

THRESHOLD_SIZE = Study(
    "average_k.threshold_size",
    draw_threshold_size,
    cases=cases(num_inputs=[30, 100, 300, 1000, 3000, 10_000], num_classes=[10, 50], size=[1, 3]),
    repetitions=200,
)

OVERFIT_THRESHOLD = Study(
    "average_k.overfit_threshold",
    draw_overfit_threshold,
    cases=cases(
        dimension=[40], num_examples=[100, 200, 400, 1000, 4000, 16_000], num_classes=[6], size=[2], num_test=[4000]
    ),
    repetitions=20,
    quick={"num_test": 200},
)
