"""The events of a stream: what is numbered, stored, resumed and rendered. Pure data.

The meaning of each event is written in spec/PROTOCOL.md; the JSON schema there is generated from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, get_args

import msgspec

from tidewire.core.sources import Rested, Source

PROTOCOL: Final = "tidewire/1"

PartKind = Literal["text", "thinking", "refusal", "tool_call", "server_call", "tool_result", "image", "audio"]
Stage = Literal["queued", "retrieving", "connecting", "waiting", "thinking", "calling", "drafting", "refining"]
Status = Literal["completed", "incomplete", "cancelled", "failed"]
Reason = Literal[
    "stop",  # the model was done
    "stop_string",  # a stop string of the request was met
    "length",  # the token limit was met
    "tool_calls",  # the model asks its client to run tools
    "content_filter",
    "time_limit",
    "size_limit",
    "client",  # somebody pressed stop
    "disconnect",  # nobody was left to read, and the stream's policy says to stop then
    "shutdown",
    "error",
]
Reused = Literal["cache", "shared"]
DurabilityClass = Literal["memory", "process", "disk", "replicated"]


class Event(msgspec.Struct, tag_field="type", omit_defaults=True, kw_only=True, gc=False):
    """What every event carries.

    seq: 1, 2, 3, … without a gap, given by the stream's one writer. at: milliseconds since the stream was opened.
    An event belongs to its run until it is appended; from then on nobody changes it.
    """

    seq: int = -1
    at: int = -1


class ErrorInfo(msgspec.Struct, omit_defaults=True, frozen=True):
    """An error as a client sees it. message is safe to show: what happened, the number, the limit, what to do."""

    code: str
    message: str
    status: int = 500
    retryable: bool = False
    retry_after: float | None = None
    param: str | None = None


class Span(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stretch of the waterfall. start and ms in milliseconds, start counted from the stream's opening.

    source: "measured" by this server, "reported" by the host (on its own clock: never add the two up), "inferred".
    """

    name: str
    start: float
    ms: float
    source: Literal["measured", "reported", "inferred"] = "measured"


class Opened(Event, tag="opened"):
    """Always the first event. created: Unix time in milliseconds. durability: what an acknowledged event survives."""

    stream: str
    model: str
    created: int
    durability: DurabilityClass
    on_disconnect: str
    protocol: str
    epoch: int
    chat: str | None = None


class Attempt(Event, tag="attempt"):
    """One try at a provider begins. n counts from 1; reason says why there is another.

    continuation: it goes on from the text so far. hedge: the try before was late, and the first to speak wins. refinement: it betters
    the answer that is there. tools: the model goes on with what the server's tools gave.
    """

    n: int
    provider: str
    model: str
    reason: Literal["start", "retry", "fallback", "takeover", "continuation", "hedge", "refinement", "tools"]


class Progress(Event, tag="progress"):
    """What is going on before or between words. detail is safe to show. call: of a tool that the server runs, which it is about."""

    stage: Stage
    detail: str = ""
    call: str | None = None


class PartStarted(Event, tag="part"):
    """A piece of output begins; later events name it by its number. call and name: of a tool call or its result.

    tool_call: the client is asked to run it. server_call: this server runs it, and a tool_result of the same call follows, which is
    told whole; failed: it did not succeed, and the text says why.
    choice: which of several answers to the same request it belongs to. media: the MIME type of an image or audio part.
    """

    part: int
    kind: PartKind
    name: str | None = None
    call: str | None = None
    choice: int = 0
    media: str | None = None
    failed: bool = False


class Delta(Event, tag="delta"):
    """More of a part: text for text and thinking, a fragment of JSON text for a tool call's arguments."""

    part: int
    text: str


class Edit(Event, tag="edit"):
    """The characters start to end of a text part, as it stands now, become `text`. An insertion where start is end."""

    part: int
    start: int
    end: int
    text: str


def edit(pieces: list[str], change: Edit) -> None:
    """Make the change in a text that is kept as its pieces, which become one."""
    text = "".join(pieces)
    pieces[:] = [text[: change.start], change.text, text[change.end :]]


class PartEnded(Event, tag="part_end"):
    """Nothing more comes for this part."""

    part: int


class Blob(Event, tag="blob"):
    """Bytes of an image or audio part, base64 in JSON. Audio goes on where the last blob ended; an image replaces the one before.

    partial: a sketch of an image that a later blob of the same part replaces.
    """

    part: int
    data: bytes
    partial: bool = False


class Signature(Event, tag="signature"):
    """A host's opaque proof of a part, which the client hands back with it in the next request.

    redacted: value is the whole of a thinking part that the host does not show.
    """

    part: int
    value: str
    redacted: bool = False


class Logprobs(Event, tag="logprobs"):
    """Log probabilities of the tokens of the part's last delta. content: as OpenAI writes them, {token, logprob, bytes, top_logprobs}."""

    part: int
    content: list[dict[str, Any]]


class Field(Event, tag="field"):
    """Of an answer in JSON: the value at this place is complete. path: a JSON pointer (RFC 6901)."""

    part: int
    path: str
    value: Any


class Checked(Event, tag="checked"):
    """An answer in JSON has ended and was held against the schema that was asked for. problems: sentences, the first few."""

    part: int
    valid: bool
    problems: list[str] = []


class ChoiceEnded(Event, tag="choice_end"):
    """One of several answers to the same request is complete. Only where more than one was asked for."""

    choice: int
    reason: Reason


class Citation(Event, tag="citation"):
    """A source for what a text part says between the offsets start and end (in characters of that part).

    passage: the words relied on. age: seconds since the source was last changed, when it was searched. chunk, version: of a passage
    of the tenant's documents, whose document is `source`; None for what a host cites by itself.
    """

    part: int
    start: int
    end: int
    source: str
    title: str
    passage: str
    uri: str | None = None
    age: float | None = None
    score: float | None = None
    chunk: int | None = None
    version: int | None = None


class Retrieved(Event, tag="retrieved"):
    """The tenant's documents were searched for this answer. passages: what the model was given, in the order of its numbers, from 1.

    namespace, epoch: what was searched. ms: the search took. cached: it was made a moment ago and found again. behind: seconds that
    the index was behind the documents. notices: what was done without, in a few words each.
    """

    namespace: str
    epoch: int
    passages: list[Source]
    ms: float
    cached: bool = False
    behind: float = 0.0
    notices: list[str] = []


class Superseded(Event, tag="superseded"):
    """A document that this answer was given has another version now, or (deleted) is gone. version, chunks: what the answer was given."""

    document: str
    version: int
    chunks: list[int]
    deleted: bool = False


class Usage(Event, tag="usage"):
    """Tokens so far, cumulative: a later usage event replaces an earlier one.

    counted_by: "host" is the host's own figure; "server" is what passed by here, one a delta. input: all of the prompt, cached or
    not. cached: of these, read from the host's cache; cache_write: of these, written to it. reasoning: of output, thinking.
    reused: no host was paid for these tokens: the answer came from the cache, or is shared with an equal request under way.
    cost: USD for all of them, where the settings say prices: of a route's candidates, of a cascade's models.
    """

    counted_by: Literal["host", "server"]
    input: int | None = None
    output: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    cache_write: int | None = None
    reused: Reused | None = None
    cost: float | None = None


class Notice(Event, tag="notice"):
    """Something the client may want to know, and that ends nothing."""

    code: str
    message: str


class Finish(Event, tag="finish"):
    """The provider's own last word. Never logged: the run turns it into the one Closed event.

    early: a stage has seen the end before the host did, which is let go of at once.
    """

    reason: Reason
    early: bool = False


class Timing(Event, tag="timing"):
    """A span that a provider measured or its host reported. Never logged: the run puts it into Closed."""

    span: Span


class Closed(Event, tag="closed"):
    """Always the last event, exactly once. usage and spans sum up the stream; ttft in milliseconds. reused, cost: as `Usage` says.

    rested: None where no documents were searched.
    """

    status: Status
    reason: Reason
    error: ErrorInfo | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None
    reused: Reused | None = None
    cost: float | None = None
    ttft: float | None = None
    tokens_per_second: float | None = None
    spans: list[Span] = []
    rested: Rested | None = None


AnyEvent = (
    Opened
    | Attempt
    | Progress
    | PartStarted
    | Delta
    | Edit
    | PartEnded
    | Blob
    | Signature
    | Logprobs
    | Field
    | Checked
    | ChoiceEnded
    | Citation
    | Retrieved
    | Superseded
    | Usage
    | Notice
    | Closed
)
LOGGED: Final[tuple[type[Event], ...]] = get_args(AnyEvent)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


# The event as one line of JSON: what the log stores and what native clients receive, byte for byte. The encoder's own
# method, for it is called for every token.
encode: Final[Callable[[Event], bytes]] = _encoder.encode


def decode(raw: bytes) -> AnyEvent:
    """The event that `encode` wrote. Raises msgspec.ValidationError for anything else."""
    return _decoder.decode(raw)


def fields(event: Event) -> dict[str, Any]:
    """What it says, as JSON takes it, without its type and its place in the stream."""
    return {name: value for name, value in msgspec.to_builtins(event).items() if name not in ("type", "seq", "at")}


class NewEntry(msgspec.Struct, gc=False):
    """One event in its place in the log, as it is appended: its number, its bytes, and the event itself."""

    seq: int
    raw: bytes
    event: Event


class StoredEntry:
    """An entry of which only the bytes were kept; the event is decoded when somebody asks for it."""

    __slots__ = ("_decoded", "raw", "seq")

    def __init__(self, seq: int, raw: bytes) -> None:
        self.seq = seq
        self.raw = raw
        self._decoded: Event | None = None

    @property
    def event(self) -> Event:
        if self._decoded is None:
            self._decoded = decode(self.raw)
        return self._decoded


Entry = NewEntry | StoredEntry
