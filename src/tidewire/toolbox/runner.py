"""A model that calls the server's tools: it is asked, what it calls is run while it still speaks, and it is asked again with the results.

One answer stays one stream, with one end. Calls of the client's own tools are left to the client, also beside calls of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from tidewire.core.errors import BadRequest, TidewireError, UpstreamError
from tidewire.core.events import Finish, Notice
from tidewire.core.ports import ModelInfo, Provider, Sink
from tidewire.core.request import Message, Request, ToolCall, ToolResult
from tidewire.toolbox.calls import Calls, Shared
from tidewire.toolbox.port import ServerTool, ToolOutput
from tidewire.toolbox.round import Piece, Round, Stream
from tidewire.toolbox.unfinished import Unfinished

GOES_ON: Final = frozenset({"tool_calls", "stop"})  # some hosts end with stop though they called a tool
REFUSED: Final = "tools_refused"  # codes of notices
ROUNDS: Final = "tool_rounds"
TWICE: Final = "the call was not made: the model used its id for another call"
Tools = Callable[[Request], Mapping[str, ServerTool]]


class Runner:
    """A `Provider` around whatever answers. tools: those of the server that this request may have, by name."""

    def __init__(self, provider: Provider, tools: Tools, shared: Shared, unfinished: Unfinished) -> None:
        self.name = provider.name
        self.provider = provider
        self.shared = shared
        self.unfinished = unfinished
        self._tools = tools

    async def answer(self, request: Request, sink: Sink) -> None:
        request = self.unfinished.restored(request)
        tools = {} if request.n > 1 or request.tool_choice == "none" else self._tools(request)
        theirs = {tool.name for tool in request.tools}
        tools = {name: tool for name, tool in tools.items() if name not in theirs}  # the client's own come first
        if tools:
            await _Answering(self, request, tools, sink).run()
        else:
            await self.provider.answer(request, sink)

    async def models(self) -> Sequence[ModelInfo]:
        return await self.provider.models()

    async def close(self) -> None:
        await self.provider.close()


class _Answering:
    """One answer, round by round."""

    def __init__(self, runner: Runner, request: Request, tools: Mapping[str, ServerTool], sink: Sink) -> None:
        self._runner = runner
        self._request = request
        self._tools = tools
        self._theirs = {tool.name for tool in request.tools}
        self._rounds = runner.shared.bounds.rounds
        known = {c.call for m in request.messages for c in m.content if isinstance(c, ToolCall | ToolResult)}
        self._stream = Stream(sink, known)
        whose = (request.tenant, request.stream or "")
        self._calls = Calls(runner.shared, tools, whose, self._stream.tell, self._stream.part)

    async def run(self) -> None:
        """Raises what the provider does, and UpstreamError for a model that calls tools in every round."""
        try:
            await self._answered()
        except TidewireError as error:
            error.begun = error.begun or self._stream.begun
            raise
        finally:
            await self._calls.stop()

    async def _answered(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        own = [tool.tool for tool in self._tools.values()]
        asked = msgspec.structs.replace(self._request, tools=[*self._request.tools, *own])
        said: list[Message] = []  # in this answer
        number = 1
        while True:
            heard = await self._asked(asked, first=number == 1)
            outputs = await self._calls.settled()
            finish = heard.finish
            if finish is None:
                return  # whoever ends the stream says so
            ours, theirs = heard.of("server_call"), heard.of("tool_call")
            if finish.reason not in GOES_ON or not (ours or theirs):
                self._stream.tell([finish])
                return
            said.append(heard.message())
            if ours:
                said.append(_results(ours, outputs))
            if theirs:
                self._left(theirs, said)
                return
            if number > self._rounds:
                raise self._endless()
            asked = msgspec.structs.replace(
                asked,
                messages=[*self._request.messages, *said],
                tool_choice=_later(asked.tool_choice),
                first_by=None if self._stream.begun else asked.first_by,
            )
            if number == self._rounds:
                asked = self._last_time(asked)
            number += 1
            self._stream.next_round(loop.time() - began)

    async def _asked(self, request: Request, *, first: bool) -> Round:
        """One round. A model that takes no tools is asked without ours, where the client brought none either."""
        heard = Round(self._stream, self._ours, self._begin)
        try:
            await self._runner.provider.answer(request, heard)
        except TidewireError as error:
            if not first or heard.pieces or self._request.tools or not _refuses_tools(error):
                raise
            message = f"{self._request.model} takes no tools, so that it answers without those of this server"
            self._stream.tell([Notice(code=REFUSED, message=message)])
            self._stream.reason = "retry"
            heard = Round(self._stream, self._ours, self._begin)
            await self._runner.provider.answer(self._request, heard)
        return heard

    def _ours(self, name: str) -> bool:
        """Also a name that nobody has: the model is told so, rather than a client that brought no such tool."""
        return name not in self._theirs

    def _begin(self, piece: Piece) -> None:
        call = ToolCall(call=piece.call, name=piece.name, arguments="".join(piece.texts))
        self._calls.begin(call, TWICE if piece.twice else "")

    def _left(self, theirs: Sequence[Piece], said: Sequence[Message]) -> None:
        """The rest is the client's: what it will not know of, in this round and those before, is kept until it is back."""
        if len(said) > 1:
            calls = [ToolCall(call=piece.call, name=piece.name, arguments="") for piece in theirs]
            self._runner.unfinished.keep(self._request, calls, said)
        self._stream.tell([Finish(reason="tool_calls")])

    def _endless(self) -> UpstreamError:
        error = UpstreamError(
            f"the model called tools again after {self._rounds} rounds, which are all that are allowed; ask for less, or raise tool_calls.rounds",
            code="upstream_tool_rounds",
        )
        error.retryable = False
        return error

    def _last_time(self, request: Request) -> Request:
        message = f"the model called tools in {self._rounds} rounds, which are all that are allowed; it answers with what it has"
        self._stream.tell([Notice(code=ROUNDS, message=message)])
        self._calls.over = f"{self._rounds} rounds of calls are allowed in one answer (tool_calls.rounds)"
        return msgspec.structs.replace(request, tool_choice="none")


def _results(calls: Sequence[Piece], outputs: Mapping[str, ToolOutput]) -> Message:
    results = []
    for piece in calls:
        output = outputs.get(piece.call, ToolOutput("the call was not complete", failed=True))
        results.append(
            ToolResult(call=piece.call, text=output.text, failed=output.failed, images=output.images, name=piece.name)
        )
    return Message(role="tool", content=list(results))


def _later(choice: object) -> object:
    """A choice that forces a call holds for the first round: else the model could never answer."""
    forced = choice == "required" or (isinstance(choice, dict) and choice.get("type") == "function")
    return None if forced else choice


def _refuses_tools(error: TidewireError) -> bool:
    """Whether the host, or its protocol, takes no tools at all: hosts say so in their own words, in which the word is."""
    if isinstance(error, BadRequest):
        return error.param == "tools" or "tool" in error.message.lower()
    refused = isinstance(error, UpstreamError) and error.upstream_status in (400, 404, 422, 501)
    return refused and "tool" in error.message.lower()
