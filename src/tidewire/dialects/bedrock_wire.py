"""What passes over the wire of Bedrock's streams: the shapes of its events, their meaning in our words, and its exceptions. Pure data.

Source: the service model of Bedrock Runtime in botocore.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.dialects.aws_eventstream import Headers

# What Bedrock calls the errors inside a stream: the HTTP status of each, and whether asking again may help.
EXCEPTIONS: Final = {
    "internalServerException": (500, True),
    "modelStreamErrorException": (424, True),
    "validationException": (400, False),
    "throttlingException": (429, True),
    "modelTimeoutException": (408, True),
    "serviceUnavailableException": (503, True),
}
_AS_IS: Final = frozenset({400, 429})  # the statuses of these that are a client's business too

_json = msgspec.json.encode


class ToolUse(msgspec.Struct, gc=False, rename="camel"):
    tool_use_id: str | None = None
    name: str | None = None
    input: Any = None


class Reasoning(msgspec.Struct, gc=False, rename="camel"):
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class Image(msgspec.Struct, gc=False, rename="camel"):
    format: str | None = None
    source: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class BlockDelta(msgspec.Struct, gc=False, rename="camel"):
    text: str | None = None
    tool_use: ToolUse | None = None
    reasoning_content: Reasoning | None = None
    citation: dict[str, Any] | None = None
    image: Image | None = None
    tool_result: list[dict[str, Any]] | None = None


class Start(msgspec.Struct, gc=False, rename="camel"):
    tool_use: ToolUse | None = None
    tool_result: ToolUse | None = None
    image: Image | None = None


class Block(msgspec.Struct, gc=False, rename="camel"):
    index: int = msgspec.field(default=0, name="contentBlockIndex")
    delta: BlockDelta | None = None
    start: Start | None = None


class Usage(msgspec.Struct, gc=False, rename="camel"):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None


class Metrics(msgspec.Struct, gc=False, rename="camel"):
    latency_ms: float | None = None


class Metadata(msgspec.Struct, gc=False, rename="camel"):
    usage: Usage | None = None
    metrics: Metrics | None = None


class Stop(msgspec.Struct, gc=False, rename="camel"):
    stop_reason: str | None = None


def usage(said: Usage) -> ev.Usage:
    """What was read from the cache, and written to it, Bedrock counts apart from the other input."""
    prompt = [
        n for n in (said.input_tokens, said.cache_read_input_tokens, said.cache_write_input_tokens) if n is not None
    ]
    return ev.Usage(
        counted_by="host",
        input=sum(prompt) if prompt else None,
        output=said.output_tokens,
        cached=said.cache_read_input_tokens,
        cache_write=said.cache_write_input_tokens,
    )


def citation(raw: dict[str, Any], part: int, length: int) -> ev.Citation:
    """A citation speaks for the whole of its block, which has `length` characters. Of the places in a source, an address is kept."""
    location = raw.get("location")
    web = location.get("web") if isinstance(location, dict) else None
    uri = web.get("url") if isinstance(web, dict) else None
    content = raw.get("sourceContent")
    passage = (
        "".join(result(piece) for piece in content if isinstance(piece, dict)) if isinstance(content, list) else ""
    )
    title, source = (value if isinstance(value := raw.get(name), str) else "" for name in ("title", "source"))
    return ev.Citation(
        part=part,
        start=0,
        end=length,
        source=source or (uri if isinstance(uri, str) else "") or title or "document",
        title=title,
        passage=passage,
        uri=uri if isinstance(uri, str) else None,
    )


def result(piece: dict[str, Any]) -> str:
    """Of a piece of a tool's result, or of a source, the words."""
    text = piece.get("text")
    if isinstance(text, str):
        return text
    return _json(piece["json"]).decode() if "json" in piece else ""


def failure(headers: Headers, payload: bytes) -> UpstreamError:
    """A message of the stream that is no event: an exception with its name, or an error without a shape."""
    if headers.get(":message-type") == "exception":
        name = str(headers.get(":exception-type", "exception"))
        try:
            raw = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raw = None
        said = (raw.get("message") or raw.get("Message")) if isinstance(raw, dict) else None
    elif headers.get(":message-type") == "error":
        name, said = str(headers.get(":error-code", "error")), headers.get(":error-message")
    else:
        return UpstreamError(
            "the host's event stream is broken: a message is neither event nor exception", code="upstream_bad_event"
        )
    status, retryable = EXCEPTIONS.get(name, (500, True))
    error = UpstreamError(
        f"the host broke off with {name[:60]}: {str(said or 'no message')[:200]}",
        code="upstream_error",
        upstream_status=status,
    )
    error.retryable = retryable
    if status in _AS_IS:
        error.status = status
    return error
