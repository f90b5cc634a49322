"""A token limit, for hosts that do not keep it. One delta counts as one token, as hosts send them."""

from __future__ import annotations

from collections.abc import Sequence

from tidewire.core.events import Delta, Event, Finish


class Limit:
    """Ends the answer when one delta more than `tokens` arrives: a host that keeps the limit itself has ended by then,
    with its own usage figure.
    """

    def __init__(self, tokens: int) -> None:
        self._left = tokens  # below 0: it was met

    def feed(self, event: Event) -> Sequence[Event]:
        if type(event) is Delta:
            left = self._left = self._left - 1
            if left < 0:
                return () if left < -1 else (Finish(reason="length", early=True),)
        elif self._left < 0:
            return ()
        return (event,)

    def end(self) -> Sequence[Event]:
        return ()
