"""What the doctor says of documents: their store, the index, the encoder, the sources."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest

from databases import new_database, postgres  # noqa: F401 - a fixture
from tidewire.cli import document_checks
from tidewire.retrieval.stores.sqlite_tables import NAME, VERSION, prepare
from tidewire.server.embedding_settings import Embedding
from tidewire.server.ingest_settings import SourceSettings
from tidewire.server.settings import Retrieval, Server, Settings

NOWHERE = Server(port=9)  # no server of ours


def database(path, version=VERSION):
    with sqlite3.connect(path / NAME) as db:
        prepare(db)
        db.execute(f"PRAGMA user_version = {version}")
    db.close()


def test_a_store_that_is_not_there_yet_is_no_fault_and_none_is_made(tmp_path):
    found = document_checks.store(Settings(data=str(tmp_path)))
    assert (found.level, found.said.startswith("none yet")) == ("ok", True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("version", "level"), [(VERSION, "ok"), (2, "ok"), (VERSION + 1, "fail"), (1, "fail")])
def test_the_version_of_the_tables_is_looked_at(tmp_path, version, level):
    database(tmp_path, version)
    found = document_checks.store(Settings(data=str(tmp_path)))
    assert (found.level, str(version) in found.said) == (level, True)


def test_a_damaged_store_fails_and_says_what_to_do(tmp_path):
    (tmp_path / NAME).write_bytes(b"no database" * 1000)
    found = document_checks.store(Settings(data=str(tmp_path)))
    assert (found.level, "ingest again" in found.todo) == ("fail", True)


def test_a_postgres_that_does_not_answer_fails_without_its_password(tmp_path):
    pytest.importorskip("asyncpg")
    given = Retrieval(store="postgres://me:verysecret@127.0.0.1:9/docs")
    found = document_checks.store(Settings(data=str(tmp_path), retrieval=given))
    assert found.level == "fail"
    assert "verysecret" not in found.said + found.todo


async def test_a_postgres_is_looked_at_and_left_as_it_is(tmp_path, monkeypatch, postgres):  # noqa: F811 - the fixture
    pytest.importorskip("asyncpg")
    from tidewire.retrieval.stores import postgres_near
    from tidewire.retrieval.stores.postgres import PostgresStore

    url = await new_database(postgres)
    settings = Settings(data=str(tmp_path), retrieval=Retrieval(store=url))
    for _ in range(2):
        found = await asyncio.to_thread(document_checks.store, settings)
        assert (found.level, "are made when a server starts" in found.said) == ("ok", True)
    store = PostgresStore(url)
    await store.start()
    await store.close()
    found = await asyncio.to_thread(document_checks.store, settings)
    assert (found.level, found.said) == ("ok", "in Postgres (version 2)")
    monkeypatch.setattr(postgres_near, "OFFERED", "SELECT NULL")
    found = await asyncio.to_thread(document_checks.store, settings)
    assert (found.level, "no pgvector" in found.said) == ("warn", True)


@pytest.mark.parametrize(
    ("absent", "said"),
    [
        (["simsimd"], "meaning by numpy"),
        (["tantivy", "numpy", "simsimd"], "words by SQLite, no meaning"),
    ],
)
def test_the_engines_in_use_are_named_with_what_installs_the_better_ones(monkeypatch, absent, said):
    monkeypatch.setattr(document_checks, "missing", lambda: absent)
    found = document_checks.index()
    assert (found.level, said in found.said, found.todo) == ("warn", True, "pip install 'tidewire[search]'")


def test_an_encoder_that_is_not_there_has_no_line_and_one_that_fails_is_said(tmp_path, monkeypatch):
    assert list(document_checks.encoder(Settings(embedding=Embedding(kind="none")))) == []
    monkeypatch.setenv("COHERE", "k")
    given = Embedding(kind="cohere", base_url="http://127.0.0.1:9", api_key_env="COHERE", retries=0)
    [found] = document_checks.encoder(Settings(data=str(tmp_path), embedding=given))
    assert (found.name, found.level) == ("encoder", "warn")


def test_sources_that_cannot_work_are_told_from_those_that_can(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_SUCH_SECRET", raising=False)
    given = {
        "here": SourceSettings(path=str(tmp_path)),
        "gone": SourceSettings(path=str(tmp_path / "gone")),
        "hook": SourceSettings(kind="webhook", key_env="NO_SUCH_SECRET"),
        "feed": SourceSettings(kind="feed", urls=["https://news.example/feed"]),
    }
    found = {one.name: one.level for one in document_checks.sources(Settings(sources=given, server=NOWHERE))}
    assert found == {"source here": "ok", "source gone": "warn", "source hook": "fail", "source feed": "ok"}


def test_what_a_running_server_says_of_a_source_is_told_with_what_helps(monkeypatch):
    failing = {"name": "news", "failures": 3, "error": "the host answered 404"}
    monkeypatch.setattr(document_checks, "_states", lambda settings: {"news": failing})
    given = {"news": SourceSettings(kind="feed", urls=["https://news.example/feed"])}
    [found] = document_checks.sources(Settings(sources=given))
    assert (found.level, "answered 404" in found.said, found.todo) == (
        "warn",
        True,
        "Check the address in the settings.",
    )


def test_the_doctor_has_a_line_for_each(run):
    done = run("doctor", TIDEWIRE_SERVER__PORT="0", TIDEWIRE_MODELS__DISCOVER="0", TIDEWIRE_EMBEDDING__KIND="none")
    assert done.exit_code == 0
    assert "documents: none yet" in done.stdout
    assert "index: words by" in done.stdout
