"""A log as the messages of ConverseStream, and as one Converse document at its end.

Source: the Bedrock Runtime reference. Sound, log probabilities, fields of JSON, progress, attempts, notices and further choices have no
word here and are left out; so are signatures of anything but thoughts. A refusal is text. A citation says what was cited, not which
words of the answer rely on it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.events import Delta, Entry, ErrorInfo, Reason
from tidewire.core.ports import Meta
from tidewire.dialects.aws_eventstream import message, write_headers
from tidewire.dialects.base64_words import wrapped
from tidewire.dialects.bedrock_messages import IMAGES
from tidewire.dialects.openai_messages import failure

_json = msgspec.json.Encoder().encode

STOPS: Final[dict[Reason, str]] = {
    "stop": "end_turn",
    "stop_string": "stop_sequence",
    "length": "max_tokens",
    "time_limit": "max_tokens",
    "size_limit": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
}
# What an error is called, by its HTTP status: in an answer of its own, and inside a stream, which knows fewer names.
NAMES: Final = {
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    499: "ModelErrorException",
    502: "ModelErrorException",
    503: "ServiceUnavailableException",
    504: "ModelTimeoutException",
}
_INSIDE: Final = {
    "AccessDeniedException": "validationException",
    "ResourceNotFoundException": "validationException",
    "ValidationException": "validationException",
    "ThrottlingException": "throttlingException",
    "ServiceUnavailableException": "serviceUnavailableException",
    "InternalServerException": "internalServerException",
}


def error_name(status: int) -> str:
    return NAMES.get(status) or ("ValidationException" if status < 500 else "InternalServerException")


def _head(name: str, kind: str = "event") -> bytes:
    said = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
    return write_headers(said)


_DELTA: Final = _head("contentBlockDelta")
_HEADS: Final = {
    name: _head(name) for name in ("messageStart", "contentBlockStart", "contentBlockStop", "messageStop", "metadata")
}
_AROUND: Final[dict[str, tuple[bytes, bytes]]] = {  # what stands around a piece of a part, behind its index
    "text": (b',"delta":{"text":', b"}}"),
    "refusal": (b',"delta":{"text":', b"}}"),
    "thinking": (b',"delta":{"reasoningContent":{"text":', b"}}}"),
    "tool_call": (b',"delta":{"toolUse":{"input":', b"}}}"),
    "tool_result": (b',"delta":{"toolResult":[{"text":', b"}]}}"),
}


def _event(name: str, value: Any) -> bytes:
    return message(_HEADS[name], _json(value))


class Blocks:
    """The stream. A block begins with its first content: text and thoughts are announced by nothing, as Bedrock has it.

    A block of text ends when the next part begins, for citations may follow its last word; one that comes later still is left out.
    """

    __slots__ = ("_around", "_begun", "_blocks", "_kinds", "_ours", "_over", "_part", "_piece", "ended", "failure")

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._begun = False
        self._kinds: dict[int, ev.PartKind] = {}  # of the parts that are shown
        self._blocks: dict[int, int] = {}  # part -> index of its block
        self._around: dict[int, tuple[bytes, bytes]] = {}
        self._part = -1  # whose text came last, and what stands around it
        self._piece = b"", b""
        self._over = -1  # a part of text that is over, whose block is not
        self._ours: set[str | None] = set()  # calls that the server runs, which are not shown

    def feed(self, entries: Sequence[Entry]) -> bytes:
        if len(entries) == 1 and type(event := entries[0].event) is Delta and event.part == self._part:
            before, behind = self._piece  # the usual batch: one token
            return message(_DELTA, b"%b%b%b" % (before, _json(event.text), behind))
        out: list[bytes] = []
        for entry in entries:
            event = entry.event
            if type(event) is Delta:
                if event.part != self._part and not self._turn(event.part):
                    continue  # of a kind that this protocol has no word for
                before, behind = self._piece
                out.append(message(_DELTA, b"%b%b%b" % (before, _json(event.text), behind)))
            elif type(event) is ev.PartStarted:
                self._begin(event, out)
            elif type(event) is ev.PartEnded:
                self._end(event.part, out)
            elif isinstance(event, ev.Signature | ev.Citation | ev.Blob):
                self._more(event, out)
            elif type(event) is ev.Closed:
                self._close(event, out)
        return b"".join(out)

    def _turn(self, part: int) -> bool:
        """The text that comes next is of this part. False where it is not shown."""
        kind = self._kinds.get(part)
        if kind not in _AROUND:
            return False
        if part not in self._around:
            before, behind = _AROUND[kind]
            self._around[part] = b'{"contentBlockIndex":%d%b' % (self._index(part), before), behind
        self._part = part
        self._piece = self._around[part]
        return True

    def _index(self, part: int) -> int:
        return self._blocks.setdefault(part, len(self._blocks))

    def _begin(self, event: ev.PartStarted, out: list[bytes]) -> None:
        start = _started(event)
        if event.kind == "server_call":
            self._ours.add(event.call)
        if event.choice or (event.kind not in _AROUND and start is None) or event.call in self._ours:
            return
        self._stop(out)
        if not self._begun:
            self._begun = True
            out.append(_event("messageStart", {"role": "assistant"}))
        self._kinds[event.part] = event.kind
        if start is not None:
            out.append(_event("contentBlockStart", {"contentBlockIndex": self._index(event.part), "start": start}))

    def _more(self, event: ev.Signature | ev.Citation | ev.Blob, out: list[bytes]) -> None:
        delta: dict[str, Any] | None = None
        match event, self._kinds.get(event.part):
            case ev.Signature(), "thinking":
                delta = {"reasoningContent": _signature(event)}
            case ev.Citation(), "text":
                delta = {"citation": citation(event)}
            case ev.Blob(partial=False), "image":
                delta = {"image": {"source": {"bytes": b64encode(event.data).decode()}}}
        if delta is not None:
            said = {"contentBlockIndex": self._index(event.part), "delta": delta}
            out.append(message(_DELTA, _json(said)))

    def _end(self, part: int, out: list[bytes]) -> None:
        if part not in self._kinds:
            return
        self._stop(out)
        self._over = part
        if self._kinds[part] != "text":
            self._stop(out)

    def _stop(self, out: list[bytes]) -> None:
        part, self._over = self._over, -1
        self._kinds.pop(part, None)
        if part in self._blocks:  # a part in which nothing was said never became a block
            out.append(_event("contentBlockStop", {"contentBlockIndex": self._blocks[part]}))

    def _close(self, event: ev.Closed, out: list[bytes]) -> None:
        self.ended = True
        self.failure = failure(event)
        if self.failure is not None:
            name = _INSIDE.get(error_name(self.failure.status), "modelStreamErrorException")
            out.append(message(_head(name, "exception"), _json({"message": self.failure.message})))
            return
        self._stop(out)
        if not self._begun:
            out.append(_event("messageStart", {"role": "assistant"}))
        out.append(_event("messageStop", {"stopReason": STOPS[event.reason]}))
        out.append(_event("metadata", _closing(event)))


class Whole:
    """A log as one Converse document at its end."""

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._parts: dict[int, tuple[ev.PartStarted, list[ev.Event]]] = {}

    def feed(self, entries: Sequence[Entry]) -> bytes:
        for entry in entries:
            event = entry.event
            if isinstance(event, Delta | ev.Signature | ev.Citation | ev.Blob):
                if event.part in self._parts:
                    started, said = self._parts[event.part]
                    if (
                        not said and _started(started) is None
                    ):  # as in the stream, its place is where it first says something
                        self._parts[event.part] = self._parts.pop(event.part)
                    said.append(event)
            elif type(event) is ev.PartStarted:
                if not event.choice:
                    self._parts[event.part] = event, []
            elif type(event) is ev.Closed:
                self.ended = True
                self.failure = failure(event)
                return b"" if self.failure is not None else self._document(event)
        return b""

    def _document(self, closed: ev.Closed) -> bytes:
        ours = {started.call for started, _ in self._parts.values() if started.kind == "server_call"}
        shown = [(started, events) for started, events in self._parts.values() if started.call not in ours]
        content = [block for started, events in shown for block in _content(started, events)]
        message = {"role": "assistant", "content": content}
        return _json({"output": {"message": message}, "stopReason": STOPS[closed.reason]} | _closing(closed))


def _started(event: ev.PartStarted) -> dict[str, Any] | None:
    """How a block is announced, for the kinds that are."""
    match event.kind:
        case "tool_call":
            return {"toolUse": {"toolUseId": event.call or f"call_{event.part}", "name": event.name or ""}}
        case "tool_result" if event.call:
            return {"toolResult": {"toolUseId": event.call}}
        case "image" if (form := IMAGES.get(event.media or "")) is not None:
            return {"image": {"format": form}}
    return None


def _content(started: ev.PartStarted, events: list[ev.Event]) -> list[dict[str, Any]]:
    """The blocks of a part: none where nothing was said in it."""
    text = "".join(e.text for e in events if type(e) is Delta)
    match started.kind, _started(started):
        case "text" | "refusal", _:
            cited = [citation(e) for e in events if type(e) is ev.Citation]
            if cited:
                return [{"citationsContent": {"content": [{"text": text}], "citations": cited}}]
            return [{"text": text}] if text else []
        case "thinking", _:
            signed = [e for e in events if type(e) is ev.Signature]
            hidden = [{"reasoningContent": _signature(e)} for e in signed if e.redacted]
            proof = [_signature(e) for e in signed if not e.redacted][-1:]
            if text or proof:
                return [{"reasoningContent": {"reasoningText": {"text": text} | (proof[0] if proof else {})}}, *hidden]
            return hidden
        case "tool_call", {"toolUse": call}:
            return [{"toolUse": call | {"input": _input(text)}}]
        case "tool_result", {"toolResult": result}:
            return [{"toolResult": result | {"content": [{"text": text}]}}]
        case "image", {"image": image}:
            blobs = [e.data for e in events if type(e) is ev.Blob and not e.partial][-1:]
            return [{"image": image | {"source": {"bytes": b64encode(data).decode()}}} for data in blobs]
    return []


def _input(text: str) -> Any:
    """The arguments as JSON; text that is none, as text."""
    try:
        return msgspec.json.decode(text) if text.strip() else {}
    except (msgspec.DecodeError, RecursionError):
        return text


def _signature(event: ev.Signature) -> dict[str, str]:
    return {"redactedContent": wrapped(event.value)} if event.redacted else {"signature": event.value}


def citation(event: ev.Citation) -> dict[str, Any]:
    out: dict[str, Any] = {"title": event.title, "source": event.source, "sourceContent": [{"text": event.passage}]}
    return out | {"location": {"web": {"url": event.uri}}} if event.uri else out


def _closing(closed: ev.Closed) -> dict[str, Any]:
    """Bedrock counts what came from the cache, and what went into it, apart from the other input."""
    prompt, output = closed.input_tokens or 0, closed.output_tokens or 0
    cached, written = closed.cached_tokens or 0, closed.cache_write_tokens or 0
    usage = {
        "inputTokens": max(0, prompt - cached - written),
        "outputTokens": output,
        "totalTokens": prompt + output,
        "cacheReadInputTokens": cached,
        "cacheWriteInputTokens": written,
    }
    return {"usage": usage, "metrics": {"latencyMs": max(0, closed.at)}}
