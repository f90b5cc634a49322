"""The body that an AG-UI client posts, RunAgentInput, becomes a Request. Shapes as in @ag-ui/core 1.0.0, 0.x's `binary` parts too."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from tidewire.core import ids
from tidewire.core.errors import BadRequest
from tidewire.core.request import (
    Audio,
    Content,
    DisconnectPolicy,
    File,
    Image,
    Message,
    Request,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from tidewire.dialects import body, policy

MODEL: Final = "x-tidewire-model"
HELD: Final = (
    256 * 1024
)  # bytes of messages that are kept to send them back with an edited one; without them nothing is edited
_MEDIA: Final = ("image", "audio", "video", "document")


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _Call(msgspec.Struct, rename="camel"):
    id: str
    function: _Function
    encrypted_value: str | None = None


class _Message(msgspec.Struct, rename="camel"):
    """Of any role. activity and reasoning messages have no name, tool messages a tool_call_id and perhaps an error."""

    role: Literal["developer", "system", "user", "assistant", "tool", "activity", "reasoning"]
    content: Any = None
    name: str | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None
    error: str | None = None
    encrypted_value: str | None = None


class _Tool(msgspec.Struct):
    name: str
    description: str = ""
    parameters: dict[str, Any] | None = None


class _Context(msgspec.Struct):
    description: str
    value: str


class _Props(msgspec.Struct, rename="camel"):
    """What we read of forwardedProps; the rest is the app's own."""

    model: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    thinking: Thinking | None = None
    edits: bool = False


class _Input(msgspec.Struct, rename="camel"):
    thread_id: str
    run_id: str
    messages: list[_Message]
    parent_run_id: str | None = None
    tools: list[_Tool] | None = None
    context: list[_Context] | None = None
    resume: list[Any] | None = None


def parse(raw: bytes, headers: dict[str, str], model: str | None, on_disconnect: DisconnectPolicy) -> Request:
    """The request; model is taken where neither forwardedProps nor a header names one. Raises BadRequest.

    `state` is the app's own and goes nowhere: a model keeps none. The stream's id is the run's, where we may use it as an id.
    """
    given, plain = body.read(raw, _Input)
    props = _props(plain.get("forwardedProps"))
    name = props.model or headers.get(MODEL) or model
    if name is None:
        raise BadRequest(f"no model is named: put model into forwardedProps, or send {MODEL}", param="forwardedProps")
    if given.resume:
        raise BadRequest("no run here was interrupted; send a run without resume", param="resume")
    if props.max_tokens is not None and props.max_tokens < 1:
        raise BadRequest(f"maxTokens is {props.max_tokens}; it must be at least 1", param="forwardedProps.maxTokens")
    messages = _messages(given)
    if not messages:
        raise BadRequest("messages holds nothing for a model; send at least one message", param="messages")
    request = Request(
        model=name,
        messages=messages,
        dialect="agui",
        stream=given.run_id if ids.valid(given.run_id) else None,
        chat=given.thread_id if ids.valid(given.thread_id) else None,
        tools=[Tool(t.name, t.description or None, t.parameters) for t in given.tools or ()],
        tool_choice=props.tool_choice,
        max_tokens=props.max_tokens,
        temperature=props.temperature,
        top_p=props.top_p,
        stop=[props.stop] if isinstance(props.stop, str) else props.stop or [],
        response_format=props.response_format,
        thinking=props.thinking,
        on_disconnect=policy.asked(headers, on_disconnect),
        record={"thread": given.thread_id, "run": given.run_id},
    )
    if given.parent_run_id is not None:
        request.record["parent"] = given.parent_run_id
    if props.edits and len(msgspec.json.encode(plain["messages"])) <= HELD:
        request.edits = True
        request.record["messages"] = plain["messages"]
    if title := request.question.strip():
        request.record["title"] = title[:80]
    return request


def _props(raw: Any) -> _Props:
    if not isinstance(raw, dict):  # any JSON may be forwarded
        return _Props()
    try:
        return msgspec.convert(raw, _Props)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        where = f"forwardedProps{path.rstrip('`')}"
        raise BadRequest(f"{where}: {message}", param=where, code="invalid_value") from None


def _messages(given: _Input) -> list[Message]:
    """Context first, as a system message; then the conversation. A thought goes into the assistant message behind it."""
    out: list[Message] = []
    if given.context:
        said = "\n\n".join(f"{c.description}:\n{c.value}" for c in given.context)
        out.append(Message("system", [Text(said)]))
    thoughts: list[Content] = []
    for i, message in enumerate(given.messages):
        at = f"messages[{i}]"
        if message.role == "activity":  # what a page shows beside the conversation
            continue
        if message.role == "reasoning":
            text = _text(message.content, at)
            if text or message.encrypted_value:
                thoughts.append(Thought(text, message.encrypted_value, redacted=not text))
            continue
        if thoughts and message.role != "assistant":
            out.append(Message("assistant", thoughts))
            thoughts = []
        if message.role == "assistant":
            out.append(Message("assistant", [*thoughts, *_turn(message, at)], message.name))
            thoughts = []
        elif message.role == "tool":
            out.append(Message("tool", [_result(message, at)]))
        elif message.role == "user":
            out.append(Message("user", _content(message.content, at), message.name))
        else:
            out.append(Message("system", [Text(_text(message.content, at))], message.name))
    if thoughts:
        out.append(Message("assistant", thoughts))
    return out


def _turn(message: _Message, at: str) -> list[Content]:
    out: list[Content] = []
    if text := _text(message.content, at):
        out.append(Text(text))
    if message.encrypted_value:
        out.append(Thought(signature=message.encrypted_value))
    for call in message.tool_calls or ():
        out.append(ToolCall(call.id, call.function.name, call.function.arguments, call.encrypted_value))
    return out


def _result(message: _Message, at: str) -> ToolResult:
    if message.tool_call_id is None:
        raise BadRequest(f"{at}.toolCallId is missing: it names the call that this answers", param=f"{at}.toolCallId")
    content = _content(message.content, at)
    images = [c for c in content if isinstance(c, Image)]
    if len(images) < sum(not isinstance(c, Text) for c in content):
        raise BadRequest(
            f"{at}: a tool may answer with text and images; send other files in a user message",
            code="unsupported_value",
            param=f"{at}.content",
        )
    text = "".join(c.text for c in content if isinstance(c, Text))
    failed = message.error is not None
    return ToolResult(message.tool_call_id, text or message.error or "", failed=failed, images=images)


def _text(content: Any, at: str) -> str:
    if content is None:
        return ""
    if not isinstance(content, str):
        raise BadRequest(f"{at}.content must be a text", param=f"{at}.content")
    return content


def _content(raw: Any, at: str) -> list[Content]:
    if raw is None or isinstance(raw, str):
        return [Text(raw or "")]
    if not isinstance(raw, list):
        raise BadRequest(f"{at}.content is neither a text nor a list of parts", param=f"{at}.content")
    return [_part(part, f"{at}.content[{i}]") for i, part in enumerate(raw)]


def _part(part: Any, at: str) -> Content:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return Text(part["text"])
    if kind == "binary":  # what 0.x clients send
        media = part.get("mimeType")
        family = media.partition("/")[0] if isinstance(media, str) else ""
        source: dict[str, Any] = {"mimeType": media}
        for given, meant in (("data", "data"), ("url", "url"), ("id", "file")):
            if isinstance(part.get(given), str):
                source |= {"type": meant, "value": part[given]}
                break
        return _media(family if family in _MEDIA else "document", source, part.get("filename"), at)
    if kind in _MEDIA:
        about = part.get("metadata")
        name = about.get("filename") if isinstance(about, dict) else None
        return _media(kind, part.get("source"), name, f"{at}.source")
    raise BadRequest(f"{at}.type is {str(kind)[:40]!r}; it may be text, {', '.join(_MEDIA)}", param=f"{at}.type")


def _media(kind: str, source: Any, name: Any, at: str) -> Content:
    """A picture, a sound or a document, by value, by address or by the host's own name for it."""
    where = source.get("type") if isinstance(source, dict) else None
    value = source.get("value") if isinstance(source, dict) else None
    if where not in ("data", "url", "file") or not isinstance(value, str):
        raise BadRequest(f"{at} says neither data, url nor file with a value", param=at)
    media = source.get("mimeType")
    filename = name if isinstance(name, str) else None
    if where == "data" and not isinstance(media, str):
        raise BadRequest(f"{at}.mimeType is missing: say what the data is", param=f"{at}.mimeType")
    if where == "file":
        return File(id=value, name=filename)
    url = value if where == "url" else f"data:{media};base64,{value}"
    if kind == "image":
        return Image(url)
    if kind == "audio":
        if where == "url":
            raise BadRequest(
                f"{at}: audio is taken as data here; send its bytes", code="unsupported_value", param=f"{at}.type"
            )
        return Audio(value, str(media).partition("/")[2].partition(";")[0].removeprefix("x-").replace("mpeg", "mp3"))
    return File(url=url, name=filename)
