"""A stream with edits that is followed in a dialect without them: it reads as the draft does, and nothing breaks."""

from __future__ import annotations

import pytest

from tidewire.core import events as ev
from tidewire.core.events import NewEntry
from tidewire.core.ports import Meta
from tidewire.dialects.agui import AGUI
from tidewire.dialects.anthropic import AnthropicMessages
from tidewire.dialects.bedrock import Bedrock
from tidewire.dialects.cohere import Cohere
from tidewire.dialects.gemini import Gemini
from tidewire.dialects.native import Native
from tidewire.dialects.ollama import Ollama
from tidewire.dialects.openai_chat import OpenAIChat
from tidewire.dialects.openai_responses import OpenAIResponses
from tidewire.dialects.ui_messages import UIMessages

META = Meta("s", "t", "m", 0, "d", "d/1", "cancel", "memory")
HEAD = [
    ev.Opened(stream="s", model="m", created=0, durability="memory", on_disconnect="cancel", protocol="p", epoch=1),
    ev.PartStarted(part=0, kind="text"),
    ev.Delta(part=0, text="the Tibre"),
]
EDIT = ev.Edit(part=0, start=4, end=9, text="Tiber")
TAIL = [ev.PartEnded(part=0), ev.Closed(status="completed", reason="stop", input_tokens=1, output_tokens=2)]
DIALECTS = [
    AGUI(),
    AnthropicMessages(),
    Bedrock(),
    Cohere(),
    Gemini().at("m", "sse"),
    Ollama(),
    OpenAIChat(),
    OpenAIResponses(),
    UIMessages(),
]


def entries(*events):
    out = []
    for seq, event in enumerate(events, 1):
        event.seq = seq
        out.append(NewEntry(seq, ev.encode(event), event))
    return out


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_an_edit_is_left_out_where_there_is_no_word_for_it(dialect, whole):
    def rendered(*events):
        renderer = dialect.whole(META) if whole else dialect.stream(META)
        return renderer.feed(entries(*events))

    edited = rendered(*HEAD, EDIT, *TAIL)
    assert b"Tiber" not in edited
    assert b"Tibre" in edited


def test_natively_each_form_has_the_edited_text():
    events = entries(*HEAD, EDIT, *TAIL)
    assert b'"text":"the Tiber"' in Native().whole(META).feed(events)
    assert b'"start":4,"end":9,"text":"Tiber"' in Native().stream(META).feed(events)
    text = Native("text")
    for cut in range(len(events)):
        renderer = text.stream(META)
        pieces = [renderer.feed(part) for part in (events[:cut], events[cut:]) if part]
        assert b"".join(pieces) == b"the Tibre\n\n[as it reads now]\nthe Tiber\n"
