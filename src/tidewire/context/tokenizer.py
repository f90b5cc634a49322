"""Tokens counted by a model's own tokenizer, from the tokenizer.json that comes with open models. Needs the package tokenizers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Lock
from typing import Any, Final

REMEMBERED: Final = 2048  # texts whose counts are kept: a conversation comes again with each of its turns
LEAST: Final = 64  # characters; shorter texts are counted as quickly as they are found


class Tokenizer:
    """Counts as the model does, special tokens left out. May be asked from several threads."""

    def __init__(self, path: Path) -> None:
        """Raises ImportError without the package, ValueError for a file that is not there or no tokenizer."""
        from tokenizers import Tokenizer as Rust  # noqa: PLC0415 - an extra; only who names a file needs it

        try:
            self._tokenizer: Any = Rust.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - the package raises nothing more narrow
            raise ValueError(str(error)) from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._lock = Lock()

    def of_text(self, text: str) -> int:
        if len(text) < LEAST:
            return self._count(text)
        with self._lock:
            if (known := self._counts.get(text)) is not None:
                self._counts.move_to_end(text)
                return known
        count = self._count(text)
        with self._lock:
            self._counts[text] = count
            if len(self._counts) > REMEMBERED:
                self._counts.popitem(last=False)
        return count

    def _count(self, text: str) -> int:
        # half a character has no bytes, and counts as the sign that stands for it
        whole = text.encode("utf-8", "replace").decode()
        return len(self._tokenizer.encode(whole, add_special_tokens=False))


class Tokenizers:
    """given: tokenizers by patterns of model names, * and ? in them; the first that fits counts."""

    def __init__(self, given: Mapping[str, Tokenizer]) -> None:
        self._given = given

    def find(self, model: str) -> Tokenizer | None:
        return next((one for pattern, one in self._given.items() if fnmatchcase(model, pattern)), None)
