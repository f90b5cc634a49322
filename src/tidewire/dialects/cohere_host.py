"""Cohere's Chat API, version 2, the side that faces the host: the request we send.

Source: docs.cohere.com, "Chat", and the types of the official Python SDK.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.core.errors import UpstreamError
from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import Request, Tool
from tidewire.dialects.body import unsupported
from tidewire.dialects.cohere_decoder import CohereDecoder
from tidewire.dialects.cohere_messages import write_messages, write_tools

_json = msgspec.json.encode

SHARED: Final = ("seed", "frequency_penalty", "presence_penalty")  # Cohere and OpenAI mean the same by these


class _Listing(msgspec.Struct):
    class Row(msgspec.Struct):
        name: str

    models: list[Row]


class CohereHost:
    """`core.ports.Speaker` for Cohere's own API and what speaks it."""

    listing = "/v1/models?endpoint=chat&page_size=1000"

    def models(self, body: bytes) -> list[ModelInfo]:
        try:
            rows = msgspec.json.decode(body, type=_Listing).models
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise UpstreamError("the host's list of models is not one", code="upstream_not_json") from None
        return [ModelInfo(id=row.name, provider="") for row in rows]

    def ask(self, request: Request, model: str) -> Question:
        if request.n != 1:
            raise unsupported(f"n is {request.n}; Cohere gives one answer a request: send n requests", "n")
        if request.logprobs:
            raise unsupported(
                "Cohere tells the log probability of what it says and of no alternatives; ask for 0", "logprobs"
            )
        body: dict[str, Any] = {k: v for k, v in request.options.items() if k in SHARED}
        body |= request.options_for("cohere")
        body |= {"model": model, "messages": write_messages(request.messages), "stream": True}
        tools, choice = _choice(request)
        if tools:
            body["tools"] = write_tools(tools)
            if any(tool.strict for tool in tools):
                body["strict_tools"] = True
        given = {
            "tool_choice": choice,
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "p": request.top_p,
            "stop_sequences": request.stop or None,
            "response_format": _format(request.response_format),
            "thinking": _thinking(request),
            "logprobs": None if request.logprobs is None else True,
        }
        body |= {name: value for name, value in given.items() if value is not None}
        return Question(path="/v2/chat", body=_json(body))

    def decoder(self, request: Request) -> CohereDecoder:
        return CohereDecoder()


def _choice(request: Request) -> tuple[list[Tool], str | None]:
    """The tools and how they are to be used. One tool that must be called is the only one that is sent."""
    choice = request.tool_choice
    if choice is None or choice == "auto":
        return request.tools, None
    if choice in ("none", "required"):
        return request.tools, choice.upper() if request.tools else None
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    only = [tool for tool in request.tools if tool.name == name]
    if not only:
        raise unsupported(
            "tool_choice names no tool of this request; it may be auto, none, required or one tool", "tool_choice"
        )
    return only, "REQUIRED"


def _format(given: dict[str, Any] | None) -> dict[str, Any] | None:
    kind = (given or {}).get("type", "text")
    if given is None or kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    named = given.get("json_schema")
    schema = named.get("schema") if isinstance(named, dict) else None
    if kind != "json_schema" or not isinstance(schema, dict):
        raise unsupported("response_format may be text, json_object, or json_schema with a schema", "response_format")
    return {"type": "json_object", "json_schema": schema}


def _thinking(request: Request) -> dict[str, Any] | None:
    """Cohere knows on, off and a budget; a level of effort says on."""
    asked = request.thinking
    if asked is None:
        return None
    if asked.effort == "none" or asked.budget == 0:
        return {"type": "disabled"}
    if asked.budget is not None:
        return {"type": "enabled", "token_budget": asked.budget}
    return None if asked.effort is None and request.dialect != "cohere" else {"type": "enabled"}
