"""``tailbound derive --features``: the best margin ratio of a data set, as a table or JSON."""

import json
from pathlib import Path

from .console import open_console, progress, styled

__all__ = ["derive_features"]


def derive_features(path: Path, label: str | None, save: Path | None, as_json: bool) -> None:
    """Read features, derive the report, save the machines if asked, and print."""
    from ..theory.core.feature_files import read_features
    from ..theory.features import derive_features as derive_report
    from ..theory.features import save_machine

    data = read_features(path, label=label)
    report = derive_report(data.features, data.labels, track=lambda tasks: progress(tasks, "Classes"))
    if save is not None:
        save_machine(report, save)
    if as_json:
        print(json.dumps(report.to_dict()))
    else:
        _print_report(report)


def _print_report(report) -> None:
    from rich.markup import escape

    console = open_console()
    console.print(
        f"{report.num_examples} examples, {report.dimension} features, {len(report.classes)} classes", highlight=False
    )
    if len(report.problems) > 1:
        console.print(_overview(report))
    for problem in report.problems:
        if problem.separable and (len(report.problems) == 1 or problem is _most_to_gain(report)):
            _print_problem(console, problem)
    for problem in report.problems:
        if not problem.separable:
            console.print(f"Note: {escape(problem.reason)}", highlight=False)
    if len(report.problems) > 1:
        console.print("Shown in full is the class that LDAM's ratio costs most; --json has them all.", highlight=False)
    for note in report.notes:
        console.print(f"Note: {escape(note)}", highlight=False)


def _most_to_gain(report):
    separable = [problem for problem in report.problems if problem.separable]
    return max(separable, key=lambda problem: problem["svm.ldam_loss"].value)


def _overview(report):
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="One class against the rest", title_justify="left")
    table.add_column("class", overflow="fold")
    for name in ("count", "separable", "best ratio", "interval", "error, class", "error, rest", "LDAM's ratio loses"):
        table.add_column(name, justify="right")
    for problem in report.problems:
        if not problem.separable:
            table.add_row(escape(problem.name), str(problem.counts[0]), "no")
            continue
        ratio, best = problem["svm.margin_ratio_auto"], problem.predictions[0]
        table.add_row(
            escape(problem.name),
            str(problem.counts[0]),
            "yes",
            f"{ratio.value:.4g}",
            _span(ratio),
            *(f"{100 * error:.2f} %" for error in best.errors),
            f"{100 * problem['svm.ldam_loss'].value:.2f} points",
        )
    return table


def _print_problem(console, problem) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    title = f"{escape(problem.name)} ({problem.counts[0]}) against {escape(problem.rest)} ({problem.counts[1]})"
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="bold")
    table.add_column("rule")
    names = ("margin ratio", "error, class", "error, rest", "balanced", "by training law", "by isotropic mixture")
    for name in names:
        table.add_column(name, justify="right")
    for each in problem.predictions:
        limits = ("–" if pair is None else f"{50 * sum(pair):.2f} %" for pair in (each.training_law, each.isotropic))
        errors = (f"{100 * error:.2f} %" for error in (*each.errors, each.balanced_error))
        table.add_row(each.rule, f"{each.margin_ratio:.4g}", *errors, *limits)
    console.print(table)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Why", title_justify="left", title_style="bold")
    for name in ("constant", "value", "range", "formula and reason", "rests on"):
        table.add_column(name, overflow="fold", no_wrap=name == "constant")
    for c in problem.constants:
        why = escape(f"{c.formula}\n{c.reason}" + (f"\nrange: {c.range_reason}" if c.range_reason else ""))
        rests = f"{c.claim}\n{styled(c.verdict)}" if c.claim else "measured"
        table.add_row(c.name, f"{c.value:.5g}", _span(c), why, rests, end_section=True)
    console.print(table)
    for note in problem.notes:
        console.print(f"Note: {escape(note)}", highlight=False)


def _span(constant) -> str:
    return "" if constant.low is None else f"{constant.low:.4g} … {constant.high:.4g}"
