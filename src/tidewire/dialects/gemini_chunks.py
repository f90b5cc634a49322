"""A log as GenerateContentResponses: one after another, or as one document. Pure functions of the log's prefix.

Left out, for Gemini has no word for it: progress, attempts, notices, fields and checks of JSON, and a call's arguments before they are whole.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from tidewire.core import events as ev
from tidewire.core.events import Closed, Delta, Entry, ErrorInfo, Reason
from tidewire.core.ports import Meta
from tidewire.dialects.base64_words import wrapped
from tidewire.dialects.gemini_errors import error_object
from tidewire.dialects.openai_messages import failure

_json = msgspec.json.Encoder().encode

Form = Literal["sse", "array", "whole"]
FINISH: Final[dict[Reason, str]] = {
    "stop": "STOP",
    "stop_string": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "time_limit": "MAX_TOKENS",
    "size_limit": "MAX_TOKENS",
    "content_filter": "SAFETY",
}
AROUND: Final = {"sse": (b"data: ", b"\r\n\r\n"), "array": (b",\r\n", b"")}


class Piece:
    """One part of an answer on its way. texts: its deltas; for a text part, what places of citations are counted in."""

    __slots__ = ("blobs", "signature", "started", "texts")

    def __init__(self, started: ev.PartStarted) -> None:
        self.started = started
        self.texts: list[str] = []
        self.blobs: list[ev.Blob] = []
        self.signature: str | None = None

    def call(self) -> dict[str, Any] | None:
        """A call as a part; None where its arguments are no object."""
        try:
            args = msgspec.json.decode("".join(self.texts) or "{}", type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None
        call = {"id": self.started.call, "name": self.started.name, "args": args}
        return self._signed({"functionCall": call})

    def _signed(self, part: dict[str, Any]) -> dict[str, Any]:
        return part if self.signature is None else part | {"thoughtSignature": wrapped(self.signature)}


class Candidate:
    """What is known of one answer, for its last words. sources, supports: citations so far."""

    __slots__ = ("_places", "ended", "malformed", "refused", "sources", "supports")

    def __init__(self) -> None:
        self.ended = False
        self.malformed = False
        self.refused = False
        self.sources: list[dict[str, Any]] = []
        self.supports: list[dict[str, Any]] = []
        self._places: dict[bytes, int] = {}  # of each source

    def cite(self, event: ev.Citation, texts: list[str]) -> None:
        """texts: the pieces of the part so far, which become one."""
        text = "".join(texts)
        texts[:] = [text]
        words = text[event.start : event.end]
        first = len(text[: event.start].encode("utf-8", "replace"))
        source = source_of(event)
        place = self._places.setdefault(_json(source), len(self.sources))
        if place == len(self.sources):
            self.sources.append(source)
        segment = {"startIndex": first, "endIndex": first + len(words.encode("utf-8", "replace")), "text": words}
        self.supports.append({"segment": segment, "groundingChunkIndices": [place]})

    def last(self, number: int, reason: Reason) -> dict[str, Any]:
        """The candidate's last words: why it ended, and where its words are from."""
        finish = FINISH.get(reason, "OTHER")
        if self.malformed:
            finish = "MALFORMED_FUNCTION_CALL"
        elif self.refused:
            finish = "SAFETY"
        out: dict[str, Any] = {"finishReason": finish, "index": number}
        if self.malformed:
            out["finishMessage"] = "the arguments of a call are not a JSON object"
        if self.supports:
            out["groundingMetadata"] = {"groundingChunks": self.sources, "groundingSupports": self.supports}
        return out


def source_of(event: ev.Citation) -> dict[str, Any]:
    """A page of the web, or a document of one's own with the passage that was found in it."""
    if event.uri is not None and not event.passage and event.source in (event.uri, event.title):
        return {"web": {"uri": event.uri, "title": event.title}}
    context = {"documentName": event.source, "title": event.title, "text": event.passage}
    return {"retrievedContext": context if event.uri is None else context | {"uri": event.uri}}


def usage_object(event: Closed) -> dict[str, int]:
    """Google counts thoughts beside the answer, and its clients find them there."""
    prompt, output, thoughts = event.input_tokens or 0, event.output_tokens or 0, event.reasoning_tokens
    out = {"promptTokenCount": prompt, "candidatesTokenCount": output - (thoughts or 0)}
    if thoughts is not None:
        out["thoughtsTokenCount"] = thoughts
    if event.cached_tokens is not None:
        out["cachedContentTokenCount"] = event.cached_tokens
    return out | {"totalTokenCount": prompt + output}


def logprobs_object(content: Sequence[dict[str, Any]]) -> dict[str, Any]:
    def token(one: dict[str, Any]) -> dict[str, Any]:
        return {"token": one.get("token", ""), "logProbability": one.get("logprob", 0.0)}

    tops = [{"candidates": [token(top) for top in one.get("top_logprobs") or []]} for one in content]
    return {"chosenCandidates": [token(one) for one in content], "topCandidates": tops}


def blob_part(media: str | None, data: bytes, *, sketch: bool = False) -> dict[str, Any]:
    inline = {"mimeType": media or "application/octet-stream", "data": base64.b64encode(data).decode()}
    return {"inlineData": inline, "thought": True} if sketch else {"inlineData": inline}


class Chunks:
    """A log as a stream: Server-Sent Events with CRLF and without [DONE], or the elements of one JSON array."""

    __slots__ = (
        "_around",
        "_array",
        "_before",
        "_begun",
        "_behind",
        "_choices",
        "_head",
        "_part",
        "_pieces",
        "_said",
        "_tail",
        "ended",
        "failure",
    )

    def __init__(self, meta: Meta, form: Form = "sse") -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._array = form == "array"
        self._begun = False
        before, behind = AROUND["array" if self._array else "sse"]
        self._head = before
        self._tail = b',"modelVersion":%s,"responseId":%s}%s' % (_json(meta.model), _json(meta.stream), behind)
        self._choices: dict[int, Candidate] = {}
        self._pieces: dict[int, Piece] = {}
        self._around: dict[int, tuple[bytes, bytes, list[str]]] = {}  # what stands around a part's text
        self._part = -1  # whose text came last, and what stands around it
        self._before = self._behind = b""
        self._said: list[str] = []

    def feed(self, entries: Sequence[Entry]) -> bytes:
        if len(entries) == 1 and type(event := entries[0].event) is Delta:  # the usual batch: one token
            if event.part != self._part:
                if event.part not in self._around:
                    return self._other(event)
                self._part = event.part
                self._before, self._behind, self._said = self._around[event.part]
            self._said.append(event.text)
            data = b"%b%b%b" % (self._before, _json(event.text), self._behind)
            return data if self._begun or not self._array else self._first(data)
        out: list[bytes] = []
        around = self._around
        for entry in entries:
            event = entry.event
            if type(event) is Delta and event.part in around:
                before, behind, said = around[event.part]
                said.append(event.text)
                out.append(b"%b%b%b" % (before, _json(event.text), behind))
            else:
                self._hear(event, out)
        data = b"".join(out)
        return self._first(data) if data and self._array and not self._begun else data

    def _first(self, data: bytes) -> bytes:
        """An array opens where its later elements have a comma."""
        self._begun = True
        return b"[" + data[3:]

    def _other(self, event: Delta) -> bytes:
        if event.part in self._pieces:
            self._pieces[event.part].texts.append(event.text)
        return b""

    def _hear(self, event: ev.Event, out: list[bytes]) -> None:
        match event:
            case Delta():
                self._other(event)
            case ev.PartStarted():
                self._begin(event)
            case ev.Signature():
                self._sign(event, out)
            case ev.PartEnded():
                self._end(event.part, out)
            case ev.Blob() if event.part in self._pieces:
                started = self._pieces[event.part].started
                out.append(self._parted(started.choice, blob_part(started.media, event.data, sketch=event.partial)))
            case ev.Logprobs() if event.part in self._pieces:
                choice = self._pieces[event.part].started.choice
                candidate = {"index": choice, "logprobsResult": logprobs_object(event.content)}
                out.append(self._chunk({"candidates": [candidate]}))
            case ev.Citation() if event.part in self._pieces:
                piece = self._pieces[event.part]
                self._choices[piece.started.choice].cite(event, piece.texts)
            case ev.ChoiceEnded():
                candidate_ = self._choices.setdefault(event.choice, Candidate())
                candidate_.ended = True
                out.append(self._chunk({"candidates": [candidate_.last(event.choice, event.reason)]}))
            case Closed():
                self._close(event, out)

    def _begin(self, event: ev.PartStarted) -> None:
        candidate = self._choices.setdefault(event.choice, Candidate())
        piece = self._pieces[event.part] = Piece(event)
        candidate.refused |= event.kind == "refusal"
        if event.kind in ("text", "refusal", "thinking"):
            before = self._head + b'{"candidates":[{"content":{"parts":[{"text":'
            thought = b',"thought":true' if event.kind == "thinking" else b""
            behind = thought + b'}],"role":"model"},"index":%d}]' % event.choice + self._tail
            self._around[event.part] = before, behind, piece.texts

    def _sign(self, event: ev.Signature, out: list[bytes]) -> None:
        piece = self._pieces.get(event.part)
        if piece is None or piece.started.kind == "server_call":
            return
        if piece.started.kind == "tool_call":
            piece.signature = event.value
            return
        part: dict[str, Any] = {"text": "", "thoughtSignature": wrapped(event.value)}
        if piece.started.kind == "thinking":
            part["thought"] = True
        out.append(self._parted(piece.started.choice, part))

    def _end(self, part: int, out: list[bytes]) -> None:
        """A call is whole now; Gemini's clients know no other."""
        piece = self._pieces.get(part)
        if piece is None or piece.started.kind != "tool_call":
            return
        call = piece.call()
        if call is None:
            self._choices[piece.started.choice].malformed = True
        else:
            out.append(self._parted(piece.started.choice, call))

    def _parted(self, choice: int, part: dict[str, Any]) -> bytes:
        return self._chunk({"candidates": [{"content": {"parts": [part], "role": "model"}, "index": choice}]})

    def _chunk(self, value: dict[str, Any]) -> bytes:
        return self._head + _json(value)[:-1] + self._tail

    def _close(self, event: Closed, out: list[bytes]) -> None:
        self.ended = True
        error = failure(event)
        if error is not None:
            self.failure = error
            said = _json({"error": error_object(error)})
            # as Google breaks off: JSON by itself, which its clients raise
            out.append(b",\r\n%b]" % said if self._array else said + b"\r\n")
            return
        open_ = {n: c for n, c in self._choices.items() if not c.ended} or ({} if self._choices else {0: Candidate()})
        last: dict[str, Any] = {}
        if open_:
            last["candidates"] = [c.last(n, event.reason) for n, c in sorted(open_.items())]
        out.append(self._chunk(last | {"usageMetadata": usage_object(event)}))
        if self._array:
            out.append(b"]")


class Whole:
    """A log as one GenerateContentResponse at its end."""

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._meta = meta
        self._pieces: dict[int, Piece] = {}
        self._choices: dict[int, Candidate] = {}
        self._reasons: dict[int, Reason] = {}
        self._logprobs: dict[int, list[dict[str, Any]]] = {}

    def feed(self, entries: Sequence[Entry]) -> bytes:
        for entry in entries:
            event = entry.event
            if type(event) is Delta:
                self._pieces[event.part].texts.append(event.text)
                continue
            match event:
                case ev.PartStarted():
                    self._pieces[event.part] = Piece(event)
                    candidate = self._choices.setdefault(event.choice, Candidate())
                    candidate.refused |= event.kind == "refusal"
                case ev.Signature():
                    self._pieces[event.part].signature = event.value
                case ev.Blob():
                    self._pieces[event.part].blobs.append(event)
                case ev.Logprobs():
                    self._logprobs.setdefault(self._pieces[event.part].started.choice, []).extend(event.content)
                case ev.Citation():
                    piece = self._pieces[event.part]
                    self._choices[piece.started.choice].cite(event, piece.texts)
                case ev.ChoiceEnded():
                    self._reasons[event.choice] = event.reason
                case Closed():
                    self.ended = True
                    self.failure = failure(event)
                    return b"" if self.failure is not None else self._document(event)
        return b""

    def _document(self, event: Closed) -> bytes:
        candidates = []
        for number, candidate in sorted(self._choices.items() or {0: Candidate()}.items()):
            parts = [p for piece in self._pieces.values() if piece.started.choice == number for p in self._parts(piece)]
            said: dict[str, Any] = {"content": {"parts": parts, "role": "model"}} if parts else {}
            if number in self._logprobs:
                said["logprobsResult"] = logprobs_object(self._logprobs[number])
            candidates.append(said | candidate.last(number, self._reasons.get(number, event.reason)))
        return _json(
            {
                "candidates": candidates,
                "usageMetadata": usage_object(event),
                "modelVersion": self._meta.model,
                "responseId": self._meta.stream,
            }
        )

    def _parts(self, piece: Piece) -> list[dict[str, Any]]:
        kind = piece.started.kind
        signed = {} if piece.signature is None else {"thoughtSignature": wrapped(piece.signature)}
        if kind == "tool_call":
            call = piece.call()
            if call is None:
                self._choices[piece.started.choice].malformed = True
            return [] if call is None else [call]
        if kind in ("image", "audio"):
            whole = [b for b in piece.blobs if not b.partial] or piece.blobs
            data = b"".join(b.data for b in whole) if kind == "audio" else whole[-1].data if whole else b""
            sketch = bool(whole) and whole[-1].partial
            return [blob_part(piece.started.media, data, sketch=sketch) | signed] if whole else []
        text = "".join(piece.texts)
        if kind not in ("text", "refusal", "thinking") or not (text or signed):
            return []
        return [{"text": text} | ({"thought": True} if kind == "thinking" else {}) | signed]
