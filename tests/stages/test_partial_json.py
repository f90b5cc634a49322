"""JSON read while it is written: the same values for every cut, and those of json.loads; what is no JSON is refused in the same place."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidewire.stages.partial_json import NESTED, Malformed, PartialJson

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
places = st.lists(st.integers(0, 400), max_size=8)


def cut(text: str, where: list[int]) -> list[str]:
    marks = sorted({p for p in where if 0 < p < len(text)})
    return [text[a:b] for a, b in zip([0, *marks], [*marks, len(text)], strict=True)]


def read(*pieces: str):
    """(the values in order of their completion with their places, the whole value, why it is no JSON)"""
    reader = PartialJson()
    found = []
    try:
        for piece in pieces:
            for complete in reader.feed(piece):
                found.append((complete.path, json.dumps(complete.value), complete.depth, complete.size))
        reader.end()
    except Malformed as wrong:
        return found, None, str(wrong)
    return found, reader.value, None


def inside(value, path="", depth=0):
    """Every place of a value in the order in which it is complete."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in members:
        below = f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}"
        yield from inside(one, below, depth + 1)
        yield below, json.dumps(one), depth + 1


@given(values, places, st.sampled_from([None, 2]), st.booleans())
@example({"a/b~c": [1, {"": '\ud83d\ude00\\"\n'}]}, [3, 9, 12], None, True)
@example(-0.5e-7, [1, 2, 3], None, True)
@example([-(1 << 63), (1 << 64) - 1, -(10**17)], [], None, False)
def test_the_values_are_those_of_the_whole_text_however_it_is_cut(value, where, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    found, whole, wrong = read(*cut(text, where))
    assert wrong is None
    assert json.dumps(whole) == json.dumps(value)
    assert [f[:3] for f in found] == list(inside(value))
    assert found == read(*text)[0] == read(text)[0]


@given(st.text(st.sampled_from('{}[]":,\\ue01-.tfn`\n '), max_size=24), places)
@example("```json\n{}\n```", [1, 2, 4, 9, 12])
@example('{"a":1}}', [])
@example('["\\ud800"]', [4])
@example("```", [1])
def test_any_text_is_read_or_refused_alike_however_it_is_cut(text, where):
    whole = read(text)
    assert read(*cut(text, where)) == whole
    assert read(*text) == whole
    try:
        expected = json.loads(text, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        assert whole[2] is not None or "```" in text
    else:
        assert whole[2] is None
        assert json.dumps(whole[1]) == json.dumps(expected).replace("\\ud800", "\\ufffd") or "\\u" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no JSON in it"),
        ("Sure! {}", "it does not begin with JSON"),
        ("`{}`", "it does not begin with JSON"),
        ("```json\n{}\n``` There.", "there is more text behind the JSON"),
        ("{} and so on", "there is more text behind the JSON"),
        ('{"a":', "it ends inside '/a'"),
        ('{"a":[1,2', "it ends inside"),
        ('{"a":[1,]}', "there is ']' at '/a/1', where JSON has none"),
        ("{'a':1}", "there is \"'\" at '/', where JSON has none"),
        ('{"a":tru}', "there is 'tru' at '/a', which is no JSON"),
        ('{"a":01}', "there is '01' at '/a', which is no JSON"),
        ('{"a":NaN}', "there is 'NaN' at '/a', which is no JSON"),
        ('{"a":1e999}', "there is a number at '/a' that is too large"),
        ('{"a":"\n"}', "there is a string at '/a' that is not written as JSON asks"),
        ('{"a":"\\x"}', "there is a string at '/a' that is not written as JSON asks"),
        ('{"a":' + "1" * 500 + "}", "there is a word or a number of more than 400 characters at '/a'"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text, said):
    _, value, wrong = read(*text)
    assert value is None
    assert wrong is not None
    assert said in wrong


@pytest.mark.parametrize("text", ["```json\n[1]\n```", "```\n[1]```", "  ```JSON  \r\n[1]\n\n```\n"])
def test_a_code_fence_around_it_is_taken_and_known_of(text):
    reader = PartialJson()
    found = [complete.path for piece in text for complete in reader.feed(piece)]
    reader.end()
    assert (found, reader.value, reader.fenced) == (["/0"], [1], True)


def test_half_a_character_becomes_the_sign_for_what_is_unknown():
    assert read('["\\ud83d\\ude00 \\ud83d"]')[1] == ["😀 \ufffd"]


def test_a_number_that_no_client_could_hold_exactly_is_a_double():
    assert read("[123456789012345678901234567890]")[1] == [1.2345678901234568e29]


def test_deep_nesting_is_refused_before_it_costs_anything():
    assert read("[" * NESTED + "]" * NESTED)[2] is None
    assert read("[" * 100_000)[2] == f"it is nested deeper than {NESTED} levels"


def test_a_place_that_is_too_long_to_name_is_still_read():
    found, value, _ = read('{"' + "x" * 2000 + '":[1],"a":2}')
    assert [f[0] for f in found] == [None, None, "/a"]
    assert len(value) == 2


def test_the_same_name_twice_is_announced_twice_and_the_last_one_stays():
    found, value, _ = read('{"a":1,"a":2}')
    assert [f[:2] for f in found] == [("/a", "1"), ("/a", "2")]
    assert value == {"a": 2}
