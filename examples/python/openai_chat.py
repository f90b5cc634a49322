"""The official `openai` client, unchanged but for its address."""

from __future__ import annotations

import os

from openai import OpenAI

URL = os.environ.get("TIDEWIRE_URL", "http://127.0.0.1:8400")


def main() -> None:
    client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("TIDEWIRE_API_KEY", "none"))
    stream = client.chat.completions.create(
        model="extractive",
        messages=[{"role": "user", "content": "What happens when the client disconnects?"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        for choice in chunk.choices:
            print(choice.delta.content or "", end="", flush=True)
        if chunk.usage is not None:
            print(f"\n{chunk.usage.completion_tokens} tokens")


if __name__ == "__main__":
    main()
