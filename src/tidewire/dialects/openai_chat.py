"""OpenAI Chat Completions, the side that faces clients: parse, and a log as chunks. As one document: openai_chat_document.py.

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
from tidewire.core.request import CANCEL, DisconnectPolicy, Request, Thinking
from tidewire.dialects import body, policy
from tidewire.dialects.openai_chat_document import FINISH, Completion, annotation, logprobs, picture, usage_object
from tidewire.dialects.openai_messages import error_object, failure, read_messages, read_tools, signed

_json = msgspec.json.Encoder().encode

MOST: Final = 128  # choices of one request, OpenAI's own limit
TOP: Final = 20  # alternatives a token, likewise


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
    top_logprobs: int | None = None
    reasoning_effort: str | None = None
    functions: Any = None
    function_call: Any = None
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
        n, logprobs = _choices(given)
        if given.functions or given.function_call:
            raise BadRequest("functions are the older form of tools; send tools and tool_choice", param="functions")
        limit = given.max_completion_tokens if given.max_completion_tokens is not None else given.max_tokens
        if limit is not None and limit < 1:
            raise BadRequest(f"the token limit is {limit}; it must be at least 1", param="max_tokens")
        if given.time_limit is not None and not given.time_limit > 0:
            raise BadRequest(f"time_limit is {given.time_limit:g} s; it must be more than 0", param="time_limit")
        stop = [given.stop] if isinstance(given.stop, str) else given.stop or []
        options = body.rest(plain, KNOWN)
        if given.max_completion_tokens is not None:
            options["max_completion_tokens"] = given.max_completion_tokens
        record: dict[str, Any] = {"usage": True} if (given.stream_options or {}).get("include_usage") else {}
        if n != 1:
            record["n"] = n
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
            n=n,
            logprobs=logprobs,
            thinking=None if given.reasoning_effort is None else Thinking(effort=given.reasoning_effort),
            options=options,
            record=record,
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


def _choices(given: _Body) -> tuple[int, int | None]:
    """How many answers, and how many alternatives a token: None for no log probabilities at all."""
    n = 1 if given.n is None else given.n
    if not 1 <= n <= MOST:
        raise BadRequest(f"n is {n}; it may be 1 to {MOST}", param="n")
    top = given.top_logprobs
    if top is not None and not given.logprobs:
        raise BadRequest("top_logprobs is set and logprobs is not; set logprobs to true", param="top_logprobs")
    if top is not None and not 0 <= top <= TOP:
        raise BadRequest(f"top_logprobs is {top}; it may be 0 to {TOP}", param="top_logprobs")
    return n, (top or 0) if given.logprobs else None


class Chunks:
    """A log as `chat.completion.chunk` events, ended by [DONE]."""

    __slots__ = (
        "_around",
        "_before",
        "_behind",
        "_calls",
        "_choices",
        "_delta",
        "_ended",
        "_head",
        "_n",
        "_part",
        "_parts",
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
        self._n: int = meta.record.get("n", 1)
        self._parts: dict[int, ev.PartStarted] = {}
        self._calls: dict[int, int] = {}  # a tool call's part -> its number within its choice
        self._choices: dict[int, int] = {}  # choice -> calls so far; those that have begun
        self._ended: set[int] = set()

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
            elif type(event) is ev.Closed:
                self._close(event, out)
            else:
                self._other(event, out)
        return b"".join(out)

    def _to(self, choice: int) -> bytes:
        """What stands before a delta of this choice."""
        return self._delta if choice == 0 else self._head + b'"choices":[{"index":%d,"delta":{' % choice

    def _begin(self, event: ev.PartStarted, out: list[bytes]) -> None:
        part, choice = event.part, event.choice
        delta, tail = self._to(choice), self._tail
        self._parts[part] = event
        if choice not in self._choices:
            self._choices[choice] = 0
            out.append(delta + b'"role":"assistant","content":""' + tail)
        if event.kind == "text":
            self._around[part] = delta + b'"content":', tail
        elif event.kind == "thinking":
            self._around[part] = delta + b'"reasoning_content":', tail
        elif event.kind == "refusal":
            self._around[part] = delta + b'"refusal":', tail
        elif event.kind == "audio":
            self._around[part] = delta + b'"audio":{"transcript":', b"}" + tail
        elif event.kind == "tool_call":
            index = self._calls[part] = self._choices[choice]
            self._choices[choice] += 1
            call = {
                "index": index,
                "id": event.call,
                "type": "function",
                "function": {"name": event.name, "arguments": ""},
            }
            out.append(delta + b'"tool_calls":[%s]' % _json(call) + tail)
            self._around[part] = delta + b'"tool_calls":[{"index":%d,"function":{"arguments":' % index, b"}}]" + tail

    def _other(self, event: ev.Event, out: list[bytes]) -> None:
        """What comes seldom. Events that this protocol has no word for add nothing."""
        said: bytes | None = None
        part = getattr(event, "part", -1)
        started = self._parts.get(part)
        if type(event) is ev.ChoiceEnded:
            self._end(event.choice, event.reason, out)
        elif type(event) is ev.Citation:
            said = b'"annotations":[%s]' % _json(annotation(event))
        elif type(event) is ev.Blob and started is not None and started.kind == "audio":
            said = b'"audio":{"data":%s}' % _json(event.data)
        elif type(event) is ev.Blob and started is not None and started.kind == "image" and not event.partial:
            said = b'"images":[%s]' % _json(picture(started, event.data))
        elif type(event) is ev.Signature and started is not None:
            if started.kind == "audio":
                said = b'"audio":{"id":%s}' % _json(event.value)
            elif started.kind == "tool_call":
                call = {"index": self._calls[part], "function": {"arguments": ""}}  # clients read it in every fragment
                said = b'"tool_calls":[%s]' % _json(call | signed(event.value))
        elif type(event) is ev.Logprobs and started is not None:
            value = _json(logprobs(event.content if started.kind != "refusal" else None, None))
            if started.kind == "refusal":
                value = _json(logprobs(None, event.content))
            out.append(self._to(started.choice) + b'},"logprobs":%s,"finish_reason":null}]}\n\n' % value)
        if said is not None:
            out.append(self._to(started.choice if started is not None else 0) + said + self._tail)

    def _end(self, choice: int, reason: Reason, out: list[bytes]) -> None:
        self._ended.add(choice)
        finish = _json(FINISH.get(reason, "stop"))
        out.append(self._to(choice) + b'},"logprobs":null,"finish_reason":%s}]}\n\n' % finish)

    def _close(self, event: ev.Closed, out: list[bytes]) -> None:
        self.ended = True
        error = failure(event)
        if error is not None:
            self.failure = error
            out.append(b"data: %s\n\n" % _json({"error": error_object(error)}))
        else:
            for choice in range(self._n):
                if choice not in self._ended:
                    self._end(choice, event.reason, out)
            if self._usage:
                out.append(self._head + b'"choices":[],"usage":%s}\n\n' % _json(usage_object(event)))
        out.append(b"data: [DONE]\n\n")
