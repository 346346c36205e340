"""Checkpoints: whole or absent, read without running code, refused when damaged or of another run."""

import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...sims.core.files import replace_files
from ...theory.core.errors import InputError

__all__ = ["load_checkpoint", "load_model", "save_checkpoint"]


def save_checkpoint(
    path: Path, identity: dict[str, Any], model: nn.Module, optimiser: torch.optim.Optimizer, curves: list[dict]
) -> None:
    """Write weights, optimiser and curves, atomically; `identity` says of which run, as plain data."""
    buffer = io.BytesIO()
    content = {
        "identity": json.dumps(identity, sort_keys=True),
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "curves": json.dumps(curves),
    }
    torch.save(content, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_files({path: buffer.getvalue()})


def load_checkpoint(
    path: Path,
    identity: dict[str, Any],
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    device: torch.device,
) -> list[dict[str, Any]]:
    """Restore weights and optimiser from a checkpoint; return its curves.

    Raises:
        InputError: if the file is damaged or of another run.
    """
    content = _read(path, device)
    _same_run(path, identity, json.loads(content["identity"]))
    with _refusing(path):
        model.load_state_dict(content["model"])
        optimiser.load_state_dict(content["optimiser"])
        return json.loads(content["curves"])


def load_model(path: Path, identity: dict[str, Any], epochs: int, model: nn.Module) -> nn.Module:
    """Restore the weights of a finished run, on the CPU; `identity`, or part of one, says of which.

    Raises:
        InputError: if the file is missing or damaged, of another run, or of one that has not gone all `epochs`.
    """
    content = _read(path, torch.device("cpu"))
    _same_run(path, identity, {key: json.loads(content["identity"]).get(key) for key in identity})
    if (done := len(json.loads(content["curves"]))) != epochs:
        raise InputError(f"{path}: holds the weights after {done} of {epochs} epochs; finish the training")
    try:
        model.load_state_dict(content["model"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: holds the weights of another network ({reason}); train again") from None
    return model


def _same_run(path: Path, mine: dict[str, Any], other: dict[str, Any]) -> None:
    mine, other = _flat(json.loads(json.dumps(mine))), _flat(other)
    differing = [key for key in {**mine, **other} if other.get(key) != mine.get(key)]
    if differing:
        raise InputError(
            f"{path}: is the checkpoint of another run (differs in {', '.join(differing[:5])}); "
            "move it away, or write elsewhere"
        )


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    with _refusing(path), warnings.catch_warnings(action="ignore"):
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is damaged")
        content = torch.load(path, map_location=device, weights_only=True)
        json.loads(content["identity"])
        return {key: content[key] for key in ("identity", "model", "optimiser", "curves")}


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Bytes that are no checkpoint can raise anything; memory that runs out is not their fault."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or type(error).__name__})") from None
    except Exception as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{path}: is no whole checkpoint ({reason}); delete it to train from the start") from None


def _flat(plain: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(plain, dict):
        return {name: plain}
    return {
        key: value for part, inner in plain.items() for key, value in _flat(inner, f"{name}.{part}".strip(".")).items()
    }
