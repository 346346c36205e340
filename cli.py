"""The command line: data on stdout, progress and errors on stderr, exit code 2 for bad input."""

import io
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from . import __version__
from .theory.core.errors import InputError, nearest

__all__ = ["app", "main"]

app = typer.Typer(
    name="tailbound",
    help="Decides the theory of learning from imbalanced classes by computation; derives constants from what holds.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # click's UsageError, which newer typer keeps to itself
_PIPE_WIDTH = 160
_VERDICT_STYLE = {"proved": "green", "confirmed": "cyan", "refuted": "magenta", "unsettled": "yellow"}
_SHOWN_CLASSES = 12
_SHOWN_COMMAND = 120
_LONGEST_INT = 300  # digits; float() reads more of them faster, and int() refuses 4300


def main() -> None:
    """Run the command line; bad input ends in one line on stderr and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name the terminal cannot show is no reason to fail
    try:
        try:
            command = typer.main.get_command(app)
            with command.make_context("tailbound", sys.argv[1:] or ["--help"]) as context:
                command.invoke(context)
        finally:
            sys.stdout.flush()
    except typer.Exit as finished:
        sys.exit(finished.exit_code)
    except InputError as error:
        _fail(str(error))
    except _USAGE_ERROR as error:  # pyright: ignore[reportGeneralTypeIssues]
        given = shlex.join(["tailbound", *sys.argv[1:]])
        given = given if len(given) <= _SHOWN_COMMAND else f"{given[:_SHOWN_COMMAND]}…"
        where = error.ctx.command_path if error.ctx else "tailbound"
        _fail(f"{' '.join(error.format_message().split()).rstrip('.')} (in: {given}; help: {where} --help)")
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # rich has met it first
            sys.exit(0)
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader of our output has left, as `head` does
            sys.exit(0)
        _fail(f"cannot read or write ({error}); make room, or check the permissions")
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str) -> NoReturn:
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    print(f"tailbound: {line}", file=sys.stderr)
    sys.exit(2)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog="Examples:  tailbound verify  ·  tailbound verify ldam 'vs_loss.*' --json  ·  tailbound verify --falsify"
)
def verify(
    patterns: Annotated[list[str] | None, typer.Argument(help="Systems, claim ids or globs; all when omitted.")] = None,
    full: Annotated[bool, typer.Option(help="Check the slow cases too.")] = False,
    falsify: Annotated[
        bool, typer.Option("--falsify", help="Also decide every wrong variant; fail if one survives.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each claim, in an array.")] = False,
) -> None:
    """Decide the claims: proved, confirmed, refuted or unsettled. Exit code 1 when a verdict is not as expected."""
    from .theory.claims import falsify as decide_variants
    from .theory.claims import select
    from .theory.core.claims import decide

    claims = select(*(patterns or []))
    results = []
    for claim in _progress(claims, "deciding"):
        results.append((decide(claim, full=full), decide_variants(claim) if falsify else []))
    failed = [decision for decision, _ in results if not decision.as_expected]
    survived = [variant for _, variants in results for variant, as_it_must in variants if not as_it_must]
    if as_json:
        print(json.dumps([_verify_json(decision, variants, falsify) for decision, variants in results], indent=1))
    else:
        _print_verdicts(results, falsify)
        if failed:
            print(f"not as expected: {', '.join(decision.claim.id for decision in failed)}", file=sys.stderr)
        for variant in survived:
            print(f"wrong variant survived: {variant.claim.id} [{variant.variant}] {variant.verdict}", file=sys.stderr)
    if failed or survived:
        raise typer.Exit(1)


@app.command(epilog="Example:  tailbound explain ldam.binary_split")
def explain(claim_id: Annotated[str, typer.Argument(metavar="CLAIM", help="A claim id.")]) -> None:
    """Show a claim: its statement, its derivation, both sides with numbers, and how each wrong variant was refuted."""
    from rich.markup import escape

    from .theory.claims import falsify as decide_variants
    from .theory.claims import load, select
    from .theory.core.claims import decide

    if claim_id not in load():
        select(claim_id)  # a system or a glob passes, a misspelt name is an error that suggests the nearest
        matching = ", ".join(claim.id for claim in select(claim_id)[:8])
        raise InputError(f"explain takes one claim id, got {claim_id!r}; it matches {matching}")
    (claim,) = select(claim_id)
    decision, console = decide(claim), _console()

    def heading(text: str) -> None:
        console.print(f"\n[bold]{text}[/bold]")

    console.print(f"[bold]{claim.id}[/bold]  {_styled(decision.verdict)} (expected: {claim.expected})", highlight=False)
    console.print(escape(claim.statement), highlight=False)
    console.print(f"  {escape(claim.formula)}", highlight=False)
    for assumption in claim.assumptions:
        console.print(f"  assuming {escape(assumption)}", highlight=False)
    console.print(f"Source: {escape(claim.source)}. Kind: {claim.kind}.", highlight=False)
    if claim.corrected_by:
        console.print(f"Corrected by: {claim.corrected_by}", highlight=False)
    for evidence in decision.evidence:
        case = ", ".join(f"{name} = {value}" for name, value in evidence.case.items())
        heading(f"Case {case}" if case else "Check")
        for number, outcome in enumerate(evidence.steps, 1):
            mark = {True: "holds", False: "FALSE", None: "undecided"}[outcome.holds]
            console.print(
                f"  {number}. {escape(outcome.step.text)}  [dim]({mark}: {escape(outcome.reason)})[/dim]",
                highlight=False,
            )
            console.print(f"       {escape(str(outcome.step))}", highlight=False)
        if not evidence.steps:
            console.print(f"  computed  {escape(evidence.computed)}", highlight=False)
            console.print(f"  stated    {escape(evidence.stated)}", highlight=False)
        console.print(f"  {_styled(evidence.verdict)}: {escape(evidence.figure)}", highlight=False)
        if evidence.note:
            console.print(f"  {escape(evidence.note)}", highlight=False)
    heading("Variants, decided by the same check")
    for variant, as_it_must in decide_variants(claim):
        what = "correction" if variant.variant == "right" else "wrong variant"
        mark = "" if as_it_must else " [red](must not be)[/red]"
        console.print(f"  {what} '{escape(variant.variant)}': {_styled(variant.verdict)}{mark}", highlight=False)
        console.print(f"       {escape(variant.figure)}", highlight=False)


@app.command(
    context_settings={"ignore_unknown_options": True},
    epilog="Examples:  tailbound derive 5000 500 50  ·  tailbound derive counts.csv  ·  "
    "tailbound derive labels.npy --json  ·  tailbound derive cifar-10-batches-py --long-tailed 100  ·  "
    "tailbound derive --long-tailed 100 --classes 10 --largest 5000 --snippet",
)
def derive(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            help="Counts (5000 500 50 or cat=900 dog=90), a CSV/JSON/parquet/npy file, or a dataset folder."
        ),
    ] = None,
    long_tailed: Annotated[
        float | None, typer.Option(metavar="RATIO", help="Long-tailed profile of the source.")
    ] = None,
    step: Annotated[float | None, typer.Option(metavar="RATIO", help="Step profile of the source.")] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes of a profile without a source.")] = None,
    largest: Annotated[int | None, typer.Option(help="Largest class of a profile without a source.")] = None,
    counts: Annotated[bool, typer.Option("--counts", help="The file holds counts.")] = False,
    labels: Annotated[bool, typer.Option("--labels", help="The file holds labels.")] = False,
    column: Annotated[str | None, typer.Option(help="Column of a CSV or parquet file.")] = None,
    drop_empty: Annotated[bool, typer.Option("--drop-empty", help="Leave out classes without examples.")] = False,
    max_margin: Annotated[float, typer.Option(help="The rarest class's margin, in cosine units.")] = 0.5,
    epochs: Annotated[int, typer.Option(help="Length of the training.")] = 200,
    probability: Annotated[float, typer.Option(help="Probability the cosine head must be able to reach.")] = 0.99,
    test_priors: Annotated[str | None, typer.Option(metavar="P1,P2,…", help="Test priors, if not balanced.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    snippet: Annotated[bool, typer.Option("--snippet", help="Torch code that builds the loss.")] = False,
    loss: Annotated[str, typer.Option(help="Loss of the snippet: ldam, la, cdt or vs.")] = "ldam",
) -> None:
    """Derive margins, scales, shifts, weights and a schedule from class counts, each with its reason and its claim."""
    from .theory.constants import derive as derive_constants

    if snippet and as_json:
        raise InputError("derive prints JSON or a snippet, got both --json and --snippet; keep one")
    meaning = _meaning(counts, labels)
    class_counts = _class_counts(source or [], meaning, column, drop_empty, (classes, largest), long_tailed, step)
    priors = (
        None
        if test_priors is None
        else [_number(token, "test_priors", "pass one for each class, as 0.7,0.3") for token in test_priors.split(",")]
    )
    constants = derive_constants(
        class_counts, max_margin=max_margin, epochs=epochs, probability=probability, test_priors=priors
    )
    if snippet:
        print(constants.snippet(loss), end="")
    elif as_json:
        print(json.dumps(constants.to_dict()))
    else:
        _print_constants(constants)


@app.command(epilog="Example:  tailbound figures ldam --out figures")
def figures(
    names: Annotated[list[str] | None, typer.Argument(help="Systems or figure names; all when omitted.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for PDF, PNG and data.")] = Path("figures"),
) -> None:
    """Draw figures: vector PDF, PNG and the data behind each; prints the files written."""
    from .paper_figs.core import draw

    for path in draw(names or [], out):
        print(path)


def _meaning(counts: bool, labels: bool):
    if counts and labels:
        raise InputError("a file holds counts or labels, got both --counts and --labels; keep one")
    return "counts" if counts else "labels" if labels else None


def _class_counts(source: list[str], meaning, column, drop_empty: bool, size: tuple, long_tailed, step):
    from .theory.core.class_counts import ClassCounts

    options = [token for token in source if token.startswith("--")]
    if options:
        known = [o for p in typer.main.get_command(app).commands["derive"].params for o in p.opts if o.startswith("--")]  # type: ignore[attr-defined]
        raise InputError(f"unknown option {options[0]}; {nearest(options[0], known)}")
    if long_tailed is not None and step is not None:
        raise InputError("a profile is long-tailed or step, got both --long-tailed and --step; keep one")
    classes, largest = size
    if not source:
        if classes is None or largest is None or (long_tailed is None and step is None):
            raise InputError(
                "derive needs class counts: numbers, a file or a folder; "
                "or a profile: --long-tailed RATIO (or --step RATIO) with --classes K and --largest N"
            )
        available = None
    else:
        if classes is not None or largest is not None:
            raise InputError(
                "--classes and --largest describe a profile without a source; leave them or the source out"
            )
        available = _read_source(source, meaning, column, drop_empty)
        if long_tailed is None and step is None:
            return available
        classes, largest = len(available), available.total // len(available)
    profile, ratio = (ClassCounts.step, step) if step is not None else (ClassCounts.long_tailed, long_tailed)
    subset = profile(ratio or 0.0, num_classes=classes, largest=largest)
    if available is None:
        return subset
    for name, have, want in zip(available.names, available.counts, subset.counts, strict=True):
        if want > have:
            raise InputError(
                f"the profile takes {want} examples of class {name}, but the source has {have}; balance it first"
            )
    return ClassCounts(subset.counts, available.names)


def _read_source(source: list[str], meaning, column, drop_empty: bool):
    from .theory.core.class_counts import ClassCounts

    if not all(word.strip() for word in source):
        raise InputError("class counts, a file or a folder must be named, got ''; leave empty arguments out")
    tokens = source if os.path.exists(source[0]) else [part for word in source for part in word.split(",") if part]
    if all("=" in token for token in tokens):
        pairs = [[part.strip() for part in token.rsplit("=", 1)] for token in tokens]
        values = [_number(value, f"count of class {name!r}") for name, value in pairs]
        return ClassCounts.from_any(_named(pairs, values), drop_empty=drop_empty)
    if len(source) == 1 and not _is_number(tokens[0]):
        return _read_path(Path(source[0]), meaning, column, drop_empty)
    return ClassCounts.from_any([_number(token, "class_counts") for token in tokens], drop_empty=drop_empty)


def _named(pairs: list[list[str]], values: list) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if "" in names:
        raise InputError(f"class names must not be empty, got '={pairs[names.index('')][1]}'; write name=count")
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"class names must differ, but {twice[0]!r} occurs more than once; merge its counts")
    return dict(zip(names, values, strict=True))


def _read_path(path: Path, meaning, column, drop_empty: bool):
    if os.path.isdir(path):
        from .nn_validation.core.datasets import class_counts

        return class_counts(path, drop_empty=drop_empty)
    from .theory.core.count_files import read_counts

    return read_counts(path, meaning=meaning, column=column, drop_empty=drop_empty)


def _is_number(token: str) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


def _number(token: str, name: str, remedy: str = "pass counts, one file, or one dataset folder") -> int | float:
    if not _is_number(token):
        raise InputError(f"{name} must be a number, got {token!r}; {remedy}")
    digits = token.strip().lstrip("+-")
    return int(token) if digits.isdigit() and len(digits) < _LONGEST_INT else float(token)


def _console():
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def _progress(items: list, text: str):
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, text, console=Console(stderr=True), transient=True)


def _styled(verdict) -> str:
    return f"[{_VERDICT_STYLE.get(str(verdict), 'dim')}]{verdict}[/]"


def _verify_json(decision, variants, falsify: bool) -> dict[str, Any]:
    plain = decision.to_json()
    if falsify:
        plain["variants"] = [
            {"variant": v.variant, "verdict": str(v.verdict), "as_it_must": ok, "figure": v.figure}
            for v, ok in variants
        ]
    return plain


def _print_verdicts(results, falsify: bool) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    for system in dict.fromkeys(decision.claim.system for decision, _ in results):
        table = Table(title=system, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("claim", "kind", "verdict", "decided by"):
            table.add_column(name, overflow="fold", no_wrap=name != "decided by")
        for decision, variants in results:
            if decision.claim.system != system:
                continue
            mark = "" if decision.as_expected else " [red]unexpected[/red]"
            expected = " (as expected)" if decision.claim.expected == "fails" and decision.as_expected else ""
            name = decision.claim.id.split(".")[1]
            table.add_row(
                name, str(decision.claim.kind), _styled(decision.verdict) + expected + mark, escape(decision.figure)
            )
            for variant, as_it_must in variants if falsify else ():
                mark = "" if as_it_must else " [red]survived[/red]"
                table.add_row(
                    f"  [dim]{escape(variant.variant)}[/dim]",
                    "",
                    _styled(variant.verdict) + mark,
                    f"[dim]{escape(variant.figure)}[/dim]",
                )
        console.print(table)
    verdicts = [str(decision.verdict) for decision, _ in results]
    summary = ", ".join(f"{verdicts.count(v)} {v}" for v in _VERDICT_STYLE if v in verdicts)
    unexpected = sum(not decision.as_expected for decision, _ in results)
    seconds = sum(decision.seconds for decision, _ in results)
    line = f"{len(results)} claims: {summary}; {unexpected or 'none'} unexpected; {seconds:.1f} s"
    if falsify:
        variants = [as_it_must for _, several in results for _, as_it_must in several]
        line += f"; {len(variants)} variants, {variants.count(False) or 'none'} survived"
    console.print(line, highlight=False)


def _print_constants(constants) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    console, counts = _console(), constants.class_counts
    console.print(
        f"{len(counts)} classes, {counts.total} examples, imbalance ratio {counts.imbalance_ratio:.6g}", highlight=False
    )
    vectors = [c for c in constants if hasattr(c.value, "shape")]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="By class", title_justify="left", title_style="bold")
    shown = list(range(len(counts)))
    if len(shown) > _SHOWN_CLASSES:
        shown = shown[: _SHOWN_CLASSES // 2] + shown[-_SHOWN_CLASSES // 2 :]
    table.add_column("constant", no_wrap=True)
    for k in shown:
        table.add_column(escape(counts.names[k]), justify="right", overflow="fold")
    table.add_row("count", *(str(counts.counts[k]) for k in shown), end_section=True)
    for c in vectors:
        table.add_row(c.name, *(f"{c.value[k]:.4g}" for k in shown))
    console.print(table)
    if len(counts) > len(shown):
        console.print(f"({len(counts) - len(shown)} classes between left out; --json has them all)", highlight=False)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="Why", title_justify="left", title_style="bold")
    for name in ("constant", "value", "range", "formula and reason", "rests on"):
        table.add_column(name, overflow="fold", no_wrap=name == "constant")
    for c in constants:
        value = "by class" if hasattr(c.value, "shape") else f"{c.value:.5g}"
        span = "" if c.low is None else f"{c.low:.4g} … {c.high:.4g}"
        why = escape(f"{c.formula}\n{c.reason}" + (f"\nrange: {c.range_reason}" if c.range_reason else ""))
        table.add_row(c.name, value, span, why, f"{c.origin}\n{c.claim}\n{_styled(c.verdict)}", end_section=True)
    console.print(table)
    for note in constants.notes:
        console.print(f"Note: {escape(note)}", highlight=False)
