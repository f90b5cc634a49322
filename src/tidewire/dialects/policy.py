"""What a client says about a lost connection, in a header: for protocols whose bodies have no word for it."""

from __future__ import annotations

from typing import Final

from tidewire.core.errors import BadRequest
from tidewire.core.request import DisconnectPolicy

HEADER: Final = "x-tidewire-on-disconnect"


def asked(headers: dict[str, str], default: DisconnectPolicy) -> DisconnectPolicy:
    """The policy of the header, or default. Raises BadRequest for one that cannot be read."""
    text = headers.get(HEADER)
    return default if text is None else read(text, HEADER)


def read(text: str, param: str) -> DisconnectPolicy:
    """The policy of a header or field. Raises BadRequest, naming it."""
    try:
        return DisconnectPolicy.parse(text)
    except ValueError as error:
        raise BadRequest(str(error), param=param) from None
