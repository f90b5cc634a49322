"""An answer that goes on after its host failed: what was said is remembered, another model is told to go on, and the client sees one.

What it keeps: text that has passed is never taken back and never said twice; a tool call reaches the client whole or not
at all, and once; thoughts end where they were cut; the tokens of all tries are booked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import TidewireError, TimedOut, UpstreamError
from tidewire.core.events import Delta, Event, Finish, PartEnded, PartStarted, Usage
from tidewire.core.passing import Passing
from tidewire.core.ports import Prefilling, Provider, Sink
from tidewire.core.request import Message, Request, Text
from tidewire.routing.overlap import Seam, anchor
from tidewire.routing.table import Candidate, needs
from tidewire.routing.tally import Tally, added
from tidewire.routing.trying import blames_request

LONGEST: Final = 1_000_000  # characters of an answer that are remembered; a longer one is not gone on with
CUT_CALLS: Final = "calls_cut"

ASK: Final = (
    "Your answer above was cut off in transmission. Go on from the exact place where it stops. Begin by repeating these last "
    "characters of it, letter for letter, and then go on without a break:\n{anchor}\nWrite nothing before them, no remark and no "
    "code fence, and do not begin anew."
)
JSON: Final = " The whole answer is one JSON document{schema}; what you write is its remaining part."


def continuable(request: Request) -> bool:
    """One answer in text, or in calls of tools. Log probabilities cannot be joined."""
    return request.n == 1 and request.logprobs is None


def prefills(candidate: Candidate, provider: Provider, model: str) -> bool:
    """Whether it goes on from the beginning of an answer: as the route's table says, else as its host does."""
    if candidate.prefill != "auto":
        return candidate.prefill == "assistant"
    return isinstance(provider, Prefilling) and provider.prefills(model)


class Unbroken(Passing):
    """The sink of an answer of several tries one after another. Between two of them stands `cut`.

    Parts are numbered over all tries. lost: why the try that is under way cannot be joined to what was said.
    """

    def __init__(self, sink: Sink, request: Request) -> None:
        self.lost: UpstreamError | None = None
        self._sink = sink
        self._request = request
        self._parts = 0
        self._text: int | None = None  # the part that text goes to, once one is open
        self._said: list[str] = []
        self._size = 0
        self._start = 0  # characters before that part
        self._closable = False  # its end was told, and is passed on with what follows
        self._thoughts: list[int] = []  # that are open
        self._sealed = False  # something was passed on that cannot be gone on with
        self._passed: list[tuple[str, Any]] = []  # calls that the client has: name and arguments
        self._booked: Usage | None = None  # of the tries before; None in the first
        self._timeout: asyncio.Timeout | None = None
        self._begin(None)

    def _begin(self, seam: Seam | None) -> None:
        self._seam = seam
        self._shift = self._size - self._start  # where the try's text goes on in the part
        self._tally = Tally()
        self._here: dict[int, int] = {}  # the try's number of a part: ours
        self._kinds: dict[int, str] = {}
        self._calls: dict[int, list[Event]] = {}  # that are not whole yet, as the try told them
        self._order = 0  # calls of this try that were whole
        self._texts = 0  # text parts of this try
        self.lost = None

    @property
    def said(self) -> str:
        if len(self._said) > 1:
            self._said = ["".join(self._said)]
        return self._said[0] if self._said else ""

    def may_go_on(self, error: TidewireError) -> bool:
        """Whether another model can be asked for the rest."""
        if self._sealed or self._size > LONGEST or error.kind == "time_limit" or blames_request(error):
            return False
        return isinstance(error, UpstreamError | TimedOut) or error.retryable

    def cut(self) -> None:
        """The try has failed: its thoughts end here, half of a call is forgotten, its tokens are booked.

        What the seam still held back nobody has seen, and is forgotten too.
        """
        out: list[Event] = [PartEnded(part=part) for part in self._thoughts]
        self._thoughts.clear()
        told, deltas = self._tally.said or Usage(counted_by="server"), self._tally.deltas
        asked = told.input
        if asked is None:  # a host that had begun has read the question
            asked = needs(self._request).tokens if self._kinds else 0
        booked = msgspec.structs.replace(
            told, counted_by="server", input=asked, output=max(told.output or 0, deltas), seq=-1, at=-1
        )
        self._booked = booked if self._booked is None else added(self._booked, booked)
        self._begin(None)
        if out:
            self._sink.feed(out)

    def question(self, *, prefill: bool) -> Request | None:
        """What the next one is asked for; from here on its answer is joined. None where no token is left to be said.

        prefill: it goes on, letter for letter, from a last message of its own.
        """
        request, said = self._request, self.said
        limit = request.max_tokens
        if limit is not None and self._booked is not None:
            limit -= self._booked.output or 0
            if limit <= 0:
                return None
        again = self._passed or not said  # a text before a call was whole: it is asked for anew, with the calls
        prefilled = prefill and bool(said.strip())
        self._begin(None if again else Seam(said, prefilled=prefilled))
        if again:
            return msgspec.structs.replace(request, max_tokens=limit)
        own = Message(role="assistant", content=[Text(said.rstrip() if prefilled else said)])
        more = [own] if prefilled else [own, Message(role="user", content=[Text(self._told(said))])]
        return msgspec.structs.replace(
            request,
            messages=[*request.messages, *more],
            max_tokens=limit,
            response_format=None,
            prefill=prefilled,
        )

    def _told(self, said: str) -> str:
        shape = self._request.response_format
        words = ASK.format(anchor=anchor(said))
        if shape is None or shape.get("type") == "text":
            return words
        schema = (shape.get("json_schema") or {}).get("schema")
        held = "" if schema is None else f" that holds to this schema: {msgspec.json.encode(schema).decode()}"
        return words + JSON.format(schema=held)

    @asynccontextmanager
    async def joined(self) -> AsyncIterator[None]:
        """Around a try that goes on. Raises UpstreamError as soon as it shows that it cannot be joined."""
        try:
            async with asyncio.timeout(None) as self._timeout:
                yield
        except TimeoutError:
            if self.lost is None:
                raise
        finally:
            self._timeout = None
        if self.lost is not None:
            raise self.lost

    def finish(self, reason: ev.Reason) -> None:
        """The answer ends with what was said, though no model said so."""
        self.feed([Finish(reason=reason)])

    def give_up(self) -> bool:
        """Nobody says the rest. Where the client has whole calls, it may run those, and the answer ends. False where it has none."""
        if not self._passed:
            if self._booked is not None:
                self._sink.feed([msgspec.structs.replace(self._booked)])
            return False
        message = (
            f"the answer broke off after {len(self._passed)} whole tool calls; whether more were to come is not known"
        )
        self.feed([ev.Notice(code=CUT_CALLS, message=message), Finish(reason="tool_calls")])
        return True

    def feed(self, events: Sequence[Event]) -> None:
        self._tally.hear(events)
        if self.lost is not None:
            return
        out: list[Event] = []
        for event in events:
            if self.lost is None:
                out += self._one(event)
        if out:
            self._sink.feed(out)

    def _one(self, event: Event) -> list[Event]:
        if isinstance(event, PartStarted):
            return self._started(event)
        part = getattr(event, "part", None)
        if part is not None:
            return self._of_part(part, event)
        if isinstance(event, Usage):
            return [event if self._booked is None else added(self._booked, event)]
        if isinstance(event, Finish):
            return self._ended(event)
        return [event]

    def _started(self, event: PartStarted) -> list[Event]:
        self._kinds[event.part] = event.kind
        if event.kind == "tool_call":
            self._calls[event.part] = [event]
            return []
        if self._booked is not None and ((event.kind == "thinking" and self._size) or self._order < len(self._passed)):
            return []  # a second thought in the middle of an answer; what was said before a call that the client has
        if event.kind == "text":
            self._texts += 1
            if self._text is not None and (self._texts == 1 or (self._seam is not None and not self._seam.found)):
                self._closable = False
                self._here[event.part] = self._text
                return []
        out = self._close()
        new = self._here[event.part] = self._number()
        if event.kind == "text":
            self._text, self._start = new, self._size
            self._sealed = self._sealed or bool(self._passed)
        elif event.kind == "thinking":
            self._thoughts.append(new)
        else:
            self._sealed = True
        return [*out, msgspec.structs.replace(event, part=new)]

    def _of_part(self, part: int, event: Event) -> list[Event]:
        if part in self._calls:
            self._calls[part].append(event)
            return self._whole(self._calls.pop(part)) if isinstance(event, PartEnded) else []
        here = self._here.get(part)
        if here is None:
            return []
        kind = self._kinds[part]
        if type(event) is Delta:
            if kind == "text":
                return self._more(event.text if self._seam is None else self._seam.feed(event.text))
            return [Delta(part=here, text=event.text)]
        if isinstance(event, PartEnded):
            if kind == "text":
                self._closable = True
                return []
            if here in self._thoughts:
                self._thoughts.remove(here)
        if isinstance(event, ev.Edit):
            self._sealed = True
        if isinstance(event, ev.Citation) and self._seam is not None and self._texts == 1:
            shift = self._shift - self._seam.dropped
            event = msgspec.structs.replace(event, start=max(0, event.start + shift), end=max(0, event.end + shift))
        return [msgspec.structs.replace(event, part=here)]

    def _more(self, text: str) -> list[Event]:
        seam = self._seam
        if seam is not None and seam.lost:
            self._lose("began its answer anew and said something else")
            return []
        if not text or self._text is None:
            return []
        if self._size <= LONGEST:
            self._said.append(text)
            self._size += len(text)
        return [Delta(part=self._text, text=text)]

    def _whole(self, call: list[Event]) -> list[Event]:
        """A call whose arguments are complete. One that the client has is not given to it again."""
        started = call[0]
        assert isinstance(started, PartStarted)
        told = "".join(e.text for e in call if isinstance(e, Delta))
        known = started.name or "", _read(told)
        order, self._order = self._order, self._order + 1
        if order < len(self._passed):
            if self._passed[order] != known:
                self._lose("asked for other tools than before")
            return []
        self._passed.append(known)
        rest = self._more(self._seam.end()) if self._seam is not None else []
        out = [*rest, *self._close()]
        new = self._number()
        return [*out, *(msgspec.structs.replace(e, part=new) for e in call)]

    def _close(self) -> list[Event]:
        """The text's end, before something else begins."""
        if self._text is None or not self._closable:
            return []
        part, self._text, self._closable = self._text, None, False
        return [PartEnded(part=part)]

    def _ended(self, event: Finish) -> list[Event]:
        if self._seam is not None and not self._texts and "thinking" in self._kinds.values():
            self._lose("thought, and said nothing")  # hosts may take what follows a prefill for thoughts
            return []
        out = self._more(self._seam.end()) if self._seam is not None else []
        if self.lost is not None:
            return out
        if self._text is not None:
            out.append(PartEnded(part=self._text))
            self._text = None
        out += [PartEnded(part=part) for part in self._thoughts]
        self._thoughts.clear()
        if self._booked is not None and self._tally.said is None:
            out.append(added(self._booked, self._tally.usage))
        return [*out, event]

    def _number(self) -> int:
        self._parts += 1
        return self._parts - 1

    def _lose(self, why: str) -> None:
        self.lost = UpstreamError(f"the model that was to go on {why}", code="upstream_unjoinable")
        if self._timeout is not None:
            self._timeout.reschedule(asyncio.get_running_loop().time())


def _read(arguments: str) -> Any:
    try:
        return msgspec.json.decode(arguments or "{}")
    except msgspec.DecodeError:
        return arguments
