"""The documents as the doors see them: `doors.documents.Documents` over the store, the intake and the index."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import msgspec

from tidewire.core.errors import BadRequest, Conflict, NotFound
from tidewire.core.meter import IntakeMeter
from tidewire.doors.documents import Done, Given, Pushed
from tidewire.retrieval.intake import BATCH, Found, Intake, Report
from tidewire.retrieval.ports import Document, Index, Store
from tidewire.retrieval.reading.dates import seconds
from tidewire.retrieval.reading.page import NotRead, printable
from tidewire.retrieval.reading.suspicion import suspicious
from tidewire.retrieval.remedies import remedy
from tidewire.retrieval.sources import signed
from tidewire.retrieval.sources.supervisor import SHOWN, State
from tidewire.server.ingest_settings import SourceSettings
from tidewire.server.intake import Sources, intake_of
from tidewire.server.reindexing import Reindexing
from tidewire.server.settings import Settings
from tidewire.server.stored import Stored
from tidewire.server.troubles import Trouble, Troubles, of_source

FOREIGN: Final = "not taken: another source brought it, and a webhook changes only what it brought itself"


class Documents(Stored):
    """webhooks: the sources of that kind, by name."""

    def __init__(
        self, intake: Intake, index: Index | None, sources: Sources, webhooks: Mapping[str, SourceSettings]
    ) -> None:
        super().__init__(intake.store)
        self._intake = intake
        self._index = index
        self._sources = sources
        self._webhooks = webhooks
        self._busy: set[str] = set()  # messages of webhooks that are being done
        self._troubles = Troubles()
        self._states = {
            name: State(name, given.namespace, "webhook", f"/v1/sources/{name}/webhook")
            for name, given in webhooks.items()
        } | sources.supervisor.states

    async def put(
        self, namespace: str, given: Sequence[tuple[Given, bytes]], source: str = "", readers: tuple[str, ...] = ()
    ) -> list[Done]:
        """readers: of those that name none themselves. source: a webhook, which changes only what it brought."""
        done: list[Done] = []
        made: list[tuple[int, Document]] = []
        for n, (one, raw) in enumerate(given):
            done.append(Done(one.location, "failed"))
            try:
                document = await self._intake.made(_found(one, raw, readers), source, None)
            except (NotRead, BadRequest) as refusal:
                why = refusal.message if isinstance(refusal, BadRequest) else str(refusal)
                self._intake.counted(source, "skipped")
                self._troubles.note(namespace, source, printable(one.location), why)
                done[n] = Done(one.location, "failed", error=why)
            else:
                made.append((n, document))
        for at in range(0, len(made), BATCH):
            batch = made[at : at + BATCH]
            receipts = await self._intake.put(
                namespace, [document for _, document in batch], take="own" if source else "changed"
            )
            for (n, document), receipt in zip(batch, receipts, strict=True):
                if receipt.status == "foreign":
                    self._intake.counted(source, "skipped")
                    self._troubles.note(namespace, source, receipt.location, FOREIGN)
                    done[n] = Done(receipt.location, "failed", error=FOREIGN)
                    continue
                self._intake.counted(source, receipt.status)
                self._troubles.settle(namespace, receipt.location)
                done[n] = Done(
                    receipt.location,
                    receipt.status,
                    receipt.version,
                    receipt.chunks,
                    receipt.kept,
                    receipt.seq,
                    suspicious(document.text),
                )
        return done

    async def remove(self, namespace: str, location: str, source: str = "") -> Done:
        """source: as for `put`."""
        if not await self._store.known(namespace, [location]):
            named = await self._store.document(namespace, location)
            location = named[0].location if named is not None else location
        (receipt,) = await self._store.remove(namespace, [location], source=source or None)
        if receipt.status == "foreign":
            return Done(location, "failed", error=FOREIGN)
        self._troubles.settle(namespace, location)
        if receipt.status == "removed":
            self._intake.counted(source, "removed")
        return Done(receipt.location, receipt.status, seq=receipt.seq)

    async def visible(self, seq: int, *, full: bool, within: float) -> bool:
        return self._index is not None and await self._index.visible(seq, full=full, within=within)

    def checked(self, name: str, headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
        if name not in self._webhooks:
            raise NotFound(f"there is no webhook {name[:80]!r} in [sources]")
        message = signed.check(self._sources.keys[name], headers, body, time.time())
        return self._webhooks[name].namespace, message

    async def pushed(self, name: str, message: str, namespace: str, body: Pushed) -> bytes:
        note = f"webhook {name} {message}"
        if (before := await self._store.note(note)) is not None:
            return before.encode()
        if note in self._busy:
            raise Conflict(f"the message {message[:80]!r} is being done; send it again for its answer")
        if wrong := [one.location for one in body.documents if not one.location or one.text is None or one.delete]:
            raise BadRequest(f"each document has a location and a text; {wrong[0][:80]!r} has not", param="documents")
        self._busy.add(note)
        try:
            given = [(one, (one.text or "").encode("utf-8", "replace")) for one in body.documents]
            done = await self.put(namespace, given, name, tuple(self._webhooks[name].readers))
            done += [await self.remove(namespace, location, name) for location in body.deleted]
            self._states[name].last = time.time()
            self._states[name].report = _report(done)
            answer = msgspec.json.encode({"results": done, "failed": sum(bool(one.error) for one in done)})
            # Kept for longer than its timestamp would let it in again.
            await self._store.set_note(note, answer.decode(), expires=time.time() + 3 * signed.WINDOW)
        finally:
            self._busy.discard(note)
        return answer

    def sources(self, namespace: str) -> list[Any]:
        """Each with what may help where it fails."""
        return [
            {**msgspec.to_builtins(state), "remedy": remedy(state.error)}
            for state in self._states.values()
            if state.namespace == namespace
        ]

    def troubles(self, namespace: str) -> list[Trouble]:
        """What was sent and not taken, then what the sources could not read in their last pass."""
        return self._troubles.all(namespace) + [
            trouble
            for state in self._sources.supervisor.states.values()
            if state.namespace == namespace
            for trouble in of_source(state)
        ]


def _report(done: Sequence[Done]) -> Report:
    """What a webhook's message did, as the passes of other sources are reported."""
    refused = [(one.location, one.error) for one in done if one.error]
    counted = Counter(one.status for one in done)
    return Report(
        files=len(done),
        indexed=counted["added"] + counted["replaced"],
        unchanged=counted["unchanged"],
        removed=counted["removed"],
        left_out=len(refused),
        unread=len(refused),
        skipped=refused[:SHOWN],
    )


def _found(one: Given, raw: bytes, readers: tuple[str, ...]) -> Found:
    return Found(
        location=one.location,
        name=one.location.rpartition("/")[2] or one.location,
        uri=one.uri or one.location,
        raw=raw,
        kind=one.kind,
        title=one.title[:500],
        published=_date(one.published, "published"),
        expires=_date(one.expires, "expires"),
        readers=tuple(one.readers) or readers,
    )


def _date(said: float | str | None, name: str) -> float | None:
    """Raises BadRequest for a text that is no date."""
    if said is None:
        return None
    try:
        found: float | None = float(said)
    except ValueError:
        found = seconds(said)
    if found is None or not math.isfinite(found):
        raise BadRequest(
            f"{name} is {str(said)[:40]!r}; it must be Unix seconds or a date such as 2024-05-06", param=name
        )
    return found


async def running(
    stack: AsyncExitStack, settings: Settings, store: Store, meter: IntakeMeter, index: Index | None = None
) -> tuple[Documents, Reindexing]:
    """The documents of a house, with their sources at work until the stack is left; and who indexes them again."""
    intake = intake_of(settings.ingest, store, meter)
    stack.push_async_callback(intake.reader.close)
    sources = Sources(settings, intake)
    stack.push_async_callback(sources.close)
    sources.start()
    stack.callback(asyncio.create_task(sources.sweep()).cancel)
    hooks = {name: given for name, given in settings.sources.items() if given.kind == "webhook"}
    reindexing = Reindexing(intake, sources.supervisor)
    stack.push_async_callback(reindexing.close)
    return Documents(intake, index, sources, hooks), reindexing
