"""What a client asks of a tenant's documents, and how it reads the answers. Sans-I/O; shared by both bodies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote, urlencode

import msgspec

from tidewire.client.calls import Call


class Document(msgspec.Struct):
    """What is known of one; text: where a single one was asked for. Times are Unix seconds; pending: passages that wait for vectors."""

    id: str
    location: str
    title: str
    uri: str
    source: str
    kind: str
    version: int
    published: float
    indexed: float
    size: int
    chunks: int
    pending: int = 0
    expires: float | None = None
    readers: list[str] = []
    text: str = ""


class Put(msgspec.Struct):
    """visible: whether searches found it in time; None: nobody waited for that."""

    location: str
    status: Literal["added", "replaced", "unchanged"]
    version: int
    visible: bool | None = None


class Page(msgspec.Struct):
    """after: to ask for the next page with; None behind the last."""

    documents: list[Document]
    after: str | None = None


class Job(msgspec.Struct):
    """Documents that are being indexed again. failed: which were left as they were, and why."""

    what: str
    status: Literal["running", "done", "cancelled", "failed"]
    total: int
    done: int
    failed: list[tuple[str, str]] = []
    error: str = ""


class Parts(msgspec.Struct):
    """How a passage came to its place; None: not in that list."""

    lexical: float | None
    dense: float | None
    recency: float
    lift: float
    rerank: float | None = None


class Passage(msgspec.Struct):
    document: str
    title: str
    heading: str
    uri: str
    text: str
    published: float
    score: float
    parts: Parts


class Results(msgspec.Struct):
    """notices: what was done without."""

    passages: list[Passage]
    notices: list[str] = []


class _Job(msgspec.Struct):
    job: Job | None


def listing(*, after: str = "", limit: int = 100, source: str | None = None, like: str = "", only: str = "all") -> Call:
    """A page, by location. source: "" is what was put by hand. only: all, pending or expiring. Its answer is read by `page`."""
    asked = {"after": after, "limit": str(limit), "like": like, "only": only} | (
        {} if source is None else {"source": source}
    )
    return Call("GET", f"/v1/documents?{urlencode(asked)}")


def page(body: bytes) -> Page:
    return msgspec.json.decode(body, type=Page)


def reading(name: str) -> Call:
    """One by its id or location. Its answer is read by `document`."""
    return Call("GET", f"/v1/documents/{quote(name)}")


def document(body: bytes) -> Document:
    return msgspec.json.decode(body, type=Document)


def putting(
    location: str,
    text: str,
    *,
    kind: str = "text/markdown",
    title: str | None = None,
    uri: str | None = None,
    published: float | None = None,
    expires: float | None = None,
    readers: Sequence[str] = (),
    visible: Literal["none", "lexical", "full"] = "lexical",
) -> Call:
    """Add a document, or replace the one of this location. Times are Unix seconds. Its answer is read by `put`.

    visible: answered once searches find it by its words (lexical), by its meaning too (full), or once it is stored (none).
    """
    said = {"title": title, "uri": uri, "published": published, "expires": expires, "readers": list(readers) or None}
    told = {name: value for name, value in said.items() if value is not None}
    body = msgspec.json.encode({"text": text, "kind": kind, **told})
    return Call("PUT", f"/v1/documents/{quote(location)}?visible={visible}", body)


def put(body: bytes) -> Put:
    return msgspec.json.decode(body, type=Put)


def deleting(name: str) -> Call:
    """Delete one by its id or location: once it is answered, no search finds it."""
    return Call("DELETE", f"/v1/documents/{quote(name)}")


def reindexing(*, documents: Sequence[str] = (), source: str | None = None) -> Call:
    """Index these again, or a source's, or all. Its answer is read by `begun`; `progress` asks how far it is, read by `job`."""
    wanted = (
        {"documents": list(documents)}
        if documents
        else {"source": source}
        if source is not None
        else {"everything": True}
    )
    return Call("POST", "/v1/reindex", msgspec.json.encode(wanted))


def begun(body: bytes) -> Job:
    return msgspec.json.decode(body, type=Job)


def progress() -> Call:
    return Call("GET", "/v1/reindex")


def job(body: bytes) -> Job | None:
    return msgspec.json.decode(body, type=_Job).job


def searching(query: str, *, limit: int = 8, groups: Sequence[str] = (), sources: Sequence[str] = ()) -> Call:
    """Passages, as a member of these groups. Its answer is read by `results`."""
    asked = {"query": query, "limit": limit, "groups": list(groups), "sources": list(sources)}
    return Call("POST", "/v1/search", msgspec.json.encode(asked))


def results(body: bytes) -> Results:
    return msgspec.json.decode(body, type=Results)
