"""Calls that the server ran itself, as clients send them back: in their places among the messages, where hosts take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tidewire.core.request import Content, Message, ToolCall, ToolResult

LABEL: Final = "tidewire"  # the server of tools that clients are told of: who runs them for us is no concern of theirs


def join(messages: list[Message], *contents: Content) -> None:
    """Add to what the assistant said last, where that is the end of the conversation, or `waits` for results of the client's own calls.

    Hosts demand the results of all calls of a message right behind it.
    """
    at = _behind(messages)
    if at and messages[at - 1].role == "assistant" and (at == len(messages) or waits(messages)):
        messages[at - 1] = Message("assistant", [*messages[at - 1].content, *contents])
    else:
        messages.append(Message("assistant", list(contents)))


def waits(messages: Sequence[Message]) -> bool:
    """Whether the results at the end are those of some of the calls before them only."""
    at = _behind(messages)
    if not 0 < at < len(messages):
        return False
    answered = {c.call for m in messages[at:] for c in m.content if isinstance(c, ToolResult)}
    return any(c.call not in answered for c in messages[at - 1].content if isinstance(c, ToolCall))


def _behind(messages: Sequence[Message]) -> int:
    """Where the results at the end begin."""
    at = len(messages)
    while at and messages[at - 1].role == "tool":
        at -= 1
    return at


def turn(contents: Sequence[Content], ran: set[str]) -> list[Message]:
    """One message of the assistant in which calls of the server's own (`ran`) stand with their results, as messages.

    Of these, a call without its result stays out, and so does a result without its call.
    """
    calls = {c.call for c in contents if isinstance(c, ToolCall)}
    halves = ran - (calls & {c.call for c in contents if isinstance(c, ToolResult)})
    out: list[Message] = []
    for content in contents:
        if isinstance(content, ToolCall | ToolResult) and content.call in halves:
            continue
        if isinstance(content, ToolResult):
            out.append(Message("tool", [content]))
        else:
            join(out, content)
    return out
