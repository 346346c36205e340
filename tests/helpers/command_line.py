"""The command line as the tests run it: in this process, or as a shell does."""

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from tailbound.cli import main

QUICK = "vs_loss.initial_weight"  # a claim that is decided in milliseconds


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """The output without the line breaks of the layout."""
        return " ".join(self.out.split())


def run(*args: object) -> Outcome:
    """Run the command line in this process."""
    code, out, err = 0, io.StringIO(), io.StringIO()
    with mock.patch.object(sys, "argv", ["tailbound", *map(str, args)]), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code or 0
    return Outcome(code, out.getvalue(), err.getvalue())


def run_process(*args: object, cwd: Path, **environment: str) -> Outcome:
    """Run the command line as a shell does."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tailbound", *map(str, args)],
        cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout, done.stderr)


def derived(*args: object) -> dict:
    done = run("derive", *args, "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def assert_rejected(done: Outcome, *parts: str) -> None:
    """One line on stderr with all `parts`, nothing on stdout, exit code 2."""
    assert done.code == 2, done
    assert done.out == ""
    assert len(done.err.splitlines()) == 1, done.err
    assert done.err.startswith("tailbound: ")
    for part in parts:
        assert part in done.err


def assert_answers(done: Outcome) -> None:
    assert done.code in (0, 2), done
    if done.code:
        assert_rejected(done)
    else:
        assert done.out
        assert done.err == ""
