"""Ridge-regularised losses on a binary mixture: the state evolution, its limits, and what losses do at a small ridge.

A setting is ((ω_+, ω_-), (ι_+, ι_-), (Δ_+, Δ_-)). UNEVEN has ||μ_+|| = 2, ||μ_-|| = 1.5, ⟨μ_+, μ_-⟩ = 1/2 and π = 0.2.
"""

import numpy as np
import sympy as sp

from ...core.claims import Kind, Relation, Sides, cases, claim
from ...core.derivation import Derivation
from ...core.gaussian import expectation, tail
from ...core.sources import cite
from ...vs_loss.asymptotics import separability_threshold
from ...vs_loss.mixture import GaussianMixture
from ...vs_loss.scalar_losses import HingeLoss, LogisticLoss, SquareLoss, solve_prox, vs_family
from ...vs_loss.state_evolution import ridge_erm

UNEVEN = GaussianMixture.binary(0.2, norms=(2.0, 1.5), inner=0.5)
NEUTRAL = ((1, 1), (0, 0), (1, 1))
WEIGHTED = ((3, 0.6), (0, 0), (1, 1))
OFFSET = ((1, 1), (1.5, -0.5), (1, 1))
SCALED = ((2, 1), (0.5, -0.3), (0.4, 1))


def losses_of(setting) -> list[LogisticLoss]:
    """Losses of the classes +1 and -1."""
    return [LogisticLoss(*parameters) for parameters in zip(*setting, strict=True)]


# the equations


@claim(
    "vs_loss.proximal_map",
    source=cite("tailbound", "from Mignacco et al. (2020), training scores"),
    kind=Kind.SYMBOLIC,
    formula="u + V l'(u) = h: dl'(u)/dh = l''/(1 + V l''), dl'(u)/dV = -l' l''/(1 + V l''), d(envelope)/dh = l'(u)",
    wrong={"l'' alone": {"stiff": 0}, "slope of the envelope halved": {"half": sp.Rational(1, 2)}},
    exhaustive=True,
    assumptions=("l is VS-loss of a class, ω log(1 + e^(ι - Δ u))",),
)
def proximal_map(stiff=1, half=1):
    """The score of a training point is a proximal point; its slope has the derivatives that the state evolution uses.

    The point solves z - a σ(-z) = y with z = Δ u - ι, which reflection at z = 0, y = -a/2 maps onto itself.
    """
    omega, delta, V, odds = sp.symbols("omega Delta V q", positive=True)  # q = e^(ι - Δ u), any positive number
    iota, a = sp.symbols("iota a", real=True)
    u = (iota - sp.log(odds)) / delta

    def by_u(expression):
        return -delta * odds * sp.diff(expression, odds)

    loss = omega * sp.log(1 + odds)
    slope = by_u(loss)
    curvature = by_u(slope)
    by_h = 1 / (1 + V * curvature)
    bend = curvature / (1 + stiff * V * curvature)
    return (
        Derivation()
        .equal("h = u + V l'(u) moves with u by 1 + V l''(u)", by_u(u + V * slope), 1 / by_h)
        .positive("so the map increases", by_h)
        .equal("the slope moves with h", curvature * by_h, bend)
        .equal("and with V, h held fixed", curvature * (-slope * by_h), -slope * bend)
        .equal("the envelope l(u) + V l'(u)²/2 moves with h", by_u(loss + V * slope**2 / 2) * by_h, half * slope)
        .equal("y of (-z) is -y - a", a / (1 + 1 / odds), a - a / (1 + odds))
    )


@claim(
    "vs_loss.ridge_stationarity",
    source=cite("tailbound", "Mignacco et al. (2020) for general means, by the convex Gaussian min-max theorem"),
    kind=Kind.SYMBOLIC,
    formula="∂/∂ρ, ∂/∂b, ∂/∂t, ∂/∂V of E M(h) + (λ/2)||w||² - γ t²/(2V) vanish where the stated equations hold",
    wrong={"V and γ exchanged": {"swap": True}, "budget γ t": {"budget": 1}},
    exhaustive=True,
    assumptions=(
        "M any quadratic envelope: derivatives at a point need no more",
        "E is linear, so one node stands for all",
    ),
)
def ridge_stationarity(swap=False, budget=2):
    """The fixed point is the saddle of a scalar function: minimal in (ρ, b, t), maximal in 1/V."""
    rho, b, x, g, slope, bend = sp.symbols("rho b x g m_1 m_2", real=True)
    t, V, ridge, aspect, norm = sp.symbols("t V lambda gamma N", positive=True)
    h = x * rho + b + norm * g
    envelope, p = slope * h + bend * h**2 / 2, slope + bend * h
    cost = (1 / V if not swap else V) * aspect * t**budget / 2
    function, v = envelope + ridge * norm**2 / 2 - cost, p * g / norm

    def along(variable):
        return sp.diff(function, variable) + variable / norm * sp.diff(function, norm)

    length = sp.sqrt(rho**2 + t**2)
    steps = (
        Derivation()
        .equal("||w|| = √(ρ² + t²) moves with ρ by ρ/||w||, and with t alike", sp.diff(length, rho), rho / length)
        .equal("in ρ: (λ + v) ρ + E x p", along(rho), (ridge + v) * rho + x * p)
        .equal("in b: E p", sp.diff(function, b), p)
        .equal("in t: t (λ + v - γ/V)", along(t), t * (ridge + v - aspect / V))
    )
    slope, moved = sp.symbols("p d", real=True)  # d = u - h
    inverse = sp.Symbol("k", positive=True)  # 1/V
    at_fixed_scores = moved**2 * inverse / 2 - cost.subs(V, 1 / inverse)
    return steps.equal(
        "in 1/V, the training scores u = h - V p being optimal: (V² E p² - γ t²)/2",
        sp.diff(at_fixed_scores, inverse).subs({inverse: 1 / V, moved: -V * slope}),
        (V**2 * slope**2 - aspect * t**2) / 2,
    )


@claim(
    "vs_loss.ridge_equations",
    source=cite("mignacco2020", "state evolution, for general means and per-class losses"),
    kind=Kind.NUMERIC,
    formula="(λ+v)V = γ, V² Σ π E p² = γ t², (λ+v) m = -G (π y E p), Σ π y E p = 0, v = Σ π E l''/(1 + V l'')",
    relation=Relation.EQUAL,
    atol=1e-9,
    rtol=1e-9,
    cases=(
        {"setting": NEUTRAL, "aspect_ratio": 0.5, "ridge": 0.01},
        {"setting": SCALED, "aspect_ratio": 1.0, "ridge": 1e-4},
        {"setting": OFFSET, "aspect_ratio": 20.0, "ridge": 1.0},
    ),
    wrong={
        "n/d for d/n": {"inverted": True},
        "ridge times 2": {"ridge_factor": 2},
        "signs of the classes forgotten": {"signed": False},
    },
)
def ridge_equations(setting, aspect_ratio, ridge, inverted=False, ridge_factor=1, signed=True):
    """The library's solution satisfies the equations, evaluated with another quadrature and another proximal map."""
    losses = losses_of(setting)
    fit = ridge_erm(UNEVEN, aspect_ratio, ridge, losses)
    priors, signs, gram = np.array(UNEVEN.priors), np.array(UNEVEN.signs), np.array(UNEVEN.gram)
    gamma = 1 / aspect_ratio if inverted else aspect_ratio

    def moments(j):
        def at(g):
            return solve_prox(losses[j], signs[j] * (fit.means[j] + fit.intercept) + fit.norm * g, fit.step)

        bends = [(h - signs[j] * (fit.means[j] + fit.intercept)) / fit.norm for h, _ in losses[j].layers(fit.step)]
        return [expectation(lambda g, f=f: f(*at(g)), kinks=bends) for f in (_slope, _square, _bend)]

    first, second, bend = np.array([moments(j) for j in range(2)]).T
    pull = -priors * (signs if signed else 1) * first
    stiffness = ridge * ridge_factor + priors @ bend
    signal = np.sqrt(pull @ gram @ pull) / stiffness
    computed = [
        stiffness * fit.step, fit.step**2 * (priors @ second), *(stiffness * fit.means), (priors * signs) @ first
    ]  # fmt: skip
    stated = [gamma, gamma * (fit.norm**2 - signal**2), *(gram @ pull), 0.0]
    return Sides(computed, stated, note=f"residual {fit.residual:.1e}, correction {fit.correction:.1e}")


def _slope(u, p, a):
    return p


def _square(u, p, a):
    return p * p


def _bend(u, p, a):
    return a


@claim(
    "vs_loss.ridge_values",
    source=cite("mignacco2020", "state evolution, for general means and per-class losses; numbers derived here"),
    kind=Kind.NUMERIC,
    formula="π = 0.2, norms 2 and 1.5, inner product 1/2: R_+, R_- = (.4668, .0707), (.3607, .1180), (.4465, .1109), …",
    relation=Relation.EQUAL,
    atol=6e-5,
    cases=(
        {"setting": NEUTRAL, "aspect_ratio": 0.5, "ridge": 0.01, "stated": (0.4668, 0.0707)},
        {"setting": WEIGHTED, "aspect_ratio": 0.5, "ridge": 0.01, "stated": (0.3607, 0.1180)},
        {"setting": OFFSET, "aspect_ratio": 1.0, "ridge": 0.01, "stated": (0.4465, 0.1109)},
        {"setting": SCALED, "aspect_ratio": 1.0, "ridge": 1e-4, "stated": (0.3341, 0.1924)},
    ),
    wrong={
        "n/d for d/n": {"flip": True},
        "ridge (λ/2)||w||² without n, at n = 500": {"ridge_factor": 1 / 500},
        "penalised like CE": {"as_setting": NEUTRAL},
    },
)
def ridge_values(setting, aspect_ratio, ridge, stated, flip=False, ridge_factor=1.0, as_setting=None):
    """Errors of CE and of losses with weights, offsets and scales, on separable data and on data that are not."""
    gamma = 1 / aspect_ratio if flip else aspect_ratio
    fit = ridge_erm(UNEVEN, gamma, ridge * ridge_factor, losses_of(as_setting or setting))
    return Sides(fit.class_errors, stated, note=f"residual {fit.residual:.1e}")


# exact special cases


@claim(
    "vs_loss.square_loss_is_lda",
    source=cite("deev1970", "error of the linear discriminant; least squares from the state evolution"),
    kind=Kind.NUMERIC,
    formula="square loss, λ -> 0, d < n, π = 1/2, means ±μ: error = Q( m² √(1-γ) / √(m² + γ) ), m = ||μ||",
    relation=Relation.EQUAL,
    atol=1e-5,
    cases=cases(strength=[1.0, 2.0], aspect_ratio=[0.05, 0.5, 0.9]),
    wrong={
        "without √(1-γ)": {"power": 0.0},
        "1-γ not under the root": {"power": 1.0},
        "γ forgotten in the norm": {"spread": 0.0},
    },
)
def square_loss_is_lda(strength, aspect_ratio, power=0.5, spread=1.0):
    """For the square loss the state evolution gives the classical error of Fisher's discriminant in high dimension."""
    fit = ridge_erm(GaussianMixture.antipodal(0.5, strength), aspect_ratio, 1e-8, (SquareLoss(), SquareLoss()))
    score = strength**2 * (1 - aspect_ratio) ** power / np.sqrt(strength**2 + spread * aspect_ratio)
    return fit.error, float(tail(score))


@claim(
    "vs_loss.large_ridge_is_optimal",
    source=cite("mignacco2020", "abstract: regularisation can reach Bayes-optimal performance"),
    kind=Kind.NUMERIC,
    formula="π = 1/2, means ±μ, λ -> ∞: error -> Q( m² / √(m² + γ) ), the least that n draws allow",
    relation=Relation.EQUAL,
    atol=1e-8,
    cases=cases(strength=[0.7, 1.5], aspect_ratio=[0.2, 1.0, 5.0]),
    wrong={
        "a small ridge as well": {"ridge": 1e-3},
        "known means": {"spread": 0.0},
        "unequal priors as well": {"prior": 0.4},
    },
    assumptions=("equal priors", "Bayes-optimal for a mean drawn uniformly on its sphere"),
)
def large_ridge_is_optimal(strength, aspect_ratio, ridge=1e6, spread=1.0, prior=0.5):
    """With equal classes an infinite ridge is optimal: logistic regression averages y x, like the posterior mean."""
    fit = ridge_erm(GaussianMixture.antipodal(prior, strength), aspect_ratio, ridge, vs_family("ce", prior))
    return fit.balanced_error, float(tail(strength**2 / np.sqrt(strength**2 + spread * aspect_ratio)))


@claim(
    "vs_loss.no_ridge_beats_infinite",
    source=cite("mignacco2020", "abstract: regularisation can reach Bayes-optimal performance"),
    kind=Kind.NUMERIC,
    formula="π = 1/2, means ±μ: error(λ) >= Q( m² / √(m² + γ) ) for CE, hinge and square loss",
    relation=Relation.AT_LEAST,
    atol=1e-9,
    cases=cases(aspect_ratio=[0.15, 1.0, 4.0]),
    wrong={"of n/2 draws": {"draws": 0.5}},
)
def no_ridge_beats_infinite(aspect_ratio, draws=1.0):
    """No ridge and no loss gets below the Bayes-optimal error of equal classes, as it must be."""
    mixture, strength = GaussianMixture.antipodal(0.5, 1.2), 1.2
    computed = [
        ridge_erm(mixture, aspect_ratio, ridge, (loss, loss)).error
        for loss in (LogisticLoss(), HingeLoss(), SquareLoss())
        for ridge in (1e-3, 1e-1, 0.5)
    ]
    return computed, [float(tail(strength**2 / np.sqrt(strength**2 + aspect_ratio / draws)))] * len(computed)


@claim(
    "vs_loss.interpolation_peak",
    source=cite("mignacco2020", "abstract: interpolation peak at low regularisation"),
    kind=Kind.NUMERIC,
    formula="square loss, λ = 1e-6: error at d/n = 1 >= errors at 1/2 and 2, by 0.15; at λ = 1 it increases with d/n",
    relation=Relation.AT_MOST,
    wrong={"the peak survives λ = 1": {"small": 1.0}, "no ridge is needed against it": {"large": 1e-6}},
)
def interpolation_peak(small=1e-6, large=1.0):
    """A nearly unregularised square loss fails where it starts to interpolate, d = n; a ridge removes the peak."""
    mixture, loss = GaussianMixture.antipodal(0.5, 1.5), SquareLoss()
    below, at, above = (ridge_erm(mixture, ratio, small, (loss, loss)).error for ratio in (0.5, 1.0, 2.0))
    smooth = [ridge_erm(mixture, ratio, large, (loss, loss)).error for ratio in (0.5, 1.0, 2.0)]
    return [below + 0.15, above + 0.15, *smooth[:-1]], [at, at, *smooth[1:]]


@claim(
    "vs_loss.logistic_kink",
    source=cite("tailbound", "the interpolation peak of Mignacco et al. (2020), read for the logistic loss"),
    kind=Kind.NUMERIC,
    formula="CE, λ = 1e-9, π = 1/2: error increases with d/n, over 4 times as fast below the threshold γ* as above",
    relation=Relation.AT_MOST,
    cases=cases(strength=[1.0, 1.5]),
    wrong={"a peak at the threshold": {"sign": -1}, "with ridge 1 too": {"ridge": 1.0}},
)
def logistic_kink(strength, ridge=1e-9, sign=1):
    """The logistic loss has no peak where the data become separable; its error stops rising steeply there.

    The square loss interpolates from d = n on; the logistic loss can only separate, and tends to the SVM once it does.
    """
    mixture = GaussianMixture.antipodal(0.5, strength)
    threshold = separability_threshold(mixture)
    errors = [
        ridge_erm(mixture, share * threshold, ridge, vs_family("ce", 0.5)).error for share in (0.8, 0.95, 1.05, 1.2)
    ]
    slopes = np.diff(errors)[[0, 2]] / 0.15
    return [-sign * slopes[1], 4 * slopes[1]], [0.0, slopes[0]]
