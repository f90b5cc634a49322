"""What an answer leaves behind is freed by its count: the collector, which stops the whole server while it looks, finds nothing of it."""

from __future__ import annotations

import asyncio
import gc

import pytest

from collected import collected
from serving import Served, eventually, serving
from tidewire.server.settings import Log
from upstream import Upstream, refuses, says, stall_after_a_token

pytestmark = pytest.mark.asyncio

CHAT = {"model": "host/m", "messages": [{"role": "user", "content": "Hello"}]}
ASK = {"model": "host/m", "input": "Hello"}


OF_AN_ANSWER = {  # types that each answer has of its own
    "RequestResponseCycle", "Request", "Message", "Meta", "Run", "Audience", "Gate", "Following", "MemoryWriter",
    "MemoryCursor", "SqliteWriter", "SqliteCursor", "Wire", "Pump",
}  # fmt: skip


async def answered(served: Served, path: str, body: dict[str, object]) -> int:
    """On a connection that is kept."""
    peer = await served.peer()
    status = 0
    for _ in range(2):
        peer.post(path, body)
        status, _ = await peer.head()
        await peer.body()
    return status


async def left(served: Served) -> None:
    """A client that goes away in the middle."""
    peer = await served.peer()
    peer.post("/v1/chat/completions", {**CHAT, "stream": True, "on_disconnect": "cancel"})
    await peer.head()
    await peer.until(b"data")
    peer.reset()


async def quiet(served: Served) -> None:
    await eventually(lambda: not served.house.desk.open_streams and not served.house.desk._closing)
    await asyncio.sleep(0)


@pytest.mark.parametrize("durability", ["memory", "process"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {**CHAT, "stream": True}),
        ("/v1/chat/completions", CHAT),
        ("/v1/streams", ASK),
        ("/v1/messages", {**CHAT, "max_tokens": 9, "stream": True}),
        ("/v1/models", {}),  # 405: no stream at all
    ],
)
async def test_an_answer_that_was_read_leaves_nothing(tmp_path, durability, path, body):
    async with (
        Upstream(says("Hello", " world")) as host,
        serving(tmp_path, hosts={"host": host.url}, log=Log(durability=durability)) as served,
    ):
        await answered(served, path, body)  # what is made once
        await quiet(served)
        collected(OF_AN_ANSWER)
        gc.disable()
        try:
            status = await answered(served, path, body)
            await quiet(served)
            assert collected(OF_AN_ANSWER) == {}
        finally:
            gc.enable()
    assert status == (405 if path == "/v1/models" else 200)


async def test_neither_does_one_whose_reader_left(tmp_path):
    async with (
        Upstream(stall_after_a_token) as host,
        serving(tmp_path, hosts={"host": host.url}) as served,
    ):
        collected(OF_AN_ANSWER)
        gc.disable()
        try:
            await left(served)
            await quiet(served)
            assert collected(OF_AN_ANSWER) == {}
        finally:
            gc.enable()


async def test_neither_does_one_that_its_host_refused(tmp_path):
    async with (
        Upstream(refuses(400, {"error": {"message": "no"}})) as host,
        serving(tmp_path, hosts={"host": host.url}) as served,
    ):
        collected(OF_AN_ANSWER)
        gc.disable()
        try:
            await answered(served, "/v1/chat/completions", CHAT)
            await quiet(served)
            assert collected(OF_AN_ANSWER) == {}
        finally:
            gc.enable()
