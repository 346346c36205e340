"""Float64 Gaussian functions against mpmath at 100 digits, and expectations against closed forms."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tailbound.theory.core import certified, gaussian
from tailbound.theory.core.errors import InputError

mp = mpmath.mp.clone()
mp.dps = 100

FORMULAS = {
    "density": mp.npdf,
    "tail": lambda t: mp.ncdf(-t),
    "partial_expectation": lambda t: t * mp.ncdf(t) + mp.npdf(t),
    "partial_second_moment": lambda t: (1 + t * t) * mp.ncdf(t) + t * mp.npdf(t),
}


@pytest.mark.parametrize("name", FORMULAS)
@settings(max_examples=100, deadline=None)
@given(t=st.floats(-30, 30))
def test_function_is_relatively_accurate(name, t):
    stated = FORMULAS[name](mp.mpf(t))
    assert float(abs(getattr(gaussian, name)(t) - stated) / stated) < 2e-13


@pytest.mark.parametrize("name", ["partial_expectation", "partial_second_moment"])
def test_both_branches_agree_with_the_enclosure(name):
    ts = np.concatenate([np.linspace(-30, 8, 153), np.linspace(-2.05, -1.95, 11)])
    middles = [float(getattr(certified, name)(float(t)).ball.mid()) for t in ts]
    np.testing.assert_allclose(getattr(gaussian, name)(ts), middles, rtol=1e-13, atol=0)


@settings(max_examples=100, deadline=None)
@given(t=st.floats(-36.9, 1e6))
def test_inverse_of_the_partial_expectation(t):
    value = gaussian.partial_expectation(t)
    assert gaussian.inverse_partial_expectation(value) == pytest.approx(t, rel=1e-12, abs=1e-12)


def test_inverse_over_every_scale_and_shape():
    values = np.geomspace(1e-300, 1e12, 600).reshape(3, 200)
    t = gaussian.inverse_partial_expectation(values)
    assert t.shape == (3, 200)
    assert (np.diff(t.ravel()) > 0).all()
    np.testing.assert_allclose(gaussian.partial_expectation(t), values, rtol=1e-12)
    mirror = gaussian.partial_expectation(-t[2])  # g1(t) - t = g1(-t)
    np.testing.assert_allclose(values[2] - t[2], mirror, rtol=1e-9, atol=1e-12 * values[2].max())
    for bad in (0.0, -1.0, np.nan, [1.0, np.inf], 1e-310):
        with pytest.raises(InputError, match="value must be"):
            gaussian.inverse_partial_expectation(bad)


def test_partial_moments_are_the_three_functions():
    ts = np.concatenate([np.linspace(-30, 8, 99), [-2.5, np.nextafter(-2.5, -3)]])
    mass, first, second = gaussian.partial_moments(ts)
    np.testing.assert_array_equal(mass, gaussian.tail(-ts))
    np.testing.assert_array_equal(first, gaussian.partial_expectation(ts))
    np.testing.assert_array_equal(second, gaussian.partial_second_moment(ts))
    assert [np.ndim(value) for value in gaussian.partial_moments(-3.0)] == [0, 0, 0]


def test_shapes_limits_and_nan():
    ts = np.array([[-np.inf, -3.0], [np.nan, np.inf]])
    for name, limits in (
        ("partial_expectation", (0, np.inf)),
        ("partial_second_moment", (0, np.inf)),
        ("tail", (1, 0)),
    ):
        values = getattr(gaussian, name)(ts)
        assert values.shape == (2, 2)
        assert (values[0, 0], values[1, 1]) == limits
        assert np.isnan(values[1, 0])
        assert np.ndim(getattr(gaussian, name)(0.5)) == 0


@settings(max_examples=50, deadline=None)
@given(t=st.floats(-6, 6))
def test_expectation_of_hinges_split_at_the_kink(t):
    hinge = gaussian.expectation(lambda g: np.maximum(g + t, 0), kinks=[-t])
    squared = gaussian.expectation(lambda g: np.maximum(g + t, 0) ** 2, kinks=[-t])
    jump = gaussian.expectation(lambda g: 1.0 * (g > t), kinks=[t])
    assert hinge == pytest.approx(gaussian.partial_expectation(t), rel=1e-12)
    assert squared == pytest.approx(gaussian.partial_second_moment(t), rel=1e-12)
    assert jump == pytest.approx(gaussian.tail(t), rel=1e-12)


@given(a=st.floats(-10, 10))
@settings(deadline=None)
def test_expectation_of_an_exponential(a):
    assert gaussian.expectation(lambda g: np.exp(a * g)) == pytest.approx(np.exp(a * a / 2), rel=1e-12)


def test_expectation_of_a_steep_logistic_needs_its_layer_named():
    def steep(g):
        return np.exp(-np.logaddexp(0, (0.3 - g) / 1e-4))

    with pytest.raises(InputError, match="not resolved"):
        gaussian.expectation(steep)
    layer = 0.3 + 1e-4 * np.linspace(-40, 40, 41)
    stated = gaussian.tail(0.3) + 1e-8 * np.pi**2 / 6 * 0.3 * gaussian.density(0.3)  # E sigmoid, to order 1e-16
    assert gaussian.expectation(steep, kinks=layer) == pytest.approx(stated, rel=1e-13)


@pytest.mark.parametrize(
    ("function", "kinks", "message"),
    [
        (lambda g: np.maximum(g - 0.3, 0), (), "two quadratures"),
        (lambda g: 1.0, (), "vectorise"),
        (lambda g: np.where(g > 37, np.nan, g), (), "finite on"),
        (np.abs, (np.nan,), "kinks must be"),
        (np.abs, 0.0, "kinks must be"),
    ],
)
def test_expectation_refuses_what_it_cannot_integrate(function, kinks, message):
    with pytest.raises(InputError, match=message):
        gaussian.expectation(function, kinks=kinks)
