"""What sessions report, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


class SessionMetrics:
    """Implements core.meter.SessionMeter. size: bytes of all sessions."""

    def __init__(self) -> None:
        self.turns: Counter[str] = Counter()
        self.summaries: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.size: Callable[[], int] = lambda: 0

    def turn_ended(self, result: str) -> None:
        self.turns[result] += 1

    def summarised(self, result: str, tokens_in: int, tokens_out: int) -> None:
        self.summaries[result] += 1
        self.tokens["input"] += tokens_in
        self.tokens["output"] += tokens_out

    def collect(self) -> Iterator[Metric]:
        for name, text, label, counts in (
            ("tidewire_session_turns", "Answers of sessions, by whether they were kept.", "result", self.turns),
            ("tidewire_session_summaries", "Summaries asked for, by what came of them.", "result", self.summaries),
            ("tidewire_session_summary_tokens", "Tokens that summaries took.", "kind", self.tokens),
        ):
            family = CounterMetricFamily(name, text, labels=(label,))
            for value, count in counts.items():
                family.add_metric([value], count)
            yield family
        yield GaugeMetricFamily("tidewire_session_bytes", "Bytes of the sessions that are kept.", value=self.size())
