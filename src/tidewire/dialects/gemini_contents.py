"""Gemini's contents become our messages.

Source: the reference of the Gemini API, "Content", "Part", "FunctionCall", "FunctionResponse".
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.core.request import Audio, Content, File, Image, Message, Role, Text, Thought, ToolCall, ToolResult
from tidewire.dialects.base64_words import standard, unwrapped
from tidewire.dialects.gemini_schema import fields, listed

_json = msgspec.json.encode

ROLES: Final[dict[str, Role]] = {"user": "user", "model": "assistant", "function": "tool", "system": "system"}
_IGNORED: Final = frozenset(
    {"mediaResolution", "partMetadata", "thought", "thoughtSignature"}
)  # hints, and what is read apart


def read_contents(raw: Any) -> list[Message]:
    """`contents` as our messages. Raises BadRequest naming the part at fault."""
    contents = listed(raw, "contents")
    if not contents:
        raise BadRequest("contents is empty; send at least one content", param="contents")
    calls = _Calls()
    out: list[Message] = []
    for i, one in enumerate(contents):
        at = f"contents[{i}]"
        given = fields(one, at)
        named = given.get("role", "user")
        role = ROLES.get(named) if isinstance(named, str) else None
        if role is None:
            raise BadRequest(f"{at}.role is {str(named)[:40]!r}; it may be user or model", param=f"{at}.role")
        content = [c for j, p in enumerate(_parts(given, at)) for c in _part(p, f"{at}.parts[{j}]", calls)]
        results: list[Content] = [c for c in content if isinstance(c, ToolResult)]
        others: list[Content] = [c for c in content if not isinstance(c, ToolResult)]
        if results:
            out.append(Message(role="tool", content=results))
        if others or not results:
            _say("user" if role == "tool" else role, others, out)
    return out


def _say(role: Role, content: list[Content], out: list[Message]) -> None:
    """A message of its own; but what a model said in a row is one, for Google's chats keep a streamed answer chunk by chunk."""
    if role != "assistant" or not out or out[-1].role != role:
        out.append(Message(role=role, content=content))
        return
    said = out[-1].content
    for one in content:
        match said[-1:], one:
            case [Text(text=before)], Text(text=more):
                said[-1] = Text(before + more)
            case [Thought(text=before, signature=None)], Thought(text=more, signature=proof) if more:
                said[-1] = Thought(before + more, proof)
            case _:
                said.append(one)


def read_system(raw: Any) -> list[Message]:
    """`systemInstruction`: a content, or text alone."""
    if isinstance(raw, str):
        return [Message(role="system", content=[Text(raw)])]
    at = "systemInstruction"
    texts: list[Content] = []
    for j, part in enumerate(_parts(fields(raw, at), at)):
        said = fields(part, f"{at}.parts[{j}]").get("text")
        if not isinstance(said, str):
            raise BadRequest(f"{at}.parts[{j}] is not text", param=f"{at}.parts[{j}]")
        texts.append(Text(said))
    return [Message(role="system", content=texts)] if texts else []


def _parts(given: dict[str, Any], at: str) -> list[Any]:
    parts = given.get("parts", [])
    return [parts] if isinstance(parts, dict) else listed(parts, f"{at}.parts")


class _Calls:
    """Gives ids to calls and results that have none: a result without one belongs to the first open call of its function."""

    def __init__(self) -> None:
        self._count = 0
        self._open: list[tuple[str, str]] = []

    def called(self, name: str, given: Any) -> str:
        call = given if isinstance(given, str) and given else f"call_{self._count}"
        self._count += 1
        self._open.append((name, call))
        return call

    def answered(self, name: str, given: Any) -> str:
        for i, (function, call) in enumerate(self._open):
            if call == given or (not given and function == name):
                del self._open[i]
                return call
        return given if isinstance(given, str) and given else name


def _part(raw: Any, at: str, calls: _Calls) -> list[Content]:
    given = fields(raw, at)
    signature = given.get("thoughtSignature")
    proof = unwrapped(signature) if isinstance(signature, str) and signature else None
    kinds = [name for name in given if name not in _IGNORED]
    match kinds:
        case ["text"] if isinstance(text := given["text"], str):
            if given.get("thought") is True:
                return [Thought(text=text, signature=proof)]
            said: list[Content] = [Text(text)] if text or proof is None else []
            return said if proof is None else [*said, Thought(signature=proof)]
        case [] if proof is not None:
            return [Thought(signature=proof)]
        case ["functionCall"]:
            return [_call(fields(given["functionCall"], f"{at}.functionCall"), f"{at}.functionCall", calls, proof)]
        case ["functionResponse"]:
            return [_result(fields(given["functionResponse"], f"{at}.functionResponse"), at, calls)]
        case ["inlineData"]:
            return [_inline(fields(given["inlineData"], f"{at}.inlineData"), f"{at}.inlineData")]
        case ["fileData"]:
            return [_linked(fields(given["fileData"], f"{at}.fileData"), f"{at}.fileData")]
    raise BadRequest(
        f"{at} holds {', '.join(sorted(kinds))[:80] or 'nothing'}; it may be one of text, inlineData, fileData, functionCall and "
        "functionResponse",
        param=at,
        code="unsupported_value",
    )


def _call(given: dict[str, Any], at: str, calls: _Calls, proof: str | None) -> ToolCall:
    name, args = given.get("name"), given.get("args", {})
    if not isinstance(name, str) or not name or not isinstance(args, dict):
        raise BadRequest(f"{at} needs a name, and args that are an object", param=at)
    return ToolCall(
        call=calls.called(name, given.get("id")), name=name, arguments=_json(args).decode(), signature=proof
    )


def _result(given: dict[str, Any], at: str, calls: _Calls) -> ToolResult:
    name, response = given.get("name"), given.get("response", {})
    if not isinstance(name, str) or not name or not isinstance(response, dict):
        at = f"{at}.functionResponse"
        raise BadRequest(f"{at} needs a name, and a response that is an object", param=at)
    failed = list(response) == ["error"]
    alone = next(iter(response.values())) if list(response) in (["output"], ["error"], ["result"]) else response
    images = []
    for j, part in enumerate(listed(given.get("parts", []), f"{at}.functionResponse.parts")):
        where = f"{at}.functionResponse.parts[{j}]"
        inside = fields(part, where)
        one = (
            _inline(fields(inside["inlineData"], where), where)
            if "inlineData" in inside
            else _linked(fields(inside.get("fileData"), where), where)
        )
        if not isinstance(one, Image):
            raise BadRequest(f"{where} is no image; a tool's result may hold images", param=where)
        images.append(one)
    return ToolResult(
        call=calls.answered(name, given.get("id")),
        text=alone if isinstance(alone, str) else _json(alone).decode(),
        failed=failed,
        images=images,
        name=name,
    )


def _inline(given: dict[str, Any], at: str) -> Content:
    mime, data = given.get("mimeType"), given.get("data")
    if not isinstance(mime, str) or not isinstance(data, str):
        raise BadRequest(f"{at} needs a mimeType, and data in base64", param=at)
    data = standard(data)
    if mime.startswith("audio/"):
        return Audio(data=data, format=mime.removeprefix("audio/"))
    url = f"data:{mime};base64,{data}"
    if mime.startswith("image/"):
        return Image(url=url)
    name = given.get("displayName")
    return File(url=url, name=name if isinstance(name, str) else None)


def _linked(given: dict[str, Any], at: str) -> Content:
    url, mime, name = given.get("fileUri"), given.get("mimeType"), given.get("displayName")
    if not isinstance(url, str) or not url:
        raise BadRequest(f"{at} has no fileUri", param=f"{at}.fileUri")
    if isinstance(mime, str) and mime.startswith("image/"):
        return Image(url=url)
    return File(url=url, name=name if isinstance(name, str) else None)
