"""Pages of other origins: what a browser asks beforehand, and what it is told."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

from serving import eventually, serving
from tidewire.server.settings import Server
from upstream import Upstream, stall_after_a_token

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE = "https://app.example"
ASKED = {"access_control_request_method": "POST", "access_control_request_headers": "content-type, authorization"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def tidewire(tmp_path_factory):
    async with Upstream(stall_after_a_token) as host:
        given = Server(api_key="secret", origins=[PAGE])
        async with serving(tmp_path_factory.mktemp("cors"), hosts={"host": host.url}, server=given) as served:
            yield served


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def open_to_all(tmp_path_factory):
    async with Upstream(stall_after_a_token) as host:
        given = Server(origins=["*"])
        async with serving(tmp_path_factory.mktemp("open"), hosts={"host": host.url}, server=given) as served:
            yield served


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def closed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("closed")
    async with Upstream(stall_after_a_token) as host, serving(folder, hosts={"host": host.url}) as served:
        yield served


@pytest.mark.parametrize(
    "path",
    [
        "/v1/streams",
        "/v1/streams/x",
        "/v1/streams/x/cancel",
        "/v1/chat/completions",
        "/v1/responses/x",
        "/api/chat",
        "/",
    ],
)
async def test_a_page_that_may_call_is_told_so_before_it_needs_a_key(tidewire, path):
    status, headers, body = await tidewire.ask("OPTIONS", path, origin=PAGE, **ASKED)
    assert (status, body) == (204, b"")
    assert headers["access-control-allow-origin"] == PAGE
    assert headers["vary"] == "origin"
    assert headers["access-control-allow-headers"] == "content-type, authorization"
    assert "POST" in headers["access-control-allow-methods"]
    assert "content-length" not in headers


async def test_a_page_that_may_not_call_is_told_nothing(tidewire):
    status, headers, _ = await tidewire.ask("OPTIONS", "/v1/streams", origin="https://evil.example", **ASKED)
    assert status == 204
    assert not any(name.startswith("access-control") for name in headers)
    for origin in ("null", "https://app.example.evil.example", "HTTPS://APP.EXAMPLE", ""):
        _, headers, _ = await tidewire.ask("OPTIONS", "/v1/streams", origin=origin, **ASKED)
        assert "access-control-allow-origin" not in headers


async def test_the_answer_may_be_read_with_its_stream_id_whether_it_is_good_or_not(tidewire):
    peer = await tidewire.peer()
    body = {"model": "host/m", "input": "Hello", "on_disconnect": "cancel"}
    peer.post("/v1/streams", body, origin=PAGE, authorization="Bearer secret")
    status, headers = await peer.head()
    assert status == 200
    assert headers["access-control-allow-origin"] == PAGE
    assert "x-tidewire-stream" in headers["access-control-expose-headers"]
    await peer.close()
    for method, path, expected in (
        ("POST", "/v1/streams", 401),
        ("PUT", "/v1/streams", 405),
        ("GET", "/v1/streams/nobody?key=secret", 404),
        ("GET", "/nowhere", 404),
    ):
        status, headers, _ = await tidewire.ask(method, path, origin=PAGE)
        assert status == expected, path
        assert headers["access-control-allow-origin"] == PAGE, path


async def test_any_page_may_call_where_all_are_allowed(open_to_all):
    status, headers, _ = await open_to_all.ask("OPTIONS", "/v1/streams", origin="https://any.example", **ASKED)
    assert (status, headers["access-control-allow-origin"]) == (204, "https://any.example")


async def test_an_origin_that_no_header_may_hold_is_not_repeated(open_to_all):
    for origin in ("https://a\x7f.example", "https://a\xa0.example", "https://a\tb.example"):
        status, headers, _ = await open_to_all.ask("OPTIONS", "/v1/streams", origin=origin, **ASKED)
        assert status in (204, 400)
        assert "access-control-allow-origin" not in headers
    asked = {"access_control_request_method": "POST", "access_control_request_headers": "a\x7fb"}
    status, headers, _ = await open_to_all.ask("OPTIONS", "/v1/streams", origin=PAGE, **asked)
    assert status in (204, 400)


async def test_a_page_that_only_asks_beforehand_stops_nothing(closed):
    """An OPTIONS request runs no handler: neither that of a route which needs no body, nor any other."""
    peer = await closed.peer()
    peer.post("/v1/streams", {"model": "host/m", "input": "Hello", "stream": "s1", "chat": "c1"})
    await peer.until(b"one") if await peer.head() else None
    for path in ("/v1/streams/s1/cancel", "/v1/responses/s1/cancel", "/api/chat/c1/stop", "/v1/streams/s1"):
        for headers in ({}, {"origin": "https://evil.example"} | ASKED):
            status, got, body = await closed.ask("OPTIONS", path, **headers)
            assert (status, body) == (204, b"")
            assert "OPTIONS" in got["allow"]
    assert closed.house.desk.open_streams == 1
    await closed.ask("POST", "/v1/streams/s1/cancel")
    await eventually(lambda: closed.house.desk.open_streams == 0)
    await peer.close()


async def test_a_failure_before_the_first_byte_may_be_read_too(open_to_all):
    body = {"model": "simulated", "messages": [{"role": "user", "content": "sim: error=overloaded"}], "stream": True}
    for streamed in (True, False):
        status, headers, _ = await open_to_all.ask(
            "POST", "/v1/chat/completions", {**body, "stream": streamed}, origin=PAGE
        )
        assert status >= 400
        assert headers["access-control-allow-origin"] == PAGE


async def test_a_page_that_may_not_call_changes_nothing_either(closed):
    """Such a request needs no question beforehand: a browser sends it, and hides the answer."""
    line = b'{"location": "planted.md", "text": "Planted."}'
    simple = {"content_type": "text/plain"}
    for foreign in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"origin": closed.url, "sec_fetch_site": "cross-site"},
    ):
        status, headers, body = await closed.ask("POST", "/v1/documents", line, **foreign, **simple)
        assert (status, json.loads(body)["error"]["code"]) == (403, "foreign_origin")
        assert "access-control-allow-origin" not in headers
        assert (await closed.ask("POST", "/v1/streams/x/cancel", b"", **foreign))[0] == 403
        assert (await closed.ask("GET", "/v1/models", **foreign))[
            0
        ] == 200  # the browser keeps the answer from the page
    assert (await closed.ask("GET", "/v1/documents/planted.md"))[0] == 404
    for own in (
        {},
        {"origin": "http://127.0.0.1"},
        {"origin": "https://proxy.example", "sec_fetch_site": "same-origin"},
    ):
        status, _, _ = await closed.ask("POST", "/v1/documents", line, **own, **simple)
        assert status == 200


async def test_a_page_that_is_named_may_change_what_the_key_lets_it(tidewire, open_to_all):
    line, key = b'{"location": "own.md", "text": "Ours."}', {"authorization": "Bearer secret"}
    page = {"origin": PAGE, "sec_fetch_site": "cross-site"}
    assert (await tidewire.ask("POST", "/v1/documents", line, **page, **key))[0] == 200
    assert (await open_to_all.ask("POST", "/v1/documents", line, **page))[0] == 200
