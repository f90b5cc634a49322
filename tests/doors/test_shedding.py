"""A server that is full: what begins an answer is refused before it costs anything, and nothing else is."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from serving import eventually, request, serving
from tidewire.server.settings import Limits, Server
from upstream import Upstream, stall_after_a_token

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASK = {"model": "host/m", "input": "Hello"}
CHAT = {"model": "host/m", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
AGUI = {"tools": [], "context": [], "state": {}, "forwardedProps": {}}
FULL = "limits.streams"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def full(tmp_path_factory):
    """A server whose only place is taken by an answer that does not end."""
    async with (
        Upstream(stall_after_a_token) as host,
        serving(
            tmp_path_factory.mktemp("full"),
            hosts={"host": host.url},
            limits=Limits(streams=1, busy=10.0),
            server=Server(origins=["https://app.example"]),
        ) as served,
    ):
        peer = await served.peer()
        peer.post("/v1/streams", {**ASK, "stream": "held"})
        await peer.head()
        await eventually(lambda: served.house.desk.open_streams == 1)
        yield served


@pytest.fixture
def handled(full, monkeypatch):
    """Requests that got as far as a task of their own."""
    count = []
    connection = full.server.connection_class
    start = connection._start_asgi_task
    monkeypatch.setattr(connection, "_start_asgi_task", lambda self, *a: (count.append(1), start(self, *a)))
    return count


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/streams", ASK),
        ("/v1/chat/completions", CHAT),
        ("/v1/messages", {**CHAT, "max_tokens": 5}),
        ("/v1/responses", ASK),
        ("/v2/chat", CHAT),
        (
            "/api/chat",
            {"id": "c", "messages": [{"id": "1", "role": "user", "parts": [{"type": "text", "text": "Hello"}]}]},
        ),
        ("/ollama/api/chat", CHAT),
        (
            "/agui",
            {"threadId": "t", "runId": "r", "messages": [{"id": "1", "role": "user", "content": "Hello"}]} | AGUI,
        ),
        ("/v1/images/generations", {"model": "host/m", "prompt": "a harbour"}),
    ],
)
async def test_each_dialect_is_refused_early_in_the_words_it_uses_for_the_same_refusal_later(full, path, body):
    status, headers, early = await full.ask("POST", path, body)
    assert (status, headers["retry-after"]) == (429, "1")
    assert headers["content-type"] == "application/json"
    assert FULL in early.decode()
    late_status, late_headers, late = await full.ask(
        "POST", path + "?x=1", body
    )  # an address with a query goes the long way
    assert late_status == status
    assert json.loads(late).keys() == json.loads(early).keys()
    assert headers.keys() == late_headers.keys()


async def test_a_refusal_starts_no_task_and_its_connection_is_kept_for_the_next_question(full, handled):
    peer = await full.peer()
    for _ in range(3):
        peer.post("/v1/streams", ASK)
        status, headers = await peer.head()
        assert status == 429
        assert "connection" not in headers
        assert FULL in (await peer.body()).decode()
    assert not handled
    peer.ask("GET", "/v1/streams/held")
    assert (await peer.head())[0] == 200
    assert len(handled) == 1


async def test_what_begins_no_answer_goes_its_way(full):
    for method, path, expected in (
        ("GET", "/healthz", 200),
        ("GET", "/v1/streams/held", 200),
        ("GET", "/v1/models", 200),
    ):
        assert (await full.ask(method, path))[0] == expected


async def test_a_body_that_does_not_end_is_not_read_to_its_end(full):
    peer = await full.peer()
    peer.raw(b"POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ncontent-length: 90000000\r\n\r\n")
    async with asyncio.timeout(30):
        with pytest.raises((ConnectionError, BrokenPipeError)):  # noqa: PT012 - which write breaks is the kernel's
            while True:
                peer.raw(b"x" * 65536)
                await peer.writer.drain()
                await asyncio.sleep(0)
    await peer.close()


async def test_a_body_in_many_pieces_is_read_away_and_the_connection_kept(full):
    peer = await full.peer()
    body = json.dumps({**ASK, "input": "x" * 300_000}).encode()
    for _ in range(2):
        peer.raw(b"POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body))
        for at in range(0, len(body), 50_000):
            peer.raw(body[at : at + 50_000])
            await peer.writer.drain()
            await asyncio.sleep(0)
        status, headers = await peer.head()
        assert (status, "connection" in headers) == (429, False)
        assert FULL in (await peer.body()).decode()


async def test_requests_in_one_write_are_each_answered_in_turn(full):
    peer = await full.peer()
    peer.raw(request("POST", "/v1/streams", ASK) * 2 + request("GET", "/healthz") + request("POST", "/v1/streams", ASK))
    seen = []
    for _ in range(4):
        seen.append((await peer.head())[0])
        await peer.body()
    assert seen == [429, 429, 200, 429]


async def test_who_never_sends_the_body_is_not_waited_for(full):
    before = set(full.connections)
    peer = await full.peer()
    peer.raw(b"POST /v1/streams HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n")
    await eventually(lambda: any(one._in_body for one in full.connections - before))
    (connection,) = (one for one in full.connections - before if one._in_body)
    connection.check(connection._deadline + 1.0)
    assert (await peer.head())[0] == 408
    await peer.body()
    async with asyncio.timeout(10):
        assert await peer.reader.read() == b""
    await eventually(lambda: connection not in full.connections)


async def test_a_browser_is_refused_with_the_headers_that_let_its_page_read_why(full):
    status, _, body = await full.ask("POST", "/v1/streams", ASK, origin="https://app.example")
    assert status == 429
    assert FULL in body.decode()


async def test_refusals_are_counted(full):
    def counted() -> float:
        lines = full.house.metrics.render().decode().splitlines()
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith('tidewire_refusals_total{code="overloaded')
        )

    before = counted()
    await full.ask("POST", "/v1/streams", ASK)
    assert counted() == before + 1


async def test_once_there_is_room_the_next_is_answered(full, tmp_path):
    async with (
        Upstream(stall_after_a_token) as host,
        serving(tmp_path, hosts={"host": host.url}, limits=Limits(streams=1, busy=10.0)) as served,
    ):
        first = await served.peer()
        first.post("/v1/streams", {**ASK, "stream": "one"})
        await first.head()
        assert (await served.ask("POST", "/v1/streams", ASK))[0] == 429
        await served.ask("POST", "/v1/streams/one/cancel")
        await eventually(lambda: served.house.desk.open_streams == 0)
        peer = await served.peer()
        peer.post("/v1/streams", ASK)
        assert (await peer.head())[0] == 200


async def on_the_doorstep(full):
    """A new connection just after a refusal, and what the server has for it."""
    await full.ask("POST", "/v1/streams", ASK)
    before = set(full.server._waiting)
    peer = await full.peer()
    await eventually(lambda: full.server._waiting - before)
    (waiting,) = full.server._waiting - before
    return peer, waiting


async def test_who_comes_while_others_are_refused_is_refused_before_http_is_parsed_and_may_ask_again(full, handled):
    peer, waiting = await on_the_doorstep(full)
    handled.clear()
    for _ in range(3):
        peer.post("/v1/streams", ASK)
        status, headers = await peer.head()
        assert (status, headers["retry-after"]) == (429, "1")
        assert FULL in (await peer.body()).decode()
    assert not handled
    assert waiting in full.server._waiting


@pytest.mark.parametrize(
    "more", [{"origin": "https://app.example"}, {"expect": "100-continue"}, {"connection": "close"}]
)
async def test_whatever_is_no_plain_question_is_let_in_with_what_it_has_said(full, more):
    peer, waiting = await on_the_doorstep(full)
    peer.post("/v1/streams", ASK, **more)
    async with asyncio.timeout(30):
        status, _ = await peer.head()
        assert status in (100, 429)
        if status == 429:
            assert FULL in (await peer.body()).decode()
    assert waiting not in full.server._waiting
    await peer.close()


async def test_a_question_in_pieces_is_let_in_and_one_for_another_address_answered(full):
    peer, waiting = await on_the_doorstep(full)
    peer.raw(b"GET /healthz HT")
    await eventually(lambda: waiting not in full.server._waiting)
    peer.raw(b"TP/1.1\r\nhost: localhost\r\n\r\n")
    assert (await peer.head())[0] == 200
    other, _ = await on_the_doorstep(full)
    other.ask("GET", "/v1/streams/held")
    assert (await other.head())[0] == 200


async def test_who_says_nothing_on_the_doorstep_is_not_waited_for(full):
    peer, waiting = await on_the_doorstep(full)
    waiting.check(waiting._since + 9.0, 10.0)
    assert waiting in full.server._waiting
    waiting.check(waiting._since + 11.0, 10.0)
    async with asyncio.timeout(30):
        assert await peer.reader.read() == b""
    await eventually(lambda: waiting not in full.server._waiting)
