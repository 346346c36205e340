"""The judge of convex programs: known optima are reproduced and bounded, wrong answers are refused by name."""

import pickle
from types import SimpleNamespace

import cvxpy as cp
import numpy as np
import pytest
from cvxpy.reductions.solvers.solving_chain import SolvingChain
from helpers.problems import KNOWN, WEIGHTS, linear, power_cone, second_order, semidefinite_dual
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from tailbound.theory.core import convex
from tailbound.theory.core.errors import InputError


def conic(problem):
    """The conic data of a problem with Clarabel's own solution of it."""
    data, chain, _ = problem.get_problem_data(cp.CLARABEL, solver_opts={})
    options = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-10)
    solution = chain.solve_via_data(problem, data, solver_opts=options)
    return data, np.array(solution.x), np.array(solution.z)


@pytest.mark.parametrize("example", KNOWN)
def test_known_optimum(example):
    problem, optimum = example()
    proof = convex.solve(problem)
    assert proof.value == pytest.approx(optimum, abs=1e-8)
    sign = -1 if isinstance(problem.objective, cp.Maximize) else 1
    assert sign * proof.bound <= sign * optimum
    assert sign * proof.bound <= sign * proof.value
    assert proof.gap == abs(proof.value - proof.bound) < 1e-8 * max(1, abs(optimum))
    assert 0 <= proof.feasibility < 1e-8
    assert 0 <= proof.stationarity < 1e-8
    assert all(type(number) is float for number in vars(proof).values())
    assert problem.value == proof.value
    assert problem.status == cp.OPTIMAL


def test_variables_and_duals_hold_their_values():
    x = cp.Variable(2)
    constraint = cp.sum(x) == 1
    convex.solve(cp.Problem(cp.Minimize(cp.sum_squares(x)), [constraint]))
    np.testing.assert_allclose(x.value, 0.5, atol=1e-9)
    np.testing.assert_allclose(abs(constraint.dual_value), 1.0, atol=1e-9)


def test_argument_is_tighter_than_at_clarabels_default():
    x = cp.Variable(3)
    problem = cp.Problem(cp.Minimize(cp.log_sum_exp(x) - WEIGHTS @ x), [x[0] == 0])
    best = np.log(WEIGHTS / WEIGHTS[0])
    problem.solve(solver=cp.CLARABEL)
    default_error = np.abs(x.value - best).max()
    convex.solve(problem)
    error = np.abs(x.value - best).max()
    assert error < 1e-6 < 1e-5 < default_error


def test_parameters_and_a_second_solve():
    x, total = cp.Variable(2), cp.Parameter()
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x)), [cp.sum(x) == total])
    for total.value in (1.0, 3.0):
        assert convex.solve(problem).value == pytest.approx(total.value**2 / 2, abs=1e-9)


def test_nothing_is_left_of_an_earlier_solve():
    x, most = cp.Variable(), cp.Parameter(value=2.0)
    problem = cp.Problem(cp.Minimize(x), [x >= 1, x <= most])
    convex.solve(problem)
    most.value = 0.0
    with pytest.raises(convex.Infeasible):
        convex.solve(problem)
    assert x.value is None
    assert problem.value is None


# Wrong answers that call themselves optimal


@pytest.mark.parametrize("example", KNOWN)
def test_certify_refuses_an_infeasible_point(example):
    problem, _ = example()
    data, x, z = conic(problem)
    step = 1e-3 * np.random.default_rng(0).normal(size=x.size)
    refusals = []
    for wrong in (x + step, x - step):  # every example is held by its constraints: one of the two leaves them
        with pytest.raises(convex.ConvexError, match="tolerance 1e-08") as refusal:
            convex.certify(data, wrong, z)
        refusals.append(str(refusal.value))
    assert "primal feasibility" in " ".join(refusals)


@pytest.mark.parametrize("example", KNOWN)
def test_certify_refuses_a_wrong_dual(example):
    problem, _ = example()
    data, x, z = conic(problem)
    with pytest.raises(convex.ConvexError, match="stationarity"):
        convex.certify(data, x, z + 1e-3 * np.random.default_rng(0).normal(size=z.size))


def test_certify_refuses_a_suboptimal_point():
    data, x, z = conic(linear()[0])
    with pytest.raises(convex.ConvexError, match=r"check of duality gap 5\.0e-05 \("):
        convex.certify(data, x + 1e-4, z)  # x >= (1, 2, 3) still holds
    assert convex.certify(data, x + 1e-4, z, tolerance=1e-3).gap == pytest.approx(3e-4, rel=1e-3)


@pytest.mark.parametrize("example", KNOWN)
def test_bound_stays_below_the_optimum_whatever_the_point(example):
    # Loosely accepted points far from optimal, dual points far from K*: the bound may be poor, never too high.
    problem, optimum = example()
    data, x, z = conic(problem)
    best = convex.certify(data, x, z).value
    rng = np.random.default_rng(1)
    for size in (1e-6, 1e-4, 1e-2, 1e-1):
        proof = convex.certify(
            data, x + size * rng.normal(size=x.size), z + size * rng.normal(size=z.size), tolerance=np.inf
        )
        assert proof.bound <= best + 1e-9 * max(1, abs(optimum))
        assert proof.bound <= proof.value


@pytest.mark.parametrize(
    ("example", "outside"),
    [
        (linear, [-1.0, 1.0, 1.0]),
        (second_order, [1.0, 1.0, 2.0, 0.0, 0.0]),
        (semidefinite_dual, [1.0, 2.0, 1.0, 0.0, 0.0, 1.0]),
        (power_cone, [0.0, 0.1, 0.1, 1.0]),
    ],
)
def test_certify_names_a_dual_point_outside_its_cone(example, outside):
    data, x, _ = conic(example()[0])
    with pytest.raises(convex.ConvexError, match="dual feasibility"):
        convex.certify(data, x, np.array(outside))


def svec_matrix(v):
    """The 2 x 2 matrix of Clarabel's scaled triangle."""
    return np.array([[v[0], v[1] / 2**0.5], [v[1] / 2**0.5, v[2]]])


def power_mean(v, weights):
    return np.prod(np.maximum(v[:-1], 0) ** np.array(weights)) if min(v[:-1]) >= 0 else -1.0


# By its textbook definition: how far inside K and K* a point lies, >= 0 when it belongs.
CONES = {
    "soc": ([3], lambda v: v[0] - np.hypot(v[1], v[2]), lambda v: v[0] - np.hypot(v[1], v[2])),
    "psd": ([2], lambda v: np.linalg.eigvalsh(svec_matrix(v))[0], lambda v: np.linalg.eigvalsh(svec_matrix(v))[0]),
    "exp": (
        1,
        lambda v: v[2] - v[1] * np.exp(v[0] / v[1]) if v[1] > 0 else -1.0,
        lambda v: np.e * v[2] + v[0] * np.exp(v[1] / v[0]) if v[0] < 0 else -1.0,
    ),
    "p3d": (
        [0.3],
        lambda v: power_mean(v, (0.3, 0.7)) - abs(v[2]),
        lambda v: power_mean(v / [0.3, 0.7, 1], (0.3, 0.7)) - abs(v[2]),
    ),
    "pnd": (
        [[0.2, 0.8]],
        lambda v: power_mean(v, (0.2, 0.8)) - abs(v[2]),
        lambda v: power_mean(v / [0.2, 0.8, 1], (0.2, 0.8)) - abs(v[2]),
    ),
}


@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("cone", CONES)
def test_shift_is_the_least_that_enters_the_cone(cone, dual):
    size, *definitions = CONES[cone]
    depth = definitions[dual]
    dims = SimpleNamespace(**{"zero": 0, "nonneg": 0, "soc": [], "psd": [], "exp": 0, "p3d": [], "pnd": [], cone: size})
    rng = np.random.default_rng(2)
    inside = 0
    for v in rng.normal(size=(200, 3)):
        (shift,), direction = convex._shift(v, dims, dual=dual)
        assert depth(v + (shift + 1e-9) * direction) >= 0
        if shift:
            assert depth(v + (shift - 1e-7) * direction) < 0
        inside += shift == 0
    assert 0 < inside < 200


def interval():
    """Minimise x over 0 <= x <= 5."""
    x = cp.Variable()
    return cp.Problem(cp.Minimize(x), [x >= 0, x <= 5])


def test_bound_rests_on_a_dual_point_inside_its_cone():
    data, _, _ = conic(interval())
    shortcut = np.array([1 - 1e-6, -1e-6])  # stationary, and −b'z = 5e-6 lies above the minimum 0
    np.testing.assert_array_equal(data["A"].T @ shortcut + data["c"], 0)
    assert convex.certify(data, [1e-5], shortcut, tolerance=1e-4).bound <= 0


def test_bound_never_passes_the_value_of_a_slightly_infeasible_point():
    data, _, z = conic(interval())
    proof = convex.certify(data, [-1e-6], z, tolerance=1e-4)
    assert proof.bound <= proof.value < 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_certify_refuses_points_that_are_not_finite(bad):
    data, x, z = conic(linear()[0])
    with pytest.raises(convex.ConvexError, match="primal point must be 3 finite"):
        convex.certify(data, [bad, 1, 2], z)
    with pytest.raises(convex.ConvexError, match="dual point must be 3 finite"):
        convex.certify(data, x, [bad, 1, 2])
    with pytest.raises(convex.ConvexError, match="dual point"):
        convex.certify(data, x, z[:2])


def test_indefinite_quadratic_is_refused_although_cvxpy_was_told_otherwise():
    x = cp.Variable(2)
    saddle = cp.quad_form(x, np.array([[1.0, 2.0], [2.0, 1.0]]), assume_PSD=True)
    with pytest.raises(convex.ConvexError, match=r"convexity 3\.3e-01"):
        convex.solve(cp.Problem(cp.Minimize(saddle + cp.sum(cp.exp(x))), [x >= 1, x <= 5]))


def lie(monkeypatch, change):
    """Let the solver chain report a changed solution, with the status the change leaves or sets."""
    honest = SolvingChain.solve_via_data

    def dishonest(self, *args, **kwargs):
        found = honest(self, *args, **kwargs)
        fields = ("x", "s", "z", "obj_val", "obj_val_dual", "solve_time", "iterations")
        solution = SimpleNamespace(status=str(found.status), **{name: getattr(found, name) for name in fields})
        change(solution)
        return solution

    monkeypatch.setattr(SolvingChain, "solve_via_data", dishonest)


@pytest.mark.parametrize(
    ("field", "step", "check"),
    [("x", -1e-4, "primal feasibility"), ("x", 1e-4, "duality gap"), ("z", 1e-4, "stationarity")],
)
def test_solve_refuses_a_wrong_optimal_point(monkeypatch, field, step, check):
    lie(monkeypatch, lambda solution: setattr(solution, field, list(np.array(getattr(solution, field)) + step)))
    problem, _ = linear()
    with pytest.raises(convex.ConvexError, match=check):
        convex.solve(problem)
    assert problem.value is None
    assert all(variable.value is None for variable in problem.variables())


def test_solve_ignores_the_objective_the_solver_reports(monkeypatch):
    lie(monkeypatch, lambda solution: setattr(solution, "obj_val", -123.0))
    assert convex.solve(linear()[0]).value == pytest.approx(6.0)


def test_solve_refuses_a_false_claim_of_infeasibility(monkeypatch):
    lie(monkeypatch, lambda solution: setattr(solution, "status", "PrimalInfeasible"))
    with pytest.raises(convex.ConvexError, match="Farkas") as refusal:
        convex.solve(linear()[0])
    assert not isinstance(refusal.value, convex.Infeasible)


@pytest.mark.parametrize(
    ("status", "named"),
    [
        ("AlmostSolved", "optimal_inaccurate"),
        ("AlmostPrimalInfeasible", "infeasible_inaccurate"),
        ("MaxIterations", "user_limit"),
        ("NumericalError", "solver_error"),
        ("SomethingNew", "solver_error"),
        ("DualInfeasible", "unbounded"),
    ],
)
def test_solve_accepts_no_other_status(monkeypatch, status, named):
    lie(monkeypatch, lambda solution: setattr(solution, "status", status))
    with pytest.raises(convex.ConvexError, match=f"status {named}.*; "):
        convex.solve(linear()[0])


def test_solve_compares_the_objective_with_its_conic_form(monkeypatch):
    problem, _ = linear()
    honest = SolvingChain.invert
    monkeypatch.setattr(SolvingChain, "invert", lambda *args: _shifted(honest(*args), 1e-4))
    with pytest.raises(convex.ConvexError, match=r"objective check failed.* is 6\.0003 where"):
        convex.solve(problem)
    assert problem.value is None


def test_bound_never_passes_the_objective_the_variables_reach(monkeypatch):
    honest = SolvingChain.invert
    monkeypatch.setattr(SolvingChain, "invert", lambda *args: _shifted(honest(*args), -1e-9))
    proof = convex.solve(linear()[0])
    assert proof.bound <= proof.value < 6 - 1e-9


def _shifted(solution, step):
    solution.primal_vars = {name: value + step for name, value in solution.primal_vars.items()}
    return solution


# Infeasible, unbounded, and problems that are no problem for this module


def infeasible_linear():
    x = cp.Variable(2)
    return cp.Problem(cp.Minimize(x[0]), [cp.sum(x) >= 1, x <= 0.4])


def infeasible_ball():
    x = cp.Variable(3)
    return cp.Problem(cp.Maximize(x[1]), [cp.norm(x) <= 1, x[0] == 1.001])


def infeasible_matrix():
    X = cp.Variable((2, 2), symmetric=True)
    return cp.Problem(cp.Minimize(0), [X >> 0, cp.diag(X) == 1, X[0, 1] >= 1.01])


@pytest.mark.parametrize("example", [infeasible_linear, infeasible_ball, infeasible_matrix])
def test_infeasible_comes_with_a_farkas_certificate(example):
    problem = example()
    with pytest.raises(convex.Infeasible, match="contradict") as refusal:
        convex.solve(problem)
    data, _, _ = problem.get_problem_data(cp.CLARABEL, solver_opts={})
    z, dims = refusal.value.farkas, data["dims"]
    assert data["b"] @ z == pytest.approx(-1)
    assert np.abs(data["A"].T @ z).sum() <= 1 / refusal.value.reach <= 1e-8
    inequalities, rest = np.split(z[dims.zero :], [dims.nonneg])
    assert (inequalities >= 0).all()
    for size in dims.soc:
        assert rest[0] >= np.linalg.norm(rest[1:size])
    for _ in dims.psd:  # of order 2
        assert rest[0] >= 0
        assert rest[0] * rest[2] >= rest[1] ** 2 / 2
    assert isinstance(pickle.loads(pickle.dumps(refusal.value)), convex.Infeasible)


def test_farkas_certificate_is_checked():
    data, _, _ = infeasible_linear().get_problem_data(cp.CLARABEL, solver_opts={})
    z, reach = convex.certify_infeasible(data, np.array([2.0, 2.0, 2.0]))
    assert data["b"] @ z == pytest.approx(-1)
    assert reach > 1e12
    for wrong in ([1.0, 1.0, 1.0001], [-1.0, -1.0, -1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 1.0]):
        with pytest.raises(convex.ConvexError, match="Farkas"):
            convex.certify_infeasible(data, np.array(wrong))
    with pytest.raises(convex.ConvexError, match="dual point must be 3 finite"):
        convex.certify_infeasible(data, [np.nan, 1.0, 1.0])


def test_unbounded_is_an_error():
    x = cp.Variable()
    with pytest.raises(convex.ConvexError, match="unbounded"):
        convex.solve(cp.Problem(cp.Maximize(x), [x >= 0]))


def test_an_infimum_nobody_attains_is_refused():
    x = cp.Variable(2)
    with pytest.raises(convex.ConvexError):
        convex.solve(cp.Problem(cp.Minimize(x[0]), [cp.quad_over_lin(1, x[0]) <= x[1]]))


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (cp.Problem(cp.Minimize(-cp.square(cp.Variable()))), "objective is not"),
        (cp.Problem(cp.Minimize(0), [cp.norm(cp.Variable(2)) >= 1]), "constraint 0 is not"),
        (cp.Problem(cp.Minimize(cp.Constant(3))), "must have a variable"),
        (cp.Problem(cp.Minimize(cp.Variable(integer=True))), "continuous"),
        (cp.Problem(cp.Minimize(cp.Parameter(name="level") + cp.Variable(pos=True))), "level has no value"),
        (cp.Problem(cp.Minimize(0), [cp.Variable(2) <= [1, np.inf]]), "finite numbers"),
    ],
)
def test_input_errors(problem, message):
    with pytest.raises(InputError, match=message) as refusal:
        convex.solve(problem)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("tolerance", [0, -1e-8, np.nan])
def test_tolerance_must_be_positive(tolerance):
    with pytest.raises(InputError, match="tolerance"):
        convex.solve(linear()[0], tolerance=tolerance)


# Random problems against another road


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 8))
def test_linear_programs_agree_with_highs(seed, dimension, rows):
    rng = np.random.default_rng(seed)
    A, c = rng.normal(size=(rows, dimension)), rng.normal(size=dimension)
    b = A @ rng.normal(size=dimension).clip(-1, 1) + rng.exponential(size=rows)
    x = cp.Variable(dimension)
    proof = convex.solve(cp.Problem(cp.Minimize(c @ x), [A @ x <= b, x >= -2, x <= 2]))
    optimum = linprog(c, A, b, bounds=(-2, 2), method="highs").fun
    assert proof.bound <= optimum + 1e-12 * max(1, abs(optimum))
    assert optimum <= proof.value + 1e-9 * max(1, abs(optimum))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 6), st.floats(-1e3, 1e3))
def test_quadratic_programs_agree_with_the_closed_form(seed, dimension, rows, offset):
    # minimise ½x'Qx + q'x + offset subject to Ax = b, through the KKT system
    rng = np.random.default_rng(seed)
    rows = min(rows, dimension)
    root = rng.normal(size=(dimension, dimension))
    Q, q = root @ root.T + np.eye(dimension), rng.normal(size=dimension)
    A, _ = np.linalg.qr(rng.normal(size=(dimension, rows)))
    A, b = A.T, rng.normal(size=rows)
    system = np.block([[Q, A.T], [A, np.zeros((rows, rows))]])
    best = np.linalg.solve(system, np.concatenate([-q, b]))[:dimension]
    optimum = best @ Q @ best / 2 + q @ best + offset
    x = cp.Variable(dimension)
    problem = cp.Problem(cp.Maximize(-(cp.quad_form(x, Q) / 2 + q @ x + offset)), [A @ x == b] if rows else [])
    proof = convex.solve(problem)
    scale = max(1, abs(optimum), abs(offset))
    assert proof.bound >= -optimum - 1e-12 * scale
    assert -optimum >= proof.value - 1e-9 * scale
    np.testing.assert_allclose(x.value, best, atol=1e-7)
