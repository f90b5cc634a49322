"""OpenAI Chat Completions, the side that faces clients: parse, stream, whole. n is 1.

Source: the OpenAI API reference, "Chat" and "Streaming", and the types of the official Python SDK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import BadRequest
from tidewire.core.events import Delta, Entry, ErrorInfo, Reason
from tidewire.core.ports import Meta
from tidewire.core.request import CANCEL, DisconnectPolicy, Request
from tidewire.dialects import body, policy
from tidewire.dialects.openai_messages import error_object, failure, read_messages, read_tools

_json = msgspec.json.Encoder().encode

FINISH: Final[dict[Reason, str]] = {
    "stop": "stop",
    "stop_string": "stop",
    "length": "length",
    "time_limit": "length",
    "size_limit": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}


class _Body(msgspec.Struct):
    model: str
    messages: list[Any]
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    tools: list[Any] | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    logprobs: bool | None = None
    time_limit: float | None = None


KNOWN: Final = frozenset(_Body.__struct_fields__)


class OpenAIChat:
    name = "openai_chat"
    projection = "openai_chat/1"
    resumes = False
    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, on_disconnect: DisconnectPolicy = CANCEL) -> None:
        self._on_disconnect = on_disconnect

    def parse(self, raw: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        given, plain = body.read(raw, _Body)
        if given.n not in (None, 1):
            raise BadRequest(f"n is {given.n}; one answer a request is served here: send n requests", param="n")
        if given.logprobs:
            raise BadRequest("logprobs are not served here; leave the field out", param="logprobs")
        limit = given.max_completion_tokens if given.max_completion_tokens is not None else given.max_tokens
        if limit is not None and limit < 1:
            raise BadRequest(f"the token limit is {limit}; it must be at least 1", param="max_tokens")
        if given.time_limit is not None and not given.time_limit > 0:
            raise BadRequest(f"time_limit is {given.time_limit:g} s; it must be more than 0", param="time_limit")
        stop = [given.stop] if isinstance(given.stop, str) else given.stop or []
        options = body.rest(plain, KNOWN)
        if given.max_completion_tokens is not None:
            options["max_completion_tokens"] = given.max_completion_tokens
        request = Request(
            model=given.model,
            messages=read_messages(given.messages),
            dialect=self.name,
            tools=read_tools(given.tools or ()),
            tool_choice=given.tool_choice,
            max_tokens=limit,
            temperature=given.temperature,
            top_p=given.top_p,
            stop=stop,
            response_format=given.response_format,
            time_limit=given.time_limit,
            on_disconnect=policy.asked(headers, self._on_disconnect),
            options=options,
            record={"usage": True} if (given.stream_options or {}).get("include_usage") else {},
        )
        return request, bool(given.stream)

    def headers(self, meta: Meta) -> list[tuple[str, str]]:
        return []

    def origin(self, after: int) -> int:
        return 0

    def stream(self, meta: Meta, after: int = 0) -> Chunks:
        return Chunks(meta)

    def whole(self, meta: Meta) -> Completion:
        return Completion(meta)

    def error(self, info: ErrorInfo) -> bytes:
        return _json({"error": error_object(info)})


class Chunks:
    """A log as `chat.completion.chunk` events, ended by [DONE]."""

    __slots__ = (
        "_around",
        "_before",
        "_behind",
        "_calls",
        "_delta",
        "_head",
        "_part",
        "_started",
        "_tail",
        "_usage",
        "ended",
        "failure",
    )

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._usage = bool(meta.record.get("usage"))
        self._head = b'data: {"id":%s,"object":"chat.completion.chunk","created":%d,"model":%s,' % (
            _json(meta.stream),
            meta.created // 1000,
            _json(meta.model),
        )
        self._delta = self._head + b'"choices":[{"index":0,"delta":{'
        self._tail = b'},"logprobs":null,"finish_reason":null}]}\n\n'
        self._around: dict[int, tuple[bytes, bytes]] = {}  # what stands around a part's text
        self._part = -1  # whose text came last, and what stands around it
        self._before = self._behind = b""
        self._calls = 0
        self._started = False

    def feed(self, entries: Sequence[Entry]) -> bytes:
        if len(entries) == 1 and type(event := entries[0].event) is Delta:  # the usual batch: one token
            if event.part != self._part:
                if event.part not in self._around:
                    return b""
                self._part = event.part
                self._before, self._behind = self._around[event.part]
            return b"%b%b%b" % (self._before, _json(event.text), self._behind)
        out: list[bytes] = []
        around = self._around
        for entry in entries:
            event = entry.event
            if type(event) is Delta:
                if event.part not in around:
                    continue  # of a kind that this protocol has no word for
                before, behind = around[event.part]
                out.append(b"%s%s%s" % (before, _json(event.text), behind))
            elif type(event) is ev.PartStarted:
                self._begin(event, out)
            elif type(event) is ev.Citation:
                out.append(self._citation(event))
            elif type(event) is ev.Closed:
                self._close(event, out)
        return b"".join(out)

    def _begin(self, event: ev.PartStarted, out: list[bytes]) -> None:
        if not self._started:
            self._started = True
            out.append(self._delta + b'"role":"assistant","content":""' + self._tail)
        if event.kind == "text":
            self._around[event.part] = self._delta + b'"content":', self._tail
        elif event.kind == "thinking":
            self._around[event.part] = self._delta + b'"reasoning_content":', self._tail
        elif event.kind == "tool_call":
            index = self._calls
            self._calls += 1
            call = {
                "index": index,
                "id": event.call,
                "type": "function",
                "function": {"name": event.name, "arguments": ""},
            }
            out.append(self._delta + b'"tool_calls":[%s]' % _json(call) + self._tail)
            before = self._delta + b'"tool_calls":[{"index":%d,"function":{"arguments":' % index
            self._around[event.part] = before, b"}}]" + self._tail

    def _citation(self, event: ev.Citation) -> bytes:
        return self._delta + b'"annotations":[%s]' % _json(annotation(event)) + self._tail

    def _close(self, event: ev.Closed, out: list[bytes]) -> None:
        self.ended = True
        error = failure(event)
        if error is not None:
            self.failure = error
            out.append(b"data: %s\n\n" % _json({"error": error_object(error)}))
        else:
            finish = _json(FINISH[event.reason])
            out.append(
                self._head + b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":%s}]}\n\n' % finish
            )
            if self._usage:
                out.append(self._head + b'"choices":[],"usage":%s}\n\n' % _json(usage_object(event)))
        out.append(b"data: [DONE]\n\n")


class Completion:
    """A log as one `chat.completion` document at its end."""

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._meta = meta
        self._kinds: dict[int, ev.PartStarted] = {}
        self._texts: dict[int, list[str]] = {}
        self._annotations: list[dict[str, Any]] = []

    def feed(self, entries: Sequence[Entry]) -> bytes:
        for entry in entries:
            event = entry.event
            if type(event) is Delta:
                self._texts[event.part].append(event.text)
            elif type(event) is ev.PartStarted:
                self._kinds[event.part] = event
                self._texts[event.part] = []
            elif type(event) is ev.Citation:
                self._annotations.append(annotation(event))
            elif type(event) is ev.Closed:
                self.ended = True
                self.failure = failure(event)
                return b"" if self.failure is not None else self._document(event)
        return b""

    def _joined(self, kind: str) -> str:
        return "".join(t for part, texts in self._texts.items() if self._kinds[part].kind == kind for t in texts)

    def _document(self, event: ev.Closed) -> bytes:
        calls = [
            {
                "id": started.call,
                "type": "function",
                "function": {"name": started.name, "arguments": "".join(self._texts[part])},
            }
            for part, started in self._kinds.items()
            if started.kind == "tool_call"
        ]
        text = self._joined("text")
        message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None, "refusal": None}
        if thinking := self._joined("thinking"):
            message["reasoning_content"] = thinking
        if calls:
            message["tool_calls"] = calls
        if self._annotations:
            message["annotations"] = self._annotations
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": FINISH[event.reason]}
        return _json(
            {
                "id": self._meta.stream,
                "object": "chat.completion",
                "created": self._meta.created // 1000,
                "model": self._meta.model,
                "choices": [choice],
                "usage": usage_object(event),
            }
        )


def usage_object(event: ev.Closed) -> dict[str, int]:
    prompt, completion = event.input_tokens or 0, event.output_tokens or 0
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def annotation(event: ev.Citation) -> dict[str, Any]:
    """A citation in OpenAI's own shape."""
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": event.start,
            "end_index": event.end,
            "title": event.title,
            "url": event.uri or event.source,
        },
    }
