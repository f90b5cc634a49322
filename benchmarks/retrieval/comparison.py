"""What was measured of each engine, as a table and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

import msgspec
from retrieval.report import at


class Way(msgspec.Struct):
    """How an engine was asked. Seconds; queries by round. found, gone: after a put, a delete.

    stale: answers that held what had been deleted. lost: puts that no query found within a second.
    """

    name: str
    queries: list[list[float]] = []
    found: list[float] = []
    gone: list[float] = []
    stale: int = 0
    lost: int = 0

    @property
    def all_queries(self) -> list[float]:
        return [one for turn in self.queries for one in turn]


class Measure(msgspec.Struct):
    """installed, disk, memory: MB; of these, memory is above a bare Python. build, open, upkeep: seconds. failed: why it is left out."""

    name: str
    version: str = ""
    installed: float = 0.0
    build: float = 0.0
    open: float = 0.0
    disk: float = 0.0
    memory: float = 0.0
    upkeep: list[float] = []
    ways: list[Way] = []
    failed: str = ""


OURS: Final = "Tidewire"
WORDS: Final = "words"
WAY: Final = f"{'':<36}{'query':>9}{'':>9}{'x ours':>9}{'put':>9}{'':>9}{'delete':>9}{'':>9}{'stale':>8}{'lost':>6}\n"
TIMES: Final = f"{'':<36}{'p50':>9}{'p95':>9}{'':>9}{'p50':>9}{'p95':>9}{'p50':>9}{'p95':>9}{'':>8}{'':>6}\n"
SIZES: Final = f"{'':<36}{'installed':>11}{'build s':>11}{'open s':>11}{'disk MB':>11}{'memory MB':>11}\n"


def yardstick(measures: Sequence[Measure], way: Way) -> Way | None:
    """Our own way to be compared with: by words where it is by words alone, else by both."""
    ours = next((one.ways for one in measures if one.name == OURS and one.ways), [])
    return next((one for one in ours if (one.name == WORDS) == (way.name == WORDS)), None)


def ratio(way: Way, ours: Way | None) -> float | None:
    """The median of the rounds: p50 against ours in the same round."""
    turns = zip(way.queries, ours.queries, strict=True) if ours is not None else ()
    return median([at(theirs, 0.5) / at(own, 0.5) for theirs, own in turns] or [0.0]) or None


def table(measures: Sequence[Measure]) -> str:
    measured = [one for one in measures if not one.failed]
    out = [
        "Milliseconds. put: until a query finds it; delete: until none does.\n",
        "stale: answers that held it after the delete; lost: puts that no query found within a second\n\n",
        WAY,
        TIMES,
    ]
    for one in measured:
        for way in one.ways:
            times = "".join(
                f"{at(of, share):>9.2f}" for of in (way.found, way.gone) for share in (0.5, 0.95)
            )  # fmt: skip
            asked, against = way.all_queries, ratio(way, yardstick(measured, way))
            out.append(
                f"{f'{one.name}, {way.name}':<36}{at(asked, 0.5):>9.2f}{at(asked, 0.95):>9.2f}"
                f"{'-' if against is None else f'{against:.2f}':>9}{times}{way.stale:>8}{way.lost:>6}\n"
            )
    out += ["\n", SIZES]
    for one in measured:
        size = f"{one.installed:.0f} MB" if one.installed else "nothing"
        out.append(
            f"{f'{one.name} {one.version}':<36}{size:>11}{one.build:>11.1f}{one.open:>11.2f}{one.disk:>11.0f}{one.memory:>11.0f}\n"
        )
    for one in measured:
        if one.upkeep:
            says = f"{len(one.upkeep)} times, {at(one.upkeep, 0.5):.0f} ms in the median, {at(one.upkeep, 1.0):.0f} at most; in no figure above"
            out.append(f"\n{one.name}'s upkeep, every 20 changes: {says}\n")
    out += [f"\n{one.name} is left out: {one.failed}\n" for one in measures if one.failed]
    return "".join(out)


STYLE: Final = (
    "text{fill:#212529}.back{fill:#fff}.ours{fill:#0b7285}.other{fill:#868e96}.p95{opacity:.45}.axis{stroke:#ced4da}.soft{fill:#495057}"
    ".label{paint-order:stroke;stroke:#fff;stroke-width:4px}"
    "@media(prefers-color-scheme:dark){text{fill:#e9ecef}.back{fill:#0d1117}.ours{fill:#66d9e8}.other{fill:#868e96}"
    ".axis{stroke:#495057}.soft{fill:#adb5bd}.label{stroke:#0d1117}}"
)
LEFT, WIDE, GAP, STEP, TOP = 232, 150, 84, 24, 62  # pixels
LOWEST, DECADES = 0.1, 4  # milliseconds where the scale of times begins, and powers of ten on it
PANELS: Final = ("Query, p50 and p95, ms", "Put until found, p50 and p95, ms", "Installed, MB")


def picture(measures: Sequence[Measure], says: str) -> str:
    """Bars for each way to ask: the query and the put on a scale of powers of ten, what is installed on a plain one. As SVG, for
    light pages and dark ones. says: of what it is a picture.
    """
    rows = [(one, way) for one in measures if not one.failed for way in one.ways]
    most = max([one.installed for one, _ in rows], default=1.0) or 1.0
    height = TOP + STEP * len(rows) + 12
    whole = LEFT + len(PANELS) * (WIDE + GAP) - 44
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {height}" font-family="sans-serif" font-size="12">',
        f'<style>{STYLE}</style><rect class="back" width="{whole}" height="{height}"/>',
        f'<text x="10" y="20" font-size="13">{says}</text>',
    ]
    for n, title in enumerate(PANELS):
        left = LEFT + n * (WIDE + GAP)
        out.append(f'<text x="{left}" y="40">{title}</text>')
        out += _ticks(left, height, _MARKS if n < 2 else {0.0: "0", 1.0: f"{most:.0f}"})
    for n, (one, way) in enumerate(rows):
        y = TOP + STEP * n
        kind = "ours" if one.name == OURS else "other"
        out.append(f'<text x="10" y="{y + 12}">{one.name}, {way.name}</text>')
        for panel, times in enumerate((way.all_queries, way.found)):
            low, high = at(times, 0.5), at(times, 0.95)
            out += _bar(panel, y, f"{kind} p95", _along(high), f"{low:.1f} / {high:.1f}")
            out += _bar(panel, y, kind, _along(low))
        out += _bar(2, y, kind, one.installed / most, f"{one.installed:.0f}")
    return "\n".join([*out, "</svg>"]) + "\n"


def _bar(panel: int, y: int, kind: str, share: float, label: str = "") -> list[str]:
    """share: of the panel's width."""
    left, width = LEFT + panel * (WIDE + GAP), WIDE * share
    out = [f'<rect class="{kind}" x="{left}" y="{y}" width="{width:.1f}" height="16"/>']
    if label:
        out.append(f'<text class="label" x="{left + width + 5:.1f}" y="{y + 12}" font-size="11">{label}</text>')
    return out


def _along(milliseconds: float) -> float:
    """0 to 1."""
    return min(1.0, max(0.0, math.log10(max(milliseconds, 1e-9) / LOWEST) / DECADES))


_MARKS: Final = {n / DECADES: f"{LOWEST * 10**n:g}" for n in range(DECADES + 1)}


def _ticks(left: float, height: float, marks: Mapping[float, str]) -> list[str]:
    out = []
    for share, label in marks.items():
        x = left + WIDE * share
        out.append(f'<line class="axis" x1="{x:g}" y1="58" x2="{x:g}" y2="{height - 8:g}"/>')
        out.append(f'<text class="soft" x="{x:g}" y="54" font-size="10" text-anchor="middle">{label}</text>')
    return out
