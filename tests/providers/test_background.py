"""Answers in the background at a Responses host that cuts its connections wherever it can: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from tidewire.core import events as ev
from tidewire.core.errors import TimedOut, UpstreamError
from tidewire.core.events import Delta, Finish, PartStarted
from tidewire.core.request import Message, Request, Text
from tidewire.dialects.openai_responses_host import ResponsesHost
from tidewire.providers import background
from tidewire.providers.answers import Timeouts
from tidewire.providers.background import LET_GO, TRIES, Background
from upstream import Call, Upstream, refuses

WORDS = ["Höhe ", "über ", "dem ", "Meer: ", "👋", "."]


def answer() -> list[bytes]:
    """The frames of one answer, numbered from 0."""
    place = {"output_index": 0, "content_index": 0, "item_id": "m"}
    text = "".join(WORDS)
    events = [
        {"type": "response.created", "response": {"id": "resp_1", "status": "queued"}},
        {"type": "response.queued", "response": {"id": "resp_1", "status": "queued"}},
        {"type": "response.in_progress", "response": {"id": "resp_1", "status": "in_progress"}},
        {"type": "response.content_part.added", **place, "part": {"type": "output_text", "text": ""}},
        *({"type": "response.output_text.delta", **place, "delta": word} for word in WORDS),
        {"type": "response.output_text.done", **place, "text": text},
        {"type": "response.content_part.done", **place, "part": {"type": "output_text", "text": text}},
        {"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}},
    ]
    return [
        f"event: {e['type']}\ndata: {json.dumps({'sequence_number': n, **e}, ensure_ascii=False)}\n\n".encode()
        for n, e in enumerate(events)
    ]


FRAMES = answer()


class Cutting:
    """A host that keeps the answer. On each connection it says as many frames as the next of `lengths`, and half of one more; then it breaks off.

    how: cut (a reset), close (a FIN in mid-body), end (a clean end of the body, as some proxies make of a cut). At the end of lengths: all.
    """

    def __init__(self, *lengths: int, how: str = "cut") -> None:
        self.lengths = list(lengths)
        self.how = how
        self.asked: list[str] = []
        self.stopped = asyncio.Event()
        self.stall = False

    async def __call__(self, call: Call) -> None:
        self.asked.append(f"{call.method} {call.path}")
        if call.path.endswith("/cancel"):
            self.stopped.set()
            body = b'{"id":"resp_1","status":"cancelled"}'
            call.head(200, length=len(body), content_type="application/json")
            call.raw(body)
            return
        found = re.search(r"starting_after=(\d+)", call.path)
        frames = FRAMES[int(found[1]) + 1 :] if found else FRAMES
        call.head()
        if not self.lengths:
            call.chunk(b"".join(frames))
            if self.stall:
                await call.stall()
            call.end()
            return
        n = self.lengths.pop(0)
        call.chunk(b"".join(frames[:n]) + (frames[n][: len(frames[n]) // 2] if n < len(frames) else b""))
        await asyncio.sleep(0.005)  # a reset may overtake what was written
        if self.how == "end":
            call.end()
        elif self.how == "close":
            call.close()
        else:
            call.cut()


class Taking:
    """A sink that keeps what it is fed."""

    full = False

    def __init__(self) -> None:
        self.events: list[ev.Event] = []
        self.fed = asyncio.Event()

    def feed(self, events) -> None:
        self.events += events
        self.fed.set()

    async def room(self) -> None: ...

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Delta))


def asking(url: str, **more) -> Background:
    return Background("far", f"{url}/v1", ResponsesHost(background=True), proxy="", **more)


REQUEST = Request(model="m", messages=[Message("user", [Text("How high?")])])


def whole(sink: Taking) -> None:
    said = [e for e in sink.events if not isinstance(e, ev.Attempt | ev.Progress | ev.Timing)]
    assert [e for e in said if isinstance(e, PartStarted)] == [PartStarted(part=0, kind="text")]
    assert [e.text for e in said if isinstance(e, Delta)] == WORDS
    assert said[-1] == Finish(reason="stop")
    assert sum(isinstance(e, Finish) for e in said) == 1


@pytest.mark.parametrize("how", ["cut", "close", "end"])
@pytest.mark.parametrize("at", range(1, len(FRAMES)))
async def test_an_answer_survives_a_cut_behind_any_event(at, how):
    host = Cutting(at, how=how)
    async with Upstream(host) as far:
        sink, provider = Taking(), asking(far.url)
        await provider.answer(REQUEST, sink)
        await provider.close()
    whole(sink)
    assert host.asked == ["POST /v1/responses", f"GET /v1/responses/resp_1?stream=true&starting_after={at - 1}"]
    assert (far.calls[0].json["background"], far.calls[0].json["store"]) == (True, True)


async def test_an_answer_survives_a_cut_behind_every_event():
    host = Cutting(*[1] * (len(FRAMES) - 1))
    async with Upstream(host) as far:
        sink, provider = Taking(), asking(far.url)
        await provider.answer(REQUEST, sink)
        await provider.close()
    whole(sink)
    assert [int(a.rpartition("=")[2]) for a in host.asked[1:]] == list(range(len(FRAMES) - 1))


async def test_the_same_over_connections_without_chunks():
    async def script(call: Call) -> None:
        found = re.search(r"starting_after=(\d+)", call.path)
        call.head(chunked=False)
        call.raw(b"".join(FRAMES[int(found[1]) + 1 :] if found else FRAMES[:6]))
        call.close()

    async with Upstream(script) as far:
        sink, provider = Taking(), asking(far.url)
        await provider.answer(REQUEST, sink)
        await provider.close()
    whole(sink)


async def test_tries_that_bring_nothing_are_bounded_and_the_host_is_told_to_stop(monkeypatch):
    monkeypatch.setattr(background, "_pause", lambda failed: 0.0)
    host = Cutting(5, *[0] * 50)
    async with Upstream(host) as far:
        sink, provider = Taking(), asking(far.url, retries=3)
        with pytest.raises(UpstreamError) as caught:
            await provider.answer(REQUEST, sink)
        await provider.close()
    assert caught.value.kind == "upstream_cut"
    assert sink.text == WORDS[0]
    assert [a.split(" ")[0] for a in host.asked] == ["POST", *["GET"] * TRIES, "POST"]
    assert host.stopped.is_set()


async def test_silence_is_a_broken_connection_too():
    async def script(call: Call) -> None:
        found = re.search(r"starting_after=(\d+)", call.path)
        call.head()
        call.chunk(b"".join(FRAMES[int(found[1]) + 1 :] if found else FRAMES[:6]))
        if not found:
            await call.stall()
        call.end()

    async with Upstream(script) as far:
        sink, provider = Taking(), asking(far.url, timeouts=Timeouts(idle=0.05))
        await provider.answer(REQUEST, sink)
        await provider.close()
    whole(sink)


@pytest.mark.parametrize(
    ("refused", "code"),
    [(refuses(404, {"error": {"message": "gone"}}), "upstream_model_or_path_unknown"), (refuses(401), "upstream_auth")],
)
async def test_a_host_that_does_not_know_the_answer_any_more_ends_it(refused, code):
    host = Cutting(6)

    async def script(call: Call) -> None:
        await (refused if call.method == "GET" else host)(call)

    async with Upstream(script) as far:
        sink, provider = Taking(), asking(far.url)
        with pytest.raises(UpstreamError) as caught:
            await provider.answer(REQUEST, sink)
        await provider.close()
    assert caught.value.kind == code
    assert caught.value.begun
    assert sink.text == "".join(WORDS[:2])


async def test_a_failure_of_the_host_itself_is_not_carried_on():
    async def script(call: Call) -> None:
        error = {"type": "error", "sequence_number": 6, "code": "server_error", "message": "honestly"}
        call.head()
        call.chunk(b"".join(FRAMES[:6]) + b"data: " + json.dumps(error).encode() + b"\n\n")
        call.end()

    async with Upstream(script) as far:
        sink, provider = Taking(), asking(far.url)
        with pytest.raises(UpstreamError, match="honestly"):
            await provider.answer(REQUEST, sink)
        await provider.close()
    assert len(far.calls) == 1


async def test_a_connection_that_breaks_before_the_host_has_named_the_answer_is_an_error():
    host = Cutting(0)
    async with Upstream(host) as far:
        provider = asking(far.url)
        with pytest.raises(UpstreamError, match="closed the connection"):
            await provider.answer(REQUEST, Taking())
        await provider.close()
    assert len(host.asked) == 1


async def test_an_answer_that_is_not_in_the_background_ends_with_its_connection():
    host = Cutting(6)
    async with Upstream(host) as far:
        sink = Taking()
        provider = Background("far", f"{far.url}/v1", ResponsesHost(), proxy="")
        with pytest.raises(UpstreamError):
            await provider.answer(REQUEST, sink)
        await provider.close()
    assert len(host.asked) == 1
    assert "background" not in far.calls[0].json


async def cancelled(far: Upstream, provider: Background, sink: Taking) -> None:
    task = asyncio.create_task(provider.answer(REQUEST, sink))
    while not sink.text:
        sink.fed.clear()
        await sink.fed.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert far.calls[0].gone.is_set() or await far.calls[0].gone.wait()


@pytest.mark.parametrize("cut", [False, True])
async def test_cancelling_closes_the_connection_and_tells_the_host_to_stop(cut):
    host = Cutting(*([2] if cut else []))
    host.stall = True
    frames = FRAMES[-1]
    FRAMES[-1] = b": no end yet\n\n"
    try:
        async with Upstream(host) as far:
            sink, provider = Taking(), asking(far.url)
            await cancelled(far, provider, sink)
            assert host.stopped.is_set()
            assert host.asked[-1] == "POST /v1/responses/resp_1/cancel"
            await provider.close()
    finally:
        FRAMES[-1] = frames


async def test_a_host_that_does_not_confirm_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(background, "LET_GO", 0.05)

    async def script(call: Call) -> None:
        if not call.path.endswith("/cancel"):
            call.head()
            call.chunk(b"".join(FRAMES[:6]))
        await call.stall()

    async with Upstream(script) as far:
        sink, provider = Taking(), asking(far.url)
        await cancelled(far, provider, sink)
        await provider.close()
        assert len(far.calls) == 2
        await far.calls[1].gone.wait()
    assert LET_GO < 5  # what a run waits for its provider


async def test_a_first_token_that_is_long_in_coming_is_waited_for_on_further_connections(monkeypatch):
    monkeypatch.setattr(background, "_pause", lambda failed: 0.0)

    async def script(call: Call) -> None:
        call.head()
        call.chunk(FRAMES[0] if call.method == "POST" else b": waiting\n\n")
        await call.stall()

    async with Upstream(script) as far:
        provider = asking(far.url, timeouts=Timeouts(first_token=0.02))
        with pytest.raises(TimedOut):
            await provider.answer(REQUEST, Taking())
        await provider.close()
        assert len(far.calls) == 1 + TRIES + 1
