"""A log as Ollama's lines of JSON, and as one answer.

Left out, for the protocol has no word for it: citations, progress, notices, signatures, images and audio. Times are those that the
host reported where it did, else those that this server measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Entry, ErrorInfo, Reason
from tidewire.core.ports import Meta
from tidewire.dialects.openai_messages import failure

_json = msgspec.json.Encoder().encode
_object: Final = msgspec.json.Decoder(dict[str, Any])

FINISH: Final[dict[Reason, str]] = {
    "stop": "stop",
    "stop_string": "stop",
    "tool_calls": "stop",
    "length": "length",
    "size_limit": "length",
    "time_limit": "length",
    "content_filter": "content_filter",  # Ollama itself never says so, and calls its reasons text
}


class _Call(msgspec.Struct):
    """A tool call as it grows: Ollama tells it whole."""

    index: int
    call: str | None
    name: str | None
    pieces: list[str] = []

    def written(self) -> bytes:
        """Raises ValueError where the arguments are no JSON object."""
        text = "".join(self.pieces) or "{}"
        _object.decode(text)
        # a line break in JSON stands between its tokens only, and would end our line
        arguments = text.replace("\n", " ").replace("\r", " ").encode()
        head = {"id": self.call, "function": {"index": self.index, "name": self.name}}
        return b'%b,"arguments":%b}}' % (_json(head)[:-2], arguments)


class _Said:
    """What the rendering of a line and of a whole answer share: the calls, and how an answer ends."""

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._meta = meta
        self._generate = meta.record.get("form") == "generate"
        self._head = b'{"model":%b,"created_at":"' % _json(meta.model)
        self._calls: dict[int, _Call] = {}
        self._broken: list[_Call] = []  # arguments that are no JSON object
        self._second = -1
        self._stamp = b""

    def _time(self, at: int) -> bytes:
        """When an event was written, RFC 3339 in milliseconds. at: milliseconds since the stream was opened."""
        second, ms = divmod(self._meta.created + max(at, 0), 1000)
        if second != self._second:
            self._second = second
            self._stamp = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
        return b"%b.%03dZ" % (self._stamp, ms)

    def _call(self, part: int) -> bytes | None:
        """The call that has ended here, written; None where its arguments are no JSON object."""
        call = self._calls[part]
        try:
            return call.written()
        except (ValueError, RecursionError):
            self._broken.append(call)
            return None

    def _begin_call(self, event: ev.PartStarted) -> None:
        self._calls[event.part] = _Call(len(self._calls), event.call, event.name, [])

    def _failed(self, event: ev.Closed) -> ErrorInfo | None:
        """Why there is no good end. A call that was cut short by the token limit is left out; one that the model got wrong is an error."""
        error = failure(event)
        if error is None and self._broken and FINISH[event.reason] != "length":
            name = str(self._broken[0].name)[:60]
            error = UpstreamError(
                f"the model wrote arguments for {name!r} that are not a JSON object; ask again",
                code="upstream_bad_tool_call",
            ).info()
        return error

    def _tail(self, event: ev.Closed) -> bytes:
        """The fields of the last line behind the message, and the closing brace. Durations in nanoseconds."""
        reported = {span.name: span.ms for span in event.spans if span.source == "reported"}
        total = float(max(event.at, 0))
        first = event.ttft if event.ttft is not None else total
        times = {
            "total_duration": total,
            "load_duration": reported.get("load", 0.0),
            "prompt_eval_duration": reported.get("prefill", first),
            "eval_duration": reported.get("decode", max(0.0, total - first)),
        }
        tail: dict[str, Any] = {"done": True, "done_reason": FINISH[event.reason]}
        tail |= {name: round(ms * 1e6) for name, ms in times.items()}
        tail["prompt_eval_count"] = event.input_tokens or 0
        tail["eval_count"] = event.output_tokens or 0
        return _json(tail)[1:]


class OllamaLines(_Said):
    """A log as lines, the last of which has done, or is an error."""

    def __init__(self, meta: Meta) -> None:
        super().__init__(meta)
        before, behind = (
            (b'"response":', b"") if self._generate else (b'"message":{"role":"assistant","content":', b"}")
        )
        self._empty = before + b'""' + behind
        self._text = b'",' + before, behind + b',"done":false}\n'
        thought = b'"response":"","thinking":' if self._generate else before + b'"","thinking":'
        self._thought = b'",' + thought, behind + b',"done":false}\n'
        self._around: dict[int, tuple[bytes, bytes]] = {}

    def feed(self, entries: Sequence[Entry]) -> bytes:
        out: list[bytes] = []
        around = self._around
        for entry in entries:
            event = entry.event
            if type(event) is Delta:
                part = event.part
                if part in around:
                    before, behind = around[part]
                    out.append(b"%b%b%b%b%b" % (self._head, self._time(event.at), before, _json(event.text), behind))
                elif part in self._calls:
                    self._calls[part].pieces.append(event.text)
            elif type(event) is ev.PartStarted:
                if event.kind in ("text", "refusal"):
                    around[event.part] = self._text
                elif event.kind == "thinking":
                    around[event.part] = self._thought
                elif event.kind == "tool_call" and not self._generate:
                    self._begin_call(event)
            elif type(event) is ev.PartEnded:
                if event.part in self._calls and (call := self._call(event.part)) is not None:
                    message = b'","message":{"role":"assistant","content":"","tool_calls":[%b]},"done":false}\n' % call
                    out.append(self._head + self._time(event.at) + message)
            elif type(event) is ev.Logprobs:
                if event.part in around:
                    rows = b'",%b,"logprobs":%b,"done":false}\n' % (self._empty, _json(event.content))
                    out.append(self._head + self._time(event.at) + rows)
            elif type(event) is ev.Closed:
                self._close(event, out)
        return b"".join(out) if len(out) != 1 else out[0]

    def _close(self, event: ev.Closed, out: list[bytes]) -> None:
        self.ended = True
        self.failure = self._failed(event)
        if self.failure is not None:
            out.append(_json({"error": self.failure.message}) + b"\n")
        else:
            out.append(b'%b%b",%b,%b\n' % (self._head, self._time(event.at), self._empty, self._tail(event)))


class OllamaAnswer(_Said):
    """A log as one document at its end."""

    def __init__(self, meta: Meta) -> None:
        super().__init__(meta)
        self._kinds: dict[int, str] = {}
        self._texts: dict[str, list[str]] = {"text": [], "thinking": []}
        self._written: list[bytes] = []
        self._logprobs: list[dict[str, Any]] = []

    def feed(self, entries: Sequence[Entry]) -> bytes:
        for entry in entries:
            event = entry.event
            if type(event) is Delta:
                if event.part in self._kinds:
                    self._texts[self._kinds[event.part]].append(event.text)
                elif event.part in self._calls:
                    self._calls[event.part].pieces.append(event.text)
            elif type(event) is ev.PartStarted:
                if event.kind in ("text", "refusal", "thinking"):
                    self._kinds[event.part] = "thinking" if event.kind == "thinking" else "text"
                elif event.kind == "tool_call" and not self._generate:
                    self._begin_call(event)
            elif type(event) is ev.PartEnded:
                if event.part in self._calls and (call := self._call(event.part)) is not None:
                    self._written.append(call)
            elif type(event) is ev.Logprobs:
                self._logprobs += event.content
            elif type(event) is ev.Closed:
                self.ended = True
                self.failure = self._failed(event)
                return b"" if self.failure is not None else self._document(event)
        return b""

    def _document(self, event: ev.Closed) -> bytes:
        text, thinking = "".join(self._texts["text"]), "".join(self._texts["thinking"])
        if self._generate:
            said = b'"response":%b' % _json(text) + (b',"thinking":%b' % _json(thinking) if thinking else b"")
        else:
            said = b'"message":{"role":"assistant","content":%b' % _json(text)
            if thinking:
                said += b',"thinking":%b' % _json(thinking)
            if self._written:
                said += b',"tool_calls":[%b]' % b",".join(self._written)
            said += b"}"
        if self._logprobs:
            said += b',"logprobs":%b' % _json(self._logprobs)
        return b'%b%b",%b,%b' % (self._head, self._time(event.at), said, self._tail(event))
