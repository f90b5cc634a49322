"""What a host of Anthropic Messages streams, as events.

Source: the Messages reference, "Streaming Messages" and "Citations", the types of the official Python SDK, and recorded streams. Blocks of
tools that the host runs itself, and blocks of kinds that are not known here, are left out, as that reference asks of a client. Seen in
recordings and taken: ping between any two events, JSON padded with spaces, message_start twice, usage of the input that grows until
message_delta, tool_use with its whole input at its start, thinking that is a signature only, message_start that has the whole answer in it.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Event, Reason
from tidewire.core.sse import Frames
from tidewire.dialects.anthropic_messages import REASONS

MAX_OPEN: Final = 16  # blocks begun and not ended; Anthropic itself has one
MAX_HELD: Final = 1 << 20  # characters of what waits for the end of a block


_json = msgspec.json.encode
_RETRYABLE: Final = frozenset({"overloaded_error", "api_error", "rate_limit_error", "timeout_error"})
_COUNTS: Final = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
_KINDS: Final[dict[str, ev.PartKind]] = {
    "text": "text",
    "thinking": "thinking",
    "redacted_thinking": "thinking",
    "tool_use": "tool_call",
}


class _Delta(msgspec.Struct, gc=False):
    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: dict[str, Any] | None = None
    stop_reason: str | None = None
    stop_details: dict[str, Any] | None = None


class _Start(msgspec.Struct, gc=False):
    type: str = ""
    id: str | None = None
    name: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    input: Any = None
    citations: list[dict[str, Any]] | None = None


class _Message(msgspec.Struct, gc=False):
    id: str | None = None
    content: list[_Start] = []
    stop_reason: str | None = None
    usage: dict[str, Any] | None = None


class _Event(msgspec.Struct, gc=False):
    type: str | None = None
    index: int | None = None
    delta: _Delta | None = None
    content_block: _Start | None = None
    message: _Message | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


_event = msgspec.json.Decoder(_Event)


class _Block:
    """One content block that has begun. part: -1 for one that is left out. length: of its text so far, in characters."""

    __slots__ = ("citations", "held", "input", "kind", "length", "part")

    def __init__(self, part: int, kind: str) -> None:
        self.part = part
        self.kind = kind
        self.length = 0
        self.input: bytes | None = None  # a call's, as it stood at the start: counts if no fragment comes
        self.citations: list[dict[str, Any]] = []  # of the whole block: they wait for its end
        self.held = 0


class MessagesDecoder:
    """The bytes of one streamed answer as events, however they are cut. `core.ports.Decoder`."""

    __slots__ = (
        "_blocks",
        "_counts",
        "_done",
        "_finish",
        "_frames",
        "_id",
        "_index",
        "_latest",
        "_parts",
        "_text",
        "_why",
    )

    def __init__(self) -> None:
        self._frames = Frames()
        self._blocks: dict[int, _Block] = {}
        self._index = -1  # of the text block that was spoken in last, and the block: the straight path
        self._text: _Block | None = None
        self._latest = -1  # the block that began last, for deltas that do not say whose they are
        self._parts = 0
        self._counts: dict[str, int] = {}
        self._id: str | None = None
        self._finish: Reason | None = None
        self._why = ""  # the host's sentence on why it refused
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        for name, payload in () if self._done else self._frames.feed(data):
            if self._done:
                break
            if name == b"error":
                raise _placed(_error(payload), out)
            self.take(payload, out)
        return out

    def take(self, payload: bytes, out: list[Event]) -> None:
        """One event of the stream as JSON, whatever framing it came in. Raises UpstreamError, whose `before` is `out`."""
        try:
            event = _event.decode(payload)
            # the usual event, straight: more of the text block that is open
            if (
                event.type == "content_block_delta"
                and event.index == self._index
                and (delta := event.delta) is not None
                and delta.type == "text_delta"
                and (text := delta.text)
                and (block := self._text) is not None
            ):
                block.length += len(text)
                out.append(Delta(part=block.part, text=text))
            else:
                self._take(event, payload, out)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _placed(_bad(f"an event that is none of Messages: {str(error)[:120]}"), out) from None
        except UpstreamError as error:
            raise _placed(error, out) from None

    def end(self) -> list[Event]:
        out: list[Event] = []
        if not self._done:
            if self._finish is None:
                raise UpstreamError(
                    "the host closed the answer before its end: no stop reason and no message_stop came",
                    code="upstream_cut",
                )
            self._finished(out)  # the stop reason says that all is there
        return out

    def _take(self, event: _Event, payload: bytes, out: list[Event]) -> None:
        match event.type:
            case "content_block_delta":
                if event.delta is not None:
                    self._delta(self._block(event.index), event.index, event.delta, out)
            case "content_block_start":
                if event.content_block is not None:
                    self._start(event.index, event.content_block, out)
            case "content_block_stop":
                self._stop(self._latest if event.index is None else event.index, out)
            case "message_start":
                if event.message is not None:
                    self._message(event.message, out)
            case "message_delta":
                self._closing(event, out)
            case "message_stop":
                self._finished(out)
            case _ if event.type == "error" or event.error:
                raise _error(payload)
            case _:
                pass  # ping, and what later versions will bring

    def _message(self, message: _Message, out: list[Event]) -> None:
        if self._id is not None:
            if (message.id or "") != self._id:  # a proxy lost the host and asked again, into the same answer
                raise UpstreamError(
                    "the host began another message before the first had ended; the first is not whole",
                    code="upstream_cut",
                )
            return
        self._id = message.id or ""
        if message.usage is not None:
            self._count(message.usage)
            out.append(self._usage(output=None))  # how much will be said, nobody knows yet
        for index, block in enumerate(message.content):  # all of it at once: seen where code of the host calls a tool
            self._start(index, block, out)
            self._stop(index, out)
        if message.stop_reason is not None:
            self._finish = REASONS.get(message.stop_reason, "stop")

    # Blocks

    def _start(self, index: int | None, start: _Start, out: list[Event]) -> None:
        if index is None:
            index = self._latest + 1
        if index in self._blocks:
            self._stop(index, out)  # begun again without having ended
        if len(self._blocks) >= MAX_OPEN:
            raise _bad(f"more than {MAX_OPEN} blocks at once")
        self._latest = index
        kind = _KINDS.get(start.type)
        if kind is None:
            self._blocks[index] = _Block(-1, start.type)
            return
        if kind == "tool_call" and not start.name:
            raise UpstreamError("the host sent a tool call without the tool's name", code="upstream_bad_tool_call")
        block = self._blocks[index] = _Block(self._parts, start.type)
        self._parts += 1
        call = (start.id or f"call_{block.part}") if kind == "tool_call" else None
        out.append(ev.PartStarted(part=block.part, kind=kind, name=start.name if call else None, call=call))
        if kind == "text":
            self._index, self._text = index, block
            self._cite(block, start.citations or [])
            self._say(block, start.text, out)
        elif kind == "tool_call":
            if start.input:
                block.input = _json(start.input)
        elif start.type == "redacted_thinking":
            out.append(ev.Signature(part=block.part, value=start.data or "", redacted=True))
        else:
            self._say(block, start.thinking, out)
            self._sign(block, start.signature, out)

    def _block(self, index: int | None) -> _Block:
        """Whose delta it is: where the host does not say, that of the block which began last."""
        block = self._blocks.get(self._latest if index is None else index)
        if block is None:
            raise _bad(f"a piece of block {index}, which is not open")
        return block

    def _delta(self, block: _Block, index: int | None, delta: _Delta, out: list[Event]) -> None:
        if block.part < 0:
            return
        match delta.type:
            case "text_delta" if block.kind == "text":
                self._index, self._text = self._latest if index is None else index, block
                self._say(block, delta.text, out)
            case "input_json_delta" if block.kind == "tool_use":
                if delta.partial_json:
                    block.input = None
                    self._say(block, delta.partial_json, out)
            case "thinking_delta" if block.kind == "thinking":
                self._say(block, delta.thinking, out)
            case "signature_delta" if block.kind == "thinking":
                self._sign(block, delta.signature, out)
            case "citations_delta" if block.kind == "text":
                self._cite(block, [delta.citation] if delta.citation is not None else [])
            case "text_delta" | "input_json_delta" | "thinking_delta" | "signature_delta" | "citations_delta":
                raise _bad(f"a {delta.type} in a block of kind {block.kind}")
            case _:
                pass

    def _say(self, block: _Block, text: str | None, out: list[Event]) -> None:
        if text:
            block.length += len(text)
            out.append(Delta(part=block.part, text=text))

    def _sign(self, block: _Block, signature: str | None, out: list[Event]) -> None:
        if signature:
            out.append(ev.Signature(part=block.part, value=signature))

    def _cite(self, block: _Block, citations: list[dict[str, Any]]) -> None:
        for citation in citations:
            block.held += 100 + sum(len(v) for v in citation.values() if isinstance(v, str))
            if block.held > MAX_HELD:
                raise _bad(f"citations of more than {MAX_HELD} characters in one block")
            block.citations.append(citation)

    def _stop(self, index: int, out: list[Event]) -> None:
        block = self._blocks.pop(index, None)
        if block is None or block.part < 0:
            return
        if block is self._text:
            self._index, self._text = -1, None
        if block.kind == "tool_use" and not block.length:  # a call without arguments is one of an empty object
            out.append(Delta(part=block.part, text=(block.input or b"{}").decode()))
        out.extend(_citation(block, raw) for raw in block.citations)
        out.append(ev.PartEnded(part=block.part))

    # The end

    def _closing(self, event: _Event, out: list[Event]) -> None:
        delta = event.delta
        if delta is not None and delta.stop_reason is not None:
            self._finish = REASONS.get(delta.stop_reason, "stop")
            why = (delta.stop_details or {}).get("explanation")
            self._why = why if delta.stop_reason == "refusal" and isinstance(why, str) else ""
        if event.usage is not None:
            self._count(event.usage)
            out.append(self._usage(output=self._counts.get("output_tokens")))

    def _finished(self, out: list[Event]) -> None:
        self._done = True
        for index in list(self._blocks):
            self._stop(index, out)
        if self._finish is None:
            raise UpstreamError("the host ended the answer without a stop reason", code="upstream_unfinished")
        if self._why:
            part = self._parts
            out += [
                ev.PartStarted(part=part, kind="refusal"),
                Delta(part=part, text=self._why),
                ev.PartEnded(part=part),
            ]
        out.append(ev.Finish(reason=self._finish))

    def _count(self, raw: dict[str, Any]) -> None:
        """Figures are cumulative; what is left out is as it was."""
        details = raw.get("output_tokens_details")
        thinking = details.get("thinking_tokens") if isinstance(details, dict) else None
        for name, value in (*((name, raw.get(name)) for name in _COUNTS), ("thinking_tokens", thinking)):
            if type(value) is int:
                self._counts[name] = value

    def _usage(self, output: int | None) -> ev.Usage:
        """The host counts what it read from its cache and wrote to it apart from the other input."""
        given = self._counts
        prompt = [given[name] for name in _COUNTS[:3] if name in given]
        return ev.Usage(
            counted_by="host",
            input=sum(prompt) if prompt else None,
            output=output,
            cached=given.get("cache_read_input_tokens"),
            reasoning=given.get("thinking_tokens"),
            cache_write=given.get("cache_creation_input_tokens"),
        )


def _citation(block: _Block, raw: dict[str, Any]) -> ev.Citation:
    """A citation speaks for the whole of its block. Of the places within a source, the page is kept, as a fragment of its name."""

    def text(name: str) -> str:
        value = raw.get(name)
        return value if isinstance(value, str) else ""

    title = text("title") or text("document_title")
    source = text("url") or text("source") or text("file_id") or title or f"document {raw.get('document_index', 0)}"
    page = raw.get("start_page_number")
    return ev.Citation(
        part=block.part,
        start=0,
        end=block.length,
        source=f"{source}#page={page}" if type(page) is int else source,
        title=title,
        passage=text("cited_text"),
        uri=source if source.startswith(("http://", "https://")) else None,
    )


def _bad(what: str) -> UpstreamError:
    return UpstreamError(f"the host sent {what}", code="upstream_bad_event")


def _error(payload: bytes) -> UpstreamError:
    """The host's own error: {"error": {"type", "message"}}, or whatever stands in its place."""
    try:
        raw = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raw = payload[:200].decode("utf-8", "replace")
    if isinstance(raw, dict):
        raw = raw.get("error") or raw
    kind, message = (raw.get("type"), raw.get("message")) if isinstance(raw, dict) else (None, raw)
    said = message or kind or "no message"
    error = UpstreamError(f"the host broke off with an error: {str(said)[:200]}", code="upstream_error")
    error.retryable = kind in _RETRYABLE if isinstance(kind, str) else True
    return error


def _placed(error: UpstreamError, before: list[Event]) -> UpstreamError:
    """What came before an error in the same bytes is part of the answer."""
    error.before = before
    return error
