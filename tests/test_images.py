"""Long-tailed subsets and their batches, against the plain way of doing the same."""

import pickle
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.errors import InputError

torch = pytest.importorskip("torch")

from tailbound.nn_validation.core.images import (  # noqa: E402
    Batches,
    ImageData,
    Split,
    load_images,
    long_tailed_indices,
)

CPU = torch.device("cpu")
LABELS = np.random.default_rng(1).permutation(np.repeat(np.arange(10), 5000))


def image_data(of: Split, **changes) -> ImageData:
    settings = {"name": "toy", "class_names": ("a", "b"), "train": of, "validation": of, "test": of}
    settings |= {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.3), "indices": np.arange(len(of))}
    return ImageData(**settings | changes)


def random_split(N=12, height=7, width=5, channels=3, seed=0) -> Split:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (N, height, width, channels), dtype=np.uint8)
    return Split(pixels, np.arange(N, dtype=np.int64) % 2)


def write_cifar(folder, images_a_batch=40):
    """CIFAR-10's files with few images; returns the pixels (N, 3072) and labels of the training set."""
    folder.mkdir()
    rng, pixels, labels = np.random.default_rng(2), [], []
    for name in [*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]:
        data = rng.integers(0, 256, (images_a_batch, 3072), dtype=np.uint8)
        classes = [k % 10 for k in range(images_a_batch)]
        (folder / name).write_bytes(pickle.dumps({b"data": data, b"labels": classes}, protocol=2))
        pixels.append(data)
        labels += classes
    names = [f"class {k}".encode() for k in range(10)]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=2))
    return np.concatenate(pixels[:5]), np.array(labels[: 5 * images_a_batch])


# The subset


@pytest.mark.parametrize(
    ("profile", "ratio", "total"),
    [("long", 100, 12406), ("long", 10, 20431), ("step", 100, 25250), ("step", 10, 27500)],
)
def test_the_literatures_subset_of_cifar_10(profile, ratio, total):
    make = ClassCounts.long_tailed if profile == "long" else ClassCounts.step
    counts = make(ratio, num_classes=10, largest=5000)
    indices = long_tailed_indices(LABELS, counts)
    assert len(indices) == total
    np.random.seed(0)  # as released: numpy's global generator
    expected = []
    for k in range(10):
        (positions,) = np.where(LABELS == k)
        np.random.shuffle(positions)
        expected.extend(positions[: int(counts.counts[k])])
    np.testing.assert_array_equal(indices, expected)


def test_the_literatures_counts_of_cifar_10():
    indices = long_tailed_indices(LABELS, ClassCounts.long_tailed(100, num_classes=10, largest=5000))
    assert np.bincount(LABELS[indices]).tolist() == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_the_subset_is_the_same_on_every_machine():
    labels = np.arange(50000) % 10
    counts = ClassCounts.long_tailed(100, num_classes=10, largest=5000)
    digests = [sha256(long_tailed_indices(labels, counts, seed=seed).astype("<i8")).hexdigest() for seed in (None, 0)]
    # made by these two calls with numpy 2.4; numpy keeps both generators' streams
    assert [digest[:16] for digest in digests] == ["563055e23a86ca16", "66eb9ac3044efe6e"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(0, 2**40))
def test_our_subset_takes_n_k_different_images_of_each_class(sizes, seed):
    counts = ClassCounts(tuple(sizes))
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), 30))
    indices = long_tailed_indices(labels, counts, seed=seed)
    assert len(set(indices.tolist())) == counts.total
    np.testing.assert_array_equal(labels[indices], np.repeat(np.arange(len(sizes)), sizes))
    np.testing.assert_array_equal(indices, long_tailed_indices(labels, counts, seed=seed))


def test_seeds_draw_different_subsets_and_each_image_as_often():
    counts = ClassCounts((10, 5))
    labels = np.repeat([0, 1], 20)
    drawn = [long_tailed_indices(labels, counts, seed=seed) for seed in range(2000)]
    assert len({tuple(each) for each in drawn}) > 1900
    often = np.bincount(np.concatenate(drawn), minlength=40) / 2000
    share = np.repeat([10 / 20, 5 / 20], 20)
    assert (np.abs(often - share) < 5 * np.sqrt(share * (1 - share) / 2000)).all()


def test_a_class_with_too_few_images_is_named():
    with pytest.raises(InputError, match=r"class 1 has 2 images, 3 are wanted; lower the largest count"):
        long_tailed_indices(np.array([0, 0, 0, 1, 1]), ClassCounts((3, 3)))


# Image sets


@pytest.mark.parametrize("subset_seed", [None, 4])
@pytest.mark.parametrize(("profile", "ratio"), [("long-tailed", 20), ("step", 10), ("balanced", 1)])
def test_digits(profile, ratio, subset_seed):
    data = load_images("digits", profile=profile, imbalance_ratio=ratio, subset_seed=subset_seed)
    makers = {"long-tailed": ClassCounts.long_tailed, "step": ClassCounts.step}
    expected = makers[profile](ratio, num_classes=10, largest=100).counts if ratio > 1 else (100,) * 10
    assert data.class_counts.counts == expected
    assert np.bincount(data.test.labels).tolist() == [60] * 10
    parts = {name: {image.tobytes() for image in getattr(data, name).images} for name in ("train", "validation")}
    assert not parts["train"] & parts["validation"]
    assert np.bincount(data.validation.labels, minlength=10).max() <= 100
    assert len(data.indices) == len(data.train)
    assert data.digests["indices"] == sha256(data.indices.astype("<i8").tobytes()).hexdigest()


def test_cifar_keeps_its_pixels_in_place(tmp_path):
    pixels, labels = write_cifar(tmp_path / "cifar-10-batches-py")
    data = load_images(tmp_path, imbalance_ratio=5, largest=15)
    assert data.name == "cifar-10"
    assert data.class_names[3] == "class 3"
    assert data.train.images.shape[1:] == (32, 32, 3)
    for n, index in enumerate(data.indices[:20]):
        assert data.train.labels[n] == labels[index]
        np.testing.assert_array_equal(data.train.images[n], pixels[index].reshape(3, 32, 32).transpose(1, 2, 0))
    assert (data.mean, data.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    left = np.setdiff1d(np.arange(len(labels)), data.indices)
    assert len(data.validation) == len(left), "with few images all that is left serves for choosing"
    assert len(data.test) == 40


def test_other_sets_are_normalised_by_their_own_moments():
    data = load_images("digits", imbalance_ratio=1, largest=100)
    whole = load_images("digits", profile="balanced", largest=110)
    assert data.mean == whole.mean, "of the official training set, whatever the subset"
    pixels, labels = load_digits(return_X_y=True)
    training = np.concatenate([np.flatnonzero(labels == k)[:-60] for k in range(10)])
    pixels = np.round(pixels[training] * 255 / 16) / 255
    np.testing.assert_allclose(data.mean, pixels.mean(), rtol=1e-12)
    np.testing.assert_allclose(data.std, pixels.std(), rtol=1e-12)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"profile": "long"}, "unknown profile 'long'"),
        ({"imbalance_ratio": 101}, "at most the largest count 100"),
        ({"imbalance_ratio": 0.5}, "imbalance_ratio"),
        ({"largest": 119}, "class 0 has 118 images, 119 are wanted"),
        ({"subset_seed": -1}, "seed must be a whole number >= 0, got -1"),
    ],
)
def test_subsets_that_cannot_be(changes, part):
    with pytest.raises(InputError, match=part):
        load_images("digits", **{"imbalance_ratio": 20} | changes)


@pytest.mark.parametrize("part", ["train", "validation", "test"])
@pytest.mark.parametrize("label", [-1, 2])
def test_labels_outside_the_classes_are_named(part, label):
    split = random_split()
    wrong = Split(split.images, np.where(np.arange(12) == 5, label, split.labels))
    with pytest.raises(InputError, match=rf"labels must lie in 0\.\.1, but toy's {part} images have \[{label}\]"):
        image_data(split, **{part: wrong})


@pytest.mark.parametrize("kind", ["float", "no channels", "fewer labels", "int32 labels"])
def test_a_split_of_another_kind_is_refused(kind):
    split = random_split()
    images, labels = {
        "float": (split.images / 255, split.labels),
        "no channels": (split.images[..., 0], split.labels),
        "fewer labels": (split.images, split.labels[1:]),
        "int32 labels": (split.images, split.labels.astype(np.int32)),
    }[kind]
    with pytest.raises(InputError, match=r"uint8 images \(N, H, W, C\) and int64 labels"):
        Split(images, labels)


def test_counts_are_those_of_the_labels():
    split = random_split(11)
    assert image_data(split).class_counts == ClassCounts((6, 5), ("a", "b"))
    alone = Split(split.images, np.zeros(11, dtype=np.int64))
    with pytest.raises(InputError, match=r"classes \[b\] have counts \[0\]"):
        _ = image_data(alone).class_counts


# Batches


@pytest.mark.parametrize("padding", [0, 1, 4])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_equal_one_image_at_a_time(padding, flip, channels):
    split = random_split(40, channels=channels)
    data = image_data(split, mean=(0.4, 0.5, 0.6)[:channels], std=(0.2, 0.25, 0.3)[:channels])
    indices = torch.tensor([3, 0, 39, 3, 17, 5, 21, 8])
    batches = Batches(split, data, CPU, padding=padding, flip=flip)
    images, labels = batches.take(indices, torch.Generator().manual_seed(7))
    chance = torch.Generator().manual_seed(7)
    if padding or flip:
        top, left = torch.randint(0, 2 * padding + 1, (2, 8, 1), generator=chance).squeeze(-1).tolist()
    mirrored = (torch.rand((8, 1), generator=chance) < 0.5).flatten().tolist() if flip else [False] * 8
    for n, index in enumerate(indices.tolist()):
        image = split.images[index]
        if padding:
            image = np.pad(image, ((padding, padding), (padding, padding), (0, 0)))
            image = image[top[n] : top[n] + 7, left[n] : left[n] + 5]
        if mirrored[n]:
            image = image[:, ::-1]
        expected = (image / 255 - np.array(data.mean)) / np.array(data.std)
        np.testing.assert_allclose(images[n].numpy(), expected.transpose(2, 0, 1), atol=2e-6)
        assert labels[n] == split.labels[index]


def test_batches_lie_as_bytes_and_come_out_channels_last():
    split = random_split()
    batches = Batches(split, image_data(split), CPU, padding=2, flip=True)
    assert (batches.images.dtype, batches.images.shape) == (torch.uint8, (12, 11, 9, 3))
    for each in (batches, Batches(split, image_data(split), CPU)):
        images, labels = each.take(torch.arange(4), torch.Generator())
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert images.is_contiguous(memory_format=torch.channels_last)


def test_every_crop_and_mirror_image_is_as_likely():
    N, padding = 20000, 1
    image = np.arange(1, 10, dtype=np.uint8).reshape(1, 3, 3, 1)
    split = Split(np.repeat(image, 2, 0), np.array([0, 1]))
    data = image_data(split, mean=(0.0,), std=(1.0,))
    batches = Batches(split, data, CPU, padding=padding, flip=True)
    images, _ = batches.take(torch.zeros(N, dtype=torch.int64), torch.Generator().manual_seed(0))
    found, often = np.unique((images.flatten(1).numpy() * 255).round(), axis=0, return_counts=True)
    assert len(found) == 18
    assert np.abs(often - N / 18).max() < 5 * np.sqrt(N / 18)


def test_padding_beyond_the_image_is_refused():
    split = random_split()
    with pytest.raises(InputError, match="padding must be at most the images' side, 5, got 6"):
        Batches(split, image_data(split), CPU, padding=6)


def test_an_empty_split_gives_an_empty_batch():
    split = random_split()
    empty = Split(split.images[:0], split.labels[:0])
    images, labels = Batches(empty, replace(image_data(split), validation=empty), CPU).take(torch.arange(0))
    assert (images.shape, labels.shape) == ((0, 3, 7, 5), (0,))


def test_label_noise_moves_the_stated_part_of_training_labels_to_all_other_classes():
    clean, noisy = (load_images("digits", profile="balanced", noise_rate=rate) for rate in (0.0, 0.4))
    moved = clean.train.labels != noisy.train.labels
    assert abs(moved.mean() - 0.4) < 4 * np.sqrt(0.24 / len(moved))
    shares = np.bincount((noisy.train.labels - clean.train.labels)[moved] % 10, minlength=10) / moved.sum()
    assert shares[0] == 0
    assert (abs(shares[1:] - 1 / 9) < 4 * np.sqrt(8 / 81 / moved.sum())).all()
    assert (clean.validation.labels != noisy.validation.labels).any()
    np.testing.assert_array_equal(clean.test.labels, noisy.test.labels)
    np.testing.assert_array_equal(clean.train.images, noisy.train.images)
    assert noisy.class_counts.counts == tuple(np.bincount(noisy.train.labels).tolist())


def test_label_noise_is_a_function_of_the_subset_seed():
    first, again, other = (load_images("digits", noise_rate=0.2, subset_seed=seed).train.labels for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
