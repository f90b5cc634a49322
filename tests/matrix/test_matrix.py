"""Every client against every host, each case, over real sockets: what the host says in its protocol is what the client reads in its own.

One server has every host as a provider; one scripted host answers for all of them, by the path of the request. A case that a module
says is impossible is tried too, and must not work: else the module is wrong, and the page docs/matrix.md with it.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from unittest import mock

import pytest

from matrix.cases import CASES, ERROR, Answer
from matrix.discovery import Client, Host, clients, hosts, lacking
from serving import Served, serving
from tidewire.server.settings import Provider
from upstream import Call, Upstream

HOSTS = hosts()
CLIENTS = clients()
AT_ONCE = 32  # questions
PAIRS = [(host, client) for host in HOSTS for client in CLIENTS]


@dataclass(frozen=True)
class Tried:
    """answer: None where the question could not be put or the answer not be read; why: what kept it, or how it differs; "" if it is right."""

    answer: Answer | None
    why: str


async def answering(call: Call) -> None:
    """One scripted host for all: /<host>/<case>/…"""
    _, name, case, *_ = call.path.split("/")
    reply = HOSTS[name].reply(case)
    call.head(reply.status, **reply.headers)
    half = len(reply.body) // 2
    for piece in (reply.body[:half], reply.body[half:]):
        if piece:
            call.chunk(piece)
            await asyncio.sleep(0)
    call.end()


def providers(url: str) -> dict[str, Provider]:
    return {
        f"{name}-{case}": Provider(
            kind=host.KIND,
            base_url=f"{url}/{name}/{case}{host.BASE}",
            models=[host.MODEL],
            retries=0,
            **getattr(host, "SETTINGS", {}),
        )
        for name, host in HOSTS.items()
        for case in CASES
        if _has(host, case)
    }


def _has(host: Host, case: str) -> bool:
    """Whether the host has any words for it. Only where it says that it cannot may there be none."""
    if case not in host.CANNOT:
        return True
    try:
        host.reply(case)
    except Exception:
        return False
    return True


async def ask(tidewire: Served, host: str, client: Client, case: str) -> Tried:
    possible = case not in lacking(HOSTS[host], client)
    try:
        question = client.question(case, f"{host}-{case}/{HOSTS[host].MODEL}")
    except Exception as error:
        if possible:
            raise
        return Tried(None, f"cannot be asked: {error!r}")
    got = await tidewire.ask("POST", question.path, question.body, **question.headers)
    try:
        answer = client.read(*got)
    except Exception as error:
        return Tried(None, f"cannot be read: {error!r}: {got[0]} {got[2][-2000:]!r}")
    wrong = differs(case, answer)
    return Tried(answer, wrong and f"{wrong}: {got[2][-2000:]!r}")


def differs(case: str, got: Answer) -> str:
    """What of an answer is not as the case asks, or ""."""
    expected = CASES[case]
    if expected.error is not None:
        if got.error is None:
            return f"there is no error, the finish is {got.finish}"
        if got.error[0] != expected.error[0] or ERROR not in got.error[1]:
            return f"the error is {got.error}"
    elif got.error is not None:
        return f"it failed with {got.error}"
    names = ["thinking", "calls", "finish"]
    names += [] if case == "refusal" else ["text"]
    names += ["usage"] if case == "usage" else []
    for name in names:
        if getattr(got, name) != getattr(expected, name):
            return f"{name} is {getattr(got, name)!r} and not {getattr(expected, name)!r}"
    return ""


async def everything(folder) -> dict[tuple[str, str, str], Tried]:
    limit = asyncio.Semaphore(AT_ONCE)
    out: dict[tuple[str, str, str], Tried] = {}

    async def one(tidewire: Served, host: str, client: str, case: str) -> None:
        async with limit:
            out[host, client, case] = await ask(tidewire, host, CLIENTS[client], case)

    async with Upstream(answering) as far, serving(folder, providers=providers(far.url)) as tidewire:
        offered = set(tidewire.house.settings.providers)
        async with asyncio.TaskGroup() as asking:
            for host, client in PAIRS:
                for case in CASES:
                    if f"{host}-{case}" in offered:
                        asking.create_task(one(tidewire, host, client, case))
                    else:
                        out[host, client, case] = Tried(None, "the host has no words for it")
    return out


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """What came of each case of each pair."""
    given = {name: value for host in HOSTS.values() for name, value in getattr(host, "ENV", {}).items()}
    with mock.patch.dict(os.environ, given):
        return asyncio.run(everything(tmp_path_factory.mktemp("matrix")))


@pytest.mark.parametrize(("host", "client"), PAIRS, ids=[f"{client} asks {host}" for host, client in PAIRS])
def test_a_client_reads_what_a_host_says(tried, host, client):
    cannot = lacking(HOSTS[host], CLIENTS[client])
    wrong = {
        case: tried[host, client, case].why for case in CASES if case not in cannot and tried[host, client, case].why
    }
    assert wrong == {}
    works = [case for case in cannot if not tried[host, client, case].why]
    assert works == [], "said to be impossible, and works"


def test_a_difference_in_any_part_of_an_answer_is_seen():
    for case, right in CASES.items():
        error = None if right.error is None else (right.error[0], f"far said: {ERROR}")
        fine = Answer(right.text, right.thinking, right.calls, right.finish, right.usage, error)
        assert differs(case, fine) == ""
        wrong = [
            Answer(right.text, "hm", right.calls, right.finish, right.usage, error),
            Answer(right.text, right.thinking, (("f", {}),), right.finish, right.usage, error),
            Answer(right.text, right.thinking, right.calls, "other", right.usage, error),
            Answer(
                right.text,
                right.thinking,
                right.calls,
                right.finish,
                right.usage,
                (500, "no") if error is None else None,
            ),
        ]
        wrong += (
            [] if case == "refusal" else [Answer("x", right.thinking, right.calls, right.finish, right.usage, error)]
        )
        wrong += [Answer(right.text, finish=right.finish)] if case == "usage" else []
        for answer in wrong:
            assert differs(case, answer), (case, answer)
