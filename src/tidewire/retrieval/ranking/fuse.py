"""Several scored lists become one. Scores of different kinds cannot be added as they are; each list is first laid between 0 and 1.

Flat lists trap the usual formula: (x - low) / (high - low) of a list with one score gives 0, and the only document that holds
a new word would rank behind all that hold it not. Here they are 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

Scored = tuple[int, float]
RRF: Final = (
    60  # reciprocal rank fusion's constant, as its authors chose it (Cormack, Clarke and Buettcher, SIGIR 2009)
)
CUT: Final = 0.1  # what the last of a list is worth that was cut behind it: what is in both lists counts more


def normed(scored: Sequence[Scored], floor: float = 0.0) -> dict[int, float]:
    """By chunk, floor to 1: the best of the list is 1, and so is each of a list whose scores are all the same."""
    if not scored:
        return {}
    low, high = min(score for _, score in scored), max(score for _, score in scored)
    if high <= low:
        return {chunk: 1.0 for chunk, _ in scored}
    return {chunk: floor + (1.0 - floor) * (score - low) / (high - low) for chunk, score in scored}


def shares(scored: Sequence[Scored]) -> dict[int, float]:
    """Of the best score: for a list that is whole or alone, whose last is not nothing, only the least."""
    high = max((score for _, score in scored), default=0.0)
    return {chunk: max(0.0, score / high) if high > 0 else 1.0 for chunk, score in scored}


def weighted(lists: Sequence[tuple[float, Mapping[int, float]]]) -> dict[int, float]:
    """lists: a weight and scores between 0 and 1. What a list does not hold gets nothing from it."""
    total = sum(weight for weight, scores in lists if scores) or 1.0
    out: dict[int, float] = {}
    for weight, scores in lists:
        for chunk, score in scores.items():
            out[chunk] = out.get(chunk, 0.0) + weight / total * score
    return out


def reciprocal(lists: Sequence[Sequence[Scored]]) -> dict[int, float]:
    """By ranks alone, laid between 0 and 1: for lists whose scores say little."""
    best = sum(1 / (RRF + 1) for scored in lists if scored) or 1.0
    out: dict[int, float] = {}
    for scored in lists:
        for rank, (chunk, _) in enumerate(sorted(scored, key=lambda pair: (-pair[1], pair[0])), 1):
            out[chunk] = out.get(chunk, 0.0) + 1 / (RRF + rank) / best
    return out
