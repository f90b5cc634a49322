"""Put two documents, ask a model that is given passages of them, and replace one while the answer is being written."""

from __future__ import annotations

from tidewire.client import Tidewire, documents
from tidewire.core.events import Citation, Delta, Notice, Retrieved, Superseded

LEAVE = "# Days of leave\n\nA year has 30 days of leave. Ask for them two weeks ahead."
REST = "# At the end of the year\n\nUp to five days that are left move into the next year, until the end of March."
# The simulated model says what the line `sim:` tells it, markers included. Any other model is asked the first line alone.
QUESTION = """How many days of leave do I have, and what becomes of the rest?
sim: interval_ms=80 text="You have 30 days of leave a year [1]; ask for them two weeks ahead. Up to five may move [2]; \
plan the others in good time, together with the people you work with." """


def main() -> None:
    with Tidewire() as client:  # TIDEWIRE_URL, or this machine's port 8400
        client.ask(documents.putting("leave.md", LEAVE))
        client.ask(documents.putting("rest.md", REST))
        titles: dict[str, str] = {}
        with client.stream("simulated", QUESTION) as answer:
            for event in answer:
                match event:
                    case Retrieved(passages=passages):
                        titles = {given.document: given.title for given in passages}
                        print("given:", ", ".join(f"[{n}] {given.title}" for n, given in enumerate(passages, 1)))
                    case Delta(text=text):
                        print(text, end="", flush=True)
                    case Citation(title=title, passage=passage):
                        print(f"\n    {title}: {passage.splitlines()[-1]}")
                        if len(answer.reading.citations) == 1:
                            client.ask(documents.putting("leave.md", LEAVE.replace("30", "32")))
                    case Superseded(document=document):
                        print(f"\n    superseded: {titles[document]} has changed since it was given")
                    case Notice(message=message):
                        print(f"\n    {message}")
        if answer.closed is not None and (rested := answer.closed.rested) is not None:
            print(f"\n{rested.passages} passages given, {rested.cited} cited, {rested.superseded} superseded")


if __name__ == "__main__":
    main()
