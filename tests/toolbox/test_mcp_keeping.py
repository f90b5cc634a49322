"""A session kept alive, in virtual time, with scripted sessions in the place of the package's."""

import asyncio
import contextlib

import pytest

pytest.importorskip("mcp")

from providers.plain_chat import virtually
from tidewire.core.request import Tool
from tidewire.toolbox.mcp import McpTools, Remote
from tidewire.toolbox.mcp_results import Gone, Unreachable
from tidewire.toolbox.names import Names
from tidewire.toolbox.port import ToolFault, ToolOutput
from toolbox.mcp_calls import context


class Speech:
    """Opens sessions: each step is the seconds that the session lasts, or an error with which it does not begin."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.moments = []
        self.lists = []
        self.names = ["go"]
        self.revision = "2026-07-28"

    def remote(self, *_):
        return None

    @contextlib.asynccontextmanager
    async def opened(self, transport, revision, changed):
        self.moments.append(round(asyncio.get_running_loop().time(), 3))
        step = self.steps.pop(0) if self.steps else 1e9
        if isinstance(step, Exception):
            raise step
        self.until = asyncio.get_running_loop().time() + step
        self.changed = changed
        yield self

    async def tools(self, where):
        now = asyncio.get_running_loop().time()
        if now >= self.until:
            raise Gone("it has forgotten the session")
        self.lists.append(round(now, 3))
        return {name: Tool(name=name) for name in self.names}

    async def call(self, own, arguments, limit, report):
        if asyncio.get_running_loop().time() >= self.until:
            raise Gone("it has forgotten the session")
        if own == "lost":
            raise Unreachable("the network is gone")
        return ToolOutput(f"called {own}")


def kept(speech, names=None):
    """A server whose sessions are these, and the moments at which they were begun."""
    server = McpTools("far", Remote("http://far.example/mcp"), names=names)
    server._speech = speech
    return server, speech.moments


def test_the_list_is_looked_at_every_minute():
    async def play():
        speech = Speech()
        server, _ = kept(speech)
        await server.start()
        await asyncio.sleep(185)
        assert speech.lists == [0, 60, 120, 180]
        speech.names = ["go", "later"]
        await asyncio.sleep(60)
        assert [tool.name for tool in server.tools()] == ["go", "later"]
        await server.close()

    virtually(play())


def test_a_server_that_says_all_the_time_that_its_list_changed_is_asked_once_a_second():
    async def play():
        speech = Speech()
        server, _ = kept(speech)
        await server.start()
        for _ in range(100):
            speech.changed()
            await asyncio.sleep(0.1)
        assert 9 <= len(speech.lists) <= 12
        await server.close()

    virtually(play())


def test_a_server_that_does_not_come_up_is_tried_again_after_pauses_that_double_up_to_a_minute():
    async def play():
        server, moments = kept(Speech(*[Unreachable("no")] * 20))
        await server.start()
        await asyncio.sleep(250)
        assert moments == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5, 123.5, 183.5, 243.5]
        with pytest.raises(ToolFault, match="the tool server far is not running: no"):
            await server.call("go", {}, context())
        await server.close()

    virtually(play())


def test_a_session_that_lasted_is_begun_again_at_once_and_a_call_waits_for_it():
    async def play():
        server, moments = kept(Speech(100))
        await server.start()
        await asyncio.sleep(110)
        with pytest.raises(ToolFault, match="forgotten the session"):
            await server.call("go", {}, context())
        assert (await server.call("go", {}, context())).text == "called go"
        assert moments == [0, 110.5]
        await server.close()

    virtually(play())


def test_an_exchange_that_fails_leaves_the_session_alone():
    async def play():
        server, moments = kept(Speech())
        await server.start()
        with pytest.raises(ToolFault, match="could not be reached: the network is gone"):
            await server.call("lost", {}, context())
        assert (await server.call("go", {}, context())).text == "called go"
        assert moments == [0]
        await server.close()

    virtually(play())


def test_a_session_that_does_not_come_to_stand_is_given_up_after_half_a_minute():
    async def play():
        speech = Speech()

        async def never(where):
            await asyncio.sleep(1e6)

        speech.tools = never
        server, moments = kept(speech)
        began = asyncio.get_running_loop().time()
        await server.start()
        assert asyncio.get_running_loop().time() - began == pytest.approx(10)  # our start goes on without it
        await asyncio.sleep(25)
        assert moments == [0, 30.5]
        output = await server.call("go", {}, context(5))
        assert "did not answer in time" in output.text
        await server.close()
        with pytest.raises(ToolFault, match="shutting down"):
            await server.call("go", {}, context(5))

    virtually(play())


def test_two_servers_with_a_tool_of_one_name_both_say_whose_it_is():
    async def play():
        names = Names(fixed={"clock"})
        first, second = Speech(), Speech()
        first.names, second.names = ["search", "read"], ["search", "clock"]
        one, _ = kept(first, names)
        two, _ = kept(second, names)
        two.name = "near"
        await one.start()
        assert [tool.name for tool in one.tools()] == ["search", "read"]
        await two.start()
        assert [tool.name for tool in one.tools()] == ["far_search", "read"]
        assert [tool.name for tool in two.tools()] == ["near_search", "near_clock"]
        assert (await two.tools()[0].call({}, context())).text == "called search"
        await one.close()
        await two.close()

    virtually(play())
