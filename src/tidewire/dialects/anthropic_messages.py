"""A request in the words of Anthropic's Messages API, for every host that speaks it, and the words that both sides share.

Source: the Messages reference, its pages on thinking, structured outputs, PDF and tool use, and the types of the official Python SDK.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from tidewire.core.errors import BadRequest
from tidewire.core.events import Reason
from tidewire.core.request import Content, File, Image, Message, Request, Text, Thought, Tool, ToolCall, ToolResult
from tidewire.dialects.body import unsupported

MAX_TOKENS: Final = 32_000  # the host wants a limit: the largest that every model since Claude 4 takes
LEAST_BUDGET: Final = 1024  # tokens, "Extended thinking"
BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_000, "max": 32_000}
EFFORTS: Final = {"minimal": "low"}  # the host's lowest is low
ADAPTIVE: Final = (4, 6)  # from this generation on a model decides itself how long it thinks, led by an effort
UNBUDGETED: Final = (4, 7)  # from this one on it takes no budget at all
MIDWAY: Final = (4, 8)  # from this one on a system message may stand behind a user's
UNREADABLE: Final = (
    "INVALID_JSON"  # the key that "Fine-grained tool streaming" gives to arguments that are no JSON object
)

REASONS: Final[dict[str, Reason]] = {
    "end_turn": "stop",
    "pause_turn": "stop",  # of tools that the host runs itself, which nobody here asks for
    "stop_sequence": "stop_string",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

# Options that are no fields of the host's body: `anthropic_request` writes them, `write_body` and `betas` read them.
_OURS: Final = frozenset({"anthropic_beta", "citations", "parallel_tool_calls"})
_GENERATION: Final = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2})(?!\d))?(?!\d)")


def generation(model: str) -> tuple[int, int] | None:
    """(4, 6) of claude-opus-4-6, (3, 5) of claude-3-5-haiku-20241022, whatever stands around it; None for other names."""
    found = _GENERATION.search(model.lower())
    return (int(found[1]), int(found[2] or 0)) if found else None


def write_body(request: Request, model: str) -> dict[str, Any]:
    """The request without `model` and `stream`. Raises BadRequest for what the protocol cannot say.

    Left out, for they change no answer: names of speakers, the detail of images, thoughts that no host has signed, blank text.
    """
    _refuse(request)
    options = request.options_for("anthropic")
    age = generation(model)
    system, messages = _turns(request, age, cited=bool(options.get("citations")))
    if not messages:
        raise BadRequest("there is no message beside the system's; send one of the user", param="messages")
    body: dict[str, Any] = {k: v for k, v in options.items() if k not in _OURS} | {"messages": messages}
    if system:
        body["system"] = system
    output = dict(options.get("output_config") or {})
    limit = request.max_tokens
    if request.thinking is not None and request.dialect != "anthropic":  # whose own words are among the options
        thinking, effort = write_thinking(request, model, age)
        if thinking is not None:
            body["thinking"] = thinking
        if effort is not None:
            output["effort"] = effort
        if limit is None and thinking is not None:
            limit = MAX_TOKENS + thinking.get("budget_tokens", 0)
    body["max_tokens"] = limit if limit is not None else MAX_TOKENS
    if request.response_format is not None and (schema := _format(request.response_format)) is not None:
        output["format"] = schema
    if output:
        body["output_config"] = output
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if stop := [s for s in request.stop if s.strip()]:  # the host refuses blank ones; the stage keeps those by itself
        body["stop_sequences"] = stop
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        if (choice := _choice(request)) is not None:
            body["tool_choice"] = choice
    return body


def betas(request: Request) -> list[str]:
    """What goes into the header anthropic-beta: what the client's had, and what its request needs."""
    given = request.options_for("anthropic").get("anthropic_beta")
    out = [str(name) for name in given] if isinstance(given, list) else []
    stored = any(isinstance(c, File) and c.id for m in request.messages for c in m.content)
    return [*out, *(["files-api-2025-04-14"] if stored and "files-api-2025-04-14" not in out else [])]


def _refuse(request: Request) -> None:
    if request.n != 1:
        raise unsupported(f"n is {request.n}; this host gives one answer a request: send n requests", "n")
    if request.logprobs is not None:
        raise unsupported("this host gives no log probabilities; leave logprobs out", "logprobs")
    if request.temperature is not None and request.temperature > 1:
        raise unsupported(f"temperature is {request.temperature:g}; this host takes 0 to 1", "temperature")


# Thinking, the form of the answer, tools


def write_thinking(
    request: Request, model: str, age: tuple[int, int] | None
) -> tuple[dict[str, Any] | None, str | None]:
    """What goes into `thinking`, and the effort. A model of no known generation is asked as the newest are."""
    asked = request.thinking
    assert asked is not None
    if asked.effort == "none" or asked.budget == 0:
        return {"type": "disabled"}, None
    if asked.budget is not None and asked.budget > 0:  # below 0 is Gemini's "as you like"
        if asked.budget < LEAST_BUDGET:
            raise unsupported(f"the thinking budget is {asked.budget} tokens; this host's least is 1024", "thinking")
        if age is not None and age >= UNBUDGETED:
            raise unsupported(f"{model} takes no thinking budget; send an effort in its place", "thinking")
        return {"type": "enabled", "budget_tokens": asked.budget}, None
    if age is None or age >= ADAPTIVE:
        effort = EFFORTS.get(asked.effort, asked.effort) if asked.effort is not None else None
        return {"type": "adaptive", "display": "summarized" if asked.show else "omitted"}, effort
    budget = BUDGETS.get(asked.effort or "medium", BUDGETS["medium"])
    if request.max_tokens is not None:
        budget = min(budget, request.max_tokens // 2)  # thoughts count towards the limit: leave half of it for words
    return ({"type": "enabled", "budget_tokens": budget} if budget >= LEAST_BUDGET else None), None


def _format(asked: dict[str, Any]) -> dict[str, Any] | None:
    kind = asked.get("type")
    if kind in (None, "text"):
        return None
    inner = asked.get("json_schema")
    schema = inner.get("schema") if kind == "json_schema" and isinstance(inner, dict) else None
    if not isinstance(schema, dict):
        raise unsupported(
            f"response_format is {str(kind)[:40]!r} without a schema; this host writes JSON to a schema only: send json_schema",
            "response_format",
        )
    return {"type": "json_schema", "schema": schema}


def _tool(tool: Tool) -> dict[str, Any]:
    out: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters or {"type": "object", "properties": {}}}
    if tool.description is not None:
        out["description"] = tool.description
    if tool.strict is not None:
        out["strict"] = tool.strict
    return out


def _choice(request: Request) -> dict[str, Any] | None:
    asked = request.tool_choice
    single = request.options.get("parallel_tool_calls") is False  # the same word in every dialect
    function = asked.get("function") if isinstance(asked, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    if asked is None or asked == "auto":
        choice = {"type": "auto"} if single or asked else None
    elif asked == "required":
        choice = {"type": "any"}
    elif asked == "none":
        return {"type": "none"}
    elif isinstance(name, str):
        choice = {"type": "tool", "name": name}
    else:
        raise unsupported("tool_choice may be auto, required, none or the name of one function here", "tool_choice")
    return choice | {"disable_parallel_tool_use": True} if choice is not None and single else choice


# Messages


def _turns(
    request: Request, age: tuple[int, int] | None, *, cited: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The system's blocks, and the messages: what is a user's or a tool's in one piece, results first, as the host demands.

    A later message of the system stays in its place where the model takes it there, else it goes to the system's other words.
    """
    system: list[dict[str, Any]] = []
    out: list[dict[str, Any]] = []
    for n, message in enumerate(request.messages):
        at = f"messages[{n}]"
        blocks = [b for c in message.content if (b := _block(c, message, at, cited=cited)) is not None]
        if not blocks:
            continue
        if message.role == "system":
            midway = bool(out) and out[-1]["role"] == "user" and age is not None and age >= MIDWAY
            if midway:
                out.append({"role": "system", "content": blocks})
            else:
                system += blocks
        elif message.role == "assistant":
            out.append({"role": "assistant", "content": blocks})
        elif out and out[-1]["role"] == "user":
            out[-1]["content"] = _results_first(out[-1]["content"] + blocks)
        else:
            out.append({"role": "user", "content": _results_first(blocks)})
    return system, out


def _results_first(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(blocks, key=lambda block: block["type"] != "tool_result")


def _block(content: Content, message: Message, at: str, *, cited: bool) -> dict[str, Any] | None:
    """None for what there is nothing to say of."""
    if isinstance(content, Text):
        return {"type": "text", "text": content.text} if content.text.strip() else None
    if message.role in ("user", "tool"):
        if isinstance(content, Image):
            return _image(content, at)
        if isinstance(content, File):
            return _document(content, at, cited=cited)
        if isinstance(content, ToolResult):
            return _result(content, at)
    if message.role == "assistant":
        if isinstance(content, ToolCall):
            called = {"type": "tool_use", "id": _id(content.call), "name": content.name}
            return called | {"input": tool_input(content.arguments)}
        if isinstance(content, Thought):
            if content.redacted:
                return {"type": "redacted_thinking", "data": content.signature or ""}
            if not content.signature:
                return None  # the host refuses thoughts that it cannot prove to be its own
            return {"type": "thinking", "thinking": content.text, "signature": content.signature}
    kind = type(content).__name__.lower()
    raise unsupported(f"{at} holds {kind} content of role {message.role}; this host takes none there", at)


def _result(result: ToolResult, at: str) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "tool_result", "tool_use_id": _id(result.call)}
    text = [{"type": "text", "text": result.text}] if result.text.strip() else []
    if result.images:
        out["content"] = [*text, *(_image(image, at) for image in result.images)]
    elif text:
        out["content"] = result.text
    if result.failed:
        out["is_error"] = True
    return out


def _image(image: Image, at: str) -> dict[str, Any]:
    if image.url.startswith(("http://", "https://")):
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    media, data = _data(image.url, at)
    if not media.startswith("image/"):
        raise unsupported(f"{at} holds an image of type {media[:40]!r}; send jpeg, png, gif or webp", at)
    return {"type": "image", "source": {"type": "base64", "media_type": media, "data": data}}


def _document(file: File, at: str, *, cited: bool) -> dict[str, Any]:
    source: dict[str, Any]
    if file.id is not None:
        source = {"type": "file", "file_id": file.id}
    elif file.url is not None and file.url.startswith(("http://", "https://")):
        source = {"type": "url", "url": file.url}
    else:
        media, data = _data(file.url or "", at)
        if media == "application/pdf":
            source = {"type": "base64", "media_type": media, "data": data}
        elif media.startswith("text/"):
            source = {"type": "text", "media_type": "text/plain", "data": plain_text(data, at)}
        else:
            raise unsupported(f"{at} holds a file of type {media[:40]!r}; this host reads PDF and text", at)
    out: dict[str, Any] = {"type": "document", "source": source}
    if file.name:
        out["title"] = file.name
    return out | {"citations": {"enabled": True}} if cited else out


def _data(url: str, at: str) -> tuple[str, str]:
    """The media type and the base64 of a data: URL (RFC 2397)."""
    head, comma, data = url.partition(",")
    if not head.startswith("data:") or not comma:
        raise unsupported(f"{at} holds content at an address that is neither http(s): nor data:", at)
    media, *parameters = head[5:].split(";")
    if "base64" not in parameters:
        data = binascii.b2a_base64(unquote_to_bytes(data), newline=False).decode()
    return media or "text/plain", data


def plain_text(data: str, at: str) -> str:
    """The text of a document given as base64."""
    try:
        return b64decode(data, validate=True).decode()
    except ValueError:  # of either
        raise BadRequest(f"{at} holds a text file that is not UTF-8 in base64", param=at) from None


def _id(call: str) -> str:
    """The host takes letters, digits, _ and - in the id of a call; other hosts have given others."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", call)


def tool_input(arguments: str) -> dict[str, Any]:
    """A call's arguments as the object that the protocol wants, even where the model wrote none."""
    if not arguments.strip():
        return {}
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {UNREADABLE: arguments}
