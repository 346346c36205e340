"""The best margin ratio of a data set: the report behind ``tailbound derive --features``.

For two classes one hard-margin SVM, for K classes one for each class against the rest. From the one fit follow, without
held-out data: the errors of each class to expect at any margin ratio, the best ratio with its interval, what LDAM's
ratio would lose, and beside them what the theory of isotropic Gaussian mixtures says for the same signal and sizes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .core.constants import Constant, Origin, constant
from .core.errors import InputError
from .core.feature_files import check_features
from .core.fixed_point import NotConverged
from .vs_loss.asymptotics import hard_margin_map
from .vs_loss.estimator import CostSensitiveSVC
from .vs_loss.ratio_estimate import RatioEstimate, estimate_margin_ratio
from .vs_loss.svm import NotSeparable, SVMSolution, solve_svm

__all__ = ["FeatureReport", "Prediction", "Problem", "derive_features", "save_machine"]

LARGEST_NUMBER = 12_000
"""Examples beyond which the Gram matrix does not fit ordinary memory."""

_POWERS = {"svm": 0.0, "ldam": 0.25, "n^-1/3": 1 / 3, "n^-1/2": 0.5, "1/n": 1.0}
_UNEVEN = 1e3


@dataclass(frozen=True)
class Prediction:
    """Errors to expect at one margin ratio. Pairs are of the class and of the rest.

    Args:
        rule: how the ratio is chosen: ``auto``, ``ldam``, ...
        margin_ratio: δ.
        errors: predicted from the margins left out one by one.
        training_law: asymptotic, from the training margins under the limit law of identity covariance; None where every
            example lies on the margin.
        isotropic: asymptotic, of the isotropic Gaussian mixture of the same signal, prior and aspect ratio; None where
            that is not separable, or the noise is far from isotropic (effective dimension below d / 2).
    """

    rule: str
    margin_ratio: float
    errors: tuple[float, float]
    training_law: tuple[float, float] | None
    isotropic: tuple[float, float] | None

    @property
    def balanced_error(self) -> float:
        """Mean of the two predicted errors."""
        return sum(self.errors) / 2


@dataclass(frozen=True, eq=False)
class Problem:
    """One class against the rest.

    Args:
        name: the class with the label +1.
        rest: the other class, or ``rest``.
        counts: of the two.
        separable: whether a hyperplane separates them; without it, what follows is None or empty.
        reason: why not, with the certificate.
        constants: prior, aspect ratio, signal, margin ratios, each with its reason and its claim.
        predictions: at several ratios, ``auto`` first.
        estimate: the estimated ratio.
        machine: the fitted machine with the estimated ratio; its labels are +1 for the class and -1 for the rest.
        notes: what to beware of.
    """

    name: str
    rest: str
    counts: tuple[int, int]
    separable: bool
    reason: str = ""
    constants: tuple[Constant, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    estimate: RatioEstimate | None = None
    machine: CostSensitiveSVC | None = None
    notes: tuple[str, ...] = ()

    @property
    def coefficients(self) -> np.ndarray:
        """w of the machine, shape (d,)."""
        assert self.machine is not None  # separable
        return self.machine.coef_[0]

    @property
    def intercept(self) -> float:
        """b of the machine; f(x) = ⟨w, x⟩ + b > 0 is the class."""
        assert self.machine is not None
        return float(self.machine.intercept_[0])

    def __getitem__(self, name: str) -> Constant:
        return next(each for each in self.constants if each.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        plain: dict[str, Any] = {"class": self.name, "rest": self.rest, "counts": list(self.counts)}
        plain["separable"] = self.separable
        if not self.separable:
            return plain | {"reason": self.reason}
        return plain | {
            "constants": {c.name: {k: v for k, v in c.to_dict().items() if k != "name"} for c in self.constants},
            "predictions": [
                {
                    "rule": each.rule,
                    "margin_ratio": each.margin_ratio,
                    "errors": list(each.errors),
                    "balanced_error": each.balanced_error,
                    "training_law": each.training_law and list(each.training_law),
                    "isotropic": each.isotropic and list(each.isotropic),
                }
                for each in self.predictions
            ],
            "machine": {"coefficients": self.coefficients.tolist(), "intercept": self.intercept},
            "notes": list(self.notes),
        }


@dataclass(frozen=True, eq=False)
class FeatureReport:
    """What `derive_features` returns: one problem for two classes, else one for each class."""

    classes: tuple[str, ...]
    num_examples: int
    dimension: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, ready for JSON."""
        return {
            "classes": list(self.classes),
            "num_examples": self.num_examples,
            "dimension": self.dimension,
            "problems": [each.to_dict() for each in self.problems],
            "notes": list(self.notes),
        }


def derive_features(features, labels, *, confidence: float = 0.9, random_state: int = 0, track=iter) -> FeatureReport:
    """Estimate the best margin ratio of each class from training features and labels.

    Args:
        features: shape (n, d), finite; scale them as for any SVM.
        labels: shape (n,), at least two classes of at least 2 examples.
        confidence: level of the bootstrap interval.
        random_state: seed of the bootstrap.
        track: wraps the loop over problems, for a progress bar.

    Raises:
        InputError: for bad input, or two classes that no hyperplane separates.

    Example:
        >>> features = np.random.default_rng(0).standard_normal((120, 200))
        >>> labels = np.where(np.arange(120) < 20, "rare", "frequent")
        >>> features[:20, 0] += 4
        >>> problem, = derive_features(features, labels).problems
        >>> problem.name, problem.counts, problem["svm.margin_ratio_auto"].value > 1
        ('rare', (20, 100), True)
    """
    features, labels, _ = check_features(features, labels)
    n, dimension = features.shape
    values, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    names = [str(value) for value in values.tolist()]
    if len(names) < 2:
        raise InputError(f"labels must have at least 2 classes, got {names}; add the other class")
    if counts.min() < 2:
        few = [name for name, number in zip(names, counts, strict=True) if number < 2]
        raise InputError(
            f"every class needs at least 2 examples, but {few[:5]} have one; add examples or drop the class"
        )
    if len(names) > n // 2 or (labels.dtype.kind == "f" and len(names) > 20):
        raise InputError(f"labels have {len(names)} different values for {n} examples; pass classes, not measurements")
    if n > LARGEST_NUMBER:
        raise InputError(f"features have {n} examples, more than {LARGEST_NUMBER} whose Gram matrix fits; pass a part")
    centred = features - features.mean(axis=0)  # moves the intercepts only
    gram = centred @ centred.T
    if not np.isfinite(gram).all() or gram.max() == 0:
        raise InputError("features are all equal or beyond 1e150; scale them")
    tasks = [int(counts.argmin())] if len(names) == 2 else list(range(len(names)))
    problems = []
    for k in track(tasks):
        signs = np.where(codes == k, 1, -1)
        rest = names[1 - k] if len(names) == 2 else "rest"
        problems.append(_problem(features, centred, gram, signs, (names[k], rest), confidence, random_state))
    if not any(problem.separable for problem in problems):
        raise InputError(problems[0].reason)
    return FeatureReport(tuple(names), n, dimension, tuple(problems), tuple(_notes(features)))


def save_machine(report: FeatureReport, path) -> None:
    """Save the machines as ``.npz``: coefficients (P, d), intercepts (P,), margin_ratios (P,), classes (P,) and rests.

    Numbers and words only, so that loading runs no code (a joblib file is a pickle). A class is predicted where
    ``features @ coefficients + intercept > 0``.

    Raises:
        InputError: for another suffix, or a folder that cannot be written.
    """
    if Path(path).suffix != ".npz":
        raise InputError(f"machines are saved as .npz, numbers without code, got {str(path)!r}; name it so")
    kept = [each for each in report.problems if each.estimate is not None]
    try:
        np.savez(
            path,
            coefficients=np.array([each.coefficients for each in kept]),
            intercepts=np.array([each.intercept for each in kept]),
            margin_ratios=np.array([each.estimate.ratio for each in kept if each.estimate]),
            classes=np.array([each.name for each in kept]),
            rests=np.array([each.rest for each in kept]),
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); name another file") from None


def _problem(features, centred, gram, signs, names, confidence: float, random_state: int) -> Problem:
    counts = (int((signs > 0).sum()), int((signs < 0).sum()))
    try:
        machine = solve_svm(gram, signs)
    except NotSeparable as error:
        used = [int(((error.weights > 0) & (signs == sign)).sum()) for sign in (1, -1)]
        reason = (
            f"no hyperplane separates {names[0]} from {names[1]}: a mean of {used[0]} examples of the one lies within "
            f"{error.residual:.1e} of a mean of {used[1]} of the other; add features, or drop mislabelled examples"
        )
        return Problem(names[0], names[1], counts, False, reason)
    except NotConverged as error:
        raise InputError(" ".join([f"{names[0]} against {names[1]}: {error}.", *_notes(features)])) from None
    estimate = estimate_margin_ratio(gram, signs, machine, confidence=confidence, random_state=random_state)
    chosen = CostSensitiveSVC(margin_ratio={1: estimate.ratio, -1: 1.0}).fit(features, signs)
    signal, effective = _signal(centred, signs)
    n, dimension = features.shape
    law = None  # where every example lies on the margin, training margins say nothing
    if (signs * machine.scores > 1 + 1e-6).any():
        law = estimate_margin_ratio(gram, signs, machine, method="training-law", confidence=confidence)
    mixture = signal if effective > dimension / 2 else np.inf
    predictions = tuple(_predictions(estimate, law, counts, mixture, dimension / n))
    sizes = counts, dimension, signal, effective
    constants = tuple(_constants(machine, estimate, law, predictions, sizes))
    return Problem(names[0], names[1], counts, True, "", constants, predictions, estimate, chosen, estimate.notes)


def _signal(centred: np.ndarray, signs: np.ndarray) -> tuple[float, float]:
    """Half the distance of the class means in noise standard deviations, unbiased in its square; tr(Σ)² / tr(Σ²)."""
    groups = [centred[signs == sign] for sign in (1, -1)]
    means = [each.mean(axis=0) for each in groups]
    residuals = np.vstack([each - mean for each, mean in zip(groups, means, strict=True)])
    free = len(residuals) - 2
    total = float((residuals**2).sum())
    noise = total / free
    if noise == 0:
        return np.inf, 0.0
    squared = float(((means[0] - means[1]) ** 2).sum())
    squared -= sum(
        float(((each - mean) ** 2).sum()) / (len(each) * (len(each) - 1))
        for each, mean in zip(groups, means, strict=True)
    )
    inner = residuals @ residuals.T if len(residuals) <= residuals.shape[1] else residuals.T @ residuals
    spread = float((inner**2).sum()) / free**2 - noise**2 / free  # tr(Σ²), unbiased to first order
    effective = noise**2 / max(spread, noise**2 / residuals.shape[1])
    return float(np.sqrt(max(squared, 0.0) * residuals.shape[1] / noise) / 2), effective


def _predictions(
    estimate: RatioEstimate, law: RatioEstimate | None, counts, signal: float, aspect_ratio: float
) -> Iterator[Prediction]:
    prior, imbalance = counts[0] / sum(counts), counts[1] / counts[0]
    ratios = {"auto": estimate.ratio} | {rule: imbalance**power for rule, power in _POWERS.items()}
    values: Any = np.array(list(ratios.values()))
    unknown = np.full((len(values), 2), np.nan)
    isotropic = hard_margin_map(prior, signal, aspect_ratio, values).class_errors if np.isfinite(signal) else unknown
    columns = estimate.errors(values), unknown if law is None else law.errors(values), isotropic
    for rule, ratio, *pairs in zip(ratios, values.tolist(), *columns, strict=True):
        left_out, training_law, mixture = (
            (float(pair[0]), float(pair[1])) if np.isfinite(pair).all() else None for pair in pairs
        )
        assert left_out is not None
        yield Prediction(rule, ratio, left_out, training_law, mixture)


def _constants(
    machine: SVMSolution, estimate: RatioEstimate, law: RatioEstimate | None, predictions, sizes
) -> Iterator[Constant]:
    counts, dimension, signal, effective = sizes
    by_rule = {each.rule: each for each in predictions}
    n, prior = sum(counts), counts[0] / sum(counts)
    yield _constant("data.prior", prior, "π = n_+ / n", "share of the class in the training data")
    yield _constant(
        "data.aspect_ratio", dimension / n, "d / n", "the larger, the more of the training margin is overfitting"
    )
    yield _constant(
        "data.signal_strength",
        signal,
        "‖μ_+ - μ_-‖ / (2σ), σ² = tr Σ / d; sampling noise of the means subtracted",
        "of an isotropic mixture with the same distance of means and total variance; 0 where noise hides it",
    )
    yield _constant(
        "data.effective_dimension",
        effective,
        "(tr Σ)² / tr Σ²",
        "d for isotropic noise; below d / 2, the isotropic mixture is a caricature of the data and left out",
        low=1.0,
        high=float(dimension),
        range_reason="1 when all variance lies in one direction",
    )
    yield _constant("svm.margin", 1 / machine.norm, "1 / ‖w‖", f"certified, relative gap {machine.certificate.gap:.1e}")
    for name, mean, spread in zip(("class", "rest"), estimate.mean_margins, estimate.spreads, strict=True):
        yield _constant(
            f"svm.fresh_margin_{name}",
            mean,
            "mean of y f_{-i}(x_i) / ‖w‖",
            f"mean margin of a fresh example of the {name}, from the margins left out one by one; spread {spread:.4g}",
            "vs_loss.leave_one_out_path",
        )
    yield _constant(
        "svm.margin_ratio_auto",
        estimate.ratio,
        "δ = (1 + τ)/(1 - τ), τ = argmin of the mean predicted error",
        "balances the errors that the margins left out one by one predict; any covariance",
        "vs_loss.best_shift",
        *estimate.interval,
        f"bootstrap interval, nominal level {estimate.confidence:g}; it covers less with few examples",
    )
    if law is not None:
        yield _constant(
            "svm.margin_ratio_training_law",
            law.ratio,
            "δ from l_c = u + g1^(-1)(m_c - u)",
            "the same from the training margins alone" + (f"; {law.notes[-1]}" if law.notes else ""),
            "vs_loss.training_law_ratio",
            *law.interval,
            "bootstrap interval; only for an identity covariance",
        )
    yield _constant(
        "svm.margin_ratio",
        by_rule["ldam"].margin_ratio,
        "δ = (n_-/n_+)^(1/4)",
        "the ratio that LDAM's margins ask for",
        "vs_loss.margin_ratio_path",
    )
    loss = by_rule["ldam"].balanced_error - by_rule["auto"].balanced_error
    yield _constant(
        "svm.ldam_loss",
        loss,
        "predicted balanced error at LDAM's ratio minus at the best one",
        "what LDAM's ratio would lose",
        "vs_loss.best_shift",
    )


def _constant(name, value, formula, reason, claim="", *limits, **more) -> Constant:
    return constant(
        name, float(value), formula, reason, Origin.THEOREM if claim else Origin.CONVENTION, claim, *limits, **more
    )


def _notes(features: np.ndarray) -> Iterator[str]:
    spreads = features.std(axis=0)
    spreads = spreads[spreads > 0]
    if spreads.size and spreads.max() > _UNEVEN * spreads.min():
        yield (
            f"Standard deviations of the features differ by a factor of {spreads.max() / spreads.min():.1e}; an SVM "
            "sees the large ones only: standardise them"
        )
