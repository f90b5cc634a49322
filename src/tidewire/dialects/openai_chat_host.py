"""OpenAI Chat Completions, the side that faces hosts: the request we send and the chunks we read.

Quirks taken, each seen in recorded streams of public hosts: reasoning under `reasoning` or `reasoning_content`; content
as a list of parts (Mistral); errors inside a chunk or a line of their own, followed by [DONE] (vLLM) or not; chunks without
`object`; tool calls without index, or with an empty name in later fragments; usage in its own last chunk, in the finish chunk, or under `x_groq` there.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Event, Reason
from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import Request
from tidewire.core.sse import Frames
from tidewire.dialects.openai_messages import write_messages, write_tools
from tidewire.dialects.openai_models import read_models

_json = msgspec.json.encode

REASONS: Final[dict[str, Reason]] = {
    "stop": "stop",
    "end_turn": "stop",
    "eos": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class _Call(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    finish_reason: str | None = None
    index: int = 0


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None
    error: Any = None
    x_groq: dict[str, Any] | None = None


_chunk = msgspec.json.Decoder(_Chunk)


class ChatHost:
    """`core.ports.Speaker` for OpenAI-compatible hosts."""

    listing = "/models"

    def models(self, body: bytes) -> list[ModelInfo]:
        return read_models(body)

    def ask(self, request: Request, model: str) -> Question:
        options = request.options_for("openai_chat", "openai_responses", "ui_messages")
        body: dict[str, Any] = {**options, "model": model, "messages": write_messages(request.messages)}
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
        if request.max_tokens is not None:
            # newer OpenAI models take only the new name, other hosts only the old one: keep the client's
            name = "max_completion_tokens" if "max_completion_tokens" in options else "max_tokens"
            body[name] = request.max_tokens
        if request.temperature is not None:
            body["temperature"] = request.temperature
        if request.top_p is not None:
            body["top_p"] = request.top_p
        if request.stop:
            body["stop"] = request.stop
        if request.tools:
            body["tools"] = write_tools(request.tools)
        if request.tool_choice is not None:
            body["tool_choice"] = request.tool_choice
        if request.response_format is not None:
            body["response_format"] = request.response_format
        return Question(path="/chat/completions", body=_json(body))

    def decoder(self, request: Request) -> ChatDecoder:
        return ChatDecoder()


class ChatDecoder:
    """The bytes of one streamed answer as events, however they are cut. `core.ports.Decoder`."""

    __slots__ = ("_calls", "_done", "_finish", "_frames", "_kind", "_open_call", "_part", "_parts")

    def __init__(self) -> None:
        self._frames = Frames()
        self._part = -1  # the open text or thinking part, -1 when none
        self._kind = ""
        self._parts = 0
        self._calls: dict[str, int] = {}  # a tool call's index or id -> its part
        self._open_call = -1
        self._finish: Reason | None = None
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        decode = _chunk.decode
        try:
            for name, payload in self._frames.feed(data):
                if payload == b"[DONE]" and not self._done:
                    self._finished(out)
                if self._done:
                    break
                chunk = decode(payload)
                # the usual chunk, straight: more of the text that is open, and nothing else
                if (
                    len(chunk.choices) == 1
                    and (choice := chunk.choices[0]).finish_reason is None
                    and choice.index == 0
                    and (delta := choice.delta) is not None
                    and type(text := delta.content) is str
                    and text
                    and self._kind == "text"
                    and delta.tool_calls is None
                    and delta.reasoning is None
                    and delta.reasoning_content is None
                    and chunk.usage is None
                    and chunk.error is None
                    and not name
                ):
                    out.append(Delta(part=self._part, text=text))
                else:
                    self._chunk(name, payload, chunk, out)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            wrong = UpstreamError(
                f"the host sent an event that is not a chat chunk: {str(error)[:120]}", code="upstream_bad_event"
            )
            wrong.before = out
            raise wrong from None
        except UpstreamError as error:
            error.before = out  # what these bytes held before the error is part of the answer
            raise
        return out

    def _chunk(self, name: bytes, payload: bytes, chunk: _Chunk, out: list[Event]) -> None:
        if chunk.error or name == b"error":
            raise _error(chunk.error, payload)
        if chunk.choices and chunk.choices[0].index == 0:
            self._choice(chunk.choices[0], out)
        usage = chunk.usage
        if usage is None and chunk.x_groq is not None:
            usage = chunk.x_groq.get("usage")  # Groq's own place for it
        if isinstance(usage, dict):
            out.append(_usage(usage))

    def end(self) -> list[Event]:
        out: list[Event] = []
        if not self._done:
            if self._finish is None:
                raise UpstreamError(
                    "the host closed the answer before its end: no finish reason and no [DONE] came",
                    code="upstream_cut",
                )
            self._finished(out)  # some hosts leave [DONE] out; the finish reason says that all is there
        return out

    def _choice(self, choice: _Choice, out: list[Event]) -> None:
        delta = choice.delta
        if delta is not None:
            if thought := delta.reasoning_content or delta.reasoning:
                self._text("thinking", thought, out)
            content = delta.content
            if type(content) is str:
                if content:
                    self._text("text", content, out)
            elif content:
                self._list(content, out)
            if delta.refusal:
                self._text("text", delta.refusal, out)
            if delta.tool_calls:
                for call in delta.tool_calls:
                    self._call(call, out)
        if choice.finish_reason is not None:
            self._finish = REASONS.get(choice.finish_reason, "stop")
            if choice.finish_reason in ("error", "abort"):
                raise UpstreamError(
                    f"the host ended the answer with {choice.finish_reason!r}", code="upstream_" + choice.finish_reason
                )

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

    def _list(self, content: Any, out: list[Event]) -> None:
        """Content as parts: {type: text, text} or {type: thinking, thinking: [{text}]}."""
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, dict):
                continue
            if isinstance(part.get("text"), str) and part["text"]:
                self._text("text", part["text"], out)
            thinking = part.get("thinking")
            for piece in thinking if isinstance(thinking, list) else ():
                if isinstance(piece, dict) and isinstance(piece.get("text"), str) and piece["text"]:
                    self._text("thinking", piece["text"], out)

    def _call(self, call: _Call, out: list[Event]) -> None:
        part = self._find_call(call)
        function = call.function or _Function()
        if part is None:
            if not function.name:
                raise UpstreamError(
                    "the host sent arguments of a tool call that it never named", code="upstream_bad_tool_call"
                )
            self._close(out)
            part = self._parts
            self._parts += 1
            for key in _keys(call):
                self._calls[key] = part
            out.append(ev.PartStarted(part=part, kind="tool_call", name=function.name, call=call.id or f"call_{part}"))
        self._open_call = part
        arguments = function.arguments
        if arguments is not None and not isinstance(arguments, str):
            arguments = _json(arguments).decode()
        if arguments:
            out.append(Delta(part=part, text=arguments))

    def _find_call(self, call: _Call) -> int | None:
        """The part of a fragment: by id where it has one, else by index, else the call that is open."""
        if call.id:
            known = self._calls.get("id:" + call.id)
            if known is not None:
                return known
            if call.function is not None and call.function.name:
                return None  # a new id with a name is a new call, whatever its index says
        if call.index is not None:
            return self._calls.get(f"index:{call.index}")
        if call.function is not None and call.function.name:
            return None
        return self._open_call if self._open_call >= 0 else None

    def _finished(self, out: list[Event]) -> None:
        self._done = True
        self._close(out)
        out.extend(ev.PartEnded(part=part) for part in dict.fromkeys(self._calls.values()))
        if self._finish is None:
            raise UpstreamError("the host ended the answer without a finish reason", code="upstream_unfinished")
        out.append(ev.Finish(reason=self._finish))


def _keys(call: _Call) -> list[str]:
    keys = [f"index:{call.index}"] if call.index is not None else []
    return [*keys, "id:" + call.id] if call.id else keys


def _usage(raw: dict[str, Any]) -> ev.Usage:
    return ev.Usage(
        counted_by="host",
        input=_count(raw, "prompt_tokens"),
        output=_count(raw, "completion_tokens"),
        cached=_count(raw.get("prompt_tokens_details"), "cached_tokens"),
        reasoning=_count(raw.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(raw: Any, name: str) -> int | None:
    value = raw.get(name) if isinstance(raw, dict) else None
    return value if isinstance(value, int) else None


def _error(raw: Any, payload: bytes) -> UpstreamError:
    """raw: {"message", "code", ...}, or text, or None where the whole line is the error."""
    if isinstance(raw, dict):
        message = raw.get("message") or raw.get("code") or "no message"
    else:
        message = raw if isinstance(raw, str) else payload[:120].decode("utf-8", "replace")
    return UpstreamError(f"the host broke off with an error: {str(message)[:200]}", code="upstream_error")
