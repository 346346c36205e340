"""Damped iteration: converges where the map contracts, and otherwise says why not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tailbound.theory.core.errors import InputError
from tailbound.theory.core.fixed_point import NotConverged, iterate


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(-0.9, 0.9), damping=st.floats(0, 0.5))
def test_affine_contraction_reaches_the_solution_of_the_linear_system(seed, factor, damping):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    matrix, shift = factor * basis, rng.normal(size=4)
    found = iterate(lambda x: matrix @ x + shift, np.zeros(4), damping=damping)
    stated = np.linalg.solve(np.eye(4) - matrix, shift)
    # |x - stated| <= |residual| / (1 - |factor|) in the 2-norm, which is at most twice the largest of 4 entries
    bound = 2 * 1e-12 * max(1, np.abs(found.value).max()) / (1 - abs(factor))
    np.testing.assert_allclose(found.value, stated, rtol=1e-14, atol=bound)
    assert found.residual <= 1e-12
    step = matrix @ found.value + shift - found.value
    scale = max(1, np.abs(found.value).max())
    assert found.residual == pytest.approx(np.abs(step).max() / scale, rel=1e-6, abs=2e-15)


def test_iterations_count_the_evaluations_and_the_shape_is_kept():
    calls = []
    found = iterate(lambda x: (calls.append(1), x / 2 + 1)[1], np.zeros((2, 3)))
    assert found.iterations == len(calls)
    assert found.value.shape == (2, 3)
    assert iterate(np.cos, 1.0).value == pytest.approx(0.7390851332151607, abs=1e-12)
    assert iterate(lambda x: x, 5.0).iterations == 1


def test_a_cycle_is_named_with_its_period_and_damping_cures_it():
    with pytest.raises(NotConverged, match=r"cycles with period 2: residual .* pass a damping above 0, e\.g\. 0\.5"):
        iterate(lambda x: 1 - x, 0.2)
    assert iterate(lambda x: 1 - x, 0.2, damping=0.5).value == pytest.approx(0.5)
    shift = np.roll(np.eye(5), 1, axis=0)
    with pytest.raises(NotConverged, match="cycles with period 5"):
        iterate(lambda x: shift @ x, np.arange(5.0))


@pytest.mark.parametrize("factor", [-0.99, 0.99, -0.98])
def test_slow_convergence_is_not_taken_for_a_cycle(factor):
    found = iterate(lambda x: factor * x + 1, 0.0, max_iterations=5000)
    assert found.value == pytest.approx(1 / (1 - factor), rel=1e-9)


def test_the_budget_names_residual_iterations_and_remedy():
    with pytest.raises(NotConverged, match=r"residual 0\.\d+ > 1e-12 after 30 iterations; pass a damping above 0"):
        iterate(lambda x: 3.9 * x * (1 - x), 0.3, max_iterations=30)  # chaotic


def test_a_nan_names_its_iteration():
    with pytest.raises(NotConverged, match=r"iterate 3 is not finite \(nan\)"):
        iterate(lambda x: np.where(x > 1.5, np.nan, x + 1), 0.0)
    with pytest.raises(NotConverged, match="not finite"):
        iterate(lambda x: np.where(x < 1e100, 2 * x, np.inf), 1.0, damping=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": np.nan},
        {"start": []},
        {"damping": 1.0},
        {"damping": -0.1},
        {"damping": np.nan},
        {"tolerance": 0},
        {"max_iterations": 0},
        {"step": lambda x: np.ones(3)},
    ],
)
def test_wrong_input_is_refused(wrong):
    with pytest.raises(InputError):
        iterate(**({"step": np.cos, "start": 1.0} | wrong))
