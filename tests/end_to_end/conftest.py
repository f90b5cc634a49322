"""A whole server in the test's own event loop, on a free port of 127.0.0.1; its one model answers by script."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import subprocess

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


def packages_of(folder):
    """The npm packages of a folder's lock file, installed once; the tests that need them are skipped where npm is not."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    installed = folder / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime > (folder / "package-lock.json").stat().st_mtime:
        return
    done = subprocess.run([npm, "ci"], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        pytest.skip(f"npm could not install the packages: {done.stderr.strip().splitlines()[-1:]}")


async def played(folder, address, scenario, *more):
    """What talk.mjs of a folder saw in one scenario. more: arguments that this scenario takes."""
    process = await asyncio.create_subprocess_exec(
        "node", "talk.mjs", address, scenario, *more, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 120)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return json.loads(out)


@pytest.fixture
def npm_packages():
    return packages_of


@pytest.fixture
def talk(server_url):
    return lambda folder, scenario: played(folder, server_url, scenario)
