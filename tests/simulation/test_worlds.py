"""A few hundred small worlds; `make simulate` lives many thousands."""

from __future__ import annotations

from collections import Counter

import pytest

from simulation.worlds import live

EACH = 25


@pytest.mark.parametrize("first", range(0, 200, EACH))
def test_nothing_is_lost_or_doubled_or_left_over_in_any_world(first):
    for seed in range(first, first + EACH):
        live(seed)


def test_a_seed_tells_all():
    assert live(7) == live(7)


def test_everything_that_can_happen_does():
    seen = sum((live(seed) for seed in range(100)), Counter())
    ends = {"completed", "failed", "cancelled", "incomplete"}
    wanted = ends | {
        "start",
        "fallback",
        "retry",
        "continuation",
        "resumed",
        "stopped",
        "cache",
        "shared",
        "plan_first_token",
    }
    assert wanted - set(seen) == set()


# Without their budgets, tries beyond the first would overdraw in worlds 1, 2 and 16, hedges in 2, 19 and 20.
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 14, 16, 19, 20])
def test_budgets_hold_over_many_requests(seed):
    live(seed, requests=300)  # asserts it
