"""Requests of Gemini's clients as ours, and ours as Gemini's: what is said arrives, and what cannot be said is refused."""

from __future__ import annotations

import base64
import json

import pytest

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
from tidewire.dialects.base64_words import unwrapped, wrapped
from tidewire.dialects.gemini import Gemini, estimated
from tidewire.dialects.gemini_host import GeminiHost
from tidewire.dialects.gemini_messages import UNSIGNED

PNG = "data:image/png;base64,iVBORw=="
SIGNATURE = base64.b64encode(b"proof").decode()


def parsed(body: object, form: str = "sse", **headers: str) -> Request:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Gemini().at("m", form).parse(raw, headers)[0]


def asked(*messages: Message, model: str = "gemini-2.5-pro", **more) -> dict:
    request = Request(model="x", messages=list(messages), **more)
    return json.loads(GeminiHost().ask(request, model).body)


HI = Message("user", [Text("hi")])
CONTENTS = [{"role": "user", "parts": [{"text": "hi"}]}]


# From Gemini


def test_a_whole_conversation_is_read():
    request = parsed(
        {
            "system_instruction": {"parts": [{"text": "Be kind."}]},
            "contents": [
                {"parts": [{"text": "Look: "}, {"inline_data": {"mime_type": "image/png", "data": "iVBORw"}}]},
                {
                    "role": "model",
                    "parts": [
                        {"text": "hm", "thought": True, "thoughtSignature": SIGNATURE},
                        {"text": "so", "thoughtSignature": SIGNATURE},
                        {"functionCall": {"name": "f", "args": {"é": 1}}, "thoughtSignature": SIGNATURE},
                        {"functionCall": {"name": "f", "args": {}}},
                        {"functionCall": {"name": "g", "id": "own"}},
                    ],
                },
                {
                    "role": "user",
                    "parts": [
                        {"functionResponse": {"name": "f", "response": {"output": "one"}}},
                        {"functionResponse": {"name": "f", "response": {"a": [2]}}},
                        {"functionResponse": {"name": "g", "id": "own", "response": {"error": "no"}}},
                        {"text": "and?"},
                    ],
                },
            ],
        }
    )
    assert request.messages == [
        Message("system", [Text("Be kind.")]),
        Message("user", [Text("Look: "), Image(PNG)]),
        Message(
            "assistant",
            [
                Thought("hm", SIGNATURE),
                Text("so"),
                Thought(signature=SIGNATURE),
                ToolCall("call_0", "f", '{"é":1}', SIGNATURE),
                ToolCall("call_1", "f", "{}"),
                ToolCall("own", "g", "{}"),
            ],
        ),
        Message(
            "tool",
            [
                ToolResult("call_0", "one", name="f"),
                ToolResult("call_1", '{"a":[2]}', name="f"),
                ToolResult("own", "no", failed=True, name="g"),
            ],
        ),
        Message("user", [Text("and?")]),
    ]
    assert request.model == "m"


def test_a_streamed_answer_that_a_chat_kept_chunk_by_chunk_is_one_message():
    chunks = [
        {"text": "First ", "thought": True},
        {"text": "this", "thought": True},
        {"text": "A "},
        {"text": "river"},
        {"text": "", "thoughtSignature": SIGNATURE},
        {"functionCall": {"name": "f"}},
    ]
    contents = [*CONTENTS, *({"role": "model", "parts": [part]} for part in chunks), *CONTENTS]
    said = [Thought("First this"), Text("A river"), Thought(signature=SIGNATURE), ToolCall("call_0", "f", "{}")]
    assert parsed({"contents": contents}).messages == [HI, Message("assistant", said), HI]


def test_media_are_read_by_their_type():
    parts = [
        {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "AAAA", "displayName": "a.pdf"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "gs://b/a.png"}},
        {"fileData": {"fileUri": "https://x.example/files/1"}},
    ]
    assert parsed({"contents": [{"parts": parts}]}).messages[0].content == [
        Audio("AAAA", "wav"),
        File(url="data:application/pdf;base64,AAAA", name="a.pdf"),
        Image("gs://b/a.png"),
        File(url="https://x.example/files/1"),
    ]


def test_settings_of_generation_are_read_and_what_is_googles_own_is_kept_for_it():
    request = parsed(
        {
            "contents": CONTENTS,
            "safetySettings": [{"category": "X"}],
            "tools": [{"function_declarations": [{"name": "f"}]}, {"googleSearch": {}}],
            "toolConfig": {
                "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]},
                "retrievalConfig": {"languageCode": "de"},
            },
            "generationConfig": {
                "maxOutputTokens": 9,
                "temperature": 0.5,
                "topP": 0.9,
                "topK": 3,
                "stop_sequences": ["END"],
                "candidateCount": 2,
                "responseLogprobs": True,
                "logprobs": 3,
                "thinkingConfig": {"thinkingBudget": 512, "includeThoughts": True},
            },
        }
    )
    assert (request.max_tokens, request.temperature, request.top_p, request.stop) == (9, 0.5, 0.9, ["END"])
    assert (request.n, request.logprobs, request.thinking) == (2, 3, Thinking(budget=512))
    assert request.tools == [Tool("f")]
    assert request.tool_choice == {"type": "function", "function": {"name": "f"}}
    assert request.options == {
        "safetySettings": [{"category": "X"}],
        "tools": [{"googleSearch": {}}],
        "toolConfig": {"retrievalConfig": {"languageCode": "de"}},
        "generationConfig": {"topK": 3},
    }


SCHEMA = {
    "type": "OBJECT",
    "properties": {
        "name": {"type": "STRING", "nullable": True, "enum": ["a", "b"], "format": "enum"},
        "format": {"type": "ARRAY", "items": {"type": "INTEGER", "format": "int32"}, "maxItems": "4"},
        "any": {"anyOf": [{"type": "NUMBER"}], "nullable": True},
    },
    "propertyOrdering": ["name"],
    "required": ["name"],
}
PLAIN = {
    "type": "object",
    "properties": {
        "name": {"type": ["string", "null"], "enum": ["a", "b", None]},
        "format": {"type": "array", "items": {"type": "integer", "format": "int32"}, "maxItems": 4},
        "any": {"anyOf": [{"type": "number"}, {"type": "null"}]},
    },
    "required": ["name"],
}


def test_a_schema_of_googles_becomes_a_json_schema():
    config = {"responseMimeType": "application/json", "responseSchema": SCHEMA}
    asked_for = parsed({"contents": CONTENTS, "generationConfig": config}).response_format
    assert asked_for == {
        "type": "json_schema",
        "json_schema": {"name": "response", "schema": PLAIN, "strict": True},
    }
    declared = [{"functionDeclarations": [{"name": "f", "description": "d", "parameters": SCHEMA}]}]
    assert parsed({"contents": CONTENTS, "tools": declared}).tools == [Tool("f", "d", PLAIN)]


@pytest.mark.parametrize(
    ("config", "asked_for", "kept"),
    [
        ({"responseMimeType": "application/json"}, {"type": "json_object"}, {}),
        ({"responseMimeType": "text/plain"}, None, {}),
        (
            {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING"}},
            None,
            {"generationConfig": {"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING"}}},
        ),
    ],
)
def test_formats_of_an_answer(config, asked_for, kept):
    request = parsed({"contents": CONTENTS, "generationConfig": config})
    assert (request.response_format, request.options) == (asked_for, kept)


@pytest.mark.parametrize(
    ("given", "thinking"),
    [
        ({"thinkingBudget": 0}, Thinking(effort="none", budget=0, show=False)),
        ({"thinkingLevel": "HIGH", "includeThoughts": True}, Thinking(effort="high")),
        ({"thinkingBudget": -1}, Thinking(show=False)),
    ],
)
def test_how_much_to_think(given, thinking):
    assert parsed({"contents": CONTENTS, "generationConfig": {"thinkingConfig": given}}).thinking == thinking


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"[]", None),
        (b"{", None),
        ({}, "contents"),
        ({"contents": []}, "contents"),
        ({"contents": {}}, "contents"),
        ({"contents": ["hi"]}, "contents[0]"),
        ({"contents": [{"role": "robot", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"parts": 5}]}, "contents[0].parts"),
        ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"executableCode": {"code": "1"}}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"fileData": {"fileUri": "x"}, "videoMetadata": {}}]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"functionCall": {"args": {}}}]}]}, "contents[0].parts[0].functionCall"),
        ({"contents": [{"parts": [{"functionCall": {"name": "f", "args": []}}]}]}, "contents[0].parts[0].functionCall"),
        ({"contents": [{"parts": [{"inlineData": {"data": 5}}]}]}, "contents[0].parts[0].inlineData"),
        ({"contents": CONTENTS, "tools": {}}, "tools"),
        ({"contents": CONTENTS, "tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
        ({"contents": CONTENTS, "generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens"),
        ({"contents": CONTENTS, "generationConfig": {"candidateCount": 99}}, "generationConfig.candidateCount"),
        (
            {"contents": CONTENTS, "generationConfig": {"thinkingConfig": {"thinkingBudget": "x"}}},
            "generationConfig.thinkingConfig",
        ),
        (
            {"contents": CONTENTS, "toolConfig": {"functionCallingConfig": {"mode": "SOME"}}},
            "toolConfig.functionCallingConfig.mode",
        ),
        ({"contents": CONTENTS, "systemInstruction": {"parts": [{"inlineData": {}}]}}, "systemInstruction.parts[0]"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_its_place(body, param):
    with pytest.raises(BadRequest) as caught:
        parsed(body)
    assert caught.value.param == param


def test_a_schema_that_is_nested_without_end_is_refused():
    deep: dict = {"type": "STRING"}
    for _ in range(200):
        deep = {"type": "ARRAY", "items": deep}
    with pytest.raises(BadRequest, match="levels deep"):
        parsed({"contents": CONTENTS, "generationConfig": {"responseSchema": deep}})


# To Gemini


def test_a_whole_conversation_is_written():
    body = asked(
        Message("system", [Text("Be kind.")]),
        Message("user", [Text("Look: "), Image(PNG, detail="high")]),
        Message(
            "assistant",
            [
                Thought("not proven"),
                Thought("hm", SIGNATURE),
                Text("so"),
                Thought(signature=SIGNATURE),
                ToolCall("c1", "f", '{"é":1}', SIGNATURE),
                ToolCall("c2", "g", ""),
            ],
        ),
        Message("tool", [ToolResult("c1", '{"a":2}')]),
        Message("tool", [ToolResult("c2", "it broke", failed=True, images=[Image(PNG)])]),
        Message("system", [Text("Be brief.")]),
        Message("user", [Text("and?")]),
    )
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}
    assert body == {
        "systemInstruction": {"parts": [{"text": "Be kind."}, {"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Look: "}, image]},
            {
                "role": "model",
                "parts": [
                    {"text": "hm", "thought": True, "thoughtSignature": SIGNATURE},
                    {"text": "so"},
                    {"text": "", "thoughtSignature": SIGNATURE},
                    {"functionCall": {"name": "f", "args": {"é": 1}, "id": "c1"}, "thoughtSignature": SIGNATURE},
                    {"functionCall": {"name": "g", "args": {}, "id": "c2"}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "f", "response": {"a": 2}, "id": "c1"}},
                    {
                        "functionResponse": {
                            "name": "g",
                            "response": {"error": "it broke"},
                            "id": "c2",
                            "parts": [image],
                        }
                    },
                    {"text": "and?"},
                ],
            },
        ],
    }


def test_media_are_written_inside_or_by_address():
    body = asked(
        Message(
            "user",
            [
                Audio("AAAA", "mp3"),
                File(url="data:text/plain,a%20b"),
                File(url="https://x.example/a.PDF?v=1"),
                File(id="files/abc", name="notes.md"),
                Image("gs://bucket/a"),
            ],
        )
    )
    assert body["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "audio/mp3", "data": "AAAA"}},
        {"inlineData": {"mimeType": "text/plain", "data": base64.b64encode(b"a b").decode()}},
        {"fileData": {"fileUri": "https://x.example/a.PDF?v=1", "mimeType": "application/pdf"}},
        {
            "fileData": {
                "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc",
                "mimeType": "text/markdown",
            }
        },
        {"fileData": {"fileUri": "gs://bucket/a"}},
    ]


def test_limits_formats_tools_and_googles_own_options_are_written():
    schema = {"type": "object"}
    body = asked(
        HI,
        dialect="gemini",
        tools=[Tool("f", "d", schema, strict=True)],
        tool_choice="required",
        max_tokens=5,
        temperature=0.0,
        top_p=0.5,
        stop=list("abcdefg"),
        n=2,
        logprobs=2,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        options={
            "cachedContent": "c/1",
            "tools": [{"googleSearch": {}}],
            "toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}},
            "generationConfig": {"topK": 1},
        },
    )
    assert body == {
        "cachedContent": "c/1",
        "contents": CONTENTS,
        "tools": [
            {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": schema}]},
            {"googleSearch": {}},
        ],
        "toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True, "mode": "ANY"}},
        "generationConfig": {
            "topK": 1,
            "maxOutputTokens": 5,
            "temperature": 0.0,
            "topP": 0.5,
            "stopSequences": list("abcde"),
            "candidateCount": 2,
            "responseLogprobs": True,
            "logprobs": 2,
            "responseMimeType": "application/json",
            "responseJsonSchema": schema,
        },
    }


def test_options_of_another_dialect_stay_behind():
    assert asked(HI, dialect="openai_chat", options={"seed": 1}) == {"contents": CONTENTS}


@pytest.mark.parametrize(
    ("model", "thinking", "config"),
    [
        ("gemini-2.5-flash", Thinking(effort="low"), {"includeThoughts": True, "thinkingBudget": 1024}),
        (
            "gemini-3-pro-preview",
            Thinking(effort="high", show=False),
            {"includeThoughts": False, "thinkingLevel": "high"},
        ),
        ("gemini-flash-latest", Thinking(effort="max"), {"includeThoughts": True, "thinkingLevel": "high"}),
        ("gemini-2.5-flash", Thinking(effort="none"), {"includeThoughts": False, "thinkingBudget": 0}),
        ("gemini-3-pro", Thinking(effort="low", budget=77), {"includeThoughts": True, "thinkingBudget": 77}),
        ("gemini-3-pro", Thinking(), {"includeThoughts": True}),
    ],
)
def test_an_effort_is_what_the_model_knows(model, thinking, config):
    assert asked(HI, model=model, thinking=thinking)["generationConfig"] == {"thinkingConfig": config}


def test_as_much_thinking_as_it_likes_arrives_as_it_was_asked_for():
    request = parsed({"contents": CONTENTS, "generationConfig": {"thinkingConfig": {"thinkingBudget": -1}}})
    body = json.loads(GeminiHost().ask(request, "gemini-2.5-flash-lite").body)
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingBudget": -1, "includeThoughts": False}


def test_calls_of_other_models_get_a_signature_where_one_is_required():
    history = [
        HI,
        Message("assistant", [ToolCall("a", "f", "{}"), ToolCall("b", "f", "{}")]),
        Message("tool", [ToolResult("a", "1"), ToolResult("b", "2")]),
    ]
    parts = asked(*history, model="gemini-3-flash")["contents"][1]["parts"]
    assert [p.get("thoughtSignature") for p in parts] == [UNSIGNED, None]
    parts = asked(*history, model="gemini-2.5-flash")["contents"][1]["parts"]
    assert [p.get("thoughtSignature") for p in parts] == [None, None]


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ({"type": "function", "function": {"name": "f"}}, {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            {"mode": "VALIDATED", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_a_choice_of_tools_goes_both_ways(choice, config):
    assert asked(HI, tool_choice=choice)["toolConfig"] == {"functionCallingConfig": config}
    assert parsed({"contents": CONTENTS, "toolConfig": {"functionCallingConfig": config}}).tool_choice == choice


@pytest.mark.parametrize(
    ("messages", "more", "param"),
    [
        ([Message("system", [Text("x")])], {}, "messages"),
        ([HI], {"tool_choice": {"type": "custom"}}, "tool_choice"),
        ([HI], {"response_format": {"type": "grammar"}}, "response_format"),
        ([HI], {"logprobs": 21}, "logprobs"),
        ([HI], {"thinking": Thinking(effort="colossal")}, "thinking.effort"),
        ([HI], {"options": {"generationConfig": 5}}, "options.generationConfig"),
        ([Message("assistant", [ToolCall("a", "f", "[1]")])], {}, "messages[0]"),
        ([Message("assistant", [ToolCall("a", "f", "{")])], {}, "messages[0]"),
        ([Message("tool", [ToolResult("nobody", "x")])], {}, "messages[0]"),
        ([Message("user", [Image("data:image/png")])], {}, "messages[0]"),
        ([Message("user", [File(name="x")])], {}, "messages[0]"),
    ],
)
def test_what_gemini_has_no_word_for_is_refused(messages, more, param):
    with pytest.raises(BadRequest) as caught:
        asked(*messages, **more)
    assert caught.value.param == param


# Both ways


def test_what_a_client_says_reaches_a_gemini_host_as_it_was_said():
    body = {
        "systemInstruction": {"parts": [{"text": "Be kind."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "hi"}]},
            {
                "role": "model",
                "parts": [
                    {"text": "", "thoughtSignature": SIGNATURE},
                    {"functionCall": {"name": "f", "args": {"a": 1}, "id": "c"}, "thoughtSignature": SIGNATURE},
                ],
            },
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "x"}, "id": "c"}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
        "generationConfig": {"maxOutputTokens": 3, "responseMimeType": "application/json", "seed": 4},
        "safetySettings": [],
    }
    assert json.loads(GeminiHost().ask(parsed(body), "gemini-3-pro").body) == body


@pytest.mark.parametrize("signature", [SIGNATURE, "no base64!", "gAAAAABo-_x=", "a", "ü", ""])
def test_a_signature_survives_clients_that_write_base64_in_the_other_alphabet(signature):
    sent = wrapped(signature)
    back = base64.urlsafe_b64encode(base64.b64decode(sent, validate=True)).decode()
    assert unwrapped(back) == signature


def test_an_estimate_counts_text_calls_tools_and_media():
    messages = [Message("user", [Text("a" * 40), Image(PNG)]), Message("assistant", [ToolCall("c", "ffff", "{}")])]
    assert estimated(messages, []) == (40 + 6 + 3) // 4 + 258
    assert estimated(messages, [Tool("t" * 400)]) > estimated(messages, []) + 100
    counted = Gemini().at("m", "whole")
    plain = {"contents": CONTENTS}
    wrapped_up = {"generateContentRequest": {"model": "models/m"} | plain}
    assert counted.count(json.dumps(plain).encode(), {}) == counted.count(json.dumps(wrapped_up).encode(), {}) == 1
