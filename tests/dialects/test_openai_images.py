"""Image generation: what is asked of a host and read of it, after OpenAI's API reference, and what clients are served."""

from __future__ import annotations

import base64
import json

import pytest
from openai.types import ImageGenCompletedEvent, ImageGenPartialImageEvent, ImagesResponse

from strategies import meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.events import Blob, Finish, PartEnded, PartStarted, Usage
from tidewire.core.sse import Frames
from tidewire.dialects.openai_images import OpenAIImages
from tidewire.dialects.openai_images_host import ImagesHost

DIALECT = OpenAIImages()
HOST = ImagesHost()
PNG = b"\x89PNG\r\n\x1a\n"
USAGE = {"input_tokens": 11, "input_tokens_details": {"text_tokens": 11, "image_tokens": 0}, "output_tokens": 7}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def parse(**fields):
    return DIALECT.parse(json.dumps({"model": "m", "prompt": "A cat"} | fields).encode(), {})


def framed(kind: str, **fields) -> bytes:
    data = {"type": f"image_generation.{kind}", "output_format": "png", "created_at": 1, **fields}
    return f"event: image_generation.{kind}\ndata: {json.dumps(data)}\n\n".encode()


STREAM = (
    framed("partial_image", b64_json=b64(PNG + b"1"), partial_image_index=0)
    + framed("partial_image", b64_json=b64(PNG + b"2"), partial_image_index=1)
    + framed("completed", b64_json=b64(PNG + b"3"), usage=USAGE)
)
DOCUMENT = json.dumps(
    {"created": 1, "data": [{"b64_json": b64(PNG + b"a")}, {"b64_json": b64(PNG + b"b")}], "usage": USAGE}
).encode()


def decoded(*cuts: bytes, stream: bool = True) -> tuple[list[ev.Event], str | None]:
    decoder = HOST.decoder(parse(stream=stream)[0])
    out: list[ev.Event] = []
    try:
        for cut in cuts:
            out += decoder.feed(cut)
        out += decoder.end()
    except UpstreamError as error:
        return [*out, *error.before], error.kind
    return out, None


def test_a_streamed_image_is_sketches_and_then_the_image():
    assert decoded(STREAM) == (
        [
            PartStarted(part=0, kind="image", media="image/png"),
            Blob(part=0, data=PNG + b"1", partial=True),
            Blob(part=0, data=PNG + b"2", partial=True),
            Blob(part=0, data=PNG + b"3"),
            PartEnded(part=0),
            Usage(counted_by="host", input=11, output=7),
            Finish(reason="stop"),
        ],
        None,
    )


def test_a_document_of_images_is_a_part_for_each():
    events, error = decoded(DOCUMENT, stream=False)
    assert error is None
    assert [e.data for e in events if isinstance(e, Blob)] == [PNG + b"a", PNG + b"b"]
    assert [e.part for e in events if isinstance(e, PartEnded)] == [0, 1]
    assert events[-1] == Finish(reason="stop")


@pytest.mark.parametrize(
    ("wire", "stream"), [(STREAM, True), (STREAM.replace(b"\n", b"\r\n"), True), (DOCUMENT, False)]
)
def test_images_are_the_same_however_they_are_cut(wire, stream):
    expected = decoded(wire, stream=stream)
    for at in range(len(wire) + 1):
        assert decoded(wire[:at], wire[at:], stream=stream) == expected


@pytest.mark.parametrize(
    ("wire", "stream", "code"),
    [
        (b"", True, "upstream_cut"),
        (framed("partial_image", b64_json=b64(PNG)), True, "upstream_cut"),
        (STREAM + framed("partial_image", b64_json=b64(PNG)), True, "upstream_cut"),
        (framed("completed", b64_json="é"), True, "upstream_bad_event"),
        (framed("completed"), True, "upstream_bad_event"),
        (b"data: [1]\n\n", True, "upstream_bad_event"),
        (b"data: nonsense\n\n", True, "upstream_bad_event"),
        (b'event: error\ndata: {"error":{"message":"honestly"}}\n\n', True, "upstream_error"),
        (b"", False, "upstream_bad_event"),
        (b"[]", False, "upstream_bad_event"),
        (b'{"data":[]}', False, "upstream_cut"),
        (b'{"data":[null]}', False, "upstream_bad_event"),
        (b'{"data":[{"url":"https://x"}]}', False, "upstream_bad_event"),
        (b'{"error":{"message":"honestly"}}', False, "upstream_error"),
    ],
)
def test_an_answer_without_its_images_is_an_error(wire, stream, code):
    assert decoded(wire, stream=stream)[1] == code


def test_the_host_is_asked_in_the_words_of_the_client():
    fields = {"size": "1024x1024", "quality": "low", "n": 2, "output_format": "webp", "moderation": "low"}
    asked = HOST.ask(parse(**fields, partial_images=1)[0], "far")
    assert (asked.path, json.loads(asked.body)) == (
        "/images/generations",
        {"model": "far", "prompt": "A cat", **fields},
    )
    asked = HOST.ask(parse(**fields, partial_images=1, stream=True)[0], "far")
    assert json.loads(asked.body) == {"model": "far", "prompt": "A cat", "partial_images": 1, "stream": True, **fields}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"n": 11}, "n"),
        ({"partial_images": 4}, "partial_images"),
        ({"response_format": "url"}, "response_format"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_a_wrong_field_of_an_image_request_is_named(fields, param):
    with pytest.raises(BadRequest) as caught:
        parse(**fields)
    assert caught.value.param == param


def log(*events: ev.Event, **record):
    meta = meta_of(**record)
    return meta, numbered([opened(meta), *events])


def closed(**more) -> ev.Event:
    return ev.Closed(**({"status": "completed", "reason": "stop", "input_tokens": 11, "output_tokens": 7} | more))


def drawn() -> list[ev.Event]:
    return [
        PartStarted(part=0, kind="image", media="image/webp"),
        Blob(part=0, data=b"1", partial=True),
        Blob(part=0, data=b"2"),
        PartEnded(part=0),
    ]


def test_clients_read_events_of_the_official_types_however_the_log_is_cut():
    meta, entries = log(*drawn(), closed(), size="1024x1024", quality="low")
    raw = DIALECT.stream(meta).feed(entries)
    for at in range(len(entries) + 1):
        renderer = DIALECT.stream(meta)
        assert renderer.feed(entries[:at]) + renderer.feed(entries[at:]) == raw
    partial, completed = (json.loads(data) for _, data in Frames().feed(raw))
    sketch = ImageGenPartialImageEvent.model_validate(partial)
    assert (sketch.b64_json, sketch.partial_image_index, sketch.output_format) == (b64(b"1"), 0, "webp")
    image = ImageGenCompletedEvent.model_validate(completed)
    assert (image.b64_json, image.size, image.quality, image.usage.total_tokens) == (b64(b"2"), "1024x1024", "low", 18)


def test_the_whole_document_is_of_the_official_type():
    meta, entries = log(*drawn(), closed())
    whole = DIALECT.whole(meta)
    response = ImagesResponse.model_validate_json(whole.feed(entries))
    assert [i.b64_json for i in response.data] == [b64(b"2")]
    assert response.usage.input_tokens == 11
    assert whole.failure is None


def test_what_is_served_as_an_image_stream_is_read_back():
    meta, entries = log(*drawn(), closed())
    events, error = decoded(DIALECT.stream(meta).feed(entries))
    assert error is None
    assert [type(e) for e in events] == [PartStarted, Blob, Blob, PartEnded, Usage, Finish]
    assert [(e.data, e.partial) for e in events if isinstance(e, Blob)] == [(b"1", True), (b"2", False)]
    assert events[0] == PartStarted(part=0, kind="image", media="image/webp")


@pytest.mark.parametrize(
    ("events", "code"),
    [
        (
            (PartStarted(part=0, kind="text"), ev.Delta(part=0, text="A cat"), PartEnded(part=0), closed()),
            "upstream_no_image",
        ),
        ((closed(status="cancelled", reason="client"),), "cancelled"),
        ((closed(status="failed", reason="error", error=ev.ErrorInfo(code="x", message="y")),), "x"),
    ],
)
def test_an_answer_without_an_image_is_a_failure(events, code):
    meta, entries = log(*events)
    whole, streamed = DIALECT.whole(meta), DIALECT.stream(meta)
    assert whole.feed(entries) == b""
    [(name, data)] = Frames().feed(streamed.feed(entries))
    assert name == b"error"
    assert json.loads(data)["error"]["code"] == code
    assert whole.failure.code == streamed.failure.code == code
