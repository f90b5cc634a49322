from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidewire.retrieval.chunk import MOST, chunks

WORDS = st.sampled_from(
    [
        "one",
        "two.",
        "Three",
        "four!",
        "fünf",
        "六",
        "# head",
        "## sub",
        "\n",
        "\n\n",
        "- item",
        "| a | b |",
        "```",
        "x" * 50,
    ]
)
TEXTS = st.lists(WORDS, max_size=400).map(" ".join) | st.text(max_size=300)


@given(TEXTS)
def test_a_chunk_stands_in_the_text_at_its_offset(text: str) -> None:
    for chunk in chunks(text):
        assert text[chunk.start : chunk.start + len(chunk.text)] == chunk.text


@given(TEXTS)
def test_chunks_leave_nothing_out_but_white_space_and_do_not_overlap(text: str) -> None:
    at = 0
    for chunk in chunks(text):
        assert chunk.start >= at
        assert not text[at : chunk.start].strip()
        at = chunk.start + len(chunk.text)
    assert not text[at:].strip()


@given(TEXTS)
def test_no_chunk_is_too_long(text: str) -> None:
    assert all(len(chunk.text.split()) <= MOST for chunk in chunks(text))


def test_a_text_without_spaces_is_cut_anyway() -> None:
    assert all(len(chunk.text) <= 12 * MOST for chunk in chunks("x" * 100_000))


def test_a_chunk_knows_the_headings_above_it() -> None:
    text = "# Guide\n\n" + "Word. " * 100 + "\n\n## Install\n\n" + "More. " * 100 + "\n\n## Use\n\n" + "Last. " * 100
    assert [chunk.heading for chunk in chunks(text)] == ["Guide", "Guide > Install", "Guide > Use"]


def test_a_heading_is_never_cut_off_from_what_it_is_over() -> None:
    text = "# A\n\n" + "Word. " * 170 + "\n\n## B\n\nShort one."
    assert chunks(text)[-1].text == "## B\n\nShort one."


def test_small_sections_share_a_chunk() -> None:
    assert len(chunks("# A\n\nOne.\n\n## B\n\nTwo.\n\n## C\n\nThree.")) == 1


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    text = " ".join(f"This is the sentence with the number {n} in it." for n in range(100))
    assert all(chunk.text.startswith("This is") and chunk.text.endswith("in it.") for chunk in chunks(text))


def test_the_text_is_empty_and_so_are_its_chunks() -> None:
    assert chunks("") == chunks(" \n\n") == []
