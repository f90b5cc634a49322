"""Cohere's Chat API, version 2, the side that faces the host: the events we read.

Source: docs.cohere.com, "Streaming", the types of the official Python SDK (`V2ChatStreamResponse`), and recorded streams: a tool call is
an object under `tool_calls`, not a list; the plan before a tool call has no start and no end; usage is told twice, in tokens and in
billed units, and only the former is read.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Event, Reason
from tidewire.core.sse import Frames
from tidewire.dialects.bad_events import BAD, broken
from tidewire.dialects.cohere_citations import RawCitation, citations

REASONS: Final[dict[str, Reason]] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop_string",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
    "TIMEOUT": "time_limit",
    "ERROR_TOXIC": "content_filter",  # of older deployments
}


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct, gc=False):
    id: str | None = None
    function: _Function | None = None


class _Content(msgspec.Struct, gc=False):
    type: str | None = None
    text: str | None = None
    thinking: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: _Content | list[_Content] | None = None
    tool_calls: _Call | list[_Call] | None = None
    tool_plan: str | None = None
    citations: RawCitation | list[RawCitation] | None = None


class _Delta(msgspec.Struct, gc=False):
    message: _Message | None = None
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


class _Logprobs(msgspec.Struct, gc=False):
    text: str | None = None
    logprobs: list[float] | None = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    index: int | None = None
    delta: _Delta | None = None
    logprobs: _Logprobs | None = None
    message: Any = None  # of an error that comes in place of an event


_event = msgspec.json.Decoder(_Event)


class CohereDecoder:
    """The bytes of one streamed answer as events, however they are cut. `core.ports.Decoder`."""

    __slots__ = ("_calls", "_contents", "_done", "_frames", "_index", "_open", "_part", "_parts", "_plan", "_said")

    def __init__(self) -> None:
        self._frames = Frames()
        self._parts = 0
        self._contents: dict[int, tuple[int, str]] = {}  # index of a content -> its part and kind, ended ones too
        self._calls: dict[int, int] = {}  # index of an open tool call -> its part
        self._said: set[int] = set()  # tool calls that have arguments
        self._open: dict[int, None] = {}  # parts, in order
        self._plan = -1  # the part of the plan, -1 where there is none
        self._part = -1  # the part of the text that is open
        self._index: int | None = None  # and its index
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        decode = _event.decode
        try:
            for _, payload in self._frames.feed(data):
                if self._done:
                    break
                if payload == b"[DONE]":
                    raise UpstreamError("the host ended the answer without a finish reason", code="upstream_unfinished")
                event = decode(payload)
                # the usual event, straight: more of the text that is open, and nothing else
                if (
                    event.type == "content-delta"
                    and event.index == self._index
                    and self._part >= 0
                    and event.logprobs is None
                    and (delta := event.delta) is not None
                    and (message := delta.message) is not None
                    and type(content := message.content) is _Content
                    and (text := content.text)
                    and content.thinking is None
                ):
                    out.append(Delta(part=self._part, text=text))
                else:
                    self._event(event, out)
        except BAD as error:
            raise broken(error, out, "Cohere's") from None
        return out

    def end(self) -> list[Event]:
        if not self._done:
            raise UpstreamError("the host closed the answer before its end: no message-end came", code="upstream_cut")
        return []

    def _event(self, event: _Event, out: list[Event]) -> None:
        delta = event.delta or _Delta()
        message = delta.message or _Message()
        kind = event.type
        if kind in ("content-start", "content-delta"):
            self._content(event, _first(message.content) or _Content(), out)
        elif kind == "content-end":
            self._end(self._contents.get(self._latest(event.index), (-1, ""))[0], out)
        elif kind == "tool-plan-delta":
            self._planned(message.tool_plan, out)
        elif kind == "tool-call-start":
            self._begin_call(event.index, _first(message.tool_calls) or _Call(), out)
        elif kind == "tool-call-delta":
            call = _first(message.tool_calls)
            self._arguments(event.index, (call.function if call else None) or _Function(), out)
        elif kind == "tool-call-end":
            self._end_call(event.index, out)
        elif kind == "citation-start":
            self._cited(message.citations, out)
        elif kind == "message-end":
            self._finished(delta, out)
        elif not kind:
            if not isinstance(event.message, str):
                raise UpstreamError("the host sent an event without a type", code="upstream_bad_event")
            raise _error(event.message)
        # message-start says nothing; citation-end, debug and what may be new are passed over

    # Parts

    def _begin(self, kind: ev.PartKind, out: list[Event], *, name: str | None = None, call: str | None = None) -> int:
        part = self._parts
        self._parts += 1
        self._open[part] = None
        out.append(ev.PartStarted(part=part, kind=kind, name=name, call=call))
        return part

    def _end(self, part: int, out: list[Event]) -> None:
        if part in self._open:
            del self._open[part]
            out.append(ev.PartEnded(part=part))
        if part == self._part:
            self._part = -1

    def _latest(self, index: int | None) -> int:
        """Where an event names no index, the content that began last is meant."""
        return next(reversed(self._contents), 0) if index is None else index

    def _content(self, event: _Event, content: _Content, out: list[Event]) -> None:
        self._end(self._plan, out)
        starts = event.type == "content-start"
        index = self._latest(event.index) if not starts or event.index is not None else len(self._contents)
        if starts:
            self._end(self._contents.get(index, (-1, ""))[0], out)
            self._turn("thinking" if content.type == "thinking" else "text", index, out)
        if content.thinking:
            out.append(Delta(part=self._turn("thinking", index, out), text=content.thinking))
        if content.text:
            out.append(Delta(part=self._turn("text", index, out), text=content.text))
        told = event.logprobs
        if told is not None and told.text and told.logprobs:  # of the tokens of this piece: together, their sum
            row = {
                "token": told.text,
                "logprob": sum(told.logprobs),
                "bytes": list(told.text.encode()),
                "top_logprobs": [],
            }
            out.append(ev.Logprobs(part=self._turn("text", index, out), content=[row]))

    def _turn(self, kind: ev.PartKind, index: int, out: list[Event]) -> int:
        """The part of a content, begun where the host did not say so."""
        part, known = self._contents.get(index, (-1, ""))
        if known != kind or part not in self._open:
            self._end(part, out)
            part = self._begin(kind, out)
            self._contents.pop(index, None)  # so that it is the latest
            self._contents[index] = part, kind
        if kind == "text":
            self._part, self._index = part, index
        return part

    def _planned(self, text: str | None, out: list[Event]) -> None:
        if text:
            if self._plan not in self._open:
                self._plan = self._begin("thinking", out)
            out.append(Delta(part=self._plan, text=text))

    def _begin_call(self, index: int | None, call: _Call, out: list[Event]) -> None:
        function = call.function
        if function is None or not function.name:
            raise _nameless()
        self._end(self._plan, out)
        at = len(self._calls) if index is None else index
        self._close_call(self._calls.pop(at, -1), out)
        part = self._begin("tool_call", out, name=function.name, call=call.id or f"call_{self._parts}")
        self._calls[at] = part
        self._more(part, function.arguments, out)

    def _arguments(self, index: int | None, function: _Function, out: list[Event]) -> None:
        part = self._calls.get(next(reversed(self._calls), 0) if index is None else index, -1)
        if part not in self._open:
            raise _nameless()
        self._more(part, function.arguments, out)

    def _more(self, part: int, arguments: str | None, out: list[Event]) -> None:
        if arguments:
            self._said.add(part)
            out.append(Delta(part=part, text=arguments))

    def _end_call(self, index: int | None, out: list[Event]) -> None:
        self._close_call(self._calls.get(next(reversed(self._calls), 0) if index is None else index, -1), out)

    def _close_call(self, part: int, out: list[Event]) -> None:
        if part in self._open and part not in self._said:
            self._more(part, "{}", out)  # recorded: a call of a tool without parameters has no arguments at all
        self._end(part, out)

    def _cited(self, raw: RawCitation | list[RawCitation] | None, out: list[Event]) -> None:
        for one in raw if isinstance(raw, list) else [raw]:
            if one is None:
                continue
            part = (
                self._plan if one.type == "PLAN" else self._contents.get(self._latest(one.content_index), (-1, ""))[0]
            )
            if part >= 0:
                out.extend(citations(one, part))

    def _finished(self, delta: _Delta, out: list[Event]) -> None:
        asked = set(self._calls.values())
        for part in list(self._open):
            if part in asked:
                self._close_call(part, out)
            else:
                self._end(part, out)
        if delta.usage is not None and (usage := _usage(delta.usage)) is not None:
            out.append(usage)
        reason = delta.finish_reason
        if delta.error or reason == "ERROR":
            raise _error(delta.error)
        if reason is None:
            raise UpstreamError("the host ended the answer without a finish reason", code="upstream_unfinished")
        self._done = True
        out.append(ev.Finish(reason=REASONS.get(reason, "stop")))


def _first(value: Any) -> Any:
    """A thing that may come as a list of it."""
    return (value[0] if value else None) if isinstance(value, list) else value


def _nameless() -> UpstreamError:
    return UpstreamError("the host sent a tool call that it never named", code="upstream_bad_tool_call")


def _usage(raw: dict[str, Any]) -> ev.Usage | None:
    tokens = raw.get("tokens")
    counts = tokens if isinstance(tokens, dict) else {}
    given, said, cached = (
        _count(c) for c in (counts.get("input_tokens"), counts.get("output_tokens"), raw.get("cached_tokens"))
    )
    if given is None and said is None:
        return None
    return ev.Usage(counted_by="host", input=given, output=said, cached=cached)


def _count(value: Any) -> int | None:
    """The API's schema calls its counts numbers: 12.0 is 12."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15 else None


def _error(raw: Any) -> UpstreamError:
    message = raw if isinstance(raw, str) and raw else "no message"
    return UpstreamError(f"the host broke off with an error: {message[:200]}", code="upstream_error")
