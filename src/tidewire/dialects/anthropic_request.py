"""The body of `POST /v1/messages` becomes a Request. Field names and shapes as in the Messages reference and the official SDK's types.

What only an Anthropic host understands goes there by `Request.options`: the fields that nobody here names, the client's own words on
thinking, and three that are no fields of the body: anthropic_beta (the header's names), citations, parallel_tool_calls.
"""

from __future__ import annotations

import binascii
from typing import Any, Final

import msgspec

from tidewire.core import ids
from tidewire.core.errors import BadRequest
from tidewire.core.request import (
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
from tidewire.dialects.body import unsupported
from tidewire.dialects.server_calls import turn

CHARACTERS: Final = 4  # of English text a token, by the hosts' own rule of thumb
IMAGE: Final = 1600  # tokens at most, of an image that the host need not shrink ("Vision")

MCP: Final = "mcp-client-"  # how the names of the beta begin, in which the protocol shows calls that its server ran

_json = msgspec.json.encode
_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


class Body(msgspec.Struct):
    model: str
    messages: list[Any]
    max_tokens: int | None = None
    system: str | list[Any] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    tools: list[Any] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    output_format: dict[str, Any] | None = None
    time_limit: float | None = None


_FIELDS: Final = frozenset(Body.__struct_fields__)


def parse(raw: bytes, headers: dict[str, str], on_disconnect: DisconnectPolicy) -> tuple[Request, bool]:
    """The request, and whether a stream is wanted. Raises BadRequest, its param naming the field at fault."""
    fields, plain = body.read(raw, Body)
    if fields.max_tokens is not None and fields.max_tokens < 1:
        raise BadRequest(f"max_tokens is {fields.max_tokens}; it must be at least 1", param="max_tokens")
    if fields.time_limit is not None and not fields.time_limit > 0:
        raise BadRequest(f"time_limit is {fields.time_limit:g} s; it must be more than 0", param="time_limit")
    if not fields.messages:
        raise BadRequest("messages is empty; send at least one message", param="messages")
    reading = _Reading()  # in the order of the prompt: the last mark for its cache counts
    tools = [reading.tool(tool, f"tools[{i}]") for i, tool in enumerate(fields.tools or [])]
    messages = [Message("system", reading.contents(fields.system, "system"))] if fields.system else []
    messages += [
        m for i, raw_message in enumerate(fields.messages) for m in reading.message(raw_message, f"messages[{i}]")
    ]
    stop = fields.stop_sequences or []
    request = Request(
        model=fields.model,
        messages=messages,
        dialect="anthropic",
        stream=ids.new("msg"),
        tools=tools,
        tool_choice=_choice(fields.tool_choice),
        max_tokens=fields.max_tokens,
        temperature=fields.temperature,
        top_p=fields.top_p,
        stop=stop,
        response_format=_format(fields),
        time_limit=fields.time_limit,
        on_disconnect=policy.asked(headers, on_disconnect),
        thinking=_thinking(fields),
        options=_options(plain, fields, reading, headers),
        record=_record(stop, headers),
    )
    return request, fields.stream is True


def estimate(request: Request) -> int:
    """Roughly how many tokens the prompt has: characters / 4, and 1600 an image. Documents other than text count nothing."""
    characters = images = 0
    for message in request.messages:
        for content in message.content:
            match content:
                case Text(text=text) | Thought(text=text):
                    characters += len(text)
                case ToolCall(name=name, arguments=arguments):
                    characters += len(name) + len(arguments)
                case ToolResult(text=text, images=shown):
                    characters += len(text)
                    images += len(shown)
                case Image():
                    images += 1
                case File(url=url) if url is not None and url.startswith("data:text/"):
                    characters += len(url) * 3 // 4
                case _:
                    pass
    characters += sum(len(_json(tool)) for tool in request.tools)
    return max(1, -(-characters // CHARACTERS)) + images * IMAGE


# Fields


def _choice(raw: dict[str, Any] | None) -> Any:
    if raw is None:
        return None
    kind, name = str(raw.get("type")), raw.get("name")
    if kind == "tool" and isinstance(name, str):
        return {"type": "function", "function": {"name": name}}
    if kind not in _CHOICES:
        raise BadRequest("tool_choice.type may be auto, any, none, or tool with a name", param="tool_choice")
    return _CHOICES[kind]


def _format(fields: Body) -> dict[str, Any] | None:
    """output_format is what the beta called output_config.format."""
    raw = (fields.output_config or {}).get("format") or fields.output_format
    if raw is None:
        return None
    schema = raw.get("schema") if isinstance(raw, dict) and raw.get("type") == "json_schema" else None
    if not isinstance(schema, dict):
        raise BadRequest(
            "output_config.format may be {type: json_schema, schema: {…}}",
            param="output_config.format",
            code="invalid_value",
        )
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def _thinking(fields: Body) -> Thinking | None:
    """For hosts of other protocols; an Anthropic host gets the client's own words."""
    effort = (fields.output_config or {}).get("effort")
    if effort is not None and not isinstance(effort, str):
        raise BadRequest(
            "output_config.effort is no text; it may be low, medium, high, xhigh or max", param="output_config"
        )
    raw = fields.thinking
    if raw is None:
        return Thinking(effort=effort) if effort is not None else None
    match raw.get("type"):
        case "enabled" if type(budget := raw.get("budget_tokens")) is int:
            return Thinking(effort=effort, budget=budget, show=raw.get("display") != "omitted")
        case "adaptive":
            return Thinking(effort=effort, show=raw.get("display") != "omitted")
        case "disabled" | "between_tools":
            return Thinking(effort="none")
        case _:
            raise BadRequest(
                "thinking.type may be adaptive, disabled, between_tools, or enabled with budget_tokens",
                param="thinking",
            )


def _options(plain: dict[str, Any], fields: Body, reading: _Reading, headers: dict[str, str]) -> dict[str, Any]:
    out = body.rest(plain, _FIELDS)
    if reading.cache is not None:
        out.setdefault("cache_control", reading.cache)
    if reading.cited:
        out["citations"] = True
    if (fields.tool_choice or {}).get("disable_parallel_tool_use"):
        out["parallel_tool_calls"] = False
    if fields.thinking is not None:
        out["thinking"] = fields.thinking
    if others := {k: v for k, v in (fields.output_config or {}).items() if k != "format"}:
        out["output_config"] = others
    if names := _betas(headers):
        out["anthropic_beta"] = names
    return out


def _record(stop: list[str], headers: dict[str, str]) -> dict[str, Any]:
    """What the answer's form depends on."""
    out: dict[str, Any] = {"stop": stop[0]} if len(stop) == 1 else {}
    return out | ({"mcp": True} if any(name.startswith(MCP) for name in _betas(headers)) else {})


def _betas(headers: dict[str, str]) -> list[str]:
    return [name.strip() for name in headers.get("anthropic-beta", "").split(",") if name.strip()]


# Messages


class _Reading:
    """Reads content blocks, and remembers what they say of the request as a whole.

    cache: the last mark for the prompt's cache, on whichever block. cited: whether an answer shall cite the documents, which the
    protocol wants of all of them or none. _ran: ids of calls that the server ran.
    """

    def __init__(self) -> None:
        self.cache: dict[str, Any] | None = None
        self.cited = False
        self._ran: set[str] = set()

    def message(self, raw: Any, at: str) -> list[Message]:
        """One message of theirs: the results of tools in it become a message of the tool, which comes first; but for those of the
        server's, which an assistant has behind their calls.
        """
        role = _ROLES.get(str(raw.get("role"))) if isinstance(raw, dict) else None
        if role is None:
            raise BadRequest(f"{at}.role may be user, assistant or system", param=f"{at}.role")
        contents = self.contents(raw.get("content"), f"{at}.content")
        if role == "assistant" and self._ran:
            return turn(contents, self._ran)
        results = [c for c in contents if isinstance(c, ToolResult)]
        others: list[Content] = [c for c in contents if not isinstance(c, ToolResult)]
        out = [Message("tool", [*results])] if results else []
        return out + ([Message(role, others)] if others or not results else [])

    def contents(self, raw: Any, at: str) -> list[Content]:
        if isinstance(raw, str):
            return [Text(raw)]
        if not isinstance(raw, list):
            raise BadRequest(f"{at} is neither text nor a list of blocks", param=at)
        return [self.block(block, f"{at}[{i}]") for i, block in enumerate(raw)]

    def block(self, raw: Any, at: str) -> Content:
        if not isinstance(raw, dict):
            raise BadRequest(f"{at} is not an object", param=at)
        self._mark(raw)
        match raw.get("type"):
            case "text":
                return Text(_text(raw, "text", at))
            case "image":
                return self._image(raw, at)
            case "document":
                return self._document(raw, at)
            case "thinking":
                return Thought(
                    _text(raw, "thinking", at), (raw.get("signature") and _text(raw, "signature", at)) or None
                )
            case "redacted_thinking":
                return Thought(signature=_text(raw, "data", at), redacted=True)
            case "tool_use" | "mcp_tool_use" as kind:
                given = raw.get("input")
                arguments = _json({} if given is None else given).decode()
                call = ToolCall(_text(raw, "id", at), _text(raw, "name", at), arguments)
                if kind == "mcp_tool_use":
                    self._ran.add(call.call)
                return call
            case "tool_result" | "mcp_tool_result" as kind:
                result = self._result(raw, at)
                if kind == "mcp_tool_result":
                    self._ran.add(result.call)
                return result
            case kind:
                raise unsupported(
                    f"{at}.type is {str(kind)[:40]!r}; it may be text, image, document, thinking, redacted_thinking, tool_use, "
                    "tool_result, mcp_tool_use or mcp_tool_result",
                    f"{at}.type",
                )

    def tool(self, raw: Any, at: str) -> Tool:
        if not isinstance(raw, dict):
            raise BadRequest(f"{at} is not an object", param=at)
        self._mark(raw)
        if raw.get("type") not in (None, "custom"):
            raise unsupported(
                f"{at} is {str(raw['type'])[:40]!r}, a tool that the host would run; here tools are run by their client",
                at,
            )
        if raw.get("defer_loading"):
            raise unsupported(f"{at}.defer_loading needs a tool search, which is not offered here: leave it out", at)
        schema = raw.get("input_schema")
        if not isinstance(schema, dict):
            raise BadRequest(f"{at}.input_schema is not a JSON schema", param=f"{at}.input_schema")
        description, strict = raw.get("description"), raw.get("strict")
        return Tool(
            name=_text(raw, "name", at),
            description=description if isinstance(description, str) else None,
            parameters=schema,
            strict=strict if isinstance(strict, bool) else None,
        )

    def _mark(self, raw: dict[str, Any]) -> None:
        mark = raw.get("cache_control")
        if isinstance(mark, dict):
            self.cache = mark

    def _image(self, raw: dict[str, Any], at: str) -> Image:
        source = _source(raw, at)
        match source.get("type"):
            case "base64":
                media, data = _text(source, "media_type", at), _text(source, "data", at)
                return Image(f"data:{media};base64,{data}")
            case "url":
                return Image(_text(source, "url", at))
            case kind:
                raise unsupported(f"{at}.source.type is {str(kind)[:40]!r}; of an image it may be base64 or url", at)

    def _document(self, raw: dict[str, Any], at: str) -> File:
        source = _source(raw, at)
        cited = raw.get("citations")
        if isinstance(cited, dict) and cited.get("enabled"):
            self.cited = True
        if raw.get("context"):
            raise unsupported(
                f"{at}.context is not taken here; say it in a text block before the document", f"{at}.context"
            )
        title = raw.get("title")
        name = title if isinstance(title, str) else None
        match source.get("type"):
            case "base64":
                media, data = _text(source, "media_type", at), _text(source, "data", at)
                return File(url=f"data:{media};base64,{data}", name=name)
            case "url":
                return File(url=_text(source, "url", at), name=name)
            case "text":
                data = binascii.b2a_base64(_text(source, "data", at).encode(), newline=False).decode()
                return File(url=f"data:text/plain;base64,{data}", name=name)
            case "file":
                return File(id=_text(source, "file_id", at), name=name)
            case kind:
                raise unsupported(
                    f"{at}.source.type is {str(kind)[:40]!r}; of a document it may be base64, url, text or file", at
                )

    def _result(self, raw: dict[str, Any], at: str) -> ToolResult:
        given = raw.get("content")
        contents = self.contents(given, f"{at}.content") if given is not None else []
        texts = [c.text for c in contents if isinstance(c, Text)]
        images = [c for c in contents if isinstance(c, Image)]
        if len(texts) + len(images) != len(contents):
            raise unsupported(f"{at}.content may hold text and images", f"{at}.content")
        failed = raw.get("is_error") is True
        return ToolResult(_text(raw, "tool_use_id", at), "\n".join(texts), failed=failed, images=images)


def _source(raw: dict[str, Any], at: str) -> dict[str, Any]:
    source = raw.get("source")
    if not isinstance(source, dict):
        raise BadRequest(f"{at}.source is not an object", param=f"{at}.source")
    return source


def _text(raw: dict[str, Any], name: str, at: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"{at}.{name} is not text", param=f"{at}.{name}")
    return value
