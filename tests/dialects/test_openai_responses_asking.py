"""What a Responses host is asked, whichever dialect the question came in."""

from __future__ import annotations

import json

import pytest
from openai.types.responses import response_create_params as params
from pydantic import TypeAdapter

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
from tidewire.dialects.openai_chat import OpenAIChat
from tidewire.dialects.openai_responses import OpenAIResponses
from tidewire.dialects.openai_responses_host import ResponsesHost

CREATE = TypeAdapter(params.ResponseCreateParamsStreaming)


def asked(host=None, **more) -> dict:
    request = Request(**({"model": "far/m", "messages": [Message("user", [Text("Hello?")])]} | more))
    return body_of(request, host)


def body_of(request: Request, host=None) -> dict:
    question = (host or ResponsesHost()).ask(request, "m")
    assert question.path == "/responses"
    body = json.loads(question.body)
    typed = [item | {"id": "x", "status": "completed"} for item in body["input"]]  # which hosts take without
    for item in typed:
        for part in item.get("content", ()) if item.get("role") == "assistant" else ():
            part["annotations"] = []
    CREATE.validate_python(body | {"input": typed})
    return json.loads(question.body)


def handed_on(**fields) -> dict:
    raw = json.dumps({"model": "m", "input": "Hello?"} | fields).encode()
    return body_of(OpenAIResponses().parse(raw, {})[0])


PLAIN = {
    "model": "m",
    "stream": True,
    "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello?"}]}],
}


def test_a_plain_question_is_an_input_item_and_nothing_else():
    assert asked() == PLAIN


def test_every_kind_of_content_becomes_an_item():
    messages = [
        Message("system", [Text("Be "), Text("brief.")]),
        Message("user", [Text("What"), Image("data:x", "low"), Image("https://x")]),
        Message(
            "user",
            [
                File(id="file_1"),
                File(url="https://x/a.pdf"),
                File(url="data:application/pdf;base64,AA==", name="a.pdf"),
            ],
        ),
        Message(
            "assistant", [Thought("hm", "sealed"), Text("Wait."), ToolCall("c1", "f", "{}"), ToolCall("c2", "g", "{}")]
        ),
        Message("tool", [ToolResult("c1", "42")]),
        Message("tool", [ToolResult("c2", "see", images=[Image("data:y")])]),
        Message(
            "assistant",
            [Thought("", "sealed too", redacted=True), Thought("unsigned"), Image("data:image/png;base64,AA==")],
        ),
        Message("system", [Text("Now in German.")]),
    ]
    body = asked(messages=messages)
    assert body["instructions"] == "Be brief."
    assert body["input"] == [
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What"},
                {"type": "input_image", "image_url": "data:x", "detail": "low"},
                {"type": "input_image", "image_url": "https://x", "detail": "auto"},
            ],
        },
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_file", "file_id": "file_1"},
                {"type": "input_file", "file_url": "https://x/a.pdf"},
                {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="},
            ],
        },
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "sealed"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Wait."}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "42"},
        {
            "type": "function_call_output",
            "call_id": "c2",
            "output": [
                {"type": "input_text", "text": "see"},
                {"type": "input_image", "image_url": "data:y", "detail": "auto"},
            ],
        },
        {"type": "reasoning", "summary": [], "encrypted_content": "sealed too"},
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AA=="},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Now in German."}]},
    ]


def test_limits_take_the_names_of_responses():
    body = asked(max_tokens=5, temperature=0.5, top_p=0.9, stop=["x"])
    assert {k: v for k, v in body.items() if k not in PLAIN} == {
        "max_output_tokens": 5,
        "temperature": 0.5,
        "top_p": 0.9,
    }


def test_tools_and_their_choice_lose_the_wrapping_of_chat_completions():
    tools = [Tool("f", "does", {"type": "object"}, strict=True), Tool("g")]
    body = asked(tools=tools, tool_choice={"type": "function", "function": {"name": "f"}})
    assert body["tools"] == [
        {"type": "function", "name": "f", "description": "does", "parameters": {"type": "object"}, "strict": True},
        {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}, "strict": False},
    ]
    assert body["tool_choice"] == {"type": "function", "name": "f"}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}
    assert asked(tool_choice={"type": "allowed_tools", "allowed_tools": allowed})["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "required",
        "tools": [{"type": "function", "name": "f"}],
    }
    assert asked(tool_choice="required")["tool_choice"] == "required"


def test_a_tool_of_a_responses_client_is_as_strict_as_the_host_likes():
    [tool] = handed_on(tools=[{"type": "function", "name": "f", "parameters": {}}])["tools"]
    assert tool["strict"] is None


def test_tools_that_the_host_runs_come_with_the_options_of_the_native_protocol():
    body = asked(tools=[Tool("f")], options={"tools": [{"type": "web_search"}], "service_tier": "flex"})
    assert [t["type"] for t in body["tools"]] == ["function", "web_search"]
    assert body["service_tier"] == "flex"


def test_the_form_of_the_answer_is_asked_for_under_text():
    schema = {"name": "tide", "schema": {"type": "object"}, "strict": True}
    body = asked(response_format={"type": "json_schema", "json_schema": schema})
    assert body["text"] == {"format": {"type": "json_schema", **schema}}
    assert asked(response_format={"type": "json_object"})["text"] == {"format": {"type": "json_object"}}
    said = {"format": {"type": "json_schema", **schema}, "verbosity": "low"}
    assert handed_on(text=said)["text"] == said


@pytest.mark.parametrize(
    ("thinking", "reasoning"),
    [
        (Thinking(effort="high"), {"effort": "high", "summary": "auto"}),
        (Thinking(effort="low", show=False), {"effort": "low"}),
        (Thinking(budget=0), {"effort": "none"}),
        (Thinking(budget=1024), {"effort": "low", "summary": "auto"}),
        (Thinking(budget=10_000), {"effort": "medium", "summary": "auto"}),
        (Thinking(budget=50_000), {"effort": "high", "summary": "auto"}),
        (Thinking(), {"summary": "auto"}),
    ],
)
def test_thinking_is_asked_for_in_words(thinking, reasoning):
    assert asked(thinking=thinking)["reasoning"] == reasoning


def test_what_a_responses_client_says_of_its_thoughts_is_handed_on_as_it_is():
    assert handed_on(reasoning={"effort": "low", "summary": "detailed"})["reasoning"] == {
        "effort": "low",
        "summary": "detailed",
    }
    assert handed_on(reasoning={"effort": "low"})["reasoning"] == {"effort": "low"}


def test_a_responses_client_is_handed_on_word_for_word():
    fields = {
        "metadata": {"k": "v"},
        "parallel_tool_calls": False,
        "truncation": "auto",
        "max_tool_calls": 3,
        "user": "u",
        "prompt_cache_key": "p",
        "service_tier": "flex",
        "include": ["file_search_call.results"],
    }
    body = handed_on(**fields)
    assert {k: v for k, v in body.items() if k not in PLAIN} == fields


def test_what_the_host_does_not_store_it_seals_for_the_client():
    body = handed_on(store=False)
    assert body["store"] is False
    assert body["include"] == ["reasoning.encrypted_content"]
    assert "include" not in handed_on(store=True)


def test_log_probabilities_are_included():
    assert asked(logprobs=0)["include"] == ["message.output_text.logprobs"]
    body = asked(logprobs=3)
    assert (body["include"], body["top_logprobs"]) == (["message.output_text.logprobs"], 3)


def test_fields_of_chat_completions_are_said_in_the_words_of_responses():
    raw = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello?"}],
        "reasoning_effort": "low",
        "verbosity": "high",
        "service_tier": "flex",
        "max_completion_tokens": 9,
        "seed": 7,
    }
    body = body_of(OpenAIChat().parse(json.dumps(raw).encode(), {})[0])
    assert body["reasoning"] == {"effort": "low"}
    assert (body["text"], body["service_tier"], body["max_output_tokens"]) == ({"verbosity": "high"}, "flex", 9)
    assert "seed" not in body


def test_the_earlier_response_at_the_host_is_an_option():
    assert asked(options={"previous_response_id": "resp_1"})["previous_response_id"] == "resp_1"


def test_the_background_is_asked_for_by_setting_by_option_and_by_field():
    for body in (
        asked(ResponsesHost(background=True)),
        asked(options={"background": True}),
        handed_on(background=True),
    ):
        assert (body["background"], body["store"]) == (True, True)
    assert "background" not in asked(options={"background": False})


def test_paths_of_an_answer_in_the_background_hold_no_stray_characters():
    host = ResponsesHost()
    assert host.rest("resp_1", 7) == "/responses/resp_1?stream=true&starting_after=7"
    assert host.stop("a/../b?c") == "/responses/a%2F..%2Fb%3Fc/cancel"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"messages": [Message("user", [Audio("AA==", "wav")])]}, "messages[0].content"),
        ({"messages": [Message("user", [File()])]}, "messages[0].content"),
        ({"messages": [Message("assistant", [Image("https://x")])]}, "messages[0].content"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"options": {"background": True, "store": False}}, "store"),
    ],
)
def test_what_responses_cannot_say_is_refused_by_name(fields, param):
    with pytest.raises(BadRequest) as caught:
        asked(**fields)
    assert (caught.value.kind, caught.value.param) == ("unsupported_value", param)
