"""In which order the candidates of a route are asked."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from typing import Final

from tidewire.core.request import Request
from tidewire.routing.health import Healths
from tidewire.routing.table import Candidate, Needs, Plan

USUAL_ANSWER: Final = 500  # tokens, where a request sets no limit: prices are compared by it


def ranked(
    plan: Plan,
    able: Sequence[Candidate],
    need: Needs,
    *,
    healths: Healths,
    rng: random.Random,
    now: float,
    key: bytes = b"",
) -> list[Candidate]:
    """All of `able`, whom to ask first at the front. key: where it is given, equal keys begin with the same candidate."""
    match plan.choose:
        case "order":
            found = list(able)
        case "price":
            answer = need.answer or USUAL_ANSWER
            found = sorted(able, key=lambda c: (c.price(need.tokens, answer), healths[c.model].load(now)))
        case "weights":
            found = sorted(able, key=lambda c: math.log(1.0 - rng.random()) / c.weight, reverse=True)
        case "latency":
            found = _quickest(able, healths, rng, now)
    if key and found:
        home = max(found, key=lambda c: _rendezvous(key, c))
        found.remove(home)
        found.insert(0, home)
    return found


def prefix(request: Request) -> bytes:
    """What tells beginnings apart: the tenant, the system text, and the first message behind it."""
    digest = hashlib.blake2b(request.tenant.encode(), digest_size=16)
    for message in request.messages:
        digest.update(b"\0" + message.role.encode() + b"\0" + message.text.encode("utf-8", "surrogatepass"))
        if message.role != "system":
            break
    return digest.digest()


def _quickest(able: Sequence[Candidate], healths: Healths, rng: random.Random, now: float) -> list[Candidate]:
    """Power of two choices: of two drawn by weight, the one that is likely to cost less; the others behind, by what they cost.

    The one of all that looks best would be everybody's choice at the same moment, and no longer the best.
    """

    def load(candidate: Candidate) -> float:
        return healths[candidate.model].load(now) / candidate.weight

    drawn = sorted(able, key=lambda c: math.log(1.0 - rng.random()) / c.weight, reverse=True)[:2]
    first = min(drawn, key=load) if drawn else None
    rest = sorted((c for c in able if c is not first), key=load)
    return [first, *rest] if first is not None else rest


def _rendezvous(key: bytes, candidate: Candidate) -> float:
    """Highest weight wins: when a candidate goes, only its own keys move."""
    raw = hashlib.blake2b(candidate.model.encode(), key=key, digest_size=8).digest()
    share = (int.from_bytes(raw, "big") + 1) / (2**64 + 2)
    return candidate.weight / -math.log(share)
