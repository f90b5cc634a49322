"""What a document is, and how the text formats become one: Markdown with headings, whatever the file was."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from pathlib import PurePath
from typing import Any, Final

import msgspec

from tidewire.core import prose

# Anything that is made from a document's bytes (reading, cutting) is made again when this changes.
PIPELINE: Final = "1"

MARKDOWN: Final = frozenset({".md", ".markdown", ".mdx", ".mdown"})
RST: Final = frozenset({".rst", ".rest"})
HTML: Final = frozenset({".html", ".htm", ".xhtml"})
RECORDS: Final = frozenset({".jsonl", ".ndjson"})
TABLES: Final = frozenset({".csv", ".tsv"})
CODE: Final = frozenset(
    """.py .pyi .js .mjs .cjs .jsx .ts .tsx .go .rs .c .h .cc .cpp .hpp .java .kt .scala .swift .rb .php .pl .pm .lua .sh .bash .zsh .fish
    .sql .r .jl .cs .fs .hs .ml .ex .exs .erl .clj .vue .svelte .css .scss .proto .graphql .tf .cmake .toml .yaml .yml .ini .cfg .conf
    .json .xml""".split()  # noqa: SIM905
)
# Around source code, so that its comments are not taken for headings.
FENCE: Final = "~" * 12
# Known, and not read by this version: each with what would read it.
FOREIGN: Final = {
    **dict.fromkeys((".pdf",), "a PDF reader"),
    **dict.fromkeys((".docx", ".odt", ".doc", ".rtf", ".pptx", ".xlsx", ".epub"), "a reader of office files"),
    **dict.fromkeys((".gz", ".zip", ".bz2", ".xz", ".zst", ".tar", ".7z"), "unpacking first"),
}


class Document(msgspec.Struct, frozen=True):
    """A text to be found again. location: what it is known by within its namespace; putting it again replaces it.

    uri: what a reader is shown, relative to what was ingested. changed: Unix seconds. digest: of bytes and pipeline.
    """

    location: str
    title: str
    text: str
    uri: str
    changed: float
    digest: str


class NotRead(Exception):
    """A file that gives no document; the message says why."""


def digest(raw: bytes) -> str:
    """Says whether a document must be made again: of its bytes and of the way it is read and cut."""
    return hashlib.blake2b(raw, digest_size=16, person=b"tidewire " + PIPELINE.encode()).hexdigest()


def read(raw: bytes, name: str) -> tuple[str, str]:
    """Title and text of a file by the ending of its name. Raises NotRead for what is no text, or not known how to read."""
    ending = PurePath(name).suffix.lower()
    if ending in FOREIGN:
        raise NotRead(f"not read: {ending} needs {FOREIGN[ending]}")
    text = _decoded(raw)
    title = ""
    if ending in MARKDOWN:
        title, text = _front_matter(text)
        text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    elif ending in HTML or (not ending and text[:200].lstrip().lower().startswith(("<!doctype html", "<html"))):
        title, text = _from_html(text)
    elif ending in RST:
        text = _from_rst(text)
    elif ending in RECORDS:
        text = _from_records(text)
    elif ending in TABLES:
        text = _from_table(text, "\t" if ending == ".tsv" else ",")
    elif ending in CODE:
        text = f"{FENCE}\n{text}\n{FENCE}" if text.strip() else ""
    else:
        text = _from_plain(text)
    if not text.strip():
        raise NotRead("not read: it holds no text")
    return title or (_first_heading(text) if ending not in CODE else "") or PurePath(name).name, text


def _decoded(raw: bytes) -> str:
    """Text of unknown encoding: UTF-8 or UTF-16 by its mark, else Latin-1 if it looks like text."""
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
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def _first_heading(text: str) -> str:
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


def _front_matter(text: str) -> tuple[str, str]:
    """Cuts the YAML or TOML head off a Markdown file, keeping its title."""
    head = re.match(r"(---|\+\+\+)\n(.*?)\n\1[ \t]*\n", text, re.DOTALL)
    if head is None:
        return "", text
    title = re.search(r"^title\s*[:=]\s*[\"']?(.+?)[\"']?\s*$", head.group(2), re.MULTILINE)
    return (title.group(1) if title else ""), text[head.end() :]


_RST_RULE: Final = re.compile(r"([=\-~^\"'+*#`.:_])\1{2,}\s*$")
_RST_ROLE: Final = re.compile(r":[\w:+.-]+:`~?([^`<]*?)(?:\s*<([^`>]*)>)?`")


def _from_rst(text: str) -> str:
    """reStructuredText: underlined titles become headings, directives go (their bodies stay), roles keep their words."""
    text = _underlined(text.split("\n"))
    text = re.sub(
        r"^[ \t]*\.\. (?:code-block|sourcecode|parsed-literal|highlight)::.*$", "\n", text, flags=re.MULTILINE
    )
    text = re.sub(
        r"^[ \t]*\.\. (?:note|tip|warning|important|hint|caution)::[ \t]*",
        "",
        text,
        flags=re.MULTILINE,
    )
    text = re.sub(r"^[ \t]*\.\.(?:[ \t].*)?$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^[ \t]+:[\w -]+:.*$", "", text, flags=re.MULTILINE)
    text = _RST_ROLE.sub(lambda m: f"`{(m.group(1) or m.group(2) or '').strip()}`", text)
    text = re.sub(r"`([^`<]+?)\s*<[^`>]+>`__?", r"\1", text)
    text = re.sub(r"(?<![`\w])`([^`\n]+)`__?(?!\w)", r"\1", text)
    text = re.sub(r"\|([^|\n]+)\|_?", r"\1", text)
    text = text.replace("``", "`")
    return re.sub(r"::[ \t]*$", ":", text, flags=re.MULTILINE)


def _underlined(lines: list[str]) -> str:
    """Titles with a line of one mark under them (and perhaps over them) as # headings, levels in order of appearance."""
    levels: list[str] = []
    out: list[str] = []
    n = 0
    while n < len(lines):
        over = n + 2 < len(lines) and _RST_RULE.match(lines[n]) and lines[n].rstrip() == lines[n + 2].rstrip()
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
    if not _RST_RULE.match(under) or _RST_RULE.match(title):
        return False
    size = len(title.rstrip())
    return (
        0 < size <= 100
        and not title[0].isspace()
        and title.rstrip()[-1] not in ".,;|"
        and len(under.rstrip()) >= 0.6 * size
    )


def _from_plain(text: str) -> str:
    """Plain text: no indentation, headings where a line is underlined, or in capitals over indented text (manual pages)."""
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
    stripped = _underlined(out).split("\n")
    return "\n".join(line.strip() for line in stripped)


def _from_records(text: str) -> str:
    """JSON lines: each record a paragraph, under its title where it has one. A broken line is left out."""
    out = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        out.append(_record(record))
    if not any(out):
        raise NotRead("not read: no line of it is JSON")
    return "\n\n".join(filter(None, out))


def _record(record: Any) -> str:
    if isinstance(record, str):
        return record
    if not isinstance(record, dict):
        return ""
    fields = {str(k): v for k, v in record.items() if isinstance(v, str | int | float) and str(v).strip()}
    title = next((str(fields.pop(k)) for k in ("title", "name", "heading", "question") if k in fields), "")
    body = next((str(fields.pop(k)) for k in ("text", "body", "content", "answer", "passage") if k in fields), "")
    rest = "; ".join(f"{k}: {v}" for k, v in fields.items())
    head = "# " + " ".join(title.split()) if title else ""
    return "\n\n".join(filter(None, (head, body, rest)))


def _from_table(text: str, mark: str) -> str:
    """CSV: each row a paragraph "column: value; column: value."."""
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=mark))
    except csv.Error as error:
        raise NotRead(f"not read: no table ({error})") from error
    head = rows[0] if rows else []
    out = []
    for row in rows[1:]:
        cells = (
            f"{column.strip()}: {' '.join(cell.split())}"
            for column, cell in zip(head, row, strict=False)
            if cell.strip()
        )
        out.append("; ".join(cells))
    return "\n\n".join(f"{row}." for row in out if row)


_BLOCKS: Final = frozenset(
    """p div section article main header footer aside ul ol dl dt dd table thead tbody blockquote figure figcaption form
    fieldset body""".split()  # noqa: SIM905
)
_HIDDEN: Final = frozenset("script style head nav template noscript svg iframe button select".split())  # noqa: SIM905


class _Page(HTMLParser):
    """Writes Markdown as it hears the tags."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self.title = ""
        self._hidden: list[str] = []
        self._pre = 0
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        if tag == "body":
            self._hidden.clear()  # a head that was never closed
        if tag in _HIDDEN:
            self._hidden.append(tag)
        elif tag == "pre":
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
        if tag in self._hidden:
            del self._hidden[self._hidden.index(tag) :]
        elif tag == "pre" and self._pre:
            self._pre -= 1
            self.out.append("\n```\n\n")
        elif re.fullmatch(r"h[1-6]", tag) or tag in _BLOCKS or tag == "li":
            self.out.append("\n\n" if tag != "li" else "\n")
        elif tag in ("td", "th"):
            self.out.append(" | ")
        elif tag == "code" and not self._pre:
            self.out.append("`")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._hidden:
            self.out.append(data if self._pre else re.sub(r"\s+", " ", data))


def _from_html(text: str) -> tuple[str, str]:
    """A page's title and its text as Markdown. Scripts, styles and navigation are left out; broken HTML is read as it comes."""
    page = _Page()
    page.feed(text)
    page.close()
    lines = [line.rstrip() for line in "".join(page.out).split("\n")]
    out = [line.strip() if not line.startswith("    ") else line for line in lines]
    return " ".join(page.title.split())[:200], re.sub(r"\n{3,}", "\n\n", "\n".join(out)).strip()
