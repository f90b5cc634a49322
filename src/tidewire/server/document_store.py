"""Which store of documents the settings ask for; nothing is opened yet."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tidewire.core.errors import SettingsError
from tidewire.retrieval.ports import Store
from tidewire.retrieval.stores.sqlite import SqliteStore
from tidewire.retrieval.stores.sqlite_tables import NAME
from tidewire.server.settings import Settings

if TYPE_CHECKING:
    from tidewire.retrieval.stores.pgvector import Pgvector


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


def pgvector_of(settings: Settings, store: Store, encoders: Sequence[str]) -> Pgvector | None:
    """What searches large namespaces by meaning; None: all of them are searched in memory. encoders: the first makes the vectors."""
    above = settings.retrieval.pgvector_above
    if settings.retrieval.store == "sqlite" or not above or not encoders:
        return None
    from tidewire.retrieval.stores.pgvector import Pgvector  # noqa: PLC0415 - an extra
    from tidewire.retrieval.stores.postgres import PostgresStore  # noqa: PLC0415

    return Pgvector(store, encoders, above) if isinstance(store, PostgresStore) else None
