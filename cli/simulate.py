"""``tailbound simulate``: runs studies, resumable and in parallel."""

import json
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from ..theory.core.errors import InputError
from .console import fail, open_console, progress_bar

__all__ = ["app", "simulate"]

app = typer.Typer()


@app.command(
    epilog="Examples:  tailbound simulate --list  ·  tailbound simulate vs_loss.cs_svm_errors --jobs 4  ·  "
    "tailbound simulate vs_loss --repetitions 2 --export results  ·  tailbound simulate vs_loss --dask tcp://host:8786"
)
def simulate(
    studies: Annotated[list[str] | None, typer.Argument(help="Systems, study names or globs ('*' for all).")] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="SQLite file of the results.", show_default="$TAILBOUND_STORE or tailbound-results.sqlite"),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 1,
    dask: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Draw on this Dask cluster instead.")] = None,
    repetitions: Annotated[int | None, typer.Option(min=1, help="Draws of each case, in place of the study's.")] = None,
    export: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write parquet and header there too.")] = None,
    show: Annotated[bool, typer.Option("--list", help="Show the studies and what is stored; draw nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for each study, in an array.")] = False,
) -> None:
    """Draw what the store lacks of some studies. An interrupted run goes on where it stopped, to the same results."""
    from ..sims.core.results import default_store
    from ..sims.core.results import export as write_export
    from ..sims.core.run import DrawError, dask_cluster, run
    from ..sims.core.store import Store
    from ..sims.core.study import select

    path = store or default_store()
    if not studies and not show:
        raise InputError("simulate needs the names of studies; tailbound simulate --list shows them, '*' takes all")
    if dask is not None and jobs > 1:
        raise InputError("draws are made by --jobs processes or on a --dask cluster, got both; keep one")
    chosen = select(*(studies or []))
    if repetitions is not None:
        chosen = [study.with_repetitions(repetitions) for study in chosen]
    if show:
        _show(chosen, path, as_json)
        return
    results = []
    try:
        with ExitStack() as stack:
            backend, width = stack.enter_context(dask_cluster(dask)) if dask is not None else (None, jobs)
            opened = stack.enter_context(Store(path))
            for study in chosen:
                with progress_bar(study.name) as progress:
                    done, new = run(study, opened, jobs=width, backend=backend, progress=progress)
                files = []
                if export is not None:
                    command = shlex.join(["tailbound", *sys.argv[1:]])
                    files = [str(file) for file in write_export(study, opened, export, command=command)]
                results.append({"study": study.name, "draws": done, "new": new, "files": files})
                if not as_json:
                    print("\n".join([f"{study.name}: {done} draws in {path}, {new} new", *files]), flush=True)
    except DrawError as error:
        fail(str(error))
    except KeyboardInterrupt:
        print(
            f"tailbound: interrupted; finished draws are in {path}, the same command goes on from there",
            file=sys.stderr,
        )
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(results, indent=1))


def _show(studies, path: Path, as_json: bool) -> None:
    from ..sims.core.store import Store

    with ExitStack() as stack:
        store = stack.enter_context(Store(path, create=False)) if path.exists() else None
        plain = []
        for study in studies:
            done, missing = store.outstanding(study) if store else (0, range(len(study.cases) * study.repetitions))
            plain.append(
                {
                    "study": study.name,
                    "version": study.version,
                    "cases": len(study.cases),
                    "repetitions": study.repetitions,
                    "max_repetitions": max(study.repetitions, study.max_repetitions),
                    "draws": done,
                    "wanted": done + len(missing),
                }
            )
    if as_json:
        print(json.dumps(plain, indent=1))
        return
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("study", no_wrap=True)
    for name in ("version", "cases", "repetitions", "draws"):
        table.add_column(name, justify="right")
    for each in plain:
        fewest, most = each["repetitions"], each["max_repetitions"]
        span = f"{fewest}" if fewest == most else f"{fewest} … {most}"
        cells = (each["version"], each["cases"], span, f"{each['draws']} of {each['wanted']}")
        table.add_row(each["study"], *map(str, cells))
    open_console().print(table)
    print(f"{len(plain)} studies; the store {path} {'holds these draws' if store else 'does not exist yet'}")
