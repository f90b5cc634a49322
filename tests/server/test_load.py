"""What one stream more would cost, learned from what many cost, and from how many were refused meanwhile."""

from __future__ import annotations

import pytest

from tidewire.server.load import FEW, REFUSAL, ROOM, START, Load


def taken(*samples: tuple[float, float, float]) -> Load:
    """samples: share, streams, refusals a second; no stream begins."""
    load = Load(lambda: 0, lambda: 0, lambda: 0)
    for share, streams, refusals in samples:
        load.take(share, streams, 0.0, refusals)
    return load


def test_streams_that_came_since_the_last_sample_are_counted():
    load = taken(*[(0.4, 100, 0)] * 10)
    assert load.expected(100) == pytest.approx(0.4, abs=1e-3)
    assert load.expected(250) == pytest.approx(1.0)


def test_few_streams_tell_nothing_of_the_cost_of_one():
    load = taken(*[(0.5, FEW - 1, 0)] * 10)
    assert load.cost == 0
    assert load.expected(1000) == pytest.approx(0.5, abs=0.01)


def test_what_refusals_cost_is_not_taken_for_the_cost_of_streams():
    load = taken(*[(0.4, 100, 0)] * 20, *[(0.4 + 1000 * REFUSAL, 100, 1000)] * 20)
    assert load.cost == pytest.approx(0.004)
    assert load.expected(200) == pytest.approx(0.8, abs=1e-3)


def test_a_core_that_is_nearly_full_takes_nobody_whatever_streams_cost():
    load = taken(*[(0.2, 200, 0)] * 20, *[(1.0, 10, 0)] * 10)
    assert load.expected(10) > 0.85
    assert load.expected(10) >= load.share - ROOM


def test_one_odd_sample_does_not_make_streams_dear():
    load = taken(*[(0.4, 100, 0)] * 20)
    load.take(0.9, 100, 0, 0)
    assert load.cost < 0.005


def test_what_beginnings_cost_is_not_taken_for_what_streams_will():
    load = taken()
    for n in range(1, 11):  # 300 begin a second, each of them cheap once it runs
        load.take(0.0005 * 30 * n + 300 * START, 30 * n, 300, 0)
    assert load.cost == pytest.approx(0.0005)
    assert load.expected(500) < 0.85
