"""A request, as every dialect parses it and every provider understands it. Pure data."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]
Intent = Literal["short", "normal", "long"]


class Text(msgspec.Struct, tag="text", tag_field="type", frozen=True):
    text: str


class Image(msgspec.Struct, tag="image", tag_field="type", frozen=True, omit_defaults=True):
    """url: an address or a data: URL. detail: the host's hint for how closely to look."""

    url: str
    detail: str | None = None


class Audio(msgspec.Struct, tag="audio", tag_field="type", frozen=True):
    """data: base64. format: "wav", "mp3", …"""

    data: str
    format: str


class File(msgspec.Struct, tag="file", tag_field="type", frozen=True, omit_defaults=True):
    """A document. url: an address or a data: URL; or id, as the host's own store of files knows it."""

    url: str | None = None
    id: str | None = None
    name: str | None = None


class Thought(msgspec.Struct, tag="thinking", tag_field="type", frozen=True, omit_defaults=True):
    """What a model thought in an earlier turn. signature: the host's proof of it; redacted: the signature is all there is."""

    text: str = ""
    signature: str | None = None
    redacted: bool = False


class ToolCall(msgspec.Struct, tag="tool_call", tag_field="type", frozen=True, omit_defaults=True):
    """arguments: JSON text, as the model wrote it. signature: the host's proof, where it gave one."""

    call: str
    name: str
    arguments: str
    signature: str | None = None


class ToolResult(msgspec.Struct, tag="tool_result", tag_field="type", frozen=True, omit_defaults=True):
    """failed: the tool did not succeed, and text says why. name: of the tool, where the client said it."""

    call: str
    text: str
    failed: bool = False
    images: list[Image] = []
    name: str | None = None


Content = Text | Image | Audio | File | Thought | ToolCall | ToolResult


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """kept: the server put it there for this answer, a passage or a summary, and it is not left out where a conversation is shortened."""

    role: Role
    content: list[Content]
    name: str | None = None
    kept: bool = False

    @property
    def text(self) -> str:
        """All its text, joined."""
        return "".join(c.text for c in self.content if isinstance(c, Text))


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """A function that the model may ask its client to call. parameters: a JSON schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Thinking(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much a model may think before it answers. effort: none, minimal, low, medium, high, …; budget: tokens. None: the host's own.

    show: whether the client wants to read the thoughts.
    """

    effort: str | None = None
    budget: int | None = None
    show: bool = True


class DisconnectPolicy(msgspec.Struct, frozen=True):
    """What a stream does when nobody reads it any more: "cancel", "grace:<seconds>" then cancel, or "continue"."""

    kind: Literal["cancel", "grace", "continue"]
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"grace:{self.seconds:g}" if self.kind == "grace" else self.kind

    @classmethod
    def parse(cls, text: str) -> DisconnectPolicy:
        """Raises ValueError, with what is allowed, for anything else."""
        if text in ("cancel", "continue"):
            return cls(kind=text)  # type: ignore[arg-type]
        kind, _, seconds = text.partition(":")
        try:
            if kind == "grace" and 0 <= (s := float(seconds)) <= 86400:
                return cls(kind="grace", seconds=s)
        except ValueError:
            pass
        raise ValueError(f"on_disconnect is {text!r}; it may be 'cancel', 'continue' or 'grace:<seconds up to 86400>'")


CANCEL = DisconnectPolicy("cancel")
CONTINUE = DisconnectPolicy("continue")
GRACE = DisconnectPolicy("grace", 15.0)


class Reuse(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether an answer that was given before will do, as Cache-Control says it (RFC 9111, 5.2.1).

    store: the answer may be kept. read: one that is kept will do. max_age: seconds that it may be old. only: nothing else will do.
    """

    store: bool = True
    read: bool = True
    max_age: float | None = None
    only: bool = False

    @classmethod
    def parse(cls, header: str) -> Reuse | None:
        """None where it says nothing of the kind. no-store, no-cache, max-age=seconds and only-if-cached count; others do not."""
        words = {
            name.strip().lower(): value.strip(' "') for name, _, value in (w.partition("=") for w in header.split(","))
        }
        if not words.keys() & {"no-store", "no-cache", "max-age", "only-if-cached"}:
            return None
        age = words.get("max-age")
        known = age is not None and age.isascii() and age.isdigit() and len(age) <= 9
        return cls(
            store="no-store" not in words,
            read=not words.keys() & {"no-store", "no-cache"} and (age is None or known),
            max_age=float(age) if age is not None and known else None,
            only="only-if-cached" in words,
        )


class Retrieval(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a question says of the tenant's documents. It narrows what the server's settings allow, and widens nothing.

    on: whether the answer may be given passages. limit: most of them. groups: of those that the settings grant, these; None: all.
    sources: names; empty: all. since, until: bounds of publication, Unix seconds. recency: how much what is new counts.
    """

    on: bool = True
    limit: Annotated[int, msgspec.Meta(ge=1, le=50)] | None = None
    sources: Annotated[list[str], msgspec.Meta(max_length=256)] = []
    groups: Annotated[list[str], msgspec.Meta(max_length=256)] | None = None
    since: float | None = None
    until: float | None = None
    recency: Literal["balanced", "news", "reference"] | None = None

    @classmethod
    def parse(cls, header: str) -> Retrieval:
        """`off`, or `on; limit=4; sources=wiki,handbook; recency=news`. Raises ValueError, with what is wrong, for anything else."""
        word, *more = (piece.strip() for piece in header.split(";"))
        if word not in ("on", "off"):
            raise ValueError("it begins with on or off")
        pairs = [(name.strip(), value.strip()) for name, _, value in (piece.partition("=") for piece in more if piece)]
        fields: dict[str, Any] = {
            name: _listed(value) if name in ("sources", "groups") else value for name, value in pairs
        }
        if "on" in fields:
            raise ValueError("on is said by its first word")
        if len(fields) < len(pairs):
            raise ValueError("each thing is said once")
        made = msgspec.convert(fields | {"on": word == "on"}, cls, strict=False)
        if not all(math.isfinite(bound) for bound in (made.since, made.until) if bound is not None):
            raise ValueError("since and until are Unix seconds")
        return made


def _listed(value: str) -> list[str]:
    return [name for piece in value.split(",") if (name := piece.strip())]


class Request(msgspec.Struct, omit_defaults=True):
    """One question. Limits of None mean the server's own.

    stream: an id chosen by the client (1-64 of A-Z a-z 0-9 _ -) or None. chat: the conversation that the answer belongs to.
    session: whether the server keeps that conversation and adds its earlier turns; None where the client said nothing. intent: how
    long an answer is meant; None: the server may judge by the question. time_limit: seconds for the whole answer. plan: the class of use that the client names. edge: seconds from the
    request's head to this. deadline: when the answer must have ended, on the clock of `time.monotonic`; set by the desk.
    first_by: when its first token is due, where its plan insists; search_s: seconds that finding passages may take, where its plan says so;
    set by the desk too. tool_choice and response_format: in the shapes of Chat Completions. n: how many
    answers. logprobs: how many alternatives a token, None for no log probabilities at all. options: fields of `dialect` that
    nobody here reads, for hosts that speak it. reuse: None where the client said nothing, as for retrieval.
    room: tokens that the server may add to the messages, set where a conversation is kept within bounds. edits: whether the client takes back
    text that it was sent. prefill: the last message is the beginning of the answer, which goes on there; set by a route that goes on with
    an answer, for hosts that can. documents: ids of those whose passages stand in it. record: what the dialect wants to find again in the stream's meta, small JSON-able data.
    """

    model: str
    messages: list[Message]
    dialect: str = "native"
    tenant: str = "default"
    stream: str | None = None
    chat: str | None = None
    session: bool | None = None
    intent: Intent | None = None
    tools: list[Tool] = []
    tool_choice: Any = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: list[str] = []
    response_format: dict[str, Any] | None = None
    time_limit: float | None = None
    plan: str | None = None
    edge: float = 0.0
    deadline: float | None = None
    first_by: float | None = None
    search_s: float | None = None
    on_disconnect: DisconnectPolicy | None = None
    n: int = 1
    logprobs: int | None = None
    thinking: Thinking | None = None
    options: dict[str, Any] = {}
    reuse: Reuse | None = None
    retrieval: Retrieval | None = None
    room: int | None = None
    edits: bool = False
    prefill: bool = False
    documents: tuple[str, ...] = ()
    record: dict[str, Any] = {}

    def options_for(self, *dialects: str) -> dict[str, Any]:
        """What is handed on to a host that speaks one of these: nothing where the client spoke another one.

        Options of the native dialect are meant for the host, whichever it is.
        """
        return self.options if self.dialect in (*dialects, "native") else {}

    @property
    def user(self) -> str:
        """Who asks, in the words of whichever dialect says it; "" where none does."""
        metadata = self.options.get("metadata")
        inner = metadata.get("user_id") if isinstance(metadata, dict) else None
        found = self.options.get("safety_identifier") or self.options.get("user") or inner
        return found if isinstance(found, str) else ""

    @property
    def question(self) -> str:
        """The text of the last user message, or ""; without the passages at its head, where `documents` names them."""
        asked = next((m for m in reversed(self.messages) if m.role == "user"), None)
        if asked is None:
            return ""
        own = asked.content[1:] if asked.kept and self.documents else asked.content
        return "".join(c.text for c in own if isinstance(c, Text))
