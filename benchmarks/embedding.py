"""What the local embedding model costs: a query, documents, both at once, and what int8 loses.

    python benchmarks/embedding.py [--queries 300] [--documents 100] [--write]

The texts are this repository's own pages: passages of 105 words, and their first nine words as questions. Everything goes through the
encoder as the server uses it, one thread for the model, with a 1 ms ticker on the event loop beside it. `together` is what the same
model takes when short texts are put into one run, padded to the longest, which the server does not do.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from relay import page
from relay.machine import ROOT, Cores, facts
from tokenizers import Tokenizer

from tidewire.core.errors import TimedOut
from tidewire.embedding.minilm import MiniLM
from tidewire.embedding.minilm_files import find, missing, model
from tidewire.embedding.minilm_session import TOKENS, Session
from tidewire.telemetry.encoders import EncoderMetrics

WORDS: Final = 105  # of a passage: some 180 tokens
EVERY: Final = 0.05  # seconds between two queries of the mixed load
WITHIN: Final = 0.1  # seconds, the deadline of each
SLICE: Final = 0.025  # seconds, as in the settings


def passages() -> list[str]:
    pages = [
        ROOT / "README.md",
        ROOT / "ARCHITECTURE.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").glob("*.md")),
    ]
    words = " ".join(path.read_text(encoding="utf-8") for path in pages).split()
    return [" ".join(words[n : n + WORDS]) for n in range(0, len(words) - WORDS, WORDS)]


def at(times: Sequence[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] * 1000


class Ticker:
    """How late a 1 ms timer of the event loop comes."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self._task = asyncio.create_task(self._tick())

    async def _tick(self) -> None:
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.late.append(now - last - 0.001)
            last = now

    def worst(self) -> float:
        """Milliseconds; the ticker stops."""
        self._task.cancel()
        return max(self.late, default=0.0) * 1000


class Report:
    def __init__(self) -> None:
        self.text = ""
        self.figures: dict[str, float] = {}

    def add(self, says: str, value: float, unit: str) -> None:
        line = f"{says:<58}{value:10.4g} {unit}\n"
        self.text += line
        self.figures[says] = value
        print(line, end="", flush=True)


def encoder(folder: Path) -> tuple[MiniLM, EncoderMetrics]:
    meter = EncoderMetrics()
    return MiniLM(find(), folder, meter, threads=1, slice_s=SLICE, waiting=100_000), meter


async def loading(folder: Path, report: Report) -> None:
    for says in ("first start: the file is made", "later starts: it is read"):
        ticker = Ticker()
        made, meter = encoder(folder)
        await made.encode(["a"])
        report.add(f"{says}, until a text can be embedded", meter.loads[made.name], "s")
        report.add(f"{says}, the event loop was held for at most", ticker.worst(), "ms")
        await made.close()


async def alone(made: MiniLM, texts: list[str], queries: int, documents: int, report: Report) -> None:
    took = []
    for n in range(queries):
        began = time.perf_counter()
        await made.encode([" ".join(texts[n % len(texts)].split()[:9])], query=True)
        took.append(time.perf_counter() - began)
    report.add("a query of 9 words, p50", at(took, 0.5), "ms")
    report.add("a query of 9 words, p95", at(took, 0.95), "ms")
    tokenizer = Tokenizer.from_file(str(find().tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS)
    some = (texts * (documents // len(texts) + 1))[:documents]
    tokens = sum(len(tokenizer.encode(text).ids) for text in some)
    began, cpu = time.perf_counter(), time.process_time()
    await made.encode(some)
    wall, used = time.perf_counter() - began, time.process_time() - cpu
    report.add("tokens of a document, mean", tokens / documents, "")
    report.add("documents", documents / wall, "a second")
    report.add("documents", documents / used, "a CPU second")
    report.add("tokens", tokens / wall, "a second")


async def mixed(made: MiniLM, meter: EncoderMetrics, texts: list[str], queries: int, report: Report) -> None:
    """Queries with deadlines while more documents wait than can be done meanwhile."""
    for histograms in (meter.took, meter.waits, meter.sizes):
        histograms.clear()
    ticker = Ticker()
    filling = [asyncio.create_task(made.encode(texts)) for _ in range(4)]
    took, missed = [], 0
    for n in range(queries):
        await asyncio.sleep(EVERY)
        began = time.perf_counter()
        text = f"{n} " + " ".join(texts[n % len(texts)].split()[:9])
        try:
            await made.encode([text], query=True, deadline=asyncio.get_running_loop().time() + WITHIN)
        except TimedOut:
            missed += 1
        took.append(time.perf_counter() - began)
    still = sum(not task.done() for task in filling)
    for task in filling:
        task.cancel()
    await asyncio.wait(filling)
    report.add("a query while documents wait, p50", at(took, 0.5), "ms")
    report.add("a query while documents wait, p95", at(took, 0.95), "ms")
    report.add(f"of {queries}, not answered within {WITHIN * 1000:g} ms", missed, "")
    report.add("calls with documents still waiting at the end, of 4", still, "")
    for kind in ("query", "document"):
        sizes = meter.sizes[made.name, kind]
        report.add(f"texts of a {kind} batch, mean", sizes.sum / max(1, sizes.count), "")
    report.add("the event loop was held for at most", ticker.worst(), "ms")


def exact(folder: Path, texts: list[str], report: Report) -> None:
    files = find()
    plain = folder / "float32.onnx"
    command = [sys.executable, "-m", "tidewire.embedding.minilm_graph", str(files.weights), str(plain), "--plain"]
    subprocess.run(command, check=True)
    small = next(folder.glob("all-minilm*.onnx"))
    short = [" ".join(text.split()[:9]) for text in texts]
    for says, given in (("passages", texts), ("questions", short)):
        full, _ = Session(plain, files.tokenizer, 1).encode(given)
        less, _ = Session(small, files.tokenizer, 1).encode(given)
        cosines = [float(np.frombuffer(a, "<f4") @ np.frombuffer(b, "<f4")) for a, b in zip(full, less, strict=True)]
        report.add(f"cosine of int8 to float32, {says}, mean", sum(cosines) / len(cosines), "")
        report.add(f"cosine of int8 to float32, {says}, least", min(cosines), "")


def together(path: Path, texts: list[str], report: Report) -> None:
    tokenizer = Tokenizer.from_file(str(find().tokenizer))
    tokenizer.enable_padding()
    options: Any = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    short = [" ".join(text.split()[:9]) for text in texts][:64]
    for size in (1, 8, 32):
        began = time.perf_counter()
        for n in range(0, len(short), size):
            encoded = tokenizer.encode_batch(short[n : n + size])
            ids = np.array([row.ids for row in encoded], np.int64)
            mask = np.array([row.attention_mask for row in encoded], np.int64)
            session.run(None, {"ids": ids, "mask": mask})
        report.add(f"together: {size} in a run, a query", (time.perf_counter() - began) / len(short) * 1000, "ms")


async def measured(folder: Path, queries: int, documents: int) -> Report:
    report, texts = Report(), passages()
    await loading(folder, report)
    made, meter = encoder(folder)
    await made.encode(["The model is loaded."])
    await alone(made, texts, queries, documents, report)
    await mixed(made, meter, texts, queries, report)
    await made.close()
    await asyncio.to_thread(exact, folder, texts[:60], report)
    await asyncio.to_thread(together, await model(find(), folder), texts, report)
    return report


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--queries", type=int, default=300)
    given.add_argument("--documents", type=int, default=100)
    given.add_argument("--write", action="store_true", help="record the result, and put it into benchmarks/README.md")
    args = given.parse_args()
    if todo := missing():
        print(f"the local embedding model is not installed: {' && '.join(todo)}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(measured(Path(folder), args.queries, args.documents))
    if args.write:
        page.save(
            page.RESULTS / "embedding.json",
            {"context": facts(Cores.find()), "figures": report.figures, "text": report.text},
        )
        page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
