"""The calls of one answer while they run: in parallel, within their deadlines, tried again where that is harmless, told as they end."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from tidewire.core.events import Delta, Event, PartEnded, PartStarted, Progress, Span, Timing
from tidewire.core.meter import ToolMeter
from tidewire.core.request import ToolCall
from tidewire.toolbox.port import CallContext, ServerTool, ToolFault, ToolOutput

log = logging.getLogger("tidewire.tools")

PAUSE: Final = 0.25  # seconds before the second try; doubled before each further one
LET_GO: Final = 3.0  # seconds that a call may take to notice that it is cancelled; then it is left behind
DETAIL: Final = 200  # characters of what a tool says while it runs
APART: Final = 0.1  # seconds between two such words that are passed on
Problem = Callable[[dict[str, Any], dict[str, Any]], str]


class Bounds(msgspec.Struct, frozen=True):
    """Of one answer. rounds: how often the model may call and be asked again. calls: in all. parallel: at once.

    heartbeat: seconds of silence of a running call after which it is told of.
    """

    rounds: int = 8
    calls: int = 64
    parallel: int = 8
    heartbeat: float = 10.0


class Shared(msgspec.Struct, frozen=True):
    """What the calls of all answers share. problem: what is wrong with arguments, held against a schema, or ""."""

    bounds: Bounds
    problem: Problem
    meter: ToolMeter


class Calls:
    """tell: takes events for the stream, from the event loop's thread. part: gives the number of a new part.

    whose: tenant and stream, which with a call's id make its key unique and stable.
    """

    def __init__(
        self,
        shared: Shared,
        tools: Mapping[str, ServerTool],
        whose: tuple[str, str],
        tell: Callable[[list[Event]], None],
        part: Callable[[], int],
    ) -> None:
        self.shared = shared
        self.tools = tools
        self.whose = whose
        self.tell = tell
        self.loop = asyncio.get_running_loop()
        self._part = part
        self._began = self.loop.time()
        self._slots = asyncio.Semaphore(shared.bounds.parallel)
        self._tasks: dict[str, asyncio.Task[ToolOutput]] = {}
        self.over = ""  # why no call may begin any more, or ""
        self._count = 0

    def begin(self, call: ToolCall, refusal: str = "") -> None:
        """Set off. A refusal, arguments that do not fit, and calls beyond the bounds come to a failed output at once."""
        self._count += 1
        most = self.shared.bounds.calls
        if self._count > most:
            refusal = f"the call was not made: {most} calls are allowed in one answer (tool_calls.calls)"
        self._tasks[call.call] = self.loop.create_task(self._whole(call, refusal))

    async def settled(self) -> dict[str, ToolOutput]:
        """What all that have begun since the last time came to, by call id; all of it has been told."""
        tasks, out = self._tasks, {}
        if tasks:
            await asyncio.wait(tasks.values())
            out = {call: task.result() for call, task in tasks.items()}
        self._tasks = {}
        return out

    async def stop(self) -> None:
        """Cancel what runs, and wait until it has let go."""
        running = [task for task in self._tasks.values() if not task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        self._tasks = {}

    async def _whole(self, call: ToolCall, refusal: str) -> ToolOutput:
        """One call from its arguments to its told result. Never raises but for a cancellation."""
        result, began = "refused", self.loop.time()
        try:
            given, problem = self._given(call)
            if refusal := refusal or problem:
                output = ToolOutput(refusal, failed=True)
            else:
                async with self._slots:
                    began = self.loop.time()
                    output, result = await _Running(self, call, given).output()
        except asyncio.CancelledError:
            self.shared.meter.tool_called(self._name(call), "cancelled", self.loop.time() - began)
            raise
        took = self.loop.time() - began
        self.shared.meter.tool_called(self._name(call), result, took)
        self.tell([*self._spans(call, began, took, result), *self._result(call, output)])
        return output

    def _name(self, call: ToolCall) -> str:
        """Of a tool that is there: what a model makes up is no label."""
        return call.name if call.name in self.tools else "unknown"

    def _spans(self, call: ToolCall, began: float, took: float, result: str) -> list[Event]:
        if result == "refused":
            return []
        start = round((began - self._began) * 1000, 3)
        return [Timing(span=Span(f"tool_{call.name}", start, round(took * 1000, 3)))]

    def _result(self, call: ToolCall, output: ToolOutput) -> list[Event]:
        part = self._part()
        out: list[Event] = [
            PartStarted(part=part, kind="tool_result", name=call.name, call=call.call, failed=output.failed)
        ]
        if output.text:
            out.append(Delta(part=part, text=output.text))
        return [*out, PartEnded(part=part)]

    def _given(self, call: ToolCall) -> tuple[dict[str, Any], str]:
        """The arguments, or why the call is not made."""
        if self.over:
            return {}, f"the call was not made: {self.over}"
        tool = self.tools.get(call.name)
        if tool is None:
            return {}, f"the call was not made: there is no tool {call.name[:64]!r}; there are {', '.join(self.tools)}"
        try:
            given = msgspec.json.decode(call.arguments or "{}")
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as wrong:
            return {}, f"the call was not made: its arguments are no JSON: {wrong}"
        if not isinstance(given, dict):
            return {}, "the call was not made: its arguments are no JSON object"
        schema = tool.tool.parameters
        problem = self.shared.problem(schema, given) if schema else ""
        return given, f"the call was not made: {problem}" if problem else ""


class _Running:
    """One call that is being made."""

    def __init__(self, calls: Calls, call: ToolCall, given: dict[str, Any]) -> None:
        self._meter = calls.shared.meter
        self._heartbeat = calls.shared.bounds.heartbeat
        self._loop = calls.loop
        self._tool = calls.tools[call.name]
        self._tell = calls.tell
        self._call = call
        self._given = given
        tenant, self._stream = calls.whose
        named = f"{tenant}\0{self._stream}\0{call.call}"
        self._key = f"tw_{hashlib.sha256(named.encode('utf-8', 'replace')).hexdigest()[:40]}"
        self._began = calls.loop.time()
        self._passed = -APART  # when the tool itself was last heard
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None

    async def output(self) -> tuple[ToolOutput, str]:
        """What it came to, and that in a word."""
        self._say(f"running {self._call.name}")
        try:
            output, result = await self._tried()
        finally:
            self._stopped = True
            if self._timer is not None:
                self._timer.cancel()
        limit, size = self._tool.terms.result_bytes, len(output.text)
        if size > limit or (size * 4 > limit and (size := len(output.text.encode("utf-8", "replace"))) > limit):
            said = f"{self._call.name} gave a result of {size} bytes or more; {limit} are allowed (result_bytes)"
            return ToolOutput(said, failed=True), "too_large"
        text = output.text.encode("utf-8", "replace").decode()  # half a character cannot be logged
        return msgspec.structs.replace(output, text=text), result

    async def _tried(self) -> tuple[ToolOutput, str]:
        terms = self._tool.terms
        more = terms.retries if terms.idempotent else 0
        pause = PAUSE
        while True:
            deadline = self._loop.time() + terms.timeout
            try:
                return await self._once(deadline)
            except ToolFault as fault:
                if not more:
                    return ToolOutput(f"{self._call.name} failed: {fault}", failed=True), "failed"
            more -= 1
            self._meter.tool_retried(self._call.name)
            await asyncio.sleep(pause)
            pause *= 2

    async def _once(self, deadline: float) -> tuple[ToolOutput, str]:
        """One try in a task of its own, so that one that does not let go holds up nobody for ever. Raises ToolFault."""
        context = CallContext(self._stream, self._call.call, self._key, deadline, self._progress, self._asked_to_stop)
        task = self._loop.create_task(self._tool.call(self._given, context))
        try:
            await asyncio.wait({task}, timeout=max(0.0, deadline - self._loop.time()))
            if not task.done():
                await self._cancelled(task)
                text = f"{self._call.name} did not answer within {self._tool.terms.timeout:g} s; it was told to stop"
                return ToolOutput(text, failed=True), "timeout"
        except asyncio.CancelledError:
            await self._cancelled(task)
            raise
        try:
            output = task.result()
        except ToolFault:
            raise
        except (Exception, asyncio.CancelledError):  # supervisor boundary: a tool is others' code
            log.exception("a tool failed", extra={"path": self._call.name, "stream": self._stream})
            return ToolOutput(f"{self._call.name} failed", failed=True), "defect"
        return output, "failed" if output.failed else "ok"

    async def _cancelled(self, task: asyncio.Task[ToolOutput]) -> None:
        self._stopped = True
        task.cancel()
        await asyncio.wait({task}, timeout=LET_GO)
        if not task.done():
            log.error("a tool did not let go in time", extra={"path": self._call.name, "stream": self._stream})

    # While it runs

    def _asked_to_stop(self) -> bool:
        return self._stopped

    def _progress(self, text: str) -> None:
        now = self._loop.time()
        if not self._stopped and now - self._passed >= APART:
            self._passed = now
            self._say(f"{self._call.name}: {text}"[:DETAIL])

    def _say(self, detail: str) -> None:
        self._tell([Progress(stage="calling", detail=detail, call=self._call.call)])
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._heartbeat, self._beat)

    def _beat(self) -> None:
        self._say(f"{self._call.name} has been running for {self._loop.time() - self._began:.0f} s")
