"""OpenAI's image generation towards clients: `POST /v1/images/generations`, whole and streamed.

The images are parts of an ordinary stream: they are kept, followed and cancelled as any answer is. Source: the OpenAI API reference, "Images",
and the types of the official Python SDK. What the host said of size, quality and background is not kept: the answer repeats what was asked.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core import ids
from tidewire.core.errors import BadRequest
from tidewire.core.events import Entry, ErrorInfo
from tidewire.core.ports import Meta
from tidewire.core.request import CANCEL, DisconnectPolicy, Message, Request, Text
from tidewire.core.sse import frame
from tidewire.dialects import body, policy
from tidewire.dialects.openai_messages import error_object, failure
from tidewire.dialects.pictures import extension

_json: Final = msgspec.json.Encoder().encode
_NONE: Final = ErrorInfo(
    code="upstream_no_image", message="the model answered without an image; name a model that makes images", status=502
)


class _Body(msgspec.Struct):
    model: str
    prompt: Annotated[str, msgspec.Meta(min_length=1)]
    stream: bool | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=10)] | None = None
    partial_images: Annotated[int, msgspec.Meta(ge=0, le=3)] | None = None
    response_format: str | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    time_limit: Annotated[float, msgspec.Meta(gt=0)] | None = None


_TAKEN: Final = frozenset({"model", "prompt", "stream", "response_format", "time_limit"})
_ECHOED: Final = ("background", "quality", "size")


class OpenAIImages:
    """See core.ports.Dialect."""

    name = "openai_images"
    projection = "openai_images/1"
    resumes = False
    media_type = "text/event-stream; charset=utf-8"

    def __init__(self, on_disconnect: DisconnectPolicy = CANCEL) -> None:
        self._on_disconnect = on_disconnect

    def parse(self, raw: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        fields, plain = body.read(raw, _Body)
        if fields.response_format not in (None, "b64_json"):
            raise BadRequest(
                "images come as base64 here, not as addresses: leave response_format out, or ask for b64_json",
                code="unsupported_value",
                param="response_format",
            )
        streamed = fields.stream is True
        record: dict[str, Any] = {name: value for name in _ECHOED if (value := getattr(fields, name)) is not None}
        if streamed:
            record["stream"] = True
        request = Request(
            model=fields.model,
            messages=[Message("user", [Text(fields.prompt)])],
            dialect=self.name,
            stream=ids.new("img"),
            time_limit=fields.time_limit,
            on_disconnect=policy.asked(headers, self._on_disconnect),
            options=body.rest(plain, _TAKEN),
            record=record,
        )
        return request, streamed

    def headers(self, meta: Meta) -> list[tuple[str, str]]:
        return []

    def origin(self, after: int) -> int:
        return 0

    def stream(self, meta: Meta, after: int = 0) -> Pictures:
        return Pictures(meta, streamed=True)

    def whole(self, meta: Meta) -> Pictures:
        return Pictures(meta, streamed=False)

    def error(self, info: ErrorInfo) -> bytes:
        return _json({"error": error_object(info)})


class Pictures:
    """A log as image events, or as one document: sketches as they come, the images themselves with the usage at the end."""

    def __init__(self, meta: Meta, *, streamed: bool) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._streamed = streamed
        self._created = meta.created // 1000
        self._said = {name: meta.record.get(name, "auto") for name in _ECHOED}
        self._forms: dict[int, str] = {}  # by part
        self._sketches: dict[int, int] = {}
        self._done: dict[int, str] = {}

    def feed(self, entries: Sequence[Entry]) -> bytes:
        out: list[bytes] = []
        for entry in entries:
            event = entry.event
            if isinstance(event, ev.PartStarted) and event.kind == "image":
                self._forms[event.part] = extension(event.media)
            elif isinstance(event, ev.Blob) and event.part in self._forms:
                self._draw(event, out)
            elif isinstance(event, ev.Closed):
                self._close(event, out)
        return b"".join(out)

    def _draw(self, event: ev.Blob, out: list[bytes]) -> None:
        data = b64encode(event.data).decode()
        if not event.partial:
            self._done[event.part] = data
        elif self._streamed:
            index = self._sketches.get(event.part, 0)
            self._sketches[event.part] = index + 1
            self._event("partial_image", event.part, data, out, partial_image_index=index)

    def _event(self, kind: str, part: int, data: str, out: list[bytes], **more: Any) -> None:
        name = f"image_generation.{kind}"
        head = {"type": name, "b64_json": data, "created_at": self._created}
        out.append(frame(_json({**head, **self._said, "output_format": self._forms[part], **more}), event=name))

    def _close(self, event: ev.Closed, out: list[bytes]) -> None:
        self.ended = True
        self.failure = failure(event) or (None if self._done else _NONE)
        if self.failure is not None:
            if self._streamed:
                out.append(frame(_json({"type": "error", "error": error_object(self.failure)}), event="error"))
            return
        usage = _usage(event)
        if self._streamed:
            for part, data in self._done.items():
                self._event("completed", part, data, out, usage=usage)
            return
        form = next(iter(self._forms.values()))
        images = [{"b64_json": data} for data in self._done.values()]
        known = {name: value for name, value in self._said.items() if value != "auto"}
        said = {"created": self._created, "data": images, **known, "output_format": form}
        out.append(_json(said if usage is None else said | {"usage": usage}))


def _usage(event: ev.Closed) -> dict[str, Any] | None:
    """Which of the prompt's tokens were text and which images is not known here: they count as text."""
    if event.input_tokens is None:
        return None
    used, made = event.input_tokens, event.output_tokens or 0
    details = {"text_tokens": used, "image_tokens": 0}
    return {"input_tokens": used, "input_tokens_details": details, "output_tokens": made, "total_tokens": used + made}
