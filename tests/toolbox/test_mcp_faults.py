"""MCP servers that die, keep silent, write nonsense or flood: a call ends with a sentence, and nothing is left running."""

import asyncio
import contextlib
import logging
import os
import time

import pytest

pytest.importorskip("mcp")

from tidewire.core.errors import SettingsError
from tidewire.toolbox import mcp, mcp_process
from tidewire.toolbox.mcp import Local, McpTools, Remote
from tidewire.toolbox.port import ToolFault
from toolbox.mcp_calls import context, named, program, until


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """A process that stays is not waited for as long as outside of tests."""
    monkeypatch.setattr(mcp_process, "LEAVE", 0.3)


@contextlib.asynccontextmanager
async def faulty(fault, revision="auto", **env):
    server = McpTools("scripts", program("mcp_scripted.py", fault, **env), revision=revision)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def go(server, seconds=20.0):
    return await named(server)["go"].call({}, context(seconds))


def alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def until_gone(pid):
    while alive(pid):
        time.sleep(0.01)


async def test_a_banner_and_a_tool_with_an_invalid_schema_cost_nothing_else(caplog):
    async with faulty("none") as server:
        assert list(named(server)) == ["go"]
        assert (await go(server)).text == "fine"
    assert "parameters.properties.a.type is 'whatever'" in caplog.text


async def test_a_server_that_dies_in_a_call_fails_it_and_is_started_again():
    async with faulty("dies") as server:
        first = server.pid
        with pytest.raises(
            ToolFault, match=r"the tool server scripts went away in the middle of the call .*started again"
        ) as fault:
            await go(server)
        assert "with code 3" in str(fault.value)
        assert "go" in named(server)  # what the model may call does not come and go with the process
        await until(lambda: server.pid not in (None, first))
        with pytest.raises(ToolFault):
            await go(server)


async def test_calls_that_run_when_the_process_is_killed_all_end():
    async with faulty("never") as server:
        calls = [asyncio.create_task(go(server)) for _ in range(10)]
        await asyncio.sleep(0.2)
        os.kill(server.pid, 9)
        for result in await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 30):
            assert isinstance(result, ToolFault)
            assert "by signal 9" in str(result)


async def test_a_call_into_the_pipe_of_a_killed_process_says_how_it_ended():
    async with faulty("never") as server:
        os.kill(server.pid, 9)
        until_gone(server.pid)  # the loop hears nothing meanwhile: the pipe tells first, or its other end
        with pytest.raises(ToolFault, match="by signal 9"):
            await go(server)


async def test_a_call_that_is_never_answered_ends_with_its_time():
    async with faulty("never") as server:
        assert "did not answer in time" in (await go(server, 0.4)).text


@pytest.mark.parametrize(
    ("fault", "said"), [("nonsense", "it is no JSON-RPC"), ("strange content", "not what the protocol says")]
)
async def test_a_result_that_is_none_is_a_failed_one(fault, said):
    async with faulty(fault) as server:
        output = await go(server)
        assert output.failed
        assert said in output.text


async def test_an_error_of_the_server_is_read_by_the_model():
    async with faulty("refuses") as server:
        output = await go(server)
        assert (output.failed, output.text) == (True, "the tool server scripts gave no result: unknown tool")


async def test_a_flood_of_notifications_does_not_reach_anybody():
    async with faulty("flood") as server:
        progress = []
        output = await named(server)["go"].call({}, context(progress=progress))
    assert output.text == "after the flood"
    assert 0 < len(progress) < 1000  # of 30,000; ten a second are handed on, however long it takes


async def test_a_server_that_writes_garbage_without_end_is_ended():
    async with faulty("garbage") as server:
        with pytest.raises(ToolFault, match="more than 100 lines to its output that are no JSON-RPC"):
            await go(server)


async def test_a_result_of_a_hundred_megabytes_is_a_failed_one():
    async with faulty("too much") as server:
        first = server.pid
        output = await go(server)
        assert output.failed
        assert "104857" in output.text
        assert "8388608 are allowed" in output.text
        assert server.pid == first


async def test_a_line_without_an_end_is_not_held_in_memory_and_ends_with_the_calls_time():
    async with faulty("endless line") as server:
        assert "did not answer in time" in (await go(server, 0.3)).text


async def test_a_server_that_wants_to_ask_a_model_is_told_no():
    async with faulty("asks back") as server:
        assert (await go(server)).text == "error"


async def test_a_list_that_never_ends_is_cut_off():
    async with faulty("pages for ever") as server:
        assert len(server.tools()) == 100


async def test_what_a_server_says_before_it_is_ready_is_logged_and_the_start_goes_on_without_it(caplog, monkeypatch):
    monkeypatch.setattr(mcp, "BACKOFF", (2 * mcp.PATIENCE, 60.0))
    caplog.set_level(logging.INFO, logger="tidewire.tools")
    async with faulty("dies at once") as server:
        assert server.tools() == []
        assert "the tool server scripts says: no configuration found" in caplog.text
        assert "the tool server scripts is not running: it " in caplog.text
        with pytest.raises(ToolFault, match="is not running"):
            await server.call("go", {}, context())


async def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(mcp, "FIRST_LOOK", 0.3)
    async with faulty("silent") as server:
        await until(lambda: server.pid is not None)
        pid = server.pid
        output = await server.call("go", {}, context(0.3))
        assert "did not answer in time" in output.text
    assert not alive(pid)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (program("mcp_scripted.py", "silent"), "it did not answer within 0.5 s"),
        (Local(["cat"]), "it refused (Method not found); is it an MCP server?"),
    ],
)
async def test_a_program_that_was_given_up_is_said_with_the_reason_and_not_with_its_end(
    where, said, caplog, monkeypatch
):
    monkeypatch.setattr(mcp, "START", 0.5 if "within" in said else 20.0)
    monkeypatch.setattr(mcp, "FIRST_LOOK", 0.01)
    server = McpTools("mute", where)
    await server.start()
    try:
        await until(lambda: f"the tool server mute is not running: {said}; starting it again" in caplog.text)
    finally:
        await server.close()


async def test_a_server_that_ignores_its_end_is_killed_and_its_children_with_it(tmp_path):
    notes = tmp_path / "child"
    async with faulty("stubborn", NOTES=str(notes)) as server:
        pid, child = server.pid, int(notes.read_text())
        assert alive(pid)
        assert alive(child)
    await until(lambda: not alive(pid) and not alive(child))


async def test_standard_error_during_calls_is_logged_only_where_it_is_asked_for(caplog):
    caplog.set_level(logging.INFO, logger="tidewire.tools")
    for log_stderr in (False, True):
        where = program("mcp_scripted.py", "dies")
        server = McpTools("scripts", Local(where.command, where.env, log_stderr))
        await server.start()
        with pytest.raises(ToolFault):
            await go(server)
        await until(lambda: server._session is None)
        await server.close()
        assert ("the disk is full" in caplog.text) is log_stderr


async def test_nobody_at_the_url_is_said_and_tried_again(caplog):
    server = McpTools("far", Remote("http://127.0.0.1:9/mcp"))
    await server.start()
    try:
        said = "the tool server far is not running: there is no connection to it (ConnectError)"
        await until(lambda: said in caplog.text)
        assert server.tools() == []
    finally:
        await server.close()


def test_a_program_that_is_not_there_is_said_at_start():
    with pytest.raises(SettingsError, match=r"tools\.x: no program 'no-such-program' is found"):
        McpTools("x", Local(["no-such-program"]))
