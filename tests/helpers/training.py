"""``tailbound train`` on a few digits, and what it leaves in a folder."""

import json
from pathlib import Path

from . import command_line
from .command_line import Outcome

TINY = ("--set", "epochs=3", "--set", "warmup=1", "--set", "drops=2", "--ratio", 5, "--largest", 20)
LONG = ("--set", "epochs=25", "--set", "drops=20,22", "--set", "evaluate_every=5", "--ratio", 10, "--largest", 40)
UNEQUAL = ("timing", "date", "command")
"""What two records of one run may differ in; the command names the folder."""


def run(*words: object) -> Outcome:
    """Run ``tailbound train`` in this process."""
    return command_line.run("train", *words)


def records(folder: Path) -> dict[str, dict]:
    """All records below a folder by their paths in it, without what differs between two runs of one command."""
    found = {str(path.relative_to(folder)): json.loads(path.read_text()) for path in folder.rglob("*.json")}
    return {name: {key: record[key] for key in record if key not in UNEQUAL} for name, record in found.items()}


def the_record(folder: Path) -> Path:
    (path,) = folder.rglob("*.json")
    return path
