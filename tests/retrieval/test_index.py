from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidewire.retrieval import store
from tidewire.retrieval.documents import Document
from tidewire.retrieval.index import Index


def document(text: str, location: str = "/docs/a.md", *, title: str = "A", digest: str = "1") -> Document:
    return Document(
        location=location, title=title, text=text, uri=location.rpartition("/")[2], changed=1000.0, digest=digest
    )


@pytest.fixture
async def index() -> AsyncIterator[Index]:
    index = Index(":memory:")
    yield index
    await index.close()


async def found(index: Index, query: str, namespace: str = "acme") -> list[str]:
    return [passage.text for passage in await index.search(namespace, query, 10)]


async def test_a_passage_is_found_by_its_words_in_any_form(index: Index) -> None:
    await index.put("acme", [document("# Streams\n\nA stream is resumed by its cursor.")])
    (passage,) = await index.search("acme", "How do I resume STREAMS?", 5)
    assert passage.title == "A"
    assert passage.heading == "Streams"
    assert passage.uri == "a.md"
    assert passage.changed == 1000.0
    assert passage.start == 0
    assert passage.source.startswith("doc_")


async def test_accents_camel_case_and_chinese_do_not_hide_a_word(index: Index) -> None:
    await index.put("acme", [document("Das Café der createServer 数据库索引")])
    for query in ("cafe", "server", "createServer", "数据", "索引"):
        assert len(await found(index, query)) == 1, query


async def test_a_question_of_stopwords_finds_nothing(index: Index) -> None:
    await index.put("acme", [document("What is it and how do you do?")])
    assert await found(index, "what is it?") == await found(index, "") == []


async def test_no_namespace_sees_another(index: Index) -> None:
    await index.put("acme", [document("the acme secret")])
    await index.put("other", [document("the other secret")])
    assert await found(index, "secret") == ["the acme secret"]
    assert await found(index, "secret", "other") == ["the other secret"]
    assert await found(index, "secret", "nobody") == []
    assert await index.count("nobody") == 0
    assert await index.remove("other", ["/docs/a.md"]) == 1
    assert await found(index, "secret") == ["the acme secret"]


async def test_putting_a_document_again_replaces_all_of_it(index: Index) -> None:
    await index.put("acme", [document("# One\n\n" + "old words. " * 300)])
    assert await index.put("acme", [document("new words")]) == 1
    assert await index.count("acme") == 1
    assert await found(index, "old") == []
    assert await found(index, "new") == ["new words"]
    (known,) = await index.documents("acme")
    assert (known.uri, known.chunks, known.size) == ("a.md", 1, 9)


async def test_a_batch_that_fails_leaves_everything_as_it_was(index: Index) -> None:
    await index.put("acme", [document("old words")])
    with pytest.raises(UnicodeEncodeError):
        await index.put("acme", [document("new words"), document("\ud800", "/docs/b.md")])
    assert await found(index, "old") == ["old words"]
    assert await index.count("acme") == 1


async def test_passages_that_say_the_same_come_once(index: Index) -> None:
    await index.put("acme", [document("Same  words.", f"/docs/{n}.md") for n in range(5)])
    assert len(await found(index, "words")) == 1


async def test_where_every_passage_speaks_of_it_the_one_that_asks_the_very_question_comes_first(index: Index) -> None:
    await index.put("acme", [document(f"One stream and {n} other things", f"/docs/{n}.md") for n in range(20)])
    await index.put("acme", [document("# Questions\n\n## What is a stream?\n\nA numbered log.", "/docs/q.md")])
    assert (await found(index, "What is a stream?"))[0].startswith("# Questions")


async def test_rarer_words_weigh_more(index: Index) -> None:
    await index.put(
        "acme", [document(f"common number {n}", f"/docs/{n}.md") for n in range(20)] + [document("rare", "/docs/r.md")]
    )
    weights = await index.rarity("acme", ["common", "rare", "absent"])
    assert weights["common"] < weights["rare"] < weights["absent"]


async def test_a_heading_that_is_asked_for_comes_first(index: Index) -> None:
    await index.put(
        "acme",
        [
            document("buffer " * 9, "/docs/a.md", title="x"),
            document("# Buffer\n\nIt holds bytes of a buffer.", "/docs/b.md", title="Buffer"),
        ],
    )
    assert (await found(index, "what is a buffer"))[0].startswith("# Buffer")


async def test_what_is_deleted_is_gone_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    index = Index(path)
    await index.put("acme", [document("the xylophonic secret"), document("something else", "/docs/b.md")])
    assert b"xylophon" in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert await index.remove("acme", ["/docs/a.md", "/docs/never.md"]) == 1
    assert await found(index, "xylophonic") == []
    await index.compact("acme")
    assert b"xylophon" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    await index.close()


async def test_an_index_is_the_same_after_it_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in (store.VERSION, store.VERSION, store.VERSION + 1):
        monkeypatch.setattr(store, "VERSION", version)
        index = Index(tmp_path / "deep" / "index.sqlite")
        await index.put("acme", [document("some words")])
        assert await found(index, "words") == ["some words"]
        await index.close()
        await index.close()


QUERIES = st.text(max_size=60) | st.lists(
    st.sampled_from(
        ['"', "'", "*", "(", ")", "NEAR", "AND", "OR", "NOT", "^", ":", "-", "{", "}", "words", "title:", "\0", "六"]
    ),
    max_size=12,
).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(queries=st.lists(QUERIES, min_size=1, max_size=10))
async def test_no_query_is_too_odd(queries: list[str]) -> None:
    index = Index(":memory:")
    await index.put("acme", [document("some words")])
    for query in queries:
        for passage in await index.search("acme", query, 3):
            assert passage.text == "some words"
        await index.rarity("acme", [query])
    await index.close()


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["put", "remove"]),
        st.sampled_from(["a", "b"]),
        st.integers(0, 3),
        st.sampled_from(["red", "green", "blue"]),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(operations=OPERATIONS)
async def test_whatever_is_put_and_removed_a_search_sees_just_what_is_there(
    operations: list[tuple[str, str, int, str]],
) -> None:
    index = Index(":memory:")
    there: dict[tuple[str, str], str] = {}
    for do, namespace, n, word in operations:
        place = f"/{n}"
        if do == "put":
            await index.put(namespace, [document(f"{word} in {namespace} number {n}", place)])
            there[namespace, place] = word
        else:
            assert await index.remove(namespace, [place]) == ((namespace, place) in there)
            there.pop((namespace, place), None)
    for namespace in ("a", "b"):
        for word in ("red", "green", "blue"):
            expected = {place[1:] for (ns, place), w in there.items() if (ns, w) == (namespace, word)}
            assert {p.uri for p in await index.search(namespace, word, 10)} == expected
    await index.close()
