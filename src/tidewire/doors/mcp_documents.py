"""What an MCP client may ask of the documents: two tools, `search` and `fetch`, in the shapes that research connectors expect, and resources."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final
from urllib.parse import quote, unquote

import msgspec
from msgspec import Meta

from tidewire.core.errors import BadRequest
from tidewire.doors.documents import Stored
from tidewire.doors.search import Asked, Preset, Searching

SCHEME: Final = "tidewire://documents/"
PAGE: Final = 100  # resources in one answer
LONGEST: Final = (
    200_000  # characters of a text in one answer: more than most models read, and a few megabytes at most as JSON
)
INVALID: Final = -32602
NOT_FOUND: Final = -32002  # of a resource, at 2025-11-25; later it is INVALID


class Refusal(Exception):
    """The message is for the client. resource: what is not there is a resource."""

    def __init__(self, message: str, *, resource: bool = False) -> None:
        super().__init__(message)
        self._resource = resource

    def code(self, *, modern: bool) -> int:
        return NOT_FOUND if self._resource and not modern else INVALID


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    query: Annotated[str, Meta(min_length=1, max_length=20_000, description="What to look for, in plain words.")]
    k: Annotated[int, Meta(ge=1, le=50, description="How many passages.")] = 8
    sources: Annotated[list[str], Meta(max_length=256, description="Names of sources; none: all.")] = []
    since: Annotated[float | None, Meta(description="Published since, in Unix seconds.")] = None
    until: Annotated[float | None, Meta(description="Published until, in Unix seconds.")] = None
    recency: Annotated[Preset | None, Meta(description="How much what is new counts.")] = None


class Fetch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Annotated[str, Meta(min_length=1, max_length=4096, description="The id of a result of `search`.")]
    start: Annotated[int, Meta(ge=0, description="From which character on; `next` of the part before.")] = 0


class Hit(msgspec.Struct, frozen=True):
    """id: of the document, for `fetch`. age: seconds since it was published. parts: of the score."""

    id: str
    title: str
    url: str
    text: str
    age: float
    score: float
    parts: dict[str, float | None]


class Hits(msgspec.Struct, frozen=True):
    results: list[Hit]


class Whole(msgspec.Struct, frozen=True):
    """text: whole, or a part of it; then metadata has `next`, where the next part starts, and `characters`, how long all is."""

    id: str
    title: str
    text: str
    url: str
    metadata: dict[str, Any]


class Shelf:
    """groups: whose documents may be read besides those for everybody; a model cannot vouch for more.

    Each method is given the caller's tenant and the request's parameters, and raises Refusal.
    """

    def __init__(
        self, documents: Stored, searching: Searching, groups: Sequence[str], called: Callable[[str, str], None]
    ) -> None:
        """called: told of each call of a tool: which, and whether it was ok or failed."""
        self._documents = documents
        self._searching = searching
        self._groups = list(groups)
        self._called = called

    async def nothing(self, tenant: str, params: dict[str, Any]) -> dict[str, Any]:
        return {}

    async def tools(self, tenant: str, params: dict[str, Any]) -> dict[str, Any]:
        return {"tools": TOOLS}

    async def call(self, tenant: str, params: dict[str, Any]) -> dict[str, Any]:
        """What is wrong with arguments is a failed result, which a model reads and mends; an unknown tool is the client's error."""
        name, given = params.get("name"), params.get("arguments", {})
        if name not in ("search", "fetch"):
            raise Refusal(f"there is no tool {str(name)[:80]!r}; there are search and fetch")
        outcome = "failed"
        try:
            if name == "search":
                result = _result(await self._search(tenant, msgspec.convert(given, Search)))
            else:
                result = _result(await self._fetch(tenant, msgspec.convert(given, Fetch)))
            outcome = "ok"
        except msgspec.ValidationError as error:
            result = _wrong(f"the arguments are not as they must be: {error}")
        except BadRequest as error:
            result = _wrong(error.message)
        finally:
            self._called(name, outcome)
        return result

    async def list(self, tenant: str, params: dict[str, Any]) -> dict[str, Any]:
        cursor = params.get("cursor", "")
        if not isinstance(cursor, str):
            raise Refusal("the cursor is none that this server gave")
        while True:
            page = await self._documents.page(tenant, after=cursor, limit=PAGE, source=None, like="", only="all")
            now = time.time()
            shown = [one for one in page if self._readable(one.readers) and (one.expires is None or one.expires > now)]
            if shown or len(page) < PAGE:
                break
            cursor = page[-1].location
        found: dict[str, Any] = {
            "resources": [
                {"uri": _uri(one.id), "name": one.location, "title": one.title, "mimeType": "text/plain"}
                for one in shown
            ]
        }
        # A cursor is a location, and the last of the page may be one that this client must not learn.
        return found | ({"nextCursor": shown[-1].location} if len(page) == PAGE else {})

    async def templates(self, tenant: str, params: dict[str, Any]) -> dict[str, Any]:
        template = {"uriTemplate": SCHEME + "{id}", "name": "document", "mimeType": "text/plain"}
        return {"resourceTemplates": [template | {"description": "A document by the id that search gives."}]}

    async def read(self, tenant: str, params: dict[str, Any]) -> dict[str, Any]:
        uri = params.get("uri")
        if not isinstance(uri, str) or not uri.startswith(SCHEME):
            raise Refusal(f"there is no resource {str(uri)[:200]!r}; they begin with {SCHEME}", resource=True)
        found = await self._one(tenant, unquote(uri[len(SCHEME) :]))
        if found is None:
            raise Refusal(f"there is no resource {uri[:200]!r}", resource=True)
        if len(found["text"]) > LONGEST:
            said = f"the document has {len(found['text'])} characters, and a resource {LONGEST} at most"
            raise Refusal(f"{said}; the tool fetch gives it in parts")
        return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": found["text"]}]}

    async def _search(self, tenant: str, asked: Search) -> Hits:
        found = await self._searching.find(
            tenant,
            Asked(
                query=asked.query,
                limit=asked.k,
                groups=self._groups,
                sources=asked.sources,
                since=asked.since,
                until=asked.until,
                recency=asked.recency,
            ),
        )
        now = time.time()
        return Hits([_hit(passage, now) for passage in found["passages"]])

    async def _fetch(self, tenant: str, asked: Fetch) -> Whole:
        found = await self._one(tenant, asked.id)
        if found is None:
            raise BadRequest(f"there is no document {asked.id[:200]!r}; ids are those that search gives")
        known = {name: found.get(name) for name in ("source", "version", "published", "indexed", "expires")}
        end = asked.start + LONGEST
        known["characters"] = length = len(found["text"])
        if asked.start > length:
            raise BadRequest(f"start is {asked.start}, and the document has {length} characters")
        known["next"] = end if end < length else None
        text = found["text"][asked.start : end]
        return Whole(found["id"], found["title"], text, found["uri"] or _uri(found["id"]), known)

    async def _one(self, tenant: str, name: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = await self._documents.one(tenant, name)
        return found if found is not None and self._readable(found.get("readers", ())) else None

    def _readable(self, readers: Sequence[str]) -> bool:
        return not readers or not set(readers).isdisjoint(self._groups)


def _uri(document: str) -> str:
    return SCHEME + quote(document, safe="")


def _hit(passage: dict[str, Any], now: float) -> Hit:
    return Hit(
        id=passage["document"],
        title=passage["title"],
        url=passage["uri"] or _uri(passage["document"]),
        text=passage["text"],
        age=max(0.0, round(now - passage["published"], 1)),
        score=passage["score"],
        parts=passage["parts"],
    )


def _result(found: Hits | Whole) -> dict[str, Any]:
    """Twice: as it is, and as JSON in a text, which is all that some clients read."""
    text = msgspec.json.encode(found).decode()
    return {"content": [{"type": "text", "text": text}], "structuredContent": msgspec.to_builtins(found)}


def _wrong(message: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": message}], "isError": True}


def _schema(kind: type) -> dict[str, Any]:
    """With everything that it refers to in it, as clients expect it."""
    (top,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    schema: dict[str, Any] = parts.pop(top["$ref"].rpartition("/")[2])
    return schema | ({"$defs": parts} if parts else {})


def _tool(name: str, title: str, text: str, given: type, found: type) -> dict[str, Any]:
    hints = {"readOnlyHint": True, "openWorldHint": False}
    schemas = {"inputSchema": _schema(given), "outputSchema": _schema(found)}
    return {"name": name, "title": title, "description": text, "annotations": hints, **schemas}


FETCH: Final = (
    f"The whole text of a document by its id. A text of more than {LONGEST} characters comes in parts: where "
    "`metadata.next` is a number, fetch again with it as `start`."
)
TOOLS: Final = [
    _tool("search", "Search documents", "Find passages of the documents, best first.", Search, Hits),
    _tool("fetch", "Fetch a document", FETCH, Fetch, Whole),
]
