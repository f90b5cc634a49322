"""A Gemini host's chunks, each field as far as it is read; what its finish reasons, counts and errors mean.

Source: the reference of the Gemini API and of Vertex AI, "GenerateContentResponse", and the types of Google's Python SDK.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError

NONE: Final = msgspec.Raw(b"")

FILTERED: Final = frozenset(
    {
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
        "MODEL_ARMOR",
    }
)
BROKEN: Final = frozenset(
    {
        "OTHER",
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
        "IMAGE_OTHER",
        "NO_IMAGE",
    }
)
PASSING: Final = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "ABORTED", "UNKNOWN"})


class Argument(msgspec.Struct, gc=False, rename="camel"):
    json_path: str = ""
    string_value: str | None = None
    number_value: int | float | None = None
    bool_value: bool | None = None
    will_continue: bool | None = None


class Call(msgspec.Struct, gc=False, rename="camel"):
    id: str | None = None
    name: str | None = None
    args: msgspec.Raw = NONE
    partial_args: list[Argument] | None = None
    will_continue: bool | None = None


class Data(msgspec.Struct, gc=False, rename="camel"):
    data: bytes
    mime_type: str = ""


class Part(msgspec.Struct, gc=False, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: Call | None = None
    inline_data: Data | None = None


class Content(msgspec.Struct, gc=False):
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, gc=False, rename="camel"):
    content: Content | None = None
    finish_reason: str | None = None
    finish_message: str | None = None
    index: int | None = None
    grounding_metadata: msgspec.Raw = NONE
    citation_metadata: msgspec.Raw = NONE
    logprobs_result: msgspec.Raw = NONE


class Chunk(msgspec.Struct, gc=False, rename="camel"):
    candidates: list[Candidate] | None = None
    usage_metadata: msgspec.Raw = NONE
    prompt_feedback: dict[str, Any] | None = None
    response_id: str | None = None
    error: Any = None


chunk: Final = msgspec.json.Decoder(Chunk)
anything: Final = msgspec.json.Decoder()


def value(one: Argument) -> Any:
    for given in (one.string_value, one.number_value, one.bool_value):
        if given is not None:
            return given
    return None


def usage(raw: bytes) -> ev.Usage | None:
    """The last count. Google counts thoughts beside the answer, and what its own tools fetched beside the prompt."""
    try:
        said = anything.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None

    def count(*names: str) -> int | None:
        known = [n for name in names if type(n := said.get(name)) is int]
        return sum(known) if known else None

    return ev.Usage(
        counted_by="host",
        input=count("promptTokenCount", "toolUsePromptTokenCount"),
        output=count("candidatesTokenCount", "thoughtsTokenCount"),
        cached=count("cachedContentTokenCount"),
        reasoning=count("thoughtsTokenCount"),
    )


def error(raw: Any) -> UpstreamError:
    """raw: {"code", "message", "status"}."""
    said = raw if isinstance(raw, dict) else {}
    message = said.get("message") or said.get("status") or "no message"
    broke = UpstreamError(f"the host broke off with an error: {str(message)[:200]}", code="upstream_error")
    status = said.get("status")
    broke.retryable = (isinstance(status, str) and status in PASSING) or said.get("code") in (429, 500, 503, 504)
    return broke
