"""Which scores average-K needs: comparable across inputs, not only ranked within one; the temperature."""

from fractions import Fraction

import numpy as np

from ...average_k.regret import regret
from ...average_k.rules import (
    AmbiguityProfile,
    average_k_inclusion,
    average_k_threshold,
    optimal_errors,
    top_k_inclusion,
)
from ...core.claims import Kind, Relation, cases, claim
from ...core.sources import cite
from .problems import exact_profile, numbered_profile

NUMBERS = (0, 1, 3, 5, 8, 12)
CLEAR = (81, 16, 16)  # fourth powers of 3, 2, 2 and 9, 8, 1: softmax at temperature 4 is rational too
UNCLEAR = (6561, 4096, 1)


@claim(
    "average_k.ranking_top_k",
    source=cite("tailbound", "top-K needs the order of the labels of an input"),
    kind=Kind.EXACT,
    formula="scores (1 + η_k(x))^p(x), p(x) > 0, have no regret for top-K",
    cases=cases(number=NUMBERS, size=[1, 2, 3]),
    wrong={"the order reversed": {"powers": (-1,)}},
)
def ranking_top_k(number, size, powers=(1, 3, 2, 4)):
    """Any increasing transform of the scores of an input, a different one for each, keeps top-K optimal."""
    profile = numbered_profile(number)
    return regret(profile, _transformed(profile.probabilities, powers), size, "top"), Fraction(0)


@claim(
    "average_k.ranking_suffices",
    source=cite("tailbound", "average-K with scores that elicit only the order, such as those of top-K hinge losses"),
    kind=Kind.EXACT,
    formula="scores (1 + η_k(x))^p(x), p(x) > 0, have no regret for average-K",
    cases=(
        {"rows": ((9, 1), (5, 5)), "powers": (1, 3), "size": 1},
        {"rows": ((8, 2), (5, 5)), "powers": (3, 1), "size": 1},
    ),
    expected="fails",
    corrected_by="average_k.common_transform",
    right={"powers": (2, 2)},
    wrong={"three classes": {"rows": ((7, 2, 1), (4, 4, 2)), "powers": (3, 1), "size": 1}},
)
def ranking_suffices(rows, powers, size):
    """Scores in the right order within each input give optimal average-K sets.

    They do for top-K. Average-K compares labels of different inputs: transforms that differ between inputs mislead.
    """
    profile = exact_profile(rows)
    return regret(profile, _transformed(profile.probabilities, powers), size, "average"), Fraction(0)


@claim(
    "average_k.renormalised",
    source=cite("tailbound", "average-K on one-versus-all scores"),
    kind=Kind.EXACT,
    formula="average-K on h_k / Σ_l h_l has the sets of average-K on h",
    cases=({"scores": ((8, 6), (5, 1)), "size": 1},),
    expected="fails",
    corrected_by="average_k.common_transform",
    right={"scores": ((8, 2), (7, 3))},
    wrong={"three inputs": {"scores": ((9, 8), (5, 1), (4, 2))}},
)
def renormalised(scores, size):
    """One-versus-all scores may be normalised to sum to 1. That multiplies each input by another number."""
    scores = np.array([[Fraction(value, 10) for value in row] for row in scores], dtype=object)
    return _sets(scores / scores.sum(axis=1, keepdims=True), size), _sets(scores, size)


@claim(
    "average_k.common_transform",
    source=cite("tailbound", "average-K needs the order of all scores"),
    kind=Kind.EXACT,
    formula="average-K on g(h) has the sets of average-K on h, g increasing and the same for every input",
    cases=cases(number=NUMBERS, size=[1, 2, 3]),
    wrong={"another power for each input": {"powers": (1, 3, 2, 4)}},
)
def common_transform(number, size, powers=(3,)):
    """One increasing transform of all scores changes nothing, ties included; so log-probabilities serve as well."""
    profile = numbered_profile(number)
    return _sets(_transformed(profile.probabilities, powers), size), _sets(profile.probabilities, size)


@claim(
    "average_k.symmetric_noise",
    source=cite("tailbound", "average-K on labels flipped to any other with the same probability"),
    kind=Kind.EXACT,
    formula="with η' = (1 - ε) η + ε/C: average-K and top-K keep their sets, and the gain is (1 - ε) times the gain",
    cases=cases(number=NUMBERS, size=[1, 2], rate=[Fraction(1, 5), Fraction(2, 5)]),
    wrong={"flips to the next label": {"pairs": True}, "the gain stays": {"power": 0}},
)
def symmetric_noise(number, size, rate, pairs=False, power=1):
    """Probabilities of symmetrically noisy labels give the sets for clean labels: noise is a common transform.

    So the same noise for every input leaves no gain where there was none.
    """
    clean = numbered_profile(number)
    eta, classes = clean.probabilities, clean.probabilities.shape[1]
    flipped = np.roll(eta, 1, axis=1) if pairs else Fraction(1, classes)
    noisy = AmbiguityProfile((1 - rate) * eta + rate * flipped, clean.weights)
    computed, stated = (_both_sets(profile, size) for profile in (noisy, clean))
    gains = optimal_errors(noisy, size).gain, (1 - rate) ** power * optimal_errors(clean, size).gain
    return [*computed, gains[0]], [*stated, gains[1]]


@claim(
    "average_k.temperature_invariance",
    source=cite("lorieul2021", "as remarked in a public adaptation: temperature scaling is unnecessary"),
    kind=Kind.EXACT,
    formula="average-K on softmax(z / T) has the sets of average-K on softmax(z)",
    cases=({"weights": (CLEAR, UNCLEAR), "temperature": 4},),
    expected="fails",
    corrected_by="average_k.common_transform",
    right={"link": "sigmoid"},
    wrong={"T = 2": {"weights": ((16, 9, 9), (81, 64, 1)), "temperature": 2}},
)
def temperature_invariance(weights, temperature, link="softmax"):
    """The temperature does not matter. It does not for top-K, nor for a sigmoid of each logit; for a softmax it does.

    Input 1 has the clearer first label at T = 1 (0.72 against 0.62); at T = 4 both labels of input 2 come before it.
    """
    odds = np.array([[Fraction(round(w ** (1 / temperature))) for w in row] for row in weights], dtype=object)
    assert (odds**temperature == np.array(weights)).all()

    def scores(values):
        return values / (1 + values) if link == "sigmoid" else values / values.sum(axis=1, keepdims=True)

    return _sets(scores(odds), 1), _sets(scores(odds**temperature), 1)


@claim(
    "average_k.temperature_values",
    source=cite("tailbound", "softmax of the logits (2, 0, 0) and (3, 2.9, -5)"),
    kind=Kind.NUMERIC,
    formula="first labels: 0.787 and 0.525 at T = 1, 0.452 and 0.474 at T = 4; second label of input 2: 0.475, 0.462",
    relation=Relation.EQUAL,
    atol=5e-4,
    cases=(
        {"temperature": 1.0, "stated": (0.787, 0.525, 0.475)},
        {"temperature": 4.0, "stated": (0.452, 0.474, 0.462)},
    ),
    wrong={"T = 2": {"temperature": 2.0}},
)
def temperature_values(temperature, stated):
    """A higher temperature lets the label of the unclear input overtake that of the clear one."""
    odds = np.exp(np.array([[2, 0, 0], [3, 2.9, -5]]) / temperature)
    p = odds / odds.sum(axis=1, keepdims=True)
    return [p[0, 0], p[1, 0], p[1, 1]], list(stated)


def _transformed(scores, powers):
    """(1 + h)^p with the p of each input in turn: increasing in h, a different curve for each input."""
    return np.array([row ** powers[i % len(powers)] for i, row in enumerate(1 + scores)], dtype=object)


def _both_sets(profile, size):
    eta = profile.probabilities
    average = average_k_inclusion(eta, average_k_threshold(eta, size, profile.weights))
    return [*average.ravel(), *top_k_inclusion(eta, size).ravel()]


def _sets(scores, size):
    return average_k_inclusion(scores, average_k_threshold(scores, size))
