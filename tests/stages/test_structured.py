"""The stage for answers in JSON: each delta first, then what it completes; one verdict at the end, where there is something to judge."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import serving
from tidewire.core import events as ev
from tidewire.core.events import Checked, ChoiceEnded, Delta, Event, Field, Finish, Notice, PartEnded, PartStarted
from tidewire.core.request import Request
from tidewire.server.assemble import stages
from tidewire.stages import structured
from tidewire.stages.structured import Structured
from upstream import DONE, Upstream, chat

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
OBJECT = {"type": "json_object"}


def through(stage: Structured, events: list[Event]) -> list[Event]:
    return [out for event in events for out in stage.feed(event)] + list(stage.end())


def answer(*texts: str, finish: ev.Reason = "stop") -> list[Event]:
    deltas = [Delta(part=0, text=t) for t in texts]
    return [PartStarted(part=0, kind="text"), *deltas, PartEnded(part=0), Finish(reason=finish)]


def judged(*texts: str, given=FORMAT, finish: ev.Reason = "stop") -> list[Event]:
    return through(Structured(given), answer(*texts, finish=finish))


def test_a_field_follows_the_delta_that_completes_it_and_the_verdict_comes_before_the_end():
    assert judged('{"na', 'me":"A', 'da","age', '":36', "}") == [
        PartStarted(part=0, kind="text"),
        Delta(part=0, text='{"na'),
        Delta(part=0, text='me":"A'),
        Delta(part=0, text='da","age'),
        Field(part=0, path="/name", value="Ada"),
        Delta(part=0, text='":36'),
        Delta(part=0, text="}"),
        Field(part=0, path="/age", value=36),
        PartEnded(part=0),
        Checked(part=0, valid=True),
        Finish(reason="stop"),
    ]


def test_what_is_said_before_the_servers_tools_gave_their_results_is_not_the_answer():
    before = [PartStarted(part=0, kind="text"), Delta(part=0, text="Let me look. "), PartEnded(part=0)]
    again = ev.Attempt(n=2, provider="p", model="m", reason="tools")
    text = '{"name":"Ada","age":36}'
    after = [PartStarted(part=1, kind="text"), Delta(part=1, text=text), PartEnded(part=1), Finish(reason="stop")]
    out = through(Structured(FORMAT), [*before, again, *after])
    assert [event for event in out if type(event) is Checked] == [Checked(part=1, valid=True)]


names = st.text("ab~/", max_size=3)
values = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=10,
)


def put(document, path: str, value):
    """A client that keeps the answer as it grows: the value goes where its pointer says."""
    *above, last = [p.replace("~1", "/").replace("~0", "~") for p in path.split("/")[1:]]
    here = document
    for name in above:
        key = name if isinstance(here, dict) else int(name)
        here = here.setdefault(key, {}) if isinstance(here, dict) else here[key]
    if isinstance(here, dict):
        here[last] = value


@given(st.dictionaries(names, st.none() | st.integers(0, 9) | st.dictionaries(names, values, max_size=2), max_size=4), st.lists(st.integers(1, 60), max_size=6))  # fmt: skip
def test_a_client_that_puts_each_field_in_its_place_has_the_answer(value, places):
    text = json.dumps(value)
    marks = sorted({p for p in places if p < len(text)})
    pieces = [text[a:b] for a, b in zip([0, *marks], [*marks, len(text)], strict=True)]
    out = judged(*pieces, given=OBJECT)
    assert [e for e in out if not isinstance(e, Field | Checked)] == answer(*pieces)
    document: dict = {}
    for event in out:
        if isinstance(event, Field):
            put(document, event.path, event.value)
    assert document == value
    assert out[-2] == Checked(part=0, valid=True)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('{"name":"Ada"}', ["/age is missing"]),
        ('{"name":1,"age":1}', ["/name must be text, and is a number"]),
        ("Of course! Here it is", ["this is not the JSON that was asked for: it does not begin with JSON"]),
        ('{"name":"Ada"', ["this is not the JSON that was asked for: it ends inside '/name'"]),
    ],
)
def test_a_violation_is_an_event_that_says_where(text, problems):
    [checked] = [e for e in judged(text) if isinstance(e, Checked)]
    assert (checked.valid, checked.problems) == (False, problems)


def test_an_object_is_an_object_also_without_a_schema():
    assert judged("[1]", given=OBJECT)[-2] == Checked(part=0, valid=False, problems=["the root must be an object"])
    assert judged('{"a":[]}', given=OBJECT)[-2] == Checked(part=0, valid=True)


def test_a_fence_around_the_json_is_said_once_and_the_rest_is_as_without_it():
    out = judged("```json\n", '{"name":"Ada",', '"age":1}', "\n```")
    [notice] = [e for e in out if isinstance(e, Notice)]
    assert notice.code == "json_fenced"
    assert [e.path for e in out if isinstance(e, Field)] == ["/name", "/age"]
    assert out[-2] == Checked(part=0, valid=True)


def test_a_schema_of_which_something_was_left_out_is_said_so():
    given = {"type": "json_schema", "json_schema": {"schema": {"patternProperties": {"a": False}}}}
    out = judged('{"a":1}', given=given)
    [notice] = [e for e in out if isinstance(e, Notice)]
    assert notice.code == "json_schema_unchecked"
    assert "patternProperties" in notice.message
    assert out[-2] == Checked(part=0, valid=True)


@pytest.mark.parametrize("reason", ["tool_calls", "content_filter"])
def test_an_answer_that_is_not_the_one_asked_for_is_not_judged(reason):
    assert not [e for e in judged("I will look it up.", finish=reason) if isinstance(e, Checked)]


def test_an_answer_that_breaks_off_is_not_judged():
    out = through(Structured(FORMAT), answer('{"name":"Ada","ag')[:-2])
    assert [e.path for e in out if isinstance(e, Field)] == ["/name"]
    assert not [e for e in out if isinstance(e, Checked)]


def test_thoughts_and_tool_calls_pass_untouched():
    events = [
        PartStarted(part=0, kind="thinking"),
        Delta(part=0, text='{"a":1}'),
        PartEnded(part=0),
        PartStarted(part=1, kind="tool_call", name="f", call="c"),
        Delta(part=1, text='{"a":1}'),
        PartEnded(part=1),
        Finish(reason="tool_calls"),
    ]
    assert through(Structured(FORMAT), list(events)) == events


def test_text_that_a_host_divides_into_parts_is_one_answer():
    events = [
        PartStarted(part=0, kind="text"),
        Delta(part=0, text='{"name":"A'),
        PartEnded(part=0),
        PartStarted(part=1, kind="thinking"),
        Delta(part=1, text="hm"),
        PartEnded(part=1),
        PartStarted(part=2, kind="text"),
        Delta(part=2, text='da","age":1}'),
        PartEnded(part=2),
        Finish(reason="stop"),
    ]
    out = through(Structured(FORMAT), events)
    assert [(e.part, e.value) for e in out if isinstance(e, Field)] == [(2, "Ada"), (2, 1)]
    assert out[-2] == Checked(part=2, valid=True)


def test_each_of_several_answers_is_judged_at_its_own_end():
    events = [
        PartStarted(part=0, kind="text"),
        PartStarted(part=1, kind="text", choice=1),
        Delta(part=0, text='{"name":"A",'),
        Delta(part=1, text="[]"),
        Delta(part=0, text='"age":1}'),
        PartEnded(part=0),
        PartEnded(part=1),
        ChoiceEnded(choice=1, reason="stop"),
        Finish(reason="stop"),
    ]
    out = through(Structured(FORMAT), events)
    assert [(type(e), getattr(e, "part", None)) for e in out[-4:]] == [
        (Checked, 1),
        (ChoiceEnded, None),
        (Checked, 0),
        (Finish, None),
    ]
    assert [e.valid for e in out if isinstance(e, Checked)] == [False, True]


def test_what_is_announced_is_bounded_in_depth_size_and_number(monkeypatch):
    deep = '{"a":' * 12 + "1" + "}" * 12
    assert max(e.path.count("/") for e in judged(deep, given=OBJECT) if isinstance(e, Field)) == structured.DEPTH
    long = json.dumps({"long": "x" * structured.SIZE, "short": 1})
    assert [e.path for e in judged(long, given=OBJECT) if isinstance(e, Field)] == ["/short"]
    many = judged(json.dumps({"list": list(range(structured.FIELDS + 50))}), given=OBJECT)
    assert sum(isinstance(e, Field) for e in many) == structured.FIELDS
    assert [e.code for e in many if isinstance(e, Notice)] == ["json_fields_limit"]
    assert many[-2] == Checked(part=0, valid=True)


@pytest.mark.parametrize("text", ['["\\ud800"]', "[1e400]", "[" * 5000, '{"a":' + "9" * 300 + "}"])
def test_whatever_a_model_writes_can_be_stored(text):
    for event in judged(text, given=OBJECT):
        if not isinstance(event, Finish):
            assert ev.decode(ev.encode(event)) == event


def test_only_an_answer_that_was_asked_for_in_json_is_read():
    def made(given):
        return [type(s) for s in stages(Request(model="m", messages=[], stop=["x"], response_format=given))]

    assert made(FORMAT)[-1] is made(OBJECT)[-1] is Structured
    assert Structured not in made({"type": "text"}) + made(None)


async def test_over_a_socket_a_field_comes_while_the_host_still_writes(tmp_path):
    go = asyncio.Event()
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}

    async def speaks(call):
        call.head()
        call.chunk(chat('{"a":"word",'))
        await go.wait()
        call.chunk(chat('"b":[]}') + chat(finish="stop") + DONE)
        call.end()

    async with Upstream(speaks) as far, serving(tmp_path, hosts={"far": far.url}) as tidewire:
        peer = await tidewire.peer()
        peer.post("/v1/streams", {"model": "far/m", "input": "Hello", "response_format": asked})
        await peer.head()
        await peer.until(b'"path":"/a","value":"word"')
        go.set()
        said = await peer.body()
    kinds = [line[7:].decode() for line in said.split(b"\n") if line.startswith(b"event: ")]
    assert [k for k in kinds if k in ("delta", "field", "checked", "closed")] == [
        "delta", "field", "delta", "field", "checked", "closed",
    ]  # fmt: skip
    assert b'"valid":false,"problems":["/a must be a whole number, and is text"]' in said
    assert far.calls[0].json["response_format"] == asked
