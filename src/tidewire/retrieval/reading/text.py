"""Plain text, of whatever encoding: what every other text format begins with."""

from __future__ import annotations

import re
from typing import Final

from tidewire.core import prose
from tidewire.retrieval.reading.page import NotRead, Page

# Characters that nobody sees, and a model reads: Unicode tags, overrides of the direction of writing, zero width spaces.
# Joiners stay: words of Persian and Hindi, and emoji, are written with them.
_UNSEEN: Final = re.compile("[\U000e0000-\U000e007f\u202a-\u202e\u2066-\u2069\u200b\u2060\ufeff]")
_RULE: Final = re.compile(r"([=\-~^\"'+*#`.:_])\1{2,}\s*$")


def decoded(raw: bytes) -> str:
    """Text of unknown encoding: UTF-8 or UTF-16 by its mark, else Latin-1 if it looks like text. Raises NotRead for what is binary."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = raw.decode("utf-16", "replace")
    elif b"\0" in raw[:8192]:
        raise NotRead("not read: binary")
    else:
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
    odd = sum(1 for c in text[:8192] if (c < " " and c not in "\n\r\t\f\b\x1b") or "\x7f" <= c < "\xa0")
    if odd * 20 > min(len(text), 8192):
        raise NotRead("not read: binary")
    return _UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", ""))


def read(text: str) -> Page:
    """No indentation; headings where a line is underlined, or in capitals over indented text (manual pages)."""
    text = re.sub(r".\x08", "", text)
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).replace("\f", "\n")
    text = re.sub(r"(?<=\w)[\u2010-]\n[ \t]+(?=[a-z])", "", text)  # words broken at the end of a manual page's line
    lines = text.split("\n")
    out: list[str] = []
    for n, line in enumerate(lines):
        following = lines[n + 1] if n + 1 < len(lines) else ""
        capital = re.fullmatch(r"[A-Z][A-Z0-9 ,/&'()-]{2,60}", line)
        if capital and not (n and lines[n - 1].strip()) and (following[:1].isspace() or not following):
            out += [f"## {line.strip()}", ""]
        else:
            out.append(line)
    stripped = underlined(out).split("\n")
    return Page("", "\n".join(line.strip() for line in stripped), "text/plain")


def underlined(lines: list[str]) -> str:
    """Titles with a line of one mark under them (and perhaps over them) as # headings, levels in order of appearance."""
    levels: list[str] = []
    out: list[str] = []
    n = 0
    while n < len(lines):
        over = n + 2 < len(lines) and _RULE.match(lines[n]) and lines[n].rstrip() == lines[n + 2].rstrip()
        title, under = n + bool(over), n + 1 + bool(over)
        if under < len(lines) and _titled(lines[title].strip() if over else lines[title], lines[under]):
            if not over and out and out[-1].strip():
                out.append(lines[n])  # the last line of a paragraph is no title
                n += 1
                continue
            mark = lines[under].strip()[0]
            if mark not in levels:
                levels.append(mark)
            out += ["", "#" * min(levels.index(mark) + 1, 6) + " " + lines[title].strip(), ""]
            n = under + 1
        else:
            out.append(lines[n])
            n += 1
    return "\n".join(out)


def _titled(title: str, under: str) -> bool:
    """Whether the second line is drawn under the first."""
    if not _RULE.match(under) or _RULE.match(title):
        return False
    size = len(title.rstrip())
    return (
        0 < size <= 100
        and not title[0].isspace()
        and title.rstrip()[-1] not in ".,;|"
        and len(under.rstrip()) >= 0.6 * size
    )


def first_heading(text: str) -> str:
    """The words of the heading that a text begins with, or of its first of level 1; "" where there is none near."""
    for n, block in enumerate(prose.blocks(text)):
        if block.kind == "heading" and (block.level == 1 or n == 0):
            return heading_text(text[block.start : block.end])
        if n > 20:
            break
    return ""


def heading_text(line: str) -> str:
    """The words of a heading, without its marks."""
    line = line.split("\n", 1)[0].strip().lstrip("#").rstrip("#").strip()
    line = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", line)
    return re.sub(r"[*`]+", "", re.sub(r"<[^>]+>", "", line)).strip()[:200]
