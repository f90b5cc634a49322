from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.retrieval.reading import formats
from tidewire.retrieval.reading.page import NotRead


def read(raw: bytes, name: str) -> tuple[str, str]:
    page = formats.read(raw, name)
    return page.title, page.text


def text_of(raw: str, name: str) -> str:
    return read(raw.encode(), name)[1]


def test_a_markdown_title_is_its_first_heading_and_its_text_is_kept() -> None:
    raw = "# A *fine* `title`\n\nSome words.\n"
    assert read(raw.encode(), "a.md") == ("A fine title", raw)


def test_a_title_in_the_front_matter_wins_and_the_front_matter_is_cut_off() -> None:
    title, text = read(b'---\ntitle: "The guide"\ntags: [a]\n---\n# Other\n\nWords.', "a.md")
    assert title == "The guide"
    assert text == "# Other\n\nWords."


def test_a_file_without_a_heading_is_called_by_its_name() -> None:
    assert read(b"just words", "notes.txt")[0] == "notes.txt"


def test_html_becomes_markdown_without_scripts_and_navigation() -> None:
    title, text = read(
        b"<html><head><title>The page</title><style>p{}</style></head><body><nav>Home | Away</nav><h2>Head</h2><p>One <b>two</b>"
        b"\n three.<script>alert(1)</script></p><ul><li>first</li><li>second</li></ul><pre>x = 1\ny = 2</pre></body></html>",
        "a.html",
    )
    assert title == "The page"
    assert "## Head\n\nOne two three." in text
    assert "- first\n" in text
    assert "- second" in text
    assert "```\nx = 1\ny = 2\n```" in text
    assert "alert" not in text
    assert "Home" not in text
    assert "p{}" not in text


@given(st.text())
def test_no_html_is_too_broken_to_be_read(page: str) -> None:
    with contextlib.suppress(NotRead):
        read(page.encode("utf-8", "ignore"), "a.html")


def test_restructured_text_titles_become_headings_and_roles_their_words() -> None:
    raw = "Title\n=====\n\nUse :py:func:`open` and ``read``.\n\n.. code-block:: python\n\n    x = 1\n\nPart\n----\n\nSee `the site <http://x>`_."
    title, text = read(raw.encode(), "a.rst")
    assert title == "Title"
    assert "# Title" in text
    assert "## Part" in text
    assert "Use `open` and `read`." in text
    assert "See the site." in text
    assert "code-block" not in text


def test_a_manual_page_loses_its_indentation_and_gets_headings() -> None:
    text = text_of(
        "LS(1)\n\nNAME\n       ls - list directory contents\n\nOPTIONS\n       -a, --all\n              do not ignore\n",
        "ls.txt",
    )
    assert "## NAME" in text
    assert "## OPTIONS" in text
    assert "\nls - list directory contents\n" in text


def test_source_code_is_kept_as_it_is_and_its_comments_are_no_headings() -> None:
    title, text = read(b"# a comment\nx = 1\n", "a.py")
    assert title == "a.py"
    assert "# a comment\nx = 1\n" in text


def test_json_lines_are_paragraphs_under_their_titles_and_broken_lines_are_left_out() -> None:
    text = text_of('{"title": "One", "text": "First."}\nnot json\n{"text": "Second.", "n": 2}\n', "a.jsonl")
    assert text == "# One\n\nFirst.\n\nSecond.\n\nn: 2"


def test_table_rows_name_their_columns() -> None:
    assert text_of("city,people\nBern,134000\nBasel,\n", "a.csv") == "city: Bern; people: 134000.\n\ncity: Basel."


@pytest.mark.parametrize(
    ("raw", "name", "why"),
    [
        (b"PK", "a.odt", "needs a reader of office files"),
        (b"\x1f\x8b", "a.txt.gz", "needs unpacking first"),
        (b"ab\0cd", "a.txt", "binary"),
        (bytes(range(1, 32)) * 20, "a.txt", "binary"),
        (b"  \n ", "a.md", "no text"),
        (b"nothing\n", "a.jsonl", "no line of it is JSON"),
    ],
)
def test_what_cannot_be_read_says_why(raw: bytes, name: str, why: str) -> None:
    with pytest.raises(NotRead, match=why):
        read(raw, name)


def test_text_that_is_not_utf_8_is_read_as_latin_1_and_utf_16_by_its_mark() -> None:
    assert read("Größe".encode("latin-1"), "a.txt")[1] == "Größe"
    assert read("Größe".encode("utf-16"), "a.txt")[1] == "Größe"
