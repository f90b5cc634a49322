"""A text that is edited while it is read, in a real browser: a cascade of two hosts."""

from __future__ import annotations

import pytest

from upstream import Upstream, says

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

DRAFT = "Rome is **old**. I'm not sure of its river, the Tibre.\n\nIt has hills."
BETTER = "Rome is **old**. I am sure of its river, the Tiber.\n\nIt has seven hills."


async def test_the_page_shows_the_better_text_and_that_it_was_edited(serve_here, browse):
    async with Upstream(says(DRAFT)) as small, Upstream(says(BETTER)) as big:
        settings = {
            "TIDEWIRE_PROVIDERS__SMALL__BASE_URL": f"{small.url}/v1",
            "TIDEWIRE_PROVIDERS__SMALL__MODELS": "m",
            "TIDEWIRE_PROVIDERS__BIG__BASE_URL": f"{big.url}/v1",
            "TIDEWIRE_PROVIDERS__BIG__MODELS": "m",
            "TIDEWIRE_CASCADES__SHARP__DRAFT__MODEL": "small/m",
            "TIDEWIRE_CASCADES__SHARP__REFINE__MODEL": "big/m",
        }
        async with serve_here(**settings) as address:
            console = await browse()
            await console.open(address)
            await console.ask("What is Rome?", "sharp")
            await console.ended()
            paragraphs = await console.page.locator(".prose p:visible").all_inner_texts()
            assert paragraphs[:2] == ["Rome is old. I am sure of its river, the Tiber.", "It has seven hills."]
            assert paragraphs[2].startswith("Edited in ")
            assert await console.page.locator(".prose strong").all_inner_texts() == ["old"]
