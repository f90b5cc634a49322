"""HTML, as Markdown of what a reader of the page sees.

What is not seen is dropped: scripts, styles, navigation, comments, and text hidden by attribute or style, which is where
instructions to a model are put. Hidden by a style sheet elsewhere, by JavaScript, or by white letters on white is not noticed.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any, Final

from tidewire.retrieval.reading.dates import seconds
from tidewire.retrieval.reading.page import Page

_BLOCKS: Final = frozenset(
    """p div section article main header footer aside ul ol dl dt dd table thead tbody blockquote figure figcaption form
    fieldset body""".split()  # noqa: SIM905
)
_DROPPED: Final = frozenset(
    "script style head nav template noscript svg iframe object canvas math button select datalist dialog textarea".split()  # noqa: SIM905
)
_VOID: Final = frozenset("area base br col embed hr img input link meta param source track wbr".split())  # noqa: SIM905
_CLOSES_ITSELF: Final = frozenset("p li dt dd tr td th option".split())  # noqa: SIM905 - its like ends it, too
_HIDING: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|content-visibility\s*:\s*hidden|opacity\s*:\s*0?\.?0*(?:[;!}\s%]|$)"
    r"|font-size\s*:\s*0?\.?0*(?:px|pt|em|rem|%)?\s*(?:[;!}]|$)|(?:left|top|right|text-indent)\s*:\s*-\d{3,}",
    re.IGNORECASE,
)
_SIMPLE: Final = re.compile(r"[.#][\w-]+")
_PUBLISHED: Final = (
    "article:published_time",
    "datepublished",
    "date",
    "dc.date",
    "dc.date.issued",
    "dcterms.created",
    "dcterms.issued",
    "pubdate",
    "publishdate",
    "article:modified_time",
    "og:updated_time",
    "datemodified",
    "last-modified",
)


def read(text: str) -> Page:
    """A page's title, date and words; broken HTML is read as it comes, or with selectolax as a browser reads it."""
    page = _Writer(_hidden_names(text))
    page.feed(_mended(text))
    page.close()
    lines = [line.rstrip() for line in "".join(page.out).split("\n")]
    out = [line.strip() if not line.startswith("    ") else line for line in lines]
    words = re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()
    return Page(" ".join(page.title.split())[:200], words, "text/html", page.published())


def _mended(text: str) -> str:
    """The page with each element closed where a browser closes it."""
    try:
        from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415 - of the extra "documents"
    except ImportError:
        return text
    return LexborHTMLParser(text.encode("utf-8", "replace").decode()).html or ""


def _hidden_names(text: str) -> frozenset[str]:
    """.class and #id that the page's own style sheets hide, whatever the screen."""
    names: set[str] = set()
    low = text.lower()
    at = low.find("<style")
    while at >= 0 and (end := low.find("</style", at)) >= 0:
        depth = 0
        for piece in text[low.find(">", at, end) + 1 : end].split("}"):
            selectors, _, body = piece.partition("{")
            if depth == 0 and "{" not in body and _HIDING.search(body):
                names |= {one.strip() for one in selectors.split(",") if _SIMPLE.fullmatch(one.strip())}
            depth = max(0, depth + piece.count("{") - 1)
        at = low.find("<style", end)
    return frozenset(names)


class _Writer(HTMLParser):
    """Writes Markdown as it hears the tags. hidden: .class and #id that nobody sees."""

    def __init__(self, hidden: frozenset[str]) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self.title = ""
        self._names = hidden
        self._hidden: list[str] = []  # open elements, from the outermost hidden one
        self._pre = 0
        self._in_title = False
        self._data: list[str] | None = None  # JSON-LD, while it is heard
        self._dates: dict[str, str] = {}
        self._time = ""

    def published(self) -> float | None:
        """By what the head says, else by the first <time> of the page."""
        said = (seconds(self._dates.get(name)) for name in _PUBLISHED)
        return next((when for when in said if when is not None), seconds(self._time))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._in_title = tag == "title" and (not self._hidden or self._hidden == ["head"])
        self._note(tag, given)
        if tag == "body":
            self._hidden.clear()  # a head that was never closed
        if self._hidden:
            if tag in _CLOSES_ITSELF and self._hidden[-1] == tag:
                self._hidden.pop()
            if self._hidden and tag not in _VOID:
                self._hidden.append(tag)
        if not self._hidden and tag not in _VOID and (tag in _DROPPED or self._unseen(given)):
            self._hidden.append(tag)
            return
        if self._hidden:
            return
        if tag == "pre":
            self._pre += 1
            self.out.append("\n\n```\n")
        elif re.fullmatch(r"h[1-6]", tag):
            self.out.append(f"\n\n{'#' * int(tag[1])} ")
        elif tag == "li":
            self.out.append("\n- ")
        elif tag == "tr":
            self.out.append("\n| ")
        elif tag == "br":
            self.out.append("\n")
        elif tag == "code" and not self._pre:
            self.out.append("`")
        elif tag in _BLOCKS:
            self.out.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False
        if tag == "script" and self._data is not None:
            self._linked("".join(self._data))
            self._data = None
        if self._hidden:
            if tag in self._hidden:
                last = len(self._hidden) - 1 - self._hidden[::-1].index(tag)
                del self._hidden[last:]
            return
        if tag == "pre" and self._pre:
            self._pre -= 1
            self.out.append("\n```\n\n")
        elif re.fullmatch(r"h[1-6]", tag) or tag in _BLOCKS or tag == "li":
            self.out.append("\n\n" if tag != "li" else "\n")
        elif tag in ("td", "th"):
            self.out.append(" | ")
        elif tag == "code" and not self._pre:
            self.out.append("`")

    def handle_data(self, data: str) -> None:
        if self._data is not None:
            self._data.append(data)
        elif self._in_title:
            self.title += data
        elif not self._hidden:
            self.out.append(data if self._pre else re.sub(r"\s+", " ", data))

    def _unseen(self, given: dict[str, str]) -> bool:
        if "hidden" in given or given.get("aria-hidden", "").strip().lower() == "true":
            return True
        if _HIDING.search(given.get("style", "")):
            return True
        names = {f".{name}" for name in given.get("class", "").split()} | {f"#{given.get('id', '')}"}
        return bool(names & self._names)

    def _note(self, tag: str, given: dict[str, str]) -> None:
        """Dates, wherever they stand."""
        if tag == "meta":
            name = given.get("property") or given.get("name") or given.get("itemprop") or given.get("http-equiv") or ""
            self._dates.setdefault(name.lower(), given.get("content", ""))
        elif tag == "time":
            self._time = self._time or given.get("datetime", "")
        elif tag == "script" and given.get("type", "").lower() == "application/ld+json":
            self._data = []

    def _linked(self, text: str) -> None:
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            return
        for thing in _things(said):
            for name in ("datePublished", "dateModified"):
                if isinstance(thing.get(name), str):
                    self._dates.setdefault(name.lower(), thing[name])


def _things(said: Any) -> list[dict[str, Any]]:
    """The objects of a JSON-LD script: one, a list, or a @graph."""
    given = said if isinstance(said, list) else [said]
    found = [thing for thing in given[:100] if isinstance(thing, dict)]
    for thing in tuple(found):
        graph = thing.get("@graph")
        found += [one for one in graph[:100] if isinstance(one, dict)] if isinstance(graph, list) else []
    return found
