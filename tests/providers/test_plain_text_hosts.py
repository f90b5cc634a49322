"""Triton and TGI over real sockets: in chunks, at a known length, and cut off by the network."""

from __future__ import annotations

import json
from typing import Any

import pytest
from plain_chat import Cup, question

from tidewire.core.errors import UpstreamError
from tidewire.core.events import Finish
from tidewire.dialects.tgi_host import TGIHost
from tidewire.dialects.triton_host import TritonHost
from tidewire.providers.hosted import Hosted
from upstream import Call, Upstream, refuses, streams


def framed(value: Any) -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


TRITON = [framed({"model_name": "m", "text_output": text}) for text in ("Hé", "llo", "")]
TGI = [framed({"index": n, "token": {"text": text}}) for n, text in enumerate(("Hé", "llo"))]
TGI.append(framed({"index": 3, "token": {"text": "</s>", "special": True}, "generated_text": "Héllo"}))
BOTH = pytest.mark.parametrize(("speaker", "pieces"), [(TritonHost(), TRITON), (TGIHost(), TGI)], ids=["triton", "tgi"])


def measured(*pieces: bytes) -> Any:
    async def script(call: Call) -> None:
        body = b"".join(pieces)
        call.head(length=len(body))
        call.raw(body)

    return script


def cut(*pieces: bytes) -> Any:
    async def script(call: Call) -> None:
        call.head()
        for piece in pieces:
            call.chunk(piece)
        call.close()  # without the last chunk

    return script


async def answered(script: Any, speaker: Any) -> tuple[Cup, Call]:
    cup = Cup()
    async with Upstream(script) as up:
        provider = Hosted("far", up.url, speaker, environ={}, retries=0)
        try:
            await provider.answer(question(), cup)
        finally:
            await provider.close()
        return cup, up.calls[0]


@BOTH
@pytest.mark.parametrize("framing", [streams, measured])
async def test_an_answer_is_read_in_chunks_or_at_a_known_length(
    speaker: Any, pieces: list[bytes], framing: Any
) -> None:
    cup, call = await answered(framing(*pieces), speaker)
    assert cup.text == "Héllo"
    assert cup.events[-1] == Finish(reason="stop")
    assert call.method == "POST"


@BOTH
async def test_a_body_that_the_network_cuts_off_is_no_end(speaker: Any, pieces: list[bytes]) -> None:
    with pytest.raises(UpstreamError) as caught:
        await answered(cut(*pieces[:2]), speaker)
    assert caught.value.kind == "upstream_cut"
    assert caught.value.begun


@BOTH
async def test_a_refusal_says_the_hosts_own_sentence(speaker: Any, pieces: list[bytes]) -> None:
    with pytest.raises(UpstreamError, match="unknown model"):
        await answered(refuses(400, {"error": "unknown model"}), speaker)
