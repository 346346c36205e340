"""Enclosures against mpmath at 100 digits, an implementation that shares nothing with FLINT."""

from fractions import Fraction

import mpmath
import pytest
from flint import acb, arb, ctx
from hypothesis import given, settings
from hypothesis import strategies as st
from tailbound.theory.core import certified
from tailbound.theory.core.certified import CertificationError, Enclosure, balls
from tailbound.theory.core.errors import InputError

mp = mpmath.mp.clone()
mp.dps = 100

FINITE = st.floats(-1e100, 1e100, allow_subnormal=False)
POINTS = st.floats(-30, 30)
GAUSSIAN = {
    "gaussian_density": mp.npdf,
    "gaussian_tail": lambda t: mp.ncdf(-t),
    "gaussian_cdf": mp.ncdf,
    "partial_expectation": lambda t: t * mp.ncdf(t) + mp.npdf(t),
    "partial_second_moment": lambda t: (1 + t * t) * mp.ncdf(t) + t * mp.npdf(t),
}


def exact(x) -> arb:
    """The mpmath number as an exact ball."""
    sign, mantissa, exponent, _ = x._mpf_
    return arb((-int(mantissa) if sign else int(mantissa), exponent))


@pytest.fixture(autouse=True)
def precision_is_restored():
    before = ctx.prec
    yield
    assert ctx.prec == before


@pytest.mark.parametrize("name", GAUSSIAN)
@settings(max_examples=60, deadline=None)
@given(t=POINTS)
def test_gaussian_function_encloses_mpmath(name, t):
    stated = GAUSSIAN[name](mp.mpf(t))
    computed = getattr(certified, name)(t)
    assert computed.contains(exact(stated))
    assert computed.width <= 1e-25 * float(stated)
    assert not computed.contains(exact(stated * (1 + mp.mpf(10) ** -25)))


@pytest.mark.parametrize("name", GAUSSIAN)
def test_gaussian_function_is_accurate_where_terms_cancel(name):
    for t in (-1000, -30, -20, 0, Fraction(1, 3)):
        stated = GAUSSIAN[name](mp.mpf(t.numerator) / t.denominator)
        computed = getattr(certified, name)(t).ball
        assert abs(computed - exact(stated)) < exact(stated) * arb("1e-35")


@pytest.mark.parametrize("name", GAUSSIAN)
@settings(max_examples=60, deadline=None)
@given(middle=POINTS, radius=st.floats(0, 5), share=st.floats(-1, 1))
def test_gaussian_function_over_a_ball_holds_every_value(name, middle, radius, share):
    over_ball = getattr(certified, name)(arb(middle, radius))
    inside = mp.mpf(middle) + mp.mpf(share) * mp.mpf(radius)
    assert over_ball.contains(exact(GAUSSIAN[name](inside)))


def test_gaussian_function_over_a_ball_is_not_much_wider_than_its_range():
    over_ball = certified.gaussian_density(arb(0.5, 1))  # peak inside: the range is [φ(1.5), φ(0)]
    assert over_ball.lower == pytest.approx(0.12951759566589174, rel=1e-8)
    assert over_ball.upper == pytest.approx(0.3989422804014327, rel=1e-8)
    assert certified.gaussian_tail(arb(20, 0.5)).lower > 0


@given(value=FINITE)
def test_float_is_taken_exactly(value):
    enclosure = Enclosure.of(value)
    assert enclosure.lower == enclosure.upper == value
    assert enclosure.width == 0
    assert enclosure.contains(Fraction(value))


@settings(max_examples=300, deadline=None)
@given(low=st.fractions(-10, 10), high=st.fractions(-10, 10))
def test_hull_holds_both_ends(low, high):
    with certified.precision(128):
        hull = Enclosure(balls._hull(certified.as_ball(low), certified.as_ball(high)))
    assert hull.contains(low)
    assert hull.contains(high)
    assert hull.width <= abs(low - high) * (1 + 1e-8) + 1e-36


@given(numerator=st.integers(-(10**40), 10**40), denominator=st.integers(1, 10**40))
def test_float_ends_and_decimals_are_rounded_outward(numerator, denominator):
    value = Fraction(numerator, denominator)
    enclosure = Enclosure.of(value)
    shown = [Fraction(part) for part in str(enclosure).strip("[]").split(", ")]
    assert Fraction(enclosure.lower) <= value <= Fraction(enclosure.upper)
    assert shown[0] <= value <= shown[1]
    assert shown[1] - shown[0] <= abs(value) * Fraction(1, 10**15)
    assert enclosure.contains(value)
    assert not enclosure.contains(value + Fraction(1, 10**30) * max(abs(value), 1))


@given(middle=FINITE, radius=st.floats(1e-20, 1e90))
def test_wide_ball_is_shown_and_bounded_outward(middle, radius):
    enclosure = Enclosure.of(arb(middle, radius))
    low, high = (Fraction(part) for part in str(enclosure).strip("[]").split(", "))
    for inside in (Fraction(middle) - Fraction(radius), Fraction(middle) + Fraction(radius)):
        assert low <= inside <= high
        assert Fraction(enclosure.lower) <= inside <= Fraction(enclosure.upper)
    assert Fraction(enclosure.width) >= 2 * Fraction(radius)


def test_ends_beyond_the_floats_stay_rigorous():
    assert (Enclosure.of("1e-400").lower, Enclosure.of("1e-400").upper) == (0.0, 5e-324)
    assert (Enclosure.of("1e400").lower, Enclosure.of("1e400").upper) == (1.7976931348623157e308, float("inf"))
    tiny = certified.gaussian_density(10**6)
    assert str(tiny).count("9.44052703464155") == 2  # log10 φ(10^6) = -217147240952.025
    assert str(tiny).count("e-217147240953") == 2


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), "nan", "one", "1/0", None, 1j, arb(0, float("inf"))])
def test_what_is_not_a_finite_number_is_refused(wrong):
    with pytest.raises(InputError, match="finite"):
        Enclosure.of(wrong)


def test_a_longer_float_is_refused_rather_than_rounded():
    with pytest.raises(InputError):
        Enclosure.of(mp.mpf(1) / 3)


def test_comparisons_are_certain_or_false():
    low, high, both = Enclosure.of(arb(1, 0.25)), Enclosure.of(arb(2, 0.25)), Enclosure.of(arb(1.5, 0.5))
    assert low.certainly_below(high)
    assert high.certainly_above(low)
    assert not low.overlaps(high)
    assert not low.certainly_below(both)
    assert not low.certainly_above(both)
    assert low.overlaps(both)
    assert both.contains(1.75)
    assert not both.contains(low)


def test_precision_is_honoured_and_restored_after_an_error():
    before = ctx.prec
    with pytest.raises(ZeroDivisionError), certified.precision(400):
        1 // (certified.gaussian_cdf(1).width > 1e-100)
    assert ctx.prec == before
    with pytest.raises(InputError, match="bits"), certified.precision(1):
        pass


def test_a_fraction_is_compared_beyond_the_working_precision():
    with certified.precision(400):
        third = Enclosure.of(Fraction(1, 3))
    assert third.width < 1e-115
    assert third.contains(Fraction(1, 3))
    assert third.contains("1/3")
    assert not third.contains(Fraction(1, 3) + Fraction(1, 10**115))


@settings(max_examples=40, deadline=None)
@given(t=st.floats(-6, 6))
def test_root_inverts_a_monotone_function(t):
    level = exact(GAUSSIAN["partial_expectation"](mp.mpf(t)))
    found = certified.root(lambda x: certified.partial_expectation(x).ball - level, -8, 8, width=1e-12)
    assert found.overlaps(Enclosure.of(arb(t, 1e-60)))  # the level is rounded to 100 digits
    assert found.width <= 1e-12


def test_root_on_a_midpoint_and_at_high_precision():
    at_midpoint = certified.root(lambda x: x, -1, 1)
    assert at_midpoint.contains(0)
    assert at_midpoint.width <= 1e-15
    with certified.precision(400):
        root_two = certified.root(lambda x: x * x - 2, Fraction(4, 3), 2, width=1e-80)
        assert root_two.contains(arb(2).sqrt().mid())
        assert root_two.width <= 1e-80


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x * x + 1, "signs at the ends are \\+ and \\+"),
        (lambda x: x - 1, "are - and not certain"),
        (lambda x: x - arb(0.5, 0.01), "wider than"),
        (lambda x: x.log() - x.log() + 1 / (x - x), "not certain and not certain"),
    ],
)
def test_root_says_why_there_is_no_certificate(function, message):
    with pytest.raises(CertificationError, match=message):
        certified.root(function, 0, 1)


def test_functions_must_return_balls():
    with pytest.raises(InputError, match="must return an arb"):
        certified.root(lambda x: float(x) - 0.5, 0, 1)
    with pytest.raises(InputError, match="low must be < high"):
        certified.root(lambda x: x, 1, 0)
    with pytest.raises(InputError, match="low < high"):
        certified.minimum(lambda x: x[0], [(1, 1)])


@settings(max_examples=25, deadline=None)
@given(centre=st.floats(-3, 3), scale=st.floats(0.1, 10), level=st.floats(-5, 5))
def test_minimum_of_a_parabola_inside_or_at_an_end(centre, scale, level):
    found = certified.minimum(
        lambda x: scale * (x[0] - centre) ** 2 + level, [(-1, 2)], gradient=lambda x: [2 * scale * (x[0] - centre)]
    )
    where = min(max(Fraction(centre), Fraction(-1)), Fraction(2))
    value = Fraction(scale) * (where - Fraction(centre)) ** 2 + Fraction(level)
    assert found.value.contains(value)
    assert found.value.width <= 1e-9
    assert not found.value.contains(value + Fraction(2, 10**9))
    assert not found.value.contains(value - Fraction(2, 10**9))
    assert found.minimiser[0].contains(where)
    assert found.minimiser[0].width < 0.01


def test_minimum_without_gradient():
    third = certified.as_ball(Fraction(1, 3))
    found = certified.minimum(lambda x: (x[0] - third) ** 2 + 1, [(0, 1)], width=1e-8)
    assert found.value.contains(1)
    assert found.minimiser[0].contains(Fraction(1, 3))
    wide = certified.minimum(lambda x: x[0] ** 2 + x[0] * x[1] + x[1] ** 2, [(-1, 2), (-2, 1)], width=0.02)
    assert wide.value.contains(0)
    assert all(ball.contains(0) for ball in wide.minimiser)


def test_minimum_in_two_dimensions_with_two_minimisers():
    def camel(x):  # six-hump camel: global minimum -1.0316284534898774 at ±(0.0898…, -0.7126…)
        a, b = x
        return (4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (4 * b**2 - 4) * b**2

    def slopes(x):
        a, b = x
        return [8 * a - 8.4 * a**3 + 2 * a**5 + b, a + 16 * b**3 - 8 * b]

    found = certified.minimum(camel, [(-2, 2), (-1, 1)], gradient=slopes)
    assert found.value.contains("-1.0316284534898774")
    assert found.value.certainly_below("-1.031628452")
    assert found.value.certainly_above("-1.031628455")
    assert found.minimiser[0].contains(0.08984201)
    assert found.minimiser[0].contains(-0.08984201)


def test_minimum_at_an_inexact_corner():
    third, fifth = Fraction(1, 3), Fraction(1, 5)
    found = certified.minimum(lambda x: x[0] + 2 * x[1], [(third, 1), (fifth, 1)], gradient=lambda _: [arb(1), arb(2)])
    assert found.value.contains(third + 2 * fifth)
    assert [ball.contains(end) for ball, end in zip(found.minimiser, (third, fifth), strict=True)] == [True, True]


def test_minimum_is_unsettled_next_to_a_pole_and_found_away_from_it():
    def search(low):
        return certified.minimum(
            lambda x: 1 / x[0] + x[0], [(low, 4)], gradient=lambda x: [1 - 1 / x[0] ** 2], max_boxes=1000
        )

    with pytest.raises(CertificationError, match=r"\[-inf, 2\.0"):
        search(0)
    assert search(Fraction(1, 10)).value.contains(2)
    assert search(Fraction(1, 10)).minimiser[0].contains(1)


def test_minimum_states_what_it_reached_when_the_budget_is_spent():
    with pytest.raises(CertificationError, match=r"after 1\d\d boxes .* lie in \[-0\.\d+, -0\.25\d*\]"):
        certified.minimum(lambda x: x[0] ** 2 - x[0], [(0, 1)], max_boxes=100)


def test_minimum_notices_a_gradient_that_excludes_everything():
    with pytest.raises(CertificationError, match="does not enclose"):
        certified.minimum(lambda x: (x[0] - 1) ** 2, [(0, 3)], gradient=lambda _: [arb(-100)])


@settings(max_examples=25, deadline=None)
@given(margin=st.floats(-0.5, 0.5))
def test_positive_on_decides_both_ways(margin):
    def function(x):
        return (x[0] - x[1]) ** 2 + x[0] * x[1] + arb(margin) + 1e-3

    verdict = certified.positive_on(function, [(-1, 1), (-1, 1)])  # the minimum is margin + 1e-3, at 0
    assert verdict.holds == (margin > -1e-3)
    if not verdict.holds:
        assert float(function([arb(x) for x in verdict.counterexample])) <= 0
        assert all(-1 <= x <= 1 for x in verdict.counterexample)


def test_positive_on_finds_a_narrow_dip_and_a_corner():
    dip = certified.positive_on(lambda x: (x[0] - 0.7315) ** 2 - 1e-8, [(0, 1)])
    assert abs(dip.counterexample[0] - 0.7315) <= 1e-4
    assert certified.positive_on(lambda x: x[0] ** 2 + x[1] ** 2, [(0, 1), (0, 1)]).counterexample == (0.0, 0.0)
    assert certified.positive_on(lambda x: (x[0] - 0.7315) ** 2 + 1e-8, [(0, 1)]).holds


def test_positive_on_leaves_a_tangent_zero_unsettled():
    with pytest.raises(CertificationError, match=r"still open on \[0\.3333"):
        certified.positive_on(lambda x: (3 * x[0] - 1) ** 2, [(0, 1)], max_boxes=200)


@settings(max_examples=15, deadline=None)
@given(threshold=st.floats(-3, 3))
def test_integral_matches_mpmath_and_the_closed_form(threshold):
    def integrand(z, _):
        return (z - threshold) * (-z * z / 2).exp() / (2 * acb.pi()).sqrt()

    low = mp.mpf(threshold)
    computed = certified.integral(integrand, threshold, 40)
    stated = mp.quad(lambda x: (x - low) * mp.npdf(x), [low, low + 2, low + 5, 12, 40])
    assert abs(computed.ball - exact(stated)) < arb("1e-30")
    assert computed.width < 1e-33
    assert computed.overlaps(certified.partial_expectation(-threshold).ball + arb(0, 1e-300))


def test_integral_with_a_branch_cut_and_with_a_pole():
    computed = certified.integral(lambda z, flag: z.sqrt(analytic=flag), 1, 4)
    assert computed.contains(Fraction(14, 3))
    assert computed.width < 1e-30
    with pytest.raises(CertificationError, match="no finite enclosure"):
        certified.integral(lambda z, _: 1 / z, -1, 1)
    with pytest.raises(CertificationError, match="not real"):
        certified.integral(lambda z, _: z * acb(0, 1), 0, 1)


def test_integral_passes_on_the_error_of_the_integrand():
    with pytest.raises(KeyError, match="nowhere"):
        certified.integral(lambda z, _: {}["nowhere"], 0, 1)
