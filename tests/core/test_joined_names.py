"""The parts of joined names, by which a text is found, too."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tidewire.core import prose


def test_names_are_taken_apart_and_each_stands_once():
    text = "createServer() calls parseHTTPHeader, then createServer again; HTTPServer and plain words are left."
    assert prose.parts(text) == "create Server parse HTTP Header"
    assert prose.parts("nothing joined here, NOR HERE") == ""
    assert prose.parts("snake_caseName camelCase2 café_Au") == "", "digits and underscores belong to a name"
    assert prose.parts("Die größe von thisName: naïveWord") == "this Name"


@given(st.text(alphabet="abXY_9 .-(\n", max_size=60))
@example("aB")
@example("aBcD_ aB")
@example(" aB.aB")
def test_the_quick_way_finds_what_the_pattern_finds(text):
    assert prose._joined(text) == prose._CAMEL.findall(text)
