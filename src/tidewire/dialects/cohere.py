"""Cohere's Chat API, version 2, the side that faces clients: parse, stream, whole.

Source: docs.cohere.com, "Chat" and "Streaming", and the types of the official Python SDK. Left out of the rendering, for the protocol
has no word for it: progress, notices, signatures, images and audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import BadRequest
from tidewire.core.events import Delta, Entry, ErrorInfo, Reason
from tidewire.core.ports import Meta
from tidewire.core.request import CANCEL, DisconnectPolicy, Request, Thinking
from tidewire.core.sse import frame
from tidewire.dialects import body, policy
from tidewire.dialects.cohere_citations import written
from tidewire.dialects.cohere_messages import read_messages, read_tools
from tidewire.dialects.openai_messages import failure

_json = msgspec.json.Encoder().encode

FINISH: Final[dict[Reason, str]] = {
    "stop": "COMPLETE",
    "stop_string": "STOP_SEQUENCE",
    "length": "MAX_TOKENS",
    "size_limit": "MAX_TOKENS",
    "time_limit": "TIMEOUT",
    "tool_calls": "TOOL_CALL",
    "content_filter": "ERROR",
}
FILTERED: Final = "the answer was ended by the host's content filter"
_CHOICES: Final = {"REQUIRED": "required", "NONE": "none"}


class _Thinking(msgspec.Struct):
    type: str = "enabled"
    token_budget: Annotated[int, msgspec.Meta(ge=1)] | None = None


class _Body(msgspec.Struct):
    model: str
    messages: list[Any]
    stream: bool | None = None
    tools: list[Any] | None = None
    strict_tools: bool | None = None
    tool_choice: str | None = None
    response_format: dict[str, Any] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    p: float | None = None
    thinking: _Thinking | None = None
    logprobs: bool | None = None
    time_limit: Annotated[float, msgspec.Meta(gt=0)] | None = None


KNOWN: Final = frozenset(_Body.__struct_fields__)


class Cohere:
    name = "cohere"
    projection = "cohere/1"
    resumes = False
    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, on_disconnect: DisconnectPolicy = CANCEL) -> None:
        self._on_disconnect = on_disconnect

    def parse(self, raw: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        given, plain = body.read(raw, _Body)
        request = Request(
            model=given.model,
            messages=read_messages(given.messages),
            dialect=self.name,
            tools=read_tools(given.tools or (), strict=given.strict_tools),
            tool_choice=_choice(given.tool_choice),
            max_tokens=given.max_tokens,
            temperature=given.temperature,
            top_p=given.p,
            stop=given.stop_sequences or [],
            response_format=_format(given.response_format),
            time_limit=given.time_limit,
            on_disconnect=policy.asked(headers, self._on_disconnect),
            logprobs=0 if given.logprobs else None,
            thinking=_thinking(given.thinking),
            options=body.rest(plain, KNOWN),
        )
        return request, bool(given.stream)

    def headers(self, meta: Meta) -> list[tuple[str, str]]:
        return []

    def origin(self, after: int) -> int:
        return 0

    def stream(self, meta: Meta, after: int = 0) -> CohereEvents:
        return CohereEvents(meta)

    def whole(self, meta: Meta) -> CohereAnswer:
        return CohereAnswer(meta)

    def error(self, info: ErrorInfo) -> bytes:
        return _json({"message": info.message})


def _choice(given: str | None) -> str | None:
    if given is None or given in _CHOICES:
        return None if given is None else _CHOICES[given]
    raise BadRequest(f"tool_choice is {given[:40]!r}; it may be REQUIRED or NONE", param="tool_choice")


def _format(given: dict[str, Any] | None) -> dict[str, Any] | None:
    kind = (given or {}).get("type", "text")
    if given is None or kind == "text":
        return None
    if kind != "json_object":
        raise BadRequest(
            f"response_format.type is {str(kind)[:40]!r}; it may be text or json_object", param="response_format.type"
        )
    schema = given.get("json_schema", given.get("schema"))
    if schema is None:
        return {"type": "json_object"}
    if not isinstance(schema, dict):
        raise BadRequest("response_format.json_schema is not an object", param="response_format.json_schema")
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def _thinking(given: _Thinking | None) -> Thinking | None:
    if given is None:
        return None
    if given.type not in ("enabled", "disabled"):
        raise BadRequest(f"thinking.type is {given.type[:40]!r}; it may be enabled or disabled", param="thinking.type")
    return Thinking(effort="none") if given.type == "disabled" else Thinking(budget=given.token_budget)


class CohereEvents:
    """A log as Cohere's stream events, ended by message-end and [DONE]."""

    __slots__ = ("_around", "_calls", "_citations", "_contents", "_head", "_said", "_started", "ended", "failure")

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
        self._head = _event({"id": meta.stream, "type": "message-start", "delta": {"message": start}})
        self._around: dict[int, tuple[bytes, bytes, bytes]] = {}  # before and behind a part's text, and its end
        self._said: dict[int, list[str]] = {}  # the text of text parts, which citations quote
        self._contents: dict[int, int] = {}  # part -> index of its content
        self._calls = 0
        self._citations = 0
        self._started = False

    def feed(self, entries: Sequence[Entry]) -> bytes:
        out: list[bytes] = []
        around = self._around
        for entry in entries:
            event = entry.event
            if type(event) is Delta:
                part = event.part
                if part in around:  # else of a kind that this protocol has no word for
                    before, behind, _ = around[part]
                    out.append(b"%b%b%b" % (before, _json(event.text), behind))
                    if part in self._said:
                        self._said[part].append(event.text)
            elif type(event) is ev.PartStarted:
                self._begin(event, out)
            elif type(event) is ev.PartEnded:
                if event.part in around:
                    out.append(around.pop(event.part)[2])
            elif type(event) is ev.Citation:
                self._cite(event, out)
            elif type(event) is ev.Logprobs:
                self._tell(event, out)
            elif type(event) is ev.Closed:
                self._close(event, out)
        return b"".join(out) if len(out) != 1 else out[0]

    def _begin(self, event: ev.PartStarted, out: list[bytes]) -> None:
        if event.kind in ("text", "refusal", "thinking"):
            kind = "thinking" if event.kind == "thinking" else "text"
            index = len(self._contents)
            self._contents[event.part] = index
            if kind == "text":
                self._said[event.part] = []
            started = {"message": {"content": {"type": kind, kind: ""}}}
            self._start(out)
            out.append(_event({"type": "content-start", "index": index, "delta": started}))
            self._around[event.part] = (
                b'event: content-delta\ndata: {"type":"content-delta","index":%d,"delta":{"message":{"content":{"%b":'
                % (index, kind.encode()),
                b"}}}}\n\n",
                _event({"type": "content-end", "index": index}),
            )
        elif event.kind == "tool_call":
            index, self._calls = self._calls, self._calls + 1
            call = {"id": event.call, "type": "function", "function": {"name": event.name, "arguments": ""}}
            self._start(out)
            out.append(_event({"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": call}}}))
            self._around[event.part] = (
                b'event: tool-call-delta\ndata: {"type":"tool-call-delta","index":%d,"delta":{"message":{"tool_calls":'
                b'{"function":{"arguments":' % index,
                b"}}}}}\n\n",
                _event({"type": "tool-call-end", "index": index}),
            )

    def _start(self, out: list[bytes]) -> None:
        if not self._started:
            self._started = True
            out.append(self._head)

    def _cite(self, event: ev.Citation, out: list[bytes]) -> None:
        block = self._contents.get(event.part)
        if block is None:
            return
        index, self._citations = self._citations, self._citations + 1
        said = "".join(self._said.get(event.part, ()))
        if event.part in self._said:
            self._said[event.part] = [said]  # the next citation joins little
        one = written(event, said, block)
        out.append(_event({"type": "citation-start", "index": index, "delta": {"message": {"citations": one}}}))
        out.append(_event({"type": "citation-end", "index": index}))

    def _tell(self, event: ev.Logprobs, out: list[bytes]) -> None:
        """Behind the text they belong to, in an event of their own that adds no text."""
        index = self._contents.get(event.part)
        if index is not None:
            for row in logprobs(event):
                said = {"message": {"content": {"text": ""}}}
                out.append(_event({"type": "content-delta", "index": index, "delta": said, "logprobs": row}))

    def _close(self, event: ev.Closed, out: list[bytes]) -> None:
        self.ended = True
        self.failure = failure(event)
        delta: dict[str, Any]
        if self.failure is not None:
            delta = {"finish_reason": "ERROR", "error": self.failure.message}
        else:
            delta = {"finish_reason": FINISH[event.reason]}
            if event.reason == "content_filter":
                delta["error"] = FILTERED
        self._start(out)
        out.append(_event({"type": "message-end", "delta": delta | {"usage": usage(event)}}))
        out.append(b"data: [DONE]\n\n")


class CohereAnswer:
    """A log as one answer of `POST /v2/chat` without a stream."""

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._meta = meta
        self._parts: dict[int, ev.PartStarted] = {}
        self._texts: dict[int, list[str]] = {}
        self._citations: list[ev.Citation] = []
        self._logprobs: list[dict[str, Any]] = []

    def feed(self, entries: Sequence[Entry]) -> bytes:
        for entry in entries:
            event = entry.event
            if type(event) is Delta:
                self._texts[event.part].append(event.text)
            elif type(event) is ev.PartStarted:
                self._parts[event.part] = event
                self._texts[event.part] = []
            elif type(event) is ev.Citation:
                self._citations.append(event)
            elif type(event) is ev.Logprobs:
                self._logprobs += logprobs(event)
            elif type(event) is ev.Closed:
                self.ended = True
                self.failure = failure(event)
                return b"" if self.failure is not None else self._document(event)
        return b""

    def _document(self, event: ev.Closed) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": []}
        texts = {part: "".join(pieces) for part, pieces in self._texts.items()}
        blocks: dict[int, int] = {}
        calls = []
        for part, started in self._parts.items():
            if started.kind in ("text", "refusal", "thinking"):
                blocks[part] = len(blocks)
                kind = "thinking" if started.kind == "thinking" else "text"
                message["content"].append({"type": kind, kind: texts[part]})
            elif started.kind == "tool_call":
                function = {"name": started.name, "arguments": texts[part]}
                calls.append({"id": started.call, "type": "function", "function": function})
        if calls:
            message["tool_calls"] = calls
        cited = [written(c, texts[c.part], blocks[c.part]) for c in self._citations if c.part in blocks]
        if cited:
            message["citations"] = cited
        answer: dict[str, Any] = {"id": self._meta.stream, "finish_reason": FINISH[event.reason], "message": message}
        if self._logprobs:
            answer["logprobs"] = self._logprobs
        return _json(answer | {"usage": usage(event)})


def usage(event: ev.Closed) -> dict[str, Any]:
    """In tokens. What Cohere would bill is Cohere's to say, so billed_units is not made up."""
    counts: dict[str, Any] = {
        "tokens": {"input_tokens": event.input_tokens or 0, "output_tokens": event.output_tokens or 0}
    }
    if event.cached_tokens is not None:
        counts["cached_tokens"] = event.cached_tokens
    return counts


def logprobs(event: ev.Logprobs) -> list[dict[str, Any]]:
    """Without token ids, which no host of ours tells."""
    return [{"text": row.get("token"), "token_ids": [], "logprobs": [row.get("logprob")]} for row in event.content]


def _event(value: dict[str, Any]) -> bytes:
    return frame(_json(value), event=value["type"])
