"""MCP servers over HTTP that refuse, forget, flood, answer nonsense or nothing, written by hand after the pages on Streamable HTTP of both revisions."""

import asyncio
import contextlib
import json
import socket

import pytest

pytest.importorskip("mcp")

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tidewire.toolbox.mcp import McpTools, Remote
from tidewire.toolbox.port import ToolFault
from toolbox import mcp_official
from toolbox.mcp_calls import context, named, until

SESSION = "a-session"


class Scripted:
    """One endpoint. fault: what a call of its only tool, go, comes to."""

    def __init__(self, fault="none", revision="2025-11-25"):
        self.fault = fault
        self.revision = revision
        self.session = SESSION
        self.asked = []  # (headers, body) of each POST
        self.left = asyncio.Event()
        self.app = Starlette(routes=[Route("/mcp", self.answer, methods=["GET", "POST", "DELETE"])])

    async def answer(self, request):
        if request.method != "POST":
            return Response(status_code=405)
        body = json.loads(await request.body())
        self.asked.append((dict(request.headers), body))
        method, number = body["method"], body.get("id")
        if self.fault == "401":
            return Response("who are you?", status_code=401)
        modern = request.headers.get("mcp-protocol-version") == "2026-07-28"
        if modern and self.revision != "2026-07-28":
            return Response("no such version", status_code=400)
        if not modern and method != "initialize" and request.headers.get("mcp-session-id") != self.session:
            return Response(status_code=404)
        if number is None:
            return Response(status_code=202)
        if method == "initialize":
            result = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "scripted", "version": "1"},
            }
            return self.said(number, result, {"mcp-session-id": self.session})
        if method == "server/discover" and modern:
            found = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
            return self.said(number, {**found, **self.whole(modern)})
        if method == "tools/list":
            return self.said(
                number, {"tools": [{"name": "go", "inputSchema": {"type": "object"}}], **self.whole(modern)}
            )
        if method == "tools/call":
            return await self.call(number, modern)
        error = {"code": -32601, "message": "unknown method"}
        return JSONResponse({"jsonrpc": "2.0", "id": number, "error": error}, status_code=404)

    def whole(self, modern):
        return {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"} if modern else {}

    def said(self, number, result, headers=None):
        return JSONResponse({"jsonrpc": "2.0", "id": number, "result": result}, headers=headers)

    async def call(self, number, modern):
        fine = {"content": [{"type": "text", "text": "fine"}], **({"resultType": "complete"} if modern else {})}
        stream = {"media_type": "text/event-stream"}
        if self.fault == "html":
            return Response("<h1>Bad gateway</h1>", status_code=502, media_type="text/html")
        if self.fault == "nonsense":
            return Response("]", media_type="application/json")
        if self.fault == "strange type":
            return Response("hello", media_type="text/plain")
        if self.fault == "large":
            return Response(b'{"x":"' + b"y" * 9_000_000 + b'"}', media_type="application/json")
        if self.fault == "never":
            return StreamingResponse(self.never(), **stream)
        if self.fault == "cut":
            return StreamingResponse(self.cut(), **stream)
        if self.fault == "flood":
            return StreamingResponse(self.flood(number, fine), **stream)
        if self.fault == "asks":
            return self.said(number, {"resultType": "input_required", "inputRequests": {"x": {"method": "roots/list"}}})
        return self.said(number, fine)

    async def never(self):
        try:
            yield b": nothing yet\n\n"
            await asyncio.sleep(600)
        finally:
            self.left.set()

    async def cut(self):
        yield b"data: {\n"

    async def flood(self, number, fine):
        for i in range(2000):
            params = {"progressToken": number, "progress": i}
            yield (
                b"data: %s\n\n"
                % json.dumps({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}).encode()
            )
        yield b"data: %s\n\n" % json.dumps({"jsonrpc": "2.0", "id": number, "result": fine}).encode()


@contextlib.asynccontextmanager
async def web(app):
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await serving
        listening.close()


@contextlib.asynccontextmanager
async def reached(app, revision="auto", headers=None):
    async with web(app) as url:
        server = McpTools("far", Remote(url, headers or {}), revision=revision)
        await server.start()
        try:
            yield server
        finally:
            await server.close()


async def go(server, seconds=20.0):
    return await named(server)["go"].call({}, context(seconds))


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_every_request_carries_our_headers_and_those_of_its_revision(revision):
    scripted = Scripted(revision=revision)
    async with reached(scripted.app, revision, {"Authorization": "Bearer sk-1"}) as server:
        assert (await go(server)).text == "fine"
    assert all(headers["authorization"] == "Bearer sk-1" for headers, _ in scripted.asked)
    headers, body = next((h, b) for h, b in scripted.asked if b["method"] == "tools/call")
    assert headers["mcp-protocol-version"] == revision
    if revision == "2026-07-28":
        assert (headers["mcp-method"], headers["mcp-name"]) == ("tools/call", "go")
        assert body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == revision
        assert "initialize" not in [b["method"] for _, b in scripted.asked]
    else:
        assert headers["mcp-session-id"] == SESSION


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_the_revision_that_a_server_speaks_is_found_out(revision):
    async with reached(Scripted(revision=revision).app) as server:
        assert server._session.revision == revision
        assert (await go(server)).text == "fine"


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_a_call_is_cancelled_as_its_revision_wants_it(revision):
    scripted = Scripted("never", revision)
    async with reached(scripted.app, revision) as server:
        assert "did not answer in time" in (await go(server, 0.5)).text

        def told():
            return [b for _, b in scripted.asked if b["method"] == "notifications/cancelled"]

        if revision == "2026-07-28":
            async with asyncio.timeout(30):
                await scripted.left.wait()  # the response stream was closed
            assert told() == []
        else:
            call = next(b for _, b in scripted.asked if b["method"] == "tools/call")
            await until(told)
            assert [b["params"]["requestId"] for b in told()] == [call["id"]]
        scripted.fault = "none"
        assert (await go(server)).text == "fine"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("nonsense", "its answer cannot be used"),
        ("strange type", "Unexpected content type"),
        ("large", "more than 8388608 bytes"),
        ("asks", "asks a person for more"),
    ],
)
async def test_an_answer_that_is_none_is_a_failed_result_and_the_session_stands(fault, said):
    scripted = Scripted(fault, "2026-07-28")
    async with reached(scripted.app) as server:
        session = server._session
        output = await go(server)
        assert output.failed
        assert said in output.text
        scripted.fault = "none"
        assert (await go(server)).text == "fine"
        assert server._session is session


@pytest.mark.parametrize(("fault", "said"), [("html", "it answered with status 502"), ("cut", "SSE stream ended")])
async def test_an_exchange_that_fails_may_be_tried_again(fault, said):
    scripted = Scripted(fault)
    async with reached(scripted.app) as server:
        with pytest.raises(ToolFault, match=said):
            await go(server)
        scripted.fault = "none"
        assert (await go(server)).text == "fine"


async def test_a_flood_of_progress_reaches_nobody():
    async with reached(Scripted("flood").app) as server:
        progress = []
        output = await named(server)["go"].call({}, context(progress=progress))
    assert output.text == "fine"
    assert 0 < len(progress) < 500  # of 2000; ten a second are handed on, however long it takes


async def test_a_session_that_the_server_has_forgotten_is_begun_again():
    scripted = Scripted()
    async with reached(scripted.app) as server:
        scripted.session = "another"
        with pytest.raises(ToolFault, match="it has forgotten the session"):
            await go(server)
        assert (await go(server)).text == "fine"  # waits for the new one
    assert [b["method"] for _, b in scripted.asked].count("initialize") == 2


async def test_a_key_that_is_refused_is_said(caplog):
    async with reached(Scripted("401").app) as server:
        assert server.tools() == []
        assert "it answered with status 401" in caplog.text


async def test_a_server_that_goes_away_and_comes_back_is_reached_again():
    async with web(Scripted(revision="2026-07-28").app) as url:
        server = McpTools("far", Remote(url), revision="2026-07-28")
        await server.start()
        assert (await go(server)).text == "fine"
    with pytest.raises(ToolFault, match="no connection to it"):
        await go(server)
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    listening = socket.create_server(("127.0.0.1", port))
    again = uvicorn.Server(uvicorn.Config(Scripted(revision="2026-07-28").app, log_config=None))
    serving = asyncio.create_task(again.serve([listening]))
    await until(lambda: again.started)
    assert (await go(server)).text == "fine"
    await server.close()
    again.should_exit = True
    await serving
    listening.close()


async def test_answers_of_the_official_server_in_json_are_read():
    async with reached(mcp_official.made().streamable_http_app(json_response=True)) as server:
        assert (await named(server)["add"].call({"a": 2, "b": 2}, context())).text == "4"
