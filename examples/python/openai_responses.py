"""A background response of the official `openai` client: its connection is left in the middle, and the rest is read by starting_after."""

from __future__ import annotations

import os

from openai import OpenAI

URL = os.environ.get("TIDEWIRE_URL", "http://127.0.0.1:8400")


def main() -> None:
    client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("TIDEWIRE_API_KEY", "none"))
    response, seen = "", -1
    with client.responses.create(
        model="extractive", input="How do I stop an answer?", stream=True, background=True
    ) as events:
        for event in events:
            if event.type == "response.created":
                response = event.response.id
            if event.type == "response.output_text.delta":
                print(event.delta, end="", flush=True)
            seen = event.sequence_number
            if seen >= 10:
                break  # as a lost connection would
    print(f"\n-- left after event {seen}; coming back --")
    for event in client.responses.retrieve(response, stream=True, starting_after=seen):
        if event.type == "response.output_text.delta":
            print(event.delta, end="", flush=True)
    print(f"\n{client.responses.retrieve(response).status}")


if __name__ == "__main__":
    main()
