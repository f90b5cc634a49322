"""The stream that a host of OpenAI's Responses protocol answers, as events.

An output item is known by its output_index: ids may differ from event to event (GitHub Copilot). Where an index is missing, the id
serves. One part of ours for each content part of a message, for each function call and each image; one for a whole reasoning item, with
a blank line between its summaries. Items of tools that the host itself runs (web, file, code, MCP) say nothing and are left out.
Source: the OpenAI API reference, "Streaming events", the types of the official Python SDK, and recorded streams of OpenAI, Azure, xAI
and LM Studio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Event, Reason
from tidewire.core.sse import Frames
from tidewire.dialects.bad_events import BAD, broken
from tidewire.dialects.openai_responses_report import citation, failure, timings, usage
from tidewire.dialects.openai_responses_wire import (
    Key,
    Response,
    Said,
    decode,
    decode_response,
    key_of,
    place_of,
    string,
)
from tidewire.dialects.pictures import media, picture

LIMIT: Final = 32 * 1024 * 1024  # bytes of one event: the last one repeats every image of the answer
_FINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_CUT: Final[dict[Any, Reason]] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_TEXTS: Final[dict[str, ev.PartKind]] = {"output_text": "text", "refusal": "refusal"}


class _Piece:
    """One part of ours. said: something has come of it. places: which of a thought's texts have come. cited: how many citations."""

    __slots__ = ("cited", "open", "part", "places", "said")

    def __init__(self, part: int) -> None:
        self.part = part
        self.open = True
        self.said = False
        self.cited = 0
        self.places: list[tuple[str, int | None]] = []


class ResponsesDecoder:
    """The bytes of one streamed answer as events, however they are cut. `core.ports.Decoder`.

    response: the host's id for the answer, once it is known. cursor: the sequence_number of the last event that was read whole; with
    both, the rest of an answer in the background can be asked for on another connection.
    """

    __slots__ = (
        "_behind",
        "_called",
        "_content",
        "_done",
        "_frames",
        "_index",
        "_part",
        "_parts",
        "_pieces",
        "cursor",
        "response",
    )

    def __init__(self) -> None:
        self.response: str | None = None
        self.cursor: int | None = None
        self._frames = Frames(LIMIT)
        self._pieces: dict[tuple[Key, int | str], _Piece] = {}
        self._parts = 0
        self._part = -1  # the text part that the usual event goes on with, and its place
        self._index: int | None = None
        self._content: int | None = None
        self._behind = -1  # events up to this number came on an earlier connection
        self._called = False
        self._done = False

    def again(self) -> None:
        """The bytes to come are of another connection, and begin behind `cursor`. What was left of an event on the last one is forgotten."""
        self._frames = Frames(LIMIT)
        self._behind = -1 if self.cursor is None else self.cursor

    def feed(self, data: bytes) -> list[Event]:
        out: list[Event] = []
        try:
            for name, payload in self._frames.feed(data):
                if self._done:
                    break
                if payload == b"[DONE]":
                    raise UpstreamError(
                        "the host ended the answer without response.completed", code="upstream_unfinished"
                    )
                event = decode(payload)
                seq = event.sequence_number
                if seq is not None and seq <= self._behind:
                    continue
                # the usual event, straight: more of the text that is open, and nothing else
                if (
                    self._part >= 0
                    and event.output_index == self._index
                    and event.content_index == self._content
                    and event.type == "response.output_text.delta"
                    and type(text := event.delta) is str
                    and text
                    and not event.logprobs
                ):
                    out.append(Delta(part=self._part, text=text))
                else:
                    self._event(event.type or name.decode("utf-8", "replace"), event, payload, out)
                if seq is not None:
                    self.cursor = seq
        except BAD as error:
            self._done = True  # response.failed behind an error says the same again
            raise broken(error, out, "of Responses") from None
        return out

    def end(self) -> list[Event]:
        if not self._done:
            raise UpstreamError(
                "the host closed the answer before its end: no response.completed came", code="upstream_cut"
            )
        return []

    def _event(self, kind: str, event: Said, payload: bytes, out: list[Event]) -> None:
        if kind in _FINAL:
            self._over(kind, event, out)
        elif kind in ("response.created", "response.queued", "response.in_progress"):
            if self.response is None and event.response:
                self.response = decode_response(event.response).id
        elif kind == "error" or (event.error and not event.type):
            said = event.error or {"code": event.code, "message": event.message}
            raise failure(said, payload)
        elif (handle := self._HANDLERS.get(kind)) is not None:
            handle(self, event, out)

    # Parts

    def _begin(self, slot: tuple[Key, int | str], kind: ev.PartKind, out: list[Event], **more: Any) -> _Piece:
        self._part = -1
        piece = self._pieces[slot] = _Piece(self._parts)
        self._parts += 1
        out.append(ev.PartStarted(part=piece.part, kind=kind, **more))
        return piece

    def _close(self, piece: _Piece | None, out: list[Event]) -> None:
        if piece is not None and piece.open:
            piece.open = False
            if piece.part == self._part:
                self._part = -1
            out.append(ev.PartEnded(part=piece.part))

    def _of(self, key: Key) -> list[_Piece]:
        return [piece for (of, _), piece in self._pieces.items() if of == key]

    def _text(self, event: Said, kind: ev.PartKind, out: list[Event]) -> _Piece:
        """The open part of a content part; a new one where it has ended or never began."""
        slot = (key_of(event), event.content_index or 0)
        piece = self._pieces.get(slot)
        return piece if piece is not None and piece.open else self._begin(slot, kind, out)

    # Messages

    def _part_added(self, event: Said, out: list[Event]) -> None:
        kind = string(event.part.get("type")) if isinstance(event.part, dict) else None
        if kind in _TEXTS:
            self._text(event, _TEXTS[kind], out)
        elif kind == "reasoning_text":
            self._thought(event, out)

    def _text_delta(self, event: Said, out: list[Event]) -> None:
        piece = self._text(event, "text", out)
        if text := string(event.delta):
            piece.said = True
            out.append(Delta(part=piece.part, text=text))
        _probable(piece, event.logprobs, out)
        if piece.said and event.output_index is not None and event.content_index is not None:
            self._part, self._index, self._content = piece.part, event.output_index, event.content_index

    def _refusal_delta(self, event: Said, out: list[Event]) -> None:
        if text := string(event.delta):
            piece = self._text(event, "refusal", out)
            piece.said = True
            out.append(Delta(part=piece.part, text=text))

    def _text_done(self, event: Said, out: list[Event]) -> None:
        """The whole text again, which counts where no delta came."""
        part = {"type": "output_text", "text": event.text, "refusal": event.refusal, "logprobs": event.logprobs}
        if event.refusal is not None:
            part["type"] = "refusal"
        self._whole(key_of(event), event.content_index or 0, part, out, close=False)

    def _part_done(self, event: Said, out: list[Event]) -> None:
        self._whole(key_of(event), event.content_index or 0, event.part, out, close=True)

    def _whole(self, key: Key, index: int, part: Any, out: list[Event], *, close: bool) -> None:
        kind = string(part.get("type")) if isinstance(part, dict) else None
        if kind not in _TEXTS:
            return
        piece = self._pieces.get((key, index))
        text = string(part.get("refusal" if kind == "refusal" else "text"))
        if piece is None and (text or not close):
            piece = self._begin((key, index), _TEXTS[kind], out)
        if piece is None or not piece.open:
            return
        if text and not piece.said:
            piece.said = True
            out.append(Delta(part=piece.part, text=text))
            _probable(piece, part.get("logprobs"), out)
        if close:
            notes = part.get("annotations")
            for note in notes[piece.cited :] if isinstance(notes, list) else ():
                self._cite(piece, note, out)
            self._close(piece, out)

    def _annotation(self, event: Said, out: list[Event]) -> None:
        self._cite(self._text(event, "text", out), event.annotation, out)

    def _cite(self, piece: _Piece, note: Any, out: list[Event]) -> None:
        piece.cited += 1
        if (source := citation(piece.part, note)) is not None:
            out.append(source)

    # Thoughts

    def _thought(self, event: Said, out: list[Event]) -> _Piece:
        slot = (key_of(event), "thought")
        piece = self._pieces.get(slot)
        return piece if piece is not None and piece.open else self._begin(slot, "thinking", out)

    def _thought_delta(self, event: Said, out: list[Event]) -> None:
        self._think(self._thought(event, out), event, string(event.delta), out)

    def _thought_done(self, event: Said, out: list[Event]) -> None:
        piece = self._pieces.get((key_of(event), "thought"))
        if piece is None or (piece.open and place_of(event) not in piece.places):
            self._think(self._thought(event, out), event, string(event.text), out)

    def _think(self, piece: _Piece, event: Said, text: str, out: list[Event]) -> None:
        if not text:
            return
        place = place_of(event)
        if not piece.places or piece.places[-1] != place:
            text = "\n\n" + text if piece.said else text
            piece.places.append(place)
        piece.said = True
        out.append(Delta(part=piece.part, text=text))

    # Items

    def _item_added(self, event: Said, out: list[Event]) -> None:
        key, item = key_of(event), event.item
        for slot in [slot for slot in self._pieces if slot[0] == key]:  # an index that is used a second time
            self._close(self._pieces.pop(slot), out)
        if isinstance(item, dict) and item.get("type") == "function_call":
            self._call(key, item, out)

    def _call(self, key: Key, item: dict[str, Any], out: list[Event]) -> _Piece:
        name = string(item.get("name"))
        if not name:
            raise UpstreamError("the host began a tool call without a name", code="upstream_bad_tool_call")
        self._called = True
        call = string(item.get("call_id")) or string(item.get("id")) or f"call_{self._parts}"
        piece = self._begin((key, "call"), "tool_call", out, name=name, call=call)
        if text := string(item.get("arguments")):
            piece.said = True
            out.append(Delta(part=piece.part, text=text))
        return piece

    def _arguments(self, event: Said, out: list[Event]) -> None:
        piece = self._pieces.get((key_of(event), "call"))
        if piece is None or not piece.open:
            raise UpstreamError(
                "the host sent arguments of a tool call that it never named", code="upstream_bad_tool_call"
            )
        last = event.type.endswith(".done")
        text = string(event.arguments if last else event.delta)
        if text and not (last and piece.said):
            piece.said = True
            out.append(Delta(part=piece.part, text=text))

    def _image(self, event: Said, out: list[Event]) -> None:
        self._draw(key_of(event), event.partial_image_b64, event.output_format, out, partial=True)

    def _draw(self, key: Key, said: Any, form: Any, out: list[Event], *, partial: bool) -> None:
        if not (text := string(said)):
            return
        data = picture(text)
        piece = self._pieces.get((key, "image"))
        if piece is None or not piece.open:
            piece = self._begin((key, "image"), "image", out, media=media(data, form))
        out.append(ev.Blob(part=piece.part, data=data, partial=partial))

    def _item_done(self, event: Said, out: list[Event]) -> None:
        key, item = key_of(event), event.item
        if not isinstance(item, dict):
            return
        kind = item.get("type")
        if kind == "message":
            content = item.get("content")
            for i, part in enumerate(content if isinstance(content, list) else ()):
                self._whole(key, i, part, out, close=True)
        elif kind == "reasoning":
            self._thought_over(key, event, item, out)
        elif kind == "function_call":
            piece = self._pieces.get((key, "call")) or self._call(key, item, out)
            if piece.open and not piece.said and (text := string(item.get("arguments"))):
                out.append(Delta(part=piece.part, text=text))
        elif kind == "image_generation_call":
            self._draw(key, item.get("result"), item.get("output_format"), out, partial=False)
        for piece in self._of(key):
            self._close(piece, out)

    def _thought_over(self, key: Key, event: Said, item: dict[str, Any], out: list[Event]) -> None:
        piece = self._pieces.get((key, "thought"))
        if piece is None:
            for field in ("content", "summary"):
                parts = item.get(field)
                for i, part in enumerate(parts if isinstance(parts, list) else ()):
                    if isinstance(part, dict) and (text := string(part.get("text"))):
                        piece = self._thought(event, out)
                        self._think(piece, Said(type=field, content_index=i), text, out)
        proof = string(item.get("encrypted_content"))
        if proof and (piece is None or piece.open):
            shown = piece is not None and piece.said
            piece = piece or self._begin((key, "thought"), "thinking", out)
            out.append(ev.Signature(part=piece.part, value=proof, redacted=not shown))

    # The end

    def _over(self, kind: str, event: Said, out: list[Event]) -> None:
        said = decode_response(event.response) if event.response else Response()
        status = said.status or kind.removeprefix("response.")
        if kind == "response.failed" or status == "failed":
            raise failure(said.error, b"no reason given")
        if status == "cancelled":
            wrong = UpstreamError("the answer was cancelled at the host", code="upstream_cancelled")
            wrong.retryable = False
            raise wrong
        self._done = True
        for piece in self._pieces.values():
            self._close(piece, out)
        if isinstance(said.usage, dict):
            out.append(usage(said.usage))
        if isinstance(said.metrics, dict):
            out.extend(timings(said.metrics))
        if status == "incomplete":
            details = said.incomplete_details
            why = details.get("reason") if isinstance(details, dict) else None
            reason: Reason = _CUT.get(why, "length") if isinstance(why, str) else "length"
        else:
            reason = "tool_calls" if self._called else "stop"
        out.append(ev.Finish(reason=reason))

    _HANDLERS: ClassVar[dict[str, Callable[[ResponsesDecoder, Said, list[Event]], None]]] = {
        "response.output_item.added": _item_added,
        "response.output_item.done": _item_done,
        "response.content_part.added": _part_added,
        "response.content_part.done": _part_done,
        "response.output_text.delta": _text_delta,
        "response.output_text.done": _text_done,
        "response.output_text.annotation.added": _annotation,
        "response.refusal.delta": _refusal_delta,
        "response.refusal.done": _text_done,
        "response.reasoning_text.delta": _thought_delta,
        "response.reasoning_text.done": _thought_done,
        "response.reasoning.delta": _thought_delta,  # as the Open Responses specification names it
        "response.reasoning.done": _thought_done,
        "response.reasoning_summary_text.delta": _thought_delta,
        "response.reasoning_summary_text.done": _thought_done,
        "response.function_call_arguments.delta": _arguments,
        "response.function_call_arguments.done": _arguments,
        "response.image_generation_call.partial_image": _image,
    }


def _probable(piece: _Piece, given: Any, out: list[Event]) -> None:
    content = [p for p in given if isinstance(p, dict)] if isinstance(given, list) else []
    if content:
        out.append(ev.Logprobs(part=piece.part, content=content))
