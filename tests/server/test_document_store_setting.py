"""Which store of documents a setting chooses, and that its password is shown nowhere."""

from __future__ import annotations

import pytest

from tidewire.core.errors import SettingsError
from tidewire.retrieval.stores.sqlite import SqliteStore
from tidewire.server.document_store import store_of
from tidewire.server.settings import Retrieval, Settings


def test_documents_are_kept_in_a_file_unless_an_address_is_given(tmp_path):
    assert isinstance(store_of(Settings(data=str(tmp_path))), SqliteStore)
    pytest.importorskip("asyncpg")
    from tidewire.retrieval.stores.postgres import PostgresStore

    given = Settings(data=str(tmp_path), retrieval=Retrieval(store="postgres://me:hush@db.example/docs"))
    assert isinstance(store_of(given), PostgresStore)
    assert "hush" not in repr(given)


def test_a_password_that_would_be_shown_is_refused_without_showing_it(tmp_path):
    given = Settings(data=str(tmp_path), retrieval=Retrieval(store="postgres://db.example/docs?password=hush"))
    with pytest.raises(SettingsError, match="PGPASSWORD") as caught:
        store_of(given)
    assert "hush" not in str(caught.value)
