"""The body of `POST /v1/responses` becomes a Request. Field names and shapes as in the official SDK's response_create_params."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from tidewire.core import ids
from tidewire.core.errors import BadRequest
from tidewire.core.ports import Meta
from tidewire.core.request import (
    CONTINUE,
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
from tidewire.dialects.openai_messages import signature_in
from tidewire.dialects.openai_responses_object import CALLED, Growing
from tidewire.dialects.server_calls import Turns

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
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None
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
    items = _items(fields.input)
    messages = read_items(items)
    if fields.instructions:
        messages.insert(0, Message("system", [Text(fields.instructions)]))
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
        logprobs=_logprobs(fields),
        thinking=_thinking(fields.reasoning),
        time_limit=fields.time_limit,
        on_disconnect=policy.asked(headers, CONTINUE if background else on_disconnect),
        options=_options(plain, fields),
        record=_record(fields, items),
    )
    return request, fields.stream is True


def _refuse(fields: Body) -> None:
    """What would change the answer and cannot be done here is refused, not passed over."""
    for name in ("conversation", "prompt"):
        if getattr(fields, name) is not None:
            raise BadRequest(
                f"{name} is not supported here; go on with previous_response_id, or send the items themselves in input",
                code="unsupported_parameter",
                param=name,
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


def read_items(items: list[dict[str, Any]], at: str = "input") -> list[Message]:
    """Input items as messages; what an assistant thinks, says and calls in one turn is one message."""
    turns = Turns()
    for i, item in enumerate(items):
        _add(turns, item, f"{at}[{i}]")
    return turns.messages


def _add(turns: Turns, item: dict[str, Any], at: str) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        role = _ROLES.get(_text(item, "role", at))
        if role is None:
            raise BadRequest(f"{at}.role may be user, assistant, system or developer", param=f"{at}.role")
        contents = _contents(item.get("content"), f"{at}.content")
        if role == "assistant" and (_thinks(turns) or turns.waits):
            turns.join(*contents)
        else:
            turns.add(Message(role, contents))
    elif kind == "function_call":
        call, name, arguments = (_text(item, field, at) for field in ("call_id", "name", "arguments"))
        turns.join(ToolCall(call, name, arguments, signature=signature_in(item.get("extra_content"))))
    elif kind == "function_call_output":
        turns.add(Message("tool", [_result(item, at)]))
    elif kind == "mcp_call":
        call, name, arguments = (_text(item, field, at) for field in ("id", "name", "arguments"))
        call = call.removeprefix(CALLED)
        if (ran := _ran(item, call, name)) is not None:
            turns.join(ToolCall(call, name, arguments, signature=signature_in(item.get("extra_content"))))
            turns.add(Message("tool", [ran]))
    elif kind == "reasoning":
        if (thought := _thought(item)) is not None:
            if _thinks(turns) or turns.waits:
                turns.join(thought)
            else:
                turns.add(Message("assistant", [thought]))
    elif kind == "image_generation_call":
        if isinstance(item.get("result"), str):
            turns.join(Image(f"data:image/png;base64,{item['result']}"))
    else:
        raise BadRequest(
            f"{at}.type is not supported here; it may be message, function_call, function_call_output, mcp_call, "
            "reasoning or image_generation_call",
            code="unsupported_value",
            param=f"{at}.type",
        )


def _thinks(turns: Turns) -> bool:
    """Whether the last message is a thought to which nothing was said yet."""
    last = turns.messages[-1] if turns.messages else None
    return last is not None and last.role == "assistant" and all(isinstance(c, Thought) for c in last.content)


def _thought(item: dict[str, Any]) -> Thought | None:
    """What was thought, shown or sealed; None where an item holds neither."""
    parts = [p for field in ("content", "summary") if isinstance(item.get(field), list) for p in item[field]]
    text = "\n\n".join(p["text"] for p in parts if isinstance(p, dict) and isinstance(p.get("text"), str))
    proof = item.get("encrypted_content")
    if not isinstance(proof, str) or not proof:
        return Thought(text) if text else None
    return Thought(text, proof, redacted=not text)


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
                f"{at} needs an image_url; images uploaded elsewhere cannot be read here", param=f"{at}.image_url"
            )
        detail = part.get("detail")
        return Image(part["image_url"], detail if isinstance(detail, str) else None)
    if kind == "input_file":
        return _file(part, at)
    raise BadRequest(
        f"{at}.type is not supported here; it may be input_text, output_text, refusal, input_image or input_file",
        code="unsupported_value",
        param=f"{at}.type",
    )


def _file(part: dict[str, Any], at: str) -> File:
    name, data = part.get("filename"), part.get("file_data")
    name = name if isinstance(name, str) else None
    if isinstance(data, str):  # OpenAI takes bare base64 too, which is a PDF then
        return File(url=data if data.startswith("data:") else f"data:application/pdf;base64,{data}", name=name)
    for field in ("file_url", "file_id"):
        if isinstance(value := part.get(field), str):
            return File(url=value, name=name) if field == "file_url" else File(id=value, name=name)
    raise BadRequest(f"{at} needs file_data, file_url or file_id", param=f"{at}.file_data")


def _result(item: dict[str, Any], at: str) -> ToolResult:
    """A tool's result: a text, or parts of which texts and images can be handed to a model."""
    call, given = _text(item, "call_id", at), item.get("output")
    if isinstance(given, str):
        return ToolResult(call, given)
    parts = _contents(given, f"{at}.output")
    if not all(isinstance(p, Text | Image) for p in parts):
        raise BadRequest(f"{at}.output may hold texts and images only", code="unsupported_value", param=f"{at}.output")
    text = "".join(p.text for p in parts if isinstance(p, Text))
    return ToolResult(call, text, images=[p for p in parts if isinstance(p, Image)])


def _ran(item: dict[str, Any], call: str, name: str) -> ToolResult | None:
    """What a call of the server's own came to; None where it was cut off, for hosts want a result for each call."""
    output, error = item.get("output"), item.get("error")
    if error is None:
        return ToolResult(call, output, name=name) if isinstance(output, str) else None
    told = error if isinstance(error, dict) else {"message": error}
    parts = told.get("content")
    texts = [p.get("text") for p in parts if isinstance(p, dict)] if isinstance(parts, list) else [told.get("message")]
    said = "".join(text for text in texts if isinstance(text, str))
    return ToolResult(call, said or "the tool failed", failed=True, name=name)


def _text(item: dict[str, Any], name: str, at: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{at}.{name} must be a text", param=f"{at}.{name}")
    return value


# Earlier turns


def turn(meta: Meta, response: Growing) -> list[dict[str, Any]]:
    """What was asked and answered in a response that is over. Raises BadRequest where it goes on, or its input was not kept."""
    why = None
    if response.closed is None:
        why = "is still being answered; wait for its end, or cancel it"
    elif "input" not in meta.record:
        kept = meta.record.get("input_kept", "not kept, because it is no response of this protocol")
        why = f"cannot be gone on from: its input was {kept}; send the items themselves in input"
    if why is not None:
        raise BadRequest(f"response {meta.stream} {why}", code="unsupported_value", param="previous_response_id")
    output = response.document()["output"]
    # a call that was cut off has no result, and hosts want one for each; of the server's own, read_items sees to it
    whole = [i for i in output if i["type"] != "function_call" or i["status"] == "completed"]
    return [*meta.record["input"], *whole]


def go_on(request: Request, items: list[dict[str, Any]]) -> None:
    """Put earlier items before what is asked now, behind the instructions of this request."""
    at = 1 if request.record.get("instructions") else 0
    request.messages[at:at] = read_items(items, "previous_response_id")


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


def _logprobs(fields: Body) -> int | None:
    if fields.top_logprobs is not None:
        return fields.top_logprobs
    return 0 if "message.output_text.logprobs" in (fields.include or ()) else None


def _thinking(reasoning: dict[str, Any] | None) -> Thinking | None:
    """A client reads thoughts where it asks for a summary of them, which few hosts make: the thoughts themselves count as one."""
    if not reasoning:
        return None
    effort = reasoning.get("effort")
    if effort is not None and not isinstance(effort, str):
        raise BadRequest("reasoning.effort must be a text", param="reasoning.effort")
    return Thinking(effort=effort, show=bool(reasoning.get("summary") or reasoning.get("generate_summary")))


def _options(plain: dict[str, Any], fields: Body) -> dict[str, Any]:
    """What only the host understands: fields unknown here, and those that Chat Completions names otherwise."""
    moved = {
        "verbosity": (fields.text or {}).get("verbosity"),
        "parallel_tool_calls": fields.parallel_tool_calls,
        "user": fields.user,
    }
    return body.rest(plain, _FIELDS) | {k: v for k, v in moved.items() if v is not None}


_ECHOED: Final = (
    "include",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "reasoning",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
)  # what a response object repeats of its request; include says whether log probabilities are wanted


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
