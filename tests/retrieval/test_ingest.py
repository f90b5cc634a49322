from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tidewire.core.errors import NotFound
from tidewire.retrieval.index import Index
from tidewire.retrieval.ingest import ingest


@pytest.fixture
async def index() -> AsyncIterator[Index]:
    index = Index(":memory:")
    yield index
    await index.close()


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    (docs / "deep").mkdir(parents=True)
    (docs / "a.md").write_text("# Alpha\n\nThe alpha document.")
    (docs / "deep" / "b.txt").write_text("The beta document.")
    return docs


async def uris(index: Index) -> list[str]:
    return [d.uri for d in await index.documents("acme")]


async def test_a_folder_goes_in_with_titles_and_relative_names(index: Index, docs: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    report = await ingest(index, docs, "acme", lambda *step: seen.append(step))
    assert (report.files, report.indexed, report.unchanged, report.removed, report.skipped, report.chunks) == (
        2,
        2,
        0,
        0,
        [],
        2,
    )
    assert seen == [(1, 2, "a.md"), (2, 2, "deep/b.txt")]
    assert [(d.uri, d.title, d.changed) for d in await index.documents("acme")] == [
        ("a.md", "Alpha", (docs / "a.md").stat().st_mtime),
        ("deep/b.txt", "b.txt", (docs / "deep" / "b.txt").stat().st_mtime),
    ]


async def test_the_second_time_only_what_changed_is_indexed(index: Index, docs: Path) -> None:
    await ingest(index, docs, "acme")
    before = {d.uri: d.indexed for d in await index.documents("acme")}
    os.utime(docs / "a.md", (1, 1))  # touched, not changed
    (docs / "deep" / "b.txt").write_text("The gamma document.")
    report = await ingest(index, docs, "acme")
    assert (report.indexed, report.unchanged, report.removed) == (1, 1, 0)
    assert {d.uri: d.indexed for d in await index.documents("acme")}["a.md"] == before["a.md"]
    assert [p.text for p in await index.search("acme", "gamma beta", 5)] == ["The gamma document."]


async def test_vanished_files_are_removed_for_this_folder_only(index: Index, docs: Path, tmp_path: Path) -> None:
    other = tmp_path / "docs-other"
    other.mkdir()
    (other / "c.md").write_text("Other words.")
    await ingest(index, docs, "acme")
    await ingest(index, other, "acme")
    (docs / "a.md").unlink()
    report = await ingest(index, docs, "acme")
    assert (report.removed, report.unchanged) == (1, 1)
    assert await uris(index) == ["c.md", "deep/b.txt"]
    assert await index.search("acme", "alpha", 5) == []


async def test_a_file_of_a_folder_that_is_known_is_not_indexed_twice(index: Index, docs: Path) -> None:
    await ingest(index, docs, "acme")
    report = await ingest(index, docs / "a.md", "acme")
    assert (report.files, report.unchanged) == (1, 1)
    assert len(await uris(index)) == 2


async def test_a_single_file_is_called_by_its_name(index: Index, docs: Path) -> None:
    await ingest(index, docs / "deep" / "b.txt", "acme")
    assert await uris(index) == ["b.txt"]


async def test_bad_files_are_reported_and_the_rest_goes_on(index: Index, docs: Path) -> None:
    (docs / "big.txt").write_text("x" * 2000)
    (docs / "data.bin").write_bytes(b"\0\1\2")
    (docs / "paper.odt").write_bytes(b"PK")
    (docs / "deep.json.jsonl").write_text("[" * 100_000)
    report = await ingest(index, docs, "acme", largest=1000)
    assert report.indexed == 2
    assert dict(report.skipped) == {
        "big.txt": "not read: 2,000 bytes, and 1,000 is the limit",
        "data.bin": "not read: binary",
        "deep.json.jsonl": "not read: 100,000 bytes, and 1,000 is the limit",
        "paper.odt": "not read: .odt needs a reader of office files",
    }


async def test_a_record_nested_too_deep_ends_nothing(index: Index, docs: Path) -> None:
    (docs / "deep.jsonl").write_text("[" * 100_000)
    report = await ingest(index, docs, "acme")
    assert [path for path, _ in report.skipped] == ["deep.jsonl"]
    assert report.indexed == 2


async def test_a_file_that_became_unreadable_as_text_is_no_longer_found(index: Index, docs: Path) -> None:
    await ingest(index, docs, "acme")
    (docs / "a.md").write_bytes(b"\0")
    report = await ingest(index, docs, "acme")
    assert report.removed == 1
    assert await uris(index) == ["deep/b.txt"]


async def test_hidden_files_packages_and_links_that_lead_out_are_left_out(
    index: Index, docs: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside.md").write_text("secret")
    (docs / "link.md").symlink_to(tmp_path / "outside.md")
    (docs / "broken.md").symlink_to(tmp_path / "nowhere.md")
    (docs / "loop").symlink_to(docs)
    for folder in (".git", "node_modules", "__pycache__"):
        (docs / folder).mkdir()
        (docs / folder / "x.md").write_text("secret")
    (docs / ".env").write_text("secret")
    report = await ingest(index, docs, "acme")
    assert report.files == 2
    assert await index.search("acme", "secret", 5) == []


async def test_names_of_any_bytes_are_taken(index: Index, docs: Path) -> None:
    (docs / os.fsdecode(b"bad\xff.md")).write_text("odd words")
    first = await ingest(index, docs, "acme")
    again = await ingest(index, docs, "acme")
    assert (first.indexed, again.unchanged, again.removed) == (3, 3, 0)


async def test_a_place_where_nothing_is_says_so_and_keeps_what_was_indexed(
    index: Index, docs: Path, tmp_path: Path
) -> None:
    await ingest(index, docs, "acme")
    docs.rename(tmp_path / "moved")
    with pytest.raises(NotFound, match="there is no file or folder"):
        await ingest(index, docs, "acme")
    assert len(await uris(index)) == 2
