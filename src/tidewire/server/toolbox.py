"""The tools of this server, started, and what puts them around a model."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final

from tidewire.core.meter import ToolMeter
from tidewire.core.ports import Provider
from tidewire.core.request import Request
from tidewire.server.settings import Settings
from tidewire.server.tools import toolsets
from tidewire.stages.schema import check
from tidewire.toolbox.calls import Bounds, Shared
from tidewire.toolbox.port import ServerTool, Toolset
from tidewire.toolbox.runner import Runner
from tidewire.toolbox.threads import Threads
from tidewire.toolbox.unfinished import Unfinished

NO_CONVERSATION: Final = frozenset({"openai_images"})  # dialects whose answers no tool has a place in
Around = Callable[[Provider, str], Provider]


@contextlib.asynccontextmanager
async def toolbox(settings: Settings, meter: ToolMeter) -> AsyncIterator[Around]:
    """Puts the tools around a provider, for the name of a model as clients ask for it; all are closed when the context is left.

    Raises SettingsError for a toolset that cannot be started.
    """
    given = settings.tool_calls
    sets = toolsets(settings.tools, Threads(given.threads))
    if not sets:
        yield lambda provider, model: provider
        return
    bounds = Bounds(given.rounds, given.calls, given.parallel, given.heartbeat_s)
    shared = Shared(bounds, problem, meter)
    unfinished = Unfinished()
    async with contextlib.AsyncExitStack() as stack:
        for one in sets:
            stack.push_async_callback(one.close)
        started = await asyncio.gather(*(one.start() for one in sets), return_exceptions=True)
        for outcome in started:
            if outcome is not None:
                raise outcome
        yield lambda provider, model: Runner(provider, _offered(sets, model), shared, unfinished)


def _offered(sets: Sequence[Toolset], model: str) -> Callable[[Request], Mapping[str, ServerTool]]:
    def offered(request: Request) -> Mapping[str, ServerTool]:
        if request.dialect in NO_CONVERSATION:
            return {}
        tools = (tool for one in sets for tool in one.tools())
        return {tool.name: tool for tool in tools if not tool.terms.models or model in tool.terms.models}

    return offered


def problem(schema: dict[str, Any], value: dict[str, Any]) -> str:
    """What is wrong with the arguments of a call, or ""."""
    return "; ".join(check(schema, value).problems)
