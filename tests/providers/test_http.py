"""The HTTP driver against a scripted host: every cut, every phase of a cancellation, every deadline, every odd answer."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import async_solipsism
import psutil
import pytest
import uvloop
from plain_chat import ChatDecoder, Cup

from tidewire.core.errors import Overloaded, SettingsError, TidewireError, TimedOut, UpstreamError
from tidewire.core.events import Finish, Timing
from tidewire.providers.address import Address, proxy_for, tls_context
from tidewire.providers.answers import Streamed
from tidewire.providers.connection import MAX_HEADERS, Connection
from tidewire.providers.http import Host, Timeouts
from upstream import DONE, Call, Upstream, chat, refuses, says, silent, streams, unaccepted

RECORDING = Path(__file__).parents[3] / "shared/recordings/vercel-ai/groq/groq-text.chunks.txt"


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
        connection, ChatDecoder(), cup, Timeouts(), loop, began=0.0, connected=(loop.time(), loop.time()), secrets=()
    )
    connection.ask(b"", answer)
    for piece in pieces:
        connection.data_received(piece)
    if closed:
        connection.connection_lost(None)
    await answer.finish()
    return cup, connection


def _events() -> list[bytes]:
    if not RECORDING.exists():
        return [chat(text) for text in ("Überall ", "🌊 Wellen", "", " und Ufer")] + [DONE]
    lines = RECORDING.read_bytes().splitlines()[:12]
    return [b"data: %s\n\n" % line for line in lines] + [chat("ü🌊"), DONE]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("framing", ["chunked", "length", "until close"])
async def test_an_answer_is_the_same_wherever_the_wire_cuts_it(size: int, framing: str) -> None:
    events = _events()
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


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
async def test_http_chunks_of_any_size_over_a_socket(size: int) -> None:
    body = b"".join(_events())
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


# Cancellation


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


async def test_a_host_that_speaks_unasked_is_dropped() -> None:
    async def chatty(call: Call) -> None:
        await says("a")(call)
        await asyncio.sleep(0)
        call.raw(b"HTTP/1.1 408 Request Timeout\r\n\r\n")

    async with Upstream(chatty) as up:
        host = local(up.url)
        await ask(host, Cup())
        await up.until(lambda: not up.open)
        await host.close()


# Answers that are not what is expected

KEY = "sk-proj-abcdefghijklmnop"


@pytest.mark.parametrize(
    ("status", "body", "headers", "code", "as_status", "retryable", "words"),
    [
        (400, {"error": {"message": "too many tokens"}}, {}, "upstream_refused", 400, False, "too many tokens"),
        (401, {"error": {"message": f"bad key {KEY}"}}, {}, "upstream_auth", 502, False, "bad key ***"),
        (403, {"error": {"message": "no"}}, {}, "upstream_auth", 502, False, "check the host's API key"),
        (404, {"detail": "Not Found"}, {}, "upstream_model_or_path_unknown", 502, False, "Not Found"),
        (422, {"detail": [{"loc": ["body", "top_k"], "msg": "bad"}]}, {}, "upstream_refused", 400, False, "body.top_k: bad"),
        (429, {"error": "slow down"}, {"retry_after": "7"}, "upstream_rate_limited", 429, True, "in 7 s"),
        (429, {"error": {"code": "insufficient_quota"}}, {}, "upstream_quota", 429, False, "credit"),
        (500, b"", {}, "upstream_unavailable", 502, True, "answered 500"),
        (503, b"<html><title>Down</title>", {"content_type": "text/html"}, "upstream_unavailable", 502, True, '"Down"'),
        (307, b"", {"location": "https://u:p@else.where/x?k=1"}, "upstream_redirect", 502, False, "https://else.where/x;"),
        (200, b"<p>Log <b>in</b></p>", {"content_type": "text/html"}, "upstream_not_a_stream", 502, False, "Log in"),
        (200, {"choices": []}, {}, "upstream_not_a_stream", 502, False, "application/json"),
        (200, {"error": {"message": "broke"}}, {}, "upstream_error", 502, True, "broke"),
        (200, b"\x1f\x8b", {"content_encoding": "gzip"}, "upstream_encoded", 502, False, "gzip"),
    ],
)  # fmt: skip
async def test_a_refusal_is_a_named_error(
    status: int, body: Any, headers: dict[str, str], code: str, as_status: int, retryable: bool, words: str
) -> None:
    async with Upstream(refuses(status, body, **headers)) as up:
        error = await refused(local(up.url))
        await up.until(lambda: not up.open)
    assert isinstance(error, UpstreamError)
    assert (error.kind, error.status, error.retryable) == (code, as_status, retryable)
    assert error.upstream_status == status
    assert error.message.startswith(f"127.0.0.1:{up.port} ")
    assert words in error.message
    assert KEY not in error.message
    if "retry_after" in headers:
        assert error.retry_after == 7


async def test_a_long_refusal_is_cut_short_and_its_secrets_masked() -> None:
    async with Upstream(
        refuses(400, b"hunter2 is what you sent\x00\n" + b"x" * 200_000, content_type="text/plain")
    ) as up:
        error = await refused(local(up.url, secrets=["hunter2"]))
    assert "*** is what you sent x" in error.message
    assert len(error.message) < 300


def test_a_refusal_that_never_ends_is_judged_by_what_came() -> None:
    async def trickle(call: Call) -> None:
        call.head(503, content_type="text/plain")
        call.chunk(b"wait")
        await call.stall()

    async def main() -> None:
        async with Upstream(trickle) as up:
            error = await refused(local(up.url))
        assert error.kind == "upstream_unavailable"
        assert '"wait"' in error.message

    virtually(main())


async def closes_early(call: Call) -> None:
    call.head()
    call.chunk(chat("half"))
    await asyncio.sleep(0.005)
    call.cut()


async def ends_early(call: Call) -> None:
    call.head()
    call.chunk(chat("half"))
    call.end()


async def no_http(call: Call) -> None:
    call.raw(b"SSH-2.0-OpenSSH_9.2\r\n")


async def broken_chunks(call: Call) -> None:
    call.head()
    call.chunk(chat("half"))
    await asyncio.sleep(0.005)
    call.raw(b"zz\r\nnonsense")


async def endless_head(call: Call) -> None:
    call.raw(b"HTTP/1.1 200 OK\r\n" + b"x-pad: " + b"y" * MAX_HEADERS + b"\r\n\r\n")


async def upgrades(call: Call) -> None:
    call.raw(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n")


@pytest.mark.parametrize(
    ("script", "code", "words", "text"),
    [
        (closes_early, "upstream_cut", "before its answer was complete", "half"),
        (ends_early, "upstream_unfinished", "without [DONE]", "half"),
        (broken_chunks, "upstream_not_http", "framing", "half"),
        (no_http, "upstream_not_http", "not HTTP/1.1", ""),
        (endless_head, "upstream_not_http", f"{MAX_HEADERS} bytes", ""),
        (upgrades, "upstream_not_http", "upgrade", ""),
        (streams(b'data: {"error":{"message":"out of memory"}}\n\n'), "upstream_error", "out of memory", ""),
    ],
)
async def test_a_broken_answer_is_a_named_error_after_what_came_of_it(
    script: Any, code: str, words: str, text: str
) -> None:
    cup = Cup()
    async with Upstream(script) as up:
        host = local(up.url)
        with pytest.raises(UpstreamError) as caught:
            await ask(host, cup)
        assert (host.in_use, host.kept) == (0, 0)
        await up.until(lambda: not up.open)
    assert caught.value.kind == code
    assert words in caught.value.message
    assert f"127.0.0.1:{up.port}" in caught.value.message
    assert cup.text == text


async def test_a_decoder_that_breaks_ends_its_own_call_only() -> None:
    class Broken(ChatDecoder):
        def feed(self, data: bytes) -> Any:
            raise KeyError("choices")

    async with Upstream(says("a")) as up:
        host = local(up.url)
        with pytest.raises(KeyError):
            await host.stream("POST", "/", b"", Broken(), Cup())
        cup = Cup()
        await ask(host, cup)
        await host.close()
    assert cup.text == "a"


async def test_nobody_listening_is_said_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        for name in ("127.0.0.1", "localhost"):
            error = await refused(local(f"http://{name}:{port}"))
            assert error.kind == "upstream_unreachable"
            assert f"{name}:{port}" in error.message
            assert "refused" in error.message


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


# TLS and proxies


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with the key and certificate of 127.0.0.1, which nobody has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    pem = tmp_path_factory.mktemp("tls") / "host.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    subprocess.run(
        ["openssl", *words.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", pem, "-out", f"{pem}.crt"],
        check=True,
        capture_output=True,
    )
    pem.write_bytes(pem.read_bytes() + Path(f"{pem}.crt").read_bytes())
    return pem


def server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_tls_trusts_the_authority_that_is_named(certificate: Path) -> None:
    cup = Cup()
    async with Upstream(says("secret", "ly"), tls=server_side(certificate)) as up:
        for options in ({"ca_file": str(certificate)}, {"verify": False}):
            host = local(up.url, **options)
            await ask(host, cup)
            await ask(host, cup)
            await host.close()
        assert up.connections == 2
        error = await refused(local(up.url))
    assert cup.text == "secretly" * 4
    assert error.kind == "upstream_certificate"
    assert not error.retryable
    assert "ca_file" in error.message


async def test_cancelling_a_tls_stream_closes_it(certificate: Path) -> None:
    cup = Cup()
    async with Upstream(stall_after_a_token, tls=server_side(certificate)) as up:
        task = asyncio.create_task(ask(local(up.url, verify=False), cup))
        await cup.got.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await up.calls[0].gone.wait()


async def test_tls_to_a_host_without_it_is_said_so() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await refused(local(f"https://127.0.0.1:{port}"))
    assert error.kind == "upstream_tls"
    assert "scheme" in error.message


@contextlib.asynccontextmanager
async def proxy(*, refuse: bool = False) -> AsyncIterator[tuple[str, list[str]]]:
    """A CONNECT proxy: its URL, and the heads of the requests that it was sent."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        if refuse:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        name, port = head.split(" ")[1].split(":")
        there, to = await asyncio.open_connection(name, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
            sink.close()

        await asyncio.gather(pipe(reader, to), pipe(there, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://me:pass@127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


async def test_a_proxy_is_asked_for_a_tunnel_to_a_tls_host(certificate: Path) -> None:
    cup = Cup()
    async with Upstream(says("through"), tls=server_side(certificate)) as up, proxy() as (url, heads):
        host = local(up.url, ca_file=str(certificate), proxy=url)
        await ask(host, cup)
        await ask(host, cup)
        await host.close()
        await up.until(lambda: not up.open)
    assert cup.text == "throughthrough"
    assert len(heads) == 1
    assert heads[0].startswith(f"CONNECT 127.0.0.1:{up.port} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic bWU6cGFzcw==" in heads[0]


async def test_a_proxy_that_refuses_is_named_without_its_password() -> None:
    async with proxy(refuse=True) as (url, _):
        error = await refused(local("https://models.example", proxy=url))
    assert error.kind == "upstream_proxy"
    assert "407" in error.message
    assert "pass" not in error.message


async def test_cancelling_while_the_proxy_thinks_closes_the_connection() -> None:
    async with Upstream(silent) as deaf:
        task = asyncio.create_task(ask(local("https://models.example", proxy=deaf.url), Cup()))
        await deaf.asked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await deaf.calls[0].gone.wait()


async def test_plain_http_through_a_proxy_names_the_whole_url() -> None:
    cup = Cup()
    async with Upstream(says("x")) as relay:
        host = local("http://models.example/v1", proxy=relay.url.replace("//", "//a:b@"))
        await host.stream("POST", "/chat", b"{}", ChatDecoder(), cup)
        await host.close()
    assert relay.calls[0].path == "http://models.example/v1/chat"
    assert relay.calls[0].headers["host"] == "models.example"
    assert relay.calls[0].headers["proxy-authorization"] == "Basic YTpi"


@pytest.mark.parametrize(
    ("url", "environ", "expected"),
    [
        ("https://a.example", {"https_proxy": "http://p:1"}, "p:1"),
        ("https://a.example", {"HTTPS_PROXY": "p:1"}, "p:1"),
        ("https://a.example", {"ALL_PROXY": "http://p:1"}, "p:1"),
        ("https://a.example", {"http_proxy": "http://p:1"}, None),
        ("https://a.example", {"https_proxy": "http://p:1", "no_proxy": "b.example, .example"}, None),
        ("https://a.example", {"https_proxy": "http://p:1", "NO_PROXY": "a.example:8443"}, "p:1"),
        ("https://10.1.2.3", {"https_proxy": "http://p:1", "no_proxy": "10.0.0.0/8"}, None),
        ("https://xa.example", {"https_proxy": "http://p:1", "no_proxy": "a.example"}, "p:1"),
        ("http://localhost:11434", {"http_proxy": "http://p:1"}, None),
        ("http://127.0.0.1:8000", {"http_proxy": "http://p:1"}, None),
    ],
)
def test_the_environment_names_the_proxy(url: str, environ: dict[str, str], expected: str | None) -> None:
    found = proxy_for(Address.parse(url), None, environ)
    assert (None if found is None else str(found)) == expected
    assert proxy_for(Address.parse(url), "", environ) is None


@pytest.mark.parametrize(
    "url", ["ftp://x", "localhost:8000", "http://", "http://x:99999", "http://x y", "http://a:b@x:z"]
)
def test_an_unusable_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Address.parse(url)
    assert "base_url" in caught.value.message
    assert ":b" not in caught.value.message


def test_a_header_cannot_smuggle_another() -> None:
    with pytest.raises(SettingsError, match="X-Key"):
        local("http://h", headers={"X-Key": "a\r\nHost: b"})


def test_an_unreadable_ca_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.pem"):
        tls_context("nowhere.pem")


# uvloop, which the server runs on


def test_it_all_holds_on_uvloop(certificate: Path) -> None:
    async def main() -> None:
        async with Upstream(says("a", "b"), tls=server_side(certificate)) as up, proxy() as (url, _):
            for options in ({}, {"proxy": url}):
                cup = Cup()
                host = local(up.url, ca_file=str(certificate), **options)
                await ask(host, cup)
                assert cup.text == "ab"
                await host.close()
            await up.until(lambda: not up.open)
        for script in (silent, stall_after_headers, stall_after_a_token):
            async with Upstream(script) as up:
                host = local(up.url)
                task = asyncio.create_task(ask(host, Cup()))
                await up.asked()
                await asyncio.sleep(0.002)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await up.calls[0].gone.wait()
        async with unaccepted() as url:
            before = psutil.Process().num_fds()
            task = asyncio.create_task(ask(local(url), Cup()))
            await asyncio.sleep(0.002)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await asyncio.sleep(0)
            assert psutil.Process().num_fds() == before

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
