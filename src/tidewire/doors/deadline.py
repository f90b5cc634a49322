"""How long the client, or a gateway before us, says that it waits for the whole answer: headers become a time limit. Pure.

Read: `x-request-timeout-ms`, for whoever writes requests by hand; `grpc-timeout` (gRPC over HTTP/2, "1 to 8 digits and a
unit"), which gRPC gateways pass on; `x-envoy-expected-rq-timeout-ms`, which Envoy sets to the time that is left. Not read:
`x-stainless-timeout` and `x-stainless-read-timeout` of generated SDKs, which bound a silence and not an answer: a stream of
theirs may well take longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tidewire.core.errors import BadRequest

OURS: Final = "x-request-timeout-ms"
ENVOY: Final = "x-envoy-expected-rq-timeout-ms"
GRPC: Final = "grpc-timeout"
UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}  # seconds
DIGITS: Final = 8  # as gRPC has it; 10^8 ms are 27 hours


def time_limit(headers: Mapping[str, str]) -> float | None:
    """Seconds, the shortest where several say; None where none does. headers: names in lower case.

    Raises BadRequest for our own where it says no time. What a gateway adds is passed over then: its client cannot mend it.
    """
    found: list[float] = []
    if (ours := headers.get(OURS)) is not None:
        ms = _whole(ours)
        if not ms:
            raise BadRequest(
                f"{OURS} is {ours[:40]!r}; it must be a whole number of milliseconds, 1 to 99999999", param=OURS
            )
        found.append(ms / 1000)
    if ms := _whole(headers.get(ENVOY, "")):  # 0: without end
        found.append(ms / 1000)
    given = headers.get(GRPC, "").strip()
    unit = UNITS.get(given[-1:])
    if unit is not None and (count := _whole(given[:-1])):
        found.append(count * unit)
    return min(found, default=None)


def _whole(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS else None
