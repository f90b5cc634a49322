"""Triton's generate extension: bytes after its public documentation (docs/protocol/extension_generate.md), cut anywhere."""

from __future__ import annotations

import json

import pytest

from decoding import assert_cut_anywhere, decoded, one, texts, well_formed
from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.request import Image, Message, Request, Text, Thinking, Tool, ToolCall
from tidewire.dialects.triton_host import TritonDecoder, TritonHost

HOST = TritonHost()


def output(**fields) -> bytes:
    body = {"model_name": "mymodel", "model_version": "1"} | fields
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


SMALL = output(text_output="Hé") + output(text_output="llo 👋") + output(text_output="") + output(text_output="\r\n!")


def test_an_answer_ends_where_its_body_does_however_it_is_cut():
    events, error = assert_cut_anywhere(HOST, SMALL)
    assert error is None
    well_formed(events)
    assert texts(events, "text") == "Héllo 👋\r\n!"
    assert sum(isinstance(e, ev.Delta) for e in events) == 3
    assert events[-1] == ev.Finish(reason="stop")


@pytest.mark.parametrize("wire", [SMALL.replace(b"\n\n", b"\r\n\r\n"), SMALL[:-2], SMALL[:-1], b": hi\n\n" + SMALL])
def test_other_line_ends_and_a_missing_last_one_change_nothing(wire):
    assert assert_cut_anywhere(HOST, wire) == decoded(HOST, SMALL)


def test_an_error_in_the_stream_ends_it_and_keeps_what_came_before():
    wire = output(text_output="Half ") + output(error="out of memory") + output(text_output="more")
    events, error = assert_cut_anywhere(HOST, wire)
    assert error == "upstream_error"
    assert texts(events, "text") == "Half "
    decoder = TritonDecoder()
    with pytest.raises(Exception, match="out of memory"):
        decoder.feed(wire)
    assert decoder.feed(output(text_output="x")) == []
    assert decoder.end() == []


@pytest.mark.parametrize("given", [{"error": {"code": 3}}, {"error": ["no"]}, {"error": ""}])
def test_an_error_of_any_shape_is_an_error(given):
    assert decoded(HOST, output(**given))[1] == "upstream_error"


@pytest.mark.parametrize("wire", [b"", b": nothing\n\n", b"\n\n\n"])
def test_an_answer_without_any_output_was_cut(wire):
    assert decoded(HOST, wire) == ([], "upstream_cut")


def test_an_event_that_breaks_off_was_cut_and_what_came_before_is_kept():
    events, error = decoded(HOST, SMALL + b'data: {"text_out')
    assert error == "upstream_cut"
    assert texts(events, "text") == "Héllo 👋\r\n!"


@pytest.mark.parametrize(
    "payload",
    [b"nonsense", b"[]", b"3", b'{"text_output":3}', b'{"text_output":{"a":1}}', b'{"text_output":["a",2]}', b"\xff"],
)
def test_nonsense_is_an_error_with_a_name(payload):
    events, error = assert_cut_anywhere(HOST, output(text_output="Hi") + b"data: " + payload + b"\n\n")
    assert error == "upstream_bad_event"
    assert texts(events, "text") == "Hi"


def test_outputs_without_text_and_lists_of_texts_are_read():
    wire = output(context_logits=0.0) + output(text_output=["a", "b"]) + output(text_output=None)
    events, error = decoded(HOST, wire)
    assert error is None
    assert texts(events, "text") == "ab"


def test_an_answer_of_empty_outputs_is_an_empty_answer():
    assert decoded(HOST, output(text_output="")) == ([ev.Finish(reason="stop")], None)


def ended(limit: int | None, *wire: bytes) -> list[ev.Event]:
    decoder = TritonDecoder(limit)
    return [*decoder.feed(b"".join(wire)), *decoder.end()]


def test_as_many_outputs_as_tokens_were_asked_for_is_an_end_by_length():
    two = output(text_output="a") + output(text_output="b")
    assert ended(2, two)[-1] == ev.Finish(reason="length")
    assert ended(3, two, output(text_output=""))[-1] == ev.Finish(reason="stop")


def test_a_reason_and_counts_are_believed_where_a_model_gives_them():
    wire = [
        output(text_output="a", finish_reason="None", num_input_tokens=5, num_output_tokens=2),
        output(text_output="b", finish_reason="length", num_input_tokens=5, num_output_tokens=1),
    ]
    events = ended(None, *wire)
    used = one(events, ev.Usage)
    assert (used.counted_by, used.input, used.output) == ("host", 5, 3)
    assert events[-1] == ev.Finish(reason="length")
    assert not any(isinstance(e, ev.Usage) for e in ended(None, output(text_output="a")))


def test_an_event_without_an_end_is_not_held_for_ever():
    decoder = TritonDecoder()
    decoder.feed(b"x" * 8_000_000)
    with pytest.raises(UpstreamError) as caught:
        decoder.feed(b"x" * 1_000_000)
    assert caught.value.kind == "upstream_event_too_large"


# What we say to the host


def asked(*messages: Message, **more):
    request = Request(**({"model": "far/m", "messages": list(messages) or [Message("user", [Text("Hello?")])]} | more))
    return HOST.ask(request, "ensemble")


def test_a_question_goes_as_it_is_with_its_limits_as_parameters():
    question = asked(max_tokens=9, temperature=0.0, top_p=0.5, thinking=Thinking(effort="low"), stop=["END"])
    assert question.path == "/v2/models/ensemble/generate_stream"
    assert json.loads(question.body) == {
        "text_input": "Hello?",
        "parameters": {"stream": True, "max_tokens": 9, "temperature": 0.0, "top_p": 0.5},
    }


def test_a_conversation_is_written_out_turn_by_turn():
    question = asked(
        Message("system", [Text("Be brief.")]),
        Message("user", [Text("What is a tide?")]),
        Message("assistant", [Text("The sea rising.")]),
        Message("user", [Text("How often?")]),
    )
    assert json.loads(question.body)["text_input"] == (
        "Be brief.\n\nUser: What is a tide?\nAssistant: The sea rising.\nUser: How often?\nAssistant:"
    )


def test_native_options_are_parameters_and_cannot_turn_off_the_stream():
    parameters = json.loads(asked(options={"top_k": 4, "stream": False}).body)["parameters"]
    assert parameters == {"top_k": 4, "stream": True}
    assert json.loads(asked(options={"seed": 1}, dialect="openai_chat").body)["parameters"] == {"stream": True}


def test_a_name_of_a_model_cannot_leave_its_place_in_the_path():
    request = Request(model="m", messages=[Message("user", [Text("x")])])
    assert HOST.ask(request, "a b?c").path == "/v2/models/a%20b%3Fc/generate_stream"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [Tool("f")]}, "tools"),
        ({"n": 2}, "n"),
        ({"logprobs": 0}, "logprobs"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"messages": [Message("user", [Text("x"), Image("data:image/png;base64,QQ==")])]}, "messages"),
        ({"messages": [Message("assistant", [ToolCall("c", "f", "{}")])]}, "messages"),
    ],
)
def test_what_a_plain_text_cannot_say_is_refused_by_name(more, param):
    with pytest.raises(BadRequest) as caught:
        asked(**more)
    assert (caught.value.kind, caught.value.param) == ("unsupported_value", param)
    assert asked(response_format={"type": "text"}).body
