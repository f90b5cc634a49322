"""Clients that know nothing of Tidewire: an EventSource as the WHATWG standard describes it, and curl."""

from __future__ import annotations

import asyncio
import json
import shutil

import pytest
import pytest_asyncio

from serving import eventually, serving
from upstream import Step, Upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def scene(tmp_path_factory):
    step = Step()
    async with Upstream(step) as host, serving(tmp_path_factory.mktemp("plain"), hosts={"host": host.url}) as tidewire:
        yield tidewire, step


class EventSource:
    """HTML standard, 9.2: its fields, its reconnection time, its Last-Event-ID, and what ends it."""

    def __init__(self, tidewire, path: str) -> None:
        self.last_id = ""
        self.retry = 3000
        self.events: list[tuple[str, str, str]] = []  # type, data, last id
        self.state = "connecting"
        self.connections = 0
        self._tidewire = tidewire
        self._path = path

    async def connect(self, *, leave_after: int | None = None) -> None:
        """One connection until its end, or until this many events in all; then the state is connecting or closed."""
        peer = await self._tidewire.peer()
        self.connections += 1
        sent = {"last_event_id": self.last_id} if self.last_id else {}
        peer.get(self._path, accept="text/event-stream", cache_control="no-store", **sent)
        status, headers = await peer.head()
        if status != 200 or headers.get("content-type", "").partition(";")[0] != "text/event-stream":
            self.state = "closed"  # "fail the connection": it does not come back
            return
        read = 0
        kind, data = "", []
        while await peer._more():
            while (end := peer.seen.find(b"\n", read)) >= 0:
                line, read = peer.seen[read:end].decode(), end + 1
                if not line:
                    if data:
                        self.events.append((kind or "message", "\n".join(data), self.last_id))
                    kind, data = "", []
                    if leave_after is not None and len(self.events) >= leave_after:
                        await peer.close()
                        return
                    continue
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data.append(value)
                elif name == "id" and "\0" not in value:
                    self.last_id = value
                elif name == "retry" and value.isdigit():
                    self.retry = int(value)
        await peer.close()


async def test_an_event_source_comes_back_until_it_is_told_that_nothing_follows(scene):
    tidewire, step = scene
    body = {"model": "host/m", "input": "x", "stream": "es", "on_disconnect": "continue"}
    assert (await tidewire.ask("POST", "/v1/streams", body, prefer="respond-async"))[0] == 202
    source = EventSource(tidewire, "/v1/streams/es/events")
    async with asyncio.timeout(30):
        step.go.release()
        await source.connect(leave_after=5)
        assert source.retry == 1000
        assert source.last_id == str(len(source.events))
        for _ in range(3):
            step.go.release()
        await source.connect()  # the answer ends, and an EventSource reconnects
        assert source.events[-1][0] == "closed"
        await source.connect()
        assert source.state == "closed"  # 204
    ids = [int(last) for _, _, last in source.events]
    assert ids == list(range(1, len(ids) + 1))
    for kind, data, last in source.events:
        event = json.loads(data)
        assert (event["type"], event["seq"]) == (kind, int(last))
    assert "".join(json.loads(d)["text"] for k, d, _ in source.events if k == "delta") == "word1 word2 word3 "


async def test_after_in_the_address_holds_for_the_first_connection_only(scene):
    """An EventSource keeps its address: if `after` outweighed Last-Event-ID, each return would begin again from there."""
    tidewire, step = scene
    for _ in range(4):
        step.go.release()
    body = {"model": "host/m", "input": "x", "stream": "es2"}
    await tidewire.ask("POST", "/v1/streams", body)
    source = EventSource(tidewire, "/v1/streams/es2/events?after=2")
    async with asyncio.timeout(30):
        await source.connect(leave_after=3)
        assert source.events[0][2] == "3"
        await source.connect()
        await source.connect()
    ids = [int(last) for _, _, last in source.events]
    assert ids == list(range(3, ids[-1] + 1))
    assert source.state == "closed"


async def test_an_event_source_of_nothing_does_not_come_back(scene):
    tidewire, _ = scene
    source = EventSource(tidewire, "/v1/streams/nobody/events")
    await source.connect()
    assert source.state == "closed"


@needs_curl
async def test_curl_prints_each_word_when_it_comes(scene):
    tidewire, step = scene
    body = json.dumps({"model": "host/m", "input": "x"})
    command = ("curl", "-sN", "-H", "accept: text/plain", "-d", body, f"{tidewire.url}/v1/streams")
    curl = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    seen = b""
    async with asyncio.timeout(30):
        for n in (1, 2, 3):
            step.go.release()
            while f"word{n}".encode() not in seen:
                seen += await curl.stdout.read(100)
            assert f"word{n + 1}".encode() not in seen
        step.go.release()
        assert (seen + await curl.stdout.read()) == b"word1 word2 word3 \n"
        assert await curl.wait() == 0
    curl._transport.close()


@needs_curl
async def test_curl_that_is_interrupted_stops_the_answer(scene):
    tidewire, step = scene
    body = json.dumps({"model": "host/m", "messages": [{"role": "user", "content": "x"}], "stream": True})
    step.go.release()
    command = ("curl", "-sN", "-d", body, f"{tidewire.url}/v1/chat/completions")
    curl = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        await curl.stdout.readuntil(b"word1")
        curl.terminate()
        await step.calls[-1].gone.wait()
        await curl.wait()
    for _ in range(4):
        step.go.release()  # let the script of that call go
    await eventually(lambda: tidewire.house.desk.open_streams == 0)
    curl._transport.close()
