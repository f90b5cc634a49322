"""Tool calls out of fragments, whichever way a host numbers them.

OpenAI gives index, id and name first, then the index with more of the arguments. Others leave the index out, or the id, repeat the name in
every fragment, make up a new id for each, give two calls one index, or send arguments before they say whose they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Delta, Event
from tidewire.dialects.openai_chat_chunk import Call, Function
from tidewire.dialects.openai_messages import signature_in

HELD: Final = 256 * 1024  # characters of arguments kept for calls that have no name yet
_json = msgspec.json.encode


class Calls:
    """The calls of one choice. number: gives the next part."""

    __slots__ = ("_choice", "_held", "_named", "_number", "_parts", "_said", "_size", "open")

    def __init__(self, choice: int, number: Callable[[], int]) -> None:
        self._choice = choice
        self._number = number
        self._parts: dict[str, int] = {}  # index or id -> part
        self._named: dict[int, str] = {}  # part -> name
        self._said: set[int] = set()  # parts that have had arguments
        self._held: dict[str, list[str]] = {}  # what came for a call before its name
        self._size = 0
        self.open = -1  # the part that was spoken of last

    def __bool__(self) -> bool:
        return bool(self._named)

    def feed(self, call: Call, out: list[Event]) -> None:
        """Raises UpstreamError where too much comes for a call without a name."""
        function = call.function or Function()
        arguments = function.arguments
        if arguments is None:
            arguments = ""
        elif not isinstance(arguments, str):
            arguments = _json(arguments).decode()
        part = self._find(call, function.name or "", arguments)
        if part is None:
            if not function.name:
                self._hold(call, arguments)
                return
            part = self._begin(call, function.name, out)
            arguments = self._released(call) + arguments
        self.open = part
        if arguments:
            self._said.add(part)
            out.append(Delta(part=part, text=arguments))
        if (signature := signature_in(call.extra_content)) is not None:
            out.append(ev.Signature(part=part, value=signature))

    def end(self, out: list[Event]) -> None:
        """Close them all. Raises UpstreamError for arguments that nobody ever named."""
        out.extend(ev.PartEnded(part=part) for part in self._named)
        if self._held:
            raise UpstreamError(
                "the host sent arguments of a tool call that it never named", code="upstream_bad_tool_call"
            )

    def _begin(self, call: Call, name: str, out: list[Event]) -> int:
        part = self._number()
        for key in _keys(call):
            self._parts[key] = part
        self._named[part] = name
        out.append(
            ev.PartStarted(part=part, kind="tool_call", name=name, call=call.id or f"call_{part}", choice=self._choice)
        )
        return part

    def _find(self, call: Call, name: str, arguments: str) -> int | None:
        """The part that a fragment belongs to; None where it begins a call, or belongs to one that has no name yet."""
        if call.id and (known := self._parts.get("id:" + call.id)) is not None:
            another = name and call.index is not None and f"index:{call.index}" not in self._parts
            return None if another and not _goes_on(arguments) else known
        if call.index is not None:
            part = self._parts.get(f"index:{call.index}")
        else:
            part = self.open if self.open >= 0 else None
        if part is None or not name:
            return part
        if name != self._named[part]:
            return None
        if _goes_on(arguments):
            return part
        # the name again: more of the same call, unless that has its arguments already or another id begins here
        return None if call.id or (arguments and part in self._said) else part

    def _hold(self, call: Call, arguments: str) -> None:
        self._size += len(arguments) + 1
        if self._size > HELD:
            raise UpstreamError(
                f"the host sent more than {HELD} characters for a tool call that it has not named",
                code="upstream_bad_tool_call",
            )
        key = next(iter(_keys(call)), "")
        self._held.setdefault(key, []).append(arguments)

    def _released(self, call: Call) -> str:
        """What was held back for a call that has its name now."""
        return "".join(text for key in (*_keys(call), "") for text in self._held.pop(key, ()))


def _goes_on(arguments: str) -> bool:
    """Whether these are arguments from the middle: arguments are an object, and begin with a brace."""
    return bool(arguments) and not arguments.lstrip().startswith("{")


def _keys(call: Call) -> list[str]:
    keys = [f"index:{call.index}"] if call.index is not None else []
    return [*keys, "id:" + call.id] if call.id else keys
