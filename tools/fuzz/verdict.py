"""What a decoder owes whatever it is fed: core/ports.py, and the order of events that a run relies on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Event
from tidewire.core.ports import Decoder, Speaker
from tidewire.core.request import Request

SLOW: Final = 2.0  # seconds for one input of some kilobytes, which takes a millisecond: it hangs


class Outcome(NamedTuple):
    """events: with those that came with the error. error: its code; None for an answer that came to its end. late: the events that
    only the end of the bytes brought.
    """

    events: list[Event]
    error: str | None
    late: int = 0


class Broken(Exception):
    """A decoder did what none may do."""


def decoded(decoder: Decoder, pieces: Sequence[bytes]) -> Outcome:
    """Raises Broken for any exception but UpstreamError, and for more than there may be."""
    out: list[Event] = []
    began = time.perf_counter()
    try:
        for piece in pieces:
            out += decoder.feed(piece)
        late = decoder.end()
        out += late
    except UpstreamError as error:
        if not error.message or len(error.message) > 2000:
            raise Broken(f"an error of {len(error.message)} characters") from error
        return Outcome([*out, *error.before], error.kind)
    except Broken:  # of the alarm, while it was at it
        raise
    except Exception as error:
        raise Broken(f"raised {type(error).__name__}: {error}") from error
    finally:
        took = time.perf_counter() - began
        if took > SLOW:
            raise Broken(f"took {took:.1f} s for {sum(map(len, pieces))} bytes")
    return Outcome(out, None, len(late))


def check(speaker: Speaker, request: Request, wire: bytes, pieces: Sequence[bytes]) -> None:
    """Raises Broken with a sentence."""
    decoder = speaker.decoder(request)
    outcome = decoded(decoder, [wire])
    in_order(outcome)
    bounded(outcome, wire)
    if outcome.error is None and not outcome.late:
        try:
            after = decoder.feed(wire[:500])
        except UpstreamError as error:
            raise Broken(f"what came after the end counted: {error.message}") from error
        if after:
            raise Broken(f"{len(after)} events after the end, the first {after[0]}")
    again = decoded(speaker.decoder(request), pieces)
    if again != outcome:
        raise Broken(f"cut otherwise, it is read otherwise: {told(outcome, again)}")


def in_order(outcome: Outcome) -> None:
    open_parts: set[int] = set()
    begun = 0
    for n, event in enumerate(outcome.events):
        if isinstance(event, ev.PartStarted):
            if event.part != begun:
                raise Broken(f"part {event.part} begins where {begun} was next")
            begun += 1
            open_parts.add(event.part)
        elif isinstance(event, ev.Delta | ev.Blob | ev.Signature | ev.PartEnded | ev.Logprobs):
            if event.part not in open_parts and not (isinstance(event, ev.Signature) and event.part < begun):
                raise Broken(f"{type(event).__name__} of part {event.part}, which is not open")
            if isinstance(event, ev.Delta) and not event.text:
                raise Broken("a delta without text")
            if isinstance(event, ev.PartEnded):
                open_parts.remove(event.part)
        elif isinstance(event, ev.Finish):
            if n != len(outcome.events) - 1:
                raise Broken(f"{type(outcome.events[n + 1]).__name__} after Finish")
            if open_parts:
                raise Broken(f"Finish while the parts {sorted(open_parts)} are open")
        if not isinstance(event, ev.Finish | ev.Timing):
            storable(event)
    if outcome.error is None and not (outcome.events and isinstance(outcome.events[-1], ev.Finish)):
        raise Broken("the answer ended well and without Finish")


def storable(event: Event) -> None:
    """As the log does it. Half a character in a text is the run's to refuse."""
    try:
        ev.decode(ev.encode(event))
    except UnicodeEncodeError:
        return
    except Exception as error:
        raise Broken(f"an event that cannot be stored: {type(error).__name__}: {error}: {event}") from error


def bounded(outcome: Outcome, wire: bytes) -> None:
    """No more comes out than went in."""
    text = sum(len(e.text) for e in outcome.events if isinstance(e, ev.Delta))
    if text > 4 * len(wire) + 4096 or len(outcome.events) > len(wire) + 64:
        raise Broken(f"{len(outcome.events)} events with {text} characters out of {len(wire)} bytes")


def told(one: Outcome, other: Outcome) -> str:
    """Where two readings part."""
    for n, (a, b) in enumerate(zip(one.events, other.events, strict=False)):
        if a != b:
            return f"event {n} is {a} or {b}"
    return f"{len(one.events)} events and {one.error}, or {len(other.events)} and {other.error}"
