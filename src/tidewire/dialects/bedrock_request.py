"""The body of a Converse request becomes a request of ours.

Source: the Bedrock Runtime reference, "Converse", and the service model in botocore. Blobs are base64 in JSON.
"""

from __future__ import annotations

import binascii
from typing import Any, Final

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.core.request import (
    Audio,
    Content,
    DisconnectPolicy,
    File,
    Image,
    Message,
    Request,
    Role,
    Text,
    Thinking,
    Thought,
    Tool,
    ToolCall,
    ToolResult,
)
from tidewire.dialects import body, policy
from tidewire.dialects.base64_words import unwrapped
from tidewire.dialects.bedrock_messages import DOCUMENTS, IMAGES
from tidewire.dialects.body import unsupported

_json = msgspec.json.encode

ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}
_IMAGES: Final = {form: media for media, form in reversed(IMAGES.items())}
_DOCUMENTS: Final = {form: media for media, form in DOCUMENTS.items()}
_ELSEWHERE: Final = frozenset({"modelId", "promptVariables"})  # said by the address; of prompts that AWS keeps


class _Limits(msgspec.Struct):
    maxTokens: int | None = None  # noqa: N815 - Bedrock's names, here and below
    temperature: float | None = None
    topP: float | None = None  # noqa: N815
    stopSequences: list[str] | None = None  # noqa: N815


class _Body(msgspec.Struct):
    messages: list[dict[str, Any]] = []
    system: list[dict[str, Any]] | None = None
    inferenceConfig: _Limits | None = None  # noqa: N815
    toolConfig: dict[str, Any] | None = None  # noqa: N815
    outputConfig: dict[str, Any] | None = None  # noqa: N815
    additionalModelRequestFields: dict[str, Any] | None = None  # noqa: N815
    promptVariables: dict[str, Any] | None = None  # noqa: N815


KNOWN: Final = frozenset({"messages", "system", "inferenceConfig", "toolConfig", "outputConfig"}) | _ELSEWHERE


def parse(raw: bytes, headers: dict[str, str], model: str, default: DisconnectPolicy) -> Request:
    """Raises BadRequest naming the field at fault."""
    given, plain = body.read(raw, _Body)
    if given.promptVariables:
        raise unsupported("promptVariables belong to prompts that AWS keeps; send messages", "promptVariables")
    if not given.messages:
        raise BadRequest("messages is empty; send at least one message", param="messages")
    limits = given.inferenceConfig or _Limits()
    if limits.maxTokens is not None and limits.maxTokens < 1:
        raise BadRequest(
            f"the token limit is {limits.maxTokens}; it must be at least 1", param="inferenceConfig.maxTokens"
        )
    tools, choice = _tools(given.toolConfig or {})
    output = dict(given.outputConfig or {})
    form = output.pop("textFormat", None)
    system = [Message("system", [c for n, b in enumerate(given.system or ()) for c in _system(b, f"system[{n}]")])]
    return Request(
        model=model,
        messages=[
            *(m for m in system if m.content),
            *(_message(m, f"messages[{n}]") for n, m in enumerate(given.messages)),
        ],
        dialect="bedrock",
        tools=tools,
        tool_choice=choice,
        max_tokens=limits.maxTokens,
        temperature=limits.temperature,
        top_p=limits.topP,
        stop=limits.stopSequences or [],
        response_format=_format(form) if form is not None else None,
        thinking=_thinking(given.additionalModelRequestFields or {}, output),
        on_disconnect=policy.asked(headers, default),
        options=body.rest(plain, KNOWN) | ({"outputConfig": output} if output else {}),
    )


# Tools, the form of the answer, thinking


def _tools(config: dict[str, Any]) -> tuple[list[Tool], Any]:
    tools = []
    for n, tool in enumerate(_list(config, "tools", "toolConfig")):
        at = f"toolConfig.tools[{n}]"
        if "cachePoint" in tool:
            continue  # a hint
        spec = tool.get("toolSpec")
        if not isinstance(spec, dict):
            raise unsupported(f"{at} is no toolSpec; tools that AWS runs itself are not served here", at)
        schema = _object(spec, "inputSchema", f"{at}.toolSpec").get("json")
        try:
            tools.append(msgspec.convert(spec | {"parameters": schema}, Tool))
        except msgspec.ValidationError as error:
            raise BadRequest(f"{at}.toolSpec: {error}", param=at) from None
    choice = config.get("toolChoice")
    match choice:
        case None:
            return tools, None
        case {"auto": _}:
            return tools, "auto"
        case {"any": _}:
            return tools, "required"
        case {"tool": {"name": str(name)}}:
            return tools, {"type": "function", "function": {"name": name}}
        case _:
            raise BadRequest("toolConfig.toolChoice is none of auto, any and tool", param="toolConfig.toolChoice")


def _format(form: Any) -> dict[str, Any]:
    """outputConfig.textFormat in the words of Chat Completions."""
    match form:
        case {"type": "json_schema", "structure": {"jsonSchema": {"schema": str(text)} as named}}:
            try:
                schema = msgspec.json.decode(text, type=dict[str, Any])
            except (msgspec.DecodeError, RecursionError):
                raise BadRequest(
                    "outputConfig.textFormat holds a schema that is no JSON object", param="outputConfig.textFormat"
                ) from None
            inner = {"name": "answer"} | {k: v for k, v in named.items() if k in ("name", "description") and v}
            return {"type": "json_schema", "json_schema": inner | {"schema": schema}}
        case _:
            raise BadRequest("outputConfig.textFormat is no json_schema", param="outputConfig.textFormat")


def _thinking(fields: dict[str, Any], output: dict[str, Any]) -> Thinking | None:
    """How much to think, in the words of whichever vendor. They go on to Bedrock as they stand; this is for other hosts."""
    effort = output.get("effort") or fields.get("reasoning_effort")
    asked: Any = fields.get("thinking") or fields.get("reasoning_config")
    match asked:
        case {"type": "enabled", "budget_tokens": int(budget)}:
            return Thinking(budget=budget)
        case {"type": "disabled"}:
            return Thinking(effort="none")
        case {"type": "adaptive"}:
            named = effort if isinstance(effort, str) else None
            return Thinking(effort=named, show=asked.get("display") != "omitted")
    asked = fields.get("reasoningConfig")
    match asked:
        case {"type": "disabled"}:
            return Thinking(effort="none")
        case {"type": "enabled"}:
            effort = asked.get("maxReasoningEffort") or "medium"
    return Thinking(effort=effort) if isinstance(effort, str) else None


# Messages


def _message(raw: dict[str, Any], at: str) -> Message:
    named = raw.get("role")
    role = ROLES.get(named) if isinstance(named, str) else None
    if role is None:
        raise BadRequest(f"{at}.role is {str(named)[:40]!r}; it may be user or assistant", param=f"{at}.role")
    content = [c for n, block in enumerate(_list(raw, "content", at)) for c in _block(block, f"{at}.content[{n}]")]
    if content and all(isinstance(c, ToolResult) for c in content):
        role = "tool"
    return Message(role=role, content=content)


def _system(raw: dict[str, Any], at: str) -> list[Content]:
    if "text" in raw or "cachePoint" in raw:
        return _block(raw, at)
    raise unsupported(f"{at} is no text; the system says text here", at)


def _block(raw: dict[str, Any], at: str) -> list[Content]:
    """One block of content; none for a hint. Raises BadRequest for what has no word of ours."""
    match raw:
        case {"text": str(text)}:
            return [Text(text)]
        case {"cachePoint": _}:
            return []
        case {"image": dict(image)}:
            return [_image(image, f"{at}.image")]
        case {"document": dict(document)}:
            return [_document(document, f"{at}.document")]
        case {"audio": dict(audio)}:
            source = _object(audio, "source", f"{at}.audio")
            return [Audio(_text(source, "bytes", f"{at}.audio.source"), _text(audio, "format", f"{at}.audio"))]
        case {"toolUse": dict(use)}:
            arguments = _json(use.get("input") if use.get("input") is not None else {}).decode()
            return [ToolCall(_text(use, "toolUseId", at), _text(use, "name", at), arguments)]
        case {"toolResult": dict(result)}:
            return [_result(result, f"{at}.toolResult")]
        case {"reasoningContent": {"reasoningText": dict(thought)}}:
            signature = thought.get("signature")
            return [Thought(_text(thought, "text", at), signature if isinstance(signature, str) else None)]
        case {"reasoningContent": {"redactedContent": str(data)}}:
            return [Thought(signature=unwrapped(data), redacted=True)]
        case {"citationsContent": dict(cited)}:
            pieces = _list(cited, "content", f"{at}.citationsContent")
            return [Text("".join(_text(p, "text", f"{at}.citationsContent") for p in pieces))]
    kinds = ", ".join(str(name)[:40] for name in raw) or "nothing"
    raise unsupported(f"{at} holds {kinds}, which is not served here, or not in this shape", at)


def _image(raw: dict[str, Any], at: str) -> Image:
    form = _text(raw, "format", at)
    media = _IMAGES.get(form)
    if media is None:
        raise BadRequest(f"{at}.format is {form[:20]!r}; it may be {', '.join(_IMAGES)}", param=f"{at}.format")
    return Image(_address(_object(raw, "source", at), media, at))


def _document(raw: dict[str, Any], at: str) -> File:
    source = _object(raw, "source", at)
    name = raw.get("name")
    named = name if isinstance(name, str) else None
    texts = [source["text"]] if isinstance(source.get("text"), str) else None
    if "content" in source:
        texts = [_text(p, "text", f"{at}.source") for p in _list(source, "content", f"{at}.source")]
    if texts is not None:
        data = binascii.b2a_base64("\n".join(texts).encode(), newline=False).decode()
        return File(url=f"data:text/plain;base64,{data}", name=named)
    form = _text(raw, "format", at)
    media = _DOCUMENTS.get(form)
    if media is None:
        raise BadRequest(f"{at}.format is {form[:20]!r}; it may be {', '.join(_DOCUMENTS)}", param=f"{at}.format")
    return File(url=_address(source, media, at), name=named)


def _address(source: dict[str, Any], media: str, at: str) -> str:
    match source:
        case {"bytes": str(data)}:
            return f"data:{media};base64,{data}"
        case {"s3Location": {"uri": str(uri)}}:
            return uri
    raise BadRequest(f"{at}.source holds neither bytes nor s3Location", param=f"{at}.source")


def _result(raw: dict[str, Any], at: str) -> ToolResult:
    texts: list[str] = []
    images: list[Image] = []
    for n, piece in enumerate(_list(raw, "content", at)):
        match piece:
            case {"text": str(text)}:
                texts.append(text)
            case {"json": value}:
                texts.append(_json(value).decode())
            case {"image": dict(image)}:
                images.append(_image(image, f"{at}.content[{n}].image"))
            case _:
                raise unsupported(f"{at}.content may hold text, json and images here", f"{at}.content[{n}]")
    return ToolResult(_text(raw, "toolUseId", at), "\n".join(texts), failed=raw.get("status") == "error", images=images)


def _list(raw: dict[str, Any], name: str, at: str) -> list[dict[str, Any]]:
    value = raw.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise BadRequest(f"{at}.{name} is not a list of objects", param=f"{at}.{name}")
    return value


def _object(raw: dict[str, Any], name: str, at: str) -> dict[str, Any]:
    value = raw.get(name)
    if not isinstance(value, dict):
        raise BadRequest(f"{at}.{name} is not an object", param=f"{at}.{name}")
    return value


def _text(raw: dict[str, Any], name: str, at: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{at}.{name} is not text", param=f"{at}.{name}")
    return value
