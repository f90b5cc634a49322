"""A model without weights: it answers with the best sentences of your own documents, and says where each stands."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Final, Protocol

from tidewire.core import prose
from tidewire.core.errors import BadRequest
from tidewire.core.events import (
    Attempt,
    Citation,
    Delta,
    Event,
    Finish,
    PartEnded,
    PartStarted,
    Progress,
    Span,
    Timing,
    Usage,
)
from tidewire.core.leaning import LONGEST, leans_on, looked_for
from tidewire.core.ports import ModelInfo, Passage, Retriever, Sink
from tidewire.core.request import Request
from tidewire.providers.quoting import Choice, Quote, choose

# Of the question's meaning, by weight of words. A passage that holds less than the first does not speak of it at all; sentences
# that hold less than the second are no direct answer.
NOTHING: Final = 0.3
NEARLY: Final = 0.45
_PIECE: Final = re.compile(r"\s*\S+")


class Corpus(Retriever, Protocol):
    """A retriever that also knows how much it holds."""

    async def count(self, namespace: str) -> int:
        """How many passages there are."""

    async def rarity(self, namespace: str, terms: Sequence[str]) -> dict[str, float]:
        """How much each word tells passages apart; more for rarer ones."""


class Extractive:
    """Quotes two to five sentences of the passages that a search finds in the tenant's namespace.

    interval: seconds between two words; 0 writes at once. passages: how many are looked at.
    """

    name = "extractive"

    def __init__(self, corpus: Corpus, interval: float = 0.02, passages: int = 16) -> None:
        self._corpus = corpus
        self._interval = interval
        self._passages = passages

    async def models(self) -> Sequence[ModelInfo]:
        return [
            ModelInfo(
                id="extractive",
                provider=self.name,
                note="Quotes the best sentences of your documents. Needs no weights, key or network.",
            )
        ]

    async def close(self) -> None:
        """The corpus belongs to whoever made it."""

    async def answer(self, request: Request, sink: Sink) -> None:
        if request.n != 1 or request.logprobs is not None:
            param = "n" if request.n != 1 else "logprobs"
            raise BadRequest(f"quoted answers have no {param}; leave it out", code="unsupported_value", param=param)
        if request.retrieval is not None and not request.retrieval.on:
            message = "quoted answers are made of documents, and retrieval is off; leave it out, or name another model"
            raise BadRequest(message, code="unsupported_value", param="retrieval")
        started = time.monotonic()
        held = await self._corpus.count(request.tenant)
        sink.feed(
            [
                Attempt(n=1, provider=self.name, model=request.model, reason="start"),
                Progress(stage="retrieving", detail=f"searching {_many(held, 'passage')}"),
            ]
        )
        query, before = looked_for(request), leans_on(request)
        writer = _Writer(sink, self._interval, request.max_tokens)
        async with self._corpus.search(request, query, self._passages, sink) as passages:
            choice = await self._choose(request, query, before, passages)
            sink.feed([Timing(span=Span("retrieval", 0.0, round((time.monotonic() - started) * 1000, 3)))])
            if choice.near < NOTHING:
                await writer.write(_nothing(request, held))
            elif choice.quotes:
                quoting = f"quoting {_many(len(choice.quotes), 'sentence')} of {_many(len(passages), 'passage')}"
                sink.feed([Progress(stage="drafting", detail=quoting)])
                await self._quote(choice, writer)
            else:
                await self._point(choice, writer)
        asked = sum(len(message.text.split()) for message in request.messages)
        end: list[Event] = [PartEnded(part=0)] if writer.count else []
        sink.feed(
            [
                *end,
                Usage(counted_by="server", input=asked, output=writer.count),
                Finish(reason="length" if writer.cut else "stop"),
            ]
        )

    async def _choose(self, request: Request, query: str, before: str, passages: Sequence[Passage]) -> Choice:
        if not passages:
            return Choice([], 0.0)
        rarity = await self._corpus.rarity(request.tenant, prose.content_words(query)[:32])
        # In a thread: it takes milliseconds, and the event loop has other streams to serve.
        return await asyncio.to_thread(choose, request.question, passages, rarity, before=before)

    async def _quote(self, choice: Choice, writer: _Writer) -> None:
        now = time.time()
        if choice.covered < NEARLY:
            await writer.write("I found no direct answer. The closest in the documents:\n\n")
        last: Quote | None = None
        for quote in choice.quotes:
            if last is not None:
                await writer.write(_between(last, quote))
            await writer.write(quote.text, quote, now)
            if writer.cut:
                return
            last = quote

    async def _point(self, choice: Choice, writer: _Writer) -> None:
        """Only code and tables speak of it: name where."""
        await writer.write("I found no sentence to quote, but these passages speak of it:\n\n")
        for n, place in enumerate(choice.places):
            await writer.write("\n- " if n else "- ")
            await writer.write(place.text, place, time.time())


class _Writer:
    """Writes text word by word into part 0, at a pace, no further than the limit; cites what it has written."""

    def __init__(self, sink: Sink, interval: float, limit: int | None) -> None:
        self._sink = sink
        self._interval = interval
        self._limit = limit
        self._due = 0.0
        self._length = 0
        self._space = ""
        self.count = 0
        self.cut = False

    async def write(self, text: str, quote: Quote | None = None, now: float = 0.0) -> None:
        """White space at the end waits for the next word, so that an answer never ends in it."""
        if self.cut:
            return
        text, self._space = self._space + text, ""
        start = self._length + len(text) - len(text.lstrip())
        pieces = _PIECE.findall(text)
        self._space = text[sum(map(len, pieces)) :]
        room = len(pieces) if self._limit is None else max(0, self._limit - self.count)
        self.cut = len(pieces) > room
        pieces = pieces[:room]
        events: list[Event] = []
        for piece in pieces:
            if not self.count:
                events.append(PartStarted(part=0, kind="text"))
            events.append(Delta(part=0, text=piece))
            self.count += 1
            self._length += len(piece)
            if self._interval:
                await self._hand_over(events)
        if quote is not None and pieces:
            events.append(_citation(quote, start, self._length, now))
        await self._hand_over(events)

    async def _hand_over(self, events: list[Event]) -> None:
        if not events:
            return
        if self._sink.full:
            await self._sink.room()
        if self._interval and self.count:
            clock = asyncio.get_running_loop().time
            if (wait := self._due - clock()) > 0:
                await asyncio.sleep(wait)
            self._due = max(self._due, clock() - self._interval) + self._interval
        self._sink.feed(events[:])
        events.clear()


def _citation(quote: Quote, start: int, end: int, now: float) -> Citation:
    source = quote.source
    return Citation(
        part=0,
        start=start,
        end=end,
        source=source.source,
        title=f"{source.title} > {source.heading}"
        if source.heading and not source.heading.startswith(source.title)
        else source.heading or source.title,
        passage=quote.context,
        uri=source.uri,
        age=None if source.changed is None else max(0.0, round(now - source.changed, 1)),
        score=round(source.score, 4),
        chunk=source.chunk,
        version=source.version,
    )


def _between(last: Quote, quote: Quote) -> str:
    """A new paragraph for another document; and a full stop where the sentence before has no end of its own."""
    gap = " " if last.source.source == quote.source.source else "\n\n"
    return gap if last.text.rstrip("`*\"')\u201d")[-1:] in ".!?:;\u3002\uff01\uff1f" else f".{gap}"


def _nothing(request: Request, held: int) -> str:
    if not held:
        return (
            "I have no documents to answer from yet. Index a folder with `tidewire ingest PATH` and ask again. "
            "I quote from what is indexed; I know nothing else."
        )
    question = request.question[:LONGEST]
    about = prose.content_words(question)
    if not about:
        return (
            f"I answer by quoting from your documents ({_many(held, 'passage')} indexed), and this question holds no word that I could "
            "search for. Ask about something that they may speak of."
        )
    named = " ".join(question.split())
    named = named if len(named) <= 80 else " ".join(about[:8])
    return (
        f"I found nothing about \u201c{named.rstrip('?!. ')}\u201d in the {_many(held, 'indexed passage')}. Try other words, the ones that "
        "the documents use, or index more with `tidewire ingest PATH`."
    )


def _many(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'' if n == 1 else 's'}"
