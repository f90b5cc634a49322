"""The messages, tools and error shape that the OpenAI protocols share. Both ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tidewire.core.errors import BadRequest, Cancelled
from tidewire.core.events import Closed, ErrorInfo
from tidewire.core.request import Content, Image, Message, Role, Text, Tool, ToolCall, ToolResult

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
    content: list[Content] = []
    if role == "tool":
        call = raw.get("tool_call_id") or raw.get("name") or ""
        text = "".join(c.text for c in _content(raw.get("content"), at) if isinstance(c, Text))
        return Message(role=role, content=[ToolResult(call=str(call), text=text)])
    content.extend(_content(raw.get("content"), at))
    calls = raw.get("tool_calls") or []
    if not isinstance(calls, list):
        raise BadRequest(f"{at}.tool_calls is not a list", param=f"{at}.tool_calls")
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            raise BadRequest(f"{at}.tool_calls holds something that is not a function call", param=f"{at}.tool_calls")
        content.append(
            ToolCall(
                call=str(call.get("id", "")),
                name=str(function.get("name", "")),
                arguments=str(function.get("arguments", "")),
            )
        )
    name = raw.get("name")
    return Message(role=role, content=content, name=name if isinstance(name, str) else None)


def _content(raw: Any, at: str) -> list[Content]:
    if raw is None:
        return []
    if isinstance(raw, str):
        return [Text(raw)]
    if not isinstance(raw, list):
        raise BadRequest(f"{at}.content is neither text nor a list of parts", param=f"{at}.content")
    out: list[Content] = []
    for i, part in enumerate(raw):
        where = f"{at}.content[{i}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind in ("text", "input_text", "output_text", "refusal"):
            text = part.get("text", part.get("refusal"))
            if not isinstance(text, str):
                raise BadRequest(f"{where}.text is not text", param=where)
            out.append(Text(text))
        elif kind == "image_url":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            if not isinstance(url, str):
                raise BadRequest(f"{where}.image_url has no url", param=where)
            out.append(Image(url=url, detail=image.get("detail") if isinstance(image, dict) else None))
        else:
            raise BadRequest(f"{where}.type is {str(kind)[:40]!r}; it may be text or image_url", param=f"{where}.type")
    return out


def write_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Our messages as Chat Completions messages."""
    out: list[dict[str, Any]] = []
    for message in messages:
        results = [c for c in message.content if isinstance(c, ToolResult)]
        out.extend({"role": "tool", "tool_call_id": r.call, "content": r.text} for r in results)
        others = [c for c in message.content if isinstance(c, (Text, Image))]
        calls = [c for c in message.content if isinstance(c, ToolCall)]
        if results and not others and not calls:
            continue
        body: dict[str, Any] = {"role": message.role}
        if all(isinstance(c, Text) for c in others):
            body["content"] = message.text if others or not calls else None
        else:
            body["content"] = [_write_content(c) for c in others]
        if calls:
            body["tool_calls"] = [
                {"id": c.call, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
                for c in calls
            ]
        if message.name is not None:
            body["name"] = message.name
        out.append(body)
    return out


def _write_content(content: Content) -> dict[str, Any]:
    if isinstance(content, Image):
        image: dict[str, Any] = {"url": content.url}
        if content.detail is not None:
            image["detail"] = content.detail
        return {"type": "image_url", "image_url": image}
    assert isinstance(content, Text)
    return {"type": "text", "text": content.text}


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
