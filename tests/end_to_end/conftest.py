"""A whole server in the test's own event loop, on a free port of 127.0.0.1; its one model answers by script."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from tidewire.server.app import Server
from tidewire.server.assemble import house
from tidewire.server.settings import Log, Models, Provider, Settings


@contextlib.asynccontextmanager
async def running(folder, log):
    """The address of a server that keeps its data in `folder`."""
    settings = Settings(
        data=str(folder),
        log=log,
        models=Models(default="simulated", discover=False),
        providers={"simulated": Provider(kind="simulated")},
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with house(settings, own_port=listener.getsockname()[1]) as parts:
            address = asyncio.get_running_loop().create_future()
            server = Server(settings, parts, address.set_result)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            yield await address
            server.should_exit = True
            await serving


@pytest.fixture
async def server_url(tmp_path):
    async with running(tmp_path, Log(durability="memory")) as address:
        yield address


@pytest.fixture
def serve(tmp_path):
    """serve() is a server on disk; entered again, it finds what the one before has kept."""
    return lambda: running(tmp_path, Log(durability="process"))
