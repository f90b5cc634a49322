"""The Response object and its items, grown from a log's prefix. Shapes as in the official SDK's types.

Ids of items are made of the stream's id and the part's number, so that every reader sees the same.
"""

from __future__ import annotations

from typing import Any, Final

from tidewire.core.errors import NotFound
from tidewire.core.events import Citation, Closed, ErrorInfo, PartStarted, Usage
from tidewire.core.ports import Meta
from tidewire.dialects.openai_messages import signed
from tidewire.dialects.pictures import extension
from tidewire.dialects.server_calls import LABEL

_PREFIX: Final = {
    "text": "msg",
    "refusal": "msg",
    "thinking": "rs",
    "tool_call": "fc",
    "server_call": "mcp",
    "tool_result": "fco",
    "image": "ig",
}  # of the kinds of parts that Responses has an item for
CALLED: Final = "mcp_"  # before the id of a call that the server runs: its item has no call_id beside its own id
_CUT: Final = {"length": "max_output_tokens", "size_limit": "max_output_tokens", "content_filter": "content_filter"}


_DRAWN: Final = {"incomplete": "failed"}  # an image has no word for incomplete


def tail(stream: str) -> str:
    return stream.removeprefix("resp_")


class Item:
    """One output item. texts: what has come of it; index: its place in the output; picture: base64, the last that came.

    proof: what the host wants back with the item: encrypted_content of a thought, extra_content of a call (as in Chat Completions).
    output, failed: of a call that the server runs.
    """

    __slots__ = (
        "annotations",
        "call",
        "done",
        "failed",
        "id",
        "index",
        "kind",
        "logprobs",
        "media",
        "name",
        "output",
        "partials",
        "picture",
        "proof",
        "texts",
    )

    def __init__(self, stream: str, part: PartStarted, index: int) -> None:
        self.id = f"{_PREFIX[part.kind]}_{tail(stream)}_{part.part}"
        self.kind = part.kind
        self.name = part.name or ""
        self.call = part.call or f"call_{tail(stream)}_{part.part}"
        if part.kind == "server_call":
            self.id = f"{CALLED}{self.call}"
        self.index = index
        self.media = part.media
        self.texts: list[str] = []
        self.annotations: list[dict[str, Any]] = []
        self.logprobs: list[dict[str, Any]] = []
        self.picture: str | None = None
        self.partials = 0
        self.proof = ""
        self.output: list[str] = []
        self.failed = False
        self.done = False

    @property
    def text(self) -> str:
        if len(self.texts) > 1:
            self.texts = ["".join(self.texts)]
        return self.texts[0] if self.texts else ""

    def content(self, text: str) -> dict[str, Any]:
        """The content part of a message or a thought."""
        if self.kind == "thinking":
            return {"type": "reasoning_text", "text": text}
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": text}
        annotations, logprobs = list(self.annotations), list(self.logprobs)
        return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": logprobs}

    def document(self, status: str) -> dict[str, Any]:
        """The item as it stands."""
        head = {"id": self.id, "status": status}
        content = [] if status == "in_progress" and not self.texts else [self.content(self.text)]
        if self.kind in ("text", "refusal"):
            return {**head, "type": "message", "role": "assistant", "content": content}
        if self.kind == "thinking":
            sealed = {"encrypted_content": self.proof} if self.proof else {}
            return {**head, "type": "reasoning", "summary": [], "content": content if self.texts else [], **sealed}
        if self.kind == "image":
            drawn = {"result": self.picture, "output_format": extension(self.media)}
            return {**head, "type": "image_generation_call", **drawn, "status": _DRAWN.get(status, status)}
        if self.kind == "tool_call":
            call = {"call_id": self.call, "name": self.name, "arguments": self.text}
            return {**head, "type": "function_call", **call, **(signed(self.proof) if self.proof else {})}
        if self.kind == "server_call":
            return {**head, "type": "mcp_call", **self._ran(status)}
        return {**head, "type": "function_call_output", "call_id": self.call, "output": self.text}

    def _ran(self, status: str) -> dict[str, Any]:
        """What a call of the server's own was asked, and came to."""
        told: dict[str, Any] = {"status": status, "output": None, "error": None}
        text = "".join(self.output)
        if status == "completed" and self.failed:
            failure = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": text}]}
            told |= {"status": "failed", "error": failure}
        elif status == "completed":
            told["output"] = text
        asked = {"name": self.name, "arguments": self.text, **(signed(self.proof) if self.proof else {})}
        return {"server_label": LABEL, **asked, "approval_request_id": None, **told}


class Growing:
    """A response as far as the log has come. `document()` is the Response object at that point."""

    def __init__(self, meta: Meta) -> None:
        self._meta = meta
        self.items: dict[int, Item] = {}  # by part, in order
        self.results: dict[int, Item] = {}  # by the part of the result: the call that it belongs to
        self._ours: dict[str | None, Item] = {}  # by call id: those that the server runs
        self.status = "queued" if meta.record.get("background") else "in_progress"
        self.usage: Usage | None = None
        self.closed: Closed | None = None

    def add(self, part: PartStarted) -> Item | None:
        """The item that the part becomes; None where Responses has none for it: audio, answers beside the first. What the server's
        own tools answer belongs to the item of the call.
        """
        if part.kind == "tool_result" and part.call in self._ours:
            call = self.results[part.part] = self._ours[part.call]
            call.failed = part.failed
            return None
        if part.kind not in _PREFIX or part.choice:
            return None
        item = self.items[part.part] = Item(self._meta.stream, part, len(self.items))
        if part.kind == "server_call":
            self._ours[part.call] = item
        return item

    def more(self, part: int, text: str) -> None:
        """Text of a part that is told at its end."""
        if (item := self.items.get(part)) is not None:
            item.texts.append(text)
        elif (call := self.results.get(part)) is not None:
            call.output.append(text)

    def cite(self, item: Item, event: Citation) -> dict[str, Any]:
        """The annotation that the citation becomes. Offsets count Unicode code points."""
        if event.uri is not None:
            note: dict[str, Any] = {
                "type": "url_citation",
                "url": event.uri,
                "title": event.title,
                "start_index": event.start,
                "end_index": event.end,
            }
        else:
            note = {"type": "file_citation", "file_id": event.source, "filename": event.title, "index": event.end}
        item.annotations.append(note)
        return note

    def close(self, event: Closed) -> None:
        self.closed = event
        self.status = event.status

    def document(self) -> dict[str, Any]:
        meta, record, closed = self._meta, self._meta.record, self.closed
        unfinished = "in_progress" if closed is None else "incomplete"
        return {
            "id": meta.stream,
            "object": "response",
            "created_at": meta.created // 1000,
            "completed_at": (meta.created + closed.at) // 1000 if closed and closed.status == "completed" else None,
            "status": self.status,
            "background": record.get("background", False),
            "error": _error(closed.error) if closed and closed.status == "failed" else None,
            "incomplete_details": _details(closed),
            "instructions": record.get("instructions"),
            "max_output_tokens": record.get("max_output_tokens"),
            "max_tool_calls": record.get("max_tool_calls"),
            "metadata": record.get("metadata", {}),
            "model": meta.model,
            "output": [i.document("completed" if i.done else unfinished) for i in self.items.values()],
            "parallel_tool_calls": record.get("parallel_tool_calls", True),
            "previous_response_id": record.get("previous_response_id"),
            "reasoning": record.get("reasoning", {"effort": None, "summary": None}),
            "store": record.get("store", True),
            "temperature": record.get("temperature"),
            "text": {"format": {"type": "text"}} | record.get("text", {}),
            "tool_choice": record.get("tool_choice", "auto"),
            "tools": record.get("tools", []),
            "top_logprobs": record.get("top_logprobs", 0),
            "top_p": record.get("top_p"),
            "truncation": record.get("truncation", "disabled"),
            "usage": self._usage(),
            "user": record.get("user"),
        }

    def _usage(self) -> dict[str, Any] | None:
        """Only at the end. The SDK's type has no room for "unknown": a figure that nobody gave is 0."""
        closed, usage = self.closed, self.usage
        if closed is None or (closed.input_tokens is None and closed.output_tokens is None):
            return None
        used, made = closed.input_tokens or 0, closed.output_tokens or 0
        cached = closed.cached_tokens if closed.cached_tokens is not None else usage and usage.cached
        written = closed.cache_write_tokens if closed.cache_write_tokens is not None else usage and usage.cache_write
        reasoning = closed.reasoning_tokens if closed.reasoning_tokens is not None else usage and usage.reasoning
        return {
            "input_tokens": used,
            "input_tokens_details": {"cached_tokens": cached or 0, "cache_write_tokens": written or 0},
            "output_tokens": made,
            "output_tokens_details": {"reasoning_tokens": reasoning or 0},
            "total_tokens": used + made,
        }


def _details(closed: Closed | None) -> dict[str, Any] | None:
    """Why it is incomplete. OpenAI has no word for a time limit: reason is null then, and detail says it."""
    if closed is None or closed.status != "incomplete":
        return None
    reason = _CUT.get(closed.reason)
    return {"reason": reason} if reason else {"reason": None, "detail": closed.reason}


def _error(info: ErrorInfo | None) -> dict[str, Any]:
    """Code is one of the SDK's fixed words; type is our own code, and status the one that an answer without a stream would have."""
    if info is None:
        return {"code": "server_error", "message": "the answer failed", "type": "internal_error"}
    code = "rate_limit_exceeded" if info.status == 429 else "invalid_prompt" if info.status < 429 else "server_error"
    return {"code": code, "message": info.message, "type": info.code, "param": info.param, "status": info.status}


# Input items


def input_items(meta: Meta, *, limit: int = 20, order: str = "desc", after: str | None = None) -> dict[str, Any]:
    """The page of input items that `GET …/input_items` answers. Raises NotFound where they were not kept."""
    if "input" not in meta.record:
        raise NotFound(f"the input items of this response were {meta.record.get('input_kept', 'not kept')}")
    items = [_input_item(meta.stream, i, item) for i, item in enumerate(meta.record["input"])]
    if order == "desc":
        items.reverse()
    if after is not None:
        places = [i for i, item in enumerate(items) if item["id"] == after]
        if not places:
            raise NotFound("after names no input item of this response", param="after")
        items = items[places[0] + 1 :]
    page = items[:limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else "",
        "last_id": page[-1]["id"] if page else "",
        "has_more": len(items) > limit,
    }


def _input_item(stream: str, i: int, item: dict[str, Any]) -> dict[str, Any]:
    kind = item.get("type", "message")
    named = item.get("id")
    out = {
        **item,
        "type": kind,
        "id": named if isinstance(named, str) else f"in_{tail(stream)}_{i}",
        "status": item.get("status", "completed") if kind == "mcp_call" else "completed",
    }
    if kind == "message":
        spoken = item["role"] == "assistant"
        content = item["content"] if isinstance(item["content"], list) else [{"type": "text", "text": item["content"]}]
        out["content"] = [_input_content(c, spoken=spoken) for c in content]
    elif kind == "reasoning":
        out.setdefault("summary", [])
    return out


def _input_content(part: dict[str, Any], *, spoken: bool) -> dict[str, Any]:
    if part["type"] in ("text", "input_text", "output_text"):
        if spoken:
            return {"type": "output_text", "text": part["text"], "annotations": part.get("annotations", [])}
        return {"type": "input_text", "text": part["text"]}
    return part | {"detail": part.get("detail") or "auto"} if part["type"] == "input_image" else part
