"""What a token costs in each protocol: every decoder and every renderer next to json.loads of the same bytes.

    python benchmarks/dialects.py [--tokens 20000] [--only anthropic,…] [--write]

A decoder is fed the bytes of one token at a time, as its host writes them in tests/matrix; beside it, json.loads reads the JSON that is in
those bytes. A renderer is given one delta at a time; beside it, json.loads reads the JSON that it wrote, or, where it writes one document at
the end, the JSON of the deltas that it was given. Exits 1 where one costs more than three times its yardstick.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from relay import page
from relay.machine import ROOT, Cores, facts

from tidewire.core import events as ev
from tidewire.core.events import Delta, Entry, NewEntry, PartStarted, encode
from tidewire.core.ports import Decoder, Dialect, Meta, Speaker
from tidewire.core.request import Message, Request, Text
from tidewire.dialects.agui import AGUI
from tidewire.dialects.anthropic import AnthropicMessages
from tidewire.dialects.bedrock import Bedrock
from tidewire.dialects.cohere import Cohere
from tidewire.dialects.gemini import Gemini
from tidewire.dialects.native import Native
from tidewire.dialects.ollama import Ollama
from tidewire.dialects.openai_chat import OpenAIChat
from tidewire.dialects.openai_responses import OpenAIResponses
from tidewire.dialects.ui_messages import UIMessages
from tidewire.server.hosts import HOSTS
from tidewire.server.settings import Provider

for folder in ("tests", "tools/fuzz"):
    sys.path.insert(0, str(ROOT / folder))

from mutations import is_messages, messages  # noqa: E402

from matrix.discovery import hosts  # noqa: E402

TIMES: Final = 3  # of json.loads
PASSES: Final = 7
TEXT: Final = " token"
ASKED: Final = Request(model="m", messages=[Message("user", [Text("Hello?")])])
DIALECTS: Final[dict[str, Dialect]] = {
    "native sse": Native("sse"),
    "native ndjson": Native("ndjson"),
    "native text": Native("text"),
    "openai_chat": OpenAIChat(),
    "openai_responses": OpenAIResponses(),
    "anthropic": AnthropicMessages(),
    "bedrock": Bedrock(),
    "ui_messages": UIMessages("m"),
    "agui": AGUI("m"),
    "cohere": Cohere(),
    "ollama chat": Ollama("chat"),
    "ollama generate": Ollama("generate"),
    "gemini": Gemini(),
}


class Row(NamedTuple):
    """Microseconds of CPU a token."""

    name: str
    took: float
    loads: float

    @property
    def ratio(self) -> float:
        return self.took / self.loads

    def __str__(self) -> str:
        over = "  over" if self.ratio > TIMES else ""
        return f"{self.name:<34}{self.took:8.2f}{self.loads:12.2f}{self.ratio:8.2f}{over}\n"


def measured(name: str, turns: int, work: Callable[[], Any], yardstick: Callable[[], Any]) -> Row:
    """The two in turn, so that a machine that slows down slows both; the median of a few passes."""
    passes: list[tuple[float, float]] = []
    gc.collect()
    for _ in range(PASSES):
        passes.append((_timed(turns, work), _timed(turns, yardstick)))
    took, loads = (statistics.median(times) / turns * 1e6 for times in zip(*passes, strict=True))
    return Row(name, took, loads)


def _timed(turns: int, work: Callable[[], Any]) -> float:
    began = time.process_time()
    for _ in range(turns):
        work()
    return time.process_time() - began


# Decoders


def speaker(host: Any) -> Speaker:
    given = Provider(kind=host.KIND, base_url="http://127.0.0.1:1", **getattr(host, "SETTINGS", {}))
    return HOSTS[host.KIND].speaker(given)


def frames(wire: bytes) -> list[bytes]:
    """An answer cut behind each event, in whichever framing."""
    if is_messages(wire):
        out = []
        at = 0
        while at < len(wire):
            size = int.from_bytes(wire[at : at + 4], "big")
            out.append(wire[at : at + size])
            at += size
        return out
    blank = re.compile(rb".*?\r\n\r\n|.*?\n\n" if re.search(rb"\n\r?\n", wire) else rb"[^\n]*\n", re.DOTALL)
    return blank.findall(wire)


def payload(frame: bytes) -> bytes:
    """The JSON that is in an event."""
    if is_messages(frame):
        return messages(frame)[0][1]
    lines = frame.split(b"\n")
    data = [line[5:].strip() for line in lines if line.startswith(b"data:")]
    return b"".join(data) if data else frame.strip()


def token(host: Any) -> tuple[Decoder, bytes]:
    """A decoder in the middle of a text, and the bytes of one more token of it."""
    decoder = speaker(host).decoder(ASKED)
    for frame in frames(host.reply("text").body):
        events = decoder.feed(frame)
        if len(events) == 1 and type(events[0]) is Delta:
            return decoder, frame
    raise LookupError(f"the text of {host.KIND} has no event that is one delta alone")


def decoders(turns: int, only: set[str]) -> Iterator[Row]:
    for name, host in hosts().items():
        if only and name not in only:
            continue
        decoder, frame = token(host)
        document = payload(frame)
        json.loads(document)

        def work(decoder: Decoder = decoder, frame: bytes = frame) -> None:
            if not decoder.feed(bytes(bytearray(frame))):  # new bytes each time, as from a socket
                raise RuntimeError("a token did not come through: the figures are of something else")

        yield measured(f"decode {name}", turns, work, lambda document=document: json.loads(document))


# Renderers


def beginning(meta: Meta) -> list[Entry]:
    opened = ev.Opened(
        stream=meta.stream,
        model=meta.model,
        created=meta.created,
        durability=meta.durability,
        on_disconnect=meta.on_disconnect,
        protocol=ev.PROTOCOL,
        epoch=1,
    )
    return _numbered([opened, PartStarted(part=0, kind="text")])


def _numbered(events: Sequence[ev.Event], after: int = 0) -> list[Entry]:
    out: list[Entry] = []
    for seq, event in enumerate(events, after + 1):
        event.seq, event.at = seq, seq
        out.append(NewEntry(seq, encode(event), event))
    return out


def meta_of(name: str) -> Meta:
    return Meta(
        stream="resp_0123456789abcdefghijkl",
        tenant="default",
        model="m",
        created=1_790_000_000_123,
        dialect=name,
        projection=f"{name}/1",
        on_disconnect="cancel",
        durability="memory",
    )


def renderers(turns: int, only: set[str]) -> Iterator[Row]:
    for name, dialect in DIALECTS.items():
        if only and name not in only and dialect.name not in only:
            continue
        yield streamed(name, dialect, turns)
        if not name.startswith("native") or name == "native sse":
            yield whole(name, dialect, turns)


def streamed(name: str, dialect: Dialect, turns: int) -> Row:
    meta = meta_of(dialect.name)
    renderer = dialect.stream(meta)
    for entry in (first := beginning(meta)):
        renderer.feed([entry])
    entries = _numbered([Delta(part=0, text=TEXT) for _ in range(turns)], len(first))
    upcoming = iter(())

    def work() -> bytes:
        nonlocal upcoming
        entry = next(upcoming, None)
        if entry is None:
            upcoming = iter(entries)
            entry = next(upcoming)
        return renderer.feed([entry])

    said = work()
    document = entries[0].raw if name == "native text" else payload(said)
    json.loads(document)
    if TEXT.strip().encode() not in said:
        raise RuntimeError(f"{name} did not say the token: the figures are of something else")
    return measured(f"render {name}", turns, work, lambda: json.loads(document))


def whole(name: str, dialect: Dialect, turns: int) -> Row:
    """A document at the end, its cost spread over its tokens."""
    meta = meta_of(dialect.name)
    first = beginning(meta)
    deltas = _numbered([Delta(part=0, text=TEXT) for _ in range(turns)], len(first))
    closed = ev.Closed(status="completed", reason="stop", input_tokens=3, output_tokens=turns)
    last = _numbered([ev.PartEnded(part=0), closed], len(first) + turns)
    passes = []
    for _ in range(PASSES):
        renderer = dialect.whole(meta)
        renderer.feed(first)
        began = time.process_time()
        for entry in deltas:
            renderer.feed([entry])
        document = renderer.feed(last)
        took = time.process_time() - began
        if document.count(TEXT.strip().encode()) < turns:
            raise RuntimeError(f"{name} left tokens out: the figures are of something else")
        passes.append((took, _timed(turns, lambda: json.loads(deltas[0].raw))))
    took, loads = (statistics.median(times) / turns * 1e6 for times in zip(*passes, strict=True))
    return Row(f"render {name}, whole", took, loads)


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--tokens", type=int, default=20_000, help="in each pass")
    given.add_argument("--only", default="", help="hosts and dialects, by comma")
    given.add_argument("--write", action="store_true", help="record the result, and put it into benchmarks/README.md")
    given.add_argument("--no-gate", action="store_true", help="exit 0 also where one costs more than it may")
    args = given.parse_args()
    only = set(filter(None, args.only.split(",")))
    text = f"{'us a token':<34}{'took':>8}{'json.loads':>12}{'ratio':>8}\n"
    print(text, end="", flush=True)
    rows = []
    for each in (decoders, renderers):
        for row in each(args.tokens, only):
            rows.append(row)
            print(row, end="", flush=True)
            text += str(row)
    over = [row for row in rows if row.ratio > TIMES]
    verdict = (
        f"{len(over)} of {len(rows)} over {TIMES} times json.loads\n"
        if over
        else f"all of {len(rows)} within {TIMES} times json.loads\n"
    )
    print(verdict, end="")
    if args.write:
        page.save(page.RESULTS / "dialects.json", {"context": facts(Cores.find()), "text": f"{text}\n{verdict}"})
        page.write()
    return 1 if over and not args.no_gate else 0


if __name__ == "__main__":
    sys.exit(main())
