"""Tokens of several answers as one figure, for who pays for them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tidewire.core.events import Delta, Event, Usage

N = TypeVar("N", int, float)


class Tally:
    """What one answer has told of its tokens, and its deltas for where it tells nothing."""

    __slots__ = ("deltas", "heard", "said")

    def __init__(self) -> None:
        self.said: Usage | None = None
        self.deltas = 0
        self.heard = False  # anything at all: a host was asked

    def hear(self, events: Sequence[Event]) -> None:
        self.heard = True
        for event in events:
            if type(event) is Delta:
                self.deltas += 1
            elif isinstance(event, Usage):
                self.said = event

    @property
    def usage(self) -> Usage:
        return self.said or Usage(counted_by="server", output=self.deltas)


def added(one: Usage, other: Usage) -> Usage:
    """Both together; the host's figure only where both are."""
    return Usage(
        counted_by="host" if one.counted_by == other.counted_by == "host" else "server",
        input=_both(one.input, other.input),
        output=_both(one.output, other.output),
        cached=_both(one.cached, other.cached),
        reasoning=_both(one.reasoning, other.reasoning),
        cache_write=_both(one.cache_write, other.cache_write),
        cost=_both(one.cost, other.cost),
    )


def _both(one: N | None, other: N | None) -> N | None:
    return other if one is None else one if other is None else one + other
