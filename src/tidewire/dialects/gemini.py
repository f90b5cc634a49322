"""Google's Gemini API, the side that faces clients: streamGenerateContent, generateContent and countTokens.

Source: the reference of the Gemini API, v1beta, and the types of Google's Python SDK.
"""

from __future__ import annotations

from typing import Any, Final, Self

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.core.events import ErrorInfo
from tidewire.core.ports import Meta
from tidewire.core.request import (
    CANCEL,
    Audio,
    DisconnectPolicy,
    File,
    Image,
    Message,
    Request,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from tidewire.dialects import body, policy
from tidewire.dialects.gemini_chunks import Chunks, Form, Whole
from tidewire.dialects.gemini_contents import read_contents, read_system
from tidewire.dialects.gemini_errors import error_object
from tidewire.dialects.gemini_schema import fields, json_schema, listed, read_choice, read_tools

_json = msgspec.json.encode

CHOICES: Final = 8  # Gemini's own limit
MEDIA: Final = 258  # tokens that Google counts for an image, and for a page of a document
_MEDIA_TYPES: Final = {"sse": "text/event-stream", "array": "application/json", "whole": "application/json"}


class _Config(msgspec.Struct, rename="camel"):
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] = []
    candidate_count: int = 1
    response_mime_type: str | None = None
    response_schema: Any = None
    response_json_schema: Any = None
    response_logprobs: bool = False
    logprobs: int | None = None
    thinking_config: dict[str, Any] | None = None


class Gemini:
    """The dialect. A request names its model, and the form of its answer, in its address: `at` gives the dialect of one address."""

    name = "gemini"
    projection = "gemini/1"
    resumes = False

    def __init__(self, on_disconnect: DisconnectPolicy = CANCEL, model: str = "", form: Form = "sse") -> None:
        self._on_disconnect = on_disconnect
        self._model = model
        self._form: Form = form
        self.media_type = _MEDIA_TYPES[form]

    def at(self, model: str, form: Form) -> Self:
        return type(self)(self._on_disconnect, model, form)

    def parse(self, raw: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        given = fields(body.read(raw, dict)[1], "the body")
        return self._request(given, headers), self._form != "whole"

    def count(self, raw: bytes, headers: dict[str, str]) -> int:
        """Tokens of a countTokens request, estimated: see `estimated`. Raises BadRequest."""
        given = fields(body.read(raw, dict)[1], "the body")
        inside = given.get("generateContentRequest")
        request = self._request(given if inside is None else fields(inside, "generateContentRequest"), headers)
        return estimated(request.messages, request.tools)

    def _request(self, given: dict[str, Any], headers: dict[str, str]) -> Request:
        given.pop("model", None)  # the address says it
        messages = read_system(given.pop("systemInstruction")) if "systemInstruction" in given else []
        messages += read_contents(given.pop("contents", []))
        tools, others = read_tools(listed(given.pop("tools", []), "tools"))
        choosing = fields(given.pop("toolConfig", {}), "toolConfig")
        config, more = _config(given.pop("generationConfig", {}))
        options = given
        request = Request(
            model=self._model,
            messages=messages,
            dialect=self.name,
            tools=tools,
            max_tokens=config.max_output_tokens,
            temperature=config.temperature,
            top_p=config.top_p,
            stop=config.stop_sequences,
            on_disconnect=policy.asked(headers, self._on_disconnect),
            n=config.candidate_count,
            options=options,
        )
        if "functionCallingConfig" in choosing:
            at = "toolConfig.functionCallingConfig"
            calling = fields(choosing.pop("functionCallingConfig"), at)
            request.tool_choice = read_choice(calling, at)
            if "streamFunctionCallArguments" in calling:
                stream = calling["streamFunctionCallArguments"]
                choosing["functionCallingConfig"] = {"streamFunctionCallArguments": stream}
        request.response_format = _format(config, more)
        if config.response_logprobs:
            request.logprobs = config.logprobs or 0
        if config.thinking_config is not None:
            request.thinking = _thinking(config.thinking_config, more)
        for name, value in (("tools", others), ("toolConfig", choosing), ("generationConfig", more)):
            if value:
                options[name] = value
        return request

    def headers(self, meta: Meta) -> list[tuple[str, str]]:
        return []

    def origin(self, after: int) -> int:
        return 0

    def stream(self, meta: Meta, after: int = 0) -> Chunks:
        return Chunks(meta, self._form)

    def whole(self, meta: Meta) -> Whole:
        return Whole(meta)

    def error(self, info: ErrorInfo) -> bytes:
        return _json({"error": error_object(info)})


def _config(raw: Any) -> tuple[_Config, dict[str, Any]]:
    """What is known here of generationConfig, and the rest of it."""
    given = fields(raw, "generationConfig")
    try:
        config = msgspec.convert(given, _Config)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        param = f"generationConfig{path.rstrip('`')}"
        raise BadRequest(f"{param}: {message[0].lower()}{message[1:]}", param=param, code="invalid_value") from None
    for name, value, least, most in (
        ("maxOutputTokens", config.max_output_tokens, 1, 1 << 31),
        ("candidateCount", config.candidate_count, 1, CHOICES),
        ("logprobs", config.logprobs, 0, 20),
    ):
        if value is not None and not least <= value <= most:
            param = f"generationConfig.{name}"
            raise BadRequest(f"{param} is {value}; it may be {least} to {most}", param=param, code="invalid_value")
    known = {field.encode_name for field in msgspec.structs.fields(_Config)}
    return config, {name: value for name, value in given.items() if name not in known}


def _format(config: _Config, more: dict[str, Any]) -> dict[str, Any] | None:
    """more: where a type that is Google's own is put, with its schema."""
    mime = config.response_mime_type
    if mime not in (None, "application/json"):
        if mime != "text/plain":
            more["responseMimeType"] = mime
            more |= {} if config.response_schema is None else {"responseSchema": config.response_schema}
        return None
    schema = config.response_json_schema
    if schema is None and config.response_schema is not None:
        schema = json_schema(config.response_schema, "generationConfig.responseSchema")
    if schema is not None:
        return {"type": "json_schema", "json_schema": {"name": "response", "schema": schema, "strict": True}}
    return {"type": "json_object"} if mime else None


def _thinking(raw: dict[str, Any], more: dict[str, Any]) -> Thinking:
    at = "generationConfig.thinkingConfig"
    given = fields(raw, at)
    budget, level = given.get("thinkingBudget"), given.get("thinkingLevel")
    if not (budget is None or type(budget) is int) or not (level is None or isinstance(level, str)):
        raise BadRequest(f"{at} needs a thinkingBudget in tokens or a thinkingLevel", param=at, code="invalid_value")
    if budget == -1:  # as much as the model likes: only Google has a number for it
        more["thinkingConfig"] = {"thinkingBudget": -1}
        budget = None
    effort = level.lower() if level and level.upper() != "THINKING_LEVEL_UNSPECIFIED" else None
    if budget == 0:
        effort = "none"
    return Thinking(effort=effort, budget=budget, show=given.get("includeThoughts") is True)


def estimated(messages: list[Message], tools: list[Tool]) -> int:
    """Tokens of a prompt, guessed without the model: one for four bytes of text, which is the rule of thumb in Google's own
    documentation, and its figure for an image for each medium, however long.
    """
    size = sum(len(_json(tool)) for tool in tools)
    media = 0
    for message in messages:
        for content in message.content:
            match content:
                case Text(text=text) | Thought(text=text):
                    size += len(text.encode("utf-8", "replace"))
                case ToolCall(name=name, arguments=arguments):
                    size += len(name) + len(arguments.encode("utf-8", "replace"))
                case ToolResult(text=text, images=images):
                    size += len(text.encode("utf-8", "replace"))
                    media += len(images)
                case Image() | File() | Audio():
                    media += 1
    return -(-size // 4) + media * MEDIA
