"""Things by name: what is built in, and what other installed packages bring by entry point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any

from tidewire.core.errors import SettingsError


class Registry:
    """Makers by kind. group: the entry point group by which other packages add to it."""

    def __init__(self, what: str, group: str, builtin: dict[str, Callable[..., Any]]) -> None:
        self._what = what
        self._group = group
        self._makers = dict(builtin)

    def __iter__(self) -> Iterator[str]:
        yield from self._makers
        yield from (e.name for e in entry_points(group=self._group) if e.name not in self._makers)

    def find(self, kind: str) -> Callable[..., Any]:
        """Raises SettingsError, with the kinds there are."""
        if kind not in self._makers:
            for entry in entry_points(group=self._group):
                if entry.name == kind:
                    self._makers[kind] = entry.load()
                    break
            else:
                raise SettingsError(f"there is no {self._what} of kind {kind!r}; there are {', '.join(self)}")
        return self._makers[kind]
