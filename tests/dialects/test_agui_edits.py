"""Edits for AG-UI clients that ask for them: one snapshot of the conversation, once the text is as it stays."""

from __future__ import annotations

import json

import pytest

from strategies import meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.dialects.agui import AGUI
from tidewire.dialects.agui_request import HELD

ASKED = {"id": "u1", "role": "user", "content": "Which river?", "metadata": {"their": "own"}}
INPUT = {"threadId": "t", "runId": "r", "messages": [ASKED], "tools": [], "context": [], "state": {}}


def posted(**props):
    body = INPUT | {"forwardedProps": {"model": "m", **props}}
    return AGUI().parse(json.dumps(body).encode(), {})[0]


TIBRE, TIBER = "I think. The Tibre.", "I think. The Tiber."
EDIT, BACK = ev.Edit(part=3, start=16, end=18, text="er"), ev.Edit(part=3, start=16, end=18, text="re")


def log(*edits, **record):
    """A thought, a call of the server's own with its result, and a text that is edited."""
    meta = meta_of(**record)
    events = [
        opened(meta),
        ev.PartStarted(part=0, kind="thinking"),
        ev.Delta(part=0, text="Hm."),
        ev.PartEnded(part=0),
        ev.PartStarted(part=1, kind="server_call", name="rivers", call="c1"),
        ev.Delta(part=1, text="{}"),
        ev.PartEnded(part=1),
        ev.PartStarted(part=2, kind="tool_result", name="rivers", call="c1"),
        ev.Delta(part=2, text="some"),
        ev.PartEnded(part=2),
        ev.PartStarted(part=3, kind="text"),
        ev.Delta(part=3, text=TIBRE[:9]),
        ev.Delta(part=3, text=TIBRE[9:]),
        *edits,
        ev.PartEnded(part=3),
        ev.Closed(status="completed", reason="stop"),
    ]
    return meta, numbered(events)


def told(data):
    return [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: ")]


def test_the_snapshot_has_the_conversation_as_the_client_sent_it_and_the_run_as_it_reads_now():
    meta, entries = log(EDIT, messages=posted(edits=True).record["messages"])
    said = told(AGUI().stream(meta).feed(entries))
    assert [e["type"] for e in said[-3:]] == ["TEXT_MESSAGE_END", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]
    assert "".join(e["delta"] for e in said if e["type"] == "TEXT_MESSAGE_CONTENT") == TIBRE
    call = {"id": "c1", "type": "function", "function": {"name": "rivers", "arguments": "{}"}}
    prefix = meta.stream
    assert said[-2]["messages"] == [
        ASKED,
        {"id": f"{prefix}-0", "role": "reasoning", "content": "Hm."},
        {"id": f"{prefix}-1", "role": "assistant", "toolCalls": [call]},
        {"id": f"{prefix}-2", "role": "tool", "toolCallId": "c1", "content": "some"},
        {"id": f"{prefix}-3", "role": "assistant", "content": TIBER},
    ]
    document = json.loads(AGUI().whole(meta).feed(entries))
    assert [ASKED, *document["messages"]] == said[-2]["messages"]


@pytest.mark.parametrize(
    ("edits", "record"), [((), {"messages": [ASKED]}), ((EDIT, BACK), {"messages": [ASKED]}), ((EDIT,), {})]
)
def test_there_is_none_for_a_text_that_stays_nor_for_a_client_that_did_not_ask(edits, record):
    meta, entries = log(*edits, **record)
    assert "MESSAGES_SNAPSHOT" not in [e["type"] for e in told(AGUI().stream(meta).feed(entries))]
    assert json.loads(AGUI().whole(meta).feed(entries))["messages"][-1]["content"] == TIBRE


def test_cut_at_every_entry_and_resumed_behind_every_event_it_is_the_same():
    meta, entries = log(EDIT, messages=[ASKED])
    whole = AGUI().stream(meta).feed(entries)
    for at in range(1, len(entries)):
        renderer = AGUI().stream(meta)
        assert renderer.feed(entries[:at]) + renderer.feed(entries[at:]) == whole
    frames = whole.split(b"\n\n")
    for after in range(len(frames)):
        assert AGUI().stream(meta, after).feed(entries).split(b"\n\n") == frames[after:]


def test_a_client_asks_for_edits_in_its_props_and_a_long_conversation_is_not_kept_for_them():
    request = posted(edits=True)
    assert (request.edits, request.record["messages"]) == (True, [ASKED])
    assert not posted().edits
    assert "messages" not in posted().record
    long = INPUT | {"messages": [ASKED | {"content": "x" * HELD}], "forwardedProps": {"model": "m", "edits": True}}
    request, _ = AGUI().parse(json.dumps(long).encode(), {})
    assert not request.edits
    assert "messages" not in request.record
