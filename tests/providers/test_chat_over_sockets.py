"""Chat Completions of the compatible hosts over a real socket: chunked or not, in one piece or byte by byte, the events are the same."""

from __future__ import annotations

import asyncio

import pytest
from plain_chat import Cup, question

from matrix.hosts import azure, compatible, deepseek, groq, huggingface, llamacpp, mistral, openrouter, vllm
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Attempt, Event, Progress, Timing
from tidewire.dialects.openai_chat_host import ChatHost
from tidewire.providers.hosted import Hosted
from upstream import Call, Upstream

HOSTS = (azure, compatible, deepseek, groq, huggingface, llamacpp, mistral, openrouter, vllm)
CASES = ("text", "parallel_tool_calls", "thinking", "error_after")


def said(events: list[Event]) -> list[Event]:
    """What the host said: without what the provider itself tells and measures."""
    reported = [e for e in events if not isinstance(e, Timing) or e.span.source == "reported"]
    return [e for e in reported if not isinstance(e, Attempt) and (not isinstance(e, Progress) or "read" in e.detail)]


def straight(body: bytes) -> tuple[list[Event], str | None]:
    decoder = ChatHost().decoder(question())
    try:
        return [*decoder.feed(body), *decoder.end()], None
    except UpstreamError as error:
        return list(error.before), error.kind


async def over_a_socket(body: bytes, size: int, *, chunked: bool) -> tuple[list[Event], str | None]:
    async def script(call: Call) -> None:
        call.head(length=None if chunked else len(body))
        for at in range(0, len(body), size):
            call.chunk(body[at : at + size])
            await asyncio.sleep(0)
        call.end()

    cup, failed = Cup(), None
    async with Upstream(script) as up:
        provider = Hosted("far", f"{up.url}/v1", ChatHost(), environ={}, retries=0)
        try:
            await provider.answer(question(), cup)
        except UpstreamError as error:
            failed = error.kind
        await provider.close()
    return said(cup.events), failed


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "with a length"])
@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.KIND)
async def test_what_a_host_says_is_the_same_over_a_socket(host, chunked):
    for case in CASES:
        body = host.reply(case).body
        expected = straight(body)
        assert expected[0]
        for size in (len(body), 64, 7):
            assert await over_a_socket(body, size, chunked=chunked) == expected
