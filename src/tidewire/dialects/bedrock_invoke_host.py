"""Bedrock's InvokeModelWithResponseStream for Anthropic's models: their own words, in the binary event stream.

Source: the Bedrock Runtime reference, "Anthropic Claude Messages API" in the user guide, and recorded streams, whose last event carries
the host's own times.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec

from tidewire.core.events import Event, Finish, Span, Timing
from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import Request
from tidewire.dialects.anthropic_host_events import MessagesDecoder
from tidewire.dialects.anthropic_messages import betas, write_body
from tidewire.dialects.aws_eventstream import MEDIA_TYPE, Messages
from tidewire.dialects.bad_events import BAD, broken
from tidewire.dialects.bedrock_wire import failure
from tidewire.dialects.body import unsupported

VERSION: Final = "bedrock-2023-05-31"
_METRICS: Final = b"amazon-bedrock-invocationMetrics"
_TIMES: Final = {"firstByteLatency": "host_first_byte", "invocationLatency": "host_latency"}


class _Chunk(msgspec.Struct, gc=False):
    data: bytes | None = msgspec.field(default=None, name="bytes")  # base64 in JSON


class _Last(msgspec.Struct, gc=False):
    metrics: dict[str, Any] = msgspec.field(default_factory=dict, name=_METRICS.decode())


_chunk = msgspec.json.Decoder(_Chunk)
_last = msgspec.json.Decoder(_Last)


class InvokeHost:
    """`core.ports.Speaker`. Bedrock lists its models at another address, so that they are configured."""

    listing = ""

    def ask(self, request: Request, model: str) -> Question:
        """model: an id, or the ARN of a profile or of a deployment."""
        body = write_body(request, model) | {"anthropic_version": VERSION}
        if names := betas(request):
            if "files-api-2025-04-14" in names:
                raise unsupported("a file is named by an id, and Bedrock keeps none; send the file itself", "messages")
            body["anthropic_beta"] = names
        return Question(
            path=f"/model/{quote(model, safe='')}/invoke-with-response-stream",
            body=msgspec.json.encode(body),
            headers={"Accept": MEDIA_TYPE},
        )

    def decoder(self, request: Request) -> InvokeDecoder:
        return InvokeDecoder(MessagesDecoder())

    def models(self, body: bytes) -> list[ModelInfo]:
        return []


class InvokeDecoder:
    """Takes the vendor's events out of the binary stream. `core.ports.Decoder`."""

    __slots__ = ("_done", "_inner", "_messages")

    def __init__(self, inner: MessagesDecoder) -> None:
        self._messages = Messages()
        self._inner = inner
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        if self._done:
            return out
        try:
            for headers, payload in self._messages.feed(data):
                if headers.get(":message-type") != "event":
                    raise failure(headers, payload)
                if headers.get(":event-type") != "chunk" or (event := _chunk.decode(payload).data) is None:
                    continue
                if _METRICS in event:
                    out += _timings(event)
                self._inner.take(event, out)
                if out and type(out[-1]) is Finish:
                    self._done = True
                    break
        except BAD as error:
            raise broken(error, out, "of InvokeModel") from None
        return out

    def end(self) -> list[Event]:
        return [] if self._done else self._inner.end()


def _timings(event: bytes) -> list[Event]:
    """Milliseconds on the host's clock, from its taking the request."""
    metrics = _last.decode(event).metrics
    return [
        Timing(span=Span(name, 0.0, float(ms), "reported"))
        for field, name in _TIMES.items()
        if isinstance(ms := metrics.get(field), int | float) and ms >= 0
    ]
