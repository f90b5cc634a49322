"""What the Gemini API and Vertex AI stream, as events.

Seen in recorded streams: lines end in CRLF; there is no [DONE], the finish reason is the end; usage comes in every chunk and counts up;
a signature comes with a call, or on an empty text of its own; calls have no id; Vertex leaves the index out, streams arguments value by
value and may leave out the empty call that ends them. An error in the middle is JSON on lines of its own, without "data:".
"""

from __future__ import annotations

from typing import Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Event, Reason
from tidewire.dialects import gemini_wire as wire
from tidewire.dialects.bad_events import BAD, broken
from tidewire.dialects.gemini_arguments import Arguments
from tidewire.dialects.gemini_sources import citations, logprobs

LIMIT: Final = 32 * 1024 * 1024  # bytes of one event: an image is one
HELD: Final = 1 << 18  # characters of text kept to place citations in


class _Choice:
    """One candidate on its way. part: the open one, -1 for none; kind: its kind. said: text by part, for citations."""

    __slots__ = ("arguments", "called", "ended", "held", "kind", "number", "part", "reason", "said", "sources")

    def __init__(self, number: int) -> None:
        self.number = number
        self.part = -1
        self.kind = ""
        self.arguments: Arguments | None = None
        self.called = False
        self.ended = False
        self.reason: Reason = "stop"
        self.said: list[tuple[int, str]] = []
        self.held = 0
        self.sources: dict[str, bytes] = {}


class GeminiDecoder:
    """The bytes of one streamed answer as events, however they are cut. `core.ports.Decoder`. n: how many candidates were asked for."""

    __slots__ = (
        "_blocked",
        "_choices",
        "_data",
        "_done",
        "_first",
        "_n",
        "_parts",
        "_raw",
        "_response",
        "_rest",
        "_usage",
    )

    def __init__(self, n: int = 1) -> None:
        self._n = n
        self._rest = bytearray()  # of a line
        self._data: list[bytes] = []  # lines of an event that has not ended
        self._raw = b""  # JSON outside of events
        self._first = _Choice(0)
        self._choices: dict[int, _Choice] = {}
        self._parts = 0
        self._usage = b""
        self._response = ""
        self._blocked = False
        self._done = False

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        if self._done:
            return out
        at = data.rfind(b"\n") + 1
        lines = (bytes(self._rest) + data[:at] if self._rest else data[:at]).split(b"\n") if at else [b""]
        try:
            for line in lines[:-1]:
                if line[-1:] == b"\r":
                    line = line[:-1]
                if line[:6] == b"data: " and not self._raw:
                    self._data.append(line[6:])
                elif not line:
                    if self._data:
                        self._event(b"\n".join(self._data), out)
                        self._data.clear()
                else:
                    self._other(line)
            if at:
                self._rest.clear()
            self._keep(data[at:])
        except BAD as error:
            raise broken(error, out, "Gemini's") from None
        return out

    def end(self) -> list[Event]:
        out: list[Event] = []
        if self._done:
            return out
        if self._raw or bytes(self._rest[:1]) in (b"{", b"["):
            self._other(bytes(self._rest))
        if not self._choices or not all(choice.ended for choice in self._choices.values()):
            raise UpstreamError("the host closed the answer before its end: no finish reason came", code="upstream_cut")
        self._finish(out)
        return out

    # Lines

    def _keep(self, data: bytes) -> None:
        if self._done:
            return
        self._rest += data
        if len(self._rest) + sum(map(len, self._data)) > LIMIT:
            raise UpstreamError(f"the host sent an event of more than {LIMIT} bytes", code="upstream_event_too_large")

    def _other(self, line: bytes) -> None:
        """A line that is no data: of a comment or another field, or of an error as JSON by itself."""
        if self._done:
            return
        if not self._raw:
            if line[:5] == b"data:":
                self._data.append(line[5:])
                return
            if line[:1] not in (b"{", b"["):
                return
        self._raw += line + b"\n"
        if line.rstrip()[-1:] not in (b"}", b"]") and len(self._raw) <= 65536:
            return
        try:
            said = wire.anything.decode(self._raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            if len(self._raw) > 65536:
                raise UpstreamError("the host sent JSON outside of events", code="upstream_bad_event") from None
            return
        if isinstance(said, list) and said:
            said = said[0]
        raise wire.error(said.get("error") if isinstance(said, dict) else None)

    # Chunks

    def _event(self, payload: bytes, out: list[Event]) -> None:
        if self._done:
            return
        chunk = wire.chunk.decode(payload)
        candidates = chunk.candidates
        # the usual chunk, straight: more of the text that is open, and nothing else
        if (
            candidates is not None
            and len(candidates) == 1
            and (candidate := candidates[0]).finish_reason is None
            and not candidate.index
            and (content := candidate.content) is not None
            and content.parts is not None
            and len(content.parts) == 1
            and (part := content.parts[0]).text
            and (first := self._first).kind == "text"
            and not part.thought
            and part.thought_signature is None
            and part.function_call is None
            and part.inline_data is None
            and candidate.grounding_metadata is candidate.citation_metadata is candidate.logprobs_result
            and chunk.error is None
        ):
            out.append(Delta(part=first.part, text=part.text))
            if first.held <= HELD:
                first.held += len(part.text)
                first.said.append((first.part, part.text))
            if b"TokenCount" in (counted := bytes(chunk.usage_metadata)):
                self._usage = counted
            return
        if chunk.error is not None:
            raise wire.error(chunk.error)
        self._response = self._response or chunk.response_id or ""
        counted = bytes(chunk.usage_metadata)
        if b"TokenCount" in counted:  # Vertex has chunks that only say how they are paid for
            self._usage = counted
        for candidate in candidates or ():
            self._candidate(candidate, out)
        if not candidates and (chunk.prompt_feedback or {}).get("blockReason"):
            self._blocked = True
            self._finish(out)
        elif (
            len(self._choices) >= self._n
            and b"TokenCount" in counted
            and all(choice.ended for choice in self._choices.values())
        ):
            self._finish(out)

    def _candidate(self, candidate: wire.Candidate, out: list[Event]) -> None:
        number = candidate.index or 0
        choice = self._choices.get(number)
        if choice is None:
            if not 0 <= number < self._n:
                return  # nobody asked for it
            choice = self._choices[number] = self._first if number == 0 else _Choice(number)
        if choice.ended:
            return
        for part in (candidate.content.parts or ()) if candidate.content is not None else ():
            self._part(choice, part, out)
        if candidate.logprobs_result and (content := logprobs(candidate.logprobs_result)):
            if choice.kind != "text":
                self._begin(choice, "text", out)
            out.append(ev.Logprobs(part=choice.part, content=content))
        for name in ("grounding_metadata", "citation_metadata"):
            if raw := bytes(getattr(candidate, name)):
                choice.sources[name] = raw
        if candidate.finish_reason not in (None, "FINISH_REASON_UNSPECIFIED"):
            self._ended(choice, str(candidate.finish_reason), candidate.finish_message, out)

    def _ended(self, choice: _Choice, reason: str, message: str | None, out: list[Event]) -> None:
        for name, raw in choice.sources.items():
            out.extend(citations(name, raw, choice.said))
        self._close(choice, out)
        if reason in wire.BROKEN:
            said = f": {message[:200]}" if message else ""
            raise UpstreamError(f"the host ended the answer with {reason}{said}", code="upstream_error")
        if reason in wire.FILTERED:
            choice.reason = "content_filter"
        elif reason in ("MAX_TOKENS", "CONTINUATION"):
            choice.reason = "length"
        else:  # STOP, after calls too; and whatever Google adds to its list
            choice.reason = "tool_calls" if choice.called else "stop"
        choice.ended = True
        if self._n > 1:
            out.append(ev.ChoiceEnded(choice=choice.number, reason=choice.reason))

    def _finish(self, out: list[Event]) -> None:
        self._done = True
        self._data.clear()
        if (usage := wire.usage(self._usage)) is not None:
            out.append(usage)
        if self._blocked:
            out.append(ev.Finish(reason="content_filter"))
        else:
            out.append(ev.Finish(reason=self._choices[min(self._choices)].reason))

    # Parts

    def _begin(self, choice: _Choice, kind: ev.PartKind, out: list[Event], **more: str) -> None:
        self._close(choice, out)
        choice.part = self._parts
        choice.kind = kind
        self._parts += 1
        out.append(ev.PartStarted(part=choice.part, kind=kind, choice=choice.number, **more))  # type: ignore[arg-type]

    def _close(self, choice: _Choice, out: list[Event]) -> None:
        if choice.part < 0:
            return
        if choice.arguments is not None:
            out.append(Delta(part=choice.part, text=choice.arguments.end()))
            choice.arguments = None
        out.append(ev.PartEnded(part=choice.part))
        choice.part = -1
        choice.kind = ""

    def _part(self, choice: _Choice, part: wire.Part, out: list[Event]) -> None:
        if part.function_call is not None:
            self._call(choice, part.function_call, part.thought_signature, out)
            return
        if part.inline_data is not None:
            self._blob(choice, part.inline_data, out, sketch=part.thought is True)
        elif part.text:
            kind: ev.PartKind = "thinking" if part.thought else "text"
            if choice.kind != kind:
                self._begin(choice, kind, out)
            out.append(Delta(part=choice.part, text=part.text))
            if kind == "text" and choice.held <= HELD:
                choice.held += len(part.text)
                choice.said.append((choice.part, part.text))
        elif part.thought_signature and choice.kind != ("thinking" if part.thought else "text"):
            self._begin(choice, "thinking" if part.thought else "text", out)
        if part.thought_signature:
            out.append(ev.Signature(part=choice.part, value=part.thought_signature))

    def _blob(self, choice: _Choice, blob: wire.Data, out: list[Event], *, sketch: bool) -> None:
        kind = blob.mime_type.partition("/")[0]
        if kind not in ("image", "audio"):
            raise UpstreamError(
                f"the host sent {blob.mime_type[:40]!r} as output, and only text, images and audio can be handed on",
                code="upstream_bad_event",
            )
        if kind == "image" or choice.kind != kind:
            self._begin(choice, "image" if kind == "image" else "audio", out, media=blob.mime_type)
        out.append(ev.Blob(part=choice.part, data=blob.data, partial=sketch))

    def _call(self, choice: _Choice, call: wire.Call, signature: str | None, out: list[Event]) -> None:
        streaming = choice.arguments
        if call.name:
            number = self._parts
            made = f"{self._response}_{number}" if self._response else f"call_{number}"  # unlike those of other turns
            self._begin(choice, "tool_call", out, name=call.name, call=call.id or made)
            choice.called = True
            streaming = choice.arguments = Arguments()
        elif streaming is None:
            if call.args not in (wire.NONE, b"null") or call.partial_args:
                raise UpstreamError(
                    "the host sent arguments of a tool call that it never named", code="upstream_bad_tool_call"
                )
            return  # the end of a call that has ended already
        if signature:
            out.append(ev.Signature(part=choice.part, value=signature))
        args = bytes(call.args)
        if args not in (b"", b"null"):
            if args[:1] != b"{":
                raise UpstreamError(
                    "the host sent arguments of a tool call that are no object", code="upstream_bad_tool_call"
                )
            out.append(Delta(part=choice.part, text=args.decode()))
            choice.arguments = None
        else:
            for one in call.partial_args or ():
                more = one.will_continue is True
                if text := streaming.feed(one.json_path, wire.value(one), more=more):
                    out.append(Delta(part=choice.part, text=text))
        if not call.will_continue:
            self._close(choice, out)
