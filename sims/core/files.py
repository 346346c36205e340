"""Files that are whole or absent."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

__all__ = ["replace_files"]


def replace_files(contents: Mapping[Path, bytes]) -> None:
    """Write all files, then put each in its place; a failure while writing leaves every file as it was."""
    partial = {path: path.with_name(f".{path.name}.{os.getpid()}.part") for path in contents}
    try:
        for path, content in contents.items():
            partial[path].write_bytes(content)
        for path in contents:
            os.replace(partial[path], path)
    finally:
        for leftover in partial.values():
            with suppress(OSError):
                leftover.unlink(missing_ok=True)
