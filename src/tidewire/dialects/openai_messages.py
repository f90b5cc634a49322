"""The messages, tools and error shape that the OpenAI protocols share. Both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tidewire.core.errors import BadRequest, Cancelled
from tidewire.core.events import Closed, ErrorInfo
from tidewire.core.request import (
    Audio,
    Content,
    File,
    Image,
    Message,
    Role,
    Text,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from tidewire.dialects.pictures import behind_results

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def read_messages(raw: Sequence[Any]) -> list[Message]:
    """Chat Completions messages as ours. Raises BadRequest naming the message at fault."""
    if not raw:
        raise BadRequest("messages is empty; send at least one message", param="messages")
    return [_message(m, f"messages[{i}]") for i, m in enumerate(raw)]


def _message(raw: Any, at: str) -> Message:
    if not isinstance(raw, dict):
        raise BadRequest(f"{at} is not an object", param=at)
    named = raw.get("role")
    role = ROLES.get(named) if isinstance(named, str) else None
    if role is None:
        raise BadRequest(
            f"{at}.role is {str(raw.get('role'))[:40]!r}; it may be {', '.join(ROLES)}", param=f"{at}.role"
        )
    name = raw.get("name") if isinstance(raw.get("name"), str) else None
    if role == "tool":
        return _result(raw, name, at)
    content: list[Content] = []
    if role == "assistant":
        thought = raw.get("reasoning_content") or raw.get("reasoning")
        if isinstance(thought, str) and thought:
            content.append(Thought(thought))
    content.extend(_content(raw.get("content"), at))
    if isinstance(raw.get("refusal"), str):
        content.append(Text(raw["refusal"]))
    if raw.get("audio") is not None:
        raise BadRequest(
            f"{at}.audio names what the host said earlier, which is not kept here; send its transcript as content",
            code="unsupported_value",
            param=f"{at}.audio",
        )
    calls = raw.get("tool_calls") or []
    if not isinstance(calls, list):
        raise BadRequest(f"{at}.tool_calls is not a list", param=f"{at}.tool_calls")
    content.extend(_call(call, at) for call in calls)
    if isinstance(older := raw.get("function_call"), dict):
        content.append(_call({"id": older.get("name"), "function": older}, at))
    return Message(role=role, content=content, name=name)


def _result(raw: dict[str, Any], name: str | None, at: str) -> Message:
    """What a tool answered. The older role "function" names the tool in place of the call."""
    parts = _content(raw.get("content"), at)
    result = ToolResult(
        call=str(raw.get("tool_call_id") or name or ""),
        text="".join(c.text for c in parts if isinstance(c, Text)),
        images=[c for c in parts if isinstance(c, Image)],
        name=name,
    )
    return Message(role="tool", content=[result])


def _call(call: Any, at: str) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise BadRequest(f"{at}.tool_calls holds something that is not a function call", param=f"{at}.tool_calls")
    arguments = function.get("arguments", "")
    return ToolCall(
        call=str(call.get("id") or ""),
        name=str(function.get("name") or ""),
        arguments=arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode(),
        signature=signature_in(call.get("extra_content")),
    )


def signature_in(extra: Any) -> str | None:
    """The proof that Gemini gives with a tool call, where its Chat Completions endpoint puts it."""
    google = extra.get("google") if isinstance(extra, dict) else None
    value = google.get("thought_signature") if isinstance(google, dict) else None
    return value if isinstance(value, str) else None


def signed(value: str) -> dict[str, Any]:
    """What `signature_in` reads."""
    return {"extra_content": {"google": {"thought_signature": value}}}


def _content(raw: Any, at: str) -> list[Content]:
    if raw is None:
        return []
    if isinstance(raw, str):
        return [Text(raw)]
    if not isinstance(raw, list):
        raise BadRequest(f"{at}.content is neither text nor a list of parts", param=f"{at}.content")
    return [_part(part, f"{at}.content[{i}]") for i, part in enumerate(raw)]


def _part(part: Any, at: str) -> Content:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("text", "input_text", "output_text", "refusal"):
        text = part.get("text", part.get("refusal"))
        if not isinstance(text, str):
            raise BadRequest(f"{at}.text is not text", param=at)
        return Text(text)
    if kind == "image_url":
        image = part.get("image_url")
        given = image if isinstance(image, dict) else {"url": image}
        return Image(url=_text(given, "url", at), detail=_maybe(given, "detail", at))
    if kind == "input_audio":
        audio = _inside(part, "input_audio", at)
        where = f"{at}.input_audio"
        return Audio(data=_text(audio, "data", where), format=_text(audio, "format", where))
    if kind == "file":
        file = _inside(part, "file", at)
        where = f"{at}.file"
        url, known = _maybe(file, "file_data", where), _maybe(file, "file_id", where)
        if url is None and known is None:
            raise BadRequest(f"{where} has neither file_data nor file_id", param=where)
        return File(url=url, id=known, name=_maybe(file, "filename", where))
    if kind == "thinking" and isinstance(part.get("thinking"), list):
        return Thought(
            "".join(p["text"] for p in part["thinking"] if isinstance(p, dict) and type(p.get("text")) is str)
        )
    raise BadRequest(
        f"{at}.type is {str(kind)[:40]!r}; it may be text, image_url, input_audio or file", param=f"{at}.type"
    )


def _inside(part: dict[str, Any], name: str, at: str) -> dict[str, Any]:
    value = part.get(name)
    if not isinstance(value, dict):
        raise BadRequest(f"{at}.{name} is not an object", param=f"{at}.{name}")
    return value


def _text(given: dict[str, Any], name: str, at: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{at} has no {name}", param=at)
    return value


def _maybe(given: dict[str, Any], name: str, at: str) -> str | None:
    return None if given.get(name) is None else _text(given, name, at)


def write_messages(messages: Sequence[Message], thoughts: str = "reasoning_content") -> list[dict[str, Any]]:
    """Our messages as Chat Completions messages. thoughts: as `openai_quirks.Quirks` says.

    Raises BadRequest for what they cannot say: a document by its address. That a tool failed is said by its text; what it showed
    stands in a message of the user behind its result.
    """
    out: list[dict[str, Any]] = []
    for message in behind_results(messages):
        results = [c for c in message.content if isinstance(c, ToolResult)]
        out.extend(_write_result(r) for r in results)
        others = [c for c in message.content if isinstance(c, (Text, Image, Audio, File))]
        calls = [c for c in message.content if isinstance(c, ToolCall)]
        thought = "".join(c.text for c in message.content if isinstance(c, Thought)) if thoughts else ""
        if results and not (others or calls or thought):
            continue
        body: dict[str, Any] = {"role": message.role}
        if all(isinstance(c, Text) for c in others):
            body["content"] = message.text if others or not calls else None
        else:
            body["content"] = [_write_content(c) for c in others]
        if thought and thoughts == "blocks":
            before = [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}]
            body["content"] = before + [_write_content(c) for c in others]
        elif thought:
            body[thoughts] = thought
        if calls:
            body["tool_calls"] = [_write_call(c) for c in calls]
        if message.name is not None:
            body["name"] = message.name
        out.append(body)
    return out


def _write_result(result: ToolResult) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": result.call, "content": result.text}


def _write_call(call: ToolCall) -> dict[str, Any]:
    said = {"id": call.call, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    return said if call.signature is None else said | signed(call.signature)


def _write_content(content: Content) -> dict[str, Any]:
    if isinstance(content, Image):
        image: dict[str, Any] = {"url": content.url}
        if content.detail is not None:
            image["detail"] = content.detail
        return {"type": "image_url", "image_url": image}
    if isinstance(content, Audio):
        return {"type": "input_audio", "input_audio": {"data": content.data, "format": content.format}}
    if isinstance(content, File):
        return {"type": "file", "file": _write_file(content)}
    assert isinstance(content, Text)
    return {"type": "text", "text": content.text}


def _write_file(file: File) -> dict[str, Any]:
    if file.id is not None:
        return {"file_id": file.id}
    url = file.url or ""
    if not url.startswith("data:"):
        raise BadRequest(
            "Chat Completions takes a document as data or by its id, not by its address; send it as a data: URL",
            code="unsupported_value",
            param="messages",
        )
    return {"filename": file.name or "document", "file_data": url}


def read_tools(raw: Sequence[Any]) -> list[Tool]:
    """Chat Completions tools as ours. Raises BadRequest for tools that only the host itself could run."""
    tools: list[Tool] = []
    for i, tool in enumerate(raw):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BadRequest(f"tools[{i}] is not a function with a name", param=f"tools[{i}]")
        try:
            tools.append(msgspec.convert(function, Tool))
        except msgspec.ValidationError as error:
            raise BadRequest(f"tools[{i}].function: {error}", param=f"tools[{i}]") from None
    return tools


def write_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": msgspec.to_builtins(tool)} for tool in tools]


TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def error_object(info: ErrorInfo) -> dict[str, Any]:
    """{"message", "type", "param", "code"}, as every OpenAI route answers and the SDK raises."""
    kind = TYPES.get(info.status) or ("invalid_request_error" if info.status < 500 else "server_error")
    return {"message": info.message, "type": kind, "param": info.param, "code": info.code}


def failure(closed: Closed) -> ErrorInfo | None:
    """Why a stream did not come to its natural end, where a client must not take it for one."""
    if closed.error is not None:
        return closed.error
    if closed.status == "cancelled":
        return Cancelled("the stream was cancelled").info()
    return None
