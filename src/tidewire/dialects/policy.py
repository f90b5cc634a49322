"""What a client says about a lost connection, in a header: for protocols whose bodies have no word for it."""

from __future__ import annotations

from typing import Final

from tidewire.core.errors import BadRequest
from tidewire.core.request import DisconnectPolicy

HEADER: Final = "x-tidewire-on-disconnect"


def asked(headers: dict[str, str], default: DisconnectPolicy) -> DisconnectPolicy:
    """The policy of the header, or default. Raises BadRequest for one that cannot be read."""
    text = headers.get(HEADER)
    if text is None:
        return default
    try:
        return DisconnectPolicy.parse(text)
    except ValueError as error:
        raise BadRequest(str(error), param=HEADER) from None
