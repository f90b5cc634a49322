"""A conversation in whole turns, and the ones that fit. Pure: no loop, no clock.

A turn is one question with everything up to the next: the answer, its tool calls and their results. Nothing smaller is left
out, so a result never stands without its call, nor a call without its result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tidewire.core.request import File, Message, ToolResult


class Turn(msgspec.Struct, frozen=True):
    """places: of its messages in the request. tokens: what they take. kept: may not be left out."""

    places: list[int]
    tokens: int
    kept: bool


class Fit(msgspec.Struct, frozen=True):
    """What is left of a conversation. left_out: messages. tokens: of what is left."""

    messages: list[Message]
    left_out: int
    tokens: int


def turns(messages: Sequence[Message], count: Callable[[Message], int], *, passages: bool) -> tuple[list[Turn], int]:
    """The turns, oldest first, and the tokens of what belongs to none: system texts, and messages that are kept.

    passages: a turn that was asked with a file in it stays, for later turns speak of it.
    """
    groups: list[list[int]] = []
    system = 0
    answered = True  # several messages of a user in a row are one question
    for place, message in enumerate(messages):
        if message.role == "system" or message.kept:
            system += count(message)
            continue
        asks = message.role == "user" and not all(isinstance(c, ToolResult) for c in message.content)
        if not groups or (asks and answered):
            groups.append([])
        groups[-1].append(place)
        answered = not asks
    return [
        Turn(
            places=places,
            tokens=sum(count(messages[p]) for p in places),
            kept=passages and any(isinstance(c, File) for p in places for c in messages[p].content),
        )
        for places in groups
    ], system


def fit(
    messages: Sequence[Message], budget: int, count: Callable[[Message], int], *, recent: int, passages: bool
) -> Fit:
    """Leave out turns, the oldest first, until `budget` tokens hold the rest.

    System texts, messages that are kept and the last `recent` turns stay, whatever they take: a host that finds them too long says so itself.
    """
    parts, system = turns(messages, count, passages=passages)
    tokens = system + sum(turn.tokens for turn in parts)
    out: set[int] = set()
    for turn in parts[: max(0, len(parts) - recent)]:
        if tokens <= budget:
            break
        if not turn.kept:
            tokens -= turn.tokens
            out.update(turn.places)
    return Fit([m for place, m in enumerate(messages) if place not in out], len(out), tokens)
