"""Documents read, cut and embedded anew: begun, looked at, ended. One at a time for a tenant."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from tidewire.core.errors import BadRequest, NotFound
from tidewire.doors.call import Call, decoded


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body: one of the three. documents: ids or locations. source: the name of one; "" is what was put by hand."""

    documents: Annotated[list[str], Meta(max_length=1000)] = []
    source: str | None = None
    everything: bool = False


class Reindexing(Protocol):
    """What the routes need of retrieval. A job is what is put into an answer as JSON; namespace: the caller's tenant."""

    async def begin(self, namespace: str, wanted: Wanted) -> Any:
        """Raises NotFound for a document or a source that is not there, Conflict while another job runs."""

    def job(self, namespace: str) -> Any | None:
        """The one that runs, else the last; None where there was none since the server began."""

    async def end(self, namespace: str) -> Any | None:
        """Stop it: what was done stays done. None where none runs."""


class ReindexRoutes:
    def __init__(self, reindexing: Reindexing) -> None:
        self._reindexing = reindexing

    async def begin(self, call: Call) -> None:
        """POST /v1/reindex"""
        wanted = decoded(await call.body(), Wanted)
        if bool(wanted.documents) + (wanted.source is not None) + wanted.everything != 1:
            raise BadRequest(
                "say what to index again: documents, source or everything, and one of them", param="documents"
            )
        await call.json(await self._reindexing.begin(call.tenant, wanted), 202)

    async def job(self, call: Call) -> None:
        """GET /v1/reindex"""
        await call.json({"job": self._reindexing.job(call.tenant)})

    async def end(self, call: Call) -> None:
        """DELETE /v1/reindex"""
        job = await self._reindexing.end(call.tenant)
        if job is None:
            raise NotFound("no document is being indexed again", code="unknown_job")
        await call.json(job)
