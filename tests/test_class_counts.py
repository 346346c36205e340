import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tailbound.theory.core.class_counts import MAX_COUNT, ClassCounts
from tailbound.theory.core.errors import InputError

counts_lists = st.lists(st.integers(1, 50), min_size=2, max_size=8)
names_lists = st.lists(st.text(max_size=6), min_size=2, max_size=8, unique=True)


def message(excinfo) -> str:
    text = str(excinfo.value)
    assert "\n" not in text
    assert len(text) < 400
    return text


@given(counts_lists)
def test_labels_repeated_by_counts_give_the_counts(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    assert ClassCounts.from_labels(labels).counts == tuple(counts)


@given(counts_lists, st.randoms(use_true_random=False), st.sampled_from([np.uint8, np.int64, np.float32]))
def test_order_and_dtype_of_labels_do_not_matter(counts, random, dtype):
    labels = np.repeat(np.arange(len(counts)), counts).tolist()
    random.shuffle(labels)
    assert ClassCounts.from_labels(np.array(labels, dtype=dtype)).counts == tuple(counts)


@given(names_lists, st.data())
def test_labels_may_be_names(names, data):
    names = [name.replace("\0", "") + str(k) for k, name in enumerate(names)]
    counts = data.draw(st.lists(st.integers(1, 9), min_size=len(names), max_size=len(names)))
    labels = [name for name, n in zip(names, counts, strict=True) for _ in range(n)]
    found = ClassCounts.from_labels(labels)
    assert dict(zip(found.names, found.counts, strict=True)) == dict(zip(names, counts, strict=True))
    assert list(found.names) == sorted(names)


@given(st.lists(st.integers(1, MAX_COUNT), min_size=2, max_size=40))
def test_priors_are_a_distribution(counts):
    class_counts = ClassCounts(tuple(counts))
    np.testing.assert_allclose(class_counts.priors.sum(), 1, rtol=1e-12)
    assert class_counts.priors.min() > 0
    assert class_counts.total == sum(counts)
    assert class_counts.imbalance_ratio >= 1
    assert class_counts.array.shape == (len(class_counts),)


@given(st.floats(1, 1000), st.integers(2, 200))
def test_profiles_do_not_increase_and_keep_the_ratio(imbalance_ratio, num_classes):
    for profile in (ClassCounts.long_tailed, ClassCounts.step):
        counts = profile(imbalance_ratio, num_classes=num_classes, largest=10**6).array
        assert counts[0] == 10**6
        assert (np.diff(counts) <= 0).all()
        assert imbalance_ratio * (1 - 1e-9) <= counts[0] / counts[-1] <= imbalance_ratio * 1.01


@pytest.mark.parametrize(
    ("imbalance_ratio", "num_classes", "largest", "total"),
    [(100, 10, 5000, 12406), (10, 10, 5000, 20431), (100, 100, 500, 10847), (10, 100, 500, 19573)],
)
def test_long_tailed_profiles_have_the_sizes_of_the_literature(imbalance_ratio, num_classes, largest, total):
    # CIFAR-10-LT and CIFAR-100-LT as built by the released code of arXiv:1906.07413.
    assert ClassCounts.long_tailed(imbalance_ratio, num_classes=num_classes, largest=largest).total == total


def test_cifar10_lt_counts():
    expected = (5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50)
    assert ClassCounts.long_tailed(100, num_classes=10, largest=5000).counts == expected
    assert ClassCounts.step(100, num_classes=10, largest=5000).counts == (5000,) * 5 + (50,) * 5


@pytest.mark.parametrize(
    "source",
    [
        (30, 3),
        [30.0, 3.0],
        np.array([30, 3]),
        np.array([30, 3], dtype=np.float32),
        pd.Series([30, 3]),
        {"0": 30, "1": 3},
        ClassCounts((30, 3)),
    ],
)
def test_any_source_of_counts(source):
    class_counts = ClassCounts.from_any(source)
    assert class_counts == ClassCounts((30, 3))
    assert hash(class_counts) == hash(ClassCounts((30, 3)))
    assert all(type(n) is int for n in class_counts.counts)


def test_names_come_from_mappings_and_series():
    assert ClassCounts.from_any({"cat": 30, "owl": 3}).names == ("cat", "owl")
    assert ClassCounts.from_any(pd.Series([30, 3], index=["cat", "owl"])).names == ("cat", "owl")
    assert ClassCounts.from_any(pd.Series(["cat", "owl", "cat"]).value_counts()).counts == (2, 1)


@pytest.mark.parametrize("source", [{"cat": 30, "yak": 0, "owl": 3}, pd.Series([30, 0, 3], ["cat", "yak", "owl"])])
def test_empty_classes_are_dropped_on_request(source):
    with pytest.raises(InputError, match=r"classes \[yak\] have counts \[0\]; drop"):
        ClassCounts.from_any(source)
    assert ClassCounts.from_any(source, drop_empty=True) == ClassCounts((30, 3), ("cat", "owl"))


@pytest.mark.parametrize("source", [[30, 0, 3], np.array([30, 0, 3]), np.array([30.0, 0.0, 3.0])])
def test_empty_classes_of_sequences_are_dropped_on_request(source):
    assert ClassCounts.from_any(source, drop_empty=True) == ClassCounts((30, 3), ("0", "2"))


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        (0, "0"),
        (-3, "-3"),
        (2.5, "2.5"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (10**12, "1000000000000"),
        (10**300, "1000"),
        (True, "True"),
        ("7", "'7'"),
        (None, "None"),
        ("7\n8", r"'7\n8'"),
        (1 + 2j, "(1+2j)"),
    ],
)
def test_bad_counts_are_named(bad, shown):
    with pytest.raises(InputError) as excinfo:
        ClassCounts((5, bad, 9), ("cat", "owl", "dog"))
    assert "classes [owl]" in message(excinfo)
    assert f"[{shown}" in message(excinfo)


@given(st.integers(max_value=0) | st.floats().filter(lambda x: x != int(x) if abs(x) < 1e15 else True))
def test_no_bad_count_passes(bad):
    if isinstance(bad, float) and 1 <= bad <= MAX_COUNT:
        assert bad != int(bad)
    with pytest.raises(InputError, match="owl"):
        ClassCounts((5, bad), ("cat", "owl"))


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: ClassCounts((7,)), "at least 2 classes, got 1 (counts [7])"),
        (lambda: ClassCounts(()), "at least 2 classes, got none"),
        (lambda: ClassCounts((3, 4), ("cat", "cat")), "['cat'] occur more than once"),
        (lambda: ClassCounts((3, 4), ("cat",)), "1 names for 2 counts"),
        (lambda: ClassCounts("34"), "got '34'"),
        (lambda: ClassCounts.from_any(34), "got 34"),
        (lambda: ClassCounts((0, 4), ("a\nb", "c")), r"classes ['a\nb']"),
        (lambda: ClassCounts((0,) * 50), "(and 45 more)"),
        (lambda: ClassCounts.from_labels([]), "shape (0,)"),
        (lambda: ClassCounts.from_labels([[0, 1]]), "shape (1, 2)"),
        (lambda: ClassCounts.from_labels([0, 1, -2]), "got [-2]"),
        (lambda: ClassCounts.from_labels([0, 1.5]), "got [1.5]"),
        (lambda: ClassCounts.from_labels([0, 1e300]), "got [1e+300]"),
        (lambda: ClassCounts.from_labels([0, float("nan")]), "got [nan]"),
        (lambda: ClassCounts.from_labels([0, float("inf")]), "got [inf]"),
        (lambda: ClassCounts.from_labels(["cat", None]), "examples [1]"),
        (lambda: ClassCounts.from_labels([0, 1j]), "dtype complex128"),
        (lambda: ClassCounts.from_labels([0, 3]), "classes [1, 2] never occur"),
        (lambda: ClassCounts.from_labels([0, 10**12]), "and 999999999994 more never occur"),
        (lambda: ClassCounts.from_labels(np.array([0, 2**63], np.uint64)), "classes [1, 2, 3, 4, 5] and"),
        (lambda: ClassCounts.from_labels([0, 1], num_classes=3), "classes [2] never occur"),
        (lambda: ClassCounts.from_labels([1, 1]), "classes [0] never occur"),
        (lambda: ClassCounts.from_labels([0, 0]), "at least 2 classes"),
        (lambda: ClassCounts.long_tailed(0.01, num_classes=10, largest=5000), "got 0.01"),
        (lambda: ClassCounts.long_tailed(float("nan"), num_classes=10, largest=5000), "got nan"),
        (lambda: ClassCounts.long_tailed(100, num_classes=1, largest=5000), "got 1"),
        (lambda: ClassCounts.long_tailed(100, num_classes=10, largest=50), "classes [8, 9] have counts [0, 0]"),
    ],
)
def test_errors_name_the_value(build, expected):
    with pytest.raises(InputError) as excinfo:
        build()
    assert expected in message(excinfo)


def test_gaps_are_dropped_on_request():
    assert ClassCounts.from_labels([0, 3, 3], drop_empty=True) == ClassCounts((1, 2), ("0", "3"))
