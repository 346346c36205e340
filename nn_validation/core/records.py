"""Records of trained networks, read back: one JSON file a run, whole or absent. Needs no torch.

A record is ``<folder>/<data>/<profile>-<ratio>/<protocol>/<method>-seed<seed>.json``.
"""

import json
import os
from pathlib import Path
from typing import Any

from ...theory.core.errors import InputError

__all__ = ["COMMITTED", "FORMAT", "read_record", "read_records"]

COMMITTED = Path(__file__).parents[1] / "results" / "trained"
"""Records that are kept with the package."""

FORMAT = 1
_PARTS = ("run", "data", "counts", "last", "selected", "curves", "versions", "machine")


def read_record(path: str | os.PathLike) -> dict[str, Any]:
    """Read one record.

    Raises:
        InputError: if it is missing, damaged or of another format.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        if record["format"] != FORMAT or any(part not in record for part in _PARTS):
            raise InputError(f"{path}: is a record of another format; delete it to train again")
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; run tailbound train to make it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:100]
        raise InputError(f"{path}: is no whole record ({reason}); delete it to train again") from None
    return record


def read_records(folder: str | os.PathLike = COMMITTED, pattern: str = "**/*.json") -> list[dict[str, Any]]:
    """Read all records below a folder, in the order of their paths; each has its file's name as ``file``."""
    found = sorted(path for path in Path(folder).glob(pattern) if path.is_file())
    return [read_record(path) | {"file": str(path.relative_to(folder))} for path in found]
