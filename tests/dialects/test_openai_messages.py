"""What a Chat Completions message may hold, read and written: pictures, sound, documents, thoughts, calls and their answers."""

from __future__ import annotations

import pytest

from tidewire.core.errors import BadRequest
from tidewire.core.request import Audio, File, Image, Message, Text, Thought, ToolCall, ToolResult
from tidewire.dialects.openai_messages import read_messages, write_messages

SIGNED = {"google": {"thought_signature": "c2ln"}}


@pytest.mark.parametrize(
    "said",
    [
        {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "high"}}]},
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]},
        {"role": "assistant", "content": "So.", "reasoning_content": "Hm."},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}, "extra_content": SIGNED}]},
        {"role": "tool", "tool_call_id": "c", "content": "42"},
        {"role": "user", "content": "Hi", "name": "ada"},
    ],
)  # fmt: skip
def test_a_message_is_read_and_written_the_same(said):
    assert write_messages(read_messages([said])) == [said]


def test_each_kind_of_content_has_its_struct():
    [message] = read_messages(
        [
            {
                "role": "assistant",
                "reasoning": "Hm.",
                "content": [{"type": "refusal", "refusal": "No"}, {"type": "text", "text": "."}],
                "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}, "extra_content": SIGNED}],
            }
        ]
    )
    call = ToolCall("c", "f", '{"a":1}', signature="c2ln")
    assert message.content == [Thought("Hm."), Text("No"), Text("."), call]


def test_a_refusal_handed_back_is_text():
    [message] = read_messages([{"role": "assistant", "content": None, "refusal": "I cannot."}])
    assert message.content == [Text("I cannot.")]


def test_the_older_form_of_calls_and_their_answers_is_read():
    call, result = read_messages(
        [
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "42"},
        ]
    )
    assert call.content == [ToolCall("f", "f", "{}")]
    assert result.content == [ToolResult("f", "42", name="f")]


def test_a_picture_in_a_tools_answer_is_kept_and_stands_behind_the_result():
    part = {"type": "image_url", "image_url": {"url": "data:x"}}
    messages = read_messages(
        [{"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "see"}, part]}]
    )
    assert messages[0].content == [ToolResult("c", "see", images=[Image("data:x")])]
    result, behind = write_messages(messages)
    assert (result["role"], result["content"]) == ("tool", "see")
    assert behind["role"] == "user"
    assert {"type": "image_url", "image_url": {"url": "data:x"}} in behind["content"]


def test_a_document_by_its_address_cannot_be_said():
    with pytest.raises(BadRequest, match="data: URL"):
        write_messages([Message("user", [File(url="https://example.com/a.pdf")])])


def test_several_answers_of_tools_in_one_message_are_one_message_each():
    message = Message("user", [ToolResult("a", "1"), ToolResult("b", "2"), Text("Well?")])
    assert [m["role"] for m in write_messages([message])] == ["tool", "tool", "user"]


def test_sound_and_words_stand_in_their_order():
    [said] = write_messages([Message("user", [Text("Listen:"), Audio("AA", "mp3"), File(id="file-1")])])
    assert [part["type"] for part in said["content"]] == ["text", "input_audio", "file"]


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": "AA"}]}, "messages[0].content[0].input_audio"),
        ({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA"}}]}, "messages[0].content[0].input_audio"),
        ({"role": "user", "content": [{"type": "file", "file": {}}]}, "messages[0].content[0].file"),
        ({"role": "user", "content": [{"type": "file", "file": {"file_id": 5}}]}, "messages[0].content[0].file"),
        ({"role": "user", "content": [{"type": "video_url"}]}, "messages[0].content[0].type"),
        ({"role": "assistant", "audio": {"id": "audio_1"}}, "messages[0].audio"),
        ({"role": "assistant", "tool_calls": [{"function": 5}]}, "messages[0].tool_calls"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_where_it_stands(said, param):
    with pytest.raises(BadRequest) as caught:
        read_messages([said])
    assert caught.value.param == param
