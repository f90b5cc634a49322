"""What tools are called that others named: valid for every model host, and no two the same."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final

LONGEST: Final = 64  # characters of a name, as hosts take them
_INVALID: Final = re.compile(r"[^A-Za-z0-9_-]")


def valid(name: str) -> str:
    """The name with what hosts do not take replaced by _; a longer one is cut, and told apart by six digits of its hash."""
    said = _INVALID.sub("_", name) or "_"
    if len(said) <= LONGEST:
        return said
    return f"{said[: LONGEST - 7]}_{hashlib.sha256(name.encode('utf-8', 'replace')).hexdigest()[:6]}"


class Names:
    """What every tool server calls its tools: a name that two of them use is told apart by the server's own. fixed: those of other tools."""

    def __init__(self, fixed: Collection[str] = ()) -> None:
        self._fixed = frozenset(fixed)
        self._used: dict[str, list[str]] = {}
        self._given: dict[str, dict[str, str]] = {}

    def use(self, server: str, names: Iterable[str]) -> None:
        """All that this server has now, valid or not."""
        self._used[server] = list(names)
        self._given = {}
        servers = sorted(self._used)  # in whichever order they came up
        often = Counter(valid(own) for names in self._used.values() for own in names)
        taken = {name for name, times in often.items() if times == 1} | self._fixed
        for one in servers:
            out = self._given[one] = {}
            for own in self._used[one]:
                name = valid(own)
                if often[name] > 1 or name in self._fixed:
                    name = _free(f"{one}_{own}", taken)
                    taken.add(name)
                out[name] = own

    def given(self, server: str) -> dict[str, str]:
        """The name that the model reads -> the server's own. The same until some server's list changes."""
        return self._given.get(server, {})


def _free(name: str, taken: Collection[str]) -> str:
    said, again = valid(name), 1
    while said in taken:
        again += 1
        said = valid(f"{name}_{again}")
    return said
