"""``tailbound figures``: draws stored results."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app", "figures"]

app = typer.Typer()


@app.command(epilog="Example:  tailbound figures ldam --out figures")
def figures(
    names: Annotated[list[str] | None, typer.Argument(help="Systems or figure names; all when omitted.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for PDF, PNG and data.")] = Path("figures"),
) -> None:
    """Draw figures: vector PDF, PNG and the data behind each; prints the files written."""
    from ..paper_figs.core import draw

    for path in draw(names or [], out):
        print(path)
