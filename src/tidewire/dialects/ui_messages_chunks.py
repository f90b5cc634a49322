"""Views of a log as the AI SDK's UI message stream, version 1: the chunks of a stream, and the message at its end.

Only fields that versions 5 to 7 of the npm package `ai` all know (src/ui-message-stream/ui-message-chunks.ts); some
releases refuse others. Left out: log probabilities, and answers after the first of several.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.events import Entry, ErrorInfo, Event, Reason, fields
from tidewire.core.ports import Meta

_encode: Final = msgspec.json.Encoder().encode
_FAMILY: Final = {"text": "text", "refusal": "text", "thinking": "reasoning"}
_CALLS: Final = ("tool_call", "server_call")
_FINISH: Final[dict[Reason, str]] = {
    "stop": "stop",
    "stop_string": "stop",
    "length": "length",
    "size_limit": "length",
    "tool_calls": "tool-calls",
    "content_filter": "content-filter",
    "error": "error",
    "shutdown": "error",
}
DONE: Final = b"data: [DONE]\n\n"


class _Part:
    __slots__ = ("around", "blobs", "ended", "ours", "part", "proof", "texts")

    def __init__(self, part: ev.PartStarted) -> None:
        self.part = part
        self.texts: list[str] = []
        self.blobs: list[bytes] = []
        self.ended = False
        self.around = (b"", b"")  # what stands before and behind a delta's text
        self.proof: dict[str, Any] = {}  # providerMetadata, where the host signed this part
        # A tool that the server runs: the client shows it, and does not call it.
        self.ours: dict[str, Any] = {"providerExecuted": True, "dynamic": True} if part.kind == "server_call" else {}

    @property
    def media(self) -> str:
        return self.part.media or ("image/png" if self.part.kind == "image" else "audio/wav")

    def take(self, event: ev.Blob | ev.Signature) -> None:
        """Sketches of an image are no part of it."""
        if isinstance(event, ev.Signature):
            redacted = {"redacted": True} if event.redacted else {}
            self.proof = {"providerMetadata": {"tidewire": {"signature": event.value, **redacted}}}
        elif self.part.kind == "audio":
            self.blobs.append(event.data)
        elif not event.partial:
            self.blobs = [event.data]

    def file(self) -> dict[str, Any] | None:
        """The image or sound as a file part, where any of it has come."""
        if not self.blobs:
            return None
        return {"type": "file", "url": _data_url(self.media, b"".join(self.blobs)), "mediaType": self.media}

    @property
    def call(self) -> str:
        return self.part.call or f"call_{self.part.part}"

    @property
    def text(self) -> str:
        return "".join(self.texts)


class Chunks:
    """The stream as SSE. after: how many chunks to leave out (the startIndex of the client); [DONE] is not counted.

    failure stays None: a failure is told in the stream, whenever it is read.
    """

    def __init__(self, meta: Meta, after: int = 0) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._meta = meta
        self._after = after
        self._number = 0
        self._cited = 0
        self._frames: list[bytes] = []
        self._parts: dict[int, _Part] = {}
        self._usage: ev.Usage | None = None

    @property
    def count(self) -> int:
        """How many chunks the entries so far have made."""
        return self._number

    def feed(self, entries: Sequence[Entry]) -> bytes:
        for entry in entries:
            event = entry.event
            if type(event) is ev.Delta:
                part = self._parts.get(event.part)
                if part is None:
                    continue
                if part.part.kind in _FAMILY:
                    self._raw(part.around, event.text)
                    continue
                part.texts.append(event.text)
                if part.part.kind in _CALLS:
                    self._raw(part.around, event.text)
            else:
                self._other(event)
        frames = self._frames
        if len(frames) == 1:
            return frames.pop()
        out = b"".join(frames)
        frames.clear()
        return out

    def _raw(self, around: tuple[bytes, bytes], text: str) -> None:
        if self._number >= self._after:
            self._frames.append(b"%s%s%s" % (around[0], _encode(text), around[1]))
        self._number += 1

    def _emit(self, kind: str, **fields: Any) -> None:
        if self._number >= self._after:
            self._frames.append(b"data: %s\n\n" % _encode({"type": kind, **fields}))
        self._number += 1

    def _other(self, event: Event) -> None:
        if isinstance(event, ev.Opened):
            about = {"stream": event.stream, "model": event.model, "createdAt": event.created}
            self._emit("start", messageId=message_id(self._meta), messageMetadata=about)
            self._emit("start-step")
        elif isinstance(event, ev.Attempt):
            if event.reason == "tools":
                self._emit("finish-step")
                self._emit("start-step")
        elif isinstance(event, ev.Progress):
            of = {"toolCallId": event.call} if event.call is not None else {}
            self._emit("data-progress", data={"stage": event.stage, "detail": event.detail, **of}, transient=True)
        elif isinstance(event, ev.Notice):
            self._emit("data-notice", data={"code": event.code, "message": event.message}, transient=True)
        elif isinstance(event, ev.Retrieved):
            self._emit("data-retrieved", data=fields(event), transient=True)
        elif isinstance(
            event, ev.Superseded
        ):  # stays: whoever looks at the message later sees that a source is out of date
            self._emit("data-superseded", data=fields(event))
        elif isinstance(event, ev.PartStarted):
            self._begin(event)
        elif isinstance(event, ev.PartEnded):
            if (ended := self._parts.get(event.part)) is not None:
                self._finish(ended)
        elif isinstance(event, ev.Blob | ev.Signature):
            if (part := self._parts.get(event.part)) is not None:
                self._take(part, event)
        elif isinstance(event, ev.Field):
            said = {"part": event.part, "path": event.path, "value": event.value}
            self._emit("data-field", data=said, transient=True)
        elif isinstance(event, ev.Checked):
            self._emit("data-checked", data=checked(event))
        elif isinstance(event, ev.Citation) and event.part in self._parts:
            self._cited += 1
            source = source_part(event, self._cited)
            self._emit(source.pop("type"), **source)
        elif isinstance(event, ev.Usage):
            self._usage = event
        elif isinstance(event, ev.Closed):
            self._close(event)

    def _take(self, part: _Part, event: ev.Blob | ev.Signature) -> None:
        """A blob is shown or played as it comes, and leaves no trace but the file at its end."""
        part.take(event)
        if isinstance(event, ev.Blob):
            data = {"mediaType": part.media, "url": _data_url(part.media, event.data), "partial": event.partial}
            self._emit(f"data-{part.part.kind}", id=str(event.part), data=data, transient=True)

    def _begin(self, event: ev.PartStarted) -> None:
        if event.choice:
            return
        part = self._parts[event.part] = _Part(event)
        if family := _FAMILY.get(event.kind):
            head = _encode({"type": f"{family}-delta", "id": str(event.part)})[:-1]
            part.around = b'data: %s,"delta":' % head, b"}\n\n"
            self._emit(f"{family}-start", id=str(event.part))
        elif event.kind in _CALLS:
            head = _encode({"type": "tool-input-delta", "toolCallId": part.call})[:-1]
            part.around = b'data: %s,"inputTextDelta":' % head, b"}\n\n"
            self._emit("tool-input-start", toolCallId=part.call, toolName=event.name or "", **part.ours)

    def _finish(self, part: _Part, *, cut: bool = False) -> None:
        part.ended = True
        started = part.part
        if family := _FAMILY.get(started.kind):
            self._emit(f"{family}-end", id=str(started.part), **part.proof)
        elif started.kind in _CALLS:
            tool = {"toolCallId": part.call, "toolName": started.name or "", **part.ours}
            given = _UNREADABLE if cut else parsed(part.text or "{}")
            if given is _UNREADABLE:
                self._emit("tool-input-error", **tool, input=part.text, errorText="the arguments are not whole JSON")
            else:
                self._emit("tool-input-available", **tool, input=given, **part.proof)
        elif started.kind in ("image", "audio"):
            if (file := part.file()) is not None:
                self._emit(file.pop("type"), **file)
        elif not cut:
            self._result(part)

    def _result(self, part: _Part) -> None:
        """The client breaks off at a result whose call it has not seen."""
        output = parsed(part.text)
        output = part.text if output is _UNREADABLE else output
        of = next((p for p in self._parts.values() if p.part.kind in _CALLS and p.call == part.call), None)
        if of is not None and part.part.failed:
            self._emit("tool-output-error", toolCallId=part.call, errorText=part.text, **of.ours)
        elif of is not None:
            self._emit("tool-output-available", toolCallId=part.call, output=output, **of.ours)
        else:
            self._emit("data-tool-result", data={"toolCallId": part.call, "output": output})

    def _close(self, event: ev.Closed) -> None:
        """Ends with a finish chunk whatever happened: the client of @ai-sdk/workflow reconnects until it has seen one."""
        for part in self._parts.values():
            if not part.ended:
                self._finish(part, cut=True)
        self._emit("message-metadata", messageMetadata=summary(event, self._usage))
        if event.status == "failed":
            self._emit("error", errorText=event.error.message if event.error else "the answer failed")
        self._emit("finish-step")
        if event.status == "cancelled":
            self._emit("abort")
        self._emit("finish", finishReason=_FINISH.get(event.reason, "other"))
        self._frames.append(DONE)
        self.ended = True


class Answer:
    """The log as one UIMessage, a JSON document at its end: {id, role, parts, metadata}."""

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._meta = meta
        self._parts: dict[int, _Part] = {}
        self._sources: list[dict[str, Any]] = []
        self._superseded: list[dict[str, Any]] = []
        self._checked: list[dict[str, Any]] = []
        self._usage: ev.Usage | None = None

    def feed(self, entries: Sequence[Entry]) -> bytes:
        for entry in entries:
            event = entry.event
            if isinstance(event, ev.Delta):
                if (part := self._parts.get(event.part)) is not None:
                    part.texts.append(event.text)
            elif isinstance(event, ev.Blob | ev.Signature):
                if (part := self._parts.get(event.part)) is not None:
                    part.take(event)
            elif isinstance(event, ev.PartStarted):
                if not event.choice:
                    self._parts[event.part] = _Part(event)
            elif isinstance(event, ev.Checked):
                self._checked.append({"type": "data-checked", "data": checked(event)})
            elif isinstance(event, ev.Superseded):
                self._superseded.append({"type": "data-superseded", "data": fields(event)})
            elif isinstance(event, ev.Citation) and event.part in self._parts:
                self._sources.append(source_part(event, len(self._sources) + 1))
            elif isinstance(event, ev.Usage):
                self._usage = event
            elif isinstance(event, ev.Closed):
                self.ended = True
                self.failure = event.error
                return self._document(event)
        return b""

    def _document(self, event: ev.Closed) -> bytes:
        results = {p.call: p for p in self._parts.values() if p.part.kind == "tool_result"}
        parts: list[dict[str, Any]] = [{"type": "step-start"}]
        for part in self._parts.values():
            kind = part.part.kind
            if kind in _FAMILY:
                parts.append({"type": _FAMILY[kind], "text": part.text, "state": "done", **part.proof})
            elif kind in _CALLS:
                parts.append(_tool_part(part, results.get(part.call)))
            elif kind in ("image", "audio") and (file := part.file()) is not None:
                parts.append(file)
        about = {"stream": self._meta.stream, "model": self._meta.model, "createdAt": self._meta.created}
        return _encode(
            {
                "id": message_id(self._meta),
                "role": "assistant",
                "parts": parts + self._sources + self._superseded + self._checked,
                "metadata": about | summary(event, self._usage),
            }
        )


def _tool_part(part: _Part, result: _Part | None) -> dict[str, Any]:
    name = part.part.name or ""
    out: dict[str, Any] = {"type": f"tool-{name}", "toolCallId": part.call}
    if part.ours:
        out |= {"type": "dynamic-tool", "toolName": name, "providerExecuted": True}
    if part.proof:
        out["callProviderMetadata"] = part.proof["providerMetadata"]
    given = parsed(part.text or "{}")
    if given is _UNREADABLE:
        return out | {"state": "output-error", "input": part.text, "errorText": "the arguments are not whole JSON"}
    if result is None:
        return out | {"state": "input-available", "input": given}
    if result.part.failed:
        return out | {"state": "output-error", "input": given, "errorText": result.text}
    output = parsed(result.text)
    return out | {
        "state": "output-available",
        "input": given,
        "output": result.text if output is _UNREADABLE else output,
    }


def _data_url(media: str, data: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


def checked(event: ev.Checked) -> dict[str, Any]:
    return {"part": event.part, "valid": event.valid, "problems": event.problems}


class _Unreadable:
    pass


_UNREADABLE: Final = _Unreadable()


def parsed(text: str) -> Any:
    """The JSON that text is, or _UNREADABLE."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return _UNREADABLE


def message_id(meta: Meta) -> str:
    """The message that the answer goes on in, or a new one named like the stream."""
    going_on = meta.record.get("message")
    return going_on if isinstance(going_on, str) else meta.stream


def source_part(event: ev.Citation, number: int) -> dict[str, Any]:
    """A citation as a source part. What the SDK has no field for is in its metadata; offsets count code points."""
    more = {
        "part": event.part,
        "start": event.start,
        "end": event.end,
        "passage": event.passage,
        "source": event.source,
    }
    more |= {k: v for k in ("age", "score", "chunk", "version") if (v := getattr(event, k)) is not None}
    out: dict[str, Any] = {"sourceId": str(number), "title": event.title, "providerMetadata": {"tidewire": more}}
    if event.uri is not None:
        return {"type": "source-url", "url": event.uri, **out}
    return {"type": "source-document", "mediaType": "text/plain", **out}


def summary(closed: ev.Closed, usage: ev.Usage | None) -> dict[str, Any]:
    """How it ended and what it used, for the message's metadata; what nobody counted is left out."""
    used, made = closed.input_tokens, closed.output_tokens
    counted = {
        "inputTokens": used,
        "outputTokens": made,
        "totalTokens": used + made if used is not None and made is not None else None,
        "cachedInputTokens": usage.cached if usage else None,
        "reasoningTokens": usage.reasoning if usage else None,
        "cost": closed.cost,
    }
    out: dict[str, Any] = {"status": closed.status, "reason": closed.reason}
    if closed.error is not None:  # what the error chunk has no field for
        error = closed.error
        out["error"] = {"code": error.code, "status": error.status, "retryable": error.retryable}
    if closed.ttft is not None:
        out["ttft"] = closed.ttft
    return out | {"usage": {k: v for k, v in counted.items() if v is not None}}
