"""Our own protocol, spec/PROTOCOL.md: the log as it is. Its cursors are the log's own numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from tidewire.core import events as ev
from tidewire.core import ids
from tidewire.core.errors import BadRequest
from tidewire.core.events import Entry, ErrorInfo, edit, fields
from tidewire.core.ports import Meta
from tidewire.core.request import (
    CONTINUE,
    GRACE,
    Content,
    DisconnectPolicy,
    Intent,
    Message,
    Request,
    Retrieval,
    Reuse,
    Text,
    Thinking,
    Tool,
)
from tidewire.dialects import body, policy

_json = msgspec.json.encode

Form = Literal["sse", "ndjson", "text"]
MEDIA: Final[dict[Form, str]] = {
    "sse": "text/event-stream; charset=utf-8",
    "ndjson": "application/x-ndjson; charset=utf-8",
    "text": "text/plain; charset=utf-8",
}


class _Message(msgspec.Struct):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[Content]
    name: str | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    model: str
    input: str | None = None
    messages: list[_Message] | None = None
    stream: str | None = None
    chat: str | None = None
    session: bool | None = None
    intent: Intent | None = None
    tools: list[Tool] = []
    tool_choice: Any = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: list[str] = []
    response_format: dict[str, Any] | None = None
    time_limit: float | None = None
    plan: str | None = None
    on_disconnect: str | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=16)] = 1
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
    thinking: Thinking | None = None
    cache: str = ""
    retrieval: bool | Retrieval | None = None
    options: dict[str, Any] = {}
    edits: bool | None = None


class Native:
    """One of three forms of the same log: Server-Sent Events, JSON lines, or the text alone."""

    name = "native"
    projection = "native/1"
    resumes = True

    def __init__(self, form: Form = "sse", on_disconnect: DisconnectPolicy = GRACE) -> None:
        self.form = form
        self._on_disconnect = on_disconnect
        self.media_type = MEDIA[form]

    def parse(self, raw: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        given, _ = body.read(raw, _Body)
        if (given.input is None) == (given.messages is None):
            raise BadRequest("send either input (text) or messages (a list), one of the two", param="input")
        if given.messages is not None and not given.messages:
            raise BadRequest("messages is empty; send at least one message", param="messages")
        for name in ("stream", "chat"):
            value = getattr(given, name)
            if value is not None and not ids.valid(value):
                raise BadRequest(f"{name} may have 1 to 64 of the characters A-Z a-z 0-9 _ -", param=name)
        if given.max_tokens is not None and given.max_tokens < 1:
            raise BadRequest(f"max_tokens is {given.max_tokens}; it must be at least 1", param="max_tokens")
        if given.time_limit is not None and not given.time_limit > 0:
            raise BadRequest(f"time_limit is {given.time_limit:g} s; it must be more than 0", param="time_limit")
        request = Request(
            model=given.model,
            messages=_messages(given),
            stream=given.stream,
            chat=given.chat,
            session=given.session,
            intent=given.intent,
            tools=given.tools,
            tool_choice=given.tool_choice,
            max_tokens=given.max_tokens,
            temperature=given.temperature,
            top_p=given.top_p,
            stop=given.stop,
            response_format=given.response_format,
            time_limit=given.time_limit,
            plan=given.plan,
            on_disconnect=_policy(given.on_disconnect, headers, self._on_disconnect),
            n=given.n,
            logprobs=given.logprobs,
            thinking=given.thinking,
            reuse=Reuse.parse(given.cache),
            retrieval=Retrieval(on=given.retrieval) if isinstance(given.retrieval, bool) else given.retrieval,
            options=given.options,
            edits=self.form != "text" if given.edits is None else given.edits,
            record={"title": question[:80]} if (question := (given.input or "").strip()) else {},
        )
        return request, True

    def headers(self, meta: Meta) -> list[tuple[str, str]]:
        return []

    def origin(self, after: int) -> int:
        return 0 if self.form == "text" else after

    def stream(self, meta: Meta, after: int = 0) -> Lines | Words:
        return Words(after) if self.form == "text" else Lines(self.form)

    def whole(self, meta: Meta) -> Document:
        return Document(meta)

    def error(self, info: ErrorInfo) -> bytes:
        return _json({"error": info})


def _messages(given: _Body) -> list[Message]:
    if given.messages is None:
        return [Message(role="user", content=[Text(given.input or "")])]
    return [
        Message(role=m.role, content=[Text(m.content)] if isinstance(m.content, str) else m.content, name=m.name)
        for m in given.messages
    ]


def _policy(text: str | None, headers: dict[str, str], default: DisconnectPolicy) -> DisconnectPolicy:
    if text is None:
        return CONTINUE if "respond-async" in headers.get("prefer", "") else default
    return policy.read(text, "on_disconnect")


class Lines:
    """Every event as it stands in the log, framed as Server-Sent Events or as lines of JSON."""

    def __init__(self, form: Form) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._sse = form == "sse"

    def feed(self, entries: Sequence[Entry]) -> bytes:
        if entries[-1].raw.startswith(b'{"type":"closed"'):
            self.ended = True
        if not self._sse:
            return b"".join([e.raw + b"\n" for e in entries])
        # an event's JSON begins {"type":"<name>", : the name is taken from there
        return b"".join(
            [b"id: %d\nevent: %s\ndata: %s\n\n" % (e.seq, e.raw[9 : e.raw.index(b'"', 9)], e.raw) for e in entries]
        )


class Words:
    """The text alone, for people and for `curl`, of the entries after `after`. What goes wrong is said in a last line.

    What has been sent cannot be taken back: a text that was edited is said once more at its end, as it is then.
    """

    def __init__(self, after: int = 0) -> None:
        self._after = after
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._texts: dict[int, list[str]] = {}
        self._edited: set[int] = set()

    def feed(self, entries: Sequence[Entry]) -> bytes:
        out: list[str] = []
        for entry in entries:
            event = entry.event
            if type(event) is ev.Delta:
                if event.part in self._texts:
                    self._texts[event.part].append(event.text)
                    if entry.seq > self._after:
                        out.append(event.text)
            elif type(event) is ev.PartStarted:
                if event.kind == "text":
                    if self._texts and entry.seq > self._after:
                        out.append("\n\n")
                    self._texts[event.part] = []
            elif type(event) is ev.Edit:
                if event.part in self._texts:
                    self._edited.add(event.part)
                    edit(self._texts[event.part], event)
            elif type(event) is ev.PartEnded:
                if event.part in self._edited and entry.seq > self._after:
                    out.append(f"\n\n[as it reads now]\n{''.join(self._texts[event.part])}")
            elif type(event) is ev.Closed:
                self.ended = True
                if entry.seq <= self._after:
                    continue
                if event.error is not None:
                    self.failure = event.error
                    out.append(f"\n[{event.error.code}: {event.error.message}]")
                elif event.status == "cancelled":
                    out.append("\n[cancelled]")
                out.append("\n")
        return "".join(out).encode()


class Document:
    """The whole answer as one JSON document, at its end; `state()` is the same of a log that still grows."""

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._meta = meta
        self._parts: dict[int, ev.PartStarted] = {}
        self._texts: dict[int, list[str]] = {}
        self._citations: list[ev.Citation] = []
        self._superseded: list[ev.Superseded] = []
        self._checked: list[ev.Checked] = []
        self._closed: ev.Closed | None = None

    def feed(self, entries: Sequence[Entry]) -> bytes:
        for entry in entries:
            event = entry.event
            if type(event) is ev.Delta:
                self._texts[event.part].append(event.text)
            elif type(event) is ev.PartStarted:
                self._parts[event.part] = event
                self._texts[event.part] = []
            elif type(event) is ev.Edit:
                edit(self._texts[event.part], event)
            elif type(event) is ev.Citation:
                self._citations.append(event)
            elif type(event) is ev.Superseded:
                self._superseded.append(event)
            elif type(event) is ev.Checked:
                self._checked.append(event)
            elif type(event) is ev.Closed:
                self._closed = event
                self.failure = event.error
                self.ended = True
                return _json(self.state())
        return b""

    def state(self) -> dict[str, Any]:
        closed = self._closed
        out: dict[str, Any] = {
            "stream": self._meta.stream,
            "model": self._meta.model,
            "status": "running" if closed is None else closed.status,
            "text": self._joined("text"),
        }
        if thinking := self._joined("thinking"):
            out["thinking"] = thinking
        out["tool_calls"] = self._calls("tool_call")
        if ours := self._calls("server_call"):
            results = {p.call: (n, p.failed) for n, p in self._parts.items() if p.kind == "tool_result"}
            for one in ours:
                if one["call"] in results:
                    part, failed = results[one["call"]]
                    one |= {"result": "".join(self._texts[part]), "failed": failed}
            out["server_calls"] = ours
        out["citations"] = [fields(citation) for citation in self._citations]
        if self._superseded:
            out["superseded"] = [fields(one) for one in self._superseded]
        if self._checked:
            problems = [problem for checked in self._checked for problem in checked.problems]
            out["checked"] = {"valid": not problems, "problems": problems}
        if closed is not None:
            out["reason"] = closed.reason
            out["usage"] = {"input": closed.input_tokens, "output": closed.output_tokens}
            if closed.cost is not None:
                out["usage"]["cost"] = closed.cost
            out["ttft"] = closed.ttft
            if closed.rested is not None:
                out["rested"] = msgspec.to_builtins(closed.rested)
            if closed.error is not None:
                out["error"] = msgspec.to_builtins(closed.error)
        return out

    def _calls(self, kind: str) -> list[dict[str, Any]]:
        return [
            {"call": p.call, "name": p.name, "arguments": "".join(self._texts[n])}
            for n, p in self._parts.items()
            if p.kind == kind
        ]

    def _joined(self, kind: str) -> str:
        return "".join(t for n, texts in self._texts.items() if self._parts[n].kind == kind for t in texts)
