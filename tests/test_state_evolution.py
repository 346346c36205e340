"""Ridge-regularised classifiers on binary mixtures: losses, proximal maps, quadrature, solutions over their range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit, log_expit, ndtri
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.fixed_point import NotConverged
from tailbound.theory.core.gaussian import expectation, partial_expectation, tail
from tailbound.theory.vs_loss.asymptotics import hard_margin, separability_threshold
from tailbound.theory.vs_loss.mixture import GaussianMixture
from tailbound.theory.vs_loss.quadrature import layered_nodes
from tailbound.theory.vs_loss.scalar_losses import HingeLoss, LogisticLoss, SquareLoss, solve_prox, vs_family
from tailbound.theory.vs_loss.state_evolution import ridge_erm

UNEVEN = GaussianMixture.binary(0.2, norms=(2.0, 1.5), inner=0.5)
FAMILY = ("ce", "wce", "ldam", "la", "cdt", "vs")


def log_floats(low, high):
    return st.floats(np.log(low), np.log(high)).map(lambda x: float(np.exp(x)))


logistic = st.builds(LogisticLoss, log_floats(1e-3, 1e3), st.floats(-20, 20), log_floats(1e-3, 10))
hinges = st.builds(HingeLoss, log_floats(1e-2, 1e2), log_floats(1e-2, 1e2))
squares = st.builds(SquareLoss, log_floats(1e-2, 1e2))
scores = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6).map(np.array)
steps = log_floats(1e-8, 1e12)


@st.composite
def mixtures(draw):
    prior = draw(log_floats(1e-3, 0.5))
    plus, minus = draw(log_floats(0.1, 5)), draw(log_floats(0.1, 5))
    return GaussianMixture.binary(prior, (plus, minus), draw(st.floats(-1, 1)) * plus * minus)


# losses


@settings(deadline=None)
@given(logistic | hinges | squares, scores, steps)
def test_the_proximal_point_is_stationary(loss, h, step):
    u, slope, bend = loss.prox(h, step)
    np.testing.assert_allclose(u + step * slope, h, rtol=1e-10, atol=1e-10 * (1 + step * np.abs(slope).max()))
    assert (bend >= 0).all()
    assert (bend * step <= 1 + 1e-12).all()
    if isinstance(loss, HingeLoss):
        assert ((slope >= -loss.omega * (1 + 1e-9)) & (slope <= 1e-9)).all()
        away = np.abs(u - loss.margin) > 1e-9 * (1 + np.abs(h))
        np.testing.assert_allclose(
            slope[away], loss.slope(u)[away], rtol=1e-6, atol=1e-9 * (1 + np.abs(h).max() / step)
        )
    else:
        steepest = loss.curvature(np.array([getattr(loss, "iota", 0.0) / getattr(loss, "delta", 1.0)]))[0]
        rounding = 1e-14 * steepest * (1 + np.abs(u) + np.abs(getattr(loss, "iota", 0.0) / getattr(loss, "delta", 1.0)))
        assert (np.abs(slope - loss.slope(u)) <= 1e-10 * np.abs(slope) + rounding).all()


@settings(deadline=None)
@given(logistic | squares, scores, log_floats(1e-6, 1e6))
def test_two_roads_to_the_proximal_point(loss, h, step):
    found, bracketed = loss.prox(h, step), solve_prox(loss, h, step)
    np.testing.assert_allclose(found[0], bracketed[0], rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(found[2] * step, bracketed[2] * step, atol=1e-5)


def test_proximal_point_against_a_scalar_root():
    loss, step = LogisticLoss(2.0, 1.5, 0.7), 40.0
    for h in (-200.0, -60.0, -5.0, 0.0, 3.0, 50.0):
        root = brentq(lambda u, h=h: u - h - step * 1.4 * expit(1.5 - 0.7 * u), h - 1, h + 60, xtol=1e-13)
        np.testing.assert_allclose(loss.prox(np.array([h]), step)[0], root, rtol=1e-11)


@settings(deadline=None)
@given(logistic, st.floats(-20, 20), log_floats(1e-3, 1e3))
def test_derivatives(loss, h, step):
    moved = h + 1e-4 / loss.delta * np.array([-1, 1])
    np.testing.assert_allclose(
        np.diff(loss.value(moved)) / np.diff(moved), loss.slope(h), rtol=1e-5, atol=1e-7 * loss.omega * loss.delta
    )
    size = loss.omega * loss.delta**2
    np.testing.assert_allclose(np.diff(loss.slope(moved)) / np.diff(moved), loss.curvature(h), atol=1e-6 * size)
    _, slopes, _ = loss.prox(moved, step)
    np.testing.assert_allclose(np.diff(slopes) / np.diff(moved), loss.prox(np.array([h]), step)[2], atol=1e-6 * size)


@pytest.mark.parametrize("loss", [HingeLoss(2.0, 1.5), SquareLoss(3.0)])
def test_plain_losses_written_out(loss):
    u = np.array([-1.0, 0.5, 3.0])
    if isinstance(loss, HingeLoss):
        np.testing.assert_allclose(loss.value(u), [5, 2, 0])
        np.testing.assert_allclose(loss.slope(u), [-2, -2, 0])
        np.testing.assert_array_equal(loss.curvature(u), 0)
    else:
        np.testing.assert_allclose(loss.value(u), [6, 0.375, 6])
        np.testing.assert_allclose(loss.slope(u), [-6, -1.5, 6])
        np.testing.assert_array_equal(loss.curvature(u), 3)


def test_extreme_scores_stay_finite():
    loss = LogisticLoss(1e3, 5.0, 10.0)
    for h in (-1e300, -1e8, 1e8, 1e300):
        for step in (1e-12, 1.0, 1e12):
            assert all(np.isfinite(part).all() for part in loss.prox(np.array([h]), step))


def test_family():
    plus, minus = vs_family("vs", 0.1, tau=1.5, gamma=0.5)
    np.testing.assert_allclose([plus.delta, minus.delta], [1 / 3, 1])
    np.testing.assert_allclose([plus.iota, minus.iota], [1.5 * np.log(9), -1.5 * np.log(9)])
    plus, minus = vs_family("wce", 0.1)
    np.testing.assert_allclose([plus.omega, minus.omega], [5, 5 / 9])
    plus, minus = vs_family("ldam", 1 / 17, max_margin=0.8)
    np.testing.assert_allclose([plus.iota, minus.iota], [0.8, 0.4])
    for name in FAMILY:
        first, second = vs_family(name, 0.5, max_margin=1e-9)
        np.testing.assert_allclose(first.slope(np.zeros(1)), second.slope(np.zeros(1)))


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (lambda: vs_family("lda", 0.1), "did you mean ldam or la"),
        (lambda: vs_family("ce", 0.0), "prior"),
        (lambda: vs_family("la", 0.1, tau=-1), "tau"),
        (lambda: vs_family("cdt", 0.1, gamma=float("nan")), "gamma"),
        (lambda: vs_family("ldam", 0.1, max_margin=0), "max_margin"),
        (lambda: LogisticLoss(0.0), "omega"),
        (lambda: LogisticLoss(1.0, float("inf")), "iota"),
        (lambda: LogisticLoss(1.0, 0.0, -1.0), "delta"),
        (lambda: HingeLoss(1.0, 0.0), "margin"),
        (lambda: SquareLoss(-1.0), "omega"),
        (lambda: solve_prox(SquareLoss(), np.zeros(1), 0.0), "step"),
        (lambda: ridge_erm(GaussianMixture((0.5, 0.5), ((1, 0), (0, 1))), 1.0, 1.0, vs_family("ce", 0.5)), "signs"),
        (lambda: ridge_erm(UNEVEN, 0.0, 1.0, vs_family("ce", 0.5)), "aspect_ratio"),
        (lambda: ridge_erm(UNEVEN, 1.0, 0.0, vs_family("ce", 0.5)), "ridge"),
        (lambda: ridge_erm(UNEVEN, 1.0, 1.0, (LogisticLoss(),)), "losses must be 2"),
    ],
)
def test_rejects(call, shown):
    with pytest.raises(InputError, match=shown) as excinfo:
        call()
    assert "\n" not in str(excinfo.value)


# quadrature


@given(st.floats(-9, 9), log_floats(1e-4, 10))
@settings(deadline=None)
def test_panels_resolve_a_layer(centre, width):
    nodes, weights = layered_nodes([centre], [width])
    found = weights @ (width * np.logaddexp(0, (nodes - centre) / width))
    finer, weights = layered_nodes([centre], [width], refine=3)
    np.testing.assert_allclose(
        found, weights @ (width * np.logaddexp(0, (finer - centre) / width)), rtol=1e-9, atol=1e-18
    )


def test_panels_split_at_kinks():
    nodes, weights = layered_nodes([-1.0, 0.5], [0.0, 0.0])
    hinge = np.maximum(0.5 - nodes, 0) - np.maximum(-1 - nodes, 0)
    np.testing.assert_allclose(weights @ hinge, partial_expectation(0.5) - partial_expectation(-1.0), rtol=1e-13)
    np.testing.assert_allclose([weights.sum(), weights @ nodes**2, weights @ nodes**4], [1, 1, 3], rtol=1e-13)


# solutions


def fixed_point(mixture, aspect_ratio, ridge, losses, rounds=4000):
    """The textbook iteration, with 101 Gauss-Hermite nodes and the intercept balanced by a root finder."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(101)
    weights = weights / weights.sum()
    priors, signs, gram = np.array(mixture.priors), np.array(mixture.signs), np.array(mixture.gram)
    means, norm, step, b = 0.0 * signs, 1.0, 1.0, 0.0

    def slopes(b):
        parts = [loss.prox(y * (m + b) + norm * nodes, step) for y, m, loss in zip(signs, means, losses, strict=True)]
        return np.array([p for _, p, _ in parts]), np.array([a for _, _, a in parts])

    for _ in range(rounds):
        b = brentq(lambda b: (priors * signs) @ (slopes(b)[0] @ weights), -50, 50, xtol=1e-13)
        p, a = slopes(b)
        pull, stiffness = -priors * signs * (p @ weights), ridge + priors @ (a @ weights)
        new = gram @ pull / stiffness
        square = (pull @ gram @ pull + aspect_ratio * (priors @ (p * p @ weights))) / stiffness**2
        change = max(np.abs(new - means).max(), abs(np.sqrt(square) - norm))
        means, norm, step = (
            0.5 * (old + image)
            for old, image in ((means, new), (norm, np.sqrt(square)), (step, aspect_ratio / stiffness))
        )
        if change < 1e-11:
            return means, norm, b, step
    raise AssertionError(f"the iteration stands at a change of {change}")


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize(("aspect_ratio", "ridge"), [(0.3, 0.05), (2.0, 0.3)])
def test_the_textbook_iteration_agrees(name, aspect_ratio, ridge):
    losses = vs_family(name, 0.2)
    fit = ridge_erm(UNEVEN, aspect_ratio, ridge, losses)
    means, norm, b, step = fixed_point(UNEVEN, aspect_ratio, ridge, losses)
    np.testing.assert_allclose(fit.means, means, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose([fit.norm, fit.intercept, fit.step], [norm, b, step], rtol=1e-7, atol=1e-9)


def test_the_textbook_iteration_agrees_on_groups():
    mixture = GaussianMixture.groups(0.1, (3, 2), 1.0, class_prior=0.3)
    losses = [LogisticLoss(1.0, 0.5 * k, 1 / (1 + k)) for k in range(4)]
    fit = ridge_erm(mixture, 0.7, 0.1, losses)
    means, norm, b, step = fixed_point(mixture, 0.7, 0.1, losses)
    np.testing.assert_allclose(fit.means, means, rtol=1e-7)
    np.testing.assert_allclose([fit.norm, fit.intercept, fit.step], [norm, b, step], rtol=1e-7)


REFERENCE = {  # of UNEVEN: theory; mean and standard error over 40 draws at d = 250
    (0.5, 0.01, (1, 1), (0, 0), (1, 1)): ((0.4668, 0.0707), (0.4695, 0.0697), (0.007, 0.002)),
    (0.5, 0.01, (3, 0.6), (0, 0), (1, 1)): ((0.3607, 0.1180), (0.3634, 0.1164), (0.006, 0.003)),
    (1.0, 0.01, (1, 1), (1.5, -0.5), (1, 1)): ((0.4465, 0.1109), (0.4421, 0.1149), (0.009, 0.005)),
    (1.0, 1e-4, (2, 1), (0.5, -0.3), (0.4, 1)): ((0.3341, 0.1924), (0.3299, 0.1971), (0.007, 0.006)),
}


@pytest.mark.parametrize("case", REFERENCE)
def test_reference_values(case):
    aspect_ratio, ridge, *setting = case
    stated, measured, error = REFERENCE[case]
    fit = ridge_erm(UNEVEN, aspect_ratio, ridge, [LogisticLoss(*each) for each in zip(*setting, strict=True)])
    np.testing.assert_allclose(fit.class_errors, stated, atol=6e-5)
    assert (np.abs(fit.class_errors - measured) < 3 * np.array(error)).all()


MISMATCH = {  # ||μ||² = 3 d/n, orthogonal, π = 0.1: CE and LA at λ = 1e-6
    0.1: ((0.9201, 0.0336), (0.5559, 0.2862), (0.9790, 0.0070)),
    0.2: ((0.7529, 0.1199), (0.6535, 0.1877), (0.7524, 0.1208)),
}


@pytest.mark.parametrize("aspect_ratio", MISMATCH)
def test_mismatched_features(aspect_ratio):
    norm = np.sqrt(3 * aspect_ratio)
    mixture = GaussianMixture.binary(0.1, (norm, norm))
    fits = [ridge_erm(mixture, aspect_ratio, 1e-6, vs_family(name, 0.1, gamma=0.5)) for name in ("ce", "la", "cdt")]
    np.testing.assert_allclose([fit.class_errors for fit in fits], MISMATCH[aspect_ratio], atol=6e-5)
    ce, la, cdt = (fit.balanced_error for fit in fits)
    assert la < ce < cdt


@settings(max_examples=150, deadline=None)
@given(mixtures(), log_floats(0.05, 50), log_floats(1e-8, 1e2), st.sampled_from(FAMILY), st.floats(0, 1))
def test_every_smooth_loss_is_solved_over_the_range(mixture, aspect_ratio, ridge, name, gamma):
    fit = ridge_erm(mixture, aspect_ratio, ridge, vs_family(name, mixture.priors[0], gamma=gamma))
    assert fit.residual < 1e-9
    assert fit.correction < 1e-7
    assert fit.norm > 0
    assert fit.step > 0
    assert ((fit.errors >= 0) & (fit.errors <= 1)).all()
    # no linear classifier beats the exact one for the mixture's own priors
    square = mixture.gram[0][0] + mixture.gram[1][1] - 2 * mixture.gram[0][1]
    half = np.sqrt(max(square, 1e-12)) / 2
    shift = np.log((1 - mixture.priors[0]) / mixture.priors[0]) / (2 * half)
    bayes = mixture.priors[0] * tail(half - shift) + mixture.priors[1] * tail(half + shift)
    assert fit.error >= bayes - 1e-12


@settings(max_examples=60, deadline=None)
@given(mixtures(), log_floats(0.05, 50), log_floats(1e-8, 1e2), hinges, hinges)
def test_a_hinge_is_solved_or_refused(mixture, aspect_ratio, ridge, plus, minus):
    try:
        fit = ridge_erm(mixture, aspect_ratio, ridge, (plus, minus))
    except NotConverged as error:
        reason = str(error)
    else:
        reason = "a hinge that was solved" if max(fit.residual, fit.correction) < 1e-7 else "inaccurate"
    assert "hinge" in reason
    assert "\n" not in reason


@settings(max_examples=60, deadline=None)
@given(mixtures(), log_floats(0.1, 10), log_floats(1e-6, 10), st.tuples(logistic, logistic))
def test_symmetries(mixture, aspect_ratio, ridge, losses):
    mild = [
        LogisticLoss(min(max(x.omega, 0.1), 10), min(max(x.iota, -3), 3), min(max(x.delta, 0.1), 2)) for x in losses
    ]
    fit = ridge_erm(mixture, aspect_ratio, ridge, mild)
    gram = np.array(mixture.gram)
    exchanged = GaussianMixture(mixture.priors[::-1], tuple(map(tuple, gram[::-1, ::-1])), (1, -1))
    other = ridge_erm(exchanged, aspect_ratio, ridge, mild[::-1])  # -w classifies the exchanged classes
    np.testing.assert_allclose(other.errors, fit.errors[::-1], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(other.means, -fit.means[::-1], rtol=1e-6, atol=1e-8 * fit.norm)
    scaled = [LogisticLoss(3 * loss.omega, loss.iota, loss.delta) for loss in mild]
    heavier = ridge_erm(mixture, aspect_ratio, 3 * ridge, scaled)
    np.testing.assert_allclose([heavier.norm, 3 * heavier.step], [fit.norm, fit.step], rtol=1e-6)
    shrunk = [LogisticLoss(loss.omega, loss.iota, loss.delta / 2) for loss in mild]
    longer = ridge_erm(mixture, aspect_ratio, ridge / 4, shrunk)  # scores twice as long cost the same
    np.testing.assert_allclose(longer.norm, 2 * fit.norm, rtol=1e-6)
    halves = GaussianMixture(
        (mixture.priors[0] / 2, mixture.priors[1], mixture.priors[0] / 2),
        tuple(map(tuple, gram[np.ix_([0, 1, 0], [0, 1, 0])])), (1, -1, 1),
    )  # fmt: skip
    split = ridge_erm(halves, aspect_ratio, ridge, mild)
    np.testing.assert_allclose(split.class_errors, fit.class_errors, rtol=1e-6, atol=1e-9)


def test_small_ridges_join_the_hard_margin():
    limit = hard_margin(UNEVEN, 1.0, 2.5)
    pair = (LogisticLoss(2.0, 0.5, 0.4), LogisticLoss(1.0, -0.3, 1.0))
    gaps = [ridge_erm(UNEVEN, 1.0, ridge, pair).class_errors - limit.class_errors for ridge in (1e-4, 1e-8, 1e-12)]
    assert (np.abs(gaps[0]) > np.abs(gaps[1])).all()
    assert (np.abs(gaps[1]) > np.abs(gaps[2])).all()
    hinge = ridge_erm(UNEVEN, 1.0, 1e-5, (HingeLoss(1.0, 2.5), HingeLoss(4.0, 1.0)))
    np.testing.assert_allclose(hinge.class_errors, limit.class_errors, rtol=1e-10)
    np.testing.assert_allclose(hinge.norm, limit.norm, rtol=1e-10)


def test_groups_join_the_group_sensitive_margin():
    mixture = GaussianMixture.groups(0.1, (3, 2))
    hinges = [HingeLoss(1.0, margin) for margin in (3.0, 3.0, 1.0, 1.0)]
    fit = ridge_erm(mixture, 1.0, 1e-6, hinges)
    np.testing.assert_allclose(fit.errors, [0.1169, 0.1169, 0.1457, 0.1457], atol=5e-5)


def test_training_scores():
    fit = ridge_erm(UNEVEN, 0.5, 0.01, vs_family("ce", 0.2))
    for j, loss in enumerate(fit.losses):
        levels = np.linspace(0.01, 0.99, 9)
        test_scores = fit.norm * (fit.scores[j] + ndtri(levels))
        np.testing.assert_allclose(fit.training_score_cdf(j, loss.prox(test_scores, fit.step)[0]), levels, rtol=1e-9)
    below = separability_threshold(UNEVEN) / 2
    assert (ridge_erm(UNEVEN, below, 1e-8, vs_family("ce", 0.2)).training_errors > 0.005).all()
    assert (ridge_erm(UNEVEN, 1.0, 1e-8, vs_family("ce", 0.2)).training_errors < 1e-6).all()


def test_training_scores_carry_the_balance():
    """Stationarity in the bias: the slopes at training scores cancel, by an integral over their law."""
    fit = ridge_erm(UNEVEN, 2.0, 1e-3, vs_family("la", 0.2))
    pulls = [
        prior * expectation(lambda g, j=j, loss=loss: loss.prox(fit.norm * (fit.scores[j] + g), fit.step)[1])
        for j, (prior, loss) in enumerate(zip(UNEVEN.priors, fit.losses, strict=True))
    ]
    np.testing.assert_allclose(pulls[0], pulls[1], rtol=1e-9)


def test_without_an_intercept():
    fit = ridge_erm(UNEVEN, 0.5, 0.01, vs_family("la", 0.2), intercept=False)
    assert fit.intercept == 0
    assert fit.residual < 1e-9
    assert fit.balanced_error < ridge_erm(UNEVEN, 0.5, 0.01, vs_family("ce", 0.2), intercept=False).balanced_error


def test_no_signal():
    fit = ridge_erm(GaussianMixture.binary(0.3, (0, 0)), 1.0, 0.1, vs_family("la", 0.3))
    np.testing.assert_array_equal(fit.means, 0)
    np.testing.assert_allclose(fit.balanced_error, 0.5, atol=0.02)
    np.testing.assert_allclose(fit.class_errors.sum(), 1.0, rtol=1e-12)


def test_an_open_intercept_is_refused():
    with pytest.raises(NotConverged, match="hinge"):
        ridge_erm(GaussianMixture.antipodal(0.5, 1.0), 1.0, 100.0, (HingeLoss(), HingeLoss()))


class AlphaLoss:
    """α/(α-1) (1 - σ(u)^(1-1/α)), a loss whose proximal map has no closed form: nothing but the protocol."""

    def __init__(self, alpha):
        self.alpha, self.power = alpha, 1 - 1 / alpha

    def value(self, u):
        return self.alpha / (self.alpha - 1) * (1 - expit(u) ** self.power)

    def slope(self, u):
        return -np.exp(self.power * log_expit(u)) * expit(-u)

    def curvature(self, u):
        return -self.slope(u) * (expit(u) - self.power * expit(-u))

    def prox(self, h, step):
        return solve_prox(self, h, step)

    def layers(self, step):
        return [(float(np.log1p(step)) - 1, 1.0)]


@pytest.mark.parametrize("alpha", [0.5, 0.8])
def test_another_loss_joins_by_the_protocol(alpha):
    losses = (AlphaLoss(alpha), AlphaLoss(alpha))
    fit = ridge_erm(UNEVEN, 0.5, 0.05, losses)
    assert max(fit.residual, fit.correction) < 1e-9
    means, norm, b, _ = fixed_point(UNEVEN, 0.5, 0.05, losses)
    np.testing.assert_allclose([*fit.means, fit.norm, fit.intercept], [*means, norm, b], rtol=1e-6)
    ce = ridge_erm(UNEVEN, 0.5, 0.05, (LogisticLoss(), LogisticLoss()))
    limit = ridge_erm(UNEVEN, 0.5, 0.05, (AlphaLoss(1 - 1e-7), AlphaLoss(1 - 1e-7)))
    np.testing.assert_allclose(limit.class_errors, ce.class_errors, atol=1e-6)
    assert np.abs(fit.class_errors - ce.class_errors).max() > 1e-4
    far, ce_far = (ridge_erm(UNEVEN, 2.0, 1e-6, pair) for pair in (losses, (LogisticLoss(), LogisticLoss())))
    np.testing.assert_allclose(far.class_errors, ce_far.class_errors, atol=1e-4)  # α does not matter in the end
