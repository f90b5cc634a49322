"""Two hundred worlds with everything in them; `make simulate` lives many thousands."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from simulation.arranged import live

WANTED = {
    "completed",
    "failed",
    "cancelled",
    "incomplete",
    "fallback",
    "retry",
    "continuation",
    "refinement",
    "resumed",
}
WANTED |= {"stopped", "cache", "shared", "tools", "calls", "edited", "stopped in a call"}
WANTED |= {"Retrieved", "Citation", "Superseded", "retrieval_late", "retrieval_failed", "retrieval_nothing"}


@pytest.fixture(autouse=True)
def _quiet():
    """Tools raise on purpose."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


def test_nothing_is_lost_doubled_or_left_over_with_everything_around_the_hosts():
    seen: Counter[str] = Counter()
    for seed in range(200):
        try:
            seen += live(seed)
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"world {seed}") from error
    assert WANTED - set(+seen) == set(), "all of it happens in them"


def test_a_seed_tells_all():
    assert live(7) == live(7)
