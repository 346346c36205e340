"""Results as files: exports of a study, and what figures and claims read.

An export is ``<study>.parquet``, the rows, with ``<study>.json``, how they came about. Exports that are committed with
the package let every figure be drawn without a simulation.
"""

import json
import os
import platform
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from ...theory.core.errors import InputError
from .files import replace_files
from .store import Store
from .study import SEED_SCHEME, Study, as_tuple, canonical, select

__all__ = ["default_store", "export", "load_results"]

_PACKAGE = Path(__file__).parents[2]
_COMMITTED = (_PACKAGE / "sims" / "results", _PACKAGE / "nn_validation" / "results")
_RECORDED = ("tailbound", "numpy", "scipy", "scikit-learn", "pandas", "pyarrow")


def export(study: Study, store: Store, folder: str | Path, *, command: str = "") -> list[Path]:
    """Write the rows of a study as ``<study>.parquet`` with a header ``<study>.json``.

    Args:
        study: all of its draws must be stored.
        store: holds them.
        folder: made when missing; older files of the study are replaced by complete ones.
        command: what made the rows, for the header.

    Returns:
        The two paths.

    Raises:
        InputError: if draws are missing, a column mixes kinds of values, or the folder cannot be written.
    """
    missing = len(store.outstanding(study)[1])
    if missing:
        raise InputError(f"{missing} draws of study {study.name!r} are missing; run: tailbound simulate {study.name}")
    rows = store.rows(study)
    content = _parquet(rows, study)
    header = {
        "study": study.name,
        "version": study.version,
        "cases": study.cases,
        "repetitions": rows["repetition"].nunique(),
        "rows": len(rows),
        "digest": f"sha256:{sha256(content).hexdigest()}",
        "command": command or f"tailbound simulate {study.name} --export {folder}",
        "seed": SEED_SCHEME,
        "packages": {"python": platform.python_version()} | {name: version(name) for name in _RECORDED},
        "machine": f"{platform.platform()}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    parquet, json_file = Path(folder) / f"{study.name}.parquet", Path(folder) / f"{study.name}.json"
    try:
        parquet.parent.mkdir(parents=True, exist_ok=True)
        replace_files({parquet: content, json_file: (json.dumps(header, indent=1) + "\n").encode()})
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"results cannot be exported into {str(folder)!r}: {reason}; name a folder that can be written"
        ) from None
    return [parquet, json_file]


def default_store() -> Path:
    """Return the path of the user's store: ``$TAILBOUND_STORE``, else ``tailbound-results.sqlite`` here."""
    return Path(os.environ.get("TAILBOUND_STORE") or "tailbound-results.sqlite")


def load_results(study: Study | str) -> pd.DataFrame:
    """Return the rows of a study (see `Store.rows`): the user's store if it has them all, else those committed.

    Args:
        study: a study or its name. A name that only the committed results know is one whose study cannot be imported
            here, because torch is missing.

    Raises:
        InputError: if neither has the study at its present version and cases, or a file is damaged.
    """
    name = study if isinstance(study, str) else study.name
    committed = next((folder / name for folder in _COMMITTED if (folder / f"{name}.json").exists()), None)
    if isinstance(study, str):
        try:
            study = next(each for each in select(name) if each.name == name)
        except InputError:
            if committed is None:
                raise
            return _read(committed)
    if default_store().exists():
        with Store(default_store(), create=False) as store:
            if not store.outstanding(study)[1]:
                return store.rows(study)
    if committed is None:
        raise InputError(f"no stored result for study {name!r}; run: tailbound simulate {name}")
    return _read(committed, study)


def _read(stem: Path, study: Study | None = None) -> pd.DataFrame:
    """Read an export, if it is whole and of the study as it is now."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    header = json.loads(stem.with_name(f"{stem.name}.json").read_text(encoding="utf-8"))
    content = stem.with_name(f"{stem.name}.parquet").read_bytes()
    if header["digest"] != f"sha256:{sha256(content).hexdigest()}":
        raise InputError(f"the committed result {stem.name}.parquet is not that of its header; restore both files")
    stale = study and (header["version"], [canonical(each) for each in header["cases"]])
    if study and stale != (study.version, list(study.case_texts)):
        raise InputError(
            f"the committed result of study {study.name!r} is of another version or other cases than the study is now; "
            f"run: tailbound simulate {study.name}"
        )
    table = pq.read_table(BytesIO(content))
    frame = table.to_pandas()
    of_case = {name for case in header["cases"] for name in case}
    for field in table.schema:
        if pa.types.is_list(field.type):
            cells = table[field.name].to_pylist()
            frame[field.name] = [as_tuple(cell) if field.name in of_case else np.array(cell) for cell in cells]
    return frame


def _parquet(rows: pd.DataFrame, study: Study) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer, columns = BytesIO(), {}
    for name in rows:
        cells = [cell.tolist() if isinstance(cell, np.ndarray) else cell for cell in rows[name]]
        try:
            columns[name] = pa.array(cells)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise InputError(
                f"column {name!r} of study {study.name!r} cannot be exported: {str(error).splitlines()[0]}; "
                "keep to one kind of value"
            ) from None
    pq.write_table(pa.table(columns), buffer, compression="zstd", compression_level=9)
    return buffer.getvalue()
