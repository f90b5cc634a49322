"""A real server in a process of its own, a real browser, and a wire between them that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import pytest_asyncio

from upstream import Halves, Upstream

ROOT = Path(__file__).parents[2]
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SETTINGS = """
[log]
durability = "memory"
[models]
discover = false
default = "simulated"
[providers.simulated]
kind = "simulated"
[providers.extractive]
kind = "extractive"
[retrieval]
pace = 200
"""


@contextlib.asynccontextmanager
async def serving(folder: Path, *, filled: bool = False, **environment: str):
    """The address of `tidewire serve` on a free port. filled: its index, with this project's own protocol."""
    config = folder / "tidewire.toml"
    config.write_text(SETTINGS)
    flags = ["--config", str(config), "--data", str(folder / "data")]
    env = {**os.environ, **environment}
    command = [sys.executable, "-m", "tidewire.cli"]
    pipes = {"stdout": asyncio.subprocess.DEVNULL, "stderr": asyncio.subprocess.PIPE, "env": env}
    if filled:
        ingest = await asyncio.create_subprocess_exec(*command, "ingest", str(ROOT / "spec"), *flags, **pipes)
        _, said = await ingest.communicate()
        assert ingest.returncode == 0, said.decode()
    server = await asyncio.create_subprocess_exec(*command, "serve", "--port", "0", *flags, **pipes)
    try:
        address = ""
        heard = []
        while not address:
            line = await asyncio.wait_for(server.stderr.readline(), 60)
            assert line, f"the server ended: {b''.join(heard).decode()}"
            heard.append(line)
            if line.startswith(b"{"):
                address = json.loads(line).get("address", "")
        reading = asyncio.create_task(server.stderr.read())  # a full pipe would stop the server
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.terminate()
        await server.wait()
        await reading


class Wire:
    """A TCP proxy in front of a server. cut() drops every connection and refuses new ones until mend()."""

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._whole = True
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        self._whole = False
        for writer in self._open:
            writer.transport.abort()

    def mend(self) -> None:
        self._whole = True

    async def close(self) -> None:
        self.cut()
        self._server.close()
        await self._server.wait_closed()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not self._whole:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._open |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, far_writer))
                group.create_task(_pump(far_reader, writer))
        finally:
            self._open -= {writer, far_writer}
            for end in (writer, far_writer):
                end.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def far():
    """A host of the server that stops in the middle of each answer."""
    script = Halves()
    async with Upstream(script) as host:
        yield host.url, script


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(tmp_path_factory, far):
    host = {"TIDEWIRE_PROVIDERS__FAR__BASE_URL": f"{far[0]}/v1", "TIDEWIRE_PROVIDERS__FAR__MODELS": "m"}
    async with serving(tmp_path_factory.mktemp("console"), filled=True, **host) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def halves(far):
    """far/m goes on with its answers when `go` of this is set."""
    _, script = far
    script.go = asyncio.Event()
    yield script
    script.go.set()


@pytest.fixture
def serve_here(tmp_path):
    """serve_here(NAME="value") is a server of this test's own with that in its environment."""
    return functools.partial(serving, tmp_path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: install the system's chromium package to run the browser tests")
    playwright = pytest.importorskip("playwright.async_api", reason="the playwright package is not installed")
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


class Console:
    """The page as a person uses it."""

    def __init__(self, page, troubles: list[str]) -> None:
        self.page = page
        self.troubles = troubles

    async def open(self, address: str, path: str = "/") -> None:
        await self.page.goto(address + path)
        await self.page.wait_for_function("() => document.querySelector('#model').value !== ''")

    async def ask(self, question: str, model: str = "simulated") -> str:
        """Returns the stream's id once the answer has its place on the page."""
        before = await self.page.locator(".turn").count()
        await self.page.select_option("#model", model)
        await self.page.fill("#question", question)
        await self.page.press("#question", "Enter")
        await self.page.locator(".turn").nth(before).wait_for()
        return self.page.url.rpartition("/")[2]

    async def words(self, least: int) -> None:
        """Waits until the newest answer has at least this many words."""
        await self.page.wait_for_function(
            "n => (document.querySelector('.turn:last-child .prose')?.textContent ?? '').split(/\\s+/).length > n",
            arg=least,
        )

    async def ended(self) -> str:
        """Waits for the end of the newest answer; returns how it ended."""
        await self.page.locator(".turn:last-child:not(.running) .state").wait_for()
        return await self.page.locator(".turn:last-child .state").inner_text()

    async def text(self) -> str:
        """The newest answer's words without its markers."""
        return await self.page.evaluate(
            """() => [...document.querySelectorAll('.turn:last-child .prose')].map(prose => {
                const copy = prose.cloneNode(true);
                copy.querySelectorAll('.marks').forEach(marks => marks.remove());
                return [...copy.children].map(block => block.textContent).join('\\n');
            }).join('\\n').split(/\\s+/).join(' ').trim()"""
        )


@pytest_asyncio.fixture(loop_scope="module")
async def browse(chromium):
    """browse(...) is a new visitor's page; at the end none may have seen an error of its own."""
    contexts, consoles = [], []

    async def visit(width=1280, height=800, *, beside=None, **options) -> Console:
        context = (
            beside.page.context
            if beside
            else await chromium.new_context(viewport={"width": width, "height": height}, **options)
        )
        if not beside:
            contexts.append(context)
        page = await context.new_page()
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda said: troubles.append(said.text) if "Content Security Policy" in said.text else None)
        page.set_default_timeout(60_000)
        consoles.append(Console(page, troubles))
        return consoles[-1]

    yield visit
    for context in contexts:
        await context.close()
    assert [trouble for console in consoles for trouble in console.troubles] == []


@pytest_asyncio.fixture(loop_scope="module")
async def wire(address):
    """(the wire, the address at its near end)"""
    proxy = Wire(address)
    near = await proxy.start()
    yield proxy, near
    await proxy.close()
