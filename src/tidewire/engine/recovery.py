"""Streams that a killed server or a full disk left open: what was said is kept, and each gets its one last event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import Expired, InternalError, TidewireError, UnknownStream
from tidewire.core.events import Entry, ErrorInfo, Event, NewEntry
from tidewire.core.ports import Log, Meta
from tidewire.engine.closing import opened

log = logging.getLogger("tidewire.recovery")

LOST = ErrorInfo(
    code="server_lost",
    message="the server stopped before the answer was complete; what it said is kept: ask again",
    status=503,
    retryable=True,
)


BROKEN = InternalError("the log could not store the rest of this answer; what it stored is kept", code="storage_failed")


async def end_orphans(store: Log, orphans: Sequence[Meta], why: ErrorInfo, *, now: int, expires: int) -> list[Meta]:
    """Close each in the next epoch; returns those for which that could not be stored. now and expires: Unix milliseconds."""
    left: list[Meta] = []
    reason: TidewireError | None = None
    for orphan in orphans:
        try:
            await _end(store, orphan, why, now=now, expires=expires)
        except (UnknownStream, Expired):  # deleted meanwhile
            continue
        except TidewireError as error:
            reason = error
            left.append(orphan)
        except Exception:  # supervisor boundary: one stream that cannot be read keeps no other from its end
            log.exception("a defect keeps a stream from its end", extra={"stream": orphan.stream})
            left.append(orphan)
    if reason is not None:  # once, not for each of them: they may be many, and are tried again every few seconds
        log.error("the ends of %d streams could not be stored", len(left), extra={"error": reason})
    return left


async def _end(store: Log, orphan: Meta, why: ErrorInfo, *, now: int, expires: int) -> None:
    found = await store.meta(orphan.tenant, orphan.stream)
    if found.ended is not None or found.created != orphan.created:  # it has its end, or another has its name
        return
    meta = msgspec.structs.replace(found, epoch=found.epoch + 1)
    said = await _read(store, found)
    writer = await store.open(meta, _ignore)
    if not said or not isinstance(said[-1], ev.Closed):  # else only its meta was still to be written
        writer.append(_last_words(said, meta, why))
    await writer.close(msgspec.structs.replace(meta, ended=now, expires=expires))
    log.warning("a stream left open was ended", extra={"stream": meta.stream})


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


def _last_words(said: Sequence[Event], meta: Meta, why: ErrorInfo) -> list[Entry]:
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
        closing.append(opened(meta))
    closing += [ev.PartEnded(part=part) for part in open_parts]
    if usage is None:
        usage = ev.Usage(counted_by="server", output=tokens)
        closing.append(usage)
    closing.append(
        ev.Closed(status="failed", reason="error", error=why, input_tokens=usage.input, output_tokens=usage.output)
    )
    at = said[-1].at if said else 0
    entries: list[Entry] = []
    for seq, event in enumerate(closing, len(said) + 1):
        event.seq, event.at = seq, at
        entries.append(NewEntry(seq, ev.encode(event), event))
    return entries


def _ignore(error: Exception) -> None:
    """What the writer fails with, its close raises."""
