"""OpenAI Responses: create, and what can be done with a response that is stored."""

from __future__ import annotations

from typing import Any, Final, Protocol

from tidewire.core.errors import BadRequest, CursorAhead, Expired, UnknownStream
from tidewire.core.ports import Dialect, Meta, Renderer
from tidewire.core.request import Request
from tidewire.doors.call import Call
from tidewire.doors.prefix import replay
from tidewire.doors.streaming import Streaming

TURNS: Final = 100  # responses that one may go on from, each a log to read
NOTHING: Final = 1 << 62  # a cursor behind everything: render nothing, only count
JSON: Final = [("content-type", "application/json")]


class Counted(Renderer, Protocol):
    @property
    def count(self) -> int:
        """What the projection has counted so far."""


class Snapshot(Renderer, Protocol):
    def document(self) -> bytes:
        """The Response object as far as it has been fed."""


class Responses(Dialect, Protocol):
    """What the routes need of the dialect beyond the port."""

    def stream(self, meta: Meta, after: int = 0) -> Counted: ...

    def whole(self, meta: Meta) -> Snapshot: ...

    def previous(self, record: dict[str, Any]) -> str | None: ...

    def turn(self, meta: Meta, whole: Any) -> list[dict[str, Any]]: ...

    def go_on(self, request: Request, items: list[dict[str, Any]]) -> None: ...

    def input_items(self, meta: Meta, *, limit: int = 20, order: str = "desc", after: str | None = None) -> bytes: ...

    def deleted(self, stream: str) -> bytes: ...


class ResponsesRoutes:
    def __init__(self, streaming: Streaming, dialect: Responses) -> None:
        self._streaming = streaming
        self._dialect = dialect

    async def create(self, call: Call) -> None:
        """POST /v1/responses. In the background and not streamed, it answers at once: queued."""
        request, streamed = self._dialect.parse(await call.body(), call.headers)
        await self._go_on(call, request)
        meta = await self._streaming.open(call, request)
        if meta.record.get("background") and not streamed:
            headers = [*JSON, ("x-tidewire-stream", meta.stream)]
            await call.reply(200, headers, self._dialect.whole(meta).document())
        else:
            await self._streaming.send(call, self._dialect, meta, whole=not streamed)

    async def retrieve(self, call: Call) -> None:
        """GET /v1/responses/{response}: the object as it stands, or with ?stream=true the events after starting_after."""
        meta = await self._streaming.desk.meta(call.tenant, call.path["response"])
        if call.query.get("stream", "").lower() not in ("true", "1"):
            await self._snapshot(call, meta)
            return
        seen = call.number("starting_after", -1)
        if seen < -1 or (seen == -1 and "starting_after" in call.query):
            raise BadRequest(f"starting_after is {seen}; sequence numbers begin at 0", param="starting_after")
        if seen >= 0:
            count = await self._count(meta)
            if seen >= count:
                raise CursorAhead(
                    f"starting_after is {seen}, and the last event of this response is {count - 1}",
                    param="starting_after",
                )
        await self._streaming.follow(call, self._dialect, meta.stream, seen + 1)

    async def cancel(self, call: Call) -> None:
        """POST /v1/responses/{response}/cancel. Any that runs, not only background ones; twice does no harm."""
        stream = call.path["response"]
        await self._streaming.desk.cancel(call.tenant, stream)
        await self._snapshot(call, await self._streaming.desk.meta(call.tenant, stream))

    async def delete(self, call: Call) -> None:
        """DELETE /v1/responses/{response}"""
        stream = call.path["response"]
        await self._streaming.desk.delete(call.tenant, stream)
        await call.reply(200, JSON, self._dialect.deleted(stream))

    async def input_items(self, call: Call) -> None:
        """GET /v1/responses/{response}/input_items"""
        meta = await self._streaming.desk.meta(call.tenant, call.path["response"])
        limit = call.number("limit", 20)
        if not 1 <= limit <= 100:
            raise BadRequest(f"limit is {limit}; it may be 1 to 100", param="limit")
        order = call.query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise BadRequest("order may be asc or desc", param="order")
        page = self._dialect.input_items(meta, limit=limit, order=order, after=call.query.get("after"))
        await call.reply(200, JSON, page)

    async def _go_on(self, call: Call, request: Request) -> None:
        """The earlier turns that the request names, read from the log: each response names the one before."""
        turns: list[list[dict[str, Any]]] = []
        previous = self._dialect.previous(request.record)
        while previous is not None:
            if len(turns) == TURNS:
                raise BadRequest(
                    f"there are more than {TURNS} responses before this one; send the items that count in input",
                    param="previous_response_id",
                )
            try:
                meta = await self._streaming.desk.meta(call.tenant, previous)
                whole = self._dialect.whole(meta)
                await replay(self._streaming.desk, meta, whole.feed)
            except (UnknownStream, Expired):
                raise BadRequest(
                    f"response {previous[:80]} is not here, or not any more; send its items in input",
                    code="previous_response_not_found",
                    param="previous_response_id",
                ) from None
            turns.append(self._dialect.turn(meta, whole))
            previous = self._dialect.previous(meta.record)
        if turns:
            self._dialect.go_on(request, [item for turn in reversed(turns) for item in turn])

    async def _snapshot(self, call: Call, meta: Meta) -> None:
        whole = self._dialect.whole(meta)
        await replay(self._streaming.desk, meta, whole.feed)
        await call.reply(200, JSON, whole.document())

    async def _count(self, meta: Meta) -> int:
        events = self._dialect.stream(meta, NOTHING)
        await replay(self._streaming.desk, meta, events.feed)
        return events.count
