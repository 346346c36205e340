"""The training loop. It knows hooks (`Objective`: mix, losses, start_epoch, end_epoch), not methods.

A run is a function of its settings: chance comes from generators seeded by (seed, epoch), so a run that goes on from a
checkpoint after a kill gives the same record as one that was never interrupted, on the same machine.
"""

import ctypes
import math
import platform
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...theory.core.errors import InputError
from ..methods import Method, method
from .checkpoints import load_checkpoint, save_checkpoint
from .images import Batches, ImageData, Split
from .measures import balanced_error, calibration_error, class_accuracy, label_margins, margin_profile, memorisation
from .model import CifarResNet, seeded
from .protocols import PROTOCOLS, Protocol, Run, protocol

__all__ = [
    "PROTOCOLS",
    "Outputs",
    "Protocol",
    "Run",
    "build_model",
    "check",
    "outputs",
    "pick_device",
    "protocol",
    "train",
]

_EVALUATION_BATCH = 1000
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


@dataclass(frozen=True)
class Outputs:
    """What a network gives for a split, float32: features (N, d), logits (N, K); labels (N,)."""

    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray


def train(
    run: Run,
    data: ImageData,
    *,
    device: str = "auto",
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Any], nn.Module]:
    """Train one method on one image set.

    On a CPU under glibc the process keeps the memory that it frees, from the first call on.

    Args:
        run: the settings.
        data: the images.
        device: ``auto`` takes CUDA when there is one.
        checkpoint: written after every epoch, atomically; if it is there, training goes on from it.
        progress: called with epochs done and wanted.

    Returns:
        What was measured, as plain data (see `_measure`), and the trained model, on the device.

    Raises:
        InputError: for settings that do not fit the data or the device, a checkpoint that is damaged or of another run,
            or a device without enough memory.
        ArithmeticError: when the loss is no longer finite; the message names epoch, batch and likely cause. The
            checkpoint of the epoch before it stays. When the network has died: all features zero.
    """
    place, protocol, chosen = pick_device(device), run.protocol, method(run.method)
    counts = data.class_counts
    if place.type == "cpu":
        _keep_freed_memory()
    with _telling_memory(place, protocol.batch_size):
        objective = chosen.objective(counts).to(place)
        model = build_model(run, data).to(place, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        optimiser = torch.optim.SGD(
            model.parameters(),
            protocol.learning_rate,
            momentum=protocol.momentum,
            nesterov=protocol.nesterov,
            weight_decay=protocol.weight_decay,
            fused=True,
        )
        training = Batches(data.train, data, place, padding=protocol.padding, flip=protocol.flip)
        splits = {"train": data.train, "validation": data.validation, "test": data.test}
        seen = {name: Batches(split, data, place) for name, split in splits.items() if len(split)}
        half = run.mixed_precision and _has_bfloat16(place)
        identity = {"run": run.plain(), "digests": data.digests, "counts": list(counts.counts), "half": half}
        curves: list[dict[str, Any]] = []
        if checkpoint is not None and checkpoint.exists():
            curves = load_checkpoint(checkpoint, identity, model, optimiser, place)
            for row in curves:  # a loss that follows the epochs is as it was
                objective.end_epoch(row)
        forward = torch.compile(model, dynamic=False) if run.compiled else model
        for epoch in range(len(curves), protocol.epochs):
            progress(epoch, protocol.epochs)
            start = time.perf_counter()
            row = _epoch(run, chosen, model, forward, objective, optimiser, training, epoch, counts, half=half)
            row["seconds"] = round(time.perf_counter() - start, 3)
            if protocol.evaluated(epoch):
                for name in [name for name in seen if name != "train"]:
                    out = outputs(model, seen[name], half=half)
                    row[f"{name}_accuracy"] = _rounded(class_accuracy(out.logits, out.labels))
            objective.end_epoch(row)
            curves.append(row)
            if checkpoint is not None:
                save_checkpoint(checkpoint, identity, model, optimiser, curves)
        progress(protocol.epochs, protocol.epochs)
        measured = _measure(model, objective, seen, curves, half=half)
        return {"precision": "bfloat16" if half else "float32", **measured}, model


def check(run: Run, data: ImageData, device: str = "auto") -> None:
    """Raise what `train` would raise at its start for settings that do not fit each other, the data or the device.

    Raises:
        InputError: as `train`.
    """
    place, chosen, counts, epochs = pick_device(device), method(run.method), data.class_counts, run.protocol.epochs
    one = Split(data.train.images[:1], data.train.labels[:1])
    with _telling_memory(place, run.protocol.batch_size):
        Batches(one, data, place, padding=run.protocol.padding)
        chosen.objective(counts)
        chosen.schedule.class_weights(counts, epochs - 1, epochs=epochs)
        chosen.schedule.sampling_weights(counts, epochs - 1, epochs=epochs)
        build_model(run, data)


def build_model(run: Run, data: ImageData) -> CifarResNet:
    """Return the network of a run, its weights drawn from the run's seed."""
    with seeded(run.seed):
        return CifarResNet(
            run.protocol.depth,
            data.num_classes,
            head=method(run.method).head,  # pyright: ignore[reportArgumentType]
            channels=data.train.images.shape[-1],
            width=run.protocol.width,
        )


def pick_device(name: str) -> torch.device:
    """Return a device that is there: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        InputError: for an unknown name, or a device that this machine lacks.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"unknown device {name!r}; pass auto, cpu, cuda, cuda:1 or mps") from None
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"device {name!r} cannot be used ({reason}); pass cpu, or auto for what is there") from None
    return device


def outputs(model: Any, batches: Batches, *, half: bool = False) -> Outputs:
    """Features and logits of all images of a split, not augmented, the model in evaluation mode.

    Raises:
        ArithmeticError: if a logit is not finite.
    """
    model.eval()
    features, logits = [], []
    with torch.inference_mode():
        for indices in torch.arange(len(batches)).split(_EVALUATION_BATCH):
            with torch.autocast(batches.device.type, torch.bfloat16, enabled=half):
                found = model.features(batches.take(indices)[0])
            features.append(found.float())
            logits.append(model.head(features[-1]))
    model.train()
    found = Outputs(torch.cat(features).cpu().numpy(), torch.cat(logits).cpu().numpy(), batches.labels.cpu().numpy())
    if not np.isfinite(found.logits).all():
        raise ArithmeticError("the network's logits are not finite; its weights have run away: lower the learning rate")
    return found


def _epoch(
    run: Run,
    chosen: Method,
    model: Any,
    forward: Any,
    objective: Any,
    optimiser: Any,
    training: Batches,
    epoch: int,
    counts,
    *,
    half,
) -> dict[str, Any]:
    """One pass; returns its row of the curves. A last, smaller batch does not pass through the graph of the others."""
    protocol, device, N = run.protocol, training.device, len(training)
    chance = torch.Generator().manual_seed(int(np.random.SeedSequence([run.seed, epoch]).generate_state(1)[0]))
    rate = protocol.rate(epoch)
    for group in optimiser.param_groups:
        group["lr"] = rate
    order = chosen.start_epoch(objective, counts, training.labels.cpu(), epoch, protocol.epochs, chance)
    model.train()
    total, hits = torch.zeros((), device=device), torch.zeros(len(counts), device=device)
    drawn = torch.zeros(len(counts), device=device)
    batches = order.split(protocol.batch_size)
    broken = torch.full((), len(batches), device=device)  # first batch without a finite loss; read once, at the end
    answers = torch.full((N,), -1, device=device)  # the class given to each image; -1: not drawn
    preparing = 0.0
    for number, indices in enumerate(batches):
        began = time.perf_counter()
        images, labels = training.take(indices, chance)
        images, targets = objective.mix(images, labels, chance)
        preparing += time.perf_counter() - began
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = (forward if len(indices) == protocol.batch_size else model)(images)
            loss = objective(logits, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            broken = torch.where(loss.isfinite() | (broken < number), broken, number)
            total += loss.detach() * len(indices)
            answer = logits.argmax(1)
            answers[indices.to(device)] = answer
            right = (answer == labels).float()
            hits.index_add_(0, labels, right)
            drawn.index_add_(0, labels, torch.ones_like(right))
    if int(broken) < len(batches):
        raise ArithmeticError(
            f"the loss of {run.method!r} is not finite in epoch {epoch + 1}, batch {int(broken) + 1} of {len(batches)} "
            f"(learning rate {rate:g}{', bfloat16' if half else ''}); lower the learning rate or lengthen the warm-up"
        )
    accuracy = (hits / drawn).cpu().numpy()
    return {
        "epoch": epoch + 1,
        "rate": rate,
        "loss": round(float(total) / N, 6),
        "train_accuracy": _rounded(accuracy),  # on augmented images, while the weights move
        "preparing": round(preparing, 3),
        **_memorisation(answers.cpu().numpy(), training),
    }


def _measure(model: Any, objective: Any, seen: dict[str, Batches], curves: list[dict], *, half: bool) -> dict[str, Any]:
    """Measure the last epoch; find the epoch that the validation images prefer, the last where there are none.

    Margins are the label's logit minus the largest other, in cosines for a cosine head; for a linear one divided by
    |W|_F times the root mean square of the features' norms, both over the training set.

    Raises:
        ArithmeticError: if a logit is not finite, or all features are zero.
    """
    head, splits = model.head, {}
    found = {name: outputs(model, batches, half=half) for name, batches in seen.items()}
    scale = 1.0
    if isinstance(head, nn.Linear):
        norms = np.square(found["train"].features).sum(1)
        scale = float(torch.linalg.matrix_norm(head.weight.detach().float())) * float(np.sqrt(norms.mean()))
        if scale == 0:
            raise ArithmeticError("all features are zero, the network is dead; lower the learning rate")
    for name, out in found.items():
        accuracy = class_accuracy(out.logits, out.labels)
        confident = objective.probability_logits(torch.from_numpy(out.logits)).numpy()
        splits[name] = {
            "class_accuracy": _rounded(accuracy),
            "balanced_error": balanced_error(accuracy),
            "ece": calibration_error(confident, out.labels),
        }
        if name == "train":
            splits[name] |= _memorisation(out.logits.argmax(1), seen[name])
        if name != "validation":
            margins = label_margins(out.logits, out.labels) / scale
            splits[name]["margins"] = margin_profile(margins, out.labels, out.logits.shape[1])
    validated = [row for row in curves if "validation_accuracy" in row]
    errors = [balanced_error(np.array(row["validation_accuracy"], dtype=float)) for row in validated]
    best = validated[int(np.argmin(errors))] if errors else curves[-1]
    selected = {
        "epoch": best["epoch"],
        "validation_error": min(errors, default=None),
        "class_accuracy": best["test_accuracy"],
        "balanced_error": balanced_error(np.array(best["test_accuracy"], dtype=float)),
    }
    return {
        "last": splits,
        "selected": selected,
        "margin_unit": "cosine" if scale == 1.0 else f"logit / {scale:.6g}",
        "class_directions": _directions(head),
        "curves": curves,
    }


def _directions(head: nn.Module) -> dict[str, Any]:
    """Norms of the head's rows and the cosines between them, rounded."""
    weight = head.weight.detach().float().cpu().numpy().astype(float)  # pyright: ignore[reportCallIssue]
    norms = np.linalg.norm(weight, axis=1)
    cosines = weight @ weight.T / np.outer(norms, norms)
    return {"norms": norms.round(5).tolist(), "cosines": cosines.round(5).tolist()}


def _memorisation(answers: np.ndarray, batches: Batches) -> dict[str, float | None]:
    """Of the training images that were drawn and whose label is wrong; nothing for labels without noise."""
    if batches.true_labels is None:
        return {}
    drawn = answers >= 0
    return memorisation(answers[drawn], batches.labels.cpu().numpy()[drawn], batches.true_labels[drawn])


def _rounded(values: np.ndarray) -> list[float | None]:
    """Shares for a record; None where there was nothing to count."""
    return [None if math.isnan(value) else round(value, 5) for value in values.tolist()]


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _keep_freed_memory() -> None:
    """Keep the blocks that the process frees, for its next ones; elsewhere than under glibc, do nothing.

    A step allocates hundreds of megabytes. Given back and asked for again they arrive as pages to be cleared: 20000 to
    35000 page faults and up to a quarter of the time of a compiled step.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 2**30)
        library.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def _telling_memory(device: torch.device, batch_size: int):
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch's own error for an accelerator is a RuntimeError too
        told = isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)
        if not told:
            raise
        raise InputError(
            f"out of memory on {device} with batches of {batch_size}; pass a smaller batch_size or network"
            + (", or device cpu" if device.type != "cpu" else "")
        ) from None
