"""The command line, one module a verb: data on stdout, progress and errors on stderr, exit code 2 for bad input."""

import io
import os
import shlex
import sys
from typing import Annotated, Any

import typer

from .. import __version__
from ..theory.core.errors import InputError
from . import derive, explain, figures, simulate, train, verify
from .console import fail

__all__ = ["app", "main"]

app = typer.Typer(
    name="tailbound",
    help="Decides the theory of learning from imbalanced classes by computation; derives constants from what holds.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _verb in (verify, explain, derive, simulate, train, figures):
    app.add_typer(_verb.app)
_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # click's UsageError, which newer typer keeps to itself
_SHOWN_COMMAND = 120


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
        fail(str(error))
    except _USAGE_ERROR as error:  # pyright: ignore[reportGeneralTypeIssues]
        given = shlex.join(["tailbound", *sys.argv[1:]])
        given = given if len(given) <= _SHOWN_COMMAND else f"{given[:_SHOWN_COMMAND]}…"
        where = error.ctx.command_path if error.ctx else "tailbound"
        fail(f"{' '.join(error.format_message().split()).rstrip('.')} (in: {given}; help: {where} --help)")
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # rich has met it first
            sys.exit(0)
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader of our output has left, as `head` does
            sys.exit(0)
        fail(f"cannot read or write ({error}); make room, or check the permissions")
    except KeyboardInterrupt:
        sys.exit(130)


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
