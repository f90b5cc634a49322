"""Google's Gemini API and Vertex AI, the side that faces hosts: the request we send. What comes back is read by gemini_decoder.py.

Source: the reference of the Gemini API, "models.generateContent", that of Vertex AI, and the types of Google's Python SDK.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec

from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import Request, Thinking
from tidewire.dialects.gemini_decoder import GeminiDecoder
from tidewire.dialects.gemini_messages import generation, write_contents, write_system
from tidewire.dialects.gemini_schema import write_choice, write_tools

STOPS: Final = 5  # stop sequences that Gemini takes; the server itself keeps the others
LOGPROBS: Final = 20
# Tokens for an effort, for models that count tokens: what Google's own OpenAI-compatible route takes.
BUDGETS: Final = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
LEVELS: Final = {
    "none": "minimal",  # the least that these models know
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


class _Row(msgspec.Struct):
    name: str
    supportedGenerationMethods: list[str] | None = None  # noqa: N815 - Google's name


class _Listing(msgspec.Struct):
    models: list[_Row] = []
    publisherModels: list[_Row] = []  # noqa: N815


class GeminiHost:
    """`core.ports.Speaker` for the Gemini API."""

    listing = "/v1beta/models?pageSize=1000"

    def ask(self, request: Request, model: str) -> Question:
        return Question(path=self.path(model), body=msgspec.json.encode(write_request(request, model)))

    def path(self, model: str) -> str:
        """model: a name, or a resource such as tunedModels/x."""
        resource = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
        return f"/v1beta/{quote(resource)}:streamGenerateContent?alt=sse"

    def decoder(self, request: Request) -> GeminiDecoder:
        return GeminiDecoder(request.n)

    def models(self, body: bytes) -> list[ModelInfo]:
        """Of what is listed, the models that generate content."""
        try:
            listing = msgspec.json.decode(body, type=_Listing)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamError("the host's list of models is not one", code="upstream_not_json") from None
        return [
            ModelInfo(id=row.name.removeprefix("publishers/google/").removeprefix("models/"), provider="")
            for row in (*listing.models, *listing.publisherModels)
            if row.supportedGenerationMethods is None or "generateContent" in row.supportedGenerationMethods
        ]


class VertexHost(GeminiHost):
    """`core.ports.Speaker` for Vertex AI: another path, the same words. location: "global", or the region of the base URL."""

    listing = "/v1beta1/publishers/google/models?pageSize=300"

    def __init__(self, project: str, location: str) -> None:
        self._place = f"/v1/projects/{quote(project, safe='')}/locations/{quote(location, safe='')}"

    def path(self, model: str) -> str:
        """model: a name of Google's, or publishers/x/models/y, or endpoints/n for a tuned one."""
        resource = model if model.startswith(("publishers/", "endpoints/")) else f"publishers/google/models/{model}"
        return f"{self._place}/{quote(resource)}:streamGenerateContent?alt=sse"


def write_request(request: Request, model: str) -> dict[str, Any]:
    """The body. Raises BadRequest for what Gemini cannot be asked.

    Left out, for Gemini has no word for it: names of messages, how closely to look at an image, `strict` of a tool, thoughts that no
    signature proves.
    """
    options = dict(request.options_for("gemini"))
    more_config, more_tools, more_choice = (
        _option(options, name, kind)
        for name, kind in (("generationConfig", dict), ("tools", list), ("toolConfig", dict))
    )
    number = generation(model)
    body: dict[str, Any] = options
    body["contents"] = write_contents(request.messages, fill=number is not None and number >= 3)
    if (system := write_system(request.messages)) is not None:
        body["systemInstruction"] = system
    if tools := [*([write_tools(request.tools)] if request.tools else []), *more_tools]:
        body["tools"] = tools
    choice = dict(more_choice)
    if request.tool_choice is not None:
        calling = choice.get("functionCallingConfig")
        choice["functionCallingConfig"] = (calling if isinstance(calling, dict) else {}) | write_choice(
            request.tool_choice
        )
    if choice:
        body["toolConfig"] = choice
    if config := _config(request, number, more_config):
        body["generationConfig"] = config
    return body


def _option(options: dict[str, Any], name: str, kind: type) -> Any:
    value = options.pop(name, None)
    if value is not None and not isinstance(value, kind):
        raise BadRequest(f"options.{name} is not {'a list' if kind is list else 'an object'}", param=f"options.{name}")
    return value or kind()


def _config(request: Request, number: int | None, more: dict[str, Any]) -> dict[str, Any]:
    given = {
        "maxOutputTokens": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": request.stop[:STOPS] or None,
        "candidateCount": request.n if request.n > 1 else None,
    }
    config = more | {name: value for name, value in given.items() if value is not None}
    if request.logprobs is not None:
        if request.logprobs > LOGPROBS:
            raise BadRequest(
                f"{request.logprobs} log probabilities a token are more than the {LOGPROBS} that Gemini gives; ask for fewer",
                param="logprobs",
                code="unsupported_value",
            )
        config["responseLogprobs"] = True
        if request.logprobs:
            config["logprobs"] = request.logprobs
    if request.response_format is not None:
        config |= _format(request.response_format)
    if request.thinking is not None:
        own = config.get("thinkingConfig")
        config["thinkingConfig"] = (own if isinstance(own, dict) else {}) | _thinking(request.thinking, number)
    return config


def _format(asked: dict[str, Any]) -> dict[str, Any]:
    kind = asked.get("type")
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"responseMimeType": "application/json"}
    named = asked.get("json_schema")
    if kind == "json_schema" and isinstance(named, dict):
        schema = named.get("schema")
        return {"responseMimeType": "application/json"} | ({"responseJsonSchema": schema} if schema is not None else {})
    raise BadRequest(
        f"response_format.type is {str(kind)[:40]!r}; Gemini knows text, json_object and json_schema",
        param="response_format",
        code="unsupported_value",
    )


def _thinking(asked: Thinking, number: int | None) -> dict[str, Any]:
    """Models before Gemini 3 count tokens; it and later ones know levels, and so do names without a number, which mean the newest."""
    off = asked.budget == 0 or (asked.budget is None and asked.effort == "none")
    config: dict[str, Any] = {"includeThoughts": asked.show and not off}
    if asked.budget is not None:
        config["thinkingBudget"] = asked.budget
    elif asked.effort is not None:
        if asked.effort not in LEVELS:
            raise BadRequest(
                f"the effort of thinking is {asked.effort[:40]!r}; it may be {', '.join(LEVELS)}",
                param="thinking.effort",
                code="unsupported_value",
            )
        if number is not None and number < 3:
            config["thinkingBudget"] = BUDGETS[asked.effort]
        else:
            config["thinkingLevel"] = LEVELS[asked.effort]
    return config
