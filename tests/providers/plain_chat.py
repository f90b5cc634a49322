"""A speaker of OpenAI's chat stream, small enough to be right at a glance; a sink that keeps what it is given; ways to ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from typing import Any

import async_solipsism
import pytest

from tidewire.core.errors import TidewireError, UpstreamError
from tidewire.core.events import Delta, Event, Finish, PartStarted
from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import Message, Request, Text
from tidewire.core.sse import Frames
from tidewire.providers.http import Host


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
                error = UpstreamError(chunk["error"]["message"], upstream_status=chunk["error"].get("status"))
                error.before = out
                raise error
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


class ChatSpeaker:
    listing = "/models"

    def ask(self, request: Request, model: str) -> Question:
        said = {"model": model, "messages": [{"role": "user", "content": request.question}]}
        return Question(path="/chat/completions", body=json.dumps(said).encode())

    def decoder(self, request: Request) -> ChatDecoder:
        return ChatDecoder()

    def models(self, body: bytes) -> list[ModelInfo]:
        return listed(body)


def listed(body: bytes) -> list[ModelInfo]:
    try:
        return [ModelInfo(id=row["id"], provider="", created=row.get("created", 0)) for row in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError):
        raise UpstreamError("no list", code="upstream_not_json") from None


def question(text: str = "Hello?", model: str = "m", **more: object) -> Request:
    return Request(model=model, messages=[Message(role="user", content=[Text(text)])], **more)  # type: ignore[arg-type]


def local(url: str, **options: Any) -> Host:
    return Host(url, environ={}, **options)


async def ask(host: Host, cup: Cup, body: bytes = b"{}") -> None:
    await host.stream("POST", "/v1/chat/completions", body, ChatDecoder(), cup)


async def refused(host: Host) -> TidewireError:
    """What asking it raises."""
    with pytest.raises(TidewireError) as caught:
        await ask(host, Cup())
    return caught.value


def virtually(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=async_solipsism.EventLoop) as runner:
        runner.run(work)
