"""Our messages as Gemini's contents, media and signatures included.

Source: the reference of the Gemini API, "Content", "Part", "FunctionCall", "FunctionResponse"; its page on thought signatures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.core.request import Audio, Content, File, Image, Message, Text, Thought, ToolCall, ToolResult
from tidewire.dialects.base64_words import data_url

# What Google's page on thought signatures names for a call that was not made by one of its own models.
UNSIGNED: Final = "skip_thought_signature_validator"
_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "html": "text/html",
    "csv": "text/csv",
    "json": "application/json",
    "mp3": "audio/mp3",
    "wav": "audio/wav",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/mov",
}
_FILES: Final = "https://generativelanguage.googleapis.com/v1beta/"


def write_system(messages: Sequence[Message]) -> dict[str, Any] | None:
    """All that system messages say, wherever they stood: Gemini knows one instruction, before everything else."""
    parts = [
        {"text": c.text} for m in messages if m.role == "system" for c in m.content if isinstance(c, Text) and c.text
    ]
    return {"parts": parts} if parts else None


def write_contents(messages: Sequence[Message], *, fill: bool = False) -> list[dict[str, Any]]:
    """Our messages as contents; what one side says in a row is one content, so that parallel results stand together.

    fill: this model refuses calls without a signature, so those of other models get the one that Google names for them. Raises BadRequest.
    """
    names: dict[str, str] = {}
    out: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        if message.role == "system":
            continue
        parts = [p for c in message.content for p in _write(c, names, f"messages[{i}]")]
        if not parts:
            continue
        role = "model" if message.role == "assistant" else "user"
        if out and out[-1]["role"] == role:
            out[-1]["parts"] += parts
        else:
            out.append({"role": role, "parts": parts})
    if not out:
        raise BadRequest("there is no message beside the system's; send one of the user", param="messages")
    for content in out if fill else ():
        first = next((p for p in content["parts"] if "functionCall" in p), None)
        if first is not None:
            first.setdefault("thoughtSignature", UNSIGNED)
    return out


def _write(content: Content, names: dict[str, str], at: str) -> list[dict[str, Any]]:
    match content:
        case Text(text=text):
            return [{"text": text}] if text else []
        case Thought(redacted=True) | Thought(signature=None):
            return []  # only a signature makes a thought worth sending back
        case Thought(text="", signature=signature):
            return [{"text": "", "thoughtSignature": signature}]
        case Thought(text=text, signature=signature):
            return [{"text": text, "thought": True, "thoughtSignature": signature}]
        case Image(url=url):
            return [_media(url, at, None)]
        case Audio(data=data, format=form):
            return [{"inlineData": {"mimeType": f"audio/{form}", "data": data}}]
        case File():
            return [_media(_address(content, at), at, content.name)]
        case ToolCall():
            names[content.call] = content.name
            call: dict[str, Any] = {"name": content.name, "args": _arguments(content, at)}
            part: dict[str, Any] = {"functionCall": call | {"id": content.call} if content.call else call}
            return [part if content.signature is None else part | {"thoughtSignature": content.signature}]
        case ToolResult():
            return [{"functionResponse": _response(content, names, at)}]


def _arguments(call: ToolCall, at: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise BadRequest(
            f"{at}: the arguments of the call {call.call[:60]!r} are not a JSON object", param=at, code="invalid_value"
        ) from None


def _response(result: ToolResult, names: dict[str, str], at: str) -> dict[str, Any]:
    name = names.get(result.call) or result.name
    if not name:
        raise BadRequest(
            f"{at}: no earlier message holds the call {result.call[:60]!r} that this result answers", param=at
        )
    response: Any = None
    if result.text.lstrip()[:1] == "{" and not result.failed:
        try:
            response = msgspec.json.decode(result.text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            response = None
    if not isinstance(response, dict):
        response = {"error" if result.failed else "output": result.text}
    out: dict[str, Any] = {"name": name, "response": response}
    if result.call:
        out["id"] = result.call
    if result.images:
        out["parts"] = [_media(image.url, at, None) for image in result.images]
    return out


def _address(file: File, at: str) -> str:
    if file.url:
        return file.url
    if file.id:
        return _FILES + file.id if file.id.startswith("files/") else file.id
    raise BadRequest(f"{at} holds a file with neither an address nor an id", param=at)


def _media(url: str, at: str, name: str | None) -> dict[str, Any]:
    """A part: inlineData for a data: URL, else fileData. A type is guessed from the ending; without one, the host finds out or refuses."""
    if url[:5].lower() == "data:":
        mime, data = data_url(url, at)
        return {"inlineData": {"mimeType": mime, "data": data}}
    file = {"fileUri": url}
    for text in (name or "", urlsplit(url).path if "://" in url else url):
        if mime := _TYPES.get(text.rpartition(".")[2].lower(), ""):
            file["mimeType"] = mime
            break
    return {"fileData": file}


# Models

_GENERATION: Final = re.compile(r"gemini-(\d+)")


def generation(model: str) -> int | None:
    """3 of gemini-3-pro; None for a name that does not say."""
    found = _GENERATION.search(model)
    return int(found.group(1)) if found else None
