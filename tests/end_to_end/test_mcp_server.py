"""The documents as an MCP server: the official client, our own, and raw messages; nobody sees what is not theirs."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import pytest
import pytest_asyncio

from serving import serving
from tidewire.retrieval.ports import Chunk, Document
from tidewire.server.settings import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")


def stored(location, text, **more):
    return Document(location, location, text, location, text, 1.7e9, chunks=(Chunk(0, text),), **more)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def served(tmp_path_factory):
    async with serving(tmp_path_factory.mktemp("mcp")) as made:
        store = made.house.library.store
        await store.put("other", [stored("foreign", "A heron of another tenant.")])
        await store.put("default", [stored("staff", "The heron key.", readers=("staff",))])
        await store.put("default", [stored("over", "An old heron.", expires=time.time() - 5)])
        (done,) = await store.put("default", [stored("heron", "A heron waits in water.")])
        await store.put("default", [stored("gone", "A heron that left.")])
        (gone,) = await store.remove("default", ["gone"])
        assert await made.house.library.index.visible(max(done.seq, gone.seq))
        yield made


async def rpc(served, method, params=None, **headers):
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    status, _, raw = await served.ask("POST", "/mcp", body, **headers)
    return status, json.loads(raw)


async def called(served, name, **arguments):
    return (await rpc(served, "tools/call", {"name": name, "arguments": arguments}))[1]


async def test_only_live_documents_of_ones_own_are_found_listed_and_read(served):
    found = (await called(served, "search", query="heron"))["result"]
    (hit,) = found["structuredContent"]["results"]
    assert (hit["title"], hit["url"], hit["text"]) == ("heron", "heron", "A heron waits in water.")
    assert json.loads(found["content"][0]["text"]) == found["structuredContent"]
    whole = (await called(served, "fetch", id=hit["id"]))["result"]["structuredContent"]
    assert whole["text"] == "A heron waits in water."
    listed = (await rpc(served, "resources/list"))[1]["result"]["resources"]
    assert [one["name"] for one in listed] == ["heron"]
    assert "heron waits" in json.dumps(await rpc(served, "resources/read", {"uri": listed[0]["uri"]}))
    store = served.house.library.store
    hidden = [known.id for known in (await store.known("other", ["foreign"])).values()]
    hidden += [known.id for known in (await store.known("default", ["staff", "over"])).values()]
    for name in [*hidden, "foreign", "staff", "over", "gone"]:
        assert (await called(served, "fetch", id=name))["result"]["isError"]
        _, body = await rpc(served, "resources/read", {"uri": f"tidewire://documents/{name}"})
        assert body["error"]["code"] == -32002


async def test_a_list_is_paged_past_what_is_hidden_and_no_cursor_names_it(served, monkeypatch):
    monkeypatch.setattr("tidewire.doors.mcp_documents.PAGE", 1)
    _, first = await rpc(served, "resources/list")
    assert [one["name"] for one in first["result"]["resources"]] == ["heron"]
    assert first["result"]["nextCursor"] == "heron"
    assert (await rpc(served, "resources/list", {"cursor": "heron"}))[1]["result"] == {"resources": []}
    assert (await rpc(served, "resources/list", {"cursor": 5}))[1]["error"]["code"] == -32602


async def test_calls_are_counted(served):
    await called(served, "fetch", id="heron")
    await called(served, "fetch", id="no such")
    _, _, body = await served.ask("GET", "/metrics")
    assert b'tidewire_mcp_calls_total{result="ok",tool="fetch"}' in body
    assert b'tidewire_mcp_calls_total{result="failed",tool="fetch"}' in body


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
@pytest.mark.parametrize("way", ["http", "stdio"])
async def test_the_official_client(served, way, mode):
    pytest.importorskip("mcp")
    from mcp import Client, StdioServerParameters, stdio_client

    program = StdioServerParameters(command=sys.executable, args=["-m", "tidewire.cli", "mcp", "--url", served.url])
    where = f"{served.url}/mcp" if way == "http" else stdio_client(program)
    async with asyncio.timeout(20), Client(where, mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["search", "fetch"]
        found = await client.call_tool("search", {"query": "heron"})
        assert found.structured_content["results"][0]["title"] == "heron"
        (resource,) = (await client.list_resources()).resources
        assert (await client.read_resource(resource.uri)).contents[0].text == "A heron waits in water."


async def test_our_own_client(served):
    pytest.importorskip("mcp")
    from tidewire.toolbox.mcp import McpTools, Remote
    from toolbox.mcp_calls import context, named

    server = McpTools("own", Remote(f"{served.url}/mcp", {}), revision="auto")
    await server.start()
    try:
        assert "heron waits" in (await named(server)["search"].call({"query": "heron"}, context())).text
    finally:
        await server.close()


async def test_bad_input_is_answered_with_a_sentence(served):
    status, _, raw = await served.ask("POST", "/mcp", b"{nonsense")
    assert (status, json.loads(raw)["error"]["code"]) == (400, -32700)
    status, _, raw = await served.ask("POST", "/mcp", [])
    assert (status, json.loads(raw)["error"]["code"]) == (400, -32600)
    assert (await rpc(served, "no/such"))[1]["error"]["code"] == -32601
    assert (await called(served, "odd"))["error"]["code"] == -32602
    for wrong in ({"query": "x", "k": 10**9}, {}, {"query": 5}, {"query": "x", "groups": ["staff"]}):
        assert (await called(served, "search", **wrong))["result"]["isError"]
    assert (await rpc(served, "ping", origin="http://evil.example"))[0] == 403
    meta = {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}
    assert (await rpc(served, "tools/list", meta))[1]["error"]["code"] == -32020
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    assert (await served.ask("POST", "/mcp", cancelled))[0] == 202


async def test_the_key_is_asked_for(tmp_path):
    async with serving(tmp_path, server=Server(api_key="sesame")) as locked:
        status, body = await rpc(locked, "ping")
        assert (status, body["id"]) == (401, None)
        assert (await rpc(locked, "ping", authorization="Bearer sesame"))[0] == 200


async def test_a_client_that_leaves_amid_its_search_takes_it_along(served, monkeypatch):
    left = asyncio.Event()
    began = asyncio.Event()

    async def endless(namespace, query):
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            left.set()

    monkeypatch.setattr(type(served.house.library.finder), "find", lambda self, *a: endless(*a))
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "search", "arguments": {"query": "x"}},
    }
    for path, body in (("/mcp", call), ("/v1/search", {"query": "x"})):
        began.clear()
        left.clear()
        peer = await served.peer()
        peer.post(path, body)
        async with asyncio.timeout(30):
            await began.wait()
            peer.reset()
            await left.wait()


async def test_so_many_searches_at_a_time_and_no_more(served, monkeypatch):
    monkeypatch.setattr("tidewire.server.searching.MOST", 0)
    status, headers, body = await served.ask("POST", "/v1/search", {"query": "heron"})
    assert (status, headers["retry-after"]) == (429, "1")
    assert b"searches are under way" in body
    assert "searches are under way" in (await called(served, "search", query="heron"))["error"]["message"]


async def test_a_long_text_comes_in_parts_and_says_so(served, monkeypatch):
    monkeypatch.setattr("tidewire.doors.mcp_documents.LONGEST", 10)
    whole, start = "", 0
    while start is not None:
        part = (await called(served, "fetch", id="heron", start=start))["result"]["structuredContent"]
        assert part["metadata"]["characters"] == len("A heron waits in water.")
        whole, start = whole + part["text"], part["metadata"]["next"]
    assert whole == "A heron waits in water."
    beyond = (await called(served, "fetch", id="heron", start=99))["result"]
    assert beyond["isError"]
    assert "23 characters" in beyond["content"][0]["text"]
    _, body = await rpc(served, "resources/read", {"uri": "tidewire://documents/heron"})
    assert "fetch gives it in parts" in body["error"]["message"]
