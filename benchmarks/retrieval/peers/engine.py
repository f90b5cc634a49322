"""What each of the compared does, and the files that all of them read. Nothing here needs more than Python itself.

A folder has documents.jsonl (a document a line, with its chunks), vectors.f32 (of the chunks, in that order), asked.json and asked.f32
(questions), new.json and new.f32 (texts to put, each with a question that finds it).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

NEVER: Final = 1e12  # seconds; stands for "does not expire" where a number is needed
LIMIT: Final = 8  # passages that a query asks for


class Piece(NamedTuple):
    """A chunk as a row of a table. text: title and heading before its own."""

    id: str
    text: str
    expires: float


class Files:
    def __init__(self, folder: Path, dimensions: int) -> None:
        self.folder = folder
        self.width = 4 * dimensions

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def lines(self) -> Iterator[bytes]:
        with (self.folder / "documents.jsonl").open("rb") as opened:
            yield from opened

    def pieces(self) -> Iterator[Piece]:
        for line in self.lines():
            document = json.loads(line)
            for n, chunk in enumerate(document["chunks"]):
                text = "\n".join(filter(None, (document["title"], chunk.get("heading", ""), chunk["text"])))
                yield Piece(f"{document['location']}#{n}", text, document.get("expires", NEVER))

    def vectors(self, name: str) -> list[bytes]:
        """Little-endian float32, each of unit length."""
        data = (self.folder / name).read_bytes()
        return [data[at : at + self.width] for at in range(0, len(data), self.width)]


class Engine(Protocol):
    """One of the compared, in a process of its own.

    ways: how it can be asked. What is found is named by what it was put as.
    """

    ways: tuple[str, ...]

    async def build(self, files: Files, folder: Path) -> None:
        """From nothing in this folder until all is on disk and can be found."""

    async def open(self, folder: Path) -> None:
        """What was built, until all of it can be found."""

    async def find(self, way: str, text: str, vector: bytes, now: float) -> list[str]:
        """The best, without those that have expired by now; their texts are read, too."""

    async def put(self, name: str, text: str, vector: bytes) -> None:
        """Returns when it is stored and, where the engine says so, can be found."""

    async def delete(self, name: str) -> None:
        """Returns when it is acknowledged."""

    async def upkeep(self) -> bool:
        """What its documentation asks for after every twenty changes; False: nothing."""

    async def close(self) -> None: ...
