"""A hundred thousand chunks of real text: documentation, man pages and source code, as this machine has them.

Each file is read and cut as the server would do it. Its vectors are drawn at random: an exact scan takes the same time for any, and real
ones would take half an hour. So what is found by meaning is not by meaning here; that is what `quality` is for.
"""

from __future__ import annotations

import gzip
import random
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from retrieval.parts import SPACE

from tidewire.core import prose
from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.ports import Document, Store, Vector
from tidewire.retrieval.ranking.recency import DAY
from tidewire.retrieval.reading import formats
from tidewire.retrieval.reading.page import NotRead
from tidewire.retrieval.reading.text import decoded

LARGEST: Final = 400_000  # bytes of a file; above are tables and generated code
ENDINGS: Final = frozenset((".md", ".rst", ".txt", ".html", ".py", ".pyi"))
AT_ONCE: Final = 64  # documents in a transaction
_REQUEST: Final = re.compile(r"^[.'].*$", re.MULTILINE)
_ESCAPE: Final = re.compile(r"\\f(?:\[\w*\]|\(..|.)|\\s[+-]?\d|\\[&|^/,]")


def files() -> Iterator[Path]:
    """Documentation first, then man pages, then source; each sort in the order of its names."""
    packages = Path(sysconfig.get_paths()["purelib"])
    library = Path(sysconfig.get_paths()["stdlib"])
    everything = sorted(path for path in packages.rglob("*") if path.suffix in ENDINGS and path.is_file())
    yield from (path for path in sorted(Path("/usr/share/doc").rglob("*")) if path.suffix in ENDINGS and path.is_file())
    yield from (path for path in everything if not path.suffix.startswith(".py"))
    for section in range(1, 9):
        yield from sorted(Path(f"/usr/share/man/man{section}").glob("*.gz"))
    yield from (path for path in everything if path.suffix.startswith(".py"))
    yield from (path for path in sorted(library.rglob("*.py")) if packages not in path.parents)


def _text(path: Path) -> tuple[str, str] | None:
    """Title and text; None for what is too large, empty, or no text."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as opened:
                raw = opened.read(LARGEST + 1)
            text = _ESCAPE.sub("", _REQUEST.sub("", decoded(raw)))
            return (path.stem, text) if len(raw) <= LARGEST and len(text) > 200 else None
        if not 200 < path.stat().st_size <= LARGEST:
            return None
        raw = path.read_bytes()
        read = formats.chosen(raw, path.name, "").text
        page = read(decoded(raw)) if read is not None else None
        return None if page is None else (page.title or path.stem, page.text)
    except (NotRead, OSError, EOFError, ValueError):
        return None


def documents(most: int, now: float) -> Iterator[Document]:
    """So many chunks of them, dated over the last two years; every tenth document will expire some day."""
    drawn, seen, made = random.Random(3), set[bytes](), 0
    for path in files():
        found = _text(path)
        if found is None:
            continue
        cut = tuple(chunk for chunk in chunks(found[1]) if chunk.digest not in seen)
        seen.update(chunk.digest for chunk in cut)
        cut = cut[: most - made]
        if cut:
            made += len(cut)
            expires = now + 365 * DAY if drawn.random() < 0.1 else None
            when = now - drawn.random() * 730 * DAY
            yield Document(
                str(path), found[0], found[1], path.as_uri(), digest="1", published=when, expires=expires, chunks=cut
            )
        if made >= most:
            return


async def fill(store: Store, encoder: str, dimensions: int, most: int, now: float) -> None:
    batch: list[Document] = []
    for document in documents(most, now):
        batch.append(document)
        if len(batch) == AT_ONCE:
            await store.put(SPACE, batch)
            batch = []
    if batch:
        await store.put(SPACE, batch)
    random_numbers = np.random.default_rng(5)
    while waiting := await store.pending(encoder, 5000):
        await store.add_vectors(encoder, [(chunk, vector(random_numbers, dimensions)) for chunk, _ in waiting])


def vector(drawn: np.random.Generator, dimensions: int) -> Vector:
    numbers = drawn.normal(size=dimensions)
    numbers /= np.linalg.norm(numbers)
    scale = float(np.abs(numbers).max()) / 127
    return Vector(np.round(numbers / scale).astype(np.int8).tobytes(), scale)


def questions(texts: list[str], count: int) -> list[str]:
    """Four to nine words that stand beside each other in a text, without the words that say nothing."""
    drawn, out = random.Random(11), list[str]()
    while len(out) < count:
        words = prose.content_words(drawn.choice(texts))
        size = drawn.randint(4, 9)
        if len(words) > size:
            at = drawn.randrange(len(words) - size)
            out.append(" ".join(words[at : at + size]))
    return out
