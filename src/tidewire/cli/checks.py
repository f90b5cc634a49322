"""The single checks of `tidewire doctor`. Each looks at one thing, changes nothing, and never raises."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Final, Literal

import httpx
import msgspec

import tidewire
from tidewire.cli.ports import free
from tidewire.core.errors import SettingsError, TidewireError, UpstreamError
from tidewire.dialects.openai_models import read_models
from tidewire.embedding.minilm_files import missing
from tidewire.providers.local_hosts import discover
from tidewire.server import naming
from tidewire.server.assemble import offered
from tidewire.server.encoders import build, chosen
from tidewire.server.hosts import HOSTS, hosted, keys, spoken
from tidewire.server.rerankers import reranker_of
from tidewire.server.settings import Provider, Settings
from tidewire.server.sources import Loaded
from tidewire.telemetry.metrics import Metrics

LEAST_DISK: Final = 1 << 30  # bytes
PATIENCE: Final = 3.0  # seconds for a model host to answer
OFFER: Final = "Is its host running? `tidewire models` lists what a server offers."


class Finding(msgspec.Struct, frozen=True):
    """name: what was looked at. said: what was found. todo: what to do about it."""

    name: str
    level: Literal["ok", "warn", "fail"]
    said: str
    todo: str = ""


def everything(settings: Settings) -> Iterator[Finding]:
    """All checks but that of the settings themselves, one by one, as they are done."""
    yield python()
    yield event_loop()
    yield full_text_search()
    yield data_folder(Path(settings.data))
    yield disk(Path(settings.data))
    yield port(settings)
    yield open_files(settings)
    yield clock()
    yield console()
    yield embedding(settings)
    yield from rerank(settings)
    yield from providers(settings)
    yield from routes(settings)


def of_settings(loaded: Loaded) -> Finding:
    source = str(loaded.file) if loaded.file else "no file"
    return Finding(
        "settings", "ok", f"valid ({source}, {len(loaded.origins)} set; `tidewire config --changed` shows them)"
    )


def python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", f"version {version}, tidewire {tidewire.__version__}")


def event_loop() -> Finding:
    if util.find_spec("uvloop") is None:
        return Finding("event loop", "warn", "uvloop is not installed", "pip install uvloop: a third less CPU a token.")
    return Finding("event loop", "ok", f"uvloop {metadata.version('uvloop')}")


def full_text_search() -> Finding:
    try:
        with sqlite3.connect(":memory:") as db:
            db.execute("CREATE VIRTUAL TABLE t USING fts5(x)")
        db.close()
    except sqlite3.Error as error:
        return Finding("sqlite", "fail", f"{sqlite3.sqlite_version}: {error}", "Use a Python whose SQLite has FTS5.")
    return Finding("sqlite", "ok", f"{sqlite3.sqlite_version} with FTS5")


def data_folder(folder: Path) -> Finding:
    """Writable, and not in use by another server. The folder is not made here."""
    there = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return Finding(
            "data folder",
            "fail",
            f"{there} is not writable ({error.strerror})",
            "Give another one with --data, or the right.",
        )
    holder = _holder(folder / "lock")
    if holder:
        return Finding(
            "data folder", "warn", f"{folder} is in use by process {holder}", "A second server needs another --data."
        )
    return Finding(
        "data folder", "ok", f"{folder} is writable and free" if folder.is_dir() else f"{folder} can be made"
    )


def _nearest(folder: Path) -> Path:
    """The folder, or the one above that exists."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _holder(lock: Path) -> str:
    """The process that holds the lock file, or ""."""
    try:
        file = os.open(lock, os.O_RDWR)
    except OSError:
        return ""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go of with the file
    except OSError:
        return os.pread(file, 32, 0).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(file)
    return ""


def disk(folder: Path) -> Finding:
    left = shutil.disk_usage(_nearest(folder)).free
    said = f"{left / (1 << 30):.1f} GiB free"
    if left < LEAST_DISK:
        return Finding("disk", "warn", said, "Streams and the index need room; free some, or give another --data.")
    return Finding("disk", "ok", said)


def port(settings: Settings) -> Finding:
    host, number = settings.server.host, settings.server.port
    if number == 0 or free(host, number):
        return Finding("port", "ok", f"{host}:{number} is free" if number else "any free one")
    try:
        scheme = "https" if settings.server.tls_cert else "http"
        answer = httpx.get(f"{scheme}://{host}:{number}/healthz", timeout=2.0, trust_env=False, verify=False)  # noqa: S501
        ours = answer.headers.get("server") == "tidewire"
    except (httpx.HTTPError, httpx.InvalidURL):
        ours = False
    if ours:
        return Finding(
            "port", "warn", f"{host}:{number} is taken by a Tidewire server", "For a second one, choose another --port."
        )
    return Finding(
        "port", "fail", f"{host}:{number} cannot be listened on", "Stop what uses it, or choose another --port."
    )


def open_files(settings: Settings) -> Finding:
    """A connection is a file, and so is that to the model host."""
    needed = settings.limits.connections + settings.limits.streams + 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        return Finding(
            "open files",
            "warn",
            f"{soft} allowed, {needed} needed at limits.connections and limits.streams",
            f"ulimit -n {needed}"
            + ("" if hard == resource.RLIM_INFINITY or hard >= needed else f" (as root; {hard} at most now)"),
        )
    return Finding("open files", "ok", f"{soft} allowed, {needed} needed at most")


def clock() -> Finding:
    """Behind the files of this very program, it is wrong; TLS and expiry go by it."""
    written = Path(tidewire.__file__).stat().st_mtime
    if time.time() < written - 86400:
        return Finding(
            "clock", "warn", "it is behind the date of the installed program", "Set the clock; TLS goes by it."
        )
    return Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()))


def console() -> Finding:
    if not (Path(tidewire.__file__).parent / "console" / "assets" / "index.html").is_file():
        return Finding(
            "console", "warn", "its page is not in this installation", "`make web` builds it, in a checkout."
        )
    return Finding("console", "ok", "its page is there")


def embedding(settings: Settings) -> Finding:
    """Which encoder a server would have; nothing is loaded, and no host is asked."""
    given = settings.embedding
    kind = chosen(given)
    if kind == "none":
        todo = missing(given.folder) if given.kind == "auto" else []
        if todo:
            return Finding(
                "embedding",
                "ok",
                "no model: search is by words alone",
                f"To search by meaning too: {' && '.join(todo)}",
            )
        return Finding("embedding", "ok", "turned off: search is by words alone")
    try:
        encoder = build(settings, Metrics().encoders).encoder
    except SettingsError as error:
        return Finding("embedding", "fail", error.message, "Set it right, or take it out.")
    return Finding(
        "embedding", "ok", f"{encoder.name if encoder else kind}" + (", on this machine" if kind == "minilm" else "")
    )


def rerank(settings: Settings) -> Iterator[Finding]:
    """The reranker that a server would have, where one is set; nothing is loaded, and no host is asked."""
    try:
        reranker = reranker_of(settings.rerank, Metrics().rerankers)
    except SettingsError as error:
        yield Finding("rerank", "fail", error.message, "Set it right, or take it out.")
        return
    if reranker is not None:
        yield Finding("rerank", "ok", reranker.name)


def providers(settings: Settings) -> Iterator[Finding]:
    """One line for each configured host, one for what is found by itself."""
    for name, given in settings.providers.items():
        yield (
            _host(name, given) if given.kind in HOSTS else Finding(f"provider {name}", "ok", f"{given.kind}, built in")
        )
    if not settings.models.discover:
        return
    found = asyncio.run(discover(os.environ, read_models, keys(), spoken(), own_ports=(settings.server.port,)))
    for host in found:
        said = f"{len(host.models)} models, {host.why}" if host.models else host.why
        yield Finding(f"provider {host.name}", "ok", said)
    if not found and not settings.providers:
        yield Finding("providers", "ok", "no model host was found; the built-in extractive model answers")


def routes(settings: Settings) -> Iterator[Finding]:
    """One line for each route and cascade, and for each other setting that names a model in vain: hosts are asked what they have."""
    if not settings.routes and not settings.cascades and not any(naming.named(settings)):
        return
    missing, unanswered = asyncio.run(_missing(settings))
    ok = {f"route {name}": f"{len(plan.candidates)} candidates on offer" for name, plan in settings.routes.items()}
    ok |= {f"cascade {name}": f"{len(plan.names)} models on offer" for name, plan in settings.cascades.items()}
    for what, said in ok.items():
        absent = [model for name, model in missing if name == what.partition(" ")[2]]
        yield (
            Finding(what, "warn", f"not on offer: {', '.join(absent)}", OFFER) if absent else Finding(what, "ok", said)
        )
    for path, model in unanswered:
        yield Finding(path, "warn", f"not on offer: {model}", OFFER)


async def _missing(settings: Settings) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Of routes and cascades, and of other settings."""
    with tempfile.TemporaryDirectory() as folder:
        async with offered(msgspec.structs.replace(settings, data=folder)) as book:
            return await book.missing(), await naming.unanswered(settings, book)


def _host(name: str, given: Provider) -> Finding:
    what = f"provider {name}"
    try:
        asyncio.run(_asked(name, given))
    except SettingsError as error:
        return Finding(what, "fail", error.message, "Set it right, or take it out.")
    except TidewireError as error:
        if isinstance(error, UpstreamError) and error.upstream_status in (401, 403):
            return Finding(what, "fail", error.message, "Its key is wrong or missing (api_key_env).")
        return Finding(what, "warn", error.message, "Is it running, and is base_url right?")
    if not HOSTS[given.kind].speaker(given).listing:
        return Finding(what, "ok", "its settings are whole; it lists no models, so that it was not asked")
    return Finding(what, "ok", "reachable")


async def _asked(name: str, given: Provider) -> None:
    provider = hosted(given.kind, name, given)
    try:
        await provider.listed()
    finally:
        await provider.close()
