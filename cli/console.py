"""What the verbs share: a console for tables, a progress bar with the time left, the last line of a failure."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

__all__ = ["VERDICT_STYLE", "fail", "open_console", "progress", "progress_bar", "styled"]

VERDICT_STYLE = {"proved": "green", "confirmed": "cyan", "refuted": "magenta", "unsettled": "yellow"}
"""Colour of each verdict; their order is that of the summary."""

_PIPE_WIDTH = 160


def fail(message: str) -> NoReturn:
    """Print one printable line on stderr and leave with exit code 2."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    print(f"tailbound: {line}", file=sys.stderr)
    sys.exit(2)


def open_console():
    """Return rich's console for stdout, wide where no terminal limits it."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def progress(items: list, text: str):
    """Return the items, with a progress bar on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, text, console=Console(stderr=True), transient=True)


@contextmanager
def progress_bar(text: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar with the time left on stderr where that is a terminal; yields what to call with done and total."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def styled(verdict) -> str:
    """Return the verdict with its colour, in rich's markup."""
    return f"[{VERDICT_STYLE.get(str(verdict), 'dim')}]{verdict}[/]"
