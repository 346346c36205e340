"""VS-loss and its members LA and CDT: parameters from class counts, the loss, and the cost-sensitive SVM behind it.

Multi-class form: l(y, f) = -ω_y log( e^(Δ_y f_y + ι_y) / Σ_c e^(Δ_c f_c + ι_c) ). A rare class has *smaller* ι and
*smaller* Δ here; in the binary form ω_y log(1 + e^(ι_y) e^(-Δ_y y f)) it has larger ι and smaller Δ.

Source:
    Kini, Paraskevas, Oymak, Thrampoulidis (2021), "Label-Imbalanced and Group-Sensitive Classification under
    Overparameterization", NeurIPS 2021, arXiv:2103.01550. LA: Menon et al. (2021), arXiv:2007.07314. CDT: Ye, Chen,
    Zhan, Chao (2020), arXiv:2001.01385.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, logsumexp, softmax

from ..core.class_counts import ClassCounts
from ..core.errors import InputError, require_in

__all__ = [
    "VSParameters",
    "initial_shares",
    "initial_weight",
    "initial_weights",
    "vs_loss",
    "vs_parameters",
]


class VSParameters(NamedTuple):
    """Scale Δ_k, shift ι_k and weight ω_k of each class, shapes (K,)."""

    delta: np.ndarray
    iota: np.ndarray
    omega: np.ndarray


def vs_parameters(class_counts: ClassCounts, *, gamma: float = 0.0, tau: float = 0.0) -> VSParameters:
    """Parameters Δ_k = (n_k / n_max)^gamma, ι_k = tau log π_k, ω_k = 1.

    Args:
        class_counts: training counts n_k.
        gamma: exponent of the scale, >= 0; 0 gives LA.
        tau: strength of the shift, >= 0; 0 gives CDT; 1 is the value consistent for the balanced error.

    Source:
        Kini et al. (2021), released code; gamma = 0 is Menon et al. (2021), Eq. 10; tau = 0 is Ye et al. (2020).

    Example:
        >>> vs_parameters(ClassCounts((900, 100)), gamma=0.5, tau=1.0).delta.round(3)
        array([1.   , 0.333])
    """
    require_in(gamma, "gamma", 0, 100)
    require_in(tau, "tau", 0, 100)
    counts = class_counts.array
    return VSParameters((counts / counts.max()) ** gamma, tau * np.log(class_counts.priors), np.ones(len(counts)))


def vs_loss(logits: np.ndarray, labels: np.ndarray, parameters: VSParameters) -> np.ndarray:
    """VS-loss of each example (multi-class form), shape (N,).

    Args:
        logits: f, shape (N, K).
        labels: y, integers in 0..K-1, shape (N,).
        parameters: Δ, ι, ω, shapes (K,).

    Raises:
        InputError: for shapes that do not match or labels outside 0..K-1.
    """
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    shapes = [np.shape(parameter) for parameter in parameters]
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or any(shape != logits.shape[1:] for shape in shapes):
        raise InputError(
            "logits (N, K), labels (N,) and parameters (K,) must agree, "
            f"got {logits.shape}, {labels.shape}, {', '.join(map(str, shapes))}"
        )
    if labels.dtype.kind not in "iu" or (len(labels) and not (0 <= labels.min() and labels.max() < logits.shape[1])):
        raise InputError(f"labels must be integers in 0..{logits.shape[1] - 1}, got {np.unique(labels)[:5].tolist()}")
    adjusted = parameters.delta * logits + parameters.iota
    return parameters.omega[labels] * (logsumexp(adjusted, axis=1) - adjusted[np.arange(len(labels)), labels])


def initial_weight(omega, delta, iota) -> Any:
    """Weight of an example in the binary form at f = 0: ω Δ σ(ι).

    Source:
        Kini et al. (2021), the observation on the start of training.
    """
    return omega * delta * expit(iota)


def initial_weights(parameters: VSParameters) -> np.ndarray:
    """Weight of an example of each class at f = 0 in the multi-class form: ω_y Δ_y (1 - softmax(ι)_y), shape (K,).

    Source:
        Derived here, from the observation of Kini et al. (2021); claim ``vs_loss.initial_weight_multiclass``.

    Example:
        >>> initial_weights(vs_parameters(ClassCounts((900, 100)), tau=1.0)).round(3)
        array([0.1, 0.9])
    """
    delta, iota, omega = (np.asarray(p, dtype=float) for p in parameters)
    return omega * delta * (1 - softmax(iota))


def initial_shares(class_priors, weights) -> np.ndarray:
    """Share of each class in the gradient at the start of training: π_c w_c / Σ π w along the last axis.

    Args:
        class_priors: π_c > 0, shape (..., K).
        weights: w_c >= 0, of `initial_weight` or `initial_weights`, shape (..., K).

    Source:
        Derived here, from the observation of Kini et al. (2021) on the start of training.

    Example:
        >>> priors = np.array([0.1, 0.9])
        >>> initial_shares(priors, initial_weight(1.0, 1.0, np.log(priors[::-1] / priors))).round(3)
        array([0.5, 0.5])
    """
    pulls = np.asarray(class_priors, dtype=float) * np.asarray(weights, dtype=float)
    return pulls / pulls.sum(axis=-1, keepdims=True)
