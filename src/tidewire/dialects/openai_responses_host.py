"""OpenAI Responses, the side that faces hosts: what is asked. `openai_responses_answer` reads what is answered.

What the client said in fields of Responses goes to the host under the same names; fields of Chat Completions that Responses has too
are translated, others are left out. A thought is handed back where the host has signed it (encrypted_content), else left out: only the
host itself can read it then. Stop strings and token limits are kept by the stages of this server too, so Responses' lack of stop is no loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tidewire.core.ports import ModelInfo, Question
from tidewire.core.request import (
    Audio,
    Content,
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
from tidewire.dialects.body import unsupported
from tidewire.dialects.openai_models import read_models
from tidewire.dialects.openai_responses_answer import ResponsesDecoder

_json: Final = msgspec.json.Encoder().encode

ENCRYPTED: Final = "reasoning.encrypted_content"
LOGPROBS: Final = "message.output_text.logprobs"

# What a Responses client may have said beyond what a Request holds, kept in the stream's record under the same names.
_RECORDED: Final = (
    "include",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "reasoning",
    "store",
    "text",
    "truncation",
    "user",
)
# Fields of Chat Completions that mean the same in Responses.
_SHARED: Final = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)


class ResponsesHost:
    """`core.ports.Speaker`, and what `providers.background` needs. background: every answer is asked for in the background."""

    listing = "/models"

    def __init__(self, *, background: bool = False) -> None:
        self._background = background

    def models(self, body: bytes) -> list[ModelInfo]:
        return read_models(body)

    def decoder(self, request: Request) -> ResponsesDecoder:
        return ResponsesDecoder()

    def ask(self, request: Request, model: str) -> Question:
        if request.n != 1:
            raise unsupported(f"n is {request.n}; Responses gives one answer a request: send n requests", "n")
        body = _options(request)
        body |= {"model": model, "stream": True}
        body.pop("background", None)
        if self.background(request):
            if body.get("store") is False:
                raise unsupported(
                    "an answer in the background is stored by the host: leave store out, or background", "store"
                )
            body |= {"background": True, "store": True}
        messages = request.messages
        if messages and messages[0].role == "system" and all(isinstance(c, Text) for c in messages[0].content):
            body["instructions"] = messages[0].text
            messages = messages[1:]
        body["input"] = write_items(messages)
        limits = {"max_output_tokens": request.max_tokens, "temperature": request.temperature, "top_p": request.top_p}
        body |= {name: value for name, value in limits.items() if value is not None}
        loose = (
            None if request.dialect == "openai_responses" else False
        )  # Responses alone is strict unless told otherwise
        tools = [*(_tool(tool, loose) for tool in request.tools), *(body.pop("tools", None) or ())]
        if tools:
            body["tools"] = tools
        if request.tool_choice is not None:
            body["tool_choice"] = _choice(request.tool_choice)
        if request.response_format is not None:
            body["text"] = {**(body.get("text") or {}), "format": _format(request.response_format)}
        if request.thinking is not None:
            # A client of Chat Completions has never read a thought, and OpenAI shows summaries to verified organisations only.
            show = request.thinking.show and request.dialect != "openai_chat"
            body["reasoning"] = _reasoning(request.thinking, show=show) | (body.get("reasoning") or {})
        _include(body, request)
        return Question(path="/responses", body=_json(body))

    # The background

    def background(self, request: Request) -> bool:
        """Whether the answer is to go on at the host without a connection."""
        asked = request.options_for("openai_responses").get("background") or (
            request.dialect == "openai_responses" and request.record.get("background")
        )
        return self._background or asked is True

    def rest(self, response: str, after: int) -> str:
        """The path of the events behind number `after`."""
        return f"/responses/{_id(response)}?stream=true&starting_after={after}"

    def stop(self, response: str) -> str:
        """The path that a POST to ends an answer in the background."""
        return f"/responses/{_id(response)}/cancel"


def _id(response: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.~") else f"%{ord(c) & 255:02X}" for c in response)


def _options(request: Request) -> dict[str, Any]:
    """What the client said beside what a Request holds, in the words of Responses."""
    if request.dialect == "openai_responses":
        said = {name: request.record[name] for name in _RECORDED if name in request.record}
        return said | {k: v for k, v in request.options.items() if k != "verbosity"}  # which stands in text as well
    if request.dialect in ("openai_chat", "ui_messages"):
        options = {k: v for k, v in request.options.items() if k in _SHARED}
        if isinstance(verbosity := request.options.get("verbosity"), str):
            options["text"] = {"verbosity": verbosity}
        return options
    return dict(request.options_for("openai_responses"))


def _include(body: dict[str, Any], request: Request) -> None:
    include = list(body.get("include") or [])
    if body.get("store") is False and ENCRYPTED not in include:
        include.append(ENCRYPTED)  # nothing else could be handed back with the next question
    if request.logprobs is not None:
        if LOGPROBS not in include:
            include.append(LOGPROBS)
        if request.logprobs:
            body["top_logprobs"] = request.logprobs
    if include:
        body["include"] = include


def _reasoning(thinking: Thinking, *, show: bool) -> dict[str, Any]:
    """Responses knows words for how much is thought, and no tokens: a budget becomes the nearest word."""
    effort = thinking.effort
    if effort is None and thinking.budget is not None:
        steps = ((0, "none"), (2048, "low"), (16384, "medium"))
        effort = next((word for most, word in steps if thinking.budget <= most), "high")
    out: dict[str, Any] = {} if effort is None else {"effort": effort}
    if show and effort != "none":
        out["summary"] = "auto"
    return out


# Input


def write_items(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as input items. Raises BadRequest for content that Responses has no word for."""
    return [item for i, message in enumerate(messages) for item in _items(message, f"messages[{i}]")]


def _items(message: Message, at: str) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    said: list[dict[str, Any]] = []  # of the message item that is being filled

    def flush() -> None:
        if said:
            out.append(
                {"type": "message", "role": "user" if message.role == "tool" else message.role, "content": [*said]}
            )
            said.clear()

    for content in message.content:
        if isinstance(content, ToolCall):
            flush()
            call = {"call_id": content.call, "name": content.name, "arguments": content.arguments}
            out.append({"type": "function_call", **call})
        elif isinstance(content, ToolResult):
            flush()
            out.append({"type": "function_call_output", "call_id": content.call, "output": _output(content)})
        elif isinstance(content, Thought):
            flush()
            if content.signature:
                summary = [{"type": "summary_text", "text": content.text}] if content.text else []
                out.append({"type": "reasoning", "summary": summary, "encrypted_content": content.signature})
        elif isinstance(content, Image) and message.role == "assistant":
            flush()
            out.append(_drawn(content, len(out), at))
        else:
            said.append(_content(content, at, spoken=message.role == "assistant"))
    flush()
    return out


def _content(content: Content, at: str, *, spoken: bool) -> dict[str, Any]:
    if isinstance(content, Text):
        return {"type": "output_text" if spoken else "input_text", "text": content.text}
    if isinstance(content, Image):
        return {"type": "input_image", "image_url": content.url, "detail": content.detail or "auto"}
    if isinstance(content, File):
        return _file(content, at)
    what = "audio" if isinstance(content, Audio) else "this content"
    raise unsupported(f"{at} holds {what}, which Responses does not take; send text, images or files", f"{at}.content")


def _file(file: File, at: str) -> dict[str, Any]:
    if file.id is not None:
        return {"type": "input_file", "file_id": file.id}
    if file.url is None:
        raise unsupported(f"{at} holds a file without an address, data or id", f"{at}.content")
    if file.url.startswith("data:"):
        return {"type": "input_file", "filename": file.name or "file", "file_data": file.url}
    return {"type": "input_file", "file_url": file.url}


def _drawn(image: Image, n: int, at: str) -> dict[str, Any]:
    """An image of an earlier answer."""
    head, comma, data = image.url.partition(";base64,")
    if not comma or not head.startswith("data:image/"):
        raise unsupported(f"{at} holds an image of the assistant that is no data: URL; send its bytes", f"{at}.content")
    return {"type": "image_generation_call", "id": f"ig_{n}", "status": "completed", "result": data}


def _output(result: ToolResult) -> str | list[dict[str, Any]]:
    if not result.images:
        return result.text
    text = [{"type": "input_text", "text": result.text}] if result.text else []
    return [*text, *(_content(image, "", spoken=False) for image in result.images)]


# Tools and form: from the shapes of Chat Completions


def _tool(tool: Tool, loose: bool | None) -> dict[str, Any]:  # noqa: FBT001 - what strict is where nobody said
    out: dict[str, Any] = {
        "type": "function",
        "name": tool.name,
        "strict": loose if tool.strict is None else tool.strict,
    }
    if tool.description is not None:
        out["description"] = tool.description
    out["parameters"] = tool.parameters if tool.parameters is not None else {"type": "object", "properties": {}}
    return out


def _choice(choice: Any) -> Any:
    if isinstance(choice, str):
        return choice
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function" and isinstance(choice.get("function"), dict):
        return {"type": "function", "name": choice["function"].get("name")}
    if kind == "allowed_tools" and isinstance(given := choice.get("allowed_tools"), dict):
        tools = [_choice(tool) for tool in given.get("tools") or ()]
        return {"type": "allowed_tools", "mode": given.get("mode", "auto"), "tools": tools}
    raise unsupported("tool_choice may be auto, none, required, a function or allowed_tools", "tool_choice")


def _format(given: dict[str, Any]) -> dict[str, Any]:
    if given.get("type") == "json_schema" and isinstance(given.get("json_schema"), dict):
        return {"name": "answer", **given["json_schema"], "type": "json_schema"}
    if given.get("type") in ("text", "json_object"):
        return {"type": given["type"]}
    raise unsupported("response_format.type may be text, json_object or json_schema", "response_format")
