"""Claims decided by records: one claim for each data set that has them, so that each has a verdict of its own."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

from ...theory.core.claims import Claim, Kind, Relation, Sides, claim, unregistered
from .evidence import LONG_TAILED, interval, measured, run_set, sets_with

__all__ = ["UNDECIDED", "gap", "on_pairs", "on_sets", "slug"]

UNDECIDED: dict[str, Claim] = {}
"""Statements that the records of a data set leave open, by the id they would have; a test sees that they do."""

_NAMES = {
    "last": "balanced test error",
    "selected": "balanced test error, epoch chosen on validation images",
    "rare": "test error of the rarer half of the classes",
    "memorised": "wrong labels memorised",
}


def slug(folder: str) -> str:
    """The data set of a folder, as a part of a claim's name; with what is unusual of it.

    Example:
        >>> slug("cifar-10/long-tailed-100/fast"), slug("digits/balanced-largest-100-noise-0.4/digits_padding=0")
        ('cifar_10', 'digits_noise_0_4_padding_0')
        >>> slug("digits/balanced-largest-100/digits")
        'digits_balanced'
        >>> slug("cifar-10/long-tailed-100/paper"), slug("cifar-10/long-tailed-10-noise-0.2/fast")
        ('cifar_10_paper', 'cifar_10_long_tailed_10_noise_0_2')
    """
    data, profile, protocol = [*folder.split("/"), "", ""][:3]
    profile, noisy, rate = profile.partition("-noise-")
    ratio, largest = (20, 100) if data == "digits" else (100, 1200)
    usual = {f"long-tailed-{ratio}": "long_tailed" if noisy else "", f"step-{ratio}": "step"}
    usual[f"balanced-largest-{largest}"] = "" if noisy else "balanced"
    name, _, settings = protocol.partition("_")
    parts = [data, usual.get(profile, profile), f"noise_{rate}" if noisy else ""]
    parts += ["" if name in ("digits", "fast") else name, settings]
    return re.sub(r"\W", "_", "_".join(part for part in parts if part))


def on_sets(
    claim_id: str,
    folders: Iterable[str],
    *,
    cases: Sequence[Mapping[str, Any]] = ({},),
    fails: Mapping[str, Mapping[str, Any]] | None = None,
    undecided: Collection[str] = (),
    **attributes: Any,
) -> Callable[[Callable], Callable]:
    """Register the decorated check once for each folder, as ``<claim_id>_<data set>``.

    Args:
        claim_id: ``slug.name``.
        folders: passed to the check as ``folder``.
        cases: what else the check is given.
        fails: data sets on which the statement is false: `slug` → ``right`` and ``corrected_by`` (`Claim`).
        undecided: data sets (`slug`) whose records leave it open: no claim yet, but an entry of `UNDECIDED`.
        attributes: of `Claim`.
    """

    def register(check: Callable) -> Callable:
        for folder in dict.fromkeys(folders):
            expected = {"expected": "fails", **fails[slug(folder)]} if fails and slug(folder) in fails else {}
            name, known = f"{claim_id}_{slug(folder)}", tuple({"folder": folder, **case} for case in cases)
            settings: dict[str, Any] = {"kind": Kind.NETWORK, "cases": known, **attributes, **expected}
            if slug(folder) in undecided:
                UNDECIDED[name] = unregistered(name, check, **settings)
            else:
                claim(name, **settings)(check)
        return check

    return register


def gap(folder: str, pair: tuple[str, str], what: str = "last", *, beside: float = 0.0, text: str = "") -> Sides:
    """What is `measured` of the first method minus that of the second at their common seeds, beside a number.

    Args:
        folder: of the records.
        pair: the two methods.
        what: see `measured`.
        beside: the stated side.
        text: for the note.
    """
    runs = run_set(folder)
    seeds = runs.common_seeds(*pair)
    values = [measured(runs, method, what, seeds) for method in pair]
    found = interval(values[0] - values[1])
    means = ", ".join(f"{method} {100 * each.mean():.2f} %" for method, each in zip(pair, values, strict=True))
    difference = f"difference {100 * found.mean:.2f} ± {100 * found.half_width:.2f}"
    note = f"{_NAMES[what]}: {means}, {difference}{text and '; ' + text}; {runs.evidence(*pair)}"
    return Sides(found.mean, beside, found.half_width, note=note)


def on_pairs(
    prefix: str,
    pairs: Mapping[str, tuple[str, str, str]],
    *,
    source: str,
    always: str,
    undecided: Mapping[str, Collection[str]],
    fails: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
) -> Callable[[Callable], Callable]:
    """Register the decorated check for each pair of methods, the first said to err less, and each long-tailed set.

    Args:
        prefix: of the claims' names.
        pairs: name → better method, worse method, statement.
        source: where the order stands.
        always: the set that must be there.
        undecided: name → data sets, see `on_sets`.
        fails: name → data sets on which it is false, see `on_sets`.
    """

    def register(check: Callable) -> Callable:
        for name, (better, worse, statement) in pairs.items():

            @wraps(check)
            def of_pair(folder, pair=(better, worse)):
                return check(folder, pair)

            of_pair.__doc__ = statement
            on_sets(
                f"{prefix}{name}",
                [always, *sets_with(better, worse, among=LONG_TAILED)],
                source=source,
                formula=f"balanced test error, last epoch: {better} - {worse} <= 0",
                relation=Relation.AT_MOST,
                fails=(fails or {}).get(name),
                undecided=undecided.get(name, ()),
                wrong={"the other way round": {"pair": (worse, better)}},
            )(of_pair)
        return check

    return register
