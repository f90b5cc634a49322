"""JSON that is still being written: what of it is complete already. Each character is looked at once, however the text is cut.

The grammar is RFC 8259, as `json.loads` reads it, less its NaN and Infinity. A code fence around the JSON is taken, and known of.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from typing import Any, Final, Literal

import msgspec

NESTED: Final = 100  # levels; deeper text is no answer to anything, and Python's own recursion ends not far above
NUMBER: Final = 400  # characters; the longest that a double can need has 330
PATH: Final = 1024  # characters of a pointer; what lies deeper than that is not announced by itself

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_STRING: Final = re.compile(r'(?:[^"\\]+|\\.)*', re.DOTALL)
_WORD: Final = re.compile(r"[-+.0-9A-Za-z]*")
_NUMERAL: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_FENCE: Final = re.compile(r"```[ \t]{0,4}\w{0,16}[ \t]{0,4}\r?\n")
_FENCE_LENGTH: Final = 32  # characters of the longest opening of a fence
BEHIND: Final = "there is more text behind the JSON"
_LITERALS: Final[dict[str, Any]] = {"true": True, "false": False, "null": None}
_HALF: Final = re.compile("[\ud800-\udfff]")

_Expected = Literal["value", "first element", "first name", "name", "colon", "comma or }", "comma or ]", "end"]
_CLOSES: Final = {"}": ("first name", "comma or }"), "]": ("first element", "comma or ]")}


class Malformed(Exception):
    """What was read is no JSON. The message says what and where, as a sentence without its full stop."""


class Complete(msgspec.Struct, frozen=True):
    """A value that has come to its end. path: a JSON pointer (RFC 6901), None where it would be too long. depth: 1 for what the root
    holds. size: characters of its text.
    """

    path: str | None
    value: Any
    depth: int
    size: int


class _Open:
    """An object or a list that is still growing."""

    __slots__ = ("began", "name", "path", "value")

    def __init__(self, value: dict[str, Any] | list[Any], path: str | None, began: int) -> None:
        self.value = value
        self.path = path
        self.began = began
        self.name = ""  # of the member that is being read


class PartialJson:
    """Reads pieces of one JSON text. `value` holds what has been read of it; `done` is True once its root is complete.

    fenced: the text began with a code fence. After Malformed nothing more may be fed.
    """

    __slots__ = (
        "_began",
        "_expected",
        "_fence",
        "_held",
        "_open",
        "_read",
        "_rest",
        "_size",
        "_within",
        "done",
        "fenced",
        "value",
    )

    def __init__(self) -> None:
        self.value: Any = None
        self.done = False
        self.fenced = False
        self._fence: Literal["may come", "none", "opened", "closed"] = "may come"
        self._open: list[_Open] = []
        self._expected: _Expected = "value"
        self._within: Literal["", "string", "word"] = ""  # what the last piece ended in the middle of
        self._held: list[str] = []  # of that token
        self._size = 0  # characters held
        self._began = 0  # where that token began
        self._rest = ""  # a few characters that mean something only together with the next ones
        self._read = 0  # characters before the piece that is being read

    def feed(self, piece: str) -> Iterator[Complete]:
        """What the piece completes, in order: members before the object they are in. Not the root, which is in `value`.

        To be exhausted before the next piece is fed. Raises Malformed.
        """
        text = self._rest + piece
        self._rest = ""
        at = 0
        while at < len(text):
            if self._within == "string":
                at = yield from self._string(text, at)
            elif self._within == "word":
                end = _match(_WORD, text, at)
                self._hold(text[at:end])
                if self._size > NUMBER:
                    raise Malformed(f"there is a word or a number of more than {NUMBER} characters at {self._where()}")
                at = end
                if at < len(text):
                    yield from self._word()
            else:
                at = _match(_SPACE, text, at)
                if at < len(text):
                    at = yield from self._sign(text, at)
            if self._rest:
                break
        self._read += len(text) - len(self._rest)

    def end(self) -> None:
        """No more text comes: a root that is a number or a word is complete now. Raises Malformed where the root is not."""
        if self._rest and not self._within:
            raise Malformed("it does not begin with JSON" if self._expected == "value" else BEHIND)
        if self._within == "word":
            list(self._word())
        if not self.done:
            raise Malformed(
                f"it ends inside {self._where()}" if self._open or self._within else "there is no JSON in it"
            )

    def _sign(self, text: str, at: int) -> Generator[Complete, None, int]:
        """One character outside of strings and words, spaces having been passed; returns where to go on."""
        sign = text[at]
        expected = self._expected
        if expected in ("value", "first element") and sign not in "]},:":
            if sign == "`" and self._fence == "may come":
                return self._fence_opens(text, at)
            self._fence = "none" if self._fence == "may come" else self._fence
            self._begin(sign, self._read + at)
            return at if self._within == "word" else at + 1
        if sign == '"' and expected in ("first name", "name"):
            self._within, self._began = "string", self._read + at
        elif sign == ":" and expected == "colon":
            self._expected = "value"
        elif sign == "," and expected in ("comma or }", "comma or ]"):
            self._expected = "name" if expected == "comma or }" else "value"
        elif expected in _CLOSES.get(sign, ()):
            closed = self._open.pop()
            yield from self._complete(closed.value, closed.began, self._read + at + 1)
        elif expected == "end":
            return self._behind(text, at)
        else:
            raise self._unexpected(sign)
        return at + 1

    def _begin(self, sign: str, at: int) -> None:
        """A value begins with this character."""
        if sign in "{[":
            if len(self._open) == NESTED:
                raise Malformed(f"it is nested deeper than {NESTED} levels")
            self._open.append(_Open({} if sign == "{" else [], self._pointer(), at))
            self._expected = "first name" if sign == "{" else "first element"
        elif sign == '"':
            self._within, self._began = "string", at
        elif _match(_WORD, sign, 0):
            self._within, self._began = "word", at
        else:
            raise self._unexpected(sign)

    def _string(self, text: str, at: int) -> Generator[Complete, None, int]:
        end = _match(_STRING, text, at)
        self._hold(text[at:end])
        if end == len(text):
            return end
        if text[end] == "\\":  # the character that it escapes is in the next piece
            self._rest = "\\"
            return end
        raw = self._taken()
        try:
            value = json.loads(f'"{raw}"')
        except ValueError:
            raise Malformed(f"there is a string at {self._where()} that is not written as JSON asks") from None
        if _HALF.search(value):  # half a character cannot be sent on
            value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if self._expected in ("first name", "name"):
            self._open[-1].name = value
            self._expected = "colon"
        else:
            yield from self._complete(value, self._began, self._read + end + 1)
        return end + 1

    def _word(self) -> Iterator[Complete]:
        """A number, true, false or null has come to its end."""
        size = self._size
        raw = self._taken()
        value: Any
        if raw in _LITERALS:
            value = _LITERALS[raw]
        elif (numeral := _NUMERAL.fullmatch(raw)) is not None:
            whole = numeral[1] is None and numeral[2] is None and size <= 20
            value = int(raw) if whole and -(1 << 63) <= int(raw) < 1 << 64 else float(raw)  # as wide as events can hold
            if value in (float("inf"), float("-inf")):
                raise Malformed(f"there is a number at {self._where()} that is too large")
        elif not self._open:
            raise Malformed("it does not begin with JSON")
        else:
            raise Malformed(f"there is {raw[:20]!r} at {self._where()}, which is no JSON")
        yield from self._complete(value, self._began, self._began + size)

    def _complete(self, value: Any, began: int, end: int) -> Iterator[Complete]:
        depth = len(self._open)
        if not depth:
            self.value = value
            self.done = True
            self._expected = "end"
            return
        path = self._pointer()
        inside = self._open[-1]
        if isinstance(inside.value, dict):
            inside.value[inside.name] = value
            self._expected = "comma or }"
        else:
            inside.value.append(value)
            self._expected = "comma or ]"
        yield Complete(path, value, depth, end - began)

    def _pointer(self) -> str | None:
        """Of the value that is being read."""
        if not self._open:
            return ""
        inside = self._open[-1]
        if inside.path is None:
            return None
        if isinstance(inside.value, dict):
            name = inside.name
            if "~" in name or "/" in name:
                name = name.replace("~", "~0").replace("/", "~1")
        else:
            name = str(len(inside.value))
        path = f"{inside.path}/{name}"
        return path if len(path) <= PATH else None

    def _where(self) -> str:
        pointer = self._pointer()
        return "a place too deep to name" if pointer is None else repr(pointer[:200]) if pointer else "the root"

    def _unexpected(self, sign: str) -> Malformed:
        if not self._open and self._expected == "value":
            return Malformed("it does not begin with JSON")
        return Malformed(f"there is {sign!r} at {self._where()}, where JSON has none")

    def _hold(self, text: str) -> None:
        self._held.append(text)
        self._size += len(text)

    def _taken(self) -> str:
        raw = self._held[0] if len(self._held) == 1 else "".join(self._held)
        self._held.clear()
        self._size = 0
        self._within = ""
        return raw

    # Code fences

    def _fence_opens(self, text: str, at: int) -> int:
        """Where the JSON behind "```json" begins; what may still become one is kept until more comes."""
        found = _FENCE.match(text, at)
        if found is not None:
            self._fence = "opened"
            self.fenced = True
            return found.end()
        if len(text) - at > _FENCE_LENGTH or not "```".startswith(text[at : at + 3]):
            raise Malformed("it does not begin with JSON")
        self._rest = text[at:]
        return len(text)

    def _behind(self, text: str, at: int) -> int:
        """Behind the root: nothing but spaces and the fence's own end."""
        tail = text[at : at + 3]
        if self._fence == "opened" and tail == "```":
            self._fence = "closed"
            return at + 3
        if self._fence == "opened" and "```".startswith(tail):
            self._rest = tail
            return len(text)
        raise Malformed(BEHIND)


def _match(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    assert found is not None  # each of them matches the empty text
    return found.end()
