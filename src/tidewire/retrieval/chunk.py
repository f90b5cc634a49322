"""Cuts a document's text into chunks of one topic: under one heading, whole blocks, whole sentences where a block is long,
whole definitions where it is source code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tidewire.core import prose
from tidewire.retrieval.outline import definitions
from tidewire.retrieval.ports import Chunk
from tidewire.retrieval.reading.text import heading_text
from tidewire.retrieval.simhash import simhash

WORDS: Final = 150  # a chunk aims at this many
MOST: Final = 180  # and is never longer
SMALL: Final = 40  # a section shorter than this is joined with the next one beside or below it
LONGEST_HEADING: Final = 300  # characters
WORD_CHARACTERS: Final = 12  # text without spaces: this many characters count as a word


class _Piece(NamedTuple):
    start: int
    end: int
    size: int
    path: tuple[str, ...]
    heading: bool
    code: bool = False


def chunks(text: str) -> list[Chunk]:
    """The chunks of a text in order; what lies between two of them is white space. Never empty for a text with words."""
    out: list[Chunk] = []
    held: list[_Piece] = []
    size = 0
    for piece in _pieces(text):
        turn = piece.heading and held and not _joins(held, size, piece)
        if held and (turn or size + piece.size > MOST or (size >= WORDS and not held[-1].heading)):
            carried = [held.pop()] if held[-1].heading and not piece.heading and len(held) > 1 else []
            out.append(_chunk(text, held))
            held = carried  # a heading stays with what it is over
            size = sum(p.size for p in held)
        held.append(piece)
        size += piece.size
    if held:
        out.append(_chunk(text, held))
    return out


def _joins(held: Sequence[_Piece], size: int, heading: _Piece) -> bool:
    """Whether a new section may share the chunk: what is held is small, and the section is not of a higher level."""
    if all(p.heading for p in held):
        return len(heading.path) > len(held[-1].path)
    return size < SMALL and len(heading.path) >= len(held[0].path)


def _chunk(text: str, held: Sequence[_Piece]) -> Chunk:
    start, end = held[0].start, held[-1].end
    path = held[0].path
    if all(p.heading for p in held[:-1]):
        path = held[-1].path
    heading = _names(held) if all(p.code for p in held) else " > ".join(path)
    return made(start, text[start:end], heading)


def made(start: int, text: str, heading: str) -> Chunk:
    """A chunk with what it is compared by: its words, whatever their case, their signs and the white space between them."""
    words = prose.words(text)
    plain = " ".join(words) if words else text
    digest = hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return Chunk(start, text, heading, digest, simhash(words))


def _names(held: Sequence[_Piece]) -> str:
    """What is defined in a chunk of code: what is around all of it, then each name."""
    common = 0
    while all(len(p.path) > common for p in held) and len({p.path[common] for p in held}) == 1:
        common += 1
    inner = ", ".join(dict.fromkeys(" > ".join(p.path[common:]) for p in held if len(p.path) > common))
    return " > ".join(filter(None, (*held[0].path[:common], inner)))[:LONGEST_HEADING]


def _pieces(text: str) -> Iterator[_Piece]:
    """Blocks with their heading path, cut where they are too long."""
    path: list[tuple[int, str]] = []
    for block in prose.blocks(text):
        if block.kind == "heading":
            path = [p for p in path if p[0] < block.level]
            path.append((block.level, heading_text(text[block.start : block.end])))
        names = tuple(name for _, name in path if name)
        size = _size(text, block.start, block.end)
        if size <= MOST:
            yield _Piece(block.start, block.end, size, names, block.kind == "heading")
            continue
        if block.kind == "code":
            for start, end, inner in definitions(text, block.start, block.end):
                for first, last in _cut(text, prose.Block("code", start, end)):
                    yield _Piece(first, last, _size(text, first, last), (*names, *inner), False, True)
            continue
        for start, end in _cut(text, block):
            yield _Piece(start, end, _size(text, start, end), names, False)


def _size(text: str, start: int, end: int) -> int:
    return max(text.count(" ", start, end) + text.count("\n", start, end) + 1, (end - start) // WORD_CHARACTERS)


def _cut(text: str, block: prose.Block) -> Iterator[tuple[int, int]]:
    """A long block in pieces of at most MOST words: at sentences, else at lines, else at white space, else anywhere."""
    whole = list(prose.sentences(text, block.start, block.end)) if block.kind in ("paragraph", "item") else []
    for start, end in whole or [(block.start, block.end)]:
        while _size(text, start, end) > MOST:
            at = _break(text, start, min(end, start + WORD_CHARACTERS * MOST))
            yield start, at
            start = at
            while start < end and text[start].isspace():
                start += 1
        if start < end:
            yield start, end


def _break(text: str, start: int, end: int) -> int:
    """Where to end a piece that must end before `end`: behind a line, else behind a word, else right there."""
    spaces = [n for n in range(start, end) if text[n].isspace()][: MOST - 1]
    if not spaces:
        return end
    lines = [n for n in spaces[len(spaces) // 2 :] if text[n] == "\n"]
    return next((n for n in reversed(lines or spaces) if n > start), end)
