"""The body of `POST /v1/responses` becomes a Request. Field names and shapes as in the official SDK's response_create_params."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from tidewire.core import ids
from tidewire.core.errors import BadRequest
from tidewire.core.request import (
    CONTINUE,
    Content,
    DisconnectPolicy,
    Image,
    Message,
    Request,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from tidewire.dialects import body, policy

KEPT_INPUT: Final = 256 * 1024  # bytes of input items that a stream's meta keeps for GET …/input_items

_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


class Body(msgspec.Struct):
    """What is understood. Every field but model and input may be null or left out."""

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    stream: bool | None = None
    background: bool | None = None
    store: bool | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_tool_calls: int | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    metadata: Annotated[dict[str, Annotated[str, msgspec.Meta(max_length=512)]], msgspec.Meta(max_length=16)] | None = (
        None
    )
    include: list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    top_logprobs: int | None = None
    user: str | None = None
    stream_options: dict[str, Any] | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    time_limit: Annotated[float, msgspec.Meta(gt=0)] | None = None


_FIELDS: Final = frozenset(Body.__struct_fields__)


def parse(raw: bytes, headers: dict[str, str], on_disconnect: DisconnectPolicy) -> tuple[Request, bool]:
    """The request, and whether a stream is wanted. Raises BadRequest, its param naming the field at fault."""
    fields, plain = body.read(raw, Body)
    _refuse(fields)
    messages: list[Message] = []
    if fields.instructions:
        messages.append(Message("system", [Text(fields.instructions)]))
    items = _items(fields.input)
    for i, item in enumerate(items):
        _add(messages, item, f"input[{i}]")
    tools = [_tool(t, f"tools[{i}]") for i, t in enumerate(fields.tools or [])]
    background = fields.background is True
    request = Request(
        model=fields.model,
        messages=messages,
        dialect="openai_responses",
        stream=ids.new("resp"),
        tools=tools,
        tool_choice=_choice(fields.tool_choice),
        max_tokens=fields.max_output_tokens,
        temperature=fields.temperature,
        top_p=fields.top_p,
        response_format=_format(fields.text),
        time_limit=fields.time_limit,
        on_disconnect=policy.asked(headers, CONTINUE if background else on_disconnect),
        options=_options(plain, fields),
        record=_record(fields, items),
    )
    return request, fields.stream is True


def _refuse(fields: Body) -> None:
    """What would change the answer and cannot be done here is refused, not passed over."""
    for name in ("previous_response_id", "conversation", "prompt"):
        if getattr(fields, name) is not None:
            raise BadRequest(
                f"{name} is not supported here yet; send the earlier items themselves in input",
                code="unsupported_parameter",
                param=name,
            )
    if fields.top_logprobs:
        raise BadRequest(
            f"top_logprobs is {fields.top_logprobs}; log probabilities are not offered here: leave it out",
            code="unsupported_parameter",
            param="top_logprobs",
        )
    if fields.background and fields.store is False:
        raise BadRequest("background needs store: leave store out, or set it to true", param="store")


# Input items


def _items(given: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    if not isinstance(given, str):
        if not given:
            raise BadRequest("input is an empty list; it needs at least one item", param="input")
        return given
    return [{"type": "message", "role": "user", "content": given}]


def _add(messages: list[Message], item: dict[str, Any], at: str) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        role = _ROLES.get(_text(item, "role", at))
        if role is None:
            raise BadRequest(f"{at}.role may be user, assistant, system or developer", param=f"{at}.role")
        messages.append(Message(role, _contents(item.get("content"), f"{at}.content")))
    elif kind == "function_call":
        call = ToolCall(_text(item, "call_id", at), _text(item, "name", at), _text(item, "arguments", at))
        _join(messages, call)
    elif kind == "function_call_output":
        messages.append(
            Message("tool", [ToolResult(_text(item, "call_id", at), _output(item.get("output"), f"{at}.output"))])
        )
    elif kind != "reasoning":  # an earlier thought is no input to another host
        raise BadRequest(
            f"{at}.type is not supported here; it may be message, function_call, function_call_output or reasoning",
            code="unsupported_value",
            param=f"{at}.type",
        )


def _join(messages: list[Message], call: ToolCall) -> None:
    """Calls of one turn belong in one assistant message: hosts demand the results right behind it."""
    if messages and messages[-1].role == "assistant":
        last = messages.pop()
        messages.append(Message("assistant", [*last.content, call]))
    else:
        messages.append(Message("assistant", [call]))


def _contents(given: Any, at: str) -> list[Content]:
    if isinstance(given, str):
        return [Text(given)]
    if not isinstance(given, list):
        raise BadRequest(f"{at} must be a text or a list of content parts", param=at)
    return [_content(part, f"{at}[{i}]") for i, part in enumerate(given)]


def _content(part: Any, at: str) -> Content:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in ("input_text", "output_text", "text"):
        return Text(_text(part, "text", at))
    if kind == "refusal":
        return Text(_text(part, "refusal", at))
    if kind == "input_image":
        if not isinstance(part.get("image_url"), str):
            raise BadRequest(
                f"{at} needs an image_url; files uploaded elsewhere cannot be read here", param=f"{at}.image_url"
            )
        detail = part.get("detail")
        return Image(part["image_url"], detail if isinstance(detail, str) else None)
    raise BadRequest(
        f"{at}.type is not supported here; it may be input_text, output_text, refusal or input_image",
        code="unsupported_value",
        param=f"{at}.type",
    )


def _output(given: Any, at: str) -> str:
    """A tool's result: a text, or parts of which only texts can be handed to a model."""
    if isinstance(given, str):
        return given
    parts = _contents(given, at)
    if not all(isinstance(p, Text) for p in parts):
        raise BadRequest(f"{at} may hold texts only", code="unsupported_value", param=at)
    return "".join(p.text for p in parts if isinstance(p, Text))


def _text(item: dict[str, Any], name: str, at: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{at}.{name} must be a text", param=f"{at}.{name}")
    return value


# Tools and format: from the shapes of Responses to those of Chat Completions, which the hosts speak


def _tool(given: dict[str, Any], at: str) -> Tool:
    if given.get("type") != "function":
        raise BadRequest(
            f"{at}.type is not supported here; only function tools are",
            code="unsupported_value",
            param=f"{at}.type",
        )
    try:
        return msgspec.convert(given | {"name": _text(given, "name", at)}, Tool)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{at}: {error}", param=at) from None


def _choice(given: str | dict[str, Any] | None) -> Any:
    if isinstance(given, str) and given not in ("auto", "none", "required"):
        raise BadRequest("tool_choice may be auto, none, required or a function", param="tool_choice")
    if not isinstance(given, dict):
        return given
    if given.get("type") != "function":
        raise BadRequest(
            "tool_choice.type is not supported here; only function is",
            code="unsupported_value",
            param="tool_choice.type",
        )
    return {"type": "function", "function": {"name": _text(given, "name", "tool_choice")}}


def _format(text: dict[str, Any] | None) -> dict[str, Any] | None:
    given = (text or {}).get("format")
    if given is None:
        return None
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return {"type": "json_object"}
    if kind == "json_schema":
        rest = {k: v for k, v in given.items() if k != "type"}
        _text(rest, "name", "text.format")
        return {"type": "json_schema", "json_schema": rest}
    raise BadRequest("text.format.type may be text, json_object or json_schema", param="text.format.type")


def _options(plain: dict[str, Any], fields: Body) -> dict[str, Any]:
    """What only the host understands: fields unknown here, and those that Chat Completions names otherwise."""
    moved = {
        "reasoning_effort": (fields.reasoning or {}).get("effort"),
        "verbosity": (fields.text or {}).get("verbosity"),
        "parallel_tool_calls": fields.parallel_tool_calls,
        "user": fields.user,
    }
    return body.rest(plain, _FIELDS) | {k: v for k, v in moved.items() if v is not None}


_ECHOED: Final = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "reasoning",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_p",
    "truncation",
    "user",
)  # what a response object repeats of its request


def _record(fields: Body, items: list[dict[str, Any]]) -> dict[str, Any]:
    """What the response object repeats, and the input items, unless store is false or they are over KEPT_INPUT."""
    record: dict[str, Any] = {k: v for k in _ECHOED if (v := getattr(fields, k)) is not None}
    if fields.background:
        record["background"] = True
    size = len(msgspec.json.encode(items))
    if fields.store is False:
        record["input_kept"] = "not kept, because store is false"
    elif size > KEPT_INPUT:
        record["input_kept"] = f"not kept: {size} bytes, where at most {KEPT_INPUT} are"
    else:
        record["input"] = items
    return record
