"""The HTTP driver against a scripted host: every cut, every phase of a cancellation, every deadline, every odd answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Event, Finish, PartStarted, Timing
from tidewire.core.sse import Frames
from tidewire.providers.http import Host
from upstream import Call, Upstream, chat, says, silent


class ChatDecoder:
    """Just enough of OpenAI's chat stream."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._open = False
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        for _, raw in self._frames.feed(data):
            if raw == b"[DONE]":
                self._done = True
                out.append(Finish(reason="stop"))
                continue
            chunk = json.loads(raw)
            if "error" in chunk:
                raise UpstreamError(chunk["error"]["message"])
            text = chunk["choices"][0]["delta"].get("content")
            if text:
                if not self._open:
                    self._open = True
                    out.append(PartStarted(part=0, kind="text"))
                out.append(Delta(part=0, text=text))
        return out

    def end(self) -> list[Event]:
        if not self._done:
            raise UpstreamError("the answer ended without [DONE]", code="upstream_unfinished")
        return []


class Cup:
    """A sink that keeps all it is given. size: events after which it is full until `drink`."""

    def __init__(self, size: int = 1 << 30) -> None:
        self.events: list[Event] = []
        self.feeds = 0
        self.got = asyncio.Event()
        self._size = size
        self._left = size
        self._room = asyncio.Event()
        self.waited = 0

    def feed(self, events: Sequence[Event]) -> None:
        self.events.extend(events)
        self.feeds += 1
        self._left -= len(events)
        if any(isinstance(e, Delta) for e in events):
            self.got.set()

    @property
    def full(self) -> bool:
        return self._left <= 0

    async def room(self) -> None:
        self.waited += 1
        self._room.clear()
        await self._room.wait()

    def drink(self) -> None:
        self._left = self._size
        self._room.set()

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Delta))


async def ask(host: Host, cup: Cup, body: bytes = b"{}") -> None:
    await host.stream("POST", "/v1/chat/completions", body, ChatDecoder(), cup)


def local(url: str, **options: Any) -> Host:
    return Host(url, environ={}, **options)


async def test_an_answer_reaches_the_sink_whole_and_in_order() -> None:
    cup = Cup()
    async with Upstream(says("Hel", "lo, ", "wörld")) as up:
        host = local(up.url, headers={"Authorization": "Bearer k"})
        await ask(host, cup, b'{"a":1}')
        await host.close()
    assert cup.text == "Hello, wörld"
    assert isinstance(cup.events[-1], Finish)
    assert [e.span.name for e in cup.events if isinstance(e, Timing)] == ["connect", "headers"]
    call = up.calls[0]
    assert (call.method, call.path, call.body) == ("POST", "/v1/chat/completions", b'{"a":1}')
    assert call.headers["authorization"] == "Bearer k"
    assert call.headers["accept-encoding"] == "identity"


async def _cancelled(up: Upstream, host: Host, cup: Cup, when: Callable[[], Any]) -> None:
    task = asyncio.create_task(ask(host, cup))
    await when()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await up.until(lambda: not up.open)


async def stall_after_headers(call: Call) -> None:
    call.head()
    await call.stall()


async def stall_after_a_token(call: Call) -> None:
    call.head()
    call.chunk(chat("one"))
    await call.stall()


@pytest.mark.parametrize("script", [silent, stall_after_headers, stall_after_a_token])
async def test_cancelling_closes_the_connection_in_every_phase(script: Any) -> None:
    cup = Cup()
    async with Upstream(script) as up:

        async def when() -> None:
            await up.asked()
            if script is stall_after_a_token:
                await cup.got.wait()

        await _cancelled(up, local(up.url), cup, when)
        await up.calls[0].gone.wait()
