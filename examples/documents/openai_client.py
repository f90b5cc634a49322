"""The official `openai` client, unchanged but for its address: citations are annotations of the message."""

from __future__ import annotations

import os

from openai import OpenAI

URL = os.environ.get("TIDEWIRE_URL", "http://127.0.0.1:8400")
QUESTION = """What becomes of the days that are left at the end of the year?
sim: interval_ms=0 text="Up to five move into the next year [1]." """


def main() -> None:
    client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("TIDEWIRE_API_KEY", "none"))
    answer = client.chat.completions.create(model="simulated", messages=[{"role": "user", "content": QUESTION}])
    message = answer.choices[0].message
    print(message.content)
    for annotation in message.annotations or []:
        cited = annotation.url_citation
        print(f"{(message.content or '')[cited.start_index : cited.end_index]!r} is from {cited.title} ({cited.url})")


if __name__ == "__main__":
    main()
