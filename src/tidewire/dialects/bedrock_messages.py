"""A request in the words of Bedrock's Converse API, and the words that both of its sides share.

Source: the Bedrock Runtime reference, "Converse" and "ConverseStream", and the service model in botocore.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.core.events import Reason
from tidewire.core.request import (
    Audio,
    Content,
    File,
    Image,
    Message,
    Request,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from tidewire.dialects.anthropic_messages import generation, tool_input, write_thinking
from tidewire.dialects.base64_words import data_url, wrapped
from tidewire.dialects.body import unsupported

_json = msgspec.json.encode

IMAGES: Final = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/jpg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
DOCUMENTS: Final = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
AUDIO: Final = frozenset(
    {"mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga", "pcm", "webm"}
)
EFFORTS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
REASONS: Final[dict[str, Reason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop_string",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}


def write_body(request: Request, model: str) -> dict[str, Any]:
    """The body of a Converse request. Raises BadRequest for what the protocol cannot say.

    Left out, for they change no answer: names of speakers, the detail of images, thoughts that no host has signed, blank text.
    """
    _refuse(request)
    options = dict(request.options_for("bedrock"))
    system, messages = _turns(request.messages)
    if not messages:
        raise BadRequest("there is no message beside the system's; send one of the user", param="messages")
    body: dict[str, Any] = options | {"messages": messages}
    if system:
        body["system"] = system
    limits = {
        "maxTokens": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": [s for s in request.stop if s] or None,
    }
    if given := {name: value for name, value in limits.items() if value is not None}:
        body["inferenceConfig"] = given
    if (tools := _tools(request)) is not None:
        body["toolConfig"] = tools
    output = _object(options, "outputConfig")
    more = _object(options, "additionalModelRequestFields")
    if request.thinking is not None and request.dialect != "bedrock":  # whose own words are among the options
        fields, effort = _thinking(request, model)
        more |= fields
        if effort is not None:
            output["effort"] = effort
    if request.response_format is not None and (form := _format(request.response_format)) is not None:
        output["textFormat"] = form
    if output:
        body["outputConfig"] = output
    if more:
        body["additionalModelRequestFields"] = more
    return body


def _object(options: dict[str, Any], name: str) -> dict[str, Any]:
    value = options.get(name)
    if value is not None and not isinstance(value, dict):
        raise BadRequest(f"{name} is not an object", param=name)
    return dict(value or {})


def _refuse(request: Request) -> None:
    if request.n != 1:
        raise unsupported(f"n is {request.n}; Bedrock gives one answer a request: send n requests", "n")
    if request.logprobs is not None:
        raise unsupported("Converse gives no log probabilities; leave logprobs out", "logprobs")
    if request.temperature is not None and request.temperature > 1:
        raise unsupported(f"temperature is {request.temperature:g}; Converse takes 0 to 1", "temperature")


# Thinking, the form of the answer, tools


def _thinking(request: Request, model: str) -> tuple[dict[str, Any], str | None]:
    """What goes into `additionalModelRequestFields`, where each vendor has its own words, and the effort, which Converse knows."""
    asked = request.thinking
    assert asked is not None
    name = model.lower()
    if "claude" in name:
        thinking, effort = write_thinking(request, model, generation(model))
        return ({"thinking": thinking} if thinking is not None else {}), effort
    if asked.budget is not None and asked.budget > 0:
        raise unsupported(f"{model} takes no thinking budget; send an effort in its place", "thinking")
    off = asked.effort == "none" or asked.budget == 0
    if "amazon.nova" in name:
        if off:
            return {"reasoningConfig": {"type": "disabled"}}, None
        level = {"low": "low", "medium": "medium"}.get(EFFORTS.get(asked.effort or "medium", "high"), "high")
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}}, None
    if "openai." in name:
        return ({"reasoning_effort": EFFORTS.get(asked.effort, "low")} if asked.effort else {}), None
    return {}, None if off or asked.effort is None else EFFORTS.get(asked.effort, asked.effort)


def _format(asked: dict[str, Any]) -> dict[str, Any] | None:
    kind = asked.get("type")
    if kind in (None, "text"):
        return None
    inner = asked.get("json_schema")
    if kind != "json_schema" or not isinstance(inner, dict) or not isinstance(inner.get("schema"), dict):
        raise unsupported(
            f"response_format is {str(kind)[:40]!r} without a schema; Converse writes JSON to a schema only: send json_schema",
            "response_format",
        )
    schema: dict[str, Any] = {"schema": _json(inner["schema"]).decode()}
    schema |= {name: inner[name] for name in ("name", "description") if isinstance(inner.get(name), str)}
    return {"type": "json_schema", "structure": {"jsonSchema": schema}}


def _tools(request: Request) -> dict[str, Any] | None:
    asked = request.tool_choice
    function = asked.get("function") if isinstance(asked, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if not request.tools:
        return None
    config: dict[str, Any] = {"tools": [{"toolSpec": _tool(tool)} for tool in request.tools]}
    if asked == "auto":
        config["toolChoice"] = {"auto": {}}
    elif asked == "required":
        config["toolChoice"] = {"any": {}}
    elif isinstance(name, str):
        config["toolChoice"] = {"tool": {"name": name}}
    elif asked == "none":
        if any(isinstance(c, ToolCall | ToolResult) for m in request.messages for c in m.content):
            raise unsupported(
                "tool_choice is none, which Converse cannot say once tools have been called; leave it out",
                "tool_choice",
            )
        return None
    elif asked is not None:
        raise unsupported("tool_choice may be auto, required, none or the name of one function here", "tool_choice")
    return config


def _tool(tool: Tool) -> dict[str, Any]:
    out: dict[str, Any] = {"name": tool.name}
    if tool.description:
        out["description"] = tool.description
    out["inputSchema"] = {"json": tool.parameters or {"type": "object", "properties": {}}}
    if tool.strict:
        out["strict"] = True
    return out


# Messages


def _turns(given: list[Message]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The system's blocks, from wherever they stood, and the messages: what one side says in a row is one, tool results first."""
    system: list[dict[str, Any]] = []
    out: list[dict[str, Any]] = []
    names = _Names()
    for n, message in enumerate(given):
        at = f"messages[{n}]"
        blocks = [b for c in message.content if (b := _block(c, message, names, at)) is not None]
        if message.role == "system":
            system += blocks
        elif blocks:
            role = "assistant" if message.role == "assistant" else "user"
            if out and out[-1]["role"] == role:
                out[-1]["content"] += blocks
            else:
                out.append({"role": role, "content": blocks})
    for turn in out:
        turn["content"].sort(key=lambda block: "toolResult" not in block)
    return system, out


class _Names:
    """Names for documents, of the characters that Bedrock takes in one, no two of them the same in a request."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, given: str | None) -> str:
        plain = re.sub(r"[^0-9A-Za-z()\[\]-]+", " ", (given or "").rpartition("/")[2].partition(".")[0]).strip()[:180]
        name = plain or "document"
        n = 1
        while name in self._taken:
            n += 1
            name = f"{plain or 'document'} {n}"
        self._taken.add(name)
        return name


def _block(content: Content, message: Message, names: _Names, at: str) -> dict[str, Any] | None:
    """None for what there is nothing to say of."""
    match content:
        case Text(text=text):
            return {"text": text} if text.strip() else None
        case Image() if message.role != "system":
            return {"image": _image(content, at)}
        case Audio() if message.role != "system":
            if content.format not in AUDIO:
                raise unsupported(
                    f"{at} holds audio of the format {content.format[:20]!r}, which Converse does not know", at
                )
            return {"audio": {"format": content.format, "source": {"bytes": content.data}}}
        case File() if message.role != "system":
            return {"document": _document(content, names, at)}
        case Thought() if message.role == "assistant":
            return _thought(content)
        case ToolCall() if message.role == "assistant":
            return {
                "toolUse": {"toolUseId": content.call, "name": content.name, "input": tool_input(content.arguments)}
            }
        case ToolResult() if message.role in ("user", "tool"):
            said: list[dict[str, Any]] = [{"text": content.text}] if content.text.strip() else []
            said += [{"image": _image(image, at)} for image in content.images]
            result: dict[str, Any] = {"toolUseId": content.call, "content": said}
            return {"toolResult": result | {"status": "error"} if content.failed else result}
    kind = type(content).__name__.lower()
    raise unsupported(f"{at} holds {kind} content of role {message.role}; Converse takes none there", at)


def _thought(thought: Thought) -> dict[str, Any] | None:
    if thought.redacted:
        return {"reasoningContent": {"redactedContent": wrapped(thought.signature or "")}}
    if not thought.signature:
        return None  # the host refuses thoughts that it cannot prove to be its own
    return {"reasoningContent": {"reasoningText": {"text": thought.text, "signature": thought.signature}}}


def _image(image: Image, at: str) -> dict[str, Any]:
    media, source = _source(image.url, at)
    form = IMAGES.get(media)
    if form is None:
        raise unsupported(f"{at} holds an image of type {media[:40]!r}; send png, jpeg, gif or webp", at)
    return {"format": form, "source": source}


def _document(file: File, names: _Names, at: str) -> dict[str, Any]:
    if file.url is None:
        raise unsupported(f"{at} names a file by an id, and Bedrock keeps none; send the file itself", at)
    media, source = _source(file.url, at)
    form = DOCUMENTS.get(media) or ("txt" if media.startswith("text/") else None)
    if form is None:
        raise unsupported(
            f"{at} holds a file of type {media[:60]!r}; Converse reads {', '.join(DOCUMENTS.values())}", at
        )
    return {"format": form, "name": names.of(file.name), "source": source}


def _source(url: str, at: str) -> tuple[str, dict[str, Any]]:
    """The media type and the source of a data: URL, or of an object in S3, whose name tells its type."""
    if url.startswith("s3://"):
        ending = url.rpartition(".")[2].lower()
        kinds = {form: media for media, form in (*DOCUMENTS.items(), *IMAGES.items())} | {"jpg": "image/jpeg"}
        return kinds.get(ending, ending), {"s3Location": {"uri": url}}
    if url[:5].lower() != "data:":
        raise unsupported(f"{at} holds content at an address; Bedrock fetches none: send a data: or an s3: URL", at)
    media, data = data_url(url, at)
    if not data:
        raise BadRequest(f"{at} holds a data: URL without data", param=at)
    return media.lower(), {"bytes": data}
