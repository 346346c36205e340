"""Study of K classes: VS-loss and its members with a ridge, fitted by Newton's method, with exact class errors."""

import numpy as np

from ...theory.vs_loss.losses import VSParameters
from ...theory.vs_loss.mixture import GaussianMixture
from ...theory.vs_loss.quadrature import orthant_probability
from ..core.study import Study, cases
from .erm import fit_multiclass
from .gaussian import draw_sample, stored

__all__ = ["MULTICLASS_ERRORS", "draw_multiclass_errors", "loss_parameters"]

MEMBERS = {"ce": (0.0, 0.0), "la": (0.0, 1.0), "cdt": (0.3, 0.0), "vs": (0.3, 1.0)}
"""γ and τ of each member: Δ_c = (π_c / max π)^γ, ι_c = τ log π_c."""


def loss_parameters(loss: str, priors) -> VSParameters:
    """Parameters of a member of the family at the population's priors; see `MEMBERS`."""
    gamma, tau = MEMBERS[loss]
    priors = np.asarray(priors, dtype=float)
    return VSParameters((priors / priors.max()) ** gamma, tau * np.log(priors), np.ones(priors.size))


def draw_multiclass_errors(rng, *, priors, norms, aspect_ratio, ridge, num_examples, losses) -> list[dict]:
    """Draw K classes with orthogonal means and fit each loss on the same data; one row each, ``error_0`` and so on."""
    mixture = GaussianMixture(priors, tuple(map(tuple, np.diag(np.square(norms)))))
    sample = draw_sample(rng, mixture, num_examples, round(aspect_ratio * num_examples))
    rows = []
    for loss in losses:
        weights, intercepts = fit_multiclass(sample.features, sample.components, loss_parameters(loss, priors), ridge)
        scores = sample.mean_scores(weights) + intercepts[:, None]
        errors = [_class_error(c, scores[:, c], weights) for c in range(len(priors))]
        rows.append(
            {"loss": loss}
            | stored({"balanced_error": np.mean(errors), "norm": np.linalg.norm(weights)})
            | stored({f"error_{c}": error for c, error in enumerate(errors)})
        )
    return rows


def _class_error(c: int, scores: np.ndarray, weights: np.ndarray) -> float:
    """P(another score is larger) for a fresh point of class c."""
    lead = np.delete(np.eye(len(scores))[c] - np.eye(len(scores)), c, axis=0)
    noise = lead @ weights
    return 1 - orthant_probability(lead @ scores, noise @ noise.T)[0]


_THREE = {"priors": [(0.6, 0.3, 0.1)], "norms": [(2.0, 2.0, 2.5)], "losses": [tuple(MEMBERS)]}

MULTICLASS_ERRORS = Study(
    "vs_loss.multiclass_errors",
    draw_multiclass_errors,
    cases=(
        *cases(**_THREE, aspect_ratio=[0.5], ridge=[0.02], num_examples=[100, 200, 400]),
        *cases(**_THREE, aspect_ratio=[1.5], ridge=[1e-3], num_examples=[100, 200]),
    ),
    repetitions=40,
    quick={"num_examples": 40},
)
