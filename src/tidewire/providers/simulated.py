"""A provider without a model: its timing, its words and its faults are scripted. For tests, demonstrations and load runs.

What it does is said in the last user message, on one line: "sim: tokens=50 ttft_ms=200 interval_ms=20". `Script` lists all
that may be said. The same script and seed give the same events. Time passes through asyncio.sleep alone.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from tidewire.core.errors import BadRequest, TimedOut, UpstreamError
from tidewire.core.events import (
    Attempt,
    Delta,
    Event,
    Finish,
    PartEnded,
    PartKind,
    PartStarted,
    Progress,
    Reason,
    Usage,
)
from tidewire.core.ports import ModelInfo, Sink
from tidewire.core.request import Request

BATCH: Final = 64  # deltas a feed where there is no interval: about what one read of a fast host holds
TEXT: Final = (
    "A river does not hurry, and yet it arrives. It takes the stones one by one, rounds them, and leaves them where "
    "they may be found. What we send is much the same: small pieces, in order, none of them lost. Whoever comes late "
    "can walk up the bank and read what has passed. Whoever comes early waits a little and sees it come. "
)
THOUGHT: Final = "First the question, then what is known, then what follows from it, and only then the words. "
_WORDS: Final = re.compile(r"\S+\s*|\s+")
_DIRECTIVES: Final = re.compile(r"(?:^|\s)sim:(.*)")

Ms = Annotated[float, Meta(ge=0, le=3_600_000)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be said after "sim:". Times in milliseconds; counts in tokens (a token is a word here)."""

    tokens: Count | None = None  # of text; else as many as the text has
    text: str | None = None  # instead of the built-in one; \n is a line break
    words: Annotated[int, Meta(ge=1, le=1000)] = 1  # in one delta
    thinking: Count = 0  # tokens of thought before the text
    tool: str | None = None  # name of a tool to call after the text; several: a,b
    arguments: str = '{"place": "Paris", "unit": "celsius"}'  # of each call
    ttft_ms: Ms = 100.0
    interval_ms: Ms = 15.0  # 0: as fast as possible
    jitter_ms: Ms = 0.0  # added to each interval, evenly spread
    fail_after: Count | None = None  # deltas, then the error
    stall_after: Count | None = None  # deltas, then silence until cancelled
    error: Literal["overloaded", "unavailable", "auth", "cut", "timeout", "defect"] | None = (
        None  # at once without fail_after
    )
    finish: Literal["stop", "length", "content_filter"] = "stop"
    usage: bool = True
    seed: int = 0


class Simulated:
    """A `Provider`. script: directives that hold where a request does not say otherwise, as after "sim:"."""

    def __init__(self, name: str = "simulated", *, models: Sequence[str] = ("simulated",), script: str = "") -> None:
        self.name = name
        self._models = tuple(models)
        self._standing = _pairs(script)
        _script(self._standing)

    async def answer(self, request: Request, sink: Sink) -> None:
        if request.n != 1 or request.logprobs is not None:
            param = "n" if request.n != 1 else "logprobs"
            raise BadRequest(f"the simulated model has no {param}; leave it out", code="unsupported_value", param=param)
        said = _DIRECTIVES.search(request.question)
        script = _script({**self._standing, **(_pairs(said.group(1)) if said else {})})
        sink.feed(
            [
                Attempt(n=1, provider=self.name, model=request.model, reason="start"),
                Progress(stage="waiting", detail=f"waiting for {self.name}"),
            ]
        )
        await _play(script, _steps(script, request), sink)

    async def models(self) -> Sequence[ModelInfo]:
        note = 'scripted answers for tests: say "sim: tokens=50 interval_ms=20"'
        return [ModelInfo(id=model, provider=self.name, note=note) for model in self._models]

    async def close(self) -> None:
        """There is nothing to let go of."""


async def _play(script: Script, steps: Iterator[list[Event]], sink: Sink) -> None:
    """Feed the steps at the script's pace, measured from the start so that no lateness adds up."""
    time = asyncio.get_running_loop().time
    rng = random.Random(script.seed)
    due = time() + script.ttft_ms / 1000
    fault = _fault_at(script)
    batch: list[Event] = []
    for n, step in enumerate(steps):
        if n == fault:
            await _pour(batch, sink)
            await _fault(script)
        if (wait := due - time()) > 0:
            await _pour(batch, sink)
            batch = []
            await asyncio.sleep(wait)
        due += (script.interval_ms + rng.uniform(0, script.jitter_ms)) / 1000
        batch.extend(step)
        if len(batch) >= BATCH:
            await _pour(batch, sink)
            batch = []
            if not script.interval_ms:
                await asyncio.sleep(0)
    await _pour(batch, sink)


async def _pour(batch: list[Event], sink: Sink) -> None:
    if batch:
        sink.feed(batch)
        if sink.full:
            await sink.room()


def _steps(script: Script, request: Request) -> Iterator[list[Event]]:
    """The answer cut into what arrives at one moment: one delta a step, with what begins or ends beside it; the end last."""
    parts = itertools.count()
    spoken = 0
    calls = [] if request.messages and request.messages[-1].role == "tool" else _names(script.tool)
    if script.thinking:
        yield from _part(next(parts), "thinking", _pieces(THOUGHT, script.thinking, script.words))
    wanted = script.tokens
    if calls and wanted is None and script.text is None:
        wanted = 0  # a model that calls a tool mostly says nothing beside it
    allowed = request.max_tokens
    text = TEXT if script.text is None else script.text.replace("\\n", "\n")
    pieces = _pieces(text, wanted, script.words, limit=allowed)
    if pieces:
        yield from _part(next(parts), "text", pieces)
        spoken = sum(len(_WORDS.findall(piece)) for piece in pieces)
    for i, name in enumerate(calls):
        pieces = [script.arguments[at : at + 7] for at in range(0, len(script.arguments), 7)]
        yield from _part(next(parts), "tool_call", pieces, name=name, call=f"call_{script.seed}_{i}")
    reason: Reason = "tool_calls" if calls else script.finish
    if allowed is not None and spoken >= allowed and not calls:
        reason = "length"
    last: list[Event] = [Finish(reason=reason)]
    if script.usage:
        asked = sum(len(message.text.split()) for message in request.messages)
        last.insert(
            0,
            Usage(counted_by="host", input=asked, output=spoken + script.thinking, reasoning=script.thinking or None),
        )
    yield last


def _part(
    number: int, kind: PartKind, pieces: list[str], name: str | None = None, call: str | None = None
) -> Iterator[list[Event]]:
    for i, piece in enumerate(pieces):
        step: list[Event] = [Delta(part=number, text=piece)]
        if i == 0:
            step.insert(0, PartStarted(part=number, kind=kind, name=name, call=call))
        if i == len(pieces) - 1:
            step.append(PartEnded(part=number))
        yield step


def _pieces(text: str, tokens: int | None, words: int, limit: int | None = None) -> list[str]:
    """The text, or as much of it over and over as `tokens` asks for, `words` at a time."""
    own = _WORDS.findall(text)
    if not own:
        return []
    count = len(own) if tokens is None else tokens
    if limit is not None:
        count = min(count, limit)
    if count > len(own) and not own[-1][-1].isspace():
        own[-1] += " "
    all_words = list(itertools.islice(itertools.cycle(own), count))
    return ["".join(all_words[at : at + words]) for at in range(0, count, words)]


def _names(tool: str | None) -> list[str]:
    return [name for name in tool.split(",") if name] if tool else []


def _fault_at(script: Script) -> int | None:
    """The step before which the script goes wrong; the end counts as a step."""
    if script.fail_after is not None:
        return script.fail_after
    if script.stall_after is not None:
        return script.stall_after
    return 0 if script.error else None


async def _fault(script: Script) -> None:
    if script.fail_after is None and script.stall_after is not None:
        await asyncio.get_running_loop().create_future()  # silence: only a cancellation ends it
    where = f"after {script.fail_after} tokens" if script.fail_after else "before the first token"
    match script.error or "cut":
        case "overloaded":
            error = UpstreamError(
                f"the simulated host is overloaded {where}, as asked; come back in 1 s",
                code="upstream_rate_limited",
                retry_after=1.0,
                upstream_status=429,
            )
            error.status = 429
        case "unavailable":
            error = UpstreamError(
                f"the simulated host answered 503 {where}, as asked", code="upstream_unavailable", upstream_status=503
            )
        case "auth":
            error = UpstreamError(
                f"the simulated host refused the key {where}, as asked", code="upstream_auth", upstream_status=401
            )
            error.retryable = False
        case "timeout":
            raise TimedOut(f"the simulated host fell silent {where}, as asked", code="upstream_idle_timeout")
        case "defect":
            raise RuntimeError("the simulated provider broke, as asked")
        case _:
            error = UpstreamError(f"the simulated host closed the connection {where}, as asked", code="upstream_cut")
    raise error


def _pairs(text: str) -> dict[str, str]:
    """name=value pairs, quoted as in a shell."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadRequest(f"the sim: line cannot be read: {error}", param="messages") from None
    pairs = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise BadRequest("the sim: line holds a word without =; each directive is name=value", param="messages")
        pairs[name] = value
    return pairs


def _script(pairs: dict[str, str]) -> Script:
    try:
        return msgspec.convert(pairs, Script, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(Script.__struct_fields__)
        raise BadRequest(f"the sim: line: {error}; it may hold {known}", param="messages") from None
