"""The token limit, for hosts that do not keep it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidewire.core.events import Delta, Finish, PartEnded, PartStarted, Usage
from tidewire.stages.limit import Limit


def through(limit, events):
    return [out for event in events for out in limit.feed(event)] + list(limit.end())


def answer(n):
    deltas = [Delta(part=0, text=f"{i} ") for i in range(n)]
    return [
        PartStarted(part=0, kind="text"),
        *deltas,
        PartEnded(part=0),
        Usage(counted_by="host", output=n),
        Finish(reason="stop"),
    ]


@given(st.integers(0, 20), st.integers(1, 20))
def test_no_more_deltas_than_allowed_come_through(said, allowed):
    out = through(Limit(allowed), answer(said))
    if said <= allowed:  # the host kept the limit: its own end and its own figures stand
        assert out == answer(said)
    else:
        assert [e for e in out if isinstance(e, Delta)] == answer(said)[1 : allowed + 1]
        assert out[-1] == Finish(reason="length", early=True)


def test_nothing_comes_after_the_limit_was_met():
    limit = Limit(1)
    assert through(limit, answer(3))[1:] == [Delta(part=0, text="0 "), Finish(reason="length", early=True)]
    assert list(limit.feed(Delta(part=0, text="x"))) == []
