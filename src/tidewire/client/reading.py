"""One stream as a client reads it: cursor, duplicates, gaps, when to try again. Sans-I/O; PROTOCOL.md section 3.

The bodies do what this says: make the call(), feed() the bytes or report refused() or lost(), wait, and call() again.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import msgspec

from tidewire.client.calls import Call, ConnectionLost, refusal
from tidewire.core.errors import Conflict
from tidewire.core.events import (
    AnyEvent,
    Citation,
    Closed,
    Delta,
    Edit,
    Opened,
    PartStarted,
    Retrieved,
    Superseded,
    decode,
    edit,
)
from tidewire.core.sse import Frames

TRIES: Final = 8  # without one new event between them; about 45 s with the server's usual retry of 1 s
LONGEST: Final = 10.0  # seconds between two tries
_RETRY: Final = re.compile(rb"retry: ?(\d{1,7})\r?\n")


class _Numbered(msgspec.Struct):
    seq: int


class Reading:
    """What has been read of a stream, and what to do next.

    body: of the POST that starts it; None to follow one that exists. after: the last event already dealt with.
    text, thinking, citations, opened, closed: of what was read here, edits made. retrieved: the last search of the tenant's
    documents; superseded: those of them that have changed or gone since.
    """

    def __init__(
        self,
        stream: str,
        body: bytes | None = None,
        after: int = 0,
        *,
        tries: int = TRIES,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.stream = stream
        self.cursor = after
        self.opened: Opened | None = None
        self.closed: Closed | None = None
        self.citations: list[Citation] = []
        self.retrieved: Retrieved | None = None
        self.superseded: list[Superseded] = []
        self.ended = False
        self.broken = False
        self._begun = False
        self._body = body
        self._asked = 0
        self._failures = 0
        self._retry = 1.0
        self._tries = tries
        self._chance = chance
        self._frames = Frames()
        self._kinds: dict[int, str] = {}
        self._texts: dict[int, list[str]] = {}

    @property
    def text(self) -> str:
        return self._joined("text")

    @property
    def thinking(self) -> str:
        return self._joined("thinking")

    def _joined(self, kind: str) -> str:
        return "".join(piece for part, pieces in self._texts.items() if self._kinds[part] == kind for piece in pieces)

    def call(self) -> Call:
        """The next request to make. Its bytes go to feed()."""
        self._frames = Frames()
        self.broken = False
        if self._body is not None:
            self._asked += 1
            return Call("POST", "/v1/streams", self._body, "text/event-stream")
        return Call(
            "GET", f"/v1/streams/{quote(self.stream, safe='')}/events?after={self.cursor}", accept="text/event-stream"
        )

    def accepted(self, status: int) -> None:
        """The server answers with a stream (200), or has nothing more (204)."""
        self._body = None
        self._begun = True
        self.ended = self.ended or status == 204

    def feed(self, data: bytes) -> list[AnyEvent]:
        """The events that are new, in order. After a gap, `broken` is True: hang up, report lost() and call again."""
        if found := _RETRY.match(data):
            self._retry = int(found[1]) / 1000
        new: list[AnyEvent] = []
        for _, raw in self._frames.feed(data):
            seq = _number(raw)
            if seq is not None and seq <= self.cursor:
                continue
            if seq != self.cursor + 1:  # a gap, or no event at all: some proxy's bytes
                self.broken = True
                break
            self.cursor = seq
            self._failures = 0
            event = _known(raw)
            if event is not None:
                self._note(event)
                new.append(event)
        return new

    def refused(self, status: int, body: bytes) -> float:
        """The server answered with an error: seconds to wait before the next call. Raises it where trying again is no use."""
        error = refusal(status, body)
        if isinstance(error, Conflict) and self._body is not None and self._asked > 1:
            self._body = None  # an earlier try did start it, and only its answer was lost
            return 0.0
        self._failures += 1
        if not error.retryable or self._failures >= self._tries:
            raise error
        return max(self._wait(), error.retry_after or 0.0)

    def lost(self, why: str = "closed before the end of the answer", *, reached: bool = True) -> float:
        """The connection is gone: seconds to wait before the next call. Raises ConnectionLost after too many tries in a row.

        reached: False when no connection came about; then, with nothing begun, it is raised at once.
        """
        self._failures += 1
        if not reached and not self._begun:
            raise ConnectionLost(why, stream=self.stream, cursor=self.cursor)
        if self._failures >= self._tries:
            raise ConnectionLost(
                f"the connection failed {self._failures} times in a row ({why}); stream {self.stream} can be followed "
                f"after event {self.cursor}",
                stream=self.stream,
                cursor=self.cursor,
            )
        return self._wait()

    def _wait(self) -> float:
        """Doubled each time up to LONGEST, with jitter between half and all of it, so that clients do not return as one."""
        longest: float = min(LONGEST, self._retry * 2.0 ** (self._failures - 1))
        return longest * (0.5 + self._chance() / 2)

    def _note(self, event: AnyEvent) -> None:
        match event:
            case Delta(part=part, text=text):
                if part in self._texts:
                    self._texts[part].append(text)
            case PartStarted(part=part, kind=kind):
                self._kinds[part] = kind
                if kind in ("text", "thinking"):
                    self._texts[part] = []
            case Edit(part=part):
                if part in self._texts:
                    edit(self._texts[part], event)
            case Citation():
                self.citations.append(event)
            case Retrieved():
                self.retrieved = event
            case Superseded():
                self.superseded.append(event)
            case Opened():
                self.opened = event
            case Closed():
                self.closed = event
                self.ended = True

    def kind(self, part: int) -> str:
        """What kind of part it is: text, thinking, tool_call, server_call, tool_result, …; "" when its beginning was not read here."""
        return self._kinds.get(part, "")


def _number(raw: bytes) -> int | None:
    try:
        return msgspec.json.decode(raw, type=_Numbered).seq
    except msgspec.DecodeError:
        return None


def _known(raw: bytes) -> AnyEvent | None:
    """The event; None for a type that this client is too old to know, which is to be ignored."""
    try:
        return decode(raw)
    except msgspec.ValidationError:
        return None
