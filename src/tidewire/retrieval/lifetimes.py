"""How long documents are served: by the source that brought them, by where they lie, or by what they are."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

SOURCE: Final = "source:"
PATH: Final = "path:"


class Lifetimes:
    """rules: "source:NAME", "path:GLOB" (of a location; * passes over /) or a media type, each with its seconds.

    The nearest rule counts: that of the source, else the first glob that fits, else that of the media type. None: no end.
    """

    def __init__(self, rules: Mapping[str, float] | None = None) -> None:
        self.rules = dict(rules or {})
        self._globs = [(rule[len(PATH) :], seconds) for rule, seconds in self.rules.items() if rule.startswith(PATH)]

    def seconds(self, source: str, location: str, kind: str) -> float | None:
        found = self.rules.get(SOURCE + source) if source else None
        if found is None:
            found = next((seconds for glob, seconds in self._globs if fnmatchcase(location, glob)), None)
        return found if found is not None else self.rules.get(kind)
