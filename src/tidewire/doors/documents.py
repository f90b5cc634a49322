"""Documents over HTTP: put, look at, delete; and what other systems send of their own accord, signed.

The namespace is the caller's tenant; that of a webhook is the one its source has in the settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeVar, get_args

import msgspec

from tidewire.core.errors import BadRequest, NotFound
from tidewire.doors.call import Call, decoded

T = TypeVar("T")
Only = Literal["all", "pending", "expiring"]
ONLY: Final[tuple[Only, ...]] = get_args(Only)
PAGE: Final = 1000  # documents in one answer
LINES: Final = 10_000  # of one body
WAIT: Final = 10.0  # seconds that a caller waits for a document to be found, where it does not say
LONGEST_WAIT: Final = 60.0
LONGEST: Final = 4096  # characters of a location


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document as a caller gives it. published, expires: Unix seconds or a date (ISO 8601). delete: take it out instead."""

    location: str = ""
    text: str | None = None
    title: str = ""
    uri: str = ""
    kind: str = ""
    published: float | str | None = None
    expires: float | str | None = None
    readers: list[str] = []
    delete: bool = False


class Pushed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a webhook. deleted: locations."""

    documents: list[Given] = []
    deleted: list[str] = []


class Done(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one. error: why nothing became of it. kept: of its chunks, those that had their vector already."""

    location: str
    status: str
    version: int = 0
    chunks: int = 0
    kept: int = 0
    seq: int = 0
    suspicious: str = ""
    error: str = ""


Puts = list[tuple[int, Given]]  # lines of a batch, each with its number
Report = list[Done]  # by number


class Stored(Protocol):
    """Documents as they are read."""

    async def page(
        self, namespace: str, *, after: str, limit: int, source: str | None, like: str, only: Only
    ) -> list[Any]:
        """only: those that wait for vectors, or expire within a day."""

    async def one(self, namespace: str, name: str) -> Any | None:
        """By id, else by location; with its text."""


class Documents(Stored, Protocol):
    """What the routes need of retrieval."""

    async def put(self, namespace: str, given: Sequence[tuple[Given, bytes]]) -> list[Done]:
        """In their order; one that cannot be read, or has a date that is none, has an error, and the others go in."""

    async def remove(self, namespace: str, location: str) -> Done: ...

    async def visible(self, seq: int, *, full: bool, within: float) -> bool: ...

    def checked(self, name: str, headers: Mapping[str, str], body: bytes) -> tuple[str, str]:
        """The namespace of a webhook's source and the message's id. Raises NotFound, Unauthorized, BadRequest."""

    async def pushed(self, name: str, message: str, namespace: str, body: Pushed) -> bytes:
        """Do what a webhook says, once: the same message again is given the answer of the first time."""

    def sources(self, namespace: str) -> list[Any]: ...


class DocumentRoutes:
    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        # By address and method. A webhook asks for no API key: its signature says who it is.
        self.routes: dict[str, dict[str, Any]] = {
            "/v1/documents": {"get": self.list, "post": self.batch},
            "/v1/documents/{location:path}": {"put": self.put, "get": self.get, "delete": self.delete},
            "/v1/sources": {"get": self.sources},
        }
        self.open_routes: dict[str, dict[str, Any]] = {"/v1/sources/{name}/webhook": {"post": self.webhook}}

    async def put(self, call: Call) -> None:
        """PUT /v1/documents/{location}: bytes of any format that is read, or JSON with the text and what is known of it."""
        location = _location(call)
        wait = _wait(call, "none")
        body = await call.body()
        if _media(call) == "application/json":
            given = msgspec.structs.replace(decoded(body, Given), location=location)
            if given.text is None or given.delete:
                raise BadRequest("JSON to put has a text; other fields are in docs/ingest.md", param="text")
            raw = given.text.encode("utf-8", "replace")
        else:
            asked = call.query
            given = Given(
                location=location,
                title=asked.get("title", ""),
                uri=asked.get("uri", ""),
                kind=_media(call),
                published=asked.get("published"),
                expires=asked.get("expires"),
                readers=[reader for reader in asked.get("readers", "").split(",") if reader],
            )
            raw = body
        (done,) = await self._documents.put(call.tenant, [(given, raw)])
        if done.error:
            raise BadRequest(f"{done.location[:200]}: {done.error}", code="document_not_read")
        await self._answer(call, done, wait, 201 if done.status == "added" else 200)

    async def delete(self, call: Call) -> None:
        """DELETE /v1/documents/{location or id}: once it is answered, no search finds it."""
        wait = _wait(call, "lexical")
        done = await self._documents.remove(call.tenant, _location(call))
        if done.status != "removed":
            raise NotFound(f"there is no document {done.location[:200]!r}", code="unknown_document")
        await self._answer(call, done, wait, 200)

    async def get(self, call: Call) -> None:
        """GET /v1/documents/{id or location}: what is known of it, and its text."""
        name = _location(call)
        found = await self._documents.one(call.tenant, name)
        if found is None:
            raise NotFound(f"there is no document {name[:200]!r}", code="unknown_document")
        await call.json(found)

    async def list(self, call: Call) -> None:
        """GET /v1/documents?after=&limit=&source=&like=&only=: by location, a page at a time."""
        limit = call.number("limit", 100)
        if not 1 <= limit <= PAGE:
            raise BadRequest(f"limit is {limit}; it may be 1 to {PAGE}", param="limit")
        asked = call.query
        only = next((only for only in ONLY if only == asked.get("only", "all")), None)
        if only is None:
            raise BadRequest(f"only is {asked['only'][:40]!r}; it may be {', '.join(ONLY)}", param="only")
        found = await self._documents.page(
            call.tenant,
            after=asked.get("after", ""),
            limit=limit,
            source=asked.get("source"),
            like=asked.get("like", ""),
            only=only,
        )
        await call.json({"documents": found, "after": found[-1].location if len(found) == limit else None})

    async def batch(self, call: Call) -> None:
        """POST /v1/documents: JSON lines, a document each, or {"location": ..., "delete": true}; a report for each line."""
        wait = _wait(call, "none")
        lines = [line for line in (await call.body()).splitlines() if line.strip()]
        if len(lines) > LINES:
            raise BadRequest(f"the body has {len(lines)} lines, and {LINES} is the limit", code="too_many_documents")
        done: Report = []
        puts: Puts = []  # those at the end so far, which go in together
        for n, line in enumerate(lines):
            done.append(Done("", "failed"))
            try:
                given = decoded(line, Given)
                done[n] = Done(given.location[:LONGEST], "failed")
                if not given.location or len(given.location) > LONGEST or (given.text is None) != given.delete:
                    raise BadRequest("a line has a location, and a text or delete")
                if given.delete:
                    await self._put(call.tenant, puts, done)
                    done[n] = await self._documents.remove(call.tenant, given.location)
                else:
                    puts.append((n, given))
            except BadRequest as error:
                done[n] = msgspec.structs.replace(done[n], error=error.message)
        await self._put(call.tenant, puts, done)
        seq = max((one.seq for one in done), default=0)
        body: dict[str, Any] = {"results": done, "failed": sum(bool(one.error) for one in done)}
        if wait is not None:
            body["visible"] = await self._documents.visible(seq, full=wait[0], within=wait[1])
        await call.json(body)

    async def _put(self, tenant: str, puts: Puts, done: Report) -> None:
        """What is in `puts` is stored, reported in `done`, and taken out."""
        made = await self._documents.put(
            tenant, [(one, (one.text or "").encode("utf-8", "replace")) for _, one in puts]
        )
        for (n, _), one in zip(puts, made, strict=True):
            done[n] = one
        puts.clear()

    async def webhook(self, call: Call) -> None:
        """POST /v1/sources/{name}/webhook: no API key, the signature says who it is."""
        body = await call.body()
        name = call.path["name"]
        namespace, message = self._documents.checked(name, call.headers, body)
        answer = await self._documents.pushed(name, message, namespace, decoded(body, Pushed))
        await call.reply(200, [("content-type", "application/json")], answer)

    async def sources(self, call: Call) -> None:
        """GET /v1/sources: how each source of the settings is."""
        await call.json({"sources": self._documents.sources(call.tenant)})

    async def _answer(self, call: Call, done: Done, wait: tuple[bool, float] | None, status: int) -> None:
        body = msgspec.to_builtins(done)
        if wait is not None:
            body["visible"] = await self._documents.visible(done.seq, full=wait[0], within=wait[1])
        await call.json(body, status)


def _location(call: Call) -> str:
    location: str = call.path["location"]
    if not location or len(location) > LONGEST:
        raise BadRequest(f"a document's location has 1 to {LONGEST} characters", param="location")
    return location


def _media(call: Call) -> str:
    kind: str = call.headers.get("content-type", "")
    return kind.partition(";")[0].strip().lower()


def _wait(call: Call, otherwise: str) -> tuple[bool, float] | None:
    """Whether to wait until it is found by meaning too, and how long; None: not at all."""
    asked = call.query.get("visible", otherwise)
    if asked not in ("lexical", "full", "none"):
        raise BadRequest(f"visible is {asked[:40]!r}; it may be lexical, full or none", param="visible")
    try:
        within = float(call.query.get("timeout", WAIT))
    except ValueError:
        within = -1.0
    if not 0 <= within <= LONGEST_WAIT:
        raise BadRequest(f"timeout is a number of seconds from 0 to {LONGEST_WAIT:g}", param="timeout")
    return None if asked == "none" else (asked == "full", within)
