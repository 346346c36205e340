"""``tailbound verify``: decides the claims."""

import json
import sys
from typing import Annotated, Any

import typer

from .console import VERDICT_STYLE, open_console, progress, styled

__all__ = ["app", "verify"]

app = typer.Typer()


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
    from ..theory.claims import falsify as decide_variants
    from ..theory.claims import select
    from ..theory.core.claims import decide

    claims = select(*(patterns or []))
    results = []
    for claim in progress(claims, "deciding"):
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

    console = open_console()
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
                name, str(decision.claim.kind), styled(decision.verdict) + expected + mark, escape(decision.figure)
            )
            for variant, as_it_must in variants if falsify else ():
                mark = "" if as_it_must else " [red]survived[/red]"
                table.add_row(
                    f"  [dim]{escape(variant.variant)}[/dim]",
                    "",
                    styled(variant.verdict) + mark,
                    f"[dim]{escape(variant.figure)}[/dim]",
                )
        console.print(table)
    verdicts = [str(decision.verdict) for decision, _ in results]
    summary = ", ".join(f"{verdicts.count(v)} {v}" for v in VERDICT_STYLE if v in verdicts)
    unexpected = sum(not decision.as_expected for decision, _ in results)
    seconds = sum(decision.seconds for decision, _ in results)
    line = f"{len(results)} claims: {summary}; {unexpected or 'none'} unexpected; {seconds:.1f} s"
    if falsify:
        variants = [as_it_must for _, several in results for _, as_it_must in several]
        line += f"; {len(variants)} variants, {variants.count(False) or 'none'} survived"
    console.print(line, highlight=False)
