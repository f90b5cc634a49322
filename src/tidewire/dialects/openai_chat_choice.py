"""One of the answers in a chat stream: its text, thoughts, refusal, audio, pictures and tool calls as parts."""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any, Final

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Event, Reason
from tidewire.dialects.openai_chat_calls import Calls
from tidewire.dialects.openai_chat_chunk import Audio, Call, Choice

REASONS: Final[dict[str, Reason]] = {
    "stop": "stop",
    "end_turn": "stop",
    "eos": "stop",  # Together
    "eos_token": "stop",  # TGI
    "stop_sequence": "stop_string",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",  # Mistral
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
BROKEN: Final = frozenset(
    {"error", "insufficient_system_resource"}
)  # the host gave up: OpenRouter and Mistral, DeepSeek


class Answer:
    """One choice. part and kind: the open part of text, "" where none is. finish: why it ended, once the host has said so."""

    __slots__ = ("_choice", "_media", "_number", "calls", "finish", "kind", "part")

    def __init__(self, choice: int, number: Callable[[], int], media: str) -> None:
        """number: gives the next part. media: the MIME type of audio, where any comes."""
        self._choice = choice
        self._number = number
        self._media = media
        self.calls = Calls(choice, number)
        self.part = -1
        self.kind = ""
        self.finish: Reason | None = None

    def feed(self, choice: Choice, out: list[Event]) -> Reason | None:
        """Why it ended, once the host has said so. Raises UpstreamError where the host gives up, or for tool calls and audio that make no sense."""
        delta = choice.delta
        if delta is not None:
            if thought := delta.reasoning_content or delta.reasoning:
                self._text("thinking", thought, out)
            content = delta.content
            if type(content) is str:
                if content:
                    self._text("text", content, out)
            elif content:
                self._list(content, out)
            if delta.refusal:
                self._text("refusal", delta.refusal, out)
            if delta.audio is not None:
                self._audio(delta.audio, out)
            for image in delta.images if isinstance(delta.images, list) else ():
                self._image(image, out)
            for call in delta.tool_calls or ():
                self._call(call, out)
            if delta.function_call is not None:  # the older form, one call at most
                self._call(Call(index=0, function=delta.function_call), out)
        if choice.logprobs is not None:
            self._logprobs(choice.logprobs, out)
        if choice.finish_reason:
            self._end(choice.finish_reason)
        return self.finish

    def close(self, out: list[Event]) -> None:
        """No more comes. Raises UpstreamError where a tool call was never named."""
        self._close(out)
        self.calls.end(out)

    def _end(self, reason: str) -> None:
        if reason in BROKEN:
            raise UpstreamError(f"the host ended the answer with {reason!r}", code="upstream_error")
        if reason == "abort":  # SGLang
            raise UpstreamError("the host ended the answer with 'abort'", code="upstream_abort")
        self.finish = REASONS.get(reason, "stop")
        if self.finish == "stop" and self.calls:  # so some hosts say it, OpenAI too where one function was prescribed
            self.finish = "tool_calls"

    def _begin(self, kind: ev.PartKind, out: list[Event], media: str | None = None) -> None:
        self._close(out)
        self.part = self._number()
        self.kind = kind
        out.append(ev.PartStarted(part=self.part, kind=kind, choice=self._choice, media=media))

    def _close(self, out: list[Event]) -> None:
        if self.part >= 0:
            out.append(ev.PartEnded(part=self.part))
            self.part = -1
            self.kind = ""

    def _text(self, kind: ev.PartKind, text: str, out: list[Event]) -> None:
        if self.kind != kind:
            self._begin(kind, out)
        out.append(Delta(part=self.part, text=text))

    def _list(self, content: Any, out: list[Event]) -> None:
        """Content as parts: {type: text, text} or {type: thinking, thinking: [{text}]}."""
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, dict):
                continue
            if isinstance(part.get("text"), str) and part["text"]:
                self._text("text", part["text"], out)
            thinking = part.get("thinking")
            for piece in thinking if isinstance(thinking, list) else ():
                if isinstance(piece, dict) and isinstance(piece.get("text"), str) and piece["text"]:
                    self._text("thinking", piece["text"], out)

    def _audio(self, audio: Audio, out: list[Event]) -> None:
        """Bytes, their transcript as the part's text, and the id by which the host knows them as its signature."""
        if self.kind != "audio":
            self._begin("audio", out, self._media)
        if audio.id:
            out.append(ev.Signature(part=self.part, value=audio.id))
        if audio.data:
            out.append(ev.Blob(part=self.part, data=_bytes(audio.data, "audio")))
        if audio.transcript:
            out.append(Delta(part=self.part, text=audio.transcript))

    def _image(self, image: Any, out: list[Event]) -> None:
        """A finished picture, as OpenRouter gives it: {type: image_url, image_url: {url}} with a data: URL. Addresses are left out."""
        given = image.get("image_url") if isinstance(image, dict) else None
        url = given.get("url") if isinstance(given, dict) else None
        if not isinstance(url, str) or not url.startswith("data:"):
            return
        media, mark, data = url[5:].partition(";base64,")
        if not mark:
            raise UpstreamError("the host sent a picture that is not base64", code="upstream_bad_event")
        self._begin("image", out, media or None)
        out.append(ev.Blob(part=self.part, data=_bytes(data, "a picture")))
        self._close(out)

    def _call(self, call: Call, out: list[Event]) -> None:
        if call.function is not None and call.function.name:
            self._close(out)
        self.calls.feed(call, out)

    def _logprobs(self, given: dict[str, Any], out: list[Event]) -> None:
        part = self.part if self.part >= 0 else self.calls.open
        for name in ("content", "refusal"):
            content = given.get(name)
            if part >= 0 and isinstance(content, list) and content:
                if not all(isinstance(token, dict) for token in content):
                    raise UpstreamError("the host sent log probabilities of no token", code="upstream_bad_event")
                out.append(ev.Logprobs(part=part, content=content))


def _bytes(data: str, what: str) -> bytes:
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except ValueError:  # characters beyond ASCII too
        raise UpstreamError(f"the host sent {what} that is not base64", code="upstream_bad_event") from None
