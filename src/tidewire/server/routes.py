"""Every address of the server, and which door answers there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.routing import BaseRoute, Route, Router, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from tidewire.console import ASSETS
from tidewire.core.errors import NotFound, TidewireError
from tidewire.core.events import ErrorInfo
from tidewire.core.request import DisconnectPolicy
from tidewire.dialects.agui import AGUI
from tidewire.dialects.anthropic import AnthropicMessages
from tidewire.dialects.bedrock import Bedrock
from tidewire.dialects.cohere import Cohere
from tidewire.dialects.gemini import Gemini
from tidewire.dialects.native import Form, Native
from tidewire.dialects.ollama import Ollama
from tidewire.dialects.openai_chat import OpenAIChat
from tidewire.dialects.openai_embeddings import OpenAIEmbeddings
from tidewire.dialects.openai_images import OpenAIImages
from tidewire.dialects.openai_responses import OpenAIResponses
from tidewire.dialects.ui_messages import UIMessages
from tidewire.doors.access import Access
from tidewire.doors.agui import AGUIRoutes
from tidewire.doors.anthropic import AnthropicRoutes
from tidewire.doors.bedrock import BedrockRoutes
from tidewire.doors.cache import CacheRoutes
from tidewire.doors.call import Call, Endpoint, Origins
from tidewire.doors.cohere import CohereRoutes
from tidewire.doors.documents import DocumentRoutes
from tidewire.doors.embeddings import EmbeddingRoutes
from tidewire.doors.gemini import GeminiRoutes
from tidewire.doors.images import ImageRoutes
from tidewire.doors.library import LibraryRoutes
from tidewire.doors.mcp import McpRoutes, refused
from tidewire.doors.mcp_documents import Shelf
from tidewire.doors.native import NativeRoutes
from tidewire.doors.ollama import OllamaRoutes
from tidewire.doors.openai import OpenAIRoutes
from tidewire.doors.reindex import ReindexRoutes
from tidewire.doors.responses import ResponsesRoutes
from tidewire.doors.search import SearchRoutes
from tidewire.doors.sessions import SessionRoutes
from tidewire.doors.shedding import Shedding
from tidewire.doors.static import ConsoleRoutes, HealthRoutes
from tidewire.doors.streaming import Manner, Streaming
from tidewire.doors.ui import UIRoutes
from tidewire.doors.websocket import WebSocketDoor
from tidewire.server.assemble import House
from tidewire.server.overview import Overview
from tidewire.server.searching import Searching
from tidewire.server.settings import Settings
from tidewire.telemetry.metrics import CONTENT_TYPE

FORMS: Final[tuple[Form, ...]] = ("sse", "ndjson", "text")
Handle = Callable[[Call], Awaitable[None]]
Shape = Callable[[ErrorInfo], bytes]


class Policies(msgspec.Struct, frozen=True):
    """What a lost connection means, by dialect."""

    native: DisconnectPolicy
    openai_chat: DisconnectPolicy
    openai_responses: DisconnectPolicy
    openai_images: DisconnectPolicy
    anthropic: DisconnectPolicy
    ui_messages: DisconnectPolicy
    agui: DisconnectPolicy
    cohere: DisconnectPolicy
    ollama: DisconnectPolicy
    bedrock: DisconnectPolicy
    gemini: DisconnectPolicy


class Routes:
    """Collects routes: each is a path, its handlers by method, and the error shape of its dialect."""

    def __init__(self, access: Access, origins: Origins, body_limit: int) -> None:
        self._access = access
        self._origins = origins
        self._body_limit = body_limit
        self.all: list[BaseRoute] = []
        self.answering: dict[bytes, Shape] = {}

    def add(
        self,
        path: str,
        shape: Shape,
        *,
        open_to_all: bool = False,
        key_in_query: bool = False,
        answers: bool = False,
        **handlers: Handle,
    ) -> None:
        """handlers: get=…, post=…, delete=… answers: a POST begins an answer; it may be refused before it gets as far as its handler."""
        if answers:
            self.answering[path.encode()] = shape
        access = Access() if open_to_all else self._access
        endpoints = {
            method.upper(): Endpoint(handle, shape, access, self._origins, self._body_limit, key_in_query=key_in_query)
            for method, handle in handlers.items()
        }
        self.all.append(Route(path, _Methods(endpoints, shape, self._origins)))


class _Methods:
    """One path, by method: HEAD is GET without a body, OPTIONS runs no handler, and others are a 405 in the dialect's own shape."""

    def __init__(self, endpoints: dict[str, Endpoint], shape: Shape, origins: Origins) -> None:
        self._endpoints = endpoints | ({"HEAD": endpoints["GET"]} if "GET" in endpoints else {})
        self._shape = shape
        self._origins = origins
        self._allowed = ", ".join((*self._endpoints, "OPTIONS"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        endpoint = self._endpoints.get(method)
        if endpoint is not None:
            await endpoint(scope, receive, send)
            return
        call = Call(scope, receive, send, 0)
        self._origins.allow(call)
        call.extra.append(("allow", self._allowed))
        if method == "OPTIONS":
            await call.reply(204, [])
            return
        error = TidewireError(f"{method} is not possible here; {self._allowed} is", code="method_not_allowed")
        error.status = 405
        await call.fail(error.info(), self._shape)


def router(house: House) -> tuple[ASGIApp, Shedding]:
    """All routes, and what refuses some of their requests before they are looked at."""
    settings = house.settings
    limits = settings.limits
    manner = Manner(heartbeat=max(1, round(settings.streams.heartbeat_s)), retry=settings.streams.retry_ms)
    streaming = Streaming(house.sessions, manner, house.metrics)
    # A server beyond loopback is reached by names that nobody here knows, and was told to be open.
    hosts = frozenset({settings.server.host, *settings.server.hosts}) if settings.loopback else None
    access = Access(settings.server.api_key or None, hosts)
    origins = Origins(settings.server.origins)
    routes = Routes(access, origins, limits.body_bytes)

    when = _policies(settings)

    native = NativeRoutes(streaming, {form: Native(form, when.native) for form in FORMS})
    shape = Native().error
    routes.add("/v1/streams", shape, answers=True, post=native.start, get=native.find)
    routes.add("/v1/streams/{stream}", shape, get=native.meta, delete=native.delete)
    routes.add("/v1/streams/{stream}/events", shape, get=native.follow)
    routes.add("/v1/streams/{stream}/cancel", shape, post=native.cancel)

    kept = CacheRoutes(house.kept)
    routes.add("/v1/cache", shape, get=kept.count, delete=kept.clear)

    conversations = SessionRoutes(house.sessions)
    routes.add("/v1/sessions", shape, get=conversations.find)
    routes.add("/v1/sessions/{session}", shape, get=conversations.read, delete=conversations.delete)

    chat = OpenAIChat(when.openai_chat)
    openai = OpenAIRoutes(streaming, chat)
    routes.add("/v1/chat/completions", chat.error, answers=True, post=openai.completions)
    google = Gemini(when.gemini)
    gemini = GeminiRoutes(streaming, google)
    for version in ("/v1", "/v1beta"):  # Google's clients have asked for the one or the other
        for action, handle in gemini.actions.items():
            routes.add(f"{version}/models/{{model:path}}:{action}", google.error, key_in_query=True, post=handle)
    routes.add("/v1beta/models", google.error, key_in_query=True, get=gemini.models)
    routes.add("/v1beta/models/{model:path}", google.error, key_in_query=True, get=gemini.model)
    routes.add("/v1/models", chat.error, get=gemini.or_else(gemini.models, openai.models))
    routes.add("/v1/models/{model:path}", chat.error, get=gemini.or_else(gemini.model, openai.model))

    vectors = OpenAIEmbeddings()
    routes.add("/v1/embeddings", vectors.error, post=EmbeddingRoutes(vectors, house.catalogue.embed).create)

    pictures = OpenAIImages(when.openai_images)
    routes.add(
        "/v1/images/generations", pictures.error, answers=True, post=ImageRoutes(streaming, pictures).generations
    )

    stored = OpenAIResponses(when.openai_responses)
    responses = ResponsesRoutes(streaming, stored)
    routes.add("/v1/responses", stored.error, answers=True, post=responses.create)
    routes.add("/v1/responses/{response}", stored.error, get=responses.retrieve, delete=responses.delete)
    routes.add("/v1/responses/{response}/cancel", stored.error, post=responses.cancel)
    routes.add("/v1/responses/{response}/input_items", stored.error, get=responses.input_items)

    said = AnthropicMessages(when.anthropic)
    anthropic = AnthropicRoutes(streaming, said)
    routes.add("/v1/messages", said.error, answers=True, post=anthropic.messages)
    routes.add("/v1/messages/count_tokens", said.error, post=anthropic.count_tokens)

    chunks = UIMessages("default", when.ui_messages)
    ui = UIRoutes(streaming, chunks)
    routes.add("/api/chat", chunks.error, answers=True, post=ui.start)
    routes.add("/api/chat/{id}/stream", chunks.error, get=ui.resume)
    routes.add("/api/chat/{id}/stop", chunks.error, post=ui.stop)

    agents = AGUI("default", when.agui)
    agui = AGUIRoutes(streaming, agents)
    routes.add("/agui", agents.error, answers=True, post=agui.run)
    routes.add("/agui/{run}", agents.error, get=agui.resume)

    cohere = Cohere(when.cohere)
    routes.add("/v2/chat", cohere.error, answers=True, post=CohereRoutes(streaming, cohere).chat)

    lines = Ollama("chat", when.ollama)
    ollama = OllamaRoutes(streaming, lines, Ollama("generate", when.ollama))
    routes.add("/ollama/api/chat", lines.error, answers=True, post=ollama.chat)
    routes.add("/ollama/api/generate", lines.error, answers=True, post=ollama.generate)
    routes.add("/ollama/api/tags", lines.error, get=ollama.tags)
    routes.add("/ollama/api/show", lines.error, post=ollama.show)
    routes.add("/ollama/api/version", lines.error, get=ollama.version)
    for path in ("/ollama", "/ollama/"):
        routes.add(path, lines.error, open_to_all=True, get=ollama.alive)

    converse = Bedrock(when.bedrock)
    bedrock = BedrockRoutes(streaming, converse)
    routes.add("/model/{model:path}/converse", converse.error, post=bedrock.converse)
    routes.add("/model/{model:path}/converse-stream", converse.error, post=bedrock.converse_stream)

    documents = DocumentRoutes(house.documents)
    for path, handlers in documents.routes.items():
        routes.add(path, shape, **handlers)
    for path, handlers in documents.open_routes.items():
        routes.add(path, shape, open_to_all=True, **handlers)

    reindex = ReindexRoutes(house.reindexing)
    routes.add("/v1/reindex", shape, post=reindex.begin, get=reindex.job, delete=reindex.end)
    largest = min(limits.body_bytes, settings.ingest.file_bytes)
    shelves = LibraryRoutes(Overview(house.library, house.documents, house.reindexing, largest))
    routes.add("/v1/library", shape, get=shelves.look)
    routes.add("/v1/passages", shape, get=shelves.passages)

    searching = Searching(house.library)
    routes.add("/v1/search", shape, post=SearchRoutes(searching).search)
    shelf = Shelf(house.documents, searching, settings.retrieval.groups, house.metrics.mcp_called)
    routes.add("/mcp", refused, post=McpRoutes(shelf, frozenset(settings.server.origins)).post)

    console = ConsoleRoutes(ASSETS)
    routes.add("/", shape, open_to_all=True, get=console.page)
    routes.add("/documents", shape, open_to_all=True, get=console.documents)
    routes.add("/console/{file}", shape, open_to_all=True, get=console.file)

    health = HealthRoutes(lambda: "draining" if house.admission.draining else None, house.metrics.render, CONTENT_TYPE)
    routes.add("/healthz", shape, open_to_all=True, get=health.healthz)
    routes.add("/readyz", shape, open_to_all=True, get=health.readyz)
    routes.add("/metrics", shape, get=health.metrics)

    socket = WebSocketDoor(
        house.sessions,
        Native("sse", when.native),
        access,
        house.metrics,
        limit=limits.sockets_streams,
        heartbeat=settings.streams.heartbeat_s,
        stall=limits.write_stall_s,
        frame_bytes=limits.body_bytes,
        origins=frozenset(settings.server.origins),
    )
    routes.all.append(WebSocketRoute("/v1/ws", socket))
    nowhere = _Nowhere(origins)
    return Router(routes.all, default=nowhere, redirect_slashes=False), Shedding(routes.answering, house.desk.admit)


def _policies(settings: Settings) -> Policies:
    given = settings.streams.disconnect
    return Policies(**{name: DisconnectPolicy.parse(getattr(given, name)) for name in given.__struct_fields__})


class _Nowhere:
    """What answers where no route is."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        call = Call(scope, receive, send, 0)
        self._origins.allow(call)
        error = NotFound(f"there is nothing at {scope['path'][:200]}; the routes are listed in the protocol reference")
        await call.fail(error.info(), lambda info: msgspec.json.encode({"error": info}))
