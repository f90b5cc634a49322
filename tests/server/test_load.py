"""What one stream more would cost, learned from what many cost."""

from __future__ import annotations

import pytest

from tidewire.server.load import FEW, Load


def taken(*samples: tuple[float, float]) -> Load:
    load = Load(lambda: 0)
    for share, streams in samples:
        load.take(share, streams)
    return load


def test_streams_that_came_since_the_last_sample_are_counted():
    load = taken(*[(0.4, 100)] * 10)
    assert load.expected(100) == pytest.approx(0.4, abs=0.01)
    assert load.expected(250) == pytest.approx(1.0, abs=0.01)


def test_few_streams_tell_nothing_of_the_cost_of_one():
    load = taken(*[(0.5, FEW - 1)] * 10)
    assert load.cost == 0
    assert load.expected(1000) == load.share


def test_a_busy_process_is_busy_whatever_its_streams_cost():
    load = taken(*[(0.2, 200)] * 20, *[(0.95, 10)] * 10)
    assert load.expected(10) > 0.9


def test_one_odd_sample_does_not_make_streams_dear():
    load = taken(*[(0.4, 100)] * 20)
    load.take(0.9, 100)
    assert load.cost < 0.0051
