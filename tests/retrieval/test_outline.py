from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidewire.retrieval.chunk import MOST, chunks
from tidewire.retrieval.outline import definitions
from tidewire.retrieval.reading import formats

PYTHON = '''import os

@cached
# Says how high.
def level(at):
    """Of the water."""
    return at


class Tide:
    size = 1

    async def rise(self):
        return 1

    def fall(self):
        return 2


def last():
    pass
'''
C = """#include <sea.h>

// How high.
static int level(struct sea *at, int now) {
  if (now) {
    return 1;
  }
}

void fall(void) {
}
"""


def named(code: str) -> list[tuple[tuple[str, ...], str]]:
    return [(names, code[start:end].partition("\n")[0]) for start, end, names in definitions(code, 0, len(code))]


def test_python_is_cut_before_each_definition_with_what_stands_over_it() -> None:
    assert named(PYTHON) == [
        ((), "import os"),
        (("level",), "@cached"),
        (("Tide",), "class Tide:"),
        (("Tide", "rise"), "    async def rise(self):"),
        (("Tide", "fall"), "    def fall(self):"),
        (("last",), "def last():"),
    ]


def test_languages_with_braces_are_cut_too_and_their_conditions_define_nothing() -> None:
    assert [names for names, _ in named(C)] == [(), ("level",), ("fall",)]
    javascript = "export class A {\n  b() {\n    while (x) {\n    }\n  }\n}\nexport async function c() {\n}\n"
    assert [names for names, _ in named(javascript)] == [("A",), ("A", "b"), ("c",)]
    rust = "impl Tide {\n    pub fn rise(&self) -> u8 {\n    }\n}\npub(crate) struct Low;\n"
    assert [names for names, _ in named(rust)] == [("Tide",), ("Tide", "rise"), ("Low",)]


@given(st.lists(st.sampled_from(["def f():", "  x = 1", "", "class A:", "# note", "f(a) {", "}", "\t"]), max_size=60))
def test_the_pieces_follow_on_each_other_and_leave_nothing_out(lines: list[str]) -> None:
    code = "\n".join(lines)
    at = 0
    for start, end, _ in definitions(code, 0, len(code)):
        assert start >= at
        assert not code[at:start].strip()
        at = end
    assert not code[at:].strip()


def test_a_long_file_has_chunks_named_by_what_is_defined_in_them() -> None:
    code = "".join(f"def part{n}():\n" + "    value = compute(one, two, three)\n" * 15 + "\n" for n in range(4))
    cut = chunks(formats.read(code.encode(), "a.py").text)
    assert [chunk.heading for chunk in cut] == ["part0", "part1", "part2", "part3"]
    assert all(chunk.text.lstrip("~\n").startswith("def part") for chunk in cut)
    assert all(len(chunk.text.split()) <= MOST for chunk in cut)
