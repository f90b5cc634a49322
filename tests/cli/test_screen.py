from __future__ import annotations

import pytest

from tidewire.cli.screen import Screen, figures, harmless, sources
from tidewire.core.events import (
    Attempt,
    Blob,
    Citation,
    Closed,
    Delta,
    Edit,
    ErrorInfo,
    Notice,
    PartEnded,
    PartStarted,
    Progress,
    Span,
)


def cited(source: str, title: str, uri: str | None = None) -> Citation:
    return Citation(part=0, start=0, end=1, source=source, title=title, passage="p", uri=uri)


@pytest.fixture
def painted(capsys):
    def paint(*events):
        screen = Screen()
        for seq, event in enumerate(events, 1):
            event.seq = seq
        screen.paint(events)
        return capsys.readouterr()

    return paint


def test_text_and_sources_are_output_and_the_rest_is_not(painted):
    said = painted(
        Progress(stage="retrieving", detail="searching 3 passages"),
        PartStarted(part=0, kind="thinking"),
        Delta(part=0, text="let me see"),
        PartEnded(part=0),
        PartStarted(part=1, kind="text"),
        Delta(part=1, text="Yes"),
        Delta(part=1, text=", it is."),
        cited("a", "Handbook", "a.md"),
        Closed(status="completed", reason="stop"),
    )
    assert said.out == "Yes, it is.\n\n[1] Handbook (a.md)\n"
    assert said.err == "retrieving: searching 3 passages\nlet me see\n"


def test_a_refusal_is_text_and_a_picture_is_told_of(painted):
    said = painted(
        PartStarted(part=0, kind="image", media="image/png"),
        Blob(part=0, data=b"x", partial=True),
        Blob(part=0, data=b"x" * 2000),
        PartStarted(part=1, kind="refusal"),
        Delta(part=1, text="I will not."),
    )
    assert said.out == "I will not."
    assert said.err == "image: 2,000 bytes, which the console shows\n"


def test_nothing_that_a_model_says_drives_the_terminal(painted):
    said = painted(PartStarted(part=0, kind="text"), Delta(part=0, text="a\x1b]0;evil\x07b\x9bc\td\n"))
    assert said.out == "a]0;evilbc\td\n"
    assert harmless("\x1b[2J\r") == "[2J"


def test_a_tool_call_is_told_without_its_arguments(painted):
    said = painted(PartStarted(part=0, kind="tool_call", name="weather", call="c"), Delta(part=0, text='{"place":'))
    assert said.out == ""
    assert said.err == "asks for the tool weather\n"


def test_other_attempts_notices_and_ends_are_told(painted):
    said = painted(
        Attempt(n=1, provider="p", model="m", reason="start"),
        Attempt(n=2, provider="q", model="m", reason="fallback"),
        Notice(code="c", message="be careful"),
        Closed(status="incomplete", reason="length"),
    )
    assert said.err == "attempt 2, at q (fallback)\nbe careful\nnot complete (length)\n"
    failed = painted(Closed(status="failed", reason="error", error=ErrorInfo("e", "the host broke off")))
    assert failed.err == "failed: the host broke off\n"


def test_a_source_is_listed_once():
    assert sources([cited("a", "A", "a.md"), cited("b", "B"), cited("a", "A", "a.md")]) == ["A (a.md)", "B (b)"]
    since = {"a": "superseded", "c": "deleted since"}
    assert sources([cited("a", "A", "a.md"), cited("b", "B")], since) == ["A (a.md) (superseded)", "B (b)"]


def test_the_waterfall_starts_where_the_time_did():
    lines = figures(
        Closed(
            status="completed",
            reason="stop",
            ttft=12.4,
            tokens_per_second=50.0,
            output_tokens=7,
            cost=0.0012,
            spans=[Span("retrieval", 0.0, 50.0), Span("queue", 50.0, 50.0, "reported")],
        )
    )
    assert lines[0] == "first token after 12 ms · 50.0 tokens/s · 7 tokens · 0.001200 USD"
    assert lines[1] == f"retrieval  {'█' * 15}  50.0 ms"
    assert lines[2] == f"queue      {' ' * 15}{'█' * 15}  50.0 ms (reported)"
    assert figures(Closed(status="completed", reason="stop")) == []


def test_figures_say_that_nobody_was_paid():
    assert figures(Closed(status="completed", reason="stop", reused="cache")) == ["from the cache"]
    assert "shared" in figures(Closed(status="completed", reason="stop", reused="shared"))[0]


def test_a_text_that_was_edited_is_shown_again_as_it_reads_then(painted):
    said = painted(
        PartStarted(part=0, kind="text"),
        Delta(part=0, text="The river is the Tibre."),
        Edit(part=0, start=17, end=22, text="Tiber"),
        PartEnded(part=0),
        Closed(status="completed", reason="stop"),
    )
    assert said.out == "The river is the Tibre.\nThe river is the Tiber.\n"
    assert said.err == "the answer was edited, and reads now:\n"
