"""An MCP server as a process of ours, spoken to over its standard input and output: a transport of the `mcp` package.

The package brings one that holds a line of any length in memory and takes only a file for the process's standard error. This one bounds
both, tells when and why the process ended, and ends its whole group when it is left, whatever happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCNotification, JSONRPCRequest, jsonrpc_message_adapter

from tidewire.core.errors import SettingsError
from tidewire.toolbox.mcp_lines import NONSENSE, Bucket, Lines, TooLong

TOO_LARGE: Final = -32099  # of JSON-RPC's range for implementations; only ever said by us to ourselves
LEAVE: Final = 2.0  # seconds that the process has to end after its input was closed, and again after SIGTERM
CODE: Final = 0.5  # seconds after its last word until its exit code need not be known
LOOK: Final = 0.05  # seconds between looks at whether the process is gone
NEWS: Final = 200.0  # notifications and requests of the server a second; more are dropped
WORDS: Final = 300  # characters of a line on standard error

_Message = SessionMessage | Exception


class ServerProcess:
    """Entering starts the process and gives the streams that a session reads and writes; leaving ends it.

    command: the program and its arguments. env: all of its environment. line_bytes: the longest message it may send. say: is given
    each line of its standard error, cut to 300 characters. gone: called once, when nothing more will come.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        line_bytes: int,
        say: Callable[[str], None],
        gone: Callable[[], None],
    ) -> None:
        self._name = name
        self._command = tuple(command)
        self._env = dict(env)
        self._limit = line_bytes
        self._say = say
        self._tell_gone = gone
        self._process: Process | None = None
        self._nonsense = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.ended = False  # nothing more will come of this process
        self.why = ""  # it ended of itself, as a clause: "it closed its output, with code 3"

    async def __aenter__(self) -> tuple[MemoryObjectReceiveStream[_Message], MemoryObjectSendStream[SessionMessage]]:
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=self._env, start_new_session=True
            )
        except (OSError, ValueError) as error:
            why = (
                os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "its command is no command"
            )
            raise SettingsError(
                f"the tool server {self._name} cannot be started: {self._command[0]}: {why}; see command of tools.{self._name}",
            ) from None
        self._inbox, read = anyio.create_memory_object_stream[_Message](0)
        write, self._outbox = anyio.create_memory_object_stream[SessionMessage](0)
        self._streams = (self._inbox, read, write, self._outbox)
        loop = asyncio.get_running_loop()
        self._news = Bucket(NEWS, loop.time)
        self._tasks = [loop.create_task(work(process)) for work in (self._hear, self._tell, self._listen, self._watch)]
        return read, write

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        with anyio.CancelScope(shield=True):  # what is left behind would run for ever
            try:
                await self._leave(self._process)
            finally:
                self._kill("SIGKILL")  # the rest of its group, too
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
                for stream in self._streams:
                    stream.close()
                transport = getattr(self._process, "_transport", None)  # a grandchild may hold a pipe open
                if transport is not None:
                    with contextlib.suppress(OSError):
                        transport.close()

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    async def _leave(self, process: Process) -> None:
        assert process.stdin is not None
        self._end("")  # that we let it go is no reason: whoever did knows why
        with contextlib.suppress(OSError):
            process.stdin.close()
        if not await self._gone(process, LEAVE):
            self._kill("SIGTERM")
            await self._gone(process, LEAVE)

    async def _gone(self, process: Process, seconds: float) -> bool:
        """Not process.wait(), which waits for whoever else holds the pipes."""
        until = asyncio.get_running_loop().time() + seconds
        while process.returncode is None:
            if asyncio.get_running_loop().time() >= until:
                return False
            await asyncio.sleep(LOOK)
        return True

    def _kill(self, name: str) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, getattr(signal, name))
            else:
                self._process.kill()

    def _end(self, why: str) -> None:
        """The session learns of it by the end of its stream, and fails what waits."""
        self._inbox.close()
        if not self.ended:
            self.why = why
            self.ended = True
            self._tell_gone()

    # The four that run beside

    async def _hear(self, process: Process) -> None:
        assert process.stdout is not None
        lines = Lines(self._limit)
        try:
            while data := await process.stdout.read(65536):
                for line in lines.feed(data):
                    if (message := self._read(line)) is not None:
                        await self._inbox.send(message)
                await asyncio.sleep(0)  # a server that floods does not keep the others waiting
                if self.ended:
                    break
            await self._gone(process, CODE)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            pass
        finally:
            self._end(f"it closed its output{_code(process)}")
        while await process.stdout.read(65536):  # what it still has to say must not keep it from ending
            pass

    def _read(self, line: bytes | TooLong) -> SessionMessage | None:
        if isinstance(line, TooLong):
            return self._too_long(line)
        try:
            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
        except (ValueError, RecursionError):
            if (request := _answered(line)) is not None:
                return _failed(request, PARSE_ERROR, "it is no JSON-RPC")
            self._nonsense += 1
            if self._nonsense > NONSENSE:
                self._end(f"it wrote more than {NONSENSE} lines to its output that are no JSON-RPC")
            return None
        if isinstance(message, JSONRPCNotification | JSONRPCRequest) and not self._news.take():
            return None
        return SessionMessage(message)

    def _too_long(self, line: TooLong) -> SessionMessage | None:
        said = f"a message of {line.size} bytes; {self._limit} are allowed"
        if line.request is None:
            self._end(f"it sent {said}")
            return None
        return _failed(line.request, TOO_LARGE, f"it answered with {said}")

    async def _tell(self, process: Process) -> None:
        assert process.stdin is not None
        try:
            async for sent in self._outbox:
                process.stdin.write(sent.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await process.stdin.drain()
        except (OSError, RuntimeError, anyio.ClosedResourceError):
            await self._gone(process, CODE)  # a process that died says more by its code than by its pipe
            self._end(f"it closed its input{_code(process)}")

    async def _listen(self, process: Process) -> None:
        """Standard error."""
        assert process.stderr is not None
        rest = b""
        while data := await process.stderr.read(8192):
            *lines, rest = (rest + data).split(b"\n")
            rest = rest[:WORDS]
            for line in lines:
                if text := line.decode("utf-8", "replace").strip()[:WORDS]:
                    self._say(text)
            await asyncio.sleep(0)

    async def _watch(self, process: Process) -> None:
        """A process may be gone while somebody else holds its pipes open."""
        while process.returncode is None:  # noqa: ASYNC110 - wait() waits for the pipes, too
            await asyncio.sleep(5 * LOOK)
        await asyncio.sleep(5 * LOOK)  # its last words first
        self._end(f"it ended{_code(process)}")


class _Answer(msgspec.Struct):
    id: int
    method: msgspec.Raw = msgspec.Raw()


def _answered(line: bytes) -> int | None:
    """Which request a line answers that is no JSON-RPC otherwise, if it can be told."""
    try:
        answer = msgspec.json.decode(line, type=_Answer)
    except (ValueError, RecursionError):
        return None
    return None if bytes(answer.method) else answer.id


def _failed(request: int, code: int, message: str) -> SessionMessage:
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=request, error=ErrorData(code=code, message=message)))


def _code(process: Process) -> str:
    code = process.returncode
    if code is None:
        return ""
    return f", with code {code}" if code >= 0 else f", by signal {-code}"
