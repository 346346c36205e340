"""What the figures of VS-loss and of LDAM's ratio mark is what the theory says, and what the simulations found."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from tailbound.paper_figs.core import figures, nearest_points, span, summary
from tailbound.sims.core.results import load_results
from tailbound.sims.core.study import matching
from tailbound.theory.ldam.margins import LDAM_EXPONENT
from tailbound.theory.vs_loss.asymptotics import hard_margin
from tailbound.theory.vs_loss.mixture import GaussianMixture

ALLOWANCE = 0.02  # finite-size deviation at a few hundred examples, in error


@cache
def tables(name):
    wanted = figures()[name]
    return wanted.make(*map(load_results, wanted.needs))[1]


def agrees(points, theory, allowance=ALLOWANCE):
    off = np.abs(points["mean"].to_numpy() - np.asarray(theory)) - 4 * points.standard_error.to_numpy()
    return off.max() <= allowance


def interpolated(curve, x, y, at):
    curve = curve.sort_values(x)
    return np.interp(at, curve[x], curve[y])


def test_summary_matching_and_span():
    rows = pd.DataFrame({"norms": [(3, 2)] * 3 + [(1, 1)], "error": [0.1, 0.2, 0.6, 9.0]})
    found = summary(matching(rows, norms=(3, 2)), ["norms"], "error").iloc[0]
    assert found["mean"] == pytest.approx(0.3)
    assert found.standard_error == pytest.approx(np.std([0.1, 0.2, 0.6], ddof=1) / np.sqrt(3))
    assert found.draws == 3
    assert (span([5]), span([1, 0.5])) == ("5", "0.5-1")
    assert nearest_points([1, 10, 100], [8, 200]) == [1, 2]


def test_first_gradient_shares():
    table = tables("vs_loss.initial_share").set_index(["gamma", "tau"]).minority_share_percent
    assert table[0.0, 0.0] == pytest.approx(10)  # CE: the prior
    assert table[0.0, 1.0] == pytest.approx(50)  # LA weighs both classes alike
    assert table[1.0, 0.0] < 2  # CDT alone takes from the minority
    assert table[1.0, 2.0] == pytest.approx(50)  # a shift twice as strong makes up for it


def test_regret_is_that_against_every_ratio():
    table = tables("ldam.regret")
    assert table.regret_points_1_4.min() > -1e-9
    for row in table.iloc[::700].itertuples():
        svm = hard_margin(GaussianMixture.antipodal(row.prior, row.signal_strength), row.aspect_ratio)
        errors = svm.at_ratio(np.geomspace(1e-3, 1e12, 3000)).balanced_error
        chosen = svm.at_ratio(((1 - row.prior) / row.prior) ** -float(LDAM_EXPONENT)).balanced_error
        assert row.regret_points_1_4 == pytest.approx(100 * (chosen - errors.min()), abs=2e-3)
        assert (row.wanted_shift >= 1) == np.isinf(svm.optimal_margin_ratio)
    finite = table[table.wanted_shift < 1]
    ratio = ((1 - finite.prior) / finite.prior) ** finite.optimal_exponent
    assert ((ratio - 1) / (ratio + 1)).to_numpy() == pytest.approx(
        finite.wanted_shift.to_numpy(), abs=4e-6
    )  # rows keep 6 decimals


def test_no_power_is_safe_everywhere():
    worst = tables("ldam.power_regret").groupby("signal_strength").max()
    assert (worst[[f"regret_points_{p}" for p in ("1_4", "1_3", "1_2", "1")]].max() > 10).all()


@pytest.mark.parametrize("error", ["balanced_error", "error", "error_plus", "error_minus"])
def test_margin_ratio_curves_and_draws(error):
    data = tables("vs_loss.margin_ratio")
    for aspect_ratio, curve in data["ratio"].groupby("aspect_ratio"):
        points = matching(data["simulation"], aspect_ratio=aspect_ratio, error=error, optimal=False)
        assert len(points) >= 8
        assert agrees(points, interpolated(curve, "margin_ratio", error, points.margin_ratio))
    optima = data["optima"]
    assert optima.error_plus.to_numpy() == pytest.approx(optima.error_minus.to_numpy())
    assert data["ratio"].groupby("aspect_ratio").balanced_error.min().to_numpy() == pytest.approx(
        optima.sort_values("aspect_ratio").balanced_error.to_numpy(), abs=1e-4
    )


def test_prior_curves_and_draws():
    data = tables("vs_loss.prior_and_ratio")
    for (signal, optimal), points in data["simulation_prior"].groupby(["signal_strength", "optimal"]):
        curve = matching(data["prior"], signal_strength=signal)
        curve = curve[(curve.ratio == "one") != optimal]
        for error, part in points.groupby("error"):
            assert agrees(part, interpolated(curve, "prior", error, part.prior))


def test_equal_opportunity_crosses_zero_where_it_is_marked():
    data = tables("vs_loss.equal_opportunity")
    mark = interpolated(
        matching(data["equal_opportunity"], group_prior=0.1), "aspect_ratio", "equal_opportunity_ratio", 1
    )
    curve = matching(data["curves"], aspect_ratio=1.0)
    assert abs(interpolated(curve, "margin_ratio", "deo", mark)) < 1e-3
    simulated = data["simulated_ratio"]
    assert agrees(
        simulated,
        interpolated(
            matching(data["equal_opportunity"], group_prior=0.1),
            "aspect_ratio",
            "equal_opportunity_ratio",
            simulated.aspect_ratio,
        ),
        allowance=0.3,
    )


def test_mismatched_features_change_order_at_the_threshold():
    data = tables("vs_loss.mismatched_features")
    low, high = (
        data["theory"][data["theory"].aspect_ratio == end].set_index("loss").balanced_error for end in (0.1, 3.0)
    )
    assert low["la"] < low["ce"] < low["cdt"]
    assert high["cs_svm"] < high["cdt"] < high["la"] < high["svm"]
    assert high["la"] < high["ce"]
    for (loss, error), points in data["simulation"].groupby(["loss", "error"]):
        if loss in ("ce", "la", "cdt"):
            curve = matching(data["theory"], loss=loss)
            assert agrees(points, interpolated(curve, "aspect_ratio", error, points.aspect_ratio), allowance=0.07)


def off_a_line(x, y):
    return np.abs(np.polyval(np.polyfit(x, y, 1), x) - y)


def test_descent_has_its_rates():
    points = tables("vs_loss.gradient_descent")
    for (rule, _), path in points.groupby(["rule", "loss"]):
        late = path[path.time >= 100]
        time, away = np.log(late.time.to_numpy()), late["mean"].to_numpy()
        if rule == "constant":  # 1 / (a + b log t), and no power of t
            assert (away * off_a_line(time, 1 / away)).max() < 0.015
            assert off_a_line(time, np.log(away)).max() > 0.025
        else:
            assert np.polyfit(time[2:], np.log(away[2:]), 1)[0] == pytest.approx(-1, abs=0.05)


def test_training_margins_carry_the_whole_mass():
    data = tables("vs_loss.training_margins")
    for label, bars in data["simulation"].groupby("label"):
        atom = matching(data["boundary"], label=label)
        assert (bars.density * bars.width).sum() + atom["mean"].iloc[0] == pytest.approx(1, abs=5e-3)
        law = matching(data["law"], label=label)
        beyond = np.trapezoid(law.training_density, law.margin)
        assert agrees(atom, [1 - beyond], allowance=0.01)


def test_separability_sharpens_around_the_threshold():
    data = tables("vs_loss.separability")
    for row in data["threshold"].itertuples():
        curves = matching(data["simulation"], prior=row.prior, norm_plus=row.norm_plus)
        widths = {}
        for n, curve in curves.groupby("num_examples"):
            inner = curve[(curve.share_separable > 0) & (curve.aspect_ratio < 1)].aspect_ratio
            widths[n] = inner.quantile(0.9) - inner.quantile(0.1)
            assert abs(inner.mean() - row.threshold) < 0.02
        assert widths[400] < 0.7 * widths[100]


def test_the_bound_lies_above_the_error():
    data = tables("ldam.bound_and_error")
    points = data["simulation"].pivot_table(
        index=["positives", "negatives", "margin_ratio"], columns="quantity", values="mean"
    )
    assert (points.bound > points.joint_bound).all()
    assert (points.joint_bound > points.balanced_error).all()
    marks = data["marks"].pivot_table(index=["positives", "negatives"], columns="mark", values="margin_ratio")
    assert (marks.quarter < marks.third).all()
    assert (marks.third < marks.optimum).all()


def test_rules_meet_their_draws():
    data = tables("ldam.rule_errors")
    for name, x in (("prior", "imbalance_ratio"), ("aspect", "aspect_ratio")):
        for exponent, curve in data[name].groupby("exponent"):
            points = matching(data[f"simulation_{name}"], exponent=exponent)
            assert agrees(points, interpolated(curve, x, "balanced_error", points[x]))


def test_optimal_ratio_outgrows_every_rule():
    data = tables("ldam.optimal_ratio")
    steepest = data["rules"].groupby("imbalance_ratio").margin_ratio.max()
    for _, curve in data["optimum"].groupby("signal_strength"):
        last = curve.iloc[-1]
        assert last.optimal_ratio > 10 * steepest[last.imbalance_ratio]
    for row in data["simulation"].itertuples():
        svm = hard_margin(GaussianMixture.antipodal(row.prior, row.signal_strength), 1.0)
        assert row.lower < svm.optimal_margin_ratio < row.upper


def test_the_estimated_ratio_beats_the_fixed_rules_on_average():
    means = tables("vs_loss.auto_ratio").groupby("rule")["mean"].mean()
    assert means["leave-one-out"] < 0.2 * means[["inverse", "square_root", "ldam", "training-means", "svm"]].min()
    pairs = tables("vs_loss.real_pairs")["means"].query("data == 'fashion'").set_index("rule")["mean"]
    assert pairs["leave-one-out"] == pairs.min()


def test_phases_of_extreme_imbalance_follow_the_limit():
    data = tables("vs_loss.high_imbalance")
    plain = matching(data["simulation"], ratio_exponent=0.0)
    limit = matching(data["limit"], map="plain")
    for row in plain.iloc[::23].itertuples():
        near = limit[(limit.rarity - row.rarity).abs() + (limit.height - row.signal_exponent).abs() < 0.03].error
        assert near.min() - 0.2 < row.error_plus < near.max() + 0.2
