"""What refuses a document says why; what to do about it is found by those words, as they are said today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tidewire.retrieval.reading as reading
from tidewire.retrieval.reading import formats
from tidewire.retrieval.reading.page import NotRead
from tidewire.retrieval.remedies import REMEDIES, remedy


def said() -> list[str]:
    """The words of every refusal in the room that reads, as they stand in its source; what is filled in is a number."""
    found: list[str] = []
    for file in Path(reading.__path__[0]).glob("*.py"):
        source = file.read_text("utf-8")
        found += [
            re.sub(r"\{[^}]*\}", "7", text) for text in re.findall(r'NotRead\(\s*f?"(not read: .*?)"\s*\)', source)
        ]
    return found


def test_every_refusal_of_the_readers_has_a_remedy() -> None:
    refusals = said()
    assert len(refusals) > 15
    # FOREIGN fills in what it takes; a package of no known ending says its media type.
    assert [why for why in refusals if not remedy(why) and "needs 7" not in why] == []
    assert all(remedy(f"not read: .x needs {what}") for what in formats.FOREIGN.values())


@pytest.mark.parametrize(
    ("raw", "name", "what"),
    [
        (b"\0\1", "a.txt", "no text"),
        (b"x", "a.zip", "Unpack it"),
        (b"x", "a.xlsx", "Save it as .docx"),
        (b"  ", "a.txt", "nothing to find"),
    ],
)
def test_what_to_do_fits_what_is_wrong(raw: bytes, name: str, what: str) -> None:
    with pytest.raises(NotRead) as refused:
        formats.read(raw, name)
    assert what in remedy(str(refused.value))


def test_what_nobody_knows_anything_about_has_no_remedy() -> None:
    assert remedy("something else") == ""
    assert all(text.endswith(".") for _, text in REMEDIES)
