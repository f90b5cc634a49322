"""The one place that knows every room: settings in, a running house out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import msgspec

from tidewire.core.ports import Encoder, Log, Provider, Stage
from tidewire.core.request import Request
from tidewire.dialects.openai_models import read_models
from tidewire.engine.admission import Admission, Limits
from tidewire.engine.desk import Desk, Terms
from tidewire.engine.plan import Plans
from tidewire.providers.extractive import Corpus, Extractive
from tidewire.providers.local_hosts import discover
from tidewire.providers.simulated import Simulated
from tidewire.server import naming
from tidewire.server.arrangement import Arrangement
from tidewire.server.caching import Caching
from tidewire.server.catalogue import Catalogue
from tidewire.server.context import context_steps
from tidewire.server.documents import Documents, running
from tidewire.server.encoders import build as encoders_of
from tidewire.server.grounding import Grounding, mark_secret
from tidewire.server.hosts import hosted, keys, spoken
from tidewire.server.kinds import KINDS, Parts
from tidewire.server.library import Library, NoDocuments, library_of
from tidewire.server.load import Load
from tidewire.server.plan_settings import plans
from tidewire.server.reindexing import Reindexing
from tidewire.server.rerankers import reranker_of
from tidewire.server.routebook import Reread, Routebook
from tidewire.server.sessions import session_desk, sweep
from tidewire.server.settings import Provider as Host
from tidewire.server.settings import Settings
from tidewire.server.toolbox import toolbox
from tidewire.sessions.desk import SessionDesk
from tidewire.stages.limit import Limit
from tidewire.stages.stop import Stop
from tidewire.stages.structured import Structured
from tidewire.stores.memory import MemoryLog
from tidewire.stores.sqlite import SqliteLog
from tidewire.telemetry.looplag import LoopLag
from tidewire.telemetry.metrics import Metrics

log = logging.getLogger("tidewire.server")

SWEEP_EVERY: Final = 5.0  # seconds
Source = tuple[Path, Reread]


class House(msgspec.Struct, frozen=True):
    """What the doors are built on. sessions: the desk that they ask, which knows conversations; desk: the one behind it."""

    settings: Settings
    desk: Desk
    sessions: SessionDesk
    catalogue: Catalogue
    admission: Admission
    metrics: Metrics
    documents: Documents
    reindexing: Reindexing
    kept: Caching
    library: Library
    encoder: Encoder | None = None


def stages(request: Request) -> list[Stage]:
    """What is done to each event of this request's answer."""
    out: list[Stage] = []
    one = (
        request.n == 1
    )  # the end of one of several answers is not the stream's: hosts that give several keep these themselves
    if one and request.stop:
        out.append(Stop(request.stop))
    if one and request.max_tokens is not None:
        out.append(Limit(request.max_tokens))
    if request.response_format is not None and request.response_format.get("type") in ("json_object", "json_schema"):
        out.append(Structured(request.response_format))
    return out


def projections(name: str) -> str:
    """Name and version of what a dialect's cursors count, pinned in each stream's meta."""
    return f"{name}/1"


@contextlib.asynccontextmanager
async def house(settings: Settings, *, own_port: int, source: Source | None = None) -> AsyncIterator[House]:
    """Everything behind the doors, started; all of it is stopped and stored when the context is left.

    source: the settings file, and what reads it anew for its routes and cascades, which are replaced when it changes.
    """
    async with contextlib.AsyncExitStack() as stack:
        store = _log(settings)
        metrics = Metrics(store.size)
        lag = LoopLag(metrics.late)
        load = Load(lambda: desk.open_streams, metrics.started.total, metrics.refusals.total)
        encoders = encoders_of(settings, metrics.encoders)
        stack.push_async_callback(encoders.close)
        if (
            settings.embedding.kind == "minilm"
        ):  # asked for; one that is merely installed is loaded when there is a text for it
            encoders.warm()
        library = library_of(settings, encoders, reranker_of(settings.rerank, metrics.rerankers), metrics.searches)
        metrics.searches.index = library.index.state
        await library.run(stack, encoders, metrics.encoders)
        hosts = [*await _providers(settings, library.corpus, own_port), *encoders.offered]
        catalogue = Catalogue(hosts, settings.models.aliases, settings.models.default)
        stack.push_async_callback(catalogue.close)
        book = Routebook(
            settings.routes,
            catalogue,
            metrics,
            limit=settings.limits.stream_s,
            rng=random.Random(os.urandom(8)),
            cascades=settings.cascades,
        )
        documents, reindexing = await running(stack, settings, library.store, metrics.intake, library.index)
        caching = Caching(
            settings,
            tables=lambda: book.tables,
            meter=metrics,
            encoder=encoders.encoder,
        )
        stack.push_async_callback(caching.close)
        stack.callback(library.index.listen(caching.follow))
        metrics.cache_size = lambda: caching.shelf.size
        tools = await stack.enter_async_context(toolbox(settings, metrics))
        # outside the cache: answers are kept by the passages they saw
        secret = await mark_secret(library.store)
        grounding = Grounding(
            settings.retrieval,
            library.finder,
            library.watch,
            secret=secret,
            meter=metrics.searches,
            reach=lambda model: arranged.reach(model),  # noqa: PLW0108 - which is made from this
        )
        arranged = Arrangement(
            catalogue, routes=lambda: book.current, wrappers=[caching.around, grounding.around], tools=tools
        )
        admission = Admission(_limits(settings), load=load.expected, held=lambda: store.size()[1])
        desk = Desk(
            store,
            find_provider=arranged.find,
            models=arranged.models,
            admission=admission,
            stages=stages,
            steps=context_steps(settings),
            terms=_terms(settings),
            meter=metrics,
            projection=projections,
            plans=Plans(*plans(settings.budget, settings.plans)),
        )
        orphans = await store.start()
        stack.push_async_callback(store.close)
        sessions = await session_desk(settings, desk, arranged.bare, metrics.sessions)
        metrics.sessions.size = lambda: sessions.size
        stack.push_async_callback(sessions.close)
        await desk.recover(orphans)
        await catalogue.refresh()
        for part in (lag, load):
            part.start()
            stack.callback(part.stop)
        await book.warn()
        await naming.warn(settings, book)
        for work in (
            _sweep(desk),
            sweep(sessions),
            caching.sweep(),
            book.keep_warm(),
            *((book.watch(*source),) if source else ()),
        ):
            stack.callback(asyncio.create_task(work).cancel)
        try:
            yield House(
                settings,
                desk,
                sessions,
                catalogue,
                admission,
                metrics,
                documents,
                reindexing,
                caching,
                library,
                encoders.encoder,
            )
        finally:
            await desk.drain(0.0)


@contextlib.asynccontextmanager
async def offered(settings: Settings) -> AsyncIterator[Routebook]:
    """The routes, and the models behind them, without a server: for a look at what is on offer."""
    async with contextlib.AsyncExitStack() as stack:
        metrics = Metrics()
        encoders = encoders_of(settings, metrics.encoders)
        stack.push_async_callback(encoders.close)
        hosts = [*await _providers(settings, NoDocuments(), settings.server.port), *encoders.offered]
        catalogue = Catalogue(hosts, settings.models.aliases, settings.models.default)
        stack.push_async_callback(catalogue.close)
        await catalogue.refresh()
        yield Routebook(
            settings.routes,
            catalogue,
            metrics,
            limit=settings.limits.stream_s,
            rng=random.Random(0),
            cascades=settings.cascades,
        )


def _log(settings: Settings) -> Log:
    durability = settings.log.durability
    if durability == "memory":
        return MemoryLog(settings.limits.memory_bytes // 2)
    return SqliteLog(settings.log_path, durability)


async def _providers(settings: Settings, corpus: Corpus, own_port: int) -> list[Provider]:
    """The best first: models of the user's own, sentences out of documents, a host that only its key in the environment
    speaks for (it costs money, and lists its models in no order), a rehearsal.
    """
    parts = Parts(settings, corpus)
    out: list[Provider] = [KINDS.find(given.kind)(name, given, parts) for name, given in settings.providers.items()]
    names = {p.name for p in out}
    unasked: set[str] = set()
    if settings.models.discover:
        for found in await discover(os.environ, read_models, keys(), spoken(), own_ports=(own_port,)):
            if found.name in names:
                continue
            if found.key_env is not None:
                unasked.add(found.name)
            out.append(hosted(found.kind, found.name, Host(kind=found.kind, base_url=found.base_url), found.why))
    if "extractive" not in names:
        out.append(Extractive(corpus, interval=1 / settings.retrieval.pace, passages=settings.retrieval.passages))
    return sorted(out, key=lambda p: (isinstance(p, Simulated), p.name in unasked, isinstance(p, Extractive)))


def _limits(settings: Settings) -> Limits:
    limits = settings.limits
    return Limits(
        streams=limits.streams,
        memory_bytes=limits.memory_bytes,
        busy=limits.busy,
        busy_streams=limits.busy_streams,
    )


def _terms(settings: Settings) -> Terms:
    limits, streams = settings.limits, settings.streams
    return Terms(
        stream_s=limits.stream_s,
        stream_bytes=limits.stream_bytes,
        stream_events=limits.stream_events,
        keep_s=streams.keep_s,
        readers=limits.readers_per_stream,
        ahead=streams.ahead_events if streams.unread == "pause" else 0,
    )


async def _sweep(desk: Desk) -> None:
    while True:
        await asyncio.sleep(SWEEP_EVERY)
        try:
            await desk.sweep()
        except Exception:  # supervisor boundary: the sweep tries again
            log.exception("expired streams could not be removed; trying again")
