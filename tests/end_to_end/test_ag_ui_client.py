"""The HttpAgent of @ag-ui/client, unmodified, against a running server."""

from __future__ import annotations

from pathlib import Path

import pytest

from end_to_end.conftest import played
from serving import serving
from tidewire.routing.cascade_plan import CascadePlan, Member
from upstream import Upstream, says

HERE = Path(__file__).parent / "ag_ui"


@pytest.fixture
def play(npm_packages, talk):
    npm_packages(HERE)
    return lambda scenario: talk(HERE, scenario)


async def test_a_run_streams_into_the_agent(play):
    seen = await play("streams")
    assert seen["kinds"][0] == "RUN_STARTED"
    assert seen["kinds"][-2:] == ["TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert seen["kinds"].count("TEXT_MESSAGE_CONTENT") == 40
    started, finished = seen["events"]
    assert (started["threadId"], started["runId"]) == ("thread-1", "run-1")
    assert finished["outcome"] == {"type": "success"}
    assert finished["usage"][0]["outputTokens"] == 40
    assert seen["result"] == {"status": "completed", "reason": "stop", "ttft": seen["result"]["ttft"]}
    [message] = seen["newMessages"]
    assert message["role"] == "assistant"
    assert message["content"].startswith("A river")


async def test_a_chat_of_two_runs_keeps_its_messages_and_thoughts(play):
    seen = await play("chats")
    assert seen["roles"] == ["user", "reasoning", "assistant", "user", "assistant"]
    assert seen["messages"][1]["content"].startswith("First the")
    assert seen["fresh"] == 1


async def test_tools_are_called_in_one_message_and_their_results_go_on(play):
    seen = await play("calls")
    [asked] = seen["asked"]
    assert [c["function"]["name"] for c in asked["toolCalls"]] == ["weather", "tides"]
    assert seen["outcome"]["pendingToolCallIds"] == [c["id"] for c in asked["toolCalls"]]
    assert seen["roles"] == ["user", "assistant", "tool", "tool", "assistant"]
    assert "RUN_FINISHED" in seen["kinds"]


async def test_a_text_that_is_bettered_is_replaced_where_the_app_takes_edits(tmp_path, npm_packages):
    npm_packages(HERE)
    draft, better = "I'm not sure. The river is the Tibre.", "The river is the Tiber."
    members = {"draft": Member(model="small/m"), "refine": Member(model="big/m")}
    async with Upstream(says(draft)) as small, Upstream(says(better)) as big:
        hosts = {"small": small.url + "/v1", "big": big.url + "/v1"}
        async with serving(tmp_path, hosts=hosts, cascades={"sharp": CascadePlan(**members)}) as served:
            seen = await played(HERE, served.url, "edits")
    assert seen["kinds"].count("MESSAGES_SNAPSHOT") == 1
    assert seen["first"] == better
    assert len(seen["ids"]) == len(set(seen["ids"])) == 4
    assert seen["last"]["content"] == better
    assert small.calls[1].json["messages"][1] == {"role": "assistant", "content": better}


async def test_a_failure_is_told_wherever_it_happens(play):
    seen = await play("fails")
    last = seen["midway"]["last"]
    assert (last["type"], last["code"]) == ("RUN_ERROR", "upstream_cut")
    assert seen["midway"]["messages"][-1]["content"]
    assert (seen["before"]["type"], seen["before"]["code"]) == ("RUN_ERROR", "upstream_rate_limited")
    assert seen["before"]["metadata"]["status"] == 429
    assert seen["refused"]["status"] == 400
    assert seen["refused"]["payload"]["metadata"]["param"] == "forwardedProps.maxTokens"


async def test_leaving_stops_the_run_where_the_client_says_so(play):
    seen = await play("stops")
    assert len(seen["kinds"]) >= 12
    assert seen["last"]["type"] == "RUN_FINISHED"
    assert seen["last"]["outcome"] == {"type": "cancelled"}


async def test_a_run_is_cancelled_by_the_native_route(play):
    seen = await play("cancels")
    assert seen["last"]["outcome"] == {"type": "cancelled"}
    assert "thrown" not in seen


async def test_a_lost_run_is_read_again_from_its_first_event_or_behind_a_cursor(play):
    seen = await play("resumes")
    assert seen["kinds"][0] == "RUN_STARTED"
    assert seen["kinds"].count("TEXT_MESSAGE_CONTENT") == 80
    assert len(seen["messages"][-1]["content"].split()) == 80
    assert seen["joined"]
    assert (seen["end"], seen["ahead"], seen["missing"]) == (204, 400, 404)
