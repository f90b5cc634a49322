from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from tidewire.cli.main import main

BARE = {name: value for name, value in os.environ.items() if not name.startswith("TIDEWIRE_")}
QUIET = {
    **BARE,
    "TIDEWIRE_MODELS__DISCOVER": "0",
    "TIDEWIRE_EMBEDDING__KIND": "none",
    "TIDEWIRE_LOG__DURABILITY": "memory",
    "TIDEWIRE_PROVIDERS__SIMULATED__KIND": "simulated",
    "TIDEWIRE_MODELS__DEFAULT": "simulated",
}
COMMAND = [sys.executable, "-m", "tidewire.cli"]


@pytest.fixture
def run(monkeypatch, tmp_path) -> Iterator[Callable[..., Result]]:
    """Runs one command in an empty folder, without the settings of whoever runs the tests. What it does to the logging of its process
    is undone.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    for name in os.environ:
        if name.startswith("TIDEWIRE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def invoke(*args: str, stdin: str | None = None, **env: str) -> Result:
        return CliRunner(env=env).invoke(main, args, input=stdin, prog_name="tidewire")

    yield invoke
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def server(tmp_path_factory) -> Iterator[str]:
    """A server of its own process with a simulated model; its address."""
    folder: Path = tmp_path_factory.mktemp("server")
    with subprocess.Popen(
        [*COMMAND, "serve", "--port", "0", "--data", str(folder)], env=QUIET, cwd=folder, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stderr is not None
            lines = (msgspec.json.decode(line) for line in process.stderr)
            yield next(line["address"] for line in lines if "address" in line)
        finally:
            process.terminate()


@pytest.fixture
def spawn(server, tmp_path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a command as a process of its own, talking to that server; it is gone when the test is."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*args: str, **given: Any) -> subprocess.Popen[bytes]:
        environ = {**QUIET, "TIDEWIRE_URL": server, "PYTHONUNBUFFERED": "1", **given.pop("env", {})}
        given.setdefault("stdout", subprocess.PIPE)
        started.append(subprocess.Popen([*COMMAND, *args], env=environ, cwd=tmp_path, stderr=subprocess.PIPE, **given))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
