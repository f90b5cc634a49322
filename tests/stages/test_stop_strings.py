"""Stop strings, however the host cuts its text: the same output, and every other event in its place."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from tidewire.core.events import Citation, Delta, Event, Finish, Notice, PartEnded, PartStarted, Usage
from tidewire.stages.stop import Stop

letters = st.text("abc", max_size=12)
stops = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3)


def through(stop: Stop, events: list[Event]) -> list[Event]:
    return [out for event in events for out in stop.feed(event)] + list(stop.end())


def spoken(events: list[Event], part: int = 0) -> str:
    return "".join(e.text for e in events if isinstance(e, Delta) and e.part == part)


def cut(text: str, places: list[int]) -> list[str]:
    marks = sorted({p for p in places if 0 < p < len(text)})
    return [text[a:b] for a, b in zip([0, *marks], [*marks, len(text)], strict=True)]


def before_the_first(text: str, strings: list[str]) -> tuple[str, bool]:
    """The rule, character by character: the first stop string to be complete; of several at once, the longest."""
    for end in range(1, len(text) + 1):
        done = [s for s in strings if text[:end].endswith(s)]
        if done:
            return text[: end - max(map(len, done))], True
    return text, False


@given(letters, stops, st.lists(st.integers(1, 11)))
@example("abcde", ["abcde", "cd"], [1, 2, 3, 4])
@example("aab", ["ab"], [1, 2])
def test_the_output_is_the_same_however_the_text_is_cut(text, strings, places):
    expected, met = before_the_first(text, strings)
    stop = Stop(strings)
    out = through(
        stop,
        [
            PartStarted(part=0, kind="text"),
            *(Delta(part=0, text=t) for t in cut(text, places)),
            PartEnded(part=0),
            Finish(reason="stop"),
        ],
    )
    assert spoken(out) == expected
    assert [type(e) for e in out if not isinstance(e, Delta)] == [PartStarted, PartEnded, Finish]
    assert out[-1] == (Finish(reason="stop_string", early=True) if met else Finish(reason="stop"))


others = st.sampled_from(["citation", "usage", "notice", "thought"])


@given(st.lists(st.one_of(st.text("ab", min_size=1, max_size=4), others), max_size=12), stops)
def test_every_other_event_stands_behind_the_same_text_as_before(said, strings):
    """Up to the stop string. Thoughts are not searched."""
    events: list[Event] = [PartStarted(part=0, kind="text"), PartStarted(part=1, kind="thinking")]
    for n, word in enumerate(said):
        made: dict[str, Event] = {
            "citation": Citation(part=0, start=n, end=n, source="s", title="t", passage="p"),
            "usage": Usage(counted_by="host", output=n),
            "notice": Notice(code=str(n), message="m"),
            "thought": Delta(part=1, text=f"{n} abc "),
        }
        events.append(made.get(word, Delta(part=0, text=word)))
    events += [PartEnded(part=1), PartEnded(part=0)]
    out = through(Stop(strings), events)

    def places(of: list[Event]) -> list[tuple[str, Event]]:
        seen = ""
        found = []
        for event in of:
            if isinstance(event, Delta) and event.part == 0:
                seen += event.text
            elif not isinstance(event, (Finish, PartEnded)):
                found.append((seen, event))
        return found

    expected, met = before_the_first(spoken(events), strings)
    assert spoken(out) == expected
    wanted = [(text, e) for text, e in places(events) if len(text) <= len(expected)]
    if met:  # what stood exactly at the cut may have come with it or behind it
        got = places(out)
        assert got == wanted[: len(got)]
        assert all(len(text) == len(expected) for text, _ in wanted[len(got) :])
    else:
        assert places(out) == wanted


def test_no_more_is_held_back_than_could_still_become_a_stop_string():
    stop = Stop(["\n\nUser:"])
    stop.feed(PartStarted(part=0, kind="text"))
    assert list(stop.feed(Delta(part=0, text="Hello"))) == [Delta(part=0, text="Hello")]
    assert list(stop.feed(Delta(part=0, text=" world\n"))) == [Delta(part=0, text=" world")]
    assert list(stop.feed(Delta(part=0, text="\nUse"))) == []
    assert list(stop.feed(Delta(part=0, text="ful"))) == [Delta(part=0, text="\n\nUseful")]


def test_a_stop_string_is_looked_for_in_each_text_by_itself():
    stop = Stop(["abc"])
    out = through(
        stop,
        [
            PartStarted(part=0, kind="text"),
            Delta(part=0, text="xab"),
            PartStarted(part=1, kind="text"),
            Delta(part=1, text="c"),
            PartEnded(part=0),
            PartEnded(part=1),
        ],
    )
    assert (spoken(out), spoken(out, 1)) == ("xab", "c")
    assert [e.part for e in out if isinstance(e, PartEnded)] == [0, 1]


def test_tool_arguments_are_not_searched():
    stop = Stop(["}"])
    out = through(stop, [PartStarted(part=0, kind="tool_call", name="f", call="c"), Delta(part=0, text="{}")])
    assert spoken(out) == "{}"


def test_nothing_comes_after_a_stop_string():
    stop = Stop(["b"])
    events = [
        PartStarted(part=0, kind="text"),
        Delta(part=0, text="ab"),
        Delta(part=0, text="c"),
        PartEnded(part=0),
        Finish(reason="length"),
    ]
    out = through(stop, events)
    assert out[1:] == [Delta(part=0, text="a"), PartEnded(part=0), Finish(reason="stop_string", early=True)]


def test_empty_stop_strings_stop_nothing():
    assert spoken(through(Stop(["", ""]), [PartStarted(part=0, kind="text"), Delta(part=0, text="abc")])) == "abc"
