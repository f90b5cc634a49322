"""What a stream said, as the messages that it adds to a conversation. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tidewire.core import events as ev
from tidewire.core.events import Closed, Delta, Edit, Entry, Event, PartStarted, Signature
from tidewire.core.request import Content, Message, Text, Thought, ToolCall, ToolResult


class Said:
    """A log as messages: edits are made in it, a refusal is text like any other. closed: the last event, once it was fed."""

    def __init__(self) -> None:
        self.closed: Closed | None = None
        self._parts: dict[int, PartStarted] = {}
        self._texts: dict[int, list[str]] = {}
        self._signatures: dict[int, Signature] = {}

    def feed(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            self._take(entry.event)

    def _take(self, event: Event) -> None:
        match event:
            case Delta(part=part, text=text):
                self._texts[part].append(text)
            case PartStarted(part=part):
                self._parts[part] = event
                self._texts[part] = []
            case Edit(part=part):
                ev.edit(self._texts[part], event)
            case Signature(part=part):
                self._signatures[part] = event
            case Closed():
                self.closed = event
            case _:
                pass

    @property
    def open(self) -> set[str]:
        """Calls without a result in the log itself, which those of a server's own tools have."""
        calls = {p.call or "" for p in self._parts.values() if p.kind == "tool_call"}
        return calls - {p.call for p in self._parts.values() if p.kind == "tool_result"}

    def messages(self) -> list[Message]:
        out: list[Message] = []
        for number, part in self._parts.items():
            content = self._content(part, "".join(self._texts[number]), self._signatures.get(number))
            if content is None:
                continue
            role = "tool" if isinstance(content, ToolResult) else "assistant"
            if not out or out[-1].role != role:
                out.append(Message(role=role, content=[]))  # type: ignore[arg-type]
            out[-1].content.append(content)
        return out

    @staticmethod
    def _content(part: PartStarted, text: str, signature: Signature | None) -> Content | None:
        proof = signature.value if signature is not None else None
        if part.kind == "thinking":
            return Thought(text=text, signature=proof, redacted=signature is not None and signature.redacted)
        if part.kind in ("tool_call", "server_call"):
            return ToolCall(call=part.call or "", name=part.name or "", arguments=text, signature=proof)
        if part.kind == "tool_result":
            return ToolResult(call=part.call or "", text=text, failed=part.failed, name=part.name)
        return Text(text) if part.kind in ("text", "refusal") and text else None
