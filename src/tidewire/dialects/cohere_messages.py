"""The messages and tools of Cohere's Chat API, version 2. Both ways.

Source: the types of the official Python SDK (`ChatMessageV2`, `ToolV2`) and docs.cohere.com, "Chat API".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.core.request import Content, Image, Message, Role, Text, Thought, Tool, ToolCall, ToolResult
from tidewire.dialects.pictures import behind_results

_ROLES: Final[dict[str, Role]] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_json = msgspec.json.encode


# What a client sends us


def read_messages(raw: Sequence[Any]) -> list[Message]:
    """Cohere's messages as ours. Raises BadRequest naming the message at fault."""
    if not raw:
        raise BadRequest("messages is empty; send at least one message", param="messages")
    return [_message(m, f"messages[{i}]") for i, m in enumerate(raw)]


def _message(raw: Any, at: str) -> Message:
    if not isinstance(raw, dict):
        raise BadRequest(f"{at} is not an object", param=at)
    named = raw.get("role")
    role = _ROLES.get(named.lower()) if isinstance(named, str) else None
    if role is None:
        raise BadRequest(f"{at}.role is {str(named)[:40]!r}; it may be {', '.join(_ROLES)}", param=f"{at}.role")
    content = _contents(raw.get("content"), f"{at}.content")
    if role == "tool":
        call = raw.get("tool_call_id")
        if not isinstance(call, str):
            raise BadRequest(f"{at}.tool_call_id is not text", param=f"{at}.tool_call_id")
        return Message(role, [ToolResult(call=call, text="".join(c.text for c in content if isinstance(c, Text)))])
    plan = raw.get("tool_plan")
    if isinstance(plan, str) and plan:
        content.insert(0, Thought(text=plan))
    calls = raw.get("tool_calls") or []
    if not isinstance(calls, list):
        raise BadRequest(f"{at}.tool_calls is not a list", param=f"{at}.tool_calls")
    return Message(role, [*content, *(_call(c, f"{at}.tool_calls[{i}]") for i, c in enumerate(calls))])


def _call(raw: Any, at: str) -> ToolCall:
    function = raw.get("function") if isinstance(raw, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRequest(f"{at} is not a call of a function with a name", param=at)
    arguments = function.get("arguments")
    if arguments is not None and not isinstance(arguments, str):
        raise BadRequest(f"{at}.function.arguments is not text; send the JSON as a string", param=at)
    return ToolCall(call=str(raw.get("id") or ""), name=function["name"], arguments=arguments or "{}")


def _contents(raw: Any, at: str) -> list[Content]:
    if raw is None:
        return []
    if isinstance(raw, str):
        return [Text(raw)] if raw else []
    if not isinstance(raw, list):
        raise BadRequest(f"{at} is neither text nor a list of parts", param=at)
    return [_content(part, f"{at}[{i}]") for i, part in enumerate(raw)]


def _content(part: Any, at: str) -> Content:
    kind = part.get("type") if isinstance(part, dict) else None
    given = part.get(kind) if isinstance(kind, str) else None
    if kind == "text" and isinstance(given, str):
        return Text(given)
    if kind == "thinking" and isinstance(given, str):
        return Thought(text=given)
    if kind == "image_url" and isinstance(given, dict) and isinstance(given.get("url"), str):
        detail = given.get("detail")
        return Image(url=given["url"], detail=detail if isinstance(detail, str) else None)
    if kind == "document" and isinstance(given, dict | str):  # of a tool's result
        data = given.get("data", given) if isinstance(given, dict) else given
        return Text(data if isinstance(data, str) else _json(data).decode())
    if kind in ("text", "thinking", "image_url", "document"):
        raise BadRequest(f"{at}.{kind} is missing or of a wrong type", param=f"{at}.{kind}")
    raise BadRequest(
        f"{at}.type is {str(kind)[:40]!r}; it may be text, image_url, thinking or, in a tool's result, document",
        param=f"{at}.type",
    )


def read_tools(raw: Sequence[Any], *, strict: bool | None) -> list[Tool]:
    """strict: `strict_tools` of the request. Raises BadRequest for what is not a function."""
    tools = []
    for i, tool in enumerate(raw):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            raise BadRequest(f"tools[{i}] is not a function", param=f"tools[{i}]")
        try:
            tools.append(msgspec.convert({**function, "strict": strict}, Tool))
        except msgspec.ValidationError as error:
            raise BadRequest(f"tools[{i}].function: {error}", param=f"tools[{i}]") from None
    return tools


# What we send a host


def write_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Our messages as Cohere's. Raises BadRequest for content that Cohere has no word for."""
    out: list[dict[str, Any]] = []
    for i, message in enumerate(behind_results(messages)):
        others: list[Content] = []
        for content in message.content:
            if isinstance(content, ToolResult):
                out.append({"role": "tool", "tool_call_id": content.call, "content": content.text})
            else:
                others.append(content)
        if others or not message.content:
            write = _assistant if message.role == "assistant" else _plain
            out.append({"role": message.role, **write(others, f"messages[{i}]")})
    return out


def _plain(contents: list[Content], at: str) -> dict[str, Any]:
    """Of a user or the system: text alone as a string, else parts."""
    parts: list[dict[str, Any]] = []
    for content in contents:
        if isinstance(content, Text):
            parts.append({"type": "text", "text": content.text})
        elif isinstance(content, Image):
            detail = {} if content.detail is None else {"detail": content.detail}
            parts.append({"type": "image_url", "image_url": {"url": content.url, **detail}})
        else:
            raise _unsaid(at, f"{type(content).__name__.lower()} content", "send text or images")
    if all(part["type"] == "text" for part in parts):
        return {"content": "".join(part["text"] for part in parts)}
    return {"content": parts}


def _assistant(contents: list[Content], at: str) -> dict[str, Any]:
    """A thought before tool calls is Cohere's plan; any other is a part of the content. What only another host can read is left out."""
    calls = [c for c in contents if isinstance(c, ToolCall)]
    thoughts = [c.text for c in contents if isinstance(c, Thought) and c.text]
    texts = [c.text for c in contents if isinstance(c, Text)]
    if len(calls) + len(texts) + sum(isinstance(c, Thought) for c in contents) < len(contents):
        raise _unsaid(at, "images, audio or files of the assistant", "leave them out")
    body: dict[str, Any] = {}
    if calls:
        body["tool_calls"] = [
            {"id": c.call, "type": "function", "function": {"name": c.name, "arguments": c.arguments or "{}"}}
            for c in calls
        ]
        if thoughts:
            body["tool_plan"] = "".join(thoughts)
        if texts:
            body["content"] = "".join(texts)
    elif thoughts:
        body["content"] = [{"type": "thinking", "thinking": t} for t in thoughts]
        body["content"] += [{"type": "text", "text": t} for t in texts]
    else:
        body["content"] = "".join(texts)
    return body


def write_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    out = []
    for tool in tools:
        function: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            function["description"] = tool.description
        function["parameters"] = tool.parameters or {"type": "object", "properties": {}}  # Cohere asks for some
        out.append({"type": "function", "function": function})
    return out


def _unsaid(at: str, what: str, instead: str) -> BadRequest:
    return BadRequest(f"{at}: Cohere takes no {what}; {instead}", code="unsupported_value", param=at)
