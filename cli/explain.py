"""``tailbound explain``: shows one claim, its derivation and its wrong variants."""

from typing import Annotated

import typer

from ..theory.core.errors import InputError
from .console import open_console, styled

__all__ = ["app", "explain"]

app = typer.Typer()


@app.command(epilog="Example:  tailbound explain ldam.binary_split")
def explain(claim_id: Annotated[str, typer.Argument(metavar="CLAIM", help="A claim id.")]) -> None:
    """Show a claim: its statement, its derivation, both sides with numbers, and how each wrong variant was refuted."""
    from rich.markup import escape

    from ..theory.claims import falsify as decide_variants
    from ..theory.claims import load, select
    from ..theory.core.claims import decide

    if claim_id not in load():
        select(claim_id)  # a system or a glob passes, a misspelt name is an error that suggests the nearest
        matching = ", ".join(claim.id for claim in select(claim_id)[:8])
        raise InputError(f"explain takes one claim id, got {claim_id!r}; it matches {matching}")
    (claim,) = select(claim_id)
    decision, console = decide(claim), open_console()

    def heading(text: str) -> None:
        console.print(f"\n[bold]{text}[/bold]")

    console.print(f"[bold]{claim.id}[/bold]  {styled(decision.verdict)} (expected: {claim.expected})", highlight=False)
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
        console.print(f"  {styled(evidence.verdict)}: {escape(evidence.figure)}", highlight=False)
        if evidence.note:
            console.print(f"  {escape(evidence.note)}", highlight=False)
    heading("Variants, decided by the same check")
    for variant, as_it_must in decide_variants(claim):
        what = "correction" if variant.variant == "right" else "wrong variant"
        mark = "" if as_it_must else " [red](must not be)[/red]"
        console.print(f"  {what} '{escape(variant.variant)}': {styled(variant.verdict)}{mark}", highlight=False)
        console.print(f"       {escape(variant.figure)}", highlight=False)
