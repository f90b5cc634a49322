"""Documents put, and found again by whoever quotes them: the whole way, through the store and the index, with each engine for words."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tidewire.core.request import Request
from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.corpus import FILLING
from tidewire.retrieval.ports import Document
from tidewire.server import library as libraries
from tidewire.server.encoders import Encoders
from tidewire.server.settings import Settings
from tidewire.telemetry.metrics import Metrics


def document(text: str, location: str = "a.md", *, title: str = "A") -> Document:
    return Document(
        location=location,
        title=title,
        text=text,
        uri=location,
        digest=text,
        published=1000.0,
        chunks=tuple(chunks(text)),
    )


@pytest.fixture(params=["tantivy", "fts5"])
async def library(request, tmp_path, monkeypatch):
    if request.param == "fts5":
        monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    else:
        pytest.importorskip("tantivy")
    made = libraries.library_of(Settings(data=str(tmp_path)), Encoders())
    async with AsyncExitStack() as stack:
        await made.run(stack, Encoders(), Metrics().encoders)
        yield made


async def put(library, *documents: Document, namespace: str = "acme") -> None:
    receipts = await library.store.put(namespace, documents)
    assert await library.index.visible(receipts[-1].seq)


async def found(library, query: str, namespace: str = "acme") -> list[str]:
    return [passage.text for passage in await searched(library, query, namespace)]


class Basin(list):
    full = False
    feed = list.extend

    async def room(self):
        pass


async def searched(library, query: str, namespace: str = "acme", limit: int = 10):
    asked = Request(model="extractive", messages=[], tenant=namespace)
    async with library.corpus.search(asked, query, limit, Basin()) as passages:
        return passages


async def test_a_passage_is_found_by_its_words_in_any_form(library):
    await put(library, document("# Streams\n\nA stream is resumed by its cursor."))
    (passage,) = await searched(library, "How do I resume STREAMS?", limit=5)
    assert (passage.title, passage.heading, passage.uri, passage.changed, passage.start) == (
        "A",
        "Streams",
        "a.md",
        1000.0,
        0,
    )
    assert passage.source.startswith("doc_")
    assert await library.corpus.count("acme") == 1


async def test_accents_camel_case_and_chinese_do_not_hide_a_word(library):
    await put(library, document("Das Caf\u00e9 der createServer \u6570\u636e\u5e93\u7d22\u5f15"))
    for query in ("cafe", "server", "createServer", "\u6570\u636e", "\u7d22\u5f15"):
        assert len(await found(library, query)) == 1, query


async def test_a_question_of_stopwords_finds_nothing(library):
    await put(library, document("What is it and how do you do?"))
    assert await found(library, "what is it?") == await found(library, "") == []


async def test_no_namespace_sees_another(library):
    await put(library, document("the acme secret"))
    await put(library, document("the other secret"), namespace="other")
    assert await found(library, "secret") == ["the acme secret"]
    assert await found(library, "secret", "other") == ["the other secret"]
    assert await found(library, "secret", "nobody") == []


async def test_passages_that_say_the_same_come_once(library):
    await put(library, *(document("Same  words.", f"{n}.md") for n in range(5)))
    assert len(await found(library, "words")) == 1


async def test_where_every_passage_speaks_of_it_the_one_that_asks_the_very_question_comes_first(library):
    await put(library, *(document(f"One stream and {n} other things", f"{n}.md") for n in range(20)))
    await put(library, document("# Questions\n\n## What is a stream?\n\nA numbered log.", "q.md"))
    assert (await found(library, "What is a stream?"))[0].startswith("# Questions")


async def test_rarer_words_weigh_more(library):
    await put(library, *(document(f"common number {n}", f"{n}.md") for n in range(20)), document("rare", "r.md"))
    weights = await library.corpus.rarity("acme", ["common", "rare", "absent"])
    assert weights["common"] < weights["rare"] < weights["absent"]


async def test_a_heading_that_is_asked_for_comes_first(library):
    await put(
        library,
        document("buffer " * 9, "a.md", title="x"),
        document("# Buffer\n\nIt holds bytes of a buffer.", "b.md", title="Buffer"),
    )
    assert (await found(library, "what is a buffer"))[0].startswith("# Buffer")


async def test_a_question_that_comes_first_of_all_waits_for_what_is_stored(tmp_path):
    made = libraries.library_of(Settings(data=str(tmp_path)), Encoders())
    async with AsyncExitStack() as stack:
        await made.run(stack, Encoders(), Metrics().encoders)
        await made.store.put("acme", [document(f"the heron {n}", f"{n}.md") for n in range(50)])
    again = libraries.library_of(Settings(data=str(tmp_path)), Encoders())
    async with AsyncExitStack() as stack:
        await again.run(stack, Encoders(), Metrics().encoders)
        assert await again.corpus.count("acme") == 50


async def test_an_answer_waits_once_for_an_index_that_is_being_filled(library, monkeypatch):
    waited = []

    async def never(within: float) -> bool:
        waited.append(within)
        return False

    monkeypatch.setattr(library.index, "filled", never)
    await library.corpus.count("acme")
    await found(library, "heron")
    assert sum(waited) < 1.5 * FILLING


async def test_what_is_deleted_is_gone_from_the_files(library, tmp_path):
    def stored() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())

    await put(library, document("the xylophonic secret"), document("something else", "b.md"))
    assert b"xylophon" in await asyncio.to_thread(stored)
    await library.store.remove("acme", ["a.md", "never.md"])
    await library.store.compact()
    assert b"xylophon" not in await asyncio.to_thread(stored)


class StillLoading:
    name = "slow@1"
    dimensions = 3

    async def encode(self, texts, *, query=False, deadline=None):
        await asyncio.sleep(3600)

    async def close(self):
        """Nothing."""


async def test_a_model_that_is_still_being_loaded_keeps_no_answer_waiting(library, monkeypatch):
    await put(library, document("the heron waits"))
    monkeypatch.setattr(library.search, "encoder", StillLoading())
    async with asyncio.timeout(30):
        assert await found(library, "heron") == ["the heron waits"]
