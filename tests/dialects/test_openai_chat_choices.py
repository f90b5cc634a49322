"""Several choices, log probabilities, refusals and audio, both ways. Wires are small ones of our own, after OpenAI's reference and its SDK's types."""

from __future__ import annotations

import base64
import json

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from decoding import cuttings, texts
from strategies import meta_of, numbered, opened
from tidewire.core import events as ev
from tidewire.core.errors import UpstreamError
from tidewire.core.events import Blob, ChoiceEnded, Closed, Delta, Finish, Logprobs, PartEnded, PartStarted, Signature
from tidewire.core.request import Request
from tidewire.dialects.openai_chat import OpenAIChat
from tidewire.dialects.openai_chat_host import ChatHost

DONE = b"data: [DONE]\n\n"
SOUND = bytes(range(256)) * 3


def choice(index: int, delta: dict | None = None, finish: str | None = None, **more) -> dict:
    return {"index": index, "delta": delta or {}, "finish_reason": finish} | more


def event(*choices: dict, **more) -> bytes:
    return b"data: " + json.dumps({"choices": choices} | more, ensure_ascii=False).encode() + b"\n\n"


def read(*cuts: bytes, n: int = 1, **asked) -> tuple[list[ev.Event], str | None]:
    decoder = ChatHost().decoder(Request(model="m", messages=[], n=n, **asked))
    out: list[ev.Event] = []
    try:
        for cut in cuts:
            out += decoder.feed(cut)
        out += decoder.end()
    except UpstreamError as error:
        return [*out, *error.before], error.kind
    return out, None


def told(wire: bytes, n: int = 1, **asked) -> tuple[list[ev.Event], str | None]:
    """What it says, the same however it is cut."""
    expected = read(wire, n=n, **asked)
    for cuts in cuttings(wire):
        assert read(*cuts, n=n, **asked) == expected
    return expected


TOKEN = {"token": "Hi", "logprob": -0.25, "bytes": [72, 105], "top_logprobs": [{"token": "Yo", "logprob": -2.0}]}
TWO = (
    event(choice(0, {"role": "assistant", "content": ""}), usage=None)
    + event(choice(1, {"role": "assistant", "content": ""}))
    + event(choice(0, {"content": "Grüß "}))
    + event(choice(1, {"content": "Hallo"}))
    + event(choice(0, {"content": "dich"}), choice(1, {"content": "!"}))
    + event(choice(1, finish="length"))
    + event(choice(0, {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}))
    + event(choice(1, {"content": "after its end"}))
    + event(choice(0, finish="tool_calls"))
    + event(usage={"prompt_tokens": 3, "completion_tokens": 5})
    + DONE
)


def of(events: list[ev.Event], index: int) -> list[tuple[str, str]]:
    """(kind, text) of the parts of a choice."""
    parts = [e for e in events if isinstance(e, PartStarted) and e.choice == index]
    return [(p.kind, "".join(d.text for d in events if isinstance(d, Delta) and d.part == p.part)) for p in parts]


def test_choices_that_take_turns_are_told_apart():
    events, error = told(TWO, n=2)
    assert error is None
    assert of(events, 0) == [("text", "Grüß dich"), ("tool_call", "{}")]
    assert of(events, 1) == [("text", "Hallo!")]
    assert [(e.choice, e.reason) for e in events if isinstance(e, ChoiceEnded)] == [(1, "length"), (0, "tool_calls")]
    assert events[-1] == Finish(reason="tool_calls")
    open_parts = [e.part for e in events if isinstance(e, PartStarted)]
    assert sorted(e.part for e in events if isinstance(e, PartEnded)) == open_parts == [0, 1, 2]


def test_a_choice_that_was_not_asked_for_is_left_out():
    events, error = read(TWO)
    assert error is None
    assert of(events, 1) == []
    assert not any(isinstance(e, ChoiceEnded) for e in events)
    assert read(event(choice(-1, {"content": "no"})) + event(choice(0, finish="stop")) + DONE)[0] == [
        Finish(reason="stop")
    ]


@pytest.mark.parametrize("end", [DONE, b""])
def test_an_answer_in_which_a_choice_never_ends_is_no_whole_answer(end):
    wire = event(choice(0, {"content": "a"})) + event(choice(0, finish="stop")) + end
    events, error = told(wire, n=2)
    assert texts(events, "text") == "a"
    assert error == ("upstream_unfinished" if end else "upstream_cut")


def test_log_probabilities_follow_the_words_that_they_are_of():
    wire = (
        event(choice(0, {"content": "Hi"}, logprobs={"content": [TOKEN], "refusal": None}))
        + event(choice(0, {"content": ""}, logprobs={"content": [TOKEN]}))
        + event(choice(0, {"refusal": "No"}, logprobs={"content": None, "refusal": [TOKEN]}))
        + event(choice(0, finish="stop", logprobs={"content": []}))
        + DONE
    )
    events, error = told(wire)
    assert error is None
    assert events == [
        PartStarted(part=0, kind="text"),
        Delta(part=0, text="Hi"),
        Logprobs(part=0, content=[TOKEN]),
        Logprobs(part=0, content=[TOKEN]),
        PartEnded(part=0),
        PartStarted(part=1, kind="refusal"),
        Delta(part=1, text="No"),
        Logprobs(part=1, content=[TOKEN]),
        PartEnded(part=1),
        Finish(reason="stop"),
    ]


def test_audio_comes_as_bytes_with_its_transcript_and_its_id():
    half = len(SOUND) // 2
    wire = (
        event(choice(0, {"audio": {"id": "audio_1", "transcript": "Gu"}}))
        + event(choice(0, {"audio": {"data": base64.b64encode(SOUND[:half]).decode()}}))
        + event(choice(0, {"audio": {"data": base64.b64encode(SOUND[half:]).decode(), "transcript": "ten Tag"}}))
        + event(choice(0, {"audio": {"expires_at": 1790000000}}))
        + event(choice(0, finish="stop"))
        + DONE
    )
    events, error = told(wire, options={"audio": {"voice": "ash", "format": "mp3"}})
    assert error is None
    assert events[0] == PartStarted(part=0, kind="audio", media="audio/mp3")
    assert b"".join(e.data for e in events if isinstance(e, Blob)) == SOUND
    assert texts(events, "audio") == "Guten Tag"
    assert [e.value for e in events if isinstance(e, Signature)] == ["audio_1"]


@pytest.mark.parametrize(
    "wrong",
    [
        choice(0, {"audio": {"data": "?not base64?"}}),
        choice(0, {"audio": {"data": "é"}}),
        choice(0, {"audio": 5}),
        choice(0, {"images": [{"image_url": {"url": "data:image/png,plain"}}]}),
        choice(0, {"images": [{"image_url": {"url": "data:image/png;base64,?"}}]}),
        choice(0, {"content": "x"}, logprobs={"content": ["Hi"]}),
        choice(0, {"content": "x"}, logprobs=[]),
        choice(0, {"refusal": {}}),
        choice("first", {}),
    ],
)
def test_what_makes_no_sense_is_an_error_with_a_name(wrong):
    assert told(event(choice(0, {"content": "so far "})) + event(wrong) + DONE)[1] == "upstream_bad_event"


@pytest.mark.parametrize("harmless", [{"logprobs": {"content": 5}}, {"logprobs": {}}, {"logprobs": None}])
def test_log_probabilities_of_nothing_are_passed_over(harmless):
    events, error = told(event(choice(0, {"content": "x"}, **harmless)) + event(choice(0, finish="stop")) + DONE)
    assert error is None
    assert not any(isinstance(e, Logprobs) for e in events)


@pytest.mark.parametrize(
    "odd", [5, {}, [5], [{}], [{"image_url": "x"}], [{"image_url": {"url": "https://example.com/a.png"}}]]
)
def test_a_picture_that_is_not_there_is_passed_over(odd):
    assert told(event(choice(0, {"images": odd})) + event(choice(0, finish="stop")))[0] == [Finish(reason="stop")]


def test_a_sketch_of_a_picture_is_not_shown():
    sketch = [PartStarted(part=0, kind="image"), Blob(part=0, data=b"1", partial=True), Blob(part=0, data=b"2")]
    log = numbered([opened(meta_of()), *sketch, PartEnded(part=0), Closed(status="completed", reason="stop")])
    events, error = told(OpenAIChat().stream(meta_of()).feed(log))
    assert error is None
    assert [e.data for e in events if isinstance(e, Blob)] == [b"2"]
    [shown] = json.loads(OpenAIChat().whole(meta_of()).feed(log))["choices"][0]["message"]["images"]
    assert shown["image_url"]["url"] == "data:image/png;base64,Mg=="


# Towards clients

SAID: list[ev.Event] = [
    PartStarted(part=0, kind="thinking"),
    Delta(part=0, text="hm"),
    PartEnded(part=0),
    PartStarted(part=1, kind="text"),
    Delta(part=1, text="Grüß "),
    Logprobs(part=1, content=[TOKEN]),
    PartStarted(part=2, kind="text", choice=1),
    Delta(part=2, text="Hallo"),
    Delta(part=1, text="dich"),
    PartEnded(part=2),
    ChoiceEnded(choice=1, reason="length"),
    PartEnded(part=1),
    PartStarted(part=3, kind="refusal"),
    Delta(part=3, text="Nein."),
    Logprobs(part=3, content=[TOKEN]),
    PartEnded(part=3),
    PartStarted(part=4, kind="audio", media="audio/pcm16"),
    Signature(part=4, value="audio_1"),
    Blob(part=4, data=SOUND),
    Delta(part=4, text="Tag"),
    PartEnded(part=4),
    PartStarted(part=5, kind="tool_call", name="f", call="c1"),
    Delta(part=5, text='{"a":'),
    Delta(part=5, text="1}"),
    Signature(part=5, value="c2ln"),
    PartEnded(part=5),
    PartStarted(part=6, kind="image", media="image/webp"),
    Blob(part=6, data=SOUND),
    PartEnded(part=6),
    ChoiceEnded(choice=0, reason="tool_calls"),
]
CLOSED = Closed(
    status="completed", reason="tool_calls", input_tokens=9, output_tokens=4, cached_tokens=3, reasoning_tokens=2
)
META = meta_of(usage=True, n=2)
LOG = numbered([opened(META), *SAID, CLOSED])


def parts(events: list[ev.Event]) -> dict[tuple[int, int, str], list[object]]:
    """(choice, number within it, kind) -> what it holds."""
    out: dict[tuple[int, int, str], list[object]] = {}
    of: dict[int, tuple[int, int, str]] = {}
    for e in events:
        if isinstance(e, PartStarted):
            place = sum(key[0] == e.choice for key in out)
            key = of[e.part] = (e.choice, place, e.kind)
            out[key] = [e.name, e.call, e.media, "", b""]
        elif isinstance(e, Delta):
            out[of[e.part]][3] += e.text  # type: ignore[operator]
        elif isinstance(e, Blob):
            out[of[e.part]][4] += e.data  # type: ignore[operator]
        elif isinstance(e, Signature):
            out[of[e.part]].append(e.value)
        elif isinstance(e, Logprobs):
            out[of[e.part]].append(e.content)
    return out


def test_what_we_write_is_what_we_read():
    events, error = told(OpenAIChat().stream(META).feed(LOG), n=2)
    assert error is None
    assert parts(events) == parts(SAID)
    assert [(e.choice, e.reason) for e in events if isinstance(e, ChoiceEnded)] == [(1, "length"), (0, "tool_calls")]
    [usage] = [e for e in events if isinstance(e, ev.Usage)]
    assert (usage.input, usage.output, usage.cached, usage.reasoning) == (9, 4, 3, 2)
    assert events[-1] == Finish(reason="tool_calls")


def test_it_is_the_same_from_every_entry_on():
    whole = OpenAIChat().stream(META).feed(LOG)
    for at in range(len(LOG) + 1):
        renderer = OpenAIChat().stream(META)
        assert renderer.feed(LOG[:at]) + renderer.feed(LOG[at:]) == whole


def test_the_official_types_read_every_chunk_and_the_document():
    lines = OpenAIChat().stream(META).feed(LOG).decode().split("\n\n")
    for line in lines[:-2]:
        ChatCompletionChunk.model_validate(json.loads(line[6:]), strict=True)
    completion = ChatCompletion.model_validate(json.loads(OpenAIChat().whole(META).feed(LOG)), strict=True)
    first, second = completion.choices
    assert (first.message.content, first.message.refusal, first.finish_reason) == ("Grüß dich", "Nein.", "tool_calls")
    assert (second.index, second.message.content, second.finish_reason) == (1, "Hallo", "length")
    assert first.message.audio is not None
    assert (first.message.audio.id, base64.b64decode(first.message.audio.data)) == ("audio_1", SOUND)
    assert first.message.audio.transcript == "Tag"
    assert first.logprobs is not None
    assert [t.token for t in first.logprobs.content or ()] == ["Hi"]
    assert [t.token for t in first.logprobs.refusal or ()] == ["Hi"]
    assert second.logprobs is None
    [shown] = first.message.model_dump()["images"]
    assert shown["image_url"]["url"] == "data:image/webp;base64," + base64.b64encode(SOUND).decode()
    [call] = first.message.tool_calls or ()
    assert call.model_dump()["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    assert completion.usage is not None
    assert completion.usage.prompt_tokens_details is not None
    assert completion.usage.prompt_tokens_details.cached_tokens == 3
    assert completion.usage.completion_tokens_details is not None
    assert completion.usage.completion_tokens_details.reasoning_tokens == 2


def test_choices_that_a_limit_of_ours_cut_short_end_with_its_reason():
    log = numbered([opened(META), *SAID[:11], Closed(status="incomplete", reason="time_limit")])
    chunks = [json.loads(line[6:]) for line in OpenAIChat().stream(META).feed(log).decode().split("\n\n")[:-2]]
    ends = [(c["index"], c["finish_reason"]) for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
    assert ends == [(1, "length"), (0, "length")]
    document = json.loads(OpenAIChat().whole(META).feed(log))
    assert [c["finish_reason"] for c in document["choices"]] == ["length", "length"]
