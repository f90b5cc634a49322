"""Brings a folder and the index into agreement: what is new or changed goes in, what is gone goes out, the rest is left."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tidewire.core.errors import BadRequest, NotFound
from tidewire.retrieval.documents import Document, digest
from tidewire.retrieval.index import Index
from tidewire.retrieval.reading.page import NotRead
from tidewire.retrieval.reading.reader import Bounds, Reader

LARGEST: Final = 32 * 1024 * 1024  # bytes of one file
BATCH: Final = 64  # documents in one transaction
BATCH_CHARACTERS: Final = 2_000_000
LEFT_OUT: Final = frozenset({"node_modules", "__pycache__", "venv", "site-packages", "target", "dist-info"})

Progressed = Callable[[int, int, str], None]


class Report(msgspec.Struct):
    """What an ingest did. files: all that were looked at. skipped: path (as shown) and why. chunks: of the files indexed."""

    files: int = 0
    indexed: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: list[tuple[str, str]] = []
    chunks: int = 0
    seconds: float = 0.0


async def ingest(
    index: Index, path: Path | str, namespace: str, on_progress: Progressed | None = None, *, largest: int = LARGEST
) -> Report:
    """Index a file or a folder. Unchanged files are not read into the index again; vanished ones under `path` are removed.

    Hidden files, caches and packages are left out, and links that lead out of the folder. One bad file ends nothing: it is
    in the report. on_progress(done, total, name) is called on the event loop, once for each file. largest: bytes of a file.
    Raises NotFound where there is nothing at `path`, BadRequest where it is neither file nor folder.
    """
    started = time.monotonic()
    report = Report()
    root, files, unread = await asyncio.to_thread(_survey, Path(path))
    reader = Reader(Bounds(size=largest))
    known = {d.location: d.digest for d in await index.documents(namespace) if _under(d.location, root)}
    kept: set[str] = set()
    batch: list[Document] = []
    for n, file in enumerate(files, 1):
        shown, place = _shown(file, root), _printable(file)
        outcome = await _document(reader, file, shown, known.get(place))
        report.files += 1
        if isinstance(outcome, Document):
            batch.append(outcome)
            kept.add(place)
        elif outcome is None:
            report.unchanged += 1
            kept.add(place)
        else:
            report.skipped.append((shown, str(outcome)))
            if isinstance(outcome, OSError):
                kept.add(place)  # it is there, and may be readable again tomorrow
        if batch and (n == len(files) or len(batch) >= BATCH or sum(len(d.text) for d in batch) > BATCH_CHARACTERS):
            report.chunks += await index.put(namespace, batch)
            report.indexed += len(batch)
            batch = []
        if on_progress is not None:
            on_progress(n, len(files), shown)
    await reader.close()
    report.skipped += [(_shown(folder, root), why) for folder, why in unread]
    gone = [place for place in known if place not in kept and not any(_under(place, Path(f)) for f, _ in unread)]
    if gone:
        report.removed = await index.remove(namespace, gone)
        await index.compact(namespace)
    report.seconds = time.monotonic() - started
    return report


def _under(location: str, root: Path) -> bool:
    return location == str(root) or location.startswith(str(root).rstrip(os.sep) + os.sep)


async def _document(reader: Reader, file: str, shown: str, before: str | None) -> Document | NotRead | OSError | None:
    """The file's document; None where it is as it was; else why there is none."""
    largest = reader.bounds.size
    try:
        raw, changed = await asyncio.to_thread(_bytes, file, largest)
        mark = digest(raw)
        if mark == before:
            return None
        page = await reader.read(raw, Path(file).name)
    except NotRead as refusal:
        return refusal
    except OSError as error:
        return OSError(error.errno, f"not read: {error.strerror}")
    return Document(
        location=_printable(file),
        title=_printable(page.title),
        text=_printable(page.text),
        uri=shown,
        changed=page.published or changed,
        digest=mark,
    )


def _bytes(file: str, largest: int) -> tuple[bytes, float]:
    """What a file holds, and when it was changed. One over the limit is not opened."""
    status = Path(file).stat()
    if status.st_size > largest:
        raise NotRead(f"not read: {status.st_size:,} bytes, and {largest:,} is the limit")
    with open(file, "rb") as source:  # noqa: PTH123
        raw = source.read(largest + 1)
    if len(raw) > largest:
        raise NotRead(f"not read: it has grown over {largest:,} bytes, which is the limit")
    return raw, status.st_mtime


def _printable(text: str) -> str:
    """Without the halves of characters that a file name or a broken escape may hold, and SQLite may not."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _survey(path: Path) -> tuple[Path, list[str], list[tuple[str, str]]]:
    """The place itself, the regular files in it, and the folders that could not be listed, with why."""
    root = path.resolve()
    if not root.exists():
        raise NotFound(f"there is no file or folder {str(path)!r} to ingest; what was indexed of it before is kept")
    if root.is_file():
        return root, [str(root)], []
    if not root.is_dir():
        raise BadRequest(f"{str(path)!r} is neither a file nor a folder")
    files: list[str] = []
    unread: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=unread.append):
        folders[:] = [f for f in folders if not _left_out(f)]
        inside = (Path(folder, name) for name in names if not name.startswith("."))
        files += [str(file) for file in inside if _belongs(file, root)]
    return root, sorted(files), [(str(error.filename), f"not read: {error.strerror}") for error in unread]


def _belongs(file: Path, root: Path) -> bool:
    """A regular file, and if it is a link, one to a file in this folder."""
    return file.is_file() and (not file.is_symlink() or _under(str(file.resolve()), root))


def _shown(location: str, root: Path) -> str:
    """A path as a reader sees it: relative to what was ingested."""
    return _printable(os.path.relpath(location, root) if location != str(root) else root.name)


def _left_out(folder: str) -> bool:
    return folder.startswith(".") or folder in LEFT_OUT or folder.endswith((".egg-info", ".dist-info"))
