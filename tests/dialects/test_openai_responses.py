from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseItem, ResponseStreamEvent
from openai.types.responses.response_item_list import ResponseItemList
from pydantic import TypeAdapter

from strategies import STREAM, logs, meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, NotFound
from tidewire.core.request import Image, Text, Thinking, ToolCall, ToolResult
from tidewire.core.sse import Frames
from tidewire.dialects.openai_responses import OpenAIResponses
from tidewire.dialects.openai_responses_request import KEPT_INPUT

DIALECT = OpenAIResponses()
EVENT = TypeAdapter(ResponseStreamEvent)
METAS = st.sampled_from([meta_of(), meta_of(background=True, tools=[{"type": "function", "name": "look_up"}])])


def render(meta, entries, after=0):
    return DIALECT.stream(meta, after).feed(entries)


def count(meta, entries):
    events = DIALECT.stream(meta, 1 << 62)
    assert events.feed(entries) == b""
    return events.count


def document(meta, entries) -> bytes:
    whole = DIALECT.whole(meta)
    whole.feed(entries)
    return whole.document()


def events_of(raw: bytes) -> list[dict]:
    frames = Frames().feed(raw)
    documents = [json.loads(data) for _, data in frames]
    assert [name.decode() for name, _ in frames] == [d["type"] for d in documents]
    return documents


def parse(**fields):
    return DIALECT.parse(json.dumps({"model": "m", "input": "hello"} | fields).encode(), {})


def types(events: list[ev.Event], **record) -> list[str]:
    meta = meta_of(**record)
    return [e["type"] for e in events_of(render(meta, numbered([opened(meta), *events])))]


# The stream


@given(logs(metas=METAS), st.data())
def test_bytes_do_not_depend_on_where_the_log_is_cut(log, data):
    meta, entries = log
    cuts = sorted(data.draw(st.lists(st.integers(0, len(entries)), max_size=4)))
    renderer = DIALECT.stream(meta)
    pieces = [renderer.feed(entries[a:b]) for a, b in zip([0, *cuts], [*cuts, len(entries)], strict=True)]
    assert b"".join(pieces) == render(meta, entries)
    assert renderer.ended


@given(logs(metas=METAS))
def test_a_cursor_gives_exactly_the_rest_of_the_frames(log):
    meta, entries = log
    frames = render(meta, entries).split(b"\n\n")
    assert count(meta, entries) == len(frames) - 1
    for after in range(len(frames)):
        assert render(meta, entries, after) == b"\n\n".join(frames[after:])


@given(logs(metas=METAS))
def test_sequence_numbers_are_gap_free_and_one_event_ends_the_stream(log):
    documents = events_of(render(*log))
    assert [d["sequence_number"] for d in documents] == list(range(len(documents)))
    last = [d["type"] in ("response.completed", "response.incomplete", "response.failed") for d in documents]
    assert last == [False] * (len(documents) - 1) + [True]


@given(logs(metas=METAS))
def test_every_event_is_of_the_official_types(log):
    for document in events_of(render(*log)):
        EVENT.validate_python(document)


@given(logs(metas=METAS))
def test_the_official_client_accumulates_what_the_last_event_says(log):
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    documents = events_of(render(*log))
    for document in documents:
        if document["type"] != "error":
            state.handle_event(EVENT.validate_python(document))
    if documents[-1]["type"] == "response.completed":
        final = state._completed_response
        assert final is not None
        assert [i.id for i in final.output] == [i["id"] for i in documents[-1]["response"]["output"]]
        texts = [i.content[0].text for i in final.output if i.type == "message"]
        assert texts == [
            state._output_items[n].content[0].text for n, i in enumerate(final.output) if i.type == "message"
        ]


@given(logs(metas=METAS))
def test_the_whole_document_is_that_of_the_last_event(log):
    meta, entries = log
    whole = DIALECT.whole(meta)
    out = [whole.feed([e]) for e in entries]
    assert out[:-1] == [b""] * (len(entries) - 1)
    assert whole.ended
    assert json.loads(out[-1]) == events_of(render(meta, entries))[-1]["response"]


@given(logs(metas=METAS), st.data())
def test_a_response_can_be_looked_at_before_its_end(log, data):
    meta, entries = log
    some = entries[: data.draw(st.integers(0, len(entries) - 1))]
    response = Response.model_validate_json(document(meta, some), strict=False)
    assert response.status in ("queued", "in_progress")
    assert response.id == meta.stream


def test_a_text_is_told_in_the_order_of_the_official_server():
    told = types(
        [
            ev.PartStarted(part=0, kind="text"),
            ev.Delta(part=0, text="Hi"),
            ev.PartEnded(part=0),
            ev.Closed(status="completed", reason="stop"),
        ]
    )
    assert told == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


def test_a_background_response_is_queued_until_a_host_is_tried():
    told = types(
        [
            ev.Progress(stage="queued"),
            ev.Attempt(n=1, provider="p", model="m", reason="start"),
            ev.Closed(status="completed", reason="stop"),
        ],
        background=True,
    )
    assert told == ["response.created", "response.queued", "response.in_progress", "response.completed"]


def test_a_tool_call_is_told_with_its_arguments():
    meta = meta_of()
    events = [
        opened(meta),
        ev.PartStarted(part=0, kind="tool_call", name="look_up", call="call_x"),
        ev.Delta(part=0, text='{"q":'),
        ev.Delta(part=0, text='"tide"}'),
        ev.PartEnded(part=0),
        ev.Closed(status="completed", reason="tool_calls"),
    ]
    documents = events_of(render(meta, numbered(events)))
    assert [d["delta"] for d in documents if d["type"].endswith("arguments.delta")] == ['{"q":', '"tide"}']
    call = documents[-1]["response"]["output"][0]
    assert (call["call_id"], call["name"], call["arguments"]) == ("call_x", "look_up", '{"q":"tide"}')
    assert call["status"] == "completed"


def test_citations_become_annotations():
    meta = meta_of()
    events = [
        opened(meta),
        ev.PartStarted(part=0, kind="text"),
        ev.Delta(part=0, text="High tide"),
        ev.Citation(part=0, start=0, end=9, source="d", title="Tides", passage="…", uri="https://example.org"),
        ev.Citation(part=0, start=0, end=4, source="doc-7", title="tides.md", passage="…"),
        ev.PartEnded(part=0),
        ev.Closed(status="completed", reason="stop"),
    ]
    documents = events_of(render(meta, numbered(events)))
    notes = documents[-1]["response"]["output"][0]["content"][0]["annotations"]
    assert [d["annotation"] for d in documents if "annotation" in d] == notes
    assert notes == [
        {"type": "url_citation", "url": "https://example.org", "title": "Tides", "start_index": 0, "end_index": 9},
        {"type": "file_citation", "file_id": "doc-7", "filename": "tides.md", "index": 4},
    ]


def test_a_cancelled_response_ends_incomplete_with_status_cancelled():
    meta = meta_of()
    last = events_of(render(meta, numbered([opened(meta), ev.Closed(status="cancelled", reason="client")])))[-1]
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "cancelled")
    assert last["response"]["incomplete_details"] is None


def test_a_failed_response_says_why_twice():
    meta = meta_of()
    info = ev.ErrorInfo(code="upstream_refused", message="the host has no room", status=429)
    closed = ev.Closed(status="failed", reason="error", error=info)
    error, last = events_of(render(meta, numbered([opened(meta), closed])))[-2:]
    assert error["type"] == "error"
    assert (
        error["message"] == error["error"]["message"] == last["response"]["error"]["message"] == "the host has no room"
    )
    assert last["response"]["error"]["code"] == "rate_limit_exceeded"


@pytest.mark.parametrize(
    ("reason", "details"),
    [
        ("length", {"reason": "max_output_tokens"}),
        ("content_filter", {"reason": "content_filter"}),
        ("time_limit", {"reason": None, "detail": "time_limit"}),
    ],
)
def test_an_incomplete_response_says_why(reason, details):
    meta = meta_of()
    last = events_of(render(meta, numbered([opened(meta), ev.Closed(status="incomplete", reason=reason)])))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == details


def test_usage_is_told_at_the_end():
    meta = meta_of()
    usage = ev.Usage(counted_by="host", input=11, output=5, cached=3, reasoning=2)
    closed = ev.Closed(status="completed", reason="stop", input_tokens=11, output_tokens=5)
    documents = events_of(render(meta, numbered([opened(meta), usage, closed])))
    assert documents[0]["response"]["usage"] is None
    told = documents[-1]["response"]["usage"]
    assert (told["input_tokens"], told["output_tokens"], told["total_tokens"]) == (11, 5, 16)
    assert told["input_tokens_details"]["cached_tokens"] == 3
    assert told["output_tokens_details"]["reasoning_tokens"] == 2


# The request


def test_a_text_is_one_user_message():
    request, streamed = parse(instructions="Be brief.", stream=True)
    assert [(m.role, m.text) for m in request.messages] == [("system", "Be brief."), ("user", "hello")]
    assert streamed
    assert request.stream.startswith("resp_")
    assert str(request.on_disconnect) == "cancel"


def test_items_become_messages():
    request, _ = parse(
        input=[
            {"role": "developer", "content": "Be brief."},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                ],
            },
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"role": "assistant", "content": [{"type": "output_text", "text": "Wait.", "annotations": []}]},
            {"type": "function_call", "call_id": "c1", "name": "a", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "b", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
        ]
    )
    assert [m.role for m in request.messages] == ["system", "user", "assistant", "tool", "tool"]
    assert request.messages[1].content == [Text("What is this?"), Image("data:image/png;base64,AA==", "low")]
    assert request.messages[2].content == [Text("Wait."), ToolCall("c1", "a", "{}"), ToolCall("c2", "b", "{}")]
    assert request.messages[4].content == [ToolResult("c2", "two")]


def test_background_goes_on_without_a_reader():
    request, _ = parse(background=True)
    assert str(request.on_disconnect) == "continue"
    assert request.record["background"] is True


def test_fields_take_the_names_that_hosts_know():
    request, _ = parse(
        text={"format": {"type": "json_schema", "name": "tide", "schema": {"type": "object"}, "strict": True}},
        reasoning={"effort": "low"},
        tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
        tool_choice={"type": "function", "name": "f"},
        max_output_tokens=99,
        seed=7,
    )
    schema = {"name": "tide", "schema": {"type": "object"}, "strict": True}
    assert request.response_format == {"type": "json_schema", "json_schema": schema}
    assert request.options == {"seed": 7}
    assert request.thinking == Thinking(effort="low", show=False)
    assert request.tools[0].name == "f"
    assert request.tool_choice == {"type": "function", "function": {"name": "f"}}
    assert request.max_tokens == 99


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"input": 7}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "critic", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].file_data"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].image_url",
        ),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "input[0].arguments"),
        ({"temperature": 3}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"stream": "yes"}, "stream"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice.type"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"reasoning": {"effort": 5}}, "reasoning.effort"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"background": True, "store": False}, "store"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(fields, param):
    with pytest.raises(BadRequest) as caught:
        parse(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"null"])
def test_a_body_that_is_no_json_object_is_refused(body):
    with pytest.raises(BadRequest):
        DIALECT.parse(body, {})


def test_a_missing_model_is_named():
    with pytest.raises(BadRequest, match="model"):
        DIALECT.parse(b'{"input":"x"}', {})


def test_a_header_changes_what_a_lost_connection_means():
    body = b'{"model":"m","input":"x"}'
    request, _ = DIALECT.parse(body, {"x-tidewire-on-disconnect": "grace:5"})
    assert str(request.on_disconnect) == "grace:5"
    with pytest.raises(BadRequest, match="grace"):
        DIALECT.parse(body, {"x-tidewire-on-disconnect": "never"})


def test_the_response_repeats_its_request():
    request, _ = parse(
        instructions="Be brief.", metadata={"k": "v"}, temperature=0.5, tools=[{"type": "function", "name": "f"}]
    )
    meta = meta_of(**request.record)
    response = Response.model_validate_json(document(meta, numbered([opened(meta)])))
    assert (response.instructions, response.metadata, response.temperature) == ("Be brief.", {"k": "v"}, 0.5)
    assert response.tools[0].name == "f"


# Input items


def test_input_items_are_listed_newest_first_and_by_page():
    request, _ = parse(
        input=[
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "three"},
            {"role": "user", "content": [{"type": "input_image", "image_url": "https://example.org/x.png"}]},
        ]
    )
    meta = meta_of(**request.record)
    page = ResponseItemList.model_validate_json(DIALECT.input_items(meta, limit=2))
    assert page.has_more
    assert [item.type for item in page.data] == ["message", "function_call_output"]
    rest = ResponseItemList.model_validate_json(DIALECT.input_items(meta, after=page.last_id))
    assert [item.type for item in rest.data] == ["function_call", "message", "message"]
    assert not rest.has_more
    for item in json.loads(DIALECT.input_items(meta, order="asc"))["data"]:
        TypeAdapter(ResponseItem).validate_python(item)


def test_input_items_over_the_bound_are_not_kept():
    request, _ = parse(input="x" * KEPT_INPUT)
    assert "input" not in request.record
    with pytest.raises(NotFound, match=str(KEPT_INPUT)):
        DIALECT.input_items(meta_of(**request.record))


def test_store_false_keeps_no_input():
    request, _ = parse(store=False)
    with pytest.raises(NotFound, match="store"):
        DIALECT.input_items(meta_of(**request.record))


def test_errors_have_the_shape_that_the_official_client_reads():
    error = json.loads(DIALECT.error(BadRequest("no", param="input").info()))["error"]
    assert error == {"message": "no", "type": "invalid_request_error", "param": "input", "code": "invalid_request"}


def test_ids_of_items_are_the_same_for_every_reader():
    meta = meta_of()
    entries = numbered(
        [opened(meta), ev.PartStarted(part=0, kind="text"), ev.Closed(status="completed", reason="stop")]
    )
    item = events_of(render(meta, entries))[-1]["response"]["output"][0]
    assert item["id"] == "msg_" + STREAM.removeprefix("resp_") + "_0"
