"""The project's own documents answer what the demo and the console's first page ask."""

from __future__ import annotations

import re

import pytest
from pages import ROOT

from tidewire.cli.demo import OWN_QUESTION
from tidewire.client import Tidewire

CONSOLE = (ROOT / "web" / "console" / "src" / "main.ts").read_text(encoding="utf-8")
EXAMPLES = re.findall(r'^  "(.+)",$', CONSOLE.partition("const EXAMPLES = [")[2].partition("];")[0], re.MULTILINE)
SAYS = {
    "resume": "To resume a stream after a lost connection, follow it with the cursor of the last event you saw",
    "close the page": "When you close the page of the console, the answer goes on without you",
    "durability": "There are three durability classes",
    "stop an answer": "To stop an answer, `POST /v1/streams/{id}/cancel`.",
    "What is a stream": "A stream is one answer as a numbered, durable log of events",
    "tea": "I found nothing about",
}


@pytest.mark.parametrize(
    "question", [OWN_QUESTION, *EXAMPLES, "How do I stop an answer?", "What is a stream?", "How do I make tea?"]
)
def test_the_documents_answer(question, address):
    expected = next((said for word, said in SAYS.items() if word in question), None)
    assert expected is not None, f"say here what answers {question!r}"
    with Tidewire(address) as client:
        assert client.text("extractive", question).startswith(expected)
