"""Which format a document has, by the ending of its name or its media type, and what reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Final, NamedTuple

import msgspec

from tidewire.retrieval.reading import code, docx, html, markdown, pdf, records, rst, tables, text
from tidewire.retrieval.reading.page import NoDocument, NotRead, Page

MOST: Final = 20_000_000  # characters of one document


class Format(NamedTuple):
    """kinds: its media types, the usual one first. packed: reads bytes that are no text, with a bound on its characters."""

    endings: frozenset[str]
    kinds: tuple[str, ...]
    text: Callable[[str], Page] | None = None
    packed: Callable[[bytes, int], Page] | None = None


def _endings(given: str) -> frozenset[str]:
    return frozenset(f".{ending}" for ending in given.split())


CODE: Final = Format(
    _endings(
        """py pyi js mjs cjs jsx ts tsx go rs c h cc cpp hpp java kt scala swift rb php pl pm lua sh bash zsh fish sql r jl cs fs hs ml
        ex exs erl clj vue svelte css scss proto graphql tf cmake toml yaml yml ini cfg conf json xml"""
    ),
    (
        "text/x-source",
        "application/json",
        "application/xml",
        "text/xml",
        "text/css",
        "text/javascript",
        "application/javascript",
    ),
    code.read,
)
PLAIN: Final = Format(_endings("txt text log man"), ("text/plain",), text.read)
HTML: Final = Format(_endings("html htm xhtml"), ("text/html", "application/xhtml+xml"), html.read)
FORMATS: Final = (
    Format(_endings("md markdown mdx mdown"), ("text/markdown", "text/x-markdown"), markdown.read),
    HTML,
    Format(_endings("rst rest"), ("text/x-rst", "text/prs.fallenstein.rst"), rst.read),
    Format(
        _endings("jsonl ndjson"), ("application/jsonl", "application/x-ndjson", "application/json-lines"), records.read
    ),
    Format(_endings("csv"), ("text/csv",), tables.read),
    Format(_endings("tsv"), ("text/tab-separated-values",), tables.read_tabs),
    Format(_endings("pdf"), ("application/pdf",), packed=pdf.read),
    Format(_endings("docx"), (docx.KIND,), packed=docx.read),
    CODE,
    PLAIN,
)
BY_ENDING: Final = {ending: form for form in FORMATS for ending in form.endings}
BY_KIND: Final = {kind: form for form in FORMATS for kind in form.kinds}
VAGUE: Final = frozenset({"", "text/plain", "application/octet-stream"})  # media types that servers say of anything
# Known, and not read by this version: each with what would read it.
FOREIGN: Final = {
    **dict.fromkeys(_endings("odt doc rtf pptx xlsx epub"), "a reader of office files"),
    **dict.fromkeys(_endings("gz zip bz2 xz zst tar 7z"), "unpacking first"),
}


def chosen(raw: bytes, name: str, kind: str = "") -> Format:
    """By the media type where it says more than "text", else by the ending, else by how it begins. Raises NotRead for what is foreign."""
    kind = kind.partition(";")[0].strip().lower()
    ending = PurePath(name).suffix.lower()
    if kind not in VAGUE and kind in BY_KIND:
        return BY_KIND[kind]
    if ending in FOREIGN:
        raise NoDocument(f"not read: {ending} needs {FOREIGN[ending]}")
    if ending in BY_ENDING:
        return BY_ENDING[ending]
    if kind not in VAGUE and not kind.startswith("text/"):
        raise NoDocument(f"not read: nothing here reads {kind[:80]}")
    if raw[:200].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return HTML
    return BY_KIND["application/pdf"] if raw.startswith(b"%PDF-") else PLAIN


def read(raw: bytes, name: str, kind: str = "", most: int = MOST) -> Page:
    """A document with its title, however it gives one. Raises NotRead; NoDocument for what is no text, or not known how to read."""
    form = chosen(raw, name, kind)
    if form.packed is not None:
        page = form.packed(raw, most)
    else:
        assert form.text is not None
        page = form.text(_decoded(raw, name))
    if len(page.text) > most:
        raise NotRead(f"not read: {len(page.text):,} characters of text, and {most:,} is the limit")
    if not page.text.strip():
        raise NoDocument("not read: it holds no text")
    title = page.title or (text.first_heading(page.text) if form is not CODE else "") or PurePath(name).name
    return msgspec.structs.replace(page, title=title)


def _decoded(raw: bytes, name: str) -> str:
    """Raises NotRead for what is binary under the name of a text, NoDocument for what nobody called one."""
    try:
        return text.decoded(raw)
    except NotRead as refusal:
        if PurePath(name).suffix.lower() in BY_ENDING:
            raise
        raise NoDocument(str(refusal)) from None
