"""OpenAI's image generation towards hosts: what is asked, and the events or the one document that is read.

A client that wants a stream is answered by one of the host's; one that does not, by the host's whole document, for not every model and
format can be streamed.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.events import Event
from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import Request
from tidewire.core.sse import Frames
from tidewire.dialects.openai_models import read_models
from tidewire.dialects.openai_responses_report import failure, usage
from tidewire.dialects.openai_responses_wire import string
from tidewire.dialects.pictures import media, picture

LIMIT: Final = 64 * 1024 * 1024  # bytes of one event or document: ten images of several megabytes, in base64


class _Said(msgspec.Struct, gc=False):
    type: str = ""
    b64_json: Any = None
    output_format: Any = None
    data: Any = None
    usage: Any = None
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Said).decode


class ImagesHost:
    """`core.ports.Speaker` for requests of the dialect openai_images."""

    listing = "/models"

    def models(self, body: bytes) -> list[ModelInfo]:
        return read_models(body)

    def ask(self, request: Request, model: str) -> Question:
        if request.dialect != "openai_images":
            raise BadRequest("only requests for images can be put to this part of the host", param="model")
        body = {**request.options, "model": model, "prompt": request.question}
        if request.record.get("stream"):
            body["stream"] = True
        else:
            body.pop("partial_images", None)
        return Question(path="/images/generations", body=msgspec.json.encode(body))

    def decoder(self, request: Request) -> ImagesDecoder:
        return ImagesDecoder(streamed=bool(request.record.get("stream")))


class ImagesDecoder:
    """`core.ports.Decoder`. documents: whether the answer is one JSON document, which is no refusal then."""

    def __init__(self, *, streamed: bool) -> None:
        self.documents = not streamed
        self._frames = Frames(LIMIT)
        self._document = bytearray()
        self._part = -1  # the open one
        self._parts = 0
        self._whole = 0  # images that came whole
        self._usage: Any = None
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        try:
            if self.documents:
                self._document += data
                if len(self._document) > LIMIT:
                    raise UpstreamError(f"the host sent more than {LIMIT} bytes", code="upstream_event_too_large")
                return out
            for name, payload in self._frames.feed(data):
                if self._done or payload == b"[DONE]":
                    continue
                self._event(name, _decode(payload), payload, out)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._ended(_nonsense(error), out) from None
        except UpstreamError as error:
            raise self._ended(error, out) from None
        return out

    def end(self) -> list[Event]:
        """The host of a stream has no last word but its last image: n of them cannot be told from one before the connection ends."""
        out: list[Event] = []
        if self._done:
            return out
        try:
            if self.documents:
                self._read(_decode(bytes(self._document)), out)
            if not self._whole or self._part >= 0:
                raise UpstreamError("the host closed the answer before its image was whole", code="upstream_cut")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._ended(_nonsense(error), out) from None
        except UpstreamError as error:
            raise self._ended(error, out) from None
        if isinstance(self._usage, dict):
            out.append(usage(self._usage))
        out.append(ev.Finish(reason="stop"))
        self._done = True
        return out

    def _ended(self, error: UpstreamError, out: list[Event]) -> UpstreamError:
        error.before = out
        self._done = True
        return error

    def _event(self, name: bytes, said: _Said, payload: bytes, out: list[Event]) -> None:
        kind = said.type or name.decode("utf-8", "replace")
        if said.error or kind == "error":
            raise failure(said.error, payload)
        if kind.endswith(".partial_image"):
            self._draw(said.b64_json, said.output_format, out, partial=True)
        elif kind.endswith(".completed"):
            self._draw(said.b64_json, said.output_format, out, partial=False)
            self._usage = said.usage or self._usage

    def _draw(self, text: Any, form: Any, out: list[Event], *, partial: bool) -> None:
        if not string(text):
            raise UpstreamError("the host sent an image without its bytes", code="upstream_bad_event")
        data = picture(text)
        if self._part < 0:
            self._part = self._parts
            self._parts += 1
            out.append(ev.PartStarted(part=self._part, kind="image", media=media(data, form)))
        out.append(ev.Blob(part=self._part, data=data, partial=partial))
        if not partial:
            out.append(ev.PartEnded(part=self._part))
            self._part = -1
            self._whole += 1

    def _read(self, said: _Said, out: list[Event]) -> None:
        if said.error:
            raise failure(said.error, b"")
        for image in said.data if isinstance(said.data, list) else ():
            self._draw(
                image.get("b64_json") if isinstance(image, dict) else None, said.output_format, out, partial=False
            )
        self._usage = said.usage


def _nonsense(error: Exception) -> UpstreamError:
    return UpstreamError(
        f"the host sent something that is no image answer: {str(error)[:120]}", code="upstream_bad_event"
    )
