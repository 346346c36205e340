"""What LDAM's theory and tables say of networks: realised margins, the best exponent, the order of the methods.

A margin is the label's cosine minus the largest other one, its quantile over the training images of a class. Every
figure is a mean over seeds with a 95 % interval, over classes for a slope and over seeds for a difference between
methods. A set of records counts once the index lists it; digits must be there.
"""

import numpy as np

from ...theory.core.claims import Relation, Sides
from ...theory.core.sources import cite
from ...theory.ldam.weights import switch_epoch
from ..core.checks import gap, on_pairs, on_sets
from ..core.evidence import DIGITS, LONG_TAILED, interval, run_set, sets_with
from ..core.realised import EXPONENTS, best_exponent, exponent_method, log_margin_slope, margin_shift

_SWEPT = [DIGITS, *sets_with(*map(exponent_method, EXPONENTS))]


@on_sets(
    "ldam.network_margin_shift",
    folders=_SWEPT,
    source=cite("cao2019", "Eq. 13, read as: the realised margins follow the imposed ones"),
    formula="m_k(exponent) - m_k(0) = c + slope (γ_k(exponent) - γ_k(0)), slope >= 0; m_k: median, cosines",
    relation=Relation.AT_LEAST,
    cases=[{"exponent": exponent} for exponent in (1.0, 0.5, 0.25)],
    wrong={"rare classes get less": {"sign": -1}},
)
def network_margin_shift(folder, exponent, sign=1):
    """Imposing larger margins on rare classes enlarges the margins that a cosine network realises on them."""
    runs, method = run_set(folder), exponent_method(exponent)
    found = margin_shift(runs, method)
    fit = found.fit
    note = (
        f"slope {fit.slope:.2f} ± {fit.half_width:.2f}, R² {fit.share:.2f} over the classes; "
        f"{runs.evidence(method, exponent_method(0.0))}"
    )
    return Sides(sign * fit.slope, 0.0, fit.half_width, note=note)


@on_sets(
    "ldam.network_power_law",
    folders=_SWEPT,
    source=cite("cao2019", "Sec. 3.1, margins ~ n^(-1/4), as realised"),
    formula="slope over classes of log m_k on log n_k >= -exponent / 2",
    relation=Relation.AT_LEAST,
    cases=[{"exponent": exponent} for exponent in (1.0, 0.5, 0.333, 0.25)],
    undecided=("cifar_10",),  # the median margin of the rarest classes is negative: no power at all
    wrong={"margins grow with half the power of the count": {"share": -0.5}},
)
def network_power_law(folder, exponent, share=0.5):
    """The imposed power of the count does not appear: at most half of its exponent does.

    A margin is imposed as a difference; what the network adds to it is as large, and larger on frequent classes.
    """
    runs, name = run_set(folder), exponent_method(exponent)
    fit = log_margin_slope(runs, name)
    note = f"fitted {fit.slope:.3f} ± {fit.half_width:.3f}, imposed {-exponent:g}; {runs.evidence(name)}"
    return Sides(fit.slope, -share * exponent, fit.half_width, note=note)


@on_sets(
    "ldam.network_best_exponent",
    folders=_SWEPT,
    source=cite("cao2019", "Sec. 3.1 and Sec. 4, exponent 1/4"),
    formula="vertex of the parabola through balanced error against exponent: 1/4 inside its 95 % interval",
    relation=Relation.AT_MOST,
    fails={
        "digits": {"right": {"exponent": 0.667}, "corrected_by": "ldam.network_steeper_margins_digits"},
        "cifar_10": {"right": {"exponent": 0.8}, "corrected_by": "ldam.network_steeper_margins_cifar_10"},
    },
    wrong={"exponent 0": {"exponent": 0.0}},
)
def network_best_exponent(folder, exponent=0.25, which="last"):
    """The exponent 1/4 is where a parabola through the balanced test errors is least.

    Both sides of the interval: low - exponent and exponent - high, both at most 0. It is the vertex's, at most the
    largest exponent tried; where the errors are no parabola, their own minimum can lie outside.
    """
    runs = run_set(folder)
    best = best_exponent(runs, which)
    means = ", ".join(f"{e:g}: {100 * m:.2f}" for e, m in zip(best.exponents, best.errors.mean(axis=0), strict=True))
    note = (
        f"least at {best.least:.2f}, interval [{best.low:.2f}, {best.high:.2f}]; balanced error in % {means}; "
        f"{runs.evidence(*map(exponent_method, best.exponents))}"
    )
    return Sides([best.low - exponent, exponent - best.high], [0.0, 0.0], note=note)


@on_sets(
    "ldam.network_reweighting",
    folders=[DIGITS, *sets_with("cb", "ce-drw", among=LONG_TAILED)],
    source=cite("cao2019", "Sec. 3.2 and Fig. 3, re-weighting from the start against deferred re-weighting"),
    formula="training accuracy on the more frequent half, mean before the switch: CB - CE-DRW <= 0",
    relation=Relation.AT_MOST,
    wrong={"deferring hurts the fit": {"pair": ("ce-drw", "cb")}},
)
def network_reweighting(folder, pair=("cb", "ce-drw")):
    """Class weights from the first epoch on under-fit the frequent classes; deferred ones let them be fitted first."""
    runs = run_set(folder)
    seeds = runs.common_seeds(*pair)
    found = []
    for method in pair:
        epochs, accuracy = runs.curve(method, "train_accuracy", seeds)
        before = accuracy[:, epochs <= switch_epoch(len(epochs))]
        found.append(np.nanmean(before[:, :, runs.frequent_half], axis=(1, 2)))
    gap = interval(found[0] - found[1])
    note = f"{' - '.join(pair)} {100 * gap.mean:.1f} ± {100 * gap.half_width:.1f} points; {runs.evidence(*pair)}"
    return Sides(gap.mean, 0.0, gap.half_width, note=note)


@on_sets(
    "ldam.network_steeper_margins",
    folders=_SWEPT,
    source=cite("tailbound", "the optimal margin ratio of the asymptotic theory exceeds n^(1/4)"),
    formula="balanced test error: exponent 1/2 - exponent 0 <= 0, exponent 1/2 - exponent 1/4 <= 0",
    relation=Relation.AT_MOST,
    cases=[{"pair": ("ldam:exponent=0.5", other)} for other in ("ldam:exponent=0", "ldam")],
    wrong={"equal margins are better": {"pair": ("ldam:exponent=0", "ldam:exponent=0.5")}},
)
def network_steeper_margins(folder, pair):
    """Margins at the exponent 1/2 beat equal margins, and those at 1/4."""
    return gap(folder, pair)


_ORDER = {
    "ldam": ("ldam", "ce", "LDAM's margins lower the balanced error of plain training."),
    "ldam_drw": ("ldam-drw", "ce-drw", "LDAM's margins lower the balanced error of deferred re-weighting."),
    "drw": ("ce-drw", "ce", "Deferred re-weighting lowers the balanced error of plain training."),
    "drw_on_ldam": ("ldam-drw", "ldam", "Deferred re-weighting lowers the balanced error of LDAM."),
}


_UNDECIDED = {"ldam": ("digits", "cifar_10"), "ldam_drw": ("digits", "cifar_10"), "drw": ("digits",)}


@on_pairs("ldam.network_gain_", _ORDER, source=cite("cao2019", "Tables 2 and 5"), always=DIGITS, undecided=_UNDECIDED)
def network_gain(folder, pair):
    """The first method errs less than the second."""
    return gap(folder, pair)
