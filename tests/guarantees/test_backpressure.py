"""A reader that does not read costs a bounded buffer and delays nobody; after a while it is let go, and resumes."""

from __future__ import annotations

import asyncio
import json
import re

import pytest

from serving import eventually, serving
from tidewire.doors.pump import BATCH
from tidewire.server.settings import Limits

BUFFER = 65536
BIG = "sim: tokens=2000000 words=100 ttft_ms=0 interval_ms=0"  # over 10 MB: more than any kernel's buffers
LIMITS = Limits(busy=10.0, write_buffer_bytes=BUFFER, write_stall_s=30.0)


def seqs(data: bytes) -> list[int]:
    return [int(n) for n in re.findall(rb"^id: (\d+)$", data, re.MULTILINE)]


@pytest.mark.parametrize("stalled", [20])
async def test_readers_that_never_read_hold_no_more_than_their_buffer_and_one_batch(tmp_path, stalled):
    async with serving(tmp_path, limits=LIMITS) as tidewire:
        request = {"model": "simulated", "input": BIG, "stream": "big", "on_disconnect": "continue"}
        assert (await tidewire.ask("POST", "/v1/streams", request, prefer="respond-async"))[0] == 202
        sleepers = [await tidewire.peer(buffer=4096) for _ in range(stalled)]
        for sleeper in sleepers:
            sleeper.get("/v1/streams/big/events")
        _, _, whole = await tidewire.ask("GET", "/v1/streams/big/events")  # beside them, somebody reads it all
        ids = seqs(whole)
        assert ids == list(range(1, len(ids) + 1))
        largest = max(len(event) for event in whole.split(b"\n\n"))
        wires = [c.wire for c in tidewire.connections if c.wire is not None]
        assert len(wires) == stalled
        await eventually(lambda: not any(wire.clear for wire in wires))
        waiting = [wire._connection.transport.get_write_buffer_size() for wire in wires]
        assert all(0 < size <= BUFFER + BATCH * (largest + 2) for size in waiting)
        assert tidewire.readers == stalled

        loop = asyncio.get_running_loop()
        for connection in tuple(tidewire.connections):
            connection.check(loop.time() + LIMITS.write_stall_s - 1)
        assert sum(c.wire is not None for c in tidewire.connections) == stalled
        for connection in tuple(tidewire.connections):
            connection.check(loop.time() + LIMITS.write_stall_s + 1)
        await eventually(lambda: not tidewire.connections and tidewire.readers == 0)

        sleeper = sleepers[
            0
        ]  # what had reached its own kernel is still there; it comes back behind the last whole event
        await sleeper.head()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await sleeper.body()
        seen = seqs(sleeper.seen[: sleeper.seen.rfind(b"\n\n") + 2])
        _, _, rest = await tidewire.ask("GET", "/v1/streams/big/events", last_event_id=str(seen[-1]))
        assert seen + seqs(rest) == ids


async def test_a_socket_that_never_reads_is_let_go_and_its_stream_goes_on(tmp_path):
    limits = Limits(busy=10.0, write_buffer_bytes=BUFFER, write_stall_s=0.05)
    async with serving(tmp_path, limits=limits) as tidewire:
        peer = await tidewire.peer(buffer=4096)
        peer.raw(
            b"GET /v1/ws HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await peer.reader.readuntil(b"\r\n\r\n")
        request = {"model": "simulated", "input": BIG, "stream": "ws", "on_disconnect": "continue"}
        frame = json.dumps({"do": "start", "id": "a", "request": request}).encode()
        peer.writer.transport.pause_reading()
        peer.raw(b"\x81\xfe" + len(frame).to_bytes(2, "big") + bytes(4) + frame)  # masked with zeros
        await eventually(lambda: tidewire.readers == 1)
        await eventually(lambda: tidewire.readers == 0)
        await eventually(lambda: not tidewire.house.desk.open_streams)
        _, _, meta = await tidewire.ask("GET", "/v1/streams/ws")
        last = json.loads(meta)["last"]
        _, _, end = await tidewire.ask("GET", f"/v1/streams/ws/events?after={last - 1}")
        assert b'"status":"completed"' in end
        peer.reset()
