"""Arguments of a function call that arrive value by value, each with its place, as one JSON text that grows.

Vertex AI streams them so: {"jsonPath": "$.to[0].name", "stringValue": "Ad", "willContinue": true}. Source: the reference of Vertex AI,
"PartialArg", and recorded streams; paths are those of RFC 9535 with names and indices only.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from tidewire.core.errors import UpstreamError

DEEP: Final = 128  # levels
_STEP: Final = re.compile(
    r"\.([^.\[\]'\"\s]+)|\[(\d{1,9})\]|\['((?:[^'\\]|\\.)*)'\]|\[\"((?:[^\"\\]|\\.)*)\"\]", re.DOTALL
)

Path = list[str | int]


class Arguments:
    """Values come in the order in which they stand in the text. What cannot be appended any more raises UpstreamError."""

    __slots__ = ("_leaf", "_names", "_string")

    def __init__(self) -> None:
        self._leaf: Path = []  # where the last value stands; the containers on the way to it are open
        self._names: list[set[str]] = []  # of each open object, those that it has; an empty set for an array
        self._string = False  # the last value is text that has not ended

    def feed(self, path: str, value: Any, *, more: bool) -> str:
        """What this value adds to the text. more: of a text, the next value at the same place goes on with it."""
        place = _parsed(path)
        text = msgspec.json.encode(value).decode()
        if isinstance(value, str) and self._string and place == self._leaf:
            self._string = more
            return text[1:-1] if more else text[1:]
        before = self._move(place)
        if isinstance(value, str) and more:
            self._string = True
            return before + text[:-1]
        return before + text

    def end(self) -> str:
        """The rest of the text."""
        if not self._leaf:
            return "{}"
        return self._closing(0) + "}"

    def _closing(self, depth: int) -> str:
        """Ends the last value and every container deeper than the one at `depth`, which holds its elements at that place of a path."""
        out = '"' if self._string else ""
        self._string = False
        for step in reversed(self._leaf[depth + 1 :]):
            out += "]" if isinstance(step, int) else "}"
        del self._names[depth + 1 :]
        return out

    def _move(self, place: Path) -> str:
        old = self._leaf
        if not old:
            if isinstance(place[0], int):
                raise _wrong(place, "arguments are an object")
            self._leaf = place
            return self._opening(place, 0)
        at = 0
        while at < min(len(old), len(place)) - 1 and old[at] == place[at]:
            at += 1
        if old[at] == place[at]:
            raise _wrong(place, "that place has a value already")
        out = self._closing(at) + ","
        step, last = place[at], old[at]
        if isinstance(step, int) != isinstance(last, int):
            raise _wrong(place, "an object is no array")
        if isinstance(step, int) and isinstance(last, int) and step != last + 1:
            raise _wrong(place, f"the element {last + 1} is missing")
        self._leaf = place
        return out + self._opening(place, at, new=False)

    def _opening(self, place: Path, at: int, *, new: bool = True) -> str:
        """The brackets and names from the container at depth `at` down to the value."""
        out = ""
        for depth, step in enumerate(place[at:], at):
            if new:
                self._names.append(set())
            if isinstance(step, str):
                if step in self._names[depth]:
                    raise _wrong(place, "its object has that name already")
                self._names[depth].add(step)
                out += ("{" if new else "") + msgspec.json.encode(step).decode() + ":"
            else:
                if new and step != 0:
                    raise _wrong(place, "the element 0 is missing")
                out += "[" if new else ""
            new = True
        return out


def _parsed(path: str) -> Path:
    out: Path = []
    at = 1
    while at < len(path) and len(out) <= DEEP:
        found = _STEP.match(path, at)
        if found is None:
            break
        name, index, single, double = found.groups()
        if index is not None:
            out.append(int(index))
        elif name is not None:
            out.append(name)
        else:
            out.append(re.sub(r"\\(.)", r"\1", single if single is not None else double))
        at = found.end()
    if not path.startswith("$") or not out or at != len(path):
        raise _wrong([path[:80]], "that is no path of names and indices")
    return out


def _wrong(place: Path, why: str) -> UpstreamError:
    where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)[:80]
    return UpstreamError(
        f"the host sent an argument of a tool call for {where!r}, where it cannot stand: {why}",
        code="upstream_bad_tool_call",
    )
