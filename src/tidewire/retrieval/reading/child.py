"""The process that reads documents, one after the other, until its input ends: what parsers and patterns do to themselves
costs no stream a millisecond, and can be killed.

Its memory is bounded before it has seen a byte, the time of each document besides; it has no open file but its pipes, and none
of its parent's environment. Run by `reader.py`: python -m tidewire.retrieval.reading.child CHARACTERS MEMORY SECONDS. A question
and an answer are each four bytes of length and MessagePack; the document's own bytes follow the question.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from typing import BinaryIO, Literal

import msgspec

from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.reading import feeds, formats
from tidewire.retrieval.reading.feeds import Item
from tidewire.retrieval.reading.page import NoDocument, NotRead, Page, printable


class Asked(msgspec.Struct, array_like=True):
    """size: bytes of it. what: a document, a text that was read before and is only to be cut, or a feed."""

    name: str
    kind: str
    size: int
    what: Literal["document", "text", "feed"] = "document"


class Said(msgspec.Struct, omit_defaults=True):
    """One of them; of a feed, its items. meant: what is refused is no document, and nothing went wrong."""

    page: Page | None = None
    items: list[Item] = []
    refused: str = ""
    meant: bool = False


def bound(memory: int) -> None:
    """Bytes of address space; no file to write. Where the system has such bounds."""
    with contextlib.suppress(ImportError):
        import resource  # noqa: PLC0415 - not on every system

        for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
            _, hard = resource.getrlimit(what)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (most, most))


def allow(seconds: float) -> None:
    """So much more processor time; the parent's clock is the real bound, and this one holds where the parent was killed."""
    with contextlib.suppress(ImportError, ValueError):
        import resource  # noqa: PLC0415

        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time() + seconds) + 1, hard))


def read(raw: bytes, asked: Asked, most: int, memory: int) -> Said:
    try:
        if asked.what == "feed":
            return Said(items=feeds.read(raw, most))
        page = Page("", raw.decode()) if asked.what == "text" else formats.read(raw, asked.name, asked.kind, most)
        text = printable(page.text)
        cut = tuple(chunks(text))
        return Said(msgspec.structs.replace(page, title=printable(page.title), text=text, chunks=cut))
    except NotRead as refusal:
        return Said(refused=str(refusal), meant=isinstance(refusal, NoDocument))
    except MemoryError:
        return Said(refused=f"not read: it takes more than {memory >> 20} MiB of memory")
    except Exception as error:  # noqa: BLE001 - supervisor boundary: what a parser does to itself is said of the document
        return Said(refused=f"not read: {type(error).__name__} while its format was read")


def serve(source: BinaryIO, sink: BinaryIO, most: int, memory: int, seconds: float) -> None:
    while head := source.read(4):
        asked = msgspec.msgpack.decode(source.read(int.from_bytes(head)), type=Asked)
        allow(seconds)
        answer = msgspec.msgpack.encode(read(source.read(asked.size), asked, most, memory))
        sink.write(len(answer).to_bytes(4) + answer)
        sink.flush()


if __name__ == "__main__":
    characters, space, time_s = sys.argv[1:]
    bound(int(space))
    serve(sys.stdin.buffer, sys.stdout.buffer, int(characters), int(space), float(time_s))
