"""Markers of passages in a text, however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core.events import Citation, Delta, Edit, Event, Finish, PartEnded, PartStarted
from tidewire.retrieval.markers import Markers

KNOWN = 3


def cite(n: int, part: int, start: int, end: int) -> Citation | None:
    return Citation(part=part, start=start, end=end, source=str(n), title="", passage="") if 1 <= n <= KNOWN else None


def run(pieces: list[str]) -> list[Event]:
    markers = Markers(cite)
    told = [
        PartStarted(part=0, kind="text"),
        *(Delta(part=0, text=p) for p in pieces),
        PartEnded(part=0),
        Finish(reason="stop"),
    ]
    return [out for event in told for out in markers.feed(event)] + list(markers.end())


def cited(pieces: list[str]) -> list[tuple[str, str]]:
    text = "".join(pieces)
    return [(e.source, text[e.start : e.end]) for e in run(pieces) if isinstance(e, Citation)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tides are due to the moon [1].", [("1", "Tides are due to the moon")]),
        ("One. Two is so. [2] Three [1].", [("2", "Two is so."), ("1", "Three")]),
        ("Both say it [1][2]", [("1", "Both say it"), ("2", "Both say it")]),
        ("Both say it [1, 3]; rest [2]", [("1", "Both say it"), ("3", "Both say it"), ("2", "rest")]),
        ("As said in [1]: it rises.", [("1", "As said in")]),
        ("- An item [1]\n- Another [2]", [("1", "An item"), ("2", "Another")]),
        ("It rises [1, 9].", [("1", "It rises")]),
        ("Nothing has this number [7] or [0] or [1234].", []),
        ("A link [1](http://x) and\n[1]: http://y and \\[1] and ![1](z)", []),
        ("Code `a[1]` is none; this is `b`[2].", [("2", "Code `a[1]` is none; this is `b`")]),
        ("```\nx[1] = `[2]`\n```\nBehind it [3]", [("3", "Behind it")]),
        ("A stray ` ends with its paragraph.\n\nSaid [1]", [("1", "Said")]),
        ("[ ] to do, [x] done, [1", []),
        ("[" + "1," * 60 + "1]", []),
    ],
)
def test_a_marker_cites_what_is_said_before_it(text: str, expected: list[tuple[str, str]]) -> None:
    found = [(source, words.split("; ")[-1] if "; " in words else words) for source, words in cited([text])]
    assert found == [(source, words.split("; ")[-1]) for source, words in expected]
    for size in (1, 2, 3, 7):
        assert cited([text[n : n + size] for n in range(0, len(text), size)]) == cited([text])


@given(st.lists(st.text(alphabet="ab .\n`[]()!\\:,;0123é🌊", max_size=9), max_size=12))
def test_text_is_never_held_back_or_changed_and_cuts_make_no_difference(pieces: list[str]) -> None:
    events = run(pieces)
    assert [e.text for e in events if isinstance(e, Delta)] == pieces
    assert cited(pieces) == cited(["".join(pieces)])
    assert [type(e) for e in events[-2:]] == [PartEnded, Finish]
    length = len("".join(pieces))
    assert all(0 <= e.start <= e.end <= length for e in events if isinstance(e, Citation))


def test_a_text_that_is_rewritten_is_cited_no_further() -> None:
    markers = Markers(cite)
    markers.feed(PartStarted(part=0, kind="text"))
    markers.feed(Delta(part=0, text="One "))
    markers.feed(Edit(part=0, start=0, end=3, text="Two"))
    assert [type(e) for e in markers.feed(Delta(part=0, text="[1] "))] == [Delta]


def test_other_parts_have_texts_of_their_own_and_arguments_of_tools_none() -> None:
    markers = Markers(cite)
    markers.feed(PartStarted(part=0, kind="text"))
    markers.feed(PartStarted(part=1, kind="tool_call", call="c", name="f"))
    markers.feed(Delta(part=0, text="One ["))
    assert len(markers.feed(Delta(part=1, text="[1] "))) == 1
    (_, citation) = markers.feed(Delta(part=0, text="1] "))
    assert isinstance(citation, Citation)
    assert (citation.start, citation.end) == (0, 3)
