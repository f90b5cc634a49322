"""What encoders report, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from tidewire.telemetry.histogram import LATENCY, Histogram

SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)  # texts of a batch


class EncoderMetrics:
    """Implements core.meter.EncoderMeter. Encoders are named in the settings: there are few."""

    def __init__(self) -> None:
        self.took: dict[tuple[str, str], Histogram] = {}
        self.waits: dict[tuple[str, str], Histogram] = {}
        self.sizes: dict[tuple[str, str], Histogram] = {}
        self.failures: Counter[tuple[str, str]] = Counter()
        self.cut: Counter[str] = Counter()
        self.loads: dict[str, float] = {}
        self.asked: Counter[str] = Counter()
        self.waiting = 0

    def encoded(self, encoder: str, kind: str, texts: int, waited: float, took: float) -> None:
        key = encoder, kind
        if key not in self.took:
            self.took[key], self.waits[key], self.sizes[key] = Histogram(LATENCY), Histogram(LATENCY), Histogram(SIZES)
        self.took[key].observe(took)
        self.waits[key].observe(waited)
        self.sizes[key].observe(texts)

    def encode_failed(self, encoder: str, code: str) -> None:
        self.failures[encoder, code] += 1

    def truncated(self, encoder: str, texts: int) -> None:
        self.cut[encoder] += texts

    def loaded(self, encoder: str, seconds: float) -> None:
        self.loads[encoder] = seconds

    def kept(self, hits: int, misses: int) -> None:
        self.asked["hit"] += hits
        self.asked["miss"] += misses

    def pending(self, chunks: int) -> None:
        self.waiting = chunks

    def collect(self) -> Iterator[Metric]:
        for name, text, histograms in (
            ("tidewire_encode_seconds", "What a batch of texts took to embed.", self.took),
            ("tidewire_encode_wait_seconds", "The longest that a text of the batch had waited.", self.waits),
            ("tidewire_encode_batch_texts", "Texts of a batch.", self.sizes),
        ):
            yield _histograms(name, text, histograms)
        failures = CounterMetricFamily("tidewire_encode_failures", "Batches that failed.", labels=("encoder", "code"))
        for (encoder, code), count in self.failures.items():
            failures.add_metric([encoder, code], count)
        yield failures
        cut = CounterMetricFamily(
            "tidewire_encode_truncated", "Texts longer than the model reads.", labels=("encoder",)
        )
        for encoder, count in self.cut.items():
            cut.add_metric([encoder], count)
        yield cut
        loads = GaugeMetricFamily(
            "tidewire_encoder_load_seconds", "What it took until the model could be used.", labels=("encoder",)
        )
        for encoder, seconds in self.loads.items():
            loads.add_metric([encoder], seconds)
        yield loads
        asked = CounterMetricFamily(
            "tidewire_query_vectors", "Queries, by whether their vector was kept.", labels=("kept",)
        )
        for outcome, count in self.asked.items():
            asked.add_metric([outcome], count)
        yield asked
        yield GaugeMetricFamily("tidewire_dense_pending", "Chunks that wait for a vector.", value=self.waiting)


def _histograms(name: str, text: str, histograms: dict[tuple[str, str], Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=("encoder", "kind"))
    for key, histogram in histograms.items():
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric(list(key), buckets, histogram.sum)
    return family
