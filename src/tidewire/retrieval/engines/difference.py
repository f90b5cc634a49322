"""What changed while an index did not look, as the changes that would have told it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tidewire.retrieval.engines.place import Place
from tidewire.retrieval.ports import Change


def differences(
    before: Mapping[int, Place], after: Mapping[int, Place], seq: int, epoch: Callable[[str], int]
) -> Iterator[Change]:
    """Two for a namespace at most: what was put or replaced, and what was taken away. seq: of both.

    A document that was only indexed again counts as replaced: nobody knows any more what it said before.
    """
    gone = {chunk: place for chunk, place in before.items() if chunk not in after}
    new = {chunk: place for chunk, place in after.items() if chunk not in before}
    there = {(place.namespace, place.document) for place in after.values()}
    for space in sorted({place.namespace for place in (*gone.values(), *new.values())}):
        added = tuple(chunk for chunk, place in new.items() if place.namespace == space)
        mine = [(chunk, place) for chunk, place in gone.items() if place.namespace == space]
        replaced = tuple(chunk for chunk, place in mine if (space, place.document) in there)
        taken = tuple(chunk for chunk, place in mine if (space, place.document) not in there)
        for came, went in ((added, replaced), ((), taken)):
            if came or went:
                documents = tuple(sorted({gone[chunk].document for chunk in went}))
                yield Change(seq, space, epoch(space), added=came, removed=went, documents=documents)
