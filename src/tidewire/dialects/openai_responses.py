"""OpenAI Responses: `POST /v1/responses` and what belongs to it, sans-I/O.

A cursor counts projected events: the client's starting_after n (the sequence_number it saw last) is after = n + 1.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.core.events import ErrorInfo
from tidewire.core.ports import Meta
from tidewire.core.request import CANCEL, DisconnectPolicy, Request
from tidewire.dialects import openai_responses_object as shapes
from tidewire.dialects import openai_responses_request
from tidewire.dialects.openai_messages import error_object
from tidewire.dialects.openai_responses_events import Events, Whole

_encode: Final = msgspec.json.Encoder().encode


class OpenAIResponses:
    """The dialect. See core.ports.Dialect; what is beyond it serves the routes of a stored response.

    on_disconnect: what a lost connection means, unless the request says otherwise or is for the background.
    """

    name = "openai_responses"
    projection = "openai_responses/1"
    resumes = True
    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, on_disconnect: DisconnectPolicy = CANCEL) -> None:
        self._on_disconnect = on_disconnect

    def parse(self, raw: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        return openai_responses_request.parse(raw, headers, self._on_disconnect)

    def previous(self, record: dict[str, Any]) -> str | None:
        """The response that a request, or a response by its record, goes on from."""
        return record.get("previous_response_id")

    def turn(self, meta: Meta, whole: Whole) -> list[dict[str, Any]]:
        """What was asked and answered in an earlier response, as input items. Raises BadRequest where that is not there."""
        return openai_responses_request.turn(meta, whole.response)

    def go_on(self, request: Request, items: list[dict[str, Any]]) -> None:
        """Put the items of the earlier turns before what is asked now. Its instructions are those of this request alone."""
        openai_responses_request.go_on(request, items)

    def headers(self, meta: Meta) -> list[tuple[str, str]]:
        return []

    def origin(self, after: int) -> int:
        """Always from the first entry: what comes later is made of what came before."""
        return 0

    def stream(self, meta: Meta, after: int = 0) -> Events:
        """after: the number of events to leave out, which is starting_after + 1; 0 gives all, from sequence_number 0."""
        return Events(meta, after)

    def whole(self, meta: Meta) -> Whole:
        return Whole(meta)

    def input_items(self, meta: Meta, *, limit: int = 20, order: str = "desc", after: str | None = None) -> bytes:
        """A page of the request's input items. Raises NotFound where they were not kept, or after names none."""
        return _encode(shapes.input_items(meta, limit=limit, order=order, after=after))

    def deleted(self, stream: str) -> bytes:
        return _encode({"id": stream, "object": "response", "deleted": True})

    def error(self, info: ErrorInfo) -> bytes:
        return _encode({"error": error_object(info)})
