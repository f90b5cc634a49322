"""What is indexed, and what became of it: by source and age, what waits, what was not taken and why. And a document's passages."""

from __future__ import annotations

from typing import Any, Final, Protocol

from tidewire.core.errors import BadRequest, NotFound
from tidewire.doors.call import Call

PAGE: Final = 200  # passages in one answer


class Library(Protocol):
    """What the routes need of retrieval. namespace: the caller's tenant."""

    async def look(self, namespace: str) -> Any:
        """What is put into the answer as JSON."""

    async def passages(self, namespace: str, document: str, *, after: int, limit: int) -> list[Any] | None:
        """Of a document by its id, in order, those behind the chunk `after`; None where there is no such document."""


class LibraryRoutes:
    def __init__(self, library: Library) -> None:
        self._library = library

    async def look(self, call: Call) -> None:
        """GET /v1/library"""
        await call.json(await self._library.look(call.tenant))

    async def passages(self, call: Call) -> None:
        """GET /v1/passages?document=&after=&limit="""
        document = call.query.get("document", "")
        limit = call.number("limit", 50)
        if not document:
            raise BadRequest(
                "document is missing; it is the id of one, as GET /v1/documents lists them", param="document"
            )
        if not 1 <= limit <= PAGE:
            raise BadRequest(f"limit is {limit}; it may be 1 to {PAGE}", param="limit")
        found = await self._library.passages(call.tenant, document, after=call.number("after", 0), limit=limit)
        if found is None:
            raise NotFound(f"there is no document {document[:200]!r}", code="unknown_document")
        await call.json({"passages": found, "after": found[-1]["chunk"] if len(found) == limit else None})
