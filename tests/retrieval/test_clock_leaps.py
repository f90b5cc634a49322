"""A clock that is set wrongly, and set right again: nothing is deleted by it meanwhile."""

from __future__ import annotations

from tidewire.retrieval.lifetimes import HELD, Doubted

YEAR = 31_536_000.0


def test_a_clock_that_leaps_ahead_is_believed_after_an_hour() -> None:
    clock = Doubted()
    assert not clock.leapt(1_000_000.0, 10.0)
    assert not clock.leapt(1_000_035.0, 15.0), "corrected"
    assert clock.leapt(1_000_000.0 + YEAR, 20.0)
    assert clock.leapt(1_000_000.0 + YEAR + HELD, 19.0 + HELD)
    assert not clock.leapt(1_000_000.0 + YEAR + HELD, 20.0 + HELD)
    assert not clock.leapt(1_000_000.0 + YEAR + HELD, 25.0 + HELD)


def test_one_that_is_set_back_is_believed_at_once() -> None:
    clock = Doubted()
    assert not clock.leapt(1_000_000.0, 10.0)
    assert clock.leapt(1_000_000.0 + YEAR, 20.0)
    assert not clock.leapt(1_000_020.0, 30.0)
    assert clock.leapt(1_000_000.0 + YEAR, 40.0), "the hour begins anew with each leap"
    assert clock.leapt(1_000_000.0 + YEAR, 10.0 + HELD)
