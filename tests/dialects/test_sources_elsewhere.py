"""What an answer was given, cites and has lost, in each dialect: as that dialect's own citations, which its SDK reads, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from test_edits_elsewhere import DIALECTS, META, entries

from tidewire.core import events as ev
from tidewire.core.sources import Source

TEXT = ("Café \U0001f30a: tides", " rise [1]. ", "Twice a day [2].")
WHOLE = "".join(TEXT)
SAID = ("Café \U0001f30a: tides rise", "Twice a day")
GIVEN = [
    Source(document=f"doc_{n}", version=n, chunk=n, title="Tides", published=1.0, indexed=2.0, age=3.0, score=0.5)
    for n in (1, 2)
]
RETRIEVED = ev.Retrieved(namespace="acme", epoch=7, passages=GIVEN, ms=1.5)
SUPERSEDED = ev.Superseded(document="doc_1", version=1, chunks=[1])
TELLING = {"agui", "ui_messages"}  # the others have no word for either


def cited(n: int, uri: str | None) -> ev.Citation:
    start = WHOLE.index(SAID[n - 1])
    return ev.Citation(
        part=0, start=start, end=start + len(SAID[n - 1]), source=f"doc_{n}", title="Tides", passage="High water.", uri=uri,
        age=3.0, score=0.5, chunk=n, version=n,
    )  # fmt: skip


def log(*, told: bool = True) -> list[ev.Event]:
    first, second, third = (ev.Delta(part=0, text=text) for text in TEXT)
    out = [
        ev.Opened(stream="s", model="m", created=0, durability="memory", on_disconnect="cancel", protocol="p", epoch=1),
        ev.Progress(stage="retrieving"),
        RETRIEVED,
        ev.PartStarted(part=0, kind="text"),
        first,
        second,
        cited(1, "https://tides.example/a"),
        SUPERSEDED,
        third,
        cited(2, None),
        ev.PartEnded(part=0),
        ev.Closed(status="completed", reason="stop", input_tokens=1, output_tokens=2),
    ]
    return [event for event in out if told or not isinstance(event, ev.Retrieved | ev.Superseded)]


def rendered(dialect: Any, *, whole: bool, told: bool = True) -> bytes:
    renderer = dialect.whole(META) if whole else dialect.stream(META)
    return b"".join(renderer.feed([entry]) for entry in entries(*log(told=told)))


def document(name: str) -> Any:
    return json.loads(rendered(next(d for d in DIALECTS if d.name == name), whole=True))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_what_has_no_word_in_a_dialect_is_left_out_and_breaks_nothing(dialect: Any, whole: bool) -> None:
    with_them, without = rendered(dialect, whole=whole), rendered(dialect, whole=whole, told=False)
    if dialect.name in TELLING:
        assert b"superseded" in with_them
        assert whole or b"retrieved" in with_them
    else:
        assert with_them == without


def test_chat_completions_has_url_citations_at_code_points() -> None:
    types = pytest.importorskip("openai.types.chat")
    (choice,) = types.ChatCompletion.model_validate(document("openai_chat")).choices
    notes = [note.url_citation for note in choice.message.annotations]
    assert [choice.message.content[n.start_index : n.end_index] for n in notes] == list(SAID)
    assert [n.url for n in notes] == ["https://tides.example/a", "doc_2"]


def test_responses_has_url_and_file_citations_at_code_points() -> None:
    types = pytest.importorskip("openai.types.responses")
    (message,) = types.Response.model_validate(document("openai_responses")).output
    (content,) = message.content
    first, second = content.annotations
    assert content.text[first.start_index : first.end_index] == SAID[0]
    assert (first.type, second.type, second.file_id) == ("url_citation", "file_citation", "doc_2")
    assert content.text[: second.index].endswith(SAID[1])


def test_messages_has_the_locations_of_its_sdk() -> None:
    types = pytest.importorskip("anthropic.types")
    (block,) = types.Message.model_validate(document("anthropic")).content
    assert [type(one).__name__ for one in block.citations] == [
        "CitationsWebSearchResultLocation",
        "CitationsSearchResultLocation",
    ]
    assert [one.cited_text for one in block.citations] == ["High water."] * 2


def test_cohere_has_the_words_that_it_cites() -> None:
    cohere = pytest.importorskip("cohere")
    answer = cohere.V2ChatResponse.model_validate(document("cohere"))
    assert [one.text for one in answer.message.citations] == list(SAID)
    assert [WHOLE[one.start : one.end] for one in answer.message.citations] == list(SAID)


def test_gemini_counts_bytes() -> None:
    types = pytest.importorskip("google.genai.types")
    (candidate,) = types.GenerateContentResponse.model_validate(document("gemini")).candidates
    raw = WHOLE.encode()
    segments = [one.segment for one in candidate.grounding_metadata.grounding_supports]
    assert [raw[s.start_index : s.end_index].decode() for s in segments] == list(SAID)
    assert len(candidate.grounding_metadata.grounding_chunks) == 2


def test_ui_messages_has_sources_and_a_part_that_stays_for_what_changed() -> None:
    parts = {part["type"]: part for part in document("ui_messages")["parts"]}
    assert parts["source-url"]["url"] == "https://tides.example/a"
    said = parts["source-document"]["providerMetadata"]["tidewire"]
    assert WHOLE[said["start"] : said["end"]] == SAID[1]
    assert (said["age"], said["chunk"], said["version"]) == (3.0, 2, 2)
    assert parts["data-superseded"]["data"] == {"document": "doc_1", "version": 1, "chunks": [1]}
