"""Where source code may be cut: before each definition, with the comments and decorators that belong to it.

By the words that begin a definition and by indentation, in whatever language; a parser for each would say more, and is not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

LINE: Final = 200  # characters; a longer one is no heading of a definition
_DEFINES: Final = re.compile(
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|pub(?:\([a-z]+\))?|unsafe|extern|inline"
    r"|virtual|override|open|data|sealed|const)\s+)*"
    r"(?:class|def|func|fn|function\*?|sub|interface|trait|impl(?:<[^>]*>)?|struct|enum|module|namespace|object|protocol|type|macro_rules!)"
    r"\s+(?:\([^)]*\)\s*)?(?P<name>[\w$]+(?:(?:::|\.)[\w$]+)*)"
    r"|CREATE\s+(?:OR\s+REPLACE\s+)?(?:TABLE|VIEW|FUNCTION|PROCEDURE|TRIGGER|INDEX)\s+(?P<made>[\w.\"`]+)"
)
# A function as C, C++, Java and C# write one.
_CALLED: Final = re.compile(
    r"(?!(?:if|for|while|switch|else|return|do|catch|try)\b)(?:[A-Za-z_][\w\s*&:<>,~]*?[\s*&])?(?P<name>[\w:~]+)\s*\([^;]*\)[^;]*\{$"
)
_BELONGS: Final = re.compile(r"@|#\[|//|/\*|\*|#(?!include|define|if|end)|--")


def definitions(text: str, start: int, end: int) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """The code text[start:end] as pieces that follow on each other, each with the names of what it is in, outermost first."""
    inside: list[tuple[int, str]] = []
    names: tuple[str, ...] = ()
    begun = at = start
    above = -1  # where comments begin that may belong to what comes next
    while at < end:
        stop = text.find("\n", at, end) + 1 or end
        line = text[at:stop]
        bare = line.strip()
        indent = len(line) - len(line.lstrip())
        if bare and (name := _name(bare)):
            inside = [one for one in inside if one[0] < indent]
            inside.append((indent, name))
            first = above if above >= 0 else at
            if first > begun and text[begun:first].strip():
                yield _trimmed(text, begun, first, names)
            begun, names = first, tuple(name for _, name in inside)
            above = -1
        elif bare and _BELONGS.match(bare):
            above = at if above < 0 else above
        else:
            above = -1
        at = stop
    if text[begun:end].strip():
        yield _trimmed(text, begun, end, names)


def _name(line: str) -> str:
    """What a line defines; "" where it defines nothing."""
    if len(line) > LINE:
        return ""
    if found := _DEFINES.match(line):
        return found["name"] or found["made"]
    found = _CALLED.match(line) if line.endswith("{") and "(" in line else None
    return found["name"] if found else ""


def _trimmed(text: str, start: int, end: int, names: tuple[str, ...]) -> tuple[int, int, tuple[str, ...]]:
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end, names
