"""Times the training loop against one in the usual style: python benchmarks/training.py [--compile] [--data FOLDER].

ResNet-32, cross-entropy, batches of 128 images of CIFAR-10's shape (random pixels without ``--data``), the same threads
for all. Ours is the package's own `train`: images as bytes on the device, crops and mirror images by one indexing
operation, channels last, bfloat16 where the hardware computes in it. The peer is written here in the style of released
code: float32 in NCHW, eager, each image padded, cropped, mirrored, made float and normalised by itself in the processes
of a `DataLoader`, loss and hits read at every step.

They take turns, each in a process of its own, whose memory is handled as its loop wants it; of each the fastest round
counts, in time a step, so that the number of steps does not matter. The peer's first steps, while its processes start,
are left out, and so is the first epoch of our loop compiled (``--compile``). The share in data is the time until a
batch is ready. The last line is what no loop around this network can beat: its convolutions alone, forward and
backward, as ours runs them.

``--accuracy`` trains both on long-tailed digits, or on the long-tailed images of ``--data``, with several seeds, ours
once more in float32 where it computes in bfloat16, and compiled with ``--compile``; it compares the balanced test
errors: mean, standard deviation over seeds, and the difference in standard errors.
"""

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tailbound.nn_validation.core.images import Batches, ImageData, Split, load_images
from tailbound.nn_validation.core.loop import _has_bfloat16, build_model, outputs, pick_device, train
from tailbound.nn_validation.core.measures import balanced_error, class_accuracy
from tailbound.nn_validation.core.protocols import PROTOCOLS, Protocol, Run, protocol
from torch import nn
from torch.utils.data import DataLoader, Dataset

_LEFT_OUT = 4  # steps of the peer
_ONE_EPOCH = protocol("paper", epochs=1, warmup=0, learning_rate=0.01)  # random pixels kill a network at 0.1


class OneByOne(Dataset):
    """Images of a split, each augmented by itself, as torchvision's transforms do."""

    def __init__(self, split: Split, data: ImageData, settings: Protocol):
        self.split, self.settings = split, settings
        self.mean, self.std = (torch.tensor(value)[:, None, None] for value in (data.mean, data.std))

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return one image, float32 (C, H, W), and its label."""
        image, padding = self.split.images[index], self.settings.padding
        height, width, _ = image.shape
        image = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
        top, left = torch.randint(0, 2 * padding + 1, (2,)).tolist()
        image = image[top : top + height, left : left + width]
        if self.settings.flip and torch.rand(1).item() < 0.5:
            image = image[:, ::-1]
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().div(255)
        return (pixels - self.mean) / self.std, int(self.split.labels[index])


def usual_loop(run: Run, data: ImageData, *, workers: int, device: str = "auto") -> tuple[float, float, nn.Module]:
    """Train in the usual style; return seconds a step, the share in data, and the model."""
    settings, place = run.protocol, pick_device(device)
    model, measure = build_model(run, data).to(place), nn.CrossEntropyLoss().to(place)
    optimiser = torch.optim.SGD(
        model.parameters(), settings.learning_rate, settings.momentum, weight_decay=settings.weight_decay
    )
    torch.manual_seed(run.seed)
    loader = DataLoader(
        OneByOne(data.train, data, settings),
        settings.batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=place.type == "cuda",
    )
    total, waited, counted, hits, losses = 0.0, 0.0, 0, 0.0, 0.0
    for epoch in range(settings.epochs):
        for group in optimiser.param_groups:
            group["lr"] = settings.rate(epoch)
        model.train()
        began, batches = time.perf_counter(), iter(loader)
        for number in range(len(loader)):
            images, labels = next(batches)
            ready = time.perf_counter()
            images, labels = images.to(place, non_blocking=True), labels.to(place, non_blocking=True)
            logits = model(images)
            loss = measure(logits, labels)
            losses += loss.item() * len(labels)
            hits += (logits.argmax(1) == labels).float().sum().item()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            end = time.perf_counter()
            if number >= _LEFT_OUT:
                total, waited, counted = total + end - began, waited + ready - began, counted + 1
            began = end
    return total / max(counted, 1), waited / max(total, 1e-9), model


def time_usual(steps: int, folder: str | None, workers: int) -> tuple[float, float]:
    """Seconds a step in the usual style, and the share in data."""
    return usual_loop(Run("ce", _ONE_EPOCH), cifar_shaped(steps, folder), workers=workers)[:2]


def time_ours(steps: int, folder: str | None, half: bool, compiled: bool = False) -> tuple[float, float]:
    """Seconds a step, and the share in data; compiled, of the fastest of three epochs after the one that compiles."""
    data, epochs = cifar_shaped(steps, folder), 4 if compiled else 1
    settings = replace(_ONE_EPOCH, epochs=epochs, evaluate_every=epochs)
    measured, _ = train(Run("ce", settings, mixed_precision=half, compiled=compiled), data)
    best = min(measured["curves"][compiled:], key=lambda row: row["seconds"])
    return best["seconds"] / steps, best["preparing"] / best["seconds"]


def time_convolutions(rounds: int) -> tuple[float, float]:
    """Seconds that the network's convolutions take for one step, forward and backward, at their fastest."""
    run, data, place = Run("ce", _ONE_EPOCH), cifar_shaped(1, None), pick_device("auto")
    model = build_model(run, data).to(place, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    half = torch.bfloat16 if run.mixed_precision and _has_bfloat16(place) else torch.float32
    seen: list[tuple[nn.Conv2d, torch.Tensor]] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda layer, given: seen.append((layer, given[0].detach())))
    images = torch.zeros(run.protocol.batch_size, *data.train.images.shape[:0:-1], device=place)
    model.features(images.contiguous(memory_format=torch.channels_last))
    total = 0.0
    for number, (layer, given) in enumerate(seen):
        given = torch.randn_like(given).to(half).requires_grad_(number > 0)  # no gradient of the images
        weight = layer.weight.detach().to(half).requires_grad_()
        wanted = [weight, given] if number else [weight]
        taken = []
        for _ in range(rounds + 2):
            began = time.perf_counter()
            found = nn.functional.conv2d(given, weight, None, layer.stride, layer.padding)
            grads = torch.autograd.grad(found, wanted, torch.ones_like(found))
            if place.type == "cuda":
                torch.cuda.synchronize(place)
            taken.append(time.perf_counter() - began)
            del grads
        total += min(taken)
    return total, 0.0


def cifar_shaped(steps: int, folder: str | None) -> ImageData:
    """Training images for a number of steps, of real images or random pixels; a few others."""
    rng, N = np.random.default_rng(0), 128 * steps
    few = Split(np.zeros((10, 32, 32, 3), np.uint8), np.arange(10))
    if folder:
        whole = load_images(folder)
        chosen = np.sort(rng.choice(len(whole.train), N, replace=N > len(whole.train)))
        some = Split(whole.train.images[chosen], whole.train.labels[chosen])
        return ImageData(whole.name, whole.class_names, some, few, few, whole.mean, whole.std, chosen)
    some = Split(rng.integers(0, 256, (N, 32, 32, 3), dtype=np.uint8), np.arange(N) % 10)
    moments = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    return ImageData("random pixels", tuple("0123456789"), some, few, few, *moments, np.arange(N))


def compare_speed(steps: int, rounds: int, workers: int, folder: str | None, compiled: bool) -> None:
    """Print images a second of each loop, the ratio to the peer, and the share in data."""
    timed: dict[str, tuple[Callable[..., tuple[float, float]], tuple]] = {
        "usual style": (time_usual, (steps, folder, workers)),
        "ours": (time_ours, (steps, folder, True)),
        "ours, float32": (time_ours, (steps, folder, False)),
    }
    if compiled:
        timed["ours, compiled"] = time_ours, (steps, folder, True, True)
    timed["convolutions"] = time_convolutions, (3,)
    best = dict.fromkeys(timed, (np.inf, 0.0))
    with ExitStack() as stack:
        fresh = multiprocessing.get_context("spawn")
        places = {name: stack.enter_context(ProcessPoolExecutor(1, fresh)) for name in timed}
        for _ in range(rounds):
            for name, (timing, words) in timed.items():
                best[name] = min(best[name], places[name].submit(timing, *words).result())
    for name, (taken, share) in best.items():
        print(
            f"{name:16s} {1e3 * taken:7.1f} ms a step  {128 / taken:7.0f} images/s  "
            f"{best['usual style'][0] / taken:5.2f} x usual style  {100 * share:5.1f} % in data"
        )


def compare_accuracy(seeds: int, epochs: int | None, workers: int, folder: str | None, compiled: bool) -> None:
    """Print the balanced test errors of both loops on long-tailed images."""
    if folder:
        data, name = load_images(folder, imbalance_ratio=100), "fast"
    else:
        data, name, workers = load_images("digits", imbalance_ratio=10, largest=100), "digits", 0
    epochs = epochs or PROTOCOLS[name].epochs
    settings = protocol(name, epochs=epochs, drops=(epochs * 4 // 5, epochs * 9 // 10), evaluate_every=epochs)
    ours: dict[str, dict[str, bool]] = {"ours": {}}
    if _has_bfloat16(pick_device("auto")):
        ours["ours, float32"] = {"mixed_precision": False}
    if compiled:
        ours["ours, compiled"] = {"compiled": True}
    errors: dict[str, list[float]] = {name: [] for name in ("usual style", *ours)}
    for seed in range(seeds):
        *_, model = usual_loop(Run("ce", settings, seed), data, workers=workers)
        found = outputs(model, Batches(data.test, data, pick_device("auto")))
        errors["usual style"].append(balanced_error(class_accuracy(found.logits, found.labels)))
        for name, changes in ours.items():
            measured, _ = train(Run("ce", settings, seed, **changes), data)
            errors[name].append(measured["last"]["test"]["balanced_error"])
        print(
            f"seed {seed}: " + ", ".join(f"{name} {100 * values[-1]:.2f} %" for name, values in errors.items()),
            flush=True,
        )
    peer = np.array(errors["usual style"])
    for name, values in errors.items():
        found = np.array(values)
        apart = (found.mean() - peer.mean()) / max(np.sqrt((found.var(ddof=1) + peer.var(ddof=1)) / seeds), 1e-12)
        print(
            f"{name:16s} balanced test error {100 * found.mean():6.2f} %, deviation {100 * found.std(ddof=1):5.2f} "
            f"over {seeds} seeds, {apart:+.1f} standard errors from usual style"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CIFAR-10's files")
    parser.add_argument("--steps", type=int, default=12, help="steps a round")
    parser.add_argument("--rounds", type=int, default=3)
    workers = min(4, os.cpu_count() or 1)  # 4 in released code; more than there are cores slow the peer down
    parser.add_argument("--workers", type=int, default=workers, help="processes of the peer's DataLoader")
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile as well")
    parser.add_argument("--accuracy", action="store_true", help="compare accuracy instead")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="of --accuracy; the protocol's without it")
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {pick_device('auto')}")
    folder = given.data and str(given.data)
    if given.accuracy:
        compare_accuracy(given.seeds, given.epochs, given.workers, folder, given.compile)
    else:
        compare_speed(given.steps, given.rounds, given.workers, folder, given.compile)


if __name__ == "__main__":
    main()
