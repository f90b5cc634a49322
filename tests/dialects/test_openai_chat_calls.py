"""Tool calls as hosts get them wrong: assembled right, or refused in a sentence."""

from __future__ import annotations

import json

import pytest

from decoding import assert_cut_anywhere, calls, one, well_formed
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Finish, Signature
from tidewire.core.request import Request
from tidewire.dialects.openai_chat_calls import HELD
from tidewire.dialects.openai_chat_host import ChatHost


def wire(*fragments: dict, finish: str = "tool_calls") -> bytes:
    deltas = [{"tool_calls": [fragment]} for fragment in fragments]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    return (
        b"".join(b"data: " + json.dumps(c, ensure_ascii=False).encode() + b"\n\n" for c in chunks) + b"data: [DONE]\n\n"
    )


def part(name: str | None = None, arguments: object = None, **more) -> dict:
    return {"function": {"name": name, "arguments": arguments}} | more


def asked(*fragments: dict) -> list[tuple[str | None, str]]:
    events, error = assert_cut_anywhere(ChatHost(), wire(*fragments))
    assert error is None
    well_formed(events)
    return [(name, arguments) for _, name, arguments in calls(events)]


@pytest.mark.parametrize(
    ("fragments", "meant"),
    [
        pytest.param(
            [part(None, '{"a":', index=0), part("f", "1}", index=0, id="a")], [("f", '{"a":1}')], id="name comes late"
        ),
        pytest.param(
            [part(None, "{"), part(None, "}"), part("f")], [("f", "{}")], id="name comes last, nothing numbered"
        ),
        pytest.param(
            [part(None, "[1", index=1), part("f", "{}", index=0), part("g", "]", index=1)],
            [("f", "{}"), ("g", "[1]")],
            id="one waits for its name while another is whole",
        ),
        pytest.param(
            [part("f", "{", id="a"), part("f", '"a":1', id="a"), part("f", "}", id="a")],
            [("f", '{"a":1}')],
            id="name and id in every fragment",
        ),
        pytest.param(
            [part("f", "{", index=0), part("f", '"a":1}', index=0)], [("f", '{"a":1}')], id="name again, no id"
        ),
        pytest.param(
            [part("f", "", index=0), part("f", "{}", index=0)], [("f", "{}")], id="name again before arguments"
        ),
        pytest.param([part("f", "{}"), part("f", "{}")], [("f", "{}"), ("f", "{}")], id="the same call twice"),
        pytest.param(
            [part("f", "{", index=0, id="x1"), part(None, "}", index=0, id="x2")],
            [("f", "{}")],
            id="a new id each time",
        ),
        pytest.param(
            [part("f", "{", index=0, id="x1"), part("f", "}", index=0, id="x2")],
            [("f", "{}")],
            id="a new id and the name each time",
        ),
        pytest.param(
            [part("f", "{}", index=0, id="s"), part("g", "{}", index=1, id="s")],
            [("f", "{}"), ("g", "{}")],
            id="two calls under one id",
        ),
        pytest.param(
            [part("f", "{", index=0, id="a"), part(None, "}", index=7, id="a")], [("f", "{}")], id="index moves"
        ),
        pytest.param(
            [part("f", "{}", index=3), part("g", "{}", index=9)], [("f", "{}"), ("g", "{}")], id="odd indices"
        ),
        pytest.param([part("f", "{}", index=-1)], [("f", "{}")], id="an index below zero"),
        pytest.param([part("f", "{", index=0), part("g", "{}", index=0), part(None, "")], [("f", "{"), ("g", "{}")]),
        pytest.param([part("f", {"a": [1]}, index=0)], [("f", '{"a":[1]}')], id="an object"),
        pytest.param([part("f", None, index=0, id=None)], [("f", "")], id="none at all"),
        pytest.param([part("f", '{"stadt":"Zü', index=0), part("", 'rich"}', index=0)], [("f", '{"stadt":"Zürich"}')]),
    ],
)
def test_fragments_become_the_calls_that_were_meant(fragments, meant):
    assert asked(*fragments) == meant


@pytest.mark.parametrize(
    "fragments",
    [
        [part(None, "{}", index=0)],
        [part("", "{}", id="a")],
        [part("f", "{}", index=0), part(None, "{}", index=1)],
        [{"index": 0}],
    ],
)
def test_arguments_that_nobody_names_are_refused_at_the_end(fragments):
    events, error = assert_cut_anywhere(ChatHost(), wire(*fragments))
    assert error == "upstream_bad_tool_call"
    assert not any(isinstance(e, Finish) for e in events)


def test_what_is_held_back_for_a_name_has_a_limit():
    decoder = ChatHost().decoder(Request(model="m", messages=[]))
    piece = wire(part(None, "x" * 60_000, index=0)).split(b"\n\n")[0] + b"\n\n"
    for _ in range(HELD // 60_001):
        assert decoder.feed(piece) == []
    with pytest.raises(UpstreamError, match="has not named") as caught:
        decoder.feed(piece)
    assert caught.value.kind == "upstream_bad_tool_call"


@pytest.mark.parametrize(
    "wrong",
    [{"tool_calls": ["f"]}, {"tool_calls": {}}, {"tool_calls": [{"function": "f"}]}, {"tool_calls": [{"index": "0"}]}],
)
def test_calls_of_wrong_types_are_an_error_with_a_name(wrong):
    chunk = {"choices": [{"index": 0, "delta": wrong}]}
    data = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    assert assert_cut_anywhere(ChatHost(), data)[1] == "upstream_bad_event"


@pytest.mark.parametrize("harmless", [{"tool_calls": []}, {"tool_calls": None}, {"function_call": None}])
def test_no_calls_are_none(harmless):
    chunks = [{"choices": [{"index": 0, "delta": harmless}]}, {"choices": [{"index": 0, "finish_reason": "stop"}]}]
    data = b"".join(b"data: " + json.dumps(c).encode() + b"\n\n" for c in chunks)
    assert assert_cut_anywhere(ChatHost(), data) == ([Finish(reason="stop")], None)


def test_the_older_form_is_a_call_too():
    chunks = [{"function_call": {"name": "f", "arguments": ""}}, {"function_call": {"arguments": "{}"}}]
    data = b"".join(b"data: " + json.dumps({"choices": [{"delta": c}]}).encode() + b"\n\n" for c in chunks)
    end = b'data: {"choices":[{"delta":{},"finish_reason":"function_call"}]}\n\n'
    events, error = assert_cut_anywhere(ChatHost(), data + end)
    assert error is None
    assert [(name, said) for _, name, said in calls(events)] == [("f", "{}")]


def test_a_host_that_says_stop_after_its_calls_means_them():
    events, _ = assert_cut_anywhere(ChatHost(), wire(part("f", "{}", index=0), finish="stop"))
    assert events[-1] == Finish(reason="tool_calls")


def test_the_proof_that_gemini_gives_with_a_call_is_kept():
    extra = {"google": {"thought_signature": "c2ln"}}
    events, error = assert_cut_anywhere(ChatHost(), wire(part("f", "{}", index=0, extra_content=extra)))
    assert error is None
    assert one(events, Signature) == Signature(part=0, value="c2ln")
