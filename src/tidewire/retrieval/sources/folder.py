"""A folder, or one file: once, or watched.

A pass looks at every file's size and time, and reads those that differ from the last pass, also of a server before; what is then no
other by its content is left. A file that moved is put under its new name before the old one goes: chunks are shared by content, and keep
their vectors. A folder that is gone, also while it is read, or holds no file at all, takes nothing out: it may be a disk that is not mounted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec

from tidewire.core.errors import BadRequest, NotFound
from tidewire.retrieval.intake import Delivery, Found
from tidewire.retrieval.ports import Known, Store
from tidewire.retrieval.reading.page import NotRead, printable
from tidewire.retrieval.sources.seen import Seen, Stamp

log = logging.getLogger("tidewire.retrieval")

LEFT_OUT: Final = frozenset({"node_modules", "__pycache__", "venv", "site-packages", "target", "dist-info"})
DEBOUNCE: Final = 200  # milliseconds of quiet after a change
POLL: Final = 2.0  # seconds between two passes where nothing tells of changes
YIELD: Final = 500  # unchanged files between two looks at what else there is to do
PAGE: Final = 1000  # documents that are asked for at once

Progressed = Callable[[int, int, str], None]


class Choice(msgspec.Struct, frozen=True):
    """Which files: globs over the path inside the folder, where * passes over /. No include: all. readers, published: of each."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    published: float | None = None

    def takes(self, inside: str) -> bool:
        wanted = not self.include or any(fnmatchcase(inside, glob) for glob in self.include)
        return wanted and not any(fnmatchcase(inside, glob) for glob in self.exclude)


class Folder:
    """`sources.port.Source`. on_progress(done, total, name) is called on the event loop, once for each file."""

    def __init__(self, path: Path | str, choice: Choice | None = None, on_progress: Progressed | None = None) -> None:
        self._path = Path(path)
        self._choice = choice or Choice()
        self._on_progress = on_progress
        self._seen = Seen()
        self._watching: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def run(self, delivery: Delivery) -> None:
        """Raises NotFound where nothing is at the path (what was indexed of it is kept), BadRequest for what is no folder or file."""
        self._changed.clear()
        store, begun = delivery.intake.store, time.time()
        await self._seen.load(store, delivery.way(self._path.absolute(), self._choice))
        if delivery.again:
            self._seen.clear()
        try:
            await self._pass(delivery)
            await delivery.flush()
            await self._seen.save(store, begun)
        except BaseException:
            self._seen.clear()  # nobody knows which of them are stored
            raise

    async def _pass(self, delivery: Delivery) -> None:
        root, files, unread = await asyncio.to_thread(self._survey)
        known = await under(delivery, root)
        kept: set[str] = set()
        for n, (file, stamp) in enumerate(files, 1):
            place = printable(file)
            if self._seen.same(place, stamp, known.get(place)):
                delivery.same()
                kept.add(place)
                if n % YIELD == 0:
                    await asyncio.sleep(0)
            elif await self._bring(delivery, file, _shown(file, root), known.get(place)):
                kept.add(place)
            if self._on_progress is not None:
                self._on_progress(n, len(files), _shown(file, root))
        for folder, why in unread:
            delivery.skip(_shown(folder, root), why)
        gone = [place for place in known if place not in kept and not any(_under(place, Path(f)) for f, _ in unread)]
        if gone and not await asyncio.to_thread(_any_there, files):
            delivery.skip(
                str(root), f"it holds no file now; the {len(gone)} documents from it are kept until it holds one again"
            )
            gone = []
        await delivery.remove(gone)
        self._seen.drop(gone)

    async def wait(self, seconds: float) -> None:
        try:
            import watchfiles  # noqa: F401, PLC0415 - of the extra "documents"
        except ImportError:
            await asyncio.sleep(min(seconds, POLL))
            return
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
            await asyncio.sleep(0)  # it watches from here on
            return  # what was changed since the last pass, and before, is found by one more
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])

    async def _watch(self) -> None:
        """Ends where the folder ends; the next `wait` begins anew."""
        from watchfiles import awatch  # noqa: PLC0415

        try:
            async for _ in awatch(self._path, debounce=DEBOUNCE * 5, step=DEBOUNCE, recursive=True):
                self._changed.set()
        except (OSError, RuntimeError) as error:
            log.warning("a folder is not watched", extra={"path": str(self._path), "error": error})
            await asyncio.sleep(POLL)
        self._changed.set()

    async def _bring(self, delivery: Delivery, file: str, shown: str, known: Known | None) -> bool:
        """True where the file is, or may tomorrow be again, a document."""
        largest = delivery.intake.reader.bounds.size
        try:
            raw, status = await asyncio.to_thread(_bytes, file, largest)
        except NotRead as refusal:
            delivery.skip(shown, str(refusal), looked=True)
            return False
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            delivery.skip(shown, f"not read: {error.strerror}", looked=True, meant=gone)
            return not gone  # it is there, and may be readable again tomorrow
        found = Found(
            location=file,
            name=Path(file).name,
            uri=shown,
            raw=raw,
            published=self._choice.published,
            changed=status.st_mtime,
            readers=self._choice.readers,
        )
        digest = await delivery.offer(found, known.digest if known is not None else None)
        if digest:
            self._seen.add(printable(file), (status.st_size, status.st_mtime_ns), digest)
        return bool(digest)

    def _survey(self) -> tuple[Path, list[tuple[str, Stamp | None]], list[tuple[str, str]]]:
        """The place itself, the regular files in it with size and time, and the folders that could not be listed, with why."""
        path = self._path
        root = path.resolve()
        if not root.exists():
            raise NotFound(f"there is no file or folder {str(path)!r} to ingest; what was indexed of it before is kept")
        if root.is_file():
            return root, [(str(root), _stamp(str(root)))], []
        if not root.is_dir():
            raise BadRequest(f"{str(path)!r} is neither a file nor a folder")
        files: list[str] = []
        unread: list[OSError] = []
        for folder, folders, names in os.walk(root, onerror=unread.append):
            folders[:] = [f for f in folders if not _left_out(f)]
            inside = (Path(folder, name) for name in names if not name.startswith("."))
            files += [
                str(file) for file in inside if _belongs(file, root) and self._choice.takes(_shown(str(file), root))
            ]
        return (
            root,
            [(file, _stamp(file)) for file in sorted(files)],
            [(str(error.filename), f"not read: {error.strerror}") for error in unread],
        )


async def under(delivery: Delivery, root: Path) -> dict[str, Known]:
    """What the store has of this place, by location, as far as this source brought it."""
    found: dict[str, Known] = {}
    store: Store = delivery.intake.store
    after = ""
    while page := await store.documents(delivery.namespace, after=after, limit=PAGE, source=delivery.source):
        found |= {one.location: one for one in page if _under(one.location, root)}
        after = page[-1].location
    return found


def _stamp(file: str) -> Stamp | None:
    """Size, and time in ns; None where nobody can tell."""
    try:
        status = os.stat(file)  # noqa: PTH116 - for each of very many files
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _any_there(files: Sequence[tuple[str, Stamp | None]]) -> bool:
    """Whether one is there still: a disk may go while it is read."""
    return any(_stamp(file) is not None for file, _ in files)


def _bytes(file: str, largest: int) -> tuple[bytes, os.stat_result]:
    """What a file holds. One over the limit is not opened, and one that grows is not read to its end."""
    status = Path(file).stat()
    if status.st_size > largest:
        raise NotRead(f"not read: {status.st_size:,} bytes, and {largest:,} is the limit")
    with open(file, "rb") as source:  # noqa: PTH123
        raw = source.read(largest + 1)
    if len(raw) > largest:
        raise NotRead(f"not read: it has grown over {largest:,} bytes, which is the limit")
    return raw, status


def _under(location: str, root: Path) -> bool:
    return location == str(root) or location.startswith(str(root).rstrip(os.sep) + os.sep)


def _belongs(file: Path, root: Path) -> bool:
    """A regular file, and if it is a link, one to a file in this folder."""
    return file.is_file() and (not file.is_symlink() or _under(str(file.resolve()), root))


def _shown(location: str, root: Path) -> str:
    """A path as a reader sees it: relative to what was ingested."""
    return printable(os.path.relpath(location, root) if location != str(root) else root.name)


def _left_out(folder: str) -> bool:
    return folder.startswith(".") or folder in LEFT_OUT or folder.endswith((".egg-info", ".dist-info"))
