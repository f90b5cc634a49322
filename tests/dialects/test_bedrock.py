"""Bedrock's Converse served: what bodies become, how logs are rendered, and that our own reader of hosts reads it back."""

from __future__ import annotations

import base64
import json

import bedrock_streams as streams
import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from strategies import logs, meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.core.errors import BadRequest
from tidewire.core.events import Delta, ErrorInfo, PartEnded, PartStarted
from tidewire.core.request import (
    Audio,
    File,
    Image,
    Message,
    Request,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from tidewire.dialects.bedrock import Bedrock
from tidewire.dialects.bedrock_events import error_name
from tidewire.dialects.bedrock_host import ConverseHost

DIALECT = Bedrock().at("simulated", streamed=True)


def events_of(wire: bytes) -> list[tuple[str, dict]]:
    buffer = EventStreamBuffer()
    buffer.add_data(wire)
    return [(m.headers.get(":event-type") or m.headers[":exception-type"], json.loads(m.payload)) for m in buffer]


def streamed(events, meta=None) -> bytes:
    return DIALECT.stream(meta or meta_of()).feed(numbered([opened(meta_of()), *events]))


def document(events) -> dict:
    return json.loads(DIALECT.whole(meta_of()).feed(numbered([opened(meta_of()), *events])))


def closed(reason="stop", status="completed", **more):
    return ev.Closed(reason=reason, status=status, **more)


@given(logs(kinds=("text", "thinking", "tool_call", "tool_result", "refusal", "audio")), st.data())
def test_a_rendering_is_the_same_wherever_the_log_is_cut(log, data):
    meta, entries = log
    expected = DIALECT.stream(meta).feed(entries)
    places = sorted(data.draw(st.lists(st.integers(0, len(entries)), max_size=5)))
    renderer = DIALECT.stream(meta)
    cut = [renderer.feed(entries[a:b]) for a, b in zip([0, *places], [*places, len(entries)], strict=True)]
    assert b"".join(cut) == expected
    assert renderer.ended
    one = DIALECT.stream(meta)
    assert b"".join(one.feed([entry]) for entry in entries) == expected


@given(logs(kinds=("text", "thinking", "tool_call", "refusal")))
def test_what_is_streamed_is_what_the_whole_document_says(log):
    meta, entries = log
    renderer = DIALECT.whole(meta)
    raw = renderer.feed(entries)
    told = events_of(DIALECT.stream(meta).feed(entries))
    if renderer.failure is not None:
        assert raw == b""
        assert told[-1][0].endswith("Exception")
        return
    whole = json.loads(raw)
    blocks: dict[int, dict] = {}
    for name, said in told:
        if name in ("contentBlockStart", "contentBlockDelta"):
            block = blocks.setdefault(said["contentBlockIndex"], {"text": "", "thought": "", "input": ""})
            delta = said.get("delta", {})
            block["text"] += delta.get("text", "")
            block["thought"] += delta.get("reasoningContent", {}).get("text", "")
            block["input"] += delta.get("toolUse", {}).get("input", "")
            block |= said.get("start", {})
    texts, thoughts, calls = [], [], []
    for content in whole["output"]["message"]["content"]:
        texts.append(
            content.get("text") or "".join(p["text"] for p in content.get("citationsContent", {}).get("content", ()))
        )
        thoughts.append(content.get("reasoningContent", {}).get("reasoningText", {}).get("text", ""))
        calls += [content["toolUse"]["toolUseId"]] if "toolUse" in content else []
    assert "".join(texts) == "".join(b["text"] for _, b in sorted(blocks.items()))
    assert "".join(thoughts) == "".join(b["thought"] for _, b in sorted(blocks.items()))
    assert calls == [b["toolUse"]["toolUseId"] for _, b in sorted(blocks.items()) if "toolUse" in b]
    ending = dict(told[-2:])
    assert ending["messageStop"]["stopReason"] == whole["stopReason"]
    assert ending["metadata"] == {"usage": whole["usage"], "metrics": whole["metrics"]}


SAID = [
    PartStarted(part=0, kind="thinking"),
    Delta(part=0, text="hm"),
    ev.Signature(part=0, value="sig"),
    PartEnded(part=0),
    PartStarted(part=1, kind="thinking"),
    ev.Signature(part=1, value="c2VjcmV0", redacted=True),
    PartEnded(part=1),
    PartStarted(part=2, kind="text"),
    Delta(part=2, text="é😀\r\n"),
    Delta(part=2, text="!"),
    ev.Citation(part=2, start=0, end=5, source="s", title="t", passage="p", uri="https://example.com/a"),
    PartEnded(part=2),
    PartStarted(part=3, kind="tool_call", name="f", call="c1"),
    Delta(part=3, text='{"a":'),
    Delta(part=3, text="1}"),
    PartEnded(part=3),
    PartStarted(part=4, kind="tool_result", call="c9"),
    Delta(part=4, text="found"),
    PartEnded(part=4),
    PartStarted(part=5, kind="image", media="image/png"),
    ev.Blob(part=5, data=b"\0\1"),
    PartEnded(part=5),
]
END = closed("tool_calls", input_tokens=14, output_tokens=5, cached_tokens=10, cache_write_tokens=1)


def test_blocks_that_take_turns_stand_where_each_first_said_something():
    events = [
        *(PartStarted(part=n, kind="text") for n in (0, 1)),
        *(Delta(part=n, text=text) for n, text in ((1, "first"), (0, "second"), (1, "!"))),
        closed(),
    ]
    told = [said["contentBlockIndex"] for name, said in events_of(streamed(events)) if name == "contentBlockDelta"]
    assert told == [0, 1, 0]
    assert [block["text"] for block in document(events)["output"]["message"]["content"]] == ["first!", "second"]


def test_our_own_reader_of_hosts_reads_back_what_was_said():
    events, error = streams.decoded(ConverseHost().decoder(Request(model="m", messages=[])), streamed([*SAID, END]))
    assert error is None
    *said, timing, usage, finish = events
    for event in SAID:
        event.seq = event.at = -1
    assert said == SAID
    assert isinstance(timing, ev.Timing)
    assert usage == ev.Usage(counted_by="host", input=14, output=5, cached=10, cache_write=1)
    assert finish == ev.Finish(reason="tool_calls")


def test_a_document_has_a_block_for_each_part():
    assert document([*SAID, END])["output"] == {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
                {"reasoningContent": {"redactedContent": "c2VjcmV0"}},
                {
                    "citationsContent": {
                        "content": [{"text": "é😀\r\n!"}],
                        "citations": [
                            {
                                "title": "t",
                                "source": "s",
                                "sourceContent": [{"text": "p"}],
                                "location": {"web": {"url": "https://example.com/a"}},
                            }
                        ],
                    }
                },
                {"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": 1}}},
                {"toolResult": {"toolUseId": "c9", "content": [{"text": "found"}]}},
                {"image": {"format": "png", "source": {"bytes": "AAE="}}},
            ],
        }
    }
    assert document([*SAID, END])["usage"] == {
        "inputTokens": 3,
        "outputTokens": 5,
        "totalTokens": 19,
        "cacheReadInputTokens": 10,
        "cacheWriteInputTokens": 1,
    }


def test_what_has_no_word_here_is_left_out_and_takes_no_index():
    events = [
        PartStarted(part=0, kind="audio", media="audio/wav"),
        ev.Blob(part=0, data=b"x"),
        PartEnded(part=0),
        PartStarted(part=1, kind="text"),  # nothing is said in it
        PartEnded(part=1),
        PartStarted(part=2, kind="text", choice=1),
        Delta(part=2, text="another choice"),
        PartStarted(part=3, kind="image", media="image/png"),
        ev.Blob(part=3, data=b"sketch", partial=True),
        ev.Blob(part=3, data=b"final"),
        PartEnded(part=3),
        PartStarted(part=4, kind="text"),
        Delta(part=4, text="here"),
        ev.Signature(part=4, value="of a text"),
        PartEnded(part=4),
        ev.Citation(part=4, start=0, end=4, source="s", title="t", passage="p"),  # behind the part's last word
        closed(),
    ]
    told = events_of(streamed(events))
    assert [(n, e.get("contentBlockIndex")) for n, e in told] == [
        ("messageStart", None),
        ("contentBlockStart", 0),
        ("contentBlockDelta", 0),
        ("contentBlockStop", 0),
        ("contentBlockDelta", 1),
        ("contentBlockDelta", 1),
        ("contentBlockStop", 1),
        ("messageStop", None),
        ("metadata", None),
    ]
    assert told[2][1]["delta"] == {"image": {"source": {"bytes": base64.b64encode(b"final").decode()}}}
    [image, cited] = document(events)["output"]["message"]["content"]
    assert image["image"]["source"]["bytes"] == base64.b64encode(b"final").decode()
    assert cited["citationsContent"]["content"] == [{"text": "here"}]


@pytest.mark.parametrize(
    ("reason", "status", "said"),
    [
        ("stop", "completed", "end_turn"),
        ("stop_string", "completed", "stop_sequence"),
        ("length", "incomplete", "max_tokens"),
        ("time_limit", "incomplete", "max_tokens"),
        ("tool_calls", "completed", "tool_use"),
        ("content_filter", "incomplete", "content_filtered"),
    ],
)
def test_why_it_ended_is_said_in_the_words_of_converse(reason, status, said):
    assert document([closed(reason, status)])["stopReason"] == said
    assert dict(events_of(streamed([closed(reason, status)])))["messageStop"] == {"stopReason": said}


@pytest.mark.parametrize(
    ("status", "name", "inside"),
    [
        (400, "ValidationException", "validationException"),
        (401, "AccessDeniedException", "validationException"),
        (404, "ResourceNotFoundException", "validationException"),
        (413, "ValidationException", "validationException"),
        (429, "ThrottlingException", "throttlingException"),
        (500, "InternalServerException", "internalServerException"),
        (502, "ModelErrorException", "modelStreamErrorException"),
        (503, "ServiceUnavailableException", "serviceUnavailableException"),
        (504, "ModelTimeoutException", "modelStreamErrorException"),
    ],
)
def test_an_error_has_a_name_of_its_own_before_and_after_the_first_byte(status, name, inside):
    info = ErrorInfo(code="x", message="It went wrong.", status=status)
    assert json.loads(DIALECT.error(info)) == {"message": "It went wrong.", "__type": name}
    assert DIALECT.error.headers(info) == [("x-amzn-errortype", name)]
    told = events_of(streamed([*SAID[:8], closed("error", "failed", error=info)]))
    assert told[-1] == (inside, {"message": "It went wrong."})
    assert error_name(status) == name


def test_a_cancelled_answer_is_not_taken_for_a_whole_one():
    renderer = DIALECT.stream(meta_of())
    told = events_of(renderer.feed(numbered([opened(meta_of()), *SAID[:9], closed("client", "cancelled")])))
    assert told[-1][0] == "modelStreamErrorException"
    assert renderer.failure is not None


def test_arguments_that_are_no_json_are_text_in_the_document():
    call = [PartStarted(part=0, kind="tool_call", name="f", call="c"), Delta(part=0, text='{"a'), PartEnded(part=0)]
    [block] = document([*call, closed("tool_calls")])["output"]["message"]["content"]
    assert block["toolUse"]["input"] == '{"a'


@pytest.mark.parametrize("value", ["gAAAAAB-_x", "c2VjcmV0", "é", ""])
def test_the_proof_of_a_hidden_thought_comes_back_as_it_was_whatever_it_is_made_of(value):
    [block] = document(
        [PartStarted(part=0, kind="thinking"), ev.Signature(part=0, value=value, redacted=True), closed()]
    )["output"]["message"]["content"]
    data = base64.b64encode(base64.b64decode(block["reasoningContent"]["redactedContent"])).decode()  # as boto3 does
    body = {"messages": [{"role": "assistant", "content": [{"reasoningContent": {"redactedContent": data}}]}]}
    assert parsed(body).messages == [Message("assistant", [Thought(signature=value, redacted=True)])]


# Requests


def parsed(body, headers=None) -> Request:
    request, streams_ = DIALECT.parse(json.dumps(body).encode(), headers or {})
    assert streams_
    return request


def user(*blocks) -> dict:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def test_a_question_is_read_with_its_limits():
    request = parsed(
        user({"text": "Hello?"})
        | {
            "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
            "inferenceConfig": {"maxTokens": 5, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
            "guardrailConfig": {"guardrailIdentifier": "g"},
        },
        {"x-tidewire-on-disconnect": "continue"},
    )
    assert (request.model, request.dialect) == ("simulated", "bedrock")
    assert request.messages == [Message("system", [Text("Be brief.")]), Message("user", [Text("Hello?")])]
    assert (request.max_tokens, request.temperature, request.top_p, request.stop) == (5, 0.5, 0.9, ["END"])
    assert str(request.on_disconnect) == "continue"
    assert request.options == {"guardrailConfig": {"guardrailIdentifier": "g"}}


def test_every_kind_of_content_is_read():
    image = {"image": {"format": "jpeg", "source": {"bytes": "AAEC"}}}
    body = {
        "messages": [
            {
                "role": "user",
                "content": [
                    image,
                    {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/a.png"}}}},
                    {"document": {"format": "pdf", "name": "R", "source": {"bytes": "JVBERg=="}}},
                    {"document": {"name": "T", "source": {"text": "é"}}},
                    {"document": {"name": "C", "source": {"content": [{"text": "a"}, {"text": "b"}]}}},
                    {"audio": {"format": "wav", "source": {"bytes": "UklG"}}},
                    {"cachePoint": {"type": "default"}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
                    {"reasoningContent": {"redactedContent": "c2VjcmV0"}},
                    {"citationsContent": {"content": [{"text": "So"}, {"text": "."}], "citations": []}},
                    {"toolUse": {"toolUseId": "c", "name": "f", "input": {"a": 1}}},
                    {"toolUse": {"toolUseId": "d", "name": "f"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": "c", "content": [{"text": "42"}, {"json": {"b": 2}}, image]}},
                    {"toolResult": {"toolUseId": "d", "content": [], "status": "error"}},
                ],
            },
        ]
    }
    assert parsed(body).messages == [
        Message(
            "user",
            [
                Image("data:image/jpeg;base64,AAEC"),
                Image("s3://b/a.png"),
                File(url="data:application/pdf;base64,JVBERg==", name="R"),
                File(url="data:text/plain;base64,w6k=", name="T"),
                File(url="data:text/plain;base64,YQpi", name="C"),
                Audio("UklG", "wav"),
            ],
        ),
        Message(
            "assistant",
            [
                Thought("hm", "s"),
                Thought(signature="c2VjcmV0", redacted=True),
                Text("So."),
                ToolCall("c", "f", '{"a":1}'),
                ToolCall("d", "f", "{}"),
            ],
        ),
        Message(
            "tool",
            [
                ToolResult("c", '42\n{"b":2}', images=[Image("data:image/jpeg;base64,AAEC")]),
                ToolResult("d", "", failed=True),
            ],
        ),
    ]


def test_a_body_that_was_read_is_said_to_bedrock_as_it_was():
    body = {
        "system": [{"text": "Be brief."}],
        "messages": [
            {"role": "user", "content": [{"text": "Hm?"}, {"image": {"format": "png", "source": {"bytes": "AAEC"}}}]},
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
                    {"toolUse": {"toolUseId": "c", "name": "f", "input": {"a": 1}}},
                ],
            },
            {
                "role": "user",
                "content": [{"toolResult": {"toolUseId": "c", "content": [{"text": "1"}], "status": "error"}}],
            },
        ],
        "toolConfig": {
            "tools": [
                {"toolSpec": {"name": "f", "description": "d", "inputSchema": {"json": {"type": "object", "x": 1}}}}
            ],
            "toolChoice": {"tool": {"name": "f"}},
        },
        "inferenceConfig": {"maxTokens": 5, "stopSequences": ["END"]},
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2000}, "top_k": 3},
        "outputConfig": {
            "effort": "low",
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"schema": '{"type":"object"}', "name": "n"}},
            },
        },
        "serviceTier": {"type": "priority"},
    }
    assert json.loads(ConverseHost().ask(parsed(body), "m").body) == body


@pytest.mark.parametrize(
    ("more", "meant"),
    [
        ({"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 9}}}, Thinking(budget=9)),
        ({"additionalModelRequestFields": {"thinking": {"type": "disabled"}}}, Thinking(effort="none")),
        ({"additionalModelRequestFields": {"thinking": {"type": "adaptive"}}}, Thinking()),
        ({"additionalModelRequestFields": {"thinking": {"type": "adaptive", "display": "omitted"}}, "outputConfig": {"effort": "max"}}, Thinking(effort="max", show=False)),
        ({"additionalModelRequestFields": {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}}, Thinking(effort="low")),
        ({"additionalModelRequestFields": {"reasoningConfig": {"type": "disabled"}}}, Thinking(effort="none")),
        ({"additionalModelRequestFields": {"reasoning_effort": "high"}}, Thinking(effort="high")),
        ({"additionalModelRequestFields": {"thinking": 5, "top_k": 1}}, None),
        ({"outputConfig": {"effort": "low"}}, Thinking(effort="low")),
        ({}, None),
    ],
)  # fmt: skip
def test_how_much_to_think_is_understood_in_the_words_of_each_vendor(more, meant):
    assert parsed(user({"text": "x"}) | more).thinking == meant


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        ({"auto": {}}, "auto"),
        ({"any": {}}, "required"),
        ({"tool": {"name": "f"}}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_tools_are_read_with_their_choice(choice, meant):
    spec = {"name": "f", "description": "d", "inputSchema": {"json": {"type": "object"}}, "strict": True}
    config = {"tools": [{"toolSpec": spec}, {"cachePoint": {"type": "default"}}], "toolChoice": choice}
    request = parsed(user({"text": "x"}) | {"toolConfig": config})
    assert request.tools == [Tool("f", "d", {"type": "object"}, strict=True)]
    assert request.tool_choice == meant


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": []}]}, "messages[0].role"),
        ({"messages": [{"role": [], "content": []}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "text"}]}, "messages[0].content"),
        (user({}), "messages[0].content[0]"),
        (user({"video": {}}), "messages[0].content[0]"),
        (user({"text": None}), "messages[0].content[0]"),
        (user({"image": {"format": "tiff", "source": {"bytes": ""}}}), "messages[0].content[0].image.format"),
        (user({"image": {"format": "png"}}), "messages[0].content[0].image.source"),
        (user({"image": {"format": "png", "source": {}}}), "messages[0].content[0].image.source"),
        (user({"document": {"format": "zip", "name": "a", "source": {"bytes": ""}}}), "messages[0].content[0].document.format"),
        (user({"toolResult": {"content": []}}), "messages[0].content[0].toolResult.toolUseId"),
        (user({"toolResult": {"toolUseId": "c", "content": [{"document": {}}]}}), "messages[0].content[0].toolResult.content[0]"),
        (user({"text": "x"}) | {"system": [{"guardContent": {}}]}, "system[0]"),
        (user({"text": "x"}) | {"system": "text"}, "system"),
        (user({"text": "x"}) | {"inferenceConfig": {"maxTokens": 0}}, "inferenceConfig.maxTokens"),
        (user({"text": "x"}) | {"inferenceConfig": {"maxTokens": "5"}}, "inferenceConfig.maxTokens"),
        (user({"text": "x"}) | {"toolConfig": {"tools": [{"systemTool": {"name": "x"}}]}}, "toolConfig.tools[0]"),
        (user({"text": "x"}) | {"toolConfig": {"tools": 5}}, "toolConfig.tools"),
        (user({"text": "x"}) | {"toolConfig": {"toolChoice": {"none": {}}}}, "toolConfig.toolChoice"),
        (user({"text": "x"}) | {"outputConfig": {"textFormat": {"type": "text"}}}, "outputConfig.textFormat"),
        (user({"text": "x"}) | {"promptVariables": {"a": {"text": "b"}}}, "promptVariables"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_and_named(body, param):
    with pytest.raises(BadRequest) as caught:
        parsed(body)
    assert caught.value.param == param


def test_an_address_without_a_model_is_refused():
    with pytest.raises(BadRequest, match="names no model"):
        Bedrock().parse(b"{}", {})
