"""A conversation as one plain text, for hosts that complete a text and know no chat: the template is ours, not the model's.

One message of a user goes as it is. Of a longer conversation, system messages stand first as they are, then each turn behind its name:

    Be brief.

    User: What is a tide?
    Assistant: The sea rising and falling.
    User: How often?
    Assistant:

An answer that has begun stands at the end of all, and the host goes on with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tidewire.core.errors import BadRequest
from tidewire.core.request import Message, Request, Text, Thought

_NAMES: Final = {"user": "User", "assistant": "Assistant"}


def prompt(messages: Sequence[Message], *, prefill: bool = False) -> str:
    """The text to go on from. prefill: the last message is the beginning of the answer. Raises BadRequest for what a text cannot hold; thoughts of earlier turns are left out."""
    for message in messages:
        for content in message.content:
            if not isinstance(content, Text | Thought):
                kind = content.__struct_config__.tag
                raise BadRequest(
                    f"this host takes a plain text, and a message holds a part of type {kind}; ask a host with a chat API",
                    code="unsupported_value",
                    param="messages",
                )
    if prefill:
        begun = messages[-1].text
        return f"{prompt(messages[:-1])}{'' if begun[:1].isspace() else ' '}{begun}"
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].text
    said = [f"{m.text}\n" for m in messages if m.role == "system" and m.text]
    turns = [f"{_NAMES[m.role]}: {m.text}" for m in messages if m.role in _NAMES]
    return "\n".join([*said, *turns, "Assistant:"])


def plain(request: Request, *, json: bool = False, logprobs: bool = False) -> str:
    """The prompt of a request that asks for text alone. json, logprobs: the host can give these. Raises BadRequest for what it cannot.

    How much to think is a hint, which such a host does not hear.
    """
    wanted = {
        "tools": bool(request.tools),
        "n": request.n > 1,
        "logprobs": request.logprobs is not None and not logprobs,
        "response_format": (request.response_format or {}).get("type", "text") != "text" and not json,
    }
    for name, asked in wanted.items():
        if asked:
            raise BadRequest(
                f"this host completes a plain text and knows no {name}; leave {name} out, or ask a host with a chat API",
                code="unsupported_value",
                param=name,
            )
    return prompt(request.messages, prefill=request.prefill)
