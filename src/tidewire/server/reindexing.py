"""`doors.reindex.Reindexing`: documents read, cut and embedded anew, in the background.

What a source of the settings brings is read from there again. All else (put by hand, pushed, of a source that is no longer in the
settings) is cut again from the text that is stored. Chunks wait for vectors anew in both, and keep the old ones until then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final, Literal

import msgspec

from tidewire.core.errors import Conflict, NotFound, TidewireError
from tidewire.doors.reindex import Wanted
from tidewire.retrieval.intake import Intake
from tidewire.retrieval.ports import Known
from tidewire.retrieval.reading.page import NotRead
from tidewire.retrieval.sources.supervisor import Supervisor

log = logging.getLogger("tidewire.server")

PAGE: Final = 200  # documents that are asked for at once
NAMED: Final = 50  # failures that a job names


class Job(msgspec.Struct):
    """what: everything, a source's name, a document's title, or how many documents. done: of about `total` documents, as they were counted
    at its beginning. failed: what was left as it was, and why. began, ended: Unix seconds.
    """

    what: str
    total: int
    began: float
    status: Literal["running", "done", "cancelled", "failed"] = "running"
    done: int = 0
    failed: list[tuple[str, str]] = []
    error: str = ""
    ended: float | None = None


class Reindexing:
    def __init__(self, intake: Intake, supervisor: Supervisor) -> None:
        self._intake = intake
        self._store = intake.store
        self._supervisor = supervisor
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._passes: dict[str, str] = {}  # by namespace, the source that is being read

    async def begin(self, namespace: str, wanted: Wanted) -> Job:
        documents = [await self._named(namespace, name) for name in wanted.documents]
        counts = {one.source: one.documents for one in await self._store.shelves(namespace, time.time())}
        counts |= {name: counts.get(name, 0) for name in self._own(namespace)}
        if wanted.source is not None and wanted.source not in counts:
            raise NotFound(f"there is no source {wanted.source[:80]!r} with documents here", code="unknown_source")
        if (running := self._jobs.get(namespace)) is not None and running.status == "running":
            raise Conflict(f"{running.what} is being indexed again; wait for its end, or stop it")
        sources = [] if documents else [wanted.source] if wanted.source is not None else list(counts)
        job = Job(_called(wanted, documents), len(documents) or sum(counts[name] for name in sources), time.time())
        self._jobs[namespace] = job
        self._tasks[namespace] = asyncio.create_task(self._run(namespace, job, documents, sources))
        return job

    def job(self, namespace: str) -> Job | None:
        job = self._jobs.get(namespace)
        if job is None or (name := self._passes.get(namespace)) is None:
            return job
        return msgspec.structs.replace(job, done=job.done + self._supervisor.states[name].report.indexed)

    async def end(self, namespace: str) -> Job | None:
        job = self._jobs.get(namespace)
        if job is None or job.status != "running":
            return None
        await self._stop(self._tasks[namespace])
        return job

    async def close(self) -> None:
        for task in self._tasks.values():
            await self._stop(task)

    async def _stop(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait((task,))

    async def _named(self, namespace: str, name: str) -> Known:
        found = await self._store.document(namespace, name)
        known = found[0] if found is not None else (await self._store.known(namespace, [name])).get(name)
        if known is None:
            raise NotFound(f"there is no document {name[:200]!r}", code="unknown_document")
        return known

    def _own(self, namespace: str) -> list[str]:
        """The sources that can be read again."""
        return [name for name, state in self._supervisor.states.items() if state.namespace == namespace]

    async def _run(self, namespace: str, job: Job, documents: Sequence[Known], sources: Sequence[str]) -> None:
        try:
            await self._cut(namespace, job, documents)
            own = self._own(namespace)
            for source in sources:
                if source in own:
                    await self._read(namespace, job, source)
                else:
                    async for page in self._pages(namespace, source):
                        await self._cut(namespace, job, page)
            job.status = "done"
        except asyncio.CancelledError:
            job.status = "cancelled"
            raise
        except TidewireError as error:
            job.status, job.error = "failed", error.message
        except Exception:  # supervisor boundary: the documents are as they were, or indexed again
            log.exception("a defect while documents were indexed again")
            job.status, job.error = "failed", "something went wrong in the server; its log says what"
        finally:
            job.ended = time.time()
            self._passes.pop(namespace, None)

    async def _read(self, namespace: str, job: Job, source: str) -> None:
        """A source that cannot be read now is said, and the others go on."""
        self._passes[namespace] = source
        try:
            report = await self._supervisor.once(source, again=True)
        except TidewireError as error:
            job.failed = [*job.failed, (source, error.message)][:NAMED]
        else:
            job.done += report.indexed
            job.failed = [*job.failed, *report.skipped][:NAMED]
        finally:
            self._passes.pop(namespace, None)

    async def _pages(self, namespace: str, source: str) -> AsyncIterator[list[Known]]:
        after = ""
        while page := await self._store.documents(namespace, after=after, limit=PAGE, source=source):
            yield page
            after = page[-1].location

    async def _cut(self, namespace: str, job: Job, documents: Sequence[Known]) -> None:
        for known in documents:
            found = await self._store.document(namespace, known.id)
            if found is None:
                continue
            try:
                document = await self._intake.cut_again(*found)
            except NotRead as refusal:
                job.failed = [*job.failed, (known.location, str(refusal))][:NAMED]
            else:
                (receipt,) = await self._intake.put(namespace, [document], take="same")
                self._intake.counted(known.source, receipt.status)
                job.done += 1


def _called(wanted: Wanted, documents: Sequence[Known]) -> str:
    if wanted.everything:
        return "everything"
    if wanted.source is not None:
        return wanted.source or "what was put by hand"
    return documents[0].title if len(documents) == 1 else f"{len(documents)} documents"
