"""Tables made from a trained network whose weights were kept: made by a command, kept beside the records, read back.

A table belongs to one record, has its name below ``results/<kind>/``, and holds its digest; the index lists the table's
own digest. Reading needs no torch.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...sims.core.files import replace_files
from ...theory.core.errors import InputError
from .evidence import TABLES, MissingRecords, table_files
from .records import COMMITTED, read_record

__all__ = ["network_outputs", "network_tables", "read_table", "table_folder", "write_table"]

_DIGITS = 5


def table_folder(kind: str) -> Path:
    """Where the tables of a kind are kept with the package, see `evidence.TABLES`."""
    return COMMITTED.with_name(kind)


def write_table(
    arguments: Sequence[str],
    *,
    kind: str,
    description: str,
    rows: Callable[[dict[str, Any], dict[str, Any]], pd.DataFrame],
) -> int:
    """The command of a kind of table: write it for a record whose weights were kept; returns the exit code.

    Args:
        arguments: the record, and options.
        kind: of the table, see `evidence.TABLES`.
        description: for ``--help``.
        rows: makes the table from the outputs of the three splits (`network_outputs`) and the record.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {TABLES[kind]}", description=description)
    parser.add_argument("record", type=Path)
    parser.add_argument("--data", default="digits", help="digits, or the folder of the image files")
    parser.add_argument("--weights", type=Path, help="the checkpoint; beside the record by default")
    parser.add_argument("--out", type=Path, default=table_folder(kind))
    chosen = parser.parse_args(arguments)
    try:
        record = read_record(chosen.record)
        frame = rows(network_outputs(record, chosen.data, chosen.weights or chosen.record.with_suffix(".pt")), record)
        columns = {str(name): [_plain(value) for value in frame[name].tolist()] for name in frame}
        stored = {"record": _digest(chosen.record), "command": f"{parser.prog} {chosen.record.name}"}
        path = chosen.out.joinpath(*chosen.record.parts[-4:])
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_files({path: (json.dumps(stored | {"columns": columns}, separators=(",", ":")) + "\n").encode()})
    except InputError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    print(path)
    return 0


def network_outputs(record: dict[str, Any], source: str, weights: Path) -> dict[str, Any]:
    """What the network of a record gives for each split, from its weights and images: see `loop.Outputs`.

    Raises:
        InputError: for other images than those of the record, labels with noise, or weights of another run.
    """
    import torch

    from .checkpoints import load_model
    from .images import Batches, load_images
    from .loop import Protocol, Run, build_model, outputs

    told = record["data"]
    if told.get("noise_rate"):
        raise InputError("tables are made from networks trained without label noise; name such a record")
    data = load_images(
        source, profile=told["profile"], imbalance_ratio=told["imbalance_ratio"], subset_seed=told["subset_seed"],
        largest=max(record["counts"]),
    )  # fmt: skip
    if data.digests != {name: told[name] for name in data.digests}:
        raise InputError(f"{source}: are other images than those of the record; name the folder it was trained on")
    settings = record["run"]
    protocol = Protocol(**settings["protocol"] | {"drops": tuple(settings["protocol"]["drops"])})
    identity = {"run": settings, "digests": data.digests, "counts": record["counts"]}
    network = build_model(Run(settings["method"], protocol, settings["seed"]), data)
    model = load_model(weights, identity, protocol.epochs, network)
    splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
    return {name: outputs(model, Batches(split, data, torch.device("cpu"))) for name, split in splits.items()}


def read_table(file: str, kind: str, folder: Path | None = None) -> pd.DataFrame:
    """Read the table that belongs to a record, by the record's name below its folder.

    Raises:
        InputError: if it is missing, damaged, or of another record.
    """
    path = (folder or table_folder(kind)) / file
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        frame = pd.DataFrame(stored["columns"])
        digest = stored["record"]
    except FileNotFoundError:
        raise InputError(f"{path}: is missing; run: python -m {TABLES[kind]} RECORD") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no whole table ({' '.join(str(error).split())[:100]}); make it again") from None
    if (COMMITTED / file).exists() and digest != _digest(COMMITTED / file):
        raise InputError(f"{path}: belongs to another record than {file}; make it again")
    return frame


def network_tables(kind: str) -> dict[str, pd.DataFrame]:
    """All tables of a kind that the index lists, by the set their records belong to, with ``seed``; two networks a set.

    Raises:
        MissingRecords: if a table is gone or changed.
    """
    found: dict[str, pd.DataFrame] = {}
    for folder, files in table_files(kind).items():
        frames = []
        for name, digest in files.items():
            path = table_folder(kind) / folder / name
            if not path.exists() or _digest(path) != digest:
                raise MissingRecords(f"{path} is not the table of the index; make it again, or renew the index")
            frames.append(read_table(f"{folder}/{name}", kind).assign(seed=int(path.stem.rpartition("-seed")[2])))
        found[folder] = pd.concat(frames, ignore_index=True)
    return found


def _plain(value: Any) -> Any:
    """JSON's own types; what is not a number becomes None."""
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(each) for each in np.asarray(value).tolist()]
    return None if value != value else round(value, _DIGITS) if isinstance(value, float) else value


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()[:16]
