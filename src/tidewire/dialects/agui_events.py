"""Views of a log as AG-UI 1.0: the events of a stream, and the whole run at its end. Names and fields as in @ag-ui/core 1.0.0.

What the protocol has no event for is CUSTOM: retrieved, citation, superseded, notice, field, checked, image, audio. Log probabilities, tries at hosts and
answers after the first of several are left out.

Edits of a text are left out too, but for a client that asked for them: it gets MESSAGES_SNAPSHOT once the text is as it stays, which
the protocol wants to hold all messages of the conversation. They are in the stream's record.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.events import Delta, Entry, ErrorInfo, Event, fields
from tidewire.core.ports import Meta
from tidewire.dialects.agui_messages import Messages

_encode: Final = msgspec.json.Encoder().encode
VERSION: Final = "1.0"
_CONTENT: Final = {
    "text": ("TEXT_MESSAGE_CONTENT", "messageId"),
    "refusal": ("TEXT_MESSAGE_CONTENT", "messageId"),
    "thinking": ("REASONING_MESSAGE_CONTENT", "messageId"),
    "tool_call": ("TOOL_CALL_ARGS", "toolCallId"),
    "server_call": ("TOOL_CALL_ARGS", "toolCallId"),
}
_CALLS: Final = ("tool_call", "server_call")  # a call of the server's own is one whose result comes in the same run


class _Part:
    """One part of the log on its way. id: of its message, or of its call. around: what stands before and behind a delta's text.

    draft: what it said before it was edited; None: it was not.
    """

    __slots__ = ("around", "draft", "ended", "id", "started", "texts")

    def __init__(self, started: ev.PartStarted, stream: str) -> None:
        self.started = started
        self.texts: list[str] = []
        self.ended = False
        self.draft: str | None = None
        kind, name = _CONTENT.get(started.kind, ("", ""))
        self.id = (started.call or f"call_{started.part}") if kind == "TOOL_CALL_ARGS" else f"{stream}-{started.part}"
        head = _encode({"type": kind, name: self.id})[:-1]
        self.around = (b'\ndata: %s,"delta":' % head, b"}\n\n") if kind else (b"", b"")


class Events:
    """The stream as SSE. after: how many events to leave out, the number of the last one that the client has.

    failure stays None: a failure is RUN_ERROR in the stream, whenever it is read.
    """

    def __init__(self, meta: Meta, after: int = 0) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._meta = meta
        self._run = {
            "threadId": meta.record.get("thread") or meta.chat or meta.stream,
            "runId": meta.record.get("run") or meta.stream,
        }
        self._after = after
        self._number = 0
        self._frames: list[bytes] = []
        self._parts: dict[int, _Part] = {}
        self._step = ""
        self._parent = ""  # the assistant message that a tool call goes into
        self._before: list[dict[str, Any]] | None = meta.record.get(
            "messages"
        )  # of a client that takes edits: what it holds
        self._messages = Messages() if self._before is not None else None

    @property
    def count(self) -> int:
        """How many events the entries so far have made."""
        return self._number

    def feed(self, entries: Sequence[Entry]) -> bytes:
        for entry in entries:
            event = entry.event
            if type(event) is Delta:
                part = self._parts.get(event.part)
                if part is not None and event.text:  # older clients refuse an empty delta
                    self._say(part, event.text)
            else:
                self._other(event)
        frames = self._frames
        if len(frames) == 1:
            return frames.pop()
        out = b"".join(frames)
        frames.clear()
        return out

    def _say(self, part: _Part, text: str) -> None:
        before, behind = part.around
        if not before:  # of a tool's result, which is told whole
            part.texts.append(text)
            return
        if part.started.kind in _CALLS or self._messages is not None:
            part.texts.append(text)
        self._number = number = self._number + 1
        if number > self._after:
            self._frames.append(b"id: %d%b%b%b" % (number, before, _encode(text), behind))

    def _tell(self, kind: str, **fields: Any) -> None:
        if self._messages is not None:
            self._messages.tell(kind, fields)
        self._number = number = self._number + 1
        if number > self._after:
            self._frames.append(b"id: %d\ndata: %b\n\n" % (number, _encode({"type": kind, **fields})))

    def _custom(self, name: str, **value: Any) -> None:
        self._tell("CUSTOM", name=name, value=value)

    def _other(self, event: Event) -> None:
        if isinstance(event, ev.PartStarted):
            self._begin(event)
        elif isinstance(event, ev.PartEnded):
            if (part := self._parts.get(event.part)) is not None:
                self._finish(part)
        elif isinstance(event, ev.Progress):
            self._step_to(event.stage, event.detail)
        elif isinstance(event, ev.Opened):
            parent = self._meta.record.get("parent")
            more = {"parentRunId": parent} if parent else {}
            self._tell("RUN_STARTED", **self._run, protocolVersion=VERSION, **more)
        elif isinstance(event, ev.Closed):
            self._close(event)
        elif isinstance(event, ev.Notice):
            self._custom("notice", code=event.code, message=event.message)
        elif isinstance(event, ev.Retrieved | ev.Superseded):
            self._custom("retrieved" if isinstance(event, ev.Retrieved) else "superseded", **fields(event))
        elif (part := self._parts.get(getattr(event, "part", -1))) is not None:
            self._about(part, event)

    def _about(self, part: _Part, event: Event) -> None:
        """What is said of a part beside its text."""
        if isinstance(event, ev.Edit):
            if self._before is not None:
                part.draft = "".join(part.texts) if part.draft is None else part.draft
                ev.edit(part.texts, event)
        elif isinstance(event, ev.Signature):
            kind = "tool-call" if part.started.kind in _CALLS else "message"
            self._tell("REASONING_ENCRYPTED_VALUE", subtype=kind, entityId=part.id, encryptedValue=event.value)
        elif isinstance(event, ev.Citation):
            said = {k: v for k in ("uri", "age", "score", "chunk", "version") if (v := getattr(event, k)) is not None}
            said |= {k: getattr(event, k) for k in ("start", "end", "source", "title", "passage")}
            self._custom("citation", messageId=part.id, **said)
        elif isinstance(event, ev.Field):
            self._custom("field", messageId=part.id, path=event.path, value=event.value)
        elif isinstance(event, ev.Checked):
            self._custom("checked", messageId=part.id, valid=event.valid, problems=event.problems)
        elif isinstance(event, ev.Blob):
            kind = part.started.kind
            media = part.started.media or ("image/png" if kind == "image" else "audio/wav")
            data = base64.b64encode(event.data).decode()
            self._custom(kind, messageId=part.id, mimeType=media, data=data, partial=event.partial)

    def _step_to(self, stage: str, detail: str = "") -> None:
        """A step ends where the next begins, or the answer does: "" is no step."""
        if stage == self._step:
            return
        if self._step:
            self._tell("STEP_FINISHED", stepName=self._step)
        self._step = stage
        if stage:
            about = {"metadata": {"detail": detail}} if detail else {}
            self._tell("STEP_STARTED", stepName=stage, **about)

    def _begin(self, event: ev.PartStarted) -> None:
        if event.choice:
            return
        self._step_to("")
        part = self._parts[event.part] = _Part(event, self._meta.stream)
        if event.kind in ("text", "refusal"):
            self._parent = part.id
            about = {"metadata": {"refusal": True}} if event.kind == "refusal" else {}
            self._tell("TEXT_MESSAGE_START", messageId=part.id, role="assistant", **about)
        elif event.kind == "thinking":
            self._parent = ""  # a call belongs behind the thought that led to it
            self._tell("REASONING_START", messageId=part.id)
            self._tell("REASONING_MESSAGE_START", messageId=part.id, role="reasoning")
        elif event.kind in _CALLS:
            self._parent = self._parent or f"{self._meta.stream}-{event.part}"
            self._tell(
                "TOOL_CALL_START", toolCallId=part.id, toolCallName=event.name or "", parentMessageId=self._parent
            )

    def _finish(self, part: _Part) -> None:
        if part.ended:
            return
        part.ended = True
        kind = part.started.kind
        if kind in ("text", "refusal"):
            self._tell("TEXT_MESSAGE_END", messageId=part.id)
            if part.draft is not None and part.draft != "".join(part.texts):
                self._tell("MESSAGES_SNAPSHOT", messages=[*(self._before or ()), *self._held()])
        elif kind == "thinking":
            self._tell("REASONING_MESSAGE_END", messageId=part.id)
            self._tell("REASONING_END", messageId=part.id)
        elif kind in _CALLS:
            self._tell("TOOL_CALL_END", toolCallId=part.id)
        elif kind == "tool_result":
            self._parent = ""
            call = part.started.call or ""
            self._tell("TOOL_CALL_RESULT", messageId=part.id, toolCallId=call, content="".join(part.texts), role="tool")

    def _held(self) -> list[dict[str, Any]]:
        """The messages of this run so far, as the client has them."""
        assert self._messages is not None
        for part in self._parts.values():
            if part.started.kind != "tool_result":  # told whole
                self._messages.fill(part.id, "".join(part.texts))
        return self._messages.all()

    def _close(self, event: ev.Closed) -> None:
        for part in self._parts.values():
            if part.started.kind != "tool_result":  # one that was cut off is no result
                self._finish(part)
        self._step_to("")
        used = _usage(event, self._meta.model)
        if event.status == "failed":
            error = event.error or ErrorInfo("internal_error", "the answer failed")
            told = failed(error)
            self._tell(told.pop("type"), **told, **used)
        else:
            result = {"status": event.status, "reason": event.reason}
            about = {**result, **({"ttft": event.ttft} if event.ttft is not None else {})}
            self._tell("RUN_FINISHED", **self._run, outcome=self._outcome(event), result=about, **used)
        self.ended = True

    def _outcome(self, event: ev.Closed) -> dict[str, Any]:
        if event.status == "cancelled":
            return {"type": "cancelled"}
        answered = {p.started.call for p in self._parts.values() if p.started.kind == "tool_result"}
        calls = [p for p in self._parts.values() if p.started.kind == "tool_call" and p.id not in answered]
        pending = [p.id for p in calls if _whole("".join(p.texts))]
        return {"type": "success", "pendingToolCallIds": pending} if pending else {"type": "success"}


class Run(Events):
    """The run as one document at its end: {threadId, runId, messages, outcome, result, usage, custom}, messages as a client would hold them."""

    def __init__(self, meta: Meta) -> None:
        super().__init__(meta)
        self._messages = self._messages or Messages()
        self._said: list[dict[str, Any]] = []
        self._document: dict[str, Any] = {}

    def feed(self, entries: Sequence[Entry]) -> bytes:
        super().feed(entries)
        return _encode(self._document) if self.ended and self.failure is None else b""

    def _say(self, part: _Part, text: str) -> None:
        part.texts.append(text)

    def _tell(self, kind: str, **fields: Any) -> None:
        assert self._messages is not None
        self._messages.tell(kind, fields)
        if kind == "CUSTOM":
            self._said.append(fields)

    def _close(self, event: ev.Closed) -> None:
        super()._close(event)
        self.failure = event.error
        self._document = {
            **self._run,
            "messages": self._held(),
            "outcome": self._outcome(event),
            "result": {"status": event.status, "reason": event.reason},
            **_usage(event, self._meta.model),
            **({"custom": self._said} if self._said else {}),
        }


def failed(info: ErrorInfo) -> dict[str, Any]:
    """RUN_ERROR. What a client may act on beside the code is in its metadata."""
    more = {"status": info.status, "retryable": info.retryable, "retryAfter": info.retry_after, "param": info.param}
    return {
        "type": "RUN_ERROR",
        "message": info.message,
        "code": info.code,
        "metadata": {name: value for name, value in more.items() if value is not None},
    }


def _usage(event: ev.Closed, model: str) -> dict[str, Any]:
    """AG-UI counts as we do: reasoning and cached tokens are part of the totals. What nobody counted is left out."""
    used, made = event.input_tokens, event.output_tokens
    counted = {
        "inputTokens": used,
        "outputTokens": made,
        "totalTokens": used + made if used is not None and made is not None else None,
        "reasoningTokens": event.reasoning_tokens,
        "cachedInputTokens": event.cached_tokens,
        "cacheWriteInputTokens": event.cache_write_tokens,
    }
    known = {name: value for name, value in counted.items() if value is not None}
    return {"usage": [{"model": model, **known}]} if known else {}


def _whole(text: str) -> bool:
    try:
        msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
