"""What each compatible host is asked, and what each reports: data of the table, seen in the bytes."""

from __future__ import annotations

import json

import pytest

from decoding import assert_cut_anywhere, one
from tidewire.core.errors import BadRequest, UpstreamError
from tidewire.core.events import Finish, Progress, Span, Timing, Usage
from tidewire.core.request import Message, Request, Text, Thinking, Thought, Tool
from tidewire.dialects.azure_openai_host import AzureHost
from tidewire.dialects.openai_chat_host import ChatHost
from tidewire.dialects.openai_embeddings import OpenAIEmbeddings
from tidewire.dialects.openai_quirks import QUIRKS
from tidewire.server.hosts import HOSTS
from tidewire.server.settings import Provider


def asked(kind: str, **more) -> dict:
    given = {"model": "m", "messages": [Message("user", [Text("Hello?")])], "dialect": "openai_chat"} | more
    return json.loads(ChatHost(QUIRKS[kind]).ask(Request(**given), "m").body)


def refused(kind: str, **more) -> str | None:
    with pytest.raises(BadRequest) as caught:
        asked(kind, **more)
    assert caught.value.kind == "unsupported_value"
    return caught.value.param


@pytest.mark.parametrize("kind", QUIRKS)
def test_every_row_of_quirks_is_that_of_a_host_and_asks_a_plain_question(kind):
    assert kind.removesuffix("-classic") in HOSTS
    said = asked(kind)
    assert said["messages"] == [{"role": "user", "content": "Hello?"}]
    assert (said["model"], said["stream"]) == ("m", True)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("compatible", "max_tokens"),
        ("openai", "max_completion_tokens"),
        ("azure", "max_completion_tokens"),
        ("azure-classic", "max_tokens"),
        ("groq", "max_completion_tokens"),
        ("mistral", "max_tokens"),
        ("tensorrt-llm", "max_tokens"),
        ("vllm", "max_tokens"),
    ],
)
def test_the_token_limit_goes_by_the_name_that_the_host_knows(kind, name):
    said = asked(kind, max_tokens=7)
    assert [n for n in said if n.startswith("max_")] == [name]
    newer = asked(kind, max_tokens=7, options={"max_completion_tokens": 7})
    expected = "max_completion_tokens" if not QUIRKS[kind].limit else name
    assert [n for n in newer if n.startswith("max_")] == [expected]


def test_what_a_host_counts_without_being_asked_is_not_asked_for():
    assert asked("compatible")["stream_options"] == {"include_usage": True}
    assert asked("openai")["stream_options"] == {"include_usage": True, "include_obfuscation": False}
    for kind in ("mistral", "perplexity"):
        assert "stream_options" not in asked(kind)


@pytest.mark.parametrize("kind", [k for k, q in QUIRKS.items() if "n" in q.refused])
def test_a_host_that_gives_one_answer_refuses_several(kind):
    assert refused(kind, n=2) == "n"
    assert "n" not in asked(kind)


def test_several_answers_and_log_probabilities_are_asked_for_where_they_are_given():
    said = asked("compatible", n=3, logprobs=0)
    assert (said["n"], said["logprobs"]) == (3, True)
    assert "top_logprobs" not in said
    assert asked("openai", logprobs=4)["top_logprobs"] == 4
    assert refused("groq", logprobs=0) == "logprobs"


def test_what_a_host_answers_with_an_error_is_refused_here():
    assert refused("groq", options={"logit_bias": {"1": 1}}) == "logit_bias"
    assert refused("groq", messages=[Message("user", [Text("Hi")], name="ada")]) == "messages"
    assert refused("perplexity", tools=[Tool("f")]) == "tools"
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    assert refused("deepseek", response_format=schema) == "response_format"
    assert asked("deepseek", response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize("kind", ["tensorrt-llm", "mistral"])
def test_a_host_that_refuses_unknown_fields_gets_none(kind):
    assert refused(kind, options={"made_up": 1}) == "made_up"
    said = asked(kind, options={"metadata": {"a": "b"}, "store": True, "user": "ada", "frequency_penalty": 1})
    assert set(said) <= (QUIRKS[kind].known or set())
    assert said["frequency_penalty"] == 1
    assert "store" not in said


def test_mistral_knows_the_seed_by_another_name():
    said = asked("mistral", options={"seed": 4})
    assert said["random_seed"] == 4
    assert "seed" not in said


def test_tools_are_offered_where_a_host_takes_none_by_itself():
    assert asked("tensorrt-llm", tools=[Tool("f")])["tool_choice"] == "auto"
    assert asked("tensorrt-llm", tools=[Tool("f")], tool_choice="required")["tool_choice"] == "required"
    assert "tool_choice" not in asked("vllm", tools=[Tool("f")])
    assert "tool_choice" not in asked("tensorrt-llm")


def test_local_servers_are_asked_for_their_times():
    assert asked("vllm")["include_metrics"] is True
    assert asked("llamacpp")["return_progress"] is True


THOUGHT = [Message("user", [Text("?")]), Message("assistant", [Thought("Hm. "), Text("So.")])]


@pytest.mark.parametrize(
    ("kind", "field"),
    [("compatible", "reasoning_content"), ("deepseek", "reasoning_content"), ("vllm", "reasoning"), ("openai", None)],
)
def test_thoughts_are_handed_back_where_the_host_looks_for_them(kind, field):
    said = asked(kind, messages=THOUGHT)["messages"][1]
    assert said == {"role": "assistant", "content": "So."} | ({field: "Hm. "} if field else {})


def test_mistral_finds_thoughts_in_the_content():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm. "}]}
    said = asked("mistral", messages=THOUGHT)["messages"][1]
    assert said == {"role": "assistant", "content": [thinking, {"type": "text", "text": "So."}]}


def test_how_much_to_think_is_said_in_the_hosts_word():
    assert asked("compatible", thinking=Thinking(effort="low"))["reasoning_effort"] == "low"
    assert "reasoning_effort" not in asked("compatible", thinking=Thinking(budget=2000))
    assert asked("openrouter", thinking=Thinking(effort="low"))["reasoning"] == {"effort": "low"}
    hidden = asked("openrouter", thinking=Thinking(budget=2000, show=False))["reasoning"]
    assert hidden == {"max_tokens": 2000, "exclude": True}


# Azure


def test_azure_has_two_ways_to_its_deployments():
    request = Request(model="m", messages=[Message("user", [Text("Hi")])])
    vectors = OpenAIEmbeddings().parse(b'{"model":"m","input":"a"}')
    v1, classic = AzureHost(), AzureHost("2024-10-21")
    assert v1.ask(request, "my gpt").path == "/openai/v1/chat/completions"
    assert classic.ask(request, "my gpt").path == "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"
    assert classic.ask_vectors(vectors, "e/5").path == "/openai/deployments/e%2F5/embeddings?api-version=2024-10-21"
    assert v1.ask_vectors(vectors, "e5").path == "/openai/v1/embeddings"
    assert (v1.listing, classic.listing) == ("", "")


def test_azures_key_has_a_header_of_its_own_and_the_setting_chooses_the_way():
    row = HOSTS["azure"]
    assert row.keyed("secret") == {"api-key": "secret"}
    speaker = row.speaker(Provider(kind="azure", base_url="https://x.openai.azure.com", api_version="2024-10-21"))
    assert "deployments" in speaker.ask(Request(model="m", messages=[Message("user", [Text("Hi")])]), "m").path


@pytest.mark.parametrize("kind", ["groq", "mistral", "deepseek", "xai", "moonshot", "nvidia", "huggingface"])
def test_a_host_of_the_table_needs_no_address(kind):
    row = HOSTS[kind]
    assert row.base_url.startswith("https://")
    assert row.key_env
    assert row.keyed("k") == {"Authorization": "Bearer k"}


# What hosts report


def answer(*last: dict) -> bytes:
    chunks = [{"choices": [{"index": 0, "delta": {"content": "Hi"}}]}, *last]
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
SECONDS = {"queue_time": 0.1, "prompt_time": 0.02, "completion_time": 0.3}


def spans(wire: bytes) -> list[tuple[str, float, float]]:
    events, error = assert_cut_anywhere(ChatHost(), wire)
    assert error is None
    assert isinstance(events[-1], Finish)
    found = [e.span for e in events if isinstance(e, Timing)]
    assert all(isinstance(s, Span) and s.source == "reported" for s in found)
    return [(s.name, s.start, s.ms) for s in found]


@pytest.mark.parametrize(
    ("last", "times"),
    [
        ([END | {"x_groq": {"usage": SECONDS | {"prompt_tokens": 1}}}], [100, 20, 300]),
        ([END, {"choices": [], "usage": SECONDS | {"prompt_tokens": 1}}], [100, 20, 300]),
        ([END | {"time_info": SECONDS}], [100, 20, 300]),
        (
            [
                END,
                {
                    "choices": [],
                    "metrics": {"queue_time_ms": 5, "time_to_first_token_ms": 7.5, "generation_time_ms": 9},
                },
            ],
            [5, 7.5, 9],
        ),
    ],
)
def test_the_times_of_a_host_are_laid_end_to_end(last, times):
    queue, prefill, decode = times
    assert spans(answer(*last)) == [
        ("host_queue", 0, queue),
        ("host_prefill", queue, prefill),
        ("host_decode", queue + prefill, decode),
    ]


def test_llamacpp_times_come_once_though_it_may_tell_them_often():
    timed = [END | {"timings": {"prompt_ms": 1.0, "predicted_ms": n}} for n in (2.0, 3.0)]
    assert spans(answer(*timed)) == [("host_prefill", 0, 1.0), ("host_decode", 1.0, 3.0)]


@pytest.mark.parametrize(
    "odd",
    [
        {"timings": 5},
        {"metrics": []},
        {"time_info": "x"},
        {"x_groq": {"usage": {"queue_time": "1"}}},
        {"timings": {"prompt_ms": -1, "predicted_ms": True}},
    ],
)
def test_times_that_are_none_are_passed_over(odd):
    assert spans(answer(END | odd)) == []


def test_how_far_a_prompt_is_read_is_progress():
    read = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]}
    read |= {"prompt_progress": {"total": 90, "cache": 0, "processed": 64, "time_ms": 12}}
    events, error = assert_cut_anywhere(ChatHost(), b"data: " + json.dumps(read).encode() + b"\n\n" + answer(END))
    assert error is None
    progress = one(events, Progress)
    assert (progress.stage, progress.detail) == ("waiting", "64 of 90 tokens of the prompt are read")


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, (9, 4, None, None, None)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 5}, (9, 4, 5, None, None)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "cached_tokens": 6}, (9, 4, 6, None, None)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "reasoning_tokens": 2}, (9, 4, None, 2, None)),
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 4,
                "total_tokens": 13,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            (9, 4, None, 3, None),
        ),
        (
            {
                "prompt_tokens": 12,
                "completion_tokens": 1,
                "total_tokens": 303,
                "completion_tokens_details": {"reasoning_tokens": 290},
            },
            (12, 291, None, 290, None),
        ),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cache_write_tokens": 8}}, (9, None, None, None, 8)),
        ({"prompt_tokens": "9", "completion_tokens": -4, "cached_tokens": True}, (None, None, None, None, None)),
    ],
)
def test_tokens_are_counted_wherever_a_host_puts_them(usage, counted):
    for last in ([END | {"usage": usage}], [{"choices": [END["choices"][0] | {"usage": usage}]}]):
        events, error = assert_cut_anywhere(ChatHost(), answer(*last))
        assert error is None
        found = one(events, Usage)
        assert (found.input, found.output, found.cached, found.reasoning, found.cache_write) == counted


@pytest.mark.parametrize(
    ("said", "code"),
    [("abort", "upstream_abort"), ("insufficient_system_resource", "upstream_error"), ("error", "upstream_error")],
)
def test_a_host_that_gives_up_says_so_in_its_finish_reason(said, code):
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": said}]}
    assert assert_cut_anywhere(ChatHost(), answer(end))[1] == code


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("eos_token", "stop"),
        ("stop_sequence", "stop_string"),
        ("model_length", "length"),
        ("content_filter", "content_filter"),
    ],
)
def test_the_finish_reasons_of_other_hosts_are_known(said, meant):
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": said}]}
    assert assert_cut_anywhere(ChatHost(), answer(end))[0][-1] == Finish(reason=meant)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        ({"message": "busy", "code": 429}, True),
        ({"message": "broken", "code": 502}, True),
        ({"message": "broken", "type": "server_error", "code": None}, True),
        ({"message": "too long", "code": 400}, False),
        ({"message": "too long", "type": "BadRequestError", "code": "x"}, False),
        ({"message": 5, "type": ["x"], "code": True}, True),
        ("plain words", True),
    ],
)
def test_an_error_that_blames_the_request_is_not_worth_another_try(error, again):
    decoder = ChatHost().decoder(Request(model="m", messages=[]))
    with pytest.raises(UpstreamError) as caught:
        decoder.feed(answer({"error": error}))
    assert caught.value.retryable == again
    assert len(caught.value.before) == 2


def test_an_empty_finish_reason_is_none():
    empty = {"choices": [{"index": 0, "delta": {"content": "!"}, "finish_reason": ""}]}
    assert assert_cut_anywhere(ChatHost(), answer(empty)[: -len(b"data: [DONE]\n\n")])[1] == "upstream_cut"
