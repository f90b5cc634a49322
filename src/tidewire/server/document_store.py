"""Which store of documents the settings ask for; nothing is opened yet."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from tidewire.core.errors import SettingsError
from tidewire.retrieval.ports import Store
from tidewire.retrieval.stores.sqlite import SqliteStore
from tidewire.retrieval.stores.sqlite_tables import NAME
from tidewire.server.settings import Settings


def store_of(settings: Settings) -> Store:
    """Raises SettingsError where the store needs a package that is not installed, or has its password where it would be shown."""
    address = settings.retrieval.store
    if address == "sqlite":
        return SqliteStore(Path(settings.data) / NAME)
    if "password=" in address.partition("?")[2]:
        raise SettingsError(
            "the password in retrieval.store belongs before the host (postgres://user:password@host/name), or into PGPASSWORD",
            param="retrieval.store",
        )
    if find_spec("asyncpg") is None:
        raise SettingsError(
            "documents in Postgres need asyncpg: pip install 'tidewire[postgres]'", param="retrieval.store"
        )
    from tidewire.retrieval.stores.postgres import PostgresStore  # noqa: PLC0415 - an extra

    return PostgresStore(address)
