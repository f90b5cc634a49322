"""The Python client: leave in the middle, come back with the cursor, and nothing is lost or repeated."""

from __future__ import annotations

from tidewire.client import Tidewire
from tidewire.core.events import Delta


def main() -> None:
    with Tidewire() as client:  # TIDEWIRE_URL, or this machine's port 8400
        cursor = 0
        with client.stream("extractive", "How do I resume a stream?", on_disconnect="grace:60") as answer:
            for event in answer:
                cursor = event.seq
                if isinstance(event, Delta):
                    print(event.text, end="", flush=True)
                if cursor >= 10:
                    break
        print(f"\n-- left at event {cursor} of stream {answer.stream}; coming back --")
        with client.follow(answer.stream, after=cursor) as rest:
            for event in rest:
                if event.seq != cursor + 1:
                    raise SystemExit(f"event {cursor + 1} is missing")
                cursor = event.seq
                if isinstance(event, Delta):
                    print(event.text, end="", flush=True)
        if rest.closed is not None:
            print(f"\n{rest.closed.status} at event {cursor}")


if __name__ == "__main__":
    main()
