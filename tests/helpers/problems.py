"""Convex programs of every cone, each with its optimum."""

import cvxpy as cp
import numpy as np

WEIGHTS = np.array([0.2, 0.3, 0.5])
TRIDIAGONAL = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 1.0], [0.0, 1.0, 2.0]])


def linear():
    x = cp.Variable(3)
    return cp.Problem(cp.Minimize(cp.sum(x)), [x >= [1, 2, 3]]), 6.0


def linear_maximum():
    x = cp.Variable(3)
    return cp.Problem(cp.Maximize(cp.sum(x) + 5), [x <= [1, 2, 3], x >= -1]), 11.0


def quadratic():
    x = cp.Variable(2)  # full P; with x = (a, −a) the objective is a² + a
    objective = cp.quad_form(x, np.array([[2.0, 1.0], [1.0, 2.0]])) / 2 - np.array([1.0, 2.0]) @ x
    return cp.Problem(cp.Minimize(objective), [cp.sum(x) <= 0]), -0.25


def quadratic_unconstrained():
    return cp.Problem(cp.Minimize(cp.sum_squares(cp.Variable(3) - 1) + 7)), 7.0


def second_order():
    x = cp.Variable(3)
    return cp.Problem(cp.Minimize([1, 2, 2] @ x), [cp.norm(x) <= 2]), -6.0


def semidefinite():
    X = cp.Variable((3, 3), symmetric=True)
    return cp.Problem(cp.Maximize(cp.trace(TRIDIAGONAL @ X)), [X >> 0, cp.trace(X) == 1]), 2 + 2**0.5


def semidefinite_dual():
    t = cp.Variable()
    return cp.Problem(cp.Minimize(t + 1), [t * np.eye(3) - TRIDIAGONAL >> 0]), 3 + 2**0.5


def semidefinite_sparse():
    # A path of 12 nodes: Clarabel splits the cone along it, so this holds the dual point it puts together.
    u = cp.Variable(12)
    path = (np.eye(12, k=1) + np.eye(12, k=-1)) / 2
    return cp.Problem(cp.Minimize(cp.sum(u)), [cp.diag(u) + path >> 0]), 11.0


def log_determinant():
    S = cp.Variable((2, 2), PSD=True)
    return cp.Problem(cp.Minimize(cp.trace(S @ np.diag([2.0, 4.0])) - cp.log_det(S))), 2 + np.log(8)


def exponential_entropy():
    x = cp.Variable(3)
    return cp.Problem(cp.Maximize(cp.sum(cp.entr(x))), [cp.sum(x) == 1]), np.log(3)


def exponential_cross_entropy():
    x = cp.Variable(3)
    return cp.Problem(cp.Minimize(cp.log_sum_exp(x) - WEIGHTS @ x), [x[0] == 0]), -WEIGHTS @ np.log(WEIGHTS)


def power():
    x = cp.Variable(2)
    return cp.Problem(cp.Minimize(cp.sum(cp.power(x, 3.3, approx=False))), [cp.sum(x) == 1]), 2 * 0.5**3.3


def power_cone():
    x, z = cp.Variable(2), cp.Variable()
    cone = cp.PowCone3D(x[0], x[1], z, 0.3)
    return cp.Problem(cp.Maximize(z), [cone, cp.sum(x) == 1]), 0.3**0.3 * 0.7**0.7


def power_reciprocal():
    x = cp.Variable(3)
    return cp.Problem(cp.Minimize(cp.inv_pos(x) @ WEIGHTS), [cp.sum(x) == 1]), np.sqrt(WEIGHTS).sum() ** 2


KNOWN = [
    linear,
    linear_maximum,
    quadratic,
    quadratic_unconstrained,
    second_order,
    semidefinite,
    semidefinite_dual,
    semidefinite_sparse,
    log_determinant,
    exponential_entropy,
    exponential_cross_entropy,
    power,
    power_cone,
    power_reciprocal,
]
