"""Where the time of a search went, as spans of a stream's waterfall: the parts laid out as they follow each other."""

from __future__ import annotations

from collections.abc import Mapping

from tidewire.core.events import Span


def spans(took: Mapping[str, float]) -> list[Span]:
    """took: milliseconds by part, as `Results` has them. Words and meaning are looked for at once, the rest one after the other."""
    begins = {"lexical": 0.0, "encode": 0.0, "dense": took.get("encode", 0.0)}
    at = max(took.get("lexical", 0.0), begins["dense"] + took.get("dense", 0.0))
    for part in ("fuse", "fetch", "rank", "rerank"):
        begins[part] = at
        at += took.get(part, 0.0)
    return [Span(f"retrieval.{part}", round(begins.get(part, 0.0), 3), ms) for part, ms in took.items()]
