"""The list of models that OpenAI and most others answer at /models: {"data": [{"id", "created"}]}. As hosts write it."""

from __future__ import annotations

import msgspec

from tidewire.core.errors import UpstreamError
from tidewire.core.ports import ModelInfo


class _Row(msgspec.Struct):
    id: str
    created: int | None = None


class _Listing(msgspec.Struct):
    data: list[_Row]


def read_models(body: bytes) -> list[ModelInfo]:
    """Raises UpstreamError for anything else."""
    try:
        rows = msgspec.json.decode(body, type=_Listing, strict=False).data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamError("the host's list of models is not one", code="upstream_not_json") from None
    return [ModelInfo(id=row.id, provider="", created=row.created or 0) for row in rows]
