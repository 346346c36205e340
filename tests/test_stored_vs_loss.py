"""What the committed results of the VS-loss studies say, beside the limit."""

import numpy as np
from tailbound.sims.core.results import load_results
from tailbound.sims.core.study import agreement, select
from tailbound.sims.ldam import RATIO_ERRORS
from tailbound.sims.vs_loss import svm
from tailbound.sims.vs_loss.multiclass import MULTICLASS_ERRORS, loss_parameters
from tailbound.sims.vs_loss.ridge import RIDGE_ERRORS, loss_pair
from tailbound.theory.vs_loss.asymptotics import hard_margin
from tailbound.theory.vs_loss.mixture import GaussianMixture
from tailbound.theory.vs_loss.multiclass import ridge_erm_multiclass
from tailbound.theory.vs_loss.state_evolution import ridge_erm


def _cases(name, columns):
    """Rows of each stored case (and of the named columns of the draw), tuples for sequences."""
    rows = load_results(name)
    keys = [*select(name)[0].cases[0], *columns]
    for key in keys:
        rows[key] = [tuple(cell) if isinstance(cell, np.ndarray) else cell for cell in rows[key]]
    return rows.groupby(keys, sort=False)


def test_stored_machines_agree_with_the_limit():
    checked, deviations = 0, {n: [] for n in (100, 200, 400, 800)}
    for key, group in _cases("vs_loss.cs_svm_errors", ["margin_ratio"]):
        case = dict(zip([*svm.CS_SVM_ERRORS.cases[0], "margin_ratio"], key, strict=True))
        mixture = GaussianMixture.binary(case["prior"], case["norms"], case["inner"])
        limit = hard_margin(mixture, case["aspect_ratio"], case["margin_ratio"])
        for error, column in zip(limit.errors, ("error_plus", "error_minus"), strict=True):
            found = agreement(group, float(error), column, allowance=4 / case["num_examples"])
            assert found.holds, (case, column, found)
            deviations[case["num_examples"]].append(abs(found.mean - found.theory))
            checked += 1
    assert checked > 200
    assert np.mean(deviations[800]) < np.mean(deviations[100]) / 2


def test_stored_groups_agree_with_the_limit():
    for key, group in _cases("vs_loss.group_errors", ["margin_ratio"]):
        case = dict(zip([*svm.GROUP_ERRORS.cases[0], "margin_ratio"], key, strict=True))
        mixture = GaussianMixture.groups(case["group_prior"], case["norms"], case["inner"])
        small = case["margin_ratio"]
        limit = hard_margin(mixture, case["aspect_ratio"], required=(small, small, 1.0, 1.0))
        stated = [*limit.errors, limit.errors[0] - limit.errors[2]]
        names = ["error_plus_1", "error_minus_1", "error_plus_2", "error_minus_2", "deo"]
        for value, column in zip(stated, names, strict=True):
            found = agreement(group, float(value), column, allowance=3 / case["num_examples"])
            assert found.holds, (case, column, found)


def test_stored_losses_agree_with_the_state_evolution():
    for key, group in _cases("vs_loss.ridge_errors", ["loss"]):
        case = dict(zip([*RIDGE_ERRORS.cases[0], "loss"], key, strict=True))
        mixture = GaussianMixture.binary(case["prior"], case["norms"], case["inner"])
        limit = ridge_erm(mixture, case["aspect_ratio"], case["ridge"], loss_pair(case["loss"], case["prior"]))
        for error, column in zip(limit.class_errors, ("error_plus", "error_minus"), strict=True):
            found = agreement(group, float(error), column, allowance=2.5 / case["num_examples"])
            assert found.holds, (case, column, found)
    for key, group in _cases("vs_loss.multiclass_errors", ["loss"]):
        case = dict(zip([*MULTICLASS_ERRORS.cases[0], "loss"], key, strict=True))
        mixture = GaussianMixture(case["priors"], tuple(map(tuple, np.diag(np.square(case["norms"])))))
        parameters = loss_parameters(case["loss"], case["priors"])
        limit = ridge_erm_multiclass(mixture, case["aspect_ratio"], case["ridge"], parameters)
        for c, error in enumerate(limit.class_errors):
            found = agreement(group, float(error), f"error_{c}", allowance=4 / case["num_examples"])
            assert found.holds, (case, c, found)


def test_stored_exponents_agree_with_the_limit():
    for key, group in _cases("ldam.ratio_errors", ["rule", "exponent"]):
        case = dict(zip([*RATIO_ERRORS.cases[0], "rule", "exponent"], key, strict=True))
        limit = hard_margin(GaussianMixture.antipodal(case["prior"], case["signal_strength"]), case["aspect_ratio"])
        error = limit.at_ratio(((1 - case["prior"]) / case["prior"]) ** case["exponent"]).balanced_error
        found = agreement(group, float(error), "balanced_error", allowance=4 / case["num_examples"])
        assert found.holds, (case, found)


def test_stored_bounds_hold():
    rows = load_results("ldam.bound_values")
    assert (rows["balanced_error"] < rows["bound"]).all()
    least = rows.groupby(["signal_strength", "positives", "negatives", "repetition"])["bound"].min()
    assert 0.7 < (least > 1).mean() < 0.95  # mostly vacuous, not always


def test_stored_margins_approach_their_law():
    rows = load_results("vs_loss.training_margins")
    means = rows.groupby(["prior", "margin_ratio", "label", "num_examples"])[["ks", "w2", "ks_unaligned"]].mean()
    first, last = means.xs(125, level="num_examples"), means.xs(2000, level="num_examples")
    assert (last[["ks", "w2"]] < first[["ks", "w2"]] / 2).all().all()
    assert (last["ks_unaligned"] > 0.9 * first["ks_unaligned"]).mean() > 0.5


def test_stored_estimates_beat_fixed_rules():
    rows = load_results("vs_loss.auto_ratio")
    means = rows.groupby("rule")["balanced_error"].mean()
    fixed = ["svm", "ldam", "square_root", "inverse"]
    assert means["leave-one-out"] < means[fixed].min()
    assert means["leave-one-out"] - means["oracle"] < 0.003
