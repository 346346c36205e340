"""Image sets made long-tailed: which training images are taken, which are left for choosing, and their batches.

Images lie on the device as uint8, (N, H, W, C); a batch is gathered, cropped, flipped and normalised there, by one
indexing operation, and comes out in channels-last order.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...theory.core.class_counts import ClassCounts
from ...theory.core.errors import InputError
from ...theory.logit_clip.noise import symmetric_transition
from .datasets import dataset_name, read_images, read_labels

__all__ = ["DIGITS", "PROFILES", "Batches", "ImageData", "Split", "load_images", "long_tailed_indices"]

DIGITS = "digits"
PROFILES = ("long-tailed", "step", "balanced")
Profile = Literal["long-tailed", "step", "balanced"]

_LARGEST = {"cifar-10": 5000, "cifar-100": 500, "fashion-mnist": 6000, "mnist": 5000, DIGITS: 100}
_PUBLISHED = {"cifar-10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))}
_TEST_DIGITS, _VALIDATION = 60, 100


@dataclass(frozen=True)
class Split:
    """Images, uint8 (N, H, W, C), and labels, int64 (N,); the true ones as well where those are noisy.

    Raises:
        InputError: for arrays of another kind or shape.
    """

    images: np.ndarray
    labels: np.ndarray
    true_labels: np.ndarray | None = None

    def __post_init__(self):
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or labels.dtype != np.int64 or labels.shape != images.shape[:1]:
            raise InputError(
                "a split has uint8 images (N, H, W, C) and int64 labels (N,), "
                f"got {images.dtype} {images.shape} and {labels.dtype} {labels.shape}"
            )

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageData:
    """A long-tailed training set, images of the official training set that it leaves for choosing, and the test set.

    Args:
        name: of the data set.
        class_names: K names.
        train: the long-tailed subset.
        validation: up to 100 images of each class that are in the official training set and not in `train`; a class
            whose images are all in `train` has none.
        test: the official test set.
        mean: of each channel, in [0, 1].
        std: of each channel.
        indices: of `train` in the official training set.

    Raises:
        InputError: for labels outside 0..K-1.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    indices: np.ndarray

    def __post_init__(self):
        for part in ("train", "validation", "test"):
            labels = getattr(self, part).labels
            outside = np.unique(labels[(labels < 0) | (labels >= self.num_classes)])
            if len(outside):
                raise InputError(
                    f"labels must lie in 0..{self.num_classes - 1}, but {self.name}'s {part} images have "
                    f"{outside[:5].tolist()}; name every class, or correct the labels"
                )

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @cached_property
    def class_counts(self) -> ClassCounts:
        """n_k of `train`."""
        counts = np.bincount(self.train.labels, minlength=self.num_classes)
        return ClassCounts(tuple(counts.tolist()), self.class_names)

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of the index list (int64, little-endian) and of the pixels it chose."""
        return {
            "indices": sha256(self.indices.astype("<i8").tobytes()).hexdigest(),
            "pixels": sha256(np.ascontiguousarray(self.train.images).tobytes()).hexdigest(),
        }


def load_images(
    source: str | os.PathLike,
    *,
    profile: Profile = "long-tailed",
    imbalance_ratio: float = 100.0,
    largest: int | None = None,
    subset_seed: int | None = None,
    noise_rate: float = 0.0,
) -> ImageData:
    """Read an image set and draw its long-tailed (or step, or balanced) training subset.

    Args:
        source: ``digits`` (scikit-learn's, needs no file) or the folder of CIFAR, MNIST or Fashion-MNIST files.
        profile: how n_k falls with k; see `ClassCounts.long_tailed` and `ClassCounts.step`.
        imbalance_ratio: n_max / n_min; 1 with ``balanced``.
        largest: n_max; None takes the literature's (5000 for CIFAR-10), 100 for digits.
        subset_seed: None draws the literature's subset (numpy's legacy generator at seed 0), a number our own.
        noise_rate: part of the training and validation labels that is replaced by another class, any with the same
            probability; the test labels stay clean. The same for every method: it is seeded by `subset_seed`.

    Raises:
        InputError: for a folder that is no dataset, an unknown profile, or a class with fewer images than wanted.
    """
    name, names, train, test = _read(source)
    K, available = len(names), np.bincount(train.labels, minlength=len(names))
    largest = _LARGEST.get(name, int(available.min())) if largest is None else largest
    if profile not in PROFILES:
        raise InputError(f"unknown profile {profile!r}; known: {', '.join(PROFILES)}")
    if subset_seed is not None and subset_seed < 0:
        raise InputError(f"the subset's seed must be a whole number >= 0, got {subset_seed}")
    if profile != "balanced" and imbalance_ratio > largest >= 1:
        raise InputError(
            f"imbalance_ratio must be at most the largest count {largest}, or a class is empty; got {imbalance_ratio:g}"
        )
    if profile == "balanced":
        counts = ClassCounts((largest,) * K)
    else:
        make = ClassCounts.step if profile == "step" else ClassCounts.long_tailed
        counts = make(imbalance_ratio, num_classes=K, largest=largest)
    indices = long_tailed_indices(train.labels, counts, seed=subset_seed)
    left = np.setdiff1d(np.arange(len(train)), indices)
    chosen = np.concatenate([left[train.labels[left] == k][:_VALIDATION] for k in range(K)])
    mean, std = _PUBLISHED.get(name) or _moments(train.images)
    training, validation = _take(train, indices), _take(train, chosen)
    if noise_rate:
        chance = np.random.default_rng([0 if subset_seed is None else subset_seed, 1])
        training, validation = (_noisy(split, K, noise_rate, chance) for split in (training, validation))
    return ImageData(name, names, training, validation, test, mean, std, indices)


def long_tailed_indices(labels: np.ndarray, counts: ClassCounts, *, seed: int | None = None) -> np.ndarray:
    """Choose n_k examples of each class k, class after class, shape (n,).

    Args:
        labels: of the whole set, shape (N,).
        counts: n_k.
        seed: None shuffles each class's positions in turn with numpy's legacy generator at seed 0, as the released code
            of Cao et al. (2019) does; a number draws with numpy's present generator.

    Raises:
        InputError: if a class has fewer than n_k examples.

    Example:
        >>> long_tailed_indices(np.array([0, 0, 0, 1, 1]), ClassCounts((2, 1)), seed=1).tolist()
        [0, 1, 3]
    """
    legacy, own, chosen = np.random.RandomState(0), np.random.default_rng(seed), []
    for k, wanted in enumerate(counts.counts):
        positions = np.flatnonzero(labels == k)
        if len(positions) < wanted:
            raise InputError(f"class {k} has {len(positions)} images, {wanted} are wanted; lower the largest count")
        if seed is None:
            legacy.shuffle(positions)
        else:
            positions = np.sort(own.permutation(positions)[:wanted])
        chosen.append(positions[:wanted])
    return np.concatenate(chosen)


class Batches:
    """A split on a device, giving normalised batches, float32 (B, C, H, W), channels last.

    Args:
        split: images and labels.
        data: gives mean and std.
        device: where the images lie and the batches are made.
        padding: pixels of zeros around an image from which a crop of its size is drawn; 0 for none.
        flip: mirror every second image, at random.
    """

    def __init__(self, split: Split, data: ImageData, device: torch.device, *, padding: int = 0, flip: bool = False):
        if not 0 <= padding <= min(split.images.shape[1:3]):
            raise InputError(f"padding must be at most the images' side, {min(split.images.shape[1:3])}, got {padding}")
        around = ((0, 0), (padding, padding), (padding, padding), (0, 0))
        self.images = torch.from_numpy(np.pad(split.images, around)).to(device)
        self.labels = torch.from_numpy(split.labels).to(device)
        self.true_labels = split.true_labels
        self.padding, self.flip, self.device = padding, flip, device
        _, self._height, self._width, _ = split.images.shape
        std = torch.tensor(data.std, device=device)
        self._scale, self._shift = 1 / (255 * std), torch.tensor(data.mean, device=device) / std

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return images and labels of some examples, each image cropped and mirrored by chance where that is asked.

        Args:
            indices: (B,), on any device.
            generator: of the CPU: chance is the same on every device.
        """
        indices = indices.to(self.device, non_blocking=True)
        if not (self.padding or self.flip):
            pixels = self.images[indices]
        else:
            B = len(indices)
            corner = torch.randint(0, 2 * self.padding + 1, (2, B, 1), generator=generator)
            rows = corner[0] + torch.arange(self._height)
            columns = torch.arange(self._width).expand(B, -1)
            if self.flip:
                mirrored = torch.rand((B, 1), generator=generator) < 0.5
                columns = torch.where(mirrored, columns.flip(-1), columns)
            rows, columns = rows.to(self.device), (corner[1] + columns).to(self.device)
            pixels = self.images[indices[:, None, None], rows[:, :, None], columns[:, None, :]]
        return (pixels * self._scale - self._shift).permute(0, 3, 1, 2), self.labels[indices]


def _read(source: str | os.PathLike) -> tuple[str, tuple[str, ...], Split, Split]:
    if str(source) == DIGITS:
        return DIGITS, tuple("0123456789"), *_digits()
    splits = []
    for part in ("train", "test"):
        images, labels = read_images(source, part)
        splits.append(Split(images.transpose(0, 2, 3, 1), labels))
    return dataset_name(source), read_labels(source).names, splits[0], splits[1]


def _digits() -> tuple[Split, Split]:
    """Scikit-learn's 1797 images of 8 x 8 pixels; the last 60 of each class are the test set."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pixels, labels = np.asarray(pixels), np.asarray(labels, dtype=np.int64)
    whole = Split(np.round(pixels * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1), labels)
    test = np.concatenate([np.flatnonzero(labels == k)[-_TEST_DIGITS:] for k in range(10)])
    return _take(whole, np.setdiff1d(np.arange(len(whole)), test)), _take(whole, test)


def _take(split: Split, indices: np.ndarray) -> Split:
    return Split(np.ascontiguousarray(split.images[indices]), split.labels[indices])


def _noisy(split: Split, num_classes: int, noise_rate: float, chance: np.random.Generator) -> Split:
    """Draw each label anew from its row of the transition matrix."""
    cumulative = np.cumsum(symmetric_transition(noise_rate, num_classes), axis=1)[split.labels]
    labels = (chance.random(len(split))[:, None] > cumulative[:, :-1]).sum(1)
    return Split(split.images, labels.astype(np.int64), split.labels)


def _moments(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    pixels = images.reshape(-1, images.shape[-1])
    return tuple((pixels.mean(0) / 255).tolist()), tuple(np.maximum(pixels.std(0) / 255, 1e-3).tolist())
