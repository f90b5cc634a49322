"""A whole server in the test's own event loop, on a free port of 127.0.0.1; its one model answers by script."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tidewire.server.app import Server
from tidewire.server.assemble import house
from tidewire.server.settings import Log, Models, Provider, Settings


@pytest.fixture
async def server_url(tmp_path):
    settings = Settings(
        data=str(tmp_path),
        log=Log(store="memory", durability="memory"),
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
