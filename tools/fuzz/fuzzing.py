"""The fuzzer's loop: inputs by number, each out of its own seed, so that any of them can be made again."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator, Sequence
from random import Random
from types import FrameType
from typing import Final, NamedTuple

import corpus
import mutations
import verdict

from tidewire.core.errors import UpstreamError
from tidewire.core.ports import Speaker

HANGS: Final = 20  # seconds after which an input is given up
GROWTH: Final = 256 * 1024  # KiB that the process may grow while one decoder is tried
ENDLESS: Final = 80 * 1024 * 1024  # bytes without an end, of which no decoder may hold all
PIECE: Final = 64 * 1024


class Finding(NamedTuple):
    decoder: str
    kind: str
    number: int
    seed: str
    says: str
    wire: bytes

    def __str__(self) -> str:
        return f"{self.decoder} ({self.kind}), input {self.number} of seed {self.seed}: {self.says}\n    {self.wire[:300]!r}"


def fuzz(
    decoder: str, rows: Sequence[tuple[str, Speaker]], seed: str, numbers: range, answers: Sequence[bytes] | None = None
) -> Iterator[Finding]:
    """Tries the inputs of these numbers on one decoder. answers: what is mutated; None: what corpus.py has."""
    if answers is None:
        answers = corpus.answers({kind for kind, _ in rows}, type(rows[0][1].decoder(corpus.REQUESTS[0])))
    before = _peak()
    for number in numbers:
        rng = Random(f"{seed}/{decoder}/{number}")
        kind, speaker = rows[number % len(rows)]
        wire = mutations.mutated(rng, answers)
        signal.signal(signal.SIGALRM, _hangs)
        signal.alarm(HANGS)
        try:
            verdict.check(speaker, corpus.REQUESTS[rng.randrange(2)], wire, mutations.cuts(rng, wire))
            if number % 16 == 0:
                lists(speaker, mutations.mutated(rng, corpus.LISTS))
        except verdict.Broken as broken:
            yield Finding(decoder, kind, number, seed, str(broken), wire)
        finally:
            signal.alarm(0)
    grown = _peak() - before
    if grown > GROWTH:
        yield Finding(decoder, rows[0][0], numbers.stop, seed, f"the process grew by {grown >> 10} MiB", b"")


def lists(speaker: Speaker, body: bytes) -> None:
    try:
        speaker.models(body)
    except UpstreamError:
        return
    except Exception as error:
        raise verdict.Broken(f"models() raised {type(error).__name__}: {error}: {body[:200]!r}") from error


def endless(decoder: str, rows: Sequence[tuple[str, Speaker]]) -> Iterator[Finding]:
    """Events that begin and never end: none is held beyond a limit. Rows share their decoder, so one of them is enough."""
    kind, speaker = rows[0]
    for beginning in (b"", b"data: ", b'data: {"x":"', b'{"x":"', b"event: x\n", b"\x7f\xff\xff\xff\x00\x00\x00\x00"):
        reading = speaker.decoder(corpus.REQUESTS[0])
        began = time.perf_counter()
        fed = 0
        try:
            reading.feed(beginning)
            while fed < ENDLESS and time.perf_counter() - began < HANGS:
                reading.feed(b"y" * PIECE)
                fed += PIECE
        except UpstreamError:
            continue
        except Exception as error:  # noqa: BLE001 - it is the finding
            yield Finding(decoder, kind, 0, "endless", f"raised {type(error).__name__}: {error}", beginning)
            continue
        yield Finding(decoder, kind, 0, "endless", f"took {fed} bytes of one event and went on", beginning)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _hangs(signal_number: int, frame: FrameType | None) -> None:
    raise verdict.Broken(f"was still at it after {HANGS} s")
