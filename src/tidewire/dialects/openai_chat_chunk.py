"""The shapes of a chat chunk, as far as anybody here reads them. What hosts write in more than one way is Any."""

from __future__ import annotations

from typing import Any, Final

import msgspec


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class Call(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: Function | None = None
    extra_content: Any = None


class Audio(msgspec.Struct, gc=False):
    id: str | None = None
    data: str | None = None
    transcript: str | None = None


class Delta(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    audio: Audio | None = None


class Choice(msgspec.Struct, gc=False):
    delta: Delta | None = None
    finish_reason: str | None = None
    index: int = 0
    logprobs: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None


class Chunk(msgspec.Struct, gc=False):
    choices: list[Choice] = []
    usage: dict[str, Any] | None = None
    error: Any = None
    x_groq: dict[str, Any] | None = None
    metrics: dict[str, Any] | None = None
    time_info: dict[str, Any] | None = None
    timings: dict[str, Any] | None = None
    prompt_progress: dict[str, Any] | None = None


read_chunk: Final = msgspec.json.Decoder(Chunk)
