"""The HTTP connection itself under odd clients: slow, large, wrong, old, or in a hurry. What they get, and what they cannot do."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from serving import eventually, request, serving
from tidewire.server import app
from tidewire.server.settings import Limits, Streams
from upstream import DONE, Upstream, chat, says, stall_after_a_token

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEAD_LIMIT = 4096
LIMITS = Limits(header_bytes=HEAD_LIMIT, busy=10.0)
HURRIED = Limits(header_s=0.05, body_s=0.05, busy=10.0)
ASK = {"model": "host/m", "input": "Hello"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def tidewire(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "TICK", 0.02)  # slow clients are looked for each second
        async with Upstream(says("Hello")) as host, Upstream(stall_after_a_token) as stalled:
            hosts = {"host": host.url, "stalled": stalled.url}
            async with serving(
                tmp_path_factory.mktemp("http"), hosts=hosts, limits=LIMITS, streams=Streams(heartbeat_s=1000.0)
            ) as served:
                yield served


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hurried(tmp_path_factory):
    """A server that waits for nothing. On a busy machine that may be too short for a client that means well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "TICK", 0.02)
        async with serving(tmp_path_factory.mktemp("hurried"), limits=HURRIED) as served:
            yield served


async def refused(tidewire, *pieces: bytes, code: str, status: int) -> None:
    """A connection on which these bytes are refused so, and which is closed then."""
    peer = await tidewire.peer()
    async with asyncio.timeout(30):
        for piece in pieces:
            peer.raw(piece)
            await peer.writer.drain()
        got, headers = await peer.head()
        error = json.loads(await peer.body())["error"]
        assert (got, error["code"], error["status"]) == (status, code, status)
        assert headers["connection"] == "close"
        assert await peer.reader.read() == b""
    await peer.close()


async def said(tidewire, *pieces: bytes, code: str, status: int) -> None:
    """The same, and the server goes on."""
    await refused(tidewire, *pieces, code=code, status=status)
    assert (await tidewire.ask("GET", "/healthz"))[0] == 200


async def test_a_head_that_does_not_end_is_refused_in_time(hurried):
    for start in (b"G", b"GET / HTTP/1.1\r\n", b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-slow: "):
        await refused(hurried, start, code="slow_header", status=408)


async def test_a_head_that_comes_byte_by_byte_is_refused_in_time(hurried):
    peer = await hurried.peer()

    async def drip():
        for byte in b"GET /healthz HTTP/1.1\r\nx: " + b"a" * 2000:
            peer.raw(bytes([byte]))
            await asyncio.sleep(0.002)

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(30):
        assert (await peer.head())[0] == 408
    dripping.cancel()
    peer.reset()


async def test_a_connection_that_says_nothing_is_closed(hurried):
    peer = await hurried.peer()
    async with asyncio.timeout(30):
        assert (await peer.head())[0] == 408
    await peer.close()


@pytest.mark.parametrize("path", ["/v1/streams", "/v1/chat/completions", "/v1/responses", "/api/chat"])
async def test_a_body_that_does_not_end_is_refused_in_time(hurried, path):
    head = b"POST %s HTTP/1.1\r\nhost: localhost\r\n" % path.encode()
    await refused(hurried, head + b'content-length: 100\r\n\r\n{"mo', code="slow_body", status=408)
    await refused(hurried, head + b"transfer-encoding: chunked\r\n\r\n4\r\n{   \r\n", code="slow_body", status=408)


async def test_a_head_over_the_limit_is_refused(tidewire):
    first = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n"
    await said(tidewire, first + b"x-long: " + b"a" * HEAD_LIMIT + b"\r\n\r\n", code="header_too_large", status=431)
    await said(
        tidewire,
        first + b"".join(b"x-%d: a\r\n" % i for i in range(600)) + b"\r\n",
        code="header_too_large",
        status=431,
    )
    await said(tidewire, b"GET /" + b"a" * HEAD_LIMIT + b" HTTP/1.1\r\n\r\n", code="header_too_large", status=431)
    line = b"x: aaaaaaa\r\n"
    enough = (HEAD_LIMIT - len(first)) // len(
        line
    ) + 1  # what is sent after the answer may reset the connection before it is read
    await said(tidewire, first, *[line] * enough, code="header_too_large", status=431)


async def test_a_body_in_the_same_read_does_not_count_as_head(tidewire):
    status, _, _ = await tidewire.ask("POST", "/v1/streams", ASK | {"input": "x" * 3 * HEAD_LIMIT})
    assert status == 200


FLOODS = {
    "1 MB of header": b"GET / HTTP/1.1\r\nx: " + b"a" * (1 << 20) + b"\r\n\r\n",
    "100,000 headers": b"GET / HTTP/1.1\r\n" + b"".join(b"x%d: a\r\n" % i for i in range(100_000)) + b"\r\n",
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_of_headers_costs_only_its_own_connection(tidewire, flood):
    peer = await tidewire.peer()
    peer.raw(FLOODS[flood])
    async with asyncio.timeout(30):
        try:
            status, _ = await peer.head()
        except (ConnectionResetError, asyncio.IncompleteReadError):
            status = 431
    assert status == 431
    peer.reset()
    assert (await tidewire.ask("GET", "/healthz"))[0] == 200


NOT_HTTP = {
    "noise": b"\x00\x01\x02\x03\r\n\r\n",
    "TLS hello": bytes.fromhex("16030100f0010000ec0303") + bytes(200),
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "HTTP/3.7": b"GET / HTTP/3.7\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "unknown method": b"FROB / HTTP/1.1\r\n\r\n",
    "space in a name": b"GET / HTTP/1.1\r\nhost : x\r\n\r\n",
    "no path": b"GET HTTP/1.1\r\n\r\n",
    "two lengths": b"POST /v1/streams HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length and chunks": b"POST /v1/streams HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\na",
    "negative length": b"POST /v1/streams HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    "length in words": b"POST /v1/streams HTTP/1.1\r\ncontent-length: ten\r\n\r\n",
    "length without end": b"POST /v1/streams HTTP/1.1\r\ncontent-length: %s\r\n\r\n" % (b"9" * 40),
    "no chunk": b"POST /v1/streams HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
    "unknown coding": b"POST /v1/streams HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\nabc",
    "path not ASCII": "GET /é HTTP/1.1\r\n\r\n".encode(),
    "address without end": b"GET http://[::1 HTTP/1.1\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nx: a\r\n b\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nx: a\x00b\r\n\r\n",
}


@pytest.mark.parametrize("what", NOT_HTTP)
async def test_what_is_not_http_is_refused(tidewire, what):
    peer = await tidewire.peer()
    peer.raw(NOT_HTTP[what])
    async with asyncio.timeout(30):
        status, _ = await peer.head()
        assert 400 <= status < 500
        error = json.loads(await peer.body())["error"]
        assert error["message"]
        assert error["code"]
    await peer.close()
    assert (await tidewire.ask("GET", "/healthz"))[0] == 200


async def test_http_1_0_is_answered_without_chunks_and_closed(tidewire):
    body = json.dumps(ASK).encode()
    peer = await tidewire.peer()
    peer.raw(b"POST /v1/streams HTTP/1.0\r\ncontent-length: %d\r\naccept: text/plain\r\n\r\n" % len(body) + body)
    status, headers = await peer.head()
    assert status == 200
    assert "transfer-encoding" not in headers
    assert headers["connection"] == "close"
    assert (await peer.body()).strip() == b"Hello"
    await peer.close()


async def test_pipelined_requests_are_answered_in_order(tidewire):
    peer = await tidewire.peer()
    streamed = request("POST", "/v1/streams", ASK, accept="text/plain")
    peer.raw(request("GET", "/healthz") + streamed + request("GET", "/nowhere") + streamed + request("GET", "/readyz"))
    got = []
    async with asyncio.timeout(30):
        for _ in range(5):
            status, _ = await peer.head()
            got.append((status, (await peer.body()).strip()[:5]))
    assert [status for status, _ in got] == [200, 200, 404, 200, 200]
    assert got[1][1] == got[3][1] == b"Hello"
    await peer.close()


async def test_a_client_that_waits_for_100_continue_is_told_to_go_on(tidewire):
    body = json.dumps(ASK).encode()
    peer = await tidewire.peer()
    head = b"POST /v1/streams HTTP/1.1\r\ncontent-length: %d\r\naccept: text/plain\r\nexpect: 100-continue\r\n\r\n"
    peer.raw(head % len(body))
    assert (await peer.reader.readuntil(b"\r\n\r\n")) == b"HTTP/1.1 100 Continue\r\n\r\n"
    peer.raw(body)
    assert (await peer.head())[0] == 200
    assert (await peer.body()).strip() == b"Hello"
    await peer.close()


async def test_a_client_that_waits_for_100_continue_with_too_much_is_told_at_once(tidewire):
    peer = await tidewire.peer()
    peer.raw(b"POST /v1/streams HTTP/1.1\r\ncontent-length: 99999999999\r\nexpect: 100-continue\r\n\r\n")
    assert (await peer.head())[0] == 413
    await peer.close()


async def test_an_offer_of_http_2_over_plain_text_is_passed_over(tidewire):
    upgrade = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAMAAABkAAQAAP__"}
    assert (await tidewire.ask("GET", "/healthz", **upgrade))[0] == 200
    status, _, body = await tidewire.ask("POST", "/v1/streams", ASK, accept="text/plain", **upgrade)
    assert (status, body.strip()) == (200, b"Hello")


async def test_a_large_body_before_a_stream_does_not_hide_that_the_client_left(tidewire):
    peer = await tidewire.peer()
    body = {"model": "stalled/m", "input": "x" * 300_000, "on_disconnect": "cancel"}
    peer.post("/v1/streams", body)
    await peer.head()
    await peer.until(b'"one"')
    peer.reset()
    await eventually(lambda: tidewire.house.desk.open_streams == 0)


async def test_a_pipelined_request_does_not_hide_that_the_client_left(tidewire):
    peer = await tidewire.peer()
    body = {"model": "stalled/m", "input": "x", "on_disconnect": "cancel", "stream": "pipelined"}
    peer.post("/v1/streams", body)
    await peer.head()
    await peer.until(b'"one"')
    peer.get("/healthz")
    await asyncio.sleep(0.02)
    await peer.close()
    try:
        await eventually(lambda: tidewire.house.desk.open_streams == 0)
    finally:
        await tidewire.ask("POST", "/v1/streams/pipelined/cancel")


async def test_trailers_are_bounded_as_headers_are(tidewire):
    body = json.dumps(ASK).encode()
    peer = await tidewire.peer()
    peer.raw(b"POST /v1/streams HTTP/1.1\r\ntransfer-encoding: chunked\r\naccept: text/plain\r\n\r\n")
    peer.raw(b"%x\r\n%b\r\n0\r\n" % (len(body), body))
    peer.raw(b"".join(b"x%d: %b\r\n" % (i, b"a" * 1000) for i in range(100)) + b"\r\n")
    try:
        assert 400 <= (await peer.head())[0] < 500
    finally:
        await peer.close()


SHAKE = {
    "host": "localhost",
    "connection": "Upgrade",
    "upgrade": "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def shake(path: str = "/v1/ws", method: str = "GET", **changed: str | None) -> bytes:
    lines = SHAKE | {k.replace("_", "-"): v for k, v in changed.items()}
    head = "".join(f"{k}: {v}\r\n" for k, v in lines.items() if v is not None)
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode()


@pytest.mark.parametrize(
    "handshake",
    [
        shake(sec_websocket_key=None),
        shake(sec_websocket_key="short"),
        shake(sec_websocket_version="12"),
        shake(sec_websocket_version=None),
        shake(origin="https://evil.example"),
        shake(path="/nowhere"),
        shake(path="/v1/streams"),
        shake(method="POST"),
    ],
)
async def test_a_handshake_that_cannot_be_is_refused(tidewire, handshake):
    peer = await tidewire.peer()
    peer.raw(handshake)
    async with asyncio.timeout(30):
        status, _ = await peer.head()
    assert 400 <= status < 500
    await peer.close()


async def test_a_frame_that_is_none_is_answered_and_the_socket_goes_on(tidewire):
    async with connect(f"ws://127.0.0.1:{tidewire.port}/v1/ws", compression=None) as socket:
        for frame in (
            "",
            "x",
            "[]",
            "null",
            "[" * 100_000,
            '{"do":"start","id":"a","request":' + "[" * 100_000,
            '{"do":"start","id":"a","request":' + "[" * 5000 + "]" * 5000 + "}",
            '{"do":5}',
            '{"do":"dance"}',
            '{"do":"start"}',
            '{"do":"start","id":"a"}',
            '{"do":"start","id":"a","request":5}',
            '{"do":"start","id":"a","request":{}}',
            '{"do":"start","id":"a","request":{"model":"nobody","input":"x"}}',
            '{"do":"follow","id":"a"}',
            '{"do":"follow","id":"a","stream":"nobody"}',
            '{"do":"follow","id":"a","stream":"nobody","after":-1}',
            '{"do":"follow","id":"a","stream":"nobody","after":1e999}',
            '{"do":"follow","id":"\\ud800","stream":"nobody"}',
            '{"do":"cancel"}',
            '{"do":"cancel","stream":"nobody"}',
            '{"do":"unfollow"}',
            '{"do":"key","key":"\\u0000é"}',
            b"\xff\xfe",
        ):
            await socket.send(frame)
            answer = json.loads(await asyncio.wait_for(socket.recv(), 30))
            if '"key"' not in str(frame):
                assert 400 <= answer["error"]["status"] < 500, frame
        await socket.send('{"do":"ping"}')
        assert json.loads(await socket.recv()) == {"pong": True}


async def test_head_is_get_without_its_body(tidewire):
    await tidewire.ask("POST", "/v1/streams", ASK | {"stream": "heard", "chat": "c9"})
    for path in (
        "/",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/models",
        "/v1/streams",
        "/v1/streams/heard",
        "/v1/streams/heard/events?after=2",
        "/v1/streams/heard/events?as=text",
        "/api/chat/heard/stream?startIndex=1",
        "/api/chat/c9/stream",
    ):
        get, got, _ = await tidewire.ask("GET", path)
        head, headers, body = await tidewire.ask("HEAD", path)
        assert (head, body) == (get, b"")
        assert {k: v for k, v in got.items() if k in ("content-type", "x-tidewire-stream")} == {
            k: v for k, v in headers.items() if k in ("content-type", "x-tidewire-stream")
        }
    assert (await tidewire.ask("HEAD", "/v1/streams/heard/events?after=99"))[0] == 400
    assert (await tidewire.ask("HEAD", "/v1/streams/nobody/events"))[0] == 404
    status, headers, _ = await tidewire.ask("HEAD", "/v1/chat/completions")
    assert status == 405
    assert headers["allow"] == "POST, OPTIONS"
    peer = await tidewire.peer()  # nothing of a body, so that the connection goes on
    peer.ask("HEAD", "/v1/streams/heard/events")
    assert (await peer.head())[0] == 200
    peer.get("/healthz")
    assert (await peer.head())[0] == 200
    assert await peer.body() == b'{"status":"ok"}'
    await peer.close()


async def test_head_of_a_running_stream_neither_waits_nor_counts_as_a_reader(tidewire):
    peer = await tidewire.peer()
    peer.post("/v1/streams", {"model": "stalled/m", "input": "x", "stream": "live", "on_disconnect": "cancel"})
    await peer.head()
    await peer.until(b'"one"')
    assert (await tidewire.ask("HEAD", "/v1/streams/live/events"))[0] == 200
    assert tidewire.house.desk.open_streams == 1
    await peer.close()
    await eventually(lambda: tidewire.house.desk.open_streams == 0)


async def test_a_reader_that_sends_on_while_it_reads_disturbs_nothing(tidewire):
    async def slow(call):
        call.head()
        for word in ("a", "b", "c"):
            call.chunk(chat(word))
            await asyncio.sleep(0.005)
        call.chunk(chat(finish="stop") + DONE)
        call.end()

    async with Upstream(slow) as host, serving(tidewire.house.settings.data, hosts={"slow": host.url}) as other:
        peer = await other.peer()
        peer.post("/v1/streams", {"model": "slow/m", "input": "x"}, accept="text/plain")
        try:
            await peer.head()
            peer.raw(b"\x00nonsense\r\n\r\n")
            body = await peer.body()
        except (asyncio.IncompleteReadError, ConnectionError):
            body = b""
        assert b"abc".startswith(body.strip())  # whole, or visibly broken off: never a body with an error page inside
        await peer.close()


async def test_a_connection_above_the_limit_hears_so_and_the_others_go_on(tmp_path):
    async with serving(tmp_path, limits=Limits(connections=2, busy=10.0)) as served:
        first, second = await served.peer(), await served.peer()
        for peer in (first, second):
            peer.ask("GET", "/healthz")
            assert (await peer.head())[0] == 200
            await peer.body()
        for asked in (request("GET", "/v1/models"), shake()):
            third = await served.peer()
            third.raw(asked)
            status, told = await third.head()
            assert (status, told["retry-after"], told["connection"]) == (503, "1", "close")
            assert json.loads(await third.body())["error"]["code"] == "overloaded"
        first.ask("GET", "/healthz")
        assert (await first.head())[0] == 200
