"""An ingest that is killed leaves whole documents only, and the next one brings the rest."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.intake import Delivery, Intake, Report
from tidewire.retrieval.reading.reader import Reader
from tidewire.retrieval.sources.folder import Folder
from tidewire.retrieval.stores.sqlite import SqliteStore

DOCUMENTS = 200
CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from retrieval.test_killed_ingest import bring
from tidewire.retrieval.stores.sqlite import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.start()
    print("begun", flush=True)
    await bring(store, Path(sys.argv[2]))

asyncio.run(main())
"""


async def bring(store: SqliteStore, folder: Path) -> Report:
    reader = Reader()
    delivery = Delivery(Intake(store, reader), "acme", "docs")
    try:
        await Folder(folder).run(delivery)
        return await delivery.end()
    finally:
        await reader.close()


def text_of(n: int, version: int) -> str:
    return f"# Document {n}\n\n" + "\n\n".join(f"## Part {p}\n\n" + f"word{n} v{version} " * 60 for p in range(4))


@pytest.mark.slow
async def test_what_was_killed_in_the_middle_left_whole_documents_of_one_version_each(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    chosen = random.Random(5)
    for version in (1, 2, 3):
        for n in range(DOCUMENTS):
            (folder / f"{n:03}.md").write_text(text_of(n, version))
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path / "d.db"), str(folder), str(Path(__file__).parents[1])],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"begun\n"
        time.sleep(chosen.uniform(0.2, 0.8))  # where it is killed does not matter, and differs
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        await whole(tmp_path / "d.db", version)
    store = SqliteStore(tmp_path / "d.db")
    await store.start()
    try:
        report = await bring(store, folder)
        assert report.indexed + report.unchanged == DOCUMENTS
        assert {text for _, text in [await one(store, n, folder) for n in range(DOCUMENTS)]} == {
            text_of(n, 3) for n in range(DOCUMENTS)
        }
    finally:
        await store.close()


async def one(store: SqliteStore, n: int, folder: Path) -> tuple[str, str]:
    location = str(folder / f"{n:03}.md")
    known = (await store.known("acme", [location]))[location]
    found = await store.document("acme", known.id)
    assert found is not None
    return location, found[1]


async def whole(path: Path, latest: int) -> None:
    """Each document that is there has the text of one version, and the chunks of that text."""
    store = SqliteStore(path)
    await store.start()
    try:
        rows = [row async for batch in store.rows("acme") for _, row in batch]
        for known in await store.documents("acme", limit=1000):
            found = await store.document("acme", known.id)
            assert found is not None
            n = int(known.uri.removesuffix(".md"))
            assert found[1] in {text_of(n, version) for version in range(1, latest + 1)}
            mine = sorted((row.start, row.text) for row in rows if row.document == known.id)
            assert mine == [(chunk.start, chunk.text) for chunk in chunks(found[1])]
            assert known.chunks == len(mine)
    finally:
        await store.close()
