from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies import logs, meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.core.errors import BadRequest
from tidewire.core.request import Audio, File, Image, Text, Thinking, Thought, ToolCall, ToolResult
from tidewire.core.sse import Frames
from tidewire.dialects.ui_messages import UIMessages

DIALECT = UIMessages(model="simulated")
FIELDS = {  # what `ai` 5.0.277, the oldest that is served, knows of each chunk
    "start": {"messageId", "messageMetadata"},
    "start-step": set(),
    "text-start": {"id"},
    "text-delta": {"id", "delta"},
    "text-end": {"id"},
    "reasoning-start": {"id"},
    "reasoning-delta": {"id", "delta"},
    "reasoning-end": {"id"},
    "tool-input-start": {"toolCallId", "toolName"},
    "tool-input-delta": {"toolCallId", "inputTextDelta"},
    "tool-input-available": {"toolCallId", "toolName", "input"},
    "tool-input-error": {"toolCallId", "toolName", "input", "errorText"},
    "tool-output-available": {"toolCallId", "output"},
    "source-url": {"sourceId", "url", "title", "providerMetadata"},
    "source-document": {"sourceId", "mediaType", "title", "providerMetadata"},
    "data-progress": {"data", "transient"},
    "data-notice": {"data", "transient"},
    "data-retrieved": {"data", "transient"},
    "data-superseded": {"data"},
    "data-tool-result": {"data"},
    "message-metadata": {"messageMetadata"},
    "error": {"errorText"},
    "abort": set(),
    "finish-step": set(),
    "finish": {"finishReason"},
}


def render(meta, entries, after=0):
    return DIALECT.stream(meta, after).feed(entries)


def count(meta, entries):
    chunks = DIALECT.stream(meta, 1 << 62)
    assert chunks.feed(entries) == b"data: [DONE]\n\n"
    return chunks.count


def chunks_of(raw: bytes) -> list[dict]:
    frames = [data for _, data in Frames().feed(raw)]
    assert frames[-1] == b"[DONE]"
    return [json.loads(data) for data in frames[:-1]]


def chunks(*events: ev.Event, meta=None) -> list[dict]:
    meta = meta or meta_of()
    return chunks_of(render(meta, numbered([opened(meta), *events])))


def types(told: list[dict]) -> list[str]:
    return [c["type"] for c in told]


def parse(*messages, headers=None, **fields):
    body = {"id": "chat1", "messages": messages, "trigger": "submit-message"} | fields
    return DIALECT.parse(json.dumps(body).encode(), headers or {})[0]


def user(*parts):
    return {"id": "u1", "role": "user", "parts": list(parts)}


def assistant(*parts):
    return {"id": "a1", "role": "assistant", "parts": list(parts)}


def text(words):
    return {"type": "text", "text": words}


# The stream


@given(logs(), st.data())
def test_bytes_do_not_depend_on_where_the_log_is_cut(log, data):
    meta, entries = log
    cuts = sorted(data.draw(st.lists(st.integers(0, len(entries)), max_size=4)))
    renderer = DIALECT.stream(meta)
    pieces = [renderer.feed(entries[a:b]) for a, b in zip([0, *cuts], [*cuts, len(entries)], strict=True)]
    assert b"".join(pieces) == render(meta, entries)
    assert renderer.ended


@given(logs())
def test_a_start_index_gives_exactly_the_rest_of_the_frames(log):
    meta, entries = log
    frames = render(meta, entries).split(b"\n\n")
    assert count(meta, entries) == len(frames) - 2  # [DONE], and what is behind the last line
    for after in range(len(frames) - 1):
        assert render(meta, entries, after) == b"\n\n".join(frames[after:])


@given(logs())
def test_every_stream_ends_with_one_finish(log):
    told = types(chunks_of(render(*log)))
    assert told.count("finish") == 1
    assert told[-1] == "finish"
    assert told.count("start") == 1
    assert told.index("start") == 0


@given(logs())
def test_no_chunk_has_a_field_that_an_older_client_does_not_know(log):
    for chunk in chunks_of(render(*log)):
        assert chunk.keys() - {"type"} == FIELDS[chunk["type"]]


@given(logs())
def test_every_part_is_begun_before_it_goes_on_and_ended_once(log):
    begun: set[str] = set()
    for chunk in chunks_of(render(*log)):
        kind = chunk["type"]
        name = chunk.get("id") or chunk.get("toolCallId")
        if kind.endswith("-start") and name:
            assert name not in begun
            begun.add(name)
        elif name and kind != "tool-output-available":
            assert name in begun
            if not kind.endswith("-delta"):
                begun.remove(name)
    assert not begun


def test_a_text_is_told_as_the_sdk_tells_it():
    told = chunks(
        ev.PartStarted(part=0, kind="text"),
        ev.Delta(part=0, text="Hi"),
        ev.PartEnded(part=0),
        ev.Closed(status="completed", reason="stop"),
    )
    assert told[2:5] == [
        {"type": "text-start", "id": "0"},
        {"type": "text-delta", "id": "0", "delta": "Hi"},
        {"type": "text-end", "id": "0"},
    ]
    assert types(told)[-3:] == ["message-metadata", "finish-step", "finish"]
    assert told[-1]["finishReason"] == "stop"


def test_a_cancelled_stream_aborts_and_then_finishes():
    told = types(chunks(ev.Closed(status="cancelled", reason="client")))
    assert told[-2:] == ["abort", "finish"]


def test_a_failed_stream_tells_the_error_and_then_finishes():
    error = ev.ErrorInfo(code="upstream_error", message="the host has no room")
    told = chunks(ev.Closed(status="failed", reason="error", error=error))
    assert {"type": "error", "errorText": "the host has no room"} in told
    assert told[-1] == {"type": "finish", "finishReason": "error"}


def test_a_tool_call_becomes_available_when_its_arguments_are_whole():
    told = chunks(
        ev.PartStarted(part=0, kind="tool_call", name="tides", call="c1"),
        ev.Delta(part=0, text='{"at":'),
        ev.Delta(part=0, text='"Brest"}'),
        ev.PartEnded(part=0),
        ev.PartStarted(part=1, kind="tool_result", name="tides", call="c1"),
        ev.Delta(part=1, text="[1,2]"),
        ev.PartEnded(part=1),
        ev.Closed(status="completed", reason="tool_calls"),
    )
    assert told[2] == {"type": "tool-input-start", "toolCallId": "c1", "toolName": "tides"}
    assert told[5] == {
        "type": "tool-input-available",
        "toolCallId": "c1",
        "toolName": "tides",
        "input": {"at": "Brest"},
    }
    assert told[6] == {"type": "tool-output-available", "toolCallId": "c1", "output": [1, 2]}
    assert told[-1]["finishReason"] == "tool-calls"


def test_a_tool_call_without_arguments_has_an_empty_input():
    told = chunks(
        ev.PartStarted(part=0, kind="tool_call", name="now", call="c1"),
        ev.PartEnded(part=0),
        ev.Closed(status="completed", reason="tool_calls"),
    )
    assert told[3]["input"] == {}


def test_a_tool_call_cut_off_is_an_error_and_never_run():
    told = chunks(
        ev.PartStarted(part=0, kind="tool_call", name="tides", call="c1"),
        ev.Delta(part=0, text='{"at":'),
        ev.PartEnded(part=0),
        ev.Closed(status="incomplete", reason="length"),
    )
    assert "tool-input-error" in types(told)
    assert "tool-input-available" not in types(told)


def test_citations_become_sources():
    told = chunks(
        ev.PartStarted(part=0, kind="text"),
        ev.Citation(part=0, start=1, end=4, source="d", title="Tides", passage="High.", uri="https://e.org", age=3.0),
        ev.Citation(part=0, start=0, end=4, source="doc", title="tides.md", passage="Low."),
        ev.Closed(status="completed", reason="stop"),
    )
    url, document = told[3:5]
    assert (url["type"], url["url"], url["title"], url["sourceId"]) == ("source-url", "https://e.org", "Tides", "1")
    more = {"part": 0, "start": 1, "end": 4, "passage": "High.", "source": "d", "age": 3.0}
    assert url["providerMetadata"] == {"tidewire": more}
    assert (document["type"], document["mediaType"], document["title"]) == ("source-document", "text/plain", "tides.md")


def test_progress_and_notices_leave_no_trace_in_the_message():
    told = chunks(
        ev.Progress(stage="retrieving", detail="3 passages"),
        ev.Notice(code="degraded", message="a smaller model answers"),
        ev.Closed(status="completed", reason="stop"),
    )
    assert told[2]["data"] == {"stage": "retrieving", "detail": "3 passages"}
    assert all(c["transient"] for c in told[2:4])


def test_usage_is_told_in_the_metadata_and_unknown_figures_are_left_out():
    told = chunks(
        ev.Usage(counted_by="host", output=5, cached=2),
        ev.Closed(status="completed", reason="stop", output_tokens=5, ttft=20.5),
    )
    metadata = next(c for c in told if c["type"] == "message-metadata")["messageMetadata"]
    assert metadata["usage"] == {"outputTokens": 5, "cachedInputTokens": 2}
    assert metadata["ttft"] == 20.5


def test_the_message_is_named_after_the_stream_or_goes_on_in_the_one_before():
    closed = ev.Closed(status="completed", reason="stop")
    assert chunks(closed)[0]["messageId"] == meta_of().stream
    assert chunks(closed, meta=meta_of(message="a1"))[0]["messageId"] == "a1"


def test_headers_name_the_run():
    headers = dict(DIALECT.headers(meta_of("run_7")))
    assert headers == {"x-vercel-ai-ui-message-stream": "v1", "x-workflow-run-id": "run_7"}


def whole_of(*events: ev.Event) -> dict:
    meta = meta_of()
    return json.loads(DIALECT.whole(meta).feed(numbered([opened(meta), *events])))


STOP = ev.Closed(status="completed", reason="stop")


def drawn() -> list[ev.Event]:
    return [
        ev.PartStarted(part=0, kind="image", media="image/webp"),
        ev.Blob(part=0, data=b"sketch", partial=True),
        ev.Blob(part=0, data=b"done"),
        ev.PartEnded(part=0),
        STOP,
    ]


def test_an_image_is_a_file_at_its_end_and_its_sketches_leave_no_trace():
    sketch, last, file = chunks(*drawn())[2:5]
    url = "data:image/webp;base64,ZG9uZQ=="
    assert (sketch["type"], sketch["transient"], sketch["data"]["partial"]) == ("data-image", True, True)
    assert last["data"] == {"mediaType": "image/webp", "url": url, "partial": False}
    assert file == {"type": "file", "url": url, "mediaType": "image/webp"}
    assert whole_of(*drawn())["parts"] == [{"type": "step-start"}, file]


def test_sound_is_told_as_it_comes_and_is_one_file_at_the_end():
    events = [
        ev.PartStarted(part=0, kind="audio", media="audio/mpeg"),
        ev.Blob(part=0, data=b"one"),
        ev.Blob(part=0, data=b"two"),
        ev.Closed(status="incomplete", reason="length"),
    ]
    *pieces, file = chunks(*events)[2:5]
    assert [p["type"] for p in pieces] == ["data-audio"] * 2
    assert file["url"] == "data:audio/mpeg;base64,b25ldHdv"
    assert whole_of(*events)["parts"][1]["url"] == file["url"]


def test_an_image_of_which_only_sketches_came_is_no_file():
    told = chunks(ev.PartStarted(part=0, kind="image"), ev.Blob(part=0, data=b"s", partial=True), STOP)
    assert "file" not in types(told)


def signed() -> list[ev.Event]:
    return [
        ev.PartStarted(part=0, kind="thinking"),
        ev.Delta(part=0, text="hm"),
        ev.Signature(part=0, value="s0"),
        ev.PartEnded(part=0),
        ev.PartStarted(part=1, kind="thinking"),
        ev.Signature(part=1, value="s1", redacted=True),
        ev.PartEnded(part=1),
        ev.PartStarted(part=2, kind="text"),
        ev.Delta(part=2, text="Hi"),
        ev.Signature(part=2, value="s2"),
        ev.PartEnded(part=2),
        ev.PartStarted(part=3, kind="tool_call", name="f", call="c"),
        ev.Signature(part=3, value="s3"),
        ev.PartEnded(part=3),
        ev.Closed(status="completed", reason="tool_calls"),
    ]


def test_each_thought_is_a_part_and_signatures_are_provider_metadata():
    told = chunks(*signed())
    proofs = [c["providerMetadata"]["tidewire"] for c in told if "providerMetadata" in c]
    assert [c["type"] for c in told if "providerMetadata" in c] == [
        "reasoning-end",
        "reasoning-end",
        "text-end",
        "tool-input-available",
    ]
    assert proofs == [
        {"signature": "s0"},
        {"signature": "s1", "redacted": True},
        {"signature": "s2"},
        {"signature": "s3"},
    ]
    assert [c["id"] for c in told if c["type"] == "reasoning-start"] == ["0", "1"]


def test_a_message_that_comes_back_hands_its_signatures_to_the_host_again():
    message = whole_of(*signed())
    message["parts"][-1] |= {"state": "output-available", "output": "x"}
    said = parse(user(text("q")), message).messages[1].content
    assert said == [
        Thought("hm", "s0"),
        Thought("", "s1", redacted=True),
        Text("Hi"),
        Thought(signature="s2"),
        ToolCall("c", "f", "{}", "s3"),
    ]


def test_a_refusal_is_text():
    told = chunks(ev.PartStarted(part=0, kind="refusal"), ev.Delta(part=0, text="No."), ev.PartEnded(part=0), STOP)
    assert types(told)[2:5] == ["text-start", "text-delta", "text-end"]


def test_fields_of_json_come_as_they_are_complete_and_the_check_stays_in_the_message():
    events = [
        ev.PartStarted(part=0, kind="text"),
        ev.Field(part=0, path="/age", value=36),
        ev.Checked(part=0, valid=False, problems=["name is missing"]),
        ev.PartEnded(part=0),
        STOP,
    ]
    field, check = chunks(*events)[3:5]
    assert field == {"type": "data-field", "data": {"part": 0, "path": "/age", "value": 36}, "transient": True}
    assert check == {
        "type": "data-checked",
        "data": {"part": 0, "valid": False, "problems": ["name is missing"]},
    }
    assert whole_of(*events)["parts"][-1] == check


def test_of_several_answers_the_first_is_told():
    events = [
        ev.PartStarted(part=0, kind="text"),
        ev.PartStarted(part=1, kind="text", choice=1),
        ev.Delta(part=1, text="second"),
        ev.Signature(part=1, value="s"),
        ev.Delta(part=0, text="first"),
        ev.PartEnded(part=1),
        ev.PartEnded(part=0),
        STOP,
    ]
    assert [c["delta"] for c in chunks(*events) if "delta" in c] == ["first"]
    assert whole_of(*events)["parts"][1:] == [{"type": "text", "text": "first", "state": "done"}]


def test_what_the_error_chunk_has_no_field_for_is_in_the_metadata():
    error = ev.ErrorInfo(code="upstream_rate_limited", message="busy", status=429, retryable=True)
    told = chunks(ev.Closed(status="failed", reason="error", error=error))
    [metadata] = [c["messageMetadata"] for c in told if c["type"] == "message-metadata"]
    assert metadata["error"] == {"code": "upstream_rate_limited", "status": 429, "retryable": True}


@given(logs())
def test_the_whole_message_holds_every_text(log):
    meta, entries = log
    whole = DIALECT.whole(meta)
    message = json.loads(b"".join(whole.feed([e]) for e in entries))
    assert whole.ended
    said: dict[str, str] = {}
    for chunk in chunks_of(render(meta, entries)):
        if chunk["type"] in ("text-start", "reasoning-start"):
            said[chunk["id"]] = ""
        elif chunk["type"] in ("text-delta", "reasoning-delta"):
            said[chunk["id"]] += chunk["delta"]
    assert [p["text"] for p in message["parts"] if p["type"] in ("text", "reasoning")] == list(said.values())


# The request


def test_what_use_chat_posts_becomes_a_request():
    request = parse(user(text("What is this?"), {"type": "file", "mediaType": "image/png", "url": "data:image/png,x"}))
    assert (request.chat, request.model, str(request.on_disconnect)) == ("chat1", "simulated", "grace:15")
    assert request.messages[0].content == [Text("What is this?"), Image("data:image/png,x")]
    assert request.record == {"title": "What is this?"}


def test_the_body_may_name_a_model_tools_and_a_system_prompt():
    tool = {"name": "tides", "inputSchema": {"type": "object"}}
    request = parse(user(text("x")), model="m2", system="Be brief.", tools=[tool], maxOutputTokens=9, sessionId="s")
    assert (request.model, request.max_tokens) == ("m2", 9)
    assert request.messages[0].role == "system"
    assert request.tools[0].parameters == {"type": "object"}
    assert request.options == {}


def test_an_assistant_message_becomes_its_steps():
    turn = assistant(
        {"type": "step-start"},
        {"type": "reasoning", "text": "hm"},
        text("Let me look."),
        {
            "type": "tool-tides",
            "toolCallId": "c1",
            "state": "output-available",
            "input": {"at": "Brest"},
            "output": [1],
        },
        {"type": "dynamic-tool", "toolName": "wind", "toolCallId": "c2", "state": "output-error", "errorText": "down"},
        {"type": "tool-moon", "toolCallId": "c3", "state": "input-available", "input": {}},
        {"type": "step-start"},
        text("High at noon."),
        {"type": "source-url", "sourceId": "1", "url": "https://e.org"},
    )
    request = parse(user(text("When?")), turn, user(text("And then?")))
    said = request.messages[1:-1]
    assert [m.role for m in said] == ["assistant", "tool", "tool", "assistant"]
    assert said[0].content == [
        Thought("hm"),
        Text("Let me look."),
        ToolCall("c1", "tides", '{"at":"Brest"}'),
        ToolCall("c2", "wind", "{}"),
    ]
    assert said[1].content == [ToolResult("c1", "[1]", name="tides")]
    assert said[2].content == [ToolResult("c2", "down", failed=True, name="wind")]
    assert said[3].text == "High at noon."


def test_files_and_ways_to_answer_are_read():
    parts = [
        {"type": "file", "mediaType": "audio/x-wav", "url": "data:audio/x-wav;base64,QQ=="},
        {"type": "file", "mediaType": "application/pdf", "url": "https://e.org/a.pdf", "filename": "a.pdf"},
    ]
    asked = {"stop": ["END"], "responseFormat": {"type": "json_object"}, "thinking": {"effort": "low"}}
    request = parse(user(*parts), **asked)
    assert request.messages[0].content == [Audio("QQ==", "wav"), File(url="https://e.org/a.pdf", name="a.pdf")]
    assert (request.stop, request.response_format) == (["END"], {"type": "json_object"})
    assert request.thinking == Thinking(effort="low")


def test_a_tool_may_answer_with_pictures():
    def result(*value):
        done = {"type": "tool-t", "toolCallId": "c", "state": "output-available", "input": {}}
        turn = assistant(done | {"output": {"type": "content", "value": list(value)}})
        return parse(user(text("q")), turn).messages[2].content[0]

    shown = result(text("here"), {"type": "media", "data": "QQ==", "mediaType": "image/png"})
    assert shown == ToolResult("c", "here", images=[Image("data:image/png;base64,QQ==")], name="t")
    unknown = result(text("here"), {"type": "hologram"})
    assert json.loads(unknown.text)["value"][1] == {"type": "hologram"}


def test_an_answer_to_tool_results_goes_on_in_the_same_message():
    done = {"type": "tool-t", "toolCallId": "c", "state": "output-available", "input": {}, "output": "x"}
    assert parse(user(text("q")), assistant(done)).record["message"] == "a1"
    assert "message" not in parse(user(text("q"))).record


def test_the_workflow_transport_sends_no_chat_id():
    request, _ = DIALECT.parse(json.dumps({"messages": [user(text("x"))]}).encode(), {})
    assert request.chat is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "parts": [{"type": "text"}]}]}, "messages[0].parts[0].text"),
        ({"messages": [{"role": "tool", "parts": []}]}, "messages[0].role"),
        ({"messages": [user({"type": "file", "mediaType": "audio/wav", "url": "x"})]}, "messages[0].parts[0].url"),
        ({"messages": [user({"type": "file", "url": "x"})]}, "messages[0].parts[0].mediaType"),
        ({"messages": [assistant({"type": "reasoning"})]}, "messages[0].parts[0].text"),
        ({"messages": [user(text("x"))], "id": "a b"}, "id"),
        ({"messages": [user(text("x"))], "temperature": 9}, "temperature"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(body, param):
    with pytest.raises(BadRequest) as caught:
        DIALECT.parse(json.dumps(body).encode(), {})
    assert caught.value.param == param


def test_without_a_model_anywhere_the_request_is_refused():
    with pytest.raises(BadRequest, match="model"):
        UIMessages().parse(json.dumps({"messages": [user(text("x"))]}).encode(), {})
