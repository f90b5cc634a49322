"""The body that `useChat` posts becomes a Request. Shapes as in the npm package `ai`, src/ui/ui-messages.ts (version 7)."""

from __future__ import annotations

from typing import Annotated, Any, Final

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

_ANSWERED: Final = ("output-available", "output-error", "output-denied")


class _Tool(msgspec.Struct, rename="camel"):
    name: str
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class _Message(msgspec.Struct):
    role: str
    parts: list[dict[str, Any]]
    id: str = ""


class _Body(msgspec.Struct, rename="camel"):
    """id: the chat's. Beside what the transport sends, an app may add these to its `body`; the rest is the app's own."""

    messages: list[_Message]
    id: str | None = None
    model: str | None = None
    system: str | None = None
    tools: list[_Tool] = []
    tool_choice: Any = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    stop: list[str] = []
    response_format: dict[str, Any] | None = None
    thinking: Thinking | None = None


def parse(raw: bytes, headers: dict[str, str], model: str | None, on_disconnect: DisconnectPolicy) -> Request:
    """The request; model is taken where the body names none. Raises BadRequest."""
    given, _ = body.read(raw, _Body)
    name = given.model or model
    if name is None:
        raise BadRequest("no model is named: put model into the body of the transport", param="model")
    if given.id is not None and not ids.valid(given.id):
        raise BadRequest("id, the chat's, may have 1 to 64 of the characters A-Z a-z 0-9 _ -", param="id")
    if not given.messages:
        raise BadRequest("messages is empty; send at least one message", param="messages")
    messages = [Message("system", [Text(given.system)])] if given.system else []
    for i, message in enumerate(given.messages):
        messages.extend(_messages(message, f"messages[{i}]"))
    request = Request(
        model=name,
        messages=messages,
        dialect="ui_messages",
        chat=given.id,
        tools=[Tool(t.name, t.description, t.input_schema) for t in given.tools],
        tool_choice=given.tool_choice,
        max_tokens=given.max_output_tokens,
        temperature=given.temperature,
        top_p=given.top_p,
        stop=given.stop,
        response_format=given.response_format,
        thinking=given.thinking,
        on_disconnect=policy.asked(headers, on_disconnect),
    )
    last = given.messages[-1]
    if last.role == "assistant" and last.id:
        request.record["message"] = last.id  # the answer goes on in that message, tool results in hand
    if title := request.question.strip():
        request.record["title"] = title[:80]
    return request


def _messages(message: _Message, at: str) -> list[Message]:
    if message.role == "assistant":
        return _turn(message.parts, at)
    if message.role not in ("user", "system"):
        raise BadRequest(f"{at}.role may be user, assistant or system", param=f"{at}.role")
    content = [c for i, part in enumerate(message.parts) for c in _said(part, f"{at}.parts[{i}]")]
    return [Message("user" if message.role == "user" else "system", content)]


def _said(part: dict[str, Any], at: str) -> list[Content]:
    """What a part says to a model; an app's own parts (data-…) say nothing to it."""
    kind = part.get("type")
    if kind == "text":
        return [Text(_text(part, "text", at))]
    if kind == "file":
        return [_file(part, at)]
    return []


def _file(part: dict[str, Any], at: str) -> Content:
    """An image, a sound (whose bytes must be in the address itself), or any other document."""
    family, _, kind = _text(part, "mediaType", at).partition("/")
    url = _text(part, "url", at)
    if family == "image":
        return Image(url)
    if family == "audio":
        head, comma, data = url.partition(",")
        if not (comma and head.startswith("data:") and head.endswith(";base64")):
            raise BadRequest(
                f"{at}: a sound is taken as a base64 data: URL; send its bytes",
                code="unsupported_value",
                param=f"{at}.url",
            )
        return Audio(data, kind.partition(";")[0].removeprefix("x-").replace("mpeg", "mp3"))
    name = part.get("filename")
    return File(url=url, name=name if isinstance(name, str) else None)


def _turn(parts: list[dict[str, Any]], at: str) -> list[Message]:
    """An assistant message: for each step, what was said and called, then the results.

    Sources and the model's own files stay out: they are no input to a host. So do calls without a result, which hosts refuse.
    """
    out: list[Message] = []
    said: list[Content] = []
    results: list[Content] = []

    def flush() -> None:
        if said:
            out.append(Message("assistant", said.copy()))
        out.extend(Message("tool", [r]) for r in results)
        said.clear()
        results.clear()

    for i, part in enumerate(parts):
        where = f"{at}.parts[{i}]"
        kind = part.get("type")
        if kind == "text":
            if results:
                flush()
            said.append(Text(_text(part, "text", where)))
            if proof := _proof(part, "providerMetadata").get("signature"):
                said.append(Thought(signature=proof))
        elif kind == "reasoning":
            if results:
                flush()
            proof = _proof(part, "providerMetadata")
            thought = Thought(_text(part, "text", where), proof.get("signature"), bool(proof.get("redacted")))
            if thought.text or thought.signature:
                said.append(thought)
        elif kind == "step-start":
            flush()
        elif kind == "steering-message":
            flush()
            steering = part.get("parts") or []
            if not isinstance(steering, list) or not all(isinstance(p, dict) for p in steering):
                raise BadRequest(f"{where}.parts is not a list of objects", param=f"{where}.parts")
            out.extend(_messages(_Message("user", steering), where))
        elif _is_call(kind) and part.get("state") in _ANSWERED:
            call, name = _text(part, "toolCallId", where), _tool_name(part, where)
            proof = _proof(part, "callProviderMetadata")
            said.append(ToolCall(call, name, _json(part.get("input", {})), proof.get("signature")))
            results.append(_result(call, name, part))
    flush()
    return out


def _is_call(kind: Any) -> bool:
    return isinstance(kind, str) and (kind == "dynamic-tool" or kind.startswith("tool-"))


def _tool_name(part: dict[str, Any], at: str) -> str:
    kind: str = part["type"]
    return _text(part, "toolName", at) if kind == "dynamic-tool" else kind.removeprefix("tool-")


def _proof(part: dict[str, Any], field: str) -> dict[str, Any]:
    """What the host signed this part with, as our chunks said it: {signature, redacted}."""
    given = part.get(field)
    proof = given.get("tidewire") if isinstance(given, dict) else None
    if not isinstance(proof, dict) or not isinstance(proof.get("signature"), str):
        return {}
    return proof


def _result(call: str, name: str, part: dict[str, Any]) -> ToolResult:
    if part["state"] == "output-error":
        return ToolResult(call, str(part.get("errorText", "the tool failed")), failed=True, name=name)
    if part["state"] == "output-denied":
        return ToolResult(call, "the user did not allow this call", failed=True, name=name)
    output = part.get("output")
    if isinstance(output, dict) and output.get("type") == "content" and isinstance(output.get("value"), list):
        texts, images = _contents(output["value"])
        if len(texts) + len(images) == len(output["value"]):
            return ToolResult(call, "".join(texts), images=images, name=name)
    return ToolResult(call, output if isinstance(output, str) else _json(output), name=name)


def _contents(value: list[Any]) -> tuple[list[str], list[Image]]:
    """Texts and images of a tool's output of several parts, as the SDK's ToolResultOutput has them."""
    texts: list[str] = []
    images: list[Image] = []
    for item in value:
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "text" and isinstance(item.get("text"), str):
            texts.append(item["text"])
        elif kind == "image-url" and isinstance(item.get("url"), str):
            images.append(Image(item["url"]))
        elif kind in ("media", "image-data") and isinstance(item.get("data"), str):
            media = item.get("mediaType")
            if isinstance(media, str) and media.startswith("image/"):
                images.append(Image(f"data:{media};base64,{item['data']}"))
    return texts, images


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _text(part: dict[str, Any], name: str, at: str) -> str:
    value = part.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{at}.{name} must be a text", param=f"{at}.{name}")
    return value
