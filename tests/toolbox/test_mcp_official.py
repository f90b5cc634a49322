"""The official package on the other side: both revisions, over standard input and output and over HTTP."""

import asyncio
import base64
import contextlib
import os
import socket

import pytest

pytest.importorskip("mcp")

import uvicorn

from tidewire.toolbox import mcp_session
from tidewire.toolbox.mcp import McpTools, Remote
from toolbox import mcp_official
from toolbox.mcp_calls import context, named, program, until

REVISIONS = ["2025-11-25", "2026-07-28"]
WAYS = [(way, revision) for way in ("stdio", "http") for revision in REVISIONS]


@contextlib.asynccontextmanager
async def web():
    """Where the server answers over HTTP. uvicorn is told to end, and its streams are not waited for."""
    app = mcp_official.made().streamable_http_app()
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve([listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        server.should_exit = True
        await serving
        listening.close()


@contextlib.asynccontextmanager
async def tools(way, revision, notes, **more):
    async with contextlib.AsyncExitStack() as stack:
        if way == "http":
            os.environ["NOTES"] = str(notes)
            stack.callback(os.environ.pop, "NOTES")
            where = Remote(await stack.enter_async_context(web()), more.pop("headers", {}))
        else:
            where = program("mcp_official.py", NOTES=str(notes))
        server = McpTools("official", where, revision=revision, **more)
        await server.start()
        stack.push_async_callback(server.close)
        yield server


@pytest.mark.parametrize(("way", "revision"), WAYS)
async def test_tools_are_listed_called_and_answer(way, revision, tmp_path):
    async with tools(way, revision, tmp_path) as server:
        known = named(server)
        assert known["add"].tool.description == "Adds two whole numbers."
        assert known["add"].tool.parameters["required"] == ["a", "b"]
        assert "with_dots" in known  # hosts take no dots
        assert (await known["add"].call({"a": 2, "b": 3}, context())).text == "5"
        assert (await known["with_dots"].call({}, context())).text == "odd"
        picture = await known["picture"].call({}, context())
        encoded = base64.b64encode(mcp_official.PIXEL).decode()
        assert [image.url for image in picture.images] == [f"data:image/png;base64,{encoded}"]
        assert (await known["link"].call({}, context())).text == "[notes](file:///notes.txt): what was said"
        assert (await known["structured"].call({}, context())).text == '{"city":"Oslo","degrees":-3}'
        failed = await known["fails"].call({}, context())
        assert failed.failed
        assert "fails" in failed.text


@pytest.mark.parametrize(("way", "revision"), WAYS)
async def test_a_call_that_is_cancelled_stops_at_the_server(way, revision, tmp_path):
    async with tools(way, revision, tmp_path) as server:
        progress = []
        calling = asyncio.create_task(named(server)["slow"].call({}, context(progress=progress)))
        await until(lambda: (tmp_path / "started").exists() and progress)
        assert progress == ["began"]
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await until((tmp_path / "cancelled").exists)
        assert (await named(server)["add"].call({"a": 1, "b": 1}, context())).text == "2"  # the session stands


@pytest.mark.parametrize(("way", "revision"), WAYS)
async def test_a_call_over_its_time_is_told_to_stop_and_fails(way, revision, tmp_path):
    async with tools(way, revision, tmp_path) as server:
        output = await named(server)["slow"].call({}, context(0.7))
        assert output.failed
        assert "did not answer in time" in output.text
        await until((tmp_path / "cancelled").exists)


@pytest.mark.parametrize(("way", "revision"), WAYS)
async def test_calls_run_side_by_side(way, revision, tmp_path):
    async with tools(way, revision, tmp_path) as server:
        slow = asyncio.create_task(named(server)["slow"].call({}, context()))
        await until((tmp_path / "started").exists)
        many = [named(server)["add"].call({"a": i, "b": i}, context()) for i in range(20)]
        assert [output.text for output in await asyncio.gather(*many)] == [str(2 * i) for i in range(20)]
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)


@pytest.mark.parametrize(("way", "revision"), WAYS)
async def test_a_result_over_the_limit_is_a_failed_one_and_the_session_stands(way, revision, tmp_path):
    async with tools(way, revision, tmp_path) as server:
        huge = named(server)["huge"]
        over = await huge.call({"size": 300_000}, context())
        assert over.failed
        assert "300000 bytes of text; 262144 are allowed" in over.text
        far = await huge.call({"size": 9_000_000}, context())
        assert far.failed
        assert "8388608" in far.text
        assert (await named(server)["add"].call({"a": 1, "b": 1}, context())).text == "2"


@pytest.mark.parametrize(("way", "revision"), WAYS)
async def test_a_tool_that_comes_later_is_listed_once_the_server_says_so(way, revision, tmp_path):
    async with tools(way, revision, tmp_path) as server:
        assert "learned" not in named(server)
        await named(server)["learn"].call({}, context())
        await until(lambda: "learned" in named(server))
        assert (await named(server)["learned"].call({}, context())).text == "new"


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_a_tool_that_came_before_the_server_was_asked_to_tell_of_changes_is_listed_too(
    way, tmp_path, monkeypatch
):
    may_listen, listen = asyncio.Event(), mcp_session.Client.listen

    @contextlib.asynccontextmanager
    async def late(self, **asked):
        await may_listen.wait()
        async with listen(self, **asked) as news:
            yield news

    monkeypatch.setattr(mcp_session.Client, "listen", late)
    async with tools(way, "2026-07-28", tmp_path) as server:
        await named(server)["learn"].call({}, context())
        assert "learned" not in named(server)
        may_listen.set()
        await until(lambda: "learned" in named(server))


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_the_newest_revision_that_both_know_is_spoken(way, tmp_path):
    async with tools(way, "auto", tmp_path) as server:
        assert server._session.revision == "2026-07-28"


async def test_a_server_sees_no_key_of_ours(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with tools("stdio", "auto", tmp_path) as server:
        seen = (await named(server)["environment"].call({}, context())).text.split()
    assert set(seen) <= {"HOME", "LANG", "LC_CTYPE", "NOTES", "PATH", "TMPDIR"}
    assert "NOTES" in seen
