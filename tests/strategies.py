"""Hypothesis strategies: valid logs, from opened to closed, as a run writes them."""

from __future__ import annotations

from hypothesis import strategies as st

from tidewire.core import events as ev
from tidewire.core.events import Entry, Event, NewEntry
from tidewire.core.ports import Meta
from tidewire.core.sources import Source

STREAM = "resp_0123456789abcdefghijkl"
CREATED = 1_790_000_000_123

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_ENDS = [
    ("stop", "completed"),
    ("tool_calls", "completed"),
    ("length", "incomplete"),
    ("time_limit", "incomplete"),
    ("content_filter", "incomplete"),
    ("client", "cancelled"),
    ("disconnect", "cancelled"),
    ("error", "failed"),
]
_KINDS = ["text", "thinking", "tool_call", "tool_result"]


def meta_of(stream: str = STREAM, **record) -> Meta:
    return Meta(
        stream=stream,
        tenant="default",
        model="simulated",
        created=CREATED,
        dialect="native",
        projection="native/1",
        on_disconnect="cancel",
        durability="memory",
        record=record,
    )


def opened(meta: Meta) -> Event:
    return ev.Opened(
        stream=meta.stream,
        model=meta.model,
        created=meta.created,
        durability=meta.durability,
        on_disconnect=meta.on_disconnect,
        protocol=ev.PROTOCOL,
        epoch=1,
    )


def numbered(events: list[Event]) -> list[Entry]:
    """The events as a reader gets them from a log: numbered, timed, and only their bytes."""
    entries = []
    for i, event in enumerate(events):
        event.seq, event.at = i + 1, i * 7
        entries.append(NewEntry(i + 1, ev.encode(event), event))
    return entries


_ACTS = (
    "part", "delta", "delta", "delta", "end", "cite", "usage", "progress", "notice", "retrieved", "superseded",
)  # fmt: skip


@st.composite
def logs(draw, kinds=tuple(_KINDS), metas=None):
    """(meta, entries) of one stream that ended. kinds: of the parts that may be in it; metas: a strategy of Meta."""
    meta = draw(metas) if metas is not None else meta_of()
    events = [opened(meta)]
    if draw(st.booleans()):
        events.append(ev.Progress(stage="queued"))
    for n in range(1, draw(st.integers(1, 2)) + 1):
        events.append(ev.Attempt(n=n, provider="simulated", model="m", reason="start" if n == 1 else "fallback"))
    began: list[tuple[int, str]] = []
    open_parts: list[int] = []
    for _ in range(draw(st.integers(0, 14))):
        act = draw(st.sampled_from(_ACTS))
        if act == "part" or (act == "delta" and not open_parts):
            part, kind = len(began), draw(st.sampled_from(kinds))
            tool = kind.startswith("tool")
            events.append(
                ev.PartStarted(
                    part=part, kind=kind, name="look_up" if tool else None, call=f"call_{part}" if tool else None
                )
            )
            began.append((part, kind))
            open_parts.append(part)
        elif act == "delta":
            events.append(ev.Delta(part=draw(st.sampled_from(open_parts)), text=draw(texts)))
        elif act == "end" and open_parts:
            part = draw(st.sampled_from(open_parts))
            open_parts.remove(part)
            events.append(ev.PartEnded(part=part))
        elif act == "cite" and (said := [p for p, kind in began if kind == "text"]):
            uri = draw(st.sampled_from([None, "https://example.org/a"]))
            part = draw(st.sampled_from(said))
            events.append(
                ev.Citation(
                    part=part,
                    start=0,
                    end=3,
                    source="doc1",
                    title="A",
                    passage=draw(texts),
                    uri=uri,
                    chunk=4,
                    version=1,
                )
            )
        elif act == "usage":
            events.append(ev.Usage(counted_by="host", input=draw(st.integers(0, 99)), output=3, cached=1, reasoning=2))
        elif act == "progress":
            events.append(ev.Progress(stage="retrieving", detail=draw(texts)))
        elif act == "retrieved":
            told = Source(
                document="doc1",
                version=1,
                chunk=4,
                title="A",
                published=1.0,
                indexed=2.0,
                age=3.0,
                score=draw(st.floats(0, 1)),
            )
            events.append(ev.Retrieved(namespace="acme", epoch=7, passages=[told], ms=1.5))
        elif act == "superseded":
            events.append(ev.Superseded(document="doc1", version=1, chunks=[4], deleted=draw(st.booleans())))
        elif act == "notice":
            events.append(ev.Notice(code="degraded", message="a smaller model answers"))
    reason, status = draw(st.sampled_from(_ENDS))
    if draw(st.booleans()):  # a run ends its parts; a log taken over after a crash may not have
        events.extend(ev.PartEnded(part=part) for part in open_parts)
    error = ev.ErrorInfo(code="upstream_error", message="the host refused", status=502) if status == "failed" else None
    tokens = draw(st.sampled_from([None, 7]))
    events.append(ev.Closed(status=status, reason=reason, error=error, input_tokens=tokens, output_tokens=4, ttft=12.5))
    return meta, numbered(events)
