"""Bedrock's streams for tests: recorded ones where they are, and such as its reference describes, written as binary messages.

converse({"messageStart": {"role": "assistant"}}, …)      # events by their names
exception("throttlingException", "Too many tokens")       # no recorded stream has one
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.dialects.aws_eventstream import message, write_headers

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
CUTS = (1, 2, 3, 7, 64)


def event(name: str, payload: Any) -> bytes:
    """One message, with the three headers that Bedrock sends."""
    head = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    data = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
    return message(write_headers(head), data)


def converse(*events: dict[str, Any]) -> bytes:
    return b"".join(event(name, payload) for said in events for name, payload in said.items())


def exception(name: str, said: Any) -> bytes:
    head = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return message(write_headers(head), json.dumps({"message": said} if isinstance(said, str) else said).encode())


def chunk(payload: Any) -> bytes:
    """One event of InvokeModelWithResponseStream: the vendor's own JSON, in base64."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload, ensure_ascii=False).encode()
    return event("chunk", {"bytes": base64.b64encode(data).decode(), "p": "abcdef"})


def binary(operation: str) -> dict[str, bytes]:
    """Recorded answers of an operation, byte for byte."""
    out = {}
    for file in sorted((RECORDINGS / "openllmetry" / "bedrock").glob("*.yaml")):
        text = file.read_text()
        for uri, body in re.findall(r"uri: (\S+).*?string: !!binary \|\n((?: {8}[\w+/=]+\n)+)", text, re.DOTALL):
            if uri.endswith(operation):
                out[file.stem] = base64.b64decode(body)
    return out


def lines() -> dict[str, bytes]:
    """Recorded events of ConverseStream, one JSON object a line, put into binary messages."""
    folder = RECORDINGS / "vercel-ai" / "amazon-bedrock"
    return {
        file.name.removesuffix(".chunks.txt"): converse(*(json.loads(x) for x in file.read_text().splitlines() if x))
        for file in sorted(folder.glob("*.chunks.txt"))
    }


def decoded(decoder: Any, *cuts: bytes) -> tuple[list[ev.Event], str | None]:
    """The events, and the code of the error that ended them."""
    out: list[ev.Event] = []
    try:
        for cut in cuts:
            out += decoder.feed(cut)
        out += decoder.end()
    except UpstreamError as error:
        return [*out, *error.before], error.kind
    return out, None


def pieces(wire: bytes, size: int) -> list[bytes]:
    return [wire[i : i + size] for i in range(0, len(wire), size)]


def seams(wire: bytes) -> list[int]:
    """Places inside a character of more than one byte."""
    return [i for i in range(1, len(wire)) if wire[i] & 0xC0 == 0x80]


def well_formed(events: list[ev.Event]) -> None:
    begun = 0
    open_parts: set[int] = set()
    for one in events:
        if isinstance(one, ev.PartStarted):
            assert one.part == begun
            begun += 1
            open_parts.add(one.part)
        elif isinstance(one, ev.Delta | ev.Signature | ev.Blob | ev.Citation):
            assert one.part in open_parts
        elif isinstance(one, ev.PartEnded):
            open_parts.remove(one.part)
    assert not open_parts
    assert isinstance(events[-1], ev.Finish)
    assert sum(isinstance(e, ev.Finish) for e in events) == 1


def said(events: list[ev.Event], kind: str) -> list[str]:
    """The text of each part of a kind."""
    return [
        "".join(d.text for d in events if isinstance(d, ev.Delta) and d.part == e.part)
        for e in events
        if isinstance(e, ev.PartStarted) and e.kind == kind
    ]
