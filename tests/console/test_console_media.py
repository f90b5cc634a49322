"""What is no text of an answer: pictures, refusals. In a real browser, on a real server, with a host that sends them."""

from __future__ import annotations

import base64
import json
import struct
import zlib

import pytest

from upstream import Upstream, streams

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


def picture(width: int, height: int) -> bytes:
    """A grey PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + b"\x80" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def said(delta: dict, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: %s\n\n" % json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode()


async def test_a_picture_is_seen_and_a_refusal_is_read(serve_here, browse):
    url = "data:image/png;base64," + base64.b64encode(picture(40, 20)).decode()
    answer = [
        said({"images": [{"type": "image_url", "image_url": {"url": url}}]}),
        said({"refusal": "I would rather not."}),
        said({}, "stop"),
        b"data: [DONE]\n\n",
    ]
    async with (
        Upstream(streams(*answer)) as host,
        serve_here(TIDEWIRE_PROVIDERS__OFFICE__BASE_URL=f"{host.url}/v1", TIDEWIRE_PROVIDERS__OFFICE__MODELS="painter") as address,
    ):  # fmt: skip
        console = await browse()
        await console.open(address)
        await console.ask("Paint me a tide.", "office/painter")
        await console.ended()
        size = "() => { const i = document.querySelector('.media img'); return [i.naturalWidth, i.naturalHeight]; }"
        assert await console.page.evaluate(size) == [40, 20]
        assert await console.text() == "I would rather not."
        assert await console.page.locator(".tool").count() == 0
