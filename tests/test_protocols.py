"""Protocols and schedules: rates, weights and draws of every epoch."""

import numpy as np
import pytest
from tailbound.theory.core.class_counts import ClassCounts
from tailbound.theory.core.errors import InputError
from tailbound.theory.ldam.weights import class_weights, deferred_weights

torch = pytest.importorskip("torch")

from tailbound.nn_validation.core.protocols import PROTOCOLS, Protocol  # noqa: E402
from tailbound.nn_validation.core.schedules import SCHEDULES, schedule  # noqa: E402

COUNTS = ClassCounts.long_tailed(20, num_classes=10, largest=100)


def test_the_paper_protocol_has_the_released_rates():
    paper = PROTOCOLS["paper"]
    assert (paper.depth, paper.epochs, paper.batch_size, paper.momentum) == (32, 200, 128, 0.9)
    assert (paper.weight_decay, paper.padding, paper.flip, paper.nesterov) == (2e-4, 4, True, False)
    for epoch in range(1, 201):  # counted from 1, as the released code does
        if epoch <= 5:
            expected = epoch / 5 * 0.1
        elif epoch > 180:
            expected = 0.1 * 0.0001
        elif epoch > 160:
            expected = 0.1 * 0.01
        else:
            expected = 0.1
        assert paper.rate(epoch - 1) == pytest.approx(expected, rel=1e-12), epoch


@pytest.mark.parametrize(("decay", "after_a_quarter"), [("cosine", np.cos(np.pi / 8) ** 2), ("linear", 0.75)])
def test_smooth_decays_fall_from_the_largest_rate_towards_zero(decay, after_a_quarter):
    smooth = Protocol(epochs=52, warmup=4, decay=decay, learning_rate=0.3)
    rates = np.array([smooth.rate(epoch) for epoch in range(52)])
    np.testing.assert_allclose(rates[:4], 0.3 * np.arange(1, 5) / 4)
    assert rates[4] == pytest.approx(0.3)
    assert (np.diff(rates[4:]) < 0).all()
    assert 0 < rates[-1] < 0.3 / 40
    assert smooth.rate(16) == pytest.approx(0.3 * after_a_quarter)
    assert smooth.rate(28) == pytest.approx(0.15)  # half way


def test_evaluations_come_at_their_distance_and_at_the_end():
    every_third = Protocol(epochs=10, evaluate_every=3)
    assert [epoch + 1 for epoch in range(10) if every_third.evaluated(epoch)] == [3, 6, 9, 10]


@pytest.mark.parametrize("epochs", [2, 30, 200])
def test_schedules_follow_the_theory(epochs):
    ones = np.ones(10)
    for epoch in range(epochs):
        of = {name: each.class_weights(COUNTS, epoch, epochs=epochs) for name, each in SCHEDULES.items()}
        drawn = {name: each.sampling_weights(COUNTS, epoch, epochs=epochs) for name, each in SCHEDULES.items()}
        for name in ("none", "rs", "drs"):
            np.testing.assert_array_equal(of[name], ones)
        for name in ("none", "rw", "drw"):
            np.testing.assert_array_equal(drawn[name], ones)
        effective = deferred_weights(COUNTS, epoch, epochs=epochs, rule="effective")
        np.testing.assert_array_equal(of["drw"], effective)
        np.testing.assert_array_equal(drawn["drs"], deferred_weights(COUNTS, epoch, epochs=epochs))
        np.testing.assert_array_equal(of["rw"], class_weights(COUNTS, rule="effective"))
        np.testing.assert_array_equal(drawn["rs"], class_weights(COUNTS))
    with pytest.raises(InputError, match=r"unknown schedule 'dwr'; did you mean drw"):
        schedule("dwr")
