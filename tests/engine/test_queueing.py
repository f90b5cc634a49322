"""When a wait is a queue, and when it is only a burst."""

from __future__ import annotations

import random

import pytest

from tidewire.core.errors import Overloaded
from tidewire.engine.admission import Admission, Limits
from tidewire.engine.queueing import INTERVAL, QueueTime

TICK = 0.05


def fed(queue, readings):
    """Whether it was over after each of them."""
    return [(queue.observe(late, n * TICK), queue.over(n * TICK))[1] for n, late in enumerate(readings)]


def test_a_spike_is_no_queue():
    assert not any(fed(QueueTime(0.1), [0.0, 0.3, 0.3, 0.3, 0.0, 0.3, 0.3, 0.0]))


def test_a_wait_that_stays_is_one_after_an_interval():
    over = fed(QueueTime(0.1), [0.2] * 20)
    first = over.index(True)
    assert INTERVAL - 0.2 - TICK <= first * TICK <= INTERVAL
    assert all(over[first:])


def test_one_reading_below_ends_it():
    assert fed(QueueTime(0.1), [0.2] * 20 + [0.05])[-1] is False


def test_without_a_limit_nothing_is_ever_over():
    assert not any(fed(QueueTime(0.0), [5.0] * 100))


def test_it_is_never_over_where_a_reading_of_the_last_interval_was_below():
    for seed in range(100):
        rng = random.Random(seed)
        readings = [rng.choice([0.0, 0.12, 0.2]) if rng.random() < 0.3 else 0.2 for _ in range(200)]
        over = fed(QueueTime(0.1), readings)
        for n, said in enumerate(over):
            lately = readings[max(0, n - int((INTERVAL - 0.2) / TICK) + 1) : n + 1]
            assert not (said and min(lately) <= 0.1)


def test_who_comes_into_a_queue_is_sent_away_and_told_why():
    queue = QueueTime(0.1)
    now = 0.0
    door = Admission(Limits(), load=lambda: 0.0, held=lambda: 0, queue=queue, clock=lambda: now)
    queue.observe(0.25, now)
    door.check(1)
    now = 0.5
    queue.observe(0.25, now)
    with pytest.raises(Overloaded) as caught:
        door.check(1)
    assert "250 ms" in caught.value.message
    assert "limits.queue_ms" in caught.value.message
    assert caught.value.retry_after
    queue.observe(0.01, now)
    door.check(1)
