"""The doctor's look at the documents: their store, the index that would be made of it, the encoder, the sources. It changes nothing."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import httpx

from tidewire.cli.checks import PATIENCE, Finding
from tidewire.core.errors import SettingsError, TidewireError
from tidewire.retrieval.remedies import remedy
from tidewire.retrieval.stores.sqlite_tables import KNOWN, NAME, VERSION
from tidewire.server.document_store import store_of
from tidewire.server.encoders import build, chosen
from tidewire.server.ingest_settings import SourceSettings
from tidewire.server.intake import webhook_key
from tidewire.server.library import EXTRA, missing
from tidewire.server.settings import Settings
from tidewire.telemetry.metrics import Metrics

LOADING: Final = 30.0  # seconds for a local model to be read from the disk
FIRST: Final = "The first run loads the model."
TIMED: Final = "How long does a question like this one take?"


def documents(settings: Settings) -> Iterator[Finding]:
    """Store, index and encoder; and a line for each source, as far as it can be told."""
    yield store(settings)
    yield index()
    yield from encoder(settings)
    yield from sources(settings)


def store(settings: Settings) -> Finding:
    if settings.retrieval.store == "sqlite":
        return _file(Path(settings.data) / NAME)
    try:
        store_of(settings)
    except SettingsError as error:
        return Finding("documents", "fail", error.message, "Set it right, or take it out.")
    return asyncio.run(_postgres(settings.retrieval.store, settings.retrieval.pgvector_above))


def _file(path: Path) -> Finding:
    if not path.is_file():
        return Finding("documents", "ok", f"none yet; {path} is made when a server starts")
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=PATIENCE)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            counts = [db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in ("documents", "chunks")]  # noqa: S608
        finally:
            db.close()
    except sqlite3.Error as error:
        return Finding("documents", "fail", f"{path}: {error}", "If it is damaged, move it away and ingest again.")
    if version not in KNOWN:
        said = f"{path} is of version {version}, and this Tidewire knows version {VERSION}"
        return Finding("documents", "fail", said, "Use the Tidewire that wrote it, or another data folder.")
    return Finding("documents", "ok", f"{counts[0]} in {counts[1]} chunks, in {path} (version {version})")


async def _postgres(url: str, above: int) -> Finding:
    import asyncpg  # noqa: PLC0415 - an extra, which `store_of` has looked for

    from tidewire.retrieval.stores.postgres_near import OFFERED  # noqa: PLC0415
    from tidewire.retrieval.stores.postgres_tables import SCHEMA_NAME  # noqa: PLC0415
    from tidewire.retrieval.stores.postgres_tables import VERSION as KNOWN  # noqa: PLC0415

    db: Any = None
    try:
        db = await asyncpg.connect(url, timeout=PATIENCE)
        if await db.fetchval("SELECT to_regclass($1)", f"{SCHEMA_NAME}.counter") is None:
            return Finding("documents", "ok", "Postgres answers; its tables are made when a server starts")
        version = await db.fetchval(f"SELECT version FROM {SCHEMA_NAME}.counter")  # noqa: S608 - ours
        offered = await db.fetchval(OFFERED)
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        said = f"Postgres cannot be used ({type(error).__name__})"  # its own words may show the password
        return Finding("documents", "fail", said, "Does it run, is retrieval.store right, and may the user connect?")
    finally:
        if db is not None:
            await db.close(timeout=PATIENCE)
    if version > KNOWN:
        said = f"those in Postgres are of version {version}, and this Tidewire knows version {KNOWN}"
        return Finding("documents", "fail", said, "Use the Tidewire that wrote them, or another database.")
    said = f"in Postgres (version {version}; brought to {KNOWN} when a server starts)" if version < KNOWN else ""
    said = said or f"in Postgres (version {version})"
    if above and not offered:
        said += "; it has no pgvector 0.8: all vectors are searched in memory"
        return Finding("documents", "warn", said, "Install pgvector there, or set retrieval.pgvector_above to 0.")
    return Finding("documents", "ok", said)


def index() -> Finding:
    """Which engines search: those of the extra, or what is there without it."""
    absent = missing()
    words = "words by SQLite" if "tantivy" in absent else f"words by tantivy {metadata.version('tantivy')}"
    if "numpy" in absent:
        meaning = "no meaning"
    else:
        meaning = "meaning by numpy" if "simsimd" in absent else f"meaning by simsimd {metadata.version('simsimd')}"
    if absent:
        return Finding("index", "warn", f"{words}, {meaning}; not installed: {', '.join(absent)}", EXTRA)
    return Finding("index", "ok", f"{words}, {meaning}")


def encoder(settings: Settings) -> Iterator[Finding]:
    """One real text is embedded, and timed. Nothing where there is no encoder: another line says so."""
    try:
        kind = chosen(settings.embedding)
        if kind == "none":
            return
        local = kind == "minilm"
        if local and not any((Path(settings.data) / "models").glob("*.onnx")):
            yield Finding("encoder", "ok", "its model is made of its weights when it is first used, in some seconds")
            return
        yield asyncio.run(_embedded(settings, LOADING if local else PATIENCE))
    except SettingsError as error:
        yield Finding("encoder", "fail", error.message, "Set it right, or take it out.")


async def _embedded(settings: Settings, within: float) -> Finding:
    encoders = build(settings, Metrics().encoders)
    found = encoders.encoder
    assert found is not None
    try:
        async with asyncio.timeout(within):
            await found.encode([FIRST], query=True)
            began = time.perf_counter()
            (vector,) = await found.encode([TIMED], query=True)
            took = time.perf_counter() - began
    except TimeoutError:
        return Finding("encoder", "warn", f"no vector within {within:g} s", "Until it is back, search is by words.")
    except TidewireError as error:
        return Finding("encoder", "warn", error.message, "Until it is back, search is by words.")
    finally:
        await encoders.close()
    return Finding("encoder", "ok", f"a question took {took * 1000:.1f} ms, {len(vector) // 4} numbers")


def sources(settings: Settings) -> Iterator[Finding]:
    """One line for each [sources.NAME]. What a running server says of its passes counts more than a look from here."""
    if not settings.sources:
        return
    states = _states(settings)
    for name, given in settings.sources.items():
        what, state = f"source {name}", states.get(name, {})
        wrong = _wrong(name, given)
        if error := state.get("error"):
            yield Finding(
                what, "warn", f"failed {state.get('failures')} times since its last pass: {error}", remedy(error)
            )
        elif wrong is not None:
            yield Finding(what, "fail" if given.kind == "webhook" else "warn", wrong, remedy(wrong))
        elif state.get("last"):
            ago = max(0.0, time.time() - state["last"])
            yield Finding(what, "ok", f"{given.kind}, its last pass ended {ago:.0f} s ago")
        else:
            yield Finding(what, "ok", f"{given.kind}, no pass was seen from here")


def _wrong(name: str, given: SourceSettings) -> str | None:
    """What can be seen without fetching anything."""
    if given.kind == "folder":
        place = Path(given.path)
        if not place.exists():
            return f"there is no file or folder {given.path}"
        return None if os.access(place, os.R_OK) else f"{given.path}: permission denied"
    if given.kind == "webhook":
        try:
            webhook_key(name, given, os.environ)
        except SettingsError as error:
            return error.message
    return None


def _states(settings: Settings) -> dict[str, dict[str, Any]]:
    """By name, as the server at the settings' address tells them; {} where none does."""
    given = settings.server
    try:
        answer = httpx.get(
            f"{'https' if given.tls_cert else 'http'}://{given.host}:{given.port}/v1/sources",
            headers={"Authorization": f"Bearer {given.api_key}"} if given.api_key else {},
            timeout=PATIENCE,
            trust_env=False,
            verify=False,  # noqa: S501 - our own server on this machine
        )
        if answer.status_code != 200 or answer.headers.get("server") != "tidewire":
            return {}
        return {state["name"]: state for state in answer.json()["sources"]}
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError):
        return {}
