"""The SVMs: the fast solver against cvxpy, piqp and arithmetic; degenerate data; the path; separability."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import piqp
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from tailbound.theory.core.convex import Infeasible
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.fixed_point import NotConverged
from tailbound.theory.vs_loss import active_set, programs, rows, svm
from tailbound.theory.vs_loss.separability import separability
from tailbound.theory.vs_loss.svm import (
    INTERCEPTS,
    NotSeparable,
    margin_ratio_path,
    solve_multiclass_svm,
    solve_rows,
    solve_svm,
)

SQUARE = np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0], [-1.0, 1.0]])
SIGNS = np.array([1, 1, -1, -1])
CROSS = np.array([1, -1, -1, 1])

seeds = st.integers(0, 2**32 - 1)
steady = settings(deadline=None, max_examples=150)
few = settings(deadline=None, max_examples=25)


def rejects(excinfo, *shown) -> None:
    text = str(excinfo.value)
    assert "\n" not in text
    assert len(text) < 300
    for piece in shown:
        assert piece in text


def mixture(seed, num_examples, dimension, *, prior=0.25, signal=2.0):
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(num_examples) < prior, 1.0, -1.0)
    labels[:2] = 1, -1
    features = rng.standard_normal((num_examples, dimension))
    features[:, 0] += signal * labels
    return features, labels


@st.composite
def problems(draw, *, soft=True):
    """Small problems of every kind: generic, integers, duplicates, low rank, an offset."""
    seed, n, d = draw(seeds), draw(st.integers(2, 24)), draw(st.integers(1, 12))
    features, labels = mixture(seed, n, d, signal=draw(st.sampled_from([0.0, 1.0, 4.0])))
    kind = draw(st.sampled_from(["generic", "integers", "duplicates", "low rank", "offset"]))
    if kind == "integers":
        features = np.rint(features)
    elif kind == "duplicates":
        twice = np.random.default_rng(seed).integers(n, size=n)
        twice[:2] = 0, 1
        features, labels = features[twice], labels[twice]
    elif kind == "low rank":
        features = features[:, :1] * np.arange(1, d + 1)
    elif kind == "offset":
        features = features + 100.0
    required = np.where(labels > 0, draw(st.sampled_from([1.0, 0.05, 20.0])), 1.0)
    upper = draw(st.sampled_from([None, 0.01, 1.0, 100.0] if soft else [None]))
    return features, labels, required, draw(st.sampled_from(INTERCEPTS)), upper


def check_optimal(features, labels, required, intercept, upper, machine):
    """The conditions of optimality, from the features, with none of the solver's own numbers but (dual, b)."""
    w, b, dual = (machine.dual * labels) @ features, machine.intercept, machine.dual
    size = 1 + np.abs(features).max() ** 2 * dual.sum() * features.shape[1]
    tolerance = 1e-9 * required.max() + 1e-13 * size
    surplus = labels * (features @ w + b) - required
    assert (dual >= 0).all()
    capped = np.zeros(len(dual), dtype=bool)
    if upper is not None:
        assert (dual <= upper).all()
        capped = dual == upper
    assert (surplus[~capped] >= -tolerance).all()
    assert (surplus[capped] <= tolerance).all()
    inner = (dual > 0) & ~capped
    assert (np.abs(surplus[inner]) <= tolerance).all()
    balance = dual @ labels
    if intercept == "free":
        assert abs(balance) <= 1e-12 * dual.sum()
    else:
        assert b == pytest.approx(balance if intercept == "penalised" else 0.0, abs=1e-9 * (1 + dual.sum()))
    rounding = 1e-14 * features.shape[1] * (np.abs(features).max() * dual.sum()) ** 2  # of the Gram matrix
    np.testing.assert_allclose(machine.norm**2, w @ w, rtol=1e-9, atol=rounding)
    np.testing.assert_allclose(machine.scores, features @ w + b, atol=tolerance)


def check_contradiction(features, labels, required, intercept, error):
    """The weights of `NotSeparable`, from the features."""
    weights = error.weights
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(), 1)
    combined = (weights * labels) @ features
    length = weights @ np.linalg.norm(features, axis=1)
    squared = combined @ combined
    if intercept == "penalised":
        squared += (weights @ labels) ** 2
        length += 1
    assert np.sqrt(squared) <= 2e-7 * length
    assert error.residual >= 0.99 * np.sqrt(squared) - 1e-8 * length
    if intercept == "free":
        assert abs(weights @ labels) <= 1e-12
    if error.residual > 0:
        np.testing.assert_allclose(error.reach, required @ weights / error.residual)


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


# the path


@steady
@given(seeds, st.lists(st.floats(0.05, 50), min_size=1, max_size=4))
def test_path_is_what_separate_solves_find(seed, ratios):
    features, labels = mixture(seed, 20, 30)
    gram = features @ features.T
    path = margin_ratio_path(solve_svm(gram, labels), ratios)
    for r, ratio in enumerate(ratios):
        machine = solve_svm(gram, labels, np.where(labels > 0, ratio, 1.0))
        np.testing.assert_allclose(path.coefficients[r], machine.coefficients, atol=1e-8 * machine.dual.max())
        np.testing.assert_allclose(path.intercepts[r], machine.intercept, atol=1e-8 * (1 + ratio))
        np.testing.assert_allclose(path.norms[r], machine.norm, rtol=1e-9)


def test_path_takes_one_number_and_costs_no_solve(monkeypatch):
    machine = solve_svm(SQUARE @ SQUARE.T, SIGNS)
    monkeypatch.setattr(rows, "minimise", None)
    path = margin_ratio_path(machine, 3.0)
    assert path.coefficients.shape == (1, 4)
    np.testing.assert_allclose(path.coefficients @ SQUARE, [[2.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose([*path.intercepts, *path.norms], [1.0, 2.0])


@pytest.mark.parametrize(
    "settings", [{"intercept": "none"}, {"intercept": "penalised"}, {"upper": 9.0}, {"required": 2.0}]
)
def test_path_refuses_other_machines(settings):
    machine = solve_svm(SQUARE @ SQUARE.T, SIGNS, **settings)
    with pytest.raises(InputError) as excinfo:
        margin_ratio_path(machine, [1.0])
    rejects(excinfo, "free intercept", "solve each ratio by itself")


# rows, groups, many classes


def test_two_classes_are_a_special_case_of_many():
    features, labels = mixture(6, 30, 40)
    gram = features @ features.T
    binary = solve_svm(gram, labels, 2.0)
    several = solve_multiclass_svm(gram, (labels > 0).astype(int), 2.0)
    np.testing.assert_allclose(several.coefficients[:, 1] * 2, binary.coefficients, atol=1e-9)
    np.testing.assert_allclose(several.scores[:, 1] - several.scores[:, 0], binary.scores, atol=1e-9)
    np.testing.assert_allclose(several.norm * np.sqrt(2), binary.norm, rtol=1e-9)


@pytest.mark.parametrize("upper", [None, 0.5])
@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("delta", [None, (0.3, 1.0, 2.0)])
def test_many_classes_are_those_of_cvxpy(delta, intercept, upper):
    rng = np.random.default_rng(1)
    labels = np.arange(24) % 3
    features = rng.standard_normal((24, 30))
    required = 1 + 2.0 * (labels == 0)
    found = solve_multiclass_svm(features @ features.T, labels, required, delta=delta, intercept=intercept, upper=upper)
    W, b, certificate = programs.multiclass_svm(
        features, labels, required, delta=delta, intercept=intercept, upper=upper
    )
    np.testing.assert_allclose(found.coefficients.T @ features, W, atol=1e-6)
    np.testing.assert_allclose(found.intercept, b, atol=1e-6)
    np.testing.assert_allclose(found.scores, features @ W.T + b, atol=1e-6)
    np.testing.assert_allclose(found.norm, np.linalg.norm(W), rtol=1e-7)
    np.testing.assert_allclose(found.certificate.primal, certificate.value, rtol=1e-8)
    assert (found.dual[np.arange(24), labels] == 0).all()


def test_required_margins_of_classes_and_of_their_examples():
    rng = np.random.default_rng(2)
    labels, features = np.arange(12) % 3, rng.standard_normal((12, 20))
    gram = features @ features.T
    by_class = solve_multiclass_svm(gram, labels, [3.0, 1.0, 0.5])
    by_example = solve_multiclass_svm(gram, labels, np.array([3.0, 1.0, 0.5])[labels])
    np.testing.assert_array_equal(by_class.dual, by_example.dual)
    others = by_class.scores - np.where(np.arange(3) == labels[:, None], np.inf, 0)
    own = by_class.scores[np.arange(12), labels]
    least = [(own - others.max(axis=1))[labels == k].min() for k in range(3)]
    np.testing.assert_allclose(least, [3.0, 1.0, 0.5], atol=1e-9)


def test_classes_that_cannot_be_told_apart():
    features = np.array([[1.0], [1.0], [2.0]])
    with pytest.raises(NotSeparable):
        solve_multiclass_svm(features @ features.T, np.array([0, 1, 2]))


@few
@given(seeds)
@example(62610)  # the first steps run away
def test_rows_with_several_intercepts(seed):
    """Any border: the conditions of optimality, written out."""
    rng = np.random.default_rng(seed)
    features, border = rng.standard_normal((15, 20)), rng.standard_normal((15, 3))
    found = solve_rows(features @ features.T, 1.0, border=border)
    w = found.dual @ features
    margins = features @ w + border @ found.multipliers
    np.testing.assert_allclose(found.margins, margins, atol=1e-9)
    assert (margins >= 1 - 1e-9).all()
    assert (found.dual >= 0).all()
    np.testing.assert_allclose(border.T @ found.dual, 0, atol=1e-11)
    np.testing.assert_allclose(found.dual @ (margins - 1), 0, atol=1e-9)


def test_group_margins_turn_the_machine():
    features, labels = mixture(9, 30, 40)
    members = np.arange(30) % 4 == 0
    machine = solve_svm(features @ features.T, labels, np.where(members, 3.0, 1.0))
    check_optimal(features, labels, np.where(members, 3.0, 1.0), "free", None, machine)
    plain = solve_svm(features @ features.T, labels)
    w, v = machine.coefficients @ features, plain.coefficients @ features
    assert w @ v / np.linalg.norm(w) / np.linalg.norm(v) < 0.99


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


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"labels": [0, 2, 2]}, ("missing [1]", "K = 3")),
        ({"labels": [0, 0, 0]}, ("K = 1",)),
        ({"labels": [0.5, 1.0, 2.0]}, ("integers",)),
        ({"delta": (1.0, 2.0)}, ("3 classes", "(2,)")),
        ({"delta": (1.0, 0.0, 2.0)}, ("delta", "0.0")),
        ({"intercept": "no"}, ("'no'",)),
    ],
)
def test_multiclass_input(settings, shown):
    with pytest.raises(InputError) as excinfo:
        solve_multiclass_svm(np.eye(3), **({"labels": [0, 1, 2]} | settings))
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


# separability


def exact_combination(features, labels, weights, *, intercept):
    """Σ a_i y_i (x_i, 1) in rationals, with the float weights as they are."""
    signed = [Fraction(float(a)) * int(y) for a, y in zip(weights, labels, strict=True)]
    columns = [*np.asarray(features).T, *([np.ones(len(labels))] if intercept else [])]
    return [sum(s * Fraction(float(x)) for s, x in zip(signed, column, strict=True)) for column in columns]


@steady
@given(seeds, st.integers(2, 30), st.integers(1, 6), st.booleans(), st.sampled_from([0, 1, 2]), st.booleans())
def test_separability_is_proved_either_way(seed, n, d, integers, signal, intercept):
    features, labels = mixture(seed, n, d, signal=signal, prior=0.5)
    if integers:
        features = np.rint(2 * features)
    proof = separability(features, labels, intercept=intercept)
    if proof.separable:
        np.testing.assert_allclose(np.linalg.norm(proof.weights), 1)
        assert intercept or proof.intercept == 0
        w, b = [Fraction(float(each)) for each in proof.weights], Fraction(proof.intercept)
        least = min(
            int(y) * (sum(Fraction(float(c)) * v for c, v in zip(x, w, strict=True)) + b)
            for x, y in zip(features, labels, strict=True)
        )  # without rounding
        assert least >= Fraction(proof.margin) > 0
    else:
        assert (proof.combination >= 0).all()
        np.testing.assert_allclose(proof.combination.sum(), 1)
        assert proof.exact == integers
        worst = max(
            abs(float(each)) for each in exact_combination(features, labels, proof.combination, intercept=intercept)
        )
        assert worst <= 1e-11 * (1 + np.abs(features).max())


@steady
@given(seeds, st.integers(4, 40), st.booleans())
def test_separability_agrees_with_the_machine(seed, n, intercept):
    features, labels = mixture(seed, n, max(1, n // 2), signal=0.5, prior=0.5)
    try:
        machine = solve_svm(features @ features.T, labels, intercept="free" if intercept else "none")
    except NotSeparable:
        machine = None
    except NotConverged:
        assume(False)
    proof = separability(features, labels, intercept=intercept)
    assert proof.separable == (machine is not None)
    if machine is not None:
        assert proof.margin <= 1 / machine.norm * (1 + 1e-9)  # the machine's is the largest


def test_exact_weights_are_exact():
    points = np.array([[0, 0], [3, 0], [0, 3], [1, 1]])
    proof = separability(points, [-1, -1, -1, 1])
    assert not proof.separable
    assert proof.exact
    assert proof.residual == 0
    np.testing.assert_allclose(proof.combination, [1 / 6, 1 / 6, 1 / 6, 1 / 2], rtol=1e-15)
    moved = separability(points + 0.1, [-1, -1, -1, 1], exact=True)  # floats are rationals too
    assert moved.exact
    np.testing.assert_allclose(moved.combination, proof.combination, rtol=1e-12)


@pytest.mark.parametrize("margin", [1e-3, 1e-6, 1e-9, 1e-12])
def test_tiny_margins_are_still_found(margin):
    points = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 1.0 + margin], [2.0, 2.0 + margin]])
    proof = separability(points, SIGNS)
    assert proof.separable
    assert 0 < proof.margin <= margin


@pytest.mark.parametrize(
    ("features", "labels", "shown"),
    [
        (np.ones(3), [1, -1, 1], ("(n, d)", "(3,)")),
        (np.full((2, 2), np.inf), [1, -1], ("finite",)),
        (np.ones((2, 2)), [1, 1], ("both present",)),
        (np.ones((2, 2)), [1, -1, 1], ("2 of +1 and -1",)),
    ],
)
def test_separability_input(features, labels, shown):
    with pytest.raises(InputError) as excinfo:
        separability(features, labels)
    rejects(excinfo, *shown)


def test_public_names():
    for name in svm.__all__:
        assert getattr(svm, name) is not None
    assert replace(solve_svm(SQUARE @ SQUARE.T, SIGNS), norm=0.0).norm == 0
