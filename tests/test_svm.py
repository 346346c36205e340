"""The binary SVM: the fast solver against cvxpy, piqp and arithmetic; invariances; hard cases; input; the programs."""

from dataclasses import replace

import numpy as np
import piqp
import pytest
from helpers import rejects, seeds
from helpers.svm import CROSS, SIGNS, SQUARE, check_contradiction, check_optimal, mixture, problems
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tailbound.theory.core.convex import Infeasible
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.fixed_point import NotConverged
from tailbound.theory.vs_loss import active_set, programs, rows, svm
from tailbound.theory.vs_loss.svm import INTERCEPTS, NotSeparable, solve_svm

steady = settings(deadline=None, max_examples=150)
few = settings(deadline=None, max_examples=25)


# the solver against the conditions of optimality


@steady
@given(problems())
def test_every_outcome_is_proved(problem):
    features, labels, required, intercept, upper = problem
    try:
        machine = solve_svm(features @ features.T, labels, required, intercept=intercept, upper=upper)
    except NotSeparable as error:
        assert upper is None
        check_contradiction(features, labels, required, intercept, error)
        return
    except (
        NotConverged
    ) as error:  # float64 has no answer: margins below 1e-3 of the data, or a bound far above 1 / |x|²
        assert upper is None or upper * np.abs(features).max() ** 2 > 1e3
        rejects(error_info(error), "e+0")
        return
    check_optimal(features, labels, required, intercept, upper, machine)
    certificate = machine.certificate
    assert certificate.dual <= certificate.primal * (1 + 1e-12)
    assert 0 <= certificate.gap <= 1e-9
    assert (np.flatnonzero(machine.dual) == machine.support).all()


def error_info(error):
    class Info:
        value = error

    return Info


@few
@given(problems())
def test_single_rows_reach_what_blocks_reach(problem):
    """The finite method alone, from the same start, ends at the same machine."""
    features, labels, required, intercept, upper = problem
    gram = features @ features.T
    try:
        value = solve_svm(gram, labels, required, intercept=intercept, upper=upper).certificate.primal
    except NotSeparable:
        value = np.inf
    except NotConverged:  # beyond float64, where the two may differ
        assume(False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(active_set, "_pivot", lambda program, state: None)
        try:
            alone = solve_svm(gram, labels, required, intercept=intercept, upper=upper).certificate.primal
        except NotSeparable:
            alone = np.inf
        except NotConverged:
            assert upper is None or upper * np.abs(features).max() ** 2 > 1e3
            assume(False)
    np.testing.assert_allclose(alone, value, rtol=2e-9)


@pytest.mark.parametrize("upper", [None, 0.5])
@pytest.mark.parametrize("intercept", INTERCEPTS)
@few
@given(seed=seeds, ratio=st.sampled_from([0.1, 1.0, 7.0]))
def test_machine_is_that_of_cvxpy(seed, ratio, intercept, upper):
    features, labels = mixture(seed, 14, 6, signal=3.0)
    required = np.where(labels > 0, ratio, 1.0)
    try:
        w, b, certificate = programs.margin_svm(features, labels, required, intercept=intercept, upper=upper)
    except Infeasible:
        with pytest.raises(NotSeparable):
            solve_svm(features @ features.T, labels, required, intercept=intercept, upper=upper)
        return
    machine = solve_svm(features @ features.T, labels, required, intercept=intercept, upper=upper)
    np.testing.assert_allclose(machine.coefficients @ features, w, atol=1e-5 * (1 + np.abs(w).max()))
    np.testing.assert_allclose(machine.certificate.primal, certificate.value, rtol=1e-7)
    inner = (machine.dual > 0) & (machine.dual < (upper or np.inf))
    if intercept != "free" or inner.any():  # else b is not unique
        np.testing.assert_allclose(machine.intercept, b, atol=1e-5 * (1 + np.abs(w).max()))


def piqp_dual(gram, labels, required, *, intercept, upper):
    """Value of the dual by an interior-point solver of quadratic programs."""
    n = len(labels)
    solver = piqp.DenseSolver()
    for name in ("eps_abs", "eps_rel", "eps_duality_gap_abs", "eps_duality_gap_rel"):
        setattr(solver.settings, name, 1e-11)
    P = np.asfortranarray(gram * np.outer(labels, labels))
    border = (np.asfortranarray(labels[None, :]), np.zeros(1)) if intercept == "free" else (None, None)
    top = None if upper is None else np.full(n, float(upper))
    solver.setup(P, -required, *border, None, None, None, np.zeros(n), top)
    assert solver.solve() == piqp.PIQP_SOLVED
    a = np.asarray(solver.result.x)
    return required @ a - a @ P @ a / 2


@few
@given(seeds, st.sampled_from(["free", "none"]), st.sampled_from([None, 0.3]))
def test_dual_value_is_that_of_piqp(seed, intercept, upper):
    features, labels = mixture(seed, 40, 60)
    gram, required = features @ features.T, np.where(labels > 0, 3.0, 1.0)
    machine = solve_svm(gram, labels, required, intercept=intercept, upper=upper)
    value = piqp_dual(gram, labels, required, intercept=intercept, upper=upper)
    np.testing.assert_allclose(machine.certificate.dual, value, rtol=1e-8)


@pytest.mark.parametrize(("num_examples", "dimension"), [(2, 1), (3, 50), (120, 240), (150, 40), (400, 3)])
@pytest.mark.parametrize("ratio", [0.02, 1.0, 50.0])
def test_sizes(num_examples, dimension, ratio):
    features, labels = mixture(num_examples, num_examples, dimension, signal=2.0 if dimension > num_examples else 6.0)
    required = np.where(labels > 0, ratio, 1.0)
    machine = solve_svm(features @ features.T, labels, required)
    check_optimal(features, labels, required, "free", None, machine)
    assert machine.certificate.gap < 1e-11


def test_certificate_can_be_recomputed():
    features, labels = mixture(3, 30, 50)
    required = np.where(labels > 0, 2.0, 1.0)
    machine = solve_svm(features @ features.T, labels, required)
    w = machine.coefficients @ features
    least = (labels * (features @ w + machine.intercept) / required).min()
    np.testing.assert_allclose(machine.certificate.primal, w @ w / (2 * least**2), rtol=1e-12)
    np.testing.assert_allclose(machine.certificate.dual, machine.dual @ required - w @ w / 2, rtol=1e-12)
    assert machine.certificate.stationarity <= 1e-14
    assert machine.certificate.complementarity <= 1e-12
    assert machine.certificate.violation == pytest.approx(max(0.0, 1 - least), abs=1e-14)


def test_certificate_refuses_a_wrong_answer(monkeypatch):
    features, labels = mixture(3, 30, 50)

    def perturbed(program):
        dual, multipliers = found(program)
        return dual * (1 + 1e-3 * np.arange(len(dual)) / len(dual)), multipliers

    found = rows.minimise
    monkeypatch.setattr(rows, "minimise", perturbed)
    with pytest.raises(NotConverged, match="duality gap"):
        solve_svm(features @ features.T, labels)


# what changes nothing, or only the scale


@steady
@given(seeds, st.floats(1e-3, 1e3), st.sampled_from(["free", "none"]))
def test_scale_of_features(seed, factor, intercept):
    features, labels = mixture(seed, 20, 30)
    gram = features @ features.T
    machine, scaled = (solve_svm(size * gram, labels, intercept=intercept) for size in (1.0, factor**2))
    np.testing.assert_allclose(scaled.dual * factor**2, machine.dual, rtol=1e-6, atol=1e-9 * machine.dual.max())
    np.testing.assert_allclose(scaled.norm * factor, machine.norm, rtol=1e-9)
    np.testing.assert_allclose(scaled.scores, machine.scores, atol=1e-8)


@pytest.mark.parametrize("size", [1e-200, 1e-80, 1e-20, 1e20, 1e80, 1e200])
def test_extreme_scales(size):
    features, labels = mixture(5, 20, 30)
    gram = features @ features.T
    machine, scaled = solve_svm(gram, labels), solve_svm(size * gram, labels)
    np.testing.assert_allclose(scaled.scores, machine.scores, atol=1e-9)
    np.testing.assert_allclose(scaled.norm * np.sqrt(size), machine.norm, rtol=1e-9)
    np.testing.assert_allclose(scaled.certificate.dual * size, machine.certificate.dual, rtol=1e-9)
    grown = solve_svm(gram, labels, size**0.25)
    np.testing.assert_allclose(grown.norm, size**0.25 * machine.norm, rtol=1e-9)


@steady
@given(seeds, st.permutations(range(12)))
def test_order_of_examples(seed, order):
    features, labels = mixture(seed, 12, 20)
    machine = solve_svm(features @ features.T, labels)
    shuffled = solve_svm(features[order] @ features[order].T, labels[order])
    np.testing.assert_allclose(shuffled.dual, machine.dual[order], rtol=1e-7, atol=1e-9 * machine.dual.max())


@steady
@given(seeds, st.sampled_from([1.0, 1e3, 1e5]))
def test_free_intercept_absorbs_a_common_offset(seed, offset):
    features, labels = mixture(seed, 20, 30)
    machine = solve_svm(features @ features.T, labels)
    moved = solve_svm((features + offset) @ (features + offset).T, labels)
    np.testing.assert_allclose(
        moved.coefficients @ features, machine.coefficients @ features, atol=1e-14 * offset**2 + 1e-8
    )


@steady
@given(seeds, st.sampled_from(INTERCEPTS))
def test_swapping_the_classes_changes_signs(seed, intercept):
    features, labels = mixture(seed, 20, 30)
    gram, required = features @ features.T, np.where(labels > 0, 3.0, 1.0)
    machine, swapped = (solve_svm(gram, sign * labels, required, intercept=intercept) for sign in (1, -1))
    np.testing.assert_allclose(swapped.scores, -machine.scores, atol=1e-9)
    np.testing.assert_allclose(swapped.intercept, -machine.intercept, atol=1e-9)


def test_duplicates_share_their_weight():
    features, labels = mixture(8, 20, 30)
    machine = solve_svm(features @ features.T, labels)
    twice = np.repeat(np.arange(20), 2)
    doubled = solve_svm(features[twice] @ features[twice].T, labels[twice])
    np.testing.assert_allclose(doubled.coefficients @ features[twice], machine.coefficients @ features, atol=1e-9)
    halves = solve_svm(features[twice] @ features[twice].T, labels[twice], upper=0.01)
    whole = solve_svm(features @ features.T, labels, upper=0.02)
    np.testing.assert_allclose(halves.coefficients @ features[twice], whole.coefficients @ features, atol=1e-9)


def test_kernels_of_low_rank_and_of_full_rank():
    features, labels = mixture(11, 60, 2, signal=0.0)
    labels = np.where((features**2).sum(axis=1) > 1, 1.0, -1.0)  # a circle: separable by quadratics alone
    keep = np.abs((features**2).sum(axis=1) - 1) > 0.3
    features, labels = features[keep], labels[keep]
    linear = features @ features.T
    with pytest.raises(NotSeparable):
        solve_svm(linear, labels)
    quadratic = solve_svm((1 + linear) ** 2, labels)
    explicit = np.column_stack([features**2, np.sqrt(2) * features[:, :1] * features[:, 1:], np.sqrt(2) * features])
    w, b, _ = programs.margin_svm(explicit, labels)
    np.testing.assert_allclose(quadratic.coefficients @ explicit, w, atol=1e-6)
    np.testing.assert_allclose(quadratic.scores, explicit @ w + b, atol=1e-6)
    squares = (features**2).sum(axis=1)
    gaussian = solve_svm(np.exp(-5 * (squares[:, None] + squares - 2 * linear)), labels)
    assert (labels * gaussian.scores >= 1 - 1e-9).all()


# hard cases


def test_opposite_duplicates_are_not_separable():
    features = np.array([[0.3, 1.7], [0.3, 1.7], [5.0, 5.0]])
    with pytest.raises(NotSeparable) as excinfo:
        solve_svm(features @ features.T, [1, -1, 1])
    np.testing.assert_allclose(excinfo.value.weights, [0.5, 0.5, 0], atol=1e-12)
    rejects(excinfo, "not separable within float64", "combination of 2 rows", "take a soft margin or richer features")


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("num_examples", [4, 40, 200])
def test_contradictions_are_proved(num_examples, intercept):
    features, labels = mixture(num_examples, num_examples, 2, signal=0.0, prior=0.5)
    if num_examples == 4:
        features, labels = SQUARE - 0.5, CROSS
        if intercept == "none":
            features = np.array([[1.0, 1.0], [1.0, 1.0], [-1.0, 2.0], [2.0, -1.0]])
    with pytest.raises(NotSeparable) as excinfo:
        solve_svm(features @ features.T, labels, intercept=intercept)
    check_contradiction(features, labels, np.ones(len(labels)), intercept, excinfo.value)


def test_a_contradiction_can_be_had_without_intercept_only():
    features = np.array([[1.0], [2.0]])
    assert solve_svm(features @ features.T, [1, -1]).norm == pytest.approx(2.0)
    with pytest.raises(NotSeparable):
        solve_svm(features @ features.T, [1, -1], intercept="none")


@pytest.mark.parametrize("gap", [1.0, 1e-2, 1e-3, 1e-9])
def test_nearly_touching_classes(gap):
    """A certified machine while float64 resolves the margin, a plain error after that, never a wrong one."""
    features = np.array([[0.0, 0.0], [0.0, 1.0], [gap, 0.0], [gap, 2.0]])
    try:
        machine = solve_svm(features @ features.T, SIGNS)
    except (NotConverged, NotSeparable):
        assert gap < 1e-5
    else:
        assert gap > 1e-5
        np.testing.assert_allclose(machine.norm, 2 / gap, rtol=1e-8)


def test_a_top_direction_that_the_probe_misses():
    """The descent's first step is too long for these rows; it must not run away."""
    features, labels = mixture(36303208, 4, 2, signal=0.5, prior=0.5)
    machine = solve_svm(features @ features.T, labels, intercept="none")
    check_optimal(features, labels, np.ones(4), "none", None, machine)
    assert machine.support.tolist() == [0, 1]


def test_all_features_zero():
    with pytest.raises(NotSeparable) as excinfo:
        solve_svm(np.zeros((3, 3)), [1, -1, -1])
    assert excinfo.value.residual == 0
    assert excinfo.value.reach == np.inf
    machine = solve_svm(np.zeros((3, 3)), [1, -1, -1], upper=1.0)
    assert machine.norm == 0
    np.testing.assert_allclose(machine.scores, -1)  # two against one
    np.testing.assert_allclose(machine.certificate.primal, 2)


@pytest.mark.parametrize("cost", [1e-6, 1e-3, 1e6])
def test_soft_margins_from_nearly_nothing_to_nearly_hard(cost):
    features, labels = mixture(2, 60, 100, prior=0.2)
    machine = solve_svm(features @ features.T, labels, upper=cost)
    assert machine.certificate.gap <= 1e-9
    if cost == 1e6:
        np.testing.assert_allclose(machine.dual, solve_svm(features @ features.T, labels).dual, atol=1e-9)
    else:
        assert machine.dual[labels > 0] == pytest.approx(cost)


def test_bounds_of_each_example():
    features, labels = mixture(4, 40, 5, signal=1.0)
    bounds = np.linspace(0.1, 2.0, 40)
    machine = solve_svm(features @ features.T, labels, upper=bounds)
    w, _, certificate = programs.margin_svm(features, labels, upper=bounds)
    np.testing.assert_allclose(machine.coefficients @ features, w, atol=1e-6)
    np.testing.assert_allclose(machine.certificate.primal, certificate.value, rtol=1e-8)


# input


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ((np.eye(4), SIGNS, 1.0, "fre"), ("'fre'", "did you mean free?")),
        ((np.eye(4)[:3], SIGNS), ("square", "(3, 4)")),
        ((np.full((4, 4), np.nan), SIGNS), ("finite",)),
        ((np.triu(np.ones((4, 4))), SIGNS), ("symmetric",)),
        ((np.eye(4), [1, 1, 1, 1]), ("both present", "[1]")),
        ((np.eye(4), [1, 0, 1, 0]), ("+1 and -1", "[0, 1]")),
        ((np.eye(4), [1, -1]), ("(2,)",)),
        ((np.eye(4), SIGNS, 0.0), ("required", "0.0")),
        ((np.eye(4), SIGNS, np.ones(3)), ("required", "(3,)")),
        ((np.eye(4), SIGNS, 1.0, "free", -1.0), ("upper", "-1.0")),
        ((-np.eye(4), SIGNS, 1.0, "free", 1.0), ("positive semidefinite",)),
    ],
)
def test_binary_input(arguments, shown):
    gram, labels, required, intercept, upper = (*arguments, *(1.0, "free", None)[len(arguments) - 2 :])
    with pytest.raises(InputError) as excinfo:
        solve_svm(gram, labels, required, intercept=intercept, upper=upper)
    rejects(excinfo, *shown)


# the programs


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0])
def test_program_on_a_square(ratio):
    w, b, certificate = programs.cost_sensitive_svm(SQUARE, SIGNS, ratio)
    scores = SIGNS * (SQUARE @ w + b)
    np.testing.assert_allclose(scores, [ratio, ratio, 1, 1], atol=1e-6)
    np.testing.assert_allclose(w, [(1 + ratio) / 2, 0], atol=1e-6)
    np.testing.assert_allclose(certificate.value, ((1 + ratio) / 2) ** 2 / 2, rtol=1e-6)
    assert certificate.bound <= certificate.value


def test_program_intercepts():
    w, b, _ = programs.cost_sensitive_svm(SQUARE, SIGNS, 3.0, intercept="none")
    assert abs(b) < 1e-8
    np.testing.assert_allclose(w, [3, 0], atol=1e-5)
    w, b, _ = programs.cost_sensitive_svm(SQUARE, SIGNS, 3.0, intercept="penalised")
    np.testing.assert_allclose([*w, b], [2, 0, 1], atol=1e-5)  # |(w, b)|² is least where both constraints bind


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"intercept": "fre"}, ("'fre'", "did you mean free?")),
        ({"margin_ratio": 0.0}, ("margin_ratio", "0.0")),
        ({"margin_ratio": -1.0}, ("margin_ratio", "-1.0")),
    ],
)
def test_program_rejects(settings, shown):
    with pytest.raises(InputError) as excinfo:
        programs.cost_sensitive_svm(SQUARE, SIGNS, **settings)
    rejects(excinfo, *shown)


def test_program_without_a_solution():
    with pytest.raises(Infeasible):
        programs.cost_sensitive_svm(SQUARE, CROSS)


def test_public_names():
    for name in svm.__all__:
        assert getattr(svm, name) is not None
    assert replace(solve_svm(SQUARE @ SQUARE.T, SIGNS), norm=0.0).norm == 0
