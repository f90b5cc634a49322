"""The shapes that rooms meet by. Nothing here does anything; every implementation passes the contract tests of its port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable

import msgspec

from tidewire.core.events import DurabilityClass, Entry, ErrorInfo, Event, Reason
from tidewire.core.request import Request


class Sink(Protocol):
    """Where a provider puts what it produces."""

    def feed(self, events: Sequence[Event]) -> None:
        """Take everything that has arrived. Never waits, never raises: a sink that fails ends its own stream."""

    @property
    def full(self) -> bool:
        """True when the log is ahead of what may be held: stop reading the host, and await room()."""

    async def room(self) -> None:
        """Returns when events may be fed again."""


class Provider(Protocol):
    """What answers a request: a model host, or a wrapper around other providers."""

    name: str

    async def answer(self, request: Request, sink: Sink) -> None:
        """Feed the answer to the sink and return at its end, after a Finish event.

        Raises UpstreamError (retryable or not) when the host fails. When the task is cancelled, the host's connection is
        closed before the cancellation leaves this call, whatever the provider was doing.
        """

    async def models(self) -> Sequence[ModelInfo]:
        """The models it can answer for now."""

    async def close(self) -> None:
        """Let go of connections and files."""


@runtime_checkable
class Prefilling(Protocol):
    """A provider that knows whether its host goes on, letter for letter, from the beginning of an answer (`Request.prefill`)."""

    def prefills(self, model: str) -> bool: ...


class ModelInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model as a client may name it. created: Unix seconds. note: why it is on offer, in a sentence."""

    id: str
    provider: str
    created: int = 0
    note: str = ""


class Step(Protocol):
    """Something awaited before the provider is asked. May change the request, or feed progress to the sink, or refuse."""

    async def prepare(self, request: Request, sink: Sink) -> Request: ...


class Stage(Protocol):
    """Something done to each event before it is numbered. Sync and pure; keeps the order of what it holds back."""

    def feed(self, event: Event) -> Sequence[Event]: ...

    def end(self) -> Sequence[Event]: ...


class Meta(msgspec.Struct, omit_defaults=True):
    """What a log knows of a stream beside its events. created and ended: Unix milliseconds.

    projection: name and version of the dialect that its cursors count in, pinned when the stream starts.
    """

    stream: str
    tenant: str
    model: str
    created: int
    dialect: str
    projection: str
    on_disconnect: str
    durability: DurabilityClass
    chat: str | None = None
    epoch: int = 1
    ended: int | None = None
    expires: int | None = None
    last: int = 0
    record: dict[str, Any] = {}


class Writer(Protocol):
    """The one hand that writes to a stream in this epoch."""

    def append(self, entries: list[Entry]) -> None:
        """Hand over entries in order. Readers see them once they are acknowledged at the log's durability class.

        Never waits. A log that cannot store them calls the `failed` callback given to `Log.open`.
        """

    @property
    def size(self) -> int:
        """Bytes appended so far."""

    @property
    def full(self) -> bool:
        """True when more is waiting for acknowledgement than may be held."""

    async def room(self) -> None: ...

    async def close(self, meta: Meta) -> None:
        """Wait until all is acknowledged, then store the stream's last meta (ended, expires). No append may follow."""


class Cursor(Protocol):
    """One reader's place in a log: a number, not a buffer."""

    @property
    def seq(self) -> int:
        """The last entry taken."""

    def take(self, limit: int) -> list[Entry]:
        """The next entries at hand, at most `limit`, in order without a gap; the cursor moves behind them.

        [] means: nothing now, and the wake callback will be called when there is. What is not in memory is fetched meanwhile.
        """

    @property
    def failed(self) -> Exception | None:
        """Why no more can be read, where the log broke or the stream expired under the reader."""

    def close(self) -> None: ...


class Log(Protocol):
    """Where streams are kept. Numbers are those of the entries; all methods raise UnknownStream or Expired alike."""

    durability: DurabilityClass

    async def start(self) -> list[Meta]:
        """Open what is on disk; returns the streams that never ended, for the engine to close."""

    async def open(self, meta: Meta, failed: Callable[[Exception], None]) -> Writer:
        """A new stream, or an old one in a later epoch. Raises Conflict when the id is taken in this epoch or a later one."""

    async def cursor(self, tenant: str, stream: str, after: int, wake: Callable[[], None]) -> Cursor:
        """A reader behind entry `after` (0: from the first). Raises CursorAhead when the log has not come so far.

        wake: called on the event loop, cheaply and perhaps too often, when take() may have more.
        """

    async def meta(self, tenant: str, stream: str) -> Meta: ...

    async def find(self, tenant: str, *, chat: str | None = None, limit: int = 50) -> list[Meta]:
        """The newest streams first."""

    async def delete(self, tenant: str, stream: str) -> None:
        """Forget it at once; readers end with Expired."""

    async def expire(self, now: int) -> int:
        """Delete what is over its time (Unix milliseconds); returns how many."""

    def size(self) -> tuple[int, int]:
        """Streams and bytes held in memory."""

    async def close(self) -> None: ...


class Desk(Protocol):
    """Start, follow, cancel: all that a door needs."""

    async def start(self, request: Request) -> Meta:
        """Open a stream and begin to answer. Once it returns, the first event is in the log and one last event will be."""

    async def follow(
        self, tenant: str, stream: str, after: int, wake: Callable[[], None], *, counts: bool = True
    ) -> Cursor:
        """A cursor that the stream knows of: when the last one that counts is closed, the disconnect policy applies."""

    def showing(self, tenant: str, stream: str) -> Callable[[float | None], None] | None:
        """Whom to tell that a reader's connection has the first words, and the seconds from there to the reader. None: nobody asks."""

    async def cancel(self, tenant: str, stream: str, reason: Reason = "client") -> bool:
        """Stop the answer; True if it was running. Returns once the host has been let go of and the last event is written."""

    async def meta(self, tenant: str, stream: str) -> Meta: ...

    async def find(self, tenant: str, *, chat: str | None = None, limit: int = 50) -> list[Meta]: ...

    async def delete(self, tenant: str, stream: str) -> None: ...

    async def models(self) -> Sequence[ModelInfo]: ...


class Renderer(Protocol):
    """One reader's view of a log in one dialect: a pure function of the log's prefix."""

    def feed(self, entries: Sequence[Entry]) -> bytes:
        """The bytes that these entries add, framed for the wire; may be empty."""

    @property
    def ended(self) -> bool:
        """True once the last bytes have been given out."""

    @property
    def failure(self) -> ErrorInfo | None:
        """Set at the end of a stream that failed: an HTTP status, if no byte has been sent yet."""


class Dialect(Protocol):
    """A public wire protocol, sans-I/O. projection: name and version of what its cursors count, "<name>/<n>".

    resumes: whether a client may come back with a cursor. default_disconnect: what a closed connection means unless
    the request says otherwise. media_type and headers: of the streamed answer.
    """

    name: str
    projection: str
    resumes: bool
    media_type: str

    def parse(self, body: bytes, headers: dict[str, str]) -> tuple[Request, bool]:
        """The request, and whether the client asked for a stream. Raises BadRequest with `param`."""

    def headers(self, meta: Meta) -> list[tuple[str, str]]: ...

    def origin(self, after: int) -> int:
        """The entry of the log to read behind, for a client whose cursor is `after`: 0 where rendering needs the whole prefix."""

    def stream(self, meta: Meta, after: int = 0) -> Renderer:
        """Renders the log read from `origin(after)` on; what the projection counts up to `after` is left out."""

    def whole(self, meta: Meta) -> Renderer:
        """Renders the whole answer as one JSON document at its end."""

    def error(self, info: ErrorInfo) -> bytes:
        """The error as a JSON body in the dialect's own shape."""


class Retriever(Protocol):
    """Finds passages of the documents of a request's tenant.

    A provider that asks one feeds a Progress of the stage `retrieving` before it does: by that, caches know answers that are not
    to be kept or shared.
    """

    def search(
        self, request: Request, query: str, limit: int, sink: Sink
    ) -> AbstractAsyncContextManager[Sequence[Passage]]:
        """The passages, limit of them at most. The sink is fed `Retrieved`; and `Superseded`, while the context is not left yet."""


class Passage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a document. start: its offset in the document's text, in characters. changed: Unix seconds.

    heading: the path of headings above it. score: higher is better. chunk, version: as `Citation` names them.
    """

    source: str
    title: str
    text: str
    start: int = 0
    heading: str = ""
    uri: str | None = None
    changed: float | None = None
    score: float = 0.0
    chunk: int | None = None
    version: int | None = None


class Encoder(Protocol):
    """Turns texts into vectors of meaning, for search and for the semantic cache.

    name: the model and its version; vectors of different names are never compared. dimensions: 0 until it is known.
    """

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int: ...

    async def encode(
        self, texts: Sequence[str], *, query: bool = False, deadline: float | None = None
    ) -> Sequence[bytes]:
        """A unit vector for each text, in order: little-endian float32. query: these are questions, not documents.

        deadline: seconds on the event loop's clock, by which the answer is of use. Raises UpstreamError or TimedOut.
        """

    async def close(self) -> None: ...


class Decoder(Protocol):
    """Turns the bytes of one upstream answer into events, however they are cut."""

    def feed(self, data: bytes) -> list[Event]:
        """What these bytes complete. Raises UpstreamError for an error of the host or bytes that make no sense."""

    def end(self) -> list[Event]:
        """The host closed the answer. Raises UpstreamError if it was not at its end."""


class Question(msgspec.Struct, frozen=True):
    """What a host is asked over HTTP. path: behind the host's base URL, query included. headers: beside those of every request."""

    path: str
    body: bytes
    headers: dict[str, str] = {}


class Speaker(Protocol):
    """The side of a dialect that faces a model host.

    listing: the path that lists the host's models, "" where it has none.
    """

    listing: str

    def ask(self, request: Request, model: str) -> Question:
        """What asks the host for a streamed answer. Raises BadRequest for what its protocol cannot say, never leaves it out silently."""

    def decoder(self, request: Request) -> Decoder: ...

    def models(self, body: bytes) -> Sequence[ModelInfo]:
        """The rows of `listing`, by the host's own names; `provider` is filled in by who asked. Raises UpstreamError."""
