"""Studies of LogitClip: what label noise costs the best clipped fit, exactly; and what a linear model learns by heart.

Both draw Gaussian classes: x = s e_y + g with g standard normal, K classes equally likely, s the `signal_strength`.
"""

from typing import Any

import numpy as np

from ..theory.core.errors import InputError, nearest
from ..theory.logit_clip.clip import clipped_gradient
from ..theory.logit_clip.minimiser import risk_gap
from ..theory.logit_clip.noise import class_dependent_bounds, symmetric_transition
from .core.study import Study, cases

__all__ = ["MEMORISATION", "NOISES", "NOISE_GAP", "draw_memorisation", "draw_noise_gap", "draw_transition"]

NOISES = ("symmetric", "pairs", "drawn")
"""Any wrong label alike; the next class alone; shares of the wrong classes drawn uniformly from the simplex."""

CERTAIN = 1e3
"""A signal strength at which the label is a function of x."""


def draw_transition(rng, noise: str, noise_rate: float, num_classes: int) -> np.ndarray:
    """Transition matrix of one kind of noise, P(noisy = j | true = i), shape (K, K).

    Raises:
        InputError: for a kind not in `NOISES`.

    Example:
        >>> draw_transition(np.random.default_rng(0), "pairs", 0.4, 3)
        array([[0.6, 0.4, 0. ],
               [0. , 0.6, 0.4],
               [0.4, 0. , 0.6]])
    """
    if noise not in NOISES:
        raise InputError(f"unknown noise {noise!r}; {nearest(noise, NOISES)}")
    if noise == "symmetric":
        return symmetric_transition(noise_rate, num_classes)
    stays = (1 - noise_rate) * np.eye(num_classes)
    if noise == "pairs":
        return stays + noise_rate * np.roll(np.eye(num_classes), 1, axis=1)
    shares = np.zeros((num_classes, num_classes))
    shares[~np.eye(num_classes, dtype=bool)] = rng.dirichlet(np.ones(num_classes - 1), size=num_classes).ravel()
    return stays + noise_rate * shares


def draw_noise_gap(rng, *, noise, noise_rate, signal_strength, norm, num_classes, num_points, max_norms) -> list[dict]:
    """Draw points and a transition, and compute both excess risks of the best clipped fits exactly; one row each τ.

    ``clean`` is R(f*_η) - R(f*) and ``noisy`` R^η(f*) - R^η(f*_η), means over the points. ``bound`` is the sharp
    class-dependent bound on ``noisy``; it presumes certain labels. At the signal 1000 the labels are certain.
    """
    transition = draw_transition(rng, noise, noise_rate, num_classes)
    labels = rng.integers(num_classes, size=num_points)
    scores = rng.standard_normal((num_points, num_classes)) + signal_strength * np.eye(num_classes)[labels]
    logits = signal_strength * scores
    posteriors = np.exp(logits - logits.max(axis=1, keepdims=True))
    posteriors /= posteriors.sum(axis=1, keepdims=True)
    rows = []
    for max_norm in max_norms:
        gap = risk_gap(posteriors, transition, max_norm, norm=norm)
        bound = class_dependent_bounds(transition, max_norm, norm=norm)
        rows.append({"max_norm": max_norm, "clean": gap.clean, "noisy": gap.noisy, "bound": bound.sharp})
    return rows


def draw_memorisation(
    rng, *, noise_rate, signal_strength, num_classes, num_examples, dimension, steps, rate, max_norms
) -> list[dict]:
    """Draw noisy Gaussian classes and train a linear model by descent on clipped cross-entropy; one row each τ.

    All τ meet the same data and start at zero. ``memorised`` is the share of the wrongly labelled examples that are
    given their wrong label, ``accuracy`` the share of 20 000 new points given their class (the model's scores of new
    points are Gaussian and drawn as such, the same for all τ), ``norm`` the mean length of the training logits.
    """
    labels = np.arange(num_examples) % num_classes
    features = rng.standard_normal((num_examples, dimension))
    features[np.arange(num_examples), labels] += signal_strength
    wrong = rng.permutation(num_examples) < round(noise_rate * num_examples)
    noisy = np.where(wrong, (labels + rng.integers(1, num_classes, size=num_examples)) % num_classes, labels)
    truth = np.arange(20_000) % num_classes
    white = rng.standard_normal((len(truth), num_classes))
    step = rate / np.linalg.norm(features, 2) ** 2
    rows = []
    for max_norm in max_norms:
        weights = np.zeros((dimension, num_classes))
        for _ in range(steps):
            weights -= step * features.T @ clipped_gradient(features @ weights, noisy, max_norm)
        scores = features @ weights
        found = scores.argmax(axis=1)
        factor: Any = np.linalg.qr(weights, mode="r")  # the scores' covariance is W'W = R'R
        new = signal_strength * weights[truth] + white @ factor
        rows.append(
            {
                "max_norm": max_norm,
                "memorised": (found == noisy)[wrong].mean(),
                "fitted": (found == labels)[~wrong].mean(),
                "accuracy": (new.argmax(axis=1) == truth).mean(),
                "norm": np.linalg.norm(scores, axis=1).mean(),
            }
        )
    return rows


MAX_NORMS = (0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)

NOISE_GAP = Study(
    "logit_clip.noise_gap",
    draw_noise_gap,
    cases=cases(
        noise=NOISES[:2],
        noise_rate=[0.2, 0.4],
        signal_strength=[2.0, 3.0, CERTAIN],
        norm=[1.0, 2.0, float(np.inf)],
        num_classes=[10],
        num_points=[12],
        max_norms=[MAX_NORMS],
    )
    + cases(
        noise=["drawn"],
        noise_rate=[0.4],
        signal_strength=[CERTAIN],
        norm=[1.0, 2.0, float(np.inf)],
        num_classes=[10],
        num_points=[12],
        max_norms=[MAX_NORMS],
    ),
    repetitions=10,
    quick={"num_classes": 3, "num_points": 2, "max_norms": (1.0,)},
)

MEMORISATION = Study(
    "logit_clip.memorisation",
    draw_memorisation,
    cases=cases(
        noise_rate=[0.4],
        signal_strength=[4.0],
        num_classes=[4],
        num_examples=[200],
        dimension=[100, 400],
        steps=[200],
        rate=[2.0, 2000.0],
        max_norms=[(0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)],
    ),
    repetitions=10,
    quick={"num_examples": 20, "dimension": 8, "steps": 5},
)
