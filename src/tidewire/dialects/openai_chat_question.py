"""A request as the body of a Chat Completions call, within what the host at hand takes."""

from __future__ import annotations

from typing import Any

from tidewire.core.request import Request
from tidewire.dialects.body import unsupported
from tidewire.dialects.openai_messages import write_messages, write_tools
from tidewire.dialects.openai_quirks import HINTS, PLAIN, Quirks


def write_body(request: Request, model: str, quirks: Quirks = PLAIN) -> dict[str, Any]:
    """Raises BadRequest, code unsupported_value, for what this host refuses."""
    options = request.options_for("openai_chat", "openai_responses", "ui_messages")
    body: dict[str, Any] = {_renamed(name, quirks): value for name, value in options.items()}
    newer = body.pop("max_completion_tokens", None) is not None
    body |= {"model": model, "messages": write_messages(request.messages, quirks.thoughts), "stream": True}
    if quirks.stream_options:
        body["stream_options"] = quirks.stream_options
    if request.max_tokens is not None:
        # newer OpenAI models take only the new name, other hosts only the old one: keep the client's where the host has no wish
        body[quirks.limit or ("max_completion_tokens" if newer else "max_tokens")] = request.max_tokens
    for name, value in (("temperature", request.temperature), ("top_p", request.top_p)):
        if value is not None:
            body[name] = value
    if request.stop:
        body["stop"] = request.stop
    if request.n != 1:
        body["n"] = request.n
    if request.logprobs is not None:
        body["logprobs"] = True
        if request.logprobs:
            body["top_logprobs"] = request.logprobs
    if request.tools:
        body["tools"] = write_tools(request.tools)
    choice = request.tool_choice if request.tool_choice is not None or not request.tools else quirks.choose
    if choice is not None:
        body["tool_choice"] = choice
    if request.response_format is not None:
        body["response_format"] = request.response_format
    body |= _effort(request, quirks) | quirks.always
    if request.prefill and quirks.prefill is not None:
        body |= quirks.prefill
    _check(body, request, quirks)
    if quirks.known is not None:
        return {name: value for name, value in body.items() if name in quirks.known}
    return body


def _renamed(name: str, quirks: Quirks) -> str:
    return quirks.renamed.get(name, name)


def _effort(request: Request, quirks: Quirks) -> dict[str, Any]:
    """How much to think. A budget in tokens has no word here but OpenRouter's: the model keeps its own measure."""
    thinking = request.thinking
    if thinking is None:
        return {}
    if quirks.effort == "reasoning_effort":
        return {} if thinking.effort is None else {"reasoning_effort": thinking.effort}
    said: dict[str, Any] = (
        {"effort": thinking.effort} if thinking.effort is not None else {"max_tokens": thinking.budget}
    )
    if not thinking.show:
        said["exclude"] = True
    return {"reasoning": {name: value for name, value in said.items() if value is not None}}


def _check(body: dict[str, Any], request: Request, quirks: Quirks) -> None:
    refused = quirks.refused
    for name in body:
        if name in refused or (quirks.known is not None and name not in quirks.known and name not in HINTS):
            raise unsupported(f"this host takes no {name}; leave it out, or choose another host", name)
    kind = (request.response_format or {}).get("type")
    if kind == "json_schema" and "json_schema" in refused:
        raise unsupported(
            "this host keeps to no schema; send response_format json_object and say in the prompt what to write",
            "response_format",
        )
    if "name" in refused and any(m.name is not None for m in request.messages):
        raise unsupported("this host takes no name in a message; say who speaks in its text", "messages")
