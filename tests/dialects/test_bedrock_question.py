"""What Bedrock's Converse is asked: every part of a request in its words, and the refusal of what it has no words for."""

from __future__ import annotations

import json

import botocore.session
import pytest
from botocore.validate import ParamValidator

from tidewire.core.errors import BadRequest
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
from tidewire.dialects.bedrock_host import ConverseHost

PNG = "data:image/png;base64,AAEC"
MODEL = (
    botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("ConverseStream").input_shape
)


def question(model="amazon.nova-lite-v1:0", **more):
    fields = {"model": "aws/m", "messages": [Message("user", [Text("Hello?")])]} | more
    return ConverseHost().ask(Request(**fields), model)


def body(model="amazon.nova-lite-v1:0", **more) -> dict:
    """The body, which the SDK's own model of the service has no complaint about."""
    said = json.loads(question(model, **more).body)
    report = ParamValidator().validate(said | {"modelId": model}, MODEL)
    assert not report.has_errors(), report.generate_report()
    return said


def refused(**more) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        question(**more)
    return caught.value


def test_a_plain_question_is_a_message_and_nothing_else():
    assert body() == {"messages": [{"role": "user", "content": [{"text": "Hello?"}]}]}


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("amazon.nova-lite-v1:0", "/model/amazon.nova-lite-v1%3A0/converse-stream"),
        (
            "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/a1b2",
            "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A123456789012%3Aapplication-inference-profile%2Fa1b2/converse-stream",
        ),
    ],
)
def test_the_model_stands_in_the_address(model, path):
    assert question(model).path == path
    assert question(model).headers == {"Accept": "application/vnd.amazon.eventstream"}


def test_every_kind_of_content_is_said():
    messages = [
        Message("system", [Text("Be brief.")]),
        Message(
            "user",
            [
                Text("What"),
                Image(PNG, "low"),
                Image("s3://bucket/picture.JPG"),
                File(url="data:application/pdf;base64,JVBERg==", name="the/Report_1.pdf"),
                File(url="data:text/plain,a%20b", name="Report 1"),
                File(url="s3://bucket/a.docx"),
                Audio("UklG", "wav"),
            ],
        ),
        Message(
            "assistant",
            [
                Thought("hm", "sig"),
                Thought(signature="c2VjcmV0", redacted=True),
                Text("So"),
                ToolCall("c1", "f", '{"a":1}'),
            ],
        ),
        Message("user", [Text("And"), ToolResult("c1", "42", images=[Image(PNG)])]),
        Message("tool", [ToolResult("c2", "broken", failed=True), ToolResult("c3", "")]),
        Message("system", [Text("Hurry.")]),
    ]
    said = body(messages=messages)
    assert said["system"] == [{"text": "Be brief."}, {"text": "Hurry."}]
    assert said["messages"] == [
        {
            "role": "user",
            "content": [
                {"text": "What"},
                {"image": {"format": "png", "source": {"bytes": "AAEC"}}},
                {"image": {"format": "jpeg", "source": {"s3Location": {"uri": "s3://bucket/picture.JPG"}}}},
                {"document": {"format": "pdf", "name": "Report 1", "source": {"bytes": "JVBERg=="}}},
                {"document": {"format": "txt", "name": "Report 1 2", "source": {"bytes": "YSBi"}}},
                {
                    "document": {
                        "format": "docx",
                        "name": "document",
                        "source": {"s3Location": {"uri": "s3://bucket/a.docx"}},
                    }
                },
                {"audio": {"format": "wav", "source": {"bytes": "UklG"}}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}},
                {"reasoningContent": {"redactedContent": "c2VjcmV0"}},
                {"text": "So"},
                {"toolUse": {"toolUseId": "c1", "name": "f", "input": {"a": 1}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "toolResult": {
                        "toolUseId": "c1",
                        "content": [{"text": "42"}, {"image": {"format": "png", "source": {"bytes": "AAEC"}}}],
                    }
                },
                {"toolResult": {"toolUseId": "c2", "content": [{"text": "broken"}], "status": "error"}},
                {"toolResult": {"toolUseId": "c3", "content": []}},
                {"text": "And"},
            ],
        },
    ]


def test_what_there_is_nothing_to_say_of_is_left_out():
    messages = [
        Message("user", [Text("Hello?")]),
        Message("assistant", [Thought("unsigned"), Text(" ")]),
        Message("user", [Text("Well?")], name="Ada"),
    ]
    assert body(messages=messages)["messages"] == [{"role": "user", "content": [{"text": "Hello?"}, {"text": "Well?"}]}]


def test_limits_are_said_in_one_object():
    said = body(max_tokens=5, temperature=0.5, top_p=0.9, stop=["END", ""])
    assert said["inferenceConfig"] == {"maxTokens": 5, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]}


TOOLS = [Tool("f", "does", {"type": "object"}, strict=True), Tool("g")]


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        (None, None),
        ("auto", {"auto": {}}),
        ("required", {"any": {}}),
        ({"type": "function", "function": {"name": "g"}}, {"tool": {"name": "g"}}),
    ],
)
def test_tools_are_offered_with_their_schemas(choice, meant):
    said = body(tools=TOOLS, tool_choice=choice)["toolConfig"]
    assert said["tools"] == [
        {"toolSpec": {"name": "f", "description": "does", "inputSchema": {"json": {"type": "object"}}, "strict": True}},
        {"toolSpec": {"name": "g", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
    ]
    assert said.get("toolChoice") == meant


def test_no_tool_may_be_called_where_none_is_offered():
    assert "toolConfig" not in body(tools=TOOLS, tool_choice="none")
    messages = [Message("assistant", [ToolCall("c", "f", "{}")]), Message("tool", [ToolResult("c", "1")])]
    assert refused(tools=TOOLS, tool_choice="none", messages=messages).param == "tool_choice"


def test_arguments_that_a_model_left_unreadable_are_handed_back_all_the_same():
    messages = [Message("assistant", [ToolCall("c", "f", '{"a'), ToolCall("d", "f", "")])]
    [first, second] = body(messages=messages)["messages"][0]["content"]
    assert '{"a' in first["toolUse"]["input"].values()
    assert second["toolUse"]["input"] == {}


def test_structured_output_is_a_schema_as_text():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "schema": schema, "strict": True}}
    [said] = [body(response_format=form)["outputConfig"]["textFormat"]]
    assert said["type"] == "json_schema"
    inner = said["structure"]["jsonSchema"]
    assert (json.loads(inner["schema"]), inner["name"], inner["description"]) == (schema, "n", "d")
    assert "outputConfig" not in body(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("model", "thinking", "fields", "effort"),
    [
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", Thinking(budget=4096), {"thinking": {"type": "enabled", "budget_tokens": 4096}}, None),
        ("anthropic.claude-opus-4-6-v1", Thinking(effort="low"), {"thinking": {"type": "adaptive", "display": "summarized"}}, "low"),
        ("anthropic.claude-opus-4-6-v1", Thinking(effort="none"), {"thinking": {"type": "disabled"}}, None),
        ("amazon.nova-2-lite-v1:0", Thinking(effort="minimal"), {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, None),
        ("amazon.nova-2-lite-v1:0", Thinking(effort="max"), {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}, None),
        ("amazon.nova-2-lite-v1:0", Thinking(budget=0), {"reasoningConfig": {"type": "disabled"}}, None),
        ("openai.gpt-oss-120b-1:0", Thinking(effort="medium"), {"reasoning_effort": "medium"}, None),
        ("qwen.qwen3-32b-v1:0", Thinking(effort="high"), None, "high"),
        ("qwen.qwen3-32b-v1:0", Thinking(effort="none"), None, None),
    ],
)  # fmt: skip
def test_thinking_is_asked_for_in_the_words_of_each_vendor(model, thinking, fields, effort):
    said = body(model, thinking=thinking)
    assert said.get("additionalModelRequestFields") == fields
    assert said.get("outputConfig", {}).get("effort") == effort


def test_options_of_a_client_that_speaks_converse_go_on_and_those_of_others_do_not():
    options = {
        "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
        "additionalModelRequestFields": {"top_k": 3, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        "outputConfig": {"effort": "low"},
        "messages": [],
    }
    said = body(dialect="bedrock", options=options, thinking=Thinking(budget=2000))
    assert said["guardrailConfig"] == options["guardrailConfig"]
    assert said["additionalModelRequestFields"] == options["additionalModelRequestFields"]
    assert said["outputConfig"] == {"effort": "low"}
    assert said["messages"]
    assert body(dialect="openai_chat", options={"seed": 1}) == body()


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": 0}, "logprobs"),
        ({"temperature": 1.5}, "temperature"),
        ({"thinking": Thinking(budget=500)}, None),
        ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"messages": [Message("system", [Text("Only me.")])]}, "messages"),
        ({"messages": [Message("system", [Image(PNG)])]}, "messages[0]"),
        ({"messages": [Message("user", [Image("https://example.com/a.png")])]}, "messages[0]"),
        ({"messages": [Message("user", [Image("data:image/tiff;base64,AAEC")])]}, "messages[0]"),
        ({"messages": [Message("user", [Image("data:image/png;base64,")])]}, "messages[0]"),
        ({"messages": [Message("user", [File(id="file-1")])]}, "messages[0]"),
        ({"messages": [Message("user", [File(url="data:application/zip;base64,AAEC")])]}, "messages[0]"),
        ({"messages": [Message("user", [Audio("AAEC", "midi")])]}, "messages[0]"),
        ({"messages": [Message("user", [ToolCall("c", "f", "{}")])]}, "messages[0]"),
        ({"messages": [Message("assistant", [ToolResult("c", "1")])]}, "messages[0]"),
        ({"dialect": "bedrock", "options": {"outputConfig": 5}}, "outputConfig"),
    ],
)
def test_what_the_protocol_cannot_say_is_refused_and_named(more, param):
    if param is None:
        with pytest.raises(BadRequest, match="budget"):
            question("qwen.qwen3", **more)
    else:
        assert refused(**more).param == param
