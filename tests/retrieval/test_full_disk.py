"""Documents on a disk that is full: what happened and what to do is said, and nothing is half stored."""

from __future__ import annotations

import pytest

from disks import disk_full
from tidewire.core.errors import InternalError
from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.ports import Document
from tidewire.retrieval.stores.sqlite import SqliteStore
from tidewire.retrieval.stores.sqlite_tables import NAME


def document(location: str, text: str) -> Document:
    return Document(location, "A title", text, location, text, 5.0, chunks=tuple(chunks(text)))


async def test_a_full_disk_is_the_operators_to_mend_and_not_a_defect(tmp_path):
    store = SqliteStore(tmp_path / NAME)
    await store.start()
    try:
        await store.put("a", [document("one", "The heron waits.")])
        with (
            disk_full(),
            pytest.raises(InternalError, match="nothing of this was stored: free or repair the disk") as full,
        ):
            await store.put("a", [document("two", "A boat leaves. " * 2000)])
        assert full.value.kind == "storage_failed"
        assert await store.count("a") == (1, 1, 0)
        await store.put("a", [document("two", "A boat leaves.")])
    finally:
        await store.close()
