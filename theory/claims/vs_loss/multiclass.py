"""VS-loss with a ridge on K Gaussian classes: against the binary theory, symmetry, values, offsets, optimal ridges.

THREE has means 2 e_1, 2 e_2, 2.5 e_3 and priors (0.6, 0.3, 0.1).
"""

import numpy as np

from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.class_counts import ClassCounts
from ...core.sources import cite
from ...ldam.margins import class_margins
from ...vs_loss.losses import VSParameters, vs_parameters
from ...vs_loss.mixture import GaussianMixture
from ...vs_loss.multiclass import ridge_erm_multiclass
from ...vs_loss.quadrature import orthant_probability
from ...vs_loss.scalar_losses import LogisticLoss
from ...vs_loss.state_evolution import ridge_erm
from .ridge import UNEVEN

COUNTS = ClassCounts((6, 3, 1))
THREE = GaussianMixture(tuple(COUNTS.priors), ((4.0, 0.0, 0.0), (0.0, 4.0, 0.0), (0.0, 0.0, 6.25)))


def _neutral(num_classes: int) -> VSParameters:
    return VSParameters(np.ones(num_classes), np.zeros(num_classes), np.ones(num_classes))


def _simplex(num_classes: int, strength: float, priors=None) -> GaussianMixture:
    """Means of a common norm at equal angles that sum to 0."""
    gram = strength**2 * (num_classes * np.eye(num_classes) - 1) / (num_classes - 1)
    return GaussianMixture(tuple(priors or [1 / num_classes] * num_classes), tuple(map(tuple, gram)))


@claim(
    "vs_loss.multiclass_values",
    source=cite("loureiro2021", "isotropic mixtures, for VS-loss; numbers derived here"),
    kind=Kind.NUMERIC,
    formula="π = (.6, .3, .1), d/n = 1/2, λ = .02: class errors .0912, .2369, .5400 for CE, .1677, .2154, .2855 for LA",
    relation=Relation.EQUAL,
    atol=6e-5,
    cases=(
        {"tau": 0.0, "stated": (0.0912, 0.2369, 0.5400)},
        {"tau": 1.0, "stated": (0.1677, 0.2154, 0.2855)},
    ),
    wrong={
        "n/d for d/n": {"aspect_ratio": 2.0},
        "(n λ/2) without the half": {"ridge": 0.04},
        "τ = 1.1": {"tau": 1.1},
    },
)
def multiclass_values(tau, stated, aspect_ratio=0.5, ridge=0.02):
    """Class errors of three classes with means 2 e_1, 2 e_2, 2.5 e_3 under CE and LA, to four digits."""
    fit = ridge_erm_multiclass(THREE, aspect_ratio, ridge, vs_parameters(COUNTS, tau=tau), accuracy=1e-6)
    return Sides(fit.class_errors, stated, uncertainty=fit.quadrature_error, note=f"residual {fit.residual:.1e}")


@claim(
    "vs_loss.multiclass_is_binary",
    source=cite("tailbound", "Mignacco et al. (2020) and Loureiro et al. (2021) at K = 2"),
    kind=Kind.NUMERIC,
    formula="K = 2: errors of VS-loss with ridge λ = errors of binary CE, ω_y, ι_y = ι_-y - ι_y, ridge λ/(Δ_1² + Δ_2²)",
    relation=Relation.EQUAL,
    atol=1e-7,
    cases=cases(
        delta=[(1.0, 1.0), (0.4, 1.3)],
        iota=[(0.0, 0.0), (-0.8, 0.4)],
        omega=[(1.0, 1.0), (3.0, 0.6)],
        ridge=[0.01, 1e-6],
    ),
    wrong={
        "the ridge itself": {"rescaled": False},
        "the multi-class ι": {"sign": -1, "iota": (-0.8, 0.4)},
        "binary CDT": {"scaled": True, "delta": (0.4, 1.3)},
    },
    assumptions=("b of least norm, orthogonal to 1/Δ: a part along it changes no loss",),
)
def multiclass_is_binary(delta, iota, omega, ridge, rescaled=True, sign=1, scaled=False):
    """With two classes the K-class theory, whose integrals and unknowns are others, gives the binary one.

    Both labels see the one score Δ_1 f_1 - Δ_2 f_2: multi-class factors only rescale the ridge.
    """
    delta, iota, omega = np.array(delta), np.array(iota), np.array(omega)
    mixture = GaussianMixture(UNEVEN.priors, UNEVEN.gram)
    fit = ridge_erm_multiclass(mixture, 1.0, ridge, VSParameters(delta, iota, omega), accuracy=1e-7)
    shift = sign * (iota[::-1] - iota)
    pair = [LogisticLoss(omega[c], shift[c], delta[c] if scaled else 1.0) for c in range(2)]
    stated = ridge_erm(UNEVEN, 1.0, ridge / (delta @ delta if rescaled else 1.0), pair)
    return Sides(fit.class_errors, stated.class_errors, note=f"quadrature error {fit.quadrature_error:.1e}")


@claim(
    "vs_loss.multiclass_symmetry",
    source=cite("tailbound", "Loureiro et al. (2021), equal classes"),
    kind=Kind.NUMERIC,
    formula="equal priors, simplex means: all class errors equal, b = 0, W μ_c a multiple of e_c - 1/K",
    relation=Relation.EQUAL,
    atol=1e-3,
    cases=({"num_classes": 2}, {"num_classes": 3}, {"num_classes": 5}),
    full_cases=({"num_classes": 10},),
    wrong={
        "unequal priors": {"num_classes": 3, "priors": (0.5, 0.3, 0.2)},
        "an offset for one class": {"num_classes": 3, "offset": 0.3},
        "W μ_c a multiple of e_c": {"num_classes": 3, "centred": False},
    },
)
def multiclass_symmetry(num_classes, priors=None, offset=0.0, centred=True):
    """Equal classes are treated equally, on every rule for the expectations to the accuracy of that rule."""
    offsets = np.zeros((num_classes, num_classes))
    offsets[0, 0] = offset
    parameters = _neutral(num_classes)._replace(iota=offsets)
    fit = ridge_erm_multiclass(_simplex(num_classes, 1.5, priors), 0.5, 0.1, parameters, accuracy=1e-4)
    means = fit.overlaps / fit.overlaps[0, 0]
    shape = np.eye(num_classes) - centred / num_classes
    stated = np.full(num_classes, fit.class_errors[0]), np.zeros(num_classes), shape / shape[0, 0]
    computed = fit.class_errors, fit.intercepts, means
    return [np.concatenate([side.ravel() for side in sides]) for sides in (computed, stated)]


@claim(
    "vs_loss.multiclass_free_bias",
    source=cite("menon2021", "the two forms of logit adjustment, in the limit of large dimension"),
    kind=Kind.NUMERIC,
    formula="K classes, LA with a free bias: W W', W μ_c, V as for CE, b = b_CE - τ log π + const",
    relation=Relation.EQUAL,
    atol=1e-7,
    rtol=1e-7,
    cases=cases(tau=[1.0, 2.25]),
    wrong={
        "without a bias": {"intercept": False},
        "LDAM's margins, on the true logit alone": {"margin": 0.5},
        "bias added": {"sign": 1},
    },
)
def multiclass_free_bias(tau, intercept=True, margin=0.0, sign=-1):
    """Training with LA's offsets and a free bias gives CE's weights and a moved bias; LDAM's are not absorbed."""
    parameters = vs_parameters(COUNTS, tau=tau)
    plain = parameters._replace(iota=np.zeros(3))
    if margin:
        parameters = parameters._replace(iota=-np.diag(class_margins(COUNTS, max_margin=margin)))
    shifted, unshifted = (
        ridge_erm_multiclass(THREE, 0.5, 0.02, each, intercept=intercept, accuracy=1e-9) for each in (parameters, plain)
    )
    moved = parameters.iota - parameters.iota.mean() if intercept and not margin else np.zeros(3)
    stated = [unshifted.covariance, unshifted.overlaps, unshifted.step, [unshifted.intercepts + sign * moved]]
    computed = [shifted.covariance, shifted.overlaps, shifted.step, [shifted.intercepts]]
    return np.concatenate(computed).ravel(), np.concatenate(stated).ravel()


@claim(
    "vs_loss.multiclass_large_ridge",
    source=cite("tailbound", "K-class form of Mignacco et al. (2020), optimal regularisation"),
    kind=Kind.NUMERIC,
    formula="equal priors, simplex means, λ -> ∞: error of the largest product with the K class averages",
    relation=Relation.EQUAL,
    atol=1e-5,
    cases=cases(num_classes=[3, 4], aspect_ratio=[0.5, 3.0]),
    wrong={"known means": {"spread": 0.0}, "a small ridge": {"ridge": 1e-2}, "the binary spread γ": {"count": 1}},
    assumptions=("equal priors",),
)
def multiclass_large_ridge(num_classes, aspect_ratio, spread=1.0, ridge=1e4, count=None):
    """Under a large ridge the classes are represented by their averages, with noise of size K d/n in each direction."""
    mixture = _simplex(num_classes, 1.5)
    fit = ridge_erm_multiclass(mixture, aspect_ratio, ridge, _neutral(num_classes), accuracy=1e-5)
    centre = np.eye(num_classes) - 1 / num_classes
    overlaps = np.array(mixture.gram)  # scores (average of class a)·x for x of class 0 have these means
    noise = overlaps + spread * aspect_ratio * (num_classes if count is None else count) * centre
    lead = np.ones((num_classes - 1, 1)) * np.eye(1, num_classes) - np.eye(num_classes)[1:]
    right, error = orthant_probability(lead @ overlaps[:, 0], lead @ noise @ lead.T)
    return Sides(
        fit.class_errors, np.full(num_classes, 1 - right), uncertainty=error, note=f"residual {fit.residual:.1e}"
    )
