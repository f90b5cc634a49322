"""What a host says about its answer beside the words: tokens, times, how far the prompt is read, errors."""

from __future__ import annotations

from typing import Any, Final

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Span
from tidewire.dialects.openai_chat_chunk import Report

_FINAL: Final = frozenset({"invalid_request_error", "invalid_request", "authentication_error", "BadRequestError"})
_AGAIN: Final = frozenset({408, 425, 429})  # of the statuses that blame the request


def counted(raw: dict[str, Any]) -> ev.Usage:
    """Cached tokens: in the details, or where DeepSeek (prompt_cache_hit_tokens) and Moonshot (cached_tokens) put them.

    xAI counts thinking beside the completion and not in it: told by the total.
    """
    prompt, output = _count(raw, "prompt_tokens"), _count(raw, "completion_tokens")
    details = raw.get("prompt_tokens_details")
    cached = _count(details, "cached_tokens")
    if cached is None:
        cached = _count(raw, "prompt_cache_hit_tokens")
    if cached is None:
        cached = _count(raw, "cached_tokens")
    thought = _count(raw.get("completion_tokens_details"), "reasoning_tokens")
    if thought is None:
        thought = _count(raw, "reasoning_tokens")
    if thought and prompt is not None and output is not None and raw.get("total_tokens") == prompt + output + thought:
        output += thought
    return ev.Usage(
        counted_by="host",
        input=prompt,
        output=output,
        cached=cached,
        reasoning=thought,
        cache_write=_count(details, "cache_write_tokens"),
    )


def usage_in(report: Report) -> dict[str, Any] | None:
    """Where it is not in the chunk itself: in its choice (Moonshot), or under x_groq."""
    found = report.x_groq.get("usage") if isinstance(report.x_groq, dict) else None
    for choice in report.choices:
        found = choice.usage or found
    return found if isinstance(found, dict) else None


def spans(report: Report, usage: dict[str, Any] | None) -> list[Span]:
    """The host's own times, laid end to end on its own clock, which begins when it got the request. Milliseconds.

    vLLM's `metrics` (its first token is counted from scheduling), llama.cpp's `timings`, and the seconds of Groq and Cerebras.
    """
    if isinstance(report.metrics, dict):
        return _laid(report.metrics, 1.0, "queue_time_ms", "time_to_first_token_ms", "generation_time_ms")
    if isinstance(report.timings, dict):
        return _laid(report.timings, 1.0, "", "prompt_ms", "predicted_ms")
    raw = report.time_info if isinstance(report.time_info, dict) else usage or {}
    return _laid(raw, 1000.0, "queue_time", "prompt_time", "completion_time")


def _laid(raw: dict[str, Any], scale: float, *names: str) -> list[Span]:
    out: list[Span] = []
    start = 0.0
    for title, name in zip(("host_queue", "host_prefill", "host_decode"), names, strict=True):
        value = raw.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
            ms = round(value * scale, 3)
            out.append(Span(title, round(start, 3), ms, "reported"))
            start += ms
    return out


def progress(raw: Any) -> ev.Progress | None:
    """llama.cpp's `prompt_progress`: how much of the prompt it has read."""
    done, total = _count(raw, "processed"), _count(raw, "total")
    if done is None or total is None:
        return None
    return ev.Progress(stage="waiting", detail=f"{done} of {total} tokens of the prompt are read")


def _count(raw: Any, name: str) -> int | None:
    value = raw.get(name) if isinstance(raw, dict) else None
    return value if type(value) is int and value >= 0 else None


def broken_off(raw: Any, payload: bytes) -> UpstreamError:
    """raw: {"message", "code", ...}, or text, or None where the whole line is the error."""
    final = False
    if isinstance(raw, dict):
        message = raw.get("message") or raw.get("code") or "no message"
        kind, status = raw.get("type"), raw.get("code")
        final = (isinstance(kind, str) and kind in _FINAL) or (
            type(status) is int and 400 <= status < 500 and status not in _AGAIN
        )
    else:
        message = raw if isinstance(raw, str) else payload[:120].decode("utf-8", "replace")
    error = UpstreamError(f"the host broke off with an error: {str(message)[:200]}", code="upstream_error")
    error.retryable = not final
    return error
