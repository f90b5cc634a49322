"""Two answers on one WebSocket; the second is stopped when it has said a little."""

from __future__ import annotations

import asyncio
import json
import os

from websockets.asyncio.client import connect

URL = os.environ.get("TIDEWIRE_URL", "http://127.0.0.1:8400")
QUESTIONS = {"a": "What is a durability class?", "b": "How do I resume a stream?"}


async def main() -> None:
    async with connect(f"ws{URL.removeprefix('http')}/v1/ws", proxy=None) as socket:
        if key := os.environ.get("TIDEWIRE_API_KEY"):
            await socket.send(json.dumps({"do": "key", "key": key}))
        for name, question in QUESTIONS.items():
            request = {"model": "extractive", "input": question}
            await socket.send(json.dumps({"do": "start", "id": name, "request": request}))
        streams: dict[str, str] = {}
        ended: dict[str, str] = {}
        while len(ended) < len(QUESTIONS):
            frame = json.loads(await socket.recv())
            if "error" in frame:
                raise SystemExit(frame["error"]["message"])
            event = frame.get("event")
            if event is None:  # the answers to key and cancel, heartbeats, the end of a reading
                continue
            name = frame["id"]
            if event["type"] == "opened":
                streams[name] = event["stream"]
            elif event["type"] == "delta":
                print(f"{name} {event['text'].strip()}")
            elif event["type"] == "closed":
                ended[name] = event["status"]
            if name == "b" and event["seq"] == 8:
                await socket.send(json.dumps({"do": "cancel", "stream": streams[name]}))
        print(ended)


if __name__ == "__main__":
    asyncio.run(main())
