"""A model that is played, tools that are played, and what one answer of them comes to in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import async_solipsism

from tidewire.core import events as ev
from tidewire.core.events import Event
from tidewire.core.request import Message, Request, Text, Tool
from tidewire.server.toolbox import problem
from tidewire.toolbox.calls import Bounds, Shared
from tidewire.toolbox.port import CallContext, Terms, ToolOutput
from tidewire.toolbox.runner import Runner
from tidewire.toolbox.unfinished import Unfinished

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class Cup:
    """A sink that keeps what it is given, with the time."""

    full = False

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.times: list[float] = []

    def feed(self, events: Sequence[Event]) -> None:
        now = asyncio.get_running_loop().time()
        self.events.extend(events)
        self.times.extend(now for _ in events)

    async def room(self) -> None: ...

    def all(self, kind: type) -> list[Any]:
        return [e for e in self.events if isinstance(e, kind)]

    def parts(self) -> list[tuple[str, str, str]]:
        """Kind, call and text of each part, in order."""
        texts: dict[int, str] = {}
        started = self.all(ev.PartStarted)
        for e in self.all(ev.Delta):
            texts[e.part] = texts.get(e.part, "") + e.text
        return [(e.kind, e.call or "", texts.get(e.part, "")) for e in started]

    def orderly(self) -> None:
        """Every part is begun once, before its text, and ended once; one end."""
        open_parts: set[int] = set()
        seen: set[int] = set()
        finished = 0
        for e in self.events:
            assert not finished or not isinstance(e, ev.Delta | ev.PartStarted)
            if isinstance(e, ev.PartStarted):
                assert e.part not in seen
                seen.add(e.part)
                open_parts.add(e.part)
            elif isinstance(e, ev.Delta):
                assert e.part in open_parts
            elif isinstance(e, ev.PartEnded):
                open_parts.remove(e.part)
            finished += isinstance(e, ev.Finish)
        assert not open_parts
        assert finished == 1
        calls = [e.call for e in self.all(ev.PartStarted) if e.kind in ("server_call", "tool_call")]
        assert len(set(calls)) == len(calls)
        results = Counter(e.call for e in self.all(ev.PartStarted) if e.kind == "tool_result")
        ours = [e.call for e in self.all(ev.PartStarted) if e.kind == "server_call"]
        assert results == Counter(ours)
        assert [a.n for a in self.all(ev.Attempt)] == list(range(1, len(self.all(ev.Attempt)) + 1))


def says(*words: str) -> list[Any]:
    return [("text", word) for word in words]


def calls(name: str, call: str = "c", arguments: Any = None, *, raw: str | None = None) -> Any:
    return ("call", name, call, raw if raw is not None else json.dumps(arguments or {"city": "Kiel"}))


class Model:
    """rounds: what it does each time it is asked: texts, calls, numbers (seconds of silence), errors. asked: the requests.

    again: it can be asked by many, and knows its round by the results in the question.
    """

    def __init__(self, *rounds: Sequence[Any], finish: str | None = None, again: bool = False) -> None:
        self.again = again
        self.name = "model"
        self.rounds = list(rounds)
        self.asked: list[Request] = []
        self.finish = finish

    async def answer(self, request: Request, sink: Any) -> None:
        number = sum(m.role == "tool" for m in request.messages) if self.again else len(self.asked)
        script = self.rounds[min(number, len(self.rounds) - 1)]
        self.asked.append(request)
        sink.feed([ev.Attempt(n=1, provider="p", model=request.model, reason="start")])
        parts = itertools.count()
        called = False
        for step in script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float | int):
                await asyncio.sleep(step)
                continue
            part = next(parts)
            if step[0] == "text":
                sink.feed([ev.PartStarted(part=part, kind="text")])
                for piece in step[1]:
                    sink.feed([ev.Delta(part=part, text=piece)])
            else:
                _, name, call, arguments = step
                called = True
                sink.feed([ev.PartStarted(part=part, kind="tool_call", name=name, call=call)])
                for at in range(0, len(arguments), 5):
                    sink.feed([ev.Delta(part=part, text=arguments[at : at + 5])])
                    await asyncio.sleep(0)
            sink.feed([ev.PartEnded(part=part)])
        sink.feed([ev.Usage(counted_by="host", input=10, output=5)])
        sink.feed([ev.Finish(reason=self.finish or ("tool_calls" if called else "stop"))])

    async def models(self) -> list[Any]:
        return []

    async def close(self) -> None: ...


class Played:
    """A `ServerTool`. work: what a call does; by default it takes `takes` seconds and says "sunny". keys: of each try that came to its end."""

    def __init__(
        self,
        name: str = "weather",
        work: Callable[[dict[str, Any], CallContext], Any] | None = None,
        *,
        takes: float = 1.0,
        **terms: Any,
    ) -> None:
        self.name = name
        self.tool = Tool(name=name, description="", parameters=SCHEMA)
        self.terms = Terms(**terms)
        self._work = work
        self._takes = takes
        self.running = self.most = 0
        self.begun: list[str] = []
        self.keys: list[str] = []
        self.let_go = 0

    async def call(self, arguments: dict[str, Any], context: CallContext) -> ToolOutput:
        self.begun.append(context.key)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self._work is not None:
                out = await self._work(arguments, context)
            else:
                await asyncio.sleep(self._takes)
                out = ToolOutput("sunny")
            self.keys.append(context.key)
            return out
        except asyncio.CancelledError:
            self.let_go += 1
            raise
        finally:
            self.running -= 1


class Tally:
    def __init__(self) -> None:
        self.results: Counter[tuple[str, str]] = Counter()
        self.retries = 0

    def tool_called(self, tool: str, result: str, seconds: float) -> None:
        self.results[tool, result] += 1

    def tool_retried(self, tool: str) -> None:
        self.retries += 1


class Stage:
    """The runner around a model with tools."""

    def __init__(self, model: Any, *tools: Played, **bounds: Any) -> None:
        self.model = model
        self.meter = Tally()
        self.tools = {tool.name: tool for tool in tools}
        self.unfinished = Unfinished()
        shared = Shared(Bounds(**bounds), problem, self.meter)
        self.runner = Runner(model, lambda request: self.tools, shared, self.unfinished)
        self.cup = Cup()

    async def play(self, **more: Any) -> Cup:
        self.cup = Cup()
        await self.runner.answer(question(**more), self.cup)
        self.cup.orderly()
        return self.cup


def question(text: str = "How is the weather?", **more: Any) -> Request:
    more.setdefault("messages", [Message(role="user", content=[Text(text)])])
    return Request(model="m", stream="st_1", **more)


def virtually(work: Any) -> Any:
    with contextlib.closing(asyncio.Runner(loop_factory=async_solipsism.EventLoop)) as runner:
        return runner.run(work)
