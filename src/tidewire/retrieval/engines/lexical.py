"""What the two engines for words have in common: what a question is looked for by, and what an engine must do.

Title, heading, text and the parts of joined names are searched together; names are short and say what a text is about, so they
weigh more. Weights and stemming were measured on the NPL collection: Porter 0.45 against 0.36 nDCG@10 without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from tidewire.core import prose
from tidewire.retrieval.ports import Filter, Row, Scored

FIELDS: Final = ("title", "heading", "body", "parts")
WEIGHTS: Final = (1.5, 2.0, 1.0, 0.5)
LONGEST: Final = 32  # words of a question that are searched for; more say nothing new and cost time
QUESTION: Final = 200  # characters of a question that is looked for as it stands, too


class Lexical(Protocol):
    """Used from one thread for what changes it; searched from any. Chunks are given once, and removed once."""

    def add(self, rows: Sequence[tuple[str, Row]], *, many: bool = False) -> None:
        """Rows with their namespaces; found once this returns. many: of very many, which are found after `fold` at the latest."""

    def remove(self, chunks: Sequence[tuple[str, int]]) -> None:
        """Not found any more once this returns."""

    def search(self, namespace: str, question: str, limit: int, which: Filter) -> list[Scored]: ...

    def holding(self, namespace: str, word: str) -> int:
        """Chunks of the namespace that hold the word."""

    @property
    def due(self) -> float | None:
        """Seconds until `fold` is worth its time; None: nothing waits for it."""

    def fold(self) -> None:
        """Take in for good what was added."""

    def close(self) -> None: ...


def columns(row: Row) -> tuple[str, str, str, str]:
    """Title, heading, body and parts, as the engines are given them: characters without spaces between words stand apart."""
    return prose.spaced(row.title), prose.spaced(row.heading), prose.spaced(row.text), prose.parts(row.text)


def asked(question: str) -> tuple[list[str], list[str]]:
    """The words to look for, and the words of the question as it stands: a heading may ask it.

    Adjacent words are not looked for as phrases: on the NPL collection that took nDCG@10 from 0.45 to 0.38.
    """
    words = prose.content_words(f"{question} {prose.parts(question)}")[:LONGEST]
    whole = prose.words(question.partition("\n")[0][:QUESTION])
    return words, whole if words and len(whole) > 1 else []
