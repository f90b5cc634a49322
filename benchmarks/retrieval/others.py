"""This index beside others that one might take instead, all in one run: SQLite's FTS5 alone, LanceDB, Chroma.

    cd benchmarks && python -m retrieval.others [--chunks 100000] [--rounds 3] [--work FOLDER] [--packages FOLDER] [--write]

All have the same chunks, vectors, questions and writes, and each a process of its own, in which nothing is installed but its package
(ours has the development environment). It builds its files in one process and is measured in a second, which opens them. Rounds are
interleaved: each engine is asked in turn, one question at a time, then all again. The vectors are drawn by lot: nothing here says
which finds the better passages. What cannot be installed or fails is left out, and the table says so.

--work keeps the documents between two runs; --packages keeps what is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from relay import page
from relay.machine import ROOT, Cores, facts
from retrieval.comparison import OURS, Measure, Way, picture, table

from retrieval import corpus
from tidewire.core import prose

DIMENSIONS: Final = 384
WITHIN: Final = 32  # dimensions of the plane that vectors lie around: an index of near ones must have near ones to find
QUESTIONS: Final = 400
NEW: Final = 400
ENGINES: Final = {"tidewire": OURS, "fts5": "SQLite FTS5", "lancedb": "LanceDB", "chromadb": "Chroma"}


def prepare(folder: Path, most: int) -> None:
    """What `peers.engine.Files` reads. Once for a folder."""
    if (folder / "new.f32").exists():
        return
    print("reading and cutting files of this machine; once", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    texts, drawn = list[str](), random.Random(7)
    with (folder / "documents.jsonl").open("wb") as lines:
        for document in corpus.documents(most, time.time()):
            texts += [chunk.text for chunk in document.chunks]
            lines.write(msgspec.json.encode(document) + b"\n")
    asked = corpus.questions(texts[::40], QUESTIONS)
    new = []
    for n in range(NEW):
        text = f"{drawn.choice(texts)[:800]} written{n}"
        new.append((text, f"{' '.join(prose.content_words(text)[:6])} written{n}"))
    (folder / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    (folder / "new.json").write_text(json.dumps(new), encoding="utf-8")
    numbers = np.random.default_rng(5)
    plane = numbers.normal(size=(WITHIN, DIMENSIONS))
    for name, count in (("vectors.f32", len(texts)), ("asked.f32", QUESTIONS), ("new.f32", NEW)):
        made = numbers.normal(size=(count, WITHIN)) @ plane
        made += numbers.normal(size=made.shape)
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        (folder / name).write_bytes(made.astype("<f4").tobytes())


def needs(extra: str) -> list[str]:
    """What our package, or that extra of it, asks for."""
    asked = [one.partition(";") for one in importlib.metadata.requires("tidewire") or ()]
    return [
        name for name, _, when in asked if (f"'{extra}'" in when.replace('"', "'") if extra else "extra" not in when)
    ]


def install(folder: Path, requirements: Sequence[str]) -> float | None:
    """MB of these with all that they need, without bytecode; None where that does not work."""
    command = (sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(folder))
    if not folder.exists():
        done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            return None
    return size(folder)


def size(folder: Path) -> float:
    files = (path for path in folder.rglob("*") if path.suffix != ".pyc" and path.is_file())
    return sum(path.stat().st_size for path in files) / 1e6


class Failed(Exception):
    """It ended; the message is the last line that it said."""


class Peer:
    """The process of one engine."""

    def __init__(self, engine: str, files: Path, folder: Path, packages: Path) -> None:
        own = engine == "tidewire"
        # Without `site` nothing of our environment can be imported.
        python = (sys.executable,) if own else (sys.executable, "-S")
        where = os.pathsep.join((str(ROOT / "benchmarks"), *(() if own else (str(packages / engine),))))
        self._log = folder.with_suffix(".log")
        with self._log.open("w", encoding="utf-8") as said:
            self._process = subprocess.Popen(
                [*python, "-m", "retrieval.peers.measuring", engine, files, folder, str(DIMENSIONS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env=os.environ | {"PYTHONPATH": where, "LANCE_LOG": "error"},
            )
        self.ways: list[str] = self._answer()["ways"]

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps({"do": do} | fields) + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            said = self._log.read_text(encoding="utf-8").strip().splitlines()
            raise Failed(said[-1] if said else "it said nothing")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def peer(engine: str, files: Path, folder: Path, packages: Path) -> Iterator[Peer]:
    made = Peer(engine, files, folder, packages)
    try:
        yield made
    finally:
        made.close()


def installed(engine: str, packages: Path) -> Measure:
    measure = Measure(ENGINES[engine])
    if engine == "fts5":
        measure.version = sqlite3.sqlite_version
        return measure
    requirements = needs("search") if engine == "tidewire" else [engine]
    found = install(packages / engine, requirements)
    if found is None:
        measure.failed = "it could not be installed"
        return measure
    measure.installed = found
    if engine != "tidewire":
        (one,) = importlib.metadata.distributions(name=engine, path=[str(packages / engine)])
        measure.version = one.version
    return measure


def built(engine: str, measure: Measure, files: Path, folder: Path, packages: Path) -> None:
    folder.mkdir()
    with peer(engine, files, folder, packages) as process:
        done = process.ask("build")
    measure.build, measure.disk = done["seconds"], done["disk_mb"]


def turn(process: Peer, measure: Measure, number: int, queries: int, writes: int) -> None:
    """One engine's part of a round."""
    for n, way in enumerate(measure.ways):
        asked = process.ask("queries", way=way.name, first=number * queries % (QUESTIONS - queries), count=queries)
        way.queries.append(asked["queries"])
        first = (number * len(measure.ways) + n) * writes % (NEW - writes)
        wrote = process.ask("writes", way=way.name, first=first, count=writes)
        way.found += wrote["found"]
        way.gone += wrote["gone"]
        way.stale += wrote["stale"]
        way.lost += wrote["lost"]
        measure.upkeep += wrote["upkeep"]
        measure.memory = wrote["memory_mb"]


def measured(
    engines: Sequence[str], rounds: int, queries: int, writes: int, files: Path, packages: Path
) -> list[Measure]:
    measures = {engine: installed(engine, packages) for engine in engines}
    with tempfile.TemporaryDirectory(dir=files.parent) as made, contextlib.ExitStack() as stack:
        open_now = dict[str, Peer]()

        def attempt(engine: str, number: int | None) -> None:
            """number: of the round; None: build it and open it."""
            measure, folder = measures[engine], Path(made) / engine
            if measure.failed:
                return
            try:
                if number is None:
                    built(engine, measure, files, folder, packages)
                    open_now[engine] = stack.enter_context(peer(engine, files, folder, packages))
                    measure.ways = [Way(name) for name in open_now[engine].ways]
                    measure.open = open_now[engine].ask("open")["seconds"]
                    print(f"{measure.name}: built in {measure.build:.1f} s, opened in {measure.open:.2f} s", flush=True)
                else:
                    turn(open_now[engine], measure, number, queries, writes)
            except Failed as failed:
                measure.failed = str(failed)

        for number in (None, *range(rounds)):
            for engine in engines:
                attempt(engine, number)
    return list(measures.values())


def whole(packages: Path) -> str:
    """What our extra stands on: it is no program by itself."""
    found = install(packages / "tidewire_whole", [*needs(""), *needs("search")])
    if found is None:
        return ""
    megabytes = found + size(ROOT / "src" / "tidewire")
    return (
        f"\nTidewire's size is that of its extra `search`; with the server and all that it needs: {megabytes:.0f} MB\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=60, help="a round, of each way to ask")
    parser.add_argument("--writes", type=int, default=15, help="puts, and as many deletes, a round")
    parser.add_argument(
        "--only", type=lambda text: re.findall(r"\w+", text), default=list(ENGINES), metavar="ENGINE,..."
    )
    parser.add_argument("--work", type=Path)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--write", action="store_true", help="record it in benchmarks/")
    given = parser.parse_args()
    name = "retrieval_others" if given.chunks == 100_000 else f"retrieval_others_{given.chunks}"
    if given.write and name not in page.SECTIONS:
        parser.error("--write: only 100,000 and 20,000 chunks are recorded")
    if not 0 < given.queries < QUESTIONS or not 0 < given.writes < NEW:
        parser.error(f"a round has fewer than {QUESTIONS} queries and {NEW} writes")
    with tempfile.TemporaryDirectory() as made:
        files = (given.work or Path(made)).absolute() / f"{given.chunks}"
        packages = (given.packages or Path(made) / "packages").absolute()
        packages.mkdir(parents=True, exist_ok=True)
        prepare(files, given.chunks)
        measures = measured(given.only, given.rounds, given.queries, given.writes, files, packages)
        says = f"{given.chunks:,} chunks, {given.rounds} rounds of {given.queries} queries and {given.writes} puts for each row."
        text = f"{says}\n{table(measures)}{whole(packages)}"
    print(text, end="")
    if given.write:
        page.save(page.RESULTS / f"{name}.json", {"context": facts(Cores.find(realtime=False)), "text": text})
        shown = picture(measures, f"{given.chunks:,} chunks of 384 numbers each, one process, no embedding model")
        (page.RESULTS / f"{name}.svg").write_text(shown, encoding="utf-8")
        page.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
