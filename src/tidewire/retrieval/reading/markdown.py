"""Markdown: kept as it is, but for its head and its comments."""

from __future__ import annotations

import re
from typing import Final

from tidewire.retrieval.reading.dates import seconds
from tidewire.retrieval.reading.page import Page

_HEAD: Final = re.compile(r"(---|\+\+\+)\n(.*?)\n\1[ \t]*\n", re.DOTALL)
_TITLE: Final = re.compile(r"^title[ \t]*+[:=][ \t]*+[\"']?(.{1,300}?)[\"']?[ \t]*$", re.MULTILINE)
_DATE: Final = re.compile(
    r"^(?:date|published|publishdate|pubdate|updated|lastmod)[ \t]*+[:=][ \t]*+[\"']?(.{1,64}?)[\"']?[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)


def read(text: str) -> Page:
    """The YAML or TOML head gives title and date, and is cut off. Comments go: nobody who reads the page sees them."""
    title, published = "", None
    head = _HEAD.match(text)
    if head is not None:
        text = text[head.end() :]
        named, dated = _TITLE.search(head.group(2)), _DATE.search(head.group(2))
        title = named.group(1) if named else ""
        published = seconds(dated.group(1)) if dated else None
    return Page(title, re.sub(r"<!--.*?(?:-->|\Z)", "", text, flags=re.DOTALL), "text/markdown", published)
