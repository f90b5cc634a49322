"""Calls against a scripted service: slow, huge, failing, cut, leading elsewhere."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_service import PETS, called, made, reached

from tidewire.core.errors import SettingsError
from tidewire.toolbox.openapi import OpenApiTools, Service
from tidewire.toolbox.openapi_call import Unfit, asked, output
from tidewire.toolbox.openapi_document import Choice
from tidewire.toolbox.port import Terms, ToolFault
from upstream import Call, Upstream, refuses, silent

FIELDS = [
    {"name": "a", "in": "path", "schema": {}},
    {"name": "q", "in": "query", "schema": {}},
    {"name": "deep", "in": "query", "style": "deepObject", "schema": {}},
    {"name": "piped", "in": "query", "style": "pipeDelimited", "explode": False, "schema": {}},
    {"name": "j", "in": "query", "content": {"application/json": {"schema": {}}}},
    {"name": "X-H", "in": "header", "schema": {}},
]
ONE = made({"/x/{a}/y": {"get": {"operationId": "one", "parameters": FIELDS}}})["one"]


def target(**arguments: Any) -> str:
    return asked(ONE, arguments).target


def test_arguments_go_where_the_document_says() -> None:
    assert target(a="ü b") == "/x/%C3%BC%20b/y"
    assert target(a=["1", 2]) == "/x/1,2/y"
    assert target(a=1, q=["p&q", True]) == "/x/1/y?q=p%26q&q=true"
    assert target(a=1, q={"k": "v"}) == "/x/1/y?k=v"
    assert target(a=1, deep={"k": 1.5}) == "/x/1/y?deep%5Bk%5D=1.5"
    assert target(a=1, piped=["a", "b|c"]) == "/x/1/y?piped=a%7Cb%7Cc"
    assert target(a=1, j={"k": [1]}) == "/x/1/y?j=%7B%22k%22%3A%5B1%5D%7D"
    assert target(a=1, q=None) == "/x/1/y"
    assert asked(ONE, {"a": 1, "X-H": ["a", "b"]}).headers == {"X-H": "a,b"}


@pytest.mark.parametrize("value", ["", ".", "..", "../admin", "a/../../admin", "..\\admin", [], "a/./b"])
def test_an_argument_cannot_leave_its_place_in_a_path(value: Any) -> None:
    with pytest.raises(Unfit, match="argument a"):
        target(a=value)


@given(st.text() | st.lists(st.text(), max_size=3) | st.dictionaries(st.text(), st.text(), max_size=3), st.text())
def test_whatever_the_arguments_are_the_path_keeps_its_pieces(value: Any, query: str) -> None:
    try:
        path, _, rest = target(a=value, q=query).partition("?")
    except Unfit:
        return
    before, piece, after = path[1:].split("/")
    assert (before, after) == ("x", "y")
    assert piece not in ("", ".", "..")
    assert (path + rest).isascii()
    assert not set(path + rest) & set("#?\\ \r\n")
    assert rest.startswith("q=")
    assert "&" not in rest


@pytest.mark.parametrize("value", ["a\r\nX-Admin: 1", "ü", "a\x00"])
def test_an_argument_cannot_become_another_header(value: str) -> None:
    with pytest.raises(Unfit, match="one line"):
        asked(ONE, {"a": 1, "X-H": value})


def test_arguments_that_are_missing_or_unknown_are_said_to_the_model() -> None:
    with pytest.raises(Unfit, match="the argument a is missing"):
        asked(ONE, {})
    with pytest.raises(Unfit, match="no argument 'b'; it takes X-H, a, deep, j, piped, q"):
        asked(ONE, {"a": 1, "b": 2})


def test_bodies_are_written_as_the_document_says() -> None:
    def body(media: str, value: Any) -> Any:
        content = {"requestBody": {"content": {media: {"schema": {}}}}, "operationId": "send"}
        what = asked(made({"/a": {"post": content}})["send"], {"body": value})
        return what.headers["Content-Type"], what.body

    assert body("application/json; charset=utf-8", {"a": [1]}) == ("application/json", b'{"a":[1]}')
    assert body("application/merge-patch+json", None) == ("application/merge-patch+json", b"null")
    assert body("text/plain", "hi") == ("text/plain", b"hi")
    assert body("*/*", 1) == ("application/json", b"1")
    form = {"a": "x y&z=1", "b": [1, True], "c": None}
    assert body("application/x-www-form-urlencoded", form)[1] == b"a=x%20y%26z%3D1&b=1&b=true"
    with pytest.raises(Unfit, match="form"):
        body("application/x-www-form-urlencoded", "a")


def test_answers_become_results() -> None:
    assert output(200, "OK", "application/json", b'{"a": 1}').text == '{"a": 1}'
    assert output(200, "OK", "text/plain; charset=latin-1", "ü".encode("latin-1")).text == "ü"
    assert output(200, "OK", "text/plain; charset=none", b"a").text == "a"
    assert output(204, "No Content", "", b"").text == "done; the service answered 204 and nothing else"
    picture = output(200, "OK", "image/png", b"\x89PNG")
    assert (picture.text, picture.images[0].url) == ("", "data:image/png;base64,iVBORw==")
    assert output(200, "OK", "application/pdf", b"%PDF").text == "[application/pdf, 4 bytes, which cannot be shown]"
    no = output(404, "Not Found", "application/json", b'{"error": "no such pet"}')
    assert (no.failed, no.text) == (True, 'the service answered 404 Not Found: {"error": "no such pet"}')
    assert len(output(500, "", "text/plain", b"x" * 100_000).text) < 2_100


def says(data: bytes, media: str = "application/json") -> Any:
    return refuses(200, data, content_type=media)


async def test_a_call_reaches_the_service_with_the_settings_headers(tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer secret"}
    async with Upstream(says(b'{"name":"Rex"}')) as host, reached(tmp_path, host, headers=headers) as tools:
        result = await called(tools, "getPet", id="a/b")
        call = host.calls[0]
        assert (result.text, result.failed) == ('{"name":"Rex"}', False)
        assert (call.method, call.path) == ("GET", "/api/pets/a%2Fb")
        assert call.headers["authorization"] == "Bearer secret"
        assert "idempotency-key" not in call.headers


async def test_a_header_of_the_settings_is_sent_once_however_it_is_written(tmp_path: Path) -> None:
    heads: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).lower())
        writer.write(b"HTTP/1.1 204 Gone\r\n\r\n")
        writer.close()

    headers = {"content-type": "application/vnd.pets+json", "ACCEPT": "application/json"}
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host: Any = SimpleNamespace(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with reached(tmp_path, host, headers=headers) as tools:
            assert not (await called(tools, "changePet", id=1, body={})).failed
    [head] = heads
    assert head.count(b"content-type:") == head.count(b"accept:") == 1
    assert b"content-type: application/vnd.pets+json" in head


async def test_a_call_that_changes_something_carries_its_key(tmp_path: Path) -> None:
    async with Upstream(says(b"{}")) as host, reached(tmp_path, host) as tools:
        await called(tools, "changePet", id=1, body={"name": "Rex"})
        call = host.calls[0]
        assert (call.method, call.json) == ("PUT", {"name": "Rex"})
        assert call.headers["idempotency-key"] == "s1/c1"


async def test_only_what_reads_is_asked_again_unless_the_settings_say_so(tmp_path: Path) -> None:
    async with Upstream(silent) as host:
        async with reached(tmp_path, host) as tools:
            assert {t.name: t.terms.idempotent for t in tools.tools()} == {
                "getPet": True,
                "list_pets": True,
                "changePet": False,
            }
        async with reached(tmp_path, host, terms=Terms(idempotent=True)) as tools:
            assert all(t.terms.idempotent for t in tools.tools())


@pytest.mark.parametrize("length", [True, False])
async def test_an_answer_of_a_hundred_megabytes_is_not_read_to_its_end(tmp_path: Path, length: bool) -> None:
    written = 0

    async def floods(call: Call) -> None:
        nonlocal written
        call.head(200, content_type="application/json", length=100_000_000 if length else None)
        while written < 100_000_000 and not call.gone.is_set():
            call.chunk(b"x" * 10_000)
            written += 10_000
            await asyncio.sleep(0)

    async with Upstream(floods) as host, reached(tmp_path, host, terms=Terms(result_bytes=50_000)) as tools:
        result = await called(tools, "getPet", id="1")
        await host.calls[0].gone.wait()
    size = "100000000 bytes" if length else "more than 50000 bytes"
    assert result.failed
    assert result.text == f"the service pets answered with {size}; 50000 are allowed (result_bytes); ask for less"
    assert written < 20_000_000


async def test_a_compressed_answer_is_refused_unread(tmp_path: Path) -> None:
    async def squeezed(call: Call) -> None:
        call.head(200, content_type="application/json", content_encoding="gzip")
        await call.stall()

    async with Upstream(squeezed) as host, reached(tmp_path, host) as tools:
        result = await called(tools, "getPet", id="1")
        assert host.calls[0].headers["accept-encoding"] == "identity"
    assert result.failed
    assert "compressed" in result.text


async def cut(call: Call) -> None:
    call.head(200, content_type="application/json")
    call.chunk(b'{"a":')
    call.cut()


async def nonsense(call: Call) -> None:
    call.raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    call.close()


@pytest.mark.parametrize("script", [cut, nonsense, refuses(503, b"later"), refuses(429, b"slow down")])
async def test_a_failure_that_another_try_may_not_meet_is_told_as_such(tmp_path: Path, script: Any) -> None:
    async with Upstream(script) as host, reached(tmp_path, host) as tools:
        with pytest.raises(ToolFault, match="the service"):
            await called(tools, "getPet", id="1")


async def test_a_refusal_is_a_result_that_the_model_reads(tmp_path: Path) -> None:
    async with Upstream(refuses(404, {"error": "no such pet"})) as host, reached(tmp_path, host) as tools:
        result = await called(tools, "getPet", id="1")
    assert result.failed
    assert result.text == 'the service answered 404 Whatever: {"error": "no such pet"}'


async def test_arguments_that_make_no_request_reach_nobody(tmp_path: Path) -> None:
    async with Upstream(silent) as host, reached(tmp_path, host) as tools:
        result = await called(tools, "getPet", id="..")
        assert (result.failed, host.calls) == (True, [])
    assert result.text.startswith("the call was not made: ")


async def test_a_cancelled_call_closes_its_connection(tmp_path: Path) -> None:
    async def slow(call: Call) -> None:
        call.head(200, content_type="application/json")
        call.chunk(b"[")
        await call.stall()

    async with Upstream(silent, slow) as host, reached(tmp_path, host) as tools:
        for n in (1, 2):
            running = asyncio.create_task(called(tools, "getPet", id="1"))
            await host.asked(n)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            await host.calls[-1].gone.wait()
            assert not host.open


def leads(to: str, status: int = 302) -> Any:
    return refuses(status, b"", location=to)


async def test_a_redirect_is_followed_within_the_origin_only(tmp_path: Path) -> None:
    async with Upstream(silent) as other:
        async with Upstream(leads("/v2"), says(b"1"), leads(other.url)) as host, reached(tmp_path, host) as tools:
            assert (await called(tools, "getPet", id="1")).text == "1"
            assert [call.path for call in host.calls] == ["/api/pets/1", "/v2"]
            away = await called(tools, "getPet", id="1")
            assert away.failed
            assert "within the same origin" in away.text
            written = await called(tools, "changePet", id=1, body={})
            assert written.failed
        assert not other.calls


async def test_redirects_in_a_circle_end(tmp_path: Path) -> None:
    async with Upstream(leads("/again")) as host, reached(tmp_path, host) as tools:
        result = await called(tools, "getPet", id="1")
        assert (result.failed, len(host.calls)) == (True, 4)


async def test_the_document_may_lie_at_the_service(tmp_path: Path) -> None:
    async with Upstream(says(json.dumps(PETS).encode()), says(b"1")) as host:
        tools = OpenApiTools("pets", Service(host.url + "/openapi.json", host.url, {"X-Key": "k"}))
        await tools.start()
        assert {one.name for one in tools.tools()} == {"getPet", "list_pets"}
        assert host.calls[0].headers["x-key"] == "k"
        await tools.close()


async def test_headers_for_the_service_do_not_go_to_a_document_elsewhere(tmp_path: Path) -> None:
    async with Upstream(says(json.dumps(PETS).encode())) as host:
        tools = OpenApiTools("pets", Service(host.url + "/openapi.json", "http://127.0.0.1:1", {"X-Key": "k"}))
        await tools.start()
        assert "x-key" not in host.calls[0].headers
        await tools.close()


async def test_a_document_that_cannot_be_had_is_said_at_the_start(tmp_path: Path) -> None:
    async def said(document: str, **choice: list[str]) -> str:
        tools = OpenApiTools("pets", Service(document, "http://127.0.0.1:1", choice=Choice(**choice)))
        with pytest.raises(SettingsError) as error:
            await tools.start()
        await tools.close()
        return error.value.message

    assert "cannot be read: No such file" in await said(str(tmp_path / "none.json"))
    hidden = await said("http://me:pass@127.0.0.1:1/openapi.json?key=k")
    assert "http://127.0.0.1:1/openapi.json cannot be reached: ConnectError" in hidden
    async with Upstream(refuses(404), says(b"{}"), says(b"x" * 20_000_000)) as host:
        assert "answered 404, not with a document" in await said(host.url)
        assert "it has no field openapi" in await said(host.url)
        assert "more than 16777216 bytes" in await said(host.url)
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(PETS))
    assert "no operation of" in await said(str(path), include=["pets"], exclude=["pets"])
