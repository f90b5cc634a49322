"""A histogram with fixed buckets, cheap enough for every token: no lock, no label look-up, one thread."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client.core import HistogramMetricFamily, Metric

# Seconds. Token gaps lie around 5-50 ms, first tokens around 0.1-5 s, a cancel in the single milliseconds.
LATENCY: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
)  # fmt: skip
DURATION: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


class Histogram:
    """Counts values by bucket. bounds: upper ends, ascending, each included in its bucket, as in Prometheus."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = LATENCY) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """0.2 µs on Python 3.11."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, q: float) -> float | None:
        """An estimate by straight line within the bucket; the last bound for what lies above it; None without values."""
        rank = q * self.count
        if not self.count:
            return None
        below = 0
        lower = 0.0
        for upper, inside in zip(self.bounds, self.counts, strict=False):
            if inside and below + inside >= rank:
                return lower + (upper - lower) * max(0.0, rank - below) / inside
            below += inside
            lower = upper
        return self.bounds[-1]


def family(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], Histogram]]
) -> Metric:
    """As Prometheus reads histograms that differ by the values of their labels."""
    out = HistogramMetricFamily(name, text, labels=labels)
    for key, histogram in values:
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*map(str, histogram.bounds), "+Inf"), histogram.counts, strict=True):
            total += count
            buckets.append((bound, total))
        out.add_metric(list(key), buckets, histogram.sum)
    return out
