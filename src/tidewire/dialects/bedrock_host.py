"""Bedrock's ConverseStream, the side that faces the host: the request we send and the events we read.

Source: the Bedrock Runtime reference, the service model in botocore, and recorded streams. Seen in them and taken: padding under `p`, text
blocks that no start announces and no stop ends, a start without content, metadata before messageStop or after it or not at all.
Traces of guardrails and answers' additional fields are left out.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any, Final
from urllib.parse import quote

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Event, Reason, Span, Timing
from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import Request
from tidewire.dialects.aws_eventstream import MEDIA_TYPE, Headers, Messages
from tidewire.dialects.bad_events import BAD, broken
from tidewire.dialects.bedrock_messages import REASONS, write_body
from tidewire.dialects.bedrock_wire import (
    Block,
    BlockDelta,
    Image,
    Metadata,
    Reasoning,
    Start,
    Stop,
    citation,
    failure,
    result,
    usage,
)

MAX_OPEN: Final = 64  # blocks begun and not ended; the protocol itself has one at a time
MAX_CITATIONS: Final = 1000  # that wait for the end of their block

_json = msgspec.json.encode


_block = msgspec.json.Decoder(Block)
_metadata = msgspec.json.Decoder(Metadata)
_stop = msgspec.json.Decoder(Stop)


class ConverseHost:
    """`core.ports.Speaker`. Bedrock lists its models at another address, so that they are configured."""

    listing = ""

    def ask(self, request: Request, model: str) -> Question:
        """model: an id, or the ARN of a profile or of a deployment."""
        return Question(
            path=f"/model/{quote(model, safe='')}/converse-stream",
            body=_json(write_body(request, model)),
            headers={"Accept": MEDIA_TYPE},
        )

    def decoder(self, request: Request) -> ConverseDecoder:
        return ConverseDecoder()

    def models(self, body: bytes) -> list[ModelInfo]:
        return []


class _Open:
    """A part that is being written. length: of a text so far, in characters; citations: they speak for all of it, and wait for its end."""

    __slots__ = ("citations", "kind", "length", "part")

    def __init__(self, part: int, kind: ev.PartKind) -> None:
        self.part = part
        self.kind = kind
        self.length = 0
        self.citations: list[dict[str, Any]] = []


class ConverseDecoder:
    """The bytes of one streamed answer as events, however they are cut. `core.ports.Decoder`."""

    __slots__ = ("_counted", "_done", "_finish", "_index", "_messages", "_open", "_parts", "_text")

    def __init__(self) -> None:
        self._messages = Messages()
        self._open: dict[int, _Open] = {}
        self._index = -1  # of the text block that was spoken in last, and the block: the straight path
        self._text: _Open | None = None
        self._parts = 0
        self._finish: Reason | None = None
        self._counted = False  # metadata has come
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        if self._done:
            return out
        try:
            for headers, payload in self._messages.feed(data):
                if headers.get(":event-type") == "contentBlockDelta" and headers.get(":message-type") == "event":
                    block = _block.decode(payload)
                    # the usual event, straight: more of the text block that is open
                    if (
                        block.index == self._index
                        and (delta := block.delta) is not None
                        and (text := delta.text)
                        and (opened := self._text) is not None
                    ):
                        opened.length += len(text)
                        out.append(Delta(part=opened.part, text=text))
                    elif block.delta is not None:
                        self._delta(block.index, block.delta, out)
                else:
                    self._message(headers, payload, out)
                    if self.ended:
                        break
        except BAD as error:
            raise broken(error, out, "of ConverseStream") from None
        return out

    @property
    def ended(self) -> bool:
        """Whether the last word has come."""
        return self._done

    def end(self) -> list[Event]:
        out: list[Event] = []
        if not self._done:
            if self._finish is None:
                raise UpstreamError(
                    "the host closed the answer before its end: no messageStop came", code="upstream_cut"
                )
            self._finished(self._finish, out)  # no metadata came: the stop reason says that all is there
        return out

    def _message(self, headers: Headers, payload: bytes, out: list[Event]) -> None:
        if headers.get(":message-type") != "event":
            raise failure(headers, payload)
        match headers.get(":event-type"):
            case "contentBlockStart":
                block = _block.decode(payload)
                if block.start is not None:
                    self._start(block.index, block.start, out)
            case "contentBlockStop":
                self._close(_block.decode(payload).index, out)
            case "messageStop":
                said = _stop.decode(payload).stop_reason or "end_turn"
                if said.startswith("malformed_"):
                    raise UpstreamError(f"the host ended the answer with {said!r}; try again", code="upstream_error")
                self._finish = REASONS.get(said, "stop")
                for index in list(self._open):
                    self._close(index, out)
                if self._counted:
                    self._finished(self._finish, out)
            case "metadata":
                self._metadata(_metadata.decode(payload), out)
                if self._finish is not None:
                    self._finished(self._finish, out)
            case _:
                pass  # messageStart, and what later versions will bring

    # Blocks

    def _start(self, index: int, start: Start, out: list[Event]) -> None:
        self._close(index, out)  # begun again without having ended
        if (call := start.tool_use) is not None:
            if not call.name:
                raise UpstreamError("the host sent a tool call without the tool's name", code="upstream_bad_tool_call")
            self._begin(index, "tool_call", out, name=call.name, call=call.tool_use_id or f"call_{self._parts}")
        elif (result := start.tool_result) is not None:
            self._begin(index, "tool_result", out, call=result.tool_use_id)
        elif (image := start.image) is not None:
            self._begin(index, "image", out, media=f"image/{image.format or 'png'}")

    def _begin(
        self,
        index: int,
        kind: ev.PartKind,
        out: list[Event],
        *,
        name: str | None = None,
        call: str | None = None,
        media: str | None = None,
    ) -> _Open:
        """Text and thoughts that no stop has ended, end here: another block has begun."""
        for other in [i for i, o in self._open.items() if o.kind in ("text", "thinking")]:
            self._close(other, out)
        if len(self._open) >= MAX_OPEN:
            raise UpstreamError(f"the host sent more than {MAX_OPEN} blocks at once", code="upstream_bad_event")
        opened = self._open[index] = _Open(self._parts, kind)
        self._parts += 1
        out.append(ev.PartStarted(part=opened.part, kind=kind, name=name, call=call, media=media))
        if kind == "text":
            self._index, self._text = index, opened
        return opened

    def _of(self, index: int, kind: ev.PartKind, out: list[Event]) -> _Open:
        """The open block of this index, begun where none is open, or one of another kind."""
        opened = self._open.get(index)
        if opened is not None and opened.kind == kind:
            return opened
        if kind in ("tool_call", "tool_result", "image"):
            raise UpstreamError(
                f"the host sent a piece of a {kind.replace('_', ' ')} in block {index}, which it never began",
                code="upstream_bad_tool_call" if kind == "tool_call" else "upstream_bad_event",
            )
        self._close(index, out)
        return self._begin(index, kind, out)

    def _delta(self, index: int, delta: BlockDelta, out: list[Event]) -> None:
        if delta.text:
            opened = self._of(index, "text", out)
            opened.length += len(delta.text)
            out.append(Delta(part=opened.part, text=delta.text))
        elif (thought := delta.reasoning_content) is not None:
            self._thought(index, thought, out)
        elif delta.tool_use is not None:
            opened = self._of(index, "tool_call", out)
            given = delta.tool_use.input
            if given is not None and given != "":
                text = given if isinstance(given, str) else _json(given).decode()
                opened.length += len(text)
                out.append(Delta(part=opened.part, text=text))
        elif delta.citation is not None:
            opened = self._of(index, "text", out)
            if len(opened.citations) >= MAX_CITATIONS:
                raise UpstreamError(
                    f"the host sent more than {MAX_CITATIONS} citations of one block", code="upstream_bad_event"
                )
            opened.citations.append(delta.citation)
        elif delta.image is not None:
            self._image(self._of(index, "image", out), delta.image, out)
        elif delta.tool_result:
            opened = self._of(index, "tool_result", out)
            out.extend(Delta(part=opened.part, text=text) for piece in delta.tool_result if (text := result(piece)))

    def _thought(self, index: int, thought: Reasoning, out: list[Event]) -> None:
        if not (thought.text or thought.signature or thought.redacted_content):
            return
        part = self._of(index, "thinking", out).part
        if thought.text:
            out.append(Delta(part=part, text=thought.text))
        if thought.signature:
            out.append(ev.Signature(part=part, value=thought.signature))
        if thought.redacted_content:
            out.append(ev.Signature(part=part, value=thought.redacted_content, redacted=True))

    def _image(self, opened: _Open, image: Image, out: list[Event]) -> None:
        if image.error is not None:
            raise UpstreamError(
                f"the host could not make the image: {str(image.error.get('message'))[:200]}", code="upstream_error"
            )
        data = (image.source or {}).get("bytes")
        if isinstance(data, str):
            try:
                out.append(ev.Blob(part=opened.part, data=b64decode(data, validate=True)))
            except (binascii.Error, ValueError):
                raise UpstreamError("the host sent an image that is not base64", code="upstream_bad_event") from None

    def _close(self, index: int, out: list[Event]) -> None:
        opened = self._open.pop(index, None)
        if opened is None:
            return
        if opened is self._text:
            self._index, self._text = -1, None
        if opened.kind == "tool_call" and not opened.length:  # a call without arguments is one of an empty object
            out.append(Delta(part=opened.part, text="{}"))
        out.extend(citation(raw, opened.part, opened.length) for raw in opened.citations)
        out.append(ev.PartEnded(part=opened.part))

    # The end

    def _metadata(self, said: Metadata, out: list[Event]) -> None:
        self._counted = True
        if said.metrics is not None and said.metrics.latency_ms is not None:
            out.append(Timing(span=Span("host_latency", 0.0, said.metrics.latency_ms, "reported")))
        if said.usage is not None:
            out.append(usage(said.usage))

    def _finished(self, reason: Reason, out: list[Event]) -> None:
        self._done = True
        for index in list(self._open):
            self._close(index, out)
        out.append(ev.Finish(reason=reason))
