"""Lines of a report, and whether bars were met."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.parts import Ticker


def at(times: Sequence[float], share: float) -> float:
    """A quantile of seconds, in milliseconds."""
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] * 1000 if times else 0.0


class Report:
    """missed: what was above its bar."""

    def __init__(self) -> None:
        self.text = ""
        self.missed: list[str] = []

    def add(self, says: str, value: float, unit: str, *, bar: float | None = None) -> None:
        verdict = ""
        if bar is not None:
            met = value <= bar
            verdict = f"   bar {bar:g}{'' if met else ', MISSED'}"
            if not met:
                self.missed.append(says)
        line = f"{says:<66}{value:>10.4g} {unit:<3}{verdict}".rstrip() + "\n"
        self.text += line
        print(line, end="", flush=True)

    def times(self, says: str, times: Sequence[float], *, bar: float | None) -> None:
        """bar: milliseconds, of the p95."""
        self.add(f"{says}, p50", at(times, 0.5), "ms")
        self.add(f"{says}, p95", at(times, 0.95), "ms", bar=bar)
        self.add(f"{says}, p99", at(times, 0.99), "ms")

    def held(self, says: str, ticker: Ticker, *, bar: float, judged: bool = True) -> None:
        """The worst, which is judged, and how often it was above the bar: on a shared machine a few are the machine's."""
        late = ticker.stop()
        self.add(says, max(late, default=0.0) * 1000, "ms", bar=bar if judged else None)
        self.add(f"   longer than {bar:g} ms", sum(one * 1000 > bar for one in late), f"of {len(late)}")
