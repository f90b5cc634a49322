"""What searches of the documents and their index report, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from tidewire.telemetry.histogram import LATENCY, Histogram, family

MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
AGES: Final = (
    1.0, 10.0, MINUTE, 5 * MINUTE, 30 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY, 1095 * DAY,
)  # fmt: skip
READY: Final = {"empty": 0.0, "lexical": 0.5, "full": 1.0}


class SearchMetrics:
    """Implements core.meter.SearchMeter. Whose documents they are is no label: there may be any number of tenants.

    index: asked at each reading for how far it is, its chunks, the bytes of its vectors, and the changes and seconds that it is behind.
    """

    def __init__(self) -> None:
        self.index: Callable[[], tuple[str, int, int, int, float]] = lambda: ("empty", 0, 0, 0, 0.0)
        self.searches: Counter[tuple[str, str]] = Counter()
        self.parts: dict[str, Histogram] = {}
        self.ages = {"published": Histogram(AGES), "indexed": Histogram(AGES)}
        self.expired = 0
        self.delays = {"lexical": Histogram(LATENCY), "dense": Histogram(LATENCY)}
        self.groundings: Counter[str] = Counter()
        self.passages = 0
        self.citations: Counter[str] = Counter()
        self.outdated: Counter[str] = Counter()

    def searched(self, how: str, *, found: bool, seconds: float, took: Mapping[str, float]) -> None:
        self.searches[how, "some" if found else "none"] += 1
        for part, spent in (("all", seconds), *took.items()):
            histogram = self.parts.get(part)
            if histogram is None:
                histogram = self.parts[part] = Histogram(LATENCY)
            histogram.observe(spent)

    def served(self, published: float, indexed: float) -> None:
        self.ages["published"].observe(published)
        self.ages["indexed"].observe(indexed)

    def expired_served(self) -> None:
        self.expired += 1

    def visible(self, stage: str, seconds: float) -> None:
        self.delays[stage].observe(seconds)

    def grounded(self, result: str, passages: int) -> None:
        self.groundings[result] += 1
        self.passages += passages

    def cited(self, *, known: bool) -> None:
        self.citations["given" if known else "unknown"] += 1

    def superseded(self, *, deleted: bool) -> None:
        self.outdated["deleted" if deleted else "changed"] += 1

    def collect(self) -> Iterator[Metric]:
        ready, chunks, size, behind, seconds = self.index()
        for name, text, value in (
            ("tidewire_index_ready", "0: being filled; 0.5: found by words; 1: by meaning too.", READY[ready]),
            ("tidewire_index_chunks", "Chunks that can be found.", chunks),
            ("tidewire_index_vector_bytes", "Memory of their vectors.", size),
            ("tidewire_index_behind_changes", "Changes of the documents not yet taken in.", behind),
            ("tidewire_index_behind_seconds", "Since the index is behind.", seconds),
        ):
            yield GaugeMetricFamily(name, text, value=value)
        searches = CounterMetricFamily(
            "tidewire_searches", "Searches, by how they were made and whether they found.", labels=("how", "found")
        )
        for labels, count in self.searches.items():
            searches.add_metric(list(labels), count)
        yield searches
        yield _times("tidewire_search_seconds", "What a part of a search took.", "part", self.parts)
        yield _times("tidewire_served_age_seconds", "Age of the passages that searches gave.", "since", self.ages)
        yield _times("tidewire_visible_seconds", "From stored to found, by stage.", "stage", self.delays)
        text = "Passages over their time that a search let through: must be 0."
        yield CounterMetricFamily("tidewire_expired_served", text, value=self.expired)
        groundings = CounterMetricFamily(
            "tidewire_groundings", "Questions to models that are given passages.", labels=("result",)
        )
        for result, count in self.groundings.items():
            groundings.add_metric([result], count)
        yield groundings
        yield CounterMetricFamily("tidewire_passages_given", "Passages that models were given.", value=self.passages)
        citations = CounterMetricFamily("tidewire_citations", "Citations by these models.", labels=("passage",))
        for passage, count in self.citations.items():
            citations.add_metric([passage], count)
        yield citations
        text = "Documents that changed or went while an answer was made from them, by answer."
        outdated = CounterMetricFamily("tidewire_superseded", text, labels=("change",))
        for change, count in self.outdated.items():
            outdated.add_metric([change], count)
        yield outdated


def _times(name: str, text: str, label: str, histograms: Mapping[str, Histogram]) -> Metric:
    return family(name, text, (label,), [((value,), histogram) for value, histogram in histograms.items()])
