"""When two requests ask for the same: a key made of all that an answer depends on. Pure.

What is not known here to be without influence is part of the key, fields that are added later included.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

from tidewire.core.request import Message, Request

# Fields of a request that say where its answer goes, not what it is. The tenant and the options are looked at apart.
ABOUT: Final = frozenset(
    {
        "stream",
        "chat",
        "session",
        "on_disconnect",
        "record",
        "reuse",
        "tenant",
        "dialect",
        "options",
        "plan",
        "edge",
        "deadline",
        "first_by",
        "search_s",
        "documents",
        "room",
    }
)
# Options that change no answer: who asks, what is kept of it, how a prompt is cached, what is reported.
HINTS: Final = frozenset(
    [
        "user",
        "metadata",
        "store",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "cache_control",
        "cache_salt",
        "stream_options",
    ]
)
# Dialects whose requests mean the same once they are parsed, where neither options nor thinking are asked for in their own words.
ALIKE: Final = frozenset(
    [
        "native",
        "openai_chat",
        "openai_responses",
        "anthropic",
        "gemini",
        "cohere",
        "ollama",
        "bedrock",
        "ui_messages",
        "agui",
    ]
)

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class Basis(msgspec.Struct, frozen=True, array_like=True):
    """What an answer depends on beside its request. answerer: the provider or route. version: of the settings and routes that shape it."""

    answerer: str
    version: str


def key(request: Request, basis: Basis, *, user: str = "", timed: bool = False, question: bool = True) -> bytes | None:
    """32 bytes; None for a request that cannot be written down, as one with half a character in it.

    user: where users do not share. timed: equal requests have equal time limits. question: False for a key that requests share
    which differ in the text of their last message alone.
    """
    fields: dict[str, Any] = {name: getattr(request, name) for name in request.__struct_fields__ if name not in ABOUT}
    if not timed:
        del fields["time_limit"]
    if not question and request.messages:
        last = request.messages[-1]
        fields["messages"] = [*request.messages[:-1], Message(role=last.role, content=[], name=last.name)]
    options = {name: value for name, value in request.options.items() if name not in HINTS}
    said = "" if request.dialect in ALIKE and not options and request.thinking is None else request.dialect
    try:
        raw = _encode((request.tenant, user, question, basis, said, options, fields))
    except (ValueError, TypeError, OverflowError):
        return None
    return hashlib.blake2b(raw, digest_size=32).digest()
