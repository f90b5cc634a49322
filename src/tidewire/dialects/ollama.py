"""Ollama's API, the side that faces clients: `POST /api/chat` and `POST /api/generate` become a request.

Source: Ollama's API reference and OpenAPI document, and the types of the official Python SDK. Streams unless told otherwise.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.core.events import ErrorInfo
from tidewire.core.ports import Meta
from tidewire.core.request import CANCEL, DisconnectPolicy, Message, Request, Text, Thinking, Tool
from tidewire.dialects import body, policy
from tidewire.dialects.body import unsupported
from tidewire.dialects.ollama_lines import OllamaAnswer, OllamaLines
from tidewire.dialects.ollama_messages import read_images, read_messages, read_tools

_json = msgspec.json.encode

Form = Literal["chat", "generate"]


class _Asked(msgspec.Struct):
    """What both routes take."""

    model: str
    stream: bool | None = None
    format: str | dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    time_limit: float | None = None


class _Chat(_Asked):
    messages: list[Any] | None = None
    tools: list[Any] | None = None


class _Generate(_Asked):
    prompt: str | None = None
    system: str | None = None
    images: list[Any] | None = None
    suffix: str | None = None
    template: str | None = None
    context: list[int] | None = None
    raw: bool | None = None


class Ollama:
    """One of two forms, which differ in how they ask and in the name of the field that the text comes in."""

    name = "ollama"
    projection = "ollama/1"
    resumes = False
    media_type = "application/x-ndjson"

    def __init__(self, form: Form = "chat", on_disconnect: DisconnectPolicy = CANCEL) -> None:
        self.form = form
        self._on_disconnect = on_disconnect

    def parse(self, raw: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        given: _Chat | _Generate
        given, plain = body.read(raw, _Chat if self.form == "chat" else _Generate)
        if not given.model:
            raise BadRequest("model is empty; GET /api/tags lists what is on offer", param="model")
        if given.time_limit is not None and not given.time_limit > 0:
            raise BadRequest(f"time_limit is {given.time_limit:g} s; it must be more than 0", param="time_limit")
        messages, tools = _chat(given) if isinstance(given, _Chat) else (_generate(given), [])
        options, limits = _options(given.options or {})
        rest = body.rest(plain, frozenset(given.__struct_fields__))
        request = Request(
            model=given.model,
            messages=messages,
            dialect=self.name,
            tools=tools,
            **limits,
            response_format=_format(given.format),
            time_limit=given.time_limit,
            on_disconnect=policy.asked(headers, self._on_disconnect),
            logprobs=max(0, given.top_logprobs or 0) if given.logprobs else None,
            thinking=_think(given.think),
            options=rest | ({"options": options} if options else {}),
            record={"form": self.form},
        )
        return request, given.stream is not False

    def headers(self, meta: Meta) -> list[tuple[str, str]]:
        return []

    def origin(self, after: int) -> int:
        return 0

    def stream(self, meta: Meta, after: int = 0) -> OllamaLines:
        return OllamaLines(meta)

    def whole(self, meta: Meta) -> OllamaAnswer:
        return OllamaAnswer(meta)

    def error(self, info: ErrorInfo) -> bytes:
        return _json({"error": info.message})


def _chat(given: _Chat) -> tuple[list[Message], list[Tool]]:
    return read_messages(given.messages or ()), read_tools(given.tools or ())


def _generate(given: _Generate) -> list[Message]:
    for name in ("suffix", "template", "context"):
        if getattr(given, name):
            raise unsupported(f"{name} is for a model that this server itself runs; leave it out", name)
    if given.raw:
        raise unsupported("raw prompts are not served here; send the prompt without raw", "raw")
    images = read_images(given.images, "images")
    if not given.prompt and not images:
        raise BadRequest("prompt is empty; send the text to answer", param="prompt")
    system = [Message("system", [Text(given.system)])] if given.system else []
    return [*system, Message("user", [Text(given.prompt or ""), *images])]


def _options(given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What goes to an Ollama host as it is, and what every host understands, by the names of Request."""
    options = {k: v for k, v in given.items() if v is not None}
    limits: dict[str, Any] = {}
    if _number(options, "num_predict") is not None and options["num_predict"] > 0:  # -1 and -2: no limit
        limits["max_tokens"] = int(options.pop("num_predict"))
    for name in ("temperature", "top_p"):
        if _number(options, name) is not None:
            limits[name] = float(options.pop(name))
    stop = options.pop("stop", None)
    if stop is not None:
        limits["stop"] = [stop] if isinstance(stop, str) else stop
        if not isinstance(limits["stop"], list) or not all(isinstance(s, str) for s in limits["stop"]):
            raise BadRequest("options.stop is neither text nor a list of texts", param="options.stop")
    return options, limits


def _number(options: dict[str, Any], name: str) -> Any:
    value = options.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise BadRequest(f"options.{name} is {str(value)[:40]!r}; it must be a number", param=f"options.{name}")
    return value


def _format(given: str | dict[str, Any] | None) -> dict[str, Any] | None:
    if not given:
        return None
    if isinstance(given, dict):
        return {"type": "json_schema", "json_schema": {"name": "answer", "schema": given}}
    if given != "json":
        raise BadRequest(f"format is {given[:40]!r}; it may be json or a JSON schema", param="format")
    return {"type": "json_object"}


def _think(given: bool | str | None) -> Thinking | None:  # noqa: FBT001 - the protocol's own type
    if given is None or given == "":
        return None
    if isinstance(given, str):
        return Thinking(effort=given)
    return Thinking() if given else Thinking(effort="none")
