"""The tools of an MCP server: a session kept alive, its list of tools kept fresh, calls that end whatever the server does.

Both revisions, over standard input and output or HTTP; the protocol itself is the `mcp` package's (the extra `mcp`), and is in mcp_session.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from tidewire.core.errors import SettingsError, TidewireError
from tidewire.core.request import Tool
from tidewire.toolbox.mcp_lines import Bucket
from tidewire.toolbox.mcp_results import Gone, Refused, Unreachable
from tidewire.toolbox.names import Names
from tidewire.toolbox.port import CallContext, ServerTool, Terms, ToolFault, ToolOutput

if TYPE_CHECKING:
    from tidewire.toolbox.mcp_session import Session

log = logging.getLogger("tidewire.tools")

START: Final = 30.0  # seconds for a server to start, agree on a revision and list its tools
FIRST_LOOK: Final = 10.0  # seconds that our own start waits for it
REFRESH: Final = 60.0  # seconds between looks at the list of tools; a server may say sooner that it changed
AT_MOST: Final = 1.0  # seconds between two looks, however often it says so
BACKOFF: Final = (0.5, 60.0)  # seconds before the first new start, and the longest; doubled each time
STEADY: Final = 60.0  # seconds after which a server that ends is started as if for the first time
LEAVE: Final = 6.0  # seconds to end a session; a process that ignores its end takes four
PATIENCE: Final = 2.0  # seconds that a call waits for a new start; a longer pause fails it at once
MESSAGE: Final = 8 * 1024 * 1024  # bytes of one message of the server: images travel inside
SAID: Final = 20  # lines of standard error before the session stands, when no question can be in them
PROGRESS: Final = 10.0  # reports a second that a call hands on
LENT: Final = ("PATH", "HOME", "LANG", "TMPDIR")  # of our environment; the rest holds keys
Revision = Literal["auto", "2025-11-25", "2026-07-28"]


class Local(msgspec.Struct, frozen=True):
    """A program that is started here. env: beside PATH, HOME, LANG and TMPDIR, all that it sees of an environment.

    log_stderr: its standard error goes to our log, where it may show words of a question.
    """

    command: Sequence[str]
    env: Mapping[str, str] = {}
    log_stderr: bool = False


class Remote(msgspec.Struct, frozen=True):
    """A server behind a URL. headers: sent with every request."""

    url: str
    headers: Mapping[str, str] = {}


class McpTools:
    """`Toolset`. One task holds the session; calls come from any."""

    def __init__(
        self,
        name: str,
        where: Local | Remote,
        *,
        terms: Terms = Terms(),  # noqa: B008 - frozen
        revision: Revision = "auto",
        names: Names | None = None,
    ) -> None:
        """names: shared by all tool servers, so that no two tools are called the same. Raises SettingsError."""
        self.name = name
        self.terms = terms
        self._where = where
        self._revision = revision
        self._names = names or Names()
        if importlib.util.find_spec("mcp") is None:
            raise SettingsError(
                f"tools.{name} needs the mcp package: pip install 'tidewire[mcp]'", param=f"tools.{name}.kind"
            )
        self._speech: Any = importlib.import_module("tidewire.toolbox.mcp_session")  # half a second, and an extra
        if isinstance(where, Local):
            self._env = {key: os.environ[key] for key in LENT if key in os.environ} | dict(where.env)
            if shutil.which(where.command[0], path=self._env.get("PATH", os.defpath)) is None:
                raise SettingsError(
                    f"tools.{name}: no program {where.command[0]!r} is found", param=f"tools.{name}.command"
                )
        self._listed: dict[str, Tool] = {}  # by the server's own names
        self._given: Mapping[str, str] = {}
        self._tools: list[_Tool] = []
        self._session: Session | None = None
        self._process: Any = None
        self._keeper: asyncio.Task[None] | None = None
        self._stir = asyncio.Event()
        self._changed = False
        self._over = ""  # why the session must end, as a clause
        self._down = "it has not been started"
        self._again = 0.0
        self._turn: asyncio.Future[None] | None = None
        self._lines = 0

    # Toolset

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._words = Bucket(SAID, loop.time)
        self._again = loop.time()
        self._turn = loop.create_future()
        self._keeper = loop.create_task(self._keep())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK):
                await asyncio.shield(self._turn)
        if self._session is None:
            log.warning("a tool server is not there yet; starting without its tools", extra={"path": self.name})

    def tools(self) -> Sequence[ServerTool]:
        """What it listed last, also while it is started again."""
        given = self._names.given(self.name)
        if given is not self._given:  # another object whenever a list has changed, ours or that of another server
            tools = [(own, msgspec.structs.replace(self._listed[own], name=name)) for name, own in given.items()]
            self._given, self._tools = given, [_Tool(self, own, tool) for own, tool in tools]
        return self._tools

    @property
    def trouble(self) -> str:
        return "" if self._session is not None else self._down

    async def close(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            self._end("the server is shutting down")
            for _ in range(2):  # the second time, whatever it still does on its way out
                keeper.cancel()
                await asyncio.wait({keeper}, timeout=LEAVE)
            self._down = "this server is shutting down"
            self._tell()

    @property
    def pid(self) -> int | None:
        """Of a local server that runs."""
        return None if self._process is None else self._process.pid

    # Calls

    async def call(self, own: str, arguments: dict[str, Any], context: CallContext) -> ToolOutput:
        """own: the tool, as the server calls it. A server that is not there, or goes away, is a ToolFault."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(context.deadline):
                session = await self._ready(loop)
                try:
                    return await session.call(own, arguments, self.terms.result_bytes, _reporter(context, loop))
                except Gone as gone:
                    if session is self._session:
                        self._end(str(gone))
                    raise
        except TimeoutError:
            return ToolOutput(f"{self._is} did not answer in time; it was told to stop", failed=True)
        except Refused as refused:
            return ToolOutput(f"{self._is} gave no result: {refused}", failed=True)
        except Unreachable as problem:
            raise ToolFault(f"{self._is} could not be reached: {problem}") from None
        except Gone as gone:
            why = self._why() if self._session is None else gone
            raise ToolFault(f"{self._is} went away in the middle of the call ({why}); it is started again") from None

    @property
    def _is(self) -> str:
        return f"the tool server {self.name}"

    async def _ready(self, loop: asyncio.AbstractEventLoop) -> Session:
        while self._session is None:
            if self._keeper is None or self._again - loop.time() > PATIENCE:
                raise ToolFault(f"{self._is} is not running: {self._down}")
            assert self._turn is not None
            await asyncio.shield(self._turn)
        return self._session

    # The session

    async def _keep(self) -> None:
        """Holds a session as long as we run; after each end a pause, longer each time."""
        loop = asyncio.get_running_loop()
        pause = BACKOFF[0]
        while True:
            began = loop.time()
            self._over, self._lines = "", 0
            try:
                await self._hold(loop)
                self._down = self._why()
            except Exception as error:  # noqa: BLE001 - supervisor boundary: whatever a server brings about, it is started again
                self._down = self._reason(error)
            finally:
                self._session = self._process = None
            if loop.time() - began > STEADY:
                pause = BACKOFF[0]
            self._again = loop.time() + pause
            self._say(logging.WARNING, f"is not running: {self._down}; starting it again in {pause:g} s")
            self._tell()
            await asyncio.sleep(pause)
            pause = min(BACKOFF[1], pause * 2)

    async def _hold(self, loop: asyncio.AbstractEventLoop) -> None:
        """One session from its beginning to its end, its list of tools kept fresh."""
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(START):
                session = await stack.enter_async_context(
                    self._speech.opened(self._transport(), self._revision, self._look)
                )
                await self._refresh(session)
            self._session = session
            log.info("a tool server is ready", extra={"path": self.name, "version": session.revision})
            self._tell()
            try:
                await self._follow(session, loop)
            finally:
                self._session = None

    def _transport(self) -> Any:
        if isinstance(self._where, Remote):
            return self._speech.remote(self._where.url, self._where.headers, MESSAGE, self.terms.timeout)
        self._process = self._speech.ServerProcess(
            self.name, self._where.command, self._env, line_bytes=MESSAGE, say=self._murmured, gone=self._stir.set
        )
        return self._process

    async def _follow(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        last = loop.time()
        while not self._over and not (self._process and self._process.ended):
            try:
                async with asyncio.timeout_at(last + (AT_MOST if self._changed else REFRESH)):
                    await self._stir.wait()
            except TimeoutError:
                self._changed = False
                last = loop.time()
                try:
                    async with asyncio.timeout(START):
                        await self._refresh(session)
                except Gone:
                    raise
                except (Refused, Unreachable, TimeoutError) as error:  # the list before it still holds
                    self._say(logging.WARNING, f"did not list its tools: {self._reason(error)}")
            self._stir.clear()

    async def _refresh(self, session: Session) -> None:
        self._listed = await session.tools(f"tools.{self.name}")
        self._names.use(self.name, self._listed)

    def _look(self) -> None:
        self._changed = True
        self._stir.set()

    def _end(self, why: str) -> None:
        self._over = self._over or why
        self._session = None
        self._stir.set()

    def _tell(self) -> None:
        """Those who wait for a session look again."""
        turn, self._turn = self._turn, asyncio.get_running_loop().create_future()
        if turn is not None and not turn.done():
            turn.set_result(None)

    # What is said of it

    def _murmured(self, line: str) -> None:
        """A line of standard error. Before the session stands, no question can be in it."""
        self._lines += 1
        early = self._session is None and self._lines <= SAID
        if early or (isinstance(self._where, Local) and self._where.log_stderr and self._words.take()):
            self._say(logging.INFO, f"says: {line}")

    def _say(self, level: int, text: str) -> None:
        """Whole sentences, as the log writes messages without arguments; what a server said is in them, and it may say anything."""
        said = f"{self._is} {text}"
        log.log(level, "".join(c if c.isprintable() else " " for c in said))

    def _why(self) -> str:
        return (self._process.why if self._process is not None else "") or self._over or "the session is over"

    def _reason(self, error: BaseException) -> str:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if self._process is not None and self._process.why:
            return str(self._process.why)
        if isinstance(error, TidewireError):
            return error.message
        if isinstance(error, TimeoutError):
            return f"it did not answer within {START:g} s"
        if isinstance(error, Refused):
            return f"it refused ({error}); is it an MCP server?"
        return str(error) if isinstance(error, Gone | Unreachable) else type(error).__name__


class _Tool:
    """`ServerTool`."""

    def __init__(self, server: McpTools, own: str, tool: Tool) -> None:
        self._server = server
        self._own = own
        self.tool = tool

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def terms(self) -> Terms:
        return self._server.terms

    async def call(self, arguments: dict[str, Any], context: CallContext) -> ToolOutput:
        return await self._server.call(self._own, arguments, context)


def _reporter(context: CallContext, loop: asyncio.AbstractEventLoop) -> Any:
    bucket = Bucket(PROGRESS, loop.time)

    async def report(progress: float, total: float | None, message: str | None) -> None:
        if bucket.take():
            share = f"{progress:g}" if total is None else f"{progress:g} of {total:g}"
            context.progress(message[:200] if message else share)

    return report
