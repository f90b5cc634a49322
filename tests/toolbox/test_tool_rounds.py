"""Rounds of a model that calls the server's tools: what is said, what is asked again, and how it ends. Time is virtual."""

from __future__ import annotations

import asyncio

import pytest

from tidewire.core import events as ev
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.request import Message, Text, Tool, ToolCall, ToolResult
from tidewire.toolbox.port import ToolFault, ToolOutput
from tidewire.toolbox.unfinished import Unfinished
from toolbox.played_tools import Model, Played, Stage, calls, question, says, virtually


def test_a_call_is_run_and_the_model_is_asked_again_with_its_result() -> None:
    async def work() -> None:
        stage = Stage(Model([*says("Let me see. "), calls("weather", "c1")], says("It is sunny.")), Played())
        cup = await stage.play()
        assert cup.parts() == [
            ("text", "", "Let me see. "),
            ("server_call", "c1", '{"city": "Kiel"}'),
            ("tool_result", "c1", "sunny"),
            ("text", "", "It is sunny."),
        ]
        first, second = stage.model.asked
        assert [tool.name for tool in first.tools] == ["weather"]
        call = ToolCall(call="c1", name="weather", arguments='{"city": "Kiel"}')
        assert second.messages[1:] == [
            Message(role="assistant", content=[Text("Let me see. "), call]),
            Message(role="tool", content=[ToolResult(call="c1", text="sunny", name="weather")]),
        ]
        assert [a.reason for a in cup.all(ev.Attempt)] == ["start", "tools"]
        assert cup.all(ev.Usage)[-1].input == 20
        assert cup.all(ev.Usage)[-1].output == 10
        assert cup.all(ev.Finish)[0].reason == "stop"
        assert stage.meter.results == {("weather", "ok"): 1}

    virtually(work())


def test_a_call_starts_as_soon_as_its_arguments_are_whole_while_the_model_still_speaks() -> None:
    async def work() -> None:
        stage = Stage(Model([calls("weather", "c1"), 5.0, *says("…")], says("Done.")), Played(takes=1.0))
        cup = await stage.play()
        result = next(i for i, e in enumerate(cup.events) if isinstance(e, ev.PartStarted) and e.kind == "tool_result")
        later = next(i for i, e in enumerate(cup.events) if isinstance(e, ev.Delta) and e.text == "…")
        assert cup.times[result] == 1.0
        assert result < later
        assert cup.times[-1] == 5.0

    virtually(work())


def test_calls_run_beside_each_other_but_no_more_than_allowed() -> None:
    async def work() -> None:
        tool = Played(takes=1.0)
        stage = Stage(Model([calls("weather", f"c{i}") for i in range(6)], says("Done.")), tool, parallel=3)
        cup = await stage.play()
        assert tool.most == 3
        assert cup.times[-1] == 2.0
        assert len(set(tool.keys)) == 6

    virtually(work())


def test_two_rounds_that_number_their_calls_alike_have_two_calls() -> None:
    async def work() -> None:
        tool = Played()
        stage = Stage(Model([calls("weather", "call_0")], [calls("weather", "call_0")], says("Done.")), tool)
        cup = await stage.play()
        assert [p[1] for p in cup.parts() if p[0] == "server_call"] == ["call_0", "call_0_2"]
        assert len(set(tool.keys)) == 2

    virtually(work())


def test_one_id_for_two_calls_of_a_round_is_one_side_effect() -> None:
    async def work() -> None:
        tool = Played()
        stage = Stage(Model([calls("weather", "c"), calls("weather", "c")], says("Done.")), tool)
        cup = await stage.play()
        assert len(tool.begun) == 1
        assert [p[2] for p in cup.parts() if p[0] == "tool_result"] == [
            "the call was not made: the model used its id for another call",
            "sunny",
        ]

    virtually(work())


@pytest.mark.parametrize(
    ("raw", "says_why"),
    [
        ('{"city": ', "its arguments are no JSON"),
        ("[]", "its arguments are no JSON object"),
        ('{"city": 7}', "/city must be text"),
        ("{}", "city"),
        ("[" * 100_000, "its arguments are no JSON"),
    ],
)
def test_arguments_that_do_not_fit_go_back_to_the_model_and_nothing_runs(raw: str, says_why: str) -> None:
    async def work() -> None:
        tool = Played()
        stage = Stage(Model([calls("weather", "c1", raw=raw)], says("Sorry.")), tool)
        cup = await stage.play()
        assert not tool.begun
        result = stage.model.asked[1].messages[-1].content[0]
        assert result.failed
        assert says_why in result.text
        assert next(e for e in cup.all(ev.PartStarted) if e.kind == "tool_result").failed
        assert stage.meter.results == {("weather", "refused"): 1}

    virtually(work())


def test_a_tool_that_the_client_has_under_the_same_name_is_the_clients() -> None:
    async def work() -> None:
        tool = Played()
        stage = Stage(Model([calls("weather", "c1")]), tool, Played("time"))
        cup = await stage.play(tools=[Tool(name="weather", description="mine")])
        assert [p[0] for p in cup.parts()] == ["tool_call"]
        assert cup.all(ev.Finish)[0].reason == "tool_calls"
        assert not tool.begun
        assert [t.description for t in stage.model.asked[0].tools] == ["mine", ""]

    virtually(work())


def test_a_tool_that_nobody_has_is_told_to_the_model_and_not_asked_of_the_client() -> None:
    async def work() -> None:
        stage = Stage(Model([calls("wether", "c1")], says("Sorry.")), Played())
        cup = await stage.play(tools=[Tool(name="mine")])
        assert cup.parts()[1] == (
            "tool_result",
            "c1",
            "the call was not made: there is no tool 'wether'; there are weather",
        )
        assert stage.meter.results == {("unknown", "refused"): 1}

    virtually(work())


@pytest.mark.parametrize("more", [{"n": 2}, {"tool_choice": "none"}])
def test_a_request_that_wants_no_tools_of_the_server_gets_none(more) -> None:
    async def work() -> None:
        stage = Stage(Model(says("Hello.")), Played())
        await stage.play(**more)
        assert stage.model.asked[0].tools == []

    virtually(work())


def test_a_forced_call_is_forced_once() -> None:
    async def work() -> None:
        stage = Stage(Model([calls("weather")], says("Done.")), Played())
        await stage.play(tool_choice="required")
        assert [r.tool_choice for r in stage.model.asked] == ["required", None]

    virtually(work())


def test_a_round_with_calls_for_both_runs_ours_and_leaves_theirs_to_the_client() -> None:
    async def work() -> None:
        stage = Stage(Model([calls("weather", "c1"), calls("pick", "c2")], says("Thanks.")), Played())
        mine = [Tool(name="pick")]
        cup = await stage.play(tools=mine)
        assert [p[:2] for p in cup.parts()] == [("server_call", "c1"), ("tool_call", "c2"), ("tool_result", "c1")]
        assert cup.all(ev.Finish)[0].reason == "tool_calls"
        # The client comes back with what it saw: its own call and the result of it.
        user = question().messages[0]
        pick = ToolCall(call="c2", name="pick", arguments='{"city":"Kiel"}')
        picked = Message(role="tool", content=[ToolResult(call="c2", text="this one")])
        await stage.play(messages=[user, Message(role="assistant", content=[pick]), picked], tools=mine)
        told = stage.model.asked[1].messages
        assert [c.call for c in told[1].content] == ["c1", "c2"]
        assert told[2].content[0].text == "sunny"
        assert told[3] == picked

        # Nobody else's conversation is completed by it.
        await stage.play(messages=[user, Message(role="assistant", content=[pick]), picked], tools=mine, tenant="other")
        assert len(stage.model.asked[2].messages) == 3

    virtually(work())


def test_results_of_earlier_rounds_are_there_when_the_client_comes_back_from_a_call_of_its_own() -> None:
    async def work() -> None:
        stage = Stage(Model([calls("weather", "c1")], [calls("pick", "c2")], says("Thanks.")), Played())
        mine = [Tool(name="pick")]
        cup = await stage.play(tools=mine)
        assert [p[:2] for p in cup.parts()] == [("server_call", "c1"), ("tool_result", "c1"), ("tool_call", "c2")]
        assert cup.all(ev.Finish)[0].reason == "tool_calls"
        user = question().messages[0]
        pick = Message(role="assistant", content=[ToolCall(call="c2", name="pick", arguments="{}")])
        picked = Message(role="tool", content=[ToolResult(call="c2", text="this one")])
        await stage.play(messages=[user, pick, picked], tools=mine)
        told = stage.model.asked[2].messages
        assert [m.role for m in told] == ["user", "assistant", "tool", "assistant", "tool"]
        assert told[2].content[0].text == "sunny"

        # A client that was told of our call sends it back itself: the model finds it once.
        ours = Message(role="assistant", content=[ToolCall(call="c1", name="weather", arguments="{}")])
        shown = [user, ours, Message(role="tool", content=[ToolResult(call="c1", text="sunny")]), pick, picked]
        await stage.play(messages=shown, tools=mine)
        assert stage.model.asked[3].messages == shown

        # A conversation that has asked something else before is another one, though its host numbers calls alike.
        before = Message(role="user", content=[Text("Something else?")])
        await stage.play(messages=[before, user, pick, picked], tools=mine)
        assert [m.role for m in stage.model.asked[4].messages] == ["user", "user", "assistant", "tool"]

    virtually(work())


def test_what_is_kept_of_unfinished_answers_is_bounded() -> None:
    kept = Unfinished(most=2, limit=10_000)
    said = [Message(role="assistant", content=[Text("x" * 100)])]
    for n in range(5):
        kept.keep(question(), [ToolCall(call=f"c{n}", name="pick", arguments="")], said)
    assert len(kept._kept) == 2
    kept.keep(question(), [ToolCall(call="large", name="pick", arguments="")], [question("y" * 10_000).messages[0]])
    assert (len(kept._kept), kept._size) == (0, 0)


def test_a_model_that_never_stops_calling_is_asked_a_last_time_and_then_fails() -> None:
    async def work() -> None:
        tool = Played()
        stage = Stage(Model([calls("weather")]), tool, rounds=2)
        with pytest.raises(UpstreamError) as error:
            await stage.play()
        assert error.value.kind == "upstream_tool_rounds"
        assert error.value.begun
        assert [r.tool_choice for r in stage.model.asked] == [None, None, "none"]
        assert len(tool.begun) == 2
        assert [n.code for n in stage.cup.all(ev.Notice)] == ["tool_rounds"]

    virtually(work())


def test_calls_beyond_the_bound_of_an_answer_are_not_made() -> None:
    async def work() -> None:
        tool = Played()
        stage = Stage(Model([calls("weather", f"c{i}") for i in range(5)], says("Done.")), tool, calls=2)
        cup = await stage.play()
        assert len(tool.begun) == 2
        assert sum("2 calls are allowed" in p[2] for p in cup.parts()) == 3

    virtually(work())


def test_calls_that_come_all_at_once_are_counted_one_by_one() -> None:
    class Host(Model):
        async def answer(self, request, sink) -> None:
            events: list[ev.Event] = []
            if len(request.messages) == 1:
                for part in range(3):
                    events.append(ev.PartStarted(part=part, kind="tool_call", name="weather", call=f"c{part}"))
                    events += [ev.Delta(part=part, text='{"city":"Kiel"}'), ev.PartEnded(part=part)]
            sink.feed([*events, ev.Finish(reason="tool_calls" if events else "stop")])

    async def work() -> None:
        tool = Played()
        await Stage(Host(), tool, calls=2).play()
        assert len(tool.begun) == 2

    virtually(work())


def test_an_answer_cut_by_its_length_is_not_gone_on_with() -> None:
    async def work() -> None:
        stage = Stage(Model([calls("weather", raw='{"ci')], finish="length"), Played())
        cup = await stage.play()
        assert cup.all(ev.Finish)[0].reason == "length"
        assert len(stage.model.asked) == 1

    virtually(work())


REFUSED = UpstreamError("host answered 400: this model does not support tools", upstream_status=400)
UNSAID = BadRequest("Parrot does not know tools; leave it out", code="unsupported_value", param="tools")


@pytest.mark.parametrize("error", [REFUSED, UNSAID])
def test_a_host_that_takes_no_tools_is_asked_without_them_and_the_client_is_told(error) -> None:
    async def work() -> None:
        stage = Stage(Model([error], says("Hello.")), Played())
        cup = await stage.play()
        assert stage.model.asked[1].tools == []
        assert [n.code for n in cup.all(ev.Notice)] == ["tools_refused"]
        assert [a.reason for a in cup.all(ev.Attempt)] == ["start", "retry"]

    virtually(work())


def test_a_host_that_refuses_tools_of_the_client_is_not_asked_without() -> None:
    async def work() -> None:
        stage = Stage(Model([REFUSED], says("Hello.")), Played())
        with pytest.raises(UpstreamError):
            await stage.play(tools=[Tool(name="mine")])

    virtually(work())


def test_a_tool_that_faults_is_tried_again_only_where_that_is_harmless() -> None:
    def flaky():
        tries = []

        async def work(arguments, context):
            tries.append(context.key)
            if len(tries) < 3:
                raise ToolFault("the line broke")
            return ToolOutput("sunny")

        return work, tries

    async def work() -> None:
        once, tries = flaky()
        cup = await Stage(Model([calls("weather")], says("Done.")), Played(work=once, retries=2)).play()
        assert len(tries) == 1
        assert cup.parts()[1][2] == "weather failed: the line broke"
        again, tries = flaky()
        stage = Stage(Model([calls("weather")], says("Done.")), Played(work=again, idempotent=True, retries=2))
        cup = await stage.play()
        assert len(tries) == 3
        assert len(set(tries)) == 1
        assert cup.parts()[1][2] == "sunny"
        assert stage.meter.retries == 2

    virtually(work())


def test_a_tool_that_hangs_ends_at_its_deadline_even_when_it_does_not_let_go() -> None:
    async def hangs(arguments, context):
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            assert context.asked_to_stop()
            await asyncio.sleep(100)

    async def work() -> None:
        stage = Stage(Model([calls("weather")], says("Done.")), Played(work=hangs, timeout=2.0), heartbeat=50)
        cup = await stage.play()
        assert "did not answer within 2 s" in cup.parts()[1][2]
        assert cup.times[-1] == 5.0  # three seconds to let go
        assert stage.meter.results == {("weather", "timeout"): 1}

    async def gentle() -> None:
        tool = Played(takes=60.0, timeout=2.0)
        cup = await Stage(Model([calls("weather")], says("Done.")), tool).play()
        assert cup.times[-1] == 2.0
        assert tool.let_go == 1

    virtually(work())
    virtually(gentle())


def test_a_defect_of_a_tool_is_not_shown_and_a_huge_result_is_a_failure_with_numbers() -> None:
    async def broken(arguments, context):
        raise KeyError("secret")

    async def huge(arguments, context):
        return ToolOutput("x" * 100_000_000)

    async def work() -> None:
        cup = await Stage(Model([calls("weather")], says("Done.")), Played(work=broken)).play()
        assert cup.parts()[1][2] == "weather failed"
        stage = Stage(Model([calls("weather")], says("Done.")), Played(work=huge))
        cup = await stage.play()
        assert cup.parts()[1][2] == (
            "weather gave a result of 100000000 bytes or more; 262144 are allowed (result_bytes)"
        )
        assert stage.meter.results == {("weather", "too_large"): 1}

    virtually(work())


def test_what_a_tool_says_while_it_runs_and_a_heartbeat_where_it_says_nothing() -> None:
    async def chatty(arguments, context):
        context.progress("half")
        context.progress("too soon after")
        await asyncio.sleep(25)
        return ToolOutput("sunny")

    async def work() -> None:
        cup = await Stage(Model([calls("weather", "c1")], says("Done.")), Played(work=chatty), heartbeat=10).play()
        told = cup.all(ev.Progress)
        assert {p.call for p in told} == {"c1"}
        assert {p.stage for p in told} == {"calling"}
        assert [p.detail for p in told] == [
            "running weather",
            "weather: half",
            "weather has been running for 10 s",
            "weather has been running for 20 s",
        ]

    virtually(work())


def test_a_host_that_breaks_off_while_a_tool_runs_takes_the_tool_with_it() -> None:
    async def work() -> None:
        tool = Played(takes=50.0)
        broken = UpstreamError("the host closed the answer before its end", code="upstream_cut")
        stage = Stage(Model([calls("weather"), 1.0, broken]), tool)
        with pytest.raises(UpstreamError) as error:
            await stage.play()
        assert error.value.begun
        assert tool.let_go == 1
        assert tool.running == 0

    virtually(work())
