"""What the models of one answer of a cascade used, and what that costs at the prices set: booked once each, however they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from tidewire.core.events import Event, Finish, Usage
from tidewire.core.meter import CascadeMeter
from tidewire.core.passing import Passing
from tidewire.core.ports import Sink
from tidewire.core.request import Request
from tidewire.routing.cascade_plan import Member
from tidewire.routing.table import DECIMALS, needs
from tidewire.routing.tally import Tally, added

Role = Literal["draft", "judge", "refine"]


class Costs:
    """usage: of all that is booked. usd: what it costs; 0 where no prices are known."""

    def __init__(self, cascade: str, meter: CascadeMeter) -> None:
        self.usage: Usage | None = None
        self.usd = 0.0
        self._cascade = cascade
        self._meter = meter
        self._open: dict[Role, tuple[Member, Request, Tally]] = {}
        self._booked: set[Role] = set()

    def begin(self, role: Role, member: Member, request: Request, tally: Tally) -> None:
        """It is asked; the tally hears what comes of it."""
        self._open[role] = member, request, tally

    def book(self, role: Role) -> None:
        """It is over. Nothing where it was not asked, or is booked already."""
        if (one := self._open.pop(role, None)) is None:
            return
        member, request, tally = one
        if not tally.heard:
            return
        used = counted(tally, request)
        self.usage = used if self.usage is None else added(self.usage, used)
        self._booked.add(role)
        if usd := member.price(used.input or 0, used.output or 0):
            self.usd += usd
            self._meter.cascade_cost(self._cascade, role, usd)

    def settle(self) -> bool:
        """Book what is not booked yet, for it was broken off; whether there was any."""
        left = list(self._open)
        for role in left:
            self.book(role)
        return bool(left)

    @property
    def total(self) -> Usage:
        """Of all that is booked."""
        usage = self.usage or Usage(counted_by="server")
        return msgspec.structs.replace(usage, cost=round(self.usd, DECIMALS) if self.usd else None, seq=-1, at=-1)

    def told(self) -> list[Event]:
        """The total, where it is more than the draft has said itself."""
        return [self.total] if self.usd or self._booked - {"draft"} else []


def counted(tally: Tally, request: Request) -> Usage:
    """What one model used. A host that has begun has read the question: where it does not say what that was, it is estimated."""
    used = tally.usage
    if used.input is None and tally.deltas:
        return msgspec.structs.replace(used, counted_by="server", input=needs(request).tokens)
    return used


class Alone(Passing):
    """The sink of a draft that nobody judges: it passes, and its tokens and their cost are told before its end."""

    def __init__(self, sink: Sink, costs: Costs, tally: Tally) -> None:
        self._sink = sink
        self._costs = costs
        self._tally = tally

    def feed(self, events: Sequence[Event]) -> None:
        self._tally.hear(events)
        end = next((i for i, event in enumerate(events) if isinstance(event, Finish)), None)
        if end is not None:
            self._costs.book("draft")
            events = [*events[:end], *self._costs.told(), *events[end:]]
        self._sink.feed(events)
