"""Runs: one method on one image set with one seed, and the record it leaves.

Beside the record of an unfinished run lies its checkpoint, ``.pt``, from which the same call goes on.
"""

import json
import os
import platform
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ...sims.core.files import replace_files
from ...theory.core.errors import InputError
from .images import ImageData, load_images
from .loop import Run, check, pick_device, protocol, train
from .records import FORMAT, read_record

__all__ = ["Job", "run_job"]

_RECORDED = ("tailbound", "torch", "numpy", "scikit-learn")


@dataclass(frozen=True)
class Job:
    """One run on one image set, and where its record goes.

    Args:
        source: ``digits`` or a folder, see `load_images`.
        method: see `methods.method`.
        protocol: name in `PROTOCOLS`.
        changes: settings of the protocol that differ.
        seed: of the run.
        profile: of the class counts.
        imbalance_ratio: n_max / n_min.
        largest: n_max, None for the literature's.
        subset_seed: None for the literature's subset.
        noise_rate: of symmetric label noise in training and validation images.
        mixed_precision: see `Run`.
        compiled: see `Run`.
        out: folder of the records.
        keep_weights: leave the checkpoint of the last epoch beside the record.
    """

    source: str
    method: str
    protocol: str = "fast"
    changes: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    profile: str = "long-tailed"
    imbalance_ratio: float = 100.0
    largest: int | None = None
    subset_seed: int | None = None
    noise_rate: float = 0.0
    mixed_precision: bool = True
    compiled: bool = False
    out: str = "trained"
    keep_weights: bool = False

    @property
    def run(self) -> Run:
        """Its settings for `train`."""
        return Run(self.method, protocol(self.protocol, **self.changes), self.seed, self.mixed_precision, self.compiled)

    @property
    def command(self) -> str:
        """The command that makes its record again."""
        words = [self.method, "--data", self.source, "--protocol", self.protocol, "--seed", str(self.seed)]
        for key, value in self.changes.items():
            words += ["--set", f"{key}={_word(value)}"]
        words += ["--profile", self.profile, "--ratio", f"{self.imbalance_ratio:.12g}"]
        words += ["--largest", str(self.largest)] if self.largest is not None else []
        words += ["--subset", str(self.subset_seed)] if self.subset_seed is not None else []
        words += ["--noise", f"{self.noise_rate:.12g}"] if self.noise_rate else []
        words += ["--no-mixed-precision"] * (not self.mixed_precision) + ["--compile"] * self.compiled
        return shlex.join(["tailbound", "train", *words, "--out", self.out])

    def data(self) -> ImageData:
        """Its images; those of the last job are kept in memory."""
        return _load(self.source, self.profile, self.imbalance_ratio, self.largest, self.subset_seed, self.noise_rate)

    def check(self, device: str = "auto") -> None:
        """Raise now what `run_job` would raise before its first epoch for settings that do not fit."""
        check(self.run, self.data(), device)

    def path(self, data_name: str) -> Path:
        """Where its record goes."""
        settings = [self.protocol, *(f"{key}={_word(value)}" for key, value in self.changes.items())]
        settings += ["float32"] * (not self.mixed_precision) + ["compiled"] * self.compiled
        profile = self.profile if self.profile == "balanced" else f"{self.profile}-{self.imbalance_ratio:.12g}"
        profile += "" if self.largest is None else f"-largest-{self.largest}"
        profile += "" if self.subset_seed is None else f"-subset-{self.subset_seed}"
        profile += f"-noise-{self.noise_rate:.12g}" if self.noise_rate else ""
        names = (data_name, profile, "_".join(settings), f"{self.method}-seed{self.seed}.json")
        return Path(self.out, *(re.sub(r"[^\w.=,+-]", "_", name) for name in names))


def run_job(
    job: Job,
    *,
    device: str = "auto",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Path, dict[str, Any], bool]:
    """Train what a job asks, unless its record is there; go on from its checkpoint, if there is one.

    Returns:
        The record's path, the record, and whether it is new.

    Raises:
        InputError: as `train`, for a record that is damaged or of other settings, or a folder that cannot be written.
        ArithmeticError: as `train`.
    """
    data = job.data()
    path = job.path(data.name)
    settings = {"run": job.run.plain(), "data": _describe(job, data)}
    if path.exists():
        record = read_record(path)
        told = {key: record[key] for key in settings}
        if job.profile == "balanced":  # it has no ratio
            told["data"] = told["data"] | {"imbalance_ratio": job.imbalance_ratio}
        if told != json.loads(json.dumps(settings)):
            raise InputError(f"{path}: is the record of other settings; move it away, or write to another folder")
        return path, record, False
    place, checkpoint, start = pick_device(device), path.with_suffix(".pt"), time.perf_counter()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        measured, _ = train(job.run, data, device=device, checkpoint=checkpoint, progress=progress)
        seconds = [row.pop("seconds") for row in measured["curves"]]
        preparing = [row.pop("preparing") for row in measured["curves"]]
        examples = data.class_counts.total
        record = {
            "format": FORMAT,
            **settings,
            "counts": list(data.class_counts.counts),
            "command": job.command,
            "versions": {"python": platform.python_version()} | {name: version(name) for name in _RECORDED},
            "machine": f"{platform.platform()}, {os.cpu_count()} cores, {_device_name(place)}",
            "threads": torch.get_num_threads(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "timing": {
                "seconds": round(time.perf_counter() - start, 1),
                "epoch_seconds": sorted(seconds)[len(seconds) // 2],
                "images_per_second": round(examples * len(seconds) / sum(seconds), 1),
                "share_in_data": round(sum(preparing) / sum(seconds), 4),
            },
            **measured,
        }
        replace_files({path: (json.dumps(record, separators=(",", ":")) + "\n").encode()})
        if not job.keep_weights:
            checkpoint.unlink(missing_ok=True)
        for leftover in path.parent.glob(f".{checkpoint.name}.*.part"):  # of a process killed while it wrote
            leftover.unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be written ({reason}); name a folder that can be, with --out") from None
    return path, read_record(path), True


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@cache
def _load(
    source: str, profile: Any, ratio: float, largest: int | None, subset_seed: int | None, noise_rate: float
) -> ImageData:
    return load_images(
        source,
        profile=profile,
        imbalance_ratio=ratio,
        largest=largest,
        subset_seed=subset_seed,
        noise_rate=noise_rate,
    )


def _describe(job: Job, data: ImageData) -> dict[str, Any]:
    return {
        "name": data.name,
        "classes": list(data.class_names),
        "profile": job.profile,
        "imbalance_ratio": job.imbalance_ratio,
        "subset_seed": job.subset_seed,
        **({"noise_rate": job.noise_rate} if job.noise_rate else {}),
        "validation": len(data.validation),
        **data.digests,
    }


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
