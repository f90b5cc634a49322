"""A log as Messages events, and as one message at its end.

Source: the Messages reference and "Streaming Messages". Parts of kinds that the protocol has no word for (images, audio) are left
out, with progress, attempts, notices, log probabilities and fields of JSON; a citation says what was cited, not which words of the
answer rely on it. The server's own calls and their results are blocks of a beta: for those who ask for it (`record["mcp"]`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.events import Delta, Entry, ErrorInfo, Event, Reason
from tidewire.core.ports import Meta
from tidewire.core.sse import frame
from tidewire.dialects.anthropic_messages import tool_input
from tidewire.dialects.openai_messages import failure
from tidewire.dialects.server_calls import LABEL

_json = msgspec.json.Encoder().encode

STOPS: Final[dict[Reason, str]] = {
    "stop": "end_turn",
    "stop_string": "stop_sequence",
    "length": "max_tokens",
    "time_limit": "max_tokens",
    "size_limit": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_DELTAS: Final = {
    "text": b'"text_delta","text":',
    "thinking": b'"thinking_delta","thinking":',
    "tool_call": b'"input_json_delta","partial_json":',
}
# Kinds that are whole in their first event: the SDK gathers no deltas of a beta's blocks.
_AT_ONCE: Final = ("server_call", "tool_result")
TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def error_object(info: ErrorInfo) -> dict[str, Any]:
    """{"type": "error", "error": {"type", "message", "details"}}. details: our own code, and the field at fault."""
    kind = TYPES.get(info.status) or (
        "invalid_request_error" if info.status < 500 and info.status != 499 else "api_error"
    )
    details = {"error_code": info.code} | ({"param": info.param} if info.param is not None else {})
    return {"type": "error", "error": {"type": kind, "message": info.message, "details": details}}


class _Block:
    """A part as a content block. held: its events while an earlier block is still being written."""

    __slots__ = ("begun", "ended", "held", "index", "redacted", "started")

    def __init__(self, started: ev.PartStarted) -> None:
        self.started = started
        self.index = -1
        self.begun = False
        self.ended = False
        self.redacted = False
        self.held: list[Event] = []


class Blocks:
    """The stream as SSE. One block at a time, as clients know it: of parts that take turns, the later one waits for the earlier.

    A block of text ends when the next one begins, for citations may follow its last word; one that comes later still is left out.
    """

    __slots__ = ("_before", "_blocks", "_count", "_log", "_meta", "_part", "_usage", "_waiting", "ended", "failure")

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._meta = meta
        self._log = _Log(meta)
        self._usage: ev.Usage | None = None
        self._blocks: dict[int, _Block] = {}
        self._waiting: deque[_Block] = deque()  # the one that is being written, and those behind it
        self._count = -1  # blocks begun; -1 before message_start
        self._part = -1  # the part whose text comes straight, and what stands before it
        self._before = b""

    def feed(self, entries: Sequence[Entry]) -> bytes:
        if len(entries) == 1 and type(event := entries[0].event) is Delta and event.part == self._part:
            return b"%b%b}}\n\n" % (self._before, _json(event.text))  # the usual batch: one token
        out: list[bytes] = []
        for entry in entries:
            event = entry.event
            if type(event) is Delta and event.part == self._part:
                out.append(b"%b%b}}\n\n" % (self._before, _json(event.text)))
            elif isinstance(event, Delta | ev.Signature | ev.Citation | ev.PartEnded):
                self._more(event, out)
            elif type(event) is ev.PartStarted:
                self._begin(event, out)
            elif type(event) is ev.Usage:
                self._usage = event
            elif type(event) is ev.Closed:
                self._close(event, out)
        return b"".join(out)

    def _begin(self, started: ev.PartStarted, out: list[bytes]) -> None:
        self._log.begin(started)
        if not self._log.shown(started):
            return
        if self._count < 0:
            self._open(out)
        block = self._blocks[started.part] = _Block(started)
        self._waiting.append(block)
        self._advance(out)

    def _more(self, event: Delta | ev.Signature | ev.Citation | ev.PartEnded, out: list[bytes]) -> None:
        self._log.more(event)
        block = self._blocks.get(event.part)
        if block is None:
            return  # left out, or over
        first = block is self._waiting[0]
        if first and block.started.kind not in _AT_ONCE:
            self._write(block, event, out)
        else:
            block.held.append(event)
        if first and type(event) is ev.PartEnded:
            self._advance(out)

    def _open(self, out: list[bytes]) -> None:
        self._count = 0
        usage = self._usage or ev.Usage(counted_by="server")
        message = _message(self._meta) | {"content": [], "stop_reason": None, "stop_sequence": None}
        message["usage"] = _usage(usage.input, usage.cached, usage.cache_write, usage.output)
        out.append(frame(_json({"type": "message_start", "message": message}), event="message_start"))

    def _write(self, block: _Block, event: Event, out: list[bytes]) -> None:
        """An event of the block that is being written."""
        kind = block.started.kind
        if not block.begun:  # a thought: what kind of block it is, its first event tells
            block.redacted = type(event) is ev.Signature and event.redacted
            self._head(block, _content(block.started, [event]) if block.redacted else None, out)
        if type(event) is ev.PartEnded:
            block.ended = True
            self._part = -1
        elif block.redacted:
            return
        elif type(event) is Delta:
            out.append(b"%b%b}}\n\n" % (self._before, _json(event.text)))
        elif type(event) is ev.Signature and kind == "thinking":
            out.append(self._delta(block, {"type": "signature_delta", "signature": event.value}))
        elif type(event) is ev.Citation and kind == "text":
            out.append(self._delta(block, {"type": "citations_delta", "citation": citation(event)}))

    def _head(self, block: _Block, content: dict[str, Any] | None, out: list[bytes]) -> None:
        """content: all of it, where no more is to come."""
        block.begun = True
        block.index = self._count
        self._count += 1
        shown = _empty(block.started) if content is None else content
        start = {"type": "content_block_start", "index": block.index, "content_block": shown}
        out.append(frame(_json(start), event="content_block_start"))
        if content is None:
            self._part = block.started.part
            self._before = (
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":%b'
                % (
                    block.index,
                    _DELTAS[block.started.kind],
                )
            )

    def _delta(self, block: _Block, delta: dict[str, Any]) -> bytes:
        value = {"type": "content_block_delta", "index": block.index, "delta": delta}
        return frame(_json(value), event="content_block_delta")

    def _advance(self, out: list[bytes]) -> None:
        """End what is over, and write what has waited for it."""
        while self._waiting:
            block = self._waiting[0]
            if block.started.kind in _AT_ONCE:
                if _is_whole(block.held):
                    self._head(block, _content(block.started, block.held), out)
                    self._stop(block, out)
                elif block.ended:
                    self._waiting.popleft()
                else:
                    return
                continue
            if not block.begun and block.started.kind != "thinking":
                self._head(block, None, out)
            held, block.held = block.held, []
            for event in held:
                self._write(block, event, out)
            if not block.ended or (block.started.kind == "text" and len(self._waiting) == 1):
                return
            self._stop(block, out)

    def _stop(self, block: _Block, out: list[bytes]) -> None:
        if not block.begun:
            self._head(block, None, out)
        self._part = -1
        self._waiting.popleft()
        del self._blocks[block.started.part]
        out.append(frame(b'{"type":"content_block_stop","index":%d}' % block.index, event="content_block_stop"))

    def _close(self, closed: ev.Closed, out: list[bytes]) -> None:
        self.ended = True
        self.failure = failure(closed)
        if self.failure is not None:
            out.append(frame(_json(error_object(self.failure)), event="error"))
            return
        if self._count < 0:
            self._open(out)
        for block in self._waiting:
            block.ended = True
        self._advance(out)
        if self._waiting:
            self._stop(self._waiting[0], out)
        usage = _closing_usage(closed)
        delta = {"type": "message_delta", "delta": _ending(self._meta, closed, self._log.refusal), "usage": usage}
        out.append(frame(_json(delta), event="message_delta"))
        out.append(frame(b'{"type":"message_stop"}', event="message_stop"))


class Whole:
    """A log as one message at its end."""

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._meta = meta
        self._log = _Log(meta, keep=True)

    def feed(self, entries: Sequence[Entry]) -> bytes:
        for entry in entries:
            event = entry.event
            if isinstance(event, Delta | ev.Signature | ev.Citation | ev.PartEnded):
                self._log.more(event)
            elif type(event) is ev.PartStarted:
                self._log.begin(event)
            elif type(event) is ev.Closed:
                self.ended = True
                self.failure = failure(event)
                return b"" if self.failure is not None else self._document(event)
        return b""

    def _document(self, closed: ev.Closed) -> bytes:
        parts = self._log.parts.values()
        content = [_content(s, events) for s, events in parts if s.kind not in _AT_ONCE or _is_whole(events)]
        ending = _ending(self._meta, closed, self._log.refusal)
        return _json(_message(self._meta) | {"content": content} | ending | {"usage": _closing_usage(closed)})


class _Log:
    """What both views need to know of the parts. keep: their events too."""

    __slots__ = ("_keep", "_mcp", "_ours", "_refused", "_words", "parts")

    def __init__(self, meta: Meta, *, keep: bool = False) -> None:
        self._keep = keep
        self._mcp = meta.record.get("mcp", False)
        self._ours: set[str | None] = set()  # calls that the server runs
        self._refused: set[int] = set()
        self._words: list[str] = []
        self.parts: dict[int, tuple[ev.PartStarted, list[Event]]] = {}

    def shown(self, started: ev.PartStarted) -> bool:
        ours = self._mcp and started.kind in _AT_ONCE and started.call in self._ours
        return (ours or started.kind in _DELTAS) and started.choice == 0

    @property
    def refusal(self) -> str | None:
        """Why the model refuses, in its own words; None where it does not."""
        return "".join(self._words) if self._refused else None

    def begin(self, started: ev.PartStarted) -> None:
        if started.kind == "server_call":
            self._ours.add(started.call)
        if started.kind == "refusal" and started.choice == 0:
            self._refused.add(started.part)
        elif self._keep and self.shown(started):
            self.parts[started.part] = started, []

    def more(self, event: Delta | ev.Signature | ev.Citation | ev.PartEnded) -> None:
        if event.part in self._refused:
            if type(event) is Delta:
                self._words.append(event.text)
        elif event.part in self.parts:
            self.parts[event.part][1].append(event)


def citation(event: ev.Citation) -> dict[str, Any]:
    """A web page where it has an address, else a search result: both name a source, a title and the words relied on."""
    if event.uri is not None and event.uri.startswith(("http://", "https://")):
        place: dict[str, Any] = {"type": "web_search_result_location", "url": event.uri, "encrypted_index": ""}
    else:
        place = {"type": "search_result_location", "source": event.source, "search_result_index": 0}
        place |= {"start_block_index": 0, "end_block_index": 1}
    return place | {"title": event.title, "cited_text": event.passage}


def _message(meta: Meta) -> dict[str, Any]:
    return {"id": meta.stream, "type": "message", "role": "assistant", "model": meta.model}


def _empty(started: ev.PartStarted) -> dict[str, Any]:
    match started.kind:
        case "thinking":
            return {"type": "thinking", "thinking": "", "signature": ""}
        case "tool_call":
            call = started.call or f"call_{started.part}"
            return {"type": "tool_use", "id": call, "name": started.name, "input": {}}
        case "server_call":
            return {"type": "mcp_tool_use", "id": started.call, "name": started.name, "server_name": LABEL, "input": {}}
        case "tool_result":
            return {"type": "mcp_tool_result", "tool_use_id": started.call, "is_error": started.failed, "content": []}
        case _:
            return {"type": "text", "text": ""}


def _content(started: ev.PartStarted, events: list[Event]) -> dict[str, Any]:
    """One block of the whole message."""
    text = "".join(e.text for e in events if type(e) is Delta)
    block = _empty(started)
    if started.kind in ("tool_call", "server_call"):
        return block | {"input": tool_input(text)}
    if started.kind == "tool_result":
        return block | {"content": [{"type": "text", "text": text}] if text else []}
    if started.kind == "text":
        cited = [citation(e) for e in events if type(e) is ev.Citation]
        return block | {"text": text} | ({"citations": cited} if cited else {})
    signatures = [e for e in events if type(e) is ev.Signature]
    if events and type(first := events[0]) is ev.Signature and first.redacted:
        return {"type": "redacted_thinking", "data": first.value}
    return block | {"thinking": text, "signature": signatures[-1].value if signatures else ""}


def _is_whole(events: list[Event]) -> bool:
    return bool(events) and type(events[-1]) is ev.PartEnded


def _ending(meta: Meta, closed: ev.Closed, refusal: str | None) -> dict[str, Any]:
    """stop_sequence is said where the request had one alone: which of several was met, a log does not tell."""
    stop = "refusal" if refusal is not None and closed.reason == "stop" else STOPS[closed.reason]
    met = meta.record.get("stop") if stop == "stop_sequence" else None
    details = {"type": "refusal", "category": None, "explanation": refusal or None} if stop == "refusal" else None
    return {"stop_reason": stop, "stop_sequence": met, "stop_details": details}


def _closing_usage(closed: ev.Closed) -> dict[str, Any]:
    out = _usage(closed.input_tokens, closed.cached_tokens, closed.cache_write_tokens, closed.output_tokens)
    if closed.reasoning_tokens is not None:
        out["output_tokens_details"] = {"thinking_tokens": closed.reasoning_tokens}
    return out


def _usage(prompt: int | None, cached: int | None, written: int | None, output: int | None) -> dict[str, Any]:
    """The protocol counts what came from the cache, and what went into it, apart from the other input."""
    return {
        "input_tokens": max(0, (prompt or 0) - (cached or 0) - (written or 0)),
        "cache_creation_input_tokens": written or 0,
        "cache_read_input_tokens": cached or 0,
        "output_tokens": output or 0,
    }
