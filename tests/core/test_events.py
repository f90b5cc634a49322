"""Events to bytes and back; ids; the tree of errors."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given

from strategies import logs
from tidewire.core import errors, ids
from tidewire.core import events as ev
from tidewire.core.request import DisconnectPolicy


@pytest.mark.promise("P3")
@given(logs())
def test_an_event_read_back_is_the_event_and_written_again_the_same_bytes(made):
    _, entries = made
    for entry in entries:
        event = ev.decode(entry.raw)
        assert ev.encode(event) == entry.raw
        assert b"\n" not in entry.raw
        assert b"\r" not in entry.raw


@given(logs())
def test_an_event_begins_with_its_type_as_renderers_rely_on(made):
    for entry in made[1]:
        kind = json.loads(entry.raw)["type"]
        assert entry.raw.startswith(b'{"type":"%s",' % kind.encode())


def test_a_field_without_a_value_is_left_out():
    assert json.loads(ev.encode(ev.Usage(seq=1, at=0, counted_by="host"))) == {
        "type": "usage",
        "seq": 1,
        "at": 0,
        "counted_by": "host",
    }


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b'{"type":"finish","seq":1,"at":1,"reason":"stop"}', b'{"type":"delta","part":"0","text":""}', b"[1]"],
)
def test_what_is_no_event_of_a_log_is_refused(raw):
    with pytest.raises(msgspec.DecodeError):
        ev.decode(raw)


def test_new_ids_are_valid_and_differ():
    made = {ids.new("st") for _ in range(100)}
    assert len(made) == 100
    assert all(ids.valid(i) and i.startswith("st_") for i in made)


@pytest.mark.parametrize("text", ["", "a" * 65, "a b", "a/b", "é", "a\n", "a.b"])
def test_what_cannot_stand_in_a_url_is_no_id(text):
    assert not ids.valid(text)


def every(kind=errors.TidewireError):
    yield kind
    for below in kind.__subclasses__():
        yield from every(below)


@pytest.mark.parametrize("kind", [k for k in every() if k.__module__ == errors.__name__], ids=lambda k: k.__name__)
def test_every_error_says_what_a_client_may_see(kind):
    info = kind("what happened", param="field", retry_after=2.0).info()
    assert (info.message, info.param, info.retry_after) == ("what happened", "field", 2.0)
    assert 400 <= info.status <= 599
    assert info.code == kind.code
    assert info.retryable == kind.retryable


@pytest.mark.parametrize("text", ["cancel", "continue", "grace:0", "grace:15", "grace:0.5", "grace:86400"])
def test_a_policy_is_read_as_it_is_written(text):
    assert str(DisconnectPolicy.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "stop", "grace", "grace:", "grace:-1", "grace:86401", "grace:nan", "grace:x", "cancel:1", "GRACE:1"]
)
def test_a_policy_that_is_none_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match="grace:<seconds"):
        DisconnectPolicy.parse(text)
