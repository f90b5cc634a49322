"""What a word, a sentence and a block of a text are: for those who cut documents and those who quote them. Pure.

A text here is Markdown or plain text; readers of other formats turn theirs into it. All offsets are code points of that text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

BlockKind = Literal["heading", "paragraph", "item", "code", "table", "rule"]


class Block(NamedTuple):
    """A piece of a text between blank lines or marks. level: of a heading, 1 to 6, else 0. text[start:end] is all of it."""

    kind: BlockKind
    start: int
    end: int
    level: int = 0


# English function words and the words questions are made of: they say nothing about what is asked for.
STOPWORDS: Final = frozenset(
    """a about above happen happens happened work works explain describe know need after again all also am an and any anybody anyone are as at be because been before being below between
    both but by can cannot could did do does doing done during each either else ever every few for from further get gets give
    given had has have having he hello her here hers hi him his how i if in into is it its itself just let like make me mean
    many means might more most much must my no nor not of off on once one only or other ought our ours out over own per please
    rather same shall she should show since so some such tell than thank thanks that the their them then there these they
    thing things this those through to too under until up upon us use used using very want was way we were what when where
    whether which while who whom whose why will with within without would yes yet you your yours
    s t d ll m re ve don doesn didn isn aren wasn weren won couldn shouldn wouldn""".split()  # noqa: SIM905
)

_WORD: Final = re.compile(r"[^\W_]+")
_CJK: Final = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_CAMEL: Final = re.compile(r"\b[A-Za-z]*[a-z][A-Z][A-Za-z]*\b")
_JOINT: Final = b"aA"
# What each character of an ASCII text is: a small letter, a capital, another character of words, or none.
_SHAPE: Final = bytes(
    ord("a" if c.islower() else "A" if c.isupper() else "_" if c.isalnum() or c == "_" else " ")
    for c in map(chr, range(256))
)
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# The second half: the full stops of Chinese and Japanese, behind which there is no space.
_END: Final = re.compile("[.!?\u2026]+[\"'\u201d\u2019)\\]*_`]*(?=\\s)|[\u3002\uff01\uff1f]+[\u300d\u300f\u201d]*")
_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|cf|vs|approx|resp|incl|no|fig|sec|vol|pp?|al|dr|mr|mrs|ms|prof|st|jr|sr|inc|ltd|co)|(?:^|\s)\w)\.$",
    re.IGNORECASE,
)
_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING: Final = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)")
_UNDERLINE: Final = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_RULE: Final = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$")
_ITEM: Final = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S")


def fold(text: str) -> str:
    """For comparison: lower case, without accents."""
    if text.isascii():
        return text.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def spaced(text: str) -> str:
    """The text with its Chinese, Japanese and Korean characters set apart, so that each is a word."""
    return text if text.isascii() else _CJK.sub(r" \g<0> ", text)


def parts(text: str) -> str:
    """The parts of the joined names in a text: "create Server" of createServer. Empty where there is none."""
    names = _joined(text) if text.isascii() else _CAMEL.findall(text)
    return " ".join(_HUMP.sub(" ", name) for name in dict.fromkeys(names))


def _joined(text: str) -> list[str]:
    """What _CAMEL finds in an ASCII text, in a tenth of the time: searches of bytes pass over all that is joined nowhere."""
    shape = text.encode().translate(_SHAPE)
    names: list[str] = []
    at = shape.find(_JOINT)
    while at >= 0:
        begin, end = shape.rfind(b" ", 0, at) + 1, shape.find(b" ", at)
        end = end if end >= 0 else len(shape)
        if shape.find(b"_", begin, end) < 0:
            names.append(text[begin:end])
        at = shape.find(_JOINT, end)
    return names


def words(text: str) -> list[str]:
    """The words of a text in order, folded. A Chinese, Japanese or Korean character is a word."""
    return _WORD.findall(spaced(fold(text)))


def stem(word: str) -> str:
    """A folded English word without its commonest endings: resumes, resumed and resuming are one. Rough on purpose."""
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word
    for ending, put in (
        ("ies", "y"),
        ("sses", "ss"),
        ("ing", ""),
        ("edly", ""),
        ("ed", ""),
        ("es", ""),
        ("s", ""),
        ("ly", ""),
    ):
        if word.endswith(ending) and not word.endswith(("ss", "us", "is")) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)] + put
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiosl":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 4 else word


def content_words(text: str) -> list[str]:
    """The words that carry meaning, each once, in the order in which they first stand."""
    return list(dict.fromkeys(w for w in words(text) if w not in STOPWORDS))


def sentences(text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence of text[start:end], white space left out at both ends. A blank line ends one too."""
    stop = len(text) if end is None else end
    begin = start
    for found in _END.finditer(text, start, stop):
        at = found.end()
        after = at
        while after < stop and text[after].isspace():
            after += 1
        if after < stop and text[after].islower() and found.group()[0] not in "\u3002\uff01\uff1f":
            continue
        if found.group() == "." and _ABBREVIATION.search(text, max(begin, at - 12), at):
            continue
        yield from _trimmed(text, begin, at)
        begin = at
    yield from _trimmed(text, begin, stop)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a text in order. Blank lines between them belong to none; an open code fence runs to the end."""
    lines = _lines(text)
    n = 0
    while n < len(lines):
        start, end = lines[n]
        line = text[start:end]
        if not line.strip():
            n += 1
        elif fence := _FENCE.match(line):
            n, stop = _fenced(text, lines, n + 1, fence.group(1))
            yield Block("code", start, stop)
        elif heading := _HEADING.match(line):
            yield Block("heading", start, end, len(heading.group(1)))
            n += 1
        elif _RULE.match(line):
            yield Block("rule", start, end)
            n += 1
        else:
            last = n
            kind = _kind(line, n == 0 or not text[slice(*lines[n - 1])].strip())
            while last + 1 < len(lines) and _goes_on(text[slice(*lines[last + 1])], kind):
                last += 1
            under = text[slice(*lines[last + 1])] if last + 1 < len(lines) else ""
            if kind == "paragraph" and last == n and _UNDERLINE.match(under):
                yield Block("heading", start, lines[last + 1][1], 1 if under.strip()[0] == "=" else 2)
                last += 1
            else:
                yield Block(kind, start, lines[last][1])
            n = last + 1


def _lines(text: str) -> list[tuple[int, int]]:
    out = []
    at = 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        out.append((at, end))
        at = end + 1
    return out


def _fenced(text: str, lines: list[tuple[int, int]], n: int, mark: str) -> tuple[int, int]:
    while n < len(lines):
        line = text[slice(*lines[n])].strip()
        if line.startswith(mark) and not line.strip(mark[0]):
            return n + 1, lines[n][1]
        n += 1
    return n, len(text)


def _kind(line: str, after_blank: bool) -> BlockKind:  # noqa: FBT001
    if line.lstrip().startswith("|"):
        return "table"
    if _ITEM.match(line):
        return "item"
    if after_blank and line.startswith(("    ", "\t")):
        return "code"
    return "paragraph"


def _goes_on(line: str, kind: BlockKind) -> bool:
    """Whether the next line belongs to a block of this kind."""
    if not line.strip() or _FENCE.match(line) or _HEADING.match(line) or _RULE.match(line):
        return False
    if kind == "code":
        return line.startswith(("    ", "\t"))
    if kind == "table":
        return line.lstrip().startswith("|")
    if kind == "paragraph" and _UNDERLINE.match(line):
        return False
    return not _ITEM.match(line) and not line.lstrip().startswith("|")
