"""Streams that a killed server left open: what was said is kept, and each gets its one last event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from tidewire.core import events as ev
from tidewire.core.events import Entry, ErrorInfo, Event, NewEntry
from tidewire.core.ports import Log, Meta

log = logging.getLogger("tidewire.recovery")

LOST = ErrorInfo(
    code="server_lost",
    message="the server stopped before the answer was complete; what it said is kept: ask again",
    status=503,
    retryable=True,
)


async def end_orphans(store: Log, orphans: Sequence[Meta], *, now: int, expires: int) -> None:
    """Close each in the next epoch. now and expires: Unix milliseconds."""
    for orphan in orphans:
        try:
            await _end(store, orphan, now=now, expires=expires)
        except Exception:  # supervisor boundary: one stream that cannot be read keeps no other from its end
            log.exception("a stream left open by a killed server could not be ended", extra={"stream": orphan.stream})


async def _end(store: Log, orphan: Meta, *, now: int, expires: int) -> None:
    meta = msgspec.structs.replace(orphan, epoch=orphan.epoch + 1, ended=now, expires=expires)
    said = await _read(store, orphan)
    writer = await store.open(meta, _report)
    if not said or not isinstance(said[-1], ev.Closed):  # else only its meta was still to be written
        writer.append(_last_words(said, meta))
    await writer.close(meta)
    log.warning("a stream left open by a killed server was ended", extra={"stream": meta.stream})


async def _read(store: Log, meta: Meta) -> list[Event]:
    arrived = asyncio.Event()
    cursor = await store.cursor(meta.tenant, meta.stream, 0, arrived.set)
    said: list[Event] = []
    try:
        while len(said) < meta.last:
            arrived.clear()
            entries = cursor.take(1024)
            said.extend(entry.event for entry in entries)
            if not entries and cursor.failed is None:
                await arrived.wait()
            elif not entries:
                break
    finally:
        cursor.close()
    return said


def _last_words(said: Sequence[Event], meta: Meta) -> list[Entry]:
    open_parts: dict[int, None] = {}
    tokens = 0
    usage: ev.Usage | None = None
    for event in said:
        if isinstance(event, ev.PartStarted):
            open_parts[event.part] = None
        elif isinstance(event, ev.PartEnded):
            open_parts.pop(event.part, None)
        elif isinstance(event, ev.Delta):
            tokens += 1
        elif isinstance(event, ev.Usage):
            usage = event
    closing: list[Event] = []
    if not said:  # killed between the promise of the stream and its first event
        closing.append(
            ev.Opened(
                stream=meta.stream,
                model=meta.model,
                created=meta.created,
                durability=meta.durability,
                on_disconnect=meta.on_disconnect,
                protocol=ev.PROTOCOL,
                epoch=meta.epoch,
                chat=meta.chat,
            )
        )
    closing += [ev.PartEnded(part=part) for part in open_parts]
    if usage is None:
        usage = ev.Usage(counted_by="server", output=tokens)
        closing.append(usage)
    closing.append(
        ev.Closed(status="failed", reason="error", error=LOST, input_tokens=usage.input, output_tokens=usage.output)
    )
    at = said[-1].at if said else 0
    entries: list[Entry] = []
    for seq, event in enumerate(closing, len(said) + 1):
        event.seq, event.at = seq, at
        entries.append(NewEntry(seq, ev.encode(event), event))
    return entries


def _report(error: Exception) -> None:
    log.error("the end of an orphaned stream could not be stored", exc_info=error)
