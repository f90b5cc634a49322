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
    images: Any = None


class Choice(msgspec.Struct, gc=False):
    """In the order of the wire, in which a field is found soonest."""

    index: int = 0
    delta: Delta | None = None
    logprobs: dict[str, Any] | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct, gc=False):
    choices: list[Choice] = []
    usage: dict[str, Any] | None = None
    error: Any = None


class ChoiceReport(msgspec.Struct, gc=False):
    usage: Any = None


class Report(msgspec.Struct, gc=False):
    """What some hosts say in chunks that bring no words: read apart, so that the other chunks need not be searched for it."""

    choices: list[ChoiceReport] = []
    x_groq: Any = None
    metrics: Any = None
    time_info: Any = None
    timings: Any = None
    prompt_progress: Any = None


read_chunk: Final = msgspec.json.Decoder(Chunk)
read_report: Final = msgspec.json.Decoder(Report)
