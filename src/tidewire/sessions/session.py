"""A conversation as it is kept, and what of it a request is given. Pure: no loop, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from tidewire.core.events import Closed, Reason, Status
from tidewire.core.request import Message, Request, Text, Thought, ToolCall, ToolResult
from tidewire.core.tokens import of_message

Key = tuple[str, str, str]  # tenant, user ("" where none is named), the id that the client chose
ABRIDGED: Final = "What was said before, in short, written by the server and not by the user:\n\n"


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One question and its answer. n: 1, 2, 3, …, for good. at: Unix seconds of its end. tokens: estimated, of both.

    status and reason: how the answer ended; where that is not completed, said is what had been said by then.
    """

    n: int
    at: float
    stream: str
    model: str
    status: Status
    reason: Reason
    asked: list[Message]
    said: list[Message]
    tokens: int


class Summary(msgspec.Struct, frozen=True):
    """What stands for the turns up to `covers`. model: who wrote it. at: Unix seconds."""

    text: str
    covers: int
    model: str
    at: float


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """created and used: Unix seconds. system: the texts that the last request which had any came with. last: the number of the
    newest turn; turns whose numbers are missing are no longer kept.
    """

    created: float
    used: float
    system: list[Message] = []
    turns: list[Turn] = []
    summary: Summary | None = None
    last: int = 0

    @property
    def open(self) -> list[Turn]:
        """The turns that no summary stands for."""
        covered = self.summary.covers if self.summary else 0
        return [turn for turn in self.turns if turn.n > covered]


def system_of(request: Request, session: Session) -> list[Message]:
    """The request's own system texts, or else those of the session."""
    return [m for m in request.messages if m.role == "system"] or session.system


def new_of(request: Request) -> list[Message]:
    """What the request adds to its session."""
    return [m for m in request.messages if m.role != "system"]


def given(session: Session, request: Request) -> list[Message]:
    """What a model is given: system texts, the summary, the turns that it does not stand for, the new messages.

    Calls that nobody answered are left out, for hosts refuse them. A model's thoughts and signatures are given back to the same
    model alone, and thoughts only while it waits for the results of its calls, which is when hosts ask for them.
    """
    new = new_of(request)
    out = list(system_of(request, session))
    if session.summary is not None:
        out.append(Message(role="user", content=[Text(ABRIDGED + session.summary.text)], kept=True))
    turns = session.open
    for place, turn in enumerate(turns):
        last = place + 1 == len(turns)
        behind = new if last else turns[place + 1].asked
        answered = results(turn.said) | results(behind)
        thoughts = last and turn.model == request.model and bool(results(new))
        out += turn.asked
        out += _again(turn.said, answered, thoughts=thoughts, signatures=turn.model == request.model)
    return [*out, *new]


def results(messages: Sequence[Message]) -> set[str]:
    """The calls that these messages answer."""
    return {c.call for m in messages for c in m.content if isinstance(c, ToolResult)}


def _again(said: Sequence[Message], answered: set[str], *, thoughts: bool, signatures: bool) -> list[Message]:
    out: list[Message] = []
    for message in said:
        content = []
        for c in message.content:
            if isinstance(c, Thought) and not thoughts:
                continue
            if isinstance(c, ToolCall):
                if c.call not in answered:
                    continue
                if c.signature is not None and not signatures:
                    c = msgspec.structs.replace(c, signature=None)
            content.append(c)
        if content:
            out.append(msgspec.structs.replace(message, content=content))
    return out


def with_turn(
    session: Session, request: Request, said: list[Message], *, stream: str, closed: Closed, now: float
) -> Session:
    """The session with one more turn. Of an answer that broke off, calls without a result are left out: half of one helps nobody."""
    if closed.status != "completed":
        said = _again(said, results(said), thoughts=True, signatures=True)
    asked = new_of(request)
    turn = Turn(
        n=session.last + 1,
        at=now,
        stream=stream,
        model=request.model,
        status=closed.status,
        reason=closed.reason,
        asked=asked,
        said=said,
        tokens=sum(map(of_message, (*asked, *said))),
    )
    return msgspec.structs.replace(
        session, used=now, last=turn.n, turns=[*session.turns, turn], system=system_of(request, session)
    )


def within(session: Session, turns: int, size: int, measure: Callable[[Session], int]) -> Session:
    """The session in its bounds: the oldest turns go, and with them those that give results to their calls. size: bytes by `measure`."""
    kept = session.turns
    over = len(kept) - turns
    total = measure(session)
    gone = 0
    while gone < len(kept) and (gone < over or total > size or (gone and results(kept[gone].asked))):
        total -= measure(msgspec.structs.replace(session, system=[], summary=None, turns=[kept[gone]]))
        gone += 1
    return msgspec.structs.replace(session, turns=kept[gone:]) if gone else session
