"""A token limit, for hosts that do not keep it. One delta counts as one token, as hosts send them."""

from __future__ import annotations

from collections.abc import Iterable

from tidewire.core.events import Delta, Event, Finish


class Limit:
    """Ends the answer when one delta more than `tokens` arrives: a host that keeps the limit itself has ended by then,
    with its own usage figure.
    """

    def __init__(self, tokens: int) -> None:
        self._left = tokens
        self._met = False

    def feed(self, event: Event) -> Iterable[Event]:
        if self._met:
            return ()
        if type(event) is Delta:
            if self._left == 0:
                self._met = True
                return (Finish(reason="length", early=True),)
            self._left -= 1
        return (event,)

    def end(self) -> Iterable[Event]:
        return ()
