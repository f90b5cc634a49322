"""What is reported as documents come in, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric

from tidewire.telemetry.histogram import LATENCY, Histogram, family


class IntakeMetrics:
    """Implements core.meter.IntakeMeter. Sources are named in the settings: there are few."""

    def __init__(self) -> None:
        self.documents: Counter[tuple[str, str]] = Counter()
        self.stages: dict[str, Histogram] = {}

    def document(self, source: str, result: str) -> None:
        self.documents[source, result] += 1

    def ingested(self, stage: str, seconds: float) -> None:
        histogram = self.stages.get(stage)
        if histogram is None:
            histogram = self.stages[stage] = Histogram(LATENCY)
        histogram.observe(seconds)

    def collect(self) -> Iterator[Metric]:
        documents = CounterMetricFamily(
            "tidewire_documents", "Documents, by source and what became of them.", labels=("source", "result")
        )
        for (source, result), count in self.documents.items():
            documents.add_metric([source, result], count)
        yield documents
        text = "What reading a document took, and storing a batch."
        yield family("tidewire_ingest_seconds", text, ("stage",), [((k,), h) for k, h in self.stages.items()])
