"""Hugging Face's Text Generation Inference, its own API: what we send, what it streams. For its chat API there is the OpenAI shape.

Source: the API reference of TGI 3, and its types in huggingface_hub. One event a token; the last one has `generated_text` and, where they
are asked for, `details`. Times are reported only for answers that are not streamed.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.events import Delta, Event, Reason
from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import Request
from tidewire.core.sse import Frames
from tidewire.dialects.plain_prompt import plain

REASONS: Final[dict[str, Reason]] = {"length": "length", "eos_token": "stop", "stop_sequence": "stop_string"}
MOST: Final = 5  # alternatives a token that a TGI server gives, unless it was started with another limit


class _Token(msgspec.Struct, gc=False):
    text: str = ""
    special: bool = False
    logprob: float | None = None


class _Details(msgspec.Struct, gc=False):
    finish_reason: str | None = None
    generated_tokens: int | None = None
    input_length: int | None = None


class _Event(msgspec.Struct, gc=False):
    token: _Token | None = None
    generated_text: str | None = None
    details: _Details | None = None
    error: Any = None
    error_type: Any = None
    top_tokens: list[_Token] | None = None


class _Info(msgspec.Struct):
    model_id: str


_event: Final = msgspec.json.Decoder(_Event)
_json = msgspec.json.encode


class TGIHost:
    """`core.ports.Speaker`. A server has one model; its name is not asked for."""

    listing = "/info"

    def ask(self, request: Request, model: str) -> Question:
        parameters: dict[str, Any] = {**request.options_for("tgi"), "details": True}
        if request.max_tokens is not None:
            parameters["max_new_tokens"] = request.max_tokens
        if request.temperature:  # 0 is refused there: it is what happens without one
            parameters["temperature"] = request.temperature
        if request.top_p is not None and 0 < request.top_p < 1:  # 1 is refused there, and means the same as none
            parameters["top_p"] = request.top_p
        if request.stop:
            parameters["stop"] = request.stop
        if request.logprobs:
            if request.logprobs > MOST:
                raise BadRequest(
                    f"logprobs is {request.logprobs}; this host gives up to {MOST} alternatives a token",
                    code="unsupported_value",
                    param="logprobs",
                )
            parameters["top_n_tokens"] = request.logprobs
        if (grammar := _grammar(request.response_format)) is not None:
            parameters["grammar"] = grammar
        text = plain(request, json=True, logprobs=True)
        return Question(path="/generate_stream", body=_json({"inputs": text, "parameters": parameters}))

    def decoder(self, request: Request) -> TGIDecoder:
        return TGIDecoder(logprobs=request.logprobs is not None)

    def models(self, body: bytes) -> list[ModelInfo]:
        try:
            return [ModelInfo(id=msgspec.json.decode(body, type=_Info).model_id, provider="")]
        except (msgspec.DecodeError, RecursionError):
            raise UpstreamError(
                "the host says nothing of its model that can be read", code="upstream_bad_event"
            ) from None


def _grammar(wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    kind = (wanted or {}).get("type", "text")
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json", "value": {"type": "object"}}
    held = (wanted or {}).get("json_schema")
    schema = held.get("schema") if isinstance(held, dict) else None
    if kind != "json_schema" or not isinstance(schema, dict):
        raise BadRequest(
            "response_format may be text, json_object or json_schema with a schema",
            code="unsupported_value",
            param="response_format",
        )
    return {"type": "json", "value": schema}


class TGIDecoder:
    """The bytes of one streamed answer as events, however they are cut. `core.ports.Decoder`."""

    __slots__ = ("_begun", "_done", "_frames", "_logprobs")

    def __init__(self, *, logprobs: bool = False) -> None:
        self._frames = Frames()
        self._begun = False
        self._done = False
        self._logprobs = logprobs

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        if self._done:
            return out
        try:
            for _, payload in self._frames.feed(data):
                event = _event.decode(payload)
                token = event.token
                if token is not None and token.text and not token.special:
                    if not self._begun:
                        self._begun = True
                        out.append(ev.PartStarted(part=0, kind="text"))
                    out.append(Delta(part=0, text=token.text))
                    if self._logprobs and token.logprob is not None:
                        out.append(_logprobs(token, event.top_tokens))
                if event.generated_text is not None or event.error is not None:
                    self._last(event, out)
                    break
                if token is None:
                    raise UpstreamError("the host sent an event without a token", code="upstream_bad_event")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            wrong = UpstreamError(
                f"the host sent an event that is not a token: {str(error)[:120]}", code="upstream_bad_event"
            )
            raise self._failed(wrong, out) from None
        except UpstreamError as error:
            raise self._failed(error, out) from None
        return out

    def end(self) -> list[Event]:
        if self._done:
            return []
        self._done = True
        raise UpstreamError("the host closed the answer before its end: no generated_text came", code="upstream_cut")

    def _last(self, event: _Event, out: list[Event]) -> None:
        self._done = True
        if event.error is not None:
            said = event.error if isinstance(event.error, str) else "no message"
            raise UpstreamError(f"the host broke off with an error: {said[:200]}", code="upstream_error")
        if self._begun:
            out.append(ev.PartEnded(part=0))
        details = event.details or _Details()
        if details.generated_tokens is not None:
            out.append(ev.Usage(counted_by="host", input=details.input_length, output=details.generated_tokens))
        out.append(ev.Finish(reason=REASONS.get(details.finish_reason or "", "stop")))

    def _failed(self, error: UpstreamError, out: list[Event]) -> UpstreamError:
        self._done = True
        error.before = out
        return error


def _logprobs(token: _Token, others: list[_Token] | None) -> ev.Logprobs:
    top = [_as_openai(t) for t in others or ()]
    return ev.Logprobs(part=0, content=[_as_openai(token) | {"top_logprobs": top}])


def _as_openai(token: _Token) -> dict[str, Any]:
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.text.encode())}
