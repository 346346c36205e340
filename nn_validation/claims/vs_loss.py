"""What the theory of VS-loss says of networks: margins in the terminal phase, the start of training, learned features.

Every figure is a mean over seeds with its 95 % interval, over classes for a fitted exponent and over seeds for a
difference between methods at the same seeds. A set of records counts once the index lists it; digits must be there.
"""

from typing import Any

import numpy as np
import pandas as pd

from ...theory.core.claims import Relation, Sides
from ...theory.core.sources import cite
from ...theory.vs_loss.geometry import collapsed_geometry
from ..core.checks import gap, on_pairs, on_sets
from ..core.evidence import (
    CIFAR,
    DIGITS,
    Interval,
    MissingRecords,
    RunSet,
    fitted_line,
    interval,
    paired,
    run_set,
    sets_with,
    table_files,
    terminal_sets,
)
from ..core.realised import collapsed_margins, log_margin_slope, option
from ..core.tables import network_tables

SCALES = ("cdt:gamma=0.1", "cdt:gamma=0.2", "cdt:gamma=0.4")
PLACE = DIGITS.rpartition("/")[0]


def _places(*methods: str, lengths: int = 1) -> list[str]:
    """The data sets with terminal runs of that many lengths; digits always."""
    return [PLACE, *(place for place, sets in terminal_sets(*methods).items() if len(sets) >= lengths)]


def _terminal(place: str, which: int, *methods: str) -> RunSet:
    """The shortest (0) or the longest (-1) terminal runs of a data set."""
    sets = terminal_sets(*methods).get(place)
    if not sets or len(sets) < (1 if which == -1 else 2):
        raise MissingRecords(f"no terminal runs of {', '.join(methods)} on {place}; train them and renew the index")
    return run_set(list(sets.values())[which])


def _text(name: str, found: Interval, unit: str = "%") -> str:
    return f"{name} {100 * found.mean:.2f} ± {100 * found.half_width:.2f} {unit}"


@on_sets(
    "vs_loss.network_scale_exponent",
    folders=_places("ce", *SCALES),
    source=cite("kini2021", "multi-class margins Δ_y f_y - Δ_c f_c >= 1; the exponent derived here"),
    formula="slope over classes of log(m_k of CDT / m_k of CE) on log n_k = -γ, Δ_k = (n_k / n_max)^γ",
    relation=Relation.EQUAL,
    atol=0.05,
    cases=[{"method": method} for method in SCALES[::-1]],
    wrong={
        "no margin from the scale": {"factor": 0.0},
        "the majority's margin grows": {"factor": -1.0},
        "half the exponent": {"factor": 0.5},
    },
)
def network_scale_exponent(folder, method, factor=1.0):
    """Past zero error, the margins that CDT's scales impose appear in a network, with the exponent of the scale.

    m_k: median over the training images of a class; dividing by CE's cancels how hard a class is. The optimum over free
    features has margins a_y (1 - a_y (a_y - a_c) / |a|²), a = 1/Δ, whose exponent is a little smaller.
    """
    runs = _terminal(folder, -1, "ce", *SCALES)
    fit, gamma = log_margin_slope(runs, method, over="ce"), option(method, "gamma", 0.3)
    free = fitted_line(np.log(runs.counts.array), np.log(collapsed_margins(runs.counts, gamma))).slope
    note = (
        f"fitted {fit.slope:.3f} ± {fit.half_width:.3f}, R² {fit.share:.2f}; free features {free:.3f}; "
        f"{runs.evidence(method, 'ce')}"
    )
    return Sides(fit.slope, -factor * gamma, fit.half_width, note=note)


@on_sets(
    "vs_loss.network_imposed_margins",
    source=cite("kini2021", "multi-class margins Δ_y f_y - Δ_c f_c >= 1 in the terminal phase"),
    formula="slope of log(m_k at γ / m_k at the next smaller γ) on log n_k <= 0; CE, then γ = 0.1, 0.2, 0.4",
    relation=Relation.AT_MOST,
    folders=_places("ce", "la", *SCALES),
    wrong={"LA goes on from there": {"methods": (SCALES[-1], "la")}, "reversed": {"sign": -1}},
)
def network_imposed_margins(folder, methods=SCALES, sign=1):
    """Larger exponents of CDT tilt the realised margins more towards the rare classes, step by step."""
    runs = _terminal(folder, -1, "ce", "la", *SCALES)
    fits = [log_margin_slope(runs, *step) for step in zip(methods, ("ce", *methods), strict=False)]
    slopes, halves = [sign * each.slope for each in fits], [each.half_width for each in fits]
    steps = ", ".join(f"{each.slope:.3f} ± {each.half_width:.3f}" for each in fits)
    return Sides(slopes, np.zeros(len(fits)), halves, note=f"steps {steps}; {runs.evidence('ce', *methods)}")


@on_sets(
    "vs_loss.network_offset_exponent",
    folders=_places("ce", "la", SCALES[-1], lengths=2),
    source=cite("tailbound", "a logit margin M + τ log(π_c / π_y) has the log-slope -τ / M"),
    formula="M x slope over classes of log(m_k of LA / m_k of CE) on log n_k = -τ = -1; M: mean logit margin",
    relation=Relation.EQUAL,
    atol=0.5,
    cases=[{"which": 0}, {"which": -1}],
    wrong={"no margin from the offset": {"tau": 0.0}, "a scale is the same": {"method": SCALES[-1]}},
)
def network_offset_exponent(folder, which, method="la", tau=1.0):
    """What LA's offset adds to the margins is τ log(1/π) in logits: as an exponent, it fades as the logits grow.

    After the shortest and the longest training past zero error; M is the geometric mean over the classes.
    """
    runs = _terminal(folder, which, "ce", "la", SCALES[-1])
    fit = log_margin_slope(runs, method, over="ce")
    units = np.array([float(record["margin_unit"].partition("/ ")[2]) for record in runs.records(method)])
    mean = float(np.exp(np.log(runs.margins(method) * units[:, None]).mean()))
    note = f"slope {fit.slope:.3f} ± {fit.half_width:.3f}, logit margin {mean:.2f}; {runs.evidence(method, 'ce')}"
    return Sides(mean * fit.slope, -tau, mean * fit.half_width, note=note)


@on_sets(
    "vs_loss.network_offset_fades",
    folders=_places("ce", "la", SCALES[-1], lengths=2),
    source=cite("kini2021", "offsets do nothing in the terminal phase, scales do"),
    formula="slope of log(m_k of CDT / m_k of LA) on log n_k, longest training - shortest <= 0; γ = 0.4",
    relation=Relation.AT_MOST,
    wrong={"the offset gains on the scale": {"pair": ("la", SCALES[-1])}},
)
def network_offset_fades(folder, pair=(SCALES[-1], "la")):
    """As training goes on past zero error, CDT's margins lean more towards the rare classes, compared with LA's."""
    logs, slopes = [], []
    for which in (0, -1):
        runs = _terminal(folder, which, "ce", "la", SCALES[-1])
        logs.append(np.log(runs.margins(pair[0]).mean(axis=0)) - np.log(runs.margins(pair[1]).mean(axis=0)))
        slopes += [log_margin_slope(runs, method, over="ce").slope for method in pair]
    change = fitted_line(np.log(runs.counts.array), logs[1] - logs[0])
    beyond = [
        f"{name} {early:.3f} → {late:.3f}" for name, early, late in zip(pair, slopes[:2], slopes[2:], strict=True)
    ]
    note = f"exponents beyond CE's, shortest → longest: {', '.join(beyond)}; {runs.evidence(*pair)}"
    return Sides(change.slope, 0.0, change.half_width, note=note)


@on_sets(
    "vs_loss.network_head_norms",
    folders=_places("ce", *SCALES),
    source=cite("thrampoulidis2022", "norms of the classifiers under CE; any counts derived here"),
    formula="0 <= slope of log ||w_k|| on log n_k <= that of the optimum over free features",
    relation=Relation.AT_MOST,
    wrong={"rows of the rare classes are longer": {"sign": -1}, "a quarter of it": {"share": 0.25}},
)
def network_head_norms(folder, sign=1, share=1.0):
    """Under CE the head's rows are longer for frequent classes, but less so than with free features."""
    runs = _terminal(folder, -1, "ce", *SCALES)
    x = np.log(runs.counts.array)
    fits = {
        method: fitted_line(x, np.log(runs.values(method, "class_directions", "norms")).mean(axis=0))
        for method in ("ce", *SCALES)
    }
    free = fitted_line(x, 0.5 * np.log(np.diag(collapsed_geometry(runs.counts).classifiers))).slope
    slopes = ", ".join(f"{method} {fit.slope:.3f} ± {fit.half_width:.3f}" for method, fit in fits.items())
    slope, half = sign * fits["ce"].slope, fits["ce"].half_width
    return Sides([-slope, slope], [0, share * free], half, note=f"{slopes}; {runs.evidence('ce', *SCALES)}")


def _start(runs: RunSet, first: str, second: str) -> Interval:
    """Accuracy on the rarer half of the classes, mean over the first quarter of the training: first minus second."""
    found, seeds = [], runs.common_seeds(first, second)
    for method in (first, second):
        epochs, accuracy = runs.curve(method, "train_accuracy", seeds)
        found.append(np.nanmean(accuracy[:, epochs <= epochs[-1] / 4][:, :, runs.rare_half], axis=(1, 2)))
    return interval(found[0] - found[1])


@on_sets(
    "vs_loss.network_start",
    source=cite("kini2021", "observation on the start of training"),
    formula="minority accuracy in the first quarter of the training: CDT - LA <= 0, CE - LA <= 0, CE - VS <= 0",
    relation=Relation.AT_MOST,
    folders=[DIGITS, *sets_with("ce", "la", "cdt", "vs")],
    wrong={"a scale alone helps from the start": {"pairs": (("la", "cdt"),)}},
)
def network_start(folder, pairs=(("cdt", "la"), ("ce", "la"), ("ce", "vs"))):
    """At the start offsets help the rarer half of the classes, and more than CDT's scales alone."""
    runs = run_set(folder)
    found = [_start(runs, *pair) for pair in pairs]
    note = ", ".join(_text(" - ".join(pair), each, "points") for pair, each in zip(pairs, found, strict=True))
    methods = dict.fromkeys(name for pair in pairs for name in pair)
    means, halves = [each.mean for each in found], [each.half_width for each in found]
    return Sides(means, np.zeros(len(found)), halves, note=f"{note}; {runs.evidence(*methods)}")


@on_sets(
    "vs_loss.network_scale_start",
    source=cite("kini2021", "observation on the start of training: scales alone do not help the rare classes"),
    formula="minority accuracy in the first quarter of the training: CDT - CE <= 0",
    relation=Relation.AT_MOST,
    folders=[DIGITS, *sets_with("ce", "la", "cdt", "vs")],
    undecided=("digits",),
    fails={"cifar_10": {"right": {"pairs": (("cdt", "la"),)}, "corrected_by": "vs_loss.network_start_cifar_10"}},
    wrong={"LA - CDT": {"pairs": (("la", "cdt"),)}},
)
def network_scale_start(folder, pairs=(("cdt", "ce"),)):
    """At the start CDT's scales alone do not help the rarer half of the classes.

    They can: on CIFAR-10-LT they do from the first quarter on, although less than LA's offsets.
    """
    return network_start(folder, pairs)


@on_sets(
    "vs_loss.network_end",
    folders=[DIGITS, *sets_with("ce", "cdt")],
    source=cite("kini2021", "tables and training curves"),
    formula="balanced test error, CDT - CE <= 0, at the epoch chosen on validation images",
    relation=Relation.AT_MOST,
    wrong={"CE ends better": {"pair": ("ce", "cdt")}},
)
def network_end(folder, pair=("cdt", "ce")):
    """In the end CDT's scale has lowered the balanced error."""
    runs = run_set(folder)
    chosen, last = (paired(runs, pair[0], pair[1], which) for which in ("selected", "last"))
    note = f"{_text('chosen epoch', chosen, 'points')}, {_text('last epoch', last, 'points')}; {runs.evidence(*pair)}"
    return Sides(chosen.mean, 0.0, chosen.half_width, note=note)


TUNED = "vs:gamma=0.15,tau=1.25"
"""VS-loss as Kini et al. tuned it for CIFAR-10-LT."""

_ORDER = {
    "gain_la": ("la", "ce", "LA's offsets lower the balanced error of plain training."),
    "gain_cdt": ("cdt", "ce", "CDT's scales lower the balanced error of plain training."),
    "gain_vs": (TUNED, "ce", "VS-loss lowers the balanced error of plain training."),
    "la_over_ldam_drw": ("la", "ldam-drw", "LA errs less than LDAM with deferred re-weighting."),
    "cdt_over_ldam_drw": ("cdt", "ldam-drw", "CDT errs less than LDAM with deferred re-weighting."),
    "vs_over_ldam_drw": (TUNED, "ldam-drw", "VS-loss errs less than LDAM with deferred re-weighting."),
}

_UNDECIDED = {
    "gain_la": ("digits",),
    "gain_cdt": ("digits",),
    "la_over_ldam_drw": ("cifar_10", "cifar_10_padding_0"),
    "cdt_over_ldam_drw": ("digits", "cifar_10_padding_0"),
    "vs_over_ldam_drw": ("cifar_10_padding_0",),
}


def _behind(method: str, gain: str) -> dict[str, Any]:
    """What fails with crops, where training does not reach zero error in forty epochs, and what is left of it."""
    return {
        "right": {"pair": (method, "ce")},
        "corrected_by": f"vs_loss.network_{gain}_cifar_10",
        "wrong": {f"CE errs less than {method}": {"pair": ("ce", method)}},
        "assumptions": ("forty epochs with crops leave a training error of 12 % (LDAM-DRW) to 23 % (VS-loss)",),
    }


@on_pairs(
    "vs_loss.network_",
    _ORDER,
    source=cite("kini2021", "table of results on CIFAR-10-LT"),
    always=CIFAR,
    undecided=_UNDECIDED,
    fails={
        "cdt_over_ldam_drw": {"cifar_10": _behind("cdt", "gain_cdt")},
        "vs_over_ldam_drw": {"cifar_10": _behind(TUNED, "gain_vs")},
    },
)
def network_order(folder, pair):
    """The first method errs less than the second."""
    return gap(folder, pair)


def _rows(folder: str, rule: str, fitted_on: str = "training") -> pd.DataFrame:
    """A row for each network and pair of classes, where the pair has what is asked for; networks are the draws."""
    tables = network_tables("features")
    if folder not in tables:
        raise MissingRecords(f"no tables of features for two networks of {folder!r}; see vs_loss.network_features")
    frame = tables[folder]
    chosen = frame[(frame.fitted_on == fitted_on) & (frame.rule == rule)]
    return pd.DataFrame(chosen.set_index(["seed", "rare", "frequent"]))


def _over_networks(values: pd.Series, folder: str) -> tuple[Interval, str]:
    """The interval over the networks' means over their pairs of classes, and what it rests on."""
    means = np.asarray(values.groupby("seed").mean(), dtype=float)
    pairs = len(values.index.droplevel("seed").unique())
    return interval(means), f"{pairs} pairs of classes, {len(means)} networks of {folder}"


def _beyond(folder: str, prediction: str, factor: float, fitted_on: str) -> Sides:
    """Counted error on the rare class beyond `factor` times the predicted one, ratio 1; beside 0."""
    rows = _rows(folder, "svm", fitted_on)
    rows = rows[rows[f"{prediction}_plus"].notna()]
    predicted = rows[f"{prediction}_plus"]
    found, text = _over_networks(rows.error_plus - factor * predicted, folder)
    note = f"counted {100 * rows.error_plus.mean():.2f} %, predicted {100 * predicted.mean():.2f} %; {text}"
    return Sides(found.mean, 0.0, found.half_width, note=note)


@on_sets(
    "vs_loss.network_training_features",
    folders=[DIGITS, *table_files("features")],
    source=cite("kini2021", "asymptotics, read as a prediction for the last layer of a network"),
    formula="SVM on two classes, rare class: counted - predicted from training features <= 0, mean over pairs",
    relation=Relation.AT_MOST,
    fails={
        "digits": {
            "right": {"prediction": "fresh", "factor": 4.0},
            "corrected_by": "vs_loss.network_fresh_scores_digits",
        },
        "cifar_10": {
            "right": {"prediction": "fresh", "factor": 4.0},
            "corrected_by": "vs_loss.network_fresh_scores_cifar_10",
        },
    },
    wrong={"training law": {"prediction": "law"}, "isotropic mixture": {"prediction": "mixture"}},
    assumptions=("the network's training images are independent of its features, which they are not",),
)
def network_training_features(folder, prediction="left_out", factor=1.0, fitted_on="training"):
    """An SVM's errors on a network's features follow from the features of its training images.

    They do not: the network has pulled those together, so margins left out one by one, the training law and the mixture
    all promise too little error.
    """
    return _beyond(folder, prediction, factor, fitted_on)


@on_sets(
    "vs_loss.network_fresh_scores",
    folders=[DIGITS, *table_files("features")],
    source=cite("tailbound", "normal scores with the mean and spread of images that the network has not seen"),
    formula="rare class: counted test error - 4 x Q(mean / spread of the fresh scores) <= 0, mean over pairs",
    relation=Relation.AT_MOST,
    wrong={"half of it": {"factor": 0.5}},
)
def network_fresh_scores(folder, prediction="fresh", factor=4.0, fitted_on="training"):
    """The mean and spread of the scores of fresh images tell the error of the rare class up to a factor of 4.

    On digits the last images of each class are the test images; they are harder than the validation images. On CIFAR-10
    no factor is needed that four networks could show.
    """
    return _beyond(folder, prediction, factor, fitted_on)


@on_sets(
    "vs_loss.network_auto_ratio",
    folders=[DIGITS, *table_files("features")],
    source=cite("tailbound", "margin ratio estimated from the training features alone"),
    formula="balanced error on test features: estimated ratio - ratio 1 <= 0, mean over pairs of classes",
    relation=Relation.AT_MOST,
    wrong={"ratio 1 is better": {"rules": ("svm", "auto")}, "beats the best ratio": {"rules": ("auto", "best")}},
)
def network_auto_ratio(folder, rules=("auto", "svm")):
    """Although the predicted errors are far too small, the ratio they lead to lowers the balanced error."""
    balanced = [(each.error_plus + each.error_minus) / 2 for each in (_rows(folder, rule) for rule in rules)]
    found, text = _over_networks(balanced[0] - balanced[1], folder)
    means = ", ".join(f"{rule} {100 * each.mean():.2f} %" for rule, each in zip(rules, balanced, strict=True))
    return Sides(found.mean, 0.0, found.half_width, note=f"balanced error: {means}; {text}")
