"""The local model behind the server's own address."""

from __future__ import annotations

import openai
import pytest

from serving import serving
from tidewire.embedding.minilm_files import missing
from tidewire.server.embedding_settings import Embedding

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"the local embedding model is not installed: {missing()}")


async def test_the_official_client_gets_vectors_of_the_local_model(tmp_path):
    async with serving(tmp_path, embedding=Embedding()) as tidewire:
        async with openai.AsyncOpenAI(base_url=f"{tidewire.url}/v1", api_key="any", max_retries=0) as client:
            listed = [model.id async for model in client.models.list()]
            assert listed[-1] == "all-minilm-l6-v2"
            got = await client.embeddings.create(model="all-minilm-l6-v2", input=["A cat sat.", "A cat was sitting."])
            one, two = (row.embedding for row in got.data)
            assert len(one) == 384
            assert sum(a * b for a, b in zip(one, two, strict=True)) > 0.8
            for wrong in ({"input": [[1, 2]]}, {"input": "a", "dimensions": 100}):
                with pytest.raises(openai.BadRequestError):
                    await client.embeddings.create(model="all-minilm-l6-v2", **wrong)
            with pytest.raises(openai.BadRequestError, match="/v1/embeddings"):
                await client.chat.completions.create(
                    model="all-minilm-l6-v2", messages=[{"role": "user", "content": "Hello?"}]
                )
        metrics = (await tidewire.ask("GET", "/metrics"))[2]
        assert b'tidewire_encoder_load_seconds{encoder="all-minilm-l6-v2/int8-' in metrics
        assert tidewire.house.encoder is not None
