"""The AI SDK's own client code, unmodified, against a running server: what `useChat` does, without the browser."""

from __future__ import annotations

from pathlib import Path

import pytest

from end_to_end.conftest import played
from serving import serving
from tidewire.server.tools_settings import Tools
from upstream import Halves, Upstream

HERE = Path(__file__).parent / "ai_sdk"


@pytest.fixture
def play(npm_packages, talk):
    npm_packages(HERE)
    return lambda scenario: talk(HERE, scenario)


def words(message) -> str:
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


async def test_a_message_streams_into_use_chat(play):
    seen = await play("streams")
    assert seen["kinds"][:2] == ["start", "start-step"]
    assert seen["kinds"][-3:] == ["message-metadata", "finish-step", "finish"]
    assert words(seen["message"]) == seen["said"]
    assert seen["said"].startswith("A river")
    assert seen["message"]["metadata"]["usage"]["outputTokens"] == 40


async def test_a_chat_of_two_turns_keeps_its_messages(play):
    seen = await play("chats")
    assert [m["role"] for m in seen["messages"]] == ["user", "assistant", "user", "assistant"]
    first = seen["messages"][1]
    assert [p["type"] for p in first["parts"]] == ["step-start", "reasoning", "text"]
    assert all(p["state"] == "done" for p in first["parts"][1:])
    assert seen["status"] == "ready"
    assert seen["finished"] == {"finishReason": "stop", "isAbort": False, "isError": False}
    assert {part["type"] for part in seen["data"]} == {"data-progress"}


async def test_a_reload_replays_the_running_answer_and_then_there_is_nothing_to_resume(npm_packages, tmp_path):
    npm_packages(HERE)
    async with Upstream(Halves()) as host, serving(tmp_path, hosts={"far": host.url}, default="far/m") as tidewire:
        seen = await played(HERE, tidewire.url, "resumes", host.url)
    assert seen["said"].split() == [f"word{n}" for n in range(80)]
    assert (seen["kinds"][0], seen["kinds"][-1]) == ("start", "finish")
    assert seen["nothing"] is None


async def test_a_broken_connection_is_resumed_at_the_next_chunk(play):
    seen = await play("survives")
    assert len(seen["said"].split()) == 80
    assert seen["kinds"].count("text-start") == seen["kinds"].count("finish") == 1
    assert [call["method"] for call in seen["calls"]] == ["POST", "GET", "GET"]
    assert "startIndex=" in seen["calls"][1]["url"]
    assert seen["ends"][0]["chunkIndex"] == len(seen["kinds"])


async def test_a_negative_start_index_reads_the_tail(play):
    seen = await play("tail")
    assert (
        seen["last"] == seen["all"][-3:]
    )  # of the last four, the client drops the text-end whose start it has not seen
    assert seen["posts"] == 1


async def test_stop_ends_the_answer_and_no_client_reconnects(play):
    seen = await play("stops")
    assert seen["kinds"] == ["finish-step", "abort", "finish"]
    assert seen["calls"] == 1
    assert seen["answer"]["cancelled"]
    assert not seen["again"]["cancelled"]


async def test_a_client_tool_is_called_and_its_result_continues_the_same_message(play):
    seen = await play("calls")
    assert [m["role"] for m in seen["messages"]] == ["user", "assistant"]
    parts = seen["messages"][1]["parts"]
    tool = next(p for p in parts if p["type"] == "tool-weather")
    assert tool["state"] == "output-available"
    assert tool["input"] == {"place": "Paris", "unit": "celsius"}
    assert parts[-1]["type"] == "text"


def weather(place: str, unit: str) -> dict[str, str]:
    """The weather of a place."""
    return {"place": place, "unit": unit, "sky": "clear"}


async def test_a_tool_that_the_server_runs_is_shown_and_the_client_is_not_asked_to(npm_packages, tmp_path):
    npm_packages(HERE)
    async with serving(tmp_path, tools={"weather": Tools(function=f"{__name__}:weather")}) as tidewire:
        seen = await played(HERE, tidewire.url, "served")
    assert (seen["asked"], seen["error"]) == (0, None)
    assert [m["role"] for m in seen["messages"]] == ["user", "assistant", "user", "assistant"]
    parts = seen["messages"][1]["parts"]
    assert [p["type"] for p in parts] == ["step-start", "text", "dynamic-tool", "step-start", "text"]
    tool = parts[2]
    assert (tool["toolName"], tool["state"], tool["providerExecuted"]) == ("weather", "output-available", True)
    assert tool["output"] == {"place": "Paris", "unit": "celsius", "sky": "clear"}


async def test_a_failure_is_shown_and_what_was_said_is_kept(play):
    seen = await play("fails")
    assert seen["midway"]["status"] == "error"
    assert "closed the connection" in seen["midway"]["error"]
    assert any(p["type"] == "text" and p["text"] for p in seen["midway"]["parts"])
    assert seen["refused"]["status"] == "error"
    assert "A-Z a-z 0-9" in seen["refused"]["error"]
