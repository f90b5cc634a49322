"""A log as one `chat.completion` document at its end."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.events import Delta, Entry, ErrorInfo, Reason
from tidewire.core.ports import Meta
from tidewire.dialects.openai_messages import failure, signed

_json = msgspec.json.Encoder().encode

FINISH: Final[dict[Reason, str]] = {
    "stop": "stop",
    "stop_string": "stop",
    "length": "length",
    "time_limit": "length",
    "size_limit": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}


class _Choice:
    """One choice as it grows."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {"text": [], "thinking": [], "refusal": [], "audio": []}
        self.calls: dict[int, tuple[ev.PartStarted, list[str], dict[str, Any]]] = {}
        self.sound = bytearray()
        self.sound_id: str | None = None
        self.pictures: dict[int, dict[str, Any]] = {}
        self.annotations: list[dict[str, Any]] = []
        self.logprobs: dict[str, list[dict[str, Any]]] = {}
        self.reason: Reason | None = None

    def begin(self, event: ev.PartStarted) -> list[str]:
        """Where the part's text goes."""
        if event.kind == "tool_call":
            self.calls[event.part] = event, [], {}
            return self.calls[event.part][1]
        if event.kind == "audio" and self.sound_id is None:
            self.sound_id = ""
        return self.texts.get(event.kind, [])

    def message(self, until: int) -> dict[str, Any]:
        """until: the Unix second up to which audio is said to be kept; the host's own word for it is not."""
        text, thinking, refusal, said = ("".join(self.texts[kind]) for kind in ("text", "thinking", "refusal", "audio"))
        silent = bool(self.calls or refusal or self.pictures or self.sound_id is not None)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": text if text or not silent else None,
            "refusal": refusal or None,
        }
        if thinking:
            message["reasoning_content"] = thinking
        if self.calls:
            message["tool_calls"] = [
                {
                    "id": started.call,
                    "type": "function",
                    "function": {"name": started.name, "arguments": "".join(texts)},
                    **extra,
                }
                for started, texts, extra in self.calls.values()
            ]
        if self.sound_id is not None:
            message["audio"] = {
                "id": self.sound_id,
                "data": bytes(self.sound),
                "expires_at": until,
                "transcript": said,
            }
        if self.pictures:
            message["images"] = list(self.pictures.values())
        if self.annotations:
            message["annotations"] = self.annotations
        return message


class Completion:
    """Renders nothing until the end. A failure is an HTTP status, not a document."""

    def __init__(self, meta: Meta) -> None:
        self.ended = False
        self.failure: ErrorInfo | None = None
        self._meta = meta
        self._n: int = meta.record.get("n", 1)
        self._choices: dict[int, _Choice] = {}
        self._parts: dict[int, ev.PartStarted] = {}
        self._texts: dict[int, list[str]] = {}

    def feed(self, entries: Sequence[Entry]) -> bytes:
        for entry in entries:
            event = entry.event
            if type(event) is Delta:
                self._texts[event.part].append(event.text)
            elif type(event) is ev.PartStarted:
                self._parts[event.part] = event
                self._texts[event.part] = self._choice(event.choice).begin(event)
            elif type(event) is ev.Closed:
                self.ended = True
                self.failure = failure(event)
                return b"" if self.failure is not None else self._document(event)
            else:
                self._other(event)
        return b""

    def _choice(self, index: int) -> _Choice:
        return self._choices.setdefault(index, _Choice())

    def _other(self, event: ev.Event) -> None:
        if type(event) is ev.ChoiceEnded:
            self._choice(event.choice).reason = event.reason
            return
        started = self._parts.get(getattr(event, "part", -1))
        choice = self._choice(started.choice if started is not None else 0)
        if type(event) is ev.Citation:
            choice.annotations.append(annotation(event))
        elif started is None:
            return
        elif type(event) is ev.Logprobs:
            name = "refusal" if started.kind == "refusal" else "content"
            choice.logprobs.setdefault(name, []).extend(event.content)
        elif type(event) is ev.Blob and started.kind == "audio":
            choice.sound += event.data
        elif type(event) is ev.Blob and started.kind == "image" and not event.partial:
            choice.pictures[event.part] = picture(started, event.data)
        elif type(event) is ev.Signature and started.kind == "audio":
            choice.sound_id = event.value
        elif type(event) is ev.Signature and started.kind == "tool_call":
            choice.calls[event.part][2].update(signed(event.value))

    def _document(self, event: ev.Closed) -> bytes:
        created = self._meta.created // 1000
        choices = []
        for index in range(self._n):
            choice = self._choice(index)
            found = choice.logprobs
            choices.append(
                {
                    "index": index,
                    "message": choice.message(created + 3600),
                    "logprobs": logprobs(found.get("content"), found.get("refusal")) if found else None,
                    "finish_reason": FINISH.get(choice.reason or event.reason, "stop"),
                }
            )
        return _json(
            {
                "id": self._meta.stream,
                "object": "chat.completion",
                "created": created,
                "model": self._meta.model,
                "choices": choices,
                "usage": usage_object(event),
            }
        )


def picture(started: ev.PartStarted, data: bytes) -> dict[str, Any]:
    """A picture of an answer, which OpenAI's own chat has no word for: in OpenRouter's."""
    url = f"data:{started.media or 'image/png'};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def logprobs(content: list[dict[str, Any]] | None, refusal: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {"content": content, "refusal": refusal}


def usage_object(event: ev.Closed) -> dict[str, Any]:
    """cost: USD, as OpenRouter has it; OpenAI says none."""
    prompt, completion = event.input_tokens or 0, event.output_tokens or 0
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if event.cached_tokens is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": event.cached_tokens}
    if event.reasoning_tokens is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": event.reasoning_tokens}
    if event.cost is not None:
        usage["cost"] = event.cost
    return usage


def annotation(event: ev.Citation) -> dict[str, Any]:
    """A citation in OpenAI's own shape."""
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": event.start,
            "end_index": event.end,
            "title": event.title,
            "url": event.uri or event.source,
        },
    }
