"""A speaker's decoder under test: bytes in, cut anywhere, and what came out of it.

decoded(CohereHost(), wire)              # (events, code of the error that ended them or None)
assert_cut_anywhere(CohereHost(), wire)  # the same, however the bytes are cut
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Finish, PartEnded, PartStarted
from tidewire.core.request import Request

Got = tuple[list[ev.Event], str | None]


def decoded(speaker: Any, *cuts: bytes) -> Got:
    decoder = speaker.decoder(Request(model="m", messages=[]))
    out: list[ev.Event] = []
    try:
        for cut in cuts:
            out += decoder.feed(cut)
        out += decoder.end()
    except UpstreamError as error:
        return [*out, *error.before], error.kind
    return out, None


def cuttings(wire: bytes) -> Iterator[list[bytes]]:
    """In pieces of 1, 2, 3, 7 and 64 bytes, and in two at every seam inside a character or a line end."""
    for size in (1, 2, 3, 7, 64):
        yield [wire[at : at + size] for at in range(0, len(wire), size)]
    for at in range(1, len(wire)):
        if wire[at] & 0xC0 == 0x80 or wire[at - 1 : at + 1] in (b"\r\n", b"\n\n", b"\n\r"):
            yield [wire[:at], wire[at:]]


def assert_cut_anywhere(speaker: Any, wire: bytes) -> Got:
    expected = decoded(speaker, wire)
    for cuts in cuttings(wire):
        assert decoded(speaker, *cuts) == expected
    return expected


def well_formed(events: list[ev.Event]) -> None:
    """Parts count from 0, are open while text comes for them, and are closed; then one Finish."""
    open_parts: set[int] = set()
    begun = 0
    for event in events:
        if isinstance(event, PartStarted):
            assert event.part == begun
            begun += 1
            open_parts.add(event.part)
        elif isinstance(event, Delta):
            assert event.part in open_parts
            assert event.text
        elif isinstance(event, PartEnded):
            open_parts.remove(event.part)
    assert not open_parts
    assert isinstance(events[-1], Finish)
    assert sum(isinstance(e, Finish) for e in events) == 1


def texts(events: list[ev.Event], kind: str) -> str:
    kinds = {e.part: e.kind for e in events if isinstance(e, PartStarted)}
    return "".join(e.text for e in events if isinstance(e, Delta) and kinds[e.part] == kind)


def calls(events: list[ev.Event]) -> list[tuple[str | None, str | None, str]]:
    """(id, name, arguments) of each tool call."""
    return [
        (e.call, e.name, "".join(d.text for d in events if isinstance(d, Delta) and d.part == e.part))
        for e in events
        if isinstance(e, PartStarted) and e.kind == "tool_call"
    ]


def kinds(events: list[ev.Event]) -> list[str]:
    return [e.kind for e in events if isinstance(e, PartStarted)]


def one(events: list[ev.Event], kind: type[Any]) -> Any:
    [found] = [e for e in events if isinstance(e, kind)]
    return found


def unfolded(text: str) -> str:
    """A single-quoted YAML scalar, its quotes taken off: one line break is a space, n of them n - 1; two quotes are one."""
    out: list[str] = []
    lines = [line.strip(" ") if i else line.rstrip(" ") for i, line in enumerate(text.split("\n"))]
    breaks = 0
    for i, line in enumerate(lines):
        if i and not line:
            breaks += 1
            continue
        out += ["\n" * breaks or " "] if i else []
        out.append(line)
        breaks = 0
    return "".join(out).replace("''", "'") + "\n" * breaks
