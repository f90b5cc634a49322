"""The messages and tools of Ollama's API. Both ways.

Source: Ollama's API reference and its OpenAPI document, and the types of the official Python SDK. Images are base64 without a word on
what they are; arguments of a tool call are an object; a tool's result names the tool, and older clients know no ids of calls.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.core.request import Content, Image, Message, Role, Text, Thought, Tool, ToolCall, ToolResult

_ROLES: Final[dict[str, Role]] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_KINDS: Final = {
    "iVBORw0KGgo": "png",
    "/9j/": "jpeg",
    "UklGR": "webp",
    "R0lGOD": "gif",
    "Qk": "bmp",
}  # how base64 begins
_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n")

_json = msgspec.json.encode


# What a client sends us


def read_messages(raw: Sequence[Any]) -> list[Message]:
    """Ollama's messages as ours. Calls without an id get one, and each result goes to the oldest call that waits for it."""
    if not raw:
        raise BadRequest("messages is empty; send at least one message", param="messages")
    waiting = _Waiting()
    return [_message(m, f"messages[{i}]", waiting) for i, m in enumerate(raw)]


class _Waiting:
    """Calls that no result has come for, by their ids and by their names. Nothing here is searched through: histories may be long."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._named: dict[str, deque[str]] = {}

    def add(self, call: ToolCall) -> None:
        self._ids[call.call] = None
        self._named.setdefault(call.name, deque()).append(call.call)

    def answered(self, call: str, name: str | None) -> str:
        """The id of the call that a result belongs to: by id, else by the tool's name, else the oldest."""
        if not call and name is not None:
            named = self._named.get(name, deque())
            while named and not call:
                oldest = named.popleft()
                call = oldest if oldest in self._ids else ""
        elif not call and self._ids:
            call = next(iter(self._ids))
        self._ids.pop(call, None)
        return call or f"call_{name or 'unknown'}"


def _message(raw: Any, at: str, waiting: _Waiting) -> Message:
    if not isinstance(raw, dict):
        raise BadRequest(f"{at} is not an object", param=at)
    named = raw.get("role")
    role = _ROLES.get(named.lower()) if isinstance(named, str) else None
    if role is None:
        raise BadRequest(f"{at}.role is {str(named)[:40]!r}; it may be {', '.join(_ROLES)}", param=f"{at}.role")
    text = _text(raw, "content", at)
    images = read_images(raw.get("images"), f"{at}.images")
    if role == "tool":
        name = _text(raw, "tool_name", at) or _text(raw, "name", at) or None
        call = waiting.answered(_text(raw, "tool_call_id", at), name)
        return Message(role, [ToolResult(call=call, text=text, images=images, name=name)])
    content: list[Content] = []
    if thinking := _text(raw, "thinking", at):
        content.append(Thought(text=thinking))
    if text:
        content.append(Text(text))
    content += images
    calls = raw.get("tool_calls") or []
    if not isinstance(calls, list):
        raise BadRequest(f"{at}.tool_calls is not a list", param=f"{at}.tool_calls")
    for i, call in enumerate(calls):
        read = _call(call, f"{at}.tool_calls[{i}]", f"call_{at[9:-1]}_{i}")
        waiting.add(read)
        content.append(read)
    return Message(role, content)


def _call(raw: Any, at: str, otherwise: str) -> ToolCall:
    function = raw.get("function") if isinstance(raw, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRequest(f"{at} is not a call of a function with a name", param=at)
    arguments = function.get("arguments") or {}
    if not isinstance(arguments, dict):
        raise BadRequest(f"{at}.function.arguments is not an object", param=f"{at}.function.arguments")
    return ToolCall(call=str(raw.get("id") or otherwise), name=function["name"], arguments=_json(arguments).decode())


def _text(raw: dict[str, Any], name: str, at: str) -> str:
    value = raw.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    raise BadRequest(f"{at}.{name} is not text", param=f"{at}.{name}")


def read_images(raw: Any, at: str) -> list[Image]:
    """Base64 as data: URLs; what the picture is, its first bytes say."""
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise BadRequest(f"{at} is not a list", param=at)
    out = []
    for i, data in enumerate(raw):
        kind = next((k for start, k in _KINDS.items() if isinstance(data, str) and data.startswith(start)), None)
        if kind is None or not _BASE64.issuperset(data):
            raise BadRequest(
                f"{at}[{i}] is not the base64 of a PNG, JPEG, WebP, GIF or BMP picture", param=f"{at}[{i}]"
            )
        out.append(Image(url=f"data:image/{kind};base64,{data}"))
    return out


def read_tools(raw: Sequence[Any]) -> list[Tool]:
    """Raises BadRequest for what is not a function."""
    tools = []
    for i, tool in enumerate(raw):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            raise BadRequest(f"tools[{i}] is not a function", param=f"tools[{i}]")
        try:
            tools.append(msgspec.convert(function, Tool))
        except msgspec.ValidationError as error:
            raise BadRequest(f"tools[{i}].function: {error}", param=f"tools[{i}]") from None
    return tools


# What we send a host


def write_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Our messages as Ollama's. Raises BadRequest for content that Ollama has no word for."""
    out: list[dict[str, Any]] = []
    names: dict[str, str] = {}  # of tools, by the call's id
    for i, message in enumerate(messages):
        at = f"messages[{i}]"
        others: list[Content] = []
        for content in message.content:
            if isinstance(content, ToolResult):
                result: dict[str, Any] = {"role": "tool", "content": content.text, "tool_call_id": content.call}
                name = content.name or names.get(content.call)
                if name is not None:
                    result["tool_name"] = name
                if content.images:
                    result["images"] = [_picture(image, at) for image in content.images]
                out.append(result)
            else:
                others.append(content)
                if isinstance(content, ToolCall):
                    names[content.call] = content.name
        if others or not message.content:
            out.append(_written(message, others, at))
    return out


def _written(message: Message, contents: list[Content], at: str) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role, "content": message.text}
    thoughts = [c.text for c in contents if isinstance(c, Thought) and c.text]
    images = [_picture(c, at) for c in contents if isinstance(c, Image)]
    calls = [
        {"id": c.call, "function": {"name": c.name, "arguments": _arguments(c, at)}}
        for c in contents
        if isinstance(c, ToolCall)
    ]
    if any(not isinstance(c, Text | Thought | Image | ToolCall) for c in contents):
        raise _unsaid(at, "Ollama takes no audio and no files; send text or images")
    if thoughts:
        body["thinking"] = "".join(thoughts)
    if images:
        body["images"] = images
    if calls:
        body["tool_calls"] = calls
    return body


def _arguments(call: ToolCall, at: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest(
            f"{at}: the arguments of the call of {call.name[:60]!r} are not a JSON object, which Ollama asks for",
            param=at,
        ) from None


def _picture(image: Image, at: str) -> str:
    head, _, data = image.url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise _unsaid(at, "Ollama takes images as data, and this server fetches none; send a data: URL in base64")
    return data


def write_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    out = []
    for tool in tools:
        function: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            function["description"] = tool.description
        function["parameters"] = tool.parameters or {"type": "object", "properties": {}}
        out.append({"type": "function", "function": function})
    return out


def _unsaid(at: str, message: str) -> BadRequest:
    return BadRequest(f"{at}: {message}", code="unsupported_value", param=at)
