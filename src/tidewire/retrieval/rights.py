"""Who may read what a source brought, when the settings name others: also what it has no more, or cannot be read now."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from tidewire.retrieval.intake import BATCH, Delivery
from tidewire.retrieval.ports import Document, Known
from tidewire.retrieval.reading.page import NotRead

PAGE: Final = 1000  # documents that are asked for at once


async def grant(delivery: Delivery, readers: Sequence[str]) -> None:
    """All documents of this source are for these groups from here on. Looks at them only where the groups are not those of the last time."""
    store = delivery.intake.store
    note, said = f"readers {delivery.namespace} {delivery.source}", msgspec.json.encode(list(readers)).decode()
    if await store.note(note) == said:
        return
    after, failed = "", False
    while page := await store.documents(delivery.namespace, after=after, limit=PAGE, source=delivery.source):
        others = [known for known in page if known.readers != tuple(readers)]
        for at in range(0, len(others), BATCH):
            made = [await _for(delivery, known, tuple(readers)) for known in others[at : at + BATCH]]
            failed |= None in made
            await delivery.put([document for document in made if document is not None], take="own")
        after = page[-1].location
    if not failed:
        await store.set_note(note, said)


async def _for(delivery: Delivery, known: Known, readers: tuple[str, ...]) -> Document | None:
    """The document as it is stored, for these readers; None where that cannot be done, as the report says.

    Its digest is another: the source reads it whole where it still has it.
    """
    found = await delivery.intake.store.document(delivery.namespace, known.id)
    if found is None or found[0].source != delivery.source:
        return None
    try:
        document = await delivery.intake.cut_again(*found)
    except NotRead as refusal:
        delivery.skip(known.location, f"its readers are those of before: {refusal}")
        return None
    digest = hashlib.blake2b(f"{document.digest} {readers}".encode(), digest_size=16).hexdigest()
    return msgspec.structs.replace(document, readers=readers, digest=digest)
