"""What rerankers report, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from tidewire.telemetry.histogram import LATENCY, Histogram, family


class RerankMetrics:
    """Implements core.meter.RerankMeter."""

    def __init__(self) -> None:
        self.results: Counter[tuple[str, str]] = Counter()
        self.times: dict[str, Histogram] = {}

    def reranked(self, reranker: str, result: str, seconds: float) -> None:
        self.results[reranker, result] += 1
        if result == "done":
            self.times.setdefault(reranker, Histogram(LATENCY)).observe(seconds)

    def collect(self) -> Iterator[Metric]:
        results = CounterMetricFamily(
            "tidewire_reranks",
            "Searches that were to be ordered anew, by what came of it.",
            labels=("reranker", "result"),
        )
        for labels, count in self.results.items():
            results.add_metric(list(labels), count)
        yield results
        yield family(
            "tidewire_rerank_seconds",
            "What a reranker took that was in time.",
            ("reranker",),
            [((name,), histogram) for name, histogram in self.times.items()],
        )
