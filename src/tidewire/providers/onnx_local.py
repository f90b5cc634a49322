"""ONNX Runtime GenAI beside the server: one model of a local folder, loaded once, in a process of its own. Needs the extra `onnx`.

Answers take turns: one is generated at a time, the others wait in their order, and there are at most so many. A process that dies takes its
answer with it; the next question starts another.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from tidewire.core.errors import BadRequest, Overloaded, SettingsError, UpstreamError
from tidewire.core.events import Attempt, Delta, Event, Finish, PartEnded, PartStarted, Progress, Usage
from tidewire.core.ports import ModelInfo, Sink
from tidewire.core.request import Request
from tidewire.providers.onnx_worker import Config

CONFIG: Final = "genai_config.json"
LIBRARY: Final = "onnxruntime_genai"
LEAVE: Final = 5.0  # seconds that the process has to end


class _Said(msgspec.Struct):
    id: int
    text: str = ""
    input: int = 0
    output: int = 0
    finish: str = ""
    error: str | None = None
    blame: str = ""


_said: Final = msgspec.json.Decoder(_Said)


class OnnxLocal:
    """A `Provider`. The model is loaded when the first question comes, which may take its time and is told as progress."""

    def __init__(
        self,
        name: str,
        folder: str,
        prompt: Callable[[Request], str],
        *,
        models: Sequence[str] = (),
        most: int = 64,
        library: str = LIBRARY,
    ) -> None:
        """prompt: a request as plain text, for models without a chat template; raises BadRequest for what a text cannot hold.

        most: answers that may run or wait. Raises SettingsError for what is missing.
        """
        self.name = name
        self._folder = folder
        _check(name, folder, library)
        self._library = library
        self._prompt = prompt
        self._models = tuple(models) or (Path(folder).resolve().name,)
        self._most = most
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._number = 0
        self._process: Process | None = None
        self._rest = b""

    async def answer(self, request: Request, sink: Sink) -> None:
        prompt = self._prompt(request)  # refuses what the model cannot be asked, before anybody waits
        if self._waiting >= self._most:
            raise Overloaded(
                f"{self._waiting} answers of {self.name} run or wait, and {self._most} may; come back soon",
                code="upstream_connections",
                retry_after=1.0,
            )
        sink.feed([Attempt(n=1, provider=self.name, model=self._models[0], reason="start"), self._progress()])
        self._waiting += 1
        try:
            async with self._turn:
                await self._answer(request, prompt, sink)
        finally:
            self._waiting -= 1

    async def models(self) -> Sequence[ModelInfo]:
        return [ModelInfo(id=f"{self.name}/{m}", provider=self.name, note="runs on this machine") for m in self._models]

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()  # which it takes for its end
        try:
            async with asyncio.timeout(LEAVE):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _progress(self) -> Progress:
        if self._waiting:
            return Progress(stage="queued", detail=f"behind {self._waiting} other answers")
        return Progress(stage="waiting", detail=f"waiting for {self.name}" if self._process else f"loading {self.name}")

    async def _answer(self, request: Request, prompt: str, sink: Sink) -> None:
        process = await self._running()
        number = self._number = self._number + 1
        messages = [{"role": m.role, "content": m.text} for m in request.messages]
        asked = {"messages": messages, "prompt": prompt, "limit": request.max_tokens, "options": _options(request)}
        over = False
        try:
            self._send(process, {"id": number, **asked})
            begun = False
            while not over:
                events: list[Event] = []
                failure = None
                for said in await self._hear(process):
                    if said.id != number:
                        continue  # the rest of an answer that was cancelled
                    over = over or bool(said.finish) or said.error is not None
                    failure = failure or _failure(said)
                    begun = _told(said, events, begun=begun)
                if events:
                    sink.feed(events)
                if failure is not None:
                    raise failure
                if sink.full and not over:
                    await sink.room()
        finally:
            if not over:
                self._send(process, {"id": number, "stop": True})

    async def _running(self) -> Process:
        if self._process is None or self._process.returncode is not None:
            self._rest = b""
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tidewire.providers.onnx_worker",
                self._folder,
                self._library,
                stdin=PIPE,
                stdout=PIPE,
            )
        return self._process

    def _send(self, process: Process, said: dict[str, Any]) -> None:
        assert process.stdin is not None
        if process.returncode is None:
            process.stdin.write(msgspec.json.encode(said) + b"\n")

    async def _hear(self, process: Process) -> list[_Said]:
        """All that has gathered, at least a line. Raises UpstreamError when the process is gone."""
        assert process.stdout is not None
        while True:
            data = await process.stdout.read(65536)
            if not data:
                code = await process.wait()
                self._process = None if self._process is process else self._process
                raise UpstreamError(
                    f"the process of {self.name} ended with {code} in the middle of it", code="upstream_cut"
                )
            *lines, self._rest = (self._rest + data).split(b"\n")
            if lines:
                return [_said.decode(line) for line in lines]


def _told(said: _Said, events: list[Event], *, begun: bool) -> bool:
    """Whether the text has begun."""
    if said.text:
        events.extend([] if begun else [PartStarted(part=0, kind="text")])
        events.append(Delta(part=0, text=said.text))
        return True
    if said.finish:
        events.extend([PartEnded(part=0)] if begun else [])
        events.append(Usage(counted_by="host", input=said.input, output=said.output))
        events.append(Finish(reason="length" if said.finish == "length" else "stop"))
    return begun


def _failure(said: _Said) -> BadRequest | UpstreamError | None:
    """What the process says went wrong with the question."""
    if said.error is None:
        return None
    if said.blame == "asked":
        return BadRequest(said.error, param="messages")
    return UpstreamError(f"the model cannot answer: {said.error}", code="upstream_error")


def _options(request: Request) -> dict[str, Any]:
    """Search options by the library's names; those that the native protocol hands on may be any number or boolean."""
    options = {k: v for k, v in request.options_for("onnx").items() if isinstance(v, bool | int | float)}
    options.pop("max_length", None)  # the limit's own
    if request.temperature is not None:
        options["do_sample"] = request.temperature > 0
        if request.temperature > 0:
            options["temperature"] = request.temperature
    if request.top_p is not None:
        options["top_p"] = request.top_p
    return options


def _check(name: str, folder: str, library: str) -> None:
    """Raises SettingsError where there is no model, or nothing to run it."""
    where = f"providers.{name}.folder"
    if not folder:
        raise SettingsError(f"{where} is not set; it is the folder of the model, with {CONFIG} in it", param=where)
    try:
        msgspec.json.decode((Path(folder) / CONFIG).read_bytes(), type=Config)
    except OSError:
        raise SettingsError(
            f"{where} is {folder!r}, and there is no {CONFIG} in it; name the folder of a model for ONNX Runtime GenAI",
            param=where,
        ) from None
    except msgspec.DecodeError as error:
        raise SettingsError(f"{where}: {CONFIG} cannot be read: {error}", param=where) from None
    if importlib.util.find_spec(library) is None:
        raise SettingsError(
            f"providers.{name}.kind is 'onnx', and onnxruntime-genai is not installed; install tidewire with its extra: "
            "pip install 'tidewire[onnx]'",
            param=f"providers.{name}.kind",
        )
