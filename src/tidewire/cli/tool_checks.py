"""The doctor's look at the tools that a server runs itself: each toolset is started, asked what it brings, and ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from tidewire.cli.checks import Finding
from tidewire.core.errors import SettingsError
from tidewire.server.settings import Settings
from tidewire.server.tools import Parts, shared, toolset
from tidewire.server.tools_settings import Tools
from tidewire.toolbox.threads import Threads

SHOWN: Final = 12  # names of tools in a line


def tools(settings: Settings) -> Iterator[Finding]:
    """One line for each [tools.NAME]."""
    if not settings.tools:
        return
    quiet = logging.NullHandler()  # what it says is in the line
    logging.getLogger("tidewire.tools").addHandler(quiet)
    try:
        parts = shared(settings.tools, Threads(1))
        for name, given in settings.tools.items():
            yield asyncio.run(_brought(name, given, parts))
    finally:
        logging.getLogger("tidewire.tools").removeHandler(quiet)


async def _brought(name: str, given: Tools, parts: Parts) -> Finding:
    what = f"tools {name}"
    try:
        there = toolset(name, given, parts)
        try:
            await there.start()
            names = sorted(tool.name for tool in there.tools())
            trouble = there.trouble
        finally:
            await there.close()
    except SettingsError as error:
        return Finding(what, "fail", error.message, "Set it right, or take it out.")
    if trouble:
        return Finding(what, "warn", trouble, "A server starts without it, and tries it again and again.")
    listed = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return Finding(what, "ok", f"{len(names)} tools: {listed}" if names else "it answers, and brings no tool")
