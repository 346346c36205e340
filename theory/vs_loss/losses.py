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
from scipy.special import expit, softmax

from ..core.class_counts import ClassCounts
from ..core.errors import InputError, require_in
from ..core.losses import check_batch, cross_entropy, label_log_odds

__all__ = [
    "VSParameters",
    "group_parameters",
    "group_vs_loss",
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
    delta, iota, omega = parameters
    logits, labels, delta, iota, omega = check_batch(logits, labels, delta=delta, iota=iota, omega=omega)
    return cross_entropy(delta * logits + iota, labels, omega)


def group_parameters(cell_counts: Any, *, gamma: float = 0.0, tau: float = 0.0) -> VSParameters:
    """Parameters of the form for groups: Δ = (n / n_max)^gamma, ι = -tau log(n / Σ n), ω = 1, one for each cell (k, g).

    Args:
        cell_counts: n_kg >= 1, examples of class k in group g, shape (K, G).
        gamma: exponent of the scale, >= 0.
        tau: strength of the shift, >= 0. A rare cell has the *larger* shift here, as in the binary form.

    Returns:
        Δ, ι and ω, each of shape (K, G).

    Raises:
        InputError: for counts that are not a table of at least two classes, or below 1.

    Source:
        Kini et al. (2021), released code for groups (its shift, which cancels in the softmax there, put where Eq. 3
        has it).

    Example:
        >>> group_parameters([[3498, 184], [56, 1057]], gamma=0.3).delta.round(2)
        array([[1.  , 0.41],
               [0.29, 0.7 ]])
    """
    cells = np.asarray(cell_counts)
    if cells.ndim != 2 or cells.shape[0] < 2 or cells.dtype.kind not in "iuf":
        raise InputError(
            f"cell_counts must be numbers of examples of class k in group g, shape (K, G), K >= 2, got {cells.shape}"
        )
    names = tuple(f"class {k} in group {g}" for k in range(cells.shape[0]) for g in range(cells.shape[1]))
    flat = vs_parameters(ClassCounts(tuple(cells.ravel().tolist()), names), gamma=gamma, tau=tau)
    delta, iota, omega = (each.reshape(cells.shape) for each in flat)
    return VSParameters(delta, -iota, omega)


def group_vs_loss(logits: np.ndarray, labels: np.ndarray, groups: np.ndarray, parameters: VSParameters) -> np.ndarray:
    """Group VS-loss of each example, ω_yg log(1 + e^(ι_yg - Δ_yg m)), shape (N,), m the log-odds of the label.

    Two classes: m = z_y - z_other, the paper's signed score y f. More classes: derived here; neutral parameters give
    cross-entropy.

    Args:
        logits: z, shape (N, K).
        labels: y, integers in 0..K-1, shape (N,).
        groups: g, integers in 0..G-1, shape (N,).
        parameters: Δ, ι, ω of `group_parameters`, shapes (K, G).

    Raises:
        InputError: for shapes that do not match, or labels or groups out of range.

    Source:
        Kini et al. (2021), group form (binary).
    """
    margins = label_log_odds(logits, labels)
    delta, iota, omega = (np.asarray(parameter, dtype=float) for parameter in parameters)
    check_batch(np.empty((len(margins), delta.shape[-1])), groups)
    if not delta.shape == iota.shape == omega.shape == (np.shape(logits)[1], delta.shape[-1]):
        raise InputError(
            f"parameters must have shape (K, G) with K = {np.shape(logits)[1]}, got {delta.shape}, {iota.shape}, "
            f"{omega.shape}"
        )
    cell = np.asarray(labels), np.asarray(groups)
    return omega[cell] * np.logaddexp(0, iota[cell] - delta[cell] * margins)


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
