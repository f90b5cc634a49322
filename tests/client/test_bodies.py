"""The two bodies of the client do the same; each case is run on both."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from tidewire.client import AsyncTidewire, ConnectionLost, Tidewire
from tidewire.core.errors import UnknownModel, UpstreamError
from tidewire.core.events import Closed, Delta, ErrorInfo, Event, Opened, PartStarted, encode
from tidewire.core.sse import frame


def events(end: Closed | None = None) -> list[Event]:
    found: list[Event] = [
        Opened(
            stream="s",
            model="m",
            created=0,
            durability="memory",
            on_disconnect="cancel",
            protocol="tidewire/1",
            epoch=1,
        ),
        PartStarted(part=0, kind="text"),
        Delta(part=0, text="one "),
        Delta(part=0, text="two"),
        end or Closed(status="completed", reason="stop"),
    ]
    for seq, event in enumerate(found, 1):
        event.seq, event.at = seq, seq
    return found


EVENTS = events()


def reply(body: bytes, status: str = "200 OK", kind: str = "text/event-stream") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n".encode() + body


def wire(part: list[Event]) -> bytes:
    return b"retry: 1\n\n" + b"".join(frame(encode(event), number=event.seq) for event in part)


def refusal(code: str, status: int, **more: Any) -> bytes:
    body = msgspec.json.encode({"error": {"code": code, "message": "no", "status": status, **more}})
    return reply(body, f"{status} No", "application/json")


class Sync:
    """Asks with the ordinary client."""

    def __init__(self, url: str, **given: Any) -> None:
        self.client = Tidewire(url, sleep=lambda seconds: None, **given)

    def read(self, *given: Any, **fields: Any) -> list[Event]:
        with self.client.stream(*given, **fields) as answer:
            return list(answer)

    def follow(self, stream: str, after: int = 0) -> list[Event]:
        with self.client.follow(stream, after) as answer:
            return list(answer)

    def first(self, *given: Any) -> Event:
        with self.client.stream(*given) as answer:
            return next(iter(answer))

    def call(self, name: str, *given: Any, **fields: Any) -> Any:
        return getattr(self.client, name)(*given, **fields)

    def close(self) -> None:
        self.client.close()


class Async:
    """Asks with the asyncio client."""

    def __init__(self, url: str, **given: Any) -> None:
        self.runner = asyncio.Runner()
        self.client = AsyncTidewire(url, sleep=lambda seconds: asyncio.sleep(0), **given)

    def read(self, *given: Any, **fields: Any) -> list[Event]:
        return self.runner.run(self._all(self.client.stream(*given, **fields)))

    def follow(self, stream: str, after: int = 0) -> list[Event]:
        return self.runner.run(self._all(self.client.follow(stream, after)))

    async def _all(self, answer: Any) -> list[Event]:
        async with answer:
            return [event async for event in answer]

    def first(self, *given: Any) -> Event:
        async def one() -> Event:
            async with self.client.stream(*given) as answer:
                return await anext(aiter(answer))

        return self.runner.run(one())

    def call(self, name: str, *given: Any, **fields: Any) -> Any:
        async def ask() -> Any:
            return await getattr(self.client, name)(*given, **fields)

        return self.runner.run(ask())

    def close(self) -> None:
        self.runner.run(self.client.close())
        self.runner.close()


@pytest.fixture(params=[Sync, Async])
def asking(request, script):
    made = []

    def make(**given: Any) -> Sync | Async:
        made.append(request.param(script.url, **given))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_question_is_posted_and_its_events_come_typed(asking, script):
    script.answers = [reply(wire(EVENTS))]
    assert asking(key="sesame").read("m", "Hello?", chat="c1", max_tokens=None) == EVENTS
    line, headers, body = script.requests[0]
    assert line == "POST /v1/streams HTTP/1.1"
    assert (headers["authorization"], headers["accept"]) == ("Bearer sesame", "text/event-stream")
    sent = msgspec.json.decode(body)
    assert sent.pop("stream").startswith("s_")
    assert sent == {"model": "m", "input": "Hello?", "chat": "c1"}


def test_cut_twice_it_resumes_from_the_cursor(asking, script):
    script.answers = [reply(wire(EVENTS[:2])), reply(wire(EVENTS[2:3]) + b"id: 4\nda"), reply(wire(EVENTS[3:]))]
    assert asking().read("m", [{"role": "user", "content": "x"}], stream="mine") == EVENTS
    assert [line.split()[1] for line, _, _ in script.requests] == [
        "/v1/streams", "/v1/streams/mine/events?after=2", "/v1/streams/mine/events?after=3",
    ]  # fmt: skip


def test_a_server_that_hangs_up_before_it_answers_is_asked_again(asking, script):
    script.answers = [b"HTTP/1.1 200 OK\r\n", refusal("conflict", 409), reply(wire(EVENTS))]
    assert asking().read("m", "x", stream="mine") == EVENTS
    assert script.requests[2][0].split()[1] == "/v1/streams/mine/events?after=0"


def test_follow_reads_behind_a_cursor(asking, script):
    script.answers = [reply(wire(EVENTS[2:]))]
    assert asking().follow("s", 2) == EVENTS[2:]


def test_nothing_is_left_behind_the_end(asking, script):
    script.answers = [b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"]
    assert asking().follow("s", 5) == []


def test_leaving_early_closes_the_connection(asking, script):
    script.answers = [reply(wire(EVENTS))]
    assert asking().first("m", "x") == EVENTS[0]


def test_text_is_the_whole_text_or_the_error_it_failed_with(asking, script):
    failed = Closed(status="failed", reason="error", error=ErrorInfo("upstream_error", "the host broke off", 502, True))
    script.answers = [reply(wire(EVENTS)), reply(wire(events(failed)))]
    client = asking()
    assert client.call("text", "m", "x") == "one two"
    with pytest.raises(UpstreamError, match="broke off"):
        client.call("text", "m", "x")


def test_a_refusal_is_raised_as_what_it_is(asking, script):
    script.answers = [refusal("unknown_model", 404)]
    with pytest.raises(UnknownModel):
        asking().read("m", "x")


def test_cancel_and_models_are_one_question_each(asking, script):
    script.answers = [
        reply(b'{"stream":"s","cancelled":true}', kind="application/json"),
        reply(b'{"object":"list","data":[{"id":"m","object":"model","owned_by":"host"}]}', kind="application/json"),
        refusal("unknown_stream", 404),
    ]
    client = asking()
    assert client.call("cancel", "s") is True
    assert [(m.id, m.provider) for m in client.call("models")] == [("m", "host")]
    with pytest.raises(Exception, match="no"):
        client.call("cancel", "s")
    assert [line for line, _, _ in script.requests][:2] == [
        "POST /v1/streams/s/cancel HTTP/1.1",
        "GET /v1/models HTTP/1.1",
    ]


def test_a_server_that_is_not_there_is_said_at_once(script):
    for make in (Sync, Async):
        client = make("http://127.0.0.1:9")
        with pytest.raises(ConnectionLost, match="cannot be reached"):
            client.read("m", "x")
        with pytest.raises(ConnectionLost, match="cannot be reached"):
            client.call("models")
        client.close()
