"""Who may start now, and what the others are told."""

from __future__ import annotations

import pytest

from tidewire.core.errors import Overloaded, ShuttingDown
from tidewire.engine.admission import Admission, Limits


def door(load=0.0, held=0, **limits):
    return Admission(Limits(**limits), load=lambda streams: load, held=lambda: held)


def test_nobody_is_refused_below_every_limit():
    door(load=0.5, held=1000).check(100)


@pytest.mark.parametrize(
    ("admission", "streams", "named"),
    [
        (door(streams=10), 10, "limits.streams"),
        (door(load=0.9), 100, "limits.busy"),
        (door(held=1 << 30), 16, "limits.memory_bytes"),
    ],
)
def test_whoever_is_refused_is_told_the_limit_and_when_to_come_back(admission, streams, named):
    with pytest.raises(Overloaded) as caught:
        admission.check(streams)
    assert named in caught.value.message
    assert caught.value.retry_after
    assert caught.value.retryable


def test_few_streams_may_use_the_whole_core():
    door(load=1.0).check(99)


def test_a_draining_server_takes_nobody():
    admission = door()
    admission.draining = True
    with pytest.raises(ShuttingDown):
        admission.check(0)
