"""Calls that the server ran itself, as clients send them back: in their places among the messages, where hosts take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tidewire.core.request import Content, Message, ToolCall, ToolResult

LABEL: Final = "tidewire"  # the server of tools that clients are told of: who runs them for us is no concern of theirs


class Turns:
    """Messages as they are read, one after another: what an assistant thinks, says and calls in one turn is one message.

    Hosts demand the results of all calls of a message right behind it. So whatever the assistant says behind results belongs to the
    message before them, while a call of that one has no result: it is the client's own, whose result is still to come.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._said = Message("assistant", [])  # the assistant's last
        self._open: set[str] = set()  # its calls without a result

    @property
    def waits(self) -> bool:
        """Whether the results at the end are those of some of the calls before them only."""
        return bool(self._open) and self.messages[-1].role == "tool"

    def add(self, message: Message) -> None:
        self.messages.append(message)
        if message.role == "tool":
            self._open.difference_update(c.call for c in message.content if isinstance(c, ToolResult))
        else:
            self._said = message
            self._open = _calls(message.content)

    def join(self, *contents: Content) -> None:
        """Add to what the assistant said last, if its turn goes on."""
        if self.waits or (self.messages and self.messages[-1].role == "assistant"):
            self._said.content.extend(contents)
            self._open |= _calls(contents)
        else:
            self.add(Message("assistant", list(contents)))


def _calls(contents: Sequence[Content]) -> set[str]:
    return {c.call for c in contents if isinstance(c, ToolCall)}


def turn(contents: Sequence[Content], ran: set[str]) -> list[Message]:
    """One message of the assistant in which calls of the server's own (`ran`) stand with their results, as messages.

    Of these, a call without its result stays out, and so does a result without its call.
    """
    halves = ran - (_calls(contents) & {c.call for c in contents if isinstance(c, ToolResult)})
    turns = Turns()
    for content in contents:
        if isinstance(content, ToolCall | ToolResult) and content.call in halves:
            continue
        if isinstance(content, ToolResult):
            turns.add(Message("tool", [content]))
        else:
            turns.join(content)
    return turns.messages
