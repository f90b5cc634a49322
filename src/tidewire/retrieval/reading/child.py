"""The process that reads one heavy document: bytes on standard input, a `Page` or a sentence as JSON on standard output.

Its memory and its time are bounded before it has seen a byte, it has no open file but its pipes, and none of its parent's
environment. Run by `reader.py`: python -m tidewire.retrieval.reading.child NAME KIND CHARACTERS MEMORY SECONDS
"""

from __future__ import annotations

import contextlib
import sys

import msgspec

from tidewire.retrieval.reading import formats
from tidewire.retrieval.reading.page import NotRead, Page


class Said(msgspec.Struct, omit_defaults=True):
    """One of the two."""

    page: Page | None = None
    refused: str = ""


def bound(memory: int, seconds: int) -> None:
    """Bytes of address space, seconds of processor time, no file to write and no other process. Where the system has such bounds."""
    with contextlib.suppress(ImportError):
        import resource  # noqa: PLC0415 - not on every system

        for what, most in (
            (resource.RLIMIT_AS, memory),
            (resource.RLIMIT_CPU, seconds),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
        ):
            _, hard = resource.getrlimit(what)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (most, most))


def main() -> None:
    name, kind, most, memory, seconds = sys.argv[1:]
    bound(int(memory), int(seconds))
    try:
        said = Said(page=formats.read(sys.stdin.buffer.read(), name, kind, int(most)))
    except NotRead as refusal:
        said = Said(refused=str(refusal))
    except MemoryError:
        said = Said(refused=f"not read: it takes more than {int(memory) >> 20} MiB of memory")
    except Exception as error:  # noqa: BLE001 - supervisor boundary: what a parser does to itself is said of the document
        said = Said(refused=f"not read: {type(error).__name__} while its format was read")
    sys.stdout.buffer.write(msgspec.json.encode(said))


if __name__ == "__main__":
    main()
