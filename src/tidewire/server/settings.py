"""Every setting: its name, type, default, bounds, unit and meaning. Read from file, environment and flags by sources.py.

The default tidewire.toml and docs/settings.md are generated from here, by reference.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta

from tidewire.core.addresses import shown
from tidewire.core.errors import SettingsError
from tidewire.core.request import DisconnectPolicy
from tidewire.routing import cascade_plan
from tidewire.routing.cascade_plan import CascadePlan
from tidewire.routing.table import Plan, fault
from tidewire.server import ingest_settings
from tidewire.server.cache_settings import Cache
from tidewire.server.embedding_settings import Embedding
from tidewire.server.group import Bytes, Count, Group, Ms, Seconds
from tidewire.server.ingest_settings import Ingest, SourceSettings
from tidewire.server.intent_settings import Intents
from tidewire.server.plan_settings import Budget, UsePlan
from tidewire.server.plan_settings import fault as plan_fault
from tidewire.server.rerank_settings import Rerank
from tidewire.server.session_settings import Sessions
from tidewire.server.tools_settings import ToolCalls, Tools

LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})


class Server(Group, frozen=True):
    """Where the server listens, and who may call."""

    host: Annotated[str, Meta(min_length=1, description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")] = 8400
    tls_cert: Annotated[str, Meta(description="Certificate chain (PEM); with tls_key, the server speaks TLS.")] = ""
    tls_key: Annotated[str, Meta(description="Private key of tls_cert (PEM file).")] = ""
    api_key: Annotated[
        str, Meta(description="Key that callers must send; none: anybody who reaches the port may call.")
    ] = ""
    open: Annotated[bool, Meta(description="Allow listening beyond loopback without an api_key.")] = False
    origins: Annotated[list[str], Meta(description='Web origins that may call from a browser; ["*"] allows all.')] = []
    hosts: Annotated[
        list[str], Meta(description='Names it is asked by on loopback without an api_key; ["*"] allows all.')
    ] = []
    drain_s: Annotated[Seconds, Meta(description="On SIGTERM, running answers get this long to end.")] = 30.0
    backlog: Annotated[Count, Meta(description="Connections that may wait to be accepted.")] = 2048


class Limits(Group, frozen=True):
    """What one caller, one stream and the whole process may take."""

    header_bytes: Annotated[Bytes, Meta(description="Size of a request's line and headers.")] = 65536
    header_s: Annotated[Seconds, Meta(description="Time for a request's headers to arrive.")] = 10.0
    body_bytes: Annotated[Bytes, Meta(description="Size of a request's body, or of a WebSocket message.")] = 16 << 20
    body_s: Annotated[Seconds, Meta(description="Time for a request's body to arrive.")] = 30.0
    connections: Annotated[Count, Meta(description="Open connections; above it new ones are refused with 503.")] = 8000
    streams: Annotated[Count, Meta(description="Streams being answered at once; above it 429.")] = 2000
    readers_per_stream: Annotated[Count, Meta(description="Readers that may follow one stream at once.")] = 64
    sockets_streams: Annotated[Count, Meta(description="Streams that one WebSocket may read at once.")] = 64
    keep_alive_s: Annotated[Seconds, Meta(description="An idle connection is closed after this.")] = 75.0
    write_stall_s: Annotated[
        Seconds, Meta(description="A reader that takes nothing for this long is closed; it can resume.")
    ] = 30.0
    write_buffer_bytes: Annotated[Bytes, Meta(description="Unsent bytes held for one connection.")] = 65536
    stream_s: Annotated[Seconds, Meta(description="Longest time for one answer.")] = 1800.0
    stream_bytes: Annotated[Bytes, Meta(description="Size of one answer in the log.")] = 16 << 20
    stream_events: Annotated[int, Meta(ge=16, le=10_000_000, description="Events of one answer.")] = 500_000
    memory_bytes: Annotated[
        Bytes, Meta(description="Memory for the logs of all streams; above it new ones get 429.")
    ] = 512 << 20
    busy: Annotated[
        float,
        Meta(gt=0, le=10, description="New streams get 429 above this share of one core's time; 1 or more: never."),
    ] = 0.85
    busy_streams: Annotated[Count, Meta(description="Open streams below which limits.busy does not apply.")] = 100


class Disconnect(Group, frozen=True):
    """What a lost connection means on each dialect, unless the request says: cancel, continue, or grace:<seconds>."""

    native: Annotated[str, Meta(description="Streams of the native protocol.")] = "grace:15"
    openai_chat: Annotated[str, Meta(description="OpenAI Chat Completions.")] = "cancel"
    openai_responses: Annotated[str, Meta(description="OpenAI Responses; background ones always continue.")] = "cancel"
    anthropic: Annotated[str, Meta(description="Anthropic Messages.")] = "cancel"
    openai_images: Annotated[str, Meta(description="OpenAI image generation.")] = "cancel"
    ui_messages: Annotated[str, Meta(description="AI SDK UI messages.")] = "grace:15"
    gemini: Annotated[str, Meta(description="Gemini API.")] = "cancel"
    agui: Annotated[str, Meta(description="AG-UI runs.")] = "grace:15"
    cohere: Annotated[str, Meta(description="Cohere's Chat API.")] = "cancel"
    ollama: Annotated[str, Meta(description="Ollama's API.")] = "cancel"
    bedrock: Annotated[str, Meta(description="Bedrock's Converse.")] = "cancel"


class Streams(Group, frozen=True):
    """How streams live: heartbeats, how long they are kept, what happens when nobody reads."""

    heartbeat_s: Annotated[Seconds, Meta(description="A comment is sent after this long a silence.")] = 15.0
    retry_ms: Annotated[
        int, Meta(ge=0, le=600_000, extra={"unit": "ms"}, description="Clients wait this long before they reconnect.")
    ] = 1000
    keep_s: Annotated[Seconds, Meta(description="A stream can be read for this long after its end.")] = 900.0
    unread: Annotated[
        Literal["continue", "pause"],
        Meta(description="When nobody reads: continue, or pause the model host at ahead_events."),
    ] = "continue"
    ahead_events: Annotated[
        Count, Meta(description="How far an answer may run ahead of its furthest reader (with pause).")
    ] = 2000
    disconnect: Disconnect = Disconnect()


class Log(Group, frozen=True):
    """Where streams are kept."""

    durability: Annotated[
        Literal["memory", "process", "disk"],
        Meta(
            description="Survives: memory, a lost client; process, a killed server; disk, a power cut. memory "
            "writes no stream to the data folder."
        ),
    ] = "process"


class Logging(Group, frozen=True):
    """The server's own messages, on standard error. They never hold text of a question or an answer."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="The least that is written.")] = (
        "info"
    )
    format: Annotated[
        Literal["auto", "json", "text"], Meta(description="auto: text on a terminal, JSON lines elsewhere.")
    ] = "auto"


class Retrieval(Group, frozen=True):
    """Answers out of your own documents."""

    store: Annotated[
        str,
        Meta(
            pattern="^(sqlite|postgres(ql)?://.+)$",
            extra={"allowed": '"sqlite" or a postgres:// address'},
            description='Where documents are kept: "sqlite", a file in the data folder, or a postgres:// address that several servers share.',
        ),
    ] = "sqlite"
    pgvector_above: Annotated[
        int,
        Meta(
            ge=0, description="Chunks of a namespace above which Postgres searches its vectors, by pgvector; 0: never."
        ),
    ] = 300_000
    passages: Annotated[int, Meta(ge=1, le=50, description="Passages looked at for one answer.")] = 16
    pace: Annotated[
        float, Meta(gt=0, le=100_000, extra={"unit": "tokens/s"}, description="How fast the extractive model writes.")
    ] = 50.0
    models: Annotated[
        list[str],
        Meta(
            description="Models, by the names that clients ask for, that are given passages with each question and cite them."
        ),
    ] = []
    when: Annotated[
        Literal["always", "asked"],
        Meta(description="always: with each question, unless its request says off. asked: where its request says on."),
    ] = "always"
    groups: Annotated[
        list[str],
        Meta(
            description="Groups whose documents answers may rest on, beside those that everybody of the tenant may read."
        ),
    ] = []
    given: Annotated[int, Meta(ge=1, le=50, description="Passages that such a model is given at most.")] = 6
    characters: Annotated[
        int,
        Meta(
            ge=100,
            le=1_000_000,
            description="Characters of these passages together; the best one is always given whole.",
        ),
    ] = 12_000
    deadline_ms: Annotated[Ms, Meta(description="How long their search may take; then the model is asked without.")] = (
        300.0
    )
    results_s: Annotated[
        float,
        Meta(
            ge=0,
            le=30,
            extra={"unit": "s"},
            description="How long the ranking of a search is used again while no document of the tenant changes. 0: never.",
        ),
    ] = 30.0
    results_bytes: Annotated[Bytes, Meta(description="Memory for such rankings.")] = 4 << 20


class Context(Group, frozen=True):
    """How much of a conversation a model is given."""

    tokens: Annotated[
        int,
        Meta(
            ge=0,
            le=100_000_000,
            extra={"unit": "tokens"},
            description="What a model takes, question and answer; longer conversations lose their oldest turns. 0: no bound.",
        ),
    ] = 0
    models: Annotated[
        dict[str, Annotated[int, Meta(ge=0, le=100_000_000)]],
        Meta(description="The same for single models: model = tokens."),
    ] = {}
    answer_tokens: Annotated[
        Count, Meta(description="Kept free for the answer where a request sets no limit.", extra={"unit": "tokens"})
    ] = 1024
    passage_tokens: Annotated[
        int, Meta(ge=0, le=100_000_000, description="Kept free for passages too, of turns that may be left out.")
    ] = 0
    recent_turns: Annotated[int, Meta(ge=1, le=1000, description="Turns that are never left out.")] = 2
    keep_files: Annotated[bool, Meta(description="Turns with files in them are not left out either.")] = True
    tokenizers: Annotated[
        dict[str, str],
        Meta(
            description="Files that count for their models (tokenizer.json): model = path, with * for any; else tokens are estimated."
        ),
    ] = {}
    intents: Intents = Intents()


class Models(Group, frozen=True):
    """Which models are on offer."""

    default: Annotated[str, Meta(description='Answers to the name "default"; none: the best on offer.')] = ""
    discover: Annotated[
        bool, Meta(description="Offer model servers on their usual local ports, and hosts whose key is set.")
    ] = True
    aliases: Annotated[dict[str, str], Meta(description="Other names for models: alias = model.")] = {}


class Provider(Group, frozen=True):
    """A model host of your own: [providers.NAME]."""

    kind: Annotated[
        str,
        Meta(
            min_length=1,
            description="One of the hosts in docs/providers.md, compatible (speaks OpenAI's Chat Completions), simulated, "
            "extractive, or that of another package.",
        ),
    ] = "compatible"
    base_url: Annotated[
        str, Meta(description="Address that the host's API begins at, for compatible up to and including /v1.")
    ] = ""
    api_key_env: Annotated[
        str, Meta(description="Name of the environment variable that holds the host's key; none: the host's usual one.")
    ] = ""
    headers: Annotated[dict[str, str], Meta(description="Headers that go with every request to the host.")] = {}
    region: Annotated[str, Meta(description="Region of the host's cloud, where it has regions.")] = ""
    project: Annotated[str, Meta(description="Project or account at the host's cloud, where it needs one.")] = ""
    credentials: Annotated[str, Meta(description="Credentials file of the host's cloud, where it takes one.")] = ""
    api_version: Annotated[str, Meta(description="Version of the host's API, where it asks for one.")] = ""
    folder: Annotated[str, Meta(description="Folder of the model, for onnx.")] = ""
    models: Annotated[list[str], Meta(description="Models on offer; none: what the host lists.")] = []
    connect_s: Annotated[Seconds, Meta(description="Time to connect, TLS included.")] = 5.0
    header_s: Annotated[Seconds, Meta(description="Time until the host's first header.")] = 60.0
    first_token_s: Annotated[Seconds, Meta(description="Time until the first token.")] = 60.0
    idle_s: Annotated[Seconds, Meta(description="Longest silence between two tokens.")] = 60.0
    deadline_header: Annotated[
        str, Meta(description="Header in which the host is told how many milliseconds are left; none: it is not.")
    ] = ""
    retries: Annotated[int, Meta(ge=0, le=10, description="More tries, before the first token only.")] = 1
    connections: Annotated[Count, Meta(description="Connections to this host.")] = 2000
    background: Annotated[
        bool, Meta(description="Answers go on at the host without a connection, where it can (openai-responses).")
    ] = False
    prompt_markers: Annotated[
        bool,
        Meta(
            description="Mark prompts for the host's own cache, where the client has not: anthropic, bedrock, bedrock-invoke, openai, "
            "azure, openai-responses, vllm."
        ),
    ] = False
    proxy: Annotated[str, Meta(description="HTTP proxy; none: HTTPS_PROXY and NO_PROXY of the environment.")] = ""
    ca_file: Annotated[str, Meta(description="Certificates to trust (PEM file); none: the system's.")] = ""


class Settings(Group, frozen=True):
    """All of it."""

    data: Annotated[str, Meta(min_length=1, description="Folder for the streams and the index.")] = ".tidewire"
    server: Server = Server()
    limits: Limits = Limits()
    budget: Budget = Budget()
    streams: Streams = Streams()
    log: Log = Log()
    logging: Logging = Logging()
    retrieval: Retrieval = Retrieval()
    embedding: Embedding = Embedding()
    rerank: Rerank = Rerank()
    ingest: Ingest = Ingest()
    models: Models = Models()
    context: Context = Context()
    sessions: Sessions = Sessions()
    cache: Cache = Cache()
    providers: Annotated[dict[str, Provider], Meta(description="Model hosts by name.")] = {}
    sources: Annotated[dict[str, SourceSettings], Meta(description="Where documents come from, by name.")] = {}
    routes: Annotated[dict[str, Plan], Meta(description="Names that several models answer to.")] = {}
    plans: Annotated[dict[str, UsePlan], Meta(description="Classes of use, each with a budget.")] = {}
    cascades: Annotated[
        dict[str, CascadePlan], Meta(description="A quick model, and one that betters its answers.")
    ] = {}
    tools: Annotated[dict[str, Tools], Meta(description="Tools that the server runs itself, by name.")] = {}
    tool_calls: ToolCalls = ToolCalls()

    @property
    def cache_path(self) -> Path:
        """The SQLite file of the answers that are kept."""
        return Path(self.data) / "cache.db"

    @property
    def sessions_path(self) -> Path:
        """The SQLite file of the conversations that are kept."""
        return Path(self.data) / "sessions.db"

    @property
    def log_path(self) -> Path:
        """The SQLite file of the streams."""
        return Path(self.data) / "streams.db"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.server.host in LOOPBACK or self.server.host.startswith("127.")


def check(settings: Settings) -> None:
    """What no single field can say. Raises SettingsError for settings that do not go together."""
    server = settings.server
    if bool(server.tls_cert) != bool(server.tls_key):
        given, missing = ("tls_cert", "tls_key") if server.tls_cert else ("tls_key", "tls_cert")
        raise SettingsError(
            f"server.{given} is set and server.{missing} is not; TLS needs both", param=f"server.{missing}"
        )
    for name in ("tls_cert", "tls_key"):
        path = getattr(server, name)
        if path and not Path(path).is_file():
            raise SettingsError(f"server.{name} is {path!r}, and there is no such file", param=f"server.{name}")
    if not (server.api_key.isascii() and server.api_key.isprintable()):
        raise SettingsError(
            "server.api_key holds a character that no header can hold; take ASCII letters, digits and signs",
            param="server.api_key",
        )
    if not settings.loopback and not server.api_key and not server.open:
        raise SettingsError(
            f"server.host is {server.host!r}, which others can reach, and server.api_key is empty; set TIDEWIRE_API_KEY, "
            "or server.open = true to let anybody call",
            param="server.api_key",
        )
    for name in Disconnect.__struct_fields__:
        try:
            DisconnectPolicy.parse(getattr(settings.streams.disconnect, name))
        except ValueError as wrong:
            said = str(wrong).replace("on_disconnect", f"streams.disconnect.{name}", 1)
            raise SettingsError(said, param=f"streams.disconnect.{name}") from None
    for name, provider in settings.providers.items():
        given = provider.base_url
        if (given or provider.kind == "compatible") and not given.startswith(("http://", "https://")):
            raise SettingsError(
                f"providers.{name}.base_url is {shown(given)!r}; it must be an http:// or https:// "
                "address up to and including /v1",
                param=f"providers.{name}.base_url",
            )
    context = settings.context
    for param, tokens in {"tokens": context.tokens, **{f"models.{m}": n for m, n in context.models.items()}}.items():
        if 0 < tokens <= context.answer_tokens:
            raise SettingsError(
                f"context.{param} is {tokens}, and context.answer_tokens keeps {context.answer_tokens} of them for the answer; "
                "nothing is left for the question: raise the one or lower the other",
                param=f"context.{param}",
            )
    if settings.sessions.summary_model and not (context.tokens or any(context.models.values())):
        raise SettingsError(
            "sessions.summary_model is set, and no model has a budget that a conversation could outgrow; set context.tokens or "
            "context.models",
            param="sessions.summary_model",
        )
    if amiss := fault(settings.routes):
        name, sentence = amiss
        raise SettingsError(f"routes.{name}{sentence}", param=f"routes.{name}")
    if wrong_plan := plan_fault(settings.plans):
        raise SettingsError(wrong_plan, param="plans")
    if amiss := cascade_plan.fault(settings.cascades, settings.routes):
        setting, sentence = amiss
        raise SettingsError(f"{setting}{sentence}", param=setting)
    if (wrong_source := ingest_settings.fault(settings.sources, settings.ingest.ttl)) is not None:
        raise wrong_source
