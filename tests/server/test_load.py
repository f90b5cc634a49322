"""What one stream more would cost, learned from what many cost, and from how many were refused meanwhile."""

from __future__ import annotations

import pytest

from tidewire.server.load import FEW, INTERVAL, REFUSAL, ROOM, START, Load


def taken(*samples: tuple[float, float, float]) -> Load:
    """samples: share, streams, refusals a second; no stream begins."""
    load = Load(lambda: 0, lambda: 0, lambda: 0)
    for share, streams, refusals in samples:
        load.take(share, streams, 0.0, refusals)
    return load


def test_streams_that_came_since_the_last_sample_are_counted():
    load = taken(*[(0.4, 100, 0)] * 50)
    assert load.expected(100) == pytest.approx(0.4, abs=1e-3)
    assert load.expected(250) == pytest.approx(1.0)


def test_few_streams_tell_nothing_of_the_cost_of_one():
    load = taken(*[(0.5, FEW - 1, 0)] * 50)
    assert load.cost == 0
    assert load.expected(1000) == pytest.approx(0.5, abs=0.01)


def test_what_refusals_cost_is_not_taken_for_the_cost_of_streams():
    load = taken(*[(0.4, 100, 0)] * 100, *[(0.4 + 1000 * REFUSAL, 100, 1000)] * 100)
    assert load.cost == pytest.approx(0.004)
    assert load.expected(200) == pytest.approx(0.8, abs=1e-3)


def test_a_core_that_is_nearly_full_takes_nobody_whatever_streams_cost():
    load = taken(*[(0.2, 200, 0)] * 100, *[(1.0, 10, 0)] * 50)
    assert load.expected(10) > 0.85
    assert load.expected(10) >= load.share - ROOM


def test_one_odd_sample_does_not_make_streams_dear():
    load = taken(*[(0.4, 100, 0)] * 100)
    load.take(0.9, 100, 0, 0)
    assert load.cost < 0.005


def test_what_beginnings_cost_is_not_taken_for_what_streams_will():
    load = taken()
    for n in range(1, 11):  # 300 begin a second, each of them cheap once it runs
        load.take(0.0005 * 30 * n + 300 * START, 30 * n, 300, 0)
    assert load.cost == pytest.approx(0.0005)
    assert load.expected(500) < 0.85


def overloaded(arrivals: int, seconds: float) -> tuple[list[float], float]:
    """One core, and streams of half a second. The work before each refusal, in seconds of the core, and how many streams were served a second."""
    load, step, lasts, cost = Load(lambda: 0, lambda: starts, lambda: 0), 0.001, 0.5, 0.0036
    ends: list[float] = []
    waits: list[float] = []
    queue = used = streams = 0.0
    starts = refusals = served = 0
    every = round(INTERVAL / step)
    for tick in range(round(seconds / step)):
        now = tick * step
        ends = [end for end in ends if end > now]
        queue += len(ends) * cost * step
        for _ in range((tick + 1) * arrivals // 1000 - tick * arrivals // 1000):
            if len(ends) >= 100 and load.expected(len(ends) + 1) > 0.85:
                waits.append(queue)
                refusals += 1
                queue += REFUSAL
            else:
                ends.append(now + lasts)
                starts += 1
                queue += START
        done = min(queue, step)
        queue, used, streams = queue - done, used + done, streams + len(ends)
        if (tick + 1) % every == 0:
            load.take(used / INTERVAL, streams / every, starts / INTERVAL, refusals / INTERVAL)
            served += starts
            used, streams, starts, refusals = 0.0, 0.0, 0, 0
    return sorted(waits), served / seconds


@pytest.mark.parametrize(("arrivals", "most"), [(600, 0.005), (1200, 0.005), (1800, 0.015)])
def test_refusals_do_not_wait_for_bursts_of_beginnings(arrivals, most):
    waits, served = overloaded(arrivals, 10.0)
    assert waits[int(0.95 * len(waits))] < most
    assert waits[-1] < 0.050
    assert served > 290
