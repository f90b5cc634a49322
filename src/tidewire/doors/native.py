"""The routes of our own protocol, spec/PROTOCOL.md section 5."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.core.ports import Dialect, Meta
from tidewire.doors.call import Call, whole
from tidewire.doors.streaming import Streaming

FORMS: Final = {
    "text/event-stream": "sse",
    "application/x-ndjson": "ndjson",
    "text/plain": "text",
    "application/json": "json",
}
PUBLIC: Final = ("stream", "model", "created", "ended", "chat", "durability", "on_disconnect", "dialect", "last")


class NativeRoutes:
    """forms: the native dialect as sse, ndjson and text."""

    def __init__(self, streaming: Streaming, forms: dict[str, Dialect]) -> None:
        self._streaming = streaming
        self._forms = forms

    async def start(self, call: Call) -> None:
        """POST /v1/streams"""
        form = _form(call)
        dialect = self._forms.get(form, self._forms["sse"])
        request, _ = dialect.parse(await call.body(), call.headers)
        if "respond-async" in call.headers.get("prefer", ""):
            meta = await self._streaming.open(call, request)
            headers = [("x-tidewire-stream", meta.stream), ("location", f"/v1/streams/{meta.stream}")]
            await call.json(describe(meta), 202, headers)
            return
        meta = await self._streaming.open(call, request)
        await self._streaming.send(call, dialect, meta, whole=form == "json", preamble=self._preamble(form))

    async def follow(self, call: Call) -> None:
        """GET /v1/streams/{id}/events"""
        stream = call.path["stream"]
        form = _form(call)
        dialect = self._forms.get(form, self._forms["sse"])
        came_back = call.headers.get("last-event-id", "").strip()
        # an EventSource that was opened with ?after= returns with both: the header is the newer of the two
        after = whole(came_back, "Last-Event-ID") if came_back else call.number("after", 0)
        if after < 0:
            raise BadRequest(f"a cursor is 0 or more, this one is {after}", param="after")
        if after and form in ("sse", "ndjson"):
            meta = await self._streaming.desk.meta(call.tenant, stream)
            if meta.ended is not None and after == meta.last:
                await call.reply(204, [("x-tidewire-stream", stream)])  # nothing comes after `closed`
                return
        await self._streaming.follow(call, dialect, stream, after, whole=form == "json", preamble=self._preamble(form))

    async def cancel(self, call: Call) -> None:
        """POST /v1/streams/{id}/cancel"""
        stream = call.path["stream"]
        stopped = await self._streaming.desk.cancel(call.tenant, stream)
        await call.json({"stream": stream, "cancelled": stopped})

    async def meta(self, call: Call) -> None:
        """GET /v1/streams/{id}"""
        await call.json(describe(await self._streaming.desk.meta(call.tenant, call.path["stream"])))

    async def find(self, call: Call) -> None:
        """GET /v1/streams"""
        limit = call.number("limit", 50)
        if not 1 <= limit <= 500:
            raise BadRequest(f"limit is {limit}; it may be 1 to 500", param="limit")
        metas = await self._streaming.desk.find(call.tenant, chat=call.query.get("chat"), limit=limit)
        await call.json({"streams": [describe(m) for m in metas]})

    async def delete(self, call: Call) -> None:
        """DELETE /v1/streams/{id}"""
        stream = call.path["stream"]
        await self._streaming.desk.delete(call.tenant, stream)
        await call.json({"stream": stream, "deleted": True})

    def _preamble(self, form: str) -> bytes:
        return self._streaming.retry if form == "sse" else b""


def describe(meta: Meta) -> dict[str, Any]:
    """What a client may know of a stream. title: the first words of its question, for lists."""
    known = msgspec.to_builtins(meta)
    out = {name: known[name] for name in PUBLIC if known.get(name) is not None}
    if title := meta.record.get("title"):
        out["title"] = title
    return out


def _form(call: Call) -> str:
    asked = call.query.get("as")
    if asked is not None:
        if asked not in FORMS.values():
            raise BadRequest(f"as is {asked[:40]!r}; it may be {', '.join(FORMS.values())}", param="as")
        return asked
    accept = call.headers.get("accept", "")
    return next((form for media, form in FORMS.items() if media in accept), "sse")
