"""A small dated set, made by hand for this: twelve subjects in three versions, worded differently each time.

Of each subject one question asks for what holds now (the newest version is right) and one asks for what an older version says and
names it (that version is right): a ranking that only preferred what is new would fail those.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from retrieval.parts import Parts

from tidewire.retrieval.chunk import chunks
from tidewire.retrieval.ports import Document
from tidewire.retrieval.ranking.recency import DAY
from tidewire.retrieval.search import Query, Search

AGES: Final = (8.0, 3.0, 1.0)  # of a subject's versions, oldest first, in ages of the newest
NEWEST: Final = (
    2 * DAY,
    20 * DAY,
    70 * DAY,
    150 * DAY,
)  # in turn: what is the latest word on one subject is old beside another's


class Subject(NamedTuple):
    """versions: oldest first. now: a question for the newest. then: one for the version with that number."""

    title: str
    versions: tuple[str, str, str]
    now: str
    then: tuple[str, int]


SUBJECTS: Final = (
    Subject(
        "Parental leave",
        (
            "Employees may take twelve weeks of paid parental leave after the birth or adoption of a child.",
            "Paid parental leave was extended to sixteen weeks. It can be taken in two blocks within the first year.",
            "Parents get twenty weeks of paid leave, for births and adoptions alike, to be taken within two years.",
        ),
        "how many weeks is the current parental leave?",
        ("when was parental leave extended to two blocks within the first year", 1),
    ),
    Subject(
        "Release notes of the Heron client",
        (
            "Heron 4.0 drops the XML configuration and starts twice as fast on Windows.",
            "Heron 4.5 brings a dark theme and keeps unsent messages when the network is lost.",
            "Heron 5.1 encrypts its cache on disk and can be driven from the keyboard alone.",
        ),
        "what is in the latest release of the Heron client?",
        ("which Heron release dropped the XML configuration", 0),
    ),
    Subject(
        "Travel expenses",
        (
            "A hotel night is refunded up to 110 euros; breakfast is not refunded.",
            "Hotels are refunded up to 130 euros a night. Breakfast counts when it stands on the hotel's bill.",
            "The limit for a hotel night is 165 euros in all cities, breakfast included.",
        ),
        "what is the limit for a hotel night these days?",
        ("hotel refund when breakfast is not refunded", 0),
    ),
    Subject(
        "Status of the Oslo data centre",
        (
            "The Oslo data centre lost one of its two power feeds; customers are not affected.",
            "Cooling maintenance in Oslo is over. All racks run at their usual temperature.",
            "Oslo works on reduced network capacity since a fibre was cut; uploads are slower.",
        ),
        "what is going on in the Oslo data centre right now?",
        ("when did Oslo lose one of its power feeds", 0),
    ),
    Subject(
        "On-call rota",
        (
            "Marta and Idris share the on-call phone, a week each.",
            "The on-call phone goes around Marta, Idris and Chen, a week each.",
            "On-call follows the sun: Chen by day, Lucía at night, nobody carries a phone for a whole week.",
        ),
        "who is on call this week?",
        ("when the phone went around Marta, Idris and Chen", 1),
    ),
    Subject(
        "Prices of the storage plan",
        (
            "A terabyte of storage costs 9 dollars a month, with 100 gigabytes of transfer.",
            "The storage plan: 8 dollars for each terabyte and month, transfer is free within a region.",
            "Storage is billed at 6.50 dollars a terabyte each month. Transfer costs nothing at all.",
        ),
        "what does a terabyte of storage cost today?",
        ("storage price with 100 gigabytes of transfer", 0),
    ),
    Subject(
        "Supported Python versions",
        (
            "The library runs on Python 3.8, 3.9 and 3.10.",
            "Python 3.8 is gone; 3.9 to 3.12 are supported by the library.",
            "The library needs Python 3.11 or newer, and is tested up to 3.14.",
        ),
        "which Python versions are currently supported by the library?",
        ("the library after support of Python 3.8 was gone", 1),
    ),
    Subject(
        "Opening hours of the canteen",
        (
            "The canteen is open from 11:30 to 14:00, and closed on Fridays.",
            "Lunch in the canteen is served between 11:00 and 14:30 on all working days.",
            "The canteen serves from 10:45 until 15:00; on Fridays there is a grill in the yard.",
        ),
        "when is the canteen open this week?",
        ("canteen closed on Fridays", 0),
    ),
    Subject(
        "Interest rate of the savings account",
        (
            "Savings earn 0.5 percent a year, credited in December.",
            "The savings account pays 2.1 percent, credited every quarter.",
            "3.4 percent are paid on savings, credited at the end of each month.",
        ),
        "what interest is paid on savings at the moment?",
        ("savings interest credited every quarter", 1),
    ),
    Subject(
        "Rate limits of the public API",
        (
            "A key may make 60 requests a minute. Above it, the answer is 429.",
            "Keys are limited to 300 requests a minute; bursts of 50 are let through.",
            "Each key has 1,000 requests a minute, counted over a sliding window.",
        ),
        "what is the most recent rate limit of the public API?",
        ("rate limit of the API when bursts of 50 were let through", 1),
    ),
    Subject(
        "Squad of the Harbour Rovers",
        (
            "Captain of the Rovers is Jonas Petter; the goalkeeper is Amadou Sy.",
            "Amadou Sy has become captain of the Rovers after Petter left for Genoa.",
            "The Rovers are led by Tomasz Wilk as their captain; Sy moved to the bench with an injured knee.",
        ),
        "who is captain of the Harbour Rovers as of today?",
        ("who was captain of the Rovers after Petter left for Genoa", 1),
    ),
    Subject(
        "Visitors' badges",
        (
            "Visitors sign the book at the desk and get a paper badge.",
            "Visitors are registered online a day ahead and print their badge at the gate.",
            "A badge for visitors is sent to their phone and opens the gate by itself.",
        ),
        "what is the up-to-date way for visitors to get a badge?",
        ("where do visitors sign the book", 0),
    ),
)


async def dated(parts: Parts) -> str:
    """In a namespace with these dates, and in one where everything is of today: there only words and meaning count."""
    now = time.time()
    lines = ["A dated set of 12 subjects in 3 versions: which comes first"]
    for space, aged in (("all of one day", 0.0), ("with their dates", 1.0)):
        documents = [
            Document(
                f"{n}-{v}",
                subject.title,
                text,
                f"{n}-{v}",
                digest=f"{now}",
                published=now - aged * AGES[v] * NEWEST[n % len(NEWEST)],
                chunks=tuple(chunks(text)),
            )
            for n, subject in enumerate(SUBJECTS)
            for v, text in enumerate(subject.versions)
        ]
        (*_, last) = await parts.store.put(space, documents)
        await parts.index.visible(last.seq, full=True)
        search = Search(parts.store, parts.index, encoder=parts.encoder)
        newest = older = 0
        for n, subject in enumerate(SUBJECTS):
            newest += await _first(search, space, subject.now) == f"{n}-2"
            question, version = subject.then
            older += await _first(search, space, question) == f"{n}-{version}"
        lines.append(
            f"{space:<34}the newest where it is asked for: {newest:2} of {len(SUBJECTS)};"
            f" an older one where that is named: {older:2} of {len(SUBJECTS)}"
        )
    return "\n".join(lines) + "\n"


async def _first(search: Search, space: str, question: str) -> str:
    found = (await search.find(space, Query(text=question, limit=3))).found
    return found[0].row.uri if found else ""
