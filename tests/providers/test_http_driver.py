"""The HTTP driver against a scripted host: every cut, every phase of a cancellation, every deadline, every odd answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop
from plain_chat import ChatDecoder, Cup, ask, local, refused, virtually

from tidewire.core.errors import Overloaded, TimedOut, UpstreamError
from tidewire.core.events import Finish, Timing
from tidewire.providers.address import Address
from tidewire.providers.answers import Streamed
from tidewire.providers.connection import Connection
from tidewire.providers.http import Timeouts
from upstream import (
    DONE,
    Call,
    Upstream,
    chat,
    refuses,
    says,
    silent,
    stall_after_a_token,
    stall_after_headers,
    streams,
    unaccepted,
)

RECORDING = Path(__file__).parents[3] / "shared/recordings/vercel-ai/groq/groq-text.chunks.txt"


# Answers


async def test_an_answer_reaches_the_sink_whole_and_in_order() -> None:
    cup = Cup()
    async with Upstream(says("Hel", "lo, ", "wörld")) as up:
        host = local(up.url, headers={"Authorization": "Bearer k"})
        await ask(host, cup, b'{"a":1}')
        await host.close()
    assert cup.text == "Hello, wörld"
    assert isinstance(cup.events[-1], Finish)
    call = up.calls[0]
    assert (call.method, call.path, call.body) == ("POST", "/v1/chat/completions", b'{"a":1}')
    assert call.headers["authorization"] == "Bearer k"
    assert call.headers["accept-encoding"] == "identity"
    assert call.headers["host"] == f"127.0.0.1:{up.port}"


async def test_the_waterfall_comes_before_the_first_content() -> None:
    async def timed(call: Call) -> None:
        call.head(openai_processing_ms="42")
        call.chunk(chat("x") + DONE)
        call.end()

    cup = Cup()
    async with Upstream(timed) as up:
        host = local(up.url)
        await ask(host, cup)
        await host.close()
    spans = [event.span for event in cup.events[:3] if isinstance(event, Timing)]
    assert [(span.name, span.source) for span in spans] == [
        ("connect", "measured"),
        ("headers", "measured"),
        ("host_processing", "reported"),
    ]
    assert spans[2].ms == 42
    assert spans[1].start == pytest.approx(spans[0].start + spans[0].ms, abs=0.01)


class Wire(asyncio.Transport):
    """A transport that goes nowhere: bytes are put into the protocol by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.aborted = False

    def write(self, data: Any) -> None:
        self.sent.append(data)

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def get_write_buffer_size(self) -> int:
        return 0


async def fed(pieces: list[bytes], *, closed: bool = False) -> tuple[Cup, Connection]:
    """A whole exchange from raw bytes, cut as given."""
    loop = asyncio.get_running_loop()
    connection = Connection(Address.parse("http://host:1"))
    connection.connection_made(Wire())
    cup = Cup()
    answer = Streamed(
        connection,
        ChatDecoder(),
        cup,
        Timeouts(),
        loop,
        clock=loop.time,
        began=0.0,
        connected=(loop.time(), loop.time()),
        secrets=(),
    )
    connection.ask(b"", answer)
    for piece in pieces:
        connection.data_received(piece)
    if closed:
        connection.connection_lost(None)
    await answer.finish()
    return cup, connection


def _events(source: str) -> list[bytes]:
    if source == "made":
        return [*(chat(text) for text in ("Überall ", "🌊 Wellen", "", " und Ufer")), DONE]
    if not RECORDING.exists():
        pytest.skip("the recordings of real hosts are not here")
    return [*(b"data: %s\n\n" % line for line in RECORDING.read_bytes().splitlines()[:12]), DONE]


@pytest.mark.parametrize("source", ["made", "recorded"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("framing", ["chunked", "length", "until close"])
async def test_an_answer_is_the_same_wherever_the_wire_cuts_it(size: int, framing: str, source: str) -> None:
    events = _events(source)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    body = b"".join(events)
    if framing == "chunked":
        wire = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(e), e) for e in events)
        wire += b"0\r\n\r\n"
    elif framing == "length":
        wire = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    else:
        wire = head + b"Connection: close\r\n\r\n" + body
    whole, _ = await fed([wire], closed=framing == "until close")
    cut, connection = await fed(
        [wire[at : at + size] for at in range(0, len(wire), size)], closed=framing == "until close"
    )
    assert cut.text == whole.text
    assert [type(e) for e in cut.events] == [type(e) for e in whole.events]
    assert connection.idle == (framing != "until close")


@pytest.mark.parametrize("source", ["made", "recorded"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_http_chunks_of_any_size_over_a_socket(size: int, source: str) -> None:
    body = b"".join(_events(source))
    cup = Cup()
    async with Upstream(streams(*(body[at : at + size] for at in range(0, len(body), size)))) as up:
        host = local(up.url)
        await ask(host, cup)
        await host.close()
    assert cup.text == (await fed([b"HTTP/1.1 200 OK\r\n\r\n" + body], closed=True))[0].text


async def test_all_that_one_read_completes_is_one_feed() -> None:
    events = b"".join(b"%x\r\n%s\r\n" % (len(chat("a")), chat("a")) for _ in range(50))
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + events
    cup, _ = await fed([wire, b"%x\r\n%s\r\n0\r\n\r\n" % (len(DONE), DONE)])
    assert cup.feeds == 2
    assert cup.text == "a" * 50


async def test_an_interim_answer_is_passed_over() -> None:
    body = chat("ok") + DONE
    wire = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
    cup, _ = await fed([wire % (len(body), body)])
    assert cup.text == "ok"


async def test_a_stream_under_the_wrong_content_type_is_still_a_stream() -> None:
    async def mislabelled(call: Call) -> None:
        call.head(content_type="application/json")
        call.chunk(chat("fine"))
        call.chunk(DONE)
        call.end()

    cup = Cup()
    async with Upstream(mislabelled) as up:
        host = local(up.url)
        await ask(host, cup)
        await host.close()
    assert cup.text == "fine"


def test_a_host_that_holds_the_answer_open_after_its_last_word_is_not_waited_for() -> None:
    async def clinging(call: Call) -> None:
        call.head()
        call.chunk(chat("all") + DONE)
        await call.stall()

    async def main() -> None:
        cup = Cup()
        async with Upstream(clinging) as up:
            await ask(local(up.url), cup)
            assert asyncio.get_running_loop().time() < 5
            await up.calls[0].gone.wait()
        assert cup.text == "all"

    virtually(main())


async def test_after_the_last_word_it_does_not_matter_how_the_host_hangs_up() -> None:
    async def abrupt(call: Call) -> None:
        call.head()
        call.chunk(chat("all") + DONE)
        await asyncio.sleep(0.005)
        call.cut()

    cup = Cup()
    async with Upstream(abrupt) as up:
        host = local(up.url)
        await ask(host, cup)
        assert host.kept == 0
    assert cup.text == "all"


# Cancellation


@pytest.mark.parametrize("script", [silent, stall_after_headers, stall_after_a_token])
async def test_cancelling_closes_the_connection_in_every_phase(script: Any) -> None:
    cup = Cup()
    async with Upstream(script) as up:
        host = local(up.url)
        task = asyncio.create_task(ask(host, cup))
        await up.asked()
        if script is stall_after_a_token:
            await cup.got.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await up.calls[0].gone.wait()
        assert (host.in_use, host.kept) == (0, 0)


async def test_cancelling_while_the_sink_has_no_room_closes_the_connection() -> None:
    cup = Cup(size=1)
    async with Upstream(stall_after_a_token) as up:
        task = asyncio.create_task(ask(local(up.url), cup))
        await cup.got.wait()
        while not cup.waited:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await up.calls[0].gone.wait()


async def test_cancelling_while_connecting_closes_the_half_open_socket_at_once() -> None:
    async with unaccepted() as url:
        host = local(url)
        before = psutil.Process().num_fds()
        task = asyncio.create_task(ask(host, Cup()))
        while psutil.Process().num_fds() == before:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert psutil.Process().num_fds() == before
        assert host.in_use == 0


async def test_cancelling_during_the_tls_handshake_closes_the_connection() -> None:
    def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.append((reader, writer))
        connected.set()

    clients: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    connected = asyncio.Event()
    async with await asyncio.start_server(deaf, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        task = asyncio.create_task(ask(local(f"https://127.0.0.1:{port}"), Cup()))
        await connected.wait()
        await clients[0][0].read(1)  # the handshake has begun
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with contextlib.suppress(ConnectionResetError):
            await clients[0][0].read()  # returns once the client is gone
        clients[0][1].close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_cancellation_at_any_moment_leaves_no_connection_behind(loop: Any) -> None:
    async def main() -> None:
        open_files = []
        for steps in range(40):
            async with Upstream(says("a", "b", "c")) as up:
                host = local(up.url)
                task = asyncio.create_task(ask(host, Cup()))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                assert host.in_use == 0
                await host.close()
                await up.until(lambda up=up: not up.open)
            await asyncio.sleep(0.0001)  # uvloop closes in its next round
            open_files.append(psutil.Process().num_fds())
        assert open_files[-1] <= open_files[0]

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


# Deadlines


@pytest.mark.parametrize(
    ("script", "setting", "limit"),
    [(silent, "header", 60), (stall_after_headers, "first_token", 45), (stall_after_a_token, "idle", 30)],
)
def test_each_deadline_names_host_phase_seconds_and_setting(script: Any, setting: str, limit: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with Upstream(script) as up:
            host = local(up.url, timeouts=Timeouts(header=60, first_token=45, idle=30))
            error = await refused(host)
            assert isinstance(error, TimedOut)
            assert error.kind == f"upstream_{setting}_timeout"
            assert error.message.startswith(f"127.0.0.1:{up.port} ")
            assert f"{limit} s" in error.message
            assert f"{setting}_s" in error.message
            assert limit <= loop.time() <= limit + 2
            await up.calls[0].gone.wait()

    virtually(main())


async def test_connecting_has_a_deadline() -> None:
    async with unaccepted() as url:
        before = psutil.Process().num_fds()
        error = await refused(local(url, timeouts=Timeouts(connect=0.03)))
        assert psutil.Process().num_fds() == before
    assert error.kind == "upstream_connect_timeout"
    assert "0.03 s" in error.message


def test_a_slow_host_is_not_an_idle_one() -> None:
    async def slow(call: Call) -> None:
        call.head()
        for _ in range(20):
            await asyncio.sleep(27)
            call.chunk(chat("x"))
        call.chunk(DONE)
        call.end()

    async def main() -> None:
        cup = Cup()
        async with Upstream(slow) as up:
            host = local(up.url, timeouts=Timeouts(idle=30))
            await ask(host, cup)
            await host.close()
        assert cup.text == "x" * 20

    virtually(main())


def test_waiting_for_room_is_not_the_hosts_fault() -> None:
    async def main() -> None:
        cup = Cup(size=5)
        async with Upstream(says(*"abcdef")) as up:
            host = local(up.url, timeouts=Timeouts(first_token=10, idle=10))
            task = asyncio.create_task(ask(host, cup))
            while not task.done():
                await asyncio.sleep(1000)
                cup.drink()
            await task
            await host.close()
        assert cup.text == "abcdef"
        assert cup.waited

    virtually(main())


# Backpressure


async def test_a_full_sink_stops_the_reading() -> None:
    many = 40_000
    sent = asyncio.Event()

    async def flood(call: Call) -> None:
        call.head()
        for _ in range(many // 1000):
            call.chunk(chat("x") * 1000)
        call.chunk(DONE)
        call.end()
        sent.set()

    cup = Cup(size=1000)
    async with Upstream(flood) as up:
        host = local(up.url)
        task = asyncio.create_task(ask(host, cup))
        await sent.wait()
        while not cup.waited:
            await asyncio.sleep(0)
        held = len(cup.events)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(cup.events) == held < many
        while not task.done():
            cup.drink()
            await asyncio.sleep(0)
        await task
        await host.close()
    assert len(cup.text) == many


# Kept connections


async def test_a_connection_is_kept_for_the_next_request() -> None:
    async with Upstream(says("a")) as up:
        host = local(up.url)
        for _ in range(3):
            await ask(host, Cup())
        assert (await host.fetch("GET", "/v1/models"))[0] == 200
        assert up.connections == 1
        assert host.kept == 1
        await host.close()
        await up.until(lambda: not up.open)


async def test_nagle_is_off() -> None:
    connection = Connection(Address.parse("http://h"))
    async with Upstream(silent) as up:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(lambda: connection, "127.0.0.1", up.port)
        assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection.abort()


async def test_a_kept_connection_that_died_is_replaced_unseen() -> None:
    async def resets(call: Call) -> None:
        call.cut()

    cup = Cup()
    async with Upstream(says("a"), resets, says("b")) as up:
        host = local(up.url)
        await ask(host, cup)
        await ask(host, cup)  # the kept connection is reset when this request reaches the host
        assert cup.text == "ab"
        assert up.connections == 2
        assert len(up.calls) == 3
        await host.close()


async def test_a_fresh_connection_that_is_closed_without_an_answer_is_an_error() -> None:
    async def hang_up(call: Call) -> None:
        call.cut()

    async with Upstream(hang_up) as up:
        error = await refused(local(up.url))
    assert error.kind == "upstream_closed"
    assert len(up.calls) == 1


def test_idle_connections_are_let_go_in_time() -> None:
    async def main() -> None:
        async with Upstream(says("a")) as up:
            host = local(up.url, idle_seconds=10)
            await ask(host, Cup())
            assert host.kept == 1
            await asyncio.sleep(25)
            assert host.kept == 0
            await up.until(lambda: not up.open)

    virtually(main())


def test_a_connection_is_not_kept_longer_than_the_host_says() -> None:
    async def brief(call: Call) -> None:
        body = chat("a") + DONE
        call.head(length=len(body), keep_alive="timeout=5, max=100")
        call.raw(body)

    async def main() -> None:
        async with Upstream(brief) as up:
            host = local(up.url)
            await ask(host, Cup())
            await asyncio.sleep(5)
            await ask(host, Cup())
            assert up.connections == 2
            await host.close()

    virtually(main())


async def test_no_more_are_kept_than_the_pool_holds() -> None:
    async with Upstream(says("a")) as up:
        host = local(up.url, idle_connections=2)
        await asyncio.gather(*(ask(host, Cup()) for _ in range(5)))
        assert host.kept == 2
        await up.until(lambda: len(up.open) == 2)
        await host.close()


async def test_above_its_connections_a_host_is_overloaded() -> None:
    async with Upstream(silent) as up:
        host = local(up.url, connections=1)
        task = asyncio.create_task(ask(host, Cup()))
        await up.asked()
        error = await refused(host)
        assert isinstance(error, Overloaded)
        assert "1 of 1" in error.message
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_host_that_speaks_unasked_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    async def chatty(call: Call) -> None:
        await says("a")(call)
        await asyncio.sleep(0)
        call.raw(b"HTTP/1.1 408 Request Timeout\r\n\r\n")

    async with Upstream(chatty) as up:
        host = local(up.url)
        await ask(host, Cup())
        await up.until(lambda: not up.open)
        await host.close()
    assert not caplog.records


# Small answers


async def test_fetch_returns_status_headers_and_body() -> None:
    async with Upstream(refuses(418, {"a": 1}, x_odd="yes")) as up:
        host = local(up.url + "/base/?v=2")
        status, headers, body = await host.fetch("GET", "/models", headers={"X-Mine": "1"})
        await host.close()
    assert (status, headers["x-odd"], body) == (418, "yes", b'{"a": 1}')
    assert up.calls[0].path == "/base/models?v=2"
    assert up.calls[0].headers["x-mine"] == "1"


async def test_fetch_is_bounded_in_bytes_and_time() -> None:
    async with Upstream(refuses(200, b"x" * 5000), silent) as up:
        host = local(up.url)
        with pytest.raises(UpstreamError, match="more than 4096 bytes"):
            await host.fetch("GET", "/", limit=4096)
        with pytest.raises(TimedOut, match=r"within 0.03 s"):
            await host.fetch("GET", "/", deadline=0.03)
        await up.until(lambda: not up.open)
        assert host.in_use == 0
