"""What several test files share: checks of error texts, and class counts."""

from hypothesis import strategies as st
from tailbound.theory.core.class_counts import ClassCounts

CIFAR10_LT = ClassCounts.long_tailed(100, num_classes=10, largest=5000)
TWO = ClassCounts((5000, 50))

profiles = st.lists(st.integers(1, 10**6), min_size=2, max_size=12).map(lambda counts: ClassCounts(tuple(counts)))
seeds = st.integers(0, 2**32 - 1)


def rejects(excinfo, *shown) -> None:
    text = str(excinfo.value)
    assert "\n" not in text
    assert len(text) < 300
    for piece in shown:
        assert piece in text
