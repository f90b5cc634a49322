"""What tables of settings are made of. The tables themselves are in settings.py, and those of one topic in files of their own."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from tidewire.core.addresses import without_user

SECRETS: Final = frozenset({"api_key"})
TABLES: Final = frozenset({"headers", "env"})  # of values that are often keys

Seconds = Annotated[float, Meta(gt=0, le=604800, extra={"unit": "s"})]
Bytes = Annotated[int, Meta(ge=1024, le=1 << 40, extra={"unit": "bytes"})]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Ms = Annotated[float, Meta(ge=0, le=604_800_000, extra={"unit": "ms"})]


def masked(name: str, value: Any) -> Any:
    """The value as it may be shown: secrets and the user part of addresses are replaced by ***."""
    if name in SECRETS and value:
        return "***"
    if name in TABLES and value:
        return dict.fromkeys(value, "***") if isinstance(value, dict) else "***"
    if isinstance(value, list):
        return [masked(name, one) for one in value]
    return without_user(value, "***@") if isinstance(value, str) else value


class Group(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of settings. Its repr shows no secret."""

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={masked(name, getattr(self, name))!r}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({inside})"
