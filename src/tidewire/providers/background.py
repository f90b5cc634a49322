"""Answers that go on at the host when the connection to it breaks: what is left of them is fetched on another connection.

A stream is carried on at the event behind the last one that was read whole, so that nothing is lost and nothing comes twice.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final, Protocol, cast, runtime_checkable

from tidewire.core.errors import TidewireError, TimedOut, UpstreamError
from tidewire.core.events import Progress
from tidewire.core.ports import Decoder, Question, Sink, Speaker
from tidewire.core.request import Request
from tidewire.providers.hosted import Hosted

log = logging.getLogger(__name__)

TRIES: Final = 5  # in a row that bring not one event more
LET_GO: Final = 2.0  # seconds that the host has to confirm that it stopped; a run waits 5 for its provider
_BROKEN: Final = frozenset(
    {
        "upstream_cut",
        "upstream_closed",
        "upstream_not_http",
        "upstream_unreachable",
        "upstream_unavailable",
        "upstream_rate_limited",
        "upstream_connect_timeout",
        "upstream_header_timeout",
        "upstream_first_token_timeout",
        "upstream_idle_timeout",
    }
)
_OVER: Final = frozenset({"upstream_error", "upstream_cancelled"})  # the host itself has ended the answer


class Continued(Decoder, Protocol):
    """A decoder that says where it is. response: the host's id of the answer; cursor: the number of the last event read whole."""

    response: str | None
    cursor: int | None

    def again(self) -> None:
        """What comes next is of another connection, from the event behind `cursor` on."""


@runtime_checkable
class Keeping(Speaker, Protocol):
    """A speaker whose host keeps an answer that nobody reads."""

    def background(self, request: Request) -> bool: ...

    def rest(self, response: str, after: int) -> str: ...

    def stop(self, response: str) -> str: ...


class Background(Hosted):
    """`Hosted`, for speakers that are `Keeping`. Requests that do not ask for the background are answered as any other."""

    async def _exchange(self, request: Request, asked: Question, decoder: Decoder, sink: Sink, *, began: float) -> None:
        speaker = self.speaker(request)
        if not isinstance(speaker, Keeping) or not speaker.background(request):
            await super()._exchange(request, asked, decoder, sink, began=began)
            return
        place = cast(Continued, decoder)
        try:
            await self._carried(speaker, request, asked, place, sink, began=began)
        except BaseException as error:  # the connection is closed; the host goes on until it is told
            if not isinstance(error, UpstreamError) or error.kind not in _OVER:
                await self._stop(speaker, place)
            raise

    async def _carried(
        self, speaker: Keeping, request: Request, asked: Question, place: Continued, sink: Sink, *, began: float
    ) -> None:
        failed = 0
        try:
            await super()._exchange(request, asked, place, sink, began=began)
            return
        except (UpstreamError, TimedOut) as error:
            if place.response is None or place.cursor is None or error.kind not in _BROKEN:
                raise
        while True:
            seen = place.cursor
            await asyncio.sleep(_pause(failed))
            sink.feed([Progress(stage="connecting", detail=f"the connection to {self.name} broke; its answer goes on")])
            place.again()
            path = speaker.rest(place.response, seen)
            try:
                headers = await self._signed("GET", path, b"", {})
                await self.host.stream(
                    "GET", path, None, place, sink, headers=headers, began=began, deadline=request.deadline
                )
                return
            except (UpstreamError, TimedOut) as error:
                error.begun = True  # some of the answer is out: the question may not be asked a second time
                failed = 0 if place.cursor != seen else failed + 1
                if failed >= TRIES or error.kind not in _BROKEN:
                    raise

    async def _stop(self, speaker: Keeping, place: Continued) -> None:
        if place.response is None:
            return
        path = speaker.stop(place.response)
        try:
            headers = await self._signed("POST", path, b"{}", {})
            status, _, _ = await self.host.fetch("POST", path, b"{}", headers=headers, deadline=LET_GO)
        except TidewireError as error:
            log.warning("the host was not told to stop", extra={"provider": self.name, "code": error.kind})
            return
        if status >= 400:
            log.warning("the host did not stop", extra={"provider": self.name, "status": status})


def _pause(failed: int) -> float:
    """Seconds before the next try: none where the last one brought something."""
    return min(2.0, 0.1 * float(2**failed)) * random.uniform(0.5, 1.0) if failed else 0.0
