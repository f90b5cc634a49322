"""What a Responses host reports beside its words: usage, times, sources, and why it failed."""

from __future__ import annotations

from typing import Any, Final

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Span
from tidewire.dialects.openai_responses_wire import number, string

_AGAIN: Final = frozenset({"server_error", "rate_limit_exceeded", "vector_store_timeout", "overloaded"})
_BUSY: Final = frozenset({"rate_limit_exceeded", "insufficient_quota"})
_REFUSED: Final = (
    "invalid_",
    "unsupported_",
    "image_",
    "failed_to_download",
    "empty_image",
    "bio_policy",
    "cyber_policy",
)


def usage(raw: dict[str, Any]) -> ev.Usage:
    return ev.Usage(
        counted_by="host",
        input=count(raw, "input_tokens"),
        output=count(raw, "output_tokens"),
        cached=count(raw.get("input_tokens_details"), "cached_tokens"),
        cache_write=count(raw.get("input_tokens_details"), "cache_write_tokens"),
        reasoning=count(raw.get("output_tokens_details"), "reasoning_tokens"),
    )


def count(raw: Any, name: str) -> int | None:
    value = raw.get(name) if isinstance(raw, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def timings(metrics: dict[str, Any]) -> list[ev.Timing]:
    """The metrics of one request that vLLM gives (--enable-per-request-metrics), one behind the other on the host's own clock.

    Its time to the first token counts from the moment it was scheduled, not from its arrival.
    """
    spans = (
        ("host_queue", "queue_time_ms"),
        ("host_prefill", "time_to_first_token_ms"),
        ("host_decode", "generation_time_ms"),
    )
    out: list[ev.Timing] = []
    start = 0.0
    for name, field in spans:
        ms = metrics.get(field)
        if isinstance(ms, int | float) and not isinstance(ms, bool) and 0 <= ms < 1e9:
            out.append(ev.Timing(span=Span(name, round(start, 3), round(float(ms), 3), "reported")))
            start += ms
    return out


def citation(part: int, note: Any) -> ev.Citation | None:
    """An annotation, or None for one that names no source. The words relied on are not told."""
    if not isinstance(note, dict):
        return None
    url, file = string(note.get("url")), string(note.get("file_id"))
    if not url and not file:
        return None
    at = note.get("index")
    return ev.Citation(
        part=part,
        start=number(note.get("start_index", at)),
        end=number(note.get("end_index", at)),
        source=url or file,
        title=string(note.get("title")) or string(note.get("filename")) or url or file,
        passage="",
        uri=url or None,
    )


def failure(raw: Any, payload: bytes) -> UpstreamError:
    """The error of an `error` event or of a failed response. raw: {code or type, message}, or text; payload: the event, where it says neither."""
    code, message = "", raw if isinstance(raw, str) else ""
    if isinstance(raw, dict):
        code = next((c for c in (raw.get("code"), raw.get("type")) if isinstance(c, str)), "")
        said = raw.get("message")
        message = said if isinstance(said, str) and said else code
    if not message:
        message = payload[:120].decode("utf-8", "replace")
    error = UpstreamError(f"the host broke off with an error: {message[:200]}", code="upstream_error")
    if code in _BUSY:
        error.status = 429
    elif code.startswith(_REFUSED):
        error.status = 400
    error.retryable = code in _AGAIN or error.status == 502
    return error
