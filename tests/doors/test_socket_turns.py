"""Tool results over a socket: spec/PROTOCOL.md, section 6, `continue`."""

import pytest

from doors import test_websocket
from doors.test_websocket import opened
from tidewire.core.events import Closed, Delta, Edit, NewEntry, PartEnded, PartStarted, Signature, encode
from tidewire.core.request import Request, Text, Thought, Tool, ToolCall, ToolResult
from tidewire.core.said import Said
from tidewire.doors.turns import KEPT, Turns

served = test_websocket.served
socket = test_websocket.socket
TOOLS = [{"name": "clock", "parameters": {"type": "object"}}, {"name": "weather"}]
ASKS = "sim: tokens=2 ttft_ms=0 interval_ms=0 tool=clock,weather"


async def asked(socket, name="a", said=ASKS):
    """A stream that ended with tool calls, and their ids."""
    await socket.start(name, said, tools=TOOLS)
    await socket.done(name)
    events = socket.events(name)
    return socket.stream(name), [e["call"] for e in events if e.get("kind") == "tool_call"]


async def test_results_continue_the_answer_in_a_stream_of_its_own(served, socket):
    stream, calls = await asked(socket)
    assert len(calls) == 2
    results = [{"call": call, "text": f"result of {call}"} for call in calls]
    await socket.say(do="start", id="b", **{"continue": stream}, results=results)
    await socket.done("b")
    events = socket.events("b")
    assert events[0]["stream"] != stream
    assert (events[-1]["status"], events[-1]["reason"]) == (
        "completed",
        "stop",
    )  # the model has read them, and asks for no more
    await socket.say(do="start", id="c", **{"continue": socket.stream("b")}, results=[])
    assert "asks for no tool" in (await socket.error())["message"]


async def test_a_stream_may_be_continued_more_than_once(served, socket):
    stream, calls = await asked(socket)
    for name in ("b", "c"):
        await socket.say(do="start", id=name, **{"continue": stream}, results=[{"call": c, "text": "x"} for c in calls])
        await socket.done(name)
    assert socket.stream("b") != socket.stream("c")


async def test_results_of_a_session_are_added_to_it_once(served, socket):
    await socket.start("a", ASKS, tools=TOOLS, chat="c1", session=True)
    await socket.done("a")
    calls = [e["call"] for e in socket.events("a") if e.get("kind") == "tool_call"]
    results = [{"call": call, "text": "found"} for call in calls]
    await socket.say(do="start", id="b", **{"continue": socket.stream("a")}, results=results)
    await socket.done("b")
    assert socket.events("b")[-1]["reason"] == "stop"
    session = await served.house.sessions.session("default", "", "c1")
    assert [[m.role for m in turn.asked] for turn in session.turns] == [["user"], ["tool"]]


@pytest.mark.parametrize("change", ["none", "missing", "unknown", "twice"])
async def test_results_that_do_not_fit_the_calls_are_refused(served, socket, change):
    stream, calls = await asked(socket)
    given = {"none": [], "missing": calls[:1], "unknown": [*calls, "other"], "twice": [*calls, calls[0]]}[change]
    await socket.say(do="start", id="b", **{"continue": stream}, results=[{"call": c, "text": ""} for c in given])
    error = await socket.error()
    assert (error["status"], error["param"]) == (400, "results")
    assert all(call in error["message"] for call in calls)


async def test_another_socket_does_not_know_the_request(served, socket):
    stream, calls = await asked(socket)
    async with opened(served) as other:
        await other.say(do="start", id="b", **{"continue": stream}, results=[{"call": c, "text": ""} for c in calls])
        assert (await other.error())["code"] == "unknown_turn"


async def test_a_stream_that_still_runs_is_not_continued(served, socket):
    await socket.start("a", "sim: tokens=100000 ttft_ms=0 interval_ms=2", tools=TOOLS)
    await socket.until(lambda f: f.get("event", {}).get("type") == "delta")
    await socket.say(do="start", id="b", **{"continue": socket.stream("a")}, results=[])
    assert (await socket.error())["status"] == 409


async def test_a_request_and_a_continuation_at_once_are_refused(served, socket):
    stream, _ = await asked(socket)
    await socket.say(do="start", id="b", **{"continue": stream}, request={"model": "simulated", "input": "hi"})
    assert (await socket.error())["param"] == "request"


def test_a_log_becomes_the_messages_that_it_adds():
    events = [
        PartStarted(part=0, kind="thinking"),
        Delta(part=0, text="hm"),
        Signature(part=0, value="proof"),
        PartEnded(part=0),
        PartStarted(part=1, kind="text"),
        Delta(part=1, text="Let me "),
        Delta(part=1, text="sea"),
        Edit(part=1, start=7, end=10, text="see"),
        PartEnded(part=1),
        PartStarted(part=2, kind="server_call", name="clock", call="c1"),
        Delta(part=2, text="{}"),
        PartStarted(part=3, kind="tool_result", name="clock", call="c1"),
        Delta(part=3, text="noon"),
        PartStarted(part=4, kind="tool_call", name="weather", call="c2"),
        Delta(part=4, text='{"city":"Oslo"}'),
        Closed(status="completed", reason="tool_calls"),
    ]
    said = Said()
    said.feed([NewEntry(seq, encode(event), event) for seq, event in enumerate(events, 1)])
    assert said.open == {"c2"}
    assert [(m.role, m.content) for m in said.messages()] == [
        (
            "assistant",
            [
                Thought(text="hm", signature="proof"),
                Text("Let me see"),
                ToolCall(call="c1", name="clock", arguments="{}"),
            ],
        ),
        ("tool", [ToolResult(call="c1", text="noon", name="clock")]),
        ("assistant", [ToolCall(call="c2", name="weather", arguments='{"city":"Oslo"}')]),
    ]


def test_a_socket_remembers_so_many_requests_and_so_many_bytes():
    turns = Turns(10_000)
    request = Request(model="m", messages=[], tools=[Tool(name="t")])
    for i in range(100):
        turns.keep("default", f"s{i}", request)
    assert len(turns._kept) == KEPT
    turns.keep("default", "large", Request(model="m" * 9_930, messages=[], tools=[Tool(name="t")]))
    assert list(turns._kept) == [("default", "large")]
    turns.keep("default", "without tools", Request(model="m", messages=[]))
    assert list(turns._kept) == [("default", "large")]
