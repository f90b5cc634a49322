"""Views of a log as OpenAI Responses: the events of a stream, and the one document at its end.

Each is a pure function of the log's prefix. Order of events as recorded from the official API; thoughts come as
reasoning_text, which is what hosts of open models send (a summary would be something that nobody wrote). Left out, for
want of a word: progress, notices, audio, further choices, and what is said of the fields of an answer in JSON.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.events import Entry, ErrorInfo, Event
from tidewire.core.ports import Meta
from tidewire.dialects.openai_responses_object import Growing, Item
from tidewire.dialects.pictures import extension

_encode: Final = msgspec.json.Encoder().encode
_DELTA: Final = {
    "text": "response.output_text.delta",
    "refusal": "response.refusal.delta",
    "thinking": "response.reasoning_text.delta",
    "tool_call": "response.function_call_arguments.delta",
    "server_call": "response.mcp_call_arguments.delta",
}
_SPOKEN: Final = ("text", "refusal", "thinking")  # kinds of items with a content part
_LAST: Final = {"completed": "response.completed", "failed": "response.failed"}


class Events:
    """The stream of events as SSE. after: how many of them to leave out; sequence_number counts from 0.

    failure stays None: a failure is told in the stream, whenever it is read.
    """

    def __init__(self, meta: Meta, after: int = 0) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self.response = Growing(meta)
        self._after = after
        self._number = 0
        self._frames: list[bytes] = []
        self._deltas: dict[int, tuple[bytes, bytes]] = {}  # by part: what stands before and behind the text
        include = meta.record.get("include") or ()
        self._probable = "top_logprobs" in meta.record or "message.output_text.logprobs" in include
        self._held: ev.Delta | None = None  # a delta whose log probabilities may be the next entry

    @property
    def count(self) -> int:
        """How many events the entries so far have made."""
        return self._number

    def feed(self, entries: Sequence[Entry]) -> bytes:
        for entry in entries:
            event = entry.event
            if type(event) is ev.Delta:
                self._delta(event)
            else:
                self._other(event)
        out = b"".join(self._frames)
        self._frames.clear()
        return out

    def _delta(self, event: ev.Delta) -> None:
        around = self._deltas.get(event.part)
        if around is None:
            self.response.more(event.part, event.text)
            return
        item = self.response.items[event.part]
        item.texts.append(event.text)
        if self._held is not None:
            self._let_out(())
        if self._probable and item.kind == "text":
            self._held = event
            return
        if self._number >= self._after:
            self._frames.append(b"%s%s%s%d}\n\n" % (around[0], _encode(event.text), around[1], self._number))
        self._number += 1

    def _let_out(self, logprobs: Sequence[dict[str, Any]]) -> None:
        """The delta that was held, with its log probabilities."""
        assert self._held is not None
        item, text = self.response.items[self._held.part], self._held.text
        self._held = None
        probs = [{"bytes": [], "top_logprobs": []} | {k: v for k, v in p.items() if v is not None} for p in logprobs]
        item.logprobs.extend(probs)
        place = {"item_id": item.id, "output_index": item.index, "content_index": 0}
        self._emit(_DELTA["text"], **place, delta=text, logprobs=probs)

    def _other(self, event: Event) -> None:
        response = self.response
        if self._held is not None:
            mine = isinstance(event, ev.Logprobs) and event.part == self._held.part
            self._let_out(event.content if mine else ())  # type: ignore[attr-defined]
        if isinstance(event, ev.Opened):
            self._state("response.created")
            self._state(f"response.{response.status}")
            return
        if response.status == "queued" and isinstance(event, ev.Attempt | ev.PartStarted):
            response.status = "in_progress"
            self._state("response.in_progress")
        if isinstance(event, ev.PartStarted):
            if (item := response.add(event)) is not None:
                self._begin(item, event.part)
        elif isinstance(event, ev.PartEnded | ev.Citation | ev.Signature | ev.Blob):
            if (item := response.items.get(event.part)) is not None:
                self._more(item, event)
            elif isinstance(event, ev.PartEnded) and (call := response.results.get(event.part)) is not None:
                self._finish(call)
        elif isinstance(event, ev.Usage):
            response.usage = event
        elif isinstance(event, ev.Closed):
            self._close(event)

    def _state(self, kind: str) -> None:
        self._emit(kind, response=self.response.document())

    def _more(self, item: Item, event: ev.PartEnded | ev.Citation | ev.Signature | ev.Blob) -> None:
        if isinstance(event, ev.PartEnded):
            if item.kind == "server_call":  # it is over with its result
                place = {"item_id": item.id, "output_index": item.index}
                self._emit("response.mcp_call_arguments.done", **place, arguments=item.text)
            else:
                self._finish(item)
        elif isinstance(event, ev.Citation):
            self._cite(item, event)
        elif isinstance(event, ev.Signature):
            item.proof = event.value
        elif item.kind == "image":
            self._draw(item, event)

    def _begin(self, item: Item, part: int) -> None:
        self._emit("response.output_item.added", output_index=item.index, item=item.document("in_progress"))
        place: dict[str, Any] = {"item_id": item.id, "output_index": item.index}
        if item.kind == "image":
            self._emit("response.image_generation_call.in_progress", **place)
            self._emit("response.image_generation_call.generating", **place)
        if item.kind == "server_call":
            self._emit("response.mcp_call.in_progress", **place)
        if item.kind in _SPOKEN:
            place["content_index"] = 0
            self._emit("response.content_part.added", **place, part=item.content(""))
        if item.kind in _DELTA:
            kind = _DELTA[item.kind]
            head = _encode({"type": kind, **place})[:-1]
            behind = b',"logprobs":[],"sequence_number":' if item.kind == "text" else b',"sequence_number":'
            self._deltas[part] = (b'event: %s\ndata: %s,"delta":' % (kind.encode(), head), behind)

    def _finish(self, item: Item, status: str = "completed") -> None:
        item.done = status == "completed"
        place: dict[str, Any] = {"item_id": item.id, "output_index": item.index}
        if item.kind == "tool_call":
            self._emit("response.function_call_arguments.done", **place, name=item.name, arguments=item.text)
        elif item.kind == "image":
            if item.done:
                self._emit("response.image_generation_call.completed", **place)
        elif item.kind == "server_call":
            if item.done:
                self._emit("response.mcp_call.failed" if item.failed else "response.mcp_call.completed", **place)
        elif item.kind in _SPOKEN:
            place["content_index"] = 0
            if item.kind == "text":
                self._emit("response.output_text.done", **place, text=item.text, logprobs=item.logprobs)
            elif item.kind == "refusal":
                self._emit("response.refusal.done", **place, refusal=item.text)
            else:
                self._emit("response.reasoning_text.done", **place, text=item.text)
            self._emit("response.content_part.done", **place, part=item.content(item.text))
        self._emit("response.output_item.done", output_index=item.index, item=item.document(status))

    def _draw(self, item: Item, event: ev.Blob) -> None:
        """A sketch is an event of its own; the picture itself comes with the finished item."""
        picture = b64encode(event.data).decode()
        if not event.partial:
            item.picture = picture
        else:
            self._emit(
                "response.image_generation_call.partial_image",
                item_id=item.id,
                output_index=item.index,
                partial_image_index=item.partials,
                partial_image_b64=picture,
                output_format=extension(item.media),
            )
            item.partials += 1

    def _cite(self, item: Item, event: ev.Citation) -> None:
        self._emit(
            "response.output_text.annotation.added",
            item_id=item.id,
            output_index=item.index,
            content_index=0,
            annotation_index=len(item.annotations),
            annotation=self.response.cite(item, event),
        )

    def _close(self, event: ev.Closed) -> None:
        """A cancelled response ends with response.incomplete, its status saying cancelled: the SDK knows no event for it."""
        for item in self.response.items.values():
            if not item.done:
                self._finish(item, "incomplete")
        self.response.close(event)
        if event.status == "failed":
            info = event.error or ev.ErrorInfo(code="internal_error", message="the answer failed")
            words = {"code": info.code, "message": info.message, "param": info.param}
            # The reference has these at the top, the official server sends them under "error"; clients read either.
            self._emit("error", **words, error={"type": info.code, **words})
        self._state(_LAST.get(event.status, "response.incomplete"))
        self.ended = True

    def _emit(self, kind: str, **fields: Any) -> None:
        if self._number >= self._after:
            data = _encode({"type": kind, **fields, "sequence_number": self._number})
            self._frames.append(b"event: %s\ndata: %s\n\n" % (kind.encode(), data))
        self._number += 1


class Whole:
    """The Response object as one JSON document at the end; `document()` is the object at any point before.

    failure: of an answer that failed; the document says it too, for those who look at it later.
    """

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._events = Events(meta, after=1 << 62)

    @property
    def response(self) -> Growing:
        return self._events.response

    def document(self) -> bytes:
        return _encode(self._events.response.document())

    def feed(self, entries: Sequence[Entry]) -> bytes:
        self._events.feed(entries)
        if self.ended or not self._events.ended:
            return b""
        self.ended = True
        closed = self._events.response.closed
        self.failure = closed.error if closed is not None else None
        return self.document()
