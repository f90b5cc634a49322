"""The cases of the matrix: what a host says in each, in no protocol at all, and what a client must have understood in the end.

A module in `hosts/` writes each case as the bytes of one kind of host; one in `clients/` asks in one dialect and reads what it is served.
Every client is tried against every host: `test_matrix.py`.

    hosts/<kind>.py      KIND = "anthropic"                      # of [providers.NAME]
                         SETTINGS = {"region": "eu"}             # beside kind, base_url and models; optional
                         BASE = "/v1"                            # what base_url has behind the scripted host's address
                         MODEL = "m"                             # the host's own name of the model
                         CANNOT = {"refusal": "has no such word"}  # a case that this host's protocol has no word for, and why
                         def reply(case: str) -> Reply

    clients/<dialect>.py NAME = "anthropic"
                         CANNOT = {"logprobs": "…"}
                         def question(case: str, model: str) -> Question
                         def read(status: int, headers: dict[str, str], body: bytes) -> Answer   # sans-I/O, the whole streamed answer
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

PROMPT: Final = "What is the weather in Zürich and in Bern?"
TOOL: Final[dict[str, Any]] = {
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Reply:
    """What a scripted host answers: at once, in one HTTP answer. headers: names in lower case; content-type is needed."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Question:
    path: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """input counts all of the prompt, cached tokens too."""

    input: int
    output: int
    cached: int | None = None


@dataclass(frozen=True)
class Answer:
    """What a client understood. calls: (name, arguments). finish: stop, length, tool_calls, content_filter, or error with `error` set.

    error: (HTTP status or None once the answer had begun, message).
    """

    text: str = ""
    thinking: str = ""
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    finish: str = "stop"
    usage: Usage | None = None
    error: tuple[int | None, str] | None = None


PIECES: Final = {  # what a host says of text, at least in these pieces
    "text": ["Hello, ", "Wörld! ", "👋 ", "Good", "bye."],
    "structured": ['{"name":', '"Ada",', '"age":36}'],
    "usage": ["Seven ", "tokens."],
    "length": ["Cut ", "sh"],
    "thinking": ["Then ", "speak."],
    "refusal": ["I can't help with that."],  # where the host has words of its own for it, else none
    "error_after": ["Half ", "an "],
}
THOUGHT: Final = ["First, ", "think."]
CALLS: Final = (("get_weather", {"city": "Zürich"}), ("get_weather", {"city": "Bern"}))
USAGE: Final = Usage(input=11, output=7, cached=4)  # every good answer of every host says so, where it can
ERROR: Final = "The model is overloaded, honestly."  # the host's own sentence, in error_before and error_after
BUSY: Final = 429  # the HTTP status of error_before, or the one the host uses for "too many requests"

CASES: Final[dict[str, Answer]] = {
    "text": Answer(text="Hello, Wörld! 👋 Goodbye."),
    "tool_call": Answer(calls=CALLS[:1], finish="tool_calls"),
    "parallel_tool_calls": Answer(calls=CALLS, finish="tool_calls"),
    "thinking": Answer(thinking="First, think.", text="Then speak."),
    "structured": Answer(text='{"name":"Ada","age":36}'),
    "usage": Answer(text="Seven tokens.", usage=USAGE),
    "length": Answer(text="Cut sh", finish="length"),
    "refusal": Answer(finish="content_filter"),  # its text, where there is any, is not compared
    "error_before": Answer(finish="error", error=(BUSY, ERROR)),  # the message must contain the host's sentence
    "error_after": Answer(text="Half an ", finish="error", error=(None, ERROR)),
}
