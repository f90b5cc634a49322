from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.client.calls import ConnectionLost, from_info, refusal
from tidewire.client.reading import Reading
from tidewire.core.errors import Conflict, Expired, Overloaded, TidewireError, Unauthorized, UnknownModel
from tidewire.core.events import (
    Citation,
    Closed,
    Delta,
    Edit,
    ErrorInfo,
    Event,
    Opened,
    PartEnded,
    PartStarted,
    Retrieved,
    Superseded,
    encode,
)
from tidewire.core.sse import comment, frame


def opened(stream: str = "s") -> Opened:
    return Opened(
        stream=stream, model="m", created=0, durability="memory", on_disconnect="cancel", protocol="tidewire/1", epoch=1
    )


def numbered(*events: Event) -> list[Event]:
    for seq, event in enumerate(events, 1):
        event.seq, event.at = seq, seq
    return list(events)


EVENTS = numbered(
    opened(),
    PartStarted(part=0, kind="thinking"),
    Delta(part=0, text="hm "),
    PartStarted(part=1, kind="text"),
    Delta(part=1, text="Grüße, "),
    Delta(part=1, text="Welt"),
    Citation(part=1, start=0, end=5, source="a.md", title="A", passage="p"),
    Closed(status="completed", reason="stop"),
)


def wire(events: list[Event]) -> bytes:
    return b"".join(frame(encode(event), event="x", number=event.seq) for event in events)


def error(code: str, status: int, **more: object) -> bytes:
    import msgspec

    return msgspec.json.encode({"error": {"code": code, "message": "no", "status": status, **more}})


def test_an_answer_is_read_to_its_end():
    reading = Reading("s", b"{}")
    assert reading.call().method == "POST"
    reading.accepted(200)
    assert reading.feed(b"retry: 1000\n\n" + wire(EVENTS)) == EVENTS
    assert (reading.ended, reading.broken, reading.cursor) == (True, False, 8)
    assert (reading.text, reading.thinking, reading.citations[0].source) == ("Grüße, Welt", "hm ", "a.md")
    assert (reading.opened, reading.closed) == (EVENTS[0], EVENTS[-1])


def test_what_an_answer_was_given_and_what_became_of_it_is_kept():
    told = Retrieved(namespace="acme", epoch=2, passages=[], ms=1.0)
    gone = Superseded(document="d1", version=1, chunks=[4], deleted=True)
    reading = Reading("s", b"{}")
    reading.accepted(200)
    reading.feed(wire(numbered(opened(), told, gone)))
    assert (reading.retrieved, reading.superseded) == (told, [gone])


@given(st.lists(st.integers(1, 60), max_size=40), st.lists(st.integers(0, 8), max_size=6))
def test_cut_anywhere_and_resumed_anywhere_before_each_event_is_given_once(cuts, rewinds):
    reading = Reading("s", b"{}", tries=100)
    got: list[Event] = []
    for rewind in [*rewinds, 8]:
        reading.call()
        reading.accepted(200)
        raw = b": \n\n" + wire(EVENTS[max(0, reading.cursor - rewind) :])  # the server may even send too much
        at = 0
        for cut in cuts:
            got += reading.feed(raw[at : at + cut])
            at += cut
            if reading.ended:
                break
        if not reading.ended:
            reading.lost()
    reading.call()
    got += reading.feed(wire(EVENTS[reading.cursor :]))
    assert got == EVENTS


def test_a_gap_is_a_lost_connection():
    reading = Reading("s", after=2)
    assert reading.call().path == "/v1/streams/s/events?after=2"
    assert reading.feed(wire([EVENTS[2], EVENTS[4], EVENTS[5]])) == [EVENTS[2]]
    assert reading.broken
    assert reading.call().path == "/v1/streams/s/events?after=3"
    assert not reading.broken


def test_bytes_that_are_no_event_are_a_lost_connection_too():
    reading = Reading("s")
    reading.call()
    assert reading.feed(b"data: <html>\n\n") == []
    assert reading.broken


def test_types_and_fields_of_a_newer_server_are_passed_over():
    reading = Reading("s", after=1)
    reading.call()
    raw = b'data: {"type":"hologram","seq":2}\n\ndata: {"type":"delta","part":0,"text":"a","seq":3,"new":1}\n\n'
    assert [event.seq for event in reading.feed(raw)] == [3]
    assert reading.cursor == 3


def test_comments_are_silence():
    reading = Reading("s")
    reading.call()
    assert reading.feed(comment() + comment("still here")) == []


def test_waits_double_up_to_ten_seconds_with_jitter_and_begin_anew_after_an_event():
    reading = Reading("s", tries=20, chance=lambda: 1.0)
    reading.call()
    reading.accepted(200)
    assert [reading.lost() for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    reading.call()
    reading.feed(wire(EVENTS[:1]))
    assert reading.lost() == 1.0
    low = Reading("s", chance=lambda: 0.0)
    low.accepted(200)
    low.call()
    low.feed(b"retry: 300\n\n")
    assert low.lost() == 0.15


def test_after_too_many_tries_it_says_from_where_to_go_on():
    reading = Reading("s", tries=2)
    reading.call()
    reading.accepted(200)
    reading.feed(wire(EVENTS[:3]))
    reading.lost()
    with pytest.raises(ConnectionLost) as lost:
        reading.lost("ReadError")
    assert (lost.value.stream, lost.value.cursor) == ("s", 3)


def test_a_server_that_is_not_there_is_reported_at_once_but_waited_for_once_the_answer_began():
    with pytest.raises(ConnectionLost):
        Reading("s", b"{}").lost("no", reached=False)
    reading = Reading("s", b"{}")
    reading.accepted(200)
    assert reading.lost("no", reached=False) > 0


def test_a_start_whose_answer_was_lost_is_followed_not_started_twice():
    reading = Reading("s", b"{}")
    assert reading.call().method == "POST"
    reading.lost("ReadError")
    assert reading.call().method == "POST"
    assert reading.refused(409, error("conflict", 409)) == 0.0
    assert reading.call().path == "/v1/streams/s/events?after=0"


def test_an_id_that_is_taken_is_a_conflict():
    reading = Reading("s", b"{}")
    reading.call()
    with pytest.raises(Conflict):
        reading.refused(409, error("conflict", 409))


def test_a_busy_server_is_asked_again_when_it_says_and_not_for_ever():
    reading = Reading("s", b"{}", tries=3)
    busy = error("overloaded", 429, retryable=True, retry_after=30.0)
    assert [reading.refused(429, busy), reading.refused(429, busy)] == [30.0, 30.0]
    with pytest.raises(Overloaded):
        reading.refused(429, busy)


def test_nothing_more_to_read_ends_it():
    reading = Reading("s", after=8)
    reading.accepted(204)
    assert reading.ended


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("expired", 410, Expired),
        ("unknown_model", 404, UnknownModel),
        ("unauthorized", 401, Unauthorized),
        ("something_new", 401, Unauthorized),
        ("something_new", 418, TidewireError),
    ],
)
def test_a_refusal_is_the_error_that_the_server_raised(code, status, kind):
    found = refusal(status, error(code, status, param="model"))
    assert type(found) is kind
    assert (found.kind, found.status, found.param) == (code, status, "model")


def test_an_answer_of_somebody_else_is_said_to_be_one():
    found = refusal(502, b"<html>nginx</html>")
    assert found.retryable
    assert "something else" in found.message


def test_an_error_goes_through_a_log_and_back_unchanged():
    info = ErrorInfo(code="upstream_timeout", message="late", status=502, retryable=True, retry_after=2.0, param=None)
    assert from_info(info).info() == info


def test_an_id_cannot_leave_its_place_in_the_address():
    assert Reading("../x?").call().path == "/v1/streams/..%2Fx%3F/events?after=0"


def test_edits_change_the_text_that_was_read_and_those_of_a_text_not_read_here_change_nothing():
    events = numbered(
        PartStarted(part=0, kind="text"),
        Delta(part=0, text="\U0001f44d the Tibre"),
        Edit(part=0, start=6, end=11, text="Tiber"),
        Edit(part=0, start=0, end=2, text=""),
        PartEnded(part=0),
    )
    for first, text in ((0, "the Tiber"), (2, "")):
        reading = Reading("s", after=first)
        for event in events[first:]:
            reading.feed(b"id: %d\ndata: %b\n\n" % (event.seq, encode(event)))
        assert reading.text == text
