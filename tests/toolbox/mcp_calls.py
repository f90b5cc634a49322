"""How the tests of MCP call tools."""

import asyncio
import sys
from pathlib import Path

from tidewire.toolbox.mcp import Local
from tidewire.toolbox.port import CallContext

HERE = Path(__file__).parent


def context(seconds=20.0, progress=None):
    loop = asyncio.get_running_loop()
    return CallContext(
        stream="s",
        call="c",
        key="s/c",
        deadline=loop.time() + seconds,
        progress=(progress if progress is not None else []).append,
        asked_to_stop=lambda: False,
    )


def named(tools):
    return {tool.name: tool for tool in tools.tools()}


def program(file, *arguments, **env):
    return Local([sys.executable, str(HERE / file), *arguments], env)


async def until(is_so, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not is_so():
            await asyncio.sleep(0.02)
