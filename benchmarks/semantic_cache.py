"""How often the semantic cache is wrong: pairs of questions that mean the same and that do not, by vectors alone and with the words.

    python benchmarks/semantic_cache.py [--write]

A false hit is a pair that means something else and would share an answer; a hit is one that means the same and would. The vectors are
those of the local model, all-MiniLM-L6-v2. The pairs are in semantic_pairs.py: they were written to be hard, so that the shares are those
of hard pairs and not of what people ask.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from typing import Final

from relay import page
from relay.machine import Cores, facts
from semantic_pairs import PAIRS, Pair

from tidewire.cache.alike import cosine
from tidewire.cache.meaning import shape
from tidewire.core.errors import SettingsError
from tidewire.core.ports import Encoder
from tidewire.server.encoders import build
from tidewire.server.settings import Settings
from tidewire.telemetry.metrics import Metrics

THRESHOLDS: Final = (0.8, 0.9, 0.95, 0.97, 0.99)
HEAD: Final = f"{'':<26}{'false hits':>20}{'hits':>20}\n"


async def nearness(encoder: Encoder, pairs: Sequence[Pair]) -> list[float]:
    """The cosine of each pair."""
    texts = sorted({text for one, other, _ in pairs for text in (one, other)})
    found: dict[str, bytes] = {}
    for n in range(0, len(texts), 32):
        found |= zip(texts[n : n + 32], await encoder.encode(texts[n : n + 32], query=True), strict=True)
    return [cosine(found[one], found[other]) for one, other, _ in pairs]


def table(pairs: Sequence[Pair], near: Sequence[float]) -> str:
    worded = [shape(one) is not None and shape(one) == shape(other) for one, other, _ in pairs]

    def row(name: str, hit: Sequence[bool]) -> str:
        cells = []
        for wanted in (False, True):
            of = [h for h, (_, _, same) in zip(hit, pairs, strict=True) if same is wanted]
            cells.append(f"{sum(of)} of {len(of)} ({sum(of) / len(of):.1%})")
        return f"{name:<26}{cells[0]:>20}{cells[1]:>20}\n"

    out = HEAD
    for least in THRESHOLDS:
        out += row(f"cosine {least:g}", [n >= least for n in near])
    out += row("words", worded)
    for least in THRESHOLDS:
        out += row(f"words and cosine {least:g}", [w and n >= least for w, n in zip(worded, near, strict=True)])
    return out


async def measure() -> str:
    """Raises SettingsError where the local model is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        encoders = build(Settings(data=folder), Metrics().encoders)
        if encoders.encoder is None:
            raise SettingsError("no embedding model is installed; `tidewire doctor` says what to install")
        try:
            return table(PAIRS, await nearness(encoders.encoder, PAIRS))
        finally:
            await encoders.close()


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--write", action="store_true", help="record the result, and put it into benchmarks/README.md")
    args = given.parse_args()
    text = asyncio.run(measure())
    print(text, end="")
    if args.write:
        page.save(page.RESULTS / "semantic_cache.json", {"context": facts(Cores.find()), "text": text})
        page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
