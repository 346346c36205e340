"""Simulations of VS-loss and LDAM: the draws against independent computations, the studies, the committed results."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog, minimize
from scipy.stats import multivariate_normal, norm
from tailbound.sims.core.study import agreement, select
from tailbound.sims.ldam import EXPONENT_REGRET, draw_bound_values, draw_exponent_regret
from tailbound.sims.vs_loss import erm, svm
from tailbound.sims.vs_loss.erm import fit_multiclass, fit_ridge
from tailbound.sims.vs_loss.gaussian import bartlett_factor, draw_components, draw_sample
from tailbound.sims.vs_loss.multiclass import draw_multiclass_errors, loss_parameters
from tailbound.sims.vs_loss.ratio import AUTO_RATIO, draw_auto_ratio
from tailbound.sims.vs_loss.ridge import (
    draw_ridge_errors,
    loss_pair,
    seen_mixture,
)
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.fixed_point import NotConverged
from tailbound.theory.vs_loss.asymptotics import hard_margin
from tailbound.theory.vs_loss.losses import VSParameters, vs_loss
from tailbound.theory.vs_loss.mixture import GaussianMixture
from tailbound.theory.vs_loss.scalar_losses import HingeLoss, LogisticLoss
from tailbound.theory.vs_loss.svm import solve_svm

UNEQUAL = {"prior": 0.3, "norms": (3.0, 2.0), "inner": 1.0}
MIXTURE = GaussianMixture.binary(*UNEQUAL.values())
ROUNDING = 6e-6  # rows keep 5 decimals
STUDIES = [
    "ldam.bound_values",
    "ldam.exponent_regret",
    "ldam.ratio_errors",
    "vs_loss.auto_ratio",
    "vs_loss.cs_svm_errors",
    "vs_loss.gradient_descent",
    "vs_loss.group_errors",
    "vs_loss.high_imbalance",
    "vs_loss.mismatched_features",
    "vs_loss.multiclass_errors",
    "vs_loss.ridge_errors",
    "vs_loss.separability",
    "vs_loss.training_margins",
]


def rng(seed=0):
    return np.random.default_rng(seed)


# training sets


@pytest.mark.parametrize("degrees", [3, 12])
def test_bartlett_factor_has_the_moments_of_a_wishart_matrix(degrees):
    n, draws = 6, 4000
    grams = np.array([factor @ factor.T for factor in (bartlett_factor(rng(k), n, degrees) for k in range(draws))])
    assert bartlett_factor(rng(), n, degrees).shape == (n, min(n, degrees))
    error = np.sqrt(2 * degrees / draws)  # of a diagonal entry's mean
    np.testing.assert_allclose(grams.mean(axis=0), degrees * np.eye(n), atol=5 * error)
    diagonal = grams[:, np.arange(n), np.arange(n)]
    np.testing.assert_allclose(diagonal.var(axis=0), 2 * degrees, rtol=0.25)
    np.testing.assert_allclose(grams[:, 0, 1].var(), degrees, rtol=0.15)


def test_sample_is_isometric_to_examples_and_means():
    sample = draw_sample(rng(), MIXTURE, 15, 40, directly=True)
    assert sample.features.shape == (15, 40)
    means = np.zeros((2, 40))
    means[:, :2] = MIXTURE.coordinates
    np.testing.assert_allclose(means @ means.T, MIXTURE.gram, atol=1e-12)
    weights = rng(1).standard_normal(40)
    np.testing.assert_allclose(sample.mean_scores(weights), means @ weights)
    np.testing.assert_allclose(sample.gram, sample.features @ sample.features.T)
    assert draw_sample(rng(), MIXTURE, 15, 40).features.shape == (15, 17)
    assert draw_sample(rng(), MIXTURE, 15, 9).features.shape == (15, 9)


def test_test_errors_are_those_of_fresh_points():
    sample = draw_sample(rng(), MIXTURE, 20, 30, directly=True)
    machine = solve_svm(sample.gram, sample.labels)
    weights = machine.coefficients @ sample.features
    fresh = draw_sample(rng(1), MIXTURE, 60_000, 30, directly=True)
    wrong = fresh.labels * (fresh.features @ weights + machine.intercept) < 0
    for component, error in enumerate(sample.test_errors(weights, machine.intercept)):
        drawn = wrong[fresh.components == component]
        assert abs(drawn.mean() - error) < 4 * np.sqrt(error * (1 - error) / len(drawn))


def test_components_hold_every_label():
    rare = GaussianMixture.antipodal(0.05, 1.0)
    assert all(np.unique(draw_components(rng(k), rare, 5)).size == 2 for k in range(200))
    with pytest.raises(InputError, match="never holds every label"):
        draw_components(rng(), GaussianMixture.antipodal(1e-9, 1.0), 5)
    with pytest.raises(InputError, match="rank of the means, got 1"):
        draw_sample(rng(), MIXTURE, 5, 1)


# machines


def test_one_fit_serves_every_margin_ratio():
    case = UNEQUAL | {"aspect_ratio": 1.2, "num_examples": 50}
    rows = svm.draw_cs_svm_errors(rng(3), **case, margin_ratios=(1.0, 2.5, 7.0))
    sample = draw_sample(rng(3), MIXTURE, 50, 60)
    for row in rows:
        machine = solve_svm(sample.gram, sample.labels, np.where(sample.labels > 0, row["margin_ratio"], 1.0))
        errors = sample.test_errors(machine.coefficients @ sample.features, machine.intercept)
        np.testing.assert_allclose([row["error_plus"], row["error_minus"]], errors, atol=ROUNDING)
        np.testing.assert_allclose(
            [row["norm"], row["intercept"]], [machine.norm, machine.intercept / machine.norm], atol=ROUNDING
        )
        assert row["error"] == pytest.approx(errors @ MIXTURE.priors, abs=ROUNDING)


def test_ratio_none_is_the_optimum_of_the_limit():
    case = UNEQUAL | {"aspect_ratio": 1.2, "num_examples": 30}
    plain, best = svm.draw_cs_svm_errors(rng(), **case, margin_ratios=(1.0, None))
    assert (plain["optimal"], best["optimal"]) == (False, True)
    assert best["margin_ratio"] == pytest.approx(float(hard_margin(MIXTURE, 1.2).optimal_margin_ratio))
    beyond = {"prior": 0.01, "norms": (1.0, 1.0), "inner": -1.0, "aspect_ratio": 2.0, "num_examples": 300}
    assert len(svm.draw_cs_svm_errors(rng(), **beyond, margin_ratios=(1.0, None))) == 1  # no finite optimum


def test_what_is_not_separable_is_nan():
    case = {"prior": 0.5, "norms": (0.0, 0.0), "inner": 0.0, "aspect_ratio": 0.1, "num_examples": 60}
    (row,) = svm.draw_cs_svm_errors(rng(), **case, margin_ratios=(2.0,))
    assert np.isnan(row["error_plus"])
    assert np.isnan(row["support_minus"])
    groups = {"group_prior": 0.3, "norms": (0.1, 0.1), "inner": 0.0, "aspect_ratio": 0.1, "num_examples": 60}
    (row,) = svm.draw_group_errors(rng(), **groups, margin_ratios=(2.0,))
    assert np.isnan(row["deo"])


def test_group_rows_follow_from_the_machine():
    rows = svm.draw_group_errors(
        rng(5),
        group_prior=0.3,
        norms=(3.0, 2.0),
        inner=0.0,
        aspect_ratio=1.5,
        num_examples=40,
        margin_ratios=(1.0, 4.0),
    )
    sample = draw_sample(rng(5), GaussianMixture.groups(0.3, (3.0, 2.0)), 40, 60)
    required = np.array([4.0, 4.0, 1.0, 1.0])[sample.components]
    machine = solve_svm(sample.gram, sample.labels, required)
    errors = sample.test_errors(machine.coefficients @ sample.features, machine.intercept)
    names = ["error_plus_1", "error_minus_1", "error_plus_2", "error_minus_2"]
    np.testing.assert_allclose([rows[1][name] for name in names], errors, atol=ROUNDING)
    assert rows[1]["deo"] == pytest.approx(errors[0] - errors[2], abs=ROUNDING)
    assert rows[0]["norm"] < rows[1]["norm"]


@pytest.mark.parametrize("seed", range(4))
def test_critical_dimension_is_that_of_a_linear_program(seed):
    setting = {"prior": 0.4, "norms": (1.0, 0.5), "inner": 0.0}
    found = svm.draw_critical_dimension(rng(seed), **setting, num_examples=30)["critical_dimension"]
    sample = draw_sample(rng(seed), GaussianMixture.binary(*setting.values()), 30, 30, directly=True)

    def separable(dimension):
        rows = -sample.labels[:, None] * np.column_stack([sample.features[:, :dimension], np.ones(30)])
        return linprog(np.zeros(dimension + 1), rows, -np.ones(30), bounds=(None, None)).status == 0

    assert separable(found)
    assert found == 2 or not separable(found - 1)


def test_high_imbalance_has_fixed_counts():
    setting = {"dimension": 50, "rarity": 0.4, "signal_exponent": 0.6, "size_exponent": 0.1, "signal_scale": 0.75}
    rows = svm.draw_high_imbalance(rng(), **setting, ratio_exponents=(0.0, 0.5))
    assert [row["positives"] for row in rows] == [round(50**0.6)] * 2
    assert rows[0]["error_plus"] > rows[1]["error_plus"]
    assert rows[0]["error_minus"] < rows[1]["error_minus"]


# laws of training margins


@pytest.mark.parametrize(("edge", "mean"), [(1.0, 0.4), (0.2, 2.0), (3.0, -1.0)])
def test_wasserstein_distance_is_the_integral_of_quantiles(edge, mean):
    values = np.maximum(edge + 0.05, rng().normal(mean + 0.1, 1.2, 40))
    p = (np.arange(400_000) + 0.5) / 400_000
    law, sample = np.maximum(edge, norm.ppf(p, mean)), np.sort(values)[(p * 40).astype(int)]
    assert svm.wasserstein_distance(values, edge, mean) == pytest.approx(
        np.sqrt(np.mean((law - sample) ** 2)), rel=1e-4
    )


def test_ks_distance_sees_the_atom():
    limit = hard_margin(MIXTURE, 1.5)
    edge, mean = float(limit.margin), float(limit.test_margins[0])
    exact = np.maximum(edge, norm.ppf((np.arange(5000) + 0.5) / 5000, mean))
    assert svm.ks_distance(exact, limit, 0) < 2e-4
    atom = float(limit.support_fractions[0])
    assert svm.ks_distance(exact + 1e-6, limit, 0) == pytest.approx(atom, abs=1e-3)
    one = np.full(10, edge)
    assert svm.ks_distance(one, limit, 0) == pytest.approx(1 - atom)


def test_training_margins_are_counted():
    case = {
        "prior": 0.2,
        "norms": (2.0, 2.0),
        "inner": -4.0,
        "aspect_ratio": 1.0,
        "num_examples": 80,
        "margin_ratio": 2.0,
    }
    plus, minus = svm.draw_training_margins(rng(), **case)
    assert plus["count"] + minus["count"] == 80
    assert plus["histogram"].sum() == plus["count"]  # the edges hold all of them
    assert plus["boundary"] == pytest.approx(2 * minus["boundary"])
    assert plus["support"] > minus["support"] > 0
    assert plus["mean"] > plus["boundary"]


# trained losses


def test_newton_finds_the_minimiser_of_the_loss():
    sample = draw_sample(rng(2), MIXTURE, 60, 10)
    losses = (LogisticLoss(2.0, 0.5, 0.6), LogisticLoss(1.0, -0.3, 1.0))
    weights, intercept = fit_ridge(sample.features, sample.labels, losses, 0.05)

    def objective(point):
        margins = sample.labels * (sample.features @ point[:-1] + point[-1])
        each = np.where(sample.labels > 0, losses[0].value(margins), losses[1].value(margins))
        return each.mean() + 0.025 * point[:-1] @ point[:-1]

    other = minimize(objective, np.zeros(11), method="BFGS", options={"gtol": 1e-7})
    np.testing.assert_allclose(np.append(weights, intercept), other.x, atol=1e-4)
    assert objective(np.append(weights, intercept)) <= other.fun + 1e-12


def test_hinge_is_the_soft_margin_of_the_objective():
    sample = draw_sample(rng(4), MIXTURE, 40, 8)
    losses = (HingeLoss(2.0, 1.5), HingeLoss(1.0, 0.5))
    weights, intercept = fit_ridge(sample.features, sample.labels, losses, 0.02)

    def objective(w, b):
        margins = sample.labels * (sample.features @ w + b)
        each = np.where(sample.labels > 0, losses[0].value(margins), losses[1].value(margins))
        return each.mean() + 0.01 * w @ w

    least = objective(weights, intercept)
    moves = rng().standard_normal((300, 9)) * np.geomspace(1e-4, 0.3, 300)[:, None]
    assert all(objective(weights + move[:-1], intercept + move[-1]) > least for move in moves)


def test_two_classes_are_the_binary_case():
    sample = draw_sample(rng(6), MIXTURE, 50, 12)
    priors = np.array(MIXTURE.priors)
    weights, intercepts = fit_multiclass(
        sample.features, sample.components, VSParameters(np.ones(2), np.log(priors), np.ones(2)), 0.02
    )
    # f = w_0 - w_1 has half the squared norm of W, and the offset log(π_0 / π_1)
    offset = float(np.log(priors[1] / priors[0]))
    binary, intercept = fit_ridge(
        sample.features, sample.labels, (LogisticLoss(1, offset), LogisticLoss(1, -offset)), 0.01
    )
    np.testing.assert_allclose(weights[0] - weights[1], binary, atol=1e-6)
    assert intercepts[0] - intercepts[1] == pytest.approx(intercept, abs=1e-6)


def test_three_classes_are_stationary_in_every_direction():
    mixture = GaussianMixture((0.5, 0.3, 0.2), ((4.0, 0, 0), (0, 4.0, 0), (0, 0, 4.0)))
    sample = draw_sample(rng(7), mixture, 60, 10)
    parameters = loss_parameters("vs", mixture.priors)
    weights, intercepts = fit_multiclass(sample.features, sample.components, parameters, 0.05)

    def objective(w, b):
        return vs_loss(sample.features @ w.T + b, sample.components, parameters).mean() + 0.025 * (w**2).sum()

    least = objective(weights, intercepts)
    for k in range(40):
        move, shift = 1e-3 * rng(k).standard_normal(weights.shape), 1e-3 * rng(k + 100).standard_normal(3)
        up, down = (objective(weights + sign * move, intercepts + sign * shift) for sign in (1, -1))
        assert min(up, down) > least
        assert abs(up - down) < 1e-3 * (up + down - 2 * least)
    np.testing.assert_allclose(intercepts @ (1 / parameters.delta), 0, atol=1e-9)
    np.testing.assert_allclose((1 / parameters.delta) @ weights, 0, atol=1e-9)


def test_multiclass_errors_are_normal_probabilities():
    case = {"priors": (0.5, 0.3, 0.2), "norms": (2.0, 2.0, 2.0), "aspect_ratio": 0.5, "ridge": 0.05, "num_examples": 40}
    (row,) = draw_multiclass_errors(rng(8), **case, losses=("la",))
    mixture = GaussianMixture(case["priors"], ((4.0, 0, 0), (0, 4.0, 0), (0, 0, 4.0)))
    sample = draw_sample(rng(8), mixture, 40, 20)
    weights, intercepts = fit_multiclass(
        sample.features, sample.components, loss_parameters("la", mixture.priors), 0.05
    )
    scores = sample.mean_scores(weights) + intercepts[:, None]
    for c in range(3):
        rivals = [k for k in range(3) if k != c]
        lead, gaps = weights[c] - weights[rivals], scores[c, c] - scores[rivals, c]
        right = multivariate_normal(mean=-gaps, cov=lead @ lead.T).cdf(np.zeros(2))
        assert row[f"error_{c}"] == pytest.approx(1 - right, abs=1e-5)


def test_a_free_intercept_absorbs_an_offset():
    case = {"prior": 0.2, "norms": (2.0, 1.5), "inner": 0.5, "aspect_ratio": 0.5, "ridge": 0.01, "num_examples": 60}
    ce, la = draw_ridge_errors(rng(), **case, losses=("ce", "la"))
    assert la["norm"] == pytest.approx(ce["norm"], rel=1e-6)  # the same weights
    shift = (la["intercept"] - ce["intercept"]) * ce["norm"]
    assert shift == pytest.approx(np.log(4.0), rel=1e-5)


def test_losses_by_name_and_by_parameters():
    assert loss_pair("hinge", 0.2) == (HingeLoss(), HingeLoss())
    assert loss_pair("mixed", 0.2) == (
        LogisticLoss(2.0, 0.5, 0.4),
        LogisticLoss(1.0, -0.3, 1.0),
    )
    with pytest.raises(InputError, match="unknown loss 'focal'"):
        loss_pair("focal", 0.2)


def test_newton_says_when_it_fails(monkeypatch):
    sample = draw_sample(rng(), MIXTURE, 20, 5)
    monkeypatch.setattr(erm, "_STEPS", 2)
    with pytest.raises(NotConverged, match="after 2 steps; raise ridge"):
        fit_ridge(sample.features, sample.labels, [LogisticLoss()] * 2, 1e-6)


def test_signal_grows_with_the_features_that_are_seen():
    assert seen_mixture(0.1, 3.0, 3.0, 0.75).gram[0][0] == pytest.approx(9 / 4)
    assert seen_mixture(0.1, 3.0, 3.0, 9.0).gram[1][1] == pytest.approx(9)
    assert seen_mixture(0.1, 3.0, 3.0, 9.0).gram[0][1] == 0


# margin ratios


def test_the_oracle_has_the_least_error():
    case = {**AUTO_RATIO.cases[0], "num_examples": 80, "condition": 20.0, "minority_spread": 1.3}
    rows = draw_auto_ratio(rng(1), **case)
    errors = {row["rule"]: row["balanced_error"] for row in rows}
    assert min(errors, key=errors.get) == "oracle"
    svm_row = next(row for row in rows if row["rule"] == "svm")
    assert svm_row["margin_ratio"] == 1
    assert svm_row["balanced_error"] == pytest.approx((svm_row["error_plus"] + svm_row["error_minus"]) / 2)
    for row in rows:
        assert np.isnan(row["low"]) or row["low"] <= row["margin_ratio"] <= row["high"]


@pytest.mark.parametrize(
    ("signal_strength", "prior", "svm_error", "ldam_error", "best_error", "best_ratio"),
    [
        (1.5, 0.3, 0.181, 0.172, 0.165, 1.94),
        (1.5, 0.1, 0.322, 0.255, 0.194, 6.74),
        (1.5, 0.05, 0.444, 0.352, 0.230, 26.3),
        (2.5, 0.3, 0.031, 0.026, 0.025, 1.42),
        (2.5, 0.1, 0.105, 0.045, 0.033, 2.68),
        (2.5, 0.02, 0.481, 0.278, 0.088, 13.4),
    ],
)
def test_regret_of_ldams_exponent(signal_strength, prior, svm_error, ldam_error, best_error, best_ratio):
    line = draw_exponent_regret(
        rng(),
        signal_strength=signal_strength,
        prior=prior,
        exponents=(0.0, 0.25),
        flattest=1.0,
        num_aspect_ratios=2,
    )
    assert line["aspect_ratio"][0] == 1.0
    found = [*(line["regret"][:, 0] + line["best_error"][0]), line["best_error"][0]]
    np.testing.assert_allclose(found, [svm_error, ldam_error, best_error], atol=6e-4)
    assert ((1 - prior) / prior) ** line["best_exponent"][0] == pytest.approx(best_ratio, rel=5e-3)


def test_regret_is_never_negative():
    (line,) = EXPONENT_REGRET.draw_rows(EXPONENT_REGRET.cases[5], 0)
    assert np.min(line["regret"]) >= 0
    assert np.shape(line["regret"]) == (5, 60)


def test_bound_rows_follow_from_the_whole_machine():
    case = {"positives": 30, "negatives": 300, "signal_strength": 3.0, "dimension": 12}
    rows = draw_bound_values(rng(2), **case, margin_ratios=(1.0, 3.0))
    components = np.repeat([0, 1], [30, 300])
    mixture = GaussianMixture.antipodal(30 / 330, 3.0)
    sample = draw_sample(rng(2), mixture, 330, 12, components=components, directly=True)
    for row in rows:
        machine = solve_svm(sample.gram, sample.labels, np.where(sample.labels > 0, row["margin_ratio"], 1.0))
        weights = machine.coefficients @ sample.features
        errors = sample.test_errors(weights, machine.intercept)
        assert row["balanced_error"] == pytest.approx(errors.mean(), abs=1e-8)
        margins = sample.labels * (sample.features @ weights + machine.intercept)
        margins /= np.hypot(machine.norm, machine.intercept)
        assert row["margin_plus"] == pytest.approx(margins[components == 0].min(), rel=1e-6)
        assert row["margin_minus"] == pytest.approx(margins[components == 1].min(), rel=1e-6)
        assert row["joint_bound"] < row["bound"]


# studies


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_draws_again_what_it_drew(name):
    (study,) = select(name)
    tiny = study.tiny()
    first, second = (tiny.draw_rows(tiny.cases[0], repetition=1) for _ in range(2))
    pd.testing.assert_frame_equal(pd.DataFrame(first), pd.DataFrame(second))


def test_agreement_rule_on_a_table():
    rows = pd.DataFrame(
        row
        for k in range(60)
        for row in svm.draw_cs_svm_errors(rng(k), **UNEQUAL, aspect_ratio=1.0, num_examples=60, margin_ratios=(1.0,))
    )
    limit = hard_margin(MIXTURE, 1.0)
    assert agreement(rows, float(limit.errors[0]), "error_plus", allowance=4 / 60).holds
    assert not agreement(rows, float(limit.errors[1]), "error_plus", allowance=4 / 60).holds
