"""Ollama's own API, the side that faces the host: `POST /api/chat` and the lines of JSON we read.

Source: Ollama's API reference and OpenAPI document, and recorded streams. A tool call comes whole; the last line has `done`, the counts
and the host's own times in nanoseconds; an error in the middle is a line with nothing but `error`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.events import Delta, Event, Reason, Span
from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import Request
from tidewire.dialects.bad_events import BAD, broken
from tidewire.dialects.body import unsupported
from tidewire.dialects.ollama_messages import write_messages, write_tools

_json = msgspec.json.encode

REASONS: Final[dict[str, Reason]] = {"stop": "stop", "length": "length", "content_filter": "content_filter"}
SPANS: Final = (("load", "load_duration"), ("prefill", "prompt_eval_duration"), ("decode", "eval_duration"))
SHARED: Final = ("seed", "frequency_penalty", "presence_penalty")  # Ollama and OpenAI mean the same by these
LEVELS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
LIMIT: Final = 8 * 1024 * 1024  # bytes of one line


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: msgspec.Raw = msgspec.Raw()


class _Call(msgspec.Struct, gc=False):
    id: str | None = None
    function: _Function | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Line(msgspec.Struct, gc=False):
    message: _Message | None = None
    done: bool | None = None
    error: Any = None
    logprobs: list[dict[str, Any]] | None = None


class _Last(msgspec.Struct, gc=False):
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    load_duration: int | None = None
    prompt_eval_duration: int | None = None
    eval_duration: int | None = None


_line = msgspec.json.Decoder(_Line)
_last = msgspec.json.Decoder(_Last)


class _Listing(msgspec.Struct):
    class Row(msgspec.Struct):
        name: str | None = None
        model: str | None = None
        modified_at: str | None = None

    models: list[Row]


class OllamaHost:
    """`core.ports.Speaker` for Ollama."""

    listing = "/api/tags"

    def models(self, body: bytes) -> list[ModelInfo]:
        try:
            rows = msgspec.json.decode(body, type=_Listing).models
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamError("the host's list of models is not one", code="upstream_not_json") from None
        named = [(row.model or row.name, row.modified_at) for row in rows]
        return [ModelInfo(id=name, provider="", created=_seconds(changed)) for name, changed in named if name]

    def ask(self, request: Request, model: str) -> Question:
        if request.n != 1:
            raise unsupported(f"n is {request.n}; Ollama gives one answer a request: send n requests", "n")
        body: dict[str, Any] = dict(request.options_for("ollama"))
        options = body.pop("options", None) or {}
        if not isinstance(options, dict):
            raise BadRequest("options is not an object", param="options")
        options = {k: v for k, v in request.options.items() if k in SHARED} | options
        given = {
            "num_predict": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop": request.stop or None,
        }
        options |= {name: value for name, value in given.items() if value is not None}
        for name in SHARED:
            body.pop(name, None)
        body |= {"model": model, "messages": write_messages(request.messages), "stream": True}
        if options:
            body["options"] = options
        if _tools(request):
            body["tools"] = write_tools(request.tools)
        if request.response_format is not None and (form := _format(request.response_format)) is not None:
            body["format"] = form
        if (think := _think(request, model)) is not None:
            body["think"] = think
        if request.logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": request.logprobs}
        return Question(path="/api/chat", body=_json(body))

    def decoder(self, request: Request) -> OllamaDecoder:
        return OllamaDecoder()


def _tools(request: Request) -> bool:
    """Whether tools are sent. Ollama lets the model choose; a tool that may not be called is one that is not sent."""
    choice = request.tool_choice
    if choice not in (None, "auto", "none") and request.tools:
        raise unsupported("Ollama cannot be made to call a tool; tool_choice may be auto or none", "tool_choice")
    return bool(request.tools) and choice != "none"


def _format(given: dict[str, Any]) -> Any:
    kind = given.get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return "json"
    named = given.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if kind != "json_schema" or not isinstance(schema, dict):
        raise unsupported("response_format may be text, json_object, or json_schema with a schema", "response_format")
    return schema


def _think(request: Request, model: str) -> bool | str | None:
    """Ollama knows on and off, and of gpt-oss models three levels, which it refuses for others. A budget says on."""
    asked = request.thinking
    if asked is None:
        return None
    if asked.effort == "none" or asked.budget == 0:
        return False
    if request.dialect == "ollama":
        return asked.effort or True  # in its client's own words
    if asked.effort is None and asked.budget is None:
        return None
    return LEVELS.get(asked.effort or "", True) if "gpt-oss" in model else True


def _seconds(text: str | None) -> int:
    """An RFC 3339 time as Unix seconds; 0 where there is none."""
    try:
        return max(0, int(datetime.fromisoformat(text).timestamp())) if text else 0
    except (ValueError, OverflowError):
        return 0


class OllamaDecoder:
    """The bytes of one streamed answer as events, however they are cut. `core.ports.Decoder`."""

    __slots__ = ("_called", "_done", "_kind", "_part", "_parts", "_rest", "_size")

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # pieces of a line that has not ended
        self._size = 0
        self._part = -1  # the open text or thinking part, -1 when none
        self._kind = ""
        self._parts = 0
        self._called = False
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        if b"\n" not in data:
            self._hold(data)
            return []
        if self._rest:
            data = b"".join(self._rest) + data
            self._rest.clear()
            self._size = 0
        lines = data.split(b"\n")
        out: list[Event] = []
        rest = lines.pop()
        self._read(lines, out)
        if rest:
            try:
                self._hold(rest)
            except UpstreamError as error:
                error.before = out
                raise
        return out

    def end(self) -> list[Event]:
        out: list[Event] = []
        rest = b"".join(self._rest)
        self._rest.clear()
        if rest.strip() and not self._done:
            try:
                self._read([rest], out)  # a last line needs no line end
            except UpstreamError as error:
                if error.kind != "upstream_bad_event":
                    raise
        if not self._done:
            cut = UpstreamError(
                "the host closed the answer before its end: no line with done came", code="upstream_cut"
            )
            cut.before = out
            raise cut
        return out

    def _hold(self, data: bytes) -> None:
        if self._done:
            return
        self._rest.append(data)
        self._size += len(data)
        if self._size > LIMIT:
            raise UpstreamError(f"the host sent a line of more than {LIMIT} bytes", code="upstream_event_too_large")

    def _read(self, lines: list[bytes], out: list[Event]) -> None:
        decode = _line.decode
        try:
            for raw in lines:
                if self._done:
                    return
                if not raw or raw == b"\r" or not raw.strip():
                    continue
                line = decode(raw)
                message = line.message
                # the usual line, straight: more of the text that is open, and nothing else
                if (
                    message is not None
                    and self._kind == "text"
                    and (text := message.content)
                    and not line.done
                    and not message.thinking
                    and not message.tool_calls
                    and line.error is None
                    and not line.logprobs
                ):
                    out.append(Delta(part=self._part, text=text))
                else:
                    self._line(line, raw, out)
        except BAD as error:
            raise broken(error, out, "Ollama's") from None

    def _line(self, line: _Line, raw: bytes, out: list[Event]) -> None:
        if line.error is not None:
            raise _error(line.error)
        message = line.message
        if message is not None:
            if message.thinking:
                self._text("thinking", message.thinking, out)
            if message.content:
                self._text("text", message.content, out)
            if line.logprobs:
                if self._part < 0:
                    self._begin("text", out)
                out.append(ev.Logprobs(part=self._part, content=line.logprobs))
            for call in message.tool_calls or ():
                self._call(call, out)
        elif not line.done:
            raise UpstreamError("the host sent a line without a message", code="upstream_bad_event")
        if line.done:
            self._finished(_last.decode(raw), out)

    def _begin(self, kind: ev.PartKind, out: list[Event]) -> None:
        self._close(out)
        self._part = self._parts
        self._parts += 1
        self._kind = kind
        out.append(ev.PartStarted(part=self._part, kind=kind))

    def _close(self, out: list[Event]) -> None:
        if self._part >= 0:
            out.append(ev.PartEnded(part=self._part))
            self._part = -1
            self._kind = ""

    def _text(self, kind: ev.PartKind, text: str, out: list[Event]) -> None:
        if self._kind != kind:
            self._begin(kind, out)
        out.append(Delta(part=self._part, text=text))

    def _call(self, call: _Call, out: list[Event]) -> None:
        function = call.function
        if function is None or not function.name:
            raise UpstreamError("the host sent a tool call that it never named", code="upstream_bad_tool_call")
        self._close(out)
        part = self._parts
        self._parts += 1
        self._called = True
        out.append(ev.PartStarted(part=part, kind="tool_call", name=function.name, call=call.id or f"call_{part}"))
        out.append(Delta(part=part, text=_arguments(function.arguments)))
        out.append(ev.PartEnded(part=part))

    def _finished(self, last: _Last, out: list[Event]) -> None:
        self._done = True
        self._close(out)
        if last.prompt_eval_count is not None or last.eval_count is not None:
            out.append(ev.Usage(counted_by="host", input=last.prompt_eval_count, output=last.eval_count))
        start = 0.0
        for name, field in SPANS:
            took = getattr(last, field)
            if took is not None and 0 <= took < 1e18:
                out.append(ev.Timing(span=Span(name, round(start, 3), round(took / 1e6, 3), "reported")))
                start += took / 1e6
        reason = REASONS.get(last.done_reason or "stop", "stop")  # load and unload: there was nothing to say
        out.append(ev.Finish(reason="tool_calls" if self._called and reason == "stop" else reason))


def _arguments(raw: msgspec.Raw) -> str:
    """The JSON text of an object, as the host wrote it; some proxies put the text into a string."""
    text = bytes(raw).strip()
    if text[:1] == b'"':
        return msgspec.json.decode(text, type=str) or "{}"
    return "{}" if text in (b"", b"null") else text.decode()


def _error(raw: Any) -> UpstreamError:
    """raw: text, or {"message"} of a host behind Ollama."""
    message = raw.get("message") if isinstance(raw, dict) else raw
    said = message if isinstance(message, str) and message else "no message"
    return UpstreamError(f"the host broke off with an error: {said[:200]}", code="upstream_error")
