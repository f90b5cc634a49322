from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence

import async_solipsism
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidewire.core import prose
from tidewire.core.events import (
    Attempt,
    Citation,
    Delta,
    Event,
    Finish,
    PartEnded,
    PartStarted,
    Progress,
    Timing,
    Usage,
)
from tidewire.core.ports import Passage, Sink
from tidewire.core.request import Message, Request, Text
from tidewire.providers.extractive import Extractive
from tidewire.providers.quoting import choose, clean


class Shelf:
    """A corpus of passages at hand: those that share a word with the question, most words first."""

    def __init__(self, *passages: Passage) -> None:
        self.passages = passages
        self.queries: list[str] = []

    @contextlib.asynccontextmanager
    async def search(self, request: Request, query: str, limit: int, sink: Sink) -> AsyncIterator[Sequence[Passage]]:
        self.queries.append(query)
        asked = {prose.stem(w) for w in prose.content_words(query)}
        shared = [(len(asked & {prose.stem(w) for w in prose.words(p.text)}), p) for p in self.passages]
        yield [p for n, p in sorted(shared, key=lambda s: -s[0]) if n][:limit]

    async def count(self, namespace: str) -> int:
        return len(self.passages)

    async def rarity(self, namespace: str, terms: Sequence[str]) -> dict[str, float]:
        return dict.fromkeys(terms, 1.0)


class Basin:
    """A sink that keeps what it is fed, and may be full all the time."""

    def __init__(self, *, full: bool = False) -> None:
        self.events: list[Event] = []
        self.times: list[float] = []
        self.full = full
        self.waits = 0

    def feed(self, events: Sequence[Event]) -> None:
        self.events += events
        self.times += [asyncio.get_running_loop().time()] * len(events)

    async def room(self) -> None:
        self.waits += 1

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Delta))

    @property
    def citations(self) -> list[Citation]:
        return [e for e in self.events if isinstance(e, Citation)]


def passage(text: str, source: str = "doc_1", **more) -> Passage:
    return Passage(source=source, title=source.upper(), text=text, uri=f"{source}.md", changed=1.0, score=1.0, **more)


def request(*questions: str, **more) -> Request:
    return Request(model="extractive", messages=[Message("user", [Text(q)]) for q in questions], **more)


async def answer(shelf: Shelf, asked: Request, *, interval: float = 0.0) -> Basin:
    basin = Basin()
    await Extractive(shelf, interval).answer(asked, basin)
    return basin


TIDES = passage(
    "# Tides\n\nA tide is the rise of the sea. It comes **twice** a day, see [the table](http://x/y).\n\n"
    "- The moon pulls the tide with `gravity()`.\n\n```\ntide = moon.pull()\n```\n\n| tide | hour |\n|---|---|\n"
)
WIND = passage("Strong wind from the land may hold a tide back for hours. Ships wait for it in the port.", "doc_2")


async def test_an_answer_is_sentences_of_the_documents_each_with_its_source() -> None:
    basin = await answer(Shelf(TIDES, WIND), request("What is a tide?"))
    assert basin.text.startswith("A tide is the rise of the sea.")
    for citation in basin.citations:
        said = basin.text[citation.start : citation.end]
        assert said in (
            "A tide is the rise of the sea.",
            "The moon pulls the tide with `gravity()`.",
            "It comes twice a day, see the table.",
            "Strong wind from the land may hold a tide back for hours.",
        )
        assert citation.source in ("doc_1", "doc_2")
        assert citation.age is not None
        assert citation.age > 1e9
    assert len(basin.citations) >= 2
    assert "moon.pull" not in basin.text
    assert "hour |" not in basin.text


async def test_the_events_come_in_order_and_end_with_usage_and_finish() -> None:
    basin = await answer(Shelf(TIDES), request("What is a tide?"))
    kinds = [type(e) for e in basin.events]
    assert kinds[:6] == [Attempt, Progress, Timing, Progress, PartStarted, Delta]
    assert kinds[-3:] == [PartEnded, Usage, Finish]
    assert basin.events[1] == Progress(stage="retrieving", detail="searching 1 passage")
    usage, finish = basin.events[-2:]
    assert usage == Usage(counted_by="server", input=4, output=kinds.count(Delta))
    assert finish == Finish(reason="stop")


async def test_a_citation_follows_at_once_behind_its_sentence() -> None:
    basin = await answer(Shelf(TIDES, WIND), request("What is a tide?"))
    written = 0
    for event in basin.events:
        if isinstance(event, Delta):
            written += len(event.text)
        elif isinstance(event, Citation):
            assert event.end == written


async def test_documents_are_kept_together() -> None:
    basin = await answer(Shelf(TIDES, WIND), request("tide"))
    sources = [c.source for c in basin.citations]
    assert sources == sorted(sources)
    assert len(set(sources)) == 2
    assert "\n\n" in basin.text


@pytest.mark.parametrize(("shelf", "question", "says"), [
    (Shelf(), "What is a tide?", "tidewire ingest PATH"),
    (Shelf(TIDES, WIND), "Who won the chess game?", "nothing about \u201cWho won the chess game\u201d in the 2 indexed passages"),
    (Shelf(TIDES), "what is it?", "no word that I could search for"),
    (Shelf(TIDES), "", "no word that I could search for"),
])  # fmt: skip
async def test_nothing_found_is_said_plainly(shelf: Shelf, question: str, says: str) -> None:
    basin = await answer(shelf, request(question))
    assert says in basin.text
    assert basin.citations == []
    assert basin.events[-1] == Finish(reason="stop")


async def test_one_shared_word_of_many_is_called_no_direct_answer() -> None:
    basin = await answer(Shelf(TIDES), request("Does gravity bend starlight?"))
    assert basin.text.startswith("I found no direct answer.")
    (citation,) = basin.citations
    assert basin.text[citation.start : citation.end] == "The moon pulls the tide with `gravity()`."


async def test_how_many_asks_for_what_is_counted_also_where_every_passage_speaks_of_it() -> None:
    class Alike(Shelf):
        async def rarity(self, namespace: str, terms: Sequence[str]) -> dict[str, float]:
            return {term: 0.7 if term in ("days", "leave") else 9.0 for term in terms}  # of 10,000 copies

    basin = await answer(Alike(passage("You have 30 days of leave a year.")), request("How many days of leave?"))
    assert basin.text == "You have 30 days of leave a year."


async def test_a_short_question_leans_on_the_one_before() -> None:
    shelf = Shelf(TIDES, WIND)
    basin = await answer(shelf, request("What holds back a tide?", "Why?"))
    assert shelf.queries == ["Why?\nWhat holds back a tide?"]
    assert "Strong wind" in basin.text
    await answer(shelf, request("What holds back a tide?", "Where do the ships wait at night?"))
    assert shelf.queries[-1] == "Where do the ships wait at night?"


async def test_the_token_limit_cuts_at_a_word_and_is_the_reason() -> None:
    basin = await answer(Shelf(TIDES), request("What is a tide?", max_tokens=3))
    assert basin.text == "A tide is"
    assert [(c.start, c.end) for c in basin.citations] == [(0, 9)]
    assert basin.events[-1] == Finish(reason="length")
    assert isinstance(basin.events[-2], Usage)
    assert basin.events[-2].output == 3


def test_words_come_at_their_pace() -> None:
    async def paced() -> Basin:
        return await answer(Shelf(TIDES), request("What is a tide?"), interval=0.02)

    loop = async_solipsism.EventLoop()
    try:
        basin = loop.run_until_complete(paced())
    finally:
        loop.close()
    deltas = [t for t, e in zip(basin.times, basin.events, strict=True) if isinstance(e, Delta)]
    gaps = [b - a for a, b in itertools.pairwise(deltas)]
    assert gaps == pytest.approx([0.02] * len(gaps))


async def test_a_full_sink_is_waited_for() -> None:
    basin = Basin(full=True)
    await Extractive(Shelf(TIDES), 0.0).answer(request("What is a tide?"), basin)
    assert basin.waits >= 1


async def test_it_is_one_model() -> None:
    (model,) = await Extractive(Shelf()).models()
    assert (model.id, model.provider) == ("extractive", "extractive")


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ('- See [the *guide*](a.md "x") for __more__.', "See the guide for more."),
        ("1. Use `a_b_c` and snake_case_names,\n   not **bold** ones.", "Use `a_b_c` and snake_case_names, not bold ones."),
        ("> quoted\n> words ![logo](x.png).", "quoted words."),
        ("Call [`open()`][] and [`f`][ref].", "Call `open()` and `f`."),
        ("Keep `**this**` and 2 * 3 * 4.", "Keep `**this**` and 2 * 3 * 4."),
        ("A note[^1] with <b>tags</b>.", "A note with tags."),
    ],
)  # fmt: skip
def test_markup_is_cleaned_and_code_keeps_its_ticks(raw: str, said: str) -> None:
    assert clean(raw) == said


def test_sentences_that_say_the_same_are_said_once() -> None:
    passages = [passage("The tide is strongest at full moon in spring.", f"doc_{n}") for n in range(3)]
    assert len(choose("tide at full moon", passages, {}).quotes) == 1


def test_a_sentence_that_points_back_brings_the_one_before() -> None:
    found = passage("The harbour closes in a storm of any strength. It then raises a black flag over the gate.")
    texts = [q.text for q in choose("black flag raised", [found], {}).quotes]
    assert texts == ["The harbour closes in a storm of any strength.", "It then raises a black flag over the gate."]


LINES = st.lists(
    st.sampled_from([
        "The tide rises. ", "It falls again, e.g. at night! ", "# Head\n\n", "- a list item about the tide and the moon\n", "```\ncode\n",
        "| tide | the water that comes and goes |\n", "**Bold** tide words [in a link](x) go on and on. ", "\n\n", "潮は月の引力で起こる。", "\u00e9t\u00e9 tide \U0001f30a wave is high today. ",
    ]) | st.text(max_size=20),
    max_size=25,
).map("".join)  # fmt: skip


@given(
    texts=st.lists(LINES, max_size=4),
    question=st.sampled_from(["tide", "What is a tide?", "月 moon"]) | st.text(max_size=30),
    limit=st.none() | st.integers(1, 40),
)
async def test_every_citation_points_at_just_its_sentence(texts: list[str], question: str, limit: int | None) -> None:
    passages = [passage(text, f"doc_{n}", start=7) for n, text in enumerate(texts)]
    asked = request(question, max_tokens=limit)
    basin = await answer(Shelf(*passages), asked)
    async with Shelf(*passages).search(asked, question, 16, basin) as found:
        pass
    choice = choose(question, found, {})
    quotes = choice.quotes or choice.places
    assert len(basin.citations) <= len(quotes)
    for quote, citation in zip(quotes, basin.citations, strict=False):
        said = basin.text[citation.start : citation.end]
        assert said == quote.text if limit is None else quote.text.startswith(said)
        assert said == said.strip() != ""
        assert len(citation.passage) <= 600
        source = next(p for p in passages if p.source == citation.source)
        assert citation.passage in source.text
        assert 0 <= quote.at - source.start < len(source.text)
    assert basin.text == basin.text.rstrip()
    assert limit is None or len([e for e in basin.events if isinstance(e, Delta)]) <= limit


def test_a_piece_of_a_program_is_not_quoted() -> None:
    program = passage(
        "def tide(moon: Moon) -> float:\n    if not moon.pulls:\n        return 0.0\n    the tide = moon.pull(sea)\n"
    )
    assert choose("tide and moon", [program], {}).quotes == []


async def test_where_only_code_speaks_of_it_the_places_are_named() -> None:
    program = passage("~~~\ndef tide(moon):\n    return moon.pull()\n~~~", heading="Source > The moon")
    basin = await answer(Shelf(program), request("tide of the moon?"))
    assert basin.text.endswith("these passages speak of it:\n\n- DOC_1, \u201cThe moon\u201d")
    (citation,) = basin.citations
    assert basin.text[citation.start : citation.end] == "DOC_1, \u201cThe moon\u201d"
