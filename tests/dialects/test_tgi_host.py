"""TGI's own API: bytes after its public API reference, read by huggingface_hub too, cut anywhere."""

from __future__ import annotations

import json

import pytest
from huggingface_hub.inference._common import _stream_text_generation_response

from decoding import assert_cut_anywhere, decoded, one, texts, well_formed
from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.request import Image, Message, Request, Text, Tool
from tidewire.dialects.tgi_host import TGIDecoder, TGIHost

HOST = TGIHost()


def framed(value) -> bytes:
    return b"data:" + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def event(text: str, *, special=False, **more) -> bytes:
    token = {"id": 1, "text": text, "logprob": -0.5, "special": special}
    return framed({"index": 1, "token": token, "generated_text": None, "details": None} | more)


def last(reason="eos_token") -> bytes:
    details = {"finish_reason": reason, "generated_tokens": 4, "input_length": 3, "seed": None}
    return event("</s>", special=True, generated_text="Hé👋\r\n", details=details)


SMALL = event("<s>", special=True) + event("Hé") + event("👋") + event("\r\n") + last()


def test_tokens_become_text_and_special_ones_none_however_they_are_cut():
    events, error = assert_cut_anywhere(HOST, SMALL)
    assert error is None
    well_formed(events)
    assert texts(events, "text") == "Hé👋\r\n"
    used = one(events, ev.Usage)
    assert (used.counted_by, used.input, used.output) == ("host", 3, 4)
    assert events[-1] == ev.Finish(reason="stop")


@pytest.mark.parametrize("wire", [SMALL.replace(b"\n\n", b"\r\n\r\n"), SMALL.replace(b"data:", b"data: ")])
def test_other_ways_to_frame_change_nothing(wire):
    assert assert_cut_anywhere(HOST, wire) == decoded(HOST, SMALL)


def test_the_official_client_reads_these_bytes_as_we_do():
    lines = SMALL.decode().split("\n")
    assert "".join(_stream_text_generation_response(lines, details=False)) == "<s>Hé👋\r\n</s>"


@pytest.mark.parametrize(
    ("reason", "ours"),
    [("length", "length"), ("eos_token", "stop"), ("stop_sequence", "stop_string"), ("other", "stop")],
)
def test_why_it_ended(reason, ours):
    assert decoded(HOST, event("a") + last(reason))[0][-1] == ev.Finish(reason=ours)


def test_the_last_event_may_carry_the_last_word_and_nothing_behind_it_counts():
    wire = event("a", generated_text="a", details=None) + event("b")
    events, error = decoded(HOST, wire)
    assert error is None
    assert texts(events, "text") == "a"
    assert events[-1] == ev.Finish(reason="stop")
    assert not any(isinstance(e, ev.Usage) for e in events)


def test_an_error_in_the_stream_keeps_what_came_before():
    failed = framed({"error": "Request failed during generation: out of memory", "error_type": "generation"})
    events, error = assert_cut_anywhere(HOST, event("Half ") + failed + event("x"))
    assert error == "upstream_error"
    assert texts(events, "text") == "Half "
    with pytest.raises(UpstreamError, match="out of memory"):
        TGIDecoder().feed(failed)


@pytest.mark.parametrize("wire", [b"", event("a"), event("a") + b'data:{"tok'])
def test_an_answer_without_its_last_event_was_cut(wire):
    assert decoded(HOST, wire)[1] == "upstream_cut"


@pytest.mark.parametrize(
    "payload", [b"x", b"[]", b"{}", b'{"token":[]}', b'{"token":{"text":5}}', b'{"generated_text":{}}', b"\xff\xfe"]
)
def test_nonsense_is_an_error_with_a_name(payload):
    events, error = assert_cut_anywhere(HOST, event("Hi") + b"data: " + payload + b"\n\n")
    assert error == "upstream_bad_event"
    assert texts(events, "text") == "Hi"


def test_log_probabilities_stand_behind_their_token():
    request = Request(model="m", messages=[], logprobs=1)
    decoder = HOST.decoder(request)
    events = decoder.feed(event("é", top_tokens=[{"id": 2, "text": "e", "logprob": -1.5, "special": False}]))
    assert events[2] == ev.Logprobs(
        part=0,
        content=[
            {
                "token": "é",
                "logprob": -0.5,
                "bytes": [195, 169],
                "top_logprobs": [{"token": "e", "logprob": -1.5, "bytes": [101]}],
            }
        ],
    )
    assert not any(isinstance(e, ev.Logprobs) for e in decoded(HOST, SMALL)[0])


# What we say to the host


def asked(**more) -> dict:
    request = Request(**({"model": "m", "messages": [Message("user", [Text("Hello?")])]} | more))
    question = HOST.ask(request, "m")
    assert question.path == "/generate_stream"
    return json.loads(question.body)


def test_a_question_asks_for_details_and_nothing_else():
    assert asked() == {"inputs": "Hello?", "parameters": {"details": True}}


def test_limits_go_under_the_hosts_names_and_what_it_refuses_is_what_it_does_anyway():
    said = asked(max_tokens=5, temperature=0.5, top_p=0.9, stop=["END"], logprobs=2, options={"seed": 7})
    assert said["parameters"] == {
        "details": True,
        "max_new_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "top_n_tokens": 2,
        "seed": 7,
    }
    assert asked(temperature=0.0, top_p=1.0, logprobs=0)["parameters"] == {"details": True}


def test_json_is_asked_for_as_a_grammar():
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert asked(response_format=wanted)["parameters"]["grammar"] == {"type": "json", "value": schema}
    assert asked(response_format={"type": "json_object"})["parameters"]["grammar"]["value"] == {"type": "object"}
    assert "grammar" not in asked(response_format={"type": "text"})["parameters"]


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": [Tool("f")]}, "tools"),
        ({"n": 2}, "n"),
        ({"logprobs": 9}, "logprobs"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"response_format": {"type": "poem"}}, "response_format"),
        ({"messages": [Message("user", [Image("data:image/png;base64,QQ==")])]}, "messages"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(more, param):
    with pytest.raises(BadRequest) as caught:
        asked(**more)
    assert (caught.value.kind, caught.value.param) == ("unsupported_value", param)


def test_the_one_model_is_what_the_host_says_it_is():
    [model] = HOST.models(b'{"model_id":"org/name","max_total_tokens":2048}')
    assert model.id == "org/name"
    for wrong in (b"", b"[]", b'{"id":"x"}', b"<html>"):
        with pytest.raises(UpstreamError):
            HOST.models(wrong)
