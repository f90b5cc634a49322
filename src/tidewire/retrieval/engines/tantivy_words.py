"""Words by tantivy, in memory: one writer, touched by one thread only (a second one makes it fail for good).

Title, heading, text and parts are one field, the heading twice: as in FTS5, a word that stands in several of them counts once, for
more. Fields of their own, scored apart and added up, let a word of the heading outweigh all that a text says.

What was added since the last commit is searched beside it, by the same formula (BM25, k1 1.2, b 0.75) and the same analysis, so that
a put can be found at once without a commit for each: `fold` commits when it is worth it. What was removed is left out of every
answer from then on, and of the index with the next commit.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import tantivy
from tantivy import FieldType, Occur, Query, SchemaBuilder, TextAnalyzerBuilder, Tokenizer
from tantivy import Filter as Fold

from tidewire.retrieval.engines.lexical import asked, columns
from tidewire.retrieval.ports import Filter, Row, Scored

ANALYSIS: Final = "prose"
HEAP: Final = 16 * 1024 * 1024  # bytes that the writer may hold before it makes a segment by itself
K1: Final = 1.2
B: Final = 0.75
FRESH: Final = 512  # rows that are searched in Python; more are committed at once
EVERY: Final = 0.25  # seconds between two commits, where rows keep coming
SELDOM: Final = 2.0  # and where they come by the thousand, when the index is filled
PAUSE: Final = 64  # rows that are analysed before other threads have a turn
TEXT: Final = "text"
ALL: Final = "*"  # stands for everybody among the readers


class _FreshRow:
    """A row that is not committed yet: how often each word stands in it, and what a filter asks."""

    __slots__ = ("counts", "expires", "length", "namespace", "published", "readers", "source")

    def __init__(self, namespace: str, row: Row, analyse: Callable[[str], list[str]]) -> None:
        words = analyse(written(row))
        self.namespace = namespace
        self.counts = Counter(words)
        self.length = len(words)
        self.expires = math.inf if row.expires is None else row.expires
        self.published = row.published
        self.readers = frozenset(row.readers)
        self.source = row.source

    def passes(self, which: Filter) -> bool:
        return (
            self.expires > which.now
            and (not self.readers or not self.readers.isdisjoint(which.groups))
            and (not which.sources or self.source in which.sources)
            and (which.since is None or self.published >= which.since)
            and (which.until is None or self.published <= which.until)
        )


class TantivyWords:
    """A `Lexical`. clock: seconds, for when to commit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._analyser = (
            TextAnalyzerBuilder(Tokenizer.simple())
            .filter(Fold.remove_long(80))
            .filter(Fold.lowercase())
            .filter(Fold.ascii_fold())
            .filter(Fold.stemmer("english"))
            .build()
        )
        builder = SchemaBuilder()
        builder.add_text_field(TEXT, tokenizer_name=ANALYSIS, index_option="freq")
        for field in ("namespace", "readers", "source"):
            builder.add_text_field(field, tokenizer_name="raw", index_option="basic")
        builder.add_unsigned_field("chunk", indexed=True, fast=True)
        for field in ("expires", "published"):
            builder.add_float_field(field, fast=True)
        self._schema = builder.build()
        self._index = tantivy.Index(self._schema)
        self._index.register_tokenizer(ANALYSIS, self._analyser)
        self._writer = self._index.writer(heap_size=HEAP, num_threads=1)
        self._searcher = self._index.searcher()
        self._clock = clock
        self._committed = clock()
        self._dirty = False
        self._guard = threading.Lock()  # around what is below, and the searcher that goes with it
        self._fresh: dict[int, _FreshRow] = {}
        self._gone: dict[int, str] = {}  # removed, and still in what the searcher sees; with their namespaces
        self._spaces: set[str] = set()  # all that were ever added to
        self._restricted: set[int] = set()  # chunks that not everybody reads
        self._ends: dict[int, float] = {}  # when those expire that do
        self._total = self._added = 0  # words and rows, for the average length

    def add(self, rows: Sequence[tuple[str, Row]], *, many: bool = False) -> None:
        bulk = many or len(rows) > FRESH
        for n, (namespace, row) in enumerate(rows):
            if not bulk:
                fresh = _FreshRow(namespace, row, self._analyser.analyze)
                with self._guard:
                    self._fresh[row.chunk] = fresh
                self._total += fresh.length
                self._added += 1
            with self._guard:
                self._spaces.add(namespace)
                if row.readers:
                    self._restricted.add(row.chunk)
                if row.expires is not None:
                    self._ends[row.chunk] = row.expires
            self._writer.add_document(self._document(namespace, row))
            if n % PAUSE == PAUSE - 1:
                time.sleep(0)  # the event loop waits for no more than these
        self._dirty = self._dirty or bool(rows)
        if many and self._clock() - self._committed < SELDOM:
            return
        if bulk or len(self._fresh) > FRESH:
            self.fold()

    def remove(self, chunks: Sequence[tuple[str, int]]) -> None:
        for namespace, chunk in chunks:
            with self._guard:
                if self._fresh.pop(chunk, None) is None:
                    self._gone[chunk] = namespace
                self._restricted.discard(chunk)
                self._ends.pop(chunk, None)
            # By a query: a term made of a number does not meet an unsigned field (tantivy 0.27).
            self._writer.delete_documents_by_query(Query.term_query(self._schema, "chunk", chunk))
        self._dirty = self._dirty or bool(chunks)
        if len(self._gone) > FRESH:
            self.fold()

    @property
    def due(self) -> float | None:
        """Seconds until it is worth a commit; None: nothing waits for one."""
        return max(0.0, self._committed + EVERY - self._clock()) if self._dirty else None

    def fold(self) -> None:
        """Commit, on the thread that adds and removes."""
        self._writer.commit()
        self._index.reload()
        searcher = self._index.searcher()
        with self._guard:
            self._searcher = searcher
            self._fresh.clear()
            self._gone.clear()
        self._dirty = False
        self._committed = self._clock()

    def search(self, namespace: str, question: str, limit: int, which: Filter) -> list[Scored]:
        stems = list(dict.fromkeys(stem for word in asked(question)[0] for stem in self._analyser.analyze(word)))
        if not stems or limit < 1:
            return []
        with self._guard:
            searcher, fresh, gone = self._searcher, dict(self._fresh), dict(self._gone)
            open_to_all = self._spaces == {namespace} and not self._restricted
        hidden = sum(space == namespace for space in gone.values())
        query, most = self._query(namespace, stems, which), limit + hidden
        if open_to_all and not which.sources and which.since is None and which.until is None:
            # Nothing but time is to be filtered: without a filter tantivy passes over most of what common words find.
            found = self._scored(searcher, self._any_of(stems), most, gone)
            timely = [pair for pair in found if self._ends.get(pair[0], math.inf) > which.now]
            cut = len(timely) < len(found) >= limit  # what is behind the last might take the place of what is over
            found = self._scored(searcher, query, most, gone) if cut else timely
        else:
            found = self._scored(searcher, query, most, gone)
        found += self._among(fresh, namespace, stems, which, searcher)
        found.sort(key=lambda pair: (-pair[1], pair[0]))
        return found[:limit]

    def holding(self, namespace: str, word: str) -> int:
        stems = self._analyser.analyze(word)
        if not stems:
            return 0
        with self._guard:
            searcher, fresh = self._searcher, dict(self._fresh)
        query = Query.boolean_query(
            [(Occur.Must, self._of(namespace)), (Occur.Must, Query.term_query(self._schema, TEXT, stems[0], "freq"))]
        )
        result: Any = searcher.search(query, 1, count=True)
        return int(result.count) + sum(
            row.namespace == namespace and row.counts[stems[0]] > 0 for row in fresh.values()
        )

    def close(self) -> None:
        self._writer.wait_merging_threads()

    def _document(self, namespace: str, row: Row) -> Any:
        document = tantivy.Document()
        document.add_text(TEXT, written(row))
        document.add_text("namespace", namespace)
        document.add_text("source", row.source)
        for reader in row.readers or (ALL,):
            document.add_text("readers", reader if reader == ALL and not row.readers else f"={reader}")
        document.add_unsigned("chunk", row.chunk)
        document.add_float("expires", math.inf if row.expires is None else row.expires)
        document.add_float("published", row.published)
        return document

    def _of(self, namespace: str) -> Query:
        """The one place that says what a namespace holds. It adds nothing to a score."""
        return Query.const_score_query(Query.term_query(self._schema, "namespace", namespace, "basic"), 0.0)

    def _any_of(self, stems: Sequence[str]) -> Query:
        return Query.boolean_query(
            [(Occur.Should, Query.term_query(self._schema, TEXT, stem, "freq")) for stem in stems]
        )

    def _query(self, namespace: str, stems: Sequence[str], which: Filter) -> Query:
        must = [self._of(namespace), self._any_of(stems)]
        silent: list[Query] = [
            Query.range_query(self._schema, "expires", FieldType.Float, which.now, None, include_lower=False)
        ]
        readers = [ALL, *(f"={group}" for group in which.groups)]
        may_read = [(Occur.Should, Query.term_query(self._schema, "readers", reader, "basic")) for reader in readers]
        silent.append(Query.boolean_query(may_read))  # a set of terms would take half as long again as all the rest
        if which.sources:
            silent.append(Query.term_set_query(self._schema, "source", list(which.sources)))
        if which.since is not None or which.until is not None:
            silent.append(Query.range_query(self._schema, "published", FieldType.Float, which.since, which.until))
        must += [Query.const_score_query(query, 0.0) for query in silent]
        return Query.boolean_query([(Occur.Must, query) for query in must])

    def _scored(self, searcher: Any, query: Query, most: int, gone: Mapping[int, str]) -> list[Scored]:
        hits = searcher.search(query, most, count=False).hits
        chunks: list[Any] = searcher.fast_field_values("chunk", [address for _, address in hits])
        return [(int(chunk), float(score)) for (score, _), chunk in zip(hits, chunks, strict=True) if chunk not in gone]

    def _among(
        self, fresh: dict[int, _FreshRow], namespace: str, stems: Sequence[str], which: Filter, searcher: Any
    ) -> list[Scored]:
        """The rows that no commit has seen yet, scored as if one had."""
        rows = {c: row for c, row in fresh.items() if row.namespace == namespace and row.passes(which)}
        if not rows:
            return []
        total = searcher.num_docs + len(fresh)
        average = max(1.0, self._total / max(1, self._added))
        scores = dict.fromkeys(rows, 0.0)
        for stem in stems:
            holding = {chunk: count for chunk, row in rows.items() if (count := row.counts[stem])}
            having = searcher.doc_freq(TEXT, stem) + len(holding)
            lacking = max(0, total - having)  # the frequency still counts what was deleted, the total does not
            rarity = math.log(1 + (lacking + 0.5) / (having + 0.5))
            for chunk, count in holding.items():
                length = K1 * (1 - B + B * rows[chunk].length / average)
                scores[chunk] += rarity * count * (K1 + 1) / (count + length)
        return [(chunk, score) for chunk, score in scores.items() if score > 0]


def written(row: Row) -> str:
    """All that a row is found by."""
    title, heading, body, parts = columns(row)
    return f"{title} {heading} {heading} {body} {parts}"
